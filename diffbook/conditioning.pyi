# Written by tools/stubs.py from the module beside it.

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
import torch
from torch import Tensor, nn
from .core import Cond, Data, Rows, Time
from .losses import Denoiser
from .nets.clip import TextTower
from .predictions import Prediction
from .schedules import Schedule
from .text import Tokenizer
from abc import ABCMeta

__all__ = ['Asked', 'Conditioner', 'ClassConditioner', 'VectorConditioner', 'TextConditioner', 'ImageConditioner', 'drop', 'Conditional', 'conditional_loss', 'Conditioners']

@dataclass(frozen=True)
class Asked:
    """What a pipeline says beside the prompts when it asks for a condition.

    size: height and width of the picture, in pixels
    skip: blocks left out at the end of a text tower
    away: these prompts say what to stay away from
    scale: of guidance, for networks that are told it
    """
    size: tuple[int, int] = ...
    skip: int = 0
    away: bool = False
    scale: float | Tensor = 1.0

class Conditioner(nn.Module, metaclass=ABCMeta):
    """Turn what people give (labels, captions, images) into what a network takes."""
    @abstractmethod
    def forward(self, raw: Any) -> Cond:
        """Give the condition of each example."""
        ...
    @abstractmethod
    def null(self, n: int) -> Cond:
        """Give `n` times the condition that says nothing, of the same fields and shapes."""
        ...
    tells_scale: bool
    def read(self, raw: Any, asked: Asked) -> Cond:
        """Give the condition as a pipeline asks for it."""
        ...

class ClassConditioner(Conditioner):
    """Look up a vector for each class; one more row stands for no class."""
    classes: Any
    table: nn.Embedding
    def __init__(self, classes: int, dim: int) -> None: ...
    def forward(self, raw: Tensor | Sequence[int]) -> Cond:
        """returns: (b,) labels -> vec (b, dim)"""
        ...
    def null(self, n: int) -> Cond: ...

class VectorConditioner(Conditioner):
    """Take a vector as it is, such as the embedding of a picture; a learned one stands for none."""
    none: nn.Parameter
    def __init__(self, dim: int) -> None: ...
    def forward(self, raw: Tensor) -> Cond:
        """returns: (b, dim) -> vec (b, dim)"""
        ...
    def null(self, n: int) -> Cond: ...

class TextConditioner(Conditioner):
    """Read captions with a text tower; the null condition is the empty caption. Rombach et al. 2022."""
    tokenizer: Tokenizer
    tower: TextTower
    pooled: bool
    frozen: bool
    masked: bool
    def __init__(self, tokenizer: Tokenizer, tower: TextTower, *, pooled: bool=False, frozen: bool=True, masked: bool=True) -> None:
        """tokenizer: text -> numbers
        tower: numbers -> states
        pooled: give the vector of the whole text too, as `cond.vec`
        frozen: leave the tower as it is: not trained, always in eval mode
        masked: give the mask; Stable Diffusion reads the padding too and was trained so
        """
        ...
    def forward(self, raw: Sequence[str] | str | Tensor) -> Cond:
        """returns: captions, or their tokens (b, context)"""
        ...
    def null(self, n: int) -> Cond: ...
    def train(self, mode: bool=True) -> 'TextConditioner':
        """Switch to training or eval mode; a frozen tower stays in eval mode."""
        ...
    def read(self, raw: Sequence[str], asked: Asked) -> Cond:
        """Give the condition as a pipeline asks for it: added words in full, blocks left out."""
        ...

class ImageConditioner(Conditioner):
    """Lay an image beside the noisy one, and one channel more that says whether there is any."""
    def __init__(self, channels: int, size: int | tuple[int, int]) -> None:
        """channels: of the image; `cond.img` has one more
        size: height and width, those of the noisy image
        """
        ...
    def forward(self, raw: Tensor) -> Cond:
        """returns: (b, channels, h, w) -> img (b, channels + 1, h, w)"""
        ...
    def null(self, n: int) -> Cond: ...

def drop(cond: Cond, null: Cond, p: float, generator: torch.Generator | Rows | None=None) -> Cond:
    """Replace the condition of some examples by the null condition. Ho and Salimans 2022, algorithm 1.

    cond: of b examples
    null: as many times nothing, of the same fields and shapes
    p: how likely an example is to lose its condition, 0.1 by custom
    generator: of the chance
    returns: each example keeps all of its condition, or none
    """
    ...

class Conditional(nn.Module):
    """Keep a denoiser and its conditioner together: trained, saved, loaded and called as one."""
    denoiser: Denoiser
    conditioner: Conditioner
    def __init__(self, denoiser: Denoiser, conditioner: Conditioner) -> None: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def prediction(self) -> Prediction: ...
    def condition(self, raw: object) -> Cond:
        """Turn labels, captions or images into a condition."""
        ...
    def null(self, n: int) -> Cond:
        """Give the condition that says nothing, `n` times."""
        ...
    def raw(self, x: Data, t: Time, cond: Cond | None=None) -> Data:
        """What the network says, before it is solved for x0; without a condition, under the null condition."""
        ...
    def forward(self, x: Data, t: Time, cond: Cond | None=None) -> Data: ...

def conditional_loss(model: Conditional, batch: tuple[Data, object], generator: torch.Generator | Rows, *, p: float | Mapping[str, float]=0.1, **options) -> Tensor:
    """Give the loss of a batch, some of it without its condition. Ho and Salimans 2022, algorithm 1 (eq-conditioning-drop, eq-text-loss).

    batch: (b, ...) clean data, and what each is conditioned on: labels, captions or images
    generator: of times, noise, and which examples lose their condition
    p: how likely an example is to lose its condition; or each part of it, for `Conditioners`
    returns: (b,) loss of each example
    """
    ...

class Conditioners(Conditioner):
    """Tell a network several things at once, each by a part of its own: a caption and a picture, a class and a caption."""
    parts: nn.ModuleDict
    def __init__(self, **parts: Conditioner) -> None: ...
    def forward(self, raw: Mapping[str, object]) -> Cond:
        """returns: what each part is given"""
        ...
    def null(self, n: int) -> Cond: ...
    def forget(self, raw: Mapping[str, object], n: int, p: Mapping[str, float], generator: torch.Generator | Rows | None=None) -> Cond:
        """The condition of n examples, each part of it lost with a chance of its own, 0 where `p` says none."""
        ...
