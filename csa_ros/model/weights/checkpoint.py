"""
The weights of a CLIP out of what a file holds, and into a model, if they fit exactly.

Where they are is found by looking for the weights that every CLIP has, at any depth and under any
prefix: training scripts call what they save by any name.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import re
from typing import Any
import warnings

from csa_ros.model.errors import ModelError
from csa_ros.model.towers.architecture import expected_weights
from csa_ros.model.towers.architecture import fits
from csa_ros.model.towers.architecture import fitting
from csa_ros.model.towers.architecture import shape
from csa_ros.model.towers.architecture import text_at_top
from csa_ros.model.towers.architecture import TEXT_PARTS
from csa_ros.model.towers.architecture import UNUSED_WEIGHTS
from csa_ros.model.weights import files
from csa_ros.model.weights import transformers_format
from csa_ros.model.weights.catalogue import GROUPVIT
from csa_ros.model.weights.catalogue import presets_of
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.model import CustomTextCLIP
import torch
from torch import Tensor

# Of several CLIPs in a file the one under the first of these is meant, then one at the top.
USUAL_PLACES = ('state_dict', 'model', 'model_state', 'module', 'class_model')
# And before any that is an average over others, or what they were taught by.
_DERIVED = {'average', 'averaged', 'avg', 'ema', 'momentum', 'shadow', 'swa', 'target', 'teacher'}
# Modules of torch's that hold another one: their names come in between within towers, too.
_WRAPPING = r'\.(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)'
_WITHIN = re.compile(r'(?:^|\.)(?:visual|vision_model|text|text_model|transformer)(?=\.)')
# What image and text towers have, after the shortest prefix that leads there.
_IMAGE = re.compile(
    r'((?:[^.]+\.)*?)(?:visual\.(?:conv1\.weight|trunk\..+)|'
    rf'{re.escape(transformers_format.IMAGE_WEIGHT)})')
_TEXT = re.compile(
    r'((?:[^.]+\.)*?)(?:(?:text\.)?token_embedding\.weight|'
    rf'{re.escape(transformers_format.TEXT_WEIGHT)})')
_IMAGE_PARTS = ('visual.', 'vision_model.', 'visual_projection.')
_ALL_TEXT_PARTS = (*TEXT_PARTS, 'text.', 'text_model.')
# What a GroupViT has, which is loaded in another way: in NVIDIA's release, and in transformers.
GROUPVIT_WEIGHTS = ('img_encoder.pos_embed', 'vision_model.embeddings.position_embeddings')
# Parts that were trained with a CLIP and are none of it: DIVA's diffusion model and projections,
# and classifiers.
FOREIGN_WEIGHTS = ('multi_classifier.', 'unet.', 'vae.', 'visual_proj.', 'visual.proj2')


@dataclass(frozen=True)
class Weights:
    """
    The weights of one CLIP: `by_name`, by open_clip's names, on the CPU.

    Parts of other models are gone, and so are parameters that change no feature; values that are
    no tensors are left for `load_weights`. `place` is where they were in the file, '' at its top.
    `from_transformers` tells that they were in the form of transformers, which says nothing about
    the activation.
    """

    by_name: dict[str, object]
    place: str
    from_transformers: bool


def read_weights(path: Path, config: Mapping | None = None) -> Weights:
    """
    Return the CLIP that a file holds, or files that belong together.

    Of several, it is one that fits open_clip's model `config`, if that is given: where more than
    one does, one at a usual place and no average of others, with a warning. Raises ModelError for
    a file that cannot be read, that holds no CLIP, or several of which none is to be preferred;
    and for an archive as OpenAI published its models unless the config has QuickGELU, the
    activation that they were trained with.
    """
    content = files.read(path)
    if content.archive and config is not None and not config.get('quick_gelu'):
        raise ModelError(f'{path} is an archive as published by OpenAI, whose models use '
                         f'QuickGELU: write the architecture as ARCH-quickgelu:{path}')
    if not isinstance(content.document, (Mapping, list, tuple)) or not content.document:
        raise ModelError(
            f'{path} holds {type(content.document).__name__}, not weights by name')
    clips = [_clip(place, names) for place, names in _clips(content.document, path)]
    if len(clips) > 1 and config is not None:
        clips = [clip for clip in clips if fits(clip.by_name, config)] or clips
    return clips[0] if len(clips) == 1 else _preferred(clips, path)


def load_weights(clip: torch.nn.Module, weights: Mapping[str, object], what: str) -> None:
    """
    Copy weights into a model, in the model's types; nothing may be missing or left over.

    Values that are no tensors are left over without harm. Raises ModelError, beginning with
    `what`, that tells what is missing, unexpected or of another shape, and which architectures
    and presets would fit.
    """
    found = weights
    if isinstance(clip, CustomTextCLIP):
        # Older files have the text tower at the top, as models with CLIP's own text tower do.
        weights = convert_to_custom_text_state_dict(dict(weights))
    else:
        weights = text_at_top(weights)
    expected = expected_weights(clip)
    faults = misfits(weights, expected)
    if faults:
        raise ModelError(f'{what}: {faults}. {advice(found)}')
    clip.load_state_dict({name: weights[name] for name in expected}, strict=False)


def misfits(weights: Mapping[str, object], expected: Mapping[str, Tensor]) -> str:
    """Say what is missing, unexpected or of another shape in weights; '' if they fit."""
    problems = {
        'missing': sorted(expected.keys() - weights.keys()),
        'unexpected': sorted(name for name in weights.keys() - expected.keys()
                             if isinstance(weights[name], Tensor)),
        'of another shape': sorted(
            f'{name} {_text(weights[name])} for {_text(expected[name])}'
            for name in expected.keys() & weights.keys()
            if shape(weights[name]) != shape(expected[name])),
    }
    return '; '.join(f'{len(names)} {kind} ({_first(names)})'
                     for kind, names in problems.items() if names)


def tensors(document: object, place: str = '') -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that a document holds at any depth, and their places joined by dots."""
    if isinstance(document, Mapping):
        for name, value in document.items():
            if isinstance(value, Tensor):
                yield f'{place}{name}', value
            elif isinstance(value, Mapping):
                yield from tensors(value, f'{place}{name}.')


