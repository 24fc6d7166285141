# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
import torch
from torch import Tensor
from .core import Cond, Data, DenoiseFn, Rows
from .losses import Denoiser, Weight
from .samplers import Solver
from .schedules import Schedule

__all__ = ['foreseen', 'progressive_loss', 'squared_error', 'imitation_loss', 'distribution_loss']

def foreseen(schedule: Schedule, teacher: DenoiseFn, x: Data, grid: tuple[Tensor, ...], cond: Cond | None=None, solver: Solver=...) -> Data:
    """Give the estimate with which one DDIM step lands where the teacher's steps land (Salimans and Ho 2022, algorithm 2; eq-distillation-target).

    schedule: alpha and sigma
    teacher: who walks
    x: x_t
    grid: falling times from t to s, on which the teacher walks: t, m, s for two steps
    solver: the teacher's step
    returns: an estimate of x0
    """
    ...

def progressive_loss(student: Denoiser, x0: Data, generator: torch.Generator | Rows, cond: Cond | None=None, *, teacher: DenoiseFn, times: Tensor, solver: Solver=..., weight: Weight | None=None) -> Tensor:
    """Ask the student for the end of two steps of the teacher (Salimans and Ho 2022, algorithm 2).

    x0: (b, ...) clean data: they only say where to ask
    generator: of steps and noise
    teacher: the network of the round before
    times: (2 n + 1,) falling: the teacher's grid; the student takes every second of its times
    weight: on the squared error of x0
    returns: (b,)
    """
    ...

def squared_error(got: Data, want: Data, schedule: Schedule, t: Tensor, weight: Weight | None) -> Tensor:
    """The mean square of each example, weighted by its time.

    returns: (b,)
    """
    ...

def imitation_loss(student: Denoiser, x0: Data, generator: torch.Generator | Rows, cond: Cond | None=None, *, teacher: DenoiseFn, draw: Callable[[Schedule, int, torch.Generator], Tensor]=..., weight: Weight | None=None) -> Tensor:
    """Ask the student for what the teacher answers (Meng et al. 2023, section 3.1; eq-distillation-guided).

    x0: (b, ...) clean data: they only say where to ask
    generator: of times and noise
    cond: what the student is told
    teacher: (x_t, t, cond) -> x0, such as a guided denoiser that reads its scale from `cond`
    draw: of the times
    weight: on the squared error of x0
    returns: (b,) with floor 0
    """
    ...

def distribution_loss(x: Data, generator: torch.Generator | Rows, cond: Cond | None=None, *, real: DenoiseFn, fake: DenoiseFn, schedule: Schedule, draw: Callable[[Schedule, int, torch.Generator], Tensor]=..., weight: Weight | None=None) -> Tensor:
    """Pull outputs along the difference of two denoisers (Yin et al. 2024, equation 7; eq-distillation-dmd).

    x: (b, ...) outputs of the generator, with their gradient
    generator: of times and noise
    real: the teacher
    fake: a denoiser of the generator's outputs
    draw: of the times
    weight: on the difference of the two estimates; alpha**2 / sigma**2 for the KL itself
    returns: (b,), of which only the gradient means something
    """
    ...
