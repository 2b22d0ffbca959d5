"""PAMR against the authors' numbers and against its definition, and what it does to labels."""

from pathlib import Path

from csa_ros.demo.scenes import Scene
from csa_ros.labels import decide as decide_module
from csa_ros.labels import refine as refine_module
from csa_ros.labels.decide import decide
from csa_ros.labels.merge import merge_map
from csa_ros.labels.refine import Affinity
from csa_ros.labels.refine import passes_for
from csa_ros.labels.refine import PUBLISHED_PASSES
from csa_ros.labels.refine import refine
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import plan_windows
from csa_ros.model.reuse import WindowMemory
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
import cv2
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

REFERENCE = Path(__file__).parent / 'data' / 'sclip_small.npz'


@pytest.fixture(scope='module')
def reference():
    return {name: torch.from_numpy(array) for name, array in np.load(REFERENCE).items()}


def test_the_authors_logits(reference):
    image = F.interpolate(reference['slide_image'], size=reference['output_size'].tolist(),
                          mode='bilinear', align_corners=False)[0]
    affinity = Affinity(image, reference['pamr_dilations'].tolist())
    actual = affinity.smooth(reference['slide_logits'], int(reference['pamr_steps']))
    assert (actual - reference['pamr_logits']).abs().max() < 1e-5
    assert (actual - reference['slide_logits']).abs().max() > 0.05


def test_the_published_passes_are_those_of_the_reference(reference):
    assert PUBLISHED_PASSES == (
        (tuple(reference['pamr_dilations'].tolist()), int(reference['pamr_steps'])),)


def refine_by_definition(image, logits, dilations, steps):
    """Write the definition out, in double precision, with the neighbours' indices clipped."""
    image, logits = image.double().numpy(), logits.double().numpy()
    rows, columns = np.indices(image.shape[1:])

    def neighbours(planes, with_itself):
        steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if with_itself or y or x]
        return np.stack([
            planes[:, (rows + y * dilation).clip(0, rows.max()),
                   (columns + x * dilation).clip(0, columns.max())]
            for dilation in dilations for y, x in steps])

    deviation = neighbours(image, True).std(0, ddof=1)
    alike = -np.abs(neighbours(image, False) - image) / (0.1 * deviation + 1e-8)
    weights = torch.from_numpy(alike.mean(1)).softmax(0).numpy()
    for _ in range(steps):
        logits = (neighbours(logits, False) * weights[:, None]).sum(0)
    return torch.from_numpy(logits)


sides = st.integers(1, 24)
dilations = st.lists(st.integers(1, 10), min_size=1, max_size=3, unique=True)


