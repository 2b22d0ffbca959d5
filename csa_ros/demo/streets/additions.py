"""What stands in a richer street beside what `csa_ros.demo.scenes` puts there."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros.demo import sprites
from csa_ros.demo.scenes import LAP
from csa_ros.demo.scenes import Thing
from csa_ros.demo.scenes import UNLABELLED
from csa_ros.demo.sprites import Draw
from csa_ros.demo.sprites import Look
from csa_ros.demo.streets import furniture
from csa_ros.demo.streets import people
from csa_ros.demo.streets import solids
import numpy as np

# Metres from the front of one vehicle of a queue to the tail of the next.
_GAPS = (1.5, 5.0)
# Rim and inside of traffic signs.
_SIGNS = (((190, 30, 34), (236, 236, 232)), ((30, 70, 160), (210, 218, 230)),
          ((236, 196, 40), (30, 30, 30)), ((38, 40, 44), (240, 240, 236)))
_FENCES = {'railing': (86, 90, 94), 'picket': (206, 200, 190), 'hoarding': (96, 120, 140)}


@dataclass(frozen=True)
class Plan:
    """
    What a street looks like from above, in metres from its middle.

    `kerb` and `edge` are where the pavement begins and ends on both sides, `camera` is where the
    camera drives, and `things` are those that are there already.
    """

    kerb: float
    edge: float
    camera: float
    things: Sequence[Thing]


def _thing(name: str, draw: Draw, x: float, z: float, shadow: float, look: Look,
           speed: float = 0.0, length: float = 0.0) -> Thing:
    return Thing(name, draw, float(x), float(z % LAP), shadow, float(speed), look, length)


def _pick(random: np.random.Generator, choices: Iterable[str],
          shares: Sequence[float] | None = None) -> str:
    return str(random.choice(list(choices), p=shares))


def vehicle(random: np.random.Generator, kind: str, x: float, z: float, oncoming: bool,
            speed: float) -> Thing:
    """Return a car, bus or truck with depth that drives, or stands, along the street."""
    look = {'color': _pick(random, sprites.PAINTS), 'cabin': _pick(random, sprites.PAINTS),
            'body': _pick(random, ('saloon', 'hatchback', 'estate', 'suv'),
                          (0.3, 0.35, 0.15, 0.2)),
            'oncoming': oncoming}
    length = solids.length(kind, look)
    return _thing(kind, getattr(solids, kind), x, z, 1.0, look, speed, length)


def walker(random: np.random.Generator, x: float, z: float, speed: float = 0.0) -> Thing:
    """Return a person, as all are in the plain street."""
    look = {'color': _pick(random, sprites.CLOTHES),
            'skin': tuple(np.array((236, 190, 160)) * random.uniform(0.4, 1.0)),
            'swing': random.uniform(-1, 1), 'trousers': tuple(random.uniform(20, 110, 3)),
            'hair': tuple(np.array((90, 60, 40)) * random.uniform(0.2, 1.6))}
    return _thing('person', sprites.person, x, z, 0.35, look, speed)


def crowds(random: np.random.Generator, plan: Plan) -> Iterator[Thing]:
    """Make queues of vehicles and groups of people, who hide each other, and cyclists."""
    for _ in range(random.integers(1, 3)):
        oncoming = bool(random.random() < 0.5)
        direction = -1 if oncoming else 1
        x, z = direction * plan.kerb * 0.5, random.uniform(0, LAP)
        speed = direction * random.uniform(3, 8)
        for _ in range(random.integers(2, 5)):
            kind = _pick(random, ('car', 'bus', 'truck'), (0.7, 0.15, 0.15))
            added = vehicle(random, kind, x, z, oncoming, speed)
            yield added
            z += added.length + random.uniform(*_GAPS)
    for _ in range(random.integers(2, 5)):
        x = random.choice((-1, 1)) * random.uniform(plan.kerb - 0.5, plan.edge)
        z, speed = random.uniform(0, LAP), random.normal(0, 0.8)
        for _ in range(random.integers(2, 6)):
            yield walker(random, x + random.normal(0, 0.5), z + random.normal(0, 0.6), speed)
    for _ in range(random.integers(1, 4)):
        side = random.choice((-1, 1))
        x, z = side * plan.kerb * random.uniform(0.7, 0.95), random.uniform(0, LAP)
        speed = side * random.uniform(2.5, 5)
        yield _thing('bicycle', people.bicycle_end, x, z, 0.3,
                     {'color': _pick(random, sprites.PAINTS)}, speed)
        person = walker(random, x, z)
        # A hand's breadth nearer: drawn over the bicycle.
        yield _thing('person', people.rider, x, z - 0.1, 0.3, person.look, speed)


def parked(random: np.random.Generator, plan: Plan) -> Iterator[Thing]:
    """Make rows of cars along the kerbs, but for one that the camera drives along."""
    for side in (-1, 1):
        # On a narrow road they stand half on the pavement.
        x = side * (plan.kerb + (-1.0 if plan.kerb > 4.6 else 0.2))
        if abs(x - plan.camera) < 2.2:
            continue
        z = random.uniform(0, 12)
        while z < LAP - 6:
            for _ in range(random.integers(2, 7)):
                car = vehicle(random, 'car', x + random.normal(0, 0.08), z, side < 0, 0.0)
                if z + car.length < LAP and _is_free(plan, car):
                    yield car
                z += car.length + random.uniform(0.5, 1.6)
            z += random.uniform(4, 18)


def _is_free(plan: Plan, car: Thing) -> bool:
    """Tell whether no vehicle stands where one is to be parked."""
    near, far = car.z - 1, car.z + car.length + 1
    return not any(
        thing.name in ('car', 'bus', 'truck') and not thing.speed and near < thing.z < far
        and abs(thing.x - car.x) < thing.shadow + 1 for thing in plan.things)


def poles(random: np.random.Generator, plan: Plan) -> Iterator[Thing]:
    """Make street lights or masts on both sides, traffic signs and rows of bollards."""
    for side in (-1, 1):
        x = side * (plan.kerb + random.uniform(0.25, 0.6))
        draw = furniture.mast if random.random() < 0.3 else furniture.lamp_post
        for z in np.arange(random.uniform(0, 15), LAP, random.uniform(14, 28)):
            yield _thing(UNLABELLED, draw, x, z, 0.15, {
                'height': random.uniform(6, 8.5), 'reach': -side * random.uniform(0.8, 2)})
        for _ in range(random.integers(1, 5)):
            rim, inside = _SIGNS[random.integers(len(_SIGNS))]
            look = {'form': _pick(random, ('disc', 'triangle', 'plate')), 'rim': rim,
                    'inside': inside}
            yield _thing(UNLABELLED, furniture.sign, x + side * random.uniform(-0.1, 0.5),
                         random.uniform(0, LAP), 0.1, look)
        if random.random() < 0.3:
            for z in random.uniform(0, LAP) + np.arange(random.integers(3, 7)) * 1.6:
                yield _thing(UNLABELLED, furniture.bollard, x, z, 0.12, {'paint': (58, 60, 64)})


def fences(random: np.random.Generator, plan: Plan) -> Iterator[Thing]:
    """Make railings at the kerbs, and fences of boards and hoardings behind the pavements."""
    for side in (-1, 1):
        for _ in range(random.integers(0, 3)):
            kind = _pick(random, _FENCES, (0.45, 0.35, 0.2))
            x = plan.kerb + 0.25 if kind == 'railing' else plan.edge + 0.15
            length = random.uniform(6, 16)
            look = {'kind': kind, 'length': length,
                    'paint': tuple(np.array(_FENCES[kind]) * random.uniform(0.5, 1.15))}
            yield _thing(UNLABELLED, furniture.fence, side * x, random.uniform(0, LAP), 0.1, look,
                         length=length)


def clutter(random: np.random.Generator, plan: Plan) -> Iterator[Thing]:
    """Make bins, benches, heaps of boxes and advertising boards on the pavements."""
    makers = (_bin, _bench, _boxes, _billboard)
    for _ in range(random.integers(8, 15)):
        x = random.choice((-1, 1)) * random.uniform(plan.kerb + 0.4, plan.edge - 0.2)
        draw, look = makers[random.choice(len(makers), p=(0.45, 0.2, 0.2, 0.15))](random)
        yield _thing(UNLABELLED, draw, x, random.uniform(0, LAP), 0.4, look)


def _bin(random: np.random.Generator) -> tuple[Draw, Look]:
    return furniture.bin_, {'paint': furniture.BINS[random.integers(len(furniture.BINS))],
                            'width': random.uniform(0.45, 0.75),
                            'height': random.uniform(0.75, 1.1)}


def _bench(random: np.random.Generator) -> tuple[Draw, Look]:
    return furniture.bench, {'paint': tuple(np.array(furniture.WOOD) * random.uniform(0.6, 1.3))}


def _boxes(random: np.random.Generator) -> tuple[Draw, Look]:
    heap = [(random.uniform(-0.6, 0.4), random.uniform(0.3, 0.6), random.uniform(0.25, 0.8),
             furniture.BOXES[random.integers(len(furniture.BOXES))])
            for _ in range(random.integers(1, 5))]
    return furniture.boxes, {'boxes': heap}


def _billboard(random: np.random.Generator) -> tuple[Draw, Look]:
    return furniture.billboard, {'paint': tuple(random.uniform(60, 230, 3)),
                                 'stripe': tuple(random.uniform(60, 240, 3))}
