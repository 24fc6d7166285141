"""Cascades: what is told of a small picture and of its noise, the loss of an upscaler, the link, and the exact two-stage distribution."""

from functools import partial

import helpers
import pytest
import torch

from diffbook.cascades import LowResolution, StableUpscaler, Upscaler, enlarge, shrink, upscaling, upscaling_loss
from diffbook.conditioning import Conditional, Conditioner
from diffbook.core import Cond, Rows, make_generator, noise
from diffbook.data import to_model
from diffbook.editing import renoise
from diffbook.exact import GaussianMixture
from diffbook.guidance import dynamic_threshold
from diffbook.losses import Denoiser
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_x0
from diffbook.pretrained import NoisePlan
from diffbook.samplers import uniform_times
from diffbook.schedules import CosineSchedule, DiscreteSchedule, LinearBetaSchedule, scaled_linear_betas
from diffbook.stages import Stage, cascade
from diffbook.training import load, save

COSINE = CosineSchedule()
TOLD = LowResolution(3, 8, 2, waves=8)


def draw(*shape, seed=0):
    return noise(seed, 'cascades', 0, range(shape[0]), shape[1:]).float()


class Echo(torch.nn.Module):
    "Answers with a constant, and keeps what it was told."

    img_channels = 3

    def __init__(self, answer=0.0):
        super().__init__()
        self.answer, self.heard = answer, []

    def forward(self, x, noise_level, cond):
        self.heard.append(cond)
        return torch.full_like(x, self.answer)


def model(net=None, told=TOLD, schedule=COSINE):
    return Conditional(Denoiser(Upscaler(net or Echo()), schedule, predict_x0), told)


def unet():
    torch.manual_seed(0)
    net = UNet(3, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 0), img_channels=3, cond_dim=8)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return net


def test_a_small_picture_holds_the_mean_of_each_square():
    x = draw(2, 3, 12, 18)
    for i, j in ((0, 0), (3, 5), (2, 1)):
        assert torch.allclose(shrink(x, 3)[:, :, i, j], x[:, :, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3].mean((2, 3)), atol=1e-6)
    flat = torch.full((1, 3, 4, 4), 0.3)
    assert torch.allclose(enlarge(flat, 4), torch.full((1, 3, 16, 16), 0.3)), 'a flat picture stays as it is'


def test_noise_and_level_go_together():
    "What is told is alpha y + sigma eps, enlarged, and the level in waves: by hand, each example at a level of its own."
    low, eps, level = draw(3, 3, 8, 8), draw(3, 3, 8, 8, seed=1), torch.tensor([0.0, 0.2, 0.7])
    cond = TOLD.noised(low, level, eps)
    angle = (level * torch.pi / 2)[:, None, None, None]
    want = angle.cos() * low + angle.sin() * eps
    assert torch.allclose(cond.img, torch.nn.functional.interpolate(want, size=16, mode='bicubic'), atol=1e-5)
    rungs = 10_000.0 ** -(torch.arange(4) / 3)
    waves = 1000 * level[:, None] * rungs
    assert torch.allclose(cond.vec, torch.cat([waves.sin(), waves.cos()], 1), atol=1e-4)


def test_another_level_is_told_otherwise():
    low, eps = draw(2, 3, 8, 8), draw(2, 3, 8, 8, seed=1)
    vecs = [TOLD.noised(low, level, eps).vec for level in (0.0, 0.1, 0.2, 0.5)]
    assert all((a - b).abs().max() > 0.1 for k, a in enumerate(vecs) for b in vecs[:k])


def test_bytes_get_their_units_before_they_get_noise():
    "A byte is a number from -1 to 1, and the noise has the deviation of its level there: within 4 %, four standard errors of 5,000 numbers."
    low = torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(32)[None, None].expand(28, 3, 1, 64).reshape(28, 3, 8, 8)
    told = LowResolution(3, 8, 1)
    x = told.noised(low, 0.0, torch.zeros(28, 3, 8, 8)).img
    assert x.min() == -1 and x.max() == 1
    eps = draw(28, 3, 8, 8)
    noisy = told.noised(low, 0.3, eps).img
    left = noisy - COSINE.alpha(0.3).float() * x
    assert abs(left.std() / COSINE.sigma(0.3) - 1) < 0.04
    assert torch.allclose(left, COSINE.sigma(0.3).float() * eps, atol=1e-5)


def test_nothing_is_told_at_the_level_where_nothing_is_left():
    cond = TOLD.null(2)
    assert not cond.img.any() and torch.allclose(cond.vec, TOLD((draw(2, 3, 8, 8), 1.0)).vec)


