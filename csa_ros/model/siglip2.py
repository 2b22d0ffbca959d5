"""
The text tower of SigLIP2, which never is in memory as a whole.

It has 708 million parameters, of which a word needs every block once and the embeddings of a few
tokens. Prompts go through one block after the other, and each is read when it is its turn and
dropped afterwards: as long as nobody needs the memory, the operating system keeps the file in it.
The modules are open_clip's. See arXiv 2502.14786.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
import math
from pathlib import Path
import threading
from typing import Any

from csa_ros.model.errors import ModelError
from csa_ros.model.weights.checkpoint import misfits
from csa_ros.model.weights.transformers_format import to_open_clip
from csa_ros.process import cancellation
from open_clip.tokenizer import get_clean_fn
from open_clip.transformer import LayerNormFp32
from open_clip.transformer import TextTransformer
from safetensors import safe_open
from safetensors import SafetensorError
import torch
from torch import nn
from torch import Tensor
from torch.func import functional_call

# Channels of an attention head: 16 heads in the tower that was published, of width 1152.
HEAD_WIDTH = 72
EPS = 1e-6
# What follows a text is token 0, and is read like any other.
PADDING = 0
# Prompts between which it is asked whether to go on; their hidden layer fits into a CPU's cache.
PROMPTS_PER_BATCH, PROMPTS_PER_BATCH_ELSEWHERE = {'cpu': 16}, 800
# Reading the blocks takes as long as computing several prompts: a chunk has many times as many.
PROMPTS_PER_CHUNK, PROMPTS_PER_CHUNK_ELSEWHERE = {'cpu': 80}, 1600
# Names in a file begin with either: open_clip's with the first, the Hugging Face hub's with the
# second, but for the last layer, which CLIP's text tower has not.
_OWN, _HUB, _HUB_HEAD = 'text.', 'text_model.', 'text_model.head.'
# What tells the sizes of a tower.
_SIZES = ('token_embedding.weight', 'positional_embedding',
          'transformer.resblocks.0.mlp.c_fc.weight', 'text_projection.weight')
_BLOCKS = {_OWN: 'text.transformer.resblocks.', _HUB: 'text_model.encoder.layers.'}


class Siglip2Text:
    """
    The text tower of SigLIP2, as `csa_ros.model.text_tower.TextTower`.

    `weights` is a safetensors file that has the tower among its tensors, as `text.` and
    open_clip's names or by the hub's, `text_model.`; sizes are read from it, and the heads are of
    72 channels. `tokenizer` is the content of a tokenizer.json. `name` is the model's in messages.
    It computes on `device` in `dtype`, with layer norms in float32. Nothing is read before the
    first prompt is counted or encoded.
    """

    unit_prompts = True

    def __init__(self, weights: Path, tokenizer: bytes, device: torch.device, dtype: torch.dtype,
                 name: str) -> None:
        self._path = weights
        self._tokenizer = _Tokenizer(tokenizer, name)
        self._device = device
        self._dtype = dtype
        self._name = name

    @property
    def context_length(self) -> int:
        """Most tokens of a prompt that are read; ModelError if the weights cannot be read."""
        with self._file() as file:
            return file.tower.context_length

    @property
    def prompts_per_chunk(self) -> int:
        """As how many prompts queries are best encoded at a time."""
        return PROMPTS_PER_CHUNK.get(self._device.type, PROMPTS_PER_CHUNK_ELSEWHERE)

    def count(self, template: str, query: str) -> int:
        """Return of how many tokens a prompt is, that of its end among them."""
        return len(self._tokenizer.encode(template.replace('{}', query)))

    @torch.inference_mode()
    def encode(self, templates: Sequence[str], queries: Sequence[str]) -> Tensor:
        """Return the features (queries * templates, D) of prompts; see `TextTower`."""
        rows = [self._tokenizer.encode(template.replace('{}', query))
                for query in queries for template in templates]
        # It is as large as several blocks, which take far longer than reading it again would.
        self._tokenizer.release()
        with self._file() as file:
            x = self._embed(_pad(rows, file.tower.context_length, self._name), file)
            for index, block in enumerate(file.tower.transformer.resblocks):
                weights = self._cast(block, file.read_block(index))
                for batch in x.split(PROMPTS_PER_BATCH.get(
                        self._device.type, PROMPTS_PER_BATCH_ELSEWHERE)):
                    cancellation.check()
                    batch.copy_(functional_call(block, weights, batch))
            # It pools the last token, whatever that is.
            return self._call(file.tower.text_projection, file, 'text_projection.',
                              self._call(file.tower.ln_final, file, 'ln_final.', x[:, -1]))

    @contextmanager
    def _file(self) -> Iterator['_File']:
        try:
            with safe_open(self._path, framework='pt') as handle:
                yield _File(handle, self._path, self._name)
        except (OSError, SafetensorError) as error:
            raise ModelError(f'cannot read the text tower of {self._name} from {self._path} '
                             f'({error}): copy or fetch the file again') from error

    def _embed(self, tokens: Tensor, file: '_File') -> Tensor:
        """Return what goes into the first block, for tokens (N, context length)."""
        known = file.tower.vocab_size
        if int(tokens.max()) >= known:
            raise ModelError(
                f'the text tower of {self._name} knows {known} tokens, and its tokenizer made '
                f'number {int(tokens.max())}: they are not of one model. Take the tokenizer.json '
                'that was published with the weights')
        present, places = tokens.unique(return_inverse=True)
        rows = file.read('token_embedding.weight')[present].to(self._device, self._dtype)
        positions = file.read('positional_embedding').to(self._device, self._dtype)
        return rows[places.to(self._device)] + positions

    def _call(self, module: nn.Module, file: '_File', prefix: str, x: Tensor) -> Tensor:
        weights = {name: file.read(f'{prefix}{name}') for name in module.state_dict()}
        return functional_call(module, self._cast(module, weights), x)

    def _cast(self, module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring weights to the device, in the type that the module computes in."""
        norms = [name for name, part in module.named_modules() if isinstance(part, nn.LayerNorm)]
        return {name: weight.to(self._device, torch.float32 if name.rpartition('.')[0] in norms
                                else self._dtype)
                for name, weight in weights.items()}


