from pathlib import Path

from ament_pep257.main import main

ROOT = Path(__file__).resolve().parents[1]


def test_pep257():
    names = ('csa_ros', 'docs', 'launch', 'test', 'setup.py')
    assert main(argv=[str(ROOT / name) for name in names]) == 0
