"""The text tower of SigLIP2, block by block from its file."""

from dataclasses import replace
import json
from pathlib import Path
import sys

from csa_ros.model import siglip2
from csa_ros.model.errors import ModelError
from csa_ros.model.siglip2 import Siglip2Text
from csa_ros.model.text import PromptError
from csa_ros.model.text import TextEncoder
from csa_ros.process.cancellation import cancellable
from csa_ros.process.cancellation import Cancelled
import pytest
from safetensors.torch import save_file
from siglip2 import CONTEXT
from siglip2 import hub_form
from siglip2 import LAYERS
from siglip2 import make_tokenizer
from siglip2 import make_tower
from siglip2 import own_form
import torch
from towers import make_backbone

TEMPLATES = ('a photo of a {}.', 'the {} in the red light')
QUERIES = ('road', 'Traffic_Light', 'a red car')
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def tokenizer():
    return make_tokenizer()


def make_text(folder, tokenizer, weights=None, dtype=torch.float32):
    path = folder / 'model.safetensors'
    save_file(own_form(make_tower()) if weights is None else weights, path)
    return Siglip2Text(path, tokenizer, CPU, dtype, 'tiny')


def expected_features(tower, tokenizer):
    """Return what the whole tower makes of the prompts as they were trained."""
    reader = pytest.importorskip('tokenizers').Tokenizer.from_str(tokenizer.decode())
    texts = ['a photo of a road', 'the road in the red light', 'a photo of a traffic light',
             'the traffic light in the red light', 'a photo of a a red car',
             'the a red car in the red light']
    rows = [reader.encode(text).ids for text in texts]
    return tower(torch.tensor([[*row, *[0] * (CONTEXT - len(row))] for row in rows]))


