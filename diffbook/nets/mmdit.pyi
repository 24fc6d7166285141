# Written by tools/stubs.py from the module beside it.

from collections.abc import Sequence
from fastcore.basics import patch
from torch import Tensor, nn
from ..core import Cond
from .layers import attend
from typing import Any

__all__ = ['Heads', 'joint_attend', 'Closing', 'Stream', 'LastText', 'JointBlock', 'Told', 'MMDiT', 'SingleBlock', 'Flux']

class Heads(nn.Module):
    """What one kind of token brings to an attention: queries, keys and values, and the way back (eq-mmdit-joint)."""
    heads: int
    qkv: nn.Linear
    norm_q: Any
    norm_k: Any
    out: Any
    def __init__(self, dim: int, heads: int, qk_norm: bool=False, back: bool=True) -> None: ...
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """returns: (b, n, dim) -> three of (b, n, heads, dim / heads)"""
        ...

def joint_attend(asks: Sequence[tuple[Tensor, Tensor, Tensor]], angles: Tensor | None=None, mask: Tensor | None=None) -> tuple[Tensor, ...]:
    """Lay the tokens of all kinds end to end and let each read all. Esser et al. 2024, section 4 (eq-mmdit-joint).

    asks: of each kind of token its queries, keys and values, (b, n, heads, d)
    angles: (n of all kinds, d / 2) of rotary positions
    mask: (b, n of all kinds) bool, True where a token may be read
    returns: of each kind (b, n, heads * d)
    """
    ...

class Closing(nn.Module):
    """Norm, scale and shift where nothing follows but a projection: in published files the scale comes *first* here, and nowhere else."""
    tell: Any
    def __init__(self, dim: int) -> None: ...
    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """returns: (b, n, dim), (b, dim) -> (b, n, dim)"""
        ...

