"""Words to text features: prompts cut after their end against padded ones, and beside frames."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
import threading

from csa_ros.bench import inputs
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import table
from csa_ros.model.backbone import Backbone
from csa_ros.model.text import templates
from csa_ros.model.text import TextEncoder
from csa_ros.process.threads import give_way
from csa_ros.segmenter import Segmenter
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

TITLE = TITLES['text']
PROMPTS = 'imagenet80'
WORDS = 20
# Padding is so slow on a CPU that the two are compared on fewer words; the cost is per prompt.
COMPARED_WORDS = 4
FRAME_SIZE = (640, 480)
# What was asked of the node.
CPU_RATIO, GPU_MS = 4, 150
# More than that is a delay; less is noise.
DELAY_RATIO = 1.1


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Time new words both ways, compare the features, and time frames beside them; for JSON."""
    with inputs.loaded(options.text_model, options.text_device) as segmenter:
        backbone = segmenter.backbone
        queries = inputs.vocabulary(WORDS).queries
        few = queries[:COMPARED_WORDS]
        difference = encode_new(backbone, few) - encode_padded(backbone, few)
        timings = alternate({
            'padded': lambda: encode_padded(backbone, few),
            'cut': lambda: encode_new(backbone, few),
            'new words': lambda: encode_new(backbone, queries),
        }, options.text_rounds, progress)
        return {
            'model': options.text_model, 'device': backbone.device.type,
            'words': WORDS, 'compared_words': COMPARED_WORDS,
            'templates': len(templates(PROMPTS)), 'context': backbone.clip.context_length,
            'timings': {name: timing.to_dict() for name, timing in timings.items()},
            'largest_difference': float(difference.abs().max()),
            'frames': measure_frames(segmenter, options.text_frames, progress)}


def encode_new(backbone: Backbone, queries: Sequence[str]) -> Tensor:
    """Return features as the node has them for words that are in no cache."""
    with inputs.text_cache() as empty:
        return TextEncoder(backbone, empty).encode(queries, PROMPTS)


@torch.inference_mode()
def encode_padded(backbone: Backbone, queries: Sequence[str]) -> Tensor:
    """Return the same with open_clip's `encode_text`, one query after the other, as SCLIP does."""
    features = []
    for query in queries:
        prompts = [template.replace('{}', query) for template in templates(PROMPTS)]
        tokens = backbone.tokenizer(prompts).to(backbone.device)
        feature = F.normalize(backbone.clip.encode_text(tokens).float(), dim=-1).mean(0)
        features.append(F.normalize(feature, dim=-1))
    return torch.stack(features)


def measure_frames(segmenter: Segmenter, frames: int, progress: tqdm | None = None
                   ) -> dict[str, dict[str, float]]:
    """Time frames alone, and while another thread encodes one new word after the other."""
    words = inputs.encode(segmenter, WORDS)
    rgb = inputs.street(0, FRAME_SIZE).rgb
    alone = alternate({'frame': lambda: segmenter.segment(rgb, words)}, frames, progress)
    with encoding(segmenter.backbone):
        beside = alternate({'frame': lambda: segmenter.segment(rgb, words)}, frames, progress)
    return {'alone': alone['frame'].to_dict(), 'beside': beside['frame'].to_dict()}


@contextmanager
def encoding(backbone: Backbone) -> Iterator[None]:
    """Encode words in another thread while the block runs, and a little longer."""
    stop = threading.Event()

    def encode_words() -> None:
        give_way()  # as the node does
        while not stop.is_set():
            encode_new(backbone, ['word'])

    thread = threading.Thread(target=encode_words)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def describe(result: dict) -> str:
    """Return the tables of a result as markdown."""
    timings, frames = result['timings'], result['frames']
    rows = [[f"padded to {result['context']} tokens", result['compared_words'],
             *_columns(timings['padded'], result['compared_words'])],
            ['cut after the end', result['compared_words'],
             *_columns(timings['cut'], result['compared_words'])],
            ['cut after the end', result['words'], *_columns(timings['new words'],
                                                             result['words'])]]
    return '\n\n'.join([
        f"Model `{result['model']}` on a {_device(result)}; {result['templates']} templates a "
        f'word; no word is in a cache. Cutting is {_ratio(result):.1f} times faster; the largest '
        f"difference of a component of a feature is {result['largest_difference']:.1e}.",
        table(['prompts', 'words', 'ms', 'p95', 'words a second'], rows),
        f'A frame of {FRAME_SIZE[0]} x {FRAME_SIZE[1]}, alone and while another thread encodes '
        'words without a pause:',
        table(['frame', 'ms', 'p95'],
              [[name, in_ms(timing['median_ms']), in_ms(timing['p95_ms'])]
               for name, timing in frames.items()])])


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    ratio = f'CPU: words encoded at least {CPU_RATIO} times faster than padded'
    gpu = f'GPU: {WORDS} new words in less than {GPU_MS} ms'
    delay = f'{_device(result)}: no frame is delayed by the encoding of words'
    delayed = result['frames']['beside']['median_ms'] / result['frames']['alone']['median_ms']
    on_cpu = result['device'] == 'cpu'
    milliseconds = result['timings']['new words']['median_ms']
    return [
        Target(ratio, f'{_ratio(result):.1f} times', _ratio(result) >= CPU_RATIO)
        if on_cpu else Target(ratio),
        Target(gpu) if on_cpu else
        Target(gpu, f'{in_ms(milliseconds)} ms', milliseconds < GPU_MS),
        Target(delay, f'a frame takes {delayed:.2f} times as long meanwhile',
               delayed <= DELAY_RATIO)]


def _columns(timing: dict, words: int) -> list[str]:
    return [in_ms(timing['median_ms']), in_ms(timing['p95_ms']),
            f"{1e3 * words / timing['median_ms']:.1f}"]


def _device(result: dict) -> str:
    return 'CPU' if result['device'] == 'cpu' else 'GPU'


def _ratio(result: dict) -> float:
    return result['timings']['padded']['median_ms'] / result['timings']['cut']['median_ms']
