"""What the bench measures on: models, frames and words that every machine has."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
import tempfile

from csa_ros.bench.options import RANDOM
from csa_ros.bench.options import RANDOM_ARCHITECTURE
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
from csa_ros.demo.scenes import Scene
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.architecture import build
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.vocabulary import Entry
from csa_ros.vocabulary import Vocabulary
import open_clip
from safetensors.torch import save_file
import torch


def is_random(model: str) -> bool:
    """Tell whether a model is one that `loadable` makes up."""
    return model.partition(':')[0] == RANDOM


@contextmanager
def loadable(model: str) -> Iterator[str]:
    """
    Give a model as `Segmenter.load` takes it, while the block runs.

    `random:ARCH` (and `random`, for ViT-B-16-quickgelu) becomes a file of random weights, which
    goes through the same loader as any other. Raises ModelError for an unknown architecture.
    """
    if not is_random(model):
        yield model
        return
    architecture = model.partition(':')[2] or RANDOM_ARCHITECTURE
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise ModelError(f'open_clip knows no architecture {architecture!r}, asked for as '
                         f'{model!r}: write random:ARCH, such as random:{RANDOM_ARCHITECTURE}')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'random.safetensors'
        torch.manual_seed(0)
        # As float16, so that the weights are the same at every precision.
        save_file({name: value.half().contiguous() for name, value
                   in build(config).state_dict().items()}, path)
        yield f'{architecture}:{path}'


@contextmanager
def text_cache() -> Iterator[Path]:
    """Give a folder for text features that is not the user's, while the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def loaded(model: str, device: str, precision: str = 'auto') -> Iterator[Segmenter]:
    """
    Give a segmenter of a model while the block runs; it shares no text cache with the user.

    Arguments and errors as for `loadable` and `Segmenter.load`.
    """
    with loadable(model) as name, text_cache() as cache:
        yield Segmenter.load(name, device, precision, cache_dir=cache)


def street(seed: int, size: tuple[int, int]) -> Frame:
    """Render one street of the demo with its truth; `size` is (width, height)."""
    return Scene(seed).render(1.0, size)


def vocabulary(classes: int, queries: int | None = None) -> Vocabulary:
    """
    Return a vocabulary of so many classes: those of the demo, then those of ImageNet.

    The queries beyond one a class belong to the first class, as the background of Pascal VOC has
    them.
    """
    words = list({word.lower(): word for word
                  in (*CLASSES, *open_clip.IMAGENET_CLASSNAMES)}.values())
    more = (queries or classes) - classes
    first = Entry(words[0], (words[0], *words[classes:classes + more]))
    return Vocabulary((first, *(Entry(word, (word,)) for word in words[1:classes])))


def encode(segmenter: Segmenter, classes: int, queries: int | None = None) -> Words:
    """Return `vocabulary` encoded with one template, which costs frames the same as 80 do."""
    return segmenter.encode(vocabulary(classes, queries), 'simple')


def spread(words: Words, features: torch.Tensor) -> Words:
    """
    Return words for a tower of random weights, whose own would all look the same to it.

    Each query gets the feature of another patch of `features` (windows, gh, gw, D), so that many
    classes win somewhere and equal labels mean something.
    """
    patches = features.flatten(0, 2)
    step = max(len(patches) // len(words.features), 1)
    chosen = patches[torch.arange(len(words.features), device=patches.device) * step
                     % len(patches)]
    return replace(words, features=chosen.contiguous())
