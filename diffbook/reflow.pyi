# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
import torch
from torch import Tensor
from .core import Cond, Data, DenoiseFn
from .losses import Denoiser
from .samplers import Solver
from .schedules import Schedule

__all__ = ['straightness', 'reflow_pairs', 'reflow_loss']

def straightness(times: Tensor, states: Tensor) -> Tensor:
    """Give the mean squared difference between the velocity on the way and that of the chord, per dimension (Liu et al. 2023; eq-reflow-straightness).

    times: (n + 1,)
    states: (n + 1, b, ...) where each path is at these times
    returns: (b,) 0 for a straight path at constant speed
    """
    ...

def reflow_pairs(denoise: DenoiseFn, schedule: Schedule, eps: Data, times: Tensor, solver: Solver=..., cond: Cond | None=None) -> tuple[Data, Data]:
    """Carry noise down a teacher's flow, and keep where each came from (Liu et al. 2023, algorithm 1).

    denoise: the teacher
    schedule: alpha and sigma
    eps: noise
    times: (n + 1,) falling
    solver: without noise of its own
    returns: (x0, eps), the pairs to train on
    """
    ...

def reflow_loss(model: Denoiser, batch: tuple[Data, Data], generator: torch.Generator, cond: Cond | None=None, *, draw: Callable[[Schedule, int, torch.Generator], Tensor]=...) -> Tensor:
    """Give the flow-matching loss on given pairs.

    batch: pairs (x0, eps) of a teacher
    generator: of the times; the noise is that of the pairs
    returns: (b,)
    """
    ...
