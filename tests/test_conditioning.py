"""Conditioning: what comes in, what is forgotten, and that a model keeps its conditioner."""

import math

import helpers
import pytest
import torch
from torch import nn

from diffbook.conditioning import (
    ClassConditioner,
    Conditional,
    Conditioner,
    Conditioners,
    ImageConditioner,
    TextConditioner,
    VectorConditioner,
    conditional_loss,
    drop,
)
from diffbook.core import REGISTRY, Cond, Rows, build, describe, generator, merge
from diffbook.losses import Denoiser, clipped_snr, diffusion_loss, training_loss, uniform_draw
from diffbook.nets.clip import TextTower
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.schedules import CosineSchedule
from diffbook.text import Tokenizer, train_merges
from diffbook.training import Trainer, load, save

CAPTIONS = ['a red circle', 'a small blue square left of a red circle', '']
TINY = {'channels': (8, 8), 'blocks': (1, 1), 'heads': (0, 2, 2), 'groups': 4}


def text(**more):
    tokenizer = Tokenizer(train_merges(CAPTIONS, 20), context=16)
    return TextConditioner(tokenizer, TextTower(tokenizer.vocab_size, 16, width=8, layers=1, heads=2, end=tokenizer.end), **more)


MAKE = {
    'class': (lambda: ClassConditioner(5, 6), {'cond_dim': 6}, torch.tensor([0, 4, 2])),
    'text': (lambda: text(), {'seq_dim': 8}, CAPTIONS),
    'pooled text, trained': (lambda: text(pooled=True, frozen=False), {'seq_dim': 8, 'cond_dim': 8}, CAPTIONS),
    'image': (lambda: ImageConditioner(1, (8, 16)), {'img_channels': 2}, torch.linspace(-1, 1, 3 * 128).reshape(3, 1, 8, 16)),
    'vector': (lambda: VectorConditioner(6), {'cond_dim': 6}, torch.linspace(-1, 1, 18).reshape(3, 6)),
    'text and image': (
        lambda: Conditioners(caption=text(), low=ImageConditioner(1, (8, 16))),
        {'seq_dim': 8, 'img_channels': 2},
        {'caption': CAPTIONS, 'low': torch.linspace(-1, 1, 3 * 128).reshape(3, 1, 8, 16)},
    ),
}


def model(kind):
    torch.manual_seed(0)
    make, widths, _ = MAKE[kind]
    return Conditional(Denoiser(UNet(1, **TINY, **widths), CosineSchedule(), predict_v), make())


def randomise(module):
    for p in module.parameters():
        nn.init.normal_(p, std=0.2)
    return module.eval()


def given(cond):
    return {k: v for k, v in vars(cond).items() if v is not None}


@pytest.mark.parametrize('kind', MAKE)
def test_null_fits_beside_any_condition(kind):
    "Same fields, shapes and kinds: the two can be stacked into one batch."
    conditioner, raw = MAKE[kind][0](), MAKE[kind][2]
    cond, null = given(conditioner(raw)), given(conditioner.null(3))
    assert cond.keys() == null.keys()
    for name in cond:
        assert (cond[name].shape, cond[name].dtype, cond[name].device) == (null[name].shape, null[name].dtype, null[name].device)
        assert all(torch.equal(null[name][0], row) for row in null[name])


@pytest.mark.parametrize('kind', MAKE)
def test_conditions_differ_from_one_another_and_from_none(kind):
    conditioner, raw = randomise(MAKE[kind][0]()), MAKE[kind][2]
    cond, null = conditioner(raw), conditioner.null(3)
    name = next(k for k in ('vec', 'seq', 'img') if getattr(cond, k) is not None)
    a, b = getattr(cond, name), getattr(null, name)
    assert (a[0] - a[1]).abs().max() > 1e-3 and (a[:2] - b[:2]).abs().flatten(1).amax(1).min() > 1e-3


