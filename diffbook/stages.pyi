# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
import torch
from torch import Tensor
from .core import Cond, Data, DenoiseFn
from .samplers import Solver, sample
from .schedules import Schedule

__all__ = ['whole_times', 'Decoder', 'gather', 'Stage', 'cascade']

def whole_times(schedule: Schedule, n: int) -> Tensor:
    """Times from noise to data, (n + 1,), falling: whole ones on a table of betas, which networks were trained at; EDM's where the time is a noise level; elsewhere even ones."""
    ...

class Decoder(Protocol):
    """What turns the result of a walk into pictures: an autoencoder, for one."""
    def decode(self, z: Tensor) -> Tensor: ...

def gather(walk: Callable[..., Iterator[Tensor]], n: int, cond: Cond | None=None, *, first: int=0, batch: int=64, progress: bool=False, **options: Any) -> Tensor:
    """Walk n samples, a batch at a time, and keep the last state of each; how they are cut changes no sample.

    walk: (n, cond, first=..., **options) -> every state of samples first to first + n - 1
    cond: a row for each of the n samples, or one for all
    first: number of the first sample
    batch: samples that walk together
    progress: show a bar
    returns: (n, ...)
    """
    ...

@dataclass(frozen=True)
class Stage:
    """All that draws: a denoiser, its schedule, the shape of a sample, the times to walk, the step rule, and what makes a picture of the end.

    shape: of one sample, without the batch
    times: (schedule, n) -> (n + 1,) falling
    codec: none: what is drawn is the picture
    """
    denoise: DenoiseFn
    schedule: Schedule
    shape: tuple[int, ...]
    times: Callable[[Schedule, int], Tensor] = ...
    solver: Solver = ...
    codec: Decoder | None = None
    def sample(self, n: int, cond: Cond | None=None, *, seed: int=0, first: int=0, steps: int=20, device: torch.device | str | None=None) -> Iterator[Data]:
        """Yield every state on the way of samples first to first + n - 1; `cond` has a row for each, or one for all (eq-ddpm-start)."""
        ...
    def decode(self, z: Data, batch: int=64) -> Tensor:
        """Make pictures of the ends of walks, a batch at a time."""
        ...
    def draw(self, n: int, cond: Cond | None=None, *, steps: int=20, batch: int=64, **options: Any) -> Tensor:
        """Draw n pictures; `options` are those of `sample`, and `progress`."""
        ...

def cascade(n: int, links: Iterable[tuple[Stage, Callable[[Tensor | None], Cond | None]]], seed: int=0, **options: Any) -> Iterator[Tensor]:
    """Draw with several stages, each told what the one before it drew; yield what each draws (Ho et al. 2022).

    links: a stage, and picture before it (none at first) -> its condition
    seed: of the first stage; from it each later one gets its own, or all would start from the same noise
    """
    ...
