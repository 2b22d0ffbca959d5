"""Losses: the numbers of the papers' maths, and which of two models is better."""

import os
from pathlib import Path

from csa_ros.training import losses
from csa_ros.training.losses import balanced_sigmoid_loss
from csa_ros.training.losses import pooled_logits
import numpy as np
import pytest
import torch
import torch.nn.functional as F

DATA = Path(__file__).parent / 'data'
TOLERANCE = 1e-5
# How the files call the groupings with another sigma than 1 / P.
SIGMAS = {'grouping_inverse_m': None, 'grouping_zero': 0.0, 'grouping_tenth': 0.1,
          'grouping_half': 0.5}


def files(array):
    """Return the reference files that hold an array, as test parameters."""
    folder = os.environ.get('CSA_ROS_REFERENCE_DIR')
    further = sorted(Path(folder).glob('*.npz')) if folder else []
    bundled = sorted(DATA.glob('*.npz'))
    names = {path.name for path in bundled}
    paths = [*bundled, *(path for path in further if path.name not in names)]
    return [pytest.param(path, id=path.stem) for path in paths if array in np.load(path)]


def read(path):
    """Return the arrays of a file as tensors."""
    return {name: torch.from_numpy(np.array(value)) for name, value in np.load(path).items()}


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE)


def gradients(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


# Those of the papers

@pytest.mark.parametrize('path', files('loss_mined'))
def test_mined_positives_are_those_of_fff(path):
    arrays = read(path)
    text = arrays['text'].flatten(0, 1)
    positive = losses.mine_positives(arrays['image'], text, arrays['own'] > 0, losses.Thresholds(
        *arrays['thresholds_p1_p1b_p2_p3'].tolist()))
    assert torch.equal(positive, arrays['mined'] > 0)
    assert (positive & ~(arrays['own'] > 0)).any()


@pytest.mark.parametrize('path', files('loss_mined'))
@pytest.mark.parametrize('name', ['mined', 'own'])
def test_sigmoid_loss_is_that_of_siglip_and_fff(path, name):
    """With its gradients, for captions of one's own and for mined ones."""
    arrays = read(path)
    image, text, scale_bias = (tensor.requires_grad_() for tensor in (
        arrays['image'], arrays['text'].flatten(0, 1), arrays['scale_bias']))
    scale, bias = scale_bias
    loss = losses.sigmoid_loss(scale * image @ text.T + bias, arrays[name] > 0)
    assert_equal(loss, arrays[f'loss_{name}'])
    for actual, what in zip(gradients(loss, image, text, scale_bias),
                            ('image', 'text', 'scale_bias')):
        assert_equal(actual, arrays[f'grad_{what}_{name}'])


@pytest.mark.parametrize('path', files('loss_diagonal_first_caption'))
def test_sigmoid_loss_of_one_caption_each_is_siglips(path):
    arrays = read(path)
    scale, bias = arrays['scale_bias']
    logits = scale * arrays['image'] @ arrays['text'][:, 0].T + bias
    assert_equal(losses.sigmoid_loss(logits, torch.eye(len(logits), dtype=torch.bool)),
                 arrays['loss_diagonal_first_caption'])


@pytest.mark.parametrize('path', files('clip_loss'))
def test_subcaption_loss_is_that_of_dreamlip(path):
    """Its released code has the first caption and the others apart; both are shares of a mean."""
    arrays = read(path)
    scale = arrays['scale_local_scale'][0]
    loss = losses.subcaption_loss(arrays['image'], arrays['text'], scale)
    assert_equal(loss, arrays['clip_loss'] + arrays['other_captions_loss'])
    first = losses.info_nce(arrays['image'], arrays['text'][:, 0], scale)
    assert_equal(first / arrays['text'].shape[1], arrays['clip_loss'])


@pytest.mark.parametrize('path', files('grouping_zero'))
@pytest.mark.parametrize('name', SIGMAS)
def test_grouping_loss_is_that_of_dreamlip(path, name):
    """With its gradients where the file has them; patches are not of length 1."""
    arrays = read(path)
    text, patches = (arrays[each].requires_grad_() for each in ('text', 'patch'))
    loss = losses.grouping_loss(text, patches, arrays['scale_local_scale'][1], SIGMAS[name])
    assert_equal(loss, arrays[name])
    for actual, what in zip(gradients(loss, text, patches), ('text', 'patch')):
        expected = arrays.get(f'{name}_grad_{what}')
        if expected is not None:
            assert_equal(actual, expected)


def test_there_are_reference_files():
    """So that the tests above are not empty."""
    assert files('loss_mined') and files('grouping_zero')


def test_captions_that_say_the_same_are_no_wrong_answers():
    """Two pictures with one caption cost nothing for each other."""
    image = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=-1)
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    assert losses.info_nce(image, text, 50.0) > 0.4
    assert losses.info_nce(image, text, 50.0, same) < 1e-6


