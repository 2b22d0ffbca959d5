"""Fetching a RADIO, from a hub of the test's own."""

from collections import namedtuple
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

from csa_ros.model.backbone import load_backbone
from csa_ros.model.weights import download
from csa_ros.model.weights import radio_fetch
from csa_ros.model.weights import radio_source
from csa_ros.tools import fetch_model
from filelock import FileLock
from huggingface_hub import constants
import pytest
from radio_files import FILE
from radio_files import NAME
from radio_files import register
from radio_files import released
from radio_files import siglip2
from radio_files import tokenizer_bytes
from safetensors import safe_open
from safetensors.torch import save
import torch

COMMIT = 'c0ffee' * 6 + '1234'
TEXT = 'google/siglip2-so400m-patch16-naflex'


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does: what is in a repository, and ranges of its files."""

    files = {}
    statuses = {}
    asked = []
    # Ends the connection once so many bytes have been sent, in all.
    bytes_left = None

    def do_GET(self):  # noqa: N802
        path = urllib.parse.unquote(self.path.partition('?')[0])
        match = re.fullmatch(r'/api/models/([^/]+/[^/]+)(?:/(.*))?', path)
        if match:
            self._describe(*match.groups())
            return
        repository, _, file = path.strip('/').replace(f'/resolve/{COMMIT}/', '/resolve/main/'
                                                      ).partition('/resolve/main/')
        if not file:
            self._answer(b'')
        elif repository in self.statuses:
            self._answer(b'', self.statuses[repository])
        else:
            self._send_range(f'{repository}/{file}')

    do_HEAD = do_POST = do_GET

    def _describe(self, repository, rest):
        if repository in self.statuses:
            self._answer(b'{}', self.statuses[repository])
            return
        held = {address.removeprefix(f'{repository}/'): data
                for address, data in self.files.items() if address.startswith(f'{repository}/')}
        entries = [{'type': 'file', 'path': path, 'size': len(data), 'oid': 'a' * 40,
                    'lfs': {'oid': hashlib.sha256(data).hexdigest(), 'size': len(data),
                            'pointerSize': 130}} for path, data in held.items()]
        if rest and rest.startswith(('tree/', 'paths-info/')):
            self._answer(json.dumps(entries).encode())
        else:
            self._answer(json.dumps({
                'id': repository, '_id': '1', 'modelId': repository, 'sha': COMMIT,
                'private': False, 'disabled': False, 'gated': False, 'tags': [], 'downloads': 0,
                'likes': 0, 'siblings': [{'rfilename': path} for path in held]}).encode())

    def _send_range(self, address):
        data = self.files[address]
        start, stop = 0, len(data)
        wanted = re.fullmatch(r'bytes=(\d+)-(\d+)', self.headers.get('Range', ''))
        if wanted:
            start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
        self.asked.append((address, start, stop))
        if Hub.bytes_left is not None:
            if Hub.bytes_left < stop - start:
                self._answer(b'', 403)
                return
            Hub.bytes_left -= stop - start
        self._answer(data[start:stop], 206 if wanted else 200)

    def _answer(self, body, status=200):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('X-Repo-Commit', COMMIT)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Run a hub with the files of the small RADIO; nothing else is on this machine."""
    register(monkeypatch)
    torch.save(released(), tmp_path / 'tower.pt')
    monkeypatch.setattr(Hub, 'files', {
        f'owner/radio/{FILE}': (tmp_path / 'tower.pt').read_bytes(),
        f'{TEXT}/model.safetensors': save(siglip2(), {'format': 'pt'}),
        f'{TEXT}/tokenizer.json': tokenizer_bytes()})
    monkeypatch.setattr(Hub, 'statuses', {})
    monkeypatch.setattr(Hub, 'asked', [])
    monkeypatch.setattr(Hub, 'bytes_left', None)
    # Several requests a file.
    monkeypatch.setattr(download, 'CHUNK', 100_000)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr('huggingface_hub.constants.HF_TOKEN_PATH', str(tmp_path / 'token'))
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for name in ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy',
                 'https_proxy', 'ALL_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    address = f'http://127.0.0.1:{server.server_port}'
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition('{repo_id}')
    monkeypatch.setattr('huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE',
                        f'{address}/{"".join(template[1:])}')
    yield Hub
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def bars(monkeypatch):
    """Return the progress bars that are shown, and how far they came."""
    shown = []

    class Bar(download.tqdm):

        def __init__(self, *args, **options):
            super().__init__(*args, **{**options, 'disable': False})
            shown.append(self)

    monkeypatch.setattr(download, 'tqdm', Bar)
    return shown


def fetch(capsys):
    """Run the command; return its status and what it said."""
    status = fetch_model.main([NAME])
    out, err = capsys.readouterr()
    return status, out, err


