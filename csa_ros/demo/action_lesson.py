r"""
A lesson for `train_actions`: streets in which something happens that no single picture tells.

    python -m csa_ros.demo.action_lesson write clips
    python -m csa_ros.tools.train_actions --model demo --clips clips --out tr.safetensors
    python -m csa_ros.demo.action_lesson measure actions.json

`measure` trains Tr and adapters on drives, or takes those of the last time from the folder
`--keep`, and measures on other drives how often an action is told that was shown once.
"""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import json
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from typing import Any

from csa_ros.actions import matching
from csa_ros.actions import model as learned
from csa_ros.actions import words as wording
from csa_ros.actions.choices import FRAMES
from csa_ros.actions.choices import LEARNING
from csa_ros.actions.clips import Windows
from csa_ros.actions.errors import ActionError
from csa_ros.actions.frames import fit
from csa_ros.actions.frames import FrameEncoder
from csa_ros.actions.frames import of_changes
from csa_ros.actions.frames import of_class
from csa_ros.actions.learning import encode
from csa_ros.actions.learning import Plan
from csa_ros.actions.learning import Training
from csa_ros.actions.recogniser import WORD_SHARE
from csa_ros.actions.trial import compare_all
from csa_ros.actions.trial import distances_by
from csa_ros.actions.trial import few_shot
from csa_ros.actions.trial import GROUPS
from csa_ros.demo.acting import ACTIONS
from csa_ros.demo.acting import ActionStreet
from csa_ros.demo.acting import OPPOSITES
from csa_ros.demo.acting import SECONDS
from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.text import TextEncoder
from csa_ros.training.errors import TrainingError
import cv2
import numpy as np
import torch
from tqdm import tqdm

# Of no other training or evaluation of the demo. Each clip has a street of its own.
FIRST_SEED, FIRST_MEASURED_SEED = 20000, 10000
# In pixels: enough for the demo's model, whose pictures are of 64.
_SMALL = (96, 72)
# How the two are trained: the rest is as `train_actions` has it.
EPISODES = {'clip-fsar': 600, 'ma-clip': 300}
WAY, HELD_OUT = 5, 0.2
# Of words in CLIP-FSAR's COMBINE.
PUBLISHED_SHARE = 0.9


def write(folder: Path, drives: int) -> int:
    """Write clips of so many drives for each action, as pictures, into a folder; how many."""
    for number, action in tqdm(_clips(drives), 'Rendering', disable=None):
        clip = folder / action / f'{number:04d}'
        clip.mkdir(parents=True, exist_ok=True)
        for place, rgb in enumerate(_street(FIRST_SEED, number, action).clip()):
            if not cv2.imwrite(str(clip / f'{place:02d}.jpg'), rgb[:, :, ::-1]):
                raise OSError(f'{clip} cannot be written to')
    return drives * len(ACTIONS)


def windows(first: int, drives: int, size: int) -> Windows:
    """Return what a tower sees of so many drives for each action, from a seed on."""
    pixels = [torch.stack([fit(rgb, size) for rgb in _street(first, number, action).clip(
        _SMALL, FRAMES / SECONDS)])
        for number, action in tqdm(_clips(drives), 'Rendering', disable=None)]
    labels = torch.tensor([ACTIONS.index(action) for _, action in _clips(drives)])
    return Windows(torch.stack(pixels), labels, ACTIONS)


def _clips(drives: int) -> list[tuple[int, str]]:
    return [(number, action) for number in range(drives) for action in ACTIONS]


def _street(first: int, number: int, action: str) -> ActionStreet:
    return ActionStreet(first + number * len(ACTIONS) + ACTIONS.index(action), action)


