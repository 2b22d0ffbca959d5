"""Prompt ensembles and their caches."""

from concurrent.futures import ThreadPoolExecutor
import warnings

from csa_ros.model import text as text_module
from csa_ros.model import text_tower
from csa_ros.model.errors import ModelError
from csa_ros.model.text import PromptError
from csa_ros.model.text import templates
from csa_ros.model.text import TextEncoder
import pytest
import torch
from torch.nn import functional as F
from towers import make_backbone

QUERIES = ('road', 'traffic light', 'a red car')
PAIR = ('a photo of a {}.', 'the {} in bad weather, seen from far away')


@pytest.fixture
def backbone():
    return make_backbone()


def watch(backbone):
    """Return a list that grows by the (prompts, tokens) of every run of the text tower."""
    runs = []
    backbone.clip.transformer.register_forward_pre_hook(
        lambda module, inputs: runs.append(tuple(inputs[0].shape[:2])))
    return runs


def plain_features(backbone, queries, prompts):
    """Return what `encode` should: prompt by prompt, with the whole context."""
    rows = []
    for query in queries:
        tokens = [backbone.tokenizer(template.format(query)) for template in prompts]
        features = [F.normalize(backbone.clip.encode_text(t)[0], dim=0) for t in tokens]
        rows.append(F.normalize(torch.stack(features).mean(0), dim=0))
    return torch.stack(rows)


def test_imagenet_templates_are_clips_eighty():
    ensemble = templates('imagenet80')
    assert len(set(ensemble)) == 80
    assert ensemble[0] == 'a bad photo of a {}.'
    assert all(template.count('{}') == 1 for template in ensemble)


def test_templates_of_ones_own():
    assert templates('simple') == ('a photo of a {}.',)
    assert templates('a drawing of {}') == ('a drawing of {}',)
    assert templates(['{}', 'many {}s']) == ('{}', 'many {}s')


@pytest.mark.parametrize('prompts', ['imagenet8', '', [], ['a {}', 'no place'], ['{} and {}'],
                                     [3]])
def test_bad_templates_are_refused(prompts):
    with pytest.raises(PromptError, match='imagenet80'):
        templates(prompts)


@pytest.mark.parametrize('tower', [{}, {'no_causal_mask': True}, {'pool_type': 'last'}])
def test_features_equal_encoding_prompt_by_prompt(tower, tmp_path):
    backbone = make_backbone(**tower)
    features = TextEncoder(backbone, tmp_path).encode(QUERIES, PAIR)
    assert features.dtype == torch.float32
    assert features.norm(dim=1).sub(1).abs().max() < 1e-6
    torch.testing.assert_close(features, plain_features(backbone, QUERIES, PAIR),
                               atol=2e-6, rtol=0)


def test_prompts_are_cut_after_the_end_token(backbone, tmp_path):
    runs = watch(backbone)
    TextEncoder(backbone, tmp_path).encode(['road'], 'simple')
    assert runs == [(1, len('<start> a photo of a road . <end>'.split()))]


def test_batches_are_bounded(backbone, tmp_path, monkeypatch):
    monkeypatch.setitem(text_tower.PROMPTS_PER_BATCH, 'cpu', 4)
    runs = watch(backbone)
    queries = ['road', 'sky', 'tree', 'car', 'bus']
    features = TextEncoder(backbone, tmp_path).encode(queries, PAIR)
    assert [prompts for prompts, _ in runs] == [4, 4, 2]
    torch.testing.assert_close(features, plain_features(backbone, queries, PAIR),
                               atol=2e-6, rtol=0)


def test_adding_a_word_encodes_one_word(backbone, tmp_path):
    encoder = TextEncoder(backbone, tmp_path)
    before = encoder.encode(['road', 'sky'], PAIR)
    runs = watch(backbone)
    after = encoder.encode(['sky', 'tree', 'road'], PAIR)
    assert [prompts for prompts, _ in runs] == [len(PAIR)]
    assert torch.equal(after[[2, 0]], before)


