"""
The plain path: segmentation with the structure of the SCLIP authors' code, in one file.

It is what the bench compares with, and the oracle of its labels. It encodes one window a forward,
upsamples the logits of every query of every window to the pixels of the window, adds them up for
the whole frame, resizes that to the output size, and takes the softmax of every query at every
pixel (arXiv 2312.01597 and its published code; written anew from their structure). It shares the
tower with `csa_ros.segmenter.Segmenter` and nothing behind it, so that a difference between the
two is one of structure.
"""

from collections.abc import Sequence

from csa_ros.choices import LONG_SIDE
from csa_ros.labels.decide import Decision
from csa_ros.segmenter import Result
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import ResolvedSettings
from csa_ros.vocabulary import UNKNOWN
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class PlainPath:
    """The stages of `csa_ros.segmenter.Segmenter`, for one image and windows, done plainly."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._backbone = segmenter.backbone
        self._encoder = segmenter.encoder

    def segment(self, rgb: np.ndarray, words: Words, settings: ResolvedSettings) -> Result:
        """Label every pixel of an image, (H, W, 3) uint8."""
        features = self.features(self.pixels([rgb], settings), settings)
        decision = self.decide(features, words, rgb.shape[:2], settings)
        return Result(decision.labels[0].cpu().numpy(), decision.confidence[0].cpu().numpy())

    def pixels(self, images: list[np.ndarray], settings: ResolvedSettings) -> Tensor:
        """
        Return one image resized and normalised, (1, 3, h, w) float32 on the device.

        Raises ValueError for several images, for `whole` inference, and for frames that are
        smaller than a window when resized: the authors' code has nothing to compare with there.
        """
        rgb, = images
        height, width = _resized_size(rgb.shape[:2], settings)
        if settings.inference != 'slide' or min(height, width) < settings.crop:
            raise ValueError(f'the plain path slides windows of {settings.crop} pixels over '
                             f'larger frames; got inference {settings.inference!r} and a frame of '
                             f'{width} x {height}: make short_side at least crop')
        resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
        device = self._backbone.device
        pixels = torch.from_numpy(resized).to(device).permute(2, 0, 1)[None].float() / 255
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1)
                     for values in (self._backbone.mean, self._backbone.std))
        return (pixels - mean) / std

    @torch.inference_mode()
    def features(self, pixels: Tensor, settings: ResolvedSettings) -> Tensor:
        """Return the features of all windows, (windows, gh, gw, D), each window encoded alone."""
        return torch.cat([self._encoder(pixels[:, :, rows, columns])
                          for rows, columns in _windows(pixels.shape[-2:], settings)])

    @torch.inference_mode()
    def decide(self, features: Tensor, words: Words, output_size: Sequence[int],
               settings: ResolvedSettings) -> Decision:
        """Return labels and confidences, (1, H, W) uint8 each, from the windows' features."""
        frame_size = _resized_size(output_size, settings)
        logits = merge(features, words.features, frame_size, output_size, settings)
        return decide(logits, words.query_class, len(words.vocabulary), settings)


def merge(features: Tensor, query_features: Tensor, frame_size: tuple[int, int],
          output_size: Sequence[int], settings: ResolvedSettings) -> Tensor:
    """
    Return the cosine of every pixel with every query, (1, Q, H, W) for `output_size` (H, W).

    `features` (windows, gh, gw, D) are of the windows of a frame of `frame_size` (h, w).
    """
    height, width = frame_size
    total = features.new_zeros(1, len(query_features), height, width)
    count = features.new_zeros(1, 1, height, width)
    windows = _windows(frame_size, settings)
    for (rows, columns), window in zip(windows, features, strict=True):
        logits = (window @ query_features.T).permute(2, 0, 1)[None]
        upsampled = F.interpolate(
            logits, size=(rows.stop - rows.start, columns.stop - columns.start), mode='bilinear')
        total += F.pad(upsampled, (columns.start, width - columns.stop,
                                   rows.start, height - rows.stop))
        count[:, :, rows, columns] += 1
    return F.interpolate(total / count, size=output_size, mode='bilinear')


def decide(logits: Tensor, query_class: Tensor, num_classes: int, settings: ResolvedSettings
           ) -> Decision:
    """
    Return labels and confidences, (B, H, W) uint8, from logits (B, Q, H, W).

    `query_class` (Q,) int64. Where the authors' code writes class 0 for want of confidence, this
    writes UNKNOWN.
    """
    decisions = []
    for frame in logits:
        probabilities = (frame * settings.logit_scale).softmax(0)
        if len(query_class) != num_classes:
            members = F.one_hot(query_class, num_classes).T[:, :, None, None]
            probabilities = (probabilities[None] * members).amax(1)
        if settings.min_area:
            winners = F.one_hot(probabilities.argmax(0), num_classes)
            areas = winners[:, :, 1:].sum((0, 1))
            probabilities[1:] *= (areas > settings.min_area * areas.sum())[:, None, None]
        winner, labels = probabilities.max(0)
        labels[winner < settings.unknown_threshold] = UNKNOWN
        decisions.append((labels.to(torch.uint8), (winner * 255).round().to(torch.uint8)))
    return Decision(*map(torch.stack, zip(*decisions)))


def _resized_size(size: Sequence[int], settings: ResolvedSettings) -> tuple[int, int]:
    height, width = size
    scale = min(settings.short_side / min(height, width), LONG_SIDE / max(height, width))
    return int(height * scale + 0.5), int(width * scale + 0.5)


def _windows(size: Sequence[int], settings: ResolvedSettings) -> list[tuple[slice, slice]]:
    """Return rows and columns of every window; the last of a side ends at the border."""
    height, width = size
    return [(rows, columns) for rows in _spans(height, settings)
            for columns in _spans(width, settings)]


def _spans(side: int, settings: ResolvedSettings) -> list[slice]:
    count = max(side - settings.crop + settings.stride - 1, 0) // settings.stride + 1
    stops = [min(index * settings.stride + settings.crop, side) for index in range(count)]
    return [slice(max(stop - settings.crop, 0), stop) for stop in stops]
