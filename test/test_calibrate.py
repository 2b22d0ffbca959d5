"""Calibrating unknown_threshold: the curve, its bounds, the frames, and the command."""

from dataclasses import replace
import json
import re
import sys

from csa_ros.demo.scenes import CLASSES
from csa_ros.evaluation import labelled_frames as frames_module
from csa_ros.evaluation.calibration.curve import Calibration
from csa_ros.evaluation.calibration.curve import count
from csa_ros.evaluation.calibration.curve import LEVELS
from csa_ros.evaluation.calibration.curve import MOST_FOLDS
from csa_ros.evaluation.calibration.curve import THRESHOLDS
from csa_ros.evaluation.calibration.curve import Wish
from csa_ros.evaluation.labelled_frames import FilePair
from csa_ros.evaluation.labelled_frames import find_pairs
from csa_ros.evaluation.labelled_frames import FrameError
from csa_ros.evaluation.labelled_frames import IGNORED
from csa_ros.evaluation.labelled_frames import OUTSIDE
from csa_ros.evaluation.labelled_frames import Street
from csa_ros.segmenter import Result
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.file import write as save
from csa_ros.tools import calibrate
from csa_ros.tools.running import FAILED
from csa_ros.vocabulary import Vocabulary
import cv2
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
from PIL import Image
import pytest
from towers import make_backbone

WORDS = 'sky, road, car'
VOCABULARY = Vocabulary.parse(WORDS)
SIZE = (48, 64)


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture
def loaded(monkeypatch, segmenter, tmp_path):
    """Let the command load the tiny tower; return what it asked for."""
    asked = []

    def load(settings, **model):
        asked.append((settings, model))
        return segmenter

    monkeypatch.setattr(Segmenter, 'load', load)
    monkeypatch.chdir(tmp_path)
    return asked


@pytest.fixture
def pairs(tmp_path):
    """Write three pictures with masks, whose marked pixels are what the tiny tower says or not."""
    for name in ('images', 'masks'):
        (tmp_path / name).mkdir()
    for index in range(3):
        write(tmp_path, f'frame{index}', np.random.default_rng(index).integers(0, 3, SIZE))
    return tmp_path


def write(folder, name, ids):
    picture = np.random.default_rng(len(name)).integers(0, 256, (*SIZE, 3), np.uint8)
    cv2.imwrite(str(folder / 'images' / f'{name}.jpg'), picture)
    Image.fromarray(ids.astype(np.uint8)).save(folder / 'masks' / f'{name}.png')


def frame(right=(), wrong=(), outside=()):
    """Return the histograms of a frame by the confidences of its pixels."""
    return np.array([np.bincount(np.asarray(values, int), minlength=LEVELS)
                     for values in (right, wrong, outside)])


def run(*args):
    return calibrate.main([str(arg) for arg in args])


def run_files(*args):
    return run('--images', 'images', '--masks', 'masks', '--vocabulary', WORDS, *args)


# The curve


@st.composite
def labelled_frames(draw):
    """Return some frames as (truth, labels, confidence), pixels of all kinds among them."""
    frames = []
    for _ in range(draw(st.integers(1, 4))):
        shape = 1, draw(st.integers(1, 30))
        truth = draw(hnp.arrays(np.int16, shape,
                                elements=st.sampled_from([0, 1, 2, IGNORED, OUTSIDE])))
        truth[0, 0] = 0
        labels = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2)))
        levels = st.sampled_from([0, 1, 2, 100, 254, 255])
        frames.append((truth, labels, draw(hnp.arrays(np.uint8, shape, elements=levels))))
    return frames


