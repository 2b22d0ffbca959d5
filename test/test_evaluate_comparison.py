"""Comparisons of methods on one data set, and the page that shows them."""

from dataclasses import asdict
from dataclasses import replace
import json
from pathlib import Path
from types import SimpleNamespace

from csa_ros.evaluation import comparison
from csa_ros.evaluation.datasets import protocol
from csa_ros.evaluation.datasets.benchmarks import BENCHMARKS
from csa_ros.evaluation.datasets.demo import DEMO
from csa_ros.evaluation.datasets.demo import Street
from csa_ros.evaluation.datasets.protocol import Method
from csa_ros.evaluation.report import page
from csa_ros.evaluation.report.comparison import describe
from csa_ros.model.attention.methods import ATTENTION
from csa_ros.segmenter import Segmenter
from csa_ros.settings import INFERENCE
from csa_ros.settings import REFINE
from csa_ros.tools import evaluate
import cv2
import pytest
from towers import make_backbone


DOCS = Path(__file__).parents[1] / 'docs'


@pytest.fixture(scope='module')
def backbone():
    return make_backbone()


@pytest.fixture(scope='module')
def compared(backbone, tmp_path_factory):
    """Compare three ways to attend on two small streets; return the folder of the results."""
    out = tmp_path_factory.mktemp('out')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(out / 'cache'))
        patch.setattr(evaluate, 'load_backbone', lambda *_: backbone)
        patch.setitem(evaluate.BENCHMARKS, 'tiny', replace(
            DEMO, name='tiny', title='Tiny streets',
            samples=lambda root: [Street(seed, (64, 48)) for seed in range(4)]))
        patch.setattr(comparison, 'ATTENTION', ('csa', 'vanilla', 'sc-clip'))
        patch.setattr(comparison, 'TEMPLATES', ('simple',))
        assert evaluate.main(['--dataset', 'tiny', '--compare', '--root', '.', '--limit', '2',
                              '--out', str(out), '--prompts', 'simple', '--threads', '1']) == 0
    return out


@pytest.fixture(scope='module')
def document(compared):
    path, = compared.glob('comparison-tiny-*.json')
    return json.loads(path.read_text())


def test_every_variant_is_evaluated(document):
    rows = {(row['group'], row['variant']): row for row in document['rows']}
    assert {name for group, name in rows if group == 'attention'} == {'csa', 'vanilla'}
    assert {name for group, name in rows if group == 'refine'} == set(REFINE)
    assert {name for group, name in rows if group == 'inference'} == set(INFERENCE)
    assert {name for group, name in rows if group == 'denoise'} == {'0', '0.5'}
    # 24, half of the tower's own, is less than a window.
    assert {name for group, name in rows if group == 'short side'} == {'32', '48', '64'}
    base = rows['attention', 'csa']
    for row in (rows['refine', 'off'], rows['inference', 'slide'], rows['prompts', 'simple'],
                rows['short side', '48'], rows['residual', 'keep'], rows['denoise', '0']):
        assert row['miou'] == base['miou']
    assert rows['attention', 'vanilla']['iou'] != base['iou']
    assert rows['refine', 'pamr']['iou'] == rows['attention, pamr', 'csa']['iou']
    assert all(row['ms'] > 0 for row in document['rows'])
    assert document['segmented'] == 2
    # 16 patches are too few for it.
    assert list(document['left_out']) == ['attention: sc-clip', 'attention, pamr: sc-clip']


def test_it_is_written_as_table_and_sheet(compared, document):
    written, = compared.glob('comparison-*.md')
    text = written.read_text()
    assert '2 of 4 pictures' in text
    row = next(line for line in text.splitlines() if line.startswith('| vanilla'))
    difference = 100 * (document['rows'][1]['miou'] - document['rows'][0]['miou'])
    assert f'{difference:+.1f}' in row
    assert 'Left out, attention: sc-clip: ' in text
    sheet = cv2.imread(str(written.with_suffix('.png')))
    # Picture, truth and csa with the key; vanilla below.
    assert 1200 < sheet.shape[1] < 1500
    assert 600 < sheet.shape[0] < 750


