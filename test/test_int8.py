"""The image tower in 8-bit integers: about the same features, the same labels, one export."""

from contextlib import contextmanager
from dataclasses import replace
import logging
import shutil
import sys
import warnings

from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.labels.windows import plan_windows
from csa_ros.model import int8
from csa_ros.model.backbone import int8_missing
from csa_ros.model.backbone import INT8_PACKAGES
from csa_ros.model.backbone import load_backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.errors import ModelError
from csa_ros.model.int8 import Int8Encoder
from csa_ros.model.text import TextEncoder
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import Vocabulary
import numpy as np
import pytest
import radio
import torch
from torch.nn import functional as F
from torch.torch_version import TorchVersion
from towers import make_backbone

# Weights of a normal distribution in 7 bits are off by about 1.6 %, which nine layers in a row
# bring to 5 %, or a cosine of 0.9988 with the exact feature. Twice that error is a margin.
COSINE = 0.995


needs_onnx = pytest.mark.skipif(bool(int8_missing()), reason=int8_missing())


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """Return one cache for the module: its towers are exported once."""
    return tmp_path_factory.mktemp('cache')


@pytest.fixture
def encoder(cache):
    return Int8Encoder(make_backbone(), cache_dir=cache)


@pytest.fixture
def copied_export(cache, encoder, monkeypatch):
    """Let exports be copies of one, which is that of `encoder` for 32 pixels a side."""
    encoder(images(1))
    whole = cache / 'onnx' / f'{encoder._key(32, 32)}.onnx'
    monkeypatch.setattr(
        Int8Encoder, '_export', lambda self, path, *size: shutil.copy(whole, path))


@contextmanager
def no_export():
    """Fail where a tower is exported."""
    def fail(*args, **kwargs):
        raise AssertionError('the tower was exported again')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Int8Encoder, '_export', fail)
        yield


def images(count, height=32, width=32):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def files(folder):
    return sorted(path.name for path in (folder / 'onnx').iterdir())


@needs_onnx
@pytest.mark.parametrize('attention, size', [
    ('csa', (32, 32)), ('csa', (40, 67)), ('vanilla', (48, 48)), ('naclip', (48, 48)),
    ('sc-clip', (48, 48)), ('gem', (48, 48))])
def test_features_are_close_to_those_in_float32(cache, attention, size):
    pixels = images(3, *size)
    backbone = make_backbone()
    found = Int8Encoder(backbone, attention, cache)(pixels)
    expected = DenseEncoder(backbone, attention)(pixels)
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    # Where SC-CLIP compares with a threshold, a patch in twenty may fall on the other side of it.
    exempt = 0.05 if attention == 'sc-clip' else 0.0
    assert (found * expected).sum(-1).quantile(exempt) > COSINE
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(found.shape[:-1]))


@needs_onnx
def test_grid_is_that_in_float32(encoder):
    assert encoder.grid(40, 67) == (5, 8) == encoder(images(1, 40, 67)).shape[1:3]


@needs_onnx
def test_features_do_not_depend_on_the_windows_beside(encoder):
    """Another window, of a far greater range, changes nothing."""
    pixels = images(7)
    pixels[6] *= 100
    features = encoder(pixels)
    for count in range(1, 7):
        assert torch.equal(encoder(pixels[:count]), features[:count])


@needs_onnx
def test_linear_layers_alone_are_quantised(encoder, cache):
    import onnx
    encoder(images(1))
    model = onnx.load(cache / 'onnx' / f'{encoder._key(32, 32)}.onnx')
    kinds = [node.op_type for node in model.graph.node]
    # Two blocks of four layers, and the projection.
    assert kinds.count('MatMulInteger') == 9
    # The embedding; queries by keys and their result by values, twice in the block with CSA.
    assert kinds.count('MatMul') == 1 + 2 + 4
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    weights = [weight for weight in weights if weight.dtype == 'int8' and weight.ndim == 2]
    assert len(weights) == 9
    # In 7 bits: products of 8 overflow on some CPUs.
    assert all(32 < abs(weight.astype(int)).max() <= 64 for weight in weights)


@needs_onnx
def test_a_tower_is_exported_once(copied_export, tmp_path):
    expected = Int8Encoder(make_backbone(), cache_dir=tmp_path)(images(2))
    kept, = files(tmp_path)
    assert kept.endswith('.onnx')
    with no_export():
        again = Int8Encoder(make_backbone(), cache_dir=tmp_path)
        assert torch.equal(again(images(2)), expected)
        with pytest.raises(AssertionError, match='exported again'):
            again(images(2, 48, 48))
    assert files(tmp_path) == [kept]


