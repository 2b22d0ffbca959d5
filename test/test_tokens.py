"""Prompts to tokens: the same as the tokenizer's own, whatever the templates and the words."""

from csa_ros.model.text import TEMPLATES
from csa_ros.model.tokens import encode
from csa_ros.model.tokens import tokenize
from hypothesis import given
from hypothesis import strategies as st
import open_clip
import pytest
import torch

TOKENIZER = open_clip.SimpleTokenizer(context_length=77)
QUERIES = ['car', 'Traffic Light', '2 cars', 'T-shirt', 'a  b', "driver's", "'s", 's', 'U.S.',
           'kite (bird of prey)', 'Fahrrad', 'Straße', 'caf\u00e9', '&amp', '\u201cquoted\u201d',
           ' road ', '-', 'l', "it'", '<end_of_text>', '猫']
# Around which a word may melt into what is beside it, or cleaning into what is not.
ODD = ["the {}'s wheel", "my {}'", '{}s', 'un{}', '&{};', '{}', 'a photo. {}', 'no.{}', '{}-like',
       '({})', '<{}>', 'a {}\u2019s', '{} end_of_text>']


def plain(templates, queries):
    return TOKENIZER([template.replace('{}', query) for query in queries
                      for template in templates])


@pytest.mark.parametrize('name', TEMPLATES)
def test_ensembles_give_the_tokens_of_their_prompts(name):
    assert torch.equal(tokenize(TOKENIZER, TEMPLATES[name], QUERIES),
                       plain(TEMPLATES[name], QUERIES))


def test_odd_templates_too():
    assert torch.equal(tokenize(TOKENIZER, ODD, QUERIES), plain(ODD, QUERIES))


parts = st.text(st.sampled_from(" aZs9.,'-&;!?é\u2019<"), max_size=6)


@given(parts, parts, st.text(st.sampled_from(" aZst9.'-&é"), min_size=1, max_size=6))
def test_any_template_and_any_query(before, after, query):
    template = before + '{}' + after
    assert encode(TOKENIZER, template, query) == TOKENIZER.encode(template.replace('{}', query))


def test_what_is_too_long_is_cut_as_the_tokenizer_does_it():
    queries = ['road', 'very ' * 100 + 'long']
    assert torch.equal(tokenize(TOKENIZER, ('a {}.',), queries), plain(('a {}.',), queries))


def test_templates_are_read_once(monkeypatch):
    reader = open_clip.SimpleTokenizer(context_length=24)
    read = []
    encode_one = reader.encode
    monkeypatch.setattr(reader, 'encode', lambda text: read.append(text) or encode_one(text))
    for query in ('car', 'bus'):
        tokenize(reader, ('a {}.', 'the {}.'), [query])
    assert sorted(read) == ['.', '.', 'a ', 'bus', 'car', 'the ']
