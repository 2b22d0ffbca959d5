"""Starts the page's node, or says what it takes."""

from collections.abc import Sequence
import sys

from csa_ros.process.executable import load
from csa_ros.ros.context import LibraryLog
from csa_ros.ros.start import describe
from csa_ros.ros.usage import asks_for_help
from csa_ros.ros.usage import usage
from csa_ros.web.parameters import PARAMETERS

_DESCRIPTION = (
    'Serves a page to any browser, on which to see what segment nodes see, and to change their '
    'words, search, teach and set them. The URL to open is printed when it starts.')


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, or print its usage; return the exit status."""
    args = sys.argv if args is None else list(args)
    if asks_for_help(args[1:]):
        print(usage('web', _DESCRIPTION, [(item.name, describe(item)) for item in PARAMETERS]))
        return 0
    LibraryLog.install('web')
    return load('csa_ros.web.node', interrupted=0).main(args)
