"""Schedules against high precision, quadrature, SciPy's cubics, diffusers' tables, and each other."""

import copy
import json
import math

import helpers
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from torch.utils._python_dispatch import TorchDispatchMode

from diffbook.core import build, describe
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    ExponentialSchedule,
    KarrasSchedule,
    LinearBetaSchedule,
    RectifiedFlowSchedule,
    ShiftedSchedule,
    cosine_betas,
    linear_betas,
    monotone_slopes,
    scaled_linear_betas,
    table_angles,
    terminal_kl,
    zero_terminal_betas,
)

TABLES = {
    'linear': linear_betas(),
    'scaled-linear': scaled_linear_betas(),
    'cosine': cosine_betas(),
    'short': linear_betas(50),
}
SCHEDULES = pytest.mark.parametrize('schedule', helpers.SCHEDULES.values(), ids=helpers.SCHEDULES)
close = torch.testing.assert_close


def far_from_ends(schedule, n=9):
    "Times at which neither scale is tiny, so that derivatives are well conditioned."
    return helpers.inner_times(schedule, n, margin=0.05)


@pytest.mark.parametrize('name', TABLES)
def test_tables_against_fifty_digits(name):
    betas = TABLES[name]
    schedule = DiscreteSchedule(betas)
    with mpmath.workdps(50):
        product, at = mpmath.mpf(1), 0
        for t in (1, 2, 3, 10, len(betas) // 2, len(betas) - 1, len(betas)):
            while at < t:
                product *= 1 - mpmath.mpf(betas[at].item())
                at += 1
            want = [mpmath.sqrt(product), mpmath.sqrt(1 - product), mpmath.log(product / (1 - product))]
            got = [f(float(t)) for f in (schedule.alpha, schedule.sigma, schedule.log_snr)]
            for g, w in zip(got, want):
                assert abs(g.item() - float(w)) <= 2e-12 * abs(float(w)), (
                    t,
                    g,
                    w,
                )  # alpha near zero is a cosine near a right angle
            assert abs(got[1].item() / float(want[1]) - 1) <= 1e-15 * len(betas)


@pytest.mark.parametrize('kind, name', [('linear', 'linear'), ('scaled_linear', 'scaled-linear'), ('squaredcos_cap_v2', 'cosine')])
def test_tables_equal_diffusers(kind, name):
    schedulers = pytest.importorskip('diffusers.schedulers')
    ends = {'beta_start': 0.00085, 'beta_end': 0.012} if name == 'scaled-linear' else {}
    theirs = schedulers.DDPMScheduler(beta_schedule=kind, **ends)
    close(TABLES[name], theirs.betas.double(), rtol=1e-6, atol=0)  # theirs are float32
    alpha = DiscreteSchedule(TABLES[name]).alpha(torch.arange(1.0, 1001))
    close(alpha**2, theirs.alphas_cumprod.double(), rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize('make, options', [
    (linear_betas, {'T': 20, 'start': 0.01, 'end': 0.3}),
    (scaled_linear_betas, {'T': 20, 'start': 0.01, 'end': 0.3}),
], ids=['linear', 'scaled-linear'])  # fmt: skip
def test_tables_begin_and_end_where_they_are_told(make, options):
    "Straight in beta, or in its root, from the first entry to the last, both included."
    power = 1.0 if make is linear_betas else 0.5
    root = make(**options) ** power
    close(root, torch.tensor([0.01**power + i / 19 * (0.3**power - 0.01**power) for i in range(20)]).double(), rtol=1e-6, atol=0)
    close(root[[0, -1]], torch.tensor([0.01, 0.3]).double() ** power)
    assert make(1).tolist() == pytest.approx(make().tolist()[:1])


def test_the_cosine_table_keeps_its_offset_and_its_largest():
    "Where the cap does not reach, alpha_bar is the published ratio of squared cosines; the cap holds the last steps, both in betas."
    for offset, largest in ((0.008, 0.999), (0.2, 0.999), (0.008, 0.1)):
        betas = cosine_betas(50, offset, largest)
        f = [math.cos((i / 50 + offset) / (1 + offset) * math.pi / 2) ** 2 for i in range(51)]
        want = [min(1 - b / a, largest) for a, b in zip(f, f[1:])]
        assert betas.tolist() == pytest.approx(want, rel=1e-9)
        assert betas.max() == largest


MIDDLE = {'cosine': CosineSchedule(), 'karras': KarrasSchedule(), 'table': DiscreteSchedule(linear_betas()), 'line': RectifiedFlowSchedule()}


@pytest.mark.parametrize('name', MIDDLE)
def test_a_range_need_not_begin_at_zero_and_its_ends_belong_to_it(name):
    "A stretch of a schedule: the same scales, both ends taken, one step beyond refused; searching and shifting keep to it."
    whole, part = MIDDLE[name], copy.copy(MIDDLE[name])
    part.t_min, part.t_max = whole.t_max * 0.25, whole.t_max * 0.75
    low, high = (torch.tensor(v, dtype=torch.float64) for v in (part.t_min, part.t_max))
    inside = torch.linspace(part.t_min, part.t_max, 9, dtype=torch.float64)
    assert torch.equal(part.alpha(inside), whole.alpha(inside)) and torch.equal(part.sigma(inside), whole.sigma(inside))
    for t in (torch.nextafter(low, low - 1), torch.nextafter(high, high + 1)):
        with pytest.raises(ValueError, match='expected a time in'):
            part.alpha(t)
    assert part.time_at(1e9) == low and part.time_at(-1e9) == high
    close(part.time_at(whole.log_snr(inside)), inside, rtol=1e-9, atol=0)
    a, b, std = part.posterior(high, low)
    assert all(torch.equal(v, w) for v, w in zip((a, b, std), whole.posterior(high, low)))
    for shift in (0.5, 3.0):
        shifted = ShiftedSchedule(part, shift)
        assert torch.equal(shifted.alpha(low), part.alpha(low)) and torch.equal(shifted.alpha(high), part.alpha(high))
        u = (inside - low) / (high - low)
        close(shifted.sigma(inside), part.sigma(low + (high - low) * shift * u / (1 + (shift - 1) * u)), rtol=1e-9, atol=0)


def test_zero_terminal_equals_diffusers():
    schedulers = pytest.importorskip('diffusers.schedulers')
    theirs = schedulers.DDPMScheduler(beta_schedule='scaled_linear', beta_start=0.00085, beta_end=0.012, rescale_betas_zero_snr=True)
    close(zero_terminal_betas(scaled_linear_betas()), theirs.betas.double(), rtol=1e-4, atol=1e-5)  # float32 differences of theirs


def test_zero_terminal_ends_in_exact_zero_and_keeps_the_start():
    for betas in TABLES.values():
        before, after = DiscreteSchedule(betas), DiscreteSchedule(zero_terminal_betas(betas))
        assert after.alpha(after.t_max) == 0 and after.sigma(after.t_max) == 1 and terminal_kl(after) == 0
        close(after.alpha(1.0), before.alpha(1.0), rtol=1e-15, atol=0)
        close(zero_terminal_betas(after.betas), after.betas, rtol=1e-10, atol=1e-15)  # mending twice changes nothing


def random_table(seed, T):
    return 0.3 * np.random.default_rng(seed).random(T) ** 2 + 1e-6


@pytest.mark.parametrize('betas', [*TABLES.values(), *(torch.tensor(random_table(s, T)) for s, T in [(0, 2), (1, 3), (2, 40)])])
def test_between_whole_times_the_angle_is_scipys_monotone_cubic(betas):
    schedule, T = DiscreteSchedule(betas), len(betas)
    cubic = PchipInterpolator(np.arange(T + 1), table_angles(betas).numpy())
    t = torch.tensor(np.random.default_rng(0).uniform(0, T, 300))
    got = schedule.angle(t)
    close(got[0], torch.tensor(cubic(t.numpy())), rtol=1e-12, atol=1e-14)
    close(got[1], torch.tensor(cubic.derivative()(t.numpy())), rtol=1e-9, atol=1e-12)


def test_slopes_of_a_straight_line_and_of_a_peak():
    close(monotone_slopes(torch.arange(5.0, dtype=torch.float64)), torch.ones(5, dtype=torch.float64))
    assert monotone_slopes(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))[1] == 0
    close(monotone_slopes(torch.tensor([1.0, 4.0])), torch.tensor([3.0, 3.0]))


@given(st.lists(st.floats(1e-7, 0.5), min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=2, max_size=2))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_any_table_gives_rising_noise_on_the_circle(betas, times):
    schedule = DiscreteSchedule(betas)
    s, t = (torch.tensor(u, dtype=torch.float64) * len(betas) for u in sorted(times))
    assert schedule.sigma(s) <= schedule.sigma(t) and schedule.alpha(s) >= schedule.alpha(t)
    assert abs(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 - 1) < 1e-14
    assert schedule.sigma_dot(t) >= 0 >= schedule.alpha_dot(t)


@SCHEDULES
def test_drift_and_diffusion_carry_mean_and_variance(schedule):
    "m' = f m and v' = 2 f v + g**2, solved by Gauss-Legendre quadrature of f and of g**2 / m**2, give the jump from s to t."
    s, t = (schedule.t_min + u * (schedule.t_max - schedule.t_min) for u in (0.16, 0.8))
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(6))
    whole = max(1, round(t - s))
    pieces = whole * (1 + 200 // whole)  # whole times of a table end a piece: there its cubics change
    width = (t - s) / pieces
    u = s + width * (torch.arange(pieces)[:, None] + (1 + nodes) / 2)
    area = lambda f: (f * weights).sum() * width / 2
    ratio = schedule.alpha(t) / schedule.alpha(s)
    close(torch.exp(area(schedule.drift(u))), ratio, rtol=1e-7, atol=0)
    var = ratio**2 * area((schedule.diffusion(u) * schedule.alpha(s) / schedule.alpha(u)) ** 2)
    close(var, schedule.sigma(t) ** 2 - (ratio * schedule.sigma(s)) ** 2, rtol=1e-7, atol=0)


@SCHEDULES
def test_velocity_is_the_time_derivative_of_perturb(schedule):
    t = far_from_ends(schedule, 4)
    g = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(4, 3, 2, dtype=torch.float64, generator=g) for _ in range(2))
    x, want = torch.autograd.functional.jvp(lambda t: schedule.perturb(x0, eps, t), t, torch.ones_like(t))
    close(schedule.velocity(x, x0, t), want, rtol=1e-10, atol=1e-11)
    close(schedule.eps(x, x0, t), eps, rtol=1e-9, atol=1e-10)
    close(schedule.perturb(x0, eps, t)[2:3], schedule.perturb(x0[2:3], eps[2:3], t[2]), rtol=0, atol=0)


