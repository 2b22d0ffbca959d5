"""
Examples in one file, which nothing is run from.

It is a safetensors file. Its metadata say which form it has, what has seen the examples, and of
each its name, camera, stamp and what the model was called, and how many rows of `patches` and
bytes of `thumbnails`, which lie one behind the other, are its own.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
from typing import Any

from csa_ros.files import write_whole
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Example
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import Look
from csa_ros.teaching.examples import MAX_EXAMPLES
from csa_ros.teaching.fingerprint import difference
from safetensors import safe_open
from safetensors.torch import save
import torch
from torch import Tensor

FORMAT = 'csa_ros examples 1'
# Of the tensors, whose first size is that of the examples, of all patches, and of all bytes.
_TYPES = {'keys': torch.float32, 'patches': torch.float16, 'inside': torch.float32,
          'stands_for': torch.float32, 'thumbnails': torch.uint8}
_BY_PATCH = ('patches', 'inside', 'stands_for')


def write(path: Path, examples: Examples) -> None:
    """
    Write examples; the file appears, or takes the place of an older one, when it is whole.

    Raises TeachingError if that fails, and leaves what was there.
    """
    looks = [example.look for example in examples]
    described = [
        {'name': example.name, 'camera': example.look.camera, 'stamp': example.look.stamp,
         'model': example.look.model, 'patches': len(example.look.patches),
         'bytes': len(example.look.thumbnail)}
        for example in examples]
    thumbnails = bytearray(b''.join(look.thumbnail for look in looks))
    tensors = {
        'keys': torch.stack([look.key for look in looks]) if looks else torch.empty(0, 0),
        'patches': _joined([look.patches for look in looks], torch.empty(0, 0).half()),
        **{name: _joined([getattr(look, name) for look in looks], torch.empty(0))
           for name in ('inside', 'stands_for')},
        'thumbnails': (torch.frombuffer(thumbnails, dtype=torch.uint8) if thumbnails
                       else torch.empty(0, dtype=torch.uint8))}
    metadata = {'format': FORMAT, 'fingerprint': examples.fingerprint,
                'examples': json.dumps(described)}
    try:
        # Not save_file, which lets nobody else read what it writes.
        write_whole(path, lambda draft: draft.write_bytes(save(tensors, metadata)))
    except OSError as error:
        raise TeachingError(f'examples cannot be written to {path} ({error.strerror or error}): '
                            'make room there, or let the node write to it') from error


def read(path: Path, fingerprint: str | None = None) -> Examples:
    """
    Return the examples of a file, none if there is no file.

    Raises TeachingError for one that cannot be read or is damaged, and what `check` raises if a
    fingerprint is given.
    """
    if not path.exists():
        return Examples()
    try:
        with safe_open(path, framework='pt') as file:
            metadata = file.metadata() or {}
            found = metadata.get('format', '')
            if found != FORMAT:
                raise TeachingError(
                    f'{path} is in the form {found!r}, and this csa_ros reads {FORMAT!r}: name a '
                    'file that it has written, or one that is yet to be')
            tensors = {name: file.get_tensor(name) for name in _TYPES}
        described = json.loads(metadata['examples'])
        _check(tensors, described)
        examples = Examples(tuple(_examples(tensors, described, metadata['fingerprint'])))
    except TeachingError:
        raise
    except OSError as error:
        raise TeachingError(f'examples cannot be read from {path}: {error.strerror or error}'
                            ) from error
    except Exception as error:  # noqa: B902 - a damaged file fails in as many ways as there are
        raise TeachingError(f'{path} is damaged, or no file of examples ({error}): copy it again, '
                            'or name another') from error
    if fingerprint is not None:
        check(path, examples, fingerprint)
    return examples


def check(path: Path, examples: Examples, fingerprint: str) -> None:
    """
    Raise TeachingError for examples of a file that cannot be compared with what a model sees.

    These are those that were not seen by the model, attention and windows with a fingerprint.
    """
    if examples and examples.fingerprint != fingerprint:
        how = difference(examples.fingerprint, examples[-1].look.model, fingerprint)
        raise TeachingError(
            f'the examples in {path} were seen {how}, and cannot be compared with what this model '
            'sees: go back to that, or name another file and teach anew')


@dataclass(frozen=True, eq=False)
class Kept:
    """The examples of a file that is only read; `digest` changes with them."""

    path: Path
    examples: Examples
    digest: str

    def check(self, fingerprint: str) -> None:
        """Raise TeachingError unless they were seen by what has this fingerprint."""
        check(self.path, self.examples, fingerprint)


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


def _check(tensors: Mapping[str, Tensor], described: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError for tensors that are not those of the examples that are described."""
    if len(described) > MAX_EXAMPLES:
        raise ValueError(f'{len(described)} examples are more than {MAX_EXAMPLES}')
    rows = sum(item['patches'] for item in described)
    sizes = {'keys': len(described), **dict.fromkeys(_BY_PATCH, rows),
             'thumbnails': sum(item['bytes'] for item in described)}
    for name, kind in _TYPES.items():
        tensor = tensors[name]
        wanted = 2 if name in ('keys', 'patches') else 1
        if (tensor.dtype, tensor.ndim, len(tensor)) != (kind, wanted, sizes[name]):
            raise ValueError(f'{name} is {tensor.dtype} of the shape {tuple(tensor.shape)}')
        if not tensor.isfinite().all():
            raise ValueError(f'{name} has numbers that are not finite')
    if tensors['keys'].shape[1] != tensors['patches'].shape[1]:
        raise ValueError('keys and patches differ in their dimensions')
    if min((min(item['patches'], item['bytes'] + 1) for item in described), default=1) < 1:
        raise ValueError('an example has no patch')
    for item in described:
        if not (isinstance(item['name'], str) and item['name'].strip()
                and isinstance(item['camera'], str) and isinstance(item['stamp'], int)
                and isinstance(item['model'], str)):
            raise ValueError(f'an example is {item!r:.80}')


def _examples(tensors: Mapping[str, Tensor], described: Sequence[Mapping[str, Any]],
              fingerprint: str) -> list[Example]:
    counts = [item['patches'] for item in described]
    parts = zip(described, tensors['keys'], *(tensors[name].split(counts) for name in _BY_PATCH),
                tensors['thumbnails'].split([item['bytes'] for item in described]))
    return [
        Example(item['name'], Look(key, patches, inside, stands_for, fingerprint, item['camera'],
                                   item['stamp'], picture.numpy().tobytes(), item['model']))
        for item, key, patches, inside, stands_for, picture in parts]


class ExamplesFile:
    """
    The file that examples are kept in, if any.

    `path` is None where they are kept nowhere: none was named, or what is there cannot be used,
    which `fault` then says, and is left as it is. `fault` also says why the last ones are not in
    the file.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.fault = ''

    def load(self, fingerprint: str) -> Examples:
        """Return the examples of the file that were seen by what has this fingerprint."""
        if self.path is None:
            return Examples()
        try:
            return read(self.path, fingerprint)
        except TeachingError as error:
            self.path = None
            self.fault = f'{error}. It is left as it is, and nothing is written to it'
            return Examples()

    def save(self, examples: Examples) -> None:
        """Write the examples, if there is a file for them."""
        if self.path is None:
            return
        try:
            write(self.path, examples)
            self.fault = ''
        except TeachingError as error:
            self.fault = str(error)
