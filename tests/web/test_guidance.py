"Guidance in the page: estimates, walks, the promised density and the distance are the package's, and what the question asks is seen."

import numpy as np
import pytest
import torch

from diffbook.core import Cond, Noise
from diffbook.exact import GaussianMixture
from diffbook.guidance import extrapolate, guide, langevin
from diffbook.samplers import ddim, heun, karras_times, sample
from diffbook.schedules import LinearBetaSchedule

SCHEDULE, N = LinearBetaSchedule(), 40
ONE = GaussianMixture([1.0], [[1.0]], [[[0.25]]])
BOTH = GaussianMixture([0.5, 0.5], [[1.0], [-1.0]], [[[0.25]], [[0.25]]])
NULL = Cond(vec=torch.zeros(1, 1).double())


def exact(x, t, cond):
    "The exact denoiser, of the class where the condition is 1 and of all data where it is 0."
    return torch.where(cond.vec == 1, ONE.denoise(SCHEDULE)(x, t), BOTH.denoise(SCHEDULE)(x, t))


def falling(x0, away, scale, t):
    return extrapolate(x0, away, 1 + (scale - 1) * (1 - SCHEDULE.sigma(t)) ** 2)


def ask(n):
    return Cond(vec=torch.ones(n, 1).double())


def even(n):
    return torch.special.ndtri((torch.arange(n).double() + 0.5) / n)[:, None]


def tilted(scale, n):
    "Even quantiles of the promised density."
    grid = torch.linspace(-3, 6, 45001, dtype=torch.float64)[:, None]
    mass = (scale * ONE.log_prob(grid) + (1 - scale) * BOTH.log_prob(grid)).softmax(0)
    return grid[torch.searchsorted(mass.cumsum(0), (torch.arange(n).double() + 0.5) / n), 0]


def same(got, want, atol=1e-9):
    torch.testing.assert_close(torch.tensor(got, dtype=torch.float64).flatten(), want.flatten(), rtol=0, atol=atol)


@pytest.fixture
def page(living):
    return living('guidance')[0]


def test_noise_at_even_quantiles_and_times(page):
    same(page.evaluate('(n) => [...live.guidance.even(n)]', 1000), even(1000))
    same(page.evaluate('(n) => live.grids.Karras(live.guidance.schedule, n)', 60), karras_times(SCHEDULE, 60))


@pytest.mark.parametrize('t', [0.01, 0.3, 0.97])
@pytest.mark.parametrize('rule', ['constant', 'falling'])
def test_guided_estimates(page, t, rule):
    x, at = 2 * even(N), torch.tensor(t, dtype=torch.float64)
    got = page.evaluate(
        """([x, t, rule]) => [...live.guidance.guided(4, 0.1, 0.9, live.guidance.RULES[rule])(Float64Array.from(x), t)]""", [x.flatten().tolist(), t, rule]
    )
    same(got, guide(exact, NULL, 4.0, interval=(0.1, 0.9), rule=falling if rule == 'falling' else extrapolate)(x, at, ask(N)))


@pytest.mark.parametrize(('scale', 'low', 'high', 'rule'), [(4, 0, 1, 'constant'), (7.5, 0.1, 0.4, 'constant'), (7.5, 0, 1, 'falling')])
def test_whole_walks(page, scale, low, high, rule):
    denoise = guide(exact, NULL, float(scale), interval=(low, high), rule=falling if rule == 'falling' else extrapolate)
    *_, x0 = sample(denoise, SCHEDULE, even(N), karras_times(SCHEDULE, 50), heun, ask(N))
    got = page.evaluate(
        """([x, scale, low, high, rule]) => { const { schedule, guided, RULES } = live.guidance;
        return [...live.walk({ schedule, solver: live.solvers.Heun, times: live.grids.Karras(schedule, 50), x: Float64Array.from(x), denoise: guided(scale, low, high, RULES[rule]) }).at(-1)]; }""",
        [even(N).flatten().tolist(), scale, low, high, rule],
    )
    same(got, x0, 1e-6)


class Listed(Noise):
    "Noise from a list, in order."

    def __init__(self, rest):
        self.rest = rest

    def __call__(self, x, t):
        return next(self.rest)

    def fork(self, word):
        return self


