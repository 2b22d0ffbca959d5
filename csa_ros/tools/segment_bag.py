"""Segment recorded bags: a bag with labels, overlay and legend, or pictures, or videos."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
import re
import signal
import sqlite3
import sys
from typing import Any

from csa_ros.bags.labelling import OUTPUTS
from csa_ros.bags.progress import Progress
from csa_ros.bench.timing import table
from csa_ros.model.errors import ModelError
from csa_ros.parameters.config import read_config_file
from csa_ros.parameters.taught import widened
from csa_ros.process.threads import set_threads
from csa_ros.shards import Shard
from csa_ros.tools.arguments.cluster import check_cluster
from csa_ros.tools.arguments.segment_bag import DONE
from csa_ros.tools.arguments.segment_bag import FAILED
from csa_ros.tools.arguments.segment_bag import IMAGES_LEFT_OUT
from csa_ros.tools.arguments.segment_bag import make_parser
from csa_ros.urls import matches
try:
    from csa_ros.bags import finds
    from csa_ros.bags import jobs
    from csa_ros.bags import run
    from csa_ros.bags import video
    from csa_ros.bags.loading import load
    HAS_ROSBAGS = True
except ModuleNotFoundError as error:
    if (error.name or '').partition('.')[0] != 'rosbags':
        raise
    HAS_ROSBAGS = False

_MOST_REASONS = 5
# Of a phrase in the table; all are in the file.
_MOST_SPANS = 20


def main(args: Sequence[str] | None = None) -> int:
    """Segment what the arguments name; return the exit status."""
    parser = make_parser()
    options = parser.parse_args(args)
    if not HAS_ROSBAGS:
        return _fail('rosbags, which reads and writes bags, is not installed: pip install rosbags')
    try:
        shard = Shard.parse(options.shard)
        outputs = _outputs(options)
        _check(options)
        check_cluster(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        with _ended_by_sigterm():
            return _run(options, outputs, shard)
    except KeyboardInterrupt:
        print('segment_bag: interrupted; the same command goes on from here', file=sys.stderr)
        return 128 + signal.SIGINT
    except (ModelError, OSError, RuntimeError, ValueError, sqlite3.Error) as error:
        return _fail(str(error))


def _outputs(options: argparse.Namespace) -> tuple[str, ...]:
    """Return what is to be made of each image; raise ValueError."""
    default = ('overlay',) if options.format == 'mp4' else ('labels', 'overlay')
    asked = options.outputs or default
    for output in asked:
        if output not in OUTPUTS:
            raise ValueError(f'{output!r} is no output: choose from {", ".join(OUTPUTS)}')
    if options.format == 'mp4' and asked != default:
        raise ValueError('a video holds the overlay alone, as its compression would change '
                         'labels: leave --outputs out, or use --format png')
    return tuple(output for output in OUTPUTS if output in asked)


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for options that can be judged alone."""
    if options.part_images < 1:
        raise ValueError(f'--part-images is {options.part_images}: it must be at least 1')
    if not re.fullmatch(r'[A-Za-z_]\w*(/[A-Za-z_]\w*)*', options.name, re.ASCII):
        raise ValueError(f'--name is {options.name!r}: use letters, digits and _, with / between '
                         'namespace and name, such as robot/segment')


def _run(options: argparse.Namespace, outputs: tuple[str, ...], shard: Shard) -> int:
    overrides = {'vocabulary': options.vocabulary, 'model': options.model,
                 'device': options.device, 'max_rate': options.rate,
                 'examples': options.examples, 'find': options.find}
    config, ignored = read_config_file(options.params_file, options.name, {
        name: value for name, value in overrides.items() if value is not None})
    if ignored:
        _say(f'{options.params_file}: not known, and ignored: {", ".join(ignored)}')
    if config.vocabulary.doubt:
        _say(config.vocabulary.doubt)
    taught = widened(config)
    for remark in taught.remarks:
        _say(remark)
    request = jobs.Request(taught.config, options.topics, outputs, options.format,
                           options.storage, options.name, options.part_images, taught.kept)
    # What is to go on lies beside its bags in many a folder.
    bags = [bag for path in options.bags for bag in matches(path)
            if bag is path or bag != options.out]
    planned, errors = jobs.plan(bags, options.out, request)
    for error in errors:
        _fail(str(error))
    for job in planned:
        for remark in job.remarks:
            _say(f'{job.bag}: {remark}')
        for topic, reason in job.left_out.items():
            _say(f'{job.bag}: {topic} is left out: {reason}')
    tasks = run.tasks(planned, shard)
    if any(task.parts for task in tasks):
        tasks, more = (_make(tasks, request) if options.ray is None
                       else _make_on_cluster(tasks, request, options))
        errors += more
    statuses = []
    for task in tasks:
        try:
            statuses.append(_report(task))
        except jobs.BagError as error:
            _fail(str(error))
            errors.append(error)
    # One that failed is told by the status although others are done.
    return FAILED if errors else max(statuses)


