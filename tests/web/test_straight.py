"Straight and curved: exact paths, Euler's walks, straightness and errors are those of the package on the same noises."

import math

import pytest
import torch

from diffbook.data import gaussian_ring
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.reflow import straightness
from diffbook.samplers import euler, sample, uniform_times
from diffbook.schedules import CosineSchedule, RectifiedFlowSchedule

FLOW = RectifiedFlowSchedule()
SCHEDULES = {'cosine (VP)': CosineSchedule(), 'rectified flow': FLOW}
LAWS = {'on a line': reference_mixture(), 'in the plane': GaussianMixture(*gaussian_ring())}
TIMES = torch.linspace(1, 0, 101, dtype=torch.float64)
EVEN = torch.special.ndtri((torch.arange(64, dtype=torch.float64) + 0.5) / 64)[:, None]


def values(frame, where, paths, steps):
    return frame.evaluate(
        '(f, s) => { for (const [k, v] of Object.entries(s)) f.set(k, v); return f.values(); }', {'where': where, 'paths': paths, 'steps': steps}
    )


def carried(schedule, eps, times, n=5):
    "Paths in the plane by the package's velocity: Runge and Kutta in n steps from one time to the next."
    law = LAWS['in the plane']

    def velocity(x, t):
        t = t.clamp(min=1e-6)  # at 0 the velocity is a limit
        return schedule.velocity(x, law.denoise(schedule)(x, t), t)

    states = [eps]
    for t, s in zip(times[:-1], times[1:]):
        x, h = states[-1], (s - t) / n
        for k in range(n):
            u = t + k * h
            a = velocity(x, u)
            b = velocity(x + h / 2 * a, u + h / 2)
            c = velocity(x + h / 2 * b, u + h / 2)
            x = x + h / 6 * (a + 2 * b + 2 * c + velocity(x + h * c, u + h))
        states.append(x)
    return torch.stack(states)


def exact(where, paths, eps, times=TIMES):
    if where == 'in the plane':
        flow = carried
    else:
        flow = lambda schedule, eps, times: torch.stack([LAWS[where].flow(schedule, eps, 1.0, t) for t in times])
    if paths == 'after reflow':
        x0 = flow(FLOW, eps, TIMES)[-1]
        return torch.stack([FLOW.perturb(x0, eps, t) for t in times])
    return flow(SCHEDULES[paths], eps, times)


@pytest.mark.parametrize('where', LAWS)
@pytest.mark.parametrize('paths', [*SCHEDULES, 'after reflow'])
def test_paths_straightness_and_errors(living, where, paths):
    page, frame = living('straight')
    got = values(frame, where, paths, 4)
    eps = torch.tensor(got['crowd'], dtype=torch.float64).reshape(64, -1)
    if where == 'on a line':
        torch.testing.assert_close(eps, EVEN, rtol=0, atol=1e-9)
    states = exact(where, paths, eps)
    assert got['straightness'] == pytest.approx(straightness(TIMES, states).mean().item(), abs=1e-6)
    point = torch.tensor([got['start']], dtype=torch.float64)
    assert got['exact'] == pytest.approx(exact(where, paths, point)[-1][0].tolist(), abs=1e-6)
    if paths == 'after reflow':
        assert got['error'] < 1e-12 and got['far'] < 1e-12
        return
    schedule, law = SCHEDULES[paths], LAWS[where]
    walk = lambda x: list(sample(law.denoise(schedule), schedule, x, uniform_times(schedule, 4), euler))[-1]
    assert got['end'] == pytest.approx(walk(point)[0].tolist(), abs=1e-9)
    assert got['error'] == pytest.approx((walk(eps) - states[-1]).square().sum(1).mean().sqrt().item(), abs=1e-6)


@pytest.mark.parametrize('paths', SCHEDULES)
def test_every_state_on_the_line(living, paths):
    page, _ = living('straight')
    got = page.evaluate(
        """([paths, eps]) => { const s = live.straight, three = new s.Line([{ x: -1.8, std: 0.25, weight: 0.3 }, { x: 0.2, std: 0.45, weight: 0.5 },
        { x: 1.6, std: 0.3, weight: 0.2 }]); return s.paths(three, paths, Float64Array.from(eps), s.even(100)).map((x) => [...x]); }""",
        [paths, EVEN[:, 0].tolist()],
    )
    torch.testing.assert_close(torch.tensor(got, dtype=torch.float64)[..., None], exact('on a line', paths, EVEN), rtol=0, atol=1e-8)


def test_lines_of_partners_are_the_learned_flow(living):
    "The ideal student finds the one line through its place; Euler's steps with its velocity are the walk of the page (eq-reflow-slope)."
    law = LAWS['on a line']

    def student(x, t, cond=None):
        low, high = torch.full_like(x, -9.0), torch.full_like(x, 9.0)
        for _ in range(60):
            middle = (low + high) / 2
            below = (1 - t) * law.flow(FLOW, middle, 1.0, 0.0) + t * middle < x
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return law.flow(FLOW, low, 1.0, 0.0)

    frame = living('straight')[1]
    for n in (1, 3):
        got = values(frame, 'on a line', 'after reflow', n)
        *_, want = sample(student, FLOW, torch.tensor([got['start']], dtype=torch.float64), uniform_times(FLOW, n), euler)
        assert got['end'] == pytest.approx(want[0].tolist(), abs=1e-9)


def test_one_gaussian(living):
    "Straightness in closed form (eq-reflow-gaussian), and zero on the variance-preserving path of unit data."
    page, _ = living('straight')
    show = lambda paths, std, n: page.evaluate(
        """([paths, std, n]) => { const s = live.straight, times = s.even(n), one = new s.Line([{ x: 0, std, weight: 1 }]);
        return s.straightness(times, s.paths(one, paths, Float64Array.of(1), times), 1)[0]; }""",
        [paths, std, n],
    )
    for std in (0.5, 1.0, 2.0):
        a, b = show('rectified flow', std, 200), show('rectified flow', std, 400)
        assert b + (b - a) / 3 == pytest.approx(std * (2 - math.pi / 2), abs=1e-6)
    assert show('cosine (VP)', 1.0, 100) < 1e-12


def test_what_the_question_asks_and_the_pointer_moves(living):
    page, frame = living('straight')
    found = {paths: values(frame, 'on a line', paths, 1) for paths in (*SCHEDULES, 'after reflow')}
    vp, flow, again = found.values()
    assert again['straightness'] < 1e-12 < vp['straightness'] < flow['straightness'] and again['error'] < vp['error'] < flow['error']
    mean = (LAWS['on a line'].weights @ LAWS['on a line'].means).item()
    assert flow['end'] == pytest.approx([mean], abs=1e-12)  # eq-reflow-one
    assert values(frame, 'on a line', 'rectified flow', 64)['error'] < 0.05 * flow['error']
    canvas = page.locator('canvas').first
    box = canvas.bounding_box()
    page.mouse.move(box['x'] + 100, box['y'] + box['height'] * 0.25)
    page.mouse.down()
    page.mouse.up()
    assert frame.evaluate('f => f.values().start') == pytest.approx([1.45], abs=0.02)
    canvas.focus()
    page.keyboard.press('ArrowDown')
    assert frame.evaluate('f => f.values().start') == pytest.approx([1.35], abs=0.02)
    page.get_by_role('button', name='Walk').click()
    assert frame.evaluate('f => f.state.at') == 1
