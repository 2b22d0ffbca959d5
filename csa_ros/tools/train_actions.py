"""Train what compares clips of actions on folders of clips."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import sys

from csa_ros.actions import words
from csa_ros.actions.choices import FRAMES
from csa_ros.actions.choices import LEARNING
from csa_ros.actions.clips import Clip
from csa_ros.actions.clips import find_clips
from csa_ros.actions.clips import read_clips
from csa_ros.actions.errors import ActionError
from csa_ros.actions.learning import Plan
from csa_ros.actions.learning import QUERIES
from csa_ros.actions.learning import Training
from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.text import PromptError
from csa_ros.model.text import TextEncoder
from csa_ros.process.threads import set_threads
from csa_ros.tools.arguments.train_actions import make_parser
from csa_ros.tools.running import run_tool
from csa_ros.training.errors import TrainingError
from tqdm import tqdm

DONE = 0


def main(args: Sequence[str] | None = None) -> int:
    """Train as the arguments say; return the exit status."""
    return run_tool(make_parser(), _check, _run,
                    (ActionError, ModelError, PromptError, TrainingError), args,
                    'interrupted; the same command goes on from the last state')


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for options that can be judged alone."""
    for name, least in (('episodes', 1), ('way', 2), ('shot', 1), ('seed', 0)):
        value = getattr(options, name)
        if value < least:
            raise ValueError(f'--{name} is {value}: it must be at least {least}')
    if options.rate is not None and not 0 < options.rate <= 1:
        raise ValueError(f'--rate is {options.rate}: it must be above 0 and at most 1')
    if not 0 <= options.held_out < 1:
        raise ValueError(f'--held-out is {options.held_out}: it must be from 0 to below 1')
    if options.out.suffix != '.safetensors':
        raise ValueError(f'--out {options.out} ends in {options.out.suffix or "nothing"!r}: '
                         'weights are written as .safetensors')
    if not options.out.parent.is_dir():
        raise ValueError(f'there is no folder {options.out.parent} for {options.out.name}: make '
                         'it first')


def _run(options: argparse.Namespace) -> int:
    clips = find_clips(options.clips, options.shot + QUERIES)
    actions = len({clip.action for clip in clips})
    set_threads(0)
    backbone = load_backbone(options.model, options.device, 'fp32')
    windows = read_clips(clips, FRAMES, backbone.image_size, _progress)
    named = words.encode(TextEncoder(backbone), windows.names, options.prompts,
                         backbone.embed_dim, backbone.device)
    plan = Plan(options.method, options.episodes, min(options.way, actions), options.shot,
                options.rate or LEARNING[options.method].rate, options.held_out, options.seed)
    training = Training(backbone, windows, named, plan, options.out)
    training.run(_say)
    print(f'{options.out} has the weights, {training.report_path} how they came about. The node '
          f'loads them with\n  ros2 run csa_ros actions --ros-args -p model:={options.model} '
          f'-p method:={options.method} -p method_weights:={options.out.resolve()}')
    return DONE


def _progress(clips: Sequence[Clip]) -> Iterator[Clip]:
    # Without a terminal (disable=None) a bar would fill a log.
    return iter(tqdm(clips, 'Reading', unit='clip', disable=None))


def _say(text: str) -> None:
    print(f'train_actions: {text}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
