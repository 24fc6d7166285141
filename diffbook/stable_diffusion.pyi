# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
import torch
from PIL import Image
from torch import Tensor, nn
from .conditioning import Asked, Conditioner
from .core import Cond, DenoiseFn
from .guidance import Rule
from .losses import Denoiser
from .nets.vae import ImageCodec
from .pretrained import NoisePlan
from .samplers import Solver, sample
from .schedules import Schedule
from .store.given import Picture
from typing import Any

__all__ = ['Pixels', 'in_ratio', 'Plan', 'published_plan', 'StableDiffusion', 'load_pipeline']

class Pixels(ImageCodec):
    """Change nothing: the codec of a model that works on pixels."""

    def encode(self, x: Tensor, generator: torch.Generator | None=None) -> Tensor: ...
    def decode(self, z: Tensor) -> Tensor: ...

def in_ratio(solver: Solver) -> Solver:
    """Let `solver` walk x / alpha over sigma / alpha: Euler's method is then DDIM (Karras et al. 2022, section 4; eq-stable-euler)."""
    ...

@dataclass(frozen=True)
class Plan:
    """Say how a model is sampled when nobody asks otherwise.

    solver: the step rule
    times: the grid
    unit: start from noise of unit variance; False: from sigma times it
    clip: estimates are kept within plus and minus this; a solver with `clip` set does so by itself
    scale: of guidance
    sized: the grid depends on the size: `times` is told how many cells the latents have
    """
    solver: Solver = ...
    times: Callable[[Schedule, int], Tensor] = ...
    unit: bool = True
    clip: float | None = None
    scale: float = 7.5
    sized: bool = False

def published_plan(plan: NoisePlan) -> Plan:
    """Say how diffusers would sample, as far as the book has the step rule."""
    ...

class StableDiffusion(nn.Module):
    """Draw what a text says: a denoiser of latents, a reader of prompts and a codec, assembled (Rombach et al. 2022)."""
    denoiser: Any
    conditioner: Any
    vae: ImageCodec
    plan: Plan
    paints: Any
    size: Any
    def __init__(self, denoiser: Denoiser, conditioner: Conditioner, vae: ImageCodec, *, plan: Plan=..., size: int | tuple[int, int]=512) -> None:
        """denoiser: of latents
        conditioner: prompts -> cond
        vae: pixels <-> latents of unit variance
        plan: how it is sampled, if nobody asks otherwise
        size: height and width in pixels, if nobody asks otherwise
        """
        ...
    @property
    def schedule(self) -> Schedule: ...
    def forward(self, prompt: str | Sequence[str], negative_prompt: str | Sequence[str]='', *, height: int | None=None, width: int | None=None, steps: int=30, scale: float | Tensor | None=None, solver: Solver | None=None, seed: int=0, latents: Tensor | None=None, image: Picture | None=None, mask: Picture | None=None, strength: float | None=None, clip_skip: int=0, rule: Rule=..., first: int=0, output: str='pil', progress: bool=True) -> list[Image.Image] | Tensor | Iterator[Tensor]:
        """prompt: what to draw: a text, or one for each picture
        negative_prompt: what to stay away from
        height: in pixels; that of the image, of the latents, or `size`, if not said
        scale: of guidance; 1 is off; that of the plan, if not said
        solver: the step rule; the plan's, if not said
        latents: (b, c, h / factor, w / factor): starting noise of unit variance, in place of the seed's
        image: a picture to start from
        mask: white, 1 or True (half and more) where the image is painted anew; the rest stays to the pixel
        strength: share of the steps to walk from an image; if not said 0.8, and 1 with a mask
        clip_skip: blocks left out at the end of the text tower
        rule: how guidance makes one estimate of two
        first: number of the first picture: picture i of a batch is picture 0 with first=i
        output: 'pil'; 'tensor': in [0, 1]; 'latents'; 'steps': an iterator of the latents after each step
        progress: show a bar
        """
        ...
    def read(self, prompts: Sequence[str], clip_skip: int=0, asked: Asked | None=None) -> Cond:
        """Turn prompts into what the network is told.

        prompts: one for each picture
        clip_skip: blocks left out at the end of the text tower
        asked: all that is said beside the prompts, in the place of clip_skip
        """
        ...
    def _noise(self, shape: tuple[int, ...], latents: Tensor | None, seed: int, first: int) -> Tensor:
        """The starting noise: a function of the seed and of a picture's number, or what was given."""
        ...
    def _shape(self, n: int, height: int | None, width: int | None, latents: Tensor | None, picture: Tensor | None, hole: Tensor | None) -> tuple[int, ...]:
        """The shape of the latents; refuse sizes that do not fit the codec or one another."""
        ...
    def encode(self, picture: Tensor, like: Tensor) -> Tensor:
        """Latents of a picture, one for each of the batch `like`: the mean of what the codec says, so nothing is drawn."""
        ...
    def _cells(self, hole: Tensor, like: Tensor) -> Tensor:
        """The hole in the grid of the latents, rounded outwards: a cell with any pixel to paint is painted."""
        ...
    def _begin(self, eps: Tensor, picture: Tensor | None, hole: Tensor | None, steps: int, strength: float | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Where the walk starts, its times, and the latents of the picture."""
        ...
    def _conditions(self, prompts: list[str], negative: str | Sequence[str], skip: int, scale: float | Tensor | None, picture: Tensor | None, hole: Tensor | None, eps: Tensor) -> tuple[Cond, Cond, float | Tensor]:
        """What to draw, what to stay away from, and the scale of guidance: 1 where the network is told it. Beside both, for a U-Net that fills holes, the hole and the picture around it."""
        ...
    def _solver(self, solver: Solver, z: Tensor | None, hole: Tensor | None, eps: Tensor, end: Tensor, seed: int, first: int) -> Solver:
        """The step rule with its fresh noise; around a hole, if the U-Net cannot see it, held to the picture."""
        ...
    def _clipped(self, denoise: DenoiseFn, solver: Solver) -> DenoiseFn: ...
    def decode(self, z: Tensor) -> Tensor:
        """Turn latents into pictures.

        z: latents of unit variance
        returns: (b, c, h, w) in [0, 1]
        """
        ...
    @classmethod
    def from_pretrained(cls, path: str | Path, dtype: torch.dtype | None=None, *, tokenizer: str | Path | None=None) -> StableDiffusion:
        """Read a whole published model, as `load_pipeline` does."""
        ...

_FINISH: dict[Any, Any]

def load_pipeline(path: str | Path, dtype: torch.dtype | None=None, *, tokenizer: str | Path | None=None) -> StableDiffusion:
    """Read a whole published model that draws what a text says, each part by its class; each file is read once.

    path: a folder in the layout of the diffusers library, a name of the Hub, or a single .safetensors file
    dtype: of the weights; None: as stored
    tokenizer: where the tokenizer lies; a single file holds none
    """
    ...
