"""Log-likelihoods: those of the oracle on every schedule, one sample at a time, Hutchinson's law without luck, levels and bits."""

import itertools
import math
from functools import partial

import pytest
import torch
from helpers import SCHEDULES, needs_data, refuses
from torch.testing import assert_close

from diffbook.core import Cond, Rows, make_generator, match_dims, noise
from diffbook.data import from_model, load_data, to_model
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.gaussian import gaussian_log_prob
from diffbook.ledger import read_measured
from diffbook.likelihood import bits_per_dim, carry, dequantise, draw_signs, exact_trace, log_likelihood, probe_trace
from diffbook.schedules import CosineSchedule, DiscreteSchedule, ExponentialSchedule, KarrasSchedule, LinearBetaSchedule, RectifiedFlowSchedule
from diffbook.training import load

COSINE, LINE = CosineSchedule(), reference_mixture()
TILTED = GaussianMixture([0.4, 0.6], [[-1.0, 0.5], [0.8, -0.2]], [[[0.3, 0.1], [0.1, 0.2]], [[0.4, -0.25], [-0.25, 0.5]]])
LAWS = {'line': LINE, 'tilted': TILTED}


def first(schedule):
    return 1.0 if isinstance(schedule, DiscreteSchedule) else schedule.t_min


def clean(law, schedule, t):
    "The law of x_t / alpha: of the data and the noise that stands on it at `t`."
    r = float(schedule.sigma(t) / schedule.alpha(t))
    return GaussianMixture(law.weights, law.means, law.covs + r**2 * torch.eye(law.d).double())


@pytest.mark.parametrize('law', LAWS)
@pytest.mark.parametrize('name', SCHEDULES)
def test_it_is_the_density_of_the_oracle(name, law):
    "From the end that the law really has."
    schedule, law = SCHEDULES[name], LAWS[law]
    x = law.sample(12, make_generator(0, name))
    got = log_likelihood(law.denoise(schedule), schedule, x, rtol=1e-6, end=law.at(schedule, schedule.t_max).log_prob)
    bends = isinstance(getattr(schedule, 'base', schedule), DiscreteSchedule)  # a table, at each of its times
    assert_close(got, clean(law, schedule, first(schedule)).log_prob(x), rtol=0, atol=3e-4 if bends else 2e-5)


