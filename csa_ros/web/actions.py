"""What viewers can ask for; their arguments come from outside and may be anything."""

import base64
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Mapping
import math
from typing import Any

from csa_ros.web.stream import Stream
from csa_ros.web.watched import TRANSITIONS
from csa_ros.web.watched import WatchedNode

# Whether it was done, what the node says, and what else the page should know.
Answer = tuple[bool, str, dict[str, Any]]
# What fits into the integers and the lists of a parameter that a person types.
_LARGEST, _MOST_ITEMS = 2**63 - 1, 1000


class ActionError(ValueError):
    """A request makes no sense; the message says what is wrong with it."""


async def act(request: Mapping[str, Any], watched: WatchedNode, stream: Stream | None) -> Answer:
    """
    Do what a request asks for; `stream` is what its viewer looks at.

    Raises ActionError, and NoAnswer if the node does not answer.
    """
    action = _ACTIONS.get(_text(request, 'action'))
    if action is None:
        raise ActionError(f'action is {request["action"]!r:.60}: use {", ".join(_ACTIONS)}')
    return await action(request, watched, stream)


async def _set(request: Mapping[str, Any], watched: WatchedNode, _: Stream | None) -> Answer:
    reason = await watched.set_parameters(_values(request, watched))
    return not reason, reason, {}


async def _reconfigure(request: Mapping[str, Any], watched: WatchedNode, _: Stream | None
                       ) -> Answer:
    values = _values(request, watched)
    async with watched.lock:
        reason = await watched.reconfigure(values)
    return not reason, reason, {}


async def _change_state(request: Mapping[str, Any], watched: WatchedNode, _: Stream | None
                        ) -> Answer:
    transition = _text(request, 'transition')
    if transition not in TRANSITIONS:
        raise ActionError(f'transition is {transition!r:.60}: use {", ".join(TRANSITIONS)}')
    done = await watched.change_state(transition)
    return done, '' if done else f'{transition} failed: diagnostics and the log say why', {}


async def _teach(request: Mapping[str, Any], watched: WatchedNode, stream: Stream | None
                 ) -> Answer:
    box = request.get('box')
    if box is not None and not (isinstance(box, list) and len(box) == 4
                                and all(map(_is_number, box))):
        raise ActionError(f'box is {box!r:.60}: give four numbers, x, y, width and height')
    shown = {'teach_name': _text(request, 'name'), 'teach_camera': _text(request, 'camera'),
             'teach_region': [float(number) for number in box] if box else ''}
    async with watched.lock:
        reason = await watched.set_parameters(shown)
        if reason:
            return False, reason, {}
        # Before the node lets the image go.
        picture = await stream.thumbnail(box) if stream else b''
        done, message = await watched.trigger('teach')
    return done, message, {'thumbnail': base64.b64encode(picture).decode()} if done else {}


async def _forget(request: Mapping[str, Any], watched: WatchedNode, _: Stream | None) -> Answer:
    async with watched.lock:
        reason = await watched.set_parameters({'teach_name': _text(request, 'name')})
        if reason:
            return False, reason, {}
        return (*await watched.trigger('forget'), {})


async def _tune(_: Mapping[str, Any], watched: WatchedNode, __: Stream | None) -> Answer:
    return (*await watched.trigger('tune'), {})


async def _freeze(request: Mapping[str, Any], watched: WatchedNode, _: Stream | None) -> Answer:
    frozen = request.get('frozen')
    if not isinstance(frozen, bool):
        raise ActionError(f'frozen is {frozen!r:.60}: give true or false')
    return (*await watched.freeze(frozen), {})


_ACTIONS: dict[str, Callable[[Mapping[str, Any], WatchedNode, Stream | None],
                             Awaitable[Answer]]] = {
    'change_state': _change_state, 'forget': _forget, 'freeze': _freeze,
    'reconfigure': _reconfigure, 'set': _set, 'teach': _teach, 'tune': _tune}


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise ActionError(f'{key} is {value!r:.60}: give text')
    return value


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
    alike = all(isinstance(item, str) for item in items) or all(map(_is_number, items)) or (
        isinstance(value, bool))
    if not alike or len(items) > _MOST_ITEMS:
        raise ActionError(f'{name} is {value!r:.60}: give text, a number, true or false, or a '
                          f'list of up to {_MOST_ITEMS} texts or numbers')


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and (
        math.isfinite(value) and abs(value) <= _LARGEST)
