"""Words to text features: prompt ensembles, cached in memory and on disk."""

from collections.abc import Sequence
import hashlib
import json
import os
from pathlib import Path
import tempfile
import threading
import warnings

from csa_ros.model.backbone import Backbone
from csa_ros.process import home
import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

TEMPLATES = {
    'imagenet80': tuple(fill('{}') for fill in open_clip.OPENAI_IMAGENET_TEMPLATES),
    'imagenet7': tuple(fill('{}') for fill in open_clip.SIMPLE_IMAGENET_TEMPLATES),
    # Eight of the 80, one for each thing that a robot's camera does to what it sees.
    'robot8': (
        'a photo of a {}.',
        'a photo of many {}.',
        'a close-up photo of a {}.',
        'a photo of the small {}.',
        'a blurry photo of the {}.',
        'a dark photo of a {}.',
        'a bright photo of the {}.',
        'a low resolution photo of the {}.',
    ),
    'simple': ('a photo of a {}.',),
}
# About 8 MB at 512 floats each; no vocabulary comes near it.
MEMORY_ENTRIES = 4096


class PromptError(ValueError):
    """Prompt templates or queries cannot be used; the message says why."""


def templates(prompts: str | Sequence[str]) -> tuple[str, ...]:
    """
    Return the templates of a prompt ensemble, each with one `{}` for the query.

    `prompts` is a key of TEMPLATES, one template, or a list of templates. `imagenet80` are CLIP's
    80 ImageNet templates; `imagenet7` those 7 of them that OpenAI's forward selection on ImageNet
    chose (github.com/openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb), renditions
    such as origami among them; `robot8` 8 that say what cameras on robots and cars meet: things
    near, far and many, motion blur, night, glare and coarse pixels; `simple` is 'a photo of a
    {}.'. `csa_ros.evaluation.prompts` measures how close they come to the 80. Raises PromptError
    otherwise.
    """
    if isinstance(prompts, str):
        if prompts in TEMPLATES:
            return TEMPLATES[prompts]
        prompts = [prompts]
    if not prompts:
        raise PromptError(f'no prompt templates: use {_choices()}')
    for template in prompts:
        if not isinstance(template, str) or template.count('{}') != 1:
            raise PromptError(f"prompt template {template!r} must hold '{{}}' exactly once, where "
                              f'the query goes; or use {_choices()}')
    return tuple(prompts)


def _choices() -> str:
    return ', '.join(map(repr, TEMPLATES))


