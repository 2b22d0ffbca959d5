"""RADIO's weights in every form, what is wrong with those that do not do, and the one file."""

import argparse
import json
import re
import shutil
import types

from csa_ros.model.backbone import load_backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.errors import ModelError
from csa_ros.model.siglip2 import Siglip2Text
from csa_ros.model.towers.architecture import lower
from csa_ros.model.towers.radio import RadioSizes
from csa_ros.model.towers.radio import RadioTower
from csa_ros.model.towers.radio import RadioVision
from csa_ros.model.weights import files
from csa_ros.model.weights import radio_file
from csa_ros.model.weights import radio_source
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.radio_format import read_part
from csa_ros.model.weights.source import parse_model
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import Vocabulary
import numpy as np
from open_clip.constants import OPENAI_DATASET_MEAN
from open_clip.constants import OPENAI_DATASET_STD
import pytest
import radio
from radio_files import EMBED_DIM
from radio_files import FILE
from radio_files import heads
from radio_files import hugging_face
from radio_files import NAME
from radio_files import reference_weights
from radio_files import register
from radio_files import released
from radio_files import text_weights
from radio_files import timm_names
from radio_files import write_folder
from safetensors import safe_open
from safetensors.torch import save_file
from siglip2 import make_tokenizer
import timm
import torch
from torch.nn.utils import parametrizations

EXPECTED = radio.visual().state_dict()


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """Make the small tower a preset, and let nothing be on the machine but what tests write."""
    register(monkeypatch)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def assert_same(visual, expected=EXPECTED):
    found = visual.state_dict()
    assert found.keys() == expected.keys()
    different = {name for name, value in expected.items() if not torch.equal(found[name], value)}
    assert not different


def refused(model):
    with pytest.raises(ModelError) as caught:
        load_backbone(str(model), 'cpu')
    return str(caught.value)


@pytest.mark.parametrize('document', [
    released(), released()['state_dict'], {'model': {'inner': released()['state_dict']}},
    {**released(), 'args': {'teachers': []}},
    {f'module.{name}': value for name, value in reference_weights().items()},
    {name.removeprefix('base_model.'): value for name, value in reference_weights().items()},
], ids=['released', 'bare', 'nested', 'no teachers', 'wrapped', 'stripped'])
def test_released_files(tmp_path, document):
    path = write_folder(tmp_path / 'folder', document)
    for model in (path, path.parent):
        backbone = load_backbone(f'{NAME}:{model}', 'cpu')
        assert_same(backbone.visual)
        assert backbone.visual.sizes == radio.SIZES
        assert backbone.mean == pytest.approx(OPENAI_DATASET_MEAN, abs=1e-6)
        assert (backbone.short_side, backbone.stride, backbone.image_size) == (336, 112, 224)
        assert backbone.logit_scale == 100
        assert isinstance(backbone.text, Siglip2Text)


@pytest.mark.parametrize('tower', [hugging_face, timm_names])
@pytest.mark.parametrize('suffix', ['.safetensors', '.bin'])
def test_towers_without_head_take_one_from_beside(tmp_path, tower, suffix):
    path = write_folder(tmp_path / 'folder')
    path.unlink()
    save = save_file if suffix == '.safetensors' else torch.save
    path = tmp_path / 'folder' / f'model{suffix}'
    save({name: value.contiguous() for name, value in tower().items()}, path)
    message = refused(f'{NAME}:{path}')
    assert f'{path} holds the tower of {NAME} and not its head for siglip2' in message
    assert f'put {FILE}, which has both, beside it' in message
    torch.save(heads(), tmp_path / 'folder' / 'heads.pt')
    for model in (path, path.parent):
        assert_same(load_backbone(f'{NAME}:{model}', 'cpu').visual)


@pytest.mark.parametrize('teachers, index', [
    ([], 1), (['clip', 'siglip2', 'sam'], 1), (['clip', 'sam', 'siglip2'], 2)])
