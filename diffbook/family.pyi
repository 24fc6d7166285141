# Written by tools/stubs.py from the module beside it.

import torch
from torch import Tensor, nn
from .core import Data

__all__ = ['CausalConv', 'optimal_discriminator', 'discriminator_loss', 'generator_loss', 'saturating_loss', 'AffineCoupling', 'Flow', 'PixelCNN', 'chain_log_prob', 'draw_pixels', 'importance_bound']

class CausalConv(nn.Conv2d):
    """A convolution that sees the rows above and, in its own row, what stands to the left (van den Oord et al. 2016)."""
    def __init__(self, inputs: int, outputs: int, size: int=3, own: bool=True) -> None:
        """inputs: channels
        outputs: channels
        size: odd; places across, of which the lower half is never seen
        own: see the own place too, as every layer but the first may
        """
        ...
    def pad(self, x: Tensor) -> Tensor: ...
    def forward(self, x: Tensor) -> Tensor: ...

def optimal_discriminator(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Give the probability that the best discriminator has for `real` (Goodfellow et al. 2014; eq-family-discriminator).

    log_p: log-density of the data
    log_q: of the samples, at the same places
    """
    ...

def discriminator_loss(judge: nn.Module, real: Data, fake: Data) -> Tensor:
    """Score a discriminator on data and samples; the mean is minus the game's value (Goodfellow et al. 2014; eq-family-game).

    judge: x -> logit of `real`
    fake: as the generator made it: no gradient passes to it
    returns: (b,)
    """
    ...

def generator_loss(judge: nn.Module, fake: Data) -> Tensor:
    """Ask that samples be called real: the non-saturating loss (Goodfellow et al. 2014; eq-family-saturate).

    judge: x -> logit of `real`
    returns: (b,)
    """
    ...

def saturating_loss(judge: nn.Module, fake: Data) -> Tensor:
    """Ask that samples not be called fake: the generator's side of the game, whose slope dies where it is needed (eq-family-saturate).

    judge: x -> logit of `real`
    returns: (b,)
    """
    ...

class AffineCoupling(nn.Module):
    """Scale and shift a part of x as the other part says, which passes unchanged (Dinh et al. 2017; eq-family-coupling)."""
    net: nn.Module
    bound: float
    keep: Tensor
    def __init__(self, net: nn.Module, keep: Tensor, bound: float=2.0) -> None:
        """net: (b, c, ...) -> (b, 2 c, ...): shift and log-scale
        keep: of the shape of one example: 1 for what passes unchanged, else 0
        bound: of the log-scale
        """
        ...
    def terms(self, x: Data) -> tuple[Tensor, Tensor]:
        """returns: shift and log-scale"""
        ...
    def forward(self, x: Data) -> tuple[Data, Tensor]:
        """returns: z and the log-determinant (b,)"""
        ...
    def inverse(self, z: Data) -> Data: ...

class Flow(nn.Module):
    """A chain of invertible layers from data to standard normal noise, with the exact likelihood (eq-family-change)."""
    layers: nn.ModuleList
    def __init__(self, *layers: nn.Module) -> None: ...
    def forward(self, x: Data) -> tuple[Data, Tensor]:
        """returns: z and the log-determinant (b,)"""
        ...
    def log_prob(self, x: Data) -> Tensor:
        """returns: (b,) nats"""
        ...
    def inverse(self, z: Data) -> Data: ...

class PixelCNN(nn.Module):
    """Predict each level of a grey picture from those above and to the left (van den Oord et al. 2016)."""
    levels: int
    first: CausalConv
    place: nn.Conv2d
    body: nn.ModuleList
    out: nn.Conv2d
    def __init__(self, levels: int=256, width: int=48, depth: int=7) -> None:
        """levels: that a pixel may have
        width: channels
        depth: layers behind the first
        """
        ...
    def places(self, x: Tensor) -> Tensor:
        """Rows and columns, from -1 to 1: where a pixel stands it may know."""
        ...
    def forward(self, images: Tensor) -> Tensor:
        """returns: whole levels (b, 1, h, w) -> logits (b, levels, h, w)"""
        ...

def chain_log_prob(logits: Tensor, levels: Tensor) -> Tensor:
    """Add up the logarithms of all conditional probabilities (eq-family-chain).

    logits: (b, levels, ...) of each place, given those before it
    levels: whole (b, ...) what stands there
    returns: (b,) nats
    """
    ...

def draw_pixels(model: PixelCNN, n: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw one pixel after the other; of each layer only the place that is new is computed.

    n: pictures
    size: height and width
    returns: (n, 1, size, size) uint8
    """
    ...

def importance_bound(log_weights: Tensor) -> Tensor:
    """Bound the log-likelihood from below by the mean weight of k draws, the tighter the more (Burda et al. 2016; eq-family-importance).

    log_weights: (k, b): log p(x, z) - log q(z | x) of k draws of z
    returns: (b,) nats
    """
    ...
