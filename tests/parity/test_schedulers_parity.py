"""The four solvers and two grids give the numbers of diffusers on the same levels, and so does every published scheduler that is read.

DDPM, DDIM and Heun are compared in float64, with the tables of diffusers replaced by ours in double precision.
diffusers' Euler step casts the state to float32, so in the first part the bound is the rounding of float32; in the second
the module of diffusers is told that float32 means float64.
"""

import functools
import json
import warnings
from functools import partial
from types import SimpleNamespace

import numpy
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from benchmarks.orders import ROWS
from diffbook.core import noise
from diffbook.elbo import learned, learned_range
from diffbook.exact import reference_mixture
from diffbook.ledger import read_measured
from diffbook.losses import Denoiser
from diffbook.multistep import dpmpp_2m
from diffbook.pretrained import load_schedule
from diffbook.published.scheduler import FAMILIES, TOLD
from diffbook.published.steps import STEPS as KNOWN
from diffbook.samplers import ancestral, clip_x0, ddim, equip, euler, heun, karras_times, sample, trailing_times
from diffbook.schedules import DiscreteSchedule, KarrasSchedule, linear_betas
from diffbook.stable_diffusion import published_plan

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


@pytest.mark.parametrize('spacing', ('trailing', 'linspace'))
@pytest.mark.parametrize('n', (2, 3, 7, 10, 20, 50))
def test_dpmpp_2m(n, spacing, double):
    "Every state of a run: diffusers' multistep solver of order two, of the midpoint, from its first step, which is DDIM's, to no noise."
    theirs = schedulers.DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, timestep_spacing=spacing, algorithm_type='dpmsolver++', solver_type='midpoint', solver_order=2
    )
    theirs.set_timesteps(n)
    times = torch.cat([theirs.timesteps.double() + 1, torch.zeros(1, dtype=F64)])
    theirs.sigmas = TABLE.sigma(times) / TABLE.alpha(times)
    y = X
    for x, t, told in zip(sample(LAW.denoise(TABLE), TABLE, X, times, dpmpp_2m), times, theirs.timesteps):
        y = theirs.step(noise_estimate(y, t), told, y).prev_sample
        assert_close(x, y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    'name', ('DPM-Solver++ 3 multistep', 'UniPC 2, bh2', 'DEIS 3', 'Heun', 'FlowMatchEuler', 'DDIM, trailing', 'DPM-Solver++ 2 single-step')
)
def test_measured_orders_are_of_the_installed_release(name):
    "The first error of rows of `benchmarks.orders` is what stands in the file that the chapter reads, if it was made with this release."
    import diffusers

    found = read_measured('orders')
    if found['diffusers'] != diffusers.__version__:
        pytest.skip(f'measured with diffusers {found["diffusers"]}')
    row = found['rows']['diffusers'][name]
    assert ROWS['diffusers'][name](row['steps'][0], diffusers) == pytest.approx(row['errors'][0], rel=2e-3)


# Published schedulers, by class

