"The ink: its kernels, its way back and its nats are those of the package, and what comes back is what the way back knew."

import math

import pytest
import torch

from diffbook.exact import GaussianMixture
from diffbook.gaussian import gaussian_log_prob
from diffbook.markov import forward_kernel, jump

BETA, STEPS = 0.03, 150
DROPS = [(-0.7, 1.3, 0.3), (-2.0, -0.5, 0.5), (0.2, -1.4, 0.2)]
VAR = 0.05
FORWARD = forward_kernel(BETA)


def bumps(var=VAR):
    return [{'x': x, 'y': y, 'var': var, 'weight': w} for x, y, w in DROPS]


def after(steps):
    return jump(torch.full((steps,), BETA, dtype=torch.float64))


def moved(kernels):
    "Means (3, 2) and variance of the drops after the kernels, each of one axis or of both."
    mean, var = torch.tensor([d[:2] for d in DROPS], dtype=torch.float64), VAR
    for k in kernels:
        mean, var = k.marginal(mean, var)
    return mean, var


def nats(mean, var):
    "KL to the standard normal, by another grid and another sum than the page's."
    law = GaussianMixture([d[2] for d in DROPS], mean, (torch.eye(2).double() * var).expand(3, 2, 2))
    at = torch.linspace(-8.5, 8.5, 241, dtype=torch.float64)
    x = torch.cartesian_prod(at, at)
    log_p, log_q = law.log_prob(x), gaussian_log_prob(x, 0.0, 1.0).sum(1)
    return ((log_p.exp() * (log_p - log_q)).sum() * (at[1] - at[0]) ** 2).item()


@pytest.fixture
def page(living):
    return living('ink')


@pytest.mark.parametrize('steps', [0, 1, 25, 150])
def test_jump_and_nats(page, steps):
    frame, k = page[1], after(steps)
    got = page[0].evaluate('n => { const { gain, var: v } = live.ink.jump(n); return [gain, v]; }', steps)
    assert got == pytest.approx([k.gain.item(), k.var.item()], abs=1e-12)
    frame.evaluate('(f, n) => f.set("at", n)', steps)
    shown, want = frame.evaluate('f => f.values()'), nats(*moved([k]))
    assert shown['nats'] == pytest.approx(want, abs=1e-9) and shown['gain'] == pytest.approx(k.gain.item(), abs=1e-12)
    assert want <= k.gain.item() ** 2 * nats(*moved([])) + 1e-12  # eq-markov-rate


@pytest.mark.parametrize('mean, var', [((0.4, -0.8), 0.5), ((0.0, 0.0), 1.0), ((1.2, 0.3), 0.0)])
def test_reverse_kernel(page, mean, var):
    got = page[0].evaluate('b => live.ink.reverse(live.ink.forward, b)', {'x': mean[0], 'y': mean[1], 'var': var, 'weight': 1})
    for axis in (0, 1):
        want = FORWARD.reverse(mean[axis], var)
        assert [got['gain'], got['var'], got['offset'][axis]] == pytest.approx([want.gain.item(), want.var.item(), want.offset.item()], abs=1e-12)


def test_way_back_is_bayes_rule(page):
    "With several drops: the mean of where a grain was, by a sum over the cells of the plane (eq-markov-bayes)."
    at = torch.linspace(-5, 5, 801, dtype=torch.float64)
    x = torch.cartesian_prod(at, at)
    k, seen = after(30), torch.tensor([[-0.6, 0.2], [1.0, 0.9]], dtype=torch.float64)
    mean, var = moved([k])
    before = torch.logsumexp(torch.tensor([d[2] for d in DROPS], dtype=torch.float64).log() + gaussian_log_prob(x[:, None], mean, var).sum(2), 1)
    for place in seen:
        share = torch.softmax(before + FORWARD.log_prob(place, x).sum(1), 0)
        want = [share @ x[:, 0], share @ x[:, 1], share @ x.square().sum(1)]
        found = page[0].evaluate(
            '([bumps, p]) => live.ink.beliefs(live.ink.forward, bumps.map((b) => live.ink.marginal(live.ink.jump(30), b)), ...p)', [bumps(), place.tolist()]
        )
        got = [0.0, 0.0, 0.0]
        for f in found:
            m = [f['kernel']['gain'] * p + o for p, o in zip(place.tolist(), f['kernel']['offset'])]
            for i, v in enumerate([*m, m[0] ** 2 + m[1] ** 2 + 2 * f['kernel']['var']]):
                got[i] += f['share'] * v
        assert got == pytest.approx([v.item() for v in want], abs=1e-9)


