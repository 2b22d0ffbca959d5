"""The bench's section on RADIO beside CLIP."""

from copy import deepcopy
import json

from csa_ros.bench import radio
from csa_ros.model.towers.radio import RadioVision
from csa_ros.model.weights import catalogue
from csa_ros.tools import bench
import pytest
from radio import SIZES as SMALL
from towers import register


FRAMES = ((64, 48), (128, 72))


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    """Run the section with small towers, whose windows are of 32 pixels."""
    register(tmp_path_factory.mktemp('configs'), 'BenchRadio')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(radio, 'DEFAULT_MODEL', 'random:BenchRadio')
        patch.setattr(radio, 'TOWER', SMALL)
        patch.setattr(radio, 'CLASSES', 3)
        patch.setattr(radio, 'SIZES', FRAMES)
        for name, pixels in (('IMAGE_SIZE', 32), ('STRIDE', 16), ('SHORT_SIDE', 48)):
            patch.setattr(catalogue, f'RADIO_{name}', pixels)
        path = tmp_path_factory.mktemp('bench') / 'figures.json'
        assert bench.main(['radio', '--json', str(path), '--threads', '1', '--radio-device',
                           'cpu', '--radio-rounds', '1']) == 0
    return json.loads(path.read_text())['sections']['radio']


@pytest.fixture
def sized(monkeypatch):
    monkeypatch.setattr(radio, 'SIZES', FRAMES)


def test_towers_cut_as_many_windows(result):
    rows = {(row['model'], row['width']): row for row in result['frames']}
    assert list(rows) == [
        (radio.CLIP, 64), (radio.RADIO, 64), (radio.CLIP, 128), (radio.RADIO, 128),
        (radio.CLIP_BY_ITSELF, 128)]
    for width, _ in FRAMES:
        assert rows[radio.CLIP, width]['windows'] == rows[radio.RADIO, width]['windows']
    # 48 x 85 pixels become 64 x 96 for RADIO.
    assert rows[radio.RADIO, 128]['windows'] == 15
    assert rows[radio.CLIP_BY_ITSELF, 128]['windows'] == 10


def test_every_part_is_timed(result):
    for row in result['frames']:
        assert row['total']['median_ms'] > 0 and row['total']['rounds'] == 1
        assert row['encode']['median_ms'] > 0 and row['decide']['median_ms'] > 0
        assert ({'join', 'scga', 'head'} <= row.keys()) == (row['model'] == radio.RADIO)
    # In float32.
    expected = 4 * sum(weight.numel() for weight in RadioVision(SMALL).parameters())
    assert result['weights'][radio.RADIO] == expected


def test_the_table_has_a_line_for_each(result):
    lines = radio.describe(result).splitlines()
    assert sum(line.startswith('| 128 x 72') for line in lines) == 3
    radios = [line for line in lines if radio.RADIO in line and line.startswith('|')]
    assert len(radios) == 2 and all('|      |' not in line for line in radios)


@pytest.mark.parametrize('total, scga, verdicts', [
    (109, 4, ['met', 'met']), (111, 4, ['not met', 'met']), (100, 6, ['met', 'not met'])])
def test_it_is_judged_by_what_was_asked(result, sized, total, scga, verdicts):
    found = deepcopy(result)
    for row in found['frames']:
        row['total']['median_ms'] = total if row['model'] == radio.RADIO else 100
    # What a CLIP takes for fewer windows is not compared.
    found['frames'][-1]['total']['median_ms'] = 1
    found['frames'][-2]['scga']['median_ms'] = scga
    assert [target.verdict for target in radio.targets(found)] == verdicts
