"""What the executables of nodes answer to `--help`."""

from collections.abc import Iterable
from collections.abc import Sequence
import textwrap

_HELP = ('-h', '--help')
_WIDTH, _INDENT = 79, 22


def asks_for_help(args: Sequence[str]) -> bool:
    """Tell whether arguments, without the executable, ask what there is."""
    return any(item in _HELP for item in args)


def usage(name: str, description: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return the help of a node; `parameters` are names and descriptions."""
    lines = [
        f'usage: {name} [-h] [--ros-args [-p PARAMETER:=VALUE] [--params-file FILE]',
        f'{" " * len(name)}        [-r FROM:=TO] [-r __node:=NAME] [-r __ns:=/NAMESPACE] ...]',
        '', *textwrap.wrap(description, _WIDTH), '', 'parameters:']
    for parameter, text in parameters:
        wrapped = textwrap.wrap(text, _WIDTH - _INDENT)
        head = f'  {parameter:<{_INDENT - 2}}'
        if len(head) > _INDENT:
            lines.append(head)
            head = ' ' * _INDENT
        lines += [head + wrapped[0], *(' ' * _INDENT + line for line in wrapped[1:])]
    return '\n'.join(lines)
