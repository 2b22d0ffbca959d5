"""How well labels agree with the truth: confusion matrix and intersection over union."""

import numpy as np


def confusion(truth: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """
    Count the pixels of each true class that got each label.

    `truth` and `labels` are integer arrays of one shape; pixels whose truth is not below `classes`
    (255: unlabelled) do not count. Returns (classes, classes + 1) int64: rows are true classes,
    columns labels, the last column any label that is not below `classes` (unknown). Raises
    ValueError for arrays of different shapes.
    """
    if truth.shape != labels.shape:
        raise ValueError(f'labels have shape {labels.shape}, the truth {truth.shape}: they must '
                         'be of one size')
    counted = truth < classes
    columns = np.minimum(labels[counted].astype(np.int64), classes)
    cells = truth[counted].astype(np.int64) * (classes + 1) + columns
    return np.bincount(cells, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def iou(matrix: np.ndarray) -> np.ndarray:
    """
    Return each class's intersection over union.

    `matrix` as from `confusion`, or a sum of such. Returns (classes,) float64, NaN for a class
    that is neither in the truth nor in the labels.
    """
    hits = np.diagonal(matrix)
    union = matrix.sum(axis=1) + matrix[:, :-1].sum(axis=0) - hits
    with np.errstate(invalid='ignore'):
        return hits / union