def _make(tasks: Sequence['run.Task'], request: 'jobs.Request'
          ) -> tuple[list['run.Task'], list['jobs.BagError']]:
    """Do the work; return the tasks that are done, and what was wrong with the other bags."""
    set_threads(request.config.model.threads)
    _say(f'loading {request.config.model.model} ...')
    labeller = load(request)
    spans = [run.span(task.job, index) for task in tasks for index in task.parts]
    done, errors = [], []
    with Progress(sum(end - start for start, end in spans) * 1e-9) as progress:
        for task in tasks:
            try:
                run.make(task, labeller, progress)
                # Here already: many bags take long.
                run.finish(task)
                done.append(task)
            except jobs.BagError as error:
                _fail(str(error))
                errors.append(error)
    _say(f'{progress.images} images labelled, {progress.rate:.1f} a second, on '
         f'{labeller.device}')
    return done, errors


def _make_on_cluster(tasks: Sequence['run.Task'], request: 'jobs.Request',
                     options: argparse.Namespace
                     ) -> tuple[list['run.Task'], list['jobs.BagError']]:
    """Have the work done on a cluster; return the same as `_make`."""
    # Ray is not loaded without being asked for.
    from csa_ros.bags import cluster
    from csa_ros.tools.cluster import joined
    with joined(options, sum(len(task.parts) for task in tasks), _say) as share:
        failures = cluster.make(tasks, request, share, _say)
    for failure in failures:
        _fail(str(failure))
    failed = [failure.task for failure in failures]
    return ([task for task in tasks if task not in failed],
            [jobs.BagError(str(failure)) for failure in failures])


def _report(task: 'run.Task') -> int:
    """Finish what is not finished, and say what there is; return the exit status."""
    out = task.job.out
    complete = run.finish(task)
    records = task.workspace.records()
    labelled = sum(sum(record['labelled'].values()) for record in records)
    bad = sum(sum(record['bad'].values()) for record in records)
    if complete:
        _say(f'{out}: complete, {labelled} images have masks')
        if task.job.request.form == 'mp4' and labelled and not video.HAS_H264:
            _say(f'{out}: its videos are MPEG-4 Part 2, which mpv and VLC play and browsers do '
                 'not; after `pip install av` they are H.264')
        if task.job.request.config.find:
            _tell_finds(task.job)
    else:
        _say(f'{out}: {len(task.workspace.missing)} of {len(task.job.parts)} parts are those of '
             'other shards and not there yet; the shard that ends last puts all together')
    doubts = {topic: doubt for record in records
              for topic, doubt in record.get('doubts', {}).items()}
    for topic, doubt in doubts.items():
        _say(f'{out}: {topic}: {doubt}')
    if bad:
        reasons = [reason for record in records for reason in record['reasons']]
        _say(f'{out}: {bad} images could not be read and have no masks, among them')
        for reason in reasons[:_MOST_REASONS]:
            _say(f'  {reason}')
    return IMAGES_LEFT_OUT if bad else DONE


def _tell_finds(job: 'jobs.Job') -> None:
    """Print when phrases were found."""
    found = finds.spans(job)
    rows, left_out = [], 0
    for phrase in job.request.config.find:
        spans = [span for span in found if span.phrase == phrase]
        best = sorted(spans, key=lambda span: -span.score)[:_MOST_SPANS]
        left_out += len(spans) - len(best)
        rows += [[phrase, span.topic, f'{span.start:.1f}', f'{span.end:.1f}', f'{span.best:.1f}',
                  f'{span.score:.2f}'] for span in spans if span in best]
        if not spans:
            _say(f'{job.out}: {phrase!r} was found nowhere: try another phrase, or a lower '
                 'find_threshold in a --params-file')
    if rows:
        print(table(['phrase', 'topic', 'from (s)', 'to (s)', 'best at (s)', 'score'], rows))
        _say(f'{job.out}: all hits are in {finds.FOUND}, the best are shown in {finds.SHEET}'
             + (f'; {left_out} weaker times are left out of the table' if left_out else ''))


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which schedulers send, end the block as Ctrl-C does."""
    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _fail(reason: str) -> int:
    print(f'segment_bag: {reason}', file=sys.stderr)
    return FAILED


if __name__ == '__main__':
    sys.exit(main())
