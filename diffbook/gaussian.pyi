# Written by tools/stubs.py from the module beside it.

from collections.abc import Sequence
from torch import Tensor

__all__ = ['gaussian_log_prob', 'posterior', 'kl_gaussian', 'condition', 'interpolate_noise']

def gaussian_log_prob(x: Tensor, mean: Tensor | float, var: Tensor | float) -> Tensor:
    """Give the logarithm of the normal density; raise a ValueError for a variance that is not positive (eq-gaussian-density).

    x: where
    mean: of the same shape, or broadcastable
    var: variance, positive
    returns: nats, per element
    """
    ...

def posterior(x: Tensor | float, mean: Tensor | float, var: Tensor | float, alpha: Tensor | float, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
    """Condition a Gaussian on a noisy look at it (Wiener 1949; eq-gaussian-posterior).

    x: observed: alpha x0 + sigma eps
    mean: of x0 before looking
    var: of x0 before looking
    alpha: signal scale
    sigma: noise scale
    returns: mean and variance of x0 given x, per element
    """
    ...

def kl_gaussian(mean_p: Tensor | float, var_p: Tensor | float, mean_q: Tensor | float, var_q: Tensor | float) -> Tensor:
    """Give KL(p || q) of two normal distributions (Kullback and Leibler 1951; eq-gaussian-kl).

    mean_p: of the first, the one averaged over
    var_p: variance, positive
    mean_q: of the second
    var_q: variance, positive
    returns: nats, per element
    """
    ...

def condition(mean: Tensor | Sequence, cov: Tensor | Sequence, index: Sequence[int], value: Tensor | Sequence) -> tuple[Tensor, Tensor]:
    """Condition a joint Gaussian on some of its coordinates; raise a ValueError for what does not fit (eq-gaussian-condition).

    mean: (d,)
    cov: (d, d)
    index: the k coordinates that are seen
    value: (k,) or (b, k): what is seen there
    returns: mean (d - k,) or (b, d - k), and covariance (d - k, d - k), of the others in order
    """
    ...

def interpolate_noise(a: Tensor, b: Tensor, u: Tensor | float, angle: Tensor | float=...) -> Tensor:
    """Walk from one noise to another along an arc, so that every point of the way is noise again.

    a: unit-variance noise
    b: independent noise of the same shape
    u: from 0, which gives a, to 1, which gives b; one, or one for each example
    angle: between the two, in radians: independent noises stand at a right angle
    returns: unit-variance noise for every u
    """
    ...
