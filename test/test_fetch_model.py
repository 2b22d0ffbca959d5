"""The command that fetches weights beforehand, without a network."""

import errno
import http.server
import re
import socket
import threading
import types

from csa_ros.model import wordpiece
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.architecture import build
from csa_ros.model.weights import hub
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from csa_ros.model.weights.catalogue import PRESETS
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.source import parse_model
from csa_ros.tools import fetch_model
from huggingface_hub import constants
import open_clip
import pytest
import torch

MODEL = 'ViT-B-16-quickgelu/openai'


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """Return the list of what was downloaded; each download puts one file in the cache."""
    monkeypatch.setattr(hub, 'check_reachable', lambda: None)
    downloads = []
    weights = tmp_path / 'weights.bin'

    def download(pretrained):
        downloads.append(pretrained)
        weights.write_bytes(bytes(3 * 2**20))

    monkeypatch.setattr(open_clip, 'download_pretrained', download)

    def find(source):
        path = source.path or weights
        if not path.is_file():
            raise ModelError(f'there is no file {path}')
        return path

    monkeypatch.setattr(fetch_model, 'find_weights', find)
    return downloads


def test_default_is_the_default_model(downloads, capsys):
    assert fetch_model.main([]) == 0
    assert downloads == [parse_model(MODEL).pretrained]
    assert f'{MODEL} is at' in capsys.readouterr().out


def test_says_where_the_weights_are_and_how_large(downloads, capsys, tmp_path):
    assert fetch_model.main(['ViT-L-14/laion2b_s32b_b82k']) == 0
    assert downloads[0]['hf_hub'] == 'laion/CLIP-ViT-L-14-laion2B-s32B-b82K/'
    assert capsys.readouterr().out.endswith(f'{tmp_path}/weights.bin (3 MiB)\n')


@pytest.mark.parametrize('model, reason', [
    ('RN50/openai', 'ResNet'),
    ('ViT-B-16/opnai', 'did you mean openai'),
    ('nonsense', 'not understood'),
    ('openai-b-16', 'did you mean openai-b16 '),
    ('metaclip', 'did you mean metaclip-'),
    ('ViT-B-16-SigLIP/webli', 'pools its patches by attention'),
])
def test_unusable_models_are_refused_before_downloading(downloads, capsys, model, reason):
    assert fetch_model.main([model]) == 1
    assert reason in capsys.readouterr().err
    assert downloads == []


def test_what_is_here_is_not_fetched_again(downloads, capsys):
    assert [fetch_model.main([MODEL]) for _ in range(2)] == [0, 0]
    assert len(downloads) == 1


def test_files_of_ones_own_need_no_fetching(downloads, capsys, tmp_path):
    path = tmp_path / 'own.pt'
    assert fetch_model.main([f'ViT-B-16:{path}']) == 1
    assert f'there is no file {path}' in capsys.readouterr().err
    path.write_bytes(b'')
    assert fetch_model.main([f'ViT-B-16:{path}']) == 0
    assert f'is at {path}' in capsys.readouterr().out
    assert downloads == []


def test_presets_by_name(downloads, capsys):
    assert fetch_model.main(['metaclip-b16-400m']) == 0
    assert downloads == [parse_model('ViT-B-16-quickgelu/metaclip_400m').pretrained]
    output = capsys.readouterr().out
    assert ('metaclip-b16-400m is ViT-B-16-quickgelu/metaclip_400m, CC BY-NC 4.0, '
            'https://huggingface.co/timm/vit_base_patch16_clip_224.metaclip_400m') in output
    assert 'metaclip-b16-400m is at' in output


def test_presets_that_are_files_of_the_hub(downloads, monkeypatch, tmp_path):
    def download(repository, path):
        downloads.append((repository, path))
        (tmp_path / 'weights.bin').write_bytes(b'')

    monkeypatch.setattr('huggingface_hub.hf_hub_download', download)
    assert fetch_model.main(['diva-openai-l14']) == 0
    assert downloads == [('BAAI/DIVA', 'OpenAICLIP/OpenAI-ViT-L-14-224.pth')]


