"""Losses and weights against the bound, the oracle, diffusers and scipy; every schedule, every prediction."""

import math
from functools import partial

import helpers
import pytest
import torch
from helpers import PREDICTIONS, SCHEDULES, inner_times
from scipy import stats
from torch import nn

from diffbook import training
from diffbook.core import Cond, as_time, build, describe, generator, noise
from diffbook.elbo import (
    beta_variance,
    elbo_terms,
    learned,
    learned_log,
    learned_range,
    posterior_variance,
)
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.losses import (
    Denoiser,
    clipped_snr,
    diffusion_loss,
    elbo_weight,
    log_normal_draw,
    logit_normal_draw,
    min_snr,
    plain_weight,
    quarter_log_noise,
    scaled_time,
    stratified_draw,
    table_index,
    training_loss,
    uniform_draw,
    unit_input,
    vdm_weight,
    weight_for,
)
from diffbook.nets.unet import UNet
from diffbook.predictions import (
    predict_edm,
    predict_eps,
    predict_score,
    predict_v,
    predict_velocity,
    predict_x0,
    target,
)
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    KarrasSchedule,
    LinearBetaSchedule,
    RectifiedFlowSchedule,
    ShiftedSchedule,
    linear_betas,
)

every = pytest.mark.parametrize('prediction', PREDICTIONS.values(), ids=PREDICTIONS)
everywhere = pytest.mark.parametrize('schedule', SCHEDULES.values(), ids=SCHEDULES)
DARK = {n: s for n, s in SCHEDULES.items() if float(s.alpha(s.t_max)) == 0}
TABLE = DiscreteSchedule(linear_betas())
SHORT = DiscreteSchedule(linear_betas(10, 0.01, 0.4))


class Ideal(nn.Module):
    "The network that a perfect training would end with: it is told t and answers E[y | x_t]."

    def __init__(self, law, schedule, prediction):
        super().__init__()
        self.law, self.schedule, self.prediction = law, schedule, prediction

    def forward(self, x, level, cond=None):
        t = self.t.expand(len(x))  # the level is single precision; the exact time is handed over
        x0 = self.law.denoise(self.schedule)(x, t)
        return target(self.prediction, self.schedule, x0, self.schedule.eps(x, x0, t), t)


def ideal(law, schedule, prediction, t):
    net = Ideal(law, schedule, prediction)
    net.t = t
    return Denoiser(net, schedule, prediction, noise_input=lambda schedule, t: t)


@every
@everywhere
def test_a_perfect_network_makes_the_perfect_denoiser(schedule, prediction):
    if schedule in DARK.values() and prediction in (predict_eps, predict_score):
        return
    law, t = reference_mixture(), inner_times(schedule, 5)
    x = noise(0, 'perfect', 0, range(5), (1,)) * (schedule.alpha(t) + schedule.sigma(t))[:, None]
    want = law.denoise(schedule)(x, t)
    got = ideal(law, schedule, prediction, t)(x, t)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('name', DARK)
def test_what_cannot_start_a_sampler_is_refused_when_made(name):
    for prediction in (predict_eps, predict_score):
        with pytest.raises(ValueError, match=f'at t = {DARK[name].t_max:g} this prediction says nothing of x0'):
            Denoiser(nn.Identity(), DARK[name], prediction)
    for prediction in (predict_x0, predict_v, predict_edm(0.5)):
        Denoiser(nn.Identity(), DARK[name], prediction)


def test_an_end_that_single_precision_cannot_hold_is_no_obstacle():
    schedule = CosineSchedule()
    schedule.t_max = 0.999
    Denoiser(nn.Identity(), schedule, predict_eps)


class Doubled(nn.Module):
    "Two channels for each: a prediction, and after all of them the number that a variance is read from."

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, level, cond=None):
        return torch.cat([self.net(x, level, cond), torch.tanh(x)], 1)


