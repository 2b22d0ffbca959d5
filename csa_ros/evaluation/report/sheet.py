"""Puts pictures and their labels together on a sheet to look at."""

from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros import draw
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np

PANEL_WIDTH = 400
_ALPHA = 0.65
_GAP = 8
_CAPTION = 30
_BACKGROUND, _TEXT = 255, (20, 20, 20)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5


@dataclass(frozen=True)
class Panel:
    """
    A picture (H, W, 3) uint8 with a caption above it.

    With `labels` (H, W) uint8 it lies under the colours of their classes; where there is no class
    (255), it shows.
    """

    caption: str
    rgb: np.ndarray
    labels: np.ndarray | None = None


def sheet(rows: Sequence[Sequence[Panel]], vocabulary: Vocabulary, one_key: bool = False,
          width: int = PANEL_WIDTH) -> np.ndarray:
    """
    Draw rows of panels, `width` pixels wide, and beside each row the key of the colours in it.

    With `one_key`, only the first row has a key, with the colours of all. Returns (H, W, 3)
    uint8, RGB.
    """
    shown = [[panel.labels for panel in row if panel.labels is not None] for row in rows]
    if one_key:
        shown = [sum(shown, [])] + [[]] * (len(rows) - 1)
    bands = [_band(row, labels, vocabulary, width) for row, labels in zip(rows, shown)]
    widest = max(band.shape[1] for band in bands)
    return np.concatenate([
        cv2.copyMakeBorder(band, 0, 0, 0, widest - band.shape[1], cv2.BORDER_CONSTANT,
                           value=[_BACKGROUND] * 3) for band in bands])


def encode(rgb: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) uint8, RGB, as a PNG file."""
    return cv2.imencode('.png', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _band(row: Sequence[Panel], labels: Sequence[np.ndarray], vocabulary: Vocabulary,
          width: int) -> np.ndarray:
    """Return a row of panels with the key of the classes in `labels`."""
    drawn = [_draw(panel, vocabulary.colors, width) for panel in row]
    height = max(image.shape[0] for image in drawn)
    if labels:
        drawn.append(_key(labels, vocabulary, height, width))
    band = np.full((height + _GAP, sum(image.shape[1] + _GAP for image in drawn), 3), _BACKGROUND,
                   np.uint8)
    left = 0
    for image in drawn:
        band[:image.shape[0], left:left + image.shape[1]] = image
        left += image.shape[1] + _GAP
    return band


def _draw(panel: Panel, colors: np.ndarray, width: int) -> np.ndarray:
    """Return a panel under its caption, `width` pixels wide."""
    height, columns = panel.rgb.shape[:2]
    size = width, max(round(height * width / columns), 1)
    smooth = cv2.INTER_AREA if columns > width else cv2.INTER_LINEAR
    image = cv2.resize(panel.rgb, size, interpolation=smooth)
    if panel.labels is not None:
        # Labels have nothing in between.
        labels = cv2.resize(panel.labels, size, interpolation=cv2.INTER_NEAREST)
        image = draw.overlay(image, labels, colors, _ALPHA)
    caption = np.full((_CAPTION, width, 3), _BACKGROUND, np.uint8)
    cv2.putText(caption, _fitting(panel.caption, width), (2, _CAPTION - 10), _FONT, _FONT_SCALE,
                _TEXT, 1, cv2.LINE_AA)
    return np.concatenate([caption, image])


def _key(labels: Sequence[np.ndarray], vocabulary: Vocabulary, height: int, width: int
         ) -> np.ndarray:
    """Return the key of the classes in labels, (height, w, 3) uint8."""
    # The key takes up to half of the picture that it is drawn on.
    image = np.full((height - _CAPTION, width, 3), _BACKGROUND, np.uint8)
    draw.draw_key(image, vocabulary.names, vocabulary.colors,
                  np.concatenate([array.ravel() for array in labels]))
    top = np.full((_CAPTION, width, 3), _BACKGROUND, np.uint8)
    return np.concatenate([top, image])[:, :width // 2 + _GAP]


def _fitting(text: str, width: int) -> str:
    """Cut a caption to the width of a panel."""
    # OpenCV's fonts have no letters beyond ASCII, and would draw question marks.
    text = text.encode('ascii', 'replace').decode()
    while cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0] > width - 4:
        text = f'{text.removesuffix("...")[:-1]}...'
    return text
