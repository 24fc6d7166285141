"""Rows on truth: paths, orders, moments, distributions, learning and identities, against mathematics.

The figures come from the functions of tests/test_truth.py; the test of distributions and its power stand here.
"""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from benchmarks.reliability import ROOT, at_most, count, row
from diffbook.core import match_dims, noise, seeded_noise
from diffbook.exact import GaussianMixture
from diffbook.samplers import ancestral, ddim, euler, heun, karras_times, trailing_times, uniform_times
from diffbook.schedules import CosineSchedule

sys.path.insert(0, str(ROOT / 'tests'))  # the rows call what the tests call, and write nothing twice
import test_truth as truth  # noqa: E402
from helpers import SCHEDULES, SOLVERS, STOCHASTIC_SOLVERS  # noqa: E402

COUNTS = (1, 2, 3, 7, 10, 13, 50, 999, 1000)


@row('G3', 'with one data point every solver stays on the straight path at every call', goal='all within 1e-10; float32: 1e-5, or a rounding a step')
def g3(short: bool) -> dict:
    """Data is one point, so the path is alpha x0 + sigma eps. Every solver without noise, every schedule on which it is
    exact (DDIM: all; Euler and Heun: where alpha and sigma are straight lines), every spacing of steps (equal, whole
    times, Karras), 9 numbers of steps, in double and single precision: the distance from the path at every call. Samplers
    with noise: one step must make N(alpha x0, sigma^2) from N(alpha x0, sigma^2)."""
    good, n, worst, missed = 0, 0, {torch.float64: 0.0, torch.float32: 0.0}, []
    spacings = {'equal': uniform_times, 'karras': karras_times, 'whole times': trailing_times}
    for name, schedule in SCHEDULES.items():
        for solver in (ddim, euler, heun) if name in truth.LINEAR else (ddim,):
            for spacing, grid in spacings.items():
                span = schedule.t_max - schedule.t_min
                for steps in (1, 10) if short else COUNTS:
                    if spacing == 'whole times' and not steps <= span or span < 50 and spacing == 'whole times':
                        continue  # whole times are for tables
                    times = grid(schedule, steps)
                    for dtype, limit in ((torch.float64, 1e-10), (torch.float32, max(1e-5, steps * 2**-24))):
                        if dtype == torch.float32 and solver != ddim and spacing == 'karras':
                            continue  # a giant step to a tiny level divides the rounding of x by that level
                        off = truth.off_path(schedule, times, solver, dtype)
                        good, n, worst[dtype] = good + (off <= limit), n + 1, max(worst[dtype], off)
                        missed += [] if off <= limit else [f'{name}, {solver.__name__}, {spacing}, {steps} steps, {str(dtype)[6:]}: {off:.1g}']
        for solver in STOCHASTIC_SOLVERS:
            truth.test_dirac_with_noise(name, solver)
            good, n = good + 1, n + 1
    return count(good, n, worst={str(k)[6:]: v for k, v in worst.items()}, missed=missed)


@row('G4', 'every solver converges with its order, at the stated number of calls', goal='within 0.1 of the order; calls exact')
def g4(short: bool) -> dict:
    """The error against the exact flow of three laws (a correlated Gaussian, two mixtures), from the last three halvings
    of the step; the order is the slope. Also on every schedule, with equal steps in its own time. The model's calls are
    counted."""
    off = {}
    for law in list(truth.LAWS)[: 1 if short else 3]:
        for solver, order in truth.ORDERS.items():
            ends = truth.levels('cosine', (-2.0, 3.0))
            slopes = truth.halvings(truth.LAWS[law], CosineSchedule(), SOLVERS[solver], *ends, steps=(16, 32, 64, 128))
            off[f'{law}, {solver}'] = (slopes - order).abs().max().item()
    for name in () if short else SCHEDULES:
        for solver in truth.ORDERS:
            truth.test_order_on_every_schedule(name, solver)
    for solver in truth.ALL:
        for n in (1, 2, 7, 20):
            truth.test_model_calls(solver, n)
    worst = max(off.values())
    return {'figure': f'within {worst:.3f}; calls exact', 'met': worst <= 0.1, 'n': len(off), 'off': {k: round(v, 4) for k, v in off.items()}}


@row('G5', 'samplers with noise follow the exact recursion of mean and covariance', goal='1e-10')
def g5(short: bool) -> dict:
    """On Gaussian data a step is affine. Probe it with basis vectors, carry mean and covariance through all steps, and
    compare after each with the recursion of the paper (Song et al. 2021, equation 12), written down apart."""
    steps, tables = ((3,), truth.TABLES[:2]) if short else ((1, 3, 10, 50), truth.TABLES)
    errors = [truth.recursion(eta, name, n)[0] for eta in truth.ETAS for name in tables for n in steps]
    return at_most(max(errors), 1e-10, len(errors))


# G7: distributions

N, ALPHA, TESTS, STEPS = 200_000, 1e-6, 13, 10
TABLE = SCHEDULES['stable-diffusion']
EXACT = GaussianMixture([1.0], truth.MEAN[None], truth.COV[None])
TIMES = uniform_times(TABLE, STEPS)


