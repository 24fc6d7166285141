# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
import torch
from torch import Tensor
from .core import Cond, Data, DenoiseFn, Rows
from .schedules import Schedule
from typing import Any

__all__ = ['Trace', 'exact_trace', 'probe_trace', 'draw_signs', 'log_likelihood', 'dequantise', 'bits_per_dim']

Trace = Callable[[Tensor, Tensor], Tensor]

def exact_trace(v: Data, x: Data) -> Tensor:
    """Sum the diagonal of dv/dx: one backward pass for each number of an example (eq-likelihood-trace).

    returns: (b,)
    """
    ...

def flow_rate(denoise: DenoiseFn, schedule: Schedule, like: Data, cond: Cond | None, trace: Trace, start: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Give the rate of y = (x, collected divergence), both (b, d + 1), in the clock t = start + (t_max - start) u**2.

    denoise: (x_t, t, cond) -> x0
    schedule: alpha and sigma
    like: an example batch: shape and dtype
    cond: condition
    trace: of the velocity
    start: the time at u = 0
    returns: (u, y) -> dy/du
    """
    ...

STAGES: tuple[Any, ...]

DOUBT: tuple[Any, ...]

def travel(rate: Callable[[Tensor, Tensor], Tensor], y: Tensor, rtol: float) -> Tensor:
    """Carry y (b, n) from u = 0, where its rate is zero, to u = 1; each row takes steps of its own (Dormand and Prince 1980)."""
    ...

def carry(denoise: DenoiseFn, schedule: Schedule, x: Data, cond: Cond | None, trace: Trace, rtol: float, start: float) -> tuple[Tensor, Tensor]:
    """Carry `x` (b, ...) at time `start` to t_max, in float64; give where it ends, and the divergence on the way, (b,)."""
    ...

def probe_trace(v: Data, x: Data, probe: Data) -> Tensor:
    """Estimate the divergence by one random direction, in one backward pass (Hutchinson 1990; eq-likelihood-hutchinson).

    returns: (b,)
    """
    ...

def draw_signs(n: int, like: Tensor, generator: torch.Generator | Rows) -> Tensor:
    """A direction of random signs for each example, in float64."""
    ...

def log_likelihood(denoise: DenoiseFn, schedule: Schedule, x: Data, cond: Cond | None=None, *, rtol: float=1e-05, divergence: str='exact', generator: torch.Generator | Rows | None=None, start: float | None=None, end: Callable[[Tensor], Tensor] | None=None) -> Tensor:
    """Give the log-density that the probability flow gives to `x`, of data plus the noise at `start` (Song et al. 2021; eq-likelihood-integral).

    denoise: (x_t, t, cond) -> x0, through which gradients pass
    schedule: alpha and sigma
    x: (b, ...) in the units of the data
    cond: condition
    rtol: error allowed in a step, relative above 1 and absolute below
    divergence: d backward passes a call; 'hutchinson': one, along random signs
    generator: of the signs
    start: time at which `x` stands; t_min if not said, on a table of betas 1
    end: the log-density (b, ...) -> (b,) of x at t_max; that of pure noise if not said
    returns: (b,) nats, in float64
    """
    ...

def dequantise(images: Tensor, generator: torch.Generator | Rows | None=None) -> Tensor:
    """Spread each of the 256 levels evenly over its bin of width 2/255 (Theis et al. 2016; eq-likelihood-dequantise).

    images: uint8
    returns: float32, within half a level of `to_model(images)`
    """
    ...

def bits_per_dim(log_p: Tensor, dims: int, width: float=...) -> Tensor:
    """Turn the log-density of dequantised data into bits for each number (eq-likelihood-bits).

    log_p: log-density of whole examples, in nats
    dims: numbers in one example
    width: of a bin, in the units of the data; 2/256 for (level + u)/128 - 1
    returns: an upper bound on the code length of the levels
    """
    ...
