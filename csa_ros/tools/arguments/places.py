"""Where tools read and write: folders and files of this machine, and URLs that fsspec knows."""

import argparse
from pathlib import Path

from csa_ros.urls import place
from csa_ros.urls import UrlError


def anywhere(text: str) -> Path:
    """Return a path, or what passes for one of a URL; raise ArgumentTypeError."""
    try:
        return place(text)
    except UrlError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def here(text: str) -> Path:
    """Return a path; raise ArgumentTypeError for a URL."""
    if '://' in text:
        raise argparse.ArgumentTypeError(
            f'{text} is a URL, and lines are added to files there one by one: name a folder, for '
            '--ray one that all nodes share')
    return Path(text)
