"""What a first day shows: executables that lack a module, are asked for help, or are stopped."""

import importlib
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import warnings

import csa_ros
from csa_ros.process import executable
from csa_ros.process import home
import pytest

ROOT = Path(csa_ros.__file__).parents[1]
NODES = ('actions', 'demo_camera', 'segment', 'web')
NAMES = sorted(path.name for path in (ROOT / 'bin').iterdir())
# Without these they say what is missing, before anything is imported that takes long.
NEEDED = {'segment_bag': ['in', 'out'],
          'teach': ['--demo', '--out', 'out.safetensors'],
          'train': ['--images', 'in', '--captions', 'in.csv', '--out', 'out.safetensors'],
          'train_actions': ['--clips', 'in', '--out', 'out.safetensors']}
TIMEOUT = 60


def start(name, *arguments, path, options=(), **environment):
    """Start an executable that finds nothing but csa_ros and what is in `path`."""
    environment = {**os.environ, **environment,
                   'PYTHONPATH': os.pathsep.join(map(str, [*path, ROOT]))}
    return subprocess.Popen(
        [sys.executable, *options, ROOT / 'bin' / name, *arguments], text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# Modules that are missing

@pytest.mark.parametrize('name', NAMES)
def test_without_the_virtual_environment_one_sentence_says_so(name):
    """As under the Python of the system, which has none of the packages of pip."""
    process = start(name, *NEEDED.get(name, ()), path=[], options=['-S'])
    out, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert not out
    sentence, = errors.splitlines()
    assert sentence.startswith(f'{name}: {sys.executable} (Python ')
    assert 'finds no module' in sentence
    assert 'activate' in sentence or 'source the installation' in sentence


@pytest.mark.parametrize('name', NAMES)
def test_without_the_workspace_one_sentence_says_so(name):
    found = subprocess.run([sys.executable, '-S', '-E', ROOT / 'bin' / name], text=True,
                           capture_output=True, timeout=TIMEOUT)
    assert found.returncode == 1
    sentence, = found.stderr.splitlines()
    assert sentence.startswith("No module named 'csa_ros' in ")
    assert 'install/setup.bash' in sentence


@pytest.mark.parametrize('error, said', [
    (ModuleNotFoundError(name='open_clip'), ["'open_clip'", 'pip install open_clip_torch`']),
    (ModuleNotFoundError(name='torch'), ["'torch'", 'venv/bin/activate', 'pip install torch`']),
    (ModuleNotFoundError(name='cv2'), ['opencv-python-headless']),
    (ModuleNotFoundError(name='yaml'), ['PyYAML']),
    (ModuleNotFoundError(name='PIL'), ['Pillow']),
    (ModuleNotFoundError(name='huggingface_hub.errors'), ['pip install huggingface_hub`']),
    (ModuleNotFoundError(name='rclpy'), ["'rclpy'", 'source the installation']),
    (ModuleNotFoundError(name='sensor_msgs'), ["'sensor_msgs'", 'source the installation']),
    (ModuleNotFoundError(name='rcl_interfaces'), ['source the installation']),
    (ModuleNotFoundError(name='lifecycle_msgs.msg'), ['source the installation']),
    (ModuleNotFoundError(name='csa_ros.nowhere'), ['incomplete']),
    # What a module that is there says of its binaries.
    (ModuleNotFoundError('no _os', name='os._os'), ['os._os', 'no _os', 'another Python']),
    (ImportError('libcudart.so.12: cannot open', name='torch'), ['libcudart', 'another Python']),
    (ImportError('numpy.core.multiarray failed to import'), ['multiarray', 'another Python']),
])
def test_what_is_missing_is_named_with_what_to_do(monkeypatch, error, said):
    # Other tests have imported all of it.
    if 'no _os' not in str(error):
        monkeypatch.delitem(sys.modules, str(error.name).partition('.')[0], raising=False)
    sentence = executable.explain(error)
    assert all(part in sentence for part in said), sentence
    assert str(sys.executable) in sentence or 'csa_ros' in sentence


@pytest.mark.parametrize('arguments, told', [
    (['--ros-args', '-p', 'model:=demo'], True), ([], False)])
def test_under_launch_the_interpreter_is_named(monkeypatch, arguments, told):
    monkeypatch.setattr(sys, 'argv', ['segment', *arguments])
    sentence = executable.explain(ModuleNotFoundError(name='open_clip'))
    assert ('python:=' in sentence and 'prefix=' in sentence) == told


# Help

@pytest.mark.parametrize('name', NAMES)
def test_help_is_given_at_once(tmp_path, name):
    """PyTorch, which takes seconds to import, is not asked for."""
    for module in 'torch', 'open_clip':
        (tmp_path / f'{module}.py').write_text("raise SystemExit('imported')")
    process = start(name, '--help', path=[tmp_path])
    out, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    assert out.startswith(f'usage: {name} ')
    assert not errors


@pytest.mark.parametrize(
    'name', ['bench', 'calibrate', 'evaluate', 'fetch_model', 'segment_bag', 'teach'])
def test_bad_arguments_are_refused_at_once(tmp_path, name):
    (tmp_path / 'torch.py').write_text("raise SystemExit('imported')")
    process = start(name, '--nonsense', path=[tmp_path])
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2
    assert '--nonsense' in errors or 'required' in errors


# Ctrl-C

@pytest.mark.parametrize('name', NAMES)
def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(tmp_path, name):
    (tmp_path / 'numpy.py').write_text(
        "import os, time\nos.write(1, b'here\\n')\ntime.sleep(60)")
    process = start(name, *NEEDED.get(name, ()), path=[tmp_path])
    try:
        assert process.stdout.readline() == 'here\n'
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    # Nodes end well when they are told to.
    assert process.returncode == (0 if name in NODES else 130)
    assert not out
    assert 'Traceback' not in errors


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that makes a module of some text, and runs it as an executable does."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['/opt/bin/tool'])
    monkeypatch.setattr(warnings, 'formatwarning', warnings.formatwarning)
    handler = signal.getsignal(signal.SIGINT)

    def run(text, **keywords):
        name = 'program_of_a_test'
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        (tmp_path / f'{name}.py').write_text(text)
        return executable.run(name, **keywords)

    yield run
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize('text, status, said', [
    ('def main():\n    return 3', 3, ''),
    ('def main():\n    pass', 0, ''),
    ('def main():\n    raise KeyboardInterrupt', 130, '\ntool: interrupted\n'),
    ('def main():\n    import nowhere', 1, "tool: .*finds no module 'nowhere'"),
    ('import nowhere', 1, "tool: .*finds no module 'nowhere'"),
])
def test_a_run_ends_with_a_status_and_at_most_a_sentence(program, capfd, text, status, said):
    assert program(text) == status
    errors = capfd.readouterr().err
    assert re.search(said, errors) if said else not errors


def test_a_node_may_end_well_when_it_is_interrupted(program):
    assert program('def main():\n    raise KeyboardInterrupt', interrupted=0) == 0


def test_a_process_in_the_background_goes_on(program):
    """A shell has it ignore the Ctrl-C that is meant for what runs in front."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    text = ('import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n'
            'def main():\n    os.kill(os.getpid(), signal.SIGINT)\n    return 7')
    assert program(text) == 7


def test_warnings_are_one_line_each(program):
    # Here pytest would catch them.
    assert program('def main():\n    return 0') == 0
    assert warnings.formatwarning('it is full', UserWarning, '/a/b/text.py', 7, 'source') == (
        'tool: it is full (text.py, line 7)\n')


# Threads that wait

def test_threads_wait_without_spinning():
    """What OpenMP itself says when PyTorch is loaded."""
    found = subprocess.run(
        [sys.executable, '-c', 'import csa_ros; import torch; torch.ones(1)'], text=True,
        capture_output=True, timeout=TIMEOUT,
        env={**{name: value for name, value in os.environ.items() if name != 'OMP_WAIT_POLICY'},
             'OMP_DISPLAY_ENV': 'true'})
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in found.stderr, found.stderr


@pytest.mark.parametrize('before, code, policy', [
    (None, 'import csa_ros', 'PASSIVE'),
    ('ACTIVE', 'import csa_ros', 'ACTIVE'),
    # Too late: it would hold for other processes alone.
    (None, 'import torch; import csa_ros', None),
])
def test_who_sets_a_policy_keeps_it(tmp_path, before, code, policy):
    (tmp_path / 'torch.py').touch()
    environment = {name: value for name, value in os.environ.items() if name != 'OMP_WAIT_POLICY'}
    environment['PYTHONPATH'] = os.pathsep.join(map(str, [tmp_path, ROOT]))
    if before:
        environment['OMP_WAIT_POLICY'] = before
    found = subprocess.run(
        [sys.executable, '-c', f"{code}; import os; print(os.environ.get('OMP_WAIT_POLICY'))"],
        text=True, capture_output=True, env=environment, timeout=TIMEOUT)
    assert found.stdout.strip() == str(policy)


# The home

@pytest.fixture
def user(monkeypatch, tmp_path):
    """Return what sets the variables of a process, and whether its user has a home."""
    def make(known=True, **variables):
        for name in 'HOME', 'XDG_CACHE_HOME':
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr('tempfile.tempdir', str(tmp_path))

        def look_up(_):
            if not known:
                raise KeyError('getpwuid(): uid not found: 12345')
            return type('Entry', (), {'pw_dir': '/home/user'})

        monkeypatch.setattr('pwd.getpwuid', look_up)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return make


@pytest.mark.parametrize('known, variables, folder', [
    (True, {'HOME': '/home/me'}, '/home/me/.cache'),
    (True, {'HOME': '/home/me', 'XDG_CACHE_HOME': ''}, '/home/me/.cache'),
    (True, {'HOME': '/home/me', 'XDG_CACHE_HOME': '/var/cache'}, '/var/cache'),
    (True, {'HOME': '/home/me', 'XDG_CACHE_HOME': '~/.cache'}, '/home/me/.cache'),
    (True, {'HOME': '/home/me', 'XDG_CACHE_HOME': '~'}, '/home/me'),
    # The specification: relative paths are to be ignored.
    (True, {'HOME': '/home/me', 'XDG_CACHE_HOME': 'cache'}, '/home/me/.cache'),
    (True, {'HOME': '/home/me', 'XDG_CACHE_HOME': '.'}, '/home/me/.cache'),
    (True, {'HOME': '/home/me', 'XDG_CACHE_HOME': '../up'}, '/home/me/.cache'),
    (True, {}, '/home/user/.cache'),
    (True, {'XDG_CACHE_HOME': '~/other'}, '/home/user/other'),
    (False, {}, 'TEMPORARY/.cache'),
    (False, {'XDG_CACHE_HOME': '~/.cache'}, 'TEMPORARY/.cache'),
    (False, {'XDG_CACHE_HOME': 'cache'}, 'TEMPORARY/.cache'),
    (False, {'XDG_CACHE_HOME': '/var/cache'}, '/var/cache'),
])
def test_caches_have_one_place(user, known, variables, folder):
    temporary = user(known, **variables)
    wanted = folder.replace('TEMPORARY', f'{temporary}/csa_ros-{os.getuid()}')
    assert home.cache_dir() == Path(wanted) / 'csa_ros'
    said = home.settle()
    # The same for all libraries that ask for themselves.
    assert home.cache_dir() == Path(wanted) / 'csa_ros'
    assert os.path.isabs(os.path.expanduser('~'))
    stated = os.environ.get('XDG_CACHE_HOME')
    assert not stated or os.path.isabs(stated)
    assert bool(said) == (not known and 'HOME' not in variables)
    assert not said or 'set HOME' in said
    assert not (temporary / '~').exists()


def test_a_folder_of_somebody_else_is_not_used(user):
    temporary = user(known=False)
    (temporary / 'elsewhere').mkdir()
    (temporary / f'csa_ros-{os.getuid()}').symlink_to(temporary / 'elsewhere')
    assert 'elsewhere' not in str(home.cache_dir().resolve())
    assert home.cache_dir().parts[-2:] == ('.cache', 'csa_ros')


def test_without_any_folder_the_home_is_one_that_cannot_be_written(user, monkeypatch):
    user(known=False)
    monkeypatch.setattr('tempfile.tempdir', '/dev/null/nowhere')
    assert home.cache_dir() == Path('/nonexistent/.cache/csa_ros')
