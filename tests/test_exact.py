"""The oracle against autograd, SciPy, 50-digit arithmetic, linear algebra, Monte Carlo with a stated error, and itself."""

import math

import helpers
import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats

from diffbook import exact
from diffbook.core import Cond, generator
from diffbook.exact import GaussianMixture, finite_data, reference_mixture
from diffbook.schedules import CosineSchedule, DiscreteSchedule, KarrasSchedule, RectifiedFlowSchedule, linear_betas

SCHEDULES = pytest.mark.parametrize('schedule', helpers.SCHEDULES.values(), ids=helpers.SCHEDULES)
DDPM, FLOW = DiscreteSchedule(linear_betas()), RectifiedFlowSchedule()
REFERENCE = reference_mixture()
close = torch.testing.assert_close


def random_mixture(k, d, seed, flat=False):
    "k components in d dimensions; with flat, each covariance has rank d - 1."
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(k, d, d - flat, dtype=torch.float64, generator=g) / d**0.5
    weights = torch.rand(k, dtype=torch.float64, generator=g) + 0.2
    return GaussianMixture(weights / weights.sum(), torch.randn(k, d, dtype=torch.float64, generator=g), root @ root.mT)


MIXTURES = {
    'reference': REFERENCE,
    'one in 1d': random_mixture(1, 1, 0),
    'four in the plane': random_mixture(4, 2, 1),
    'three in 5d': random_mixture(3, 5, 2),
}
EACH = pytest.mark.parametrize('law', MIXTURES.values(), ids=MIXTURES)


def pair(name):
    return lambda schedule, t: helpers.PREDICTIONS[name](schedule, t)


def scipy_log_prob(law, x):
    parts = [np.log(w) + stats.multivariate_normal(m, c).logpdf(x) for w, m, c in zip(*(v.numpy() for v in (law.weights, law.means, law.covs)))]
    return torch.tensor(np.logaddexp.reduce(np.array(parts).reshape(len(parts), -1), 0))


@EACH
def test_density_is_scipys(law):
    x = 2 * law.sample(60)
    close(law.log_prob(x), scipy_log_prob(law, x.numpy()), rtol=1e-10, atol=1e-10)


def test_density_far_away_against_fifty_digits():
    "Where densities underflow, their logarithms do not."
    with mpmath.workdps(50):
        for x in (-60.0, 1e-3, 45.0):
            parts = [(0.3, -1.8, 0.25), (0.5, 0.2, 0.45), (0.2, 1.6, 0.3)]
            want = mpmath.log(sum(mpmath.mpf(w) * mpmath.npdf(mpmath.mpf(x), mpmath.mpf(m), mpmath.mpf(s)) for w, m, s in parts))
            assert REFERENCE.log_prob(torch.tensor([[x]], dtype=torch.float64)).item() == pytest.approx(float(want), rel=1e-12)


