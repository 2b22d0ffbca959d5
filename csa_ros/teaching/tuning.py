"""
APE-T (arXiv 2304.01195): what a class's word and its examples lack, learned from the examples.

Learned are one residual a class, which is added to its words and keys in the dimensions that tell
classes apart, and one weight a key. Nothing else of the model changes.
"""

from collections.abc import Iterable
from collections.abc import Sequence

from csa_ros.teaching.ape import bonus
from csa_ros.teaching.ape import SCALE
from csa_ros.teaching.cache import Cache
from csa_ros.teaching.choice import Taught
from csa_ros.teaching.collection import Example
from csa_ros.teaching.examples import Look
import torch
from torch import nn
from torch import Tensor
from torch.nn import functional as F

# The authors' AdamW.
EPS, DECAY = 1e-3, 0.1
# Over the patches of a few pictures.
EPOCHS, LEARNING_RATE, BATCH = 15, 2e-3, 256


class Residuals(nn.Module):
    """
    The residuals of classes and the weights of keys, which change nothing at first.

    `text` (Q, D) are the words' features and `text_class` (Q,) their classes, `keys` (K, D) and
    `key_class` (K,) the examples', `dimensions` (R,) those that residuals have. `shares` (K,) is
    what each key counts for beside its weight: 1 with the authors, where all classes have as many.
    """

    def __init__(self, text: Tensor, text_class: Tensor, keys: Tensor, key_class: Tensor,
                 dimensions: Tensor, shares: Tensor | None = None) -> None:
        super().__init__()
        self._text, self._text_class = text, text_class
        self._keys, self._key_class = keys, key_class
        self._dimensions = dimensions
        self._shares = text.new_ones(len(keys)) if shares is None else shares
        self.classes = int(torch.cat([text_class, key_class]).max()) + 1
        self.residuals = nn.Parameter(text.new_zeros(self.classes, len(dimensions)))
        self.weights = nn.Parameter(text.new_ones(len(keys)))

    @property
    def text(self) -> Tensor:
        """Features of the words, (Q, D), residuals added; no longer of length 1."""
        return self._text + self._spread()[self._text_class]

    @property
    def keys(self) -> Tensor:
        """Keys, (K, D), residuals added; no longer of length 1."""
        return self._keys + self._spread()[self._key_class]

    def worth(self, alpha: float) -> Tensor:
        """Return what each key is worth, (K,), in units of cosines."""
        return alpha / SCALE * self._shares * self.weights

    def forward(self, features: Tensor, alpha: float, beta: float, own: Tensor | None = None
                ) -> Tensor:
        """
        Return the logits of features for classes, (N, C), in units of cosines.

        `features` (N, D) have length 1. The keys of a class share `alpha` / 100, `beta` is their
        sharpness. `own` (N,) is the key that was made of a feature, which says nothing about it;
        -1 if there is none.
        """
        words = features.new_full((len(features), self.classes), -torch.inf)
        words = words.scatter_reduce(
            1, self._text_class.expand(len(features), -1), features @ self.text.T, 'amax')
        onehot = F.one_hot(self._key_class, self.classes).to(features.dtype)
        values = onehot * self.worth(alpha)[:, None]
        shown = bonus(features, self.keys, beta, values)
        if own is not None:
            distances = 1 - (features * self.keys[own]).sum(-1, keepdim=True)
            left_out = torch.exp(-beta * distances) * values[own]
            shown = shown - left_out * (own >= 0)[:, None]
        return words + shown

    def _spread(self) -> Tensor:
        residuals = self.residuals.new_zeros(self.classes, self._text.shape[1])
        return residuals.index_copy(1, self._dimensions, self.residuals)


def tune(residuals: Residuals, features: Tensor, labels: Tensor, own: Tensor | None, alpha: float,
         beta: float, scale: float, epochs: int, learning_rate: float, batch: int,
         generator: torch.Generator | None = None) -> list[float]:
    """
    Train residuals and weights on features (N, D) of classes `labels` (N,); return the losses.

    The loss of an epoch is the mean over its batches of the cross entropy of logits times `scale`,
    its order that of `generator`, or that of the features without one. `alpha`, `beta` and `own`
    as for `Residuals.forward`.
    """
    optimizer = torch.optim.AdamW(
        residuals.parameters(), lr=learning_rate, eps=EPS, weight_decay=DECAY)
    batches = -(-len(features) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    losses = []
    for _ in range(epochs):
        order = (torch.arange(len(features)) if generator is None
                 else torch.randperm(len(features), generator=generator))
        total = 0.0
        for chosen in order.to(features.device).split(batch):
            logits = residuals(features[chosen], alpha, beta, None if own is None else own[chosen])
            loss = F.cross_entropy(scale * logits, labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        losses.append(total / batches)
    return losses


def learn(text: Tensor, text_class: Tensor, examples: Sequence[Example], key_class: Tensor,
          taught: Iterable[Taught], logit_scale: float, seed: int) -> tuple[Tensor, Cache]:
    """
    Return features of words and a cache that have learned from the patches of examples.

    `text` (Q, D) and `text_class` (Q,) are the words, `key_class` (K,) the classes of the examples
    and `taught` what is known of these. Patches of the regions are of the class that was shown.
    Those that lie wholly outside stay what the words say that they are, of all other classes:
    without them, a class that is shown alone would grow over everything.
    """
    device = text.device
    key_class = key_class.to(device)
    keys = torch.stack([example.look.key for example in examples]).to(device)
    parts = [_lesson(text, text_class, example.look, index, int(key_class[index]))
             for index, example in enumerate(examples)]
    features, labels, own = (torch.cat(part) for part in zip(*parts))
    strength = max(each.strength for each in taught)
    counts = torch.bincount(key_class)[key_class]
    # Outside of inference mode, whose tensors nothing is learned from.
    with torch.inference_mode(False), torch.enable_grad():
        text, text_class, keys, key_class, features, labels, own = (tensor.clone() for tensor in (
            text, text_class, keys, key_class, features, labels, own))
        residuals = Residuals(text, text_class, keys, key_class,
                              torch.arange(text.shape[1], device=device), 1 / counts)
        tune(residuals, features, labels, own, *strength, logit_scale, EPOCHS,
             LEARNING_RATE, BATCH, torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        keys, worth = residuals.keys.clone(), residuals.worth(strength.alpha)
        return residuals.text.clone(), Cache(
            keys, torch.full_like(worth, strength.beta),
            worth[:, None] * (key_class[:, None] == text_class))


def _lesson(text: Tensor, text_class: Tensor, look: Look, index: int, shown: int
            ) -> tuple[Tensor, Tensor, Tensor]:
    """Return patches (N, D) of an example, their classes, and the keys made of them, if any."""
    patches = F.normalize(look.patches.to(text.device).float(), dim=-1)
    inside, outside = (patches[chosen.to(text.device)]
                       for chosen in (look.inside >= 0.5, look.inside == 0))
    words = (outside @ text.T).masked_fill(text_class == shown, -torch.inf)
    labels = torch.cat([torch.full_like(inside[:, 0], shown, dtype=torch.int64),
                        text_class[words.argmax(1)]])
    own = torch.full_like(labels, -1)
    own[:len(inside)] = index
    return torch.cat([inside, outside]), labels, own
