"""
CLIP as Hugging Face's transformers saves it, which most hubs have, in open_clip's terms.

Both libraries hold the same model. They differ in the names of weights, in that transformers
keeps queries, keys and values apart, and in that it transposes projections. See
`transformers.models.clip.modeling_clip` and `configuration_clip`, which the defaults are from.
"""

from collections.abc import Mapping
import math
import re

from csa_ros.model.errors import ModelError
import torch
from torch import Tensor

# A weight that only this form has.
IMAGE_WEIGHT = 'vision_model.embeddings.patch_embedding.weight'
TEXT_WEIGHT = 'text_model.embeddings.token_embedding.weight'
MODEL_TYPE = 'clip'
# Parts of names in the order in which they are replaced: towers first, then what is in blocks.
_RENAMED = (
    (r'^vision_model\.embeddings\.class_embedding$', 'visual.class_embedding'),
    (r'^vision_model\.embeddings\.patch_embedding\.', 'visual.conv1.'),
    (r'^vision_model\.embeddings\.position_embedding\.weight$', 'visual.positional_embedding'),
    # The misspelling is theirs.
    (r'^vision_model\.pre_layrnorm\.', 'visual.ln_pre.'),
    (r'^vision_model\.post_layernorm\.', 'visual.ln_post.'),
    (r'^vision_model\.encoder\.layers\.', 'visual.transformer.resblocks.'),
    (r'^visual_projection\.weight$', 'visual.proj'),
    (r'^text_model\.embeddings\.token_embedding\.', 'token_embedding.'),
    (r'^text_model\.embeddings\.position_embedding\.weight$', 'positional_embedding'),
    (r'^text_model\.final_layer_norm\.', 'ln_final.'),
    (r'^text_model\.encoder\.layers\.', 'transformer.resblocks.'),
    (r'^text_projection\.weight$', 'text_projection'),
    (r'\.self_attn\.', '.attn.'),
    (r'\.layer_norm(\d)\.', r'.ln_\1.'),
    (r'\.mlp\.fc1\.', '.mlp.c_fc.'),
    (r'\.mlp\.fc2\.', '.mlp.c_proj.'),
)
_TRANSPOSED = ('visual.proj', 'text_projection')
_QUERY = re.compile(r'(.*\.attn\.)q_proj\.(weight|bias)')
# What each activation is in open_clip, as whether it is QuickGELU and the arguments of GELU.
_ACTIVATIONS: dict[str, tuple[bool, dict[str, str]]] = {
    'quick_gelu': (True, {}),
    'gelu': (False, {}),
    'gelu_new': (False, {'approximate': 'tanh'}),
    'gelu_pytorch_tanh': (False, {'approximate': 'tanh'}),
}
_VISION = {'hidden_size': 768, 'intermediate_size': 3072, 'num_hidden_layers': 12,
           'num_attention_heads': 12, 'image_size': 224, 'patch_size': 32,
           'hidden_act': 'quick_gelu', 'layer_norm_eps': 1e-5}
_TEXT = {'hidden_size': 512, 'intermediate_size': 2048, 'num_hidden_layers': 12,
         'num_attention_heads': 8, 'max_position_embeddings': 77, 'vocab_size': 49408,
         'hidden_act': 'quick_gelu', 'layer_norm_eps': 1e-5}
_PROJECTION = 512


def to_open_clip(weights: Mapping[str, object]) -> dict[str, object]:
    """
    Return weights under open_clip's names, in open_clip's layout.

    Names that are of no CLIP stay as they are, and so do queries, keys and values that are not
    complete, so that whoever loads them can say what is wrong.
    """
    converted: dict[str, object] = {}
    for name, value in weights.items():
        if name.endswith('.position_ids'):
            continue
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        if name in _TRANSPOSED and isinstance(value, Tensor) and value.dim() == 2:
            value = value.T.contiguous()
        converted[name] = value
    for name in list(converted):
        match = _QUERY.fullmatch(name)
        if match:
            _join(converted, match[1], match[2])
    return converted


def to_config(document: Mapping) -> dict:
    """
    Return open_clip's model config of a config.json of transformers' CLIP.

    Raises ModelError for what open_clip cannot build.
    """
    vision = _section(document, 'vision_config', _VISION)
    text = _section(document, 'text_config', _TEXT)
    quick_gelu, arguments = activation(document)
    try:
        return {
            'embed_dim': document.get('projection_dim', _PROJECTION),
            'quick_gelu': quick_gelu,
            'vision_cfg': {
                'image_size': vision['image_size'],
                'patch_size': vision['patch_size'],
                'head_width': vision['hidden_size'] // vision['num_attention_heads'],
                **_transformer(vision, arguments)},
            'text_cfg': {
                'context_length': text['max_position_embeddings'],
                'vocab_size': text['vocab_size'],
                'heads': text['num_attention_heads'],
                **_transformer(text, arguments)}}
    except (TypeError, ZeroDivisionError) as error:
        raise ModelError(f'config.json holds sizes that are none ({error}): copy it again') from (
            error)


def activation(document: Mapping) -> tuple[bool, dict[str, str]]:
    """
    Return whether a config.json has QuickGELU, and the arguments of GELU if it has not.

    Raises ModelError for an activation that open_clip has not, or two different ones.
    """
    names = {str(_section(document, *section)['hidden_act']) for section in (
        ('vision_config', _VISION), ('text_config', _TEXT))}
    if len(names) > 1 or not names <= _ACTIVATIONS.keys():
        raise ModelError(f'config.json has hidden_act {" and ".join(sorted(names))}: both towers '
                         f'must have the same one of {", ".join(_ACTIVATIONS)}')
    return _ACTIVATIONS[names.pop()]


def _section(document: Mapping, name: str, defaults: Mapping) -> dict:
    # Old files have the sections twice, and transformers lets the second one win.
    sections = [document.get(key) for key in (name, f'{name}_dict')]
    return {**defaults, **{key: value for section in sections if isinstance(section, Mapping)
                           for key, value in section.items() if value is not None}}


def _transformer(section: Mapping, arguments: dict[str, str]) -> dict:
    width, hidden = section['hidden_size'], section['intermediate_size']
    ratio = hidden / width
    if int(width * ratio) < hidden:
        # open_clip cuts the product, which may come out a hair too small.
        ratio = math.nextafter(ratio, math.inf)
    return {'width': width, 'layers': section['num_hidden_layers'], 'mlp_ratio': ratio,
            'act_kwargs': arguments, 'norm_kwargs': {'eps': section['layer_norm_eps']}}


def _join(weights: dict[str, object], block: str, kind: str) -> None:
    """Put queries, keys and values of a block together, as torch.nn.MultiheadAttention does."""
    names = [f'{block}{part}_proj.{kind}' for part in 'qkv']
    values = [weights.get(name) for name in names]
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len({tensor.shape for tensor in tensors}) != 1 or len(tensors) != len(names):
        return
    for name in names:
        del weights[name]
    weights[f'{block}in_proj_{kind}'] = torch.cat(tensors)
