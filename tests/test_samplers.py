"""Samplers: grids on every schedule, errors at the edge, and conformance functions that reject what is broken."""

from fractions import Fraction
from functools import partial

import pytest
import torch
from helpers import SCHEDULES, SOLVERS, STOCHASTIC_SOLVERS
from torch.testing import assert_close

from diffbook.core import Cond, noise, seeded_noise
from diffbook.exact import reference_mixture
from diffbook.samplers import (
    ancestral,
    check_denoiser,
    check_solver,
    clip_x0,
    ddim,
    euler,
    heun,
    karras_times,
    positive,
    sample,
    trailing_times,
    uniform_times,
)
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    ExponentialSchedule,
    KarrasSchedule,
    linear_betas,
)

ALL = SOLVERS | STOCHASTIC_SOLVERS
STEPS = (1, 2, 3, 7, 10, 13, 50)
LAW, COSINE = reference_mixture(), CosineSchedule()
TABLE = DiscreteSchedule(linear_betas())


# Grids

@pytest.mark.parametrize('n', STEPS)
@pytest.mark.parametrize('name', SCHEDULES)
def test_grids_fall_from_t_max_to_t_min(name, n):
    "Every grid has n steps, none of them empty, and starts and ends exactly where the schedule does."
    schedule = SCHEDULES[name]
    for grid in [uniform_times, karras_times] + [trailing_times] * (schedule.t_max - schedule.t_min >= 50):
        times = grid(schedule, n)
        assert times.shape == (n + 1,) and times.dtype == torch.float64
        assert times[0] == schedule.t_max and times[-1] == schedule.t_min
        assert (times.diff() < -1e-9 * (schedule.t_max - schedule.t_min)).all(), f'{grid.__name__}: {times}'


@pytest.mark.parametrize('n', (1, 2, 3, 7, 13, 48, 50, 240, 464, 976, 999, 1000))
def test_trailing_is_the_published_formula(n):
    "Lin et al. 2024 count a table from 0: round(arange(T, 0, -T / n)) - 1, in exact fractions; an exact half goes to the even number."
    published = [round(1000 - Fraction(1000 * i, n)) - 1 for i in range(n)]
    assert trailing_times(TABLE, n).tolist() == [t + 1.0 for t in published] + [0.0]


