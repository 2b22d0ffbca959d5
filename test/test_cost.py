"""What a frame may cost, and giving it up: with every setting that is valid, the node stays up."""

import itertools
import time

from csa_ros import cost
from csa_ros.cost import CostError
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import plan_windows
from csa_ros.model.attention import mixing
from csa_ros.model.reuse import WindowMemory
from csa_ros.parameters.config import read_config
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.table import PARAMETERS
from csa_ros.process import cancellation
from csa_ros.process.cancellation import cancellable
from csa_ros.process.cancellation import Cancelled
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from graph import ACTIVATE
from graph import DEACTIVATE
from graph import make_image
from graph import TIMEOUT
from graph import wait_for
from lifecycle_msgs.msg import Transition
import numpy as np
import pytest
import torch
from towers import make_backbone

DEFAULTS = {item.name: item.default for item in PARAMETERS}
# What a frame's cost may depend on.
OF_FRAMES = [item for item in PARAMETERS if item.name in {*vars(Settings()), 'vocabulary'}]
MANY_WORDS = [f'word {number}' for number in range(40)]
SIZES = ((24, 32), (1, 1), (3, 200), (60, 80))
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def words(segmenter):
    return segmenter.encode(['sky', 'road'], 'simple')


def ends(item):
    """Return the values at the ends of a parameter's range."""
    if item.name == 'vocabulary':
        return ['sky, road', MANY_WORDS]
    if item.choices:
        return item.choices
    # Those of a tower with patches of 8 pixels: 0 is for the value of the model.
    least = {'short_side': [8], 'crop': [8], 'stride': [1]}.get(item.name, [])
    return sorted({*item.bounds, item.default, *least})


def corners():
    """
    Yield the configurations at the corners of all ranges that are valid, and the rest's reasons.

    What changes no cost is at one of its ends in turn, not at each with each.
    """
    costly = {'inference', 'short_side', 'crop', 'stride', 'refine', 'reuse_threshold',
              'vocabulary'}
    turn = itertools.count()
    others = {item.name: ends(item) for item in OF_FRAMES if item.name not in costly}
    axes = {item.name: ends(item) for item in OF_FRAMES if item.name in costly}
    for values in itertools.product(*axes.values()):
        number = next(turn)
        rest = {name: found[number % len(found)] for name, found in others.items()}
        yield dict(zip(axes, values)), rest


def test_the_corners_of_all_ranges_are_segmented_or_refused_with_a_reason(segmenter, monkeypatch):
    """With bounds so low that what is within them takes a moment, and needs little memory."""
    monkeypatch.setattr(cost, 'MAX_WINDOWS', 150)
    monkeypatch.setattr(cost, 'MAX_PATCHES', 400)
    small = Segmenter(segmenter.backbone)
    small._cost = cost.Model('csa', 64, 2, 32, 64, 2**24, 'cpu')
    small._text = segmenter._text
    vocabularies = {}
    counts = dict.fromkeys(['invalid', 'refused', 'accepted', 'segmented'], 0)
    reasons = set()
    for number, (values, rest) in enumerate(corners()):
        try:
            config = read_config({**DEFAULTS, **values, **rest})
            settings = small.resolve(config.settings)
        except (ParameterError, ValueError):
            counts['invalid'] += 1
            continue
        if config.vocabulary not in vocabularies:
            vocabularies[config.vocabulary] = small.encode(config.vocabulary, 'simple')
        encoded = vocabularies[config.vocabulary]
        height, width = SIZES[number % 4]
        rgb = np.full((height, width, 3), number % 256, np.uint8)
        try:
            small.check_frame((height, width), settings, len(encoded.query_class))
        except CostError as error:
            counts['refused'] += 1
            reasons.add(str(error).rpartition(': ')[2])
            with pytest.raises(CostError):
                small.segment(rgb, encoded, settings)
            continue
        counts['accepted'] += 1
        if number % 3:
            # They are many, and much alike.
            continue
        result = small.segment(rgb, encoded, settings, memory=WindowMemory())
        assert result.labels.shape == (height, width)
        counts['segmented'] += 1
    assert min(counts.values()) > 20, counts
    assert all('set ' in reason for reason in reasons), reasons
    assert len(reasons) >= 3, reasons


