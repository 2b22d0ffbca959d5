"""What is learned to compare clips by: Tr over their frames, and adapters in the image tower."""

import hashlib
from pathlib import Path

from csa_ros.actions.adapters import AdaptedTower
from csa_ros.actions.errors import ActionError
from csa_ros.actions.frames import COLUMNS
from csa_ros.actions.frames import FrameEncoder
from csa_ros.actions.frames import of_changes
from csa_ros.actions.frames import of_class
from csa_ros.actions.transformer import FrameTransformer
from csa_ros.model.backbone import Backbone
from safetensors import safe_open
from torch import nn
from torch import Tensor

FORMAT = 'csa_ros actions 1'
# What one of the weights of Tr is called, whatever stands before it.
_OF_TR = 'layers.0.0.norm.weight'


class ActionModel(nn.Module):
    """
    Tr, and for `ma-clip` the tower with adapters; at first they change nothing.

    `dim` is the length of CLIP's features, `tower` None where these are CLIP's as they are. Tr
    sees what changes in each column of the frames by itself, or if `published` the features of
    class tokens, as CLIP-FSAR has it.
    """

    def __init__(self, dim: int, tower: AdaptedTower | None = None, published: bool = False
                 ) -> None:
        super().__init__()
        self.tr = FrameTransformer(dim)
        self.tower = tower
        self._published = published

    @classmethod
    def of(cls, backbone: Backbone, method: str, published: bool = False) -> 'ActionModel':
        """Return that of a method, on the device of a model; raise ActionError."""
        tower = AdaptedTower(backbone).to(backbone.dtype) if method == 'ma-clip' else None
        return cls(backbone.embed_dim, tower, published).to(backbone.device)

    def look(self, encoder: FrameEncoder, pixels: Tensor, text: Tensor | None) -> Tensor:
        """
        Return the features of clips as the adapted tower makes them, (N, T, feature length).

        `pixels` (N, T, 3, size, size) uint8; `text` (N, D) are their words, None if these are not
        known.
        """
        assert self.tower is not None, 'only models with a tower look at pixels'
        normalized = encoder.normalize(pixels.flatten(0, 1))
        return self.tower(normalized.unflatten(0, pixels.shape[:2]), text)

    def prototypes(self, shown: Tensor, text: Tensor) -> Tensor:
        """
        Return what stands for actions, (C, T, ...).

        `shown` (C, K, T, feature length) are K clips of each, `text` (C, D) their words.
        """
        count = shown.shape[1]
        parts = self._parts(shown.flatten(0, 1))
        own = text.repeat_interleave(count, 0)[:, None].expand(-1, parts.shape[1], -1)
        fused = self.tr.shown(parts.flatten(0, 1), own.flatten(0, 1))
        return _joined(fused, parts.shape[1]).unflatten(0, (-1, count)).mean(1)

    def queries(self, windows: Tensor) -> Tensor:
        """Return what of windows (Q, T, feature length) is compared with that, (Q, T, ...)."""
        parts = self._parts(windows)
        return _joined(self.tr(parts.flatten(0, 1)), parts.shape[1])

    def _parts(self, windows: Tensor) -> Tensor:
        """Return what Tr sees of windows (N, T, feature length), (N, parts, T, D)."""
        if self._published:
            return of_class(windows)[:, None]
        return of_changes(windows).unflatten(2, (COLUMNS, -1)).transpose(1, 2)


def _joined(parts: Tensor, count: int) -> Tensor:
    """Return parts (N * count, T, D) of the same frames beside each other, (N, T, count * D)."""
    return parts.unflatten(0, (-1, count)).transpose(1, 2).flatten(2)


def digest(tower: AdaptedTower) -> str:
    """Return what changes with the weights of adapters."""
    found = hashlib.sha256()
    for weight in tower.state_dict().values():
        found.update(weight.float().cpu().numpy().tobytes())
    return found.hexdigest()


def metadata(method: str, backbone: Backbone) -> dict[str, str]:
    """Return what a file of weights says of them."""
    return {'format': FORMAT, 'method': method, 'model': backbone.name,
            'weights': backbone.weights or backbone.identity}


def load(path: Path, backbone: Backbone, method: str) -> ActionModel:
    """
    Return what a file of weights has learned, for a method and the model that it learned on.

    It is one of train_actions, or has the weights of CLIP-FSAR's Tr by its authors' names. Raises
    ActionError for a file that cannot be read, and weights of another method or model.
    """
    if not path.exists():
        raise ActionError(f'there is no file of weights {path}: make it with `ros2 run csa_ros '
                          'train_actions`, or leave it out')
    try:
        with safe_open(path, framework='pt') as file:
            said = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # noqa: B902 - a damaged file fails in as many ways as there are
        raise ActionError(f'{path} is damaged, or no file of safetensors ({error}): copy it '
                          'again, or name another') from error
    published = said.get('format') != FORMAT
    if published:
        weights = _published(path, weights, method)
    else:
        _check(path, said, backbone, method)
    model = ActionModel.of(backbone, method, published)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ActionError(f'{path} does not fit method {method} of {backbone.name}: '
                          f'{str(error).splitlines()[-1].strip()}') from error
    return model.eval().requires_grad_(False)


def _check(path: Path, said: dict[str, str], backbone: Backbone, method: str) -> None:
    """Raise ActionError for weights of another method or model."""
    if said.get('method') != method:
        raise ActionError(f'{path} was trained for method {said.get("method")}, and the method is '
                          f'{method}: set that one, or name another file')
    if said.get('weights') != metadata(method, backbone)['weights']:
        raise ActionError(f'{path} was trained on another model ({said.get("model")}), and not on '
                          f'{backbone.name}: load that one, or train on this one')


def _published(path: Path, weights: dict[str, Tensor], method: str) -> dict[str, Tensor]:
    """Return the weights of Tr by their names here, of a file that has others beside them."""
    found = [name.removesuffix(_OF_TR) for name in weights if name.endswith(_OF_TR)]
    if len(found) != 1 or method != 'clip-fsar':
        raise ActionError(f'{path} has no weights of train_actions for method {method}, and none '
                          f'of CLIP-FSAR, one of whose names ends in {_OF_TR}: name a file that '
                          'has, or train one')
    return {f'tr.{name.removeprefix(found[0])}': value.float() for name, value in weights.items()
            if name.startswith(found[0])}
