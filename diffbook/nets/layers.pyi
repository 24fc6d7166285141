# Written by tools/stubs.py from the module beside it.

from torch import Tensor, nn
from ..core import Cond
from typing import Any

__all__ = ['zero', 'sinusoids', 'ResBlock', 'attend', 'SelfAttention', 'CrossAttention', 'Round', 'TransformerBlock', 'check_cond', 'Downsample', 'Upsample']

def zero(layer: nn.Module) -> nn.Module:
    """Set all parameters of `layer` to zero, so that what it adds starts as nothing. Goyal et al. 2017, section 5.1.

    layer: a layer with parameters
    returns: the same layer
    """
    ...

def sinusoids(noise_level: Tensor, dim: int, *, period: float=10000.0, shift: float=1.0, cos_first: bool=False) -> Tensor:
    """Write each number as the sines and cosines of a ladder of frequencies. Vaswani et al. 2017, section 3.5 (eq-layers-waves).

    noise_level: (b,), one number an image
    dim: how many features, even: half of them sines, half cosines
    period: the slowest wave turns by one radian in so many units
    shift: 1: the last wave is the slowest; 0: the ladder stops one rung before it
    cos_first: which half comes first: published weights expect one or the other
    returns: (b, dim), float32
    """
    ...

class ResBlock(nn.Module):
    """Add to the input what two rounds of norm, SiLU and convolution make of it and of the noise level. Ho et al. 2020, appendix B (eq-layers-residual, eq-layers-told)."""
    norm1: nn.GroupNorm
    norm2: nn.GroupNorm
    conv1: nn.Conv2d
    conv2: Any
    skip: Any
    dropout: nn.Dropout
    scale_shift: bool
    signals: Any
    def __init__(self, c_in: int, c_out: int, *, groups: int, eps: float=1e-05, dropout: float=0.0, scale_shift: bool=True) -> None:
        """c_in: channels that come
        c_out: channels that leave
        groups: groups of channels that share a mean and a variance
        eps: guards the variance of a constant image
        dropout: share of activations silenced in training
        scale_shift: be told a scale and a shift after the second norm; False: a shift before it
        """
        ...
    def forward(self, x: Tensor, told: Tensor | None=None) -> Tensor:
        """x: (b, c_in, h, w)
        told: (b, signals); None: nothing to say, as in a net without noise levels
        returns: (b, c_out, h, w)
        """
        ...

def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None=None, causal: bool=False) -> Tensor:
    """Let each token gather from a list, in every head by itself. Vaswani et al. 2017, section 3.2 (eq-layers-attention, eq-conditioning-mask).

    q: (b, n, c) queries
    k: (b, l, c) keys
    v: (b, l, c) values
    heads: that share the c channels equally
    mask: (b, l) bool, True where a token may be read
    causal: let a token read only itself and those before it
    returns: (b, n, c)
    """
    ...

class SelfAttention(nn.Module):
    """Let every pixel gather from all the others. Vaswani et al. 2017; in a denoiser, Ho et al. 2020."""
    heads: int
    norm: nn.GroupNorm
    qkv: nn.Linear
    out: Any
    def __init__(self, channels: int, heads: int, *, groups: int, eps: float=1e-05) -> None: ...
    def forward(self, x: Tensor) -> Tensor:
        """returns: (b, c, h, w) -> the same shape"""
        ...

class CrossAttention(nn.Module):
    """Let each token of one list gather from another list. Vaswani et al. 2017, section 3.2."""
    heads: int
    q: nn.Linear
    kv: nn.Linear
    out: nn.Linear
    def __init__(self, channels: int, heads: int, other: int) -> None:
        """channels: width of the tokens that ask
        heads: that share the channels equally
        other: width of the tokens that answer
        """
        ...
    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None=None) -> Tensor:
        """Read for x (b, n, channels) in `other` (b, l, width), where `mask` (b, l) is True.

        returns: (b, n, channels)
        """
        ...
    def weights(self, x: Tensor, other: Tensor, mask: Tensor | None=None) -> Tensor:
        """Show the weights with which `forward` averages: rows sum to one, or to zero if nothing may be read.

        returns: (b, heads, n, l)
        """
        ...

class Round(nn.Module):
    """Let the tokens of a picture ask one another, then a text, then think; one of several rounds within a `TransformerBlock`."""
    def __init__(self, channels: int, heads: int, seq_dim: int) -> None: ...
    def forward(self, h: Tensor, seq: Tensor, mask: Tensor | None=None) -> Tensor:
        """returns: (b, n, c), (b, l, seq_dim), (b, l) -> (b, n, c)"""
        ...

class TransformerBlock(nn.Module):
    """Let the pixels ask one another, then a text, then think. Rombach et al. 2022, section 3.3."""
    norm_in: nn.GroupNorm
    enter: nn.Linear
    leave: Any
    more: nn.ModuleList
    def __init__(self, channels: int, heads: int, seq_dim: int, *, groups: int, depth: int=1) -> None:
        """channels: of the image
        heads: of both attentions
        seq_dim: width of the tokens of the text
        groups: of the first norm
        depth: rounds of asking and thinking
        """
        ...
    def forward(self, x: Tensor, seq: Tensor, mask: Tensor | None=None) -> Tensor:
        """returns: (b, c, h, w), (b, l, seq_dim), (b, l) -> (b, c, h, w)"""
        ...

def check_cond(cond: Cond | None, x: Tensor, *, vec: int=0, seq: int=0, img: int=0) -> None:
    """Raise a ValueError unless `cond` holds what a network was built with, for the batch `x`: a `vec`, a `seq`, an `img` of so many channels, 0 is none."""
    ...

class Downsample(nn.Module):
    """Halve height and width by a convolution of stride two."""
    pad: Any
    conv: nn.Conv2d
    def __init__(self, channels: int, pad: tuple[int, int]=...) -> None:
        """channels: that come and leave
        pad: zeros before and after each axis; DDPM's own weights expect (0, 1)
        """
        ...
    def forward(self, x: Tensor, *told: Tensor | Cond | None) -> Tensor:
        """returns: (b, c, h, w) -> (b, c, h / 2, w / 2)"""
        ...

class Upsample(nn.Module):
    """Double height and width: repeat each pixel and convolve, as one transposed convolution with 4/9 of the work (eq-layers-doubling)."""
    conv: nn.Conv2d
    def __init__(self, channels: int) -> None:
        """channels: that come and leave"""
        ...
    def forward(self, x: Tensor, size: tuple[int, int] | None=None) -> Tensor:
        """returns: (b, c, h, w) -> (b, c, 2 h, 2 w), or of that size"""
        ...