def test_nats_on_the_way_back(page):
    frame = page[1]
    show = lambda knows, at: frame.evaluate('(f, [knows, at]) => { f.set("knows", knows); f.set("at", at); return f.values().nats; }', [knows, at])
    weights, mean = (torch.tensor(v, dtype=torch.float64) for v in ([d[2] for d in DROPS], [d[:2] for d in DROPS]))
    center = weights @ mean
    spread = VAR + (weights @ (mean - center).square()).mean()
    chain = [after(STEPS), *(FORWARD.reverse(*after(s).marginal(center, spread)) for s in range(STEPS - 1, -1, -1))]
    for at in (151, 230, 300):
        true = nats(*moved([after(2 * STEPS - at)]))
        assert show('the crowd', at) == pytest.approx(true, abs=1e-9) and show('each start', at) == pytest.approx(true, abs=1e-9)
        assert show('mean and spread', at) == pytest.approx(nats(*moved(chain[: at - STEPS + 1])), abs=1e-9)
        assert show('only noise', at) == pytest.approx(nats(*moved([after(at)])), abs=1e-9)  # eq-markov-balance: forwards once more


def test_the_drops_come_back_and_the_grains_do_not(page):
    frame = page[1]

    def end(knows):
        frame.evaluate('(f, knows) => { f.set("knows", knows); f.set("at", 0); }', knows)
        first = frame.evaluate('f => f.values().first')
        frame.evaluate('f => f.set("at", 300)')
        return first, frame.evaluate('f => f.values()')

    first, each = end('each start')
    assert each['own'] > 0.99 and each['first'] == pytest.approx(first, abs=1e-9)
    first, crowd = end('the crowd')
    chance = sum(d[2] ** 2 for d in DROPS)  # of a grain that comes back to any drop
    assert crowd['own'] == pytest.approx(chance, abs=0.06) and math.dist(crowd['first'], first) > 1
    assert crowd['nats'] == pytest.approx(each['nats']) and end('only noise')[1]['nats'] < 1e-4


def test_a_drop_follows_the_pointer_and_the_keys_and_the_film_runs(living):
    page, frame = living('ink')
    page.get_by_role('button', name='Forwards').click()
    assert frame.evaluate('f => f.state.at') == STEPS
    page.get_by_role('button', name='Backwards').click()
    assert frame.evaluate('f => f.state.at') == 2 * STEPS
    before, canvas = frame.evaluate('f => f.values().nats'), page.locator('canvas').first
    box = canvas.bounding_box()
    at = lambda x, y: (box['x'] + box['width'] * (0.5 + x / 6.8), box['y'] + box['height'] / 2 - y * box['width'] / 6.8)
    page.mouse.move(*at(0.2, -1.4))
    page.mouse.down()
    page.mouse.move(*at(2.5, -1.4), steps=3)
    page.mouse.up()
    assert frame.evaluate('f => f.state.at') == 0 and abs(frame.evaluate('f => f.values().nats') - before) > 0.1
    page.get_by_role('button', name='Copy link').click()
    assert 'ink.drops=-0.70%2C1.30%2C-2.00%2C-0.50%2C2.50%2C-1.40' in page.url
    canvas.focus()
    page.keyboard.press('ArrowLeft')
    page.get_by_role('button', name='Copied').or_(page.get_by_role('button', name='address')).or_(page.get_by_role('button', name='Copy link')).click()
    assert '-2.10%2C-0.50' in page.url
