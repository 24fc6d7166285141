# Written by tools/stubs.py from the module beside it.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from fastcore.basics import patch
from torch import Tensor, nn
from ..core import Cond
from .layers import ResBlock

__all__ = ['UNetStep', 'Layout', 'UNet']

class UNetStep(nn.Module):
    """One step of the walk: a residual block, then attention if `heads` is not zero, which reads a text if `seq_dim` is not."""
    res: ResBlock
    reads: Any
    attn: Any
    columns: Any
    def __init__(self, c_in: int, c_out: int, heads: int, groups: int, eps: float, dropout: float, scale_shift: bool, seq_dim: int=0, depth: int=1) -> None: ...
    def forward(self, x: Tensor, told: Tensor, cond: Cond | None=None) -> Tensor: ...

@dataclass(frozen=True)
class Layout:
    """How layers are wired where nets differ whose names and shapes agree; the defaults are the book's.

    scale_shift: how a block is told the noise level, see ResBlock
    down_pad: zeros before and after each axis when halving
    freq_shift: see sinusoids
    cos_first: see sinusoids
    eps: of every norm
    """
    scale_shift: bool = True
    down_pad: tuple[int, int] = ...
    freq_shift: float = 1.0
    cos_first: bool = False
    eps: float = 1e-05
    def __post_init__(self) -> None: ...

class UNet(nn.Module):
    """Map a noisy image and its noise level to an image of the same size. Ronneberger et al. 2015; Ho et al. 2020."""
    unit: Any
    down: nn.ModuleList
    up: nn.ModuleList
    mid: nn.ModuleList
    text_only: tuple[bool, ...]
    stem: nn.Conv2d
    norm: nn.GroupNorm
    head: Any
    waves: dict[str, float]
    time: nn.Sequential
    cond: Any
    tell: nn.Linear
    in_channels: int
    patch: int
    cond_layers: int
    cond_dim: int
    seq_dim: int
    img_channels: int
    def __init__(self, in_channels: int=1, out_channels: int | None=None, channels: tuple[int, ...]=..., *, blocks: tuple[int, ...]=..., heads: tuple[int, ...]=..., patch: int=2, groups: int=8, cond_dim: int=0, cond_layers: int=1, seq_dim: int=0, depth: int | tuple[int, ...]=1, text_only: tuple[bool, ...]=..., img_channels: int=0, dropout: float=0.0, layout: Layout=...) -> None:
        """in_channels: channels of the image that comes
        out_channels: channels that leave; as many as come, if not said
        channels: width of each level, finest first
        blocks: residual blocks of each level on the way down; one more on the way up
        heads: attention heads of each level and, last, of the middle; 0: none
        patch: side of the squares of pixels that are folded into channels at the start
        groups: groups of channels in every norm
        cond_dim: width of `cond.vec`; 0: the net takes none
        cond_layers: matrices that it passes, with SiLU between them: 1, or 2 as in Stable Diffusion XL
        seq_dim: width of the tokens `cond.seq`, read at every stage that has heads; 0: the net takes none
        depth: rounds of reading at each stage, or those of each level and, last, of the middle
        text_only: levels whose pixels ask the text in place of one another; none, if not said
        img_channels: channels of `cond.img`, laid beside the input; 0: the net takes none
        dropout: share of activations silenced in training
        layout: how its layers are wired, where published nets differ
        """
        ...
    def _add_walk(self, levels: list[tuple[int, int, int, int]], middle: tuple[int, int], pad: tuple[int, int], rest: tuple) -> None: ...
    def _add_way_up(self, levels: list[tuple[int, int, int, int]], widths: list[int], rest: tuple) -> None: ...
    def _ask_text(self, levels: tuple[bool, ...], seq_dim: int) -> None:
        """Let the pixels of some levels ask the text alone, as in the x4 upscaler of Stable Diffusion."""
        ...
    def _add_ends(self, c_in: int, c_out: int, width: int, groups: int, eps: float) -> None: ...
    def _add_told(self, waves: dict[str, float]) -> None: ...
    def told(self, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """Turn noise level and condition into what the blocks are told (eq-unet-told).

        noise_level: (b,)
        cond: holds `vec` (b, cond_dim) if the net was built with cond_dim
        returns: (b, all scales and shifts)
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None, added: Sequence[Tensor]=...) -> Tensor:
        """Walk down and keep all that is seen; walk up and read it again, last first.

        x: (b, in_channels, h, w)
        noise_level: (b,), one number an image
        cond: what the image is conditioned on
        added: to what each step of the way down and, last, the middle says: how others steer a net
        returns: (b, out_channels, h, w)
        """
        ...
    def join(self, h: Tensor, skip: Tensor) -> Tensor:
        """Stack channels.

        h: from below
        skip: over the bridge
        returns: both, stacked
        """
        ...
    def _refuse(self, x: Tensor, noise_level: Tensor, cond: Cond | None) -> None: ...
    def _take_image(self, in_channels: int, patch: int, dropout: float) -> None: ...
    def _take_conditions(self, cond_dim: int, cond_layers: int, seq_dim: int, img_channels: int, heads: bool) -> None: ...
    @classmethod
    def earlier(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a net that was saved when those of its layout stood among them."""
        ...
