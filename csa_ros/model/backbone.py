"""
CLIPs, RADIOs and GroupViT ready for use: weights, tokenizer and preprocessing, on a device.

Loading never touches the network, so that a robot without one starts, or fails, at once: see
`csa_ros.tools.fetch_model` for getting weights beforehand.
"""

from dataclasses import dataclass
import hashlib
import importlib
import json
from pathlib import Path
import re
from typing import TypeAlias

from csa_ros.choices import LEAST_SPEEDUP
from csa_ros.model import bf16
from csa_ros.model.errors import ModelError
from csa_ros.model.siglip2 import Siglip2Text
from csa_ros.model.text_tower import Clip
from csa_ros.model.text_tower import ClipText
from csa_ros.model.text_tower import TextTower
from csa_ros.model.tokens import Tokenizer
from csa_ros.model.towers.architecture import build
from csa_ros.model.towers.architecture import halve_layer_norms
from csa_ros.model.towers.architecture import lower
from csa_ros.model.towers.architecture import needs_word_pieces
from csa_ros.model.towers.groupvit import GroupViTText
from csa_ros.model.towers.groupvit import GroupViTTower
from csa_ros.model.towers.groupvit import GroupViTVision
from csa_ros.model.towers.groupvit import TextWeights
from csa_ros.model.towers.radio import RadioTower
from csa_ros.model.towers.radio import RadioVision
from csa_ros.model.towers.tower import Tower
from csa_ros.model.towers.trunk import parts_of
from csa_ros.model.weights import files
from csa_ros.model.weights.catalogue import GROUPVIT_IMAGE_SIZE
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from csa_ros.model.weights.catalogue import GROUPVIT_SHORT_SIDE
from csa_ros.model.weights.catalogue import GROUPVIT_STRIDE
from csa_ros.model.weights.catalogue import RADIO_ALIGN_CORNERS
from csa_ros.model.weights.catalogue import RADIO_IMAGE_SIZE
from csa_ros.model.weights.catalogue import RADIO_LOGIT_SCALE
from csa_ros.model.weights.catalogue import RADIO_SHORT_SIDE
from csa_ros.model.weights.catalogue import RADIO_STRIDE
from csa_ros.model.weights.checkpoint import load_weights
from csa_ros.model.weights.checkpoint import read_weights
from csa_ros.model.weights.groupvit_format import read_groupvit
from csa_ros.model.weights.groupvit_source import locate
from csa_ros.model.weights.groupvit_source import parse_groupvit
from csa_ros.model.weights.radio_source import parse_radio
from csa_ros.model.weights.radio_source import read_parts
from csa_ros.model.weights.source import Channels
from csa_ros.model.weights.source import find_weights
from csa_ros.model.weights.source import find_word_pieces
from csa_ros.model.weights.source import parse_model
from csa_ros.model.weights.source import settle
from csa_ros.model.weights.source import Source
from csa_ros.model.wordpiece import WordPieceTokenizer
import open_clip
from open_clip.constants import IMAGENET_MEAN
from open_clip.constants import IMAGENET_STD
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
import torch

# Types of the weights; `int8` quantises those of the image tower later: `csa_ros.model.int8`.
PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16,
              'int8': torch.float32}
# What `int8` wants besides, and the first PyTorch whose exporter it can use.
INT8_PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')
INT8_TORCH = '2.6'

# SCLIP's, for CLIPs.
CLIP_LOGIT_SCALE = 40.0

Visual: TypeAlias = VisionTransformer | TimmModel | RadioVision | GroupViTVision


