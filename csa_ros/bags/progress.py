"""How far the work is, for somebody who watches."""

import sys
import time
from typing import Any

from tqdm import tqdm

# Seconds between two lines in a log.
PERIOD = 60.0
_FORMAT = ('{percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s of recording '
           '[{elapsed}<{remaining}{postfix}]')


class Progress:
    """A bar over `total` seconds of recording time; a line now and then without a terminal."""

    def __init__(self, total: float) -> None:
        self.images = 0
        self._total = total
        self._done = 0.0
        self._begun = self._said = time.monotonic()
        # Without a terminal (disable=None) a bar would fill a log.
        self._bar = tqdm(total=total, bar_format=_FORMAT, disable=None)

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    @property
    def rate(self) -> float:
        """Return the images per second until now."""
        return self.images / max(time.monotonic() - self._begun, 1e-9)

    def image(self) -> None:
        """Count an image that has been labelled."""
        self.images += 1
        self._bar.set_postfix_str(f'{self.rate:.1f} images/s', refresh=False)

    def advance(self, seconds: float) -> None:
        """Go on by seconds of recording time."""
        self._bar.update(seconds)
        self._done += seconds
        now = time.monotonic()
        if self._bar.disable and now - self._said > PERIOD:
            self._said = now
            print(f'{self._done:.0f} of {self._total:.0f} s of recording, {self.images} images, '
                  f'{self.rate:.1f} a second', file=sys.stderr, flush=True)