@pytest.mark.parametrize('read', [learned, learned_log, learned_range])
@pytest.mark.parametrize('shape', [(4,), (3, 2, 2)])
def test_a_learned_variance_leaves_the_seam_as_it_is(read, shape):
    x, x0, eps = (noise(0, word, 0, range(2), shape) for word in ('x', 'x0', 'eps'))
    t, s = torch.tensor([5.0, 900.0]).double(), torch.tensor([4.0, 300.0]).double()
    plain = Denoiser(Recorder(), TABLE, predict_v)
    told = Denoiser(Doubled(Recorder()), TABLE, predict_v, variance=read)
    torch.testing.assert_close(told(x, t), plain(x, t), rtol=0, atol=0)
    torch.testing.assert_close(told.raw(x, t), plain.raw(x, t), rtol=0, atol=0)
    torch.testing.assert_close(diffusion_loss(told, x0, t, eps), diffusion_loss(plain, x0, t, eps), rtol=0, atol=0)
    estimate, variance = told.both(x, t, s)
    torch.testing.assert_close(estimate, plain(x, t), rtol=0, atol=0)
    torch.testing.assert_close(variance, read(TABLE, torch.tanh(x), t, s), rtol=0, atol=0)
    torch.testing.assert_close(told.step_variance(x, t, s), variance, rtol=0, atol=0)


def test_a_learned_variance_is_saved_and_loaded(tmp_path):
    net = UNet(1, 2, (8, 16), heads=(0, 0, 0))
    told = Denoiser(net, CosineSchedule(), predict_v, variance=learned_range)
    nn.init.normal_(list(net.parameters())[-1])
    training.save(tmp_path, told)
    again, x = training.load(tmp_path), torch.ones(2, 1, 8, 8)
    for got, want in zip(again.both(x, 0.5, 0.4), told.eval().both(x, 0.5, 0.4)):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_a_description_from_before_variances_were_learned_still_builds():
    config = describe(Denoiser(UNet(1, None, (8, 16), heads=(0, 0, 0)), CosineSchedule(), predict_v))
    assert config.pop('variance') is None
    assert build(config).variance is None


@every
@everywhere
def test_a_plain_loss_is_its_own_weight(schedule, prediction):
    t = inner_times(schedule)
    torch.testing.assert_close(weight_for(prediction, plain_weight(prediction))(schedule, t), torch.ones_like(t), rtol=1e-9, atol=0)


@everywhere
def test_plain_weights_are_the_known_ones(schedule):
    t = inner_times(schedule)
    snr = (schedule.alpha(t) / schedule.sigma(t)) ** 2
    torch.testing.assert_close(plain_weight(predict_eps)(schedule, t), snr, rtol=1e-9, atol=0)
    torch.testing.assert_close(plain_weight(predict_x0)(schedule, t), torch.ones_like(t), rtol=1e-9, atol=0)
    square = schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2
    torch.testing.assert_close(plain_weight(predict_v)(schedule, t), square**2 / schedule.sigma(t) ** 2, rtol=1e-9, atol=0)


@pytest.mark.parametrize('variance', [posterior_variance, beta_variance])
def test_elbo_weight_is_what_the_bound_charges(variance):
    "One data point, a denoiser that is wrong by a constant: the bound rises by weight times squared error, to rounding."
    schedule, off, d = DiscreteSchedule(linear_betas(30, 1e-3, 0.4)), 0.3, 5
    x0 = torch.full((2, d), 0.4, dtype=torch.float64)
    right, wrong = (elbo_terms(lambda x, t, cond: torch.full_like(x, 0.4 + e), schedule, x0, variance) for e in (0.0, off))  # noqa: B023
    weight = elbo_weight(schedule, torch.arange(1.0, 31).double(), variance)
    torch.testing.assert_close((wrong.transitions - right.transitions)[0], weight[1:] * d * off**2, rtol=1e-9, atol=1e-12)
    # the first step is a density: its squared error has a cross term only where the right mean is not x0
    torch.testing.assert_close((wrong.reconstruction - right.reconstruction)[0], weight[0] * d * off**2, rtol=1e-9, atol=0)


def test_bound_in_continuous_time_is_the_limit_of_fine_tables():
    smooth, T = LinearBetaSchedule(), 20_000
    alpha_bar = smooth.alpha(torch.linspace(0, 1, T + 1, dtype=torch.float64)) ** 2
    fine = DiscreteSchedule(1 - alpha_bar[1:] / alpha_bar[:-1])
    u = torch.tensor([0.1, 0.3, 0.5, 0.8, 1.0], dtype=torch.float64)
    for variance in (posterior_variance, beta_variance):
        torch.testing.assert_close(T * elbo_weight(fine, T * u, variance), vdm_weight(smooth, u), rtol=3e-3, atol=0)


