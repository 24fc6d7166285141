"""Editing: masks and grids on every schedule, what replacement converges to, and exact inverses."""

from functools import partial

import pytest
import torch
from helpers import SCHEDULES, SOLVERS, STOCHASTIC_SOLVERS, inner_times
from torch.testing import assert_close

from diffbook.conform import check_manners
from diffbook.core import Cond, Noise, generator, noise, seeded_noise
from diffbook.editing import (
    as_mask,
    cut_times,
    inpaint,
    invert,
    put_back,
    renoise,
    repaint,
    resampling,
    rise,
    slerp,
    start_from,
)
from diffbook.exact import GaussianMixture, reference_mixture
from diffbook.guidance import langevin
from diffbook.losses import Denoiser
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.samplers import ancestral, ddim, equip, heun, karras_times, sample, uniform_times
from diffbook.schedules import CosineSchedule, LinearBetaSchedule

ALL = SOLVERS | STOCHASTIC_SOLVERS
COSINE = CosineSchedule()
RHO = 0.8
PAIR = GaussianMixture([1.0], [[0.0, 0.0]], [[[1.0, RHO], [RHO, 1.0]]])  # two correlated numbers
KNOWN, FIRST = torch.tensor([[1.25, 0.0]]).double(), torch.tensor([True, False])
QUIET = lambda x, t: torch.zeros_like(x)  # the mean of everything, as all of it is linear


class Quiet(Noise):
    __call__ = staticmethod(QUIET)


def draw(*shape, seed=0, purpose='test'):
    return noise(seed, purpose, 0, range(shape[0]), shape[1:])


# Start in the middle


@pytest.mark.parametrize('strength, left', ((0.01, 1), (0.3, 3), (0.35, 4), (0.5, 5), (0.99, 10), (1.0, 10)))
def test_strength_is_the_share_of_steps(strength, left):
    times = uniform_times(COSINE, 10)
    assert torch.equal(cut_times(times, strength), times[-1 - left :])


@pytest.mark.parametrize('name', SCHEDULES)
def test_start_is_noised_to_the_first_time_left(name):
    "Noise of the right level for the grid that is returned; at strength one the picture is forgotten."
    schedule, x0, ones = SCHEDULES[name], draw(2, 3), lambda x, t: torch.ones_like(x)
    x, times = start_from(schedule, x0, uniform_times(schedule, 10), 0.4, noise=ones)
    assert len(times) == 5 and times[-1] == schedule.t_min
    assert_close(x, schedule.alpha(times[0]) * x0 + schedule.sigma(times[0]), rtol=1e-14, atol=1e-14)
    x, times = start_from(schedule, x0, uniform_times(schedule, 10), 1, noise=ones)
    assert torch.equal(x, torch.full_like(x0, float(schedule.sigma(schedule.t_max)))) and times[0] == schedule.t_max


@pytest.mark.parametrize('strength', (0.2, 0.5, 0.9))
def test_image_to_image_is_the_exact_flow_of_the_noised_picture(strength):
    law, x0 = reference_mixture(), torch.linspace(-2, 2, 9).double()[:, None]
    x, times = start_from(COSINE, x0, uniform_times(COSINE, 400), strength)
    *_, got = sample(law.denoise(COSINE), COSINE, x, times, heun)
    assert_close(got, law.flow(COSINE, x, times[0], 0.0), rtol=0, atol=2e-3)


# Masks


@pytest.mark.parametrize('shape', ((4, 1, 5, 6), (1, 1, 5, 6), (1, 5, 6), (3, 5, 6), (4, 3, 5, 6)))
@pytest.mark.parametrize('dtype', (torch.bool, torch.uint8, torch.float32))
def test_masks_of_every_shape_cover_the_batch(shape, dtype):
    mask = draw(*shape) > 0
    got = as_mask(mask.to(dtype), torch.zeros(4, 3, 5, 6))
    assert got.dtype == torch.bool and torch.equal(got.expand(4, 3, 5, 6), mask.expand(4, 3, 5, 6))


@pytest.mark.parametrize('shape', ((5, 6), (1, 6, 5), (1, 1, 6), (2, 1, 5, 6), (2, 5, 6), (1, 4, 1, 5, 6), (4, 1, 10, 12)))
def test_a_mask_that_does_not_fit_names_both_sizes(shape):
    with pytest.raises(ValueError) as error:
        as_mask(torch.ones(shape, dtype=torch.bool), torch.zeros(4, 3, 5, 6))
    assert str(shape) in str(error.value) and '(1, 5, 6)' in str(error.value)


