"""Crops of rendered streets and their captions, made where the model learns from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from csa_ros.demo import captions
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
import numpy as np
import open_clip
import torch
from torch import Tensor
from torchvision.ops import roi_align

# Smallest and largest side, in pixels of a 320 x 240 scene, of the crops to learn from.
SIDES = (18, 120)
# How many of the crops are cut around things: by chance alone, nine in ten would show road, sky
# and walls only.
AROUND_THINGS = 0.7
# How many pixels of each class of a view are kept for that.
SPOTS = 64
GAINS = (0.85, 1.15)
# Points along a side of a crop at which is looked what it shows.
SAMPLES = 48
# That an instance map of uint8 can tell apart.
INSTANCES = 256


@dataclass(frozen=True)
class View:
    """
    What is kept of a rendered frame to cut crops from.

    `rgb` (H, W, 3) and `instances` (H, W) are uint8; `facts` are, for each instance, what is true
    of a crop that shows it; `spots` (classes, SPOTS, 2) int16 are rows and columns of pixels of
    each class in it.
    """

    rgb: np.ndarray
    instances: np.ndarray
    facts: tuple[tuple[captions.Fact, ...], ...]
    spots: np.ndarray


def view_of(frame: Frame, seed: int) -> View:
    """Keep what crops are cut from; spots are drawn by `seed`, an int of 0 or more."""
    random = np.random.default_rng(seed)
    labels = frame.labels.ravel()
    spots = []
    for index in np.flatnonzero(np.bincount(labels)[:len(CLASSES)]):
        pixels = np.flatnonzero(labels == index)
        chosen = pixels[random.integers(len(pixels), size=SPOTS)]
        spots.append(np.stack(np.unravel_index(chosen, frame.labels.shape), axis=1))
    facts = tuple(captions.facts_of(*thing) for thing in zip(frame.names, frame.looks))
    return View(frame.rgb, frame.instances, facts, np.array(spots, np.int16))


class Batch(NamedTuple):
    """
    Crops, a caption of each, and which captions are true of which crops.

    `images` (N, 3, size, size) float32 in 0..1; `tokens` (N, context) int64; `truth` (N, N)
    float32 from `captions.truth`, crops by captions.
    """

    images: Tensor
    tokens: Tensor
    truth: Tensor


class Crops:
    """
    Batches of crops of views, cut and captioned on a device.

    `templates` are prompts with one `{}` each; crops are resized to (size, size) pixels. Chance
    comes from the host, so that a seed means the same on every device.
    """

    def __init__(self, views: Sequence[View], tokenizer: open_clip.SimpleTokenizer,
                 templates: Sequence[str], size: int, seed: int, device: torch.device) -> None:
        self._size, self._device = size, device
        self._random = torch.Generator().manual_seed(seed)
        facts = sorted({fact for view in views for facts in view.facts for fact in facts}, key=str)
        self._known = len(facts)
        column = {fact: index for index, fact in enumerate(facts)}
        columns = np.full((len(views), INSTANCES, 2), len(facts))
        spots = np.zeros((len(views), len(CLASSES), SPOTS, 2), np.int64)
        for index, view in enumerate(views):
            spots[index, :len(view.spots)] = view.spots
            for instance, shown in enumerate(view.facts):
                columns[index, instance, :len(shown)] = [column[fact] for fact in shown]
        self._columns = torch.from_numpy(columns).to(device)
        self._spots = torch.from_numpy(spots).to(device)
        self._classes = torch.tensor([len(view.spots) for view in views], device=device)
        self._instances = torch.from_numpy(np.stack([v.instances for v in views])).to(device)
        rgb = torch.from_numpy(np.stack([view.rgb for view in views])).to(device)
        # What crops are cut by needs it; 0.9 MB a view.
        self._images = rgb.permute(0, 3, 1, 2).float() / 255
        self._writer = captions.Writer(facts, tokenizer, templates, device)

    def batch(self, count: int) -> Batch:
        """Draw a batch of `count` crops."""
        random = torch.rand(count, 2 * self._known + 32, generator=self._random)
        random = random.to(self._device)
        view, side, top, left = self._windows(random[:, :9].unbind(1))
        shares = self._shares(view, side, top, left)
        written = self._writer.write(shares, random[:, 16:])
        images = self._cut(view, side, top, left, random[:, 9:11])
        return Batch(images, written.tokens, captions.truth(shares, written))

    def _windows(self, random: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw squares, more often around things than around the ground: (N,) int64 each."""
        height, width = self._instances.shape[1:]
        view = (random[0] * len(self._classes)).long()
        low, high = np.log(SIDES)
        side = (low + random[1] * (high - low)).exp().long()
        spot = self._spots[view, (random[2] * self._classes[view]).long(),
                           (random[3] * SPOTS).long()]
        jitter = (torch.stack([random[4], random[5]], dim=1) - 0.5) * side[:, None] * 2 / 3
        anywhere = torch.stack([random[6] * height, random[7] * width], dim=1)
        center = torch.where((random[8] < AROUND_THINGS)[:, None], spot + jitter, anywhere).long()
        top, left = ((center[:, axis] - side // 2).clamp(min=0).minimum(length - side)
                     for axis, length in enumerate((height, width)))
        return view, side, top, left

    def _shares(self, view: Tensor, side: Tensor, top: Tensor, left: Tensor) -> Tensor:
        """Return the shares of crops that show each fact, (N, facts) float32."""
        steps = (torch.arange(SAMPLES, device=self._device) + 0.5) / SAMPLES
        inside = (steps * side[:, None]).long()
        rows, columns = (top[:, None] + inside)[:, :, None], (left[:, None] + inside)[:, None]
        view = view[:, None, None]
        instances = self._instances[view, rows, columns].long()
        facts = self._columns[view, instances].flatten(1)
        shares = torch.zeros(len(view), self._known + 1, device=self._device)
        shares.scatter_add_(1, facts, torch.ones_like(facts, dtype=torch.float32))
        return shares[:, :-1] / SAMPLES ** 2

    def _cut(self, view: Tensor, side: Tensor, top: Tensor, left: Tensor, random: Tensor
             ) -> Tensor:
        """Resize crops to (N, 3, size, size), and vary their light and which side is left."""
        boxes = torch.stack([view, left, top, left + side, top + side], dim=1).float()
        images = roi_align(self._images, boxes, self._size, sampling_ratio=2, aligned=True)
        low, high = GAINS
        gains = low + random[:, 0] * (high - low)
        images = (images * gains[:, None, None, None]).clamp(max=1)
        mirrored = (random[:, 1] < 0.5)[:, None, None, None]
        return torch.where(mirrored, images.flip(3), images)