def test_an_untrained_upscaler_enlarges():
    low = draw(2, 3, 8, 8)
    stage, tell = upscaling(model())
    assert torch.allclose(stage.draw(2, tell(low), steps=3), enlarge(low, 2).clamp(-1, 1), atol=1e-5)


def test_the_loss_is_that_of_the_denoiser_told_its_own_small_copy():
    "With an answer that is wrong by a constant; levels are uniform up to `most`, one for each example."
    echo = Echo(0.5)
    x0 = draw(64, 3, 16, 16).clamp(-1, 1)
    loss = upscaling_loss(model(echo), x0, make_generator(0, 'x'), most=0.0)
    assert torch.allclose(loss, (enlarge(shrink(x0, 2), 2) + 0.5 - x0).square().flatten(1).mean(1), atol=1e-5)
    upscaling_loss(model(echo), x0, make_generator(1, 'x'), most=0.2)
    told = echo.heard[-1]
    assert len({tuple(row) for row in told.vec.tolist()}) == 64
    slow = told.vec[:, 3].asin() * 10_000  # the slowest wave turns by one radian in ten thousand: it tells the level itself
    assert 0 <= slow.min() and slow.max() <= 200.1 and slow.max() > 150, 'the largest of 64 is below 150 once in 10^8'
    clean = enlarge(shrink(x0, 2), 2)
    off = (told.img - clean).flatten(1).std(1)
    assert torch.corrcoef(torch.stack([slow, off]))[0, 1] > 0.95, 'the more noise is told, the more there is'


def test_the_loss_of_a_part_is_that_of_the_whole():
    x0, wired = draw(6, 3, 16, 16), model(unet())
    whole = upscaling_loss(wired, x0, make_generator(3, 'rows'))
    parts = [upscaling_loss(wired, x0[k : k + 2], Rows(make_generator(3, 'rows'), k, 6)) for k in (0, 2, 4)]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)


def test_a_link_noises_what_the_stage_before_drew():
    echo = Echo()
    base = Stage(lambda x, t, cond=None: torch.full_like(x, 0.25), COSINE, (3, 8, 8))
    small, large = cascade(5, [(base, lambda before: None), upscaling(model(echo), 0.2, seed=4)], steps=2)
    assert torch.allclose(small, torch.full((5, 3, 8, 8), 0.25), atol=1e-6) and large.shape == (5, 3, 16, 16)
    again = upscaling(model(), 0.2, seed=4)[1](small)
    assert torch.allclose(echo.heard[0].img, again.img) and not torch.allclose(again.img, upscaling(model(), 0.2, seed=5)[1](small).img)
    assert not torch.isclose(again.img[0], again.img[1]).all(), 'each picture has noise of its own'


def test_an_upscaler_is_saved_whole(tmp_path):
    made = model(unet(), LowResolution(3, 8, 2, 8, LinearBetaSchedule()))
    save(tmp_path, made)
    back, low = load(tmp_path), draw(2, 3, 8, 8)
    stage, tell = upscaling(back, 0.1)
    mine, said = upscaling(made, 0.1)
    assert torch.allclose(stage.draw(2, tell(low), steps=2), mine.draw(2, said(low), steps=2), atol=1e-5)
    assert back.denoiser.net.img_channels == 3 and isinstance(back.conditioner.schedule, LinearBetaSchedule)


def test_a_cascade_of_exact_denoisers_draws_the_data():
    """Base and upscaler by formula, walked: the mean and covariance of what is drawn are those of the data.

    4,000 pairs in four dimensions; entries have a standard error of at most 0.025 and are asked to 0.11: a false alarm in 10^4.
    """
    C = torch.tensor([[1.0, 0.8, 0.3, 0.2], [0.8, 1.0, 0.4, 0.3], [0.3, 0.4, 1.0, 0.7], [0.2, 0.3, 0.7, 1.0]]).double()
    law, A = GaussianMixture([1.0], torch.zeros(1, 4), C[None]), torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]).double()
    base = GaussianMixture([1.0], torch.zeros(1, 2), (A @ C @ A.T)[None])
    given = law.condition(A, torch.zeros(2), 0.0)
    gain = torch.stack([law.condition(A, e, 0.0).means[0] for e in torch.eye(2).double()], 1)
    around = given.denoise(COSINE)  # of what is left, around the mean that the small one fixes

    def upscaler(x, t, cond):
        mean = cond.vec @ gain.T
        return mean + around(x - COSINE.alpha(t) * mean, t)

    stages = [(Stage(base.denoise(COSINE), COSINE, (2,)), lambda before: None), (Stage(upscaler, COSINE, (4,)), lambda y: Cond(vec=y.double()))]
    y, x = (v.double() for v in cascade(4000, stages, steps=100, batch=4000))
    assert torch.allclose(x @ A.T, y, atol=1e-3), 'nothing of the small one is lost'
    assert (x.T @ x / 4000 - C).abs().max() < 0.11 and x.mean(0).abs().max() < 0.07


