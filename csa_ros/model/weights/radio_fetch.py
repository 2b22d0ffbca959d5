"""Fetch all that a C-RADIOv3 needs, and make one file in half precision of it."""

from collections.abc import Mapping
from pathlib import Path
import shutil

from csa_ros.model.errors import ModelError
from csa_ros.model.weights import files
from csa_ros.model.weights import hub
from csa_ros.model.weights import radio_file
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.catalogue import SIGLIP2
from csa_ros.model.weights.catalogue import SIGLIP2_TOKENIZER
from csa_ros.model.weights.download import check_room
from csa_ros.model.weights.download import Hub
from csa_ros.model.weights.download import Piece
from csa_ros.model.weights.radio_format import join
from csa_ros.model.weights.radio_format import read_part
from csa_ros.model.weights.radio_source import cached
from csa_ros.model.weights.radio_source import check_width
from csa_ros.model.weights.radio_source import own_file
from filelock import FileLock
from filelock import Timeout

# Repository and path, in the hub.
File = tuple[str, str]


def folder_of(name: str) -> Path:
    """Return where what was fetched of a preset waits for the rest."""
    return own_file(name).with_suffix('.parts')


def fetch_radio(name: str) -> Path:
    """
    Make the file of a preset, and return where it is.

    What the hub's cache has is taken from there, and stays there. What was fetched before an
    interruption is taken up again. Raises ModelError if there is no room, if another process
    fetches the same, or if what comes is not what it should be; `hub.Unreachable`, an OSError or
    what else the hub's client raises passes through.
    """
    target, folder = own_file(name), folder_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / '.lock', timeout=0):
            _make(name, target, folder)
    except Timeout as error:
        raise ModelError(f'another process fetches {name} into {folder}: wait for it') from error
    shutil.rmtree(folder, ignore_errors=True)
    return target


def _make(name: str, target: Path, folder: Path) -> None:
    tower, text, tokenizer = _parts(name, folder)
    try:
        part = read_part(files.read(tower).document, tower)
        weights = join(part, part, name, tower)
        check_width(weights, text, name)
        radio_file.write(target, name, weights, text, tokenizer.read_bytes())
    except ModelError:
        raise
    except Exception as error:  # noqa: B902 - safetensors raises nothing narrower
        raise ModelError(f'{target} cannot be written: {error}. What was fetched is kept in '
                         f'{folder}: make room, or name another folder with XDG_CACHE_HOME, and '
                         'try again') from error


def _parts(name: str, folder: Path) -> tuple[Path, Path, Path]:
    """Return the files with tower, text tower and tokenizer, fetched if they are not here."""
    wanted = (RADIO_PRESETS[name].file, SIGLIP2, SIGLIP2_TOKENIZER)
    found = {file: cached(file) for file in wanted}
    missing = [file for file in wanted if found[file] is None]
    if missing:
        hub.check_reachable()
        source = Hub()
        pieces = {file: source.tensors(file, radio_file.TEXT_PREFIX, folder) if file == SIGLIP2
                  else source.whole(file, folder) for file in missing}
        check_room(folder, sum(piece.size - piece.here for piece in pieces.values()) + sum(
            # What is in float32 becomes half as long.
            size // 2 if file == SIGLIP2 else size
            for file, size in _sizes(found, pieces).items()), name)
        source.fetch(list(pieces.values()), name)
        found.update({file: piece.path for file, piece in pieces.items()})
    tower, text, tokenizer = (path for path in found.values() if path is not None)
    return tower, text, tokenizer


def _sizes(found: Mapping[File, Path | None], pieces: Mapping[File, Piece]) -> dict[File, int]:
    """Return the bytes of each file, or of the piece of it that is wanted."""
    return {file: pieces[file].size if path is None else path.stat().st_size
            for file, path in found.items()}
