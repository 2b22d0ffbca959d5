"""
Examples of what is in pictures, in one file.

`patches` of all of them lie one behind the other; how many are its own is said of each.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
from typing import Any

from csa_ros.teaching import container
from csa_ros.teaching.collection import Example
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import Look
import torch
from torch import Tensor

FORMAT = 'csa_ros examples 1'
_BY_PATCH = ('patches', 'inside', 'stands_for')


def write(path: Path, examples: Examples) -> None:
    """Write examples, see `csa_ros.teaching.container.write`."""
    container.write(path, examples, _FORM)


def read(path: Path, fingerprint: str | None = None) -> Examples:
    """Return the examples of a file, see `csa_ros.teaching.container.read`."""
    return container.read(path, _FORM, fingerprint)


@dataclass(frozen=True, eq=False)
class Kept:
    """The examples of a file that is only read; `digest` changes with them."""

    path: Path
    examples: Examples
    digest: str

    def check(self, fingerprint: str) -> None:
        """Raise TeachingError unless they were seen by what has this fingerprint."""
        container.check(self.path, self.examples, fingerprint)


def read_kept(path: Path) -> Kept:
    """
    Return what a file keeps, whatever has seen it.

    Raises TeachingError if there is none, and for one that cannot be read or is damaged.
    """
    if not path.exists():
        raise TeachingError(f'there is no file of examples {path}: make it with `ros2 run csa_ros '
                            'teach`, or leave it out')
    examples = read(path)
    return Kept(path, examples, _digest(examples))


def _digest(examples: Examples) -> str:
    """Return what changes with all that labels depend on; files of the same need not be equal."""
    digest = hashlib.sha256(examples.fingerprint.encode())
    for name, look in ((example.name, example.look) for example in examples):
        digest.update(json.dumps([name, len(look.patches)]).encode())
        for tensor in (look.key, look.patches, look.inside, look.stands_for):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _joined(parts: Sequence[Tensor], none: Tensor) -> Tensor:
    return torch.cat(tuple(parts)) if parts else none


def _pack(examples: Examples) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    looks = [example.look for example in examples]
    tensors = {
        'keys': torch.stack([look.key for look in looks]) if looks else torch.empty(0, 0),
        'patches': _joined([look.patches for look in looks], torch.empty(0, 0).half()),
        **{name: _joined([getattr(look, name) for look in looks], torch.empty(0))
           for name in ('inside', 'stands_for')}}
    return tensors, [{'patches': len(look.patches)} for look in looks]


def _rows(described: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    patches = sum(item['patches'] for item in described)
    return {'keys': len(described), **dict.fromkeys(_BY_PATCH, patches)}


def _unpack(tensors: Mapping[str, Tensor], described: Sequence[Mapping[str, Any]],
            details: Sequence[Mapping[str, Any]]) -> Examples:
    if tensors['keys'].shape[1] != tensors['patches'].shape[1]:
        raise ValueError('keys and patches differ in their dimensions')
    counts = [item['patches'] for item in described]
    if min(counts, default=1) < 1:
        raise ValueError('an example has no patch')
    parts = zip(described, details, tensors['keys'],
                *(tensors[name].split(counts) for name in _BY_PATCH))
    return Examples(tuple(
        Example(item['name'], Look(key, patches, inside, stands_for, **detail))
        for item, detail, key, patches, inside, stands_for in parts))


_FORM = container.Form(
    FORMAT, Examples(),
    {'keys': (torch.float32, 2), 'patches': (torch.float16, 2), 'inside': (torch.float32, 1),
     'stands_for': (torch.float32, 1)},
    _pack, _rows, _unpack)


class ExamplesFile(container.KeptExamples[Examples]):
    """The file that the node keeps them in, if any."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path, _FORM)
