"""
Fills the tables of these pages from the code: `scripts/docs --tables`.

A table stands between two lines, and nothing else of a page is touched:

    <!-- tables: parameters -->
    <!-- end -->
"""

import argparse
import ast
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import json
from pathlib import Path
import re
import sys

from csa_ros.bench import cluster as of_cluster
from csa_ros.demo import action_lesson
from csa_ros.evaluation.datasets.benchmarks import BENCHMARKS
from csa_ros.evaluation.datasets.protocol import RADSEG
from csa_ros.evaluation.datasets.published import SOURCES
from csa_ros.evaluation.datasets.published_groupvit import GROUPVIT
from csa_ros.evaluation.datasets.published_radio import RADSEG_NOTE
from csa_ros.model.attention.methods import ATTENTION
from csa_ros.model.text import TEMPLATES
from csa_ros.model.weights.catalogue import GROUPVIT_LICENCE
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from csa_ros.model.weights.catalogue import PRESETS
from csa_ros.model.weights.catalogue import RADIO_LICENCE
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.parameters.actions import PARAMETERS as ACTIONS_PARAMETERS
from csa_ros.parameters.cameras import TOPICS
from csa_ros.parameters.file import read_file
from csa_ros.parameters.table import Parameter
from csa_ros.parameters.table import PARAMETERS
from csa_ros.presets import preset_names
from csa_ros.presets import SIGN
from csa_ros.tools import fetch_model
from csa_ros.tools import segment_bag
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Vocabulary
from csa_ros.web.parameters import PARAMETERS as WEB_PARAMETERS

DOCS = Path(__file__).resolve().parent
DRIVERS = DOCS.parent / 'config' / 'cameras'
LAUNCH = DOCS.parent / 'launch'
_PLACE = re.compile(r'(<!-- tables: (\w+) -->\n).*?(<!-- end -->)', re.S)
# Of a vocabulary or an ensemble, as many as tell what it is.
_SHOWN_WORDS = 6


def filled(page: str) -> str:
    """Return a page with the tables in their places; KeyError for one that there is not."""
    return _PLACE.sub(lambda place: f'{place[1]}\n{TABLES[place[2]]()}\n\n{place[3]}', page)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in markdown; bars in its cells are escaped."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"
                     for line in lines)


def parameters() -> str:
    """Return the parameters of the node."""
    return _parameters(PARAMETERS)


def actions_parameters() -> str:
    """Return the parameters of the node that names actions."""
    return _parameters(ACTIONS_PARAMETERS)


def _parameters(items: Iterable[Parameter]) -> str:
    return table(['parameter', 'default', 'takes', 'what'],
                 [[f'`{item.name}`{_mark(item)}', _default(item), _takes(item), item.description]
                  for item in items])


def web_parameters() -> str:
    """Return the parameters of the page's node."""
    return table(['parameter', 'default', 'takes', 'what'],
                 [[f'`{item.name}`', _default(item), _takes(item), item.description]
                  for item in WEB_PARAMETERS])


def _mark(item: Parameter) -> str:
    return '¹' if item.loaded else '²' if item.read_only else ''


def _default(item: Parameter) -> str:
    if item.name == 'vocabulary':
        return f'`{SIGN}street`'
    return f'`{str(item.default).lower()}`' if isinstance(item.default, bool) else (
        f'`{item.default}`' if item.default != '' else 'none')


def _takes(item: Parameter) -> str:
    if item.choices:
        *rest, last = (f'`{choice}`' for choice in item.choices)
        return f"{', '.join(rest)} or {last}"
    if isinstance(item.default, bool):
        return '`true` or `false`'
    limits = [f'{low:g} to {high:g}' for low, high in filter(None, [item.bounds])]
    return '; '.join(filter(None, [*limits, item.constraints]))


def launch() -> str:
    """Return the arguments of the launch file."""
    return _arguments('segment.launch.py')


def actions_launch() -> str:
    """Return the arguments of the launch file of the node that names actions."""
    return _arguments('actions.launch.py')


def _arguments(file: str) -> str:
    """Return the arguments of a launch file, which is read and not run."""
    calls = [node for node in ast.walk(ast.parse((LAUNCH / file).read_text()))
             if isinstance(node, ast.Call) and getattr(node.func, 'id', '')
             == 'DeclareLaunchArgument']
    rows = []
    for call in calls:
        values = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        default = values['default_value']
        rows.append([f'`{ast.literal_eval(call.args[0])}`', f'`{default}`' if default else 'none',
                     f"{values['description']}."])
    return table(['argument', 'default', 'what'], rows)


def drivers() -> str:
    """Return the topics in the files of drivers."""
    rows = []
    for path in sorted(DRIVERS.glob('*.yaml')):
        given = read_file(path, 'segment')
        rows.append([f'[{path.stem}](../config/cameras/{path.name})', *(
            f'`{given[parameter]}`' if parameter in given else 'none'
            for parameter in TOPICS.values())])
    return table(['driver', *TOPICS.values()], rows)


