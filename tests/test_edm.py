"""EDM: preconditioning against the paper's letters, reducible loss against the oracle, churn against a recursion, averages against other averages."""

import math
from functools import partial

import pytest
import torch
from helpers import SCHEDULES, inner_times, refuses
from scipy import integrate, stats
from torch import nn
from torch.testing import assert_close

from diffbook.conform import moments
from diffbook.core import as_time, make_generator, noise, register
from diffbook.edm import fit_log_normal, keep_averages, linear_reducible, power_ema, power_gamma, profile_product, rebuild, rebuild_shares
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.losses import log_normal_draw, unit_input
from diffbook.predictions import predict_edm, skip_out
from diffbook.samplers import churn, karras_times, snr_times
from diffbook.schedules import KarrasSchedule
from diffbook.training import EMA, Trainer, load

KARRAS = KarrasSchedule(1e4)
f64 = partial(torch.tensor, dtype=torch.float64)


# What is asked


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('spread', (0.5, 1.3))
def test_three_demands_are_met_and_no_other_line_leaves_less(name, spread):
    "Input and target have unit variance; c_out is the least of all c_skip, by a scan."
    schedule = SCHEDULES[name]
    t = inner_times(schedule)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    (skip, out), scale = skip_out(predict_edm(spread), schedule, t), unit_input(spread)(schedule, t)
    assert_close(scale**2 * (alpha**2 * spread**2 + sigma**2), torch.ones_like(t), rtol=1e-12, atol=0)
    left = lambda c: (1 - alpha * c) ** 2 * spread**2 + c**2 * sigma**2
    assert_close(left(skip) / out**2, torch.ones_like(t), rtol=1e-9, atol=0)
    for off in (-1e-2, -1e-4, 1e-4, 1e-2):
        assert (left(skip * (1 + off)) > left(skip)).all()


# Where to train


def test_the_fit_finds_a_normal_law_on_an_uneven_grid():
    log = torch.cumsum(0.02 + 0.01 * torch.sin(torch.arange(1200.0).double()), 0) - 14
    mean, std = fit_log_normal(log.exp(), 3 * torch.exp(-((log + 1.2) ** 2) / (2 * 0.7**2)))
    assert mean == pytest.approx(-1.2, abs=1e-3) and std == pytest.approx(0.7, rel=1e-3)


def test_the_mixture_answers_in_the_numbers_of_its_hill():
    "A normal law of mean -1.24 and std 0.785; drawn levels follow it."
    law, log = reference_mixture(), torch.linspace(-6.5, 4.5, 111, dtype=torch.float64)
    spread = math.sqrt(1.6276)
    share = f64([1 - law.loss_floor(KARRAS, v, predict_edm(spread)) for v in log.exp()])
    mean, std = fit_log_normal(log.exp(), share)
    assert (mean, std, share.max().item()) == pytest.approx((-1.243, 0.785, 0.208), abs=2e-3)
    drawn = log_normal_draw(KARRAS, 4000, make_generator(0, 'drawn'), mean=mean, std=std).log()
    assert abs(drawn.mean() - mean) < 5 * std / 4000**0.5 and abs(drawn.std() - std) < 5 * std / 8000**0.5  # one in a million at chance


@pytest.mark.parametrize('name', SCHEDULES)
def test_of_a_gaussian_the_linear_share_is_the_whole(name):
    schedule, v = SCHEDULES[name], f64([0.9, 0.3, 0.02])
    law = GaussianMixture([1.0], torch.zeros(1, 3), torch.diag(v)[None])
    for t in inner_times(schedule):
        want = 1 - law.loss_floor(schedule, t, predict_edm(v.mean().sqrt().item()))
        got = linear_reducible(v, torch.exp(-schedule.log_snr(t) / 2)[None])
        assert_close(got, f64([want]), rtol=1e-6, atol=1e-9)


