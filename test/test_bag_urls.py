"""Recordings at URLs: read and written as those of folders are, byte for byte."""

import logging
import os
from pathlib import Path

from csa_ros.segmenter import Segmenter
from csa_ros.tools import segment_bag
import pytest
from recordings import camera
from recordings import record
from recordings import text
from rosbags.rosbag2 import CompressionMode
from towers import make_backbone

pytest.importorskip('s3fs', reason='s3fs reads and writes s3://')
pytest.importorskip('upath', reason='universal-pathlib names what is at URLs')
server = pytest.importorskip('moto.server', reason='moto is an S3 to test with')

WORDS = 'sky, road=street|lane, car'


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def s3():
    """Return the file system of an S3, empty but for a bucket."""
    import s3fs
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


def run(*args):
    """Return the exit status of the command with the words above, and parts of two images."""
    return segment_bag.main(
        ['--vocabulary', WORDS, '--part-images', '2', *map(str, args)])


def tree(folder):
    """Return the contents of all files in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(Path(folder).rglob('*')) if path.is_file()}


def stored(s3, url):
    """Return the contents of all files at a URL."""
    name = url.removeprefix('s3://')
    return {path.removeprefix(f'{name}/'): s3.cat_file(path) for path in s3.find(url)}


@pytest.mark.parametrize('storage, compression', [
    ('mcap', CompressionMode.NONE), ('sqlite3', CompressionMode.NONE),
    ('mcap', CompressionMode.STORAGE), ('sqlite3', CompressionMode.FILE)])
def test_from_url_to_url_is_what_is_made_of_folders(s3, bucket, storage, compression):
    record(Path('in'), storage, compression, image=camera(5), imu=[text(i) for i in range(7)])
    s3.put('in', f'{bucket}/in', recursive=True)
    assert run('in', 'out') == 0
    assert run(f'{bucket}/in/', f'{bucket}/out/') == 0
    made = stored(s3, f'{bucket}/out')
    assert made == tree('out') and 'metadata.yaml' in made
    assert os.listdir('tmp')


@pytest.mark.parametrize('form', ['bag', 'png', 'mp4'])
def test_every_form(s3, bucket, form):
    record(Path('in'), front=camera(5), left=camera(3))
    Path('params.yaml').write_text('/**:\n  ros__parameters:\n    find_threshold: 0.0\n')
    options = ['--format', form, '--find', 'a dog', '--params-file', 'params.yaml']
    assert run('in', 'out', *options) == 0
    assert run('in', f'{bucket}/out', *options) == 0
    made = stored(s3, f'{bucket}/out')
    assert made == tree('out') and {'found.jsonl', 'found.png'} <= made.keys()
    assert run('in', f'{bucket}/out', *options) == 0
    assert stored(s3, f'{bucket}/out') == made
