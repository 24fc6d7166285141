# Written by tools/stubs.py from the module beside it.

from collections.abc import Sequence
from torch import Tensor
from .core import Cond, Data, DenoiseFn
from .schedules import Schedule

__all__ = ['dpmpp_2m']

def dpmpp_2m(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, past: Sequence[tuple[Tensor, Data]]=...) -> Data:
    """Take a DDIM step with the estimate foreseen for its middle in log SNR (DPM-Solver++(2M); Lu et al. 2022, algorithm 2; eq-multistep-2m).

    schedule: alpha and sigma
    denoise: (x_t, t, cond) -> x0
    x: x_t
    t: now
    s: next, less noisy
    cond: condition
    past: times and estimates of the steps before, newest last; a list gets this step's
    returns: x_s
    """
    ...
