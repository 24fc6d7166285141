# Written by tools/stubs.py from the module beside it.

from collections.abc import Iterator
from torch import Tensor
from .core import Cond, Data, DenoiseFn, Noise, NoiseFn
from .samplers import Solver
from .schedules import Schedule

__all__ = ['start_from', 'inpaint', 'repaint', 'invert', 'slerp']

def cut_times(times: Tensor, strength: float) -> Tensor:
    """Keep the last steps of a grid, so that a walk begins in the middle.

    times: (n + 1,) falling, as for `sample`
    strength: share of the steps to walk: over 0, up to 1
    returns: the last part of the grid, one step at least
    """
    ...

def start_from(schedule: Schedule, x0: Data, times: Tensor, strength: float, *, noise: NoiseFn=...) -> tuple[Data, Tensor]:
    """Noise a picture up to an intermediate time of the grid (Meng et al. 2022, SDEdit; eq-editing-start).

    schedule: alpha and sigma
    x0: the picture to start from
    times: (n + 1,) falling
    strength: over 0, where nothing changes, up to 1: pure noise, the picture is forgotten
    noise: what the picture is noised with
    returns: the noisy picture and the times that are left: what `sample` wants
    """
    ...

def as_mask(mask: Tensor, x: Data) -> Tensor:
    """Read a mask, or raise a ValueError that says why it does not fit `x`.

    mask: (b, 1, h, w) or (1, h, w), bool or zeros and ones
    x: what it covers
    returns: bool, with as many axes as x
    """
    ...

def put_back(schedule: Schedule, x: Data, t: Tensor, known: Tensor, mask: Tensor, noise: NoiseFn=...) -> Data:
    """Overwrite the known region of `x_t` with the picture noised to time `t`.

    schedule: alpha and sigma
    x: x_t
    t: now
    known: the clean picture, (b, ...) or (1, ...)
    mask: True where it is known
    noise: what it is noised with
    returns: x_t with the known region of the picture, as noisy as the rest
    """
    ...

def inpaint(solver: Solver, known: Tensor, mask: Tensor, *, noise: NoiseFn | None=None) -> Solver:
    """Put the known region back at both ends of every step (Song et al. 2021, replacement; eq-editing-replace).

    solver: the step rule, such as ancestral
    known: the clean picture, (b, ...) or (1, ...)
    mask: True where it is known and stays
    noise: of the known region; a fork of the solver's if not said
    returns: the same rule, tied to the picture
    """
    ...

def renoise(schedule: Schedule, x: Data, s: Tensor, t: Tensor, noise: NoiseFn=...) -> Data:
    """Go back up: draw x_t from q(x_t | x_s), for `t` noisier than `s`."""
    ...

def resampling(times: Tensor, jump: int=1, rounds: int=1) -> list[tuple[Tensor, Tensor, int]]:
    """List the moves of RePaint: every stretch of `jump` steps is walked down `rounds` times (Lugmayr et al. 2022).

    times: (n + 1,) falling
    jump: steps walked down before jumping back up
    rounds: how often each stretch is walked; 1 never jumps
    returns: from, to, and which round it is
    """
    ...

def repaint(denoise: DenoiseFn, schedule: Schedule, x: Data, times: Tensor, known: Tensor, mask: Tensor, cond: Cond | None=None, *, jump: int=1, rounds: int=10, solver: Solver=..., noise: Noise=...) -> Iterator[Data]:
    """Inpaint with resampling: jump back up and walk down again, so that the two regions agree (Lugmayr et al. 2022).

    denoise: (x_t, t, cond) -> x0
    schedule: alpha and sigma
    x: x at times[0]
    times: (n + 1,) falling
    known: the clean picture, (b, ...) or (1, ...)
    mask: True where it is known and stays
    cond: condition
    jump: steps walked down before jumping back up
    rounds: how often each stretch is walked; 1 is `inpaint`
    solver: the step rule
    noise: of the first round; each other round, the known region and the jumps get forks of it
    returns: every x_s on the way down; the last is the sample
    """
    ...

def rise(schedule: Schedule, denoise: DenoiseFn, x: Data, s: Tensor, t: Tensor, cond: Cond | None=None, *, rounds: int=0, solver: Solver=...) -> Data:
    """Climb from x_s to the noisier x_t (Song et al. 2021, section 4.3); with rounds, until a step down leads back to x_s.

    rounds: of correction towards the exact inverse of a step of the solver
    solver: the step to be undone; it must take no noise
    returns: x_t
    """
    ...

def invert(denoise: DenoiseFn, schedule: Schedule, x: Data, times: Tensor, cond: Cond | None=None, *, rounds: int=0, solver: Solver=...) -> Iterator[Data]:
    """Walk from data up to the noise that leads there: `*_, x = invert(...)` (Song et al. 2021; eq-editing-rise).

    denoise: (x_t, t, cond) -> x0
    schedule: alpha and sigma
    x: x at times[0]: a picture
    times: (n + 1,) rising: the sampler's times, flipped
    cond: condition
    rounds: of correction a step; 0 is plain DDIM inversion
    solver: whose steps the corrections undo
    returns: every x_t; the last is the noise
    """
    ...

def slerp(x: Data, y: Data, weight: float | Tensor) -> Data:
    """Turn from one noise to another along an arc, so that the length stays that of noise (Shoemake 1985; eq-editing-slerp).

    x: noise
    y: other noise of the same shape
    weight: 0 gives x, 1 gives y
    returns: noise of a length between theirs
    """
    ...