@needs_onnx
def test_what_differs_has_a_file_of_its_own(copied_export, tmp_path, monkeypatch):
    Int8Encoder(make_backbone(), 'csa', tmp_path)._session(32, 32)
    Int8Encoder(make_backbone(), 'csa', tmp_path)._session(48, 32)
    Int8Encoder(make_backbone(), 'vanilla', tmp_path)._session(32, 32)
    Int8Encoder(make_backbone(seed=1), 'csa', tmp_path)._session(32, 32)
    Int8Encoder(make_backbone(), 'csa', tmp_path, 'drop')._session(32, 32)
    monkeypatch.setattr('onnxruntime.__version__', '0.0')
    Int8Encoder(make_backbone(), 'csa', tmp_path)._session(32, 32)
    assert len(files(tmp_path)) == 6


@needs_onnx
@pytest.mark.parametrize('damage', [
    lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    lambda path: path.write_bytes(b''),
    lambda path: (path.unlink(), path.mkdir()),
], ids=['truncated', 'empty', 'a folder'])
def test_a_damaged_file_does_not_matter(copied_export, tmp_path, damage):
    expected = Int8Encoder(make_backbone(), cache_dir=tmp_path)(images(1))
    name, = files(tmp_path)
    damage(tmp_path / 'onnx' / name)
    with warnings.catch_warnings():
        # A folder of that name cannot be replaced.
        warnings.filterwarnings('ignore', 'the exported image tower is not kept')
        assert torch.equal(Int8Encoder(make_backbone(), cache_dir=tmp_path)(images(1)), expected)
    assert files(tmp_path) == [name]
    if (tmp_path / 'onnx' / name).is_file():
        with no_export():
            Int8Encoder(make_backbone(), cache_dir=tmp_path)(images(1))


@needs_onnx
def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('no such operator')

    monkeypatch.setattr(torch.onnx, 'export', fail)
    with pytest.raises(RuntimeError, match='no such operator'):
        Int8Encoder(make_backbone(), cache_dir=tmp_path)(images(1))
    assert files(tmp_path) == []


@needs_onnx
def test_a_cache_that_cannot_be_written_is_no_error(copied_export, tmp_path, encoder):
    blocked = tmp_path / 'file'
    blocked.write_text('')
    with pytest.warns(UserWarning, match='not kept on disk.*file'):
        features = Int8Encoder(make_backbone(), cache_dir=blocked)(images(1))
    assert torch.equal(features, encoder(images(1)))


@needs_onnx
def test_exporting_is_quiet(tmp_path, capfd):
    """Nothing is printed, and logging of the whole process is not set up on the way."""
    handlers = list(logging.getLogger().handlers)
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        Int8Encoder(make_backbone(), cache_dir=tmp_path)(images(1))
    assert capfd.readouterr() == ('', '')
    assert logging.getLogger().handlers == handlers


@needs_onnx
def test_as_many_threads_as_torch(encoder, monkeypatch):
    import onnxruntime
    seen = []
    make = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, 'InferenceSession', lambda path, options, **kwargs: (
        seen.append(options.intra_op_num_threads), make(path, options, **kwargs))[1])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        encoder(images(1))
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


@needs_onnx
def test_labels_of_the_demo_are_those_of_float32(cache):
    exact = Segmenter.load('demo', 'cpu', 'fp32', cache_dir=cache)
    fast = Segmenter.load('demo', 'cpu', 'int8', cache_dir=cache)
    words = exact.encode(Vocabulary.parse(CLASSES))
    sought = exact.seek('a car', words)
    for seed, settings in enumerate((Settings(), Settings(refine='pamr'))):
        rgb = Scene(seed).render(1.0).rgb
        actual, expected = (segmenter.segment(rgb, words, settings, sought=sought)
                            for segmenter in (fast, exact))
        assert 0.99 <= (actual.labels == expected.labels).mean() < 1
        difference = np.abs(actual.relevancy.astype(int) - expected.relevancy)
        assert 0 < difference.mean() < 4


