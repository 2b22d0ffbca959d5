r"""
Trains the bundled demo model: a small CLIP that learns street words from captions of crops.

Nothing but whole-crop captions supervises it, as CLIP is trained. Its attention is the ordinary
one, until in the last two stages the text tower alone learns, still from captions, what the
patches mean that Correlative Self-Attention gives.

    python -m csa_ros.demo.train tokens --output tokens
    python -m csa_ros.demo.train patches --start tokens --output patches
    python -m csa_ros.demo.train words --start patches --output words
    python -m csa_ros.demo.train rare-words --start words --skip 1400 --scenes 700

The first stage of the bundled weights took 81 minutes on one and two cores of an AMD EPYC: 6000
steps, on plain streets alone, in an earlier version. The next two took 169 and 23 seconds on an
NVIDIA H200, which four other trainings shared, and rendering 48 seconds on its 16 cores; they were
one run by the clock, so that these commands repeat its stages and not its random numbers. The last
took 9 minutes on one core of a busy AMD EPYC: 2 for the patches of 16384 crops, computed once and
drawn again and again, where the command cuts new ones.
`csa_ros.tools.evaluate --dataset demo` measures the result.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
import itertools
import json
import os
from pathlib import Path
import time
from typing import Any

from csa_ros.demo import validation
from csa_ros.demo.crops import Batch
from csa_ros.demo.crops import Crops
from csa_ros.demo.crops import View
from csa_ros.demo.crops import view_of
from csa_ros.demo.hard import HardScene
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
from csa_ros.demo.scenes import Scene
from csa_ros.model.backbone import Backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.text import templates
from csa_ros.training.losses import balanced_sigmoid_loss
from csa_ros.training.losses import pooled_logits
from csa_ros.training.optimizer import DECAY
from csa_ros.training.optimizer import groups
from csa_ros.training.optimizer import one_cycle
import cv2
import numpy as np
import open_clip
from safetensors.torch import load_file
from safetensors.torch import save_file
import torch
from torch import Tensor
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset
from tqdm import tqdm

WEIGHTS = Path(__file__).parent / 'weights'
# `scenes.EVALUATION_SEEDS` are unseen, for the evaluation, and `validation.SEEDS` for choosing;
# training starts beyond them.
FIRST_TRAINING_SEED = 1000

MODEL: dict[str, Any] = {
    'embed_dim': 128,
    'vision_cfg': {'image_size': 64, 'layers': 4, 'width': 192, 'head_width': 48, 'patch_size': 8},
    'text_cfg': {'context_length': 24, 'vocab_size': 49408, 'width': 128, 'heads': 4, 'layers': 2},
}
PREPROCESS = {'mean': (0.45, 0.45, 0.45), 'std': (0.25, 0.25, 0.25)}
# Best on scenes of `validation.SEEDS` among those with which two CPU cores keep up.
SHORT_SIDE, STRIDE = 384, 56

# Share of the patches that each crop loses while the image tower learns.
PATCH_DROPOUT = 0.5
# How much the mean of the patches counts at first in the stage of tokens.
MEAN_SHARE = 0.5
SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Stage:
    """
    What a stage learns, and how many steps of how many crops at which peak rate by default.

    `prior` is that of `balanced_sigmoid_loss`.
    """

    purpose: str
    steps: int
    batch: int
    rate: float
    prior: float


STAGES = {
    'tokens': Stage('both towers, from class tokens and, at first, the mean of the patches',
                    4500, 128, 1e-3, 0.0),
    'patches': Stage('both towers, from class tokens and the patches that show a caption best',
                     2842, 512, 1e-3, 0.5),
    'words': Stage('the text tower alone, from the patches that CSA gives', 350, 512, 1e-3, 0.5),
    # Before, half of what cars, people and bicycles cover went to the ground around them.
    'rare-words': Stage('the same, with more weight for what is seldom seen', 150, 512, 5e-4,
                        -0.25),
}
# In which the image tower stays what it is.
WORDS = ('words', 'rare-words')


class Renders(Dataset):
    """
    The training scenes by their number from 0, each at a random moment of its drive.

    Every other one is a hard one. The first `skip` of them are left out.
    """

    def __init__(self, scenes: int, skip: int = 0) -> None:
        self._scenes, self._skip = scenes, skip

    def __len__(self) -> int:
        return self._scenes

    def __getitem__(self, index: int) -> View:
        index += self._skip
        seed = FIRST_TRAINING_SEED + index
        street = HardScene(seed) if index % 2 else Scene(seed)
        return view_of(street.render(time=seed % 7 * 1.7), seed)


def render_all(scenes: int, workers: int, skip: int = 0) -> list[View]:
    """Render `scenes` training scenes, after `skip` others, in `workers` processes."""
    # Forked workers would start sooner, and hang where a library has threads already.
    loader = DataLoader(Renders(scenes, skip), batch_size=None, num_workers=workers,
                        collate_fn=as_it_is, worker_init_fn=use_one_thread,
                        multiprocessing_context='spawn' if workers else None)
    return list(tqdm(loader, 'Rendering'))


def as_it_is(view: Any) -> Any:
    """Return what a loader would turn into tensors."""
    return view


def use_one_thread(_: int) -> None:
    """Keep a worker from starting a thread for every core."""
    cv2.setNumThreads(1)


class Clock:
    """
    How far a training of so many steps, or minutes from the first on, is.

    With minutes it ends in time on any machine, but no two runs are alike.
    """

    def __init__(self, steps: int, minutes: float | None) -> None:
        self._steps, self._minutes = steps, minutes
        self._start: float | None = None

    def progress(self, step: int) -> float:
        """Return the share that is over before a step, counted from 0; 1 or more is the end."""
        if self._minutes is None:
            return step / self._steps
        if self._start is None:
            self._start = time.monotonic()
        return (time.monotonic() - self._start) / (60 * self._minutes)


def normalise(images: Tensor) -> Tensor:
    """Turn images (N, 3, H, W) in 0..1 into the input of the tower."""
    mean, std = (torch.tensor(PREPROCESS[key], device=images.device).view(3, 1, 1)
                 for key in ('mean', 'std'))
    return (images - mean) / std


def towers_loss(model: open_clip.CLIP, batch: Batch, stage: str, progress: float) -> Tensor:
    """Compare captions with class tokens and with patches, by ordinary attention."""
    # Half precision where it is fast; the losses need more.
    with torch.autocast(batch.images.device.type, torch.bfloat16, batch.images.is_cuda):
        image, patches = model.visual(normalise(batch.images))
        patches = patches @ model.visual.proj
        text = model.encode_text(batch.tokens)
    text = F.normalize(text.float(), dim=-1)
    prior = STAGES[stage].prior

    def compare(features: Tensor) -> Tensor:
        cosines = F.normalize(features.float(), dim=-1) @ text.T
        logits = cosines * model.logit_scale.exp() + model.logit_bias
        return balanced_sigmoid_loss(logits, batch.truth, prior)

    if stage == 'tokens':
        # The class token alone leaves the patches' features to chance in so small a tower; the
        # mean of the patches, which fades out of the loss, sets them on the way.
        share = MEAN_SHARE * (1 - progress)
        return compare(image) + share * compare(patches.mean(dim=1))
    patches = F.normalize(patches.float(), dim=-1)
    return compare(image) + balanced_sigmoid_loss(pooled_logits(patches, text), batch.truth, prior)


def words_loss(model: open_clip.CLIP, encoder: DenseEncoder, batch: Batch, stage: str) -> Tensor:
    """Compare captions with the patches of an encoder, which learns nothing."""
    with torch.no_grad():
        patches = encoder.forward(normalise(batch.images)).flatten(1, 2)
    text = model.encode_text(batch.tokens, normalize=True)
    return balanced_sigmoid_loss(pooled_logits(patches, text), batch.truth, STAGES[stage].prior)


def build_model(seed: int) -> open_clip.CLIP:
    """Build the untrained model."""
    torch.manual_seed(seed)
    vision = MODEL['vision_cfg'] | {'patch_dropout': PATCH_DROPOUT}
    model = open_clip.CLIP(**MODEL | {'vision_cfg': vision}, init_logit_scale=np.log(10),
                           init_logit_bias=-2.0)
    model.visual.output_tokens = True
    return model


def backbone_of(model: open_clip.CLIP, tokenizer: open_clip.SimpleTokenizer) -> Backbone:
    """Return a model as it is segmented with."""
    return Backbone.of_clip(model, tokenizer, PREPROCESS['mean'], PREPROCESS['std'], 'demo',
                            'in training', SHORT_SIDE, STRIDE)


def parameters_of(model: open_clip.CLIP, stage: str) -> list[dict[str, Any]]:
    """Return what learns in a stage, in groups for the optimizer."""
    named = [(name, parameter) for name, parameter in model.named_parameters()
             if stage not in WORDS or not name.startswith(('visual.', 'logit_'))]
    return groups(named, 0.0 if stage in WORDS else DECAY)


def save(model: open_clip.CLIP, folder: Path) -> None:
    """Write the weights, in half precision, and the model's open_clip configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    partial_file = folder / 'model.safetensors.partial'
    save_file(state, partial_file)
    partial_file.replace(folder / 'model.safetensors')
    config = {'model_cfg': MODEL, 'preprocess_cfg': PREPROCESS, 'short_side': SHORT_SIDE,
              'stride': STRIDE}
    (folder / 'open_clip_config.json').write_text(json.dumps(config, indent=2) + '\n')