@SCHEDULES
def test_data_keep_their_dtype_and_times_may_come_in_any(schedule):
    x = torch.ones(2, 3, dtype=torch.float32)
    t = torch.tensor([schedule.t_max] * 2, dtype=torch.float32)
    assert schedule.perturb(x, x, t).dtype == torch.float32
    assert schedule.alpha(int(schedule.t_max)) == schedule.alpha(torch.tensor(float(int(schedule.t_max))))


@SCHEDULES
def test_time_at_inverts_log_snr(schedule):
    t = far_from_ends(schedule)
    close(schedule.time_at(schedule.log_snr(t)), t, rtol=1e-10, atol=0)
    close(schedule.time_at(torch.tensor(-1e9)), torch.tensor(schedule.t_max, dtype=torch.float64))
    close(schedule.time_at(torch.tensor(1e9)), torch.tensor(schedule.t_min, dtype=torch.float64), rtol=0, atol=1e-12)
    assert schedule.time_at(torch.zeros(2, 3)).shape == (2, 3)


@SCHEDULES
def test_terminal_kl_is_the_mutual_information_of_a_gaussian_pair(schedule):
    "I(x0; x_T) = (log var x0 + log var x_T - log det of their covariance) / 2 for x0 ~ N(0, 1)."
    with mpmath.workdps(40):
        a, s = mpmath.mpf(schedule.alpha(schedule.t_max).item()), mpmath.mpf(schedule.sigma(schedule.t_max).item())
        joint = mpmath.matrix([[1, a], [a, a**2 + s**2]])
        want = float((mpmath.log(joint[0, 0]) + mpmath.log(joint[1, 1]) - mpmath.log(mpmath.det(joint))) / 2)
    assert terminal_kl(schedule).item() == pytest.approx(want, rel=1e-10, abs=0)


