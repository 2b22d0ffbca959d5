"""The bench of a GPU: on a CPU with tiny inputs, and the whole of it where there is a GPU."""

import json

from csa_ros.bench import agreement
from csa_ros.bench import page
from csa_ros.bench import sections
from csa_ros.bench.gpu import cameras
from csa_ros.bench.gpu import frames
from csa_ros.bench.gpu import kernels
from csa_ros.bench.gpu import precision
from csa_ros.bench.gpu import towers
from csa_ros.bench.timing import machine
from csa_ros.segmenter import Segmenter
from csa_ros.tools import bench
import pytest
import torch
from towers import make_backbone

GPU = torch.cuda.is_available()
NAMES = [name for name in sections.SECTIONS if name.startswith('gpu.')]
MODULES, _ = sections.load()


@pytest.fixture(scope='module')
def backbone():
    return make_backbone()


def timing(median, p99=None):
    return {'median_ms': median, 'p95_ms': median, 'p99_ms': p99 or median, 'rounds': 3}


@pytest.fixture(scope='module')
def figures(backbone, tmp_path_factory):
    """Return what the sections find on a CPU in a GPU's place, as they leave it for JSON."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, 'STREET_SIZE', (64, 64))
        patch.setattr(agreement, 'STREETS', range(1))
        agreed = agreement.measure(('fp32', 'bf16'), 'cpu')
    methods = {method: frames.make_segmenter(backbone, method) for method in frames.METHODS
               if method.attention == 'csa'}
    rows = [row for classes in (2, 5)
            for row in frames.measure_methods(methods, (80, 60), classes, 1)]
    paths = frames.measure_paths(backbone, (80, 60), 3, 1)
    trace = tmp_path_factory.mktemp('traces') / 'trace.json.gz'
    case = kernels.measure_case(backbone, frames.METHODS[0], (80, 60), 3, 2, trace)
    assert trace.stat().st_size > 1000
    described = {'method': 'csa', 'width': 80, 'height': 60, 'classes': 3, **case}
    # The names of precisions that a CPU has not.
    agreed = [{**row, 'precision': row['precision'].replace('bf16', 'fp16')} for row in agreed]
    result = {
        'gpu.frames': {'model': 'tiny', 'frames': rows, 'paths': paths},
        'gpu.kernels': {'model': 'tiny', 'cases': [described]},
        'gpu.cameras': {'model': 'tiny', **cameras.measure_cameras(
            Segmenter(backbone), (80, 60), 1, 0.05)},
        'gpu.precision': {'agreement': agreed},
        'gpu.towers': {'model': 'tiny', 'windows': 2, 'missing': {'torch.compile': 'no compiler'},
                       'towers': {towers.EAGER: {**timing(4), 'error': 0.0},
                                  'graph': {**timing(1), 'error': 1e-3}}}}
    return json.loads(json.dumps(result))


def test_every_method_has_its_frames(figures):
    rows = figures['gpu.frames']['frames']
    assert [(row['classes'], row['method']) for row in rows] == [
        (classes, name) for classes in (2, 5) for name in ('csa', 'csa, fp32', 'csa, pamr')]
    assert all(row['frame']['median_ms'] > 0 for row in rows)


def test_the_plain_path_runs_beside_and_agrees(figures):
    paths = figures['gpu.frames']['paths']
    assert paths['equal'] >= 0.9999
    assert {'graph', 'eager', 'plain'} < set(paths)


def test_kernels_are_listed_by_their_time(figures):
    case, = figures['gpu.kernels']['cases']
    times = [row['us'] for row in case['kernels']]
    assert times == sorted(times, reverse=True) and sum(times) == pytest.approx(case['us'])
    linear, = (row for row in case['kernels'] if row['name'] == 'aten::addmm')
    assert linear['calls'] >= 4


def test_cameras_go_as_one_batch(figures):
    result = figures['gpu.cameras']
    assert result['cameras'] == 4 and result['rate'] > 0


@pytest.mark.parametrize('name', NAMES)
def test_each_section_says_what_it_found(figures, name):
    text = page.section_text(MODULES[name], figures[name])
    assert {'gpu.frames': '80 x 60', 'gpu.kernels': 'aten::addmm', 'gpu.cameras': '4 cameras',
            'gpu.precision': 'exact fp16', 'gpu.towers': 'no compiler'}[name] in text


def test_kernels_have_names_that_fit_a_table():
    text = kernels._shortened(f"void at::native::vectorized<(a|b), {'c' * 100}>(int)")
    assert text.startswith('`vectorized<(a/b), ccc') and text.endswith('...`') and len(text) < 80


@pytest.mark.parametrize('frame, plain, verdicts', [
    (timing(4, 6), 60, [True, True]), (timing(4.1, 4.2), 60, [False, False]),
    (timing(4, 6.1), 70, [False, True])])
def test_frames_are_judged_by_what_was_asked(frame, plain, verdicts):
    result = {'frames': [{'frame': frame}, {'frame': timing(99)}],
              'paths': {'graph': frame, 'plain': timing(plain)}}
    found = frames.targets(result)
    assert [target.met for target in found] == verdicts
    assert tuple(target.aim for target in found) == frames.AIMS


def test_other_targets_are_judged_too():
    for rate, met in ((30, True), (29.9, False)):
        assert cameras.targets({'rate': rate})[0].met is met
    for equal, met in ((0.995, True), (0.9949, False)):
        rows = [{'path': path, 'precision': 'fp16', 'equal': share, 'feature_error': 0.1}
                for path, share in (('whole', 0.5), ('exact', equal))]
        assert precision.targets({'agreement': rows})[0].met is met


def test_without_figures_of_a_gpu_the_page_says_so():
    text = page.text([{'machine': machine(), 'command': 'bench', 'sections': {}}], MODULES, [])
    for name in NAMES:
        for aim in getattr(MODULES[name], 'AIMS', ()):
            line, = (line for line in text.splitlines() if aim in line)
            assert 'not measured here' in line


@pytest.mark.skipif(GPU, reason='there is a GPU')
def test_a_machine_without_a_gpu_is_told_so(capsys):
    with pytest.raises(SystemExit):
        bench.main(['gpu.frames'])
    assert "'gpu.frames' cannot run here: PyTorch" in capsys.readouterr().err


@pytest.mark.skipif(not GPU, reason='there is no CUDA GPU')
def test_all_of_it_runs_on_a_gpu(tmp_path):
    path = tmp_path / 'gpu.json'
    assert bench.main([*NAMES, '--json', str(path), '--gpu-model', 'demo', '--kernels-model',
                       'demo', '--cameras-model', 'demo', '--towers-model', 'demo',
                       '--gpu-rounds', '2', '--gpu-plain-rounds', '2', '--kernels-frames', '1',
                       '--cameras-rounds', '1', '--cameras-seconds', '0.1',
                       '--towers-rounds', '2']) == 0
    assert list(json.loads(path.read_text())['sections']) == NAMES
