"""DPM-Solver++(2M): a transcription of the published algorithm, the memory of a walk, the last step, and one time for each example."""

import math
from functools import partial

import pytest
import torch
from helpers import SCHEDULES
from torch.testing import assert_close

from diffbook.conform import BETWEEN, PLANE, check_order, check_solver, check_straight, flow_error
from diffbook.core import Noise, noise
from diffbook.editing import inpaint
from diffbook.exact import reference_mixture
from diffbook.multistep import dpmpp_2m
from diffbook.samplers import churn, ddim, equip, sample, snr_times, trailing_times, uniform_times, walk
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    KarrasSchedule,
    LinearBetaSchedule,
    RectifiedFlowSchedule,
    linear_betas,
)
from diffbook.stable_diffusion import in_ratio

LAW, COSINE = reference_mixture(), CosineSchedule()
TABLE = DiscreteSchedule(linear_betas())


def published(x, times, denoise, schedule):
    "Lu et al. 2022 (DPM-Solver++), algorithm 2, line by line, in their letters; all levels must hold signal and noise."
    lam = [math.log(float(schedule.alpha(t)) / float(schedule.sigma(t))) for t in times]
    buffer = []
    for i in range(1, len(times)):
        s, t = times[i - 1], times[i]
        h = lam[i] - lam[i - 1]
        buffer.append(denoise(x, s))
        D = buffer[-1]
        if i > 1:
            r = (lam[i - 1] - lam[i - 2]) / h
            D = (1 + 1 / (2 * r)) * buffer[-1] - 1 / (2 * r) * buffer[-2]
        x = schedule.sigma(t) / schedule.sigma(s) * x - schedule.alpha(t) * (math.exp(-h) - 1) * D
    return x


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('n', (1, 2, 3, 7, 20))
def test_it_is_the_published_algorithm(name, n):
    schedule = SCHEDULES[name]
    low, high = (float(schedule.log_snr(schedule.t_min + u * (schedule.t_max - schedule.t_min))) for u in (0.9, 0.2))
    times, x = snr_times(schedule, n, (low, high)), noise(0, 'x', 0, range(20), (1,))
    times = times - 0.01 * times.diff(prepend=times[:1]).cumsum(0).mul(torch.sin(torch.arange(n + 1.0).double())).abs()  # uneven
    *_, got = sample(LAW.denoise(schedule), schedule, x, times, dpmpp_2m)
    assert_close(got, published(x, times, LAW.denoise(schedule), schedule), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('law', (PLANE, LAW), ids=('plane', 'mixture'))
@pytest.mark.parametrize('schedule', (COSINE, LinearBetaSchedule(), RectifiedFlowSchedule(), KarrasSchedule()), ids=lambda s: type(s).__name__)
def test_order_two_on_four_schedules_and_two_laws(schedule, law):
    errors = [flow_error(dpmpp_2m, law, schedule, BETWEEN(schedule, n), known=1) for n in (256, 512)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.01)
    check_order(dpmpp_2m, 2, schedule, law=law)


def test_it_keeps_the_rules_of_all_solvers():
    check_solver(dpmpp_2m, 2)
    check_straight(dpmpp_2m, [COSINE, TABLE, KarrasSchedule(), LinearBetaSchedule()])
    with pytest.raises(ValueError, match='the order is'):
        check_order(dpmpp_2m, 1)
    with pytest.raises(ValueError, match='the order is'):  # the last step to the data is of first order, and not small
        check_order(dpmpp_2m, 2, times=uniform_times)


def test_the_first_step_and_the_last_are_ddim():
    x = noise(0, 'x', 0, range(20), (1,))
    f = LAW.denoise(COSINE)
    for schedule, (t, s) in ((COSINE, (1.0, 0.7)), (COSINE, (0.7, 0.4)), (TABLE, (1000.0, 700.0))):
        (t, s), exact = torch.tensor([t, s], dtype=torch.float64), LAW.denoise(schedule)
        assert_close(dpmpp_2m(schedule, exact, x, t, s), ddim(schedule, exact, x, t, s), rtol=0, atol=1e-12)
    t, end = torch.tensor([0.2, 0.0]).double()
    past = [(torch.tensor(0.5).double(), torch.full_like(x, 100.0))]
    assert_close(dpmpp_2m(COSINE, f, x, t, end, past=past), f(x, t), rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', SCHEDULES)
def test_walks_are_finite_from_pure_noise_to_the_data(name):
    schedule = SCHEDULES[name]
    x = schedule.sigma(schedule.t_max) * noise(0, 'x', 0, range(20), (1,))
    for times in (uniform_times(schedule, 7), snr_times(schedule, 7)):
        walked = list(sample(LAW.denoise(schedule), schedule, x, times, dpmpp_2m))
        assert all(torch.isfinite(y).all() for y in walked)


def test_each_example_has_its_own_times_and_ends_by_itself():
    x = noise(0, 'x', 0, range(3), (2,))
    f = lambda x, t, cond=None: torch.sin(x) + t.reshape(-1, 1) if t.ndim else torch.sin(x) + t
    u, t, s = torch.tensor([[1.0, 0.95, 0.8], [0.9, 0.6, 0.3], [0.5, 0.0, 0.2]], dtype=torch.float64)
    old = noise(0, 'old', 0, range(3), (2,))
    together = dpmpp_2m(COSINE, f, x, t, s, past=[(u, old)])
    alone = [dpmpp_2m(COSINE, f, x[i : i + 1], t[i], s[i], past=[(u[i], old[i : i + 1])]) for i in range(3)]
    assert_close(together, torch.cat(alone), rtol=1e-13, atol=1e-13)


def test_memory_is_that_of_the_walk_and_holds_one_pair():
    x, times, f = noise(0, 'x', 0, range(5), (1,)), uniform_times(COSINE, 6), LAW.denoise(COSINE)
    past = []
    states = list(walk(f, partial(dpmpp_2m, COSINE, past=past), x, times))
    assert len(past) == 1 and past[0][0] == times[-2]
    assert_close(past[0][1], f(states[-2], times[-2]))
    again = list(sample(f, COSINE, x, times, dpmpp_2m))
    assert all(torch.equal(a, b) for a, b in zip(states, again))
    known = ((torch.tensor(0.75).double(), x),)
    dpmpp_2m(COSINE, f, x, torch.tensor(0.5).double(), torch.tensor(0.4).double(), past=known)
    assert known[0][0] == 0.75 and len(known) == 1, 'what is no list is only read'


def test_two_walks_side_by_side_do_not_meet():
    x, f = noise(0, 'x', 0, range(2), (1,)), LAW.denoise(COSINE)
    grids = uniform_times(COSINE, 8), uniform_times(COSINE, 5)
    apart = [list(sample(f, COSINE, x, times, dpmpp_2m)) for times in grids]
    walks = [sample(f, COSINE, x, times, dpmpp_2m) for times in grids]
    together = [[next(walks[0])], [next(walks[1])]]
    for _ in range(4):
        together[0].append(next(walks[0]))
        together[1].append(next(walks[1]))
    together[0] += list(walks[0])
    assert all(torch.equal(a, b) for got, want in zip(together, apart) for a, b in zip(got, want))


def test_memory_reaches_through_wrappers():
    "With nothing known and no churn the wrappers change nothing; in the ratio of noise to signal the memory has that clock."
    x, times, f = noise(0, 'x', 0, range(4), (1,)), uniform_times(COSINE, 9)[1:], LAW.denoise(COSINE)
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    *_, want = sample(f, COSINE, x, times, dpmpp_2m)
    for solver in (
        inpaint(dpmpp_2m, torch.zeros(1, 1), nothing),
        churn(dpmpp_2m, 0.0),
        churn(inpaint(dpmpp_2m, torch.zeros(1, 1), nothing), 0.0),
        in_ratio(dpmpp_2m),
    ):
        *_, got = sample(f, COSINE, x, times, equip(solver, noise=Noise(1)))
        assert_close(got, want, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(want, [*sample(f, COSINE, x, times, ddim)][-1], atol=1e-3)


def test_whole_times_of_a_table():
    "On every trailing grid of a table it is nearer to the exact flow than DDIM."
    for n in (10, 20, 50):
        times = trailing_times(TABLE, n)
        assert flow_error(dpmpp_2m, LAW, TABLE, times) < 0.6 * flow_error(ddim, LAW, TABLE, times)
