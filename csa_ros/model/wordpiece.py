"""
The tokenizer of CLIPA: BERT's word pieces.

Its table comes from the Hugging Face hub, as one small file in the cache of the user; loading
never uses the network.
"""

from collections.abc import Sequence
from pathlib import Path

from csa_ros.model.errors import ModelError
import huggingface_hub
from huggingface_hub import try_to_load_from_cache
from open_clip.tokenizer import get_clean_fn
import torch
from torch import Tensor

# The hub knows it by both names, and keeps what is fetched under the one that was asked for.
REPOSITORIES = ('google-bert/bert-base-uncased', 'bert-base-uncased')
FILE = 'tokenizer.json'


class WordPieceTokenizer:
    """
    Turns texts into tokens as CLIPA was trained with them.

    `path` is a tokenizer.json. Raises ModelError if it or the package tokenizers is unusable.
    """

    def __init__(self, path: Path, context_length: int) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ModelError(f'CLIPA models need the Python package tokenizers ({error}): '
                             'pip install tokenizers') from error
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: B902 - the package raises nothing narrower
            raise ModelError(f'cannot read the tokenizer {path}: {error}') from error
        # Texts are cut and filled up below, and counted whole.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._clean = get_clean_fn('whitespace')
        self._start = self._tokenizer.token_to_id('[CLS]')
        self.context_length = context_length

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without those of its start and end."""
        return self._tokenizer.encode(self._clean(text), add_special_tokens=False).ids

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """
        Return the tokens of texts, (N, context length) int64.

        Each row has the start token and as many of the text's as leave room for an end, which is
        0 in CLIPA's training, as the rest of the row is.
        """
        tokens = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        for row, text in zip(tokens, texts):
            ids = [self._start, *self.encode(text)[:self.context_length - 2]]
            row[:len(ids)] = torch.tensor(ids)
        return tokens


def find_table() -> Path | None:
    """Return the table of word pieces if it is on this machine."""
    for repository in REPOSITORIES:
        path = try_to_load_from_cache(repository, FILE)
        if isinstance(path, str):
            return Path(path)
    return None


def fetch_table() -> None:
    """Download the table; raises what the hub's client raises."""
    huggingface_hub.hf_hub_download(REPOSITORIES[0], FILE)