def test_a_change_of_clock_changes_the_weight_by_its_speed():
    base = RectifiedFlowSchedule()
    shifted, t = ShiftedSchedule(base, 3.0), torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    time, speed = shifted.clock(t)
    torch.testing.assert_close(vdm_weight(shifted, t), vdm_weight(base, time) * speed, rtol=1e-10, atol=0)


def test_min_snr_equals_the_formulas_of_diffusers():
    diffusers = pytest.importorskip('diffusers')
    index = torch.tensor([0, 5, 100, 300, 600, 999])
    alpha_bar = diffusers.DDPMScheduler(beta_schedule='linear').alphas_cumprod[index].double()
    snr = alpha_bar / (1 - alpha_bar)  # as in its training scripts
    capped = snr.clamp(max=5.0)
    for prediction, want in ((predict_eps, capped / snr), (predict_v, capped / (snr + 1)), (predict_x0, capped)):
        torch.testing.assert_close(weight_for(prediction, min_snr)(TABLE, index + 1.0), want, rtol=2e-3, atol=0)  # float32 table


def test_clipped_snr_is_the_larger_error_below_its_cap():
    "Salimans and Ho: max(||x0 error||^2, ||noise error||^2), as long as neither is capped."
    t = torch.arange(0.01, 1.0, 0.01, dtype=torch.float64)
    schedule = CosineSchedule()
    noise_error = (schedule.alpha(t) / schedule.sigma(t)) ** 2  # of an x0 that is off by one
    torch.testing.assert_close(clipped_snr(schedule, t, high=1e9), noise_error.clamp(min=1))
    torch.testing.assert_close(clipped_snr(schedule, t, low=1e-9, high=5.0), min_snr(schedule, t))


def test_edm_weight():
    sigma = torch.logspace(-2, 1.9, 30, dtype=torch.float64)
    want = (sigma**2 + 0.49) / (0.7 * sigma) ** 2
    torch.testing.assert_close(plain_weight(predict_edm(0.7))(KarrasSchedule(), sigma), want, rtol=1e-12, atol=0)


WEIGHTS = {'min-snr': min_snr, 'vdm': vdm_weight} | {f'plain-{n}': plain_weight(p) for n, p in PREDICTIONS.items()}


