"""The vocabulary: grammar, refusals, round trip, legend."""

import json

from csa_ros import draw
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Entry
from csa_ros.vocabulary import MAX_CLASSES
from csa_ros.vocabulary import MAX_QUERIES
from csa_ros.vocabulary import MAX_WORD_LENGTH
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
from csa_ros.vocabulary import VocabularyError
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest


@pytest.mark.parametrize('spec, entries', [
    (['road', 'car|truck'], [('road', ['road']), ('car', ['car', 'truck'])]),
    (('background=sky|wall',), [('background', ['sky', 'wall'])]),
    ('road, car|truck', [('road', ['road']), ('car', ['car', 'truck'])]),
    ('road', [('road', ['road'])]),
    ('  traffic \t  light |  stop\nlight ', [('traffic light', ['traffic light', 'stop light'])]),
    ('stuff = sky | wall', [('stuff', ['sky', 'wall'])]),
    ("driver's seat", [("driver's seat", ["driver's seat"])]),
    # ros2 param sends "[road, no, 1]" as one string, since YAML finds several types in it.
    ('[road, no, 1]', [('road', ['road']), ('no', ['no']), ('1', ['1'])]),
    ("['on', 2, car|truck]", [('on', ['on']), ('2', ['2']), ('car', ['car', 'truck'])]),
])
def test_grammar(spec, entries):
    parsed = Vocabulary.parse(spec)
    assert [(entry.name, list(entry.queries)) for entry in parsed.entries] == entries


@pytest.mark.parametrize('spec, names', [
    ("'road'", ['road']),
    ('"road"', ['road']),
    ("'road', 'sky'", ['road', 'sky']),
    ('"road", \'sky\'', ['road', 'sky']),
    ("'road, sky'", ['road', 'sky']),
    ('"\'road\', sky"', ['road', 'sky']),
    ("'road', sky, \"traffic light\"", ['road', 'sky', 'traffic light']),
    (["'road'", '"sky"'], ['road', 'sky']),
    ("'[road, sky]'", ['road', 'sky']),
    ('[\'"road"\', sky]', ['road', 'sky']),
    ("'car'|'truck', sky", ['car', 'sky']),
    ("'stuff'='sky'|'wall'", ['stuff']),
    ("stuff='sky|wall'", ['stuff']),
    (" ' road ' , sky ", ['road', 'sky']),
    ("driver's seat, rock 'n' roll", ["driver's seat", "rock 'n' roll"]),
    ("'driver''s seat'", ["driver's seat"]),
    ('"driver\'s seat", 5" pipe', ["driver's seat", '5" pipe']),
    ("'tis, dogs' bowl", ["'tis", "dogs' bowl"]),
])
def test_quotes_are_read_as_yaml_reads_them(spec, names):
    assert list(Vocabulary.parse(spec).names) == names


@pytest.mark.parametrize('spec', ["'@street'", '"@street"', ["'@street'"], "'preset:street'"])
def test_a_preset_may_stand_in_quotes(spec):
    assert Vocabulary.parse(spec) == Vocabulary.parse(DEFAULT_VOCABULARY)


@pytest.mark.parametrize('spec, reason', [
    ("'road, car', sky", "'road, car' .* holds ,"),
    ("''", 'empty'),
    ("'road', ''", 'entry 2 of 2 is empty'),
    ('["\\U00110000"]', 'close the bracket'),
    ([], 'empty'),
    ('', 'empty'),
    ('   ', 'empty'),
    ('[]', 'empty'),
    ('road,', 'entry 2 of 2 is empty'),
    (['road', ' '], 'entry 2 of 2 is empty'),
    (['car||truck'], r"empty name or query in entry 'car\|\|truck'"),
    (['=sky'], "empty name or query in entry '=sky'"),
    (['background='], "empty name or query in entry 'background='"),
    (['a=b=c'], "'b=c' in entry .* holds ="),
    (['a|b=c'], r"'a\|b' in entry .* holds \|"),
    (['road, car'], "'road, car' .* holds ,"),
    (['[road]'], r"'\[road\]' .* holds \[ \]"),
    ('road]', r"'road\]' .* holds \]"),
    ('[road, car', 'close the bracket'),
    ('[road, [car]]', 'one flat list'),
    ('[road: car]', 'one flat list'),
    ('[' * 5000, 'close the bracket'),
    (['x' * (MAX_WORD_LENGTH + 1)], f'101 characters, more than {MAX_WORD_LENGTH}'),
    (['car|' + 'x' * (MAX_WORD_LENGTH + 1)], 'shorten it'),
    (['ro\x00ad'], 'control or invisible character'),
    (['ro\u200bad'], 'control or invisible character'),
    (['ro\ud800ad'], 'control or invisible character'),
    (['road', 'Road'], "'road' and 'Road' are both named 'Road'"),
    (['car', 'vehicle=Car'], "query 'Car' of entry 'vehicle=Car' is already in 'car'"),
    (['car|car'], r"query 'car' of entry 'car\|car' is already in"),
    (['road', False], 'entry False is no text; .* quote such words'),
    ([1, 2], 'entry 1 is no text; .* quote such words'),
    ([b'road'], 'is no text'),
    (True, 'a list of words or one comma-separated string, not True; .* quote such words'),
    (None, 'not None'),
])
def test_refusals_say_what_and_why(spec, reason):
    with pytest.raises(VocabularyError, match=f'(?s){reason}'):
        Vocabulary.parse(spec)


