"""What half precision does to labels on a GPU."""

import argparse

from csa_ros.bench import agreement
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import percent
from csa_ros.bench.targets import Target
from tqdm import tqdm

TITLE = TITLES['gpu.precision']
NEEDS_GPU = True
PRECISIONS = ('fp32', 'fp16', 'bf16')
# What was asked of the node.
EQUAL = 0.995
AIMS = (f'fp16 labels equal to those of fp32 on at least {EQUAL:.1%} of pixels (demo)',)


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Compare labels and features of the demo model at every precision; for JSON."""
    return {'agreement': agreement.measure(PRECISIONS, 'cuda', progress)}


def describe(result: dict) -> str:
    """Return the table of a result as markdown."""
    return f"{agreement.EXPLANATION}\n\n{agreement.describe(result['agreement'])}"


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    row, = (row for row in result['agreement']
            if (row['path'], row['precision']) == ('exact', 'fp16'))
    return [Target(AIMS[0], f"{percent(row['equal'])}, features within "
                   f"{row['feature_error']:.1e}", row['equal'] >= EQUAL)]
