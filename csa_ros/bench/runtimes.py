"""
Which runtime runs the image tower fastest on this CPU, and what reduced precision does to labels.

The tower alone is measured, on all windows of one frame. PyTorch as it is comes first; what is
not installed is listed as missing. `ONNX Runtime, int8 weights` is what `precision: int8` runs.
"""

import argparse
from collections.abc import Callable
import copy
from pathlib import Path
import tempfile
import warnings

from csa_ros.bench import agreement
from csa_ros.bench import inputs
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import percent
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import table
from csa_ros.demo.scenes import CLASSES
from csa_ros.labels.windows import cut
from csa_ros.labels.windows import plan_windows
from csa_ros.model.attention.methods import choose
from csa_ros.model.attention.positions import smoothed
from csa_ros.model.backbone import Backbone
from csa_ros.model.int8 import Int8Encoder
from csa_ros.model.towers.trunk import parts_of
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.vocabulary import Vocabulary
import numpy as np
import torch
from torch import nn
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

TITLE = TITLES['runtimes']
EAGER = 'PyTorch, eager'
# What was asked of the node: adopt a runtime from that ratio on, and int8 from that agreement on.
ADOPT_RATIO, INT8_EQUAL = 1.3, 0.99

Encode = Callable[[Tensor], Tensor]


class Tower(nn.Module):
    """
    The image tower with CSA for windows of its native size, as other runtimes can take it.

    Maps (N, 3, S, S) float32 to patch features (N, gh, gw, D) of length 1, as
    `csa_ros.model.dense.DenseEncoder` does for that size.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self._visual = visual
        self._parts = parts_of(visual)
        self._run_blocks = choose('csa', 'auto', self._parts)
        self._positions = self._parts.place(self._parts.grid_size, smoothed)
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features of every patch."""
        parts = self._parts
        x = parts.embed(pixels)
        prefix = parts.prefix.to(x.dtype).expand(len(x), -1, -1)
        x = torch.cat([prefix, x], dim=1) + self._positions.to(x.dtype)
        x = self._run_blocks(parts.blocks, parts.enter(x), parts.grid_size)
        return F.normalize(parts.project(x)[:, 1:].float(), dim=-1).unflatten(1, parts.grid_size)


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Time every runtime that is installed, and compare the demo model's labels; for JSON."""
    with inputs.loaded(options.runtimes_model, 'cpu', 'fp32') as segmenter:
        generator = torch.Generator().manual_seed(0)
        side = segmenter.backbone.image_size
        windows = torch.randn(options.runtimes_windows, 3, side, side, generator=generator)
        with tempfile.TemporaryDirectory() as folder:
            encoders, missing = build(segmenter.backbone, windows, Path(folder), progress)
            result = _measure_speed(encoders, windows, options.runtimes_rounds, progress)
    with inputs.loaded('demo', 'cpu', 'fp32') as demo, tempfile.TemporaryDirectory() as folder:
        result['demo'] = measure_labels(demo, Path(folder), progress)
    return {'model': options.runtimes_model, 'windows': options.runtimes_windows,
            'threads': torch.get_num_threads(), 'missing': missing, **result}


def build(backbone: Backbone, windows: Tensor, folder: Path, progress: tqdm | None = None
          ) -> tuple[dict[str, Encode], dict[str, str]]:
    """
    Make the encoders that can be made here, for inputs of the shape of `windows`.

    `folder` may be filled with files, which must stay. Returns the encoders by name, the
    reference EAGER first, and for each of the others what is missing.
    """
    encoders, missing = {}, {}
    expect(progress, len(BUILDERS))
    for name, builder in BUILDERS.items():
        try:
            with warnings.catch_warnings():
                # About how they are written, for their own authors.
                warnings.simplefilter('ignore')
                encode = builder(backbone, windows, folder)
                encode(windows)
            encoders[name] = encode
        except ModuleNotFoundError as error:
            missing[name] = f'{error.name} is not installed'
        # Compilers and converters raise what they like; the next one may still work.
        except Exception as error:  # noqa: B902
            missing[name] = f'{type(error).__name__}: {str(error).splitlines()[0][:200]}'
        if progress is not None:
            progress.update()
    return encoders, missing


