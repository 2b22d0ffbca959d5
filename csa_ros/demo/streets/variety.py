"""Other forms, sizes and colours of what stands in a street; what each is stays the same."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace

from csa_ros.demo import sprites
from csa_ros.demo.scenes import Building
from csa_ros.demo.scenes import Thing
from csa_ros.demo.streets import people
from csa_ros.demo.streets import solids
import numpy as np

_SIDE_VIEWS = (sprites.car_side, sprites.bus_side, sprites.truck_side)
_AUTUMN = ((150, 96, 34), (166, 128, 40), (128, 66, 36))
_ROOFS = ((126, 66, 50), (82, 80, 84), (104, 84, 70), (66, 70, 80))


def _near(random: np.random.Generator, color: Sequence[float], low: float = 0.75,
          high: float = 1.1) -> tuple[float, ...]:
    """Return a colour that still has the same name."""
    varied = np.array(color) * random.uniform(low, high) + random.normal(0, 7, 3)
    return tuple(np.clip(varied, 0, 255))


def vary(random: np.random.Generator, things: Iterable[Thing]) -> Iterator[Thing]:
    """Give things of the same classes in other forms; vehicles along the street get depth."""
    for thing in things:
        change = _CHANGES.get(thing.name)
        yield change(random, thing) if change else thing


def _vehicle(random: np.random.Generator, thing: Thing) -> Thing:
    if thing.draw in _SIDE_VIEWS:
        return thing
    look = thing.look | {'paint': _near(random, sprites.PAINTS[thing.look['color']])}
    if thing.name == 'car':
        bodies, shares = list(solids.BODIES), (0.26, 0.3, 0.14, 0.2, 0.1)
        look['body'] = str(random.choice(bodies, p=shares))
    elif thing.name == 'truck':
        # Some have an open bed.
        low = random.random() < 0.2
        look['height'] = random.uniform(1.6, 2.0) if low else random.uniform(2.9, 3.8)
    else:
        look['band'] = tuple(random.uniform(60, 240, 3))
    return replace(thing, draw=getattr(solids, thing.name), look=look,
                   length=solids.length(thing.name, look))


def _person(random: np.random.Generator, thing: Thing) -> Thing:
    child = random.random() < 0.15
    look = thing.look | {
        'height': random.uniform(0.95, 1.4) if child else random.uniform(1.55, 1.92),
        'cloth': _near(random, sprites.CLOTHES[thing.look['color']]),
        'view': str(random.choice(('front', 'side'))),
        'garment': str(random.choice(people.GARMENTS, p=(0.5, 0.25, 0.15, 0.1))),
        'carries': str(random.choice(people.CARRIED, p=(0.55, 0.2, 0.25))),
        'head': str(random.choice(people.HEADS, p=(0.5, 0.35, 0.15))),
        'bag': tuple(random.uniform(20, 160, 3))}
    return replace(thing, draw=thing.draw if thing.draw is people.rider else people.person,
                   look=look)


def _tree(random: np.random.Generator, thing: Thing) -> Thing:
    look, size = dict(thing.look), random.uniform(0.75, 1.3)
    look |= {'height': look['height'] * size, 'width': look['width'] * size}
    if random.random() < 0.2:
        return replace(thing, draw=sprites.conifer, look=look)
    if random.random() < 0.25:
        look['green'] = _near(random, _AUTUMN[random.integers(len(_AUTUMN))], 0.6, 1.0)
    return replace(thing, look=look)


def vary_buildings(random: np.random.Generator, buildings: Iterable[Building]
                   ) -> Iterator[Building]:
    """Give buildings as `csa_ros.demo.streets.houses` draws them: with roofs, shops and doors."""
    for building in buildings:
        house = random.random() < 0.45
        look = building.look | {
            'roof': _ROOFS[random.integers(len(_ROOFS))] if house else None,
            'shop': bool(not house and random.random() < 0.5),
            'balconies': bool(not house and random.random() < 0.3),
            'door': tuple(random.uniform(30, 150, 3)),
            'awning': tuple(random.uniform(40, 220, 3))}
        yield replace(building, look=look,
                      height=random.uniform(3.5, 8.5) if house else building.height)


_CHANGES = dict.fromkeys(('car', 'bus', 'truck'), _vehicle) | {'person': _person, 'tree': _tree}
