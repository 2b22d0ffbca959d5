"""
Text towers: prompts to features, whichever model reads them.

`csa_ros.model.text` makes the features of words of them, and keeps these.
"""

from collections.abc import Sequence
from typing import Any
from typing import Protocol
from typing import TypeAlias

from csa_ros.model.errors import ModelError
from csa_ros.model.tokens import encode
from csa_ros.model.tokens import tokenize
from csa_ros.model.tokens import Tokenizer
from csa_ros.process import cancellation
import open_clip
from open_clip.model import CustomTextCLIP
from open_clip.model import text_global_pool
import torch
from torch import Tensor

Clip: TypeAlias = open_clip.CLIP | CustomTextCLIP

# In batches of so many: on a CPU few enough for its cache and for prompts of like length, on a GPU
# as many as take it longer to compute than Python to launch.
PROMPTS_PER_BATCH, PROMPTS_PER_BATCH_ELSEWHERE = {'cpu': 80}, 800
# What is finished is kept after so many.
PROMPTS_PER_CHUNK, PROMPTS_PER_CHUNK_ELSEWHERE = {'cpu': 320}, 1600


class TextTower(Protocol):
    """
    What reads prompts: templates, each of which holds `{}` once, filled in with queries.

    `unit_prompts` tells that prompts are brought to length 1 before those of a query are averaged.
    """

    unit_prompts: bool

    @property
    def context_length(self) -> int:
        """Most tokens of a prompt that are read."""

    @property
    def prompts_per_chunk(self) -> int:
        """As how many prompts queries are best encoded at a time; what is done is then kept."""

    def count(self, template: str, query: str) -> int:
        """Return of how many tokens a prompt is, those of its start and its end among them."""

    def encode(self, templates: Sequence[str], queries: Sequence[str]) -> Tensor:
        """
        Return the features of every query in every template, those of a query together.

        They are (queries * templates, D), floating point, not of length 1, on the device of the
        model. Raises ModelError if it cannot read them. Asks between batches whether to go on: see
        `csa_ros.process.cancellation`.
        """


class ClipText:
    """
    The text tower of a CLIP, as `TextTower`; `name` is the model's in messages.

    `clip` is a CLIP of open_clip's, `tokenizer` its tokenizer.
    """

    unit_prompts = True

    def __init__(self, clip: Clip, tokenizer: Tokenizer, name: str) -> None:
        self.clip = clip
        self.tokenizer = tokenizer
        self._name = name

    @property
    def context_length(self) -> int:
        """Most tokens of a prompt that are read."""
        return self.clip.context_length

    @property
    def prompts_per_chunk(self) -> int:
        """As how many prompts queries are best encoded at a time."""
        return PROMPTS_PER_CHUNK.get(self._device.type, PROMPTS_PER_CHUNK_ELSEWHERE)

    def count(self, template: str, query: str) -> int:
        """Return of how many tokens a prompt is, those of its start and its end among them."""
        return len(encode(self.tokenizer, template, query)) + 2

    def encode(self, templates: Sequence[str], queries: Sequence[str]) -> Tensor:
        """Return the features (queries * templates, D) of prompts; see `TextTower`."""
        tokens = tokenize(self.tokenizer, templates, queries)
        known = self.clip.vocab_size
        if int(tokens.max()) >= known:
            raise ModelError(f'the text tower of {self._name} knows {known} tokens, fewer than '
                             'the tokenizer of CLIP makes: it was trained with another one. Take '
                             'another model')
        prompts_per_batch = PROMPTS_PER_BATCH.get(self._device.type, PROMPTS_PER_BATCH_ELSEWHERE)
        # Sorted by length, so that a batch is cut to what most of its prompts need: 1.5 times
        # faster with CLIP's templates, of 6 to 13 tokens.
        order = _lengths(tokens).argsort()
        encoded = []
        for batch in tokens[order].split(prompts_per_batch):
            cancellation.check()
            encoded.append(encode_tokens(self.clip, batch))
        features = torch.cat(encoded)
        return features[order.argsort().to(features.device)]

    @property
    def _device(self) -> torch.device:
        return _tower_of(self.clip)[0].positional_embedding.device


def encode_tokens(clip: Clip, tokens: Tensor) -> Tensor:
    """Do as `clip.encode_text`, leaving out what cannot change the result; tokens on the host."""
    tower, pool_type = _tower_of(clip)
    device = tower.positional_embedding.device
    if tower.attn_mask is None or pool_type != 'argmax':
        return clip.encode_text(tokens.to(device))
    # In a causal tower nothing after the end token can reach it, and prompts are far shorter than
    # the context: cutting is exact and several times faster.
    length = int(_lengths(tokens).max())
    tokens = tokens[:, :length].to(device)
    dtype = tower.transformer.get_cast_dtype()
    x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    x = text_global_pool(tower.ln_final(x), tokens, pool_type)
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, torch.nn.Module) else x @ projection


def _tower_of(clip: Clip) -> tuple[Any, str]:
    """Return what reads texts in a CLIP, and how it pools: some have it at the top."""
    if hasattr(clip, 'text'):
        return clip.text, clip.text.pool_type
    return clip, clip.text_pool_type


def _lengths(tokens: Tensor) -> Tensor:
    """Count the tokens of each prompt up to its end token, which has the highest id."""
    return tokens.argmax(dim=-1) + 1