def describe(backbone: Backbone, streets: Sequence[Frame]) -> str:
    """Say how well a model segments streets, with CSA and with the attention of its training."""
    csa, vanilla = (validation.class_iou(backbone, attention, streets)
                    for attention in ('csa', 'vanilla'))
    classes = ', '.join(f'{name} {value:.2f}' for name, value in zip(CLASSES, csa))
    return (f'mIoU {np.nanmean(csa):.3f} with CSA, {np.nanmean(vanilla):.3f} with ordinary '
            f'attention; {classes}')


def feed(crops: Crops, count: int, clock: Clock) -> Iterator[tuple[float, Batch]]:
    """Yield the share of the training that is over, and a batch of `count` crops, to the end."""
    for step in itertools.count():
        progress = clock.progress(step)
        if progress >= 1:
            return
        yield progress, crops.batch(count)


def fit(backbone: Backbone, stage: str, batches: Iterable[tuple[float, Batch]], rate: float,
        keep: Callable[[], None]) -> None:
    """Train a model with what `feed` yields, and call `keep` now and then and at the end."""
    model = backbone.clip.train()
    encoder = DenseEncoder(backbone, 'csa')
    learning = parameters_of(model, stage)
    parameters = [parameter for group in learning for parameter in group['params']]
    optimizer = torch.optim.AdamW(learning, betas=(0.9, 0.98), fused=parameters[0].is_cuda)
    kept = time.monotonic()
    for progress, batch in batches:
        for group in optimizer.param_groups:
            group['lr'] = rate * one_cycle(progress)
        loss = (words_loss(model, encoder, batch, stage) if stage in WORDS
                else towers_loss(model, batch, stage, progress))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if time.monotonic() - kept > SAVE_SECONDS:
            keep()
            kept = time.monotonic()
    keep()


