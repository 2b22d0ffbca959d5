"""Checkpoints in every wrapping, files that do not fit, and presets."""

import argparse
from collections import OrderedDict
import gzip
import lzma
import os
import pickle
import re
import zipfile

from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.towers import architecture
from csa_ros.model.weights import torchscript
from csa_ros.model.weights.catalogue import Preset
from csa_ros.model.weights.catalogue import PRESETS
from csa_ros.model.weights.catalogue import TOWERS
from csa_ros.model.weights.checkpoint import load_weights
from csa_ros.model.weights.checkpoint import read_weights
from csa_ros.model.weights.checkpoint import USUAL_PLACES
from csa_ros.model.weights.source import find_weights
from csa_ros.model.weights.source import parse_model
import open_clip
from open_clip.constants import OPENAI_DATASET_MEAN
from open_clip.transformer import QuickGELU
import pytest
from safetensors.torch import save_file
import torch
from towers import make_clip
from towers import make_config
from towers import register

# Few words, so that files are small.
CONFIG = make_config(vocab_size=600)
WEIGHTS = make_clip(config=CONFIG).state_dict()
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
TOKENS = torch.tensor([[1, 320, 125, 599] + [0] * 20])
EXTRA = torch.ones(3)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Make tiny architectures known to open_clip, and a folder of the test's own the hub cache."""
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIG_PATHS',
                        list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIGS', {})
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    register(tmp_path, 'Tiny', vocab_size=600)
    register(tmp_path, 'Tiny-quickgelu', quick_gelu=True, vocab_size=600)


def save(path, document, **options):
    if path.suffix == '.safetensors':
        save_file(document, path)
    else:
        torch.save(document, path, **options)
    return path


def load(path, config=CONFIG):
    """Return a model with the weights of a file."""
    clip = architecture.build(config).eval()
    load_weights(clip, read_weights(path, config).by_name, f'{path} does not fit')
    return clip


def outputs(clip):
    with torch.inference_mode():
        return torch.cat([clip.encode_image(IMAGES), clip.encode_text(TOKENS)])


EXPECTED = outputs(make_clip(config=CONFIG))


def prefixed(prefix, weights=WEIGHTS):
    return {f'{prefix}{name}': value for name, value in weights.items()}


def optimizer_state():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def openclip_training():
    """Return what open_clip's training script saves, as DreamLIP's files are, and its options."""
    return {'epoch': 32, 'name': 'ViT-B-16', 'state_dict': prefixed('module.'),
            'optimizer': optimizer_state(), 'scaler': {'scale': 65536.0, 'growth_factor': 2.0},
            'args': argparse.Namespace(lr=5e-4, model='ViT-B-16', betas=(0.9, 0.98),
                                       inner=argparse.Namespace(workers=4))}


def diva_training():
    """Return what DIVA's training saves: CLIP inside of a diffusion model."""
    return {**prefixed('class_model.model.'), 'class_model.final_fc.weight': EXTRA,
            'unet.conv_in.weight': EXTRA, 'vae.encoder.conv_in.bias': EXTRA,
            'visual_proj.weight': EXTRA, 'scheduler.betas': EXTRA}


def fully_sharded(weights=WEIGHTS):
    """Return names as torch's wrappers of single blocks leave them."""
    names = {name: re.sub(r'resblocks\.1\.|^visual\.', r'\g<0>_fsdp_wrapped_module._orig_mod.',
                          name) for name in weights}
    return {names[name]: value for name, value in weights.items()}


def in_parts():
    """Return the towers in dictionaries of their own, beside an optimiser's."""
    image = {name.removeprefix('visual.'): value for name, value in WEIGHTS.items()
             if name.startswith('visual.')}
    text = {name: value for name, value in WEIGHTS.items() if not name.startswith('visual.')}
    return {'visual': image, 'text': text, 'optimizer': {'state': {'exp_avg': EXTRA}}}