@settings(deadline=None)
@given(sides, sides, st.integers(1, 4), dilations, st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_any_size_is_refined_by_the_definition(height, width, queries, dilations, steps, seed):
    """Pictures smaller than a dilation, flat ground and wide contrasts among them."""
    random = np.random.default_rng(seed)
    # Whole grey levels, so that what is flat is so exactly.
    image = random.integers(0, random.choice([1, 2, 256]), (3, height, width)).astype(np.float32)
    image, logits = (torch.from_numpy(array) for array in (
        image, random.standard_normal((queries, height, width)).astype(np.float32)))
    expected = refine_by_definition(image, logits, dilations, steps)
    actual = Affinity(image, dilations).smooth(logits, steps)
    assert actual.shape == logits.shape
    assert (actual - expected).abs().max() < 1e-4


def test_the_scale_of_a_channel_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    image, logits = (torch.rand(3, 20, 30, generator=generator) for _ in range(2))
    scaled = image * torch.tensor([255.0, 3.0, 0.5])[:, None, None] - 0.4
    expected, actual = (Affinity(each, (2, 4)).smooth(logits, 10) for each in (image, scaled))
    assert (actual - expected).abs().max() < 1e-4


PLAN = plan_windows(40, 56, crop=32, stride=24)
GRID = (4, 4)
PASSES = (((2, 4), 5), ((1,), 2))


def make_frame(queries, rank=None, seed=0):
    """Return the logits of PLAN's windows and an image; logits of a rank, if that is given."""
    generator = torch.Generator().manual_seed(seed)
    windows = len(PLAN.tops) * len(PLAN.lefts)
    shape = (windows, *GRID, rank or queries)
    logits = torch.randn(shape, generator=generator)
    if rank:
        logits = logits @ torch.randn(rank, queries, generator=generator)
    return logits, torch.randn(3, PLAN.height, PLAN.width, generator=generator)


def maps(size, output):
    """Return the map to where PAMR runs, and the one from there to the labels."""
    return (merge_map(PLAN, GRID, size),
            None if size == output else merge_map(plan_whole(*size), size, output))


@pytest.mark.parametrize('size, output', [
    ((40, 56), (40, 56)), ((40, 56), (75, 100)), ((75, 100), (75, 100)), ((40, 56), (20, 31))])
def test_it_runs_between_merging_and_enlarging(size, output):
    logits, image = make_frame(5)
    actual = refine(logits, image, *maps(size, output), PASSES)
    image = F.interpolate(image[None], size=size, mode='bilinear')[0]
    expected = merge_map(PLAN, GRID, size)(logits)[:, :]
    for dilations, steps in PASSES:
        expected = refine_by_definition(image, expected, dilations, steps)
    expected = F.interpolate(expected[None], size=output, mode='bilinear')[0]
    assert tuple(actual.shape) == tuple(expected.shape)
    assert (actual[:, :] - expected).abs().max() < 1e-4
    assert (actual[:, 7:11] - expected[:, 7:11]).abs().max() < 1e-4


@pytest.mark.parametrize('together', [1, 3, 6])
@pytest.mark.parametrize('output', [(40, 56), (75, 100)])
def test_how_many_are_refined_together_changes_nothing(monkeypatch, output, together):
    logits, image = make_frame(7)
    expected = refine(logits, image, *maps((40, 56), output), PASSES)[:, :]
    monkeypatch.setattr(refine_module, '_TOGETHER', together)
    actual = refine(logits, image, *maps((40, 56), output), PASSES)[:, :]
    assert (actual - expected).abs().max() < 1e-6


class _LargestTensor(TorchFunctionMode):
    """Note the storage of the largest tensor that is made, in bytes."""

    size = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Run the function and look at what it returns."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.size = max(self.size, result.untyped_storage().nbytes())
        return result


def test_memory_is_that_of_the_result():
    """Not of 16 neighbours of each pixel and query."""
    logits, image = make_frame(100)
    with _LargestTensor() as largest:
        result = refine(logits, image, *maps((40, 56), (80, 112)), PASSES)
        decide(result, torch.arange(100), 40.0)
    # Rows at the size where PAMR runs, columns at that of the labels.
    assert largest.size == 100 * 40 * 112 * 4


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 60), st.integers(1, 12), st.sampled_from([1e-3, 0.1, 1.0]),
       st.integers(0, 999))
def test_fewer_planes_keep_within_the_tolerance(queries, rank, tolerance, seed):
    logits, image = make_frame(queries, min(rank, queries), seed)
    around = maps((40, 56), (60, 84))
    expected = refine(logits, image, *around, PASSES)[:, :]
    actual = refine(logits, image, *around, PASSES, tolerance)
    assert tuple(actual.shape) == tuple(expected.shape)
    assert (actual[:, :] - expected).abs().max() <= tolerance + 1e-4
    assert (actual[:, 20:33] - actual[:, :][:, 20:33]).abs().max() < 1e-4


def test_fewer_planes_are_decided_as_on_a_gpu(monkeypatch):
    """There the queries are put in the order of their classes first."""
    logits, image = make_frame(20, rank=3)
    # As cosines are, at most 1.
    logits = logits / logits.abs().max()
    refined = refine(logits, image, *maps((40, 56), (40, 56)), PASSES, 1e-3)
    query_class = torch.arange(20).flip(0) // 2
    expected = decide(refined, query_class, 40.0)
    monkeypatch.delitem(decide_module._FIND_WINNERS, 'cpu')
    actual = decide(refined, query_class, 40.0)
    assert (actual.labels == expected.labels).float().mean() > 0.999
    assert expected.labels.unique().numel() > 5


def test_many_queries_are_refined_by_as_many_planes_as_differ():
    logits, _ = make_frame(60, rank=9)
    axes, reduced = refine_module._reduce(logits, 1e-3)
    assert axes.shape == (60, 9) and reduced.shape == (*logits.shape[:-1], 9)


def test_queries_that_all_differ_are_refined_themselves():
    logits, _ = make_frame(20)
    axes, reduced = refine_module._reduce(logits, 1e-3)
    assert axes is None and reduced is logits