@pytest.mark.parametrize('schedule', (COSINE, RectifiedFlowSchedule()), ids=lambda s: type(s).__name__)
def test_eight_digits_where_the_schedule_ends_in_noise(schedule):
    q = (torch.arange(64).double() + 0.5) / 64
    x = LINE.flow(COSINE, torch.special.ndtri(q)[:, None], 1.0, 0.0)
    got = log_likelihood(LINE.denoise(schedule), schedule, x, rtol=1e-9)
    assert_close(got, LINE.log_prob(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize('schedule', (LinearBetaSchedule(), ExponentialSchedule(), KarrasSchedule()), ids=lambda s: type(s).__name__)
def test_from_pure_noise_it_is_the_density_of_what_is_drawn(schedule):
    "The sampler starts from N(0, sigma^2), which x_T is not quite. By the map of quantiles, without a divergence."
    x = LINE.sample(12, make_generator(1, 'drawn'))
    start, last = clean(LINE, schedule, schedule.t_min), LINE.at(schedule, schedule.t_max)
    end = LINE.flow(schedule, schedule.alpha(schedule.t_min) * x, schedule.t_min, schedule.t_max)
    away = gaussian_log_prob(end, 0.0, schedule.sigma(schedule.t_max) ** 2)[:, 0] - last.log_prob(end)
    got = log_likelihood(LINE.denoise(schedule), schedule, x, rtol=1e-7)
    assert_close(got, start.log_prob(x) + away, rtol=0, atol=2e-6)
    assert (got - start.log_prob(x)).abs().max() > 1e-5


def test_a_sample_does_not_depend_on_its_batch():
    "A neighbour far out needs short steps; the others take theirs."
    x = torch.cat([LINE.sample(6, make_generator(0, 'batch')), torch.tensor([[40.0]]).double()])
    ask = lambda x: log_likelihood(LINE.denoise(COSINE), COSINE, x, rtol=1e-3)
    together = ask(x)
    for i in range(7):
        assert_close(ask(x[i : i + 1])[0], together[i], rtol=1e-12, atol=1e-12)
    assert_close(ask(x.flip(0)), together.flip(0), rtol=1e-12, atol=1e-12)


def test_pictures_and_rows_are_the_same():
    law = GaussianMixture([1.0], [[0.1, 0.2, 0.3, 0.4]], [(torch.eye(4) + 0.5).tolist()])
    x = law.sample(3, make_generator(0, 'pictures'))
    got = log_likelihood(law.denoise(COSINE), COSINE, x.reshape(3, 1, 2, 2), rtol=1e-7)
    assert_close(got, law.log_prob(x), rtol=0, atol=1e-6)
    single = log_likelihood(law.denoise(COSINE), COSINE, x.float())
    assert single.dtype == torch.float64 and not single.requires_grad
    assert_close(single, law.log_prob(x), rtol=0, atol=1e-3)


def test_the_condition_reaches_the_denoiser_and_each_sample_its_own():
    "Two Gaussians, told apart by the condition."
    means, x = torch.tensor([[-1.0], [2.0]]).double(), torch.tensor([[0.3], [0.3]]).double()

    def denoise(x, t, cond):
        alpha, sigma = (match_dims(f(t), x) for f in (COSINE.alpha, COSINE.sigma))
        return cond.vec + alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * (x - alpha * cond.vec)

    got = log_likelihood(denoise, COSINE, x, Cond(vec=means), rtol=1e-8)
    assert_close(got, gaussian_log_prob(x, means, 0.25)[:, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize('start', (0.05, 0.4))
def test_from_a_later_start_it_is_the_density_of_data_with_noise(start):
    got = log_likelihood(LINE.denoise(COSINE), COSINE, x := LINE.sample(5, make_generator(0, 'start')), rtol=1e-7, start=start)
    assert_close(got, clean(LINE, COSINE, start).log_prob(x), rtol=0, atol=1e-6)


def matrix(d, seed):
    return torch.randn(d, d, generator=make_generator(seed, 'matrix'), dtype=torch.float64)


@pytest.mark.parametrize('d', (1, 2, 5))
def test_all_signs_together_give_the_trace_and_the_variance(d):
    "No luck: every vector of signs once. The matrix is not symmetric; only its symmetric part is seen."
    A, signs = matrix(d, d), torch.tensor(list(itertools.product((-1.0, 1.0), repeat=d))).double()
    x = torch.zeros(len(signs), d, dtype=torch.float64, requires_grad=True)
    one = probe_trace(x @ A.T, x, signs)
    assert_close(one, torch.einsum('bi,ij,bj->b', signs, A, signs), rtol=1e-12, atol=1e-12)
    assert_close(one.mean(), torch.trace(A), rtol=1e-12, atol=1e-12)
    assert_close(exact_trace(x @ A.T, x), torch.trace(A).expand(len(signs)), rtol=1e-12, atol=1e-12)
    both = (A + A.T)[~torch.eye(d).bool()]
    assert_close(one.var(correction=0), both.square().sum() / 2, rtol=1e-12, atol=1e-12)


def test_the_trace_is_of_each_example_and_of_every_shape():
    x = noise(0, 'x', 0, range(3), (2, 2)).requires_grad_()
    v = x**3 + x.flip(1)
    assert_close(exact_trace(v, x), 3 * x.square().sum((1, 2)), rtol=1e-12, atol=0)


PAIR = GaussianMixture([1.0], [[0.0, 0.0]], [[[1.0, 0.8], [0.8, 1.0]]])
HALF_LOG = 0.25 * math.log(1.8 / 0.2)  # off the diagonal of log(cov) / 2


def test_one_direction_kept_along_the_path_has_two_answers():
    "On a Gaussian of unit end, all that flows is e M e with M = -log(cov) / 2: off by -2 M_12 or +2 M_12, as the signs agree or not."
    x = torch.tensor([[0.3, -0.5]]).double().expand(16, 2)
    ask = lambda seed: log_likelihood(PAIR.denoise(COSINE), COSINE, x, rtol=1e-7, divergence='hutchinson', generator=make_generator(seed, 'signs'))
    off = ask(0) - PAIR.log_prob(x)
    assert_close(off.abs(), torch.full((16,), 2 * HALF_LOG).double(), rtol=0, atol=1e-5)
    signs = draw_signs(16, x, make_generator(0, 'signs'))
    assert_close(off.sign(), -signs.prod(1), rtol=0, atol=0)
    assert off.sign().abs().sum() == 16 and (off > 0).any() and (off < 0).any()
    assert torch.equal(ask(0), ask(0)) and not torch.equal(ask(0), ask(1))


def test_a_new_direction_at_each_call_would_be_seen():
    "It averages, and the two answers of one direction are gone."
    x = torch.tensor([[0.3, -0.5]]).double().expand(8, 2)
    off = log_likelihood(PAIR.denoise(COSINE), COSINE, x, rtol=1e-3, divergence='hutchinson') - PAIR.log_prob(x)
    assert_close(off.abs(), torch.full((8,), 2 * HALF_LOG).double(), rtol=0, atol=0.02)


def test_all_directions_together_give_the_exact_likelihood():
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=2))).double()
    x = torch.tensor([[1.1, -0.7]]).double().expand(4, 2)
    _, spread = carry(TILTED.denoise(COSINE), COSINE, x, None, partial(probe_trace, probe=signs), 1e-9, 0.0)
    _, exact = carry(TILTED.denoise(COSINE), COSINE, x[:1], None, exact_trace, 1e-9, 0.0)
    assert_close(spread.mean(), exact[0], rtol=0, atol=1e-7)
    assert spread.std() > 0.1


def test_parts_of_a_batch_draw_as_the_whole():
    x = PAIR.sample(6, make_generator(0, 'parts'))
    ask = lambda x, g: log_likelihood(PAIR.denoise(COSINE), COSINE, x, divergence='hutchinson', generator=g)
    whole = ask(x, make_generator(3, 'signs'))
    parts = [ask(x[i : i + 2], Rows(make_generator(3, 'signs'), i, 6)) for i in (0, 2, 4)]
    assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)


