"""The parameters of the node that names actions, and what they say."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csa_ros.actions.choices import FRAMES
from csa_ros.actions.choices import METHODS
from csa_ros.actions.choices import PROMPTS
from csa_ros.choices import DEFAULT_MODEL
from csa_ros.model.text import PromptError
from csa_ros.parameters.cameras import CameraTopics
from csa_ros.parameters.cameras import read_cameras
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.names import read_names
from csa_ros.parameters.prompts import read_prompts
from csa_ros.parameters.table import MAX_RATE
from csa_ros.parameters.table import Parameter
from csa_ros.parameters.table import PARAMETERS as OF_SEGMENT
from csa_ros.parameters.teaching import read_name
from csa_ros.parameters.teaching import read_path

MAX_ACTIONS = 100
# In seconds.
LEAST_WINDOW, MAX_WINDOW = 0.2, 60.0
# What is said where no action is likely enough.
NONE = 'none'
_SHARED = {item.name: item for item in OF_SEGMENT}

PARAMETERS = (
    Parameter(
        'actions', '',
        'The actions to tell apart: a list of names, or one string with commas between them; '
        'what is recorded joins them.',
        words=True,
        constraints=f'up to {MAX_ACTIONS} names, which are words for the model as well; empty for '
                    'those in the file of examples alone'),
    Parameter(
        'prompts', list(PROMPTS),
        'Sentences that the names are put into before they are encoded: a list of templates, or '
        'the name of an ensemble.',
        words=True,
        constraints='templates with {} where the name goes, or an ensemble of docs/vocabulary.md'),
    Parameter(
        'threshold', 0.5,
        f'Where no action is as probable as this, what is said is {NONE}.',
        bounds=(0.0, 1.0)),
    Parameter(
        'window', 2.0,
        f'Seconds that an action takes: {FRAMES} frames of so long are looked at.',
        bounds=(LEAST_WINDOW, MAX_WINDOW)),
    Parameter(
        'action_name', '',
        'Action that ~/record has just seen, and whose examples ~/forget forgets; empty for the '
        'last example.',
        constraints='a name for actions, quoted where YAML takes it for another type'),
    Parameter(
        'examples', '',
        'File of what was recorded: read when the node is configured, written at each change; '
        'empty for none.',
        read_only=True,
        constraints=_SHARED['examples'].constraints),
    Parameter(
        'model', DEFAULT_MODEL,
        'The CLIP that sees and reads.',
        loaded=True,
        constraints='demo, demo:/path/to/weights, PRESET, ARCH/TAG (open_clip), '
                    'PRESET:/path/to/weights or ARCH:/path/to/weights'),
    Parameter(
        'method', 'clip-fsar',
        'How a window is compared with examples: frame by frame in their order (clip-fsar), so '
        'by a tower with adapters (ma-clip), or by the mean of its frames (mean).',
        choices=tuple(METHODS),
        loaded=True),
    Parameter(
        'method_weights', '',
        'File that `ros2 run csa_ros train_actions` has written for the method; empty for '
        'clip-fsar without training, and for mean.',
        loaded=True,
        constraints='a path, quoted where YAML takes it for another type'),
    _SHARED['device'],
    Parameter(
        'precision', 'auto',
        'Arithmetic of the model; auto is fp16 on a GPU and fp32 on a CPU.',
        choices=('auto', 'fp32', 'fp16', 'bf16'),
        loaded=True),
    _SHARED['threads'],
    Parameter(
        'image_topic', '',
        'Topic of the images; empty for image.',
        loaded=True,
        constraints='absolute, or relative to the namespace of the node'),
    _SHARED['transport'],
    _SHARED['sensor_bits'],
    Parameter(
        'max_rate', 0.0,
        f'Most answers per second; 0 gives one with each frame that is looked at, of which there '
        f'are {FRAMES} in a window.',
        bounds=(0.0, MAX_RATE)),
    _SHARED['autostart'],
)
NAMES = tuple(parameter.name for parameter in PARAMETERS)


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
