"""The words a picture is segmented by: parsing, class ids, colours and the legend."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any
import unicodedata

from csa_ros import draw
from csa_ros.presets import called_preset
from csa_ros.presets import PREFIX
from csa_ros.presets import preset_meant
from csa_ros.presets import PresetError
from csa_ros.presets import read_preset
from csa_ros.presets import SIGN
import numpy as np
import yaml

UNKNOWN = 255
MAX_CLASSES = 255
MAX_QUERIES = 1024
MAX_WORD_LENGTH = 100

DEFAULT_VOCABULARY = (
    'sky',
    'road',
    'pavement|sidewalk',
    'grass',
    'building|house',
    'tree',
    'car',
    'bus',
    'truck',
    'person|pedestrian',
    'bicycle|bike',
    'traffic light',
    'traffic cone',
)

_NOTHING_TAUGHT: Mapping[str, int] = MappingProxyType({})
_RESERVED = ',|=[]{}'
_QUOTE_MARKS = '\'"'
_QUOTE = ('YAML reads bare numbers and yes, no, on, off, true and false as other types: quote '
          'such words, as in "[road, \'no\', \'1\']"')


class VocabularyError(ValueError):
    """A vocabulary that cannot be used; the message says what to change."""


@dataclass(frozen=True)
class Entry:
    """One class: the name that is shown and the queries that are looked for."""

    name: str
    queries: tuple[str, ...]

    def __post_init__(self) -> None:
        """Tidy and check every word; raise VocabularyError for the first bad one."""
        object.__setattr__(self, 'name', _tidy(self.name))
        object.__setattr__(self, 'queries', tuple(_tidy(query) for query in self.queries))
        if not self.queries:
            raise VocabularyError(
                f'class {self.name!r} has no query; give at least one, such as its own name')
        for word in (self.name, *self.queries):
            _check_word(word, self.spec)

    @classmethod
    def parse(cls, text: str) -> 'Entry':
        """
        Read `name`, `name|synonym|synonym` or `name=query|query`.

        Spaces and quotes around words are dropped, and spaces inside collapse to one. Raises
        VocabularyError.
        """
        name, equals, queries = unquote(text).partition('=')
        words = tuple(map(unquote, unquote(queries if equals else name).split('|')))
        return cls(unquote(name) if equals else words[0], words)

    @property
    def spec(self) -> str:
        """Return the canonical form of the entry; `Entry.parse` reads it back."""
        queries = '|'.join(self.queries)
        return queries if self.queries[0] == self.name else f'{self.name}={queries}'


@dataclass(frozen=True)
class Vocabulary:
    """
    Up to 255 classes; a class's id is its position in `entries`.

    Immutable and hashable. Names, and queries over all classes, differ in more than case.
    """

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        """Check what one entry cannot know about the others; raise VocabularyError."""
        if not self.entries:
            raise VocabularyError('the vocabulary is empty; give at least one word, such as road')
        if len(self) > MAX_CLASSES:
            raise VocabularyError(
                f'{len(self)} classes are more than the {MAX_CLASSES} that fit in an 8-bit label '
                f'image; drop classes from {self.names[MAX_CLASSES]!r} on, or merge some with |')
        if len(self.queries) > MAX_QUERIES:
            raise VocabularyError(
                f'{len(self.queries)} queries in all are more than {MAX_QUERIES}; drop synonyms')
        self._check_unique()

    @classmethod
    def parse(cls, spec: str | Sequence[str]) -> 'Vocabulary':
        """
        Read a list of entries, or one string of entries with commas between them.

        Each entry is `name`, `name|synonym|synonym`, or `name=query|query` when the name itself
        is no query. `@indoor`, or `preset:indoor`, stands for the entries of that preset (see
        `csa_ros.presets`); words that it shares with other entries make one class, as `_merge`
        says. A string in brackets is read as a YAML list of strings: `ros2 param set` sends a list
        as one string when YAML takes some members for numbers or booleans.
        Raises VocabularyError with the entry, the limit and the next step.
        """
        texts = _split(spec)
        for position, text in enumerate(texts, 1):
            if not text.strip():
                raise VocabularyError(
                    f'entry {position} of {len(texts)} is empty; drop the extra comma or fill in '
                    'the word')
        return cls(tuple(_merge(_expand(texts))))

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.entries)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Class names in id order."""
        return tuple(entry.name for entry in self.entries)

    @cached_property
    def queries(self) -> tuple[str, ...]:
        """Return the queries of all classes, flat, in id order."""
        return tuple(query for entry in self.entries for query in entry.queries)

    @cached_property
    def query_class(self) -> np.ndarray:
        """Class id of each query: (Q,) int64, read-only."""
        sizes = [len(entry.queries) for entry in self.entries]
        return _read_only(np.repeat(np.arange(len(self), dtype=np.int64), sizes))

    @cached_property
    def colors(self) -> np.ndarray:
        """Colour of each class: (C, 3) uint8 RGB, read-only."""
        return _read_only(draw.palette(self.names))

    @property
    def spec(self) -> list[str]:
        """Return the entries in canonical form; `Vocabulary.parse` reads them back."""
        return [entry.spec for entry in self.entries]

    @property
    def doubt(self) -> str:
        """Return what may be meant otherwise, as a sentence for the log; else an empty string."""
        preset = preset_meant(self.names[0]) if len(self.queries) == 1 else ''
        return preset and (
            f'the vocabulary is the one word {self.names[0]!r}, so that every pixel is of that '
            f'class; for the words of the preset of that name set it to {PREFIX}{preset}')

    def legend(self, version: int, model: str, taught: Mapping[str, int] = _NOTHING_TAUGHT
               ) -> dict:
        """
        Return what a consumer of label images needs to know, ready for `json.dumps`.

        `taught` tells how many examples the classes have that were shown, by their names.
        """
        return {
            'version': version,
            'model': model,
            'unknown_id': UNKNOWN,
            'classes': [
                {'id': i, 'name': entry.name, 'queries': list(entry.queries),
                 'color': color.tolist(),
                 **({'taught': taught[entry.name]} if entry.name in taught else {})}
                for i, (entry, color) in enumerate(zip(self.entries, self.colors))
            ],
        }

    def _check_unique(self) -> None:
        names: dict[str, Entry] = {}
        owners: dict[str, Entry] = {}
        for entry in self.entries:
            first = names.get(entry.name.casefold())
            if first:
                raise VocabularyError(
                    f'{first.spec!r} and {entry.spec!r} are both named {entry.name!r}; rename or '
                    'drop one')
            names[entry.name.casefold()] = entry
            for query in entry.queries:
                owner = owners.get(query.casefold())
                if owner:
                    raise VocabularyError(
                        f'query {query!r} of entry {entry.spec!r} is already in {owner.spec!r}, '
                        'so its class would be ambiguous; keep it once')
                owners[query.casefold()] = entry