def advice(weights: Mapping[str, object]) -> str:
    """Say which architectures and presets weights would fit."""
    architectures = fitting(weights)
    if not architectures:
        return f'No architecture of open_clip that can be used would fit{_size(weights)}'
    presets = presets_of(architectures)
    named = f', or a preset of that shape ({_first(presets, 6)})' if presets else ''
    return (f'They would fit {" or ".join(architectures)}{named}: write the one that they were '
            'trained with before the path. Weights cannot tell whether it was with QuickGELU')


def _clip(place: str, weights: Mapping[str, object]) -> Weights:
    from_transformers = transformers_format.IMAGE_WEIGHT in weights
    if from_transformers:
        weights = transformers_format.to_open_clip(weights)
    return Weights({name: value for name, value in weights.items() if not _is_unused(name)},
                   place, from_transformers)


def _clips(document: object, path: Path) -> list[tuple[str, dict[str, object]]]:
    """Return the weights of each CLIP that a document holds, and its place there."""
    containers = list(_containers(document))
    found: list[tuple[str, dict[str, object]]] = []
    for place, names in containers:
        for prefix, weights in _towers(names):
            if not any(_are_same(weights, other) for _, other in found):
                found.append((f'{place}{prefix}', weights))
    if found:
        return found
    # Each part of a CLIP may be in a container of its own, beside those of an optimiser.
    everything = _unwrapped({f'{place}{name}': value for place, names in containers
                             for name, value in names.items()})
    parts = (*_IMAGE_PARTS, *_ALL_TEXT_PARTS)
    for prefix, weights in _towers(everything):
        found.append((prefix, {name: value for name, value in weights.items()
                               if name.startswith(parts)}))
    return found or [_incomplete(everything, path)]


def _incomplete(names: Mapping[str, object], path: Path) -> tuple[str, dict[str, object]]:
    """Return what is there of a CLIP that lacks some weights; ModelError if it lacks a tower."""
    if any(name.endswith(GROUPVIT_WEIGHTS) for name in names):
        raise ModelError(f'{path} holds no CLIP, it is a GroupViT: write {GROUPVIT}:{path}')
    images, texts = _prefixes(_IMAGE, names), _prefixes(_TEXT, names)
    for prefix in (*images, *texts):
        weights = _below(prefix, names, ())
        image, text = (any(name.startswith(parts) for name in weights)
                       for parts in (_IMAGE_PARTS, _ALL_TEXT_PARTS))
        if image and text:
            return prefix, weights
    if images or texts:
        there, lacking = ('image', 'text') if images else ('text', 'image')
        raise ModelError(f'{path} holds the {there} tower of a CLIP and no {lacking} tower: words '
                         'and pixels are compared by both, take the weights of the whole model')
    held = sorted(name for name, value in names.items() if isinstance(value, Tensor))
    what = (f'no CLIP but {len(held)} tensors of another kind ({_first(held)})' if held else
            'objects, not weights by name')
    raise ModelError(f'{path} holds {what}: visual.conv1.weight and its likes are missing, at any '
                     'depth and under any prefix')


