"""
What a folder says about the CLIP in it: its architecture, activation and preprocessing.

open_clip writes these into open_clip_config.json; transformers into config.json, and what is done
to pixels into preprocessor_config.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import json
from pathlib import Path

from csa_ros.model.errors import ModelError
from csa_ros.model.weights import transformers_format

OPEN_CLIP = 'open_clip_config.json'
TRANSFORMERS = 'config.json'
PREPROCESSING = 'preprocessor_config.json'


@dataclass(frozen=True)
class Description:
    """
    A CLIP in a folder: open_clip's model `config`, and what pixels are normalised by.

    `mean` and `std` are per RGB channel for pixels in 0..1, None where the folder does not say.
    `file` is what says so.
    """

    config: dict
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    file: Path


def describe(folder: Path) -> Description | None:
    """
    Return what a folder says about the CLIP in it, None if it says nothing.

    Raises ModelError for what it says of a model of another kind, and for what cannot be read.
    """
    path = folder / OPEN_CLIP
    if path.is_file():
        document = _read(path)
        config, pixels = document.get('model_cfg'), document.get('preprocess_cfg')
        if not isinstance(config, dict) or not {'vision_cfg', 'text_cfg'} <= config.keys():
            raise ModelError(f'{path} describes no model of open_clip: copy it again')
        return Description({'quick_gelu': False, **config}, *_normalization(pixels, '', path))
    path = folder / TRANSFORMERS
    if not path.is_file():
        return None
    document = _read(path)
    kind = document.get('model_type')
    if kind != transformers_format.MODEL_TYPE:
        raise ModelError(f'{path} is of the model type {kind!r}: of the models of transformers, '
                         f'only {transformers_format.MODEL_TYPE!r} can be loaded')
    pixels = folder / PREPROCESSING
    return Description(
        transformers_format.to_config(document),
        *_normalization(_read(pixels) if pixels.is_file() else {}, 'image_', path))


def _normalization(document: object, prefix: str, path: Path) -> tuple:
    """Return mean, standard deviation and the file that says so."""
    values: list[tuple[float, float, float] | None] = []
    for name in ('mean', 'std'):
        value = document.get(f'{prefix}{name}') if isinstance(document, Mapping) else None
        usable = (isinstance(value, list) and len(value) == 3
                  and all(isinstance(item, (int, float)) for item in value))
        values.append((value[0], value[1], value[2]) if usable and value else None)
    return (*values, path)


def _read(path: Path) -> dict:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f'cannot read {path} ({error}): copy it again') from error
    if not isinstance(document, dict):
        raise ModelError(f'cannot read {path}: it holds no names and values, copy it again')
    return document