@settings(deadline=None, max_examples=40)
@given(labelled_frames())
def test_curve_equals_sorting_all_pixels(frames):
    calibration = Calibration([count(truth, Result(labels, confidence))
                               for truth, labels, confidence in frames])
    truth, labels, confidence = (np.concatenate([frame[i].ravel() for frame in frames])
                                 for i in range(3))
    counted = truth != IGNORED
    error = (truth != labels)[counted]
    # int, as NumPy's uint8 would wrap around.
    sure = confidence[counted].astype(int)
    order = np.argsort(-sure, kind='stable')
    running = error[order].cumsum() / np.arange(1, len(order) + 1)
    # Pixels of one confidence are labelled together: the last of them has the risk of all.
    last = np.searchsorted(-sure[order], -sure, side='right') - 1
    assert calibration.aurc == pytest.approx(running[last].mean())
    kept = (sure >= np.arange(LEVELS)[:, None]).sum(axis=1)
    np.testing.assert_allclose(calibration.coverage, kept / len(sure))
    np.testing.assert_allclose(calibration.risk, np.where(kept, running[kept - 1], np.nan))
    assert calibration.pixels == counted.sum()
    assert calibration.outside_share == pytest.approx((truth == OUTSIDE).sum() / counted.sum())
    assert calibration.accuracy == pytest.approx(1 - error.mean())
    assert calibration.mean_confidence == pytest.approx(sure.mean() / 255)


@settings(deadline=None, max_examples=25)
@given(labelled_frames(), st.floats(0, 1), st.sampled_from(['risk', 'coverage']))
def test_choice_grants_the_wish_and_keeps_most(frames, value, name):
    calibration = Calibration([count(truth, Result(labels, confidence))
                               for truth, labels, confidence in frames])
    bounds = calibration.bounds
    risk = bounds.risk_high if bounds else calibration.risk
    coverage = bounds.coverage_low if bounds else calibration.coverage
    granted = risk <= value if name == 'risk' else coverage >= value
    level = calibration.choose(Wish(name, value))
    if level is None:
        assert not granted.any()
    else:
        assert granted[level] or np.isnan(risk[level])
        better = granted[:level] if name == 'risk' else granted[level + 1:]
        assert not better.any()


def test_what_has_no_word_is_an_error_until_it_is_unknown():
    calibration = Calibration([frame(right=[200, 200], wrong=[90], outside=[50, 120])])
    assert calibration.risk[0] == pytest.approx(3 / 5)
    assert calibration.risk[91] == pytest.approx(1 / 3)
    assert calibration.outside_kept[[50, 51, 121]] == pytest.approx([1, 0.5, 0])
    assert np.isnan(Calibration([frame(right=[1])]).outside_kept).all()


def test_segmenter_labels_what_the_thresholds_promise(tmp_path):
    """The node compares probabilities, the calibration knows only their 8-bit roundings."""
    demo = Segmenter.load('demo', 'cpu', cache_dir=tmp_path)
    vocabulary = Vocabulary.parse(CLASSES[1:])
    words = demo.encode(vocabulary, 'simple')
    rgb, truth = (array[::3, ::3].copy() for array in Street(3, vocabulary).read())
    own = Settings(logit_scale=8, short_side=96)
    calibration = Calibration([count(truth, demo.segment(rgb, words, own))])
    for level in (1, 60, 100, 140, 180, 230, 255):
        limited = replace(own, unknown_threshold=THRESHOLDS[level])
        labels = demo.segment(rgb, words, limited).labels
        labelled = labels != 255
        assert labelled.sum() == pytest.approx(
            calibration.coverage[level] * truth.size, abs=1), level
        if labelled.any():
            assert (labels != truth)[labelled].mean() == pytest.approx(
                calibration.risk[level], abs=2 / labelled.sum()), level
    assert 0.2 < calibration.coverage[100] < 0.95


def test_thresholds_are_probabilities_that_a_parameter_takes():
    assert THRESHOLDS[0] == 0 and len(THRESHOLDS) == LEVELS
    assert (np.diff(THRESHOLDS) > 0).all() and THRESHOLDS[-1] < 1
    assert (np.round(255 * (THRESHOLDS[1:] + 1e-6)) == np.arange(1, LEVELS)).all()


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match='no frames'):
        Calibration([])
    with pytest.raises(ValueError, match='leave it out'):
        Calibration([frame(right=[1]), frame()])
    with pytest.raises(ValueError, match='one size'):
        count(np.zeros((2, 3), np.int16), Result(np.zeros((3, 2), np.uint8), None))


# The bounds


def varied(number):
    """Return frames that differ: the share of right labels goes from none to all."""
    return [frame(right=[100 + i] * (4 * i), wrong=[100 - i] * (4 * (number - 1 - i)))
            for i in range(number)]


