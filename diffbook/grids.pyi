# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
from torch import Tensor
from .core import DenoiseFn
from .schedules import Schedule

__all__ = ['angle_times', 'shifted_times', 'beta_quantile', 'beta_times', 'even_errors', 'step_costs', 'cheapest_path', 'tune_times']

def angle_times(schedule: Schedule, n: int, spread: float=1.0) -> Tensor:
    """Space n steps evenly in the angle whose tangent is sigma / (alpha spread): DDIM's best grid for Gaussian data (eq-grids-angle, eq-grids-cosines).

    schedule: alpha and sigma
    n: steps
    spread: standard deviation of the data
    returns: (n + 1,) falling, from t_max to t_min
    """
    ...

def shifted_times(schedule: Schedule, n: int, shift: float=3.0) -> Tensor:
    """Shift even times towards the noise (Esser et al. 2024, equation 23; eq-grids-shift).

    schedule: alpha and sigma
    n: steps
    shift: by how much each level is multiplied, on a straight path
    returns: (n + 1,) falling
    """
    ...

def beta_quantile(p: Tensor, a: float, b: float) -> Tensor:
    """The u below which a share p of the beta distribution lies, by its series and bisection (eq-grids-beta)."""
    ...

def beta_times(schedule: Schedule, n: int, a: float=0.6, b: float=0.6) -> Tensor:
    """Place n steps at even quantiles of a beta distribution of time (Lee et al. 2024)."""
    ...

def even_errors(times: Tensor, errors: Tensor, n: int, order: int=1) -> Tensor:
    """Choose times between which the errors of single steps are equal (eq-grids-best, eq-grids-even).

    times: (m + 1,) falling: a fine grid
    errors: (m,) error of one step of the method from each of them to the next
    n: steps of the grid that is wanted
    order: of the method: its errors grow with the step's length to the power order + 1
    returns: (n + 1,) falling
    """
    ...

def step_costs(denoise: DenoiseFn, schedule: Schedule, states: Tensor, times: Tensor, spread: float=1.0) -> Tensor:
    """Mean distance that one DDIM step from each time to each later one lands from the walk, as it would arrive on Gaussian data.

    denoise: (x_t, t, cond) -> x0
    schedule: alpha and sigma
    states: (m + 1, b, ...) at each time, of one walk that is as good as exact
    times: (m + 1,) falling
    spread: standard deviation of the data
    returns: (m + 1, m + 1), infinite where the step would not fall
    """
    ...

def cheapest_path(costs: Tensor, n: int) -> list[int]:
    """The n steps of least total cost from the first place to the last, as n + 1 places (Chen et al. 2024; eq-grids-path)."""
    ...

def tune_times(loss: Callable[[Tensor], Tensor], times: Tensor, rounds: int=150, rate: float=0.05) -> Tensor:
    """Move the inner times of a grid down the slope of a loss, all at once, by their shares of the way in the logarithm.

    loss: (n + 1,) times -> a number to lower, with its derivative
    times: (n + 1,) falling and positive, to begin with; the ends stay
    returns: the best that was met
    """
    ...
