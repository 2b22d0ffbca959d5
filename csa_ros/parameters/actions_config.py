"""
What the parameters of the node that names actions say, checked.

As in `csa_ros.parameters.config`, the same function serves the start and every later change.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csa_ros.model.text import PromptError
from csa_ros.parameters.actions import MAX_ACTIONS
from csa_ros.parameters.actions import NONE
from csa_ros.parameters.actions import PARAMETERS
from csa_ros.parameters.cameras import CameraTopics
from csa_ros.parameters.cameras import read_cameras
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.names import read_names
from csa_ros.parameters.prompts import read_prompts
from csa_ros.parameters.teaching import read_name
from csa_ros.parameters.teaching import read_path


@dataclass(frozen=True)
class ActionModel:
    """What is loaded at configuration and stays until cleanup, and with how many threads."""

    model: str
    device: str
    precision: str
    method: str
    weights: str
    threads: int

    @property
    def to_load(self) -> dict[str, Any]:
        """Return what `csa_ros.actions.recogniser.load_recogniser` takes of it."""
        return {name: value for name, value in vars(self).items() if name != 'threads'}


@dataclass(frozen=True)
class ActionsConfig:
    """All parameters, checked; `window` is in seconds."""

    model: ActionModel
    actions: tuple[str, ...]
    prompts: tuple[str, ...]
    threshold: float
    window: float
    action_name: str
    examples: Path | None
    camera: CameraTopics
    transport: str
    sensor_bits: str
    max_rate: float
    autostart: bool

    @property
    def loaded(self) -> dict[str, Any]:
        """Return by name what stays as it is from configuration to cleanup."""
        model = {f'method_{name}' if name == 'weights' else name: value
                 for name, value in vars(self.model).items()}
        return {**model, 'image_topic': self.camera.image, 'transport': self.transport}


def read_actions_config(values: Mapping[str, Any]) -> ActionsConfig:
    """
    Check the values of all parameters, each alone and all together.

    Raises ParameterError with a reason that a user can act on. What depends on the model is
    checked by the recogniser.
    """
    checked = {item.name: item.check(values[item.name]) for item in PARAMETERS}
    try:
        return ActionsConfig(
            model=ActionModel(
                weights=_read_weights(checked['method_weights']),
                **{name: checked[name] for name in (
                    'model', 'device', 'precision', 'method', 'threads')}),
            actions=_read_actions(checked['actions']),
            prompts=read_prompts(checked['prompts']),
            action_name=read_action(checked['action_name'], 'action_name'),
            examples=read_path(checked),
            camera=read_cameras({'image_topic': checked['image_topic']})[0],
            **{name: checked[name] for name in (
                'threshold', 'window', 'transport', 'sensor_bits', 'max_rate', 'autostart')})
    except PromptError as error:
        raise ParameterError(f'prompts: {error}') from error


def read_action(text: str, what: str) -> str:
    """Return the name of an action, '' for none; `what` holds it in an error, ParameterError."""
    name = read_name(text, what)
    if name.casefold() == NONE:
        raise ParameterError(f'{what}: {NONE!r} is what is said where no action is likely: give '
                             'the action another name')
    return name


def with_actions(value: str | Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the value of the parameter `actions` with more names."""
    return [*read_names('actions', value), *names]


def _read_actions(value: Any) -> tuple[str, ...]:
    names = tuple(read_action(name, 'actions') for name in read_names('actions', value))
    if len(names) > MAX_ACTIONS:
        raise ParameterError(f'actions has {len(names)} names, more than {MAX_ACTIONS}: drop '
                             f'those from {names[MAX_ACTIONS]!r} on')
    folded = [name.casefold() for name in names]
    for name, key in zip(names, folded):
        if folded.count(key) > 1:
            raise ParameterError(f'actions has {name!r} {folded.count(key)} times, in upper and '
                                 'lower case: drop the others')
    return names


def _read_weights(value: str) -> str:
    try:
        return str(Path(value).expanduser()) if value else ''
    except RuntimeError as error:
        raise ParameterError(f'method_weights is {value!r}: {error}') from error