def measure(drives: int, measured: int, keep: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """
    Return how often actions of unseen drives are told by each method; the result is for JSON.

    `drives` are learnt from, `measured` are unseen, each of so many drives for each action.
    `keep` is a folder for weights; those that are there are not trained again.
    """
    backbone = load_backbone('demo', precision='fp32')
    words = wording.encode(TextEncoder(backbone), ACTIONS, '', backbone.embed_dim,
                           backbone.device)
    learnt: list[Windows] = []
    models = {}
    for method in LEARNING:
        path = keep / f'{method}.safetensors'
        plan = Plan(method, EPISODES[method], WAY, 1, LEARNING[method].rate, HELD_OUT, 0)
        if not path.exists():
            learnt = learnt or [windows(FIRST_SEED, drives, backbone.image_size)]
            Training(backbone, learnt[0], words, plan, path).run(say)
        models[method] = learned.load(path, backbone, method)
    unseen = windows(FIRST_MEASURED_SEED, measured, backbone.image_size)
    encoder = FrameEncoder(backbone)
    features = encode(encoder, unseen.pixels)
    changes, text = of_changes(features), words.features[unseen.labels]
    found = {
        'mean': compare_all(features, features, matching.mean_distances),
        'clip-fsar': compare_all(changes, changes, matching.ordered_distances),
        **{f'{method}, trained': distances_by(model, encoder, unseen.pixels, features, text)
           for method, model in models.items()}}
    scale = float(backbone.clip.logit_scale.exp())
    said = matching.word_logits(of_class(features), words.features, scale).cpu().numpy()
    labels = unseen.labels.numpy()
    return {'actions': list(ACTIONS), 'drives': drives, 'measured': measured,
            'episodes': EPISODES, 'way': WAY, 'groups': GROUPS,
            'words': _accuracies(-said[:, labels], labels),
            'methods': {name: {
                'shown': _accuracies(distances, labels),
                **{f'combined {share:g}': _accuracies(
                    _combined(said[:, labels], distances, share, by), labels)
                    for share, by in ((WORD_SHARE, scale), (PUBLISHED_SHARE, 1.0))}}
                for name, distances in found.items()}}


def _combined(said: np.ndarray, distances: np.ndarray, share: float, scale: float) -> np.ndarray:
    """Return what orders clips as COMBINE does, (N, N): its logarithm but for a constant."""
    return (1 - share) * scale * distances / FRAMES - share * said


def _accuracies(distances: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Return the accuracy of all actions, and of each pair that are the same backwards."""
    found = {f'one of {WAY}': few_shot(distances, labels, WAY)}
    for name, pair in OPPOSITES.items():
        actions = [ACTIONS.index(each) for each in pair]
        found[name] = few_shot(distances, labels, 2, actions=actions)
    return {name: [round(value, 4) for value in accuracy] for name, accuracy in found.items()}


def main(args: Sequence[str] | None = None) -> int:
    """Do one part of the lesson; return the exit status."""
    parser = make_parser()
    options = parser.parse_args(args)
    for name, least in (('drives', 5), ('measured', 2 * GROUPS)):
        if getattr(options, name, least) < least:
            parser.error(f'--{name} is {getattr(options, name)}: it must be at least {least}')
    try:
        if options.command == 'write':
            print(f'{options.folder}: {write(options.folder, options.drives)} clips')
            return 0
        with TemporaryDirectory() as folder:
            keep = options.keep or Path(folder)
            keep.mkdir(parents=True, exist_ok=True)
            result = measure(options.drives, options.measured, keep,
                             lambda text: print(text, file=sys.stderr, flush=True))
        options.file.write_text(json.dumps(result, indent=1) + '\n')
        print(describe(result))
    except (ActionError, ModelError, OSError, TrainingError) as error:
        print(f'action_lesson: {error}', file=sys.stderr)
        return 1
    return 0


def describe(result: dict[str, Any]) -> str:
    """Return a result of `measure` as a table in markdown, in per cent."""
    rows = [['words alone', *_cells(result['words'])]]
    for kind, said in (('shown', ''), (f'combined {WORD_SHARE:g}', ', with words')):
        rows += [[f'{method}{said}', *_cells(found[kind])]
                 for method, found in result['methods'].items()]
    header = ['told by', *result['words']]
    return '\n'.join(f'| {" | ".join(row)} |' for row in (header, ['---'] * len(header), *rows))


def _cells(found: dict[str, Sequence[float]]) -> list[str]:
    return [f'{100 * share:.1f} ± {100 * margin:.1f}' for share, margin in found.values()]


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='python -m csa_ros.demo.action_lesson',
                                     description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    writing = commands.add_parser('write', help='write clips')
    writing.add_argument('folder', type=Path)
    measuring = commands.add_parser('measure', help='train, and measure on unseen drives')
    measuring.add_argument('file', type=Path, help='file for the figures: .json')
    measuring.add_argument('--keep', type=Path, metavar='DIR',
                           help='folder for the weights; those in it are not trained again')
    measuring.add_argument('--measured', type=int, default=40,
                           help='unseen drives for each action, at least 20 (default: '
                           '%(default)s)')
    for command in (writing, measuring):
        command.add_argument('--drives', type=int, default=50,
                             help='drives for each action to learn from (default: %(default)s)')
    return parser


if __name__ == '__main__':
    sys.exit(main())
