"""Measures what segmentation costs on this machine, and makes the page that shows it."""

import argparse
from collections.abc import Sequence
import json
from pathlib import Path
import shlex
import sys
from types import ModuleType
from typing import Any

from csa_ros.bench import page
from csa_ros.bench import sections
from csa_ros.bench.page import PageError
from csa_ros.bench.plot import PlotError
from csa_ros.bench.timing import machine
from csa_ros.model.errors import ModelError
from csa_ros.process.threads import set_threads
from csa_ros.tools.arguments.bench import make_parser
from tqdm import tqdm


def main(args: Sequence[str] | None = None) -> int:
    """Run the bench, or make the page; return the exit status."""
    modules, missing = sections.load()
    parser = make_parser()
    args = sys.argv[1:] if args is None else list(args)
    options = parser.parse_args(args)
    if options.page:
        return _write_page(options.page, options.names, modules)
    unknown = [name for name in options.names if name not in sections.SECTIONS]
    if unknown:
        parser.error(f"unknown section {unknown[0]!r}: choose from {', '.join(sections.SECTIONS)}")
    missing |= sections.unavailable(modules)
    absent = [name for name in options.names if name in missing]
    if absent:
        parser.error(f'section {absent[0]!r} cannot run here: {missing[absent[0]]}')
    for name, reason in missing.items():
        if not options.names:
            print(f'bench: {name} is left out: {reason}', file=sys.stderr)
    chosen = {name: module for name, module in modules.items()
              if name in (options.names or modules) and name not in missing}
    set_threads(options.threads)
    return _run(chosen, options, shlex.join(
        ['python', '-m', 'csa_ros.tools.bench', *args]))


def _run(modules: dict[str, ModuleType], options: argparse.Namespace, command: str) -> int:
    document: dict[str, Any] = {'machine': machine(), 'command': command, 'sections': {}}
    status = 0
    for name, module in modules.items():
        print(f'\n## {module.TITLE}\n', flush=True)
        try:
            # Without a terminal (disable=None) a bar would fill a log.
            with tqdm(total=0, desc=name, leave=False, unit='step', disable=None) as progress:
                result = module.measure(options, progress)
        # What the machine lacks for one section is no reason to lose the others.
        except (ModelError, OSError, RuntimeError, ValueError) as error:
            print(f'bench: {name}: {error}', file=sys.stderr)
            status = 1
            continue
        document['sections'][name] = result
        if options.json:
            options.json.write_text(json.dumps(document, indent=1) + '\n')
        print(page.section_text(module, result), flush=True)
    return status


def _write_page(path: Path, files: Sequence[str], modules: dict[str, ModuleType]) -> int:
    if not files:
        print('bench: --page needs at least one JSON file, made with --json', file=sys.stderr)
        return 2
    try:
        documents = [json.loads(Path(file).read_text()) for file in files]
        page.write(path, documents, modules)
    except (OSError, ValueError, PageError, PlotError) as error:
        print(f'bench: {error}', file=sys.stderr)
        return 1
    print(f'{path} is made of {", ".join(files)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
