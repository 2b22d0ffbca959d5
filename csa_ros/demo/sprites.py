"""Things that stand in a street, drawn in metres onto a picture and its instance map."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

# Red, green and blue, 0 to 255.
Color = Iterable[float]
# Words and numbers for how a thing looks.
Look = dict[str, Any]
# Draws a thing with its pen.
Draw = Callable[[Any, Look], None]

# OpenCV takes fixed-point coordinates: four fractional bits keep slow motion smooth.
SHIFT = 4
UNIT = 1 << SHIFT

TYRE = (22, 22, 24)
GLASS = (62, 82, 98)
LAMP_RED = (225, 40, 30)
LAMP_WHITE = (250, 240, 200)

PAINTS = {
    'red': (196, 30, 34), 'blue': (28, 66, 176), 'white': (232, 232, 228), 'black': (34, 34, 38),
    'silver': (164, 168, 174), 'yellow': (232, 188, 24), 'green': (22, 122, 66),
}
CLOTHES = {
    'red': (206, 44, 48), 'blue': (40, 84, 190), 'white': (236, 236, 232), 'black': (36, 34, 40),
    'yellow': (236, 204, 48), 'green': (44, 140, 76), 'pink': (232, 128, 168),
}


def fixed_point(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (N, 2) as OpenCV draws them with SHIFT; far outside it cannot draw."""
    # Without np.clip, which takes longer than all of this.
    return np.rint(np.minimum(np.maximum(pixels, -4000), 4000) * UNIT).astype(np.int32)


class Pen:
    """Draws one thing: metres around its foot become pixels, colours get the light's haze."""

    def __init__(self, rgb: np.ndarray, instances: np.ndarray, foot: tuple[float, float],
                 scale: float, instance: int, haze: tuple[np.ndarray, float], light: float = 1.0
                 ) -> None:
        """
        Stand at a pixel.

        `rgb` (H, W, 3) uint8 and `instances` (H, W) uint8 are drawn in place; `instance` is
        written to the latter wherever the thing covers a pixel. `foot` is the pixel (u, v) on
        which the thing stands, `scale` the pixels per metre at its distance, and `haze` a colour
        that is mixed into every colour, with its share in 0..1. `light` is the share of the light
        that reaches the thing.
        """
        self._rgb, self._instances = rgb, instances
        self._foot, self._scale = np.array(foot, float), scale
        self._axes = np.array((scale, -scale), float)
        self._instance = instance
        self._haze = np.asarray(haze[0], np.float32) * haze[1], (1 - haze[1]) * light

    def mirror(self) -> None:
        """Draw from now on with left and right exchanged."""
        self._axes[0] *= -1

    def _color(self, color: Color) -> tuple[float, ...]:
        veil, keep = self._haze
        return tuple((np.asarray(color, np.float32) * keep + veil).tolist())

    def _pixels(self, points: ArrayLike) -> np.ndarray:
        return fixed_point(np.asarray(points, np.float32) * self._axes + self._foot)

    def polygon(self, points: ArrayLike, color: Color) -> None:
        """Fill a polygon of (x right, y up) points in metres."""
        pixels = [self._pixels(points)]
        cv2.fillPoly(self._rgb, pixels, self._color(color), shift=SHIFT)
        cv2.fillPoly(self._instances, pixels, self._instance, shift=SHIFT)

    def box(self, left: float, bottom: float, right: float, top: float, color: Color) -> None:
        """Fill an upright rectangle given in metres."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], color)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, color: Color) -> None:
        """Fill an upright ellipse given in metres."""
        (u, v), = self._pixels([(x, y)])
        axes = [max(1, round(r * self._scale * UNIT)) for r in (radius_x, radius_y)]
        for image, value in ((self._rgb, self._color(color)), (self._instances, self._instance)):
            cv2.ellipse(image, (int(u), int(v)), axes, 0, 0, 360, value, -1, shift=SHIFT)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a circle given in metres."""
        self.ellipse(x, y, radius, radius, color)

    def line(self, start: Sequence[float], end: Sequence[float], width: float, color: Color
             ) -> None:
        """Draw a bar of a width in metres between two points."""
        (x0, y0), (x1, y1) = start, end
        along = np.array((x1 - x0, y1 - y0), np.float32)
        side = np.array((-along[1], along[0])) / max(float(np.hypot(*along)), 1e-6) * width / 2
        self.polygon([start + side, start - side, end - side, end + side], color)


