"""Stochastic differential equations: the moments that every member of the reverse family keeps, published steps transcribed, weak orders without a draw."""

import math
from functools import partial

import pytest
import torch
from helpers import SCHEDULES, inner_times, refuses
from torch.testing import assert_close

from diffbook.conform import BETWEEN, PLANE, check_schedule, check_solver, moments
from diffbook.core import build, describe, noise, seeded_noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.samplers import ancestral, ddim, equip, euler, sample, uniform_times
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    KarrasSchedule,
    LinearBetaSchedule,
    RectifiedFlowSchedule,
    ShiftedSchedule,
    linear_betas,
)
from diffbook.sde import SubVPSchedule, corrected, ddim_sde, euler_maruyama, midpoint_sde, renew, reverse, reverse_diffusion

F64 = torch.float64
LAW, VP, COSINE = reference_mixture(), LinearBetaSchedule(), CosineSchedule()
BELL = GaussianMixture([1.0], [[0.7]], [[[0.36]]])
STEPS = {'euler_maruyama': euler_maruyama, 'reverse_diffusion': reverse_diffusion, 'ddim_sde': ddim_sde, 'midpoint_sde': midpoint_sde}
MADE = {'sub-vp': SubVPSchedule, 'sub-vp-table': lambda: SubVPSchedule(DiscreteSchedule(linear_betas()))}  # when a test asks
each = pytest.mark.parametrize('name', STEPS)


# Sub-VP


@pytest.mark.parametrize('base', (None, COSINE, DiscreteSchedule(linear_betas()), ShiftedSchedule(VP, 2.0)))
def test_sub_vp_is_a_schedule_on_every_base(base):
    schedule = SubVPSchedule(base)
    check_schedule(schedule)
    t = inner_times(schedule)
    assert_close(schedule.sigma(t), 1 - schedule.alpha(t) ** 2, rtol=1e-9, atol=1e-12)
    assert_close(schedule.alpha(t), (base or VP).alpha(t))


def test_sub_vp_has_the_published_diffusion_and_is_saved():
    "g^2 = beta (1 - exp(-2 int beta)), Song et al. 2021, appendix C."
    schedule, t = SubVPSchedule(LinearBetaSchedule(0.2, 15.0)), torch.linspace(0.01, 1, 50, dtype=F64)
    beta, integral = 0.2 + 14.8 * t, 0.2 * t + 14.8 * t**2 / 2
    assert_close(schedule.diffusion(t) ** 2, beta * (1 - torch.exp(-2 * integral)), rtol=1e-10, atol=0)
    again = build(describe(schedule))
    assert isinstance(again, SubVPSchedule) and torch.equal(again.sigma(t), schedule.sigma(t))


# The reverse family


@pytest.mark.parametrize('level', (0.0, 0.5, 1.0, 2.0))
@pytest.mark.parametrize('name', [*SCHEDULES, *MADE])
def test_every_member_keeps_mean_and_variance(name, level):
    "On Gaussian data the drift is a line, so mean and variance obey two equations; they must move as alpha m and alpha^2 v + sigma^2 do."
    schedule, m, v = MADE[name]() if name in MADE else SCHEDULES[name], 0.7, 0.36
    drift, diffusion = reverse(schedule, level)
    for t in inner_times(schedule):
        alpha, sigma, up, down = schedule.alpha(t), schedule.sigma(t), schedule.alpha_dot(t), schedule.sigma_dot(t)
        mean, var = alpha * m, alpha**2 * v + sigma**2
        x = torch.stack([mean, mean + 1])[:, None]
        at_mean, beside = drift(x, BELL.denoise(schedule)(x, t), t)[:, 0]
        scale = (up.abs() * m + down.abs()).item()
        assert_close(at_mean, up * m, rtol=1e-9, atol=1e-9 * scale)
        rate = 2 * (beside - at_mean) * var - diffusion(t) ** 2  # time falls: noise widens against it
        assert_close(rate, 2 * alpha * up * v + 2 * sigma * down, rtol=1e-8, atol=1e-8 * (scale + diffusion(t).item() ** 2))


def test_without_noise_it_is_the_flow():
    x, x0, t = noise(0, 'x', 0, range(5), (3,)), noise(0, 'x0', 0, range(5), (3,)), torch.tensor(0.4, dtype=F64)
    drift, diffusion = reverse(VP, 0.0)
    assert diffusion(t) == 0
    assert_close(drift(x, x0, t), VP.velocity(x, x0, t))
    assert_close(reverse(VP, 2.0)[1](t), 2 * VP.diffusion(t))


# Steps


