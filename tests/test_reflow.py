"""Rectified flow: straightness against closed forms, pairs of a teacher, and the loss on pairs."""

import math

import pytest
import torch
from helpers import SCHEDULES, refuses
from torch.testing import assert_close

from diffbook.conform import PLANE
from diffbook.core import Cond, generator, noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.flows import Mlp
from diffbook.losses import Denoiser, diffusion_loss, logit_normal_draw, uniform_draw
from diffbook.predictions import predict_velocity
from diffbook.reflow import reflow_loss, reflow_pairs, straightness
from diffbook.samplers import ddim, euler, heun, sample, uniform_times
from diffbook.schedules import RectifiedFlowSchedule

LINE, LAW = RectifiedFlowSchedule(), reference_mixture()


def bell(s, mean=0.0):
    return GaussianMixture([1.0], [[mean]], [[[s**2]]])


def walked(law, eps, n):
    times = torch.linspace(1, 0, n + 1, dtype=torch.float64)
    return times, torch.stack([law.flow(LINE, eps, 1.0, t) for t in times])


@pytest.mark.parametrize('mean', [0.0, 3.0], ids=['centred', 'moved'])
@pytest.mark.parametrize('s', [0.25, 1.0, 2.0])
def test_straightness_of_a_gaussian_is_s_times_two_minus_half_pi(s, mean):
    "For a noise of one; a mean only adds a constant velocity. Order two in the steps, extrapolated twice."
    a, b, c = (straightness(*walked(bell(s, mean), torch.ones(1, 1).double(), n)).item() for n in (50, 100, 200))
    once = [b + (b - a) / 3, c + (c - b) / 3]
    assert_close(once[1] + (once[1] - once[0]) / 15, s * (2 - math.pi / 2), rtol=1e-9, atol=0)
    assert abs(math.log2((b - a) / (c - b)) - 2) < 0.05


def test_straightness_is_a_mean_over_dimensions_one_for_each_path():
    times, states = walked(PLANE, noise(0, 'eps', 0, range(5), (2,)), 40)
    each = torch.stack([straightness(times, states[..., i : i + 1]) for i in range(2)]).mean(0)
    assert straightness(times, states).shape == (5,)
    assert_close(straightness(times, states), each)
    assert_close(straightness(times, states.reshape(41, 5, 1, 2)), each)
    assert_close(straightness(times.flip(0), states.flip(0)), each, msg='walked from either end')
    assert_close(straightness(3 * times, states), each / 9, msg='a velocity is by time')


@pytest.mark.parametrize('steps', [1, 2, 9])
def test_a_straight_path_has_none_on_any_grid_and_a_stop_on_the_way_has_some(steps):
    eps, x0 = noise(0, 'a', 0, range(4), (3,)), noise(0, 'b', 0, range(4), (3,))
    times = torch.cat([torch.ones(1), torch.rand(steps - 1, generator=generator(0, 'grid')).sort(descending=True).values, torch.zeros(1)]).double()
    states = torch.stack([LINE.perturb(x0, eps, t) for t in times])
    assert straightness(times, states).abs().max() < 1e-20
    late = torch.stack([LINE.perturb(x0, eps, t**2) for t in times])  # straight, at uneven speed
    assert steps == 1 or straightness(times, late).min() > 1e-3
    if steps > 1:
        cut = torch.tensor([1.0, 0.5, 0.0]).double()
        stop = torch.stack([eps, eps, x0])  # waits, then runs: velocity 0 and 2 (eps - x0) for half of the time each
        assert_close(straightness(cut, stop), (eps - x0).square().mean(1))
        cut[1] = 0.8  # waits for a fifth of the time: 1/5 of 1 squared and 4/5 of 1/4 squared
        assert_close(straightness(cut, stop), (eps - x0).square().mean(1) / 4)