@every
@pytest.mark.parametrize('weight', WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize('name', DARK)
def test_without_signal_a_weight_is_finite_or_refused_by_name(name, weight, prediction):
    end = torch.tensor(DARK[name].t_max, dtype=torch.float64)
    try:
        value = weight_for(prediction, weight)(DARK[name], end)
    except ValueError as error:
        assert f'at t = {end:g}' in str(error)
        assert prediction in (predict_eps, predict_score) or DARK[name] is SCHEDULES['zero-terminal']
    else:
        assert torch.isfinite(value) and value >= 0


def test_weights_at_the_dark_end_are_limits():
    "A plain noise loss gives a v network the weight alpha^2 there: zero, not nan."
    schedule, end = CosineSchedule(), torch.tensor([1.0 - 1e-9, 1.0], dtype=torch.float64)
    torch.testing.assert_close(weight_for(predict_v, plain_weight(predict_eps))(schedule, end), schedule.alpha(end) ** 2, rtol=1e-6, atol=0)


@every
def test_loss_of_a_perfect_network_is_the_floor(prediction):
    "Six standard errors: a false alarm in 5e8 runs, and the seed is fixed."
    law, schedule, n = reference_mixture(), TABLE, 20_000
    for i, time in enumerate((5.0, 200.0, 700.0)):
        t = torch.full((n,), time, dtype=torch.float64)
        eps = torch.randn(n, 1, generator=generator(0, 'floor', i), dtype=torch.float64)
        loss = diffusion_loss(ideal(law, schedule, prediction, t[:1]), law.sample(n, generator(1, 'floor', i)), t, eps)
        assert abs(loss.mean() - law.loss_floor(schedule, time, prediction)) < 6 * loss.std() / n**0.5


def test_no_network_is_below_the_floor():
    law, t = GaussianMixture([1.0], [[0.0]], [[[1.0]]]), torch.full((50_000,), 300.0, dtype=torch.float64)
    g = generator(0, 'below')
    x0, eps = law.sample(len(t), g), torch.randn(len(t), 1, generator=g, dtype=torch.float64)
    floor = law.loss_floor(TABLE, 300.0, predict_eps)
    best = float(TABLE.sigma(300.0))  # for unit Gaussian data the ideal noise is sigma x
    for factor in (best - 0.2, best, best + 0.1):
        net = nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(net.weight, factor)
        denoiser = Denoiser(type('Scale', (nn.Module,), {'forward': lambda self, x, level, cond: net(x)})(), TABLE)  # noqa: B023
        loss = diffusion_loss(denoiser, x0, t, eps).mean().item()
        assert loss == pytest.approx(floor + (factor - best) ** 2, abs=0.03)
        assert loss > floor - 0.02


class Recorder(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x, level, cond=None):
        self.seen = x, level, cond
        return self.gain.to(x.dtype) * x


def test_the_network_sees_scaled_input_level_and_condition():
    net, cond = Recorder(), Cond(vec=torch.ones(3, 2))
    denoiser = Denoiser(net, KarrasSchedule(), predict_edm(0.5), noise_input=quarter_log_noise, input_scale=unit_input(0.5))
    x, t = torch.ones(3, 4), torch.tensor([0.1, 1.0, 10.0])
    denoiser(x, t, cond)
    torch.testing.assert_close(net.seen[0], (x.T / torch.sqrt(t**2 + 0.25)).T)
    torch.testing.assert_close(net.seen[1], torch.log(t) / 4)
    assert net.seen[2] is cond and net.seen[1].dtype == torch.float32
    denoiser(x, torch.tensor(1.0), cond)
    assert net.seen[1].shape == (3,)


class Unwell(nn.Module):
    "Says nothing that is a number, or leaves what it hears unchecked."

    def __init__(self, answer):
        super().__init__()
        self.answer, self.heard = answer, []

    def forward(self, x, level, cond=None):
        self.heard.append(level)
        return self.answer * x * level.reshape(-1, *[1] * (x.ndim - 1))


@every
@everywhere
def test_at_no_noise_a_denoiser_answers_with_its_input(schedule, prediction):
    "There x is alpha x0: the answer is x / alpha to the last digit for each example that has arrived, whatever the network says."
    if float(schedule.sigma(schedule.t_min)) > 0 or (schedule in DARK.values() and prediction in (predict_eps, predict_score)):
        return
    x, t = noise(0, 'arrived', 0, range(3), (2, 2)), torch.stack([as_time(schedule.t_min), *inner_times(schedule, 2)])
    for answer, level in ((1.0, quarter_log_noise), (1.0, scaled_time), (float('nan'), quarter_log_noise)):
        net = Unwell(answer)
        denoiser = Denoiser(net, schedule, prediction, noise_input=level)
        assert torch.equal(denoiser(x, as_time(schedule.t_min)), x / schedule.alpha(schedule.t_min))
        mixed = denoiser(x, t)
        assert torch.equal(mixed[0], x[0] / schedule.alpha(schedule.t_min))
        assert all(torch.isfinite(heard).all() for heard in net.heard), 'no level is endless'
        if answer == 1.0:
            torch.testing.assert_close(mixed[1:], denoiser(x[1:], t[1:]), rtol=0, atol=0)


def test_the_gradient_at_no_noise_is_zero_and_not_nan():
    "Consistency training asks at both ends of a step; the clean end teaches the network nothing."
    net = nn.Linear(2, 2).double()
    wrapped = type('Wrapped', (nn.Module,), {'forward': lambda self, x, level, cond: net(x * level[:, None])})()
    x = torch.ones(2, 2, dtype=torch.float64)
    Denoiser(wrapped, KarrasSchedule(), predict_edm(0.5), noise_input=quarter_log_noise)(x, torch.tensor([0.0, 0.0]).double()).sum().backward()
    assert torch.equal(net.weight.grad, torch.zeros(2, 2).double())


def test_loss_is_a_mean_over_the_numbers_of_an_example():
    denoiser = Denoiser(Recorder(), TABLE, predict_v)
    x0, eps = noise(0, 'mean', 0, range(4), (2, 1, 3)).unbind(1)
    t = torch.tensor([1.0, 10, 500, 1000])
    wide = [v.repeat(1, 5, 2) for v in (x0, eps)]
    torch.testing.assert_close(diffusion_loss(denoiser, wide[0], t, wide[1]), diffusion_loss(denoiser, x0, t, eps))
    want = ((TABLE.perturb(x0, eps, t) - target(predict_v, TABLE, x0, eps, t)) ** 2).sum((1, 2)) / 3
    torch.testing.assert_close(diffusion_loss(denoiser, x0, t, eps), want)


def test_half_precision_is_averaged_in_single():
    denoiser = Denoiser(Recorder(), RectifiedFlowSchedule(), predict_velocity)
    x0, eps = noise(0, 'half', 0, range(4), (2, 9)).unbind(1)
    t = torch.tensor([0.1, 0.4, 0.6, 0.9])
    exact = diffusion_loss(denoiser, x0, t, eps)
    assert exact.dtype == torch.float64
    half = diffusion_loss(denoiser, x0.bfloat16(), t, eps.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=0.05, atol=0.02)


def test_training_loss_draws_its_times_then_its_noise():
    denoiser, x0, cond = Denoiser(Recorder(), TABLE, predict_v), noise(0, 'x0', 0, range(5), (2, 3)), Cond(vec=torch.ones(5, 1))
    got = training_loss(denoiser, x0, generator(1, 'draws'), cond, draw=uniform_draw, weight=min_snr)
    assert denoiser.net.seen[2] is cond
    g = generator(1, 'draws')
    t = uniform_draw(TABLE, 5, g)
    eps = torch.randn(x0.shape, generator=g, dtype=x0.dtype)
    assert torch.equal(got, diffusion_loss(denoiser, x0, t, eps, cond, min_snr))


def test_weight_multiplies_each_example():
    denoiser = Denoiser(Recorder(), TABLE, predict_v)
    x0, eps = noise(0, 'weight', 0, range(4), (2, 3)).unbind(1)
    t = torch.tensor([1.0, 10, 500, 1000])
    plain = diffusion_loss(denoiser, x0, t, eps)
    weight = weight_for(predict_v, partial(min_snr, gamma=2.0))
    torch.testing.assert_close(diffusion_loss(denoiser, x0, t, eps, weight=weight), plain * weight(TABLE, t))
    diffusion_loss(denoiser, x0, t, eps, weight=weight).sum().backward()
    assert denoiser.net.gain.grad is not None


@everywhere
def test_scaled_time_runs_from_0_to_1000(schedule):
    "Also where time does not begin at zero."
    later = CosineSchedule()
    later.t_min, later.t_max = 0.25, 0.75
    torch.testing.assert_close(scaled_time(later, torch.tensor([0.25, 0.5, 0.75])), torch.tensor([0.0, 500.0, 1000.0]).double())
    ends = torch.tensor([schedule.t_min, schedule.t_max], dtype=torch.float64)
    torch.testing.assert_close(scaled_time(schedule, ends), torch.tensor([0.0, 1000.0]).double())


@everywhere
def test_level_of_edm_is_a_quarter_of_log_noise(schedule):
    t = inner_times(schedule)
    torch.testing.assert_close(quarter_log_noise(schedule, t), torch.log(schedule.sigma(t) / schedule.alpha(t)) / 4, rtol=1e-9, atol=1e-12)


def test_table_index_is_the_step_of_diffusers():
    "Their step i holds alphas_cumprod[i]; ours at t = i + 1."
    diffusers = pytest.importorskip('diffusers')
    theirs = diffusers.DDPMScheduler(beta_schedule='linear').alphas_cumprod
    t = torch.tensor([1.0, 2.0, 500.0, 1000.0])
    torch.testing.assert_close(theirs[table_index(TABLE, t).long()].double(), TABLE.alpha(t) ** 2, rtol=1e-4, atol=0)


@everywhere
def test_unit_input_makes_unit_variance(schedule):
    t = inner_times(schedule)
    variance = (schedule.alpha(t) * 0.7) ** 2 + schedule.sigma(t) ** 2
    torch.testing.assert_close(unit_input(0.7)(schedule, t) ** 2 * variance, torch.ones_like(t), rtol=1e-12, atol=0)
    torch.testing.assert_close(build(describe(unit_input(0.7)))(schedule, t), unit_input(0.7)(schedule, t), rtol=0, atol=0)


DRAWS = {'uniform': uniform_draw, 'stratified': stratified_draw, 'logit-normal': logit_normal_draw, 'log-normal': log_normal_draw}


@everywhere
@pytest.mark.parametrize('draw', DRAWS.values(), ids=DRAWS)
def test_drawn_times_are_times_and_can_be_drawn_again(schedule, draw):
    t = draw(schedule, 500, generator(0, 'draw'))
    assert t.shape == (500,) and t.dtype == torch.float64
    schedule.time(t)
    torch.testing.assert_close(draw(schedule, 500, generator(0, 'draw')), t, rtol=0, atol=0)
    if isinstance(schedule, DiscreteSchedule):
        assert (t == t.round()).all() and t.min() >= 1


def test_tables_are_drawn_evenly_from_the_first_step_to_the_last():
    ten = DiscreteSchedule(linear_betas(10, 0.01, 0.4))
    counts = uniform_draw(ten, 100_000, generator(0, 'even')).long().bincount(minlength=11)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:].numpy()).pvalue > 1e-6
    torch.testing.assert_close(stratified_draw(ten, 1000, generator(0, 'even')).long().bincount(minlength=11)[1:], torch.full((10,), 100))


