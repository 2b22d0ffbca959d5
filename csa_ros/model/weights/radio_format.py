"""
The weights of a C-RADIOv3 out of what a file holds, by the names of `RadioVision`.

There are three forms: NVIDIA's release (`base_model.*`, `_heads.*`), what the Hugging Face hub has
of it (the same under another prefix, and `grandma` for `gamma`), and timm's, whose tower is a
`VisionTransformer`. The last two have no head. See `csa_ros.model.towers.radio`.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
import json
import math
from pathlib import Path
import re
from typing import Any
import warnings

from csa_ros.model.errors import ModelError
from csa_ros.model.towers.radio import RadioSizes
from csa_ros.model.towers.radio import RadioVision
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.catalogue import RadioPreset
from csa_ros.model.weights.checkpoint import misfits
from csa_ros.model.weights.checkpoint import tensors
from open_clip.constants import OPENAI_DATASET_MEAN
from open_clip.constants import OPENAI_DATASET_STD
import torch
from torch import Tensor
from torch.nn import functional as F

# A value for each of red, green and blue.
Channels = tuple[float, float, float]

# The teacher whose words the head speaks to, and its place among the teachers where nothing in the
# file tells their order.
TEACHER, TEACHER_INDEX = 'siglip2', 1
# What begins the names of a tower, after the shortest prefix that leads there.
_EMBEDDER = re.compile(r'(.*?)patch_generator\.embedder\.weight')
_TIMM = re.compile(r'(.*?)patch_embed\.proj\.weight')
_HEAD = re.compile(r'((?:.*?\.)?_heads\.([^.]+)\.)fc1\.weight')
_MEAN = re.compile(r'(.*?)input_conditioner\.norm_mean')
_RENAMED = {'patch_generator.embedder.weight': 'embedder.weight',
            'patch_generator.pos_embed': 'positions',
            'patch_generator.cls_token.token': 'prefix'}
_RENAMED_TIMM = {'pos_embed': 'positions'}
# What a tower may hold beside the rest is none of it: registers of an older form, and what only
# its training wanted.
_TOWER_PARTS = ('patch_generator.', 'blocks.', 'norm.')
# Weights that were saved with their spectral norm apart, as torch's parametrizations name them.
_SPECTRAL = re.compile(r'(.+)\.parametrizations\.weight\.(?:original|0\..+)')
_SPECTRAL_FLOOR, _SPECTRAL_EPS = 0.05, 1e-6
_OPEN = 'the NVIDIA Open Model License, which allows commercial use'
_CLOSED = "a licence of NVIDIA's that allows no commercial use"
# Other releases: what their names hold, what they are called, their licence and their form.
_RELEASES = (
    (r'e-?radio', 'E-RADIO', _CLOSED,
     'a hybrid of convolutions and attention, and no plain vision transformer'),
    (r'c-?radio[-_ ]?v?3', '', '', ''),
    (r'c-?radio[-_ ]?v?4', 'C-RADIOv4', _OPEN, 'with other teachers, other tokens before the '
     'patches, and no head for this SigLIP2'),
    (r'c-?radio', 'C-RADIO before version 3', _OPEN, 'with a head for SigLIP and none for '
     'SigLIP2'),
    (r'radio[-_ ]?v?2\.5', 'RADIOv2.5', _CLOSED,
     'with a head for SigLIP and none for SigLIP2'),
    (r'radio[-_ ]?v?[12]', 'RADIO before version 3', _CLOSED,
     'with no head for SigLIP2'),
)


@dataclass(frozen=True)
class RadioWeights:
    """
    The weights of one C-RADIOv3 with its head: `by_name`, as in the file, on the CPU.

    They are exactly those of a `RadioVision` of `sizes`; `mean` and `std` are of its pixels.
    """

    by_name: dict[str, Tensor]
    sizes: RadioSizes
    mean: Channels
    std: Channels


@dataclass(frozen=True)
class RadioPart:
    """
    What a file holds of a RADIO: a tower, a head or both, None for what is not there.

    Their weights are by the names of `RadioVision`; what belongs to neither is gone. `release`
    says which RADIO it is, if it is known to be another one than those that can be used.
    """

    tower: dict[str, Tensor] | None
    head: dict[str, Tensor] | None
    mean: Channels
    std: Channels
    release: str


def read_part(document: object, path: Path) -> RadioPart:
    """
    Return what a document, read from `path`, holds of a RADIO.

    Raises ModelError for a tower of timm's whose patches have a bias.
    """
    weights = _plain(dict(tensors(document)))
    arguments = _arguments(document)
    mean, std = _preprocessing(weights)
    return RadioPart(_tower(weights, path), _head(weights, arguments), mean, std,
                     _release(weights, arguments, path))


def join(tower: RadioPart, head: RadioPart, name: str, path: Path) -> RadioWeights:
    """
    Return a tower with its head; `name` is that of the preset, `path` where the tower lies.

    Raises ModelError if either is missing, if they are of another preset or another RADIO, and if
    weights are missing, left over, or of another shape.
    """
    preset = RADIO_PRESETS[name]
    if tower.tower is None:
        raise ModelError(f'{path} holds no RADIO tower{_but(tower)}. {_advice(name)}')
    weights = dict(tower.tower)
    _check_preset(weights, tower.release, name, path)
    if head.head is None:
        if tower.release:
            raise ModelError(f'{path} cannot be {name}: it is {tower.release}. {_advice(name)}')
        raise ModelError(f'{path} holds the tower of {name} and not its head for {TEACHER} '
                         f'(_heads.{TEACHER}), without which words cannot be compared: put '
                         f'{preset.file[1]}, which has both, beside it or in its place. '
                         f'{_advice(name)}')
    if not preset.layer_scale:
        weights.update(_unit_scales(preset))
    weights.update(head.head)
    return complete(weights, name, tower.mean, tower.std, path)


def complete(weights: dict[str, Tensor], name: str, mean: Channels, std: Channels, path: Path
             ) -> RadioWeights:
    """
    Return weights by the names of `RadioVision` with their sizes, if none are amiss.

    Raises ModelError if some are missing, left over, or of another shape. Warns if positions are
    fewer than those of the preset `name`.
    """
    preset = RADIO_PRESETS[name]
    sizes = _sizes(weights, preset)
    with torch.device('meta'):
        expected = RadioVision(sizes).state_dict()
    faults = misfits(weights, expected)
    if faults:
        raise ModelError(f'{path} does not fit {name!r}: {faults}. {_advice(name)}')
    if sizes.table < preset.table:
        warnings.warn(f'{path} has positions of {sizes.table} x {sizes.table} patches in place of '
                      f'{preset.table} x {preset.table}, as timm scales them for pictures of one '
                      f'size: labels will differ from those of {preset.file[1]}', stacklevel=2)
    return RadioWeights(weights, sizes, mean, std)


def _arguments(document: object) -> dict[str, Any]:
    """Return with what a tower was trained, if the file says so."""
    arguments = document.get('args') if isinstance(document, Mapping) else None
    if isinstance(arguments, argparse.Namespace):
        return vars(arguments)
    return dict(arguments) if isinstance(arguments, Mapping) else {}


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put weights that were saved with their spectral norm apart together."""
    plain = {name: value for name, value in weights.items() if not _SPECTRAL.fullmatch(name)}
    matches = (_SPECTRAL.fullmatch(name) for name in weights)
    for name in dict.fromkeys(match[1] for match in matches if match):
        prefix = f'{name}.parametrizations.weight.'
        original = weights.get(f'{prefix}original')
        if original is None:
            continue
        # Queries, keys and values have a norm each.
        parts = sorted({match[1] for match in map(
            re.compile(rf'{re.escape(prefix)}(0\.parts\.\d+)\.scale').fullmatch, weights) if match}
        ) or ['0']
        chunks = zip(parts, original.chunk(len(parts)))
        try:
            plain[f'{name}.weight'] = torch.cat([
                _scaled(chunk, *(weights[f'{prefix}{part}.{vector}']
                                 for vector in ('scale', '_u', '_v')))
                for part, chunk in chunks])
        except KeyError:
            # What is missing is named later, by the weight that it would have made.
            continue
    return plain


