"""
Camera frames to what is kept of them: pixels as an image tower takes them, and features.

A frame's feature is that of CLIP's class token, which says what is in the picture, and after it
the means of the patches in each of COLUMNS columns, which say where. Class tokens need not tell
left from right: those of the demo's model do not at all.
"""

from csa_ros.actions.errors import ActionError
from csa_ros.model.backbone import Backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.pixels import Normalization
from csa_ros.model.pixels import resize
from csa_ros.training.pictures import middle
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


COLUMNS = 4


def fit(rgb: np.ndarray, size: int) -> Tensor:
    """
    Return a picture at the size of a tower, (3, size, size) uint8.

    `rgb` is (H, W, 3) uint8. What is more than 4 to 3 is cut off at both ends, and the rest
    squeezed into the square. Raises ActionError for what is no picture.
    """
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or (
            rgb.shape[2] != 3 or not rgb.size):
        found = (f'of the shape {rgb.shape} and the type {rgb.dtype}'
                 if isinstance(rgb, np.ndarray) else f'{type(rgb).__name__}')
        raise ActionError(f'the image is {found}: it must be a NumPy array (height, width, 3) of '
                          'uint8')
    return torch.from_numpy(resize(rgb[middle(*rgb.shape[:2])], (size, size))).permute(2, 0, 1)


def feature_length(dim: int) -> int:
    """Return the length of a frame's feature for CLIP features of a length."""
    return (1 + COLUMNS) * dim


def features_of(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """
    Return the features of frames, (N, feature length).

    `tokens` (N, 1 + patches, D) are projected, the class token first, and patches row by row in
    a `grid` (rows, columns). Nothing is of length 1.
    """
    patches = tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
    columns = F.adaptive_avg_pool2d(patches, (1, COLUMNS))[:, :, 0].transpose(1, 2)
    return torch.cat([tokens[:, 0], columns.flatten(1)], -1)


def of_class(features: Tensor) -> Tensor:
    """Return the part (..., D) of features that is CLIP's own, of the class token."""
    return features[..., :features.shape[-1] // (1 + COLUMNS)]


def of_changes(features: Tensor) -> Tensor:
    """
    Return what changes in each column of clips (..., T, feature length), (..., T, COLUMNS * D).

    It is that of the patches, less the mean over the clip: what stays, which is the place, has
    more to say than what happens, and would be all that is compared.
    """
    columns = features[..., features.shape[-1] // (1 + COLUMNS):]
    return columns - columns.mean(-2, keepdim=True)


class FrameEncoder:
    """
    Makes the features of pictures, with the attention that CLIP was trained with.

    Raises `csa_ros.model.errors.ModelError` for a model that is no CLIP.
    """

    def __init__(self, backbone: Backbone) -> None:
        # Of RADIO and the like: says that they are no CLIP.
        backbone.clip
        self._backbone = backbone
        self._encoder = DenseEncoder(backbone, 'vanilla')
        self._normalize = Normalization(backbone.mean, backbone.std, backbone.device)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return pixels (N, 3, size, size) uint8 as the tower takes them, on its device."""
        frames = pixels.to(self._backbone.device).permute(0, 2, 3, 1)
        return self._normalize(frames)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """
        Return the features of pictures, (N, feature length) float32, on the device.

        `pixels` (N, 3, size, size) uint8.
        """
        tokens = self._encoder.tokens(self.normalize(pixels))
        return features_of(tokens, self._encoder.grid(*pixels.shape[-2:]))
