"""What leaving one out came to, as a table and as pictures."""

from pathlib import Path
import re

from csa_ros.bench.timing import table
from csa_ros.evaluation.report.sheet import encode
from csa_ros.evaluation.report.sheet import Panel
from csa_ros.evaluation.report.sheet import sheet
from csa_ros.evaluation.teaching.gathering import picture_name
from csa_ros.evaluation.teaching.leaving_out import Measured
from csa_ros.evaluation.teaching.leaving_out import SHOWN
from csa_ros.evaluation.teaching.leaving_out import Trial
from csa_ros.evaluation.teaching.leaving_out import TUNED
from csa_ros.evaluation.teaching.leaving_out import WORD
import numpy as np

_CALLED = {WORD: 'word alone', SHOWN: 'shown', TUNED: 'tuned'}


def describe(trial: Trial, measured: Measured) -> str:
    """
    Return the IoU of each class in each way as a table in markdown, and their mean.

    The mean is that of the classes that are in the truth of any frame.
    """
    found = [measured.iou(way) for way in trial.ways]
    there = [index for index in range(len(trial.vocabulary)) if measured.showing(index)]
    rows = []
    for index in there:
        name = trial.vocabulary.names[index]
        rows.append([name, str(trial.counts.get(name, 0)),
                     *(_number(values[index]) for values in found)])
    rows.append(['mean', '', *(_number(np.mean(values[there])) for values in found)])
    return table(['IoU', 'examples', *(_CALLED[way] for way in trial.ways)], rows)


def draw(folder: Path, trial: Trial, measured: Measured) -> list[Path]:
    """
    Draw a picture of each class that was shown into a folder; return their paths.

    Each has the frame where showing has gained most, one where it has gained as much as in half of
    the frames, and the one where it has lost most: the truth, and the labels in each way. Raises
    OSError, and what `Trial.labelled` raises.
    """
    paths = []
    for index, name in enumerate(trial.vocabulary.names):
        frames = measured.showing(index)
        if not frames or not trial.counts.get(name):
            continue
        path = folder / f'{index:03d}_{re.sub(r"[^-a-zA-Z0-9]+", "_", name)}.png'
        rows = [_row(trial, measured, index, frame)
                for frame in _telling(measured, trial.ways[-1], index, frames)]
        path.write_bytes(encode(sheet(rows, trial.vocabulary)))
        paths.append(path)
    return paths


def _telling(measured: Measured, way: str, class_id: int, frames: list[int]) -> list[int]:
    """Return of frames that with the largest gain, one with half, and that with the least."""
    gains = {frame: measured.iou_in(way, frame)[class_id]
             - measured.iou_in(WORD, frame)[class_id] for frame in frames}
    order = sorted(frames, key=lambda frame: -gains[frame])
    return list(dict.fromkeys((order[0], order[len(order) // 2], order[-1])))


def _row(trial: Trial, measured: Measured, class_id: int, frame: int) -> list[Panel]:
    labelled = trial.labelled(frame)

    def alone(labels: np.ndarray) -> np.ndarray:
        return np.where(labels == class_id, class_id, 255).astype(np.uint8)

    name = picture_name(trial.frames[frame])
    truth = Panel(f'{name}: truth', labelled.rgb, alone(labelled.truth))
    return [truth, *(
        Panel(f'{_CALLED[way]}: IoU {_number(measured.iou_in(way, frame)[class_id])}',
              labelled.rgb, alone(labels)) for way, labels in labelled.labels.items())]


def _number(value: float) -> str:
    return f'{value:.3f}'
