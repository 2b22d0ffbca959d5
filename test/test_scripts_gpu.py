"""The command that checks a GPU: what it says where it cannot run."""

from pathlib import Path
import subprocess

import pytest

SCRIPT = Path(__file__).parents[1] / 'scripts' / 'gpu'


def run(*arguments, **kwargs):
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=60,
                          **kwargs)


@pytest.mark.parametrize('arguments, status', [(['--help'], 0), ([], 2)])
def test_usage(arguments, status):
    result = run(*arguments)
    assert result.returncode == status
    assert 'scripts/gpu OUT' in result.stdout + result.stderr


def test_a_wrong_option_is_named(tmp_path):
    result = run('--fast')
    assert result.returncode == 1 and 'there is no option --fast' in result.stderr


def test_wheels_that_are_missing_are_asked_for(tmp_path):
    """A Python with a GPU and without open_clip, as a stand-in answers for one."""
    python = tmp_path / 'python3'
    python.write_text('#!/bin/sh\ncase "$*" in *open_clip*) exit 1;; esac\n')
    python.chmod(0o755)
    copy = tmp_path / 'copy' / 'scripts'
    copy.mkdir(parents=True)
    (copy / 'gpu').write_text(SCRIPT.read_text())
    result = subprocess.run(
        ['bash', copy / 'gpu', tmp_path / 'out'], capture_output=True, text=True, timeout=60,
        env={'PATH': f'{tmp_path}:/usr/bin:/bin'})
    assert result.returncode == 1
    assert 'scripts/gpu --wheels where PyPI can be reached' in result.stderr
