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
        self._count(self.images + 1)

    def advance(self, seconds: float) -> None:
        """Go on by seconds of recording time."""
        self._bar.update(seconds)
        self._done += seconds
        self._tell_now_and_then()

    def show(self, images: int, seconds: float, by_node: str) -> None:
        """Show what others have done until now, and how fast each of them is."""
        self._count(images, by_node)
        # Less than before where a part is done again.
        self._bar.n = self._done = min(seconds, self._total)
        self._bar.refresh()
        self._tell_now_and_then()

    def _count(self, images: int, by_node: str = '') -> None:
        self.images = images
        self._bar.set_postfix_str(f'{self.rate:.1f} images/s{by_node}', refresh=False)

    def _tell_now_and_then(self) -> None:
        now = time.monotonic()
        if self._bar.disable and now - self._said > PERIOD:
            self._said = now
            print(f'{self._done:.0f} of {self._total:.0f} s of recording, {self.images} images, '
                  f'{self.rate:.1f} a second', file=sys.stderr, flush=True)
