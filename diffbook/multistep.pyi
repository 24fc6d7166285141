# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Sequence
from typing import NamedTuple
from torch import Tensor
from .core import Cond, Data, DenoiseFn, NoiseFn
from .samplers import Solver
from .schedules import Schedule
from typing import Any

__all__ = ['NODES', 'SHARES', 'DATA', 'NOISE', 'RATIO', 'EVEN', 'FLOW', 'dpmpp_2m', 'integrals', 'Form', 'multistep', 'dpm_solver', 'deis', 'adams_bashforth', 'ipndm', 'unipc', 'dpmpp_3m', 'dpmpp_sde', 'rms', 'adaptive']

def dpmpp_2m(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, past: Sequence[tuple[Tensor, Data]]=...) -> Data:
    """Take a DDIM step with the estimate foreseen for its middle in log SNR (DPM-Solver++(2M); Lu et al. 2022, algorithm 2; eq-multistep-2m).

    schedule: alpha and sigma
    denoise: (x_t, t, cond) -> x0
    x: x_t
    t: now
    s: next, less noisy
    cond: condition
    past: times and estimates of the steps before, newest last; a list gets this step's
    returns: x_s
    """
    ...

def integrals(points: Tensor, start: Tensor, end: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
    """Integrate the polynomials that are one at one of the points and zero at the others, times a weight (eq-multistep-lagrange).

    points: (p, ...) places of the known values
    start: (...) from here
    end: (...) to here
    weight: of a place
    returns: (p, ...): one for each point
    """
    ...

class Form(NamedTuple):
    """Say what a multistep method carries along, and how.

    told: (schedule, x, x0, t) -> what is carried along
    clock: (schedule, t) -> where its value stands
    weight: (schedule, c, s) -> its weight in x_s, at c
    hold: (schedule, x, x0, t, s) -> x_s if it does not change
    even: take all steps before to be as long as this one
    """
    told: Callable[[Schedule, Data, Data, Tensor], Data]
    clock: Callable[[Schedule, Tensor], Tensor]
    weight: Callable[[Schedule, Tensor, Tensor], Tensor]
    hold: Callable[[Schedule, Data, Data, Tensor, Tensor], Data]
    even: bool = False

DATA: Form

NOISE: Form

RATIO: Form

EVEN: Any

FLOW: Form

def multistep(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, form: Form=..., order: int=2, correct: bool=False, past: Sequence[tuple[Tensor, Data]]=...) -> Data:
    """Run a polynomial through what was told at the last times, and integrate it against its weight (eq-multistep-exact, eq-multistep-lagrange, eq-multistep-correct).

    form: what is carried along, and how
    order: values that the polynomial runs through
    correct: first mend the step before, by what is told now
    past: times and what was told there, newest last; a list gets this step's
    returns: x_s
    """
    ...

def dpm_solver(order: int=2) -> Solver:
    """Carry the estimate of the noise along in lambda (DPM-Solver, multistep; Lu et al. 2022)."""
    ...

def deis(order: int=3) -> Solver:
    """Carry the estimate of the noise along in sigma / alpha (DEIS, rho-AB; Zhang and Chen 2023)."""
    ...

def adams_bashforth(order: int=2) -> Solver:
    """Carry the velocity of the flow along in time (Adams and Bashforth, for any steps)."""
    ...

def ipndm(order: int=3) -> Solver:
    """Carry the estimate of the noise along in sigma / alpha as if all steps were of one length (iPNDM; Zhang and Chen 2023)."""
    ...

def unipc(order: int=2) -> Solver:
    """Carry the estimate of the data along in lambda, and correct each step by the next answer, which makes it of order + 1 (UniPC; Zhao et al. 2023)."""
    ...

def dpmpp_3m(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, curve: float=1.0, past: Sequence[tuple[Tensor, Data]]=...) -> Data:
    """Run a parabola through the last three estimates of the data in lambda (DPM-Solver++(3M); Lu et al. 2022; eq-multistep-curve).

    curve: share of the second derivative: 1 is of order three, 1/2 what the released codes take
    past: times and estimates of the steps before, newest last; a list gets this step's
    returns: x_s
    """
    ...

def dpmpp_sde(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, order: int=2, eta: float=1.0, noise: NoiseFn=..., past: Sequence[tuple[Tensor, Data]]=...) -> Data:
    """Carry the estimate of the data along on a path with fresh noise (SDE-DPM-Solver++; Lu et al. 2022; eq-multistep-sde).

    order: values that the polynomial runs through
    eta: amount of fresh noise
    noise: where it comes from
    past: times and estimates of the steps before, newest last; a list gets this step's
    returns: x_s
    """
    ...

def rms(error: Data) -> Tensor:
    """The root mean square of each example.

    returns: (b,)
    """
    ...

def adaptive(denoise: DenoiseFn, schedule: Schedule, x: Data, t: Tensor | float, s: Tensor | float, cond: Cond | None=None, *, rtol: float=0.01, atol: float=0.002, norm: Callable[[Data], Tensor]=...) -> tuple[Data, Tensor]:
    """Let each example take steps in lambda that are as long as orders one and two agree (DPM-Solver-12; Lu et al. 2022).

    rtol: error allowed in a step, as a share of the state
    atol: and beside it
    norm: of the error: one number an example
    returns: x_s, and how often each example asked
    """
    ...
