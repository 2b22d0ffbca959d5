"""The decision against the authors' labels and against their rule written out."""

from pathlib import Path

from csa_ros.labels import decide as decide_module
from csa_ros.labels.decide import decide
from csa_ros.vocabulary import UNKNOWN
import hypothesis
from hypothesis import assume
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

REFERENCE = Path(__file__).parent / 'data' / 'sclip_small.npz'


@pytest.fixture(scope='module')
def reference():
    return {name: torch.from_numpy(array) for name, array in np.load(REFERENCE).items()}


def class_probabilities(logits, query_class, num_classes, logit_scale):
    """Write SCLIP's rule out: softmax over queries, the largest within each class, (C, H, W)."""
    probabilities = (logits.double() * logit_scale).softmax(0)
    return torch.stack([probabilities[query_class == c].amax(0) for c in range(num_classes)])


def decide_plainly(logits, query_class, num_classes, logit_scale, threshold, min_area, denoise=0):
    """
    Write SCLIP's decision out: labels with UNKNOWN for unsure pixels, winner's probability.

    And RADSeg's denoising before it.
    """
    probabilities = class_probabilities(logits, query_class, num_classes, logit_scale)
    there = probabilities.flatten(1).amax(1) >= denoise
    probabilities[~there] = 0
    labels = probabilities.argmax(0)
    foreground = (labels > 0).sum().item()
    for c in range(1, num_classes):
        if min_area > 0 and (labels == c).sum().item() <= min_area * foreground:
            probabilities[c] = 0
    winner, labels = probabilities.max(0)
    labels[winner < threshold] = UNKNOWN
    if not there.any():
        labels[:] = UNKNOWN
    return labels, winner


@st.composite
def scenes(draw):
    """Draw logits on a coarse lattice (many exact ties), and query classes in any order."""
    num_classes = draw(st.integers(1, 6))
    further = draw(st.lists(st.integers(0, num_classes - 1), max_size=6))
    query_class = draw(st.permutations([*range(num_classes), *further]))
    shape = (len(query_class), draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    seed = draw(st.integers(0, 2 ** 32 - 1))
    steps = np.random.default_rng(seed).integers(-8, 9, shape)
    return torch.from_numpy(steps / 8.0).float(), torch.tensor(query_class), num_classes


def assert_decides_plainly(scene, logit_scale, threshold, min_area):
    logits, query_class, num_classes = scene
    labels, winner = decide_plainly(
        logits, query_class, num_classes, logit_scale, threshold, min_area)
    assume((winner - threshold).abs().min() > 1e-5)
    decision = decide(logits, query_class, logit_scale, threshold, min_area)
    assert decision.labels.dtype == decision.confidence.dtype == torch.uint8
    assert torch.equal(decision.labels.long(), labels)
    assert (decision.confidence.double() - 255 * winner).abs().max() <= 0.5 + 1e-3


# 40 % of a 9-pixel foreground is no whole number; an eighth of 8 or 16 pixels is.
areas = st.sampled_from([0.0, 0.0625, 0.125, 0.25, 0.4, 0.5, 1.0])


@pytest.fixture(params=['as on a CPU', 'as on a GPU'])
def device(request, monkeypatch):
    """Let a CPU decide in the way of either."""
    if request.param == 'as on a GPU':
        monkeypatch.delitem(decide_module._FIND_WINNERS, 'cpu')


# Fixtures are per test, not per example, which is right here.
per_test = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])


@per_test
@given(scenes(), st.sampled_from([1.0, 5.0, 40.0, 400.0]), st.floats(0, 1), areas)
def test_decision_follows_the_rule(device, scene, logit_scale, threshold, min_area):
    assert_decides_plainly(scene, logit_scale, threshold, min_area)


@per_test
@given(scenes(), areas)
def test_bands_of_one_row_change_nothing(device, scene, min_area):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(decide_module._BAND_LOGITS, 'cpu', 1)
        assert_decides_plainly(scene, 5.0, 0.3, min_area)


