"""
CLIP towers from open_clip: by tag, from a file, or the bundled demo.

Loading never touches the network, so that a robot without one starts, or fails, at once: see
`csa_ros.tools.fetch_model` for getting weights beforehand.
"""

from collections.abc import Iterable
from dataclasses import dataclass
import difflib
import hashlib
import importlib
import json
import os
from pathlib import Path
import re

from csa_ros.model import torchscript
from csa_ros.model.tower import Tower
from huggingface_hub import try_to_load_from_cache
import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME
from open_clip.constants import HF_WEIGHTS_NAME
from open_clip.constants import OPENAI_DATASET_MEAN
from open_clip.constants import OPENAI_DATASET_STD
from safetensors.torch import load_file
import torch
from torch import Tensor

DEFAULT_MODEL = 'ViT-B-16-quickgelu/openai'
DEMO = 'demo'
DEMO_WEIGHTS = Path(__file__).parent.parent / 'demo' / 'weights'
# Where open_clip keeps weights that it fetches from a plain URL.
URL_CACHE = '~/.cache/clip'
# Types of the weights; `int8` quantises those of the image tower later: `csa_ros.model.int8`.
PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16,
              'int8': torch.float32}
# What `int8` wants besides, and the first PyTorch whose exporter it can use.
INT8_PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')
INT8_TORCH = '2.6'
GRAMMAR = "'demo', 'ARCH/TAG' (such as 'ViT-B-16-quickgelu/openai') or 'ARCH:/path/to/weights'"
# Parameters of the training loss, sizes that OpenAI's archives carry as tensors, and a mask that
# is rebuilt: none of them changes a feature.
UNUSED_WEIGHTS = frozenset({'logit_scale', 'logit_bias', 'input_resolution', 'context_length',
                            'vocab_size', 'attn_mask'})


class ModelError(RuntimeError):
    """A model cannot be used; the message says why and what to do next."""


@dataclass(frozen=True)
class Backbone:
    """
    A CLIP model ready for inference, and what is needed to feed it.

    `clip` is an `open_clip.CLIP` with a plain vision transformer, `tokenizer` its tokenizer,
    `mean` and `std` are per RGB channel for pixels in 0..1, `name` is the model as the user wrote
    it, and `identity` changes whenever the weights, the architecture or the type of the weights
    do. Frames are best resized to `short_side` pixels and cut into windows of the native size
    every `stride` pixels. `quantized` says that the image tower is to run in 8-bit integers, by
    `csa_ros.model.int8.Int8Encoder`; the weights here are in float32 even so.
    """

    clip: open_clip.CLIP
    tokenizer: open_clip.SimpleTokenizer
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str
    identity: str
    short_side: int
    stride: int
    quantized: bool = False

    @property
    def tower(self) -> Tower:
        """Image tower by its parts, as patch features are computed from it."""
        return Tower(self.clip.visual)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.clip.visual.patch_size[0]

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images that the tower was trained on."""
        return self.clip.visual.image_size[0]

    @property
    def embed_dim(self) -> int:
        """Length of a feature, the same for patches and for text."""
        return self.clip.visual.output_dim

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.clip.visual.conv1.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type in which the towers compute; layer norms stay in float32."""
        return self.clip.visual.conv1.weight.dtype


@dataclass(frozen=True)
class Source:
    """
    What a model string names, before any weights are read.

    `config` is open_clip's model config with the right activation; exactly one of `path` (a local
    file) and `pretrained` (open_clip's entry for a tag, with `hf_hub` and `url`) is set.
    `short_side` and `stride` are None for SCLIP's choice.
    """

    name: str
    config: dict
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    path: Path | None = None
    pretrained: dict | None = None
    short_side: int | None = None
    stride: int | None = None


def load_backbone(model: str, device: str = 'auto', precision: str = 'auto') -> Backbone:
    """
    Load a model from this machine; the network is never used.

    `model` is `demo` (bundled), `ARCH/TAG` (any pair of `open_clip.list_pretrained()` whose image
    tower is a plain vision transformer) or `ARCH:/path` (a safetensors or torch file with exactly
    the weights of that open_clip architecture; ARCH also says which activation they were trained
    with, as in `ViT-B-16-quickgelu`, because the file cannot).

    `device` is `auto` (a GPU if there is one), `cuda`, `cuda:N` or `cpu`. `precision` is `fp32`,
    `fp16` (GPU only), `bf16` (on CPUs with AVX512-BF16 twice as fast as `fp32`, on those without
    such instructions slower), `int8` (CPU only, the image tower alone, with ONNX Runtime; two to
    three times as fast with AVX512-VNNI) or `auto` (`fp16` on a GPU, `fp32` on a CPU). Raises
    ModelError when any of it cannot be had.
    """
    torch_device = _choose_device(device)
    dtype = _choose_dtype(precision, torch_device)
    source = parse_model(model)
    path = find_weights(source)
    clip = _build(source.config, dtype)
    _load_weights(clip, path, source)
    clip = clip.to(torch_device).eval().requires_grad_(False)
    return Backbone(
        clip=clip,
        tokenizer=open_clip.SimpleTokenizer(context_length=clip.context_length),
        mean=source.mean,
        std=source.std,
        name=model,
        identity=_identity(path, source.config, dtype),
        # As in SCLIP, which has 336 and 112 for 224.
        short_side=source.short_side or clip.visual.image_size[0] * 3 // 2,
        stride=source.stride or clip.visual.image_size[0] // 2,
        quantized=precision == 'int8',
    )