def test_heads_by_the_index_of_their_teacher(teachers, index):
    weights = {name.replace('.siglip2.', f'.{index}.'): value
               for name, value in reference_weights().items()}
    # That of another teacher, in another shape.
    weights[f'_heads.{index + 1}.fc1.weight'] = torch.ones(2, 96)
    weights['_heads.0.fc1.weight'] = torch.ones(3, 96)
    document = {'state_dict': weights, 'args': argparse.Namespace(
        teachers=[{'name': name} for name in teachers])}
    part = read_part(document, radio.REFERENCE)
    for name, value in part.head.items():
        assert torch.equal(value.float(), EXPECTED[name])


def test_a_teacher_that_is_not_there_has_no_head():
    weights = {name.replace('.siglip2.', '.1.'): value
               for name, value in reference_weights().items()}
    document = {'state_dict': weights, 'args': argparse.Namespace(
        teachers=[{'name': 'clip'}, {'name': 'siglip'}])}
    part = read_part(document, radio.REFERENCE)
    assert part.head is None
    assert 'a RADIO before version 3, with a head for SigLIP and none for SigLIP2' in part.release


def test_weights_with_their_spectral_norm_apart():
    """Against torch's own: the largest singular value is divided by, and scaled anew."""
    torch.manual_seed(0)
    weights = reference_weights()
    linear = 'base_model.blocks.1.mlp.fc1'
    plain = weights.pop(f'{linear}.weight').float()
    module = torch.nn.Linear(96, 384, bias=False)
    module.weight.data = plain
    parametrizations.spectral_norm(module, n_power_iterations=200)
    norm = module.parametrizations.weight[0]
    prefix = f'{linear}.parametrizations.weight'
    # softplus(scale) + 0.05 is 2.
    scale = torch.tensor([1.95]).expm1().log()
    weights.update({f'{prefix}.original': plain, f'{prefix}.0.scale': scale,
                    f'{prefix}.0._u': norm._u, f'{prefix}.0._v': norm._v})
    qkv = 'base_model.blocks.1.attn.qkv'
    thirds = weights.pop(f'{qkv}.weight').float()
    weights[f'{qkv}.parametrizations.weight.original'] = thirds
    for index, third in enumerate(thirds.chunk(3)):
        u, _, v = torch.linalg.svd(third)
        weights.update({
            f'{qkv}.parametrizations.weight.0.parts.{index}.{name}': value
            for name, value in (('scale', scale), ('_u', u[:, 0]), ('_v', v[0]))})
    tower = read_part(weights, radio.REFERENCE).tower
    module.eval()
    assert torch.allclose(tower['blocks.1.mlp.fc1.weight'], 2 * module.weight, atol=1e-5)
    for third in tower['blocks.1.attn.qkv.weight'].chunk(3):
        assert torch.linalg.matrix_norm(third, 2).item() == pytest.approx(2, abs=1e-4)
    assert tower.keys() | read_part(weights, radio.REFERENCE).head.keys() == EXPECTED.keys()


def test_weights_stay_as_they_are_stored(tmp_path):
    parts = radio_source.read_parts(NAME, write_folder(tmp_path / 'folder'))
    assert {value.dtype for value in parts.weights.by_name.values()} == {torch.float16}


def test_towers_without_layer_scale(tmp_path, monkeypatch):
    register(monkeypatch, layer_scale=False)
    weights = {name: value for name, value in reference_weights().items()
               if '.ls1.' not in name and '.ls2.' not in name}
    path = write_folder(tmp_path / 'folder', released(weights))
    visual = load_backbone(f'{NAME}:{path}', 'cpu').visual
    assert_same(visual, {name: torch.ones_like(value) if 'gamma' in name else value
                         for name, value in EXPECTED.items()})


@pytest.mark.parametrize('change, fault', [
    ({'base_model.blocks.1.norm1.bias': None}, r'1 missing \(blocks.1.norm1.bias\)'),
    ({'_heads.siglip2.final.0.weight': None}, r'1 missing \(head.final.0.weight\)'),
    ({'base_model.patch_generator.pos_embed': None}, r'1 missing \(positions\)'),
    ({'base_model.blocks.2.attn.q_norm.weight': torch.ones(32)},
     r'1 unexpected \(blocks.2.attn.q_norm.weight\)'),
    ({'base_model.patch_generator.video_embedder.weight': torch.ones(2, 2)},
     r'1 unexpected \(patch_generator.video_embedder.weight\)'),
    ({'base_model.blocks.1.mlp.fc2.weight': torch.ones(96, 383)},
     r'1 of another shape \(blocks.1.mlp.fc2.weight \[96, 383\] for \[96, 384\]\)'),
])
def test_weights_that_do_not_fit_are_named(tmp_path, change, fault):
    weights = {name: value for name, value in {**reference_weights(), **change}.items()
               if value is not None}
    path = write_folder(tmp_path / 'folder', released(weights))
    message = refused(f'{NAME}:{path}')
    assert re.search(f'{path} does not fit {NAME!r}: {fault}. Take {FILE} of owner/radio', message)


