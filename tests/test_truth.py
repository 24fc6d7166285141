"""Truth: kernels, levels, straight paths, orders, moments and identities, for every schedule, prediction and solver.

Nothing here is random beyond its arguments, and nothing is compared with numbers that this code once made.
"""

from functools import cache, partial

import mpmath
import numpy as np
import pytest
import torch
from helpers import PREDICTIONS, SCHEDULES, SOLVERS, STOCHASTIC_SOLVERS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from diffbook.core import generator, noise, seeded_noise, uniform
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.losses import Denoiser, diffusion_loss, quarter_log_noise, unit_input
from diffbook.predictions import predict_edm, predict_x0, solve_x0, target
from diffbook.samplers import (
    ancestral,
    clip_x0,
    ddim,
    euler,
    heun,
    karras_times,
    sample,
    trailing_times,
    uniform_times,
)
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    KarrasSchedule,
    LinearBetaSchedule,
    RectifiedFlowSchedule,
    linear_betas,
)
from diffbook.training import Trainer

F64 = torch.float64
ALL = SOLVERS | STOCHASTIC_SOLVERS
LINEAR = ('rectified-flow', 'karras')  # alpha and sigma are straight lines in t
few = settings(derandomize=True, max_examples=25, deadline=None, database=None)


def at(schedule, *u):
    "Times at the shares u of the schedule's range."
    return [torch.tensor(schedule.t_min + v * (schedule.t_max - schedule.t_min), dtype=F64) for v in u]


def last(denoise, schedule, x, times, solver, cond=None):
    *_, x = sample(denoise, schedule, x, times, solver, cond)
    return x


@cache
def levels(name, log_snrs):
    "The times of a schedule at these log signal-to-noise ratios."
    return SCHEDULES[name].time_at(torch.tensor(log_snrs, dtype=F64))


def between(name, n, top=-3.0, low=5.0):
    "A grid of equal steps in t between two log signal-to-noise ratios."
    t, s = levels(name, (top, low)).tolist()
    return torch.linspace(t, s, n + 1, dtype=F64)


# G1: kernels, posteriors and conversions: 500 drawn cases for each schedule


def draw_times(name, k):
    "(k, 500) ordered times of a schedule, the first column the least noisy, none closer than a thousandth of the range."
    schedule = SCHEDULES[name]
    u = uniform(0, 'times', 0, range(500), (k + 1,)).T.cumsum(0)
    u = (u / u[-1])[:-1] * (1 - k / 1000) + torch.arange(1, k + 1)[:, None] / 1000
    return schedule.t_min + u.clamp(max=0.999) * (schedule.t_max - schedule.t_min)


