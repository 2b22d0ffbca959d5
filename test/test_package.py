"""The package as others see it: its manifest, and what an installation of it holds."""

import ast
import importlib.util
from pathlib import Path
import runpy

from catkin_pkg.changelog import Changelog
from catkin_pkg.changelog import CHANGELOG_FILENAME
from catkin_pkg.changelog import populate_changelog_from_rst
from catkin_pkg.cli.tag_changelog import get_forthcoming_label
from catkin_pkg.cli.tag_changelog import rename_section
from catkin_pkg.package import parse_package
import pytest
import setuptools
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def setup_arguments(monkeypatch):
    """Return what setup.py hands to setuptools."""
    arguments = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, 'setup', lambda **values: arguments.update(values))
    runpy.run_path(str(ROOT / 'setup.py'))
    return arguments


@pytest.fixture(scope='module')
def manifest():
    warnings = []
    package = parse_package(str(ROOT), warnings=warnings)
    package.validate(warnings=warnings)
    assert not warnings
    return package


def test_manifest_is_an_ament_python_package_with_a_licence(manifest):
    assert manifest.package_format == 3
    assert manifest.get_build_type() == 'ament_python'
    assert [str(name) for name in manifest.licenses] == ['Apache-2.0']
    assert 'Apache License' in (ROOT / manifest.licenses[0].file).read_text()


def test_manifest_and_setup_agree(manifest, setup_arguments):
    assert setup_arguments['name'] == manifest.name
    assert setup_arguments['version'] == manifest.version
    assert setup_arguments['license'] == str(manifest.licenses[0])
    assert setup_arguments['maintainer_email'] == manifest.maintainers[0].email


def test_manifest_names_every_ros_package_that_is_imported(manifest):
    """What ROS provides is named in package.xml; what pip provides is named in setup.py."""
    ros = {'ament_index_python', 'cv_bridge', 'launch', 'launch_ros', 'rclpy'}
    used = {name for path in [*ROOT.glob('csa_ros/**/*.py'), *ROOT.glob('launch/*.py')]
            for name in imported(path) if name in ros or name.endswith(('_msgs', '_interfaces'))}
    assert 'rclpy' in used
    assert used <= {depend.name for depend in manifest.exec_depends}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split('.')[0]


def test_every_file_of_the_package_is_installed(setup_arguments):
    installed = {Path(source): target
                 for target, sources in setup_arguments['data_files'] for source in sources}
    folders = {'bin': 'lib/csa_ros', 'launch': 'share/csa_ros/launch',
               'config': 'share/csa_ros/config',
               'config/cameras': 'share/csa_ros/config/cameras',
               'config/vocabularies': 'share/csa_ros/config/vocabularies'}
    expected = {path.relative_to(ROOT): target for folder, target in folders.items()
                for path in (ROOT / folder).iterdir() if path.is_file()}
    expected[Path('package.xml')] = 'share/csa_ros'
    expected[Path('resource/csa_ros')] = 'share/ament_index/resource_index/packages'
    assert installed == expected


def test_every_python_package_is_installed(setup_arguments):
    modules = {path.parent.relative_to(ROOT) for path in ROOT.glob('csa_ros/**/*.py')}
    assert {Path(*name.split('.')) for name in setup_arguments['packages']} == modules


def test_weights_are_installed(setup_arguments):
    weights = ROOT / 'csa_ros/demo/weights'
    patterns = setup_arguments['package_data']['csa_ros.demo']
    installed = {path for pattern in patterns for path in (weights.parent).glob(pattern)}
    assert installed == set(weights.iterdir()) != set()


def test_the_page_is_installed(setup_arguments):
    files = ROOT / 'csa_ros/web/static'
    patterns = setup_arguments['package_data']['csa_ros.web']
    installed = {path for pattern in patterns for path in (files.parent).glob(pattern)}
    assert installed == set(files.iterdir()) != set()


@pytest.mark.parametrize('path', sorted((ROOT / 'bin').iterdir()), ids=lambda path: path.name)
def test_executables_start_a_main_that_exists(path):
    # From the path, so that the active virtual environment's packages are seen.
    assert path.read_text().startswith('#!/usr/bin/env python3\n')
    assert path.stat().st_mode & 0o111 == 0o111
    call, = (node for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'run')
    for argument, function in zip(call.args, ('main', 'make_parser')):
        module = ast.parse(Path(importlib.util.find_spec(argument.value).origin).read_text())
        assert function in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


def test_changelog_can_be_released(manifest):
    """As `catkin_prepare_release` does: what is forthcoming becomes that of a version."""
    text = (ROOT / CHANGELOG_FILENAME).read_text()
    label = get_forthcoming_label(text)
    assert label == 'Forthcoming'
    changelog = Changelog(manifest.name)
    populate_changelog_from_rst(changelog, rename_section(text, label, '99.0.0 (2099-01-01)'))
    versions = [version for version, _, _ in changelog.foreach_version(reverse=True)]
    assert versions[0] == '99.0.0'
    # The package has no other history than what was released.
    assert manifest.version in versions or len(versions) == 1
    entries, = changelog.get_content_of_version('99.0.0')
    assert len(entries.bullets) > 5


@pytest.mark.parametrize('name', ['fault', 'wish'])
def test_issue_forms_have_what_github_asks_for(name):
    """Types, labels and ids as docs.github.com has them for forms."""
    form = yaml.safe_load((ROOT / f'.github/ISSUE_TEMPLATE/{name}.yml').read_text())
    assert {'name', 'description', 'body'} <= set(form)
    fields = [field for field in form['body'] if field['type'] != 'markdown']
    assert len({field['id'] for field in fields}) == len(fields) > 0
    for field in fields:
        assert field['type'] in ('checkboxes', 'dropdown', 'input', 'textarea')
        assert field['attributes']['label']
        assert ('options' in field['attributes']) == (field['type'] in ('dropdown', 'checkboxes'))


def test_fault_form_asks_for_what_one_needs():
    form = yaml.safe_load((ROOT / '.github/ISSUE_TEMPLATE/fault.yml').read_text())
    required = {field['id'] for field in form['body'] if field.get('validations')}
    assert {field.get('id') for field in form['body']} >= {'diagnostics', 'legend'}
    assert required >= {'model', 'distribution'}
