from pathlib import Path
import subprocess
import sys

ROOT = Path(__file__).resolve().parents[1]
CHECK = 'import sys; from ament_flake8.main import main; sys.exit(main(sys.argv[1:]))'


def test_flake8(tmp_path):
    """In a process of its own: flake8 forks, which the threads of nodes do not survive."""
    # By name: a build of the package in the folder would be checked, too.
    found = subprocess.run(
        [sys.executable, '-c', CHECK,
         *(str(ROOT / name) for name in ('csa_ros', 'docs', 'launch', 'test', 'setup.py'))],
        # In the repository, every file would be compared with all folders of the environment.
        capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