def test_class_is_a_row_of_the_table():
    conditioner = ClassConditioner(4, 3)
    torch.testing.assert_close(conditioner([2, 0]).vec, nn.functional.one_hot(torch.tensor([2, 0]), 5).float() @ conditioner.table.weight)
    assert torch.equal(conditioner.null(2).vec, conditioner.table.weight[[4, 4]])


def test_a_grey_image_is_not_no_image():
    conditioner = ImageConditioner(3, 4)
    grey = conditioner(torch.zeros(1, 3, 4, 4)).img
    assert torch.equal(grey[:, :3], conditioner.null(1).img[:, :3]) and not torch.equal(grey, conditioner.null(1).img)


def test_empty_caption_is_the_null_condition():
    conditioner = randomise(text(pooled=True))
    empty, null = given(conditioner([''])), given(conditioner.null(1))
    assert all(torch.equal(empty[k], null[k]) for k in empty) and empty['mask'].sum() == 2  # start and end


def test_tokens_made_before_give_the_same():
    conditioner = randomise(text(pooled=True))
    a, b = conditioner(CAPTIONS), conditioner(conditioner.tokenizer(CAPTIONS))
    assert all(torch.equal(a, b) for a, b in zip(given(a).values(), given(b).values(), strict=True))


def test_mask_shows_the_caption_with_its_ends():
    conditioner = text()
    lengths = conditioner(CAPTIONS).mask.sum(1)
    assert lengths.tolist() == [len(conditioner.tokenizer.encode(c)) + 2 for c in CAPTIONS]
    assert text(masked=False)(CAPTIONS).mask is None


@pytest.mark.parametrize('frozen', [True, False])
def test_a_frozen_tower_is_left_alone(frozen):
    "By the mode of the model, by gradients and by the trainer; a tower that is not frozen is not."
    conditioner = text(frozen=frozen)
    whole = Conditional(Denoiser(UNet(1, **TINY, seq_dim=8), CosineSchedule(), predict_v), conditioner)
    whole.train()
    assert conditioner.training and conditioner.tower.training is not frozen
    assert not whole.eval().conditioner.tower.training
    before = [p.clone() for p in conditioner.tower.parameters()]
    x0, eps = torch.randn(2, 3, 1, 8, 8)
    loss = lambda model, batch, source: diffusion_loss(model.denoiser, x0, torch.full((3,), 0.5), eps, model.condition(batch))  # noqa: E731
    for _ in Trainer(whole, loss, warmup=0, device='cpu').fit([CAPTIONS] * 3):
        pass
    moved = [not torch.equal(a, b) for a, b in zip(before, conditioner.tower.parameters())]
    assert not any(moved) if frozen else any(moved)


@pytest.mark.parametrize('kind', MAKE)
def test_saved_and_loaded_as_one_folder(kind, tmp_path):
    whole, raw = randomise(model(kind)), MAKE[kind][2]
    save(tmp_path, whole)
    twin = load(tmp_path)
    x, t = torch.randn(3, 1, 8, 16), torch.tensor([0.1, 0.5, 0.9])
    assert type(twin) is Conditional and describe(twin) == describe(whole)
    assert torch.equal(twin(x, t, twin.condition(raw)), whole(x, t, whole.condition(raw)))
    frozen = [n for n, p in whole.named_parameters() if not p.requires_grad]
    assert frozen == [n for n, p in twin.named_parameters() if not p.requires_grad]


@pytest.mark.parametrize('kind', MAKE)
def test_without_a_condition_it_answers_the_null_condition(kind):
    "And the condition does matter; `raw` and the schedule are those of the denoiser."
    whole, raw = randomise(model(kind)), MAKE[kind][2]
    x, t = torch.randn(3, 1, 8, 16), torch.tensor([0.1, 0.5, 0.9])
    assert torch.equal(whole(x, t), whole(x, t, whole.null(3))) and not torch.allclose(whole(x, t), whole(x, t, whole.condition(raw)))
    assert torch.equal(whole.raw(x, t), whole.denoiser.raw(x, t, whole.null(3)))
    assert whole.schedule is whole.denoiser.schedule and whole.prediction is predict_v


