from pathlib import Path

from ament_flake8.main import main_with_errors

ROOT = Path(__file__).resolve().parents[1]


def test_flake8():
    # By name: a build of the package in the folder would be checked, too.
    code, errors = main_with_errors(
        argv=[str(ROOT / name) for name in ('csa_ros', 'launch', 'test', 'setup.py')])
    assert code == 0, '\n'.join(errors)
