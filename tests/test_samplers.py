"""Samplers: grids on every schedule, errors at the edge, and conformance functions that reject what is broken."""

from fractions import Fraction
from functools import partial, wraps

import helpers
import pytest
import torch
from helpers import SCHEDULES, SOLVERS, STOCHASTIC_SOLVERS
from torch.testing import assert_close

from diffbook.core import Cond, Noise, noise, seeded_noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.samplers import (
    ancestral,
    check_denoiser,
    check_solver,
    clip_x0,
    ddim,
    equip,
    euler,
    forked,
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
    list(sample(LAW.denoise(COSINE), COSINE, x, uniform_times(COSINE, 4), equip(wrap(remembers), past=past, noise=Noise(1))))
    assert past == [1.0, 0.75, 0.5, 0.25]


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


def test_a_right_churn_passes_and_heun_keeps_its_order_in_the_law():
    "What is refused above is the clock, not the churn; and the order of mean and covariance may be asked for."
    for solver, order in ((partial(broken_churn, stale=False), 1), (ddim, 1), (heun, 2)):
        check_solver(solver, order, stochastic=True)
    with pytest.raises(ValueError, match='mean and covariance on Gaussian data are off by'):
        check_solver(partial(ddim, eta=0.3), 2, stochastic=True)


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
    'the order of solvers': (lambda: sample(COSINE, lambda x, t, c: x, torch.ones(1, 1), [1.0, 0.0]), 'the order is sample(denoise, schedule, x, times)'),
    'a solver by name': (lambda: run(solver='ddim'), "solver is 'ddim', expected a step rule"),
    'no denoiser': (lambda: sample(None, COSINE, torch.ones(1, 1), [1.0, 0.0]), 'denoise is None, expected a denoiser'),
    'labels for a condition': (lambda: run(cond=torch.tensor([3])), 'cond is a Tensor, expected a Cond'),
    'a function to fork': (lambda: forked(None, lambda x, t: x, 'beside'), 'noise is a function, expected a Noise'),
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


def test_the_tolerance_and_the_schedules_of_a_check_are_used():
    off = lambda x, t, cond=None: 0.5 * x + 1e-3 * torch.as_tensor(t).ndim
    check_denoiser(off, COSINE, torch.ones(3, 1), tol=1e-2)
    with pytest.raises(ValueError, match='when t has shape'):
        check_denoiser(off, COSINE, torch.ones(3, 1), tol=1e-4)
    partly = lambda schedule, *rest: (ddim if schedule is not TABLE else euler)(schedule, *rest)
    check_solver(partly)
    with pytest.raises(ValueError, match='off the straight path'):
        check_solver(partly, 1, [COSINE, TABLE])


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


def broken_question(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "Asks about another state: with one data point the answer is the same."
    return ancestral(schedule, lambda x, t, c: denoise(2 * x, t, c), x, t, s, cond, noise=noise)


def broken_clock(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    return ancestral(schedule, lambda x, t, c: denoise(x, 0.98 * t, c), x, t, s, cond, noise=noise)


def broken_churn(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0), stale=True):
    "Noise is added before the step, and the denoiser hears the time before that."
    up = (t + (t - s) / 2).clamp(max=schedule.t_max)
    scale = schedule.alpha(up) / schedule.alpha(t) if up > t else torch.ones_like(t)
    std = torch.sqrt((schedule.sigma(up) ** 2 - (scale * schedule.sigma(t)) ** 2).clamp(min=0))
    return ddim(schedule, lambda x, u, c: denoise(x, t if stale else u, c), scale * x + std * noise(x, up) if up > t else x, up, s, cond)


def broken_stream(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "The same noise in every step, as if it were drawn once outside the loop."
    return ancestral(schedule, denoise, x, t, s, cond, noise=lambda x, s: noise(x, torch.zeros(()).double()))


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
    (broken_question, None, 'that it asks about at t = 1 is off by 3 in variance'),
    (broken_clock, None, 'that it asks about at t = 0.98'),
    (broken_churn, None, 'that it asks about at t ='),
    (broken_stream, None, 'mean and covariance on Gaussian data'),
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
