"""Where on this machine the weights of a GroupViT are. Nothing here uses the network."""

import os
from pathlib import Path
import re

from csa_ros.model.errors import ModelError
from csa_ros.model.weights import files
from csa_ros.model.weights.catalogue import GROUPVIT
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from huggingface_hub import try_to_load_from_cache


def parse_groupvit(model: str) -> tuple[str, Path | None] | None:
    """
    Return the preset and the path that a model string names; None if it is no GroupViT.

    `model` is `PRESET` or `PRESET:/path`, where `groupvit` is the preset that there is.
    """
    match = re.fullmatch(r'([^:/]+)(?::(.+))?', model)
    name = match[1] if match else ''
    if name == GROUPVIT:
        name, = GROUPVIT_PRESETS
    if match is None or name not in GROUPVIT_PRESETS:
        return None
    return name, Path(os.path.expanduser(match[2])) if match[2] else None


def locate(name: str, path: Path | None) -> Path:
    """
    Return the file with the weights of a preset.

    `path` is that which somebody named, a file or a folder, None for what `fetch_model` or the
    hub's client have fetched. Raises ModelError if there is none.
    """
    if path is None:
        found = try_to_load_from_cache(*GROUPVIT_PRESETS[name].file)
        if isinstance(found, str):
            return Path(found)
        raise ModelError(f'the weights of {name!r} are not on this machine, and loading never '
                         "uses the network. Fetch them beforehand with 'ros2 run csa_ros "
                         f"fetch_model {name}' or 'python -m csa_ros.tools.fetch_model {name}', "
                         'or use model:=demo, which is bundled and works offline')
    if path.is_dir():
        return files.find_file(path)
    if not path.is_file():
        raise ModelError(f"model '{name}:{path}': there is no file {path}")
    return path


def is_here(name: str) -> bool:
    """Tell whether a preset loads without a network, as far as what is where tells."""
    return isinstance(try_to_load_from_cache(*GROUPVIT_PRESETS[name].file), str)
