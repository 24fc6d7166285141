"""Conformance functions: what is right passes, and what is broken is rejected with words that say why."""

import math
from functools import partial, wraps

import pytest
import torch
from helpers import PREDICTIONS, SCHEDULES, SOLVERS, STOCHASTIC_SOLVERS
from torch.testing import assert_close

from diffbook.conform import (
    PLANE,
    Told,
    check_denoiser,
    check_manners,
    check_order,
    check_prediction,
    check_schedule,
    check_solver,
    check_straight,
    flow_error,
    moments,
)
from diffbook.core import Cond, noise, seeded_noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.predictions import determinant, predict_eps, predict_score, predict_v
from diffbook.samplers import ancestral, churn, ddim, equip, euler, heun, sample, uniform_times
from diffbook.schedules import (
    CosineSchedule,
    DiscreteSchedule,
    RectifiedFlowSchedule,
    Schedule,
    linear_betas,
)

ALL = SOLVERS | STOCHASTIC_SOLVERS
LAW, COSINE = reference_mixture(), CosineSchedule()
TABLE = DiscreteSchedule(linear_betas())
everywhere = pytest.mark.parametrize('schedule', SCHEDULES.values(), ids=SCHEDULES)
every = pytest.mark.parametrize('prediction', PREDICTIONS.values(), ids=PREDICTIONS)


# Schedules


@everywhere
def test_every_schedule_keeps_the_rules(schedule):
    check_schedule(schedule)


class Broken(Schedule):
    "A right schedule whose methods can be replaced by wrong ones."

    def __init__(self, **wrong):
        self.right = CosineSchedule()
        for name, value in wrong.items():
            setattr(self, name, value)

    def alpha(self, t):
        return self.right.alpha(t)

    def sigma(self, t):
        return self.right.sigma(t)

    def alpha_dot(self, t):
        return self.right.alpha_dot(t)

    def sigma_dot(self, t):
        return self.right.sigma_dot(t)


BROKEN_SCHEDULES = {
    'alpha_dot of the wrong sign': ({'alpha_dot': lambda t: -COSINE.alpha_dot(t)}, 'alpha_dot differs'),
    'sigma_dot off by 1e-6': ({'sigma_dot': lambda t: COSINE.sigma_dot(t) * (1 + 1e-6)}, 'sigma_dot differs'),
    'variance for scale': ({'sigma': lambda t: COSINE.sigma(t) ** 2}, 'sigma_dot differs'),
    'float32': ({'alpha': lambda t: COSINE.alpha(t).float()}, 'float32'),
    'float32 in, float32 out': ({'sigma': lambda t: COSINE.sigma(t).to(torch.as_tensor(t).dtype)}, 'float32'),
    'another shape': ({'alpha_dot': lambda t: COSINE.alpha_dot(t).reshape(-1, 1)}, 'shape'),
    'one number for many times': ({'alpha_dot': lambda t: COSINE.alpha_dot(t).mean()}, 'expected float64 of shape'),
    'not a number': ({'sigma_dot': lambda t: COSINE.sigma_dot(t) * math.nan}, 'not finite'),
    'negative signal': ({'alpha': lambda t: COSINE.alpha(t) - 0.5}, 'alpha'),
    'noise first': (
        {'alpha': COSINE.sigma, 'sigma': COSINE.alpha, 'alpha_dot': COSINE.sigma_dot, 'sigma_dot': COSINE.alpha_dot},
        'log_snr does not fall',
    ),
    'no end to time': ({'alpha': lambda t: torch.sin(math.pi / 2 * (1 - torch.as_tensor(t).double()))}, 'is answered'),
    'infinite at the end': (
        {'sigma': lambda t: torch.tan(math.pi / 2 * COSINE.time(t)) + 1 / (1 - COSINE.time(t))},
        'sigma(1)',
    ),
    'time the wrong way': ({'t_min': 1.0, 't_max': 0.0}, 't_min is 1.0'),
}