def test_the_linear_share_is_a_bound_and_nothing_for_white_data():
    "Two independent axes, each a mixture: the floor is the mean of theirs."
    law, r = reference_mixture(), torch.logspace(-2, 2, 9, dtype=torch.float64)
    wide = GaussianMixture(law.weights, 3 * law.means, 9 * law.covs)
    s2 = 5 * 1.6276  # the mean of v and 9 v
    floors = f64([(law.posterior_variance(KARRAS, v) + wide.posterior_variance(KARRAS, v)) / 2 * (1 / v**2 + 1 / s2) for v in r])
    bound = linear_reducible(f64([1.6276, 9 * 1.6276]), r)
    assert (bound >= -1e-12).all() and (bound <= 1 - floors + 1e-9).all() and bound.max() > 0.05
    assert_close(linear_reducible(torch.full((7,), 0.3).double(), r), torch.zeros(9).double(), rtol=0, atol=1e-12)


# Churn


@pytest.mark.parametrize('name', ('karras', 'cosine', 'rectified-flow', 'exponential'))
@pytest.mark.parametrize('s_noise', (1.0, 1.05))
def test_with_an_exact_way_down_churn_follows_the_recursion(name, s_noise):
    schedule, v = SCHEDULES[name], 0.3
    law = GaussianMixture([1.0], [[0.4]], [[[v]]])
    times = snr_times(schedule, 9, (-4.0, 5.0)) if name != 'exponential' else snr_times(schedule, 9, (-4.0, 8.0))
    step = lambda schedule, denoise, x, t, s, cond=None: law.flow(schedule, x, t, s)
    start, end = law.at(schedule, times[0]), law.at(schedule, times[-1])
    _, cov = moments(churn(step, 0.3, s_noise=s_noise), law.denoise(schedule), schedule, times, start.means[0], 1.2 * start.covs[0])
    excess = 0.2
    for t in times[:-1]:
        r = torch.exp(-schedule.log_snr(t) / 2)
        up = torch.minimum(1.3 * r, torch.exp(-schedule.log_snr(schedule.t_max) / 2))
        excess = ((v + r**2) * excess + (up**2 - r**2) * (s_noise**2 - 1)) / (v + up**2)
    assert_close(cov / end.covs[0] - 1, excess.reshape(1, 1), rtol=0, atol=1e-9)
    assert s_noise > 1 or excess < 0.05, 'what was wrong is forgotten'


def test_the_published_factors_end_at_their_squares():
    law, edm = GaussianMixture([1.0], [[0.0]], [[[0.25]]]), KarrasSchedule()
    step = lambda schedule, denoise, x, t, s, cond=None: law.flow(schedule, x, t, s)
    for s_noise, percent in ((1.0, 0.0), (1.003, 0.601), (1.007, 1.405)):
        times = karras_times(edm, 20)
        _, cov = moments(churn(step, math.sqrt(2) - 1, s_noise=s_noise), law.denoise(edm), edm, times, torch.zeros(1).double(), law.at(edm, times[0]).covs[0])
        assert 100 * (cov.item() / 0.25 - 1) == pytest.approx(percent, abs=2e-3)


# Averages after the fact


@pytest.mark.parametrize('width', (0.01, 0.05, 0.1, 0.2, 0.28))
def test_the_exponent_is_that_of_a_beta_law(width):
    assert stats.beta(power_gamma(width) + 1, 1).std() == pytest.approx(width, rel=1e-9)


def test_the_published_exponents():
    "Karras et al. 2024: gamma of 16.97 and 6.94 for widths of five and ten per cent."
    assert [round(power_gamma(w), 2) for w in (0.05, 0.1, 0.15)] == [16.97, 6.94, 3.56]


@register
class Line(nn.Module):
    "Numbers that are weights: the number of the update over that of the run, and random walks."

    def __init__(self, walks: int = 7):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1 + walks, dtype=torch.float64))


def walked(n, seed=0, walks=7):
    "A row for each update."
    steps = torch.randn(n, walks, generator=make_generator(seed, 'walk'), dtype=torch.float64) / n**0.5
    return torch.cat([torch.arange(1, n + 1)[:, None] / n, steps.cumsum(0)], 1)


def test_averages_side_by_side_have_each_its_own_length():
    "On a straight line the average of exponent gamma is (gamma + 1) / (gamma + 2) of the way."
    model, n = Line(), 4000
    averages = {w: power_ema(model, w) for w in (0.05, 0.1, 0.2)}
    for j, row in enumerate(walked(n)):
        model.value.data = row
        for average in averages.values():
            average.update(model, j)
    for w, average in averages.items():
        gamma = power_gamma(w)
        assert average.model.value[0].item() == pytest.approx((gamma + 1) / (gamma + 2), abs=0.3 * w**2 + 2e-3)
    values = [average.model.value[0].item() for average in averages.values()]
    assert values[0] > values[1] + 0.03 and values[1] > values[2] + 0.05


