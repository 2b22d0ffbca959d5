"""
Streets with what real ones have and `Scene` has not; each disturbance can be left out by name.

What stands in the street and is none of the classes is UNLABELLED, as a labeller who knows only
those would leave it: its pixels count neither for nor against anything.
"""

from collections.abc import Iterable
from dataclasses import replace
import itertools

from csa_ros.demo.scenes import Building
from csa_ros.demo.scenes import Camera
from csa_ros.demo.scenes import FACADES
from csa_ros.demo.scenes import Frame
from csa_ros.demo.scenes import Job
from csa_ros.demo.scenes import LAP
from csa_ros.demo.scenes import NEAR
from csa_ros.demo.scenes import Scene
from csa_ros.demo.scenes import Thing
from csa_ros.demo.scenes import UNLABELLED
from csa_ros.demo.streets import additions
from csa_ros.demo.streets import corruptions
from csa_ros.demo.streets import houses
from csa_ros.demo.streets import turning
from csa_ros.demo.streets import variety
from csa_ros.demo.streets.shadows import GroundLight
from csa_ros.demo.streets.shadows import outlines
from csa_ros.demo.streets.shadows import Sun
from csa_ros.demo.streets.solids import SolidPen
import cv2
import numpy as np

# Those of the street, of the camera and of its pictures, and what each is.
DISTURBANCES = {
    'kinds': 'other cars, buses, trucks, people, trees and houses; vehicles have depth',
    'parked': 'rows of parked cars',
    'crowds': 'queues of vehicles and groups of people, who hide each other; cyclists',
    'poles': 'street lights, masts, traffic signs and bollards',
    'fences': 'railings, fences of boards and hoardings',
    'clutter': 'bins, benches, boxes and advertising boards',
    'shadows': 'shadows, where the sun shines',
    'haze': 'a third to two thirds of the visibility',
    'tilt': 'a camera that is pitched, rolled and turned, and sways',
    'motion blur': 'a camera that moves while its shutter is open',
    'drops': 'drops of water on the lens',
    'exposure': 'too long or too short an exposure, wrong white balance, pale colours',
    'vignette': 'dark corners',
    'noise': 'the noise of the sensor',
    'compression': 'JPEG of quality 22 to 74'}
# Whether the demo and its pictures show such streets.
HARD_DEMO = True
_ADDITIONS = {'crowds': additions.crowds, 'parked': additions.parked, 'poles': additions.poles,
              'fences': additions.fences, 'clutter': additions.clutter}
# Of a solid that begins beside the camera, what lies so many metres ahead is drawn; none is drawn
# in the camera's own lane, of this half width, as near as DISTANCE_KEPT.
_CLIP = 0.8
_LANE, _DISTANCE_KEPT = 1.9, 5.0
# Half the width of the widest thing with depth, and a bit.
_WIDEST = 1.5


def demo_street(seed: int, hard: bool = HARD_DEMO) -> Scene:
    """Return the street of a seed as the demo shows it: with all disturbances, or plain."""
    return HardScene(seed) if hard else Scene(seed)


