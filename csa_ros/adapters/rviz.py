"""
What RViz shows of the node: a panel for the images of each camera, and one for its overlay.

RViz keeps where its panels are as Qt does (`QMainWindow::saveState`, `QDockAreaLayoutInfo` of
qtbase/src/widgets/widgets/qdockarealayout.cpp): numbers of four bytes, most significant first, and
strings in UTF-16 with their length before them.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import ceil
from math import sqrt
import struct
from typing import Any

INPUT, OVERLAY = 'Input', 'Overlay'
# The area of the panels in the window of the template, and what is between two of them.
_WIDTH, _HEIGHT, _TOP, _GAP = 1281, 623, 17, 6
_SEQUENCE, _WIDGET, _HORIZONTAL, _VERTICAL, _VISIBLE = b'\xfc', b'\xfb', b'\1', b'\2', b'\1'
_LEAST_WIDTH, _LEAST_HEIGHT, _MOST = 62, 23, 0xffffff


@dataclass(frozen=True)
class View:
    """A camera by its name, with the full topics of its images and of its overlay."""

    name: str
    image: str
    overlay: str


def arrange(template: Mapping[str, Any], views: Sequence[View]) -> dict[str, Any]:
    """Return the configuration of RViz for some cameras, made of that for one without a name."""
    config = deepcopy(dict(template))
    manager, window = config['Visualization Manager'], config['Window Geometry']
    display = {item['Name']: item for item in manager['Displays']}
    panels: dict[str, dict[str, Any]] = {}
    for view in views:
        for kind, topic in ((INPUT, view.image), (OVERLAY, view.overlay)):
            panel = deepcopy(display[kind])
            panel['Name'] = f'{kind} {view.name}'.strip()
            panel['Topic']['Value'] = topic
            panels[panel['Name']] = panel
            window[panel['Name']] = {'collapsed': False}
    for kind in display.keys() - panels:
        del window[kind]
    manager['Displays'] = list(panels.values())
    config['Panels'][0]['Property Tree Widget']['Expanded'] = [f'/{name}1' for name in panels]
    # About as many rows as columns, and the two panels of a camera beside one another.
    columns = 2 * ceil(sqrt(len(views) / 2))
    names = list(panels)
    rows = [names[start:start + columns] for start in range(0, len(names), columns)]
    state = bytes.fromhex(window['QMainWindow State'])
    window['QMainWindow State'] = state.replace(
        _sequence([[INPUT, OVERLAY]]), _sequence(rows)).hex()
    return config


def _sequence(rows: Sequence[Sequence[str]]) -> bytes:
    """Return panels, by the names in each row, as Qt writes them."""
    return b''.join([
        _SEQUENCE, _VERTICAL, struct.pack('>i', len(rows)),
        *(_SEQUENCE + struct.pack('>4i', _TOP + start, size, _LEAST_HEIGHT, _MOST) + _row(row)
          for row, (start, size) in zip(rows, _split(_HEIGHT, len(rows))))])


def _row(names: Sequence[str]) -> bytes:
    return b''.join([
        _SEQUENCE, _HORIZONTAL, struct.pack('>i', len(names)),
        *(_WIDGET + _string(name) + _VISIBLE
          + struct.pack('>4i', start, size, _LEAST_WIDTH, _MOST)
          for name, (start, size) in zip(names, _split(_WIDTH, len(names))))])


def _split(length: int, count: int) -> list[tuple[int, int]]:
    """Return start and size of equal parts with gaps between them; the first are the longest."""
    size, longer = divmod(length - _GAP * (count - 1), count)
    sizes = [size + (index < longer) for index in range(count)]
    return [(sum(sizes[:index]) + _GAP * index, size) for index, size in enumerate(sizes)]


def _string(text: str) -> bytes:
    encoded = text.encode('utf-16-be')
    return struct.pack('>i', len(encoded)) + encoded
