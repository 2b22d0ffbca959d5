"""The tool evaluate: from data sets to figures and pictures, over interruptions."""

from dataclasses import replace
import json
import multiprocessing
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from csa_ros.evaluation import run as running
from csa_ros.evaluation.datasets.benchmark import BenchmarkError
from csa_ros.evaluation.datasets.benchmarks import BENCHMARKS
from csa_ros.evaluation.datasets.demo import DEMO
from csa_ros.evaluation.datasets.demo import Street
from csa_ros.evaluation.datasets.demo import streets
from csa_ros.evaluation.datasets.reading import read
from csa_ros.evaluation.records import Writer
from csa_ros.evaluation.report.result import describe_all
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.file import write
from csa_ros.tools import evaluate
import cv2
import groupvit
import numpy as np
import pytest
import radio
import torch
from torchmetrics.classification import MulticlassJaccardIndex
from towers import make_backbone

PICTURES = 5


@pytest.fixture(scope='module')
def backbone():
    """Return a tiny random tower."""
    return make_backbone()


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(autouse=True)
def tiny(monkeypatch, backbone, cache):
    prepare(monkeypatch, backbone, cache)


def prepare(monkeypatch, backbone, cache):
    """Let the tool use the tiny tower, and know the data sets `tiny` and `other`."""
    monkeypatch.setattr(evaluate, 'load_backbone', lambda model, device, precision: backbone)
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
    # Plots take longer than all the rest.
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    tiny = replace(DEMO, name='tiny', title='Tiny streets', samples=small_streets,
                   published={'csa': 20.0}, sources={'csa': 'a paper'})
    other = replace(tiny, name='other', title='Other streets', published={'csa': 10.0})
    for benchmark in (tiny, other):
        monkeypatch.setitem(evaluate.BENCHMARKS, benchmark.name, benchmark)


def small_streets(root):
    return [Street(seed, (64, 48)) for seed in range(PICTURES)]


def call(out, *arguments, dataset=('tiny',)):
    return evaluate.main([
        '--dataset', *dataset, '--root', str(out), '--out', str(out / 'out'), '--prompts',
        'simple', '--threads', '1', '--worst', '1', *arguments])


def folder(out, attention='csa', dataset='tiny'):
    found, = (out / 'out' / dataset).glob(f'{attention}-*')
    return found


def result(out, **names):
    return json.loads((folder(out, **names) / 'result.json').read_text())


def figures(out, **names):
    """Return all of a result that does not depend on when it was made."""
    changing = ('seconds', 'machine', 'command')
    return {key: value for key, value in result(out, **names).items() if key not in changing}


@pytest.fixture(scope='module')
def whole(tmp_path_factory, backbone, cache):
    """Return a folder with the result of an uninterrupted run, without plots."""
    out = tmp_path_factory.mktemp('whole')
    with pytest.MonkeyPatch.context() as patch:
        prepare(patch, backbone, cache)
        assert call(out) == 0
    return out


def pixels(path):
    image = cv2.imread(str(path))
    assert image is not None, path
    return image


# What comes out

def test_iou_is_that_of_torchmetrics(whole, backbone):
    segmenter = Segmenter(backbone)
    words = segmenter.encode(DEMO.words(), 'simple')
    metric = MulticlassJaccardIndex(len(words.vocabulary), average=None,
                                    zero_division=float('nan'))
    for street in small_streets(None):
        rgb, truth = street.read()
        labels = segmenter.segment(rgb, words).labels
        metric.update(torch.from_numpy(labels), torch.from_numpy(truth))
    expected = metric.compute().numpy()
    found = [entry['iou'] for entry in result(whole)['classes']]
    np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-6)
    assert result(whole)['miou'] == pytest.approx(np.nanmean(expected))


def test_tables_and_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, 'matplotlib.figure')
    assert call(tmp_path, '--worst', '2') == 0
    found = result(tmp_path)
    printed = capsys.readouterr().out
    assert f"Tiny streets: mIoU {100 * found['miou']:.1f}" in printed
    assert 'traffic cone' in printed
    assert (folder(tmp_path) / 'result.md').read_text().strip() in printed
    for name in ('confusion.png', 'classes.png'):
        image = pixels(folder(tmp_path) / name)
        assert min(image.shape[:2]) > 300
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10
    # Two rows of three panels of 400 x 300 pixels.
    height, width = pixels(folder(tmp_path) / 'worst.png').shape[:2]
    assert 600 < height < 750
    assert 1200 < width < 1500
    counted = np.array(found['confusion']).sum()
    assert counted == PICTURES * 64 * 48
    assert found['segmented'] == found['total'] == PICTURES
    assert sum(entry['share'] for entry in found['classes']) == pytest.approx(1)


