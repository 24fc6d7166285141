"""diffbook.gaussian against scipy, mpmath, torch.distributions and identities. Nothing here is random but hypothesis' fixed examples."""

import math

import helpers
import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import MultivariateNormal, kl_divergence

from diffbook.core import noise
from diffbook.gaussian import condition, gaussian_log_prob, interpolate_noise, kl_gaussian, posterior

close = torch.testing.assert_close
number, positive = st.floats(-5, 5), st.floats(0.05, 20)
fixed = settings(derandomize=True, max_examples=200, deadline=None)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def joint(d, seed=0):
    "A mean and a well-conditioned covariance."
    root = noise(seed, 'joint', 0, range(d), (d,))
    return noise(seed, 'joint', 1, [0], (d,))[0], root @ root.mT + 0.1 * torch.eye(d, dtype=torch.float64)


# density


@fixed
@given(number, number, positive)
def test_log_prob_is_scipys(x, mean, var):
    got = gaussian_log_prob(double(x), mean, var)
    close(got, double(stats.norm.logpdf(x, mean, math.sqrt(var))), rtol=1e-12, atol=1e-12)


def test_log_prob_stays_finite_where_the_density_underflows():
    close(gaussian_log_prob(double(60.0), 0.0, 1.0), double(-1800 - math.log(2 * math.pi) / 2), rtol=1e-14, atol=0)


def test_log_prob_keeps_the_dtype_and_broadcasts():
    x = torch.zeros(3, 4)
    got = gaussian_log_prob(x, torch.ones(4), 2.0)
    assert got.dtype == torch.float32 and got.shape == (3, 4)


# KL


def kl_by_mpmath(mean_p, var_p, mean_q, var_q):
    def log_density(x, mean, var):
        return -((x - mean) ** 2) / (2 * var) - mpmath.log(2 * mpmath.pi * var) / 2

    def integrand(x):
        return mpmath.exp(log_density(x, mean_p, var_p)) * (log_density(x, mean_p, var_p) - log_density(x, mean_q, var_q))

    sd = mpmath.sqrt(var_p)
    return float(mpmath.quad(integrand, [mean_p + k * sd for k in (-12, -4, 0, 4, 12)]))


@pytest.mark.parametrize('case', [(0.0, 1.0, 0.0, 1.0), (2.0, 0.01, -1.0, 3.0), (0.5, 9.0, 0.0, 0.25), (-3.0, 1.0, 3.0, 1.0)])
def test_kl_is_the_integral(case):
    close(kl_gaussian(*case), double(kl_by_mpmath(*case))[0], rtol=1e-10, atol=1e-12)


@fixed
@given(number, positive, number, positive, number, positive)
def test_kl_is_a_divergence_without_a_unit(mean_p, var_p, mean_q, var_q, shift, scale):
    kl = kl_gaussian(mean_p, var_p, mean_q, var_q)
    assert kl >= -1e-14
    moved = kl_gaussian(scale * mean_p + shift, scale**2 * var_p, scale * mean_q + shift, scale**2 * var_q)
    close(moved, kl, rtol=1e-7, atol=1e-9)
    close(kl_gaussian(mean_p, var_p, mean_p, var_p), double(0.0)[0], rtol=0, atol=0)


def test_kl_adds_over_coordinates_and_matches_the_multivariate_form():
    mean_p, mean_q, var_p, var_q = noise(0, 'kl', 0, range(4), (7,))
    var_p, var_q = var_p.exp(), var_q.exp()
    turn = torch.linalg.qr(noise(0, 'kl', 1, range(7), (7,)))[0]  # KL does not change when both laws are turned
    p = MultivariateNormal(turn @ mean_p, turn @ torch.diag(var_p) @ turn.mT)
    q = MultivariateNormal(turn @ mean_q, turn @ torch.diag(var_q) @ turn.mT)
    close(kl_gaussian(mean_p, var_p, mean_q, var_q).sum(), kl_divergence(p, q), rtol=1e-10, atol=0)


def test_kl_of_near_laws_is_quadratic():
    "KL is half the Fisher information times the square of the change: 1/(2 v) for the mean, 1/(4 v**2) for the variance."
    for step in (1e-3, 1e-4):
        close(kl_gaussian(0.0, 2.0, step, 2.0), double(step**2 / 4)[0], rtol=1e-9, atol=0)
        close(kl_gaussian(0.0, 2.0 + step, 0.0, 2.0), double(step**2 / 16)[0], rtol=2 * step, atol=0)


