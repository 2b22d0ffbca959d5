"""The runs of `test/stress` in a short form; their figures are in `docs/reliability.md`."""

import argparse
import json

from csa_ros.teaching.examples import Examples
from csa_ros.vocabulary import Vocabulary
from machines import missing
import malformed
import network
import numpy as np
import pytest
from remote import wait_for
import report
import soak
from tqdm import tqdm
import updates
import viewers

QUIET = tqdm(disable=True)


def options(module, *arguments):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize('module, arguments, least', [
    (malformed, ['--count', '40', '--garbage', '20', '--explain', '1'],
     {'counted as bad': 40}),
    (updates, ['--count', '80'], {'accepted': 20, 'refused': 20, 'masks, each compared': 3}),
    (soak, ['--minutes', '0.07', '--period', '0.5'], {'masks': 5}),
    (viewers, ['--minutes', '0.01', '--turn', '1', '--viewers', '3'],
     {'frames that viewers got': 3}),
], ids=['malformed', 'updates', 'soak', 'viewers'])
def test_short_run_finds_nothing(module, arguments, least, monkeypatch):
    # What takes long on a busy machine is no failure here.
    for name in 'TARGET_P99_MS', 'TARGET_SLOWDOWN', 'TARGET_STALL':
        monkeypatch.setattr(module, name, float('inf'), raising=False)
    monkeypatch.setattr(viewers, 'SETTLING', 1.0)
    found = report.Report()
    module.measure(options(module, *arguments), QUIET, found)
    assert found.failures == []
    for name, number in least.items():
        assert found.figures[name] >= number


def test_robots_get_labels_over_a_lossy_link(monkeypatch):
    if reason := missing():
        pytest.skip(reason)
    link = '10 ms, 1 % lost'
    case = network.SMALL._replace(size=(160, 120))
    monkeypatch.setattr(network, 'CASES', [(case, [link])])
    monkeypatch.setattr(network, 'SETTLING', 0.0)
    # What takes long on a busy machine is no failure here.
    monkeypatch.setattr(network, 'TARGET_ARRIVED', 0.0)
    found = report.Report()
    network.measure(options(network, '--seconds', '1', '--cuts'), QUIET, found)
    assert found.failures == []
    sent, back = found.figures[f'{case}, {link}: labels/s sent, back'].split(', ')
    assert float(back) > 0


@pytest.mark.parametrize('measure, code', [
    (lambda options, progress, found: None, 0),
    (lambda options, progress, found: found.expect(False, 'a mask was wrong'), 1),
    (lambda options, progress, found: wait_for(lambda: False, 'a mask', 0), 1)])
def test_failures_make_the_script_fail(monkeypatch, tmp_path, capsys, measure, code):
    path = tmp_path / 'figures.json'
    monkeypatch.setattr('sys.argv', ['script.py', '--json', str(path)])
    assert report.run('', lambda parser: None, measure) == code
    assert ('FAILED: a mask' in capsys.readouterr().out) == bool(code)
    assert bool(json.loads(path.read_text())['failures']) == bool(code)


def test_masks_that_disagree_with_their_legend_are_found():
    states = [{'vocabulary': words, 'examples': Examples()}
              for words in (['sky', 'road'], ['sky', 'road', 'car'], ['car', 'road'])]
    legends = [{**Vocabulary.parse(state['vocabulary']).legend(version, 'demo'),
                'stamp': {'sec': 10 * version, 'nanosec': 0}}
               for version, state in enumerate(states, 1)]

    class Oracle:

        def labels(self, state):
            return np.full((4, 4), states.index(state), np.uint8)

    def judge(*masks):
        masks = [updates.Mask((stamp, 0), np.full((4, 4), label, np.uint8), sent)
                 for stamp, label, sent in masks]
        return list(updates.judge_masks(masks, legends, states, Oracle(), QUIET))

    assert judge((11, 0, 0), (12, 0, 2), (21, 1, 2), (35, 2, 2)) == []
    assert 'no legend' in judge((9, 0, 0))[0]
    # Of words that were not asked for yet, of others than its legend's, and of earlier ones.
    for wrong in [(21, 1, 0)], [(21, 0, 2)], [(35, 2, 2), (21, 1, 2)]:
        assert 'is none of states' in judge(*wrong)[0]
