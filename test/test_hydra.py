"""The files for Hydra: read as Hydra and semantic_inference read them."""

import csv
import json

from csa_ros.adapters.hydra import label_space
from csa_ros.adapters.hydra import LegendError
from csa_ros.adapters.hydra import missing
from csa_ros.adapters.hydra import read_legend
from csa_ros.vocabulary import Vocabulary
import pytest
import yaml

PRESETS = ('street', 'indoor', 'off_road', 'cityscapes', 'ade20k', 'coco_stuff', 'autoware')


class Space:
    """What Hydra's LabelSpaceConfig and GlobalInfo take from the YAML file."""

    def __init__(self, text):
        document = yaml.safe_load(text)
        self.total = document['total_semantic_labels']
        assert type(self.total) is int
        self.labels = {}
        for key in ('dynamic_labels', 'invalid_labels', 'object_labels', 'surface_places_labels'):
            # A set of uint32_t.
            assert all(type(label) is int and label >= 0 for label in document.pop(key, [None]))
            self.labels[key] = set(yaml.safe_load(text)[key])
        self.names = {}
        for item in document['label_names']:
            # A list of maps of strings, where a label is read with stoi.
            assert set(item) == {'label', 'name'}
            assert isinstance(item['name'], str)
            self.names[int(str(item['label']))] = item['name']
        assert set(document) == {'total_semantic_labels', 'label_names'}

    def of(self, kind):
        return {self.names.get(label, label) for label in self.labels[f'{kind}_labels']}


def read_colors(text):
    """
    Return label to colour and colour to label, as Hydra's SemanticColorMap has them.

    Lines are split at every comma. An empty line would crash Hydra's reader, and
    semantic_inference skips those that have not six columns.
    """
    lines = text.split('\n')
    assert lines.pop() == ''
    header = lines[0].split(',')
    assert header == ['name', 'red', 'green', 'blue', 'alpha', 'id']
    label_of = {}
    for line in lines[1:]:
        row = dict(zip(header, line.split(','), strict=True))
        red, green, blue, alpha = (int(row[key]) for key in header[1:5])
        assert all(0 <= value <= 255 for value in (red, green, blue, alpha))
        label_of[red, green, blue, alpha] = int(row['id'])
    return {label: color for color, label in label_of.items()}, label_of


def space_of(words, **choices):
    return label_space(Vocabulary.parse(words).legend(1, 'demo'), choices)


@pytest.mark.parametrize('preset', PRESETS)
def test_hydra_reads_every_vocabulary(preset):
    vocabulary = Vocabulary.parse(f'@{preset}')
    space = Space(space_of(f'@{preset}').to_yaml())
    assert space.total == len(vocabulary)
    assert space.names == dict(enumerate(vocabulary.names))
    roles = [label for labels in space.labels.values() for label in labels]
    assert len(roles) == len(set(roles)), 'a class has two roles'
    assert 255 in space.labels['invalid_labels']
    assert all(label < space.total for label in roles if label != 255)


@pytest.mark.parametrize('preset', PRESETS)
def test_hydra_reads_every_colour(preset):
    vocabulary = Vocabulary.parse(f'@{preset}')
    colors, label_of = read_colors(space_of(f'@{preset}').to_csv())
    assert set(colors) == {*range(len(vocabulary)), 255}
    assert len(label_of) == len(colors), 'two labels share a colour'
    assert (0, 0, 0, 255) not in label_of, 'black is what Hydra paints where it knows no colour'
    for label in range(len(vocabulary)):
        assert colors[label] == (*vocabulary.colors[label], 255)


def test_labels_that_share_a_colour_are_told_apart():
    words = ['road', 'street=lane', 'background', 'black']
    legend = Vocabulary.parse(words).legend(1, 'demo')
    # As of a legend that another program has written.
    legend['classes'][1]['color'] = legend['classes'][0]['color']
    legend['classes'][2]['color'] = [32, 32, 32]
    legend['classes'][3]['color'] = [255, 255, 255]
    legend['classes'].append({**legend['classes'][3], 'id': 4, 'name': 'white'})
    colors, label_of = read_colors(label_space(legend).to_csv())
    assert len(label_of) == len(colors) == 6
    assert colors[0] == (*legend['classes'][0]['color'], 255)


def test_a_vocabulary_of_one_class_makes_a_valid_colour_map():
    """Hydra takes a map whose greatest label is 0 for none at all."""
    colors, _ = read_colors(space_of('road').to_csv())
    assert max(colors) > 0


