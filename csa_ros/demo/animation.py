"""
Draws the animation at the top of the README: a street, its overlay, and the words changing.

    python -m csa_ros.demo.animation docs/demo.webp

The street and the labels are those of `scripts/demo`, computed here without ROS, so that the same
model and seed give the same pictures.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import sys

from csa_ros import draw
from csa_ros.demo.hard import demo_street
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np
from PIL import features
from PIL import Image

FRAMES_PER_SECOND = 8
# Of each of the two pictures, which stand side by side.
SIZE = (400, 300)
# A new command is typed in as long before it is entered.
TYPING = 1.2
# As the node's own default.
ALPHA = 0.5
_QUALITY = 40
# In pixels, but for the scale of the font, which OpenCV gives no unit.
_LINE, _MARGIN, _SCALE, _LARGER = 22, 8, 0.42, 4
_PROMPT, _CURSOR = '$ ', '_'
_TERMINAL, _TEXT = (24, 24, 28), (232, 232, 232)


@dataclass(frozen=True)
class Scenario:
    """What is typed, line by line, and the words that are in force from then on."""

    command: tuple[str, ...]
    vocabulary: Vocabulary


def _set(*entries: str) -> Scenario:
    words = f'"[{", ".join(entries)}]"'
    return Scenario(('ros2 param set /segment vocabulary \\', words), Vocabulary.parse(entries))


SCENARIOS = (
    Scenario(('ros2 launch csa_ros segment.launch.py demo:=true',),
             Vocabulary.parse(DEFAULT_VOCABULARY)),
    _set('sky', 'street=road', 'plants=tree|grass', 'vehicle=car|bus|truck', 'person', 'building',
         'pavement'),
    _set('road', 'obstacle=car|bus|truck|person|traffic cone',
         'background=sky|building|tree|grass'),
)


def frames(segmenter: Segmenter, seed: int, seconds: float) -> Iterator[np.ndarray]:
    """
    Yield the pictures, (H, W, 3) uint8: the image, the overlay, and the command below them.

    The camera drives through the street of `seed`; each scenario is in force for `seconds`.
    """
    scene = demo_street(seed)
    per_scenario = round(seconds * FRAMES_PER_SECOND)
    for number, scenario in enumerate(SCENARIOS):
        words = segmenter.encode(scenario.vocabulary)
        following = SCENARIOS[(number + 1) % len(SCENARIOS)]
        for index in range(per_scenario):
            time = (number * per_scenario + index) / FRAMES_PER_SECOND
            rgb = scene.render(time, SIZE).rgb
            labels = segmenter.segment(rgb, words).labels
            overlay = draw.overlay(rgb, labels, scenario.vocabulary.colors, ALPHA)
            draw.draw_key(
                overlay, scenario.vocabulary.names, scenario.vocabulary.colors, labels)
            left = (per_scenario - index) / FRAMES_PER_SECOND
            yield np.vstack([np.hstack([rgb, overlay]),
                             _terminal(scenario, following, left, 2 * SIZE[0])])


def write(path: Path, pictures: Sequence[np.ndarray]) -> None:
    """
    Write pictures, (H, W, 3) uint8, as an animation that repeats for ever.

    The ending of the name says of which kind: `.webp`, `.gif` or `.png`. Raises ValueError for
    another one, and OSError.
    """
    if path.suffix not in ('.webp', '.gif', '.png'):
        raise ValueError(f'{path} is no animation: use .webp, .gif or .png')
    if path.suffix == '.webp' and not features.check('webp'):
        raise ValueError(f'{path}: this Pillow cannot write WebP: use .gif, or pip install pillow')
    first, *rest = map(Image.fromarray, pictures)
    first.save(path, save_all=True, append_images=rest, duration=1000 // FRAMES_PER_SECOND, loop=0,
               quality=_QUALITY)


def _terminal(scenario: Scenario, following: Scenario, left: float, width: int) -> np.ndarray:
    """
    Return the lines of a terminal, (h, width, 3) uint8.

    They show the last command, and, in the last of the `left` seconds, the next one being typed.
    """
    lines: Sequence[str] = scenario.command
    if left <= TYPING:
        text = '\n'.join(following.command)
        lines = (text[:round(len(text) * (1 - left / TYPING))] + _CURSOR).split('\n')
    height = 2 * _LINE + _MARGIN
    # Drawn larger and averaged down, as text is in the key of the overlay.
    large = np.full((_LARGER * height, _LARGER * width, 3), _TERMINAL, np.uint8)
    for row, (start, line) in enumerate(zip((_PROMPT, ' ' * len(_PROMPT)), lines), 1):
        cv2.putText(large, start + line, (_LARGER * _MARGIN, _LARGER * row * _LINE),
                    cv2.FONT_HERSHEY_SIMPLEX, _LARGER * _SCALE, _TEXT, _LARGER, cv2.LINE_AA)
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)


def main(args: Sequence[str] | None = None) -> int:
    """Write the animation; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n\n')[0].strip())
    parser.add_argument('output', type=Path, help='file to write: .webp, .gif or .png')
    parser.add_argument('--seed', type=int, default=3,
                        help='the street (default: %(default)s)')
    parser.add_argument('--seconds', type=float, default=3.5,
                        help='how long each of the vocabularies is shown (default: %(default)s)')
    options = parser.parse_args(args)
    segmenter = Segmenter.load('demo', device='cpu')
    pictures = list(frames(segmenter, options.seed, options.seconds))
    try:
        write(options.output, pictures)
    except (OSError, ValueError) as error:
        print(f'animation: {error}', file=sys.stderr)
        return 1
    print(f'{options.output}: {len(pictures)} frames, '
          f'{options.output.stat().st_size / 2**20:.1f} MiB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
