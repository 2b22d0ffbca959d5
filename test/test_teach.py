"""Teaching from labelled pictures: the frames that are shown, leaving one out, and the command."""

import re

from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.evaluation.labelled_frames import FilePair
from csa_ros.evaluation.teaching.gathering import gather
from csa_ros.evaluation.teaching.gathering import spread
from csa_ros.evaluation.teaching.leaving_out import measure
from csa_ros.evaluation.teaching.leaving_out import SHOWN
from csa_ros.evaluation.teaching.leaving_out import Trial
from csa_ros.evaluation.teaching.leaving_out import TUNED
from csa_ros.evaluation.teaching.leaving_out import WORD
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.file import read
from csa_ros.tools import teach
from csa_ros.tools.running import FAILED
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np
import pytest

# The grass has a word that means nothing.
NONSENSE = 'zorblax'
VOCABULARY = Vocabulary.parse([NONSENSE if name == 'grass' else name for name in CLASSES])
GRASS = CLASSES.index('grass')
SIZE = (160, 120)
SIDE = 112


@pytest.fixture(scope='module')
def demo():
    return Segmenter.load('demo', settings=Settings(short_side=SIDE))


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    """Write streets with grass and their masks; return the pairs."""
    folder = tmp_path_factory.mktemp('streets')
    pairs = []
    for name in ('images', 'masks'):
        (folder / name).mkdir()
    for seed in range(900, 940):
        frame = Scene(seed).render(1.0, SIZE)
        if (frame.labels == GRASS).sum() < 500:
            continue
        image, mask = (folder / kind / f'{seed}.png' for kind in ('images', 'masks'))
        cv2.imwrite(str(image), frame.rgb[:, :, ::-1])
        cv2.imwrite(str(mask), frame.labels)
        pairs.append(FilePair(image, mask, VOCABULARY))
        if len(pairs) == 6:
            break
    return pairs


@pytest.fixture(scope='module')
def gathered(demo, frames):
    return gather(demo, frames, VOCABULARY, [NONSENSE, 'sky', 'traffic cone'], 4)


@pytest.fixture
def loaded(monkeypatch, demo, tmp_path):
    """Let the command load the model but once, for these settings."""
    monkeypatch.setattr(Segmenter, 'load', lambda **_: demo)
    monkeypatch.chdir(tmp_path)


def run(frames, *arguments):
    folder = frames[0].image.parents[1]
    return teach.main([
        '--images', str(folder / 'images'), '--masks', str(folder / 'masks'), '--vocabulary',
        ','.join(VOCABULARY.names), '--out', 'out.safetensors', *arguments])


# The frames that are shown

@pytest.mark.parametrize('count', [1, 2, 7, 100])
def test_the_first_of_an_order_are_spread(count):
    order = spread(range(count))
    assert sorted(order) == list(range(count))
    for few in (4, 10):
        gaps = np.diff([0, *sorted(order[:few]), count])
        assert max(gaps) <= 3 * count / few + 1


def test_each_class_is_shown_once_in_each_of_some_frames(demo, frames, gathered):
    examples = gathered.examples
    assert gathered.counts == {name: examples.counts.get(name, 0) for name in gathered.counts}
    assert gathered.counts[NONSENSE] == 4
    shown = [item for item in examples if item.name == NONSENSE]
    assert len({item.look.camera for item in shown}) == 4
    assert {item.look.model for item in shown} == {'demo'}
    by_name = {frame.image.name: frame for frame in frames}
    rgb, truth = by_name[shown[0].look.camera].read()
    expected = demo.look(rgb, truth == GRASS).key
    np.testing.assert_array_equal(shown[0].look.key, expected)


def test_what_was_shown_before_counts_and_is_not_shown_again(demo, frames, gathered):
    again = gather(demo, frames, VOCABULARY, [NONSENSE], 4, gathered.examples)
    assert again.examples is gathered.examples and again.counts == {NONSENSE: 4}
    more = gather(demo, frames, VOCABULARY, [NONSENSE], 5, gathered.examples)
    assert more.examples.counts[NONSENSE] == 5


def test_what_is_smaller_than_a_patch_is_counted(demo, frames, tmp_path):
    mask = np.full(SIZE[::-1], 255, np.uint8)
    mask[50:52, 50:52] = GRASS
    path = tmp_path / 'small.png'
    cv2.imwrite(str(path), mask)
    frame = FilePair(frames[0].image, path, VOCABULARY)
    found = gather(demo, [frame], VOCABULARY, [NONSENSE], 4)
    assert not found.examples and found.too_small == {NONSENSE: 1}


# Leaving one out

def test_a_frame_is_labelled_without_what_it_has_shown(demo, frames, gathered):
    trial = Trial(demo, VOCABULARY, 'imagenet80', frames, gathered.examples, tuned=True)
    shown_in = {item.look.camera for item in gathered.examples if item.name == NONSENSE}
    index = next(i for i, frame in enumerate(frames) if frame.image.name in shown_in)
    labelled = trial.labelled(index)
    others = Examples(tuple(item for item in gathered.examples
                            if item.look.camera != frames[index].image.name))
    assert 0 < len(others) < len(gathered.examples)
    plain, words = demo.encode(VOCABULARY), demo.encode(VOCABULARY, examples=others)
    for way, expected in ((WORD, plain), (SHOWN, words), (TUNED, demo.tune(plain, others))):
        labels = demo.segment(labelled.rgb, expected).labels
        assert (labels == labelled.labels[way]).mean() > (0.99 if way == TUNED else 0.99999)


