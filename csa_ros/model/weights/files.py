"""
Files of weights: what each one is by its bytes, whatever its name, and what it holds.

Nothing in a file is run: pickles are read by PyTorch's loader for weights alone, and TorchScript
archives by `csa_ros.model.weights.torchscript`. There is no option to read a file in another way.
"""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import re
from typing import Any
from typing import TypeVar

from csa_ros.model.errors import ModelError
from csa_ros.model.weights import torchscript
from open_clip.constants import HF_SAFE_WEIGHTS_NAME
from open_clip.constants import HF_WEIGHTS_NAME
from safetensors import safe_open
from safetensors.torch import load_file
import torch

# What libraries call the weights in a folder: open_clip and transformers, these in one file or
# several, of which an index says what is where.
NAMES = (HF_SAFE_WEIGHTS_NAME, 'model.safetensors', 'model.safetensors.index.json',
         HF_WEIGHTS_NAME, 'pytorch_model.bin', 'pytorch_model.bin.index.json')
# What files of other kinds begin with, and what to do about them.
_OTHERS = {
    b'version https://git-lfs': 'it is a pointer of Git LFS, and the weights are not here yet: '
                                'run `git lfs pull` in its folder',
    b'<': 'it is a web page, and not the file that the page is about: download that',
    b'\x89HDF': 'it is HDF5, as TensorFlow saves weights: take model.safetensors or '
                'pytorch_model.bin of the same model',
    b'GGUF': 'it is GGUF, of llama.cpp: take model.safetensors or pytorch_model.bin of the same '
             'model',
    b'\x1f\x8b': 'it is compressed with gzip: unpack it',
    b'\xfd7zXZ': 'it is compressed with xz: unpack it',
    b'\x28\xb5\x2f\xfd': 'it is compressed with zstd: unpack it',
    b'7z\xbc\xaf': 'it is a 7z archive: unpack it',
}
# Of the header of safetensors, by its definition.
_MAX_HEADER = 100_000_000
_ZIP = b'PK\x03\x04'
_PICKLE = b'\x80'

Held = TypeVar('Held')


@dataclass(frozen=True)
class Content:
    """What a file holds; `archive` tells that it is TorchScript, as OpenAI published its CLIPs."""

    document: object
    archive: bool = False


def find_file(folder: Path) -> Path:
    """
    Return the file with the weights of a folder, or the index of several that hold them.

    Raises ModelError if there is none, or if it cannot be told which one it is.
    """
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    files = sorted(path for path in folder.iterdir() if path.is_file() and may_hold_weights(path))
    if len(files) == 1:
        return files[0]
    if files:
        raise ModelError(f'the folder {folder} holds several files that may be the weights '
                         f'({_first([path.name for path in files])}): name one of them')
    below = sorted({path.parent.name for name in NAMES for path in folder.glob(f'*/{name}')})
    hint = (f': name one of the folders in it that do ({_first(below)})' if below else
            f', under the name {NAMES[1]} or {NAMES[4]} for instance')
    raise ModelError(f'the folder {folder} holds no weights{hint}')


def parts(path: Path) -> tuple[Path, ...]:
    """
    Return the files that hold what a file is a part or the index of; as a rule itself alone.

    Raises ModelError if one of them is missing, or an index names a file elsewhere.
    """
    indices = [path] if _begin(path).lstrip()[:1] == b'{' else path.parent.glob('*.index.json')
    for index in indices:
        names = _indexed(index)
        if index == path and not names:
            raise ModelError(f'cannot read weights from {path}: it is JSON and no index of files '
                             'with weights: name the folder, or the file with the weights')
        if index == path or path.name in names:
            return _beside(index, names)
    return (path,)


def read(path: Path) -> Content:
    """
    Return what a file holds, or all files that belong together with it, on the CPU.

    Raises ModelError for a file that cannot be read, that is of another kind, or that holds
    objects of any class but argparse.Namespace beside the weights.
    """
    try:
        files = parts(path)
        if len(files) == 1:
            return _read(files[0])
        document: dict[object, object] = {}
        for file in files:
            held = _read(file).document
            if not isinstance(held, Mapping):
                raise ModelError(f'{file} holds {type(held).__name__}, not weights by name')
            document.update(held)
        return Content(document)
    except ModelError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are
        raise ModelError(f'cannot read weights from {path}: {_reason(error)}') from error


def tensor_names(path: Path) -> list[str] | None:
    """Return the names of what a safetensors file holds, without reading it; None for others."""
    return _of_safetensors(path, lambda file: list(file.keys()))


def first_size(path: Path, names: Sequence[str]) -> int | None:
    """Return the first size of the first of some tensors that a safetensors file holds."""
    return _of_safetensors(path, lambda file: next(
        (file.get_slice(name).get_shape()[0] for name in names if name in file.keys()), None))


def metadata(path: Path) -> dict[str, str]:
    """Return what a safetensors file says of itself; nothing for others."""
    return _of_safetensors(path, lambda file: file.metadata()) or {}


def sha256(path: Path) -> str:
    """Return the digest of a file, which is not read where the hub's cache is named by it."""
    blob = path.resolve().name
    if re.fullmatch('[0-9a-f]{64}', blob):
        return blob
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def may_hold_weights(path: Path) -> bool:
    """Tell whether a file is safetensors or one of torch's, by the bytes that it begins with."""
    begin = _begin(path)
    return _is_safetensors(begin) or begin.startswith((_ZIP, _PICKLE))


def _of_safetensors(path: Path, ask: Callable[[Any], Held]) -> Held | None:
    """Return what an open safetensors file answers, None for other files."""
    try:
        if not _is_safetensors(_begin(path)):
            return None
        with safe_open(path, framework='pt') as file:
            return ask(file)
    except Exception as error:  # noqa: B902 - safetensors raises nothing narrower
        raise ModelError(f'cannot read weights from {path}: {_reason(error)}') from error


def _read(path: Path) -> Content:
    begin = _begin(path)
    if _is_safetensors(begin):
        return Content(load_file(path))
    for magic, remedy in _OTHERS.items():
        if begin.lstrip().startswith(magic):
            raise ModelError(f'cannot read weights from {path}: {remedy}')
    if torchscript.is_archive(path):
        return Content(torchscript.read_weights(path), archive=True)
    with _namespaces_allowed():
        return Content(torch.load(path, map_location='cpu', weights_only=True))


def _begin(path: Path) -> bytes:
    with path.open('rb') as file:
        return file.read(32)


def _is_safetensors(begin: bytes) -> bool:
    # The length of a header in JSON, and the header.
    return begin[8:9] == b'{' and 0 < int.from_bytes(begin[:8], 'little') <= _MAX_HEADER


def _indexed(index: Path) -> list[str]:
    """Return the names of the files of an index, none if it is no index."""
    try:
        document = json.loads(index.read_text())
    except (OSError, ValueError, RecursionError):
        return []
    names = document.get('weight_map') if isinstance(document, dict) else None
    return sorted({str(name) for name in names.values()}) if isinstance(names, dict) else []


def _beside(index: Path, names: list[str]) -> tuple[Path, ...]:
    for name in names:
        if Path(name).name != name:
            raise ModelError(f'{index} names {name!r}, which is not beside it: weights are read '
                             'from the folder of their index alone')
        if not (index.parent / name).is_file():
            raise ModelError(f'{index.parent} lacks {name}, one of the {len(names)} files that '
                             f'hold the weights by {index.name}: download it too')
    return tuple(index.parent / name for name in names)


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


def _first(names: list[str], limit: int = 4) -> str:
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')
