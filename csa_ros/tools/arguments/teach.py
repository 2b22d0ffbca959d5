"""The command line of `teach`."""

import argparse
from pathlib import Path

from csa_ros.choices import ATTENTIONS
from csa_ros.choices import AUTO
from csa_ros.settings import INFERENCE
from csa_ros.tools.arguments.masks import add_frames

DESCRIPTION = 'Make a file of examples from labelled pictures, by which the node knows classes.'
DONE, FAILED = 0, 1
PER_CLASS = 16
_EPILOG = f"""
A mask is a PNG of the size of its picture, with the id of each pixel's class in the order of the
vocabulary, 255 where nothing is marked, and an id of --outside where something is that the
vocabulary has no word for. What a picture has of a class is one example, if it fills half of a
patch of the model anywhere. Examples are seen by a model with an attention and windows, and hold
for these alone: give what the node is given. Exit status: {DONE} all is well, {FAILED} it failed,
2 bad arguments, 130 interrupted.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='teach', description=DESCRIPTION, epilog=_EPILOG)
    add_frames(parser)
    what = parser.add_argument_group('examples')
    what.add_argument('--out', type=Path, required=True, metavar='FILE',
                      help='new file for the examples: .safetensors')
    what.add_argument('--add', action='store_true',
                      help='add to the examples of FILE, which the same model has seen')
    what.add_argument('--classes', nargs='+', metavar='NAME',
                      help='names in the vocabulary of what to show (default: all)')
    what.add_argument('--per-class', type=int, metavar='N',
                      help='show each class in at most N frames, far from one another (default: '
                      f'{PER_CLASS}, or fewer where there are many classes)')
    trial = parser.add_argument_group('trial')
    trial.add_argument('--evaluate', type=Path, metavar='DIR',
                       help='measure by leaving one out: each frame is labelled without what it '
                       'has shown; print a table, and draw a picture of each class into DIR')
    trial.add_argument('--tune', action='store_true',
                       help='measure too what words find that have learned from the examples')
    node = parser.add_argument_group('as for the node')
    node.add_argument('--vocabulary', metavar='WORDS', help='the words: "road, car|truck"')
    node.add_argument('--params-file', type=Path, metavar='YAML', help='its parameters')
    node.add_argument('--model', help='demo is bundled')
    node.add_argument('--device', help='auto, cpu, cuda or cuda:N')
    node.add_argument('--attention', help='self-attention of the model: '
                      f"{', '.join((AUTO, *ATTENTIONS))}")
    node.add_argument('--prompts', help='name of a prompt ensemble, or a template')
    node.add_argument('--inference', choices=INFERENCE, help='windows or one pass')
    for name, meaning in (('short-side', 'pixels that the short side of a picture is resized to'),
                          ('crop', 'side of a window in pixels'),
                          ('stride', 'pixels from one window to the next')):
        node.add_argument(f'--{name}', type=int, metavar='N', help=meaning)
    node.add_argument('--name', default='segment', help='its name (default: %(default)s)')
    return parser