def named_towers():
    """Return weights in which the towers have prefixes of their own."""
    return {('image_encoder.' if name.startswith('visual.') else 'text_encoder.') + name: value
            for name, value in WEIGHTS.items()}


def twice():
    """Return the same model under two names, as scripts do for those who look for either."""
    return {'net': WEIGHTS, 'weights': dict(WEIGHTS)}


def averaged(name, usual='model'):
    return lambda: {name: {key: value + 1 for key, value in WEIGHTS.items()}, usual: WEIGHTS}


def published_sizes():
    """Return weights as OpenAI's archives hold them, converted to a flat file."""
    return {**WEIGHTS, 'input_resolution': torch.tensor(32), 'context_length': torch.tensor(24),
            'vocab_size': torch.tensor(49408)}


WRAPPINGS = {
    'flat': lambda: WEIGHTS,
    'ordered': lambda: OrderedDict(WEIGHTS),
    **{place: lambda place=place: {place: WEIGHTS, 'epoch': 3} for place in USUAL_PLACES},
    'nested': lambda: {'model': {'state_dict': WEIGHTS}, 'iteration': 7},
    **{prefix: lambda prefix=prefix: prefixed(prefix)
       for prefix in ('module.', 'class_model.model.')},
    **{place: lambda place=place: {'epoch': 3, place: WEIGHTS, 'extra': {'weight': EXTRA}}
       for place in ('model_state_dict', 'net', 'weights', 'ema', 'my-own.name', 'state dict')},
    **{prefix: lambda prefix=prefix: {**prefixed(prefix), 'head.weight': EXTRA}
       for prefix in ('clipmodel.', 'model.', 'clip.model.', '_orig_mod.', 'module._orig_mod.',
                      'model.module.clip_model.', 'a.b.c.d.e.')},
    'deep': lambda: {'a': {'b': [1, ({'c': {'d': prefixed('clip.')}}, 2)]}},
    'a list': lambda: [WEIGHTS, optimizer_state()],
    'parts': in_parts,
    'towers under names of their own': named_towers,
    'blocks wrapped': lambda: {'model': fully_sharded()},
    'text as a part': lambda: {
        f'text.{name}' if name.startswith(architecture.TEXT_PARTS) else name: value
        for name, value in WEIGHTS.items()},
    'twice': twice,
    'both prefixes': lambda: {'model_state': prefixed('module.class_model.model.')},
    'open_clip training': openclip_training,
    'DIVA training': diva_training,
    'DIVA release': lambda: {**WEIGHTS, 'visual.proj2': EXTRA, 'visual_proj.bias': EXTRA},
    'OpenAI sizes': published_sizes,
    'causal mask': lambda: {**WEIGHTS, 'attn_mask': torch.zeros(24, 24)},
    'sigmoid bias': lambda: {'state_dict': {**WEIGHTS, 'logit_bias': torch.tensor(-10.0)}},
    'classifiers': lambda: {**WEIGHTS, 'multi_classifier.0.weight': EXTRA,
                            'logit_scale_local': torch.tensor(2.6)},
    'no loss': lambda: {name: value for name, value in WEIGHTS.items() if name != 'logit_scale'},
    'flat beside numbers': lambda: {**WEIGHTS, 'epoch': 3, 'best': 0.5, 'name': 'mine',
                                    'args': argparse.Namespace()},
}


@pytest.mark.parametrize('wrap', WRAPPINGS.values(), ids=WRAPPINGS)
def test_every_wrapping_gives_the_same_model(tmp_path, wrap):
    path = save(tmp_path / 'weights.pt', wrap())
    assert torch.equal(outputs(load(path)), EXPECTED)


