"""
Weights out of a TorchScript archive, without running anything that is in it.

OpenAI published its models in this form. `torch.jit.load` runs the `__setstate__` of every class
that an archive brings, and TorchScript can write files. So the module's pickle is read here by an
unpickler that knows tensors and plain containers alone. For the layout of an archive see
github.com/pytorch/pytorch/blob/main/torch/csrc/jit/docs/serialization.md.
"""

from collections import OrderedDict
from collections.abc import Iterator
import io
from pathlib import Path
import pickle
from typing import Any
import zipfile

import torch
from torch import Tensor

_DTYPES = {'BFloat16Storage': torch.bfloat16, 'BoolStorage': torch.bool,
           'ByteStorage': torch.uint8, 'DoubleStorage': torch.float64,
           'FloatStorage': torch.float32, 'HalfStorage': torch.float16,
           'IntStorage': torch.int32, 'LongStorage': torch.int64}


def is_archive(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return _root(archive) is not None


def read_weights(path: Path) -> dict[str, Tensor]:
    """
    Return the tensors of an archive's module by name, on the CPU, as its `state_dict` has them.

    Tensors that are mere attributes of a module come too. Raises pickle.UnpicklingError for an
    archive of other than modules, tensors and containers, and whatever else reading a damaged file
    brings about.
    """
    with zipfile.ZipFile(path) as archive:
        root = _root(archive)
        if root is None:
            raise pickle.UnpicklingError('it is no archive of TorchScript')
        module = _Unpickler(archive, root).load()
    return dict(_tensors(module, ''))


def _root(archive: zipfile.ZipFile) -> str | None:
    """Return the folder in an archive that holds everything, None if it is not TorchScript's."""
    constants = '/constants.pkl'
    return next((name.removesuffix(constants) for name in archive.namelist()
                 if name.endswith(constants)), None)


class _Object:
    """Stands in for an object of any class of the archive: its attributes, and no code."""

    attributes: Any = None

    def __setstate__(self, state: Any) -> None:
        self.attributes = state


class _Unpickler(pickle.Unpickler):
    """Calls nothing but what `find_class` returns, none of which does more than it says."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f'{root}/data.pkl')))
        self._archive = archive
        self._folder = f'{root}/data'
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.split('.')[0] == '__torch__':
            return _Object
        if module == 'torch' and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return _view
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if module == 'torch.jit._pickle':
            # They say which type a list or a dictionary has in TorchScript.
            return _first
        raise pickle.UnpicklingError(f'{module}.{name} is no part of a model')

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, *_ = pid
        if key not in self._storages:
            content = bytearray(self._archive.read(f'{self._folder}/{key}'))
            self._storages[key] = torch.frombuffer(content, dtype=dtype)
        return self._storages[key]


def _view(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...],
          *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _first(value: Any, *_: Any) -> Any:
    return value


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    attributes = module.attributes if isinstance(module, _Object) else None
    for name, value in attributes.items() if isinstance(attributes, dict) else ():
        if isinstance(value, Tensor):
            yield f'{prefix}{name}', value
        elif isinstance(value, _Object):
            yield from _tensors(value, f'{prefix}{name}.')
