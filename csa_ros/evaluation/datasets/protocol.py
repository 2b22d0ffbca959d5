"""
The published protocol, for towers other than the one it was published with.

The settings of a benchmark are those for ViT-B/16, whose native pictures are of 224 x 224 pixels.
They hold for every tower of that size: published results for L/14 and H/14 use the same pixels.
For a tower of another native size, all lengths are multiplied by its share of 224: the windows
show the same parts of a picture and are as many, and the tower sees them at the size that it was
trained on (ViT-L/14@336: short side 504, crop 336, stride 168 in place of 336, 224 and 112).

RADIO has settings of its own, RADSeg's, whatever its attention; and CLIPs keep theirs with
RADSeg's attention, of which nothing is published for them. GroupViT has its own, too, and no words
for the background: what is below its threshold is that.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from dataclasses import replace
from typing import Any

from csa_ros.choices import DEFAULT_MODEL
from csa_ros.choices import LOW
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.evaluation.datasets.published_groupvit import GROUPING
from csa_ros.evaluation.datasets.published_groupvit import GROUPVIT_PROMPTS
from csa_ros.evaluation.datasets.published_radio import RADSEG as RADSEG_MODELS
from csa_ros.model.attention.methods import named
from csa_ros.model.backbone import Backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.weights.source import parse_model
from csa_ros.settings import Settings
from csa_ros.teaching.file import Kept

PUBLISHED_NATIVE = 224
PUBLISHED_PROMPTS = 'imagenet80'
PUBLISHED_REFINE = 'pamr-output'
# The attention, and what it is published with first of all.
RADSEG = 'radseg'
RADSEG_MODEL = 'c-radio-v3-b'
_LENGTHS = ('short_side', 'crop', 'stride')


@dataclass(frozen=True)
class Method:
    """
    How pictures are segmented, apart from the model.

    `attention` is a key of `csa_ros.model.attention.methods.ATTENTION`, `residual` as for `choose`
    there, and `prompts` as for `csa_ros.model.text.templates`. `resolution` is which of RADSeg's
    settings RADIO has. `overrides` are the settings that replace those of the benchmark, by name.
    `kept` is a file of examples of classes.
    """

    attention: str = 'csa'
    residual: str = 'auto'
    prompts: str = PUBLISHED_PROMPTS
    overrides: Mapping[str, Any] = field(default_factory=dict)
    resolution: str = LOW
    kept: Kept | None = None


@dataclass(frozen=True)
class Asked:
    """
    A method as it is asked for, before the model is loaded.

    As `Method`, but that `attention` may be `auto`, the tower's own, and `prompts` None, those
    that figures for the tower are published with.
    """

    attention: str
    residual: str
    prompts: str | None
    overrides: Mapping[str, Any]
    resolution: str
    kept: Kept | None

    def method(self, backbone: Backbone) -> Method:
        """Return the method for a model; ModelError for an attention that it cannot have."""
        # By its own name, so that results are found again whether it was asked for by that or not.
        attention = named(self.attention, backbone.tower)
        prompts = prompts_for(backbone) if self.prompts is None else self.prompts
        return Method(attention, self.residual, prompts, self.overrides, self.resolution,
                      self.kept)


def settings_for(benchmark: Benchmark, backbone: Backbone, method: Method) -> Settings:
    """
    Return the settings of a benchmark for a tower and a method.

    Raises ValueError for a value out of range, and a resolution that is not published.
    """
    if backbone.tower.attention == GROUPING:
        if method.resolution != LOW:
            raise ValueError(_no_resolution(method, backbone))
        return replace(benchmark.protocol_of_groupvit(), **method.overrides)
    if backbone.tower.attention == RADSEG:
        settings = benchmark.protocol_of_radio(method.resolution)
        if method.attention != RADSEG:
            # To strike out classes is part of that method.
            settings = replace(settings, denoise=0.0)
    elif method.resolution != LOW:
        raise ValueError(_no_resolution(method, backbone))
    else:
        settings = benchmark.protocol(method.attention)
    return replace(_scaled(settings, backbone), **method.overrides)


def prompts_for(backbone: Backbone) -> str:
    """Return the prompts that figures for a tower are published with."""
    return GROUPVIT_PROMPTS if backbone.tower.attention == GROUPING else PUBLISHED_PROMPTS


def published_key(attention: str, settings: Settings) -> str:
    """Return under which name the figure for a method is published."""
    return attention if settings.refine == 'off' else f'{attention}+pamr'


def deviations(benchmark: Benchmark, backbone: Backbone, method: Method) -> Sequence[str]:
    """Return in what a method differs from the one that the published figures were made with."""
    found = []
    if method.attention == RADSEG:
        if backbone.name.partition(':')[0] not in RADSEG_MODELS:
            found.append(f'model {backbone.name}, published with {RADSEG_MODEL}')
    elif method.attention != GROUPING and not _same_model(backbone.name, DEFAULT_MODEL):
        found.append(f'model {backbone.name}, published with {DEFAULT_MODEL}')
    if method.residual != 'auto':
        found.append(f'residual {method.residual}, published with auto')
    if method.prompts != prompts_for(backbone):
        found.append(f'prompts {method.prompts}, published with {prompts_for(backbone)}')
    if method.kept:
        found.append('with examples, published without')
    ours = settings_for(benchmark, backbone, method)
    if method.attention == GROUPING:
        theirs = benchmark.protocol_of_groupvit()
    else:
        theirs = _scaled(benchmark.protocol_of_radio(method.resolution)
                         if method.attention == RADSEG else benchmark.protocol(method.attention),
                         backbone)
    if ours.refine != 'off':
        theirs = replace(theirs, refine=PUBLISHED_REFINE)
    for item in fields(Settings):
        one, other = getattr(ours, item.name), getattr(theirs, item.name)
        if one != other:
            found.append(f'{item.name} {one}, published with {other}')
    return found


def _no_resolution(method: Method, backbone: Backbone) -> str:
    return (f'resolution is {method.resolution!r}: it is for RADIO, and {backbone.name} is none; '
            'choose short_side, crop and stride instead')


def _scaled(settings: Settings, backbone: Backbone) -> Settings:
    """Return settings whose lengths are those for the native size of a tower."""
    scale = backbone.image_size / PUBLISHED_NATIVE
    lengths = {name: getattr(settings, name) for name in _LENGTHS}
    return replace(settings, **{name: round(pixels * scale)
                                for name, pixels in lengths.items() if pixels is not None})


def _same_model(name: str, other: str) -> bool:
    """Return whether two names, one of them a preset perhaps, are of the same weights."""
    try:
        one, two = parse_model(name), parse_model(other)
    except ModelError:
        return False
    return one.pretrained is not None and (
        (one.config, one.pretrained) == (two.config, two.pretrained))
