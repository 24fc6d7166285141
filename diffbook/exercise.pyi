# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import torch
from torch import Tensor

__all__ = ['add', 'grade', 'check']

@dataclass(frozen=True)
class Verdict:
    """Say whether an answer is right, and if not, what went wrong."""
    right: bool
    message: str
    def __bool__(self) -> bool: ...
    def __repr__(self) -> str: ...

@dataclass(frozen=True)
class Exercise:
    """Hold a graded exercise: random cases, the truth, and known mistakes."""
    id: str
    ask: str
    cases: Callable[[torch.Generator], tuple]
    truth: Callable
    mistakes: dict[str, Callable] = ...
    rtol: float = 1e-06
    edges: tuple[tuple, ...] = ...

EXERCISES: dict[str, Exercise]

def add(id: str, ask: str, cases: Callable[[torch.Generator], tuple], truth: Callable, mistakes: dict[str, Callable] | None=None, rtol: float=1e-06, edges: Sequence[tuple]=...) -> Exercise:
    """Add a graded exercise to the book.

    Functions may return a tensor, a number, or a tuple of them. Draw arguments in float64
    and away from special values, so that two different formulas never agree by chance.

    id: chapter and number, such as '10-1'
    ask: the task in one sentence
    cases: draws the arguments of one case
    truth: the right function of those arguments
    mistakes: what the reader is told -> the wrong function that earns it
    rtol: allowed error relative to the truth's largest value
    edges: arguments at the ends of what the task promises, tried before the random ones
    """
    ...

Parts = tuple[Tensor, ...]

Run = tuple[tuple, Parts, Parts]

def grade(id: str, f: Callable, cases: int=20) -> Verdict:
    """Run an answer against the truth and against known mistakes, and say what is wrong.

    id: chapter and number, such as '10-1'
    f: the reader's function
    cases: random cases to try
    returns: true when right; prints as a sentence
    """
    ...

def check(id: str, f: Callable, cases: int=20) -> Verdict:
    """The old name of `grade`."""
    ...