# one noisy look


@fixed
@given(number, number, positive, st.floats(-2, 2), st.floats(0.05, 5))
def test_posterior_adds_precisions(x, mean, var, alpha, sigma):
    "In terms of precisions Bayes' rule is an addition."
    precision = 1 / var + alpha**2 / sigma**2
    want = (mean / var + alpha * x / sigma**2) / precision
    got_mean, got_var = posterior(x, mean, var, alpha, sigma)
    close(got_mean, double(want)[0], rtol=1e-8, atol=1e-8)
    close(got_var, double(1 / precision)[0], rtol=1e-8, atol=0)


@fixed
@given(number, number, positive, st.floats(0.1, 2), st.floats(0.05, 5))
def test_posterior_maximises_the_joint_density(x, mean, var, alpha, sigma):
    "For a Gaussian the mean is the mode: the slope of log p(x0) + log p(x | x0) vanishes there, its curvature is -1/variance."
    best, left = posterior(x, mean, var, alpha, sigma)

    def log_joint(x0):
        return gaussian_log_prob(x0, mean, var) + gaussian_log_prob(x - alpha * x0, 0.0, sigma**2)

    slope = torch.func.grad(log_joint)
    close(slope(best) * left.sqrt(), double(0.0)[0], rtol=0, atol=1e-8)
    close(torch.func.grad(slope)(best), -1 / left, rtol=1e-9, atol=0)


def test_posterior_at_the_ends():
    mean, var = posterior(1.5, 0.3, 0.5, 0.8, 0.0)
    close((mean, var), (double(1.5 / 0.8)[0], double(0.0)[0]), rtol=1e-14, atol=0)
    mean, var = posterior(1.5, 0.3, 0.5, 0.0, 1.0)
    close((mean, var), (double(0.3)[0], double(0.5)[0]), rtol=1e-14, atol=0)
    mean, var = posterior(1.5, 0.3, 0.0, 0.8, 1.0)
    close((mean, var), (double(0.3)[0], double(0.0)[0]), rtol=1e-14, atol=0)


def test_posterior_of_two_looks_in_either_order():
    first = posterior(0.4, 0.1, 1.3, 0.7, 0.9)
    both = posterior(-1.0, *first, 1.2, 0.5)
    swapped = posterior(0.4, *posterior(-1.0, 0.1, 1.3, 1.2, 0.5), 0.7, 0.9)
    close(both, swapped, rtol=1e-13, atol=0)


# many coordinates


@pytest.mark.parametrize('index', [[0], [3, 1], [4, 0, 2], [0, 1, 2, 3]])
def test_condition_is_joint_over_marginal(index):
    mean, cov = joint(5)
    rest = [i for i in range(5) if i not in index]
    points = noise(0, 'points', 0, range(6), (5,))
    for x in points:
        got = stats.multivariate_normal(*condition(mean, cov, index, x[index])).logpdf(x[rest])
        whole = stats.multivariate_normal(mean, cov).logpdf(x)
        part = stats.multivariate_normal(mean[index], cov[index][:, index]).logpdf(x[index])
        assert got == pytest.approx(whole - part, rel=1e-9, abs=1e-9)


def test_condition_in_two_stages_and_in_batches():
    mean, cov = joint(6, seed=1)
    values = noise(0, 'values', 0, range(3), (3,))
    whole, left = condition(mean, cov, [5, 0, 3], values)
    for value, row in zip(values, whole):
        stage, middle = condition(mean, cov, [5], value[:1])  # then 0 and 3 of what is left: 0, 1, 2, 3, 4
        stage, middle = condition(stage, middle, [0, 3], value[1:])
        close((row, left), (stage, middle), rtol=1e-9, atol=1e-11)


