"""
CLIP as transformers saves it: loaded by key mapping, and equal in what it computes.

`data/transformers_clip.json` has the names of the weights and the features of a small CLIPModel of
transformers 5.24.0, whose weights `weights_by_name` makes anew from their names. Where
transformers is installed, it is asked again.
"""

import json
from pathlib import Path
import re
import warnings
import zlib

from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.weights import transformers_format
import numpy as np
import open_clip
from open_clip.constants import OPENAI_DATASET_MEAN
import pytest
from safetensors.torch import save_file
import torch

REFERENCE = json.loads((Path(__file__).parent / 'data' / 'transformers_clip.json').read_text())
ACTIVATIONS = ('quick_gelu', 'gelu', 'gelu_new')
# An intermediate size that is no multiple of the width, and little else alike in both towers.
VISION = {'hidden_size': 96, 'intermediate_size': 250, 'num_hidden_layers': 3,
          'num_attention_heads': 3, 'image_size': 32, 'patch_size': 8}
TEXT = {'hidden_size': 64, 'intermediate_size': 190, 'num_hidden_layers': 2,
        'num_attention_heads': 2, 'max_position_embeddings': 24, 'vocab_size': 600,
        'eos_token_id': 599, 'bos_token_id': 598}
PROJECTION = 40
# As one of open_clip's architectures, with plain GELU.
ARCHITECTURE = {
    'embed_dim': PROJECTION,
    'vision_cfg': {'image_size': 32, 'patch_size': 8, 'width': 96, 'layers': 3, 'head_width': 32,
                   'mlp_ratio': 250.5 / 96},
    'text_cfg': {'context_length': 24, 'vocab_size': 600, 'width': 64, 'heads': 2, 'layers': 2,
                 'mlp_ratio': 190.5 / 64}}
MEAN = [0.1, 0.2, 0.3]
STD = [0.4, 0.5, 0.6]


def document(activation, **more):
    return {'model_type': 'clip', 'projection_dim': PROJECTION, 'architectures': ['CLIPModel'],
            'vision_config': {**VISION, 'hidden_act': activation},
            'text_config': {**TEXT, 'hidden_act': activation}, **more}


def shapes():
    """Return the shape of each weight by transformers' name."""
    wide, narrow = VISION['hidden_size'], TEXT['hidden_size']
    found = {'logit_scale': (), 'text_projection.weight': (PROJECTION, narrow),
             'visual_projection.weight': (PROJECTION, wide),
             'text_model.embeddings.token_embedding.weight': (TEXT['vocab_size'], narrow),
             'text_model.embeddings.position_embedding.weight': (24, narrow),
             'vision_model.embeddings.class_embedding': (wide,),
             'vision_model.embeddings.position_embedding.weight': (17, wide),
             'vision_model.embeddings.patch_embedding.weight': (wide, 3, 8, 8)}
    for name in REFERENCE['names']:
        if name in found:
            continue
        config = VISION if name.startswith('vision_model') else TEXT
        width, hidden = config['hidden_size'], config['intermediate_size']
        out, into = (hidden, width) if '.fc1.' in name else (
            (width, hidden) if '.fc2.' in name else (width, width))
        matrix = name.endswith('_proj.weight') or '.fc' in name and name.endswith('weight')
        found[name] = (out, into) if matrix else (out,)
    return found


def weights_by_name(prefix=''):
    """Return random weights, each by a generator that its name seeds."""
    weights = {}
    for name, shape in shapes().items():
        random = np.random.RandomState(zlib.crc32(name.encode()))
        values = np.asarray(random.standard_normal(shape), np.float32)
        around = 1 if 'norm' in name and name.endswith('weight') else 0
        weights[f'{prefix}{name}'] = torch.tensor(around + 0.15 * values)
    return weights


