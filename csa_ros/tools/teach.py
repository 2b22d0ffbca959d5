"""Make a file of examples from labelled pictures, by which the node knows classes."""

import argparse
from collections.abc import Sequence
import shlex
import sys

from csa_ros.demo.scenes import CLASSES
from csa_ros.evaluation.report.teaching import describe
from csa_ros.evaluation.report.teaching import draw
from csa_ros.evaluation.teaching.gathering import gather
from csa_ros.evaluation.teaching.gathering import Gathered
from csa_ros.evaluation.teaching.leaving_out import measure
from csa_ros.evaluation.teaching.leaving_out import Trial
from csa_ros.model.errors import ModelError
from csa_ros.parameters.config import Config
from csa_ros.parameters.config import read_config_file
from csa_ros.process.threads import set_threads
from csa_ros.segmenter import Segmenter
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import MAX_EXAMPLES
from csa_ros.teaching.examples import MAX_PER_NAME
from csa_ros.teaching.file import read
from csa_ros.teaching.file import write
from csa_ros.tools.arguments.masks import check_frames
from csa_ros.tools.arguments.teach import DONE
from csa_ros.tools.arguments.teach import make_parser
from csa_ros.tools.arguments.teach import PER_CLASS
from csa_ros.tools.frames import labelled_frames
from csa_ros.tools.running import run_tool

# Parameters of the node that have an argument, and those that examples depend on.
_OVERRIDES = ('vocabulary', 'model', 'device', 'attention', 'prompts', 'inference', 'short_side',
              'crop', 'stride')
_OF_FINGERPRINT = ('model', 'attention', 'inference', 'short_side', 'crop', 'stride')


def main(args: Sequence[str] | None = None) -> int:
    """Teach as the arguments say; return the exit status."""
    return run_tool(make_parser(), _check, _run,
                    (ModelError, OSError, RuntimeError, ValueError), args)


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for options that can be judged alone."""
    check_frames(options)
    if options.tune and not options.evaluate:
        raise ValueError('--tune is measured, and not kept in the file: give --evaluate with it')
    if options.per_class is not None and not 1 <= options.per_class <= MAX_PER_NAME:
        raise ValueError(f'--per-class is {options.per_class}: it must be from 1 to '
                         f'{MAX_PER_NAME}, which is what a class keeps')
    if options.out.suffix != '.safetensors':
        raise ValueError(f'--out {options.out} ends in {options.out.suffix or "nothing"!r}: '
                         'examples are written as .safetensors')
    for folder in (options.out.parent, *([options.evaluate.parent] if options.evaluate else [])):
        if not folder.is_dir():
            raise ValueError(f'there is no folder {folder}: make it first')
    if options.add and not options.out.exists():
        raise ValueError(f'there is no file {options.out} to add to: leave --add out')
    if options.out.exists() and not options.add:
        raise ValueError(f'{options.out} is there already: name a new file, or give --add to add '
                         'to its examples')


def _run(options: argparse.Namespace) -> int:
    config = _config(options)
    classes, per_class = _classes(options, config)
    frames = labelled_frames(options, config, _say)
    if options.evaluate and len(frames) < 2:
        raise TeachingError('--evaluate leaves out one frame of several, and there is one: give '
                            'more, or leave --evaluate out')
    set_threads(config.model.threads)
    segmenter = Segmenter.load(**config.model.to_load, settings=config.settings)
    before = read(options.out, segmenter.fingerprint()) if options.add else Examples()
    gathered = gather(segmenter, frames, config.vocabulary, classes, per_class, before)
    _report(gathered, before)
    write(options.out, gathered.examples)
    counts = ', '.join(f'{name} {count}' for name, count in gathered.examples.counts.items())
    print(f'{options.out} has {len(gathered.examples)} examples: {counts}. The node takes them '
          f'with the same model and windows:\n  {_command(options)}')
    if options.evaluate:
        _evaluate(options, Trial(segmenter, config.vocabulary, config.prompts, frames,
                                 gathered.examples, options.tune))
    return DONE


def _config(options: argparse.Namespace) -> Config:
    overrides = {name: getattr(options, name) for name in _OVERRIDES
                 if getattr(options, name) is not None}
    if options.demo and not options.params_file:
        overrides = {'model': 'demo', 'vocabulary': [*CLASSES], **overrides}
    config, ignored = read_config_file(options.params_file, options.name, overrides)
    if ignored:
        _say(f'{options.params_file}: not known, and ignored: {", ".join(ignored)}')
    if config.vocabulary.doubt:
        _say(config.vocabulary.doubt)
    return config


def _classes(options: argparse.Namespace, config: Config) -> tuple[list[str], int]:
    """Return the names of what to show, and in how many frames; raise TeachingError."""
    names = config.vocabulary.names
    classes = list(dict.fromkeys(options.classes or names))
    for name in classes:
        if name not in names:
            raise TeachingError(f'--classes has {name!r}, which is no name in the vocabulary: '
                                f'that has {", ".join(names)}')
    most = MAX_EXAMPLES // len(classes)
    if options.per_class and options.per_class > most:
        raise TeachingError(
            f'{options.per_class} examples of each of {len(classes)} classes are more than the '
            f'{MAX_EXAMPLES} that a file holds: set --per-class to at most {most}, or choose '
            '--classes')
    return classes, options.per_class or min(PER_CLASS, most)


def _report(gathered: Gathered, before: Examples) -> None:
    """Say what was left out; raise TeachingError if nothing was shown."""
    if gathered.too_small:
        frames = ', '.join(f'{name} in {count}' for name, count in gathered.too_small.items())
        _say(f'frames left out where a class is too small for a patch of the model: {frames}; '
             'with a larger --short-side patches show less each')
    missing = [name for name, count in gathered.counts.items() if not count]
    if len(missing) == len(gathered.counts):
        raise TeachingError('no frame shows any class well enough, and nothing is written: check '
                            'that the ids in the masks are those of the vocabulary')
    if missing:
        _say(f'no example of {", ".join(missing)}')
    forgotten = gathered.examples.forgotten - before.forgotten
    if forgotten:
        _say(f'{forgotten} older examples had to make room')


def _evaluate(options: argparse.Namespace, trial: Trial) -> None:
    """Measure, print and draw."""
    options.evaluate.mkdir(exist_ok=True)
    measured = measure(trial)
    print(f'\n{describe(trial, measured)}\n')
    frames = len(trial.frames)
    print(f'{frames} frames, each labelled without the examples of ' + (
        'its own' if trial.folds == frames else f'its group, one of {trial.folds}'))
    paths = draw(options.evaluate, trial, measured)
    print(f'pictures of what is found are in {options.evaluate}: {len(paths)}')


def _command(options: argparse.Namespace) -> str:
    """Return what starts a node that knows the examples."""
    given = {name: getattr(options, name) for name in _OF_FINGERPRINT}
    if options.demo and not options.params_file:
        given = {**given, 'model': given['model'] or 'demo'}
    words = ['ros2', 'run', 'csa_ros', 'segment', '--ros-args']
    if options.params_file:
        words += ['--params-file', str(options.params_file)]
    for name, value in {**given, 'examples': options.out.resolve()}.items():
        if value is not None:
            words += ['-p', f'{name}:={value}']
    return shlex.join(words)


def _say(text: str) -> None:
    print(f'teach: {text}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
