"""What viewers can ask for; their arguments come from outside and may be anything."""

import asyncio
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from csa_ros.web.brush import outline
from csa_ros.web.brush import read_strokes
from csa_ros.web.checks import ActionError
from csa_ros.web.checks import is_number
from csa_ros.web.watched import TRANSITIONS
from csa_ros.web.watched import WatchedNode

# Whether it was done, and what the node says.
Answer = tuple[bool, str]
# Of a list that a person types.
_MOST_ITEMS = 1000


async def act(request: Mapping[str, Any], watched: WatchedNode) -> Answer:
    """Do what a request asks for; raise ActionError, and NoAnswer if the node does not answer."""
    action = _ACTIONS.get(_text(request, 'action'))
    if action is None:
        raise ActionError(f'action is {request["action"]!r:.60}: use {", ".join(_ACTIONS)}')
    return await action(request, watched)


async def _set(request: Mapping[str, Any], watched: WatchedNode) -> Answer:
    reason = await watched.set_parameters(_values(request, watched))
    return not reason, reason


async def _reconfigure(request: Mapping[str, Any], watched: WatchedNode) -> Answer:
    values = _values(request, watched)
    async with watched.lock:
        reason = await watched.reconfigure(values)
    return not reason, reason


async def _change_state(request: Mapping[str, Any], watched: WatchedNode) -> Answer:
    transition = _text(request, 'transition')
    if transition not in TRANSITIONS:
        raise ActionError(f'transition is {transition!r:.60}: use {", ".join(TRANSITIONS)}')
    done = await watched.change_state(transition)
    return done, '' if done else f'{transition} failed: diagnostics and the log say why'


async def _teach(request: Mapping[str, Any], watched: WatchedNode) -> Answer:
    region = await _region(request)
    shown = {'teach_name': _text(request, 'name'), 'teach_camera': _text(request, 'camera'),
             'teach_region': region or ''}
    async with watched.lock:
        reason = await watched.set_parameters(shown)
        return (False, reason) if reason else await watched.trigger('teach')


async def _forget(request: Mapping[str, Any], watched: WatchedNode) -> Answer:
    async with watched.lock:
        reason = await watched.set_parameters({'teach_name': _text(request, 'name')})
        if reason:
            return False, reason
        return await watched.trigger('forget')


async def _tune(_: Mapping[str, Any], watched: WatchedNode) -> Answer:
    return await watched.trigger('tune')


async def _freeze(request: Mapping[str, Any], watched: WatchedNode) -> Answer:
    frozen = request.get('frozen')
    if not isinstance(frozen, bool):
        raise ActionError(f'frozen is {frozen!r:.60}: give true or false')
    return await watched.freeze(frozen)


_ACTIONS: dict[str, Callable[[Mapping[str, Any], WatchedNode], Awaitable[Answer]]] = {
    'change_state': _change_state, 'forget': _forget, 'freeze': _freeze,
    'reconfigure': _reconfigure, 'set': _set, 'teach': _teach, 'tune': _tune}


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise ActionError(f'{key} is {value!r:.60}: give text')
    return value


async def _region(request: Mapping[str, Any]) -> list[float]:
    """Return the region that a request shows, as teach_region has it; [] for all of the image."""
    if request.get('strokes') is not None:
        strokes, size = read_strokes(request['strokes'], request.get('size'))
        # Many strokes of a large brush take a moment, in which others get their frames.
        return await asyncio.to_thread(outline, strokes, size)
    box = request.get('box')
    if box is None:
        return []
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        raise ActionError(f'box is {box!r:.60}: give four numbers, x, y, width and height')
    return [float(number) for number in box]


def _values(request: Mapping[str, Any], watched: WatchedNode) -> dict[str, Any]:
    """Return the parameters that a request sets, all of which the page shows."""
    values = request.get('values')
    if not isinstance(values, dict) or not values:
        raise ActionError(f'values is {values!r:.60}: give parameters by their names')
    known = {item['name'] for item in watched.sections.get('parameters', [])}
    for name, value in values.items():
        if name not in known:
            raise ActionError(f'{watched.name} has no parameter {name!r:.60}')
        _check_value(name, value)
    return values


def _check_value(name: str, value: Any) -> None:
    """Raise ActionError for what no parameter can be."""
    items = value if isinstance(value, list) else [value]
    alike = all(isinstance(item, str) for item in items) or all(map(is_number, items)) or (
        isinstance(value, bool))
    if not alike or len(items) > _MOST_ITEMS:
        raise ActionError(f'{name} is {value!r:.60}: give text, a number, true or false, or a '
                          f'list of up to {_MOST_ITEMS} texts or numbers')