@EACH
def test_score_is_the_gradient_of_the_log_density(law):
    law = law.at(FLOW, 0.3)
    x = law.sample(40).requires_grad_()
    (want,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    close(law.score(x), want, rtol=1e-10, atol=1e-11)


@SCHEDULES
@EACH
def test_tweedie_of_first_and_second_order(law, schedule):
    "E[x0|x] and Cov[x0|x] from derivatives of the log-density of x_t alone."
    t = helpers.inner_times(schedule, 5)[2]
    alpha, sigma, marginal = schedule.alpha(t), schedule.sigma(t), law.at(schedule, t)
    x = marginal.sample(3)
    mean, cov = law.posterior(schedule, x, t)
    eye = torch.eye(law.d, dtype=torch.float64)
    for i, p in enumerate(x):
        gradient = torch.autograd.functional.jacobian(lambda y: marginal.log_prob(y[None])[0], p)
        hessian = torch.autograd.functional.hessian(lambda y: marginal.log_prob(y[None])[0], p)
        size = (sigma / alpha).item() ** 2 + 1
        close(mean[i], (p + sigma**2 * gradient) / alpha, rtol=1e-8, atol=1e-11 * size)
        close(cov[i], sigma**2 / alpha**2 * (eye + sigma**2 * hessian), rtol=1e-8, atol=1e-10 * size)
    close(law.denoise(schedule)(x, t), mean, rtol=1e-13, atol=1e-13)


def test_posterior_of_one_gaussian_is_conditioning_by_linear_algebra():
    law, t = random_mixture(1, 4, 5), torch.tensor(0.35)
    a, s = FLOW.alpha(t), FLOW.sigma(t)
    c, eye = law.covs[0], torch.eye(4, dtype=torch.float64)
    joint = torch.linalg.inv(torch.linalg.inv(c) + (a / s) ** 2 * eye)  # precisions add
    x = law.at(FLOW, t).sample(7)
    want = (torch.linalg.solve(c, law.means[0]) + a / s**2 * x) @ joint
    mean, cov = law.posterior(FLOW, x, t)
    close(mean, want, rtol=1e-11, atol=1e-12)
    close(cov, joint.expand(7, 4, 4), rtol=1e-11, atol=1e-12)


@EACH
def test_sampling_has_the_moments_of_the_law(law):
    "200,000 samples; each of at most 30 moments within 6 standard errors: false alarm below 1e-7; the seed is fixed."
    n, g = 200_000, generator(0, 'test-exact')
    x = law.sample(n, g)
    mean = law.weights @ law.means
    off = law.means - mean
    cov = torch.einsum('k,kij->ij', law.weights, law.covs) + torch.einsum('k,ki,kj->ij', law.weights, off, off)
    assert ((x.mean(0) - mean).abs() < 6 * x.std(0) / n**0.5).all()
    products = (x - mean)[:, :, None] * (x - mean)[:, None]
    assert ((products.mean(0) - cov).abs() < 6 * products.std(0) / n**0.5).all()


def test_a_sample_moved_by_the_schedule_has_the_law_at_t():
    "Kolmogorov-Smirnov on 100,000 draws at level 1e-7; the seed is fixed."
    n, t = 100_000, torch.tensor(150.0)
    x0, eps = (
        REFERENCE.sample(n, generator(1, 'test-exact')),
        torch.randn(n, 1, dtype=torch.float64, generator=generator(2, 'test-exact')),
    )
    law = REFERENCE.at(DDPM, t)
    cdf = lambda x: sum(w * stats.norm.cdf(x, m, v**0.5) for w, m, v in zip(*(p.flatten().numpy() for p in (law.weights, law.means, law.covs))))
    assert stats.kstest(DDPM.perturb(x0, eps, t)[:, 0].numpy(), cdf).pvalue > 1e-7


@pytest.mark.parametrize('t, floor', [(1, 0.9992), (101, 0.739), (501, 0.121)])
def test_loss_floor_of_the_reference(t, floor):
    "The published figures, and SciPy's adaptive quadrature of their definition."
    t = float(t)
    got = REFERENCE.loss_floor(DDPM, t, pair('eps'))
    assert got == pytest.approx(floor, abs=0.6 * 10 ** -(len(str(floor)) - 2))
    marginal, s = REFERENCE.at(DDPM, t), DDPM.sigma(t).item()

    def missed(x):
        point = torch.tensor([[x]], dtype=torch.float64)
        noise = -s * marginal.score(point).item()  # E[eps | x]
        return math.exp(marginal.log_prob(point).item()) * noise**2

    knots = sorted(m + z * v**0.5 for m, v in zip(marginal.means.flatten().tolist(), marginal.covs.flatten().tolist()) for z in (-6, -2, 0, 2, 6))
    explained = sum(integrate.quad(missed, p, q, epsabs=1e-9, epsrel=1e-7)[0] for p, q in zip(knots, knots[1:]))
    assert got == pytest.approx(1 - explained, abs=1e-6)  # E eps**2 = 1 = what is explained + what is not


@SCHEDULES
@pytest.mark.parametrize('name', helpers.PREDICTIONS)
def test_floor_of_a_gaussian_is_a_schur_complement(schedule, name):
    "For x0 ~ N(m, v): Var[y] - Cov[y, x]**2 / Var[x], with y = a x0 + b eps."
    v, t = 0.7, helpers.inner_times(schedule, 3)[1]
    law = GaussianMixture([1.0], [[0.4]], [[[v]]])
    a, b = helpers.PREDICTIONS[name](schedule, t)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    with mpmath.workdps(40):
        a, b, p, s = (mpmath.mpf(q.item()) for q in (a, b, alpha, sigma))
        want = float(a**2 * v + b**2 - (a * p * v + b * s) ** 2 / (p**2 * v + s**2))
    assert law.loss_floor(schedule, t, pair(name)) == pytest.approx(want, rel=1e-9, abs=0)


def test_quadrature_agrees_with_far_finer_quadrature_for_uneven_components():
    law = GaussianMixture([0.5, 0.5], [[0.0], [0.1]], [[[1.0]], [[1e-6]]])
    x = torch.linspace(-9, 9, 600_001, dtype=torch.float64)[:, None]
    for t in torch.tensor([0.003, 0.05, 0.6], dtype=torch.float64):
        density = law.at(FLOW, t).log_prob(x).exp()
        want = torch.trapezoid(density * law._mean_variance(FLOW, x, t), x[:, 0])
        assert law.posterior_variance(FLOW, t) == pytest.approx(want.item(), rel=1e-8, abs=0)


def test_in_more_dimensions_the_error_is_stated_and_honest():
    "A product of two mixtures in one dimension has the mean of their variances; within 6 of the stated errors (2e-9)."
    x, y = GaussianMixture([0.4, 0.6], [[-1.0], [1.0]], [[[0.1]], [[0.3]]]), REFERENCE
    weights = torch.outer(x.weights, y.weights).flatten()
    means = torch.cartesian_prod(x.means[:, 0], y.means[:, 0])
    both = GaussianMixture(weights, means, torch.diag_embed(torch.cartesian_prod(x.covs.flatten(), y.covs.flatten())))
    for t in (0.2, 0.5, 0.8):
        value, error = both.posterior_variance_and_error(FLOW, t)
        want = (x.posterior_variance(FLOW, t) + y.posterior_variance(FLOW, t)) / 2
        assert 0 < error < 0.01 * want and abs(value - want) < 6 * error
    assert x.posterior_variance_and_error(FLOW, 0.5)[1] == 0
    assert random_mixture(1, 3, 0).posterior_variance_and_error(FLOW, 0.5)[1] == 0


def test_more_draws_make_the_stated_error_smaller():
    "Sixteen times as many, a quarter of the error, within a tenth."
    law = random_mixture(3, 2, 0)
    (value, few), (other, many) = (law.posterior_variance_and_error(FLOW, 0.5, samples) for samples in (2**12, 2**16))
    assert 3.6 < few / many < 4.4 and 0 < abs(value - other) < 6 * few


def test_samples_follow_their_generator():
    "The same without one, others with another seed, new ones at each call of one generator, and no seed in its place."
    law = random_mixture(3, 2, 0)
    draws = [law.sample(9), law.sample(9, generator(0, 'a')), law.sample(9, generator(1, 'a'))]
    assert all(not torch.isclose(a, b).any() for i, a in enumerate(draws) for b in draws[:i]) and torch.equal(draws[0], law.sample(9))
    one = generator(0, 'a')
    assert torch.equal(law.sample(9, one), draws[1]) and not torch.isclose(law.sample(9, one), draws[1]).any()
    for seed in (0, 7):
        with pytest.raises(ValueError, match=f'generator is {seed}, expected a torch.Generator'):
            law.sample(9, seed)


def test_the_floor_is_reached_by_the_oracle_and_by_nobody_else():
    "100,000 pairs: the oracle is within 5 standard errors of the floor (false alarm 6e-7), a rescaled oracle is 20 above it."
    n, t = 100_000, torch.tensor(0.4)
    law = MIXTURES['four in the plane']
    x0, eps = (
        law.sample(n, generator(3, 'test-exact')),
        torch.randn(n, 2, dtype=torch.float64, generator=generator(4, 'test-exact')),
    )
    x = FLOW.perturb(x0, eps, t)
    for scale, factor in ((1.0, 0), (1.2, 1)):
        error = ((FLOW.eps(x, scale * law.denoise(FLOW)(x, t), t) - eps) ** 2).mean(1)
        floor, allowed = law.loss_floor(FLOW, t, pair('eps')), error.std().item() / n**0.5 * 5
        assert abs(error.mean() - floor) < 1.5 * allowed if not factor else error.mean() > floor + 4 * allowed


@SCHEDULES
def test_flow_keeps_quantiles(schedule):
    "SciPy's distribution functions and root finder give the same map, from noise to data and back."
    s, t = helpers.inner_times(schedule, 5)[[1, 3]]
    start, end = REFERENCE.at(schedule, t), REFERENCE.at(schedule, s)

    def cdf(law, x):
        return sum(w * stats.norm.cdf(x, m, v**0.5) for w, m, v in zip(*(p.flatten().tolist() for p in (law.weights, law.means, law.covs))))

    x = start.sample(5)
    got = REFERENCE.flow(schedule, x, t, s)
    for p, q in zip(x[:, 0].tolist(), got[:, 0].tolist()):
        share = cdf(start, p)
        want = optimize.brentq(lambda y: cdf(end, y) - share, -50, 50, xtol=1e-13)
        assert q == pytest.approx(want, abs=1e-8)
    close(REFERENCE.flow(schedule, got, s, t), x, rtol=1e-8, atol=1e-8)


def test_flow_in_both_tails_is_the_flow_of_the_widest_component():
    "Hundreds of deviations out the widest component, the middle one, is alone: its formula holds, and nothing saturates."
    middle = GaussianMixture([1.0], [[0.2]], [[[0.45**2]]])
    for side in (-1, 1):
        for far, rtol in ((400.0, 1e-3), (40_000.0, 1e-6)):
            x = torch.tensor([[side * far]])
            close(REFERENCE.flow(FLOW, x, 0.9, 0.05), middle.flow(FLOW, x, 0.9, 0.05), rtol=rtol, atol=0)


@SCHEDULES
def test_flow_has_the_velocity_of_the_denoiser(schedule):
    t = helpers.inner_times(schedule, 7)[3] + 0.21 * (schedule.t_max - schedule.t_min) / 1000  # inside a step of a table
    h = 1e-5 * (schedule.t_max - schedule.t_min)
    for law in (REFERENCE, random_mixture(1, 3, 7)):
        x = law.at(schedule, t).sample(6)
        slope = (law.flow(schedule, x, t, t + h) - law.flow(schedule, x, t, t - h)) / (2 * h)
        velocity = schedule.velocity(x, law.denoise(schedule)(x, t), t)
        close(slope, velocity, rtol=1e-5, atol=1e-5 * velocity.abs().max().item())


def test_flows_compose_and_end_at_the_data():
    x = REFERENCE.at(FLOW, 1.0).sample(50)
    close(
        REFERENCE.flow(FLOW, REFERENCE.flow(FLOW, x, 1.0, 0.4), 0.4, 0.0),
        REFERENCE.flow(FLOW, x, 1.0, 0.0),
        rtol=1e-9,
        atol=1e-9,
    )
    plane = random_mixture(1, 2, 3)
    z = torch.randn(200_000, 2, dtype=torch.float64, generator=generator(5, 'test-exact'))
    y = plane.flow(FLOW, z, 1.0, 0.0)  # 200,000 draws, 6 standard errors on 4 numbers: false alarm below 1e-8
    products = (y - plane.means)[:, :, None] * (y - plane.means)[:, None]
    assert ((products.mean(0) - plane.covs[0]).abs() < 6 * products.std(0) / 200_000**0.5).all()


@SCHEDULES
def test_the_same_noise_to_signal_gives_the_same_guess(schedule):
    "Schedules differ by a rescaling of x: E[x0 | x] at equal log_snr and x / alpha is one function."
    t = helpers.inner_times(schedule, 5)[2]
    u = KarrasSchedule(1e4).time_at(schedule.log_snr(t))
    x = REFERENCE.at(schedule, t).sample(9)
    want = REFERENCE.denoise(KarrasSchedule(1e4))(x / schedule.alpha(t), u)
    close(REFERENCE.denoise(schedule)(x, t), want, rtol=1e-9, atol=1e-9)


def test_turning_and_shifting_space_turns_and_shifts_the_oracle():
    law, t = MIXTURES['three in 5d'], torch.tensor(0.3)
    g = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=g))
    moved = GaussianMixture(law.weights, law.means @ turn.T + 1.5, turn @ law.covs @ turn.T)
    x = law.at(FLOW, t).sample(8)
    y = x @ turn.T + 1.5 * FLOW.alpha(t)
    close(moved.denoise(FLOW)(y, t), law.denoise(FLOW)(x, t) @ turn.T + 1.5, rtol=1e-10, atol=1e-10)


