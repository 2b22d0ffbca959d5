"""
Files of examples, out of which nothing is run, whatever it is that was shown.

They are safetensors files. Their metadata say which form they have, what has seen the examples,
and of each its name, camera, stamp, what the model was called, and how much of the tensors is its
own: of `thumbnails`, which lie one behind the other, so many bytes.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any
from typing import Generic
from typing import TypeVar

from csa_ros.files import write_whole
from csa_ros.teaching.collection import Collection
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.fingerprint import difference
from safetensors import safe_open
from safetensors.torch import save
import torch
from torch import Tensor

_THUMBNAILS = 'thumbnails'
Shown = TypeVar('Shown', bound=Collection)
Tensors = Mapping[str, Tensor]
Described = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Form(Generic[Shown]):
    """
    How examples of one kind lie in a file.

    `name` is what the metadata call it, and `tensors` are its tensors with their types and
    dimensions. `pack` returns the tensors of examples, and what is said of each beside what is
    said of all kinds. `rows` returns the first size that each tensor must have, by what is said.
    `unpack` returns the examples; each of `details` goes into a look beside its tensors. It raises
    ValueError for what no examples could be.
    """

    name: str
    empty: Shown
    tensors: Mapping[str, tuple[torch.dtype, int]]
    pack: Callable[[Shown], tuple[dict[str, Tensor], Sequence[dict[str, Any]]]]
    rows: Callable[[Described], dict[str, int]]
    unpack: Callable[[Tensors, Described, Described], Shown]


def write(path: Path, examples: Shown, form: Form[Shown]) -> None:
    """
    Write examples; the file appears, or takes the place of an older one, when it is whole.

    Raises TeachingError if that fails, and leaves what was there.
    """
    tensors, sizes = form.pack(examples)
    described = [
        {'name': example.name, 'camera': example.look.camera, 'stamp': example.look.stamp,
         'model': example.look.model, **size, 'bytes': len(example.look.thumbnail)}
        for example, size in zip(examples, sizes)]
    thumbnails = bytearray(b''.join(example.look.thumbnail for example in examples))
    tensors[_THUMBNAILS] = (torch.frombuffer(thumbnails, dtype=torch.uint8) if thumbnails
                            else torch.empty(0, dtype=torch.uint8))
    metadata = {'format': form.name, 'fingerprint': examples.fingerprint,
                'examples': json.dumps(described)}
    try:
        # Not save_file, which lets nobody else read what it writes.
        write_whole(path, lambda draft: draft.write_bytes(save(tensors, metadata)))
    except OSError as error:
        raise TeachingError(f'examples cannot be written to {path} ({error.strerror or error}): '
                            'make room there, or let the node write to it') from error


def read(path: Path, form: Form[Shown], fingerprint: str | None = None) -> Shown:
    """
    Return the examples of a file, none if there is no file.

    Raises TeachingError for one that cannot be read or is damaged, and what `check` raises if a
    fingerprint is given.
    """
    if not path.exists():
        return form.empty
    try:
        with safe_open(path, framework='pt') as file:
            metadata = file.metadata() or {}
            found = metadata.get('format', '')
            if found != form.name:
                raise TeachingError(
                    f'{path} is in the form {found!r}, and this csa_ros reads {form.name!r}: name '
                    'a file that it has written, or one that is yet to be')
            tensors = {name: file.get_tensor(name) for name in (*form.tensors, _THUMBNAILS)}
        described = json.loads(metadata['examples'])
        _check(tensors, described, form)
        examples = form.unpack(
            tensors, described, _details(tensors, described, metadata['fingerprint']))
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


def check(path: Path, examples: Collection, fingerprint: str) -> None:
    """
    Raise TeachingError for examples of a file that cannot be compared with what a model sees.

    These are those that were not seen by what has this fingerprint.
    """
    if examples and examples.fingerprint != fingerprint:
        how = difference(examples.fingerprint, examples[-1].look.model, fingerprint)
        raise TeachingError(
            f'the examples in {path} were seen {how}, and cannot be compared with what this model '
            'sees: go back to that, or name another file and teach anew')


def _check(tensors: Tensors, described: Described, form: Form[Shown]) -> None:
    """Raise ValueError for tensors that are not those of the examples that are described."""
    if len(described) > form.empty.most:
        raise ValueError(f'{len(described)} examples are more than {form.empty.most}')
    rows = {**form.rows(described), _THUMBNAILS: sum(item['bytes'] for item in described)}
    for name, (kind, dimensions) in {**form.tensors, _THUMBNAILS: (torch.uint8, 1)}.items():
        tensor = tensors[name]
        if (tensor.dtype, tensor.ndim, len(tensor)) != (kind, dimensions, rows[name]):
            raise ValueError(f'{name} is {tensor.dtype} of the shape {tuple(tensor.shape)}')
        if not tensor.isfinite().all():
            raise ValueError(f'{name} has numbers that are not finite')
    for item in described:
        if not (isinstance(item['name'], str) and item['name'].strip()
                and isinstance(item['camera'], str) and isinstance(item['stamp'], int)
                and isinstance(item['model'], str) and item['bytes'] >= 0):
            raise ValueError(f'an example is {item!r:.80}')


def _details(tensors: Tensors, described: Described, fingerprint: str) -> list[dict[str, Any]]:
    """Return what a look has of any kind, for each example."""
    pictures = tensors[_THUMBNAILS].split([item['bytes'] for item in described])
    return [
        {'fingerprint': fingerprint, 'thumbnail': picture.numpy().tobytes(),
         **{name: item[name] for name in ('camera', 'stamp', 'model')}}
        for item, picture in zip(described, pictures)]


class KeptExamples(Generic[Shown]):
    """
    The file that examples are kept in, if any.

    `path` is None where they are kept nowhere: none was named, or what is there cannot be used,
    which `fault` then says, and is left as it is. `fault` also says why the last ones are not in
    the file.
    """

    def __init__(self, path: Path | None, form: Form[Shown]) -> None:
        self.path = path
        self.fault = ''
        self._form = form

    def load(self, fingerprint: str) -> Shown:
        """Return the examples of the file that were seen by what has this fingerprint."""
        if self.path is None:
            return self._form.empty
        try:
            return read(self.path, self._form, fingerprint)
        except TeachingError as error:
            self.path = None
            self.fault = f'{error}. It is left as it is, and nothing is written to it'
            return self._form.empty

    def save(self, examples: Shown) -> None:
        """Write the examples, if there is a file for them."""
        if self.path is None:
            return
        try:
            write(self.path, examples, self._form)
            self.fault = ''
        except TeachingError as error:
            self.fault = str(error)
