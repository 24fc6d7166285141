"""The class against closed forms: a network that knows its one point of data, a codec that is exactly invertible."""

from dataclasses import replace
from functools import partial

import numpy
import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

from diffbook.conditioning import ClassConditioner, Conditioner, TextConditioner
from diffbook.conform import check_manners, check_straight
from diffbook.core import Cond, generator, match_dims, noise, seeded_noise
from diffbook.exact import reference_mixture
from diffbook.guidance import langevin
from diffbook.losses import Denoiser, table_index
from diffbook.nets.clip import TextTower
from diffbook.nets.unet import UNet
from diffbook.nets.vae import Codec
from diffbook.predictions import predict_eps, predict_v, target
from diffbook.pretrained import NoisePlan
from diffbook.published.steps import ancestral_large, ancestral_learned
from diffbook.samplers import ancestral, clip_x0, ddim, equip, euler, heun, sample
from diffbook.schedules import (
    DiscreteSchedule,
    KarrasSchedule,
    LinearBetaSchedule,
    scaled_linear_betas,
    zero_terminal_betas,
)
from diffbook.stable_diffusion import (
    Pixels,
    Plan,
    StableDiffusion,
    in_ratio,
    published_plan,
)
from diffbook.text import Tokenizer

# few steps are taken here, from pure noise at times that are not quite noise: that is what the warning says
pytestmark = pytest.mark.filterwarnings('ignore:n is .* sampling begins with pure noise')
F64 = torch.float64
TABLE = DiscreteSchedule(scaled_linear_betas())
ZERO = DiscreteSchedule(zero_terminal_betas(scaled_linear_betas()))


class Letters(Conditioner):
    "A text is its length, so that prompts differ."

    def forward(self, raw):
        return Cond(seq=torch.tensor([[[len(text) / 10]] for text in raw], dtype=F64))

    def null(self, n):
        return self([''] * n)


class Fold(Codec):
    "Pixels two by two as channels: no information is lost."

    factor, latent_channels = 2, 12

    def encode(self, x, generator=None):
        return nn.functional.pixel_unshuffle(x, 2) / 3

    def decode(self, z):
        return nn.functional.pixel_shuffle(3 * z, 2)


class Point(nn.Module):
    "Knows that the data of a text is one point, and answers with what that predicts. Keeps what it was asked."

    def __init__(self, schedule, prediction, img_channels=0):
        super().__init__()
        self.schedule, self.prediction, self.img_channels = schedule, prediction, img_channels
        self.one, self.asked = nn.Parameter(torch.ones(1, dtype=F64)), []

    def forward(self, x, row, cond):
        self.asked.append((x, row, cond))
        t = row.double() + 1
        x0 = (cond.seq[:, :, :, None] - 0.5).expand_as(x)
        alpha, sigma = (match_dims(f(t), x) for f in (self.schedule.alpha, self.schedule.sigma))
        return target(self.prediction, self.schedule, x0, (x - alpha * x0) / sigma, t)


def make(schedule=TABLE, prediction=predict_eps, plan=None, size=16, name=None, **options):
    net = Point(schedule, prediction)
    plan = plan or NoisePlan(schedule, prediction, offset=1, last=0.0)
    drawer = StableDiffusion(
        plan.denoiser(net), Letters(), Fold(), plan=published_plan(replace(plan, scheduler=name)) if not options else Plan(**options), size=size
    )
    return drawer, net


def point(text):
    return len(text) / 10 - 0.5


def quiet(drawer, *args, **kwargs):
    return drawer(*args, **{'progress': False, 'output': 'latents'} | kwargs)


# What is drawn


@pytest.mark.parametrize('solver', (ddim, in_ratio(heun), in_ratio(euler), ancestral), ids=('ddim', 'heun', 'euler', 'ancestral'))
@pytest.mark.parametrize('scale', (0.0, 1.0, 7.5))
def test_a_point_is_drawn_where_guidance_puts_it(solver, scale):
    "null + scale (cond - null), exactly, for texts and negative texts of one's own."
    drawer, _ = make()
    z = quiet(drawer, ['a', 'abcd'], ['abc', 'xy'], steps=7, scale=scale, solver=solver)
    for one, text, other in zip(z, ('a', 'abcd'), ('abc', 'xy')):
        want = point(other) + scale * (point(text) - point(other))
        assert_close(one, torch.full_like(one, want), rtol=0, atol=1e-10)


