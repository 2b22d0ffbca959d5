"""The videos of the bench, and that its figures mean what they say."""

import json
from types import SimpleNamespace

from csa_ros.bench import video as section
from csa_ros.bench.video import video
from csa_ros.demo.scenes import Scene
from csa_ros.tools.arguments.bench import make_parser
import numpy as np
import pytest
from tqdm import tqdm

OPTIONS = ['--video-seeds', '3', '--video-frames', '3', '--video-thresholds', '4', '255',
           '--video-device', 'cpu']
# What is measured with the demo model: when the camera stops has a test of its own.
MEASURED = ('driving', 'parked', 'still')


@pytest.fixture(scope='module')
def result():
    with pytest.MonkeyPatch.context() as patch:
        # The other model is large, and takes as long as all the rest.
        patch.setattr(section, 'CHECK_MODELS', ('demo',))
        patch.setattr(section, 'CHECK_SIZES', ((160, 120),))
        patch.setattr(section, 'CASES', {case: section.CASES[case] for case in MEASURED})
        patch.setattr(section, 'CHECK_ROUNDS', 2)
        with tqdm(disable=True) as progress:
            return section.measure(make_parser().parse_args(OPTIONS), progress)


def row(result, case, threshold):
    found, = (row for row in result['agreement']
              if row['case'] == case and row['threshold'] == threshold)
    return found


@pytest.mark.parametrize(('case', 'still'), [
    ('driving', [False] * 7), ('stop', [False] * 2 + [True] * 4 + [False]),
    ('still', [True] * 7)])
def test_the_camera_stands_when_it_should(case, still, monkeypatch):
    views = []

    def render(self, time, size, traffic_time):
        views.append(time)
        return SimpleNamespace(rgb=np.zeros((2, 2, 3), np.uint8), labels=None)

    monkeypatch.setattr(Scene, 'render', render)
    list(video(case, 0, 8))
    assert [after == before for before, after in zip(views, views[1:])] == still


def test_every_frame_has_its_own_noise():
    frames = [rgb.astype(float) for rgb, _ in video('still', 0, 2)]
    # Where nothing is clipped, and with the rounding.
    inside = np.all([(40 < frame) & (frame < 215) for frame in frames], axis=0)
    difference = (frames[1] - frames[0])[inside]
    assert difference.std() == pytest.approx(np.sqrt(2 * (section.NOISE ** 2 + 1 / 12)), rel=0.03)


def test_without_reuse_all_is_encoded_and_equal(result):
    for case in MEASURED:
        off = row(result, case, 0)
        assert off['encoded'] == off['equal'] == off['equal_worst'] == 1
        assert 0.1 < off['miou'] < 1


def test_what_stands_still_is_not_encoded_again(result):
    # The first of three frames, and in each of the others the 2 of 48 windows whose turn it is.
    assert row(result, 'still', 4)['encoded'] < 0.4
    assert row(result, 'driving', 4)['encoded'] > 0.8


def test_labels_suffer_where_all_changes_are_ignored(result):
    ignoring, careful = row(result, 'driving', 255), row(result, 'driving', 4)
    assert ignoring['encoded'] < 0.4
    assert ignoring['equal_worst'] < ignoring['equal'] < careful['equal']


def test_every_frame_is_timed_with_and_without(result):
    assert [row['case'] for row in result['times']] == list(MEASURED)
    assert all(row[name]['rounds'] == 3 for row in result['times'] for name in ('off', 'reuse'))


def test_every_case_and_threshold_is_a_line_of_the_table(result):
    text = section.describe(json.loads(json.dumps(result)))
    for case in MEASURED:
        for name in ('off', '4', '255'):
            assert any(line.replace(' ', '').startswith(f'|{case}|{name}|')
                       for line in text.splitlines())
    assert '| demo' in text