def test_straightness_is_the_energy_less_the_squared_chord():
    "By another route, for the mixture: the mean of u squared along exact paths."
    eps = torch.special.ndtri((torch.arange(20, dtype=torch.float64) + 0.5) / 20)[:, None]
    (times, states), middles = walked(LAW, eps, 120), (torch.arange(120, dtype=torch.float64) + 0.5) / 120
    energy = torch.stack([LINE.velocity(x := LAW.flow(LINE, eps, 1.0, t), LAW.denoise(LINE)(x, t), t).square() for t in middles]).mean(0)[:, 0]
    assert_close(straightness(times, states), energy - (states[-1] - eps).square()[:, 0], rtol=5e-3, atol=2e-3)


@pytest.mark.parametrize('name', ['rectified-flow', 'cosine', 'karras', 'ddpm'])
@pytest.mark.parametrize('solver', [euler, heun, ddim])
def test_pairs_are_the_ends_of_the_walk_and_the_noise_that_came(name, solver):
    schedule = SCHEDULES[name]
    eps, times = noise(0, 'eps', 0, range(6), (1,)), uniform_times(schedule, 5)
    x0, kept = reflow_pairs(LAW.denoise(schedule), schedule, eps, times, solver)
    *_, want = sample(LAW.denoise(schedule), schedule, schedule.sigma(times[0]) * eps, times, solver)
    assert torch.equal(x0, want) and torch.equal(kept, eps)


def test_pairs_of_many_steps_are_those_of_the_exact_flow():
    eps = noise(0, 'eps', 0, range(50), (1,))
    off = [(reflow_pairs(LAW.denoise(LINE), LINE, eps, uniform_times(LINE, n))[0] - LAW.flow(LINE, eps, 1.0, 0.0)).abs().max() for n in (50, 100)]
    assert off[1] < 2e-3 and off[1] < off[0] / 2


def test_a_condition_reaches_the_teacher():
    seen = []
    teacher = lambda x, t, cond: seen.append(cond) or x
    reflow_pairs(teacher, LINE, torch.zeros(3, 1), uniform_times(LINE, 2), euler, cond := Cond(vec=torch.ones(3, 1)))
    assert seen == [cond, cond]


@pytest.mark.parametrize('draw', [uniform_draw, logit_normal_draw])
def test_the_loss_is_that_of_its_own_pairs(draw):
    "No fresh noise: the generator gives the times alone."
    torch.manual_seed(0)
    model = Denoiser(Mlp(2, width=8), LINE, predict_velocity)
    x0, eps = (noise(0, word, 0, range(16), (2,)).float() for word in 'ab')
    got = reflow_loss(model, (x0, eps), generator(5, 'loss'), draw=draw)
    assert torch.equal(got, diffusion_loss(model, x0, draw(LINE, 16, generator(5, 'loss')), eps)) and got.shape == (16,)


def test_the_ideal_student_of_one_round_is_done_in_one_step():
    "On a line: the end of the one line through a place is a denoiser, and Euler's method from noise arrives at once, in any number of steps."
    e = torch.linspace(-3, 3, 4001, dtype=torch.float64)
    ends = LAW.flow(LINE, e[:, None], 1.0, 0.0)[:, 0]

    def student(x, t, cond=None):
        places = (1 - t) * ends + t * e
        assert (places.diff() > 0).all(), 'lines cross'
        i = torch.searchsorted(places, x[:, 0].contiguous()).clamp(1, len(e) - 1)
        share = (x[:, 0] - places[i - 1]) / (places[i] - places[i - 1])
        return torch.lerp(ends[i - 1], ends[i], share)[:, None]

    eps = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    for n in (1, 2, 7):
        x0 = reflow_pairs(student, LINE, eps, uniform_times(LINE, n), euler)[0]
        assert_close(x0, LAW.flow(LINE, eps, 1.0, 0.0), rtol=0, atol=1e-4)


test_refused = refuses({
    'states that are not at the times': (lambda: straightness(torch.ones(3), torch.zeros(4, 1, 1)), 'times has shape (3,) and states (4, 1, 1), expected as many'),
    'one state': (lambda: straightness(torch.ones(1), torch.zeros(1, 1, 1)), 'expected as many states as times'),
})  # fmt: skip
