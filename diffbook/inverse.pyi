# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
from torch import Tensor
from .core import DenoiseFn
from .schedules import Schedule

__all__ = ['dps', 'pigdm']

def steer(denoise: DenoiseFn, schedule: Schedule, y: Tensor, measure: Callable[[Tensor], Tensor], weigh: Callable[[Tensor, Tensor, Tensor], Tensor]) -> DenoiseFn:
    """Add sigma**2 / alpha times the gradient at x_t of log p(y | x_t), where y is Gaussian around the measured estimate.

    denoise: (x_t, t, cond) -> x0
    schedule: alpha and sigma
    y: (b, ...) or (1, ...): what was measured
    measure: x0 -> what would be measured, without noise
    weigh: (misfit, x0, t) -> the misfit divided by its variance
    returns: estimates of x0 given x_t and y
    """
    ...

def dps(denoise: DenoiseFn, schedule: Schedule, y: Tensor, measure: Callable[[Tensor], Tensor], std: float, *, scale: float=1.0) -> DenoiseFn:
    """Sample given a measurement, as if the estimate of x0 were certain (Chung et al. 2023, diffusion posterior sampling).

    denoise: (x_t, t, cond) -> x0
    schedule: alpha and sigma
    y: what was measured
    measure: x0 -> what would be measured, without noise; any differentiable function
    std: of the noise of the measurement
    scale: of the step towards the measurement: 1 as derived, less is safer
    """
    ...

def conjugate_gradients(apply: Callable[[Tensor], Tensor], b: Tensor, rounds: int=20) -> Tensor:
    """Solve apply(v) = b for a symmetric positive map, each example on its own (Hestenes and Stiefel 1952)."""
    ...

def pigdm(denoise: DenoiseFn, schedule: Schedule, y: Tensor, measure: Callable[[Tensor], Tensor], std: float, *, var: float=1.0, rounds: int=20) -> DenoiseFn:
    """Sample given a linear measurement; x0 given x_t counts as Gaussian around its estimate (Song et al. 2023, pseudoinverse guidance; eq-inverse-pigdm).

    denoise: (x_t, t, cond) -> x0
    schedule: alpha and sigma
    y: what was measured
    measure: x0 -> what would be measured, without noise; linear
    std: of the noise of the measurement; may be 0
    var: of the data, per dimension
    rounds: of conjugate gradients
    """
    ...