@pytest.mark.parametrize(
    'betas, nats',
    [(linear_betas(), 2.0e-5), (scaled_linear_betas(), 2.3e-3), (linear_betas(250), 4.2e-2), (linear_betas(50), 0.46)],
)
def test_terminal_kl_of_known_tables(betas, nats):
    "The published figures, to the digits in which they are published."
    assert float(f'{terminal_kl(DiscreteSchedule(betas)).item():.1e}') == pytest.approx(float(f'{nats:.1e}'), rel=1e-12)


def test_stable_diffusion_leaks_seven_percent():
    "sqrt(alpha_bar_T) = 0.0683, the figure of the threads on zero terminal SNR."
    assert round(DiscreteSchedule(scaled_linear_betas()).alpha(1000.0).item(), 4) == 0.0683


def test_rate_of_the_continuous_schedule_against_quadrature():
    schedule = LinearBetaSchedule(0.3, 7.0)
    for t in (1e-6, 0.2, 0.9, 1.0):
        want = mpmath.quad(lambda u: 0.3 + u * 6.7, [0, t])
        assert schedule.alpha(t).item() == pytest.approx(float(mpmath.exp(-want / 2)), rel=1e-14, abs=0)
        assert schedule.sigma(t).item() == pytest.approx(float(mpmath.sqrt(-mpmath.expm1(-want))), rel=1e-14, abs=0)


