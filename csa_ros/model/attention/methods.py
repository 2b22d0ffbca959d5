"""
Which self-attention an image tower runs, and in which blocks.

A method of `ATTENTION` runs all blocks of a tower. Most run all but the last as they were trained,
and differ in what the last one compares, and in whether its residual connection and its
feed-forward network are kept. They are named after the papers that they come from:

- `csa`: SCLIP, arXiv 2312.01597;
- `vanilla`: CLIP as trained;
- `maskclip`: MaskCLIP, arXiv 2112.01071;
- `clearclip`: ClearCLIP, arXiv 2407.12442;
- `naclip`: NACLIP, arXiv 2404.08181;
- `sc-clip`: SC-CLIP, `csa_ros.model.attention.sc_clip`;
- `gem`: GEM, `csa_ros.model.attention.gem`;
- `radseg`: RADSeg, `csa_ros.model.attention.radseg`.

`auto` is the one that a tower is published to see best with at the usual cost: `csa` for CLIPs,
`radseg` for RADIO.
"""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import ClassVar
from typing import Protocol

from csa_ros.choices import AUTO
from csa_ros.choices import RESIDUAL
from csa_ros.model.attention.gem import Gem
from csa_ros.model.attention.mixing import all_as_trained
from csa_ros.model.attention.mixing import attend
from csa_ros.model.attention.mixing import both
from csa_ros.model.attention.mixing import finish
from csa_ros.model.attention.mixing import gaussian
from csa_ros.model.attention.mixing import identity
from csa_ros.model.attention.mixing import key_key
from csa_ros.model.attention.mixing import Prior
from csa_ros.model.attention.mixing import query_key
from csa_ros.model.attention.mixing import query_query
from csa_ros.model.attention.mixing import Similarity
from csa_ros.model.attention.positions import enlarged
from csa_ros.model.attention.positions import fitted
from csa_ros.model.attention.radseg import RadSeg
from csa_ros.model.attention.sc_clip import SelfCalibration
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.tower import Block
from csa_ros.model.towers.tower import Grid
from csa_ros.model.towers.tower import ImageTower
from csa_ros.model.towers.tower import Resample
from csa_ros.model.towers.tower import Tower
from torch import Tensor

# From this width on, that of ViT-L, CSA is worse than CLIP as trained unless both are dropped.
LARGE_WIDTH = 1024


class Method(Protocol):
    """
    What runs the blocks of a tower.

    `resample` gives it its positions for grids other than the tower's own; `residual` is None
    where that is no choice. `aggregate`, if it is not None, takes the patches of whole frames,
    (frames, patches, width) float32, and returns what is to be projected of them: see
    `csa_ros.model.joining`.
    """

    # It is a frozen dataclass, of which `replace` makes another.
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def resample(self) -> Resample:
        """Return the function that resamples position embeddings."""

    @property
    def residual(self) -> bool | None:
        """Whether the last block's residual connection and feed-forward network are kept."""

    @property
    def denoise(self) -> float:
        """Least probability that a class must reach somewhere in a frame; 0: none must."""

    @property
    def aggregate(self) -> Callable[[Tensor], Tensor] | None:
        """Whole frames go through this function, see above."""

    @property
    def min_blocks(self) -> int:
        """Least number of blocks of the tower."""

    @property
    def min_patches(self) -> int:
        """Least number of patches of an image."""

    def __call__(self, blocks: Sequence[Block], x: Tensor, grid: Grid) -> Tensor:
        """
        Return the tokens that are to be projected.

        `x` is (N, tokens, width) for a `grid` of patches (rows, columns): class token first,
        patches last. The patches are the last tokens of the result too, which has those before
        them or not.
        """


@dataclass(frozen=True)
class LastBlock:
    """Runs all blocks as trained but the last, which compares tokens by a similarity."""

    similarity: Similarity
    residual: bool = True
    prior: Prior | None = None
    resample: Resample = enlarged
    denoise: ClassVar[float] = 0.0
    aggregate: ClassVar[None] = None
    min_blocks: ClassVar[int] = 1
    min_patches: ClassVar[int] = 1

    def __call__(self, blocks: Sequence[Block], x: Tensor, grid: Grid) -> Tensor:
        """Run all blocks; see `Method`."""
        x, last = all_as_trained(blocks[:-1], x), blocks[-1]
        q, k, v = last.qkv(last.normed(x))
        prior = None if self.prior is None else self.prior(grid, v)
        mixed = attend(self.similarity(q, k), v, prior)
        return finish(last, x, mixed) if self.residual else last.out(mixed)


ATTENTION: dict[str, Method] = {
    'csa': LastBlock(both),
    'vanilla': LastBlock(query_key),
    'maskclip': LastBlock(identity, resample=fitted),
    'clearclip': LastBlock(query_query, residual=False),
    'naclip': LastBlock(key_key, residual=False, prior=gaussian),
    'sc-clip': SelfCalibration(),
    'gem': Gem(),
    'radseg': RadSeg(),
}


def named(attention: str, tower: ImageTower) -> str:
    """Return the key of `ATTENTION` that a name stands for: itself, unless it is `auto`."""
    return tower.attention if attention == AUTO else attention


def choose(attention: str, residual: str, tower: Tower) -> Method:
    """
    Return the method of a name, for a tower.

    `attention` is a key of `ATTENTION`, or `auto`. `residual` is `keep` or `drop`, of the last
    block's residual connection and feed-forward network, or `auto`: as the method has it, except
    that `csa` drops both in towers 1024 wide and more. Raises ModelError for a name that is
    unknown, a choice that the method has not, and a tower that it cannot run.
    """
    attention = named(attention, tower)
    if attention not in ATTENTION:
        raise ModelError(
            f'unknown attention {attention!r}: choose one of {", ".join((AUTO, *ATTENTION))}')
    if residual not in RESIDUAL:
        raise ModelError(f'unknown residual {residual!r}: choose one of {", ".join(RESIDUAL)}')
    method = ATTENTION[attention]
    if isinstance(method, RadSeg) and tower.attention != attention:
        # How sure other towers are of what is there, nobody has published.
        method = replace(method, denoise=0.0)
    if len(tower.blocks) < method.min_blocks:
        raise ModelError(f'attention {attention!r} compares outputs of the blocks before the '
                         f'last, and the tower has {len(tower.blocks)}: it needs '
                         f'{method.min_blocks}, use another attention')
    if residual == 'auto':
        drop = attention == 'csa' and tower.width >= LARGE_WIDTH
        return replace(method, residual=False) if drop else method
    if method.residual is None:
        raise ModelError(f'residual {residual!r} is no choice with attention {attention!r}, which '
                         "is defined without the last block's residual connection and "
                         "feed-forward network: use 'auto', or another attention")
    return replace(method, residual=residual == 'keep')


def describe(attention: str, residual: str, tower: Tower) -> str:
    """Say in words what `choose` returns, and why where it is not the method's own."""
    method = choose(attention, residual, tower)
    attention = named(attention, tower)
    what = f'{attention} attention'
    if attention == 'radseg' and tower.attention != attention:
        what += ', of which nothing is published for this kind of tower'
    if method.residual == ATTENTION[attention].residual:
        return what
    fate = 'kept' if method.residual else 'dropped'
    reason = f'the tower is {tower.width} wide' if residual == 'auto' else 'as asked for'
    return (f"{what}, the last block's residual connection and feed-forward "
            f'network {fate} ({reason})')
