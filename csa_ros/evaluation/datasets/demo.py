"""The benchmark that needs no files: rendered streets that the bundled model has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.demo.train import EVALUATION_SEEDS
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.settings import Settings
import numpy as np

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
        frame = Scene(self.seed).render(_TIME, self.size)
        return frame.rgb, frame.labels


def streets(_: Path | None = None) -> Sequence[Street]:
    """Return the streets; they come from no folder."""
    return [Street(seed) for seed in EVALUATION_SEEDS]


# Without synonyms; every size is that of the model, which is made for these streets.
DEMO = Benchmark('demo', 'Rendered streets', CLASSES, Settings(), streets)
