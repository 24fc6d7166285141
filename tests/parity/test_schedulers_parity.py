"""The four solvers and two grids give the numbers of diffusers on the same levels.

DDPM, DDIM and Heun are compared in float64, with the tables of diffusers replaced by ours in double precision.
diffusers' Euler step casts the state to float32, so there the bound is the rounding of float32.
"""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from diffbook.core import noise
from diffbook.elbo import learned, learned_range
from diffbook.exact import reference_mixture
from diffbook.losses import Denoiser
from diffbook.samplers import ancestral, ddim, euler, heun, karras_times, sample, trailing_times
from diffbook.schedules import DiscreteSchedule, KarrasSchedule, linear_betas

schedulers = pytest.importorskip('diffusers.schedulers')

F64 = torch.float64
LAW, TABLE = reference_mixture(), DiscreteSchedule(linear_betas())
X = noise(0, 'x', 0, range(20), (1,))


def in_double(kind, n, **options):
    "A scheduler of diffusers with trailing levels and a table in double precision."
    theirs = kind(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, timestep_spacing='trailing', clip_sample=False, **options)
    theirs.alphas_cumprod = torch.cumprod(1 - linear_betas(), 0)
    theirs.one = theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=F64)
    theirs.set_timesteps(n)
    return theirs


def noise_estimate(x, t):
    return TABLE.eps(x, LAW.denoise(TABLE)(x, t), t)


def drawn(x, s):
    return noise(0, 'drawn', int(s), range(len(x)), (1,))


@pytest.mark.parametrize('n', (7, 13, 50, 999))
def test_trailing_levels(n):
    assert in_double(schedulers.DDIMScheduler, n).timesteps.tolist() == (trailing_times(TABLE, n)[:-1] - 1).tolist()


@pytest.mark.parametrize('eta', (0.0, 0.4, 1.0))
@pytest.mark.parametrize('n', (5, 20, 100))
def test_ddim(n, eta):
    "Every state of a run; the numbers of steps divide 1000, because diffusers finds the next level by subtraction."
    theirs, y, times = in_double(schedulers.DDIMScheduler, n), X, trailing_times(TABLE, n)
    ours = sample(LAW.denoise(TABLE), TABLE, X, times, lambda *a: ddim(*a, eta=eta, noise=drawn))
    for x, t, s in zip(ours, times[:-1], times[1:]):
        y = theirs.step(noise_estimate(y, t), int(t) - 1, y, eta=eta, variance_noise=drawn(y, s)).prev_sample
        assert_close(x, y, rtol=0, atol=1e-10)


@pytest.mark.parametrize('n', (7, 13, 100))
def test_ancestral_is_ddpm(n, monkeypatch):
    "Every state of a run, with the posterior variance; at the last step diffusers adds noise of variance 1e-20, and we none."
    theirs, y, times = in_double(schedulers.DDPMScheduler, n, variance_type='fixed_small'), X, trailing_times(TABLE, n)
    ours = sample(LAW.denoise(TABLE), TABLE, X, times, lambda *a: ancestral(*a, noise=drawn))
    for x, t, s in zip(ours, times[:-1], times[1:]):
        monkeypatch.setattr('diffusers.schedulers.scheduling_ddpm.randn_tensor', lambda *a, **k: drawn(y, s))  # noqa: B023
        y = theirs.step(noise_estimate(y, t), int(t) - 1, y).prev_sample
        assert_close(x, y, rtol=0, atol=1e-11 if s > 0 else 1e-9)


@pytest.mark.parametrize('kind, read', [('learned_range', learned_range), ('learned', learned)])
@pytest.mark.parametrize('n', (1, 2, 7, 10, 30, 50))
def test_learned_variance(n, kind, read, monkeypatch):
    "Every state of a run of a network that answers with twice the channels."
    class Net(nn.Module):
        def forward(self, x, level, cond=None):
            return torch.cat([noise_estimate(x, level.double()), 0.5 + torch.tanh(x) / 2], 1)

    theirs, y, times = in_double(schedulers.DDPMScheduler, n, variance_type=kind), X, trailing_times(TABLE, n)
    model = Denoiser(Net(), TABLE, variance=read)  # the level is the time itself, whole
    ours = sample(model, TABLE, X, times, partial(ancestral, noise=drawn, variance=model.step_variance))
    for x, t, s in zip(ours, times[:-1], times[1:]):
        monkeypatch.setattr('diffusers.schedulers.scheduling_ddpm.randn_tensor', lambda *a, **k: drawn(y, s) * (s > 0))  # noqa: B023
        y = theirs.step(model.net(y, t.expand(len(y))), int(t) - 1, y).prev_sample
        assert_close(x, y, rtol=0, atol=1e-9)


EDM = KarrasSchedule(14.0)
LEVELS = torch.tensor([14.0, 9.0, 5.0, 2.5, 1.0, 0.4, 0.1, 0.0], dtype=F64)


def edm_noise(x, sigma):
    return (x - LAW.denoise(EDM)(x, sigma)) / sigma


def prepared(kind):
    theirs = kind(num_train_timesteps=1000, beta_schedule='linear', beta_start=1e-4, beta_end=0.02)
    theirs.set_timesteps(len(LEVELS) - 1)
    theirs.is_scale_input_called = True
    return theirs


def test_euler():
    "Every state of a run, to the rounding of a float32 state of size 14."
    theirs, y = prepared(schedulers.EulerDiscreteScheduler), 14 * X
    theirs.sigmas = LEVELS
    for x, t, sigma in zip(sample(LAW.denoise(EDM), EDM, 14 * X, LEVELS, euler), theirs.timesteps, LEVELS):
        y = theirs.step(edm_noise(y, sigma), t, y).prev_sample
        assert_close(x, y, rtol=0, atol=len(LEVELS) * 2**-23 * 14 * X.abs().max().item())


def test_heun():
    "Every state of a run in float64; diffusers lists each inner level twice."
    theirs, y = prepared(schedulers.HeunDiscreteScheduler), 14 * X
    theirs.sigmas = torch.cat([LEVELS[:1], LEVELS[1:-1].repeat_interleave(2), LEVELS[-1:]])
    steps = iter(theirs.timesteps)
    for x, t, s in zip(sample(LAW.denoise(EDM), EDM, 14 * X, LEVELS, heun), LEVELS[:-1], LEVELS[1:]):
        y = theirs.step(edm_noise(y, t), next(steps), y).prev_sample
        if s > 0:
            y = theirs.step(edm_noise(y, s), next(steps), y).prev_sample
        assert_close(x, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize('n', (2, 18, 40))
def test_karras_levels(n):
    "EDM's grid, to the rounding of float32."
    theirs = schedulers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    theirs.set_timesteps(n)
    assert_close(karras_times(KarrasSchedule(80.0), n), theirs.sigmas.double(), rtol=1e-5, atol=0)