@dataclass(frozen=True)
class Backbone:
    """
    A model ready for inference: an image tower, a text tower, and what is needed to feed them.

    `visual` are the weights of the image tower, and `tower` its parts; `mean` and `std` are per
    RGB channel for pixels in 0..1, `name` is the model as the user wrote it, and `identity`
    changes whenever the weights, the architecture or the type of the weights do. Frames are best
    resized to `short_side` pixels, cut into windows of the native size every `stride` pixels, and
    decided with cosines multiplied by `logit_scale`. `quantized` says that the image tower is to
    run in 8-bit integers, by `csa_ros.model.int8.Int8Encoder`; the weights here are in float32
    even so. `bf16_speedup` is what the precision was chosen by, if it was measured: how many times
    as fast bf16 is as fp32. `weights` is as `identity`, whatever the type of the weights.
    """

    visual: Visual
    tower: Tower | GroupViTTower
    text: TextTower
    mean: Channels
    std: Channels
    name: str
    identity: str
    short_side: int
    stride: int
    logit_scale: float = CLIP_LOGIT_SCALE
    quantized: bool = False
    bf16_speedup: float | None = None
    weights: str = ''

    @classmethod
    def of_clip(cls, clip: Clip, tokenizer: Tokenizer, mean: Channels, std: Channels, name: str,
                identity: str, short_side: int, stride: int, quantized: bool = False,
                bf16_speedup: float | None = None, weights: str = '') -> 'Backbone':
        """Return that of a CLIP of open_clip's with a vision transformer, and its tokenizer."""
        return cls(clip.visual, parts_of(clip.visual), ClipText(clip, tokenizer, name), mean, std,
                   name, identity, short_side, stride, quantized=quantized,
                   bf16_speedup=bf16_speedup, weights=weights)

    @property
    def clip(self) -> Clip:
        """CLIP that this is made of; ModelError if it is of another kind."""
        return self._clip_text.clip

    @property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of the CLIP that this is made of; ModelError if it is of another kind."""
        return self._clip_text.tokenizer

    @property
    def _clip_text(self) -> ClipText:
        if not isinstance(self.text, ClipText):
            raise ModelError(f'{self.name} is no CLIP, whose towers learn together: take a model '
                             'that is one, such as demo or openai-b16')
        return self.text

    @property
    def patch_tower(self) -> Tower:
        """Image tower that gives features of patches; ModelError if it gives none."""
        if isinstance(self.tower, GroupViTTower):
            raise ModelError(f'{self.name} gathers patches into segments, and has no features of '
                             'patches: take a model that has, such as demo or openai-b16')
        return self.tower

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.tower.patch_size[0]

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images that the tower is used with."""
        return self.visual.image_size[0]

    @property
    def embed_dim(self) -> int:
        """Length of a feature, the same for patches and for text."""
        return self.tower.embed_dim

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.tower.device

    @property
    def dtype(self) -> torch.dtype:
        """Type in which the towers compute; layer norms stay in float32."""
        return self.tower.dtype

    @property
    def arithmetic(self) -> str:
        """Type that the image tower computes in; if it was measured, why, and the way back."""
        if self.quantized:
            return 'int8'
        if self.bf16_speedup is None:
            return str(self.dtype)
        measured = f'bf16 is {self.bf16_speedup:.2f} times as fast as fp32 on this CPU'
        if self.dtype == torch.bfloat16:
            return f'{self.dtype} ({measured}; to go back, set precision: fp32)'
        return (f'{self.dtype} ({measured}, and is taken from {LEAST_SPEEDUP} on; to have it '
                'even so, set precision: bf16)')