def test_one_time_from_each_slice_where_time_does_not_begin_at_zero():
    schedule = CosineSchedule()
    schedule.t_min, schedule.t_max = 0.25, 0.75
    t = stratified_draw(schedule, 50, generator(0, 'late')).sort().values
    assert torch.equal(((t - 0.25) * 100).ceil(), torch.arange(1, 51).double())


def test_stratified_times_fill_every_slice():
    t = stratified_draw(RectifiedFlowSchedule(), 64, generator(0, 'slices'))
    torch.testing.assert_close((t * 64).ceil().sort().values, torch.arange(1, 65).double(), rtol=0, atol=0)
    assert not (t.diff() > 0).all()  # not in order


@pytest.mark.parametrize(
    'draw, law',
    [
        (uniform_draw, stats.uniform.cdf),
        (stratified_draw, stats.uniform.cdf),
        (logit_normal_draw, lambda t: stats.norm.cdf(torch.logit(torch.as_tensor(t)).numpy())),
        (partial(logit_normal_draw, mean=-0.5, std=0.7), lambda t: stats.norm.cdf(torch.logit(torch.as_tensor(t)).numpy(), -0.5, 0.7)),
        (log_normal_draw, lambda t: stats.norm.cdf((torch.log(torch.as_tensor(t)) - torch.log1p(-torch.as_tensor(t))).numpy(), -1.2, 1.2)),
    ],
)
def test_drawn_times_have_their_law(draw, law):
    "Kolmogorov-Smirnov at a false-alarm rate of 1e-6 with a fixed seed; a shift of 0.02 would be found."
    t = draw(RectifiedFlowSchedule(), 40_000, generator(3, 'law')).numpy()
    assert stats.kstest(t, law).pvalue > 1e-6


