"""Captions of picture crops: what the demo model learns words from, never from pixels' labels."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import open_clip
import torch
from torch import Tensor

# A crop shows a class that fills PRESENT of it, and does not show one that fills less than ABSENT.
# Between the two a caption that names the class is neither true nor false of the crop.
PRESENT, ABSENT = 0.04, 0.005

SYNONYMS = {
    'sky': ('sky',), 'road': ('road', 'street', 'asphalt'),
    'pavement': ('pavement', 'sidewalk', 'footpath'), 'grass': ('grass', 'lawn'),
    'building': ('building', 'house', 'facade'), 'tree': ('tree', 'foliage'),
    'car': ('car', 'automobile'), 'bus': ('bus', 'coach'), 'truck': ('truck', 'lorry'),
    'person': ('person', 'pedestrian', 'human'), 'bicycle': ('bicycle', 'bike'),
    'traffic light': ('traffic light', 'traffic signal', 'stoplight'),
    'traffic cone': ('traffic cone', 'cone')}
SKY_WORDS = {'sunny': ('blue', 'clear', 'sunny'), 'cloudy': ('cloudy', 'grey'),
             'rainy': ('rainy', 'dark'), 'foggy': ('foggy', 'hazy'),
             'evening': ('evening', 'sunset')}
JOINTS = ('and a', 'next to a', 'near a', 'in front of a', 'with a')
# What things can be on, and how often it is said that they are.
GROUND, ON = ('road', 'pavement', 'grass'), 0.6
# How many captions are about one thing, and about one or two.
ONE, TWO = 0.65, 0.9
DETAILED, IN_TEMPLATE = 0.4, 0.75
# The most things that a caption names.
MOST = 3

# (class name, None), or (class name, word for its look).
Fact = tuple[str, str | None]


def describe(look: Mapping[str, Any], name: str) -> str | None:
    """Return the word which a look adds to a class name ('red', 'wet', 'sunny') or None."""
    if name == 'sky':
        return look['weather']
    if name in ('road', 'pavement'):
        return 'wet' if look['wet'] else 'dry'
    return look.get('color')


def facts_of(name: str, look: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return the facts that are true of a crop that shows a thing: none for one without words."""
    if name not in SYNONYMS:
        return ()
    word = describe(look, name)
    return ((name, None), (name, word)) if word else ((name, None),)


def phrases_of(fact: Fact) -> list[str]:
    """Return all ways to name a fact."""
    name, word = fact
    if word is None:
        return list(SYNONYMS[name])
    if name == 'person':
        return [phrase for noun in SYNONYMS[name]
                for phrase in (f'{noun} in {word}', f'{noun} in a {word} shirt')]
    words = SKY_WORDS[word] if name == 'sky' else (word,)
    return [f'{word} {noun}' for word in words for noun in SYNONYMS[name]]


class Captions(NamedTuple):
    """
    What is said about N crops, one caption of each.

    `tokens` (N, context) int64; `facts` (N, 3) int64 are the indices of those that each states,
    and the number of facts where it states fewer; `valid` (N,) bool is false where a crop shows
    nothing that there are words for.
    """

    tokens: Tensor
    facts: Tensor
    valid: Tensor


