"""Vehicles with depth: a near face, a side that narrows with the distance, bonnet and roof."""

from collections.abc import Callable
from dataclasses import dataclass

from csa_ros.demo.sprites import Color
from csa_ros.demo.sprites import fixed_point
from csa_ros.demo.sprites import GLASS
from csa_ros.demo.sprites import LAMP_RED
from csa_ros.demo.sprites import LAMP_WHITE
from csa_ros.demo.sprites import Look
from csa_ros.demo.sprites import PAINTS
from csa_ros.demo.sprites import Pen
from csa_ros.demo.sprites import SHIFT
from csa_ros.demo.sprites import tinted
from csa_ros.demo.sprites import TYRE
from csa_ros.demo.sprites import UNIT
import cv2
import numpy as np
from numpy.typing import ArrayLike

HUB = (140, 142, 146)
CHASSIS = (40, 40, 44)
# A circle of radius 1 in the plane of a side: x, y, z.
_CIRCLE = np.array([(0, np.sin(a), np.cos(a)) for a in np.arange(0, 2 * np.pi, np.pi / 6)])
# Details are drawn from so many pixels a metre on.
_FINE = 14


class SolidPen(Pen):
    """
    Draws in three dimensions: points are (x right, y up, z away) metres from the near foot.

    `offset` is how far the foot lies to the right of the camera, and `eye` how high that is above
    the ground, in metres: they tell which sides are seen. `fine` tells whether its near end is
    near enough for details.
    """

    def __init__(self, rgb: np.ndarray, instances: np.ndarray,
                 project: Callable[[np.ndarray], np.ndarray], instance: int,
                 haze: tuple[np.ndarray, float], offset: float, eye: float, light: float = 1.0
                 ) -> None:
        """Draw by `project`, which turns points (N, 3) into pixels (N, 2); the rest as for Pen."""
        super().__init__(rgb, instances, (0, 0), 1.0, instance, haze, light)
        self._project = project
        self.offset, self.eye = offset, eye
        left, right = project(np.array([(0, 0, 0), (1, 0, 0)], np.float32))
        self.fine = right[0] - left[0] > _FINE

    def _pixels(self, points: ArrayLike) -> np.ndarray:
        return fixed_point(self._project(np.asarray(points, np.float32)))

    def shows(self, half: float, length: float) -> bool:
        """Tell whether anything of a thing, `half` its width to each side, is in the picture."""
        columns = self._project(np.array(
            [(x, 0, z) for x in (-half, half) for z in (0, length)], np.float32))[:, 0]
        return columns.max() >= 0 and columns.min() < self._rgb.shape[1]

    def side(self, half: float) -> int:
        """Return which side of a thing `half` as wide as it is far is seen: -1, 1 or 0 (none)."""
        return -int(np.sign(self.offset)) if abs(self.offset) > half else 0

    def face(self, left: float, bottom: float, right: float, top: float, z: float, color: Color
             ) -> None:
        """Fill an upright rectangle that faces the camera."""
        self.polygon([(left, bottom, z), (right, bottom, z), (right, top, z), (left, top, z)],
                     color)

    def wall(self, x: float, near: float, far: float, bottom: float, top: float, color: Color
             ) -> None:
        """Fill an upright rectangle that runs away from the camera."""
        self.polygon([(x, bottom, near), (x, bottom, far), (x, top, far), (x, top, near)], color)

    def floor(self, half: float, y: float, near: float, far: float, color: Color) -> None:
        """Fill a level rectangle, as wide to the left as to the right."""
        self.polygon([(-half, y, near), (half, y, near), (half, y, far), (-half, y, far)], color)

    def quads(self, corners: np.ndarray, color: Color) -> None:
        """Fill quadrilaterals (N, 4, 3) that do not overlap."""
        pixels = self._pixels(corners.reshape(-1, 3)).reshape(-1, 4, 2)
        for image, value in ((self._rgb, self._color(color)), (self._instances, self._instance)):
            cv2.fillPoly(image, list(pixels), value, shift=SHIFT)

    def wheel(self, x: float, z: float, radius: float) -> None:
        """Draw a wheel in the plane of a side."""
        center = np.array((x, radius, z))
        self.polygon(_CIRCLE * radius + center, TYRE)
        if self.fine:
            self.polygon(_CIRCLE * 0.55 * radius + center, HUB)

    def darken(self, half: float, near: float, far: float, share: float) -> None:
        """Leave a share of the light on the ground under a thing; labels stay what they are."""
        corners = [(-half, 0, near), (half, 0, near), (half, 0, far), (-half, 0, far)]
        pixels = self._pixels(corners) // UNIT
        height, width = self._instances.shape
        left, top = np.clip(pixels.min(axis=0), 0, (width, height))
        right, bottom = np.clip(pixels.max(axis=0) + 1, 0, (width, height))
        if right - left < 2 or bottom - top < 1:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillConvexPoly(mask, pixels - (left, top), 1)
        patch = self._rgb[top:bottom, left:right]
        cv2.copyTo(cv2.convertScaleAbs(patch, alpha=share), mask, patch)