def test_an_average_forgets_the_untrained_weights():
    model = Line()
    model.value.data = torch.full((8,), 1e6).double()
    average = power_ema(model, 0.1)
    for j, row in enumerate(walked(500)):
        model.value.data = row
        average.update(model, j)
    assert average.model.value.abs().max() < 3


def test_products_of_profiles_are_their_integrals():
    g = make_generator(0, 'profiles')
    for _ in range(20):
        (t, s), (a, b) = (0.2 + torch.rand(2, generator=g).double()).tolist(), (20 * torch.rand(2, generator=g).double()).tolist()
        f = lambda u, t, a: (a + 1) * u**a / t ** (a + 1)
        want = integrate.quad(lambda u: f(u, t, a) * f(u, s, b), 0, min(t, s))[0]
        assert profile_product(f64(t), f64(a), f64(s), f64(b)).item() == pytest.approx(want, rel=1e-7)


def stored(n):
    return torch.arange(1, n + 1).double().repeat(2) / n, f64([0.05, 0.1]).repeat_interleave(n)


def profile_error(shares, times, widths, width):
    "Root mean square, relative to that of the profile that is wanted, by closed products."
    g, q, one = f64([power_gamma(w) for w in widths.tolist()]), f64(power_gamma(width)), f64(1.0)
    square = profile_product(one, q, one, q)
    cross, own = profile_product(times, g, one, q), profile_product(times[:, None], g[:, None], times, g)
    return ((square - 2 * shares @ cross + shares @ own @ shares) / square).clamp(min=0).sqrt().item()


@pytest.mark.parametrize(
    'n, width, percent', [(8, 0.075, 1.25), (8, 0.15, 3.31), (8, 0.2, 7.71), (16, 0.075, 0.35), (16, 0.15, 0.90), (16, 0.2, 2.32), (64, 0.15, 0.06)]
)
def test_profiles_are_rebuilt_within_known_errors_and_shares_add_up(n, width, percent):
    times, widths = stored(n)
    shares = rebuild_shares(times, widths, 1.0, width)
    assert shares.sum().item() == pytest.approx(1, abs=1e-9)
    assert 100 * profile_error(shares, times, widths, width) == pytest.approx(percent, abs=0.006)
    assert_close(rebuild_shares(1000 * times, widths, 1000.0, width), shares, rtol=0, atol=1e-5)  # only shares of the run count


def test_no_other_shares_of_sum_one_do_better():
    times, widths = stored(8)
    shares = rebuild_shares(times, widths, 1.0, 0.15)
    least, g = profile_error(shares, times, widths, 0.15), make_generator(0, 'others')
    for size in (1e-2, 1e-1):
        for _ in range(20):
            off = torch.randn(16, generator=g, dtype=torch.float64)
            assert profile_error(shares + size * (off - off.mean()), times, widths, 0.15) > least


def test_what_is_stored_is_given_back():
    times, widths = stored(8)
    for i in (7, 15):
        assert_close(rebuild_shares(times, widths, 1.0, widths[i].item()), torch.eye(16).double()[i], rtol=0, atol=1e-5)


def kept(folder, n, every, rows, model, widths=(0.05, 0.1)):
    "Run keep_averages over weights that are given."
    from diffbook.training import TrainStep

    def steps():
        for j, row in enumerate(rows):
            model.value.data = row
            yield TrainStep(j + 1, f64(0.0), 0.0, f64(0.0))

    return [step.step for step in keep_averages(steps(), model, folder, widths=widths, every=every)]


@pytest.fixture
def line():
    return Line()


