"""diffbook.markov against linear algebra on whole chains, quadrature and identities. Random only where it says so."""

import math

import helpers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.core import noise
from diffbook.gaussian import condition, gaussian_log_prob, kl_gaussian, posterior
from diffbook.markov import Kernel, forward_kernel, jump, transition_matrix

close = torch.testing.assert_close
fixed = settings(derandomize=True, max_examples=100, deadline=None)
gains, variances, offsets = st.floats(-1.5, 1.5), st.floats(0.05, 3), st.floats(-2, 2)
kernels = st.builds(Kernel, gains, variances, offsets)


def double(value):
    return torch.tensor(value, dtype=torch.float64)


def parts(kernel):
    return kernel.gain, kernel.var, kernel.offset


def chain(start, steps):
    "Mean and covariance of (x_0, ..., x_n), from x = A eps + b with A built row by row: no kernel algebra in it."
    mean, var = start
    rows, center = [[math.sqrt(var)] + [0.0] * len(steps)], [mean]
    for i, step in enumerate(steps):
        row = [float(step.gain) * v for v in rows[-1]]
        row[i + 1] = math.sqrt(float(step.var))
        rows.append(row)
        center.append(float(step.gain) * center[-1] + float(step.offset))
    root = torch.tensor(rows, dtype=torch.float64)
    return torch.tensor(center, dtype=torch.float64), root @ root.mT


@fixed
@given(kernels, kernels, kernels)
def test_composition_is_associative_and_has_a_unit(a, b, c):
    close(parts(a.then(b).then(c)), parts(a.then(b.then(c))), rtol=1e-12, atol=1e-12)
    unit = Kernel(1.0, 0.0)
    close(parts(unit.then(a)), parts(a), rtol=0, atol=0)
    close(parts(a.then(unit)), parts(a), rtol=0, atol=0)


@fixed
@given(kernels, kernels, offsets, variances)
def test_marginal_of_a_composition_is_the_end_of_the_chain(a, b, mean, var):
    center, cov = chain((mean, var), [a, b])
    close(a.then(b).marginal(mean, var), (center[2], cov[2, 2]), rtol=1e-11, atol=1e-11)


@fixed
@given(kernels, offsets, variances, offsets)
def test_reverse_is_conditioning(step, mean, var, seen):
    center, cov = chain((mean, var), [step])
    want, left = condition(center, cov, [1], [seen])
    close(step.reverse(mean, var).marginal(seen, 0.0), (want[0], left[0, 0]), rtol=1e-9, atol=1e-9)


@fixed
@given(kernels, offsets, variances)
def test_forward_then_back_gives_the_law_again(step, mean, var):
    back = step.reverse(mean, var)
    close(back.marginal(*step.marginal(mean, var)), (double(mean), double(var)), rtol=1e-10, atol=1e-10)


@fixed
@given(kernels.filter(lambda k: abs(float(k.gain)) > 0.1), offsets, variances)
def test_reverse_of_the_reverse_is_the_step(step, mean, var):
    again = step.reverse(mean, var).reverse(*step.marginal(mean, var))
    close(parts(again), parts(step), rtol=1e-7, atol=1e-7)


def test_reverse_agrees_with_the_noisy_pixel():
    got = Kernel(0.8, 0.36).reverse(0.3, 0.5).marginal(1.5, 0.0)
    close(got, posterior(1.5, 0.3, 0.5, 0.8, 0.6), rtol=1e-13, atol=0)


@pytest.mark.parametrize('t', [1, 2, 7])
def test_posterior_of_a_step_within_a_chain(t):
    "q(x_{t-1} | x_t, x_0) from the covariance of the whole chain, by linear algebra."
    betas = torch.tensor([0.02, 0.1, 0.05, 0.3, 0.2, 0.01, 0.4], dtype=torch.float64)[:t]
    center, cov = chain((0.2, 1.7), [forward_kernel(b) for b in betas])
    back = forward_kernel(betas[-1]).reverse(*jump(betas[:-1]).marginal(0.9, 0.0))
    if t == 1:  # one step before the end is the start, which is known
        close(back.marginal(-0.4, 0.0), (double(0.9), double(0.0)), rtol=1e-14, atol=0)
    else:
        kept = [0, t - 1, t]
        want, left = condition(center[kept], cov[kept][:, kept], [0, 2], [0.9, -0.4])
        close(back.marginal(-0.4, 0.0), (want[0], left[0, 0]), rtol=1e-9, atol=0)


def test_reverse_variance_lies_between_its_two_ends():
    "A known start gives the posterior variance, data that are already noise give beta (Sohl-Dickstein et al. 2015)."
    step, before = forward_kernel(0.1), jump(torch.full((5,), 0.05, dtype=torch.float64))
    known, normal = step.reverse(*before.marginal(0.0, 0.0)), step.reverse(*before.marginal(0.0, 1.0))
    alpha_bar = 0.95**5
    close(known.var, double(0.1 * (1 - alpha_bar) / (1 - alpha_bar * 0.9)), rtol=1e-13, atol=0)
    close(parts(normal), parts(step), rtol=1e-13, atol=1e-15)  # detailed balance
    for var in (0.01, 0.2, 0.9):
        assert known.var < step.reverse(*before.marginal(0.0, var)).var < normal.var