@pytest.mark.parametrize('value', (0.5, -1.0, 255.0, float('nan')))
def test_a_mask_holds_only_zeros_and_ones(value):
    with pytest.raises(ValueError, match='expected True and False'):
        as_mask(torch.tensor([1.0, value]), torch.zeros(4, 2))


def test_a_mask_for_vectors_may_be_one_for_each_example():
    assert as_mask(torch.eye(2).bool(), torch.zeros(2, 2)).tolist() == [[True, False], [False, True]]
    with pytest.raises(ValueError, match='mask has shape'):
        as_mask(torch.ones(1).bool(), torch.zeros(4, 2))


# Replacement


@pytest.mark.parametrize('name', SCHEDULES)
def test_put_back_is_as_noisy_as_the_rest(name):
    "The known region is alpha_t known + sigma_t eps, channel by channel; the rest is not touched."
    schedule, x, known = SCHEDULES[name], draw(2, 3, 4, 4), draw(1, 3, 4, 4, seed=1)
    mask = draw(2, 1, 4, 4, seed=2) > 0
    for t in inner_times(schedule, 3):
        got = put_back(schedule, x, t, known, mask, lambda x, t: torch.full_like(x, 0.7))
        want = schedule.alpha(t) * known + schedule.sigma(t) * 0.7
        assert_close(got, torch.where(mask.expand_as(x), want.expand_as(x), x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize('solver', ALL)
def test_a_tied_solver_keeps_its_manners_and_without_a_mask_changes_nothing(solver):
    solver = ALL[solver]
    check_manners(inpaint(solver, torch.zeros(1, 1), torch.zeros(1, dtype=torch.bool)))
    x, times, law = draw(5, 1), uniform_times(COSINE, 4), reference_mixture()
    free = list(sample(law.denoise(COSINE), COSINE, x, times, solver))
    tied = list(sample(law.denoise(COSINE), COSINE, x, times, inpaint(solver, torch.zeros(1, 1), torch.zeros(1).bool())))
    assert all(torch.equal(a, b) for a, b in zip(free, tied))


ENDS = torch.tensor([[0.9, 0.6, 0.3], [0.5, 0.0, 0.2]], dtype=torch.float64)  # t and s of three examples; the second arrives


@pytest.mark.parametrize(
    'wrap', [lambda f: f, lambda f: inpaint(f, KNOWN, FIRST), lambda f: langevin(inpaint(f, KNOWN, FIRST))], ids=['plain', 'inpaint', 'both']
)
@pytest.mark.parametrize('solver', ALL)
def test_one_example_arrives_while_others_go_on(solver, wrap):
    "One time an example, with the noise that each draws alone: stepping down, noising again, and rising from data."
    (t, s), x, denoise = ENDS, draw(3, 2), PAIR.denoise(COSINE)
    alone = lambda f: torch.cat([f(slice(i, i + 1)) for i in range(3)])
    at = lambda i: Noise(3, start=i.start or 0)
    for step in (
        lambda i: equip(wrap(ALL[solver]), noise=at(i))(COSINE, denoise, x[i], t[i], s[i]),
        lambda i: renoise(COSINE, x[i], s[i], t[i], at(i)),
        lambda i: rise(COSINE, denoise, x[i], s[i], t[i]),
        lambda i: rise(COSINE, denoise, x[i], s[i], t[i], rounds=2, solver=SOLVERS.get(solver, heun)),
    ):
        assert torch.isfinite(step(slice(None))).all()
        assert_close(step(slice(None)), alone(step), rtol=1e-12, atol=1e-12)


def test_noise_reaches_through_wrappers():
    "The step and the known region draw from the seed and the place in the run; what a wrapper was made with stays."
    x, (t, s) = draw(4, 2), torch.tensor([0.8, 0.7]).double()
    step = lambda solver, noise, x=x: equip(solver, noise=noise)(COSINE, PAIR.denoise(COSINE), x, t, s)
    tied = inpaint(partial(ancestral), KNOWN, FIRST)
    for solver in (tied, partial(tied), inpaint(langevin(tied), KNOWN, ~FIRST), langevin(inpaint(ddim, KNOWN, FIRST))):
        a, b = step(solver, Noise(0)), step(solver, Noise(1))
        assert (a != b).any(0).all(), 'the known region and the rest'
        assert torch.equal(step(solver, Noise(0, start=5))[2:], step(solver, Noise(0, start=7), x[2:]))
    own = inpaint(ancestral, KNOWN, FIRST, noise=QUIET)
    a, b = step(own, Noise(0)), step(own, Noise(1))
    assert torch.equal(a[:, 0], b[:, 0]) and (a[:, 1] != b[:, 1]).all()
    eps = Noise(0).fork('known')(x, s)[:, 0]  # the known region has a stream of its own
    assert_close(step(tied, Noise(0))[:, 0], COSINE.alpha(s) * KNOWN[0, 0] + COSINE.sigma(s) * eps)


@pytest.mark.parametrize('solver', ALL)
@pytest.mark.parametrize('name', SCHEDULES)
def test_the_known_region_arrives_untouched(name, solver):
    "The picture comes back to the last digit, also where the schedule ends with noise."
    schedule, law = SCHEDULES[name], GaussianMixture([1.0], [[0.2] * 4], 0.5 * torch.eye(4)[None])
    known, mask = draw(3, 4, seed=1), torch.tensor([True, False, True, False])
    x, times = schedule.sigma(schedule.t_max) * draw(3, 4), uniform_times(schedule, 5)
    *_, x0 = sample(law.denoise(schedule), schedule, x, times, inpaint(ALL[solver], known, mask))
    assert torch.equal(x0[:, mask], known[:, mask]) and torch.isfinite(x0).all()
    *_, x0 = repaint(law.denoise(schedule), schedule, x, times[:-1], known, mask, rounds=2, solver=ALL[solver])  # a grid that ends early
    assert torch.equal(x0[:, mask], known[:, mask]) and torch.isfinite(x0).all()
    on_the_way = next(iter(repaint(law.denoise(schedule), schedule, x, times, known, mask, solver=ALL[solver])))
    assert (on_the_way[:, mask] != known[:, mask]).all()


@pytest.mark.bad_input
def test_a_mask_that_leaves_nothing_to_draw_is_refused():
    whole, one = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[True, True], [True, False]])
    for make in (
        lambda mask: inpaint(ddim, torch.zeros(2, 2), mask),
        lambda mask: repaint(PAIR.denoise(COSINE), COSINE, draw(2, 2), uniform_times(COSINE, 2), torch.zeros(2, 2), mask),
    ):
        with pytest.raises(ValueError, match='mask is True everywhere, expected False where something is to be drawn'):
            make(whole)
        make(one)


