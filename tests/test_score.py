"""The score: losses against closed forms and each other, Langevin's steps against exact means and variances, one time for each example."""

import itertools
import math
from functools import partial

import pytest
import torch
from helpers import SCHEDULES, inner_times, refuses
from torch.testing import assert_close

from diffbook.conform import PLANE, Told, moments, row_moments
from diffbook.core import Cond, Noise, noise, seeded_noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.guidance import langevin as corrected
from diffbook.losses import Denoiser, diffusion_loss
from diffbook.predictions import predict_eps, predict_score
from diffbook.samplers import sample, uniform_times
from diffbook.schedules import CosineSchedule, KarrasSchedule
from diffbook.score import annealed_langevin, expectation, implicit_loss, langevin, score_at, sliced_loss, spectral_gap

LAW, PLAIN, COSINE = reference_mixture(), KarrasSchedule(), CosineSchedule()
THREE = GaussianMixture(
    [0.5, 0.3, 0.2], [[-1, 0.5], [1, 0.8], [0.3, -1.2]], [[[0.24, 0.11], [0.11, 0.11]], [[0.126, -0.089], [-0.089, 0.094]], [[0.4, 0], [0, 0.04]]]
)
LAWS = {'bell': PLANE, 'mixture': THREE, 'line': LAW}


def bell(variance):
    return GaussianMixture([1.0], [[0.3]], [[[variance]]])


@pytest.mark.parametrize('law', LAWS)
@pytest.mark.parametrize('name', SCHEDULES)
def test_a_denoiser_gives_the_score_of_its_time(name, law):
    schedule, law = SCHEDULES[name], LAWS[law]
    for t in inner_times(schedule, 3, 0.1):
        noisy = law.at(schedule, t)
        x = noisy.sample(20).requires_grad_()
        (want,) = torch.autograd.grad(noisy.log_prob(x).sum(), x)  # no score, no posterior
        assert_close(score_at(schedule, law.denoise(schedule), t)(x), want, rtol=1e-7, atol=1e-7)


def test_each_example_has_the_score_of_its_own_time():
    t, x = inner_times(COSINE, 5), noise(0, 'x', 0, range(5), (2,))
    together = score_at(COSINE, THREE.denoise(COSINE), t)(x)
    assert_close(together, torch.cat([score_at(COSINE, THREE.denoise(COSINE), s)(y[None]) for s, y in zip(t, x, strict=True)]))


@pytest.mark.parametrize(('f', 'want'), [
    (lambda x: torch.ones(len(x)).double(), 1.0), (lambda x: x[:, 0], -0.12), (lambda x: torch.cos(3 * x)[:, 0], None), (lambda x: (x[:, 0] > 0).double(), None),
], ids=('one', 'mean', 'wave', 'jump'))  # fmt: skip
def test_a_mean_by_quadrature(f, want):
    w, m, v = LAW.weights, LAW.means[:, 0], LAW.covs[:, 0, 0]
    if want is None:  # in closed form: of the wave, and of the step, whose jump the nodes see to one in a thousand
        wave = (w * torch.cos(3 * m) * torch.exp(-4.5 * v)).sum().item()
        want = wave if f(torch.zeros(1, 1).double()) == 1 else (w * torch.special.ndtr(m / v.sqrt())).sum().item()
    assert expectation(LAW, f).item() == pytest.approx(want, abs=1e-12 if f(torch.tensor([[1e-9], [-1e-9]]).double()).diff().abs() < 0.5 else 2e-3)


def test_the_loss_of_the_true_score_is_minus_half_the_information():
    "Of a Gaussian the information is the inverse of the variance; of the mixture it is known to seven digits from an integral by mpmath."
    for variance in (0.2, 1.0, 3.0):
        got = expectation(bell(variance), lambda x, v=variance: implicit_loss(bell(v).score, x).detach())
        assert got.item() == pytest.approx(-1 / (2 * variance), rel=1e-12)
    assert expectation(LAW, lambda x: implicit_loss(LAW.score, x).detach()).item() == pytest.approx(-3.792017, abs=1e-6)


