"""What a run found: figures, failures, a table, a file, an exit status."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
import json
from pathlib import Path
import shlex
import sys

from csa_ros.bench.timing import machine
from csa_ros.bench.timing import table
from remote import StressError
from tqdm import tqdm

# More of the same say nothing more.
SHOWN_FAILURES = 20


@dataclass
class Report:
    """
    What was measured, by what it is, and what went wrong.

    `figures` are shown in their order; a name says the unit.
    """

    figures: dict[str, float | int | str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a failure unless something holds."""
        if not holds:
            self.failures.append(otherwise)

    def __str__(self) -> str:
        """Return the table, and the failures below it."""
        rows = [[name, f'{value:.4g}' if isinstance(value, float) else value]
                for name, value in self.figures.items()]
        lines = [table(['what', 'figure'], rows), '']
        lines += [f'FAILED: {failure}' for failure in self.failures[:SHOWN_FAILURES]]
        hidden = len(self.failures) - SHOWN_FAILURES
        if hidden > 0:
            lines.append(f'... and {hidden} more')
        return '\n'.join([*lines, 'failed' if self.failures else 'passed'])


def run(description: str, add_arguments: Callable[[argparse.ArgumentParser], None],
        measure: Callable[[argparse.Namespace, tqdm, Report], None]) -> int:
    """Be the main function of a script; return the exit status, 1 if something failed."""
    parser = argparse.ArgumentParser(description=description)
    add_arguments(parser)
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to FILE')
    options = parser.parse_args()
    report = Report()
    try:
        with tqdm(leave=False, disable=None) as progress:
            measure(options, progress, report)
    except StressError as error:
        report.failures.append(str(error))
    print(report)
    if options.json:
        command = shlex.join(['python', *sys.argv])
        options.json.write_text(json.dumps(
            {'machine': machine(), 'command': command, **asdict(report)}, indent=1) + '\n')
    return 1 if report.failures else 0