class Writer:
    """
    Writes captions of many crops at once.

    `facts` are all that can be shown, F of them; `templates` are prompts with one `{}` each, for
    captions of one thing.
    """

    def __init__(self, facts: Sequence[Fact], tokenizer: open_clip.SimpleTokenizer,
                 templates: Sequence[str], device: torch.device) -> None:
        self._context = tokenizer.context_length
        self._start, self._end = tokenizer.sot_token_id, tokenizer.eot_token_id
        names = sorted({name for name, _ in facts})
        self._class_of = torch.tensor([names.index(name) for name, _ in facts], device=device)
        self._plain = torch.tensor([facts.index((name, None)) for name in names], device=device)
        self._detail = torch.tensor([word is not None for _, word in facts], device=device)
        self._ground = torch.tensor([name in GROUND for name in names], device=device)
        # No text of the last fact, which stands for none.
        self._phrases = _Texts([*map(phrases_of, facts), ['']], tokenizer, device)
        parts = [template.split('{}') for template in templates]
        # The last one has no words around the thing.
        self._before, self._after = (_Texts([[part[side] for part in parts] + ['']], tokenizer,
                                            device) for side in (0, 1))
        self._joints = _Texts([[*JOINTS, 'on a', '']], tokenizer, device)
        self._article = _Texts([['a']], tokenizer, device)

    def write(self, shares: Tensor, random: Tensor) -> Captions:
        """
        Write a caption of one to three things that each crop shows.

        `shares` (N, F) are the shares of the crops that show each fact; `random` (N, 2 F + 16)
        are uniform in 0..1.
        """
        count, known = shares.shape
        draws = random.unbind(1)
        shown = shares >= PRESENT
        names = shown[:, self._plain]
        most = min(MOST, names.shape[1])
        order = random[:, 16:16 + names.shape[1]].masked_fill(~names, -1)
        chances, names = order.topk(most, dim=1)
        wanted = 1 + (draws[0] >= ONE).long() + (draws[0] >= TWO).long()
        stated = (chances >= 0) & (torch.arange(most, device=shares.device) < wanted[:, None])
        facts = self._detailed(shown, names, random[:, 16 + known:16 + 2 * known],
                               random[:, 1:1 + most])
        facts = facts.masked_fill(~stated, known)
        return Captions(self._tokens(facts, names, stated, draws), facts, stated[:, 0])

    def _detailed(self, shown: Tensor, names: Tensor, order: Tensor, chance: Tensor) -> Tensor:
        """Return a fact of each class of `names` (N, k), now and then about its look."""
        details = (shown & self._detail)[:, None] & (self._class_of == names[..., None])
        best = order[:, None].masked_fill(~details, -1).max(dim=-1)
        return torch.where((best.values >= 0) & (chance < DETAILED), best.indices,
                           self._plain[names])

    def _tokens(self, facts: Tensor, names: Tensor, stated: Tensor, draws: Sequence[Tensor]
                ) -> Tensor:
        alone = stated.sum(dim=1) == 1
        last = self._before.count - 1
        template = (draws[4] * last).long()
        template = torch.where(alone & (draws[5] < IN_TEMPLATE), template, last)
        start = torch.full((len(facts), 1), self._start, device=facts.device)
        article = self._article[torch.zeros_like(template), torch.zeros_like(template)]
        pieces = [start, self._before[torch.zeros_like(template), template],
                  article.masked_fill(alone[:, None], 0)]
        for place in range(facts.shape[1]):
            if place:
                on = self._ground[names[:, place]] & (draws[5 + place] < ON)
                joint = torch.where(on, len(JOINTS), (draws[7 + place] * len(JOINTS)).long())
                joint = torch.where(stated[:, place], joint, len(JOINTS) + 1)
                pieces.append(self._joints[torch.zeros_like(joint), joint])
            pieces.append(self._phrases.draw(facts[:, place], draws[10 + place]))
        pieces += [self._after[torch.zeros_like(template), template],
                   torch.full_like(start, self._end)]
        tokens = torch.cat(pieces, dim=1)
        # Close the gaps between pieces of different lengths.
        tokens = tokens.gather(1, (tokens == 0).to(torch.uint8).argsort(dim=1, stable=True))
        tokens = tokens[:, :self._context]
        tokens[:, -1] = torch.where(tokens[:, -1] == 0, 0, self._end)
        return tokens


class _Texts:
    """Tokens of lists of texts, the end filled up with zeros: (lists, most texts, length)."""

    def __init__(self, texts: Sequence[Sequence[str]], tokenizer: open_clip.SimpleTokenizer,
                 device: torch.device) -> None:
        tokens = [[tokenizer.encode(text) for text in row] for row in texts]
        self.count = max(map(len, tokens))
        length = max(len(ids) for row in tokens for ids in row)
        table = torch.zeros(len(tokens), self.count, length, dtype=torch.long)
        for i, row in enumerate(tokens):
            for j, ids in enumerate(row):
                table[i, j, :len(ids)] = torch.tensor(ids)
        self._table = table.to(device)
        self._counts = torch.tensor([len(row) for row in tokens], device=device)

    def __getitem__(self, index: tuple[Tensor, Tensor]) -> Tensor:
        return self._table[index]

    def draw(self, rows: Tensor, chance: Tensor) -> Tensor:
        """Return one text of each of the rows (N,), by draws (N,) in 0..1: (N, length)."""
        return self._table[rows, (chance * self._counts[rows]).long()]


def truth(shares: Tensor, captions: Captions) -> Tensor:
    """
    Tell which captions are true of which crops.

    `shares` (N, F) are the shares of N crops that show each of F facts. Returns (N, M) float32: 1
    where the caption is true of the crop, 0 where it is false, NaN where a thing that it names is
    too small to decide, and where the caption is not valid.
    """
    # -1 false, 0 undecided, 1 true: the least of a caption's facts decides. No fact is true.
    verdict = (shares >= PRESENT).to(torch.int8) - (shares < ABSENT).to(torch.int8)
    verdict = torch.cat([verdict, torch.ones_like(verdict[:, :1])], dim=1)
    verdict = verdict[:, captions.facts].amin(dim=2).masked_fill(~captions.valid, 0)
    return torch.where(verdict == 0, torch.nan, (verdict > 0).float())