def tinted(color: Color, factor: float) -> tuple[float, ...]:
    """Return a colour (r, g, b) made darker or lighter by a factor."""
    return tuple(min(255.0, c * factor) for c in color)


def car_rear(pen: Pen, look: Look) -> None:
    """Draw a car seen from behind or ahead, 1.8 m wide and 1.5 m high."""
    paint = PAINTS[look['color']]
    for x in (-0.72, 0.72):
        pen.box(x - 0.13, 0, x + 0.13, 0.4, TYRE)
    pen.polygon([(-0.9, 0.22), (0.9, 0.22), (0.92, 0.6), (0.84, 0.9), (-0.84, 0.9), (-0.92, 0.6)],
                paint)
    pen.polygon([(-0.8, 0.88), (0.8, 0.88), (0.6, 1.45), (-0.6, 1.45)], tinted(paint, 0.85))
    pen.polygon([(-0.68, 0.93), (0.68, 0.93), (0.53, 1.36), (-0.53, 1.36)], GLASS)
    pen.box(-0.9, 0.22, 0.9, 0.36, tinted(paint, 0.55))
    pen.box(-0.26, 0.45, 0.26, 0.57, (225, 225, 205))
    lamp = LAMP_WHITE if look['oncoming'] else LAMP_RED
    for x in (-0.72, 0.72):
        pen.ellipse(x, 0.68, 0.16, 0.1, lamp)


def car_side(pen: Pen, look: Look) -> None:
    """Draw a car seen from its side, 4.2 m long and 1.45 m high."""
    paint = PAINTS[look['color']]
    pen.polygon([(-2.1, 0.3), (2.1, 0.3), (2.1, 0.75), (1.9, 0.85), (-2.0, 0.95), (-2.1, 0.8)],
                paint)
    pen.polygon([(-1.6, 0.9), (1.2, 0.85), (0.55, 1.42), (-1.05, 1.45)], tinted(paint, 0.9))
    pen.polygon([(-1.35, 0.92), (-0.2, 0.9), (-0.2, 1.35), (-0.98, 1.36)], GLASS)
    pen.polygon([(-0.1, 0.9), (0.98, 0.88), (0.48, 1.34), (-0.1, 1.35)], GLASS)
    pen.box(-2.1, 0.28, 2.1, 0.4, tinted(paint, 0.6))
    for x in (-1.3, 1.3):
        pen.disc(x, 0.33, 0.34, TYRE)
        pen.disc(x, 0.33, 0.17, (150, 150, 155))
    pen.box(1.95, 0.6, 2.1, 0.74, LAMP_WHITE)
    pen.box(-2.1, 0.66, -1.95, 0.8, LAMP_RED)


def bus_rear(pen: Pen, look: Look) -> None:
    """Draw a bus seen from behind or ahead, 2.5 m wide and 3.1 m high."""
    paint = PAINTS[look['color']]
    for x in (-0.95, 0.95):
        pen.box(x - 0.2, 0, x + 0.2, 0.6, TYRE)
    pen.box(-1.25, 0.35, 1.25, 3.1, paint)
    pen.box(-1.1, 1.35, 1.1, 2.45, GLASS)
    pen.box(-0.04, 1.35, 0.04, 2.45, tinted(paint, 0.8))
    pen.box(-0.9, 2.6, 0.9, 2.95, (30, 30, 30))
    pen.box(-0.7, 2.68, 0.7, 2.88, (255, 170, 30))
    pen.box(-1.25, 0.35, 1.25, 0.6, tinted(paint, 0.5))
    lamp = LAMP_WHITE if look['oncoming'] else LAMP_RED
    for x in (-0.98, 0.98):
        pen.ellipse(x, 0.95, 0.18, 0.14, lamp)