def test_signs_are_signs():
    "Of a thousand the mean is within five standard errors of zero (a false alarm in two million)."
    signs = draw_signs(1000, torch.zeros(1, 4), make_generator(0, 'signs'))
    assert set(signs.unique().tolist()) == {-1.0, 1.0} and signs.mean().abs() < 5 / 4000**0.5


def test_levels_are_spread_over_their_bins():
    "Uniform by the mean and variance of 51,200 draws, within five standard errors; each comes back to its level."
    images = torch.arange(256, dtype=torch.uint8).repeat(200).reshape(200, 1, 16, 16)
    x = dequantise(images)
    assert x.dtype == torch.float32 and torch.equal(from_model(x), images)
    u = (x.double() - to_model(images).double()) * 127.5
    assert u.abs().max() <= 0.5 + 1e-4
    assert abs(u.mean()) < 5 * (1 / 12 / 51_200) ** 0.5 and u.var() == pytest.approx(1 / 12, abs=5 * (1 / 180 / 51_200) ** 0.5)
    parts = [dequantise(images[i : i + 100], Rows(make_generator(0, 'dequantise'), i, 200)) for i in (0, 100)]
    assert torch.equal(torch.cat(parts), x)


@pytest.mark.parametrize('span, width', [(2 + 2 / 255, 2 / 255), (2.0, 2 / 256)], ids=['levels at 2k/255 - 1', '(k + u)/128 - 1'])
def test_who_knows_nothing_needs_eight_bits(span, width):
    "A density that is the same over all 256 bins, in 3 dimensions."
    assert_close(bits_per_dim(torch.tensor([-3 * math.log(span)], dtype=torch.float64), 3, width), torch.tensor([8.0]).double(), rtol=1e-12, atol=0)
    half = torch.tensor([-3 * math.log(span / 2)], dtype=torch.float64)  # twice the density: one bit less for each number
    assert_close(bits_per_dim(half, 3, width), torch.tensor([7.0]).double(), rtol=1e-12, atol=0)


