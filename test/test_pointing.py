"""The pointing game: what counts as a hit, the table, and its place on the page."""

import json
from pathlib import Path

from csa_ros.demo import validation
from csa_ros.demo.scenes import CLASSES
from csa_ros.evaluation import pointing
from csa_ros.evaluation.datasets.demo import DEMO
from csa_ros.evaluation.report import page
from csa_ros.evaluation.report.pointing import describe
import numpy as np
import pytest
from towers import make_backbone

DOCS = Path(__file__).parents[1] / 'docs'


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """Play on two streets with a tiny tower; return the file of the figures."""
    out = tmp_path_factory.mktemp('out')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(out / 'cache'))
        patch.setattr(pointing, 'load_backbone', lambda *_: make_backbone())
        assert pointing.main(['--limit', '2', '--threads', '1', '--out', str(out)]) == 0
    return out / 'pointing-demo.json'


def test_the_strongest_spot_decides():
    heat = np.full((10, 12), 0.2, np.float32)
    heat[3, 4] = 0.9
    heat[3, 5:8] = 0.65
    there = np.zeros((10, 12), bool)
    there[2:10, 4:12] = True
    hit = pointing._trial('car', heat, there)
    assert (hit.present, hit.hit) == (True, True)
    assert hit.iou == (4 / 64, 4 / 64, 1 / 64, 1 / 64) and hit.alarm == (True,) * 4
    there[3, 4] = False
    miss = pointing._trial('car', heat, there)
    # And of 63 pixels there is too little to point at.
    assert (miss.present, miss.hit) == (False, False)
    score = pointing._Score.of([hit, miss, pointing._Trial('bus', True, False, (), ())])
    assert score.classes == {'car': 1.0, 'bus': 0.0} and score.mean == 0.5


def test_both_attentions_and_all_choices_are_measured(measured):
    document = json.loads(measured.read_text())
    assert list(document['attentions']) == ['csa', 'vanilla']
    for each in document['attentions'].values():
        assert set(each['classes']) <= set(CLASSES)
        assert each['mean'] == pytest.approx(np.mean(list(each['classes'].values())))
        assert all(0 <= share <= 1 for share in each['classes'].values())
    assert [(row['negatives'], row['scale']) for row in document['choices']] == [
        (negatives, scale) for negatives in ('vocabulary', 'canonical')
        for scale in (10, 40, 100)]
    # A higher threshold lets less through.
    for row in document['choices']:
        alarms = [each['false_alarms'] for each in row['thresholds']]
        assert alarms == sorted(alarms, reverse=True) or None in alarms


def test_streets_to_choose_by_are_others():
    assert not {f'street-{seed:03d}' for seed in validation.SEEDS} & {
        sample.name for sample in DEMO.samples(None)}


def test_tables_find_their_place(measured, tmp_path):
    path = tmp_path / 'find.md'
    page.update(path, [measured])
    text = path.read_text()
    assert describe(json.loads(measured.read_text())) in text
    assert 'Made by `python -m csa_ros.evaluation.pointing --limit 2' in text


def test_the_page_has_the_figures_of_the_file():
    document = json.loads((DOCS / 'find.json').read_text())
    assert document['streets'] == 100
    assert describe(document) in (DOCS / 'find.md').read_text()


@pytest.mark.parametrize('options', [['--limit', '0'], ['--threads', '-1']])
def test_bad_arguments_are_refused(options, capsys):
    with pytest.raises(SystemExit):
        pointing.main(options)
    assert f'{options[0]} is {options[1]}: it must be at least' in capsys.readouterr().err