def train(arguments: argparse.Namespace) -> None:
    """Train as the arguments say."""
    device = torch.device(arguments.device)
    views = render_all(arguments.scenes, arguments.workers, arguments.skip)
    tokenizer = open_clip.SimpleTokenizer(context_length=MODEL['text_cfg']['context_length'])
    crops = Crops(views, tokenizer, templates('imagenet80'), MODEL['vision_cfg']['image_size'],
                  arguments.seed, device)
    model = build_model(arguments.seed).to(device)
    if arguments.start:
        model.load_state_dict(load_file(arguments.start / 'model.safetensors'))
    backbone = backbone_of(model, tokenizer)
    streets = validation.streets()

    def keep() -> None:
        save(model, arguments.output)
        model.eval()
        tqdm.write(describe(backbone, streets))
        model.train()

    clock = Clock(arguments.steps, arguments.minutes)
    total = None if arguments.minutes else arguments.steps
    batches = tqdm(feed(crops, arguments.batch, clock), 'Training', total)
    fit(backbone, arguments.stage, batches, arguments.rate, keep)


def main(args: Sequence[str] | None = None) -> None:
    """Train."""
    arguments = parse(args)
    defaults = STAGES[arguments.stage]
    for name in ('steps', 'batch', 'rate'):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(defaults, name))
    train(arguments)


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; exit with what is wrong with them."""
    parser = argparse.ArgumentParser(prog='python -m csa_ros.demo.train', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('stage', choices=STAGES, help='; '.join(
        f'{name}: {stage.purpose}' for name, stage in STAGES.items()))
    parser.add_argument('--start', type=Path, help='folder of weights to go on from')
    parser.add_argument('--output', type=Path, default=WEIGHTS, help='folder for the weights')
    parser.add_argument('--steps', type=int, help="(default: the stage's)")
    parser.add_argument('--minutes', type=float,
                        help='train for so long instead, rendering not counted; no two such runs '
                        'are alike')
    parser.add_argument('--batch', type=int, help="crops in a step (default: the stage's)")
    parser.add_argument('--rate', type=float, help="peak learning rate (default: the stage's)")
    parser.add_argument('--scenes', type=int, default=1400, help='scenes to crop from')
    parser.add_argument('--skip', type=int, default=0,
                        help='scenes to leave out before, such as those of an earlier stage')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu',
                        help='cpu or cuda (default: cuda if there is one)')
    parser.add_argument('--workers', type=int, default=len(os.sched_getaffinity(0)),
                        help='processes that render (default: one a core)')
    arguments = parser.parse_args(args)
    for name, least in (('steps', 1), ('minutes', 0.01), ('batch', 2), ('rate', 0), ('scenes', 1),
                        ('skip', 0), ('seed', 0), ('workers', 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            parser.error(f'--{name} is {value}: it must be at least {least}')
    if arguments.start and not (arguments.start / 'model.safetensors').is_file():
        parser.error(f'--start is {arguments.start}: there is no model.safetensors in it, name a '
                     'folder that an earlier stage has written')
    if arguments.stage != 'tokens' and not arguments.start:
        parser.error(f'stage {arguments.stage} goes on from an earlier one: name the folder of '
                     'its weights with --start')
    return arguments


if __name__ == '__main__':
    main()
