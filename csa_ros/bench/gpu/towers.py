"""
How the image tower is run on a GPU: kernel by kernel, compiled, and each as a CUDA graph.

The tower alone is measured, on all windows of one frame, in fp16.
"""

import argparse
from collections.abc import Callable
from functools import partial

from csa_ros.bench import inputs
from csa_ros.bench.options import TITLES
from csa_ros.bench.runtimes import Tower
from csa_ros.bench.targets import in_ms
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import table
import torch
from torch import Tensor
from tqdm import tqdm

TITLE = TITLES['gpu.towers']
NEEDS_GPU = True
EAGER = 'PyTorch, eager'

Encode = Callable[[Tensor], Tensor]


@torch.inference_mode()
def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Time the tower by every way of running it; the result is for JSON."""
    with inputs.loaded(options.towers_model, 'cuda', 'fp16') as segmenter:
        side = segmenter.backbone.image_size
        tower = Tower(segmenter.backbone.visual)
        windows = torch.randn(options.towers_windows, 3, side, side, device='cuda')
    encoders: dict[str, Encode] = {
        EAGER: tower, 'eager, as a CUDA graph': graph_of(tower, windows)}
    missing = {}
    try:
        compiled = torch.compile(tower, dynamic=False)
        compiled(windows)
        encoders |= {'torch.compile': compiled,
                     'torch.compile, as a CUDA graph': graph_of(compiled, windows)}
    # Compilers raise what they like.
    except Exception as error:  # noqa: B902
        missing['torch.compile'] = f'{type(error).__name__}: {str(error).splitlines()[0][:200]}'
    reference = tower(windows).clone()
    errors = {name: float((encode(windows) - reference).abs().max())
              for name, encode in encoders.items()}
    timings = alternate({name: partial(encode, windows) for name, encode in encoders.items()},
                        options.towers_rounds, progress)
    return {'model': options.towers_model, 'windows': options.towers_windows, 'missing': missing,
            'towers': {name: {**timing.to_dict(), 'error': errors[name]}
                       for name, timing in timings.items()}}


def graph_of(encode: Encode, windows: Tensor) -> Encode:
    """Capture a function as a CUDA graph, for inputs of the shape of `windows`."""
    static = windows.clone()
    for _ in range(3):
        encode(static)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        features = encode(static)

    def replay(windows: Tensor) -> Tensor:
        static.copy_(windows)
        graph.replay()
        return features

    return replay


def describe(result: dict) -> str:
    """Return the table of a result as markdown."""
    eager = result['towers'][EAGER]['median_ms']
    parts = [
        f"Image tower of `{result['model']}` with CSA in fp16, {result['windows']} windows at "
        'once. Ratio is to eager PyTorch; error is the largest difference of a component of a '
        'feature of length 1.',
        table(['runtime', 'ms', 'p95', 'ratio', 'error'], [
            [name, in_ms(tower['median_ms']), in_ms(tower['p95_ms']),
             f"{eager / tower['median_ms']:.2f}", f"{tower['error']:.1e}"]
            for name, tower in result['towers'].items()])]
    if result['missing']:
        parts.append('Not measured: ' + '; '.join(
            f'{name} ({reason})' for name, reason in result['missing'].items()) + '.')
    return '\n\n'.join(parts)