@EACH
def test_denoiser_keeps_dtype_shape_and_batch(law):
    denoise = law.denoise(CosineSchedule())
    x, t = law.sample(6), torch.linspace(0.1, 0.9, 6)
    alone = torch.cat([denoise(x[i : i + 1], t[i]) for i in range(6)])
    close(denoise(x, t), alone, rtol=1e-12, atol=1e-13)
    close(denoise(x, t, Cond(vec=torch.ones(6, 2))), denoise(x, t), rtol=0, atol=0)
    assert denoise(x.float(), t).dtype == torch.float32 and denoise(x.half(), t[0]).dtype == torch.float16
    close(denoise(x.float(), t).double(), alone, rtol=1e-5, atol=1e-5)
    assert denoise(x.reshape(6, 1, law.d), t).shape == (6, 1, law.d)


def test_float32_parameters_are_taken():
    law = GaussianMixture(*(v.float() for v in (REFERENCE.weights, REFERENCE.means, REFERENCE.covs)))
    x = REFERENCE.sample(20)
    close(law.log_prob(x.float()), REFERENCE.log_prob(x), rtol=1e-5, atol=1e-5)
    assert law.log_prob(x.float()).dtype == torch.float64 and law.weights.sum().item() == pytest.approx(1, abs=1e-15)
    rough = random_mixture(2, 3, 9)
    GaussianMixture(
        rough.weights,
        rough.means,
        (rough.covs + 1e-8 * torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)).double()),
    )