def _split(spec: object) -> list[str]:
    """Return the raw entries of any form of vocabulary."""
    if isinstance(spec, str):
        return split_text(spec)
    if not isinstance(spec, Sequence):
        raise VocabularyError(
            f'a vocabulary is a list of words or one comma-separated string, not {spec!r}; '
            + _QUOTE)
    for item in spec:
        if not isinstance(item, str):
            raise VocabularyError(f'entry {item!r} is no text; {_QUOTE}')
    return [unquote(item) for item in spec]


def split_text(text: str) -> list[str]:
    """
    Return the entries of a string with commas between them, or of a YAML list of strings.

    They are without the quotes around them, but with the spaces. Raises VocabularyError for a list
    that cannot be read or is not flat.
    """
    text = unquote(text).strip()
    if text.startswith('['):
        return _read_list(text)
    if any(part.strip().startswith(tuple(_QUOTE_MARKS)) for part in text.split(',')):
        try:
            # A comma in quotes is none between entries.
            return _read_list(f'[{text}]')
        except VocabularyError:
            pass
    return [unquote(part) for part in text.split(',')] if text else []


def unquote(text: str) -> str:
    """Return what YAML reads of a text in single or double quotes; any other text as it is."""
    quoted = text.strip()
    if len(quoted) < 2 or quoted[0] not in _QUOTE_MARKS or quoted[-1] != quoted[0]:
        return text
    try:
        value = _load(quoted)
    except yaml.YAMLError:
        return text  # such as 'road' and 'sky'
    return unquote(value) if isinstance(value, str) else text


