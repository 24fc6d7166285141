"""Masked diffusion against lists of all texts: conditionals, the bound, and the distribution of what decoders write."""

import math
from functools import partial
from itertools import permutations, product

import pytest
import torch

from diffbook.core import Cond, make_generator, seeded_noise, uniform
from diffbook.discrete import (
    LETTERS,
    Chains,
    TextDenoiser,
    any_places,
    captions,
    each_alone,
    exact_walk,
    gumbel,
    hide,
    masked_loss,
    read,
    spell,
    subset_bound,
    surest_place,
    surest_tokens,
    unmask,
)  # fmt: skip
from diffbook.guidance import guide, within
from diffbook.samplers import sample, uniform_times
from diffbook.schedules import CosineSchedule, RectifiedFlowSchedule
from diffbook.shapes import draw_shapes
from diffbook.training import load, save

V, L = 3, 4
TEXTS = torch.tensor([*product(range(V), repeat=L)])
STATES = torch.tensor([*product(range(V + 1), repeat=L)])
WHOLE = (STATES < V).all(1)
SCHEDULES = [RectifiedFlowSchedule(), CosineSchedule()]


def chains(seed, k=2, sharp=4.0):
    table = torch.softmax(sharp * uniform(seed, 'test chains', 0, range(k * (V + 1)), (V,)), -1).reshape(k, V + 1, V)
    weights = torch.softmax(uniform(seed, 'test weights', 0, range(k)), 0)
    return Chains(weights, table[:, 0], table[:, 1:], L)


def listed(law):
    "Probabilities of all texts, by multiplying along each chain: another route than the sweeps."
    p = torch.zeros(len(TEXTS)).double()
    for w, first, step in zip(law.weights, law.first, law.step):
        each = first[TEXTS[:, 0]]
        for i in range(1, L):
            each = each * step[TEXTS[:, i - 1], TEXTS[:, i]]
        p += w * each
    return p


@pytest.mark.parametrize('seed', range(3))
def test_chains_know_every_probability(seed):
    law = chains(seed)
    p = listed(law)
    assert abs(p.sum() - 1) < 1e-14
    torch.testing.assert_close(law.log_prob(TEXTS).exp(), p, rtol=1e-13, atol=0)
    agree = ((STATES[:, None] == TEXTS) | (STATES[:, None] == V)).all(2).double()  # (states, texts)
    torch.testing.assert_close(law.log_prob(STATES).exp(), agree @ p, rtol=1e-13, atol=0)


@pytest.mark.parametrize('seed', range(3))
def test_conditionals_are_those_of_the_list(seed):
    law = chains(seed)
    p, got = listed(law), law.predict(STATES).exp()
    for i in range(L):
        elsewhere = [j for j in range(L) if j != i]
        agree = ((STATES[:, None] == TEXTS) | (STATES[:, None] == V))[..., elsewhere].all(2).double()
        want = torch.stack([agree @ (p * (TEXTS[:, i] == v)) for v in range(V)], 1)
        torch.testing.assert_close(got[:, i], want / want.sum(1, keepdim=True), rtol=1e-12, atol=0)


def test_a_condition_is_the_share_of_each_chain():
    law = chains(0)
    one = Cond(vec=torch.tensor([[0.0, 1.0]]).expand(len(TEXTS), 2))
    alone = Chains([1.0], law.first[1:], law.step[1:], L)
    torch.testing.assert_close(law.log_prob(TEXTS, one), alone.log_prob(TEXTS), rtol=1e-13, atol=0)
    torch.testing.assert_close(law.predict(TEXTS, None, one), alone.predict(TEXTS), rtol=1e-12, atol=1e-13)


