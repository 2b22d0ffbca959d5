"""What README and docs say is what the code has, and their links lead somewhere."""

import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys

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
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Vocabulary
from pages import commands
from pages import DOCS
from pages import PAGES
from pages import ROOT
from pages import table
import pytest
import yaml

TABLES = runpy.run_path(str(DOCS / 'tables.py'))
TOOLS = {'bench': bench, 'calibrate': calibrate, 'evaluate': evaluate, 'fetch_model': fetch_model,
         'hydra_labels': hydra_labels, 'segment_bag': segment_bag, 'train': train}
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


def test_parameters_are_all_there_with_their_default():
    """By a way of its own beside the generator's."""
    rows = table('parameters.md', 'Parameters')
    assert [row[0].strip('`¹² ') for row in rows] == list(NAMES)
    for (name, default, takes, description), item in zip(rows, PARAMETERS):
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


def usage(tool, capsys):
    """Return what a tool says of its options."""
    with pytest.raises(SystemExit):
        TOOLS[tool].main(['--help'])
    return capsys.readouterr().out


@pytest.mark.parametrize('words', of('ros2', 'run', 'csa_ros'), ids=' '.join)
def test_tools_have_the_options_that_are_named(words, capsys):
    tool = words[3]
    assert (ROOT / 'bin' / tool).exists()
    if tool in TOOLS:
        options = [word for word in words if word.startswith('--')]
        assert set(options) <= set(re.findall(r'--[\w-]+', usage(tool, capsys)))


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
    arguments = {row[0].strip('`') for row in table('parameters.md',
                                                    'Arguments of the launch file')}
    for word in words[4:]:
        assert word == '--show-args' or word.partition(':=')[0] in arguments, word


@pytest.mark.parametrize('words', of('ros2', 'param', 'set'), ids=' '.join)
def test_parameters_take_the_values_that_are_set(words):
    """All are taken but the one that shows what a refusal looks like."""
    _, _, _, node, name, value = words
    assert node == '/segment'
    values = {item.name: item.default for item in PARAMETERS}
    values[name] = yaml.safe_load(value)
    if value == '[road, road]':
        with pytest.raises(ValueError, match="'road' and 'road' are both named 'road'"):
            read_config(values)
    else:
        read_config(values)


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
