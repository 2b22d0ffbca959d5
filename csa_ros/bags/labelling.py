"""Pictures to masks and their meaning, as the node makes them."""

from collections.abc import Sequence
from typing import Any

from csa_ros import draw
from csa_ros.finding.regions import found_regions
from csa_ros.finding.regions import Region
from csa_ros.model.reuse import WindowMemory
from csa_ros.parameters.config import Config
from csa_ros.segmenter import Pending
from csa_ros.segmenter import Result
from csa_ros.segmenter import Segmenter
from csa_ros.teaching.examples import Examples
import numpy as np

# What the masks of an image are, and the encoding of each.
OUTPUTS = {'labels': 'mono8', 'overlay': 'rgb8', 'confidence': 'mono8'}


class Labeller:
    """
    Labels pictures with a vocabulary and finds phrases in them, those of a configuration.

    `examples` are of classes of the vocabulary. Making one encodes the words; errors of the
    segmenter pass through.
    """

    def __init__(self, segmenter: Segmenter, config: Config, outputs: Sequence[str],
                 examples: Examples = Examples()) -> None:
        self._segmenter = segmenter
        self._config = config
        self.outputs = outputs
        self._words = segmenter.encode(config.vocabulary, config.prompts, examples)
        self._sought = (segmenter.seek(config.find, self._words, config.prompts)
                        if config.find else None)
        self._settings = segmenter.resolve(config.settings)

    def submit(self, rgb: np.ndarray, memory: WindowMemory) -> Pending:
        """Begin to label a picture, (H, W, 3) uint8; `memory` is that of its camera."""
        alpha = self._config.overlay_alpha if 'overlay' in self.outputs else None
        if self._settings.reuse_threshold:
            result = self._segmenter.segment(
                rgb, self._words, self._settings, alpha, memory, self._sought)
            return Pending(lambda: [result])
        return self._segmenter.submit([rgb], self._words, self._settings, alpha, self._sought)

    def masks(self, result: Result) -> dict[str, np.ndarray]:
        """Return the arrays of OUTPUTS that were asked for, the key drawn on the overlay."""
        if result.overlay is not None and self._config.overlay_legend:
            vocabulary = self._config.vocabulary
            draw.draw_key(result.overlay, vocabulary.names, vocabulary.colors, result.labels,
                          unknown=self.threshold > 0)
        return {name: getattr(result, name) for name in self.outputs}

    def found(self, result: Result) -> list[Region]:
        """Return where the phrases of the configuration are found."""
        if self._sought is None or result.relevancy is None:
            return []
        return found_regions(
            self._sought.phrases, result.relevancy, self._config.find_threshold)

    @property
    def legend(self) -> dict[str, Any]:
        """Return what masks mean, as `Vocabulary.legend`."""
        taught = {name: each.count for name, each in self._words.taught.items()}
        return self._config.vocabulary.legend(1, self._segmenter.name, taught)

    @property
    def device(self) -> Any:
        """Return the device that the model runs on."""
        return self._segmenter.device

    @property
    def threshold(self) -> float:
        """Return the probability below which a pixel is unknown."""
        return self._settings.unknown_threshold
