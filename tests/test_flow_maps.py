"""Flow maps: the model and its second time, and each loss against maps that are known in closed form."""

from functools import partial

import pytest
import torch
from helpers import SCHEDULES
from torch import nn
from torch.testing import assert_close

from diffbook.consistency import Perceptron, exact_map, pointwise_error
from diffbook.core import Cond, Rows, as_time, make_generator, noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.flow_maps import (
    FlowMap,
    example_velocity,
    halving_pairs,
    jump,
    lagrangian_loss,
    meanflow_loss,
    own_velocity,
    shortcut_loss,
    to_data,
    uniform_pairs,
)
from diffbook.predictions import predict_velocity
from diffbook.samplers import sample, uniform_times
from diffbook.schedules import CosineSchedule, RectifiedFlowSchedule
from diffbook.stages import Stage

FLOW, COSINE = RectifiedFlowSchedule(), CosineSchedule()
BELL = GaussianMixture([1.0], [[0.7]], [[[0.36]]])
X0 = BELL.sample(4000, make_generator(0, 'x0'))
SMOOTH = {name: SCHEDULES[name] for name in ('cosine', 'rectified-flow', 'shifted-flow', 'linear-beta')}


def apart(t, s):
    "The same two times for all."
    return lambda schedule, b, generator: (torch.full((b,), t, dtype=torch.float64), torch.full((b,), s, dtype=torch.float64))


class Exact(nn.Module):
    "The average velocity of the Gaussian; `off` spoils it by a known function of both times and the state."

    def __init__(self, schedule, off=0.0):
        super().__init__()
        self.schedule, self.off, self.gain = schedule, off, nn.Parameter(torch.ones(()).double())

    def width(self, t):
        return torch.sqrt(self.schedule.alpha(t) ** 2 * 0.36 + self.schedule.sigma(t) ** 2)

    def forward(self, x, noise_level, cond=None):
        t, s = noise_level[:, None] / 1000, cond.vec
        s = s - torch.where(t == s, 1e-6, 0.0)  # the limit of equal times
        end = 0.7 * self.schedule.alpha(s) + self.width(s) / self.width(t) * (x - 0.7 * self.schedule.alpha(t))
        return self.gain * (x - end) / (t - s) + self.off * torch.sin(x + t) * (1 + s)


def exact(schedule, off=0.0):
    return FlowMap(Exact(schedule, off), schedule)


@pytest.mark.parametrize('name', SMOOTH)
def test_where_no_time_passes_the_map_is_the_identity(name):
    "Whatever the network says."
    schedule = SMOOTH[name]
    model, x, t = FlowMap(Exact(schedule, 50.0), schedule), noise(0, 'x', 0, range(5), (1,)), as_time([0.1, 0.3, 0.5, 0.8, 0.9])
    assert_close(model(x, t, t), x, rtol=0, atol=0)
    assert_close(exact(schedule)(x, t, t / 2), torch.cat([BELL.flow(schedule, x[i : i + 1], t[i], t[i] / 2) for i in range(5)]), rtol=1e-9, atol=1e-9)


def test_the_second_time_is_told_beside_the_condition():
    told = []

    class Listening(nn.Module):
        def forward(self, x, noise_level, cond):
            told.append((noise_level, cond))
            return x

    x, labels = torch.zeros(3, 1), Cond(vec=torch.ones(3, 2), seq=torch.ones(3, 4, 5))
    FlowMap(Listening(), FLOW).velocity(x, as_time(0.5), as_time([0.1, 0.2, 0.3]), labels)
    level, cond = told[-1]
    assert level.tolist() == [500.0] * 3 and cond.seq is labels.seq
    assert_close(cond.vec, torch.tensor([[1, 1, 0.1], [1, 1, 0.2], [1, 1, 0.3]]))
    FlowMap(Listening(), FLOW, waves=8).velocity(x, as_time(0.5), as_time(0.25))
    assert told[-1][1].vec.shape == (3, 8) and told[-1][1].vec.std() > 0.1


@pytest.mark.parametrize('n', (1, 2, 4, 7))
def test_steps_do_not_matter_to_an_exact_map(n):
    x = BELL.at(FLOW, 1.0).sample(50, make_generator(0, 'x'))
    want = BELL.flow(FLOW, x, 1.0, 0.0)
    model = exact(FLOW)
    assert_close([*sample(model, FLOW, x, uniform_times(FLOW, n), jump)][-1], want, rtol=1e-9, atol=1e-9)
    assert_close(to_data(model, FLOW)(x, as_time(1.0)), want, rtol=1e-9, atol=1e-9)
    drawn = Stage(model.double(), FLOW, (1,), solver=jump).draw(20, steps=n)
    assert_close(drawn, Stage(model, FLOW, (1,), solver=jump).draw(20, steps=1), rtol=1e-4, atol=1e-5)