@pytest.mark.parametrize('rho', (1.0, 3.0, 7.0))
def test_karras_is_the_published_formula_on_every_schedule(rho):
    "Karras et al. 2022, equation 5, for the ratio of noise to signal; a schedule that never reaches `least` ends at its own level."
    first_row = (1e-4 / (1 - 1e-4)) ** 0.5  # the least level of a table that a network was trained at
    for schedule, low, high, last in ((KarrasSchedule(), 0.002, 80.0, 9), (TABLE, first_row, None, 9), (ExponentialSchedule(), 0.01, 50.0, 10)):
        got = torch.exp(-schedule.log_snr(karras_times(schedule, 10, rho)) / 2)
        high = high or got[0].item()
        want = [(high ** (1 / rho) + i / last * (low ** (1 / rho) - high ** (1 / rho))) ** rho for i in range(last + 1)]
        assert_close(got[: last + 1], torch.tensor(want, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize('n', (1, 2, 3, 7, 10, 30, 49, 50))
@pytest.mark.parametrize('grid', (uniform_times, trailing_times, karras_times))
@pytest.mark.parametrize('name', [name for name, schedule in SCHEDULES.items() if isinstance(schedule, DiscreteSchedule)])
def test_no_grid_asks_below_the_first_row_of_a_table(name, grid, n):
    "A network was trained at t = 1, ..., T; only the end, where nobody is asked, is 0."
    asked = grid(SCHEDULES[name], n)[:-1]
    assert asked.min() >= 1 and asked[0] == SCHEDULES[name].t_max


def test_more_steps_than_rows_are_refused():
    for grid in (uniform_times, trailing_times):
        with pytest.raises(ValueError, match='n is 1001, expected at most 1000 steps'):
            grid(TABLE, 1001)


# Steps

@pytest.mark.parametrize('name', ALL)
def test_one_time_for_each_example(name):
    "t and s of shape (b,) give what each example gives alone."
    solver = partial(ALL[name], noise=lambda x, s: torch.ones_like(x)) if name in STOCHASTIC_SOLVERS else ALL[name]
    t, s = torch.tensor([0.9, 0.6, 0.3]).double(), torch.tensor([0.5, 0.4, 0.2]).double()
    x = noise(0, 'x', 0, range(3), (1,))
    together = solver(COSINE, LAW.denoise(COSINE), x, t, s)
    alone = torch.cat([solver(COSINE, LAW.denoise(COSINE), x[i : i + 1], t[i], s[i]) for i in range(3)])
    assert_close(together, alone, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('dtype', (torch.float32, torch.float64))
def test_dtype_and_shape_are_kept(name, dtype):
    "A float32 run stays in float32 and near the float64 run: images of any shape."
    x = noise(0, 'x', 0, range(2), (3, 4, 4))
    shrink = lambda x, t, cond=None: 0.5 * x
    run = lambda x: list(sample(shrink, COSINE, x, uniform_times(COSINE, 9), ALL[name]))
    got, want = run(x.to(dtype)), run(x)
    assert len(got) == 9 and all(y.shape == x.shape and y.dtype == dtype for y in got)
    assert_close(got[-1].double(), want[-1], rtol=1e-5, atol=1e-5)


def test_ddim_runs_backwards():
    "Without fresh noise a step may also lead to more noise: with one data point it comes back exactly."
    x0, eps = noise(0, 'x0', 0, range(3), (2,)), noise(0, 'eps', 0, range(3), (2,))
    up = [1.0, 13.0, 400.0, 1000.0]
    x = TABLE.perturb(x0, eps, up[0])
    for t, s in zip(up[:-1], up[1:]):
        x = ddim(TABLE, lambda *_: x0, x, torch.tensor(t), torch.tensor(s))
    assert_close(x, TABLE.perturb(x0, eps, 1000.0), rtol=0, atol=1e-11)


@pytest.mark.parametrize('name', STOCHASTIC_SOLVERS)
def test_no_fresh_noise_at_the_last_step(name):
    loud = partial(STOCHASTIC_SOLVERS[name], noise=lambda x, s: 1e3 * torch.ones_like(x))
    x0 = torch.tensor([[0.3, -0.7]]).double()
    for schedule in (COSINE, TABLE, KarrasSchedule()):
        t = torch.tensor(schedule.t_max / 10).double()
        y = loud(schedule, lambda *_: x0, schedule.perturb(x0, x0, t), t, torch.tensor(0.0).double())
        assert_close(y, x0, rtol=0, atol=1e-12)


def test_fresh_noise_is_asked_for_the_time_it_belongs_to():
    "Every step of every grid asks for noise of its own time s: no time twice, none for t."
    asked = []
    listen = lambda x, s: asked.append(s.item()) or torch.zeros_like(x)
    times = uniform_times(COSINE, 7)
    list(sample(LAW.denoise(COSINE), COSINE, torch.zeros(1, 1).double(), times, partial(ancestral, noise=listen)))
    assert asked == times[1:].tolist()


# The loop

def test_sample_yields_every_state_and_is_lazy():
    calls = []
    def denoise(x, t, cond):
        calls.append(t.item())
        return x
    run = sample(denoise, COSINE, torch.ones(1, 1), uniform_times(COSINE, 5))
    assert not calls, 'nothing is computed before it is asked for'
    next(run)
    assert calls == [1.0]
    assert len(list(run)) == 4 and calls == uniform_times(COSINE, 5)[:-1].tolist()


def test_sample_keeps_no_graph_and_leaves_grad_mode_alone():
    weight = torch.ones((), requires_grad=True)
    for x in sample(lambda x, t, cond: weight * x, COSINE, torch.ones(1, 1), uniform_times(COSINE, 3)):
        assert not x.requires_grad and torch.is_grad_enabled()


def test_cond_reaches_the_model_at_every_call():
    cond, seen = Cond(vec=torch.ones(1, 2)), []
    for solver in ALL.values():
        list(sample(lambda x, t, c: seen.append(c) or x, COSINE, torch.ones(1, 1), uniform_times(COSINE, 3), solver, cond))
    assert seen and all(c is cond for c in seen)


def test_a_bar_is_shown_only_when_asked_for(capsys, monkeypatch):
    monkeypatch.setenv('TQDM_DISABLE', '0')
    list(sample(lambda x, t, c: x, COSINE, torch.ones(1, 1), uniform_times(COSINE, 3)))
    assert capsys.readouterr().err == ''


# Errors

BAD = {
    'no steps': (lambda: uniform_times(COSINE, 0), 'n is 0, expected a positive whole number'),
    'negative steps': (lambda: karras_times(COSINE, -3), 'n is -3, expected a positive whole number'),
    'half a step': (lambda: trailing_times(TABLE, 2.5), 'n is 2.5, expected a positive whole number'),
    'true is no number': (lambda: positive(True), 'n is True, expected a positive whole number'),
    'more whole times than there are': (lambda: trailing_times(COSINE, 2), 'n is 2, expected at most 1 steps'),
    'too many for the table': (lambda: trailing_times(TABLE, 1001), 'n is 1001, expected at most 1000 steps'),
    'rising times': (lambda: run(times=torch.tensor([0.0, 1.0])), 'expected at least two strictly falling times'),
    'a level twice': (lambda: run(times=torch.tensor([1.0, 0.5, 0.5, 0.0])), 'expected at least two strictly falling times'),
    'one time': (lambda: run(times=torch.tensor([1.0])), 'times has shape (1,), expected at least two'),
    'a table of times': (lambda: run(times=torch.ones(2, 2)), 'times has shape (2, 2), expected at least two'),
    'not a number': (lambda: run(times=torch.tensor([1.0, float('nan')])), 'expected at least two strictly falling times'),
    'too noisy': (lambda: run(times=torch.tensor([1.5, 0.0])), 't is 1.5, expected a time in [0, 1]'),
    'before the data': (lambda: run(times=torch.tensor([1.0, -0.1])), 't is -0.1, expected a time in [0, 1]'),
    'noise with nan': (lambda: run(x=torch.tensor([[float('nan')]])), 'x holds values that are not finite'),
    'noise with inf': (lambda: run(x=torch.tensor([[float('inf')]])), 'x holds values that are not finite'),
    'eta above one': (lambda: list(run(solver=partial(ddim, eta=1.5))), 'eta is 1.5, expected a number from 0 to 1'),
    'eta below zero': (lambda: list(run(solver=partial(ddim, eta=-0.1))), 'eta is -0.1, expected a number from 0 to 1'),
    'eta nan': (lambda: list(run(solver=partial(ddim, eta=float('nan')))), 'eta is nan, expected a number from 0 to 1'),
    'clipping to nothing': (lambda: clip_x0(lambda *_: 0, 1.0, -1.0), 'low is 1.0 and high is -1.0, expected low < high'),
}


def run(x=None, times=None, solver=ddim):
    "Bad arguments raise at the call, not at the first step."
    x, times = torch.ones(1, 1) if x is None else x, uniform_times(COSINE, 2) if times is None else times
    return sample(lambda x, t, c: x, COSINE, x, times, solver)


@pytest.mark.bad_input
@pytest.mark.parametrize('name', BAD)
def test_bad_input(name):
    call, words = BAD[name]
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value)


# Clipping

def test_clipping_keeps_data_and_noise_consistent():
    "After clipping alpha x0 + sigma eps still is x, in every solver: a step of no length stays where it is."
    x, t = 3 * noise(0, 'x', 0, range(50), (2,)), torch.tensor(0.4).double()
    clipped = clip_x0(lambda x, t, cond=None: 2 * x)
    assert clipped(x, t).abs().max() == 1
    for solver in (ddim, euler, heun):
        assert_close(solver(COSINE, clipped, x, t, t), x, rtol=0, atol=1e-13)


def test_clipping_beyond_the_data_changes_no_bit():
    exact, x = LAW.denoise(COSINE), noise(0, 'x', 0, range(20), (1,))
    wide = clip_x0(exact, -10.0, 10.0)
    for solver in ALL.values():
        a, b = (list(sample(f, COSINE, x, uniform_times(COSINE, 8), solver))[-1] for f in (exact, wide))
        assert torch.equal(a, b)


# Conformance functions: what is right passes, what is broken is rejected with words that say why

@pytest.mark.parametrize('name', ALL)
def test_check_solver_accepts_the_books_own(name):
    check_solver(ALL[name], {'heun': 2}.get(name, None if name in STOCHASTIC_SOLVERS else 1))


def broken_shape(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond)[..., None]


def broken_dtype(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond).double()


def broken_input(schedule, denoise, x, t, s, cond=None):
    return x.copy_(ddim(schedule, denoise, x, t, s, cond)) + 0


def broken_cond(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, None)


def broken_batch(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond) + 1e-3 * (x - x.mean(0))


def broken_randomness(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond) + 1e-6 * torch.randn_like(x)


def broken_number(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond) / (x > 0)


def broken_level(schedule, denoise, x, t, s, cond=None):
    "Asks the model about the wrong level."
    return ddim(schedule, lambda x, t, c: denoise(x, 0.99 * t, c), x, t, s, cond)


def broken_end(schedule, denoise, x, t, s, cond=None):
    "Never arrives at the data: Stable Diffusion's first code ended at alpha_bar_1."
    return ddim(schedule, denoise, x, t, s.clamp_min(1e-3), cond)


def broken_root(schedule, denoise, x, t, s, cond=None):
    x0 = denoise(x, t, cond)
    return schedule.alpha(s) * x0 + schedule.sigma(s) ** 2 * schedule.eps(x, x0, t)


def broken_clip(schedule, denoise, x, t, s, cond=None):
    "Clips the estimate and keeps the stale noise."
    x0 = denoise(x, t, cond)
    return schedule.perturb(x0.clamp(-1, 1), schedule.eps(x, x0, t), s)


def broken_average(schedule, denoise, x, t, s, cond=None):
    "Heun that uses only the velocity at the end: straight paths hide it, the order does not."
    guess = euler(schedule, denoise, x, t, s, cond)
    return guess if s == 0 else x + (s - t) * schedule.velocity(guess, denoise(guess, s, cond), s)


def broken_weight(schedule, denoise, x, t, s, cond=None):
    "Corrects by the change of the estimate, whatever the step: exact on straight paths, of order 0 elsewhere."
    guess = euler(schedule, denoise, x, t, s, cond)
    return guess + 0.1 * (denoise(guess, s, cond) - denoise(x, t, cond)) if s > 0 else guess


def broken_last_noise(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "Adds the noise of the way forward, also at the last step."
    a, b, std = schedule.posterior(t, s)
    return a * x + b * denoise(x, t, cond) + (std * schedule.sigma(t) / schedule.sigma(s).clamp_min(1e-3)) * noise(x, s)


def broken_variance(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    a, b, std = (c.to(x) for c in schedule.posterior(t, s))
    return a * x + b * denoise(x, t, cond) + std**2 * noise(x, s)


def broken_mean(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    a, b, std = (c.to(x) for c in schedule.posterior(t, s))
    return a * x + b / schedule.alpha(s).to(x) * denoise(x, t, cond) + std * noise(x, s)


def broken_ratio(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "DDIM's eta without the ratio of the steps."
    x0 = denoise(x, t, cond)
    std = torch.sqrt(1 - (schedule.alpha(t) / schedule.alpha(s)) ** 2)
    kept = torch.sqrt((schedule.sigma(s) ** 2 - std**2).clamp_min(0))
    return (schedule.alpha(s) * x0 + kept * schedule.eps(x, x0, t) + std * noise(x, s)).to(x)


def broken_sharing(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "Draws one noise and lends it by the place in the batch, counted from the end."
    return ancestral(schedule, denoise, x, t, s, cond, noise=lambda x, s: noise(x, s).flip(0))


BROKEN_SOLVERS = [
    (broken_shape, 1, 'shape (5, 1, 1)'),
    (broken_dtype, 1, 'from float32 the solver made torch.float64'),
    (broken_input, 1, 'changed its input'),
    (broken_cond, 1, 'did not hand cond'),
    (broken_batch, 1, 'depends on the others'),
    (broken_randomness, 1, 'two answers to one question'),
    (broken_number, 1, 'not finite'),
    (broken_level, 1, 'off the straight path'),
    (broken_end, 1, 'off the straight path'),
    (broken_root, 1, 'off the straight path'),
    (broken_clip, 1, 'off the straight path'),
    (ancestral, 1, 'off the straight path'),
    (broken_average, 2, 'the order is 0.98, expected 2'),
    (euler, 2, 'the order is 1.0'),
    (heun, 1, 'the order is 2.0'),
    (broken_weight, 1, 'the order is'),
    (broken_last_noise, None, 'the noise at t ='),
    (broken_variance, None, 'the noise at t ='),
    (broken_mean, None, 'the mean at t ='),
    (broken_ratio, None, 'the noise at t ='),
    (broken_sharing, None, 'depends on the others'),
]


@pytest.mark.parametrize('solver, order, words', BROKEN_SOLVERS, ids=[f'{f.__name__}-{order}' for f, order, _ in BROKEN_SOLVERS])
def test_check_solver_rejects(solver, order, words):
    with pytest.raises(ValueError) as error:
        check_solver(solver, order)
    assert words in str(error.value)


EXACT = LAW.denoise(COSINE)
COUNT = [0]


def forgetful(x, t, cond=None):
    COUNT[0] += 1
    return EXACT(x, t) + 1e-3 * COUNT[0]


BROKEN_DENOISERS = {
    'shape': (lambda x, t, cond=None: EXACT(x, t)[:, 0], 'answered with shape (6,), expected (6, 1)'),
    'dtype': (lambda x, t, cond=None: EXACT(x, t).float(), 'answered in torch.float32, expected torch.float64'),
    'nan': (lambda x, t, cond=None: EXACT(x, t) / (x > 0), 'not finite'),
    'in place': (lambda x, t, cond=None: x.mul_(0.5), 'changed its input'),
    'two answers': (forgetful, 'two answers to one question'),
    'batch norm': (lambda x, t, cond=None: x - x.mean(0), 'depends on the others in its batch'),
    'one time for all': (lambda x, t, cond=None: EXACT(x, t.reshape(-1)[0]) * (1 + t.ndim), 't has shape (b,)'),
}


@pytest.mark.parametrize('name', BROKEN_DENOISERS)
def test_check_denoiser_rejects(name):
    denoise, words = BROKEN_DENOISERS[name]
    x = LAW.at(COSINE, 0.5).sample(6, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError) as error:
        check_denoiser(denoise, COSINE, x)
    assert words in str(error.value)


@pytest.mark.parametrize('name', SCHEDULES)
def test_check_denoiser_accepts_the_oracle(name):
    x = LAW.sample(6, torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.float64):
        check_denoiser(LAW.denoise(SCHEDULES[name]), SCHEDULES[name], x.to(dtype), Cond(vec=torch.ones(6, 1)))
