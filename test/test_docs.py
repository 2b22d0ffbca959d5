"""What README and docs say is what the code has, and their links lead somewhere."""

import importlib.util
from itertools import dropwhile
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys

from csa_ros.parameters import actions as of_actions
from csa_ros.parameters.actions_config import read_actions_config
from csa_ros.parameters.config import read_config
from csa_ros.parameters.table import NAMES
from csa_ros.parameters.table import PARAMETERS
from csa_ros.tools import bench
from csa_ros.tools import calibrate
from csa_ros.tools import evaluate
from csa_ros.tools import fetch_model
from csa_ros.tools import hydra_labels
from csa_ros.tools import segment_bag
from csa_ros.tools import train
from csa_ros.tools import train_actions
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Vocabulary
import matplotlib
from pages import commands
from pages import DOCS
from pages import inline_commands
from pages import PAGES
from pages import ROOT
from pages import table
import pytest
import yaml

TABLES = runpy.run_path(str(DOCS / 'tables.py'))
TOOLS = {'bench': bench, 'calibrate': calibrate, 'evaluate': evaluate, 'fetch_model': fetch_model,
         'hydra_labels': hydra_labels, 'segment_bag': segment_bag, 'train': train,
         'train_actions': train_actions}
README = (ROOT / 'README.md').read_text()


def name(page):
    """Return the path of a page for pytest to show."""
    return str(page.relative_to(ROOT))


# Tables

@pytest.mark.parametrize('page', sorted(DOCS.glob('*.md')), ids=name)
def test_tables_are_those_of_the_code(page):
    """As `scripts/docs --tables` would fill them."""
    assert TABLES['filled'](page.read_text()) == page.read_text()


@pytest.mark.parametrize('kind', TABLES['TABLES'])
def test_every_table_has_a_place(kind):
    assert sum(f'<!-- tables: {kind} -->\n' in page.read_text() for page in PAGES) == 1


def test_a_stale_table_is_noticed():
    page = '<!-- tables: prompts -->\n| old |\n<!-- end -->\nBelow\n'
    assert '`robot8`' in TABLES['filled'](page)
    assert '| old |' not in TABLES['filled'](page)
    assert TABLES['filled'](page).endswith('<!-- end -->\nBelow\n')


@pytest.mark.parametrize('page, parameters', [
    ('parameters.md', PARAMETERS), ('actions.md', of_actions.PARAMETERS)],
    ids=['segment', 'actions'])
def test_parameters_are_all_there_with_their_default(page, parameters):
    """By a way of its own beside the generator's."""
    rows = table(page, 'Parameters')
    assert [row[0].strip('`¹² ') for row in rows] == [item.name for item in parameters]
    for (name, default, takes, description), item in zip(rows, parameters):
        assert ('¹' in name, '²' in name) == (item.loaded, item.read_only), name
        if item.name != 'vocabulary':
            written = yaml.safe_load(default.strip('`')) if default != 'none' else ''
            # What YAML makes of a bare `off`.
            assert written == item.default or (written, item.default) == (False, 'off')
        assert description == item.description
        assert all(choice in takes for choice in item.choices)


def test_the_default_vocabulary_is_the_preset_that_the_table_names():
    assert table('parameters.md', 'Parameters')[0][1] == '`@street`'
    assert Vocabulary.parse('@street') == Vocabulary.parse(DEFAULT_VOCABULARY)


def test_legend_looks_as_shown():
    """But for the stamp, which the node puts in."""
    shown = json.loads(re.search(r'```json\n(.*?)```', (DOCS / 'topics.md').read_text(), re.S)[1])
    assert shown.pop('stamp').keys() == {'sec', 'nanosec'}
    assert shown == Vocabulary.parse(['road', 'vehicle=car|truck']).legend(2, 'demo')


# The README

def test_readme_is_a_page():
    assert len(README.splitlines()) <= 150


def test_readme_leads_to_every_page():
    pages = {path.name for path in DOCS.glob('*.md')} - {'README.md'}
    for text in (README, (DOCS / 'README.md').read_text()):
        assert pages <= set(re.findall(r'\((?:docs/)?(\w+\.md)(?:#[\w-]+)?\)', text))