def chain(start: Tensor, noises: list[Tensor], solver: Callable = ancestral, denoise: Callable | None = None, times: Tensor = TIMES) -> Tensor:
    "Sample with given noise: `start` is unit noise that becomes x at the first time, exactly distributed."
    first = EXACT.at(TABLE, times[0])
    x = first.means[0] + start @ torch.linalg.cholesky(first.covs[0]).T
    for t, s, z in zip(times[:-1], times[1:], noises):
        x = solver(TABLE, denoise or EXACT.denoise(TABLE), x, t, s, noise=lambda x, s, z=z: z)
    return x


def too_wide(schedule, denoise, x, t, s, cond=None, *, noise):
    "Variance of the forward step in place of the posterior's (the 'large' choice)."
    a, b, _ = schedule.posterior(t, s)
    beta = torch.sqrt(1 - (schedule.alpha(t) / schedule.alpha(s)) ** 2) * (schedule.sigma(s) > 0)
    return match_dims(a, x) * x + match_dims(b, x) * denoise(x, t, cond) + match_dims(beta, x) * noise(x, s)


def wrong_eta(schedule, denoise, x, t, s, cond=None, *, noise):
    "DDIM at eta 0.5 whose kept noise forgets what the fresh noise takes."
    x0 = denoise(x, t, cond)
    std = 0.5 * schedule.posterior(t, s)[2]
    return schedule.perturb(x0, schedule.eps(x, x0, t), s) + match_dims(std, x) * noise(x, s)


def early(schedule, denoise, x, t, s, cond=None, *, noise):
    "A network that is told the level it goes to, not the one it is at."
    return ancestral(schedule, lambda x, t, cond: denoise(x, s, cond), x, t, s, cond, noise=noise)


right = EXACT.denoise(TABLE)
BUGS: dict[str, Callable[[Tensor, list[Tensor]], Tensor]] = {
    'samples 1 % too wide': lambda start, z: 1.01 * chain(start, z),
    'noise left at the end, 0.1': lambda start, z: chain(start, z) + 0.1 * z[-1],  # the last step uses none of its own
    'estimates moved by 0.01': lambda start, z: chain(start, z, denoise=lambda x, t, cond: right(x, t) + 0.01),
    'estimates 2 % too large': lambda start, z: chain(start, z, denoise=lambda x, t, cond: 1.02 * right(x, t)),
    'levels off by one step': lambda start, z: chain(start, z, early),
    'variance of the wrong step': lambda start, z: chain(start, z, too_wide),
    'eta outside the root': lambda start, z: chain(start, z, wrong_eta),
    'the same noise in every step': lambda start, z: chain(start, [z[0]] * STEPS),
    'one noise for all coordinates': lambda start, z: chain(start, [v[:, :1].expand_as(v) for v in z]),
}


SOUND = {'eta outside the root': lambda start, z: chain(start, z, partial(ddim, eta=0.5))}  # what a bug is a bug of; else `chain`


def exact_law(run: Callable[[Tensor, list[Tensor]], Tensor]) -> tuple[Tensor, Tensor]:  # mean, root of the covariance
    "A run is affine in all its noise: feed zeros and basis vectors, and the law of its samples is known exactly."
    size = 3 * (1 + STEPS)
    inputs = torch.cat([torch.zeros(1, size), torch.eye(size)]).double()
    out = run(inputs[:, :3], list(inputs[:, 3:].split(3, 1)))
    slope = (out[1:] - out[0]).T
    return out[0], torch.linalg.cholesky(slope @ slope.T)


def alarm(x: np.ndarray, mean: np.ndarray, root: np.ndarray) -> float:
    """The smallest p-value, times the number of tests, of samples against N(mean, root root^T), all tests exact: three means,
    the sum of squares, six entries of the triangular root of the covariance (Bartlett 1933), three Kolmogorov-Smirnov distances."""
    z = np.linalg.solve(root, (x - mean).T)
    n = z.shape[1]
    p = list(2 * stats.norm.sf(np.abs(z.mean(1)) * np.sqrt(n)))
    centred = z - z.mean(1, keepdims=True)
    squares = (centred**2).sum()
    p.append(2 * min(stats.chi2.cdf(squares, 3 * (n - 1)), stats.chi2.sf(squares, 3 * (n - 1))))
    triangle = np.linalg.cholesky(centred @ centred.T)
    for i in range(3):
        p.append(2 * min(stats.chi2.cdf(triangle[i, i] ** 2, n - 1 - i), stats.chi2.sf(triangle[i, i] ** 2, n - 1 - i)))
        p += list(2 * stats.norm.sf(np.abs(triangle[i, :i])))
    if TESTS * min(p) >= ALPHA:
        grid = np.arange(n + 1) / n
        for line in np.sort(z):
            u = stats.norm.cdf(line)
            p.append(stats.kstwo.sf(max((grid[1:] - u).max(), (u - grid[:-1]).max()), n))
    return TESTS * min(p)