def inputs():
    random = np.random.RandomState(0)
    images = torch.from_numpy(random.standard_normal((2, 3, 32, 32)).astype(np.float32))
    tokens = torch.zeros(2, 24, dtype=torch.long)
    tokens[0, :4] = torch.tensor([598, 20, 125, 599])
    tokens[1, :7] = torch.tensor([598, 3, 2, 500, 71, 7, 599])
    return images, tokens


def features(clip):
    images, tokens = inputs()
    with torch.inference_mode():
        return torch.cat([clip.encode_image(images), clip.encode_text(tokens)]).numpy()


def model_of_transformers(activation):
    """Return transformers' own model with the weights of the reference."""
    from transformers import CLIPConfig
    from transformers import CLIPModel
    model = CLIPModel(CLIPConfig(**document(activation))).eval()
    model.load_state_dict(weights_by_name(), strict=True)
    return model


def features_of_transformers(activation):
    model = model_of_transformers(activation)
    images, tokens = inputs()
    with torch.inference_mode():
        image = model.visual_projection(model.vision_model(pixel_values=images).pooler_output)
        text = model.text_projection(model.text_model(input_ids=tokens).pooler_output)
    return torch.cat([image, text]).numpy()


@pytest.fixture(autouse=True)
def no_tokenizer(monkeypatch):
    """Spare making what takes longer than all else here: no words are read."""
    monkeypatch.setattr('csa_ros.model.backbone._make_tokenizer', lambda source: None)


@pytest.fixture
def architectures(tmp_path, monkeypatch):
    """Let open_clip know the architecture, with plain GELU and with QuickGELU."""
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIG_PATHS',
                        list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIGS', {})
    (tmp_path / 'architectures').mkdir()
    for name, quick_gelu in ('Small', False), ('Small-quickgelu', True):
        path = tmp_path / 'architectures' / f'{name}.json'
        path.write_text(json.dumps({**ARCHITECTURE, 'quick_gelu': quick_gelu}))
        open_clip.add_model_config(path)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'clip-small'
    folder.mkdir()
    return folder


def one_file(folder, name='model.safetensors', prefix='', **_):
    path = folder / name
    weights = weights_by_name(prefix)
    save_file(weights, path) if 'safetensors' in name else torch.save(weights, path)
    return path


def some_files(folder, name='model.safetensors', **_):
    """Save weights as transformers does large ones: in several files, with an index."""
    weights = weights_by_name()
    stem, suffix = name.rsplit('.', 1)
    places = {}
    for part in range(3):
        file = f'{stem}-0000{part + 1}-of-00003.{suffix}'
        held = {key: weights[key] for key in sorted(weights)[part::3]}
        save_file(held, folder / file) if suffix == 'safetensors' else torch.save(
            held, folder / file)
        places.update(dict.fromkeys(held, file))
    index = folder / f'{name}.index.json'
    index.write_text(json.dumps({'metadata': {}, 'weight_map': places}))
    return index


def config(folder, activation='gelu', **more):
    (folder / 'config.json').write_text(json.dumps(document(activation, **more)))


def check(backbone, activation):
    np.testing.assert_allclose(
        features(backbone.clip), REFERENCE['features'][activation], atol=1e-5)


def test_the_activations_differ():
    """Else it would not matter which one is taken."""
    assert len(ACTIVATIONS) == len(REFERENCE['features'])
    values = list(map(np.asarray, REFERENCE['features'].values()))
    assert min(np.abs(values[0] - values[1]).max(), np.abs(values[1] - values[2]).max()) > 1e-3


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_transformers_itself_says_the_same(activation):
    pytest.importorskip('transformers', reason='transformers is asked for its own features')
    np.testing.assert_allclose(
        features_of_transformers(activation), REFERENCE['features'][activation], atol=1e-5)


@pytest.mark.parametrize('activation', ACTIVATIONS)
@pytest.mark.parametrize('model', ['{folder}', '{folder}/model.safetensors'])
def test_a_path_alone_loads_by_its_config(folder, model, activation):
    one_file(folder)
    config(folder, activation)
    backbone = load_backbone(model.format(folder=folder), 'cpu')
    check(backbone, activation)
    assert (backbone.patch_size, backbone.image_size, backbone.embed_dim) == (8, 32, PROJECTION)
    assert backbone.mean == OPENAI_DATASET_MEAN