@pytest.mark.parametrize('name', SCHEDULES)
def test_posteriors_compose(name):
    "Chapman-Kolmogorov backwards: from t to r and from r to s is from t to s, given x0."
    schedule = SCHEDULES[name]
    s, r, t = draw_times(name, 3)
    (a1, b1, std1), (a2, b2, std2), (a, b, std) = schedule.posterior(t, r), schedule.posterior(r, s), schedule.posterior(t, s)
    assert_close(a2 * a1, a, rtol=1e-12, atol=1e-12)
    assert_close(a2 * b1 + b2, b, rtol=1e-12, atol=1e-12)
    assert_close((a2 * std1) ** 2 + std2**2, std**2, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize('name', SCHEDULES)
def test_posterior_is_conditioning(name):
    "q(x_s | x_t, x0) from the joint covariance of (x_s, x_t) given x0, in forty digits."
    schedule = SCHEDULES[name]
    s, t = draw_times(name, 2)[:, ::25]
    got = torch.stack(schedule.posterior(t, s), 1)
    scales = torch.stack([schedule.alpha(s), schedule.sigma(s), schedule.alpha(t), schedule.sigma(t)], 1)
    want = []
    with mpmath.workdps(40):
        for row in scales.tolist():
            alpha_s, sigma_s, alpha_t, sigma_t = map(mpmath.mpf, row)
            k = alpha_t / alpha_s
            var_s, cov, var_t = sigma_s**2, k * sigma_s**2, sigma_t**2
            a = cov / var_t
            want.append([float(a), float(alpha_s - a * alpha_t), float(mpmath.sqrt(var_s - a * cov))])
    assert_close(got, torch.tensor(want, dtype=F64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('prediction', PREDICTIONS)
@pytest.mark.parametrize('name', SCHEDULES)
def test_predictions_convert_both_ways(name, prediction):
    "From (x0, eps) to any target and back: the data returns, up to the condition of the two equations."
    schedule, pair = SCHEDULES[name], PREDICTIONS[prediction]
    t = draw_times(name, 1)[0]
    x0, eps = noise(0, 'x0', 0, range(500), (3,)), noise(0, 'eps', 0, range(500), (3,))
    x = schedule.perturb(x0, eps, t)
    got = solve_x0(pair, schedule, target(pair, schedule, x0, eps, t), x, t)
    (a, b), alpha, sigma = pair(schedule, t), schedule.alpha(t), schedule.sigma(t)
    condition = ((b * alpha).abs() + (b * sigma).abs() + (sigma * a).abs()) / (alpha * b - sigma * a).abs()
    assert ((got - x0).abs().amax(1) <= 2e-15 * (1 + condition) * (1 + x0.abs().amax(1) + eps.abs().amax(1))).all()


# G2: levels are precise and monotone in every dtype


@pytest.mark.parametrize('t', (1, 2, 5, 50, 500, 999, 1000))
def test_table_levels_against_forty_digits(t):
    "1 - alpha_bar loses digits near the data; sigma must not."
    betas = linear_betas()
    with mpmath.workdps(40):
        product = mpmath.mpf(1)
        for beta in betas[:t].tolist():
            product *= 1 - mpmath.mpf(beta)
        alpha, sigma = float(mpmath.sqrt(product)), float(mpmath.sqrt(1 - product))
    schedule = DiscreteSchedule(betas)
    assert abs(float(schedule.alpha(t)) / alpha - 1) < 1e-13 and abs(float(schedule.sigma(t)) / sigma - 1) < 1e-13


@pytest.mark.parametrize('dtype', (torch.float64, torch.float32, torch.bfloat16))
@pytest.mark.parametrize('name', SCHEDULES)
def test_levels_never_go_the_wrong_way(name, dtype):
    "Over a thousand levels: noise never falls, signal never rises, and no level but the first is without noise."
    schedule = SCHEDULES[name]
    t = torch.linspace(schedule.t_min, schedule.t_max, 1001, dtype=F64)
    alpha, sigma = schedule.alpha(t).to(dtype), schedule.sigma(t).to(dtype)
    assert (sigma.diff() >= 0).all() and (alpha.diff() <= 0).all() and (sigma[1:] > 0).all()
    if dtype == torch.float64:
        assert ((sigma / alpha)[:-1].diff() > 0).all()


# G3: with one data point the path is straight in (alpha, sigma)


def off_path(schedule, times, solver, dtype=F64):
    "The largest distance from alpha x0 + sigma eps at any call of the model, and at the end, relative to the noisiest level."
    x0, eps = noise(0, 'x0', 0, range(3), (2,)).to(dtype), noise(0, 'eps', 0, range(3), (2,)).to(dtype)
    scale, worst = max(1.0, float(schedule.sigma(times[0]))), 0.0

    def look(x, t, cond=None):
        nonlocal worst
        worst = max(worst, (x - schedule.perturb(x0, eps, t)).abs().max().item() / scale)
        return x0

    look(last(look, schedule, schedule.perturb(x0, eps, times[0]), times, solver), times[-1])
    return worst


@pytest.mark.parametrize('n', (1, 2, 3, 7, 10, 13, 50))
@pytest.mark.parametrize('name', SCHEDULES)
def test_dirac_ddim(name, n):
    "DDIM sits on the path at every call: every schedule, every grid."
    schedule = SCHEDULES[name]
    for grid in [uniform_times] + [karras_times] * (n in (2, 7, 50)) + [trailing_times] * (schedule.t_max - schedule.t_min >= 50):
        times = grid(schedule, n)
        assert off_path(schedule, times, ddim) <= 1e-10, grid.__name__
        assert off_path(schedule, times, ddim, torch.float32) <= 1e-5, grid.__name__


@pytest.mark.parametrize('n', (999, 1000))
def test_dirac_on_every_level_of_a_table(n):
    assert off_path(SCHEDULES['ddpm'], trailing_times(SCHEDULES['ddpm'], n), ddim) <= 1e-10


@pytest.mark.parametrize('n', (1, 2, 3, 7, 10, 13, 50))
@pytest.mark.parametrize('solver', (euler, heun))
@pytest.mark.parametrize('name', LINEAR)
def test_dirac_euler_and_heun(name, solver, n):
    "Where alpha and sigma are straight lines in t, so is the path."
    schedule = SCHEDULES[name]
    for grid in (uniform_times, karras_times):
        assert off_path(schedule, grid(schedule, n), solver) <= 1e-10
    # in float32 a giant step to a tiny level divides the rounding of x by that level, so only equal steps here
    assert off_path(schedule, uniform_times(schedule, n), solver, torch.float32) <= 1e-5


@pytest.mark.parametrize('solver', STOCHASTIC_SOLVERS)
@pytest.mark.parametrize('name', SCHEDULES)
def test_dirac_with_noise(name, solver):
    "A random step turns N(alpha_t x0, sigma_t^2) into exactly N(alpha_s x0, sigma_s^2): read off with zeros and ones."
    schedule, x0 = SCHEDULES[name], torch.tensor([[0.4, -1.3]], dtype=F64)
    times = uniform_times(schedule, 7)
    for t, s in zip(times[:-1], times[1:]):

        def step(e, z, t=t, s=s):
            x = schedule.perturb(x0, torch.full_like(x0, e), t)
            return STOCHASTIC_SOLVERS[solver](schedule, lambda *_: x0, x, t, s, noise=lambda x, s: torch.full_like(x, z))

        mean, kept, fresh = step(0.0, 0.0), step(1.0, 0.0) - step(0.0, 0.0), step(0.0, 1.0) - step(0.0, 0.0)
        size = 1 + schedule.sigma(s).item()
        assert_close(mean, schedule.alpha(s) * x0, rtol=0, atol=1e-12 * size)
        assert_close(kept**2 + fresh**2, (schedule.sigma(s) ** 2).expand_as(kept), rtol=1e-12, atol=1e-12 * size)
        assert (kept >= 0).all() and (fresh >= 0).all()


# G4: orders of convergence against the exact flow, and calls counted

LAWS = {
    'gaussian in the plane': GaussianMixture([1.0], [[0.7, -0.3]], [[[0.36, 0.1], [0.1, 0.5]]]),
    'two bumps': GaussianMixture([0.6, 0.4], [[-1.0], [1.0]], [[[0.16]], [[0.36]]]),
    'three bumps': reference_mixture(),
}
ORDERS = {'ddim': 1, 'euler': 1, 'heun': 2}


def halvings(law, schedule, solver, start, end, steps=(8, 16, 32, 64)):
    """Slopes of the error when the steps are halved. All grids run as one batch, each example at its own times:
    a grid that has arrived stays where it is, for a step of no length changes nothing."""
    x = law.at(schedule, start).sample(20, torch.Generator().manual_seed(0))
    want = law.flow(schedule, x, start, end)
    grids = torch.stack([start + (end - start) * (torch.arange(max(steps) + 1) / n).double().clamp(max=1) for n in steps], 1)
    times, y, denoise = grids.repeat_interleave(len(x), 1), x.repeat(len(steps), 1), law.denoise(schedule)
    for t, s in zip(times[:-1], times[1:]):
        y = torch.where((t == s)[:, None], y, solver(schedule, denoise, y, t, s))
    errors = (y.reshape(len(steps), len(x), -1) - want).square().mean((1, 2)).sqrt()
    return torch.log2(errors[:-1] / errors[1:])


@pytest.mark.parametrize('solver', ORDERS)
@pytest.mark.parametrize('law', LAWS)
def test_order_on_three_laws(law, solver):
    "On the cosine schedule, within 0.1 on the last three halvings. The chapter measures it from pure noise to clean data."
    slopes = halvings(LAWS[law], CosineSchedule(), SOLVERS[solver], *levels('cosine', (-2.0, 3.0)), steps=(16, 32, 64, 128))
    assert ((slopes - ORDERS[solver]).abs() <= 0.1).all(), slopes


@pytest.mark.parametrize('solver', ORDERS)
@pytest.mark.parametrize('name', SCHEDULES)
def test_order_on_every_schedule(name, solver):
    """Equal steps in the schedule's own time, within 0.1 on the last three halvings.

    Between whole times a table is only once differentiable: Heun's second order needs steps that span levels, and 50 levels are too few.
    """
    if (name, solver) == ('short-table', 'heun'):
        return
    law = LAWS['two bumps' if name == 'rectified-flow' else 'gaussian in the plane']  # on a straight line errors of a Gaussian cancel
    slopes = halvings(law, SCHEDULES[name], SOLVERS[solver], *levels(name, (-2.0, 3.0)))
    assert ((slopes - ORDERS[solver]).abs() <= 0.1).all(), slopes


@pytest.mark.parametrize('n', (1, 2, 7, 20))
@pytest.mark.parametrize('solver', ALL)
def test_model_calls(solver, n):
    "One call a step; Heun two, but one where no noise is left at the end."
    for schedule, ends_clean in ((CosineSchedule(), True), (SCHEDULES['exponential'], False)):
        calls = []
        last(lambda x, t, cond: calls.append(t) or x, schedule, torch.ones(1, 1, dtype=F64), uniform_times(schedule, n), ALL[solver])
        assert len(calls) == (2 * n - ends_clean if solver == 'heun' else n)


# G5: stochastic steps on Gaussian data are an exact affine recursion

MEAN, COV = np.array([0.7, -0.3, 0.1]), np.array([[0.36, 0.1, 0.0], [0.1, 0.5, -0.2], [0.0, -0.2, 0.3]])


def probe(solver, law, schedule, t, s):
    "A, B and C of x_s = A x_t + B + C z, by feeding basis vectors."
    basis = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
    run = lambda x, z: solver(schedule, law.denoise(schedule), x, t, s, noise=lambda x, s: z).numpy()
    quiet, loud = run(basis, torch.zeros(4, 3).double()), run(torch.zeros(4, 3).double(), basis)
    return (quiet[1:] - quiet[0]).T, quiet[0], (loud[1:] - loud[0]).T


def paper_step(m, v, t, s, eta):
    "Mean and covariance of one step of Song et al. 2021, equation 12, for N(MEAN, COV); t and s are alpha_bars."
    gain = np.sqrt(t) * COV @ np.linalg.inv(t * COV + (1 - t) * np.eye(3))  # of E[x0 | x_t]
    std = eta * np.sqrt((1 - s) / (1 - t)) * np.sqrt(1 - t / s)
    kept = np.sqrt(1 - s - std**2)
    estimate = MEAN + gain @ (m - np.sqrt(t) * MEAN)
    matrix = np.sqrt(s) * gain + kept * (np.eye(3) - np.sqrt(t) * gain) / np.sqrt(1 - t)
    mean = np.sqrt(s) * estimate + kept * (m - np.sqrt(t) * estimate) / np.sqrt(1 - t)
    return mean, matrix @ v @ matrix.T + std**2 * np.eye(3)


TABLES = ('ddpm', 'stable-diffusion', 'cosine-table', 'linear-beta', 'shifted-table')
ETAS = ('ancestral', 0.0, 0.3, 1.0)


def recursion(eta, name, n):
    "How far mean and covariance are from the recursion of the paper after any step, and from the data after the last."
    schedule = SCHEDULES[name]
    law = GaussianMixture([1.0], MEAN[None], COV[None])
    solver = ancestral if eta == 'ancestral' else partial(ddim, eta=eta)
    eta = 1.0 if eta == 'ancestral' else eta
    times, worst = uniform_times(schedule, n), 0.0
    bars = (schedule.alpha(times) ** 2).tolist()
    m = want_m = np.sqrt(bars[0]) * MEAN
    v = want_v = bars[0] * COV + (1 - bars[0]) * np.eye(3)
    for i in range(n):
        A, B, C = probe(solver, law, schedule, times[i], times[i + 1])
        m, v = A @ m + B, A @ v @ A.T + C @ C.T
        want_m, want_v = paper_step(want_m, want_v, bars[i], bars[i + 1], eta)
        worst = max(worst, np.abs(m - want_m).max(), np.abs(v - want_v).max())
    return worst, np.abs(v - COV).max()


@pytest.mark.parametrize('n', (1, 3, 10, 50))
@pytest.mark.parametrize('name', TABLES)
@pytest.mark.parametrize('eta', ETAS)
def test_affine_recursion(eta, name, n):
    "Mean and covariance after every step, to 1e-10. For n = 50 the answer is not the covariance of the data."
    worst, off_data = recursion(eta, name, n)
    assert worst <= 1e-10 and (n != 50 or off_data > 1e-3)


# G9: learning reaches the Bayes error


class Curve(torch.nn.Module):
    "A small network of one number and its noise level."

    def __init__(self, width=64):
        super().__init__()
        layers = [torch.nn.Linear(9, width), torch.nn.SiLU()]
        for _ in range(2):
            layers += [torch.nn.Linear(width, width), torch.nn.SiLU()]
        self.body = torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))

    def forward(self, x, level, cond=None):
        waves = 3 * torch.arange(1, 4) * level[:, None]
        return self.body(torch.cat([x, 3 * x, level[:, None], torch.sin(waves), torch.cos(waves)], 1).to(self.body[0].weight.dtype))


def bayes_excess(steps=1500):
    "Train a network of one number; give what it loses beyond the Bayes error, as a share of that, at eight noise levels."
    law, schedule = LAWS['three bumps'], CosineSchedule()
    sd = (law.weights @ (law.covs[:, 0, 0] + law.means[:, 0] ** 2) - (law.weights @ law.means[:, 0]) ** 2).sqrt().item()
    torch.manual_seed(0)
    model = Denoiser(Curve(), schedule, predict_edm(sd), noise_input=quarter_log_noise, input_scale=unit_input(sd))

    def loss(model, x0, draw):
        "log_snr evenly over -5 to 7, one random offset a batch."
        log_snr = 7 - 12 * (torch.arange(len(x0), dtype=F64) + torch.rand((), generator=draw, dtype=F64)) / len(x0)
        t = torch.atan(torch.exp(-log_snr / 2)) * 2 / torch.pi  # tan(pi t / 2) is sigma / alpha
        return diffusion_loss(model, x0, t, torch.randn(x0.shape, generator=draw))

    trainer = Trainer(model, loss, lr=4e-3, warmup=100, total=steps, ema=0.98, device='cpu')
    batches = (law.sample(1024, generator(0, 'bayes', i)).float() for i in range(steps))
    for _ in trainer.fit(batches):
        pass
    learned, shares = trainer.ema.model.double(), {}
    for log_snr in torch.linspace(6, -4, 8, dtype=F64):
        t = torch.atan(torch.exp(-log_snr / 2)) * 2 / torch.pi
        here = law.at(schedule, t)
        x = torch.linspace(-9, 9, 8001, dtype=F64)[:, None]
        density = here.log_prob(x).exp() * (x[1] - x[0])
        with torch.no_grad():
            excess = (density * (learned(x, t) - law.denoise(schedule)(x, t))[:, 0] ** 2).sum().item()
        shares[round(log_snr.item(), 1)] = excess / float(law.loss_floor(schedule, t, predict_x0))
    return shares


def test_learning_reaches_the_bayes_error():
    """Data, noise, prediction, loss, optimiser and averaging at once: a trained network is within 1 % of the error that none can beat.

    At eight noise levels, by quadrature. The excess is the mean squared distance to the exact denoiser.
    """
    for log_snr, share in bayes_excess().items():
        assert share <= 0.01, f'log_snr {log_snr}: {share:.2%} above the floor'


# G10: identities

LAW = reference_mixture()


def numbered(seed=0):
    "Noise that depends on the step's number, not on its time, so that two schedules can share it."
    count = [0]

    def draw(x, s):
        count[0] += 1
        return noise(seed, 'numbered', count[0], range(len(x)), x.shape[1:]).to(x)

    return draw


times_of = st.lists(st.integers(0, 1000), min_size=3, max_size=8, unique=True)


@few
@given(name=st.sampled_from(sorted(SCHEDULES)), u=times_of, seed=st.integers(0, 99))
def test_ddim_with_eta_one_is_ancestral(name, u, seed):
    "On any grid, state by state."
    schedule = SCHEDULES[name]
    times = torch.stack(at(schedule, *(v / 1000 for v in sorted(u, reverse=True))))
    x = schedule.sigma(times[0]) * noise(seed, 'x', 0, range(4), (1,))
    runs = [list(sample(LAW.denoise(schedule), schedule, x, times, f)) for f in (partial(ddim, eta=1.0), ancestral)]
    scale = 1 + float(schedule.sigma(times[0]))
    assert_close(torch.stack(runs[0]), torch.stack(runs[1]), rtol=0, atol=1e-12 * scale)


@few
@given(name=st.sampled_from(sorted(SCHEDULES)), u=st.lists(st.integers(1, 999), min_size=2, max_size=2, unique=True), seed=st.integers(0, 99))
def test_ddim_is_exponential_euler(name, u, seed):
    "DPM-Solver-1 (Lu et al. 2022, equation 3.7) and its x0 form, in half log signal-to-noise ratios."
    schedule = SCHEDULES[name]
    s, t = at(schedule, *(v / 1000 for v in sorted(u)))
    x = schedule.sigma(t) * noise(seed, 'x', 0, range(4), (1,))
    x0 = LAW.denoise(schedule)(x, t)
    h = (schedule.log_snr(s) - schedule.log_snr(t)) / 2
    alpha_t, sigma_t, alpha_s, sigma_s = schedule.alpha(t), schedule.sigma(t), schedule.alpha(s), schedule.sigma(s)
    by_eps = alpha_s / alpha_t * x - sigma_s * torch.expm1(h) * (x - alpha_t * x0) / sigma_t
    by_x0 = sigma_s / sigma_t * x - alpha_s * torch.expm1(-h) * x0
    got = ddim(schedule, LAW.denoise(schedule), x, t, s)
    assert_close(got, by_x0, rtol=0, atol=1e-12 * (1 + float(sigma_t)))
    assert_close(got, by_eps, rtol=0, atol=1e-12 * (1 + float(sigma_t) + float(alpha_s / alpha_t)))


@pytest.mark.parametrize('solver', ('ddim', 'ancestral', 'ddim-eta'))
@pytest.mark.parametrize('name', SCHEDULES)
def test_schedule_drops_out_at_equal_log_snr(name, solver):
    "Variance preserving, exploding or straight: x / alpha is the same on the same levels."
    options = {} if solver == 'ddim' else {'noise': numbered}
    ends = []
    for key in (name, 'karras'):
        schedule, times = SCHEDULES[key], levels(key, (-3.0, -1.7, -0.2, 1.0, 2.5, 5.0))
        alpha, level = schedule.alpha(times), torch.exp(-schedule.log_snr(times) / 2)
        x = alpha[0] * level[0] * noise(0, 'x', 0, range(5), (1,))
        f = partial(ALL[solver], **{k: v() for k, v in options.items()})
        ends.append(last(LAW.denoise(schedule), schedule, x, times, f) / alpha[-1])
    assert_close(ends[0], ends[1], rtol=1e-11, atol=1e-11)  # time_at finds the levels to about 1e-14


@few
@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    solver=st.sampled_from(sorted(ALL)),
    n=st.integers(2, 9),
    cut=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_a_run_cut_in_two_gives_the_same_bits(name, solver, n, cut, seed):
    schedule, cut = SCHEDULES[name], min(cut, n - 1)
    times, denoise = uniform_times(schedule, n), LAW.denoise(SCHEDULES[name])
    x = schedule.sigma(times[0]) * noise(seed, 'x', 0, range(3), (1,))
    whole = last(denoise, schedule, x, times, ALL[solver])
    half = last(denoise, schedule, x, times[: cut + 1], ALL[solver])
    assert torch.equal(last(denoise, schedule, half, times[cut:], ALL[solver]), whole)


@few
@given(solver=st.sampled_from(sorted(ALL)), order=st.permutations(range(5)), seed=st.integers(0, 99))
def test_batches_can_be_shuffled(solver, order, seed):
    "Shuffle the noise and the samples are shuffled, to the bit; alone, each is what it was."
    schedule = CosineSchedule()
    f, times, denoise = ALL[solver], uniform_times(schedule, 6), LAW.denoise(schedule)
    drawn = seeded_noise(seed)
    shuffled = {'noise': lambda x, s: drawn(x, s)[list(order)]} if solver in STOCHASTIC_SOLVERS else {}
    straight = {'noise': drawn} if solver in STOCHASTIC_SOLVERS else {}
    x = noise(seed, 'x', 0, range(5), (1,))
    a = last(denoise, schedule, x, times, partial(f, **straight))
    b = last(denoise, schedule, x[list(order)], times, partial(f, **shuffled))
    assert_close(b, a[list(order)], rtol=0, atol=1e-13)
    for i in range(5):
        own = {'noise': seeded_noise(seed, start=i)} if solver in STOCHASTIC_SOLVERS else {}
        assert_close(last(denoise, schedule, x[i : i + 1], times, partial(f, **own)), a[i : i + 1], rtol=0, atol=1e-13)


@pytest.mark.parametrize('solver', ORDERS)
@pytest.mark.parametrize('name', ('ddpm', 'cosine'))
def test_there_and_back(name, solver):
    "Walk to the data and back to the noise: what is missing on return shrinks with the order of the solver."
    schedule, lost = SCHEDULES[name], []
    x = None
    for n in (32, 64, 128):
        times = between(name, n)
        x = LAW.at(schedule, times[0]).sample(20, torch.Generator().manual_seed(1)) if x is None else x
        y = last(LAW.denoise(schedule), schedule, x, times, SOLVERS[solver])
        for t, s in zip(times.flip(0)[:-1], times.flip(0)[1:]):
            y = SOLVERS[solver](schedule, LAW.denoise(schedule), y, t, s)
        lost.append((y - x).abs().max().item())
    for more, less in zip(lost[:-1], lost[1:]):
        assert less < 1e-13 or more / less > 2 ** (ORDERS[solver] - 0.2), lost


def linear_map(law, matrix, shift):
    "The law of matrix x + shift."
    matrix, shift = torch.as_tensor(matrix, dtype=F64), torch.as_tensor(shift, dtype=F64)
    return GaussianMixture(law.weights, law.means @ matrix.T + shift, matrix @ law.covs @ matrix.T)


PLANE = GaussianMixture([0.6, 0.4], [[-1.0, 0.2], [1.0, 0.5]], [[[0.16, 0.05], [0.05, 0.2]], [[0.36, -0.1], [-0.1, 0.3]]])


@few
@given(name=st.sampled_from(sorted(SCHEDULES)), solver=st.sampled_from(sorted(ALL)), angle=st.floats(-3, 3), dx=st.floats(-2, 2), dy=st.floats(-2, 2))
def test_moved_and_turned_data_gives_moved_and_turned_samples(name, solver, angle, dx, dy):
    """Rotate and shift the law and the noise, and every state is rotated, and shifted by alpha times the shift.

    Euler and Heun know alpha only through its slope, so they follow a shift exactly where alpha is a straight line.
    """
    schedule = SCHEDULES[name]
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=F64)
    follows = solver not in ('euler', 'heun') or name in (*LINEAR, 'exponential')
    shift, times = follows * torch.tensor([dx, dy], dtype=F64), between(name, 6)
    x = LAWS['gaussian in the plane'].sample(5, torch.Generator().manual_seed(0))
    drawn = seeded_noise(3)
    here = {'noise': drawn} if solver in STOCHASTIC_SOLVERS else {}
    there = {'noise': lambda x, s: drawn(x, s) @ turn.T} if solver in STOCHASTIC_SOLVERS else {}
    a = sample(PLANE.denoise(schedule), schedule, x, times, partial(ALL[solver], **here))
    moved = x @ turn.T + schedule.alpha(times[0]) * shift
    b = sample(linear_map(PLANE, turn, shift).denoise(schedule), schedule, moved, times, partial(ALL[solver], **there))
    for s, y, z in zip(times[1:], a, b):
        assert_close(z, y @ turn.T + schedule.alpha(s) * shift, rtol=0, atol=1e-11)


