"""
How well classes are found by words alone, by examples, and by words that learned from them.

A frame is labelled without the examples that it gave. Of more frames than MOST_FOLDS some are
labelled together, without the examples of any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from csa_ros.evaluation.calibration.curve import MOST_FOLDS
from csa_ros.evaluation.labelled_frames import FilePair
from csa_ros.evaluation.labelled_frames import OUTSIDE
from csa_ros.evaluation.labelled_frames import Street
from csa_ros.evaluation.teaching.gathering import picture_name
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.teaching.examples import Examples
from csa_ros.vocabulary import Vocabulary
import numpy as np
from tqdm import tqdm

# By what classes are found: the words alone, with examples, and after APE-T.
WORD, SHOWN, TUNED = WAYS = 'word', 'shown', 'tuned'


@dataclass(frozen=True)
class Labelled:
    """
    A frame as it is labelled in each way.

    `rgb` (H, W, 3) uint8; `truth` (H, W) int16 as from `FilePair.read`; `labels` (H, W) uint8, by
    way.
    """

    rgb: np.ndarray
    truth: np.ndarray
    labels: dict[str, np.ndarray]


class Trial:
    """
    Labels frames without the examples that they gave, in the first ways, or with `tuned` all.

    `examples` are of the names of a `vocabulary`, and those that a frame gave have its
    `picture_name` as their camera; `counts` says how many there are of each name.
    """

    def __init__(self, segmenter: Segmenter, vocabulary: Vocabulary,
                 prompts: str | tuple[str, ...], frames: Sequence[FilePair | Street],
                 examples: Examples, tuned: bool) -> None:
        self.frames = frames
        self.folds = min(len(frames), MOST_FOLDS)
        self.vocabulary = vocabulary
        self.counts = examples.counts
        self.ways = WAYS if tuned else (WORD, SHOWN)
        self._segmenter = segmenter
        self._examples = examples
        self._plain = segmenter.encode(vocabulary, prompts)
        self._prompts = prompts
        self._words = lru_cache(maxsize=None)(self._encode)

    def labelled(self, index: int) -> Labelled:
        """Return a frame, labelled; errors of reading and of the segmenter pass through."""
        rgb, truth = self.frames[index].read()
        segmenter, settings = self._segmenter, self._segmenter.settings
        pixels = segmenter.pixels([rgb], settings)
        # Of all ways the tower sees the same.
        features = segmenter.features(pixels, settings)
        return Labelled(rgb, truth, {
            way: segmenter.decide(features, words, rgb.shape[:2], settings, pixels
                                  ).labels[0].cpu().numpy()
            for way, words in self._words(index % self.folds).items()})

    def _encode(self, fold: int) -> dict[str, Words]:
        """Return the words for the frames of a fold, by way."""
        theirs = {picture_name(frame) for frame in self.frames[fold::self.folds]}
        others = Examples(tuple(
            example for example in self._examples if example.look.camera not in theirs))
        shown = self._segmenter.encode(self.vocabulary, self._prompts, others)
        words = {WORD: self._plain, SHOWN: shown}
        if TUNED in self.ways:
            # Nothing is left of a class that this fold alone has shown.
            words[TUNED] = shown if shown.cache is None else self._segmenter.tune(shown, others)
        return words


@dataclass(frozen=True)
class Measured:
    """
    What a trial came to.

    `counts` has of each way, for each frame, the pixels of each true class that got each label,
    (frames, C + 1, C + 2) int64: the last true class is what has no word.
    """

    counts: dict[str, np.ndarray]

    def iou(self, way: str) -> np.ndarray:
        """Return each class's IoU over all frames, (C,) float64, NaN where it is in none."""
        return iou(self.counts[way].sum(0))[:-1]

    def iou_in(self, way: str, frame: int) -> np.ndarray:
        """Return each class's IoU in a frame, (C,) float64, NaN where it is not in it."""
        return iou(self.counts[way][frame])[:-1]

    def showing(self, class_id: int) -> list[int]:
        """Return the frames whose truth has a class."""
        return np.flatnonzero(
            self.counts[WORD][:, class_id].sum(axis=1)).tolist()


def measure(trial: Trial) -> Measured:
    """Label all frames of a trial; errors as for `Trial.labelled`."""
    classes = len(trial.vocabulary)
    counts: dict[str, list[np.ndarray]] = {way: [] for way in trial.ways}
    for index in tqdm(range(len(trial.frames)), unit='frame', disable=None):
        frame = trial.labelled(index)
        truth = np.where(frame.truth == OUTSIDE, classes,
                         np.where(frame.truth < classes, frame.truth, classes + 1))
        for way, labels in frame.labels.items():
            counts[way].append(confusion(truth, labels, classes + 1))
    return Measured({way: np.stack(matrices) for way, matrices in counts.items()})