def measure_labels(segmenter: Segmenter, folder: Path, progress: tqdm | None = None
                   ) -> dict[str, dict[str, float]]:
    """Compare the demo's labels with those of eager float32: see `agreement.compare`."""
    settings = segmenter.settings
    words = segmenter.encode(Vocabulary.parse(CLASSES))
    rgb = inputs.street(agreement.STREETS[0], agreement.STREET_SIZE).rgb
    side = settings.crop
    pixels = segmenter.pixels([rgb], settings)
    # The runtimes are made for one shape, and one batch of all windows is what a frame has.
    count = len(segmenter.features(pixels, settings))
    encoders, _ = build(segmenter.backbone, torch.zeros(count, 3, side, side), folder)
    labellers = {name: _labeller(segmenter, words, encode) for name, encode in encoders.items()}
    expect(progress, len(agreement.STREETS))
    scores = agreement.compare(labellers[EAGER], labellers, agreement.STREETS,
                               agreement.STREET_SIZE, progress)
    return {name: scores[name] for name in labellers}


def _labeller(segmenter: Segmenter, words: Words, encode: Encode) -> agreement.Label:
    settings = segmenter.settings

    def label(rgb: np.ndarray) -> np.ndarray:
        pixels = segmenter.pixels([rgb], settings)
        height, width = pixels.shape[-2:]
        plan = plan_windows(height, width, settings.crop, settings.stride)
        features = encode(cut(pixels, plan))
        return segmenter.decide(features, words, rgb.shape[:2], settings).labels[0].numpy()

    return label


def _measure_speed(encoders: dict[str, Encode], windows: Tensor, rounds: int, progress: tqdm
                   ) -> dict:
    reference = encoders[EAGER](windows)
    errors = {name: float((encode(windows) - reference).abs().max())
              for name, encode in encoders.items()}
    calls = {name: lambda encode=encode: encode(windows) for name, encode in encoders.items()}
    timings = alternate(calls, rounds, progress)
    eager = timings[EAGER].median_ms
    return {'runtimes': {name: {**timing.to_dict(), 'ratio': eager / timing.median_ms,
                                'error': errors[name], 'reduced': name in REDUCED}
                         for name, timing in timings.items()}}


def _eager(backbone: Backbone, windows: Tensor, folder: Path) -> Encode:
    return torch.inference_mode()(Tower(backbone.visual))


def _one_by_one(backbone: Backbone, windows: Tensor, folder: Path) -> Encode:
    tower = Tower(backbone.visual)

    @torch.inference_mode()
    def encode(windows: Tensor) -> Tensor:
        return torch.cat([tower(window) for window in windows.split(1)])

    return encode


def _compiled(backbone: Backbone, windows: Tensor, folder: Path) -> Encode:
    return torch.inference_mode()(torch.compile(Tower(backbone.visual)))


def _bf16(backbone: Backbone, windows: Tensor, folder: Path) -> Encode:
    low = Tower(copy.deepcopy(backbone.visual).to(torch.bfloat16))

    @torch.inference_mode()
    def encode(windows: Tensor) -> Tensor:
        return low(windows.to(torch.bfloat16)).float()

    return encode


def _torch_int8(backbone: Backbone, windows: Tensor, folder: Path) -> Encode:
    from torch.ao.quantization import quantize_dynamic
    return torch.inference_mode()(quantize_dynamic(
        Tower(copy.deepcopy(backbone.visual)), {nn.Linear}, dtype=torch.qint8))


