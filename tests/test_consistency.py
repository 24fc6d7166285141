"""Consistency functions: the boundary, the pair of states, who teaches whom, and what a perfect student draws."""

from functools import partial

import pytest
import torch
from helpers import SCHEDULES, inner_times
from torch import nn
from torch.testing import assert_close

from diffbook.consistency import (
    Perceptron,
    anchored,
    boundary_scalings,
    consistency_loss,
    doubling,
    exact_map,
    grid_pairs,
    pointwise_error,
    pseudo_huber,
    quantiles,
    renoise,
    squared,
)
from diffbook.core import Cond, Rows, as_time, make_generator, noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.losses import Denoiser
from diffbook.predictions import predict_v, predict_velocity, predict_x0
from diffbook.samplers import ddim, heun, uniform_times
from diffbook.schedules import CosineSchedule, KarrasSchedule, RectifiedFlowSchedule

LAW, FLOW, COSINE = reference_mixture(), RectifiedFlowSchedule(), CosineSchedule()
BELL = GaussianMixture([1.0], [[0.7]], [[[0.36]]])
ENDLESS = {name: s for name, s in SCHEDULES.items() if s.t_max == 1.0}


class Watched(nn.Module):
    "A denoiser with a schedule that writes down what it is asked; its answer is a known function with one weight."

    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.gain, self.asked = schedule, nn.Parameter(torch.tensor(0.7).double()), []

    def forward(self, x, t, cond=None):
        self.asked.append((x.detach(), t, torch.is_grad_enabled()))
        return x - t[:, None] * torch.sin(self.gain * x + t[:, None])


@pytest.mark.parametrize('t_min', (0.0, 0.002, 0.3))
def test_the_end_of_the_path_is_given_back(t_min):
    "Whatever the network says (diffusers#6833)."
    skip, out = boundary_scalings(t_min, t_min, 0.5)
    assert (skip, out) == (1.0, 0.0)
    schedule = KarrasSchedule(80.0, t_min)
    x = noise(0, 'x', 0, range(5), (3,))
    wild = lambda x, t, cond=None: 1e3 * torch.cos(x)
    if t_min > 0:
        assert_close(anchored(wild, schedule)(x, as_time(t_min)), x, rtol=0, atol=1e-12)


def test_the_output_has_the_variance_of_the_data():
    "For unit variance of what the network predicts (LCM#82: c_out without sigma_data)."
    for s in (0.3, 0.5, 2.0):
        t = torch.logspace(-2, 2, 9).double()
        skip, out = boundary_scalings(t, 0.0, s)
        assert_close(skip**2 * (t**2 + s**2) + out**2, torch.full_like(t, s**2), rtol=1e-12, atol=0)


@pytest.mark.parametrize('name', ENDLESS)
def test_without_noise_at_the_end_the_anchor_is_the_denoiser(name):
    schedule = ENDLESS[name]
    if float(schedule.sigma(schedule.t_min)) == 0:
        x, f = noise(0, 'x', 0, range(4), (1,)), LAW.denoise(schedule)
        for t in inner_times(schedule):
            assert_close(anchored(f, schedule)(x, t), f(x, t) / schedule.alpha(schedule.t_min).item(), rtol=1e-9, atol=1e-12)


def test_a_pair_keeps_its_data_and_its_noise():
    "Training: both states come from one example and one noise; the noisier one learns, at its own time, and the other teaches, at its own."
    model, x0 = Watched(FLOW), LAW.sample(64, make_generator(0, 'x0'))
    times = as_time([0.9, 0.6, 0.2])
    consistency_loss(model, x0, make_generator(0, 'loss'), pairs=grid_pairs(times))
    (y, s, taught), (x, t, learns) = model.asked
    assert not taught and learns
    assert {(a, b) for a, b in zip(t.tolist(), s.tolist())} == {(0.9, 0.6), (0.6, 0.2)}
    eps = [(v - (1 - u)[:, None] * x0) / u[:, None] for v, u in ((x, t), (y, s))]
    assert_close(eps[0], eps[1], rtol=1e-9, atol=1e-9)
    assert abs(eps[0].mean()) < 0.6 and 0.6 < eps[0].std() < 1.5  # five standard errors of 64


