"""The bench's section on phrases in frames."""

import json

from csa_ros.bench import find
from csa_ros.tools import bench
import pytest
from towers import register


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    """Run the section with a tiny tower."""
    register(tmp_path_factory.mktemp('configs'), 'BenchFind')
    path = tmp_path_factory.mktemp('bench') / 'figures.json'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find, 'SIZES', ((80, 60), (96, 72)))
        assert bench.main(['find', '--json', str(path), '--threads', '1', '--find-model',
                           'random:BenchFind', '--find-device', 'cpu', '--find-rounds', '1']) == 0
    return json.loads(path.read_text())['sections']['find']


def test_every_number_of_phrases_is_timed_with_every_size(result):
    assert [(row['width'], row['phrases']) for row in result['frames']] == [
        (width, phrases) for width in (80, 96) for phrases in (0, 1, 8)]
    for row in result['frames']:
        assert row['frame']['median_ms'] > 0
        assert (row['find'] is None) == (row['phrases'] == 0)


def test_the_target_is_judged_by_the_most_expensive(result):
    target, = find.targets(result)
    worst = max(row['find_share'] for row in result['frames'] if row['find'])
    assert f'{worst:.1%} with' in target.measured
    assert target.met == (worst <= 0.03)
    cheap = {**result, 'frames': [{**row, 'find_share': 0.01} for row in result['frames']]}
    assert find.targets(cheap)[0].met


def test_the_table_has_all_rows(result):
    lines = find.describe(result).splitlines()
    assert sum(line.startswith(('| 80 x 60', '| 96 x 72')) for line in lines) == 6
