"""
Architectures: which of open_clip's can be used, why the others cannot, and how they are built.

An architecture is a model config of open_clip's: sizes of the towers and the activation, and no
weights.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import difflib
from typing import Any

import open_clip
from open_clip.model import CustomTextCLIP
from open_clip.transformer import LayerNormFp32
import torch
from torch import Tensor

# Vision transformers of timm's with a class token, CLIP's attention and one projection for every
# token: those of MobileCLIP-B and MobileCLIP2-B, and of MobileCLIP2-L-14.
TRUNKS = frozenset({'vit_base_mci_224', 'vit_large_patch14_clip_224'})
# The rest of timm's, by what their names hold.
_OTHER_TRUNKS = (
    ('siglip', 'which pools its patches by attention before words are compared (SigLIP)'),
    ('eva', 'whose positions and blocks are unlike those of CLIP (EVA)'),
    ('pe_core', 'which turns queries and keys by position and pools by attention (PE)'),
    ('convnext', 'a convolutional network without self-attention'),
    ('fastvit', 'which is convolutional but for its last stage'),
    ('vitamin', 'which is convolutional in its first stages and has no class token'),
)
# The tokenizer of CLIPA: see `csa_ros.model.wordpiece`.
WORDPIECE = 'bert-base-uncased'
# What models with CLIP's own text tower have at their top, and others as the part `text`.
TEXT_PARTS = ('text_projection', 'positional_embedding', 'token_embedding.', 'transformer.',
              'ln_final.')
# Parameters of a training loss, sizes that OpenAI's archives carry as tensors, and masks that are
# rebuilt: none of them changes a feature.
UNUSED_WEIGHTS = frozenset({'logit_scale', 'logit_scale_local', 'logit_bias', 'input_resolution',
                            'context_length', 'vocab_size', 'attn_mask', 'text.attn_mask'})


def why_unusable(config: dict) -> str | None:
    """Say why dense features cannot be taken from a model config, or return None if they can."""
    vision, text = config['vision_cfg'], config['text_cfg']
    if 'multimodal_cfg' in config or vision.get('attentional_pool'):
        return 'its image tower (CoCa) pools the patches by attention before projecting them'
    trunk = vision.get('timm_model_name')
    if trunk and trunk not in TRUNKS:
        reason = next((reason for part, reason in _OTHER_TRUNKS if part in trunk),
                      'in which attention cannot be replaced')
        return f"its image tower is timm's {trunk}, {reason}"
    if not trunk and isinstance(vision['layers'], (list, tuple)):
        return 'its image tower is a ResNet, which has no self-attention blocks'
    tokenizer = text.get('hf_model_name') or text.get('hf_tokenizer_name')
    if tokenizer and tokenizer != WORDPIECE:
        return f'its text tower needs the Hugging Face tokenizer {tokenizer}'
    return None


def needs_word_pieces(config: dict) -> bool:
    """Tell whether the text tower of a config reads word pieces in place of CLIP's tokens."""
    return config['text_cfg'].get('hf_tokenizer_name') == WORDPIECE


def build(config: dict, dtype: torch.dtype = torch.float32) -> open_clip.CLIP | CustomTextCLIP:
    """
    Return the model of a config, with random weights in `dtype`; layer norms stay in float32.

    Under `torch.device('meta')` it takes no memory.
    """
    half = dtype != torch.float32
    config = dict(config)
    kind = CustomTextCLIP if config.pop('custom_text', False) else open_clip.CLIP
    clip = kind(**config, cast_dtype=dtype if half else None)
    if half:
        open_clip.convert_weights_to_lp(clip, dtype)
    return clip


def lower(tower: torch.nn.Module, dtype: torch.dtype) -> None:
    """
    Convert a tower that is not open_clip's to `dtype`, in place, as open_clip does with its own.

    Layer norms and what the tower itself holds, positions and class tokens, are in float32.
    """
    if dtype == torch.float32:
        tower.float()
        return
    for name, module in list(tower.named_modules()):
        if isinstance(module, torch.nn.LayerNorm):
            norm = LayerNormFp32(module.normalized_shape, module.eps, device=module.weight.device)
            norm.load_state_dict(module.state_dict())
            parent, _, child = name.rpartition('.')
            setattr(tower.get_submodule(parent), child, norm)
        elif any(module.children()):
            for weight in module.parameters(recurse=False):
                weight.data = weight.data.float()
        else:
            module.to(dtype)


def halve_layer_norms(tower: torch.nn.Module, dtype: torch.dtype) -> None:
    """
    Let the layer norms of a tower take and give `dtype`, in place, if their weights stay the same.

    open_clip turns what they take into float32, and what they give back: two kernels more on a
    GPU, which reckons in float32 whatever they take.
    """
    for name, norm in list(tower.named_modules()):
        if isinstance(norm, LayerNormFp32) and all(
                (weight.to(dtype) == weight).all() for weight in norm.parameters()):
            halved = torch.nn.LayerNorm(norm.normalized_shape, norm.eps, dtype=dtype,
                                        device=norm.weight.device)
            halved.load_state_dict(norm.state_dict())
            parent, _, child = name.rpartition('.')
            setattr(tower.get_submodule(parent), child, halved.requires_grad_(False))


def expected_weights(clip: torch.nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model by name, less those that change no feature."""
    return {name: value for name, value in clip.state_dict().items()
            if name not in UNUSED_WEIGHTS}


def fitting(weights: Mapping[str, object]) -> list[str]:
    """
    Return the usable architectures of open_clip that have exactly these weights.

    Activations leave no trace in weights: most often two architectures fit.
    """
    found = shape(text_at_top(weights).get('token_embedding.weight'))
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    return [name for name, config in configs.items()
            if _words(config) == found and not why_unusable(config) and fits(weights, config)]


def fits(weights: Mapping[str, object], config: Mapping) -> bool:
    """Tell whether weights are exactly those of a model config, by their names and shapes."""
    with torch.device('meta'):
        expected = expected_weights(build(dict(config)))
    return _shapes(expected) == _shapes(weights)


def text_at_top(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return weights with the text tower at the top, if it is a part of its own."""
    moved = {name: name.removeprefix('text.') for name in weights
             if name.removeprefix('text.').startswith(TEXT_PARTS)}
    return {moved.get(name, name): value for name, value in weights.items()}


def shape(value: object) -> tuple[int, ...] | str:
    """Return the shape of a tensor, or the type of anything else."""
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return the closest of some names, in brackets, to follow a wrong one; '' if none is."""
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), lowered, n=3)
    return f' (did you mean {" or ".join(lowered[match] for match in close)}?)' if close else ''


def _words(config: Mapping) -> tuple[int, int]:
    """Return the shape of the table of a config's tokens, without building anything."""
    text, defaults = config['text_cfg'], open_clip.CLIPTextCfg()
    return text.get('vocab_size', defaults.vocab_size), text.get('width', defaults.width)


def _shapes(weights: Mapping[str, object]) -> dict[str, tuple[int, ...] | str]:
    return {name: shape(value) for name, value in text_at_top(weights).items()
            if isinstance(value, Tensor)}
