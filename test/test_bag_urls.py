"""Recordings at URLs: read and written as those of folders are, byte for byte."""

import itertools
import logging
import os
from pathlib import Path
import pickle

from csa_ros import urls
from csa_ros.bags import remote
from csa_ros.bags import run as bag_run
from csa_ros.bags import scratch
from csa_ros.bags.labelling import Labeller
from csa_ros.bags.object_store import ObjectStore
from csa_ros.bags.reading import Recording
from csa_ros.segmenter import Segmenter
from csa_ros.tools import segment_bag
from csa_ros.urls import place
import pytest
from recordings import camera
from recordings import frame
from recordings import raw
from recordings import record
from recordings import text
from recordings import time_of
from rosbags.rosbag2 import CompressionMode
from towers import make_backbone

fsspec = pytest.importorskip('fsspec', reason='fsspec knows what URLs are')
s3fs = pytest.importorskip('s3fs', reason='s3fs reads and writes s3://')
pytest.importorskip('upath', reason='universal-pathlib names what is at URLs')
server = pytest.importorskip('moto.server', reason='moto is an S3 to test with')
botocore = pytest.importorskip('botocore.exceptions', reason='it comes with s3fs')

WORDS = 'sky, road=street|lane, car'


class Killed(BaseException):
    """Ends a process in the middle, as SIGKILL does to all that does not clean up."""


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def s3():
    """Return the file system of an S3, empty but for a bucket."""
    # It tells of every request.
    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    moto = server.ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('AWS_ENDPOINT_URL', f'http://{host}:{port}')
        patch.setenv('AWS_ACCESS_KEY_ID', 'name')
        patch.setenv('AWS_SECRET_ACCESS_KEY', 'secret')
        patch.setenv('AWS_DEFAULT_REGION', 'us-east-1')
        system = s3fs.S3FileSystem(use_listings_cache=False)
        system.mkdir('fleet')
        yield system
    moto.stop()


@pytest.fixture(autouse=True)
def loaded(monkeypatch, segmenter, tmp_path):
    """Let the command load the tiny tower, and copies of bags be its own."""
    monkeypatch.setattr(Segmenter, 'load', lambda settings, **model: segmenter)
    monkeypatch.chdir(tmp_path)
    Path('tmp').mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'tmp'))


@pytest.fixture
def bucket(s3, request):
    """Return the URL of a folder of the test's own."""
    url = f's3://fleet/{abs(hash(request.node.name))}'
    yield url
    if s3.exists(url):
        s3.rm(url, recursive=True)


@pytest.fixture
def memory():
    """Return a file system of fsspec in this process, and the URL of a folder there."""
    system = fsspec.filesystem('memory')
    yield system, 'memory://fleet'
    system.rm('/fleet', recursive=True)


def run(*args):
    """Return the exit status of the command with the words above, and parts of two images."""
    return segment_bag.main(
        ['--vocabulary', WORDS, '--part-images', '2', *map(str, args)])