def test_settling_with_the_same_noise(page):
    fresh = [torch.randn(N, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(k)) for k in range(40)]
    *_, x0 = sample(guide(exact, NULL, 4.0), SCHEDULE, even(N), karras_times(SCHEDULE, 10), langevin(ddim, 3, 0.3, noise=Listed(iter(fresh))), ask(N))
    got = page.evaluate(
        """([x, fresh]) => { const { schedule, guided, settled } = live.guidance; let k = 0;
        const solver = settled(live.solvers.DDIM, 3, 0.3, () => Float64Array.from(fresh[k++]));
        return [...live.walk({ schedule, solver, times: live.grids.Karras(schedule, 10), x: Float64Array.from(x), denoise: guided(4, 0, 1) }).at(-1)]; }""",
        [even(N).flatten().tolist(), [f.flatten().tolist() for f in fresh]],
    )
    same(got, x0, 1e-6)


@pytest.mark.parametrize('scale', [0, 1, 4, 7.5])
def test_promise(page, scale):
    density, quantiles = page.evaluate(
        '(s) => { const p = live.guidance.promise(s); return [[-1, 0, 0.5, 1, 2].map(p.density), [...p.quantiles(1000)]]; }', scale
    )
    grid = torch.linspace(-8, 8, 160_001, dtype=torch.float64)[:, None]
    mass = (scale * ONE.log_prob(grid) + (1 - scale) * BOTH.log_prob(grid)).softmax(0) * 10_000
    same(density, torch.from_numpy(np.interp([-1, 0, 0.5, 1, 2], grid[:, 0], mass)), 1e-4)  # the page's line ends at -3, where 0.00003 of all data are left
    same(quantiles, tilted(scale, 1000), 2.1e-4)  # a cell of the line


@pytest.mark.parametrize('scale', [2, 4, 7.5])
def test_distance_is_that_of_the_chapter(living, scale):
    _, frame = living('guidance')
    frame.evaluate('(f, s) => f.set("scale", s)', scale)
    values = frame.evaluate('f => f.values()')
    *_, x0 = sample(guide(exact, NULL, float(scale)), SCHEDULE, even(1000), karras_times(SCHEDULE, 200), heun, ask(1000))
    same(values['x0'], x0, 1e-6)
    far = lambda x: (x.flatten().sort().values - tilted(scale, 1000)).abs().mean().item()
    assert values['distance'] == pytest.approx(far(x0), abs=1e-6) and values['plain'] == pytest.approx(far(tilted(1, 1000)), abs=1e-6)
    draws = [far(tilted(scale, 45_000)[torch.randint(45_000, (1000,), generator=torch.Generator().manual_seed(k))]) for k in range(40)]
    assert values['floor'] == pytest.approx(np.mean(draws), abs=5 * np.std(draws) / 8**0.5)
    assert (values['mean'], values['goalMean']) == pytest.approx((x0.mean().item(), tilted(scale, 1000).mean().item()), abs=1e-6)


def test_what_a_reader_sees(living):
    "The push in heavy noise makes the overshoot; both repairs take most of it away; at scale 1 nothing is promised but the class."
    _, frame = living('guidance')

    def distance(**state):
        frame.evaluate('(f, state) => Object.entries(state).forEach(([name, value]) => f.set(name, value))', state)
        return frame.evaluate('f => f.values().distance')

    always, late, early = distance(), distance(high=0.2), distance(low=0.2, high=1)
    assert late < always / 8 and early > 0.95 * always
    assert distance(low=0, sampler='falling scale') < always / 10 and distance(sampler='constant, settled') < always / 10
    assert distance(sampler='constant scale', scale=1) < 0.01
    assert distance(scale=4, low=0.8, high=0.3) == pytest.approx(frame.evaluate('f => f.values().plain'), abs=0.005)  # an empty interval


def test_they_fall(living):
    page, frame = living('guidance', calm=False)
    page.get_by_role('button', name='Let them fall').click()
    page.wait_for_function('document.querySelector("[data-live]").frame.state.at > 0.1')
    page.get_by_role('button', name='Stop').click()
    assert 0.1 < frame.evaluate('f => f.state.at') < 1