def test_linear_tables_tend_to_the_linear_rate_with_order_one():
    u, errors = torch.linspace(0, 1, 11, dtype=torch.float64), []
    for T in (1000, 2000, 4000):
        table = DiscreteSchedule(linear_betas(T, 0.1 / T, 20 / T))
        errors.append((table.alpha(u * T) - LinearBetaSchedule().alpha(u)).abs().max().item())
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:])]
    assert all(abs(order - 1) < 0.02 for order in orders), orders


def test_cosine_table_without_offset_is_the_cosine_schedule():
    table = DiscreteSchedule(cosine_betas(200, offset=0.0))
    t = torch.arange(200, dtype=torch.float64)  # the last beta is cut
    close(table.alpha(t), CosineSchedule().alpha(t / 200), rtol=1e-11, atol=0)
    close(
        table.angle(torch.tensor(77.3))[0],
        torch.tensor(77.3 / 200 * math.pi / 2, dtype=torch.float64),
        rtol=1e-7,
        atol=0,
    )


def test_diffusion_at_the_clean_end_is_its_limit():
    assert LinearBetaSchedule(0.1, 20.0).diffusion(0.0).item() == pytest.approx(math.sqrt(0.1), rel=1e-12, abs=0)
    for schedule in helpers.SCHEDULES.values():
        g = schedule.diffusion(torch.tensor([schedule.t_min, far_from_ends(schedule)[0]]))
        assert torch.isfinite(g).all() and g[0] < g[1]


@pytest.mark.parametrize('shift', [0.3, 1.0, 3.0, 12.0])
def test_shift_multiplies_the_noise_to_signal_ratio_of_the_straight_line(shift):
    t = torch.linspace(0.01, 0.99, 25, dtype=torch.float64)
    shifted = ShiftedSchedule(RectifiedFlowSchedule(), shift)
    close(shifted.sigma(t) / shifted.alpha(t), shift * t / (1 - t), rtol=1e-12, atol=0)
    assert shifted.alpha(0.0) == 1 and shifted.alpha(1.0) == 0