@needs_onnx
def test_radio_with_radseg_runs_in_int8(cache):
    """What is exported ends before windows are averaged; in a random tower classes are close."""
    full, small = (Segmenter(radio.backbone(quantized=quantized), cache_dir=cache)
                   for quantized in (False, True))
    assert small.encoder.joining.whole and small.settings == full.settings
    rgb = Scene(1).render(1.0, (200, 150)).rgb
    pixels = full.pixels([rgb], full.settings)
    plan = plan_windows(*pixels.shape[-2:], full.settings.crop, full.settings.stride)
    expected, actual = (
        each.encoder.joining.join(each.features(pixels, full.settings), plan)
        for each in (full, small))
    assert F.cosine_similarity(actual, expected, dim=-1).min() > COSINE
    labels = [each.segment(rgb, radio.words()).labels for each in (full, small)]
    assert (labels[0] == labels[1]).mean() > 0.95


@needs_onnx
def test_whole_frames_of_several_sizes(cache):
    backbone = replace(make_backbone(), quantized=True)
    settings = Settings(inference='whole')
    fast = Segmenter(backbone, settings=settings, cache_dir=cache)
    exact = Segmenter(make_backbone(), settings=settings, cache_dir=cache)
    for height, width in ((48, 64), (64, 48), (48, 64)):
        rgb = Scene(0).render(1.0, (width, height)).rgb
        pixels = fast.pixels([rgb], fast.settings)
        features = fast.features(pixels, fast.settings)
        expected = exact.features(pixels, exact.settings)
        assert (features * expected).sum(-1).min() > COSINE
        assert fast.segment(rgb, Vocabulary.parse(['sky', 'road'])).labels.shape == (height, width)


@needs_onnx
def test_words_are_those_of_float32(tmp_path, monkeypatch):
    """The text tower stays as it is, and what it encoded before is not encoded again."""
    words = Vocabulary.parse(['sky', 'road'])
    exact = Segmenter.load('demo', 'cpu', 'fp32', cache_dir=tmp_path).encode(words, 'simple')
    monkeypatch.setattr(TextEncoder, '_encode_queries', None)
    fast = Segmenter.load('demo', 'cpu', 'int8', cache_dir=tmp_path).encode(words, 'simple')
    assert torch.equal(fast.features, exact.features)


@needs_onnx
def test_the_node_segments_in_int8(graph, tmp_path, cache):
    """The demo model over DDS, with the parameter as a user sets it."""
    segmenters = []

    def load(*args, **kwargs):
        segmenters.append(Segmenter.load(*args, **kwargs, cache_dir=cache))
        return segmenters[-1]

    graph.start(tmp_path, load=load, model='demo', device='cpu', precision='int8').flow()
    assert isinstance(segmenters[0].encoder, Int8Encoder)
    assert graph.get('precision') == 'int8'
    assert (graph.labels[-1].width, graph.labels[-1].height) == (64, 48)


@pytest.mark.parametrize('package', INT8_PACKAGES)
def test_a_missing_package_is_named_with_the_command(monkeypatch, package):
    for name in INT8_PACKAGES:
        monkeypatch.setitem(sys.modules, name, None if name == package else sys)
    with pytest.raises(ModelError, match=f'int8.*{package} cannot.*"pip install onnx onnxruntime'):
        load_backbone('demo', 'cpu', 'int8')


def test_a_torch_without_the_exporter_is_named(monkeypatch):
    monkeypatch.setattr(torch, '__version__', TorchVersion('2.5.1+cpu'))
    with pytest.raises(ModelError, match=r"PyTorch is 2\.5\.1\+cpu, before 2\.6.*'torch>=2\.6'"):
        load_backbone('demo', 'cpu', 'int8')


def test_int8_is_for_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(ModelError, match="'int8' needs a CPU.*use 'fp16'"):
        load_backbone('demo', 'auto', 'int8')


def test_missing_packages_matter_to_int8_alone(monkeypatch):
    for name in INT8_PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    assert not load_backbone('demo', 'cpu', 'fp32').quantized


def test_a_tower_beyond_the_format_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(int8, 'MAX_BYTES', 1024)
    with pytest.raises(ModelError, match="tiny has .* GiB of weights.*'bf16' or 'fp32'"):
        Int8Encoder(make_backbone(), cache_dir=tmp_path)


def test_unknown_attention_is_refused(tmp_path):
    with pytest.raises(ModelError, match="attention 'cs'"):
        Int8Encoder(make_backbone(), 'cs', tmp_path)