@pytest.mark.parametrize('wrong, words', BROKEN_SCHEDULES.values(), ids=BROKEN_SCHEDULES)
def test_check_schedule_rejects(wrong, words):
    check_schedule(Broken())  # right until something is replaced
    with pytest.raises(ValueError) as error:
        check_schedule(Broken(**wrong))
    assert words in str(error.value)


# Predictions


@every
@everywhere
def test_the_books_predictions_pass_their_check(schedule, prediction):
    "Except where no signal is left and the arrow lies on that of x_t."
    if float(schedule.alpha(schedule.t_max)) == 0 and prediction in (predict_eps, predict_score):
        with pytest.raises(ValueError, match=f'at t = {schedule.t_max:g} this prediction says nothing of x0'):
            check_prediction(prediction, schedule)
    else:
        check_prediction(prediction, schedule)


@pytest.mark.parametrize('at', (0.02, 0.37, 0.62, 0.98))
def test_a_direction_that_x_passes_is_refused_wherever_it_passes(at):
    "With (a, b) = (cos, sin) of an angle on a quarter circle, the determinant is zero at one time; the next side is fine."
    angle = torch.tensor(at * torch.pi / 2, dtype=torch.float64)
    prediction = lambda schedule, t: (torch.cos(angle) * torch.ones_like(schedule.sigma(t)), torch.sin(angle) * torch.ones_like(schedule.sigma(t)))
    assert abs(determinant(prediction, CosineSchedule(), torch.tensor(at, dtype=torch.float64))) < 1e-12
    with pytest.raises(ValueError, match='the determinant of this prediction crosses zero before t = ') as error:
        check_prediction(prediction, CosineSchedule())
    assert abs(float(str(error.value).split('t = ')[1].split(':')[0]) - at) <= 1 / 256 + 1e-5
    part = CosineSchedule()
    part.t_min = at + 0.01
    check_prediction(prediction, part)


BROKEN_PREDICTIONS = {
    'single precision': (lambda schedule, t: (torch.zeros(len(t)), torch.ones(len(t))), 'a is torch.float32 of shape (256,), expected float64'),
    'numbers': (lambda schedule, t: (0.0, 1.0), 'a is a float, expected float64 of shape (256,)'),
    'one for all': (lambda schedule, t: (schedule.alpha(t), schedule.alpha(t[0])), 'b is torch.float64 of shape (), expected float64 of shape (256,)'),
    'by the largest time': (lambda schedule, t: (-schedule.sigma(t), schedule.alpha(t) + t.max()), 'b at one time depends on the other times'),
    'the input itself': (lambda schedule, t: (schedule.alpha(t), schedule.sigma(t)), 'says nothing of x0'),
}


@pytest.mark.parametrize('name', BROKEN_PREDICTIONS)
def test_check_prediction_rejects(name):
    prediction, words = BROKEN_PREDICTIONS[name]
    check_prediction(predict_v, COSINE)
    with pytest.raises(ValueError) as error:
        check_prediction(prediction, COSINE)
    assert words in str(error.value)


# Solvers and denoisers


def test_a_right_churn_passes_and_heun_keeps_its_order_in_the_law():
    "What is refused above is the clock, not the churn; and the order of mean and covariance may be asked for."
    for solver, order in ((partial(broken_churn, stale=False), 1), (ddim, 1), (heun, 2)):
        check_solver(solver, order, stochastic=True)
    with pytest.raises(ValueError, match='mean and covariance on Gaussian data are off by'):
        check_solver(partial(ddim, eta=0.3), 2, stochastic=True)


def comes_near(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0), share=1.0):
    "The reverse equation in one increment of the chain: right for many steps, never for one."
    scale, std = (c.to(x) for c in schedule.transition(s, t))
    eps = schedule.eps(x, denoise(x, t, cond), t)
    return (2 - scale) * x - share * std**2 / schedule.sigma(t).to(x) * eps + std * noise(x, s)


