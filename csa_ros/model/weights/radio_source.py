"""
Where on this machine the parts of a C-RADIOv3 are: tower, head, text tower and tokenizer.

They are in one file that `fetch_model` made, or in several that somebody else has fetched: beside
one another in a folder, or in the cache of the Hugging Face hub. Nothing here uses the network.
"""

from collections.abc import Iterator
from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import re

from csa_ros.model.errors import ModelError
from csa_ros.model.weights import files
from csa_ros.model.weights import radio_file
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.catalogue import SIGLIP2
from csa_ros.model.weights.catalogue import SIGLIP2_TOKENIZER
from csa_ros.model.weights.radio_format import join
from csa_ros.model.weights.radio_format import RadioPart
from csa_ros.model.weights.radio_format import RadioWeights
from csa_ros.model.weights.radio_format import read_part
from csa_ros.process import home
from huggingface_hub import try_to_load_from_cache

# Weights that tell SigLIP2's text tower from others, by the names of the hub and of open_clip.
TEXT_WEIGHTS = ('text_model.head.weight', 'text.text_projection.weight')
_PAGE = f'https://huggingface.co/{SIGLIP2[0]}'


@dataclass(frozen=True)
class RadioParts:
    """
    All that a C-RADIOv3 is made of.

    `weights` are those of the tower with its head, `text` is the file with SigLIP2's text tower,
    `tokenizer` the bytes of its tokenizer.json, and `digest` changes whenever any of them does.
    """

    weights: RadioWeights
    text: Path
    tokenizer: bytes
    digest: str


def parse_radio(model: str) -> tuple[str, Path | None] | None:
    """
    Return the preset and the path that a model string names; None if it is no RADIO.

    `model` is `PRESET` or `PRESET:/path`.
    """
    match = re.fullmatch(r'([^:/]+)(?::(.+))?', model)
    if match is None or match[1] not in RADIO_PRESETS:
        return None
    return match[1], Path(os.path.expanduser(match[2])) if match[2] else None


def own_file(name: str) -> Path:
    """Return where `fetch_model` leaves the file of a preset."""
    return home.cache_dir() / 'models' / f'{name}.safetensors'


def cached(file: tuple[str, str]) -> Path | None:
    """Return where a file (repository, path) is in the cache of the hub, None if it is not."""
    path = try_to_load_from_cache(*file)
    return Path(path) if isinstance(path, str) else None


def locate(name: str, path: Path | None) -> Path:
    """
    Return the file or folder with the tower of a preset.

    `path` is that which somebody named, None for what `fetch_model` or the hub's client have
    fetched. Raises ModelError if there is none.
    """
    if path is not None:
        if not path.exists():
            raise ModelError(f"model '{name}:{path}': there is no file {path}")
        return path
    for found in (own_file(name), cached(RADIO_PRESETS[name].file)):
        if found is not None and found.is_file():
            return found
    raise ModelError(f'the weights of {name!r} are not on this machine, and loading never uses '
                     f'the network. {how_to_fetch(name)}')


def is_here(name: str) -> bool:
    """Tell whether a preset loads without a network, as far as what is where tells."""
    return own_file(name).is_file() or all(map(cached, (
        RADIO_PRESETS[name].file, SIGLIP2, SIGLIP2_TOKENIZER)))


