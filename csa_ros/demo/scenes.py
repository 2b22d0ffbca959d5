"""Street scenes rendered from a seed, with an exact label for every pixel."""

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import NamedTuple
from typing import TypeVar

from csa_ros.demo import sprites
import cv2
import numpy as np

CLASSES = ('sky', 'road', 'pavement', 'grass', 'building', 'tree', 'car', 'bus', 'truck', 'person',
           'bicycle', 'traffic light', 'traffic cone')
SKY, ROAD, PAVEMENT, GRASS = range(4)
BUILDING = CLASSES.index('building')
# Unseen in training, and not chosen by.
EVALUATION_SEEDS = range(100)
# The name and the label of what is none of the classes.
UNLABELLED, IGNORED = 'unlabelled', 255
# Ids 0 to 3 of the instance map are the ground and the sky; things are numbered from here.
FIRST_THING = 4

# The street repeats after so many metres, and things are drawn from NEAR to the end of a lap.
LAP, NEAR = 80.0, 2.5
# Rendered larger and averaged down: smooth edges in the picture, exact labels in the map.
SUPERSAMPLING = 2

# The camera: its parameters, in metres and pixels, at a time.
Camera = dict[str, Any]
# One distance, or an array of them.
Distance = TypeVar('Distance', float, np.ndarray)

FACADES = {'brick': (152, 82, 62), 'white': (222, 216, 204), 'grey': (138, 140, 144),
           'yellow': (214, 184, 116), 'brown': (120, 92, 72), 'blue': (120, 144, 172)}
WEATHERS = ('sunny', 'cloudy', 'rainy', 'foggy', 'evening')
SKIES = {'sunny': ((92, 150, 222), (186, 214, 240)), 'cloudy': ((168, 176, 188), (208, 212, 218)),
         'rainy': ((118, 126, 138), (164, 170, 178)), 'foggy': ((196, 200, 204), (212, 214, 216)),
         'evening': ((74, 86, 142), (238, 164, 118))}
LIGHTS = {'sunny': (1.06, 1.02, 0.94), 'cloudy': (0.9, 0.92, 0.95), 'rainy': (0.72, 0.76, 0.82),
          'foggy': (0.92, 0.93, 0.94), 'evening': (0.84, 0.7, 0.64)}
HAZES = {'sunny': 450.0, 'cloudy': 300.0, 'rainy': 160.0, 'foggy': 60.0, 'evening': 300.0}


@dataclass(frozen=True)
class Thing:
    """
    One object of the street: what it is, where it stands and how it is drawn.

    `x` and `z` are metres from the middle of the road and along it, `shadow` the radius of its
    shadow, `speed` metres a second along the street. A thing with a `length` is drawn with depth,
    from `z` on.
    """

    name: str
    draw: sprites.Draw
    x: float
    z: float
    shadow: float = 0.0
    speed: float = 0.0
    look: sprites.Look = field(default_factory=dict)
    length: float = 0.0


@dataclass(frozen=True)
class Building:
    """A block beside the street: side (-1 left, 1 right), extent along it, height and look."""

    side: int
    near: float
    far: float
    setback: float
    height: float
    look: sprites.Look


@dataclass(frozen=True)
class Frame:
    """
    A rendered picture and all that is true of it.

    `rgb` is (H, W, 3) uint8; `labels` is (H, W) uint8, an index into `CLASSES`, or IGNORED for
    what is none of them; `instances` is (H, W) uint8, an index into `names` and `looks`, which
    give each instance's class name, or UNLABELLED, and a dict of words for its look (`color` and
    others). `focal` is the
    pinhole camera's focal length and `center` its principal point (x, y), in pixels.
    """

    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    names: tuple[str, ...]
    looks: tuple[sprites.Look, ...]
    focal: float
    center: tuple[float, float]


class Job(NamedTuple):
    """A building or thing to be drawn, at a distance ahead of the camera in metres."""

    distance: float
    draw: Callable
    subject: Building | Thing
    instance: int


