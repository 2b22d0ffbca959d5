"""What tools that can work on a cluster of Ray take."""

import argparse
from importlib.util import find_spec
from pathlib import Path


def add_cluster(parser: argparse._ActionsContainer, pieces: str) -> None:
    """Add where and with how much to work; `pieces` says what is shared out."""
    parser.add_argument('--ray', nargs='?', const='', metavar='ADDRESS',
                        help=f'share out {pieces} on a cluster of Ray: the one at HOST:PORT; '
                        'local: all of this machine; without an address the one of RAY_ADDRESS, '
                        'or the one that was started here, or local')
    parser.add_argument('--ray-workers', type=int, metavar='N',
                        help='how many hold a model (default: as many as fit now); a cluster that '
                        'grows on demand grows for them')
    parser.add_argument('--ray-cpus', type=float, metavar='X',
                        help='CPUs for each of them, which are its threads (default: 1)')
    parser.add_argument('--ray-gpus', type=float, metavar='X',
                        help='GPUs for each of them, such as 0.5 for two at a time on each '
                        '(default: 1 if the cluster has any)')


def check_cluster(options: argparse.Namespace) -> None:
    """Raise ValueError for what can be judged before anything is loaded."""
    given = {'ray-workers': (options.ray_workers, 1), 'ray-cpus': (options.ray_cpus, 0),
             'ray-gpus': (options.ray_gpus, 0)}
    for name, (value, least) in given.items():
        if value is None:
            continue
        if options.ray is None:
            raise ValueError(f'--{name} counts with --ray alone')
        if not least <= value < float('inf'):
            raise ValueError(f'--{name} is {value}: it must be at least {least}')
    if options.ray is None:
        return
    if options.ray and Path(options.ray).exists():
        raise ValueError(f'--ray is {options.ray!r}, which is a file or a folder: write --ray '
                         'behind what is read and written, or --ray=ADDRESS')
    if options.shard != '0/1':
        raise ValueError('--shard cannot be combined with --ray, which shares the work out itself')
    if (options.device or '').startswith('cuda:'):
        raise ValueError(f'--device is {options.device}: Ray says which GPU a worker has, write '
                         'cuda')
    if not find_spec('ray'):
        raise ValueError("--ray needs Ray, which is not installed: pip install 'ray[default]'")
