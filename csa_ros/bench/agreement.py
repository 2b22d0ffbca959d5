"""How far an inexact option moves the labels of the demo model, which knows what it sees."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from csa_ros.bench import inputs
from csa_ros.demo.scenes import CLASSES
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
import numpy as np
from tqdm import tqdm

STREETS = range(10)
STREET_SIZE = (640, 480)

Label = Callable[[np.ndarray], np.ndarray]


def compare(reference: Label, options: Mapping[Any, Label], seeds: Iterable[int],
            size: tuple[int, int], progress: tqdm | None = None) -> dict[Any, dict[str, float]]:
    """
    Label rendered streets with every option and with the reference.

    Each function takes an image (H, W, 3) uint8 and returns labels (H, W) uint8 in the order of
    `csa_ros.demo.scenes.CLASSES`. `size` is (width, height). Returns for each option `equal`, the
    share of pixels labelled as by the reference, and `iou`, the mean over the classes of their
    intersection over union with the truth; the reference itself is among them, as 'reference'.
    """
    every: dict[Any, Label] = {'reference': reference, **options}
    equal: dict[Any, list[float]] = {name: [] for name in every}
    counts = dict.fromkeys(every, np.zeros((len(CLASSES), len(CLASSES) + 1), np.int64))
    for seed in seeds:
        frame = inputs.street(seed, size)
        labels = {name: function(frame.rgb) for name, function in every.items()}
        for name, found in labels.items():
            equal[name].append(np.mean(found == labels['reference']))
            counts[name] = counts[name] + confusion(frame.labels, found, len(CLASSES))
        if progress is not None:
            progress.update()
    return {name: {'equal': float(np.mean(equal[name])),
                   'iou': float(np.nanmean(iou(counts[name])))} for name in every}
