"""The command line of `train`."""

import argparse
from pathlib import Path

from csa_ros.choices import DEFAULT_MODEL
from csa_ros.training.choices import LOSSES
from csa_ros.training.choices import PARTS

DESCRIPTION = 'Go on with the training of a model on pictures of your own and their captions.'
PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16')
BATCH = 64
MOST_WORKERS = 4
_EPILOG = f"""
The same command goes on where an interrupted one was ended. Captions are a CSV file with the
columns picture and caption, or a JSONL file with objects such as {{"picture": "front.jpg",
"captions": ["a red car", "a car on a road"]}}; a picture may have several. Losses: {
'; '.join(f'{name}: {meaning}' for name, meaning in LOSSES.items())}. Exit status: 0 all is
well, 1 it failed, 2 bad arguments, 130 interrupted.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='train', description=DESCRIPTION, epilog=_EPILOG)
    what = parser.add_argument_group('what')
    what.add_argument('--images', type=Path, required=True, metavar='DIR',
                      help='folder that holds the pictures')
    what.add_argument('--captions', type=Path, required=True, metavar='FILE',
                      help='what they show: .csv or .jsonl')
    what.add_argument('--out', type=Path, required=True, metavar='FILE',
                      help='file for the weights: .safetensors')
    what.add_argument('--model', default=DEFAULT_MODEL,
                      help='what to go on from, as for the node; demo is bundled (default: '
                      '%(default)s)')
    how = parser.add_argument_group('how')
    how.add_argument('--train', choices=PARTS, default='words', help='; '.join(
        f'{name}: {part.purpose}' for name, part in PARTS.items()) + ' (default: %(default)s)')
    how.add_argument('--loss', nargs='+', choices=LOSSES, default=['siglip', 'patches'],
                     help='what is made smaller, several as a sum; below they are explained '
                     '(default: siglip patches)')
    how.add_argument('--epochs', type=int, default=10, metavar='N',
                     help='how often each picture is learnt from (default: %(default)s)')
    how.add_argument('--batch', type=int, metavar='N',
                     help='pictures that are compared in a step; more is better, and takes more '
                     f'memory (default: {BATCH}, or as many as there are)')
    rates = ', '.join(f'{part.rate:g} for {name}' for name, part in PARTS.items())
    how.add_argument('--rate', type=float, help=f'peak learning rate (default: {rates})')
    how.add_argument('--held-out', type=float, default=0.1, metavar='S',
                     help='share of the pictures that is not learnt from, but measured on after '
                     'each epoch (default: %(default)s)')
    how.add_argument('--seed', type=int, default=0, help='of all that is left to chance')
    work = parser.add_argument_group('work')
    work.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    work.add_argument('--precision', choices=PRECISIONS, default='auto',
                      help='what the towers compute in; auto: bf16 on a GPU that has it, fp16 on '
                      'an older one, fp32 on a CPU')
    work.add_argument('--workers', type=int, metavar='N',
                      help='processes that read pictures ahead (default: none on a CPU, up to '
                      f'{MOST_WORKERS} beside a GPU)')
    return parser
