# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import torch
from torch import Tensor

__all__ = ['Answer', 'QUESTIONS', 'add', 'Question', 'question', 'find', 'recorded', 'grade', 'check']

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

Answer = float | str | tuple[float, ...]

@dataclass(frozen=True)
class Question:
    """Hold a question that is answered by a number, a few numbers or a letter, and the replies to wrong answers."""
    id: str
    ask: str
    answer: Answer
    replies: dict[Answer, str] = ...
    rtol: float = 0.02

QUESTIONS: dict[str, Question]

def question(id: str, ask: str, answer: Answer, replies: dict[Answer, str] | None=None, rtol: float=0.02) -> Question:
    """Add a question that stands at the end of a section.

    id: chapter and letter, such as '10-a'
    ask: the question in one sentence
    answer: a number, a tuple of numbers, or the letter of a choice
    replies: a likely wrong answer -> what its reader is told
    rtol: allowed error of a number, relative to the answer
    """
    ...

Parts = tuple[Tensor, ...]

Run = tuple[tuple, Parts, Parts]

def find(id: str) -> Exercise | Question:
    """The exercise or question, after loading the graders of all chapters."""
    ...

_SESSION: list[tuple[int, int, list[tuple[str, Verdict]]]]

@contextmanager
def recorded(seed: int, cases: int=20) -> Iterator[list[tuple[str, Verdict]]]:
    """Keep every verdict that is given inside, on cases of this seed.

    seed: of the random cases
    cases: random cases for each exercise, whatever the caller of `grade` says
    returns: (id, verdict) of every call of `grade` inside, in order
    """
    ...

def grade(id: str, f: Callable | Answer, cases: int=20) -> Verdict:
    """Run an answer against the truth and against known mistakes, and say what is wrong.

    id: chapter and number, such as '10-1', or letter, such as '10-a'
    f: the reader's function, or the answer to a question
    cases: random cases to try
    returns: true when right; prints as a sentence
    """
    ...

def check(id: str, f: Callable, cases: int=20) -> Verdict:
    """The old name of `grade`."""
    ...
