"""Go on with the training of a model on pictures of your own and their captions."""

import argparse
from collections.abc import Sequence
import sys

from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.weights.source import parse_model
from csa_ros.model.weights.source import prefix_for_files
from csa_ros.process.threads import set_threads
from csa_ros.process.threads import usable_threads
from csa_ros.tools.arguments.train import BATCH
from csa_ros.tools.arguments.train import make_parser
from csa_ros.tools.arguments.train import MOST_WORKERS
from csa_ros.tools.running import run_tool
from csa_ros.training.choices import PARTS
from csa_ros.training.errors import TrainingError
from csa_ros.training.held_out import split
from csa_ros.training.pairs import Pair
from csa_ros.training.pairs import read_pairs
from csa_ros.training.pictures import check_pictures
from csa_ros.training.run import Plan
from csa_ros.training.run import Training
import torch

DONE = 0


def main(args: Sequence[str] | None = None) -> int:
    """Train as the arguments say; return the exit status."""
    return run_tool(make_parser(), _check, _run, (ModelError, TrainingError), args,
                    'interrupted; the same command goes on from the last state')


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for options that can be judged alone."""
    for name, least in (('epochs', 1), ('batch', 2), ('seed', 0), ('workers', 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f'--{name} is {value}: it must be at least {least}')
    if options.rate is not None and not 0 < options.rate <= 1:
        raise ValueError(f'--rate is {options.rate}: it must be above 0 and at most 1')
    if not 0 <= options.held_out < 1:
        raise ValueError(f'--held-out is {options.held_out}: it must be from 0 to below 1')
    if {'siglip', 'fff'} <= set(options.loss):
        raise ValueError('--loss fff is siglip with more positives: give one of them')
    if options.out.suffix != '.safetensors':
        raise ValueError(f'--out {options.out} ends in {options.out.suffix or "nothing"!r}: '
                         'weights are written as .safetensors')
    if not options.out.parent.is_dir():
        raise ValueError(f'there is no folder {options.out.parent} for {options.out.name}: make '
                         'it first')


def _run(options: argparse.Namespace) -> int:
    pairs, repeated = read_pairs(options.images, options.captions)
    if repeated:
        _say(f'{options.captions} repeats {repeated} captions of a picture, which count once')
    check_pictures(pairs)
    prefix = prefix_for_files(parse_model(options.model))
    set_threads(0)
    backbone = load_backbone(options.model, options.device, 'fp32')
    _report_cut(backbone, pairs)
    training = Training(backbone, pairs, _plan(options, backbone.device, len(pairs)), options.out,
                        _workers(options, backbone.device))
    training.run(_say)
    path = options.out.resolve()
    print(f'{options.out} has the weights, {training.report_path} how they came about. The node '
          f'loads them with\n  ros2 launch csa_ros segment.launch.py model:={prefix}:{path}')
    return DONE


def _plan(options: argparse.Namespace, device: torch.device, pictures: int) -> Plan:
    learnt, _ = split(pictures, options.held_out, options.seed)
    return Plan(part=options.train, losses=tuple(dict.fromkeys(options.loss)),
                epochs=options.epochs, batch=options.batch or max(min(BATCH, len(learnt)), 2),
                rate=options.rate or PARTS[options.train].rate, held_out=options.held_out,
                seed=options.seed, precision=_precision(options.precision, device))


def _precision(precision: str, device: torch.device) -> str:
    """Return what the towers compute in; raise ModelError."""
    if device.type == 'cpu':
        if precision == 'fp16':
            raise ModelError('--precision fp16 needs a GPU: CPUs have no fast float16 arithmetic. '
                             'Use fp32, or bf16 on a CPU that has it')
        return 'fp32' if precision == 'auto' else precision
    if precision == 'auto':
        return 'bf16' if torch.cuda.is_bf16_supported() else 'fp16'
    return precision


def _report_cut(backbone: Backbone, pairs: Sequence[Pair]) -> None:
    """Say which captions the text tower reads the beginning of alone."""
    tokenizer = backbone.tokenizer
    # The start and the end of a text are tokens too.
    most = tokenizer.context_length - 2
    long = [text for text in dict.fromkeys(text for pair in pairs for text in pair.captions)
            if len(tokenizer.encode(text)) > most]
    if long:
        _say(f'{len(long)} captions are longer than the {most} tokens that {backbone.name} reads, '
             f'and are cut there, as {long[0]!r}: begin with what matters, or write several')


def _workers(options: argparse.Namespace, device: torch.device) -> int:
    if options.workers is not None:
        return options.workers
    return 0 if device.type == 'cpu' else min(MOST_WORKERS, usable_threads())


def _say(text: str) -> None:
    print(f'train: {text}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
