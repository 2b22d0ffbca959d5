"""Which models load, from where, and what is said about those that do not."""

import json
import re
import socket

from csa_ros.model import backbone as backbone_module
from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.architecture import build
from csa_ros.model.towers.architecture import halve_layer_norms
from csa_ros.model.weights import source as source_module
from csa_ros.model.weights.source import find_weights
from csa_ros.model.weights.source import parse_model
import open_clip
from open_clip.constants import OPENAI_DATASET_MEAN
from open_clip.timm_model import TimmModel
import pytest
from safetensors.torch import save_file
import torch
from towers import make_clip
from towers import make_config
from towers import MEAN
from towers import register
from towers import STD

TAG = {'url': 'https://example.org/0123abcd/tiny.pt', 'hf_hub': 'owner/tiny/', 'mean': MEAN,
       'std': STD}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def connect(self, address):
        raise AssertionError(f'loading a model connected to {address}')

    monkeypatch.setattr(socket.socket, 'connect', connect)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Give open_clip and the hub client an empty home, and open_clip the tiny architectures."""
    home = tmp_path / 'home'
    (home / 'hub').mkdir(parents=True)
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(home / 'hub'))
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIG_PATHS',
                        list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIGS', {})
    register(tmp_path, 'Tiny')
    register(tmp_path, 'Tiny-quickgelu', quick_gelu=True)
    table = {'Tiny': {'plain': TAG, 'quick': {**TAG, 'quick_gelu': True}},
             'Tiny-quickgelu': {'quick': {**TAG, 'quick_gelu': True}}}
    for name, tags in table.items():
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, tags)
    return home


@pytest.fixture
def weights():
    return make_clip().state_dict()


def save(path, weights):
    save_file(weights, path) if path.suffix == '.safetensors' else torch.save(weights, path)
    return path


def put_in_hub_cache(home, weights, filename):
    """Lay a file out as the hub client does, under the name of its content's digest."""
    repository = home / 'hub' / 'models--owner--tiny'
    snapshot = repository / 'snapshots' / 'c0ffee'
    snapshot.mkdir(parents=True)
    (repository / 'refs').mkdir()
    (repository / 'refs' / 'main').write_text('c0ffee')
    return save(snapshot / filename, weights)


def encode_images(clip, dtype):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    return clip.encode_image(images.to(dtype)).float()


def image_features(backbone):
    return encode_images(backbone.clip, backbone.dtype)


def expected_features(quick_gelu=False):
    return encode_images(make_clip(config=make_config(quick_gelu)), torch.float32)


@pytest.mark.parametrize('filename', ['tiny.safetensors', 'tiny.pt'])
@pytest.mark.parametrize('wrap', [
    lambda weights: weights,
    lambda weights: {name: value for name, value in weights.items() if 'logit' not in name},
    lambda weights: {f'module.{name}': value for name, value in weights.items()},
])
def test_local_files(tmp_path, weights, filename, wrap):
    path = save(tmp_path / filename, wrap(weights))
    backbone = load_backbone(f'Tiny:{path}', 'cpu')
    assert torch.equal(image_features(backbone), expected_features())
    assert (backbone.patch_size, backbone.image_size, backbone.embed_dim) == (8, 32, 32)
    assert (backbone.device.type, backbone.dtype) == ('cpu', torch.float32)
    assert backbone.tokenizer(['road']).shape == (1, 24)
    assert backbone.name == f'Tiny:{path}'
    assert not backbone.clip.training


def test_training_checkpoint(tmp_path, weights):
    document = {'epoch': 3, 'state_dict': {f'module.{k}': v for k, v in weights.items()}}
    path = save(tmp_path / 'epoch_3.pt', document)
    assert torch.equal(image_features(load_backbone(f'Tiny:{path}', 'cpu')), expected_features())


def test_half_precision_files_are_widened(tmp_path, weights):
    path = save(tmp_path / 'tiny.safetensors', {k: v.half() for k, v in weights.items()})
    backbone = load_backbone(f'Tiny:{path}', 'cpu')
    assert backbone.dtype == torch.float32
    torch.testing.assert_close(image_features(backbone), expected_features(), atol=0.05, rtol=0)


def test_home_folder_is_expanded(home, weights):
    save(home / 'tiny.pt', weights)
    assert load_backbone('Tiny:~/tiny.pt', 'cpu').image_size == 32


