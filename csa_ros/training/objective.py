"""What training makes smaller: `csa_ros.training.losses`, at scales that fit the model."""

from collections.abc import Callable
from collections.abc import Sequence

from csa_ros.training import losses
from csa_ros.training.features import Features
from csa_ros.training.losses import Thresholds
import torch
from torch import nn
from torch import Tensor

# What a cosine means depends on the model. So scales are tried, and the best is taken.
_SCALES = torch.logspace(0.5, 2, 16).tolist()
# The patches of a picture that are like a caption by a standard deviation more count so many
# times as much, as a power of e.
_SHARPNESS = 3.0
# For `balanced_sigmoid_loss`.
_PRIOR = 0.5
# Which share of the pairs that belong together must be less alike than one that surely does, and
# than one that is likely to; FFF's thresholds for a model that it was not made for.
_SURE, _LIKELY = 0.5, 0.25
_LIKE_IMAGES, _LIKE_TEXTS = 0.95, 0.95


class Objective(nn.Module):
    """
    The sum of some of `csa_ros.training.choices.LOSSES`.

    Its scales are constants, measured once by `fit`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._terms: dict[str, Callable[[Features], Tensor]] = {
            name: getattr(self, f'_{name}') for name in names}
        for name in ('scale', 'bias', 'patch_scale', 'patch_bias', 'sharpness', 'contrast',
                     'group_contrast', 'sure', 'likely'):
            self.register_buffer(name, torch.ones(()))

    def forward(self, features: Features) -> Tensor:
        """Return the loss, a scalar."""
        return torch.stack([term(features) for term in self._terms.values()]).sum()

    @torch.no_grad()
    def fit(self, features: Features) -> None:
        """Choose the scales by what a model makes of some pictures before it learns."""
        image, patches, text, which, own = features
        cosines = image @ text.T
        self.scale, self.bias = _fitted(cosines, own)
        together = cosines[own]
        self.sure, self.likely = together.quantile(_SURE), together.quantile(_LIKELY)
        self.sharpness = _SHARPNESS / (text @ patches.transpose(1, 2)).std(-1).mean()
        self.patch_scale, self.patch_bias = _fitted(
            losses.pool_cosines(patches, text, self.sharpness), own)
        texts, same = text[which], _same(which)
        self.contrast = _least(lambda scale: losses.subcaption_loss(image, texts, scale, same),
                               cosines)
        self.group_contrast = _least(lambda scale: losses.grouping_loss(
            texts, patches, scale, same=_same(which.flatten()[:, None])[0]), cosines)

    def _siglip(self, features: Features) -> Tensor:
        return losses.sigmoid_loss(self._logits(features), features.own)

    def _fff(self, features: Features) -> Tensor:
        thresholds = Thresholds(self.sure, self.likely, _LIKE_IMAGES, _LIKE_TEXTS)
        positive = losses.mine_positives(features.image, features.text, features.own, thresholds)
        return losses.sigmoid_loss(self._logits(features), positive)

    def _dreamlip(self, features: Features) -> Tensor:
        texts, which = features.text[features.which], features.which
        return (losses.subcaption_loss(features.image, texts, self.contrast, _same(which))
                + losses.grouping_loss(texts, features.patches, self.group_contrast,
                                       same=_same(which.flatten()[:, None])[0]))

    def _patches(self, features: Features) -> Tensor:
        cosines = self.pooled(features.patches, features.text)
        return losses.balanced_sigmoid_loss(self.patch_scale * cosines + self.patch_bias,
                                            features.own.float(), _PRIOR)

    def _logits(self, features: Features) -> Tensor:
        return self.scale * features.image @ features.text.T + self.bias

    def pooled(self, patches: Tensor, text: Tensor) -> Tensor:
        """Return how like texts (M, D) are to the best of patches (N, P, D): (N, M)."""
        return losses.pool_cosines(patches, text, self.sharpness)


def _same(which: Tensor) -> Tensor:
    """Tell which of N captions say the same, for each of the K of a picture: (K, N, N) bool."""
    return which.T[:, :, None] == which.T[:, None]


def _fitted(cosines: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale and the bias at which cosines tell best which pairs are positive."""
    share = positive.float().mean().clamp(0.01, 0.99)

    def bias(scale: float) -> Tensor:
        # As many are said to be positive as are: the share rises with the bias.
        low, high = -2 * scale - 10, 2 * scale + 10
        for _ in range(40):
            middle = (low + high) / 2
            said = torch.sigmoid(scale * cosines + middle).mean()
            low, high = (middle, high) if said < share else (low, middle)
        return cosines.new_tensor(middle)

    scale = _least(lambda scale: losses.sigmoid_loss(scale * cosines + bias(scale), positive),
                   cosines)
    return scale, bias(scale.item())


def _least(loss: Callable[[float], Tensor], like: Tensor) -> Tensor:
    return like.new_tensor(min(_SCALES, key=lambda scale: loss(scale).item()))
