"""Losses of the demo model: which of two models is better, and the maths of their papers."""

from csa_ros.demo.losses import pooled_logits
from csa_ros.demo.losses import sigmoid_loss
import numpy as np
import pytest
import torch
import torch.nn.functional as F


def test_sigmoid_loss_rewards_true_pairs_and_ignores_undecided_ones():
    """Each caption's true crops weigh as much as its false ones; NaN weighs nothing."""
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, torch.nan]])
    right = torch.tensor([[5.0, -5.0], [-5.0, 5.0], [-5.0, 0.0]])
    assert sigmoid_loss(right, target) < 0.02
    assert sigmoid_loss(-right, target) > 9
    undecided = right.clone()
    undecided[2, 1] = 100.0
    assert sigmoid_loss(undecided, target) == sigmoid_loss(right, target)
    # One true crop against two false ones: zero logits cost log 2 for either side.
    assert sigmoid_loss(torch.zeros(3, 2), target) == pytest.approx(2 * np.log(2))


def test_a_prior_holds_rare_captions_back():
    """With a share of the odds, true crops of a rare caption weigh less; common ones lose less."""
    rare = torch.tensor([[1.0], [0.0], [0.0], [0.0], [0.0]])
    zeros = torch.zeros(5, 1)
    # One true crop against four false ones, one more of each: odds of 2 to 5.
    assert sigmoid_loss(zeros, rare, 0.5) == pytest.approx(np.log(2) * (1 + 0.4 ** 0.5))
    assert sigmoid_loss(zeros, rare, 1.0) == pytest.approx(np.log(2) * 1.4)
    assert sigmoid_loss(zeros, 1 - rare, 1.0) == pytest.approx(np.log(2) * 2)


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
    sigmoid_loss(pooled_logits(patches, text), torch.ones(1, 1)).backward()
    steps = -patches.grad[0] @ text[0]
    assert steps[0] > 0
    assert steps[0] > 100 * steps[1:].abs().max()
