"The playground's arithmetic is that of the package, on the same numbers, to 1e-6 and better."

import math
from functools import partial

import numpy as np
import pytest
import torch

from diffbook import multistep, samplers
from diffbook.exact import GaussianMixture
from diffbook.schedules import CosineSchedule, RectifiedFlowSchedule

BUMPS = [(1.2, 0.3, 0.2, 3.0), (-0.9, 1.1, 0.35, 1.0), (-0.2, -1.4, 0.15, 2.0)]
SCHEDULES = {'cosine': CosineSchedule(), 'straight': RectifiedFlowSchedule()}
GRIDS = {'uniform': samplers.uniform_times, 'log SNR': samplers.snr_times, 'Karras': samplers.karras_times}
SOLVERS = {
    'ancestral': (samplers.ancestral, 0.0),
    'DDIM': (partial(samplers.ddim, eta=0.3), 0.3),
    'Euler': (samplers.euler, 0.0),
    'Heun': (samplers.heun, 0.0),
    'DPM-Solver++(2M)': (multistep.dpmpp_2m, 0.0),
}


@pytest.fixture(scope='module')
def law():
    weights = torch.tensor([b[3] for b in BUMPS], dtype=torch.float64)
    return GaussianMixture(weights / weights.sum(), [b[:2] for b in BUMPS], torch.stack([torch.eye(2).double() * b[2] ** 2 for b in BUMPS]))


def bumps():
    return [dict(zip(('x', 'y', 'std', 'weight'), b)) for b in BUMPS]


