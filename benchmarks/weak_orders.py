"""Weak orders of random samplers, ours and those of the installed diffusers library, without a single draw.

    python -m benchmarks.weak_orders --out diffbook/measured/weak-orders.json

The data is one Gaussian, N(0.7, 0.36), and the denoiser is exact, so a sampler is an affine map of its start and of all that
it draws. It is run on a basis (chapter 33), which gives mean and variance of its output to rounding. Every sampler walks the same levels
of noise to signal, from 20 to 0.02, even in their seventh root, in double precision (where diffusers writes float32, the
command reads float64). Error is the distance of the variance from its true value, relative to that; order is log2 of its fall
in the last doubling of the steps. A sampler with a floor does not come nearer. No seed, no chance: two runs give one file.
"""

import argparse
import json
import math
import warnings
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm.auto import tqdm

from benchmarks.measure import release
from diffbook.conform import Told, moments
from diffbook.exact import GaussianMixture
from diffbook.multistep import dpmpp_sde
from diffbook.samplers import ancestral, churn, ddim, equip, heun
from diffbook.schedules import KarrasSchedule
from diffbook.sde import corrected, ddim_sde, euler_maruyama, midpoint_sde, renew, reverse_diffusion

MEAN, VAR, TOP, LAST = 0.7, 0.36, 20.0, 0.02
F64 = torch.float64


def levels(n: int) -> torch.Tensor:
    "n + 1 levels of noise to signal, even in their seventh root."
    return torch.linspace(TOP ** (1 / 7), LAST ** (1 / 7), n + 1, dtype=F64) ** 7


def relative(mean: torch.Tensor, var: torch.Tensor, last: torch.Tensor) -> tuple[float, float]:
    "How far mean and variance at the last level are from those of data plus noise: the mean in standard deviations."
    true = VAR + last**2
    return float((mean - MEAN) / true.sqrt()), float(var / true - 1)


# Ours: a step rule on the schedule whose time is the level


def two_noises(schedule, denoise, x, t, s, cond=None, *, noise):
    "midpoint_sde with a noise for the stage and another for the step."
    half = schedule.time_at((schedule.log_snr(t) + schedule.log_snr(s)) / 2)
    x0 = denoise(x, t, cond)
    better = denoise(renew(schedule, x0, schedule.eps(x, x0, t), t, half, 1.0, noise(x, half)), half, cond)
    return renew(schedule, better, schedule.eps(x, better, t), t, s, 1.0, noise(x, s))


class Louder(Told):
    "Noise of a standard deviation that is not one: S_noise."

    def __call__(self, x, t):
        return 1.003 * super().__call__(x, t)


def ours(solver, n, told=None):
    "The errors of a step rule; `solver` may be made for the number of steps."
    times, law = levels(n), GaussianMixture([1.0], [[MEAN]], [[[VAR]]])
    schedule = KarrasSchedule(TOP)
    solver = solver(n) if getattr(solver, 'by_steps', False) else solver
    if told is not None:
        solver = equip(solver, noise=told)
    start = law.at(schedule, times[0])
    mean, cov = moments(solver, law.denoise(schedule), schedule, times, start.means[0], start.covs[0])
    return relative(mean[0], cov[0, 0], times[-1])


def churned(n):
    return churn(heun, min(40 / n, math.sqrt(2) - 1))


churned.by_steps = True


def louder(n):
    "Heun and churn with S_noise; the basis is louder, so what is asked for is counted once more."
    times, schedule = levels(n), KarrasSchedule(TOP)
    denoise = GaussianMixture([1.0], [[MEAN]], [[[VAR]]]).denoise(schedule)
    told, solver = Louder(), churned(n)

    def run(x):
        for t, s in zip(times[:-1], times[1:]):
            x = solver(schedule, denoise, x, t, s, noise=told)
        return x

    run(torch.full((1, 1), MEAN, dtype=F64))
    x = torch.full((2 + len(told.drawn), 1), MEAN, dtype=F64)
    x[1] += math.sqrt(VAR + TOP**2)
    y = run(x)
    return relative(y[0, 0], ((y[1:] - y[0]) ** 2).sum(), times[-1])