def test_a_rule_that_is_not_exact_for_one_point_is_judged_by_its_order_there():
    with pytest.raises(ValueError, match='with one data point the mean at t ='):
        check_solver(comes_near, 1, stochastic=True)
    check_solver(comes_near, 1, stochastic=True, exact=False)

    def one_point_only(schedule, denoise, x, t, s, cond=None, **noise):
        "Wrong where the answer is the same everywhere."
        wrong = len(x) > 1 and denoise(x, t, cond).std(0).max() == 0
        return comes_near(schedule, denoise, x, t, s, cond, share=0.9 if wrong else 1.0, **noise)

    for solver in (partial(comes_near, share=0.9), wraps(comes_near)(one_point_only)):
        with pytest.raises(ValueError, match='mean and covariance on Gaussian data are off by'):
            check_solver(solver, 1, stochastic=True, exact=False)


def test_the_tolerance_and_the_schedules_of_a_check_are_used():
    off = lambda x, t, cond=None: 0.5 * x + 1e-3 * torch.as_tensor(t).ndim
    check_denoiser(off, COSINE, torch.ones(3, 1), tol=1e-2)
    with pytest.raises(ValueError, match='when t has shape'):
        check_denoiser(off, COSINE, torch.ones(3, 1), tol=1e-4)
    partly = lambda schedule, *rest: (ddim if schedule is not TABLE else euler)(schedule, *rest)
    check_solver(partly)
    check_straight(partly, [COSINE])
    with pytest.raises(ValueError, match='off the straight path'):
        check_straight(partly, [COSINE, TABLE])


@pytest.mark.parametrize('name', ALL)
def test_check_solver_accepts_the_books_own(name):
    check_solver(ALL[name], {'heun': 2}.get(name, None if name in STOCHASTIC_SOLVERS else 1))


def broken_shape(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond)[..., None]


def broken_dtype(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond).double()


def broken_input(schedule, denoise, x, t, s, cond=None):
    return x.copy_(ddim(schedule, denoise, x, t, s, cond)) + 0


def broken_cond(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, None)


def broken_batch(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond) + 1e-3 * (x - x.mean(0))


def broken_randomness(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond) + 1e-6 * torch.randn_like(x)


def broken_number(schedule, denoise, x, t, s, cond=None):
    return ddim(schedule, denoise, x, t, s, cond) / (x > 0)


def broken_level(schedule, denoise, x, t, s, cond=None):
    "Asks the model about the wrong level."
    return ddim(schedule, lambda x, t, c: denoise(x, 0.99 * t, c), x, t, s, cond)


def broken_end(schedule, denoise, x, t, s, cond=None):
    "Never arrives at the data: Stable Diffusion's first code ended at alpha_bar_1."
    return ddim(schedule, denoise, x, t, s.clamp_min(1e-3), cond)


def broken_root(schedule, denoise, x, t, s, cond=None):
    x0 = denoise(x, t, cond)
    return schedule.alpha(s) * x0 + schedule.sigma(s) ** 2 * schedule.eps(x, x0, t)


def broken_clip(schedule, denoise, x, t, s, cond=None):
    "Clips the estimate and keeps the stale noise."
    x0 = denoise(x, t, cond)
    return schedule.perturb(x0.clamp(-1, 1), schedule.eps(x, x0, t), s)


def broken_average(schedule, denoise, x, t, s, cond=None):
    "Heun that uses only the velocity at the end: straight paths hide it, the order does not."
    guess = euler(schedule, denoise, x, t, s, cond)
    return guess if s == 0 else x + (s - t) * schedule.velocity(guess, denoise(guess, s, cond), s)


def broken_weight(schedule, denoise, x, t, s, cond=None):
    "Corrects by the change of the estimate, whatever the step: exact on straight paths, of order 0 elsewhere."
    guess = euler(schedule, denoise, x, t, s, cond)
    return guess + 0.1 * (denoise(guess, s, cond) - denoise(x, t, cond)) if s > 0 else guess


