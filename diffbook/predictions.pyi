# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
from dataclasses import dataclass
from torch import Tensor
from .core import Data, Time
from .schedules import Schedule

__all__ = ['Prediction', 'predict_eps', 'predict_x0', 'predict_v', 'target', 'determinant', 'skip_out', 'solve_x0', 'predict_score', 'predict_velocity', 'predict_edm', 'check_solvable']

Prediction = Callable[[Schedule, Tensor], tuple[Tensor, Tensor]]

def predict_eps(schedule: Schedule, t: Time) -> tuple[Tensor, Tensor]:
    """The noise (Ho et al. 2020)."""
    ...

def predict_x0(schedule: Schedule, t: Time) -> tuple[Tensor, Tensor]:
    """The clean data."""
    ...

def predict_v(schedule: Schedule, t: Time) -> tuple[Tensor, Tensor]:
    """v = alpha eps - sigma x0 (Salimans and Ho 2022; eq-predictions-rotation)."""
    ...

def target(prediction: Prediction, schedule: Schedule, x0: Data, eps: Data, t: Time) -> Data:
    """Give what the network should have said (eq-predictions-pair).

    prediction: the pair (a, b)
    schedule: alpha and sigma
    x0: clean data
    eps: the noise that was mixed in
    t: time
    returns: a x0 + b eps
    """
    ...

def determinant(prediction: Prediction, schedule: Schedule, t: Time) -> Tensor:
    """Give the determinant of a prediction: how far its arrow points across that of x_t.

    prediction: the pair (a, b)
    schedule: alpha and sigma
    t: time
    returns: alpha b - sigma a, in float64
    """
    ...

def skip_out(prediction: Prediction, schedule: Schedule, t: Time) -> tuple[Tensor, Tensor]:
    """Give the two numbers that turn x_t and the network's answer into x0 (named as in Karras et al. 2022; eq-predictions-amplify).

    prediction: the pair (a, b)
    schedule: alpha and sigma
    t: time
    returns: c_skip and c_out in x0 = c_skip x_t + c_out y
    """
    ...

def solve_x0(prediction: Prediction, schedule: Schedule, y: Data, x: Data, t: Time) -> Data:
    """Solve the two linear equations of a prediction for the clean data (eq-predictions-solve).

    prediction: the pair (a, b)
    schedule: alpha and sigma
    y: what the network said
    x: the noisy input x_t
    t: time
    returns: x0 = (b x_t - sigma y) / (alpha b - sigma a)
    """
    ...

def predict_score(schedule: Schedule, t: Time) -> tuple[Tensor, Tensor]:
    """The score of the kernel, -eps / sigma (Vincent 2011)."""
    ...

def predict_velocity(schedule: Schedule, t: Time) -> tuple[Tensor, Tensor]:
    """The velocity dx_t/dt (Lipman et al. 2023)."""
    ...

@dataclass(frozen=True)
class predict_edm:
    """EDM's F: the unit-variance target behind c_skip and c_out (Karras et al. 2022, table 1; eq-predictions-edm).

    sigma_data: standard deviation of the data
    """
    sigma_data: float = 0.5
    def __post_init__(self) -> None: ...
    def __call__(self, schedule: Schedule, t: Time) -> tuple[Tensor, Tensor]: ...

def check_solvable(prediction: Prediction, schedule: Schedule, n: int=256) -> None:
    """Raise a ValueError if `prediction` cannot be solved for x0 at some time with noise, or changes its sign on the way.

    prediction: the pair (a, b)
    schedule: alpha and sigma
    n: times to look at
    returns: silent when all is well
    """
    ...
