"""Guidance: what one call costs, every formula against its paper or a closed form, and laws against scipy's integrators."""

import math
from dataclasses import dataclass, field
from functools import partial

import helpers
import numpy as np
import pytest
import torch
from helpers import PREDICTIONS, SCHEDULES, inner_times
from scipy.integrate import quad, solve_ivp
from scipy.special import ndtri
from torch.testing import assert_close

from diffbook.conform import check_denoiser, moments
from diffbook.core import Cond, Noise, noise
from diffbook.exact import GaussianMixture
from diffbook.guidance import (
    apg,
    autoguide,
    cfg_plus_plus,
    classifier_guide,
    dynamic_threshold,
    extrapolate,
    feynman_kac,
    guide,
    lambda_to_scale,
    langevin,
    resample,
    rescale,
    scale_to_lambda,
    scale_to_w,
    step_weight,
    unconditional,
    w_to_scale,
    within,
)
from diffbook.predictions import predict_v, skip_out, solve_x0, target
from diffbook.samplers import ancestral, ddim, equip, euler, heun, karras_times, sample, snr_times, uniform_times
from diffbook.schedules import CosineSchedule, KarrasSchedule, LinearBetaSchedule

VP, COSINE = LinearBetaSchedule(), CosineSchedule()
NULL = Cond(vec=torch.zeros(1, 2).double())


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(x, t, cond):
    "Stands for a network: looks at the state, the time and the condition of each example, differently in every channel."
    shift = (cond.vec[:, :1] + 2 * cond.vec[:, 1:] ** 2).reshape(-1, *[1] * (x.ndim - 1))
    time = torch.as_tensor(t).expand(len(x)).reshape(shift.shape)
    channel = torch.arange(1.0, x.shape[1] + 1).double().reshape(1, -1, *[1] * (x.ndim - 2))
    return torch.tanh(x * (1 + time) + shift * channel) * channel


class Spy:
    "Counts the examples of each call."

    def __init__(self, denoise=net):
        self.denoise, self.sizes = denoise, []

    def __call__(self, x, t, cond):
        self.sizes.append(len(x))
        assert len(cond.vec) == len(x) and torch.as_tensor(t).shape in ((), (len(x),))
        return self.denoise(x, t, cond)


@dataclass(frozen=True)
class Always(Noise):
    "One number instead of noise, and a list of what was asked for."

    z: float = 0.0
    drawn: list = field(default_factory=list)

    def __call__(self, x, t):
        self.drawn.append((self.purpose, float(t)))
        return torch.full_like(x, self.z)


