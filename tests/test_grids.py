"""Grids: ends and order on every schedule, closed forms, distributions of SciPy, all paths by brute force, and the searches on known optima."""

import math
from functools import partial
from itertools import combinations

import pytest
import torch
from helpers import SCHEDULES
from torch.testing import assert_close

from diffbook.conform import moments
from diffbook.core import uniform
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.grids import angle_times, beta_quantile, beta_times, cheapest_path, even_errors, shifted_times, step_costs, tune_times
from diffbook.samplers import ddim, karras_times, snr_times, uniform_times
from diffbook.schedules import CosineSchedule, DiscreteSchedule, KarrasSchedule, RectifiedFlowSchedule, ShiftedSchedule, linear_betas

F64 = torch.float64
COSINE, STRAIGHT = CosineSchedule(), RectifiedFlowSchedule()
GRIDS = {
    'angle': angle_times, 'angle, narrow': partial(angle_times, spread=0.2), 'beta': beta_times, 'beta, skew': partial(beta_times, a=0.9, b=2.0),
    'shifted': shifted_times, 'shifted back': partial(shifted_times, shift=0.4), 'karras': partial(karras_times, least=0.02, most=80.0),
    'snr': partial(snr_times, least=0.02, most=80.0),
}  # fmt: skip


@pytest.mark.parametrize('n', (1, 2, 8))
@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('name', SCHEDULES)
def test_every_grid_falls_from_end_to_end(name, grid, n):
    schedule = SCHEDULES[name]
    times = GRIDS[grid](schedule, n)
    assert times.dtype == F64 and times.shape == (n + 1,) and (times.diff() < 0).all()
    assert times[0] == schedule.t_max and times[-1] == schedule.t_min


@pytest.mark.parametrize('spread', (0.3, 1.0, 2.5))
@pytest.mark.parametrize('n', (2, 5))
@pytest.mark.parametrize('name', ('cosine', 'rectified', 'karras'))
def test_even_angles_lose_the_cosine_of_a_step_each_and_nothing_loses_less(name, n, spread):
    schedule = {'cosine': COSINE, 'rectified': STRAIGHT, 'karras': KarrasSchedule(80.0)}[name]
    law = GaussianMixture([1.0], [[0.4]], [[[spread**2]]])

    def left(times):
        start = law.at(schedule, times[0])
        return moments(ddim, law.denoise(schedule), schedule, times, start.means[0], start.covs[0])[1].sqrt().item() / spread

    times, top = angle_times(schedule, n, spread), float(torch.exp(-schedule.log_snr(schedule.t_max) / 2))
    best = left(times)
    assert abs(best - math.cos(math.atan(top / spread) / n) ** n) < 1e-9
    for k in range(1, n):
        for share in (0.2, -0.2):
            other = times.clone()
            other[k] = torch.lerp(times[k], times[k + 1 if share > 0 else k - 1], abs(share))
            assert left(other) < best


def test_for_unit_data_even_angles_are_the_cosine_schedules_even_times():
    assert_close(angle_times(COSINE, 12), uniform_times(COSINE, 12), rtol=0, atol=1e-12)


@pytest.mark.parametrize('shift', (0.5, 1.0, 3.0, 11.5))
def test_a_shift_multiplies_levels_once(shift):
    even = uniform_times(STRAIGHT, 20)[1:-1]
    moved = shifted_times(STRAIGHT, 20, shift)[1:-1]
    assert_close(moved / (1 - moved), shift * even / (1 - even), rtol=1e-12, atol=0)
    narrow, wide = (angle_times(STRAIGHT, 9, s)[1:-1] for s in (1.0, shift))
    assert_close(wide / (1 - wide), shift * narrow / (1 - narrow), rtol=1e-9, atol=0)
    assert_close(ShiftedSchedule(STRAIGHT, shift).sigma(uniform_times(STRAIGHT, 20)[1:-1]), moved, rtol=1e-12, atol=0)  # the schedule's own clock


@pytest.mark.parametrize('a, b', ((0.6, 0.6), (0.5, 2.0), (3.0, 0.7), (1.0, 1.0), (2.0, 5.0)))
def test_quantiles_are_those_of_scipy(a, b):
    stats = pytest.importorskip('scipy').stats
    p = torch.cat([torch.tensor([0.0, 1e-9, 1e-4]), torch.linspace(0.01, 0.99, 23), torch.tensor([0.9999, 1.0])]).double()
    assert_close(torch.from_numpy(stats.beta.cdf(beta_quantile(p, a, b).numpy(), a, b)), p, rtol=1e-10, atol=1e-14)


