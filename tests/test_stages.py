"""Stages: what draws, in one place. The same as the loop by hand, the same sample in every batch, the condition handed on."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from diffbook import samplers
from diffbook.core import Cond, noise, seeded_noise
from diffbook.exact import reference_mixture
from diffbook.samplers import ancestral, ddim, euler, heun, karras_times, sample, uniform_times
from diffbook.schedules import CosineSchedule, DiscreteSchedule, KarrasSchedule, linear_betas
from diffbook.stages import Stage, cascade, whole_times

SOLVERS = {'ddim': ddim, 'ancestral': ancestral, 'euler': euler, 'heun': heun, 'ddim, eta 0.5': partial(ddim, eta=0.5)}


def stage(schedule=None, **options):
    "The exact denoiser of the book's mixture on a line."
    schedule = schedule or CosineSchedule()
    exact = reference_mixture().denoise(schedule)
    return Stage(lambda x, t, cond=None: exact(x.double(), t).to(x), schedule, (1,), **options)


@pytest.mark.parametrize('solver', SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize('schedule', [CosineSchedule(), KarrasSchedule(80.0), DiscreteSchedule(linear_betas(100))], ids=lambda s: type(s).__name__)
def test_a_stage_is_the_loop_by_hand(schedule, solver):
    made = stage(schedule, solver=solver)
    x = noise(5, 'start', 0, range(6), (1,)).float() * schedule.sigma(schedule.t_max).float()
    step = partial(solver, noise=seeded_noise(5, 'sample', 0)) if 'noise' in samplers.asked(solver) else solver
    want = list(sample(made.denoise, schedule, x, whole_times(schedule, 7), step))
    assert all(torch.equal(a, b) for a, b in zip(made.sample(6, seed=5, steps=7), want, strict=True))
    assert torch.equal(made.draw(6, seed=5, steps=7), want[-1])


@pytest.mark.parametrize('solver', SOLVERS.values(), ids=SOLVERS)
def test_a_sample_is_the_same_in_every_batch_and_another_for_every_seed(solver):
    made = stage(solver=solver)
    whole = made.draw(7, seed=2, steps=5)
    assert torch.allclose(made.draw(7, seed=2, steps=5, batch=3), whole, atol=1e-6)
    assert torch.allclose(made.draw(2, seed=2, steps=5, first=4), whole[4:6], atol=1e-6)
    assert torch.allclose(made.draw(3, seed=2, steps=5, first=4, batch=1), whole[4:], atol=1e-6)
    assert not torch.isclose(made.draw(7, seed=3, steps=5), whole).any()
    assert len({tuple(row) for row in whole.tolist()}) == 7


@pytest.mark.parametrize('rows', [1, 5])
def test_every_sample_hears_its_own_condition(rows):
    cond = Cond(vec=torch.arange(rows * 3.0).reshape(rows, 3))
    echo = Stage(lambda x, t, cond=None: cond.vec, CosineSchedule(), (3,))
    assert torch.allclose(echo.draw(5, cond, steps=3, batch=2), cond.vec.expand(5, 3), atol=1e-5)


def test_a_condition_of_another_length_is_refused():
    with pytest.raises(RuntimeError, match='expand'):
        stage().draw(5, Cond(vec=torch.zeros(2, 3)), steps=2)


@pytest.mark.parametrize('n', [1, 7, 10, 100])
def test_on_a_table_of_betas_the_network_is_asked_at_whole_times(n):
    times = whole_times(DiscreteSchedule(linear_betas(100)), n)
    assert torch.equal(times, times.round()) and times[0] == 100 and times[-1] == 0 and bool((times.diff() < 0).all())
    assert torch.equal(whole_times(CosineSchedule(), n), uniform_times(CosineSchedule(), n))
    assert torch.equal(
        whole_times(KarrasSchedule(), n), karras_times(KarrasSchedule(), n)
    )  # even steps of noise levels would spend nearly all where nothing is seen


def test_more_steps_than_rows_are_refused():
    with pytest.raises(ValueError, match='at most 100'):
        whole_times(DiscreteSchedule(linear_betas(100)), 101)


def test_the_end_is_decoded_and_only_the_end():
    class Doubled:
        def decode(self, z):
            sizes.append(len(z))
            return 2 * z + 1

    sizes, plain = [], stage()
    assert torch.equal(replace(plain, codec=Doubled()).draw(5, steps=3, batch=2), 2 * plain.draw(5, steps=3, batch=2) + 1)
    assert sizes == [2, 2, 1]
    *_, z = replace(plain, codec=Doubled()).sample(5, steps=3)
    assert torch.equal(z, plain.draw(5, steps=3))


def test_a_cascade_tells_each_stage_what_the_one_before_it_drew():
    upper = Stage(lambda x, t, cond=None: cond.vec.repeat(1, 4), CosineSchedule(), (4,))
    last = Stage(lambda x, t, cond=None: -cond.vec, CosineSchedule(), (4,))
    tell = lambda x: Cond(vec=x)
    small, large, other = cascade(3, [(stage(), lambda x: None), (upper, tell), (last, tell)], seed=4, steps=6)
    assert torch.equal(small, stage().draw(3, seed=4, steps=6))
    assert torch.allclose(large, small.repeat(1, 4), atol=1e-5) and torch.allclose(other, -large, atol=1e-5)


def test_the_stages_of_a_cascade_start_from_different_noise():
    "In one step this denoiser gives back its start. Two starts of one noise make what a second stage draws depend on the first beyond what it is told."
    echo, n = Stage(lambda x, t, cond=None: x, CosineSchedule(), (1,)), 2000
    a, b, c = cascade(n, [(echo, lambda x: None)] * 3, seed=4, steps=1, batch=n)
    assert torch.equal(a, echo.draw(n, seed=4, steps=1, batch=n))
    for pair in ((a, b), (b, c), (a, c)):
        assert torch.corrcoef(torch.cat(pair, 1).T)[0, 1].abs() < 5 / n**0.5  # a false alarm in a million runs


def test_nothing_is_drawn_with_gradients():
    weight = torch.ones(2, requires_grad=True)
    assert not Stage(lambda x, t, cond=None: weight * x, CosineSchedule(), (2,)).draw(2, steps=2).requires_grad
