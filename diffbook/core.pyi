# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
import torch
from jaxtyping import Float, Real
from torch import Tensor
from .bags import count_rows, cut_rows, map_batch, take_apart, tensors_in
from .checks import check_joint, holds, number, one_of, positive, same_shape, whole

__all__ = ['Data', 'Time', 'DenoiseFn', 'NoiseFn', 'seeded_noise', 'generator', 'REGISTRY', 'Cond', 'merge', 'as_time', 'match_dims', 'uniform', 'noise', 'Noise', 'make_generator', 'seeded', 'Rows', 'draw_rows', 'register', 'describe', 'build', 'count_rows', 'cut_rows', 'map_batch', 'take_apart', 'tensors_in', 'holds', 'check_joint', 'number', 'one_of', 'positive', 'same_shape', 'whole']

_all_: list[Any]

Data = Float[Tensor, 'b *d']

Time = Real[Tensor, ''] | Real[Tensor, 'b'] | float

@dataclass(frozen=True)
class Cond:
    """Hold what a network may be conditioned on; a field that is `None` is absent.

    vec: (b, c): one vector an example
    seq: (b, l, c): a sequence of tokens
    mask: (b, l) bool: which tokens are real
    img: (b, c, h, w): an image beside the noisy one
    """
    vec: Tensor | None = None
    seq: Tensor | None = None
    mask: Tensor | None = None
    img: Tensor | None = None
    def map(self, f: Callable[[Tensor], Tensor]) -> 'Cond':
        """Apply `f` to every field that is present."""
        ...

DenoiseFn = Callable[[Tensor, Tensor, Cond | None], Tensor]

NoiseFn = Callable[[Tensor, Tensor], Tensor]

def merge(a: Cond, b: Cond) -> Cond:
    """Put two conditions together; raise a ValueError where a field stands in both.

    returns: has the fields of both
    """
    ...

def as_time(t: Tensor | float) -> Tensor:
    """Turn `t` into a float64 tensor: schedules compute in double precision.

    t: a time, or one for each example
    returns: the same in float64
    """
    ...

def match_dims(t: Tensor | float, x: Tensor) -> Tensor:
    """Give `t` the axes it needs to multiply the batch `x`.

    t: shape () or (b,)
    x: shape (b, ...)
    returns: t with trailing axes, in the dtype and on the device of x
    """
    ...

LOW: int

def philox(counter: Sequence[Tensor | int], key: tuple[int, int]) -> list[Tensor]:
    """Scramble counters into random bits: Philox 4x32 with ten rounds (Salmon et al. 2011).

    counter: four words of 32 bits, int64 tensors or ints
    key: two words of 32 bits
    returns: four words of 32 random bits in int64
    """
    ...

def uniform(seed: int, purpose: str, step: int | Tensor, sample: Sequence[int] | Tensor, shape: Sequence[int]=...) -> Tensor:
    """Draw uniform numbers that depend on the arguments alone.

    seed: the run
    purpose: what the numbers are for, such as 'train'
    step: which step of the run, up to 64 bits: one, or (b,)
    sample: (b,) indices of the samples, up to 32 bits
    shape: of one sample
    returns: (b, *shape) in float64, inside the open interval (0, 1)
    """
    ...

def noise(seed: int, purpose: str, step: int | Tensor, sample: Sequence[int] | Tensor, shape: Sequence[int]=...) -> Tensor:
    """Draw Gaussian noise that depends on the arguments alone: sample i is the same alone or in a batch (eq-gaussian-box-muller).

    seed: the run
    purpose: what the noise is for
    step: which step of the run: one, or (b,)
    sample: (b,) indices of the samples
    shape: of one sample
    returns: (b, *shape) in float64, unit variance
    """
    ...

@dataclass(frozen=True)
class Noise:
    """Draw the noise of a sampler: a function of the time and of the sample's index.

    seed: the run
    purpose: what the noise is for
    start: index of the first sample of the batch
    """
    seed: int = 0
    purpose: str = 'sample'
    start: int = 0
    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """returns: noise like x"""
        ...
    def fork(self, word: str) -> 'Noise':
        """Another stream for the same samples, for whoever wraps a sampler and draws beside it."""
        ...

seeded_noise = Noise

def make_generator(seed: int, purpose: str, step: int=0, device: torch.device | str='cpu') -> torch.Generator:
    """Make a PyTorch generator that depends on the arguments alone.

    seed: the run
    purpose: what the numbers are for
    step: which step of the run
    device: where the numbers are drawn
    returns: freshly seeded
    """
    ...

generator = make_generator

@contextmanager
def seeded(seed: int, purpose: str, step: int, device: torch.device) -> Iterator[None]:
    """Seed the global state of PyTorch for a while, for what takes no generator, and give it back.

    seed: the run
    purpose: what the numbers are for
    step: which step of the run
    """
    ...

@dataclass(frozen=True)
class Rows:
    """Hold the generator of a whole batch, for a part of it.

    source: draws for the whole batch
    first: of our rows
    total: rows of the whole batch
    """
    source: torch.Generator
    first: int
    total: int
    @property
    def device(self) -> torch.device: ...

def draw_rows(draw: Callable[[int, torch.Generator], Tensor], n: int, generator: torch.Generator | Rows | None) -> Tensor:
    """Draw the rows of a part as if the whole batch were drawn, so that no number depends on the parts.

    draw: (n, generator) -> n rows
    n: our rows
    generator: of these rows, or of a batch that they are part of
    returns: n rows
    """
    ...

REGISTRY: dict[str, Callable]

_BY_HAND: tuple[Any, ...]

def register(f: Callable) -> Callable:
    """Add a class or function to the closed list that `build` may call; a class remembers its arguments."""
    ...

def describe(value: Any) -> Any:
    """Turn a registered object, and all it was made of, into plain data for JSON; raise a ValueError for what is not registered."""
    ...

def build(config: Any) -> Any:
    """Make the object that `config` describes; raise a ValueError for what is not in the closed list, and for arguments that do not fit."""
    ...
