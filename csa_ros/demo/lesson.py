"""
A lesson for `train`: fences, which the demo's streets have and its model has no word for.

    python -m csa_ros.demo.lesson write fences
    python -m csa_ros.tools.train --model demo --images fences/pictures \
        --captions fences/captions.jsonl --out fences.safetensors --rate 1e-3
    python -m csa_ros.demo.lesson measure demo demo:fences.safetensors
    python -m csa_ros.demo.lesson draw fences.png demo demo:fences.safetensors

Pictures are parts of streets, as someone would cut them out who looks for fences, and captions say
what is on them. The streets that are measured and drawn are others.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import json
from pathlib import Path
import sys
from typing import Any

from csa_ros import draw
from csa_ros.demo.captions import PRESENT
from csa_ros.demo.hard import HardScene
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
from csa_ros.demo.streets import furniture
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.model.errors import ModelError
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np
from tqdm import tqdm

FENCE = 'fence'
# Neither those of any evaluation or training of the demo, nor those that are measured here.
FIRST_SEED, FIRST_MEASURED_SEED = 3000, 4000
# Seconds after the drive has begun, as in the evaluation.
_TIME = 1.0
# Smallest and largest side of a part, in pixels of a street of 320 x 240.
_SIDES = (32, 120)
_PARTS = 8
_ALPHA = 0.5


class FencedScene(HardScene):
    """A street whose fences have a name."""

    def render(self, *args: Any, **kwargs: Any) -> Frame:
        """Render the street as `HardScene.render` does."""
        frame = super().render(*args, **kwargs)
        names = [FENCE if thing.draw is furniture.fence else thing.name for thing in self._things]
        # Things come last, after the ground, the sky and the buildings.
        return replace(frame, names=(*frame.names[:-len(names)], *names))


@dataclass(frozen=True)
class Part:
    """A part of a street, (side, side, 3) uint8, and what can be said of it."""

    rgb: np.ndarray
    captions: tuple[str, ...]


def truth(frame: Frame) -> np.ndarray:
    """Return the labels of a frame, (H, W) uint8, fences after all other classes."""
    labels = frame.labels.copy()
    labels[_names(frame) == FENCE] = len(CLASSES)
    return labels


def parts(seed: int) -> Iterator[Part]:
    """Yield parts of the street of a seed, every other one around a fence if it has one."""
    frame, random = FencedScene(seed).render(_TIME), np.random.default_rng(seed)
    names = _names(frame)
    fences = np.argwhere(names == FENCE)
    for number in range(_PARTS):
        side = round(np.exp(random.uniform(*np.log(_SIDES))))
        center = random.uniform(0, names.shape)
        if len(fences) and number % 2 == 0:
            center = random.choice(fences) + random.uniform(-0.3, 0.3, 2) * side
        top, left = (int(np.clip(place - side / 2, 0, length - side))
                     for place, length in zip(center, names.shape))
        window = (slice(top, top + side), slice(left, left + side))
        captions = describe(names[window])
        if captions:
            yield Part(frame.rgb[window], captions)


def describe(names: np.ndarray) -> tuple[str, ...]:
    """Return what can be said of pixels with these names, the largest thing first."""
    found, pixels = np.unique(names, return_counts=True)
    shown = [str(found[i]) for i in np.argsort(-pixels, kind='stable')
             if pixels[i] >= PRESENT * names.size and found[i] in (FENCE, *CLASSES)]
    together = [f'a {shown[0]} next to a {shown[1]}'] if len(shown) > 1 else []
    return (*(f'a {name}' for name in shown), *together)


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
    """Return the IoU of each class, (classes + 1,) float64, fences last, on unseen streets."""
    segmenter = Segmenter.load(model)
    words = segmenter.encode(_vocabulary())
    matrix = np.zeros((len(CLASSES) + 1, len(CLASSES) + 2), np.int64)
    for seed in tqdm(_measured(streets), model, disable=None):
        frame = FencedScene(seed).render(_TIME)
        labels = segmenter.segment(frame.rgb, words).labels
        matrix += confusion(truth(frame), labels, len(matrix))
    return iou(matrix)


def picture(models: Sequence[str], streets: int) -> np.ndarray:
    """Return unseen streets below each other, each beside what the models say, (H, W, 3) uint8."""
    frames = [FencedScene(seed).render(_TIME).rgb for seed in _measured(streets)]
    columns, vocabulary = [np.vstack(frames)], _vocabulary()
    for model in models:
        segmenter = Segmenter.load(model)
        words = segmenter.encode(vocabulary)
        overlays = []
        for rgb in frames:
            labels = segmenter.segment(rgb, words).labels
            overlays.append(draw.overlay(rgb, labels, vocabulary.colors, _ALPHA))
            draw.draw_key(overlays[-1], vocabulary.names, vocabulary.colors, labels)
        columns.append(np.vstack(overlays))
    return np.hstack(columns)


def _names(frame: Frame) -> np.ndarray:
    """Return the name of what each pixel shows, (H, W) str."""
    return np.array(frame.names)[frame.instances]


def _measured(streets: int) -> range:
    return range(FIRST_MEASURED_SEED, FIRST_MEASURED_SEED + streets)


def _vocabulary() -> Vocabulary:
    return Vocabulary.parse([*CLASSES, FENCE])


def main(args: Sequence[str] | None = None) -> int:
    """Do one part of the lesson; return the exit status."""
    parser = argparse.ArgumentParser(prog='python -m csa_ros.demo.lesson', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    writing = commands.add_parser('write', help='write pictures and captions')
    writing.add_argument('folder', type=Path)
    measuring = commands.add_parser('measure', help='measure models on unseen streets')
    drawing = commands.add_parser('draw', help='draw what models say of unseen streets')
    drawing.add_argument('file', type=Path)
    for command, streets in ((writing, 150), (measuring, 40), (drawing, 3)):
        command.add_argument('--streets', type=int, default=streets,
                             help='how many (default: %(default)s)')
    for command in (measuring, drawing):
        command.add_argument('models', nargs='+', help='as for the node')
    options = parser.parse_args(args)
    try:
        if options.command == 'write':
            print(f'{options.folder}: {write(options.folder, options.streets)} pictures')
        elif options.command == 'measure':
            for model in options.models:
                *others, fence = measure(model, options.streets)
                print(f'{model}: IoU of {FENCE} {fence:.3f}, mean of the {len(others)} others '
                      f'{np.nanmean(others):.3f}')
        else:
            drawn = picture(options.models, options.streets)
            if not cv2.imwrite(str(options.file), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)):
                raise OSError(f'{options.file} cannot be written')
    except (ModelError, OSError) as error:
        print(f'lesson: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
