"""What each worker of a cluster takes of it, and how many workers there are."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Any

from csa_ros.choices import AUTO
from csa_ros.cluster.errors import ClusterError

_CPU, _GPU = 'CPU', 'GPU'


@dataclass(frozen=True)
class Share:
    """What one worker takes, and how many there are."""

    workers: int
    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """Return how many threads a worker may use at the same time."""
        return max(math.floor(self.cpus), 1)

    def device(self, asked: str) -> str:
        """Return where a worker runs its model, if it is asked to run it on a device."""
        return 'cpu' if asked == AUTO and not self.gpus else asked

    def __str__(self) -> str:
        each = [f'{amount:g} {name}' for amount, name in
                ((self.cpus, _CPU), (self.gpus, _GPU)) if amount]
        number = f'{self.workers} worker{"s" * (self.workers > 1)}'
        return f'{number} of {" and ".join(each) or "0 CPU"}'


def share(nodes: Sequence[Mapping[str, Any]], pieces: int, workers: int = 0, cpus: float = 1.0,
          gpus: float | None = None) -> Share:
    """
    Return what workers take of nodes, which are those of `ray.nodes()`, for so many pieces.

    `workers` is how many there are, whether they have room now or the cluster must grow for them;
    0 is as many as fit. `cpus` and `gpus` are for each, also fractions; None is a whole GPU each
    if the cluster has any. Raises ClusterError if no worker fits, and none was asked for.
    """
    held = [node['Resources'] for node in nodes]
    if gpus is None:
        gpus = float(any(each.get(_GPU, 0) >= 1 for each in held))
    asked = {_CPU: cpus, _GPU: gpus}
    fitting = sum(_fitting(each, asked) for each in held)
    if not fitting and not workers:
        most = {name: max((each.get(name, 0) for each in held), default=0) for name in asked}
        raise ClusterError(
            f'no node of the cluster has {cpus:g} CPU and {gpus:g} GPU for a worker; the most '
            f'that one has are {most[_CPU]:g} and {most[_GPU]:g}: ask for less with --ray-cpus '
            'and --ray-gpus, or, of a cluster that grows on demand, for a number of --ray-workers')
    return Share(min(workers or fitting, max(pieces, 1)), cpus, gpus)


def _fitting(held: Mapping[str, float], asked: Mapping[str, float]) -> int:
    """Return how many workers fit on a node; one that takes nothing has a place all the same."""
    places = [math.floor(held.get(name, 0) / amount + 1e-9)
              for name, amount in asked.items() if amount]
    return min(places, default=1)
