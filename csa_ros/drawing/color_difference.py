"""
How far apart colours look: CIEDE2000, to people who see all colours and to those who do not.

The formula is that of Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula:
implementation notes, supplementary test data, and mathematical observations", 2005, whose pairs
test it. A difference of 1 can just be seen side by side. What the colour-blind see is simulated as
Machado, Oliveira and Fernandes have it in "A physiologically-based model for simulation of color
vision deficiency", 2009, for protanopia and deuteranopia (no red, no green cones).
"""

import numpy as np

# From linear sRGB to CIE XYZ (IEC 61966-2-1).
_TO_XYZ = np.array([
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505]])
# From linear RGB to linear RGB, severity 1.0.
PROTANOPIA = np.array([
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998]])
DEUTERANOPIA = np.array([
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881]])
# One who lacks cones sees differences in fewer directions: there half of the distance has to do.
_WEIGHTS = ((None, 1.0), (PROTANOPIA, 2.0), (DEUTERANOPIA, 2.0))


def distances(first: np.ndarray, second: np.ndarray, cones: np.ndarray | None = None
              ) -> np.ndarray:
    """
    Return the CIEDE2000 differences (N, M) of colours (N, 3) and (M, 3), both uint8 sRGB.

    With `cones`, PROTANOPIA or DEUTERANOPIA, they are those that remain for who has no others.
    """
    return ciede2000(_to_lab(first, cones)[:, np.newaxis], _to_lab(second, cones)[np.newaxis])


def separations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """
    Return how well colours can be told apart by all, (N, M), from uint8 sRGB (N, 3) and (M, 3).

    It is the least of their difference and of twice what is left of it in protanopia and in
    deuteranopia.
    """
    return np.minimum.reduce([
        weight * distances(first, second, cones) for cones, weight in _WEIGHTS])


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the difference of colours in CIE L*a*b*, arrays (..., 3) that broadcast."""
    l1, a1, b1 = np.moveaxis(np.asarray(first, float), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(second, float), -1, 0)
    mean_chroma7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    gain = 1.5 - 0.5 * np.sqrt(mean_chroma7 / (mean_chroma7 + 25.0 ** 7))
    c1, c2 = np.hypot(gain * a1, b1), np.hypot(gain * a2, b2)
    h1 = np.degrees(np.arctan2(b1, gain * a1)) % 360
    h2 = np.degrees(np.arctan2(b2, gain * a2)) % 360

    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    # Of opposite hues the notes take the difference to be 180 if the second is the greater.
    turn = np.where(~grey & (h2 - h1 == 180), 180, turn)
    hue_part = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    far = np.abs(h1 - h2) > 180
    mean_h = (h1 + h2) / 2 + np.where(far, np.where(h1 + h2 < 360, 180, -180), 0)
    mean_h = np.where(grey, h1 + h2, mean_h)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2

    weight = (1 - 0.17 * np.cos(np.radians(mean_h - 30)) + 0.24 * np.cos(np.radians(2 * mean_h))
              + 0.32 * np.cos(np.radians(3 * mean_h + 6))
              - 0.20 * np.cos(np.radians(4 * mean_h - 63)))
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * weight
    rotation = (-2 * np.sqrt(mean_c ** 7 / (mean_c ** 7 + 25.0 ** 7))
                * np.sin(np.radians(60 * np.exp(-((mean_h - 275) / 25) ** 2))))
    light, chroma, hue = (l2 - l1) / s_l, (c2 - c1) / s_c, hue_part / s_h
    # Rounding may leave something below zero of equal colours.
    return np.sqrt(np.maximum(light ** 2 + chroma ** 2 + hue ** 2 + rotation * chroma * hue, 0))


def _to_lab(colors: np.ndarray, cones: np.ndarray | None) -> np.ndarray:
    """
    Return sRGB colours (N, 3) uint8 in CIE L*a*b* (D65), as they are seen through cones.

    OpenCV's conversion differs from one version to the next, and colours must not.
    """
    rgb = np.asarray(colors, np.uint8).reshape(-1, 3) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if cones is not None:
        linear = np.clip(linear @ cones.T, 0, 1)
    xyz = linear @ _TO_XYZ.T / _TO_XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
