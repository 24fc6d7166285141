# Written by tools/stubs.py from the module beside it.

from collections.abc import Sequence
from typing import Any
from torch import Tensor

__all__ = ['check', 'below', 'student', 'wilson', 'claim', 'read_measured']

def check(id: str, got: Tensor | float | Sequence, want: Tensor | float | Sequence, *, rtol: float=0.0, atol: float=0.0) -> None:
    """Assert that an equation holds numerically and print its largest error.

    id: the equation's id, such as 'eq-gaussian-density'
    got: one side, or our code
    want: the other side, by another route
    rtol: allowed error relative to want
    atol: allowed absolute error
    """
    ...

def below(id: str, small: Tensor | float | Sequence, large: Tensor | float | Sequence, *, atol: float=0.0) -> None:
    """Assert that an inequality holds in every case that was tried, and print its smallest margin.

    id: the inequality's id, such as 'eq-markov-processing'
    small: the side that may not be larger, one value for each case
    large: the other side
    atol: rounding that is forgiven
    """
    ...

def student(k: int, level: float=0.95) -> float:
    """Give the factor of Student's interval for a mean (Student 1908).

    returns: degrees of freedom; probability within plus and minus the answer
    """
    ...

def wilson(share: float, n: int) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a share (Wilson 1927; eq-text-wilson).

    returns: what was seen; in how many trials
    """
    ...

_Interval = tuple[float, float, float]

def claim(id: str, *, got: Tensor | float | Sequence, better_than: Tensor | float | Sequence | None=None, higher: bool=False, ratio: tuple | None=None, interval: tuple[float, float] | None=None, seeds: Sequence[int] | None=None, n: int | tuple[int, int] | None=None, exact: bool=False) -> None:
    """Assert that a sentence which compares holds with its whole 95 % interval, and print the interval.

    id: the sentence's id, such as 'claim-guidance-particles'
    got: one value for each seed; a share of n trials, or n values; or one exact number
    better_than: beaten by got, which is lower: an error, a distance, a time
    higher: better is higher
    ratio: (other, low, high): got / other lies within low and high
    interval: the mean of got lies within
    n: trials; of got and of what it is compared with, where they differ
    exact: no chance enters
    """
    ...

def read_measured(name: str) -> dict[str, Any]:
    """Read what a committed command measured.

    name: of a result file of the package, such as 'seeds'
    """
    ...