def test_known_noise_is_that_of_the_time_reached():
    "Every state on the way holds the picture at its own noise level, not at the one before."
    x, times, asked = draw(1, 2), uniform_times(COSINE, 6), []
    step = inpaint(ddim, KNOWN, FIRST, noise=lambda x, t: asked.append(float(t)) or torch.ones_like(x))
    for x, s in zip(sample(PAIR.denoise(COSINE), COSINE, x, times, step), times[1:]):
        assert_close(x[0, 0], COSINE.alpha(s) * 1.25 + COSINE.sigma(s), rtol=1e-14, atol=0)
    assert sorted(set(asked)) == sorted(times.tolist())


@pytest.mark.parametrize('name', SCHEDULES)
def test_replacing_the_estimate_is_replacing_the_state_with_one_noise_for_all_times(name):
    "For DDIM the two seams are one: eps of the known region stays what it was at the start."
    schedule = SCHEDULES[name]
    times = uniform_times(schedule, 8)[:-1]  # at the end the picture is put back as it is
    eps = draw(3, 2, seed=1)
    x = torch.where(FIRST, schedule.perturb(KNOWN.expand(3, 2), eps, times[0]), schedule.sigma(times[0]) * draw(3, 2))
    exact = PAIR.denoise(schedule)
    *_, by_state = sample(exact, schedule, x, times, inpaint(ddim, KNOWN, FIRST, noise=lambda x, t: eps))
    *_, by_estimate = sample(lambda x, t, c: torch.where(FIRST, KNOWN, exact(x, t)), schedule, x, times)
    assert_close(by_state, by_estimate, rtol=1e-9, atol=1e-9 * float(schedule.sigma(schedule.t_max)))


