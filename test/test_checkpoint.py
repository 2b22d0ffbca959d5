"""Checkpoints in every wrapping, files that do not fit, and presets."""

import argparse
from collections import OrderedDict
import os
import pickle
import zipfile

from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.towers import architecture
from csa_ros.model.weights import torchscript
from csa_ros.model.weights.catalogue import Preset
from csa_ros.model.weights.catalogue import PRESETS
from csa_ros.model.weights.catalogue import TOWERS
from csa_ros.model.weights.checkpoint import load_weights
from csa_ros.model.weights.checkpoint import PREFIXES
from csa_ros.model.weights.checkpoint import read_weights
from csa_ros.model.weights.checkpoint import WRAPPERS
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
    load_weights(clip, read_weights(path, quick_gelu=False), f'{path} does not fit')
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


def published_sizes():
    """Return weights as OpenAI's archives hold them, converted to a flat file."""
    return {**WEIGHTS, 'input_resolution': torch.tensor(32), 'context_length': torch.tensor(24),
            'vocab_size': torch.tensor(49408)}


WRAPPINGS = {
    'flat': lambda: WEIGHTS,
    'ordered': lambda: OrderedDict(WEIGHTS),
    **{wrapper: lambda wrapper=wrapper: {wrapper: WEIGHTS, 'epoch': 3} for wrapper in WRAPPERS},
    'nested': lambda: {'model': {'state_dict': WEIGHTS}, 'iteration': 7},
    **{prefix: lambda prefix=prefix: prefixed(prefix) for prefix in PREFIXES},
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
    assert 7 not in read_weights(path, quick_gelu=False)


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
    read_weights(path, quick_gelu=False)
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
    with torch.device('meta'):
        clip = architecture.build(open_clip.get_model_config(name))
    weights = architecture.expected_weights(clip)
    for model in make_clip(config=CONFIG), architecture.build({**CONFIG, 'custom_text': True}):
        with pytest.raises(ModelError, match=f'weights.pt: .* unexpected .* They {expected}'):
            load_weights(model, weights, 'weights.pt')


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