# What is taken of two CLIPs of one shape, and what comes first by their order in the file.
SEVERAL = {
    **{name: averaged(name) for name in ('ema', 'model_ema', 'ema_model', 'shadow', 'teacher')},
    'state_dict_ema': averaged('state_dict_ema', 'state_dict'),
    'a usual place': averaged('other', 'model'),
    'more usual': averaged('model', 'state_dict'),
    'at the top': lambda: {**prefixed('teacher.', averaged('a')()['a']), **WEIGHTS},
    'student': averaged('teacher', 'student'),
    'prefixes': lambda: {**prefixed('ema_model.', averaged('a')()['a']), **prefixed('model.')},
}


@pytest.mark.parametrize('wrap', SEVERAL.values(), ids=SEVERAL)
def test_of_several_models_the_one_that_is_meant_is_taken_and_named(tmp_path, wrap):
    path = save(tmp_path / 'weights.pt', wrap())
    with pytest.warns(UserWarning, match=f'{path} holds 2 CLIPs, at .*: that at .* is taken'):
        assert torch.equal(outputs(load(path)), EXPECTED)


def test_of_several_models_one_that_fits_is_taken(tmp_path):
    wide = make_config(vocab_size=600)
    wide['vision_cfg']['width'] = 96
    path = save(tmp_path / 'weights.pt',
                {'model': architecture.build(wide).state_dict(), 'distilled': WEIGHTS})
    assert torch.equal(outputs(load(path)), EXPECTED)


def test_several_models_of_which_none_is_meant(tmp_path):
    path = save(tmp_path / 'weights.pt', averaged('left', 'right')())
    with pytest.raises(ModelError, match='2 CLIPs, at left, right, and nothing says which .*save'):
        load(path)


@pytest.mark.parametrize('document, reason', [
    ({'state_dict': {'layer1.0.conv1.weight': EXTRA}}, r'no CLIP but 1 tensors of another kind '
     r'\(state_dict.layer1.0.conv1.weight\): visual.conv1.weight and its likes are missing'),
    ({'model': {name: value for name, value in WEIGHTS.items() if name.startswith('visual.')}},
     'the image tower of a CLIP and no text tower'),
    ({name: value for name, value in WEIGHTS.items() if not name.startswith('visual.')},
     'the text tower of a CLIP and no image tower'),
    ({'net': {name: value for name, value in WEIGHTS.items() if name != 'visual.conv1.weight'}},
     r'1 missing \(visual.conv1.weight\)'),
    ({'net': prefixed('clip.', {name: value for name, value in WEIGHTS.items()
                                if name != 'token_embedding.weight'})},
     r'1 missing \(token_embedding.weight\)'),
])
def test_what_is_missing_of_a_clip_is_said(tmp_path, document, reason):
    with pytest.raises(ModelError, match=reason):
        load(save(tmp_path / 'weights.pt', document))


@pytest.mark.parametrize('name', ['weights.bin', 'weights.ckpt', 'weights.SAFETENSORS', 'weights',
                                  'weights.pt', 'weights.safetensors.part', 'weights.json'])
@pytest.mark.parametrize('write', [
    save_file, torch.save,
    lambda weights, path: torch.save(weights, path, _use_new_zipfile_serialization=False)],
    ids=['safetensors', 'zip', 'pickle'])
def test_files_are_known_by_their_bytes(tmp_path, write, name):
    path = tmp_path / name
    write(prefixed('module.'), path)
    assert torch.equal(outputs(load(path)), EXPECTED)


@pytest.mark.parametrize('content, remedy', [
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605247071\n',
     'git lfs pull'),
    (b'<!DOCTYPE html><html>Sign in', 'a web page'),
    (b'\n<html>', 'a web page'),
    (b'\x89HDF\r\n\x1a\n', 'HDF5.*take model.safetensors'),
    (b'GGUF\x03\0\0\0', 'GGUF'),
    (gzip.compress(b'weights', mtime=0), 'gzip: unpack it'),
    (lzma.compress(b'weights'), 'xz: unpack it'),
    (b'\x28\xb5\x2f\xfd weights', 'zstd: unpack it'),
    (b'{"model_type": "clip"}', 'name the folder'),
    (b'[1, 2]', 'damaged, or of another kind'),
    (b'\x20\0\0\0\0\0\0\0{"a": 1}', 'damaged, or of another kind'),
])
@pytest.mark.parametrize('name', ['weights.safetensors', 'weights.bin'])
def test_files_of_other_kinds_say_what_to_do(tmp_path, name, content, remedy):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f'{path}: .*{remedy}') as refusal:
        load(path)
    assert '\n' not in str(refusal.value)


