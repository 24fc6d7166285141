# Written by tools/stubs.py from the module beside it.

from torch import Tensor, nn
from .vae import AutoencoderKL
from typing import Any

__all__ = ['VectorQuantizer', 'run_in_tiles', 'in_tiles']

class VectorQuantizer(nn.Module):
    """Replace each latent cell by the nearest entry of a codebook. Van den Oord et al. 2017."""
    codes: nn.Parameter
    commitment: float
    def __init__(self, size: int=512, channels: int=4, commitment: float=0.25) -> None:
        """size: entries of the codebook
        channels: numbers in an entry
        commitment: weight of what holds the encoder to its choice
        """
        ...
    def look_up(self, index: Tensor) -> Tensor:
        """Give the entries of the codebook.

        returns: (b, h, w) int64 -> (b, channels, h, w)
        """
        ...
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give entries as z, with the gradient of z; their numbers (b, h, w); and the loss (b,) (eq-codebook-straight).

        returns: (b, channels, h, w)
        """
        ...

class _Reached(Exception):
    """Thrown when a layer is reached; carries what it was given."""

class _Known(nn.Module):
    """A GroupNorm whose means and variances are known: one factor and one shift for each channel."""
    factor: Any
    shift: Any
    def __init__(self, norm: nn.GroupNorm, mean: Tensor, var: Tensor) -> None: ...
    def forward(self, x: Tensor) -> Tensor: ...

def run_in_tiles(level: nn.Module, x: Tensor, tile: int) -> Tensor:
    """Run a level piece by piece: first measure what each norm sees of the whole image, then compute.

    level: convolutions and group norms, one halving or doubling at most
    x: (1, c, h, w)
    tile: side of a square, in pixels of the finer of the grids that come and leave
    returns: as `level(x)`, up to rounding
    """
    ...

class _InTiles(nn.Sequential):
    """The levels of an encoder or decoder, run for one image after the other, and in tiles."""
    tile: int
    def __init__(self, levels: nn.Sequential, tile: int) -> None: ...
    def forward(self, x: Tensor) -> Tensor: ...
    def _one(self, x: Tensor) -> Tensor: ...

def in_tiles(vae: AutoencoderKL, tile: int) -> AutoencoderKL:
    """Give the same autoencoder, which works in squares of so many pixels, one image at a time: less memory, equal result, no gradient.

    tile: side of a square, in pixels
    returns: shares the weights of `vae`
    """
    ...
