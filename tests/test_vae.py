"""The KL autoencoder: closed forms of its divergence and draws, and its losses."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffbook.core import build, describe
from diffbook.gaussian import kl_gaussian
from diffbook.nets.vae import (
    AutoencoderKL,
    Codec,
    PatchJudge,
    draw_latents,
    fool_loss,
    judge_loss,
    kl_to_normal,
    measure_scale,
    perceptual_loss,
    pool_moments,
    vae_loss,
)

DOUBLE = torch.float64


def net(channels=(8, 16), seed=0, **more):
    "A small autoencoder with no zero among its weights, in float64."
    torch.manual_seed(seed)
    vae = AutoencoderKL(3, 3, channels, **{'blocks': 1, 'groups': 4, **more}).double().eval()
    for p in vae.parameters():
        nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5)
    return vae


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


# The law of the latents


def test_kl_is_that_of_gaussians():
    mean, log_var = randn(5, 4, 3, 2), randn(5, 4, 3, 2, seed=1)
    want = kl_gaussian(mean, log_var.exp(), 0.0, 1.0).flatten(1).sum(1)
    torch.testing.assert_close(kl_to_normal(mean, log_var), want, rtol=1e-12, atol=0)


def test_kl_keeps_its_digits_near_zero():
    "At mean 0 and a log-variance v the divergence is v^2 / 4 to first order; exp(v) - 1 - v would give rounding."
    v = torch.tensor([[1e-6]], dtype=DOUBLE)
    torch.testing.assert_close(kl_to_normal(torch.zeros_like(v), v), v[:, 0] ** 2 / 4, rtol=1e-4, atol=0)


def test_kl_of_half_precision_does_not_overflow():
    mean = torch.full((1, 4, 64, 64), 3.0, dtype=torch.float16)
    assert kl_to_normal(mean, torch.zeros_like(mean)).item() == 4 * 64 * 64 * 4.5


def test_draws_have_the_moments_they_should():
    "200,000 draws: mean, variance and kurtosis within six standard errors (false alarm 6e-9 with this fixed seed)."
    n, mean, log_var = 200_000, 0.7, -1.3
    z = draw_latents(torch.full((n,), mean, dtype=DOUBLE), torch.full((n,), log_var, dtype=DOUBLE), torch.Generator().manual_seed(0))
    u = (z - mean) / math.exp(log_var / 2)
    for power, want, error in ((1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)):
        assert abs((u**power).mean().item() - want) < 6 * error / n**0.5


def test_draws_pass_gradients():
    "d z / d mean = 1 and d z / d log_var = (z - mean) / 2."
    mean, log_var = randn(6).requires_grad_(), randn(6, seed=1).requires_grad_()
    z = draw_latents(mean, log_var, torch.Generator().manual_seed(3))
    a, b = torch.autograd.grad(z.sum(), (mean, log_var))
    torch.testing.assert_close(a, torch.ones(6, dtype=DOUBLE))
    torch.testing.assert_close(b, (z - mean).detach() / 2)


# The codec


def test_it_is_a_codec():
    vae = net()
    assert isinstance(vae, Codec) and issubclass(AutoencoderKL, Codec)
    with pytest.raises(TypeError, match='abstract'):
        Codec()


@pytest.mark.parametrize('channels', [(8,), (8, 16), (8, 16, 16)])
@pytest.mark.parametrize('attention', [True, False])
def test_shapes(channels, attention):
    vae = net(channels, attention=attention, latent_channels=5)
    f = vae.factor
    assert f == 2 ** (len(channels) - 1)
    z = vae.encode(randn(2, 3, 4 * f, 6 * f))
    assert z.shape == (2, 5, 4, 6) and vae.decode(z).shape == (2, 3, 4 * f, 6 * f)


def test_scale_and_shift_are_undone():
    "decode(encode(x)) does not know them; encode is (mean - shift) * scale."
    x = randn(2, 3, 8, 8)
    plain, other = net(scale=1.0), net(scale=(0.5, 2.0, 3.0, 0.1), shift=(1.0, -1.0, 0.0, 7.0))
    torch.testing.assert_close(plain.decode(plain.encode(x)), other.decode(other.encode(x)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(plain.decode(plain.encode(x)), plain(x)[0], rtol=1e-12, atol=1e-12)
    rows = [torch.tensor(v, dtype=DOUBLE)[:, None, None] for v in (other.scale, other.shift)]
    torch.testing.assert_close(other.encode(x), (plain.encode(x) - rows[1]) * rows[0])


def test_drawn_latents_are_scaled_too():
    vae, x = net(scale=0.5, shift=0.25), randn(2, 3, 8, 8)
    mean, log_var = vae.posterior(x)
    z = draw_latents(mean, log_var, torch.Generator().manual_seed(1))
    torch.testing.assert_close(vae.encode(x, torch.Generator().manual_seed(1)), (z - 0.25) * 0.5)
    assert not torch.allclose(vae.encode(x), (z - 0.25) * 0.5)


def test_log_variances_are_held_in_bounds():
    vae = net(mix=False)
    with torch.no_grad():
        vae.encoder.middle.head.bias += torch.tensor([0.0] * 4 + [100.0, -100.0, 0.0, 0.0])
    _, log_var = vae.posterior(randn(1, 3, 8, 8))
    assert (log_var[:, 0] == 20).all() and (log_var[:, 1] == -30).all() and log_var[:, 2].std() > 0


def test_measured_scale_gives_unit_variance():
    "To the last digit for drawn latents on average: mean of squares = variance of the means + mean of the variances."
    vae, x = net(), randn(10, 3, 8, 8)
    scale = measure_scale(vae, x, batch_size=3)
    mean, log_var = vae.posterior(x)
    second = (mean.square() + log_var.exp()).mean() - mean.mean() ** 2
    assert math.isclose(scale, second.item() ** -0.5, rel_tol=1e-12)
    vae.rescale(scale)
    draws = torch.cat([vae.encode(x, torch.Generator().manual_seed(k)) for k in range(200)])
    assert abs(draws.std().item() - 1) < 0.02  # 320,000 numbers, few of them independent: ten times the spread over seeds


def test_rescaling_is_remembered():
    vae = net()
    vae.rescale((1.0, 2.0, 3.0, 4.0), -0.5)
    again = build(json.loads(json.dumps(describe(vae))))
    assert again.scale == (1.0, 2.0, 3.0, 4.0) and again.shift == -0.5


def test_a_saved_model_comes_back(tmp_path):
    from diffbook.training import load, save

    vae, x = net().float(), torch.randn(1, 3, 8, 8)
    vae.rescale(0.7)
    save(tmp_path / 'vae', vae)
    again = load(tmp_path / 'vae')
    assert again.scale == 0.7 and torch.equal(again.encode(x), vae.encode(x))


# Moments


def test_moments_of_parts_are_those_of_all():
    parts = [randn(n, 3, seed=n) * n + 5 for n in (2, 7, 30)]
    counts = torch.tensor([len(p) for p in parts], dtype=DOUBLE)
    mean, var = pool_moments(counts, torch.stack([p.mean(0) for p in parts]), torch.stack([p.var(0, correction=0) for p in parts]))
    torch.testing.assert_close(mean, torch.cat(parts).mean(0))
    torch.testing.assert_close(var, torch.cat(parts).var(0, correction=0))


def test_moments_far_from_zero_keep_their_digits():
    "Sums of squares would lose all digits of a variance of 1 around a mean of 10,000 in float32."
    parts = (1e4 + randn(4, 5000)).float()
    _, var = pool_moments(torch.full((4,), 5000.0), parts.mean(1), parts.var(1, correction=0))
    assert abs(var.item() / parts.double().var(correction=0).item() - 1) < 1e-3


# Losses


def test_loss_is_the_sum_of_its_terms():
    vae, x, g = net(), randn(3, 3, 8, 8), lambda: torch.Generator().manual_seed(5)
    y, mean, log_var = vae(x, g())
    judge, layers = PatchJudge(3, 8, halvings=2).double(), nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)]).double()
    features = lambda u: [layers[0](u), layers[1](layers[0](u))]  # noqa: E731
    plain = vae_loss(vae, x, g(), kl_weight=0.0)
    torch.testing.assert_close(plain, (y - x).square().mean((1, 2, 3)))
    with_kl = vae_loss(vae, x, g(), kl_weight=0.3) - plain
    torch.testing.assert_close(with_kl, 0.3 * kl_gaussian(mean, log_var.exp(), 0.0, 1.0).sum((1, 2, 3)) / (3 * 8 * 8))
    both = vae_loss(vae, x, g(), kl_weight=0.0, features=features, features_weight=2.0, judge=judge, judge_weight=3.0) - plain
    torch.testing.assert_close(both, 2 * perceptual_loss(features, y, x) + 3 * fool_loss(judge, y))


def test_loss_is_the_elbo_of_a_gaussian_decoder():
    "With kl_weight = 2 s^2 it is -ELBO / D in units of 1 / (2 s^2), up to the constant of the density."
    vae, x, s = net(), randn(2, 3, 8, 8), 0.4
    y, mean, log_var = vae(x, torch.Generator().manual_seed(2))
    log_p = torch.distributions.Normal(y, s).log_prob(x).sum((1, 2, 3))
    elbo, d = log_p - kl_to_normal(mean, log_var), x[0].numel()
    got = vae_loss(vae, x, torch.Generator().manual_seed(2), kl_weight=2 * s**2)
    torch.testing.assert_close(got * d / (2 * s**2) + d * math.log(2 * math.pi * s**2) / 2, -elbo)


def test_perceptual_loss_measures_directions():
    "Feature maps that differ by a positive factor at each place agree; opposite ones are 4 apart at every place."
    maps = randn(2, 5, 4, 4)
    same = perceptual_loss(lambda u: [u], maps, maps * randn(2, 1, 4, 4, seed=1).abs())
    torch.testing.assert_close(same, torch.zeros(2, dtype=DOUBLE))
    torch.testing.assert_close(perceptual_loss(lambda u: [u, 2 * u], maps, -maps), torch.full((2,), 8.0, dtype=DOUBLE))


def test_hinge_losses():
    "A judge that answers v: relu(1 - v) on real and relu(1 + v) on fake images; the decoder wants v up."
    judge, real, fake = nn.Identity(), randn(4, 1, 3, 3), randn(4, 1, 3, 3, seed=1).requires_grad_()
    want = (F.relu(1 - real) + F.relu(1 + fake)).mean((1, 2, 3)) / 2
    torch.testing.assert_close(judge_loss(judge, real, fake), want)
    torch.testing.assert_close(fool_loss(judge, fake), -fake.mean((1, 2, 3)))


def test_the_judges_loss_sends_nothing_to_the_decoder():
    judge, fake = PatchJudge(3, 8, halvings=2).double(), randn(2, 3, 16, 16).requires_grad_()
    judge_loss(judge, randn(2, 3, 16, 16, seed=1), fake).sum().backward()
    assert fake.grad is None and all(p.grad.abs().sum() > 0 for p in judge.parameters() if p.ndim > 1)


def test_a_judge_sees_only_a_patch():
    "A score depends on the pixels of its patch and of no other, up to the norms' statistics: so without them."
    judge = PatchJudge(1, 8, halvings=2).double()
    judge.body = nn.Sequential(*(m for m in judge.body if not isinstance(m, nn.GroupNorm)))
    x = randn(1, 1, 64, 64).requires_grad_()
    score = judge(x)
    assert score.shape == (1, 1, 16, 16)
    (seen,) = torch.autograd.grad(score[0, 0, 8, 8], x)
    rows = seen[0, 0].abs().sum(1).nonzero()
    assert 1 < len(rows) == rows.max() - rows.min() + 1 < 32


# What is refused


def test_sizes_are_refused():
    for arguments, said in (
        ({'channels': (8, 10), 'groups': 4}, '10 is not a multiple of groups=4'),
        ({'channels': ()}, 'expected 1 or more'),
        ({'blocks': 0}, 'blocks=0'),
        ({'scale': 0.0}, 'scale is 0.0'),
        ({'scale': (1.0, 2.0)}, 'one for each of 4 channels'),
        ({'shift': math.nan}, 'shift is nan'),
    ):
        with pytest.raises(ValueError, match=said.replace('(', r'\(')):
            AutoencoderKL(3, 3, **{'channels': (8, 16), 'groups': 4, 'blocks': 1, **arguments})


def test_images_and_latents_are_refused():
    vae = net()
    for call, said in (
        (lambda: vae.encode(randn(1, 3, 8, 9)), r'x has shape \(1, 3, 8, 9\), expected \(b, 3, h, w\) with h and w multiples of 2'),
        (lambda: vae.encode(randn(1, 4, 8, 8)), r'expected \(b, 3, h, w\)'),
        (lambda: vae.decode(randn(1, 3, 8, 8)), r'z has shape \(1, 3, 8, 8\), expected \(b, 4, h, w\)'),
        (lambda: vae_loss(vae, randn(1, 3, 8, 8), torch.Generator(), kl_weight=-1.0), 'kl_weight is -1.0'),
        (lambda: kl_to_normal(randn(2, 3), randn(2, 4)), r'mean has shape \(2, 3\) and log_var \(2, 4\)'),
    ):
        with pytest.raises(ValueError, match=said):
            call()
