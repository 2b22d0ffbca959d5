r"""
A lesson for `train`: the demo's streets in German, of which its model knows no word.

    python -m csa_ros.demo.lesson write german
    python -m csa_ros.tools.train --model demo --images german/pictures \
        --captions german/captions.jsonl --out german.safetensors \
        --loss patches --epochs 5 --rate 1e-3
    python -m csa_ros.demo.lesson measure demo demo:german.safetensors
    python -m csa_ros.demo.lesson draw training.jpg demo demo:german.safetensors

Pictures are parts of streets, and captions say in German what is on them, never where. The streets
that are measured and drawn are others.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import sys

from csa_ros import draw
from csa_ros.demo.captions import PRESENT
from csa_ros.demo.hard import HardScene
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.model.errors import ModelError
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np
from tqdm import tqdm

WORDS = {'sky': 'Himmel', 'road': 'Fahrbahn', 'pavement': 'Gehweg', 'grass': 'Rasen',
         'building': 'Haus', 'tree': 'Baum', 'car': 'Auto', 'bus': 'Omnibus', 'truck': 'Laster',
         'person': 'Mensch', 'bicycle': 'Fahrrad', 'traffic light': 'Ampel',
         'traffic cone': 'Leitkegel'}
# English sentences around German words mean nothing: words are asked for as they are.
PROMPTS = '{}'
# Of no evaluation or training of the demo; those that are measured are of neither.
FIRST_SEED, FIRST_MEASURED_SEED = 3000, 4000
# Smallest and largest side of a part, in pixels of a street of 320 x 240.
SIDES = (32, 120)
PARTS = 8
# Seconds after the drive has begun, as in the evaluation.
_TIME = 1.0
_ALPHA = 0.5


@dataclass(frozen=True)
class Part:
    """A part of a street, (side, side, 3) uint8, and what can be said of it."""

    rgb: np.ndarray
    captions: tuple[str, ...]


def parts(seed: int) -> Iterator[Part]:
    """Yield parts of the street of a seed, of any size and from anywhere, that show something."""
    frame, random = _street(seed), np.random.default_rng(seed)
    height, width = frame.labels.shape
    for _ in range(PARTS):
        side = round(np.exp(random.uniform(*np.log(SIDES))))
        top, left = random.integers(height - side + 1), random.integers(width - side + 1)
        window = (slice(top, top + side), slice(left, left + side))
        captions = describe(frame.labels[window])
        if captions:
            yield Part(frame.rgb[window], captions)


def describe(labels: np.ndarray) -> tuple[str, ...]:
    """Return what can be said of pixels with these labels, (H, W) uint8, the largest first."""
    pixels = np.bincount(labels.ravel(), minlength=len(CLASSES))[:len(CLASSES)]
    shown = [WORDS[CLASSES[i]] for i in np.argsort(-pixels, kind='stable')
             if pixels[i] >= PRESENT * labels.size]
    return (*shown, *([f'{shown[0]} neben {shown[1]}'] if len(shown) > 1 else []))


def write(folder: Path, streets: int) -> int:
    """Write parts of so many streets, and their captions, into a folder; return how many."""
    pictures = folder / 'pictures'
    pictures.mkdir(parents=True, exist_ok=True)
    lines = []
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + streets), 'Rendering', disable=None):
        for number, part in enumerate(parts(seed)):
            name = f'{seed}-{number}.png'
            cv2.imwrite(str(pictures / name), cv2.cvtColor(part.rgb, cv2.COLOR_RGB2BGR))
            lines.append(json.dumps({'picture': name, 'captions': part.captions}))
    (folder / 'captions.jsonl').write_text('\n'.join(lines) + '\n')
    return len(lines)


def measure(model: str, streets: int) -> np.ndarray:
    """Return the IoU of each class by its German word, (classes,) float64, on unseen streets."""
    segmenter = Segmenter.load(model)
    words = segmenter.encode(_vocabulary(), PROMPTS)
    matrix = np.zeros((len(CLASSES), len(CLASSES) + 1), np.int64)
    for seed in tqdm(_measured(streets), model, disable=None):
        frame = _street(seed)
        labels = segmenter.segment(frame.rgb, words).labels
        matrix += confusion(frame.labels, labels, len(CLASSES))
    return iou(matrix)


def picture(models: Sequence[str], streets: int) -> np.ndarray:
    """Return unseen streets below each other, each beside what the models say, (H, W, 3) uint8."""
    frames = [_street(seed).rgb for seed in _measured(streets)]
    columns, vocabulary = [np.vstack(frames)], _vocabulary()
    for model in models:
        segmenter = Segmenter.load(model)
        words = segmenter.encode(vocabulary, PROMPTS)
        overlays = []
        for rgb in frames:
            labels = segmenter.segment(rgb, words).labels
            overlays.append(draw.overlay(rgb, labels, vocabulary.colors, _ALPHA))
            draw.draw_key(overlays[-1], vocabulary.names, vocabulary.colors, labels)
        columns.append(np.vstack(overlays))
    return np.hstack(columns)


def _street(seed: int) -> Frame:
    return HardScene(seed).render(_TIME)


def _measured(streets: int) -> range:
    return range(FIRST_MEASURED_SEED, FIRST_MEASURED_SEED + streets)


def _vocabulary() -> Vocabulary:
    return Vocabulary.parse([WORDS[name] for name in CLASSES])


def main(args: Sequence[str] | None = None) -> int:
    """Do one part of the lesson; return the exit status."""
    options = make_parser().parse_args(args)
    try:
        if options.command == 'write':
            print(f'{options.folder}: {write(options.folder, options.streets)} pictures')
        elif options.command == 'measure':
            for model in options.models:
                print(f'{model}: mIoU {np.nanmean(measure(model, options.streets)):.3f}')
        else:
            drawn = cv2.cvtColor(picture(options.models, options.streets), cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(options.file), drawn):
                raise OSError(f'{options.file} cannot be written')
    except (ModelError, OSError) as error:
        print(f'lesson: {error}', file=sys.stderr)
        return 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='python -m csa_ros.demo.lesson', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    writing = commands.add_parser('write', help='write pictures and captions')
    writing.add_argument('folder', type=Path)
    measuring = commands.add_parser('measure', help='measure models on unseen streets')
    drawing = commands.add_parser('draw', help='draw what models say of unseen streets')
    drawing.add_argument('file', type=Path, help='.jpg or .png')
    for command, streets in ((writing, 100), (measuring, 12), (drawing, 2)):
        command.add_argument('--streets', type=int, default=streets,
                             help='how many (default: %(default)s)')
    for command in (measuring, drawing):
        command.add_argument('models', nargs='+', help='as for the node')
    return parser


if __name__ == '__main__':
    sys.exit(main())
