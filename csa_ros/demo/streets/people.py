"""People of many sizes and clothes, walking towards the camera or across, and on bicycles."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

from csa_ros.demo.sprites import CLOTHES
from csa_ros.demo.sprites import Color
from csa_ros.demo.sprites import Look
from csa_ros.demo.sprites import PAINTS
from csa_ros.demo.sprites import Pen
from csa_ros.demo.sprites import tinted
from csa_ros.demo.sprites import TYRE

# Turns points of a person of 1.75 m into those of one of another size.
Place = Callable[[Iterable[Sequence[float]]], list[tuple[float, float]]]
# Draws a bar: start, end, width in metres, and colour.
Limb = Callable[[Sequence[float], Sequence[float], float, Color], None]

SHOES = (34, 32, 34)
GARMENTS = ('shirt', 'coat', 'dress', 'shorts')
CARRIED = ('nothing', 'backpack', 'handbag')
HEADS = ('short hair', 'long hair', 'hat')


def person(pen: Pen, look: Look) -> None:
    """Draw a person as high as `height` says: see GARMENTS, CARRIED and HEADS."""
    size, turn = look['height'] / 1.75, 0.68 if look['view'] == 'side' else 1.0
    cloth, skin = look.get('cloth') or CLOTHES[look['color']], look['skin']

    def at(points: Iterable[Sequence[float]]) -> list[tuple[float, float]]:
        return [(x * turn * size, y * size) for x, y in points]

    def limb(start: Sequence[float], end: Sequence[float], width: float, color: Color) -> None:
        first, last = at((start, end))
        pen.line(first, last, width * size, color)

    _legs(look, limb, cloth, skin)
    swing = look['swing']
    if look['carries'] == 'backpack':
        pen.polygon(at([(-0.32, 0.95), (0.3, 0.95), (0.28, 1.42), (-0.3, 1.42)]), look['bag'])
    for side in (-1, 1):
        hand = (0.29 * side - 0.2 * swing * side, 0.84)
        limb((0.23 * side, 1.37), hand, 0.12, tinted(cloth, 0.78))
        pen.disc(*at([hand])[0], 0.055 * size, skin)
    hem = {'coat': 0.55, 'dress': 0.5}.get(look['garment'], 0.84)
    flare = 0.3 if look['garment'] == 'dress' else 0.23
    pen.polygon(at([(-flare, hem), (flare, hem), (0.25, 1.4), (0.11, 1.5), (-0.11, 1.5),
                    (-0.25, 1.4)]), cloth)
    pen.polygon(at([(0.06, hem), (flare, hem), (0.25, 1.4), (0.11, 1.48)]), tinted(cloth, 0.86))
    if look['carries'] == 'handbag':
        pen.polygon(at([(0.26, 0.62), (0.5, 0.62), (0.47, 0.92), (0.29, 0.92)]), look['bag'])
    _head(pen, look, at, size, skin)


def _legs(look: Look, limb: Limb, cloth: Color, skin: Color) -> None:
    swing = look['swing']
    for side in (-1, 1):
        foot = (0.09 * side + 0.26 * swing * side, 0.06)
        knee = (0.1 * side + 0.1 * swing * side, 0.5)
        upper, lower = look['trousers'], look['trousers']
        if look['garment'] in ('shorts', 'dress'):
            lower = skin
        limb((0.08 * side, 0.88), knee, 0.17, upper)
        limb(knee, foot, 0.13, lower)
        limb((foot[0] - 0.05, 0.04), (foot[0] + 0.13, 0.04), 0.09, SHOES)


def _head(pen: Pen, look: Look, at: Place, size: float, skin: Color) -> None:
    pen.polygon(at([(-0.06, 1.45), (0.06, 1.45), (0.06, 1.56), (-0.06, 1.56)]), skin)
    (x, y), = at([(0, 1.63)])
    if look['head'] == 'long hair':
        pen.ellipse(x, y - 0.06 * size, 0.14 * size, 0.21 * size, look['hair'])
    pen.ellipse(x, y, 0.1 * size, 0.135 * size, skin)
    pen.polygon(at([(-0.13, 1.66), (0.13, 1.66), (0.1, 1.77), (0, 1.8), (-0.1, 1.77)]),
                look['bag'] if look['head'] == 'hat' else look['hair'])


def rider(pen: Pen, look: Look) -> None:
    """Draw a person who sits on a bicycle, seen from behind or ahead."""
    cloth, skin = CLOTHES[look['color']], look['skin']
    for side in (-1, 1):
        pen.line((0.1 * side, 0.95), (0.13 * side, 0.35 + 0.12 * side), 0.15, look['trousers'])
        pen.line((0.2 * side, 1.4), (0.27 * side, 1.06), 0.11, tinted(cloth, 0.8))
    pen.polygon([(-0.2, 0.88), (0.2, 0.88), (0.25, 1.42), (0.1, 1.52), (-0.1, 1.52),
                 (-0.25, 1.42)], cloth)
    pen.ellipse(0, 1.66, 0.1, 0.135, skin)
    pen.polygon([(-0.13, 1.68), (0.13, 1.68), (0.1, 1.8), (-0.1, 1.8)], look['hair'])


def bicycle_end(pen: Pen, look: Look) -> None:
    """Draw a bicycle seen from behind or ahead, 0.6 m wide and 1.1 m high."""
    frame = PAINTS[look['color']]
    pen.box(-0.035, 0, 0.035, 0.7, TYRE)
    pen.box(-0.05, 0.5, 0.05, 1.0, frame)
    pen.line((-0.3, 1.05), (0.3, 1.05), 0.05, TYRE)
    pen.box(-0.12, 0.88, 0.12, 0.95, TYRE)
    for side in (-1, 1):
        pen.line((0, 0.35), (0.16 * side, 0.3), 0.05, frame)
