"""Recorded bags in, masks out: what the node would make, whatever ends the work on the way."""

import itertools
import json
import os
from pathlib import Path
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

from csa_ros import draw
from csa_ros.bags import pictures
from csa_ros.bags import progress
from csa_ros.bags import video
from csa_ros.bags.labelling import Labeller
from csa_ros.bags.reading import Recording
from csa_ros.ros.images import to_rgb
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.file import write
from csa_ros.tools import segment_bag
from csa_ros.vocabulary import Vocabulary
import cv2
from mcap.writer import IndexType
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from recordings import BEST_EFFORT
from recordings import camera
from recordings import compressed
from recordings import contents
from recordings import frame
from recordings import jpeg
from recordings import legend
from recordings import of
from recordings import pixels
from recordings import raw
from recordings import record
from recordings import rewrite
from recordings import STAMP
from recordings import text
from recordings import time_of
from recordings import TYPES
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability
from rosbags.interfaces import QosReliability
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_types_from_msg
from sensor_msgs.msg import Image
from std_msgs.msg import String
from towers import make_backbone

WORDS = 'sky, road=street|lane, car'
ROOT = Path(__file__).parent.parent
LOAD = Segmenter.load


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(autouse=True)
def loaded(monkeypatch, segmenter, tmp_path):
    """Let the command load the tiny tower; return what it asked for."""
    loaded = []

    def load(settings, **model):
        loaded.append(model)
        return segmenter

    monkeypatch.setattr(Segmenter, 'load', load)
    monkeypatch.chdir(tmp_path)
    return loaded


@pytest.fixture
def labelled(monkeypatch):
    """Return the pictures that were given to the segmenter, as the command runs."""
    pictures = []
    submit = Labeller.submit
    monkeypatch.setattr(
        Labeller, 'submit',
        lambda self, rgb, memory: pictures.append(rgb) or submit(self, rgb, memory))
    return pictures


def run(*args):
    """Return the exit status of the command with the words above, and parts of two images."""
    given = [str(arg) for arg in args]
    options = ['--vocabulary', WORDS, '--part-images', '2']
    return segment_bag.main([*options, *given])