def read_parts(name: str, path: Path | None) -> RadioParts:
    """
    Return the parts of a preset, as `locate` finds them.

    Raises ModelError if one of them is missing, or is not what it should be.
    """
    found = locate(name, path)
    candidates = _candidates(found)
    own = [file for file in candidates if radio_file.is_own(file)]
    if own:
        weights, tokenizer, digest = radio_file.read(own[0], name)
        return RadioParts(weights, own[0], tokenizer, digest)
    folder = found if found.is_dir() else found.parent
    towers = [(file, part) for file, part in _parts(candidates)
              if part.tower is not None or not found.is_dir()]
    if not towers:
        raise ModelError(f'{found} holds no RADIO tower: name {RADIO_PRESETS[name].file[1]}, as '
                         f"in '{name}:/path/to/file', or the folder that it is in. "
                         f'{how_to_fetch(name)}')
    if len(towers) > 1:
        raise ModelError(f'the folder {found} holds several RADIO towers '
                         f'({", ".join(file.name for file, _ in towers)}): name one of them')
    tower_file, tower = towers[0]
    head_file, head = _find_head(tower_file, tower, folder)
    weights = join(tower, head, name, tower_file)
    text = find_text(folder, name)
    tokenizer = find_tokenizer(folder, name)
    check_width(weights, text, name)
    digests = [files.sha256(part) for file in dict.fromkeys((tower_file, head_file))
               for part in files.parts(file)]
    digests += [files.sha256(text), hashlib.sha256(tokenizer).hexdigest()]
    return RadioParts(weights, text, tokenizer, '+'.join(digests))


def find_text(folder: Path, name: str) -> Path:
    """Return a file with SigLIP2's text tower, in a folder or the hub's cache; or ModelError."""
    for file in _candidates(folder):
        names = files.tensor_names(file)
        if names is not None and not set(TEXT_WEIGHTS).isdisjoint(names):
            return file
    found = cached(SIGLIP2)
    if found is None:
        raise ModelError(f'{name} reads words with the text tower of SigLIP2, which is neither in '
                         f"{folder} nor in the hub's cache: put {SIGLIP2[1]} of {_PAGE} there, "
                         f'under any name. {how_to_fetch(name)}')
    return found


def find_tokenizer(folder: Path, name: str) -> bytes:
    """Return SigLIP2's tokenizer.json, from a folder or the hub's cache; or ModelError."""
    beside = folder / SIGLIP2_TOKENIZER[1]
    found = beside if beside.is_file() else cached(SIGLIP2_TOKENIZER)
    if found is None:
        raise ModelError(f'{name} wants the tokenizer of SigLIP2, which is neither in {folder} '
                         f"nor in the hub's cache: put {SIGLIP2_TOKENIZER[1]} of {_PAGE} there. "
                         f'{how_to_fetch(name)}')
    return found.read_bytes()


def how_to_fetch(name: str) -> str:
    """Say how all parts of a preset come to this machine."""
    return (f"Fetch all of it beforehand with 'ros2 run csa_ros fetch_model {name}' or "
            f"'python -m csa_ros.tools.fetch_model {name}', or use model:=demo, which is bundled "
            'and works offline')


def _candidates(path: Path) -> list[Path]:
    """Return the files that may hold weights: one, or those of a folder."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir()
                  if file.is_file() and not file.name.startswith('.')
                  and files.may_hold_weights(file))


def _parts(candidates: list[Path]) -> Iterator[tuple[Path, RadioPart]]:
    for file in candidates:
        names = files.tensor_names(file)
        # Text towers are large, and are read when there are words to read.
        if names is None or set(TEXT_WEIGHTS).isdisjoint(names):
            yield file, read_part(files.read(file).document, file)


def _find_head(tower_file: Path, tower: RadioPart, folder: Path) -> tuple[Path, RadioPart]:
    """Return the file with the head, that of the tower if no other has one."""
    if tower.head is None and not tower.release:
        others = [file for file in _candidates(folder) if file != tower_file]
        for file, part in _parts(others):
            if part.head is not None:
                return file, part
    return tower_file, tower


def check_width(weights: RadioWeights, text: Path, name: str) -> None:
    """Raise ModelError if features of words are not as long as those of patches."""
    width = files.first_size(text, TEXT_WEIGHTS)
    if width != weights.sizes.embed_dim:
        raise ModelError(f'the text tower in {text} gives {width} numbers a word, and the head of '
                         f'{name} {weights.sizes.embed_dim} a patch: it is another SigLIP2. Take '
                         f'{SIGLIP2[1]} of {_PAGE}')