def points(n=20, seed=3):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def page(living):
    return living('playground')[0]


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('t', [0.05, 0.5, 0.99])
def test_denoiser_score_and_density(page, law, schedule, t):
    x, s = points(), SCHEDULES[schedule]
    got = page.evaluate(
        """([bumps, x, schedule, t]) => { const m = new live.Mixture(bumps), s = live.schedules[schedule], y = Float64Array.from(x);
        const a = s.alpha(t), b = s.sigma(t); return [m.denoise(y, a, b), m.score(y, a, b), m.logProb(y, a, b)].map((v) => [...v]); }""",
        [bumps(), x.flatten().tolist(), schedule, t],
    )
    want = [law.denoise(s)(x, torch.tensor(t, dtype=torch.float64)), law.at(s, t).score(x), law.at(s, t).log_prob(x)]
    for a, b in zip(got, want):
        torch.testing.assert_close(torch.tensor(a, dtype=torch.float64), b.flatten(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('n', [1, 2, 10])
def test_grids(page, schedule, grid, n):
    got = page.evaluate('([s, g, n]) => live.grids[g](live.schedules[s], n)', [schedule, grid, n])
    torch.testing.assert_close(torch.tensor(got, dtype=torch.float64), GRIDS[grid](SCHEDULES[schedule], n), rtol=0, atol=1e-9)


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('solver', SOLVERS)
def test_whole_walks(page, law, schedule, grid, solver):
    x, s, (step, eta) = points(), SCHEDULES[schedule], SOLVERS[solver]
    times = GRIDS[grid](s, 7)
    fresh = [points(seed=100 + k) for k in range(7)]
    asks = iter(fresh)
    rule = samplers.equip(step, noise=lambda x, s: next(asks))
    states = list(samplers.sample(law.denoise(s), s, x, times, rule))
    got = page.evaluate(
        """([bumps, x, schedule, times, solver, eta, fresh]) => { let k = 0;
        const states = live.walk({ mixture: new live.Mixture(bumps), schedule: live.schedules[schedule], solver: live.solvers[solver], times,
          x: Float64Array.from(x), eta, noise: () => Float64Array.from(fresh[k++]) });
        return states.slice(1).map((v) => [...v]); }""",
        [bumps(), x.flatten().tolist(), schedule, times.tolist(), solver, eta, [f.flatten().tolist() for f in fresh]],
    )
    for a, b in zip(got, states, strict=True):
        torch.testing.assert_close(torch.tensor(a, dtype=torch.float64), b.flatten(), rtol=0, atol=1e-6)


def test_error_function(page):
    x = torch.linspace(-7, 7, 281, dtype=torch.float64)
    got = torch.tensor(page.evaluate('(x) => x.map(live.erf)', x.tolist()), dtype=torch.float64)
    torch.testing.assert_close(got, torch.erf(x), rtol=0, atol=2e-15)


def test_distance_is_the_area_between_distribution_functions(page, law):
    x, total = points(200), 0.0
    for k in range(16):  # by quantiles: the k-th smallest against the mean of its share of the exact distribution
        angle = torch.tensor(math.pi * k / 16)
        way = torch.stack([angle.cos(), angle.sin()]).double()
        at = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
        below = sum(w * (1 + torch.erf((at - m @ way) / (c[0, 0] * 2).sqrt())) / 2 for w, m, c in zip(law.weights, law.means, law.covs))
        quantiles = torch.from_numpy(np.interp((torch.arange(200_000).double() + 0.5) / 200_000, below, at))
        total += (quantiles.reshape(200, 1000) - (x @ way).sort().values[:, None]).abs().mean().item() / 16
    got = page.evaluate('([bumps, x]) => live.slicedDistance(new live.Mixture(bumps))(Float64Array.from(x))', [bumps(), x.flatten().tolist()])
    assert got == pytest.approx(total, rel=2e-3)  # the page counts on 600 cells


def test_draws_have_the_mixtures_moments(page, law):
    n = 40_000
    x = torch.tensor(page.evaluate('([bumps, n]) => [...new live.Mixture(bumps).sample(n, live.random(5))]', [bumps(), n]), dtype=torch.float64).reshape(n, 2)
    mean = law.weights @ law.means
    cov = sum(w * (c + torch.outer(m, m)) for w, m, c in zip(law.weights, law.means, law.covs)) - torch.outer(mean, mean)
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=5 * float(cov.diag().max() / n) ** 0.5)  # a false alarm in a million
    torch.testing.assert_close(torch.cov(x.T), cov, rtol=0, atol=0.05)


def test_more_steps_come_nearer_and_the_particle_follows_the_pointer(living):
    page, frame = living('playground')
    far = {}
    for steps in (2, 100):
        frame.evaluate('(f, n) => f.set("steps", n)', steps)
        far[steps] = frame.evaluate('f => f.values()')
    assert far[100]['far'] < 0.01 < far[2]['far'] and far[100]['distance'] < 1.5 * far[100]['floor'] < far[2]['distance']
    canvas = page.locator('canvas').first
    box, (x, y) = canvas.bounding_box(), far[100]['start']
    at = lambda x, y: (box['x'] + box['width'] * (x / 5.2 + 0.5), box['y'] + box['height'] * (0.5 - y / 5.2))
    page.mouse.move(*at(x, y))
    page.mouse.down()
    page.mouse.move(*at(-1.0, -0.5), steps=4)
    page.mouse.up()
    assert frame.evaluate('f => f.values().start') == pytest.approx([-1.0, -0.5], abs=0.02)
    canvas.focus()
    page.keyboard.press('ArrowLeft')
    assert frame.evaluate('f => f.values().start[0]') == pytest.approx(-1.1, abs=0.02)


def test_a_reader_paints_data(living):
    page, frame = living('playground')
    page.get_by_role('button', name='Draw your own').click()
    box = page.locator('canvas').first.bounding_box()
    page.mouse.move(box['x'] + 100, box['y'] + 100)
    page.mouse.down()
    page.mouse.move(box['x'] + 300, box['y'] + 100, steps=20)
    page.mouse.up()
    frame.evaluate('f => f.set("steps", 50)')
    values = frame.evaluate('f => f.values()')
    assert values['end'][1] == pytest.approx(2.6 - 100 / 100, abs=0.5) and values['distance'] < 2 * values['floor']
    page.get_by_role('button', name='Copy link').click()
    assert 'playground.bumps=' in page.url and page.url.endswith('#live-playground')
