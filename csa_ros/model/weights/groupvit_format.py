"""
The weights of a GroupViT out of what a file holds, by the names of its towers here.

There are two forms: that of NVIDIA's release (`img_encoder.*`, `text_encoder.*` and their
projectors) and that of transformers, which the Hugging Face hub has (`vision_model.*`,
`text_model.*`). See `csa_ros.model.towers.groupvit`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import math
from pathlib import Path
import re

from csa_ros.model.errors import ModelError
from csa_ros.model.towers.groupvit import GroupViTVision
from csa_ros.model.towers.groupvit import TextWeights
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from csa_ros.model.weights.catalogue import GroupViTPreset
from csa_ros.model.weights.checkpoint import GROUPVIT_WEIGHTS
from csa_ros.model.weights.checkpoint import misfits
from csa_ros.model.weights.checkpoint import tensors
import torch
from torch import nn
from torch import Tensor

# What begins the names of a GroupViT, after the shortest prefix that leads there.
_RELEASED, _TRANSFORMERS = (
    re.compile(f'(.*?){re.escape(name)}') for name in GROUPVIT_WEIGHTS)
_PARTS = ('img_encoder.', 'img_projector.', 'text_encoder.', 'text_projector.')
# Names of transformers in those of the release: towers first, then what is in them.
_RENAMED = (
    (r'^vision_model\.embeddings\.position_embeddings$', 'img_encoder.pos_embed'),
    (r'^vision_model\.embeddings\.patch_embeddings\.projection\.',
     'img_encoder.patch_embed.proj.'),
    (r'^vision_model\.embeddings\.layernorm\.', 'img_encoder.patch_embed.norm.'),
    (r'^vision_model\.layernorm\.', 'img_encoder.norm.'),
    (r'^vision_model\.encoder\.stages\.(\d+)\.layers\.', r'img_encoder.layers.\1.blocks.'),
    (r'^vision_model\.encoder\.stages\.', 'img_encoder.layers.'),
    (r'^text_model\.embeddings\.position_embedding\.weight$', 'text_encoder.positional_embedding'),
    (r'^text_model\.embeddings\.token_embedding\.', 'text_encoder.token_embedding.'),
    (r'^text_model\.final_layer_norm\.', 'text_encoder.ln_final.'),
    (r'^text_model\.encoder\.layers\.', 'text_encoder.transformer.resblocks.'),
    (r'^visual_projection\.3\.', 'img_projector.linear_out.'),
    (r'^visual_projection\.', 'img_projector.linear_hidden.'),
    (r'^text_projection\.3\.', 'text_projector.linear_out.'),
    (r'^text_projection\.', 'text_projector.linear_hidden.'),
    (r'\.self_attn\.', '.attn.'),
    (r'^(img_encoder\..*\.attn)\.out_proj\.', r'\1.proj.'),
    (r'^(img_encoder\..*)\.layer_norm(\d)\.', r'\1.norm\2.'),
    (r'^(text_encoder\..*)\.layer_norm(\d)\.', r'\1.ln_\2.'),
    (r'^(text_encoder\..*)\.mlp\.fc1\.', r'\1.mlp.c_fc.'),
    (r'^(text_encoder\..*)\.mlp\.fc2\.', r'\1.mlp.c_proj.'),
)
# Queries whose keys and values are one weight with them in the release.
_QUERY = re.compile(r'(img_encoder\..*\.blocks\.\d+\.attn\.|text_encoder\..*\.attn\.)'
                    r'q_proj\.(weight|bias)')
MOST_LOGIT_SCALE = 100.0
# Added to the variance over batches.
_EPS = 1e-5


@dataclass(frozen=True)
class GroupViTWeights:
    """
    The weights of one GroupViT, on the CPU.

    `image` are exactly those of a `GroupViTVision`, `text` those of the `text` of a `TextWeights`,
    of the sizes of the preset; cosines are multiplied by `logit_scale`.
    """

    image: dict[str, Tensor]
    text: dict[str, Tensor]
    logit_scale: float


def read_groupvit(document: object, name: str, path: Path) -> GroupViTWeights:
    """
    Return the GroupViT that a document, read from `path`, holds; `name` is that of the preset.

    Raises ModelError if it holds none, and if weights are missing, left over, or of another shape
    than those of the preset.
    """
    found = _released(dict(tensors(document)), name, path)
    with torch.device('meta'):
        expected = _expected(GROUPVIT_PRESETS[name])
    faults = misfits(found, expected)
    if faults:
        raise ModelError(f'{path} does not fit {name!r}: {faults}. {advice(name)}')
    return GroupViTWeights(
        _folded(_below('img_encoder.', found), _below('img_projector.', found), 'projector'),
        _folded(_below('text_encoder.', found), _below('text_projector.', found),
                'text_projection'),
        # The authors' bound.
        min(math.exp(float(found['logit_scale'])), MOST_LOGIT_SCALE))


def advice(name: str) -> str:
    """Say which file is that of a preset."""
    preset = GROUPVIT_PRESETS[name]
    return (f"Take {preset.file[1]} of {preset.page}, or let 'ros2 run csa_ros fetch_model "
            f"{name}' fetch it")


def _released(weights: dict[str, Tensor], name: str, path: Path) -> dict[str, Tensor]:
    """Return the weights of a GroupViT by the names and in the shapes of its release."""
    for key in weights:
        if match := _RELEASED.fullmatch(key):
            found = _below(match[1], weights)
            break
        if match := _TRANSFORMERS.fullmatch(key):
            found = _of_transformers(_below(match[1], weights))
            break
    else:
        raise ModelError(f'{path} holds no GroupViT: neither img_encoder.pos_embed nor '
                         'vision_model.embeddings.position_embeddings is in it, at any depth. '
                         f'{advice(name)}')
    return {key: _without_ones(key, value) for key, value in found.items()
            if key.startswith(_PARTS) or key == 'logit_scale'}


def _of_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    released = {}
    for name, value in weights.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        released[name] = value
    for name in list(released):
        if match := _QUERY.fullmatch(name):
            _join(released, match[1], match[2])
    return released


def _join(weights: dict[str, Tensor], attention: str, kind: str) -> None:
    """Put queries, keys and values together, which are three weights in transformers."""
    names = [f'{attention}{part}_proj.{kind}' for part in 'qkv']
    if weights.keys() >= set(names):
        joined = torch.cat([weights.pop(name) for name in names])
        weights[f'{attention}qkv.{kind}' if attention.startswith('img_') else
                f'{attention}in_proj_{kind}'] = joined


def _without_ones(name: str, value: Tensor) -> Tensor:
    """Return a table without a batch of one, and a linear map that was a convolution as one."""
    if name.endswith(('.pos_embed', '.group_token')) and value.ndim == 3:
        return value[0]
    if name.startswith(('img_projector.', 'text_projector.')) and value.ndim == 3:
        return value[..., 0]
    return value


def _expected(preset: GroupViTPreset) -> dict[str, Tensor]:
    """Return what a file of a preset holds, by the names of the release."""
    text = TextWeights(preset.text).text
    parts = {'img_encoder': GroupViTVision(preset.image), 'text_encoder': text}
    expected = {f'{part}.{name}': value for part, module in parts.items()
                for name, value in module.state_dict().items()
                if not name.startswith(('projector.', 'text_projection.'))}
    for part, sizes in (('img', preset.image), ('text', preset.text)):
        expected.update({f'{part}_projector.{name}': value for name, value in nn.ModuleDict({
            'linear_hidden': nn.Sequential(
                nn.Linear(sizes.width, sizes.hidden), nn.BatchNorm1d(sizes.hidden)),
            'linear_out': nn.Linear(sizes.hidden, sizes.embed_dim)}).state_dict().items()})
    return {**expected, 'logit_scale': torch.empty(())}


def _folded(tower: dict[str, Tensor], projector: Mapping[str, Tensor], name: str
            ) -> dict[str, Tensor]:
    """Return a tower with its projection, in which the normalisation over batches is folded."""
    mean, variance, weight, bias = (projector[f'linear_hidden.1.{part}'].double() for part in (
        'running_mean', 'running_var', 'weight', 'bias'))
    scale = weight / (variance + _EPS).sqrt()
    hidden = projector['linear_hidden.0.weight'], projector['linear_hidden.0.bias']
    return {**tower,
            f'{name}.0.weight': (hidden[0].double() * scale[:, None]).to(hidden[0].dtype),
            f'{name}.0.bias': ((hidden[1].double() - mean) * scale + bias).to(hidden[1].dtype),
            f'{name}.2.weight': projector['linear_out.weight'],
            f'{name}.2.bias': projector['linear_out.bias']}


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items()
            if name.startswith(prefix)}
