"""The step rules of diffusers' schedulers, as far as the book has them, each by the name of its class; and the rules that differ from
the book's in a detail, so that a published model gives the published numbers."""

import warnings
from functools import partial
from typing import TYPE_CHECKING

import torch

from ..core import Cond, Data, DenoiseFn, NoiseFn, match_dims, seeded_noise
from ..elbo import VarianceFn
from ..losses import Denoiser
from ..multistep import dpmpp_2m
from ..samplers import Solver, ancestral, ddim, heun
from ..schedules import Schedule
from torch import Tensor

if TYPE_CHECKING:
    from ..pretrained import NoisePlan


def ddim_clipped(
    schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None = None, *,
    clip: float,  # estimates are kept within plus and minus this
    again: float | None = None,  # a time where the walk stays for one more call, as diffusers' does on its first row
    eta: float = 0.0,  # share of fresh noise
    noise: NoiseFn = seeded_noise(0),  # where it comes from
) -> Data:  # x_s
    "DDIM over clipped estimates as diffusers has it: the noise stays that of the estimate before it was clipped."
    x0 = denoise(x, t, cond)
    y = ddim(schedule, lambda *_: x0, x, t, s, cond, eta=eta, noise=noise)
    y = y + match_dims(schedule.alpha(s), x) * (x0.clamp(-clip, clip) - x0)
    return y if again is None or s != again else ddim_clipped(schedule, denoise, y, s, s, cond, clip=clip)


def ancestral_large(
    schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None = None, *,
    noise: NoiseFn = seeded_noise(0),  # where fresh noise comes from
) -> Data:  # x_s
    "The ancestral step with the variance of the way forward, `fixed_large`, on a table (Ho et al. 2020, section 3.2)."
    a, b, _ = (match_dims(c, x) for c in schedule.posterior(t, s))
    std = torch.sqrt(1 - (schedule.alpha(t) / schedule.alpha(s)) ** 2) * (schedule.time(t) > 1)
    return a * x + b * denoise(x, t, cond) + match_dims(std, x) * noise(x, s)


def ancestral_learned(
    schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None = None, *,
    variance: VarianceFn | None = None,  # `denoiser.step_variance`, where `denoise` is not the denoiser itself, but guided or clipped
    noise: NoiseFn = seeded_noise(0),  # where fresh noise comes from
) -> Data:  # x_s
    "The ancestral step with the variance that the network says; the last step is without noise (Nichol and Dhariwal 2021)."
    if variance is None and not isinstance(denoise, Denoiser):
        raise ValueError('the variance is learned and denoise is no Denoiser; give the solver variance=denoiser.step_variance')
    return ancestral(schedule, denoise, x, t, s, cond, noise=noise, variance=variance, both=None if variance else denoise.both)


STEPS: dict[str | None, Solver] = {  # scheduler of the diffusers library -> our step rule
    **dict.fromkeys(('DDIMScheduler', 'DDIMParallelScheduler', 'EulerDiscreteScheduler'), ddim),
    **dict.fromkeys(('DDPMScheduler', 'DDPMParallelScheduler'), ancestral),
    'EulerAncestralDiscreteScheduler': partial(ddim, eta=1.0),
    'HeunDiscreteScheduler': heun,
}
NAMED = {'dpmpp_2m': dpmpp_2m}  # by the settings of a class whose others are not in the book
IN_RATIO = ('HeunDiscreteScheduler',)  # where the rule walks x / alpha over sigma / alpha, and that is not the same walk
IN_SIGMA = tuple(f'{name}DiscreteScheduler' for name in ('Euler', 'EulerAncestral', 'Heun', 'KDPM2', 'LMS'))  # start at sigma times noise


def step_rule(plan: 'NoisePlan') -> Solver:
    "The step rule of a plan's scheduler; DDIM, with a warning, where the book does not have it."
    if plan.rule:
        return NAMED[plan.rule]
    if plan.scheduler and plan.scheduler not in STEPS:
        warnings.warn(f'the step rule of {plan.scheduler} is not in this book; DDIM on its times takes its place', stacklevel=4)
    solver = STEPS.get(plan.scheduler, ddim)
    if solver is ancestral:
        return {'fixed_large': ancestral_large, 'learned': ancestral_learned, 'learned_range': ancestral_learned}.get(plan.variance, ancestral)
    if solver is ddim and plan.clip is not None:
        stays = plan.last > 0 and (plan.spacing == 'linspace' or plan.spacing == 'leading' and plan.offset == 0)
        return partial(ddim_clipped, clip=plan.clip, again=plan.last if stays else None)
    return solver
