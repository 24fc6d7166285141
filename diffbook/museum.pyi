# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from torch import Tensor
from .exercise import Verdict
from .plots import lines

__all__ = ['Listing', 'case', 'Finding', 'oracle', 'looks', 'accuse', 'look', 'Gallery', 'gallery']

@dataclass(frozen=True)
class Listing:
    """Show a function with its lines numbered."""
    k: int
    lines: tuple[str, ...]
    def __repr__(self) -> str: ...

def case(k: int) -> Listing:
    """Show the function of a case. One of its lines is wrong.

    k: the number of a case
    """
    ...

@dataclass(frozen=True)
class Finding:
    """Hold what an oracle measured: true if all is as it must be.

    rows: what, measured, expected, allowed
    """
    k: int
    rows: tuple[tuple[str, float, float, float], ...]
    def __bool__(self) -> bool: ...
    def __repr__(self) -> str: ...

def oracle(k: int, f: Callable | None=None) -> Finding:
    """Check a function by what must be true of it, and say what was measured.

    k: the number of a case
    f: a function of your own in the place of the wrong one
    """
    ...

def looks(k: int) -> dict[str, float] | None:
    """Say what was measured of a case, beside the right program from the same seeds; None where no picture depends on the function.

    Means over seeds: the loss and the width of the heaps relative to the right program's, the share of points at the heap of
    their caption and that of the right program, and the share of points that differ from all others.

    k: the number of a case
    """
    ...

def accuse(k: int, line: int) -> Verdict:
    """Accuse a line of a case, and hear what speaks for it, or the whole story.

    k: the number of a case
    line: the number of the line that is wrong
    returns: true if it is; prints as an answer
    """
    ...

def look(k: int, seed: int=0, f: Callable | None=None) -> tuple[Tensor, list[float], dict[str, Any]]:
    """Train the little program with the mistake of a case, and draw from it as the case does.

    k: the number of a case, or 0 for the right program
    seed: of weights, data and noise
    f: a function of your own in the place of the wrong one
    returns: points; the loss of each step; share, width, different
    """
    ...

@dataclass(frozen=True)
class Gallery:
    """Show rows as a table."""
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    def _repr_markdown_(self) -> str: ...

def gallery() -> Gallery:
    """List the mistakes that were made in public: source, look, loss, and the check that turns red."""
    ...
