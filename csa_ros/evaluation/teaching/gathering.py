"""From pictures with truth to examples: one of each class and picture, far from one another."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from csa_ros.evaluation.labelled_frames import FilePair
from csa_ros.evaluation.labelled_frames import Street
from csa_ros.segmenter import Segmenter
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.vocabulary import Vocabulary
from tqdm import tqdm

Item = TypeVar('Item')
# The golden ratio less 1: multiples of it fill a circle evenly, however many there are.
_GOLDEN = (5 ** 0.5 - 1) / 2


@dataclass(frozen=True)
class Gathered:
    """
    Examples of classes, and by name how many there are of pictures, and how many were left out.

    `too_small` counts pictures in which a class has less than half of any patch.
    """

    examples: Examples
    counts: Mapping[str, int]
    too_small: Mapping[str, int]


def gather(segmenter: Segmenter, frames: Sequence[FilePair | Street], vocabulary: Vocabulary,
           classes: Sequence[str], per_class: int, examples: Examples = Examples()) -> Gathered:
    """
    Add to examples the regions of classes, names of the vocabulary, in at most so many frames.

    What is in a frame's truth under the id of a class is one region. A frame that a class was
    shown in before counts, and is not shown again. Raises TeachingError for `examples` that
    another model has seen, `csa_ros.evaluation.labelled_frames.FrameError` for a file that
    cannot be used, and what `Segmenter.see` raises.
    """
    ids = {name: vocabulary.names.index(name) for name in classes}
    counts = dict.fromkeys(classes, 0)
    too_small: Counter[str] = Counter()
    known = {(example.name, example.look.camera) for example in examples}
    # Without a terminal (disable=None) a bar would fill a log.
    for frame in tqdm(spread(frames), unit='frame', disable=None):
        wanted = [name for name in classes if counts[name] < per_class]
        if not wanted:
            break
        rgb, truth = frame.read()
        shown = [name for name in wanted if (truth == ids[name]).any()]
        if not shown:
            continue
        sight = segmenter.see(rgb)
        for name in shown:
            if (name, picture_name(frame)) not in known:
                try:
                    look = sight.look(truth == ids[name], picture_name(frame))
                except TeachingError:
                    too_small[name] += 1
                    continue
                examples = examples.add(name, look)
            counts[name] += 1
    return Gathered(examples, counts, too_small)


def picture_name(frame: FilePair | Street) -> str:
    """Return what stands for the camera in examples of a frame."""
    return Path(frame.name).name


def spread(items: Sequence[Item]) -> list[Item]:
    """Return items in an order in which the first few, however many, lie far from one another."""
    order = sorted(range(len(items)), key=lambda index: index * _GOLDEN % 1)
    return [items[index] for index in order]
