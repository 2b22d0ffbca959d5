"""The command line of `calibrate`."""

import argparse
from pathlib import Path

from csa_ros.choices import ATTENTIONS
from csa_ros.choices import AUTO
from csa_ros.tools.arguments.masks import add_frames

DESCRIPTION = (
    'Choose unknown_threshold by a few pictures with truth, so that unknown means something.')
DONE, FAILED, UNMET = 0, 1, 3
# What the streets of the demo show and its vocabulary does not name.
LEFT_OUT = ('car', 'bus')
# With fewer, bounds are bounds of the frames that there are.
FEW = 8
_EPILOG = f"""
A mask is a PNG of the size of its picture, with the id of each pixel's class in the order of the
vocabulary, 255 where nothing is marked, and an id of --outside where something is that the
vocabulary has no word for. However many pixels a frame has, it counts as one sample: bounds come
from resampling whole frames, so take them from different places and times, {FEW} or more. Exit
status: {DONE} all is well, {FAILED} it failed, 2 bad arguments,
{UNMET} no threshold grants the wish (all else was written).
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='calibrate', description=DESCRIPTION, epilog=_EPILOG)
    add_frames(
        parser, ', and what is to become unknown',
        f', with words for all but {" and ".join(LEFT_OUT)} unless --vocabulary says otherwise')
    wish = parser.add_argument_group('wish').add_mutually_exclusive_group()
    wish.add_argument('--risk', type=float, metavar='R',
                      help='the share of errors among labelled pixels is to be at most R (0.1 if '
                      'neither is given)')
    wish.add_argument('--coverage', type=float, metavar='C',
                      help='the share of pixels that are labelled is to be at least C')
    parser.add_argument('--confidence', type=float, default=0.95, metavar='P',
                        help='the wish is to hold in this share of resamples of the frames '
                        '(default: %(default)s)')
    node = parser.add_argument_group('as for the node')
    node.add_argument('--vocabulary', metavar='WORDS', help='the words: "road, car|truck"')
    node.add_argument('--params-file', type=Path, metavar='YAML', help='its parameters')
    node.add_argument('--examples', metavar='FILE',
                      help='file of what classes were taught by showing, as of '
                      '`ros2 run csa_ros teach` or the node; names in it join the vocabulary')
    node.add_argument('--model', help='demo is bundled')
    node.add_argument('--device', help='auto, cpu, cuda or cuda:N')
    node.add_argument('--attention', help='self-attention of the model: '
                      f"{', '.join((AUTO, *ATTENTIONS))}")
    node.add_argument('--prompts', help='name of a prompt ensemble, or a template')
    node.add_argument('--logit-scale', type=float, metavar='S',
                      help='sharpness of the softmax, which all probabilities depend on')
    node.add_argument('--name', default='segment', help='its name (default: %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to FILE')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='draw the curves into FILE')
    return parser