def _onnx_runtime(backbone: Backbone, windows: Tensor, folder: Path) -> Encode:
    import onnxruntime
    path = folder / 'tower.onnx'
    torch.onnx.export(Tower(backbone.visual), (windows,), path, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda windows: torch.from_numpy(session.run(None, {name: windows.numpy()})[0])


def _onnx_int8(backbone: Backbone, windows: Tensor, folder: Path) -> Encode:
    return Int8Encoder(backbone, 'csa', folder)


def _openvino(precision: str) -> Callable[[Backbone, Tensor, Path], Encode]:
    def build_openvino(backbone: Backbone, windows: Tensor, folder: Path) -> Encode:
        import openvino
        with torch.no_grad():
            model = openvino.convert_model(
                Tower(backbone.visual), example_input=windows, input=[tuple(windows.shape)])
        compiled = openvino.Core().compile_model(model, 'CPU', {
            'INFERENCE_PRECISION_HINT': precision, 'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_NUM_THREADS': torch.get_num_threads()})
        # A copy: the runtime writes the next result into the same memory.
        return lambda windows: torch.from_numpy(compiled(windows.numpy())[0].copy())

    return build_openvino


BUILDERS: dict[str, Callable[[Backbone, Tensor, Path], Encode]] = {
    EAGER: _eager,
    'PyTorch, one window a time': _one_by_one,
    'torch.compile': _compiled,
    'ONNX Runtime': _onnx_runtime,
    'OpenVINO': _openvino('f32'),
    'PyTorch, bf16': _bf16,
    'PyTorch, int8 weights': _torch_int8,
    'ONNX Runtime, int8 weights': _onnx_int8,
    'OpenVINO, bf16': _openvino('bf16'),
}
REDUCED = frozenset({'PyTorch, bf16', 'PyTorch, int8 weights', 'ONNX Runtime, int8 weights',
                     'OpenVINO, bf16'})


def describe(result: dict) -> str:
    """Return the tables of a result as markdown."""
    rows = []
    for name, runtime in result['runtimes'].items():
        demo = result['demo'].get(name)
        rows.append([
            name, in_ms(runtime['median_ms']), in_ms(runtime['p95_ms']),
            f"{runtime['ratio']:.2f}", f"{runtime['error']:.1e}",
            percent(demo['equal']) if demo else '', f"{demo['iou']:.3f}" if demo else ''])
    parts = [
        f"Image tower of `{result['model']}` with CSA, {result['windows']} windows at once, "
        f"{result['threads']} threads. Ratio is to eager PyTorch in float32; error is the largest "
        'difference of a component of a feature of length 1. Equal is the share of labels of the '
        'demo model, on ten rendered streets, that stay as they are, and mIoU is against the '
        'truth.',
        table(['runtime', 'ms', 'p95', 'ratio', 'error', 'equal', 'mIoU'], rows)]
    if result['missing']:
        parts.append('Not measured: ' + '; '.join(
            f'{name} ({reason})' for name, reason in result['missing'].items()) + '.')
    return '\n\n'.join(parts)


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    runtimes = {name: runtime for name, runtime in result['runtimes'].items() if name != EAGER}
    exact = {name: runtime['ratio'] for name, runtime in runtimes.items()
             if not runtime['reduced']}
    best = max(exact, key=lambda name: exact[name])
    int8 = {name: result['demo'][name]['equal'] for name in runtimes
            if 'int8' in name and name in result['demo']}
    aim = f'int8 weights keep at least {INT8_EQUAL:.0%} of the labels (demo)'
    return [
        Target(f'a runtime that encodes in float32 {ADOPT_RATIO} times as fast as eager PyTorch '
               'on a CPU, to adopt it', f'{best}: {exact[best]:.2f}', exact[best] >= ADOPT_RATIO),
        Target(aim, '; '.join(f'{name}: {percent(equal)}' for name, equal in int8.items()),
               any(equal >= INT8_EQUAL for equal in int8.values())) if int8 else Target(aim)]
