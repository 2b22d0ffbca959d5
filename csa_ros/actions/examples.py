"""What has been shown of actions: the frames of a window each, as a model sees them."""

from dataclasses import dataclass
from typing import ClassVar

from csa_ros.teaching.collection import Collection
import torch
from torch import Tensor

# Each is compared with every window: more would cost more than they say.
MAX_PER_NAME = 16
MAX_EXAMPLES = 256


@dataclass(frozen=True, eq=False)
class Demonstration:
    """
    An action as a model saw it once.

    `features` (T, D) float32 are those of its T frames, the oldest first, on the host.
    `fingerprint` is that of model and method: features of another cannot be compared. `camera`,
    `stamp` (of the last frame, nanoseconds) and `thumbnail` (JPEG) tell people what was shown, and
    `model` what the model is called.
    """

    features: Tensor
    fingerprint: str
    camera: str = ''
    stamp: int = 0
    thumbnail: bytes = b''
    model: str = ''


@dataclass(frozen=True, eq=False)
class ActionExamples(Collection[Demonstration]):
    """What was shown of actions, in the order in which it was; all have as many frames."""

    most_per_name: ClassVar[int] = MAX_PER_NAME
    most: ClassVar[int] = MAX_EXAMPLES
    others: ClassVar[str] = 'by another model, or for another method,'

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the actions, by the order of their first examples."""
        return tuple(self.counts)

    def of(self, name: str) -> Tensor:
        """Return the features of the K examples of an action, (K, T, D); KeyError if K is 0."""
        shown = [item.look.features for item in self.items if item.name == name]
        if not shown:
            raise KeyError(name)
        return torch.stack(shown)
