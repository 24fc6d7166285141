"""Multistep solvers: transcriptions of the published algorithms, orders, the memory of a walk, the ends, one time for each example."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from helpers import SCHEDULES
from torch.testing import assert_close

from diffbook.conform import BETWEEN, PLANE, check_law, check_manners, check_order, check_solver, check_spread, check_straight, flow_error
from diffbook.core import Noise, noise
from diffbook.editing import inpaint
from diffbook.exact import reference_mixture
from diffbook.multistep import (
    DATA,
    FLOW,
    NOISE,
    RATIO,
    adams_bashforth,
    adaptive,
    deis,
    dpm_solver,
    dpmpp_2m,
    dpmpp_3m,
    dpmpp_sde,
    integrals,
    ipndm,
    multistep,
    unipc,
)
from diffbook.samplers import churn, ddim, equip, euler, sample, snr_times, trailing_times, uniform_times, walk
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    ExponentialSchedule,
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
    errors = [flow_error(dpmpp_2m, law, schedule, BETWEEN(schedule, n), known=1) for n in (128, 256)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.02)


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


# The family

FAMILY = {  # name -> solver, order
    '2M': (dpmpp_2m, 2), '3M': (dpmpp_3m, 3), 'dpm 1': (dpm_solver(1), 1), 'dpm 2': (dpm_solver(2), 2), 'dpm 3': (dpm_solver(3), 3),
    'deis 2': (deis(2), 2), 'deis 3': (deis(3), 3), 'ab 2': (adams_bashforth(2), 2), 'ab 3': (adams_bashforth(3), 3),
    'unipc 1': (unipc(1), 2), 'unipc 2': (unipc(2), 3), 'unipc 3': (unipc(3), 4), 'data 4': (partial(multistep, form=DATA, order=4), 4),
}  # fmt: skip
REST = {'ipndm 1': ipndm(1), 'ipndm 4': ipndm(4), '3M as released': partial(dpmpp_3m, curve=0.5)}
ALL = {name: solver for name, (solver, _) in FAMILY.items()} | REST
WIDE = partial(snr_times, ends=(-6.0, 7.8))


def uneven(schedule, n=9, ends=(-4.0, 4.0)):
    times = snr_times(schedule, n, ends)
    return times - 0.02 * torch.sin(torch.arange(n + 1.0).double() ** 2) * times.diff(prepend=times[:1]).abs()


@pytest.mark.parametrize('name', FAMILY)
def test_orders_from_exact_histories(name):
    "On the mixture, whose third and fourth derivatives do not vanish by accident; the last halvings of the step."
    solver, order = FAMILY[name]
    check_order(solver, order, law=LAW, times=BETWEEN if order > 3 else WIDE, steps=(128, 256) if order == 3 else (64, 128) if order < 3 else (256, 512))


@pytest.mark.parametrize('name, schedule', (('ab 3', LinearBetaSchedule()), ('3M', RectifiedFlowSchedule()), ('unipc 2', ExponentialSchedule(0.01, 10.0))))
def test_order_three_on_even_times_of_other_schedules(name, schedule):
    first, last = schedule.time_at(torch.tensor([-3.0, 5.0]).double())
    errors = [flow_error(ALL[name], LAW, schedule, torch.linspace(first, last, n + 1, dtype=torch.float64), known=3) for n in (128, 256)]
    assert 2.7 < math.log2(errors[0] / errors[1]) < 3.7


@pytest.mark.parametrize('p', (1, 2, 3, 4))
def test_weights_integrate_powers_on_uneven_places(p):
    "Sums of weight times power against numpy's integral of the power; an even grid would hide a wrong bracket."
    places, (start, end) = torch.tensor([-0.9, -0.2, 0.05, 0.3][-p:], dtype=torch.float64), torch.tensor([0.3, 1.1], dtype=torch.float64)
    got = integrals(places, start, end, torch.ones_like)
    for k in range(p):
        power = np.polynomial.Polynomial([0] * k + [1]).integ()
        assert float((got * places**k).sum()) == pytest.approx(power(1.1) - power(0.3), rel=1e-12)
    got = integrals(places, start, end, torch.exp)  # against e^c the integral of 1 and of c
    assert float(got.sum()) == pytest.approx(math.exp(1.1) - math.exp(0.3), rel=1e-12)
    if p > 1:
        assert float((got * places).sum()) == pytest.approx(0.1 * math.exp(1.1) + 0.7 * math.exp(0.3), rel=1e-12)


def published_3m(x, times, denoise, schedule, share):
    "Lu et al. 2022 (DPM-Solver++), third order: phi functions and differences; `share` of the second derivative."
    lam, m = [float(schedule.log_snr(t)) / 2 for t in times], []
    for i, (t, s) in enumerate(zip(times[:-1], times[1:])):
        m.append(denoise(x, t))
        h = lam[i + 1] - lam[i]
        phi1 = math.expm1(-h)
        phi2 = phi1 / h + 1
        phi3 = phi2 / h - 0.5
        x = schedule.sigma(s) / schedule.sigma(t) * x - schedule.alpha(s) * phi1 * m[-1]
        if i == 1:
            x = x + schedule.alpha(s) * phi2 * (m[1] - m[0]) * h / (lam[1] - lam[0])
        if i > 1:
            r0, r1 = (lam[i] - lam[i - 1]) / h, (lam[i - 1] - lam[i - 2]) / h
            d10, d11 = (m[-1] - m[-2]) / r0, (m[-2] - m[-3]) / r1
            d1, d2 = d10 + r0 / (r0 + r1) * (d10 - d11), 2 * (d10 - d11) / (r0 + r1)
            x = x + schedule.alpha(s) * (phi2 * d1 - share * phi3 * d2)
    return x


@pytest.mark.parametrize('share', (1.0, 0.5))
@pytest.mark.parametrize('n', (1, 2, 3, 9))
def test_3m_is_the_published_formula_with_and_without_its_two(n, share):
    times, x, f = uneven(COSINE, n), noise(0, 'x', 0, range(20), (1,)), LAW.denoise(COSINE)
    *_, got = sample(f, COSINE, x, times, dpmpp_3m if share == 1 else partial(dpmpp_3m, curve=share))
    assert_close(got, published_3m(x, times, f, COSINE, share), rtol=1e-11, atol=1e-11)


def test_dpm_solver_two_is_the_published_formula():
    "Lu et al. 2022 (DPM-Solver), multistep, with the weight phi of their appendix: the noise in lambda."
    times, x, f = uneven(COSINE, 4), noise(0, 'x', 0, range(20), (1,)), LAW.denoise(COSINE)
    *_, got = sample(f, COSINE, x, times, dpm_solver(2))
    y, eps, lam = x, [], [float(COSINE.log_snr(t)) / 2 for t in times]
    for i, (t, s) in enumerate(zip(times[:-1], times[1:])):
        eps.append(COSINE.eps(y, f(y, t), t))
        h = lam[i + 1] - lam[i]
        y = COSINE.alpha(s) / COSINE.alpha(t) * y - COSINE.sigma(s) * math.expm1(h) * eps[-1]
        if i:
            y = y - COSINE.sigma(s) * (math.expm1(h) / h - 1) * (eps[-1] - eps[-2]) * h / (lam[i] - lam[i - 1])
    assert_close(got, y, rtol=1e-11, atol=1e-11)


def published_unipc(x, times, denoise, schedule, order):
    "Zhao et al. 2023, algorithms 1 and 2 for estimates of the data: R and b of their equation 10, with B(h) = e^-h - 1."
    lam, m, base = [float(schedule.log_snr(t)) / 2 for t in times], [], None

    def solved(ratios, h):
        k = len(ratios)
        phi, b, R = math.expm1(-h) / -h - 1, [], np.array([[r**i for r in ratios] for i in range(k)])
        for i in range(1, k + 1):
            b.append(phi * math.factorial(i) / math.expm1(-h))
            phi = phi / -h - 1 / math.factorial(i + 1)
        return np.linalg.solve(R, np.array(b)) if k else []

    for i, t in enumerate(times[:-1]):
        m.append(denoise(x, t))
        if i:
            start, ratios, h, s = base
            ratios = [*ratios, 1.0]
            d = [(v - m[i - 1]) / r for v, r in zip([*m[i - len(ratios) : i - 1][::-1], m[i]], ratios)]
            x = start - schedule.alpha(t) * math.expm1(-h) * sum(float(w) * v for w, v in zip(solved(ratios, h), d))
        h, s, k = lam[i + 1] - lam[i], times[i + 1], min(order, i + 1)
        ratios = [(lam[i - j] - lam[i]) / h for j in range(1, k)]
        start = schedule.sigma(s) / schedule.sigma(t) * x - schedule.alpha(s) * math.expm1(-h) * m[i]
        base = start, ratios, h, s
        d = [(m[i - j] - m[i]) / r for j, r in enumerate(ratios, 1)]
        x = start - schedule.alpha(s) * math.expm1(-h) * sum((float(w) * v for w, v in zip(solved(ratios, h), d)), torch.zeros_like(x))
    return x


@pytest.mark.parametrize('order', (1, 2, 3))
def test_unipc_is_the_published_algorithm(order):
    times, x, f = uneven(COSINE), noise(0, 'x', 0, range(20), (1,)), LAW.denoise(COSINE)
    *_, got = sample(f, COSINE, x, times, unipc(order))
    assert_close(got, published_unipc(x, times, f, COSINE, order), rtol=1e-10, atol=1e-10)


def test_adams_and_bashforth_and_ipndm_in_their_constants():
    "On even steps of the clock the weights are 3/2 -1/2, 23 -16 5 over 12, 55 -59 37 -9 over 24; iPNDM's are so on any."
    karras, x = KarrasSchedule(), 3 * noise(0, 'x', 0, range(20), (1,))
    f = LAW.denoise(karras)
    even = torch.linspace(3.0, 0.5, 8, dtype=torch.float64)
    old = torch.tensor([3.0, 2.2, 2.0, 1.3, 1.1, 0.7, 0.3]).double()
    constants = {1: [1], 2: [1.5, -0.5], 3: [23 / 12, -16 / 12, 5 / 12], 4: [55 / 24, -59 / 24, 37 / 24, -9 / 24]}
    for times, solvers in ((even, (deis, ipndm, adams_bashforth)), (old, (ipndm,))):
        for order in (1, 2, 3, 4):
            y, slopes = x, []
            for t, s in zip(times[:-1], times[1:]):
                slopes = [(y - f(y, t)) / t, *slopes][:order]
                y = y + (s - t) * sum(c * v for c, v in zip(constants[len(slopes)], slopes))
            for make in solvers:
                *_, got = sample(f, karras, x, times, make(order))
                assert_close(got, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('name', ALL)
def test_manners_and_the_straight_path(name):
    check_manners(ALL[name])
    check_straight(ALL[name], [RectifiedFlowSchedule(), KarrasSchedule()] if 'ab' in name else [COSINE, TABLE, KarrasSchedule()])


@pytest.mark.parametrize('name', ALL)
def test_walks_of_the_family_are_finite_and_begin_with_order_one(name):
    for schedule in (COSINE, SCHEDULES['zero-terminal'], KarrasSchedule(), RectifiedFlowSchedule()):
        x, f = schedule.sigma(schedule.t_max) * noise(0, 'x', 0, range(20), (1,)), LAW.denoise(schedule)
        for times in (uniform_times(schedule, 7), snr_times(schedule, 7)):
            walked = list(sample(f, schedule, x, times, ALL[name]))
            assert all(torch.isfinite(y).all() for y in walked)
        first = (euler if 'ab' in name else ddim)(schedule, f, x, times[0], times[1])
        assert_close(ALL[name](schedule, f, x, times[0], times[1]), first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('name', [name for name in ALL if 'deis' not in name and 'ipndm' not in name and 'ab' not in name])
def test_a_last_step_to_no_noise_holds_the_estimate(name):
    t, end, x = torch.tensor(0.2).double(), torch.tensor(0.0).double(), noise(0, 'x', 0, range(20), (1,))
    past = [(torch.tensor(u).double(), torch.full_like(x, v)) for u, v in ((0.6, 5.0), (0.5, 100.0))]
    f, mended = LAW.denoise(COSINE), name.startswith('unipc')
    assert_close(ALL[name](COSINE, f, x, t, end, past=() if mended else past), f(x, t), rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', ALL)
def test_examples_of_the_family_have_their_own_times(name):
    x = noise(0, 'x', 0, range(3), (2,))
    f = lambda x, t, cond=None: torch.sin(x) + t.reshape(-1, 1) if t.ndim else torch.sin(x) + t
    w, u, t, s = torch.tensor([[1.0, 0.97, 0.95], [0.95, 0.9, 0.8], [0.9, 0.6, 0.3], [0.5, 0.0, 0.2]], dtype=torch.float64)
    old, older = noise(0, 'old', 0, range(3), (2,)), noise(0, 'older', 0, range(3), (2,))
    together = ALL[name](COSINE, f, x, t, s, past=[(w, older), (u, old)])
    alone = [ALL[name](COSINE, f, x[i : i + 1], t[i], s[i], past=[(w[i], older[i : i + 1]), (u[i], old[i : i + 1])]) for i in range(3)]
    assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


def test_memory_of_the_family_is_short_and_a_tuple_is_only_read():
    x, times, f = noise(0, 'x', 0, range(5), (1,)), uniform_times(COSINE, 8), LAW.denoise(COSINE)
    for solver, most in ((dpmpp_3m, 2), (dpm_solver(1), 0), (deis(4), 3), (unipc(2), 2), (partial(dpmpp_3m, curve=0.5), 2)):
        past = []
        list(walk(f, partial(solver, COSINE, past=past), x, times))
        assert [t for t, _ in past] == list(times[-1 - most : -1]), solver
        known = tuple(past)
        solver(COSINE, f, x, torch.tensor(0.1).double(), torch.tensor(0.05).double(), past=known)
        assert len(known) == most
    with pytest.raises(ValueError, match='order is 0'):
        deis(0)


def test_what_the_forms_share():
    "The noise in lambda, the noise in the ratio and the data agree at order one, with DDIM; in the ratio AB of the flow is DEIS."
    x, (t, s), f = noise(0, 'x', 0, range(20), (1,)), torch.tensor([0.8, 0.6]).double(), LAW.denoise(COSINE)
    for form in (DATA, NOISE, RATIO):
        assert_close(multistep(COSINE, f, x, t, s, form=form, order=1), ddim(COSINE, f, x, t, s), rtol=1e-13, atol=1e-13)
    assert_close(multistep(COSINE, f, x, t, s, form=FLOW, order=1), euler(COSINE, f, x, t, s), rtol=1e-13, atol=1e-13)


def test_sde_is_ancestral_at_order_one_and_of_weak_order_two():
    x, (t, s), f = noise(0, 'x', 0, range(20), (1,)), torch.tensor([0.8, 0.6]).double(), LAW.denoise(COSINE)
    assert_close(dpmpp_sde(COSINE, f, x, t, s, order=1, noise=Noise(3)), ddim(COSINE, f, x, t, s, eta=1.0, noise=Noise(3)), rtol=1e-12, atol=1e-12)
    one_sided = partial(dpmpp_sde, order=1, eta=1e-9)
    assert_close(one_sided(COSINE, f, x, t, s), ddim(COSINE, f, x, t, s), rtol=0, atol=1e-3)
    for eta in (0.5, 1.0):
        check_law(partial(dpmpp_sde, eta=eta), 2, times=WIDE)
        check_spread(partial(dpmpp_sde, eta=eta), [COSINE, RectifiedFlowSchedule(), KarrasSchedule()])
    with pytest.raises(ValueError, match='the error|off by'):
        check_law(partial(dpmpp_sde, order=1), 2, times=WIDE)
    with pytest.raises(ValueError, match='eta is 0'):
        dpmpp_sde(COSINE, f, x, t, s, eta=0.0)


def test_adaptive_steps_are_each_example_own():
    "Alone as in a batch, to the last bit; nearer with a smaller tolerance, for more calls; at both ends of the walk where they are said."
    ratio, f = KarrasSchedule(80.0, 0.002), LAW.denoise(KarrasSchedule(80.0, 0.002))
    x = torch.tensor([[-60.0], [3.0], [110.0]]).double()
    want, off, asked = LAW.flow(ratio, x, 80.0, 0.002), [], []
    for rtol in (0.01, 0.002):
        (y, calls), alone = (adaptive(f, ratio, v, 80.0, 0.002, rtol=rtol, atol=rtol / 5) for v in (x, x[:1]))
        assert torch.equal(y[:1], alone[0]) and calls[0] == alone[1][0]
        off.append((y - want).abs().max())
        asked.append(calls.sum())
    assert off[1] < off[0] / 4 and asked[1] > asked[0] and off[1] < 0.02
    assert calls[1] > calls[0], 'the one that has to decide between bumps takes more steps'