@SCHEDULES
def test_shifts_compose_and_can_be_undone(schedule):
    t = far_from_ends(schedule)
    twice = ShiftedSchedule(ShiftedSchedule(schedule, 2.0), 3.0)
    close(twice.sigma(t), ShiftedSchedule(schedule, 6.0).sigma(t), rtol=1e-11, atol=0)
    back = ShiftedSchedule(ShiftedSchedule(schedule, 5.0), 0.2)
    close(back.sigma_dot(t), schedule.sigma_dot(t), rtol=1e-8, atol=1e-13)


@pytest.mark.parametrize('betas', [linear_betas(), scaled_linear_betas(), cosine_betas()], ids=['linear', 'scaled-linear', 'cosine'])
def test_cast_last_the_noise_keeps_float32_precision_and_rises(betas):
    schedule = DiscreteSchedule(betas)
    t = torch.arange(0.0, len(betas) + 1)
    cast = torch.exp(-schedule.log_snr(t[1:-1]).float() / 2)
    close(cast.double(), schedule.sigma(t[1:-1]) / schedule.alpha(t[1:-1]), rtol=1e-6, atol=0)
    assert (cast.diff() > 0).all() and (schedule.sigma(t).diff() > 0).all()


@SCHEDULES
def test_a_schedule_survives_json(schedule):
    again = build(json.loads(json.dumps(describe(schedule))))
    t = far_from_ends(schedule)
    close(again.alpha(t), schedule.alpha(t), rtol=0, atol=0)
    assert type(again) is type(schedule) and again.t_max == schedule.t_max


def test_a_table_is_copied():
    betas = linear_betas(20)
    schedule = DiscreteSchedule(betas)
    before = schedule.betas.clone()
    betas += 0.1
    close(schedule.betas, before, rtol=0, atol=0)


X = torch.zeros(2, 3)
BAD = {
    'no steps': (lambda: linear_betas(0), 'T is 0'),
    'half a step': (lambda: cosine_betas(2.5), 'T is 2.5'),
    'negative steps': (lambda: scaled_linear_betas(-1), 'T is -1'),
    'empty table': (lambda: DiscreteSchedule([]), 'betas has shape (0,)'),
    'a matrix': (lambda: DiscreteSchedule(torch.full((3, 3), 0.1)), 'betas has shape (3, 3)'),
    'beta of zero': (lambda: DiscreteSchedule([0.1, 0.0]), 'betas holds 0'),
    'beta above one': (lambda: DiscreteSchedule([0.1, 1.5]), 'betas holds 1.5'),
    'beta not a number': (lambda: DiscreteSchedule([0.1, math.nan]), 'betas holds nan'),
    'beta of one too early': (lambda: DiscreteSchedule([0.1, 1.0, 0.1]), 'betas holds 1 before its end'),
    'one beta to mend': (lambda: zero_terminal_betas(torch.tensor([0.1])), 'betas has 1 entry'),
    'a late time': (lambda: DiscreteSchedule(linear_betas()).alpha(1001), 't is 1001, expected a time in [0, 1000]'),
    'an early time': (
        lambda: CosineSchedule().sigma(torch.tensor([0.1, -0.5])),
        't is -0.5, expected a time in [0, 1]',
    ),
    'a time that is not a number': (lambda: KarrasSchedule().sigma(math.nan), 't is nan'),
    'times of two axes': (lambda: CosineSchedule().perturb(X, X, torch.zeros(2, 1)), 't has shape (2, 1)'),
    'times of another batch': (lambda: CosineSchedule().perturb(X, X, torch.zeros(3)), 't has shape (3,)'),
    'noise of another shape': (lambda: CosineSchedule().perturb(X, X[:1], torch.tensor(0.5)), 'eps has shape (1, 3)'),
    'integer data': (lambda: CosineSchedule().perturb(X.long(), X.long(), torch.tensor(0.5)), 'x0 is torch.int64'),
    'no shift': (lambda: ShiftedSchedule(CosineSchedule(), 0.0), 'shift is 0.0'),
    'negative noise': (lambda: KarrasSchedule(-1.0), 'sigma_max is -1.0'),
    'less than no noise': (lambda: KarrasSchedule(80.0, -0.1), 'sigma_min is -0.1, expected a number, at least 0'),
    'no noise between': (lambda: KarrasSchedule(1.0, 2.0), 'sigma_max is 1.0, expected a number, at least 2'),
    'no noise at all': (lambda: KarrasSchedule(0.0), 'sigma_max is 0.0'),
    'noise that does not grow': (lambda: ExponentialSchedule(1.0, 0.5), 'sigma_max is 0.5'),
    'negative rate': (lambda: LinearBetaSchedule(-0.1), 'beta_min is -0.1'),
    'infinite rate': (lambda: LinearBetaSchedule(0.1, math.inf), 'beta_max is inf'),
}