def test_presets_that_are_fetched_by_hand(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    assert fetch_model.main(['dreamlip-cc12m']) == 1
    message = capsys.readouterr().err
    assert 'https://github.com/ant-research/DreamLIP#pretrained-checkpoints' in message
    assert "'dreamlip-cc12m:/path/to/file'" in message


def test_clipa_brings_its_tokenizer(downloads, monkeypatch, tmp_path):
    fetched = []
    table = tmp_path / 'tokenizer.json'
    monkeypatch.setattr(wordpiece, 'find_table', lambda: table if fetched else None)
    monkeypatch.setattr(
        'huggingface_hub.hf_hub_download', lambda *file: fetched.append(file))
    assert [fetch_model.main(['clipa-l14']) for _ in range(2)] == [0, 0]
    assert fetched == [('google-bert/bert-base-uncased', 'tokenizer.json')]
    assert len(downloads) == 1


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def connect(self, address):
        raise AssertionError(f'connected to {address}')

    monkeypatch.setattr(socket.socket, 'connect', connect)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setenv('HOME', str(tmp_path))


def test_the_list_has_every_preset_and_fits_a_terminal(no_network, capsys):
    assert fetch_model.main(['--list']) == 0
    output = capsys.readouterr().out
    rows = {line.split()[0]: line for line in output.split('\n\n')[0].splitlines()}
    assert rows.keys() == {'preset', 'demo', *PRESETS, *RADIO_PRESETS, *GROUPVIT_PRESETS}
    assert max(map(len, output.splitlines())) <= 80
    cells = {name: re.split(' {2,}', row) for name, row in rows.items()}
    assert cells['preset'] == ['preset', 'tower', 'licence', 'mIoU', 'here']
    assert cells['demo'] == ['demo', '1.9 M', 'Apache-2.0', '-', 'bundled']
    assert cells['openai-b16'] == ['openai-b16', '86 M', 'MIT', '38.2', 'no']
    assert cells['dreamlip-cc3m'] == ['dreamlip-cc3m', '86 M', 'CC BY 4.0', '-', 'by hand']
    # In columns.
    starts = {row.index(cells[name][2]) for name, row in rows.items()}
    assert len(starts) == 1


def test_the_list_says_what_is_here(no_network, capsys, monkeypatch):
    here = {'openai-b16', 'clipa-l14'}

    def find(source):
        if source.name not in here:
            raise ModelError('not here')

    monkeypatch.setattr(fetch_model, 'find_weights', find)
    fetch_model.main(['--list'])
    assert here_column(capsys) == {'openai-b16'}, 'the tokenizer of CLIPA is not here'
    monkeypatch.setattr(wordpiece, 'find_table', lambda: 'table')
    fetch_model.main(['--list'])
    assert here_column(capsys) == here


def here_column(capsys):
    """Return the presets that a printed list has as here."""
    return {line.split()[0] for line in capsys.readouterr().out.splitlines()
            if line.endswith('  yes')}


def test_the_size_of_the_bundled_tower():
    config = parse_model('demo').config
    with torch.device('meta'):
        visual = build(config).visual
    millions = sum(weight.numel() for weight in visual.parameters()) / 1e6
    assert round(millions, 1) == fetch_model.DEMO_TOWER


def test_no_network(monkeypatch, capsys, tmp_path):
    def download(pretrained):
        raise FileNotFoundError('Failed to download file: name resolution.')

    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(open_clip, 'download_pretrained', download)
    monkeypatch.setattr(hub, 'check_reachable', lambda: None)
    assert fetch_model.main([MODEL]) == 1
    message = capsys.readouterr().err
    assert 'name resolution. Check the network' in message
    assert message.count('\n') == 1


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers each request for a file with one status."""

    status = 200

    def do_HEAD(self):
        self.send_response(200 if self.path == '/' else self.status)
        self.send_header('Content-Length', '0')
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


@pytest.fixture
def home(monkeypatch, tmp_path):
    """Make a folder the cache of what is fetched, and let there be neither token nor proxy."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr('huggingface_hub.constants.HF_TOKEN_PATH', str(tmp_path / 'token'))
    monkeypatch.setenv('HOME', str(tmp_path))
    for name in ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy',
                 'https_proxy', 'ALL_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def be_the_hub(monkeypatch, address):
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition('{repo_id}')
    monkeypatch.setattr('huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE',
                        f'{address}/{"".join(template[1:])}')


@pytest.fixture
def server(home, monkeypatch):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    be_the_hub(monkeypatch, f'http://127.0.0.1:{server.server_port}')
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize('model', [MODEL, 'diva-openai-l14'])
@pytest.mark.parametrize('status, token, advice', [
    (401, 'hf_expired', 'does not accept the token of this machine, which may have expired: make '
     'another .*settings/tokens.* unset HF_TOKEN'),
    (401, '', 'no such repository for everyone: .*hf auth login'),
    (403, 'hf_fine', 'wants to be asked: log in on their page'),
    (404, '', 'has no such file any more'),
])
def test_answers_of_the_hub_have_each_their_remedy(server, monkeypatch, capsys, model, status,
                                                   token, advice):
    monkeypatch.setattr(Hub, 'status', status)
    if token:
        monkeypatch.setenv('HF_TOKEN', token)
    assert fetch_model.main([model]) == 1
    message = capsys.readouterr().err
    assert re.search(advice, message), message
    assert 'Check the network' not in message
    assert message.count('\n') == 1


class Answer(Exception):
    """An error of a hub client, with the response that it is about."""

    def __init__(self, status):
        super().__init__(f'{status} Server Error')
        self.response = types.SimpleNamespace(status_code=status)


@pytest.mark.parametrize('error, advice', [
    (Answer(429), 'too many requests'),
    (Answer(503), r'out of order \(status 503\): try again later'),
    (Answer(407), 'The proxy wants a name'),
    (OSError(errno.ENOSPC, 'No space left on device'), 'no room is left: make room or .*HF_HOME'),
    (PermissionError(errno.EACCES, 'Permission denied'), 'may not be written: .*HF_HOME'),
    (OSError('[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'), 'SSL_CERT_FILE'),
    (OSError('[Errno -2] Name or service not known'), 'Check the network and HTTPS_PROXY'),
])
@pytest.mark.parametrize('depth', [0, 1, 2])
def test_causes_are_found_behind_other_errors(error, advice, depth):
    for number in range(depth):
        outer = FileNotFoundError('Failed to download file')
        if number % 2:
            outer.__cause__ = error
        else:
            outer.__context__ = error
        error = outer
    assert re.search(advice, hub.remedy(error))


@pytest.mark.parametrize('model', [MODEL, 'diva-openai-l14', 'clipa-l14'])
def test_offline_by_choice_is_no_fault_of_the_network(home, monkeypatch, capsys, model):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    assert fetch_model.main([model]) == 1
    message = capsys.readouterr().err
    assert re.search('HF_HUB_OFFLINE forbids it. Nothing is fetched while .*: unset it', message)
    assert 'Check the network' not in message


def test_without_a_network_it_is_tried_once(home, monkeypatch, capsys):
    """A port that nobody listens on: the hub's client alone would try for a minute."""
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        address = f'http://127.0.0.1:{unused.getsockname()[1]}'
    be_the_hub(monkeypatch, address)
    waits = []
    monkeypatch.setattr('time.sleep', waits.append)
    assert fetch_model.main([MODEL]) == 1
    assert f'{address} cannot be reached: ' in (message := capsys.readouterr().err)
    assert 'Check the network' in message and message.count('\n') == 1
    assert not waits