@pytest.mark.parametrize('form', [own_form, hub_form])
@pytest.mark.parametrize('batch', [4, 16])
def test_features_equal_the_whole_tower(form, batch, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(siglip2.PROMPTS_PER_BATCH, 'cpu', batch)
    tower = make_tower()
    features = make_text(tmp_path, tokenizer, form(tower)).encode(TEMPLATES, QUERIES)
    expected = expected_features(tower, tokenizer)
    assert expected.std(dim=0).mean() > 1e-3
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


def test_half_weights_are_computed_in_float(tokenizer, tmp_path):
    weights = {name: weight.half() for name, weight in own_form(make_tower()).items()}
    tower = make_tower()
    tower.load_state_dict({name.removeprefix('text.'): weight.float()
                           for name, weight in weights.items()})
    features = make_text(tmp_path, tokenizer, weights).encode(TEMPLATES, QUERIES)
    torch.testing.assert_close(features, expected_features(tower, tokenizer), atol=1e-5, rtol=1e-5)


def test_bfloat16_comes_close(tokenizer, tmp_path):
    features = make_text(tmp_path, tokenizer, dtype=torch.bfloat16).encode(TEMPLATES, QUERIES)
    assert features.dtype == torch.bfloat16
    expected = expected_features(make_tower(), tokenizer)
    assert torch.cosine_similarity(features.float(), expected).min() > 0.999


def test_features_equal_those_of_transformers(tokenizer, tmp_path):
    transformers = pytest.importorskip('transformers')
    tower = make_tower()
    config = transformers.Siglip2TextConfig(
        vocab_size=400, hidden_size=144, intermediate_size=538, num_hidden_layers=LAYERS,
        num_attention_heads=2, max_position_embeddings=CONTEXT, projection_size=32)
    model = transformers.Siglip2TextModel(config).eval()
    names = {name.removeprefix('text_model.'): weight for name, weight in hub_form(tower).items()}
    if any(name.startswith('text_model.') for name in model.state_dict()):
        names = hub_form(tower)
    model.load_state_dict(names)
    tokens = torch.randint(2, 400, (3, CONTEXT), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(
            tower(tokens), model(input_ids=tokens).pooler_output, atol=1e-5, rtol=1e-5)


def test_tokens_of_a_prompt_are_counted_with_its_end(tokenizer, tmp_path):
    text = make_text(tmp_path, tokenizer)
    assert text.count('{}', 'r') == 2
    assert text.count('a {}', 'ROAD!') == text.count('a {}', 'road') == 3
    assert text.count('{}', 'ж') == 3  # as two bytes
    assert text.context_length == CONTEXT


def test_a_prompt_too_long_is_refused(tokenizer, tmp_path):
    text = make_text(tmp_path, tokenizer)
    backbone = replace(make_backbone(), text=text)
    query = 'road ' * 70
    with pytest.raises(PromptError, match=f'at most {CONTEXT}: shorten the query'):
        TextEncoder(backbone, tmp_path).encode([query], 'simple')
    with pytest.raises(ModelError, match=f'at most {CONTEXT}: shorten the query'):
        text.encode(['{}'], [query])


def test_cached_words_need_neither_weights_nor_tokenizer(tokenizer, tmp_path):
    backbone = replace(make_backbone(), text=make_text(tmp_path, tokenizer))
    first = TextEncoder(backbone, tmp_path).encode(QUERIES, TEMPLATES)
    blind = Siglip2Text(tmp_path / 'nothing', b'', CPU, torch.float32, 'tiny')
    encoder = TextEncoder(replace(backbone, text=blind), tmp_path)
    encoder.check(QUERIES, TEMPLATES)
    assert torch.equal(encoder.encode(QUERIES, TEMPLATES), first)
    with pytest.raises(ModelError, match='tokenizer of tiny'):
        encoder.check(['sky'], TEMPLATES)


def test_words_are_kept_as_they_are_done(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(siglip2.PROMPTS_PER_CHUNK, 'cpu', 4)
    backbone = replace(make_backbone(), text=make_text(tmp_path, tokenizer))
    asked = iter([False] * (LAYERS + 1) + [True])
    with pytest.raises(Cancelled), cancellable(lambda: next(asked)):
        TextEncoder(backbone, tmp_path).encode(QUERIES, TEMPLATES)
    blind = Siglip2Text(Path('nothing'), b'', CPU, torch.float32, 'tiny')
    encoder = TextEncoder(replace(backbone, text=blind), tmp_path)
    encoder.check(QUERIES[:2], TEMPLATES)
    with pytest.raises(ModelError):
        encoder.check(QUERIES[2:], TEMPLATES)


def test_it_can_be_given_up_between_batches(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(siglip2.PROMPTS_PER_BATCH, 'cpu', 2)
    text = make_text(tmp_path, tokenizer)
    asked = []
    with cancellable(lambda: asked.append(None)):
        text.encode(TEMPLATES, QUERIES)
    assert len(asked) == LAYERS * 3
    with pytest.raises(Cancelled), cancellable(lambda: True):
        text.encode(TEMPLATES, QUERIES)


def test_nothing_of_the_tower_stays(tokenizer, tmp_path):
    text = make_text(tmp_path, tokenizer)
    first = text.encode(TEMPLATES, QUERIES)
    assert torch.equal(text.encode(TEMPLATES, QUERIES), first)
    assert not any(type(each).__name__ in ('Tokenizer', 'Tensor') for each in (
        *vars(text).values(), *vars(text._tokenizer).values()))
    (tmp_path / 'model.safetensors').unlink()
    with pytest.raises(ModelError, match='cannot read the text tower of tiny .*fetch the file ag'):
        text.encode(TEMPLATES, QUERIES)


def without(name):
    weights = own_form(make_tower())
    del weights[name]
    return weights


def narrow():
    return {**own_form(make_tower()), 'text.token_embedding.weight': torch.zeros(400, 100)}


@pytest.mark.parametrize('weights, message', [
    (without('text.transformer.resblocks.1.ln_2.bias'),
     r'1 missing \(transformer.resblocks.1.ln_2.bias\); take model.safetensors of google/'),
    (without('text.text_projection.weight'), 'text_projection.weight is missing'),
    ({'visual.proj': torch.zeros(2)}, 'token_embedding.weight is missing; take'),
    ({**own_form(make_tower()), 'text.ln_final.weight': torch.zeros(3)},
     r'1 of another shape \(ln_final.weight \[3\] for \[144\]\)'),
    ({**own_form(make_tower()), 'text.cls_emb': torch.zeros(3)}, r'1 unexpected \(cls_emb\)'),
    ({**own_form(make_tower()), 'text.positional_embedding': torch.zeros(3)},
     r'positional_embedding has shape \[3\], and must be a matrix'),
    ({**own_form(make_tower()), 'text.token_embedding.weight': torch.zeros(3)},
     r'token_embedding.weight has shape \[3\], and must be'),
    (narrow(), 'its width is 100, which is no multiple of the 72 channels of a head'),
])
def test_a_file_of_another_tower_is_refused(weights, message, tokenizer, tmp_path):
    text = make_text(tmp_path, tokenizer, weights)
    with pytest.raises(ModelError, match=message):
        text.encode(TEMPLATES, QUERIES)


def test_a_truncated_file_is_refused(tokenizer, tmp_path):
    text = make_text(tmp_path, tokenizer)
    path = tmp_path / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match='copy or fetch the file again'):
        text.encode(TEMPLATES, QUERIES)


@pytest.mark.parametrize('damage', [lambda content: b'', lambda content: content[:-20],
                                    lambda content: b'\xff' + content,
                                    lambda content: json.dumps({'model': 3}).encode()])
def test_a_damaged_tokenizer_is_refused(damage, tokenizer, tmp_path):
    with pytest.raises(ModelError, match='cannot read the tokenizer of tiny .*json again'):
        make_text(tmp_path, damage(tokenizer)).count('{}', 'road')


def test_a_missing_package_is_named(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tokenizers', None)
    with pytest.raises(ModelError, match='pip install tokenizers'):
        make_text(tmp_path, tokenizer).count('{}', 'road')


def test_a_tokenizer_of_another_model_is_refused(tokenizer, tmp_path):
    text = make_text(tmp_path, tokenizer, own_form(make_tower(vocabulary=262)))
    with pytest.raises(ModelError, match='knows 262 tokens, and its tokenizer made number'):
        text.encode(TEMPLATES, QUERIES)