@pytest.mark.parametrize('schedule, prediction', ((TABLE, predict_eps), (TABLE, predict_v), (ZERO, predict_v)))
@pytest.mark.parametrize('spacing, n', (('leading', 7), ('trailing', 7), ('linspace', 4)))
def test_rows_and_points_for_every_spacing(schedule, prediction, spacing, n):
    "The network is told rows from 0; pure noise is where the walk begins; the walk ends at the point."
    plan = NoisePlan(schedule, prediction, spacing=spacing, offset=1 if spacing == 'leading' else 0)
    drawer, net = make(schedule, prediction, plan)
    z = quiet(drawer, 'abc', steps=n, scale=1.0)
    assert [int(row[0]) for _, row, _ in net.asked] == (plan.times(n)[:-1] - 1).tolist()
    assert_close(z, torch.full_like(z, point('abc')), rtol=0, atol=1e-10)


def test_a_walk_that_ends_early_keeps_that_noise():
    "alpha_1 x0 + sigma_1 eps, with the starting noise as eps up to the signal that the start pretends not to have."
    drawer, net = make(plan=NoisePlan(TABLE, offset=1, last=1.0))
    z = quiet(drawer, 'abc', steps=5, scale=1.0)
    x, t = net.asked[0][0], net.asked[0][1][0].double() + 1
    eps = TABLE.eps(x, torch.full_like(x, point('abc')), t)
    assert_close(z, TABLE.alpha(1.0) * point('abc') + TABLE.sigma(1.0) * eps, rtol=0, atol=1e-10)


@pytest.mark.parametrize('name, spacing, unit', (
    ('DDIMScheduler', 'trailing', True), ('EulerDiscreteScheduler', 'trailing', False), ('EulerDiscreteScheduler', 'leading', True),
    ('HeunDiscreteScheduler', 'linspace', False), ('PNDMScheduler', 'leading', True), (None, 'linspace', True),
))  # fmt: skip
@pytest.mark.filterwarnings('ignore:the step rule of PNDMScheduler is not in this book')
def test_where_the_walk_begins(name, spacing, unit):
    drawer, net = make(plan=NoisePlan(TABLE, spacing=spacing, offset=1 if spacing == 'leading' else 0), name=name)
    eps = noise(3, 'given', 0, range(1), (12, 8, 8))
    quiet(drawer, 'a', steps=4, scale=1.0, latents=eps)
    first = NoisePlan(TABLE, spacing=spacing, offset=1 if spacing == 'leading' else 0).times(4)[0]
    assert_close(net.asked[0][0], eps * (1 if unit else TABLE.sigma(first)), rtol=0, atol=1e-15)


def test_plans_name_the_rules():
    plan = NoisePlan(TABLE)
    rules = {name: published_plan(replace(plan, scheduler=name)).solver for name in ('DDIMScheduler', 'DDPMScheduler', 'EulerDiscreteScheduler')}
    assert rules == {'DDIMScheduler': ddim, 'DDPMScheduler': ancestral, 'EulerDiscreteScheduler': ddim}
    variances = {
        v: published_plan(replace(plan, variance=v, scheduler='DDPMScheduler')).solver for v in ('fixed_small_log', 'fixed_large', 'learned', 'learned_range')
    }
    assert list(variances.values()) == [ancestral, ancestral_large, ancestral_learned, ancestral_learned]
    assert published_plan(replace(plan, clip=2.0)).clip == 2.0
    with pytest.warns(UserWarning, match='the step rule of PNDMScheduler is not in this book; DDIM on its times'):
        assert published_plan(replace(plan, scheduler='PNDMScheduler')).solver is ddim


@pytest.mark.parametrize('name, again', (({}, False), ({'last': 1.0, 'offset': 1}, False), ({'last': 1.0}, True)))
def test_clipped_ddim_keeps_the_noise_of_the_estimate_before(name, again):
    "By hand; a walk whose published one stays on its first row clips there once more. A solver of one's own has its noise worked out anew."
    plan = NoisePlan(TABLE, clip=0.3, **name)
    own_plan = published_plan(replace(plan, scheduler='DDIMScheduler'))
    denoise = lambda x, t, cond=None: 2 * x  # noqa: E731
    x, s = torch.tensor([[0.1, -0.4, 2.0]]).double(), plan.times(5)
    t, s = (s[-2], s[-1]) if name else (s[1], s[2])
    at, st, as_, ss = (float(f(u)) for u in (t, s) for f in (TABLE.alpha, TABLE.sigma))
    want = as_ * (2 * x).clamp(-0.3, 0.3) + ss * (x - at * 2 * x) / st
    if again:
        want = want + as_ * ((2 * want).clamp(-0.3, 0.3) - 2 * want)
    assert_close(own_plan.solver(TABLE, denoise, x, t, s), want, rtol=1e-12, atol=0)
    drawer, net = make(plan=plan, name='DDIMScheduler')
    theirs, own = (quiet(drawer, 'a' * 20, steps=5, scale=1.0, solver=solver) for solver in (None, ddim))
    start = drawer._noise((1, 12, 8, 8), None, 0, 0)
    for got, solver, f in ((theirs, own_plan.solver, drawer.denoiser), (own, ddim, clip_x0(drawer.denoiser, -0.3, 0.3))):
        *_, want = sample(f, TABLE, start, plan.times(5), solver, net.asked[0][2])
        assert_close(got, want, rtol=0, atol=1e-12)
    assert (theirs - own).abs().max() > 1e-3 or plan.last == 0


