"""Makes the page that shows what was measured, from the bench's JSON alone."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from csa_ros.bench import plot
from csa_ros.bench.targets import listed
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import table


class PageError(RuntimeError):
    """The page cannot be made; the message says what is missing."""


def write(path: Path, documents: Sequence[dict], modules: dict[str, ModuleType]) -> None:
    """
    Write the page to `path` and its plots beside it.

    `documents` are what the bench writes as JSON, one a machine; `modules` are the sections, as
    from `csa_ros.bench.sections.load`. Raises PageError for a section that cannot be described
    here, `csa_ros.bench.plot.PlotError` without matplotlib, OSError if a file cannot be written.
    """
    for document in documents:
        unknown = [name for name in document['sections'] if name not in modules]
        if unknown:
            raise PageError(f'section {unknown[0]!r} cannot be described here: make the page '
                            'where it can be imported (those of the node need ROS)')
    pictures = []
    for number, document in enumerate(documents, 1):
        if 'core' in document['sections']:
            pictures.append(path.with_name(f'{path.stem}_{number}.png'))
            plot.draw(pictures[-1], document['sections']['core'], _name(document['machine']))
    path.write_text(text(documents, modules, [picture.name for picture in pictures]))


def text(documents: Sequence[dict], modules: dict[str, ModuleType], pictures: Sequence[str]
         ) -> str:
    """Return the page as markdown; `pictures` are the names of pictures beside it."""
    parts = ['# Performance', _INTRODUCTION, '## Measured on', _machines(documents),
             '## What was aimed at', _targets(documents, modules),
             *(f'![Time of a frame by path and number of classes]({name})' for name in pictures)]
    for name, module in modules.items():
        described = [document for document in documents if name in document['sections']]
        if described:
            parts.append(f'## {module.TITLE}')
        for document in described:
            if len(documents) > 1:
                parts.append(f"**On {_name(document['machine'])}**")
            parts.append(module.describe(document['sections'][name]))
    return '\n\n'.join(parts) + '\n'


def section_text(module: ModuleType, result: dict) -> str:
    """Return what a section measured, and how its targets fared, as markdown."""
    parts = [module.describe(result)]
    if hasattr(module, 'targets'):
        parts.append(listed(module.targets(result)))
    return '\n\n'.join(parts)


_INTRODUCTION = """\
What a frame costs, from one run of `bench` on each machine. Whatever is compared was timed in turn
in one process, so that what else the machine did hit all alike: trust ratios more than times.

Repeat it on yours, and make this page of what it writes:

    ros2 run csa_ros bench --json figures.json        # or: python -m csa_ros.tools.bench
    ros2 run csa_ros bench --page docs/performance.md figures.json

On a machine with a GPU, with or without ROS, `scripts/gpu OUT` runs the tests that want one,
measures what concerns it in less than five minutes, and leaves `performance_gpu.json` in OUT."""


def _machines(documents: Sequence[dict]) -> str:
    rows = []
    for document in documents:
        found = document['machine']
        rows.append([_name(found), f"{found['cores']} cores, {found['threads']} threads used",
                     found['instructions'], f"{found['torch']}, Python {found['python']}",
                     found['date'][:10], f"`{document['command']}`"])
    return table(['machine', 'CPU', 'instructions', 'PyTorch', 'date', 'command'], rows)


def _name(found: dict) -> str:
    return ', '.join(filter(None, (found['gpu'], found['cpu'])))


def _targets(documents: Sequence[dict], modules: dict[str, ModuleType]) -> str:
    """Return each aim once a machine that measured it, or once if none did."""
    found: dict[str, list[tuple[Target, str]]] = {}
    for name, module in modules.items():
        for document in documents:
            if name in document['sections'] and hasattr(module, 'targets'):
                for target in module.targets(document['sections'][name]):
                    found.setdefault(target.aim, []).append((target, _name(document['machine'])))
        for aim in getattr(module, 'AIMS', ()):
            found.setdefault(aim, [(Target(aim), '')])
    rows = []
    for aim, results in found.items():
        measured = [(target, where) for target, where in results if target.met is not None]
        rows += [[aim, target.measured, target.verdict, where if target.met is not None else '']
                 for target, where in measured or results[:1]]
    return table(['target', 'measured', 'verdict', 'on'], rows)
