"""What disturbances cost: the data set, the table, and its place on a page."""

from dataclasses import replace
import json
from pathlib import Path

from csa_ros.demo.hard import DISTURBANCES
from csa_ros.demo.scenes import EVALUATION_SEEDS
from csa_ros.demo.train import FIRST_TRAINING_SEED
from csa_ros.evaluation import disturbances
from csa_ros.evaluation.datasets.demo import DEMO
from csa_ros.evaluation.datasets.demo import DEMO_HARD
from csa_ros.evaluation.datasets.demo import HARD_SEEDS
from csa_ros.evaluation.datasets.demo import HardStreet
from csa_ros.evaluation.datasets.demo import Street
from csa_ros.evaluation.datasets.protocol import Method
from csa_ros.evaluation.report import page
from csa_ros.evaluation.report.disturbances import describe
from csa_ros.tools import evaluate
import cv2
import numpy as np
import pytest
from towers import make_backbone

DOCS = Path(__file__).parents[1] / 'docs'


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """Measure two disturbances on two streets; return the folder of the results."""
    out = tmp_path_factory.mktemp('out')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(out / 'cache'))
        patch.setattr(disturbances, 'load_backbone', lambda *_: make_backbone())
        patch.setattr(disturbances, 'DISTURBANCES',
                      {name: DISTURBANCES[name] for name in ('kinds', 'motion blur')})
        patch.setattr(disturbances, 'Method', lambda: Method(prompts='simple'))
        assert disturbances.main(['--limit', '2', '--threads', '1', '--out', str(out)]) == 0
    return out


@pytest.fixture(scope='module')
def document(measured):
    return json.loads((measured / 'disturbances-demo-hard.json').read_text())


def test_hard_streets_are_others_than_those_of_training_and_of_demo():
    """A hundred, none of which the model has seen or was chosen by."""
    assert len(DEMO_HARD.samples(None)) == len(HARD_SEEDS) == 100
    assert not set(HARD_SEEDS) & set(EVALUATION_SEEDS)
    # Streets 200 to 299 and 300 to 399 are there to choose by.
    assert min(HARD_SEEDS) >= 400
    assert max(HARD_SEEDS) < FIRST_TRAINING_SEED


def test_hard_streets_have_all_disturbances_and_the_plain_ones_none():
    hard = DEMO_HARD.samples(None)[0]
    assert set(hard.disturbances) == set(DISTURBANCES)
    plain = replace(hard, disturbances=())
    np.testing.assert_array_equal(plain.read()[0], Street(hard.seed).read()[0])
    assert (hard.read()[0] != plain.read()[0]).mean() > 0.5
    assert type(DEMO.samples(None)[0]) is Street


def test_rows_are_none_each_alone_and_all():
    rows = disturbances.variants()
    assert list(rows) == ['none', *DISTURBANCES, 'all']
    assert rows['none'] == ()
    assert rows['shadows'] == ('shadows',)
    assert set(rows['all']) == set(DISTURBANCES)


def test_every_row_is_measured(document, measured):
    assert document['segmented'] == 2
    assert document['total'] == 100
    assert [row['disturbance'] for row in document['rows']] == [
        'none', 'kinds', 'motion blur', 'all']
    assert all(0 <= row['miou'] <= 1 for row in document['rows'])
    assert {path.name for path in measured.iterdir() if path.name.startswith('demo-hard')} == {
        'demo-hard-none', 'demo-hard-kinds', 'demo-hard-motion-blur', 'demo-hard'}


def test_the_table_gives_the_cost_of_each(document):
    rows = [dict(row) for row in document['rows']]
    rows[0]['miou'], rows[1]['miou'] = 0.5, 0.46
    lines = describe({**document, 'rows': rows}).splitlines()
    kinds, = (line for line in lines if line.startswith('| kinds: other cars'))
    assert [cell.strip() for cell in kinds.split('|')[2:4]] == ['46.0', '-4.0']
    assert any(line.startswith('| all ') for line in lines)


def test_the_same_command_goes_on_from_what_is_there(measured, monkeypatch, document):
    """Nothing is segmented again."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(measured / 'cache'))
    monkeypatch.setattr(disturbances, 'Method', lambda: Method(prompts='simple'))
    monkeypatch.setattr(disturbances, 'DISTURBANCES', {'kinds': DISTURBANCES['kinds']})
    monkeypatch.setattr(HardStreet, 'read', lambda _: pytest.fail('a street is rendered'))
    rows = disturbances.measure(make_backbone(), 2, measured, '')['rows']
    assert rows[:2] == document['rows'][:2]


def test_the_picture_shows_each(measured):
    picture = cv2.imread(str(measured / 'disturbances-demo-hard.png'))
    assert picture.shape[1] == 4 * 248


def test_the_page_has_a_place_for_it(document, measured, tmp_path):
    path, file = tmp_path / 'accuracy.md', measured / 'disturbances-demo-hard.json'
    path.write_text('# By hand\n\n<!-- evaluate: disturbances of demo-hard -->\n<!-- end -->\n')
    assert evaluate.main(['--page', str(path), str(file)]) == 0
    assert describe(document) in path.read_text()
    assert '(accuracy_demo-hard.png)' in path.read_text()
    assert (tmp_path / 'accuracy_demo-hard.png').exists()


@pytest.mark.parametrize('name, value, least', [('limit', 0, 1), ('threads', -1, 0)])
def test_bad_arguments_are_refused(name, value, least, capsys):
    with pytest.raises(SystemExit):
        disturbances.main([f'--{name}', f'{value}'])
    assert f'--{name} is {value}: it must be at least {least}' in capsys.readouterr().err


def test_evaluate_takes_hard_streets_without_a_folder(monkeypatch, tmp_path, capsys):
    """They need no --root, are segmented by the demo model, and are none of --all."""
    asked = []
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(evaluate, 'load_backbone',
                        lambda model, *_: asked.append(model) or make_backbone())
    monkeypatch.setitem(evaluate.BENCHMARKS, 'demo-hard', replace(
        DEMO_HARD, samples=lambda _: [HardStreet(seed, (64, 48)) for seed in (500, 501)]))
    assert evaluate.main(['--dataset', 'demo-hard', '--prompts', 'simple', '--out',
                          str(tmp_path / 'out')]) == 0
    assert asked == ['demo']
    assert 'as a real camera sees them: mIoU' in capsys.readouterr().out
    options = evaluate.make_parser().parse_args(['--all'])
    assert not {'demo', 'demo-hard'} & set(evaluate._names(options))


def test_docs_show_the_figures_that_are_kept():
    text = (DOCS / 'accuracy.md').read_text()
    kept = json.loads((DOCS / 'accuracy_disturbances.json').read_text())
    assert page.filled(text, kept, 'accuracy') == text
    assert [row['disturbance'] for row in kept['rows']] == ['none', *DISTURBANCES, 'all']
    assert (DOCS / 'accuracy_demo-hard.png').exists()