def cut(document, layers):
    """Return a tower with fewer blocks."""
    return {name: value for name, value in document.items()
            if not any(f'.blocks.{index}.' in name and '_heads' not in name
                       for index in range(layers, 9))}


def test_towers_of_another_preset_name_it(tmp_path, monkeypatch):
    path = write_folder(tmp_path / 'folder', released(cut(reference_weights(), 2)))
    message = refused(f'{NAME}:{path}')
    assert ('holds a RADIO with 2 blocks of width 96 with LayerScale and 8 tokens before the '
            f'patches, and {NAME} has 3 blocks of width 96 with LayerScale and 8') in message
    assert 'Take' in message
    other = types.SimpleNamespace(**{**vars(RADIO_PRESETS[NAME]), 'layers': 2})
    monkeypatch.setitem(RADIO_PRESETS, 'other', other)
    assert refused(f'{NAME}:{path}').endswith(f': write other:{path}')


def older():
    """Return what versions before the third were: without LayerScale, taught by SigLIP."""
    weights = {name.replace('siglip2', 'siglip'): value
               for name, value in reference_weights().items() if '.ls' not in name}
    return {'state_dict': weights, 'args': argparse.Namespace(
        teachers=[{'name': name} for name in ('clip', 'siglip', 'dino_v2', 'sam')])}


@pytest.mark.parametrize('file, document, release, licence', [
    ('radio-v2.5-b_half.pth.tar', older(), 'RADIOv2.5, with a head for SigLIP and none',
     'no commercial use'),
    ('radio_v2.5-b.pth.tar', older(), 'RADIOv2.5', 'no commercial use'),
    ('radio_v2.1_bf16.pth.tar', older(), 'RADIO before version 3', 'no commercial use'),
    ('c-radio_v2-b_half.pth.tar', older(), 'C-RADIO before version 3, with a head for SigLIP',
     'NVIDIA Open Model License, which allows commercial use'),
    ('c-radio_v4-h_half.pth.tar', {
        **reference_weights(),
        'base_model.patch_generator.cls_token.token': torch.ones(10, 96)},
     'C-RADIOv4, with other teachers', 'NVIDIA Open Model License'),
    ('weights.pt', older(), 'a RADIO before version 3, with a head for SigLIP',
     'those without one under'),
    ('eradio_v2.pth.tar', {'base_model.levels.0.blocks.0.conv1.weight': torch.ones(3)},
     'E-RADIO, a hybrid', 'no commercial use'),
    ('weights.pt', {'base_model.levels.0.blocks.0.conv1.weight': torch.ones(3)},
     'E-RADIO, a hybrid', 'no commercial use'),
])
def test_other_radios_are_known(tmp_path, file, document, release, licence):
    path = write_folder(tmp_path / 'folder', document)
    path = path.rename(path.with_name(file))
    message = refused(f'{NAME}:{path}')
    assert release in message and licence in message
    assert f'Take {FILE} of owner/radio' in message
    assert 'fetch_model' in message


def test_the_description_beside_weights_tells_their_version(tmp_path):
    path = write_folder(tmp_path / 'folder', hugging_face({
        name: value for name, value in reference_weights().items() if '.ls' not in name}))
    (path.parent / 'config.json').write_text(json.dumps({'version': 'radio_v2.5-l'}))
    assert 'it is RADIOv2.5' in refused(f'{NAME}:{path.rename(path.with_name("model.bin"))}')