def test_the_published_figure_stands_beside_ours(whole, capsys):
    assert call(whole) == 0
    printed = capsys.readouterr().out
    gap = 100 * result(whole)['miou'] - 20
    assert f'Published for csa: 20.0 (a paper); here {gap:+.1f}.' in printed
    # A tiny tower, and other prompts.
    assert ('Not as published (Tiny streets): model tiny, published with '
            'ViT-B-16-quickgelu/openai; prompts simple') in printed


def test_without_matplotlib_there_are_figures_and_a_hint(whole, capsys):
    assert call(whole) == 0
    assert 'pip install matplotlib' in capsys.readouterr().err
    assert not (folder(whole) / 'confusion.png').exists()
    assert (folder(whole) / 'worst.png').exists()
    assert (folder(whole) / 'result.json').exists()


# Going on

@pytest.mark.parametrize('left', [0.0, 0.3, 0.55, 0.999])
def test_a_killed_run_goes_on_and_ends_like_an_uninterrupted_one(tmp_path, whole, left):
    """Whatever share of the bytes it had written, also in the middle of a line."""
    lines = (folder(whole) / 'pictures.0-1.jsonl').read_bytes()
    target = tmp_path / 'out' / 'tiny' / folder(whole).name
    target.mkdir(parents=True)
    kept = lines[:int(left * len(lines))]
    (target / 'pictures.0-1.jsonl').write_bytes(kept)
    (target / 'method.json').write_bytes((folder(whole) / 'method.json').read_bytes())
    assert call(tmp_path) == 0
    assert figures(tmp_path) == figures(whole)
    whole_lines = kept[:kept.rfind(b'\n') + 1]
    assert (target / 'pictures.0-1.jsonl').read_bytes().startswith(whole_lines)


def test_ctrl_c_leaves_what_is_done(tmp_path, whole, monkeypatch, capsys):
    add, done = Writer.add, []

    def interrupted(self, record):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(record.picture)
        add(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, 'add', interrupted)
        assert call(tmp_path) == 130
    assert 'the same command goes on' in capsys.readouterr().err
    segmented = []
    labels = running.Task.labels
    monkeypatch.setattr(running.Task, 'labels',
                        lambda self, rgb: segmented.append(1) or labels(self, rgb))
    assert call(tmp_path, '--worst', '1') == 0
    # The rest, and the worst one for its picture.
    assert len(segmented) == PICTURES - 2 + 1
    assert figures(tmp_path) == figures(whole)


def test_a_finished_one_segments_nothing(whole, monkeypatch, capsys):
    monkeypatch.setattr(running.Task, 'labels', None)
    assert call(whole) == 0
    assert 'Tiny streets: mIoU' in capsys.readouterr().out


def test_other_settings_begin_anew_beside_it(tmp_path, whole):
    assert call(tmp_path) == 0
    assert call(tmp_path, '--logit-scale', '2', '--unknown-threshold', '0.3') == 0
    first, second = sorted((tmp_path / 'out' / 'tiny').iterdir(),
                           key=lambda path: path.stat().st_ctime)
    one, other = (json.loads((path / 'result.json').read_text()) for path in (first, second))
    assert one['miou'] == result(whole)['miou']
    assert other['method']['unknown_threshold'] == 0.3
    unknown = np.array(other['confusion'])[:, -1]
    assert unknown.sum() > 0
    assert (np.array(one['confusion'])[:, -1] == 0).all()


