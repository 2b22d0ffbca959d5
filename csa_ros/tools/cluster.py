"""A cluster of Ray, as a tool is asked for it."""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager

from csa_ros.cluster.connection import connected
from csa_ros.cluster.resources import Share
from csa_ros.cluster.resources import share
import ray


@contextmanager
def joined(options: argparse.Namespace, pieces: int, say: Callable[[str], None]
           ) -> Iterator[Share]:
    """
    Be connected to the cluster of `--ray`, and give what each worker takes for so many pieces.

    Raises `csa_ros.cluster.errors.ClusterError`.
    """
    with connected(options.ray) as dashboard:
        nodes = [node for node in ray.nodes() if node['Alive']]
        taken = share(nodes, pieces, options.ray_workers or 0,
                      1.0 if options.ray_cpus is None else options.ray_cpus, options.ray_gpus)
        say(f'Ray: {taken} on {len(nodes)} node{"s" * (len(nodes) > 1)}, ' + (
            f'dashboard at http://{dashboard}' if dashboard
            else "no dashboard (pip install 'ray[default]')"))
        yield taken
