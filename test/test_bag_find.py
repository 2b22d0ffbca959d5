"""Phrases in recorded bags: every hit with its time, the best on a sheet, a table of times."""

import json

from csa_ros.bags import finds
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.tools import segment_bag
from csa_ros.vocabulary import Vocabulary
import cv2
import pytest
from recordings import DELAY
from recordings import frame
from recordings import PERIOD
from recordings import raw
from recordings import record
from recordings import SECOND
from recordings import STAMP
from recordings import time_of
from towers import make_backbone

WORDS = 'sky, road, car'
NUMBERS = (0, 1, 2, 3, 4, 30, 31)
PHRASES = ('a person on a bicycle', 'car')


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(autouse=True)
def loaded(monkeypatch, segmenter):
    monkeypatch.setattr(Segmenter, 'load', lambda settings, **model: segmenter)


@pytest.fixture
def recording(tmp_path):
    """Return a bag of five pictures, and of two more after a pause."""
    return record(tmp_path / 'in', clock=lambda index: time_of(NUMBERS[index]),
                  camera__image=[raw(number) for number in NUMBERS])


def run(*args, threshold=0.0, tmp_path):
    """Return the exit status of the command with both phrases, and parts of three images."""
    params = tmp_path / 'params.yaml'
    params.write_text(f'/**:\n  ros__parameters:\n    find_threshold: {threshold}\n')
    options = [option for phrase in PHRASES for option in ('--find', phrase)]
    return segment_bag.main(['--vocabulary', WORDS, '--part-images', '3', '--params-file',
                             str(params), *options, *map(str, args)])


@pytest.mark.parametrize('form', ['bag', 'png'])
def test_every_hit_has_its_time(recording, segmenter, tmp_path, capsys, form):
    out = tmp_path / 'out'
    assert run(recording, out, '--format', form, tmp_path=tmp_path) == 0
    hits = [json.loads(line) for line in (out / finds.FOUND).read_text().splitlines()]
    words = segmenter.encode(Vocabulary.parse(WORDS))
    expected = [region for number in NUMBERS
                for region in segmenter.find(frame(number), PHRASES, words, 0.0, Settings())]
    assert [(hit['phrase'], hit['box'], hit['area']) for hit in hits] == [
        (region.name, list(region.box), region.area) for region in expected]
    assert hits[0]['score'] == pytest.approx(expected[0].score, abs=1e-4)
    assert hits[0]['stamp'] == {'sec': STAMP, 'nanosec': 0}
    assert hits[0]['time'] == STAMP * SECOND + DELAY
    assert (hits[0]['topic'], hits[0]['frame_id']) == ('/camera/image', 'camera_optical')
    told = capsys.readouterr()
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in told.out.splitlines() if line.startswith('| ')][1:]
    # Two times of each phrase, as there is a pause.
    assert [row[:4] for row in rows] == [
        [phrase, '/camera/image', *span] for phrase in PHRASES
        for span in (('0.0', '0.4'), ('3.0', '3.1'))]
    for row, span in zip(rows, finds_of(hits)):
        assert row[4:] == [f'{span[0]:.1f}', f'{span[1]:.2f}']
    sheet = cv2.imread(str(out / finds.SHEET))
    # Of each phrase and second one, four in a row: two rows of what was found in both.
    assert sheet.shape[1] == 4 * 408 and sheet.shape[0] > 300
    assert f'all hits are in {finds.FOUND}' in told.err
    # And once more it only tells.
    assert run(recording, out, '--format', form, tmp_path=tmp_path) == 0
    assert capsys.readouterr().out == told.out


def finds_of(hits):
    """Return the time and score of the best hit of each phrase before and after the pause."""
    for phrase in PHRASES:
        for late in (False, True):
            best = max((hit for hit in hits if hit['phrase'] == phrase
                        and (hit['time'] > (STAMP + 2) * SECOND) == late),
                       key=lambda hit: hit['score'])
            yield (best['time'] - DELAY - STAMP * SECOND) / SECOND, best['score']


def test_shards_find_the_same(recording, tmp_path):
    assert run(recording, tmp_path / 'one', tmp_path=tmp_path) == 0
    for shard in ('1/2', '0/2'):
        run(recording, tmp_path / 'two', '--shard', shard, tmp_path=tmp_path)
    for name in (finds.FOUND, finds.SHEET):
        assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()


def test_what_was_ended_goes_on(recording, tmp_path, monkeypatch):
    out, add = tmp_path / 'out', finds.FindsPart.add

    def end(self, topic, time, *given):
        if time > STAMP * SECOND + 4 * PERIOD:
            raise KeyboardInterrupt
        add(self, topic, time, *given)

    monkeypatch.setattr(finds.FindsPart, 'add', end)
    assert run(recording, out, tmp_path=tmp_path) == 130
    assert not (out / finds.FOUND).exists()
    monkeypatch.setattr(finds.FindsPart, 'add', add)
    assert run(recording, out, tmp_path=tmp_path) == 0
    assert run(recording, tmp_path / 'whole', tmp_path=tmp_path) == 0
    for name in (finds.FOUND, finds.SHEET):
        assert (out / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()


def test_nothing_found_is_said(recording, segmenter, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(recording, out, threshold=1.0, tmp_path=tmp_path) == 0
    assert (out / finds.FOUND).read_text() == '' and not (out / finds.SHEET).exists()
    told = capsys.readouterr()
    assert not told.out and "'car' was found nowhere: try another phrase" in told.err


def test_other_phrases_are_another_result(recording, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(recording, out, tmp_path=tmp_path) == 0
    assert run(recording, out, '--find', 'dog', tmp_path=tmp_path) == 1
    assert 'was begun with another find' in capsys.readouterr().err


@pytest.mark.parametrize('more, reason', [
    ([''], 'find has an empty name'), (['x'] * 2, "find has 'x' 2 times"),
    ([f'x{number}' for number in range(7)], 'find has 9 phrases, more than 8')])
def test_what_cannot_be_found_is_refused(recording, tmp_path, capsys, more, reason):
    options = [option for phrase in more for option in ('--find', phrase)]
    assert run(recording, tmp_path / 'out', *options, tmp_path=tmp_path) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
