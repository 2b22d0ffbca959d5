"""
What a frame costs: how many windows it has, and how much memory it takes, before it is begun.

Settings are valid for any frame size, and sizes are known only when frames come: it is both
together that may ask for more than any machine has. Bounds are for what nobody can want, and leave
what merely takes long.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
import os
from pathlib import Path

from csa_ros.labels.windows import plan_windows
from csa_ros.labels.windows import WindowPlan
from csa_ros.model.attention.mixing import LONG
from csa_ros.settings import ResolvedSettings
import torch

# A stride of less than a patch adds next to nothing, and the largest frame, 2048 x 2048, has
# 17161 windows of 224 pixels every 14, the smallest patch that CLIPs are trained with.
MAX_WINDOWS = 20000
# And 21316 such patches, if it is one window.
MAX_PATCHES = 22000
# The rest of a computer's memory is for the model, for what is cached, and for other programs. A
# GPU refuses what it has not, and the node goes on: there, all of it may be tried.
_SHARE = 0.75
_FLOAT = 4
# Tensors of the size of the tokens that a block holds at a time: that of its feed-forward network
# is four times as wide.
_TOKENS = 8
# Maps of each patch to each: what a method compares beside the fused attention. Those of
# `sc-clip` are of each window, and those of `radseg` of each head of each.
_MAPS = {'sc-clip': 6, 'naclip': 2, 'radseg': 3}
# Of refining, a pixel: 8 neighbours at two distances, in two passes, each an index and a weight.
_NEIGHBOURS = 2 * 16 * 2 * _FLOAT


class CostError(ValueError):
    """A frame would cost too much with these settings; the message says what to change."""


@dataclass(frozen=True)
class Model:
    """
    What the cost of a frame depends on in a model, and on its device.

    `segments` is into how many of them a window is gathered, 0 for a model of patches.
    """

    attention: str
    width: int
    heads: int
    embed_dim: int
    windows_per_batch: int
    memory: int
    place: str
    segments: int = 0


def check(model: Model, plan: WindowPlan, grid: tuple[int, int], output_size: tuple[int, int],
          settings: ResolvedSettings, queries: int, frames: int = 1) -> None:
    """
    Raise CostError if frames cost too much.

    `plan` is that of the frame resized, `grid` the patches of a window down and across,
    `output_size` (height, width) that of the frame as it comes, and of its labels; `queries` of
    the vocabulary and `frames` that are segmented together.
    """
    count, patches = len(plan), grid[0] * grid[1]
    height, width = output_size
    what = (f'a frame of {width} x {height} pixels, resized to {plan.width} x {plan.height} '
            f'(short_side {settings.short_side})')
    if count > MAX_WINDOWS:
        raise CostError(f'{what}, has {count} windows with crop {settings.crop} and stride '
                        f'{settings.stride}, more than {MAX_WINDOWS}: '
                        f'{_larger_stride(plan, settings)}')
    if patches > MAX_PATCHES:
        raise CostError(f'{what}, has {patches} patches in one window of {plan.crop_width} x '
                        f'{plan.crop_height}, more than {MAX_PATCHES}: set a smaller short_side'
                        + ('' if settings.inference == 'whole' else ' or crop')
                        + ', or 0 for the value of the model')
    need = max(_memory(model, plan, grid, output_size, settings, queries, frames))
    if need > model.memory:
        raise CostError(f'{what}, in {count} windows with {queries} queries, takes '
                        f'{need / 2**30:.1f} GiB of memory, more than the '
                        f'{model.memory / 2**30:.1f} that may be used on {model.place}: set '
                        'stride, crop and short_side to 0 for the values of the model, refine to '
                        'off, or fewer words')


def memory_of(device: torch.device, root: Path = Path('/')) -> int:
    """
    Return the bytes that a frame may take on a device.

    On a CPU they are three quarters of what the machine has, or of what the control group of a
    container may use, which is the one mounted at `root`.
    """
    if device.type == 'cuda':
        return torch.cuda.get_device_properties(device).total_memory
    total = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return int(_SHARE * min(total, *_limits(root), total))


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of memory of control groups, of version 2 and 1."""
    for name in ('sys/fs/cgroup/memory.max', 'sys/fs/cgroup/memory/memory.limit_in_bytes'):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            yield int(text)


def _larger_stride(plan: WindowPlan, settings: ResolvedSettings) -> str:
    """Return what to set for fewer windows."""
    def is_enough(stride: int) -> bool:
        return len(plan_windows(plan.height, plan.width, settings.crop, stride)) <= MAX_WINDOWS

    strides = range(settings.stride + 1, settings.crop + 1)
    index = bisect_left(strides, True, key=is_enough)
    if index < len(strides):
        return (f'set stride to {strides[index]} at least, to 0 for the value of the model, or a '
                'smaller short_side')
    return 'set a larger crop or a smaller short_side, or 0 for the values of the model'


def _memory(model: Model, plan: WindowPlan, grid: tuple[int, int], output_size: tuple[int, int],
            settings: ResolvedSettings, queries: int, frames: int) -> Iterator[float]:
    """Yield how many bytes are held while windows are encoded, and while they are merged."""
    windows, patches = frames * len(plan), grid[0] * grid[1]
    batch, tokens = min(windows, model.windows_per_batch), patches + 1
    kept = model.width if model.attention == 'radseg' else model.embed_dim
    features = windows * patches * kept * _FLOAT
    if model.segments:
        features = windows * (model.segments + 1) * (patches + kept) * _FLOAT
    pixels = batch * 3 * plan.crop_height * plan.crop_width * _FLOAT
    maps = _maps(model, tokens, batch)
    remembered = 0
    if settings.reuse_threshold:
        remembered = features + windows * 3 * plan.crop_height * plan.crop_width
    yield (features + remembered + pixels + maps
           + batch * tokens * model.width * _TOKENS * _FLOAT)
    if model.attention == 'radseg':
        # The patches of one map of all windows are compared with each other.
        ratio = patches / (plan.crop_height * plan.crop_width)
        yield features + remembered + _maps(model, int(plan.height * plan.width * ratio), 1)
    height, width = output_size if settings.refine == 'pamr-output' else (plan.height, plan.width)
    columns = output_size[1] if settings.refine == 'off' else width
    # The logits of patches, once more with the windows side by side, and widened.
    logits = windows * patches * queries * _FLOAT
    widened = len(plan.tops) * grid[0] * queries * columns * _FLOAT
    planes = queries
    if model.segments:
        # What is widened and refined are planes of segments, which each have the size of a frame
        # and are compared in windows before.
        planes = len(plan) * model.segments
        logits = planes * queries * _FLOAT
        widened = planes * (plan.height * plan.width + height * columns) * _FLOAT
        widened += windows * model.segments * plan.crop_height * plan.crop_width * _FLOAT
    refined = 0
    if settings.refine != 'off':
        refined = height * width * (_NEIGHBOURS + 4 * min(planes, 32) * _FLOAT)
        refined += height * planes * output_size[1] * _FLOAT
    yield features + remembered + 2 * logits + widened + refined


def _maps(model: Model, tokens: int, batch: int) -> int:
    """Return the bytes of the maps by which tokens are compared with each other in windows."""
    count = _MAPS.get(model.attention, 0)
    rows = tokens
    if model.attention == 'sc-clip':
        count *= batch
    elif model.attention == 'radseg':
        count *= batch * model.heads
        # More are compared in lots.
        rows = min(tokens, LONG)
    return count * rows * tokens * _FLOAT