def test_a_line_and_random_walks_are_averaged_as_if_the_average_had_been_kept(line, tmp_path):
    "Sixteen snapshots of two widths; a share of the profile's error is what a line may be off, a walk less than that times its range."
    rows, direct = walked(1600), {w: power_ema(line, w) for w in (0.075, 0.15)}
    assert kept(tmp_path, 1600, 100, rows, line) == list(range(1, 1601))
    assert len(list(tmp_path.iterdir())) == 32
    for j, row in enumerate(rows):
        line.value.data = row
        for average in direct.values():
            average.update(line, j)
    for w, average in direct.items():
        off = (rebuild(tmp_path, w).value - average.model.value).abs()
        assert off[0] < 1e-3 and off.max() < 5e-3 * rows.abs().max(), (w, off)


def test_a_weight_that_never_moves_comes_back_and_an_earlier_average_can_be_asked_for(line, tmp_path):
    rows = walked(400)
    rows[:, 1] = 3.25
    kept(tmp_path, 400, 50, rows, line)
    assert rebuild(tmp_path, 0.2).value[1].item() == pytest.approx(3.25, rel=1e-9)
    early = rebuild(tmp_path, 0.1, step=200)
    assert_close(early.value, load(tmp_path / '00000200-0.1').value, rtol=1e-4, atol=1e-4)


@register
class Tiny(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, width), nn.BatchNorm1d(width), nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x)


def test_a_run_that_goes_on_keeps_the_averages_of_a_run_that_was_whole(tmp_path):
    data = [noise(0, 'rows', k, range(8), (1,)).float() for k in range(12)]
    loss = lambda model, x, g: (model(x) - x.sin()).square().flatten(1).mean(1)

    def trainer():
        torch.default_generator.manual_seed(0)
        return Trainer(Tiny(), loss, lr=1e-2, warmup=0, device='cpu')

    whole, first = trainer(), trainer()
    list(keep_averages(whole.fit(data), whole.model, tmp_path / 'whole', every=3))
    list(keep_averages(first.fit(data[:6], tmp_path / 'run'), first.model, tmp_path / 'parts', every=3))
    second = trainer()
    second.resume(tmp_path / 'run')
    list(keep_averages(second.fit(data[6:]), second.model, tmp_path / 'parts', every=3))
    for path in (tmp_path / 'whole').iterdir():
        got, want = load(tmp_path / 'parts' / path.name).state_dict(), load(path).state_dict()
        assert all(torch.equal(got[k], want[k]) for k in want), path.name
    third = trainer()
    third.resume(tmp_path / 'run')
    with pytest.raises(FileNotFoundError, match='00000006-0.05'):
        list(keep_averages(third.fit(data[6:]), third.model, tmp_path / 'elsewhere', every=3))
    assert rebuild(tmp_path / 'whole', 0.1).layers[1].num_batches_tracked == 12, 'a counter is no average'


def test_the_default_average_of_the_book_is_a_power_law_of_exponent_eight():
    model = Line()
    default, power = EMA(model, decay=0.999999), power_ema(model, stats.beta(9, 1).std())
    for j, row in enumerate(walked(300)):
        model.value.data = row
        default.update(model, j)
        power.update(model, j)
    assert_close(default.model.value, power.model.value, rtol=1e-9, atol=1e-12)


test_bad_input_is_refused = refuses(
    [
        (lambda: fit_log_normal(f64([1.0, 0.5]), f64([1.0, 1.0])), 'expected (n,) both, and rising levels'),
        (lambda: fit_log_normal(f64([0.5, 1.0]), f64([1.0, -1.0])), 'share holds values below zero'),
        (lambda: linear_reducible(f64([1.0, -1.0]), f64([1.0])), 'none below zero'),
        (lambda: power_gamma(0.3), 'width is 0.3'),
        (lambda: rebuild_shares(f64([1.0, 3.0]), f64([0.05, 0.1]), 2.0, 0.1), 'none after 2'),
        (lambda: rebuild('diffbook/exercises', 0.1), 'holds no average'),
        (lambda: next(keep_averages(iter(()), Line(), 'x', every=0)), 'every is 0'),
    ]
)


def test_shares_at_one_time_are_finite_for_many_snapshots():
    times, widths = stored(128)
    shares = rebuild_shares(times, widths, 1.0, 0.12)
    assert torch.isfinite(shares).all() and shares.abs().sum() < 5 and profile_error(shares, times, widths, 0.12) < 1e-3


def test_levels_may_be_one_number():
    assert linear_reducible(f64([0.2, 1.0]), as_time(0.5)).shape == ()