def _noise(random: np.random.Generator, size: int, grain: int) -> np.ndarray:
    """Return (size, size) float32 noise in -1..1 whose blotches are `grain` pixels wide."""
    coarse = random.standard_normal((max(2, size // grain),) * 2).astype(np.float32)
    image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(image / 2, -1, 1)


class Scene:
    """
    A street made from a seed, seen by a camera that drives along it.

    The same seed, time and size give the same frame on every machine with the same OpenCV.
    """

    def __init__(self, seed: int) -> None:
        """Lay out the street of `seed`, an int of 0 or more."""
        random = np.random.default_rng(seed)
        self.weather = str(random.choice(WEATHERS, p=(0.35, 0.25, 0.15, 0.1, 0.15)))
        self.wet = self.weather == 'rainy'
        self._half_road = random.uniform(3.2, 6.0)
        self._pavement = self._half_road + random.uniform(1.8, 4.0)
        self._lawn = self._pavement + random.choice([0.0, random.uniform(1.5, 9.0)], size=2,
                                                    p=(0.2, 0.8))
        self._bend = random.uniform(-1, 1) * 2e-3
        self._camera = {
            'height': random.uniform(1.3, 2.6), 'x': random.uniform(-0.5, 0.9) * self._half_road,
            'focal': random.uniform(0.75, 1.25), 'horizon': random.uniform(0.36, 0.54),
            'speed': random.uniform(4, 9), 'z': random.uniform(0, LAP)}
        self._gain = np.array(LIGHTS[self.weather]) * random.uniform(0.85, 1.12)
        self._sky = [np.clip(np.array(c) + random.normal(0, 8, 3), 0, 255)
                     for c in SKIES[self.weather]]
        self._haze_range = HAZES[self.weather] * random.uniform(0.8, 1.4)
        self._ground = {
            ROAD: np.array((96, 96, 100)) + random.uniform(-22, 22),
            PAVEMENT: np.array((166, 158, 148)) + random.normal(0, 10, 3),
            GRASS: np.array((92, 136, 58)) + random.normal(0, 10, 3)}
        if self.wet:
            self._ground[ROAD] = self._ground[ROAD] * 0.7
        self._dashed = bool(random.random() < 0.8)
        self._crossing = random.uniform(0, LAP)
        self._fine, self._coarse = _noise(random, 256, 1), _noise(random, 256, 8)
        self._clouds = (_noise(random, 512, 64) + 0.5 * _noise(random, 512, 24)) * (
            1.2 if self.weather in ('sunny', 'cloudy', 'evening') else 0.3)
        self._buildings = list(self._make_buildings(random))
        self._things = list(self._make_things(random))
        self._number_instances()

    def _number_instances(self) -> None:
        """Give every building and thing its place among the instances."""
        self.names: tuple[str, ...] = (
            'sky', 'road', 'pavement', 'grass',
            *(['building'] * len(self._buildings)), *(t.name for t in self._things))
        self.looks: tuple[sprites.Look, ...] = (
            {'weather': self.weather}, {'wet': self.wet}, {'wet': self.wet}, {},
            *(b.look for b in self._buildings), *(t.look for t in self._things))
        self._class_of = np.array(
            [IGNORED if name == UNLABELLED else CLASSES.index(name) for name in self.names],
            np.uint8)

    def _make_buildings(self, random: np.random.Generator) -> Iterator[Building]:
        for side in (-1, 1):
            setback = self._lawn[(side + 1) // 2]
            z = 0.0
            while z < LAP - 8:
                length = min(random.uniform(9, 24), LAP - z)
                if random.random() < 0.8:
                    look = {'color': str(random.choice(list(FACADES))),
                            'shade': random.uniform(0.8, 1.15),
                            'floor': random.uniform(2.8, 3.8), 'bay': random.uniform(2.2, 4.2),
                            'glass': random.uniform(0.6, 1.5)}
                    yield Building(side, z, z + length, setback + random.uniform(0, 2.5),
                                   random.uniform(5, 19), look)
                z += length + random.choice([0.0, random.uniform(2, 9)])

    def _make_things(self, random: np.random.Generator) -> Iterator[Thing]:
        paint = list(sprites.PAINTS)

        def on_pavement() -> float:
            side = random.choice((-1, 1))
            return side * random.uniform(self._half_road + 0.5, self._pavement - 0.3)

        for _ in range(random.integers(3, 9)):
            oncoming = bool(random.random() < 0.5)
            kind = random.choice(('car', 'bus', 'truck'), p=(0.5, 0.25, 0.25))
            lane = (-1 if oncoming else 1) * self._half_road * 0.5
            yield self._vehicle(random, str(kind), lane, oncoming, paint)
        for _ in range(random.integers(2, 7)):
            kind = random.choice(('car', 'bus', 'truck'), p=(0.5, 0.25, 0.25))
            x = random.choice((-1, 1)) * random.uniform(self._half_road * 0.8, self._pavement + 2)
            yield self._vehicle(random, str(kind), x, None, paint)
        for _ in range(random.integers(7, 16)):
            shirt = str(random.choice(list(sprites.CLOTHES)))
            skin = np.array((236, 190, 160)) * random.uniform(0.4, 1.0)
            yield Thing('person', sprites.person, on_pavement() * random.choice((1, 1, 0.6)),
                        random.uniform(0, LAP), 0.35, random.normal(0, 1.0),
                        {'color': shirt, 'skin': tuple(skin), 'swing': random.uniform(-1, 1),
                         'trousers': tuple(random.uniform(20, 110, 3)),
                         'hair': tuple(np.array((90, 60, 40)) * random.uniform(0.2, 1.6))})
        for _ in range(random.integers(5, 11)):
            yield Thing('bicycle', sprites.bicycle, on_pavement(), random.uniform(0, LAP), 0.8, 0,
                        {'color': str(random.choice(paint))})
        for side in (-1, 1):
            for z in np.arange(random.uniform(0, 20), LAP, random.uniform(14, 30)):
                yield Thing('traffic light', sprites.traffic_light,
                            side * (self._half_road + random.uniform(0.2, 0.8)), z, 0.2, 0,
                            {'color': str(random.choice(('red', 'amber', 'green')))})
        for _ in range(random.integers(2, 6)):
            x, z = random.uniform(-1, 1) * self._half_road, random.uniform(0, LAP)
            for i in range(random.integers(1, 5)):
                yield Thing('traffic cone', sprites.traffic_cone, x + i * random.uniform(-0.3, 1),
                            (z + i * random.uniform(0.5, 2.5)) % LAP, 0.4)
        for side in (-1, 1):
            for z in np.arange(random.uniform(0, 12), LAP, random.uniform(7, 22)):
                yield self._tree(random, side, z)

    @staticmethod
    def _vehicle(random: np.random.Generator, kind: str, x: float, oncoming: bool | None,
                 paint: list[str]) -> Thing:
        side_on = oncoming is None
        draw = getattr(sprites, f'{kind}_side' if side_on else f'{kind}_rear')
        speed = 0.0 if side_on else random.uniform(3, 8) * (-1 if oncoming else 1)
        length = {'car': 2.0, 'bus': 4.5, 'truck': 3.8}[kind] if side_on else 1.1
        return Thing(kind, draw, x, random.uniform(0, LAP), length, speed,
                     {'color': str(random.choice(paint)), 'oncoming': bool(oncoming),
                      'cabin': str(random.choice(paint))})

    def _tree(self, random: np.random.Generator, side: int, z: float) -> Thing:
        lawn = self._lawn[(side + 1) // 2]
        low = self._pavement + 0.3 if lawn > self._pavement + 1 else self._pavement - 0.6
        x = side * random.uniform(low, max(lawn - 0.5, low + 0.1))
        count = random.integers(16, 26)
        angle, reach = random.uniform(0, 2 * np.pi, count), np.sqrt(random.uniform(0, 1, count))
        order = np.argsort(-reach)
        shade = np.linspace(0.72, 1.18, count) + random.normal(0, 0.08, count)
        leaves = np.stack([np.cos(angle) * reach, np.sin(angle) * reach,
                           random.uniform(0.25, 0.5, count)], 1)[order]
        green = np.array((46, 92, 42)) + random.normal(0, 1, 3) * (16, 14, 8)
        return Thing('tree', sprites.tree, x, z, 1.5, 0, {
            'height': random.uniform(4.5, 9), 'width': random.uniform(1.2, 2.4),
            'green': tuple(green), 'leaves': np.column_stack([leaves, shade]).tolist()})

    def render(self, time: float, size: tuple[int, int] = (320, 240),
               traffic_time: float | None = None) -> Frame:
        """
        Render the street as the camera sees it.

        `time` are seconds since the drive began: the camera and the traffic move with it, the
        traffic with `traffic_time` where that is given. `size` is (width, height) in pixels.
        """
        width, height = (side * SUPERSAMPLING for side in size)
        camera = self._camera_at(
            time, time if traffic_time is None else traffic_time, width, height)
        rgb, instances = self._render_ground(width, height, camera)
        self._render_things(rgb, instances, camera)
        rgb, instances, focal, (x, y) = self._turn(rgb, instances, camera)
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        # The top-left sample of each cell: INTER_NEAREST of an exact integer factor.
        instances = np.ascontiguousarray(instances[::SUPERSAMPLING, ::SUPERSAMPLING])
        return Frame(self._expose(rgb, instances), self._class_of[instances], instances,
                     self.names, self.looks, focal / SUPERSAMPLING,
                     (x / SUPERSAMPLING, y / SUPERSAMPLING))

    def _camera_at(self, time: float, traffic_time: float, width: int, height: int) -> Camera:
        """Return the camera in pixels of a picture (height, width), where it is at a time."""
        camera = dict(self._camera)
        camera['z'] += camera['speed'] * time
        camera['focal'] *= width * 0.8
        camera['horizon'] = height * (camera['horizon'] + 0.004 * np.sin(2.1 * time))
        camera['time'], camera['traffic_time'] = time, traffic_time
        return camera

    def _turn(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera
              ) -> tuple[np.ndarray, np.ndarray, float, tuple[float, float]]:
        """Return picture and instances as the camera is turned, its focal length and centre."""
        return rgb, instances, camera['focal'], (rgb.shape[1] / 2, camera['horizon'])

    def _center(self, distance: Distance, camera: Camera) -> Distance:
        """Return where the middle of the road lies, in metres, at a distance ahead."""
        return self._bend * distance ** 2 - camera['x']

    def _render_ground(self, width: int, height: int, camera: Camera
                       ) -> tuple[np.ndarray, np.ndarray]:
        """Return the (H, W, 3) uint8 picture and the (H, W) instance map of sky and ground."""
        horizon = int(np.clip(camera['horizon'], 1, height - 2))
        rows = np.arange(horizon + 1, height, dtype=np.float32)
        distance = camera['focal'] * camera['height'] / (rows - camera['horizon'] + 0.5)
        distance = np.maximum(distance, 0.1)[:, None]
        columns = np.arange(width, dtype=np.float32)[None] - width / 2
        x = columns * (distance / camera['focal']) - self._center(distance, camera)
        x = x.astype(np.float32)
        z = distance + camera['z'] % (256 * LAP)

        side = np.abs(x)
        left, right = self._lawn
        lawn = np.where(x < 0, left, right)
        kind = np.full(x.shape, GRASS, np.uint8)
        kind[(side < self._pavement) | (lawn <= self._pavement)] = PAVEMENT
        kind[side < self._half_road] = ROAD

        sky = self._render_sky(width, horizon + 1, camera)
        ground = self._color_ground(kind, x, z, side, camera)
        share = 1 - np.exp(-distance / self._haze_range)
        ground += (self._sky[1].astype(np.float32) - ground) * share[..., None]
        rgb = np.concatenate([sky, np.clip(ground, 0, 255).astype(np.uint8)])
        instances = np.concatenate([np.full((horizon + 1, width), SKY, np.uint8), kind])
        return rgb, instances

    def _render_sky(self, width: int, height: int, camera: Camera) -> np.ndarray:
        top, bottom = self._sky
        ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** 1.5
        sky = (top * (1 - ramp) + bottom * ramp).astype(np.float32)
        clouds = cv2.resize(self._clouds[:256], (width, height))[..., None]
        clouds = np.clip(clouds, 0, 1) * (1 - 0.6 * ramp)
        return np.clip(sky + (238 - sky) * clouds, 0, 255).astype(np.uint8)

    def _color_ground(self, kind: np.ndarray, x: np.ndarray, z: np.ndarray, side: np.ndarray,
                      camera: Camera) -> np.ndarray:
        """Return the (h, W, 3) float32 colours of the ground at street positions x, z."""
        palette = np.zeros((4, 3), np.float32)
        for index, color in self._ground.items():
            palette[index] = color
        ground = palette[kind]
        fine = self._fine[(z * 14).astype(np.int32) % 256, (x * 14).astype(np.int32) % 256]
        coarse = self._coarse[(z * 9).astype(np.int32) % 256, (x * 9).astype(np.int32) % 256]
        strength = np.array((0, 0.05, 0.04, 0.26), np.float32)[kind]
        blotch = np.array((0, 0.06, 0.03, 0.2), np.float32)[kind]
        ground *= (1 + fine * strength + coarse * blotch)[..., None]

        tiles = (kind == PAVEMENT) & ((np.mod(x, 0.9) < 0.07) | (np.mod(z, 0.9) < 0.07))
        kerb = (kind == PAVEMENT) & (side < self._half_road + 0.16)
        paint = (side > self._half_road - 0.4) & (side < self._half_road - 0.25)
        if self._dashed:
            paint |= (side < 0.08) & (np.mod(z, 6) < 3)
        ahead = np.mod(z - self._crossing, LAP)
        paint |= (ahead < 3) & (np.mod(x, 1.0) < 0.5)
        paint &= kind == ROAD
        # (share of the ground's own colour, brightness added) of each kind of marking.
        mixes = np.array(((1, 0), (0.8, 0), (0.5, 95), (0.25, 165)), np.float32)
        marking = np.where(paint, 3, np.where(kerb, 2, np.where(tiles, 1, 0)))
        ground *= mixes[marking, 0][..., None]
        ground += mixes[marking, 1][..., None]
        if self.wet:
            shine = ((kind == ROAD) & (coarse > 0.25))[..., None]
            ground += (self._sky[1].astype(np.float32) * 0.35 - ground * 0.4) * shine
        return ground

    def _render_things(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera) -> None:
        """Draw buildings and things from far to near."""
        for job in self._far_to_near(self._jobs(camera), camera):
            job.draw(rgb, instances, camera, job.subject, job.distance, job.instance)

    def _jobs(self, camera: Camera) -> list[Job]:
        """Return what is to be drawn."""
        jobs = []
        for index, building in enumerate(self._buildings, FIRST_THING):
            near = building.near - camera['z'] % LAP
            for lap in (0, LAP):
                if building.far + lap - camera['z'] % LAP > NEAR:
                    jobs.append(Job(near + lap, self._draw_building, building, index))
        for index, thing in enumerate(self._things, FIRST_THING + len(self._buildings)):
            distance = (thing.z + thing.speed * camera['traffic_time'] - camera['z']) % LAP
            if distance > LAP - thing.length:
                # Its far end is still ahead.
                distance -= LAP
            if distance > NEAR - thing.length:
                jobs.append(Job(distance, self._draw_thing, thing, index))
        return jobs

    def _far_to_near(self, jobs: list[Job], camera: Camera) -> list[Job]:
        """Return jobs in the order of drawing."""
        return sorted(jobs, key=lambda job: -job.distance)

    def _pen(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera, x: float,
             distance: float, instance: int) -> tuple[sprites.Pen, tuple[float, float]]:
        scale = camera['focal'] / distance
        foot = (rgb.shape[1] / 2 + (x + self._center(distance, camera)) * scale,
                camera['horizon'] + camera['height'] * scale)
        haze = 1 - np.exp(-distance / self._haze_range)
        return sprites.Pen(rgb, instances, foot, scale, instance, (self._sky[1], haze),
                           self._light_at(camera, x, distance)), foot

    def _light_at(self, camera: Camera, x: float, distance: float) -> float:
        """Return the share of the light that reaches a thing there."""
        return 1.0

    def _draw_thing(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera, thing: Thing,
                    distance: float, instance: int) -> None:
        pen, (u, v) = self._pen(rgb, instances, camera, thing.x, distance, instance)
        scale = camera['focal'] / distance
        reach = scale * max(thing.shadow, 2) * 2
        if u + reach < 0 or u - reach > rgb.shape[1]:
            return
        self._cast_shadow(rgb, u, v, thing.shadow * scale)
        thing.draw(pen, thing.look)

    @staticmethod
    def _cast_shadow(rgb: np.ndarray, u: float, v: float, radius: float) -> None:
        """Darken the ground under a thing; its label stays what it is."""
        height, width = rgb.shape[:2]
        left, right = (int(np.clip(u + s * radius, 0, width)) for s in (-1.1, 1.1))
        top, bottom = (int(np.clip(v + s * radius * 0.18, 0, height)) for s in (-1, 1))
        if right - left < 2 or bottom - top < 2:
            return
        y, x = np.ogrid[top:bottom, left:right]
        inside = ((x - u) / radius) ** 2 + ((y - v) / (radius * 0.17)) ** 2 < 1
        patch = rgb[top:bottom, left:right]
        patch[inside] = patch[inside] * 0.55

    def _draw_building(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera,
                       building: Building, near: float, instance: int) -> None:
        far = near + building.far - building.near
        shown = max(near, NEAR)
        x = building.side * building.setback
        look = building.look
        color = np.array(FACADES[look['color']]) * look['shade']
        if near > NEAR:
            pen, _ = self._pen(rgb, instances, camera, x, near, instance)
            out = building.side * 14.0
            pen.polygon([(0, 0), (out, 0), (out, building.height), (0, building.height)],
                        color * 0.8)
            self._windows_front(pen, building, color * 0.8)
        self._facade(rgb, instances, camera, building, (shown, far), near, instance, color)

    @staticmethod
    def _windows_front(pen: sprites.Pen, building: Building, color: np.ndarray) -> None:
        look = building.look
        glass = np.array(sprites.GLASS) * look['glass']
        for y in np.arange(0.9, building.height - 1.5, look['floor']):
            for offset in np.arange(0.8, 12.5, look['bay']):
                x = building.side * offset
                pen.box(x - 0.5, y, x + 0.5, y + 1.5, glass)

    def _facade(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera, building: Building,
                span: tuple[float, float], near: float, instance: int, color: np.ndarray) -> None:
        """Draw the wall along the street with its rows of windows."""
        look = building.look
        x = building.side * building.setback

        def quad(z0: float, z1: float, low: float, high: float) -> list[tuple[float, float]]:
            corners = []
            for z, y in ((z0, low), (z1, low), (z1, high), (z0, high)):
                scale = camera['focal'] / z
                corners.append((rgb.shape[1] / 2 + (x + self._center(z, camera)) * scale,
                                camera['horizon'] + (camera['height'] - y) * scale))
            return corners

        def fill(z0: float, z1: float, low: float, high: float, shade: np.ndarray) -> None:
            haze = 1 - np.exp(-z0 / self._haze_range)
            # A pen at the pixel origin with one pixel a metre draws in picture coordinates.
            pen = sprites.Pen(rgb, instances, (0, 0), 1.0, instance, (self._sky[1], haze))
            pen.polygon([(u, -v) for u, v in quad(z0, z1, low, high)], shade)

        fill(*span, 0, building.height, color)
        fill(*span, building.height - 0.4, building.height, color * 0.7)
        fill(*span, 0, 0.7, color * 0.75)
        glass = np.array(sprites.GLASS) * look['glass']
        for z in np.arange(near + 0.8, span[1] - 1.4, look['bay']):
            if z < span[0] or z > 70:
                continue
            for y in np.arange(1.0, building.height - 1.6, look['floor']):
                fill(z, z + 1.2, y, y + 1.6, glass)

    def _expose(self, rgb: np.ndarray, instances: np.ndarray) -> np.ndarray:
        """Apply the light, surface texture and sensor noise to the finished picture."""
        height, width = instances.shape
        tile = np.tile(self._fine, (height // 256 + 1, width // 256 + 1))[:height, :width]
        grain = np.array([_GRAIN[name] for name in self.names], np.float32)[instances]
        image = rgb * ((1 + tile * grain)[..., None] * self._gain)
        return np.clip(image, 0, 255).astype(np.uint8)


# How rough each surface looks, as the share by which its brightness varies.
_GRAIN = dict.fromkeys((*CLASSES, UNLABELLED), 0.03) | {
    'tree': 0.22, 'building': 0.06, 'sky': 0.01}
