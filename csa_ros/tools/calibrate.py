"""Choose unknown_threshold by a few pictures with truth, so that unknown means something."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import json
import shlex
import sys
from typing import Any

from csa_ros.bench.plot import PlotError
from csa_ros.bench.timing import table
from csa_ros.demo.scenes import CLASSES
from csa_ros.evaluation.calibration import plot
from csa_ros.evaluation.calibration.curve import Calibration
from csa_ros.evaluation.calibration.curve import count
from csa_ros.evaluation.calibration.curve import THRESHOLDS
from csa_ros.evaluation.calibration.curve import Wish
from csa_ros.evaluation.labelled_frames import FilePair
from csa_ros.evaluation.labelled_frames import Street
from csa_ros.model.errors import ModelError
from csa_ros.parameters.config import Config
from csa_ros.parameters.config import read_config_file
from csa_ros.parameters.taught import widened
from csa_ros.process.threads import set_threads
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.teaching.examples import Examples
from csa_ros.tools.arguments.calibrate import DONE
from csa_ros.tools.arguments.calibrate import FEW
from csa_ros.tools.arguments.calibrate import LEFT_OUT
from csa_ros.tools.arguments.calibrate import make_parser
from csa_ros.tools.arguments.calibrate import UNMET
from csa_ros.tools.arguments.masks import check_frames
from csa_ros.tools.frames import labelled_frames
from csa_ros.tools.running import run_tool
import numpy as np
from tqdm import tqdm

# Of pixels with the highest confidence, to say that no threshold tells them apart.
SATURATED = 0.2
_COVERAGES = (1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


def main(args: Sequence[str] | None = None) -> int:
    """Calibrate as the arguments say; return the exit status."""
    return run_tool(make_parser(), _check, _run,
                    (ModelError, PlotError, OSError, RuntimeError, ValueError), args)


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for options that can be judged alone."""
    check_frames(options)
    for name in ('risk', 'coverage'):
        value = getattr(options, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f'--{name} is {value}: it must be from 0 to 1')
    if not 0.5 <= options.confidence < 1:
        raise ValueError(f'--confidence is {options.confidence}: it must be from 0.5 to below 1')
    for path in (options.json, options.plot):
        if path and not path.parent.is_dir():
            raise ValueError(f'there is no folder {path.parent} for {path.name}: make it first')


def _run(options: argparse.Namespace) -> int:
    if options.plot:
        # Before the work, which would be lost.
        plot.check(options.plot)
    config, ignored = _config(options)
    if ignored:
        _say(f'{options.params_file}: not known, and ignored: {", ".join(ignored)}')
    if config.vocabulary.doubt:
        _say(config.vocabulary.doubt)
    taught = widened(config)
    for remark in taught.remarks:
        _say(remark)
    config, examples = taught.config, Examples()
    frames = _frames(options, config)
    set_threads(config.model.threads)
    segmenter = Segmenter.load(**config.model.to_load, settings=config.settings)
    if taught.kept:
        taught.kept.check(segmenter.fingerprint())
        examples = taught.kept.examples
    words = segmenter.encode(config.vocabulary, config.prompts, examples)
    calibration = Calibration(measure(segmenter, words, frames), options.confidence)
    wish = (Wish('risk', 0.1 if options.risk is None else options.risk)
            if options.coverage is None else Wish('coverage', options.coverage))
    level = calibration.choose(wish)
    report = _report(calibration, wish, level, frames, config, segmenter)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + '\n')
    if options.plot:
        plot.draw(
            options.plot, calibration, wish, level, f'{len(frames)} frames, '
            f'{config.model.model}, logit_scale {segmenter.settings.logit_scale:g}')
    print(describe(report))
    for warning in _warnings(calibration, wish, level):
        _say(f'calibrate: {warning}')
    if level is None:
        return UNMET
    for command in _commands(options, THRESHOLDS[level]):
        print(command)
    return DONE