def parse_model(model: str) -> Source:
    """
    Return what a model string names, without reading or looking for weights.

    Raises ModelError for a malformed string, an unknown architecture or tag (with the closest
    names) and an architecture that cannot be used (with the reason).
    """
    if model == DEMO:
        return _parse_demo()
    architecture, separator, rest = _split(model)
    config = _known_config(architecture)
    if separator == ':':
        source = Source(model, config, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD,
                        path=Path(os.path.expanduser(rest)))
    else:
        pretrained = _known_tag(architecture, rest)
        # The trap: the weights of a tag fit an architecture with the other activation, and
        # open_clip builds that with only a warning. The tag knows how it was trained.
        config['quick_gelu'] = bool(pretrained.get('quick_gelu'))
        source = Source(model, config, pretrained['mean'], pretrained['std'],
                        pretrained=pretrained)
    reason = _why_unusable(config)
    if reason:
        raise ModelError(f'{architecture} cannot be used: {reason}. Use a plain vision '
                         "transformer, such as 'ViT-B-16-quickgelu/openai'")
    return source


def find_weights(source: Source) -> Path:
    """Return the file with the weights of a source; ModelError if it is not on this machine."""
    if source.path is not None:
        if not source.path.is_file():
            raise ModelError(f'model {source.name!r}: there is no file {source.path}')
        return source.path
    path = _find_in_hub_cache(source.pretrained) or _find_in_url_cache(source.pretrained)
    if path is None:
        raise ModelError(
            f'the weights of {source.name!r} are not on this machine, and loading never uses the '
            f"network. Fetch them beforehand with 'ros2 run csa_ros fetch_model {source.name}' or "
            f"'python -m csa_ros.tools.fetch_model {source.name}', or use model:=demo, which is "
            'bundled and works offline')
    return path


def _split(model: str) -> tuple[str, str, str]:
    match = re.fullmatch(r'([^:/]+)([:/])(.+)', model)
    if not match:
        raise ModelError(f'model {model!r} is not understood: write {GRAMMAR}')
    return match.groups()


def _parse_demo() -> Source:
    try:
        document = json.loads((DEMO_WEIGHTS / 'open_clip_config.json').read_text())
    except OSError as error:
        raise ModelError(f'the bundled demo model cannot be read ({error}): reinstall csa_ros, '
                         'or make it with python -m csa_ros.demo.train') from error
    preprocess = document['preprocess_cfg']
    return Source(DEMO, document['model_cfg'], tuple(preprocess['mean']),
                  tuple(preprocess['std']), path=DEMO_WEIGHTS / 'model.safetensors',
                  short_side=document['short_side'], stride=document['stride'])


def _known_config(architecture: str) -> dict:
    config = open_clip.get_model_config(architecture)
    if config is None:
        hint = _did_you_mean(architecture, open_clip.list_models())
        raise ModelError(f'open_clip knows no architecture {architecture!r}{hint}: '
                         f'write {GRAMMAR}')
    return config


def _known_tag(architecture: str, tag: str) -> dict:
    pretrained = open_clip.get_pretrained_cfg(architecture, tag)
    if not pretrained:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        choices = (f'its tags are {", ".join(tags)}' if tags
                   else f'it has none; name a file, as in {architecture}:/path/to/weights')
        raise ModelError(f'{architecture} has no weights tagged {tag!r} in open_clip'
                         f'{_did_you_mean(tag, tags)}: {choices}')
    return pretrained


def _did_you_mean(word: str, choices: Iterable[str]) -> str:
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), lowered, n=3)
    return f' (did you mean {" or ".join(lowered[match] for match in close)}?)' if close else ''


def _why_unusable(config: dict) -> str | None:
    """Say why dense features cannot be taken from a model config, or return None if they can."""
    vision, text = config['vision_cfg'], config['text_cfg']
    if 'multimodal_cfg' in config or vision.get('attentional_pool'):
        return 'its image tower (CoCa) pools the patches by attention before projecting them'
    if 'timm_model_name' in vision:
        return (f"its image tower is timm's {vision['timm_model_name']}, and attention can be "
                "replaced only in open_clip's own vision transformer")
    if isinstance(vision['layers'], (list, tuple)):
        return 'its image tower is a ResNet, which has no self-attention blocks'
    tokenizer = text.get('hf_model_name') or text.get('hf_tokenizer_name')
    if tokenizer:
        return f'its text tower needs the Hugging Face tokenizer {tokenizer}'
    return None


