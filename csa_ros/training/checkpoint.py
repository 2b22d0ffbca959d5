"""
Files of a training: the state that it goes on from, and the weights that it leaves.

Each is there as a whole or not at all, and nothing in them is run when they are read.
"""

from collections.abc import Callable
from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

from csa_ros.files import write_whole
from csa_ros.training.errors import TrainingError
from safetensors.torch import save
import torch
from torch import Tensor


def read_state(path: Path, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    Return the state that a training of a recipe has left, None if it has left none.

    Raises TrainingError for the state of another recipe, and for a file that is damaged.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
        found = json.loads(state['recipe'])
    except Exception as error:  # a damaged file fails in as many ways as there are
        raise TrainingError(f'{path} is damaged, or no state of a training '
                            f'({type(error).__name__}): remove it to begin anew') from error
    other = [f'{name} was {found.get(name)!r} and is now {value!r}'
             for name, value in recipe.items() if found.get(name) != value]
    if other:
        raise TrainingError(
            f'{path} is the state of another training: {"; ".join(other)}. Give the same options '
            'to go on with it, name another file with --out, or remove it to begin anew')
    return state


def write_state(path: Path, recipe: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write the state of a training of a recipe; raise TrainingError if that fails."""
    _write(path, lambda draft: torch.save({'recipe': json.dumps(recipe), **state}, draft))


def write_weights(path: Path, weights: Mapping[str, Tensor],
                  metadata: Mapping[str, str] | None = None) -> None:
    """Write weights as safetensors, and what is said of them; TrainingError if that fails."""
    copied = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    # Not save_file, which lets nobody else read what it writes.
    _write(path, lambda draft: draft.write_bytes(save(copied, dict(metadata or {'format': 'pt'}))))


def write_text(path: Path, text: str) -> None:
    """Write a text; raise TrainingError if that fails."""
    _write(path, lambda draft: draft.write_text(text, encoding='utf-8'))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    try:
        write_whole(path, write)
    # PyTorch has an error of its own for a disk that is full.
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f'{path} cannot be written: {str(error).splitlines()[0]}. What was written before is '
            'whole; make room, and the same command goes on from there') from error