def test_samples_of_chains_have_their_frequencies():
    "81 texts, 20,000 draws: chi-square at 1e-6, so one false alarm in a million seeds."
    from scipy.stats import chi2

    law, n = chains(1), 20_000
    drawn = law.sample(n, make_generator(0, 'test'))
    got = torch.bincount((drawn * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81)
    want = n * listed(law)
    assert ((got - want).square() / want).sum() < chi2.isf(1e-6, 80)


def test_chains_refuse_what_is_no_distribution():
    with pytest.raises(ValueError, match='weights is .*expected positive numbers with sum 1'):
        Chains([0.5, 0.6], torch.full((2, 3), 1 / 3), torch.full((2, 3, 3), 1 / 3), 4)


@pytest.mark.parametrize('schedule', SCHEDULES, ids=lambda s: type(s).__name__)
def test_letters_are_hidden_once_and_for_all(schedule):
    "One uniform number a letter for all times: the share is alpha, and who is hidden stays so."
    u = ((torch.arange(1000) + 0.5) / 1000)[:, None].double()
    x0 = torch.zeros(1000, 1).long()
    before = None
    for t in torch.linspace(0, 1, 6).double():
        hidden = hide(schedule, x0, t, u, V) == V
        assert abs(hidden.double().mean() - (1 - schedule.alpha(t))) <= 1e-3
        assert before is None or (hidden | ~before).all()
        before = hidden
    assert hidden.all()
    each = hide(schedule, x0[:2], torch.tensor([0.0, 1.0]).double(), u[500:502], V)
    assert each.tolist() == [[0], [V]]


def test_gumbel_draws_from_what_is_asked():
    "Four tokens, 40,000 draws, five standard errors each: one false alarm in 400,000 seeds."
    p = torch.tensor([0.6, 0.3, 0.099, 0.001]).double()
    drawn = (p.log() + gumbel(seeded_noise(0), torch.zeros(40_000, 4), torch.tensor(0.5))).argmax(1)
    share = torch.bincount(drawn, minlength=4) / 40_000
    assert ((share - p).abs() < 5 * (p * (1 - p) / 40_000).sqrt()).all()


def test_gumbel_numbers_reach_as_far_as_single_precision_cannot():
    "In float32 none exceeds log(2**24) = 16.6; normal numbers of float64 go on: here what 8 deviations give."
    far = gumbel(lambda x, t: torch.full_like(x, 8.0), torch.zeros(1), torch.tensor(0.5))
    assert far.item() == pytest.approx(-math.log(0.5 * math.erfc(8 / 2**0.5)), rel=1e-6) and far.item() > 34


@pytest.mark.parametrize('schedule', SCHEDULES, ids=lambda s: type(s).__name__)
def test_a_step_back_is_bayes_rule(schedule):
    "One step of `unmask` from a state with three hidden against the product of its places: 64 cases, chi-square at 1e-6."
    from scipy.stats import chi2

    law, n, t, s = chains(2), 20_000, torch.tensor(0.8).double(), torch.tensor(0.45).double()
    x = torch.tensor([[V, 1, V, V]])
    moved = unmask(schedule, law.predict, x.expand(n, L), t, s, noise=seeded_noise(0))
    assert (moved[:, 1] == 1).all()
    stays = (1 - schedule.alpha(s)) / (1 - schedule.alpha(t))
    place = torch.cat([(1 - stays) * law.predict(x)[0, [0, 2, 3]].exp(), stays.expand(3, 1)], 1)
    want = n * torch.einsum('a,b,c->abc', *place).flatten()
    got = torch.bincount((moved[:, [0, 2, 3]] * torch.tensor([16, 4, 1])).sum(1), minlength=64)
    assert ((got - want).square() / want).sum() < chi2.isf(1e-6, 63)


def test_the_end_has_no_blanks_and_a_text_does_not_depend_on_its_batch():
    law, flat = chains(0), RectifiedFlowSchedule()
    walk = lambda n, first: [*sample(law.predict, flat, torch.full((n, L), V), uniform_times(flat, 3), partial(unmask, noise=seeded_noise(1, 'x', first)))][-1]
    together = walk(6, 0)
    assert (together < V).all()
    assert torch.equal(walk(2, 4), together[4:])


@pytest.mark.parametrize('k', [1, 2])
def test_the_bound_of_right_conditionals_is_the_likelihood(k):
    law = chains(3, k)
    torch.testing.assert_close(subset_bound(law.predict, TEXTS, V), -listed(law).log(), rtol=1e-12, atol=0)


def test_the_bound_of_wrong_conditionals_is_a_bound():
    "Averaged over texts it is above the entropy by a divergence, and the mean over all orders of writing."
    law, other = chains(3), chains(4)
    p = listed(law)
    bounds = subset_bound(lambda x, t, c: (0.5 * (law.predict(x) + other.predict(x))).log_softmax(-1), TEXTS, V)
    assert (p * (bounds + p.log())).sum() > 0.01
    wrong = lambda x: (2 * law.predict(x)).log_softmax(-1)  # conditionals of no distribution
    total = torch.zeros(len(TEXTS)).double()
    for order in permutations(range(L)):
        x = torch.full_like(TEXTS, V)
        for i in order:
            total -= wrong(x)[:, i].gather(1, TEXTS[:, i : i + 1])[:, 0]
            x[:, i] = TEXTS[:, i]
    torch.testing.assert_close(subset_bound(lambda x, t, c: wrong(x), TEXTS, V), total / math.factorial(L), rtol=1e-12, atol=0)


@pytest.mark.parametrize('schedule', SCHEDULES, ids=lambda s: type(s).__name__)
def test_the_loss_estimates_the_bound(schedule):
    "8,192 draws for each of three texts, five standard errors: one false alarm in 500,000 seeds; on every schedule."
    wrong = lambda x, t, c: (2 * chains(5).predict(x)).log_softmax(-1)
    for row, text in enumerate(TEXTS[[5, 40, 77]]):
        drawn = masked_loss(wrong, text.expand(8192, L), make_generator(row, 'test'), mask=V, schedule=schedule)
        want = subset_bound(wrong, text[None], V)
        assert abs(drawn.mean() - want) < 5 * drawn.std() / 8192**0.5


def test_the_loss_sees_hidden_letters_only():
    "A predictor that is wrong about what is seen loses nothing."
    law = chains(0)
    spoilt = lambda x, t, c: torch.where((x == V)[..., None], law.predict(x), -50.0)
    x0 = TEXTS[:32]
    a, b = (masked_loss(f, x0, make_generator(0, 'same'), mask=V) for f in (lambda x, t, c: law.predict(x), spoilt))
    assert torch.equal(a, b)


def outcome(rules, predict):
    p = exact_walk(predict, V, L, rules)
    assert abs(p.sum() - 1) < 1e-12
    return p


@pytest.mark.parametrize('seed', range(3))
def test_one_at_a_time_is_exact_in_every_order(seed):
    law = chains(seed)
    for rule in (any_places(1), surest_place):
        torch.testing.assert_close(outcome([rule] * L, law.predict)[WHOLE], listed(law), rtol=1e-11, atol=1e-15)


def test_all_at_once_is_the_product_of_places():
    law = chains(1)
    p = listed(law)
    alone = [torch.stack([p[TEXTS[:, i] == v].sum() for v in range(V)]) for i in range(L)]
    want = torch.einsum('a,b,c,d->abcd', *alone).flatten()
    for rule in (each_alone(1.0), any_places(L), surest_tokens(L)):
        torch.testing.assert_close(outcome([rule], law.predict)[WHOLE], want, rtol=1e-12, atol=1e-16)


def test_the_exact_walk_is_what_the_sampler_draws():
    "Three steps of `unmask`, 20,000 texts, against the distribution that was followed: chi-square at 1e-6 over 81 texts."
    from scipy.stats import chi2

    law, flat, n = chains(2), RectifiedFlowSchedule(), 20_000
    *_, x = sample(law.predict, flat, torch.full((n, L), V), uniform_times(flat, 3), partial(unmask, noise=seeded_noise(5)))
    want = n * outcome([each_alone(1 / (3 - j)) for j in range(3)], law.predict)[WHOLE]
    got = torch.bincount((x * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81)
    assert ((got - want).square() / want).sum() < chi2.isf(1e-6, 80)


@pytest.mark.parametrize('m', [1, 2])
def test_keeping_the_surest_tokens_by_drawing_them(m):
    "A plain program that draws, sorts and hides again; 20,000 texts, chi-square at 1e-6."
    from scipy.stats import chi2

    law, n, g = chains(2), 20_000, make_generator(0, 'plain')
    x = torch.full((n, L), V)
    for _ in range(L // m):
        p = law.predict(x).exp()
        drawn = torch.multinomial(p.flatten(0, 1), 1, generator=g).reshape(n, L)
        sure = p.gather(2, drawn[..., None])[..., 0].masked_fill(x != V, -1)
        keep = sure.argsort(1, descending=True)[:, :m]
        x = x.scatter(1, keep, drawn.gather(1, keep))
    want = n * outcome([surest_tokens(m)] * (L // m), law.predict)[WHOLE]
    got = torch.bincount((x * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81)
    big = want > 5
    assert ((got - want).square() / want)[big].sum() < chi2.isf(1e-6, int(big.sum()) - 1)


@pytest.mark.parametrize('scale', [0.0, 1.5, 3.0, torch.linspace(1, 2, 81).double()], ids=['none', 'some', 'more', 'each its own'])
def test_guidance_extrapolates_what_is_predicted_of_whole_numbers(scale):
    law = chains(0)
    cond, null = Cond(vec=torch.tensor([[1.0, 0.0]]).expand(81, 2)), Cond(vec=law.weights[None].float())
    got = guide(law.predict, null, scale)(TEXTS, torch.tensor(0.5), cond)
    with_class, without = law.predict(TEXTS, None, cond), law.predict(TEXTS, None, null.map(lambda v: v.expand(81, 2)))
    w = torch.as_tensor(scale).double().reshape(-1, 1, 1)
    torch.testing.assert_close(got, without + w * (with_class - without), rtol=1e-12, atol=1e-12)


def test_an_interval_of_times_for_each_text_of_whole_numbers():
    a, b = (lambda x, t, c, v=v: torch.full((len(x), L, V), v) for v in (1.0, 2.0))
    got = within(0.4, 0.6, a, b)(TEXTS[:2], torch.tensor([0.5, 0.9]).double(), None)
    assert got[0].eq(1).all() and got[1].eq(2).all()


def test_texts_are_spelled_and_read():
    assert read(spell(['a ring', 'on black'], 10)) == ['a ring', 'on black']
    assert read(torch.tensor([[1, len(LETTERS), 2, LETTERS.index('.')]])) == ['a_b']
    for bad in ('Ring', 'eleven long'):
        with pytest.raises(ValueError, match='expected at most 10 small letters'):
            spell([bad], 10)


def test_captions_are_those_of_the_world():
    known = captions()
    assert sum(known.values()) == pytest.approx(1)
    drawn = draw_shapes(4000, 8, seed=3, objects=(1,)).captions
    assert all(text in known for text in drawn)
    share = sum('on white' in text for text in drawn) / 4000  # 5 standard errors: one false alarm in two million seeds
    p = sum(v for k, v in known.items() if 'on white' in k)
    assert abs(share - p) < 5 * (p * (1 - p) / 4000) ** 0.5


def small():
    torch.manual_seed(0)
    return TextDenoiser(5, 7, 16, classes=3)


def test_the_network_looks_both_ways_and_at_no_clock():
    net, x = small(), torch.tensor([[0, 5, 2, 5, 4, 1, 3]])
    y = net(x)
    assert y.shape == (1, 7, 5)
    torch.testing.assert_close(y.exp().sum(-1), torch.ones(1, 7))
    assert torch.equal(net(x, torch.tensor(0.1)), net(x, torch.tensor(0.9)))
    for i in (0, 6):
        other = x.clone()
        other[0, i] = 5
        assert (net(other) - y)[0, 3].abs().max() > 1e-4
    assert (net(x, None, Cond(vec=torch.tensor([[0.0, 1.0, 0.0]]))) - y).abs().max() > 1e-4
    torch.testing.assert_close(net(x, None, Cond(vec=torch.zeros(1, 3))), y)


def test_a_network_of_texts_is_saved_and_loaded(tmp_path):
    net, x = small().eval(), torch.tensor([[0, 5, 2, 5, 4, 1, 3]])
    save(tmp_path, net)
    assert torch.equal(load(tmp_path)(x), net(x))


def test_the_model_of_the_zoo_knows_the_grammar():
    "At each place of a sentence with one letter hidden it finds the letter: those that the grammar leaves no choice."
    known, model = captions(), load('captions').float()
    text = 'a little purple ring at the bottom left on black'
    x0 = spell([text], 66)
    forced = [i for i in range(len(text)) if sum(text[:i] + c + text[i + 1 :] in known for c in LETTERS) == 1]
    x = x0.repeat(len(forced), 1)
    x[range(len(forced)), forced] = model.mask
    with torch.no_grad():
        found = model(x, None, Cond(vec=torch.zeros(1, 6)))[range(len(forced)), forced].argmax(1)
    assert len(forced) > 30 and (found == x0[0, forced]).double().mean() > 0.95