def test_the_gradient_reaches_the_noisier_side_alone():
    model, x0 = Watched(COSINE), LAW.sample(32, make_generator(0, 'x0'))
    consistency_loss(model, x0, make_generator(0, 'loss'), pairs=grid_pairs(uniform_times(COSINE, 5))).mean().backward()
    (y, s, _), (x, t, _) = model.asked
    with torch.no_grad():
        goal = model(y, s)
    got, model.gain.grad = model.gain.grad, None
    (model(x, t) - goal).square().mean().backward()
    assert_close(got, model.gain.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('solver', (ddim, heun))
def test_the_teacher_takes_the_step(solver):
    model, x0, teacher = Watched(FLOW), LAW.sample(16, make_generator(0, 'x0')), LAW.denoise(FLOW)
    loss = consistency_loss(model, x0, make_generator(0, 'loss'), pairs=grid_pairs(as_time([0.8, 0.5])), teacher=teacher, solver=solver)
    (y, s, _), (x, t, _) = model.asked
    assert_close(y, solver(FLOW, teacher, x, t, s), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert_close(loss.detach(), (model(x, t) - model(y, s)).square().mean(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('name', ENDLESS)
def test_one_data_point_costs_nothing(name):
    "The Dirac test: with one point the ideal denoiser is consistent on every pair of times."

    class Point(nn.Module):
        def forward(self, x, noise_level, cond=None):
            return torch.full_like(x, 0.3)

    schedule = ENDLESS[name]
    model, x0 = Denoiser(Point(), schedule, predict_x0), torch.full((40, 2), 0.3, dtype=torch.float64)
    pairs = grid_pairs(uniform_times(schedule, 7)[: 8 if float(schedule.sigma(schedule.t_min)) == 0 else 7])
    for options in ({}, {'teacher': model, 'solver': ddim}):
        assert consistency_loss(model, x0, make_generator(0, 'point'), pairs=pairs, **options).max() < 1e-18


def test_parts_of_a_batch_draw_as_the_whole():
    model, x0 = Watched(FLOW), LAW.sample(12, make_generator(0, 'x0'))
    pairs = grid_pairs(uniform_times(FLOW, 4))
    whole = consistency_loss(model, x0, make_generator(1, 'loss'), pairs=pairs)
    parts = [consistency_loss(model, x0[k : k + 4], Rows(make_generator(1, 'loss'), k, 12), pairs=pairs) for k in (0, 4, 8)]
    assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)


def test_weights_and_distances():
    d = torch.tensor([[3.0, 4.0], [0.0, 0.0]]).double()
    assert squared(d).tolist() == [12.5, 0.0]
    assert_close(pseudo_huber(d, 12.0), torch.tensor([1.0, 0.0]).double(), rtol=1e-12, atol=1e-12)
    model, x0 = Watched(FLOW), LAW.sample(8, make_generator(0, 'x0'))
    ask = partial(consistency_loss, model, x0, pairs=grid_pairs(uniform_times(FLOW, 4)))
    assert_close(ask(make_generator(0, 'w'), weight=lambda t, s: 1 / (t - s)), 4 * ask(make_generator(0, 'w')), rtol=1e-9, atol=0)


def test_pairs_visit_every_step_alike():
    "400 draws of 4 steps: a share beyond five standard errors comes once in 400,000 runs (each, so 1 in 100,000)."
    times = uniform_times(FLOW, 4)
    t, s = grid_pairs(times)(FLOW, 400, make_generator(0, 'pairs'))
    assert_close(t - s, torch.full_like(t, 0.25))
    shares = [(t == u).double().mean().item() for u in times[:-1]]
    assert sum(shares) == pytest.approx(1) and all(abs(v - 0.25) < 5 * (0.25 * 0.75 / 400) ** 0.5 for v in shares)


def test_the_number_of_steps_doubles_and_stays():
    seen = [doubling(k, 800) for k in range(800)]
    assert [seen[k] for k in range(0, 800, 100)] == [10, 20, 40, 80, 160, 320, 640, 1280]
    assert all(a == b or b == 2 * a for a, b in zip(seen, seen[1:])) and doubling(10_000, 800) == 1280
    assert doubling(0, 100, 20, 20) == 20
    with pytest.raises(ValueError, match='expected 0 < first <= last'):
        doubling(0, 100, 20, 10)


@pytest.mark.parametrize('schedule', (FLOW, COSINE, KarrasSchedule(20.0, 0.01)), ids=lambda s: type(s).__name__)
def test_fresh_noise_leads_to_the_level(schedule):
    "From the data, or from the first level where that has noise of its own."
    x, s = BELL.at(schedule, schedule.t_min).sample(200_000, make_generator(0, 'data')), as_time(0.4)
    y = renoise(schedule, lambda x, t, cond=None: x, x, as_time(schedule.t_max), s)
    level = BELL.at(schedule, s)
    assert abs(y.mean() - level.means[0, 0]) < 5 * (level.covs[0, 0, 0] / 200_000) ** 0.5
    assert y.var().item() == pytest.approx(level.covs[0, 0, 0].item(), rel=5 * (2 / 200_000) ** 0.5)
    assert_close(renoise(schedule, lambda x, t, cond=None: x, x, s, as_time(schedule.t_min)), x, rtol=0, atol=1e-12)


def test_quantiles_and_the_error_at_each_place():
    x = quantiles(FLOW, 999)
    assert x[499] == pytest.approx(0, abs=1e-12) and (x.diff(dim=0) > 0).all()
    assert x.square().mean().item() == pytest.approx(1, abs=0.01)
    go = exact_map(LAW, FLOW)
    assert pointwise_error(lambda x: go(x, 1.0, 0.0), LAW, FLOW) == 0
    assert pointwise_error(lambda x: go(x, 1.0, 0.0) + 0.3, LAW, FLOW) == pytest.approx(0.3)


def test_a_perceptron_is_a_network():
    torch_state = torch.get_rng_state()
    net = Perceptron(2, 16, cond_dim=3).double()
    x, level, cond = torch.ones(5, 2).double(), torch.full((5,), 300.0), Cond(vec=torch.ones(5, 3))
    assert (net(x, level, cond) == 0).all()
    nn.init.normal_(net.layers[-1].weight)
    told = net(x, level, cond)
    assert not torch.equal(net(x, level + 1, cond), told)
    assert not torch.equal(net(x, level, Cond(vec=torch.zeros(5, 3))), told)
    assert sum(p.numel() for p in Perceptron(cond_dim=1).parameters()) == 3 * 96 + 96 + 2 * (96 * 96 + 96) + 97
    torch.set_rng_state(torch_state)


def test_a_little_training_moves_towards_the_map():
    "From the mean of the data at 1.28 to less than half of that, in 150 updates: the loss goes downhill."
    from diffbook.training import Trainer

    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)
        model = Denoiser(Perceptron(width=32), FLOW, predict_velocity)
    loss = partial(consistency_loss, pairs=grid_pairs(uniform_times(FLOW, 4)), teacher=BELL.denoise(FLOW), solver=heun)
    trainer = Trainer(model, loss, lr=5e-3, warmup=10, total=150, ema=0.9)
    draws = (BELL.sample(128, make_generator(0, 'data', k)).float() for k in range(150))
    before = pointwise_error(lambda x: model(x.float(), as_time(1.0)).double(), BELL, FLOW)
    for _ in trainer.fit(draws):
        pass
    assert pointwise_error(lambda x: trainer.ema.model(x.float(), as_time(1.0)).detach().double(), BELL, FLOW) < before / 3


def test_the_quarter_circle_is_a_denoiser_of_v():
    "sCM's f = cos x - sin F is the denoiser that predicts v."

    class Wave(nn.Module):
        def forward(self, x, noise_level, cond=None):
            return torch.sin(2 * x + noise_level[:, None].double())

    t, x = as_time([0.1, 0.5, 0.9]), noise(0, 'x', 0, range(3), (1,))
    model = Denoiser(Wave(), COSINE, predict_v)
    angle = torch.pi / 2 * t[:, None]
    assert_close(model(x, t), torch.cos(angle) * x - torch.sin(angle) * model.raw(x, t), rtol=1e-12, atol=1e-12)