@SCHEDULES
def test_without_noise_the_guess_is_the_signal(schedule):
    t = schedule.t_min
    if schedule.sigma(t) == 0:
        x = MIXTURES['four in the plane'].sample(5)
        close(
            MIXTURES['four in the plane'].denoise(schedule)(x, torch.tensor(t)),
            x / schedule.alpha(t),
            rtol=1e-12,
            atol=1e-12,
        )


@pytest.mark.parametrize('schedule', [CosineSchedule(), FLOW, helpers.SCHEDULES['zero-terminal']])
def test_without_signal_the_guess_is_the_mean(schedule):
    law, x = (
        MIXTURES['four in the plane'],
        torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    )
    mean = (law.weights @ law.means).expand(5, 2)
    close(law.denoise(schedule)(x, torch.tensor(schedule.t_max)), mean, rtol=1e-12, atol=1e-12)


@SCHEDULES
def test_finite_data_is_a_mixture_of_points(schedule):
    g = torch.Generator().manual_seed(0)
    points = torch.randn(9, 3, 2, dtype=torch.float64, generator=g)
    law = GaussianMixture(torch.full((9,), 1 / 9), points.flatten(1), torch.zeros(9, 6, 6))
    ideal = finite_data(points, schedule)
    for t in helpers.inner_times(schedule, 4):
        x = schedule.perturb(points[:5], torch.randn(5, 3, 2, dtype=torch.float64, generator=g), t)
        close(ideal(x, t), law.denoise(schedule)(x, t), rtol=1e-7, atol=1e-9)
        slow = torch.stack([(-((p - schedule.alpha(t) * points) ** 2).sum((1, 2)) / (2 * schedule.sigma(t) ** 2)).softmax(0) for p in x])
        close(ideal(x, t), torch.einsum('bn,nij->bij', slow, points), rtol=1e-7, atol=1e-9)


