# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
import torch
from PIL import Image
from torch import Tensor, nn
from .conditioning import Conditional, Conditioner
from .core import Cond, Data, Rows
from .losses import Denoiser
from .nets.vae import ImageCodec
from .pretrained import NoisePlan
from .samplers import Solver
from .schedules import DiscreteSchedule, Schedule
from .stages import Stage
from .store.given import Picture

__all__ = ['shrink', 'enlarge', 'LowResolution', 'Upscaler', 'upscaling_loss', 'upscaling', 'StableUpscaler']

def shrink(x: Data, factor: int) -> Data:
    """Make a small picture: the mean of each square of factor x factor pixels (eq-cascade-shrink)."""
    ...

def enlarge(x: Data, factor: int) -> Data:
    """Make a large picture of a small one: smooth curves through its pixels (bicubic)."""
    ...

class LowResolution(Conditioner):
    """Tell a network a small picture, noised to a level, and the level (Ho et al. 2022, section 4.2; eq-cascade-augment)."""
    shape: tuple[Any, ...]
    factor: Any
    waves: int
    schedule: Schedule
    def __init__(self, channels: int, size: int, factor: int, waves: int=32, schedule: Schedule=...) -> None:
        """channels: of the pictures
        size: side of the small picture
        factor: how many times larger the picture to draw is
        waves: sines and cosines that tell the level, as `cond.vec`
        schedule: on which the small picture is noised
        """
        ...
    def forward(self, raw: tuple[Tensor, Tensor | float]) -> Cond:
        """returns: the small picture, as noisy as it is, and its level"""
        ...
    def null(self, n: int) -> Cond:
        """returns: nothing, at the level where nothing is left"""
        ...
    def noised(self, low: Tensor, level: Tensor | float, eps: Tensor) -> Cond:
        """Noise small pictures and tell both, picture and level, so that the two cannot come apart.

        low: (b, channels, size, size) clean small pictures, bytes or in [-1, 1]
        level: time on the schedule, () or (b,); 0 is clean
        eps: noise of the same shape
        """
        ...

class Upscaler(nn.Module):
    """Add what is missing to the enlarged picture; with a net that answers 0, that picture."""
    net: nn.Module
    def __init__(self, net: nn.Module) -> None: ...
    @property
    def img_channels(self) -> int: ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond) -> Tensor: ...

def upscaling_loss(model: Conditional, x0: Data, generator: torch.Generator | Rows, *, most: float=0.5, **options: Any) -> Tensor:
    """Give the loss of pictures that are drawn given their own small copies, each noised to a level of its own (eq-cascade-loss).

    model: a denoiser of large pictures and its `LowResolution`
    x0: (b, c, h, w) large pictures
    generator: of levels, times and noise
    most: the highest level to which small pictures are noised
    returns: (b,)
    """
    ...

def upscaling(model: Conditional, level: float=0.0, *, seed: int=0, **options: Any) -> tuple[Stage, Callable[[Tensor], Cond]]:
    """Make a link of a cascade: draw the large picture, given the one before, noised.

    model: a denoiser of large pictures and its `LowResolution`
    level: to which the picture of the stage before is noised
    seed: of that noise
    returns: a link for `stages.cascade`
    """
    ...

class StableUpscaler(nn.Module):
    """Enlarge a picture as a text says: latents are drawn beside the small picture, noised to a level that is told (Rombach et al. 2022, the x4 upscaler)."""
    denoiser: Any
    conditioner: Any
    vae: ImageCodec
    low: DiscreteSchedule
    plan: NoisePlan
    most: int
    def __init__(self, denoiser: Denoiser, conditioner: Conditioner, vae: ImageCodec, low: DiscreteSchedule, plan: NoisePlan, *, most: int=350) -> None:
        """denoiser: of latents as large as the small picture, which lies beside them
        conditioner: prompts -> cond
        vae: pixels <-> latents of unit variance
        low: on which the small picture is noised
        plan: how it is sampled, if nobody asks otherwise
        most: the highest level it was trained with
        """
        ...
    def tell(self, prompts: Sequence[str], picture: Tensor, level: int, eps: Tensor) -> Cond:
        """What the prompts say, the picture at this level of noise, and the level as a class.

        picture: (b, 3, h, w) in [-1, 1], b is 1 or that of the prompts
        level: a row of the table, from 0
        eps: noise, of the shape of the picture
        """
        ...
    def forward(self, prompt: str | Sequence[str], image: Picture, negative_prompt: str | Sequence[str]='', *, noise_level: int=20, steps: int=75, scale: float | Tensor=9.0, solver: Solver | None=None, seed: int=0, latents: Tensor | None=None, grain: Tensor | None=None, first: int=0, output: str='pil', progress: bool=True) -> list[Image.Image] | Tensor:
        """prompt: what is to be seen
        image: the small picture, or one for each prompt
        negative_prompt: what to stay away from
        noise_level: row of the table to which the picture is noised; 0 is the least
        scale: of guidance by the text; 1 is off
        solver: the step rule; the plan's, if not said
        latents: (b, c, h, w): starting noise of unit variance, in place of the seed's
        grain: noise for the picture, in place of the seed's
        first: number of the first picture: picture i of a batch is picture 0 with first=i
        output: 'pil'; 'tensor': in [0, 1]; 'latents'
        progress: show a bar
        """
        ...
    @classmethod
    def from_pretrained(cls, path: str | Path, dtype: torch.dtype | None=None) -> StableUpscaler:
        """Read a published upscaler (diffusers' StableDiffusionUpscalePipeline).

        path: a folder in the layout of the diffusers library, or a name of the Hub
        dtype: of the weights; None: as stored
        """
        ...

_FINISH: dict[Any, Any]