def test_what_is_missing_beside_a_tower(tmp_path):
    path = write_folder(tmp_path / 'one', text=False)
    message = refused(f'{NAME}:{path}')
    assert 'the text tower of SigLIP2, which is neither in' in message
    assert 'put model.safetensors of https://huggingface.co/google/siglip2-so400m' in message
    path = write_folder(tmp_path / 'two', tokenizer=False)
    message = refused(f'{NAME}:{path.parent}')
    assert 'the tokenizer of SigLIP2, which is neither in' in message
    assert 'put tokenizer.json of https' in message
    path = write_folder(tmp_path / 'three', heads())
    assert refused(f'{NAME}:{path}').startswith(
        f'{path} holds no RADIO tower, but a head without one. Take {FILE}')
    assert f'{path.parent} holds no RADIO tower: name {FILE}' in refused(f'{NAME}:{path.parent}')
    assert 'there is no file' in refused(f'{NAME}:{tmp_path}/none')
    message = refused(NAME)
    assert f"the weights of '{NAME}' are not on this machine" in message
    assert f'ros2 run csa_ros fetch_model {NAME}' in message


def test_text_towers_of_another_width(tmp_path):
    path = write_folder(tmp_path / 'folder')
    save_file(text_weights(40), path.parent / 'siglip2.safetensors')
    message = refused(f'{NAME}:{path}')
    assert 'gives 40 numbers a word, and the head of tiny-radio 48 a patch' in message


def test_a_folder_with_two_towers(tmp_path):
    path = write_folder(tmp_path / 'folder')
    shutil.copy(path, path.with_name('other.pt'))
    assert f'several RADIO towers (other.pt, {FILE}): name one of them' in refused(
        f'{NAME}:{path.parent}')


@pytest.mark.parametrize('name', [FILE, 'siglip2.safetensors'])
def test_truncated_files(tmp_path, name):
    path = write_folder(tmp_path / 'folder')
    file = path.with_name(name)
    file.write_bytes(file.read_bytes()[:-5000])
    message = refused(f'{NAME}:{path}')
    assert f'cannot read weights from {file}: it is damaged' in message
    assert 'copy it again' in message


def put_into_cache(cache, repository, files):
    """Lay files out as the client of the hub does."""
    folder = cache / f'models--{repository.replace("/", "--")}'
    (folder / 'snapshots' / 'c0ffee').mkdir(parents=True)
    (folder / 'refs').mkdir()
    (folder / 'refs' / 'main').write_text('c0ffee')
    for file in files:
        shutil.copy(file, folder / 'snapshots' / 'c0ffee')


def test_what_the_client_of_the_hub_fetched(tmp_path):
    path = write_folder(tmp_path / 'folder')
    text = path.parent / 'siglip2.safetensors'
    text.rename(path.parent / 'model.safetensors')
    put_into_cache(tmp_path / 'hub', 'owner/radio', [path])
    assert not radio_source.is_here(NAME)
    assert 'the text tower of SigLIP2' in refused(NAME)
    put_into_cache(tmp_path / 'hub', 'google/siglip2-so400m-patch16-naflex',
                   [path.parent / 'model.safetensors', path.parent / 'tokenizer.json'])
    assert radio_source.is_here(NAME)
    backbone = load_backbone(NAME, 'cpu')
    assert_same(backbone.visual)
    assert backbone.name == NAME


def write_own(tmp_path):
    parts = radio_source.read_parts(NAME, write_folder(tmp_path / 'folder'))
    path = radio_source.own_file(NAME)
    path.parent.mkdir(parents=True)
    radio_file.write(path, NAME, parts.weights, parts.text, parts.tokenizer)
    return path


def test_the_one_file(tmp_path):
    path = write_own(tmp_path)
    backbone = load_backbone(NAME, 'cpu')
    assert_same(backbone.visual)
    assert backbone.identity == load_backbone(f'{NAME}:{path}', 'cpu').identity
    parts = radio_source.read_parts(NAME, path)
    assert parts.text == path
    assert parts.tokenizer == (tmp_path / 'folder' / 'tokenizer.json').read_bytes()
    with safe_open(path, framework='pt') as file:
        metadata = file.metadata()
        dtypes = {file.get_tensor(name).dtype for name in file.keys()}
        texts = {name: file.get_tensor(name) for name in file.keys() if 'text_model' in name}
    assert dtypes == {torch.float16, torch.uint8}
    assert metadata['licence'] == 'NVIDIA Open Model + Apache-2.0'
    assert metadata['sources'] == (
        f'owner/radio/{FILE} google/siglip2-so400m-patch16-naflex/model.safetensors')
    assert texts.keys() == text_weights().keys()
    assert all(torch.equal(texts[name], value.half()) for name, value in text_weights().items())
    assert path.stat().st_mode & 0o444 == 0o444
    assert list(path.parent.iterdir()) == [path]