def test_files_of_old_pytorch(tmp_path):
    path = save(tmp_path / 'weights.pth', openclip_training(),
                _use_new_zipfile_serialization=False)
    assert torch.equal(outputs(load(path)), EXPECTED)


def test_prefixes_in_safetensors(tmp_path):
    path = save(tmp_path / 'weights.safetensors', prefixed('module.'))
    assert torch.equal(outputs(load(path)), EXPECTED)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_files_equal_their_widened_weights(tmp_path, dtype):
    half = {name: value.to(dtype) for name, value in WEIGHTS.items()}
    path = save(tmp_path / 'weights.pt', {'state_dict': prefixed('module.', half)})
    expected = make_clip(config=CONFIG)
    expected.load_state_dict(half)
    assert torch.equal(outputs(load(path)), outputs(expected))


def test_text_towers_at_the_top_move_into_models_that_have_them_as_a_part(tmp_path):
    path = save(tmp_path / 'weights.pt', WEIGHTS)
    assert torch.equal(outputs(load(path, {**CONFIG, 'custom_text': True})), EXPECTED)


def test_names_that_are_no_text_are_left_out(tmp_path):
    path = save(tmp_path / 'weights.pt', {**WEIGHTS, 7: EXTRA})
    assert 7 not in read_weights(path, CONFIG).by_name


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.command = f'mkdir {marker}'

    def __reduce__(self):
        return os.system, (self.command,)


class TrapNamespace(argparse.Namespace):
    """A Namespace that does more than hold attributes."""

    def __setstate__(self, state):
        os.mkdir(state['marker'])


@pytest.mark.parametrize('old', [False, True])
@pytest.mark.parametrize('hide, foreign', [
    (lambda marker: Trap(marker), r'\b(posix|nt)\.system'),
    (lambda marker: argparse.Namespace(lr=1, hook=Trap(marker)), r'\b(posix|nt)\.system'),
    (lambda marker: TrapNamespace(marker=str(marker)), r'test_checkpoint\.TrapNamespace'),
    (lambda marker: torch.nn.Linear(2, 2), r'torch\.nn\.modules\.linear\.Linear'),
])
def test_code_in_a_pickle_never_runs(tmp_path, hide, foreign, old):
    marker = tmp_path / 'marker'
    path = save(tmp_path / 'weights.pt', {'state_dict': WEIGHTS, 'args': hide(marker)},
                _use_new_zipfile_serialization=not old)
    with pytest.raises(ModelError, match=f'object of .*{foreign}.*could run code.*state_dict'):
        load(path)
    assert not marker.exists()


def test_the_traps_work_where_they_are_let(tmp_path):
    for number, trap in enumerate((Trap(tmp_path / '0'), TrapNamespace(marker=tmp_path / '1'))):
        path = save(tmp_path / 'trap.pt', trap)
        torch.load(path, weights_only=False)
        assert (tmp_path / str(number)).is_dir()


def test_nothing_is_allowed_after_loading(tmp_path):
    path = save(tmp_path / 'weights.pt', openclip_training())
    read_weights(path, CONFIG)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    with pytest.raises(Exception, match='argparse.Namespace'):
        torch.load(path, weights_only=True)


def test_a_file_that_holds_itself_ends(tmp_path):
    document = {'epoch': 3}
    document['model'] = document
    path = save(tmp_path / 'weights.pt', document)
    with pytest.raises(ModelError, match='missing'):
        load(path)


