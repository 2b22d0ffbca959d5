"""Which topics of a bag are cameras, whatever else it holds."""

import json
from pathlib import Path
import sqlite3

from csa_ros.bags.errors import BagError
from csa_ros.bags.reading import Recording
from csa_ros.bags.topics import choose
from csa_ros.vocabulary import Vocabulary
import numpy as np
import pytest
from recordings import camera
from recordings import compressed
from recordings import IMAGE
from recordings import jpeg
from recordings import raw
from recordings import record
from recordings import rewrite
from recordings import STRING
from recordings import text
from recordings import TYPES
from test_content import H264
from test_content import PNG

LEGEND = [(STRING, TYPES.types[STRING](data=json.dumps(
    Vocabulary.parse('road, sky').legend(1, 'model'))))]
MASK = [raw(0, np.zeros((4, 4), np.uint8), 'mono8')]


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def chosen(bag, *asked):
    with Recording(Path(bag)) as recording:
        return choose(recording, asked)


def of_encoding(encoding):
    return raw(0, np.zeros((4, 4), np.uint8), encoding)


@pytest.mark.parametrize('message, reason', [
    (of_encoding('16UC1'), "'16UC1' holds measurements of depth"),
    (of_encoding('32FC1 '), "'32FC1 ' holds measurements of depth"),
    (of_encoding('32SC1'), "'32SC1' holds measurements"),
    (of_encoding('32FC3'), "'32FC3' holds measurements"),
    (of_encoding('64fc1'), "'64fc1' holds measurements"),
    (of_encoding('bayer_rgbw8'), "'bayer_rgbw8' is unknown"),
    (of_encoding(''), "encoding '' is unknown"),
    (compressed(0, '16UC1; png compressed ', PNG), 'measurements of depth'),
    (compressed(0, '16UC1; jpeg compressed ', PNG), 'measurements of depth'),
    (compressed(0, '16UC1; compressedDepth png', bytes(12) + PNG), 'measurements of depth'),
    (compressed(0, 'h264', H264), 'video stream'),
    (compressed(0, 'hevc_nvenc', H264[5:]), 'video stream'),
    (compressed(0, 'webp', b'RIFF\0\0\0\0WEBP'), 'neither JPEG nor PNG'),
])
def test_what_is_no_picture_is_left_out(message, reason):
    bag = record(Path('in'), camera=camera(1), other=[message] * 2)
    topics, left_out = chosen(bag)
    assert topics == ['/camera']
    assert reason in left_out['/other']


@pytest.mark.parametrize('message', [
    of_encoding('MONO8 '), of_encoding('bayer_rggb8'), raw(0, encoding='mono16'), jpeg(0),
    compressed(0, 'h264', PNG), compressed(0, 'mono16; png compressed ', PNG)])
def test_pictures_of_every_kind_are_cameras(message):
    assert chosen(record(Path('in'), camera=camera(1), other=[message])) == (
        ['/camera', '/other'], {})


@pytest.mark.parametrize('first', [
    [(IMAGE, b'\x00\x01\x00\x00\x07')], [(IMAGE, b'')],
    [raw(0, width=0, height=0, encoding='', data=np.zeros(0, np.uint8))],
    [raw(0, encoding='32FC1'), raw(0, encoding='?')]])
@pytest.mark.parametrize('then, topics', [
    (camera(1), ['/camera', '/other']), ([of_encoding('32SC1')] * 3, ['/camera'])])
def test_a_first_message_that_is_broken_does_not_decide(first, then, topics):
    bag = record(Path('in'), camera=camera(1), other=[*first, *then])
    assert chosen(bag)[0] == topics


def test_a_camera_whose_images_are_all_damaged_stays_one():
    """It is complained of, image by image."""
    for index, images in enumerate([[compressed(0, 'jpeg', b'noise')], [(IMAGE, b'\x00\x01')]]):
        bag = record(Path(f'in{index}'), camera=camera(1), other=images * 12)
        assert chosen(bag)[0] == ['/camera', '/other']