def _choose_device(device: str) -> torch.device:
    gpus = torch.cuda.device_count()
    if device == 'auto':
        return torch.device('cuda' if gpus else 'cpu')
    match = re.fullmatch(r'cpu|cuda(?::(\d+))?', device)
    if not match:
        raise ModelError(f"device {device!r} is not understood: write 'auto', 'cpu', 'cuda' or "
                         "'cuda:N'")
    if device != 'cpu' and not gpus:
        build = 'is built without CUDA' if torch.version.cuda is None else 'finds no CUDA GPU'
        raise ModelError(f"device {device!r}: this machine's PyTorch {torch.__version__} {build}. "
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


def _find_in_hub_cache(pretrained: dict) -> Path | None:
    # The order is open_clip's: safetensors first, then the name in its table.
    repository, _, filename = pretrained.get('hf_hub', '').rpartition('/')
    if not repository:
        return None
    filename = filename or HF_WEIGHTS_NAME
    safe = (HF_SAFE_WEIGHTS_NAME if filename == HF_WEIGHTS_NAME
            else str(Path(filename).with_suffix('.safetensors')))
    for candidate in (safe, filename):
        path = try_to_load_from_cache(repository, candidate)
        if isinstance(path, str):
            return Path(path)
    return None


def _find_in_url_cache(pretrained: dict) -> Path | None:
    url = pretrained.get('url')
    if not url:
        return None
    path = Path(os.path.expanduser(URL_CACHE), url.rpartition('/')[2])
    return path if path.is_file() else None


def _build(config: dict, dtype: torch.dtype) -> open_clip.CLIP:
    half = dtype != torch.float32
    clip = open_clip.CLIP(**config, cast_dtype=dtype if half else None)
    if half:
        open_clip.convert_weights_to_lp(clip, dtype)
    return clip


def _load_weights(clip: open_clip.CLIP, path: Path, source: Source) -> None:
    weights = _read_weights(path, source)
    expected = {name: value for name, value in clip.state_dict().items()
                if name not in UNUSED_WEIGHTS}
    _check_weights(weights, expected, f'{path} does not fit {source.name!r}')
    clip.load_state_dict(weights, strict=False)


def _read_weights(path: Path, source: Source) -> dict[str, Tensor]:
    try:
        if path.suffix == '.safetensors':
            document = load_file(path)
        elif torchscript.is_archive(path):
            document = _read_torchscript(path, source)
        else:
            document = torch.load(path, map_location='cpu', weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are
        raise ModelError(f'cannot read weights from {path}: {error}') from error
    if isinstance(document, dict):
        document = document.get('state_dict', document)
    if not isinstance(document, dict) or not document:
        raise ModelError(f'{path} holds {type(document).__name__}, not weights by name')
    weights = {name.removeprefix('module.'): value for name, value in document.items()}
    return {name: value for name, value in weights.items() if name not in UNUSED_WEIGHTS}


def _read_torchscript(path: Path, source: Source) -> dict[str, Tensor]:
    # OpenAI published its models as TorchScript, and only those are around in this form.
    if not source.config.get('quick_gelu'):
        raise ModelError(f'{path} is an archive as published by OpenAI, whose models use '
                         f'QuickGELU: write the architecture as ARCH-quickgelu:{path}')
    weights = torchscript.read_weights(path)
    return {name: value for name, value in weights.items()
            if name.rpartition('.')[2] not in UNUSED_WEIGHTS}


def _check_weights(weights: dict[str, Tensor], expected: dict[str, Tensor], what: str) -> None:
    problems = {
        'missing': sorted(expected.keys() - weights.keys()),
        'unexpected': sorted(weights.keys() - expected.keys()),
        'of another shape': sorted(
            f'{name} {_shape(weights[name])} for {_shape(expected[name])}'
            for name in expected.keys() & weights.keys()
            if _shape(weights[name]) != _shape(expected[name])),
    }
    found = [f'{len(names)} {kind} ({_first(names)})' for kind, names in problems.items() if names]
    if found:
        raise ModelError(f'{what}: {"; ".join(found)}. Check that the architecture is the one '
                         'the weights were trained with')


def _shape(value: object) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _first(names: list[str], limit: int = 3) -> str:
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')


def _identity(path: Path, config: dict, dtype: torch.dtype) -> str:
    recipe = json.dumps([_sha256(path), config, str(dtype)], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()


def _sha256(path: Path) -> str:
    blob = path.resolve().name
    if re.fullmatch('[0-9a-f]{64}', blob):
        return blob  # The hub cache names a large file by its digest.
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