def broken_last_noise(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "Adds the noise of the way forward, also at the last step."
    a, b, std = schedule.posterior(t, s)
    return a * x + b * denoise(x, t, cond) + (std * schedule.sigma(t) / schedule.sigma(s).clamp_min(1e-3)) * noise(x, s)


def broken_variance(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    a, b, std = (c.to(x) for c in schedule.posterior(t, s))
    return a * x + b * denoise(x, t, cond) + std**2 * noise(x, s)


def broken_mean(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    a, b, std = (c.to(x) for c in schedule.posterior(t, s))
    return a * x + b / schedule.alpha(s).to(x) * denoise(x, t, cond) + std * noise(x, s)


def broken_ratio(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "DDIM's eta without the ratio of the steps."
    x0 = denoise(x, t, cond)
    std = torch.sqrt(1 - (schedule.alpha(t) / schedule.alpha(s)) ** 2)
    kept = torch.sqrt((schedule.sigma(s) ** 2 - std**2).clamp_min(0))
    return (schedule.alpha(s) * x0 + kept * schedule.eps(x, x0, t) + std * noise(x, s)).to(x)


def broken_sharing(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "Draws one noise and lends it by the place in the batch, counted from the end."
    return ancestral(schedule, denoise, x, t, s, cond, noise=lambda x, s: noise(x, s).flip(0))


def broken_question(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "Asks about another state: with one data point the answer is the same."
    return ancestral(schedule, lambda x, t, c: denoise(2 * x, t, c), x, t, s, cond, noise=noise)


def broken_clock(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    return ancestral(schedule, lambda x, t, c: denoise(x, 0.98 * t, c), x, t, s, cond, noise=noise)


def broken_churn(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0), stale=True):
    "Noise is added before the step, and the denoiser hears the time before that."
    up = (t + (t - s) / 2).clamp(max=schedule.t_max)
    scale = schedule.alpha(up) / schedule.alpha(t) if up > t else torch.ones_like(t)
    std = torch.sqrt((schedule.sigma(up) ** 2 - (scale * schedule.sigma(t)) ** 2).clamp(min=0))
    return ddim(schedule, lambda x, u, c: denoise(x, t if stale else u, c), scale * x + std * noise(x, up) if up > t else x, up, s, cond)


def broken_stream(schedule, denoise, x, t, s, cond=None, *, noise=seeded_noise(0)):
    "The same noise in every step, as if it were drawn once outside the loop."
    return ancestral(schedule, denoise, x, t, s, cond, noise=lambda x, s: noise(x, torch.zeros(()).double()))


def needs_noise(schedule, denoise, x, t, s, cond=None, *, noise):
    return ancestral(schedule, denoise, x, t, s, cond, noise=noise)


def needs_past(schedule, denoise, x, t, s, cond=None, *, past):
    return ddim(schedule, denoise, x, t, s, cond)


def needs_less(schedule, denoise, x, t, s):
    return ddim(schedule, denoise, x, t, s)


class Remembers:
    "Keeps the estimate before to itself, and takes a higher time for a new walk."

    before = None

    def __call__(self, schedule, denoise, x, t, s, cond=None):
        x0 = denoise(x, t, cond)
        u, old = self.before or (t, x0)
        self.before = t, x0
        guess = x0 + (x0 - old) / 2 if t < u else x0
        return ddim(schedule, lambda *_: guess, x, t, s, cond)


BROKEN_SOLVERS = [
    (broken_shape, 1, 'shape (5, 1, 1)'),
    (broken_dtype, 1, 'from float32 the solver made torch.float64'),
    (broken_input, 1, 'changed its input'),
    (broken_cond, 1, 'did not hand cond'),
    (broken_batch, 1, 'depends on the others'),
    (broken_randomness, 1, 'two answers to one question'),
    (broken_number, 1, 'not finite'),
    (broken_level, 1, 'off the straight path'),
    (broken_end, 1, 'off the straight path'),
    (broken_root, 1, 'off the straight path'),
    (broken_clip, 1, 'off the straight path'),
    (ancestral, 1, 'draws noise; say so: check_solver(yours, order, stochastic=True)'),
    (churn(ddim, 0.2, 0.3, 0.6), 1, 'draws noise'),
    (needs_noise, None, 'asks for `noise`, and not every caller hands that in; give it a default: noise=seeded_noise(0), of diffbook.core'),
    (needs_past, 1, 'asks for `past`, and not every caller hands that in; give it a default: past=()'),
    (needs_less, 1, 'cannot be called as solver(schedule, denoise, x, t, s, cond): too many'),
    (Remembers, 1, 'cannot be called as solver'),
    (broken_average, 2, 'the order is 1.01, expected 2'),
    (euler, 2, 'the order is 1.0'),
    (heun, 1, 'the order is 2.0'),
    (broken_weight, 1, 'the order is'),
    (broken_last_noise, None, 'the noise at t ='),
    (broken_variance, None, 'the noise at t ='),
    (broken_mean, None, 'the mean at t ='),
    (broken_ratio, None, 'the noise at t ='),
    (broken_sharing, None, 'depends on the others'),
    (broken_question, None, 'that it asks about at t = 1 is off by 3 in variance'),
    (broken_clock, None, 'that it asks about at t = 0.98'),
    (broken_churn, None, 'that it asks about at t ='),
    (broken_stream, None, 'mean and covariance on Gaussian data'),
]


@pytest.mark.parametrize('solver, order, words', BROKEN_SOLVERS, ids=[f'{getattr(f, "__name__", "none")}-{order}' for f, order, _ in BROKEN_SOLVERS])
def test_check_solver_rejects(solver, order, words):
    with pytest.raises(ValueError) as error:
        check_solver(solver, order)
    assert words in str(error.value)


EXACT = LAW.denoise(COSINE)
COUNT = [0]


def forgetful(x, t, cond=None):
    COUNT[0] += 1
    return EXACT(x, t) + 1e-3 * COUNT[0]


BROKEN_DENOISERS = {
    'shape': (lambda x, t, cond=None: EXACT(x, t)[:, 0], 'answered with shape (6,), expected (6, 1)'),
    'dtype': (lambda x, t, cond=None: EXACT(x, t).float(), 'answered in torch.float32, expected torch.float64'),
    'nan': (lambda x, t, cond=None: EXACT(x, t) / (x > 0), 'not finite'),
    'in place': (lambda x, t, cond=None: x.mul_(0.5), 'changed its input'),
    'two answers': (forgetful, 'two answers to one question'),
    'batch norm': (lambda x, t, cond=None: x - x.mean(0), 'depends on the others in its batch'),
    'one time for all': (lambda x, t, cond=None: EXACT(x, t.reshape(-1)[0]) * (1 + t.ndim), 't has shape (b,)'),
}


@pytest.mark.parametrize('name', BROKEN_DENOISERS)
def test_check_denoiser_rejects(name):
    denoise, words = BROKEN_DENOISERS[name]
    x = LAW.at(COSINE, 0.5).sample(6, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError) as error:
        check_denoiser(denoise, COSINE, x)
    assert words in str(error.value)


@pytest.mark.parametrize('name', SCHEDULES)
def test_check_denoiser_accepts_the_oracle(name):
    x = LAW.sample(6, torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.float64):
        check_denoiser(LAW.denoise(SCHEDULES[name]), SCHEDULES[name], x.to(dtype), Cond(vec=torch.ones(6, 1)))


def test_a_hidden_memory_is_refused():
    with pytest.raises(ValueError, match='remembers what it was asked before'):
        check_manners(Remembers())


def test_schedule_grid_and_law_of_the_order_are_those_that_are_given():
    asked, laws = [], []

    def listens(schedule, denoise, x, t, s, cond=None):
        asked.append((schedule, float(t), float(s)))
        return heun(schedule, denoise, x, t, s, cond)

    class Law(GaussianMixture):
        def denoise(self, schedule):
            laws.append(schedule)
            return super().denoise(schedule)

    flow, law = RectifiedFlowSchedule(), Law([1.0], [[0.7]], [[[0.36]]])
    check_order(listens, 2, flow, lambda schedule, n: torch.linspace(0.9, 0.2, n + 1, dtype=torch.float64), law)
    assert {s for s, _, _ in asked} == {flow} and len(laws) == 3
    assert max(t for _, t, _ in asked) == 0.9 and min(s for _, _, s in asked) == 0.2
    with pytest.raises(ValueError, match='the order is'):  # a solver that is of order two elsewhere
        check_order(lambda schedule, *rest: (heun if schedule is COSINE else euler)(schedule, *rest), 2, flow)


def test_a_solver_with_memory_starts_from_exact_history():
    "It is asked at exact states first, so its list holds the exact estimates at the times just left; one that asks for none walks the whole grid."
    begins = []

    def asks(schedule, denoise, x, t, s, cond=None, *, past=()):
        begins.append((float(t), [(float(u), v) for u, v in past], x))
        past.append((t, denoise(x, t, cond)))
        return ddim(schedule, denoise, x, t, s, cond)

    times = torch.linspace(0.9, 0.2, 9, dtype=torch.float64)
    assert flow_error(asks, LAW, COSINE, times, known=2) < flow_error(ddim, LAW, COSINE, times)
    t, past, x = begins[2]
    assert t == float(times[2]) and [u for u, _ in past] == times[:2].tolist()
    for u, x0 in past:
        assert_close(x0, LAW.denoise(COSINE)(LAW.flow(COSINE, x, t, u), torch.tensor(u).double()), rtol=1e-5, atol=1e-5)
    assert len(begins) == 8


def test_moments_against_many_draws():
    "The basis vectors agree with twenty thousand samples of a churned, half random walk, within four standard errors."
    solver, n = churn(partial(ddim, eta=0.7), 0.3), 20_000
    times = uniform_times(COSINE, 5)
    start = PLANE.at(COSINE, 1.0)
    mean, cov = moments(solver, PLANE.denoise(COSINE), COSINE, times, start.means[0], start.covs[0])
    x = start.means + noise(0, 'many', 0, range(n), (2,)) @ torch.linalg.cholesky(start.covs[0]).mT
    *_, y = sample(PLANE.denoise(COSINE), COSINE, x, times, equip(solver, noise=seeded_noise(1)))
    assert ((y.mean(0) - mean).abs() <= 4 * cov.diagonal().sqrt() / n**0.5).all()
    spread = torch.sqrt((cov**2 + cov.diagonal()[:, None] * cov.diagonal()) / n)  # Wishart
    assert ((torch.cov(y.mT) - cov).abs() <= 4 * spread).all()


def test_every_draw_has_a_row_of_its_own():
    told, x = Told(), torch.zeros(1, 2).double()
    for purpose, t in (('sample', 0.5), ('churn', 0.5), ('sample', 0.25), ('sample', 0.5)):
        (told if purpose == 'sample' else told.fork('churn'))(x, torch.tensor(t))
    assert len(told.drawn) == 3
    rows = told(torch.zeros(9, 2).double(), torch.tensor(0.25))
    assert_close(rows.nonzero(), torch.tensor([[7, 0], [8, 1]]))


def test_old_places_give_the_names_and_say_where_they_are():
    import diffbook.predictions
    import diffbook.samplers
    import diffbook.schedules

    for module, name in ((diffbook.samplers, 'check_solver'), (diffbook.schedules, 'check_schedule'), (diffbook.predictions, 'check_prediction')):
        with pytest.warns(DeprecationWarning, match=f'diffbook.conform.{name} now'):
            assert getattr(module, name) is globals()[name]