def test_roles_by_rule():
    space = Space(space_of(
        'sky, road, tiled floor, dining table, pavement|sidewalk, person|people, floor lamp, wall,'
        'traffic light, zebra crossing, car|truck, guide dog, LANE_MARKING=line on the road,'
        'wall clock, lawn=grass, thing=old wall').to_yaml())
    assert space.of('invalid') == {'sky', 255}
    assert space.of('surface_places') == {
        'road', 'tiled floor', 'pavement', 'zebra crossing', 'LANE_MARKING', 'lawn'}
    assert space.of('dynamic') == {'person', 'guide dog'}
    assert space.of('object') == {
        'dining table', 'floor lamp', 'traffic light', 'car', 'wall clock'}


def test_names_of_coco_stuff_are_read_from_the_front():
    space = space_of('wall-brick, floor-wood, sky-other, t-shirt')
    assert space.roles == ('structure', 'surface', 'invalid', 'object')


def test_choices_go_before_the_rules():
    space = Space(space_of(
        'sky, road, car, wall, person', dynamic=['Car'], object=['wall ', 'elephant'],
        structure=['road'], surface=['sky'], invalid=['person']).to_yaml())
    assert space.of('dynamic') == {'car'}
    assert space.of('object') == {'wall'}
    assert space.of('surface_places') == {'sky'}
    assert space.of('invalid') == {'person', 255}


def test_choices_that_are_no_class_are_found():
    assert missing(space_of('sky, traffic light'), ['SKY', 'Traffic  Light', 'car']) == ['car']


@pytest.mark.parametrize('name', [
    'no', 'on', '1', '1.5', 'null', '~', "driver's seat", 'say "hi"', '#1', 'a: b', '- x', '& x',
    '*', '!', '%', '@x', 'caf\u00e9', '\u6811', '?', 'x' * 100])
def test_names_keep_their_spelling(name):
    legend = Vocabulary.parse('road').legend(1, 'demo')
    legend['classes'][0]['name'] = name
    space = label_space(legend)
    assert Space(space.to_yaml()).names == {0: name}
    assert space.to_csv().splitlines()[1].startswith(f'{name},')


def test_semantic_inference_finds_a_colour_for_every_name():
    """Its `color legend` command goes from the names of the one file to the other by label."""
    space = space_of('@indoor')
    colors = {int(row[-1]): row[1:4] for row in csv.reader(space.to_csv().splitlines()[1:])}
    names = {item['label']: item['name']
             for item in yaml.safe_load(space.to_yaml())['label_names']}
    assert set(names) <= set(colors)


def test_a_legend_as_it_is_published():
    legend = {**Vocabulary.parse('sky, car').legend(3, 'demo'), 'stamp': {'sec': 1, 'nanosec': 2}}
    assert label_space(read_legend(json.dumps(legend))) == space_of('sky, car')


def test_classes_in_another_order():
    legend = Vocabulary.parse('sky, car').legend(1, 'demo')
    legend['classes'].reverse()
    assert label_space(legend) == space_of('sky, car')


@pytest.mark.parametrize('text', ['', 'sky', '{', '[]', '7', 'null', '"sky"', '[' * 100000])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(LegendError, match='no legend of a segment node'):
        read_legend(text)


@pytest.mark.parametrize('change', [
    {'classes': None}, {'classes': []}, {'classes': {}}, {'classes': [7]}, {'classes': 'sky'},
    {'classes': [{'id': 0}]}, {'unknown_id': None}, {'unknown_id': 'x'},
    {'name': 7}, {'name': 'a,b'}, {'name': 'a\nb'}, {'color': [1, 2]}, {'color': [1, 2, 300]},
    {'color': 'red'}, {'color': None}, {'queries': None}, {'queries': [7]}, {'id': 1}, {'id': '0'},
])
def test_what_is_no_legend_is_refused(change):
    legend = Vocabulary.parse('sky').legend(1, 'demo')
    place = legend if set(change) & set(legend) else legend['classes'][0]
    place.update(change)
    with pytest.raises(LegendError, match='no legend of a segment node'):
        label_space(legend)


@pytest.mark.parametrize('key', ['classes', 'unknown_id'])
def test_a_key_that_is_missing_is_named(key):
    legend = Vocabulary.parse('sky').legend(1, 'demo')
    del legend[key]
    with pytest.raises(LegendError, match=f"it lacks '{key}'"):
        label_space(legend)
