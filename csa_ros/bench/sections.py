"""The sections of the bench, in the order in which they run and are shown."""

import importlib
from types import ModuleType

# Each is a module with TITLE, add_arguments(parser), measure(options, progress) -> dict for JSON,
# describe(dict) -> markdown and, where something was asked of it, targets(dict) -> [Target].
SECTIONS = ('core', 'refine', 'text', 'runtimes', 'video', 'overhead', 'node')


def load() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """
    Import the sections that can run here.

    Returns the modules by name, and for each of the others what is missing: those that measure the
    node need ROS.
    """
    modules, missing = {}, {}
    for name in SECTIONS:
        try:
            modules[name] = importlib.import_module(f'csa_ros.bench.{name}')
        except ModuleNotFoundError as error:
            missing[name] = f'{error.name} is not installed'
    return modules, missing
