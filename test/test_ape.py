"""APE against its authors' code."""

import os
from pathlib import Path

from csa_ros.teaching import ape
from csa_ros.teaching import tuning
import numpy as np
import pytest
import torch
from torch.nn import functional as F

DATA = Path(__file__).parent / 'data'
TOLERANCE = 1e-4


def files():
    """Return the bundled file, and those of its form from elsewhere."""
    folder = os.environ.get('CSA_ROS_REFERENCE_DIR')
    further = sorted(Path(folder).glob('*.npz')) if folder else []
    return [DATA / 'ape.npz', *(path for path in further if path.name != 'ape.npz'
                                and {'text', 'keys', 't_res'} <= set(np.load(path).files))]


@pytest.fixture(scope='module', params=files(), ids=lambda path: path.stem)
def arrays(request):
    return {name: torch.from_numpy(value) for name, value in np.load(request.param).items()
            if value.dtype.kind != 'U'}


def worst(actual, expected):
    assert actual.shape == expected.shape
    return (actual - expected).abs().max().item()


def cases(arrays):
    return [name.removesuffix('_indices') for name in arrays
            if name.endswith('_indices') and name != 't_indices']


def test_likeness_and_variance(arrays):
    text, key_class = arrays['text'], arrays['values'].argmax(1)
    assert worst(ape.likeness(text, arrays['keys'], key_class), arrays['sim']) < 1e-6
    assert worst(text.var(dim=0), arrays['variance']) < 1e-6


def test_every_case(arrays):
    text, keys, test = (arrays[name] for name in ('text', 'keys', 'test'))
    values, key_class = arrays['values'], arrays['values'].argmax(1)
    for case in cases(arrays):
        expected = arrays[f'{case}_indices'].sort().values
        weights = tuple(arrays[f'{case}_w'].tolist())
        indices = ape.telling(text, keys, key_class, len(expected), weights)
        assert torch.equal(indices, expected)
        order = arrays[f'{case}_indices']
        refined = {name: F.normalize(x[:, order], dim=-1)
                   for name, x in (('text', text), ('keys', keys), ('test', test))}
        for name, x in refined.items():
            assert worst(x, arrays[f'{case}_refined_{name}']) < TOLERANCE
        bits = ape.divergence(refined['text'], refined['keys'], key_class)
        assert worst(bits, arrays[f'{case}_divergence']) < TOLERANCE
        for kind, into in (('alpha_beta_gamma', 'logits'),
                           ('searched_alpha_beta_gamma', 'searched_logits')):
            if f'{case}_{kind}' not in arrays:
                continue
            alpha, beta, gamma = arrays[f'{case}_{kind}'].tolist()
            weighed = alpha * values * torch.exp(gamma * bits)[:, None]
            zero_shot = ape.SCALE * test @ text.T
            logits = zero_shot + ape.bonus(refined['test'], refined['keys'], beta, weighed)
            assert worst(logits, arrays[f'{case}_{into}']) < TOLERANCE
            assert worst(zero_shot, arrays[f'{case}_zero_shot']) < TOLERANCE
            if not alpha:
                assert torch.equal(logits, zero_shot)


def residuals_of(arrays):
    text, values = arrays['text'], arrays['values']
    key_class = values.argmax(1)
    return tuning.Residuals(
        text, torch.arange(len(text)), arrays['keys'], key_class, arrays['t_indices'])


def test_what_residuals_are_of(arrays):
    """The dimensions that tell words apart, without a look at the keys."""
    text, none = arrays['text'], arrays['values'].argmax(1)[:0]
    keys = arrays['keys'][:0]
    assert worst(ape.likeness(text, keys, none), arrays['t_sim_text_only']) < 1e-6
    indices = ape.telling(
        text, keys, none, len(arrays['t_indices']), tuple(arrays['t_w'].tolist()))
    assert torch.equal(indices, arrays['t_indices'].sort().values)


def test_given_residuals(arrays):
    model = residuals_of(arrays)
    alpha, beta = arrays['t_alpha_beta'].tolist()
    with torch.no_grad():
        model.residuals.copy_(arrays['t_res'])
        model.weights.copy_(arrays['t_value_weights'])
        assert torch.equal(model.text, arrays['t_text'])
        assert torch.equal(model.keys, arrays['t_keys'])
        assert worst(100 * model(arrays['test'], alpha, beta), arrays['t_logits']) < TOLERANCE
    loss = F.cross_entropy(100 * model(arrays['val'], alpha, beta), arrays['labels_val'])
    assert worst(loss, arrays['t_loss_val']) < TOLERANCE
    loss.backward()
    assert worst(model.residuals.grad, arrays['t_grad_res']) < TOLERANCE
    assert worst(model.weights.grad, arrays['t_grad_value_weights']) < TOLERANCE


def test_three_epochs(arrays):
    model = residuals_of(arrays)
    alpha, beta = arrays['t_alpha_beta'].tolist()
    rate, eps, decay, epochs = arrays['t3_lr_eps_wd_epochs'].tolist()
    assert (eps, decay) == pytest.approx((tuning.EPS, tuning.DECAY))
    losses = tuning.tune(model, arrays['val'], arrays['labels_val'], None, alpha, beta, 100.0,
                         int(epochs), rate, 20)
    assert losses == pytest.approx(arrays['t3_mean_loss_by_epoch'].tolist(), abs=TOLERANCE)
    with torch.no_grad():
        assert worst(model.residuals, arrays['t3_res']) < TOLERANCE
        assert worst(model.weights, arrays['t3_value_weights']) < TOLERANCE
        assert worst(100 * model(arrays['test'], alpha, beta), arrays['t3_logits_test']) < 2e-4


def test_what_a_key_was_made_of_it_says_nothing_about():
    generator = torch.Generator().manual_seed(0)
    text, keys, features = (
        F.normalize(torch.randn(count, 8, generator=generator), dim=-1) for count in (3, 4, 5))
    key_class = torch.tensor([0, 1, 1, 2])
    whole = tuning.Residuals(text, torch.arange(3), keys, key_class, torch.arange(8))
    own = torch.tensor([1, -1, 0, 3, 2])
    actual = whole(features, 500.0, 10.0, own)
    for index, key in enumerate(own.tolist()):
        left = [other for other in range(4) if other != key]
        without = tuning.Residuals(
            text, torch.arange(3), keys[left], key_class[left], torch.arange(8))
        expected = without(features[index:index + 1], 500.0, 10.0)
        torch.testing.assert_close(actual[index:index + 1], expected)