@pytest.mark.parametrize('draw, below', [
    (uniform_draw, lambda k: k / 10),
    (partial(logit_normal_draw, mean=0.4, std=0.8), lambda k: stats.norm.cdf(math.log(k / (10 - k)), 0.4, 0.8) if k < 10 else 1.0),
    (partial(log_normal_draw, mean=-0.3, std=0.9), lambda k: stats.norm.cdf(float(SHORT.log_snr(k + 0.5)) / -2, -0.3, 0.9) if k < 10 else 1.0),
], ids=['uniform', 'logit-normal', 'log-normal'])  # fmt: skip
def test_a_table_is_drawn_in_whole_steps_by_its_law(draw, below):
    "A share of the way is rounded up, a level to the nearest step: counts against the law, false alarms one in a million."
    counts = draw(SHORT, 100_000, generator(5, 'table')).long().bincount(minlength=11).numpy()[1:]
    edges = [0.0] + [below(k) for k in range(1, 11)]
    want = [100_000 * (b - a) for a, b in zip(edges, edges[1:])]
    assert stats.chisquare(counts, want).pvalue > 1e-6


OPTIONS = {
    'draw': {'draw': partial(logit_normal_draw, mean=1.0)},
    'weight': {'weight': min_snr},
    'weight with another cap': {'weight': partial(min_snr, gamma=0.5)},
    'weight with other ends': {'weight': partial(clipped_snr, low=0.1, high=0.2)},
}


