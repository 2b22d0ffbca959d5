"""
GroupViT, a vision transformer that gathers its patches into segments while it looks.

GroupViT (arXiv 2202.11094) learned from pictures and captions alone. Learned group tokens go
through the blocks beside those of the patches; twice, each patch, or group of patches, is assigned
to one of them, and goes on as a part of it. What is compared with words at the end are a few
segments of any shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros.model.text_tower import ClipText
from csa_ros.model.tokens import Tokenizer
from csa_ros.model.towers.tower import Grid
from csa_ros.model.towers.tower import tiles_of
import open_clip
from open_clip.transformer import LayerNormFp32
from open_clip.transformer import QuickGELU
from open_clip.transformer import TextTransformer
from timm.layers import Mlp
from timm.models.vision_transformer import Block
import torch
from torch import nn
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class GroupViTSizes:
    """
    Sizes of an image tower.

    Tokens of `width`, attention of `heads`; patches of `patch_size` pixels a side, `table` x
    `table` of which have positions. Stage by stage there are `depths` blocks; each but the last
    ends with as many groups as `groups` has. `mixing` is the width of the networks that groups go
    through as channels, `hidden` that of the projection to features of `embed_dim`.
    """

    width: int
    heads: int
    patch_size: int
    table: int
    depths: tuple[int, ...]
    groups: tuple[int, ...]
    mixing: int
    hidden: int
    embed_dim: int


@dataclass(frozen=True)
class TextSizes:
    """
    Sizes of a text tower.

    `layers` blocks of `width`, with attention of `heads`, read `context_length` tokens out of
    `vocab_size`; the projection to features of `embed_dim` has `hidden` channels.
    """

    width: int
    heads: int
    layers: int
    context_length: int
    vocab_size: int
    hidden: int
    embed_dim: int


class GroupViTVision(nn.Module):
    """
    The weights of an image tower and its projection, random at first.

    They are called as in the file that NVIDIA released, less the prefixes: `patch_embed.proj`,
    `patch_embed.norm`, `pos_embed` (table ** 2, width); `layers.N.` `group_token` (groups, width),
    `blocks.M`, `downsample` and `group_projector`; `norm`; `projector.0` and `.2`, the first of
    which has the normalisation over batches that follows it in that file in its weights.

    `image_size` is the side in pixels of the windows that frames are cut into.
    """

    def __init__(self, sizes: GroupViTSizes, image_size: int = 448) -> None:
        super().__init__()
        self.sizes = sizes
        self.image_size = (image_size, image_size)
        self.patch_embed = _Patches(sizes)
        self.pos_embed = nn.Parameter(torch.randn(sizes.table ** 2, sizes.width) * 0.02)
        self.layers = nn.ModuleList(
            _Stage(sizes, depth, groups, before) for depth, groups, before in zip(
                sizes.depths, sizes.groups, (0, *sizes.groups)))
        self.layers.append(_LastStage(sizes, sizes.depths[-1]))
        self.norm = nn.LayerNorm(sizes.width)
        self.projector = projector(sizes.width, sizes.hidden, sizes.embed_dim)


class _Patches(nn.Module):
    """The embedding of patches."""

    def __init__(self, sizes: GroupViTSizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, sizes.width, sizes.patch_size, sizes.patch_size)
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, pixels: Tensor) -> Tensor:
        # A product of matrices is not rounded to TF32.
        height, width = self.proj.kernel_size
        tiles = tiles_of(pixels, (height, width))
        return self.norm(F.linear(tiles, self.proj.weight.flatten(1), self.proj.bias))


class _LastStage(nn.Module):
    """Blocks alone, for what is gathered no further."""

    def __init__(self, sizes: GroupViTSizes, depth: int) -> None:
        super().__init__()
        self.blocks = _blocks(sizes, depth)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class _Stage(nn.Module):
    """Blocks, and the gathering of what comes of them into groups."""

    def __init__(self, sizes: GroupViTSizes, depth: int, groups: int, before: int) -> None:
        super().__init__()
        self.blocks = _blocks(sizes, depth)
        self.group_token = nn.Parameter(torch.randn(groups, sizes.width) * 0.02)
        self.downsample = _Grouping(sizes, groups)
        self.group_projector = nn.Sequential(
            nn.LayerNorm(sizes.width), _Mixing(before, sizes.mixing, groups)) if before else None

    def forward(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """
        Return the groups, the group tokens, and which share of each token is which group's.

        `x` (N, tokens, width) and `before`, the group tokens of the stage before, (N, groups,
        width). The shares are (N, groups, tokens) float32, of every token 1.
        """
        own = self.group_token.to(x.dtype).expand(len(x), -1, -1)
        if self.group_projector is not None:
            own = own + self.group_projector(before)
        count = x.shape[1]
        x, tokens = self.blocks(torch.cat([x, own], 1)).tensor_split([count], dim=1)
        groups, shares = self.downsample(x, tokens)
        return groups, tokens, shares


class _Grouping(nn.Module):
    """Gathers tokens into groups: each goes to the one that it is most like."""

    def __init__(self, sizes: GroupViTSizes, groups: int) -> None:
        super().__init__()
        width = sizes.width
        self.norm_tokens = nn.LayerNorm(width)
        self.mlp_inter = _Mixing(groups, sizes.mixing, groups)
        self.norm_post_tokens = nn.LayerNorm(width)
        self.norm_x = nn.LayerNorm(width)
        self.pre_assign_attn = _Asking(width, sizes.heads)
        self.assign = _Projections(width)
        self.norm_new_x = nn.LayerNorm(width)
        self.mlp_channels = Mlp(width, 4 * width)

    def forward(self, x: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return the groups (N, groups, width), and the shares (N, groups, tokens) float32."""
        x = self.norm_x(x)
        groups = self.norm_post_tokens(self.mlp_inter(self.norm_tokens(groups)))
        groups = self.pre_assign_attn(groups, x)
        q, k, v = self.assign(groups, x)
        # In float32, whatever the weights are in: it is the largest of close values that counts.
        shares = (q.float() @ k.float().mT * q.shape[-1] ** -0.5).softmax(1)
        members = F.one_hot(shares.argmax(1), shares.shape[1]).mT.to(v.dtype)
        members = members / (members.sum(-1, keepdim=True) + 1)
        new = self.assign.proj(members @ v) + groups
        return new + self.mlp_channels(self.norm_new_x(new)), shares


