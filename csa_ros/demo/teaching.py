"""
The demo of teaching: a word that means nothing is shown in three boxes, and found in later frames.

It goes through the services and parameters that people use. The boxes are drawn as a person would,
around the largest piece of the thing, which is known from the camera's truth.
"""

import json
from pathlib import Path
import re
import time

from csa_ros.demo.listener import DemoError
from csa_ros.demo.listener import Listener
from csa_ros.demo.listener import Score
from csa_ros.demo.watching import change_words
from csa_ros.demo.watching import Running
from csa_ros.demo.watching import save
from csa_ros.demo.watching import spin_until
from csa_ros.demo.watching import START_TIMEOUT
from csa_ros.demo.watching import watch
from csa_ros.labels.score import iou
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np

WORD, MEANT = 'zorblax', 'building'
BOXES = 3
# Seconds in which the street moves on from one box to the next.
DRIVE = 3.0
# What three boxes are to reach; the word alone finds less than half of it.
SANE_IOU = 0.25
TEACH_TIMEOUT = 30.0
# Of a picture, for what is shown: a person would wait for a good view of it, too.
LEAST_SHARE = 0.04

Box = tuple[int, int, int, int]


def show_teaching(listener: Listener, running: Running, output: Path, seconds: float) -> None:
    """Run the demo of teaching from start to end; DemoError if anything is not as it should be."""
    output.mkdir(parents=True, exist_ok=True)
    listener.aliases = {WORD: MEANT}
    print('Waiting for the first labels ...')
    spin_until(listener, running, lambda: listener.score, START_TIMEOUT, 'labels')
    words = [entry for entry in DEFAULT_VOCABULARY
             if Vocabulary.parse([entry]).names != (MEANT,)] + [WORD]
    print(f'Calling a {MEANT} "{WORD}", which means nothing to the model')
    before = change_words(listener, running, words)
    watch(listener, running, before, seconds)
    save(before, output / 'untaught.png')
    after = before
    for number in range(1, BOXES + 1):
        after = _teach(listener, running, number)
    watch(listener, running, after, seconds)
    save(after, output / 'taught.png')
    word, taught = _iou(before), _iou(after)
    print(f'  IoU of "{WORD}": {word:.2f} by the word alone, {taught:.2f} with {BOXES} boxes')
    if not taught > max(SANE_IOU, word):
        raise DemoError(f'the IoU of what was taught is {taught:.2f}: it should be above '
                        f'{SANE_IOU}, and above that of the word alone')


def _teach(listener: Listener, running: Running, number: int) -> Score:
    """Show one box, wait for the first labels that know it, and return their score."""
    box = _draw_box(listener, running)
    listener.set_remote(teach_name=WORD, teach_region=list(map(float, box)))
    before = listener.score
    print(f'  box {number}, {box}: {listener.call("teach")}')
    listener.call('freeze', False)
    after = spin_until(
        listener, running, lambda: listener.score if listener.score is not before else None,
        TEACH_TIMEOUT, 'labels by what was taught')
    taught = {item['name']: item.get('taught') for item in after.legend['classes']}
    if taught[WORD] != number:
        raise DemoError(f'the legend says {json.dumps(taught)}, not that {number} were taught')
    if number < BOXES:
        watch(listener, running, after, DRIVE)
    return after


def _draw_box(listener: Listener, running: Running) -> Box:
    """Freeze an image that shows the thing well, and return a box around it."""
    deadline = time.monotonic() + TEACH_TIMEOUT
    while time.monotonic() < deadline:
        # What the box is drawn on is what is taught, however long that takes.
        answer = listener.call('freeze', True)
        frozen = re.search(r'stamp (\d+)\.(\d{9})', answer)
        if not frozen:
            raise DemoError(f'~/freeze does not say which image it holds: {answer}')
        stamp = int(frozen[1]), int(frozen[2])
        truth, names = spin_until(
            listener, running, lambda: listener.truths.get(stamp), TEACH_TIMEOUT,
            'truth of the frozen image')
        box = largest_box(truth == names.index(MEANT))
        if box:
            return box
        listener.call('freeze', False)
        spin_until(listener, running, lambda: stamp != next(reversed(listener.truths)),
                   TEACH_TIMEOUT, 'other image')
    raise DemoError(f'no {MEANT} was to be seen for {TEACH_TIMEOUT:.0f} s')


def largest_box(mask: np.ndarray) -> Box | None:
    """Return the box of the largest piece of a mask (H, W), None if that is a small one."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    x, y, width, height, area = max(boxes[1:].tolist(), key=lambda box: box[4],
                                    default=(0, 0, 0, 0, 0))
    return (x, y, width, height) if area >= LEAST_SHARE * mask.size else None


def _iou(score: Score) -> float:
    names = [item['name'] for item in score.legend['classes']]
    return float(iou(score.matrix)[names.index(WORD)])