@pytest.mark.parametrize('schedule', (COSINE, LinearBetaSchedule()), ids=('cosine', 'linear-beta'))
def test_replacement_converges_to_its_own_mean_and_not_to_the_posterior(schedule):
    "The mean tends to (1 - sqrt(1 - rho^2)) / rho times the known value; the truth is rho times it."

    def mean(n):
        *_, x = sample(
            PAIR.denoise(schedule),
            schedule,
            torch.zeros(1, 2).double(),
            uniform_times(schedule, n),
            inpaint(partial(ancestral, noise=QUIET), KNOWN, FIRST, noise=QUIET),
        )
        return x[0, 1].item() / 1.25

    limit = (1 - (1 - RHO**2) ** 0.5) / RHO  # 0.5 where the truth is 0.8
    assert abs(2 * mean(400) - mean(200) - limit) < 1e-3  # Richardson: the error is of order one
    assert 0.4 < (mean(200) - limit) / (mean(100) - limit) < 0.6


# RePaint


@pytest.mark.parametrize('n, jump, rounds', ((1, 1, 1), (6, 1, 3), (6, 2, 2), (7, 3, 4), (5, 10, 2)))
def test_moves_are_connected_and_walk_every_stretch(n, jump, rounds):
    times = uniform_times(COSINE, n)
    moves = resampling(times, jump, rounds)
    assert all(torch.equal(a[1], b[0]) for a, b in zip(moves, moves[1:]))
    assert moves[0][0] == times[0] and moves[-1][1] == times[-1]
    down = [(float(t), float(s)) for t, s, _ in moves if s < t]
    assert {pair: down.count(pair) for pair in down} == {(float(t), float(s)): rounds for t, s in zip(times, times[1:])}
    ups = [(float(t), float(s)) for t, s, _ in moves if s > t]
    assert len(ups) == (rounds - 1) * -(-n // jump)
    assert all(times.tolist().index(t) - times.tolist().index(s) <= jump for t, s in ups)


@pytest.mark.parametrize('name', SCHEDULES)
def test_renoise_is_the_way_forward(name):
    "From x_s = alpha_s x0 + sigma_s e to x_t: signal alpha_t, and variances that add up to sigma_t^2."
    schedule, (s, t) = SCHEDULES[name], inner_times(SCHEDULES[name], 2, 0.2)
    zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    run = lambda x0, e, z: renoise(schedule, schedule.perturb(x0, e, s), s, t, lambda x, t: z)
    assert_close(run(one, zero, zero)[0, 0], schedule.alpha(t), rtol=1e-12, atol=0)
    assert_close(run(zero, one, zero)[0, 0] ** 2 + run(zero, zero, one)[0, 0] ** 2, schedule.sigma(t) ** 2, rtol=1e-10, atol=0)


@pytest.mark.parametrize('solver', ALL)
def test_repaint_of_one_round_is_replacement(solver):
    x, times = draw(4, 2), uniform_times(COSINE, 6)
    want = list(sample(PAIR.denoise(COSINE), COSINE, x, times, equip(inpaint(ALL[solver], KNOWN, FIRST), noise=Noise(0))))
    got = list(repaint(PAIR.denoise(COSINE), COSINE, x, times, KNOWN, FIRST, rounds=1, solver=ALL[solver]))
    assert all(torch.equal(a, b) for a, b in zip(got, want)) and len(got) == len(want)


def test_every_round_of_repaint_has_its_own_noise():
    "No noise is drawn twice: a time is visited again, and noise is a function of the time."
    seen = []

    class Listening(Noise):
        def __call__(self, x, t):
            seen.append((self.purpose, float(t)))
            return super().__call__(x, t)

    list(repaint(PAIR.denoise(COSINE), COSINE, draw(1, 2), uniform_times(COSINE, 6), KNOWN, FIRST, jump=2, rounds=3, noise=Listening()))
    again = {key for key in seen if seen.count(key) > 1}
    assert not again
    assert len(seen) == 1 + 2 * 18 + 6  # the start, known and sample at each of 6 * 3 steps down, 3 * 2 jumps


def test_resampling_removes_the_bias_of_replacement():
    "The mean moves from one half towards the posterior's 0.8 with the number of rounds, and gets there."

    def mean(rounds):
        *_, x = repaint(PAIR.denoise(COSINE), COSINE, torch.zeros(1, 2).double(), uniform_times(COSINE, 50), KNOWN, FIRST, rounds=rounds, noise=Quiet())
        return x[0, 1].item() / 1.25

    means = [mean(r) for r in (1, 2, 5, 40)]
    assert means == sorted(means) and means[0] < 0.51 and abs(means[-1] - RHO) < 0.04


# Inversion


@pytest.mark.parametrize('name', SCHEDULES)
def test_with_one_data_point_a_rise_stays_on_the_straight_path(name):
    schedule, x0, eps = SCHEDULES[name], torch.tensor([[0.4, -1.3]]).double(), draw(1, 2)
    times = inner_times(schedule, 6)
    for x, t in zip(invert(lambda x, t, c: x0, schedule, schedule.perturb(x0, eps, times[0]), times), times[1:]):
        assert_close(x, schedule.perturb(x0, eps, t), rtol=1e-9, atol=1e-9)


LAWS = {
    'gaussian': GaussianMixture([1.0], [[0.7, -0.3]], [[[0.36, 0.1], [0.1, 0.5]]]),
    'mixture': reference_mixture(),
}


@pytest.mark.parametrize('law', LAWS)
def test_inversion_is_of_order_one_and_ends_where_the_flow_ends(law):
    law = LAWS[law]
    x0, ends, trips = law.sample(60, generator(0, 'invert')), [], []
    for n in (64, 128, 256):
        times = uniform_times(COSINE, n)
        *_, x = invert(law.denoise(COSINE), COSINE, x0, times.flip(0))
        *_, back = sample(law.denoise(COSINE), COSINE, x, times)
        ends.append((x - law.flow(COSINE, x0, 0.0, 1.0)).square().mean().sqrt())
        trips.append((back - x0).square().mean().sqrt())
    for errors in (ends, trips):
        orders = torch.log2(torch.stack(errors[:-1]) / torch.stack(errors[1:]))
        assert ((orders - 1).abs() < 0.15).all(), orders


@pytest.mark.parametrize('solver', SOLVERS)
def test_rounds_of_correction_find_the_exact_inverse(solver):
    "Ten rounds a step make the round trip exact, for the solver whose steps are undone."
    law, times = LAWS['gaussian'], uniform_times(COSINE, 20)
    x0, errors = law.sample(30, generator(0, 'invert')), []
    for rounds in (0, 2, 5, 20):
        *_, x = invert(law.denoise(COSINE), COSINE, x0, times.flip(0), rounds=rounds, solver=SOLVERS[solver])
        *_, back = sample(law.denoise(COSINE), COSINE, x, times, SOLVERS[solver])
        errors.append((back - x0).abs().max().item())
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-9, errors


def test_the_denoiser_is_asked_about_the_state_at_its_own_time():
    "Museum: an index handed over for a time, or the time that comes next. At the start, without noise, nobody is asked."
    law, times, asked = LAWS['mixture'], uniform_times(COSINE, 5), []
    denoise = lambda x, t, c: asked.append(float(t)) or law.denoise(COSINE)(x, t)
    list(invert(denoise, COSINE, law.sample(2), times.flip(0)))
    assert asked == times.flip(0)[1:-1].tolist()


@pytest.mark.parametrize('name', SCHEDULES)
def test_inversion_runs_on_every_schedule(name):
    schedule, law = SCHEDULES[name], LAWS['gaussian']
    x0, times = law.at(schedule, schedule.t_min).sample(20, generator(0, 'invert')), karras_times(schedule, 60)
    *_, x = invert(law.denoise(schedule), schedule, x0, times.flip(0), rounds=3)
    *_, back = sample(law.denoise(schedule), schedule, x, times)
    assert (back - x0).abs().max() < 0.05


# Interpolation


def test_slerp_turns_without_changing_the_length():
    x, y = draw(3, 2, 4), draw(3, 2, 4, seed=1)
    assert_close(slerp(x, y, 0.0), x)
    assert_close(slerp(x, y, 1.0), y)
    a, b = (v / v.flatten(1).norm(dim=1)[:, None, None] for v in (x, y))
    middle = slerp(a, b, 0.5)
    assert_close(middle, (a + b) / (a + b).flatten(1).norm(dim=1)[:, None, None])  # the bisector
    assert_close(slerp(a, b, 0.3).flatten(1).norm(dim=1), torch.ones(3).double())
    assert_close(slerp(a, a, 0.3), a, rtol=1e-9, atol=1e-9)
    right = slerp(torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double(), 1 / 3)
    assert_close(right, torch.tensor([[0.75**0.5, 0.5]]).double())


def test_a_weight_for_each_example():
    x, y, w = draw(4, 4), draw(4, 4, seed=1), torch.tensor([0.0, 0.3, 0.7, 1.0])
    assert_close(slerp(x, y, w), torch.cat([slerp(x[i : i + 1], y[i : i + 1], float(w[i])) for i in range(4)]), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r't has shape \(3,\)'):
        slerp(x, y, w[:3])


# Options


def test_start_noise_and_conditions_reach_every_walk():
    "Seeds of the start differ; what cond says arrives at every call of the denoiser; rounds of gradients count."
    x0, times, heard, cond = draw(2, 2), uniform_times(COSINE, 4), [], Cond(vec=torch.ones(2, 1))
    a, b = (start_from(COSINE, x0, times, 0.5, noise=Noise(seed))[0] for seed in (0, 1))
    assert not torch.isclose(a, b).any() and torch.equal(
        start_from(COSINE, x0, times, 0.5)[0], start_from(COSINE, x0, times, 0.5, noise=seeded_noise(0, 'start'))[0]
    )
    spy = lambda x, t, c=None: heard.append(c) or PAIR.denoise(COSINE)(x, t)
    list(repaint(spy, COSINE, x0, times, KNOWN, FIRST, cond, rounds=2))
    list(invert(spy, COSINE, x0, times.flip(0), cond, rounds=1))
    assert len(heard) > 12 and all(c is cond for c in heard)
    a, b = (renoise(COSINE, x0, times[2], times[1], Noise(seed)) for seed in (0, 1))
    assert not torch.isclose(a, b).any() and not torch.isclose(a, renoise(COSINE, x0, times[2], times[1])).any()
    runs = [
        list(repaint(PAIR.denoise(COSINE), COSINE, x0, times, KNOWN, FIRST, **options))[-1]
        for options in ({}, {'rounds': 2}, {'rounds': 2, 'jump': 2}, {'solver': heun}, {'noise': seeded_noise(1)})
    ]
    assert all(not torch.allclose(p, q) for i, p in enumerate(runs) for q in runs[:i])
    assert torch.equal(runs[0], list(repaint(PAIR.denoise(COSINE), COSINE, x0, times, KNOWN, FIRST, rounds=10, jump=1))[-1])


# Networks


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return Denoiser(UNet(3, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 0), groups=4), COSINE, predict_v).eval()