def test_the_divergence_is_the_trace_of_the_jacobian():
    "Of linear arrows it is the sum of the diagonal, not of all entries; the gradient in A is x (A x + b)^T + 1."
    A, b = noise(0, 'A', 0, [0], (3, 3))[0].requires_grad_(), noise(0, 'b', 0, [0], (3,))[0]
    x = noise(0, 'x', 0, range(7), (3,))
    loss, s = implicit_loss(lambda x: x @ A.T + b, x), x @ A.T + b
    assert_close(loss, s.square().sum(1) / 2 + A.trace())
    (got,) = torch.autograd.grad(loss.mean(), A)
    assert_close(got, torch.einsum('ni,nj->nij', s, x).mean(0) + torch.eye(3).double())


@pytest.mark.parametrize('d', (1, 2, 3))
def test_over_all_signs_the_sliced_loss_is_the_implicit_one(d):
    A, x = noise(0, 'A', 0, [0], (d, d))[0], noise(1, 'x', 0, range(9), (d,))
    arrows = lambda x: torch.sin(x @ A.T) + x.roll(1, 1) ** 2
    signs = torch.tensor([*itertools.product((-1.0, 1.0), repeat=d)]).double()
    each = torch.stack([sliced_loss(arrows, x, v.expand_as(x)) for v in signs])
    assert_close(each.mean(0), implicit_loss(arrows, x), rtol=1e-12, atol=1e-12)
    if d > 1:
        assert each.std(0).min() > 1e-3  # one direction alone does not tell


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_noise_loss_is_score_matching_with_the_weight_sigma_squared(name):
    schedule = SCHEDULES[name]
    t = inner_times(schedule, 9)
    x0, eps = THREE.sample(9), noise(0, 'eps', 0, range(9), (2,))

    class Arrows(torch.nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x, level, cond=None):
            return self.factor * torch.sin(2 * x)

    sigma = schedule.sigma(t)[:, None]
    if float(schedule.alpha(schedule.t_max)) > 0:  # else no denoiser may predict either
        score, eps_ = (diffusion_loss(Denoiser(Arrows(f), schedule, p), x0, t, eps) for f, p in ((1, predict_score), (-sigma, predict_eps)))
        assert_close(sigma[:, 0] ** 2 * score, eps_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('sigma', (0.1, 0.3, 1.0, 3.0, 10.0))
def test_the_floor_is_what_the_information_leaves(sigma):
    noisy = LAW.at(PLAIN, sigma)
    information = expectation(noisy, lambda x: noisy.score(x).square()[:, 0]).item()
    assert 1 - sigma**2 * information == pytest.approx(LAW.loss_floor(PLAIN, sigma, predict_eps), abs=1e-9)


@pytest.mark.parametrize('law', ('bell', 'mixture'))
def test_a_step_keeps_means_to_second_order_in_its_length(law):
    "With the shaking drawn as plus and minus sqrt(d) along each axis, whose first three moments are those of noise: no luck. Data: 4,000 in pairs, paired over lengths."
    law = LAWS[law]
    x = law.sample(4000)
    g = lambda x: torch.sin(x).sum(1) + (x[:, 0] * x[:, 1])
    bracket = (law.score(x) * torch.autograd.functional.vjp(lambda y: g(y).sum(), x)[1]).sum(1) - torch.sin(x).sum(1)
    errors = []
    for h in (2e-3, 1e-3):
        kicks = [s * math.sqrt(2) * axis for axis in torch.eye(2).double() for s in (1, -1)]
        after = torch.stack([g(next(langevin(law.score, x, h, 1, noise=lambda x, k, z=z: z.expand_as(x)))) for z in kicks]).mean(0)
        errors.append(((after - g(x)) / h - bracket).mean().abs().item())
    assert 1.8 < errors[0] / errors[1] < 2.2


@pytest.mark.parametrize(('variance', 'h'), [(1.0, 0.1), (0.25, 0.3), (2.0, 0.01), (0.5, 0.9)])
def test_the_variance_at_rest_on_a_gaussian(variance, h):
    "s^2 / (1 - h / (2 s^2)), and on the way as the recursion says: every number drawn is told apart, so nothing is left to luck."
    steps = 12
    told = Told()
    run = lambda x: [*langevin(lambda x: -x / variance, x, h, steps, noise=told)][-1]
    run(torch.zeros(1, 1).double())
    x = torch.zeros(2 + len(told.drawn), 1).double()
    x[1] = 1.0
    assert len(told.drawn) == steps  # each step asks for noise of its own
    (mean,), ((got,),) = row_moments(run(x))
    rest, kept = variance / (1 - h / (2 * variance)), (1 - h / variance) ** (2 * steps)
    assert mean == 0 and got.item() == pytest.approx(kept * 1.0 + (1 - kept) * rest, rel=1e-9)


def test_langevin_yields_every_state_and_leaves_its_start():
    x = noise(0, 'x', 0, range(4), (2,))
    before, states = x.clone(), [*langevin(THREE.score, x, 0.01, 7)]
    assert len(states) == 7 and torch.equal(x, before) and len({s.sum().item() for s in states}) == 7
    assert not [*langevin(THREE.score, x, 0.01, 0)]
    alone = [*langevin(THREE.score, x[2:3], 0.01, 7, noise=Noise(start=2))]
    assert_close(alone[-1], states[-1][2:3])
    assert next(langevin(lambda x: -x.float(), x.float(), 0.01, 1)).dtype == torch.float32


def test_no_graph_grows_along_the_chain():
    net = torch.nn.Linear(2, 2).double()
    *_, x = langevin(net, noise(0, 'x', 0, range(4), (2,)), 0.01, 3)
    assert not x.requires_grad


def test_each_example_may_have_a_step_of_its_own():
    x, sizes = noise(0, 'x', 0, range(3), (2,)), torch.tensor([0.01, 0.02, 0.0]).double()
    *_, got = langevin(THREE.score, x, sizes, 5)
    for i, h in enumerate(sizes):
        *_, one = langevin(THREE.score, x[i : i + 1], h, 5, noise=Noise(start=i))
        assert_close(got[i : i + 1], one)
    assert torch.equal(got[2], x[2])


@pytest.mark.parametrize('size', (0.1, 0.2))
@pytest.mark.parametrize('schedule', (PLAIN, COSINE), ids=('karras', 'cosine'))
def test_walkers_of_every_level_have_the_variance_of_the_recursion(schedule, size):
    variance, v = 0.3, 0.7
    law = bell(variance)
    times = torch.tensor([0.9, 0.6, 0.3, 0.1]).double()
    mean, ((got,),) = moments(
        partial(annealed_langevin, steps=9, size=size), law.denoise(schedule), schedule, times, torch.zeros(1).double(), v * torch.eye(1).double()
    )
    for t in times[1:]:
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        for _ in range(9):
            v = (1 - size * sigma**2 / (alpha**2 * variance + sigma**2)) ** 2 * v + 2 * size * sigma**2
    assert got.item() == pytest.approx(v, rel=1e-10)


def test_the_published_chain_of_ten_levels():
    "Song and Ermon 2019, algorithm 1, line by line in their letters, with the same noise."
    sigmas, eps, T = torch.logspace(0, -2, 10, dtype=torch.float64), 2e-5, 7
    x = start = noise(0, 'x', 0, range(6), (2,))
    for sigma in sigmas:
        a = eps * sigma**2 / sigmas[-1] ** 2
        for i in range(T):
            x = x + a / 2 * THREE.at(PLAIN, sigma).score(x) + torch.sqrt(a) * seeded_noise(0).fork(str(i))(x, sigma)
    times = torch.cat([torch.tensor([2.0]).double(), sigmas])
    *_, got = sample(THREE.denoise(PLAIN), PLAIN, start, times, partial(annealed_langevin, steps=T, size=eps / 2 / sigmas[-1].item() ** 2))
    assert_close(got, x, rtol=1e-9, atol=1e-9)


def test_where_no_noise_is_left_it_denoises_once_more():
    x = noise(0, 'x', 0, range(4), (2,))
    t, s = torch.tensor(0.3).double(), torch.tensor(0.0).double()
    assert torch.equal(annealed_langevin(PLAIN, THREE.denoise(PLAIN), x, t, s), THREE.denoise(PLAIN)(x, t))
    one = GaussianMixture([1.0], [[0.4, -1.3]], torch.zeros(1, 2, 2))
    *_, x0 = sample(one.denoise(PLAIN), PLAIN, x, torch.tensor([2.0, 1.0, 0.0]).double(), annealed_langevin)
    assert_close(x0, torch.tensor([[0.4, -1.3]]).double().expand(4, 2))


def test_each_example_may_have_times_of_its_own():
    x = noise(0, 'x', 0, range(3), (2,))
    t, s = torch.tensor([0.9, 0.5, 0.2]).double(), torch.tensor([0.5, 0.2, 0.0]).double()
    got = annealed_langevin(COSINE, THREE.denoise(COSINE), x, t, s, steps=4)
    for i in range(3):
        one = annealed_langevin(COSINE, THREE.denoise(COSINE), x[i : i + 1], t[i], s[i], steps=4, noise=Noise(start=i))
        assert_close(got[i : i + 1], one)


def test_one_step_at_one_level_is_that_of_the_corrector():
    "Of the chapter on guidance, behind a solver that stays where it is."
    x, t, s = noise(0, 'x', 0, range(5), (2,)), torch.tensor(0.6).double(), torch.tensor(0.4).double()
    stay = lambda schedule, denoise, x, t, s, cond=None: x
    z = noise(3, 'z', 0, range(5), (2,))

    class Always(Noise):
        def __call__(self, x, t):
            return z

        def fork(self, word):
            return self

    want = corrected(stay, 1, 0.2, Always())(COSINE, THREE.denoise(COSINE), x, t, s)
    assert_close(annealed_langevin(COSINE, THREE.denoise(COSINE), x, t, s, steps=1, size=0.2, noise=Always()), want)


def test_cond_reaches_the_denoiser():
    seen, told = [], Cond()
    listen = lambda x, t, cond=None: seen.append(cond) or 0 * x
    x = noise(0, 'x', 0, range(2), (2,))
    for s in (0.2, 0.0):
        annealed_langevin(PLAIN, listen, x, torch.tensor(0.5).double(), torch.tensor(s).double(), told, steps=2)
    assert len(seen) == 3 and all(cond is told for cond in seen)


@pytest.mark.parametrize('variance', (0.1, 1.0, 7.0))
def test_the_gap_of_a_gaussian_is_the_inverse_of_its_variance(variance):
    assert spectral_gap(bell(variance)).item() * variance == pytest.approx(1.0, rel=1e-3)


def test_the_gap_bounds_every_function_and_falls_with_the_distance():
    "min E|g'|^2 / Var g, so each function gives an upper bound; of two bumps at +-m the gap falls about as exp(-m^2 / 2)."
    gaps = []
    for m in (2.0, 3.0, 4.0):
        law = GaussianMixture([0.5, 0.5], [[-m], [m]], [[[1.0]], [[1.0]]])
        gaps.append(spectral_gap(law).item())
        for slope in (0.5, 1.0, m):
            g = lambda x, k=slope: torch.tanh(k * x)[:, 0]
            rise = expectation(law, lambda x, k=slope: (k / torch.cosh(k * x) ** 2).square()[:, 0])
            assert gaps[-1] <= (rise / (expectation(law, lambda x: g(x) ** 2) - expectation(law, g) ** 2)).item() * (1 + 1e-3)
    assert all(math.log(a / b) == pytest.approx((n * n - m * m) / 2, rel=0.2) for (m, a), (n, b) in itertools.pairwise(zip((2, 3, 4), gaps, strict=True)))


def test_walkers_settle_on_the_mixture():
    "20,000 walkers from the law itself, 40 steps of .002: the mean, the square and a share keep their values within 5 standard errors: about one false alarm in 600,000."
    x = LAW.sample(20_000)
    *_, y = langevin(LAW.score, x, 0.002, 40)
    for f in (lambda x: x, lambda x: x**2, lambda x: (x > 0).double()):
        want = expectation(LAW, f)[0]
        assert abs(f(y).mean() - want) < 5 * f(y).std() / 20_000**0.5 + 4e-3  # what steps of .002 do to a variance of .0625: .0627


def test_ends_of_a_walk_from_noise():
    *_, x = sample(THREE.denoise(COSINE), COSINE, noise(0, 'x', 0, range(20), (2,)), uniform_times(COSINE, 5), partial(annealed_langevin, steps=10))
    assert x.shape == (20, 2) and torch.isfinite(x).all()


test_bad_input = refuses({
    'steps': (lambda: next(langevin(LAW.score, torch.zeros(2, 1), 0.1, -1)), 'steps is -1'),
    'size': (lambda: next(langevin(LAW.score, torch.zeros(2, 1), -0.1, 1)), 'size holds -0.1'),
    'directions': (lambda: sliced_loss(LAW.score, torch.zeros(2, 1).double(), torch.zeros(1).double()), 'v has shape (1,)'),
    'mean in the plane': (lambda: expectation(THREE, lambda x: x), 'the law has 2 dimensions'),
    'gap in the plane': (lambda: spectral_gap(THREE), 'the law has 2 dimensions'),
})  # fmt: skip
