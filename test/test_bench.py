"""The bench's command line, its sections on tiny inputs, and the page made of their JSON."""

import json
import sys

from csa_ros.bench import agreement
from csa_ros.bench import core
from csa_ros.bench import inputs
from csa_ros.bench import page
from csa_ros.bench import plot
from csa_ros.bench import runtimes
from csa_ros.bench import sections
from csa_ros.bench import text
from csa_ros.bench.frames import Bench
from csa_ros.bench.frames import Count
from csa_ros.bench.frames import make_paths
from csa_ros.bench.frames import STAGES
from csa_ros.bench.targets import percent
from csa_ros.demo.scenes import CLASSES
from csa_ros.model.errors import ModelError
from csa_ros.model.text import TEMPLATES
from csa_ros.model.text import TextEncoder
from csa_ros.segmenter import Segmenter
from csa_ros.tools import bench
import numpy as np
import pytest
import torch
from towers import make_backbone
from towers import register

COUNTS = [Count(3, 3), Count(3, 5)]


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def tiny_model(tmp_path_factory):
    """Return a random model of the tiny architecture, as the command line names it."""
    register(tmp_path_factory.mktemp('configs'), 'Bench')
    return 'random:Bench'


@pytest.fixture(scope='module')
def figures(tiny_model, tmp_path_factory):
    """Run three sections and return their JSON file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, 'STREET_SIZE', (64, 64))
        patch.setattr(agreement, 'STREETS', range(1))
        # The tower of the demo in 8-bit integers is exported by `test_int8.py`.
        compare = agreement.measure
        patch.setattr(agreement, 'measure', lambda precisions, *others: compare(
            [precision for precision in precisions if precision != 'int8'], *others))
        patch.setitem(TEMPLATES, 'imagenet80', ('a {}.', 'a photo of a {}.'))
        patch.setattr(text, 'FRAME_SIZE', (80, 60))
        patch.setattr(text, 'WORDS', 2)
        patch.setattr(text, 'COMPARED_WORDS', 1)
        patch.setattr(runtimes, 'BUILDERS', {
            runtimes.EAGER: runtimes._eager, 'bf16': runtimes._bf16, 'absent': _absent,
            'broken': _broken})
        path = tmp_path_factory.mktemp('bench') / 'figures.json'
        assert bench.main([
            'core', 'text', 'runtimes', '--json', str(path), '--threads', '1',
            '--model', tiny_model, '--device', 'cpu', '--sizes', '80x60,160x120',
            '--classes', '3,4:6,60', '--rounds', '1', '--text-model', tiny_model,
            '--text-device', 'cpu', '--text-rounds', '1', '--text-frames', '1',
            '--runtimes-model', tiny_model, '--runtimes-rounds', '1']) == 0
        return path


def _absent(tower, windows, folder):
    import no_such_runtime  # noqa: F401


def _broken(tower, windows, folder):
    raise RuntimeError('no kernel')


def test_a_run_measures_every_path_at_every_size_and_class_count(figures):
    document = json.loads(figures.read_text())
    assert document['machine']['torch'] == torch.__version__
    assert document['command'].startswith(
        'python -m csa_ros.tools.bench core text runtimes --json')
    rows = document['sections']['core']['frames']
    cases = {(row['width'], row['classes'], row['queries'], row['path'], row['precision'])
             for row in rows}
    precisions = core.default_precisions('cpu')
    assert precisions[:2] == ['fp32', 'bf16']
    assert len(rows) == len(cases) == 2 * 3 * 3 * len(precisions)
    assert (80, 4, 6, 'whole', 'bf16') in cases
    for row in rows:
        if (row['path'], row['precision']) == ('exact', 'fp32'):
            assert row['equal'] >= 0.9999
        assert (row['encode_memory'] is None) == (row['precision'] == 'int8')
        if row['path'] == 'plain':
            assert row['ratio'] == row['rest_ratio'] == 1
        assert row['total']['median_ms'] == pytest.approx(sum(row[s] for s in STAGES))


def test_int8_is_measured_where_it_can_be_had(monkeypatch):
    monkeypatch.setattr(core, 'int8_missing', lambda: '')
    assert core.default_precisions('cpu') == ['fp32', 'bf16', 'int8']
    monkeypatch.setattr(core, 'int8_missing', lambda: 'onnx cannot be imported')
    assert core.default_precisions('cpu') == ['fp32', 'bf16']
    assert 'int8' not in core.default_precisions('cuda')


def test_missing_and_broken_runtimes_are_named(figures):
    result = json.loads(figures.read_text())['sections']['runtimes']
    assert result['missing'] == {'absent': 'no_such_runtime is not installed',
                                 'broken': 'RuntimeError: no kernel'}
    assert set(result['runtimes']) == {runtimes.EAGER, 'bf16'}
    assert result['runtimes'][runtimes.EAGER]['error'] == 0
    assert 0 < result['runtimes']['bf16']['error'] < 0.1
    assert result['demo']['bf16']['equal'] > 0.9


def test_cut_and_padded_words_are_the_same(figures):
    result = json.loads(figures.read_text())['sections']['text']
    assert 0 < result['largest_difference'] < 1e-5


def test_page_is_made_of_json_alone(figures, tmp_path):
    pytest.importorskip('matplotlib')
    path = tmp_path / 'performance.md'
    assert bench.main(['--page', str(path), str(figures), str(figures)]) == 0
    written = path.read_text()
    for title in (core.TITLE, text.TITLE, runtimes.TITLE):
        assert f'## {title}' in written
    assert '160 x 120' in written and '4 (6 queries)' in written
    for number in (1, 2):
        assert f'(performance_{number}.png)' in written
        assert (tmp_path / f'performance_{number}.png').read_bytes().startswith(b'\x89PNG')


def test_synonyms_alone_can_be_plotted(figures, tmp_path):
    pytest.importorskip('matplotlib')
    result = json.loads(figures.read_text())['sections']['core']
    for table in ('frames', 'one_core'):
        result[table] = [row for row in result[table] if row['classes'] < row['queries']]
    plot.draw(tmp_path / 'plot.png', result, 'a machine')
    assert (tmp_path / 'plot.png').stat().st_size > 1000


def test_targets_that_a_cpu_cannot_tell_are_marked(figures):
    document = json.loads(figures.read_text())
    modules, _ = sections.load()
    written = page.text([document], modules, [])
    cameras, = (line for line in written.splitlines() if '4 cameras' in line)
    assert 'not measured here' in cameras
    labels, = (line for line in written.splitlines() if 'exact path: at least' in line)
    assert '| met |' in ' '.join(labels.split())


def test_page_without_matplotlib_says_what_to_install(figures, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert bench.main(['--page', str(tmp_path / 'page.md'), str(figures)]) == 1
    assert 'pip install matplotlib' in capsys.readouterr().err


def test_page_without_files_is_refused(tmp_path, capsys):
    assert bench.main(['--page', str(tmp_path / 'page.md')]) == 2
    assert 'at least one JSON file' in capsys.readouterr().err


def test_page_of_a_section_that_cannot_be_described_is_refused(figures, tmp_path):
    document = json.loads(figures.read_text())
    with pytest.raises(page.PageError, match="'core' cannot be described here"):
        page.write(tmp_path / 'page.md', [document], {})


@pytest.mark.parametrize('arguments, message', [
    (['speed'], "unknown section 'speed': choose from gpu.frames"),
    (['core', '--sizes', '640'], "size '640' is not understood: write WIDTHxHEIGHT"),
    (['core', '--sizes', '0x480'], "size '0x480' is not understood"),
    (['core', '--classes', '256'], "class count '256' is not understood"),
    (['core', '--classes', '8:7'], "class count '8:7' is not understood"),
])
def test_bad_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('options, message', [
    (['--model', 'random:ViT-Z'], "no architecture 'ViT-Z'"),
    (['--precision', 'fp8'], "precision 'fp8'"),
    (['--rounds', '-1'], 'rounds is -1'),
])
def test_a_section_that_fails_says_why(options, message, capsys, tiny_model):
    arguments = ['core', '--device', 'cpu', '--model', tiny_model, '--precision', 'fp32',
                 '--sizes', '80x60', '--classes', '3', *options]
    assert bench.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_section_of_the_node_needs_ros(monkeypatch, capsys):
    monkeypatch.setattr(sections, 'load', lambda: (
        {'core': core}, {'node': 'rclpy is not installed'}))
    with pytest.raises(SystemExit):
        bench.main(['node'])
    assert "section 'node' cannot run here: rclpy is not installed" in capsys.readouterr().err


def test_sections_that_need_what_is_not_installed_are_left_out(monkeypatch):
    monkeypatch.delitem(sys.modules, 'csa_ros.bench.core')
    monkeypatch.setitem(sys.modules, 'csa_ros.bench.frames', None)
    modules, missing = sections.load()
    assert missing['core'] == 'csa_ros.bench.frames is not installed'
    assert 'text' in modules


def test_stages_of_every_path_are_timed_once_for_all_that_share_them(segmenter):
    paths = make_paths(segmenter, 'fp32')
    calls = Bench(paths, (80, 60), COUNTS, spread=True)._calls(STAGES)
    assert len(calls) == len(paths) * (2 + 2 * len(COUNTS))


def test_words_are_spread_over_what_a_random_tower_sees(segmenter):
    bench_ = Bench(make_paths(segmenter, 'fp32'), (80, 60), [Count(9, 9)], spread=True)
    labels = bench_._labels(bench_._paths[0], Count(9, 9))
    assert len(np.unique(labels)) >= 6


def test_agreement_counts_equal_labels_and_scores_the_truth():
    size = (64, 48)
    truth = {inputs.street(seed, size).rgb.tobytes(): inputs.street(seed, size).labels
             for seed in range(2)}
    scores = agreement.compare(
        lambda rgb: truth[rgb.tobytes()],
        {'half': lambda rgb: np.where(np.arange(64) < 32, truth[rgb.tobytes()], 255)},
        range(2), size)
    assert scores['reference'] == {'equal': 1.0, 'iou': 1.0}
    assert scores['half']['equal'] == pytest.approx(0.5)
    assert scores['half']['iou'] < 0.8


def test_vocabularies_of_any_length():
    assert inputs.vocabulary(13).names == CLASSES
    assert len(inputs.vocabulary(171)) == len(inputs.vocabulary(171).queries) == 171
    synonyms = inputs.vocabulary(21, 56)
    assert (len(synonyms), len(synonyms.queries)) == (21, 56)
    assert np.count_nonzero(synonyms.query_class == 0) == 36
    assert len(inputs.vocabulary(255)) == 255


def test_random_models_are_the_same_at_every_precision(tiny_model):
    with inputs.loaded(tiny_model, 'cpu', 'fp32') as one, \
            inputs.loaded(tiny_model, 'cpu', 'bf16') as other:
        weight = one.backbone.clip.visual.conv1.weight
        assert torch.equal(weight.bfloat16(), other.backbone.clip.visual.conv1.weight)


def test_unknown_random_architecture_is_refused():
    with pytest.raises(ModelError, match="'random:ViT-Z': write random:ARCH"):
        with inputs.loadable('random:ViT-Z'):
            pass


def test_new_words_are_encoded_every_time(segmenter, monkeypatch):
    encoded = []
    encode = TextEncoder._encode_queries
    monkeypatch.setattr(TextEncoder, '_encode_queries', lambda self, ensemble, queries:
                        encoded.extend(queries) or encode(self, ensemble, queries))
    for _ in range(2):
        text.encode_new(segmenter.backbone, ['road'])
    assert encoded == ['road', 'road']


def test_shares_are_rounded_down():
    assert percent(0.999999) == '99.999 %'
    assert percent(1.0) == '100.000 %'
