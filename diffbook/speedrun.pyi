# Written by tools/stubs.py from the module beside it.

from collections.abc import Iterable
from typing import Any
import torch
from torch import Tensor, nn
from .training import Trainer

__all__ = ['JORDAN', 'orthogonal', 'matrices', 'Muon', 'muon']

JORDAN: tuple[Any, ...]

def orthogonal(g: Tensor, rounds: int=5, coefficients: tuple[float, float, float]=...) -> Tensor:
    """Bring the singular values of a matrix near 1 and keep its directions (Jordan et al. 2024; eq-speedrun-round, eq-speedrun-gram).

    g: (m, n)
    coefficients: of s, s^3 and s^5
    returns: (m, n)
    """
    ...

def matrices(model: nn.Module, least: int=16) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Part the weights that learn into those that Muon moves and those that it leaves to AdamW.

    least: both sides of a matrix are longer
    returns: the maps: weights of linear layers and whole convolutions; and the rest
    """
    ...

class Muon(torch.optim.Optimizer):
    """Step along orthogonal matrices (Jordan et al. 2024), as far as AdamW would (Liu et al. 2025); AdamW moves the rest (eq-speedrun-size)."""
    adamw: Any
    def __init__(self, matrices: Iterable[Tensor], rest: Iterable[Tensor]=..., lr: float=0.001, *, momentum: float=0.95, weight_decay: float=0.0, betas: tuple[float, float]=..., fused: bool=False) -> None:
        """matrices: of two axes or more; the later ones count as one
        rest: what AdamW moves
        lr: of both
        momentum: share of the old mean of gradients
        weight_decay: of both
        betas: of AdamW
        fused: of AdamW
        """
        ...
    def step(self, closure: Any=None) -> Any:
        """Make one update, without asking a closure for the loss again; where `found_inf` is 1, as a gradient scaler or a `Trainer` says it, none."""
        ...
    def fresh(self, p: Tensor) -> dict[str, Tensor]:
        """What is remembered of a weight that a gradient reaches for the first time: how a run that goes on knows what to read."""
        ...

def muon(trainer: Trainer) -> Muon:
    """Move a trainer's matrices by Muon and the rest by AdamW: `Trainer(..., optimizer=muon)`."""
    ...
