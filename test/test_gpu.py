"""The GPU's way of running frames: on a GPU, and with a CPU standing in for one."""

from contextlib import contextmanager
from contextlib import nullcontext

from csa_ros import draw
from csa_ros import gpu
from csa_ros import segmenter as segmenter_module
from csa_ros.decoding import patches
from csa_ros.decoding import segments
from csa_ros.labels import refine as refine_module
from csa_ros.labels.decide import Decision
from csa_ros.labels.merge import MergeMap
from csa_ros.model import bf16
from csa_ros.model import joining
from csa_ros.model import pixels
from csa_ros.model.attention.methods import ATTENTION
from csa_ros.model.backbone import load_backbone
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
import cv2
import groupvit
import numpy as np
import pytest
import radio
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes
from towers import make_backbone

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no CUDA GPU')
VOCABULARY = Vocabulary.parse(['sky', 'road', 'car|bus|truck', 'tree', 'building'])


def picture(height, width, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@needs_gpu
def test_the_precision_of_a_gpu_does_not_depend_on_the_cpu(monkeypatch):
    monkeypatch.setattr(bf16, 'has_instructions', lambda: True)
    monkeypatch.setattr(bf16, '_measure', None)
    assert load_backbone('demo', 'cuda', measure=True).arithmetic == 'torch.float16'


@pytest.mark.parametrize('alpha', [0.0, 0.3, 0.5, 1.0])
def test_overlays_are_blended_as_on_the_host(alpha):
    frames = np.stack([picture(60, 80, seed) for seed in range(2)])
    labels = np.random.default_rng(0).integers(0, 8, frames.shape[:3], dtype=np.uint8)
    labels[labels == 7] = UNKNOWN
    colors = draw.palette([f'word {i}' for i in range(5)])
    expected = [draw.overlay(*arrays, colors, alpha) for arrays in zip(frames, labels)]
    actual = gpu.blend(torch.from_numpy(frames), torch.from_numpy(labels), colors, alpha)
    assert actual.dtype == torch.uint8
    assert np.abs(actual.numpy().astype(int) - expected).max() <= 1
    assert np.array_equal(actual.numpy()[labels >= 5], frames[labels >= 5])


class Stream:
    """All that a CPU needs of a stream: nothing."""

    def __init__(self, *args, **kwargs):
        pass

    def wait_stream(self, other):
        pass


class Event(Stream):
    """What has been computed is there."""

    def record(self, stream):
        pass

    def synchronize(self):
        pass


@pytest.fixture
def cpu_as_gpu(monkeypatch):
    """Let a CPU stand in for a GPU; return the shapes of frames that were captured."""
    captured = []

    def capture(run, stream):
        outputs = run()
        captured.append(tuple(outputs.labels.shape))

        def replay():
            for static, fresh in zip(vars(outputs).values(), vars(run()).values()):
                if static is not None:
                    static.copy_(fresh)
        return replay, outputs

    monkeypatch.setattr(torch.cuda, 'Stream', Stream)
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'stream', lambda stream: nullcontext())
    monkeypatch.setattr(torch.Tensor, 'record_stream', lambda tensor, stream: None)
    monkeypatch.setattr(gpu, '_capture', capture)
    monkeypatch.setattr(gpu, '_pinned', lambda shape: torch.empty(shape, dtype=torch.uint8))
    return captured


def compute(frames, text, query_class, settings, cache, sought, segments):
    """Stand in for a model: labels and confidence that show all of the inputs."""
    words = len(query_class) - (query_class == UNKNOWN).sum()
    brightest = (frames.float().mean(-1) * settings).to(torch.uint8)
    return Decision(brightest, torch.full_like(brightest, 1) * words.to(torch.uint8))


@pytest.fixture
def runner(cpu_as_gpu):
    return gpu.GraphRunner(compute, lambda size, settings: None, torch.device('cpu'))


def words(count):
    return torch.zeros(count, 4), torch.arange(count)


def test_results_belong_to_their_frames(runner):
    """Also when the next frames are submitted before the results are asked for."""
    frames = [np.full((4, 6, 3), value, np.uint8) for value in range(1, 5)]
    first = runner.submit(frames[:2], *words(3), 2)
    second = runner.submit(frames[2:], *words(5), 2)
    frames[0][:] = 99
    assert [labels.mean() for labels, *_ in first.wait()] == [2, 4]
    assert [labels.mean() for labels, *_ in second.wait()] == [6, 8]
    assert {confidence.mean() for _, confidence, *_ in first.wait()} == {3}
    assert {confidence.mean() for _, confidence, *_ in second.wait()} == {5}


