"""What tools that read masks take."""

import argparse
from pathlib import Path

# Of --demo.
STREETS = 20


def ids(text: str) -> tuple[int, ...]:
    """Return a list of ids, with commas between them; raise ArgumentTypeError."""
    try:
        return tuple(int(item) for item in text.split(','))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no list of ids: write 254 or 253,254') from error


def add_frames(parser: argparse.ArgumentParser, outside: str = '', demo: str = '') -> None:
    """Add which frames to take; `outside` and `demo` go on with what these mean."""
    frames = parser.add_argument_group('frames')
    frames.add_argument('--images', nargs='+', type=Path, default=[], metavar='PATH',
                        help='pictures, or folders of them')
    frames.add_argument('--masks', nargs='+', type=Path, default=[], metavar='PATH',
                        help='their masks, or folders of them: front.png is that of front.jpg')
    frames.add_argument('--outside', type=ids, default=(), metavar='ID,ID',
                        help='ids in the masks of what the vocabulary has no word for' + outside)
    frames.add_argument('--demo', action='store_true',
                        help='instead of pictures: streets that render themselves' + demo)
    frames.add_argument('--limit', type=int, metavar='N',
                        help=f'take at most so many frames (default: all; {STREETS} of --demo)')


def check_frames(options: argparse.Namespace) -> None:
    """Raise ValueError if these cannot be taken."""
    files = bool(options.images or options.masks)
    if options.demo == files or bool(options.images) != bool(options.masks):
        raise ValueError('give --images and --masks, or --demo')
    if options.demo and options.outside:
        raise ValueError('--outside is for masks: in --demo it is what has no word')
    if options.limit is not None and options.limit < 1:
        raise ValueError(f'--limit is {options.limit}: it must be at least 1')
