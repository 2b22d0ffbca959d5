"""
What each disturbance of the rendered streets costs: without any, with each alone, with all.

    python -m csa_ros.evaluation.disturbances
    python -m csa_ros.tools.evaluate --page docs/accuracy.md evaluation/disturbances-demo-hard.json

Each row is resumable: the same command goes on where an interrupted one was ended.
"""

from collections.abc import Sequence
from dataclasses import replace
import json
from pathlib import Path
import sys
from typing import Any

from csa_ros.bench.timing import machine
from csa_ros.demo.hard import DISTURBANCES
from csa_ros.evaluation.arguments import parse
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.evaluation.datasets.demo import DEMO_HARD
from csa_ros.evaluation.datasets.demo import HARD_SEEDS
from csa_ros.evaluation.datasets.demo import HardStreet
from csa_ros.evaluation.datasets.protocol import Method
from csa_ros.evaluation.records import RecordsError
from csa_ros.evaluation.records import write_whole
from csa_ros.evaluation.report.disturbances import describe
from csa_ros.evaluation.report.result import summarise
from csa_ros.evaluation.report.sheet import encode
from csa_ros.evaluation.report.sheet import Panel
from csa_ros.evaluation.report.sheet import sheet
from csa_ros.evaluation.run import make_task
from csa_ros.evaluation.run import run
from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.process.threads import set_threads
import numpy as np

NONE, ALL = 'none', 'all'
# A street on which every disturbance is seen.
_SHOWN, _PANELS_IN_ROW, _PANEL_WIDTH = 550, 6, 240


def main(args: Sequence[str] | None = None) -> int:
    """Measure, write and print the table; return the exit status."""
    options, command = parse(
        'csa_ros.evaluation.disturbances', __doc__,
        f'take N of the {len(HARD_SEEDS)} streets, evenly spaced',
        sys.argv[1:] if args is None else args)
    try:
        set_threads(options.threads)
        backbone = load_backbone(options.model, options.device)
        document = measure(backbone, options.limit, options.out, command)
        path = options.out / f'disturbances-{DEMO_HARD.name}.json'
        write_whole(path, json.dumps(document, indent=1) + '\n')
        write_whole(path.with_suffix('.png'), encode(show()))
    except (ModelError, OSError, RecordsError, ValueError) as error:
        print(f'disturbances: {error}', file=sys.stderr)
        return 1
    print(f'{describe(document)}\n\nWritten to {path} and .png')
    return 0


def measure(backbone: Backbone, limit: int | None, out: Path, command: str) -> dict[str, Any]:
    """
    Evaluate the hard streets without disturbances, with each alone and with all.

    `limit` asks for so many streets, `out` is the folder of the results and `command` what is said
    to have made them. Returns the figures, of what JSON can hold. Raises RecordsError and OSError
    as `csa_ros.evaluation.run.run` does.
    """
    rows = []
    for name, disturbances in variants().items():
        task = make_task(_benchmark(name, disturbances), None, limit, backbone, Method())
        result = summarise(task, run(task, out, name=name), command)
        rows.append({'disturbance': name, 'meaning': DISTURBANCES.get(name, ''),
                     'miou': result['miou'], 'pixel_accuracy': result['pixel_accuracy'],
                     'iou': {entry['name']: entry['iou'] for entry in result['classes']}})
    return {'kind': 'disturbances', 'dataset': DEMO_HARD.name, 'title': DEMO_HARD.title,
            'segmented': len(task.samples), 'total': task.total, 'method': task.identity,
            'machine': machine(), 'command': command, 'rows': rows}


def show(seed: int = _SHOWN) -> np.ndarray:
    """Draw the street of a seed with the disturbances of each row, (H, W, 3) uint8."""
    panels = [Panel(name, HardStreet(seed, disturbances=disturbances).read()[0])
              for name, disturbances in variants().items()]
    rows = [panels[start:start + _PANELS_IN_ROW]
            for start in range(0, len(panels), _PANELS_IN_ROW)]
    return sheet(rows, DEMO_HARD.words(), width=_PANEL_WIDTH)


def variants() -> dict[str, tuple[str, ...]]:
    """Return the disturbances of each row: none, each alone, all."""
    alone = {name: (name,) for name in DISTURBANCES}
    return {NONE: (), **alone, ALL: tuple(DISTURBANCES)}


def _benchmark(name: str, disturbances: tuple[str, ...]) -> Benchmark:
    """Return the hard streets with some of their disturbances; all of them are the data set's."""
    if name == ALL:
        return DEMO_HARD
    samples = [HardStreet(seed, disturbances=disturbances) for seed in HARD_SEEDS]
    return replace(DEMO_HARD, name=f"{DEMO_HARD.name}-{name.replace(' ', '-')}",
                   samples=lambda _: samples)


if __name__ == '__main__':
    sys.exit(main())
