"""The runs of `test/stress` in a short form; their figures are in `docs/reliability.md`."""

import argparse

import malformed
import pytest
import report
import soak
from tqdm import tqdm
import updates

QUIET = tqdm(disable=True)


def options(module, *arguments):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize('module, arguments, least', [
    (malformed, ['--count', '300', '--garbage', '100', '--explain', '2'],
     {'counted as bad': 300}),
    (updates, ['--count', '150'], {'accepted': 40, 'refused': 40, 'masks, each compared': 10}),
    (soak, ['--minutes', '0.1', '--period', '0.5'], {'masks': 10}),
], ids=['malformed', 'updates', 'soak'])
def test_short_run_finds_nothing(module, arguments, least, monkeypatch):
    # What takes long on a busy machine is no failure here.
    for name in 'TARGET_P99_MS', 'TARGET_STALL':
        monkeypatch.setattr(module, name, float('inf'), raising=False)
    found = module.measure(options(module, *arguments), QUIET)
    assert found.failures == []
    for name, number in least.items():
        assert found.figures[name] >= number


def test_failures_make_the_script_fail(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr('sys.argv', ['script.py', '--json', str(tmp_path / 'figures.json')])
    for failures, code in ([], 0), (['a mask was wrong'], 1):
        assert report.run('', lambda parser: None, lambda options, progress: report.Report(
            {'masks': 3}, failures)) == code
        assert '| masks |' in capsys.readouterr().out
    assert 'a mask was wrong' in (tmp_path / 'figures.json').read_text()