def tree(folder):
    """Return the contents of all files in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(Path(folder).rglob('*')) if path.is_file()}


def stored(system, url):
    """Return the contents of all files at a URL."""
    name = system._strip_protocol(url)
    return {path.removeprefix(f'{name}/'): system.cat_file(path) for path in system.find(url)}


@pytest.mark.parametrize('storage, compression', [
    ('mcap', CompressionMode.NONE), ('sqlite3', CompressionMode.NONE),
    ('sqlite3', CompressionMode.FILE)])
def test_from_url_to_url_is_what_is_made_of_folders(s3, bucket, storage, compression):
    record(Path('in'), storage, compression, image=camera(5), imu=[text(i) for i in range(7)])
    s3.put('in', f'{bucket}/in', recursive=True)
    assert run('in', 'out') == 0
    assert run(f'{bucket}/in/', f'{bucket}/out/') == 0
    made = stored(s3, f'{bucket}/out')
    assert made == tree('out') and 'metadata.yaml' in made
    assert os.listdir('tmp')


@pytest.mark.parametrize('form', ['bag', 'png', 'mp4'])
def test_every_form(memory, form):
    """In another store than S3, which takes no time."""
    system, bucket = memory
    record(Path('in'), front=camera(3), left=camera(1))
    Path('params.yaml').write_text('/**:\n  ros__parameters:\n    find_threshold: 0.0\n')
    options = ['--format', form, '--find', 'a dog', '--params-file', 'params.yaml']
    assert run('in', 'out', *options) == 0
    assert run('in', f'{bucket}/out', *options) == 0
    made = stored(system, f'{bucket}/out')
    assert made == tree('out') and {'found.jsonl', 'found.png'} <= made.keys()


@pytest.mark.parametrize('form', ['bag', 'png', 'mp4'])
def test_goes_on_after_being_killed_between_any_two_writes(memory, monkeypatch, form):
    system, bucket = memory
    record(Path('in'), image=camera(2))
    options = ['--format', form, '--part-images', '1']
    assert run('in', 'out', *options) == 0
    whole = tree('out')
    made = 0
    for count in itertools.count(1):
        calls = itertools.count(1)
        with monkeypatch.context() as patch:
            for name in ('_put', '_write', 'move', 'tidy'):
                def change(self, *args, real=getattr(ObjectStore, name)):
                    if next(calls) == count:
                        raise Killed
                    return real(self, *args)
                patch.setattr(ObjectStore, name, change)
            try:
                run('in', f'{bucket}/{count}/out', *options)
                break
            except Killed:
                pass
        complete = system.exists(f'{bucket}/{count}/out/segment_bag.json')
        if complete:
            made += 1
            assert whole.items() <= stored(system, f'{bucket}/{count}/out').items()
        assert run('in', f'{bucket}/{count}/out', *options) == 0
        assert stored(system, f'{bucket}/{count}/out') == whole
    assert count > 8 and made


def test_two_processes_at_the_same(memory, monkeypatch):
    """While one is in the middle of a part, and again of the last step, another does all."""
    system, bucket = memory
    record(Path('in'), image=camera(4))
    assert run('in', 'out') == 0
    for kind, name in ((Labeller, 'submit'), (ObjectStore, 'move')):
        out, begun = f'{bucket}/{name}/out', []

        def overtake(*args, real=getattr(kind, name)):
            if not begun:
                begun.append(True)
                assert run('in', out) == 0
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(kind, name, overtake)
            assert run('in', out) == 0
        assert run('in', out) == 0
        assert stored(system, out) == tree('out')


def test_png_of_two_cameras(s3, bucket):
    record(Path('in'), front=camera(3), left=camera(1))
    options = ['--format', 'png', '--find', 'a dog']
    assert run('in', 'out', *options) == 0
    assert run('in', f'{bucket}/out', *options) == 0
    assert stored(s3, f'{bucket}/out') == tree('out')


def test_several_by_a_pattern(s3, bucket):
    for name in ('one', 'two'):
        record(Path(name), image=camera(1))
        s3.put(name, f'{bucket}/fleet/{name}', recursive=True)
    assert run('one', 'two', 'out') == 0
    for _ in range(2):
        assert run(f'{bucket}/fleet/*', f'{bucket}/fleet/out') == 0
    assert stored(s3, f'{bucket}/fleet/out') == tree('out')


def test_a_file_at_a_url_alone(s3, bucket):
    record(Path('in'), image=camera(3))
    s3.put('in/in.mcap', f'{bucket}/in.mcap')
    assert run('in/in.mcap', 'out') == 0
    assert run(f'{bucket}/in.mcap', f'{bucket}/out') == 0
    assert stored(s3, f'{bucket}/out') == tree('out')


def test_of_an_mcap_a_part_alone_is_fetched(s3, bucket, monkeypatch):
    record(Path('in'), image=camera(60, lambda index: raw(index, frame(index, (400, 300)))))
    s3.put('in', f'{bucket}/in', recursive=True)
    fetched = []
    read = s3fs.core.S3File._fetch_range
    monkeypatch.setattr(s3fs.core.S3File, '_fetch_range', lambda self, start, end: fetched.append(
        end - start) or read(self, start, end))
    monkeypatch.setattr(remote, '_BLOCK', 1 << 18)
    bag = place(f'{bucket}/in')
    with Recording(bag) as recording:
        survey = recording.survey
    fetched.clear()
    with Recording(bag, survey) as recording:
        parts = [data for _, _, data in recording.messages(time_of(30), time_of(36))]
    assert len(parts) == 6
    assert sum(map(len, parts)) < sum(fetched) < 10e6 < Path('in/in.mcap').stat().st_size
    # Chunks, each with a few pictures, and the beginning and the end of the file.
    assert len(fetched) < 12


def test_a_copy_is_shared_and_goes_with_the_last_that_needs_it(s3, bucket):
    record(Path('in'), 'sqlite3', image=camera(2))
    s3.put('in', f'{bucket}/in', recursive=True)
    bag = place(f'{bucket}/in')
    for _ in range(2):
        with Recording(bag) as recording:
            assert recording.count == 2
        copy, = Path('tmp').glob('csa_ros-*/*/filled/in.db3')
    another = scratch.Held(copy.parent.parent.name)
    with Recording(place(bag_of(s3, bucket, 'other'))) as recording:
        assert recording.count == 3
    assert copy.exists()
    another.close()
    scratch.sweep()
    assert not copy.exists()
    assert len([*Path('tmp').glob('csa_ros-*/*')]) == 1


def bag_of(s3, bucket, name):
    record(Path(name), 'sqlite3', image=camera(3))
    s3.put(name, f'{bucket}/{name}', recursive=True)
    return f'{bucket}/{name}'


def test_a_folder_of_another_user_is_not_used(monkeypatch):
    monkeypatch.setattr(os, 'getuid', lambda: 7)
    with pytest.raises(PermissionError, match='csa_ros-7 belongs to another user; let TMPDIR'):
        scratch.sweep()


def test_a_task_can_be_sent(s3, bucket):
    record(Path('in'), image=camera(1))
    s3.put('in', f'{bucket}/in', recursive=True)
    space = ObjectStore(place(f'{bucket}/out'), {}, 1)
    space.begin()
    there = pickle.loads(pickle.dumps(space))
    assert there.begun and there.out == space.out


# What can be wrong


@pytest.mark.parametrize('source, target, reason', [
    ('BUCKET/none', 'out', 'there is no bag BUCKET/none; check the path'),
    ('s3://nowhere/in', 'out', 'there is no bag s3://nowhere/in; check the path'),
    ('BUCKET/none*', 'out', 'nothing matches BUCKET/none*; check the URL'),
    ('in', 's3://nowhere/out', 's3://nowhere/out is not there, or its bucket is not: '),
    ('BUCKET/in', 'BUCKET/in/out', 'BUCKET/in/out would be in the bag BUCKET/in: name a place'),
    ('in', 'BUCKET/in', 'BUCKET/in exists and holds in.mcap, which segment_bag did not write'),
    ('in', 'BUCKET/in/in.mcap', 'BUCKET/in/in.mcap exists and is a file; name another place'),
])
def test_what_is_not_there_or_is(s3, bucket, capsys, source, target, reason):
    record(Path('in'), image=camera(1))
    s3.put('in', f'{bucket}/in', recursive=True)
    before = stored(s3, bucket)
    source, target, reason = (
        text.replace('BUCKET', bucket) for text in (source, target, reason))
    assert run(source, target) == 1
    assert reason in capsys.readouterr().err
    assert stored(s3, bucket) == before


@pytest.mark.parametrize('text, reason', [
    ('gopher://a/b', 'gopher://a/b cannot be used: Protocol not known: gopher'),
    ('s3://', 's3:// names no folder: write more of it, such as s3://bucket/folder'),
    ('s3://bucket/', 's3://bucket/ names no folder'),
    ('hdfs://a/b', 'hdfs://a/b needs what is not installed: pip install pyarrow'),
    ('gs://a/b', 'gs://a/b needs what is not installed: pip install gcsfs'),
])
def test_urls_that_cannot_be_used(monkeypatch, capsys, text, reason):
    find = urls.find_spec
    monkeypatch.setattr(urls, 'find_spec', lambda name: (
        None if name in ('pyarrow', 'gcsfs') else find(name)))
    with pytest.raises(SystemExit, match='2'):
        run(text, 'out')
    assert reason in capsys.readouterr().err


def test_without_universal_pathlib(monkeypatch, capsys):
    monkeypatch.setattr(urls, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='2'):
        run('s3://bucket/in', 'out')
    assert 'pip install universal-pathlib s3fs' in capsys.readouterr().err


def test_a_url_of_a_file_is_a_path():
    assert place('file:///data/in') == Path('/data/in') and not urls.is_remote(place('a/b'))


@pytest.fixture
def another(s3):
    """Let file systems of S3 be made anew: one is kept for all that have the same options."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


