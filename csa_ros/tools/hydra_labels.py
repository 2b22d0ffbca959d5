"""Writes what Hydra reads about the classes: its label space and their colours."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import os
from pathlib import Path
import re
import sys

from csa_ros.adapters.hydra import label_space
from csa_ros.adapters.hydra import LabelSpace
from csa_ros.adapters.hydra import missing
from csa_ros.adapters.hydra import read_legend
from csa_ros.adapters.hydra import ROLES
from csa_ros.vocabulary import split_text
from csa_ros.vocabulary import Vocabulary

_OPTIONS = {
    'dynamic': 'move, so that they are kept out of the map',
    'invalid': 'are kept out of the map for other reasons, as the sky is',
    'object': 'become objects of the scene graph',
    'structure': 'are part of the mesh alone',
    'surface': 'are ground to stand on, where places are looked for',
}
_ROS_ARGS = '--ros-args'


def main(args: Sequence[str] | None = None) -> int:
    """Write the files once, or with every change of a node's legend; return the exit status."""
    args = sys.argv[1:] if args is None else list(args)
    ros = args.index(_ROS_ARGS) if _ROS_ARGS in args else len(args)
    parser = make_parser()
    options = parser.parse_args(args[:ros])
    choices = {role: getattr(options, role) for role in ROLES}
    _check_choices(parser, choices)
    writer = Writer(options.output, options.name, choices)
    if options.vocabulary is None:
        # Words on the command line need no ROS.
        from csa_ros.ros.context import StartError
        from csa_ros.ros.legend_listener import listen
        try:
            listen('hydra_labels', options.legend,
                   lambda text: writer.take(read_legend(text)) and options.once, args[ros:])
        except StartError as error:
            print(f'hydra_labels: {error}', file=sys.stderr)
            return 1
        return 0
    try:
        vocabulary = Vocabulary.parse(options.vocabulary)
        if vocabulary.doubt:
            print(f'hydra_labels: {vocabulary.doubt}', file=sys.stderr)
        legend = vocabulary.legend(0, '')
        absent = missing(label_space(legend), _all_names(choices))
        if absent:
            parser.error(f'the vocabulary has no class {absent[0]!r}')
        writer.take(legend)
    except (OSError, ValueError) as error:
        print(f'hydra_labels: {error}', file=sys.stderr)
        return 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='hydra_labels', description=__doc__,
        epilog='Classes that no option names get their role by rules: people and animals are '
        'dynamic, the sky is invalid, ground is surface, walls and buildings are structure, all '
        'else is an object.')
    parser.add_argument('--output', type=Path, required=True, metavar='DIR',
                        help='folder for NAME_label_space.yaml and NAME.csv')
    parser.add_argument('--name', type=_file_name, default='csa_ros',
                        help='name of the label space (default: %(default)s)')
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--vocabulary', metavar='WORDS',
                        help='write the files for these words, such as preset:indoor or '
                        '"road, car|truck", and end')
    source.add_argument('--legend', default='segment/legend', metavar='TOPIC',
                        help='write them whenever the words of this legend change '
                        '(default: %(default)s)')
    parser.add_argument('--once', action='store_true', help='end after the first legend')
    for role, meaning in _OPTIONS.items():
        parser.add_argument(f'--{role}', type=_names, default=[], metavar='CLASSES',
                            help=f'names of classes, with commas between, that {meaning}')
    return parser


class Writer:
    """
    Keeps the two files of a label space up to date.

    Readers see each of them as it was or as it is, never half of it.
    """

    def __init__(self, folder: Path, name: str, choices: Mapping[str, Sequence[str]]) -> None:
        # The label space last, so that the colours of its classes are there when it is.
        self._files = {'to_csv': folder / f'{name}.csv',
                       'to_yaml': folder / f'{name}_label_space.yaml'}
        self._choices = choices
        self._written: LabelSpace | None = None

    def take(self, legend: dict) -> bool:
        """
        Write the files of a legend, unless they are those of the one before; return True.

        Raises LegendError for what is no legend and OSError if a file cannot be written.
        """
        space = label_space(legend, self._choices)
        if space != self._written:
            for method, path in self._files.items():
                replace_text(path, getattr(space, method)())
            self._written = space
            print(self._report(space), flush=True)
        return True

    def _report(self, space: LabelSpace) -> str:
        lines = [f'{" and ".join(map(str, self._files.values()))}:']
        for role in ROLES:
            names = [name for name, own in zip(space.names, space.roles) if own == role]
            lines += [f'  {role}: {", ".join(names)}'] if names else []
        absent = missing(space, _all_names(self._choices))
        lines += [f'  not in the vocabulary: {", ".join(absent)}'] if absent else []
        return '\n'.join(lines)


def replace_text(path: Path, text: str) -> None:
    """Put a text into a file, and its folder there, in one step for those who read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        beside.write_text(text, encoding='utf-8')
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _check_choices(parser: argparse.ArgumentParser, choices: Mapping[str, Sequence[str]]) -> None:
    roles: dict[str, str] = {}
    for role, names in choices.items():
        for name in names:
            if roles.setdefault(name.casefold(), role) != role:
                parser.error(f'{name!r} cannot be both {roles[name.casefold()]} and {role}')


def _all_names(choices: Mapping[str, Sequence[str]]) -> list[str]:
    return [name for names in choices.values() for name in names]


def _names(text: str) -> list[str]:
    names = [' '.join(name.split()) for name in split_text(text)]
    if not all(names):
        raise argparse.ArgumentTypeError(f'{text!r} holds an empty name; write car,bus')
    return names


def _file_name(text: str) -> str:
    if not re.fullmatch(r'\w[\w.-]*', text):
        raise argparse.ArgumentTypeError(
            f'{text!r} is no name for files: use letters, digits, _, - and .')
    return text


if __name__ == '__main__':
    sys.exit(main())
