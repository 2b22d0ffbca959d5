"""GroupViT's weights: files in both forms, files that are none, and where they come from."""

from csa_ros.model import backbone as backbone_module
from csa_ros.model.backbone import load_backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.groupvit import GroupViTVision
from csa_ros.model.towers.groupvit import TextWeights
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from csa_ros.model.weights.groupvit_format import read_groupvit
from csa_ros.model.weights.groupvit_source import parse_groupvit
from csa_ros.model.weights.source import parse_model
from csa_ros.segmenter import Segmenter
from csa_ros.tools import fetch_model
import groupvit
import pytest
from safetensors.torch import save_file
import torch
from towers import make_clip

NAME = groupvit.NAME


@pytest.fixture
def small(monkeypatch):
    """Let the preset have the sizes of the reference file, and windows that suit it."""
    monkeypatch.setitem(GROUPVIT_PRESETS, NAME, groupvit.SMALL)
    for name, pixels in (('IMAGE_SIZE', 64), ('STRIDE', 32), ('SHORT_SIDE', 64)):
        monkeypatch.setattr(backbone_module, f'GROUPVIT_{name}', pixels)


def states(backbone):
    """Return all weights of a backbone."""
    return {**backbone.visual.state_dict(), **backbone.text._clip.clip.state_dict()}


def test_every_form_of_a_file_loads(small, tmp_path):
    """NVIDIA's, in what else training left there, and that of the hub, by their names alone."""
    weights = groupvit.released()
    torch.save({'model': weights, 'epoch': 30, 'optimizer': {'state': {}}}, tmp_path / 'gcc.pth')
    torch.save({f'module.{name}': value for name, value in weights.items()}, tmp_path / 'bare')
    hub = {name: value.contiguous() for name, value in groupvit.of_transformers(weights).items()}
    (tmp_path / 'hub').mkdir()
    torch.save(hub, tmp_path / 'hub' / 'pytorch_model.bin')
    save_file(hub, tmp_path / 'hub.safetensors')
    expected = states(groupvit.backbone())
    identities = set()
    for path in ('gcc.pth', 'bare', 'hub', 'hub.safetensors'):
        backbone = load_backbone(f'{NAME}:{tmp_path / path}', 'cpu')
        found = states(backbone)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        assert (backbone.image_size, backbone.patch_size, backbone.embed_dim) == (64, 8, 64)
        identities.add(backbone.identity)
    assert len(identities) == 4
    # Other arithmetic makes other features.
    low = load_backbone(f'groupvit:{tmp_path / "hub"}', 'cpu', 'bf16')
    assert low.dtype == torch.bfloat16 and low.identity not in identities
    # Whose scale is beyond the authors' bound is at it.
    weights['logit_scale'] = torch.tensor(5.0)
    assert read_groupvit(weights, NAME, tmp_path).logit_scale == 100


def test_files_of_full_size_are_read():
    """All names and shapes of both forms are those that the authors' files have."""
    preset = GROUPVIT_PRESETS[NAME]
    released = {name: torch.zeros(()).expand(entry['shape'])
                for name, entry in groupvit.KEYS.items()}
    hub = {name: torch.zeros(()).expand(shape)
           for entry in groupvit.KEYS.values() for name, shape in entry['transformers'].items()}
    for document in ({'model': released}, hub):
        weights = read_groupvit(document, NAME, groupvit.REFERENCE)
        with torch.device('meta'):
            image, text = GroupViTVision(preset.image), TextWeights(preset.text).text
        image.load_state_dict(weights.image, assign=True)
        text.load_state_dict(weights.text, assign=True)
    sizes = [sum(value.numel() for value in part.parameters()) for part in (image, text)]
    assert sizes[0] / 1e6 == pytest.approx(preset.tower, abs=0.05)
    assert sum(sizes) / 1e6 == pytest.approx(55.7, abs=0.05)


def without(name):
    return lambda weights: weights.pop(name)


def reshaped(weights):
    weights['img_encoder.norm.weight'] = torch.ones(95)