def test_every_option_and_every_seed_reaches_the_loss():
    "And noise is drawn for each example and each call, never once for many."
    denoiser, x0 = Denoiser(Recorder(), TABLE, predict_v), torch.zeros(64, 3)
    loss = lambda seed=0, **options: training_loss(denoiser, x0, generator(seed, 'options'), **options)
    results = [loss(), loss(1), *(loss(**options) for options in OPTIONS.values())]
    assert all(not torch.allclose(a, b) for i, a in enumerate(results) for b in results[:i])
    assert torch.equal(loss(), loss(draw=stratified_draw)), 'the default is one time from each slice'
    assert len(loss().unique()) == 64
    source = generator(0, 'options')
    first, second = (training_loss(denoiser, x0, source) for _ in range(2))
    assert torch.equal(first, loss()) and not torch.isclose(first, second).any()


def turned(schedule, t, by=-0.6):
    "A direction that the arrow of x_t passes on its way from data to noise."
    return -math.sin(by) * torch.ones_like(t), math.cos(by) * torch.ones_like(t)


BAD = [
    (lambda: diffusion_loss(Denoiser(Recorder(), TABLE), torch.ones(3, 2), torch.tensor(5.0), torch.ones(3, 2)), r't has shape \(\), expected \(3,\)'),
    (lambda: diffusion_loss(Denoiser(Recorder(), TABLE), torch.ones(3, 2), torch.ones(2), torch.ones(3, 2)), r't has shape \(2,\), expected \(3,\)'),
    (lambda: diffusion_loss(Denoiser(Recorder(), TABLE), torch.ones(3, 2), torch.ones(3), torch.ones(3, 1)), r'eps has shape \(3, 1\)'),
    (lambda: diffusion_loss(Denoiser(Recorder(), TABLE), torch.ones(1, 2), torch.tensor([1001.0]), torch.ones(1, 2)), 't is 1001'),
    (lambda: elbo_weight(CosineSchedule(), torch.tensor(0.5)), 'schedule is a CosineSchedule, expected a DiscreteSchedule; for continuous time use vdm_weight'),
    (lambda: elbo_weight(TABLE, torch.tensor([3.0, 2.5])), 't is 2.5, expected whole times from 1 to 1000'),
    (lambda: elbo_weight(TABLE, torch.tensor(0.0)), 't is 0, expected whole times from 1 to 1000'),
    (lambda: min_snr(TABLE, torch.tensor(3.0), gamma=0.0), 'gamma is 0.0, expected a positive number'),
    (lambda: clipped_snr(TABLE, torch.tensor(3.0), low=2.0, high=1.0), 'low is 2.0 and high 1.0, expected 0 < low <= high'),
    (lambda: Denoiser(Doubled(Recorder()), TABLE)(torch.ones(2, 3), 5.0), r'the network answered with shape \(2, 6\), expected \(2, 3\).*variance=learned_range'),
    (lambda: Denoiser(Recorder(), TABLE, variance=learned_range)(torch.ones(2, 3, 1, 1), 5.0), r'answered with shape \(2, 3, 1, 1\), expected \(2, 6, 1, 1\)'),
    (lambda: Denoiser(Recorder(), TABLE).both(torch.ones(2, 3), 5.0, 4.0), 'the variance is not learned: make the denoiser with variance=learned_range'),
    (lambda: Denoiser(nn.Linear(3, 3), TABLE)(torch.ones(2, 3).double(), 5.0), r'x is torch.float64 and the weights of the network are torch.float32.*x.float\(\)'),
    (lambda: Denoiser(Recorder(), CosineSchedule(), turned), 'the determinant of this prediction crosses zero before t = 0.6'),
    (lambda: training_loss(Denoiser(Recorder(), TABLE), torch.ones(2, 3), 0), r"generator is 0, expected a torch.Generator, such as core.make_generator\(0, 'train'\)"),
    (lambda: training_loss(Denoiser(Recorder(), TABLE), torch.ones(2, 3).byte(), generator(0, 'x')), r'x0 is torch.uint8, expected floating point: scale images to \[-1, 1\]'),
    (lambda: unit_input(-1.0), 'sigma_data is -1.0, expected a positive number'),
    (lambda: weight_for(predict_x0, vdm_weight)(CosineSchedule(), torch.tensor(0.0)), 'the weight is not finite at t = 0'),
]  # fmt: skip
test_bad_input_is_refused = helpers.refuses(BAD)
