"""
The vocabularies that come with the package, by name.

`@indoor` is that of indoor.yaml, and so is `preset:indoor`, which YAML reads without quotes.
"""

from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from csa_ros.files import visible_files
import yaml

SIGN = '@'
PREFIX = 'preset:'
_HERE = Path(__file__).resolve()


class PresetError(ValueError):
    """A preset cannot be read; the message says which there are, or what to mend."""


def called_preset(text: str) -> str | None:
    """Return the name of the preset that an entry calls for, None if it is an entry of words."""
    text = text.strip()
    for sign in (SIGN, PREFIX):
        if text.startswith(sign):
            return text[len(sign):] if sign == SIGN else text[len(sign):].strip()
    return None


def preset_meant(word: str) -> str:
    """Return the preset whose name a word may be, whatever its spelling; empty if none."""
    key = word.casefold().removesuffix('.yaml').replace('-', '_').replace(' ', '_')
    try:
        return key if key in _files() else ''
    except PresetError:
        return ''


@lru_cache(maxsize=None)
def read_preset(name: str) -> tuple[str, ...]:
    """
    Return the entries of the preset of this name, which is given without the sign.

    A file is read once, so that a vocabulary that was found good stays the same while a process
    lives. Raises PresetError.
    """
    # The name is looked up and never made a path, so that it cannot lead out of the folder.
    files = _files()
    if name not in files:
        shown = f'{SIGN}{name}' if len(name) <= 60 else f'{SIGN}{name[:57]}...'
        raise PresetError(f'there is no vocabulary {shown!r}; use {_choices(name, files)}')
    try:
        node, = yaml.safe_load(files[name].read_text(encoding='utf-8')).values()
        entries = node['ros__parameters']['vocabulary']
        if not isinstance(entries, list):
            raise TypeError(f'vocabulary is {entries!r}')
    except (AttributeError, KeyError, OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise PresetError(
            f'{files[name]} must set the parameter vocabulary to a list of words, as its '
            f'neighbours do: {error}') from error
    return tuple(entries)


def preset_names() -> list[str]:
    """Return the names of the presets that are installed, sorted, without the sign."""
    return sorted(_files())


def _files() -> dict[str, Path]:
    return {path.stem: path for path in visible_files(_folder(), ('.yaml',))}


def _folder() -> Path:
    """
    Return the folder of the vocabulary files that belong to this module; raise PresetError.

    It is found from the module itself, without the ament index, which a Python beside ROS does
    not have, and which may name another installation. In the sources (and with pip's editable and
    colcon's symlinked installations, which lead there) it is two steps away; otherwise pip and
    colcon have both put it into the `share` of the prefix in which the module lies.
    """
    sources = _HERE.parents[1] / 'config' / 'vocabularies'
    if sources.is_dir():
        return sources
    for prefix in _HERE.parents[1:]:
        folder = prefix / 'share' / 'csa_ros' / 'config' / 'vocabularies'
        if folder.is_dir():
            return folder
    raise PresetError(
        f'there is no share/csa_ros/config/vocabularies above {_HERE}; install csa_ros again, or '
        'write the words out')


def _choices(name: str, files: dict[str, Path]) -> str:
    """Return the names that can be used, those first that are like the one that was given."""
    close = get_close_matches(name.strip().casefold()[:60], sorted(files), cutoff=0.5)
    rest = [other for other in sorted(files) if other not in close]
    return ', '.join(f'{SIGN}{other}' for other in (*close, *rest))
