"""
Weights out of a file, in whatever wrapping it has, and into a model, if they fit exactly.

Nothing in a file is run: pickles are read by PyTorch's loader for weights alone, and TorchScript
archives by `csa_ros.model.weights.torchscript`. There is no option to read a file in another way.
"""

import argparse
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextlib import nullcontext
from pathlib import Path
import re

from csa_ros.model.errors import ModelError
from csa_ros.model.towers.architecture import expected_weights
from csa_ros.model.towers.architecture import fitting
from csa_ros.model.towers.architecture import shape
from csa_ros.model.towers.architecture import UNUSED_WEIGHTS
from csa_ros.model.weights import torchscript
from csa_ros.model.weights.catalogue import presets_of
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.model import CustomTextCLIP
from safetensors.torch import load_file
import torch
from torch import Tensor

# Under which training scripts keep the weights, beside the state of the optimiser and the like.
WRAPPERS = ('state_dict', 'model', 'model_state')
# What the names of weights begin with if the CLIP was a part of another module: of torch's
# DistributedDataParallel, or of the diffusion model that DIVA trains it with. Where a name begins
# so, those that do not are other parts.
PREFIXES = ('module.', 'class_model.model.')
# Parts that were trained with a CLIP and are none of it: DIVA's diffusion model and projections,
# and classifiers.
FOREIGN_WEIGHTS = ('multi_classifier.', 'unet.', 'vae.', 'visual_proj.', 'visual.proj2')


def read_weights(path: Path, quick_gelu: bool) -> dict[str, object]:
    """
    Return what a file holds by the name of the weight, unwrapped, on the CPU.

    Wrappings, prefixes and parts of other models go, and so do parameters that change no feature;
    values that are no tensors are left for `load_weights`. Raises ModelError for a file that
    cannot be read, that holds objects of any class but argparse.Namespace beside the weights, or
    that has no weights by name; and for an archive as OpenAI published its models, unless
    `quick_gelu`, the activation that they were trained with.
    """
    try:
        document = _read(path, quick_gelu)
    except ModelError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are
        raise ModelError(f'cannot read weights from {path}: {_reason(error)}') from error
    document = _unwrapped(document)
    if not isinstance(document, Mapping) or not document:
        raise ModelError(f'{path} holds {type(document).__name__}, not weights by name')
    weights = {name: value for name, value in document.items() if isinstance(name, str)}
    for prefix in PREFIXES:
        below = {name.removeprefix(prefix): value for name, value in weights.items()
                 if name.startswith(prefix)}
        weights = below or weights
    return {name: value for name, value in weights.items() if not _is_unused(name)}


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
    expected = expected_weights(clip)
    missing = expected.keys() - weights.keys()
    unexpected = {name for name in weights.keys() - expected.keys()
                  if isinstance(weights[name], Tensor)}
    problems = {
        'missing': sorted(missing),
        'unexpected': sorted(unexpected),
        'of another shape': sorted(
            f'{name} {_text(weights[name])} for {_text(expected[name])}'
            for name in expected.keys() & weights.keys()
            if shape(weights[name]) != shape(expected[name])),
    }
    faults = [f'{len(names)} {kind} ({_first(names)})'
              for kind, names in problems.items() if names]
    if faults:
        raise ModelError(f'{what}: {"; ".join(faults)}. {_advice(found)}')
    clip.load_state_dict({name: weights[name] for name in expected}, strict=False)


def _read(path: Path, quick_gelu: bool) -> object:
    if path.suffix == '.safetensors':
        return load_file(path)
    if torchscript.is_archive(path):
        # OpenAI published its models as TorchScript, and only those are around in this form.
        if not quick_gelu:
            raise ModelError(f'{path} is an archive as published by OpenAI, whose models use '
                             f'QuickGELU: write the architecture as ARCH-quickgelu:{path}')
        return {name: value for name, value in torchscript.read_weights(path).items()
                if name.rpartition('.')[2] not in UNUSED_WEIGHTS}
    with _namespaces_allowed():
        return torch.load(path, map_location='cpu', weights_only=True)


def _namespaces_allowed() -> AbstractContextManager:
    # Training scripts like to save their command line. A Namespace has neither a method that
    # unpickling calls nor arguments that it takes: it is an empty object whose attributes are set,
    # to values that the loader would read without it too. PyTorch before 2.5 cannot let it pass.
    allow = getattr(torch.serialization, 'safe_globals', None)
    return nullcontext() if allow is None else allow([argparse.Namespace])


def _reason(error: Exception) -> str:
    text = str(error)
    foreign = re.search(r'GLOBAL (\S+)', text)
    if foreign:
        return (f'it holds an object of {foreign[1]}, and to read that could run code. Save the '
                'weights alone where the file was made, with torch.save(model.state_dict(), path)')
    if isinstance(error, OSError):
        return text
    # PyTorch writes a page about it, with the advice to let the file run code.
    cause = text.rpartition('WeightsUnpickler error:')[2].strip()
    cause = re.split(r'\n|\. ', cause)[0]
    return (f'it is damaged, or of another kind ({cause or type(error).__name__}): copy it again, '
            'or save it with torch.save or safetensors')


def _unwrapped(document: object) -> object:
    # No deeper than there are wrappers: a pickle may hold itself.
    for _ in WRAPPERS:
        if not isinstance(document, Mapping):
            break
        inner = (document.get(key) for key in WRAPPERS)
        document = next((value for value in inner if isinstance(value, Mapping)), document)
    return document


def _is_unused(name: str) -> bool:
    return name in UNUSED_WEIGHTS or name.startswith(FOREIGN_WEIGHTS)


def _advice(weights: Mapping[str, object]) -> str:
    architectures = fitting(weights)
    if not architectures:
        return f'No architecture of open_clip that can be used would fit{_size(weights)}'
    presets = presets_of(architectures)
    named = f', or a preset of that shape ({_first(presets, 6)})' if presets else ''
    return (f'They would fit {" or ".join(architectures)}{named}: write the one that they were '
            'trained with before the path. Weights cannot tell whether it was with QuickGELU')


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


def _first(names: list[str], limit: int = 3) -> str:
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')