def test_a_shape_is_captured_once_whatever_the_words(runner, cpu_as_gpu):
    small, large = np.zeros((4, 6, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)
    for count in (1, 20, gpu.QUERY_BUCKET):
        runner.submit([small], *words(count), 1).wait()
    assert cpu_as_gpu == [(1, 4, 6)]
    runner.submit([large], *words(3), 1).wait()
    runner.submit([small, small], *words(3), 1).wait()
    runner.submit([small], *words(3), 2).wait()
    runner.submit([small], *words(gpu.QUERY_BUCKET + 1), 1).wait()
    assert cpu_as_gpu == [(1, 4, 6), (1, 8, 6), (2, 4, 6), (1, 4, 6), (1, 4, 6)]
    runner.submit([small], *words(5), 1).wait()
    assert len(cpu_as_gpu) == 5


def cache(count, worth):
    """Return the tensors of examples with keys that are each worth something for one query."""
    values = torch.zeros(count, 3)
    values[:, 1] = worth
    return torch.ones(count, 4), torch.ones(count), values


def test_what_is_taught_is_an_input_too(cpu_as_gpu):
    """Keys are padded with some that are worth nothing, and must not outlive a change."""
    def compute(frames, text, query_class, settings, cache, sought, segments):
        assert {len(tensor) for tensor in cache} <= {gpu.KEY_BUCKET}
        worth = cache[2].sum() if cache else torch.zeros(())
        labels = torch.zeros(frames.shape[:3], dtype=torch.uint8)
        return Decision(labels, labels + worth.to(torch.uint8))

    runner = gpu.GraphRunner(compute, lambda size, settings: None, torch.device('cpu'))
    image, given = np.zeros((4, 6, 3), np.uint8), words(3)
    one, other = cache(3, 2), cache(5, 7)
    for taught, expected in (((), 0), (one, 6), (one, 6), (other, 35), ((), 0), (one, 6)):
        (_, confidence, *_), = runner.submit([image], *given, 1, cache=taught).wait()
        assert (confidence == expected).all()
    # Once without keys, and once with them, however many.
    assert cpu_as_gpu == [(1, 4, 6), (1, 4, 6)]


def test_each_frame_is_segmented_by_its_own_words(runner):
    """Words stay in a graph's inputs from frame to frame, and must not outlive a change."""
    small, large = np.zeros((4, 6, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)
    one, other = words(3), words(7)
    for image, given, count in ((small, one, 3), (small, one, 3), (large, one, 3),
                                (large, other, 7), (small, other, 7), (small, one, 3),
                                (large, one, 3), (large, one, 3)):
        (_, confidence, *_), = runner.submit([image], *given, 1).wait()
        assert confidence.min() == confidence.max() == count


def test_graphs_that_are_not_used_are_given_up(runner, cpu_as_gpu):
    def submit(height):
        runner.submit([np.zeros((height, 6, 3), np.uint8)], *words(3), 1).wait()

    for height in range(1, gpu.MAX_GRAPHS + 1):
        submit(height)
    submit(1)
    submit(gpu.MAX_GRAPHS + 1)
    assert len(cpu_as_gpu) == gpu.MAX_GRAPHS + 1
    submit(1)
    assert len(cpu_as_gpu) == gpu.MAX_GRAPHS + 1
    submit(2)
    assert cpu_as_gpu[-1] == (1, 2, 6)


def test_what_cannot_be_captured_runs_all_the_same(runner, monkeypatch):
    def refuse(run, stream):
        raise RuntimeError('operation not permitted when stream is capturing')

    monkeypatch.setattr(gpu, '_capture', refuse)
    frame = np.full((4, 6, 3), 7, np.uint8)
    with pytest.warns(UserWarning, match=r'\(1, 4, 6, 3\).*not permitted') as warnings:
        for _ in range(2):
            (labels, *_), = runner.submit([frame], *words(3), 1).wait()
    assert labels.mean() == 7
    assert len(warnings) == 1


def test_running_out_of_memory_is_no_reason_to_go_on(runner, monkeypatch):
    def refuse(run, stream):
        raise torch.cuda.OutOfMemoryError('out of memory')

    monkeypatch.setattr(gpu, '_capture', refuse)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        runner.submit([np.zeros((4, 6, 3), np.uint8)], *words(3), 1)


@pytest.mark.parametrize('refine', ['off', 'pamr'])
def test_the_segmenter_through_the_runner(cpu_as_gpu, tmp_path, refine):
    """The same labels as without it, with words of every padding, and overlays."""
    segmenter = Segmenter.load('demo', device='cpu', cache_dir=tmp_path)
    images = [picture(120, 160, seed) for seed in range(2)]
    encoded = segmenter.encode(VOCABULARY, 'simple')
    settings = segmenter.resolve(
        Settings(short_side=96, unknown_threshold=0.3, refine=refine))
    expected = segmenter.submit(images, encoded, settings, 0.4).result()
    segmenter._graphs = gpu.GraphRunner(
        segmenter.compute, segmenter._constants, segmenter.device)
    actual = segmenter.submit(images, encoded, settings, 0.4).result()
    assert cpu_as_gpu == [(2, 120, 160)]
    for one, other in zip(actual, expected, strict=True):
        assert (one.labels == other.labels).mean() >= 0.9999
        assert np.abs(one.confidence.astype(int) - other.confidence).max() <= 1
        assert (np.abs(one.overlay.astype(int) - other.overlay) <= 1).mean() >= 0.999
    alone = segmenter.segment(images[0], encoded, settings)
    assert (alone.labels == expected[0].labels).mean() >= 0.9999 and alone.overlay is None
    assert alone.relevancy is None


def check_phrases(segmenter, expected, images):
    """Compare what phrases find with what a segmenter without graphs finds."""
    encoded = segmenter.encode(VOCABULARY, 'simple')
    for phrases in ['a red car'], ['tree', 'a red car', 'the bus'], ['a dog', 'a tree']:
        for one, other in zip(*(
                each.submit(images, encoded, sought=each.seek(phrases, encoded)).result()
                for each in (segmenter, expected)), strict=True):
            assert one.relevancy.shape == (len(phrases), *images[0].shape[:2])
            # Grey levels of a picture that a GPU resizes differ by one, now and then.
            assert np.abs(one.relevancy.astype(int) - other.relevancy).mean() < 0.5


def test_phrases_through_the_runner(cpu_as_gpu, tmp_path):
    """However many, they are found by one graph, or one more where they are words."""
    segmenter, plain = (Segmenter.load('demo', device='cpu', cache_dir=tmp_path,
                                       settings=Settings(short_side=96)) for _ in range(2))
    segmenter._graphs = gpu.GraphRunner(
        segmenter.compute, segmenter._constants, segmenter.device)
    check_phrases(segmenter, plain, [picture(120, 160, seed) for seed in range(2)])
    assert cpu_as_gpu == [(2, 120, 160)] * 2


@needs_gpu
def test_a_gpu_finds_what_a_cpu_finds(segmenters):
    images = [picture(480, 640, seed) for seed in range(2)]
    check_phrases(segmenters['cuda'], segmenters['fp32'], images)


def test_radio_through_the_runner(cpu_as_gpu, tmp_path):
    segmenter = Segmenter(radio.backbone(), cache_dir=tmp_path)
    images = [picture(150, 200, seed) for seed in range(2)]
    expected = segmenter.submit(images, radio.words()).result()
    segmenter._graphs = gpu.GraphRunner(
        segmenter.compute, segmenter._constants, segmenter.device)
    for _ in range(2):  # captured, then replayed
        actual = segmenter.submit(images, radio.words()).result()
        for one, other in zip(actual, expected, strict=True):
            assert (one.labels == other.labels).mean() >= 0.999
    assert cpu_as_gpu == [(2, 150, 200)]


def on_fake_gpu(module):
    """Replace the tensors of a module, in place, by ones on a GPU that have no values."""
    for part in module.modules():
        for tensors in part._parameters, part._buffers:
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device='cuda')
    return module


def merge_map_on_fake_gpu(plan, grid, output_size, device):
    with _disable_current_modes():
        merge = MergeMap(plan, grid, output_size)
    merge.vertical = torch.empty(merge.vertical.shape, device=device)
    merge.horizontal = torch.empty(merge.horizontal.shape, device=device)
    return merge


CHOICES = [('slide', 'off'), ('whole', 'off'), ('slide', 'pamr'), ('whole', 'pamr-output')]


@pytest.mark.parametrize('make, inference, refine', [
    *(pytest.param(make, *choice, id='-'.join((name, *choice)))
      for name, make in (('CLIP', make_backbone), ('RADIO', radio.backbone))
      for choice in CHOICES),
    pytest.param(groupvit.backbone, 'slide', 'pamr', id='GroupViT-slide-pamr')])
def test_all_of_the_work_is_on_the_gpu(monkeypatch, make, inference, refine):
    """Mixing devices, or asking for a value on the host, raises with fake tensors as well."""
    monkeypatch.setattr(segmenter_module, 'GraphRunner', lambda *arguments: None)
    for module in patches, segments:
        monkeypatch.setattr(module, 'merge_map', merge_map_on_fake_gpu)
    monkeypatch.setattr(joining, 'merge_map', merge_map_on_fake_gpu)
    monkeypatch.setattr(pixels, 'taps', pixels.taps.__wrapped__)
    monkeypatch.setattr(refine_module, 'neighbours', refine_module.neighbours.__wrapped__)
    monkeypatch.setattr(segments, 'covering', segments.covering.__wrapped__)
    backbone = make()
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_fake_gpu(backbone.visual)
        segmenter = Segmenter(backbone)
        settings = segmenter.resolve(
            Settings(inference, unknown_threshold=0.2, min_area=0.1, refine=refine))
        frames = torch.empty(2, 90, 120, 3, dtype=torch.uint8, device='cuda')
        text = torch.empty(32, backbone.embed_dim, device='cuda')
        query_class = torch.empty(32, dtype=torch.int64, device='cuda')
        sought = (torch.empty(8, backbone.embed_dim, device='cuda'),
                  torch.empty(4, backbone.embed_dim, device='cuda'),
                  torch.empty(8, 32, dtype=torch.bool, device='cuda'))
        decision = segmenter.compute(
            frames, text, query_class, settings, (), sought, bool(segmenter.segments))
        labels, confidence, relevancy, gathered = vars(decision).values()
        picture = gpu.blend(frames, labels, VOCABULARY.colors, 0.51)
    assert (gathered is not None) == bool(segmenter.segments)
    for tensor in filter(lambda each: each is not None, (*vars(decision).values(), picture)):
        assert tensor.is_cuda and tensor.dtype == torch.uint8 and len(tensor) == 2
    gpu._paint_table.cache_clear()


@contextmanager
def no_waiting():
    """Raise where the host waits for the GPU."""
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


@pytest.fixture(scope='module')
def segmenters(tmp_path_factory):
    cache = tmp_path_factory.mktemp('cache')
    return {precision: Segmenter.load('demo', device, precision, cache_dir=cache)
            for device, precision in (('cpu', 'fp32'), ('cuda', 'fp16'), ('cuda', 'bf16'))
            } | {'cuda': Segmenter.load('demo', 'cuda', 'fp32', cache_dir=cache)}


@needs_gpu
@pytest.mark.parametrize('name, share', [('cuda', 0.9999), ('fp16', 0.995), ('bf16', 0.95)])
def test_a_gpu_gives_the_labels_of_a_cpu(segmenters, name, share):
    from csa_ros.demo.scenes import Scene
    images = [Scene(seed).render(0.0).rgb for seed in range(2)]
    expected = segmenters['fp32'].submit(
        images, segmenters['fp32'].encode(VOCABULARY), overlay_alpha=0.5).result()
    encoded = segmenters[name].encode(VOCABULARY)
    for _ in range(2):  # captured, then replayed
        actual = segmenters[name].submit(images, encoded, overlay_alpha=0.5).result()
        for one, other in zip(actual, expected, strict=True):
            assert (one.labels == other.labels).mean() >= share
            assert (np.abs(one.overlay.astype(int) - other.overlay).max(-1) <= 1).mean() >= share


@needs_gpu
def test_frames_that_overlap_on_a_gpu_keep_their_results(segmenters):
    segmenter = segmenters['fp16']
    encoded = segmenter.encode(VOCABULARY)
    images = [picture(480, 640, seed) for seed in range(6)]
    expected = [segmenter.segment(image, encoded).labels for image in images]
    pending = [segmenter.submit([image], encoded) for image in images]
    for labels, one in zip(expected, pending):
        assert np.array_equal(one.result()[0].labels, labels)


@needs_gpu
@pytest.mark.parametrize('refine', ['off', 'pamr', 'pamr-output'])
def test_submitting_does_not_wait_for_a_gpu(segmenters, refine):
    segmenter = segmenters['fp16']
    encoded, image = segmenter.encode(VOCABULARY), picture(480, 640)
    settings = Settings(refine=refine)
    segmenter.segment(image, encoded, settings, overlay_alpha=0.5)
    with no_waiting():
        pending = segmenter.submit([image], encoded, settings, overlay_alpha=0.5)
    assert pending.result()[0].labels.shape == (480, 640)


@needs_gpu
@pytest.mark.parametrize('attention', ATTENTION)
def test_every_attention_runs_as_a_graph(attention, tmp_path, recwarn):
    on_cpu, on_gpu = (Segmenter.load('demo', device, 'fp32', attention, cache_dir=tmp_path)
                      for device in ('cpu', 'cuda'))
    image, encoded = picture(200, 300), on_gpu.encode(VOCABULARY)
    on_gpu.segment(image, encoded)
    with no_waiting():
        pending = on_gpu.submit([image], encoded)
    expected = on_cpu.segment(image, VOCABULARY).labels
    assert (pending.result()[0].labels == expected).mean() >= 0.99
    assert not [warning for warning in recwarn if 'CUDA graph' in str(warning.message)]


@needs_gpu
def test_refined_labels_of_a_gpu_are_those_of_a_cpu(segmenters):
    image, settings = picture(480, 640), Settings(refine='pamr')
    expected, actual = (
        segmenters[name].segment(image, segmenters[name].encode(VOCABULARY), settings).labels
        for name in ('fp32', 'cuda'))
    assert (actual == expected).mean() >= 0.999


@needs_gpu
@pytest.mark.parametrize('refine', ['off', 'pamr', 'pamr-output'])
def test_no_graph_had_to_be_given_up(segmenters, recwarn, refine):
    segmenter = segmenters['fp16']
    segmenter.segment(
        picture(200, 300), segmenter.encode(VOCABULARY), Settings(refine=refine))
    assert not [warning for warning in recwarn if 'CUDA graph' in str(warning.message)]


@needs_gpu
@pytest.mark.parametrize('refine', ['off', 'pamr'])
def test_pictures_of_many_sizes_need_no_capture(segmenters, refine, monkeypatch):
    monkeypatch.setattr(gpu, '_capture', None)
    segmenter = Segmenter(segmenters['cuda'].backbone, capture=False)
    encoded, settings = segmenter.encode(VOCABULARY), Settings(refine=refine)
    for size in (120, 160), (200, 300):
        image = picture(*size)
        expected = segmenters['fp32'].segment(image, VOCABULARY, settings).labels
        assert (segmenter.segment(image, encoded, settings).labels == expected).mean() >= 0.99


@pytest.fixture(scope='module')
def radios():
    """Return what segments with the small RADIO, by where and in which type."""
    return {name: Segmenter(radio.on(device, dtype), capture=name != 'eager')
            for name, device, dtype in (
                ('cpu', 'cpu', torch.float32), ('cuda', 'cuda', torch.float32),
                ('eager', 'cuda', torch.float32), ('fp16', 'cuda', torch.float16))}


@needs_gpu
@pytest.mark.parametrize('name, reference, share', [
    ('cuda', 'eager', 0.999), ('cuda', 'cpu', 0.99), ('fp16', 'cuda', 0.95)])
def test_radio_gives_the_labels_of_others(radios, name, reference, share, recwarn):
    """A random tower is nowhere sure, so that rounding decides more often than elsewhere."""
    images = [picture(150, 200, seed) for seed in range(2)]
    expected = radios[reference].submit(
        images, radio.words(radios[reference].device)).result()
    words = radio.words(radios[name].device)
    for _ in range(2):  # captured, then replayed
        actual = radios[name].submit(images, words).result()
        for one, other in zip(actual, expected, strict=True):
            assert (one.labels == other.labels).mean() >= share
    assert not [warning for warning in recwarn if 'CUDA graph' in str(warning.message)]


@needs_gpu
def test_frames_of_a_batch_do_not_see_each_other_on_a_gpu(radios):
    words = radio.words('cuda')
    images = [picture(150, 200, seed) for seed in range(3)]
    together = radios['cuda'].submit(images, words).result()
    for image, result in zip(images, together, strict=True):
        alone = radios['cuda'].segment(image, words)
        assert (alone.labels == result.labels).mean() >= 0.999


@needs_gpu
def test_submitting_to_radio_does_not_wait_for_a_gpu(radios):
    words, image = radio.words('cuda'), picture(150, 200)
    radios['fp16'].segment(image, words)
    with no_waiting():
        pending = radios['fp16'].submit([image], words)
    assert pending.result()[0].labels.shape == (150, 200)
