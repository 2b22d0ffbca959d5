"""CLIP-FSAR and AIM's block against their authors' code."""

import os
from pathlib import Path

from csa_ros.actions import matching
from csa_ros.actions.adapters import BlockAdapters
from csa_ros.actions.transformer import FrameTransformer
import numpy as np
from open_clip.transformer import QuickGELU
from open_clip.transformer import ResidualAttentionBlock
import pytest
import torch
from torch.nn import functional as F

DATA = Path(__file__).parent / 'data'
TOLERANCE = 1e-4
FRAMES = 8
# Of the block in the file of AIM.
HEADS, FRAMES_OF_BLOCK = 4, 4


def files(bundled, names):
    """Return the bundled file, and those of its form from elsewhere."""
    folder = os.environ.get('CSA_ROS_REFERENCE_DIR')
    further = sorted(Path(folder).glob('*.npz')) if folder else []
    return [DATA / bundled, *(path for path in further if path.name != bundled
                              and names <= set(np.load(path).files))]


def read(path):
    arrays = {name: torch.from_numpy(value) for name, value in np.load(path).items()
              if value.dtype.kind != 'U'}
    return {name: value.float() if value.is_floating_point() else value
            for name, value in arrays.items()}


@pytest.fixture(scope='module', params=files('clip_fsar.npz', {'one_support', 'train_logits'}),
                ids=lambda path: path.stem)
def arrays(request):
    return read(request.param)


@pytest.fixture(scope='module')
def tr(arrays):
    model = FrameTransformer(arrays['text'].shape[1])
    model.load_state_dict({name.removeprefix('tr.'): value for name, value in arrays.items()
                           if name.startswith('tr.')})
    return model.eval()


def worst(actual, expected):
    assert actual.shape == expected.shape
    return (actual - expected).abs().max().item()


def episode(arrays, name):
    """Return clips that are shown, by class, clips that are asked about, and the words."""
    shown, labels = arrays[f'{name}_support'], arrays[f'{name}_support_labels']
    classes = len(labels.unique())
    return (torch.stack([shown[labels == each] for each in range(classes)]),
            arrays[f'{name}_query'], arrays['text'][arrays['real_class_of_label']])


def by_tr(tr, shown, asked, text, merge=False):
    """Return prototypes and queries as Tr makes them; `merge` takes the mean of clips before."""
    if merge:
        shown = shown.mean(1, keepdim=True)
    fused = tr.shown(shown.flatten(0, 1), text.repeat_interleave(shown.shape[1], 0))
    return fused.unflatten(0, shown.shape[:2]).mean(1), tr(asked)


@pytest.mark.parametrize('case', ['one_plain', 'one_plain_identity', 'three_plain',
                                  'three_plain_identity', 'three_merge'])
@torch.no_grad()
def test_distances(arrays, tr, case):
    shown, asked, text = episode(arrays, case.partition('_')[0])
    prototypes, queries = ((shown.mean(1), asked) if 'identity' in case
                           else by_tr(tr, shown, asked, text, 'merge' in case))
    distances = matching.frame_distances(queries, prototypes)
    assert worst(distances, arrays[f'{case}_frame_distances']) < TOLERANCE
    one_way = matching.align(distances)
    assert worst(one_way, arrays[f'{case}_otam_query_support']) < TOLERANCE
    other_way = matching.align(distances.transpose(-1, -2))
    assert worst(other_way, arrays[f'{case}_otam_support_query']) < TOLERANCE
    logits = -matching.ordered_distances(queries, prototypes)
    assert worst(logits, arrays[f'{case}_logits']) < TOLERANCE
    if case in ('one_plain', 'three_plain'):
        single = arrays[f'{case.replace("plain", "single")}_logits']
        assert worst(-one_way, single) < TOLERANCE


@pytest.mark.parametrize('name', ['one', 'three'])
@torch.no_grad()
def test_words_and_combine(arrays, tr, name):
    """Words are compared at the untrained scale of the file, 1."""
    shown, asked, text = episode(arrays, name)
    words = matching.word_logits(asked, text, 1.0).softmax(-1)
    assert worst(words, arrays[f'{name}_text_logits']) < TOLERANCE
    for case, (prototypes, queries) in {
            '': by_tr(tr, shown, asked, text), 'identity_': (shown.mean(1), asked)}.items():
        distances = matching.ordered_distances(queries, prototypes)
        for share, part in ((0.9, 'combine'), (0.5, 'combine_half')):
            combined = matching.combine(words, distances, FRAMES, share)
            assert worst(combined, arrays[f'{name}_{part}_{case}logits']) < TOLERANCE


def test_what_is_learnt_from(arrays, tr):
    """The loss, and its gradients in Tr and in the scale of words."""
    shown, asked, text = episode(arrays, 'one')
    prototypes, queries = by_tr(tr, shown, asked, text)
    logits = -matching.ordered_distances(queries, prototypes)
    assert worst(logits, arrays['train_logits']) < TOLERANCE
    scale = torch.ones(1, requires_grad=True)
    clips = torch.cat([arrays['one_support'], asked])
    words = scale * matching.cosines(clips.mean(1), arrays['text'])
    assert worst(words, arrays['train_class_logits']) < TOLERANCE
    answers = arrays['one_query_labels']
    classes = arrays['real_class_of_label'][torch.cat([arrays['one_support_labels'], answers])]
    loss = F.cross_entropy(logits, answers) + 1.2 * F.cross_entropy(words, classes)
    assert worst(loss, arrays['train_loss_weight_1.2']) < TOLERANCE
    tr.zero_grad()
    loss.backward()
    gradient = tr.layers[0][0].fn['to_q'].weight.grad
    assert gradient.abs().max() > 0
    assert worst(gradient, arrays['train_grad_to_q']) < TOLERANCE
    assert worst(scale.grad, arrays['train_grad_scale']) < TOLERANCE


@pytest.mark.parametrize('path', files('aim_block.npz', {'y_zero_adapters'}),
                         ids=lambda path: path.stem)
@torch.no_grad()
def test_a_block_with_adapters(path):
    """Tokens are first in the file: (tokens, clips * frames, width)."""
    arrays = read(path)
    weights = {name.removeprefix('w.'): value for name, value in arrays.items()
               if name.startswith('w.')}
    x = arrays['x'].transpose(0, 1)
    block = ResidualAttentionBlock(x.shape[-1], HEADS, act_layer=QuickGELU)
    block.load_state_dict({name: value for name, value in weights.items()
                           if 'Adapter' not in name})
    adapters = BlockAdapters(x.shape[-1], 16)
    unlearnt = adapters(block, x, FRAMES_OF_BLOCK).transpose(0, 1)
    assert worst(unlearnt, arrays['y_zero_adapters']) < TOLERANCE
    found = adapters.load_state_dict({name: value for name, value in weights.items()
                                      if 'Adapter' in name}, strict=False)
    assert not found.unexpected_keys
    assert all(name.startswith('text.') for name in found.missing_keys)
    learnt = adapters(block, x, FRAMES_OF_BLOCK).transpose(0, 1)
    assert worst(learnt, arrays['y']) < TOLERANCE
    assert worst(learnt, unlearnt) > 1