@pytest.mark.parametrize('name, expected', [
    ('ViT-L-14-336', 'would fit ViT-L-14-336 or ViT-L-14-336-quickgelu, or a preset of that shape '
                     r'\(openai-l14-336, diva-openai-l14-336\): write'),
    ('ViT-B-16', r'would fit ViT-B-16 or ViT-B-16-quickgelu, .*\(openai-b16, metaclip-b16-400m,'),
    ('ViT-H-14-CLIPA', r'would fit ViT-H-14-CLIPA, or a preset of that shape \(clipa-h14\)'),
    ('ViT-M-32', 'would fit ViT-M-32: write'),
])
def test_what_would_fit(name, expected):
    with pytest.raises(ModelError, match=f'weights.pt: .* unexpected .* They {expected}'):
        load_weights(make_clip(config=CONFIG), weights_of(name), 'weights.pt')


def test_what_would_fit_in_place_of_a_text_tower_of_its_own():
    model = architecture.build({**CONFIG, 'custom_text': True})
    with pytest.raises(ModelError, match='weights.pt: .* unexpected .* They would fit ViT-M-32: '):
        load_weights(model, weights_of('ViT-M-32'), 'weights.pt')


def weights_of(name):
    """Return the names and shapes of the weights of an architecture."""
    with torch.device('meta'):
        return architecture.expected_weights(
            architecture.build(open_clip.get_model_config(name)))


def test_nothing_would_fit(tmp_path):
    config = make_config(vocab_size=600)
    config['vision_cfg'].update(layers=3, width=96)
    path = save(tmp_path / 'weights.pt', architecture.build(config).state_dict())
    with pytest.raises(ModelError, match='12 unexpected .* No architecture of open_clip that can '
                       'be used would fit: the image tower in the file has width 96, 3 blocks, '
                       'patches of 8 and images of 32 pixels'):
        load(path)


def test_patches_of_another_kind_are_no_size_to_tell():
    """As the flat embedding of a tower that is no CLIP's, which has 3 columns by chance."""
    weights = {'visual.conv1.weight': torch.zeros(64, 3),
               'visual.positional_embedding': torch.zeros(5, 64)}
    with pytest.raises(ModelError, match='No architecture of open_clip .* would fit$'):
        load_weights(make_clip(config=CONFIG), weights, 'weights.pt')


def test_archives_of_other_things(tmp_path):
    with zipfile.ZipFile(tmp_path / 'archive.pt', 'w') as archive:
        archive.writestr('archive/data.pkl', b'')
    assert not torchscript.is_archive(tmp_path / 'archive.pt')
    with pytest.raises(pickle.UnpicklingError, match='no archive of TorchScript'):
        torchscript.read_weights(tmp_path / 'archive.pt')


@pytest.mark.parametrize('weights', [
    {'visual.conv1.weight': 'text'}, {'visual.conv1.weight': EXTRA},
    {'visual.conv1.weight': torch.ones(8, 3, 4, 4), 'visual.positional_embedding': EXTRA}])
def test_files_of_other_things(weights):
    with pytest.raises(ModelError, match='can be used would fit$'):
        load_weights(make_clip(config=CONFIG), weights, 'weights.pt')


@pytest.mark.parametrize('name', PRESETS)
def test_presets_name_what_they_say(name):
    preset, source = PRESETS[name], parse_model(name)
    assert source.config['quick_gelu'] is preset.architecture.endswith('-quickgelu')
    assert preset.page.startswith('https://') and len(preset.page) > len('https://huggingface.co/')
    assert preset.licence
    if preset.tag:
        assert (preset.architecture, preset.tag) in open_clip.list_pretrained()
        entry = open_clip.get_pretrained_cfg(preset.architecture, preset.tag)
        assert bool(entry.get('quick_gelu')) is source.config['quick_gelu']
        assert source == parse_model(preset.model).__class__(
            **{**vars(parse_model(preset.model)), 'name': name})
    else:
        assert source.mean == OPENAI_DATASET_MEAN
        assert bool(source.file) is not bool(source.page)
    own = parse_model(f'{name}:/some/file')
    assert (own.config, own.mean, own.std) == (source.config, source.mean, source.std)
    assert str(own.path) == '/some/file'
    assert (own.pretrained, own.file, own.page) == (None, None, '')


