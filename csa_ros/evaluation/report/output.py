"""
Writes what an evaluation comes to.

    FOLDER/result.md       the figures as tables
    FOLDER/confusion.png   which class is taken for which
    FOLDER/classes.png     the IoU of each class
    FOLDER/worst.png       the pictures with the lowest scores: picture, truth, labels
    FOLDER/result.json     all of the figures; written last
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import io
import json
from pathlib import Path
from typing import Any
from typing import BinaryIO

from csa_ros.bench.plot import PlotError
from csa_ros.evaluation.datasets.reading import read
from csa_ros.evaluation.records import Record
from csa_ros.evaluation.records import write_whole
from csa_ros.evaluation.report import plot
from csa_ros.evaluation.report.result import describe
from csa_ros.evaluation.report.result import percent
from csa_ros.evaluation.report.result import summarise
from csa_ros.evaluation.report.result import worst
from csa_ros.evaluation.report.sheet import encode
from csa_ros.evaluation.report.sheet import Panel
from csa_ros.evaluation.report.sheet import sheet
from csa_ros.evaluation.run import Task

RESULT = 'result.json'
_PLOTS = {'confusion.png': plot.draw_confusion, 'classes.png': plot.draw_classes}
_WORST = 'worst.png'


def write(task: Task, records: Mapping[str, Record], out: Path, command: str,
          worst_count: int) -> tuple[dict[str, Any], str]:
    """
    Write all that comes of the records of a task, unless it is there already.

    `worst_count` is the number of pictures on the sheet of the worst. Returns the result, and what
    could not be drawn and why, or an empty text. Raises OSError.
    """
    folder = task.folder(out)
    stored = _stored(folder / RESULT, task, records)
    fresh = stored is None
    result = summarise(task, records, command) if stored is None else stored
    unplotted = ''
    for name, draw in _PLOTS.items():
        if fresh or not (folder / name).exists():
            unplotted = _plot(folder / name, draw, result) or unplotted
    if fresh or not (folder / _WORST).exists():
        _write_worst(folder / _WORST, task, worst(result, worst_count), result)
    if fresh:
        write_whole(folder / 'result.md', describe(result) + '\n')
        write_whole(folder / RESULT, json.dumps(result, indent=1) + '\n')
    return result, unplotted


def _stored(path: Path, task: Task, records: Mapping[str, Record]) -> dict[str, Any] | None:
    """Return the result that is there if it is that of these pictures."""
    if not path.exists():
        return None
    result = json.loads(path.read_text())
    same = result['method'] == task.identity and result['pictures'].keys() == records.keys()
    return result if same else None


def _plot(path: Path, draw: Callable[[BinaryIO, Mapping[str, Any]], None],
          result: Mapping[str, Any]) -> str:
    """Draw a picture; return why it cannot be drawn, or an empty text."""
    file = io.BytesIO()
    try:
        draw(file, result)
    except PlotError as error:
        # What an earlier run with other pictures has drawn would be taken for this one's.
        path.unlink(missing_ok=True)
        return str(error)
    write_whole(path, file.getvalue())
    return ''


def _write_worst(path: Path, task: Task, names: Sequence[str], result: Mapping[str, Any]) -> None:
    samples = {sample.name: sample for sample in task.samples}
    chosen = [samples[name] for name in names]
    rows = []
    for sample, (rgb, truth) in zip(chosen, read(chosen, workers=0)):
        rows.append([
            Panel(sample.name, rgb),
            Panel('truth', rgb, truth),
            Panel(f"labels: mIoU {percent(result['pictures'][sample.name])}", rgb,
                  task.labels(rgb))])
    if rows:
        write_whole(path, encode(sheet(rows, task.words.vocabulary)))
