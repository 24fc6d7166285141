"One noisy pixel: mean, variance and bells are the package's posterior, and the product of prior and look, found on a grid."

import pytest
import torch

from diffbook.gaussian import gaussian_log_prob, posterior

PLACES = torch.tensor([-2, -0.5, 0, 1, 2.5], dtype=torch.float64)
CASES = [(1.0, 0.25, 2.0), (1.0, 3.0, 2.0), (0.2, 0.2, -3.5), (10.0, 0.2, 0.35), (0.3, 10.0, 3.5)]


def look(frame, prior, noise, seen):
    frame.evaluate('(f, [p, n, s]) => { f.set("prior", p); f.set("noise", n); f.set("seen", s); }', [prior, noise, seen])
    return frame.evaluate('f => f.values()')


@pytest.mark.parametrize('prior, noise, seen', CASES)
def test_numbers_and_bells(living, prior, noise, seen):
    got = look(living('noisy-pixel')[1], prior, noise, seen)
    mean, variance = posterior(seen, 0.0, prior, 1.0, noise**0.5)
    assert [got['mean'], got['variance']] == pytest.approx([float(mean), float(variance)], rel=1e-9)
    assert got['gain'] == pytest.approx(float(posterior(1.0, 0.0, prior, 1.0, noise**0.5)[0]), rel=1e-9)
    assert got['precisions'][0] + got['precisions'][1] == pytest.approx(got['precisions'][2]) == pytest.approx(1 / float(variance))
    want = [gaussian_log_prob(PLACES, m, v).exp() for m, v in ((0.0, prior), (seen, noise), (mean, variance))]
    torch.testing.assert_close(torch.tensor(got['bells'], dtype=torch.float64), torch.stack(want), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('prior, noise, seen', CASES)
def test_posterior_is_the_product_scaled_to_area_one(living, prior, noise, seen):
    got = look(living('noisy-pixel')[1], prior, noise, seen)
    x = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    product = torch.exp(-(x**2) / (2 * prior) - (seen - x) ** 2 / (2 * noise))
    belief = product / torch.trapezoid(product, x)
    mean = torch.trapezoid(x * belief, x)
    assert got['mean'] == pytest.approx(float(mean), abs=1e-9)
    assert got['variance'] == pytest.approx(float(torch.trapezoid((x - mean) ** 2 * belief, x)), abs=1e-9)
    torch.testing.assert_close(torch.tensor(got['bells'][2], dtype=torch.float64), belief[((PLACES + 30) * 1000).round().long()], rtol=1e-6, atol=1e-9)


def test_what_is_seen_moves_the_guess_and_never_its_width(living):
    _, frame = living('noisy-pixel')  # the figure's question
    seen = [look(frame, 1.0, 0.5, s) for s in (-3.5, 0.0, 1.5, 3.5)]
    assert len({v['variance'] for v in seen}) == 1 and [v['mean'] for v in seen] == sorted(v['mean'] for v in seen)
    assert look(frame, 1.0, 3.0, 2.0)['mean'] == pytest.approx(0.5)  # the chapter's question before it
    wider = [look(frame, p, 0.5, 2.0)['mean'] for p in (0.2, 1.0, 10.0)]
    noisier = [look(frame, 1.0, n, 2.0)['mean'] for n in (0.2, 1.0, 10.0)]
    assert wider == sorted(wider) and noisier == sorted(noisier, reverse=True)


def test_the_pointer_moves_what_is_seen(living):
    page, frame = living('noisy-pixel')
    box = page.locator('canvas').first.bounding_box()
    at = lambda value: box['x'] + box['width'] * (0.5 + value / 4 * (0.5 - 12 / 700))
    page.mouse.move(at(1), box['y'] + 100)
    page.mouse.down()
    assert frame.evaluate('f => f.state.seen') == pytest.approx(1)
    page.mouse.move(at(-2), box['y'] + 120, steps=3)
    page.mouse.up()
    assert frame.evaluate('f => [f.state.seen, f.values().mean]') == pytest.approx([-2, -1.6])
