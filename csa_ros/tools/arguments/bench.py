"""The command line of `bench`."""

import argparse
from pathlib import Path

from csa_ros.bench.options import add_arguments
from csa_ros.bench.options import TITLES

DESCRIPTION = (
    'Measures what segmentation costs on this machine, and makes the page that shows it.')


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with the options of all sections."""
    parser = argparse.ArgumentParser(
        prog='bench', description=DESCRIPTION,
        epilog='The page: ros2 run csa_ros bench --page performance.md FILE.json [FILE.json ...]')
    parser.add_argument('names', nargs='*', metavar='SECTION',
                        help=f"{', '.join(TITLES)}; all if none is named")
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to FILE')
    parser.add_argument('--page', type=Path, metavar='FILE',
                        help='measure nothing: make a page, and its plots beside it, of the JSON '
                        'files that are named instead of sections')
    parser.add_argument('--threads', type=int, default=0,
                        help='threads on a CPU; 0 takes as many as can run at once')
    add_arguments(parser)
    return parser