@pytest.mark.parametrize('name, activation', [
    ('Small', 'quick_gelu'), ('Small-quickgelu', 'gelu_new')])
@pytest.mark.parametrize('save, named', [
    (one_file, ''), (one_file, 'model.safetensors'), (one_file, 'pytorch_model.bin'),
    (some_files, ''), (some_files, 'model.safetensors.index.json'),
    (some_files, 'pytorch_model.bin.index.json'),
    (some_files, 'model-00002-of-00003.safetensors')])
def test_the_config_decides_the_activation(
        architectures, folder, save, named, name, activation):
    """Whatever the name of the architecture: it tells the sizes, as the weights do."""
    save(folder, named.split('.index')[0] if named.startswith('pytorch') else 'model.safetensors')
    config(folder, activation)
    check(load_backbone(f'{name}:{folder / named}', 'cpu'), activation)


@pytest.mark.parametrize('name, activation', [
    ('Small', 'gelu'), ('Small-quickgelu', 'quick_gelu')])
@pytest.mark.parametrize('prefix', ['', 'clip.', 'model.clip_model.'])
def test_a_lone_file_has_the_activation_of_the_architecture_and_says_so(
        architectures, folder, name, activation, prefix):
    path = one_file(folder, 'mine.bin', prefix)
    with pytest.warns(UserWarning, match=f'{path} does not tell its activation, .*: '
                      f'{"QuickGELU" if "quick" in name else "GELU"} is assumed'):
        check(load_backbone(f'{name}:{path}', 'cpu'), activation)


def test_a_lone_file_without_an_architecture_is_taken_as_transformers_would(
        architectures, folder):
    with pytest.warns(UserWarning, match='QuickGELU is assumed'):
        check(load_backbone(str(one_file(folder)), 'cpu'), 'quick_gelu')


def test_nothing_is_said_where_all_is_known(folder):
    one_file(folder)
    config(folder)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load_backbone(str(folder), 'cpu')


def test_defaults_are_those_of_transformers(folder):
    """As in old files, which hold nothing but what differs, and that twice."""
    old = {'model_type': 'clip', 'vision_config': {'patch_size': 16}, 'text_config': None,
           'vision_config_dict': {'hidden_size': 1024, 'intermediate_size': 4096,
                                  'num_hidden_layers': 24, 'num_attention_heads': 16,
                                  'patch_size': 14},
           'text_config_dict': {'hidden_size': 768, 'intermediate_size': 3072,
                                'num_attention_heads': 12}, 'projection_dim': 768}
    with torch.device('meta'):
        found, expected = (open_clip.CLIP(**model).state_dict() for model in (
            transformers_format.to_config(old), open_clip.get_model_config('ViT-L-14')))
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in expected.items()}
    assert transformers_format.to_config({})['quick_gelu']


def test_preprocessing_is_that_of_the_folder(architectures, folder):
    one_file(folder)
    config(folder)
    (folder / 'preprocessor_config.json').write_text(
        json.dumps({'image_mean': MEAN, 'image_std': STD}))
    for model in folder, f'Small:{folder}', f'Small:{folder}/model.safetensors':
        backbone = load_backbone(str(model), 'cpu')
        assert (list(backbone.mean), list(backbone.std)) == (MEAN, STD)


def test_folders_of_open_clip(architectures, folder, tmp_path):
    clip = open_clip.CLIP(**ARCHITECTURE, quick_gelu=True).eval()
    save_file(clip.state_dict(), folder / 'open_clip_model.safetensors')
    (folder / 'open_clip_config.json').write_text(json.dumps({
        'model_cfg': {**ARCHITECTURE, 'quick_gelu': True},
        'preprocess_cfg': {'mean': MEAN, 'std': STD}}))
    for model in folder, f'Small:{folder}':
        backbone = load_backbone(str(model), 'cpu')
        np.testing.assert_allclose(features(backbone.clip), features(clip), atol=1e-5)
        assert list(backbone.mean) == MEAN