@pytest.mark.parametrize('t, s, adds', ((800.0, 600.0, True), (600.0, 0.0, True), (1.0, 0.0, False)))
def test_the_large_variance_is_that_of_the_way_forward(t, s, adds):
    "x_t = (alpha_t / alpha_s) x_s + noise of this variance; the step from t = 1 adds none."
    t, s = torch.tensor([t, s]).double()
    x, zero = torch.zeros(1, 1).double(), lambda *_: torch.zeros(1, 1).double()
    got = ancestral_large(TABLE, zero, x, t, s, noise=lambda x, s: torch.ones_like(x))
    table = torch.cat([torch.ones(1).double(), torch.cumprod(1 - TABLE.betas, 0)])
    assert_close(got[0, 0] ** 2, adds * (1 - table[int(t)] / table[int(s)]), rtol=1e-12, atol=0)


def test_a_learned_variance_is_read_where_it_is_said():
    "From the denoiser itself, or handed where it is wrapped; without it the step refuses. A pipeline hands it on."
    asked = []

    class Two(nn.Module):
        def forward(self, x, row, cond=None):
            asked.append(row)
            return torch.cat([0.5 * x, torch.full_like(x, 0.25)], 1)

    plan = NoisePlan(TABLE, variance='learned')
    denoiser, one = plan.denoiser(Two()), lambda x, s: torch.ones_like(x)
    x, (t, s) = noise(0, 'x', 0, range(2), (3,)), torch.tensor([800.0, 600.0]).double()
    step = partial(published_plan(replace(plan, scheduler='DDPMScheduler')).solver, noise=one)
    a, b, _ = TABLE.posterior(t, s)
    want = a * x + b * denoiser(x, t) + 0.5
    asked.clear()
    assert_close(step(TABLE, denoiser, x, t, s), want, rtol=1e-12, atol=0)
    assert len(asked) == 1, 'one call for the estimate and its variance'
    wrapped = lambda *a: denoiser(*a)  # noqa: E731
    assert_close(step(TABLE, wrapped, x, t, s, variance=denoiser.step_variance), want, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match='give the solver variance=denoiser.step_variance'):
        step(TABLE, wrapped, x, t, s)
    drawer = StableDiffusion(denoiser, Letters(), Fold(), plan=published_plan(replace(plan, scheduler='DDPMScheduler')), size=16)
    drawer.denoiser.net.one = nn.Parameter(torch.ones(1, dtype=F64))
    start = noise(0, 'given', 0, range(1), (12, 8, 8))
    z = quiet(drawer, 'a', steps=3, scale=2.0, latents=start)
    *_, want = sample(drawer.denoiser, TABLE, start, plan.times(3), equip(ancestral, noise=seeded_noise(0, 'sample'), variance=denoiser.step_variance))
    assert_close(z, want, rtol=0, atol=1e-12)


def test_a_clip_holds_the_estimates():
    drawer, _ = make(clip=0.05, times=lambda schedule, n: NoisePlan(schedule, offset=1).times(n))
    z = quiet(drawer, 'a' * 20, steps=5, scale=1.0)  # the point is 1.5
    assert_close(z, torch.full_like(z, 0.05), rtol=0, atol=1e-10)


# The ratio


@pytest.mark.parametrize('solver', (euler, heun))
def test_a_solver_in_the_ratio_has_good_manners_and_straight_paths(solver):
    "Also on a curved schedule, where it is the ratio that makes the path straight."
    check_manners(in_ratio(solver))
    check_straight(in_ratio(solver), (KarrasSchedule(), LinearBetaSchedule(), TABLE))


@pytest.mark.parametrize('solver, order', ((euler, 1), (heun, 2)))
def test_the_order_of_a_solver_survives_the_ratio(solver, order):
    law, schedule = reference_mixture(), LinearBetaSchedule()
    x, errors = law.at(schedule, 0.9).sample(50, generator(0, 'order')), []
    want = law.flow(schedule, x, 0.9, 0.2)
    for n in (128, 256):
        times = torch.linspace(0.9, 0.2, n + 1, dtype=F64)
        *_, y = sample(law.denoise(schedule), schedule, x, times, in_ratio(solver))
        errors.append((y - want).square().mean().sqrt())
    assert abs(torch.log2(errors[0] / errors[1]) - order) < 0.15


def test_without_signal_there_is_no_ratio():
    with pytest.raises(ValueError, match='at t = 1000 no signal is left and sigma / alpha is infinite'):
        in_ratio(heun)(ZERO, lambda x, t, cond=None: x, torch.zeros(1, 2), torch.tensor(1000.0), torch.tensor(900.0))


