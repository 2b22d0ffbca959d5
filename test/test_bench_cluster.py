"""The bench's section on recordings on a cluster."""

from copy import deepcopy
import json

from csa_ros.bench import cluster
from csa_ros.bench import stages
from csa_ros.bench.capacity import CORES
from csa_ros.bench.capacity import GPUS
from csa_ros.bench.capacity import Machines
from csa_ros.tools import bench
import pytest
from towers import register

WIDTH, HEIGHT = SIZE = (96, 64)
GPU = {'machine': {'gpu': 'NVIDIA H200'}, 'sections': {'gpu.frames': {'frames': [
    {'width': WIDTH, 'height': HEIGHT, 'classes': classes, 'method': method,
     'frame': {'median_ms': ms}}
    for classes, method, ms in ((20, 'csa, fp32', 12.3), (20, 'csa', 2.5), (171, 'csa', 4.8))]}}}


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    """Run the section with a tiny tower."""
    register(tmp_path_factory.mktemp('configs'), 'BenchCluster')
    folder = tmp_path_factory.mktemp('bench')
    (folder / 'gpu.json').write_text(json.dumps(GPU))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, 'SIZE', SIZE)
        patch.setattr(stages, 'SEEN_BY', 'random:BenchCluster')
        patch.setattr(stages, 'STREETS', 2)
        assert bench.main([
            'cluster', '--json', str(folder / 'figures.json'), '--threads', '1',
            '--cluster-model', 'random:BenchCluster', '--cluster-device', 'cpu',
            # Whole recordings are those of test_bench_sharing.py.
            '--cluster-rounds', '1', '--cluster-images', '5', '--cluster-runs', '0',
            '--cluster-folder', str(folder), '--cluster-gpu', str(folder / 'gpu.json')]) == 0
    assert {path.name for path in folder.iterdir()} == {'gpu.json', 'figures.json'}
    return json.loads((folder / 'figures.json').read_text())['sections']['cluster']


def test_every_stage_is_timed(result):
    assert set(result['inputs']) == {'jpeg', 'raw'}
    for row in result['inputs'].values():
        assert all(row[name]['median_ms'] > 0 for name in ('cold', 'warm', 'decode'))
    assert [row['model'] for row in result['segment']] == ['random:BenchCluster']
    assert result['segment'][0]['frame']['median_ms'] > 0
    assert [(row['form'], row['outputs']) for row in result['outputs']] == [
        ('bag', ['labels', 'overlay']), ('bag', ['labels']), ('png', ['labels', 'overlay']),
        ('png', ['labels'])]
    assert all(row['write']['median_ms'] > 0 for row in result['outputs'])


def test_bytes_are_those_of_pixels(result):
    pixels = WIDTH * HEIGHT
    raw = result['inputs']['raw']['bytes']
    assert 3 * pixels < raw < 3 * pixels + 100
    assert result['inputs']['jpeg']['bytes'] < raw
    both, labels, _, png = (row['bytes'] for row in result['outputs'])
    # An overlay in a bag has three bytes a pixel, labels one, and a header and index each.
    assert 3 * pixels < both - labels < 3 * pixels + 500
    assert pixels < labels - result['inputs']['jpeg']['bytes'] < pixels + 3000
    assert 0 < png < pixels


def test_the_gpu_is_that_of_the_file(result):
    assert result['gpu'] == {'name': 'NVIDIA H200', 'ms': 2.5}


def test_a_file_without_a_gpu_is_refused(tmp_path, capsys):
    path = tmp_path / 'figures.json'
    path.write_text(json.dumps({'sections': {'core': {}}}))
    assert bench.main(['cluster', '--cluster-gpu', str(path)]) == 1
    assert 'bench gpu.frames --json FILE' in capsys.readouterr().err