SD = {'beta_schedule': 'scaled_linear', 'beta_start': 0.00085, 'beta_end': 0.012}
STEPS = (1, 2, 7, 10, 30, 50)
TABLED = [name for name in FAMILIES if name != 'FlowMatchEulerDiscreteScheduler']  # which has no betas: its times are held in test_joint_pipeline_parity.py
SPACED = {f'{name} {spacing}': (name, SD | {'timestep_spacing': spacing}) for name in TABLED for spacing in ('leading', 'trailing', 'linspace')}
CONFIGS = SPACED | {f'{name} silent': (name, {}) for name in TABLED} | {
    'ddim of Stable Diffusion': ('DDIMScheduler', SD | {'steps_offset': 1, 'set_alpha_to_one': False, 'clip_sample': False}),
    'ddim unclipped': ('DDIMScheduler', {'clip_sample': False}),
    'ddim clipped at another range': ('DDIMScheduler', {'clip_sample_range': 0.3}),
    'ddim that stays on its first row': ('DDIMScheduler', SD | {'set_alpha_to_one': False, 'clip_sample_range': 0.3}),
    'ddim that stays, linspace': ('DDIMScheduler', SD | {'set_alpha_to_one': False, 'timestep_spacing': 'linspace'}),
    'ddim that ends early, trailing': ('DDIMScheduler', SD | {'set_alpha_to_one': False, 'timestep_spacing': 'trailing'}),
    'ddim without signal at the end': ('DDIMScheduler', SD | {'rescale_betas_zero_snr': True, 'prediction_type': 'v_prediction', 'timestep_spacing': 'trailing'}),
    'ddim of x0': ('DDIMScheduler', {'prediction_type': 'sample', 'beta_schedule': 'squaredcos_cap_v2'}),
    'ddim of its own betas': ('DDIMScheduler', {'num_train_timesteps': 100, 'trained_betas': numpy.linspace(0.001, 0.2, 100).tolist()}),
    'ddpm fixed_small_log': ('DDPMScheduler', {'variance_type': 'fixed_small_log'}),
    'ddpm fixed_large': ('DDPMScheduler', {'variance_type': 'fixed_large'}),
    'ddpm fixed_large, unclipped, trailing': ('DDPMScheduler', {'variance_type': 'fixed_large', 'clip_sample': False, 'timestep_spacing': 'trailing'}),
    'ddpm fixed_large, offset': ('DDPMScheduler', {'variance_type': 'fixed_large', 'steps_offset': 1}),
    'ddpm learned': ('DDPMScheduler', {'variance_type': 'learned'}),
    'ddpm learned_range': ('DDPMScheduler', {'variance_type': 'learned_range'}),
    'ddpm learned_range, unclipped, trailing': ('DDPMScheduler', {'variance_type': 'learned_range', 'clip_sample': False, 'timestep_spacing': 'trailing'}),
    'ddpm sigmoid': ('DDPMScheduler', {'beta_schedule': 'sigmoid', 'clip_sample': False}),
    'ddpm laplace': ('DDPMScheduler', {'beta_schedule': 'laplace', 'timestep_spacing': 'linspace'}),
    'ddpm without signal at the end': ('DDPMScheduler', {'rescale_betas_zero_snr': True, 'prediction_type': 'v_prediction', 'timestep_spacing': 'trailing'}),
    'pndm of Stable Diffusion': ('PNDMScheduler', SD | {'steps_offset': 1, 'skip_prk_steps': True}),
    'euler of sd-turbo': ('EulerDiscreteScheduler', SD | {
        'timestep_spacing': 'trailing', 'set_alpha_to_one': False, 'skip_prk_steps': True, 'steps_offset': 1, 'clip_sample': True}),
    'euler, Karras, linspace': ('EulerDiscreteScheduler', SD | {'use_karras_sigmas': True}),
    'euler, Karras, leading': ('EulerDiscreteScheduler', SD | {'use_karras_sigmas': True, 'timestep_spacing': 'leading', 'steps_offset': 1}),
    'euler, exponential, ends early': ('EulerDiscreteScheduler', SD | {'use_exponential_sigmas': True, 'final_sigmas_type': 'sigma_min', 'timestep_spacing': 'trailing'}),
    'euler without signal at the end': ('EulerDiscreteScheduler', SD | {
        'rescale_betas_zero_snr': True, 'prediction_type': 'v_prediction', 'timestep_spacing': 'trailing'}),
    'euler of x0, ends early': ('EulerDiscreteScheduler', {'prediction_type': 'sample', 'final_sigmas_type': 'sigma_min'}),
    'euler ancestral without signal at the end': ('EulerAncestralDiscreteScheduler', SD | {'rescale_betas_zero_snr': True, 'prediction_type': 'v_prediction'}),
    'heun clipped': ('HeunDiscreteScheduler', {'clip_sample': True, 'clip_sample_range': 0.5}),
    'heun, Karras': ('HeunDiscreteScheduler', SD | {'use_karras_sigmas': True}),
    'heun, exponential': ('HeunDiscreteScheduler', {'use_exponential_sigmas': True, 'beta_schedule': 'exp', 'timestep_spacing': 'trailing'}),
    'lms, Karras': ('LMSDiscreteScheduler', {'use_karras_sigmas': True}),
    'dpm without signal at the end': ('DPMSolverMultistepScheduler', SD | {'rescale_betas_zero_snr': True, 'prediction_type': 'v_prediction', 'final_sigmas_type': 'sigma_min'}),
    'dpm without signal at the end, to no noise': ('DPMSolverMultistepScheduler', SD | {'rescale_betas_zero_snr': True, 'prediction_type': 'v_prediction', 'timestep_spacing': 'trailing'}),
    'dpm of x0, offset': ('DPMSolverMultistepScheduler', SD | {'prediction_type': 'sample', 'steps_offset': 1, 'timestep_spacing': 'leading', 'euler_at_final': True}),
    'unipc, offset': ('UniPCMultistepScheduler', SD | {'steps_offset': 1, 'timestep_spacing': 'leading'}),
}  # fmt: skip
OWN_RULE = ('KDPM2DiscreteScheduler', 'DEISMultistepScheduler')  # a rule that is not in the book
LEVELED = (
    'EulerDiscreteScheduler',
    'HeunDiscreteScheduler',
    'LMSDiscreteScheduler',
    'DPMSolverMultistepScheduler',
    'UniPCMultistepScheduler',
    'DEISMultistepScheduler',
)
PLACED = {
    f'{name} {key}{more}': (name, SD | {f'use_{key}_sigmas': True} | said)
    for name in LEVELED
    for key in ('karras', 'exponential', 'beta')
    for more, said in (('', {}), (', trailing', {'timestep_spacing': 'trailing', 'prediction_type': 'v_prediction'}))
}
CONFIGS |= PLACED | {
    'dpm, heun': ('DPMSolverMultistepScheduler', SD | {'solver_type': 'heun', 'final_sigmas_type': 'zero'}),
    'dpm, cosine, Karras': ('DPMSolverMultistepScheduler', {'beta_schedule': 'squaredcos_cap_v2', 'use_karras_sigmas': True}),
    'unipc of x0': ('UniPCMultistepScheduler', SD | {'prediction_type': 'sample', 'timestep_spacing': 'trailing'}),
    'pndm, offset, trailing': ('PNDMScheduler', SD | {'skip_prk_steps': True, 'timestep_spacing': 'trailing'}),
    'pndm, to no noise': ('PNDMScheduler', SD | {'skip_prk_steps': True, 'set_alpha_to_one': True, 'steps_offset': 1}),
    'pndm, no offset': ('PNDMScheduler', SD | {'skip_prk_steps': True}),
}  # fmt: skip


