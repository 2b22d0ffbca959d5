"""The small GroupViT of a reference file, and what its authors' code makes of it."""

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

REFERENCE = Path(__file__).parent / 'data' / 'groupvit_small.npz'
# What files of this form have, and no others.
MARK = 'sq_stage0_soft'
NAME = 'groupvit-gcc-yfcc'
SMALL = GroupViTPreset(
    'small', ('tests/groupvit', 'pytorch_model.bin'),
    GroupViTSizes(width=96, heads=3, patch_size=8, table=8, depths=(2, 1, 1), groups=(16, 4),
                  mixing=48, hidden=256, embed_dim=64),
    TextSizes(width=64, heads=1, layers=2, context_length=16, vocab_size=512, hidden=256,
              embed_dim=64), 0.1)


def reference_files():
    """Return the bundled file, and those of its form in CSA_ROS_REFERENCE_DIR."""
    folder = os.environ.get('CSA_ROS_REFERENCE_DIR')
    further = sorted(Path(folder).glob('*.npz')) if folder else []
    return [REFERENCE, *(path for path in further if path.name != REFERENCE.name
                         and MARK in np.load(path))]


def arrays(path=REFERENCE):
    """Return all arrays of a reference file but its weights, as tensors."""
    return {name: torch.from_numpy(value) for name, value in np.load(path).items()
            if value.dtype.kind != 'U' and not name.startswith('w.')}


def released(path=REFERENCE):
    """Return the weights of a reference file as NVIDIA's files hold them."""
    return {name.removeprefix('w.'): torch.from_numpy(value).float()
            for name, value in np.load(path).items() if name.startswith('w.')}


def use_small(patch):
    """Let the preset have the sizes of the reference file, as long as the `patch` holds."""
    patch.setitem(GROUPVIT_PRESETS, NAME, SMALL)


def backbone(path=REFERENCE, dtype=torch.float32, **arguments):
    """Return it as a backbone, with windows of 64 pixels every 32."""
    with pytest.MonkeyPatch.context() as patch:
        use_small(patch)
        weights = read_groupvit({'model': released(path)}, NAME, path)
    visual = GroupViTVision(SMALL.image, image_size=64)
    visual.load_state_dict(weights.image)
    lower(visual, dtype)
    text = TextWeights(SMALL.text, dtype)
    text.text.load_state_dict(weights.text)
    visual, text = (part.eval().requires_grad_(False) for part in (visual, text))
    return Backbone(
        visual, GroupViTTower(visual),
        GroupViTText(text, open_clip.SimpleTokenizer(context_length=16), 'groupvit'),
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 'groupvit', f'groupvit {dtype}',
        short_side=64, stride=32, logit_scale=weights.logit_scale, **arguments)


def words(path=REFERENCE):
    """Return the words w0 to w6 of a reference file."""
    features = arrays(path)['text_embedding']
    vocabulary = Vocabulary.parse([f'w{index}' for index in range(len(features))])
    return Words(vocabulary, features, torch.arange(len(features)), ('{}',))
