"""Measure the mean IoU on data sets, in their published protocol, and show where it fails."""

import argparse
from collections.abc import Collection
from collections.abc import Sequence
from difflib import get_close_matches
import json
from pathlib import Path
import shlex
import signal
import sys
from typing import Any

from csa_ros.choices import ATTENTIONS
from csa_ros.choices import AUTO
from csa_ros.choices import DEFAULT_MODEL
from csa_ros.evaluation import comparison
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.evaluation.datasets.benchmark import BenchmarkError
from csa_ros.evaluation.datasets.demo import RENDERED
from csa_ros.evaluation.datasets.protocol import Asked
from csa_ros.evaluation.records import digest
from csa_ros.evaluation.records import RecordsError
from csa_ros.evaluation.records import write_whole
from csa_ros.evaluation.report import output
from csa_ros.evaluation.report import page
from csa_ros.evaluation.report.comparison import describe as describe_comparison
from csa_ros.evaluation.report.result import describe
from csa_ros.evaluation.report.result import describe_all
from csa_ros.evaluation.report.sheet import encode
from csa_ros.evaluation.run import make_task
from csa_ros.evaluation.run import run
from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.text import templates
from csa_ros.model.weights.source import DEMO as DEMO_MODEL
from csa_ros.process.threads import set_threads
from csa_ros.process.threads import usable_threads
from csa_ros.shards import Shard
from csa_ros.teaching.file import Kept
from csa_ros.teaching.file import read_kept
from csa_ros.tools.arguments.cluster import check_cluster
from csa_ros.tools.arguments.evaluate import BENCHMARKS
from csa_ros.tools.arguments.evaluate import make_parser
from csa_ros.tools.arguments.evaluate import MOST_WORKERS
from csa_ros.tools.arguments.evaluate import SETTINGS
from csa_ros.urls import is_remote
import torch

DONE, FAILED, BAD_ARGUMENTS, OTHERS_MISSING = 0, 1, 2, 3


def main(args: Sequence[str] | None = None) -> int:
    """Evaluate what the arguments name; return the exit status."""
    parser = make_parser()
    args = sys.argv[1:] if args is None else list(args)
    options = parser.parse_args(args)
    if options.page:
        return _write_page(*options.page)
    try:
        names = _names(options)
        _check(options, names)
    except ValueError as error:
        parser.error(str(error))
    try:
        return _run(options, names, shlex.join(['python', '-m', 'csa_ros.tools.evaluate', *args]))
    except KeyboardInterrupt:
        print('\nevaluate: interrupted; the same command goes on from here', file=sys.stderr)
        return 128 + signal.SIGINT
    except (BenchmarkError, ModelError, RecordsError, OSError, RuntimeError, ValueError) as error:
        _say(str(error))
        return FAILED


def _names(options: argparse.Namespace) -> list[str]:
    """Return the data sets that are asked for; raise ValueError."""
    if options.all == bool(options.dataset):
        raise ValueError('name data sets with --dataset, or ask for --all')
    if options.all:
        return [name for name in BENCHMARKS if name not in RENDERED]
    for name in options.dataset:
        _choose(name, BENCHMARKS, 'data set')
    return list(dict.fromkeys(options.dataset))


def _all_rendered(names: Sequence[str]) -> bool:
    return all(name in RENDERED for name in names)


