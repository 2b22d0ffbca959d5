"""Clusters of Ray for tests, and what is done on them in place of labelling."""

from contextlib import contextmanager
import os
from pathlib import Path
import time

from ray.cluster_utils import Cluster

# Workers import this module, whatever starts them.
HERE = str(Path(__file__).parent)


@contextmanager
def cluster(cpus):
    """Run a cluster of one node, and give it; its address is `.address`."""
    path = os.environ.get('PYTHONPATH', '')
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [HERE, path]))
    os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
    # Processes that nobody may need would be started in advance.
    os.environ['RAY_enable_worker_prestart'] = os.environ['RAY_prestart_worker_first_driver'] = '0'
    made = Cluster(initialize_head=True, head_node_args={
        'num_cpus': cpus, 'include_dashboard': False, 'object_store_memory': 100 * 1024 ** 2})
    try:
        yield made
    finally:
        made.shutdown()
        os.environ['PYTHONPATH'] = path


class Doubler:
    """Doubles numbers, and does worse to some."""

    def __init__(self, folder, broken=''):
        if broken:
            raise OSError(broken)
        self._folder = Path(folder)

    def work(self, progress, what, number):
        tries = self._folder / f'{what}-{number}'
        with tries.open('a') as file:
            file.write(f'{os.getpid()}\n')
        progress.image()
        if what == 'raises':
            raise OSError(f'{number} cannot be doubled')
        if what == 'crashes':
            os._exit(1)
        if what == 'crashes once' and len(tries.read_text().splitlines()) == 1:
            os._exit(1)
        if what == 'waits':
            while not (self._folder / 'go').exists():
                time.sleep(0.05)
        progress.advance(1)
        return 2 * number