def test_logits_that_are_no_numbers_make_pixels_unknown():
    logits, image = make_frame(20, rank=3)
    logits[0, 0, 0] = float('nan')
    refined = refine(logits, image, *maps((40, 56), (40, 56)), PASSES, 1e-3)
    assert decide(refined, torch.arange(20), 40.0).labels[0, 0] == UNKNOWN


def test_labels_move_to_the_edge_of_the_image():
    """A dark and a bright half, whose logits meet 6 pixels beside the edge."""
    random = np.random.default_rng(0)
    image = torch.full((3, 64, 96), 0.2)
    image[..., 48:] = 0.8
    image += torch.from_numpy(random.normal(0, 0.02, image.shape).astype(np.float32))
    bright = ((torch.arange(96) - 42) / 16).clamp(-1, 1).expand(64, 96)
    logits, classes = torch.stack([-bright, bright]), torch.arange(2)
    truth = (torch.arange(96) >= 48).expand(64, 96)
    before = decide(logits, classes, 40.0).labels == truth
    after = decide(Affinity(image, (8, 16)).smooth(logits, 10), classes, 40.0).labels == truth
    assert before.float().mean() < 0.95
    assert after.float().mean() > 0.998


def test_steps_to_near_neighbours_close_combs():
    """Pixels of one row in two do not see the others from neighbours an even number away."""
    image, logits = torch.zeros(3, 32, 32), torch.zeros(1, 32, 32)
    logits[:, ::2] = 1
    far, near = ((Affinity(image, dilations), steps) for dilations, steps in passes_for(8))
    combed = far[0].smooth(logits, far[1])
    closed = near[0].smooth(combed, near[1])
    combs, rests = (each.diff(dim=1)[:, 4:-4].abs() for each in (combed, closed))
    assert combs.min() > 0.3
    assert rests.max() < combs.min() / 5


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter.load('demo', device='cpu', cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def words(segmenter):
    names = ['sky', 'road', 'grass', 'building', 'tree', 'car|bus', 'person',
             *(f'word {index}' for index in range(40))]
    return segmenter.encode(Vocabulary.parse(names), 'simple')


def street(seed=0):
    return cv2.resize(Scene(seed).render(0.0).rgb, (160, 120), interpolation=cv2.INTER_AREA)


def make_settings(segmenter, refine='pamr', **options):
    return segmenter.resolve(Settings(short_side=96, refine=refine, **options))


@pytest.mark.parametrize('options', [
    {}, {'inference': 'whole'}, {'refine': 'pamr-output'},
    {'unknown_threshold': 0.4, 'min_area': 0.05}])
def test_labels_with_fewer_planes_are_those_of_all_queries(segmenter, words, options):
    """`compute`, which a GPU runs, refines every query."""
    chosen = make_settings(segmenter, **options)
    images = [street(seed) for seed in range(2)]
    results = segmenter.submit(images, words, chosen).result()
    every = segmenter.compute(torch.from_numpy(np.stack(images)), words.features,
                              words.query_class, chosen)
    labels = np.stack([result.labels for result in results])
    confidence = np.stack([result.confidence for result in results]).astype(int)
    assert (labels == every.labels.numpy()).mean() >= 0.999
    near = labels == every.labels.numpy()
    assert np.abs(confidence - every.confidence.numpy())[near].max() <= 5
    off = segmenter.submit(images, words, make_settings(
        segmenter, **{**options, 'refine': 'off'})).result()
    assert (labels != np.stack([result.labels for result in off])).mean() > 0.02


def test_a_batch_and_a_memory_give_what_one_frame_gives(segmenter, words):
    chosen = make_settings(segmenter, reuse_threshold=2.0)
    images = [street(seed) for seed in range(2)]
    alone = [segmenter.segment(image, words, chosen) for image in images]
    memory = WindowMemory()
    for image, expected in zip(images, alone):
        for _ in range(2):  # encoded, then remembered
            actual = segmenter.segment(image, words, chosen, memory=memory)
            assert np.array_equal(actual.labels, expected.labels)
    assert memory.windows_encoded < memory.windows_seen
    for actual, expected in zip(segmenter.submit(images, words, chosen).result(), alone):
        assert (actual.labels == expected.labels).mean() >= 0.9999


def test_features_alone_are_not_enough(segmenter, words):
    chosen = make_settings(segmenter)
    pixels = segmenter.pixels([street()], chosen)
    features = segmenter.features(pixels, chosen)
    with pytest.raises(ValueError, match="refine is 'pamr'.*give pixels"):
        segmenter.decide(features, words, (120, 160), chosen)
