"""
Parameter files, read by the rules of rcl, for tools that run without ROS.

YAML's own rules are others: they take `5e-1` for text and `1_000` for a number, and know nothing
of nodes. These are the rules of rcl_yaml_param_parser (`parse.c`) and of rclpy (`node.cpp`), which
are the same from Humble to Rolling.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import ctypes
from pathlib import Path
import re
from typing import Any

from csa_ros.parameters.errors import ParameterError
import yaml

# A node's name, or one with wildcards: /**, /robot/*, segment.
_NAME = re.compile(r'/?(\*\*?|[A-Za-z_]\w*)(/(\*\*?|[A-Za-z_]\w*))*', re.ASCII)
_PARAMETERS = 'ros__parameters'
_STRING_TAG = 'tag:yaml.org,2002:str'
_TRUE = frozenset(('Y', 'y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON'))
_FALSE = frozenset(('N', 'n', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF'))
_SPECIAL = {
    **{f'{sign}.{name}': float(f'{sign}inf') for sign in ('', '+', '-')
       for name in ('inf', 'Inf', 'INF')},
    **{f'.{name}': float('nan') for name in ('nan', 'NaN', 'NAN')}}
_EXAMPLE = 'as in config/segment.yaml'

# What rcl reads numbers with, so that `0x1F`, `010` and `1e400` mean the same here.
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.strtoll.argtypes = (ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int)
_LIBC.strtoll.restype = ctypes.c_longlong
_LIBC.strtod.argtypes = (ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p))
_LIBC.strtod.restype = ctypes.c_double


def read_file(path: Path, name: str) -> dict[str, Any]:
    """
    Return what a node is given by `--params-file`, by the names of the parameters.

    Of a file with several sections for the node, a parameter is what the last of them says; a
    section that comes twice has its first place. An empty list is None, as it has no type.

    `name` is that of the node, with its namespace, such as `robot/segment`. Without one it is the
    namespace for which the file names such a node, if there is one: the file of a robot serves as
    it is. Raises ParameterError for a file that cannot be read, that a node would not start with,
    that sets a parameter twice to values of two types, or that has nothing for this node.
    """
    sections = _read_sections(path)
    values = _matching(sections, _full_name(path, name, sections))
    if not values:
        found = f' (it has {", ".join(sections)})' if sections else ''
        raise ParameterError(f'{path} has no parameters for a node called {name}{found}; put them '
                             f'under /**: and {_PARAMETERS}:, {_EXAMPLE}')
    return values


def read_files(paths: Iterable[Path], full_name: str) -> dict[str, Any]:
    """
    Return what a node is given by several `--params-file`.

    `full_name` has the namespace, as `/robot/segment`. A section keeps the place that it has in
    the first file that has it, so that `/**` of a later one comes before a name in an earlier one.
    A file may have nothing for the node. Raises ParameterError as `read_file` does.
    """
    merged: dict[str, dict[str, Any]] = {}
    for path in paths:
        for section, parameters in _read_sections(path).items():
            merged.setdefault(section, {}).update(parameters)
    return _matching(merged, full_name)


def _matching(sections: Mapping[str, Mapping[str, Any]], full_name: str) -> dict[str, Any]:
    """Return the parameters in the sections that are for a node."""
    values: dict[str, Any] = {}
    for section, parameters in sections.items():
        # As rclpy has it: /* is one name, and /** any number of them.
        if re.fullmatch(_absolute(section).replace('/*', r'(/\w+)'), full_name, re.ASCII):
            values.update(parameters)
    return values


def _full_name(path: Path, name: str, sections: Mapping[str, Any]) -> str:
    if '/' in name:
        return _absolute(name)
    named = {_absolute(section) for section in sections
             if section.rpartition('/')[2] == name and '*' not in section}
    if len(named) > 1:
        raise ParameterError(f'{path} has parameters for {" and ".join(sorted(named))}: say which '
                             f'is meant with --name, such as --name {min(named)[1:]}')
    return named.pop() if named else f'/{name}'


def _absolute(name: str) -> str:
    return name if name.startswith('/') else f'/{name}'


def _read_sections(path: Path) -> dict[str, dict[str, Any]]:
    """Return the parameters of each node that the file names, under the names as they stand."""
    found: dict[str, dict[str, Any]] = {}
    try:
        items = list(_read_items(path))
    except (OSError, RecursionError, yaml.YAMLError) as error:
        raise ParameterError(f'the parameters in {path} cannot be read: {error}') from error
    for section, name, value in items:
        parameters = found.setdefault(section, {})
        if name in parameters and _type_of(value) != _type_of(parameters[name]):
            # rcl has a value of each type then, and which of them counts is an accident.
            raise ParameterError(f'{path}: {name} of {section} is {parameters[name]!r} and is set '
                                 f'again, to {value!r} of another type; remove one of them')
        parameters[name] = value
    return found


def _type_of(value: Any) -> tuple[type, ...]:
    return (list, type(value[0])) if isinstance(value, list) else (type(value),)


def _read_items(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield section, name and value of all that is set in the file, in its order."""
    loader = _Loader(path.read_bytes())
    try:
        while loader.check_node():
            document = loader.get_node()
            if isinstance(document, yaml.MappingNode):
                yield from _items_of_nodes(path, document, ())
    finally:
        loader.dispose()


