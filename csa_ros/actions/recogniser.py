"""
Names what happens in a stream of frames, by words and by examples that were shown.

What is kept of a frame is small, and made once; what is compared are windows of `frames` of them.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from pathlib import Path
from typing import TypeAlias

from csa_ros.actions import matching
from csa_ros.actions import model as learned
from csa_ros.actions import words as wording
from csa_ros.actions.choices import FRAMES
from csa_ros.actions.choices import METHODS
from csa_ros.actions.errors import ActionError
from csa_ros.actions.frames import feature_length
from csa_ros.actions.frames import fit
from csa_ros.actions.frames import FrameEncoder
from csa_ros.actions.frames import of_changes
from csa_ros.actions.frames import of_class
from csa_ros.actions.model import ActionModel
from csa_ros.actions.words import Words
from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import load_backbone
from csa_ros.model.text import TextEncoder
import numpy as np
import torch
from torch import Tensor

# What words count where something was shown. With the 0.9 of CLIP-FSAR, where distances are not
# scaled, examples next to never overrule them: csa_ros.demo.action_lesson measures both.
WORD_SHARE = 0.5
# What is kept of a frame, on the host: its feature (feature length,) float32, or for ma-clip its
# pixels (3, H, W) uint8.
Observation: TypeAlias = Tensor


class Recogniser:
    """
    Names what happens in a stream, by CLIP's features of its frames.

    `load_recogniser` is the usual way to make one. `model` has learned to compare frames, on this
    `backbone`. Raises `csa_ros.model.errors.ModelError` for a backbone that is no CLIP.
    """

    frames = FRAMES

    def __init__(self, backbone: Backbone, method: str = 'clip-fsar',
                 model: ActionModel | None = None, cache_dir: Path | None = None) -> None:
        self.backbone = backbone
        self.method = method
        self._model = model
        self._tower = None if model is None else model.tower
        self._encoder = FrameEncoder(backbone)
        self._text = TextEncoder(backbone, cache_dir)
        self._scale = float(backbone.clip.logit_scale.exp())

    @property
    def name(self) -> str:
        """Name of the model, as it was asked for."""
        return self.backbone.name

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.backbone.device

    @property
    def arithmetic(self) -> str:
        """Arithmetic of the model, in words."""
        return self.backbone.arithmetic

    @property
    def fingerprint(self) -> str:
        """
        Return what tells apart what is kept of examples from what others keep of them.

        It is JSON, see `csa_ros.teaching.fingerprint`. Methods that keep the same have the same.
        """
        adapters = '' if self._tower is None else learned.digest(self._tower)
        return json.dumps({'weights': self.backbone.weights or self.backbone.identity,
                           'frames': self.frames, 'adapters': adapters})

    def observe(self, rgb: np.ndarray) -> Observation:
        """
        Return what is kept of a frame, (H, W, 3) uint8.

        Raises ActionError for what is no picture.
        """
        pixels = fit(rgb, self.backbone.image_size)
        return pixels if self._tower is not None else self._encoder(pixels[None])[0].cpu()

    def encode(self, names: Sequence[str], prompts: str | Sequence[str] = '') -> Words:
        """
        Return the words for actions, ready for use; there may be none.

        `prompts` as for `csa_ros.model.text.templates`; without them, those for actions are used.
        Raises ActionError for names that are empty or there twice, and
        `csa_ros.model.text.PromptError` for prompts that cannot be used.
        """
        return wording.encode(
            self._text, names, prompts, self.backbone.embed_dim, self.backbone.device)

    def check(self, names: Sequence[str], prompts: str | Sequence[str] = '') -> None:
        """Raise what `encode` would."""
        wording.check(self._text, names, prompts)

    def demonstrate(self, observations: Sequence[Observation], name: str) -> Tensor:
        """
        Return what an example keeps of a window, (frames, feature length) float32 on the host.

        `observations` are those of `frames` frames in their order, `name` is what they show.
        Raises ActionError for another number of them, and for a name that is empty.
        """
        if not name.strip():
            raise ActionError('the name of what is shown is empty: give the name of the action')
        text = None if self._tower is None else self.encode([name]).features
        return self._features(observations, text)[0].cpu()

    @torch.inference_mode()
    def recognise(self, observations: Sequence[Observation], words: Words,
                  examples: Mapping[str, Tensor]) -> np.ndarray:
        """
        Return the probability of each action, (C,) float32, by the order of `words.names`.

        `observations` are those of `frames` frames in their order, `examples` by name what
        `demonstrate` has kept of each, (K, frames, feature length). An action of which nothing
        was shown goes by its word alone: what examples say, they say among those that have some.
        The probabilities add up to 1, also those of a single action; without any there are none.
        Raises ActionError for another number of observations, and examples of another form.
        """
        window = self._features(observations)
        if not words.names:
            return np.zeros(0, np.float32)
        said = matching.word_logits(
            of_class(window), words.features, self._scale).softmax(-1)
        shown = [index for index, name in enumerate(words.names) if len(examples.get(name, ()))]
        if shown:
            prototypes = torch.cat([
                self._prototype(examples[words.names[index]], words.features[index])
                for index in shown])
            said = self._combine(said, self._distances(window, prototypes), shown)
        return (said / said.sum())[0].cpu().numpy()

    @torch.inference_mode()
    def _features(self, observations: Sequence[Observation], text: Tensor | None = None) -> Tensor:
        """Return the features of a window, (1, frames, ...), by `text` (1, D) if it is known."""
        if len(observations) != self.frames:
            raise ActionError(f'there are {len(observations)} frames: a window has {self.frames}')
        window = torch.stack(list(observations))
        if self._model is None or self._tower is None:
            return window[None].to(self.device)
        return self._model.look(self._encoder, window[None], text)

    def _prototype(self, shown: Tensor, text: Tensor) -> Tensor:
        """Return what stands for an action, (1, frames, ...), of examples (K, frames, ...)."""
        wanted = (self.frames, feature_length(self.backbone.embed_dim))
        if shown.shape[1:] != wanted:
            raise ActionError(f'examples have the shape {tuple(shown.shape)}: those of this model '
                              f'are (examples, {wanted[0]}, {wanted[1]}); record them anew')
        shown = shown.to(self.device)[None]
        if self._model is not None:
            return self._model.prototypes(shown, text[None])
        return self._kept(shown).mean(1)

    def _distances(self, window: Tensor, prototypes: Tensor) -> Tensor:
        if self.method == 'mean':
            return matching.mean_distances(window, prototypes)
        asked = self._kept(window) if self._model is None else self._model.queries(window)
        return matching.ordered_distances(asked, prototypes)

    def _kept(self, features: Tensor) -> Tensor:
        """Return what of features is compared where nothing has learned to."""
        return features if self.method == 'mean' else of_changes(features)

    def _combine(self, said: Tensor, distances: Tensor, shown: Sequence[int]) -> Tensor:
        """Return probabilities (1, C) of what words have `said`, and of those that were shown."""
        words = said[:, shown]
        share = words.sum(-1, keepdim=True)
        combined = matching.combine(
            words / share, distances, self.frames, WORD_SHARE, self._scale)
        result = said.clone()
        result[:, shown] = share * combined / combined.sum(-1, keepdim=True)
        return result


def load_recogniser(model: str, device: str = 'auto', precision: str = 'auto',
                    method: str = 'clip-fsar', weights: str = '',
                    cache_dir: Path | None = None) -> Recogniser:
    """
    Load a model from this machine, and what compares its frames.

    `model`, `device` and `precision` as for `csa_ros.model.backbone.load_backbone`, `method` is
    one of METHODS, and `weights` a file of train_actions, '' if there is none. `cache_dir` holds
    text features (None: the user's cache). Raises `csa_ros.model.errors.ModelError`, and
    ActionError for a method and weights that cannot be used.
    """
    if method not in METHODS:
        raise ActionError(f'method {method!r} is not understood: write '
                          f'{", ".join(map(repr, METHODS))}')
    if weights and method == 'mean':
        raise ActionError('method mean has nothing to load: leave the weights away, or set '
                          'clip-fsar or ma-clip')
    if method == 'ma-clip' and not weights:
        raise ActionError('method ma-clip needs weights: make them with `ros2 run csa_ros '
                          'train_actions --method ma-clip`, or set clip-fsar, which needs none')
    backbone = load_backbone(model, device, precision)
    return Recogniser(backbone, method, learned.load(Path(weights), backbone, method)
                      if weights else None, cache_dir)