@pytest.fixture
def measured(result):
    """Return the result with times by hand, in ms, and bytes."""
    made = deepcopy(result)
    for row, ms in zip(made['inputs'].values(), (5, 1)):
        row.update(cold={'median_ms': 1}, decode={'median_ms': ms})
    made['inputs']['jpeg']['bytes'], made['inputs']['raw']['bytes'] = 3e5, 3e6
    for row, ms, size in zip(made['outputs'], (4, 3, 90, 9), (4e6, 1e6, 1e6, 1e4)):
        row['write'], row['bytes'] = {'median_ms': ms}, size
    made['segment'][0]['frame'] = {'median_ms': 4000}
    return made


def test_the_sum_is_made_of_the_stages(measured):
    rows = cluster.estimates(measured, Machines(1, 112, 8))
    assert [(kind, written['form']) for kind, written, _ in rows] == [
        *(('jpeg', form) for form in ('bag', 'bag', 'png', 'png')), ('raw', 'bag')]
    first, _, pictures, small, raw = (found for _, _, found in rows)
    # 10 ms of a core and 2.5 ms of a GPU.
    assert first.rates == pytest.approx({CORES: 11_200, GPUS: 3_200})
    assert first.limit == GPUS
    # 96 ms.
    assert (pictures.limit, pictures.stage) == (CORES, 'write')
    assert pictures.rates[CORES] == pytest.approx(112 / 0.096)
    assert small.written == pytest.approx(36e6 * 1e4)
    # The bag holds the raw image in place of the JPEG.
    assert (raw.read, raw.written) == pytest.approx((36e6 * 3e6, 36e6 * 6.7e6))


def test_cores_segment_where_there_is_no_gpu(measured):
    found = cluster.estimates(measured, Machines(100, 2))[0][2]
    assert found.rates == pytest.approx({CORES: 200 / 4.010})
    assert (found.limit, found.stage) == (CORES, 'segment')


def test_tables_have_a_row_for_each(measured):
    lines = cluster.describe(measured).splitlines()
    # Three of each input, a model, and four that are written.
    assert sum(line.startswith(('| read', '| decode', '| segment', '| write'))
               for line in lines) == 6 + 1 + 4
    assert sum(line.startswith('| 1 x 112 cores and 8 GPUs') for line in lines) == 5
    assert sum(line.startswith('| 100 x 2 cores') for line in lines) == 5
    assert '36,000,000 images' in cluster.describe(measured)


def test_whole_recordings_are_judged_by_their_slowest_workers(result):
    assert cluster.targets(result)[0].met is None
    assert 'not measured: --cluster-runs is 0.' in cluster.describe(result)
    cases = [{'way': way, 'workers': workers, 'rate': 2 * ratio, 'ratio': ratio, 'start': 9.5}
             for way, workers, ratio in (('one process', 1, 1), ('shards', 2, 0.7),
                                         ('Ray', 2, 1.2), ('Ray', 4, 0.91))]
    made = {**result, 'whole': {
        'model': 'demo', 'width': 96, 'height': 64, 'cores': 2, 'images': 128, 'parts': 16,
        'rounds': 3, 'cases': cases}}
    assert cluster.targets(made)[0].met
    assert cluster.targets(made)[0].measured == '2: 1.20 times as fast, 4: 0.91 times as fast'
    assert sum(line.startswith(('| one process', '| shards', '| Ray'))
               for line in cluster.describe(made).splitlines()) == 4
    cases[-1]['ratio'] = 0.89
    assert not cluster.targets(made)[0].met


def test_what_was_not_timed_is_not_told(measured):
    text = cluster.describe({**measured, 'gpu': None})
    assert 'Not told here: 1 x 112 cores and 8 GPUs,' in text
    assert '| 100 x 2 cores' in text
    measured['segment'][0]['device'] = 'cuda'
    text = cluster.describe(measured)
    assert 'Not told here: 100 x 2 cores,' in text and '| 1 x 112 cores' in text
    assert 'Not told' not in cluster.describe({**measured, 'machines': [
        {'count': 1, 'cores': 112, 'gpus': 8}]})
