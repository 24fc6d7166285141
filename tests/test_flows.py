"""Flow matching: couplings against brute force and by their law, one curve for draw, weight and target, and the loss of coupled pairs."""

import math
from itertools import permutations

import pytest
import torch
from helpers import PREDICTIONS, SCHEDULES, inner_times, refuses
from torch.testing import assert_close

from diffbook.conform import check_denoiser
from diffbook.core import Cond, generator, noise
from diffbook.exact import reference_mixture
from diffbook.flows import Mlp, couple, coupled_loss, emphasis, logit_normal_density, uniform_density
from diffbook.losses import Denoiser, diffusion_loss, logit_normal_draw, plain_weight, uniform_draw
from diffbook.predictions import predict_eps, predict_v, predict_velocity
from diffbook.samplers import ddim, euler, sample, uniform_times
from diffbook.schedules import CosineSchedule, DiscreteSchedule, LinearBetaSchedule, RectifiedFlowSchedule, ShiftedSchedule

LINE, LAW = RectifiedFlowSchedule(), reference_mixture()
SMOOTH = {name: schedule for name, schedule in SCHEDULES.items() if not isinstance(getattr(schedule, 'base', schedule), DiscreteSchedule)}


def pairs(b, shape, seed=0):
    return noise(seed, 'data', 0, range(b), shape), noise(seed, 'noise', 0, range(b), shape)


@pytest.mark.parametrize('shape', [(1,), (3,), (2, 2, 2)], ids=str)
@pytest.mark.parametrize('b', [1, 2, 6])
def test_the_pairs_of_a_batch_are_the_best_of_all(b, shape):
    x0, eps = pairs(b, shape)
    data, partners = couple(x0, eps)
    assert torch.equal(data, x0), 'data keep their places, and with them their labels'
    price = lambda order: (x0 - eps[list(order)]).square().sum().item()
    assert_close((data - partners).square().sum().item(), min(price(order) for order in permutations(range(b))))
    assert sorted(map(str, partners.tolist())) == sorted(map(str, eps.tolist())), 'every noise once'


def test_within_a_class_each_class_keeps_its_own_noises():
    "Whatever the batch looks like; so noise and class stay independent."
    x0, eps = pairs(60, (2,))
    labels = torch.arange(60) % 3
    x0 = x0 + 4 * labels[:, None]
    data, partners = couple(x0, eps, labels)
    for kind in range(3):
        mine = labels == kind
        assert torch.equal(partners[mine].sort(0).values, eps[mine].sort(0).values)
        assert torch.equal(couple(x0[mine], eps[mine])[1], partners[mine])
    assert torch.equal(data, x0)


@pytest.mark.parametrize(('labelled', 'mean'), [(False, 1 / (2 * math.sqrt(math.pi))), (True, 0.0)])
def test_noise_given_the_class_at_a_batch_of_two(labelled, mean):
    "Two far classes in pairs: without labels a class draws the noise of its side. Five standard errors: once in 1.7 million."
    x0, eps = pairs(8000, (1,), seed=3)
    labels = (noise(4, 'side', 0, range(8000)) > 0).long()
    x0 = 0.1 * x0 + 2 * labels[:, None]
    parts = [couple(x0[i : i + 2], eps[i : i + 2], labels[i : i + 2] if labelled else None)[1] for i in range(0, 8000, 2)]
    got = torch.cat(parts)[labels == 1]
    assert abs(got.mean() - mean) < 5 * got.std() / len(got) ** 0.5


def test_a_coupling_in_single_precision_is_that_in_double_and_keeps_the_dtype():
    x0, eps = pairs(40, (3,))
    assert torch.equal(couple(x0.float(), eps.float())[1], couple(x0, eps)[1].float())


@pytest.mark.parametrize('name', SMOOTH)
@pytest.mark.parametrize('prediction', PREDICTIONS)
def test_one_curve_gives_the_mean_loss(name, prediction):
    "Draw, target and clock on one side, the curve and the error of x0 on the other: of a denoiser that errs by 1 / (1 + snr)."
    schedule, predict = SMOOTH[name], PREDICTIONS[prediction]
    t = inner_times(schedule, 4001, margin=0.2)
    lam, wrong = schedule.log_snr(t), lambda t: 1 / (1 + torch.exp(schedule.log_snr(t)))
    want = torch.trapezoid(uniform_density(schedule, t) * plain_weight(predict)(schedule, t) * wrong(t), t)
    got = -torch.trapezoid(emphasis(schedule, lam, predict) * wrong(t), lam)
    assert_close(got, want, rtol=1e-5, atol=0)


@pytest.mark.parametrize('name', ['rectified-flow', 'cosine', 'linear-beta', 'karras'])
def test_the_curve_does_not_know_the_units_of_time(name):
    "Two clocks of one path: the emphasis of eps under matching draws is the same."
    base, shifted = SMOOTH[name], ShiftedSchedule(SMOOTH[name], 3.0)
    lam = base.log_snr(inner_times(base, 9, margin=0.2))
    speed = lambda schedule, t: base_density_of_shifted(base, shifted, t)
    assert_close(emphasis(base, lam, predict_eps, speed), emphasis(shifted, lam, predict_eps), rtol=1e-9, atol=0)


