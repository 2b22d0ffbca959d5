"""Benchmarks that need no files: rendered streets that the bundled model has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csa_ros.demo.hard import DISTURBANCES
from csa_ros.demo.hard import HardScene
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import EVALUATION_SEEDS
from csa_ros.demo.scenes import Scene
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.settings import Settings
import numpy as np

# Neither those of the plain streets, nor any to choose by or to train on.
HARD_SEEDS = range(500, 600)
# Seconds after the drive has begun.
_TIME = 1.0


@dataclass(frozen=True)
class Street:
    """The street of a seed; a `Sample`. `size` is (width, height) in pixels."""

    seed: int
    size: tuple[int, int] = (320, 240)

    @property
    def name(self) -> str:
        """Return the name of the picture."""
        return f'street-{self.seed:03d}'

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Render the picture (H, W, 3) uint8, RGB, and its truth (H, W) uint8."""
        frame = self._scene().render(_TIME, self.size)
        return frame.rgb, frame.labels

    def _scene(self) -> Scene:
        return Scene(self.seed)


@dataclass(frozen=True)
class HardStreet(Street):
    """The street of a seed with some of `csa_ros.demo.hard.DISTURBANCES`; a `Sample`."""

    disturbances: tuple[str, ...] = tuple(DISTURBANCES)

    def _scene(self) -> Scene:
        return HardScene(self.seed, self.disturbances)


def streets(_: Path | None = None) -> Sequence[Street]:
    """Return the streets; they come from no folder."""
    return [Street(seed) for seed in EVALUATION_SEEDS]


def hard_streets(_: Path | None = None) -> Sequence[HardStreet]:
    """Return the streets with all disturbances; they come from no folder."""
    return [HardStreet(seed) for seed in HARD_SEEDS]


# Without synonyms; every size is that of the model, which is made for these streets.
DEMO = Benchmark('demo', 'Rendered streets', CLASSES, Settings(), streets)
DEMO_HARD = Benchmark('demo-hard', 'Rendered streets as a real camera sees them', CLASSES,
                      Settings(), hard_streets)
RENDERED = {benchmark.name: benchmark for benchmark in (DEMO, DEMO_HARD)}
