"""
What a camera does to a picture: motion blur, drops, exposure, vignette, noise and compression.

Every function takes a picture (H, W, 3) uint8, RGB, and returns one; labels stay what they are.
How much it does is drawn from a numpy Generator, whose seed is that of the drive, so that it stays
the same from frame to frame.
"""

from collections.abc import Sequence

import cv2
import numpy as np


def _short(rgb: np.ndarray) -> float:
    """Return the short side in 240ths: sizes below are in pixels of a picture so high."""
    return min(rgb.shape[:2]) / 240


def motion_blur(rgb: np.ndarray, random: np.random.Generator, time: float, center: Sequence[float]
                ) -> np.ndarray:
    """
    Blur by what the camera moves while its shutter is open.

    Driving moves everything away from `center`, the pixel (x, y) that it drives to; shaking, which
    changes with `time` in seconds, moves everything alike. The middle of the exposure stays where
    it is.
    """
    growth = random.uniform(0.002, 0.011)
    shake = random.uniform(0.0, 1.3, 2) * _short(rgb)
    phase = random.uniform(0, 2 * np.pi, 2)
    shift = shake * np.sin(np.array((7.1, 8.3)) * time + phase)
    image = rgb
    # Four moments, half a step to one and a half before and after: two averages of two.
    for step in (0.5, 1.0):
        moments = []
        for share in (-step, step):
            zoom = 1 + share * growth
            matrix = np.array([[zoom, 0, center[0] * (1 - zoom) + share * shift[0]],
                               [0, zoom, center[1] * (1 - zoom) + share * shift[1]]])
            moments.append(cv2.warpAffine(image, matrix, rgb.shape[1::-1],
                                          borderMode=cv2.BORDER_REPLICATE))
        image = cv2.addWeighted(moments[0], 0.5, moments[1], 0.5, 0)
    return image


def drops(rgb: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Put drops of water on the lens: out of focus, each shows the scene upside down."""
    height, width = rgb.shape[:2]
    size = _short(rgb)
    soft = cv2.GaussianBlur(rgb, (0, 0), 4 * size)
    image = rgb.astype(np.float32)
    for _ in range(random.integers(2, 9)):
        x, y = random.uniform(0, 1, 2) * (width, height)
        radius = random.uniform(3, 11) * size
        top, bottom = (int(np.clip(y + s * 1.6 * radius, 0, height)) for s in (-1, 1))
        left, right = (int(np.clip(x + s * 1.3 * radius, 0, width)) for s in (-1, 1))
        if bottom - top < 2 or right - left < 2:
            continue
        rows, columns = np.ogrid[top:bottom, left:right]
        far = np.hypot((columns - x) / radius, (rows - y) / (radius * 1.2))
        share = np.clip((1.05 - far) * 3, 0, 0.85)[..., None].astype(np.float32)
        # Darker towards the upper rim, brighter towards the lower.
        rim = 1 + 0.35 * ((rows - y) / (radius * 1.2) * np.clip(far, 0, 1) ** 2)[..., None]
        inside = soft[top:bottom, left:right][::-1] * rim.astype(np.float32)
        patch = image[top:bottom, left:right]
        patch += (inside - patch) * share
    return np.clip(image, 0, 255).astype(np.uint8)


def exposure(rgb: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Expose too long or too short, with a wrong white balance, other contrast and colours."""
    stops, gamma = random.uniform(-0.6, 0.6), random.uniform(0.8, 1.2)
    balance = np.exp(random.normal(0, 0.05, 3))
    saturation = random.uniform(0.5, 1.1)
    grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = cv2.addWeighted(rgb, saturation, grey, 1 - saturation, 0)
    levels = np.arange(256)[:, None] / 255
    table = 255 * np.clip(levels * 2 ** stops * balance, 0, 1) ** gamma
    return cv2.LUT(image, np.rint(table).astype(np.uint8)[None])


def vignette(rgb: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Darken the corners."""
    height, width = rgb.shape[:2]
    y, x = np.ogrid[-1:1:height * 1j, -1:1:width * 1j]
    share = 1 - random.uniform(0.12, 0.5) * (x ** 2 + y ** 2) / 2
    return (rgb * share[..., None].astype(np.float32)).astype(np.uint8)


def noise(rgb: np.ndarray, random: np.random.Generator, time: float) -> np.ndarray:
    """
    Add the noise of a sensor: that of the light and that of reading out.

    Its variance is linear in the brightness (Foi et al., IEEE TIP 2008,
    doi:10.1109/TIP.2008.2001399); every `time` has its own.
    """
    gain, read = random.uniform(0.02, 0.35), random.uniform(0.5, 4.0)
    moment = np.random.default_rng((int(random.integers(2 ** 31)), round(abs(time) * 1e3)))
    image = rgb.astype(np.float32)
    sigma = np.sqrt(gain * image + read ** 2)
    image += moment.standard_normal(rgb.shape, np.float32) * sigma
    return np.clip(image, 0, 255).astype(np.uint8)


def compression(rgb: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Compress as JPEG does, and decompress."""
    quality = int(random.integers(22, 75))
    _, data = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR),
                           (cv2.IMWRITE_JPEG_QUALITY, quality))
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    # None is for data that are no picture.
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
