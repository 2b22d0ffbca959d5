"""Fetch the weights of a model beforehand, so that the node can load them without a network."""

import argparse
import sys

from csa_ros.model.backbone import DEFAULT_MODEL
from csa_ros.model.backbone import find_weights
from csa_ros.model.backbone import ModelError
from csa_ros.model.backbone import parse_model
import open_clip


def main(args: list[str] | None = None) -> int:
    """Download the weights of one model with a progress bar; return the exit status."""
    parser = argparse.ArgumentParser(
        prog='fetch_model',
        description='Download the weights of a model into the cache of this user. The node and '
                    'the Python interface then load them without a network.')
    parser.add_argument(
        'model', nargs='?', default=DEFAULT_MODEL, metavar='ARCH/TAG',
        help='an open_clip pair, as for the parameter model of the node (default: %(default)s)')
    model = parser.parse_args(args).model
    try:
        fetch(model)
    except ModelError as error:
        print(f'fetch_model: {error}', file=sys.stderr)
        return 1
    return 0


def fetch(model: str) -> None:
    """
    Download the weights of `ARCH/TAG` unless they are here; ModelError if that fails.

    A model that cannot be used is refused before anything is downloaded.
    """
    source = parse_model(model)
    try:
        path = find_weights(source)
    except ModelError:
        if source.pretrained is None:
            raise
        _download(model, source.pretrained)
        path = find_weights(source)
    print(f'{model} is at {path} ({path.stat().st_size / 2**20:.0f} MiB)')


def _download(model: str, pretrained: dict) -> None:
    print(f'fetching {model} ...', flush=True)
    try:
        open_clip.download_pretrained(pretrained)
    except Exception as error:  # noqa: B902 - each transport of the hub client raises its own
        reason = str(error).rstrip('.')
        raise ModelError(f'could not download {model}: {reason}. Check the network, or copy the '
                         'cache folder of a machine that has the weights') from error


if __name__ == '__main__':
    sys.exit(main())
