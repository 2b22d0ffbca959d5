"""What a frame is segmented and drawn with, as one value that never changes."""

from dataclasses import dataclass
from functools import cached_property

from csa_ros.adapters import autoware
from csa_ros.finding.relevancy import Sought
from csa_ros.parameters.config import Config
from csa_ros.segmenter import Words
from csa_ros.settings import Settings
from csa_ros.teaching.examples import Examples
from csa_ros.vocabulary import Vocabulary
import numpy as np


@dataclass(frozen=True)
class Snapshot:
    """
    All that a frame is segmented and drawn with; replaced as a whole, never changed.

    `words` were made with `examples`, of which those of other names are kept for later, and have
    learned from them where `tuned`. `sought` are the phrases to find, made for these words; None
    where there are none.
    """

    version: int
    words: Words
    examples: Examples
    tuned: bool
    settings: Settings
    overlay_alpha: float
    overlay_legend: bool
    mask_classes: tuple[str, ...]
    sought: Sought | None
    find_threshold: float
    object_classes: tuple[str, ...]
    min_object_area: int

    @classmethod
    def of(cls, config: Config, version: int, words: Words, examples: Examples,
           tuned: bool = False, sought: Sought | None = None) -> 'Snapshot':
        """Return what a configuration asks for, with the words that are to be in force."""
        return cls(version, words, examples, tuned, config.settings, config.overlay_alpha,
                   config.overlay_legend, config.mask_classes, sought, config.find_threshold,
                   config.object_classes, config.min_object_area)

    @property
    def vocabulary(self) -> Vocabulary:
        """Return what the labels mean."""
        return self.words.vocabulary

    @property
    def taught(self) -> dict[str, int]:
        """Return how many examples each class has that was shown."""
        return {name: each.count for name, each in self.words.taught.items()}

    @cached_property
    def mask_table(self) -> np.ndarray:
        """Return for each label 255 if it is in `mask_classes`, else 0: (256,) uint8."""
        table = np.zeros(256, np.uint8)
        table[:len(self.vocabulary)][np.isin(self.vocabulary.names, self.mask_classes)] = 255
        return table

    @property
    def objects(self) -> list[tuple[int, str]]:
        """Return the ids and names of `object_classes`."""
        return [(class_id, name) for class_id, name in enumerate(self.vocabulary.names)
                if name in self.object_classes]

    @cached_property
    def autoware_ids(self) -> np.ndarray:
        """Return Autoware's class id of each label, (256,) uint8."""
        return autoware.class_ids(self.vocabulary.names)