@pytest.mark.parametrize('t, s', ((1000.0, 700.0), (700.0, 699.5), (3.0, 0.0)))
def test_euler_in_the_ratio_is_ddim(t, s):
    x, t, s = noise(0, 'x', 0, range(9), (3,)), torch.tensor(t, dtype=F64), torch.tensor(s, dtype=F64)
    denoise = lambda x, t, cond=None: torch.tanh(x) * TABLE.alpha(t)
    assert_close(in_ratio(euler)(TABLE, denoise, x, t, s), ddim(TABLE, denoise, x, t, s), rtol=1e-9, atol=1e-9)


# Randomness


@pytest.mark.parametrize('solver', (ddim, ancestral))
def test_a_picture_is_the_same_alone_and_in_a_batch(solver):
    drawer, _ = make()
    texts = ['a', 'bc', 'def', 'ghij']
    together = quiet(drawer, texts, steps=4, solver=solver, seed=5)
    for i, text in enumerate(texts):
        assert torch.equal(quiet(drawer, text, steps=4, solver=solver, seed=5, first=i)[0], together[i])


@pytest.mark.parametrize('last', (0.0, 1.0))
def test_seeds_differ_and_repeat(last):
    drawer, net = make(plan=NoisePlan(TABLE, offset=1, last=last))
    for seed in (0, 1, 0):
        quiet(drawer, 'a', steps=2, seed=seed, scale=1.0)
    a, b, again = (net.asked[i][0] for i in (0, 2, 4))
    assert torch.equal(a, again) and (a - b).abs().max() > 1


def test_a_solver_keeps_noise_of_its_own():
    from functools import partial

    drawer, net = make()
    quiet(drawer, 'a', steps=3, scale=1.0, solver=partial(ancestral, noise=lambda x, t: torch.zeros_like(x)))
    x = net.asked[1][0]
    t, s = (row[0].double() + 1 for _, row, _ in net.asked[:2])
    a, b, _ = TABLE.posterior(t, s)
    assert_close(x, a * net.asked[0][0] + b * point('a'), rtol=0, atol=1e-12)


# Pictures as input


def picture(b=1, height=16, width=16):
    return (noise(0, 'picture', 0, range(b), (3, height, width)) / 8 + 0.5).clamp(0, 1)


@pytest.mark.parametrize('strength, calls', ((0.1, 1), (0.5, 5), (0.8, 8), (1.0, 10)))
def test_strength_is_the_share_of_steps(strength, calls):
    drawer, net = make()
    image, eps = picture(), noise(1, 'given', 0, range(1), (12, 8, 8))
    quiet(drawer, 'a', steps=10, scale=1.0, image=image, strength=strength, latents=eps)
    x, row, _ = net.asked[0]
    t = row.double() + 1
    want = eps if strength == 1 else TABLE.perturb(Fold().encode(2 * image - 1), eps, t)
    assert len(net.asked) == calls
    assert_close(x, want, rtol=0, atol=1e-12)


def test_one_image_serves_several_prompts():
    drawer, net = make()
    quiet(drawer, ['a', 'b'], steps=5, image=picture(), latents=noise(0, 'one', 0, [0, 0], (12, 8, 8)))
    assert torch.equal(net.asked[0][0][0], net.asked[0][0][1])


def test_pil_and_tensor_are_one_picture():
    drawer, net = make()
    bytes_ = torch.from_numpy(numpy.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=numpy.uint8))
    for image in (Image.fromarray(bytes_.numpy()), [Image.fromarray(bytes_.numpy())], bytes_.permute(2, 0, 1)[None] / 255):
        quiet(drawer, 'a', steps=2, image=image, strength=0.5, scale=1.0)
    a, b, c = (x for x, *_ in net.asked)
    assert torch.equal(a, b) and (a - c).abs().max() < 1e-7


@pytest.mark.parametrize('last', (0.0, 1.0))
@pytest.mark.parametrize('strength', (None, 0.6))
def test_around_a_hole_the_picture_stays(last, strength):
    "White is painted: there the point of the text, elsewhere the picture, without noise even if the walk ends early."
    drawer, _ = make(plan=NoisePlan(TABLE, offset=1, last=last))
    mask = torch.zeros(16, 16)
    mask[3:12, 7:] = 1  # no edge of the hole is one of the cells
    z = quiet(drawer, 'abcdefgh', steps=5, scale=1.0, image=picture(), mask=mask, strength=strength)
    hole, known = mask.unfold(0, 2, 2).unfold(1, 2, 2).any(-1).any(-1), Fold().encode(2 * picture() - 1)  # cells with any of it
    assert_close(z[..., ~hole], known[..., ~hole], rtol=0, atol=1e-15)
    assert (z[..., hole] - point('abcdefgh')).abs().max() < (1e-10 if last == 0 else 0.2)


