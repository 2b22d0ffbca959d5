"""Images and words to labels, end to end, against a plain loop over windows."""

from concurrent.futures import ThreadPoolExecutor
import subprocess
import sys

from csa_ros import draw
from csa_ros import segmenter as segmenter_module
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.errors import ModelError
from csa_ros.model.reuse import WindowMemory
from csa_ros.model.text import PromptError
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
from csa_ros.vocabulary import VocabularyError
import cv2
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from towers import make_backbone
from towers import MEAN
from towers import STD

VOCABULARY = Vocabulary.parse(['road', 'car|truck', 'sky'])
PROMPTS = ('a photo of a {}.',)


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def words(segmenter):
    return segmenter.encode(VOCABULARY, PROMPTS)


def picture(height, width, seed=0):
    """Return a smooth random picture: real ones are smooth, and noise hides mistakes in size."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def plain_probabilities(segmenter, words, rgb, size, crop, stride):
    """Return (C, H, W) probabilities, window by window as the paper's code has it."""
    height, width = size
    frame = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    frame = (frame.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    pixels = torch.from_numpy(frame.transpose(2, 0, 1).copy())[None]
    encoder = DenseEncoder(segmenter.backbone)
    total = torch.zeros(len(words.features), height, width)
    count = torch.zeros(height, width)
    for top in range(0, max(height - crop, 0) + stride, stride):
        for left in range(0, max(width - crop, 0) + stride, stride):
            bottom, right = min(top + crop, height), min(left + crop, width)
            rows = slice(max(bottom - crop, 0), bottom)
            columns = slice(max(right - crop, 0), right)
            window = pixels[:, :, rows, columns]
            logits = (encoder(window) @ words.features.T).permute(0, 3, 1, 2)
            total[:, rows, columns] += F.interpolate(
                logits, window.shape[-2:], mode='bilinear')[0]
            count[rows, columns] += 1
            if right == width:
                break
        if bottom == height:
            break
    logits = F.interpolate((total / count)[None], rgb.shape[:2], mode='bilinear')[0]
    queries = (logits * 40).softmax(0)
    return torch.stack([queries[words.query_class == i].amax(0)
                        for i in range(len(words.vocabulary))]).numpy()


@pytest.mark.parametrize('shape, size, options', [
    ((60, 80), (48, 64), {}),
    ((97, 71), (66, 48), {}),
    ((90, 50), (58, 32), {'short_side': 32, 'crop': 24, 'stride': 7}),
    ((300, 30), (480, 48), {}),
    ((20, 30), (24, 36), {'short_side': 24}),
])
def test_labels_equal_a_plain_loop(segmenter, words, shape, size, options):
    rgb = picture(*shape)
    settings = segmenter.resolve(Settings(**options))
    expected = plain_probabilities(segmenter, words, rgb, size, settings.crop, settings.stride)
    result = segmenter.segment(rgb, words, settings)
    assert (result.labels == expected.argmax(0)).mean() >= 0.9999
    assert np.abs(result.confidence - expected.max(0) * 255).max() <= 0.51
    assert len(np.unique(result.labels)) > 1


def test_whole_frame_is_one_pass(segmenter, words):
    rgb = picture(50, 90)
    frame = cv2.resize(rgb, (88, 48), interpolation=cv2.INTER_LINEAR)
    frame = (frame.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    features = DenseEncoder(segmenter.backbone)(torch.from_numpy(frame.transpose(2, 0, 1))[None])
    assert features.shape == (1, 6, 11, 32)
    logits = F.interpolate((features @ words.features.T).permute(0, 3, 1, 2), (50, 90),
                           mode='bilinear')[0]
    expected = words.query_class[logits.argmax(0)].numpy()
    result = segmenter.segment(rgb, words, Settings('whole'))
    assert (result.labels == expected).mean() >= 0.9999


@given(height=st.integers(1, 90), width=st.integers(1, 90), inference=st.sampled_from(
    ['slide', 'whole']), short_side=st.integers(8, 70))
@hypothesis_settings(max_examples=25)
def test_any_size_gives_labels_of_that_size(segmenter, words, height, width, inference,
                                            short_side):
    settings = Settings(inference, short_side=short_side)
    result = segmenter.segment(picture(height, width), words, settings)
    for array in (result.labels, result.confidence):
        assert array.shape == (height, width) and array.dtype == np.uint8
    assert result.labels.max() < len(VOCABULARY)


def test_labels_follow_the_order_of_the_vocabulary(segmenter, words):
    rgb = picture(60, 80)
    turned = segmenter.encode(Vocabulary.parse(['sky', 'car|truck', 'road']), PROMPTS)
    labels = segmenter.segment(rgb, words).labels
    assert np.array_equal(segmenter.segment(rgb, turned).labels, 2 - labels)


def test_a_vocabulary_is_encoded_with_the_default_prompts(segmenter):
    rgb = picture(60, 80)
    direct = segmenter.segment(rgb, VOCABULARY)
    encoded = segmenter.encode(VOCABULARY)
    assert len(encoded.prompts) == 80
    assert np.array_equal(direct.labels, segmenter.segment(rgb, encoded).labels)


@pytest.mark.parametrize('words', [
    'road, car|truck, sky', ['road', 'car|truck', 'sky'], ('road', 'car | truck', 'sky'),
    "[road, 'car|truck', sky]", VOCABULARY])
def test_words_in_every_form_are_encoded_once(segmenter, monkeypatch, words):
    rgb = picture(60, 80)
    expected = segmenter.segment(rgb, segmenter.encode(VOCABULARY)).labels
    encoded = []
    encode = segmenter._text.encode
    monkeypatch.setattr(segmenter._text, 'encode',
                        lambda *given: encoded.append(given) or encode(*given))
    fresh = Segmenter(segmenter.backbone)
    fresh._text = segmenter._text
    for _ in range(2):
        assert np.array_equal(fresh.segment(rgb, words).labels, expected)
    assert np.array_equal(fresh.submit([rgb], words).result()[0].labels, expected)
    settings = fresh.resolve(Settings())
    features = fresh.features(fresh.pixels([rgb], settings), settings)
    assert np.array_equal(fresh.decide(features, words, rgb.shape[:2], settings).labels[0],
                          expected)
    assert len(encoded) == 1
    assert fresh.encode(words).vocabulary == VOCABULARY
    fresh.check(words)


@pytest.mark.parametrize('words', [
    None, 5, {'sky', 'road'}, {'sky': 0}, b'sky', ['sky', 1], [['sky']], np.array(['sky']),
    (word for word in ['sky'])])
def test_what_is_no_words_says_what_to_give(segmenter, words):
    for use in segmenter.encode, segmenter.check, lambda given: segmenter.segment(
            picture(60, 80), given):
        with pytest.raises(ValueError, match=f'of type {type(words).__name__}: give a list of '
                           r"strings such as \['sky', 'road'\], one string .*Segmenter.encode"):
            use(words)


def test_words_that_are_no_vocabulary_say_why(segmenter):
    for words in ['road', 'road'], 'road,,sky', [], '':
        with pytest.raises(VocabularyError):
            segmenter.segment(picture(60, 80), words)


def test_threshold_makes_pixels_unknown(segmenter, words):
    rgb = picture(60, 80)
    plain = segmenter.segment(rgb, words)
    threshold = float(np.median(plain.confidence)) / 255
    result = segmenter.segment(rgb, words, Settings(unknown_threshold=threshold))
    unknown = result.labels == 255
    assert 0.2 < unknown.mean() < 0.8
    assert np.array_equal(result.labels[~unknown], plain.labels[~unknown])
    assert (plain.confidence[unknown] <= round(threshold * 255)).all()


def test_windows_in_several_batches(segmenter, words, monkeypatch):
    rgb = picture(60, 120)
    expected = segmenter.segment(rgb, words)
    batches = []
    segmenter.backbone.clip.visual.ln_pre.register_forward_pre_hook(
        lambda module, inputs: batches.append(len(inputs[0])))
    monkeypatch.setattr(segmenter_module, 'WINDOWS_PER_BATCH', 4)
    result = segmenter.segment(rgb, words)
    assert max(batches) == 4 and len(batches) > 1
    assert (result.labels == expected.labels).mean() >= 0.9999


def test_array_layout_does_not_matter(segmenter, words):
    rgb = picture(60, 80)
    bgr = rgb[..., ::-1].copy()
    expected = segmenter.segment(rgb, words).labels
    assert np.array_equal(segmenter.segment(bgr[..., ::-1], words).labels, expected)
    wide = np.zeros((60, 100, 3), np.uint8)
    wide[:, :80] = rgb
    assert np.array_equal(segmenter.segment(wide[:, :80], words).labels, expected)


def test_attention_is_chosen_by_name(words, tmp_path):
    rgb = picture(60, 80)
    csa, vanilla = (
        Segmenter(make_backbone(), attention, cache_dir=tmp_path).segment(rgb, words)
        for attention in ('csa', 'vanilla'))
    assert not np.array_equal(csa.confidence, vanilla.confidence)
    with pytest.raises(ModelError, match="'cas': choose one of auto, csa, vanilla"):
        Segmenter(make_backbone(), 'cas')


def test_encoding_beside_segmenting(segmenter, words):
    rgb = picture(60, 80)
    expected = segmenter.segment(rgb, words)
    entries = [f'thing number {i}' for i in range(8)]
    with ThreadPoolExecutor(2) as pool:
        encoding = pool.submit(segmenter.encode, Vocabulary.parse(entries), PROMPTS)
        frames = [pool.submit(segmenter.segment, rgb, words) for _ in range(4)]
        assert encoding.result().features.shape == (8, 32)
        for frame in frames:
            assert np.array_equal(frame.result().labels, expected.labels)


def test_settings_come_from_the_model(segmenter):
    settings = segmenter.resolve(Settings())
    assert (settings.short_side, settings.crop, settings.stride) == (48, 32, 16)
    assert segmenter.resolve(Settings(crop=40)).stride == 20
    assert segmenter.resolve(Settings(crop=40, stride=3)).stride == 3
    assert segmenter.resolve(settings) == settings


@pytest.mark.parametrize('options, message', [
    ({'inference': 'slides'}, "inference is 'slides': use 'slide' or 'whole'"),
    ({'short_side': 0}, 'short_side is 0 pixels'),
    ({'crop': -8}, 'crop is -8 pixels'),
    ({'stride': 0}, 'stride is 0 pixels'),
    ({'logit_scale': 0.0}, 'logit_scale is 0.0'),
    ({'logit_scale': float('nan')}, 'logit_scale is nan'),
    ({'logit_scale': float('inf')}, 'logit_scale is inf'),
    ({'unknown_threshold': 1.1}, 'unknown_threshold is 1.1'),
    ({'min_area': -0.1}, 'min_area is -0.1'),
    ({'refine': 'crf'}, "refine is 'crf': use 'off', 'pamr', 'pamr-output'"),
    ({'crop': 35}, 'multiple of its patch size, 8, such as 32'),
    ({'stride': 33}, 'make stride at most crop'),
    ({'short_side': 7}, 'at least one patch of tiny, 8'),
])
def test_bad_settings_are_refused(segmenter, words, options, message):
    with pytest.raises(ValueError, match=message):
        segmenter.segment(picture(60, 80), words, Settings(**options))


@pytest.mark.parametrize('image, message', [
    (np.zeros((60, 80), np.uint8), r'shape \(60, 80\)'),
    (np.zeros((60, 80, 4), np.uint8), r'shape \(60, 80, 4\)'),
    (np.zeros((60, 80, 3), np.float32), 'type float32'),
    (np.zeros((0, 80, 3), np.uint8), 'is empty'),
    ([[1, 2, 3]], 'is list'),
    (torch.zeros(60, 80, 3, dtype=torch.uint8), 'is Tensor'),
])
def test_bad_images_are_refused(segmenter, words, image, message):
    with pytest.raises(ValueError, match=message):
        segmenter.segment(image, words)


def test_bad_prompts_are_refused(segmenter):
    with pytest.raises(PromptError):
        segmenter.encode(VOCABULARY, 'imagenet')


def test_importing_the_package_is_cheap_and_needs_no_ros():
    code = """
import sys
sys.modules['rclpy'] = None
import csa_ros
assert 'torch' not in sys.modules
assert csa_ros.Segmenter.__module__ == 'csa_ros.segmenter'
assert csa_ros.Vocabulary.__module__ == 'csa_ros.vocabulary'
assert not any(name.endswith('_msgs') for name in sys.modules)
try:
    csa_ros.Camera
except AttributeError as error:
    assert 'Camera' in str(error)
else:
    raise SystemExit('no AttributeError')
"""
    subprocess.run([sys.executable, '-c', code], check=True)


def test_a_batch_gives_what_its_images_give_alone(segmenter, words):
    images = [picture(60, 80, seed) for seed in range(3)]
    results = segmenter.submit(images, words, overlay_alpha=0.5).result()
    for image, result in zip(images, results, strict=True):
        alone = segmenter.segment(image, words, overlay_alpha=0.5)
        assert (result.labels == alone.labels).mean() >= 0.9999
        assert np.abs(result.confidence.astype(int) - alone.confidence).max() <= 1
        assert np.array_equal(result.overlay, draw.overlay(
            image, result.labels, VOCABULARY.colors, 0.5))
    assert not np.array_equal(results[0].labels, results[1].labels)


def test_the_overlay_is_made_only_when_asked_for(segmenter, words):
    assert segmenter.segment(picture(60, 80), words).overlay is None


@pytest.mark.parametrize('images, reason', [
    ([], 'give at least one'),
    ([picture(60, 80), picture(60, 81)], r'\(60, 80, 3\) and \(60, 81, 3\)'),
    ([picture(60, 80), None], 'NoneType'),
])
def test_batches_that_are_none_are_refused(segmenter, words, images, reason):
    with pytest.raises(ValueError, match=reason):
        segmenter.submit(images, words)


def test_what_a_device_computes_is_what_the_host_does(segmenter, words):
    """The GPU's path, run on a CPU: resized on the device, words padded."""
    images = [picture(97, 131, seed) for seed in range(2)]
    text = F.pad(words.features, (0, 0, 2, 3))
    query_class = F.pad(words.query_class, (2, 3), value=UNKNOWN)
    settings = segmenter.resolve(Settings(unknown_threshold=0.2, min_area=0.1))
    decision = segmenter.compute(
        torch.from_numpy(np.stack(images)), text, query_class, settings)
    results = segmenter.submit(images, words, settings).result()
    assert len(np.unique(decision.labels)) > 1
    labels = np.stack([result.labels for result in results])
    confidence = np.stack([result.confidence for result in results]).astype(int)
    assert (decision.labels.numpy() == labels).mean() >= 0.9999
    assert np.abs(decision.confidence.numpy() - confidence).max() <= 1


@pytest.mark.parametrize('inference, refine', [
    ('slide', 'off'), ('whole', 'off'), ('slide', 'pamr'), ('whole', 'pamr-output')])
def test_nothing_waits_for_the_device(segmenter, words, inference, refine):
    """Fake tensors have no values, so that whatever needs one on the host raises."""
    settings = segmenter.resolve(
        Settings(inference, unknown_threshold=0.2, min_area=0.1, refine=refine))
    real = torch.zeros(2, 60, 80, 3, dtype=torch.uint8)
    segmenter.compute(real, words.features, words.query_class, settings)  # fills the caches
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        decision = segmenter.compute(
            *map(mode.from_tensor, (real, words.features, words.query_class)), settings)
        assert decision.labels.shape == decision.confidence.shape == (2, 60, 80)
        with pytest.raises(DataDependentOutputException):
            decision.labels.max().item()


def test_a_memory_saves_encoding_what_has_not_changed(segmenter, words):
    settings = segmenter.resolve(Settings(reuse_threshold=2.0, reuse_frames=10))
    memory = WindowMemory()
    rgb = picture(48, 64)
    plain = segmenter.segment(rgb, words, settings)
    first = segmenter.segment(rgb, words, settings, memory=memory)
    encoded = memory.windows_encoded
    again = segmenter.segment(np.maximum(rgb, 1) - 1, words, settings, memory=memory)
    assert memory.windows_encoded - encoded < encoded == memory.windows_seen / 2
    assert np.array_equal(first.labels, plain.labels)
    assert (again.labels == plain.labels).mean() >= 0.99
    changed = picture(48, 64, seed=1)
    result = segmenter.segment(changed, words, settings, memory=memory)
    assert np.array_equal(result.labels, segmenter.segment(changed, words, settings).labels)


def test_a_memory_without_a_threshold_forgets(segmenter, words):
    """Else it would take what it holds for one frame old when the threshold comes back."""
    settings = segmenter.resolve(Settings(reuse_threshold=2.0))
    memory, rgb = WindowMemory(), picture(48, 64)
    segmenter.segment(rgb, words, settings, memory=memory)
    seen = memory.windows_seen
    segmenter.segment(rgb, words, memory=memory)
    assert memory.windows_seen == memory.windows_encoded == seen
    segmenter.segment(rgb, words, settings, memory=memory)
    assert memory.windows_encoded == 2 * seen