def base_density_of_shifted(base, shifted, t):
    "Of the base's time when the shifted clock is drawn evenly: 1 over its speed there."
    u = shifted.time_at(base.log_snr(t))
    return uniform_density(shifted, u) / shifted.clock(u)[1]


def test_plain_flow_matching_is_plain_v_on_the_cosine():
    lam = torch.linspace(-9, 9, 19, dtype=torch.float64)
    assert_close(emphasis(LINE, lam) / emphasis(CosineSchedule(), lam, predict_v), torch.full((19,), math.pi / 2, dtype=torch.float64))


@pytest.mark.parametrize(('mean', 'std'), [(0.0, 1.0), (-0.4, 0.7)])
@pytest.mark.parametrize('name', ['rectified-flow', 'karras'])
def test_the_density_of_logit_normal_times_is_that_of_the_draw(name, mean, std):
    "Shares of ten slices within five standard errors, each once in 1.7 million."
    schedule, n = SMOOTH[name], 40_000
    drawn = logit_normal_draw(schedule, n, generator(0, 'draw'), mean=mean, std=std)
    edges = torch.linspace(schedule.t_min, schedule.t_max, 11, dtype=torch.float64)
    for low, high in zip(edges, edges[1:]):
        t = torch.linspace(low, high, 2001, dtype=torch.float64).clamp(schedule.t_min + 1e-12, schedule.t_max * (1 - 1e-12))
        share = torch.trapezoid(logit_normal_density(schedule, t, mean=mean, std=std), t)
        assert abs(((low < drawn) & (drawn <= high)).double().mean() - share) < 5 * (share * (1 - share) / n) ** 0.5 + 1e-4


def test_the_loss_of_coupled_pairs():
    "By hand, from the same generator; labels reach the coupling."
    torch.manual_seed(0)
    model = Denoiser(Mlp(2, width=8), LINE, predict_velocity)
    x0, labels = noise(0, 'x0', 0, range(16), (2,)).float(), torch.arange(16) % 2
    for batch, kinds in ((x0, None), ((x0, labels), labels)):
        got, g = coupled_loss(model, batch, generator(5, 'loss')), generator(5, 'loss')
        t = uniform_draw(LINE, 16, g)
        eps = couple(x0, torch.randn(16, 2, generator=g), kinds)[1]
        assert torch.equal(got, diffusion_loss(model, x0, t, eps)) and got.shape == (16,)


def test_the_small_network_is_a_denoiser_and_hears_time_and_condition():
    torch.manual_seed(0)
    net = Mlp(3, width=16, vec=2)
    x, cond = noise(0, 'x', 0, range(5), (3,)).float(), Cond(vec=torch.ones(5, 2))
    check_denoiser(Denoiser(net, LINE, predict_velocity), LINE, x, cond)
    y = net(x, torch.full((5,), 300.0), cond)
    assert (
        y.shape == x.shape
        and not torch.equal(y, net(x, torch.full((5,), 700.0), cond))
        and not torch.equal(y, net(x, torch.full((5,), 300.0), Cond(vec=torch.zeros(5, 2))))
    )


@pytest.mark.parametrize('schedule', [CosineSchedule(), LinearBetaSchedule()], ids=lambda s: type(s).__name__)
def test_euler_on_the_line_is_ddim_at_equal_ratios(schedule):
    grid = schedule.time_at(torch.linspace(-5, 6, 10, dtype=torch.float64))
    total = schedule.alpha(grid) + schedule.sigma(grid)
    x = LAW.at(schedule, grid[0]).sample(50, generator(0, 'x'))
    *_, a = sample(LAW.denoise(schedule), schedule, x, grid, ddim)
    *_, b = sample(LAW.denoise(LINE), LINE, x / total[0], schedule.sigma(grid) / total, euler)
    assert_close(b, a / total[-1], rtol=1e-12, atol=1e-12)


def test_even_times_of_the_line_are_all_that_a_flow_sampler_needs():
    "Order one towards the exact flow, from pure noise to the data: nothing is special at the ends."
    x = noise(0, 'x', 0, range(50), (1,))
    off = []
    for n in (64, 128, 256):
        *_, y = sample(LAW.denoise(LINE), LINE, x, uniform_times(LINE, n), euler)
        off.append((y - LAW.flow(LINE, x, 1.0, 0.0)).square().mean().sqrt())
    assert all(0.85 < math.log2(a / b) < 1.15 for a, b in zip(off, off[1:]))


test_refused = refuses({
    'another number of noises': (lambda: couple(torch.zeros(3, 2), torch.zeros(4, 2)), 'x0 has shape (3, 2) and eps (4, 2), expected the same'),
    'labels of another batch': (lambda: couple(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(2)), 'labels has shape (2,), expected (3,)'),
})  # fmt: skip