# Theirs: a scheduler with our levels, our answers and noise that is a basis


class Basis:
    "What is drawn: a one in a row of its own for each draw."

    def __init__(self):
        self.drawn = 0

    def __call__(self, shape, *args, **kwargs):
        z = torch.zeros(shape, dtype=F64)
        if len(z) > 1:
            z[2 + self.drawn] = 1
        self.drawn += 1
        return z


@contextmanager
def in_double(scheduler, basis):
    "The module of a scheduler with float64 for float32, and with the basis for its random numbers."
    module = import_module(type(scheduler).__mro__[1].__module__ if type(scheduler).__module__ == __name__ else type(scheduler).__module__)
    kept = module.torch, module.randn_tensor
    module.torch = SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch) if not name.startswith('__')})
    module.torch.float32, module.randn_tensor = F64, basis
    try:
        yield
    finally:
        module.torch, module.randn_tensor = kept


def answer(x, level, scale, form):
    "The exact answer for a state, in units where the signal is scaled by `scale`: data or noise."
    x0 = MEAN + VAR / (VAR + level**2) * (x / scale - MEAN)
    return x0 if form == 'sample' else (x / scale - x0) / level


def theirs(make, walk, n):
    "The errors of a scheduler: the first walk counts the draws, the second is run on the basis."
    first = Basis()
    x = torch.full((1, 1), MEAN, dtype=F64)
    for rows in (1, None):
        basis = first if rows else Basis()
        if rows is None:
            x = torch.full((2 + first.drawn, 1), MEAN, dtype=F64)
            x[1] += math.sqrt(VAR + TOP**2)
        scheduler = make(n)
        with in_double(scheduler, basis):
            y, last = walk(scheduler, x, levels(n))
    return relative(y[0, 0], ((y[1:] - y[0]) ** 2).sum(), last)


def walk_levels(scheduler, x, at, form='sample', preserving=True):
    "Walk our levels; `preserving`: its states have alpha^2 + sigma^2 = 1."
    scale = 1 / torch.sqrt(1 + at**2) if preserving else torch.ones_like(at)
    scheduler.set_timesteps(len(at) - 1)
    scheduler.sigmas = at.clone()
    scheduler.set_begin_index(0)
    x = scale[0] * x
    for t, level, a in zip(scheduler.timesteps, at, scale):
        x = scheduler.step(answer(x, level, a, form), t, x).prev_sample
    return x / scale[-1], at[-1]


def edm_answer(scheduler, x, level):
    "What EDM's scheduler turns into the right estimate."
    x0, s = answer(x, level, 1.0, 'sample'), scheduler.config.sigma_data
    skip, out = s**2 / (level**2 + s**2), level * s / (level**2 + s**2) ** 0.5
    return (x0 - skip * x) / out


def walk_edm(scheduler, x, at):
    scheduler.set_timesteps(len(at) - 1)
    scheduler.sigmas = at.clone()
    scheduler.set_begin_index(0)
    for t, level in zip(scheduler.timesteps, at):
        x = scheduler.step(edm_answer(scheduler, x, level), t, x).prev_sample
    return x, at[-1]


def walk_stages(scheduler, x, at):
    "A scheduler with two calls a step, whose second level is its own; its last step, to no noise, is left out."
    n = len(at)  # its levels are ours, and a zero
    with_ours = lambda *args, **kwargs: at.numpy()
    scheduler._convert_to_karras = with_ours
    scheduler.set_timesteps(n)
    for i, t in enumerate(scheduler.timesteps[: 2 * (n - 1)]):
        level = scheduler.sigmas[i] if i % 2 == 0 else scheduler.sigmas_interpol[i - 1]
        if i == 0:
            scheduler.set_begin_index(0)
        x = scheduler.step(answer(x, level.double(), 1.0, 'epsilon'), t, x).prev_sample
    return x, at[-1]


