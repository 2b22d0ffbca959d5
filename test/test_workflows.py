"""Files that only other machines run are valid, and what they start exists."""

from pathlib import Path
import re
import subprocess
import sys

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yaml'))
COMPOSE = sorted((ROOT / 'docker').glob('compose*.yaml'))
# Those that begin with the name of bash; `environment` is for bash to source.
SHELL_SCRIPTS = [ROOT / 'scripts/environment', *(
    path for folder in ('config', 'docker', 'scripts')
    for path in sorted((ROOT / folder).iterdir())
    if path.is_file() and path.read_bytes().startswith(b'#!/usr/bin/env bash'))]
SCHEMAS = [*((path, 'vendor.github-workflows') for path in WORKFLOWS),
           *((path, 'vendor.compose-spec') for path in COMPOSE)]


def name_of(path):
    return path.name if isinstance(path, Path) else ''


@pytest.mark.parametrize('path, schema', SCHEMAS, ids=name_of)
def test_files_follow_their_schema(path, schema):
    checked = subprocess.run(
        [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', schema, str(path)],
        capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize('path', WORKFLOWS, ids=name_of)
def test_workflows_run_scripts_that_exist(path):
    jobs = yaml.safe_load(path.read_text())['jobs'].values()
    commands = '\n'.join(step['run'] for job in jobs for step in job['steps'] if 'run' in step)
    scripts = set(re.findall(r'\bscripts/\w+', commands))
    assert scripts
    for script in scripts:
        assert (ROOT / script).stat().st_mode & 0o111, script


def test_workflows_cover_every_python_and_distribution():
    jobs = yaml.safe_load((ROOT / '.github/workflows/ci.yaml').read_text())['jobs']
    assert jobs['wheels']['strategy']['matrix']['python'] == ['3.10', '3.11', '3.12', '3.13']
    assert jobs['ros']['strategy']['matrix']['distribution'] == [
        'humble', 'jazzy', 'kilted', 'rolling']


@pytest.mark.parametrize('path', SHELL_SCRIPTS, ids=name_of)
def test_shell_scripts_can_be_read(path):
    checked = subprocess.run(['bash', '-n', str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_image_gets_what_is_installed():
    """The files that setup.py names pass the filter of the build."""
    ignored = (ROOT / 'docker/Dockerfile.dockerignore').read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith('!')}
    assert '*' in ignored
    assert {'bin', 'config', 'csa_ros', 'launch', 'package.xml', 'resource', 'setup.py'} <= kept
    assert all((ROOT / name).exists() for name in kept)


def test_containers_get_the_settings_of_fast_dds():
    share = '/opt/csa_ros/install/csa_ros/share/csa_ros/'
    services = yaml.safe_load((ROOT / 'docker/compose.yaml').read_text())['services']
    for service in services.values():
        profile = service['environment']['FASTRTPS_DEFAULT_PROFILES_FILE']
        assert profile.startswith(share)
        assert (ROOT / profile.removeprefix(share)).is_file()