class _File:
    """
    The tower in an open file: `tower` has its modules without their weights, which `read` reads.

    Raises ModelError unless the file holds exactly the weights of one tower.
    """

    def __init__(self, handle: Any, path: Path, name: str) -> None:
        self._handle = handle
        names = list(handle.keys())
        form = _HUB if any(each.startswith(_HUB) for each in names) else _OWN
        self._blocks = _BLOCKS[form]
        self._names = [each for each in names if each.startswith(form)]
        what = f'{path} does not hold the text tower of {name}'
        advice = ('take model.safetensors of google/siglip2-so400m-patch16-naflex, or a model '
                  'that `fetch_model` has written')
        shapes = {each: torch.empty(handle.get_slice(each).get_shape(), device='meta')
                  for each in self._names}
        found = _renamed(shapes)
        try:
            self.tower = _build(found)
        except (KeyError, ValueError) as error:
            raise ModelError(f'{what}: {_cause(error)}; {advice}') from error
        faults = misfits(found, self.tower.state_dict())
        if faults:
            raise ModelError(f'{what}: {faults}; {advice}')
        self._place = {ours: theirs for theirs in self._names
                       for ours in _renamed({theirs: shapes[theirs]})}

    def read(self, name: str) -> Tensor:
        """Return a weight outside the blocks by open_clip's name; it is read as it is used."""
        return self._handle.get_tensor(self._place[name])

    def read_block(self, index: int) -> dict[str, Tensor]:
        """Return the weights of a block by their names within open_clip's."""
        prefix = f'{self._blocks}{index}.'
        weights = _renamed({name: self._handle.get_tensor(name)
                            for name in self._names if name.startswith(prefix)})
        return {name.removeprefix(f'transformer.resblocks.{index}.'): weight
                for name, weight in weights.items()}


class _Tokenizer:
    """
    Turns texts into tokens as SigLIP2 was trained with them, read when it is used.

    Texts lose their capitals and their punctuation, as in big_vision's `canonicalize_text`.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        self._tokenizer: Any = None
        self._lock = threading.Lock()
        self._clean = get_clean_fn('canonicalize')

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, with that of its end."""
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._read()
            tokenizer = self._tokenizer
        return tokenizer.encode(self._clean(text)).ids

    def release(self) -> None:
        """Free what was read; the next text has it read again."""
        with self._lock:
            self._tokenizer = None

    def _read(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ModelError(f'the words of {self._name} need the Python package tokenizers '
                             f'({error}): pip install tokenizers') from error
        try:
            tokenizer = Tokenizer.from_str(self._content.decode())
        except Exception as error:  # noqa: B902 - the package raises nothing narrower
            raise ModelError(f'cannot read the tokenizer of {self._name} ({error}): copy or fetch '
                             'its tokenizer.json again') from error
        # Texts are filled up by whoever asked, and counted whole.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def _pad(rows: Sequence[Sequence[int]], length: int, name: str) -> Tensor:
    longest = max(map(len, rows))
    if longest > length:
        raise ModelError(f'a prompt has {longest} tokens, and the text tower of {name} reads at '
                         f'most {length}: shorten the query')
    return torch.tensor([[*row, *[PADDING] * (length - len(row))] for row in rows])


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return weights by the names of open_clip's text tower, in its layout."""
    return {name.replace(_HUB_HEAD, 'text_projection.').removeprefix(_OWN): weight
            for name, weight in to_open_clip(weights).items()}


def _build(weights: Mapping[str, Tensor]) -> TextTransformer:
    """Return a tower without weights, of the sizes that weights have."""
    for name in _SIZES:
        if weights[name].dim() != 2:
            raise ValueError(f'{name} has shape {list(weights[name].shape)}, and must be a matrix')
    (vocabulary, width), (context_length, _), (hidden, _), (output_dim, _) = (
        weights[name].shape for name in _SIZES)
    if width % HEAD_WIDTH:
        raise ValueError(f'its width is {width}, which is no multiple of the {HEAD_WIDTH} '
                         'channels of a head')
    blocks = {name.split('.')[2] for name in weights if name.startswith('transformer.resblocks.')}
    with torch.device('meta'):
        tower = TextTransformer(
            context_length=context_length,
            vocab_size=vocabulary,
            width=width,
            heads=width // HEAD_WIDTH,
            layers=len(blocks),
            # open_clip cuts the product, which may come out a hair too small.
            mlp_ratio=math.nextafter(hidden / width, math.inf),
            output_dim=output_dim,
            no_causal_mask=True,
            pool_type='last',
            proj_bias=True,
            act_layer=partial(nn.GELU, approximate='tanh'),
            norm_layer=partial(LayerNormFp32, eps=EPS),
        )
    return tower.eval().requires_grad_(False)


def _cause(error: KeyError | ValueError) -> str:
    return f'{error.args[0]} is missing' if isinstance(error, KeyError) else str(error)
