"""
The image tower in 8-bit integers, by ONNX Runtime, on a CPU.

The linear layers of the blocks and the last projection multiply integers. Their weights are
quantised when the tower is exported, each output channel by a scale of its own; their inputs while
it runs, by the least and the greatest value in one window. All else is float32: the embedding of
the patches, layer norms, activations, and the products of queries, keys and values.

Weights take 7 of their 8 bits. On CPUs without VNNI two products of 8 bits are added in 16, where
they may overflow (onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

from functools import lru_cache
import hashlib
import inspect
import json
import os
from pathlib import Path
import tempfile
from typing import Any
import warnings

from csa_ros.choices import AUTO
from csa_ros.model import dense as dense_module
from csa_ros.model import joining
from csa_ros.model.attention import gem
from csa_ros.model.attention import methods as attention_module
from csa_ros.model.attention import mixing
from csa_ros.model.attention import positions
from csa_ros.model.attention import radseg
from csa_ros.model.attention import sc_clip
from csa_ros.model.backbone import Backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.errors import ModelError
from csa_ros.model.towers import radio
from csa_ros.model.towers import tower as tower_module
from csa_ros.model.towers import trunk
from csa_ros.process import cancellation
from csa_ros.process import home
import torch
from torch import nn
from torch import Tensor

# Each holds the weights of the tower, a quarter of their size in float32.
SESSIONS = 4
# What an exported tower is made by, with this module.
CODE = (attention_module, dense_module, gem, joining, mixing, positions, radio, radseg, sc_clip,
        tower_module, trunk)
# Of a file in the format of ONNX, which is one message of Protocol Buffers.
MAX_BYTES = 2 * 1024**3


class Int8Encoder:
    """
    Does as `csa_ros.model.dense.DenseEncoder`, in 8-bit integers.

    Exporting a tower takes several seconds, and is done for every size of window: the result is
    kept in `cache_dir` (None: that of `csa_ros.process.home`), shared by all processes. A folder
    that cannot be written is no error. Raises ModelError as
    `csa_ros.model.attention.methods.choose`, and for a tower too large for the format of ONNX.
    """

    def __init__(self, backbone: Backbone, attention: str = AUTO,
                 cache_dir: Path | None = None, residual: str = 'auto') -> None:
        # Of its own: what it remembers while it is traced is of no use outside.
        self._dense = DenseEncoder(backbone, attention, residual)
        self._visual = backbone.visual
        self.attention = self._dense.attention
        self._recipe = (backbone.identity, self.attention, residual)
        self._folder = (cache_dir or home.cache_dir()) / 'onnx'
        size = sum(weight.nbytes for weight in self._visual.parameters())
        if size >= MAX_BYTES:
            raise ModelError(f"precision 'int8': the image tower of {backbone.name} has "
                             f'{size / 1024**3:.1f} GiB of weights, and ONNX takes less than '
                             f"{MAX_BYTES / 1024**3:.0f}. Use 'bf16' or 'fp32'")
        self._session = lru_cache(maxsize=SESSIONS)(self._make_session)
        self.description = self._dense.description
        self.denoise = self._dense.denoise
        self.residual = self._dense.residual
        self.joining = self._dense.joining
        self.grid = self._dense.grid
        self.check = self._dense.check
        self.positions = self._dense.positions

    def __call__(self, pixels: Tensor) -> Tensor:
        """
        Return what is kept of every patch, as the encoder in floating point does.

        `pixels` (N, 3, H, W) float32 on the CPU, normalised; returns (N, H // patch, W // patch,
        D) float32. Every window is quantised by its own range, so that its features do not depend
        on those beside it.
        """
        session = self._session(*pixels.shape[-2:])
        encoded = []
        for window in pixels.split(1):
            cancellation.check()
            encoded.append(torch.from_numpy(session.run(None, {'pixels': window.numpy()})[0]))
        return torch.cat(encoded)

    def _make_session(self, height: int, width: int) -> Any:
        """Return an `onnxruntime.InferenceSession` for one window of a size in pixels."""
        path = self._folder / f'{self._key(height, width)}.onnx'
        # A file that another process is writing has another name. One that was damaged since, or
        # is not there, fails to open in as many ways as there are.
        try:
            return _open(path)
        except Exception:  # noqa: B902
            pass
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._replace(path, height, width)
            return _open(path)
        except OSError as error:
            warnings.warn(
                f'the exported image tower is not kept on disk: {error}; set XDG_CACHE_HOME to a '
                'folder with room that can be written', stacklevel=2)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / path.name
            self._export(path, height, width)
            return _open(path)

    def _replace(self, path: Path, height: int, width: int) -> None:
        handle, name = tempfile.mkstemp(dir=self._folder, suffix='.tmp')
        try:
            self._export(Path(name), height, width)
            # Robots are switched off at any time: contents before name.
            os.fsync(handle)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        finally:
            os.close(handle)

    def _export(self, path: Path, height: int, width: int) -> None:
        from onnxruntime.quantization import quantize_dynamic
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata
        # Inference mode, in which frames are segmented, cannot be traced.
        with torch.inference_mode(False), torch.no_grad():
            # Positions that are there when it is traced are a constant.
            self._dense.positions(*self.grid(height, width))
            program = torch.onnx.export(
                _Tower(self._dense, self._visual).eval(), (torch.zeros(1, 3, height, width),),
                input_names=['pixels'], dynamo=True, verbose=False)
        # None is what exporters before `dynamo` return.
        assert program is not None
        model = program.model_proto
        # The exporter has folded constants and knows all shapes: without this mark the quantiser
        # asks the user to see to that.
        add_pre_process_metadata(model)
        quantize_dynamic(model, path, op_types_to_quantize=['MatMul'], per_channel=True,
                         weight_type=QuantType.QInt8, reduce_range=True)

    def _key(self, height: int, width: int) -> str:
        import onnxruntime
        code = [inspect.getsource(module) for module in CODE]
        code.append(inspect.getsource(Int8Encoder))
        recipe = json.dumps([*self._recipe, height, width, onnxruntime.__version__, code])
        return hashlib.sha256(recipe.encode()).hexdigest()


class _Tower(nn.Module):
    """An encoder as exporters take it: a module that has the weights as its own."""

    def __init__(self, encoder: DenseEncoder, visual: nn.Module) -> None:
        super().__init__()
        self._encoder = encoder
        self._visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        return self._encoder.forward(pixels)


def _open(path: Path) -> Any:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Its threads spin while they wait for the next layer, but not after the window: they would
    # keep PyTorch's, which merge and decide, from the CPU.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    return onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
