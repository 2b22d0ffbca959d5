"""How well a model under training segments streets that it is never trained on."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
from csa_ros.demo.scenes import Scene
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.model.backbone import Backbone
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import Vocabulary
import numpy as np

# Those of the evaluation are 0 to 99.
SEEDS = range(200, 224)
# Seconds after the drive has begun, as in the evaluation.
_TIME = 1.0


def streets(seeds: Sequence[int] = SEEDS) -> list[Frame]:
    """Render the streets of seeds."""
    return [Scene(seed).render(_TIME) for seed in seeds]


def class_iou(backbone: Backbone, attention: str, frames: Sequence[Frame]) -> np.ndarray:
    """Return the intersection over union (classes,) float64 of a model with an attention."""
    # What it says of words changes from one call to the next, and must not be kept.
    with TemporaryDirectory() as cache:
        segmenter = Segmenter(backbone, attention, cache_dir=Path(cache), capture=False)
        words = segmenter.encode(Vocabulary.parse(CLASSES))
        matrix = np.zeros((len(CLASSES), len(CLASSES) + 1), np.int64)
        for frame in frames:
            labels = segmenter.segment(frame.rgb, words).labels
            matrix += confusion(frame.labels, labels, len(CLASSES))
    return iou(matrix)
