"""
The node's parameters: what each one means, and parameter values to one checked `Config`.

The same `read` serves the start and every later change: a change is judged by the whole
configuration it would lead to, so that it does not matter in which order parameters are set.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
import difflib
from math import isfinite
from typing import Any

from csa_ros.model.attention.methods import ATTENTION
from csa_ros.model.attention.methods import RESIDUAL
from csa_ros.model.backbone import DEFAULT_MODEL
from csa_ros.model.backbone import PRECISIONS
from csa_ros.model.text import PromptError
from csa_ros.model.text import TEMPLATES
from csa_ros.model.text import templates
from csa_ros.segmenter import LONG_SIDE
from csa_ros.settings import INFERENCE
from csa_ros.settings import REFINE
from csa_ros.settings import Settings
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import split_text
from csa_ros.vocabulary import Vocabulary
from csa_ros.vocabulary import VocabularyError
from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

# The segmenter resizes no side of a frame beyond this.
MAX_PIXELS = LONG_SIDE
MAX_RATE = 1000.0
MAX_THREADS = 256
MAX_REUSE_FRAMES = 1000
MAX_CAMERAS = 16
MAX_SLOP = 10.0
TRANSPORTS = ('raw', 'compressed')
POINTS_LAYOUTS = ('dense', 'organized')
# The name of the only camera, whose topics have no name of a camera before them.
ONLY_CAMERA = ''
_KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text'}


class ParameterError(ValueError):
    """A parameter value cannot be used; the message names it, the limit and the next step."""


@dataclass(frozen=True)
class Parameter:
    """
    One parameter of the node.

    The type is the default's. A `float` also takes an integer, as in `ros2 param set ... 50`, and
    `words` are one string or a list of strings. `bounds` are the least and the greatest number,
    `choices` the strings that are accepted. `loaded` parameters go into the loading of the model
    or say what is subscribed to, so that they change only while the node is unconfigured.
    """

    name: str
    default: Any
    description: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    constraints: str = ''
    words: bool = False
    loaded: bool = False
    read_only: bool = False

    @property
    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` and graphical tools show."""
        descriptor = ParameterDescriptor(
            name=self.name,
            description=self.description,
            additional_constraints='; '.join(filter(None, [
                self.constraints or self._choices(),
                'changes only while unconfigured' if self.loaded else ''])),
            read_only=self.read_only,
            # rclpy has no "list or string", refuses an integer for a float, and gives type
            # numbers as the reason: `check` does all that.
            dynamic_typing=True)
        if self.bounds and isinstance(self.default, float):
            low, high = self.bounds
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.bounds:
            low, high = self.bounds
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        return descriptor

    def check(self, value: Any) -> Any:
        """Return the value, a number in the default's type; raise ParameterError."""
        if value is None:
            raise ParameterError(f'{self.name} is empty or unset; give a value')
        if self.words:
            return value
        if value is False and 'off' in self.choices:
            # What YAML, and so `ros2 param set`, makes of a bare `off`.
            return 'off'
        value = self._typed(value)
        if self.bounds and not self.bounds[0] <= value <= self.bounds[1]:
            low, high = self.bounds
            raise ParameterError(f'{self.name} is {value}: it must be from {low} to {high}')
        if self.choices and value not in self.choices:
            raise ParameterError(f'{self.name} is {value!r}: use {self._choices()}')
        return value

    def _typed(self, value: Any) -> Any:
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or (kind is float and not isfinite(value)):
            raise ParameterError(f'{self.name} is {value!r}: it must be {_KINDS[kind]}')
        return value

    def _choices(self) -> str:
        return ' or '.join(self.choices)