def test_the_beta_grid_places_times_and_is_even_between_its_ends():
    times = beta_times(COSINE, 10)
    assert_close(times + times.flip(0), torch.ones(11).double(), rtol=0, atol=1e-12)
    skew = beta_times(COSINE, 4, a=1.0, b=2.0)  # the share below u is 1 - (1 - u)**2
    assert_close(1 - (1 - skew) ** 2, torch.linspace(1, 0, 5).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize('order', (1, 2, 3))
def test_equal_errors_whatever_the_fine_grid_was(order):
    "The errors c h**(order + 1) of steps with c = t**-2 want the density t**(-2 / (order + 1)); its integral is known."
    fine = torch.cat([torch.ones(1), 1 - uniform(0, 'fine', 0, range(20000), ()).sort().values * 0.9, torch.full((1,), 0.1, dtype=torch.float64)])
    middle, power = (fine[1:] + fine[:-1]) / 2, 1 - 2 / (order + 1)
    found = even_errors(fine, middle**-2 * (-fine.diff()) ** (order + 1), 6, order)
    clock = found.log() if power == 0 else found**power / power
    assert_close(clock.diff(), (clock[-1] - clock[0]).expand(6) / 6, rtol=1e-3, atol=0)
    assert found[0] == 1 and found[-1] == 0.1


def test_the_cheapest_of_all_paths():
    for seed in range(6):
        m = 5 + seed % 4
        costs = torch.where(torch.ones(m + 1, m + 1).triu(1) > 0, uniform(seed, 'costs', 0, range(m + 1), (m + 1,)), torch.inf)
        for n in range(1, m + 1):
            places = cheapest_path(costs, n)
            price = lambda way: sum(costs[i, j] for i, j in zip(way, way[1:])).item()  # noqa: B023, E731
            assert len(places) == n + 1 and places[0] == 0 and places[-1] == m
            assert price(places) == pytest.approx(min(price((0, *way, m)) for way in combinations(range(1, m), n - 1)), rel=1e-12)


def test_costs_are_distances_of_single_ddim_steps():
    law, schedule = reference_mixture(), COSINE
    times, x = torch.tensor([0.9, 0.6, 0.3, 0.1]).double(), torch.linspace(-2, 2, 7).double()[:, None]
    states = torch.stack([law.flow(schedule, x, times[0], t) for t in times])
    costs = step_costs(law.denoise(schedule), schedule, states, times, spread=1.4)
    assert torch.isinf(costs[torch.ones(4, 4).tril() > 0]).all()
    for i, j in combinations(range(4), 2):
        off = ddim(schedule, law.denoise(schedule), states[i], times[i], times[j]) - states[j]
        size = torch.sqrt((1.4 * schedule.alpha(times[j])) ** 2 + schedule.sigma(times[j]) ** 2) / 1.4
        assert_close(costs[i, j], off.square().mean().sqrt() / size, rtol=1e-12, atol=0)


def test_tuning_finds_the_even_angles():
    "On one Gaussian, where the best grid is known; the ends stay."
    band, spread = KarrasSchedule(40.0, 0.01), 0.5
    law = GaussianMixture([1.0], [[0.0]], [[[spread**2]]])
    start, wanted = torch.sqrt(law.at(band, 40.0).covs[0]), torch.sqrt(law.at(band, 0.01).covs[0])

    def loss(times):
        x = start
        for t, r in zip(times[:-1], times[1:]):
            x = ddim(band, law.denoise(band), x, t, r)
        return (x - wanted).square().sum()

    found = tune_times(loss, snr_times(band, 5), rounds=400)
    assert_close(found[1:-1], angle_times(band, 5, spread)[1:-1], rtol=5e-3, atol=0)
    assert found[0] == 40 and found[-1] == 0.01 and not found.requires_grad


def test_tuning_gives_the_best_that_it_met():
    "A rate so high that it runs away from the start, which is the optimum."
    start = torch.tensor([1.0, 0.5, 0.1]).double()
    found = tune_times(lambda t: (t - start).square().sum(), start, rounds=20, rate=5.0)
    assert_close(found, start, rtol=1e-9, atol=0)


TABLE = DiscreteSchedule(linear_betas())
BAD = {
    'no steps': (lambda: angle_times(COSINE, 0), 'n is 0, expected a positive whole number'),
    'no spread': (lambda: angle_times(COSINE, 4, 0.0), 'spread is 0.0, expected a positive number'),
    'no pole': (lambda: beta_times(COSINE, 4, a=-1.0), 'a is -1.0, expected a positive number'),
    'a shift to nothing': (lambda: shifted_times(COSINE, 4, 0.0), 'shift is 0.0, expected a positive number'),
    'errors for other steps': (lambda: even_errors(torch.linspace(1, 0, 5), torch.ones(5), 2), 'there are 5 errors and 5 times, expected one error a step'),
    'more steps than places': (lambda: cheapest_path(torch.ones(4, 4), 4), 'n is 4, expected at most 3 steps'),
}


@pytest.mark.bad_input
@pytest.mark.parametrize('case', BAD)
def test_bad_arguments(case):
    call, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize('times', (angle_times, beta_times, karras_times, snr_times, uniform_times), ids=lambda f: f.__name__)
def test_a_grid_ends_where_the_schedule_does(times):
    "Exactly, also where single precision cannot write the end: 0.01 rounded to it lies outside of the schedule."
    band = KarrasSchedule(79.9, 0.01)
    found = times(band, 7)
    assert found.dtype == torch.float64 and (found[0], found[-1]) == (79.9, 0.01) and (found.diff() < 0).all()
    band.alpha(found)