def _config(options: argparse.Namespace) -> tuple[Config, list[str]]:
    """Return the configuration of the node, and what its file has that is not known."""
    names = ('vocabulary', 'examples', 'model', 'device', 'attention', 'prompts', 'logit_scale')
    overrides = {name: getattr(options, name) for name in names
                 if getattr(options, name) is not None}
    if options.demo and not options.params_file:
        named = [name for name in CLASSES if name not in LEFT_OUT]
        overrides = {'model': 'demo', 'vocabulary': named, **overrides}
    # All pixels are counted at the confidence that they have.
    overrides['unknown_threshold'] = 0.0
    return read_config_file(options.params_file, options.name, overrides)


def _frames(options: argparse.Namespace, config: Config) -> Sequence[FilePair | Street]:
    frames = labelled_frames(options, config, _say)
    for frame in () if options.demo else frames:
        # What is wrong with a file is said before the model is loaded and the others are labelled.
        frame.read()
    return frames


def measure(segmenter: Segmenter, words: Words, frames: Sequence[FilePair | Street]
            ) -> list[np.ndarray]:
    """Return each frame's histograms, as `csa_ros.evaluation.calibration.curve.count` has them."""
    counts = []
    # Without a terminal (disable=None) a bar would fill a log.
    for frame in tqdm(frames, unit='frame', disable=None):
        rgb, truth = frame.read()
        counts.append(count(truth, segmenter.segment(rgb, words)))
    return counts


def _report(calibration: Calibration, wish: Wish, level: int | None,
            frames: Sequence[FilePair | Street], config: Config, segmenter: Segmenter
            ) -> dict[str, Any]:
    """Return all figures, ready for `json.dumps`."""
    levels = range(len(THRESHOLDS))
    report = {
        'model': config.model.model, 'attention': segmenter.encoder.attention,
        'vocabulary': config.vocabulary.spec, 'prompts': config.prompts,
        'logit_scale': segmenter.settings.logit_scale,
        'frames': len(frames), 'pixels': calibration.pixels,
        'outside_share': calibration.outside_share,
        'accuracy': calibration.accuracy, 'mean_confidence': calibration.mean_confidence,
        'aurc': calibration.aurc, 'confidence': calibration.confidence,
        'wish': {wish.name: wish.value},
        'choice': None if level is None else _point(calibration, level),
        'curve': [_point(calibration, each) for each in levels]}
    if level is not None:
        risks = calibration.frame_risk(level)
        held_out = calibration.held_out(wish)
        report['held_out'] = held_out and _numbers(held_out)
        report['frame_risks'] = {frame.name: _number(risk) for frame, risk in zip(frames, risks)}
    return report


def _point(calibration: Calibration, level: int) -> dict[str, float | None]:
    point = {'threshold': THRESHOLDS[level], 'coverage': calibration.coverage[level],
             'risk': calibration.risk[level], 'outside_kept': calibration.outside_kept[level]}
    if calibration.bounds:
        point.update({name: values[level] for name, values in vars(calibration.bounds).items()})
    return _numbers(point)


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float) -> float | None:
    """Return a number as JSON has them, None for NaN."""
    if isinstance(value, int):
        return value
    return None if np.isnan(value) else round(float(value), 6)


def describe(report: dict[str, Any]) -> str:
    """Return a report as text, the curve as a table in markdown."""
    outside = report['outside_share']
    lines = [
        f"frames: {report['frames']}, pixels with truth: {report['pixels']}"
        + (f', {outside:.1%} of them of what has no word' if outside else ''),
        f"without a threshold {report['accuracy']:.1%} are right, at a mean confidence of "
        f"{report['mean_confidence']:.1%}; AURC {report['aurc']:.4f}",
        '', _curve_table(report)]
    choice = report['choice']
    if choice:
        (name, value), = report['wish'].items()
        lines += ['', f"for a {name} of {value:g}: unknown_threshold {_text(choice['threshold'])}",
                  *_figures(report)]
    lines += ['', f"It holds for logit_scale {report['logit_scale']:g}, these words, model, "
              'prompts and settings, and pictures like these.', 'Thresholds are probabilities; '
              '~/confidence has them times 255, rounded, and these lie half way between two of '
              'its values.']
    return '\n'.join(lines)


