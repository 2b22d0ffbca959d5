"""
The training of what compares clips: from a model and clips of actions to a file of weights.

It goes by episodes, and what `csa_ros.training.resuming` calls a part are REPORT of them.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
import hashlib
from itertools import repeat
from pathlib import Path
from typing import Any

from csa_ros.actions import matching
from csa_ros.actions import model as learned
from csa_ros.actions.clips import Windows
from csa_ros.actions.episodes import draw
from csa_ros.actions.episodes import Episode
from csa_ros.actions.frames import FrameEncoder
from csa_ros.actions.frames import of_class
from csa_ros.actions.model import ActionModel
from csa_ros.actions.trial import accuracy
from csa_ros.actions.trial import distances_by
from csa_ros.actions.words import Words
from csa_ros.model.backbone import Backbone
from csa_ros.training import optimizer
from csa_ros.training.checkpoint import write_weights
from csa_ros.training.errors import TrainingError
from csa_ros.training.resuming import Resumable
import numpy as np
import torch
from torch import nn
from torch import Tensor
from torch.nn import functional as F

SAVE_SECONDS = 120.0
# Episodes after which the model is measured and kept.
REPORT = 100
# Episodes by which it is measured.
MEASURED = 200
# Clips of each action that are asked about in an episode.
QUERIES = 1
# Of the loss by words, beside that by what was shown.
WORD_WEIGHT = 0.1
_CLIP_NORM = 1.0
_BATCH = 32


@dataclass(frozen=True)
class Plan:
    """
    How a model learns to compare clips.

    `method` is clip-fsar (Tr) or ma-clip (adapters and Tr); an episode has `way` actions and
    shows `shot` clips of each; `rate` is the peak learning rate, `held_out` the share of the
    clips of each action that is not learnt from.
    """

    method: str
    episodes: int
    way: int
    shot: int
    rate: float
    held_out: float
    seed: int


class Comparison(nn.Module):
    """
    How unlike the clips of an episode are, by a model, and what they have to do with words.

    `words` are those of all actions, `labels` (N,) the actions of clips. CLIP's features of
    `pixels` (N, frames, 3, size, size) uint8 are made once.
    """

    def __init__(self, model: ActionModel, words: Words, encoder: FrameEncoder, pixels: Tensor,
                 labels: Tensor) -> None:
        super().__init__()
        self.model = model
        self.scale = nn.Parameter(torch.tensor(1.0))
        self._words, self._encoder, self._pixels, self._labels = words, encoder, pixels, labels
        self._features = encode(encoder, pixels)

    def forward(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """Return the distances (Q, C), and the logits of all words for what is asked about."""
        text = self._words.features[episode.actions]
        shown = self._look(episode.shown.flatten(), self._labels[episode.shown.flatten()])
        asked = self._look(episode.asked, None)
        distances = matching.ordered_distances(
            self.model.queries(asked),
            self.model.prototypes(shown.unflatten(0, episode.shown.shape), text))
        return distances, self.scale * matching.cosines(
            of_class(asked).mean(1), self._words.features)

    def between(self, clips: Tensor) -> np.ndarray:
        """Return how unlike each of some clips (N,), asked about, is to each, shown, (N, N)."""
        text = self._words.features[self._labels[clips]]
        return distances_by(self.model, self._encoder, self._pixels[clips],
                            self._features[clips], text)

    def _look(self, clips: Tensor, actions: Tensor | None) -> Tensor:
        if self.model.tower is None:
            return self._features[clips]
        return self.model.look(self._encoder, self._pixels[clips],
                               None if actions is None else self._words.features[actions])


def encode(encoder: FrameEncoder, pixels: Tensor) -> Tensor:
    """Return the features of clips (N, frames, 3, size, size) uint8, (N, frames, ...) float32."""
    batches = pixels.flatten(0, 1).split(_BATCH)
    # Tensors of inference mode cannot be learnt from.
    return torch.cat([encoder(batch) for batch in batches]).clone().unflatten(
        0, pixels.shape[:2])


class Training(Resumable[None]):
    """
    A training of what compares clips, which leaves its weights in the file `out`.

    `backbone` is on its device in float32, and stays as it is; `words` are those of the actions
    of `windows`, by their order. Raises TrainingError for what cannot be trained.
    """

    unit = 'episode'

    def __init__(self, backbone: Backbone, windows: Windows, words: Words, plan: Plan, out: Path
                 ) -> None:
        self._backbone, self._plan = backbone, plan
        self._labels = windows.labels.numpy()
        self._learnt, self._held = self._split(windows.names)
        torch.manual_seed(plan.seed)
        encoder = FrameEncoder(backbone)
        self._comparison = Comparison(
            ActionModel.of(backbone, plan.method), words, encoder, windows.pixels, windows.labels
        ).to(backbone.device)
        parameters = dict(self._comparison.named_parameters())
        self._optimizer = torch.optim.AdamW(
            optimizer.groups(parameters.items(), optimizer.DECAY), betas=(0.9, 0.98))
        pixels = hashlib.sha256(windows.pixels.numpy().tobytes()).hexdigest()[:16]
        super().__init__(
            out, {'model': backbone.name, 'identity': backbone.identity, 'clips': pixels,
                  'actions': list(windows.names), **asdict(plan)}, plan.episodes, SAVE_SECONDS)

    def _split(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the clips to learn from and those that are held out, by the share of each."""
        learnt: list[np.ndarray] = []
        held: list[np.ndarray] = []
        random = np.random.default_rng(self._plan.seed)
        least = self._plan.shot + QUERIES
        for action, name in enumerate(names):
            clips = random.permutation(np.flatnonzero(self._labels == action))
            # One is shown, and another asked about.
            count = max(round(self._plan.held_out * len(clips)), 2) if self._plan.held_out else 0
            if len(clips) - count < least:
                raise TrainingError(
                    f'the action {name!r} has {len(clips)} clips, of which {count} are held out: '
                    f'{least} are learnt from at least; add clips, show fewer, or give '
                    '--held-out 0')
            learnt.append(clips[count:])
            held.append(clips[:count])
        return np.concatenate(learnt), np.concatenate(held)

    def _left(self) -> Iterator[None]:
        # What an episode is made of depends on its number alone.
        return repeat(None, self._steps - self._step)

    def _learn(self, given: None) -> float:
        progress = self._step / self._plan.episodes
        for group in self._optimizer.param_groups:
            group['lr'] = self._plan.rate * optimizer.one_cycle(progress)
        # What is left to chance in an episode depends on its number alone.
        random = np.random.default_rng((self._plan.seed, self._step))
        torch.manual_seed(int(random.integers(2 ** 31)))
        self._comparison.train()
        episode = self._draw(self._learnt, random)
        own = torch.from_numpy(self._learnt)
        loss = self._loss(episode._replace(shown=own[episode.shown], asked=own[episode.asked]))
        self._optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._comparison.parameters(), _CLIP_NORM)
        if not loss.isfinite() or not norm.isfinite():
            raise TrainingError(f'the loss is {loss.item():g} and its gradient {norm.item():g} in '
                                f'episode {self._step}: give a lower --rate than '
                                f'{self._plan.rate:g}, and another --out')
        self._optimizer.step()
        return loss.item()

    def _ends_part(self) -> bool:
        return self._step % REPORT == 0 or self._step == self._steps

    def _draw(self, clips: np.ndarray, random: np.random.Generator) -> Episode:
        """Draw an episode of some clips, which are told by their places among these."""
        return draw(self._labels[clips], self._plan.way, self._plan.shot, QUERIES, random)

    def _loss(self, episode: Episode) -> Tensor:
        distances, words = self._comparison(episode)
        answers = episode.answers.to(distances.device)
        actions = episode.actions.to(distances.device)
        return F.cross_entropy(-distances, answers) + WORD_WEIGHT * F.cross_entropy(
            words, actions[answers])

    def _figures(self) -> dict[str, Any]:
        entry: dict[str, Any] = {'episode': self._step}
        if self._step:
            since = self._step - self._history[-1]['episode']
            entry['loss'] = self._losses / since
        if len(self._held):
            self._comparison.eval()
            distances = self._comparison.between(torch.from_numpy(self._held))
            entry['held_out'] = accuracy(distances, self._labels[self._held], self._plan.way,
                                         MEASURED, np.random.default_rng(self._plan.seed))
        return entry

    def _describe(self, entry: dict[str, Any]) -> str:
        return describe(entry, self._plan)

    def _state(self) -> dict[str, Any]:
        return {'weights': self._comparison.state_dict(),
                'optimizer': self._optimizer.state_dict()}

    def _restore(self, state: dict[str, Any]) -> None:
        self._comparison.load_state_dict(state['weights'])
        self._optimizer.load_state_dict(state['optimizer'])

    def _write_weights(self) -> None:
        write_weights(self._out, self._comparison.model.state_dict(),
                      learned.metadata(self._plan.method, self._backbone))


def describe(entry: dict[str, Any], plan: Plan) -> str:
    """Return an entry of the history as a line."""
    parts = [f'episode {entry["episode"]} of {plan.episodes}']
    if 'loss' in entry:
        parts.append(f'loss {entry["loss"]:.3f}')
    if 'held_out' in entry:
        parts.append(f'held out: {entry["held_out"]:.0%} right of {plan.way} actions that were '
                     'shown once')
    return ', '.join(parts)
