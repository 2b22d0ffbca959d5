"""
An image tower whose frames know of one another: the adapters of AIM and MA-CLIP.

AIM (arXiv 2302.03024) leaves CLIP as it is, and adds three small networks to each block: over the
frames of a clip, over the tokens of a frame, and beside the feed-forward network. MA-CLIP (arXiv
2308.01532) lets the second of them know the word for what is shown. Adapters that have learned
nothing change nothing, to the bit.
"""

from csa_ros.actions.errors import ActionError
from csa_ros.actions.frames import features_of
from csa_ros.model.attention.mixing import attend
from csa_ros.model.attention.mixing import query_key
from csa_ros.model.attention.positions import enlarged
from csa_ros.model.backbone import Backbone
from csa_ros.model.towers.tower import ClipBlock
from csa_ros.model.towers.tower import ClipTower
from open_clip.transformer import ResidualAttentionBlock
from open_clip.transformer import VisionTransformer
import torch
from torch import nn
from torch import Tensor
from torch.nn import functional as F

# By how much an adapter is narrower than the tower, and what counts of the one beside the
# feed-forward network: AIM's.
NARROWER = 4
SHARE = 0.5


class Adapter(nn.Module):
    """A network of one narrow layer, which returns zeros at first. Weights have AIM's names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.D_fc1 = nn.Linear(width, width // NARROWER)
        self.D_fc2 = nn.Linear(width // NARROWER, width)
        nn.init.zeros_(self.D_fc2.weight)
        nn.init.zeros_(self.D_fc2.bias)

    def forward(self, x: Tensor, hint: Tensor | None = None) -> Tensor:
        """Return of (N, tokens, width) the same; `hint` (N, 1, width / 4) is added inside."""
        narrow = self.D_fc1(x)
        if hint is not None:
            narrow = narrow + hint
        return self.D_fc2(F.gelu(narrow))


class BlockAdapters(nn.Module):
    """
    The adapters of one block, and the block with them.

    `text_dim` is the length of a word's feature.
    """

    def __init__(self, width: int, text_dim: int) -> None:
        super().__init__()
        self.T_Adapter, self.S_Adapter, self.MLP_Adapter = (Adapter(width) for _ in range(3))
        self.text = nn.Linear(text_dim, width // NARROWER)

    def forward(self, block: ResidualAttentionBlock, x: Tensor, frames: int,
                text: Tensor | None = None) -> Tensor:
        """
        Return tokens (clips * frames, tokens, width) after a block, frames of a clip together.

        `text` (clips, text_dim) are the words for what clips show, where these are known.
        """
        parts = ClipBlock(block)
        across = x.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)
        across = self.T_Adapter(_attention(parts, across))
        x = x + across.unflatten(0, (-1, x.shape[1])).transpose(1, 2).flatten(0, 1)
        hint = None
        if text is not None:
            hint = self.text(text).repeat_interleave(frames, 0)[:, None]
        mixed = _attention(parts, x)
        x = x + (mixed + self.S_Adapter(mixed, hint))
        h = block.ln_2(x)
        return x + (block.ls_2(block.mlp(h)) + SHARE * self.MLP_Adapter(h))


class AdaptedTower(nn.Module):
    """
    The image tower of a CLIP with adapters in all blocks, the tower itself frozen.

    Raises ActionError for a tower that is not open_clip's own.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        visual = backbone.clip.visual
        if not isinstance(visual, VisionTransformer):
            raise ActionError(f'the image tower of {backbone.name} is of timm, and adapters are '
                              'for those of open_clip: take another model, such as openai-b16, '
                              'or method clip-fsar')
        # Not parts of this module: neither its weights nor what learns.
        self._visual = [visual]
        self._tower = ClipTower(visual)
        self.blocks = nn.ModuleList(
            BlockAdapters(self._tower.width, backbone.embed_dim) for _ in self._tower.blocks)

    def forward(self, pixels: Tensor, text: Tensor | None = None) -> Tensor:
        """
        Return the features of frames, (clips, frames, feature length) float32.

        `pixels` (clips, frames, 3, H, W), normalised, of the tower's own size; `text`
        (clips, D) as for `BlockAdapters`.
        """
        count, frames = pixels.shape[:2]
        x = self._tower.embed(pixels.flatten(0, 1))
        prefix = self._tower.prefix.to(x.dtype).expand(len(x), -1, -1)
        x = torch.cat([prefix, x], 1) + self._tower.place(self._tower.grid_size, enlarged)
        x = self._tower.enter(x)
        for adapters, block in zip(self.blocks, self._visual[0].transformer.resblocks):
            x = adapters(block, x, frames, text)
        features = features_of(self._tower.project(x).float(), self._tower.grid_size)
        return features.unflatten(0, (count, frames))


def _attention(parts: ClipBlock, x: Tensor) -> Tensor:
    q, k, v = parts.qkv(parts.normed(x))
    return parts.out(attend(query_key(q, k), v))
