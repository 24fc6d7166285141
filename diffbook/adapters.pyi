# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Mapping
from pathlib import Path
import torch
from torch import Tensor, nn
from .conditioning import Conditional, TextConditioner
from typing import Any

__all__ = ['Kept', 'Rows', 'add_word', 'LowRank', 'layers', 'attach', 'add_lora', 'adapters', 'merge_lora', 'unmerge_lora', 'save_lora', 'load_lora', 'scale_lora', 'prior_loss']

class Rows(nn.Module):
    """A table of vectors of which the last rows alone are trained: a parameter of their own, which no weight decay of the others reaches."""
    old: nn.Parameter
    new: nn.Parameter
    def __init__(self, table: nn.Embedding, new: Tensor) -> None: ...
    @property
    def weight(self) -> Tensor:
        """returns: (old and new rows, width)"""
        ...
    def forward(self, tokens: Tensor) -> Tensor: ...

def add_word(reader: TextConditioner, word: str, like: str) -> nn.Parameter:
    """Teach a reader of captions a new word: a token and a row of its own. Gal et al. 2023, section 3.2.

    reader: changed in place: it knows one word more, and nothing else of it is trained
    word: such as '<toy>'
    like: a word whose meaning the new one starts with
    returns: (1, width) the new vector, the only thing to train
    """
    ...

class LowRank(nn.Module):
    """What is added to a layer: gain * up(down(x)), through so few channels as its rank. Hu et al. 2022 (eq-adapters-lora)."""
    down: nn.Parameter
    up: nn.Parameter
    alpha: Any
    scale: float
    def __init__(self, down: Tensor, up: Tensor, alpha: float | None=None, scale: float=1.0) -> None:
        """down: (rank, in), or (rank, in, h, w) of a convolution
        up: (out, rank)
        alpha: gain times rank; None: the rank
        scale: how strongly it speaks, set by whoever draws
        """
        ...
    @property
    def gain(self) -> float: ...
    def product(self) -> Tensor:
        """Multiply it out: the change of the weight.

        returns: of the shape of the layer's weight
        """
        ...

def layers(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Give the layers of a model that an adapter fits, by name."""
    ...

def attach(model: nn.Module, name: str, found: Mapping[str, LowRank]) -> None:
    """Put adapters beside layers of a model, all under one name; raise a ValueError if one is there, or does not fit.

    returns: by name of the layer
    """
    ...

def add_lora(model: nn.Module, rank: int, alpha: float | None=None, *, where: Callable[[str], bool]=..., name: str='lora', seed: int=0) -> dict[str, LowRank]:
    """Freeze a model and put low-rank changes beside its layers, which start as nothing. Hu et al. 2022 (eq-adapters-lora).

    model: changed in place: its own weights are frozen
    rank: of each change
    alpha: gain times rank; None: the rank, so that the gain is 1
    where: which layers, by name; all linear layers and convolutions, if not said
    seed: of the first numbers
    returns: by name of the layer
    """
    ...

def adapters(model: nn.Module, name: str | None=None) -> dict[str, LowRank]:
    """Give the adapters of a model, or those of one name.

    returns: by name of the layer and of the adapter, with a point between
    """
    ...

Kept = dict[str, tuple[Tensor, nn.ModuleDict]]

def merge_lora(model: nn.Module) -> Kept:
    """Add every adapter to the weight of its layer, and take it away (eq-adapters-merge).

    returns: what unmerge_lora needs
    """
    ...

def unmerge_lora(model: nn.Module, kept: Kept) -> None:
    """Put the kept weights back, and the adapters beside them: to subtract what was added would leave rounding behind."""
    ...

def save_lora(model: nn.Module, path: str | Path, name: str='lora', about: Mapping[str, object] | None=None, dtype: torch.dtype | None=None) -> None:
    """Write one adapter as one file: two matrices and alpha for each layer, in the names of peft.

    path: a .safetensors file
    name: which of its adapters
    about: plain data that a reader may want to know
    dtype: of the stored numbers; None: as they are
    """
    ...

def load_lora(model: nn.Module, path: str | Path, scale: float=1.0, name: str='lora') -> list[str]:
    """Put a published LoRA beside the layers that it names; a ValueError names what cannot be applied (eq-adapters-lora).

    model: a network, a text tower, or what holds them; changed in place
    path: a file or folder in the names of save_lora, peft, diffusers or kohya
    scale: how strongly it speaks
    name: what it is called from here on
    returns: the layers that it changes
    """
    ...

def scale_lora(model: nn.Module, **scales: float) -> None:
    """Set how strongly adapters speak (eq-adapters-several).

    returns: by name; 0 is off
    """
    ...

def prior_loss(model: Conditional, batch: tuple[tuple[Tensor, object], tuple[Tensor, object]], generator: torch.Generator, keep: float=1.0, **options: object) -> Tensor:
    """Give the loss of the new pictures plus that of pictures that keep the old. Ruiz et al. 2023, equation 2 (eq-adapters-prior).

    batch: pictures and captions of the new thing; and of what is to be kept
    keep: weight of what is to be kept
    returns: ()
    """
    ...