def test_condition_on_nothing_on_the_unrelated_and_twice_on_the_same():
    mean, cov = joint(3)
    close(condition(mean, cov, [], torch.empty(0)), (mean, cov), rtol=0, atol=0)
    apart = torch.block_diag(cov, cov)
    close(condition(torch.cat([mean, mean]), apart, [3, 4, 5], [9.0, 9.0, 9.0]), (mean, cov), rtol=1e-12, atol=1e-12)
    copy = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).double()  # the last two coordinates are the same
    two = copy @ cov[:2, :2] @ copy.mT
    once = condition(mean[:2], cov[:2, :2], [1], [0.7])
    close(condition(copy @ mean[:2], two, [1, 2], [0.7, 0.7]), once, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('unit', [1e-12, 1.0, 1e12])
def test_symmetry_is_asked_for_to_nine_digits_in_any_unit(unit):
    cov = lambda other: [[unit, 0.5 * unit], [other * unit, unit]]
    close(condition([0.0, 0.0], cov(0.5 + 8e-10), [0], [2.0])[0], torch.tensor([1.0]).double(), rtol=2e-9, atol=0)
    with pytest.raises(ValueError, match='not symmetric'):
        condition([0.0, 0.0], cov(0.5 + 1.2e-9), [0], [2.0])


def test_condition_holds_posterior():
    m, v, alpha, sigma, x = 0.2, 1.4, 0.6, 0.5, -1.1
    cov = [[v, alpha * v], [alpha * v, alpha**2 * v + sigma**2]]
    mean, left = condition([m, alpha * m], cov, [1], [x])
    close((mean[0], left[0, 0]), posterior(x, m, v, alpha, sigma), rtol=1e-13, atol=0)


# interpolation


@fixed
@given(st.floats(0, 1))
def test_interpolation_has_unit_variance(u):
    "The map is linear, so its two weights tell the variance: their squares add to one."
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    weights = interpolate_noise(one, zero, u), interpolate_noise(zero, one, u)
    close(weights[0] ** 2 + weights[1] ** 2, one, rtol=1e-14, atol=0)
    assert weights[0] >= 0 and weights[1] >= 0


def test_interpolation_with_one_number_for_each_example():
    a, b = torch.arange(9.0).reshape(3, 3), torch.ones(3, 3)
    u = torch.tensor([0.0, 0.4, 1.0])
    close(interpolate_noise(a, b, u), torch.stack([interpolate_noise(a[i], b[i], u[i]) for i in range(3)]))


def test_interpolation_ends_and_dtype():
    a, b = noise(0, 'ends', 0, range(2), (4, 4)).float()
    close(interpolate_noise(a, b, 0.0), a, rtol=0, atol=0)
    close(interpolate_noise(a, b, 1.0), b, rtol=0, atol=1e-6)
    assert interpolate_noise(a, b, 0.3).dtype == torch.float32


# errors

BAD = [
    (lambda: gaussian_log_prob(torch.zeros(2), 0.0, -1.0), 'var holds -1, expected positive'),
    (lambda: gaussian_log_prob(torch.zeros(2), 0.0, torch.tensor([1.0, 0.0])), 'var holds 0, expected positive'),
    (lambda: gaussian_log_prob(torch.zeros(2), 0.0, float('nan')), 'expected positive'),
    (lambda: kl_gaussian(0.0, 0.0, 0.0, 1.0), 'var_p holds 0, expected positive'),
    (lambda: kl_gaussian(0.0, 1.0, 0.0, -2.0), 'var_q holds -2'),
    (lambda: kl_gaussian(0.0, 1.0, 0.0, 0.0), 'var_q holds 0'),
    (lambda: posterior(0.0, 0.0, -1.0, 1.0, 1.0), 'var holds -1'),
    (lambda: posterior(0.0, 0.0, 1.0, 0.0, 0.0), 'the variance of x holds 0'),
    (lambda: condition([0.0, 0.0], [[1.0]], [0], [1.0]), 'mean has shape (2,) and cov (1, 1)'),
    (lambda: condition([0.0, 0.0], [[1.0, 0.5], [0.4, 1.0]], [0], [1.0]), 'not symmetric'),
    (lambda: condition([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]], [2], [1.0]), 'index is [2], expected different numbers from 0 to 1'),
    (lambda: condition([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]], [0, 0], [1.0, 1.0]), 'index is [0, 0]'),
    (lambda: condition([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]], [0], [1.0, 2.0]), 'value has shape (2,), expected (1,) or (b, 1)'),
    (lambda: interpolate_noise(torch.zeros(2), torch.zeros(3), 0.5), 'b has shape (3,), expected that of a, (2,)'),
]  # fmt: skip
test_bad_input_is_refused = helpers.refuses(BAD)