@pytest.mark.parametrize('kind', MAKE)
def test_device_follows_the_module(kind):
    "On the device without memory: raw data given on the CPU is brought over."
    conditioner = MAKE[kind][0]().to('meta')
    if kind == 'class' or kind == 'image':
        assert all(v.device.type == 'meta' for v in given(conditioner(MAKE[kind][2])).values())
    assert all(v.device.type == 'meta' for k, v in given(conditioner.null(2)).items()) if 'text' not in kind else True


def test_drop_takes_whole_examples():
    "Every field of an example goes or stays; by chance p, with a false alarm in less than one run in a million."
    n, p = 20_000, 0.3
    ones = Cond(vec=torch.ones(n, 2), seq=torch.ones(n, 3, 2), mask=torch.ones(n, 3, dtype=torch.bool), img=torch.ones(n, 1, 2, 2))
    zeros = ones.map(torch.zeros_like)
    out = drop(ones, zeros, p, generator(0, 'drop'))
    flat = torch.cat([v.flatten(1).double() for v in given(out).values()], 1)
    assert torch.equal(flat.amax(1), flat.amin(1)) and out.mask.dtype == torch.bool
    assert abs(1 - flat[:, 0].mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
    pairs = flat[:-1, 0] - (1 - p), flat[1:, 0] - (1 - p)  # neighbours are independent
    assert abs((pairs[0] * pairs[1]).mean()) < 5 * p * (1 - p) / math.sqrt(n)


def test_drop_never_at_zero_and_always_at_one():
    cond, null = Cond(vec=torch.randn(64, 3)), Cond(vec=torch.zeros(64, 3))
    assert torch.equal(drop(cond, null, 0.0).vec, cond.vec) and not drop(cond, null, 1.0).vec.any()
    assert drop(Cond(), Cond(), 0.5) == Cond()


def test_drop_is_a_function_of_its_generator_alone():
    cond, null = Cond(vec=torch.randn(64, 3)), Cond(vec=torch.zeros(64, 3))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a, b, c = (drop(cond, null, 0.5, generator(seed, 'drop')).vec for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('p', [None, 0.1, 0.5])
def test_as_many_examples_lose_their_condition_as_is_said_one_in_ten_by_default(p):
    "Counted by the network itself over four batches of 2,000, within four standard deviations; no two batches lose the same."
    lost = []

    class Net(nn.Module):
        def forward(self, x, noise_level, cond=None):
            lost.append(cond.vec[:, 0] == 0)
            return x

    classes = ClassConditioner(1, 4)
    with torch.no_grad():
        for parameter in classes.parameters():
            parameter.fill_(1.0)
    model = Conditional(Denoiser(Net(), CosineSchedule(), predict_v), classes)
    model.null = lambda n: Cond(vec=torch.zeros(n, 4))
    for k in range(4):
        conditional_loss(model, (torch.zeros(2000, 2), [0] * 2000), generator(0, 'train', k), **({} if p is None else {'p': p}))
    share, rate = torch.stack(lost).double().mean().item(), 0.1 if p is None else p
    assert abs(share - rate) < 4 * math.sqrt(rate * (1 - rate) / 8000)
    assert len({tuple(row.tolist()) for row in lost}) == 4


def parts(n):
    "A label, a vector and an image of each of n examples, of which none equals what stands for nothing."
    conditioner = Conditioners(vector=VectorConditioner(2), low=ImageConditioner(1, 2), caption=text())
    tokens = conditioner.parts['caption'].tokenizer([CAPTIONS[0]]).expand(n, -1)
    return conditioner, {'vector': torch.ones(n, 2), 'low': torch.ones(n, 1, 2, 2), 'caption': tokens}


def lost(conditioner, raw, n, p, source):
    "Which parts of which examples are gone: (n, 3) bool."
    with torch.no_grad():
        got, null = conditioner.forget(raw, n, p, source), conditioner.null(n)
    same = lambda field: (getattr(got, field) == getattr(null, field)).flatten(1).all(1)
    assert torch.equal(same('seq'), same('mask'))
    return torch.stack([same('vec'), same('img'), same('seq')], 1)


def test_parts_are_lost_each_by_its_own_chance_and_independently():
    "All eight combinations at the product of their rates: each within 5 standard deviations, a false alarm in less than 1 run in 100,000."
    n, rates = 20_000, torch.tensor([0.3, 0.5, 0.1]).double()
    conditioner, raw = parts(n)
    gone = lost(conditioner, raw, n, dict(zip(('vector', 'low', 'caption'), rates.tolist())), generator(0, 'parts'))
    for combination in torch.cartesian_prod(*3 * [torch.tensor([False, True])]):
        want = torch.where(combination, rates, 1 - rates).prod()
        assert abs((gone == combination).all(1).double().mean() - want) < 5 * math.sqrt(want * (1 - want) / n), combination
    neighbours = (gone[1:].double() - rates).mul(gone[:-1].double() - rates).mean(0)  # from one example to the next
    assert (neighbours.abs() < 5 * rates * (1 - rates) / math.sqrt(n)).all()


def test_a_part_is_never_lost_unless_it_is_said_and_no_chance_moves_another_parts_throws():
    conditioner, raw = parts(500)
    gone = lambda p, seed=0: lost(conditioner, raw, 500, p, generator(seed, 'parts'))
    assert not gone({}).any() and gone({'low': 1.0}).double().mean(0).tolist() == [0.0, 1.0, 0.0]
    assert torch.equal(gone({'low': 0.4})[:, 1], gone({'vector': 0.9, 'low': 0.4, 'caption': 0.2})[:, 1])
    assert torch.equal(gone({'low': 0.4}), gone({'low': 0.4})) and not torch.equal(gone({'low': 0.4}), gone({'low': 0.4}, 1))


def test_parts_of_a_batch_lose_what_the_whole_batch_loses():
    "No throw depends on how a batch is cut."
    conditioner, raw = parts(12)
    p = {'vector': 0.5, 'low': 0.3, 'caption': 0.4}
    whole = lost(conditioner, raw, 12, p, generator(3, 'parts'))
    cut = [lost(conditioner, {k: v[a:b] for k, v in raw.items()}, b - a, p, Rows(generator(3, 'parts'), a, 12)) for a, b in ((0, 5), (5, 12))]
    assert torch.equal(torch.cat(cut), whole) and whole.any()


def test_the_loss_loses_parts_too():
    "By a mapping as each part says, by a number all of an example at once; what a network is told is what it is trained under."
    told, n = [], 400

    class Net(nn.Module):
        def forward(self, x, noise_level, cond=None):
            told.append(cond)
            return x

    conditioner, raw = parts(n)
    whole = Conditional(Denoiser(Net(), CosineSchedule(), predict_v), conditioner)
    for p in ({'caption': 0.5}, 0.5):
        conditional_loss(whole, (torch.zeros(n, 1, 2, 2), raw), generator(0, 'loss'), p=p)
    null = conditioner.null(n)
    gone = [torch.stack([(getattr(cond, f) == getattr(null, f)).flatten(1).all(1) for f in ('vec', 'img', 'seq')], 1) for cond in told]
    assert not gone[0][:, :2].any() and 0.3 < gone[0][:, 2].double().mean() < 0.7
    assert torch.equal(gone[1].all(1), gone[1].any(1)) and 0.3 < gone[1][:, 0].double().mean() < 0.7


def test_the_null_of_several_knows_pictures_and_one_part_may_be_kept():
    conditioner, raw = parts(3)
    cond, null = conditioner(raw), conditioner.null(3)
    kept = merge(conditioner.parts['caption'].null(3), Cond(vec=cond.vec, img=cond.img))
    assert torch.equal(null.img, torch.zeros(3, 2, 2, 2)) and given(kept).keys() == given(cond).keys() == given(null).keys()
    assert torch.equal(kept.img, cond.img) and torch.equal(kept.seq, null.seq)


def test_gradients_reach_the_row_of_no_class_by_the_dropped_examples_only():
    conditioner = ClassConditioner(2, 3)
    cond = drop(conditioner([0, 1] * 32), conditioner.null(64), 0.5, generator(0, 'drop'))
    cond.vec.sum().backward()
    counts = conditioner.table.weight.grad[:, 0]
    kept = (cond.vec != conditioner.table.weight[2]).all(1)
    assert counts.sum() == 64 and counts[2] == (~kept).sum() and counts[0] == kept[::2].sum()


@pytest.mark.parametrize('p', [0.0, 1.0])
def test_loss_is_that_of_the_condition_or_of_none(p):
    "Of a model that hears, for no layer of it is zero; p decides which condition, and nothing else."
    own, source = model('class'), generator(0, 'weights')
    for weight in own.denoiser.parameters():
        nn.init.normal_(weight, std=0.2, generator=source)
    x0, labels = torch.randn(3, 1, 8, 16, generator=generator(0, 'x0')), MAKE['class'][2]
    got = conditional_loss(own, (x0, labels), generator(1, 'loss'), p=p, draw=uniform_draw, weight=clipped_snr)
    g = generator(1, 'loss')
    torch.rand(3, generator=g)  # the throws of drop
    conds = [own.condition(labels), own.null(3)]
    want = [training_loss(own.denoiser, x0, source, c, draw=uniform_draw, weight=clipped_snr) for source, c in zip((g.clone_state(), g), conds)]
    torch.testing.assert_close(got, want[int(p)])
    assert (want[0] - want[1]).abs().min() > 1e-4


def test_a_tenth_loses_its_condition_if_nobody_says_otherwise():
    "Counted by a denoiser that hears of labels only what is not there; six standard deviations, one false alarm in 5e8."

    class Deaf(nn.Module):
        def forward(self, x, level, cond):
            return cond.vec[:, :1, None, None] + 0 * x

    own, n = Conditional(Denoiser(Deaf(), CosineSchedule(), predict_v), ClassConditioner(3, 1)), 20_000
    with torch.no_grad():
        own.conditioner.table.weight.copy_(torch.tensor([[0.0], [0.0], [0.0], [1e3]]))
    lost = lambda seed, **options: conditional_loss(own, (torch.zeros(n, 1, 1, 1), torch.arange(n) % 3), generator(seed, 'p'), **options) > 1e4
    for options, p in (({}, 0.1), ({'p': 0.3}, 0.3), ({'p': 0.0}, 0.0)):
        got = lost(0, **options)
        assert abs(got.double().mean() - p) <= 6 * math.sqrt(p * (1 - p) / n), options
        assert p == 0 or not torch.equal(got, lost(1, **options))
        assert p == 0 or all(abs(got[i::3].double().mean() - p) < 6 * math.sqrt(3 * p * (1 - p) / n) for i in range(3)), 'whatever the label'


def test_every_conditioner_is_registered():
    found = {c.__name__ for c in Conditioner.__subclasses__() if c.__module__.startswith('diffbook.')}
    assert found and all(name in REGISTRY for name in found)
    rebuilt = build(describe(text(pooled=True)))
    assert rebuilt.pooled and rebuilt.tokenizer(CAPTIONS).equal(text().tokenizer(CAPTIONS))


REFUSED = {
    'no class': (lambda: ClassConditioner(0, 4), 'classes is 0, expected a positive whole number'),
    'a vector of another width': (lambda: VectorConditioner(3)(torch.zeros(2, 4)), r'vectors are torch.float32 of shape \(2, 4\), expected floating point of shape \(b, 3\)'),
    'a vector of whole numbers': (lambda: VectorConditioner(3)(torch.zeros(2, 3, dtype=torch.long)), 'vectors are torch.int64'),
    'no parts': (lambda: Conditioners(), 'the parts are named nothing'),
    'a part with a taken name': (lambda: Conditioners(keys=ClassConditioner(2, 3)), 'the parts are named keys'),
    'a part called type': (lambda: Conditioners(type=ClassConditioner(2, 3)), 'the parts are named type'),
    'two parts for one field': (lambda: Conditioners(a=ClassConditioner(2, 3), b=ClassConditioner(2, 3)).null(1), 'vec stands in both'),
    'a part that is not given': (lambda: Conditioners(a=ClassConditioner(2, 3))({}), 'conditions are empty, expected a mapping of a'),
    'no mapping': (lambda: Conditioners(a=ClassConditioner(2, 3))([0]), 'conditions are list, expected a mapping of a'),
    'a chance of no part': (lambda: Conditioners(a=ClassConditioner(2, 3)).forget({'a': [0]}, 1, {'b': 0.5}), 'chances are a, b, expected a mapping of a'),
    'chances without parts': (lambda: conditional_loss(model('class'), (torch.zeros(2, 1, 8, 8), torch.tensor([0, 1])), generator(0, 'x'), p={'a': 0.1}), 'a ClassConditioner has no parts'),
    'a label too large': (lambda: ClassConditioner(3, 4)([0, 3]), r'labels run from 0 to 3, expected 0..2'),
    'a negative label': (lambda: ClassConditioner(3, 4)([-1]), r'labels run from -1 to -1, expected 0..2'),
    'a label that is no whole number': (lambda: ClassConditioner(3, 4)(torch.tensor([0.5])), r'labels are torch.float32 of shape \(1,\), expected whole numbers'),
    'one label without a batch': (lambda: ClassConditioner(3, 4)(torch.tensor(1)), r'of shape \(\), expected whole numbers of shape \(b,\)'),
    'a tokenizer too long': (lambda: TextConditioner(Tokenizer([], context=20), TextTower(514, 16, 8, 1, 2)), 'gives 20 tokens below 514, the tower reads 16 below 514'),
    'a tokenizer with more words': (lambda: TextConditioner(Tokenizer(['a b'], context=16), TextTower(514, 16, 8, 1, 2)), 'tokens below 515, the tower reads 16 below 514'),
    'an image of another size': (lambda: ImageConditioner(3, 8)(torch.zeros(1, 3, 4, 8)), r'shape \(1, 3, 4, 8\), expected floating point of shape \(.b., 3, 8, 8\)'),
    'an image of whole numbers': (lambda: ImageConditioner(3, 8)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)), 'images are torch.uint8'),
    'no channels': (lambda: ImageConditioner(0, 8), 'channels is 0'),
    'p above one': (lambda: drop(Cond(), Cond(), 1.5), 'p is 1.5, expected a number from 0 to 1'),
    'p that is no number': (lambda: drop(Cond(), Cond(), math.nan), 'p is nan'),
    'images in bytes': (lambda: conditional_loss(model('class'), (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1])), generator(0, 'x')), r'x0 is torch.uint8, expected floating point: scale images to \[-1, 1\]'),
    'a seed for a generator': (lambda: conditional_loss(model('class'), (torch.zeros(2, 1, 8, 8), torch.tensor([0, 1])), 0), 'generator is 0, expected a torch.Generator'),
    'null of another batch': (lambda: drop(Cond(vec=torch.zeros(3, 2)), Cond(vec=torch.zeros(1, 2)), 0.1), r'vec has shape \(3, 2\) in cond and \(1, 2\) in null'),
    'null of another kind': (lambda: drop(Cond(vec=torch.zeros(3, 2)), Cond(seq=torch.zeros(3, 4, 2)), 0.1), r'vec has shape \(3, 2\) in cond and None in null'),
}  # fmt: skip


test_bad_input_is_refused = helpers.refuses(REFUSED)
