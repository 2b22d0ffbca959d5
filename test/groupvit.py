"""The small GroupViT of a reference file, and what its authors' code makes of it."""

import json
import os
from pathlib import Path

from csa_ros.model.backbone import Backbone
from csa_ros.model.towers.architecture import lower
from csa_ros.model.towers.groupvit import GroupViTSizes
from csa_ros.model.towers.groupvit import GroupViTText
from csa_ros.model.towers.groupvit import GroupViTTower
from csa_ros.model.towers.groupvit import GroupViTVision
from csa_ros.model.towers.groupvit import TextSizes
from csa_ros.model.towers.groupvit import TextWeights
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from csa_ros.model.weights.catalogue import GroupViTPreset
from csa_ros.model.weights.groupvit_format import read_groupvit
from csa_ros.segmenter import Words
from csa_ros.vocabulary import Vocabulary
import numpy as np
import open_clip
import pytest
import torch

DATA = Path(__file__).parent / 'data'
REFERENCE = DATA / 'groupvit_small.npz'
# A picture of which a tower with random weights makes several segments.
MOSAIC = np.random.default_rng(2).integers(0, 256, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
# Of each name of NVIDIA's release the shape, and the names and shapes of transformers.
KEYS = json.loads((DATA / 'groupvit_keys.json').read_text())
# What files of this form have, and no others.
MARK = 'sq_stage0_soft'
NAME = 'groupvit-gcc-yfcc'
SMALL = GroupViTPreset(
    'small', ('tests/groupvit', 'pytorch_model.bin'),
    GroupViTSizes(width=96, heads=3, patch_size=8, table=8, depths=(2, 1, 1), groups=(16, 4),
                  mixing=48, hidden=256, embed_dim=64),
    TextSizes(width=64, heads=1, layers=2, context_length=16, vocab_size=512, hidden=256,
              embed_dim=64), 0.1)
# The same, but for a text tower that reads any word.
READING = GroupViTPreset(
    'small', SMALL.file, SMALL.image,
    TextSizes(width=64, heads=1, layers=2, context_length=24, vocab_size=49408, hidden=256,
              embed_dim=64), 0.1)


def reference_files():
    """Return the bundled file, and those of its form in CSA_ROS_REFERENCE_DIR."""
    folder = os.environ.get('CSA_ROS_REFERENCE_DIR')
    further = sorted(Path(folder).glob('*.npz')) if folder else []
    return [REFERENCE, *(path for path in further
                         if path.name != REFERENCE.name and MARK in np.load(path))]


def arrays(path=REFERENCE):
    """Return all arrays of a reference file but its weights, as tensors."""
    return {name: torch.from_numpy(value) for name, value in np.load(path).items()
            if value.dtype.kind != 'U' and not name.startswith('w.')}


def released(path=REFERENCE, preset=SMALL):
    """Return the weights of a reference file as NVIDIA's files hold them, for any word perhaps."""
    weights = {name.removeprefix('w.'): torch.from_numpy(value).float()
               for name, value in np.load(path).items() if name.startswith('w.')}
    if preset is READING:
        generator = torch.Generator().manual_seed(0)
        for name, rows in (('positional_embedding', 24), ('token_embedding.weight', 49408)):
            weights[f'text_encoder.{name}'] = torch.randn(rows, 64, generator=generator) / 3
    return weights


def of_transformers(weights):
    """Return weights of the release as transformers saves them."""
    found = {}
    for name, value in weights.items():
        others = KEYS[name]['transformers']
        for other, part in zip(others, value.chunk(len(others)) if len(others) > 1 else [value]):
            found[other] = part[..., 0] if value.ndim == 3 and 'projector' in name else part
    found['text_model.embeddings.position_ids'] = torch.arange(16)[None]
    return found


def backbone(path=REFERENCE, dtype=torch.float32, preset=SMALL, **arguments):
    """Return it as a backbone, with windows of 64 pixels every 32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GROUPVIT_PRESETS, NAME, preset)
        weights = read_groupvit({'model': released(path, preset)}, NAME, path)
    visual = GroupViTVision(preset.image, image_size=64)
    visual.load_state_dict(weights.image)
    lower(visual, dtype)
    text = TextWeights(preset.text, dtype)
    text.text.load_state_dict(weights.text)
    visual, text = (part.eval().requires_grad_(False) for part in (visual, text))
    tokenizer = open_clip.SimpleTokenizer(context_length=preset.text.context_length)
    return Backbone(
        visual, GroupViTTower(visual), GroupViTText(text, tokenizer, 'groupvit'),
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 'groupvit', f'groupvit {dtype}',
        short_side=64, stride=32, logit_scale=weights.logit_scale, **arguments)


def words(path=REFERENCE):
    """Return the words w0 to w6 of a reference file."""
    features = arrays(path)['text_embedding']
    vocabulary = Vocabulary.parse([f'w{index}' for index in range(len(features))])
    return Words(vocabulary, features, torch.arange(len(features)), ('{}',))
