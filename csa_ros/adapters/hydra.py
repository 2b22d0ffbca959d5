"""
The label space and the colours that Hydra and semantic_inference (MIT-SPARK) read.

Hydra takes a YAML file with `total_semantic_labels`, lists of the labels that are dynamic,
invalid, objects and surfaces, and `label_names` (`LabelSpaceConfig` and `GlobalInfo` of Hydra),
and both take colours as CSV (Hydra's `SemanticColorMap`, semantic_inference's `ImageRecolor`).
"""

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
import json
import re
from typing import Any

import yaml

# What Hydra does with a class. DYNAMIC and INVALID are kept out of the map; OBJECT becomes nodes
# of the scene graph; on SURFACE a robot can stand, so that places are looked for there; STRUCTURE
# is part of the mesh alone.
DYNAMIC, INVALID, OBJECT, STRUCTURE, SURFACE = ROLES = (
    'dynamic', 'invalid', 'object', 'structure', 'surface')
_LISTS = {'dynamic_labels': DYNAMIC, 'invalid_labels': INVALID, 'object_labels': OBJECT,
          'surface_places_labels': SURFACE}

# The roles of what Hydra's own label spaces name; what is not here is an object. Vehicles are
# objects, as in all of them but KITTI-360's.
_WORDS = {
    DYNAMIC: (
        'person people human pedestrian man woman boy girl child baby rider cyclist worker animal '
        'dog cat bird horse cow sheep'),
    INVALID: 'sky cloud clouds background unknown unlabeled unlabelled void other',
    STRUCTURE: (
        'wall ceiling window building house skyscraper roof tunnel column pillar structure '
        'mountain hill vegetation'),
    SURFACE: (
        'floor flooring carpet rug mat stairs staircase stairway stair step ground earth dirt mud '
        'sand gravel soil terrain grass lawn field meadow snow water sea river lake road street '
        'asphalt pavement sidewalk path trail track crosswalk crossing curb kerb parking platform '
        'bridge marking railroad'),
}
_ROLE_OF = {word: role for role, words in _WORDS.items() for word in words.split()}

# Hydra's colour of what is unknown. The CSV has a row for it, since Hydra reports every label
# without a colour as an error, and takes a map whose only id is 0 for an empty one.
_UNKNOWN_COLOR = (32, 32, 32)


class LegendError(ValueError):
    """A text is no legend of the node; the message says what is missing."""


@dataclass(frozen=True)
class LabelSpace:
    """
    The classes of a legend with their roles.

    `names` and `colors` ((red, green, blue), 0..255) are in the order of the ids, `unknown` is the
    label of pixels without a class.
    """

    names: tuple[str, ...]
    roles: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    unknown: int

    def to_yaml(self) -> str:
        """Return the file for Hydra's `--config-utilities-file`."""
        lines = ['---', f'total_semantic_labels: {len(self.names)}']
        for key, role in _LISTS.items():
            ids = [label for label, own in enumerate(self.roles) if own == role]
            if role == INVALID:
                ids.append(self.unknown)
            lines.append(f'{key}: {ids}')
        lines.append('label_names:')
        lines += [f'  - {{label: {label}, name: {_quote(name)}}}'
                  for label, name in enumerate(self.names)]
        return '\n'.join(lines) + '\n'

    def to_csv(self) -> str:
        """
        Return the colours, for Hydra's `semantic_colormap_file`.

        Nothing is quoted, since the readers know no quotes and names have no commas. No two labels
        share a colour, which Hydra would take for one label.
        """
        rows = zip([*self.names, 'unknown'], _distinct([*self.colors, _UNKNOWN_COLOR]),
                   [*range(len(self.names)), self.unknown])
        return 'name,red,green,blue,alpha,id\n' + ''.join(
            f'{name},{red},{green},{blue},255,{label}\n'
            for name, (red, green, blue), label in rows)


def label_space(legend: Mapping, choices: Mapping[str, Iterable[str]] | None = None) -> LabelSpace:
    """
    Return the label space of what `Vocabulary.legend` returns.

    `choices` names the classes of a role, by role, where the rules are not to decide; names that
    the legend lacks have no effect (`missing` finds them). The rules go by the last word of the
    name and, where they do not know it, of the first query: `tiled floor` is a floor, and what
    they know neither way, as `car`, an object. Raises LegendError for what is no legend.
    """
    chosen = {_fold(name): role for role, names in (choices or {}).items() for name in names}
    try:
        classes = sorted(legend['classes'], key=lambda item: item['id'])
        names = tuple(_text(item['name']) for item in classes)
        roles = tuple(
            chosen.get(_fold(name)) or _role((name, *map(_text, item['queries'][:1])))
            for name, item in zip(names, classes))
        colors = tuple(_color(item['color']) for item in classes)
        unknown = int(legend['unknown_id'])
        if not classes or [item['id'] for item in classes] != list(range(len(classes))):
            raise ValueError('the ids of its classes must be 0, 1, 2 and so on')
    except (KeyError, TypeError, ValueError) as error:
        reason = f'it lacks {error}' if isinstance(error, KeyError) else error
        raise LegendError(f'this is no legend of a segment node: {reason}') from error
    return LabelSpace(names, roles, colors, unknown)


def read_legend(text: str) -> dict:
    """Return the legend in a message of `~/legend`; raise LegendError if it is no JSON object."""
    try:
        legend = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LegendError(f'this is no legend of a segment node, for it is no JSON: {error}'
                          ) from error
    if not isinstance(legend, dict):
        raise LegendError('this is no legend of a segment node, for it is no JSON object')
    return legend


def missing(space: LabelSpace, names: Iterable[str]) -> list[str]:
    """Return the names that are no class of the label space."""
    known = {_fold(name) for name in space.names}
    return [name for name in names if _fold(name) not in known]


def _role(phrases: Iterable[str]) -> str:
    for phrase in phrases:
        words = re.findall(r'\w+', phrase.casefold().replace('_', ' '))
        # COCO-Stuff turns compounds round: wall-brick, floor-wood, sky-other.
        key = words[0] if '-' in phrase and ' ' not in phrase else words[-1] if words else ''
        if key in _ROLE_OF:
            return _ROLE_OF[key]
    return OBJECT


def _distinct(colors: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return the colours, those that came before moved to the next free one."""
    # Black is what Hydra paints where it has no colour.
    taken = {(0, 0, 0)}
    result = []
    for color in colors:
        while color in taken:
            number = int.from_bytes(bytes(color), 'big') + 1
            red, green, blue = (number % 2**24).to_bytes(3, 'big')
            color = red, green, blue
        taken.add(color)
        result.append(color)
    return result


def _quote(name: str) -> str:
    """Return a name as YAML text within a flow mapping, in quotes where it needs them."""
    line = yaml.safe_dump([name], default_flow_style=True, allow_unicode=True, width=10**6)
    return line.strip()[1:-1]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or ',' in value:
        raise ValueError(f'{value!r} is no name')
    return value


def _color(value: Any) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in value)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f'{value!r} is no colour')
    return red, green, blue


def _fold(name: str) -> str:
    return ' '.join(name.split()).casefold()
