"""Pictures to learn from: read when they are wanted, in an order that a seed fixes."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

from csa_ros.model import pixels
from csa_ros.picture_files import PictureError
from csa_ros.picture_files import read_picture
from csa_ros.training.errors import TrainingError
from csa_ros.training.pairs import Pair
import cv2
import numpy as np
from PIL import Image
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset

# Smaller ones show nothing that could be named.
LEAST_SIDE = 16
# Share of the area of a picture, and width to height, of what is seen of it. A caption is about
# all of a picture, so that little is cut off; and little is squashed into the square of the tower.
AREAS, RATIOS = (0.8, 1.0), (3 / 4, 4 / 3)
# The most captions of a picture in a batch.
CAPTIONS = 4


class Batch(NamedTuple):
    """
    Pictures with captions, as many of each.

    `frames` (N, size, size, 3) uint8; `captions` holds N tuples of K texts.
    """

    frames: Tensor
    captions: list[tuple[str, ...]]


# Which picture, and in which epoch; an epoch of None is the picture as it is held out.
Turn = tuple[int | None, int]


def check_pictures(pairs: Iterable[Pair]) -> None:
    """Raise TrainingError for a picture that is none, or too small; only heads are read."""
    for pair in pairs:
        try:
            with Image.open(pair.picture) as picture:
                width, height = picture.size
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise TrainingError(f'{pair.picture} cannot be read as a picture ({error}): replace '
                                'it, or remove it from the captions') from error
        if min(width, height) < LEAST_SIDE:
            raise TrainingError(
                f'{pair.picture} has {width} x {height} pixels: with less than {LEAST_SIDE} a '
                'side it shows nothing to learn from; replace it, or remove it from the captions')


class Pictures(Dataset):
    """
    Pictures at the size of a tower, and captions of each, by their `Turn`.

    What is cut and which captions are drawn depends on the seed, the epoch and the picture alone,
    and not on what was read before.
    """

    def __init__(self, pairs: Sequence[Pair], size: int, seed: int) -> None:
        self._pairs, self._size, self._seed = pairs, size, seed
        self._captions = min(CAPTIONS, max(len(pair.captions) for pair in pairs))

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, turn: Turn) -> tuple[np.ndarray, tuple[str, ...]] | TrainingError:
        epoch, index = turn
        pair = self._pairs[index]
        try:
            picture = read_picture(pair.picture)
        except PictureError as error:
            # Raised in another process it would come out with a traceback in its text.
            return TrainingError(f'{error}: replace it, and give the same command again')
        size = picture.shape[:2]
        cut = middle(*size) if epoch is None else _part(self._random(epoch, index), *size)
        frame = pixels.resize(picture[cut], (self._size, self._size))
        return frame, self.captions(turn)

    def captions(self, turn: Turn) -> tuple[str, ...]:
        """Return the captions of a picture in its turn, as many as of every other."""
        epoch, index = turn
        own = self._pairs[index].captions
        order = (range(len(own)) if epoch is None
                 else self._random(epoch, index, 1).permutation(len(own)))
        # A picture with fewer captions than others says them again.
        return tuple(own[order[k % len(order)]] for k in range(self._captions))

    def _random(self, *turn: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, *turn))


def middle(height: int, width: int) -> tuple[slice, slice]:
    """Return the middle of a picture, as much of it as RATIOS allow."""
    low, high = RATIOS
    h, w = min(height, round(width / low)), min(width, round(height * high))
    top, left = (height - h) // 2, (width - w) // 2
    return slice(top, top + h), slice(left, left + w)


def _part(random: np.random.Generator, height: int, width: int) -> tuple[slice, slice]:
    """Return most of a picture, as RandomResizedCrop of torchvision does, but never less."""
    low, high = np.log(RATIOS)
    rows, columns = middle(height, width)
    area = (rows.stop - rows.start) * (columns.stop - columns.start) * random.uniform(*AREAS)
    ratio = np.exp(np.clip(np.log(width / height) + random.uniform(-0.1, 0.1), low, high))
    h, w = (max(1, min(side, round(length))) for side, length in (
        (height, np.sqrt(area / ratio)), (width, np.sqrt(area * ratio))))
    top, left = (int(random.integers(0, room + 1)) for room in (height - h, width - w))
    return slice(top, top + h), slice(left, left + w)


def turns(count: int, batch: int, seed: int, first: int, last: int) -> Iterator[list[Turn]]:
    """
    Yield what is in each batch from step `first` to before `last`, of `count` pictures.

    Each epoch has its own order, and leaves out what does not fill a batch.
    """
    per_epoch = count // batch
    for step in range(first, last):
        epoch, place = divmod(step, per_epoch)
        if place == 0 or step == first:
            order = np.random.default_rng((seed, epoch)).permutation(count)
        yield [(epoch, int(i)) for i in order[place * batch:(place + 1) * batch]]


def batches(pictures: Pictures, chosen: Iterable[list[Turn]], workers: int) -> Iterator[Batch]:
    """
    Yield batches of pictures, in order, as lists of turns name them.

    `workers` is the number of processes that read ahead; 0: this one reads. Raises TrainingError
    for a picture that cannot be read.
    """
    # Forked workers would start sooner, and hang where a library has threads already.
    loader = DataLoader(pictures, batch_sampler=chosen, collate_fn=_collect, num_workers=workers,
                        worker_init_fn=_use_one_thread,
                        multiprocessing_context='spawn' if workers else None)
    for batch in loader:
        if isinstance(batch, TrainingError):
            raise batch
        yield batch


def _collect(samples: list) -> Batch | TrainingError:
    for sample in samples:
        if isinstance(sample, TrainingError):
            return sample
    frames, captions = zip(*samples)
    return Batch(torch.from_numpy(np.stack(frames)), list(captions))


def _use_one_thread(_: int) -> None:
    cv2.setNumThreads(1)