class Wavy(nn.Module):
    "A network whose numbers are fixed and mean nothing; for a learned variance it says a second half, between 0.1 and 0.9 of a scale."

    def __init__(self, variance):
        super().__init__()
        self.scale = {'learned': 0.01, 'learned_range': 1.0}.get(variance)

    def forward(self, x, told, cond=None):
        mix = torch.linspace(-1, 1, x.shape[1] ** 2, dtype=F64).reshape(x.shape[1], -1)
        y = torch.sin(2 * x @ mix + 0.01 * told.double()[:, None])
        return y if self.scale is None else torch.cat([y, self.scale * (0.5 + 0.4 * torch.cos(5 * y))], 1)


class Gap:
    "The number of steps for diffusers' DDIM, which finds the next time as t - T // n: the gap to the next of the list."

    def __init__(self, gap):
        self.gap = gap

    def __rfloordiv__(self, T):
        return self.gap


@functools.cache
def theirs_in_double(case):
    "A scheduler of diffusers with its table in double precision, and its settings."
    name, said = CONFIGS[case]
    try:
        first = name == 'DEISMultistepScheduler' or name == 'DPMSolverMultistepScheduler' and said.get('final_sigmas_type') == 'sigma_min'
        theirs = getattr(schedulers, name).from_config(said | ({'solver_order': 1} if first else {}))  # DDIM's step, which we take there
    except NotImplementedError as error:
        pytest.skip(f'the installed diffusers: {error}')
    plan = dict(theirs.config) | {'_class_name': name}
    betas = torch.from_numpy(numpy.asarray(plan['trained_betas'])) if plan['trained_betas'] else own_betas(plan)
    table = torch.cumprod(1 - betas, 0)
    if plan.get('rescale_betas_zero_snr'):
        root = table.sqrt()
        table = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
        table[-1] = 2**-24 if hasattr(theirs, 'sigmas') else 0.0
    theirs.alphas_cumprod, theirs.one = table, torch.tensor(1.0, dtype=F64)
    theirs.alpha_t, theirs.sigma_t = table.sqrt(), (1 - table).sqrt()
    theirs.final_alpha_cumprod = theirs.one if plan.get('set_alpha_to_one', True) else table[0]
    return theirs, plan