def test_a_single_point_is_always_the_answer():
    point = torch.tensor([[[2.0, -1.0]]])
    for schedule in helpers.SCHEDULES.values():
        x = torch.randn(4, 1, 2, generator=torch.Generator().manual_seed(0))
        for t in (schedule.t_min, schedule.t_max):
            close(finite_data(point, schedule)(x, torch.tensor(t)), point.expand(4, 1, 2))


def test_points_without_noise_are_recognised():
    "At sigma = 0 nothing is divided by zero: the nearest point takes all."
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    law = GaussianMixture([0.2, 0.3, 0.5], points, torch.zeros(3, 2, 2))
    near = points + 0.1
    for denoise in (finite_data(points, FLOW), law.denoise(FLOW)):
        close(denoise(near, torch.tensor(0.0)), points)
        close(denoise(points, torch.tensor(0.0)), points)
        assert torch.isfinite(denoise(points, torch.tensor(1e-12))).all()
    assert (law.posterior(FLOW, near, torch.tensor(0.0))[1] == 0).all()


def test_flat_components_are_welcome_where_noise_fills_them():
    law, t = random_mixture(3, 3, 4, flat=True), torch.tensor(0.2, dtype=torch.float64)
    assert (law.spreads[:, 0] == 0).all() and (law.spreads[:, 1:] > 0).all()
    x = law.at(FLOW, t).sample(4)
    assert torch.isfinite(law.at(FLOW, t).log_prob(x)).all()
    close(law.denoise(FLOW)(x, t), (x + t**2 * law.at(FLOW, t).score(x)) / (1 - t), rtol=1e-9, atol=1e-10)
    atoms = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], torch.zeros(2, 1, 1))
    x = torch.tensor([[-0.7], [-1e-9], [1e-9], [3.0]])
    close(atoms.flow(FLOW, x, 1.0, 0.0), torch.tensor([[-1.0], [-1.0], [1.0], [1.0]], dtype=torch.float64))
    assert (atoms.sample(100).abs() == 1).all()


