"""Predictions against linear algebra, the published tables, diffusers, and the oracle; every schedule, every prediction."""

import pytest
import torch
from helpers import PREDICTIONS, SCHEDULES, inner_times

from diffbook.core import build, describe, noise
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.predictions import (
    determinant,
    predict_edm,
    predict_eps,
    predict_score,
    predict_v,
    predict_velocity,
    predict_x0,
    skip_out,
    solve_x0,
    target,
)
from diffbook.schedules import DiscreteSchedule, KarrasSchedule, RectifiedFlowSchedule, linear_betas

every = pytest.mark.parametrize('prediction', PREDICTIONS.values(), ids=PREDICTIONS)
everywhere = pytest.mark.parametrize('schedule', SCHEDULES.values(), ids=SCHEDULES)


def example(schedule, n=7):
    t = inner_times(schedule, n)
    x0, eps = noise(0, 'predictions', 0, range(n), (2, 3, 2)).unbind(1)
    return x0, eps, t, schedule.perturb(x0, eps, t)


@every
@everywhere
def test_solving_undoes_the_target(schedule, prediction):
    x0, eps, t, x = example(schedule)
    y = target(prediction, schedule, x0, eps, t)
    skip, out = skip_out(prediction, schedule, t)
    # rounding of x and y is amplified by |skip| and |out|; nothing else may be lost
    scale = skip.abs() * x.abs().flatten(1).amax(1) + out.abs() * y.abs().flatten(1).amax(1)
    error = (solve_x0(prediction, schedule, y, x, t) - x0).abs().flatten(1).amax(1)
    assert (error <= 1e-14 * (1 + scale)).all()


@every
@everywhere
def test_determinant_and_solution_are_linear_algebra(schedule, prediction):
    t = inner_times(schedule)
    a, b = prediction(schedule, t)
    matrix = torch.stack([torch.stack([schedule.alpha(t), schedule.sigma(t)], -1), torch.stack([a, b], -1)], 1)
    torch.testing.assert_close(determinant(prediction, schedule, t), torch.linalg.det(matrix), rtol=1e-9, atol=1e-12)
    inverse = torch.linalg.inv(matrix)[:, 0]
    torch.testing.assert_close(torch.stack(skip_out(prediction, schedule, t), -1), inverse, rtol=1e-9, atol=1e-12)


@every
@everywhere
def test_one_time_for_all_equals_a_time_for_each(schedule, prediction):
    x0, eps, t, _ = example(schedule)
    together = target(prediction, schedule, x0, eps, t)
    for i, one in enumerate(t):
        torch.testing.assert_close(target(prediction, schedule, x0, eps, one)[i], together[i], rtol=0, atol=0)


@every
@pytest.mark.parametrize('name', [n for n, s in SCHEDULES.items() if float(s.sigma(s.t_min)) == 0])
def test_without_noise_x_is_the_answer(name, prediction):
    schedule = SCHEDULES[name]
    x = torch.ones(2, 3, dtype=torch.float64)
    t = torch.tensor(schedule.t_min)
    whatever = torch.full_like(x, 7.0)
    torch.testing.assert_close(solve_x0(prediction, schedule, whatever, x, t), x / schedule.alpha(t), rtol=0, atol=0)


DARK = [n for n, s in SCHEDULES.items() if float(s.alpha(s.t_max)) == 0]


@pytest.mark.parametrize('name', DARK)
@pytest.mark.parametrize('prediction', [predict_eps, predict_score])
def test_noise_alone_does_not_determine_x0(name, prediction):
    schedule = SCHEDULES[name]
    x = torch.ones(2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=f'at t = {schedule.t_max:g} this prediction says nothing of x0'):
        solve_x0(prediction, schedule, x, x, torch.tensor([schedule.t_min, schedule.t_max]))


@pytest.mark.parametrize('name', DARK)
@pytest.mark.parametrize('prediction', [predict_x0, predict_v, predict_edm(0.7)])
def test_what_works_without_signal(name, prediction):
    schedule = SCHEDULES[name]
    x0, eps = noise(0, 'dark', 0, range(3), (2, 4)).unbind(1)
    t = torch.tensor(schedule.t_max)
    y = target(prediction, schedule, x0, eps, t)
    torch.testing.assert_close(solve_x0(prediction, schedule, y, schedule.perturb(x0, eps, t), t), x0, rtol=1e-14, atol=1e-14)


def test_at_least_two_schedules_end_dark():
    assert len(DARK) >= 2


def test_edm_table_one():
    sigma = torch.logspace(-3, 1.9, 50, dtype=torch.float64)
    for data in (0.1, 0.5, 1.0, 3.0):
        skip, out = skip_out(predict_edm(data), KarrasSchedule(), sigma)
        torch.testing.assert_close(skip, data**2 / (sigma**2 + data**2), rtol=1e-12, atol=0)
        torch.testing.assert_close(out, sigma * data * (sigma**2 + data**2).rsqrt(), rtol=1e-12, atol=0)


@everywhere
def test_edm_target_has_unit_variance_and_least_amplification(schedule):
    t, data = inner_times(schedule), 0.8
    a, b = predict_edm(data)(schedule, t)
    torch.testing.assert_close((a * data) ** 2 + b**2, torch.ones_like(t), rtol=1e-12, atol=0)
    _, out = skip_out(predict_edm(data), schedule, t)
    for turn in (-0.3, 0.2):  # any other unit-variance arrow is no better
        c, s = torch.cos(torch.tensor(turn)), torch.sin(torch.tensor(turn))
        other_a, other_b = (c * a * data - s * b) / data, s * a * data + c * b
        _, other = skip_out(lambda *_: (other_a, other_b), schedule, t)  # noqa: B023
        assert (other.abs() >= out.abs()).all()