PARAMETERS = (
    Parameter(
        'vocabulary', list(DEFAULT_VOCABULARY),
        'The words to segment by: a list of entries, or one string with commas between them.',
        words=True,
        constraints='entries: name, name|synonym|synonym, name=query|query or @preset; up to 255 '
                    'classes'),
    Parameter(
        'model', DEFAULT_MODEL,
        'The CLIP model that sees and reads.',
        loaded=True,
        constraints='demo, PRESET, ARCH/TAG (open_clip), PRESET:/path/to/weights or '
                    'ARCH:/path/to/weights'),
    Parameter(
        'device', 'auto',
        'Where the model runs; auto takes a GPU if there is one.',
        loaded=True,
        constraints='auto, cpu, cuda or cuda:N'),
    Parameter(
        'precision', 'auto',
        'Arithmetic of the model; auto is fp16 on a GPU and fp32 on a CPU, int8 is for a CPU with '
        'ONNX Runtime.',
        loaded=True,
        choices=('auto', *PRECISIONS)),
    Parameter(
        'attention', 'csa',
        'Self-attention of the model; all but vanilla, which is CLIP as trained, are made for '
        'segmenting.',
        loaded=True,
        choices=tuple(ATTENTION)),
    Parameter(
        'residual', 'auto',
        "The last block's residual connection and feed-forward network; auto does as the "
        'attention has it, except that csa drops both in ViT-L and larger.',
        loaded=True,
        choices=RESIDUAL),
    Parameter(
        'threads', 0,
        'Threads that compute on a CPU; 0 takes as many as the process may use.',
        bounds=(0, MAX_THREADS),
        loaded=True),
    Parameter(
        'inference', 'slide',
        'Segment overlapping windows (slide) or the frame in one pass (whole).',
        choices=INFERENCE),
    Parameter(
        'short_side', 0,
        'Pixels that the short side of a frame is resized to; 0 takes the value of the model.',
        bounds=(0, MAX_PIXELS)),
    Parameter(
        'crop', 0,
        'Side of a window in pixels; 0 takes the value of the model.',
        bounds=(0, MAX_PIXELS),
        constraints="a multiple of the model's patch size"),
    Parameter(
        'stride', 0,
        'Pixels from one window to the next; 0 takes the share of crop that suits the model, as a '
        'rule half.',
        bounds=(0, MAX_PIXELS),
        constraints='at most crop'),
    Parameter(
        'prompts', 'imagenet80',
        'Sentences that words are put into before they are encoded: the name of an ensemble, or '
        'a list of templates.',
        words=True,
        constraints=f'{", ".join(TEMPLATES)}, or templates with {{}} where the word goes'),
    Parameter(
        'logit_scale', 40.0,
        'Sharpness of the softmax over the words.',
        bounds=(0.01, 1000.0)),
    Parameter(
        'unknown_threshold', 0.0,
        'Pixels whose class is less probable than this become unknown (255).',
        bounds=(0.0, 1.0)),
    Parameter(
        'min_area', 0.0,
        'A class that fills no more than this share of the foreground loses its pixels.',
        bounds=(0.0, 1.0)),
    Parameter(
        'refine', REFINE[0],
        'Let labels follow the edges of the image, by PAMR.',
        choices=REFINE),
    Parameter(
        'reuse_threshold', 0.0,
        "Reuse a window's result while no patch of it has changed by more than this many grey "
        'levels on average; 0 encodes every window.',
        bounds=(0.0, 255.0)),
    Parameter(
        'reuse_frames', 30,
        'Frames after which a window is encoded again even if it has not changed.',
        bounds=(1, MAX_REUSE_FRAMES)),
    Parameter(
        'overlay_alpha', 0.5,
        'Opacity of the class colours in the overlay.',
        bounds=(0.0, 1.0)),
    Parameter(
        'overlay_legend', True,
        'Draw a colour key into the overlay.'),
    Parameter(
        'mask_classes', '',
        'Classes that are white in the binary image on ~/mask: a list of names, or one string '
        'with commas between them.',
        words=True,
        constraints='names in the vocabulary; empty for no mask'),
    Parameter(
        'points_layout', POINTS_LAYOUTS[0],
        'Points of ~/points: only those with a valid depth (dense), or one for every pixel '
        '(organized).',
        choices=POINTS_LAYOUTS),
    Parameter(
        'depth_slop', 0.05,
        'Most seconds between the stamps of an image and of the depth image for its points.',
        bounds=(0.0, MAX_SLOP)),
    Parameter(
        'cameras', '',
        'Names of the cameras, whose topics are below them: a list, or one string with commas '
        'between them; empty for one camera without a name.',
        words=True,
        loaded=True,
        constraints=f'up to {MAX_CAMERAS} names that are valid in topics'),
    Parameter(
        'transport', TRANSPORTS[0],
        'Subscribe to image (raw) or to image/compressed (compressed).',
        choices=TRANSPORTS,
        loaded=True),
    Parameter(
        'max_rate', 0.0,
        'Most frames per second and camera that are segmented; 0 sets no limit.',
        bounds=(0.0, MAX_RATE)),
    Parameter(
        'lazy', True,
        'Segment no frame of a camera while nobody listens to what comes of it.'),
    Parameter(
        'autostart', True,
        'Configure and activate at the start, without a lifecycle manager.',
        read_only=True),
)
_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}
NAMES = tuple(_BY_NAME)
LOADED = tuple(parameter.name for parameter in PARAMETERS if parameter.loaded)
_OF_MODEL = ('model', 'device', 'precision', 'attention', 'residual', 'threads')


@dataclass(frozen=True)
class ModelConfig:
    """What is loaded at configuration and stays until cleanup, and with how many threads."""

    model: str
    device: str
    precision: str
    attention: str
    residual: str
    threads: int

    @property
    def to_load(self) -> dict[str, Any]:
        """Return what `Segmenter.load` takes of it."""
        return {name: value for name, value in vars(self).items() if name != 'threads'}


@dataclass(frozen=True)
class Config:
    """All parameters, checked; the `cameras` are (ONLY_CAMERA,) where none are named."""

    model: ModelConfig
    vocabulary: Vocabulary
    prompts: tuple[str, ...]
    settings: Settings
    overlay_alpha: float
    overlay_legend: bool
    mask_classes: tuple[str, ...]
    points_layout: str
    depth_slop: float
    cameras: tuple[str, ...]
    transport: str
    max_rate: float
    lazy: bool
    autostart: bool

    @property
    def loaded(self) -> dict[str, Any]:
        """Return by name what stays as it is from configuration to cleanup."""
        return {**vars(self.model), 'cameras': self.cameras, 'transport': self.transport}


