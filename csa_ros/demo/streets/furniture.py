"""Street furniture, none of which is one of the classes: poles, signs, fences, bins, benches."""

from csa_ros.demo.sprites import Look
from csa_ros.demo.sprites import Pen
from csa_ros.demo.sprites import tinted
from csa_ros.demo.streets.solids import SolidPen
import numpy as np

STEEL = (112, 116, 120)
WOOD = (128, 96, 66)
BINS = ((38, 76, 52), (52, 54, 58), (44, 66, 120), (120, 84, 48))
BOXES = ((172, 132, 88), (196, 186, 168), (40, 42, 46))


def lamp_post(pen: Pen, look: Look) -> None:
    """Draw a street light with an arm over the road, 7 m high."""
    height, reach = look['height'], look['reach']
    pen.box(-0.09, 0, 0.09, 1.1, tinted(STEEL, 0.85))
    pen.box(-0.06, 1.1, 0.06, height, STEEL)
    pen.line((0, height), (reach, height + 0.25), 0.09, STEEL)
    pen.polygon([(reach - 0.32, height + 0.14), (reach + 0.32, height + 0.18),
                 (reach + 0.32, height + 0.34), (reach - 0.32, height + 0.34)], (196, 196, 186))


def mast(pen: Pen, look: Look) -> None:
    """Draw a wooden mast with a crossbar, as it carries wires, 8 m high."""
    height = look['height']
    pen.polygon([(-0.15, 0), (0.15, 0), (0.1, height), (-0.1, height)], WOOD)
    pen.box(-0.9, height - 0.9, 0.9, height - 0.76, tinted(WOOD, 0.8))
    for x in (-0.8, 0, 0.8):
        pen.box(x - 0.05, height - 0.76, x + 0.05, height - 0.55, (205, 205, 200))


def sign(pen: Pen, look: Look) -> None:
    """Draw a traffic sign on its pole, 2.8 m high: a disc, a triangle or a plate."""
    pen.box(-0.04, 0, 0.04, 2.3, STEEL)
    rim, inside = look['rim'], look['inside']
    if look['form'] == 'disc':
        pen.disc(0, 2.45, 0.36, rim)
        pen.disc(0, 2.45, 0.26, inside)
    elif look['form'] == 'triangle':
        pen.polygon([(-0.42, 2.1), (0.42, 2.1), (0, 2.83)], rim)
        pen.polygon([(-0.25, 2.2), (0.25, 2.2), (0, 2.62)], inside)
    else:
        pen.box(-0.32, 2.1, 0.32, 2.8, rim)
        pen.box(-0.26, 2.16, 0.26, 2.74, inside)
        pen.box(-0.14, 2.3, 0.14, 2.6, tinted(rim, 0.9))


def bollard(pen: Pen, look: Look) -> None:
    """Draw a bollard, 0.9 m high."""
    pen.box(-0.08, 0, 0.08, 0.9, look['paint'])
    pen.box(-0.08, 0.68, 0.08, 0.78, (225, 225, 220))


def bin_(pen: Pen, look: Look) -> None:
    """Draw a bin with a lid, about 1.1 m high."""
    color, width, height = look['paint'], look['width'], look['height']
    pen.polygon([(-width * 0.42, 0.04), (width * 0.42, 0.04), (width / 2, height),
                 (-width / 2, height)], color)
    pen.polygon([(-width * 0.54, height), (width * 0.54, height), (width * 0.46, height + 0.1),
                 (-width * 0.46, height + 0.1)], tinted(color, 1.3))
    pen.box(-width * 0.3, height * 0.45, width * 0.3, height * 0.62, tinted(color, 0.7))


def bench(pen: Pen, look: Look) -> None:
    """Draw a bench seen from ahead, 1.7 m long."""
    for x in (-0.7, 0.7):
        pen.box(x - 0.05, 0, x + 0.05, 0.85, tinted(STEEL, 0.6))
    for y in (0.42, 0.6, 0.76):
        pen.box(-0.85, y, 0.85, y + 0.11, look['paint'])


def boxes(pen: Pen, look: Look) -> None:
    """Draw a heap of boxes and bags."""
    for x, width, height, color in look['boxes']:
        pen.box(x, 0, x + width, height, color)
        pen.box(x, height * 0.8, x + width, height, tinted(color, 1.18))


def billboard(pen: Pen, look: Look) -> None:
    """Draw an advertising board on feet, 2.5 m high."""
    for x in (-0.5, 0.5):
        pen.box(x - 0.05, 0, x + 0.05, 0.7, tinted(STEEL, 0.7))
    pen.box(-0.7, 0.6, 0.7, 2.5, (46, 48, 52))
    pen.box(-0.6, 0.7, 0.6, 2.4, look['paint'])
    pen.box(-0.45, 0.95, 0.45, 1.25, look['stripe'])
    pen.disc(0, 1.8, 0.34, look['stripe'])


def fence(pen: SolidPen, look: Look) -> None:
    """Draw a fence along the street: a railing, boards with gaps, or a closed hoarding."""
    color, length, kind = look['paint'], look['length'], look['kind']
    if kind == 'hoarding':
        for z in np.arange(0, length, 2.0)[::-1]:
            pen.wall(0, z, min(z + 2, length), 0, 2.1, tinted(color, 0.9 + 0.1 * (z % 4 > 1)))
        pen.wall(0, 0, length, 1.95, 2.1, tinted(color, 0.6))
        return
    step, width, top = (0.45, 0.035, 1.0) if kind == 'railing' else (0.24, 0.14, 1.15)
    z = np.arange(0, length, step)
    corners = np.zeros((len(z), 4, 3), np.float32)
    corners[:, :, 1] = (0.05, 0.05, top, top)
    corners[:, :, 2] = z[:, None] + np.array((0, width, width, 0))
    pen.quads(corners, color)
    for y in (0.12, top - 0.05) if kind == 'railing' else (0.3, 0.85):
        pen.wall(0, 0, length, y, y + 0.07, tinted(color, 0.85))