def bus_side(pen: Pen, look: Look) -> None:
    """Draw a bus seen from its side, 10 m long and 3.1 m high."""
    paint = PAINTS[look['color']]
    pen.box(-5, 0.35, 5, 3.1, paint)
    pen.box(-5, 1.2, 5, 1.32, (240, 240, 240))
    pen.box(-5, 2.85, 5, 3.1, tinted(paint, 0.7))
    for x in np.arange(-4.7, 4.3, 1.25):
        pen.box(x, 1.5, x + 1.05, 2.6, GLASS)
    pen.box(3.4, 0.5, 4.4, 2.6, tinted(GLASS, 0.7))
    for x in (-3, 2.6):
        pen.disc(x, 0.5, 0.52, TYRE)
        pen.disc(x, 0.5, 0.24, (150, 150, 155))


def truck_rear(pen: Pen, look: Look) -> None:
    """Draw a truck seen from behind, 2.5 m wide and 3.5 m high."""
    paint = PAINTS[look['color']]
    for x in (-0.95, 0.95):
        pen.box(x - 0.25, 0, x + 0.25, 0.9, TYRE)
    pen.box(-1.2, 0.6, 1.2, 0.95, (70, 70, 74))
    pen.box(-1.25, 0.95, 1.25, 3.5, paint)
    for x in (-0.62, 0, 0.62):
        pen.box(x - 0.025, 1.0, x + 0.025, 3.45, tinted(paint, 0.6))
    for y in (1.4, 2.9):
        pen.box(-1.2, y, 1.2, y + 0.05, tinted(paint, 0.65))
    for i, x in enumerate(np.linspace(-1.2, 0.9, 7)):
        pen.box(x, 0.72, x + 0.3, 0.86, (240, 240, 235) if i % 2 else LAMP_RED)


def truck_side(pen: Pen, look: Look) -> None:
    """Draw a truck seen from its side, 8 m long and 3.5 m high."""
    paint = PAINTS[look['color']]
    pen.box(-4, 0.7, 4, 0.98, (58, 58, 62))
    pen.box(-4, 0.98, 1.9, 3.5, paint)
    for x in np.arange(-3.6, 1.9, 0.7):
        pen.box(x, 1.05, x + 0.05, 3.42, tinted(paint, 0.7))
    cabin = PAINTS[look['cabin']]
    pen.polygon([(2.1, 0.5), (4, 0.5), (4, 1.6), (3.6, 2.8), (2.1, 2.8)], cabin)
    pen.polygon([(2.9, 1.6), (3.85, 1.6), (3.52, 2.6), (2.9, 2.6)], GLASS)
    for x in (-3, -1.8, 3):
        pen.disc(x, 0.5, 0.5, TYRE)
        pen.disc(x, 0.5, 0.22, (170, 170, 172))


def person(pen: Pen, look: Look) -> None:
    """Draw a walking person, 1.75 m high."""
    shirt, skin = CLOTHES[look['color']], look['skin']
    trousers, swing = look['trousers'], look['swing']
    for side in (-1, 1):
        pen.line((0.08 * side, 0.88), (0.1 * side + 0.28 * swing * side, 0.06), 0.18, trousers)
        pen.line((0.1 * side + 0.28 * swing * side - 0.04, 0.05),
                 (0.1 * side + 0.28 * swing * side + 0.16, 0.05), 0.1, TYRE)
        pen.line((0.24 * side, 1.38), (0.3 * side - 0.25 * swing * side, 0.86), 0.13,
                 tinted(shirt, 0.8))
        pen.disc(0.3 * side - 0.25 * swing * side, 0.83, 0.07, skin)
    pen.polygon([(-0.2, 0.82), (0.2, 0.82), (0.27, 1.42), (0.12, 1.5), (-0.12, 1.5),
                 (-0.27, 1.42)], shirt)
    pen.box(-0.06, 1.46, 0.06, 1.56, skin)
    pen.ellipse(0, 1.63, 0.115, 0.145, skin)
    pen.polygon([(-0.12, 1.66), (0.12, 1.66), (0.1, 1.78), (0, 1.81), (-0.1, 1.78)], look['hair'])


