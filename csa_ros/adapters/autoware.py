"""
Label images as Autoware passes them: its own class ids, run-length encoded.

The encoding is that of Autoware's `perception_utils::runLengthEncoder`, which
`autoware_tensorrt_yolox` publishes as `~/out/mask`. The classes are those of
`segmentation_pointcloud_fusion` in `autoware_image_projection_based_fusion`, which reads it.
"""

from collections.abc import Sequence

import numpy as np

# Ids are positions. A point on a pixel of a class that the fusion is told to filter is dropped;
# UNKNOWN is what Autoware calls everything else.
CLASSES = (
    'UNKNOWN',
    'BUILDING',
    'WALL',
    'OBSTACLE',
    'TRAFFIC_LIGHT',
    'TRAFFIC_SIGN',
    'PERSON',
    'VEHICLE',
    'BIKE',
    'ROAD',
    'SIDEWALK',
    'ROAD_PAINT',
    'CURBSTONE',
    'CROSSWALK',
    'VEGETATION',
    'SKY',
)
UNKNOWN = CLASSES.index('UNKNOWN')
# As the decoder reads them: a byte and an int after it, in the byte order of the machines that
# Autoware runs on.
_RUN = np.dtype([('id', 'u1'), ('length', '<i4')])


def class_ids(names: Sequence[str]) -> np.ndarray:
    """
    Return Autoware's id for each of our labels: (256,) uint8.

    Classes go by their names: `traffic light`, `Traffic-Light` and `TRAFFIC_LIGHT` are Autoware's
    TRAFFIC_LIGHT, wherever they stand in the vocabulary. Other names, and labels beyond them such
    as 255, are UNKNOWN.
    """
    ids = np.full(256, UNKNOWN, np.uint8)
    for label, name in enumerate(names):
        key = '_'.join(name.replace('_', ' ').replace('-', ' ').upper().split())
        if key in CLASSES:
            ids[label] = CLASSES.index(key)
    return ids


def encode(labels: np.ndarray, ids: np.ndarray) -> bytes:
    """
    Return the runs of equal class in reading order, over the ends of rows, five bytes each.

    `labels` is (H, W) uint8, and `ids` what `class_ids` returns: classes that are the same to
    Autoware make one run. Raises ValueError for labels of another kind or without pixels.
    """
    if labels.dtype != np.uint8 or labels.ndim != 2 or not labels.size:
        raise ValueError(f'labels must be uint8 of shape (height, width), none of them 0, not '
                         f'{labels.dtype} of shape {labels.shape}')
    flat = ids[labels].ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    runs = np.empty(len(starts), _RUN)
    runs['id'] = flat[starts]
    runs['length'] = np.diff(starts, append=flat.size)
    return runs.tobytes()