@dataclass(frozen=True)
class Body:
    """
    The form of a car, in metres.

    `belt` is the height of the bonnet and the boot; the cabin stands on the belt from `base[0]`
    to `base[1]`, measured from the tail, and its roof reaches from `top[0]` to `top[1]`.
    """

    length: float
    height: float
    belt: float
    base: tuple[float, float]
    top: tuple[float, float]
    width: float = 1.8


BODIES = {
    'saloon': Body(4.6, 1.43, 0.94, (0.75, 3.4), (1.45, 2.6)),
    'hatchback': Body(3.9, 1.5, 0.96, (0.08, 2.95), (0.5, 2.1), 1.72),
    'estate': Body(4.7, 1.48, 0.95, (0.06, 3.4), (0.4, 2.6)),
    'suv': Body(4.6, 1.74, 1.12, (0.08, 3.5), (0.35, 2.75), 1.9),
    'van': Body(4.9, 2.0, 1.16, (0.03, 4.35), (0.06, 3.5), 1.92),
}
BUS_LENGTH, TRUCK_LENGTH = 11.0, 8.5


def _inset(corners: ArrayLike, share: float) -> np.ndarray:
    corners = np.asarray(corners, np.float32)
    center = corners.mean(axis=0)
    return center + (corners - center) * share


def _paint(look: Look) -> Color:
    return look.get('paint') or PAINTS[look['color']]


def car(pen: SolidPen, look: Look) -> None:
    """Draw a car of one of BODIES along the street, its tail or, if oncoming, its front near."""
    body, paint, oncoming = BODIES[look['body']], _paint(look), look['oncoming']
    half, length = body.width / 2, body.length

    def along(z: float) -> float:
        return length - z if oncoming else z

    pen.darken(half * 1.08, -0.15, length + 0.1, 0.45)
    for x in (-0.78, 0.78):
        pen.face(x * half - 0.11, 0, x * half + 0.11, 0.35, 0.3, TYRE)
    slope = [(body.base[1], body.belt), (length, body.belt - 0.22)]
    bonnet = [(x, y, along(z)) for x, (z, y) in zip(
        (-half, half, half, -half), (slope[0], slope[0], slope[1], slope[1]))]
    pen.polygon(bonnet, tinted(paint, 1.12))
    if body.base[0] > 0.3:
        low, high = sorted((along(0), along(body.base[0])))
        pen.floor(half, body.belt, low, high, tinted(paint, 1.1))
    side = pen.side(half)
    if side:
        x = side * half
        profile = [(0, 0.24), (length, 0.24), (length, body.belt - 0.22), slope[0],
                   (0, body.belt)]
        pen.polygon([(x, y, along(z)) for z, y in profile], tinted(paint, 0.86))
        if pen.fine:
            pen.wall(x, 0, length, 0.24, 0.38, tinted(paint, 0.5))
        for z in (0.19 * length, 0.8 * length):
            pen.wheel(x * 1.01, along(z), 0.34)
    _cabin(pen, body, paint, along, side)
    _end(pen, body, paint, oncoming, half)


