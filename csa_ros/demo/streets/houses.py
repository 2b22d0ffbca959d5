"""Buildings with roofs, shops, doors, window frames and balconies."""

from csa_ros.demo.scenes import Building
from csa_ros.demo.sprites import Color
from csa_ros.demo.sprites import GLASS
from csa_ros.demo.sprites import tinted
from csa_ros.demo.streets.solids import SolidPen
import numpy as np

DEPTH = 12.0
# Windows farther away than this, in metres, are smaller than a pixel.
FAR = 65.0
_FRAME = (214, 212, 206)


def house(pen: SolidPen, building: Building, color: Color, lit: tuple[float, float],
          distance: float) -> None:
    """
    Draw a building along the street, from its near end on.

    `color` is that of its walls in full light, `lit` the shares of the light that the wall along
    the street and the one that faces the camera get, and `distance` how far its near end is ahead
    of the camera, in metres.
    """
    side, length = building.side, building.far - building.near
    wall, front = (tinted(color, share) for share in lit)
    look, height = building.look, building.height
    if distance > 0:
        _front(pen, building, side, front, lit[1])
    if look['roof']:
        top = height + 2.6
        roof = tinted(look['roof'], lit[0])
        pen.polygon([(-side * 0.4, height, 0), (-side * 0.4, height, length),
                     (side * 3.5, top, length), (side * 3.5, top, 0)], roof)
    pen.wall(0, 0, length, 0, height, wall)
    pen.wall(0, 0, length, height - 0.35, height, tinted(wall, 0.72))
    pen.wall(0, 0, length, 0, 0.6, tinted(wall, 0.74))
    _openings(pen, building, length, lit[0], distance)


def _front(pen: SolidPen, building: Building, side: int, front: Color, lit: float) -> None:
    """Draw the wall that faces the camera, with its gable."""
    height, look = building.height, building.look
    pen.polygon([(0, 0, 0), (side * DEPTH, 0, 0), (side * DEPTH, height, 0), (0, height, 0)],
                front)
    if look['roof']:
        pen.polygon([(0, height, 0), (side * 7, height, 0), (side * 3.5, height + 2.6, 0)], front)
    x, y = np.meshgrid(np.arange(0.9, DEPTH - 1, look['bay']),
                       np.arange(0.9, height - 1.4, look['floor']))
    x, y = side * x.ravel()[:, None], y.ravel()[:, None]
    corners = np.zeros((len(x), 4, 3), np.float32)
    corners[..., 0] = x + np.array((0, 1, 1, 0)) * side
    corners[..., 1] = y + np.array((0, 0, 1.4, 1.4))
    pen.quads(corners, tinted(np.array(GLASS) * look['glass'], lit))


def _openings(pen: SolidPen, building: Building, length: float, lit: float, distance: float
              ) -> None:
    """Draw windows, doors, shop windows and balconies of the wall along the street."""
    look, height = building.look, building.height
    z = np.arange(0.8, length - 1.3, look['bay'])
    z = z[(z + distance > 1) & (z + distance < FAR)]
    first = look['floor'] + 0.6 if look['shop'] else 0.9
    floors = np.arange(first, height - 1.5, look['floor'])
    glass, frame = tinted(np.array(GLASS) * look['glass'], lit), tinted(_FRAME, lit)
    if len(z) and len(floors):
        low, near = (grid.ravel()[:, None] for grid in np.meshgrid(floors, z))
        for margin, color in ((0.1, frame), (0, glass)):
            corners = np.zeros((len(near), 4, 3), np.float32)
            corners[..., 1] = low + np.array((-margin, -margin, 1.5 + margin, 1.5 + margin))
            corners[..., 2] = near + np.array((-margin, 1.1 + margin, 1.1 + margin, -margin))
            pen.quads(corners, color)
    if look['shop']:
        pen.wall(0, 0.4, length - 0.4, 0.5, 2.5, tinted(glass, 0.9))
        pen.wall(0, 0.2, length - 0.2, 2.5, 3.0, tinted(look['awning'], lit))
    elif length > 4:
        middle = length / 2
        pen.wall(0, middle - 0.55, middle + 0.55, 0, 2.1, tinted(look['door'], lit))
    if look['balconies']:
        for y in floors[1:]:
            pen.wall(0, 0.6, length - 0.6, y - 0.5, y + 0.45, tinted(frame, 0.8))
