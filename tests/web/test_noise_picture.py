"The garment under noise: its scales, its log SNR and its pixels are those of the package, whose table the linear schedule is."

import math

import pytest
import torch
from safetensors.torch import load_file

from diffbook.data import to_model
from diffbook.schedules import CosineSchedule, DiscreteSchedule, RectifiedFlowSchedule, linear_betas
from tools import garments

SCHEDULES = {'cosine': CosineSchedule(), 'straight': RectifiedFlowSchedule(), 'DDPM, linear': DiscreteSchedule(linear_betas())}


def moment(frame, **state):
    frame.evaluate('(f, state) => Object.entries(state).forEach(([name, value]) => f.set(name, value))', state)
    return frame.evaluate('f => f.values()')


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('t', [0.001, 0.259, 0.5, 0.85, 0.999])
def test_scales_log_snr_and_picture(living, name, t):
    schedule = SCHEDULES[name]
    at = t * schedule.t_max
    got = moment(living('noise-picture')[1], schedule=name, t=t)
    alpha, sigma = float(schedule.alpha(at)), float(schedule.sigma(at))
    want = [alpha, sigma, math.atan2(sigma, alpha), float(schedule.log_snr(at))]
    assert [got[k] for k in ('alpha', 'sigma', 'angle', 'logSnr')] == pytest.approx(want, rel=1e-9, abs=1e-12)
    x0, eps, x = (torch.tensor(got[k], dtype=torch.float64) for k in ('x0', 'eps', 'x'))
    torch.testing.assert_close(x, schedule.perturb(x0, eps, torch.tensor(at, dtype=torch.float64)), rtol=0, atol=1e-9)
    assert abs(float(eps.mean())) < 5 / 28 and abs(float(eps.var()) - 1) < 5 * 2**0.5 / 28  # 784 standard normal numbers


def test_ends(living):
    _, frame = living('noise-picture')
    for name, schedule in SCHEDULES.items():
        start, end = moment(frame, schedule=name, t=0), moment(frame, t=1)
        assert (start['alpha'], start['sigma'], start['x']) == (1, 0, start['x0'])
        assert end['alpha'] == pytest.approx(float(schedule.alpha(schedule.t_max)), abs=1e-12)
        if name != 'DDPM, linear':  # the table keeps some signal
            assert end['x'] == pytest.approx(end['eps'])


def test_garments_are_the_models(living):
    _, frame = living('noise-picture')
    drawn = to_model(load_file(garments.GALLERY)['samples']).double()
    for name, k in garments.PICKED.items():
        torch.testing.assert_close(torch.tensor(moment(frame, garment=name)['x0'], dtype=torch.float64), drawn[k].flatten(), rtol=0, atol=1e-6)
    written = garments.ROOT / 'nbs' / 'live' / 'data' / 'garments.js'
    assert written.read_text(encoding='utf-8') == garments.garments() and written.stat().st_size < 30_000


def test_the_questions_answer_is_what_the_figure_shows(living):
    _, frame = living('noise-picture')
    assert moment(frame, schedule='cosine', t=0.5)['logSnr'] == pytest.approx(0, abs=1e-9)
    before, after = (moment(frame, schedule='DDPM, linear', t=t)['logSnr'] for t in (0.25, 0.27))
    assert before > 0 > after
    assert frame.evaluate('f => f.stage.querySelector(".live-readout").textContent.includes("times the power of the signal")')


def test_noise_is_added_to_the_end(living):
    page, frame = living('noise-picture')  # with reduced motion the player jumps
    page.get_by_role('button', name='Add noise').click()
    assert frame.evaluate('f => f.state.t') == 1
