# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
from dataclasses import dataclass
import torch
from torch import Tensor
from .core import Cond, Data, DenoiseFn, Time, number, whole
from .schedules import DiscreteSchedule, Schedule
from typing import Any

__all__ = ['VARIANCES', 'VarianceFn', 'beta_variance', 'step_posterior', 'posterior_variance', 'ELBO', 'binned_log_prob', 'elbo_terms', 'learned_range', 'learned_log', 'learned', 'hybrid_loss', 'TermHistory']

def beta_variance(schedule: DiscreteSchedule, t: Time) -> Tensor:
    """Give beta_t, the variance of the forward step to the whole time t in 1..T."""
    ...

def step_posterior(schedule: DiscreteSchedule, x: Data, x0: Data, t: Time) -> tuple[Tensor, Tensor]:
    """Give the distribution of x_{t-1} when x_t and x_0 are known (Ho et al. 2020, equations 6 and 7; eq-elbo-posterior).

    schedule: a table of betas
    x: x_t
    x0: clean data, known or estimated
    t: whole times in 1..T
    returns: mean like x, variance of the shape of t
    """
    ...

def posterior_variance(schedule: DiscreteSchedule, t: Time) -> Tensor:
    """The variance of the step back when x_0 is known; at t = 1, where that is zero, the first beta."""
    ...

VARIANCES: dict[Any, Any]

@dataclass(frozen=True)
class ELBO:
    """Hold the terms of the bound on -log p(x0), in nats per example; they add up to a loss.

    prior: (b,) KL of x_T against pure noise
    transitions: (b, T - 1) KL of the steps from t to t - 1; column 0 is t = 2
    reconstruction: (b,) -log p(x0 | x1)
    dims: numbers in one example
    """
    prior: Tensor
    transitions: Tensor
    reconstruction: Tensor
    dims: int = 1
    @property
    def total(self) -> Tensor:
        """L, the upper bound on -log p(x0), (b,) in nats: a loss. The ELBO, which bounds log p(x0) from below, is minus this."""
        ...
    @property
    def bits_per_dim(self) -> Tensor:
        """The bound in bits for each number of x0, (b,) (eq-elbo-bits)."""
        ...

def binned_log_prob(x: Data, mean: Tensor, var: Tensor) -> Tensor:
    """Give the log-probability of each 8-bit level under a Gaussian cut into 256 bins (Ho et al. 2020, equation 13; eq-elbo-binned).

    x: 8-bit images scaled to [-1, 1]: multiples of 2/255 from -1
    mean: of the Gaussian
    var: its variance
    returns: nats, per element
    """
    ...

def variance_ends(schedule: Schedule, t: Tensor | float, s: Tensor | float) -> tuple[Tensor, Tensor]:
    """Give the variance of the step from t to s if x_0 is known, and of the forward step. Where s is clean the former is that of the step before it, 2t to t.

    schedule: alpha and sigma
    t: now
    s: the next time; neighbours in a table give beta-tilde_t and beta_t
    returns: of the shape of t
    """
    ...

Decoder = Callable[[Tensor, Tensor, Tensor], Tensor]

def bound_term(schedule: DiscreteSchedule, x0: Data, x: Data, t: Time, estimate: Data, var: Tensor, *, decoder: Decoder=...) -> Tensor:
    """Give one term of the bound: the KL of the step to t - 1, or at t = 1 -log p(x0 | x1). Gradients pass.

    schedule: a table of betas
    x0: (b, ...) clean data
    x: x_t
    t: whole times in 1..T
    estimate: of x0, from x_t
    var: of the step back: of the shape of t, or like x
    returns: (b,) nats
    """
    ...

VarianceFn = Callable[[Tensor, Tensor, Tensor, Cond | None], Tensor]

def elbo_terms(denoise: DenoiseFn, schedule: DiscreteSchedule, x0: Data, variance: str | Callable='posterior', generator: torch.Generator | None=None, *, decoder: Decoder=..., learned: VarianceFn | None=None) -> ELBO:
    """Estimate the variational bound on -log p(x0) with one draw of noise for each step (Ho et al. 2020, equation 5; eq-elbo-terms, eq-elbo-kl).

    denoise: (x_t, t, cond) -> x0
    schedule: a table of betas
    x0: (b, ...) clean data
    variance: or 'beta', or a function (schedule, t) -> variance of the step back
    generator: where the noise comes from
    decoder: a density for real numbers; `binned_log_prob` for 8-bit images
    learned: a variance that the model tells, in place of `variance`
    returns: nats per example
    """
    ...

def learned_range(schedule: Schedule, v: Tensor, t: Time, s: Time) -> Tensor:
    """Read a variance from v: -1 is the posterior's, 1 the forward step's, between them the logarithm is linear (Nichol and Dhariwal 2021, equation 15; eq-elbo-range)."""
    ...

def learned_log(schedule: Schedule, v: Tensor, t: Time, s: Time) -> Tensor:
    """Read a variance from v, its logarithm."""
    ...

def learned(schedule: Schedule, v: Tensor, t: Time, s: Time) -> Tensor:
    """Read a variance from v, the variance itself: so the diffusers library understands `learned`."""
    ...

def hybrid_loss(schedule: DiscreteSchedule, x0: Data, eps: Data, t: Tensor, estimate: Data, var: Data, *, share: float=0.001, decoder: Decoder=...) -> Tensor:
    """Add a share of the bound, which teaches the variance alone, to the squared error of the noise (Nichol and Dhariwal 2021, equation 16; eq-elbo-hybrid).

    schedule: a table of betas
    x0: (b, ...) clean data
    eps: noise like x0
    t: (b,) whole times in 1..T
    estimate: of x0, from x_t = alpha x0 + sigma eps
    var: of the step to t - 1, like x0
    share: lambda
    returns: (b,)
    """
    ...

class TermHistory:
    """Remember the last terms of the bound for each t, and draw t where they are large (Nichol and Dhariwal 2021, section 3.3)."""
    terms: Any
    seen: Any
    uniform: Any
    def __init__(self, T: int, length: int=10, uniform: float=0.001) -> None:
        """T: steps of the table
        length: terms to remember for each t
        uniform: share of the draws that stays uniform
        """
        ...
    def remember(self, t: Tensor, terms: Tensor) -> None:
        """Take the terms (b,) that the times `t` (b,) gave."""
        ...
    def chances(self) -> Tensor:
        """The chance of each t in 1..T, (T,) (eq-elbo-importance)."""
        ...
    def draw(self, schedule: DiscreteSchedule, b: int, generator: torch.Generator) -> Tensor:
        """Draw b times, (b,) in float64."""
        ...
    def weight(self, schedule: DiscreteSchedule, t: Tensor) -> Tensor:
        """What keeps the mean of a loss whose times were drawn so: 1 / (T p_t). Ask before you remember new terms."""
        ...
