"""Draws a calibration: risk over coverage, and both over the threshold."""

from pathlib import Path
from typing import TYPE_CHECKING

from csa_ros.bench.plot import PlotError
from csa_ros.evaluation.calibration.curve import Calibration
from csa_ros.evaluation.calibration.curve import THRESHOLDS
from csa_ros.evaluation.calibration.curve import Wish
import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of a palette that the colour-blind can tell apart (Okabe and Ito).
RISK, COVERAGE, OUTSIDE, CHOSEN = '#d55e00', '#0072b2', '#009e73', '#000000'
# Where fewer pixels are labelled the risk is that of a few patches, and its bounds are 0 and 1.
LEAST_COVERAGE = 0.005


def draw(path: Path, calibration: Calibration, wish: Wish, level: int | None,
         title: str) -> None:
    """
    Draw a calibration as a picture, of the format that the path's suffix names.

    `level` is the one chosen for the wish, None if there is none. Raises PlotError as `check`.
    """
    check(path)
    from matplotlib.figure import Figure
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    left, right = figure.subplots(1, 2)
    _draw_risk(left, calibration, wish, level)
    _draw_thresholds(right, calibration, level)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)


def check(path: Path) -> None:
    """Raise PlotError without matplotlib, or for a suffix that it cannot draw."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ModuleNotFoundError as error:
        raise PlotError('the plot needs matplotlib: install it with pip install matplotlib, or '
                        'python3-matplotlib from the system') from error
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise PlotError(f'{path} cannot be drawn: let it end in .png, or one of '
                        f'{", ".join(sorted(formats))}')


def _draw_risk(axes: 'Axes', calibration: Calibration, wish: Wish, level: int | None) -> None:
    """Draw the risk over the coverage, with the bounds of the risk and what was wished for."""
    coverage, bounds = calibration.coverage, calibration.bounds
    shown = coverage >= LEAST_COVERAGE
    if bounds:
        axes.fill_between(coverage, bounds.risk_low, bounds.risk_high, where=shown, color=RISK,
                          alpha=0.2, linewidth=0, label=_band(calibration))
    axes.plot(coverage[shown], calibration.risk[shown], color=RISK, label='risk')
    (axes.axhline if wish.name == 'risk' else axes.axvline)(
        wish.value, color=CHOSEN, linewidth=1, linestyle=':', label=f'wish: {wish.name}')
    if level is not None:
        point = coverage[level], calibration.risk[level]
        axes.plot(*point, 'o', color=CHOSEN)
        left = point[0] > 0.5
        axes.annotate(f'threshold {THRESHOLDS[level]:.3g}:\nrisk {point[1]:.3f}, coverage '
                      f'{point[0]:.2f}', point, textcoords='offset points',
                      xytext=(-10 if left else 10, 22), ha='right' if left else 'left',
                      fontsize=9)
    axes.set_xlabel('coverage: share of pixels that are labelled')
    axes.set_ylabel('risk: share of errors among them')
    axes.set_title(f'Risk and coverage, AURC {calibration.aurc:.3f}', fontsize=10)
    top = max((bounds.risk_high if bounds else calibration.risk)[shown])
    _finish(axes, 1.3 * max(top, 0.01), columns=3)


def _draw_thresholds(axes: 'Axes', calibration: Calibration, level: int | None) -> None:
    """Draw risk and coverage over the threshold, and how much of what has no word is left."""
    bounds = calibration.bounds
    lines = [('coverage', COVERAGE, calibration.coverage,
              (bounds.coverage_low, bounds.coverage_high) if bounds else None),
             ('risk', RISK, calibration.risk,
              (bounds.risk_low, bounds.risk_high) if bounds else None)]
    if calibration.outside_share:
        lines.append(('labelled, of what has no word', OUTSIDE, calibration.outside_kept,
                      None))
    shown = calibration.coverage >= LEAST_COVERAGE
    for name, color, values, band in lines:
        if band:
            axes.fill_between(THRESHOLDS, *band, where=shown, color=color, alpha=0.2, linewidth=0)
        axes.plot(THRESHOLDS[shown], values[shown], color=color, label=name)
    if level is not None:
        axes.axvline(THRESHOLDS[level], color=CHOSEN, linewidth=1, linestyle='--')
    axes.set_xlabel('unknown_threshold')
    axes.set_title(f'What the threshold does, {len(calibration)} frames', fontsize=10)
    _finish(axes, 1.02, columns=3)


def _band(calibration: Calibration) -> str:
    return f'in {2 * calibration.confidence - 1:.0%} of resamples of frames'


def _finish(axes: 'Axes', top: float, columns: int) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, top)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.grid(alpha=0.3)
    # Below, where no curve can be.
    axes.legend(fontsize=8, frameon=False, loc='upper center', bbox_to_anchor=(0.5, -0.13),
                ncols=columns)
    axes.spines[['top', 'right']].set_visible(False)
