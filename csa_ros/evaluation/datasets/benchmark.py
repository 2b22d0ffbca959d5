"""What a benchmark is: pictures with their truth, the words, and the published protocol."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Protocol

from csa_ros.choices import LOW
from csa_ros.presets import read_preset
from csa_ros.settings import Settings
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
import numpy as np

# In a truth: a pixel that does not count.
IGNORED = 255


class BenchmarkError(RuntimeError):
    """A data set cannot be used; the message says what is expected where, and how to get it."""


class Sample(Protocol):
    """
    One picture of a data set; it can be pickled, so that worker processes read the files.

    `name` is unique in the data set and stays the same from run to run.
    """

    @property
    def name(self) -> str:
        """Name of the picture."""

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the picture (H, W, 3) uint8, RGB, and its truth (H, W) uint8.

        The truth holds class ids of the benchmark's vocabulary, or IGNORED. Raises
        BenchmarkError for a file that cannot be read.
        """


@dataclass(frozen=True)
class Benchmark:
    """
    A data set and the protocol that the published figures were made with.

    `vocabulary` is the name of a preset (`csa_ros.presets`), without its sign, or a tuple of
    entries. `settings` are those of the published results for ViT-B/16. `unknown_class` is the
    class that a pixel without a label (255) is counted as, None if that is simply wrong.
    `published` maps attentions to their published mIoU in percent, with ViT-B/16 and OpenAI's
    weights, or with GroupViT where that is its grouping, and `sources` to where that is written.
    `protocols` holds the settings of the figures that others did not measure with `settings`, as
    far as they are known. `radio` are the settings for RADIO, by resolution, and `groupvit` those
    for GroupViT; where there are none, `settings` are for all. `samples` lists the pictures below
    a folder of data sets, which holds the official layout of this one; it raises BenchmarkError if
    they are not there.
    """

    name: str
    title: str
    vocabulary: str | tuple[str, ...]
    settings: Settings
    samples: Callable[[Path | None], Sequence[Sample]]
    unknown_class: int | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    protocols: Mapping[str, Settings] = field(default_factory=dict)
    radio: Mapping[str, Settings] = field(default_factory=dict)
    groupvit: Settings | None = None

    def words(self) -> Vocabulary:
        """Return the vocabulary."""
        entries = self.vocabulary
        return Vocabulary.parse(read_preset(entries) if isinstance(entries, str) else entries)

    def protocol(self, attention: str) -> Settings:
        """Return the settings that the published figure of an attention was measured with."""
        return self.protocols.get(attention, self.settings)

    def protocol_of_radio(self, resolution: str) -> Settings:
        """Return the settings for RADIO at a resolution; ValueError for one there is not."""
        if resolution in self.radio:
            return self.radio[resolution]
        if resolution != LOW:
            raise ValueError(f'resolution is {resolution!r}: {self.title} has settings for '
                             f'{LOW!r} alone, choose short_side, crop and stride instead')
        return self.settings

    def protocol_of_groupvit(self) -> Settings:
        """Return the settings for GroupViT."""
        return self.groupvit or self.settings

    def counted(self, labels: np.ndarray) -> np.ndarray:
        """Return labels (H, W) uint8 as they are counted."""
        if self.unknown_class is None:
            return labels
        return np.where(labels == UNKNOWN, np.uint8(self.unknown_class), labels)