@everywhere
def test_edm_of_unit_data_is_minus_v_where_variance_is_kept(schedule):
    t = inner_times(schedule)
    if torch.allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones_like(t)):
        for f, v in zip(predict_edm(1.0)(schedule, t), predict_v(schedule, t)):
            torch.testing.assert_close(f, -v, rtol=1e-12, atol=1e-15)


@everywhere
def test_velocity_is_the_time_derivative(schedule):
    x0, eps, t, _ = example(schedule)
    h = 1e-6 * (schedule.t_max - schedule.t_min)
    slope = (schedule.perturb(x0, eps, t + h) - schedule.perturb(x0, eps, t - h)) / (2 * h)
    ours = target(predict_velocity, schedule, x0, eps, t)
    torch.testing.assert_close(ours, slope, rtol=1e-6, atol=1e-6 * float(slope.abs().max()))


def test_v_equals_diffusers():
    diffusers = pytest.importorskip('diffusers')
    theirs = diffusers.DDPMScheduler(beta_schedule='linear')
    schedule = DiscreteSchedule(linear_betas())
    x0, eps = noise(0, 'v', 0, range(5), (2, 3, 4, 4)).unbind(1)
    index = torch.tensor([0, 10, 400, 998, 999])
    ours = target(predict_v, schedule, x0, eps, index + 1.0)
    torch.testing.assert_close(ours, theirs.get_velocity(x0, eps, index), rtol=0, atol=1e-5)  # their table is float32


@everywhere
def test_ideal_score_and_velocity_are_those_of_the_law(schedule):
    "Means over x0 given x_t, by quadrature over the data, not by the mixture's own formulas."
    t = inner_times(schedule, 5)[2:3]
    mixture = reference_mixture()
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None] * (2 * schedule.alpha(t) + schedule.sigma(t))
    grid = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    kernel = -((x - schedule.alpha(t) * grid) ** 2) / (2 * schedule.sigma(t) ** 2)
    posterior = (mixture.log_prob(grid[:, None]) + kernel).softmax(1)
    for prediction, want in ((predict_score, mixture.at(schedule, t[0]).score(x)), (predict_x0, mixture.denoise(schedule)(x, t[0]))):
        a, b = prediction(schedule, t)
        eps = (x - schedule.alpha(t) * grid) / schedule.sigma(t)
        mean = (posterior * (a * grid + b * eps)).sum(1, keepdim=True)
        torch.testing.assert_close(mean, want, rtol=1e-8, atol=1e-8 * float(want.abs().max()))


@every
def test_floor_of_the_oracle_is_amplified_by_the_determinant(prediction):
    "E||y - E[y | x]||^2 = Var(x0 | x_t) / c_out^2, and the oracle's floor says the same."
    schedule, mixture = RectifiedFlowSchedule(), GaussianMixture([1.0], [[0.3]], [[[0.49]]])
    for t in (0.2, 0.5, 0.9):
        _, out = skip_out(prediction, schedule, torch.tensor(t, dtype=torch.float64))
        variance = 1 / (1 / 0.49 + (1 - t) ** 2 / t**2)
        assert mixture.loss_floor(schedule, t, prediction) == pytest.approx(variance / float(out) ** 2, rel=1e-9)


@every
def test_where_x_is_data_nothing_counts_that_was_said(prediction):
    "Not a number said about an example without noise is not heard; said about another, it is."
    schedule, x = RectifiedFlowSchedule(), torch.tensor([[3.0], [4.0]]).double()
    got = solve_x0(prediction, schedule, torch.full_like(x, float('nan')), x, torch.tensor([0.0, 0.5]))
    assert got[0] == 3.0 and torch.isnan(got[1])


@every
def test_state_keeps_its_dtype(prediction):
    schedule = RectifiedFlowSchedule()
    x = torch.ones(2, 3, dtype=torch.float32)
    assert target(prediction, schedule, x, x, torch.tensor(0.5)).dtype == torch.float32
    assert solve_x0(prediction, schedule, x, x, torch.tensor(0.5)).dtype == torch.float32


@every
def test_predictions_survive_description(prediction):
    again = build(describe(prediction))
    t = torch.tensor([0.2, 0.6], dtype=torch.float64)
    for got, want in zip(again(RectifiedFlowSchedule(), t), prediction(RectifiedFlowSchedule(), t)):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.bad_input
def test_errors_name_the_value():
    schedule, x = RectifiedFlowSchedule(), torch.ones(2, 3)
    with pytest.raises(ValueError, match=r'eps has shape \(2, 4\), expected that of x0, \(2, 3\)'):
        target(predict_eps, schedule, x, torch.ones(2, 4), torch.tensor(0.5))
    with pytest.raises(ValueError, match=r'y has shape \(3, 3\), expected that of x, \(2, 3\)'):
        solve_x0(predict_eps, schedule, torch.ones(3, 3), x, torch.tensor(0.5))
    with pytest.raises(ValueError, match='t is 1.5'):
        target(predict_v, schedule, x, x, torch.tensor(1.5))
    with pytest.raises(ValueError, match=r't has shape \(3,\)'):
        target(predict_v, schedule, x, x, torch.full((3,), 0.5))
    for bad in (0.0, -1.0, float('nan')):
        with pytest.raises(ValueError, match='sigma_data'):
            predict_edm(bad)
