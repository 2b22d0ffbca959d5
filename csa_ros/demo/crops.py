"""Crops of rendered streets and their captions, in batches that are alike whoever makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from csa_ros.demo import captions
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
import cv2
import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.utils.data import Dataset

# Smallest and largest side, in pixels of a 320 x 240 scene, of the crops to learn from.
SIDES = (18, 120)
# How many of the crops are cut around things: by chance alone, nine in ten would show road, sky
# and walls only.
AROUND_THINGS = 0.7
# How many pixels of each class of a view are kept for that.
SPOTS = 64
GAINS = (0.85, 1.15)
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

    `pixels` (N, size, size, 3) uint8; `tokens` (N, context) int64; `truth` (N, N) float32 from
    `captions.truth`, crops by captions.
    """

    pixels: Tensor
    tokens: Tensor
    truth: Tensor


class Batches(Dataset):
    """
    Batches of crops, made when they are indexed; the same index gives the same batch.

    `templates` are prompts with one `{}` each; a batch has `count` crops, resized to (size, size)
    pixels. The views, of one size, are copied to memory that worker processes share.
    """

    def __init__(self, views: Sequence[View], tokenizer: open_clip.SimpleTokenizer,
                 templates: Sequence[str], count: int, size: int, seed: int) -> None:
        self._tokenizer, self._templates = tokenizer, templates
        self._count, self._size, self._seed = count, size, seed
        self._facts = sorted({fact for view in views for facts in view.facts for fact in facts},
                             key=str)
        self._column = {fact: column for column, fact in enumerate(self._facts)}
        self._rgb = _shared([view.rgb for view in views])
        self._instances = _shared([view.instances for view in views])
        self._columns = _shared([self._columns_of(view) for view in views])
        self._spots = [view.spots for view in views]
        # Tokens never span words, and captions have few words: this is 20 times faster.
        self._tokens_of: dict[str, list[int]] = {}

    def __getitem__(self, index: int) -> Batch:
        """Make a batch."""
        random = np.random.default_rng((self._seed, index))
        phrasing = Random(int(random.integers(1 << 62)))
        pixels = np.empty((self._count, self._size, self._size, 3), np.uint8)
        shares = np.empty((self._count, len(self._facts)), np.float32)
        texts: list[str] = []
        stated: list[list[int]] = []
        while len(texts) < self._count:
            at, view = len(texts), int(random.integers(len(self._spots)))
            window = self._window(view, random)
            shares[at] = self._shares(view, window)
            shown = [self._facts[column]
                     for column in np.flatnonzero(shares[at] >= captions.PRESENT)]
            if not shown:
                # It shows things only that there are no words for.
                continue
            pixels[at] = self._crop(view, window, random)
            text, facts = captions.caption(shown, phrasing, self._templates)
            texts.append(text)
            stated.append([self._column[fact] for fact in facts])
        return Batch(torch.from_numpy(pixels), self.tokens(texts),
                     torch.from_numpy(captions.truth(shares, stated)))

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Return what the tokenizer makes of texts, (texts, context) int64."""
        tokens = np.zeros((len(texts), self._tokenizer.context_length), np.int64)
        for row, text in zip(tokens, texts):
            ids = [token for word in text.split() for token in self._tokens_of_word(word)]
            ids = [self._tokenizer.sot_token_id, *ids[:len(row) - 2],
                   self._tokenizer.eot_token_id]
            row[:len(ids)] = ids
        return torch.from_numpy(tokens)

    def _tokens_of_word(self, word: str) -> list[int]:
        if word not in self._tokens_of:
            self._tokens_of[word] = self._tokenizer.encode(word)
        return self._tokens_of[word]

    def _columns_of(self, view: View) -> np.ndarray:
        """Return the (INSTANCES, 2) columns of the facts of each instance, one past for none."""
        columns = np.full((INSTANCES, 2), len(self._facts), np.int16)
        for instance, facts in enumerate(view.facts):
            columns[instance, :len(facts)] = [self._column[fact] for fact in facts]
        return columns

    def _window(self, view: int, random: np.random.Generator) -> tuple[slice, slice]:
        """Draw a square, more often around things than around the ground."""
        height, width = self._instances.shape[1:]
        side = int(np.exp(random.uniform(*np.log(SIDES))))
        if random.random() < AROUND_THINGS:
            spots = self._spots[view]
            row, column = spots[random.integers(len(spots)), random.integers(SPOTS)]
            down, right = random.integers(-side // 3, side // 3 + 1, 2)
            row, column = row + down, column + right
        else:
            row, column = random.integers((0, 0), (height, width))
        top = min(max(row - side // 2, 0), height - side)
        left = min(max(column - side // 2, 0), width - side)
        return slice(top, top + side), slice(left, left + side)

    def _crop(self, view: int, window: tuple[slice, slice], random: np.random.Generator
              ) -> np.ndarray:
        """Resize a crop to (size, size, 3), and vary its light and its side."""
        rgb = self._rgb[view].numpy()[window]
        shrink = cv2.INTER_AREA if len(rgb) > self._size else cv2.INTER_LINEAR
        pixels = cv2.resize(rgb, (self._size, self._size), interpolation=shrink)
        pixels = cv2.convertScaleAbs(pixels, alpha=random.uniform(*GAINS))
        return pixels[:, ::-1] if random.random() < 0.5 else pixels

    def _shares(self, view: int, window: tuple[slice, slice]) -> np.ndarray:
        """Return the shares of a crop that show each fact."""
        instances = self._instances[view].numpy()[window]
        counts = np.bincount(instances.ravel(), minlength=INSTANCES)
        columns = self._columns[view].numpy().ravel()
        shares = np.bincount(columns, counts.repeat(2), len(self._facts) + 1)
        return shares[:-1] / instances.size


def _shared(arrays: Sequence[np.ndarray]) -> Tensor:
    """Stack arrays in memory that processes share."""
    return torch.from_numpy(np.stack(arrays)).share_memory_()
