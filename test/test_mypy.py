"""The types of the package are sound, for mypy as ament_mypy runs it."""

from importlib.metadata import version
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECK = 'import sys; from ament_mypy.main import main; sys.exit(main(sys.argv[1:]))'
# As scripts/requirements.txt has it. Older ones, as those of Ubuntu, find errors that are none.
LEAST = (1, 20)


@pytest.mark.skipif(
    tuple(map(int, version('mypy').split('.')[:2])) < LEAST,
    reason=f'mypy is {version("mypy")}, before {LEAST[0]}.{LEAST[1]}')
def test_mypy():
    """In a process of its own, which gives back the memory that the types of PyTorch need."""
    # With a cache, which ament_mypy has off by default, the next run takes seconds.
    found = subprocess.run(
        [sys.executable, '-c', CHECK, '--config', str(ROOT / 'setup.cfg'),
         '--cache-dir', str(ROOT / '.mypy_cache'), str(ROOT / 'csa_ros')],
        capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stdout + found.stderr
