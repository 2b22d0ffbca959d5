"""
What the launch files have in common.

It runs under the Python of ROS, which need not have what the nodes need: nothing else is imported.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
import posixpath
import shlex
import shutil
import tempfile
from typing import Any

from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
import yaml


def value_of(context: Any, argument: str) -> str:
    """Return the value of an argument in a `launch.LaunchContext`."""
    return LaunchConfiguration(argument).perform(context)


def is_true(context: Any, argument: str) -> bool:
    """Return whether an argument is true."""
    return IfCondition(LaunchConfiguration(argument)).evaluate(context)


def interpreter(context: Any) -> str | None:
    """Return what the executables are run with; None for what their first lines say."""
    python = value_of(context, 'python')
    if not python:
        return None
    path = shutil.which(str(Path(python).expanduser()))
    if not path:
        raise FileNotFoundError(f'python: there is no program {python}; give the Python of the '
                                'virtual environment, as in python:=~/venv/bin/python')
    return shlex.quote(path)


def sim_time(context: Any) -> list[dict[str, bool]]:
    """Return the parameters of the nodes that have none of their own."""
    value = value_of(context, 'use_sim_time')
    return [{'use_sim_time': value == 'true'}] if value else []


def overrides(context: Any, parameters: dict[str, str]) -> dict[str, str]:
    """Return the values of the arguments that are given, by the parameters that they set."""
    given = {parameter: value_of(context, argument) for argument, parameter in parameters.items()}
    return {parameter: value for parameter, value in given.items() if value}


def written(values: dict[str, Any], node: str) -> list[str]:
    """
    Return the path of a file, if there are values, in which they are text whatever they look like.

    Launch would write it by the rules of YAML, and leave without quotes what rcl reads as numbers
    and booleans, such as the words `y` and `5e-1`.
    """
    if not values:
        return []
    with tempfile.NamedTemporaryFile(
            'w', prefix='launch_params_', suffix='.yaml', delete=False) as file:
        yaml.safe_dump({node: {'ros__parameters': values}}, file, default_style='"')
    return [file.name]


def layered(files: Sequence[str]) -> list[str]:
    """
    Return the paths of parameter files of which later ones take precedence, whatever they hold.

    Of a string and a list for one parameter of one name of nodes, rcl takes the string, whichever
    file comes last. So what a later file sets is left out of the earlier ones, in copies of them.
    """
    later: set[tuple[str, str]] = set()
    paths = []
    for path in reversed(files):
        paths.append(path)
        try:
            document = yaml.compose(Path(path).read_text(encoding='utf-8'))
        except (UnicodeDecodeError, yaml.YAMLError):
            # The node says what is wrong with it.
            continue
        found: set[tuple[str, str]] = set()
        for name, parameters in _sections(document, '/'):
            # Those that are mappings are groups of parameters, which rcl merges.
            found.update((name, key.value) for key, value in parameters.value
                         if not isinstance(value, yaml.MappingNode))
            parameters.value = [
                (key, value) for key, value in parameters.value
                if isinstance(value, yaml.MappingNode) or (name, key.value) not in later]
        if document is not None and found & later:
            paths[-1] = _serialized(document)
        later |= found
    return paths[::-1]


def _sections(document: yaml.Node | None, name: str) -> Iterator[tuple[str, yaml.MappingNode]]:
    """Yield names of nodes, and the parameters that a document has for them."""
    if not isinstance(document, yaml.MappingNode):
        return
    for key, value in document.value:
        if key.value == 'ros__parameters' and isinstance(value, yaml.MappingNode):
            yield name, value
        else:
            yield from _sections(value, posixpath.join(name, str(key.value)))


def _serialized(document: yaml.Node) -> str:
    """Return the path of a file with a document, in which text is quoted as it was."""
    with tempfile.NamedTemporaryFile('w', prefix='launch_params_', suffix='.yaml', delete=False,
                                     encoding='utf-8') as file:
        yaml.serialize(document, file, yaml.SafeDumper, allow_unicode=True)
    return file.name


def existing(argument: str, value: str, hint: str = '') -> str:
    """Return the path; launch itself would go on without a file that is missing."""
    path = Path(value).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{argument}: there is no file {value}{hint}')
    return str(path)