# A measurement


def measurement(d, m, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(m, d, dtype=torch.float64, generator=g), torch.randn(m, dtype=torch.float64, generator=g)


@EACH
@pytest.mark.parametrize('m, sigma', ((1, 0.05), (2, 0.3), (5, 1.0)))
def test_condition_is_bayes(law, m, sigma):
    "log p(x | y) - log p(x) - log p(y | x) does not depend on x, and so the scores agree."
    (A, y), x = measurement(law.d, m, 3), law.sample(50)
    post, misfit = law.condition(A, y, sigma), y - x @ A.T
    rest = post.log_prob(x) - law.log_prob(x) + misfit.square().sum(-1) / (2 * sigma**2)
    close(rest, rest[:1].expand(50), rtol=1e-11, atol=1e-9)
    close(post.score(x), law.score(x) + misfit @ A / sigma**2, rtol=1e-9, atol=1e-8)


def test_conditions_one_after_the_other_are_both_at_once():
    law, (A, y), (B, z) = random_mixture(3, 5, 2), measurement(5, 2, 0), measurement(5, 1, 1)
    one, both = law.condition(A, y, 0.4).condition(B, z, 0.4), law.condition(torch.cat([A, B]), torch.cat([y, z]), 0.4)
    for name in ('weights', 'means', 'covs'):
        close(getattr(one, name), getattr(both, name), rtol=1e-9, atol=1e-12)


def test_condition_of_a_coordinate_is_the_ratio_of_the_joint_to_the_marginal():
    law, x = random_mixture(3, 2, 5), torch.linspace(-2, 2, 9, dtype=torch.float64)
    post = law.condition([[1.0, 0.0]], [0.3], 0.0)  # known exactly: what is left is a distribution of the other
    marginal = GaussianMixture(law.weights, law.means[:, :1], law.covs[:, :1, :1]).log_prob(torch.full((1, 1), 0.3, dtype=torch.float64))
    other = GaussianMixture(post.weights, post.means[:, 1:], post.covs[:, 1:, 1:])
    joint = law.log_prob(torch.stack([torch.full_like(x, 0.3), x], 1))
    close(other.log_prob(x[:, None]), joint - marginal, rtol=1e-10, atol=1e-10)


def test_condition_on_everything_or_on_nothing_like_it():
    law, point = random_mixture(3, 4, 1), torch.tensor([0.1, -0.4, 0.3, 2.0])
    close(law.condition(torch.eye(4), point, 0.0).sample(5), point.double().expand(5, 4), rtol=0, atol=1e-6)
    far = law.condition(torch.eye(4), 1e4 * point, 0.1)  # all but one part underflow
    assert torch.isfinite(far.means).all() and (far.weights > 0).all()


X = torch.zeros(4, 2)
EYE = torch.eye(2)[None]
PLANE = MIXTURES['four in the plane']
BAD = {
    'weights that do not sum to one': (
        lambda: GaussianMixture([0.5, 0.6], [[0.0], [1.0]], torch.ones(2, 1, 1)),
        'weights are [0.5, 0.6]',
    ),
    'a weight of zero': (
        lambda: GaussianMixture([1.0, 0.0], [[0.0], [1.0]], torch.ones(2, 1, 1)),
        'positive numbers with sum 1',
    ),
    'a weight that is not a number': (lambda: GaussianMixture([math.nan], [[0.0]], [[[1.0]]]), 'weights are [nan]'),
    'no components': (lambda: GaussianMixture([], torch.zeros(0, 1), torch.zeros(0, 1, 1)), 'weights are []'),
    'means of one axis': (lambda: GaussianMixture([1.0], [0.0], [[[1.0]]]), 'means has shape (1,), expected (1, d)'),
    'a mean too many': (lambda: GaussianMixture([1.0], [[0.0], [1.0]], [[[1.0]]]), 'means has shape (2, 1)'),
    'variances for covariances': (
        lambda: GaussianMixture([1.0], [[0.0, 1.0]], [[1.0, 1.0]]),
        'covs has shape (1, 2), expected (1, 2, 2)',
    ),
    'an infinite mean': (lambda: GaussianMixture([1.0], [[math.inf, 0.0]], EYE), 'must be finite'),
    'not symmetric': (
        lambda: GaussianMixture([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.0, 1.0]]]),
        'covs is not symmetric',
    ),
    'a negative variance': (
        lambda: GaussianMixture([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]]),
        'covs has the eigenvalue -1',
    ),
    'points of another dimension': (lambda: REFERENCE.log_prob(X), 'x has shape (4, 2), expected (b, 1)'),
    'points without a batch': (lambda: PLANE.score(X[0]), 'x has shape (2,), expected (b, 2)'),
    'times of another batch': (lambda: PLANE.denoise(FLOW)(X, torch.full((3,), 0.5)), 't has shape (3,)'),
    'a time too late': (lambda: PLANE.denoise(FLOW)(X, torch.tensor(1.5)), 't is 1.5, expected a time in [0, 1]'),
    'a law at many times': (lambda: PLANE.at(FLOW, torch.tensor([0.1, 0.2])), 't has shape (2,), expected ()'),
    'a flow without closed form': (lambda: PLANE.flow(FLOW, X, 1.0, 0.0), 'no closed form'),
    'a floor without noise': (lambda: PLANE.loss_floor(FLOW, 0.0, pair('eps')), 't is 0, where there is no noise'),
    'the density of a point': (
        lambda: GaussianMixture([1.0], [[0.0]], [[[0.0]]]).log_prob(X[:, :1]),
        'covs is singular',
    ),
    'the flow out of a point': (
        lambda: GaussianMixture([1.0], [[0.0]], [[[0.0]]]).flow(FLOW, X[:, :1], 0.0, 1.0),
        'covs is singular',
    ),
    'a measurement of another dimension': (lambda: PLANE.condition([[1.0]], [0.0], 1.0), 'A has shape (1, 1) and y (1,), expected (m, 2)'),
    'a measurement of nothing': (lambda: PLANE.condition([[0.0, 0.0]], [0.0], 0.0), 'give sigma > 0'),
    'noise below zero': (lambda: PLANE.condition([[1.0, 0.0]], [0.0], -1.0), 'sigma is -1'),
    'no samples': (lambda: PLANE.sample(0), 'n is 0, expected a positive'),
    'no data': (lambda: finite_data(torch.zeros(0, 2), FLOW), 'points has shape (0, 2)'),
    'data that are not finite': (lambda: finite_data(torch.tensor([[math.nan]]), FLOW), 'all finite'),
    'a query of another shape': (
        lambda: finite_data(torch.zeros(3, 1, 2), FLOW)(X, torch.tensor(0.5)),
        'x has shape (4, 2), expected (b, 1, 2)',
    ),
}


test_bad_input_is_refused = helpers.refuses(BAD)


def test_random_mixtures_have_their_mean_and_spread():
    for seed in range(12):
        law = exact.random_mixture(seed, sd=0.5)
        mean = float(law.weights @ law.means[:, 0])
        var = float(law.weights @ (law.means[:, 0] ** 2 + law.covs[:, 0, 0])) - mean**2
        assert abs(mean) < 1e-12 and abs(var - 0.25) < 1e-12
        assert 2 <= len(law.weights) <= 6 and law.weights.min() > 0.02
    assert len({len(exact.random_mixture(seed).weights) for seed in range(5)}) == 5