class TextEncoder:
    """
    Encodes queries with the text tower of a backbone.

    What was encoded once is kept: in memory, and in `cache_dir` (None: that of
    `csa_ros.process.home`) as one small file a query, shared by all processes. A folder that
    cannot be written is no error.
    """

    def __init__(self, backbone: Backbone, cache_dir: Path | None = None) -> None:
        self._backbone = backbone
        self._memory: dict[tuple[tuple[str, ...], str], Tensor] = {}
        self._memory_lock = threading.Lock()
        self._disk = _DiskCache((cache_dir or home.cache_dir()) / 'text')

    def encode(self, queries: Sequence[str], prompts: str | Sequence[str] = 'imagenet80'
               ) -> Tensor:
        """
        Return one feature a query, (Q, D) float32 of length 1, on the backbone's device.

        Each prompt is encoded and normalised, the prompts of a query are averaged, and the mean is
        normalised again, as in CLIP's and SCLIP's evaluation; with text towers that were trained
        otherwise, prompts are averaged as they are. Only queries that are not in a
        cache reach the tower. Raises PromptError for bad templates and for a query whose prompts
        are longer than the tower can read. May run beside other work in another thread.
        """
        ensemble = templates(prompts)
        recalled = {query: self._recall(ensemble, query) for query in queries}
        features = {query: feature for query, feature in recalled.items() if feature is not None}
        missing = [query for query in recalled if query not in features]
        self._check_lengths(missing, ensemble)
        chunk_size = max(self._backbone.text.prompts_per_chunk // len(ensemble), 1)
        for start in range(0, len(missing), chunk_size):
            chunk = missing[start:start + chunk_size]
            for query, feature in zip(chunk, self._encode_queries(ensemble, chunk)):
                self._remember(ensemble, query, feature)
                self._disk.write(self._key(ensemble, query), feature.cpu().numpy())
                features[query] = feature
        return torch.stack([features[query] for query in queries])

    def check(self, queries: Sequence[str], prompts: str | Sequence[str]) -> None:
        """
        Raise PromptError as `encode` would; takes a moment, whatever the number of queries.

        What is in a cache is not asked about again, so that it needs no tokenizer.
        """
        ensemble = templates(prompts)
        self._check_lengths(
            [query for query in queries if self._recall(ensemble, query) is None], ensemble)

    def _check_lengths(self, queries: Sequence[str], ensemble: tuple[str, ...]) -> None:
        if not queries:
            return
        template = self._longest(ensemble)
        limit = self._backbone.text.context_length
        for query in queries:
            length = self._backbone.text.count(template, query)
            if length > limit:
                raise PromptError(
                    f'query {query!r} makes a prompt of {length} tokens with the template '
                    f'{template!r}, and the text tower of {self._backbone.name} reads at most '
                    f'{limit}: shorten the query')

    def _recall(self, ensemble: tuple[str, ...], query: str) -> Tensor | None:
        with self._memory_lock:
            feature = self._memory.get((ensemble, query))
        if feature is not None:
            return feature
        stored = self._disk.read(self._key(ensemble, query), self._backbone.embed_dim)
        if stored is None:
            return None
        feature = torch.from_numpy(stored).to(self._backbone.device)
        self._remember(ensemble, query, feature)
        return feature

    def _remember(self, ensemble: tuple[str, ...], query: str, feature: Tensor) -> None:
        with self._memory_lock:
            self._memory[ensemble, query] = feature
            while len(self._memory) > MEMORY_ENTRIES:
                del self._memory[next(iter(self._memory))]

    def _key(self, ensemble: tuple[str, ...], query: str) -> str:
        recipe = json.dumps([self._backbone.identity, ensemble, query])
        return hashlib.sha256(recipe.encode()).hexdigest()

    def _longest(self, ensemble: tuple[str, ...]) -> str:
        # Words are tokenized one by one, so that the same template is longest for every query.
        return max(ensemble, key=lambda template: self._backbone.text.count(template, 'word'))

    @torch.inference_mode()
    def _encode_queries(self, ensemble: tuple[str, ...], queries: Sequence[str]) -> Tensor:
        features = self._backbone.text.encode(ensemble, queries).float()
        if self._backbone.text.unit_prompts:
            features = F.normalize(features, dim=-1)
        means = features.unflatten(0, (len(queries), len(ensemble))).mean(dim=1)
        return F.normalize(means, dim=-1)


class _DiskCache:
    """One file an array, safe to share: a file is complete as soon as it has its name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writable = True

    def read(self, key: str, length: int) -> np.ndarray | None:
        """Return a stored float32 array of this length, or None if there is no sound one."""
        try:
            array = np.load(self._path(key), allow_pickle=False)
        except (OSError, EOFError, ValueError):
            return None
        sound = array.shape == (length,) and array.dtype == np.float32 and np.isfinite(array).all()
        return array if sound else None

    def write(self, key: str, array: np.ndarray) -> None:
        """Store an array; after the first failure, warn and stop trying."""
        if not self._writable:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._replace(self._path(key), array)
        except OSError as error:
            self._writable = False
            warnings.warn(
                f'text features are not kept on disk: {error}; set XDG_CACHE_HOME to a folder '
                'with room that can be written', stacklevel=2)

    def _replace(self, path: Path, array: np.ndarray) -> None:
        # Another process may read or write the same entry: only whole files get its name.
        file = tempfile.NamedTemporaryFile(dir=self._folder, suffix='.tmp', delete=False)
        try:
            with file:
                np.save(file, array)
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise

    def _path(self, key: str) -> Path:
        return self._folder / f'{key}.npy'