def test_bounds_are_the_same_for_the_same_seed():
    first, again = Calibration(varied(5)), Calibration(varied(5))
    for name in vars(first.bounds):
        assert np.array_equal(getattr(first.bounds, name), getattr(again.bounds, name))
    other = Calibration(varied(5), seed=1)
    assert any(not np.array_equal(getattr(first.bounds, name), getattr(other.bounds, name))
               for name in vars(first.bounds))


def test_bounds_come_from_frames_and_not_from_pixels():
    """A hundred times the pixels of the same frames are no better knowledge."""
    few, many = Calibration(varied(5)), Calibration([100 * counts for counts in varied(5)])
    assert np.array_equal(few.bounds.risk_high, many.bounds.risk_high)
    more = Calibration(varied(5) * 20)
    width, narrow = (c.bounds.risk_high[0] - c.bounds.risk_low[0] for c in (few, more))
    assert narrow < width / 3


def test_bounds_of_two_frames_are_these_frames():
    frames = [frame(right=[200] * 9, wrong=[100]), frame(right=[200] * 5, wrong=[100] * 5)]
    calibration = Calibration(frames)
    assert calibration.bounds.risk_high[0] == pytest.approx(0.5)
    assert calibration.bounds.risk_low[0] == pytest.approx(0.1)
    assert calibration.bounds.coverage_low[150] == pytest.approx(0.5)
    assert calibration.bounds.coverage_high[150] == pytest.approx(0.9)
    # At 201 nothing is labelled, of which nothing is known.
    assert calibration.bounds.risk_high[201] == 1 and calibration.bounds.risk_low[201] == 0


def test_the_worst_of_three_frames_is_within_the_bounds():
    """Two of three are drawn at a time: it is both of them in 11 % of the resamples."""
    frames = [frame(right=[200] * 9, wrong=[100])] * 2 + [frame(right=[200] * 5, wrong=[100] * 5)]
    assert Calibration(frames).bounds.risk_high[0] == pytest.approx(0.5)


def test_bounds_hold_more_resamples_with_more_confidence():
    loose, tight = Calibration(varied(9), 0.99), Calibration(varied(9), 0.6)
    assert loose.bounds.risk_high[0] > tight.bounds.risk_high[0] > loose.risk[0]
    assert loose.bounds.coverage_low[100] < tight.bounds.coverage_low[100]


def test_one_frame_has_no_bounds():
    calibration = Calibration([frame(right=[200], wrong=[100])])
    assert calibration.bounds is None and calibration.held_out(Wish('risk', 0.1)) is None
    assert calibration.choose(Wish('risk', 0)) == 101
    assert calibration.choose(Wish('coverage', 0.5)) == 200


def test_held_out_frames_do_not_choose():
    """The odd frame alone would ask for more, and is tried with what the others need."""
    same = frame(right=[200] * 8, wrong=[50] * 2)
    odd = frame(right=[200] * 6, wrong=[150] * 4)
    wish = Wish('risk', 0.1)
    assert Calibration([same] * 3).choose(wish) == 51
    tried = Calibration([same, same, odd]).held_out(wish)
    # Without the odd frame the threshold lets its errors pass; with it, all of them go.
    assert tried == {'folds': 3, 'unmet': 0, 'risk': pytest.approx(4 / (8 + 8 + 10)),
                     'coverage': pytest.approx(26 / 30)}


def test_many_frames_are_held_out_in_groups():
    tried = Calibration(varied(2 * MOST_FOLDS + 3)).held_out(Wish('coverage', 0.5))
    assert tried['folds'] == MOST_FOLDS and 0.4 < tried['coverage'] <= 1
    never = Calibration([frame(wrong=[255])] * 3).held_out(Wish('risk', 0.5))
    assert never['unmet'] == 3 and np.isnan(never['risk'])


# The frames


def test_files_are_paired_by_name_and_read(pairs):
    ids = np.zeros(SIZE, np.uint8)
    ids[:2], ids[2:4], ids[4:6] = 2, 254, 255
    write(pairs, 'frame1', ids)
    (pairs / 'images' / 'notes.txt').write_text('not a picture')
    write(pairs, 'extra', ids)
    (pairs / 'masks' / 'extra.png').unlink()
    found, left_out = find_pairs([pairs / 'images'], [pairs / 'masks'], VOCABULARY, (254,))
    assert [pair.image.name for pair in found] == ['frame0.jpg', 'frame1.jpg', 'frame2.jpg']
    assert left_out == 1
    rgb, truth = found[1].read()
    stored = cv2.imread(str(found[1].image))
    assert np.array_equal(rgb, stored[..., ::-1])
    assert [truth[row, 0] for row in (0, 2, 4, 6)] == [2, OUTSIDE, IGNORED, 0]