def share_equal(actual, expected):
    return (actual == expected).double().mean().item()


@pytest.mark.parametrize('array, threshold, min_area', [
    ('labels_plain', 0.0, 0.0), ('labels_threshold', 0.45, 0.0), ('labels_area', 0.1, 0.1)])
def test_the_authors_labels(reference, device, array, threshold, min_area):
    labels = decide(
        reference['slide_logits'], reference['query_class'], 40.0, threshold, min_area).labels
    # Below the threshold the authors write class 0.
    assert share_equal(labels.where(labels != UNKNOWN, 0), reference[array]) >= 0.9999


def test_the_authors_thresholds_have_an_effect(reference):
    """Else the test above would pass without them."""
    plain = reference['labels_plain']
    assert share_equal(plain, reference['labels_threshold']) < 0.99
    assert share_equal(plain, reference['labels_area']) < 0.99


def test_the_authors_probabilities(reference, device):
    confidence = decide(
        reference['slide_logits'], reference['query_class'], 40.0).confidence
    expected = (255 * reference['probabilities_plain'].amax(0)).round()
    assert share_equal(confidence, expected) >= 0.9999
    assert (confidence - expected).abs().max() <= 1


def test_the_order_of_queries_does_not_matter(reference, device):
    shuffled = torch.tensor([6, 2, 0, 4, 3, 1, 5])
    logits, query_class = reference['slide_logits'], reference['query_class']
    expected = decide(logits, query_class, 40.0, 0.45, 0.1)
    actual = decide(logits[shuffled], query_class[shuffled], 40.0, 0.45, 0.1)
    assert torch.equal(actual.labels, expected.labels)
    assert share_equal(actual.confidence, expected.confidence) >= 0.9999


def test_the_first_of_equal_classes_wins(device):
    labels = decide(torch.ones(3, 1, 1), torch.tensor([2, 1, 0]), 40.0).labels
    assert labels.item() == 0


def test_a_class_of_exactly_the_least_area_is_dropped():
    """Of 4 foreground pixels one is class 2: a quarter, which is at most min_area."""
    logits = torch.tensor([
        [[0.0, 0.0, 0.0, 0.0, 9.0]],
        [[5.0, 5.0, 5.0, 1.0, 0.0]],
        [[0.0, 0.0, 0.0, 5.0, 0.0]]])
    classes = torch.arange(3)
    assert decide(logits, classes, 1.0).labels.tolist() == [[1, 1, 1, 2, 0]]
    assert decide(logits, classes, 1.0, 0.0, 0.2).labels.tolist() == [[1, 1, 1, 2, 0]]
    dropped = decide(logits, classes, 1.0, 0.0, 0.25)
    assert dropped.labels.tolist() == [[1, 1, 1, 1, 0]]
    left = logits[:, 0, 3].softmax(0)[1]
    assert dropped.confidence[0, 3].item() == round(255 * left.item())


def test_the_background_is_never_dropped():
    logits = torch.tensor([[[9.0, 0.0]], [[0.0, 9.0]]])
    labels = decide(logits, torch.tensor([0, 1]), 1.0, 0.0, 1.0).labels
    assert labels.tolist() == [[0, 0]]


def test_255_classes():
    logits = torch.eye(255)[:, None]
    labels = decide(logits, torch.arange(255), 40.0).labels
    assert labels.tolist() == [list(range(255))]


def test_logits_that_are_no_numbers_are_unknown(device):
    logits = torch.tensor([[[0.5, float('nan')]], [[0.1, 0.2]]])
    decision = decide(logits, torch.tensor([0, 1]), 40.0)
    assert decision.labels.tolist() == [[0, UNKNOWN]]
    assert decision.confidence.tolist() == [[255, 0]]


def test_half_precision_logits_are_decided_in_float32(reference):
    logits = reference['slide_logits'].half()
    actual = decide(logits, reference['query_class'], 40.0)
    expected = decide(logits.float(), reference['query_class'], 40.0)
    assert torch.equal(actual.labels, expected.labels)
    assert torch.equal(actual.confidence, expected.confidence)