def walk_chain(scheduler, x, at, **options):
    "A chain of betas that has our levels; the last step, to no noise, is left out."
    bar = (1 / (1 + at**2)).flip(0)
    scheduler.alphas_cumprod = bar
    scheduler.alphas = torch.cat([bar[:1], bar[1:] / bar[:-1]])
    scheduler.betas = 1 - scheduler.alphas
    scheduler.one = scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=F64)
    scheduler.set_timesteps(len(at))
    x = bar[-1].sqrt() * x
    for t in scheduler.timesteps[:-1]:
        level = torch.sqrt((1 - bar[t]) / bar[t])
        x = scheduler.step(answer(x, level, bar[t].sqrt(), 'sample'), int(t), x, **options).prev_sample
    return x / bar[0].sqrt(), at[-1]


def their_rows():
    "Name -> (make, walk): schedulers that draw, with settings that keep their order to the last step."
    import diffusers as d
    from diffusers.utils import logging

    logging.set_verbosity_error()  # it asks for a rescaled input, which the exact answer does not need

    plain = {'prediction_type': 'sample', 'lower_order_final': False}
    ends = plain | {'final_sigmas_type': 'sigma_min'}
    multi = lambda order, kind='sde-dpmsolver++', base=None: lambda n: (base or d.DPMSolverMultistepScheduler)(algorithm_type=kind, solver_order=order, **ends)
    single = lambda order: lambda n: d.DPMSolverSinglestepScheduler(algorithm_type='sde-dpmsolver++', solver_order=order, **ends)
    sa = lambda p, c: lambda n: d.SASolverScheduler(predictor_order=p, corrector_order=c, tau_func=lambda t: 1.0, **plain)
    edm = lambda order: (
        lambda n: d.EDMDPMSolverMultistepScheduler(algorithm_type='sde-dpmsolver++', solver_order=order, lower_order_final=False, final_sigmas_type='sigma_min')
    )
    chain = lambda name: lambda n: getattr(d, name)(num_train_timesteps=n + 1, prediction_type='sample', clip_sample=False)

    class Mended(d.DPMSolverMultistepScheduler):
        "The third order with + 0.5 for - 0.5 in the weight of the second difference."

        def multistep_dpm_solver_third_order_update(self, model_output_list, *args, sample=None, noise=None, **kwargs):
            x = super().multistep_dpm_solver_third_order_update(model_output_list, *args, sample=sample, noise=noise, **kwargs)
            lam = -torch.log(self.sigmas[self.step_index - 2 : self.step_index + 2])
            past, h = lam.diff(), lam[3] - lam[2]
            new, old = (model_output_list[-1 - k] - model_output_list[-2 - k] for k in (0, 1))
            second = (new / past[1] - old / past[0]) / (past[0] + past[1]) * h**2
            return x + second / torch.sqrt(1 + self.sigmas[self.step_index + 1] ** 2)

    vp, ve = walk_levels, partial(walk_levels, form='epsilon', preserving=False)
    return {
        'DDPM': (chain('DDPMScheduler'), walk_chain),
        'DDIM, eta 1': (chain('DDIMScheduler'), partial(walk_chain, eta=1.0)),
        'EulerAncestralDiscrete': (lambda n: d.EulerAncestralDiscreteScheduler(), ve),
        'EulerDiscrete, s_churn 40': (lambda n: d.EulerDiscreteScheduler(), churn_walk),
        'KDPM2AncestralDiscrete': (lambda n: d.KDPM2AncestralDiscreteScheduler(use_karras_sigmas=True), walk_stages),
        'DPMSolverMultistep, sde-dpmsolver++ 1': (multi(1), vp),
        'DPMSolverMultistep, sde-dpmsolver++ 2': (multi(2), vp),
        'DPMSolverMultistep, sde-dpmsolver++ 3': (multi(3), vp),
        'the same 3, sign mended': (multi(3, base=Mended), vp),
        'DPMSolverSinglestep, sde-dpmsolver++ 2': (single(2), vp),
        'DPMSolverSinglestep, sde-dpmsolver++ 3': (single(3), vp),
        'EDMDPMSolverMultistep, sde-dpmsolver++ 2': (edm(2), walk_edm),
        'EDMDPMSolverMultistep, sde-dpmsolver++ 3': (edm(3), walk_edm),
        'SASolver, tau 1, predictor 1, corrector 1': (sa(1, 1), vp),
        'SASolver, tau 1, predictor 2, corrector 1': (sa(2, 1), vp),
        'SASolver, tau 1, predictor 2, corrector 2': (sa(2, 2), vp),
        'SASolver, tau 1, predictor 3, corrector 3': (sa(3, 3), vp),
    }


