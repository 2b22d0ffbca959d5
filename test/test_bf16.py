"""When `precision: auto` is bfloat16 on a CPU: its instructions, the clock, and what is said."""

from itertools import accumulate
from itertools import chain
import re

from csa_ros.choices import LEAST_SPEEDUP
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.model import bf16
from csa_ros.model.attention.mixing import as_trained
from csa_ros.model.attention.positions import smoothed
from csa_ros.model.backbone import load_backbone
from csa_ros.model.towers.architecture import build
from csa_ros.model.towers.trunk import parts_of
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import Vocabulary
from graph import ACTIVATE
from graph import CLEANUP
from graph import CONFIGURE
from graph import DEACTIVATE
from graph import wait_for
import numpy as np
import open_clip
import pytest
from rcl_interfaces.msg import Log
import torch
from towers import make_clip
from towers import make_config
from towers import register

# What Linux says of AMD's Zen 4, Intel's Sapphire Rapids, Arm's Neoverse V1, and of two without
# such instructions, in part.
ZEN_4 = ('processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx512f avx512_bf16 vaes\n'
         'bugs\t\t: sysret_ss_attrs\n\nprocessor\t: 1\n')
SAPPHIRE_RAPIDS = 'flags\t\t: fpu avx512f amx_bf16 avx512_fp16 amx_tile amx_int8\n'
NEOVERSE_V1 = 'processor\t: 0\nFeatures\t: fp asimd svebf16 i8mm bf16 dgh\nCPU part\t: 0xd40\n'
ZEN_3 = 'model name\t: no bf16\nflags\t\t: fpu avx2 vaes\nbugs\t\t: bf16\n'
NEOVERSE_N1 = 'processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0c\n'