def _cabin(pen: SolidPen, body: Body, paint: Color, along: Callable[[float], float], side: int
           ) -> None:
    """Draw what stands on the belt of a car: side windows, roof, and the near screen."""
    low, high = body.width / 2 * 0.95, body.width / 2 * 0.76
    base, top = ([along(z) for z in ends] for ends in (body.base, body.top))
    if pen.eye > body.height:
        pen.floor(high, body.height, min(top), max(top), tinted(paint, 1.15))
    if side:
        quad = [(side * low, body.belt, base[0]), (side * low, body.belt, base[1]),
                (side * high, body.height, top[1]), (side * high, body.height, top[0])]
        pen.polygon(quad, tinted(paint, 0.8))
        pen.polygon(_inset(quad, 0.82), tinted(GLASS, 0.75))
        if pen.fine:
            middle = (base[0] + base[1]) / 2
            pillar = zip((low, low, high, high), (-0.06, 0.06, 0.06, -0.06),
                         (body.belt, body.belt, body.height, body.height))
            pen.polygon([(side * x, y, middle + z) for x, z, y in pillar], tinted(paint, 0.8))
    near = int(np.argmin(base))
    screen = [(-low, body.belt, base[near]), (low, body.belt, base[near]),
              (high, body.height, top[near]), (-high, body.height, top[near])]
    pen.polygon(screen, tinted(paint, 0.9))
    glass = _inset(screen, 0.86)
    pen.polygon(glass, GLASS)
    if pen.fine:
        # What it reflects of the sky.
        pen.polygon([(glass[2] + glass[1]) / 2, glass[2], glass[3], (glass[3] + glass[2]) / 2],
                    tinted(GLASS, 1.35))


def _end(pen: SolidPen, body: Body, paint: Color, oncoming: bool, half: float) -> None:
    """Draw the near face of a car, its tail or its front."""
    top = body.belt - (0.22 if oncoming else 0)
    pen.face(-half, 0.24, half, top, 0, paint)
    pen.face(-half, 0.24, half, 0.4, 0, tinted(paint, 0.5))
    if pen.fine:
        pen.face(-0.26, 0.42, 0.26, 0.54, 0, (222, 222, 205))
    if pen.fine and oncoming:
        pen.face(-half * 0.5, 0.55, half * 0.5, 0.68, 0, (30, 30, 34))
    lamp = LAMP_WHITE if oncoming else tinted(LAMP_RED, 0.8)
    for x in (-1, 1):
        left, right = sorted((x * half * 0.98, x * half * 0.7))
        pen.face(left, top - 0.26, right, top - 0.1, 0, lamp)


def bus(pen: SolidPen, look: Look) -> None:
    """Draw a bus along the street, 11 m long, 2.5 m wide and 3.1 m high."""
    paint, band = _paint(look), look.get('band', (236, 236, 232))
    half, length = 1.25, BUS_LENGTH
    pen.darken(half * 1.05, -0.2, length, 0.45)
    for x in (-0.95, 0.95):
        pen.face(x - 0.2, 0, x + 0.2, 0.5, 0.3, TYRE)
    side = pen.side(half)
    if side:
        x = side * half
        pen.wall(x, 0, length, 0.32, 3.1, tinted(paint, 0.85))
        pen.wall(x, 0, length, 1.05, 1.25, tinted(band, 0.85))
        pen.wall(x, 0.3, length - 0.3, 1.45, 2.6, tinted(GLASS, 0.8))
        for z in np.arange(1.6, length - 1, 1.5):
            pen.wall(x, z, z + 0.12, 1.45, 2.6, tinted(paint, 0.7))
        for z in (2.6, length - 2.4):
            pen.wheel(x * 1.005, z, 0.5)
    pen.face(-half, 0.32, half, 3.1, 0, paint)
    pen.face(-half * 0.9, 1.3, half * 0.9, 2.5, 0, GLASS)
    pen.face(-half * 0.9, 1.95, half * 0.9, 2.5, 0, tinted(GLASS, 1.25))
    if look['oncoming']:
        pen.face(-0.03, 1.3, 0.03, 2.5, 0, tinted(paint, 0.7))
        pen.face(-0.9, 2.62, 0.9, 2.96, 0, (28, 28, 28))
        pen.face(-0.66, 2.7, 0.66, 2.88, 0, (255, 170, 30))
    pen.face(-half, 0.32, half, 0.58, 0, tinted(paint, 0.5))
    lamp = LAMP_WHITE if look['oncoming'] else LAMP_RED
    for x in (-1.02, 1.02):
        pen.face(x - 0.14, 0.7, x + 0.14, 1.0, 0, lamp)


