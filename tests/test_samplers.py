"""Samplers: grids on every schedule, errors at the edge, and conformance functions that reject what is broken."""

import math
from fractions import Fraction
from functools import partial, wraps

import helpers
import pytest
import torch
from helpers import SCHEDULES, SOLVERS, STOCHASTIC_SOLVERS
from torch.testing import assert_close

from diffbook.core import Cond, Noise, noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.samplers import (
    ancestral,
    churn,
    clip_x0,
    ddim,
    equip,
    euler,
    forked,
    heun,
    karras_times,
    sample,
    snr_times,
    trailing_times,
    uniform_times,
    walk,
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
    for grid in [uniform_times, karras_times, snr_times] + [trailing_times] * (schedule.t_max - schedule.t_min >= 50):
        times = grid(schedule, n)
        assert times.shape == (n + 1,) and times.dtype == torch.float64
        assert times[0] == schedule.t_max and times[-1] == schedule.t_min
        assert (times.diff() < -1e-9 * (schedule.t_max - schedule.t_min)).all(), f'{grid.__name__}: {times}'


@pytest.mark.parametrize('n', (1, 2, 3, 7, 13, 48, 50, 240, 464, 976, 999, 1000))
def test_trailing_is_the_published_formula(n):
    "Lin et al. 2024 count a table from 0: round(arange(T, 0, -T / n)) - 1, in exact fractions; an exact half goes to the even number."
    published = [round(1000 - Fraction(1000 * i, n)) - 1 for i in range(n)]
    assert trailing_times(TABLE, n).tolist() == [t + 1.0 for t in published] + [0.0]


def test_grids_keep_to_a_range_that_does_not_begin_at_zero():
    "A quarter of a cosine in the middle: both ends are exact, and steps are even in their own measure."
    part = CosineSchedule()
    part.t_min, part.t_max = 0.25, 0.75
    assert_close(uniform_times(part, 4), torch.tensor([0.75, 0.625, 0.5, 0.375, 0.25]).double())
    for rho in (1.0, 7.0):
        got = torch.exp(-part.log_snr(karras_times(part, 5, rho)) / 2)
        root = torch.tan(torch.pi / 2 * torch.tensor([0.75, 0.25]).double()) ** (1 / rho)
        assert_close(got, torch.stack([root[0] + i / 5 * (root[1] - root[0]) for i in range(6)]) ** rho)


@pytest.mark.parametrize('least', (0.002, 0.05, 1.0))
def test_the_last_level_before_the_end_is_the_least(least):
    first_row = (1e-4 / (1 - 1e-4)) ** 0.5  # of the table, below which no network was trained
    for schedule, want in ((KarrasSchedule(), least), (TABLE, max(least, first_row)), (COSINE, least)):
        assert_close(torch.exp(-schedule.log_snr(karras_times(schedule, 6, least=least)[-2]) / 2), torch.tensor(want).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize('rho', (1.0, 3.0, 7.0))
def test_karras_is_the_published_formula_on_every_schedule(rho):
    "Karras et al. 2022, equation 5, for the ratio of noise to signal; a schedule that never reaches `least` ends at its own level."
    first_row = (1e-4 / (1 - 1e-4)) ** 0.5  # the least level of a table that a network was trained at
    for schedule, low, high, last in ((KarrasSchedule(), 0.002, 80.0, 9), (TABLE, first_row, None, 9), (ExponentialSchedule(), 0.01, 50.0, 10)):
        got = torch.exp(-schedule.log_snr(karras_times(schedule, 10, rho)) / 2)
        high = high or got[0].item()
        want = [(high ** (1 / rho) + i / last * (low ** (1 / rho) - high ** (1 / rho))) ** rho for i in range(last + 1)]
        assert_close(got[: last + 1], torch.tensor(want, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize('name', SCHEDULES)
def test_even_steps_of_the_log_snr(name):
    "Between two values all steps are one; from noise to data all inner steps are, and the ends are those of the schedule."
    schedule = SCHEDULES[name]
    low, high = (float(schedule.log_snr(helpers.inner_times(schedule, 9)[i])) for i in (6, 3))
    close = schedule.log_snr(snr_times(schedule, 6, (low, high)))
    assert_close(close, low + (high - low) / 6 * torch.arange(7).double(), rtol=1e-6, atol=1e-6)
    times = snr_times(schedule, 9)
    assert times.shape == (10,) and times[0] == schedule.t_max and times[-1] == schedule.t_min and (times.diff() < 0).all()
    steps = schedule.log_snr(times[1:-1]).diff()
    assert_close(steps, steps[:1].expand(7), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('n', (1, 2, 3, 7, 10, 30, 49, 50))
@pytest.mark.parametrize('grid', (uniform_times, trailing_times, karras_times, snr_times))
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
@pytest.mark.parametrize('schedule', [n for n, s in SCHEDULES.items() if float(s.sigma(s.t_min)) == 0])
def test_one_example_ends_while_others_go_on(schedule, name):
    "s without noise for one example: that one arrives, and the others take the step that they take alone."
    schedule, solver = SCHEDULES[schedule], ALL[name]
    if name in STOCHASTIC_SOLVERS:
        solver = partial(solver, noise=lambda x, s: torch.ones_like(x))
    u = torch.tensor([[0.9, 0.6, 0.3], [0.5, 0.0, 0.2]], dtype=torch.float64)
    t, s = schedule.t_min + u * (schedule.t_max - schedule.t_min)
    x, exact = noise(0, 'x', 0, range(3), (1,)), LAW.denoise(schedule)

    def denoise(x, t, cond=None):
        assert (schedule.sigma(t) > 0).all(), 'nobody is asked where there is no noise'
        return exact(x, t)

    for f in (denoise, clip_x0(denoise)):
        together = solver(schedule, f, x, t, s)
        alone = torch.cat([solver(schedule, f, x[i : i + 1], t[i], s[i]) for i in range(3)])
        assert_close(together, alone, rtol=1e-12, atol=1e-12)


def wrapped(solver):
    "A wrapper as a reader writes it: the signature is kept, and what is not its own is handed on."

    @wraps(solver)
    def step(schedule, denoise, x, t, s, cond=None, **more):
        return solver(schedule, denoise, x, t, s, cond, **more)

    return step


@pytest.mark.parametrize('wrap', [
    wrapped,
    lambda f: wrapped(wrapped(f)),
    lambda f: partial(wrapped(f)),
    lambda f: wrapped(partial(f)),
    lambda f: partial(wrapped(partial(wrapped(f)))),
], ids=['once', 'twice', 'inside partial', 'around partial', 'all'])  # fmt: skip
def test_equip_reaches_through_wrappers(wrap):
    x, (t, s) = noise(0, 'x', 0, range(3), (1,)), torch.tensor([0.8, 0.7]).double()
    step = lambda solver, **things: equip(solver, **things)(COSINE, LAW.denoise(COSINE), x, t, s)
    for solver in (ancestral, partial(ddim, eta=0.5)):
        for seed in (0, 12345):
            assert torch.equal(step(wrap(solver), noise=Noise(seed)), solver(COSINE, LAW.denoise(COSINE), x, t, s, noise=Noise(seed)))
        assert not torch.equal(step(wrap(solver), noise=Noise(0)), step(wrap(solver), noise=Noise(12345)))
    assert torch.equal(step(wrap(heun), noise=Noise(1)), heun(COSINE, LAW.denoise(COSINE), x, t, s)), 'what asks for no noise gets none'

    def remembers(schedule, denoise, x, t, s, cond=None, *, past=()):
        past.append(float(t))
        return ddim(schedule, denoise, x, t, s, cond)

    past = []
    list(walk(LAW.denoise(COSINE), partial(equip(wrap(remembers), past=past, noise=Noise(1)), COSINE), x, uniform_times(COSINE, 4)))
    assert past == [1.0, 0.75, 0.5, 0.25]


def test_each_walk_has_a_memory_of_its_own():
    "Two walks side by side do not meet in it, nor does one see what an earlier one kept or what a solver was made with."
    seen, mine = [], [-1.0]

    def remembers(schedule, denoise, x, t, s, cond=None, *, past=()):
        seen.append(list(past))
        past.append(float(t))
        return ddim(schedule, denoise, x, t, s, cond)

    solver = partial(remembers, past=mine)
    a, b = (sample(LAW.denoise(COSINE), COSINE, torch.zeros(1, 1).double(), uniform_times(COSINE, 3), solver) for _ in range(2))
    for _ in zip(a, b):
        pass
    assert seen == [[], [], [1.0], [1.0], [1.0, pytest.approx(2 / 3)], [1.0, pytest.approx(2 / 3)]] and mine == [-1.0]


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


def test_with_the_right_variance_few_steps_are_exact():
    "Gaussian data: mean and variance of the step back are known, so any grid, also of one step, ends at the data's own law."
    m, v = 0.5, 0.25
    law = GaussianMixture([1.0], [[m]], [[[v]]])
    spread = lambda t: v * TABLE.sigma(t) ** 2 / (TABLE.alpha(t) ** 2 * v + TABLE.sigma(t) ** 2)  # of x0 given x_t
    full = lambda x, t, s, cond: TABLE.posterior(t, s)[2] ** 2 + TABLE.posterior(t, s)[1] ** 2 * spread(t)
    for n in (1, 2, 7):
        times = trailing_times(TABLE, n)[:-1].tolist() + [1.0]
        start = law.at(TABLE, times[0])
        mean, var = start.means[0, 0], start.covs[0, 0, 0]
        for t, s in zip(torch.tensor(times[:-1]).double(), torch.tensor(times[1:]).double()):
            step = lambda x, z: ancestral(TABLE, law.denoise(TABLE), x, t, s, variance=full, noise=lambda x, s: z)  # noqa: B023
            zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
            at, slope, noisy = step(zero, zero), step(one, zero) - step(zero, zero), step(zero, one) - step(zero, zero)
            mean, var = (at + slope * mean)[0, 0], (slope**2 * var + noisy**2)[0, 0]
        assert_close(mean, law.at(TABLE, 1.0).means[0, 0], rtol=1e-10, atol=0)
        assert_close(var, law.at(TABLE, 1.0).covs[0, 0, 0], rtol=1e-10, atol=0)


@pytest.mark.parametrize('told', [0.09, [0.09, 0.25, 4.0], [[0.09, 1.0], [0.25, 0.3], [4.0, 0.1]]])
def test_a_variance_may_be_told_for_all_or_for_each(told):
    "One time an example, the last of them clean: there no noise is added, whatever variance is told."
    t, s = torch.tensor([0.9, 0.6, 0.3]).double(), torch.tensor([0.5, 0.4, 0.0]).double()
    x, z, cond, told, asked = noise(0, 'x', 0, range(3), (2,)), noise(0, 'z', 0, range(3), (2,)), Cond(), torch.tensor(told).double(), []
    step = lambda z: ancestral(COSINE, lambda x, t, c: 0 * x, x, t, s, cond, noise=lambda x, s: z, variance=lambda *a: asked.append(a) or told)
    std = told.sqrt() if told.ndim != 1 else told.sqrt()[:, None]
    assert_close(step(z) - step(0 * z), std * torch.tensor([[1.0], [1.0], [0.0]]).double() * z, rtol=1e-12, atol=1e-12)
    assert all(a is b for a, b in zip(asked[0], (x, t, s, cond)))


def test_fresh_noise_is_asked_for_the_time_it_belongs_to():
    "Every step of every grid asks for noise of its own time s: no time twice, none for t."
    asked = []
    listen = lambda x, s: asked.append(s.item()) or torch.zeros_like(x)
    times = uniform_times(COSINE, 7)
    list(sample(LAW.denoise(COSINE), COSINE, torch.zeros(1, 1).double(), times, partial(ancestral, noise=listen)))
    assert asked == times[1:].tolist()


@pytest.mark.parametrize('name', STOCHASTIC_SOLVERS)
def test_noise_goes_on_over_the_borders_of_batches(name):
    "128 pictures in one batch are the same in two of 64; no two of them, no two seeds and no two steps share their noise."
    x0, times = torch.zeros(128, 1).double(), uniform_times(COSINE, 4)
    walk = lambda x, noise: torch.cat(list(sample(lambda x, t, c: 0 * x, COSINE, x, times, partial(STOCHASTIC_SOLVERS[name], noise=noise))), 1)[:, :-1]
    whole = walk(x0, Noise(3))
    parts = [walk(x0[:64], Noise(3, start=first)) for first in (0, 64)]
    assert torch.equal(whole, torch.cat(parts))
    assert len(whole.flatten().unique()) == whole.numel() == 384
    assert not torch.isclose(whole, walk(x0, Noise(4))).any() and not torch.isclose(whole, walk(x0, Noise(3, 'other'))).any()
    drawn = [Noise(3)(x0, t) for t in times]
    assert len(torch.cat(drawn).unique()) == 5 * 128


# Churn


@pytest.mark.parametrize('name', SCHEDULES)
def test_churn_raises_the_level_and_keeps_the_law(name):
    "What the solver gets has the variance of the level (1 + gamma) sigma / alpha, or of t_max; outside low and high nothing happens."
    schedule, law = SCHEDULES[name], GaussianMixture([1.0], [[0.3]], [[[0.49]]])
    for t in (*helpers.inner_times(schedule, 5), torch.tensor(schedule.t_max).double()):
        got = []
        step = lambda schedule, denoise, x, t, s, cond=None: got.append((x, t)) or x
        zero_one, told = torch.tensor([[0.0], [1.0]]).double(), Noise(3)
        churn(step, 0.5)(schedule, None, zero_one, t, t, noise=told)
        (x, up), want = got[0], 1.5 * schedule.sigma(t) / schedule.alpha(t)
        assert up == schedule.t_max or abs(schedule.sigma(up) / schedule.alpha(up) / want - 1) < 1e-9
        z = told.fork('churn')(zero_one, up)
        std = x[0] / z[0]
        scale = x[1] - std * z[1]
        assert_close(scale**2 * law.at(schedule, t).covs[0, 0] + std**2, law.at(schedule, up).covs[0, 0], rtol=1e-8, atol=0)
        level = float(want / 1.5)
        for low, high in ((1.01 * level, 1e9), (0.0, 0.99 * level)):
            churn(step, 0.5, low, high)(schedule, None, zero_one, t, t, noise=told)
            if math.isfinite(level):
                assert torch.equal(got[-1][0], zero_one) and got[-1][1] == t


def test_churn_hands_on_memory_and_noise_and_takes_each_example_for_itself():
    seen = []

    def asks(schedule, denoise, x, t, s, cond=None, *, noise=None, past=()):
        seen.append((noise, past, t))
        return x

    told, past, x = Noise(3), [], torch.zeros(2, 1).double()
    t, s = torch.tensor([[0.5, 0.1], [0.4, 0.05]], dtype=torch.float64)
    equip(churn(asks, 0.5, low=0.5), noise=told, past=past)(COSINE, None, x, t, s)
    noise_, past_, up = seen[0]
    assert noise_ is told and past_ is past and up[0] > 0.5 and up[1] == 0.1


def test_s_noise_scales_the_fresh_noise_alone():
    step, told = lambda schedule, denoise, x, t, s, cond=None: x, Noise(3)
    x, t = noise(0, 'x', 0, range(3), (2,)), torch.tensor(0.4).double()
    plain, louder, silent = (churn(step, 0.5, s_noise=k)(COSINE, None, x, t, t, noise=told) for k in (1.0, 1.25, 0.0))
    assert_close(louder - silent, 1.25 * (plain - silent), rtol=1e-12, atol=0)
    assert torch.equal(plain, churn(step, 0.5)(COSINE, None, x, t, t, noise=told))
    with pytest.raises(ValueError, match='s_noise is -1'):
        churn(step, 0.5, s_noise=-1.0)


def test_a_network_that_tells_its_variance_is_asked_once_a_step():
    asked = []

    def both(x, t, s, cond):
        asked.append((float(t), float(s)))
        return 0.5 * x, 0.1 + x**2

    x, times = noise(0, 'x', 0, range(3), (2,)), uniform_times(COSINE, 4)
    got = list(sample(lambda *_: pytest.fail('denoise is asked'), COSINE, x, times, partial(ancestral, both=both)))
    want = list(sample(lambda x, t, c: 0.5 * x, COSINE, x, times, partial(ancestral, variance=lambda x, t, s, c: 0.1 + x**2)))
    assert asked == list(zip(times[:-1].tolist(), times[1:].tolist())) and all(torch.equal(a, b) for a, b in zip(got, want))


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
    list(sample(lambda x, t, c: x, COSINE, torch.ones(1, 1), uniform_times(COSINE, 3), progress=True))
    assert 'sampling: 100%' in capsys.readouterr().err


# Errors

BAD = {
    'no steps': (lambda: uniform_times(COSINE, 0), 'n is 0, expected a positive whole number'),
    'negative steps': (lambda: karras_times(COSINE, -3), 'n is -3, expected a positive whole number'),
    'half a step': (lambda: trailing_times(TABLE, 2.5), 'n is 2.5, expected a positive whole number'),
    'true is no number': (lambda: uniform_times(COSINE, True), 'n is True, expected a positive whole number'),
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
    'the order of solvers': (lambda: sample(COSINE, lambda x, t, c: x, torch.ones(1, 1), [1.0, 0.0]), 'the order is sample(denoise, schedule, x, times)'),
    'a solver by name': (lambda: run(solver='ddim'), "solver is 'ddim', expected a step rule"),
    'no denoiser': (lambda: sample(None, COSINE, torch.ones(1, 1), [1.0, 0.0]), 'denoise is None, expected a denoiser'),
    'labels for a condition': (lambda: run(cond=torch.tensor([3])), 'cond is a Tensor, expected a Cond'),
    'a function to fork': (lambda: forked(None, lambda x, t: x, 'beside'), 'noise is a function, expected a Noise'),
    'ends the wrong way': (lambda: snr_times(COSINE, 4, (5.0, -4.0)), 'expected the lower first'),
    'churn the wrong way': (lambda: churn(ddim, -0.1), 'gamma is -0.1, expected a number, at least 0'),
    'clipping to nothing': (lambda: clip_x0(lambda *_: 0, 1.0, -1.0), 'low is 1.0 and high is -1.0, expected low < high'),
}


def run(x=None, times=None, solver=ddim, cond=None):
    "Bad arguments raise at the call, not at the first step."
    x, times = torch.ones(1, 1) if x is None else x, uniform_times(COSINE, 2) if times is None else times
    return sample(lambda x, t, c: x, COSINE, x, times, solver, cond)


test_bad_input_is_refused = helpers.refuses(BAD)


# Clipping


def test_clipping_keeps_data_and_noise_consistent():
    "After clipping alpha x0 + sigma eps still is x, in every solver: a step of no length stays where it is."
    x, t = 3 * noise(0, 'x', 0, range(50), (2,)), torch.tensor(0.4).double()
    clipped = clip_x0(lambda x, t, cond=None: 2 * x)
    assert clipped(x, t).abs().max() == 1
    for solver in (ddim, euler, heun):
        assert_close(solver(COSINE, clipped, x, t, t), x, rtol=0, atol=1e-13)


def test_clipping_keeps_both_ends():
    got = clip_x0(lambda x, t, cond=None: x, -0.5, 2.0)(torch.tensor([[-3.0, -0.5, 0.1, 2.0, 9.0]]), None)
    assert got.tolist() == [[-0.5, -0.5, pytest.approx(0.1), 2.0, 2.0]]


def test_clipping_beyond_the_data_changes_no_bit():
    exact, x = LAW.denoise(COSINE), noise(0, 'x', 0, range(20), (1,))
    wide = clip_x0(exact, -10.0, 10.0)
    for solver in ALL.values():
        a, b = (list(sample(f, COSINE, x, uniform_times(COSINE, 8), solver))[-1] for f in (exact, wide))
        assert torch.equal(a, b)
