"""
Streets in which something happens that no single picture tells.

Most of the actions come in pairs of which one is the other backwards: their pictures are the same,
and only their order differs.
"""

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace

from csa_ros.demo import sprites
from csa_ros.demo.scenes import Camera
from csa_ros.demo.scenes import FIRST_THING
from csa_ros.demo.scenes import Job
from csa_ros.demo.scenes import Scene
from csa_ros.demo.scenes import Thing
import numpy as np

# How long an action takes, in seconds.
SECONDS = 2.0
# In pixels, of a picture of a clip, and pictures a second.
SIZE, RATE = (160, 120), 8
# By what tells them apart: actions of which one is the other backwards.
OPPOSITES = {
    'left or right': ('a person who crosses to the left', 'a person who crosses to the right'),
    'red or green': ('a light that turns red', 'a light that turns green'),
    'stops or starts': ('a bus that stops', 'a bus that starts')}
TURNS = ('a car that turns left', 'a car that turns right')
ACTIONS = tuple(action for pair in OPPOSITES.values() for action in pair) + TURNS
# What is yet to be seen of an actor at a share of the action, from 0 to 1: a thing at its place,
# x metres from the middle of the picture and z ahead.
Play = Callable[[float], Thing]


def _crossing(random: np.random.Generator, reach: float) -> Play:
    """Return a person who walks from left to right, across so many metres at 1 m ahead."""
    ahead, phase = random.uniform(3.5, 6), random.uniform(0, 2 * np.pi)
    start, end = -random.uniform(0.35, 0.9), random.uniform(0.35, 0.9)
    look = {'color': str(random.choice(list(sprites.CLOTHES))),
            'skin': tuple(np.array((236, 190, 160)) * random.uniform(0.4, 1.0)),
            'trousers': tuple(random.uniform(20, 110, 3)),
            'hair': tuple(np.array((90, 60, 40)) * random.uniform(0.2, 1.6))}

    def at(share: float) -> Thing:
        swing = float(np.sin(phase + 4 * np.pi * share))
        x = (start + (end - start) * share) * reach * ahead
        return Thing('person', sprites.person, x, ahead, 0.35, look=look | {'swing': swing})

    return at


def _changing(random: np.random.Generator, reach: float) -> Play:
    """Return a traffic light that turns from red to green."""
    ahead = random.uniform(3.5, 5.5)
    x = random.choice((-1, 1)) * random.uniform(0.15, 0.6) * reach * ahead
    change, amber = random.uniform(0.35, 0.65), random.uniform(0.05, 0.15)

    def at(share: float) -> Thing:
        color = 'red' if share < change - amber else 'green' if share > change + amber else 'amber'
        return Thing('traffic light', sprites.traffic_light, x, ahead, 0.2, look={'color': color})

    return at


def _starting(random: np.random.Generator, reach: float) -> Play:
    """Return a bus ahead that drives off; backwards it is one that brakes."""
    near, far = random.uniform(5, 7), random.uniform(12, 16)
    x, begin = random.uniform(-0.3, 0.3) * reach * near, random.uniform(0, 0.25)
    look = {'color': str(random.choice(list(sprites.PAINTS))), 'oncoming': False}

    def at(share: float) -> Thing:
        driven = max(share - begin, 0) / (1 - begin)
        return Thing('bus', sprites.bus_rear, x, near + (far - near) * driven ** 2, 1.1, look=look)

    return at


def _turning(random: np.random.Generator, reach: float) -> Play:
    """Return a car that drives ahead, and turns right."""
    far, near, turned = random.uniform(10, 13), random.uniform(7, 9), random.uniform(0.35, 0.55)
    start, end = random.uniform(-0.2, 0.2), random.uniform(0.8, 1.3)
    look = {'color': str(random.choice(list(sprites.PAINTS))), 'oncoming': False}

    def at(share: float) -> Thing:
        z = far + (near - far) * min(share / turned, 1)
        x = start + (end - start) * max(share - turned, 0) / (1 - turned)
        draw = sprites.car_rear if share < turned else sprites.car_side
        return Thing('car', draw, x * reach * z, z, 1.1, look=look)

    return at


def _backwards(play: Play) -> Play:
    return lambda share: play(1 - share)


def _mirrored(play: Play) -> Play:
    def draw(pen: sprites.Pen, look: sprites.Look) -> None:
        pen.mirror()
        look['draw'](pen, look)

    def at(share: float) -> Thing:
        thing = play(share)
        return replace(thing, x=-thing.x, draw=draw, look=thing.look | {'draw': thing.draw})

    return at


class ActionStreet(Scene):
    """
    The street of a seed, in which one of ACTIONS happens before the camera.

    Nothing else moves but the camera, slowly, and nothing stands in between.
    """

    def __init__(self, seed: int, action: str) -> None:
        """Lay out the street of `seed`, an int of 0 or more; ValueError for another action."""
        super().__init__(seed)
        if action not in ACTIONS:
            raise ValueError(f'there is no action {action!r}: choose from {", ".join(ACTIONS)}')
        # One that is the other backwards, or from the other side, has the same numbers.
        random = np.random.default_rng((seed, ACTIONS.index(action) // 2))
        # Buses brake and drive off ahead of a camera that rolls along.
        self._camera['speed'] = random.uniform(*((3, 6) if 'bus' in action else (0, 1)))
        # How far the picture reaches to the side at 1 m ahead, in metres.
        reach = 0.5 / (0.8 * self._camera['focal'])
        make = (_crossing, _changing, _starting, _turning)[ACTIONS.index(action) // 2]
        play = make(random, reach)
        if action in (pair[0] for pair in OPPOSITES.values()):
            play = _backwards(play)
        elif action == TURNS[0]:
            play = _mirrored(play)
        self._play = play
        self._clear = max(play(share).z for share in np.linspace(0, 1, 9)) + 1
        self._things = [thing for thing in self._things if not thing.speed] + [play(0.0)]
        self._number_instances()

    def clip(self, size: tuple[int, int] = SIZE, rate: float = RATE) -> Iterator[np.ndarray]:
        """Yield the pictures of the action, (H, W, 3) uint8; `size` is (width, height)."""
        count = round(SECONDS * rate)
        for index in range(count):
            yield self.render((index + 0.5) / rate, size).rgb

    def _jobs(self, camera: Camera) -> list[Job]:
        actor = self._play(min(camera['traffic_time'] / SECONDS, 1.0))
        instance = FIRST_THING + len(self._buildings) + len(self._things) - 1
        jobs = [job for job in super()._jobs(camera)
                if job.instance != instance
                and not (isinstance(job.subject, Thing) and job.distance < self._clear)]
        placed = replace(actor, x=actor.x + camera['x'])
        return [*jobs, Job(actor.z, self._draw_thing, placed, instance)]