class _Asking(nn.Module):
    """Attention of groups to tokens, normalised afterwards alone."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.attn = _Projections(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)
        self.norm_post = nn.LayerNorm(width)

    def forward(self, groups: Tensor, x: Tensor) -> Tensor:
        q, k, v = (each.unflatten(-1, (self._heads, -1)).transpose(1, 2)
                   for each in self.attn(groups, x))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        groups = groups + self.attn.proj(mixed)
        return self.norm_post(groups + self.mlp(self.norm2(groups)))


class _Projections(nn.Module):
    """Queries of some tokens, keys and values of others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.proj = (
            nn.Linear(width, width) for _ in range(4))

    def forward(self, some: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.q_proj(some), self.k_proj(others), self.v_proj(others)


class _Mixing(Mlp):
    """A network over tokens in place of channels."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.mT).mT


def _blocks(sizes: GroupViTSizes, depth: int) -> nn.Sequential:
    return nn.Sequential(*(
        Block(sizes.width, sizes.heads, qkv_bias=True, norm_layer=nn.LayerNorm)
        for _ in range(depth)))


def projector(width: int, hidden: int, embed_dim: int) -> nn.Sequential:
    """Return what maps tokens (..., width) of either tower to features (..., embed_dim)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, embed_dim))


class GroupViTText:
    """
    Text tower of GroupViT, as `csa_ros.model.text_tower.TextTower`; `name` is the model's.

    `weights` are those of a `TextWeights`, and `tokenizer` is CLIP's.
    """

    unit_prompts = False

    def __init__(self, weights: 'TextWeights', tokenizer: Tokenizer, name: str) -> None:
        self._clip = ClipText(weights, tokenizer, name)

    @property
    def context_length(self) -> int:
        """Most tokens of a prompt that are read."""
        return self._clip.context_length

    @property
    def prompts_per_chunk(self) -> int:
        """As how many prompts queries are best encoded at a time."""
        return self._clip.prompts_per_chunk

    def count(self, template: str, query: str) -> int:
        """Return of how many tokens a prompt is, those of its start and its end among them."""
        return self._clip.count(template, query)

    def encode(self, templates: Sequence[str], queries: Sequence[str]) -> Tensor:
        """Return the features (queries * templates, D) of prompts."""
        return self._clip.encode(templates, queries)