def test_settings_of_other_papers_do_not_take_part(backbone):
    """Every attention sees pictures of one size, though ClearCLIP was published with others."""
    voc21 = BENCHMARKS['voc21']
    base = Method()
    settings = Segmenter(backbone).resolve(protocol.settings_for(voc21, backbone, base))
    for variant in comparison.variants(settings, backbone, base):
        if variant.group == 'attention':
            same = protocol.settings_for(voc21, backbone, variant.method)
            assert asdict(same) == asdict(settings)


# The protocol

class Native:
    """What the protocol asks of a backbone."""

    def __init__(self, image_size, name=protocol.DEFAULT_MODEL, attention='csa'):
        self.image_size = image_size
        self.name = name
        self.tower = SimpleNamespace(attention=attention)


def radio(name='c-radio-v3-b'):
    return Native(224, name, 'radseg')


@pytest.mark.parametrize('native, lengths', [
    (224, (560, 224, 112)), (336, (840, 336, 168)), (256, (640, 256, 128))])
def test_lengths_follow_the_native_size(native, lengths):
    found = protocol.settings_for(BENCHMARKS['cityscapes'], Native(native), Method())
    assert (found.short_side, found.crop, found.stride) == lengths


def test_a_method_that_is_published_deviates_in_nothing():
    for name in ATTENTION:
        backbone = radio() if name == 'radseg' else Native(224)
        for benchmark in BENCHMARKS.values():
            assert not protocol.deviations(benchmark, backbone, Method(name))
            assert not protocol.deviations(benchmark, radio('c-radio-v3-h:/a/file'),
                                           Method('radseg', resolution='mid'))
    refined = Method('naclip', overrides={'refine': 'pamr-output'})
    assert not protocol.deviations(BENCHMARKS['voc21'], Native(224), refined)
    assert protocol.published_key('naclip', protocol.settings_for(
        BENCHMARKS['voc21'], Native(224), refined)) == 'naclip+pamr'


@pytest.mark.parametrize('name, published', [
    ('openai-b16', True), ('ViT-B-16/openai', True), ('ViT-B-16-quickgelu/dfn2b', False),
    ('ViT-B-16-quickgelu:/some/file', False), ('demo', False)])
def test_the_published_model_may_have_another_name(name, published):
    backbone = Native(224, name)
    found = protocol.deviations(BENCHMARKS['voc21'], backbone, Method())
    assert found == ([] if published else [f'model {name}, published with '
                                           'ViT-B-16-quickgelu/openai'])


def test_what_deviates_is_named():
    method = Method('csa', 'keep', 'simple', {'crop': 448, 'refine': 'pamr'})
    assert protocol.deviations(BENCHMARKS['voc21'], Native(224), method) == [
        'residual keep, published with auto', 'prompts simple, published with imagenet80',
        'crop 448, published with 224', 'refine pamr, published with pamr-output']
    method = Method('radseg', overrides={'denoise': 0.0, 'short_side': 500}, resolution='mid')
    assert protocol.deviations(BENCHMARKS['ade20k'], radio('c-radio-v3-l'), method) == [
        'model c-radio-v3-l, published with c-radio-v3-b',
        'short_side 500, published with 576', 'denoise 0.0, published with 0.5']


def test_radio_has_settings_of_its_own_whatever_its_attention():
    stuff = BENCHMARKS['coco_stuff']
    found = protocol.settings_for(stuff, radio(), Method('radseg'))
    assert (found.short_side, found.logit_scale, found.denoise) == (336, 100, 0.5)
    other = protocol.settings_for(stuff, radio(), Method('csa'))
    assert other == replace(found, denoise=0)
    # The published row is that of another tower.
    assert protocol.deviations(stuff, radio(), Method('csa')) == [
        'model c-radio-v3-b, published with ViT-B-16-quickgelu/openai',
        'short_side 336, published with 448', 'logit_scale 100.0, published with 40.0']
    # And a CLIP keeps its own with RADSeg's attention.
    assert protocol.settings_for(stuff, Native(224), Method('radseg')) == stuff.settings