@pytest.mark.parametrize('name', sorted({preset.architecture for preset in PRESETS.values()}))
def test_architectures_of_presets(name):
    config = open_clip.get_model_config(name)
    with torch.device('meta'):
        clip = architecture.build(config)
    millions = sum(weight.numel() for weight in clip.visual.parameters()) / 1e6
    assert TOWERS[name.removesuffix('-quickgelu')] == pytest.approx(millions, abs=0.05)
    quick = {module for module in clip.modules() if isinstance(module, QuickGELU)}
    plain = {module for module in clip.modules() if isinstance(module, torch.nn.GELU)}
    assert bool(quick) is name.endswith('-quickgelu')
    assert bool(plain) is not bool(quick)


@pytest.mark.parametrize('preset', [
    Preset('ViT-B-16', 'of_tomorrow', 'MIT'), Preset('ViT-Z-16', None, 'MIT', by_hand='page')])
def test_presets_of_a_newer_open_clip(monkeypatch, preset):
    monkeypatch.setitem(PRESETS, 'new', preset)
    with pytest.raises(ModelError, match=f"'new' is {preset.model}, which open_clip .* newer"):
        parse_model('new')


def test_all_presets_of_the_issue_are_there():
    assert {'openai-b32', 'openai-b16', 'openai-l14', 'openai-l14-336'} < PRESETS.keys()
    assert sum(name.startswith('dreamlip-') for name in PRESETS) == 4
    assert sum(name.startswith('diva-') for name in PRESETS) == 6
    assert sum(name.startswith('clipa-') for name in PRESETS) == 7


@pytest.mark.parametrize('quick_gelu', [False, True])
def test_presets_decide_activation_and_preprocessing(tiny, tmp_path, monkeypatch, quick_gelu):
    name = 'Tiny-quickgelu' if quick_gelu else 'Tiny'
    monkeypatch.setitem(PRESETS, 'mine', Preset(name, None, 'MIT', by_hand='https://page'))
    path = save(tmp_path / 'weights.pt', openclip_training())
    backbone = load_backbone(f'mine:{path}', 'cpu')
    assert torch.equal(outputs(backbone.clip),
                       outputs(make_clip(config=make_config(quick_gelu, vocab_size=600))))
    assert backbone.mean == OPENAI_DATASET_MEAN


def test_presets_that_are_fetched_by_hand(tiny, monkeypatch):
    monkeypatch.setitem(PRESETS, 'mine', Preset('Tiny', None, 'MIT', by_hand='https://page'))
    with pytest.raises(ModelError, match="by hand, from https://page.*'mine:/path/to/file'"):
        load_backbone('mine', 'cpu')


def test_presets_that_are_files_of_the_hub(tiny, tmp_path, monkeypatch):
    preset = Preset('Tiny', None, 'MIT', file=('owner/many', 'folder/tiny.pth'))
    monkeypatch.setitem(PRESETS, 'mine', preset)
    with pytest.raises(ModelError, match='fetch_model mine'):
        load_backbone('mine', 'cpu')
    repository = tmp_path / 'hub' / 'models--owner--many'
    (repository / 'snapshots' / 'c0ffee' / 'folder').mkdir(parents=True)
    (repository / 'refs').mkdir()
    (repository / 'refs' / 'main').write_text('c0ffee')
    path = save(repository / 'snapshots' / 'c0ffee' / 'folder' / 'tiny.pth', WEIGHTS)
    assert find_weights(parse_model('mine')) == path
    assert torch.equal(outputs(load_backbone('mine', 'cpu').clip), EXPECTED)
