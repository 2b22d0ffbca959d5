"""
The training itself: from a model, pictures and captions to a file with weights.

A part, as `csa_ros.training.resuming` has it, is an epoch.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
from typing import Any

from csa_ros.model.backbone import Backbone
from csa_ros.model.towers.architecture import expected_weights
from csa_ros.training import held_out
from csa_ros.training import optimizer
from csa_ros.training.checkpoint import write_weights
from csa_ros.training.choices import PATCHES
from csa_ros.training.errors import TrainingError
from csa_ros.training.features import Encoder
from csa_ros.training.objective import Objective
from csa_ros.training.pairs import Pair
from csa_ros.training.pictures import Batch
from csa_ros.training.pictures import batches
from csa_ros.training.pictures import Pictures
from csa_ros.training.pictures import Turn
from csa_ros.training.pictures import turns
from csa_ros.training.resuming import Resumable
import torch

SAVE_SECONDS = 300.0
_CLIP_NORM = 1.0
_PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


@dataclass(frozen=True)
class Plan:
    """
    How a model is trained.

    `part` is one of `csa_ros.training.choices.PARTS`, `losses` are some of
    `csa_ros.training.choices.LOSSES`, `batch` pictures are compared in a step, `rate` is the
    peak learning rate, `held_out` the share of the pictures that is not learnt from, and
    `precision` (fp32, bf16 or fp16) what the towers compute in.
    """

    part: str
    losses: tuple[str, ...]
    epochs: int
    batch: int
    rate: float
    held_out: float
    seed: int
    precision: str


class Training(Resumable[Batch]):
    """
    A training of a model on pairs, which leaves its weights in the file `out`.

    `backbone` is on its device in float32; its weights change. Raises TrainingError for what
    cannot be trained.
    """

    def __init__(self, backbone: Backbone, pairs: Sequence[Pair], plan: Plan, out: Path,
                 workers: int = 0) -> None:
        self._backbone, self._plan, self._workers = backbone, plan, workers
        learnt, held = held_out.split(len(pairs), plan.held_out, plan.seed)
        self._check(len(learnt), len(held))
        size = backbone.image_size
        self._learnt = Pictures([pairs[i] for i in learnt], size, plan.seed)
        self._held = Pictures([pairs[i] for i in held], size, plan.seed) if held else None
        self._per_epoch = len(learnt) // plan.batch
        super().__init__(
            out, {'model': backbone.name, 'identity': backbone.identity, 'pairs': _digest(pairs),
                  **asdict(plan), 'losses': list(plan.losses)},
            plan.epochs * self._per_epoch, SAVE_SECONDS)
        self._encoder = Encoder(backbone, plan.part != 'words', _PRECISIONS[plan.precision],
                                set(plan.losses) != {PATCHES})
        self._objective = Objective(plan.losses).to(backbone.device)
        self._parameters = optimizer.learning(backbone.clip, plan.part)
        for parameter in self._parameters.values():
            parameter.requires_grad_(True)
        self._optimizer = torch.optim.AdamW(
            optimizer.groups(self._parameters.items(), optimizer.DECAY), betas=(0.9, 0.98))
        # Small gradients vanish in fp16 alone.
        self._scaler = _scaler(plan.precision == 'fp16')

    def _check(self, learnt: int, held: int) -> None:
        of_all = f' ({held} of {learnt + held} are held out)' if held else ''
        if learnt < 2:
            raise TrainingError(f'there are {learnt} pictures to learn from{of_all}: captions are '
                                'compared among pictures, so give at least 2, or --held-out 0')
        if self._plan.batch > learnt:
            raise TrainingError(f'--batch is {self._plan.batch} and there are {learnt} pictures '
                                f'to learn from{of_all}: give at most {learnt}, or more pictures')

    def _begin(self) -> None:
        chosen = turns(len(self._learnt), self._plan.batch, self._plan.seed, 0, 1)
        for batch in batches(self._learnt, chosen, 0):
            with torch.no_grad():
                self._objective.fit(self._encoder(batch.frames, batch.captions))

    def _left(self) -> Iterator[Batch]:
        chosen = turns(len(self._learnt), self._plan.batch, self._plan.seed, self._step,
                       self._steps)
        return batches(self._learnt, chosen, self._workers)

    def _learn(self, given: Batch) -> float:
        for group in self._optimizer.param_groups:
            group['lr'] = self._plan.rate * optimizer.one_cycle(self._step / self._steps)
        loss = self._objective(self._encoder(given.frames, given.captions))
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), _CLIP_NORM)
        # In fp16 the scaler leaves out a step whose gradient is too large.
        if not loss.isfinite() or not (norm.isfinite() or self._scaler.is_enabled()):
            kept = (f'{self._out} has the weights of epoch {self._history[-1]["epoch"]}'
                    if self._out.exists() else 'no weights were written')
            raise TrainingError(
                f'the loss is {loss.item():g} and its gradient {norm.item():g} at step '
                f'{self._step}: {kept}. Give a lower --rate than {self._plan.rate:g}, or '
                f'--precision fp32, and another --out')
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.item()

    def _ends_part(self) -> bool:
        return self._step % self._per_epoch == 0

    def _figures(self) -> dict[str, Any]:
        epoch = self._step // self._per_epoch
        entry: dict[str, Any] = {'epoch': epoch}
        if epoch:
            entry['loss'] = self._losses / self._per_epoch
        if self._held is not None:
            count = len(self._held)
            chosen: list[list[Turn]] = [
                [(None, i) for i in range(first, min(first + self._plan.batch, count))]
                for first in range(0, count, self._plan.batch)]
            figures = held_out.measure(
                self._encoder, self._objective, batches(self._held, chosen, 0),
                [self._held.captions((None, i)) for i in range(count)])
            entry['held_out'] = figures._asdict()
        return entry

    def _describe(self, entry: dict[str, Any]) -> str:
        return describe(entry, self._plan.epochs)

    def _state(self) -> dict[str, Any]:
        return {'weights': {name: value.detach() for name, value in self._parameters.items()},
                'objective': self._objective.state_dict(),
                'optimizer': self._optimizer.state_dict(), 'scaler': self._scaler.state_dict()}

    def _restore(self, state: dict[str, Any]) -> None:
        self._backbone.clip.load_state_dict(state['weights'], strict=False)
        self._objective.load_state_dict(state['objective'])
        self._optimizer.load_state_dict(state['optimizer'])
        self._scaler.load_state_dict(state['scaler'])

    def _write_weights(self) -> None:
        write_weights(self._out, expected_weights(self._backbone.clip))


def describe(entry: dict[str, Any], epochs: int) -> str:
    """Return an entry of the history as a line."""
    parts = [f'epoch {entry["epoch"]} of {epochs}']
    if 'loss' in entry:
        parts.append(f'loss {entry["loss"]:.3f}')
    held = entry.get('held_out')
    if held:
        parts.append(
            f'held out: loss {held["loss"]:.3f}, found captions {held["captions"]:.0%} and '
            f'pictures {held["pictures"]:.0%}, by patches {held["patches_captions"]:.0%} and '
            f'{held["patches_pictures"]:.0%}')
    return ', '.join(parts)


def _scaler(enabled: bool) -> torch.cuda.amp.GradScaler:
    # PyTorch 2.3 has moved it, and warns of its old place.
    kind = getattr(torch.amp, 'GradScaler', None) or torch.cuda.amp.GradScaler
    return kind(enabled=enabled)


def _digest(pairs: Sequence[Pair]) -> str:
    rows = json.dumps([(pair.name, pair.captions) for pair in pairs])
    return hashlib.sha256(rows.encode()).hexdigest()[:16]