def test_no_server_there(another, monkeypatch, capsys):
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9')
    monkeypatch.setenv('AWS_MAX_ATTEMPTS', '1')
    assert run('s3://fleet/in', 'out') == 1
    said = capsys.readouterr().err
    assert 's3://fleet/in cannot be reached: Could not connect to the endpoint URL: ' in said
    assert 'AWS_ENDPOINT_URL' in said and 'run the same command again, which goes on' in said


def test_no_credentials(another, monkeypatch, capsys):
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
        monkeypatch.delenv(name)
    # Those of this machine, if it has any, and of one of Amazon's.
    monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', 'none')
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    assert run('s3://fleet/in', 'out') == 1
    assert ('s3://fleet/in cannot be used: Unable to locate credentials; check the credentials '
            '(AWS_ACCESS_KEY_ID') in capsys.readouterr().err


def test_no_right_to_it(s3, bucket, monkeypatch, capsys):
    record(Path('in'), image=camera(1))

    call = s3fs.S3FileSystem._call_s3

    async def refuse(self, method, *args, **kwargs):
        if method == 'put_object':
            raise PermissionError('Access Denied')
        return await call(self, method, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, '_call_s3', refuse)
        assert run('in', f'{bucket}/out') == 1
    assert (f'{bucket}/out cannot be used: Access Denied; check the credentials '
            '(AWS_ACCESS_KEY_ID') in capsys.readouterr().err


def test_a_server_that_gives_up_in_the_middle(s3, bucket, monkeypatch, capsys):
    record(Path('in'), image=camera(4))
    s3.put('in', f'{bucket}/in', recursive=True)
    make_part = bag_run._make_part

    def give_up(*_, **__):
        raise botocore.EndpointConnectionError(endpoint_url='http://s3')

    def lose(*args):
        patch.setattr(s3fs.core, '_fetch_range', give_up)
        make_part(*args)

    with monkeypatch.context() as patch:
        patch.setattr(bag_run, '_make_part', lose)
        patch.setattr(remote, '_BLOCK', 1 << 10)
        assert run(f'{bucket}/in', f'{bucket}/out') == 1
    said = capsys.readouterr().err
    assert f'{bucket}/in cannot be reached: Could not connect' in said and 'damaged' not in said
    assert run(f'{bucket}/in', f'{bucket}/out') == 0
