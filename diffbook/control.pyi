# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator
from torch import Tensor, nn
from .core import Cond, DenoiseFn
from .nets.layers import CrossAttention, TransformerBlock
from .nets.unet import UNet
from typing import Any

__all__ = ['edges', 'HintNet', 'WayDown', 'ControlNet', 'Controlled', 'with_net', 'with_control', 'guess_scales', 'rewired', 'readers', 'TwoSources', 'IPAdapter', 'guide_twice', 'SharedMaps']

def edges(images: Tensor, least: float=0.1) -> Tensor:
    """Draw the outline of pictures: mark each pixel that differs, in some channel, from its neighbour to the right or below.

    images: (n, c, h, w) uint8
    least: difference of two neighbours that makes an edge, as a share of the range
    returns: (n, 1, h, w) of 0 and 1
    """
    ...

class HintNet(nn.Module):
    """Shrink a picture to the grid on which the network works: halve it once for each width but the last. Zhang et al. 2023, section 3.2."""
    enter: nn.Conv2d
    halve: nn.ModuleList
    leave: nn.Conv2d
    def __init__(self, channels: int, widths: tuple[int, ...], out: int) -> None: ...
    def forward(self, hint: Tensor) -> Tensor:
        """returns: (b, channels, h, w) in [0, 1] -> (b, out, h / factor, w / factor)"""
        ...

class WayDown(UNet):
    """The way down and the middle of a U-Net, without the way up; called by `ControlNet`."""
    widths: tuple[Any, ...]
    stem: nn.Conv2d
    def _add_way_up(self, levels: list, widths: list[int], rest: tuple) -> None: ...
    def _add_ends(self, c_in: int, c_out: int, width: int, groups: int, eps: float) -> None: ...
    def copy_from(self, net: UNet) -> WayDown:
        """Take the weights of a whole U-Net."""
        ...

class ControlNet(nn.Module):
    """Look at a noisy picture and a hint with a copy of a network's way down, and say what to add to the network's own. Zhang et al. 2023."""
    encoder: WayDown
    hint: HintNet
    zeros: nn.ModuleList
    def __init__(self, hint_channels: int=3, hint_widths: tuple[int, ...]=..., **net: object) -> None:
        """hint_channels: of the hint, a picture with values in [0, 1]
        hint_widths: of the layers that shrink it
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None, hint: Tensor) -> list[Tensor]:
        """Walk down with the hint laid on the first features, and pass each stage through a zero convolution (eq-control-net).

        returns: an entry for each stage, and the middle's
        """
        ...
    @classmethod
    def of(cls, net: UNet, hint_channels: int=3, hint_widths: tuple[int, ...]=...) -> ControlNet:
        """Make the control of a network, and start from its weights.

        net: whose way down is copied
        """
        ...

class Controlled(nn.Module):
    """A network and what steers it by a hint, the picture in `cond.img`; without a hint, the network alone."""
    net: nn.Module
    control: nn.Module
    strength: float
    guess: bool
    hint: Tensor | None
    def __init__(self, net: nn.Module, control: nn.Module, *, strength: float=1.0, guess: bool=False, hint: Tensor | None=None) -> None:
        """net: takes `added`, as UNet does
        control: (x, noise_level, cond, hint) -> what to add
        hint: (1, c, h, w) for every call, where conditions bring none
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """What the network says, with what the control adds (eq-control-net)."""
        ...

def with_net(model: nn.Module, net: nn.Module) -> nn.Module:
    """The same model with another network in it.

    returns: all else is shared
    """
    ...

def with_control(model: nn.Module, control: nn.Module, **options: float | bool | Tensor) -> nn.Module:
    """Let a control steer a model that is finished.

    model: a Denoiser, or one with its conditioner
    control: a ControlNet or a HintAdapter
    returns: the same on the same weights, steered by a hint
    """
    ...

def guess_scales(n: int, like: Tensor) -> Tensor:
    """Give the strengths of guess mode, for prompts that are empty: little at the finest level, all in the middle.

    returns: (n,) from 0.1 to 1, in the dtype of `like`
    """
    ...

def rewired(net: nn.Module, wrap: Callable[[int, CrossAttention], nn.Module], part: str='cross') -> nn.Module:
    """Put something else in the place of each attention, way down first, then way up, then middle.

    wrap: (which, attention) -> what takes its place
    part: of each block that reads: 'cross' reads the text, 'own' the picture
    returns: another network on the same weights
    """
    ...

def readers(net: nn.Module) -> Iterator[TransformerBlock]:
    """The blocks that read tokens: of the way down, the way up, the middle."""
    ...

class TwoSources(nn.Module):
    """Read text and picture by two softmaxes with the same queries, and add what they say. Ye et al. 2023 (eq-control-two-softmaxes)."""
    cross: CrossAttention
    kv: nn.Linear
    tokens: int
    scale: float
    def __init__(self, cross: CrossAttention, kv: nn.Linear, tokens: int, scale: float) -> None: ...
    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None=None) -> Tensor:
        """returns: the last tokens are the picture's"""
        ...

class IPAdapter(nn.Module):
    """Let a network that reads text be prompted by a picture: tokens made of its embedding, and keys and values of their own for each reader. Ye et al. 2023."""
    tokens: int
    project: nn.Linear
    norm: nn.LayerNorm
    kv: nn.ModuleList
    def __init__(self, dim: int, seq_dim: int, widths: tuple[int, ...], tokens: int=4) -> None:
        """dim: of the embedding of a picture
        seq_dim: width of the tokens of the text
        widths: of the readers: way down, way up, middle
        tokens: that the picture becomes
        """
        ...
    @classmethod
    def of(cls, net: UNet, dim: int, tokens: int=4) -> IPAdapter:
        """Make the adapter of a network; its keys and values start as those of the text."""
        ...
    def tell(self, cond: Cond, picture: Tensor) -> Cond:
        """Lay the tokens of a picture behind those of the text.

        returns: picture (b, dim); zeros stand for none, before they are projected
        """
        ...
    def attach(self, net: UNet, scale: float=1.0) -> UNet:
        """The network on the same weights, reading pictures too."""
        ...

def guide_twice(denoise: DenoiseFn, blank: Cond, none: Cond, picture: float, text: float) -> DenoiseFn:
    """Guide by a picture and by a text, each with a scale of its own: one guidance inside another. Brooks et al. 2023, equation 3 (eq-control-two-scales).

    denoise: trained with both, without the text, and without either
    blank: the picture without the text
    none: neither
    picture: scale of the picture
    text: scale of the text, given the picture
    """
    ...

class SharedMaps(nn.Module):
    """Attention of a batch whose second half reads its own list with the weights of the first half. Hertz et al. 2022 (eq-control-maps)."""
    inside: CrossAttention
    def __init__(self, inside: CrossAttention) -> None: ...
    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None=None) -> Tensor: ...
