"""Frames with their truth: pictures with masks of a user's own, or rendered streets."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.files import visible_files
from csa_ros.picture_files import orientation
from csa_ros.picture_files import PictureError
from csa_ros.picture_files import read_picture
from csa_ros.picture_files import SUFFIXES
from csa_ros.sample_range import AUTO
from csa_ros.sample_range import SampleRange
from csa_ros.vocabulary import Vocabulary
import numpy as np
from PIL import Image

# In a truth, beside the ids of classes: a pixel that does not count, and one that shows what the
# vocabulary has no word for. There may be 255 classes, so that the latter is no 8-bit number.
IGNORED, OUTSIDE = 255, 256
MASKS = ('.png',)
STREET_SIZE = (320, 240)
# PIL's modes of one channel; what a palette says of colours does not matter.
_MODES = ('1', 'L', 'P', 'I', 'I;16')
_SHOWN = 3


class FrameError(ValueError):
    """Pictures or masks cannot be used; the message says which, and what to do."""


@dataclass(frozen=True)
class FilePair:
    """
    A picture and its mask: a PNG whose values are ids of the vocabulary.

    In the mask 255 does not count, and the ids in `outside` show what the vocabulary has no word
    for. `samples` is what is known of the 16-bit samples of the pictures; it learns from each.
    """

    image: Path
    mask: Path
    vocabulary: Vocabulary
    outside: tuple[int, ...] = ()
    samples: SampleRange = field(default_factory=SampleRange, compare=False)

    @property
    def name(self) -> str:
        """Name of the frame in reports."""
        return str(self.image)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the picture (H, W, 3) uint8, RGB, and its truth (H, W) int16.

        The truth holds class ids, IGNORED or OUTSIDE. Raises FrameError.
        """
        rgb, ids = self._read_picture(), _read_mask(self.mask)
        if rgb.shape[:2] != ids.shape:
            raise FrameError(
                f'{self.mask} is {_size(ids)} and {self.image} {_size(rgb)} pixels: a mask must '
                f'have the size of its picture{self._turned()}')
        self._check(ids)
        if (ids == IGNORED).all():
            raise FrameError(f'{self.mask} is {IGNORED}, that is unmarked, everywhere: mark '
                             'something, or leave it out')
        truth = ids.astype(np.int16)
        truth[np.isin(ids, self.outside)] = OUTSIDE
        return rgb, truth

    def _read_picture(self) -> np.ndarray:
        try:
            return read_picture(self.image, self.samples)
        except PictureError as error:
            raise FrameError(f'{error}: is it whole, and may you read it?') from error

    def _turned(self) -> str:
        turn = orientation(self.image)
        return '' if turn == 1 else (
            f'. Its EXIF says orientation {turn}, which is not followed: the node sees pixels as '
            'they are stored. Store it upright (`mogrify -auto-orient`), or draw the mask on it '
            'as it is stored')

    def _check(self, ids: np.ndarray) -> None:
        last = len(self.vocabulary) - 1
        values, pixels = np.unique(ids, return_counts=True)
        for value, number in zip(values, pixels):
            if value > last and value != IGNORED and value not in self.outside:
                raise FrameError(
                    f'{self.mask} has the id {value} in {number} pixels, and the ids of the '
                    f'vocabulary end with {last} ({self.vocabulary.names[last]}): masks hold ids '
                    f'in the order of the vocabulary, {IGNORED} where nothing is marked. If '
                    f'{value} is something that has no word, give --outside {value}')


def find_pairs(images: Sequence[Path], masks: Sequence[Path], vocabulary: Vocabulary,
               outside: tuple[int, ...], sensor_bits: str = AUTO
               ) -> tuple[list[FilePair], int]:
    """
    Return the pairs of pictures and masks whose names differ in the suffix alone, sorted.

    `images` and `masks` are folders or files, `sensor_bits` the parameter of the node. The second
    value is the number of pictures without a mask, which are left out. Raises FrameError where
    there is nothing to pair, for a mask without its picture, and for an id in `outside` that means
    something else.
    """
    for value in outside:
        if value < len(vocabulary) or value >= IGNORED:
            meaning = (f'the class {vocabulary.names[value]!r}' if 0 <= value < len(vocabulary)
                       else 'what does not count' if value == IGNORED else 'no 8-bit value')
            raise FrameError(f'the outside id {value} is {meaning}: use one from '
                             f'{len(vocabulary)} to {IGNORED - 1}')
    pictures, truths = _by_stem(images, SUFFIXES, 'picture'), _by_stem(masks, MASKS, 'mask')
    samples = SampleRange(sensor_bits)
    alone = sorted(set(truths) - set(pictures))
    if alone:
        raise FrameError(f'{_some(truths[stem] for stem in alone)} of {len(truths)} masks have no '
                         'picture: a picture and its mask have one name but for the suffix, such '
                         'as front.jpg and front.png')
    for stem, mask in truths.items():
        if mask.samefile(pictures[stem]):
            raise FrameError(f'{mask} is given as a picture and as its mask: give the masks of '
                             'another folder')
    return [FilePair(pictures[stem], mask, vocabulary, outside, samples)
            for stem, mask in sorted(truths.items())], len(pictures) - len(truths)


@dataclass(frozen=True)
class Street:
    """A rendered street of the demo; classes that the vocabulary has no word for are outside."""

    seed: int
    vocabulary: Vocabulary

    @property
    def name(self) -> str:
        """Name of the frame in reports."""
        return f'street {self.seed}'

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture (H, W, 3) uint8, RGB, and its truth (H, W) int16."""
        frame = Scene(self.seed).render(1.0, STREET_SIZE)
        classes = {word.casefold(): index for index, entry in enumerate(self.vocabulary.entries)
                   for word in (*entry.queries, entry.name)}
        table = np.array([classes.get(name, OUTSIDE) for name in CLASSES], np.int16)
        return frame.rgb, table[frame.labels]


def _by_stem(paths: Sequence[Path], suffixes: Sequence[str], what: str) -> dict[str, Path]:
    """Return the files that are meant, by their name without suffix; raise FrameError."""
    files = []
    for path in paths:
        found = (visible_files(path, suffixes) if path.is_dir() else
                 [path] if path.suffix.lower() in suffixes else [])
        if not path.exists():
            raise FrameError(f'{path} does not exist')
        if not found:
            raise FrameError(f'{path} {"has" if path.is_dir() else "is"} no {what}: a {what} is a '
                             f'file that ends in {", ".join(suffixes)}')
        files += found
    number = Counter(file.stem for file in files)
    twice = [file for file in files if number[file.stem] > 1]
    if twice:
        raise FrameError(f'{_some(twice)}: which is the {what}? Give each name once, such as with '
                         f'{twice[0].parent / ("*" + twice[0].suffix)}')
    return {file.stem: file for file in files}


def _read_mask(path: Path) -> np.ndarray:
    """Return the ids of a mask as they are stored, (H, W) integers; raise FrameError."""
    try:
        with Image.open(path) as mask:
            if mask.mode not in _MODES:
                raise FrameError(
                    f'{path} is a colour picture ({mask.mode}): a mask holds the id of each '
                    "pixel's class in one channel; save it as grey or with a palette")
            return np.asarray(mask).astype(np.int64)
    except FrameError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FrameError(f'{path} cannot be read as a mask: {error}') from error


def _size(array: np.ndarray) -> str:
    return f'{array.shape[1]} x {array.shape[0]}'


def _some(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    rest = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + rest