def test_a_cap_at_the_bound_is_plain_clipping():
    wild = lambda x, t, cond=None: 3 * x
    x, t = draw(4, 3, 8, 8), torch.tensor(0.5)
    assert torch.equal(dynamic_threshold(wild, cap=1.0)(x, t), (3 * x).clamp(-1, 1)), 'bit for bit'
    free, capped = (dynamic_threshold(wild, cap=c)(x, t) for c in (float('inf'), 1.5))
    assert not torch.allclose(free, (3 * x).clamp(-1, 1)) and not torch.allclose(free, capped)
    assert torch.allclose(capped, (3 * x).clamp(-1.5, 1.5) / 1.5)


@pytest.mark.parametrize('cap', [1.0, 1.5])
def test_thresholding_is_that_of_diffusers(cap):
    diffusers = pytest.importorskip('diffusers')
    theirs = diffusers.DDPMScheduler(thresholding=True, sample_max_value=cap)
    x = draw(4, 3, 8, 8)
    want = theirs._threshold_sample(3 * x)
    assert torch.allclose(dynamic_threshold(lambda x, t, cond=None: 3 * x, cap=cap)(x, torch.tensor(0.5)), want, atol=1e-6)


def test_going_up_leaves_the_variance_of_the_new_level():
    "In 250 steps of the way up, each by fresh noise: 20,000 numbers, to 5 %, five standard errors; the difference of deviations is off by half."
    s, t = torch.tensor(0.4).double(), torch.tensor(0.6).double()
    grid = uniform_times(COSINE, 250).flip(0)
    grid = grid[(grid >= s) & (grid <= t)]
    x = COSINE.sigma(grid[0]) * noise(0, 'up', 0, range(20_000), (1,))
    for k, (a, b) in enumerate(zip(grid, grid[1:])):
        x = renoise(COSINE, x, a, b, lambda x, t, k=k: noise(k, 'up', 1, range(20_000), (1,)))
    assert abs(x.var() / COSINE.sigma(grid[-1]) ** 2 - 1) < 0.05


def test_the_published_upscaler_counts_rows_from_zero():
    "Row k holds the noise of k + 1 betas; the level is told as a class, and one picture serves all prompts."

    class Reader(Conditioner):
        def forward(self, raw):
            return Cond(seq=torch.zeros(len(raw), 2, 4))

        def null(self, n):
            return self([''] * n)

    net = UNet(4, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 2), patch=1, seq_dim=4, cond_dim=1000, img_channels=3)
    table = DiscreteSchedule(scaled_linear_betas(1000, 1e-4, 0.02))
    made = StableUpscaler(Denoiser(net, table), Reader(), None, table, NoisePlan(table))
    picture, eps = draw(1, 3, 8, 8), draw(1, 3, 8, 8, seed=1)
    cond = made.tell(['a', 'b'], picture, 20, eps)
    kept = torch.prod(1 - torch.linspace(1e-4**0.5, 0.02**0.5, 1000).double()[:21] ** 2)
    want = kept.sqrt() * picture + (1 - kept).sqrt() * eps
    assert torch.allclose(cond.img, want.float().expand(2, 3, 8, 8), atol=1e-5)
    assert cond.vec.shape == (2, 1000) and cond.vec.argmax(1).tolist() == [20, 20] and cond.vec.sum() == 2


BAD = {
    'small picture of another size': (lambda: TOLD((draw(2, 3, 9, 9), 0.1)), r"of shape \(2, 3, 9, 9\), expected floating point of shape \('b', 3, 8, 8\)"),
    'bytes without units': (lambda: TOLD((torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 0.1)), 'torch.uint8'),
    'level beyond the schedule': (
        lambda: upscaling_loss(model(), draw(2, 3, 16, 16), make_generator(0, 'x'), most=1.5),
        'most is 1.5, expected a number from 0 to 1',
    ),
    'no channels': (lambda: LowResolution(0, 8, 2), 'channels is 0'),
    'factor': (lambda: LowResolution(3, 8, 0), 'factor is 0'),
    'cap below the bound': (partial(dynamic_threshold, lambda x, t, cond=None: x, cap=0.5), 'cap is 0.5'),
}
test_bad_input_is_refused = helpers.refuses(BAD)


def test_a_small_picture_in_bytes_is_the_one_in_units():
    low = (255 * torch.rand(2, 3, 8, 8, generator=make_generator(0, 'bytes'))).byte()
    assert torch.equal(TOLD.noised(low, 0.3, draw(2, 3, 8, 8)).img, TOLD.noised(to_model(low), 0.3, draw(2, 3, 8, 8)).img)
