# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fastcore.basics import patch
from torch import Tensor, nn
from ..core import Cond
from typing import Any

__all__ = ['JIT', 'patchify', 'unpatchify', 'grid_places', 'sincos_places', 'modulate', 'BlockStyle', 'DiTBlock', 'DiT', 'rotary_angles', 'rotate', 'RMSNorm', 'GatedMLP']

def patchify(x: Tensor, patch: int, order: str='p q c') -> Tensor:
    """Cut an image into squares and write each as one token, row by row (Dosovitskiy et al. 2021; eq-dit-patches).

    x: (b, c, h, w)
    patch: side of a square of pixels
    order: of the numbers within a token: row, column, channel as DiT; 'c p q' as a convolution and FLUX
    returns: (b, n, patch * patch * c)
    """
    ...

def unpatchify(tokens: Tensor, patch: int, rows: int, order: str='p q c') -> Tensor:
    """Put the squares back where they came from.

    tokens: (b, n, patch * patch * c)
    patch: side of a square of pixels
    rows: of squares; the columns follow
    order: as of `patchify`
    returns: (b, c, h, w)
    """
    ...

def grid_places(rows: int, columns: int, base: int=0) -> Tensor:
    """Give row and column of each patch, in the order of the tokens.

    base: stretch both axes as if they had so many patches; 0: count patches
    returns: (rows * columns, 2), float64
    """
    ...

def sincos_places(places: Tensor, dim: int) -> Tensor:
    """Write row and column as waves, the column in the first half. Peebles and Xie 2023 (eq-dit-sincos).

    places: (n, 2) row and column
    dim: of the vector, a multiple of four
    returns: (n, dim), float64
    """
    ...

def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift all tokens of an image alike. Perez et al. 2018; Peebles and Xie 2023 (eq-dit-block).

    x: (b, n, c) tokens, normalised
    shift: (b, c), one row an image
    scale: (b, c); 0 changes nothing
    returns: (b, n, c)
    """
    ...

@dataclass(frozen=True)
class BlockStyle:
    """How a block is built; the defaults are those of DiT.

    rotary: turn queries and keys by row and column
    qk_norm: divide them by their root mean square, in each head
    rms: RMSNorm in place of LayerNorm
    gated: a gated MLP with as many weights in place of the plain one
    eps: of the norm before attention, and of the last
    eps_mlp: of the norm before the MLP
    """
    rotary: bool = False
    qk_norm: bool = False
    rms: bool = False
    gated: bool = False
    eps: float = 1e-06
    eps_mlp: float = 1e-06

JIT: BlockStyle

class DiTBlock(nn.Module):
    """Attention, then an MLP, each told how to scale, shift and weigh itself. Peebles and Xie 2023, section 3.2, adaLN-Zero (eq-dit-block)."""
    heads: int
    norm1: Any
    norm2: Any
    qkv: nn.Linear
    out: nn.Linear
    mlp: Any
    norm_q: Any
    norm_k: Any
    tell: Any
    def __init__(self, width: int, heads: int, style: BlockStyle=...) -> None:
        """width: of a token
        heads: that share it equally
        """
        ...
    def forward(self, h: Tensor, e: Tensor, angles: Tensor | None=None) -> Tensor:
        """h: (b, n, width) tokens
        e: (b, width) what the image is told
        angles: (n, width / heads / 2) of rotary positions
        returns: (b, n, width)
        """
        ...
    def attention(self, h: Tensor, angles: Tensor | None=None) -> Tensor:
        """Let the tokens of an image read each other."""
        ...

class DiT(nn.Module):
    """Map a noisy image and its noise level to an image of the same size, by attention alone. Peebles and Xie 2023."""
    in_channels: int
    patch: int
    grid: int
    style: BlockStyle
    cond_dim: int
    img_channels: int
    head_dim: Any
    stem: nn.Conv2d
    blocks: nn.ModuleList
    norm: Any
    tell: Any
    head: Any
    waves: Any
    time: nn.Sequential
    cond: Any
    def __init__(self, in_channels: int=3, out_channels: int | None=None, width: int=192, depth: int=6, heads: int=6, *, patch: int=4, cond_dim: int=0, img_channels: int=0, grid: int=0, freq_shift: float=0.0, style: BlockStyle=...) -> None:
        """in_channels: channels of the image that comes
        out_channels: channels that leave; as many as come, if not said
        width: of a token
        depth: blocks
        heads: that share the width equally
        patch: side of the square of pixels that is one token
        cond_dim: width of `cond.vec`; 0: the net takes none
        img_channels: channels of `cond.img`, laid beside the input; 0: the net takes none
        grid: patches a side for which positions are counted; others are stretched to it. 0: never stretched
        freq_shift: of the waves of the noise level, see sinusoids: 0 in DiT, 1 in diffusers' DiT
        style: how its blocks are built
        """
        ...
    def _add_told(self, width: int, freq_shift: float) -> None: ...
    def told(self, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """Turn noise level and condition into what all blocks are told (eq-dit-told).

        noise_level: (b,)
        cond: holds `vec` (b, cond_dim) if the net was built with cond_dim
        returns: (b, width)
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """Cut into tokens, say where each stands, let the blocks work, put back together.

        x: (b, in_channels, h, w), h and w multiples of the patch
        noise_level: (b,), one number an image
        cond: what the image is conditioned on
        returns: (b, out_channels, h, w)
        """
        ...
    def _refuse(self, x: Tensor, noise_level: Tensor, cond: Cond | None) -> None: ...

def rotary_angles(places: Tensor, dims: Sequence[int], theta: float=10000.0) -> Tensor:
    """Give the angle by which each pair of channels turns at each place. Su et al. 2021, section 3.2 (eq-dit-rotary).

    places: (n, axes): row and column, or more
    dims: channels of a head that turn with each axis, even
    theta: the slowest pair turns by about one radian in so many patches
    returns: (n, sum(dims) / 2), float64
    """
    ...

def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels by its angle. Su et al. 2021, equation 34 (eq-dit-rotary).

    x: (b, n, heads, d) queries or keys
    angles: (n, d / 2)
    returns: (b, n, heads, d)
    """
    ...

class RMSNorm(nn.Module):
    """Divide by the root of the mean square: no mean is taken away. Zhang and Sennrich 2019 (eq-dit-rms)."""
    eps: float
    weight: Any
    def __init__(self, dim: int, eps: float=1e-06, affine: bool=True) -> None:
        """dim: numbers in the last axis
        eps: guards a vector of zeros
        affine: learn a factor for each number
        """
        ...
    def forward(self, x: Tensor) -> Tensor: ...

class GatedMLP(nn.Module):
    """Two ways in, one of them gates the other. Shazeer 2020: SwiGLU with SiLU, GEGLU with GELU (eq-dit-gated)."""
    enter: nn.Linear
    leave: nn.Linear
    activation: Callable[[Tensor], Tensor]
    def __init__(self, dim: int, hidden: int, activation: Callable[[Tensor], Tensor]=..., bias: bool=True) -> None:
        """dim: that comes and leaves
        hidden: between: two thirds of a plain one's, for as many weights
        activation: of the gate
        """
        ...
    def forward(self, x: Tensor) -> Tensor: ...
