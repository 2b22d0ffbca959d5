"""Image towers of other kinds: MobileCLIP's in timm, and CLIPA's; and CLIPA's word pieces."""

import json
import sys

from csa_ros.model.attention.positions import smoothed
from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import load_backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.errors import ModelError
from csa_ros.model.text import PromptError
from csa_ros.model.text import TextEncoder
from csa_ros.model.towers import architecture
from csa_ros.model.towers.tower import ClipTower
from csa_ros.model.towers.trunk import Trunk
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import Vocabulary
import numpy as np
import open_clip
import pytest
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from timm.models.vision_transformer_hybrid import HybridEmbed
import torch
from torch import nn
from torch.nn import functional as F
from towers import make_config

WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', 'photo', 'of', 'the', 'road', 'car', '##s', '.')


def small_stem(img_size, embed_dim, **_):
    """Make patches of 8 in three convolutions, as MobileCLIP-B makes those of 16."""
    stem = ConvStem(channels=(16, 16, embed_dim), stride=(2, 2, 2), kernel_size=(2, 2, 2),
                    padding=0, act_layer=nn.GELU)
    return HybridEmbed(stem, img_size=img_size, embed_dim=embed_dim, proj=False)


# What sets each trunk apart, in small.
TRUNKS = {
    'vit_base_mci_224': {'embed_layer': small_stem, 'no_embed_class': True},
    'vit_large_patch14_clip_224': {'patch_size': 8, 'pre_norm': True},
}


@pytest.fixture(autouse=True)
def trunks(monkeypatch):
    """Let timm make small trunks under the names of the real ones."""
    def create_model(name, pretrained, **options):
        return VisionTransformer(img_size=32, embed_dim=64, depth=3, num_heads=4,
                                 **TRUNKS[name], **options)

    monkeypatch.setattr('timm.create_model', create_model)


def mobileclip_config(trunk, causal=True, vocab_size=600):
    config = make_config(vocab_size=vocab_size, no_causal_mask=not causal)
    config['custom_text'] = True
    config['vision_cfg'] = {
        'timm_model_name': trunk, 'timm_pool': 'token', 'timm_proj': None,
        'timm_drop_path': 0.1, 'image_size': 32}
    return config


def clipa_config():
    config = make_config(
        vocab_size=600, no_causal_mask=True, pool_type='last',
        hf_tokenizer_name='bert-base-uncased', tokenizer_kwargs={'strip_sep_token': True})
    config['vision_cfg'].update(no_ln_pre=True, pool_type='avg', final_ln_after_pool=True)
    return config


def make(config, dtype=torch.float32):
    """Return a random model whose weights, and statistics, all matter."""
    torch.manual_seed(0)
    clip = architecture.build(config, dtype).eval().requires_grad_(False)
    for name, value in clip.state_dict().items():
        if 'running' in name or value.ndim == 1:
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            value.normal_(std=0.15)
    return clip


def wrap(clip):
    return Backbone.of_clip(
        clip, open_clip.SimpleTokenizer(context_length=24), (0.5,) * 3, (0.5,) * 3, 'tiny', 'tiny',
        short_side=48, stride=16)


def pixels(height=32, width=32):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize('trunk', TRUNKS)
def test_ordinary_attention_gives_the_class_token_of_the_trunk(trunk):
    backbone = wrap(make(mobileclip_config(trunk)))
    assert isinstance(backbone.tower, Trunk)
    tokens = DenseEncoder(backbone, 'vanilla').tokens(pixels())
    torch.testing.assert_close(tokens[:, 0], backbone.clip.encode_image(pixels()))
    # And the patches are those of the trunk, row by row.
    timm_trunk = backbone.clip.visual.trunk
    torch.testing.assert_close(tokens, timm_trunk.head(timm_trunk.forward_features(pixels())))


def test_ordinary_attention_gives_the_pooled_feature_of_clipa():
    clip = make(clipa_config())
    backbone, tower = wrap(clip), ClipTower(clip.visual)
    tokens = torch.cat([tower.prefix.expand(2, 1, -1), tower.embed(pixels())], dim=1)
    tokens = tower.enter(tokens + tower.place(tower.grid_size, smoothed))
    for block in tower.blocks:
        tokens = tokens + block.out(
            F.scaled_dot_product_attention(*block.qkv(block.normed(tokens))))
        tokens = tokens + block.feed_forward(tokens)
    patches = tokens[:, 1:]
    # Trained: pool, then normalise. Dense: each patch is normalised by itself.
    pooled = tower.project(patches.mean(dim=1))
    torch.testing.assert_close(pooled, clip.encode_image(pixels()))
    dense = DenseEncoder(backbone, 'vanilla').tokens(pixels())[:, 1:]
    torch.testing.assert_close(dense, tower.project(patches))
    assert not torch.allclose(dense.mean(dim=1), pooled, atol=1e-3)


@pytest.mark.parametrize('config', [
    *map(mobileclip_config, TRUNKS), clipa_config()], ids=[*TRUNKS, 'clipa'])