@pytest.mark.parametrize('kind', ('pil', 'bool', 'batch', 'grey'))
def test_masks_of_every_kind(kind):
    drawer, _ = make()
    white = torch.zeros(16, 16, dtype=torch.bool)
    white[:, :8] = True
    masks = {
        'pil': Image.fromarray(white.numpy().astype(numpy.uint8) * 255), 'bool': white, 'batch': white.float().expand(1, 1, 16, 16),
        'grey': torch.where(white, 0.5, 0.49),
    }  # fmt: skip
    z = quiet(drawer, 'abc', steps=2, scale=1.0, image=picture(), mask=masks[kind])
    assert_close(z[..., :4], torch.full_like(z[..., :4], point('abc')), rtol=0, atol=1e-10)
    assert_close(z[..., 4:], Fold().encode(2 * picture() - 1)[..., 4:], rtol=0, atol=1e-15)


SHOWN = {  # what is given -> what is to be seen
    'upright': (lambda x: x, lambda x: x),
    'on its side': (lambda x: turned(x.transpose(Image.Transpose.ROTATE_90), 6), lambda x: x),
    'clear in part': (lambda x: see_through(x, 0), lambda x: Image.new('RGB', x.size, 'white')),
    'grey': (lambda x: x.convert('L'), lambda x: x.convert('L').convert('RGB')),
    'grey, 16 bits': (lambda x: Image.fromarray(numpy.asarray(x.convert('L')).astype(numpy.uint16) * 257), lambda x: x.convert('L').convert('RGB')),
    'a palette': (lambda x: x.quantize(8), lambda x: x.quantize(8).convert('RGB')),
    'for print': (lambda x: x.convert('CMYK'), lambda x: x.convert('CMYK').convert('RGB')),
}  # fmt: skip


def turned(image, k):
    exif = Image.Exif()
    exif[0x0112] = k
    image.info['exif'] = exif.tobytes()
    return image


def see_through(image, opacity):
    image = image.copy()
    image.putalpha(opacity)
    return image


@pytest.mark.parametrize('name', SHOWN)
def test_pictures_are_taken_as_they_are_meant_to_be_seen(name):
    give, want = SHOWN[name]
    drawer, net = make()
    wide = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=numpy.uint8))
    for image in (give(wide), want(wide)):
        quiet(drawer, 'a', steps=2, image=image, strength=0.5, scale=1.0)
    (a, *_), (b, *_) = net.asked
    assert a.shape == (1, 12, 4, 8) and torch.equal(a, b)


def test_a_mask_is_turned_like_a_picture():
    white = Image.new('L', (16, 16))
    white.paste(255, (0, 0, 16, 6))  # above
    drawer, _ = make()
    want = quiet(drawer, 'abc', steps=2, image=picture(), mask=white, output='latents')
    assert torch.equal(quiet(drawer, 'abc', steps=2, image=picture(), mask=turned(white.transpose(Image.Transpose.ROTATE_90), 6), output='latents'), want)


class Rough(Fold):
    "A codec that loses much, as real ones do: even what was not touched comes back changed."

    def decode(self, z):
        return super().decode(z).mul(4).round() / 4 + 0.1


@pytest.mark.parametrize('kind', (F64, torch.float32, torch.float16, torch.bfloat16), ids=str)
@pytest.mark.parametrize('beside', (0, 13))
@pytest.mark.parametrize('n', (1, 2))
def test_what_is_kept_is_kept_to_the_pixel(beside, kind, n):
    "By a network that sees the hole and by one that does not, in every precision, alone and in a batch; and the hole is the decoder's."
    torch.manual_seed(0)
    net = UNet(12, channels=(8,), blocks=(1,), heads=(1, 0), patch=1, groups=4, seq_dim=1, img_channels=beside).to(kind)
    nn.init.normal_(net.head.weight)
    drawer = StableDiffusion(NoisePlan(TABLE, offset=1).denoiser(net), Letters(), Rough(), size=16)
    drawer.conditioner.forward = lambda raw: Letters.forward(drawer.conditioner, raw).map(lambda v: v.to(kind))
    bytes_ = numpy.random.default_rng(1).integers(0, 256, (n, 16, 16, 3), dtype=numpy.uint8)
    mask = torch.zeros(n, 1, 16, 16, dtype=torch.bool)
    mask[0, :, :, 3:4], mask[-1, :, 5:, 9:] = True, True  # thinner than a cell, and with edges in cells
    ask = lambda output, mask=mask: quiet(drawer, ['a'] * n, steps=2, image=[Image.fromarray(b) for b in bytes_], mask=mask, output=output)
    for got in (numpy.stack(ask('pil')), (ask('tensor').double() * 255).permute(0, 2, 3, 1).numpy()):
        keep = ~mask[:, 0].numpy()
        assert abs(got[keep] - bytes_[keep]).max() < 1e-4 and abs(got[~keep] - bytes_[~keep]).mean() > 20
    z = ask('latents')
    inside = drawer.decode(z).permute(0, 2, 3, 1)[mask[:, 0]]
    assert_close(ask('tensor').permute(0, 2, 3, 1)[mask[:, 0]].to(inside.dtype), inside, rtol=0, atol=0)
    known = drawer.encode(torch.from_numpy(bytes_).permute(0, 3, 1, 2).double() / 127.5 - 1, z)
    touched = mask.unfold(2, 2, 2).unfold(3, 2, 2).any(-1).any(-1).expand_as(z)
    assert beside or (torch.equal(z[~touched], known[~touched]) and (z != known)[touched].double().mean() > 0.9)