@pytest.fixture(autouse=True)
def forget():
    """Let each test measure anew."""
    bf16._measure.cache_clear()
    yield
    bf16._measure.cache_clear()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return the name of a tiny model."""
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIG_PATHS',
                        list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIGS', {})
    register(tmp_path, 'Tiny')
    torch.save(make_clip().state_dict(), tmp_path / 'tiny.pt')
    return f"Tiny:{tmp_path / 'tiny.pt'}"


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """
    Return a function that puts another processor in place.

    `seconds` is how long a block takes on it in float32 and in bfloat16; without, nothing may be
    timed.
    """
    def put(info, *seconds):
        (tmp_path / 'cpuinfo').write_text(info)
        monkeypatch.setattr(bf16, 'CPU_INFO', tmp_path / 'cpuinfo')
        monkeypatch.setattr(bf16, 'perf_counter', clock(*seconds) if seconds else None)

    return put


def clock(full, half):
    """Return a clock by which blocks take so long, the first and one more of each longer."""
    rounds = [(9.0, 90.0), (50.0, half), (full, 50.0), *[(full, half)] * (bf16.ROUNDS - 2)]
    # It is read before and after each block.
    passing = chain.from_iterable((0.0, seconds) for both in rounds for seconds in both)
    return accumulate(passing).__next__


@pytest.mark.parametrize('info, expected', [
    (ZEN_4, True), (SAPPHIRE_RAPIDS, True), (NEOVERSE_V1, True), (ZEN_3, False),
    (NEOVERSE_N1, False), ('', False),
], ids=['Zen 4', 'Sapphire Rapids', 'Neoverse V1', 'Zen 3', 'Neoverse N1', 'nothing'])
def test_instructions_are_those_that_linux_lists(processor, info, expected):
    processor(info)
    assert bf16.has_instructions() is expected


def test_without_linux_there_are_no_instructions(monkeypatch, tmp_path):
    monkeypatch.setattr(bf16, 'CPU_INFO', tmp_path / 'missing')
    assert not bf16.has_instructions()


@pytest.mark.parametrize('info, precision, measure', [
    (ZEN_3, 'auto', True),
    (SAPPHIRE_RAPIDS, 'auto', False),
    (SAPPHIRE_RAPIDS, 'fp32', True),
    (SAPPHIRE_RAPIDS, 'bf16', True),
])
def test_nothing_is_measured_where_nothing_is_to_be_chosen(
        processor, tiny, info, precision, measure):
    processor(info)
    backbone = load_backbone(tiny, 'cpu', precision, measure)
    expected = load_backbone(tiny, 'cpu', 'bf16' if precision == 'bf16' else 'fp32')
    assert backbone.bf16_speedup is None
    assert backbone.identity == expected.identity
    assert backbone.arithmetic == str(backbone.dtype) == str(expected.dtype)


@pytest.mark.parametrize('full, half, expected', [
    (1.8, 1.0, r'torch\.bfloat16 \(bf16 is 1\.80 times as fast .* precision: fp32\)'),
    (2.6, 2.0, r'torch\.bfloat16 \(bf16 is 1\.30 times as fast .* precision: fp32\)'),
    (2.58, 2.0, r'torch\.float32 \(bf16 is 1\.29 times .* from 1\.3 on; .* precision: bf16\)'),
    (1.1, 1.0, r'torch\.float32 \(bf16 is 1\.10 times .* from 1\.3 on; .* precision: bf16\)'),
    (1.0, 4.0, r'torch\.float32 \(bf16 is 0\.25 times .* from 1\.3 on; .* precision: bf16\)'),
])
def test_the_clock_decides_and_the_way_back_is_said(processor, tiny, full, half, expected):
    processor(ZEN_4, full, half)
    backbone = load_backbone(tiny, 'cpu', measure=True)
    assert re.fullmatch(expected, backbone.arithmetic)
    assert str(backbone.dtype) in expected.replace('\\', '')


def test_what_is_chosen_is_what_one_would_ask_for(processor, tiny):
    processor(ZEN_4, 1.8, 1.0)
    chosen = load_backbone(tiny, 'cpu', measure=True)
    asked = load_backbone(tiny, 'cpu', 'bf16')
    assert chosen.identity == asked.identity
    assert ({name: value.dtype for name, value in chosen.clip.state_dict().items()}
            == {name: value.dtype for name, value in asked.clip.state_dict().items()})


def test_an_architecture_is_measured_once_in_a_process(processor):
    processor(ZEN_4, 1.8, 1.0)
    assert bf16.speedup(make_config()) == 1.8
    processor(ZEN_4)
    assert bf16.speedup(make_config()) == 1.8
    processor(ZEN_4, 1.1, 1.0)
    assert bf16.speedup(make_config(quick_gelu=True)) == 1.1
    assert bf16.speedup(make_config()) == 1.8


@pytest.mark.parametrize('architecture', ['ViT-B-16-quickgelu', 'MobileCLIP-B'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_what_is_timed_is_a_block_of_the_model(architecture, dtype):
    config = open_clip.get_model_config(architecture)
    with torch.device('meta'):
        tower = parts_of(build(config, dtype).visual)
    block, tokens = bf16._block(config, dtype)
    assert tokens.shape[1:] == tower.place(tower.grid_size, smoothed).shape

    def layout(module):
        return {name: (value.shape, value.dtype) for name, value in module.state_dict().items()}

    assert layout(block._block) == layout(tower.blocks[0]._block)
    assert all(weight.device.type == 'cpu' for weight in block._block.parameters())
    with torch.inference_mode():
        result = as_trained(block, tokens[:, :20])
    assert result.dtype == dtype
    assert torch.isfinite(result).all()


def test_the_real_clock_gives_a_speedup_that_is_followed(monkeypatch):
    monkeypatch.setattr(bf16, 'has_instructions', lambda: True)
    backbone = load_backbone('demo', 'cpu', measure=True)
    assert backbone.bf16_speedup > 0
    assert (backbone.dtype == torch.bfloat16) == (backbone.bf16_speedup >= LEAST_SPEEDUP)


def test_labels_in_bfloat16_are_almost_those_in_float32(tmp_path):
    """Pixels between two classes may change theirs, as features are off by 0.3 %."""
    rgb = Scene(0).render(1.0, (320, 240)).rgb
    labels = []
    for precision in 'fp32', 'bf16':
        segmenter = Segmenter.load('demo', 'cpu', precision, cache_dir=tmp_path)
        words = segmenter.encode(Vocabulary.parse(CLASSES), ('a photo of {}.',))
        labels.append(segmenter.segment(rgb, words).labels)
    assert np.mean(labels[0] == labels[1]) > 0.99


def test_the_node_says_what_it_chose_and_stays_with_it(graph, tmp_path, processor, tiny):
    """Over DDS: in the log, in the diagnostics, and again after the model was freed."""
    logged = []
    graph.client.create_subscription(
        Log, '/rosout', lambda message: logged.append(message.msg), 100)

    def said(start):
        return wait_for(lambda: [line for message in logged for line in message.splitlines()
                                 if line.startswith(start)], start)

    processor(ZEN_4, 1.8, 1.0)
    graph.start(tmp_path, load=Segmenter.load, model=tiny, device='cpu').flow()
    line = said('  model: ')[0]
    assert line == (f'  model: {tiny}, on cpu, torch.bfloat16 (bf16 is 1.80 times as fast as fp32 '
                    'on this CPU; to go back, set precision: fp32)')
    wait_for(lambda: any(value.key == 'precision' and value.value == line.split(', ', 2)[2]
                         for status in graph.statuses for value in status.values), 'precision')
    processor(ZEN_4)
    for transition in DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE:
        assert graph.change_state(transition)
    graph.flow()
    wait_for(lambda: len(said('  model: ')) == 2)
    assert said('  model: ') == [line, line]
    for transition in DEACTIVATE, CLEANUP:
        assert graph.change_state(transition)
    assert graph.set_each(precision='fp32') == ['']
    assert graph.change_state(CONFIGURE)
    assert graph.change_state(ACTIVATE)
    wait_for(lambda: said('  model: ')[2:] == [f'  model: {tiny}, on cpu, torch.float32'])


def test_the_node_says_why_it_stays_with_float32(graph, tmp_path, processor, tiny):
    processor(SAPPHIRE_RAPIDS, 1.1, 1.0)
    graph.start(tmp_path, load=Segmenter.load, model=tiny, device='cpu')
    assert ('torch.float32 (bf16 is 1.10 times as fast as fp32 on this CPU, and is taken from 1.3 '
            'on; to have it even so, set precision: bf16)') in graph.node._ready()
