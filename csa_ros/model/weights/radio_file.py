"""
One file with all that a C-RADIOv3 needs, as `fetch_model` makes it, in half precision.

It is a safetensors file: the tower and its head as `visual.` and the names of `RadioVision`,
SigLIP2's text tower by the names that the hub has, `text_model.`, and the bytes of its tokenizer
as `tokenizer`. Its metadata say what it is made of, and have the digest of it all, so that nobody
reads gigabytes to tell it from another one.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import hashlib
import json
from pathlib import Path

from csa_ros.files import write_whole
from csa_ros.model.errors import ModelError
from csa_ros.model.weights import files
from csa_ros.model.weights.catalogue import RADIO_LICENCE
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.catalogue import SIGLIP2
from csa_ros.model.weights.radio_format import complete
from csa_ros.model.weights.radio_format import RadioWeights
from safetensors import safe_open
from safetensors.torch import save_file
import torch
from torch import Tensor

FORMAT = 'csa_ros radio 1'
TEXT_PREFIX = 'text_model.'
_VISUAL_PREFIX = 'visual.'
_TOKENIZER = 'tokenizer'


def write(path: Path, name: str, weights: RadioWeights, text: Path, tokenizer: bytes) -> None:
    """
    Write the file of a preset; it appears when it is whole.

    `text` is a safetensors file that holds SigLIP2's text tower, `tokenizer` the bytes of its
    tokenizer.json. Takes as much memory as the file has bytes. An OSError or safetensors' own
    error passes through.
    """
    tensors = {f'{_VISUAL_PREFIX}{key}': _halved(value).contiguous()
               for key, value in weights.by_name.items()}
    with safe_open(text, framework='pt') as source:
        tensors.update({key: _halved(source.get_tensor(key)) for key in source.keys()
                        if key.startswith(TEXT_PREFIX)})
    tensors[_TOKENIZER] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    pixels = json.dumps([weights.mean, weights.std])
    metadata = {
        'format': FORMAT, 'preset': name, 'licence': RADIO_LICENCE, 'pixels': pixels,
        'sources': ' '.join('/'.join(file) for file in (RADIO_PRESETS[name].file, SIGLIP2)),
        'sha256': _digest(tensors, pixels)}

    def write_draft(draft: Path) -> None:
        draft.touch()
        mode = draft.stat().st_mode
        save_file(tensors, draft, metadata)
        # It lets nobody else read what it writes.
        draft.chmod(mode)

    write_whole(path, write_draft)


def is_own(path: Path) -> bool:
    """Tell whether a file is one of these; ModelError if it is damaged."""
    return files.metadata(path).get('format', '').startswith(FORMAT.rpartition(' ')[0])


def read(path: Path, name: str) -> tuple[RadioWeights, bytes, str]:
    """
    Return tower and head, the bytes of the tokenizer, and the digest of a preset's file.

    The text tower stays where it is. Raises ModelError for a file of another preset or of a later
    csa_ros, and for one that is damaged.
    """
    stated = files.metadata(path)
    if stated['format'] != FORMAT:
        raise ModelError(f'{path} is in the form {stated["format"]!r}, and this csa_ros reads '
                         f'{FORMAT!r}: {_again(path, name)}')
    preset = stated.get('preset', '')
    if preset != name:
        raise ModelError(f'{path} holds {preset}, not {name}: write {preset}:{path}')
    try:
        mean, std = (tuple(channels) for channels in json.loads(stated['pixels']))
        with safe_open(path, framework='pt') as file:
            weights = {key.removeprefix(_VISUAL_PREFIX): file.get_tensor(key)
                       for key in file.keys() if key.startswith(_VISUAL_PREFIX)}
            tokenizer = file.get_tensor(_TOKENIZER).numpy().tobytes()
        digest = stated['sha256']
    except Exception as error:  # noqa: B902 - safetensors raises nothing narrower
        raise ModelError(f'{path} is damaged ({error}): {_again(path, name)}') from error
    return complete(weights, name, mean, std, path), tokenizer, digest


def _again(path: Path, name: str) -> str:
    return f"remove it, and let 'ros2 run csa_ros fetch_model {name}' make it anew"


def _halved(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def _digest(tensors: Mapping[str, Tensor], pixels: str) -> str:
    digest = hashlib.sha256(pixels.encode())
    for part in _contents(tensors):
        digest.update(part)
    return digest.hexdigest()


def _contents(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    for name, value in sorted(tensors.items()):
        yield f'\n{name} {value.dtype} {list(value.shape)}\n'.encode()
        yield value.reshape(-1).view(torch.uint8).numpy().data
