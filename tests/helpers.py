"""The lists that parametrise the tests: a new schedule, prediction or solver is tested by adding its name here."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch

from conftest import WITHOUT_DATA
from diffbook.data import data_root
from diffbook.predictions import predict_edm, predict_eps, predict_score, predict_v, predict_velocity, predict_x0
from diffbook.samplers import ancestral, ddim, euler, heun
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    ExponentialSchedule,
    KarrasSchedule,
    LinearBetaSchedule,
    RectifiedFlowSchedule,
    ShiftedSchedule,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    zero_terminal_betas,
)

SCHEDULES = {
    'ddpm': DiscreteSchedule(linear_betas()),
    'cosine-table': DiscreteSchedule(cosine_betas()),
    'stable-diffusion': DiscreteSchedule(scaled_linear_betas()),
    'zero-terminal': DiscreteSchedule(zero_terminal_betas(scaled_linear_betas())),
    'short-table': DiscreteSchedule(linear_betas(50, 0.002, 0.4)),
    'cosine': CosineSchedule(),
    'linear-beta': LinearBetaSchedule(),
    'exponential': ExponentialSchedule(),
    'karras': KarrasSchedule(),
    'rectified-flow': RectifiedFlowSchedule(),
    'shifted-flow': ShiftedSchedule(RectifiedFlowSchedule(), 3.0),
    'shifted-table': ShiftedSchedule(DiscreteSchedule(linear_betas()), 0.5),
}

PREDICTIONS = {
    'eps': predict_eps,
    'x0': predict_x0,
    'v': predict_v,
    'score': predict_score,
    'velocity': predict_velocity,
    'edm': predict_edm(0.5),
}

SOLVERS = {'ddim': ddim, 'euler': euler, 'heun': heun}  # deterministic: each has a limit, the exact flow
STOCHASTIC_SOLVERS = {'ancestral': ancestral, 'ddim-eta': partial(ddim, eta=1.0)}


def needs_data(name: str, file: str = '') -> Path:
    "The folder `name` of the published data that this file lies in; without it the test is skipped, and the summary says so."
    folder = data_root() / name
    if not (folder / file).exists():
        pytest.skip(WITHOUT_DATA + name)
    return folder


def refuses(table):
    "A test of a table, (call, words) by name or in a row: each raises ValueError with its words, plain or an expression."
    if not isinstance(table, dict):
        table = {f'{i} {words}': (call, words) for i, (call, words) in enumerate(table)}

    @pytest.mark.bad_input
    @pytest.mark.parametrize('name', table)
    def refused(name):
        call, words = table[name]
        with pytest.raises(ValueError) as error:
            call()
        assert words in str(error.value) or re.search(words, str(error.value)), error.value

    return refused


def inner_times(schedule, n: int = 7, margin: float = 0.02) -> torch.Tensor:
    "n times strictly inside the schedule's range, in float64, none of them whole."
    span = schedule.t_max - schedule.t_min
    u = torch.linspace(margin, 1 - margin, n, dtype=torch.float64)
    return schedule.t_min + span * u + 1e-3 * span / 7


def do_not_mix(net, x: torch.Tensor, t: torch.Tensor, cond) -> None:
    "Each example of a batch of three gets the answer that it gets alone."
    together = net(x, t, cond)
    for i in range(3):
        alone = net(x[i : i + 1], t[i : i + 1], cond and cond.map(lambda v: v[i : i + 1]))
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-12, rtol=0)


def patch_cli(patches, name, value):
    "Put `value` in the place of a function of the command line, wherever it is used."
    from diffbook.cli import app, data, edits, evaluate, judge, models, own, prompts, running, sample, train

    rooms = [room for room in (app, data, edits, evaluate, judge, models, own, prompts, running, sample, train) if hasattr(room, name)]
    assert rooms, name
    for room in rooms:
        patches.setattr(room, name, value)
