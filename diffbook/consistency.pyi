# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
import torch
from torch import Tensor, nn
from .core import Cond, Data, DenoiseFn, NoiseFn, Rows, Time
from .exact import GaussianMixture
from .losses import Denoiser
from .samplers import Solver
from .schedules import Schedule

__all__ = ['MapFn', 'PairDraw', 'exact_map', 'anchored', 'grid_pairs', 'squared', 'pseudo_huber', 'consistency_loss', 'quantiles', 'pointwise_error', 'doubling', 'Perceptron', 'renoise', 'boundary_scalings', 'along']

MapFn = Callable[[Tensor, Tensor, Tensor, Cond | None], Tensor]

def exact_map(law: GaussianMixture, schedule: Schedule) -> MapFn:
    """Give the flow map of a distribution whose flow is known: (x_t, t, s, cond) -> x_s."""
    ...

def anchored(denoise: DenoiseFn, schedule: Schedule) -> DenoiseFn:
    """Make any denoiser the identity at t_min: one DDIM step from t to t_min (eq-consistency-anchor)."""
    ...

PairDraw = Callable[[Schedule, int, torch.Generator], tuple[Tensor, Tensor]]

def grid_pairs(times: Tensor) -> PairDraw:
    """Draw neighbours of a falling grid, each step as often as any other."""
    ...

def squared(miss: Data) -> Tensor:
    """The mean square of each example.

    returns: (b,)
    """
    ...

def pseudo_huber(miss: Data, c: float=0.03) -> Tensor:
    """A distance that is square below c and linear above (Song and Dhariwal 2024; eq-consistency-huber).

    returns: (b,)
    """
    ...

def consistency_loss(denoiser: Denoiser, x0: Data, generator: torch.Generator | Rows, cond: Cond | None=None, *, pairs: PairDraw, teacher: DenoiseFn | None=None, solver: Solver=..., distance: Callable[[Data], Tensor]=..., weight: Callable[[Tensor, Tensor], Tensor] | None=None) -> Tensor:
    """Ask for the same answer at both ends of one step; the less noisy end is the teacher (Song et al. 2023, algorithms 2 and 3; eq-consistency-loss).

    denoiser: f(x_t, t, cond): the data at the end of the path
    x0: (b, ...) clean data
    generator: of times and noise
    cond: condition
    pairs: two neighbouring times for each example
    teacher: what the step trusts; None: the example itself
    solver: the step from the first time to the second
    weight: (t, s) -> (b,)
    returns: (b,)
    """
    ...

def quantiles(schedule: Schedule, n: int=1000) -> Tensor:
    """Places (n, 1) that cut the starting noise into equal shares: of noise alone, so t_max must hold no signal."""
    ...

def pointwise_error(draw: Callable[[Data], Data], law: GaussianMixture, schedule: Schedule, n: int=1000) -> float:
    """Say how far the samples land from where the exact flow takes the same noise.

    draw: noise at t_max -> data
    law: in one dimension
    schedule: alpha and sigma
    n: places to compare
    returns: root of the mean square distance
    """
    ...

def doubling(step: int, total: int, first: int=10, last: int=1280) -> int:
    """Give the number of intervals at an update: `first`, and twice as many after each of equal parts of training, up to `last` (Song and Dhariwal 2024, section 3.4)."""
    ...

class Perceptron(nn.Module):
    """Map a vector, its noise level and what it is told beside to a vector of the same size, by three hidden layers."""
    cond_dim: int
    layers: nn.Sequential
    def __init__(self, dim: int=1, width: int=96, cond_dim: int=0) -> None:
        """dim: of the vector
        width: of the hidden layers
        cond_dim: width of `cond.vec`; 0: the net takes none
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None) -> Tensor: ...

def renoise(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, noise: NoiseFn=...) -> Data:
    """Go to the end of the path, and up again to s by fresh noise (Song et al. 2023, algorithm 1; eq-consistency-renoise).

    noise: where fresh noise comes from
    returns: x_s
    """
    ...

def boundary_scalings(t: Time, t_min: float=0.002, sigma_data: float=0.5) -> tuple[Tensor, Tensor]:
    """Give the numbers of f = c_skip x + c_out F on a schedule whose noise is its time, so that f is x at t_min (Song et al. 2023, appendix C; eq-consistency-scalings).

    returns: c_skip and c_out
    """
    ...

def along(f: Callable[..., Tensor], at: tuple[Tensor, ...], way: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Give f where its arguments are, and its change when they move along `way`: one forward-mode derivative (eq-consistency-tangent)."""
    ...
