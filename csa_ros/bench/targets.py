"""What a section was meant to reach, whether it did, and how figures are written."""

from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros.bench.timing import table


@dataclass(frozen=True)
class Target:
    """
    One aim and what was measured.

    `measured` says it in words and is empty, with `met` None, where this machine cannot tell.
    """

    aim: str
    measured: str = ''
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """Return `met`, `not met` or `not measured here`."""
        return {True: 'met', False: 'not met', None: 'not measured here'}[self.met]


def listed(targets: Sequence[Target]) -> str:
    """Return targets as a markdown table."""
    return table(['target', 'measured', 'verdict'],
                 [[target.aim, target.measured, target.verdict] for target in targets])


def in_ms(milliseconds: float) -> str:
    """Return milliseconds with three figures or so."""
    return f'{milliseconds:.2f}' if milliseconds < 10 else f'{milliseconds:.0f}'


def in_mib(memory: int | None) -> str:
    """Return bytes as MiB, or a question mark where they are not known."""
    return '?' if memory is None else f'{memory / 2 ** 20:.1f}'


def percent(share: float) -> str:
    """Return a share so that 99.99 % can be told from all; rounded down."""
    return f'{int(share * 1e5) / 1e3:.3f} %'
