"""The merge of windows in one linear map, against a plain loop over the windows."""

from csa_ros.labels.merge import merge_map
from csa_ros.labels.merge import MergeMap
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import plan_windows
from csa_ros.labels.windows import WindowPlan
from hypothesis import given
from hypothesis import strategies as st
import pytest
import torch
from torch.nn import functional


def merge_by_loop(plan, window_logits, output_size):
    """Upsample one window after the other, add, divide by the count, resize: (Q, H, W)."""
    queries = window_logits.shape[-1]
    total = window_logits.new_zeros(1, queries, plan.height, plan.width)
    count = window_logits.new_zeros(1, 1, plan.height, plan.width)
    corners = [(top, left) for top in plan.tops for left in plan.lefts]
    for (top, left), logits in zip(corners, window_logits, strict=True):
        pixels = functional.interpolate(
            logits.permute(2, 0, 1)[None], size=(plan.crop_height, plan.crop_width),
            mode='bilinear', align_corners=False)
        margins = (left, plan.width - left - plan.crop_width,
                   top, plan.height - top - plan.crop_height)
        total += functional.pad(pixels, margins)
        count += functional.pad(torch.ones_like(pixels[:, :1]), margins)
    return functional.interpolate(
        total / count, size=output_size, mode='bilinear', align_corners=False)[0]


