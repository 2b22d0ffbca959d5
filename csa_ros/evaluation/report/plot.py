"""Draws a result: which class is taken for which, and the IoU of each class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import BinaryIO

from csa_ros.bench.plot import PlotError
import numpy as np

# With more classes the cells are too small for numbers.
_MOST_NUMBERED = 30
_MOST_BARS = 60
_TICKS = {'length': 0, 'pad': 2}


def draw_confusion(file: Path | BinaryIO, result: Mapping[str, Any]) -> None:
    """
    Draw a result's confusion matrix as a PNG, each row in percent of the true class.

    Raises PlotError without matplotlib.
    """
    figure_class = _figure_class()
    counts = np.array(result['confusion'], float)
    names = [entry['name'] for entry in result['classes']]
    columns = [*names, 'unknown']
    if not counts[:, -1].any():
        counts, columns = counts[:, :-1], names
    with np.errstate(invalid='ignore'):
        shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    numbered = len(names) <= _MOST_NUMBERED
    cell, font = (0.42, 9) if numbered else (0.13, 6)
    side = cell * len(columns) + 2.6
    figure = figure_class(figsize=(side + 0.8, side), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(shares), cmap=_map(), vmin=0, vmax=100)
    axes.set_facecolor('#dddddd')
    if numbered:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                axes.text(column, row, f'{share:.0f}', ha='center', va='center', fontsize=8,
                          color='white' if share > 55 else 'black')
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=font)
    axes.set_yticks(range(len(names)), names, fontsize=font)
    axes.tick_params(**_TICKS)
    axes.set_xlabel('label')
    axes.set_ylabel('truth')
    axes.set_title(f'{_title(result)}: where the pixels of each class go, in percent',
                   fontsize=11)
    figure.colorbar(image, shrink=0.5, pad=0.02)
    figure.savefig(file, dpi=110)


def draw_classes(file: Path | BinaryIO, result: Mapping[str, Any]) -> None:
    """
    Draw the IoU of each class of a result as a PNG, the best first.

    Raises PlotError without matplotlib.
    """
    figure_class = _figure_class()
    entries = sorted(result['classes'], key=lambda entry: -(entry['iou'] or 0))
    count = -(-len(entries) // _MOST_BARS)
    length = -(-len(entries) // count)
    figure = figure_class(figsize=(1 + 4.6 * count, 1.2 + 0.19 * length), layout='constrained')
    for number, axes in enumerate(figure.subplots(1, count, squeeze=False)[0]):
        part = entries[number * length:(number + 1) * length]
        places = range(len(part))
        axes.barh(places, [100 * (entry['iou'] or 0) for entry in part], color='#0072b2')
        for place, entry in zip(places, part):
            text = 'absent' if entry['iou'] is None else f"{100 * entry['iou']:.1f}"
            axes.text(100 * (entry['iou'] or 0) + 1, place, text, va='center', fontsize=8)
        if result['miou'] is not None:
            axes.axvline(100 * result['miou'], color='#d55e00', linewidth=1)
        axes.set_yticks(places, [entry['name'] for entry in part], fontsize=8)
        axes.tick_params(axis='y', **_TICKS)
        axes.set_ylim(length - 0.4, -0.6)
        axes.set_xlim(0, 109)
        axes.set_xlabel('IoU in percent; line: mean')
        axes.spines[['top', 'right']].set_visible(False)
    figure.suptitle(_title(result), fontsize=11)
    figure.savefig(file, dpi=110)


def _title(result: Mapping[str, Any]) -> str:
    miou = '-' if result['miou'] is None else f"{100 * result['miou']:.1f}"
    return (f"{result['title']}, {result['method']['attention']}, {result['segmented']} of "
            f"{result['total']} pictures, mIoU {miou}")


def _map() -> Any:
    from matplotlib import colormaps
    return colormaps['Blues']


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise PlotError('confusion.png and classes.png need matplotlib: install it with pip '
                        'install matplotlib, or python3-matplotlib from the system, and repeat '
                        'the command') from error
    return Figure
