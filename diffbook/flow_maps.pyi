# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
import torch
from torch import Tensor, nn
from .consistency import MapFn, PairDraw, along
from .core import Cond, Data, DenoiseFn, Rows, Time
from .schedules import Schedule

__all__ = ['slow_time', 'FlowMap', 'jump', 'to_data', 'uniform_pairs', 'example_velocity', 'own_velocity', 'meanflow_loss', 'halving_pairs', 'shortcut_loss', 'lagrangian_loss']

def slow_time(schedule: Schedule, t: Time) -> Tensor:
    """Tell the network the time, scaled to run from 0 to 20: waves of it are smooth enough for a derivative in time."""
    ...

class FlowMap(nn.Module):
    """Turn a network into a flow map: it answers (x_t, t, s, cond) with x_s, and where s is t with x_t."""
    net: nn.Module
    schedule: Schedule
    waves: int
    noise_input: Callable[[Schedule, Tensor], Tensor]
    def __init__(self, net: nn.Module, schedule: Schedule, waves: int=0, *, noise_input: Callable[[Schedule, Tensor], Tensor]=...) -> None:
        """net: net(x, noise_level (b,), cond) -> the average velocity; the second time comes at the end of `cond.vec`
        schedule: alpha and sigma
        waves: as how many sines and cosines the second time is told; 0: as one number
        noise_input: what the network is told of both times
        """
        ...
    def velocity(self, x: Data, t: Time, s: Time, cond: Cond | None=None) -> Data:
        """The average velocity between t and s; where s is t, the velocity."""
        ...
    def forward(self, x: Data, t: Time, s: Time, cond: Cond | None=None) -> Data: ...

def jump(schedule: Schedule, go: MapFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None) -> Data:
    """Step as a flow map says; it stands where other step rules are given a denoiser."""
    ...

def to_data(go: MapFn, schedule: Schedule) -> DenoiseFn:
    """The consistency function of a flow map: from any time to t_min at once."""
    ...

def uniform_pairs(equal: float=0.5) -> PairDraw:
    """Draw two uniform times, the noisier first; in a share `equal` of the examples the first time twice."""
    ...

def noised(schedule: Schedule, x0: Data, pairs: PairDraw, generator: torch.Generator | Rows) -> tuple[Tensor, Tensor, Data, Data]:
    """Two times for each example, x_t and the velocity of its own straight mixture of data and noise."""
    ...

def example_velocity(model: FlowMap, x: Data, t: Tensor, v: Data, cond: Cond | None=None) -> Data:
    """Move along the velocity of the example (MeanFlow)."""
    ...

def own_velocity(model: FlowMap, x: Data, t: Tensor, v: Data, cond: Cond | None=None) -> Data:
    """Move along the velocity that the model itself gives (improved MeanFlow)."""
    ...

def meanflow_loss(model: FlowMap, x0: Data, generator: torch.Generator | Rows, cond: Cond | None=None, *, pairs: PairDraw=..., tangent: Callable[..., Data]=..., power: float=0.0, floor: float=0.01) -> Tensor:
    """Hold the average velocity to its identity (Geng et al. 2025; eq-flow-maps-loss).

    model: trained
    x0: (b, ...) clean data
    generator: of times and noise
    cond: condition
    pairs: two times for each example
    tangent: along which the average velocity is followed
    power: each example's error is divided by this power of itself
    floor: added to the divisor
    returns: (b,)
    """
    ...

def halving_pairs(equal: float=0.75, halvings: int=7) -> PairDraw:
    """Draw one of the 2**k equal steps that divide the whole span, k below `halvings`; in a share `equal` of the examples one uniform time twice (Frans et al. 2025)."""
    ...

def shortcut_loss(model: FlowMap, x0: Data, generator: torch.Generator | Rows, cond: Cond | None=None, *, pairs: PairDraw=...) -> Tensor:
    """Hold a step to two steps of half its length (Frans et al. 2025, algorithm 1; eq-flow-maps-shortcut).

    pairs: where both times are one, the velocity of the example is learned
    returns: (b,)
    """
    ...

def lagrangian_loss(model: FlowMap, x0: Data, generator: torch.Generator | Rows, cond: Cond | None=None, *, pairs: PairDraw=..., teacher: DenoiseFn | None=None) -> Tensor:
    """Let the end of a jump move with the velocity where it is (Boffi et al. 2025; eq-flow-maps-lagrangian).

    pairs: where both times are one, the velocity of the example is learned
    teacher: whose velocity the end of a jump follows; None: the model's own
    returns: (b,)
    """
    ...
