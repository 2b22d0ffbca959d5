"""Features of pictures and captions, through towers of which parts learn."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import nullcontext
from typing import NamedTuple

from csa_ros.model.backbone import Backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.pixels import Normalization
from csa_ros.model.text_tower import encode_tokens
from open_clip.transformer import VisionTransformer
import torch
from torch import Tensor
from torch.nn import functional as F


class Texts(NamedTuple):
    """
    Which captions belong to which of N pictures, as long as no two of M are the same.

    `texts` are the M; `which` (N, K) int64 says which each picture has, and `own` (N, M) bool is
    true where it has one.
    """

    texts: list[str]
    which: Tensor
    own: Tensor


class Features(NamedTuple):
    """
    What a model makes of N pictures and M captions: float32, of length 1.

    `image` is (N, D), `patches` (N, P, D), `text` (M, D); `which` and `own` are as in `Texts`.
    """

    image: Tensor
    patches: Tensor
    text: Tensor
    which: Tensor
    own: Tensor


def collect(captions: Sequence[Sequence[str]]) -> Texts:
    """Return the captions of pictures, as many of each, each of them once."""
    places = {text: place for place, text in enumerate(
        dict.fromkeys(text for own in captions for text in own))}
    which = torch.tensor([[places[text] for text in own] for own in captions])
    own = torch.zeros(len(captions), len(places), dtype=torch.bool)
    return Texts(list(places), which, own.scatter_(1, which, True))


class Encoder:
    """
    Encodes pictures and captions as they are compared in training.

    Where the image tower `learns`, its attention is the ordinary one, as in CLIP's training.
    Where it does not, patches are those of Correlative Self-Attention, which the node compares
    words with. `precision` is the type that the towers compute in; weights stay in float32.
    Without `whole` the feature of a picture is the mean of its patches, which saves a pass.
    """

    def __init__(self, backbone: Backbone, learns: bool, precision: torch.dtype,
                 whole: bool = True) -> None:
        self._backbone = backbone
        self._learns = learns
        self._precision = precision
        self._whole = whole
        self._dense = DenseEncoder(backbone, 'vanilla' if learns else 'csa')
        self._normalise = Normalization(backbone.mean, backbone.std, backbone.device)
        visual = backbone.visual
        # One pass gives both where the feature of an image is that of its class token.
        self._one_pass = (learns and isinstance(visual, VisionTransformer)
                          and visual.attn_pool is None and visual.pool_type == 'tok')

    def __call__(self, frames: Tensor, captions: Sequence[Sequence[str]]) -> Features:
        """Return the features of frames (N, size, size, 3) uint8 and of their captions."""
        image, patches = self.images(frames)
        texts = collect(captions)
        device = self._backbone.device
        return Features(image, patches, self.texts(texts.texts), texts.which.to(device),
                        texts.own.to(device))

    def images(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of frames (N, size, size, 3) uint8: (N, D) and (N, P, D)."""
        with self._computing(), nullcontext() if self._learns else torch.no_grad():
            pixels = self._normalise(frames.to(self._backbone.device))
            # Those of a step before are of other weights.
            self._dense.positions.cache_clear()
            if self._one_pass:
                tokens = self._dense.project_tokens(pixels)
                image, patches = tokens[:, 0], tokens[:, 1:]
            else:
                patches = self._dense.forward(pixels).flatten(1, 2)
                image = (self._backbone.clip.encode_image(pixels) if self._whole
                         else patches.mean(dim=1))
        return F.normalize(image.float(), dim=-1), F.normalize(patches.float(), dim=-1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return the features of texts, (M, D); too long ones are cut as the tokenizer does."""
        tokens = self._backbone.tokenizer(list(texts))
        with self._computing():
            features = encode_tokens(self._backbone.clip, tokens)
        return F.normalize(features.float(), dim=-1)

    def _computing(self) -> AbstractContextManager:
        return torch.autocast(self._backbone.device.type, self._precision,
                              self._precision != torch.float32)
