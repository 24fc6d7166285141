# Written by tools/stubs.py from the module beside it.

from dataclasses import dataclass
from torch import Tensor

__all__ = ['Kernel', 'forward_kernel', 'jump']

@dataclass(frozen=True, eq=False)
class Kernel:
    """Hold a linear-Gaussian step: x becomes a draw from N(gain x + offset, var)."""
    gain: Tensor | float
    var: Tensor | float
    offset: Tensor | float = 0.0
    def __post_init__(self): ...
    def marginal(self, mean: Tensor | float, var: Tensor | float) -> tuple[Tensor, Tensor]:
        """The mean and variance after the step, of a distribution with this mean and variance before it (eq-markov-variance)."""
        ...
    def sample(self, x: Tensor, eps: Tensor) -> Tensor:
        """Take the step from `x` with the standard noise `eps`."""
        ...
    def log_prob(self, to: Tensor, x: Tensor) -> Tensor:
        """The log-density of landing at `to` from `x`, per element, in nats."""
        ...
    def then(self, after: Kernel) -> Kernel:
        """The kernel of this step followed by another (Chapman-Kolmogorov; eq-markov-chapman, eq-markov-compose)."""
        ...
    def reverse(self, mean: Tensor | float, var: Tensor | float) -> Kernel:
        """Turn a step round by Bayes' rule, for a Gaussian before it (eq-markov-bayes, eq-markov-posterior).

        mean: of the Gaussian before the step
        var: of the same; zero for a known point
        returns: from after the step to before it
        """
        ...

def forward_kernel(beta: Tensor | float) -> Kernel:
    """Make one step of the forward chain (Sohl-Dickstein et al. 2015; Ho et al. 2020, equation 2; eq-markov-kernel, eq-schedules-chain).

    beta: variance of the noise, in [0, 1]
    returns: keeps a variance of one
    """
    ...

def transition_matrix(kernel: Kernel, grid: Tensor) -> Tensor:
    """Lay a kernel out on a grid, as the table of a chain with n cells.

    kernel: of shape ()
    grid: (n,) evenly spaced, wide enough to hold all the mass
    returns: (n, n): row i holds the chances of going from cell i to each cell
    """
    ...

def jump(betas: Tensor) -> Kernel:
    """Compose n forward steps into one (Ho et al. 2020, equation 4; eq-markov-jump).

    betas: (n,) variances of n steps, in order
    returns: from before the first step to after the last
    """
    ...