@pytest.mark.parametrize('size, options, queries, reason', [
    ((240, 320), {'short_side': 512, 'stride': 1}, 2,
     r'320 x 240 pixels, resized to 683 x 512 .short_side 512., has 313612 windows with crop 32 '
     r'and stride 1, more than 20000: set stride to 4 at least, to 0'),
    ((480, 640), {'short_side': 2048, 'crop': 8}, 2, 'has 195713 windows.* set a larger crop'),
    ((480, 640), {'short_side': 2048, 'inference': 'whole'}, 2,
     r'49152 patches in one window of 2048 x 1536, more than 22000: set a smaller short_side, or'),
    ((480, 640), {'short_side': 2048, 'crop': 2048}, 2, 'patches in one window .* or crop, or 0'),
    ((1080, 1920), {'refine': 'pamr-output'}, 1024, r'takes 9.5 GiB of memory, more than the 4.0 '
     'that may be used on cpu: set .* refine to off, or fewer words'),
])
def test_what_costs_too_much_says_what_to_change(segmenter, monkeypatch, size, options, queries,
                                                 reason):
    monkeypatch.setattr(segmenter, '_cost', cost.Model('csa', 64, 2, 32, 64, 2**32, 'cpu'))
    segmenter._affordable.cache_clear()
    with pytest.raises(CostError, match=reason):
        segmenter.check_frame(size, Settings(**options), queries)
    segmenter._affordable.cache_clear()


