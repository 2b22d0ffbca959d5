"""The command that fetches weights beforehand, without a network."""

from csa_ros.model.backbone import ModelError
from csa_ros.model.backbone import parse_model
from csa_ros.tools import fetch_model
import open_clip
import pytest

MODEL = 'ViT-B-16-quickgelu/openai'


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """Return the list of what was downloaded; each download puts one file in the cache."""
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


def test_no_network(monkeypatch, capsys, tmp_path):
    def download(pretrained):
        raise FileNotFoundError('Failed to download file: name resolution.')

    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(open_clip, 'download_pretrained', download)
    assert fetch_model.main([MODEL]) == 1
    message = capsys.readouterr().err
    assert 'name resolution. Check the network' in message
    assert message.count('\n') == 1