def own_betas(c):
    "Tables by formula, in float64."
    T, start, end, kind = c['num_train_timesteps'], c['beta_start'], c['beta_end'], c['beta_schedule']
    u = numpy.arange(T + 1) / T
    if kind in ('linear', 'scaled_linear'):
        p = 1 if kind == 'linear' else 2
        return torch.from_numpy(numpy.linspace(start ** (1 / p), end ** (1 / p), T) ** p)
    if kind == 'sigmoid':
        return torch.from_numpy(1 / (1 + numpy.exp(-numpy.linspace(-6, 6, T))) * (end - start) + start)
    lmb = -0.5 * numpy.copysign(1, 0.5 - u) * numpy.log(1 - 2 * abs(0.5 - u) + 1e-6)
    bar = {'squaredcos_cap_v2': numpy.cos((u + 0.008) / 1.008 * numpy.pi / 2) ** 2, 'exp': numpy.exp(-12 * u), 'laplace': (1 / (1 + numpy.exp(-lmb))) ** 0.5}[
        kind
    ]
    return torch.from_numpy(numpy.minimum(1 - bar[1:] / bar[:-1], 0.999))


def levels_in_double(theirs, c, n):
    "Its levels as it made them, in float64: interpolated at its times, or placed by its own rule between the first and the last."
    table = ((1 - theirs.alphas_cumprod) / theirs.alphas_cumprod).sqrt().numpy()
    end = theirs.sigmas[-1:].double() if theirs.sigmas[-1] == 0 else torch.from_numpy(table[:1])
    times = theirs.timesteps.double().numpy()
    twice = c['_class_name'] in ('HeunDiscreteScheduler', 'KDPM2DiscreteScheduler')
    kind = next((key for key in ('use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas') if c.get(key)), None)
    if kind:
        rows = numpy.linspace(0, len(table) - 1, n)[::-1] if c['timestep_spacing'] == 'linspace' else None
        rows = (numpy.arange(n) * (len(table) // n))[::-1] + c['steps_offset'] if c['timestep_spacing'] == 'leading' else rows
        rows = numpy.round(numpy.arange(len(table), 0, -len(table) / n)) - 1 if rows is None else rows
        rows = numpy.array([len(table) - 1, 0]) if 'solver_order' in c else rows  # these place levels over the whole table
        place = getattr(theirs, f'_convert_to_{kind.split("_")[1]}')
        more = {} if c['_class_name'] == 'LMSDiscreteScheduler' and kind == 'use_karras_sigmas' else {'num_inference_steps': n}
        levels = place(in_sigmas=numpy.interp(rows, numpy.arange(len(table)), table), **more)
        assert_close(torch.from_numpy(levels), (theirs.sigmas[:-1][::2] if twice else theirs.sigmas[:-1]).double(), rtol=1e-5, atol=0)
        told = numpy.array([theirs._sigma_to_t(level, numpy.log(table)) for level in levels])
        if 'solver_order' in c:
            whole = theirs.timesteps.double().numpy()  # as it says itself, from levels in float32
            assert (abs(whole - told) < 1 + 1e-3).all()
            told = numpy.array([ROUNDS[theirs_told(c, kind)](t) for t in told])
        theirs.timesteps = torch.from_numpy(told if not twice else numpy.repeat(told, 2)[1:])
    else:
        levels = numpy.interp(times[::2] if twice else times, numpy.arange(len(table)), table)
    levels = torch.cat([torch.from_numpy(levels), end])
    theirs.sigmas = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]]) if twice else levels