def declarations() -> list[tuple[str, Any, ParameterDescriptor]]:
    """Return what `Node.declare_parameters` takes."""
    return [(item.name, item.default, item.descriptor) for item in PARAMETERS]


def read(values: Mapping[str, Any]) -> Config:
    """
    Check the values of all parameters, each alone and all together.

    Raises ParameterError with a reason that a user can act on. What depends on the model is
    checked by the segmenter.
    """
    checked = {name: item.check(values[name]) for name, item in _BY_NAME.items()}
    try:
        vocabulary = Vocabulary.parse(checked['vocabulary'])
        return Config(
            model=ModelConfig(**{name: checked[name] for name in _OF_MODEL}),
            vocabulary=vocabulary,
            prompts=_read_prompts(checked['prompts']),
            settings=_read_settings(checked),
            mask_classes=_read_mask_classes(checked['mask_classes'], vocabulary),
            cameras=_read_cameras(checked['cameras']),
            **{name: checked[name] for name in (
                'overlay_alpha', 'overlay_legend', 'points_layout', 'depth_slop', 'transport',
                'max_rate', 'lazy', 'autostart')})
    except VocabularyError as error:
        raise ParameterError(f'vocabulary: {error}') from error
    except PromptError as error:
        raise ParameterError(f'prompts: {error}') from error
    except ValueError as error:
        raise ParameterError(str(error)) from error


def _read_prompts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, str) and not _are_strings(value):
        shown = value if isinstance(value, (bool, int, float)) else list(value)
        raise PromptError(f'must be {", ".join(TEMPLATES)}, or a list of strings, not {shown}')
    if isinstance(value, str):
        if value.lstrip().startswith('['):
            # A list with a number or a boolean in it arrives as its own source text.
            raise PromptError(f'{value!r} holds something that is no text; quote every template')
        return templates(value)
    return templates(value[0] if len(value) == 1 else tuple(value))


def _read_mask_classes(value: Any, vocabulary: Vocabulary) -> tuple[str, ...]:
    names = _read_names('mask_classes', value)
    for name in names:
        if name not in vocabulary.names:
            close = difflib.get_close_matches(name, vocabulary.names, 1)
            hint = f' (did you mean {close[0]!r}?)' if close else ''
            raise ParameterError(
                f'mask_classes has {name!r}, which is no name in the vocabulary{hint}: a mask '
                "without it would be wrong unnoticed. Set mask_classes to '' or to other names "
                f'first; the vocabulary has {", ".join(vocabulary.names)}')
    return names


def _read_cameras(value: Any) -> tuple[str, ...]:
    names = _read_names('cameras', value)
    if len(names) > MAX_CAMERAS:
        raise ParameterError(f'cameras has {len(names)} names, more than {MAX_CAMERAS}: start '
                             'another node for the rest')
    for name in names:
        try:
            validate_topic_name(f'{name}/image')
        except InvalidTopicNameException as error:
            raise ParameterError(f'cameras: {name!r} is no name for topics: {error}') from error
        if not name[0].isalpha():
            raise ParameterError(f'cameras: {name!r} must begin with a letter, as it is put '
                                 "before 'image' and after '~/'; give a namespace to the node "
                                 'instead')
    return names or (ONLY_CAMERA,)


def _read_names(parameter: str, value: Any) -> tuple[str, ...]:
    """Return the names in a list, or in one string with commas between them."""
    try:
        # A list in which YAML takes some names for booleans arrives as its own source text.
        names = split_text(value) if isinstance(value, str) else value
    except VocabularyError as error:
        raise ParameterError(f'{parameter}: {error}') from error
    # An empty list arrives as one of booleans or bytes.
    if not _are_strings(names):
        shown = value if isinstance(value, (bool, int, float)) else list(value)
        raise ParameterError(f'{parameter} is {shown!r}: it must be a list of names, or one '
                             'string with commas between them; quote what YAML takes for numbers')
    names = tuple(name.strip() for name in names)
    for name in names:
        if not name:
            raise ParameterError(f'{parameter} has an empty name; drop the extra comma')
        if names.count(name) > 1:
            raise ParameterError(f'{parameter} has {name!r} {names.count(name)} times; drop the '
                                 'others')
    return names


def _are_strings(value: Any) -> bool:
    return isinstance(value, Iterable) and all(isinstance(item, str) for item in value)


def _read_settings(checked: Mapping[str, Any]) -> Settings:
    return Settings(
        short_side=checked['short_side'] or None,
        crop=checked['crop'] or None,
        stride=checked['stride'] or None,
        **{name: checked[name] for name in (
            'inference', 'logit_scale', 'unknown_threshold', 'min_area', 'refine',
            'reuse_threshold', 'reuse_frames')})
