# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Sequence
import torch
from torch import Tensor
from .core import Data, DenoiseFn, Time
from .schedules import Schedule
from typing import Any

__all__ = ['GaussianMixture', 'reference_mixture', 'finite_data', 'random_mixture']

class GaussianMixture:
    """A mixture of k Gaussians in d dimensions, in float64, and all that is known about it under diffusion."""
    weights: Any
    means: Any
    covs: Any
    d: Any
    axes: Any
    spreads: Any
    def __init__(self, weights: Tensor | Sequence, means: Tensor | Sequence, covs: Tensor | Sequence) -> None:
        """weights: (k,), positive, sum one
        means: (k, d)
        covs: (k, d, d), symmetric, positive semi-definite
        """
        ...
    def _points(self, x: Tensor) -> Tensor:
        """`x` as (b, d) in float64, or a ValueError."""
        ...
    def _components(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Joint log-densities (b, k); x - alpha m in each component's axes and its variances there, (b, k, d)."""
        ...
    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density at `x`, (b, d) -> (b,), in nats (eq-exact-mixture)."""
        ...
    def _dense(self) -> None: ...
    def at(self, schedule: Schedule, t: Tensor | float) -> GaussianMixture:
        """The distribution of x_t, again a mixture (eq-exact-diffused)."""
        ...
    def sample(self, n: int, generator: torch.Generator | None=None) -> Tensor:
        """Draw (n, d) samples; without a generator, the same ones every time."""
        ...
    def score(self, x: Tensor) -> Tensor:
        """The gradient of the log-density at `x`, (b, d) -> (b, d) (eq-exact-score)."""
        ...
    def _posterior(self, schedule: Schedule, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """For each component its weight (b, k), and mean and variances (in its axes) of x0 given x_t, (b, k, d)."""
        ...
    def posterior(self, schedule: Schedule, x: Tensor, t: Time) -> tuple[Tensor, Tensor]:
        """The mean (b, d) and covariance (b, d, d) of x0 given x_t."""
        ...
    def denoise(self, schedule: Schedule) -> DenoiseFn:
        """The ideal denoiser: (x_t, t, cond) -> E[x0 | x_t], in the dtype of x_t."""
        ...
    def _mean_variance(self, schedule: Schedule, x: Tensor, t: Tensor) -> Tensor:
        """The variance of x0 given x_t, averaged over dimensions, (b, d) -> (b,)."""
        ...
    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Points (n, 1) and weights (n,) that integrate over the line: sixteen of Gauss and Legendre in each half deviation of each component."""
        ...
    def posterior_variance_and_error(self, schedule: Schedule, t: Tensor | float, samples: int=...) -> tuple[float, float]:
        """Average the variance of x0 given x_t over x_t, per dimension.

        schedule: how noise grows
        t: one time
        samples: drawn in more than one dimension
        returns: the value, and its standard error: 0 where it is exact
        """
        ...
    def posterior_variance(self, schedule: Schedule, t: Tensor | float) -> float:
        """The mean over x_t of the variance of x0 given x_t, per dimension."""
        ...
    def loss_floor(self, schedule: Schedule, t: Tensor | float, prediction: Callable) -> float:
        """Give the loss that no denoiser can beat at time `t`; of several components in d > 1, to about one part in a hundred (eq-exact-floor).

        schedule: how noise grows
        t: one time
        prediction: the pair (a, b) of the target a x0 + b eps
        returns: E||y - E[y | x_t]||^2 per dimension
        """
        ...
    def flow(self, schedule: Schedule, x: Tensor, t: Tensor | float, s: Tensor | float) -> Tensor:
        """Carry `x` (b, d) exactly along the probability flow from time `t` to time `s`.

        In one dimension paths cannot cross, so quantiles are kept; a single Gaussian is scaled along its axes (eq-exact-quantile, eq-exact-gaussian-flow).
        """
        ...
    def condition(self, A: Tensor | Sequence, y: Tensor | Sequence, sigma: float) -> GaussianMixture:
        """Condition on a linear measurement: again a mixture, each part updated like a Kalman filter (eq-inverse-kalman).

        A: (m, d)
        y: (m,) what was measured
        sigma: standard deviation of the noise of the measurement
        returns: the distribution of x given A x + sigma eps = y
        """
        ...

def reference_mixture() -> GaussianMixture:
    """The one-dimensional mixture of three that the book's measurements use."""
    ...

def finite_data(points: Data, schedule: Schedule) -> DenoiseFn:
    """Give E[x0 | x_t] for a finite data set: an average of its points, weighted by how likely each made x_t (eq-exact-softmax).

    points: (n, ...) the data set
    schedule: how noise grows
    returns: the ideal denoiser of exactly these points
    """
    ...

def random_mixture(seed: int, sd: float=0.5) -> GaussianMixture:
    """Draw a mixture of two to six bumps, for comparisons on many distributions.

    seed: which
    sd: its standard deviation
    returns: one-dimensional, of mean zero
    """
    ...