def real_noise(seed: int) -> tuple[Tensor, list[Tensor]]:
    "The noise that the library itself would draw."
    start, drawn = noise(seed, 'start', 0, range(N), (3,)), seeded_noise(seed)
    return start, [drawn(start, s) for s in TIMES[1:]]


@row('G7', 'samples have the exact law of the sampler, and the test would notice', goal='power >= 0.999 for every bug, 0 false alarms')
def g7(short: bool, seed: int) -> dict:
    """Draw 200,000 samples of a correlated Gaussian in three dimensions with the library's own noise, and test them against the
    exact law of the discrete sampler (not of the data): means, covariance and shape, 13 exact tests, a false alarm once in a
    million runs. Then break the sampler in nine ways that are known from bug reports: the law of each broken sampler is exact
    too, so its power is measured in 1,000 draws from that law and in one run of the broken sampler itself. Last, 2,000 runs
    of the test on the right law count false alarms. (A level that is off by one entry of a table of a thousand moves the law too
    little for any test of so many samples: G3 finds it without any.)"""
    runs, nulls, real = (3, 20, 1) if short else (1000, 2000, 10)
    mean, root = (v.numpy() for v in exact_law(chain))
    alarms = sum(alarm(chain(*real_noise(seed + i)).numpy(), mean, root) < ALPHA for i in range(real))
    draw, power = np.random.default_rng(seed), {}
    start, noises = real_noise(seed)
    for name, bug in BUGS.items():
        m, r = (v.numpy() for v in exact_law(bug))
        sound = [v.numpy() for v in exact_law(SOUND.get(name, chain))]
        found = sum(alarm(m + draw.standard_normal((N, 3)) @ r.T, *sound) < ALPHA for _ in range(runs))
        seen = short or alarm(bug(start, noises).numpy(), *sound) < ALPHA
        power[name] = found / runs if seen else 0.0
    false = sum(alarm(draw.standard_normal((N, 3)), np.zeros(3), np.eye(3)) < ALPHA for _ in range(nulls))
    least = min(power.values())
    figure = f'power {least:.3f} for {len(power)} bugs, {alarms + false} alarms in {nulls + real:,} runs without one'
    return {'figure': figure, 'met': least >= 0.999 and not alarms + false, 'n': nulls + real + runs * len(power), 'power': power}


# G9 and G10


@row('G9', 'learning reaches the error that no network can beat', goal='within 1 %')
def g9(short: bool) -> dict:
    """Train a small network on a mixture of three, for which the least possible error is known; its excess at eight noise
    levels, by quadrature. Data, noise, prediction, loss, optimizer and averaging are tested at once."""
    shares = truth.bayes_excess(**({'steps': 300} if short else {}))
    worst = max(shares.values())
    return {'figure': f'{worst:.2%} above it', 'met': worst <= (0.1 if short else 0.01), 'n': len(shares), 'excess': shares}


IDENTITIES = {
    'DDIM with eta 1 is the ancestral sampler': ('test_ddim_with_eta_one_is_ancestral', ()),
    'DDIM is exponential Euler (DPM-Solver-1)': ('test_ddim_is_exponential_euler', ()),
    'a run cut in two is the same run, to the bit': ('test_a_run_cut_in_two_gives_the_same_bits', ()),
    'a shuffled batch gives shuffled samples': ('test_batches_can_be_shuffled', ()),
    'independent dimensions do not see each other': ('test_independent_dimensions_do_not_see_each_other', tuple(truth.ALL)),
    'Euler is DDIM where noise is the clock': ('test_euler_is_ddim_where_noise_is_the_clock', ()),
    'one step is the denoiser': ('test_one_step_is_the_denoiser', ()),
    'moved and turned data gives moved and turned samples': ('test_moved_and_turned_data_gives_moved_and_turned_samples', ()),
    'larger data with larger noise gives larger samples': ('test_larger_data_with_larger_noise_gives_larger_samples', ()),
    'clipping inside the data changes nothing': ('test_clipping_inside_the_data_is_the_same_as_clipped_data', ()),
}


@row('G10', 'identities between samplers hold', goal='at least 8, to 1e-12')
def g10(short: bool) -> dict:
    """Run the tests of ten identities on drawn cases (hypothesis) with the comparison watched: the largest difference,
    relative to the largest number compared (at least 1)."""
    errors, plain = {}, truth.assert_close

    def watched(got, want, **tolerances):
        scale = max(1.0, want.abs().max().item())
        errors[name] = max(errors.get(name, 0.0), (got - want).abs().max().item() / scale)
        plain(got, want, **tolerances)

    truth.assert_close = watched
    try:
        for name, (test, cases) in list(IDENTITIES.items())[: 3 if short else None]:
            errors[name] = 0.0  # those that compare bits keep it
            for case in cases or ((),):
                getattr(truth, test)(*(case and (case,)))
    finally:
        truth.assert_close = plain
    exact = sum(e <= 1e-12 for e in errors.values())
    met = exact >= (3 if short else 8)
    return {'figure': f'{exact} of {len(errors)}, largest {max(errors.values()):.1g}', 'met': met, 'n': len(errors), 'errors': errors}