@pytest.mark.parametrize('level, painted', ((127, False), (128, True)))
def test_grey_is_white_from_the_middle_on(level, painted):
    drawer, _ = make()
    mask = Image.new('L', (16, 16))
    mask.putpixel((0, 0), 255)
    mask.putpixel((15, 15), level)
    z = quiet(drawer, 'abc', steps=2, scale=1.0, image=picture(), mask=mask)
    known = Fold().encode(2 * picture() - 1)
    assert (z[..., -1, -1] != known[..., -1, -1]).all() == painted and torch.equal(z[..., -1, -1], known[..., -1, -1]) != painted


def test_what_a_network_that_fills_holes_sees():
    "The mask, 1 where it paints, then the latents of the picture with a grey hole; the same with and without the prompt."
    torch.manual_seed(0)
    net = UNet(12, channels=(8,), blocks=(1,), heads=(1, 0), patch=1, seq_dim=1, img_channels=13).double()
    nn.init.normal_(net.head.weight)
    seen = []
    net.register_forward_pre_hook(lambda module, args: seen.append(args))
    plan = NoisePlan(TABLE, offset=1)
    drawer = StableDiffusion(plan.denoiser(net), Letters(), Fold(), plan=published_plan(plan), size=16)
    mask = torch.zeros(16, 16)
    mask[:, 7:10] = 1
    quiet(drawer, ['a', 'b'], 'cc', steps=2, image=picture(2), mask=mask)
    (x, _, away), (_, _, cond) = seen[:2]
    small = torch.tensor([0, 0, 0, 1, 1, 0, 0, 0]).double().expand(8, 8)  # every cell with any of it
    assert x.shape == (2, 12, 8, 8) and cond.img.shape == (2, 13, 8, 8)
    assert torch.equal(cond.img, away.img) and not torch.equal(cond.seq, away.seq) and torch.equal(cond.img[:, 0], small.expand(2, 8, 8))
    assert_close(cond.img[:, 1:], Fold().encode((2 * picture(2) - 1) * (1 - mask)), rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match='fills holes in pictures, expected an image and a mask'):
        quiet(drawer, 'a')


def test_any_network_that_takes_a_picture_fills_holes():
    "It says so by `img_channels`, whatever its class; of other widths it is refused."

    def drawer(img_channels):
        return StableDiffusion(NoisePlan(TABLE).denoiser(Point(TABLE, predict_eps, img_channels)), Letters(), Fold(), size=16)

    model, mask = drawer(13), torch.zeros(16, 16)
    assert model.paints and not drawer(0).paints
    mask[:, 7:10] = 1
    quiet(model, ['abc'], steps=2, image=picture(1), mask=mask)
    assert all(cond.img.shape == (1, 13, 8, 8) for _, _, cond in model.denoiser.net.asked)
    with pytest.raises(ValueError, match='the network takes 4 channels beside its input, expected 0, or 13'):
        drawer(4)


# Parts


def test_clip_skip_cuts_the_tower_for_both_prompts():
    torch.manual_seed(0)
    tokenizer = Tokenizer([], 8)
    tower = TextTower(tokenizer.vocab_size, 8, 4, 3, 2, end=tokenizer.end).double()
    net = UNet(3, channels=(8,), blocks=(1,), heads=(1, 0), patch=1, seq_dim=4).double()
    seen = []
    net.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    reader = TextConditioner(tokenizer, tower, masked=False)
    drawer = StableDiffusion(Denoiser(net, TABLE, noise_input=table_index), reader, Pixels(), size=4)
    for skip in (0, 2):
        quiet(drawer, 'abc', 'x', steps=1, clip_skip=skip)
        states = tower(tokenizer(['abc', 'x']), skip=skip)[0]
        assert torch.equal(torch.cat([seen[-1].seq, seen[-2].seq]), states) and seen[-1].mask is None
    with pytest.raises(ValueError, match='skip is 4, expected a whole number from 0 to 3'):
        quiet(drawer, 'abc', clip_skip=4)