def test_a_repeated_query_is_encoded_once(backbone, tmp_path):
    runs = watch(backbone)
    features = TextEncoder(backbone, tmp_path).encode(['road', 'road'], 'simple')
    assert len(runs) == 1 and runs[0][0] == 1
    assert torch.equal(features[0], features[1])


def test_another_process_finds_the_words_on_disk(backbone, tmp_path):
    first = TextEncoder(backbone, tmp_path).encode(QUERIES, PAIR)
    runs = watch(backbone)
    assert torch.equal(TextEncoder(backbone, tmp_path).encode(QUERIES, PAIR), first)
    assert runs == []


def test_another_model_or_ensemble_does_not_share_entries(backbone, tmp_path):
    first = TextEncoder(backbone, tmp_path).encode(['road'], PAIR)
    other = TextEncoder(make_backbone(seed=1), tmp_path).encode(['road'], PAIR)
    simple = TextEncoder(backbone, tmp_path).encode(['road'], 'simple')
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, simple)


@pytest.mark.parametrize('damage', [
    lambda content: b'',
    lambda content: content[:-7],
    lambda content: b'nothing like an array',
    lambda content: content.replace(b'(32,)', b'(31,)'),
    lambda content: content[:-4] + b'\x00\x00\xc0\x7f',  # NaN
])
def test_a_damaged_entry_is_replaced(backbone, tmp_path, damage):
    first = TextEncoder(backbone, tmp_path).encode(['road'], 'simple')
    entry, = tmp_path.rglob('*.npy')
    sound = entry.read_bytes()
    entry.write_bytes(damage(sound))
    assert torch.equal(TextEncoder(backbone, tmp_path).encode(['road'], 'simple'), first)
    assert entry.read_bytes() == sound


def test_a_folder_that_cannot_be_written_is_no_error(backbone, tmp_path):
    blocked = tmp_path / 'file'
    blocked.write_text('not a folder')
    encoder = TextEncoder(backbone, blocked)
    with pytest.warns(UserWarning, match='not kept on disk'):
        features = encoder.encode(QUERIES, PAIR)
    torch.testing.assert_close(features, plain_features(backbone, QUERIES, PAIR),
                               atol=2e-6, rtol=0)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        encoder.encode(['tree'], PAIR)


def test_writers_at_the_same_time_leave_whole_entries(backbone, tmp_path):
    encoders = [TextEncoder(backbone, tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda encoder: encoder.encode(QUERIES, 'simple'), encoders))
    for result in results:
        torch.testing.assert_close(result, results[0], atol=2e-6, rtol=0)
    assert {path.suffix for path in (tmp_path / 'text').iterdir()} == {'.npy'}
    runs = watch(backbone)
    TextEncoder(backbone, tmp_path).encode(QUERIES, 'simple')
    assert runs == []


def test_a_query_too_long_for_the_tower_is_refused(backbone, tmp_path):
    encoder = TextEncoder(backbone, tmp_path)
    runs = watch(backbone)
    with pytest.raises(PromptError, match=r'at most 24: shorten'):
        encoder.encode(['road', 'very ' * 30 + 'long road'], 'simple')
    assert runs == []


def test_memory_is_bounded(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(text_module, 'MEMORY_ENTRIES', 2)
    encoder = TextEncoder(backbone, tmp_path)
    features = encoder.encode(QUERIES, 'simple')
    assert len(encoder._memory) == 2
    assert torch.equal(encoder.encode(QUERIES, 'simple'), features)


def test_towers_of_another_tokenizer_are_refused(tmp_path):
    with pytest.raises(ModelError, match='tiny knows 600 tokens, fewer than the tokenizer of'):
        TextEncoder(make_backbone(vocab_size=600), tmp_path).encode(['road'], 'simple')
