"""Examples of actions in one file, which has the features of their frames and a thumbnail each."""

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from csa_ros.actions.examples import ActionExamples
from csa_ros.actions.examples import Demonstration
from csa_ros.teaching import container
from csa_ros.teaching.collection import Example
import torch
from torch import Tensor

FORMAT = 'csa_ros actions 1'


def _pack(examples: ActionExamples) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    features = [example.look.features for example in examples]
    return ({'features': torch.stack(features) if features else torch.empty(0, 0, 0)},
            [{} for _ in features])


def _unpack(tensors: Mapping[str, Tensor], described: Sequence[Mapping[str, Any]],
            details: Sequence[Mapping[str, Any]]) -> ActionExamples:
    return ActionExamples(tuple(
        Example(item['name'], Demonstration(features, **detail))
        for item, features, detail in zip(described, tensors['features'], details)))


FORM = container.Form(
    FORMAT, ActionExamples(), {'features': (torch.float32, 3)}, _pack,
    lambda described: {'features': len(described)}, _unpack)


class ActionsFile(container.KeptExamples[ActionExamples]):
    """The file that the node keeps them in, if any."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path, FORM)