def ranges(hub, file):
    return sorted((start, stop) for address, start, stop in hub.asked if address.endswith(file))


def test_all_of_it_is_fetched_into_one_file(hub, bars, capsys):
    status, out, err = fetch(capsys)
    assert status == 0, err
    path = radio_source.own_file(NAME)
    assert f'{NAME} is at {path} (' in out
    assert f'{NAME} is Tiny-RADIO with SigLIP2, NVIDIA Open Model + Apache-2.0, https' in out
    # The one file is left, and nothing that it was made of.
    assert list(path.parent.iterdir()) == [path]
    assert load_backbone(NAME, 'cpu').embed_dim == 48
    assert radio_source.read_parts(NAME, None).tokenizer == tokenizer_bytes()
    with safe_open(path, framework='pt') as file:
        assert torch.equal(file.get_tensor('text_model.head.bias'),
                           siglip2()['text_model.head.bias'].half())
        assert not any('vision_model' in name for name in file.keys())
    assert len(bars) == 1
    assert bars[0].n == bars[0].total > len(hub.files[f'owner/radio/{FILE}'])


def test_of_the_other_towers_file_the_text_alone_is_fetched(hub, capsys, monkeypatch):
    tensors = {**siglip2(), 'a.bias': torch.ones(50_000), 'vision_model.z': torch.ones(90_000)}
    data = save(tensors)
    hub.files[f'{TEXT}/model.safetensors'] = data
    assert fetch(capsys)[0] == 0
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:8 + length])
    spans = [entry['data_offsets'] for name, entry in header.items()
             if name.startswith('text_model.')]
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    asked = ranges(hub, 'model.safetensors')
    assert asked[:2] == [(0, 8), (8, 8 + length)]
    assert asked[2][0] == 8 + length + first and asked[-1][1] == 8 + length + last
    assert last - first < len(data) - 500_000
    with safe_open(radio_source.own_file(NAME), framework='pt') as file:
        assert all(torch.equal(file.get_tensor(name), value.half())
                   for name, value in siglip2().items() if name.startswith('text_model.'))


def test_again_nothing_is_fetched(hub, capsys):
    fetch(capsys)
    hub.asked.clear()
    status, out, _ = fetch(capsys)
    assert status == 0 and f'{NAME} is at ' in out
    assert not hub.asked and 'fetching' not in out
    fetch_model.main(['--list'])
    row, = (line for line in capsys.readouterr().out.splitlines() if line.startswith(NAME))
    assert row.endswith('  yes')


def test_what_was_interrupted_goes_on(hub, bars, capsys):
    hub.bytes_left = Hub.bytes_left = 900_000
    status, _, err = fetch(capsys)
    assert status == 1 and 'could not download' in err
    folder = radio_fetch.folder_of(NAME)
    kept = sum(file.stat().st_size for file in folder.iterdir())
    assert kept > 200_000
    Hub.bytes_left = None
    hub.asked.clear()
    assert fetch(capsys)[0] == 0
    assert bars[1].initial == pytest.approx(kept)
    # No byte of the tower twice.
    tower = len(hub.files[f'owner/radio/{FILE}'])
    fetched = ranges(hub, FILE)
    assert fetched[0][0] > 0 and fetched[-1][1] == tower
    assert load_backbone(NAME, 'cpu').embed_dim == 48
    assert not folder.exists()


def test_what_the_hub_replaced_is_fetched_anew(hub, capsys):
    Hub.bytes_left = 900_000
    assert fetch(capsys)[0] == 1
    Hub.bytes_left = None
    data = hub.files[f'owner/radio/{FILE}']
    document = released()
    document['state_dict']['base_model.blocks.0.norm1.bias'][0] += 1
    path = radio_fetch.folder_of(NAME) / 'other.pt'
    torch.save(document, path)
    hub.files[f'owner/radio/{FILE}'] = path.read_bytes()
    path.unlink()
    assert data != hub.files[f'owner/radio/{FILE}']
    assert fetch(capsys)[0] == 0
    bias = load_backbone(NAME, 'cpu').visual.blocks[0].norm1.bias
    assert torch.equal(bias, document['state_dict']['base_model.blocks.0.norm1.bias'].float())


def test_what_is_damaged_on_its_way_is_removed(hub, capsys, monkeypatch):
    original = Hub._send_range
    # Several ranges are sent at once, and what one has damaged is not what another is to restore.
    lock = threading.Lock()

    def damage(self, address):
        with lock:
            data = self.files[address]
            self.files[address] = (
                data[:5000] + b'x' + data[5001:] if address.endswith(FILE) else data)
            original(self, address)
            self.files[address] = data

    monkeypatch.setattr(Hub, '_send_range', damage)
    status, _, err = fetch(capsys)
    assert status == 1
    assert f'owner/radio/{FILE} was damaged on its way here, and removed: fetch it again' in err
    monkeypatch.setattr(Hub, '_send_range', original)
    assert fetch(capsys)[0] == 0


