"The arrows of a prediction: pair, determinant, amplification and the solved data are the package's, on three schedules."

import math

import pytest
import torch

from diffbook.predictions import determinant, predict_eps, predict_v, predict_x0, skip_out, solve_x0, target
from diffbook.schedules import CosineSchedule, DiscreteSchedule, RectifiedFlowSchedule, linear_betas

SCHEDULES = {'cosine': CosineSchedule(), 'straight': RectifiedFlowSchedule(), 'DDPM, linear': DiscreteSchedule(linear_betas())}
PREDICTIONS = {'noise (eps)': predict_eps, 'data (x0)': predict_x0, 'v': predict_v}


def moment(frame, **state):
    frame.evaluate('(f, state) => Object.entries(state).forEach(([name, value]) => f.set(name, value))', state)
    return frame.evaluate('f => f.values()')


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('asked', PREDICTIONS)
def test_pair_determinant_and_solution(living, schedule, asked):
    _, frame = living('prediction-arrows')
    s, p = SCHEDULES[schedule], PREDICTIONS[asked]
    for t in (0.004, 0.3, 0.7, 0.99):
        got, at = moment(frame, schedule=schedule, asked=asked, t=t, error=0.13), torch.tensor(t * s.t_max, dtype=torch.float64)
        want = [*p(s, at), determinant(p, s, at), skip_out(p, s, at)[1].abs()]
        assert [got[k] for k in ('a', 'b', 'determinant', 'amplification')] == pytest.approx([float(v) for v in want], rel=1e-9, abs=1e-12)
        x0, eps = torch.tensor(got['truth'], dtype=torch.float64)[:, None]
        x, y = s.perturb(x0, eps, at), target(p, s, x0, eps, at)
        assert [got['x'], got['y']] == pytest.approx([float(x), float(y)], rel=1e-9, abs=1e-12)
        off = solve_x0(p, s, y + 0.13, x, at)
        assert got['wrong'] == pytest.approx([float(off), float(s.eps(x, off, at))], rel=1e-8, abs=1e-9)


def test_both_ends(living):
    page, frame = living('prediction-arrows')
    said = lambda: page.locator('.live-readout').inner_text()
    end = moment(frame, asked='noise (eps)', t=1)
    assert end['determinant'] == 0 and end['amplification'] == math.inf and 'says nothing of the data' in said()
    with pytest.raises(ValueError, match='says nothing of x0'):
        skip_out(predict_eps, SCHEDULES['cosine'], torch.tensor(1.0))
    for asked in ('data (x0)', 'v'):
        assert moment(frame, asked=asked)['amplification'] == pytest.approx(1)
    for asked in PREDICTIONS:
        start = moment(frame, asked=asked, t=0)
        assert start['amplification'] == 0 and start['wrong'][0] == start['truth'][0] and 'No noise yet' in said()


def test_the_area_is_the_determinant_and_v_stands_at_a_right_angle(living):
    _, frame = living('prediction-arrows')
    for schedule in SCHEDULES:
        for t in (0.2, 0.6, 0.9):
            got = moment(frame, schedule=schedule, asked='v', t=t)
            assert got['alpha'] * got['a'] + got['sigma'] * got['b'] == pytest.approx(0, abs=1e-12)
            assert abs(got['determinant']) == pytest.approx(math.hypot(got['alpha'], got['sigma']) * math.hypot(got['a'], got['b']))


def test_the_questions_answer_is_the_largest_that_the_figure_shows(living):
    page, frame = living('prediction-arrows')
    grown = [moment(frame, schedule='straight', asked='v', t=k / 100)['amplification'] for k in range(101)]
    assert max(grown) == pytest.approx(1.21, rel=0.02) and grown.index(max(grown)) == 71
    assert max(moment(frame, schedule='cosine', t=k / 100)['amplification'] for k in range(101)) == pytest.approx(1)
    moment(frame, schedule='straight', t=0.71)
    assert '1.2 times as much' in page.locator('.live-readout').inner_text()
    page.get_by_role('button', name='Add noise').click()
    assert frame.evaluate('f => f.state.t') == 1