def test_the_default_width_is_that_of_our_levels():
    assert float(bits_per_dim(torch.zeros(1).double(), 7)) == pytest.approx(math.log2(127.5), rel=1e-12)


def test_the_measured_garments_are_those_of_the_command():
    "Two pictures anew, alone, with the draws that they had among 32."
    folder, report = needs_data('FashionMNIST'), read_measured('likelihood')
    model, images = load('fashion-mnist').requires_grad_(False), load_data('fashion-mnist', 'test', folder.parent).images
    images = images[torch.randperm(len(images), generator=make_generator(0, 'likelihood'))[:2]]
    part = lambda purpose: Rows(make_generator(0, purpose), 0, 32)
    x = dequantise(images, part('dequantise'))
    got = bits_per_dim(log_likelihood(model, model.schedule, x, rtol=1e-3, divergence='hutchinson', generator=part('likelihood')), 784)
    assert_close(got, torch.tensor(report['bits']['flow, ten times the tolerance'][:2]).double(), rtol=0, atol=2e-3)
    assert report['n'] == len(report['labels']) == len(report['bits']['flow']) and len(report['shown']['pixels']) == 10


def without_gradient(x, t, cond):
    with torch.no_grad():
        return 0.5 * x


X = torch.zeros(2, 1).double()
half = lambda x, t, cond=None: 0.5 * x
test_errors_name_what_came = refuses(
    {
        'swapped': (lambda: log_likelihood(COSINE, half, X), 'expected a Schedule: the order is log_likelihood'),
        'one number': (lambda: log_likelihood(half, COSINE, torch.zeros(2)), r'x is torch.float32 of shape \(2,\)'),
        'bytes': (lambda: log_likelihood(half, COSINE, torch.zeros(2, 1, dtype=torch.uint8)), 'x is torch.uint8'),
        'nothing': (lambda: log_likelihood(half, COSINE, torch.zeros(0, 1)), 'expected a batch'),
        'not finite': (lambda: log_likelihood(half, COSINE, X / 0), 'finite'),
        'a coarse tolerance': (lambda: log_likelihood(half, COSINE, X, rtol=0.5), 'rtol is 0.5, expected a number from 1e-12 to 0.1'),
        'a word': (lambda: log_likelihood(half, COSINE, X, divergence='hutch'), "divergence is 'hutch', expected one of exact, hutchinson"),
        'a start at the end': (lambda: log_likelihood(half, COSINE, X, start=1.0), 'start is 1.0, expected a number from 0 to'),
        'no gradient': (lambda: log_likelihood(without_gradient, COSINE, X), 'denoise answered without a gradient'),
        'nan': (lambda: log_likelihood(lambda x, t, cond: x * math.nan, COSINE, X), 'the steps shrink to nothing: denoise answers with nan'),
        'too fine': (lambda: log_likelihood(LINE.denoise(COSINE), COSINE, X.float() + 1, rtol=1e-12), 'is finer than its numbers'),
        'levels': (lambda: dequantise(torch.zeros(1, 2)), 'images are torch.float32, expected uint8'),
        'no dimensions': (lambda: bits_per_dim(torch.zeros(1), 0), 'dims is 0, expected a positive whole number'),
        'no width': (lambda: bits_per_dim(torch.zeros(1), 1, 0.0), 'width is 0.0, expected a positive number'),
    }
)