def tree(folder):
    """Return the contents of all files in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def expected(segmenter, picture, **settings):
    return segmenter.segment(picture, segmenter.encode(Vocabulary.parse(WORDS)),
                             Settings(**settings), overlay_alpha=0.5)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_masks_are_those_of_the_segmenter_beside_the_original_messages(segmenter, storage):
    bag = record(Path('in'), storage, image=camera(5), imu=[text(i) for i in range(7)])
    assert run(bag, 'out', '--outputs', 'confidence,labels,overlay') == 0
    before, after = contents(bag), contents(Path('out'))
    assert [item for item in after if not item.topic.startswith('/segment')] == before
    vocabulary = Vocabulary.parse(WORDS)
    for index, image in enumerate(of(before, '/image')):
        result = expected(segmenter, frame(index))
        plain = result.overlay.copy()
        draw.draw_key(result.overlay, vocabulary.names, vocabulary.colors, result.labels)
        assert (result.overlay != plain).any()
        for output, encoding in [('labels', 'mono8'), ('overlay', 'rgb8'),
                                 ('confidence', 'mono8')]:
            mask = of(after, f'/segment/{output}')[index]
            assert mask.time == image.time
            assert mask.message.header == image.message.header
            assert mask.message.encoding == encoding
            assert (pixels(mask) == getattr(result, output)).all()
    assert len(of(after, '/segment/labels')) == 5
    assert len(list(Path('out').glob(f'out_?.{"mcap" if storage == "mcap" else "db3"}'))) == 3


def test_legend_comes_first_and_holds_for_all_masks(segmenter):
    run(record(Path('in'), image=camera(5)), 'out')
    for path in sorted(Path('out').glob('*.mcap')):
        topics = [item.topic for item in contents(path) if item.topic.startswith('/segment')]
        assert topics[:2] == ['/segment/legend', '/segment/label_info']
    for item in of(contents(Path('out')), '/segment/legend'):
        words = Vocabulary.parse(WORDS).legend(1, segmenter.name)
        assert legend(item) == {**words, 'stamp': {'sec': 0, 'nanosec': 0}}


def test_ros_reads_what_is_written():
    run(record(Path('in'), image=camera(1)), 'out')
    after = contents(Path('out'))
    words, mask = [deserialize_message(of(after, topic)[0].data, kind) for topic, kind in [
        ('/segment/legend', String), ('/segment/labels', Image)]]
    assert json.loads(words.data)['classes'][2]['name'] == 'car'
    assert (mask.encoding, mask.width, mask.height, mask.step) == ('mono8', 120, 90, 120)
    assert bytes(mask.data) == pixels(of(after, '/segment/labels')[0]).tobytes()


def test_label_info_says_the_same():
    """It is read by the definition that the bag has of it."""
    Path('node.yaml').write_text('/**: {ros__parameters: {unknown_threshold: 0.25}}')
    run(record(Path('in'), image=camera(1)), 'out', '--params-file', 'node.yaml')
    with AnyReader([Path('out')]) as reader:
        (_, _, data), = reader.messages(
            [item for item in reader.connections if item.topic == '/segment/label_info'])
        info = reader.deserialize(data, 'vision_msgs/msg/LabelInfo')
    assert [(item.class_id, item.class_name) for item in info.class_map] == [
        (0, 'sky'), (1, 'road'), (2, 'car')]
    assert info.threshold == 0.25
    assert (info.header.stamp.sec, info.header.stamp.nanosec) == (0, 0)


def test_stamp_of_the_legend_is_not_after_that_of_a_mask():
    early = raw(1)
    early[1].header.stamp.sec = -5
    run(record(Path('in'), image=[raw(0), early, raw(2)]), 'out', '--part-images', '9')
    stamps = [legend(item)['stamp'] for item in of(contents(Path('out')), '/segment/legend')]
    assert [stamp['sec'] for stamp in stamps] == [0, -5]


def test_topics_have_the_qos_of_the_recording_and_of_the_node():
    run(record(Path('in'), image=camera(1)), 'out')
    with Reader('out') as reader:
        qos = {item.topic: item.ext.offered_qos_profiles for item in reader.connections}
    assert qos['/image'] == [BEST_EFFORT]
    labels, = qos['/segment/labels']
    words, = qos['/segment/legend']
    assert labels.reliability == words.reliability == QosReliability.RELIABLE
    assert labels.durability == QosDurability.VOLATILE
    assert words.durability == QosDurability.TRANSIENT_LOCAL


def test_masks_are_those_of_the_live_node(graph, segmenter, tmp_path):
    graph.start(tmp_path, load=lambda **_: segmenter, prompts='imagenet80',
                vocabulary=['sky', 'road=street|lane', 'car'], unknown_threshold=0.45).flow()
    masks = []
    for index in range(3):
        image = Image(height=90, width=120, encoding='rgb8', step=360)
        image.data.frombytes(frame(index))
        image.header.stamp.sec, image.header.stamp.nanosec = STAMP, index
        masks.append(np.frombuffer(graph.mask_of(image).data, np.uint8).reshape(90, 120))
    Path('node.yaml').write_text('/**:\n  ros__parameters: {unknown_threshold: 0.45}\n')
    assert run(record(Path('in'), image=camera(3)), 'out', '--params-file', 'node.yaml') == 0
    bag = [pixels(item) for item in of(contents(Path('out')), '/segment/labels')]
    np.testing.assert_array_equal(masks, bag)
    assert 0.1 < np.mean(masks[0] == 255) < 0.9
    words = [legend(item) for item in of(contents(Path('out')), '/segment/legend')]
    assert words[0] == graph.legends[0]


def test_several_cameras_raw_and_compressed(segmenter, capsys):
    depth = [raw(index, np.zeros((4, 4), np.uint16), '16UC1') for index in range(2)]
    bag = record(Path('in'), front__image_raw=camera(2), front__image_raw__compressed=[jpeg(0)],
                 left__image__compressed=camera(3, jpeg), left__depth=depth)
    assert run(bag, 'out') == 0
    after = contents(Path('out'))
    assert {item.topic for item in after if item.topic.startswith('/segment')} == {
        '/segment/legend', '/segment/label_info', '/segment/front/labels',
        '/segment/front/overlay', '/segment/left/labels', '/segment/left/overlay'}
    # The JPEG holds blue where RGB has red, as image_transport writes it.
    picture = cv2.imdecode(of(after, '/left/image/compressed')[1].message.data, cv2.IMREAD_COLOR)
    mask = of(after, '/segment/left/labels')[1]
    assert (pixels(mask) == expected(segmenter, picture[..., ::-1].copy()).labels).all()
    said = capsys.readouterr().err
    assert '/front/image_raw/compressed is left out: /front/image_raw is the same camera' in said
    assert "/left/depth is left out: encoding '16UC1' holds measurements of depth" in said


def test_depth_and_video_beside_a_camera_change_nothing(capsys):
    others = {'depth': [compressed(i, '16UC1; png compressed ', b'\x89PNG\r\n\x1a\n')
                        for i in range(2)],
              'video': [compressed(i, 'h264', b'\0\0\0\1' + bytes(99)) for i in range(2)],
              'ids': [raw(i, np.zeros((4, 4), np.int32), '32SC1') for i in range(2)]}
    assert run(record(Path('in'), image=camera(2), **others), 'out') == 0
    after = contents(Path('out'))
    assert len(of(after, '/segment/labels')) == 2
    said = capsys.readouterr().err
    for topic, reason in [('depth', 'measurements of depth'), ('video', 'is a video stream'),
                          ('ids', 'holds measurements')]:
        assert f'in: /{topic} is left out: ' in said and reason in said


def test_types_without_their_msg_are_spelled_out_in_the_result():
    bag = rewrite(record(Path('in'), image=camera(2), imu=[text(0)]), Path('short.mcap'),
                  lambda kind: kind.replace('/msg/', '/'))
    assert run(bag, 'out') == 0
    after = contents(Path('out'))
    assert len(of(after, '/segment/labels')) == 2
    assert [item for item in after if '/segment' not in item.topic] == contents(Path('in'))


def test_a_topic_of_two_types():
    """As after a node was replaced while a bag was recorded."""
    bag = record(Path('in'), image=camera(2), other=[text(0), text(1)])
    for path in ('in/in.mcap', 'in/metadata.yaml'):
        data = Path(path).read_bytes().replace(b'/other', b'/image')
        Path(path).write_bytes(data)
    assert run(bag, 'out') == 0
    after = contents(Path('out'))
    assert len(of(after, '/image')) == 4 and len(of(after, '/segment/labels')) == 2


def test_named_topics_alone():
    bag = record(Path('in'), front__image=camera(2), left__image=camera(2))
    assert run(bag, 'out', '--topics', '/left/image', '--name', 'seg', '--outputs', 'labels') == 0
    assert {item.topic for item in contents(Path('out'))} == {
        '/front/image', '/left/image', '/seg/legend', '/seg/label_info', '/seg/labels'}


def test_reuse_starts_anew_in_each_part(segmenter):
    """Parts, and not the processes that make them, decide what is encoded again."""
    pictures = [frame(0) // 2 + 20 * index for index in range(4)]
    bag = record(Path('in'), image=[raw(index, picture) for index, picture in enumerate(pictures)])
    Path('reuse.yaml').write_text('segment:\n  ros__parameters: {reuse_threshold: 200.0}\n')
    options = ['--params-file', 'reuse.yaml', '--outputs', 'confidence']
    assert run(bag, 'whole', *options) == 0
    found = [pixels(item) for item in of(contents(Path('whole')), '/segment/confidence')]
    for mask, part in zip(found, (0, 0, 2, 2), strict=True):
        assert (mask == expected(segmenter, pictures[part]).confidence).all()
    assert (found[0] != found[2]).any()
    for shard in ('1/2', '0/2'):
        assert run(bag, 'shards', *options, '--shard', shard) == 0
    assert contents(Path('shards')) == contents(Path('whole'))


def test_bits_of_a_sensor_are_learned_from_the_first_images_for_all_parts(labelled, capsys):
    grey = [frame(index)[..., 0] for index in range(4)]
    # The last part is dark by itself.
    samples = [picture.astype(np.uint16) * 16 // (8 if index > 1 else 1)
               for index, picture in enumerate(grey)]
    bag = record(Path('in'), image=[raw(index, picture, 'mono16')
                                    for index, picture in enumerate(samples)])
    assert run(bag, 'out') == 0
    expected = [np.round(picture * (255 / 4095)) for picture in samples]
    for seen, picture in zip(labelled, expected, strict=True):
        assert np.abs(seen[..., 0] - picture).max() <= 1
    assert 'sensor_bits' not in capsys.readouterr().err
    Path('bits.yaml').write_text('segment:\n  ros__parameters: {sensor_bits: 16}\n')
    assert run(bag, 'dark', '--params-file', 'bits.yaml') == 0
    assert labelled[4].max() <= 16
    assert re.search('/image: the 16-bit samples are .* set sensor_bits to auto or 12',
                     capsys.readouterr().err)


def test_rate_takes_the_first_image_of_each_period(segmenter):
    # Recorded every 0.1 s, of which every third is the first in its 0.3 s.
    bag = record(Path('in'), image=camera(10))
    assert run(bag, 'out', '--rate', 1 / 0.3) == 0
    after = contents(Path('out'))
    assert [item.time for item in of(after, '/segment/labels')] == [
        time_of(index) for index in (0, 3, 6, 9)]
    assert len(of(after, '/image')) == 10


def test_parameters_mean_what_they_mean_to_the_node(loaded, segmenter):
    Path('node.yaml').write_text("""
