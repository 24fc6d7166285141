# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator
from torch import Tensor
from .core import Cond, Data, DenoiseFn, Noise, NoiseFn
from .exact import GaussianMixture
from .schedules import Schedule

__all__ = ['ScoreFn', 'expectation', 'implicit_loss', 'score_at', 'langevin', 'annealed_langevin', 'spectral_gap', 'sliced_loss']

ScoreFn = Callable[[Tensor], Tensor]

def expectation(law: GaussianMixture, f: Callable[[Tensor], Tensor]) -> Tensor:
    """Give the mean of f(x), (n, 1) -> (n, ...), over a one-dimensional law, by quadrature."""
    ...

def implicit_loss(score: ScoreFn, x: Data) -> Tensor:
    """Give half the square of the score plus its divergence: d backward passes (Hyvarinen 2005; eq-score-implicit).

    returns: (b, d) data -> (b,), with a gradient
    """
    ...

def score_at(schedule: Schedule, denoise: DenoiseFn, t: Tensor, cond: Cond | None=None) -> ScoreFn:
    """Turn a denoiser into the score of the law of x_t: the mean of -eps / sigma (Vincent 2011; eq-score-average).

    schedule: alpha and sigma
    denoise: (x_t, t, cond) -> x0
    t: one time, or one for each example
    cond: condition
    """
    ...

def langevin(score: ScoreFn, x: Data, size: Tensor | float, steps: int, *, noise: NoiseFn=...) -> Iterator[Data]:
    """Follow the score for a little, and shake (Roberts and Tweedie 1996; eq-score-langevin).

    score: of the law to settle on
    x: where to start
    size: h; one, or one for each example
    steps: how many
    noise: asked with the number of the step in the place of a time
    returns: every state
    """
    ...

def annealed_langevin(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, steps: int=100, size: float=0.1, noise: Noise=...) -> Data:
    """Settle at the new level; where no noise is left, denoise (Song and Ermon 2019, algorithm 1; eq-score-annealed).

    steps: at each level
    size: r: of a step, in units of sigma**2
    noise: forked for each step
    returns: x_s
    """
    ...

def spectral_gap(law: GaussianMixture, n: int=500) -> Tensor:
    """Give the rate at which Langevin's dynamics forgets its start: the second eigenvalue of its walk on a grid (eq-score-gap).

    law: one-dimensional
    n: points of the grid
    returns: one over time
    """
    ...

def sliced_loss(score: ScoreFn, x: Data, v: Tensor) -> Tensor:
    """Give half the square of the score plus its slope along v: one backward pass (Song et al. 2019; eq-score-sliced).

    score: the candidate
    x: (b, d) data
    v: like x: directions with E[v v^T] = 1, such as signs
    returns: (b,), with a gradient
    """
    ...