def load_backbone(model: str, device: str = 'auto', precision: str = 'auto',
                  measure: bool = False) -> Backbone:
    """
    Load a model from this machine; the network is never used.

    `model` is `demo` (bundled), `ARCH/TAG` (any pair of `open_clip.list_pretrained()` whose image
    tower is a vision transformer with CLIP's attention), `ARCH:/path` (a file or folder with
    exactly the weights of that open_clip architecture, by open_clip's names or transformers';
    ARCH also says which activation they were trained with, as in `ViT-B-16-quickgelu`, where
    nothing beside them does), `PRESET` (a name in PRESETS or RADIO_PRESETS of
    `csa_ros.model.weights.catalogue`), `PRESET:/path` (a file or folder with such weights) or
    `/path` (of which a config.json or open_clip_config.json says the architecture).

    `device` is `auto` (a GPU if there is one), `cuda`, `cuda:N` or `cpu`. `precision` is `fp32`,
    `fp16` (GPU only), `bf16` (on CPUs with AVX512-BF16 twice as fast as `fp32`, on those without
    such instructions slower), `int8` (CPU only, the image tower alone, with ONNX Runtime; two to
    three times as fast with AVX512-VNNI) or `auto` (`fp16` on a GPU, `fp32` on a CPU). With
    `measure` that becomes `bf16` on a CPU where `csa_ros.model.bf16.speedup` is large enough, so
    that the same frames need not have the same labels on another machine; RADIO and GroupViT are
    not measured, and stay in `fp32`. Raises ModelError when any of it cannot be had.
    """
    torch_device = _choose_device(device)
    dtype = _choose_dtype(precision, torch_device)
    radio, groupvit = parse_radio(model), parse_groupvit(model)
    if radio is not None:
        return _load_radio(model, *radio, torch_device, dtype, precision == 'int8')
    if groupvit is not None:
        return _load_groupvit(model, *groupvit, torch_device, dtype, precision == 'int8')
    return _load_clip(model, torch_device, dtype, precision == 'int8',
                      measure and precision == 'auto' and torch_device.type == 'cpu')


def _load_clip(model: str, torch_device: torch.device, dtype: torch.dtype, quantized: bool,
               open_choice: bool) -> Backbone:
    source = parse_model(model)
    path = find_weights(source)
    tokenizer = _make_tokenizer(source)
    weights = read_weights(path, source.config)
    source = settle(source, path, weights)
    speedup = bf16.speedup(source.config) if open_choice else None
    if speedup is not None and speedup >= LEAST_SPEEDUP:
        dtype = torch.bfloat16
    clip = build(source.config, dtype)
    load_weights(clip, weights.by_name, f'{path} does not fit {source.name!r}')
    clip = clip.to(torch_device).eval().requires_grad_(False)
    recipe = ['+'.join(map(files.sha256, files.parts(path))), source.config]
    if torch_device.type == 'cuda' and dtype != torch.float32:
        halve_layer_norms(clip.visual, dtype)
    return Backbone.of_clip(
        clip=clip,
        tokenizer=tokenizer,
        mean=source.mean,
        std=source.std,
        name=model,
        identity=_recipe_digest([*recipe, str(dtype)]),
        # As in SCLIP, which has 336 and 112 for 224.
        short_side=source.short_side or clip.visual.image_size[0] * 3 // 2,
        stride=source.stride or clip.visual.image_size[0] // 2,
        quantized=quantized,
        bf16_speedup=speedup,
        weights=_recipe_digest(recipe),
    )


def _load_radio(model: str, name: str, path: Path | None, torch_device: torch.device,
                dtype: torch.dtype, quantized: bool) -> Backbone:
    parts = read_parts(name, path)
    with torch.device('meta'):
        visual = RadioVision(parts.weights.sizes, RADIO_IMAGE_SIZE)
    visual.load_state_dict(parts.weights.by_name, assign=True)
    lower(visual, dtype)
    visual = visual.to(torch_device).eval().requires_grad_(False)
    recipe = [parts.digest, name, RADIO_ALIGN_CORNERS]
    if torch_device.type == 'cuda' and dtype != torch.float32:
        halve_layer_norms(visual, dtype)
    return Backbone(
        visual=visual,
        tower=RadioTower(visual, RADIO_ALIGN_CORNERS),
        text=Siglip2Text(parts.text, parts.tokenizer, torch_device, dtype, model),
        mean=parts.weights.mean,
        std=parts.weights.std,
        name=model,
        identity=_recipe_digest([*recipe, str(dtype)]),
        short_side=RADIO_SHORT_SIDE,
        stride=RADIO_STRIDE,
        logit_scale=RADIO_LOGIT_SCALE,
        quantized=quantized,
        weights=_recipe_digest(recipe),
    )