def test_euler_maruyama_is_the_published_predictor():
    "Song et al. 2021, in their letters: x + (f - g^2 score) dt + g sqrt(-dt) z."
    t, s = torch.tensor([0.63, 0.6], dtype=F64)
    x = LAW.at(VP, t).sample(9, torch.Generator().manual_seed(0))
    z, beta, dt = seeded_noise(5)(x, s), 0.1 + 19.9 * t, s - t
    want = x + (-beta / 2 * x - beta * LAW.at(VP, t).score(x)) * dt + torch.sqrt(beta) * torch.sqrt(-dt) * z
    assert_close(euler_maruyama(VP, LAW.denoise(VP), x, t, s, noise=seeded_noise(5)), want, rtol=1e-10, atol=1e-10)


def test_reverse_diffusion_is_the_published_step_of_a_table():
    "(2 - sqrt(1 - beta)) x + beta score + sqrt(beta) z (Song et al. 2021, appendix E)."
    betas = linear_betas()
    table, i = DiscreteSchedule(betas), 417
    t, s, beta = torch.tensor(i + 1.0).double(), torch.tensor(float(i)).double(), betas[i]
    x = LAW.at(table, t).sample(9, torch.Generator().manual_seed(0))
    want = (2 - torch.sqrt(1 - beta)) * x + beta * LAW.at(table, t).score(x) + torch.sqrt(beta) * seeded_noise(2)(x, s)
    assert_close(reverse_diffusion(table, LAW.denoise(table), x, t, s, noise=seeded_noise(2)), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('schedule', (VP, COSINE, RectifiedFlowSchedule(), KarrasSchedule()), ids=lambda s: type(s).__name__)
def test_the_ends_of_the_family_are_known(schedule):
    t, s = (schedule.t_min + u * (schedule.t_max - schedule.t_min) for u in torch.tensor([0.6, 0.5], dtype=F64))
    x, denoise = LAW.at(schedule, t).sample(9, torch.Generator().manual_seed(0)), LAW.denoise(schedule)
    assert_close(ddim_sde(schedule, denoise, x, t, s, noise_level=0.0), ddim(schedule, denoise, x, t, s), rtol=1e-10, atol=1e-10)
    assert_close(ddim_sde(schedule, denoise, x, t, s), ancestral(schedule, denoise, x, t, s), rtol=1e-9, atol=1e-9)
    assert_close(euler_maruyama(schedule, denoise, x, t, s, noise_level=0.0), euler(schedule, denoise, x, t, s))
    assert_close(corrected(ddim, 0.0)(schedule, denoise, x, t, s), ddim(schedule, denoise, x, t, s), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('level', (0.3, 1.0, 2.0))
def test_two_steps_with_one_estimate_are_one(level):
    "In distribution: the share that is kept multiplies, and the spread is that of the whole."
    zero, one = torch.zeros(1, 1, dtype=F64), torch.ones(1, 1, dtype=F64)
    t, m, s = torch.tensor([0.8, 0.55, 0.4], dtype=F64)
    part = lambda a, b, eps, z: renew(VP, zero, eps, a, b, level, z).item() / VP.sigma(b).item()
    kept, fresh = (lambda a, b: part(a, b, one, zero)), (lambda a, b: part(a, b, zero, one))
    assert kept(t, m) * kept(m, s) == pytest.approx(kept(t, s), rel=1e-12)
    assert (kept(m, s) * fresh(t, m)) ** 2 + fresh(m, s) ** 2 == pytest.approx(fresh(t, s) ** 2, rel=1e-12)
    assert kept(t, s) == pytest.approx(math.exp(level**2 / 2 * float(VP.log_snr(t) - VP.log_snr(s))), rel=1e-12)


# Weak orders, without a draw


def errors_of(solver, schedule, law, steps, times=BETWEEN):
    found = []
    for n in steps:
        grid = times(schedule, n)
        start, end = law.at(schedule, grid[0]), law.at(schedule, grid[-1])
        mean, cov = moments(solver, law.denoise(schedule), schedule, grid, start.means[0], start.covs[0])
        found.append(float(torch.cat([(mean - end.means[0])[None], cov - end.covs[0]]).norm()))
    return found


ORDERS = {
    'euler_maruyama': (euler_maruyama, 1),
    'euler_maruyama, 0.5': (partial(euler_maruyama, noise_level=0.5), 1),
    'reverse_diffusion': (reverse_diffusion, 1),
    'reverse_diffusion, 0': (partial(reverse_diffusion, noise_level=0.0), 1),
    'ddim_sde, 0.5': (partial(ddim_sde, noise_level=0.5), 1),
    'corrected': (corrected(ddim), 1),
}


@pytest.mark.parametrize('kind', (LinearBetaSchedule, CosineSchedule, SubVPSchedule))
@pytest.mark.parametrize('name', ORDERS)
def test_the_weak_order_is_as_claimed(name, kind):
    (solver, order), schedule = ORDERS[name], kind()
    coarse, fine = errors_of(solver, schedule, BELL, (48, 96))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize('level', (0.5, 1.0))
def test_second_order_on_one_path_of_noise(level):
    coarse, fine = errors_of(partial(midpoint_sde, noise_level=level), COSINE, BELL, (24, 48))
    assert math.log2(coarse / fine) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize('solver', (euler_maruyama, reverse_diffusion), ids=('euler_maruyama', 'reverse_diffusion'))
def test_rules_that_come_near_pass_the_suite(solver):
    check_solver(solver, 1, stochastic=True, exact=False, schedule=VP, times=BETWEEN)


@pytest.mark.parametrize(
    'solver', (ddim_sde, partial(ddim_sde, noise_level=0.4), corrected(ddim), corrected(ancestral, 0.5)), ids=('1', '0.4', 'pc', 'pc-ancestral')
)
def test_rules_that_are_exact_for_one_point_pass_the_suite(solver):
    check_solver(solver, 1, stochastic=True)


def test_midpoint_sde_passes_the_suite_with_order_two():
    check_solver(midpoint_sde, 2, stochastic=True, times=BETWEEN)


# Ends, batches, words


@each
@pytest.mark.parametrize('schedule', (COSINE, RectifiedFlowSchedule(), VP, KarrasSchedule()), ids=lambda s: type(s).__name__)
def test_a_walk_from_pure_noise_to_data_is_finite(name, schedule):
    x = schedule.sigma(schedule.t_max) * noise(0, 'x', 0, range(50), (1,))
    *_, x0 = sample(LAW.denoise(schedule), schedule, x, uniform_times(schedule, 40), STEPS[name])
    assert torch.isfinite(x0).all() and x0.abs().max() < 10 * (1 + float(schedule.sigma(schedule.t_max)))


def test_where_no_signal_is_left_the_walk_begins_with_the_flow():
    flow, t, s = RectifiedFlowSchedule(), *torch.tensor([1.0, 0.9], dtype=F64)
    x, denoise = noise(0, 'x', 0, range(5), (1,)), LAW.denoise(flow)
    assert_close(euler_maruyama(flow, denoise, x, t, s), euler(flow, denoise, x, t, s))


@each
def test_each_example_has_its_own_time(name):
    t, s = torch.tensor([[0.8, 0.5, 0.3, 1.0], [0.6, 0.45, 0.0, 0.7]], dtype=F64)
    x, denoise = noise(0, 'x', 0, range(4), (1,)), LAW.denoise(COSINE)
    for solver in (STEPS[name], corrected(STEPS[name])):
        together = solver(COSINE, denoise, x, t, s, noise=seeded_noise(1))
        for i in range(4):
            alone = solver(COSINE, denoise, x[i : i + 1], t[i], s[i], noise=seeded_noise(1, start=i))
            assert_close(together[i : i + 1], alone, rtol=1e-9, atol=1e-9)


def test_calls_of_the_network():
    seen = []
    denoise = lambda x, t, cond=None: seen.append(float(t)) or LAW.denoise(COSINE)(x, t)
    t, s, end = torch.tensor([0.5, 0.4, 0.0], dtype=F64)
    x = noise(0, 'x', 0, range(4), (1,))
    corrected(ddim)(COSINE, denoise, x, t, s)
    assert seen == [0.5, 0.4]
    seen.clear()
    corrected(ddim)(COSINE, denoise, x, t, end)
    midpoint_sde(COSINE, denoise, x, t, end)
    assert seen == [0.5, 0.5]
    seen.clear()
    midpoint_sde(COSINE, denoise, x, t, s)
    assert seen[0] == 0.5 and COSINE.log_snr(seen[1]) == pytest.approx(float(COSINE.log_snr(t) + COSINE.log_snr(s)) / 2, rel=1e-9)


def test_predictor_and_corrector_draw_from_streams_of_their_own():
    t, s, drawn = *torch.tensor([0.5, 0.4], dtype=F64), []

    class Listens(type(seeded_noise(0))):
        def __call__(self, x, t):
            drawn.append((self.purpose, float(t)))
            return super().__call__(x, t)

    x = noise(0, 'x', 0, range(4), (1,))
    equip(corrected(ancestral), noise=Listens(0))(COSINE, LAW.denoise(COSINE), x, t, s)
    assert drawn == [('sample', 0.4), ('sample/corrected', 0.4)]


X, ONE = torch.ones(2, 1, dtype=F64), torch.tensor(0.5, dtype=F64)
test_what_is_wrong_is_said = refuses({
    **{name: (partial(f, VP, PLANE.denoise(VP), torch.ones(2, 2).double(), ONE, ONE / 2, noise_level=-1.0), 'noise_level is -1') for name, f in STEPS.items()},
    'corrected': (lambda: corrected(ddim, -1.0), 'noise_level is -1'),
    'a base that explodes': (lambda: SubVPSchedule(KarrasSchedule()), 'base does not preserve variance'),
    'a base on a straight line': (lambda: SubVPSchedule(RectifiedFlowSchedule()), 'base does not preserve variance'),
})  # fmt: skip