@pytest.mark.parametrize('patch', [14, 16])
def test_whatever_a_large_gpu_may_be_used_for_is_allowed(patch):
    """The largest frame, with windows at every patch, many words, and four cameras together."""
    model = cost.Model('csa', 1024, 16, 768, 64, 80 * 2**30, 'cuda')
    settings = Segmenter(make_backbone()).resolve(Settings(crop=224, stride=patch,
                                                           short_side=2048))
    for height, width, frames in (2048, 2048, 1), (1152, 2048, 1), (336, 597, 16):
        plan = plan_windows(height, width, 224, patch)
        cost.check(model, plan, (224 // patch, 224 // patch), (height, width), settings, 80,
                   frames)
        whole = plan_whole(height, width)
        cost.check(model, whole, (height // patch, width // patch), (height, width), settings, 80,
                   frames)


def test_memory_is_that_of_the_machine_or_the_container(tmp_path):
    machine = cost.memory_of(CPU, tmp_path)
    assert 0 < machine
    group = tmp_path / 'sys/fs/cgroup'
    group.mkdir(parents=True)
    for text, expected in ('max', machine), (str(2**20), 0.75 * 2**20), (str(2**62), machine):
        (group / 'memory.max').write_text(f'{text}\n')
        assert cost.memory_of(CPU, tmp_path) == expected


LONG = {
    'windows': Settings(stride=8),
    'whole': Settings('whole', short_side=96),
    'refined': Settings(refine='pamr'),
    'remembered': Settings(stride=8, reuse_threshold=1.0),
}


@pytest.mark.parametrize('settings', LONG.values(), ids=LONG)
def test_a_frame_can_be_given_up_between_any_two_steps(segmenter, words, monkeypatch, settings):
    monkeypatch.setattr('csa_ros.segmenter.WINDOWS_PER_BATCH', 4)
    monkeypatch.setattr(mixing, 'LONG', 64)
    monkeypatch.setattr(mixing, 'LOT', 16)
    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    expected = segmenter.segment(rgb, words, settings)
    asked = []
    with cancellable(lambda: asked.append(1)):
        segmenter.segment(rgb, words, settings, memory=WindowMemory())
    assert len(asked) > 6
    for last in 0, len(asked) // 2, len(asked) - 1:
        memory, left = WindowMemory(), iter([False] * last)
        with pytest.raises(Cancelled), cancellable(lambda: next(left, True)):
            segmenter.segment(rgb, words, settings, memory=memory)
        # Nothing is left half done, and nothing is given up outside.
        again = segmenter.segment(rgb, words, settings, memory=memory)
        assert (again.labels == expected.labels).mean() >= 0.9999


def test_encoding_words_can_be_given_up(segmenter):
    with pytest.raises(Cancelled), cancellable(lambda: True):
        segmenter.encode(['never seen'], 'simple')
    assert segmenter.encode(['never seen'], 'simple').features.isfinite().all()


def test_what_is_given_up_is_of_one_thread_and_one_block():
    with cancellable(lambda: True):
        with cancellable(None):
            cancellation.check()
        with pytest.raises(Cancelled):
            cancellation.check()
    cancellation.check()


@pytest.mark.parametrize('prior', [False, True])
def test_tokens_in_lots_are_mixed_as_all_at_once(monkeypatch, prior):
    a, b, v = torch.randn(3, 2, 3, 70, 8)
    added = torch.randn(70, 70) if prior else None
    expected = mixing.attend(((a, b), (b, a)), v, added)
    monkeypatch.setattr(mixing, 'LONG', 64)
    monkeypatch.setattr(mixing, 'LOT', 16)
    torch.testing.assert_close(mixing.attend(((a, b), (b, a)), v, added), expected)


def hang_with_stride(segmenter, stride):
    """Let frames with a stride take far longer than a test, and ask whether to go on meanwhile."""
    features = segmenter.features

    def slow(pixels, settings):
        while settings.stride == stride:
            cancellation.check()
            time.sleep(0.01)
        return features(pixels, settings)

    segmenter.features = slow


def test_a_setting_that_costs_too_much_does_not_take_the_node_down(graph, tmp_path, monkeypatch):
    monkeypatch.setattr('csa_ros.ros.pipeline.PATIENCE', 0.05)
    monkeypatch.setattr(cost, 'MAX_WINDOWS', 1000)
    graph.start(tmp_path, short_side=200, stride=1)
    # Known no sooner than a frame is there.
    graph.stream(lambda: graph.report().totals['failed'])
    reason = ('a frame of 64 x 48 pixels, resized to 267 x 200 (short_side 200), has 39884 windows'
              ' with crop 32 and stride 1, more than 1000: set stride to ')
    assert graph.report().last_error.startswith(reason)
    wait_for(lambda: any(item.level == item.ERROR and reason in item.message
                         for item in graph.statuses), 'an ERROR that says so')
    # What is in force already is no reason to refuse other changes.
    assert graph.set_each(vocabulary='a, b, c', overlay_alpha=0.2) == ['', '']
    assert graph.set_each(stride=0) == ['']
    graph.flow()
    assert graph.set_each(stride=1)[0].startswith(reason)
    assert graph.set_atomically(stride=1, short_side=8) == ''
    graph.flow()

    hang_with_stride(graph.segmenter, 3)
    assert graph.set_each(stride=3, short_side=0) == ['', '']
    graph.stream(lambda: graph.node._pipeline._snapshot.settings.stride == 3)
    graph.stream(lambda: graph.node._pipeline._frames._busy)
    masks = len(graph.labels)
    graph.send(make_image(stamp=(5000, 0)))
    assert graph.set_each(stride=0) == ['']
    wait_for(lambda: len(graph.labels) > masks, 'a mask, without a new image')

    assert graph.set_each(stride=3) == ['']
    graph.stream(lambda: graph.node._pipeline._snapshot.settings.stride == 3)
    begin = time.monotonic()
    assert graph.change_state(DEACTIVATE)
    assert graph.node._pipeline._frames.flush(TIMEOUT)
    assert graph.change_state(ACTIVATE)
    graph.stream(lambda: graph.node._pipeline._frames._busy)
    frames = graph.node._pipeline._frames
    assert graph.change_state(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert not frames._thread.is_alive()
    # Neither was waited for as long as an ordinary frame may be; without a bound it would hang.
    assert time.monotonic() - begin < 60
