# Written by tools/stubs.py from the module beside it.

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
import torch
from torch import Tensor, nn
from abc import ABCMeta
from typing import Any

__all__ = ['Features', 'kl_to_normal', 'draw_latents', 'Codec', 'ImageCodec', 'AutoencoderKL', 'perceptual_loss', 'PatchJudge', 'judge_loss', 'fool_loss', 'vae_loss', 'pool_moments', 'measure_scale']

def kl_to_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """Give KL(q || N(0, I)) of independent Gaussians (Kingma and Welling 2014, appendix B; eq-vae-kl).

    mean: (b, ...)
    log_var: logarithm of the variance, of the same shape
    returns: (b,) nats, summed over all latents of an example
    """
    ...

def draw_latents(mean: Tensor, log_var: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw by scaling and shifting noise, so that gradients pass (Kingma and Welling 2014, section 2.4; eq-vae-draw).

    mean: of each latent
    log_var: logarithm of its variance
    generator: of the noise; None: give the mean
    returns: one draw, with gradients to mean and log_var
    """
    ...

class Codec(ABC):
    """Turn data into latents of unit variance, and latents into data."""
    @abstractmethod
    def encode(self, x: Tensor, generator: torch.Generator | None=None) -> Tensor:
        """Give the latents of data, at unit variance: drawn with a generator, else their means."""
        ...
    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Give the data of latents."""
        ...

class ImageCodec(Codec, metaclass=ABCMeta):
    """A codec of images (b, c, h, w), whose latents are a coarser grid.

    factor: pixels along a side of one latent cell
    latent_channels: numbers in a latent cell
    """
    factor: int
    latent_channels: int

class AutoencoderKL(nn.Module, ImageCodec):
    """Encode images as Gaussian latents and decode them. Kingma and Welling 2014; Rombach et al. 2022, section 3.1."""
    factor: Any
    in_channels: int
    latent_channels: int
    encoder: Any
    decoder: Any
    def __init__(self, in_channels: int=3, out_channels: int=3, channels: tuple[int, ...]=..., *, blocks: int=2, latent_channels: int=4, groups: int=32, attention: bool=True, mix: bool=True, eps: float=1e-06, scale: float | tuple[float, ...]=0.18215, shift: float | tuple[float, ...]=0.0) -> None:
        """channels: width of each level, finest first
        blocks: residual blocks of each level on the way down; one more on the way up
        latent_channels: numbers in a latent cell
        groups: groups of channels in every norm
        attention: let the cells of the coarsest level look at one another
        mix: mix the latent channels after the encoder and before the decoder
        eps: of every norm
        scale: one over the standard deviation of the latents, or of each channel
        shift: their mean
        """
        ...
    def encode(self, x: Tensor, generator: torch.Generator | None=None) -> Tensor:
        """Give the latents of images, at unit variance: drawn with a generator, else their means.

        returns: (b, in_channels, h, w) in [-1, 1] -> (b, latent_channels, h / factor, w / factor)
        """
        ...
    def decode(self, z: Tensor) -> Tensor:
        """Give the images of latents.

        returns: (b, latent_channels, h, w), of unit variance -> (b, out_channels, factor h, factor w)
        """
        ...
    def rescale(self, scale: float | Sequence[float], shift: float | Sequence[float]=0.0) -> None:
        """Say what turns latents into unit variance; `describe` and `save` keep it.

        scale: one over the standard deviation of the latents, or of each channel
        shift: their mean
        """
        ...
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give the distribution of the latents of each image, before shift and scale.

        x: (b, in_channels, h, w) in [-1, 1], h and w multiples of `factor`
        returns: mean and log-variance, each (b, latent_channels, h / factor, w / factor)
        """
        ...
    def _to_unit(self, z: Tensor) -> Tensor: ...
    def _from_unit(self, z: Tensor) -> Tensor: ...
    def forward(self, x: Tensor, generator: torch.Generator | None=None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode and decode, and give the distribution of the latents too: all that a loss needs.

        x: (b, in_channels, h, w)
        generator: draws the latents; None: their means
        returns: the images decoded; mean and log-variance of the latents
        """
        ...

Features = Callable[[Tensor], Sequence[Tensor]]

def perceptual_loss(features: Features, x: Tensor, y: Tensor) -> Tensor:
    """Give the squared distance of directions in feature space, summed over layers (Zhang et al. 2018, equation 1; eq-vae-features).

    features: a fixed network's view
    x: (b, c, h, w)
    y: the same shape
    returns: (b,)
    """
    ...

class PatchJudge(nn.Module):
    """Say of each patch of an image how real it looks. Isola et al. 2017, section 3.2."""
    body: nn.Sequential
    def __init__(self, in_channels: int=3, width: int=64, halvings: int=3, groups: int=8) -> None: ...
    def forward(self, x: Tensor) -> Tensor:
        """returns: (b, c, h, w) -> (b, 1, h', w')"""
        ...

def judge_loss(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Give the hinge loss of the judge (Lim and Ye 2017; Esser et al. 2021; eq-vae-hinge).

    judge: images -> scores, high for real
    real: (b, c, h, w)
    fake: the same shape; no gradient goes there
    returns: (b,)
    """
    ...

def fool_loss(judge: nn.Module, fake: Tensor) -> Tensor:
    """Give what the decoder minimises: minus the mean score of its patches (eq-vae-hinge).

    judge: images -> scores, high for real
    fake: (b, c, h, w)
    returns: (b,)
    """
    ...

def vae_loss(vae: AutoencoderKL, x: Tensor, generator: torch.Generator, *, kl_weight: float=1e-06, features: Features | None=None, features_weight: float=0.1, judge: nn.Module | None=None, judge_weight: float=0.01) -> Tensor:
    """Give mean squared error + kl_weight KL per value, and two optional terms (Rombach et al. 2022, appendix G; eq-vae-loss).

    x: (b, c, h, w) in [-1, 1]
    generator: draws the latents
    kl_weight: 2 s^2 of a decoder that claims the error s per value
    features: switches on the perceptual term
    judge: switches on the patch term
    returns: (b,)
    """
    ...

def pool_moments(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Join the moments of parts by the law of total variance, which loses no digits (Chan et al. 1979).

    counts: (k,) how many numbers each part has
    means: (k, ...) of each part
    variances: (k, ...) of each part
    returns: mean and variance of all parts together
    """
    ...

def measure_scale(vae: AutoencoderKL, images: Tensor, batch_size: int=64) -> float:
    """Give one over the standard deviation of all latents together (Rombach et al. 2022, appendix G).

    vae: trained
    images: (n, c, h, w) in [-1, 1]
    batch_size: images at a time
    returns: for `vae.rescale`
    """
    ...
