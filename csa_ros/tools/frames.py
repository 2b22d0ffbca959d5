"""The labelled frames that arguments name: files, or streets that render themselves."""

import argparse
from collections.abc import Callable
from collections.abc import Sequence

from csa_ros.evaluation.labelled_frames import FilePair
from csa_ros.evaluation.labelled_frames import find_pairs
from csa_ros.evaluation.labelled_frames import Street
from csa_ros.parameters.config import Config
from csa_ros.tools.arguments.masks import STREETS


def labelled_frames(options: argparse.Namespace, config: Config, say: Callable[[str], object]
                    ) -> Sequence[FilePair | Street]:
    """
    Return the frames of options as `csa_ros.tools.arguments.masks.add_frames` adds them.

    `say` is told what is left out. Raises what `find_pairs` does.
    """
    if options.demo:
        return [Street(seed, config.vocabulary) for seed in range(options.limit or STREETS)]
    pairs, left_out = find_pairs(
        options.images, options.masks, config.vocabulary, options.outside, config.sensor_bits)
    if left_out:
        say(f'pictures without a mask, which are left out: {left_out}')
    return pairs[:options.limit]