class HardScene(Scene):
    """
    The street of a seed with the disturbances that are named.

    Each is drawn from the seed by itself: to leave one out does not change the others, and without
    any the street is that of `Scene`.
    """

    def __init__(self, seed: int, disturbances: Iterable[str] = DISTURBANCES) -> None:
        """
        Lay out the street of `seed`, an int of 0 or more.

        Raises ValueError for a disturbance that is not in DISTURBANCES.
        """
        super().__init__(seed)
        self._seed, self._disturbances = seed, frozenset(disturbances)
        unknown = sorted(self._disturbances - set(DISTURBANCES))
        if unknown:
            raise ValueError(f'there is no disturbance {unknown[0]!r}: choose from '
                             f"{', '.join(DISTURBANCES)}")
        plan = additions.Plan(self._half_road, self._pavement, self._camera['x'],
                              tuple(self._things))
        groups = {'plain': self._things} | {
            name: add(self._random(name), plan) for name, add in _ADDITIONS.items()
            if name in self._disturbances}
        if 'kinds' in self._disturbances:
            groups = {name: variety.vary(self._random(f'kinds of {name}'), group)
                      for name, group in groups.items()}
            self._buildings = list(variety.vary_buildings(
                self._random('kinds of buildings'), self._buildings))
        self._things = list(itertools.chain(*groups.values()))
        self._number_instances()
        if 'haze' in self._disturbances:
            self._haze_range *= self._random('haze').uniform(0.33, 0.67)
        # Where the sun shines.
        self._ground_light: GroundLight | None = None
        if 'shadows' in self._disturbances and self.weather in ('sunny', 'evening'):
            self._ground_light = GroundLight(self._place_sun(self._random('shadows')), LAP)
            self._shade_by_buildings(self._ground_light)
            self._shade_by_things(self._ground_light, 0.0, moving=False)

    def _random(self, name: str) -> np.random.Generator:
        """Return the generator of a disturbance, always in the same state."""
        return np.random.default_rng((self._seed, *name.encode()))

    def render(self, time: float, size: tuple[int, int] = (320, 240),
               traffic_time: float | None = None) -> Frame:
        """Render the street as `Scene.render` does, with its disturbances."""
        frame = super().render(time, size, traffic_time)
        rgb = frame.rgb
        for name, corrupt, arguments in (
                ('motion blur', corruptions.motion_blur, (time, frame.center)),
                ('drops', corruptions.drops, ()),
                ('exposure', corruptions.exposure, ()),
                ('vignette', corruptions.vignette, ()),
                ('noise', corruptions.noise, (time,)),
                ('compression', corruptions.compression, ())):
            if name in self._disturbances:
                rgb = corrupt(rgb, self._random(name), *arguments)
        return replace(frame, rgb=rgb)

    def _place_sun(self, random: np.random.Generator) -> Sun:
        low, high, shade = (0.14, 0.35, 0.72) if self.weather == 'evening' else (0.5, 1.1, 0.52)
        return Sun.at(random.uniform(0, 2 * np.pi), random.uniform(low, high),
                      shade * random.uniform(0.85, 1.15))

    def _shade_by_buildings(self, light: GroundLight) -> None:
        for building in self._buildings:
            x = building.side * np.array((building.setback, building.setback + houses.DEPTH))
            corners = np.array([(i, j) for i in x for j in (building.near, building.far)])
            light.cast(corners, 0, building.height)

    def _shade_by_things(self, light: GroundLight, time: float, moving: bool) -> None:
        for thing in self._things:
            if bool(thing.speed) == moving:
                place = thing.x, thing.z + thing.speed * time
                for corners, low, high in outlines(thing):
                    light.cast(corners + place, low, high)

    def _camera_at(self, time: float, traffic_time: float, width: int, height: int) -> Camera:
        camera = super()._camera_at(time, traffic_time, width, height)
        if 'tilt' in self._disturbances:
            # What is lost at the rims by turning.
            camera['focal'] *= 0.87
        if self._ground_light:
            camera['light'] = self._ground_light.copy()
            self._shade_by_things(camera['light'], traffic_time, moving=True)
            camera['light'].soften()
        return camera

    def _color_ground(self, kind: np.ndarray, x: np.ndarray, z: np.ndarray, side: np.ndarray,
                      camera: Camera) -> np.ndarray:
        ground = super()._color_ground(kind, x, z, side, camera)
        if self._ground_light:
            shade = self._ground_light.sun.shade
            ground *= shade + (1 - shade) * camera['light'].sample(x, z)[..., None]
        return ground

    def _light_at(self, camera: Camera, x: float, distance: float) -> float:
        """Return the share of the light that a thing on the ground gets, 1 without sun."""
        if not self._ground_light:
            return 1.0
        share = camera['light'].at(x, distance + camera['z'])
        sun = self._ground_light.sun
        shade, facing = float(sun.shade[1]), 1.04 if sun.lights(0, -1) else 0.84
        return shade + (facing - shade) * share

    def _jobs(self, camera: Camera) -> list[Job]:
        return [job for job in super()._jobs(camera) if not self._is_hit(job, camera)]

    def _is_hit(self, job: Job, camera: Camera) -> bool:
        """Tell whether the camera, which drives through everything, is too near to a vehicle."""
        return (isinstance(job.subject, Thing) and job.subject.length > 0
                and job.subject.name != UNLABELLED and job.distance < _DISTANCE_KEPT
                and abs(self._across(job.subject, camera)) < _LANE)

    def _far_to_near(self, jobs: list[Job], camera: Camera) -> list[Job]:
        """
        Return jobs in the order of drawing.

        A thing with depth hides what is beside it on the outer side of the camera's way, and is
        hidden by what is beside it on the inner side, wherever its own near end is. Where nothing
        has depth, the order is that of `Scene`.
        """
        if not any(thing.length for thing in self._things):
            return super()._far_to_near(jobs, camera)
        order: dict[int, float] = {}
        solids: list[tuple[float, float, float, float]] = []
        across = [self._across(job.subject, camera) for job in jobs]
        for index in sorted(range(len(jobs)), key=lambda index: -abs(across[index])):
            near, subject = jobs[index].distance, jobs[index].subject
            if isinstance(subject, Building):
                # In plain streets they hide what stands before their far part.
                depth = subject.far - subject.near if 'kinds' in self._disturbances else 0
                order[index] = near + depth
                continue
            hidden = [place - 1e-3 for start, end, outer, place in solids
                      if start < near < end and outer * across[index] > 0]
            order[index] = min([near, *hidden])
            if subject.length:
                solids.append((near, near + subject.length, across[index], order[index]))
        return [jobs[index] for index in sorted(
            range(len(jobs)), key=lambda index: (-order[index], -jobs[index].distance))]

    @staticmethod
    def _across(subject: Building | Thing, camera: Camera) -> float:
        """Return how far something is to the right of the camera's way, in metres."""
        x = subject.side * subject.setback if isinstance(subject, Building) else subject.x
        return x - camera['x']

    def _solid_pen(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera, x: float,
                   distance: float, instance: int, light: float) -> SolidPen:
        """Return a pen for what begins at `distance`, beside the middle of the road by x."""
        width = rgb.shape[1]

        def project(points: np.ndarray) -> np.ndarray:
            ahead = np.maximum(points[:, 2] + distance, _CLIP)
            scale = camera['focal'] / ahead
            pixels = np.empty((len(points), 2))
            pixels[:, 0] = width / 2 + (x + points[:, 0] + self._center(ahead, camera)) * scale
            pixels[:, 1] = camera['horizon'] + (camera['height'] - points[:, 1]) * scale
            return pixels

        haze = 1 - np.exp(-max(distance, NEAR) / self._haze_range)
        return SolidPen(rgb, instances, project, instance, (self._sky[1], haze),
                        x + self._center(max(distance, NEAR), camera), camera['height'], light)

    def _draw_thing(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera, thing: Thing,
                    distance: float, instance: int) -> None:
        if not thing.length:
            super()._draw_thing(rgb, instances, camera, thing, distance, instance)
            return
        light = self._light_at(camera, thing.x, distance + thing.length / 2)
        pen = self._solid_pen(rgb, instances, camera, thing.x, distance, instance, light)
        if pen.shows(_WIDEST, thing.length):
            thing.draw(pen, thing.look)

    def _draw_building(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera,
                       building: Building, near: float, instance: int) -> None:
        lit = self._light_on_walls(building.side)
        if 'kinds' not in self._disturbances:
            look = building.look | {'shade': building.look['shade'] * lit[0]}
            super()._draw_building(rgb, instances, camera, replace(building, look=look), near,
                                   instance)
            return
        pen = self._solid_pen(rgb, instances, camera, building.side * building.setback, near,
                              instance, 1.0)
        color = np.array(FACADES[building.look['color']]) * building.look['shade']
        houses.house(pen, building, color, lit, near)

    def _light_on_walls(self, side: int) -> tuple[float, float]:
        """Return the light on walls along the street, and on those that face the camera."""
        if not self._ground_light:
            return 1.0, 0.8
        sun = self._ground_light.sun
        shade = float(sun.shade[1]) * 1.15
        return (1.08 if sun.lights(-side, 0) else shade), (1.08 if sun.lights(0, -1) else shade)

    def _turn(self, rgb: np.ndarray, instances: np.ndarray, camera: Camera
              ) -> tuple[np.ndarray, np.ndarray, float, tuple[float, float]]:
        if 'tilt' not in self._disturbances:
            return super()._turn(rgb, instances, camera)
        size = rgb.shape[1::-1]
        _, _, focal, center = super()._turn(rgb, instances, camera)
        random = self._random('tilt')
        degrees = np.clip(random.normal(0, (2.2, 2.5, 2.0)), -5, 5)
        sway, phase = random.uniform(0, (0.35, 0.3, 0.5)), random.uniform(0, 2 * np.pi, 3)
        # As much for every moment of the drive: the farthest that it sways, and a bit.
        level = size[0] / 2, size[1] * self._camera['horizon']
        enlarged = focal * (0.02 + max(
            turning.enlargement(turning.rotation(degrees + sway * signs), focal, level, size)
            for signs in itertools.product((-1, 1), repeat=3)))
        degrees = degrees + sway * np.sin(np.array((5.3, 3.1, 4.3)) * camera['time'] + phase)
        matrix = turning.homography(turning.rotation(degrees), focal, enlarged, center)
        return (cv2.warpPerspective(rgb, matrix, size, borderMode=cv2.BORDER_REPLICATE),
                cv2.warpPerspective(instances, matrix, size, flags=cv2.INTER_NEAREST,
                                    borderMode=cv2.BORDER_REPLICATE),
                enlarged, center)