def test_the_logits_are_left_as_they_were(reference, device):
    logits = reference['slide_logits'].clone()
    decide(logits, reference['query_class'], 40.0, 0.45, 0.1)
    assert torch.equal(logits, reference['slide_logits'])


class _LargestTensor(TorchFunctionMode):
    """Note the storage of the largest tensor that is made, in bytes."""

    def __init__(self, known):
        super().__init__()
        self.known = known.untyped_storage().data_ptr()
        self.size = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Run the function and look at what it returns."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            storage = result.untyped_storage()
            if storage.data_ptr() != self.known:
                self.size = max(self.size, storage.nbytes())
        return result


def test_memory_does_not_grow_with_the_classes():
    """No probabilities of classes x pixels: a band of 1 MiB, or a few bytes a pixel."""
    logits = torch.rand(100, 240, 320)
    with _LargestTensor(logits) as largest:
        decide(logits, torch.arange(100), 40.0, 0.1, 0.1)
    assert 0 < largest.size <= 2 ** 20


@pytest.mark.parametrize('logits, query_class', [
    (torch.zeros(3, 4), torch.arange(3)),
    (torch.zeros(3, 4, 4), torch.arange(4)),
    (torch.zeros(0, 4, 4), torch.arange(0)),
    (torch.zeros(3, 4, 0), torch.arange(3)),
])
def test_shapes_that_do_not_fit_are_refused(logits, query_class):
    with pytest.raises(ValueError, match=r'expected \(Q, H, W\) and \(Q,\)'):
        decide(logits, query_class, 40.0)


@given(scene=scenes(), min_area=areas, denoise=st.sampled_from([0.01, 0.2, 0.5, 0.9, 1.0]),
       logit_scale=st.sampled_from([1.0, 10.0, 40.0]))
def test_classes_that_are_nowhere_probable_lose_their_pixels(
        scene, min_area, denoise, logit_scale):
    logits, query_class, num_classes = scene
    peaks = class_probabilities(*scene, logit_scale).flatten(1).amax(1)
    assume((peaks - denoise).abs().min() > 1e-5)
    # With class 0 struck out there is no background to leave out of areas.
    assume(min_area == 0 or peaks[0] > denoise)
    labels, winner = decide_plainly(
        logits, query_class, num_classes, logit_scale, 0.0, min_area, denoise)
    assume(min_area == 0 or (labels != UNKNOWN).all())
    decision = decide(logits, query_class, logit_scale, 0.0, min_area, denoise)
    assert torch.equal(decision.labels.long(), labels)
    assert (decision.confidence.double() - 255 * winner).abs().max() <= 0.5 + 1e-3
    # The same from probabilities.
    probabilities = (logits.double() * logit_scale).softmax(0).float()
    again = decide(probabilities, query_class, None, 0.0, min_area, denoise)
    ties = winner == 0
    assert torch.equal(again.labels[~ties], decision.labels[~ties])
    assert (again.confidence.int() - decision.confidence.int()).abs().max() <= 1


def test_where_no_class_is_left_pixels_are_unknown():
    logits = torch.zeros(3, 4, 5)
    decision = decide(logits, torch.arange(3), 40.0, denoise=0.5)
    assert (decision.labels == UNKNOWN).all() and not decision.confidence.any()
    assert (decide(logits, torch.arange(3), 40.0, denoise=0.3).labels == 0).all()


def test_a_pixel_that_is_no_number_strikes_no_class_out():
    logits = torch.zeros(2, 2, 2)
    logits[0] = 1
    logits[1, 0, 0] = 2
    logits[:, 1, 1] = torch.nan
    decision = decide(logits, torch.arange(2), 40.0, denoise=0.5)
    assert decision.labels.tolist() == [[1, 0], [0, UNKNOWN]]