def test_words_and_frames_from_the_one_file(tmp_path):
    """They come out as from the files that it was made of, but for the words' half precision."""
    parts = radio_source.read_parts(NAME, write_folder(tmp_path / 'folder'))
    tokenizer = make_tokenizer()
    (tmp_path / 'folder' / 'tokenizer.json').write_bytes(tokenizer)
    path = tmp_path / 'one.safetensors'
    radio_file.write(path, NAME, parts.weights, parts.text, tokenizer)
    words = ['road', 'sky', 'red car']
    rgb = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    settings = Settings(crop=96, stride=64, short_side=96, denoise=0)
    features, results = [], []
    for model in (path, tmp_path / 'folder'):
        segmenter = Segmenter.load(f'{NAME}:{model}', 'cpu', settings=settings,
                                   cache_dir=tmp_path / 'words')
        assert segmenter.attention == 'radseg attention'
        encoded = segmenter.encode(Vocabulary.parse(words), 'simple')
        features.append(encoded.features)
        results.append(segmenter.segment(rgb, encoded))
    # Each word is kept under the key of its model.
    assert len(list((tmp_path / 'words').rglob('*.npy'))) == 6
    assert (features[0] * features[1]).sum(dim=-1).min() > 0.9999
    assert (results[0].labels == results[1].labels).mean() > 0.99
    assert results[0].labels.shape == (96, 160)


def test_the_one_file_of_another_preset_or_time(tmp_path, monkeypatch):
    path = write_own(tmp_path)
    monkeypatch.setitem(RADIO_PRESETS, 'other', RADIO_PRESETS[NAME])
    assert refused(f'other:{path}') == f'{path} holds {NAME}, not other: write {NAME}:{path}'
    monkeypatch.setattr(radio_file, 'FORMAT', 'csa_ros radio 0')
    message = refused(NAME)
    assert "is in the form 'csa_ros radio 1', and this csa_ros reads 'csa_ros radio 0'" in message
    assert f'fetch_model {NAME}' in message