@fixed
@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=12))
def test_jump_is_the_product_and_keeps_unit_variance(betas):
    betas = torch.tensor(betas, dtype=torch.float64)
    kernel = Kernel(1.0, 0.0)
    for beta in betas:
        kernel = kernel.then(forward_kernel(beta))
    close(parts(jump(betas)), parts(kernel), rtol=1e-12, atol=1e-15)
    close(jump(betas).marginal(0.0, 1.0)[1], double(1.0), rtol=1e-14, atol=0)


def test_jump_keeps_its_digits_where_there_is_little_noise():
    "With betas of 1e-12 the variance is their sum; 1 - (1 - 1e-12)**3 has lost four digits."
    close(jump(torch.full((3,), 1e-12, dtype=torch.float64)).var, double(3e-12), rtol=1e-11, atol=0)


def test_jump_over_nothing_and_to_nothing():
    close(parts(jump(torch.empty(0))), parts(Kernel(1.0, 0.0)), rtol=0, atol=0)
    end = jump(torch.tensor([0.1, 1.0]))
    close((end.gain, end.var), (double(0.0), double(1.0)), rtol=0, atol=0)


def test_transition_matrix_is_a_chain():
    grid = torch.linspace(-8, 8, 401, dtype=torch.float64)
    kernel = Kernel(0.6, 0.3, 0.5)
    table = transition_matrix(kernel, grid)
    law = torch.softmax(gaussian_log_prob(grid, -0.7, 0.4), 0)
    after = law @ table
    mean = (after * grid).sum()
    close(after.sum(), double(1.0), rtol=1e-12, atol=0)
    close((mean, (after * (grid - mean) ** 2).sum()), kernel.marginal(-0.7, 0.4), rtol=1e-10, atol=0)


@fixed
@given(offsets, variances, st.floats(0.01, 0.99))
def test_gaussian_data_obey_the_rate(mean, var, beta):
    "KL to noise falls at least by the squared gain, at every step (the bound of the chapter, without quadrature)."
    step = forward_kernel(beta)
    before, after = kl_gaussian(mean, var, 0.0, 1.0), kl_gaussian(*step.marginal(mean, var), 0.0, 1.0)
    assert after <= step.gain**2 * before + 1e-12


def test_sample_follows_log_prob():
    "400,000 draws against the density's mean and variance: five and a half standard errors, false alarm below 1e-6."
    kernel, n = Kernel(0.7, 0.3, -0.2), 400_000
    drawn = kernel.sample(torch.full((n,), 1.5).double(), noise(0, 'markov', 0, range(n)))
    grid = torch.linspace(-6, 8, 2001, dtype=torch.float64)
    p = kernel.log_prob(grid, double(1.5)).exp()
    mean = torch.trapezoid(p * grid, grid)
    var = torch.trapezoid(p * (grid - mean) ** 2, grid)
    assert abs(drawn.mean() - mean) < 5.5 * math.sqrt(var / n)
    assert abs(drawn.var() - var) < 5.5 * var * math.sqrt(2 / n)


def test_sample_keeps_the_dtype_and_broadcasts():
    x = noise(0, 'x', 0, range(2), (3, 4)).float()
    kernel = Kernel(torch.tensor([[[0.5]], [[0.9]]]), torch.tensor([[[0.75]], [[0.19]]]))
    got = kernel.sample(x, torch.zeros_like(x))
    assert got.dtype == torch.float32
    close(got, torch.stack([0.5 * x[0], 0.9 * x[1]]), rtol=1e-6, atol=0)


BAD = [
    (lambda: Kernel(1.0, -0.1), 'var holds -0.1, expected finite numbers from 0 up'),
    (lambda: Kernel(float('nan'), 1.0), 'gain holds nan, expected finite numbers'),
    (lambda: Kernel(torch.tensor([1.0, float('inf')]), 1.0), 'gain holds inf'),
    (lambda: Kernel(1.0, 1.0, float('inf')), 'offset holds inf'),
    (lambda: forward_kernel(1.5), 'beta holds 1.5, expected numbers from 0 to 1'),
    (lambda: forward_kernel(-0.1), 'beta holds -0.1'),
    (lambda: forward_kernel(float('nan')), 'beta holds nan'),
    (lambda: jump(torch.tensor([[0.1]])), 'betas has shape (1, 1), expected (n,)'),
    (lambda: jump(torch.tensor([0.1, 2.0])), 'betas holds 2, expected numbers from 0 to 1'),
    (lambda: Kernel(1.0, 0.0).reverse(0.0, 0.0), 'the variance after the step holds 0'),
    (lambda: Kernel(1.0, 1.0).reverse(0.0, -1.0), 'var holds -1'),
    (lambda: transition_matrix(Kernel(torch.ones(2), 1.0), torch.linspace(-1, 1, 5)), 'kernel has shape (2,) and grid (5,)'),
    (lambda: transition_matrix(Kernel(1.0, 1.0), torch.zeros(1)), 'grid (1,), expected () and (n,)'),
]  # fmt: skip
test_bad_input_is_refused = helpers.refuses(BAD)