X, C = draw(6, 4, 3, 3), Cond(vec=draw(6, 2, seed=1))
ALONE = Cond(vec=torch.zeros(6, 2).double())
T = torch.tensor(0.4, dtype=torch.float64)
SPREAD = torch.tensor([0.1, 0.25, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)  # a time for each example


# Two calls


@pytest.mark.parametrize(
    'scale, interval, t, calls',
    [
        (3.0, None, T, 2),
        (3.0, None, SPREAD, 2),
        (1.0, None, T, 1),
        (0.0, None, T, 2),
        (3.0, (0.2, 0.4), T, 2),  # the ends belong to it
        (3.0, (0.4, 0.8), T, 2),
        (3.0, (0.5, 0.8), T, 1),
        (3.0, (0.0, 0.3), T, 1),
        (3.0, (0.25, 0.5), SPREAD, 3),  # some are inside and some are not
        (3.0, (0.0, 1.0), SPREAD, 2),
        (torch.tensor([1.0, 2, 1, 1, 5, 1]), None, T, 2),
        (torch.tensor([1.0, 2, 1, 1, 5, 1]), (0.0, 0.5), SPREAD, 3),
    ],
)
def test_guidance_asks_twice_where_it_guides(scale, interval, t, calls):
    "The calls of a step; and each example gets the formula, from two calls of its own."
    spy = Spy()
    got = guide(spy, NULL, scale, interval=interval)(X, t, C)
    assert spy.sizes == [6] * calls
    low, high = interval or (0.0, 1.0)
    for i in range(len(X)):
        own = lambda v: v if torch.as_tensor(v).ndim == 0 else v[i]
        time, part = own(t), Cond(vec=C.vec[i : i + 1])
        with_, without = net(X[i : i + 1], time, part), net(X[i : i + 1], time, NULL)
        want = without + own(torch.as_tensor(scale)) * (with_ - without) if low <= time <= high else with_
        assert_close(got[i : i + 1], want, rtol=1e-12, atol=1e-12)


def test_a_walk_costs_two_calls_a_step_inside_the_interval():
    spy, times = Spy(), uniform_times(COSINE, 10)
    *_, x = sample(guide(spy, NULL, 3.0, interval=(0.25, 0.55)), COSINE, X, times, ddim, C)
    assert spy.sizes == [6] * (5 + 2 * 3 + 2)


def test_guided_denoisers_keep_the_manners_of_denoisers():
    for f in (
        guide(net, NULL, 3.0),
        guide(net, NULL, 3.0, rule=rescale()),
        guide(net, NULL, 3.0, rule=partial(apg, along=0.2, longest=1.0)),
        dynamic_threshold(guide(net, NULL, 3.0)),
        autoguide(net, lambda x, t, cond: 0.9 * net(x, t, cond), 2.0),
    ):
        check_denoiser(f, COSINE, X, C)


def test_every_field_travels_and_a_negative_prompt_is_a_null():
    "Sequence, mask, vector and image of the null condition, of one example or of each, and of a length of its own."
    cond = Cond(draw(3, 2), draw(3, 5, 2), torch.rand(3, 5) > 0.5, draw(3, 1, 4, 4))
    for n in (1, 3):
        null, asked = Cond(draw(n, 2, seed=1), draw(n, 7, 2, seed=1), torch.ones(n, 7, dtype=torch.bool), draw(n, 1, 4, 4, seed=1)), []
        guide(lambda x, t, cond: asked.append(cond) or x, null, 2.0)(draw(3, 4), T, cond)
        (other,) = (c for c in asked if c is not cond)
        assert len(asked) == 2
        for name in ('vec', 'seq', 'mask', 'img'):
            z = getattr(null, name)
            assert torch.equal(getattr(other, name), z.expand(3, *z.shape[1:])), name
    negative = Cond(vec=draw(6, 2, seed=5))
    got = guide(net, negative, 2.5)(X, T, C)
    assert_close(got, 2.5 * net(X, T, C) - 1.5 * net(X, T, negative))


def test_answers_are_not_swapped():
    both = [guide(net, NULL, 2.0, rule=lambda x0, away, scale, t, i=i: (x0, away)[i])(X, T, C) for i in range(2)]
    assert_close(both[0], net(X, T, C))
    assert_close(both[1], net(X, T, ALONE))
    assert_close(unconditional(net, NULL)(X, T, C), both[1])


def test_within_chooses_for_each_example():
    one, two = (lambda x, t, cond=None: x + 1), (lambda x, t, cond=None: x + 2)
    for t in (SPREAD, T, 0.9, 0.1):
        inside = ((torch.as_tensor(t) >= 0.25) & (torch.as_tensor(t) <= 0.5)).expand(6)[:, None, None, None]
        assert torch.equal(within(0.25, 0.5, one, two)(X, t), torch.where(inside, X + 1, X + 2))


@pytest.mark.parametrize('name', ['guide', 'autoguide', 'classifier'])
def test_a_scale_for_each_example_goes_where_the_pictures_are(name):
    "Pictures on another device (one that computes shapes only, and refuses to mix), scales and times left on the CPU."
    far = lambda v: v.to('meta')
    by_hand = lambda x0, away, scale, t: away + (scale.reshape(-1, 1, 1, 1) + 0 * t.to(x0.dtype).reshape(-1, 1, 1, 1)) * (x0 - away)
    scale, x, cond = torch.tensor([1.0, 2, 1, 3, 5, 1]), far(X.float()), C.map(lambda v: far(v.float()))
    low = lambda x, t, cond: x + cond.vec.sum(1).reshape(-1, 1, 1, 1)
    guided = {
        'guide': lambda rule: guide(low, NULL.map(torch.Tensor.float), scale, interval=(0.2, 0.8), rule=rule),
        'autoguide': lambda rule: autoguide(low, low, scale, interval=(0.2, 0.8), rule=rule),
        'classifier': lambda rule: classifier_guide(low, lambda x, t, cond: x.flatten(1).sum(1), COSINE, scale),
    }[name]
    for rule, t in ((extrapolate, SPREAD), (rescale(), SPREAD), (by_hand, SPREAD), (extrapolate, T), (partial(apg, longest=1.0), T)):
        got = guided(rule)(x, t, cond)
        assert got.shape == x.shape and got.dtype == torch.float32 and got.device.type == 'meta'


BAD = {
    'empty null': (lambda: guide(net, Cond(), 2.0), 'holds something'),
    'scale nan': (lambda: guide(net, NULL, math.nan), 'scale is nan'),
    'scale of two axes': (lambda: guide(net, NULL, torch.ones(6, 1)), 'one for each example'),
    'scale of another batch': (lambda: guide(net, NULL, torch.full((5,), 2.0))(X, T, C), '(5,)'),
    'interval backwards': (lambda: guide(net, NULL, 2.0, interval=(0.9, 0.1)), 'earlier time first'),
    'no condition': (lambda: guide(net, NULL, 2.0)(X, T, None), 'cond is None'),
    'labels for a condition': (lambda: guide(net, NULL, 2.0)(X, T, torch.arange(6)), 'cond is a Tensor, expected a Cond'),
    'null of another batch': (lambda: guide(net, Cond(vec=draw(4, 2)), 2.0)(X, T, C), 'null holds 4 examples, expected 1 or 6'),
    'share': (lambda: rescale(1.5), 'share is 1.5'),
    'quantile': (lambda: dynamic_threshold(net, 0.0), 'quantile is 0.0'),
    'bound': (lambda: dynamic_threshold(net, 0.9, -1.0), 'bound is -1.0'),
    'cap': (lambda: dynamic_threshold(net, 0.9, 1.0, 0.5), 'cap is 0.5, expected at least the bound, 1.0'),
    'longest': (lambda: apg(X, X, 2.0, T, longest=0.0), 'longest is 0.0'),
    'momentum without memory': (lambda: apg(X, X, 2.0, T, momentum=-0.5), 'a new one for each walk: past=[]'),
    'memory of another walk': (lambda: apg(X, X, 2.0, 0.9, momentum=-0.5, past=[(T, X)]), 'a new one for each walk: past=[]'),
    'corrector': (lambda: langevin(ddim, -1), 'steps is -1'),
    'corrector size': (lambda: langevin(ddim, 1, 2.5), 'size is 2.5'),
}


test_bad_input_is_refused = helpers.refuses(BAD)


# Conventions


@pytest.mark.parametrize('prediction', PREDICTIONS)
@pytest.mark.parametrize('schedule', ['ddpm', 'cosine', 'linear-beta', 'karras', 'rectified-flow'])
def test_guidance_is_the_same_in_every_prediction(prediction, schedule):
    "Extrapolate what a network would say, in all channels, then solve for x0: the same as guiding x0, with s and with w."
    schedule, prediction = SCHEDULES[schedule], PREDICTIONS[prediction]
    for t in inner_times(schedule, 3):
        skip, out = skip_out(prediction, schedule, t)
        say = lambda cond: (net(X, t / schedule.t_max, cond) - skip * X) / out
        scaled = lambda x, time, cond: net(x, time / schedule.t_max, cond)
        for scale in (0.0, 1.0, 2.0, 7.5):
            want, w = guide(scaled, NULL, scale)(X, t, C), scale_to_w(scale)
            for y in (say(ALONE) + scale * (say(C) - say(ALONE)), (1 + w) * say(C) - w * say(ALONE)):
                assert_close(solve_x0(prediction, schedule, y, X, t), want, rtol=1e-8, atol=1e-8)


def test_conventions_come_back():
    for scale in (-1.0, 0.0, 1.0, 7.5):
        assert w_to_scale(scale_to_w(scale)) == scale
        assert math.isclose(lambda_to_scale(scale_to_lambda(scale, VP, 0.6, 0.5), VP, 0.6, 0.5), scale, abs_tol=1e-12)
    assert (scale_to_w(1.0), w_to_scale(0.0)) == (0.0, 1.0)


# Classifier guidance


@pytest.mark.parametrize('name', ['cosine', 'linear-beta', 'karras', 'rectified-flow', 'ddpm'])
def test_a_classifier_guides_as_no_classifier_does(name):
    "Two Gaussians in the plane with full covariances: autograd through the exact noisy classifier against the two denoisers."
    schedule = SCHEDULES[name]
    parts = [([0.7, -0.3], [[0.4, 0.1], [0.1, 0.3]]), ([-0.5, 0.6], [[0.2, -0.05], [-0.05, 0.5]])]
    one, two = (GaussianMixture([1.0], [m], [c]) for m, c in parts)
    both = GaussianMixture([0.3, 0.7], *zip(*parts))

    def log_prob(x, t, cond=None):
        logs = []
        for weight, (m, c) in zip((0.3, 0.7), parts):
            cov = schedule.alpha(t) ** 2 * torch.tensor(c).double() + schedule.sigma(t) ** 2 * torch.eye(2)
            law = torch.distributions.MultivariateNormal(schedule.alpha(t) * torch.tensor(m).double(), cov)
            logs.append(math.log(weight) + law.log_prob(x))
        return logs[0] - torch.logsumexp(torch.stack(logs), 0)

    x = draw(7, 2)
    for t in inner_times(schedule, 2):
        for scale in (0.0, 1.0, 3.0):
            with torch.no_grad():  # as inside `sample`
                got = classifier_guide(both.denoise(schedule), log_prob, schedule, scale)(x, t)
            away = both.denoise(schedule)(x, t)
            assert_close(got, away + scale * (one.denoise(schedule)(x, t) - away), rtol=1e-6, atol=1e-8)


def test_a_classifier_says_nothing_of_pure_noise():
    flat = lambda x, t, cond=None: (COSINE.alpha(t) * x).sum(1)
    got = classifier_guide(lambda x, t, cond=None: 0.5 * x, flat, COSINE, 4.0)(draw(3, 2), torch.tensor(1.0).double())
    assert_close(got, 0.5 * draw(3, 2))


# What guidance samples


def gaussian_pair(x, t, cond, schedule):
    "Exact denoisers of N(0, 1) with a condition and of N(0, 2) without."
    v = torch.where(cond.vec[:, :1] == 0, 2.0, 1.0).double()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return alpha * v / (alpha**2 * v + sigma**2) * x


def gain(solver, schedule, scale, times):
    "One linear walk: where the number 1 ends, and the variance of the fresh noise that came in."
    ones, null = Cond(vec=torch.ones(1, 1).double()), Cond(vec=torch.zeros(1, 1).double())
    denoise = guide(lambda x, t, c: gaussian_pair(x, t, c, schedule), null, scale)
    total, fresh = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    for t, s in zip(times[:-1], times[1:]):
        run = lambda x, z: solver(schedule, denoise, x, t, s, ones, **({} if z is None else {'noise': lambda x, s: z + 0 * x}))
        quiet = run(torch.ones(1, 1).double(), None if solver is heun else 0.0)
        total, fresh = total * quiet, fresh * quiet**2
        if solver is ancestral:
            fresh = fresh + run(torch.zeros(1, 1).double(), 1.0) ** 2
    return total.item(), fresh.item()


@pytest.mark.parametrize('scale', [1.0, 2.0, 3.0, 5.0])
@pytest.mark.parametrize('name', ['linear-beta', 'karras', 'cosine'])
def test_the_flow_makes_its_own_law_and_not_the_tilted_one(name, scale):
    """Guidance of Gaussians is linear: the gain is the product of powers of both flows' gains, so the variance tends to 2**(1 - scale).

    The tilted density has the variance 2 / (1 + scale): another one at every scale but 1.
    """
    schedule = SCHEDULES[name]
    times = karras_times(schedule, 150)
    top = schedule.time(times[0])
    flow = lambda v: math.sqrt(v / (schedule.alpha(top) ** 2 * v + schedule.sigma(top) ** 2))
    want = flow(1.0) ** scale * flow(2.0) ** (1 - scale)
    got = gain(heun, schedule, scale, times)[0]
    assert math.isclose(got, want, rel_tol=2e-3)
    var = (got * schedule.sigma(top).item()) ** 2
    assert math.isclose(var, 2 ** (1 - scale), rel_tol=0.02)
    apart = (var * (1 + scale) / 2 - 1 - math.log(var * (1 + scale) / 2)) / 2  # KL to the tilted density
    assert apart < 1e-4 if scale == 1 else apart > 0.01


@pytest.mark.parametrize('scale', [1.0, 2.0, 3.0, 5.0])
def test_ancestral_steps_make_a_third_law(scale):
    "With fresh noise the variance tends to (2 - 2**(2 - 2 scale)) / (2 scale - 1); the error of first order is extrapolated away."
    var = []
    for n in (100, 200):
        total, fresh = gain(ancestral, VP, scale, karras_times(VP, n))
        var.append(total**2 + fresh)
    assert math.isclose(2 * var[1] - var[0], (2 - 2 ** (2 - 2 * scale)) / (2 * scale - 1), rel_tol=0.01)


@pytest.mark.parametrize('scale, mean', [(2.0, 1.320), (4.0, 1.674), (7.5, 2.073)])
def test_two_classes_against_scipy(scale, mean):
    "Class N(1, 0.25) against an equal mixture with N(-1, 0.25): our walk against DOP853 with scores by hand."
    n, var = 41, 0.25
    start = ndtri((np.arange(n) + 0.5) / n)

    def slope(u, x):  # time runs from 1 down to 0
        t = 1 - u
        beta, a = 0.1 + 19.9 * t, math.exp(-(0.1 * t + 19.9 * t**2 / 2) / 2)
        v = a**2 * var + 1 - a**2
        cond, either = (a - x) / v, (a * np.tanh(a * x / v) - x) / v
        return beta / 2 * (x + either + scale * (cond - either))

    want = solve_ivp(slope, (0, 1), start * VP.sigma(1.0).item(), 'DOP853', rtol=1e-8, atol=1e-9).y[:, -1]
    laws = [GaussianMixture([1.0], [[1.0]], [[[var]]]), GaussianMixture([0.5, 0.5], [[1.0], [-1.0]], [[[var]]] * 2)]
    one, both = (law.denoise(VP) for law in laws)
    denoise = lambda x, t, cond: torch.where(cond.vec[:, :1] == 0, both(x, t), one(x, t))
    null, cond = Cond(vec=torch.zeros(1, 1).double()), Cond(vec=torch.ones(n, 1).double())
    x = torch.from_numpy(start)[:, None] * VP.sigma(1.0)
    *_, got = sample(guide(denoise, null, scale), VP, x, karras_times(VP, 150), heun, cond)
    assert_close(got[:, 0], torch.from_numpy(want), rtol=0, atol=2e-3)
    assert abs(want.mean() - mean) < 0.01  # of only 41 quantiles
    mass = lambda x: math.exp(-((x - 1) ** 2) / (2 * var)) * (1 / (1 + math.exp(-2 * x / var))) ** (scale - 1)
    tilted = quad(lambda x: x * mass(x), -3, 6, epsabs=1e-10)[0] / quad(mass, -3, 6, epsabs=1e-10)[0]
    assert want.mean() - tilted > 0.25


# Samplers that reach the tilted density


def test_langevin_settles_on_the_guided_law_of_its_time():
    """From anywhere, many corrector steps at one time reach the law whose score is guided: here a Gaussian.

    Its variance is 1 / (s / v_c + (1 - s) / v_0), times 1 / (1 - step / (2 variance)) for the size of the step.
    """
    scale, t, size = 3.0, torch.tensor(0.5).double(), 0.2
    ones, null = Cond(vec=torch.ones(1, 1).double()), Cond(vec=torch.zeros(1, 1).double())
    denoise = guide(lambda x, t, c: gaussian_pair(x, t, c, COSINE), null, scale)
    still = lambda schedule, denoise, x, t, s, cond: x
    step = lambda x, z: langevin(still, 1, size, Always(z=z))(COSINE, denoise, torch.full((1, 1), x).double(), t, t, ones)
    shrink, kick = (step(1.0, 0.0) - step(0.0, 0.0)).item(), (step(0.0, 1.0) - step(0.0, 0.0)).item()
    alpha2, sigma2 = COSINE.alpha(t).item() ** 2, COSINE.sigma(t).item() ** 2
    var = 1 / (scale / (alpha2 + sigma2) + (1 - scale) / (2 * alpha2 + sigma2))
    assert math.isclose(kick**2 / (1 - shrink**2), var / (1 - size * sigma2 / (2 * var)), rel_tol=1e-9)


def test_langevin_calls_draws_afresh_and_stops_where_there_is_no_noise():
    spy, source = Spy(lambda x, t, cond: 0.5 * x), Always()
    *_, x = sample(spy, COSINE, X, uniform_times(COSINE, 3), langevin(ddim, 2, 0.1, source), C)
    assert len(spy.sizes) == 3 + 2 * 2 and len(set(source.drawn)) == 4 and torch.isfinite(x).all()
    *_, plain = sample(spy, COSINE, X, uniform_times(COSINE, 3), ddim, C)
    *_, none = sample(spy, COSINE, X, uniform_times(COSINE, 3), langevin(ddim, 0), C)
    assert torch.equal(plain, none)


def test_a_corrector_leaves_alone_who_has_arrived():
    "One example ends without noise, the others do not: each gets the step that it gets alone."
    t, s, x = torch.tensor([0.9, 0.6, 0.3]).double(), torch.tensor([0.5, 0.0, 0.2]).double(), draw(3, 2)
    denoise = lambda x, t, cond: 0.5 * x
    step = lambda i: langevin(euler, 2)(COSINE, denoise, x[i], t[i], s[i], noise=Noise(3, start=i.start or 0))
    assert_close(step(slice(None)), torch.cat([step(slice(i, i + 1)) for i in range(3)]), rtol=1e-13, atol=1e-13)
    assert_close(step(slice(1, 2)), euler(COSINE, denoise, x[1:2], t[1:2], s[1:2]), rtol=0, atol=0)
    both = step_weight(COSINE, t, s, x, x + 0.1, (x, 2.0), (0 * x, -1.0))
    alone = [step_weight(COSINE, t[i], s[i], x[i : i + 1], x[i : i + 1] + 0.1, (x[i : i + 1], 2.0), (0 * x[i : i + 1], -1.0)) for i in range(3)]
    assert_close(both, torch.cat(alone), rtol=1e-12, atol=0)
    assert both[1] == 0


def test_a_corrector_draws_from_a_fork_of_the_noise_it_is_handed():
    "The predictor gets the noise itself and the corrector streams of its own: seeds and starts reach both, at any depth."
    x, (t, s), denoise = draw(4, 2), torch.tensor([0.8, 0.7]).double(), lambda x, t, cond: 0.5 * x
    step = lambda solver, noise, x=x: equip(solver, noise=noise)(COSINE, denoise, x, t, s)
    for solver in (langevin(ancestral), langevin(euler), langevin(partial(langevin(partial(ddim, eta=1.0))), 2), partial(langevin(ancestral, 0))):
        assert not torch.equal(step(solver, Noise(0)), step(solver, Noise(1)))
        assert_close(step(solver, Noise(0, start=7))[2:], step(solver, Noise(0, start=9), x[2:]), rtol=0, atol=0)
    drawn = []

    class Listening(Noise):
        def __call__(self, x, t):
            drawn.append((self.purpose, float(t)))
            return super().__call__(x, t)

    step(langevin(ancestral, 3), Listening())
    assert [purpose for purpose, _ in drawn] == ['sample', 'sample/langevin/0', 'sample/langevin/1', 'sample/langevin/2']
    own = langevin(ancestral, 1, noise=Noise(99))
    assert not torch.equal(step(own, Noise(0)), step(langevin(ancestral, 1), Noise(0)))


def test_particles_draw_from_the_noise_they_are_given():
    cond, times = Cond(vec=torch.ones(6, 1).double()), karras_times(VP, 4)
    run = lambda **options: torch.cat(
        [
            x
            for x, _ in feynman_kac(
                lambda x, t, c: gaussian_pair(x, t, c, VP), Cond(vec=torch.zeros(1, 1).double()), 2.0, VP, draw(6, 1), times, cond, **options
            )
        ]
    )
    assert torch.equal(run(), run(noise=Noise(0)))
    assert not torch.isclose(run()[:6], run(noise=Noise(1))[:6]).any() and not torch.isclose(run()[:6], run(noise=Noise(0, start=6))[:6]).any()


def test_every_option_of_the_rules_is_used():
    "A rule inside a rule, an interval and a rule of autoguidance: each changes the answer as its own formula says."
    weak = lambda x, t, cond: 0.5 * net(x, t, cond) + 1
    falling = lambda x0, away, scale, t: extrapolate(x0, away, 1 + (scale - 1) * (1 - t))
    assert_close(autoguide(net, weak, 3.0, rule=falling)(X, T, C), autoguide(net, weak, 1 + 2 * (1 - float(T)))(X, T, C))
    inner = guide(net, NULL, 3.0, rule=rescale(1.0, falling))(X, T, C)
    plain = guide(net, NULL, 3.0, rule=falling)(X, T, C)
    ratio = (net(X, T, C).flatten(1).std(1) / plain.flatten(1).std(1))[:, None, None, None]
    assert_close(inner, ratio * plain)
    for low, high, on in ((0.4, 0.6, True), (0.2, 0.4, True), (0.401, 0.6, False), (0.2, 0.399, False)):  # the ends belong to it
        got = autoguide(net, weak, 3.0, interval=(low, high))(X, T, C)
        assert torch.equal(got, net(X, T, C)) != on
    a, b = (langevin(ddim, 1, size)(COSINE, net, X, T, T / 2, C) for size in (0.1, 0.3))
    assert not torch.isclose(a, b).any() and torch.equal(b, langevin(ddim)(COSINE, net, X, T, T / 2, C))


def test_step_weight_is_the_logarithm_of_products_of_gaussians():
    "Against torch's normal law in three dimensions; constants of the law cancel because the exponents sum to zero."
    t, s = torch.tensor([0.6, 0.5]).double()
    a, b, std = COSINE.posterior(t, s)
    x, moved, x0, away, used = draw(5, 5, 3)
    log = lambda estimate: torch.distributions.Normal(a * x + b * estimate, std).log_prob(moved).sum(1)
    got = step_weight(COSINE, t, s, x, moved, (x0, 2.5), (away, -1.5), (used, -1))
    assert_close(got, 2.5 * log(x0) - 1.5 * log(away) - log(used), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('start', [0.0, 0.3, 0.999])
def test_resample_copies_each_particle_about_its_weight(start):
    "Systematic resampling: the count differs from n w by less than one, for every particle."
    log_weight = 2 * draw(50)
    want = 50 * log_weight.softmax(0)
    got = torch.bincount(resample(torch.arange(50.0)[:, None], log_weight, start)[:, 0].long(), minlength=50)
    assert ((got - want).abs() < 1).all() and got.sum() == 50


@pytest.mark.parametrize('drive', [1.0, 2.0])
def test_feynman_kac_reaches_the_tilted_variance(drive):
    """Classes N(0, 1) and N(0, 2) at scale 2: tilted 2/3, where guidance makes 1/2 (flow) or 7/12 (with noise).

    With 6,000 particles, half of them effective, the standard error is 0.017; the band of 5 of them below and above
    2/3 (false alarms below 1e-6 were the seed not fixed) leaves guidance's 1/2 and the class's 1 out.
    """
    n = 6000
    cond, null = Cond(vec=torch.ones(n, 1).double()), Cond(vec=torch.zeros(1, 1).double())
    start = noise(0, 'test', 0, range(n), (1,))
    denoise = lambda x, t, c: gaussian_pair(x, t, c, VP)
    *_, (x, log_weight) = feynman_kac(denoise, null, 2.0, VP, start, karras_times(VP, 150), cond, drive=drive)
    var = (log_weight.softmax(0) * x[:, 0] ** 2).sum().item()
    assert abs(var - 2 / 3) < 0.085


# Variants


def test_rescale_gives_the_deviation_back():
    guided = guide(net, NULL, 6.0)(X, T, C)
    whole = guide(net, NULL, 6.0, rule=rescale(1.0))(X, T, C)
    assert_close(whole.flatten(1).std(1), net(X, T, C).flatten(1).std(1))
    assert_close(guide(net, NULL, 6.0, rule=rescale(0.0))(X, T, C), guided)
    published = 0.7 * guided * (net(X, T, C).std((1, 2, 3)) / guided.std((1, 2, 3)))[:, None, None, None] + 0.3 * guided
    assert_close(guide(net, NULL, 6.0, rule=rescale(0.7))(X, T, C), published)


RULES = {
    'plain': lambda: extrapolate,
    'rescale': lambda: rescale(0.7),
    'rescale all': lambda: rescale(1.0),
    'rescale apg': lambda: rescale(0.7, apg),
    'apg': lambda: apg,
    'apg short': lambda: partial(apg, along=0.5, longest=0.1, momentum=-0.5, past=[]),
}
RAMP = torch.linspace(0, 1, 147, dtype=torch.float64).reshape(1, 3, 7, 7).expand(3, 3, 7, 7)
STILL = {  # estimates with and without the condition: (b, ...)
    'constants': (torch.full((3, 2, 4, 4), 0.3), torch.full((3, 2, 4, 4), 0.1)),
    'nothing': (torch.zeros(3, 2, 4, 4), torch.zeros(3, 2, 4, 4)),
    'no difference': (torch.arange(96.0).reshape(3, 2, 4, 4).sin(), torch.arange(96.0).reshape(3, 2, 4, 4).sin()),
    'constants but for rounding': (torch.full((3, 3, 7, 7), 1 / 3), torch.full((3, 3, 7, 7), 0.2)),
    'guided to a constant': (1 + RAMP, 1 + 1.5 * RAMP),
    'one number': (torch.tensor([[0.3], [0.0], [-2.0]]), torch.tensor([[0.1], [0.0], [-2.0]])),
}


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('still', STILL)
@pytest.mark.parametrize('rule', RULES)
def test_every_rule_is_finite_on_constants_and_on_one_number(rule, still, dtype):
    "Where an estimate has no deviation, rescaling has nothing to give back: what is guided stays."
    x0, away = (v.to(dtype) for v in STILL[still])
    scale = torch.tensor(3.0).double()
    got = RULES[rule]()(x0, away, scale, T)
    assert got.shape == x0.shape and got.dtype == dtype and torch.isfinite(got).all()
    plain = RULES['apg' if 'apg' in rule else 'plain']()(x0, away, scale, T)
    if rule.startswith('rescale') and (plain.flatten(1) - plain.flatten(1)[:, :1]).abs().max() < 1e-6:
        assert_close(got, plain, rtol=1e-5, atol=1e-6)
    for bound in (0.05, 1.0):
        tight = dynamic_threshold(lambda x, t, cond=None: got, bound=bound)(x0, T)
        assert torch.isfinite(tight).all() and tight.abs().max() <= bound * (1 + 1e-6)


def test_rescaling_what_the_network_says_is_another_rule():
    "Lin et al. 2024 rescale v: the same formula in other units answers otherwise, because it is not affine; without rescaling nothing differs."
    t, scale = torch.tensor(0.5).double(), 7.5
    x0, away = net(X, t, C), net(X, t, ALONE)
    say = lambda x0: target(predict_v, COSINE, x0, COSINE.eps(X, x0, t), t)
    for share, same in ((0.0, True), (0.7, False)):
        mine = guide(net, NULL, scale, rule=rescale(share))(X, t, C)
        v = say(away) + scale * (say(x0) - say(away))
        v = share * v * (say(x0).std((1, 2, 3)) / v.std((1, 2, 3)))[:, None, None, None] + (1 - share) * v
        theirs = solve_x0(predict_v, COSINE, v, X, t)
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-9) == same


@pytest.mark.parametrize('quantile, bound', [(0.9, 1.0), (0.995, 1.0), (0.5, 0.25), (1.0, 10.0)])
def test_dynamic_threshold_is_the_published_algorithm(quantile, bound):
    "Example by example with numpy, in the range [-bound, bound]."
    wild = lambda x, t, cond=None: 3 * x
    got = dynamic_threshold(wild, quantile, bound)(X, T).numpy()
    for x0, mine in zip(3 * X.numpy(), got):
        s = max(np.quantile(np.abs(x0), quantile), bound)
        np.testing.assert_allclose(mine, np.clip(x0, -s, s) / s * bound, rtol=1e-6)
    assert np.abs(got).max() <= bound * (1 + 1e-6)


def test_autoguidance_asks_the_weak_model_only_where_it_counts():
    strong, weak = Spy(), Spy(lambda x, t, cond: 0.5 * net(x, t, cond) + 1)
    assert_close(autoguide(strong, weak, 3.0)(X, T, C), 3 * net(X, T, C) - 2 * (0.5 * net(X, T, C) + 1))
    assert (strong.sizes, weak.sizes) == ([6], [6])
    for f in (autoguide(strong, weak, 1.0), autoguide(strong, weak, 3.0, interval=(0.5, 0.9))):
        assert_close(f(X, T, C), net(X, T, C))
    assert weak.sizes == [6]
    scale = torch.tensor([1.0, 2, 3, 4, 5, 6])
    got = autoguide(strong, weak, scale, interval=(0.2, 0.6))(X, SPREAD, C)
    a, z = net(X, SPREAD, C), 0.5 * net(X, SPREAD, C) + 1
    inside = ((SPREAD >= 0.2) & (SPREAD <= 0.6))[:, None, None, None]
    assert_close(got, torch.where(inside, z + scale.double()[:, None, None, None] * (a - z), a))


def test_apg_without_its_three_changes_is_plain_guidance():
    assert_close(guide(net, NULL, 5.0, rule=partial(apg, along=1.0))(X, T, C), guide(net, NULL, 5.0)(X, T, C))


def test_apg_pushes_across_the_estimate_and_not_too_far():
    got = guide(net, NULL, 5.0, rule=partial(apg, longest=0.7))(X, T, C)
    push, x0 = (got - net(X, T, C)).flatten(1), net(X, T, C).flatten(1)
    assert ((push * x0).sum(1).abs() < 1e-9 * push.norm(dim=1) * x0.norm(dim=1)).all()
    diff = (net(X, T, C) - net(X, T, ALONE)).flatten(1)
    diff = diff * (0.7 / diff.norm(dim=1, keepdim=True)).clamp(max=1)
    part = (diff * x0).sum(1, keepdim=True) / (x0**2).sum(1, keepdim=True) * x0
    assert_close(push, 4 * (diff - part))
    kept = guide(net, NULL, 5.0, rule=partial(apg, along=0.25, longest=0.7))(X, T, C)
    assert_close(kept.flatten(1) - x0, 4 * (diff - 0.75 * part))


def test_apg_remembers_in_the_list_it_is_given():
    "Each call of a walk adds to a running difference, times that stand still included; a new list is a new walk."
    x0, away = draw(4, 2, 4), draw(4, 2, 4, seed=3)
    for walk in range(2):
        running, past = torch.zeros(2, 4).double(), []
        for t, a, z in zip((0.9, 0.6, 0.6, 0.2), x0, away):
            running = a - z - 0.5 * running
            assert_close(apg(a, z, torch.tensor(3.0), torch.tensor(t), along=1.0, momentum=-0.5, past=past), a + 2 * running)
    assert len(past) == 1


@pytest.mark.parametrize('lam', [0.0, 0.3, 1.0])
def test_cfg_plus_plus_is_the_published_step(lam):
    "Algorithm 2 in its own words, noise predictions and roots of alpha_bar; and the scale that turns it into guidance."
    for t, s in torch.tensor([[0.9, 0.8], [0.5, 0.3], [0.2, 0.0]]).double():
        abar_t, abar_s = VP.alpha(t) ** 2, VP.alpha(s) ** 2
        eps = lambda cond: (X - abar_t.sqrt() * net(X, t, cond)) / (1 - abar_t).sqrt()
        mixed = eps(ALONE) + lam * (eps(C) - eps(ALONE))
        want = abar_s.sqrt() * (X - (1 - abar_t).sqrt() * mixed) / abar_t.sqrt() + (1 - abar_s).sqrt() * eps(ALONE)
        spy = Spy()
        got = cfg_plus_plus(VP, spy, X, t, s, C, null=NULL, lam=lam)
        assert_close(got, want, rtol=1e-9, atol=1e-9)
        assert spy.sizes == [6, 6]
        assert_close(got, ddim(VP, guide(net, NULL, lambda_to_scale(lam, VP, t, s)), X, t, s, C), rtol=1e-9, atol=1e-9)


def test_a_rule_may_look_at_the_time():
    falling = lambda x0, away, scale, t: extrapolate(x0, away, 1 + (scale - 1) * (1 - t))
    got = guide(net, NULL, 5.0, rule=falling)(X, SPREAD, C)
    assert_close(got, guide(net, NULL, 1 + 4 * (1 - SPREAD))(X, SPREAD, C))


def test_single_precision_stays_single():
    "float32 in, float32 out, close to float64, on every path."
    x, cond, null = X.float(), C.map(torch.Tensor.float), NULL.map(torch.Tensor.float)
    low = lambda x, t, cond: net(x.double(), t, cond.map(torch.Tensor.double)).float()
    for f in (partial(guide, interval=(0.3, 0.6)), partial(guide, rule=rescale()), partial(guide, rule=apg)):
        got, want = f(low, null, 3.0)(x, SPREAD, cond), f(net, NULL, 3.0)(X, SPREAD, C)
        assert got.dtype == torch.float32
        assert_close(got.double(), want, rtol=1e-4, atol=1e-4)
    assert dynamic_threshold(guide(low, null, 3.0))(x, T, cond).dtype == torch.float32


def test_karras_times_walk_at_zero_noise_is_finite():
    "The last step has no noise left: no variant divides by it."
    plain = KarrasSchedule()
    for denoise, solver in (
        (guide(net, NULL, 3.0), partial(langevin(ddim, 1))),
        (net, partial(cfg_plus_plus, null=NULL)),
        (guide(net, NULL, 3.0, rule=partial(apg, momentum=-0.5, past=[])), heun),
    ):
        *_, x = sample(denoise, plain, 80 * X, karras_times(plain, 5), solver, C)
        assert torch.isfinite(x).all()
    *_, (x, log_weight) = feynman_kac(net, NULL, 3.0, plain, 80 * X, karras_times(plain, 5), C)
    assert torch.isfinite(x).all() and torch.isfinite(log_weight).all()


@pytest.mark.parametrize('name', ['cosine', 'karras', 'rectified-flow', 'ddpm'])
@pytest.mark.parametrize('w', [0.5, 1.307, 3.0])
def test_autoguidance_extrapolates_the_logarithm_of_the_deviation(name, w):
    "In the ratio r = sigma / alpha the flow of a Gaussian of deviation s is in proportion to sqrt(s^2 + r^2); guidance mixes the logarithms."
    schedule, models = SCHEDULES[name], [GaussianMixture([1.0], [[0.0]], [[[s**2]]]) for s in (1.1, 1.5)]
    times = snr_times(schedule, 60, (-3.0, 5.0))
    guided = autoguide(*(m.denoise(schedule) for m in models), w)
    got = moments(heun, guided, schedule, times, torch.zeros(1).double(), torch.ones(1, 1).double())[1].sqrt().item()
    (a, b), (p, q) = ((schedule.alpha(t).item(), schedule.sigma(t).item()) for t in (times[0], times[-1]))
    ratio = [math.sqrt((s**2 + (q / p) ** 2) / (s**2 + (b / a) ** 2)) for s in (1.1, 1.5)]
    assert got == pytest.approx(p / a * ratio[0] ** w * ratio[1] ** (1 - w), rel=2e-3)