def test_limits():
    words = [f'word {i}' for i in range(MAX_QUERIES + 1)]
    assert len(Vocabulary.parse(words[:MAX_CLASSES])) == MAX_CLASSES
    with pytest.raises(VocabularyError, match=f"256 classes .* {MAX_CLASSES} .* 'word 255'"):
        Vocabulary.parse(words[:MAX_CLASSES + 1])
    assert len(Vocabulary.parse(['|'.join(words[:-1])]).queries) == MAX_QUERIES
    with pytest.raises(VocabularyError, match=f'more than {MAX_QUERIES}'):
        Vocabulary.parse(['|'.join(words)])
    assert Vocabulary.parse(['x' * MAX_WORD_LENGTH])


def test_entry_without_queries_is_refused():
    with pytest.raises(VocabularyError, match="'road' has no query"):
        Entry('road', ())


def test_views():
    parsed = Vocabulary.parse(['background=sky|wall', 'road', 'car|truck|van'])
    assert parsed.names == ('background', 'road', 'car')
    assert parsed.queries == ('sky', 'wall', 'road', 'car', 'truck', 'van')
    assert parsed.query_class.dtype == np.int64
    assert parsed.query_class.tolist() == [0, 0, 1, 2, 2, 2]
    assert parsed.colors.dtype == np.uint8
    assert parsed.colors.tolist() == [list(draw.color_of(name)) for name in parsed.names]
    assert parsed.spec == ['background=sky|wall', 'road', 'car|truck|van']
    assert Vocabulary.parse(['car=car|van']).spec == ['car|van']


def test_vocabularies_compare_by_value_and_cannot_change():
    parsed = Vocabulary.parse('road, car')
    before = hash(parsed)
    with pytest.raises(ValueError):
        parsed.colors[0] = 0
    with pytest.raises(ValueError):
        parsed.query_class[0] = 1
    assert parsed == Vocabulary.parse(['road', 'car'])
    assert hash(parsed) == before == hash(Vocabulary.parse(['road', 'car']))
    assert parsed != Vocabulary.parse('car, road')


def test_legend_survives_json():
    legend = Vocabulary.parse(['road', 'stuff=sky|wall']).legend(7, 'demo')
    assert json.loads(json.dumps(legend)) == legend == {
        'version': 7,
        'model': 'demo',
        'unknown_id': UNKNOWN,
        'classes': [
            {'id': 0, 'name': 'road', 'queries': ['road'],
             'color': list(draw.color_of('road'))},
            {'id': 1, 'name': 'stuff', 'queries': ['sky', 'wall'],
             'color': list(draw.color_of('stuff'))},
        ],
    }


def test_composed_and_decomposed_accents_are_one_word():
    assert Vocabulary.parse(['cafe\u0301']) == Vocabulary.parse(['caf\u00e9'])


def test_default_vocabulary_is_canonical():
    assert Vocabulary.parse(DEFAULT_VOCABULARY).spec == list(DEFAULT_VOCABULARY)


@given(st.one_of(st.text(), st.lists(st.one_of(st.text(), st.integers(), st.none()))))
def test_any_input_is_refused_or_round_trips(spec):
    try:
        parsed = Vocabulary.parse(spec)
    except VocabularyError:
        return
    assert Vocabulary.parse(parsed.spec) == parsed
    # Quotes at the ends of two words would be taken for those of all between them.
    if not any(quote in word for quote in '\'"' for word in parsed.spec):
        assert Vocabulary.parse(', '.join(parsed.spec)) == parsed


WORDS = st.from_regex(r'[a-z]([a-zé -]{0,8}[a-z])?', fullmatch=True)


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=3)), min_size=1, max_size=8))
def test_round_trip(classes):
    seen = set()
    texts = []
    for i, (name, queries) in enumerate(classes):
        fresh = [query for query in dict.fromkeys(' '.join(q.split()) for q in queries)
                 if query not in seen]
        seen.update(fresh)
        texts.append(f'{name} {i}' + (f'={"|".join(fresh)}' if fresh else ''))
    parsed = Vocabulary.parse(texts)
    assert len(parsed) == len(classes)
    assert Vocabulary.parse(parsed.spec) == parsed == Vocabulary.parse(','.join(texts))
    assert Vocabulary.parse(parsed.spec).spec == parsed.spec
