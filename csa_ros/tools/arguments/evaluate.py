"""The command line of `evaluate`."""

import argparse
from pathlib import Path

from csa_ros.choices import ATTENTIONS
from csa_ros.choices import AUTO
from csa_ros.choices import DEFAULT_MODEL
from csa_ros.choices import LOW
from csa_ros.choices import RESIDUAL
from csa_ros.choices import RESOLUTIONS
from csa_ros.evaluation.datasets import benchmarks
from csa_ros.evaluation.datasets.demo import RENDERED
from csa_ros.settings import INFERENCE
from csa_ros.settings import REFINE
from csa_ros.tools.arguments.cluster import add_cluster
from csa_ros.tools.arguments.places import anywhere
from csa_ros.tools.arguments.places import here

DESCRIPTION = (
    'Measure the mean IoU on data sets, in their published protocol, and show where it fails.')
BENCHMARKS = {**benchmarks.BENCHMARKS, **RENDERED}
# What can be given in place of a data set's own: type or choices, and what it is.
SETTINGS = {
    'refine': (REFINE, 'how labels are refined by the picture'),
    'inference': (INFERENCE, 'windows or one pass'),
    'short_side': (int, 'pixels that the short side of a picture is resized to'),
    'crop': (int, 'side of a window in pixels'),
    'stride': (int, 'pixels from one window to the next'),
    'logit_scale': (float, 'sharpness of the softmax over the words'),
    'denoise': (float, 'probability that a class must reach somewhere in a picture'),
    'unknown_threshold': (float, 'probability below which a pixel gets no label'),
    'min_area': (float, 'share of the foreground that a class must exceed'),
}
MOST_WORKERS = 4
_EPILOG = """
The same command goes on where an interrupted one was ended; with other settings it begins anew,
beside what is there. Exit status: 0 all is well, 1 something is missing or failed, 2 bad
arguments, 3 done, but pictures of other shards are missing, 130 interrupted.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='evaluate', description=DESCRIPTION, epilog=_EPILOG)
    what = parser.add_argument_group('what')
    what.add_argument('--dataset', nargs='+', default=[], metavar='NAME',
                      help=f"{', '.join(BENCHMARKS)}; {' and '.join(RENDERED)} need no files")
    what.add_argument('--all', action='store_true',
                      help='all data sets but the rendered ones, beside the published figures')
    what.add_argument('--compare', action='store_true',
                      help='compare ways to segment each data set: attentions, refinement, '
                      'windows, prompts and sizes; what follows says what they start from')
    what.add_argument('--root', type=anywhere, metavar='DIR',
                      help='folder that holds the data sets, each as it is unpacked, or the URL '
                      'of one, such as s3://bucket/folder')
    what.add_argument('--limit', type=int, metavar='N',
                      help='segment N pictures of each data set, evenly spaced')
    what.add_argument('--page', nargs='+', type=Path, metavar='FILE',
                      help='segment nothing: put the figures of JSON files into a page, which is '
                      'named first')
    how = parser.add_argument_group('how')
    how.add_argument('--model', help='as for the parameter of the node (default: demo for '
                     f'rendered data sets alone, otherwise {DEFAULT_MODEL})')
    how.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    how.add_argument('--precision', default='auto', help='auto, fp32, fp16, bf16 or int8')
    how.add_argument('--attention', default=AUTO,
                     help=f"{', '.join((AUTO, *ATTENTIONS))} (default: %(default)s, which is csa "
                     'for CLIPs, radseg for RADIO, and all that GroupViT has)')
    how.add_argument('--resolution', choices=RESOLUTIONS, default=LOW,
                     help='which settings of RADSeg a RADIO has; mid takes five times as long '
                     '(default: %(default)s)')
    how.add_argument('--residual', choices=RESIDUAL, default='auto',
                     help="the last block's residual connection and feed-forward network "
                     '(default: %(default)s)')
    how.add_argument('--prompts',
                     help='name of an ensemble, or one template (default: imagenet80, and simple '
                     'for GroupViT)')
    how.add_argument('--examples', type=Path, metavar='FILE',
                     help='file of what classes were taught by showing, as of `ros2 run csa_ros '
                     'teach` or the node; those of the data set count')
    for name, (values, meaning) in SETTINGS.items():
        kind = {'choices': values} if isinstance(values, tuple) else {'type': values}
        how.add_argument(f"--{name.replace('_', '-')}", **kind,
                         help=f"{meaning}; without it the data set's")
    work = parser.add_argument_group('work')
    work.add_argument('--out', type=here, default=Path('evaluation'), metavar='DIR',
                      help='folder for the results (default: %(default)s)')
    work.add_argument('--workers', type=int, metavar='N',
                      help='processes that read pictures ahead (default: none on a CPU, up to '
                      f'{MOST_WORKERS} beside a GPU)')
    work.add_argument('--threads', type=int, default=0,
                      help='threads on a CPU; 0 takes as many as can run at once')
    work.add_argument('--shard', default='0/1', metavar='I/N',
                      help='do the share of process I of N, counted from 0')
    add_cluster(work, 'the pictures')
    work.add_argument('--worst', type=int, default=8, metavar='N',
                      help='pictures on the sheet of the worst (default: %(default)s)')
    return parser