def truck(pen: SolidPen, look: Look) -> None:
    """Draw a truck along the street, 8.5 m long and up to 3.5 m high: a box, or an open bed."""
    paint, cabin = _paint(look), PAINTS[look['cabin']]
    half, height, oncoming = 1.25, look.get('height', 3.5), look['oncoming']
    box = (2.3, TRUCK_LENGTH) if oncoming else (0, TRUCK_LENGTH - 2.3)
    cab = (0, 2.0) if oncoming else (TRUCK_LENGTH - 2.0, TRUCK_LENGTH)
    pen.darken(half * 1.05, -0.2, TRUCK_LENGTH, 0.45)
    for x in (-0.95, 0.95):
        pen.face(x - 0.25, 0, x + 0.25, 0.8, 0.3, TYRE)
    side = pen.side(half)
    parts = [lambda: _load(pen, paint, half, height, box, side),
             lambda: _driver(pen, cabin, half, cab, side, oncoming)]
    for part in parts if oncoming else parts[::-1]:
        part()
    if side:
        pen.wall(side * half, 0.4, TRUCK_LENGTH - 0.3, 0.55, 0.85, CHASSIS)
        for z in (0.14, 0.28, 0.84):
            z = (1 - z if oncoming else z) * TRUCK_LENGTH
            pen.wheel(side * half * 1.01, z, 0.5)


def _load(pen: SolidPen, paint: Color, half: float, height: float, span: tuple[float, float],
          side: int) -> None:
    near, far = span
    if side:
        x = side * half
        pen.wall(x, near, far, 0.85, height, tinted(paint, 0.84))
        for z in np.arange(near + 0.6, far, 0.9):
            pen.wall(x, z, z + 0.05, 0.9, height - 0.05, tinted(paint, 0.66))
    if pen.eye > height:
        pen.floor(half, height, near, far, tinted(paint, 0.6))
    pen.face(-half, 0.85, half, height, near, paint)
    for x in (-0.6, 0, 0.6):
        pen.face(x - 0.025, 0.9, x + 0.025, height - 0.05, near, tinted(paint, 0.62))
    pen.face(-half, 0.55, half, 0.85, near, CHASSIS)
    for x in np.linspace(-1.2, 0.9, 7)[::2]:
        pen.face(x, 0.62, x + 0.3, 0.76, near, LAMP_RED)


def _driver(pen: SolidPen, cabin: Color, half: float, span: tuple[float, float], side: int,
            oncoming: bool) -> None:
    near, far = span
    if side:
        x = side * half
        pen.wall(x, near, far, 0.5, 2.8, tinted(cabin, 0.85))
        pen.wall(x, near + 0.3, far - 0.5, 1.6, 2.5, tinted(GLASS, 0.8))
    pen.face(-half, 0.5, half, 2.8, near, cabin)
    if oncoming:
        pen.face(-half * 0.88, 1.55, half * 0.88, 2.5, near, GLASS)
        pen.face(-half * 0.88, 2.1, half * 0.88, 2.5, near, tinted(GLASS, 1.3))
        pen.face(-half * 0.6, 0.85, half * 0.6, 1.3, near, tinted(cabin, 0.45))
        for x in (-0.95, 0.95):
            pen.face(x - 0.15, 0.65, x + 0.15, 0.9, near, LAMP_WHITE)


def length(kind: str, look: Look) -> float:
    """Return how long a car, bus or truck is, in metres."""
    if kind == 'car':
        return BODIES[look['body']].length
    return BUS_LENGTH if kind == 'bus' else TRUCK_LENGTH
