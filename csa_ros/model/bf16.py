"""
Whether a CPU runs an image tower faster in bfloat16: told by its instructions and by the clock.

A bfloat16 has half the bits of a float32. Instructions that multiply matrices of them (AVX512-BF16
and AMX of x86, BF16 of Arm) do two to sixteen products in the time of one, but not all of a tower
is matrix products, and a small one spends its time elsewhere. Without the instructions bfloat16 is
emulated, which is several times slower.
"""

from functools import lru_cache
import json
from pathlib import Path
import re
from statistics import median
from time import perf_counter

from csa_ros.model.attention.mixing import as_trained
from csa_ros.model.towers.architecture import build
from csa_ros.model.towers.tower import Block
from csa_ros.model.towers.trunk import parts_of
from csa_ros.model.towers.trunk import TrunkBlock
import torch
from torch import Tensor

# PyTorch has no public name for what Linux says here.
CPU_INFO = Path('/proc/cpuinfo')
INSTRUCTIONS = frozenset({'avx512_bf16', 'amx_bf16', 'bf16'})
# As many as a frame of 640 x 480 has. With AMX the gain grows with them: 1.8 for one, 3 for six.
WINDOWS = 6
# All of them take about half as long as such a frame in ViT-B/16, and less in a deeper tower.
ROUNDS = 3


def has_instructions() -> bool:
    """Tell whether the processor has instructions that multiply matrices of bfloat16."""
    try:
        found = re.search(r'^(?:flags|Features)\s*:(.*)$', CPU_INFO.read_text(), re.M)
    except OSError:
        return False
    return bool(found and INSTRUCTIONS.intersection(found[1].split()))


def speedup(config: dict) -> float | None:
    """
    Return how many times as fast as in float32 the image tower of a config runs in bfloat16.

    `config` is that of `csa_ros.model.towers.architecture.build`. One block is timed, with random
    weights and as many threads as PyTorch uses now, when a process first asks; the answer stays
    the same afterwards, however busy the machine is then. It has two decimals. None, and nothing
    is timed, where the processor has no instructions for it.
    """
    return _measure(json.dumps(config, sort_keys=True)) if has_instructions() else None


@lru_cache(maxsize=None)
def _measure(config: str) -> float:
    runs = {dtype: _block(json.loads(config), dtype) for dtype in (torch.float32, torch.bfloat16)}
    seconds: dict[torch.dtype, list[float]] = {dtype: [] for dtype in runs}
    with torch.inference_mode():
        # In turn, so that what else the machine does hits both alike. The first round is slower.
        for _ in range(1 + ROUNDS):
            for dtype, (block, tokens) in runs.items():
                start = perf_counter()
                as_trained(block, tokens)
                seconds[dtype].append(perf_counter() - start)
    full, half = (median(times[1:]) for times in seconds.values())
    return round(full / half, 2)


def _block(config: dict, dtype: torch.dtype) -> tuple[Block | TrunkBlock, Tensor]:
    """Return the first block of an image tower, with random weights, and tokens to run it on."""
    with torch.device('meta'):
        visual = build(config, dtype).visual
    # It is one of `resblocks` in open_clip, of `blocks` in timm. The others need no memory.
    module = next(module for name, module in visual.named_modules() if name.endswith('blocks.0'))
    module.to_empty(device='cpu')
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    tower = parts_of(visual)
    rows, columns = tower.grid_size
    return tower.blocks[0], torch.randn(WINDOWS, 1 + rows * columns, tower.width).to(dtype)
