# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
from torch import Tensor
from .core import Cond, Data, DenoiseFn, NoiseFn
from .samplers import Solver
from .schedules import Schedule
from typing import Any

__all__ = ['reverse', 'euler_maruyama', 'SubVPSchedule', 'reverse_diffusion', 'renew', 'ddim_sde', 'midpoint_sde', 'corrected']

def reverse(schedule: Schedule, noise_level: float=1.0) -> tuple[Callable, Callable]:
    """Give drift and diffusion of the walk back to the data with any amount of noise and the same densities (Zhang and Chen 2023; eq-sde-reverse).

    schedule: alpha and sigma
    noise_level: l: 0 is the probability flow, 1 the reverse of the chain that adds noise
    returns: drift(x, x0, t), diffusion(t), for falling time
    """
    ...

def euler_maruyama(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, noise_level: float=1.0, noise: NoiseFn=...) -> Data:
    """Freeze drift and diffusion of the reverse equation for one step (Maruyama 1955; eq-sde-maruyama).

    noise_level: l: how much fresh noise
    noise: where it comes from
    returns: x_s
    """
    ...

class SubVPSchedule(Schedule):
    """Square the noise scale of a schedule with alpha**2 + sigma**2 = 1 (Song et al. 2021, sub-VP; eq-sde-sub-vp)."""
    base: Any
    t_min: Any
    t_max: Any
    def __init__(self, base: Schedule | None=None) -> None: ...
    def alpha(self, t: Tensor | float) -> Tensor: ...
    def sigma(self, t: Tensor | float) -> Tensor: ...
    def alpha_dot(self, t: Tensor | float) -> Tensor: ...
    def sigma_dot(self, t: Tensor | float) -> Tensor: ...

def reverse_diffusion(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, noise_level: float=1.0, noise: NoiseFn=...) -> Data:
    """Undo one step of the chain with its own increments (Song et al. 2021, appendix E; eq-sde-reverse-diffusion).

    noise_level: l: how much fresh noise
    noise: where it comes from
    returns: x_s
    """
    ...

def renew(schedule: Schedule, x0: Data, eps: Data, t: Tensor, s: Tensor, noise_level: float, z: Data) -> Data:
    """Mix data with noise for time s, of which the share that the reverse equation keeps from t to s is old (eq-sde-hold)."""
    ...

def ddim_sde(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, noise_level: float=1.0, noise: NoiseFn=...) -> Data:
    """Hold the estimate and solve the reverse equation exactly (SDE-DPM-Solver++(1); Lu et al. 2022; eq-sde-hold).

    noise_level: l: 0 is DDIM, 1 is DDPM's ancestral step
    noise: where fresh noise comes from
    returns: x_s
    """
    ...

def midpoint_sde(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, noise_level: float=1.0, noise: NoiseFn=...) -> Data:
    """Hold the estimate of the middle, on one path of noise: order two (DPM++ SDE of Crowson's k-diffusion; eq-sde-path).

    noise_level: l: 0 is a midpoint rule for the flow
    noise: where fresh noise comes from
    returns: x_s
    """
    ...

def corrected(solver: Solver, noise_level: float=1.0) -> Solver:
    """Ask once more at the new time and renew a share of the noise there (predictor-corrector; Song et al. 2021, appendix G; eq-sde-hold).

    solver: predicts x_s
    noise_level: l: how much of the noise is renewed at s; with a predictor of the flow, that of the whole
    """
    ...
