"""
Parameter values to one checked `Config`.

The same `read_config` serves the start and every later change: a change is judged by the whole
configuration it would lead to, so that it does not matter in which order parameters are set.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import difflib
from pathlib import Path
from typing import Any

from csa_ros.choices import MAX_PHRASES
from csa_ros.model.text import PromptError
from csa_ros.parameters.cameras import CameraTopics
from csa_ros.parameters.cameras import read_cameras
from csa_ros.parameters.cameras import TOPICS
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.file import read_file
from csa_ros.parameters.names import read_names
from csa_ros.parameters.prompts import read_prompts
from csa_ros.parameters.table import PARAMETERS
from csa_ros.parameters.teaching import read_path
from csa_ros.parameters.teaching import read_shown
from csa_ros.parameters.teaching import Shown
from csa_ros.settings import Settings
from csa_ros.vocabulary import MAX_WORD_LENGTH
from csa_ros.vocabulary import split_text
from csa_ros.vocabulary import Vocabulary
from csa_ros.vocabulary import VocabularyError

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
    """All parameters, checked; there is a camera without a name where none is named."""

    model: ModelConfig
    vocabulary: Vocabulary
    prompts: tuple[str, ...]
    settings: Settings
    overlay_alpha: float
    overlay_legend: bool
    mask_classes: tuple[str, ...]
    find: tuple[str, ...]
    find_threshold: float
    object_classes: tuple[str, ...]
    min_object_area: int
    examples: Path | None
    shown: Shown
    points_layout: str
    depth_slop: float
    cameras: tuple[CameraTopics, ...]
    transport: str
    sensor_bits: str
    max_rate: float
    lazy: bool
    autostart: bool

    @property
    def loaded(self) -> dict[str, Any]:
        """Return by name what stays as it is from configuration to cleanup."""
        topics = {parameter: [getattr(camera, kind) for camera in self.cameras]
                  for kind, parameter in TOPICS.items()}
        return {**vars(self.model), 'cameras': [camera.name for camera in self.cameras],
                **topics, 'transport': self.transport}


def read_config(values: Mapping[str, Any]) -> Config:
    """
    Check the values of all parameters, each alone and all together.

    Raises ParameterError with a reason that a user can act on. What depends on the model is
    checked by the segmenter.
    """
    checked = {item.name: item.check(values[item.name]) for item in PARAMETERS}
    try:
        vocabulary = Vocabulary.parse(checked['vocabulary'])
        cameras = read_cameras(checked)
        return Config(
            model=ModelConfig(**{name: checked[name] for name in _OF_MODEL}),
            vocabulary=vocabulary,
            prompts=read_prompts(checked['prompts']),
            settings=_read_settings(checked),
            mask_classes=_read_classes(
                'mask_classes', checked['mask_classes'], vocabulary,
                'a mask without it would be wrong unnoticed'),
            find=_read_phrases(checked['find']),
            object_classes=_read_classes(
                'object_classes', checked['object_classes'], vocabulary,
                'none of it would ever be published'),
            examples=read_path(checked),
            shown=read_shown(checked, cameras),
            cameras=cameras,
            **{name: checked[name] for name in (
                'overlay_alpha', 'overlay_legend', 'find_threshold', 'min_object_area',
                'points_layout', 'depth_slop', 'transport', 'sensor_bits', 'max_rate', 'lazy',
                'autostart')})
    except VocabularyError as error:
        raise ParameterError(f'vocabulary: {error}') from error
    except PromptError as error:
        raise ParameterError(f'prompts: {error}') from error
    except ValueError as error:
        raise ParameterError(str(error)) from error


def with_classes(vocabulary: str | Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the value of the parameter `vocabulary` with more classes, which have no synonyms."""
    return [*(split_text(vocabulary) if isinstance(vocabulary, str) else vocabulary), *names]


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


def _read_classes(parameter: str, value: Any, vocabulary: Vocabulary, consequence: str
                  ) -> tuple[str, ...]:
    names = read_names(parameter, value)
    for name in names:
        if name not in vocabulary.names:
            close = difflib.get_close_matches(name, vocabulary.names, 1)
            hint = f' (did you mean {close[0]!r}?)' if close else ''
            raise ParameterError(
                f'{parameter} has {name!r}, which is no name in the vocabulary{hint}: '
                f"{consequence}. Set {parameter} to '' or to other names first; the vocabulary "
                f'has {", ".join(vocabulary.names)}')
    return names


def _read_phrases(value: Any) -> tuple[str, ...]:
    phrases = read_names('find', value)
    if len(phrases) > MAX_PHRASES:
        raise ParameterError(f'find has {len(phrases)} phrases, more than {MAX_PHRASES}: drop '
                             f'those from {phrases[MAX_PHRASES]!r} on, or put them into the '
                             'vocabulary')
    for phrase in phrases:
        if len(phrase) > MAX_WORD_LENGTH:
            raise ParameterError(f'find has a phrase of {len(phrase)} characters, more than '
                                 f'{MAX_WORD_LENGTH}: shorten {phrase[:40]!r}...')
        if not phrase.isprintable():
            raise ParameterError(f'find has {phrase!r}, with a control or invisible character: '
                                 'type the phrase again')
    return phrases


def _read_settings(checked: Mapping[str, Any]) -> Settings:
    return Settings(
        short_side=checked['short_side'] or None,
        crop=checked['crop'] or None,
        stride=checked['stride'] or None,
        logit_scale=checked['logit_scale'] or None,
        denoise=None if checked['denoise'] < 0 else checked['denoise'],
        **{name: checked[name] for name in (
            'inference', 'unknown_threshold', 'min_area', 'refine',
            'reuse_threshold', 'reuse_frames')})
