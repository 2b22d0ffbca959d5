"""The node's parameters: what each one means, its default and its limits."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from csa_ros.choices import ATTENTIONS
from csa_ros.choices import AUTO
from csa_ros.choices import DEFAULT_MODEL
from csa_ros.choices import ENSEMBLES
from csa_ros.choices import FIND_THRESHOLD
from csa_ros.choices import LEAST_SPEEDUP
from csa_ros.choices import LONG_SIDE
from csa_ros.choices import MAX_PHRASES
from csa_ros.choices import PRECISIONS
from csa_ros.choices import RESIDUAL
from csa_ros.parameters.cameras import MAX_CAMERAS
from csa_ros.parameters.errors import ParameterError
from csa_ros.sample_range import SENSOR_BITS
from csa_ros.settings import INFERENCE
from csa_ros.settings import REFINE
from csa_ros.vocabulary import DEFAULT_VOCABULARY

# The segmenter resizes no side of a frame beyond this.
MAX_PIXELS = LONG_SIDE
MAX_RATE = 1000.0
MAX_THREADS = 256
MAX_REUSE_FRAMES = 1000
MAX_SLOP = 10.0
# More than any frame has.
MAX_OBJECT_AREA = 2 ** 28
TRANSPORTS = ('raw', 'compressed')
POINTS_LAYOUTS = ('dense', 'organized')
_TOPICS = ('{camera} for the name in cameras, {camera:zed} for zed without names; absolute, or '
           'relative to the namespace of the node')
_KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text'}


def _as_yaml(value: Any) -> str:
    """Return a value as parameter files have it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


@dataclass(frozen=True)
class Parameter:
    """
    One parameter of the node.

    The type is the default's. A `float` also takes an integer, as in `ros2 param set ... 50`, and
    `words` are one string or a list of strings, or of numbers. `bounds` are the least and the
    greatest number, `choices` the strings that are accepted. `loaded` parameters go into the
    loading of the model or say what is subscribed to, so that they change only while the node is
    unconfigured.
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
    def limits(self) -> str:
        """Say what is accepted beside the type and the bounds, and when it can change."""
        return '; '.join(filter(None, [
            self.constraints or self._choices(),
            'changes only while unconfigured' if self.loaded else '']))

    def check(self, value: Any) -> Any:
        """Return the value, a number in the default's type; raise ParameterError."""
        if value is None:
            raise ParameterError(f'{self.name} is empty or unset; give a value')
        if self.words:
            return value
        if value is False and 'off' in self.choices:
            # What YAML, and so `ros2 param set`, makes of a bare `off`.
            return 'off'
        if type(value) is int and str(value) in self.choices:
            # As anybody would write a choice that is a number.
            return str(value)
        if isinstance(self.default, str) and not isinstance(value, str):
            raise ParameterError(f'{self.name} is {_as_yaml(value)}{self._quoting(value)}: use '
                                 f'{self.constraints or self._choices()}')
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

    def _quoting(self, value: Any) -> str:
        """Say what YAML did to a word, where it did."""
        return ', as YAML reads yes, on and y' if value is True else (
            ', as YAML reads no, off and n' if value is False else '')

    def _choices(self) -> str:
        return ' or '.join(self.choices)


