"""The step rules of diffusers' schedulers, as far as the book has them, each by the name of its class; and the rules that differ from
the book's in a detail, so that a published model gives the published numbers."""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from ..core import Cond, Data, DenoiseFn, NoiseFn, match_dims, seeded_noise
from ..elbo import VarianceFn
from ..losses import Denoiser
from ..multistep import DATA, deis, dpmpp_2m, integrals, multistep
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


PLMS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))  # newest first


def plms(
    schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None = None, *,
    end: float | None = None,  # the last time, if no network is asked there
    past: Sequence[tuple[Tensor, Data]] = (),  # times and estimates of the noise, newest last; a list gets this step's
) -> Data:  # x_s
    "Carry the noise on by constant weights, and begin with the mean of both ends (pseudo linear multistep; Liu et al. 2022, without Runge and Kutta)."
    eps, level = schedule.eps(x, denoise(x, t, cond), t), lambda u: match_dims(schedule.sigma(u) / schedule.alpha(u), x)
    leap = lambda e: match_dims(schedule.alpha(s), x) * (x / match_dims(schedule.alpha(t), x) + (level(s) - level(t)) * e)  # noqa: E731  DDIM, with any noise
    told = [*past, (t, eps)][-4:]
    mixed = sum(share * old for share, (_, old) in zip(PLMS[len(told) - 1], reversed(told)))
    if not past and s != end:
        there = leap(eps)
        mixed = (eps + schedule.eps(there, denoise(there, s, cond), s)) / 2
    if isinstance(past, list):
        past[:] = told
    return leap(mixed)


def unipc_bh2(
    schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None = None, *,
    past: Sequence[tuple[Tensor, Data]] = (),  # times and estimates of the steps before, newest last; a list gets this step's
) -> Data:  # x_s
    "UniPC of order two as published: half of the slope where the exact weight would differ in the third order, in the first correction and in every prediction (Zhao et al. 2023)."
    x0, clock = denoise(x, t, cond), lambda u: schedule.log_snr(u) / 2
    if past:  # mend the step that led here, from u
        (u, was), h = past[-1], clock(t) - clock(past[-1][0])
        full = schedule.alpha(t) * -torch.expm1(-h)  # the weight of an estimate that stays
        if len(past) == 1:
            x = x + match_dims(full / 2, x) * (x0 - was)
        else:
            places = torch.stack([clock(v) for v in (past[-2][0], u, t)])
            older, _, newest = integrals(places, clock(u), clock(t), lambda c: schedule.alpha(t) * torch.exp(c - clock(t)))
            said = full * h / 2 / (places[0] - places[1])  # by the prediction
            x = x + match_dims(older - said, x) * (past[-2][1] - was) + match_dims(newest, x) * (x0 - was)
    y = dpmpp_2m(schedule, lambda *_: x0, x, t, s, cond, past=tuple(past[-1:]))
    if isinstance(past, list):
        past[:] = [*past, (t, x0)][-2:]
    return y


STEPS: dict[str | None, Solver] = {  # scheduler of the diffusers library -> our step rule
    **dict.fromkeys(('DDIMScheduler', 'DDIMParallelScheduler', 'EulerDiscreteScheduler', 'FlowMatchEulerDiscreteScheduler'), ddim),
    **dict.fromkeys(('DDPMScheduler', 'DDPMParallelScheduler'), ancestral),
    'EulerAncestralDiscreteScheduler': partial(ddim, eta=1.0),
    'HeunDiscreteScheduler': heun,
}
NAMED: dict[str, Solver] = {  # by the settings of a class whose others are not in the book
    'dpmpp_2m': dpmpp_2m, 'dpmpp_2m, exact weight': partial(multistep, form=DATA, order=2), 'unipc_2': unipc_bh2, 'lms': deis(4), 'plms': plms,
}  # fmt: skip
IN_RATIO = ('HeunDiscreteScheduler',)  # where the rule walks x / alpha over sigma / alpha, and that is not the same walk
IN_SIGMA = tuple(f'{name}DiscreteScheduler' for name in ('Euler', 'EulerAncestral', 'Heun', 'KDPM2', 'LMS'))  # start at sigma times noise


def stays(plan: 'NoisePlan') -> bool:
    "Whether diffusers asks once more on the first row, where the walk of this plan has ended."
    return plan.last > 0 and (plan.spacing == 'linspace' or plan.spacing == 'leading' and plan.offset == 0)


def step_rule(plan: 'NoisePlan') -> Solver:
    "The step rule of a plan's scheduler; DDIM, with a warning, where the book does not have it."
    if plan.rule:
        return partial(plms, end=None if stays(plan) else plan.last) if plan.rule == 'plms' else NAMED[plan.rule]
    if plan.scheduler and plan.scheduler not in STEPS:
        why = f', which has {plan.unmatched},' if plan.unmatched else ''
        warnings.warn(f'the step rule of {plan.scheduler}{why} is not in this book; DDIM on its times takes its place, or give a solver', stacklevel=4)
    solver = STEPS.get(plan.scheduler, ddim)
    if solver is ancestral:
        return {'fixed_large': ancestral_large, 'learned': ancestral_learned, 'learned_range': ancestral_learned}.get(plan.variance, ancestral)
    if solver is ddim and plan.clip is not None:
        return partial(ddim_clipped, clip=plan.clip, again=plan.last if stays(plan) else None)
    return solver