def test_equal_patches_can_be_grouped():
    """Nothing stands out of a grey wall; the loss stays a number, and so do its gradients."""
    patches = torch.ones(2, 4, 8, requires_grad=True)
    loss = losses.grouping_loss(torch.randn(2, 3, 8), patches, 10.0)
    loss.backward()
    assert loss.isfinite() and patches.grad.isfinite().all()


# Those of the demo model

def test_balanced_loss_rewards_true_pairs_and_ignores_undecided_ones():
    """Each caption's true crops weigh as much as its false ones; NaN weighs nothing."""
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, torch.nan]])
    right = torch.tensor([[5.0, -5.0], [-5.0, 5.0], [-5.0, 0.0]])
    assert balanced_sigmoid_loss(right, target) < 0.02
    assert balanced_sigmoid_loss(-right, target) > 9
    undecided = right.clone()
    undecided[2, 1] = 100.0
    assert balanced_sigmoid_loss(undecided, target) == balanced_sigmoid_loss(right, target)
    # One true crop against two false ones: zero logits cost log 2 for either side.
    assert balanced_sigmoid_loss(torch.zeros(3, 2), target) == pytest.approx(2 * np.log(2))


def test_a_prior_holds_rare_captions_back():
    """With a share of the odds, true crops of a rare caption weigh less; common ones lose less."""
    rare = torch.tensor([[1.0], [0.0], [0.0], [0.0], [0.0]])
    zeros = torch.zeros(5, 1)
    # One true crop against four false ones, one more of each: odds of 2 to 5.
    assert balanced_sigmoid_loss(zeros, rare, 0.5) == pytest.approx(np.log(2) * (1 + 0.4 ** 0.5))
    assert balanced_sigmoid_loss(zeros, rare, 1.0) == pytest.approx(np.log(2) * 1.4)
    assert balanced_sigmoid_loss(zeros, rare, -1.0) == pytest.approx(np.log(2) * 3.5)
    assert balanced_sigmoid_loss(zeros, 1 - rare, 1.0) == pytest.approx(np.log(2) * 2)


def test_pooled_logits_are_those_of_the_best_patches():
    """Each crop is compared by its patches alone; the best count most, the order not at all."""
    torch.manual_seed(0)
    patches = F.normalize(torch.randn(3, 9, 8), dim=-1)
    text = F.normalize(torch.randn(2, 8), dim=-1)
    logits = pooled_logits(patches, text)
    for crop in range(3):
        for caption in range(2):
            cosines = patches[crop] @ text[caption]
            weights = torch.exp(20 * cosines) / torch.exp(20 * cosines).sum()
            expected = 20 * (weights * cosines).sum() - 6
            assert logits[crop, caption] == pytest.approx(expected.item(), abs=1e-4)
            assert cosines.mean() < (logits[crop, caption] + 6) / 20 < cosines.max()
    torch.testing.assert_close(pooled_logits(patches.flip(1), text), logits)


def test_pooled_logits_teach_the_patch_that_shows_a_caption():
    """The gradient of a true caption goes to the patch that is nearest to it."""
    text = torch.tensor([[1.0, 0.0]])
    patches = torch.tensor([[[0.8, 0.6], [0.0, 1.0], [0.0, -1.0]]], requires_grad=True)
    balanced_sigmoid_loss(pooled_logits(patches, text), torch.ones(1, 1)).backward()
    steps = -patches.grad[0] @ text[0]
    assert steps[0] > 0
    assert steps[0] > 100 * steps[1:].abs().max()
