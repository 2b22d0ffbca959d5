"""Small pictures with captions, side by side on one."""

from collections.abc import Sequence

from csa_ros.drawing.lettering import pitch
from csa_ros.drawing.lettering import spell
from csa_ros.drawing.lettering import text_mask
import cv2
import numpy as np

_CAP = 9
_GAP = 8
_PAPER, _INK = 255, 20


def thumbnail(rgb: np.ndarray, width: int) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 that is `width` pixels wide."""
    height = max(round(rgb.shape[0] * width / rgb.shape[1]), 1)
    smooth = cv2.INTER_AREA if rgb.shape[1] > width else cv2.INTER_LINEAR
    return cv2.resize(rgb, (width, height), interpolation=smooth)


def contact_sheet(captions: Sequence[str], pictures: Sequence[np.ndarray], columns: int
                  ) -> np.ndarray:
    """
    Draw pictures (h, w, 3) uint8 in rows of `columns`, each under its caption.

    Captions that are too long are cut off. Returns (H, W, 3) uint8, RGB.
    """
    tiles = [np.concatenate([_caption(text, picture.shape[1]), picture])
             for text, picture in zip(captions, pictures)]
    height, width = (max(tile.shape[axis] for tile in tiles) + _GAP for axis in (0, 1))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height, min(columns, len(tiles)) * width, 3), _PAPER, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * height, index % columns * width
        sheet[top:top + tile.shape[0], left:left + tile.shape[1]] = tile
    return sheet


def _caption(text: str, width: int) -> np.ndarray:
    strip = np.full((pitch(_CAP) + _GAP, width, 3), _PAPER, np.uint8)
    ink = text_mask(spell(text, 0), _CAP)[:, :width, np.newaxis]
    place = strip[:ink.shape[0], :ink.shape[1]]
    place[:] = np.round(_PAPER + ink * (_INK - _PAPER))
    return strip