@pytest.mark.parametrize('mode', ['P', '1', 'I;16'])
def test_masks_of_any_one_channel_are_read(pairs, mode):
    """A palette says how ids look, as in Pascal VOC, and nothing of what they are."""
    ids = np.eye(*SIZE, dtype=np.uint8)
    path = pairs / 'masks' / 'frame0.png'
    if mode == 'P':
        picture = Image.fromarray(ids)
        picture.putpalette([255, 0, 0, 0, 255, 0])
    else:
        picture = Image.fromarray(ids.astype(bool if mode == '1' else np.uint16))
    picture.save(path)
    found, _ = find_pairs([pairs / 'images'], [path], VOCABULARY, ())
    assert np.array_equal(found[0].read()[1], ids)


def test_classes_without_a_word_are_outside_in_streets(monkeypatch):
    monkeypatch.setattr(frames_module, 'STREET_SIZE', (64, 48))
    everything = Vocabulary.parse(CLASSES)
    rgb, truth = Street(1, everything).read()
    assert rgb.shape == (48, 64, 3) and truth.max() < len(CLASSES)
    _, fewer = Street(1, Vocabulary.parse(['ground=Road|pavement', 'sky'])).read()
    ground = (truth == CLASSES.index('road')) | (truth == CLASSES.index('pavement'))
    assert np.array_equal(fewer == 0, ground)
    assert np.array_equal(fewer == 1, truth == CLASSES.index('sky'))
    assert (fewer[~ground & (fewer != 1)] == OUTSIDE).all()


@pytest.mark.parametrize('spoil, hint', [
    (lambda p: Image.fromarray(np.full(SIZE, 34, np.uint8)).save(p),
     r'frame0.png has the id 34 in 3072 pixels.*end with 2 \(car\).*--outside 34'),
    (lambda p: Image.fromarray(np.full(SIZE, 300, np.uint16)).save(p), 'has the id 300'),
    (lambda p: Image.fromarray(np.zeros((3, 4), np.uint8)).save(p),
     r'frame0.png is 4 x 3 and .*frame0.jpg 64 x 48 pixels'),
    (lambda p: Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(p),
     r'frame0.png is a colour picture \(RGB\)'),
    (lambda p: Image.fromarray(np.full(SIZE, 255, np.uint8)).save(p), 'unmarked, everywhere'),
    (lambda p: p.write_bytes(p.read_bytes()[:60]), 'frame0.png cannot be read as a mask'),
    (lambda p: p.write_text('no picture'), 'frame0.png cannot be read as a mask'),
    (lambda p: p.with_name('frame9.png').write_bytes(p.read_bytes()),
     r'frame9.png of 4 masks have no picture'),
    (lambda p: (p.parents[1] / 'images/frame0.jpg').write_text('no picture'),
     'frame0.jpg cannot be read as a picture'),
    (lambda p: (p.parents[1] / 'images/frame0.png').write_bytes(p.read_bytes()),
     r'frame0.jpg, .*frame0.png: which is the picture\?.*\*\.jpg'),
    (lambda p: [file.unlink() for file in (p.parents[1] / 'images').iterdir()],
     'images has no picture: .*ends in .bmp, .jpeg'),
    (lambda p: [file.rename(file.with_suffix('.jpg')) for file in p.parent.iterdir()],
     r'masks has no mask: .*ends in \.png'),
    (lambda p: (p.unlink(), p.symlink_to(p.parents[1] / 'images/frame0.jpg')),
     'is given as a picture and as its mask'),
    (lambda p: p.parent.rename(p.parents[1] / 'elsewhere'), 'masks does not exist'),
])
def test_bad_files_are_explained(pairs, loaded, capsys, spoil, hint):
    spoil(pairs / 'masks' / 'frame0.png')
    assert run_files() == FAILED
    error, = capsys.readouterr().err.splitlines()
    assert re.search(hint, error), error
    assert not loaded