def _containers(document: object) -> Iterator[tuple[str, dict[str, object]]]:
    """
    Yield what is in each mapping and list of a document by name, and its place, outermost first.

    Each comes once, however often it is held, and if it holds itself.
    """
    waiting: list[tuple[str, Any]] = [('', document)]
    seen = set()
    for place, container in waiting:
        if id(container) in seen:
            continue
        seen.add(id(container))
        items: Iterable[tuple[Any, Any]] = (
            container.items() if isinstance(container, Mapping)
            else ((str(index), value) for index, value in enumerate(container)))
        held = {name: value for name, value in items if isinstance(name, str)}
        yield place, _unwrapped(held)
        waiting += [(f'{place}{name}.', value) for name, value in held.items()
                    if isinstance(value, (Mapping, list, tuple))]


def _unwrapped(names: Mapping[str, object]) -> dict[str, object]:
    """Take the names of wrapping modules out of names within towers."""
    return {(name[:match.end()] + re.sub(_WRAPPING, '', name[match.end():])
             if (match := _WITHIN.search(name)) else name): value
            for name, value in names.items()}


def _towers(names: Mapping[str, object]) -> list[tuple[str, dict[str, object]]]:
    """Return the prefixes under which there are both towers of a CLIP, and what is below them."""
    images, texts = _prefixes(_IMAGE, names), _prefixes(_TEXT, names)
    whole = [prefix for prefix in images if prefix in texts]
    if whole:
        return [(prefix, _below(prefix, names, images)) for prefix in whole]
    if len(images) == len(texts) == 1:
        image, text = (_below(prefix, names, ()) for prefix in (images[0], texts[0]))
        return [(images[0], {
            **{name: value for name, value in image.items() if name.startswith(_IMAGE_PARTS)},
            **{name: value for name, value in text.items() if name.startswith(_ALL_TEXT_PARTS)}})]
    return []


def _prefixes(pattern: re.Pattern, names: Mapping[str, object]) -> list[str]:
    matches = (pattern.fullmatch(name) for name in names)
    return list(dict.fromkeys(match[1] for match in matches if match))


def _below(prefix: str, names: Mapping[str, object], others: Sequence[str]) -> dict[str, object]:
    """Return what begins with a prefix, without it, and is not below a longer one of others."""
    longer = tuple(other for other in others if other != prefix and other.startswith(prefix))
    return {name.removeprefix(prefix): value for name, value in names.items()
            if name.startswith(prefix) and not name.startswith(longer)}


def _are_same(weights: Mapping[str, object], others: Mapping[str, object]) -> bool:
    """Tell whether two names stand for the same memory, as of a model that was saved twice."""
    return weights.keys() == others.keys() and all(
        _memory(value) == _memory(others[name]) for name, value in weights.items())


def _memory(value: object) -> int:
    return value.data_ptr() if isinstance(value, Tensor) else id(value)


def _preferred(clips: Sequence[Weights], path: Path) -> Weights:
    clips = sorted(clips, key=_rank)
    places = [clip.place.rstrip('.') or 'its top' for clip in clips]
    if _rank(clips[0]) == _rank(clips[1]):
        raise ModelError(f'{path} holds {len(clips)} CLIPs, at {_first(places)}, and nothing says '
                         'which is meant: save one alone where the file was made, with '
                         'torch.save(model.state_dict(), path)')
    warnings.warn(f'{path} holds {len(clips)} CLIPs, at {_first(places)}: that at {places[0]} is '
                  'taken. For another, save it alone, with torch.save(model.state_dict(), path)',
                  stacklevel=2)
    return clips[0]


def _rank(clip: Weights) -> tuple[bool, int]:
    """Return what puts the CLIP first that people mean when a file holds several."""
    names = [*USUAL_PLACES, '']
    first = clip.place.split('.')[0]
    return (not _DERIVED.isdisjoint(re.split('[._]', clip.place.lower())),
            names.index(first) if first in names else len(names))


def _is_unused(name: str) -> bool:
    return name.removeprefix('text.') in UNUSED_WEIGHTS or name.startswith(FOREIGN_WEIGHTS)


def _size(weights: Mapping[str, object]) -> str:
    """Describe the image tower of weights by the sizes that tell architectures apart."""
    patches, positions = (weights.get(f'visual.{name}') for name in (
        'conv1.weight', 'positional_embedding'))
    if not isinstance(patches, Tensor) or patches.dim() != 4 or patches.shape[1] != 3:
        return ''
    if not isinstance(positions, Tensor) or positions.dim() != 2:
        return ''
    width, _, patch, _ = patches.shape
    side = round((len(positions) - 1) ** 0.5) * patch
    blocks = {match[1] for match in map(re.compile(r'visual\.transformer\.resblocks\.(\d+)').match,
                                        weights) if match}
    return (f': the image tower in the file has width {width}, {len(blocks)} blocks, patches of '
            f'{patch} and images of {side} pixels')


def _text(value: object) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _first(names: Sequence[str], limit: int = 3) -> str:
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')