def models() -> str:
    """Return the presets of models."""
    rows = [['`demo`', 'bundled; of rendered streets', f'{fetch_model.DEMO_TOWER} M',
             fetch_model.DEMO_LICENCE, '']]
    for name, preset in PRESETS.items():
        rows.append([
            f'`{name}`', f'`{preset.model}`', f'{preset.tower:.0f} M',
            f'[{preset.licence}]({preset.page})',
            '' if preset.miou is None else f'{preset.miou:.1f}'])
    return table(['preset', 'model', 'image tower', 'licence', 'mIoU'], rows)


def radio_models() -> str:
    """Return the presets of RADIO."""
    rows = []
    for name, preset in RADIO_PRESETS.items():
        rows.append([
            f'`{name}`', preset.name, f'{preset.tower:.0f} M',
            f'{preset.tower * 4 / 1e3:.1f} GB', f'[{RADIO_LICENCE}]({preset.page})',
            '' if preset.miou is None else f'{preset.miou:.1f}'])
    return table(['preset', 'model', 'image tower', 'in float32', 'licence', 'mIoU of five'],
                 rows)


def groupvit_models() -> str:
    """Return the presets of GroupViT."""
    rows = [[f'`{name}`', f'{preset.tower:.0f} M', f'[{GROUPVIT_LICENCE}]({preset.page})',
             *(f'{figure:.1f}' for figure in GROUPVIT.values())]
            for name, preset in GROUPVIT_PRESETS.items()]
    return table(['preset', 'image tower', 'licence', *GROUPVIT], rows)


def attentions() -> str:
    """Return the attentions and what is published of them."""
    rows = []
    for name, method in ATTENTION.items():
        figures = [benchmark.published.get(name) for benchmark in BENCHMARKS.values()]
        mean = '' if None in figures else f'{sum(figures) / len(figures):.1f}'
        residual = {True: 'kept', False: 'dropped', None: 'no choice'}[method.residual]
        source = RADSEG_NOTE if name == RADSEG else SOURCES.get(name, '')
        rows.append([f'`{name}`', residual, mean, source])
    return table(['attention', "last block's residual connection and feed-forward network",
                  'mIoU', 'from'], rows)


def vocabularies() -> str:
    """Return the vocabularies that come with the package."""
    rows = []
    for name in preset_names():
        vocabulary = Vocabulary.parse(f'{SIGN}{name}')
        default = ' (the default)' if vocabulary == Vocabulary.parse(DEFAULT_VOCABULARY) else ''
        shown = ', '.join(vocabulary.names[:_SHOWN_WORDS])
        rows.append([f'`{SIGN}{name}`{default}', str(len(vocabulary)), f'{shown}, ...'])
    return table(['vocabulary', 'classes', 'the first of them'], rows)


def actions_accuracy() -> str:
    """Return how often the actions of the demo are told, as it was measured."""
    return action_lesson.describe(json.loads((DOCS / 'actions.json').read_text()))


def cluster() -> str:
    """Return the table of what a fleet's recordings take."""
    document = json.loads((DOCS / 'performance_cluster.json').read_text())
    return of_cluster.estimates_table(document['sections']['cluster'])


def prompts() -> str:
    """Return the prompt ensembles."""
    return table(['ensemble', 'templates', 'such as'],
                 [[f'`{name}`', str(len(templates)), f"'{templates[0]}'"]
                  for name, templates in TEMPLATES.items()])


def bag_options() -> str:
    """Return the arguments of segment_bag."""
    return _options(segment_bag.make_parser())


def _options(parser: argparse.ArgumentParser) -> str:
    """Return the arguments of a command."""
    rows = []
    for action in parser._actions:
        if action.dest == 'help':
            continue
        value = action.metavar or '|'.join(filter(None, action.choices or ())) or (
            action.dest.upper())
        name = ' '.join([*action.option_strings, value])
        rows.append([f'`{name}`', action.help % vars(action)])
    return table(['argument', 'what'], rows)


TABLES: dict[str, Callable[[], str]] = {
    'actions_accuracy': actions_accuracy,
    'actions_launch': actions_launch,
    'actions_parameters': actions_parameters,
    'attentions': attentions,
    'cluster': cluster,
    'drivers': drivers,
    'groupvit_models': groupvit_models,
    'launch': launch,
    'models': models,
    'parameters': parameters,
    'prompts': prompts,
    'radio_models': radio_models,
    'segment_bag': bag_options,
    'vocabularies': vocabularies,
    'web_parameters': web_parameters,
}


def main() -> int:
    """Fill the tables of all pages; return the exit status."""
    for path in sorted(DOCS.glob('*.md')):
        page = path.read_text()
        if filled(page) != page:
            path.write_text(filled(page))
            print(f'{path.name}: tables brought up to date')
    return 0


if __name__ == '__main__':
    sys.exit(main())
