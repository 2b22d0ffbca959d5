"""The message of a mask for Autoware."""

from csa_ros.adapters import autoware
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header


def mask_message(labels: np.ndarray, ids: np.ndarray, header: Header) -> Image:
    """
    Return the message that Autoware's fusion nodes take as a mask.

    Its size is that of `labels`, (H, W) uint8, and its encoding says mono8, but its data are runs
    and not pixels: nothing but Autoware can show it. `ids` is what `autoware.class_ids` returns
    and `header` that of the input image. Raises ValueError for labels that cannot be encoded.
    """
    height, width = labels.shape
    message = Image(header=header, height=height, width=width, encoding='mono8', step=width)
    # An array.array of its own, which takes bytes without a check of each.
    message.data.frombytes(autoware.encode(labels, ids))
    return message