def test_animation_moves_and_is_small():
    image = pytest.importorskip('PIL.Image')
    path = DOCS / 'demo.webp'
    assert f'(docs/{path.name})' in README
    assert path.stat().st_size < 2 * 2**20
    with image.open(path) as picture:
        assert picture.n_frames > 20


# Links

@pytest.fixture(scope='module')
def parser():
    """Return a reader of markdown whose headings have GitHub's anchors."""
    pytest.importorskip('mdit_py_plugins', reason='links are checked where myst-parser is')
    from markdown_it import MarkdownIt
    from mdit_py_plugins.anchors import anchors_plugin
    return MarkdownIt('commonmark').enable('table').use(anchors_plugin, max_level=6)


def anchors(parser, path):
    """Return the anchors of the headings of a page."""
    return {token.attrs['id'] for token in parser.parse(path.read_text())
            if token.type == 'heading_open'}


def links(parser, text):
    """Return where the links and pictures of a page lead."""
    return [child.attrGet('href') or child.attrGet('src')
            for token in parser.parse(text) if token.type == 'inline'
            for child in token.children if child.type in ('link_open', 'image')]


def broken(parser, path, text):
    """Return the links of a page that lead nowhere."""
    found = []
    for link in links(parser, text):
        if re.match(r'https?://|mailto:', link):
            continue
        file, _, anchor = link.partition('#')
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(parser, target)):
            found.append(link)
    return found


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_links_lead_somewhere(parser, page):
    assert not broken(parser, page, page.read_text())


@pytest.mark.parametrize('link', [
    'nowhere.md', 'topics.md#nowhere', '#nowhere', '../config/nowhere.yaml'])
def test_a_broken_link_is_noticed(parser, link):
    assert broken(parser, DOCS / 'speed.md', f'See [there]({link}).') == [link]


@pytest.mark.parametrize('link', ['topics.md#several-cameras', 'https://nowhere.invalid/x.md',
                                  '../README.md#try-it'])
def test_a_good_link_is_none(parser, link):
    assert not broken(parser, DOCS / 'speed.md', f'See [there]({link}).')


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_files_exist(page):
    """Whatever path of the repository a page names in code is there."""
    for path in re.findall(r'`((?:config|csa_ros|docs|launch|scripts|test)/[\w/.-]*)[ `]',
                           page.read_text()):
        assert (ROOT / path).exists(), path