@pytest.mark.parametrize('spoil, reason', [
    (without('img_encoder.layers.1.blocks.0.norm1.weight'),
     r'1 missing \(img_encoder.layers.1.blocks.0.norm1.weight\)'),
    (without('img_projector.linear_hidden.1.running_var'), r'1 missing \(img_projector'),
    (without('logit_scale'), r'1 missing \(logit_scale\)'),
    (without('img_encoder.pos_embed'), 'holds no GroupViT: neither img_encoder.pos_embed'),
    (reshaped, r'1 of another shape \(img_encoder.norm.weight \[95\] for \[96\]\)'),
    (lambda weights: weights.update({'img_encoder.layers.3.blocks.0.norm1.weight': torch.ones(1)}),
     r'1 unexpected \(img_encoder.layers.3'),
])
def test_weights_that_do_not_fit_are_refused(small, tmp_path, spoil, reason):
    weights = groupvit.released()
    spoil(weights)
    with pytest.raises(ModelError, match=reason) as caught:
        read_groupvit({'model': weights}, NAME, tmp_path / 'file')
    assert ('Take pytorch_model.bin of https://huggingface.co/tests/groupvit, or let '
            f"'ros2 run csa_ros fetch_model {NAME}' fetch it") in str(caught.value)


def test_files_that_are_none_are_refused(small, tmp_path):
    path = tmp_path / 'file'
    torch.save({'model': groupvit.released()}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ModelError, match='it is damaged, or of another kind'):
        load_backbone(f'{NAME}:{path}', 'cpu')
    torch.save(make_clip().state_dict(), path)
    with pytest.raises(ModelError, match=f'{path} holds no GroupViT'):
        load_backbone(f'{NAME}:{path}', 'cpu')
    torch.save({'model': groupvit.released(), 'config': Segmenter}, path)
    with pytest.raises(ModelError, match='could run code'):
        load_backbone(f'{NAME}:{path}', 'cpu')
    # Nor is it any other model.
    torch.save({'model': groupvit.released()}, path)
    for model in f'ViT-B-16:{path}', str(path):
        with pytest.raises(ModelError, match=f'it is a GroupViT: write groupvit:{path}'):
            load_backbone(model, 'cpu')
    with pytest.raises(ModelError, match='there is no file'):
        load_backbone(f'{NAME}:{tmp_path}/other', 'cpu')
    with pytest.raises(ModelError, match='did you mean groupvit'):
        load_backbone('grupvit', 'cpu')


def test_it_is_no_clip(tmp_path):
    backbone = groupvit.backbone()
    for ask in (lambda: backbone.clip, lambda: parse_model(NAME), lambda: parse_model('groupvit')):
        with pytest.raises(ModelError, match='is no CLIP, whose towers learn together'):
            ask()
    with pytest.raises(ModelError, match='has no features of patches'):
        DenseEncoder(backbone)


def test_what_is_not_here_is_fetched(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'cache'))
    with pytest.raises(ModelError, match=f"'ros2 run csa_ros fetch_model {NAME}'"):
        load_backbone('groupvit', 'cpu')
    assert parse_groupvit(NAME) == parse_groupvit('groupvit') == (NAME, None)
    assert parse_groupvit(f'{NAME}/openai') is parse_groupvit('demo') is None
    folder = tmp_path / 'cache' / 'models--tests--groupvit'
    asked = []

    def download(*file):
        asked.append(file)
        (folder / 'snapshots' / 'main').mkdir(parents=True)
        (folder / 'refs').mkdir()
        (folder / 'refs' / 'main').write_text('main')
        torch.save(groupvit.of_transformers(groupvit.released()),
                   folder / 'snapshots' / 'main' / file[1])

    monkeypatch.setattr('huggingface_hub.hf_hub_download', download)
    monkeypatch.setattr(fetch_model.hub, 'check_reachable', lambda: None)
    for _ in range(2):
        assert fetch_model.main(['groupvit']) == 0
    assert asked == [groupvit.SMALL.file]
    printed = capsys.readouterr().out
    assert 'NVIDIA, research only: neither code nor weights may be used in products' in printed
    assert f'{NAME} is at {folder}' in printed
    assert load_backbone(NAME, 'cpu').name == NAME
    row, = (line for line in fetch_model.table().splitlines() if line.startswith(NAME))
    assert row.split(maxsplit=3)[3].split() == ['NVIDIA,', 'research', 'only', '-', 'yes']
