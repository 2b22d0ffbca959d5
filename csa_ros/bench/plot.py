"""Draws what the core section measured: where the time of a frame goes, and what a class costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from csa_ros.bench.frames import STAGES
from csa_ros.bench.targets import in_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of a palette that the colour-blind can tell apart (Okabe and Ito), and grey.
COLORS = {'upload': '#009e73', 'encode': '#bbbbbb', 'decide': '#d55e00', 'download': '#0072b2'}
NAMES = {'upload': 'upload, resize', 'encode': 'encode', 'decide': 'merge and decide',
         'download': 'download'}
PATHS = {'plain': '#888888', 'exact': '#d55e00'}


class PlotError(RuntimeError):
    """A plot cannot be drawn; the message says what to install."""


def draw(path: Path, result: dict, machine: str) -> None:
    """
    Draw a result of `csa_ros.bench.core` as a PNG.

    `machine` is what it was measured on. Raises PlotError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise PlotError('the plot needs matplotlib: install it with pip install matplotlib, or '
                        'python3-matplotlib from the system') from error
    rows = [row for row in result['frames'] if _size(row) == _size(result['frames'][0])]
    figure = Figure(figsize=(11, 4.6), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_stages(left, rows)
    _draw_decision(right, result['one_core'] or rows, rows)
    width, height = _size(rows[0])
    figure.suptitle(f"One {width} x {height} frame, {rows[0]['windows']} windows, "
                    f"{result['model']} on {machine}", fontsize=11)
    figure.savefig(path, dpi=120)


def _size(row: dict) -> tuple[int, int]:
    return row['width'], row['height']


def _draw_stages(axes: 'Axes', rows: Sequence[dict]) -> None:
    """Draw a bar for each path and precision with its stages, for the most classes."""
    most = max((row['classes'], row['queries']) for row in rows)
    rows = [row for row in rows if (row['classes'], row['queries']) == most]
    names = [f"{row['path']} {row['precision']}" for row in rows]
    start = [0.0] * len(rows)
    for stage in STAGES:
        widths = [row[stage] for row in rows]
        axes.barh(names, widths, left=start, color=COLORS[stage], label=NAMES[stage])
        start = [before + width for before, width in zip(start, widths)]
    # On a GPU a frame takes less than its stages one by one.
    totals = [row['total']['median_ms'] for row in rows]
    axes.plot(totals, names, 'k|', markersize=18, label='frame, host to host')
    for place, (end, total, row) in enumerate(zip(start, totals, rows)):
        axes.text(max(end, total), place, f"  {in_ms(total)} ms, {row['ratio']:.1f} x",
                  va='center', fontsize=9)
    axes.set_xlim(0, 1.25 * max(*start, *totals))
    axes.invert_yaxis()
    axes.set_xlabel('ms, median of each stage')
    axes.set_title(f'Where the time goes, {most[0]} classes', fontsize=10)
    axes.legend(fontsize=8, loc='lower right', frameon=False)
    axes.spines[['top', 'right']].set_visible(False)


def _draw_decision(axes: 'Axes', rows: Sequence[dict], frames: Sequence[dict]) -> None:
    """Draw what merge and decision take by the number of classes, one query each."""
    precision = frames[0]['precision']
    for name, color in PATHS.items():
        points = sorted((row['queries'], _milliseconds(row['decide']), row['decide_memory'])
                        for row in rows if row['path'] == name and row['precision'] == precision
                        and row['classes'] == row['queries'] and _size(row) == _size(frames[0]))
        if not points:
            axes.set_visible(False)
            return
        queries, times, memories = zip(*points)
        axes.plot(queries, times, 'o-', color=color, label=name)
        if memories[-1] is not None:
            axes.annotate(f'{memories[-1] / 2 ** 20:.0f} MiB', (queries[-1], times[-1]),
                          textcoords='offset points', xytext=(-4, 7), ha='right', fontsize=8,
                          color=color)
    axes.set_xscale('log')
    axes.set_yscale('log')
    axes.set_xticks(queries, queries)
    axes.minorticks_off()
    axes.set_xlabel('classes')
    axes.set_ylabel('ms')
    axes.set_title('Merge and decision' + (', one core' if rows is not frames else ''),
                   fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[['top', 'right']].set_visible(False)


def _milliseconds(value: dict | float) -> float:
    return value['median_ms'] if isinstance(value, dict) else value