def _load_groupvit(model: str, name: str, path: Path | None, torch_device: torch.device,
                   dtype: torch.dtype, quantized: bool) -> Backbone:
    preset, path = GROUPVIT_PRESETS[name], locate(name, path)
    weights = read_groupvit(files.read(path).document, name, path)
    with torch.device('meta'):
        visual = GroupViTVision(preset.image, GROUPVIT_IMAGE_SIZE)
    visual.load_state_dict(weights.image, assign=True)
    lower(visual, dtype)
    text = TextWeights(preset.text, dtype)
    text.text.load_state_dict(weights.text)
    visual = visual.to(torch_device).eval().requires_grad_(False)
    text = text.to(torch_device).eval().requires_grad_(False)
    recipe = ['+'.join(map(files.sha256, files.parts(path))), name]
    if torch_device.type == 'cuda' and dtype != torch.float32:
        halve_layer_norms(visual, dtype)
    return Backbone(
        visual=visual,
        tower=GroupViTTower(visual),
        text=GroupViTText(text, open_clip.SimpleTokenizer(
            context_length=preset.text.context_length), model),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        name=model,
        identity=_recipe_digest([*recipe, str(dtype)]),
        short_side=GROUPVIT_SHORT_SIDE,
        stride=GROUPVIT_STRIDE,
        logit_scale=weights.logit_scale,
        quantized=quantized,
        weights=_recipe_digest(recipe),
    )


def _choose_device(device: str) -> torch.device:
    gpus = torch.cuda.device_count()
    if device == 'auto':
        return torch.device('cuda' if gpus else 'cpu')
    match = re.fullmatch(r'cpu|cuda(?::(\d+))?', device)
    if not match:
        raise ModelError(f"device {device!r} is not understood: write 'auto', 'cpu', 'cuda' or "
                         "'cuda:N'")
    if device != 'cpu' and not gpus:
        fault = 'is built without CUDA' if torch.version.cuda is None else 'finds no CUDA GPU'
        raise ModelError(f"device {device!r}: this machine's PyTorch {torch.__version__} {fault}. "
                         "Check nvidia-smi, or use device 'cpu' or 'auto'")
    if int(match[1] or 0) >= max(gpus, 1):
        raise ModelError(f'device {device!r}: this machine has GPUs 0 to {gpus - 1}')
    return torch.device(device)


def _choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == 'auto':
        return torch.float16 if device.type == 'cuda' else torch.float32
    if precision not in PRECISIONS:
        raise ModelError(f"precision {precision!r} is not understood: write 'auto', "
                         f"{', '.join(map(repr, PRECISIONS))}")
    if precision == 'fp16' and device.type == 'cpu':
        raise ModelError("precision 'fp16' needs a GPU: CPUs have no fast float16 arithmetic. "
                         "Use 'fp32' or 'auto'")
    if precision == 'int8':
        _check_int8(device)
    return PRECISIONS[precision]


def _check_int8(device: torch.device) -> None:
    if device.type != 'cpu':
        raise ModelError(f"precision 'int8' needs a CPU, and the model is to run on "
                         f"{device.type}: use 'fp16' or 'auto' there, or device 'cpu'")
    missing = int8_missing()
    if missing:
        raise ModelError(f"precision 'int8' runs the model in ONNX Runtime, and {missing}. Use "
                         f"'bf16' or 'fp32', or install what is missing with \"pip install "
                         f"{' '.join(INT8_PACKAGES)} 'torch>={INT8_TORCH}'\"")


def int8_missing() -> str:
    """Return what the precision `int8` wants and is not installed, or an empty string."""
    if torch.__version__ < INT8_TORCH:
        return f'PyTorch is {torch.__version__}, before {INT8_TORCH}'
    for package in INT8_PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            return f'{package} cannot be imported ({error})'
    return ''


def _make_tokenizer(source: Source) -> Tokenizer:
    context_length = open_clip.CLIPTextCfg(**source.config['text_cfg']).context_length
    if needs_word_pieces(source.config):
        return WordPieceTokenizer(find_word_pieces(source), context_length)
    return open_clip.SimpleTokenizer(context_length=context_length)


def _recipe_digest(recipe: list) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