def random_logits(plan, grid, queries, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    windows = len(plan.tops) * len(plan.lefts)
    return torch.rand(windows, *grid, queries, dtype=dtype, generator=generator) * 2 - 1


@st.composite
def cases(draw):
    """Draw a plan, the patch grid of its windows and an output size."""
    patch = draw(st.integers(1, 17), label='patch')
    sides = st.integers(patch, 120)
    crop = draw(sides, label='crop')
    stride = draw(st.integers(max(crop // 4, 1), crop), label='stride')
    plan = plan_windows(draw(sides, label='height'), draw(sides, label='width'), crop, stride)
    grid = (plan.crop_height // patch, plan.crop_width // patch)
    return plan, grid, draw(st.tuples(st.integers(1, 150), st.integers(1, 150)), label='output')


@given(cases(), st.integers(1, 5))
def test_the_map_is_the_loop(case, queries):
    plan, grid, output_size = case
    logits = random_logits(plan, grid, queries, torch.float64)
    merged = MergeMap(plan, grid, output_size, 'cpu', torch.float64)(logits)[:, :]
    torch.testing.assert_close(
        merged, merge_by_loop(plan, logits, output_size), rtol=0, atol=1e-12)


@pytest.mark.parametrize('size, crop, stride, patch, output_size', [
    pytest.param((336, 448), 224, 112, 16, (480, 640), id='the paper, VGA'),
    pytest.param((597, 336), 224, 112, 16, (1280, 720), id='portrait'),
    pytest.param((336, 448), 224, 100, 14, (168, 224), id='output smaller than the frame'),
    pytest.param((150, 448), 224, 112, 16, (150, 448), id='lower than a window'),
    pytest.param((100, 90), 224, 112, 16, (480, 432), id='smaller than a window'),
    pytest.param((250, 333), 230, 77, 16, (251, 331), id='patches that do not divide the crop'),
])
def test_float32_labels_are_those_of_the_loop(size, crop, stride, patch, output_size):
    plan = plan_windows(*size, crop, stride)
    grid = (plan.crop_height // patch, plan.crop_width // patch)
    logits = random_logits(plan, grid, 7, torch.float32)
    merged = MergeMap(plan, grid, output_size)(logits)[:, :]
    assert merged.dtype == torch.float32
    assert merged.shape == (7, *output_size)
    # The loop in float32 is the coarser one: torch rounds each pixel's position in the frame.
    loop = merge_by_loop(plan, logits, output_size)
    exact = merge_by_loop(plan, logits.double(), output_size)
    torch.testing.assert_close(merged.double(), exact, rtol=0, atol=1e-6)
    torch.testing.assert_close(merged, loop, rtol=0, atol=1e-4)
    assert (merged.argmax(0) == loop.argmax(0)).double().mean() >= 0.9999


def test_one_whole_window():
    plan = plan_whole(112, 176)
    logits = random_logits(plan, (7, 11), 4, torch.float64)
    merged = MergeMap(plan, (7, 11), (90, 140), 'cpu', torch.float64)(logits)[:, :]
    torch.testing.assert_close(
        merged, merge_by_loop(plan, logits, (90, 140)), rtol=0, atol=1e-12)


@given(st.data())
def test_any_window_offsets(data):
    """The map asks nothing of a plan but that its windows cover the frame."""
    overlaps = st.lists(st.integers(0, 11), min_size=0, max_size=4)
    starts = []
    for _ in range(2):
        starts.append([0])
        for overlap in data.draw(overlaps):
            starts[-1].append(starts[-1][-1] + 12 - overlap)
    tops, lefts = map(tuple, starts)
    plan = WindowPlan(tops[-1] + 12, lefts[-1] + 12, 12, 12, tops, lefts)
    logits = random_logits(plan, (3, 4), 2, torch.float64)
    merged = MergeMap(plan, (3, 4), (31, 17), 'cpu', torch.float64)(logits)[:, :]
    torch.testing.assert_close(
        merged, merge_by_loop(plan, logits, (31, 17)), rtol=0, atol=1e-12)


@given(cases(), st.data())
def test_any_band_of_rows_is_that_of_the_frame(case, data):
    plan, grid, output_size = case
    logits = MergeMap(plan, grid, output_size)(random_logits(plan, grid, 3, torch.float32))
    top = data.draw(st.integers(0, output_size[0] - 1))
    # Beyond the end, as with a tensor.
    bottom = data.draw(st.integers(top + 1, output_size[0] + 5))
    assert logits.shape == (3, *output_size)
    torch.testing.assert_close(logits[:, top:bottom], logits[:, :][:, top:bottom])


def test_a_band_takes_few_rows_of_patches():
    merge = MergeMap(plan_windows(1120, 1120, crop=224, stride=112), (14, 14), (1120, 1120))
    assert len(merge.vertical[0]) == 9 * 14
    reaches = [merge.reach(range(top, top + 16)) for top in range(0, 1120, 16)]
    # Two overlapping windows, whose patches do not lie side by side.
    assert max(reach.stop - reach.start for reach in reaches) <= 14
    assert reaches[0] == slice(0, 2)


def test_frame_logits_are_indexed_by_rows_and_selected_by_queries():
    plan = plan_windows(60, 80, crop=32, stride=16)
    logits = MergeMap(plan, (4, 4), (90, 120))(random_logits(plan, (4, 4), 3, torch.float32))
    order = torch.tensor([2, 0])
    assert torch.equal(logits.index_select(0, order)[:, 5:9], logits[:, 5:9][order])
    with pytest.raises(IndexError, match='top:bottom'):
        logits[:2, :]
    with pytest.raises(IndexError, match='dimension 0, not 1'):
        logits.index_select(1, order)


def test_half_precision_logits_are_merged_in_float32():
    plan = plan_windows(60, 80, crop=32, stride=16)
    merge = MergeMap(plan, (4, 4), (90, 120))
    logits = random_logits(plan, (4, 4), 3, torch.float32).half()
    assert torch.equal(merge(logits)[:, :], merge(logits.float())[:, :])


@pytest.mark.parametrize('shape', [(12, 4, 4, 3), (4, 3, 4, 4), (12, 4, 5, 3), (4, 4, 3)])
def test_logits_of_another_plan_are_refused(shape):
    merge = MergeMap(plan_windows(60, 70, crop=32, stride=16), (3, 4), (90, 120))
    with pytest.raises(ValueError, match=r'3 x 4 windows of 3 x 4 patches'):
        merge(torch.zeros(shape))


@pytest.mark.parametrize('grid, output_size', [((0, 4), (9, 9)), ((4, 4), (9, 0))])
def test_an_empty_grid_or_output_is_refused(grid, output_size):
    with pytest.raises(ValueError, match='at least 1 patch and 1 pixel a side'):
        MergeMap(plan_windows(15, 64, crop=32, stride=16), grid, output_size)


def test_maps_are_built_once():
    plan = plan_windows(60, 80, crop=32, stride=16)
    same = plan_windows(60, 80, crop=32, stride=16)
    assert merge_map(plan, (4, 4), (90, 120)) is merge_map(same, (4, 4), (90, 120))
    assert merge_map(plan, (4, 4), (90, 120)) is not merge_map(plan, (4, 4), (90, 121))
