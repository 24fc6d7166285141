# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator
from functools import wraps
from torch import Tensor
from .core import Cond, Data, DenoiseFn, Noise, NoiseFn
from .elbo import VarianceFn
from .schedules import Schedule

__all__ = ['Step', 'Solver', 'walk', 'check_walk', 'uniform_times', 'ancestral', 'ddim', 'euler', 'heun', 'asked', 'equip', 'sample', 'trailing_times', 'karras_times', 'snr_times', 'clip_x0', 'forked', 'churn']

Step = Callable[[DenoiseFn, Tensor, Tensor, Tensor, Cond | None], Tensor]

Solver = Callable[..., Tensor]

def walk(denoise: DenoiseFn, step: Step, x: Data, times: Tensor, cond: Cond | None=None, progress: bool=False) -> Iterator[Data]:
    """Take one step from each time to the next entry of the list, and yield where it leads."""
    ...

def check_call(denoise: DenoiseFn, schedule: Schedule, solver: Solver, cond: Cond | None) -> None:
    """Raise a ValueError that says which argument of a sampler is not what stands in its place."""
    ...

def check_walk(schedule: Schedule, x: Data, times: Tensor, way: int=-1) -> Tensor:
    """`times` in float64; refuse times that do not all fall (way -1) or rise (way 1), and an `x` that is not finite."""
    ...

def uniform_times(schedule: Schedule, n: int) -> Tensor:
    """Divide [t_min, t_max] into n equal steps: (n + 1,) falling times."""
    ...

def ancestral(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, noise: NoiseFn=..., variance: VarianceFn | None=None, both: Callable | None=None) -> Data:
    """Draw x_s from the posterior q(x_s | x_t, x0) at the estimated x0 (Ho et al. 2020, algorithm 2; eq-samplers-typed).

    schedule: alpha and sigma
    denoise: (x_t, t, cond) -> x0
    x: x_t
    t: now
    s: next, less noisy
    cond: condition
    noise: where fresh noise comes from
    variance: of the step, such as `denoiser.step_variance`; the posterior's if not said
    both: (x_t, t, s, cond) -> x0 and variance from one call of the network: `denoiser.both`, for `denoise` and `variance`
    returns: x_s
    """
    ...

def ddim(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, eta: float=0.0, noise: NoiseFn=...) -> Data:
    """Keep the estimated data and noise, and mix them anew for time s (Song et al. 2021, equation 12; eq-samplers-ddim, eq-samplers-eta, eq-ddpm-step, eq-multistep-first).

    eta: share of fresh noise: 0 is deterministic, 1 is DDPM's ancestral step
    noise: where fresh noise comes from
    returns: x_s
    """
    ...

def euler(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None) -> Data:
    """Follow the probability flow's velocity for one step (Euler's method)."""
    ...

def heun(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None) -> Data:
    """Average the velocities at both ends of an Euler step (Karras et al. 2022, algorithm 1; eq-samplers-heun)."""
    ...

def asked(solver: Solver) -> set[str]:
    """Names of the arguments of a solver and of all that it wraps."""
    ...

def equip(solver: Solver, **things: object) -> Solver:
    """Give a solver those of the things that it asks for, such as `noise` and `past`; a wrapper hands on what is not its own."""
    ...

def sample(denoise: DenoiseFn, schedule: Schedule, x: Data, times: Tensor, solver: Solver=..., cond: Cond | None=None, *, progress: bool=False) -> Iterator[Data]:
    """Walk the grid from noise to data: `*_, x0 = sample(...)`.

    denoise: (x_t, t, cond) -> x0
    schedule: alpha and sigma
    x: x at times[0]; from pure noise: sigma(t_max) times unit noise
    times: (n + 1,) falling
    solver: the step rule; one that asks for `past` gets a memory for this walk alone
    cond: condition
    progress: show a bar
    returns: every x_s; the last is the sample
    """
    ...

def trailing_times(schedule: Schedule, n: int) -> Tensor:
    """Space n steps evenly from t_max and round to whole times, exact halves to even ones (Lin et al. 2024, table 2)."""
    ...

def karras_times(schedule: Schedule, n: int, rho: float=7.0, least: float=0.002, most: float=1000.0) -> Tensor:
    """Space noise-to-signal levels evenly in their 1/rho-th power, then step to t_min (Karras et al. 2022, equation 5; eq-samplers-karras)."""
    ...

def snr_times(schedule: Schedule, n: int, ends: tuple[float, float] | None=None, least: float=0.002, most: float=1000.0) -> Tensor:
    """Space n steps evenly in the log signal-to-noise ratio: from t_max to t_min, or between two of its values, the lower first."""
    ...

def clip_x0(denoise: DenoiseFn, low: float=-1.0, high: float=1.0) -> DenoiseFn:
    """Keep a denoiser's estimates between `low` and `high`; every solver then recomputes the noise from them."""
    ...

def forked(own: NoiseFn | None, noise: Noise | None, word: str) -> NoiseFn:
    """Where a wrapper of a solver draws from: what it was made with, else a fork of the noise that it is handed, else seed 0."""
    ...

def churn(solver: Solver, gamma: float, low: float=0.0, high: float=..., s_noise: float=1.0) -> Solver:
    """Go back up by fresh noise before each step (Karras et al. 2022, algorithm 2).

    solver: the step rule
    gamma: by what share the noise-to-signal level is raised before each step
    low: only at levels from here
    high: to here
    s_noise: factor on the fresh noise; only 1 keeps the distribution of x_t
    """
    ...