@pytest.mark.parametrize('value, hint', [
    (1, "is the class 'road': use one from 3 to 254"), (255, 'is what does not count'),
    (256, 'is no 8-bit value'), (-1, 'is no 8-bit value')])
def test_outside_ids_that_mean_something_else_are_refused(pairs, value, hint):
    with pytest.raises(FrameError, match=hint):
        find_pairs([pairs / 'images'], [pairs / 'masks'], VOCABULARY, (value,))


def test_all_255_classes_leave_the_last_id_to_a_class(pairs):
    vocabulary = Vocabulary.parse([f'word {i}' for i in range(255)])
    write(pairs, 'frame0', np.full(SIZE, 254))
    pair = FilePair(pairs / 'images/frame0.jpg', pairs / 'masks/frame0.png', vocabulary)
    assert (pair.read()[1] == 254).all()


# The command


def test_examples_count_as_they_do_for_the_node(pairs, loaded, segmenter, capsys):
    examples = Examples().add('car', segmenter.look(np.full((*SIZE, 3), 9, np.uint8)))
    save(pairs / 'taught', examples.add('dock', examples[0].look))
    asked = ['--risk', 1, '--json', 'out.json', '--examples']
    assert run_files(*asked, 'taught') == calibrate.DONE
    report = json.loads((pairs / 'out.json').read_text())
    assert report['vocabulary'] == ['sky', 'road', 'car', 'dock']
    frame, _ = find_pairs([pairs / 'images/frame0.jpg'], [pairs / 'masks/frame0.png'], VOCABULARY,
                          ())
    rgb, truth = frame[0].read()
    words = segmenter.encode(report['vocabulary'], examples=examples.add('dock', examples[0].look))
    risk = (segmenter.segment(rgb, words).labels != truth).mean()
    assert report['frame_risks'][str(frame[0].image.relative_to(pairs))] == pytest.approx(
        risk, abs=1e-6)
    assert run_files(*asked, 'nothing') == FAILED
    assert 'there is no file of examples nothing' in capsys.readouterr().err


