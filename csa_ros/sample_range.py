"""
Samples of 16 bits to pictures of 8, whatever part of the 16 a camera uses.

Sensors of 10, 12 and 14 bits send their samples as they are, in 16 bits: taken for the whole
range, they are nearly black. Thermal cameras send temperatures, as 27000 to 33000 for -3 to 57
degrees Celsius in steps of 10 mK: taken for the whole range, they are one grey.
"""

import cv2
import numpy as np

AUTO, STRETCH = 'auto', 'stretch'
SENSOR_BITS = (AUTO, *map(str, range(8, 17)), STRETCH)
# Of sensors that there are.
_USUAL_BITS = (8, 10, 12, 14, 16)
# Pixels that may lie beyond, as broken ones do, and those that are taken for ends of the range.
_BROKEN_SHARE = 1e-4
_END_SHARE = 0.01
# Of samples whose least is at least so much, and so great a share of the greatest, it is taken
# that they are temperatures: a camera that sees light has something dark in view. It is known to
# be one of light once the least is below the second share.
_LEAST_TEMPERATURE = 2048
_TEMPERATURES_FROM, _LIGHT_BELOW = 0.5, 0.25
# So little of the greatest sample is never stretched to all greys, or noise would fill a picture.
_LEAST_SPAN = 1 / 32
# Of the ends of the range in each frame, so that greys follow a scene without flicker.
_SHARE_OF_NEW = 0.05
# Of which the ends are told.
_SAMPLES = 2**15


class SampleRange:
    """
    The range of the 16-bit samples of one camera, which it learns from its pictures.

    `bits` is one of SENSOR_BITS: a number, for samples from 0 to 2**bits - 1; `stretch`, for what
    lies between the darkest and the brightest hundredth, which is followed slowly; or `auto`, for
    the least usual number of bits that holds all samples seen so far, or `stretch` where they are
    temperatures. The number of bits only grows, and what was found to be light stays light, so
    that the picture of a scene does not change to and fro.

    Not thread-safe, save the texts.
    """

    def __init__(self, bits: str = AUTO) -> None:
        self.bits = bits
        # What to tell the user: of what was seen, and of what is wrong with it.
        self.summary = self.complaint = ''
        self._shape: tuple[int, ...] = ()
        self._begin()

    def to_8_bit(self, picture: np.ndarray) -> np.ndarray:
        """Return a picture, (H, W) or (H, W, C) uint16, as uint8 of that shape."""
        if picture.shape != self._shape:
            self._shape = picture.shape
            self._begin()
        self._learn(picture)
        if not self._stretches:
            return scale(picture, self._bits)
        low = np.uint16(self._low)
        span = max(self._high - self._low, self._high * _LEAST_SPAN, 1.0)
        return cv2.convertScaleAbs(np.maximum(picture, low) - low, alpha=255 / span)

    @property
    def _stretches(self) -> bool:
        return self.bits == STRETCH or (self.bits == AUTO and self._is_thermal)

    @property
    def _bits(self) -> int:
        return self._needed if self.bits == AUTO else int(self.bits)

    def _begin(self) -> None:
        self._needed = _USUAL_BITS[0]
        self._is_light = self._is_thermal = False
        self._low = self._high = 0.0

    def _learn(self, picture: np.ndarray) -> None:
        greatest = int(picture.max())
        while greatest >= 2**self._needed and (
                np.count_nonzero(picture >= 2**self._needed) > _BROKEN_SHARE * picture.size):
            self._needed = next(bits for bits in _USUAL_BITS if bits > self._needed)
        if not self._is_light or self.bits == STRETCH:
            self._learn_ends(picture.ravel()[::max(picture.size // _SAMPLES, 1)])
        least = int(picture.min())
        shown = 'stretched' if self._stretches else f'as {self._bits} bits'
        self.summary = f'{least} to {greatest}, shown {shown}'
        self.complaint = self._complain(picture, f'the 16-bit samples are {least} to {greatest}')

    def _learn_ends(self, samples: np.ndarray) -> None:
        low, high = np.quantile(samples, (_END_SHARE, 1 - _END_SHARE)).tolist()
        weight = _SHARE_OF_NEW if self._high else 1.0
        self._low += weight * (low - self._low)
        self._high += weight * (high - self._high)
        self._is_light = self._is_light or low < _LIGHT_BELOW * high
        self._is_thermal = not self._is_light and low >= _LEAST_TEMPERATURE and (
            self._is_thermal or low > _TEMPERATURES_FROM * high)

    def _complain(self, picture: np.ndarray, seen: str) -> str:
        """Return what is wrong with a number of bits that the user has set."""
        if self.bits in (AUTO, STRETCH):
            return ''
        if self._is_thermal:
            return (f'{seen}, as of a thermal camera, and nearly one grey with sensor_bits '
                    f'{self.bits}: set sensor_bits to {AUTO} or {STRETCH}')
        if self._needed <= self._bits - 2:
            return (f'{seen}, so that the picture is nearly black with sensor_bits {self.bits}: '
                    f'set sensor_bits to {AUTO} or {self._needed}')
        beyond = np.count_nonzero(picture >= 2**self._bits) if self._bits < 16 else 0
        if beyond > _END_SHARE * picture.size:
            return (f'{seen}, of which {beyond / picture.size:.0%} are white, as they are beyond '
                    f'the {2**self._bits - 1} of sensor_bits {self.bits}: set sensor_bits to '
                    f'{AUTO} or {self._needed}')
        return ''


def scale(picture: np.ndarray, bits: int = 16) -> np.ndarray:
    """
    Return a picture of uint16 samples from 0 to 2**bits - 1 as uint8; what is beyond is white.

    Black and white are kept exactly, as cv_bridge does it for 16 bits, where a shift would darken.
    """
    return cv2.convertScaleAbs(picture, alpha=255 / (2**bits - 1))