PARAMETERS = (
    Parameter(
        'vocabulary', list(DEFAULT_VOCABULARY),
        'The words to segment by: a list of entries, or one string with commas between them.',
        words=True,
        constraints='entries: name, name|synonym|synonym, name=query|query or preset:name; up to '
                    '255 classes'),
    Parameter(
        'model', DEFAULT_MODEL,
        'The model that sees and reads: CLIP, RADIO with SigLIP2, or GroupViT.',
        loaded=True,
        constraints='demo, demo:/path/to/weights, PRESET, ARCH/TAG (open_clip), '
                    'PRESET:/path/to/weights, ARCH:/path/to/weights or /path/to/folder'),
    Parameter(
        'device', 'auto',
        'Where the model runs; auto takes a GPU if there is one.',
        loaded=True,
        constraints='auto, cpu, cuda or cuda:N'),
    Parameter(
        'precision', 'auto',
        'Arithmetic of the model; auto is fp16 on a GPU, and on a CPU bf16 where that is measured '
        f'to be {LEAST_SPEEDUP} times as fast, else fp32; int8 is for a CPU with ONNX Runtime.',
        loaded=True,
        choices=('auto', *PRECISIONS)),
    Parameter(
        'attention', AUTO,
        'Self-attention of the model; all but vanilla, which is the model as trained, are made '
        'for segmenting. auto is csa for CLIPs and radseg for RADIO; GroupViT, which gathers '
        'segments, has no other.',
        loaded=True,
        choices=(AUTO, *ATTENTIONS)),
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
        constraints=f'{", ".join(ENSEMBLES)}, or templates with {{}} where the word goes'),
    Parameter(
        'logit_scale', 0.0,
        'Sharpness of the softmax over the words; 0 takes the value of the model, 40 for CLIPs, '
        '100 for RADIO, and what GroupViT has learned.',
        bounds=(0.0, 1000.0)),
    Parameter(
        'denoise', -1.0,
        'A class that is nowhere in a frame as probable as this loses all its pixels there; 0 '
        'switches that off, -1 takes the value of the attention: 0.5 for radseg with RADIO, else '
        '0.',
        bounds=(-1.0, 1.0)),
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
        'find', '',
        'Phrases to look for, whatever the vocabulary: a list, or one string with commas between '
        'them.',
        words=True,
        constraints=f'up to {MAX_PHRASES} phrases; empty to look for nothing'),
    Parameter(
        'find_threshold', FIND_THRESHOLD,
        'A phrase is found where its relevancy is at least this; at 0.5 nothing else is as '
        'likely.',
        bounds=(0.0, 1.0)),
    Parameter(
        'object_classes', '',
        'Classes whose connected regions are published on ~/objects: a list of names, or one '
        'string with commas between them.',
        words=True,
        constraints='names in the vocabulary; empty for no objects'),
    Parameter(
        'min_object_area', 100,
        'Pixels that a region of object_classes must have.',
        bounds=(1, MAX_OBJECT_AREA)),
    Parameter(
        'examples', '',
        'File of what classes were taught by showing: read when the node is configured, written '
        'at each change; empty for none.',
        read_only=True,
        constraints='a path, quoted where YAML takes it for another type'),
    Parameter(
        'teach_name', '',
        'Class that ~/teach shows something of; it joins the vocabulary if it is not in it.',
        constraints='a name for the vocabulary, quoted where YAML takes it for another type'),
    Parameter(
        'teach_region', '',
        'Where ~/teach sees it, in pixels of the image: x, y, width and height of a box, or x1, '
        'y1, x2, y2, ... of the corners of a polygon; empty for all of the image.',
        words=True,
        constraints='four numbers, six or more of an even number, or empty'),
    Parameter(
        'teach_camera', '',
        'Camera whose image ~/teach shows; empty for the only one.',
        constraints='a name in cameras, quoted where YAML takes it for another type'),
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
        'Names of the cameras, for their topics: a list, or one string with commas between them; '
        'empty for one camera without a name.',
        words=True,
        loaded=True,
        constraints=f'up to {MAX_CAMERAS} names that are valid in topics'),
    Parameter(
        'image_topic', '',
        'Topic of the images, with {camera} where the name of the camera stands, or a list with '
        'one topic for each of several cameras; empty for image, with the name before it.',
        words=True,
        loaded=True,
        constraints=_TOPICS),
    Parameter(
        'depth_topic', '',
        'Topic of the depth images for ~/points, which are registered to the camera, in the same '
        'way; empty for depth, with the name before it.',
        words=True,
        loaded=True,
        constraints=_TOPICS),
    Parameter(
        'camera_info_topic', '',
        "Topic of the cameras' calibration for ~/points, in the same way; empty for camera_info, "
        'with the name before it.',
        words=True,
        loaded=True,
        constraints=_TOPICS),
    Parameter(
        'transport', TRANSPORTS[0],
        'Subscribe to the topic of the images (raw), or to /compressed below it (compressed).',
        choices=TRANSPORTS,
        loaded=True),
    Parameter(
        'sensor_bits', AUTO,
        'Bits that the 16-bit samples of a camera use; auto learns it from its pictures, and '
        'stretches those of thermal cameras as stretch does.',
        choices=SENSOR_BITS),
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
NAMES = tuple(parameter.name for parameter in PARAMETERS)
LOADED = tuple(parameter.name for parameter in PARAMETERS if parameter.loaded)