def test_no_room_is_said_before_anything_is_fetched(hub, capsys, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr('shutil.disk_usage', lambda folder: usage(10**9, 10**9, 1000))
    status, _, err = fetch(capsys)
    assert status == 1
    folder = radio_fetch.folder_of(NAME)
    assert re.search(f'{NAME} takes 0.0 GB in {folder} while it is fetched, and 0.0 GB are free: '
                     'make room, or name another folder with XDG_CACHE_HOME', err)
    assert ranges(hub, FILE) == []


def test_a_disk_that_fills_up_names_the_folder(hub, capsys, monkeypatch):
    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(download.Hub, 'fetch', fail)
    status, _, err = fetch(capsys)
    assert status == 1
    assert (f'The cache folder {radio_source.own_file(NAME).parent} is the trouble, no room is '
            'left: make room or name another one with XDG_CACHE_HOME') in err


def test_a_file_that_cannot_be_written_keeps_what_was_fetched(hub, capsys, monkeypatch):
    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('csa_ros.model.weights.radio_file.save_file', fail)
    status, _, err = fetch(capsys)
    assert status == 1
    folder = radio_fetch.folder_of(NAME)
    assert f'What was fetched is kept in {folder}: make room' in err
    monkeypatch.undo()
    assert any(file.name.endswith(FILE) for file in folder.iterdir())


@pytest.mark.parametrize('repository', ['owner/radio', TEXT])
@pytest.mark.parametrize('status, advice', [
    (401, 'no such repository for everyone'), (403, 'wants to be asked: log in on their page'),
    (404, 'has no such file any more')])
def test_answers_of_the_hub_have_each_their_remedy(hub, capsys, repository, status, advice):
    hub.statuses[repository] = status
    found, _, err = fetch(capsys)
    assert found == 1
    assert advice in err, err
    assert err.count('\n') == 1


def test_without_a_network(hub, capsys, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', 'http://127.0.0.1:9')
    status, _, err = fetch(capsys)
    assert status == 1
    assert 'http://127.0.0.1:9 cannot be reached' in err and 'Check the network' in err
    assert 'Traceback' not in err


def test_offline_by_choice(hub, capsys, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    status, _, err = fetch(capsys)
    assert status == 1 and 'HF_HUB_OFFLINE forbids it' in err


def test_two_at_a_time_are_refused(hub, capsys):
    folder = radio_fetch.folder_of(NAME)
    folder.mkdir(parents=True)
    with FileLock(folder / '.lock'):
        status, _, err = fetch(capsys)
    assert status == 1 and f'another process fetches {NAME} into {folder}: wait for it' in err


def test_another_radio_at_the_same_address(hub, capsys):
    """It is said what came, and nothing is left as if it were what was wanted."""
    document = released()
    document['state_dict'] = {name: value for name, value in document['state_dict'].items()
                              if '.ls' not in name and '_heads' not in name}
    path = radio_source.own_file('other').with_suffix('.pt')
    path.parent.mkdir(parents=True)
    torch.save(document, path)
    hub.files[f'owner/radio/{FILE}'] = path.read_bytes()
    status, _, err = fetch(capsys)
    assert status == 1
    assert 'holds a RADIO with 3 blocks of width 96 without LayerScale' in err
    assert not radio_source.own_file(NAME).exists()


def test_what_the_cache_of_the_hub_has_is_not_fetched_again(hub, tmp_path, capsys):
    folder = tmp_path / 'hub' / 'models--owner--radio'
    (folder / 'snapshots' / COMMIT).mkdir(parents=True)
    (folder / 'refs').mkdir()
    (folder / 'refs' / 'main').write_text(COMMIT)
    file = folder / 'snapshots' / COMMIT / FILE
    file.write_bytes(hub.files[f'owner/radio/{FILE}'])
    assert fetch(capsys)[0] == 0
    assert ranges(hub, FILE) == [] and ranges(hub, 'tokenizer.json')
    assert file.is_file(), 'it is not ours'


def test_files_of_ones_own_need_no_fetching(hub, tmp_path, capsys):
    path = tmp_path / 'tower.pt'
    assert fetch_model.main([f'{NAME}:{path}']) == 0
    assert f'{NAME} is at {path}' in capsys.readouterr().out
    assert fetch_model.main([f'{NAME}:{tmp_path}/none']) == 1
    assert f'there is no file {tmp_path}/none' in capsys.readouterr().err
    assert not hub.asked
