"""What may import what, as .importlinter has it."""

from configparser import ConfigParser
from pathlib import Path
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest

pytest.importorskip('importlinter', reason='import-linter reads the imports')

ROOT = Path(__file__).resolve().parents[1]
CONFIG = '.importlinter'
LINT = 'from importlinter.cli import lint_imports_command; lint_imports_command()'


def lint(folder):
    """Return which contracts are broken in a folder, by name; none is left out."""
    found = subprocess.run([sys.executable, '-c', LINT, '--no-cache'], cwd=folder,
                           capture_output=True, text=True)
    lines = found.stdout.splitlines()
    broken = [line.removesuffix(' BROKEN') for line in lines if line.endswith(' BROKEN')]
    kept = [line.removesuffix(' KEPT') for line in lines if line.endswith(' KEPT')]
    assert {*broken, *kept} == set(contracts()), found.stdout + found.stderr
    assert found.returncode == bool(broken)
    return broken


def contracts():
    """Return the sections of all contracts by their names."""
    config = ConfigParser()
    config.read(ROOT / CONFIG)
    return {config[section]['name']: config[section] for section in config.sections()
            if section.startswith('importlinter:contract:')}


def test_imports_are_as_the_layout_has_them():
    assert not lint(ROOT)


@pytest.mark.parametrize('file, line, contract', [
    ('segmenter.py', 'from csa_ros.ros import worker', 'Imports run down'),
    ('labels/score.py', 'from csa_ros.model import pixels', 'Imports run down'),
    ('draw.py', 'import csa_ros.vocabulary', 'Imports run down'),
    ('ros/images.py', 'from csa_ros.bags import reading', 'Imports run down'),
    ('bags/run.py', 'def lazily():\n    from csa_ros.demo.scenes import Scene',
     'Imports run down'),
    ('a_room_without_a_layer.py', '', 'Imports run down'),
    ('model/attention/gem.py', 'from csa_ros.model.attention.methods import ATTENTION',
     'No circle in any room'),
    ('model/wordpiece.py', 'from csa_ros.model.weights import source', 'No circle in any room'),
    ('evaluation/records.py', 'from csa_ros.evaluation import run', 'No circle in any room'),
    ('model/pixels.py', 'import rclpy', 'What needs no node needs no ROS'),
    ('vocabulary.py', 'def lazily():\n    from rclpy.node import Node',
     'What needs no node needs no ROS'),
    ('evaluation/datasets/coco.py', 'from sensor_msgs.msg import Image',
     'What needs no node needs no ROS'),
    ('bench/timing.py', 'from csa_ros.demo import listener', 'What needs no node needs no ROS'),
    ('model/attention/mixing.py', 'from csa_ros.model.weights import source',
     'Attention knows towers, and neither weights nor how they are loaded'),
    ('model/towers/tower.py', 'from csa_ros.model.weights.catalogue import PRESETS',
     'Towers know neither attention nor weights'),
])
def test_one_import_too_many_is_found(tmp_path, file, line, contract):
    shutil.copytree(ROOT / 'csa_ros', tmp_path / 'csa_ros', ignore=shutil.ignore_patterns(
        '__pycache__', '*.safetensors'))
    shutil.copy(ROOT / CONFIG, tmp_path)
    with (tmp_path / 'csa_ros' / file).open('a') as changed:
        changed.write(f'\n\n{line}\n')
    assert contract in lint(tmp_path)


def test_all_that_ros_brings_is_kept_out():
    named = {item.text for item in ElementTree.parse(ROOT / 'package.xml').iter('exec_depend')}
    of_ros = {name for name in named if not name.startswith('python3-')}
    kept_out = contracts()['What needs no node needs no ROS']['forbidden_modules'].split()
    # A command of launch's, and no module.
    assert set(kept_out) == of_ros - {'ros2launch'}
