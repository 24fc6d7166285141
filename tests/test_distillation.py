"""Distillation: targets that reproduce the teacher's steps, losses with floor zero, and a gradient that is that of the KL."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from helpers import SCHEDULES

from diffbook.core import Cond, Rows, make_generator
from diffbook.distillation import distribution_loss, foreseen, imitation_loss, progressive_loss
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.guidance import guide
from diffbook.samplers import ddim, euler, heun, sample, snr_times, uniform_times
from diffbook.schedules import CosineSchedule

LAW, COSINE = reference_mixture(), CosineSchedule()


@dataclass
class Answers:
    "Something that is asked as a denoiser is."

    f: Any
    schedule: Any = COSINE

    def __call__(self, x, t, cond=None):
        return self.f(x, t, cond)


@pytest.mark.parametrize('solver', [ddim, euler, heun], ids=lambda f: f.__name__)
@pytest.mark.parametrize('name', SCHEDULES)
def test_one_step_lands_where_the_teacher_does(name, solver):
    schedule = SCHEDULES[name]
    grid = snr_times(schedule, 3, (-2.0, 3.0))
    denoise = LAW.denoise(schedule)
    x = LAW.at(schedule, grid[0]).sample(20, make_generator(0, 'test'))
    *_, there = sample(denoise, schedule, x, grid, solver)
    told = foreseen(schedule, denoise, x, tuple(grid), solver=solver)
    torch.testing.assert_close(ddim(schedule, lambda *_: told, x, grid[0], grid[-1]), there, rtol=1e-10, atol=1e-10)


def test_a_teacher_that_never_changes_its_mind_is_heard_as_it_is():
    x, x0 = torch.randn(5, 2, generator=make_generator(0, 'x')).double(), torch.full((5, 2), 0.7).double()
    t, m, s = torch.tensor([0.9, 0.5, 0.2]).double()
    torch.testing.assert_close(foreseen(COSINE, lambda *_: x0, x, (t, m, s)), x0, rtol=1e-12, atol=1e-12)


def test_each_example_has_its_own_step():
    t, m, s = torch.tensor([[0.9, 0.6], [0.7, 0.4], [0.5, 0.0]]).double()
    x = torch.randn(2, 1, generator=make_generator(1, 'x')).double()
    both = foreseen(COSINE, LAW.denoise(COSINE), x, (t, m, s))
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], foreseen(COSINE, LAW.denoise(COSINE), x[i : i + 1], (t[i], m[i], s[i])), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('n', [1, 4])
def test_a_perfect_student_has_no_loss_and_another_has(n):
    times, teacher = uniform_times(COSINE, 2 * n), LAW.denoise(COSINE)

    def perfect(x, t, cond):
        k = (times[None] - t[:, None]).abs().argmin(1)
        assert (k % 2 == 0).all() and (k < 2 * n).all(), 'the student is asked on its own grid only'
        return foreseen(COSINE, teacher, x, (times[k], times[k + 1], times[k + 2]))

    x0, ask = (
        LAW.sample(64, make_generator(0, 'data')),
        lambda f, **more: progressive_loss(Answers(f), x0, make_generator(0, 'loss'), teacher=teacher, times=times, **more),
    )
    assert ask(perfect).max() < 1e-24
    assert torch.allclose(ask(lambda x, t, c: perfect(x, t, c) + 2), torch.tensor(4.0).double())
    assert torch.allclose(
        ask(lambda x, t, c: perfect(x, t, c) + 2, weight=lambda schedule, t: 1 + t), 4 * (1 + ask(lambda x, t, c: perfect(x, t, c) + torch.sqrt(t)[:, None]))
    )


def test_the_target_has_no_gradient_and_gets_the_condition():
    p = torch.ones(1, requires_grad=True)
    seen, cond = [], Cond(vec=torch.ones(8, 1))
    teacher = lambda x, t, c=None: seen.append(c) or p.double() * x
    loss = progressive_loss(
        Answers(lambda x, t, c: 0 * x + p.double()), LAW.sample(8), make_generator(0, 'g'), cond, teacher=teacher, times=uniform_times(COSINE, 4)
    )
    (slope,) = torch.autograd.grad(loss.sum(), p)
    assert all(c is cond for c in seen) and len(seen) == 2
    q = torch.ones(1, requires_grad=True)
    again = progressive_loss(
        Answers(lambda x, t, c: 0 * x + q.double()), LAW.sample(8), make_generator(0, 'g'), cond, teacher=lambda x, t, c=None: x, times=uniform_times(COSINE, 4)
    )
    assert torch.equal(slope, torch.autograd.grad(again.sum(), q)[0])


def test_a_grid_for_pairs_of_steps():
    for bad in (torch.tensor([1.0, 0.0]), torch.linspace(1, 0, 4)):
        with pytest.raises(ValueError, match='times has shape .*expected an odd number of times'):
            progressive_loss(Answers(lambda x, t, c: x), LAW.sample(2), make_generator(0, 'g'), teacher=LAW.denoise(COSINE), times=bad)


@pytest.mark.parametrize('loss', [progressive_loss, imitation_loss], ids=lambda f: f.__name__)
def test_a_part_of_a_batch_has_its_rows_of_the_whole(loss):
    options = {'teacher': LAW.denoise(COSINE)} | ({'times': uniform_times(COSINE, 8)} if loss is progressive_loss else {})
    student, x0 = Answers(lambda x, t, c: 0.3 * x), LAW.sample(8)
    whole = loss(student, x0, make_generator(0, 'rows'), **options)
    part = loss(student, x0[4:6], Rows(make_generator(0, 'rows'), 4, 8), **options)
    torch.testing.assert_close(part, whole[4:6], rtol=1e-12, atol=0)


def test_imitation_has_floor_zero_and_denoising_has_not():
    teacher = LAW.denoise(COSINE)
    x0 = LAW.sample(64)
    ask = lambda f, **more: imitation_loss(Answers(f), x0, make_generator(0, 'same'), teacher=teacher, **more)
    assert ask(teacher).max() == 0
    assert torch.allclose(ask(lambda x, t, c: teacher(x, t) - 3), torch.tensor(9.0).double())
    assert torch.allclose(ask(lambda x, t, c: teacher(x, t) - 3, weight=lambda s, t: t), 9 * ask(lambda x, t, c: teacher(x, t) + torch.sqrt(t)[:, None]))


def test_imitation_of_a_guided_teacher():
    "The student is told what the guided denoiser is told."
    two = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[[0.25]], [[0.09]]])
    kinds = [GaussianMixture([1.0], [[m]], [[[v]]]).denoise(COSINE) for m, v in ((-1.0, 0.25), (1.0, 0.09))]

    def told(x, t, cond):
        return torch.where(cond.vec.sum(1, keepdim=True) == 0, two.denoise(COSINE)(x, t), torch.where(cond.vec[:, :1] > 0, kinds[0](x, t), kinds[1](x, t)))

    null, cond = Cond(vec=torch.zeros(1, 2)), Cond(vec=torch.eye(2).repeat(8, 1))
    teacher, x0 = guide(told, null, 2.0), two.sample(16)
    by_hand = lambda x, t, c: 2 * told(x, t, c) - two.denoise(COSINE)(x, t)
    assert imitation_loss(Answers(by_hand), x0, make_generator(0, 'g'), cond, teacher=teacher).max() < 1e-20


def test_outputs_are_pulled_by_the_difference_of_two_denoisers():
    "The gradient at each output is weight (fake - real) at its noisy version; nothing flows through the denoisers."
    x = torch.randn(6, 3, generator=make_generator(0, 'x')).double().requires_grad_()
    times = torch.linspace(0.2, 0.8, 6).double()
    seen = []
    real = lambda x, t, c=None: seen.append(x) or 2 * x
    loss = distribution_loss(
        x, make_generator(0, 'g'), real=real, fake=lambda x, t, c=None: 5 * x, schedule=COSINE, draw=lambda s, n, g: times, weight=lambda s, t: t
    )
    (slope,) = torch.autograd.grad(loss.sum(), x)
    torch.testing.assert_close(slope, times[:, None] * 3 * seen[0])
    signal = COSINE.alpha(times)[:, None] * x.detach()
    assert (seen[0] - signal).std() > 0.3, 'noise is added'


def test_following_the_pull_lowers_the_divergence():
    "A Gaussian generator m + s z with its own denoiser: with the weight of the KL the expected slope is that of the KL, 2**16 outputs, five standard errors: one false alarm in a million seeds."
    own, level = GaussianMixture([1.0], [[0.4]], [[[0.49]]]), torch.tensor(0.4).double()
    z = torch.randn(2**16, 1, generator=make_generator(0, 'z'), dtype=torch.float64)
    p = torch.tensor([0.4, 0.7]).double().requires_grad_()
    kl_weight = lambda s, t: (s.alpha(t) / s.sigma(t)) ** 2
    x = (p[0] + p[1] * z).detach().requires_grad_()
    loss = distribution_loss(
        x, make_generator(0, 'eps'), real=LAW.denoise(COSINE), fake=own.denoise(COSINE), schedule=COSINE, draw=lambda s, n, g: level.expand(n), weight=kl_weight
    )
    (pull,) = torch.autograd.grad(loss.sum(), x)
    line = torch.linspace(-9, 9, 4001).double()[:, None]
    alpha, sigma = COSINE.alpha(level), COSINE.sigma(level)
    var = alpha**2 * p[1] ** 2 + sigma**2
    log_q = -((line[:, 0] - alpha * p[0]) ** 2) / (2 * var) - torch.log(2 * math.pi * var) / 2
    kl = torch.trapezoid(log_q.exp() * (log_q - LAW.at(COSINE, level).log_prob(line)), line[:, 0])
    want = torch.autograd.grad(kl, p)[0]
    for got, right in zip((pull, pull * z), want):
        assert abs(got.mean() - right) < 5 * got.std() / 2**8