def test_examples_of_the_classes_count(tmp_path, whole, backbone, monkeypatch, capsys):
    segmenter = Segmenter(backbone)
    rgb, _ = Street(0, (64, 48)).read()
    examples = Examples()
    for name in ('sky', 'dock'):
        examples = examples.add(name, segmenter.look(rgb, (0, 0, 64, 12)))
    file = tmp_path / 'taught.safetensors'
    write(file, examples)
    assert call(tmp_path) == 0
    assert call(tmp_path, '--examples', str(file)) == 0
    said = capsys.readouterr()
    assert 'has no class dock, whose examples do not count' in said.err
    assert 'classes taught by examples' in said.out
    first, second = sorted((tmp_path / 'out' / 'tiny').iterdir(),
                           key=lambda path: path.stat().st_ctime)
    one, other = (json.loads((path / 'result.json').read_text()) for path in (first, second))
    assert one['method'] == result(whole)['method'] and 'examples' not in one['method']
    assert one['confusion'] != other['confusion']
    assert 'with examples, published without' in other['deviations']
    # Windows of another size, a class of another name, and no file.
    assert call(tmp_path, '--examples', str(file), '--crop', '64') == 1
    assert 'Tiny streets: the examples in' in capsys.readouterr().err
    write(file, examples.forget('sky'))
    assert call(tmp_path, '--examples', str(file)) == 1
    assert 'has no example of any of its classes' in capsys.readouterr().err
    assert call(tmp_path, '--examples', 'nothing') == 1
    assert 'there is no file of examples nothing' in capsys.readouterr().err


def test_a_folder_of_another_method_is_left_alone(tmp_path, whole, capsys):
    target = tmp_path / 'out' / 'tiny' / folder(whole).name
    target.mkdir(parents=True)
    (target / 'method.json').write_text('{"model": "another"}')
    assert call(tmp_path) == 1
    assert 'holds results of another method' in capsys.readouterr().err


def test_a_damaged_record_is_named(tmp_path, whole, capsys):
    target = tmp_path / 'out' / 'tiny' / folder(whole).name
    target.mkdir(parents=True)
    (target / 'pictures.0-1.jsonl').write_text('{"picture": "street-000"}\n')
    assert call(tmp_path) == 1
    assert 'line 1 of' in capsys.readouterr().err


# Sharing the work

def test_workers_change_nothing(tmp_path, whole):
    assert call(tmp_path, '--workers', '2') == 0
    assert figures(tmp_path) == figures(whole)


def test_shards_make_one_result(tmp_path, whole, capsys):
    assert call(tmp_path, '--shard', '1/2') == 3
    assert 'this share is done' in capsys.readouterr().err
    assert call(tmp_path, '--shard', '0/2') == 0
    assert figures(tmp_path) == figures(whole)