def test_a_compressed_twin_steps_in_for_raw_images_that_are_not_there():
    assert chosen(record(Path('a'), x__image=camera(1), x__image__compressed=[jpeg(0)])) == (
        ['/x/image'], {'/x/image/compressed': '/x/image is the same camera'})
    bag = record(Path('b'), x__image=[], x__image__compressed=[jpeg(0)])
    assert chosen(bag) == (['/x/image/compressed'], {'/x/image': 'it has no messages'})


@pytest.mark.parametrize('node, cameras', [
    ('segment', ['']), ('words2', ['']), ('robot/eye/segment', ['']),
    ('segment', ['front/', 'left/']), ('robot/segment', ['robot/cam/front/', 'left/'])])
@pytest.mark.parametrize('outputs', [
    ['labels'], ['overlay'], ['labels', 'overlay', 'confidence', 'mask', 'autoware_mask'],
    ['overlay/compressed', 'labels/compressed']])
def test_what_a_segment_node_published_is_no_camera(node, cameras, outputs):
    topics = {f'{node}/{name}{output}'.replace('/', '__'):
              [jpeg(0)] if output.endswith('compressed') else MASK
              for name in cameras for output in outputs}
    bag = record(Path('in'), camera=camera(1), **topics,
                 **{f'{node}/legend'.replace('/', '__'): LEGEND})
    chose, left_out = chosen(bag)
    assert chose == ['/camera']
    assert set(left_out.values()) == {f'the segment node /{node} published it'}
    assert len(left_out) == len(topics)


def test_a_segment_node_is_known_by_its_topics_where_its_legend_was_missed():
    bag = record(Path('in'), camera=camera(1), segment__legend=[], segment__labels=MASK,
                 segment__overlay=[raw(0)])
    assert chosen(bag)[0] == ['/camera']


@pytest.mark.parametrize('topics', [
    {'overlay': camera(1)}, {'cam__overlay': camera(1), 'cam__labels': camera(1)},
    {'hud__overlay': camera(1), 'hud__legend': [text(0)] * 12},
    {'mask': camera(1), 'segment__legend': LEGEND},
    {'segmented__overlay': camera(1), 'segment__legend': LEGEND},
    {'segment__front__image_raw': camera(1), 'segment__legend': LEGEND},
])
def test_a_camera_may_have_such_a_name(topics):
    bag = record(Path('in'), camera=camera(1), **topics)
    assert chosen(bag)[0] == sorted(
        ['/camera', *('/' + name.replace('__', '/') for name in topics if 'legend' not in name)])


def test_types_without_their_msg_in_a_database():
    bag = record(Path('in'), 'sqlite3', camera=camera(2))
    with sqlite3.connect('in/in.db3') as database:
        database.execute("UPDATE topics SET type = 'sensor_msgs/Image'")
    for path in (bag, bag / 'in.db3'):
        assert chosen(path) == (['/camera'], {})
        with Recording(path) as recording:
            (item, _, _), _ = recording.messages()
            assert item.msgtype == IMAGE


@pytest.mark.parametrize('make', [raw, jpeg])
def test_types_without_their_msg_are_the_same(make):
    bag = record(Path('in'), camera=camera(2, make), imu=[text(0)])
    alone = rewrite(bag, 'short.mcap', lambda kind: kind.replace('/msg/', '/'))
    assert chosen(alone) == (['/camera'], {})
    with Recording(Path(alone)) as recording:
        kinds = {item.topic: item.msgtype for item in recording.connections}
        assert kinds == {'/camera': make(0)[0], '/imu': STRING}
        assert recording.count == 3 and len([*recording.messages()]) == 3


def test_thermal_images_are_segmented_where_they_are_named():
    bag = record(Path('in'), thermal=[of_encoding('16UC1')])
    with pytest.raises(BagError, match='/thermal is left out: .*name it with --topics'):
        chosen(bag)
    assert chosen(bag, '/thermal') == (['/thermal'], {})


def test_messages_that_are_not_cdr_are_left_out():
    bag = rewrite(record(Path('in'), camera=camera(1)), 'json.mcap', coding='json')
    with pytest.raises(BagError, match='/camera is left out: its messages are json, not CDR'):
        chosen(bag)
    with pytest.raises(BagError, match='/camera of json.mcap cannot be read: its messages are js'):
        chosen(bag, '/camera')