test_bad_input_is_refused = helpers.refuses(BAD)


# The way back from t to s


@SCHEDULES
def test_the_way_back_at_both_ends(schedule):
    "Without noise at s the answer is x0, with no fresh noise; without signal at t it is a fresh draw from the law of x_s."
    t, s = far_from_ends(schedule)[[5, 2]]
    a, b, std = schedule.posterior(t, schedule.t_min)
    if schedule.sigma(schedule.t_min) == 0:
        assert (a, b, std) == (0, schedule.alpha(schedule.t_min), 0)
    a, b, std = schedule.posterior(schedule.t_max, s)
    if schedule.alpha(schedule.t_max) == 0:
        assert (a, b, std) == (0, schedule.alpha(s), schedule.sigma(s))
    close(torch.stack(schedule.posterior(s, s)), torch.tensor([1.0, 0.0, 0.0]).double(), rtol=1e-15, atol=0)


def test_the_way_back_keeps_its_digits_between_neighbours():
    "With sigma = t there is nothing to round before the difference, so the spread is right to the last digits however short the step."
    for gap in (1e-3, 1e-8, 1e-15):
        t = torch.tensor([0.3, 2.0, 70.0], dtype=torch.float64)
        s = t * (1 - gap)
        with mpmath.workdps(50):
            want = [float(mpmath.sqrt(mpmath.mpf(b) ** 2 * (1 - (mpmath.mpf(b) / mpmath.mpf(a)) ** 2))) for a, b in zip(t.tolist(), s.tolist())]
        close(KarrasSchedule().posterior(t, s)[2], torch.tensor(want, dtype=torch.float64), rtol=1e-15, atol=0)


def test_the_way_back_in_betas():
    "Between two entries of a table it is the formula with betas (Ho et al. 2020, equation 7)."
    betas = linear_betas()
    schedule, t = DiscreteSchedule(betas), torch.arange(1.0, 1001, dtype=torch.float64)
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)])
    before, after = alpha_bar[:-1], alpha_bar[1:]
    a, b, std = schedule.posterior(t, t - 1)
    close(a, torch.sqrt(1 - betas) * (1 - before) / (1 - after), rtol=1e-9, atol=0)
    close(b, torch.sqrt(before) * betas / (1 - after), rtol=1e-9, atol=0)
    close(std**2, betas * (1 - before) / (1 - after), rtol=1e-9, atol=0)


def test_the_way_back_takes_numbers_and_batches_and_refuses_a_later_time():
    flow = RectifiedFlowSchedule()
    rows = [torch.stack(flow.posterior(t, 0.25)) for t in (0.5, 1)]
    close(torch.stack(flow.posterior(torch.tensor([0.5, 1.0]), 0.25), 1), torch.stack(rows), rtol=0, atol=0)
    with pytest.raises(ValueError, match='s is 0.75 and t is 0.5, expected s before t'):
        flow.posterior(0.5, 0.75)


# Tables on other devices


