"""The small RADIO of the reference file, and what RADSeg's authors' code makes of it."""

from dataclasses import replace
from pathlib import Path

from csa_ros.model.backbone import Backbone
from csa_ros.model.towers.radio import RadioSizes
from csa_ros.model.towers.radio import RadioTower
from csa_ros.model.towers.radio import RadioVision
from csa_ros.segmenter import Words
from csa_ros.vocabulary import Vocabulary
import numpy as np
import torch
from torch.nn import functional as F

REFERENCE = Path(__file__).parent / 'data' / 'radseg.npz'
SIZES = RadioSizes(width=96, layers=3, heads=3, hidden=384, patch_size=16, table=32, prefix=8,
                   head_width=80, head_layers=2, embed_dim=48)
_RENAMED = (('base_model.patch_generator.embedder.', 'embedder.'),
            ('base_model.patch_generator.pos_embed', 'positions'),
            ('base_model.patch_generator.cls_token.token', 'prefix'),
            ('base_model.blocks.', 'blocks.'), ('_heads.siglip2.', 'head.'))


class Texts:
    """A text tower whose features are given, by word."""

    context_length = 64
    unit_prompts = True
    prompts_per_chunk = 320

    def __init__(self, features):
        self.features = features

    def count(self, template, query):
        return 8

    def encode(self, templates, queries):
        return torch.stack([self.features[query] for query in queries for _ in templates])


def arrays():
    """Return all arrays of the reference file but its weights, as tensors."""
    return {name: torch.from_numpy(value) for name, value in np.load(REFERENCE).items()
            if value.dtype.kind != 'U' and '.' not in name}


def visual():
    """Return the tower and head of the reference file."""
    weights = {}
    for name, value in np.load(REFERENCE).items():
        for prefix, replacement in _RENAMED:
            if name.startswith(prefix):
                name = name.replace(prefix, replacement).replace('grandma', 'gamma')
                weights[name] = torch.from_numpy(value).float()
    weights['positions'] = weights['positions'][0]
    built = RadioVision(SIZES, image_size=96)
    built.load_state_dict(weights)
    return built.eval().requires_grad_(False)


def on(device, dtype):
    """Return it as a backbone on a device, in a type of the weights."""
    built = visual().to(device, dtype)
    return replace(backbone(), visual=built, tower=RadioTower(built), identity=str(dtype))


def words(device='cpu'):
    """Return the words w0 to w5, whatever the backbone."""
    features = F.normalize(arrays()['text_embeds'], dim=-1)
    vocabulary = Vocabulary.parse([f'w{index}' for index in range(6)])
    return Words(vocabulary, features.to(device), torch.arange(6, device=device), ('{}',))


def backbone(align_corners=False, **arguments):
    """Return it as a backbone, with windows of 96 pixels every 64, and words w0 to w5."""
    built = visual()
    stored = np.load(REFERENCE)
    mean, std = (tuple(stored[f'input_conditioner.norm_{name}'].flatten().tolist())
                 for name in ('mean', 'std'))
    features = {f'w{index}': feature for index, feature in enumerate(arrays()['text_embeds'])}
    return Backbone(built, RadioTower(built, align_corners), Texts(features), mean, std, 'radio',
                    'radio', short_side=144, stride=64, logit_scale=100.0, **arguments)
