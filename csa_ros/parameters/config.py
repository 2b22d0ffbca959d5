"""
Parameter values to one checked `Config`.

The same `read_config` serves the start and every later change: a change is judged by the whole
configuration it would lead to, so that it does not matter in which order parameters are set.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
import difflib
from pathlib import Path
import re
from typing import Any

from csa_ros.model.text import PromptError
from csa_ros.model.text import TEMPLATES
from csa_ros.model.text import templates
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.file import read_file
from csa_ros.parameters.table import MAX_CAMERAS
from csa_ros.parameters.table import PARAMETERS
from csa_ros.settings import Settings
from csa_ros.vocabulary import split_text
from csa_ros.vocabulary import unquote
from csa_ros.vocabulary import Vocabulary
from csa_ros.vocabulary import VocabularyError

# The name of the only camera, whose topics have no name of a camera before them.
ONLY_CAMERA = ''
# Relative topics without substitutions, and none that is hidden, as those with _ in front are.
_CAMERA = re.compile(r'[A-Za-z]\w*(/[A-Za-z_]\w*)*', re.ASCII)
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
    sensor_bits: str
    max_rate: float
    lazy: bool
    autostart: bool

    @property
    def loaded(self) -> dict[str, Any]:
        """Return by name what stays as it is from configuration to cleanup."""
        return {**vars(self.model), 'cameras': self.cameras, 'transport': self.transport}


def read_config(values: Mapping[str, Any]) -> Config:
    """
    Check the values of all parameters, each alone and all together.

    Raises ParameterError with a reason that a user can act on. What depends on the model is
    checked by the segmenter.
    """
    checked = {item.name: item.check(values[item.name]) for item in PARAMETERS}
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
                'sensor_bits', 'max_rate', 'lazy', 'autostart')})
    except VocabularyError as error:
        raise ParameterError(f'vocabulary: {error}') from error
    except PromptError as error:
        raise ParameterError(f'prompts: {error}') from error
    except ValueError as error:
        raise ParameterError(str(error)) from error


def read_config_file(path: Path | None, name: str, overrides: Mapping[str, Any]
                     ) -> tuple[Config, list[str]]:
    """
    Return the configuration of a node called `name`, and the names in the file that it ignores.

    `path` is a parameter file for `csa_ros.parameters.file.read_file`. `overrides` come before the
    file, and the file before the defaults. Raises ParameterError for a file that cannot be used,
    and for values that the node would refuse.
    """
    given = read_file(path, name) if path else {}
    values = {item.name: item.default for item in PARAMETERS}
    ignored = sorted(set(given) - set(values))
    values.update({key: value for key, value in given.items() if key in values})
    values.update(overrides)
    return read_config(values), ignored


def _read_prompts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, str) and not _are_strings(value):
        shown = value if isinstance(value, (bool, int, float)) else list(value)
        raise PromptError(f'must be {", ".join(TEMPLATES)}, or a list of strings, not {shown}')
    if isinstance(value, str):
        if value.lstrip().startswith('['):
            # A list with a number or a boolean in it arrives as its own source text.
            raise PromptError(f'{value!r} holds something that is no text; quote every template')
        return templates(unquote(value))
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
        if not _CAMERA.fullmatch(name):
            raise ParameterError(f'cameras: {name!r} is no name for topics: use letters, digits '
                                 'and _, with / between names, and begin with a letter, as it is '
                                 "put before 'image' and after '~/'")
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
    names = tuple(unquote(name).strip() for name in names)
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