class _Loader(yaml.BaseLoader):
    """Leaves it to us what a scalar is, and has no aliases."""

    def resolve(self, kind: type, value: str, implicit: tuple[bool, bool]) -> str:
        """Return the tag of what has none in the file."""
        return ''

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse what rcl refuses."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, 'ROS has no aliases: repeat what the alias stands for',
                self.peek_event().start_mark)
        # So nothing refers to an anchor, and rcl does not mind one that comes twice.
        self.anchors.clear()
        return super().compose_node(parent, index)


def _items_of_nodes(path: Path, node: yaml.Node, names: tuple[str, ...]
                    ) -> Iterator[tuple[str, str, Any]]:
    """Yield what is below the names of a namespace and a node."""
    if not isinstance(node, yaml.MappingNode):
        section = '/'.join(names[:-1] or names)
        raise ParameterError(f'{_place(path, node)}: {section} has no {_PARAMETERS}; indent them '
                             f'below it, {_EXAMPLE}')
    for key, value in node.value:
        if not _key(path, key).startswith(_PARAMETERS):
            yield from _items_of_nodes(path, value, (*names, key.value))
            continue
        section = '/'.join(name.removesuffix('/') for name in names)
        if not _NAME.fullmatch(section):
            raise ParameterError(f'{_place(path, key)}: {section!r} is no name of a node; use '
                                 'letters, digits and _, with / between namespace and name, or '
                                 '/** for any')
        if len(node.value) > 1:
            raise ParameterError(f'{_place(path, key)}: {section} has something beside '
                                 f'{_PARAMETERS}; indent parameters below them, {_EXAMPLE}')
        for name, setting in _items_of_parameters(path, value, section, ''):
            yield section, name, setting


def _items_of_parameters(path: Path, node: yaml.Node, owner: str, prefix: str
                         ) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, yaml.MappingNode):
        raise ParameterError(f'{_place(path, node)}: {_PARAMETERS} of {owner} are no mapping; '
                             f'write `name: value` below them, {_EXAMPLE}')
    for key, value in node.value:
        name = prefix + _key(path, key)
        if isinstance(value, yaml.MappingNode):
            if not value.value:
                raise ParameterError(f'{_place(path, value)}: {name} has no value')
            yield from _items_of_parameters(path, value, owner, f'{name}.')
        elif isinstance(value, yaml.SequenceNode):
            yield name, _read_list(path, name, value)
        else:
            yield name, _read_scalar(path, name, value)


def _key(path: Path, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        raise ParameterError(f'{_place(path, node)}: a name is missing before the colon')
    return node.value


def _read_list(path: Path, name: str, node: yaml.SequenceNode) -> list | None:
    values = []
    for item in node.value:
        if not isinstance(item, yaml.ScalarNode):
            raise ParameterError(f'{_place(path, item)}: {name} holds a list or a mapping; a list '
                                 'of ROS has values alone')
        values.append(_read_scalar(path, name, item))
        if type(values[-1]) is not type(values[0]):
            raise ParameterError(f'{_place(path, item)}: {name} has {values[0]!r} and '
                                 f'{values[-1]!r}, which are of two types; quote all of them, or '
                                 'write all as numbers with a point')
    return values or None


def _read_scalar(path: Path, name: str, node: yaml.ScalarNode) -> bool | int | float | str:
    text = node.value
    if node.style in ("'", '"'):
        return text
    if not text:
        raise ParameterError(f"{_place(path, node)}: {name} has no value; write '' for an empty "
                             'text')
    if node.tag == _STRING_TAG:
        return text
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    number = _SPECIAL.get(text, _read_number(text))
    return text if number is None else number


def _read_number(text: str) -> int | float | None:
    """Return a number where all of the text is one that has room in 64 bits."""
    encoded, end = text.encode(), ctypes.c_char_p()
    for read in (lambda: _LIBC.strtoll(encoded, ctypes.byref(end), 0),
                 lambda: _LIBC.strtod(encoded, ctypes.byref(end))):
        ctypes.set_errno(0)
        number = read()
        if not ctypes.get_errno() and end.value == b'':
            return number
    return None


def _place(path: Path, node: yaml.Node) -> str:
    return f'{path}, line {node.start_mark.line + 1}'