class Stream(nn.Module):
    """All that one kind of token has to itself in a block: modulation, projections, MLP (eq-mmdit-block)."""
    tell: Any
    attn: Heads
    own: Any
    mlp: nn.Sequential
    def __init__(self, dim: int, heads: int, qk_norm: bool=False, dual: bool=False) -> None:
        """dual: attend among themselves too, as the images of Stable Diffusion 3.5"""
        ...
    def hear(self, c: Tensor) -> list[Tensor]:
        """What this kind of token is told in this block.

        returns: (b, dim) -> six or nine of the same: shift, scale, gate of attention, of the MLP, of its own attention
        """
        ...
    def ask(self, x: Tensor, told: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Its part in the joint attention."""
        ...
    def take(self, x: Tensor, mixed: Tensor, told: list[Tensor]) -> Tensor:
        """Add what came back from the attention, then what the MLP makes of the sum."""
        ...

class LastText(nn.Module):
    """The text in the last block of Stable Diffusion 3: it is read once more and not written, so it needs neither gates nor MLP."""
    close: Closing
    attn: Heads
    def __init__(self, dim: int, heads: int, qk_norm: bool=False) -> None: ...
    def hear(self, c: Tensor) -> Tensor: ...
    def ask(self, x: Tensor, told: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...
    def take(self, x: Tensor, mixed: Tensor, told: Tensor) -> Tensor: ...

class JointBlock(nn.Module):
    """Text and image, each with weights of its own, in one attention. Esser et al. 2024, figure 2 (eq-mmdit-block)."""
    text: Any
    image: Stream
    def __init__(self, dim: int, heads: int, qk_norm: bool=False, dual: bool=False, last: bool=False) -> None: ...
    def forward(self, text: Tensor, image: Tensor, c: Tensor, angles: Tensor | None=None, mask: Tensor | None=None) -> tuple[Tensor, Tensor]:
        """Map text (b, l, dim) and image (b, n, dim), told c (b, dim), to the same shapes."""
        ...

class Told(nn.Module):
    """One vector of all that a network is told beside its tokens: noise level, vector of the text, guidance scale if it was distilled (eq-mmdit-told)."""
    time: Any
    vec: Any
    scale: Any
    def __init__(self, dim: int, vec_dim: int, guided: bool=False) -> None:
        """guided: the last number of `cond.vec` is a guidance scale"""
        ...
    def forward(self, noise_level: Tensor, vec: Tensor) -> Tensor:
        """returns: (b,), (b, vec_dim, and 1 if guided) -> (b, dim)"""
        ...

class MMDiT(nn.Module):
    """Map noisy latents and their noise level to latents, as Stable Diffusion 3 does. Esser et al. 2024, section 4."""
    in_channels: int
    patch: int
    seq_dim: int
    vec_dim: int
    table: int
    patches: nn.Conv2d
    read: nn.Linear
    told: Told
    blocks: nn.ModuleList
    close: Closing
    head: Any
    img_channels: int
    def __init__(self, in_channels: int=16, dim: int=1536, depth: int=24, heads: int=24, *, patch: int=2, seq_dim: int=4096, vec_dim: int=2048, table: int=192, base: int=64, qk_norm: bool=False, dual: Sequence[int]=...) -> None:
        """in_channels: channels that come and leave
        dim: width of a token
        depth: blocks
        heads: that share the width equally
        patch: side of the square that is one token
        seq_dim: width of the tokens of the text, `cond.seq`
        vec_dim: of the vector of the text, `cond.vec`
        table: rows and columns of patches that it has positions for
        base: a table of so many patches would count them by one
        qk_norm: as Stable Diffusion 3.5
        dual: blocks with a second attention, of the image alone, as Stable Diffusion 3.5
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """Map x (b, in_channels, h, w) at noise_level (b,), from 0 to 1000, to the same shape."""
        ...
    def window(self, rows: int, columns: int) -> Tensor:
        """The middle of the table of positions.

        returns: (1, rows * columns, dim)
        """
        ...

class SingleBlock(nn.Module):
    """Text and image as one list with the same weights, attention beside the MLP. Black Forest Labs 2024, after Dehghani et al. 2023 (eq-mmdit-single)."""
    tell: Any
    attn: Heads
    widen: nn.Linear
    out: nn.Linear
    def __init__(self, dim: int, heads: int) -> None: ...
    def forward(self, x: Tensor, c: Tensor, angles: Tensor | None=None, mask: Tensor | None=None) -> Tensor: ...

class Flux(nn.Module):
    """Map noisy latents and their noise level to latents, as FLUX.1 does: joint blocks, then single ones, with rotary positions. Black Forest Labs 2024."""
    in_channels: int
    patch: int
    seq_dim: int
    vec_dim: Any
    axes: Any
    patches: nn.Linear
    read: nn.Linear
    told: Told
    blocks: nn.ModuleList
    singles: nn.ModuleList
    close: Closing
    head: Any
    img_channels: int
    def __init__(self, in_channels: int=16, dim: int=3072, depth: tuple[int, int]=..., heads: int=24, *, patch: int=2, seq_dim: int=4096, vec_dim: int=768, axes: Sequence[int]=..., guided: bool=True) -> None:
        """in_channels: channels that come and leave
        dim: width of a token
        depth: joint blocks, single blocks
        heads: that share the width equally
        patch: side of the square that is one token
        seq_dim: width of the tokens of the text, `cond.seq`
        vec_dim: of the vector of the text, `cond.vec`
        axes: channels of a head that turn with a picture's number, its row, its column
        guided: one more number in `cond.vec`: the guidance scale that it was distilled for
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """Map x (b, in_channels, h, w) at noise_level (b,), from 0 to 1000, to the same shape."""
        ...
    def angles(self, words: int, rows: int, columns: int) -> Tensor:
        """A word stands at place 0 of every axis, which turns nothing; a patch at (0, row, column).

        returns: (words + rows * columns, half a head)
        """
        ...