@pytest.mark.parametrize('change, message', [
    (lambda weights: weights.pop('visual.proj'), r'1 missing \(visual\.proj\)'),
    (lambda weights: weights.update(extra=torch.zeros(1)), r'1 unexpected \(extra\)'),
    (lambda weights: weights.update({'visual.proj': torch.zeros(64, 7)}),
     r'1 of another shape \(visual\.proj \[64, 7\] for \[64, 32\]\)'),
    (lambda weights: weights.update({'visual.proj': 'text'}), r'visual\.proj str for \[64, 32\]'),
    (lambda weights: [weights.pop(name) for name in list(weights) if 'resblocks.1' in name],
     r'24 missing .*, \.\.\.\)'),
])
def test_weights_must_fit_exactly(tmp_path, weights, change, message):
    weights = dict(weights)
    change(weights)
    path = save(tmp_path / 'tiny.pt', weights)
    with pytest.raises(ModelError, match=message):
        load_backbone(f'Tiny:{path}', 'cpu')


@pytest.mark.parametrize('filename', ['tiny.pt', 'tiny.safetensors'])
@pytest.mark.parametrize('content', [b'', b'no weights at all', b'garbage', b'PK\x03\x04'])
def test_unreadable_files(tmp_path, filename, content):
    path = tmp_path / filename
    path.write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(f'{path}: it is damaged')) as refusal:
        load_backbone(f'Tiny:{path}', 'cpu')
    # Of what PyTorch says about it no more than the cause: its advice would run the file's code.
    assert 'weights_only' not in str(refusal.value)
    assert str(refusal.value).count('\n') == 0


@pytest.mark.parametrize('document', [[1, 2], {}, torch.zeros(3)])
def test_files_without_weights_by_name(tmp_path, document):
    path = save(tmp_path / 'tiny.pt', document)
    with pytest.raises(ModelError, match='not weights by name'):
        load_backbone(f'Tiny:{path}', 'cpu')


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match='there is no file /nowhere/tiny.pt'):
        load_backbone('Tiny:/nowhere/tiny.pt', 'cpu')


@pytest.mark.filterwarnings('ignore')
def test_openai_archive(tmp_path):
    clip = make_clip(config=make_config(quick_gelu=True))
    archive = torch.jit.trace(
        clip, (torch.randn(1, 3, 32, 32), torch.ones(1, 24, dtype=torch.long)))
    path = tmp_path / 'tiny.pt'
    archive.save(path)
    backbone = load_backbone(f'Tiny-quickgelu:{path}', 'cpu')
    assert torch.equal(image_features(backbone), expected_features(quick_gelu=True))
    with pytest.raises(ModelError, match='ARCH-quickgelu'):
        load_backbone(f'Tiny:{path}', 'cpu')


@pytest.mark.parametrize('model, quick_gelu', [
    ('Tiny/plain', False), ('Tiny/quick', True), ('Tiny-quickgelu/quick', True)])
def test_the_tag_decides_the_activation(home, weights, model, quick_gelu):
    put_in_hub_cache(home, weights, 'open_clip_model.safetensors')
    backbone = load_backbone(model, 'cpu')
    assert not torch.equal(expected_features(True), expected_features(False))
    assert torch.equal(image_features(backbone), expected_features(quick_gelu))
    assert (backbone.mean, backbone.std) == (MEAN, STD)


def test_the_activation_of_every_pair_is_that_of_its_tag():
    usable = {}
    for architecture, tag in open_clip.list_pretrained():
        try:
            usable[architecture, tag] = parse_model(f'{architecture}/{tag}')
        except ModelError as error:
            assert 'cannot be used' in str(error)
    for pair, source in usable.items():
        assert source.config['quick_gelu'] is bool(source.pretrained.get('quick_gelu')), pair
    assert usable['ViT-B-16', 'openai'].config['quick_gelu']
    assert not usable['ViT-B-16', 'laion2b_s34b_b88k'].config['quick_gelu']
    assert len(usable) >= 90


def test_preprocessing_is_that_of_the_tag():
    assert parse_model('ViT-L-14/laion2b_s32b_b82k').mean == (0.5, 0.5, 0.5)
    assert parse_model('ViT-B-16-quickgelu/openai').mean[0] == pytest.approx(0.4815, abs=1e-4)


@pytest.mark.parametrize('architecture, mean', [
    ('MobileCLIP-B', (0, 0, 0)),
    ('ViT-H-14-CLIPA', (0.485, 0.456, 0.406)),
    # Its tags differ, and it has none.
    ('ViT-L-14', OPENAI_DATASET_MEAN),
    ('ViT-S-16', OPENAI_DATASET_MEAN),
])
def test_preprocessing_of_files_is_the_usual_one_of_their_architecture(architecture, mean):
    assert parse_model(f'{architecture}:/some/file').mean == mean


@pytest.mark.parametrize(
    'filename', ['open_clip_model.safetensors', 'open_clip_pytorch_model.bin'])
def test_weights_in_the_hub_cache(home, weights, filename):
    path = put_in_hub_cache(home, weights, filename)
    assert find_weights(parse_model('Tiny/plain')) == path
    assert torch.equal(image_features(load_backbone('Tiny/plain', 'cpu')), expected_features())