def test_groupvit_has_settings_of_its_own():
    backbone = Native(448, 'groupvit-gcc-yfcc', 'grouping')
    thresholds = {'voc21': 0.95, 'context60': 0.35, 'coco_object': 0.95}
    for name, benchmark in BENCHMARKS.items():
        method = Method('grouping', prompts=protocol.prompts_for(backbone))
        found = protocol.settings_for(benchmark, backbone, method)
        assert (found.short_side, found.crop, found.stride) == (448, 448, 224)
        assert (found.unknown_threshold, found.logit_scale) == (thresholds.get(name, 0), None)
        assert not protocol.deviations(benchmark, backbone, method)
        assert ('grouping' in benchmark.published) == (name in thresholds)
    assert [BENCHMARKS[name].published['grouping'] for name in thresholds] == [52.3, 22.4, 24.3]
    method = Method('grouping', overrides={'stride': 448})
    assert protocol.deviations(BENCHMARKS['voc21'], backbone, method) == [
        'prompts imagenet80, published with simple', 'stride 448, published with 224']


@pytest.mark.parametrize('benchmark, backbone, message', [
    (BENCHMARKS['voc20'], Native(448, 'groupvit', 'grouping'), 'it is for RADIO'),
    (BENCHMARKS['voc20'], Native(224), "resolution is 'mid': it is for RADIO, and "
                                       'ViT-B-16-quickgelu/openai is none'),
    (DEMO, radio(), "resolution is 'mid': Rendered streets has settings for 'low' alone")])
def test_a_resolution_that_there_is_not_is_refused(benchmark, backbone, message):
    with pytest.raises(ValueError, match=message):
        protocol.settings_for(benchmark, backbone, Method('radseg', resolution='mid'))


# The page

def test_page_is_begun_and_brought_up_to_date(compared, document, tmp_path, capsys):
    path, (file,) = tmp_path / 'accuracy.md', compared.glob('comparison-*.json')
    assert evaluate.main(['--page', str(path), str(file)]) == 0
    begun = path.read_text()
    assert describe(document) in begun
    assert '(accuracy_tiny.png)' in begun
    assert (tmp_path / 'accuracy_tiny.png').read_bytes() == file.with_suffix('.png').read_bytes()
    path.write_text(f'# By hand\n\n{begun.replace("vanilla", "VANILLA")}\nBelow\n')
    assert evaluate.main(['--page', str(path), str(file)]) == 0
    assert path.read_text() == f'# By hand\n\n{begun}\nBelow\n'


def test_page_shows_what_is_published(compared, tmp_path):
    path, (file,) = tmp_path / 'accuracy.md', compared.glob('comparison-*.json')
    assert evaluate.main(['--page', str(path), str(file)]) == 0
    rows = [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in path.read_text().splitlines()]
    assert ['csa', '59.1', '80.4', '30.4', '34.2', '30.5', '22.4', '32.2', '16.1', '38.2'] in rows
    assert '- csa: arXiv 2312.01597' in path.read_text()
    # Of RADSeg only means are known, and over five of the sets: it has no row.
    assert '- radseg: means over voc20, ' in path.read_text()
    assert not [row for row in rows if row[:1] == ['radseg']]


def test_page_without_a_place_is_left_alone(compared, tmp_path, capsys):
    path, (file,) = tmp_path / 'accuracy.md', compared.glob('comparison-*.json')
    path.write_text('# By hand\n')
    assert evaluate.main(['--page', str(path), str(file)]) == 1
    assert '<!-- evaluate: comparison of tiny -->' in capsys.readouterr().err
    assert path.read_text() == '# By hand\n'


def test_docs_show_the_figures_that_are_kept():
    text = (DOCS / 'accuracy.md').read_text()
    document = json.loads((DOCS / 'accuracy.json').read_text())
    assert page.filled(text, document, 'accuracy') == text
    assert page.filled(text, page.PUBLISHED, 'accuracy') == text
    assert (DOCS / 'accuracy_demo.png').exists()


@pytest.mark.parametrize('content, message', [
    ('{', 'is no JSON'), ('{"kind": "bench"}', 'is not of evaluate'), ('[]', 'not of evaluate')])
def test_page_of_something_else_is_refused(tmp_path, content, message, capsys):
    file = tmp_path / 'figures.json'
    file.write_text(content)
    assert evaluate.main(['--page', str(tmp_path / 'page.md'), str(file)]) == 1
    assert message in capsys.readouterr().err


def test_page_needs_files(tmp_path, capsys):
    assert evaluate.main(['--page', str(tmp_path / 'page.md')]) == 2
    assert 'at least one JSON file' in capsys.readouterr().err


def test_comparison_cannot_be_sharded(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(['--dataset', 'demo', '--compare', '--shard', '0/2'])
    assert '--shard cannot be combined' in capsys.readouterr().err
