"""The bench's section on labels that follow the image."""

from functools import partial
import json

from csa_ros.bench import agreement
from csa_ros.bench import refine
from csa_ros.model.text import TEMPLATES
from csa_ros.settings import REFINE
from csa_ros.settings import Settings
from csa_ros.tools import bench
import pytest


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    """Run the section on small pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TEMPLATES, 'imagenet80', ('a {}.', 'a photo of a {}.'))
        patch.setattr(agreement, 'STREET_SIZE', (160, 120))
        patch.setattr(agreement, 'STREETS', range(1))
        patch.setattr(refine, 'FRAME_SIZE', (80, 60))
        patch.setattr(refine, 'QUERIES', (14, 40))
        patch.setattr(refine, 'Settings', partial(Settings, short_side=96))
        path = tmp_path_factory.mktemp('bench') / 'figures.json'
        assert bench.main(['refine', '--json', str(path), '--threads', '1', '--refine-device',
                           'cpu', '--refine-rounds', '1']) == 0
    return json.loads(path.read_text())['sections']['refine']


def test_every_way_is_measured_with_every_number_of_queries(result):
    assert [(row['queries'], row['refine']) for row in result['frames']] == [
        (queries, name) for queries in (14, 40) for name in REFINE]
    for row in result['frames']:
        assert row['frame']['median_ms'] > 0
        assert row['equal'] > 0.99 and row['confidence'] <= 5
        assert (row['refine'] == 'off') <= (row['ratio'] == 1)


def test_labels_are_compared_with_the_published_way(result):
    assert result['labels']['pamr-output']['equal'] == 1
    assert 0.5 < result['labels']['pamr']['equal'] < 1
    assert result['labels']['off']['equal'] < 1


def test_tables_have_all_rows(result):
    lines = refine.describe(result).splitlines()
    assert sum(line.startswith('| pamr-output') for line in lines) == 3
    assert sum(line.startswith('| off') for line in lines) == 3
