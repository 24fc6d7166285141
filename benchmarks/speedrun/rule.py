"""The rule: what is measured, by which clock, and by which judge."""

from functools import cache

import torch
from torch import Tensor

from benchmarks.measure import clock
from diffbook.cli.models import grid_named, solver_named
from diffbook.data import from_model, load_data
from diffbook.metrics import features, frechet_distance
from diffbook.stages import Stage

N = 2048  # pictures that are judged
SHAPE = (1, 28, 28)


class Budget:
    "Counts what an entry has used of its seconds, from where it is made: called, it gives the share."

    def __init__(self, seconds: float):
        self.seconds, self.begun = seconds, clock()

    def __call__(self) -> float:
        return (clock() - self.begun) / self.seconds


@cache
def real(split: str) -> Tensor:
    "Features of the first real pictures of a split."
    return features(load_data('fashion-mnist', split).images[:N])


@cache
def floor() -> float:
    "What as many pictures of the training set score."
    return frechet_distance(real('train'), real('test'))


def distance(pictures: Tensor) -> float:
    "How far pictures in bytes are from the test set, by the book's judge."
    return frechet_distance(features(pictures), real('test'))


def draw(model: torch.nn.Module, walk: str, n: int, seed: int = 1) -> Tensor:  # uint8
    "Draw by a walk, SOLVER:STEPS:GRID; picture k is the same in every batch."
    solver, steps, grid = walk.split(':')
    stage = Stage(model, model.schedule, SHAPE, solver=solver_named(solver), times=grid_named(grid))
    return from_model(stage.draw(n, seed=seed, steps=int(steps), batch=128))


def calls(walk: str) -> int:
    "How often a walk asks the network."
    solver, steps, _ = walk.split(':')
    return 2 * int(steps) - 1 if solver == 'heun' else int(steps)
