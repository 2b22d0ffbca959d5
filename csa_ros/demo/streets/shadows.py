"""Shadows that the sun casts on a street: a map of the ground from above, with its light."""

from collections.abc import Iterator
from dataclasses import dataclass

from csa_ros.demo.scenes import Thing
from csa_ros.demo.scenes import UNLABELLED
import cv2
import numpy as np

# The map: so many pixels a metre, and metres from the middle of the road to its edges.
SCALE, REACH = 8, 32.0
# Half a penumbra, in pixels of the map.
_SOFT = 1.2


# Height in metres of what casts a shadow; other things say it in their look.
_HEIGHTS = {'person': 1.7, 'bicycle': 0.9, 'traffic cone': 0.9, 'car': 1.4, 'bus': 3.1,
            'truck': 3.4}
_CIRCLE = np.array([(np.cos(a), np.sin(a)) for a in np.arange(0, 2 * np.pi, np.pi / 4)])


def outlines(thing: Thing) -> Iterator[tuple[np.ndarray, float, float]]:
    """Give the parts of a thing that cast a shadow: corners (N, 2), x and z, from low to high."""
    height = _HEIGHTS.get(thing.name) or thing.look.get('height', 1.0)
    if thing.length:
        half = 0.05 if thing.name == UNLABELLED else 1.0
        yield np.array([(x, z) for x in (-half, half) for z in (0, thing.length)]), 0.2, height
    elif thing.name in ('car', 'bus', 'truck', 'bicycle'):
        depth = 0.1 if thing.name == 'bicycle' else 0.9
        yield _CIRCLE * (thing.shadow, depth), 0.3, height
    elif thing.name == 'tree':
        yield _CIRCLE * 0.16, 0, 0.5 * height
        yield _CIRCLE * 0.95 * thing.look['width'], 0.45 * height, 0.9 * height
    elif thing.name == 'traffic light':
        yield _CIRCLE * 0.08, 0, 2.1
        yield _CIRCLE * (0.3, 0.1), 2.1, 3.4
    else:
        yield _CIRCLE * 0.6 * min(thing.shadow, 0.4), 0, height


@dataclass(frozen=True)
class Sun:
    """
    Where the sun stands, and how dark its shadows are.

    `shift` is how far (x, z) a shadow reaches for a metre of height, and `shade` (3,) float32 the
    share of the light, in red, green and blue, that the sky gives without the sun.
    """

    shift: tuple[float, float]
    shade: np.ndarray

    @classmethod
    def at(cls, azimuth: float, elevation: float, shade: float) -> 'Sun':
        """Place the sun, in radians: around from straight behind, and above the horizon."""
        length = 1 / np.tan(elevation)
        # What comes from the sky is bluer.
        return cls((float(np.sin(azimuth) * length), float(np.cos(azimuth) * length)),
                   np.array((0.94, 1, 1.15), np.float32) * np.float32(shade))

    def lights(self, x: float, z: float) -> bool:
        """Tell whether it shines on a wall that faces towards (x, z)."""
        return x * self.shift[0] + z * self.shift[1] < 0


class GroundLight:
    """
    The share of the sunlight on the ground of a street that repeats after `lap` metres.

    Casters are drawn one after another; what they shade twice is as dark as once.
    """

    def __init__(self, sun: Sun, lap: float) -> None:
        """Begin with no shadow at all."""
        self.sun, self._lap = sun, lap
        self._map: np.ndarray = np.full(
            (round(lap * SCALE), round(2 * REACH * SCALE)), 255, np.uint8)

    def copy(self) -> 'GroundLight':
        """Return a map that can be drawn on without changing this one."""
        other = GroundLight(self.sun, self._lap)
        other._map = self._map.copy()
        return other

    def cast(self, corners: np.ndarray, low: float, high: float) -> None:
        """Add the shadow of what has corners (N, 2), x and z, from low to high, in metres."""
        swept = np.concatenate([corners + np.multiply(self.sun.shift, y) for y in (low, high)])
        hull = cv2.convexHull(((swept + (REACH, 0)) * SCALE * 16).astype(np.float32))
        step = round(self._lap * SCALE * 16)
        first, last = (int(np.floor(v / step)) for v in (hull[..., 1].min(), hull[..., 1].max()))
        for lap in range(first, last + 1):
            moved = np.rint(hull - (0, lap * step)).astype(np.int32)
            cv2.fillConvexPoly(self._map, moved, 0, shift=4)

    def soften(self) -> None:
        """Give the shadows a penumbra."""
        rows = 8
        wrapped = np.concatenate([self._map[-rows:], self._map, self._map[:rows]])
        self._map = cv2.GaussianBlur(wrapped, (0, 0), _SOFT)[rows:-rows]

    def at(self, x: float, z: float) -> float:
        """Return the share in 0..1 at a position in metres."""
        row = int(z % self._lap * SCALE) % len(self._map)
        column = int(np.clip((x + REACH) * SCALE, 0, self._map.shape[1] - 1))
        return float(self._map[row, column]) / 255

    def sample(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the share in 0..1 at positions (h, w), in metres, float32."""
        u = ((x + REACH) * SCALE).astype(np.float32)
        v = (np.mod(z, self._lap) * SCALE).astype(np.float32)
        u, v = np.broadcast_arrays(u, v)
        # One row more, where the street begins again.
        wrapped = np.concatenate([self._map, self._map[:1]])
        return cv2.remap(wrapped, np.ascontiguousarray(u), np.ascontiguousarray(v),
                         cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / np.float32(255)