/elsewhere/other: {ros__parameters: {model: wrong}}
/**: {ros__parameters: {model: demo, device: cpu, logit_scale: 20, unknown_threshold: 0.9}}
/robot/segment: {ros__parameters: {unknown_threshold: 0.36, overlay_legend: false}}
""")
    bag = record(Path('in'), image=camera(2))
    assert run(bag, 'out', '--params-file', 'node.yaml', '--device', 'auto') == 0
    assert loaded == [
        {'model': 'demo', 'device': 'auto', 'precision': 'auto', 'attention': 'auto',
         'residual': 'auto'}]
    result = expected(segmenter, frame(0), logit_scale=20.0, unknown_threshold=0.36)
    assert 0.1 < np.mean(result.labels == 255) < 0.9
    after = contents(Path('out'))
    assert (pixels(of(after, '/segment/labels')[0]) == result.labels).all()
    assert (pixels(of(after, '/segment/overlay')[0]) == result.overlay).all()


def test_pictures(segmenter):
    again = raw(3)
    again[1].header = raw(2)[1].header
    bag = record(Path('in'), image=[*camera(3), again])
    assert run(bag, 'out', '--format', 'png') == 0
    names = [f'{STAMP}.000000000.png', f'{STAMP}.100000000.png', f'{STAMP}.200000000.png',
             f'{STAMP}.200000000_2.png']
    for output in ('labels', 'overlay'):
        assert [path.name for path in sorted(Path('out', output).iterdir(), key=str)] == names
    labels = cv2.imread(f'out/labels/{names[3]}', cv2.IMREAD_UNCHANGED)
    assert (labels == expected(segmenter, frame(3)).labels).all()
    overlay = cv2.imread(f'out/overlay/{names[0]}')[..., ::-1]
    # Right of the key.
    assert (overlay[:, 90:] == expected(segmenter, frame(0)).overlay[:, 90:]).all()
    assert json.loads(Path('out/legend.json').read_text())['classes'][1]['name'] == 'road'


def test_video():
    bag = record(Path('in'), front__image=camera(5), left__image=[
        raw(0), raw(1, frame(1, (80, 60))), raw(2)])
    assert run(bag, 'out', '--format', 'mp4') == 0
    assert sorted(path.name for path in Path('out').iterdir()) == [
        'front', 'left', 'legend.json', 'segment_bag.json']
    for name, count in [('front', 5), ('left', 3)]:
        made = cv2.VideoCapture(f'out/{name}/overlay.mp4')
        assert made.get(cv2.CAP_PROP_FRAME_COUNT) == count
        assert made.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
        assert made.read()[1].shape == (90, 120, 3)


@pytest.fixture(params=[True, False], ids=['H.264', 'MPEG-4'])
def h264(request, monkeypatch):
    """Run a test with PyAV, where it is installed, and without."""
    if request.param and not video.HAS_H264:
        pytest.skip('PyAV is not installed')
    monkeypatch.setattr(video, 'HAS_H264', request.param)
    return request.param


def test_videos_play_in_browsers_or_it_is_said_that_they_do_not(h264, capsys):
    assert run(record(Path('in'), image=camera(3)), 'out', '--format', 'mp4') == 0
    said = capsys.readouterr().err
    assert ('browsers do not; after `pip install av` they are H.264' in said) is not h264
    # The boxes that hold the codec's parameters.
    data = Path('out/overlay.mp4').read_bytes()
    assert (b'avc1' in data and b'avcC' in data) is h264
    assert (b'mp4v' in data) is not h264
    # With what is needed to play it before the pictures.
    assert not h264 or data.index(b'moov') < data.index(b'mdat')


@pytest.mark.parametrize('size', [(1, 1), (7, 1), (1, 7), (2, 2), (121, 90), (120, 91), (33, 17)])
def test_videos_of_any_size(h264, size):
    shape = size[::-1]
    pictures = [np.full((*shape, 3), 80 * index, np.uint8) for index in range(3)]
    path = Path('video.mp4')
    video.encode(path, iter(pictures), 12.5)
    found = cv2.VideoCapture(str(path))
    assert found.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert found.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    for picture in pictures:
        read = found.read()[1]
        assert read.shape[:2] == tuple(side + side % 2 for side in shape)
        assert np.abs(read.astype(int) - picture[0, 0]).max() <= 8


def test_a_video_that_cannot_be_written_says_of_what_size(h264):
    with pytest.raises(OSError, match=r'nowhere.mp4 of 8 x 6 pixels|No such file'):
        video.encode(Path('no/nowhere.mp4'), iter([np.zeros((6, 8, 3), np.uint8)]), 10.0)


def test_a_picture_that_is_damaged_before_it_is_in_the_video(monkeypatch, capsys):
    """As by a disk that was full."""
    bag = record(Path('in'), image=camera(4))
    assemble = pictures.assemble_mp4

    def damage(*given):
        Path('out/.parts/1/overlay/0.png').write_bytes(b'')
        assemble(*given)

    with monkeypatch.context() as patch:
        patch.setattr(pictures, 'assemble_mp4', damage)
        assert run(bag, 'out', '--format', 'mp4', '--part-images', '2') == 1
    assert ('out/.parts/1/overlay/0.png has been damaged: delete out/.parts/1 and run the same '
            'command again') in capsys.readouterr().err
    shutil.rmtree('out/.parts/1')
    assert run(bag, 'out', '--format', 'mp4', '--part-images', '2') == 0
    assert cv2.VideoCapture('out/overlay.mp4').get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.parametrize('form', ['bag', 'png', 'mp4'])
def test_shards_together_make_what_one_process_makes(form, capsys):
    bags = [record(Path(name), image=camera(count), imu=[text(0)])
            for name, count in [('long', 7), ('short', 1), ('other', 3)]]
    assert run(*bags, 'whole', '--format', form) == 0
    for shard in ('2/3', '0/3'):
        assert run(*bags, 'shards', '--format', form, '--shard', shard) == 0
        assert 'parts are those of other shards' in capsys.readouterr().err
    assert not Path('shards/long/segment_bag.json').exists()
    assert run(*bags, 'shards', '--format', form, '--shard', '1/3') == 0
    assert tree(Path('shards')) == tree(Path('whole'))
    assert {path.parts[1] for path in Path('whole').rglob('*.json')} == {'long', 'short', 'other'}


def test_each_shard_does_its_share(labelled):
    bag = record(Path('in'), image=camera(8))
    run(bag, 'out', '--shard', '1/4')
    assert [picture.tobytes() for picture in labelled] == [
        frame(index).tobytes() for index in (2, 3)]
    # And one process the rest.
    run(bag, 'out')
    assert [item.time for item in of(contents(Path('out')), '/segment/labels')] == [
        time_of(index) for index in range(8)]
    assert len(labelled) == 8


def test_one_bag_of_several_files_and_none():
    """What comes out can go in again, under another name."""
    run(record(Path('in'), image=camera(4)), 'out')
    assert run('out', 'again', '--name', 'other') == 0
    after = contents(Path('again'))
    assert [pixels(item).tobytes() for item in of(after, '/other/labels')] == [
        pixels(item).tobytes() for item in of(after, '/segment/labels')]


def test_a_file_of_storage_without_its_folder():
    record(Path('in'), 'sqlite3', image=camera(2))
    shutil.move('in/in.db3', 'alone.db3')
    assert run('alone.db3', 'out', '--storage', 'mcap') == 0
    assert len(of(contents(Path('out')), '/segment/labels')) == 2
    assert [path.name for path in Path('out').glob('out_*')] == ['out_0.mcap']


@pytest.mark.parametrize('storage, compression', [
    ('mcap', CompressionMode.STORAGE), ('mcap', CompressionMode.FILE),
    ('sqlite3', CompressionMode.FILE), ('sqlite3', CompressionMode.MESSAGE)])
def test_compressed_storage(storage, compression):
    bag = record(Path('in'), storage, compression, image=camera(3))
    assert run(bag, 'out') == 0
    after = contents(Path('out'))
    assert of(after, '/image') == contents(bag)
    assert len(of(after, '/segment/labels')) == 3


def test_bag_of_an_old_recorder():
    """Until Humble a bag said nothing of types but their names."""
    bag = record(Path('in'), image=camera(2), imu=[text(0)])
    with sqlite3.connect('old.db3') as database:
        database.executescript("""
            CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
              serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
            CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,
              timestamp INTEGER NOT NULL, data BLOB NOT NULL);
            INSERT INTO topics VALUES(1, '/image', 'sensor_msgs/msg/Image', 'cdr', '');
            INSERT INTO topics VALUES(2, '/imu', 'odd_msgs/msg/Unknown', 'cdr', '');""")
        database.executemany(
            'INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)',
            [(1 if item.topic == '/image' else 2, item.time, item.data)
             for item in contents(bag)])
    assert run('old.db3', 'out') == 0
    after = contents(Path('out'))
    assert [(item.time, item.data) for item in after if not item.topic.startswith('/seg')] == [
        (item.time, item.data) for item in contents(bag)]
    with AnyReader([Path('out')]) as reader:
        kinds = {item.topic: (item.msgtype, item.digest) for item in reader.connections}
    assert kinds['/image'] == ('sensor_msgs/msg/Image', TYPES.hash_rihs01('sensor_msgs/msg/Image'))
    assert kinds['/imu'] == ('odd_msgs/msg/Unknown', '')


def test_types_that_nobody_knows_are_copied():
    TYPES.register(get_types_from_msg('uint8 value', 'odd_msgs/msg/Odd'))
    bag = record(Path('in'), image=camera(1),
                 odd=[('odd_msgs/msg/Odd', b'\x00\x01\x00\x00\x07\x00\x00\x00')])
    # As of recorders before message definitions were stored.
    Path('in/metadata.yaml').unlink()
    assert run('in/in.mcap', 'out') == 0
    with Reader(bag / 'in.mcap') as before, Reader('out') as after:
        before, after = [next(item for item in reader.connections if item.topic == '/odd')
                         for reader in (before, after)]
        assert after.msgdef == before.msgdef
        assert after.digest == TYPES.hash_rihs01('odd_msgs/msg/Odd')


# What a recording says of itself


def test_messages_that_no_index_lists_have_masks_too():
    bag = rewrite(record(Path('in'), image=camera(3)), Path('in.mcap'),
                  index_types=IndexType.ALL & ~IndexType.MESSAGE)
    assert run(bag, 'out') == 0
    after = contents(Path('out'))
    assert of(after, '/image') == contents(Path('in'))
    assert len(of(after, '/segment/labels')) == 3
    assert run(bag, 'pictures', '--format', 'png') == 0
    assert len([*Path('pictures/labels').iterdir()]) == 3


@pytest.mark.parametrize('topic', ['/image', '/imu'])
def test_a_bag_that_gives_less_than_it_lists_is_never_complete(monkeypatch, capsys, topic):
    messages = Recording.messages

    def lose(self, *args, **kwargs):
        """Leave the last message of a topic out, as an index may that lies elsewhere."""
        rows = [*messages(self, *args, **kwargs)]
        last = max((index for index, row in enumerate(rows) if row[0].topic == topic), default=-1)
        return (row for index, row in enumerate(rows) if index != last or len(rows) < 2)

    bag = record(Path('in'), image=camera(3), imu=[text(0), text(1)])
    monkeypatch.setattr(Recording, 'messages', lose)
    for form in ('bag', 'png'):
        assert run(bag, form, '--format', form, '--part-images', '9') == 1
        said = capsys.readouterr().err
        assert 'could be read' in said and '`mcap recover`' in said
        assert 'complete' not in said
        assert not Path(form, 'segment_bag.json').exists()


def test_one_bag_that_cannot_be_used_does_not_stop_the_others(capsys):
    """Of no messages, of no images, none, and one that turns out to be damaged on the way."""
    record(Path('empty'), image=[])
    record(Path('texts'), imu=[text(0)])
    good = [record(Path(name), image=camera(2)) for name in ('one', 'two')]
    damaged = record(Path('damaged'), 'sqlite3', image=camera(20))
    data = bytearray(Path('damaged/damaged.db3').read_bytes())
    data[-300_000:-290_000] = bytes(10_000)
    Path('damaged/damaged.db3').write_bytes(data)
    bags = [good[0], Path('empty'), Path('texts'), Path('nowhere'), damaged, good[1]]
    for topics in ([], ['--topics', '/image']):
        out = f'out{len(topics)}'
        assert run(*bags, out, *topics) == 1
        said = capsys.readouterr().err
        assert 'empty has no' in said and 'texts has no' in said and 'no bag nowhere' in said
        for bag in good:
            assert len(of(contents(Path(out, bag.name)), '/segment/labels')) == 2
        assert not Path(out, 'empty').exists()


def test_a_bag_of_no_messages(capsys):
    bag = record(Path('in'), image=[])
    assert run(bag, 'out') == 1
    assert '/image is left out: it has no messages' in capsys.readouterr().err
    assert run(bag, 'out', '--topics', '/image') == 1
    assert 'segment_bag: in has no messages: ' in capsys.readouterr().err
    assert not Path('out').exists()


@pytest.mark.parametrize('storage, clock', [
    ('mcap', lambda index: 0), ('sqlite3', lambda index: 0),
    ('mcap', lambda index: 0 if index == 0 else time_of(index))],
    ids=['mcap stands', 'sqlite3 stands', 'mcap starts late'])
def test_shards_have_equally_many_images_whatever_the_clock(labelled, storage, clock):
    bag = record(Path('in'), storage, clock=clock, image=camera(4),
                 imu=[text(index) for index in range(9)])
    for shard in ('0/2', '1/2'):
        labelled.clear()
        assert run(bag, 'out', '--shard', shard) == 0
        assert len(labelled) == 2
    after = contents(Path('out'))
    for topic in ('/image', '/imu'):
        assert of(after, topic) == of(contents(bag), topic)
    assert len(of(after, '/segment/labels')) == 4


def test_an_image_that_cannot_be_read_does_not_use_up_its_second():
    images = [raw(0, step=7), raw(1), *[raw(index) for index in range(2, 12)]]
    assert run(record(Path('in'), image=images), 'out', '--rate', '1') == 3
    assert [item.time for item in of(contents(Path('out')), '/segment/labels')] == [
        time_of(1), time_of(10)]


# Interruptions


class Killed(BaseException):
    """Ends a process in the middle, as SIGKILL does to all that does not clean up."""


def test_goes_on_after_an_interruption_at_any_image(monkeypatch, labelled, capsys):
    bag = record(Path('in'), image=camera(5))
    assert run(bag, 'whole') == 0
    submit = Labeller.submit
    for count in (0, 3, 4):
        labelled.clear()

        def interrupt(self, rgb, memory, count=count):
            if len(labelled) == count:
                signal.raise_signal(signal.SIGINT)
            return submit(self, rgb, memory)

        out = f'out{count}'
        with monkeypatch.context() as patch:
            patch.setattr(Labeller, 'submit', interrupt)
            assert run(bag, out) == 130
        assert 'the same command goes on from here' in capsys.readouterr().err
        assert not Path(out, 'metadata.yaml').exists()
        labelled.clear()
        assert run(bag, out) == 0
        # Of the five in parts of about two, those in parts that were complete are not repeated.
        assert len(labelled) <= 5 - count + 1
        assert contents(Path(out)) == contents(Path('whole'))
        assert not Path(out, '.parts').exists()


@pytest.mark.parametrize('form', ['bag', 'png', 'mp4'])
def test_goes_on_after_being_killed_between_any_two_changes_of_the_disk(monkeypatch, form):
    bag = record(Path('in'), image=camera(2))
    form = [*form.split(), '--part-images', '1']
    assert run(bag, 'out', '--format', *form) == 0
    whole = tree(Path('out'))
    done = False
    for count in itertools.count(1):
        shutil.rmtree('out')
        calls = itertools.count(1)
        with monkeypatch.context() as patch:
            for name in ('replace', 'rename'):
                def change(*args, real=getattr(os, name), **kwargs):
                    if next(calls) == count:
                        raise Killed
                    return real(*args, **kwargs)
                patch.setattr(os, name, change)
            # Nothing is tidied up by a process that is killed.
            patch.setattr(shutil, 'rmtree', lambda *args, **kwargs: None)
            try:
                run(bag, 'out', '--format', *form)
                done = True
            except Killed:
                done = False
        finished = Path('out/segment_bag.json').exists()
        if finished and form[0] == 'bag':
            assert len(of(contents(Path('out')), '/segment/labels')) == 2
        assert run(bag, 'out', '--format', *form) == 0
        assert tree(Path('out')) == whole
        if done:
            break
    assert count > 6


def test_goes_on_after_sigkill(monkeypatch, labelled, tmp_path):
    """A real process with the bundled model, killed while it works on the second part."""
    bag = record(tmp_path / 'in', image=[raw(i, frame(i, (320, 240))) for i in range(12)])
    args = [str(bag), str(tmp_path / 'out'), '--model', 'demo', '--device', 'cpu',
            '--part-images', '4']
    process = subprocess.Popen([sys.executable, '-m', 'csa_ros.tools.segment_bag', *args],
                               cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / 'out/.parts/0').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (tmp_path / 'out/metadata.yaml').exists()
    monkeypatch.setattr(Segmenter, 'load', LOAD)
    assert segment_bag.main(args) == 0
    assert len(of(contents(tmp_path / 'out'), '/segment/labels')) == 12
    assert len(labelled) == 8


def test_two_processes_at_the_same(monkeypatch, labelled):
    """While one is in the middle of a part another does everything."""
    bag = record(Path('in'), image=camera(4))
    submit, begun = Labeller.submit, []

    def overtake(self, rgb, memory):
        if not begun:
            begun.append(True)
            assert run(bag, 'out') == 0
            begun.append(contents(Path('out')))
        return submit(self, rgb, memory)

    monkeypatch.setattr(Labeller, 'submit', overtake)
    assert run(bag, 'out') == 0
    assert len(begun[1]) == 16 and contents(Path('out')) == begun[1]
    assert not Path('out/.parts').exists()


def test_sigterm_ends_it_like_ctrl_c(monkeypatch, labelled):
    bag = record(Path('in'), image=camera(4))
    monkeypatch.setattr(Labeller, 'submit',
                        lambda *_: signal.raise_signal(signal.SIGTERM))
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        run(bag, 'out')
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == handler
    assert sorted(path.name for path in Path('out/.parts').iterdir()) == ['job.json']


def test_what_is_complete_is_not_done_again(labelled, loaded, capsys):
    bag = record(Path('in'), image=camera(3))
    assert run(bag, 'out') == 0
    before = tree(Path('out'))
    assert run(bag, 'out') == 0
    assert len(labelled) == 3 and len(loaded) == 1
    assert tree(Path('out')) == before
    assert 'out: complete, 3 images have masks' in capsys.readouterr().err


# Bad input


def test_bad_images_are_copied_and_counted_and_have_no_masks(capsys):
    kind, _ = raw(0)
    images = [raw(0), raw(1, step=7), (kind, b'\x00\x01\x00\x00\x07'), raw(3),
              raw(4, data=np.zeros(5, np.uint8)), raw(5, width=2**31, height=2**31), raw(6)]
    bag = record(Path('in'), image=images)
    for _ in 'once', 'again':
        assert run(bag, 'out') == segment_bag.IMAGES_LEFT_OUT
        said = capsys.readouterr().err
        assert 'out: 4 images could not be read and have no masks' in said
        assert f'/image at {time_of(1)}: rgb8 image of 120 x 90 pixels has step 7' in said
        assert 'its 5 bytes are no sensor_msgs/msg/Image' in said
    after = contents(Path('out'))
    assert of(after, '/image') == contents(bag)
    assert [item.time for item in of(after, '/segment/labels')] == [
        time_of(index) for index in (0, 3, 6)]


def spoil(path, keep):
    """Cut a bag's file off."""
    file = next(path.glob('*.mcap'))
    file.write_bytes(file.read_bytes()[:keep])


def make_bad(name):
    """Make a bag that cannot be segmented, and return its path."""
    path = Path(name)
    if name == 'notes.txt':
        path.write_text('no bag')
    elif name == 'empty':
        path.mkdir()
    elif name == 'reindex':
        record(path, image=camera(1))
        (path / 'metadata.yaml').unlink()
    elif name == 'cut':
        record(path, image=camera(3))
        spoil(path, 900)
    elif name == 'nothing':
        record(path, imu=[text(0)])
    elif name == 'depth':
        record(path, depth=[raw(0, np.zeros((4, 4), np.float32), '32FC1')])
    elif name == 'ran':
        record(path, image=camera(1), segment__labels=camera(1))
    elif name == 'ros1.bag':
        path.write_bytes(b'#ROSBAG V2.0\n')
    return path


@pytest.mark.parametrize('name, reason', [
    ('missing', 'there is no bag missing'),
    ('notes.txt', "notes.txt is no recording: it begins with b'no bag'; name the folder"),
    ('empty', 'empty is no bag: it has no metadata.yaml; name the folder'),
    ('reindex', 'the recorder was cut off, run `ros2 bag reindex reindex`'),
    ('cut', 'mcap recover'),
    ('ros1.bag', 'rosbags-convert --src ros1.bag'),
    ('nothing', 'nothing has no image topic. Its topics: /imu (std_msgs/msg/String)'),
    ('depth', "/depth is left out: encoding '32FC1' holds measurements of depth"),
    ('ran', 'has a topic /segment/labels already'),
])
def test_bags_that_cannot_be_used(capsys, name, reason):
    bag = make_bad(name)
    args = ['--topics', '/image'] if name == 'ran' else []
    assert run(bag, 'out', *args) == 1
    said = capsys.readouterr().err
    assert reason in said
    assert said.count('\n') == 1
    assert not Path('out').exists()


@pytest.mark.parametrize('args, status, reason', [
    (['--topics', '/nope'], 1, 'has no topic /nope. Its image topics: /image'),
    (['--topics', '/image,/imu'], 1, 'topic /imu of in holds std_msgs/msg/String, no images'),
    (['--shard', '2/2'], 2, 'of 2 shards the first is 0/2 and the last 1/2'),
    (['--shard', '1'], 2, "shard is '1': write i/n"),
    (['--shard', '0/0'], 2, 'shard is 0/0'),
    (['--outputs', 'depth'], 2, "'depth' is no output: choose from labels, overlay"),
    (['--format', 'mp4', '--outputs', 'labels'], 2, 'a video holds the overlay alone'),
    (['--part-images', '0'], 2, '--part-images is 0'),
    (['--name', '../x'], 2, "--name is '../x': use letters"),
    (['--vocabulary', 'road, road'], 1, "both named 'road'"),
    (['--rate', '-1'], 1, 'max_rate is -1.0: it must be from 0.0 to'),
    (['--params-file', 'nope.yaml'], 1, 'nope.yaml cannot be read'),
    (['--params-file', 'list.yaml'], 1, 'has no parameters for a node called segment'),
    (['--params-file', 'flat.yaml'], 1, '/** has no ros__parameters'),
    (['--params-file', 'bad.yaml'], 1, 'logit_scale is'),
])
def test_bad_arguments(capsys, args, status, reason):
    record(Path('in'), image=camera(1), imu=[text(0)])
    Path('list.yaml').write_text('[1]')
    Path('flat.yaml').write_text('/**: {model: demo}')
    Path('bad.yaml').write_text('/**: {ros__parameters: {logit_scale: much}}')
    try:
        assert run('in', 'out', *args) == status
    except SystemExit as ended:
        assert ended.code == status
    assert reason in capsys.readouterr().err
    assert not Path('out').exists()


def test_unknown_parameters_are_named(capsys):
    Path('node.yaml').write_text('/**: {ros__parameters: {vocabularly: road, use_sim_time: true}}')
    assert run(record(Path('in'), image=camera(1)), 'out', '--params-file', 'node.yaml') == 0
    assert 'not known, and ignored: use_sim_time, vocabularly' in capsys.readouterr().err


def test_nothing_is_overwritten_or_mixed(capsys):
    bag = record(Path('in'), image=camera(3))
    Path('file').write_text('mine')
    Path('folder').mkdir()
    Path('folder/mine.txt').write_text('mine')
    for out, reason in [('file', 'file exists and is a file'), ('in', 'in exists and holds'),
                        ('folder', 'folder exists and holds mine.txt')]:
        assert run(bag, out) == 1
        assert reason in capsys.readouterr().err
    assert tree(Path('folder')) == {'mine.txt': b'mine'}
    run(bag, 'out', '--shard', '0/2')
    for _ in 'begun', 'complete':
        before = tree(Path('out'))
        assert run(bag, 'out', '--vocabulary', 'sky, mud') == 1
        assert "out was begun with another vocabulary: ['sky'" in capsys.readouterr().err
        assert run(record(Path('in2'), image=camera(2)), 'out') == 1
        assert 'out was begun with another bag' in capsys.readouterr().err
        shutil.rmtree('in2')
        assert tree(Path('out')) == before
        run(bag, 'out')


def taught(segmenter, path, *regions):
    """Write a file in which the right half of the first frame, and more of it, is a dock."""
    examples = Examples()
    for region in ((32, 0, 32, 48), *regions):
        examples = examples.add('dock', segmenter.look(frame(0), region))
    write(Path(path), examples)
    return examples


def test_what_was_taught_joins_the_words(segmenter):
    examples = taught(segmenter, 'taught.safetensors')
    bag = record(Path('in'), image=camera(2))
    assert run(bag, 'out', '--examples', 'taught.safetensors') == 0
    vocabulary = Vocabulary.parse(f'{WORDS}, dock')
    words = segmenter.encode(vocabulary, examples=examples)
    after = contents(Path('out'))
    masks = of(after, '/segment/labels')
    for index, mask in enumerate(masks):
        assert (pixels(mask) == segmenter.segment(frame(index), words).labels).all()
    assert any((pixels(mask) == len(vocabulary) - 1).any() for mask in masks)
    said, = {json.dumps(legend(item)['classes'][-1]) for item in of(after, '/segment/legend')}
    assert json.loads(said)['name'] == 'dock' and json.loads(said)['taught'] == 1


def test_a_result_is_not_gone_on_with_by_other_examples(segmenter, capsys):
    taught(segmenter, 'taught.safetensors')
    bag = record(Path('in'), image=camera(4))
    asked = [bag, 'out', '--examples', 'taught.safetensors']
    assert run(*asked, '--shard', '0/2') == 0
    # Others in the same file, and then what was there.
    taught(segmenter, 'taught.safetensors', (0, 0, 32, 48))
    before = tree(Path('out'))
    assert run(*asked) == 1
    assert 'out was begun with another examples' in capsys.readouterr().err
    assert tree(Path('out')) == before
    taught(segmenter, 'taught.safetensors')
    assert run(*asked) == 0


def test_examples_that_cannot_be_used_leave_nothing(segmenter, monkeypatch, capsys):
    bag = record(Path('in'), image=camera(2))
    asked = [bag, 'out', '--examples', 'taught.safetensors']
    assert run(*asked) == 1
    assert 'there is no file of examples taught.safetensors' in capsys.readouterr().err
    taught(segmenter, 'taught.safetensors')
    other = Segmenter(segmenter.backbone, 'vanilla')
    monkeypatch.setattr(Segmenter, 'load', lambda settings, **_: other)
    assert run(*asked) == 1
    assert 'were seen with attention csa in place of vanilla' in capsys.readouterr().err
    Path('taught.safetensors').write_bytes(Path('taught.safetensors').read_bytes()[:-9])
    assert run(*asked) == 1
    assert 'taught.safetensors is damaged' in capsys.readouterr().err
    assert not Path('out').exists()


def test_bags_of_one_name_are_not_mixed(capsys):
    for folder in ('a', 'b'):
        Path(folder).mkdir()
        record(Path(folder, 'in'), image=camera(1))
    assert run('a/in', 'b/in', 'out') == 1
    assert 'a/in and b/in would both be written to out/in' in capsys.readouterr().err


def test_an_error_of_the_segmenter_ends_it_and_it_can_be_repeated(monkeypatch, capsys):
    bag = record(Path('in'), image=camera(4))
    submit = Labeller.submit
    with monkeypatch.context() as patch:
        patch.setattr(Labeller, 'submit', lambda self, rgb, memory: 1 / 0 if (
            rgb == frame(2)).all() else submit(self, rgb, memory))
        with pytest.raises(ZeroDivisionError):
            run(bag, 'out')
    assert Path('out/.parts/0').exists() and not Path('out/.parts/1').exists()
    assert run(bag, 'out') == 0


def test_a_log_without_a_terminal_tells_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(progress, 'PERIOD', 0.0)
    assert run(record(Path('in'), image=camera(3)), 'out') == 0
    assert '0 of 0 s of recording, 3 images, ' in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_leaves_nothing(monkeypatch, capsys):
    """Nothing is in the way of the command with another model."""
    bag = record(Path('in'), image=camera(1))
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, 'load', LOAD)
        assert run(bag, 'out', '--model', 'nonsense') == 1
    assert "segment_bag: model 'nonsense'" in capsys.readouterr().err
    assert not Path('out').exists()


def test_rosbags_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(segment_bag, 'HAS_ROSBAGS', False)
    assert run('in', 'out') == 1
    assert 'pip install rosbags' in capsys.readouterr().err


def test_pictures_of_a_message_are_those_of_the_node():
    """What rosbags reads is taken for a message of ROS, in an encoding that is converted."""
    _, message = raw(0, frame(0)[..., ::-1], 'bgr8')
    assert (to_rgb(message) == frame(0)).all()