def test_what_is_shown_is_found_better_and_what_has_no_word_counts_against_it(
        demo, frames, gathered):
    trial = Trial(demo, VOCABULARY, 'imagenet80', frames, gathered.examples, tuned=False)
    measured = measure(trial)
    assert measured.iou(SHOWN)[GRASS] > measured.iou(WORD)[GRASS] + 0.15
    assert measured.showing(GRASS) == list(range(6))
    # With the sky's id for what has no word, grass that is found there is wrong as before.
    sky = CLASSES.index('sky')
    both = measured.counts[SHOWN].sum(0)
    assert both[sky].sum() and not both[len(CLASSES)].any()
    fewer = Vocabulary.parse(VOCABULARY.names[1:])
    outside = measure(Trial(demo, fewer, 'imagenet80', [
        FilePair(frame.image, frame.mask, fewer, (len(CLASSES) - 1,)) for frame in frames[:2]],
        Examples(), tuned=False))
    assert outside.counts[WORD].sum(0)[-1].sum() == sum(
        (cv2.imread(str(frame.mask), 0) == len(CLASSES) - 1).sum() for frame in frames[:2])


def test_many_frames_are_left_out_in_groups(demo, gathered, frames, monkeypatch):
    monkeypatch.setattr('csa_ros.evaluation.teaching.leaving_out.MOST_FOLDS', 2)
    trial = Trial(demo, VOCABULARY, 'imagenet80', frames, gathered.examples, tuned=False)
    assert trial.folds == 2
    words = trial._encode(0)[SHOWN]
    theirs = {frame.image.name for frame in frames[::2]}
    expected = [item for item in gathered.examples
                if item.name == NONSENSE and item.look.camera not in theirs]
    assert words.taught[NONSENSE].count == len(expected)


# The command

def test_a_file_a_table_and_pictures(loaded, demo, frames, capsys, tmp_path):
    assert run(frames, '--classes', NONSENSE, 'sky', '--per-class', '3', '--evaluate',
               'trial') == teach.DONE
    examples = read(tmp_path / 'out.safetensors', demo.fingerprint())
    assert examples.counts == {NONSENSE: 3, 'sky': 3}
    out = capsys.readouterr().out
    assert re.search(rf'\| {NONSENSE} +\| +3 \| +0\.\d+ \| +0\.\d+ \|', out)
    assert 'word alone' in out and 'tuned' not in out
    assert '-p examples:=' in out and '6 frames, each labelled without' in out
    pictures = sorted((tmp_path / 'trial').iterdir())
    assert [path.name for path in pictures] == ['000_sky.png', f'{GRASS:03d}_{NONSENSE}.png']
    assert cv2.imread(str(pictures[0])).ndim == 3
    # Not a second time, unless it is asked for; and then only what is new.
    with pytest.raises(SystemExit) as ended:
        run(frames)
    assert ended.value.code == 2
    assert 'is there already: name a new file, or give --add' in capsys.readouterr().err
    assert run(frames, '--classes', NONSENSE, '--per-class', '4', '--add') == teach.DONE
    assert read(tmp_path / 'out.safetensors').counts == {NONSENSE: 4, 'sky': 3}


def test_the_file_of_another_model_is_not_added_to(loaded, demo, frames, capsys, tmp_path,
                                                   monkeypatch):
    assert run(frames, '--classes', 'sky', '--per-class', '1') == teach.DONE
    before = (tmp_path / 'out.safetensors').read_bytes()
    other = Segmenter(demo.backbone, 'vanilla', Settings(short_side=SIDE))
    monkeypatch.setattr(Segmenter, 'load', lambda **_: other)
    assert run(frames, '--add') == FAILED
    assert re.search(r'seen with attention csa in place of vanilla.*go back to',
                     capsys.readouterr().err)
    assert (tmp_path / 'out.safetensors').read_bytes() == before


@pytest.mark.parametrize('arguments, message', [
    (['--demo'], 'give --images and --masks, or --demo'),
    (['--per-class', '65'], '--per-class is 65: it must be from 1 to 64'),
    (['--limit', '0'], '--limit is 0'),
    (['--tune'], 'give --evaluate with it'),
    (['--out', 'out.txt'], "ends in '.txt'"),
    (['--out', 'nowhere/out.safetensors'], 'there is no folder nowhere'),
    (['--add'], 'leave --add out'),
])
def test_arguments_that_cannot_be(loaded, frames, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        run(frames, *arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('arguments, message', [
    (['--classes', 'dock'], r"--classes has 'dock', which is no name in the vocabulary"),
    (['--vocabulary', 'sky'], r'has the id \d+ .* give --outside'),
    (['--vocabulary', ','.join(f'w{i}' for i in range(255)), '--per-class', '9'],
     '9 examples of each of 255 classes are more than the 1024.*at most 4'),
    (['--limit', '1', '--evaluate', 'trial'], 'leaves out one frame of several'),
    (['--vocabulary', ','.join(f'w{i}' for i in range(20)), '--classes', 'w19'],
     'no frame shows any class well enough'),
])
def test_what_cannot_be_shown_is_told_and_nothing_is_written(
        loaded, frames, capsys, tmp_path, arguments, message):
    assert run(frames, *arguments) == FAILED
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / 'out.safetensors').exists()
