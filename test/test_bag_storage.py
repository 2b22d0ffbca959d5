"""What a storage says of its messages against what it holds, and files that are no recording."""

from pathlib import Path
import shutil
import sqlite3
import struct

from csa_ros.bags import index
from csa_ros.bags.errors import BagError
from csa_ros.bags.reading import Recording
from mcap.writer import CompressionType
from mcap.writer import IndexType
from mcap.writer import Writer
import pytest
from recordings import camera
from recordings import contents
from recordings import record
from recordings import rewrite
from recordings import text
from recordings import time_of
from rosbags.rosbag2 import CompressionMode
import yaml

UNLISTED = IndexType.ALL & ~IndexType.MESSAGE
MAGIC = b'\x89MCAP0\r\n'


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Return a bag that nobody changes: five images, and two messages of another kind."""
    return record(tmp_path_factory.mktemp('bags') / 'in', image=camera(5),
                  imu=[text(0), text(1)])


def held(path):
    """Return what a recording gives, after checking that its counts and times say the same."""
    with Recording(Path(path)) as recording:
        read = [(item.topic, time, bytes(data)) for item, time, data in recording.messages()]
        for item in recording.connections:
            assert item.msgcount == sum(topic == item.topic for topic, _, _ in read)
        assert recording.count == len(read)
        times = [time for _, time, _ in read]
        assert (recording.start, recording.end) == (min(times), max(times) + 1)
        assert recording.times(['/image']).tolist() == sorted(
            time for topic, time, _ in read if topic == '/image')
        return read


def refusal(path):
    """Return why a path is no recording that can be used."""
    with pytest.raises(BagError) as caught, Recording(Path(path)) as recording:
        [*recording.messages()]
    assert '\n' not in str(caught.value)
    return str(caught.value)


def remarks(path):
    with Recording(Path(path)) as recording:
        return recording.remarks


def change(folder, **values):
    """Change the metadata of a bag."""
    path = folder / 'metadata.yaml'
    metadata = yaml.safe_load(path.read_text())
    metadata['rosbag2_bagfile_information'].update(values)
    path.write_text(yaml.safe_dump(metadata))


# Indexes


@pytest.mark.parametrize('options', [
    {}, {'index_types': UNLISTED}, {'index_types': IndexType.NONE},
    {'index_types': IndexType.MESSAGE}, {'index_types': UNLISTED, 'use_statistics': False},
    {'use_statistics': False}, {'use_statistics': False, 'repeat_channels': False},
    {'repeat_schemas': False, 'repeat_channels': False},
    {'index_types': UNLISTED, 'repeat_channels': False, 'repeat_schemas': False},
    {'use_chunking': False}, {'use_chunking': False, 'use_statistics': False},
    {'use_chunking': False, 'index_types': IndexType.NONE, 'use_summary_offsets': False},
    {'compression': CompressionType.NONE}, {'compression': CompressionType.LZ4},
    {'index_types': UNLISTED, 'compression': CompressionType.NONE, 'chunk_size': 1},
    {'chunk_size': 1}, {'enable_crcs': False},
], ids=str)
def test_mcaps_are_read_whatever_their_indexes_list(bag, options):
    rewrite(bag, 'in.mcap', **options)
    assert held('in.mcap') == [(item.topic, item.time, item.data) for item in contents(bag)]


def test_what_indexes_list_is_not_read_to_find_it(bag, monkeypatch):
    """Bags are large; their indexes are small."""
    monkeypatch.setattr(index.McapReader, 'messages', lambda *_: pytest.fail('read'))
    with Recording(bag) as recording:
        assert recording.times(['/image']).tolist() == [time_of(index) for index in range(5)]


def test_an_index_that_lists_a_part_alone(bag):
    """As the recorder left it that wrote chunks on after its last index."""
    path = rewrite(bag, Path('in.mcap'), chunk_size=1, compression=CompressionType.NONE)
    data = bytearray(path.read_bytes())
    # Message indexes of one entry, of which the first loses it: opcode, length, channel, size.
    at = data.index(b'\x07\x16\0\0\0\0\0\0\0')
    data[at + 11:at + 15] = bytes(4)
    path.write_bytes(data)
    assert len(held(path)) == 7


def test_an_index_of_chunks_that_says_another_time(bag):
    path = rewrite(bag, Path('in.mcap'), chunk_size=1)
    data = path.read_bytes()
    both = struct.pack('<QQ', time_of(3), time_of(3))
    before, after = data.rsplit(both, 1)
    path.write_bytes(before + struct.pack('<QQ', 5, 6) + after)
    assert len(held(path)) == 7


def test_unindexed_messages_that_are_in_no_order(bag):
    messages = contents(bag)
    with open('in.mcap', 'wb') as file:
        writer = Writer(file, index_types=IndexType.NONE)
        writer.start('ros2')
        schema = writer.register_schema('std_msgs/msg/String', 'ros2msg', b'string data')
        channel = writer.register_channel('/text', 'cdr', schema)
        for item in messages[::-1]:
            writer.add_message(channel, item.time, item.data, item.time)
        writer.finish()
    assert 'not in timestamp order' in refusal('in.mcap')
    assert '`mcap recover in.mcap' in refusal('in.mcap')


# Metadata


def test_files_are_believed_and_not_metadata(bag):
    copy = shutil.copytree(bag, 'in')
    metadata = yaml.safe_load(Path(copy, 'metadata.yaml').read_text())
    topics = metadata['rosbag2_bagfile_information']['topics_with_message_count']
    for topic in topics:
        topic['message_count'] *= 2
        topic['topic_metadata']['type'] = topic['topic_metadata']['type'].replace('/msg/', '/')
        topic['topic_metadata']['offered_qos_profiles'] = []
    change(Path(copy), message_count=14, topics_with_message_count=topics,
           starting_time={'nanoseconds_since_epoch': 5}, duration={'nanoseconds': 1})
    assert held(copy) == held(bag)
    assert remarks(copy) == [
        'it counts 10 messages of /image, and holds 5; what is there is used']
    assert remarks(bag) == []


def test_a_topic_that_the_metadata_leave_out_is_there(bag):
    copy = Path(shutil.copytree(bag, 'in'))
    change(copy, topics_with_message_count=[])
    assert held(copy) == held(bag)


def split(bag, name='in'):
    """Make a bag of two files, and return it."""
    folder = Path(shutil.copytree(bag, name))
    shutil.copy(folder / 'in.mcap', folder / 'in_1.mcap')
    change(folder, relative_file_paths=['in.mcap', 'in_1.mcap'])
    return folder


def test_files_of_a_split_bag(bag):
    folder = split(bag)
    assert len(held(folder)) == 14
    change(folder, relative_file_paths=['in.mcap'])
    assert remarks(folder) == [
        'in_1.mcap is not in metadata.yaml and is not read; `ros2 bag reindex in` takes it in']
    change(folder, relative_file_paths=['in.mcap', 'in_2.mcap'])
    assert refusal(folder) == (
        'in/in_2.mcap is missing, which is in metadata.yaml: copy it there, or do without it '
        'after `ros2 bag reindex in`')


@pytest.mark.parametrize('kind', ['mcap', 'sqlite3'])
def test_a_file_of_another_kind_in_a_bag(bag, kind):
    folder = split(bag)
    if kind == 'sqlite3':
        change(folder, storage_identifier=kind)
        assert 'in/in.mcap is a file of mcap storage, not of sqlite3 as' in refusal(folder)
    else:
        (folder / 'in_1.mcap').write_text('no bag')
        assert "in/in_1.mcap is no recording: it begins with b'no bag'" in refusal(folder)


def test_a_database_with_a_log_beside():
    folder = record(Path('in'), 'sqlite3', image=camera(1))
    (folder / 'in.db3-wal').write_bytes(b'log')
    assert 'in.db3-wal may hold its last messages' in remarks(folder)[0]
    assert 'wal_checkpoint' in remarks(folder / 'in.db3')[0]


def test_messages_of_no_topic():
    folder = record(Path('in'), 'sqlite3', image=camera(3))
    with sqlite3.connect(folder / 'in.db3') as database:
        database.execute('UPDATE messages SET topic_id = 9 WHERE id = 2')
    assert '1 messages belong to no topic' in ' '.join(remarks(folder / 'in.db3'))
    assert len(held(folder / 'in.db3')) == 2


# Compression


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_messages_that_are_compressed_one_by_one(storage):
    folder = record(Path('in'), storage, CompressionMode.MESSAGE, image=camera(2))
    assert len(held(folder)) == 2
    alone = shutil.copy(next(folder.glob('in.*')), f'alone{next(folder.glob("in.*")).suffix}')
    assert 'name the folder' in refusal(alone) and 'one by one (zstd)' in refusal(alone)
    change(folder, compression_mode='', compression_format='')
    assert '`compression_mode: MESSAGE`' in refusal(folder)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_files_that_are_compressed(storage):
    folder = record(Path('in'), storage, CompressionMode.FILE, image=camera(2))
    assert len(held(folder)) == 2
    file = next(folder.glob('*.zstd'))
    suffix = Path(file.stem).suffix
    for alone in (file, shutil.copy(file, file.name.removesuffix('.zstd'))):
        said = refusal(alone)
        assert 'was compressed as a whole: name the folder' in said
        assert f'`zstd -dc {alone} > NEW{suffix}`' in said
    change(folder, compression_mode='NONE')
    assert '`compression_mode: FILE`' in refusal(folder)
    change(folder, compression_mode='FILE')
    file.write_bytes(MAGIC)
    assert f'{file} is not compressed, as metadata.yaml says' in refusal(folder)
    (folder / 'metadata.yaml').unlink()
    assert 'run `ros2 bag reindex in`' in refusal(folder)


# Files that are no recording of ROS 2


@pytest.mark.parametrize('name, data, said', [
    ('a.bag', b'#ROSBAG V2.0\n', 'is a bag of ROS 1: convert it first, with `rosbags-convert'),
    ('a.mcap', b'#ROSBAG V2.0\n', 'is a bag of ROS 1'),
    ('a.db3', b'#ROSBAG V1.2\n', 'is a bag of ROS 1'),
    ('a.bag', b'a bag', "is no recording: it begins with b'a bag'; name the folder"),
    ('a.mcap', b'{"topic": 1}', 'is no recording: it begins with'),
    ('a.db3', b'topic,time\n', 'is no recording: it begins with'),
    ('a.mcap', b'\0' * 99, 'is no recording: it begins with'),
    ('a', b'PK\3\4', 'is no recording: it begins with'),
    ('a.mcap', b'version https://git-lfs.github.com/spec/v1\noid', '`git lfs pull`'),
    ('a.mcap', b'', 'a.mcap is empty: the recorder was ended before it wrote'),
    ('a.bag', MAGIC, 'is a file of mcap storage by its bytes, but not by its name'),
    ('a.db3', MAGIC, 'is a file of mcap storage by its bytes, not of sqlite3 as its name says'),
    ('a.mcap', b'SQLite format 3\0', 'is a file of sqlite3 storage by its bytes'),
])
def test_files_are_known_by_their_bytes(name, data, said):
    Path(name).write_bytes(data)
    assert said in refusal(name)
    assert 'reindex' not in refusal(name) and 'recover' not in refusal(name)


@pytest.mark.parametrize('profile, coding, said', [
    ('ros1', 'ros1', "is an MCAP of the profile 'ros1', not of ROS 2: convert the bag of ROS 1"),
    ('', 'json', "is an MCAP of the profile '', not of ROS 2: only messages in CDR"),
    ('x' * 999, 'protobuf', "of the profile 'xxx"),
])
def test_mcaps_of_others(bag, profile, coding, said):
    rewrite(bag, 'a.mcap', profile=profile, coding=coding)
    assert said in refusal('a.mcap')
    assert 'reindex' not in refusal('a.mcap') and 'recover' not in refusal('a.mcap')


@pytest.mark.parametrize('storage, step', [
    ('mcap', '`mcap recover {}'), ('sqlite3', '`sqlite3 {} .dump')])
def test_what_is_damaged_is_to_be_repaired(storage, step):
    folder = record(Path('in'), storage, image=camera(3))
    file = next(folder.glob('in.*'))
    file.write_bytes(file.read_bytes()[:len(file.read_bytes()) // 2])
    assert step.format('FILE') in refusal(folder)
    assert step.format(file) in refusal(file)
    assert '`ros2 bag reindex in`' in refusal(folder)


def test_what_rosbags_does_not_read_is_not_called_damaged(bag):
    with open('in.mcap', 'wb') as file:
        writer = Writer(file)
        writer.start('ros2')
        writer.register_channel('/x', 'json', writer.register_schema('x', 'jsonschema', b'{}'))
        writer.finish()
    folder = Path(shutil.copytree(bag, 'in'))
    change(folder, version=99)
    for path in ('in.mcap', folder):
        assert '`ros2 bag convert`' in refusal(path)
        assert 'reindex' not in refusal(path) and 'recover' not in refusal(path)


def test_metadata_that_are_damaged_are_to_be_made_anew(bag):
    folder = Path(shutil.copytree(bag, 'in'))
    for broken in ('}', '', 'rosbag2_bagfile_information: {version: 9}'):
        (folder / 'metadata.yaml').write_text(broken)
        assert '`ros2 bag reindex in`' in refusal(folder)
