"""Judge the settings of diffusers' schedulers by class, and say in the book's words what they mean.

Every key has a verdict in `settings.py`; what a class means when it is silent stands here, for classes differ in it.
Keys that a class does not have are left over from another class, as in many published files: diffusers ignores them, and
so do we. Keys that no class has are refused.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..core import register
from ..elbo import learned, learned_range
from ..grids import beta_quantile
from ..losses import scaled_time, table_index
from ..predictions import predict_eps, predict_v, predict_velocity, predict_x0
from ..schedules import DiscreteSchedule, RectifiedFlowSchedule, Schedule, checked_betas, cosine_betas, linear_betas, scaled_linear_betas, zero_terminal_betas
from .settings import ELSEWHERE, OLD, SCHEDULERS, UNREAD

# Tables of betas


def falling_betas(signal: Callable[[float], float]) -> Callable[..., Tensor]:
    "A maker of betas (T, start, end) under which alpha_bar falls as `signal(i / T)`; no beta is above 0.999."

    def betas(T: int, start: float, end: float) -> Tensor:
        return torch.tensor([min(1 - signal((i + 1) / T) / signal(i / T), 0.999) for i in range(T)], dtype=torch.float64)

    return betas


def laplace_signal(u: float) -> float:
    "The root of the signal's share when the log signal-to-noise ratio is Laplace's, as diffusers has it."
    snr = math.exp(-0.5 * math.copysign(1, 0.5 - u) * math.log(1 - 2 * abs(0.5 - u) + 1e-6))
    return math.sqrt(snr / (1 + snr))


def sigmoid_betas(T: int, start: float, end: float) -> Tensor:
    "Rise from `start` to `end` as a sigmoid between -6 and 6."
    return torch.sigmoid(torch.linspace(-6, 6, T, dtype=torch.float64)) * (end - start) + start


TABLES = {'linear': linear_betas, 'scaled_linear': scaled_linear_betas, 'squaredcos_cap_v2': lambda T, start, end: cosine_betas(T)}
PREDICTIONS = {'epsilon': predict_eps, 'sample': predict_x0, 'v_prediction': predict_v}
NO_SAMPLE = {name: f for name, f in PREDICTIONS.items() if name != 'sample'}  # these classes answer a network that says x0 with an error


@register
class RatioTable(DiscreteSchedule):
    "A table of betas between whose rows sigma / alpha is linear, as in diffusers' Euler and its kin."

    def angle(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        t = self.time(t)
        i = t.floor().long().clamp(0, len(self.betas) - 1)
        angles = self.tables(t.device)[1]
        low, high, u = torch.tan(angles[i]), torch.tan(angles[i + 1]), t - i
        ratio, slope = self.between(low, high, u)
        return torch.where(u == 1, angles[i + 1], torch.atan(ratio)), slope / (1 + ratio**2)

    def between(self, low: Tensor, high: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        "The ratio at the share u of the way from one row to the next, and its derivative."
        return low + u * (high - low), high - low


@register
class LogRatioTable(RatioTable):
    "A table of betas between whose rows log(sigma / alpha) is linear, as where diffusers looks for the time of a level."

    def between(self, low: Tensor, high: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        straight, slope = super().between(low, high, u)  # below the first row, where the logarithm has no end
        speed = torch.log(high / low.clamp(min=1e-300))
        curved = low * torch.exp(u * speed)
        return torch.where(low > 0, curved, straight), torch.where(low > 0, curved * speed, slope)


@register
def nearest_row(schedule: DiscreteSchedule, t: Tensor) -> Tensor:
    "Tell a network the row that is nearest to a time, counted from 0."
    return torch.round(table_index(schedule, t))


@register
def row_below(schedule: DiscreteSchedule, t: Tensor) -> Tensor:
    "Tell a network the row at or below a time, counted from 0, as whole numbers are made of others."
    return torch.floor(table_index(schedule, t))


@register
def thousandth_below(schedule: Schedule, t: Tensor) -> Tensor:
    "Tell a network the time of a straight path in whole thousandths, cut off."
    return torch.floor(1000 * schedule.time(t))


TOLD = {'time': table_index, 'nearest row': nearest_row, 'row below': row_below, 'thousandth below': thousandth_below, 'thousandths': scaled_time}  # what the network is told of a time between rows

# Classes

VARIANCES = dict.fromkeys(('fixed_small', 'fixed_small_log', 'fixed_large')) | {'learned': learned, 'learned_range': learned_range}  # of DDPM's step -> who reads it
RHO = 7.0
LEVELS = {  # setting -> noise-to-signal levels between two
    'use_karras_sigmas': lambda top, low, u: torch.lerp(top ** (1 / RHO), low ** (1 / RHO), u) ** RHO,
    'use_exponential_sigmas': lambda top, low, u: torch.exp(torch.lerp(torch.log(top), torch.log(low), u)),
    'use_beta_sigmas': lambda top, low, u: torch.lerp(low, top, beta_quantile(1 - u, 0.6, 0.6)),
}
BASE = {'num_train_timesteps': 1000, 'beta_start': 1e-4, 'beta_end': 0.02, 'beta_schedule': 'linear', 'trained_betas': None,
        'prediction_type': 'epsilon', 'timestep_spacing': 'linspace', 'steps_offset': 0}  # fmt: skip
LEADING = BASE | {'timestep_spacing': 'leading'}
CLIPPED = {'clip_sample': True, 'clip_sample_range': 1.0}
THRESHOLD = {'thresholding': False, 'dynamic_thresholding_ratio': 0.995, 'sample_max_value': 1.0}
OTHER_LEVELS = dict.fromkeys(('use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'), False)
FLOWS = {'use_flow_sigmas': False, 'flow_shift': 1.0, 'use_dynamic_shifting': False, 'time_shift_type': 'exponential'}
ZERO_SNR = {'rescale_betas_zero_snr': False}
ENDS = {'final_sigmas_type': 'zero'}


@dataclass(frozen=True)
class Family:
    "What a class of schedulers means when it is silent, and where it differs from the others."

    silent: Mapping[str, object]  # key -> value
    tables: Mapping[str, Callable] = None  # of betas, by name
    predictions: Mapping[str, Callable] = None  # by name
    whole: bool = True  # times of 'linspace' are rounded to rows
    spare: int = 0  # times that are placed beyond the last one, and left out
    rest: float = 0.0  # alpha_bar at the end of a table that is rescaled to end without signal
    last: float = 0.0  # where sampling ends, if no setting says


DDIM = Family(LEADING | CLIPPED | THRESHOLD | ZERO_SNR | {'set_alpha_to_one': True})
DDPM = Family(LEADING | CLIPPED | THRESHOLD | ZERO_SNR | {'variance_type': 'fixed_small'},
              TABLES | {'sigmoid': sigmoid_betas, 'laplace': falling_betas(laplace_signal)})  # fmt: skip
SMALL = 2.0**-24
SOLVER = BASE | THRESHOLD | OTHER_LEVELS | FLOWS | {'solver_order': 2, 'lower_order_final': True}
FAMILIES = {
    'DDIMScheduler': DDIM,
    'DDIMParallelScheduler': DDIM,
    'DDPMScheduler': DDPM,
    'DDPMParallelScheduler': DDPM,
    'PNDMScheduler': Family(LEADING | {'skip_prk_steps': False, 'set_alpha_to_one': False}, predictions=NO_SAMPLE),
    'EulerDiscreteScheduler': Family(
        BASE | ZERO_SNR | OTHER_LEVELS | ENDS | {'interpolation_type': 'linear', 'timestep_type': 'discrete', 'sigma_min': None, 'sigma_max': None},
        predictions=PREDICTIONS | {'original_sample': predict_x0}, whole=False, rest=SMALL),
    'EulerAncestralDiscreteScheduler': Family(BASE | ZERO_SNR, predictions=NO_SAMPLE, whole=False, rest=SMALL),
    'HeunDiscreteScheduler': Family(
        BASE | OTHER_LEVELS | CLIPPED | {'beta_start': 0.00085, 'beta_end': 0.012, 'clip_sample': False},
        TABLES | {'exp': falling_betas(lambda u: math.exp(-12 * u))}, whole=False),
    'KDPM2DiscreteScheduler': Family(BASE | OTHER_LEVELS | {'beta_start': 0.00085, 'beta_end': 0.012}, whole=False),
    'LMSDiscreteScheduler': Family(BASE | OTHER_LEVELS, whole=False),
    'DPMSolverMultistepScheduler': Family(
        SOLVER | ZERO_SNR | ENDS | {'algorithm_type': 'dpmsolver++', 'solver_type': 'midpoint', 'euler_at_final': False, 'use_lu_lambdas': False,
                                    'lambda_min_clipped': -math.inf, 'variance_type': None}, spare=1, rest=SMALL),
    'UniPCMultistepScheduler': Family(
        SOLVER | ZERO_SNR | ENDS | {'predict_x0': True, 'solver_type': 'bh2', 'disable_corrector': [], 'solver_p': None, 'sigma_min': None,
                                    'sigma_max': None, 'shift_terminal': None}, spare=1, rest=SMALL),
    'FlowMatchEulerDiscreteScheduler': Family({
        'num_train_timesteps': 1000, 'shift': 1.0, 'use_dynamic_shifting': False, 'base_shift': 0.5, 'max_shift': 1.15, 'base_image_seq_len': 256, 'max_image_seq_len': 4096,
        'time_shift_type': 'exponential', 'invert_sigmas': False, 'shift_terminal': None, 'stochastic_sampling': False, **dict.fromkeys(LEVELS, False)}),
    'DEISMultistepScheduler': Family(SOLVER | {'algorithm_type': 'deis', 'solver_type': 'logrho'}, spare=1, last=1.0),
}  # fmt: skip


# Judging


def judged(config: Mapping[str, object]) -> dict[str, object]:
    "All settings of a class, those that its file does not say as the class means them; refuse by name what is not followed."
    name = config.get('_class_name', 'DDIMScheduler')
    if name not in FAMILIES:
        why = f' ({name} is {UNREAD[name]})' if name in UNREAD else ''
        raise ValueError(f'_class_name is {name!r}; supported here: {", ".join(FAMILIES)}{why}')
    verdicts, silent = SCHEDULERS[name], FAMILIES[name].silent
    for key, value in config.items():
        verdict = verdicts.get(key) or OLD.get(key, '')
        if verdict.startswith('refused') and value is not None and value != silent.get(key, True):
            raise ValueError(f'{key} is {value!r}, expected {silent.get(key, True)!r} ({verdict.removeprefix("refused: ")})')
        if not (verdict or value is None or key.startswith('_') or key in ELSEWHERE):
            raise ValueError(f'{key} is {value!r}: no scheduler that is read here has this setting; take it out if it means nothing')
    return dict(silent) | {key: value for key, value in config.items() if key in silent}


def one_of(c: Mapping[str, object], key: str, known: Mapping):
    "What the value of a setting stands for, or a ValueError with those that are known."
    if not isinstance(c[key], str) or c[key] not in known:
        raise ValueError(f'{key} is {c[key]!r}; supported here: {", ".join(known)}')
    return known[c[key]]


def table(c: Mapping[str, object], family: Family) -> Tensor:
    "The betas that the settings describe."
    T, rows = c['num_train_timesteps'], c['trained_betas']
    make = one_of(c, 'beta_schedule', family.tables or TABLES)
    betas = make(T, c['beta_start'], c['beta_end']) if rows is None else checked_betas(rows)
    if len(betas) != T:
        raise ValueError(f'trained_betas holds {len(betas)} betas and num_train_timesteps is {T}, expected the same number')
    if not c.get('rescale_betas_zero_snr'):
        return betas
    betas = zero_terminal_betas(betas)
    before = float(torch.prod(1 - betas[:-1]))
    if family.rest and before <= family.rest:
        raise ValueError(f'rescale_betas_zero_snr is true, and this class leaves {family.rest:.1e} of the signal at the last row, where only {before:.1e} is left at the row before; expected another table')
    if family.rest:  # who divides by alpha ends just before zero
        betas[-1] = 1 - family.rest / before
    return betas


def variance(said: str | None) -> str:
    "The variance of DDPM's step, if it is one of those that are followed."
    if said == 'fixed_large_log':
        raise ValueError('variance_type is fixed_large_log, for which the step of diffusers takes the root of a negative logarithm; expected fixed_large, which is meant')
    if said not in (None, *VARIANCES):
        raise ValueError(f'variance_type is {said!r}, expected one of {", ".join(VARIANCES)}')
    return said or 'fixed_small'


PLAIN = {'algorithm_type': 'dpmsolver++', 'solver_order': 2, 'final_sigmas_type': 'zero'}
RULES: dict[str, list[tuple[dict[str, Any], str]]] = {  # class -> the settings under which its step is a rule of the book, and which; how it ends matters only where noise is left
    'DPMSolverMultistepScheduler': [(PLAIN | {'solver_type': 'midpoint'}, 'dpmpp_2m'), (PLAIN | {'solver_type': 'heun'}, 'dpmpp_2m, exact weight')],
    'UniPCMultistepScheduler': [({'solver_order': 2, 'solver_type': 'bh2', 'predict_x0': True, 'disable_corrector': [], 'solver_p': None, 'final_sigmas_type': 'zero'}, 'unipc_2')],
    'LMSDiscreteScheduler': [({}, 'lms')],
    'PNDMScheduler': [({'skip_prk_steps': True, 'prediction_type': 'epsilon'}, 'plms')],
}
RULE_NAMES = (None, *(found for rules in RULES.values() for _, found in rules))


def rule(name: str, c: Mapping[str, Any]) -> str | None:
    "The step rule that all settings of a class name, if the book has it."
    return next((found for wanted, found in RULES.get(name, ()) if all(c[key] == value for key, value in wanted.items())), None)


def unmatched(name: str, c: Mapping[str, Any]) -> str:
    "The settings for which the book has no step rule, in words."
    asked = [key for wanted, _ in RULES.get(name, ()) for key, value in wanted.items() if c[key] != value]
    return ', '.join(f'{key} {c[key]!r}' for key in dict.fromkeys(asked))


def told(name: str, c: Mapping[str, Any], levels: str | None, family: Family) -> str:
    "What a class tells its network of a time between rows."
    if levels is None or not family.spare:
        return 'time'
    rounds = levels == 'use_karras_sigmas' and not (name == 'DPMSolverMultistepScheduler' and c['beta_schedule'] == 'squaredcos_cap_v2')
    return 'nearest row' if rounds else 'row below'


def flow_arguments(c: Mapping[str, Any], name: str) -> dict[str, Any]:
    "What `NoisePlan` is made of for a straight path, where sigma is the time: no table of betas is read."
    wanted = {'num_train_timesteps': 1000, 'final_sigmas_type': 'zero', **dict.fromkeys(LEVELS, False)}
    for key, value in wanted.items():
        if c.get(key, value) != value:
            raise ValueError(f'{key} is {c[key]!r} and use_flow_sigmas is true, expected {value!r}')
    if not 0 < c['flow_shift'] < math.inf:
        raise ValueError(f'flow_shift is {c["flow_shift"]!r}, expected a positive number')
    first = 'UniPC' if name.startswith('UniPC') else 'DPM'
    return {
        'schedule': RectifiedFlowSchedule(), 'prediction': one_of(c, 'prediction_type', PREDICTIONS | {'flow_prediction': predict_velocity}), 'scheduler': name, 'rule': rule(name, c), 'told': 'thousandth below',
        'unmatched': '' if rule(name, c) else unmatched(name, c), 'flow': (first, float(c['flow_shift'])), 'spare': 1,
    }  # fmt: skip


def euler_arguments(c: Mapping[str, Any], even: bool) -> dict[str, Any]:
    "What `NoisePlan` is made of for Stable Diffusion 3 and FLUX: a shift of the file, or one that grows with the picture."
    if c['num_train_timesteps'] != 1000 or not 0 < c['shift'] < math.inf:
        raise ValueError(f'num_train_timesteps is {c["num_train_timesteps"]!r} and shift {c["shift"]!r}, expected 1000 and a positive number')
    grows = None
    if c['use_dynamic_shifting']:
        slope = (c['max_shift'] - c['base_shift']) / (c['max_image_seq_len'] - c['base_image_seq_len'])
        grows = slope, c['base_shift'] - slope * c['base_image_seq_len']
    return {
        'schedule': RectifiedFlowSchedule(), 'prediction': predict_velocity, 'scheduler': 'FlowMatchEulerDiscreteScheduler',
        'flow': ('even' if even else 'twice', float(c['shift'])), 'grows': grows, 'told': 'thousandths',
    }  # fmt: skip


def euler_times(plan: Any, n: int, tokens: int | None) -> Tensor:
    "Times of Stable Diffusion 3, the last of which is shifted twice, or of FLUX; rounded to single precision where the class does."
    first, shift = plan.flow
    if plan.grows is not None and tokens is None:
        raise ValueError('the shift of this plan grows with the picture, expected the number of its tokens')
    warped = lambda t: shift * t / (1 + (shift - 1) * t)  # noqa: E731
    least = torch.tensor(1.0) / 1000  # of the table of training, in single precision
    least = (least if plan.grows else warped(least)).item()
    step = torch.arange(n, dtype=torch.float64)
    if first == 'even':
        t = (1 + step * ((1 / n - 1) / max(n - 1, 1))).float()
    else:
        t = (1000 + step * ((1000 * least - 1000) / max(n - 1, 1))) / 1000
    if plan.grows is not None:
        k = math.exp(plan.grows[0] * tokens + plan.grows[1])
        warped = lambda t: torch.as_tensor(k, dtype=t.dtype) / (k + (1 / t - 1))  # noqa: E731  a division, as NumPy's
    return torch.cat([warped(t).float().double(), torch.zeros(1, dtype=torch.float64)])


def flow_times(plan: Any, n: int, tokens: int | None = None) -> Tensor:
    "Times of a straight path as published: even ones, shifted, down to no noise."
    first, shift = plan.flow
    if plan.scheduler == 'FlowMatchEulerDiscreteScheduler':
        return euler_times(plan, n, tokens)
    even = torch.linspace(1, 0.001, n + 1, dtype=torch.float64)
    even = even[:-1] if first == 'UniPC' else (1 - even).flip(0)[:-1]
    t = shift * even / (1 + (shift - 1) * even)
    t[0] -= 1e-6 * (abs(t[0] - 1) < 1e-6)  # whose logarithm of alpha would be infinite
    return torch.cat([t, torch.zeros(1, dtype=torch.float64)])


def plan_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    "What `NoisePlan` is made of, from the settings of a published scheduler."
    c, name = judged(config), config.get('_class_name', 'DDIMScheduler')
    if c.get('use_flow_sigmas'):
        return flow_arguments(c, name)
    if name == 'FlowMatchEulerDiscreteScheduler':
        return euler_arguments(c, bool(config.get('_even')))
    family = FAMILIES[name]
    last = {'zero': 0.0, 'sigma_min': 1.0}
    levels = [key for key in LEVELS if c.get(key)]
    if len(levels) > 1:
        raise ValueError(f'{" and ".join(levels)} are both true, expected one of them')
    between = c['timestep_spacing'] == 'linspace' and not family.whole
    kind = LogRatioTable if levels else RatioTable if between else DiscreteSchedule
    plan = {
        'schedule': kind(table(c, family)), 'prediction': one_of(c, 'prediction_type', family.predictions or PREDICTIONS),
        'spacing': c['timestep_spacing'], 'offset': c['steps_offset'], 'whole': family.whole, 'spare': family.spare,
        'halves': 3 if c.get('skip_prk_steps') is False else 0, 'levels': levels[0] if levels else None, 'clip': c['clip_sample_range'] if c.get('clip_sample') else None,
        'variance': variance(c.get('variance_type')), 'scheduler': config.get('_class_name'), 'rule': rule(name, c),
        'told': told(name, c, levels[0] if levels else None, family), 'unmatched': '' if rule(name, c) else unmatched(name, c),
    }  # fmt: skip
    plan['last'] = one_of(c, 'final_sigmas_type', last) if 'final_sigmas_type' in c else float(not c['set_alpha_to_one']) if 'set_alpha_to_one' in c else family.last
    least = float(plan['schedule'].log_snr(plan['schedule'].t_max)) / 2
    if c.get('lambda_min_clipped', -math.inf) > least:
        raise ValueError(f'lambda_min_clipped is {c["lambda_min_clipped"]}, expected at most {least:.3g}, half the least log signal-to-noise ratio of this table: a table that is cut is not followed')
    return plan


SPACINGS = ('leading', 'trailing', 'linspace')


def check_plan(plan: Any) -> None:
    "Refuse a plan of which a part is not what stands in its place."
    counts = all(type(v) is int and v >= 0 for v in (plan.offset, plan.spare, plan.halves))
    if plan.spacing not in SPACINGS or not counts or plan.last not in (0, 1) or not (plan.clip is None or plan.clip > 0):
        said = f'spacing is {plan.spacing!r}, offset {plan.offset!r}, last {plan.last!r}, clip {plan.clip!r}, spare {plan.spare!r}, halves {plan.halves!r}'
        raise ValueError(f'{said}; expected one of {", ".join(SPACINGS)}, a whole number from 0, 0 or 1, a positive number or None, whole numbers from 0')
    for name, value, known in (('levels', plan.levels, (None, *LEVELS)), ('variance', plan.variance, VARIANCES), ('rule', plan.rule, RULE_NAMES), ('told', plan.told, TOLD)):
        if value not in known:
            raise ValueError(f'{name} is {value!r}, expected one of {", ".join(map(str, known))}')


def spaced(plan: Any, T: int, n: int) -> Tensor:
    "Falling times, counted from 1 as in this book (Lin et al. 2024, table 2), rounded by NumPy's arithmetic as published."
    step, m = torch.arange(n + plan.spare, dtype=torch.float64), n + plan.spare
    if plan.spacing == 'leading':
        t = step.flip(0)[:n] * (T // m) + plan.offset + 1
    elif plan.spacing == 'trailing':
        t = torch.round(T + step[:n] * (T - T / n - T))
    else:
        rows = step * ((T - 1) / max(m - 1, 1))
        t = (torch.round(rows) if plan.whole else rows.float().double()).flip(0)[:n] + 1
    halved = zip(t[: plan.halves], t[1:] + T // n // 2)
    return torch.cat([*(torch.stack(pair) for pair in halved), t[plan.halves :]])


def placed(plan: Any, t: Tensor) -> Tensor:
    "Move the inner times to levels that are placed by another rule; the ends stay."
    if plan.levels is None or len(t) < 2:
        return t
    if plan.told != 'time':  # the whole table, wherever the spacing begins
        t = torch.linspace(plan.schedule.t_max, 1, len(t), dtype=torch.float64)
    top, low = (torch.exp(-plan.schedule.log_snr(end) / 2) for end in (t[0].clamp(max=plan.schedule.t_max), t[-1]))
    levels = LEVELS[plan.levels](top, low, torch.linspace(0, 1, len(t), dtype=torch.float64))
    return torch.cat([t[:1], plan.schedule.time_at(-2 * torch.log(levels[1:-1])), t[-1:]])


EARLY = 0.05  # of the variance at the first time, at most, may be data that the table's end no longer has


def check_start(plan: Any, t: Tensor, n: int) -> None:
    "Refuse a first time beyond the table, or where sampling ends; warn of one that is far from noise."
    T = plan.schedule.t_max
    if t > T:
        raise ValueError(f'n is {n}, and with offset {plan.offset} the first time is {t:g}, beyond the table of {T:g}: take fewer steps')
    if t <= plan.last:
        raise ValueError(f'n is {n}, and with {plan.spacing} spacing the only step begins where sampling ends: take more steps, or trailing spacing')
    here, there = (plan.schedule.alpha(s).item() ** 2 for s in (t, T))
    if here - there > EARLY:
        warnings.warn(
            f'n is {n}, and with {plan.spacing} spacing sampling begins with pure noise at t = {t:g} of {T:g}, where {here:.1%} of the variance is data: '
            "take more steps, or trailing spacing (config={'timestep_spacing': 'trailing'})", stacklevel=4)


WRITTEN = ('DDIMScheduler', 'DDPMScheduler', 'PNDMScheduler', 'EulerDiscreteScheduler', 'HeunDiscreteScheduler', 'LMSDiscreteScheduler', 'DPMSolverMultistepScheduler', 'UniPCMultistepScheduler', 'DEISMultistepScheduler')


def plan_settings(plan: Mapping[str, object]) -> dict[str, object]:
    "The settings of the first class that mean this plan: they are read back, and must say the same."
    clip, last, levels = plan['clip'], plan['last'], plan['levels']
    betas = plan['schedule'].betas.tolist()
    said = {
        'num_train_timesteps': len(betas), 'trained_betas': betas, 'timestep_spacing': plan['spacing'], 'steps_offset': plan['offset'],
        'prediction_type': next(name for name, f in PREDICTIONS.items() if f is plan['prediction']), 'clip_sample': clip is not None,
        'clip_sample_range': clip or 1.0, 'set_alpha_to_one': last == 0, 'final_sigmas_type': 'sigma_min' if last else 'zero',
        'skip_prk_steps': plan['halves'] == 0, 'solver_order': 2 if plan['rule'] else 1,  # of order one it is DDIM
        'solver_type': {'dpmpp_2m, exact weight': 'heun', 'unipc_2': 'bh2'}.get(plan['rule'], 'midpoint'),
    } | dict.fromkeys(filter(None, [levels]), True) | ({} if plan['variance'] == 'fixed_small' else {'variance_type': plan['variance']})  # fmt: skip
    for name in WRITTEN:
        c = {'_class_name': name} | {key: value for key, value in said.items() if key in FAMILIES[name].silent}
        try:
            if all(value == plan[key] for key, value in plan_arguments(c).items() if key not in ('schedule', 'scheduler', 'unmatched')):
                return c
        except ValueError:
            continue
    wanted = ', '.join(f'{key} {value!r}' for key, value in plan.items() if key not in ('schedule', 'prediction', 'scheduler', 'unmatched'))
    raise ValueError(f'no scheduler of diffusers means {wanted}; expected a plan as load_schedule reads it')


def plan_config(plan: Any) -> dict[str, object]:
    "Describe a `NoisePlan` as the first scheduler of diffusers that means the same: the table is written out."
    if plan.prediction not in PREDICTIONS.values() or not isinstance(plan.schedule, DiscreteSchedule):
        raise ValueError(f'prediction is {plan.prediction}, schedule {type(plan.schedule).__name__}: expected one of {", ".join(PREDICTIONS)}, and a DiscreteSchedule')
    return plan_settings({field.name: getattr(plan, field.name) for field in fields(plan)})