@pytest.mark.parametrize('solver', (ddim, ancestral, heun))
def test_pictures_in_single_precision(model, solver):
    "Every way of editing runs on a network, keeps float32, and the known pixels come back as they were."
    photo, mask, x = draw(2, 3, 8, 8).float().clamp(-1, 1), torch.zeros(1, 8, 8).bool(), draw(2, 3, 8, 8, seed=1).float()
    mask[:, :4] = True
    times, kept = uniform_times(COSINE, 4), mask.expand(2, 3, 8, 8)
    *_, a = sample(model, COSINE, x, times, inpaint(solver, photo, mask))
    *_, b = repaint(model, COSINE, x, times, photo, mask, rounds=2, jump=2, solver=solver)
    for got in (a, b):
        assert got.dtype == torch.float32 and torch.equal(got[kept], photo[kept]) and not got.requires_grad
    *_, c = invert(model, COSINE, photo, times.flip(0), rounds=1)
    assert c.dtype == torch.float32 and torch.isfinite(c).all()


def test_a_sample_is_the_same_alone_and_in_a_batch(model):
    photo, mask, x = draw(1, 3, 8, 8).float(), torch.zeros(1, 8, 8).bool(), draw(3, 3, 8, 8, seed=1).float()
    mask[:, :, 4:] = True
    run = lambda x, start: list(repaint(model, COSINE, x, uniform_times(COSINE, 3), photo, mask, rounds=2, noise=seeded_noise(5, start=start)))[-1]
    assert_close(run(x, 0)[2:], run(x[2:], 2), rtol=1e-4, atol=1e-4)