class TextWeights(nn.Module):
    """
    The weights of a text tower and its projection, random at first, in `dtype`.

    `text` is that of CLIP, as open_clip builds it, with QuickGELU and another projection.
    """

    def __init__(self, sizes: TextSizes, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        half = dtype != torch.float32
        self.context_length, self.vocab_size = sizes.context_length, sizes.vocab_size
        self.text = TextTransformer(
            context_length=sizes.context_length, vocab_size=sizes.vocab_size, width=sizes.width,
            heads=sizes.heads, layers=sizes.layers, output_dim=None, act_layer=QuickGELU,
            norm_layer=LayerNormFp32 if half else nn.LayerNorm)
        if half:
            open_clip.convert_weights_to_lp(self.text, dtype)
        self.text.text_projection = projector(
            sizes.width, sizes.hidden, sizes.embed_dim).to(dtype)


class GroupViTTower:
    """
    The parts of an image tower, as `csa_ros.model.towers.tower.ImageTower`.

    It gives features of `segments` groups of patches.
    """

    attention = 'grouping'

    def __init__(self, visual: GroupViTVision) -> None:
        sizes = visual.sizes
        self._visual = visual
        self.patch_size = (sizes.patch_size, sizes.patch_size)
        self.grid_size = (sizes.table, sizes.table)
        self.segments = sizes.groups[-1]

    @property
    def width(self) -> int:
        """Length of a token."""
        return self._visual.sizes.width

    @property
    def heads(self) -> int:
        """Attention heads of a block, their number."""
        return self._visual.sizes.heads

    @property
    def embed_dim(self) -> int:
        """Length of a feature."""
        return self._visual.sizes.embed_dim

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._visual.patch_embed.proj.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights; layer norms may stay in float32."""
        return self._visual.patch_embed.proj.weight.dtype

    def place(self, grid: Grid) -> Tensor:
        """Return what is added to the tokens of a grid of patches, (patches, width) float32."""
        table = self._visual.pos_embed.float().unflatten(0, self.grid_size).permute(2, 0, 1)
        if grid != self.grid_size:
            table = F.interpolate(table[None], size=grid, mode='bicubic', align_corners=False)[0]
        return table.flatten(1).T

    def embed(self, pixels: Tensor) -> Tensor:
        """
        Return a token for every patch, without positions.

        `pixels` (N, 3, H, W), normalised; what does not fill a patch is cut. Returns
        (N, patches, width) in the type of the weights, patches row by row.
        """
        return self._visual.patch_embed(pixels.to(self.dtype))

    def group(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return segments (N, segments, width), and which share of each patch is which one's.

        `tokens` (N, patches, width) have their positions. The shares are (N, segments, patches)
        float32, of every patch 1: those of patches in groups times those of groups in segments.
        """
        first, *others, last = self._visual.layers
        x, groups, shares = first(tokens, None)
        for stage in others:
            x, groups, found = stage(x, groups)
            shares = found @ shares
        return self._visual.norm(last(x)), shares

    def project(self, tokens: Tensor) -> Tensor:
        """Return segments, or means of them, (..., width) as features (..., embed_dim)."""
        return self._visual.projector(tokens)
