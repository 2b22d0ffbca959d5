"""From the patches of a picture and a region of it to what is kept: a key, and some patches."""

from dataclasses import dataclass

from csa_ros.labels.windows import cut
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import WindowPlan
from csa_ros.teaching.cutout import cut_out
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Look
from csa_ros.teaching.region import is_box
from csa_ros.teaching.region import mask_of
from csa_ros.teaching.region import Region
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Patches of a picture that are kept, of those that touch the region and of the others: enough to
# tell how well a class is found there.
PATCHES_KEPT = 256
# Of a patch in a region, for the patch to show what is there.
LEAST_SHARE = 0.5
# Pixels of the longer side of a thumbnail.
THUMBNAIL = 96


@dataclass(frozen=True, eq=False)
class Sight:
    """
    A picture as a model sees it, any region of which can be looked at.

    `rgb` (H, W, 3) uint8; `features` (windows, rows, columns, D) of length 1 are those of its
    patches, and `plan` its windows once it is resized; `whole` tells that patches are those of the
    frame and not of its windows. `fingerprint` and `model` as for `Look`.
    """

    rgb: np.ndarray
    features: Tensor
    plan: WindowPlan
    whole: bool
    fingerprint: str
    model: str

    def look(self, region: Region = None, camera: str = '', stamp: int = 0) -> Look:
        """Return a region as the model sees it; arguments and errors as for `Segmenter.look`."""
        mask = mask_of(region, self.rgb.shape[:2])
        inside = self._shares(mask)
        if is_box(region):
            thing = self._shares(cut_out(self.rgb, mask))
            # It may be thinner than a patch in a box that is not.
            inside = thing if thing.max() >= LEAST_SHARE else inside
        return look_at(self.features, inside, self.fingerprint, self.model, camera, stamp,
                       thumbnail(self.rgb, mask))

    def _shares(self, mask: np.ndarray) -> Tensor:
        rows, columns = self.features.shape[1:3]
        return shares(mask, self.plan, self.whole, (rows, columns))


def shares(mask: np.ndarray, plan: WindowPlan, whole: bool, grid: tuple[int, int]) -> Tensor:
    """
    Return which share of each patch lies in a region, (windows, rows, columns) float32.

    `mask` (H, W) uint8 is that of the picture as it came, `plan` its windows once it is resized;
    `whole` tells that patches are those of the frame and not of its windows, and `grid` how many
    there are.
    """
    resized = cv2.resize(mask.astype(np.float32), (plan.width, plan.height),
                         interpolation=cv2.INTER_AREA)
    frame = torch.from_numpy(resized)[None, None]
    windows = cut(frame, plan_whole(plan.height, plan.width) if whole else plan)
    return F.adaptive_avg_pool2d(windows, grid)[:, 0]


def look_at(features: Tensor, inside: Tensor, fingerprint: str, model: str, camera: str,
            stamp: int, thumbnail: bytes) -> Look:
    """
    Return what is kept of a picture.

    `features` (windows, rows, columns, D) of length 1 and `inside` (windows, rows, columns), the
    share of each patch in the region. Raises TeachingError if no patch has LEAST_SHARE.
    """
    patches, inside = features.flatten(0, 2).cpu(), inside.flatten()
    if inside.max() < LEAST_SHARE:
        raise TeachingError(
            f'the region has {100 * float(inside.max()):.0f} % of the patch that it has most of: '
            'it is too small for this model. Show it from nearer, a larger part of it, or set a '
            'larger short_side')
    key = F.normalize((patches * inside[:, None]).sum(0), dim=0)
    chosen, stands_for = [], []
    for group in ((inside > 0).nonzero()[:, 0], (inside == 0).nonzero()[:, 0]):
        count = min(len(group), PATCHES_KEPT)
        chosen.append(group[torch.arange(count) * len(group) // max(count, 1)])
        stands_for.append(torch.full((count,), len(group) / max(count, 1)))
    rows = torch.cat(chosen)
    return Look(key, patches[rows].half(), inside[rows], torch.cat(stands_for), fingerprint,
                camera, stamp, thumbnail, model)


def thumbnail(rgb: np.ndarray, mask: np.ndarray) -> bytes:
    """Return a small JPEG of what is in a region of a picture (H, W, 3) uint8."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    part = rgb[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    scale = min(THUMBNAIL / max(part.shape[:2]), 1)
    size = tuple(max(round(side * scale), 1) for side in part.shape[1::-1])
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', small[:, :, ::-1])[1].tobytes()