def bicycle(pen: Pen, look: Look) -> None:
    """Draw a parked bicycle, 1.75 m long and 1.1 m high; its spokes belong to it."""
    frame = PAINTS[look['color']]
    for x in (-0.55, 0.55):
        pen.disc(x, 0.35, 0.36, TYRE)
        pen.disc(x, 0.35, 0.29, (150, 152, 156))
        for angle in np.arange(0, np.pi, np.pi / 5):
            dx, dy = 0.29 * np.cos(angle), 0.29 * np.sin(angle)
            pen.line((x - dx, 0.35 - dy), (x + dx, 0.35 + dy), 0.025, (70, 70, 74))
    seat, head, pedal = (-0.2, 0.85), (0.38, 0.8), (-0.02, 0.35)
    for start, end in ((seat, head), (seat, pedal), (head, pedal), ((-0.55, 0.35), pedal),
                       ((-0.55, 0.35), seat), (head, (0.55, 0.35)), (head, (0.34, 1.02))):
        pen.line(start, end, 0.075, frame)
    pen.line((-0.34, 0.95), (-0.08, 0.95), 0.09, TYRE)
    pen.line((0.22, 1.04), (0.46, 1.04), 0.07, TYRE)


def traffic_light(pen: Pen, look: Look) -> None:
    """Draw a traffic light on its pole, 3.4 m high."""
    pen.box(-0.08, 0, 0.08, 2.1, (66, 70, 74))
    pen.box(-0.32, 2.05, 0.32, 3.4, (24, 26, 26))
    lamps = (('green', 2.3, (40, 235, 120)), ('amber', 2.72, (255, 190, 30)),
             ('red', 3.14, (255, 50, 40)))
    for name, y, color in lamps:
        pen.disc(0, y, 0.17, color if look['color'] == name else tinted(color, 0.22))


def traffic_cone(pen: Pen, look: Look) -> None:
    """Draw a traffic cone, 0.9 m high."""
    orange, white = (250, 104, 18), (244, 240, 232)
    pen.box(-0.36, 0, 0.36, 0.09, tinted(orange, 0.75))
    for low, high, color in ((0.09, 0.3, orange), (0.3, 0.48, white), (0.48, 0.62, orange),
                             (0.62, 0.74, white), (0.74, 0.92, orange)):
        left, right = 0.28 * (1 - low / 1.05), 0.28 * (1 - high / 1.05)
        pen.polygon([(-left, low), (left, low), (right, high), (-right, high)], color)


def tree(pen: Pen, look: Look) -> None:
    """Draw a tree: a trunk under a crown of leaves, 5 to 9 m high."""
    height, width = look['height'], look['width']
    pen.polygon([(-0.22, 0), (0.22, 0), (0.12, height * 0.6), (-0.12, height * 0.6)],
                (92, 66, 46))
    for x, y, radius, shade in look['leaves']:
        pen.disc(x * width, height * (0.66 + 0.3 * y), radius * width,
                 tinted(look['green'], shade))


def conifer(pen: Pen, look: Look) -> None:
    """Draw a conifer: tiers of needles that narrow towards the top."""
    height, width = look['height'], look['width']
    pen.box(-0.16, 0, 0.16, height * 0.3, (82, 60, 44))
    for tier, tint in enumerate((0.72, 0.86, 1.0, 1.14)):
        low, half = height * (0.14 + 0.19 * tier), width * (1.05 - 0.22 * tier)
        pen.polygon([(-half, low), (half, low), (0, low + height * 0.32)],
                    tinted(look['green'], tint))