@few
@given(solver=st.sampled_from(sorted(ALL)), scale=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_larger_data_with_larger_noise_gives_larger_samples(solver, scale, seed):
    "Where sigma is the time itself, data and time can share a unit: change the unit."
    one, other = KarrasSchedule(10.0), KarrasSchedule(10.0 * scale)
    times, x = torch.tensor([10.0, 3.0, 1.0, 0.2, 0.0], dtype=F64), 10 * noise(seed, 'x', 0, range(4), (1,))
    runs = []
    for schedule, k in ((one, 1.0), (other, scale)):
        law = linear_map(LAW, [[k]], [0.0])
        f = partial(ALL[solver], **({'noise': numbered(seed)} if solver in STOCHASTIC_SOLVERS else {}))
        runs.append(last(law.denoise(schedule), schedule, k * x, (k * times).clamp(max=schedule.t_max), f) / k)
    assert_close(runs[0], runs[1], rtol=0, atol=1e-10)


class Oracle(torch.nn.Module):
    "A network that says the ideal target of any prediction."

    def __init__(self, law, schedule, prediction):
        super().__init__()
        self.law, self.schedule, self.prediction, self.t = law, schedule, prediction, None

    def forward(self, x, noise_level, cond=None):
        x0 = self.law.denoise(self.schedule)(x, self.t)
        return target(self.prediction, self.schedule, x0, self.schedule.eps(x, x0, self.t), self.t)


@pytest.mark.parametrize('prediction', PREDICTIONS)
@pytest.mark.parametrize('name', SCHEDULES)
def test_samples_do_not_depend_on_what_the_network_predicts(name, prediction):
    "Noise, data, v, score, velocity or F: the same denoiser, the same states."
    schedule = SCHEDULES[name]
    oracle = Oracle(LAW, schedule, PREDICTIONS[prediction])
    try:
        denoiser = Denoiser(oracle, schedule, PREDICTIONS[prediction])
    except ValueError as error:
        assert 'says nothing of x0' in str(error) and prediction in ('eps', 'score') and schedule.alpha(schedule.t_max) == 0
        return

    def denoise(x, t, cond=None):
        oracle.t = t
        return denoiser(x, t, cond)

    times, x = between(name, 2), noise(0, 'x', 0, range(3), (1,))
    for solver in (ddim, heun, ancestral):
        assert_close(last(denoise, schedule, x, times, solver), last(LAW.denoise(schedule), schedule, x, times, solver), rtol=0, atol=1e-11)


@pytest.mark.parametrize('solver', ALL)
def test_independent_dimensions_do_not_see_each_other(solver):
    "Two laws side by side: each half of the sample is the sample of its law."
    schedule, times = CosineSchedule(), uniform_times(CosineSchedule(), 8)
    wide = GaussianMixture([1.0], [[0.5, -1.0, 2.0]], [[[0.3, 0.1, 0.0], [0.1, 0.4, 0.0], [0.0, 0.0, 0.2]]])
    pair, single = GaussianMixture([1.0], wide.means[:, :2], wide.covs[:, :2, :2]), GaussianMixture([1.0], wide.means[:, 2:], wide.covs[:, 2:, 2:])
    x, drawn = noise(0, 'x', 0, range(4), (3,)), noise(0, 'z', 0, range(4), (3,))
    cut = lambda i, j: partial(ALL[solver], **({'noise': lambda x, s: drawn[:, i:j]} if solver in STOCHASTIC_SOLVERS else {}))
    whole = last(wide.denoise(schedule), schedule, x, times, cut(0, 3))
    assert_close(whole[:, :2], last(pair.denoise(schedule), schedule, x[:, :2], times, cut(0, 2)), rtol=0, atol=1e-12)
    assert_close(whole[:, 2:], last(single.denoise(schedule), schedule, x[:, 2:], times, cut(2, 3)), rtol=0, atol=1e-12)


def test_euler_is_ddim_where_noise_is_the_clock():
    "Where alpha and sigma are straight lines DDIM and Euler take the same step."
    for name in LINEAR:
        schedule = SCHEDULES[name]
        x = schedule.sigma(schedule.t_max) * noise(0, 'x', 0, range(5), (1,))
        runs = [torch.stack(list(sample(LAW.denoise(schedule), schedule, x, uniform_times(schedule, 13), f))) for f in (ddim, euler)]
        assert_close(runs[0], runs[1], rtol=0, atol=1e-12 * schedule.t_max)


def test_one_step_is_the_denoiser():
    "From any level straight to clean data every solver gives the estimate: with noise, without, of any order."
    schedule = CosineSchedule()
    x, (t, s) = noise(0, 'x', 0, range(5), (1,)), at(schedule, 0.6, 0.0)
    for solver in (ddim, ancestral, partial(ddim, eta=0.5)):
        assert_close(solver(schedule, LAW.denoise(schedule), x, t, s), LAW.denoise(schedule)(x, t), rtol=0, atol=1e-15)
    flow = RectifiedFlowSchedule()
    for solver in (euler, heun):
        assert_close(solver(flow, LAW.denoise(flow), x, t, s), LAW.denoise(flow)(x, t), rtol=0, atol=1e-12)


def test_clipping_inside_the_data_is_the_same_as_clipped_data():
    "The estimate of a law inside [-1, 1] is never clipped, at no level, by no solver."
    law = GaussianMixture([0.5, 0.5], [[-0.5], [0.5]], [[[1e-4]], [[1e-4]]])
    schedule = LinearBetaSchedule()
    x = noise(0, 'x', 0, range(50), (1,))
    for solver in ALL.values():
        plain, clipped = (last(f, schedule, x, uniform_times(schedule, 20), solver) for f in (law.denoise(schedule), clip_x0(law.denoise(schedule))))
        assert torch.equal(plain, clipped)