def test_towers_of_other_kinds_segment(config, tmp_path):
    backbone = wrap(make(config))
    assert (backbone.patch_size, backbone.image_size, backbone.embed_dim) == (8, 32, 32)
    assert backbone.tower.width == 64
    assert backbone.tower.grid_size == (4, 4)
    assert (backbone.device.type, backbone.dtype) == ('cpu', torch.float32)
    encoder, vanilla = DenseEncoder(backbone), DenseEncoder(backbone, 'vanilla')
    assert encoder(pixels(24, 43)).shape == (2, 3, 5, 32)
    assert not torch.allclose(encoder(pixels()), vanilla(pixels()), atol=1e-3)
    segmenter = Segmenter(backbone, cache_dir=tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    features = segmenter.features(segmenter.pixels([image], segmenter.settings),
                                  segmenter.settings)
    assert features.shape[-1] == 32 and torch.isfinite(features).all()


@pytest.mark.parametrize('config', [
    *map(mobileclip_config, TRUNKS), clipa_config()], ids=[*TRUNKS, 'clipa'])
def test_half_precision(config):
    full, low = make(config), architecture.build(config, torch.bfloat16).eval()
    low.requires_grad_(False).load_state_dict(full.state_dict())
    backbone = wrap(low)
    assert backbone.dtype == torch.bfloat16
    expected = DenseEncoder(wrap(full))(pixels())
    assert (DenseEncoder(backbone)(pixels()) * expected).sum(-1).min() > 0.99


@pytest.mark.parametrize('causal', [True, False])
def test_text_towers_that_are_a_part(causal, tmp_path):
    backbone = wrap(make(mobileclip_config('vit_base_mci_224', causal, vocab_size=49408)))
    prompts = ['a photo of a road.', 'a photo of a fire hydrant.']
    expected = F.normalize(backbone.clip.encode_text(backbone.tokenizer(prompts)), dim=-1)
    encoder = TextEncoder(backbone, tmp_path)
    features = encoder.encode(['road', 'fire hydrant'], 'a photo of a {}.')
    torch.testing.assert_close(features, expected)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Put a small table of word pieces where the hub's client keeps BERT's; return its path."""
    tokenizers = pytest.importorskip('tokenizers')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    tokenizer = tokenizers.BertWordPieceTokenizer(
        {word: number for number, word in enumerate(WORDS)}, lowercase=True)
    repository = tmp_path / 'hub' / 'models--google-bert--bert-base-uncased'
    (repository / 'snapshots' / 'c0ffee').mkdir(parents=True)
    (repository / 'refs').mkdir()
    (repository / 'refs' / 'main').write_text('c0ffee')
    path = repository / 'snapshots' / 'c0ffee' / 'tokenizer.json'
    tokenizer.save(str(path))
    return path


@pytest.fixture
def clipa(tmp_path, monkeypatch):
    """Return the model string of a small CLIPA on disk, and its CLIP."""
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIG_PATHS',
                        list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIGS', {})
    path = tmp_path / 'Tiny-CLIPA.json'
    path.write_text(json.dumps(clipa_config()))
    open_clip.add_model_config(path)
    clip = make(clipa_config())
    torch.save(clip.state_dict(), tmp_path / 'clipa.pt')
    return f"Tiny-CLIPA:{tmp_path / 'clipa.pt'}", clip


def test_word_pieces_are_those_that_clipa_was_trained_with(table, clipa):
    model, _ = clipa
    tokenizer = load_backbone(model, 'cpu').tokenizer
    assert tokenizer.encode('Roads') == [WORDS.index('road'), WORDS.index('##s')]
    tokens = tokenizer(['a photo  of the ROAD.', 'car ' * 50, 'no'])
    assert tokens.shape == (3, 24) and tokens.dtype == torch.long
    # The end token is 0, as what fills up.
    assert tokens[0].tolist() == [2, 4, 5, 6, 7, 8, 11] + [0] * 17
    assert tokens[1].tolist() == [2] + [9] * 22 + [0]
    assert tokens[2].tolist() == [2, WORDS.index('[UNK]')] + [0] * 22


def test_words_of_clipa(table, clipa, tmp_path):
    model, clip = clipa
    backbone = load_backbone(model, 'cpu')
    encoder = TextEncoder(backbone, tmp_path)
    expected = clip.encode_text(torch.tensor([[2, 4, 5, 6, 4, 8, 11] + [0] * 17,
                                              [2, 4, 5, 6, 4, 9, 10, 11] + [0] * 16]))
    features = encoder.encode(['road', 'cars'], 'a photo of a {}.')
    torch.testing.assert_close(features, F.normalize(expected, dim=-1))
    with pytest.raises(PromptError, match='31 tokens .* at most 24'):
        encoder.check(['car ' * 25], 'a photo of {}.')


def test_a_model_of_another_kind_from_the_file_to_labels(table, clipa, tmp_path):
    segmenter = Segmenter.load(clipa[0], 'cpu', cache_dir=tmp_path / 'cache')
    result = segmenter.segment(np.zeros((40, 56, 3), np.uint8), Vocabulary.parse(['road', 'car']))
    assert result.labels.shape == (40, 56)


def test_word_pieces_that_are_not_here(clipa, tmp_path, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'nowhere'))
    with pytest.raises(ModelError, match='tokenizer of .Tiny-CLIPA.*fetch_model Tiny-CLIPA:'):
        load_backbone(clipa[0], 'cpu')


def test_word_pieces_that_cannot_be_read(table, clipa, monkeypatch):
    table.write_text('nonsense')
    with pytest.raises(ModelError, match=f'cannot read the tokenizer {table}'):
        load_backbone(clipa[0], 'cpu')
    monkeypatch.setitem(sys.modules, 'tokenizers', None)
    with pytest.raises(ModelError, match='pip install tokenizers'):
        load_backbone(clipa[0], 'cpu')
