"""unCLIP: what the prior may read, units, arcs, what two stages draw, and what a walk needs at its ends."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffbook.conditioning import Conditional
from diffbook.core import Cond, make_generator
from diffbook.exact import GaussianMixture
from diffbook.losses import Denoiser
from diffbook.nets.clip import CLIP, ImageTower, TextTower
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_x0
from diffbook.samplers import ddim, sample, uniform_times
from diffbook.schedules import CosineSchedule
from diffbook.stages import Stage, cascade
from diffbook.text import Tokenizer
from diffbook.training import load, save
from diffbook.unclip import (
    AutoregressivePrior,
    DecoderConditions,
    EmbeddingConditioner,
    PriorTransformer,
    may_read,
    read_texts,
    slerp,
    text_diff,
    unit_variance,
)

CLOSE = {'rtol': 0, 'atol': 1e-10}


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=make_generator(seed, 'test'))


@pytest.fixture
def prior():
    "Tiny, in float64, with weights of which none is special."
    torch.manual_seed(0)
    net = PriorTransformer(6, 8, 2, 2, context=5, seq_dim=7)
    for p in net.parameters():
        nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5)
    return net.double().eval().requires_grad_(False)


def text(b=3, n=5, seed=1):
    return Cond(vec=randn(b, 6, seed=seed), seq=randn(b, n, 7, seed=seed + 1), mask=torch.arange(n) < torch.tensor([[n], [2], [1]])[:b])


LEVEL = torch.tensor([3.0, 400.0, 990.0])

# What it reads


def test_what_may_be_read_is_the_list_of_loops():
    g = make_generator(0, 'masks')
    for n, more in ((1, 0), (4, 0), (6, 4)):
        mask = torch.rand(5, n, generator=g) < 0.5
        for row, got in zip(F.pad(mask, (0, more), value=True), may_read(mask, more)):
            assert got.tolist() == [[j <= i and (bool(row[j]) or j == i) for j in range(n + more)] for i in range(n + more)]


def test_padding_changes_nothing_whatever_it_holds(prior):
    cond, x = text(), randn(3, 6)
    want = prior(x, LEVEL, cond)
    other = Cond(vec=cond.vec, seq=torch.where(cond.mask[..., None], cond.seq, 100.0), mask=cond.mask)
    torch.testing.assert_close(prior(x, LEVEL, other), want, **CLOSE)
    short = Cond(vec=cond.vec[1:], seq=cond.seq[1:, :2], mask=cond.mask[1:, :2])
    torch.testing.assert_close(prior(x[1:], LEVEL[1:], short), want[1:], **CLOSE)


def test_the_text_does_not_see_what_stands_behind_it(prior):
    cond, seen = text(), []
    hook = prior.blocks[-1].register_forward_hook(lambda block, given, out: seen.append(out[:, :6]))  # five tokens and the vector
    prior(randn(3, 6), LEVEL, cond)
    prior(randn(3, 6, seed=5), LEVEL.flip(0), cond)
    hook.remove()
    assert torch.equal(seen[0], seen[1])


def test_the_answer_reads_all_that_it_is_given(prior):
    "Each of five things, and the order of the words."
    cond, x = text(), randn(3, 6)
    want = prior(x, LEVEL, cond)
    shuffled = torch.cat([cond.seq[:1, [1, 0, 2, 3, 4]], cond.seq[1:]])
    for other in (
        prior(x + 0.1, LEVEL, cond),
        prior(x, LEVEL - 1, cond),
        prior(x, LEVEL, Cond(vec=cond.vec + 0.1, seq=cond.seq, mask=cond.mask)),
        prior(x, LEVEL, Cond(vec=cond.vec, seq=shuffled, mask=cond.mask)),
        prior(x, LEVEL, Cond(vec=cond.vec, seq=cond.seq, mask=~cond.mask)),
    ):
        assert (other - want)[0].abs().max() > 1e-6
    assert torch.isfinite(prior(x, LEVEL, Cond(vec=cond.vec, seq=cond.seq, mask=torch.zeros_like(cond.mask)))).all()


def test_what_does_not_fit_is_refused(prior):
    with pytest.raises(ValueError, match='at most 5'):
        prior(randn(3, 6), LEVEL, Cond(vec=randn(3, 6), seq=randn(3, 6, 7)))
    with pytest.raises(ValueError, match='cond.vec has shape'):
        prior(randn(3, 6), LEVEL, Cond(vec=randn(3, 5), seq=randn(3, 5, 7)))
    with pytest.raises(ValueError, match='share equally'):
        PriorTransformer(6, 10, 1, 4)


def test_captions_are_cut_behind_the_longest_and_read_as_clip_reads_them():
    torch.manual_seed(0)
    tokenizer = Tokenizer([], 12)
    clip = CLIP(TextTower(tokenizer.vocab_size, 12, 8, 2, 2, end=tokenizer.end), ImageTower(6, 3, 8, 1, 2), 5).eval()
    captions = ['ab', 'a', 'a b c']
    got, tokens = read_texts(clip, tokenizer, captions), tokenizer(captions)
    assert got.seq.shape == (3, 5, 8) and got.mask.sum(1).tolist() == [4, 3, 5]
    torch.testing.assert_close(got.vec, clip.encode_text(tokens) * 5**0.5)
    torch.testing.assert_close(got.seq, clip.text_model(tokens)[0][:, :5], rtol=1e-5, atol=1e-5)


# Units


def test_units_go_there_and_back_and_an_untrained_prior_changes_none():
    net, z = PriorTransformer(6, 8, 1, 2, context=5), 5 * randn(4, 6).float()
    assert torch.equal(net.decode(z), z)
    net.mean.fill_(2.0)
    net.std.fill_(3.0)
    torch.testing.assert_close(net.encode(z), (z - 2) / 3)
    torch.testing.assert_close(net.decode(net.encode(z)), z)


def test_a_vector_of_length_one_becomes_one_of_unit_variance():
    z = unit_variance(F.normalize(randn(50, 96), dim=1))
    torch.testing.assert_close(z.square().mean(1), torch.ones(50).double(), **CLOSE)


def test_a_prior_draws_numbers_far_beyond_one():
    "An exact prior of wide data, through Stage: nothing on the way holds its estimates within plus and minus one. Six sds of 4,000 draws."
    bell = GaussianMixture([1.0], [[1.5]], [[[4.0]]])
    drawn = Stage(bell.denoise(CosineSchedule()), CosineSchedule(), (1,)).draw(4000, steps=50, batch=4000)
    assert abs(drawn.mean() - 1.5) < 6 * 2 / 4000**0.5 and abs(drawn.std() / 2 - 1) < 0.1


# Arcs


def test_the_arc_has_even_speed_its_ends_and_lengths_between():
    a, b = 2 * F.normalize(randn(3, 8), dim=1), 5 * F.normalize(randn(3, 8, seed=1), dim=1)
    omega = torch.acos(F.cosine_similarity(a, b))
    for s in (0.0, 0.2, 0.5, 0.9, 1.0):
        got = slerp(a, b, s)
        torch.testing.assert_close(got.norm(dim=1), torch.full((3,), 2 + 3 * s, dtype=torch.float64), **CLOSE)
        torch.testing.assert_close(F.cosine_similarity(got, a), torch.cos(s * omega), **CLOSE)
        torch.testing.assert_close(F.cosine_similarity(got, b), torch.cos((1 - s) * omega), **CLOSE)
    one_each = slerp(a, b, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(one_each, torch.stack([a[0], slerp(a, b, 0.5)[1], b[2]]), **CLOSE)


def test_an_arc_of_no_angle_stays_where_it_is():
    a = randn(2, 8)
    torch.testing.assert_close(slerp(a, 3 * a, 0.5), 2 * a, **CLOSE)
    near = slerp(a, a + 1e-9 * randn(2, 8, seed=1), 0.5)
    torch.testing.assert_close(near, a, rtol=0, atol=1e-8)


def test_a_change_of_text_forgets_what_both_texts_say():
    z, before, after = (F.normalize(randn(3, 8, seed=k), dim=1) for k in range(3))
    got = text_diff(z, before, after, 0.3)
    torch.testing.assert_close(text_diff(z, before + 7, after + 7, 0.3), got, **CLOSE)
    torch.testing.assert_close(got, slerp(z, F.normalize(after - before, dim=1), 0.3), **CLOSE)
    torch.testing.assert_close(text_diff(z, before, after, 0.0), z, **CLOSE)
    assert (F.cosine_similarity(got, after - before) > F.cosine_similarity(z, after - before)).all()


# What a decoder is told


def test_the_four_tokens_lie_interleaved():
    conditions = DecoderConditions(6, 10, 5).double()
    z = randn(2, 6)
    numbers, told = conditions.seq_image(z), conditions(z, z, randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool))
    for n in range(4):
        torch.testing.assert_close(told.seq[:, n], numbers[:, n::4], **CLOSE)
    assert told.mask.shape == (2, 7) and told.mask.all() and told.vec.shape == (2, 10)


def test_no_picture_is_a_learned_vector():
    conditions = DecoderConditions(6, 10, 5).double()
    nn.init.normal_(conditions.none, generator=make_generator(0, 'none'))
    z, states = randn(2, 6), randn(2, 3, 6)
    torch.testing.assert_close(conditions(None, z, states).seq, conditions(conditions.none.expand(2, -1), z, states).seq, **CLOSE)


def test_an_embedding_is_told_as_vector_and_as_picture(tmp_path):
    torch.manual_seed(0)
    told = EmbeddingConditioner(6, 16, channels=3, side=4)
    nn.init.normal_(told.none)
    z = randn(2, 6).float()
    got = told(z)
    assert torch.equal(got.vec, z) and got.img.shape == (2, 3, 16, 16)
    torch.testing.assert_close(F.avg_pool2d(got.img, 4), told.lay(z))
    assert torch.equal(told.null(2).img, told(told.none.expand(2, -1)).img)
    with pytest.raises(ValueError, match='expected floating point of shape'):
        told(torch.randn(2, 5))
    net = UNet(3, channels=(8, 8), blocks=(1, 1), heads=(0, 0, 1), groups=4, cond_dim=6, img_channels=3)
    model = Conditional(Denoiser(net, CosineSchedule(), predict_x0), told)
    save(tmp_path, model, {})
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(load(tmp_path)(x, torch.tensor(0.5), got), model(x, torch.tensor(0.5), got))


# Two stages


def test_two_stages_draw_what_one_draws():
    """Prior and decoder, both exact, joined by `cascade`: mean and covariance of x given y. Each of five numbers is within five
    standard errors of 20,000 draws: a false alarm in one of 300,000 runs."""
    world = GaussianMixture([1.0], torch.zeros(1, 4), [[[1.0, 0.2, 0.9, 0.5], [0.2, 1.0, 0.3, 0.6], [0.9, 0.3, 1.3, 0.4], [0.5, 0.6, 0.4, 1.2]]])
    eye, y, n = torch.eye(4).double(), 0.8, 20_000

    def given(places, values, of):
        law = world.condition(eye[places], values, 0.0)
        return GaussianMixture(law.weights, law.means[:, of], law.covs[:, of][:, :, of])

    schedule, z_law, x_law = CosineSchedule(), given([3], [y], [2]), given([3], [y], [0, 1])
    base, slope = given([2, 3], [0.0, y], [0, 1]), given([2, 3], [1.0, y], [0, 1]).means - given([2, 3], [0.0, y], [0, 1]).means
    still = GaussianMixture([1.0], [[0.0, 0.0]], base.covs).denoise(schedule)

    def decode(x, t, cond):
        mean = (base.means + cond.vec.double() * slope).to(x)
        return mean + still(x - schedule.alpha(t).to(x) * mean, t)

    links = [(Stage(z_law.denoise(schedule), schedule, (1,)), lambda _: None), (Stage(decode, schedule, (2,)), lambda z: Cond(vec=z))]
    z, x = cascade(n, links, steps=100, batch=n)
    z, x = z.double(), x.double()
    off = (x.mean(0) - x_law.means[0]) / (x_law.covs[0].diagonal() / n).sqrt()
    cov = torch.cov(x.T) - x_law.covs[0]
    scale = ((x_law.covs[0].diagonal()[:, None] * x_law.covs[0].diagonal() + x_law.covs[0] ** 2) / n).sqrt()
    assert off.abs().max() < 5 and (cov / scale).abs().max() < 5 + 0.01 / scale.min()  # a hundred steps lose up to a hundredth of the variance
    assert z.std() > 0.5


def test_a_walk_ends_on_the_point_if_all_data_is_one():
    "The Dirac test: DDIM on the grids of the library, from any noise, in any number of steps."
    schedule, x = CosineSchedule(), randn(5, 3)
    for n in (1, 2, 10):
        *_, got = sample(lambda x, t, cond=None: torch.full_like(x, 2.0), schedule, x, uniform_times(schedule, n), ddim)
        torch.testing.assert_close(got, torch.full_like(x, 2.0), **CLOSE)
        assert math.isclose(uniform_times(schedule, n)[0].item(), schedule.t_max)


# A prior that spells


@pytest.fixture
def speller():
    "Three letters of an alphabet of four, in float64, fitted to embeddings with strong and weak axes, with weights of which none is special."
    torch.manual_seed(0)
    net = AutoregressivePrior(6, 3, 4, 8, 2, 2, context=5, seq_dim=7).double()
    for p in net.parameters():
        nn.init.normal_(p, std=0.5 if p.ndim < 2 else p[0].numel() ** -0.5)
    return net.fit(embeddings()).eval().requires_grad_(False)


def embeddings(n=400):
    turn = torch.linalg.qr(randn(6, 6, seed=3))[0]
    return 2 + randn(n, 6) * torch.tensor([0.3, 3.0, 0.1, 1.0, 2.0, 0.5]).double() @ turn


def test_a_word_keeps_the_largest_axes_and_loses_what_the_law_of_total_variance_says(speller):
    z = embeddings()
    word, off = speller.encode(z), z - z.mean(0)
    spread, axes = torch.linalg.eigh(off.T @ off / len(z))
    parts = off @ axes.flip(1)[:, :3]
    within = 0.0
    for i in range(3):
        order = parts[:, i].sort().values.reshape(4, 100)  # equal buckets are quarters of what is sorted
        within += order.var(1, correction=0).mean()
    torch.testing.assert_close((z - speller.decode(word)).square().sum(1).mean(), spread[:3].sum() + within, rtol=1e-9, atol=0)
    assert (word.T.reshape(3, -1).sort(1).values == torch.arange(4).repeat_interleave(100)).all()
    assert torch.equal(speller.encode(speller.decode(word)), word)


def test_the_probabilities_of_all_words_sum_to_one(speller):
    every, cond = torch.cartesian_prod(*[torch.arange(4)] * 3), text(1, 4)
    odds = speller(every, cond.map(lambda v: v.expand(64, *v.shape[1:]))).log_softmax(-1)
    assert odds.gather(2, every[:, :, None]).sum((1, 2)).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_letters_drawn_one_by_one_have_the_probabilities_of_their_words(speller):
    "Sixty-four words, 6,000 draws: a chi-square that is exceeded once in ten million."
    every, cond = torch.cartesian_prod(*[torch.arange(4)] * 3), text(1, 4)
    same = lambda n: cond.map(lambda v: v.expand(n, *v.shape[1:]))
    odds = speller(every, same(64)).log_softmax(-1).gather(2, every[:, :, None]).sum((1, 2)).exp()
    word = speller.encode(speller.draw(same(6000), make_generator(0, 'words')))
    seen = (word @ torch.tensor([16, 4, 1])).bincount(minlength=64)
    assert ((seen - 6000 * odds) ** 2 / (6000 * odds)).sum() < 139.6  # 63 degrees of freedom


def test_padding_behind_a_text_changes_no_letter(speller):
    cond, word = text(), torch.tensor([[0, 3], [2, 1], [1, 1]])
    other = Cond(vec=cond.vec, seq=cond.seq.masked_fill(~cond.mask[..., None], 7.0), mask=cond.mask)
    torch.testing.assert_close(speller(word, cond), speller(word, other), **CLOSE)


def test_a_speller_says_what_it_cannot():
    with pytest.raises(ValueError, match='at most dim=4 letters'):
        AutoregressivePrior(4, 5)
    net = AutoregressivePrior(6, 3, 4, 8, 1, 2, context=2, seq_dim=7).double()
    with pytest.raises(ValueError, match='cond.seq has 5 tokens, expected at most 2'):
        net(torch.zeros(3, 0, dtype=torch.long), text())
