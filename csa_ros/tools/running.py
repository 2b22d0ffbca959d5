"""How a tool runs: what goes wrong is a sentence on stderr, and an exit status."""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import signal
import sys

FAILED = 1


def run_tool(parser: argparse.ArgumentParser, check: Callable[[argparse.Namespace], None],
             run: Callable[[argparse.Namespace], int], errors: tuple[type[Exception], ...],
             args: Sequence[str] | None, interrupted: str = 'interrupted') -> int:
    """
    Return the exit status of `run`, FAILED if it raises one of `errors`, 130 after Ctrl-C.

    Exits with 2 if the arguments do not parse, or `check` raises ValueError for them.
    """
    options = parser.parse_args(args)
    try:
        check(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        return run(options)
    except KeyboardInterrupt:
        reason, status = interrupted, 128 + signal.SIGINT
    except errors as error:
        reason, status = str(error), FAILED
    print(f'{parser.prog}: {reason}', file=sys.stderr, flush=True)
    return status
