"""The command line of what is measured on rendered streets and drawn into the docs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
import shlex


def parse(module: str, description: str | None, limit: str, args: Sequence[str]
          ) -> tuple[argparse.Namespace, str]:
    """
    Return model, device, threads, limit and out, and the command that they were given by.

    `module` is what Python runs, and `limit` the help of `--limit`. Exits if they cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog=f'python -m {module}', description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='demo', help='as for the node (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--threads', type=int, default=0,
                        help='threads on a CPU; 0 takes as many as can run at once')
    parser.add_argument('--limit', type=int, metavar='N', help=limit)
    parser.add_argument('--out', type=Path, default=Path('evaluation'), metavar='DIR',
                        help='folder for the results (default: %(default)s)')
    options = parser.parse_args(args)
    for name, least in (('limit', 1), ('threads', 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            parser.error(f'--{name} is {value}: it must be at least {least}')
    return options, shlex.join(['python', '-m', module, *args])
