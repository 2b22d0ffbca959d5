"""Camera frames to what is kept of them: pixels as an image tower takes them, and features."""

from csa_ros.actions.errors import ActionError
from csa_ros.model.backbone import Backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.pixels import Normalization
from csa_ros.model.pixels import resize
from csa_ros.training.pictures import middle
import numpy as np
import torch
from torch import Tensor


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


class FrameEncoder:
    """
    Makes CLIP's feature of a whole picture: that of its class token.

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
        Return the features of pictures, (N, D) float32, not of length 1, on the device.

        `pixels` (N, 3, size, size) uint8.
        """
        return self._encoder.tokens(self.normalize(pixels))[:, 0]