def _scaled(weight: Tensor, scale: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Return W (softplus(scale) + 0.05) / (u^T W v), in the type of W."""
    full = weight.float()
    norm = u.float() @ full @ v.float() + _SPECTRAL_EPS
    return (full * (F.softplus(scale.float()) + _SPECTRAL_FLOOR) / norm).to(weight.dtype)


def _tower(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor] | None:
    for name in weights:
        if match := _EMBEDDER.fullmatch(name):
            return _released(_below(match[1], weights))
        if (match := _TIMM.fullmatch(name)) and f'{match[1]}reg_token' in weights:
            return _of_timm(_below(match[1], weights), path)
    return None


def _released(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tower = {_RENAMED.get(name, name).replace('.grandma', '.gamma'): value
             for name, value in weights.items() if name.startswith(_TOWER_PARTS)}
    return _without_batch(tower)


def _of_timm(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return timm's tower; its embedding is a convolution that has a bias of zero."""
    tower = {_RENAMED_TIMM.get(name, name): value for name, value in weights.items()
             if name.startswith(('blocks.', 'norm.', *_RENAMED_TIMM))}
    bias = weights.get('patch_embed.proj.bias')
    if bias is not None and bias.any():
        raise ModelError(f'{path} is no RADIO: its patches have a bias (patch_embed.proj.bias), '
                         'and those of RADIO have none')
    tower['embedder.weight'] = weights['patch_embed.proj.weight'].flatten(1)
    if 'cls_token' in weights:
        tower['prefix'] = torch.cat([weights['cls_token'], weights['reg_token']], dim=-2)
    return _without_batch(tower)


def _without_batch(tower: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a tower whose tables, of positions and tokens, are no batches of one."""
    return {name: value[0] if name in ('positions', 'prefix') and value.ndim == 3 else value
            for name, value in tower.items()}


def _head(weights: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Return the head for summaries of the one teacher, by its name or its index."""
    found = {match[2]: match[1] for match in map(_HEAD.fullmatch, weights) if match}
    names = _teachers(arguments)
    index = names.index(TEACHER) if TEACHER in names else TEACHER_INDEX if not names else -1
    # Where heads have names, an index is none of them.
    prefix = found.get(TEACHER) or found.get(str(index))
    if prefix is None:
        return None
    return {f'head.{name}': value for name, value in _below(prefix, weights).items()}


def _teachers(arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of the teachers, first to last; none if the file does not tell."""
    teachers = arguments.get('teachers')
    if not isinstance(teachers, (list, tuple)):
        return []
    return [str(teacher.get('name', '')) for teacher in teachers if isinstance(teacher, Mapping)]


def _preprocessing(weights: Mapping[str, Tensor]) -> tuple[Channels, Channels]:
    for name in weights:
        if match := _MEAN.fullmatch(name):
            std = weights.get(f'{match[1]}input_conditioner.norm_std')
            if std is not None and std.numel() == weights[name].numel() == 3:
                return _channels(weights[name]), _channels(std)
    return OPENAI_DATASET_MEAN, OPENAI_DATASET_STD


def _channels(values: Tensor) -> Channels:
    red, green, blue = values.flatten().tolist()
    return red, green, blue


def _release(weights: Mapping[str, Tensor], arguments: Mapping[str, Any], path: Path) -> str:
    """Describe another RADIO than those that can be used; '' if nothing says that it is one."""
    if any(re.search(r'(?:^|\.)levels\.\d+\.', name) for name in weights):
        return _described(*_RELEASES[0][1:])
    said = [arguments.get('version'), _described_version(path), path.name, path.parent.name]
    for text in filter(None, said):
        for pattern, *release in _RELEASES:
            if re.search(pattern, str(text), re.I):
                return _described(*release) if release[0] else ''
    if 'siglip' in _teachers(arguments):
        return ('a RADIO before version 3, with a head for SigLIP and none for SigLIP2; those '
                f'with a C in their name are under {_OPEN}, those without one under {_CLOSED}')
    return ''


def _described(name: str, licence: str, form: str) -> str:
    return f'{name}, {form}, under {licence}'


def _described_version(path: Path) -> str:
    """Return what the description that the hub keeps beside weights says of their version."""
    try:
        document = json.loads((path.parent / 'config.json').read_text())
    except (OSError, ValueError, RecursionError):
        return ''
    return str(document.get('version', '')) if isinstance(document, dict) else ''


def _check_preset(tower: Mapping[str, Tensor], release: str, name: str, path: Path) -> None:
    """Raise ModelError for a tower that is another preset's, or none's."""
    found, meant = _figures(tower), _meant(RADIO_PRESETS[name])
    if found == meant:
        return
    if release:
        raise ModelError(f'{path} cannot be {name}: it is {release}. {_advice(name)}')
    others = [other for other, preset in RADIO_PRESETS.items() if _meant(preset) == found]
    step = f'write {others[0]}:{path}' if others else _advice(name)
    raise ModelError(f'{path} holds a RADIO with {_words(found)}, and {name} has '
                     f'{_words(meant)}: {step}')


def _figures(tower: Mapping[str, Tensor]) -> tuple[int, int, int, bool]:
    """Return by what towers differ: width, blocks, tokens before patches, and LayerScale."""
    layers = _count('blocks', tower)
    return (len(tower['embedder.weight']), layers, len(tower.get('prefix', ())),
            any('.ls1.' in name for name in tower))


def _meant(preset: RadioPreset) -> tuple[int, int, int, bool]:
    return preset.width, preset.layers, preset.prefix, preset.layer_scale


def _words(figures: tuple[int, int, int, bool]) -> str:
    width, layers, prefix, layer_scale = figures
    return (f'{layers} blocks of width {width} {"with" if layer_scale else "without"} LayerScale '
            f'and {prefix} tokens before the patches')


def _unit_scales(preset: RadioPreset) -> dict[str, Tensor]:
    """Return the LayerScale of a tower that has none: it multiplies by 1."""
    return {f'blocks.{index}.{scale}.gamma': torch.ones(preset.width)
            for index in range(preset.layers) for scale in ('ls1', 'ls2')}


def _sizes(weights: Mapping[str, Tensor], preset: RadioPreset) -> RadioSizes:
    """Read the sizes off the shapes; what is missing has a usual size, and is named later."""
    width, columns = _shape(weights, 'embedder.weight', (preset.width, 3 * 16 ** 2))
    hidden, _ = _shape(weights, 'blocks.0.mlp.fc1.weight', (4 * width, width))
    head_width, _ = _shape(weights, 'head.fc1.weight', (width, width))
    embed_dim, _ = _shape(weights, 'head.final.2.weight', (head_width, head_width))
    positions, _ = _shape(weights, 'positions', (preset.table ** 2, width))
    return RadioSizes(
        width=width, layers=preset.layers, heads=preset.heads, hidden=hidden,
        patch_size=math.isqrt(columns // 3), table=math.isqrt(positions), prefix=preset.prefix,
        head_width=head_width, head_layers=_count('head.blocks', weights), embed_dim=embed_dim)


def _shape(weights: Mapping[str, Tensor], name: str, usual: tuple[int, int]) -> tuple[int, int]:
    value = weights.get(name)
    if value is None or value.ndim != 2:
        return usual
    rows, columns = value.shape
    return rows, columns


def _count(part: str, weights: Mapping[str, Tensor]) -> int:
    """Return how many numbered modules a part has."""
    matches = map(re.compile(rf'{re.escape(part)}\.(\d+)\..+').fullmatch, weights)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items()
            if name.startswith(prefix)}


def _but(part: RadioPart) -> str:
    if part.release:
        return f' that {", ".join(RADIO_PRESETS)} could be: it is {part.release}'
    return ', but a head without one' if part.head is not None else ''


def _advice(name: str) -> str:
    preset = RADIO_PRESETS[name]
    return (f"Take {preset.file[1]} of {preset.file[0]} on the Hugging Face hub, or let 'ros2 run "
            f"csa_ros fetch_model {name}' fetch all that is needed")
