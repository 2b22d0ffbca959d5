"""
How sure is sure enough: the risk and the coverage of labels as the threshold moves.

A pixel is labelled where the probability of its class reaches the threshold, and unknown
elsewhere. Coverage is the share of pixels that are labelled, risk the share of errors among these:
selective classification, Geifman and El-Yaniv, "Selective classification for deep neural networks"
(arXiv 1705.08500). A pixel of something that the vocabulary has no word for is an error wherever
it is labelled.

All of it comes from one histogram of the published confidences for each frame, 0 to 255, so that
memory does not grow with the pixels. Pixels of a frame are alike, frames are not: bounds come from
resampling frames, never pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from csa_ros.evaluation.labelled_frames import IGNORED
from csa_ros.evaluation.labelled_frames import OUTSIDE
from csa_ros.segmenter import Result
import numpy as np
from numpy.typing import ArrayLike

LEVELS = 256
# The published confidence is round(255 p). A threshold half a level below a confidence labels
# that confidence and all above, and nothing below: the probability is known no better.
THRESHOLDS = np.round(np.maximum(np.arange(LEVELS) - 0.5, 0) / (LEVELS - 1), 6)
RESAMPLES = 1000
# Choosing is repeated without each of so many groups of frames.
MOST_FOLDS = 20
_RIGHT, _WRONG, _OUTSIDE = range(3)


def count(truth: np.ndarray, result: Result) -> np.ndarray:
    """
    Return the histograms of a frame's confidences: right, wrong and outside pixels.

    `truth` is (H, W) int16: class ids, IGNORED or OUTSIDE. `result` must have been made with a
    threshold of 0. Returns (3, LEVELS) int64. Raises ValueError for another size.
    """
    if truth.shape != result.labels.shape:
        raise ValueError(f'labels have shape {result.labels.shape}, the truth {truth.shape}: they '
                         'must be of one size')
    kind = np.where(truth == OUTSIDE, _OUTSIDE,
                    np.where(truth == result.labels, _RIGHT, _WRONG))
    cells = kind * LEVELS + result.confidence
    return np.bincount(cells[truth != IGNORED], minlength=3 * LEVELS).reshape(3, LEVELS)


@dataclass(frozen=True)
class Wish:
    """
    What a threshold is chosen for: a risk not to exceed, or a coverage to keep.

    `name` is 'risk' or 'coverage', `value` from 0 to 1.
    """

    name: str
    value: float


@dataclass(frozen=True)
class Bounds:
    """Bounds at each level, (LEVELS,) float64: each holds in a share of the resamples."""

    coverage_low: np.ndarray
    coverage_high: np.ndarray
    risk_low: np.ndarray
    risk_high: np.ndarray


class Calibration:
    """
    Risk and coverage over frames, at each of THRESHOLDS.

    `counts` are those of `count`, one for each frame. `confidence` is the share of resamples in
    which each bound holds. The resamples are the same for the same frames and `seed`.
    """

    def __init__(self, counts: Sequence[np.ndarray], confidence: float = 0.95,
                 seed: int = 0) -> None:
        """Raise ValueError for frames without a pixel that counts, or no frames at all."""
        if not len(counts):
            raise ValueError('no frames: give at least one')
        self.counts = np.asarray(counts, np.int64)
        if not self.counts.any(axis=(1, 2)).all():
            raise ValueError('a frame has no pixel that counts: leave it out')
        self.confidence = confidence
        self.seed = seed
        # Of each frame, how many of each kind are labelled at each level: (F, 3, LEVELS).
        self._kept = self.counts[..., ::-1].cumsum(axis=2)[..., ::-1]
        self._labelled = self._kept.sum(axis=1)
        self._errors = self._labelled - self._kept[:, _RIGHT]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.counts)

    @property
    def pixels(self) -> int:
        """Pixels that count."""
        return int(self.counts.sum())

    @property
    def outside_share(self) -> float:
        """Share of the pixels that show what the vocabulary has no word for."""
        return float(self.counts[:, _OUTSIDE].sum() / self.pixels)

    @property
    def saturated_share(self) -> float:
        """Share of the pixels with the highest confidence, which no threshold tells apart."""
        return float(self.counts[..., -1].sum() / self.pixels)

    @property
    def accuracy(self) -> float:
        """Share of right labels without a threshold; the mean confidence should be like it."""
        return float(1 - self.risk[0])

    @property
    def mean_confidence(self) -> float:
        """Mean probability of the winning classes."""
        histogram = self.counts.sum(axis=(0, 1))
        return float(histogram @ np.arange(LEVELS) / ((LEVELS - 1) * self.pixels))

    @cached_property
    def coverage(self) -> np.ndarray:
        """Share of pixels that are labelled: (LEVELS,) float64."""
        return self._labelled.sum(axis=0) / self.pixels

    @cached_property
    def risk(self) -> np.ndarray:
        """Share of errors among them: (LEVELS,) float64, NaN where nothing is labelled."""
        return _share(self._errors.sum(axis=0), self._labelled.sum(axis=0))

    @cached_property
    def outside_kept(self) -> np.ndarray:
        """Share of the outside pixels that are labelled: (LEVELS,), NaN without such pixels."""
        kept = self._kept[:, _OUTSIDE].sum(axis=0)
        return _share(kept, np.full(LEVELS, kept[0]))

    @property
    def aurc(self) -> float:
        """
        Area under the risk-coverage curve.

        That is the mean, over all pixels, of the risk at the highest threshold that keeps the
        pixel; pixels of one confidence go together.
        """
        shares = -np.diff(self.coverage, append=0)
        return float(np.nansum(shares * self.risk))

    def frame_risk(self, level: int) -> np.ndarray:
        """Return the risk of each frame at a level: (F,), NaN where nothing is labelled."""
        return _share(self._errors[:, level], self._labelled[:, level])

    @cached_property
    def bounds(self) -> Bounds | None:
        """
        Bounds for the mean over frames like these; None with one frame, which tells nothing.

        Percentiles of a bootstrap over the frames. Of F frames F - 1 are drawn at a time, as the
        spread of F would be too small by a factor of sqrt((F - 1) / F): Hesterberg, "What teachers
        should know about the bootstrap" (arXiv 1411.5279), section 3.2. A resample in which
        nothing is labelled counts as a risk of 1 for the upper bound, and of 0 for the lower one.
        """
        frames = len(self)
        if frames < 2:
            return None
        draws = np.random.default_rng(self.seed).multinomial(
            frames - 1, np.full(frames, 1 / frames), RESAMPLES).astype(float)
        labelled, errors = draws @ self._labelled, draws @ self._errors
        coverage = labelled / labelled[:, :1]
        risk = _share(errors, labelled)
        last = RESAMPLES - 1
        high = min(int(np.ceil(self.confidence * RESAMPLES)), last)

        def at(values: np.ndarray, index: int) -> np.ndarray:
            return np.partition(values, index, axis=0)[index]

        return Bounds(at(coverage, last - high), at(coverage, high),
                      at(np.nan_to_num(risk, nan=0), last - high),
                      at(np.nan_to_num(risk, nan=1), high))

    def choose(self, wish: Wish) -> int | None:
        """
        Return the level whose threshold grants a wish, None if no threshold does.

        For a risk it is the lowest whose upper bound is not above it, for a coverage the highest
        whose lower bound is not below it. With one frame the figures stand in for their bounds.
        """
        if wish.name == 'risk':
            risk = self.bounds.risk_high if self.bounds else np.nan_to_num(self.risk, nan=1)
            levels = np.flatnonzero(risk <= wish.value)
            return int(levels[0]) if len(levels) else None
        coverage = self.bounds.coverage_low if self.bounds else self.coverage
        levels = np.flatnonzero(coverage >= wish.value)
        return int(levels[-1]) if len(levels) else None

    def least_risk(self) -> int:
        """Return the level with the lowest risk (bound), and of equal ones the lowest."""
        return int(np.nanargmin(self.bounds.risk_high if self.bounds else self.risk))

    def held_out(self, wish: Wish) -> dict[str, float] | None:
        """
        Choose without some of the frames, and look how those fare; None with fewer than 3 frames.

        Each frame is left out once, one by one up to MOST_FOLDS frames, else in so many groups.
        Returns `folds`, `unmet` (the folds in which no threshold grants the wish), and the `risk`
        and `coverage` of the frames that were left out in the others (NaN if nothing is labelled).
        """
        if len(self) < 3:
            return None
        folds = min(len(self), MOST_FOLDS)
        group = np.arange(len(self)) % folds
        pixels, labelled, errors, unmet = 0, 0, 0, 0
        for fold in range(folds):
            out = group == fold
            level = Calibration(self.counts[~out], self.confidence, self.seed).choose(wish)
            if level is None:
                unmet += 1
                continue
            pixels += self._labelled[out, 0].sum()
            labelled += self._labelled[out, level].sum()
            errors += self._errors[out, level].sum()
        return {'folds': folds, 'unmet': unmet, 'risk': float(_share(errors, labelled)),
                'coverage': float(_share(labelled, pixels))}


def _share(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """Return part / whole as float64, NaN where the whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
