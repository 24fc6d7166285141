"""The family: causal convolutions see nothing that comes later, flows know their determinants, GAN losses are those of the game."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diffbook.core import generator, noise
from diffbook.exact import reference_mixture
from diffbook.family import (
    AffineCoupling,
    CausalConv,
    Flow,
    PixelCNN,
    chain_log_prob,
    discriminator_loss,
    draw_pixels,
    generator_loss,
    importance_bound,
    optimal_discriminator,
    saturating_loss,
)


def pixels(seed=0, levels=5, depth=3, width=6):
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return PixelCNN(levels, width, depth).double()


@pytest.mark.parametrize('own', [True, False])
@pytest.mark.parametrize('size', [3, 5])
def test_a_causal_convolution_is_a_masked_one(own, size):
    "The published form: a square kernel whose weights are zero at the centre (type A) and behind it."
    layer, x = CausalConv(2, 3, size, own).double(), noise(0, 'x', 0, range(2), (2, 7, 6))
    square = torch.zeros(3, 2, size, size).double()
    square[:, :, : size // 2 + 1] = layer.weight
    flat = square.flatten(2)
    flat[:, :, size * size // 2 + own :] = 0
    torch.testing.assert_close(layer(x), F.conv2d(x, square, layer.bias, padding=size // 2))


@pytest.mark.parametrize('place', [(0, 0), (2, 3), (5, 5)])
def test_a_pixel_is_predicted_from_those_before_it_alone(place):
    "Each answer moves with some pixel before it, and with none at or behind its place."
    net, x = pixels(), torch.randint(5, (1, 1, 6, 6), generator=generator(0, 'x')).double().requires_grad_()
    (seen,) = torch.autograd.grad(net(x)[0, :, place[0], place[1]].square().sum(), x)
    before = torch.arange(36) < place[0] * 6 + place[1]
    assert (seen.flatten()[~before] == 0).all() and (not before.any() or seen.flatten()[before].abs().max() > 0)


def test_chances_of_all_pictures_add_up_to_one():
    "Two levels at 2 x 3 places: 64 pictures. A network that saw its own pixel would give more."
    every = torch.tensor([[k >> j & 1 for j in range(6)] for k in range(64)]).reshape(64, 1, 2, 3)
    net = pixels(levels=2)
    with torch.no_grad():
        log_p = chain_log_prob(net(every), every[:, 0])
    assert log_p.shape == (64,) and log_p.exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_pictures_are_drawn_as_often_as_the_network_says():
    "20,000 drawn; chi square with 15 degrees of freedom stays below 44.3, but for once in 10,000 seeds; the seed is fixed."
    every = torch.tensor([[k >> j & 1 for j in range(4)] for k in range(16)]).reshape(16, 1, 2, 2)
    net = pixels(levels=2)
    with torch.no_grad():
        want = chain_log_prob(net(every), every[:, 0]).exp() * 20_000
    drawn = draw_pixels(net, 20_000, 2, generator(0, 'draws')).flatten(1).long()
    got = torch.bincount(drawn @ torch.tensor([1, 2, 4, 8]), minlength=16)
    assert ((got - want).square() / want).sum() < 44.3


def flow(seed=0):
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        nets = [nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 6)) for _ in range(3)]
    keep = ([1, 0, 0], [0, 1, 1], [0, 1, 0])
    return Flow(*[AffineCoupling(net, torch.tensor(k)) for net, k in zip(nets, keep)]).double()


def test_the_determinant_of_a_flow_is_that_of_its_jacobian():
    f, x = flow(), noise(0, 'x', 0, range(4), (3,))
    whole = torch.stack([torch.autograd.functional.jacobian(lambda v: f(v[None])[0][0], row) for row in x])
    torch.testing.assert_close(f(x)[1], torch.linalg.slogdet(whole).logabsdet)


def test_a_flow_is_undone():
    f, x = flow(), noise(0, 'x', 0, range(4), (3,))
    torch.testing.assert_close(f.inverse(f(x)[0]), x)
    torch.testing.assert_close(f(f.inverse(x))[0], x)


def test_the_density_of_a_flow_has_the_volume_one():
    "Integrated over the plane by the rule of the middle."
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(1)
        nets = [nn.Linear(2, 4) for _ in range(2)]
    f = Flow(*[AffineCoupling(net, torch.tensor(k)) for net, k in zip(nets, ([1, 0], [0, 1]))]).double()
    side = torch.arange(-15, 15, 0.05).double() + 0.025
    with torch.no_grad():
        total = f.log_prob(torch.cartesian_prod(side, side)).exp().sum() * 0.05**2
    assert total.item() == pytest.approx(1, abs=2e-3)


def test_a_coupling_of_pictures_keeps_what_it_should():
    keep = (torch.arange(4)[:, None] + torch.arange(4)) % 2
    layer, x = AffineCoupling(nn.Conv2d(1, 2, 3, padding=1), keep[None]), torch.randn(2, 1, 4, 4, generator=generator(0, 'x'))
    z, log_det = layer(x)
    assert log_det.shape == (2,) and (z[..., keep == 1] == x[..., keep == 1]).all() and (z[..., keep == 0] != x[..., keep == 0]).all()
    torch.testing.assert_close(layer.inverse(z), x)


LAW = reference_mixture()
WIDE = lambda x: -((x[:, 0] / 2) ** 2) / 2 - math.log(2 * math.sqrt(2 * math.pi))
LOGIT = lambda x: LAW.log_prob(x) - WIDE(x)


def test_the_discriminators_loss_is_minus_the_game():
    real, fake = LAW.sample(7), noise(0, 'fake', 0, range(7), (1,))
    p, q, p2, q2 = LAW.log_prob(real).exp(), WIDE(real).exp(), LAW.log_prob(fake).exp(), WIDE(fake).exp()
    want = torch.log(p / (p + q)) + torch.log(q2 / (p2 + q2))
    torch.testing.assert_close(discriminator_loss(LOGIT, real, fake), -want)
    torch.testing.assert_close(optimal_discriminator(LAW.log_prob(real), WIDE(real)), p / (p + q))
    torch.testing.assert_close(generator_loss(LOGIT, fake), -torch.log(p2 / (p2 + q2)))
    torch.testing.assert_close(saturating_loss(LOGIT, fake), torch.log(q2 / (p2 + q2)))


def test_a_step_of_the_discriminator_sends_nothing_to_the_generator():
    fake = noise(0, 'fake', 0, range(7), (1,)).requires_grad_()
    judge = nn.Linear(1, 1).double()
    discriminator_loss(judge, LAW.sample(7), fake).mean().backward()
    assert fake.grad is None and judge.weight.grad is not None


def test_a_step_of_the_generator_moves_samples_towards_what_is_called_real():
    for loss in (generator_loss, saturating_loss):
        fake = noise(0, 'fake', 0, range(7), (1,)).requires_grad_()
        loss(lambda x: 3 * x[:, 0], fake).sum().backward()
        assert (fake.grad < 0).all()  # against the gradient, up


def test_the_mean_of_weights_is_taken_before_the_logarithm():
    log_weights = noise(0, 'weights', 0, range(9), (5,))
    torch.testing.assert_close(importance_bound(log_weights), log_weights.exp().mean(0).log())
    assert torch.allclose(importance_bound(log_weights[:1]), log_weights[0])
