"""The bound against linear algebra, quadrature on grids, diffusers, scipy and mpmath."""

import math

import mpmath
import pytest
import torch
from helpers import SCHEDULES
from scipy import stats

from diffbook.core import generator
from diffbook.elbo import (
    ELBO,
    VARIANCES,
    TermHistory,
    beta_variance,
    binned_log_prob,
    bound_term,
    elbo_terms,
    hybrid_loss,
    learned,
    learned_log,
    learned_range,
    posterior_variance,
    step_posterior,
    variance_ends,
)
from diffbook.exact import reference_mixture
from diffbook.schedules import (
    DiscreteSchedule,
    RectifiedFlowSchedule,
    linear_betas,
    scaled_linear_betas,
    zero_terminal_betas,
)

TABLES = {n: s for n, s in SCHEDULES.items() if isinstance(s, DiscreteSchedule)}


def double(value):
    return torch.tensor(value, dtype=torch.float64)


tables = pytest.mark.parametrize('schedule', TABLES.values(), ids=TABLES)


@tables
def test_step_posterior_is_gaussian_conditioning(schedule):
    "The joint law of (x_s, x_t) given x0 is conditioned by the two-by-two rule."
    T, x0 = len(schedule.betas), 0.7
    for t in {2, 3, T // 2, T - 1, T}:
        alpha, sigma, beta = float(schedule.alpha(t - 1)), float(schedule.sigma(t - 1)), float(schedule.betas[t - 1])
        step = math.sqrt(1 - beta)
        cov = sigma**2, step * sigma**2, step**2 * sigma**2 + beta  # of x_s, both, x_t
        mean, var = step_posterior(schedule, double([1.3]), double([x0]), t)
        assert mean.item() == pytest.approx(alpha * x0 + cov[1] / cov[2] * (1.3 - step * alpha * x0), rel=1e-9)
        assert var.item() == pytest.approx(cov[0] - cov[1] ** 2 / cov[2], rel=1e-7)


@tables
def test_variances_bracket_the_truth_and_share_the_first(schedule):
    t = torch.arange(1, len(schedule.betas) + 1, dtype=torch.float64)
    small, large = posterior_variance(schedule, t), beta_variance(schedule, t)
    assert small[0] == large[0] == schedule.betas[0]
    assert (small[1:] < large[1:]).all() and (small > 0).all()


@pytest.mark.parametrize('ours, theirs', [(posterior_variance, 'fixed_small'), (beta_variance, 'fixed_large')])
def test_variances_equal_diffusers(ours, theirs):
    diffusers = pytest.importorskip('diffusers')
    scheduler = diffusers.DDPMScheduler(beta_schedule='linear', variance_type=theirs)
    scheduler.set_timesteps(1000)
    schedule = DiscreteSchedule(linear_betas())
    for index in (1, 5, 500, 999):  # they clamp index 0 away
        assert float(ours(schedule, index + 1)) == pytest.approx(float(scheduler._get_variance(index)), rel=2e-3)  # theirs subtracts in float32


@tables
def test_ends_of_a_learned_variance_are_the_two_classic_choices(schedule):
    "Where only the last step is clean, Ho et al.'s released code takes the posterior variance of the second step for the first."
    t = torch.arange(1, len(schedule.betas) + 1, dtype=torch.float64)
    small, large = variance_ends(schedule, t, t - 1)
    torch.testing.assert_close(large, schedule.betas, rtol=1e-9, atol=0)
    torch.testing.assert_close(small[1:], posterior_variance(schedule, t[1:]), rtol=1e-9, atol=0)
    assert small[0] == small[1]
    for s, t in ((0, 1), (0, 2), (3, 9)):  # any two times, from the products of 1 - beta
        keep = torch.cumprod(torch.cat([torch.ones(1).double(), 1 - schedule.betas]), 0)
        small, large = variance_ends(schedule, t, s)
        beta = lambda t, s: 1 - float(keep[t] / keep[s])
        tilde = lambda t, s: beta(t, s) * (1 - float(keep[s])) / (1 - float(keep[t]))
        assert float(large) == pytest.approx(beta(t, s), rel=1e-9)
        assert float(small) == pytest.approx(tilde(t, s) if s else tilde(2 * t, t), rel=1e-9)


def test_a_step_with_none_before_it_has_one_variance():
    for schedule, t in ((DiscreteSchedule([0.3]), 1.0), (RectifiedFlowSchedule(), 1.0)):
        small, large = variance_ends(schedule, t, 0.0)
        assert small == large > 0


V = torch.linspace(-1.3, 1.3, 24, dtype=torch.float64).reshape(2, 3, 2, 2)


@pytest.mark.parametrize('n', [1, 2, 7, 10, 30, 50, 1000])
@pytest.mark.parametrize('read', [learned_range, learned])
def test_learned_variance_is_that_of_diffusers(read, n):
    diffusers = pytest.importorskip('diffusers')
    schedule = DiscreteSchedule(linear_betas())
    theirs = diffusers.DDPMScheduler(variance_type=read.__name__)
    theirs.alphas_cumprod, theirs.one = torch.cumprod(1 - schedule.betas, 0), torch.ones(()).double()
    theirs.set_timesteps(n)
    for i in theirs.timesteps[:-1]:  # at the last they add no noise
        want = theirs._get_variance(int(i), predicted_variance=V)
        s = max(int(i) - 1000 // n, -1)
        got = read(schedule, V, i + 1, torch.tensor(s + 1))
        torch.testing.assert_close(got, want.exp() if read is learned_range else want, rtol=1e-9, atol=0)


def test_readings_of_a_variance_agree():
    schedule, t = DiscreteSchedule(linear_betas(50, 0.01, 0.3)), torch.tensor([4.0, 50.0]).double()
    small, large = (end.reshape(2, 1, 1, 1).expand_as(V) for end in variance_ends(schedule, t, t - 1))
    torch.testing.assert_close(learned_range(schedule, -torch.ones_like(V), t, t - 1), small, rtol=1e-12, atol=0)
    torch.testing.assert_close(learned_range(schedule, torch.ones_like(V), t, t - 1), large, rtol=1e-12, atol=0)
    torch.testing.assert_close(learned_range(schedule, torch.zeros_like(V), t, t - 1) ** 2, small * large, rtol=1e-12, atol=0)
    log = large.log() * (1 + V) / 2 + small.log() * (1 - V) / 2
    torch.testing.assert_close(learned_range(schedule, V, t, t - 1), learned_log(schedule, log, t, t - 1), rtol=1e-12, atol=0)


@pytest.mark.parametrize('data, corner', [(1.0, 1.0), (0.0, -1.0), (0.36, None), (9.0, None)])
def test_the_bound_is_least_at_the_known_variance(data, corner):
    "Gaussian data of variance `data`: E (x0 - estimate)^2 is known, so the best v is, and there the derivative of the bound is zero."
    schedule = DiscreteSchedule(linear_betas(100, 1e-3, 0.2))
    t = torch.arange(2, 101, dtype=torch.float64)
    error = data * schedule.sigma(t) ** 2 / (schedule.alpha(t) ** 2 * data + schedule.sigma(t) ** 2)
    small, large = variance_ends(schedule, t, t - 1)
    reach = schedule.alpha(t - 1) * large / schedule.sigma(t) ** 2
    best = 2 * torch.log((small + reach**2 * error) / small) / torch.log(large / small) - 1
    if corner is not None:
        torch.testing.assert_close(best, torch.full_like(best, corner), rtol=0, atol=1e-9)
    slopes = []
    for v in (best, best - 0.1, best + 0.1):
        v = v[:, None].clone().requires_grad_()
        x0 = torch.full_like(v, 0.3).detach()  # off by one standard deviation: the mean square is the variance
        term = bound_term(schedule, x0, 0 * x0, t, x0 + error.sqrt()[:, None], learned_range(schedule, v, t, t - 1))
        slopes.append(torch.autograd.grad(term.sum(), v)[0])
    assert slopes[0].abs().max() < 1e-12 and (slopes[1] < 0).all() and (slopes[2] > 0).all()


@pytest.mark.parametrize('decoder', [None, binned_log_prob])
@pytest.mark.parametrize('name', VARIANCES)
def test_a_told_variance_is_charged_like_a_chosen_one(name, decoder):
    schedule, x0 = DiscreteSchedule(linear_betas(12, 0.01, 0.4)), LEVELS[torch.tensor([[3, 255], [0, 128]])]
    more = {'decoder': decoder} if decoder else {}
    told = lambda x, t, s, cond: VARIANCES[name](schedule, t).expand(x.shape) if s > 0 or not decoder else variance_ends(schedule, t, s)[0]
    got, want = elbo_terms(same, schedule, x0, learned=told, **more), elbo_terms(same, schedule, x0, name, **more)
    for part in ('prior', 'transitions', 'reconstruction'):
        torch.testing.assert_close(getattr(got, part), getattr(want, part), rtol=1e-12, atol=0)


@pytest.mark.parametrize('decoder', [None, binned_log_prob])
def test_terms_one_by_one_are_those_of_the_bound(decoder):
    "Every t of a batch at once, the first step among them."
    schedule, more = DiscreteSchedule(linear_betas(6, 0.01, 0.4)), {'decoder': decoder} if decoder else {}
    t, x0 = torch.arange(1.0, 7).double(), LEVELS[torch.tensor([[3, 255, 128, 0]])].expand(6, 4)
    x, estimate, var = x0 * 0.9 + 0.05, x0 + 0.02, variance_ends(schedule, t, t - 1)[0]
    together = bound_term(schedule, x0, x, t, estimate, var, **more)
    spread = bound_term(schedule, x0, x, t, estimate, var[:, None].expand(6, 4), **more)
    alone = [bound_term(schedule, x0[i : i + 1], x[i : i + 1], t[i], estimate[i : i + 1], var[i], **more) for i in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=0)
    torch.testing.assert_close(spread, together, rtol=1e-12, atol=0)


@pytest.mark.parametrize('decoder', [None, binned_log_prob])
def test_gradients_of_a_term_are_differences(decoder):
    schedule, more = DiscreteSchedule(linear_betas(6, 0.01, 0.4)), {'decoder': decoder} if decoder else {}
    t, x0 = torch.tensor([1.0, 1.0, 2.0, 6.0]).double(), LEVELS[torch.tensor([[0, 255], [128, 7], [0, 255], [255, 9]])]
    estimate, v = (x0 + 0.05).requires_grad_(), torch.full_like(x0, -0.3).requires_grad_()
    f = lambda estimate, v: bound_term(schedule, x0, 0.8 * x0, t, estimate, learned_range(schedule, v, t, t - 1), **more)
    assert torch.autograd.gradcheck(f, (estimate, v))


@pytest.mark.parametrize('share', [0.001, 0.5])
def test_hybrid_loss_is_its_two_parts(share):
    "Each part learns its own: the estimate from the squared error of the noise alone, the variance from the bound alone."
    schedule, d = DiscreteSchedule(linear_betas(40, 0.01, 0.3)), 6
    x0, eps, off = (torch.randn(4, 3, 2, generator=generator(i, 'hybrid'), dtype=torch.float64) for i in range(3))
    t = torch.tensor([1.0, 2.0, 17.0, 40.0]).double()
    estimate, v = (x0 + 0.1 * off).requires_grad_(), (0.3 * off).requires_grad_()
    x = schedule.perturb(x0, eps, t)
    simple = lambda e: (((x - schedule.alpha(t)[:, None, None] * e) / schedule.sigma(t)[:, None, None] - eps) ** 2).mean((1, 2))
    bound = lambda e, v: bound_term(schedule, x0, x, t, e, learned_range(schedule, v, t, t - 1)) * 40 / (d * math.log(2))
    got = hybrid_loss(schedule, x0, eps, t, estimate, learned_range(schedule, v, t, t - 1), share=share)
    torch.testing.assert_close(got, simple(estimate) + share * bound(estimate, v), rtol=1e-10, atol=0)
    slopes = torch.autograd.grad(got.sum(), [estimate, v])
    torch.testing.assert_close(slopes[0], torch.autograd.grad(simple(estimate).sum(), estimate)[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slopes[1], share * torch.autograd.grad(bound(estimate, v).sum(), v)[0], rtol=1e-10, atol=1e-12)


def test_hybrid_loss_over_all_steps_is_the_whole_bound():
    "The mean over t is the sum of the terms, in bits per dimension."
    schedule, x0 = DiscreteSchedule(linear_betas(12, 0.01, 0.4)), LEVELS[torch.tensor([[3, 250, 128]])]
    each = x0.expand(12, 3)
    got = hybrid_loss(schedule, each, 0 * each, torch.arange(1.0, 13).double(), each, posterior_variance(schedule, torch.arange(1.0, 13).double()), share=1.0)
    whole = elbo_terms(lambda x, t, cond: x0, schedule, x0)  # a right estimate: the terms do not depend on the noise
    torch.testing.assert_close(got.mean() * 3 * math.log(2), (whole.total - whole.prior)[0], rtol=1e-10, atol=0)


def remembered(terms, length=10, uniform=0.001):
    history = TermHistory(len(terms), length, uniform)
    for column in torch.as_tensor(terms, dtype=torch.float64).T:
        history.remember(torch.arange(1, len(terms) + 1), column)
    return history


def test_chances_are_uniform_until_every_term_is_known():
    "Ten of each t; one that is missing keeps the draw uniform. Then the chances are the roots of the mean squares."
    history = remembered(torch.arange(1.0, 4)[:, None].expand(3, 9))
    history.remember(torch.tensor([1.0, 1.0, 3.0]), torch.tensor([1.0, 1.0, 3.0]))
    assert history.chances().tolist() == [1 / 3] * 3
    history.remember(torch.tensor([2.0]), torch.tensor([2.0]))
    torch.testing.assert_close(history.chances(), 0.999 * double([1, 2, 3]) / 6 + 0.001 / 3, rtol=1e-12, atol=0)


def test_only_the_last_terms_count():
    "A term that was large long ago is forgotten, also when one batch brings several of the same t."
    history = remembered([[9.0] * 10, [9.0] * 10], uniform=0.0)
    history.remember(torch.tensor([1.0] * 9), torch.ones(9))
    assert history.chances()[0].item() == pytest.approx(1 / (1 + 9 / math.sqrt((9 * 1 + 81) / 10)))
    history.remember(torch.tensor([1.0]), torch.ones(1))
    assert history.chances().tolist() == pytest.approx([0.1, 0.9])


@pytest.mark.parametrize('uniform', [0.0, 0.2])
def test_an_importance_draw_has_its_chances_and_keeps_the_mean(uniform):
    "Chi-square and a mean at false-alarm rates of 1e-6, with fixed seeds; times are whole and from 1 to T."
    schedule, terms = DiscreteSchedule([0.1, 0.2, 0.3, 0.4]), double([8.0, 1.0, 0.5, 3.0])
    history = remembered(terms[:, None].expand(4, 10), uniform=uniform)
    t = history.draw(schedule, 40_000, generator(0, 'importance'))
    assert t.dtype == torch.float64 and torch.equal(history.draw(schedule, 40_000, generator(0, 'importance')), t)
    counts = t.long().bincount(minlength=5)
    assert counts[0] == 0 and stats.chisquare(counts[1:].numpy(), 40_000 * history.chances().numpy()).pvalue > 1e-6
    each = 4 * history.weight(schedule, t) * terms[t.long() - 1]
    assert abs(float(each.mean() - terms.sum())) <= 5 * float(each.std()) / 200 + 1e-9
    assert uniform or each.std() < 1e-9  # terms that do not vary have no noise left


def test_terms_of_zero_leave_the_draw_uniform():
    assert remembered(torch.zeros(3, 10)).chances().tolist() == [1 / 3] * 3


@pytest.mark.bad_input
@pytest.mark.parametrize(
    'call, words',
    [
        (lambda h: h.remember(torch.tensor([1.0, 2.0]), torch.tensor([1.0, math.nan])), 'terms holds nan, expected finite numbers'),
        (lambda h: h.draw(DiscreteSchedule([0.5]), 3, generator(0, 'x')), 'the schedule has 1 steps, expected 4, as remembered'),
    ],
)
def test_a_history_refuses_what_is_not_its_own(call, words):
    with pytest.raises(ValueError, match=words):
        call(TermHistory(4))


def test_first_term_of_levels_is_the_published_one():
    """Ho et al. 2020, section 4.3: a distortion of 1.97 bits at an error of 0.95 levels (root of the mean square).

    To two decimals, and whatever the law of the error; the first beta as variance would give 2.08."""
    schedule, levels = DiscreteSchedule(linear_betas()), LEVELS[torch.randint(5, 251, (4, 40_000), generator=generator(0, 'levels'))]
    draw = torch.randn(levels.shape, generator=generator(1, 'levels'), dtype=torch.float64)
    for off in (draw, draw.sign(), draw * draw.abs()):
        estimate = levels + off / off.square().mean().sqrt() * 0.95 / 127.5
        for name in VARIANCES:
            got = bound_term(schedule, levels, levels, 1, estimate, variance_ends(schedule, 1, 0)[0], decoder=binned_log_prob).mean() / (40_000 * math.log(2))
            assert float(got) == pytest.approx(1.97, abs=0.011)
            short = elbo_terms(lambda x, t, cond: estimate, DiscreteSchedule(schedule.betas[:2]), levels, name, decoder=binned_log_prob)
            assert float(short.reconstruction.mean()) / (40_000 * math.log(2)) == pytest.approx(float(got), rel=1e-12)


def test_a_variance_of_ones_own_is_taken_at_its_word_for_levels_too():
    levels, schedule = LEVELS[None, ::5], DiscreteSchedule([0.01, 0.2])
    got = elbo_terms(lambda x, t, cond: levels, schedule, levels, lambda schedule, t: double(0.09), decoder=binned_log_prob)
    want = -binned_log_prob(levels, levels, double(0.09)).sum(1)
    torch.testing.assert_close(got.reconstruction, want, rtol=1e-12, atol=0)


def grid_chain():
    "A short chain on a mixture with an imperfect denoiser, on a grid fine enough for exact sums."
    schedule, mixture = DiscreteSchedule([0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6]), reference_mixture()
    ideal = mixture.denoise(schedule)

    def denoise(x, t, cond):
        return 0.9 * ideal(x, t) + 0.1 * torch.sin(3 * x)

    return schedule, denoise, torch.linspace(-8, 8, 1601, dtype=torch.float64)[:, None]


def normal(x, mean, var):
    return torch.exp(-((x - mean) ** 2) / (2 * var)) / torch.sqrt(2 * math.pi * torch.as_tensor(var, dtype=torch.float64))


@pytest.mark.parametrize('name', VARIANCES)
def test_bound_holds_at_every_point_and_is_estimated_without_bias(name):
    "-log p(x0) and L(x0) by sums over a grid; the estimate agrees within six standard errors (false alarm below 1e-8)."
    schedule, denoise, grid = grid_chain()
    variance, h, T = VARIANCES[name], float(grid[1, 0] - grid[0, 0]), len(schedule.betas)
    means = {t: step_posterior(schedule, grid, denoise(grid, torch.tensor(float(t)), None), t)[0][:, 0] for t in range(1, T + 1)}
    density = normal(grid[:, 0], 0.0, 1.0)
    for t in range(T, 0, -1):
        density = h * normal(grid, means[t], variance(schedule, t)) @ density
    for x0 in (-1.8, -0.9, 0.3, 1.6):
        nll = -math.log(density[(grid[:, 0] - x0).abs().argmin()])
        prior = (
            h
            * (
                normal(grid[:, 0], schedule.alpha(T) * x0, schedule.sigma(T) ** 2)
                * (torch.log(normal(grid[:, 0], schedule.alpha(T) * x0, schedule.sigma(T) ** 2)) - torch.log(normal(grid[:, 0], 0.0, 1.0)))
            ).sum()
        )
        rows = [float(prior)]
        for t in range(1, T + 1):
            at = h * normal(grid[:, 0], schedule.alpha(t) * x0, schedule.sigma(t) ** 2)
            s_t = variance(schedule, t)
            if t == 1:
                decoder = float((at * ((x0 - means[1]) ** 2 / (2 * s_t) + torch.log(2 * math.pi * s_t) / 2)).sum())
                continue
            mean_q, var_q = step_posterior(schedule, grid, torch.full_like(grid, x0), t)
            kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean_q[:, 0], var_q.sqrt()), torch.distributions.Normal(means[t], s_t.sqrt()))
            rows.append(float((at * kl).sum()))
        rows = torch.tensor([*rows, decoder], dtype=torch.float64)
        assert rows.sum() > nll
        got = elbo_terms(denoise, schedule, torch.full((4000, 1), x0, dtype=torch.float64), name, generator(0, name))
        each = torch.cat([got.prior[:, None], got.transitions, got.reconstruction[:, None]], 1)
        assert ((each.mean(0) - rows).abs() <= 6 * each.std(0) / 4000**0.5 + 1e-6).all()


@tables
def test_a_known_x0_costs_nothing_on_the_way(schedule):
    "With one data point and its denoiser the posterior variance is right: every transition is zero."
    if len(schedule.betas) > 100:
        schedule = DiscreteSchedule(schedule.betas[-40:])
    x0 = torch.full((3, 2), 0.4, dtype=torch.float64)
    got = elbo_terms(lambda x, t, cond: torch.full_like(x, 0.4), schedule, x0)
    torch.testing.assert_close(got.transitions, torch.zeros_like(got.transitions), rtol=0, atol=1e-12)
    assert got.transitions.shape == (3, len(schedule.betas) - 1)
    torch.testing.assert_close(got.reconstruction, torch.full((3,), math.log(2 * math.pi * float(schedule.betas[0]))).double())


@pytest.mark.parametrize('betas, want', [(linear_betas(), 2.0e-5), (scaled_linear_betas(), 2.3e-3), (linear_betas(250), 4.2e-2)])
def test_prior_term_of_unit_data(betas, want):
    one_step = DiscreteSchedule([1 - float(torch.prod(1 - betas))])  # the same end in one stride
    got = elbo_terms(lambda x, t, cond: x, one_step, torch.ones(1, 1, dtype=torch.float64)).prior.item()
    assert float(f'{got:.1e}') == want


def test_terms_do_not_depend_on_shape_or_dtype():
    schedule = DiscreteSchedule(linear_betas(20, 0.01, 0.3))
    x0 = torch.randn(4, 12, generator=generator(0, 'shape'), dtype=torch.float64)
    denoise = lambda x, t, cond: torch.tanh(x)
    flat, shaped = elbo_terms(denoise, schedule, x0), elbo_terms(denoise, schedule, x0.reshape(4, 3, 2, 2))
    torch.testing.assert_close(flat.total, shaped.total, rtol=1e-12, atol=0)
    assert flat.dims == shaped.dims == 12
    single = elbo_terms(denoise, schedule, x0.float())
    assert single.total.dtype == torch.float64
    torch.testing.assert_close(single.total, flat.total, rtol=1e-4, atol=0)


def test_one_step_has_no_transitions():
    got = elbo_terms(lambda x, t, cond: 0 * x, DiscreteSchedule([0.5]), torch.ones(2, 3))
    assert got.transitions.shape == (2, 0)
    torch.testing.assert_close(got.total, got.prior + got.reconstruction)


def test_parts_add_up_to_bits():
    got = ELBO(torch.tensor([1.0]), torch.tensor([[2.0, 3.0]]), torch.tensor([-0.5]), dims=11)
    assert got.total.item() == 5.5
    assert got.bits_per_dim.item() == pytest.approx(0.5 / math.log(2), rel=1e-6)


def test_zero_terminal_signal_is_finite():
    schedule = DiscreteSchedule(zero_terminal_betas(scaled_linear_betas(50)))
    got = elbo_terms(lambda x, t, cond: 0 * x, schedule, torch.ones(2, 3).double(), 'beta')
    assert got.prior.abs().max() < 1e-12 and torch.isfinite(got.total).all()


LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


@pytest.mark.parametrize('mean', [-1.2, -1.0, -0.3, 0.0, 0.77, 1.0, 3.0])
@pytest.mark.parametrize('std', [1e-3, 0.01, 0.3, 5.0])
def test_levels_share_all_probability(mean, std):
    logs = binned_log_prob(LEVELS, double(mean), double(std**2))
    assert logs.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert torch.isfinite(logs).all() and (logs <= 0).all()


@pytest.mark.parametrize('level, mean, std', [(0, 0.9, 0.01), (255, -0.9, 0.02), (255, 0.99, 0.01), (128, 0.5, 0.004), (17, -0.8, 0.5), (100, 0.9, 0.02)])
def test_levels_against_fifty_digits(level, mean, std):
    with mpmath.workdps(50):
        x, d = mpmath.mpf(level) * 2 / 255 - 1, mpmath.mpf(1) / 255
        ends = [(x + sign * d - mpmath.mpf(mean)) / mpmath.mpf(std) for sign in (-1, 1)]
        ends = [-mpmath.inf if level == 0 else ends[0], mpmath.inf if level == 255 else ends[1]]
        if sum(ends) < 0:
            ends = [-ends[1], -ends[0]]
        above = lambda z: mpmath.mpf(0) if z == mpmath.inf else mpmath.erfc(z / mpmath.sqrt(2)) / 2
        want = float(mpmath.log(above(ends[0]) - above(ends[1])))
    got = binned_log_prob(LEVELS[level : level + 1], double(mean), double(std**2)).item()
    assert got == pytest.approx(want, rel=1e-10)


def test_pixels_in_single_precision_are_levels():
    pixels = torch.arange(256, dtype=torch.uint8).float() / 127.5 - 1
    got = binned_log_prob(pixels, torch.tensor(0.1), torch.tensor(0.02))
    torch.testing.assert_close(got.double(), binned_log_prob(LEVELS, torch.tensor(0.1), torch.tensor(0.02)), rtol=1e-3, atol=1e-4)


def test_a_sure_and_right_model_of_pixels_costs_nothing():
    image = LEVELS[torch.randint(256, (2, 30), generator=generator(0, 'pixels'))]
    schedule = DiscreteSchedule([1e-7, 0.5, 0.9])
    got = elbo_terms(lambda x, t, cond: image, schedule, image, decoder=binned_log_prob)
    torch.testing.assert_close(got.reconstruction, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-9)


def same(x, t, cond):
    return x


@pytest.mark.parametrize(
    'arguments, words',
    [
        ((same, RectifiedFlowSchedule(), torch.ones(2, 3)), 'schedule is a RectifiedFlowSchedule, expected a DiscreteSchedule'),
        ((same, DiscreteSchedule([0.5]), torch.ones(2, 3), 'learned'), "variance is 'learned', expected one of posterior, beta"),
        ((same, DiscreteSchedule([0.5]), torch.ones(2, 3, dtype=torch.uint8)), 'x0 is torch.uint8'),
        ((same, DiscreteSchedule([0.5]), torch.tensor(1.0)), 'expected a batch'),
        ((same, DiscreteSchedule([0.5]), torch.ones(0, 3)), 'expected a batch'),
        ((same, DiscreteSchedule([0.5]), torch.tensor([[1.0, math.nan]])), 'finite'),
        ((lambda x, t, cond: x[:, :1], DiscreteSchedule([0.5]), torch.ones(2, 3)), r'denoise gave shape \(2, 1\)'),
    ],
)
@pytest.mark.bad_input
def test_errors_name_the_value(arguments, words):
    with pytest.raises(ValueError, match=words):
        elbo_terms(*arguments)


@pytest.mark.parametrize('bad', [0.5, 1.2, -1.5])
def test_binned_decoder_refuses_what_is_no_level(bad):
    with pytest.raises(ValueError, match=f'x holds {bad:g}, expected 8-bit levels'):
        binned_log_prob(torch.tensor([1.0, bad]), torch.tensor(0.0), torch.tensor(1.0))