ROUNDS = {'nearest': numpy.round, 'below': lambda t: numpy.floor(t + 1e-9)}  # a level on a row is told as that row


def theirs_told(c, kind):
    "Karras' are rounded, but for DPM-Solver on the cosine table; the others are cut off where they are made whole."
    cut = c['_class_name'] == 'DPMSolverMultistepScheduler' and c['beta_schedule'] == 'squaredcos_cap_v2'
    return 'nearest' if kind == 'use_karras_sigmas' and not cut else 'below'


@pytest.fixture
def double(monkeypatch):
    "Let the modules of diffusers that cast to float32 cast to float64."
    shim = SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch) if not name.startswith('__')})
    shim.float32 = F64
    for name in ('euler_discrete', 'euler_ancestral_discrete', 'dpmsolver_multistep', 'unipc_multistep', 'lms_discrete', 'pndm'):
        monkeypatch.setattr(f'diffusers.schedulers.scheduling_{name}.torch', shim)


def ours_for(folder, name, said, n):
    "The plan of a written configuration, its times for n steps, or None where it refuses them, and what it warns of."
    (folder / 'scheduler_config.json').write_text(json.dumps({'_class_name': name, '_diffusers_version': '0.30.0'} | said))
    plan = load_schedule(folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        try:
            return plan, plan.times(n), told
        except ValueError:
            return plan, None, told


@pytest.mark.parametrize(('case', 'n'), [(case, n) for case in CONFIGS for n in (STEPS if case not in PLACED else (2, 10))])
def test_times_levels_and_walks_of_every_class(case, n, tmp_path, double, monkeypatch):
    """The rows that the network is told, in their order; the level at each; and, where the rule is in the book, the walk.

    A level is sigma / alpha, or alpha_bar where that is kept. The network's numbers are fixed and mean nothing, the starting
    noise is the class's own, and fresh noise is handed to both.
    """
    name, said = CONFIGS[case]
    plan, times, told = ours_for(tmp_path, name, said, n)
    if times is None:
        assert (plan.halves and n < 4) or (n == 1 and plan.last == 1)  # no room for Runge and Kutta; a step from t = 1 to t = 1
        return
    theirs, config = theirs_in_double(case)
    theirs.set_timesteps(n)
    if hasattr(theirs, 'sigmas'):
        levels_in_double(theirs, config, n)
    same_times(plan, times, theirs, name)
    same_levels(plan, times, theirs, name)
    early = plan.schedule.alpha(times[0]) ** 2 - plan.schedule.alpha(plan.schedule.t_max) ** 2 > 0.05
    assert bool(told) == bool(early) and all('take more steps, or trailing spacing' in str(w.message) for w in told)
    if name not in OWN_RULE and (plan.rule or plan.scheduler in KNOWN or theirs.config.get('solver_order') == 1):
        same_walk(plan, times, theirs, name, n, monkeypatch)


def same_times(plan, times, theirs, name):
    asked = theirs.timesteps.double()
    asked = asked[::2] if name == 'KDPM2DiscreteScheduler' else asked  # without those half way
    asked = torch.tensor(sorted(set(asked.tolist()), reverse=True), dtype=F64) + 1
    if plan.told != 'time':  # levels stand between rows, and one row may be told twice
        said = TOLD[plan.told](plan.schedule, times[:-1]) + 1
        assert_close(torch.tensor(sorted(set(said.tolist()), reverse=True), dtype=F64), asked[: len(set(said.tolist()))], rtol=0, atol=1e-9)
        return
    assert_close(times[:-1], asked[asked > plan.last], rtol=0, atol=1e-9)


def same_levels(plan, times, theirs, name):
    if hasattr(theirs, 'sigmas'):
        levels = torch.tensor(sorted(set(theirs.sigmas.tolist()), reverse=True), dtype=F64)
        assert_close(plan.schedule.sigma(times) / plan.schedule.alpha(times), levels[: len(times)], rtol=1e-9, atol=1e-12)
    else:
        want = torch.cat([theirs.alphas_cumprod[times[:-1].long() - 1], theirs.final_alpha_cumprod[None]])
        assert_close(plan.schedule.alpha(times) ** 2, want, rtol=1e-9, atol=1e-15)


def walk_of_theirs(theirs, x, fresh, monkeypatch):
    "Its walk. At the last step a learned variance draws no noise in the book; diffusers draws unless that begins on the first row."
    net = Wavy(theirs.config.get('variance_type'))
    queue = iter([*fresh[:-1], fresh[-1] * (net.scale is None)])
    for module in ('ddpm', 'ddpm_parallel', 'euler_ancestral_discrete'):
        monkeypatch.setattr(f'diffusers.schedulers.scheduling_{module}.randn_tensor', lambda *a, **k: next(queue))
    for t, s in zip(theirs.timesteps, [*theirs.timesteps[1:].tolist(), -1]):
        if isinstance(theirs, schedulers.DDIMScheduler | schedulers.DDIMParallelScheduler):
            theirs.num_inference_steps = Gap(int(t) - s)
        if isinstance(theirs, schedulers.PNDMScheduler):  # the first step is made twice, and the second time it is the one before
            steps = sorted(set(theirs.timesteps.tolist()), reverse=True)
            after = [*steps[1:], -1][steps.index(int(t)) - (theirs.counter == 1)]
            theirs.num_inference_steps = Gap(steps[steps.index(int(t)) - (theirs.counter == 1)] - after)
        scaled = theirs.scale_model_input(x, t)
        x = theirs.step(net(scaled, t.float().expand(len(x))), t, x).prev_sample
    return x


def same_walk(plan, times, theirs, name, n, monkeypatch):
    x, fresh = noise(0, 'start', 0, range(20), (3,)), noise(0, 'fresh', 0, range(n), (20, 3))
    want = walk_of_theirs(theirs, x * theirs.init_noise_sigma, fresh, monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of early starts, and of order one, whose rule is in the book after all
        recipe = published_plan(plan)
        assert torch.equal(recipe.times(plan.schedule, n), times)
    queue = iter(fresh)
    clips = getattr(recipe.solver, 'keywords', {}).get('clip')
    denoise = plan.denoiser(Wavy(plan.variance))
    solver = equip(recipe.solver, noise=lambda x, s: next(queue), variance=denoise.step_variance if denoise.variance else None)
    denoise = denoise if clips or recipe.clip is None else clip_x0(denoise, -recipe.clip, recipe.clip)
    *_, got = sample(denoise, plan.schedule, x * (1.0 if recipe.unit else plan.schedule.sigma(times[0])), times, solver)
    got = got / plan.schedule.alpha(times[-1]) if name.startswith(('Euler', 'Heun', 'LMS')) else got  # these keep x / alpha
    assert_close(got, want, rtol=1e-8, atol=1e-9 * max(1.0, want.abs().max().item()))


@pytest.mark.parametrize('spacing', ('leading', 'trailing', 'linspace'))
@pytest.mark.parametrize('name', ('DDIMScheduler', 'EulerDiscreteScheduler', 'DPMSolverMultistepScheduler'))
def test_times_at_every_number_of_steps(name, spacing, tmp_path):
    "Rounding too is NumPy's: also where n does not divide, and at exact halves. (At some n diffusers' trailing list has one time more, before the first row.)"
    theirs = getattr(schedulers, name)(timestep_spacing=spacing)
    for n in [*range(1, 60), 61, 96, 112, 240, 464, 499, 500, 501, 750, 976, 998, 999]:
        _, times, _ = ours_for(tmp_path, name, {'timestep_spacing': spacing}, n)
        theirs.set_timesteps(n)
        assert_close(times[:-1], theirs.timesteps[:n].double() + 1, rtol=0, atol=0)