def test_weights_in_the_url_cache(home, weights):
    folder = home / '.cache' / 'clip'
    folder.mkdir(parents=True)
    save(folder / 'tiny.pt', weights)
    assert torch.equal(image_features(load_backbone('Tiny/plain', 'cpu')), expected_features())


def test_absent_weights_say_how_to_fetch_them():
    with pytest.raises(ModelError) as caught:
        load_backbone('Tiny/plain', 'cpu')
    assert 'ros2 run csa_ros fetch_model Tiny/plain' in str(caught.value)
    assert 'python -m csa_ros.tools.fetch_model Tiny/plain' in str(caught.value)
    assert 'model:=demo' in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('model, message', [
    ('ViT-B-16-quickgelu/opnai', r'did you mean openai\?'),
    ('vit-b-16/openai', r'did you mean ViT-B-16 '),
    ('ViT-B/16', r'no architecture .ViT-B..*did you mean'),
    ('ViT-S-16/laion2b', r'has none; name a file, as in ViT-S-16:/'),
    ('openai', r'not understood .did you mean openai-.*: write .demo., .*, .ARCH/TAG.'),
    ('Openai-B16', r'did you mean openai-b16 '),
    ('openai-b16/laion2b', r'not understood .did you mean openai-b16 '),
    ('', 'not understood'),
    ('ViT-B-16/', 'not understood'),
    ('ViT-B-16:', 'not understood'),
])
def test_unknown_models(model, message):
    with pytest.raises(ModelError, match=message):
        load_backbone(model, 'cpu')


@pytest.mark.parametrize('model, reason', [
    ('RN50/openai', 'RN50 .*ResNet'),
    ('RN50x4-quickgelu:/nowhere.pt', 'RN50x4-quickgelu .*ResNet'),
    ('coca_ViT-L-14/laion2b_s13b_b90k', 'coca_ViT-L-14 .*CoCa'),
    ('convnext_base_w/laion2b_s13b_b82k', "timm's convnext_base"),
    ('ViT-B-16-SigLIP/webli', "timm's vit_base_patch16_siglip_224"),
    ('EVA02-B-16/merged2b_s8b_b131k', "timm's eva02_base_patch16_clip_224"),
    ('ViT-B-16-SigLIP2/webli', 'pools its patches by attention'),
    ('EVA01-g-14/laion400m_s11b_b41k', 'EVA'),
    ('PE-Core-B-16/meta', 'turns queries and keys by position'),
    ('ViTamin-B/datacomp1b', 'has no class token'),
    ('MobileCLIP-S1/datacompdr', "timm's fastvit_mci1, .*convolutional"),
    ('roberta-ViT-B-32/laion2b_s12b_b32k', 'Hugging Face tokenizer roberta-base'),
    ('ViT-H-14-worldwide/metaclip2_worldwide', 'Hugging Face tokenizer facebook/xlm-v-base'),
])
def test_unusable_towers_are_refused_by_name_before_weights(monkeypatch, model, reason):
    monkeypatch.setattr(backbone_module, 'find_weights', None)
    with pytest.raises(ModelError, match=reason):
        load_backbone(model, 'cpu')


def test_every_usable_pair_has_the_parts_that_csa_needs():
    architectures = set()
    for architecture, tag in open_clip.list_pretrained():
        try:
            parse_model(f'{architecture}/{tag}')
        except ModelError:
            continue
        architectures.add(architecture)
    for architecture in architectures:
        with torch.device('meta'):
            visual = build(open_clip.get_model_config(architecture)).visual
        if isinstance(visual, TimmModel):
            check_trunk(visual, architecture)
            continue
        block = visual.transformer.resblocks[-1]
        assert isinstance(block, open_clip.transformer.ResidualAttentionBlock), architecture
        assert visual.attn_pool is None, architecture


def check_trunk(visual, architecture):
    """Assert that there is nothing in a trunk beside what csa_ros.model.towers.trunk knows."""
    trunk, block = visual.trunk, visual.trunk.blocks[-1]
    attention = block.attn
    assert trunk.global_pool == 'token' and trunk.num_prefix_tokens == 1, architecture
    assert len(visual.head) == 0, architecture
    assert getattr(attention, 'gate', None) is None, architecture
    for part in (trunk.fc_norm, trunk.patch_drop, attention.q_norm, attention.k_norm,
                 attention.norm, block.ls1, block.ls2):
        assert isinstance(part, torch.nn.Identity), architecture


