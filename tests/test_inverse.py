"""Inverse problems: posteriors in closed form, and what the two approximations are where they must be exact."""

import pytest
import torch
from helpers import SCHEDULES, inner_times
from torch.testing import assert_close

from diffbook.core import Cond, noise
from diffbook.exact import GaussianMixture
from diffbook.guidance import guide
from diffbook.inverse import conjugate_gradients, dps, pigdm
from diffbook.losses import Denoiser
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.samplers import ancestral, ddim, heun, sample, uniform_times
from diffbook.schedules import CosineSchedule

COSINE = CosineSchedule()
PLANE = GaussianMixture([1.0], [[0.7, -0.3]], [[[0.36, 0.1], [0.1, 0.5]]])


def draw(*shape, seed=0, purpose='test'):
    return noise(seed, purpose, 0, range(shape[0]), shape[1:])


def mixture(d=3, k=3):
    roots = draw(k, d, d, purpose='roots')
    return GaussianMixture(torch.tensor([0.5, 0.3, 0.2]), 2 * draw(k, d, purpose='means'), roots @ roots.mT / d + 0.1 * torch.eye(d).double())


# Linear measurements


def test_conjugate_gradients_solve_each_example_on_its_own():
    roots, b = draw(4, 6, 6), draw(4, 6, seed=1)
    matrix = roots @ roots.mT + torch.eye(6).double()
    b[2] = 0
    got = conjugate_gradients(lambda v: (matrix @ v[:, :, None])[:, :, 0], b, 12)
    assert_close(got, torch.linalg.solve(matrix, b), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize('std', (0.0, 0.3))
@pytest.mark.parametrize('name', SCHEDULES)
def test_pigdm_is_exact_for_data_of_one_variance(name, std):
    "For N(m, v I) the guided denoiser is the ideal denoiser of the posterior, at every time, for every measurement."
    schedule, mean = SCHEDULES[name], torch.tensor([[0.3, -1.0, 2.0]]).double()
    law, A, y = GaussianMixture([1.0], mean, 2.0 * torch.eye(3)[None]), draw(2, 3, purpose='A'), draw(1, 2, purpose='y')
    got = pigdm(law.denoise(schedule), schedule, y, lambda x: x @ A.T, std, var=2.0)
    want = law.condition(A, y[0], std).denoise(schedule)
    for t in inner_times(schedule, 5):
        x = law.at(schedule, t).sample(6)
        assert_close(got(x, t), want(x, t), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize('name', SCHEDULES)
def test_dps_takes_the_gradient_at_the_noisy_state(name):
    "For Gaussian data by linear algebra: D + scale sigma^2 / alpha * J' A' (y - A D) / std^2 with J = alpha C (alpha^2 C + sigma^2)^-1."
    schedule, law = SCHEDULES[name], PLANE
    A, y, eye = draw(1, 2, purpose='A'), draw(4, 1, purpose='y'), torch.eye(2).double()
    got = dps(law.denoise(schedule), schedule, y, lambda x: x @ A.T, 0.4, scale=0.7)
    for t in inner_times(schedule, 5):
        x, alpha, sigma = law.at(schedule, t).sample(4), schedule.alpha(t), schedule.sigma(t)
        J = alpha * law.covs[0] @ torch.linalg.inv(alpha**2 * law.covs[0] + sigma**2 * eye)
        x0 = law.means + (x - alpha * law.means) @ J.T
        want = x0 + 0.7 * sigma**2 / alpha * ((y - x0 @ A.T) @ A / 0.4**2) @ J
        assert_close(got(x, t), want, rtol=1e-8, atol=1e-8)


def test_dps_is_pigdm_that_is_certain_of_its_estimate():
    law, A, y, x = mixture(), draw(2, 3, purpose='A'), draw(1, 2, purpose='y'), draw(5, 3)
    t, measure = torch.tensor(0.4).double(), lambda x: x @ A.T
    one = dps(law.denoise(COSINE), COSINE, y, measure, 0.5)(x, t)
    other = pigdm(law.denoise(COSINE), COSINE, y, measure, 0.5, var=1e-9)(x, t)
    assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_dps_and_pigdm_are_the_posterior_where_noise_is_small():
    "As the estimate becomes certain both tend to the ideal denoiser of the posterior, at the rate of its variance."
    law, A, y = mixture(), draw(2, 3, purpose='A'), draw(1, 2, purpose='y')
    post = law.condition(A, y[0], 0.5)
    for method in (dps, pigdm):
        errors = []
        for t in (0.04, 0.02, 0.01):
            x, t = post.at(COSINE, t).sample(200), torch.tensor(t).double()
            got = method(law.denoise(COSINE), COSINE, y, lambda x: x @ A.T, 0.5)(x, t)
            errors.append((got - post.denoise(COSINE)(x, t)).square().mean().sqrt())
        assert errors[0] / errors[1] > 6 and errors[1] / errors[2] > 6, errors  # sigma^4: a factor of 16 a halving, nearly


@pytest.mark.parametrize('method', (dps, pigdm))
def test_steering_keeps_examples_apart_and_hands_cond_on(method):
    law, y, seen, cond = mixture(), draw(4, 2), [], Cond()
    denoise = lambda x, t, c=None: seen.append(c) or law.denoise(COSINE)(x, t)
    run = lambda x, y, t: method(denoise, COSINE, y, lambda x: x[:, :2], 0.5)(x, t, cond)
    x, t = draw(4, 3), torch.tensor([0.2, 0.4, 0.6, 0.8]).double()
    assert_close(run(x, y, t)[2:3], run(x[2:3], y[2:3], t[2]), rtol=1e-10, atol=1e-10)
    assert all(c is cond for c in seen)
    assert not run(x, y, t).requires_grad


@pytest.mark.parametrize('method', (dps, pigdm))
def test_a_guided_denoiser_may_be_steered(method):
    "The condition reaches both halves of guidance, and the gradient goes through their difference."
    base, y, x, t = mixture().denoise(COSINE), draw(4, 2), draw(4, 3), torch.tensor(0.4).double()
    cond, null = Cond(vec=0.3 * torch.ones(4, 3).double()), Cond(vec=torch.zeros(4, 3).double())
    guided = guide(lambda x, t, c: base(x + c.vec, t), null, 2.5)
    by_hand = lambda x, t, c: base(x, t) + 2.5 * (base(x + 0.3, t) - base(x, t))
    got, want = (method(f, COSINE, y, lambda x: x[:, :2], 0.5)(x, t, cond) for f in (guided, by_hand))
    assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_one_round_of_gradients_is_one_step_and_as_many_as_unknowns_are_exact():
    "A map of three different stretches needs three rounds: each brings the answer nearer."
    stretch, b = torch.tensor([1.0, 10.0, 100.0]).double(), torch.ones(1, 3).double()
    errors = [(conjugate_gradients(lambda v: stretch * v, b, rounds) - b / stretch).norm() for rounds in (0, 1, 2, 3)]
    assert errors == sorted(errors, reverse=True) and errors[2] > 1e-3 > 1e-12 > errors[3]
    assert_close(conjugate_gradients(lambda v: stretch * v, b, 1), b * 3 / 111)
    law, t, x = GaussianMixture([1.0], [[0.0] * 3], torch.diag(torch.tensor([1.0, 2.0, 3.0]).double())[None]), torch.tensor(0.5).double(), draw(2, 3)
    guess = [pigdm(law.denoise(COSINE), COSINE, draw(1, 3, seed=2), lambda x: stretch * x, 0.1, rounds=r)(x, t) for r in (1, 2, 3, 20)]
    assert not torch.allclose(guess[0], guess[1]) and not torch.allclose(guess[1], guess[2]) and torch.allclose(guess[2], guess[3])


@pytest.mark.parametrize('solver', (ddim, ancestral, heun))
def test_pictures_in_single_precision(solver):
    torch.manual_seed(0)
    model = Denoiser(UNet(3, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 0), groups=4), COSINE, predict_v).eval()
    photo, mask, x = draw(2, 3, 8, 8).float().clamp(-1, 1), torch.zeros(1, 8, 8).bool(), draw(2, 3, 8, 8, seed=1).float()
    mask[:, :4] = True
    *_, got = sample(pigdm(model, COSINE, photo * mask, lambda x: x * mask, 0.05), COSINE, x, uniform_times(COSINE, 4), solver)
    assert got.dtype == torch.float32 and torch.isfinite(got).all() and not got.requires_grad