def _check(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise ValueError for options that can be judged before anything is loaded."""
    _choose(options.attention, (AUTO, *ATTENTIONS), 'attention')
    if options.prompts is not None:
        templates(options.prompts)
    Shard.parse(options.shard)
    check_cluster(options)
    for name, least in (('limit', 1), ('workers', 0), ('threads', 0), ('worst', 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f'--{name} is {value}: it must be at least {least}')
    if options.compare and options.shard != '0/1':
        raise ValueError('--shard cannot be combined with --compare')
    if options.compare and options.ray is not None:
        raise ValueError('--ray cannot be combined with --compare: evaluate one way at a time')
    if options.compare and options.examples:
        raise ValueError('--examples cannot be combined with --compare: examples of one attention '
                         'cannot be compared with what others see')
    if options.root is None and not _all_rendered(names):
        raise ValueError('name the folder that holds the data sets with --root')


def _choose(name: str, choices: Collection[str], what: str) -> None:
    if name not in choices:
        close = get_close_matches(name.lower(), list(choices), n=1, cutoff=0.5)
        hint = f' (did you mean {close[0]}?)' if close else ''
        raise ValueError(f"there is no {what} {name!r}{hint}: choose from {', '.join(choices)}")


def _run(options: argparse.Namespace, names: Sequence[str], command: str) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    model = options.model or (DEMO_MODEL if _all_rendered(names) else DEFAULT_MODEL)
    failed: dict[str, str] = {}
    if options.ray is not None:
        results = _on_cluster(names, model, options, command, failed)
        waiting = False
    else:
        results, waiting = _here(names, model, options, command, failed)
    if len(names) > 1 and results and not waiting:
        print(f'\n{_summarise(results, failed, options.out)}')
    return FAILED if failed else OTHERS_MISSING if waiting else DONE


def _here(names: Sequence[str], model: str, options: argparse.Namespace, command: str,
          failed: dict[str, str]) -> tuple[list[dict[str, Any]], bool]:
    """Return the results, and whether pictures of other shards are missing; note what failed."""
    set_threads(options.threads)
    backbone = load_backbone(model, options.device, options.precision)
    results, waiting = [], False
    for name in names:
        try:
            if options.compare:
                _compare(BENCHMARKS[name], backbone, options, command)
                continue
            result = _evaluate(BENCHMARKS[name], backbone, options, command)
        except BenchmarkError as error:
            # One that is missing is no reason to do without the others.
            _note(BENCHMARKS[name], str(error), failed)
            continue
        if result is None:
            waiting = True
            continue
        results.append(result)
        print(f'\n{describe(result)}\n', flush=True)
    return results, waiting


def _on_cluster(names: Sequence[str], model: str, options: argparse.Namespace, command: str,
                failed: dict[str, str]) -> list[dict[str, Any]]:
    """Return the results; note what failed."""
    # Ray is not loaded without being asked for.
    from csa_ros.evaluation import cluster
    from csa_ros.tools.cluster import joined
    request = cluster.Request(
        root=options.root and options.root.absolute(), limit=options.limit,
        out=options.out.absolute(), model=model, device=options.device,
        precision=options.precision, asked=_asked(options), command=command, worst=options.worst)
    work: list[cluster.Piece] = []
    for name in names:
        try:
            work += cluster.pieces(BENCHMARKS[name], request)
        except BenchmarkError as error:
            _note(BENCHMARKS[name], str(error), failed)
    results = []
    if work:
        with joined(options, len(work), _say) as share:
            evaluated = cluster.evaluate(work, request, share, _say)
        for each in evaluated:
            if each.result is None:
                _note(each.benchmark, '; '.join(each.failures) or (
                    f'{each.benchmark.title}: the same command sums up what is there'), failed)
                continue
            results.append(each.result)
            _tell(each.benchmark, request.asked.kept, each.unplotted,
                  options.out / each.benchmark.name)
            print(f'\n{describe(each.result)}\n', flush=True)
    return results


def _note(benchmark: Benchmark, reason: str, failed: dict[str, str]) -> None:
    failed[benchmark.title] = reason
    _say(reason)


def _evaluate(benchmark: Benchmark, backbone: Backbone, options: argparse.Namespace,
              command: str) -> dict[str, Any] | None:
    method = _asked(options).method(backbone)
    task = make_task(benchmark, options.root, options.limit, backbone, method)
    records = run(task, options.out, _workers(options, backbone.device),
                  Shard.parse(options.shard))
    if len(records) < len(task.samples):
        _say(f'{benchmark.title}: this share is done, pictures of others are missing; the '
             'same command sums up as soon as they are there')
        return None
    result, unplotted = output.write(task, records, options.out, command, options.worst)
    _tell(benchmark, method.kept, unplotted, task.folder(options.out))
    return result


def _tell(benchmark: Benchmark, kept: Kept | None, unplotted: str, folder: Path) -> None:
    """Say what is to be known of a data set beside its figures."""
    if unplotted:
        _say(unplotted)
    if kept:
        others = kept.examples.counts.keys() - set(benchmark.words().names)
        if others:
            _say(f'{benchmark.title} has no class {", ".join(sorted(others))}, whose examples do '
                 'not count')
    _say(f'{benchmark.title}: all of it is in {folder}')


def _compare(benchmark: Benchmark, backbone: Backbone, options: argparse.Namespace,
             command: str) -> None:
    document, picture = comparison.compare(
        benchmark, options.root, options.limit, backbone, _asked(options).method(backbone),
        options.out, _workers(options, backbone.device), command)
    text = describe_comparison(document)
    path = options.out / f"comparison-{benchmark.name}-{digest(document['method'])}.json"
    write_whole(path.with_suffix('.png'), encode(picture))
    write_whole(path.with_suffix('.md'), text + '\n')
    write_whole(path, json.dumps(document, indent=1) + '\n')
    print(f'\n{text}\n', flush=True)
    _say(f'{benchmark.title}: written to {path}, .md and .png')


def _asked(options: argparse.Namespace) -> Asked:
    overrides = {name: getattr(options, name) for name in SETTINGS
                 if getattr(options, name) is not None}
    return Asked(options.attention, options.residual, options.prompts, overrides,
                 options.resolution, read_kept(options.examples) if options.examples else None)


def _write_page(path: Path, *files: Path) -> int:
    if not files:
        _say('--page needs a page and at least one JSON file')
        return BAD_ARGUMENTS
    try:
        page.update(path, files)
    except (OSError, page.PageError) as error:
        _say(str(error))
        return FAILED
    print(f'{path} has the figures of {", ".join(map(str, files))}')
    return DONE


def _workers(options: argparse.Namespace, device: torch.device) -> int:
    if options.workers is not None:
        return options.workers
    # What reads URLs does not survive a fork.
    if device.type == 'cpu' or options.root and is_remote(options.root):
        return 0
    return min(MOST_WORKERS, usable_threads())


def _summarise(results: Sequence[dict[str, Any]], failed: dict[str, str], out: Path) -> str:
    """Write the summary of several data sets, and return it as markdown."""
    text = describe_all(results, failed)
    key = digest({'methods': [result['method'] for result in results]})
    path = out / f"summary-{results[0]['method']['attention']}-{key}.json"
    document = {'kind': 'summary', 'results': list(results), 'failed': failed}
    write_whole(path.with_suffix('.md'), text + '\n')
    write_whole(path, json.dumps(document, indent=1) + '\n')
    return f'{text}\n\nWritten to {path} and {path.with_suffix(".md").name}'


def _say(text: str) -> None:
    print(f'evaluate: {text}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
