"""
The letters of a colour key, in whatever script.

OpenCV's fonts have ASCII alone, which is quick and the same everywhere. Other scripts are drawn by
Pillow, with a font of this machine that has the letters: fontconfig knows which, and where there
is none, the usual folders of fonts are searched, and that of matplotlib.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from functools import lru_cache
import importlib.util
import os
from pathlib import Path
import subprocess
import unicodedata

import cv2
import numpy as np
from PIL import features
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

_SUPERSAMPLING = 4
_CAP_HEIGHT_OF_FONT = 22
# Of the size of most fonts.
_CAP_HEIGHT_SHARE = 0.72
_LATIN = str.maketrans({
    'ß': 'ss', 'æ': 'ae', 'Æ': 'AE', 'œ': 'oe', 'Œ': 'OE', 'ø': 'o', 'Ø': 'O', 'ł': 'l', 'Ł': 'L',
    'đ': 'd', 'Đ': 'D', 'ð': 'd', 'þ': 'th', 'ı': 'i', '’': "'", '–': '-'})
_FONT_FILES = ('.ttf', '.otf', '.ttc')
# No font has a letter here, so that it shows what a font draws of letters that it lacks.
_NO_LETTER = '\U0010fffe'


@lru_cache(maxsize=2048)
def spell(name: str, class_id: int) -> str:
    """
    Return a name in letters that can be drawn.

    Accents on Latin letters are dropped; a name in a script that no font has is `#id`.
    """
    text = _ascii(name)
    return text or (name if find_font(name) else f'#{class_id}')


def unspelled(names: Sequence[str]) -> list[str]:
    """Return the names that can only be shown as `#id`, for want of a font."""
    return [name for name in names if not _ascii(name) and not find_font(name)]


def pitch(cap: int) -> int:
    """Return the distance between two rows for a height of capitals, both in pixels."""
    return round(1.75 * cap)


@lru_cache(maxsize=2048)
def text_mask(text: str, cap: int) -> np.ndarray:
    """Return the coverage, (pitch, w) float32 of 0..1, of a text whose capitals are `cap` high."""
    canvas, scale = _draw_ascii(text, cap) if text.isascii() else _draw_any(text, cap)
    inked = np.flatnonzero(canvas.any(axis=0))
    if not len(inked):
        return np.zeros((pitch(cap), 1), np.float32)
    width = -(-(inked[-1] + 1 - inked[0]) // scale)
    canvas = canvas[:, inked[0]:inked[0] + width * scale]
    return cv2.resize(canvas, (width, pitch(cap)), interpolation=cv2.INTER_AREA) / np.float32(255)


@lru_cache(maxsize=1024)
def find_font(text: str) -> Path | None:
    """Return the file of a font that has all letters of a text, None if there is none."""
    if _is_shaped(text) and not features.check('raqm'):
        return None
    letters = sorted({letter for letter in text if not letter.isspace()})
    return next((path for path in (*_fonts_of_system(letters), *_font_files())
                 if _has_letters(path, letters)), None)


def _ascii(name: str) -> str:
    """Return the name in the characters that OpenCV's fonts have; empty if they lack some."""
    letters = unicodedata.normalize('NFKD', name.translate(_LATIN))
    text = ''.join(letter for letter in letters if not unicodedata.combining(letter))
    return text if text.isascii() and text.isprintable() and text.strip() else ''


def _draw_ascii(text: str, cap: int) -> tuple[np.ndarray, int]:
    """Return the text, drawn larger by a scale, and that scale."""
    large = _SUPERSAMPLING * cap
    canvas = np.zeros((_SUPERSAMPLING * pitch(cap), (len(text) + 2) * 2 * large), np.uint8)
    cv2.putText(canvas, text, (large // 2, _SUPERSAMPLING * _baseline(cap)),
                cv2.FONT_HERSHEY_SIMPLEX, large / _CAP_HEIGHT_OF_FONT, 255, max(1, large // 10),
                cv2.LINE_AA)
    return canvas, _SUPERSAMPLING


def _draw_any(text: str, cap: int) -> tuple[np.ndarray, int]:
    """Return the text as Pillow draws it, and a scale of 1; blank where there is no font."""
    path = find_font(text)
    if path is None:
        return np.zeros((pitch(cap), 1), np.uint8), 1
    font = ImageFont.truetype(str(path), round(cap / _CAP_HEIGHT_SHARE))
    canvas = Image.new('L', (int(font.getlength(text)) + 4 * cap, pitch(cap)))
    ImageDraw.Draw(canvas).text((cap, _baseline(cap)), text, 255, font, anchor='ls')
    return np.asarray(canvas), 1


def _baseline(cap: int) -> int:
    return (pitch(cap) - cap) // 2 + cap


def _is_shaped(text: str) -> bool:
    """Return whether letters join, or run from right to left: Pillow needs libraqm for that."""
    return any(unicodedata.bidirectional(letter) in ('R', 'AL')
               or unicodedata.category(letter) == 'Mc' for letter in text)


def _fonts_of_system(letters: Sequence[str]) -> list[Path]:
    """Return what fontconfig finds best for some letters; nothing without it."""
    codes = ' '.join(f'{ord(letter):x}' for letter in letters)
    try:
        found = subprocess.run(
            ['fc-match', '--format=%{file}', f'sans:charset={codes}'], check=True, timeout=10,
            capture_output=True, text=True)
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError):
        return []
    return [Path(found.stdout)] if found.stdout.lower().endswith(_FONT_FILES) else []


def _font_files() -> Iterator[Path]:
    """
    Yield the fonts in the folders where systems and users have them.

    Without LastResort, which matplotlib brings: it has boxes for all letters.
    """
    home = Path(os.environ.get('HOME') or '/')
    folders = [Path('/usr/share/fonts'), Path('/usr/local/share/fonts'),
               home / '.local/share/fonts', home / '.fonts']
    matplotlib = importlib.util.find_spec('matplotlib')
    if matplotlib and matplotlib.origin:
        folders.append(Path(matplotlib.origin).parent / 'mpl-data/fonts/ttf')
    for folder in folders:
        for path in sorted(folder.rglob('*')):
            if path.suffix.lower() in _FONT_FILES and not path.name.startswith('LastResort'):
                yield path


def _has_letters(path: Path, letters: Sequence[str]) -> bool:
    try:
        font = ImageFont.truetype(str(path), 16)
        blank = bytes(font.getmask(_NO_LETTER))
        return all(any(mask) and mask != blank
                   for mask in (bytes(font.getmask(letter)) for letter in letters))
    except (ImportError, OSError, UnicodeError, ValueError):
        return False