HOLD = """
import fcntl, sys
file = open(sys.argv[1], 'w')
fcntl.lockf(file, fcntl.LOCK_EX)
print('held', flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_write_one_file(tmp_path, whole, capsys):
    target = tmp_path / 'out' / 'tiny' / folder(whole).name
    target.mkdir(parents=True)
    with subprocess.Popen([sys.executable, '-c', HOLD, target / 'pictures.0-1.lock'],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'held\n'
        assert call(tmp_path) == 1
        process.stdin.close()
    assert 'another process is writing' in capsys.readouterr().err
    assert call(tmp_path) == 0


def read_and_be_killed(sender):
    pictures = read([Street(seed) for seed in range(9)], workers=1)
    next(pictures)
    reader, = multiprocessing.active_children()
    sender.send(reader.pid)
    os.kill(os.getpid(), signal.SIGKILL)


def test_readers_end_with_a_process_that_is_killed():
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=read_and_be_killed, args=(sender,))
    process.start()
    reader = Path('/proc', str(receiver.recv()))
    process.join()
    deadline = time.monotonic() + 20
    while reader.exists() and reader.joinpath('stat').read_text().split()[2] != 'Z':
        assert time.monotonic() < deadline, reader
        time.sleep(0.1)


# A part, and several

def test_a_limited_run_says_so_and_is_not_compared(tmp_path, capsys):
    assert call(tmp_path, '--limit', '2') == 0
    printed = capsys.readouterr().out
    assert '2 of 5 pictures' in printed
    assert 'not comparable with 2 of 5 pictures' in printed
    assert 'here +' not in printed and 'here -' not in printed
    assert list(result(tmp_path)['pictures']) == ['street-000', 'street-002']
    # All of them go on from there.
    lines = (folder(tmp_path) / 'pictures.0-1.jsonl').read_bytes()
    assert call(tmp_path) == 0
    assert (folder(tmp_path) / 'pictures.0-1.jsonl').read_bytes().startswith(lines)
    assert result(tmp_path)['segmented'] == 5


def test_all_goes_on_without_what_is_missing(tmp_path, monkeypatch, capsys):
    def missing(root):
        raise BenchmarkError(f'there is no folder {root}/absent: unpack it')

    tiny = evaluate.BENCHMARKS['tiny']
    absent = replace(tiny, name='absent', title='Absent streets', samples=missing)
    monkeypatch.setattr(evaluate, 'BENCHMARKS', {
        'absent': absent, 'tiny': tiny, 'other': evaluate.BENCHMARKS['other'], 'demo': DEMO})
    assert evaluate.main(['--all', '--root', str(tmp_path), '--out', str(tmp_path / 'out'),
                          '--prompts', 'simple']) == 1
    printed, said = capsys.readouterr()
    assert 'absent: unpack it' in said
    assert 'No figure for Absent streets: there is no folder' in printed
    gaps = [100 * result(tmp_path, dataset=name)['miou'] - published
            for name, published in (('tiny', 20), ('other', 10))]
    assert 'Not as published (Tiny streets; Other streets): model tiny' in printed
    row, = (line for line in printed.splitlines() if line.startswith('| mean of 2'))
    assert [cell.strip() for cell in row.split('|')[3:5]] == ['15.0', f'{np.mean(gaps):+.1f}']
    summary, = (tmp_path / 'out').glob('summary-csa-*.json')
    assert [entry['dataset'] for entry in json.loads(summary.read_text())['results']] == [
        'tiny', 'other']
    assert 'Absent streets' in summary.with_suffix('.md').read_text()


def test_all_are_the_eight_of_the_paper():
    names = evaluate._names(evaluate.make_parser().parse_args(['--all']))
    assert [name for name in names if name not in ('tiny', 'other')] == list(BENCHMARKS)
    assert len(BENCHMARKS) == 8


def test_a_data_set_on_disk(tmp_path, monkeypatch, capsys):
    """Pascal VOC in its official folders: what no label is sure enough of is background."""
    place = tmp_path / 'VOCdevkit' / 'VOC2012'
    names = ('2007_000033', '2007_000042')
    for path in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (place / path).mkdir(parents=True)
    (place / 'ImageSets/Segmentation/val.txt').write_text('\n'.join(names))
    for seed, name in enumerate(names):
        rgb, truth = Street(seed, (64, 48)).read()
        assert cv2.imwrite(str(place / 'JPEGImages' / f'{name}.jpg'), rgb[:, :, ::-1])
        # The ids of Pascal VOC; its borders between things do not count.
        assert cv2.imwrite(str(place / 'SegmentationClass' / f'{name}.png'),
                           np.where(truth == 1, 255, np.where(truth == 6, 7, 0)))
    voc21 = BENCHMARKS['voc21']
    monkeypatch.setitem(evaluate.BENCHMARKS, 'voc21', replace(
        voc21, samples=replace(voc21.samples, counts=(2,))))
    assert evaluate.main(['--dataset', 'voc21', '--root', str(tmp_path), '--out',
                          str(tmp_path / 'out'), '--prompts', 'simple', '--worst', '1',
                          '--unknown-threshold', '0.5']) == 0
    found = result(tmp_path, dataset='voc21')
    # The tower's native pictures are of 32 pixels, where ViT-B/16 has 224.
    assert [found['method'][name] for name in ('short_side', 'crop', 'stride')] == [48, 32, 16]
    assert found['method']['min_area'] == 0.1
    matrix = np.array(found['confusion'])
    assert (matrix[:, -1] == 0).all()
    assert matrix[0, 0] > 0
    truths = [cv2.imread(str(place / 'SegmentationClass' / f'{name}.png'), -1) for name in names]
    assert matrix.sum() == sum((truth != 255).sum() for truth in truths)
    assert 'Published for csa: 59.1' in capsys.readouterr().out


# What is refused

def test_a_picture_that_cannot_be_read_stops_the_run(tmp_path, monkeypatch, capsys):
    class Damaged(Street):

        def read(self):
            raise BenchmarkError('street-003 is damaged: unpack the archive again')

    broken = replace(evaluate.BENCHMARKS['tiny'], samples=lambda root: [
        Damaged(3) if street.seed == 3 else street for street in small_streets(root)])
    monkeypatch.setitem(evaluate.BENCHMARKS, 'tiny', broken)
    assert call(tmp_path, '--workers', '1') == 1
    said = capsys.readouterr().err
    assert 'evaluate: street-003 is damaged: unpack the archive again' in said.splitlines()
    assert 'Traceback' not in said
    assert len((folder(tmp_path) / 'pictures.0-1.jsonl').read_bytes().splitlines()) == 3


def test_a_truth_of_another_size_is_named(tmp_path, monkeypatch, capsys):
    class Cut(Street):

        def read(self):
            rgb, truth = super().read()
            return rgb, truth[1:]

    broken = replace(evaluate.BENCHMARKS['tiny'], samples=lambda root: [Cut(0, (64, 48))])
    monkeypatch.setitem(evaluate.BENCHMARKS, 'tiny', broken)
    assert call(tmp_path) == 1
    assert 'street-000: the picture has 64 x 48 pixels and its truth 64 x 47' in (
        capsys.readouterr().err)


def test_an_out_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / 'out').write_text('a file')
    assert call(tmp_path) == 1
    assert str(tmp_path / 'out') in capsys.readouterr().err


def test_a_missing_model_is_explained(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    assert evaluate.main(['--dataset', 'demo', '--model', 'ViT-B-16-quickgelu:/no/file',
                          '--out', str(tmp_path)]) == 1
    assert 'there is no file /no/file' in capsys.readouterr().err


@pytest.mark.parametrize('arguments, message', [
    ([], 'name data sets with --dataset'),
    (['--all', '--dataset', 'demo'], 'name data sets with --dataset'),
    (['--dataset', 'voc12'], "no data set 'voc12' (did you mean voc21?)"),
    (['--dataset', 'demo', '--attention', 'vanila'], "no attention 'vanila' (did you mean "),
    (['--dataset', 'demo', '--prompts', 'imagenet'], "prompt template 'imagenet' must hold"),
    (['--dataset', 'voc21'], 'with --root'),
    (['--dataset', 'demo', '--limit', '0'], '--limit is 0: it must be at least 1'),
    (['--dataset', 'demo', '--workers', '-1'], '--workers is -1'),
    (['--dataset', 'demo', '--shard', '2/2'], 'shard is 2/2'),
    (['--dataset', 'demo', '--compare', '--examples', 'x'], 'cannot be combined with --compare'),
    (['--dataset', 'demo', '--inference', 'tiles'], "invalid choice: 'tiles'"),
])
def test_bad_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('arguments, message', [
    (['--crop', '30'], 'crop is 30 pixels'),
    (['--unknown-threshold', '2'], 'unknown_threshold is 2.0: it must be from 0 to 1'),
])
def test_settings_that_do_not_fit_are_refused(tmp_path, arguments, message, capsys):
    assert call(tmp_path, *arguments) == 1
    assert message in capsys.readouterr().err


# RADIO

@pytest.fixture
def as_radio(monkeypatch):
    """Let the tool use the small RADIO, which knows the words of the streets."""
    small = radio.backbone()
    features = torch.randn(len(DEMO.words()), 48, generator=torch.Generator().manual_seed(0))
    texts = radio.Texts(dict(zip(DEMO.words().queries, features)))
    small = replace(small, text=texts, name='c-radio-v3-b:/a/file')
    monkeypatch.setattr(evaluate, 'load_backbone', lambda model, device, precision: small)


@pytest.mark.parametrize('name', ['radseg', 'csa'])
def test_auto_goes_on_where_the_name_was_given(tmp_path, monkeypatch, request, name):
    """Records say what was meant, so that nothing is segmented again."""
    if name == 'radseg':
        request.getfixturevalue('as_radio')
    assert call(tmp_path, '--attention', name) == 0
    monkeypatch.setattr(Segmenter, 'segment', None)
    assert call(tmp_path) == 0
    assert result(tmp_path, attention=name)['method']['attention'] == name


def test_settings_of_radio_are_taken_and_replaced(tmp_path, as_radio, monkeypatch):
    monkeypatch.setitem(evaluate.BENCHMARKS, 'tiny', replace(
        evaluate.BENCHMARKS['tiny'], radio=BENCHMARKS['voc20'].radio))
    assert call(tmp_path, '--resolution', 'mid', '--denoise', '0.3', '--limit', '1') == 0
    found = result(tmp_path, attention='radseg')
    # The small tower's own size is 96 pixels.
    assert [found['method'][name] for name in ('short_side', 'crop', 'stride')] == [144, 144, 48]
    assert (found['method']['denoise'], found['method']['logit_scale']) == (0.3, 100)
    assert found['published'] is None
    assert call(tmp_path, '--attention', 'csa', '--limit', '1') == 0
    assert result(tmp_path, attention='csa')['method']['denoise'] == 0


# GroupViT

def test_groupvit_has_no_words_for_the_background(tmp_path, monkeypatch):
    """What is below its threshold is the background, and every pixel counts as something."""
    small = groupvit.backbone(preset=groupvit.READING)
    monkeypatch.setattr(evaluate, 'load_backbone', lambda model, device, precision: small)
    tiny = evaluate.BENCHMARKS['tiny']
    monkeypatch.setitem(evaluate.BENCHMARKS, 'tiny', replace(
        tiny, unknown_class=0, published={'grouping': 50.0},
        groupvit=Settings(short_side=64, crop=64, stride=32, unknown_threshold=1.0)))
    assert call(tmp_path, '--limit', '1') == 0
    found = result(tmp_path, attention='grouping')
    assert (found['method']['crop'], found['method']['prompts']) == (64, ['a photo of a {}.'])
    assert found['published']['miou'] == 50 and not found['deviations']
    counts = np.array(found['confusion'])
    assert counts[:, 0].sum() and not counts[:, -1].sum()
    # Where nothing is below it, nothing is the background.
    other = tmp_path / 'other'
    assert call(other, '--limit', '1', '--unknown-threshold', '0') == 0
    found = result(other, attention='grouping')
    assert not np.array(found['confusion'])[:, 0].sum()
    assert call(tmp_path, '--limit', '1', '--attention', 'csa') == 1


def of_radio(name, **method):
    method = {'model': 'c-radio-v3-b:/a/file', 'attention': 'radseg', 'residual': 'auto',
              'refine': 'off', 'prompts': [''], **method}
    return {'dataset': name, 'title': BENCHMARKS[name].title, 'miou': 0.5, 'segmented': 7,
            'total': 7, 'published': None, 'deviations': [], 'method': method}


FIVE = ('voc20', 'context59', 'ade20k', 'coco_stuff', 'cityscapes')


def test_what_is_published_of_radseg_is_a_mean():
    text = describe_all([of_radio(name) for name in BENCHMARKS], {})
    row, = (line for line in text.splitlines() if line.startswith('| mean of the 5'))
    assert [cell.strip() for cell in row.split('|')[2:5]] == ['50.0', '48.0', '+2.0']
    assert 'arXiv 2511.19704 (RADSeg), read off a figure, +- 0.1' in text
    assert 'mean of 8' in text and text.count('48.0') == 1
    differing = [of_radio(name) for name in FIVE]
    differing[0]['deviations'] = ['denoise 0.0, published with 0.5']
    assert ('Not as published (Pascal VOC 2012): denoise 0.0, published with 0.5.'
            in describe_all(differing, {}))


@pytest.mark.parametrize('names, method', [
    (FIVE[1:], {}), (FIVE, {'model': 'c-radio-v3-l'}), (FIVE, {'model': 'openai-b16'}),
    (FIVE, {'attention': 'csa'}), (FIVE, {'refine': 'pamr'})])
def test_the_mean_is_not_shown_beside_something_else(names, method):
    text = describe_all([of_radio(name, **method) for name in names], {})
    assert '48.0' not in text and '2511.19704' not in text


def test_the_mean_wants_all_pictures():
    part = [of_radio(name) for name in FIVE]
    part[2]['segmented'] = 3
    assert '48.0' not in describe_all(part, {})


# The demo benchmark

def test_demo_streets_are_those_of_docs_accuracy():
    assert [street.name for street in streets()] == [f'street-{i:03d}' for i in range(100)]
    rgb, truth = streets()[7].read()
    assert rgb.shape == (240, 320, 3)
    assert truth.max() < len(DEMO.words())
    assert DEMO.settings == Settings()
