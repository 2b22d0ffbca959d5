"""The vocabulary files of config/: valid ROS parameter files, complete and distinct."""

from pathlib import Path

from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Vocabulary
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
import yaml

FILES = sorted((Path(__file__).parents[1] / 'config' / 'vocabularies').glob('*.yaml'))
SIZES = {
    'ade20k': 150, 'autoware': 16, 'cityscapes': 19, 'coco_object': 81, 'coco_stuff': 171,
    'context59': 59, 'context60': 60, 'indoor': 29, 'off_road': 21, 'street': 13, 'voc20': 20,
    'voc21': 21,
}
BACKGROUND = ('background', 'sky', 'wall', 'tree')


def read(path):
    content = yaml.safe_load(path.read_text())
    assert list(content) == ['/**']
    assert list(content['/**']) == ['ros__parameters']
    assert list(content['/**']['ros__parameters']) == ['vocabulary']
    return content['/**']['ros__parameters']['vocabulary']


def named(name):
    return Vocabulary.parse(read(next(path for path in FILES if path.stem == name)))


def test_every_file_is_known():
    assert {path.stem for path in FILES} == set(SIZES)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_file_parses_to_its_classes(path):
    parsed = Vocabulary.parse(read(path))
    assert len(parsed) == SIZES[path.stem]
    assert parsed.spec == read(path)
    assert len(np.unique(parsed.colors, axis=0)) == len(parsed), 'two classes share a colour'


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_ros_reads_the_file(path):
    context = Context()
    rclpy.init(args=['--ros-args', '--params-file', str(path)], context=context)
    try:
        node = Node(
            'segment', context=context, automatically_declare_parameters_from_overrides=True)
        assert node.get_parameter('vocabulary').value == read(path)
        node.destroy_node()
    finally:
        context.shutdown()


def test_street_is_the_default():
    assert read(next(path for path in FILES if path.stem == 'street')) == list(DEFAULT_VOCABULARY)


def test_sets_with_background_extend_those_without():
    assert named('voc21').entries[1:] == named('voc20').entries
    assert named('context60').entries[1:] == named('context59').entries
    assert named('context60').entries[0].spec == 'background'
    assert named('coco_object').names[1:] == named('coco_stuff').names[:80]


@pytest.mark.parametrize('name, queries', [('voc21', 26), ('coco_object', 25)])
def test_background_is_stuff(name, queries):
    background = named(name).entries[0]
    assert (background.name, *background.queries[:3]) == BACKGROUND
    assert len(background.queries) == queries


@pytest.mark.parametrize('name, index, expected', [
    ('voc20', 19, 'tv monitor'),
    ('cityscapes', 13, 'car'),
    ('context59', 58, 'wood'),
    ('coco_object', 80, 'toothbrush'),
    ('coco_stuff', 97, 'curtain'),
    ('ade20k', 83, 'truck'),
    ('ade20k', 149, 'flag'),
])
def test_order_of_the_data_sets(name, index, expected):
    assert named(name).names[index] == expected
