"""Captions: true of their own crops, and false of crops that do not show what they name."""

from csa_ros.demo import captions
from csa_ros.demo.scenes import CLASSES
from csa_ros.model.text import templates
import open_clip
import pytest
import torch

FACTS = (('car', None), ('car', 'blue'), ('car', 'red'), ('road', None), ('road', 'wet'))
RED_CAR = (0.5, 0.0, 0.5, 0.5, 0.5)
BLUE_CAR = (0.9, 0.9, 0.0, 0.02, 0.0)
EMPTY_ROAD = (0.0, 0.0, 0.0, 1.0, 0.0)
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def tokenizer():
    """Return the tokenizer of the demo model."""
    return open_clip.SimpleTokenizer(context_length=24)


def write(shares, tokenizer, count, prompts=('a photo of a {}.',), facts=FACTS):
    """Write `count` captions of one crop; return their texts too."""
    writer = captions.Writer(facts, tokenizer, prompts, CPU)
    random = torch.rand(count, 2 * len(facts) + 16, generator=torch.Generator().manual_seed(0))
    written = writer.write(torch.tensor(shares).repeat(count, 1), random)
    # The end token ends each text; what comes after it is filled up.
    texts = [tokenizer.decode(row[1:row.argmax()].tolist()).strip() for row in written.tokens]
    return written, texts


def test_facts_are_the_class_and_its_look():
    """Colours, wetness and weather are facts; things without words have none."""
    assert captions.facts_of('car', {'color': 'red'}) == (('car', None), ('car', 'red'))
    assert captions.facts_of('road', {'wet': True}) == (('road', None), ('road', 'wet'))
    assert captions.facts_of('grass', {}) == (('grass', None),)
    assert captions.facts_of('unlabelled', {}) == ()


def test_truth_of_captions():
    """Colours count, small things leave it open, absent ones make it false."""
    none = len(FACTS)
    stated = torch.tensor([[0, none, none], [2, none, none], [2, 4, none], [3, none, none],
                           [none, none, none]])
    valid = torch.tensor([True, True, True, True, False])
    written = captions.Captions(torch.zeros(5, 24), stated, valid)
    table = captions.truth(torch.tensor([RED_CAR, BLUE_CAR, EMPTY_ROAD]), written)
    nan = torch.nan
    expected = torch.tensor([[1, 1, 1, 1, nan], [1, 0, 0, nan, nan], [0, 0, 0, 1, nan]])
    torch.testing.assert_close(table, expected, equal_nan=True)


def test_captions_use_synonyms_looks_and_several_things(tokenizer):
    """Captions vary in words, and name colours, states of the road and more than one thing."""
    written, texts = write(RED_CAR, tokenizer, 300)
    joined = ', '.join(texts)
    for words in ('automobile', 'red car', 'wet road', 'street', 'on a', 'a photo of a ',
                  'a car next to a road'):
        assert words in joined, words
    assert 'blue' not in joined
    assert written.valid.all()


def test_captions_state_what_they_say(tokenizer):
    """The facts of a caption are those whose phrases are in its text."""
    written, texts = write(RED_CAR, tokenizer, 100)
    for text, stated in zip(texts, written.facts.tolist()):
        facts = [FACTS[index] for index in stated if index < len(FACTS)]
        assert len({name for name, _ in facts}) == len(facts)
        for fact in facts:
            assert any(phrase in text for phrase in captions.phrases_of(fact)), (text, fact)
        assert ('red' in text.split()) == (('car', 'red') in facts)
        assert ('wet' in text.split()) == (('road', 'wet') in facts)


def test_nothing_is_said_of_a_crop_that_shows_nothing_known(tokenizer):
    """Its caption is not valid."""
    written, _ = write((0.0, 0.0, 0.0, 0.02, 0.02), tokenizer, 4)
    assert not written.valid.any()
    assert (written.facts == len(FACTS)).all()


def test_tokens_are_those_of_the_tokenizer(tokenizer):
    """Put together from pieces, they are what the tokenizer makes of the whole text."""
    facts = tuple((name, None) for name in sorted(CLASSES))
    written, texts = write([0.5] * len(facts), tokenizer, 500, templates('imagenet80'), facts)
    torch.testing.assert_close(written.tokens, tokenizer(texts))


def test_every_class_has_its_own_words():
    """No synonym stands for two classes."""
    words = [word for name in CLASSES for word in captions.SYNONYMS[name]]
    assert len(words) == len(set(words))