class Journeys(TorchDispatchMode):
    "Counts the tensors that leave the CPU."

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        here = isinstance(args[0], torch.Tensor) and args[0].device.type == 'cpu'
        self.count += here and isinstance(out, torch.Tensor) and out.device.type != 'cpu'
        return out


def test_a_table_travels_to_a_device_once():
    schedule, t = DiscreteSchedule(linear_betas(50)), torch.zeros(4, dtype=torch.float64, device='meta')
    counts = []
    for _ in range(3):
        with Journeys() as journeys:
            for f in (schedule.alpha, schedule.sigma, schedule.alpha_dot, schedule.sigma_dot):
                assert f(t).device == t.device
        counts.append(journeys.count)
    assert counts == [3, 0, 0]


def test_copies_on_devices_are_not_part_of_a_schedule():
    schedule = DiscreteSchedule(linear_betas(50))
    plain = describe(schedule)
    schedule.alpha(torch.zeros(4, device='meta'))
    assert describe(schedule) == plain
    for other in (build(describe(schedule)), copy.deepcopy(schedule)):
        assert torch.equal(other.alpha(torch.arange(51.0)), schedule.alpha(torch.arange(51.0)))
        assert other.alpha(torch.zeros(4, device='meta')).shape == (4,)


# The way on from s to t


@SCHEDULES
def test_the_way_on_is_the_twin_of_the_way_back(schedule):
    "Bayes' rule on q(x_t | x_s) and q(x_s | x0) gives the posterior; from a time to itself nothing happens, at both ends too."
    s, t = far_from_ends(schedule)[[2, 5]]
    scale, std = schedule.transition(s, t)
    precision = 1 / schedule.sigma(s) ** 2 + scale**2 / std**2
    a, b, spread = schedule.posterior(t, s)
    close(torch.stack([a, b, spread]), torch.stack([scale / std**2, schedule.alpha(s) / schedule.sigma(s) ** 2, precision**0.5]) / precision, rtol=1e-9, atol=0)
    for u in (schedule.t_min, float(t), schedule.t_max):
        assert torch.equal(torch.stack(schedule.transition(u, u)), torch.tensor([1.0, 0.0]).double())
    close(scale * schedule.alpha(s), schedule.alpha(t), rtol=1e-15, atol=0)
    close(std**2 + (scale * schedule.sigma(s)) ** 2, schedule.sigma(t) ** 2, rtol=1e-12, atol=0)


def test_the_way_on_in_betas_and_between_neighbours():
    table, t = DiscreteSchedule(linear_betas()), torch.arange(1.0, 1001, dtype=torch.float64)
    scale, std = table.transition(t - 1, t)
    close(scale, torch.sqrt(1 - table.betas), rtol=1e-12, atol=0)
    close(std, table.betas.sqrt(), rtol=1e-9, atol=0)
    for gap in (1e-3, 1e-8, 1e-15):
        t = torch.tensor([0.3, 2.0, 70.0], dtype=torch.float64)
        s = t * (1 - gap)
        with mpmath.workdps(50):
            want = [float(mpmath.sqrt((mpmath.mpf(a) - mpmath.mpf(b)) * (mpmath.mpf(a) + mpmath.mpf(b)))) for a, b in zip(t.tolist(), s.tolist())]
        close(KarrasSchedule().transition(s, t)[1], torch.tensor(want, dtype=torch.float64), rtol=1e-15, atol=0)


def test_noise_may_begin_above_zero():
    "The same scales from sigma_min on; nobody is asked below."
    part = KarrasSchedule(80.0, 0.002)
    assert (part.t_min, part.t_max) == (0.002, 80.0) and KarrasSchedule().t_min == 0
    close(part.sigma(torch.tensor([0.002, 5.0])), torch.tensor([0.002, 5.0]).double(), rtol=1e-7, atol=0)
    assert part.time_at(1e9).item() == pytest.approx(0.002, rel=1e-15)
    assert describe(build({'type': 'KarrasSchedule', 'sigma_max': 20.0})) == {'type': 'KarrasSchedule', 'sigma_max': 20.0, 'sigma_min': 0.0}