def _read_list(text: str) -> list[str]:
    try:
        entries = _load(text)
    except yaml.YAMLError as error:
        raise VocabularyError(
            f'{_shorten(text)!r} starts a list that YAML cannot read; close the bracket and every '
            f'quote, write {PREFIX}indoor for {SIGN}indoor, or leave the brackets out'
        ) from error
    if isinstance(entries, list) and all(isinstance(entry, str) for entry in entries):
        return [unquote(entry) for entry in entries]
    raise VocabularyError(
        f'{_shorten(text)!r} holds lists or mappings; give one flat list of words')


def _load(text: str) -> Any:
    """Return what YAML reads, with every scalar as text; raise YAMLError."""
    try:
        return yaml.load(text, yaml.BaseLoader)
    except (OverflowError, RecursionError, ValueError) as error:
        # Of too many brackets, or of the code of a character that there is not.
        raise yaml.YAMLError(str(error)) from error


def _expand(texts: Sequence[str]) -> list[tuple[Entry, bool]]:
    """Return the entries, presets in their place, each with whether it is one of a preset."""
    entries: list[tuple[Entry, bool]] = []
    for text in texts:
        preset = called_preset(text)
        try:
            entries += ([(Entry.parse(text), False)] if preset is None else
                        [(Entry.parse(entry), True) for entry in read_preset(preset)])
        except PresetError as error:
            raise VocabularyError(str(error)) from error
    return entries


def _merge(entries: Sequence[tuple[Entry, bool]]) -> list[Entry]:
    """
    Make one class of what presets share with other entries.

    Of a word that a preset has and an entry before it, too, one class is meant: that entry gets
    the queries that it lacks. If they are of several entries, what they lack is a class of its
    own. Of two entries that were both written out nothing is known: they stay, to be refused.
    """
    merged: list[tuple[Entry, bool]] = []
    owners: dict[str, int] = {}
    for entry, of_preset in entries:
        words = {word.casefold() for word in (entry.name, *entry.queries)}
        shared = {owners[word] for word in words & owners.keys()}
        fresh = tuple(query for query in entry.queries if query.casefold() not in owners)
        at = min(shared, default=len(merged))
        same = len(shared) == 1 and entry.name.casefold() == merged[at][0].name.casefold()
        if len(shared) == 1 and (of_preset or (merged[at][1] and same)):
            first, origin = merged[at]
            merged[at] = replace(first, queries=(*first.queries, *fresh)), origin
        elif of_preset and shared:
            if not fresh:
                continue
            at = len(merged)
            name = fresh[0] if entry.name.casefold() in owners else entry.name
            merged.append((Entry(name, fresh), of_preset))
        else:
            at = len(merged)
            merged.append((entry, of_preset))
        for word in words:
            owners.setdefault(word, at)
    return [entry for entry, _ in merged]


def _check_word(word: str, entry: str) -> None:
    """Refuse a name or query that could not be shown, searched for or written back."""
    where = f'in entry {_shorten(entry)!r}'
    if not word:
        raise VocabularyError(
            f'empty name or query {where}; drop the extra | or =, or fill in the word')
    if len(word) > MAX_WORD_LENGTH:
        raise VocabularyError(
            f'{_shorten(word)!r} {where} has {len(word)} characters, more than '
            f'{MAX_WORD_LENGTH}; shorten it')
    if called_preset(word) is not None:
        sign = SIGN if word.startswith(SIGN) else PREFIX
        raise VocabularyError(
            f'{word!r} {where} begins with {sign}, as the names of presets do; make a preset an '
            f'entry of its own, or write the word without the {sign}')
    if not word.isprintable():
        raise VocabularyError(
            f'{word!r} {where} holds a control or invisible character; type the word again')
    reserved = sorted(set(word) & set(_RESERVED))
    if reserved:
        raise VocabularyError(
            f'{word!r} {where} holds {" ".join(reserved)}; write name, name|synonym or '
            'name=query|query, with commas only between entries')


def _tidy(word: str) -> str:
    """Collapse spaces and compose accents, so that equal words are equal strings."""
    return ' '.join(unicodedata.normalize('NFC', word).split())


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else f'{text[:57]}...'


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