def test_site_is_made_without_a_warning(tmp_path):
    pytest.importorskip('sphinx', reason='the site is made where Sphinx is')
    pytest.importorskip('myst_parser')
    pytest.importorskip('furo')
    found = subprocess.run(
        [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html', str(DOCS),
         str(tmp_path)], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert {path.stem for path in DOCS.glob('*.md')} - {'README'} < {
        path.stem for path in tmp_path.glob('*.html')}


# Commands

COMMANDS = [(page, line) for page in PAGES for line in commands(page)]


def of(*start):
    """Return the words of all commands that begin like this, once each."""
    found = {}
    for page, line in COMMANDS:
        if line.split()[:len(start)] == list(start):
            found[line] = shlex.split(line, comments=True)
    assert found
    return list(found.values())


# What cannot run here, and why.
ELSEWHERE = {
    'git clone': 'wants a network',
    'rosdep install': 'wants an installation of ROS',
    'colcon': 'wants an installation of ROS',
    'fastdds discovery': 'serves until it is ended; test/stress/network.py starts it',
    'ros2 daemon': 'wants an installation of ROS',
    'ros2 run rmw_zenoh_cpp': 'wants an installation of ROS, with Zenoh',
    'sudo sysctl': 'changes the kernel of the machine',
    'docker': 'wants a daemon; the files that it is given are looked for',
    'rviz2': 'wants an installation of ROS and a display',
    'python3 -m venv': 'is for a workspace',
    '. venv/bin/activate': 'is for a workspace',
    'python3 "$(command -v colcon)"': 'wants an installation of ROS',
    'kubectl': 'wants a cluster of Kubernetes; the files that it is given are looked for',
    'ray': 'starts what goes on running',
    'squeue': 'wants Slurm',
    # With the options that they are named with; they need a part of a minute each, at the least.
    'python test/stress/': 'is run by test_stress.py, in short',
}
# What is in indented blocks beside commands: BibTeX, YAML, Python, JSON, answers.
_NO_COMMAND = re.compile(
    r"""[@{}"'>-]|$|[\w-]+:|(title|author|booktitle|mixed|scale|overlay_alpha)\b
    |(raise|for|return|done|head_dim)\b|(Mix|Without|Setting)[ ]|for[ ]""", re.X)
ALL_COMMANDS = sorted({line for page in PAGES for line in (*commands(page), *inline_commands(page))
                       if not _NO_COMMAND.match(line)})


def test_commands_are_found_in_blocks_and_in_text():
    assert len(ALL_COMMANDS) > 60
    for line in ('ros2 run csa_ros fetch_model', 'scripts/demo', 'pip install matplotlib psutil',
                 'ros2 param set /segment points_layout organized'):
        assert line in ALL_COMMANDS


def parse(module, words):
    """Parse a command line as the executable would; fail where that refuses it."""
    name = module.removeprefix('csa_ros.tools.')
    try:
        TOOLS[name].make_parser().parse_args(words)
    except SystemExit as end:
        assert not end.code, (name, words)


def check_ros2(words):
    """Judge the words after `ros2`."""
    verb, *rest = words
    if not rest:
        # The page speaks of the command.
        assert verb in ('run', 'launch')
    elif verb == 'run':
        package, executable, *arguments = rest
        assert package == 'csa_ros' and (ROOT / 'bin' / executable).exists()
        if executable in TOOLS:
            parse(executable, arguments)
    elif verb == 'launch':
        assert rest[0] == 'csa_ros' and (ROOT / 'launch' / rest[1]).exists()
    elif verb == 'param':
        assert rest[0] in ('set', 'describe', 'list', 'dump', 'load')
        assert rest[1:2] in ([], ['/segment'], ['/actions'])
        names = of_actions.NAMES if rest[1:2] == ['/actions'] else NAMES
        assert rest[2:3] in ([], ['NAME'], *([name] for name in names))
    elif verb == 'service':
        rows = [*table('topics.md', 'Everything on the graph'),
                *table('actions.md', 'On the graph')]
        assert rest[0] == 'call'
        assert (rest[1], 'service', rest[2]) in {
            (name.strip('`'), kind, each) for name, kind, each, _ in rows}
        yaml.safe_load(rest[3] if rest[3:] else '')
    elif verb == 'lifecycle':
        assert rest[:2] in (['set', '/segment'], ['get', '/segment'])
        assert rest[2:] in ([], ['configure'], ['activate'], ['deactivate'], ['cleanup'])
    elif verb == 'topic':
        assert rest[0] in ('echo', 'hz', 'list', 'info', 'pub')
        topics = [word for word in rest[1:] if word.startswith('/')]
        text = ''.join((DOCS / page).read_text() for page in ('topics.md', 'actions.md'))
        assert all(f"~/{topic.removeprefix('/segment/')}`" in text or f'`{topic}`' in text
                   for topic in topics), topics
    else:
        assert words[:2] == ['pkg', 'prefix'] and rest[1:] == ['csa_ros']


def check_python(words):
    """Judge the words after `python`."""
    if words[0] == '-m':
        assert importlib.util.find_spec(words[1])
        if words[1].startswith('csa_ros.tools.') and words[2:]:
            parse(words[1], words[2:])
    else:
        assert (ROOT / words[0]).exists()
        named = {word.partition('=')[0] for word in words if word.startswith('--')}
        assert all(f"'{option}'" in (ROOT / words[0]).read_text() for option in named)


def check(line):
    """Judge a command line, as far as it can be judged without running it."""
    for start, reason in ELSEWHERE.items():
        if re.sub(r'^[A-Z_]+=\S+ ', '', line).startswith(start):
            assert reason
            files = re.findall(r'--file(?:name)? (\S+)', line)
            assert all((ROOT / file).exists() for file in files)
            return
    # Bash takes it for what it is meant to be.
    assert not subprocess.run(['bash', '-n', '-c', line]).returncode
    program, *words = shlex.split(re.sub(r'^[A-Z_]+=\S+ ', '', line), comments=True)
    if '&&' in words:
        words = words[:words.index('&&')]
    if program == 'ros2':
        check_ros2(words)
    elif program in ('python', 'python3'):
        check_python(words)
    elif program == 'sbatch':
        if '--wrap' in words:
            check(words[words.index('--wrap') + 1].replace('$SLURM_ARRAY_TASK_ID', '3'))
        else:
            script, *arguments = dropwhile(lambda word: word.startswith('--'), words)
            assert os.access(ROOT / script, os.X_OK)
            parse('csa_ros.tools.segment_bag', arguments)
    elif program == 'pip':
        known = ' '.join((ROOT / file).read_text() for file in (
            'setup.py', 'scripts/requirements.txt', 'scripts/ros_names'))
        assert words[0] == 'install'
        assert all(word in known for word in words[1:] if word not in ('.', 'csa_ros[bag]'))
    elif program == 'export':
        assert re.fullmatch(r'[A-Z_]+=.+', words[0])
    elif program == '.':
        assert (ROOT / words[0]).exists()
    else:
        assert program.startswith('scripts/') and os.access(ROOT / program, os.X_OK), program


@pytest.mark.parametrize('line', ALL_COMMANDS)
def test_every_command_is_one_that_works_as_typed(line):
    """It is parsed by the real parser, or is among those that cannot run here, with the reason."""
    check(line)


@pytest.mark.parametrize('line', [
    # The executables are no commands by themselves.
    'segment_bag bags/* OUT', 'bench --json figures.json', 'evaluate --dataset demo',
    "sbatch --array=0-7 --wrap 'segment_bag bags/* OUT --shard $SLURM_ARRAY_TASK_ID/8'",
    'ros2 run csa_ros segment_bga IN OUT', 'ros2 run csa_ros segment_bag IN OUT --vocab road -x',
    'ros2 run csa_ros segment_bag --format gif IN OUT', 'ros2 run csa evaluate --dataset demo',
    'python -m csa_ros.tools.evaluate --data demo --worst many', 'python -m csa_ros.nowhere',
    'ros2 topic echo /segment/nothing', 'ros2 param set /segmnt vocabulary "[a]"',
    'ros2 service call /segment/teach std_srvs/srv/SetBool',
    'ros2 param describe /segment vocabulry', 'ros2 lifecycle set /segment stop',
    'scripts/nothing', 'pip install nothing-of-this', 'python test/malformed.py',
    'docker build --file docker/Nofile --tag csa_ros .', 'export lower=1', 'ros2 topic (',
    'kubectl create --filename config/nofile.yaml', 'sbatch --nodes=4 config/nofile.sh IN OUT',
    'sbatch --nodes=4 config/slurm.sh OUT',
])
def test_a_command_that_does_not_work_is_noticed(line):
    with pytest.raises((AssertionError, IndexError, ValueError)):
        check(line)


@pytest.fixture
def shell(tmp_path):
    """Return a function that runs a command as typed, in a folder and a home of its own."""
    ros2 = tmp_path / 'bin' / 'ros2'
    ros2.parent.mkdir()
    (tmp_path / 'share' / 'csa_ros').mkdir(parents=True)
    (tmp_path / 'share' / 'csa_ros' / 'config').symlink_to(ROOT / 'config')
    # Of ros2cli, which is not on PyPI, as much as finds executables and folders.
    ros2.write_text(f'case "$1 $2 $3" in "run csa_ros "*) shift 2; program=$1; shift\n'
                    f'exec {sys.executable} {ROOT}/bin/$program "$@";;\n'
                    f'"pkg prefix csa_ros") echo {tmp_path};; *) exit 9;; esac\n')
    ros2.write_text('#!/usr/bin/env bash\n' + ros2.read_text())
    ros2.chmod(0o755)

    def run(line):
        return subprocess.run(
            ['bash', '-c', line], cwd=tmp_path, capture_output=True, text=True,
            # Matplotlib would look through all fonts of the machine for a new home.
            env={**os.environ, 'HOME': str(tmp_path), 'MPLCONFIGDIR': matplotlib.get_cachedir(),
                 'PATH': f'{ros2.parent}{os.pathsep}{os.environ["PATH"]}'})

    return run


@pytest.mark.parametrize('line, proof', [
    ('ros2 run csa_ros hydra_labels --output ~/labels --vocabulary preset:indoor',
     'test -s ~/labels/csa_ros_label_space.yaml -a -s ~/labels/csa_ros.csv'),
    ('export FASTDDS_DEFAULT_PROFILES_FILE=$(ros2 pkg prefix csa_ros)/share/csa_ros/config/'
     'fastdds_large_images.xml', 'test -s "$FASTDDS_DEFAULT_PROFILES_FILE"'),
    ('export FASTDDS_DEFAULT_PROFILES_FILE=$(ros2 pkg prefix csa_ros)/share/csa_ros/config/'
     'fastdds_network.xml', 'test -s "$FASTDDS_DEFAULT_PROFILES_FILE"'),
    ('ros2 run csa_ros bench --page performance.md figures.json', 'test -s performance.md'),
])
def test_commands_do_what_they_say(shell, tmp_path, line, proof):
    """Those of the pages that need no model, robot, network or minutes, as they are typed."""
    assert line in ALL_COMMANDS
    shutil.copy(DOCS / 'performance.json', tmp_path / 'figures.json')
    done = shell(f'{line} && {proof}')
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('module', sorted({
    module for page in PAGES for module in re.findall(r'python -m ([\w.]+)', page.read_text())}))
def test_modules_that_are_run_exist(module):
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize('line', sorted({line for _, line in COMMANDS if 'scripts/' in line}))
def test_scripts_exist(line):
    for script in re.findall(r'scripts/\w+', line):
        assert (ROOT / script).exists()


@pytest.mark.parametrize('words', of('ros2', 'launch', 'csa_ros'), ids=' '.join)
def test_launch_arguments_are_those_of_the_launch_file(words):
    assert (ROOT / 'launch' / words[3]).exists()
    page = 'actions.md' if words[3].startswith('actions') else 'parameters.md'
    arguments = {row[0].strip('`') for row in table(page, 'Arguments of the launch file')}
    for word in words[4:]:
        assert word == '--show-args' or word.partition(':=')[0] in arguments, word


@pytest.mark.parametrize('words', of('ros2', 'param', 'set'), ids=' '.join)
def test_parameters_take_the_values_that_are_set(words):
    """All are taken but the one that shows what a refusal looks like."""
    _, _, _, node, name, value = words
    assert node in ('/segment', '/actions')
    parameters, read = ((PARAMETERS, read_config) if node == '/segment' else
                        (of_actions.PARAMETERS, read_actions_config))
    values = {item.name: item.default for item in parameters}
    values[name] = yaml.safe_load(value)
    if value == '[road, road]':
        with pytest.raises(ValueError, match="'road' and 'road' are both named 'road'"):
            read(values)
    else:
        read(values)


@pytest.mark.parametrize('words', of('ros2', 'topic', 'echo'), ids=' '.join)
def test_a_durability_is_asked_for_with_a_reliability(words):
    """With any other policy named, `ros2 topic echo` is best effort and waits for ever."""
    assert ('--qos-durability' in words) == ('--qos-reliability' in words)


def test_examples_of_style_are_from_the_code():
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    examples = re.findall(r'From\s`([\w/.]+)`:\n+```python\n(.*?)```', text, re.S)
    assert len(examples) == 2
    for path, example in examples:
        lines = [line.strip() for line in (ROOT / path).read_text().splitlines()]
        wanted = [line.strip() for line in example.splitlines()]
        assert any(lines[start:start + len(wanted)] == wanted for start in range(len(lines)))


def test_python_runs_as_it_stands():
    text = (DOCS / 'python.md').read_text()
    code = '\n'.join(re.findall(r'```python\n(.*?)```', text, re.S))
    scope = {}
    exec(code, scope)
    result = scope['result']
    assert result.labels.shape == result.confidence.shape == (480, 640)
    assert result.overlay.shape == (480, 640, 3)
