"""
Open-vocabulary semantic segmentation of camera images, for ROS 2 and without it.

`Segmenter` and `Vocabulary` are imported on first use, so that `import csa_ros` stays cheap and
needs neither torch nor rclpy.
"""

import importlib
import os
import sys
from typing import Any

_HOMES = {'Segmenter': 'csa_ros.segmenter', 'Vocabulary': 'csa_ros.vocabulary'}
__all__ = sorted(_HOMES)

# The threads of a forward pass wait for each other at every layer. By default they do so in a busy
# loop, which keeps from the CPU the very thread that is waited for as soon as another process runs
# there: docs/speed.md has figures. OpenMP reads this when PyTorch is loaded.
if 'torch' not in sys.modules:
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