def test_device_auto_without_a_gpu(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    path = save(tmp_path / 'tiny.pt', weights)
    assert load_backbone(f'Tiny:{path}').device.type == 'cpu'


@pytest.mark.parametrize('gpus, device, message', [
    (0, 'cuda', "use device 'cpu' or 'auto'"),
    (0, 'cuda:1', "use device 'cpu' or 'auto'"),
    (2, 'cuda:2', 'GPUs 0 to 1'),
    (0, 'gpu', 'not understood'),
    (0, 'cpu:1', 'not understood'),
])
def test_devices_that_cannot_be_had(monkeypatch, gpus, device, message):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    with pytest.raises(ModelError, match=message):
        load_backbone('Tiny/plain', device)


@pytest.mark.parametrize('precision, message', [
    ('fp16', 'needs a GPU'), ('half', "'auto', 'fp32', 'fp16', 'bf16'")])
def test_precisions_that_cannot_be_had(precision, message):
    with pytest.raises(ModelError, match=message):
        load_backbone('Tiny/plain', 'cpu', precision)


def test_bf16_on_a_cpu(tmp_path, weights):
    path = save(tmp_path / 'tiny.pt', weights)
    backbone = load_backbone(f'Tiny:{path}', 'cpu', 'bf16')
    assert backbone.dtype == torch.bfloat16
    expected = expected_features()
    error = (image_features(backbone) - expected).norm() / expected.norm()
    assert error < 0.05


def test_identity_tells_models_apart(tmp_path, weights):
    path = save(tmp_path / 'tiny.pt', weights)
    other = save(tmp_path / 'other.pt', make_clip(seed=1).state_dict())
    copy = save(tmp_path / 'copy.safetensors', weights)
    identities = [
        load_backbone(f'Tiny:{path}', 'cpu').identity,
        load_backbone(f'Tiny:{other}', 'cpu').identity,
        load_backbone(f'Tiny-quickgelu:{path}', 'cpu').identity,
        load_backbone(f'Tiny:{path}', 'cpu', 'bf16').identity,
    ]
    assert len(set(identities)) == 4
    assert load_backbone(f'Tiny:{path}', 'cpu').identity == identities[0]
    moved = copy.rename(tmp_path / 'moved.safetensors')
    assert (load_backbone(f'Tiny:{moved}', 'cpu').identity
            == load_backbone(f'Tiny:{moved}', 'cpu').identity)


def test_weights_are_the_same_in_any_type(tmp_path, weights):
    path = save(tmp_path / 'tiny.pt', weights)
    other = save(tmp_path / 'other.pt', make_clip(seed=1).state_dict())
    known, lower, others, activation = (load_backbone(*asked).weights for asked in (
        (f'Tiny:{path}', 'cpu'), (f'Tiny:{path}', 'cpu', 'bf16'), (f'Tiny:{other}', 'cpu'),
        (f'Tiny-quickgelu:{path}', 'cpu')))
    assert known == lower
    assert len({known, others, activation}) == 3


def test_demo_reads_its_config_and_preprocessing(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, 'DEMO_WEIGHTS', tmp_path)
    with pytest.raises(ModelError, match='reinstall csa_ros'):
        load_backbone('demo', 'cpu')
    document = {'model_cfg': make_config(), 'preprocess_cfg': {'mean': MEAN, 'std': STD},
                'short_side': 40, 'stride': 24}
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(document))
    weights = {name: value.half() for name, value in make_clip().state_dict().items()}
    save(tmp_path / 'model.safetensors', weights)
    backbone = load_backbone('demo', 'cpu')
    assert (backbone.name, backbone.mean, backbone.std) == ('demo', MEAN, STD)
    assert (backbone.short_side, backbone.stride) == (40, 24)
    torch.testing.assert_close(image_features(backbone), expected_features(), atol=0.05, rtol=0)


def test_bundled_demo_loads():
    backbone = load_backbone('demo', 'cpu')
    assert backbone.image_size % backbone.patch_size == 0
    assert torch.isfinite(backbone.clip.encode_text(backbone.tokenizer(['road']))).all()


def test_layer_norms_in_half_precision_change_no_feature():
    """In bfloat16, which a CPU has as well: it is computed in float32 all the same."""
    clip = build(make_config(), torch.bfloat16).requires_grad_(False)
    pixels = torch.randn(2, 3, 32, 32).bfloat16()
    expected = clip.visual(pixels)
    halve_layer_norms(clip.visual, torch.bfloat16)
    assert clip.visual.ln_post.weight.dtype == torch.bfloat16
    assert torch.equal(clip.visual(pixels), expected)


def test_layer_norms_whose_weights_would_change_stay_in_float32():
    clip = build(make_config(), torch.float16).requires_grad_(False)
    clip.visual.ln_post.weight[0] = 1 + 2 ** -12
    halve_layer_norms(clip.visual, torch.float16)
    assert clip.visual.ln_post.weight.dtype == torch.float32
    assert clip.visual.ln_pre.weight.dtype == torch.float16
