"""The command line of `fetch_model`."""

import argparse

from csa_ros.choices import DEFAULT_MODEL


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='fetch_model',
        description='Download the weights of a model into the cache of this user. The node and '
                    'the Python interface then load them without a network.')
    parser.add_argument(
        'model', nargs='?', default=DEFAULT_MODEL,
        help='a preset, or an open_clip pair ARCH/TAG, as for the parameter model of the node '
             '(default: %(default)s)')
    parser.add_argument('--list', action='store_true',
                        help='list the presets and which of them are on this machine; works '
                             'without a network')
    return parser
