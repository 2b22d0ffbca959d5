"""The command line of `train_actions`."""

import argparse
from pathlib import Path

from csa_ros.actions.choices import FRAMES
from csa_ros.actions.choices import LEARNING
from csa_ros.choices import DEFAULT_MODEL

DESCRIPTION = 'Train what compares clips of actions, for the node actions.'
_EPILOG = f"""
The same command goes on where an interrupted one was ended. DIR has a folder for each action, in
it videos or folders of pictures, of which {FRAMES} frames are seen: the middle of each of {FRAMES}
equal parts. A frame takes 150 kB of memory at 224 x 224 pixels. Other actions than those that are
learnt from may be shown to the node later. Exit status: 0 all is well, 1 it failed, 2 bad
arguments, 130 interrupted.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='train_actions', description=DESCRIPTION,
                                     epilog=_EPILOG)
    what = parser.add_argument_group('what')
    what.add_argument('--clips', type=Path, required=True, metavar='DIR',
                      help='folder that holds a folder of clips for each action')
    what.add_argument('--out', type=Path, required=True, metavar='FILE',
                      help='file for the weights: .safetensors')
    what.add_argument('--model', default=DEFAULT_MODEL,
                      help='CLIP that sees the frames, as for the node; demo is bundled (default: '
                      '%(default)s)')
    how = parser.add_argument_group('how')
    how.add_argument('--method', choices=LEARNING, default='clip-fsar', help='; '.join(
        f'{name}: {part.purpose}' for name, part in LEARNING.items()) + ' (default: %(default)s)')
    how.add_argument('--episodes', type=int, default=1000, metavar='N',
                     help='how often some clips are told apart by some others (default: '
                     '%(default)s)')
    how.add_argument('--way', type=int, default=5, metavar='N',
                     help='actions of an episode, or all if there are fewer (default: '
                     '%(default)s)')
    how.add_argument('--shot', type=int, default=1, metavar='N',
                     help='clips of each that are shown in an episode (default: %(default)s)')
    rates = ', '.join(f'{part.rate:g} for {name}' for name, part in LEARNING.items())
    how.add_argument('--rate', type=float, help=f'peak learning rate (default: {rates})')
    how.add_argument('--held-out', type=float, default=0.2, metavar='S',
                     help='share of the clips of each action that is not learnt from, but '
                     'measured on now and then (default: %(default)s)')
    how.add_argument('--prompts', nargs='+', default=[], metavar='TEMPLATE',
                     help='what stands around the name of an action, with {} for it (default: as '
                     'the node has it)')
    how.add_argument('--seed', type=int, default=0, help='of all that is left to chance')
    how.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    return parser