def test_demo_from_end_to_end(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(frames_module, 'STREET_SIZE', (96, 72))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    plot, figures = tmp_path / 'curve.png', tmp_path / 'figures.json'
    assert run('--demo', '--limit', 3, '--device', 'cpu', '--prompts', 'simple', '--logit-scale',
               10, '--coverage', 0.7, '--plot', plot, '--json', figures) == calibrate.DONE
    output = capsys.readouterr()
    report = json.loads(figures.read_text())
    assert report['frames'] == 3 and report['pixels'] == 3 * 96 * 72
    assert report['model'] == 'demo' and report['logit_scale'] == 10
    assert not {'car', 'bus'} & set(report['vocabulary']) and 'truck' in report['vocabulary']
    assert report['outside_share'] > 0 and report['accuracy'] > 0.5
    assert report['choice']['coverage_low'] >= 0.7 and report['choice'] in report['curve']
    assert report['choice']['risk'] < 1 - report['accuracy']
    assert set(report['frame_risks']) == {'street 0', 'street 1', 'street 2'}
    assert output.out.splitlines()[-3:] == [
        'ros2 param set /segment prompts simple', 'ros2 param set /segment logit_scale 10.0',
        f"ros2 param set /segment unknown_threshold {report['choice']['threshold']}"]
    assert '3 frames are few' in output.err
    picture = cv2.imread(str(plot))
    assert picture.shape[0] > 300 and (picture < 250).mean() > 0.01


def test_files_from_end_to_end(pairs, loaded, segmenter, capsys):
    """Masks that are what the model says, but for a part: the errors are where they were put."""
    words = segmenter.encode(VOCABULARY)
    found, _ = find_pairs([pairs / 'images'], [pairs / 'masks'], VOCABULARY, ())
    for pair in found:
        labels = segmenter.segment(pair.read()[0], words).labels.copy()
        labels[:6] = 254
        Image.fromarray(labels).save(pair.mask)
    (pairs / 'masks/frame2.png').unlink()
    assert run_files('--outside', 254, '--coverage', 1, '--json', 'out.json',
                     '--name', 'robot/segment', '--attention', 'vanilla') == calibrate.DONE
    report = json.loads((pairs / 'out.json').read_text())
    assert report['accuracy'] == pytest.approx(1 - 6 / 48)
    assert report['outside_share'] == pytest.approx(6 / 48)
    output = capsys.readouterr()
    assert 'pictures without a mask, which are left out: 1' in output.err
    assert 'ros2 param set /robot/segment unknown_threshold 0.' in output.out
    assert loaded[0][1]['attention'] == 'vanilla'


def test_limit_takes_the_first_frames(pairs, loaded):
    (pairs / 'masks/frame2.png').write_text('never read')
    assert run_files('--limit', 2, '--risk', 1, '--json', 'out.json') == calibrate.DONE
    report = json.loads((pairs / 'out.json').read_text())
    assert list(report['frame_risks']) == ['images/frame0.jpg', 'images/frame1.jpg']


def test_a_threshold_in_the_parameter_file_does_not_hide_pixels(pairs, loaded):
    (pairs / 'node.yaml').write_text(
        'segment: {ros__parameters: {unknown_threshold: 0.9, logit_scale: 5.0}}')
    assert run_files('--params-file', 'node.yaml', '--risk', 1) == calibrate.DONE
    assert loaded[0][0].unknown_threshold == 0 and loaded[0][0].logit_scale == 5


def test_a_risk_out_of_reach_is_said_with_what_can_be_had(pairs, loaded, capsys):
    assert run_files('--risk', 0, '--json', 'out.json', '--plot', 'out.png') == calibrate.UNMET
    output = capsys.readouterr()
    assert 'no threshold has a risk of at most 0 in 95% of the resamples' in output.err
    assert 'the least is 0.' in output.err and 'at a coverage of' in output.err
    assert 'ros2 param set' not in output.out
    assert json.loads((pairs / 'out.json').read_text())['choice'] is None
    assert (pairs / 'out.png').stat().st_size


def test_one_frame_and_saturation_are_warned_of(pairs, loaded, capsys, monkeypatch):
    monkeypatch.setattr(calibrate, 'SATURATED', -1.0)
    assert run_files('--limit', 1, '--risk', 1) == calibrate.DONE
    output = capsys.readouterr()
    assert 'one frame says nothing of others' in output.err
    assert 'a smaller --logit-scale' in output.err
    assert 'resamples' not in output.out


def test_without_matplotlib_nothing_is_measured(pairs, loaded, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.backend_bases', None)
    assert run_files('--plot', 'curve.png') == FAILED
    assert 'pip install matplotlib' in capsys.readouterr().err
    assert not loaded


def test_ctrl_c_ends_it(pairs, loaded, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(FilePair, 'read', interrupt)
    assert run_files() == 130
    assert capsys.readouterr().err.endswith('calibrate: interrupted\n')


@pytest.mark.parametrize('args, hint', [
    ([], '--images and --masks, or --demo'),
    (['--demo', '--masks', 'm'], '--images and --masks, or --demo'),
    (['--images', 'i'], '--images and --masks, or --demo'),
    (['--demo', '--outside', '254'], '--outside is for masks'),
    (['--demo', '--outside', 'car'], "'car' is no list of ids"),
    (['--demo', '--risk', '1.5'], '--risk is 1.5: it must be from 0 to 1'),
    (['--demo', '--coverage', 'nan'], '--coverage is nan'),
    (['--demo', '--coverage', '0.9', '--risk', '0.1'], 'not allowed with'),
    (['--demo', '--confidence', '1'], 'from 0.5 to below 1'),
    (['--demo', '--limit', '0'], '--limit is 0'),
    (['--demo', '--json', 'no/such/file.json'], 'there is no folder no/such for file.json'),
])
def test_bad_arguments_are_refused(args, hint, capsys):
    with pytest.raises(SystemExit) as refusal:
        run(*args)
    assert refusal.value.code == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize('args, hint', [
    (['--prompts', 'robot9'], "'robot8'"), (['--vocabulary', 'a,a'], 'both named'),
    (['--attention', 'none'], 'attention'), (['--logit-scale', '-1'], 'logit_scale'),
    (['--plot', 'curve.xyz'], 'let it end in .png')])
def test_bad_values_are_explained(args, hint, loaded, capsys):
    assert run('--demo', *args) == FAILED
    assert hint in capsys.readouterr().err
    assert not loaded