def test_the_one_file_truncated(tmp_path):
    path = write_own(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    assert f'cannot read weights from {path}: it is damaged' in refused(NAME)


def test_a_file_that_was_not_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(radio_file, 'save_file', fail)
    with pytest.raises(OSError):
        write_own(tmp_path)
    assert list(radio_source.own_file(NAME).parent.iterdir()) == []


@pytest.mark.parametrize('part', [
    'visual.blocks.1.norm1.bias', 'visual.head.final.2.weight', 'tokenizer',
    'text_model.encoder.layers.1.mlp.fc1.weight'])
def test_identity_changes_with_every_part(tmp_path, part):
    """Of the one file by the digest in it, of several by their bytes."""
    path = write_own(tmp_path)
    first = radio_source.read_parts(NAME, path)
    weights, text, tokenizer = first.weights, first.text, first.tokenizer
    folder = tmp_path / 'folder'
    several = [load_backbone(f'{NAME}:{folder}', 'cpu').identity]
    if part == 'tokenizer':
        tokenizer += b' '
        (folder / 'tokenizer.json').write_bytes(tokenizer)
    elif part.startswith('visual.'):
        weights.by_name[part.removeprefix('visual.')].flatten()[0] += 1
        document = released()
        name = {'visual.blocks.1.norm1.bias': 'base_model.blocks.1.norm1.bias',
                'visual.head.final.2.weight': '_heads.siglip2.final.2.weight'}[part]
        document['state_dict'][name].flatten()[0] += 1
        torch.save(document, folder / FILE)
    else:
        text = folder / 'siglip2.safetensors'
        tensors = text_weights()
        tensors[part][0, 0] += 1
        save_file(tensors, text)
    several.append(load_backbone(f'{NAME}:{folder}', 'cpu').identity)
    other = tmp_path / 'other.safetensors'
    radio_file.write(other, NAME, weights, text, tokenizer)
    assert load_backbone(f'{NAME}:{other}', 'cpu').identity != load_backbone(NAME, 'cpu').identity
    assert several[0] != several[1]


def test_the_digest_is_that_of_what_is_written(tmp_path):
    path = write_own(tmp_path)
    parts = radio_source.read_parts(NAME, path)
    again = tmp_path / 'again.safetensors'
    radio_file.write(again, NAME, parts.weights, path, parts.tokenizer)
    assert load_backbone(f'{NAME}:{again}', 'cpu').identity == load_backbone(NAME, 'cpu').identity


@pytest.mark.parametrize('precision, dtype', [('fp32', torch.float32), ('bf16', torch.bfloat16)])
def test_precisions(tmp_path, precision, dtype):
    path = write_folder(tmp_path / 'folder')
    backbone = load_backbone(f'{NAME}:{path}', 'cpu', precision)
    assert backbone.dtype == dtype
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    expected = DenseEncoder(radio.backbone(), 'vanilla')(pixels)
    found = DenseEncoder(backbone, 'vanilla')(pixels)
    assert (found * expected).sum(dim=-1).min() > (0.9999 if dtype == torch.float32 else 0.995)
    norms = {module.weight.dtype for module in backbone.visual.modules()
             if isinstance(module, torch.nn.LayerNorm)}
    assert norms == {torch.float32}
    linear = {module.weight.dtype for module in backbone.visual.modules()
              if isinstance(module, torch.nn.Linear)}
    assert linear == {dtype}


def test_int8_is_left_to_the_encoder(tmp_path):
    path = write_folder(tmp_path / 'folder')
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    backbone = load_backbone(f'{NAME}:{path}', 'cpu', 'int8')
    assert backbone.quantized and backbone.dtype == torch.float32


def test_lower_leaves_the_numbers_of_norms():
    visual = radio.visual()
    visual.head.final[0].weight[0] = 1 + 2 ** -12
    lower(visual, torch.bfloat16)
    assert visual.head.final[0].weight[0] == 1 + 2 ** -12
    assert visual.positions.dtype == torch.float32
    assert visual.blocks[0].ls1.gamma.dtype == torch.bfloat16


def test_no_clip_is_made_of_it():
    with pytest.raises(ModelError, match=f'{NAME} is no CLIP'):
        parse_model(NAME)
    with pytest.raises(ModelError, match='did you mean .*c-radio-v3-b'):
        parse_model('c-radio-v3')
    with pytest.raises(ModelError, match='c-radio-v3-b/openai. is not understood'):
        parse_model('c-radio-v3-b/openai')


@pytest.mark.parametrize('name', ['c-radio-v3-b', 'c-radio-v3-l', 'c-radio-v3-h'])
def test_presets_have_the_size_that_they_say(name):
    preset = RADIO_PRESETS[name]
    sizes = RadioSizes(preset.width, preset.layers, preset.heads, 4 * preset.width, 16,
                       preset.table, preset.prefix, 1520, 2, 1152)
    with torch.device('meta'):
        millions = sum(weight.numel() for weight in RadioVision(sizes).parameters()) / 1e6
    assert preset.tower == pytest.approx(millions, abs=0.05)
    assert preset.page == f'https://huggingface.co/nvidia/C-RADIOv3-{name[-1].upper()}'
    assert preset.file == ('nvidia/RADIO', f'c-radio_v3-{name[-1]}_half.pth.tar')


# Of timm, whose older versions have it not.
TIMM = 'vit_base_patch16_radio_v3'


@pytest.mark.skipif(TIMM not in timm.list_models(), reason=f'timm {timm.__version__} has no RADIO')
def test_timms_own_model_does_the_same(tmp_path, monkeypatch):
    """Two blocks of the base model, at the size of its table: what comes before the head."""
    torch.manual_seed(0)
    model = timm.create_model(TIMM, depth=2, img_size=128).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    torch.nn.init.zeros_(model.patch_embed.proj.bias)
    tower = read_part(model.state_dict(), radio.REFERENCE).tower
    head = {'head.fc1.weight': torch.eye(768), 'head.fc1.bias': torch.zeros(768)}
    sizes = RadioSizes(768, 2, 12, 3072, 16, 8, 8, 768, 0, 768)
    visual = RadioVision(sizes).eval()
    missing = visual.load_state_dict({**tower, **head}, strict=False).missing_keys
    assert {name.partition('.final')[0] for name in missing} == {'head'}
    visual.head = visual.head.fc1
    backbone = types.SimpleNamespace(patch_tower=RadioTower(visual))
    pixels = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        expected = model.forward_features(pixels)
    found = DenseEncoder(backbone, 'vanilla').tokens(pixels)
    assert (found - expected).abs().max() < 1e-4
    assert expected.abs().max() > 1


def base():
    """Return random weights of the released base model by their names and shapes."""
    generator = torch.Generator().manual_seed(0)
    noise = (torch.randn(1 << 20, generator=generator) * 0.02).half()

    def random(*shape):
        size = torch.Size(shape).numel()
        return noise.repeat(-(-size // len(noise)))[:size].view(shape)

    weights = {'base_model.patch_generator.embedder.weight': random(768, 768),
               'base_model.patch_generator.pos_embed': random(1, 16384, 768),
               'base_model.patch_generator.cls_token.token': random(8, 768),
               'input_conditioner.norm_mean': torch.tensor(OPENAI_DATASET_MEAN).view(3, 1, 1),
               'input_conditioner.norm_std': torch.tensor(OPENAI_DATASET_STD).view(3, 1, 1)}
    linears = {f'_heads.siglip2.{name}': shape for name, shape in (
        ('fc1', (1520, 768)), ('blocks.0.2', (1520, 1520)), ('blocks.1.2', (1520, 1520)),
        ('final.2', (1152, 1520)))}
    norms = {f'_heads.siglip2.{name}.0': 1520 for name in ('blocks.0', 'blocks.1', 'final')}
    for index in range(12):
        block = f'base_model.blocks.{index}'
        linears.update({f'{block}.attn.qkv': (2304, 768), f'{block}.attn.proj': (768, 768),
                        f'{block}.mlp.fc1': (3072, 768), f'{block}.mlp.fc2': (768, 3072)})
        norms.update({f'{block}.norm1': 768, f'{block}.norm2': 768})
        weights.update({f'{block}.{scale}.gamma': random(768) for scale in ('ls1', 'ls2')})
    for name, (rows, columns) in linears.items():
        weights.update({f'{name}.weight': random(rows, columns), f'{name}.bias': random(rows)})
    for name, width in norms.items():
        weights.update({f'{name}.weight': random(width) + 1, f'{name}.bias': random(width)})
    return weights


@pytest.fixture(scope='module')
def base_weights():
    return base()


@pytest.mark.parametrize('form', [released, hugging_face, timm_names])
def test_full_size_files(tmp_path, base_weights, form):
    folder = tmp_path / 'folder'
    path = write_folder(folder, form(base_weights))
    save_file(text_weights(1152), folder / 'siglip2.safetensors')
    if form is not released:
        torch.save(heads(base_weights), folder / 'heads.pt')
    backbone = load_backbone(f'c-radio-v3-b:{path}', 'cpu', 'bf16')
    assert (backbone.embed_dim, backbone.tower.width, len(backbone.tower.blocks)) == (
        1152, 768, 12)
    assert backbone.visual.sizes.head_width == 1520
    name = 'base_model.blocks.11.mlp.fc2.weight'
    assert torch.equal(backbone.visual.blocks[11].mlp.fc2.weight, base_weights[name].bfloat16())
    assert backbone.tower.place((14, 14), None).shape == (8 + 196, 768)


def test_a_smaller_table_is_said(tmp_path, monkeypatch):
    register(monkeypatch, table=64)
    path = write_folder(tmp_path / 'folder')
    with pytest.warns(UserWarning, match='positions of 32 x 32 patches in place of 64 x 64'):
        load_backbone(f'{NAME}:{path}', 'cpu')


def test_parts_of_a_file_are_asked_for_without_reading_it(tmp_path):
    path = write_folder(tmp_path / 'folder')
    assert files.tensor_names(path) is None
    assert files.metadata(path) == {}
    text = path.parent / 'siglip2.safetensors'
    assert 'text_model.head.weight' in files.tensor_names(text)
    assert files.first_size(text, ['none', 'text_model.head.weight']) == EMBED_DIM
    assert files.first_size(text, ['none']) is None
