"""Boxes of detectors and annotation tools teach what the image of their stamp shows."""

import math
from types import SimpleNamespace

from csa_ros.parameters.errors import ParameterError
from csa_ros.ros.detections import read_box
from csa_ros.ros.sightings import KEPT
from csa_ros.ros.sightings import Seen
from csa_ros.ros.sightings import Sightings
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.region import mask_of
from graph import make_image
from graph import wait_for
import numpy as np
import pytest
from std_msgs.msg import Header


def detection(x, y, width, height, *hypotheses, turned=0.0, sec=0):
    """Return what a vision_msgs/Detection2D holds."""
    header = Header()
    header.stamp.sec = sec
    return SimpleNamespace(
        header=header,
        results=[SimpleNamespace(hypothesis=SimpleNamespace(class_id=name, score=score))
                 for name, score in hypotheses],
        bbox=SimpleNamespace(center=SimpleNamespace(
            position=SimpleNamespace(x=x, y=y), theta=turned), size_x=width, size_y=height))


def test_a_box_is_that_of_the_best_hypothesis():
    box = read_box(detection(50.0, 40.0, 20.0, 10.0, ('pallet', 0.3), ('dock', 0.6)), Header())
    assert (box.name, box.region) == ('dock', (40.0, 35.0, 20.0, 10.0))
    assert read_box(detection(5.0, 5.0, 2.0, 2.0), Header()).name == ''


def test_a_box_has_its_own_header_if_that_has_a_stamp():
    array = Header(frame_id='array')
    array.stamp.sec = 7
    assert read_box(detection(5.0, 5.0, 2.0, 2.0), array).header is array
    assert read_box(detection(5.0, 5.0, 2.0, 2.0, sec=8), array).header.stamp.sec == 8


def test_a_turned_box_covers_what_it_would():
    box = read_box(detection(60.0, 50.0, 40.0, 10.0, turned=math.pi / 2), Header())
    upright = mask_of((55, 30, 10, 40), (100, 120))
    found = mask_of(box.region, (100, 120))
    assert (found & upright).sum() / (found | upright).sum() > 0.85
    found = mask_of(read_box(detection(
        60.0, 50.0, 40.0, 10.0, turned=math.pi / 4), Header()).region, (100, 120)).astype(bool)
    # In pixels y runs down, so that it falls to the right.
    assert found[60, 70] and not found[40, 70] and abs(found.sum() - 400) < 90


@pytest.mark.parametrize('numbers', [
    (math.nan, 1.0, 1.0, 1.0), (1.0, 1.0, math.inf, 1.0)])
def test_numbers_that_are_none_are_refused(numbers):
    with pytest.raises(TeachingError, match='numbers that are none'):
        read_box(detection(*numbers), Header())


def test_a_name_that_is_no_word_is_refused():
    with pytest.raises(ParameterError, match=r'class_id: .*holds |'):
        read_box(detection(5.0, 5.0, 2.0, 2.0, ('a|b', 1.0)), Header())


# Images by their stamps

def seen(camera, sec, frame=''):
    image = make_image(stamp=(sec, 0))
    image.header.frame_id = frame
    return Seen(SimpleNamespace(name=camera), image, float(sec))


def header(sec, frame=''):
    return seen('', sec, frame).image.header


def test_images_before_the_newest_are_kept_while_they_are_asked_for():
    sightings = Sightings()
    for sec in range(1, 4):
        sightings.add(seen('front', sec))
    assert sightings.at(header(2)) is None and sightings.at(header(3)).arrival == 3
    sightings.keep(True)
    for sec in range(4, 4 + KEPT):
        sightings.add(seen('front', sec))
    assert sightings.at(header(3)) is None and sightings.at(header(4)).arrival == 4
    assert sightings.newest['front'].arrival == 3 + KEPT
    sightings.keep(False)
    assert sightings.at(header(4)) is None and sightings.at(header(3 + KEPT))


def test_what_is_frozen_is_found_and_of_two_cameras_that_of_the_frame():
    sightings = Sightings()
    for each in seen('front', 5, 'front_optical'), seen('left', 5, 'left_optical'):
        sightings.add(each)
    sightings.frozen = sightings.newest
    for sec in 6, 7:
        sightings.add(seen('front', sec))
        sightings.add(seen('left', sec))
    assert sightings.at(header(5, 'front_optical')).camera.name == 'front'
    assert sightings.at(header(5, 'left_optical')).camera.name == 'left'
    assert sightings.at(header(6)) is None


# Over DDS

def test_boxes_teach_the_image_of_their_stamp(graph, tmp_path):
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    node = graph.start(tmp_path).node
    publisher = graph.client.create_publisher(
        messages.Detection2DArray, '/segment/teach/detections', 10)
    wait_for(lambda: node.count_publishers('/segment/teach/detections'))
    graph.mask_of(make_image(stamp=(20, 0)))
    wait_for(lambda: node._pipeline.sightings._length == KEPT)
    graph.mask_of(make_image(stamp=(21, 0)))
    graph.mask_of(make_image(stamp=(22, 0)))

    def send(*boxes, sec):
        message = messages.Detection2DArray()
        message.header.stamp.sec = sec
        for name, x, y, width, height in boxes:
            each = messages.Detection2D()
            each.bbox.center.position.x, each.bbox.center.position.y = x, y
            each.bbox.size_x, each.bbox.size_y = width, height
            if name:
                hypothesis = messages.ObjectHypothesisWithPose()
                hypothesis.hypothesis.class_id = name
                each.results.append(hypothesis)
            message.detections.append(each)
        publisher.publish(message)

    def shown():
        return [(each.name, each.look.stamp // 10 ** 9)
                for each in node._pipeline.newest.examples]

    # In one step; what cannot be taught does not keep the others from it.
    send(('dock', 30.0, 24.0, 40.0, 30.0), ('', 30.0, 24.0, 40.0, 30.0),
         ('SKY', 20.0, 20.0, 30.0, 30.0), ('dock', 500.0, 20.0, 9.0, 9.0),
         ('pallet', 30.0, 24.0, 40.0, 30.0), sec=21)
    wait_for(lambda: len(shown()) == 3)
    assert shown() == [('dock', 21), ('sky', 21), ('pallet', 21)]
    assert graph.get('vocabulary') == ['sky', 'road', 'dock', 'pallet']
    graph.flow()
    assert [len(legend['classes']) for legend in graph.legends] == [2, 4]
    # Of an image that is gone nothing is; with the stamp 0 the newest is meant.
    send(('dock', 30.0, 24.0, 40.0, 30.0), sec=3)
    send(('crate', 30.0, 24.0, 40.0, 30.0), sec=0)
    wait_for(lambda: len(shown()) == 4)
    assert shown()[-1][0] == 'crate'
    full = [f'word {number}' for number in range(255)]
    assert graph.set_each(vocabulary=full, teach_name='word 7') == ['', '']
    send(('crate', 30.0, 24.0, 40.0, 30.0), ('', 30.0, 24.0, 40.0, 30.0), sec=0)
    wait_for(lambda: len(shown()) == 5)
    assert shown()[-1][0] == 'word 7' and np.unique(graph.get('vocabulary')).size == 255
