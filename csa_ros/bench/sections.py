"""The sections of the bench, in the order in which they run and are shown."""

from collections.abc import Mapping
import importlib
from types import ModuleType

from csa_ros.bench.options import TITLES
import torch

# Each is a module with TITLE, measure(options, progress) -> dict for JSON, describe(dict) ->
# markdown and, where something was asked of it, targets(dict) -> [Target]. Those with NEEDS_GPU
# have their aims in AIMS, for pages of machines that cannot tell.
SECTIONS = tuple(TITLES)


def load() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """
    Import the sections that can be imported here, which is all that a page needs of them.

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


def unavailable(modules: Mapping[str, ModuleType]) -> dict[str, str]:
    """Return for each section that can be imported and not measured here what is missing."""
    if torch.cuda.is_available():
        return {}
    return {name: f'PyTorch {torch.__version__} finds no CUDA GPU'
            for name, module in modules.items() if getattr(module, 'NEEDS_GPU', False)}