def test_the_exact_map_of_the_mixture_is_a_map():
    law = reference_mixture()
    go, x = exact_map(law, FLOW), noise(0, 'x', 0, range(30), (1,))
    assert_close([*sample(go, FLOW, x, uniform_times(FLOW, 5), jump)][-1], go(x, 1.0, 0.0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('name', SMOOTH)
def test_shortcut_and_lagrangian_losses_of_the_exact_map_are_zero(name):
    schedule = SMOOTH[name]
    model = exact(schedule)
    for t, s in ((0.9, 0.3), (0.6, 0.5), (0.8, 0.1)):
        assert shortcut_loss(model, X0[:200], make_generator(0, 'l'), pairs=apart(t, s)).max() < 1e-18
        assert lagrangian_loss(model, X0[:200], make_generator(0, 'l'), pairs=apart(t, s)).max() < 1e-8
        assert lagrangian_loss(model, X0[:200], make_generator(0, 'l'), pairs=apart(t, s), teacher=BELL.denoise(schedule)).max() < 1e-18


@pytest.mark.parametrize('loss', (shortcut_loss, lagrangian_loss, meanflow_loss))
def test_a_spoilt_map_pays(loss):
    assert (
        loss(exact(FLOW, 0.5), X0[:500], make_generator(0, 'l'), pairs=apart(0.9, 0.3)).mean()
        > loss(exact(FLOW), X0[:500], make_generator(0, 'l'), pairs=apart(0.9, 0.3)).mean() + 1e-3
    )


@pytest.mark.parametrize('name', SMOOTH)
@pytest.mark.parametrize(('t', 's'), [(0.8, 0.3), (0.5, 0.1)])
def test_meanflow_comes_to_its_floor(name, t, s):
    """Of the exact map: the spread of the velocities, times J squared along the example's velocity.

    4000 squares of Gaussians: five standard errors are 11 %, once in 1.7 million."""
    schedule = SMOOTH[name]
    model, floor = exact(schedule), BELL.loss_floor(schedule, t, predict_velocity)
    stretch = (model.net.width(as_time(s)) / model.net.width(as_time(t))).item()
    own = meanflow_loss(model, X0, make_generator(0, 'l'), pairs=apart(t, s)).detach()
    assert own.mean().item() == pytest.approx(floor, rel=0.112)
    other = meanflow_loss(model, X0, make_generator(0, 'l'), pairs=apart(t, s), tangent=example_velocity).detach()
    assert_close(other, own * stretch**2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('tangent', (own_velocity, example_velocity))
def test_meanflow_regresses_on_the_identity(tangent):
    "Against the published form: u is regressed on v - (t - s) du/dt, by finite differences, and no gradient flows into the target."
    model, x0 = exact(FLOW, 0.3), X0[:6]
    drawn = {}

    def watch(*args):
        drawn['x'], drawn['v'] = args[1], args[3]
        return tangent(*args)

    loss = meanflow_loss(model, x0, make_generator(0, 'l'), pairs=apart(0.8, 0.3), tangent=watch)
    x, v, t, s, h = drawn['x'], drawn['v'], *(torch.full((6,), u, dtype=torch.float64) for u in (0.8, 0.3)), 1e-4
    way = tangent(model, x, t, v).detach()
    change = (model.velocity(x + h * way, t + h, s) - model.velocity(x - h * way, t - h, s)).detach() / (2 * h)
    wanted = (model.velocity(x, t, s) - (v - 0.5 * change)).square().mean(1)
    assert_close(loss, wanted, rtol=1e-5, atol=1e-7)
    assert_close(*(torch.autograd.grad(value.sum(), model.net.gain)[0] for value in (loss, wanted)), rtol=1e-5, atol=1e-7)


def test_equal_times_learn_the_velocity_of_the_example():
    "In every loss, the regression of flow matching: the same numbers, and the gradient of u alone."
    model = exact(FLOW, 0.3)
    losses = [f(model, X0[:50], make_generator(0, 'l'), pairs=apart(0.6, 0.6)) for f in (meanflow_loss, shortcut_loss, lagrangian_loss)]
    g = make_generator(0, 'l')
    eps = torch.randn(50, 1, generator=g, dtype=torch.float64)
    u = model.velocity(FLOW.perturb(X0[:50], eps, as_time(0.6)), as_time(0.6), as_time(0.6))
    for loss in losses:
        assert_close(loss, (u - (eps - X0[:50])).square().mean(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('loss', (shortcut_loss, lagrangian_loss))
def test_no_gradient_flows_into_the_goal(loss):
    "Only the long step learns from two short ones, and only the end of a jump from the velocity there."
    model, (t, s) = exact(FLOW, 0.3), (as_time([0.8]).expand(5), as_time([0.4]).expand(5))
    (got,) = torch.autograd.grad(loss(model, X0[:5], make_generator(0, 'l'), pairs=apart(0.8, 0.4)).sum(), model.net.gain)
    eps = torch.randn(5, 1, generator=make_generator(0, 'l'), dtype=torch.float64)
    x = FLOW.perturb(X0[:5], eps, t)
    if loss is shortcut_loss:
        m = (t + s) / 2
        first = model.velocity(x, t, m)
        goal = (first + model.velocity(x + (m - t)[:, None] * first, m, s)) / 2
        miss = model.velocity(x, t, s) - goal.detach()
    else:
        h = 1e-4
        moved = (model(x, t, s + h) - model(x, t, s - h)) / (2 * h)
        goal = model.velocity(model(x, t, s), s, s).detach()
        miss = (moved - goal) / torch.sqrt(1 + goal**2)
    (want,) = torch.autograd.grad(miss.square().mean(1).sum(), model.net.gain)
    assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_the_power_divides_each_error_by_itself():
    model = exact(FLOW, 0.3)
    ask = partial(meanflow_loss, model, X0[:20], pairs=apart(0.8, 0.3))
    plain, divided = ask(make_generator(0, 'l')), ask(make_generator(0, 'l'), power=1.0)
    assert_close(divided, plain / (plain + 0.01), rtol=1e-9, atol=0)
    gradients = [torch.autograd.grad(v[0], model.net.gain, retain_graph=True)[0] for v in (plain, divided)]
    assert_close(gradients[1], gradients[0] / (plain[0].detach() + 0.01), rtol=1e-9, atol=0)


def test_pairs_fall_and_a_share_is_one_time_twice():
    "2000 draws: a share beyond five standard errors comes once in 1.7 million."
    for pairs, share in ((uniform_pairs(0.5), 0.5), (uniform_pairs(0.0), 0.0), (halving_pairs(0.75), 0.75)):
        t, s = pairs(FLOW, 2000, make_generator(0, 'pairs'))
        assert (t >= s).all() and t.max() <= 1 and s.min() >= 0
        assert abs((t == s).double().mean() - share) <= 5 * (share * (1 - share) / 2000) ** 0.5
    t, s = halving_pairs(0.0, 4)(FLOW, 2000, make_generator(0, 'pairs'))
    sizes = (t - s).unique()
    assert sizes.tolist() == [0.125, 0.25, 0.5, 1.0] and ((s / (t - s)) % 1 == 0).all()
    counts = torch.stack([((t - s) == v).double().mean() for v in sizes])
    assert (counts - 0.25).abs().max() < 5 * (0.25 * 0.75 / 2000) ** 0.5


@pytest.mark.parametrize('loss', (shortcut_loss, lagrangian_loss, meanflow_loss))
def test_parts_of_a_batch_draw_as_the_whole(loss):
    model = exact(COSINE, 0.2)
    whole = loss(model, X0[:12], make_generator(1, 'loss'))
    parts = [loss(model, X0[k : k + 4], Rows(make_generator(1, 'loss'), k, 12)) for k in (0, 4, 8)]
    assert_close(torch.cat(parts), whole, rtol=1e-9, atol=1e-9)


def test_a_little_training_moves_towards_the_map():
    from diffbook.training import Trainer

    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)
        model = FlowMap(Perceptron(width=32, cond_dim=1), FLOW)
    draw = lambda net: lambda x: [*sample(net, FLOW, x.float(), uniform_times(FLOW, 1), jump)][-1].double()
    trainer = Trainer(model, lagrangian_loss, lr=5e-3, warmup=10, total=200, ema=0.9)
    before = pointwise_error(draw(model), BELL, FLOW)
    for _ in trainer.fit(BELL.sample(128, make_generator(0, 'data', k)).float() for k in range(200)):
        pass
    assert pointwise_error(draw(trainer.ema.model), BELL, FLOW) < before / 4