def churn_walk(scheduler, x, at):
    "Euler with s_churn, which is an argument of the step."
    scheduler.set_timesteps(len(at) - 1)
    scheduler.sigmas = at.clone()
    scheduler.set_begin_index(0)
    for t, level in zip(scheduler.timesteps, at):
        x = scheduler.step(answer(x, level, 1.0, 'epsilon'), t, x, s_churn=40.0).prev_sample
    return x, at[-1]


OUR_ROWS = {
    'Euler-Maruyama': euler_maruyama,
    'reverse diffusion': reverse_diffusion,
    'ancestral': ancestral,
    'ddim, eta 0.5': partial(ddim, eta=0.5),
    'ddim_sde, noise level 0.5': partial(ddim_sde, noise_level=0.5),
    'ddim, corrected': corrected(ddim),
    'midpoint_sde': midpoint_sde,
    'midpoint_sde, noise level 0.5': partial(midpoint_sde, noise_level=0.5),
    'midpoint_sde, two noises': two_noises,
    'dpmpp_sde, multistep of order 2': dpmpp_sde,
    'heun, churn 40': churned,
}


def row(errors):
    "Errors by steps, and the order of the last doubling."
    found = {n: {'mean': float(f'{m:.4g}'), 'variance': float(f'{v:.4g}')} for n, (m, v) in errors.items()}
    a, b = list(errors.values())[-2:]
    return {'errors': found, 'order': round(math.log2(abs(a[1] / b[1])), 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='a .json file')
    parser.add_argument(
        '--steps', type=int, nargs='+', default=[48, 96, 192, 384], help='doubling; multiples of six, for solvers that count calls in twos and threes'
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = {'ours': {}, 'diffusers': {}}
    runs = [('ours', name, partial(ours, solver)) for name, solver in OUR_ROWS.items()] + [('ours', 'heun, churn 40, S_noise 1.003', louder)]
    try:
        runs += [('diffusers', name, partial(theirs, *parts)) for name, parts in their_rows().items()]
    except ImportError:
        rows['diffusers'] = 'absent'
    for group, name, run in tqdm(runs):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of settings that will go
                rows[group][name] = row({n: run(n) for n in args.steps})
        except UnboundLocalError as error:
            rows[group][name] = {'raises': f'{type(error).__name__}: {error}'}
    about = {
        'command': f'python -m benchmarks.weak_orders --steps {" ".join(map(str, args.steps))}',
        'data': f'N({MEAN}, {VAR})', 'levels': f'{TOP:g} to {LAST:g}, even in the seventh root', 'chance': 'none',
        'torch': torch.__version__, 'diffusers': release('diffusers'),
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({'about': about, 'rows': rows}, indent=1) + '\n', encoding='utf-8')
    for group, found in rows.items():
        for name, r in found.items() if isinstance(found, dict) else ():
            print(f'{group:10} {name:45}', r.get('order', r.get('raises')), *(f'{e["variance"]:.2e}' for e in r.get('errors', {}).values()))


if __name__ == '__main__':
    main()