def test_identities_tell_folders_apart(folder, tmp_path):
    """All files of one count: text features of one model would else serve another."""
    some_files(folder)
    config(folder)
    first = load_backbone(str(folder), 'cpu').identity
    assert load_backbone(str(folder), 'cpu').identity == first
    part = folder / 'model-00003-of-00003.safetensors'
    weights = weights_by_name()
    save_file({name: weights[name] + 1 for name in sorted(weights)[2::3]}, part)
    assert load_backbone(str(folder), 'cpu').identity != first


def lose_a_part(folder):
    some_files(folder)
    (folder / 'model-00002-of-00003.safetensors').unlink()


def reach_out(folder):
    index = some_files(folder)
    index.write_text(json.dumps({'weight_map': {'a': '../../etc/passwd'}}))


def lose_keys(folder):
    weights = weights_by_name()
    del weights['text_model.encoder.layers.1.self_attn.k_proj.bias']
    save_file(weights, folder / 'model.safetensors')


def several(folder):
    for name in 'one.safetensors', 'two.bin':
        one_file(folder, name)


def vision_alone(folder):
    save_file({name: value for name, value in weights_by_name().items()
               if name.startswith('visi')}, folder / 'model.safetensors')


@pytest.mark.parametrize('make, reason', [
    (lose_a_part, 'lacks model-00002-of-00003.safetensors, one of the 3 files'),
    (reach_out, r"names '../../etc/passwd', which is not beside it"),
    (lose_keys, r'1 missing \(transformer.resblocks.1.attn.in_proj_bias\)'),
    (several, r'several files that may be the weights \(one.safetensors, two.bin\): name one'),
    (vision_alone, 'holds the image tower of a CLIP and no text tower'),
    (lambda folder: None, r'the folder \S+ holds no weights, under the name model.safetensors'),
    (lambda folder: one_file(folder).rename(folder / 'weights.txt').write_text('no'),
     'holds no weights'),
    (lambda folder: one_file(folder) and config(folder, 'relu'), 'hidden_act relu: both towers'),
    (lambda folder: one_file(folder) and config(folder, model_type='siglip'),
     "model type 'siglip': .* only 'clip'"),
    (lambda folder: one_file(folder) and (folder / 'config.json').write_text('{'),
     r'cannot read \S+config.json'),
    (lambda folder: one_file(folder) and config(
        folder, 'quick_gelu', vision_config={'hidden_size': 'wide'}), 'sizes that are none'),
])
def test_folders_that_cannot_be_used(folder, make, reason):
    config(folder)
    make(folder)
    with pytest.raises(ModelError, match=reason) as refusal:
        load_backbone(str(folder), 'cpu')
    assert str(folder) in str(refusal.value) or 'hidden_act' in reason or 'sizes' in reason


def test_a_folder_of_folders_names_them(folder):
    for name in 'fp32', 'fp16':
        (folder / name).mkdir()
        one_file(folder / name)
    with pytest.raises(ModelError, match=r'holds no weights: name one of the folders .*\(fp16, f'):
        load_backbone(str(folder), 'cpu')


def test_a_description_is_no_weights(folder):
    config(folder)
    one_file(folder)
    with pytest.raises(ModelError, match='JSON and no index of files .* name the folder'):
        load_backbone(f'{folder}/config.json', 'cpu')


def test_a_path_alone_must_say_its_architecture(architectures, folder):
    clip = open_clip.CLIP(**ARCHITECTURE, quick_gelu=True)
    torch.save(clip.state_dict(), folder / 'mine.pt')
    with pytest.raises(ModelError, match=re.escape('would fit Small or Small-quickgelu')):
        load_backbone(f'{folder}/mine.pt', 'cpu')