@pytest.mark.parametrize('height, width', ((16, 16), (2, 34), (6, 10)))
def test_every_multiple_of_the_factor_is_a_size(height, width):
    torch.manual_seed(0)
    net = UNet(12, channels=(8, 16, 16), blocks=(1, 1, 1), heads=(0, 1, 0, 1), patch=1, seq_dim=1).double()
    drawer = StableDiffusion(Denoiser(net, TABLE, noise_input=table_index), Letters(), Fold(), size=16)
    assert quiet(drawer, 'a', height=height, width=width, steps=1, output='tensor').shape == (1, 3, height, width)
    given = quiet(drawer, 'a', steps=1, output='tensor', latents=noise(0, 'x', 0, range(1), (12, height // 2, width // 2)))
    assert given.shape == (1, 3, height, width)


def test_outputs_are_one_picture():
    drawer, _ = make()
    z, x, pil = (quiet(drawer, 'abcdefgh', steps=3, scale=2.0, output=o) for o in ('latents', 'tensor', 'pil'))
    *_, walked = quiet(drawer, 'abcdefgh', steps=3, scale=2.0, output='steps')
    assert torch.equal(walked, z)
    assert_close(x, ((Fold().decode(z) + 1) / 2).clamp(0, 1), rtol=0, atol=0)
    assert numpy.array_equal(numpy.array(pil[0]), (x[0] * 255).round().byte().permute(1, 2, 0).numpy())
    assert pil[0].mode == 'RGB' and x.dtype == F64


@pytest.mark.parametrize(
    'solver', (ancestral, langevin(ancestral, 0), langevin(ddim), partial(langevin(partial(ddim, eta=0.5), 2))), ids=('plain', 'wrapped', 'corrector', 'deep')
)
def test_the_seed_and_the_place_reach_every_solver(solver):
    "From one starting noise two seeds draw two pictures, and picture 1 of a batch is picture 0 with first=1."
    drawer, _ = make()
    run = lambda prompts, **k: quiet(drawer, prompts, steps=3, scale=1.0, solver=solver, output='latents', **k)
    z = run(['abc'], seed=0)
    assert not torch.equal(run(['abc'], seed=1, latents=z), run(['abc'], seed=2, latents=z))
    assert_close(run(['abc'] * 3, seed=1)[1:], run(['abc'] * 2, seed=1, first=1), rtol=0, atol=1e-12)


def test_a_walk_can_be_stopped_and_begun_again():
    "An interrupt comes through; the next call knows nothing of it."
    drawer, net = make()
    whole = quiet(drawer, 'abc', steps=6)
    ask = net.forward

    def interrupted(x, row, cond):
        if row[0] < 500:
            raise KeyboardInterrupt
        return ask(x, row, cond)

    net.forward = interrupted
    with pytest.raises(KeyboardInterrupt):
        quiet(drawer, 'abc', steps=6)
    net.forward = ask
    assert torch.equal(quiet(drawer, 'abc', steps=6), whole)
    steps = quiet(drawer, 'abc', steps=6, output='steps')
    assert next(steps).shape == (1, 12, 8, 8) and len(list(steps)) == 5


def test_progress_is_reported(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr('diffbook.samplers.tqdm', lambda it, total, disable, desc: seen.append((total, disable)) or it)
    drawer, _ = make()
    drawer('a', steps=20, output='latents')
    drawer('a', steps=20, output='latents', progress=False)
    assert seen == [(20, False), (20, True)]


def test_without_guidance_the_network_is_asked_once():
    drawer, net = make()
    quiet(drawer, ['a', 'b'], steps=3, scale=1.0)
    quiet(drawer, ['a', 'b'], steps=3, scale=2.0)
    assert [len(x) for x, *_ in net.asked] == [2] * 3 + [2, 2] * 3


class Loud(Fold):
    def decode(self, z):
        return super().decode(z) / 0 * 0


def test_a_decoder_that_overflows_is_named():
    drawer, _ = make()
    drawer.vae = Loud()
    with pytest.raises(ValueError, match='the decoder answered in torch.float64 with values that are not finite; decode in float32'):
        quiet(drawer, 'a', steps=1, output='tensor')


BAD = {
    'number': (dict(prompt=7), 'prompt is 7, of type int, expected a text'),
    'none': (dict(prompt=None), 'prompt is None, of type NoneType, expected a text'),
    'no prompts': (dict(prompt=[]), 'expected a text or a list'),
    'one is a number': (dict(prompt=['a', 3.5]), 'prompt holds 3.5, of type float, expected texts'),
    'bytes': (dict(prompt=b'a'), 'of type bytes, expected a text'),
    'negative number': (dict(negative_prompt=1), 'negative_prompt is 1, of type int'),
    'too few negatives': (dict(prompt=['a'] * 3, negative_prompt=['b'] * 2), 'negative_prompt holds 2 texts, expected one, or one for each of the 3 prompts'),
    'height': (dict(height=15), 'height is 15, expected a multiple of 2; the nearest are 14 and 16'),
    'width': (dict(width=1), 'width is 1, expected a multiple of 2; the nearest is 2'),
    'float': (dict(height=16.0), 'height is 16.0, expected a multiple of 2'),
    'latents': (dict(latents=torch.zeros(1, 4, 8, 8)), r'latents have shape \(1, 4, 8, 8\), expected finite values of shape \(1, 12, 8, 8\)'),
    'nan': (dict(latents=torch.full((1, 12, 8, 8), float('nan'))), 'expected finite values'),
    'range': (dict(image=2 * picture() - 1), 'image holds values from -.* expected 0 to 1'),
    'array': (dict(image=numpy.zeros((16, 16, 3))), 'image is of type ndarray, expected a PIL image, a list of them, or a tensor'),
    'two sizes': (dict(image=[Image.new('RGB', s) for s in ((16, 16), (8, 16))]), 'image holds pictures of the sizes'),
    'image size': (dict(image=picture(1, 15, 16)), 'height is 15, expected a multiple of 2'),
    'other size': (dict(image=picture(1, 8, 8), height=16, width=16), 'image holds 1 of 8 x 8 pixels, expected 1 or 1 of 16 x 16'),
    'too many images': (dict(prompt=['a', 'b'], image=picture(3)), 'image holds 3 of 16 x 16 pixels, expected 1 or 2'),
    'a mask of nothing': (dict(image=picture(), mask=torch.zeros(16, 16)), 'mask marks nothing to paint: half or more of white, 1 or True is painted anew'),
    'a grey mask': (dict(image=picture(), mask=Image.new('L', (16, 16), 127)), 'mask marks nothing to paint'),
    'one mask of two': (dict(prompt=['a', 'b'], image=picture(), mask=torch.stack([torch.ones(1, 16, 16), torch.zeros(1, 16, 16)])), 'mask marks nothing to paint'),
    'deep image': (dict(image=Image.fromarray(numpy.full((16, 16), 3.0, numpy.float32))), 'image cannot be read: its values run from 3 to 3, expected 0 for black to 1 for white'),
    'mask size': (dict(image=picture(), mask=torch.zeros(8, 8)), 'mask holds 1 of 8 x 8 pixels, expected 1 or 1 of 16 x 16'),
    'mask values': (dict(image=picture(), mask=torch.full((16, 16), 255)), 'mask holds values from 255 to 255, expected 0 to 1'),
    'mask shape': (dict(image=picture(), mask=torch.zeros(1, 3, 16, 16)), r'mask has shape \(1, 3, 16, 16\), expected \(h, w\)'),
    'image shape': (dict(image=torch.zeros(16, 16)), r'image has shape \(16, 16\), expected \(b, 3, h, w\)'),
    'mask alone': (dict(mask=torch.zeros(16, 16)), 'there is a mask and no image'),
    'strength alone': (dict(strength=0.5), 'strength is 0.5 and there is no image'),
    'strength': (dict(image=picture(), strength=1.5), 'strength is 1.5, expected a number over 0, up to 1'),
    'zero strength': (dict(image=picture(), strength=0.0), 'strength is 0.0, expected'),
    'steps': (dict(steps=0), 'n is 0, expected a positive whole number'),
    'many steps': (dict(steps=1001), 'n is 1001, expected at most 1000'),
    'scale': (dict(scale=float('nan')), 'scale is nan, expected a finite number'),
    'seed': (dict(seed=1.5), 'seed is 1.5, expected an integer'),
    'output': (dict(output='png'), "output is 'png', expected pil, tensor, latents, steps"),
    'skip': (dict(clip_skip=1), 'clip_skip is 1, and a Letters has no text tower'),
}  # fmt: skip


@pytest.mark.bad_input
@pytest.mark.parametrize('case', BAD)
def test_bad_input_is_refused(case):
    drawer, net = make()
    arguments, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        drawer(**{'prompt': 'a', 'progress': False} | arguments)
    assert not net.asked


def test_parts_that_do_not_fit_are_refused():
    net = UNet(12, channels=(8,), blocks=(1,), heads=(0, 0), patch=1, img_channels=3)
    with pytest.raises(ValueError, match='takes 3 channels beside its input, expected 0, or 13'):
        StableDiffusion(Denoiser(net, TABLE), ClassConditioner(2, 3), Fold())
    with pytest.raises(ValueError, match='says nothing of x0; use predict_v'):
        NoisePlan(ZERO, predict_eps).denoiser(net)