def _curve_table(report: dict[str, Any]) -> str:
    bounded = 'risk_high' in report['curve'][0]
    rows = []
    for coverage in _COVERAGES:
        point = [point for point in report['curve'] if point['coverage'] >= coverage][-1]
        row = [f"{point['coverage']:.3f}", _text(point['threshold']), f"{point['risk']:.3f}"]
        row += [f"{point['risk_high']:.3f}"] if bounded else []
        rows += [row] if row not in rows else []
    bound = [f"at most, {report['confidence']:.0%}"] if bounded else []
    return table(['coverage', 'threshold', 'risk', *bound], rows)


def _figures(report: dict[str, Any]) -> list[str]:
    """Return the lines on the threshold that was chosen."""
    choice, lines = report['choice'], []

    between = 2 * report['confidence'] - 1
    for name in ('risk', 'coverage'):
        low, high = choice.get(f'{name}_low'), choice.get(f'{name}_high')
        value = 'undefined' if choice[name] is None else f'{choice[name]:.3f}'
        bounds = '' if low is None else f' ({low:.3f} to {high:.3f} in {between:.0%} of resamples)'
        lines.append(f'  {name} {value}{bounds}')
    if choice['outside_kept'] is not None:
        lines.append(f"  of what has no word {1 - choice['outside_kept']:.1%} become unknown")
    held_out = report['held_out']
    if held_out and held_out['risk'] is not None:
        unmet = f", {held_out['unmet']} without a threshold" if held_out['unmet'] else ''
        lines.append(f"  chosen without the frames that it is tried on ({held_out['folds']} times"
                     f"{unmet}): risk {held_out['risk']:.3f}, coverage {held_out['coverage']:.3f}")
    risks = {name: risk for name, risk in report['frame_risks'].items() if risk is not None}
    if risks:
        worst = max(risks, key=lambda name: risks[name])
        lines.append(f'  the worst frame is {worst}, with a risk of {risks[worst]:.3f}')
    return lines


def _warnings(calibration: Calibration, wish: Wish, level: int | None) -> list[str]:
    """Return what the user should know before a threshold is used."""
    warnings = []
    if level is None:
        warnings.append(_unmet(calibration, wish))
    if len(calibration) == 1:
        warnings.append('one frame says nothing of others: there are no bounds; give more')
    elif len(calibration) < FEW:
        warnings.append(f'{len(calibration)} frames are few: bounds come from how these differ, '
                        f'and others may differ more; take {FEW} or more')
    if calibration.saturated_share > SATURATED:
        warnings.append(f'{calibration.saturated_share:.0%} of the pixels have the highest '
                        'confidence, and no threshold tells them apart; a smaller --logit-scale '
                        'does')
    return warnings


def _unmet(calibration: Calibration, wish: Wish) -> str:
    """Say what can be had instead of a wish that no threshold grants."""
    level = calibration.least_risk()
    bounds = calibration.bounds
    bound = f' (at most {bounds.risk_high[level]:.3f})' if bounds else ''
    held = f' in {calibration.confidence:.0%} of the resamples' if bounds else ''
    return (f'no threshold has a risk of at most {wish.value:g}{held}: the least is '
            f'{calibration.risk[level]:.3f}{bound}, at a coverage of '
            f'{calibration.coverage[level]:.3f} with unknown_threshold '
            f'{_text(THRESHOLDS[level])}. Allow a higher --risk, add frames, or try another '
            '--logit-scale, other words or another model')


def _commands(options: argparse.Namespace, threshold: float) -> list[str]:
    """Return the lines to paste, for the parameters that change while the node runs."""
    values = {'prompts': options.prompts, 'logit_scale': options.logit_scale}
    lines = [f'ros2 param set /{options.name} {name} {shlex.quote(str(value))}'
             for name, value in values.items() if value is not None]
    return ['', *lines,
            f'ros2 param set /{options.name} unknown_threshold {_text(threshold)}']


def _text(threshold: float) -> str:
    """Return a threshold as `ros2 param set` takes it, which knows 0 from 0.0."""
    return str(float(threshold))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
