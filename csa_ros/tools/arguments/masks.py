"""What tools that read masks take."""

import argparse


def ids(text: str) -> tuple[int, ...]:
    """Return a list of ids, with commas between them; raise ArgumentTypeError."""
    try:
        return tuple(int(item) for item in text.split(','))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no list of ids: write 254 or 253,254') from error
