# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from torch import Tensor
from .core import Cond, Data, DenoiseFn, Noise
from .exact import GaussianMixture
from .predictions import Prediction
from .samplers import Solver
from .schedules import Schedule
from typing import Any

__all__ = ['PLANE', 'BETWEEN', 'check_manners', 'check_straight', 'flow_error', 'check_order', 'check_solver', 'check_schedule', 'check_prediction', 'check_denoiser', 'Told', 'row_moments', 'moments', 'check_spread', 'check_law']

def check_manners(solver: Solver) -> None:
    """Raise if `solver` changes its input, the shape or the dtype, forgets cond, remembers, or mixes the examples of a batch."""
    ...

def check_straight(solver: Solver, schedules: Sequence[Schedule], times: Callable[[Schedule, int], Tensor]=...) -> None:
    """Raise if a solver without noise leaves the path alpha x0 + sigma eps when the data is one point x0."""
    ...

def flow_error(solver: Solver, law: GaussianMixture, schedule: Schedule, times: Tensor, known: int=0) -> float:
    """Walk from a sample of `law` at times[0] and give the distance from where the exact flow leads.

    solver: without noise
    law: one-dimensional, or a single Gaussian
    schedule: alpha and sigma
    times: (n + 1,) falling
    known: first steps that a solver which asks for `past` takes from exact states, for its memory alone
    returns: root of the mean square distance
    """
    ...

PLANE: GaussianMixture

BETWEEN: Any

def check_order(solver: Solver, order: float, schedule: Schedule | None=None, times: Callable[[Schedule, int], Tensor] | None=None, law: GaussianMixture | None=None, steps: Sequence[int]=...) -> None:
    """Raise if halving the steps does not divide the distance from the exact flow by 2**order, within a tenth of an order.

    solver: without noise
    order: claimed
    schedule: the cosine if not said: on a straight line some methods are better than their order by chance
    times: (schedule, n) -> grid; between two log-SNRs if not said
    law: a Gaussian in the plane, and a mixture, if not said
    steps: each twice the one before
    """
    ...

def check_solver(solver: Solver, order: float | None=1, *, schedule: Schedule | None=None, times: Callable[[Schedule, int], Tensor] | None=None, law: GaussianMixture | None=None, stochastic: bool=False, exact: bool=True) -> None:
    """Raise if `solver` breaks a rule that every solver keeps: manners, the Dirac test, the order of convergence.

    solver: the step rule under test
    order: of convergence; None for a solver that takes `noise`: 1, of its mean and covariance
    schedule: where the order is measured
    times: (schedule, n) -> grid, for the order
    law: of the data, for the order
    stochastic: it takes `noise`, and `order` is that of mean and covariance
    exact: with noise and one data point a step of it has no error; a rule that only comes near, as Euler's does, is judged by its order there too
    returns: silent when all is well
    """
    ...

def check_schedule(schedule: Schedule, n: int=64) -> None:
    """Raise a ValueError if `schedule` breaks a rule that every schedule keeps.

    schedule: yours
    n: times to look at
    returns: silent when all is well
    """
    ...

def check_prediction(prediction: Prediction, schedule: Schedule, n: int=256) -> None:
    """Raise a ValueError if `prediction` breaks a rule that every prediction keeps, the first being that x0 can be solved for.

    prediction: yours
    schedule: alpha and sigma
    n: times to look at
    returns: silent when all is well
    """
    ...

def check_denoiser(denoise: DenoiseFn, schedule: Schedule, x: Data, cond: Cond | None=None, *, tol: float=1e-05) -> None:
    """Raise if `denoise` breaks a rule of conduct, within `tol`, on a noisy batch `x` of two or more; how good its answers are is not looked at."""
    ...

@dataclass(frozen=True)
class Told(Noise):
    """Zero instead of noise, but for a one in a row of its own for each number drawn; it writes down what was asked for."""
    drawn: dict[tuple[str, float], int] = ...
    def __call__(self, x: Tensor, t: Tensor) -> Tensor: ...

def row_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a state whose first row is the mean, and each other row the mean and one direction."""
    ...

def moments(solver: Solver, denoise: DenoiseFn, schedule: Schedule, times: Tensor, mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the covariance that a walk makes of a Gaussian, (d,) and (d, d), if the denoiser is linear: exact, nothing is drawn (eq-conform-affine)."""
    ...

def check_spread(solver: Solver, schedules: Sequence[Schedule]) -> None:
    """Raise if a solver with noise leaves N(alpha x0, sigma**2), or asks about another state or time, when the data is one point x0."""
    ...

def check_law(solver: Solver, order: float, schedule: Schedule | None=None, times: Callable[[Schedule, int], Tensor] | None=None, law: GaussianMixture | None=None) -> None:
    """Raise if halving the steps does not divide the error of the mean and covariance on Gaussian data by 2**order or more.

    solver: with noise
    order: claimed of mean and covariance
    schedule: the cosine if not said
    times: (schedule, n) -> grid; even times from noise to data if not said
    law: a single Gaussian
    """
    ...
