"""What a window is judged by, as one value that never changes."""

from dataclasses import dataclass
from functools import cached_property

from csa_ros.actions.examples import ActionExamples
from csa_ros.actions.words import Words
from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """
    All that a window is judged by; replaced as a whole, never changed.

    `version` counts the changes of words and examples, and `prompts` are what the words were made
    with. Examples of names that are not among the words are kept for later.
    """

    version: int
    words: Words
    prompts: tuple[str, ...]
    examples: ActionExamples
    threshold: float

    @cached_property
    def shown(self) -> dict[str, Tensor]:
        """Return the features (K, T, D) of the examples of each action that has some."""
        return {name: self.examples.of(name) for name in self.examples.names
                if name in self.words.names}
