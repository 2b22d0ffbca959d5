"""Pictures with their truth, read ahead by other processes."""

from collections.abc import Iterator
from collections.abc import Sequence
import os
import threading
import time
from typing import Any

from csa_ros.evaluation.datasets.benchmark import BenchmarkError
from csa_ros.evaluation.datasets.benchmark import Sample
import cv2
import numpy as np
from torch.utils.data import DataLoader
from torch.utils.data import Dataset

Picture = tuple[np.ndarray, np.ndarray]


def read(samples: Sequence[Sample], workers: int) -> Iterator[Picture]:
    """
    Yield the picture and the truth of each sample, in order, as `Sample.read` returns them.

    `workers` is the number of processes that read ahead; 0: this one reads. Raises BenchmarkError
    for the first that cannot be read, or whose truth is of another size.
    """
    loader = DataLoader(_Pictures(samples), batch_size=None, collate_fn=_same,
                        num_workers=workers, worker_init_fn=_begin)
    for sample, read_ in zip(samples, loader):
        if isinstance(read_, BenchmarkError):
            raise read_
        picture, truth = read_
        if picture.shape[:2] != truth.shape:
            raise BenchmarkError(
                f'{sample.name}: the picture has {picture.shape[1]} x {picture.shape[0]} pixels '
                f'and its truth {truth.shape[1]} x {truth.shape[0]}: unpack the data set again')
        yield picture, truth


class _Pictures(Dataset):
    """What a DataLoader reads: pictures, or why one cannot be read."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Picture | BenchmarkError:
        try:
            return self._samples[index].read()
        except BenchmarkError as error:
            # Raised here it would come out with the traceback of the worker in its text.
            return error


def _same(read_: Any) -> Any:
    """Return what was read; the default would make tensors of it."""
    return read_


def _begin(_: int) -> None:
    # The threads of OpenCV's pool stay behind in the process that a worker is a copy of.
    cv2.setNumThreads(0)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is killed: it would wait to hand over what it has read."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
