"""Tiny random CLIP towers for tests: small enough for a CPU, made of open_clip's own parts."""

import copy
import json

from csa_ros.model.backbone import Backbone
import open_clip
import torch

CONFIG = {
    'embed_dim': 32,
    'vision_cfg': {'image_size': 32, 'patch_size': 8, 'width': 64, 'layers': 2, 'head_width': 32},
    'text_cfg': {'context_length': 24, 'width': 64, 'heads': 2, 'layers': 2},
}
MEAN = (0.2, 0.4, 0.6)
STD = (0.3, 0.25, 0.2)


def make_config(quick_gelu=False, **text):
    config = copy.deepcopy(CONFIG)
    config['quick_gelu'] = quick_gelu
    config['text_cfg'].update(text)
    return config


def make_clip(seed=0, config=CONFIG):
    """Return a random CLIP, large enough in its weights for activations to matter."""
    torch.manual_seed(seed)
    clip = open_clip.CLIP(**config).eval().requires_grad_(False)
    for name, weight in clip.named_parameters():
        if weight.ndim > 1:
            weight.normal_(std=0.15)
    return clip


def make_backbone(seed=0, identity=None, **text):
    return backbone_of(make_clip(seed, make_config(**text)), identity or f'tiny-{seed}')


def backbone_of(clip, identity='tiny-0'):
    return Backbone.of_clip(
        clip, open_clip.SimpleTokenizer(context_length=clip.context_length), MEAN, STD, 'tiny',
        identity, short_side=48, stride=16)


def register(folder, name='Tiny', quick_gelu=False, **text):
    """Make the tiny architecture known to open_clip under a name."""
    path = folder / f'{name}.json'
    path.write_text(json.dumps(make_config(quick_gelu, **text)))
    open_clip.add_model_config(path)
