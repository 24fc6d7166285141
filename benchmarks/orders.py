"""The order of convergence of every solver of the book, and of every deterministic scheduler of the installed diffusers.

    python -m benchmarks.orders --out diffbook/measured/orders.json

Each walks 64, 128 and 256 steps of the seventh-root grid between sigma / alpha = 20 and 0.02, on the book's mixture of
three, against the exact flow: 50 starts, drawn from seed 0. Methods with memory take their first four steps from exact
states, so that it is exact. The levels are given to diffusers in float64, and its modules are told that float32 means
float64, but where a row says otherwise. What keeps a grid of its own, walks that. `order` is the base-two logarithm of
the ratio of the last two errors. `halvings` are the last three orders of ours on even steps of the log signal-to-noise
ratio, on three schedules and three laws. About three minutes on one core.
"""

import argparse
import contextlib
import importlib
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor
from tqdm import tqdm

from diffbook.conform import BETWEEN, flow_error
from diffbook.core import make_generator
from diffbook.exact import random_mixture, reference_mixture
from diffbook.multistep import DATA, adams_bashforth, deis, dpm_solver, dpmpp_2m, dpmpp_3m, ipndm, multistep, unipc
from diffbook.samplers import ddim, euler, heun
from diffbook.schedules import CosineSchedule, DiscreteSchedule, KarrasSchedule, LinearBetaSchedule, RectifiedFlowSchedule, linear_betas

STEPS, KNOWN, HIGH, LOW = (64, 128, 256), 4, 20.0, 0.02
LAW, RATIO = reference_mixture(), KarrasSchedule(1e3)  # all is computed in x0 + r eps
EXACT = LAW.denoise(RATIO)
START = LAW.at(RATIO, HIGH).sample(50, make_generator(0, 'check_solver'))


def levels(n: int) -> Tensor:
    "The ratios of noise to signal of n steps."
    return torch.linspace(HIGH ** (1 / 7), LOW ** (1 / 7), n + 1, dtype=torch.float64) ** 7


def released_flow(n: int) -> Tensor:
    "The ratios that `use_flow_sigmas` walks: even times of a straight path, from 0.999 to no noise."
    t = torch.linspace(0.999, 0.0, n + 1, dtype=torch.float64)
    return t / (1 - t)


@contextlib.contextmanager
def double(kind: type) -> Iterator[None]:
    "Tell the module of a class that float32 means float64."
    module = importlib.import_module(kind.__module__)
    before, shim = module.torch, SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch) if not name.startswith('__')})
    shim.float32 = torch.float64
    module.torch = shim
    try:
        yield
    finally:
        module.torch = before


# What the states of diffusers' classes are, and what its networks answer


def preserving(r: Tensor) -> tuple[Tensor, Tensor]:
    alpha = 1 / torch.sqrt(1 + r**2)
    return alpha, alpha * r


def exploding(r: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(r), r


def straight(r: Tensor) -> tuple[Tensor, Tensor]:
    return 1 / (1 + r), r / (1 + r)


def tell_noise(x0, eps, r):
    return eps


def tell_velocity(x0, eps, r):
    return eps - x0


def tell_edm(x0, eps, r, data=0.5):
    return (x0 - data**2 / (r**2 + data**2) * (x0 + r * eps)) * torch.sqrt(r**2 + data**2) / (r * data)


def walk(scheduler, scales: Callable, tell: Callable, asked: Tensor, ends: Tensor, known: int) -> float:
    "Walk a scheduler over the levels at which its network is asked; `ends` are those that its steps lead to. The error at the last."
    path = lambda r: LAW.flow(RATIO, START, HIGH, r)
    x = scales(asked[0])[0] * path(asked[0])
    scheduler.set_begin_index(0)
    for i, (r, s, t) in enumerate(zip(asked, ends, scheduler.timesteps)):
        alpha, _ = scales(r)
        if i < known:
            x = alpha * path(r)
        scheduler.is_scale_input_called = True  # some warn without
        y = x / alpha
        x0 = EXACT(y, r)
        x = scheduler.step(tell(x0, (y - x0) / r, r), t, x, return_dict=False)[0]
    return (x / scales(ends[-1])[0] - path(ends[-1])).square().mean().sqrt().item()


def listed(kind: str, scales: Callable = preserving, tell: Callable = tell_noise, *, memory=True, grid: Callable = levels, exact=True, steps=STEPS, **options):
    "A class that reads its levels from a list, which we write."

    def error(n: int, diffusers) -> float:
        cls = getattr(diffusers, kind)
        with double(cls) if exact else contextlib.nullcontext():
            scheduler = cls(**options)
            scheduler.set_timesteps(n)
            r = grid(n) if exact else grid(n).float().double()
            scheduler.sigmas = (scales(r)[1] if scales is straight else r).to(torch.float64 if exact else torch.float32)
            return walk(scheduler, scales, tell, r[:-1], r[1:], KNOWN if memory else 0)

    error.steps = steps
    return error


def twice(kind: str, scales: Callable = exploding, tell: Callable = tell_noise, between: bool = False):
    "A class that asks twice a step: at both ends, or at the end and between."

    def error(n: int, diffusers) -> float:
        cls, r = getattr(diffusers, kind), levels(n)
        with double(cls):
            scheduler = cls()
            scheduler.set_timesteps(n + 1)
            own = scales(r)[1] if scales is straight else r
            middle = torch.sqrt(r[:-1] * r[1:])
            scheduler.sigmas = torch.cat([own[:1], own[1:].repeat_interleave(2), own[-1:]])
            scheduler.sigmas_interpol = torch.cat([own[:1], middle.repeat_interleave(2), own[-1:]])
            scheduler.timesteps = torch.arange(2.0 * n)
            asked = torch.stack([r[:-1], middle if between else r[1:]], 1).flatten()
            ends = torch.stack([middle if between else r[1:], r[1:]], 1).flatten()
            return walk(scheduler, scales, tell, asked, ends, 0)

    return error


TABLE = DiscreteSchedule(linear_betas())


def rows_of_a_table(kind: str, spacing: str, counts=STEPS, **options):
    "A class that counts along the rows of a table of betas: from its first row to no noise, in the table's own law."

    def error(n: int, diffusers) -> float:
        cls = getattr(diffusers, kind)
        scheduler = cls(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, timestep_spacing=spacing, set_alpha_to_one=True, **options)
        scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = torch.cumprod(1 - linear_betas(), 0), torch.tensor(1.0, dtype=torch.float64)
        scheduler.set_timesteps(n)
        denoise, first = LAW.denoise(TABLE), scheduler.timesteps[0].double() + 1
        x = start = LAW.at(TABLE, first).sample(50, make_generator(0, 'check_solver'))
        for t in scheduler.timesteps:
            now = t.double() + 1
            x = scheduler.step(TABLE.eps(x, denoise(x, now), now), t, x, return_dict=False)[0]
        return (x - LAW.flow(TABLE, start, first, 0.0)).square().mean().sqrt().item()

    error.steps = counts
    return error


def angles(n: int, diffusers) -> float:
    "IPNDM keeps a grid of its own, from no signal to no noise; its network tells v."
    with double(diffusers.IPNDMScheduler):
        scheduler, schedule = diffusers.IPNDMScheduler(), CosineSchedule()
        scheduler.set_timesteps(n)
    steps = torch.cat([torch.linspace(1, 0, n + 1, dtype=torch.float64)[:-1], torch.zeros(1, dtype=torch.float64)])
    scheduler.betas = torch.sin(steps * math.pi / 2) ** 2
    scheduler.alphas = torch.sqrt(1 - scheduler.betas**2)
    times, denoise = torch.asin(scheduler.betas) * 2 / math.pi, LAW.denoise(schedule)
    x = start = LAW.at(schedule, 1.0).sample(50, make_generator(0, 'check_solver'))
    scheduler.set_begin_index(0)
    for i, t in enumerate(times[:-1]):
        x0 = denoise(x, t)
        eps = schedule.eps(x, x0, t)
        v = schedule.alpha(t) * eps - schedule.sigma(t) * x0
        x = scheduler.step(v, scheduler.timesteps[i], x, return_dict=False)[0]
    return (x - LAW.flow(schedule, start, 1.0, 0.0)).square().mean().sqrt().item()


def ours(solver: Callable, schedule=RATIO, grid: Callable = levels, known: int = KNOWN):
    def error(n: int, diffusers) -> float:
        r = grid(n)
        return flow_error(solver, LAW, schedule, r if schedule is RATIO else r / (1 + r), known=known)

    return error


def multistep_of(kind: str, algorithm: str, order: int, solver: str = 'midpoint', **more):
    return listed(kind, algorithm_type=algorithm, solver_order=order, solver_type=solver, final_sigmas_type='sigma_min', **more)


ROWS: dict[str, dict[str, Callable]] = {
    'diffbook': {
        'ddim': ours(ddim),
        'euler, in t of the straight path': ours(euler, RectifiedFlowSchedule()),
        'heun': ours(heun),
        'dpmpp_2m': ours(dpmpp_2m),
        'dpmpp_3m': ours(dpmpp_3m),
        'dpmpp_3m, curve 1/2': ours(partial(dpmpp_3m, curve=0.5)),
        'the data in lambda, 2 points': ours(partial(multistep, form=DATA, order=2)),
        'the data in lambda, 4 points': ours(partial(multistep, form=DATA, order=4)),
        **{f'dpm_solver({p})': ours(dpm_solver(p)) for p in (1, 2, 3)},
        **{f'deis({p})': ours(deis(p)) for p in (2, 3, 4)},
        **{f'adams_bashforth({p}), in t of the straight path': ours(adams_bashforth(p), RectifiedFlowSchedule()) for p in (2, 3)},
        **{f'ipndm({p})': ours(ipndm(p)) for p in (2, 3)},
        **{f'unipc({p})': ours(unipc(p)) for p in (1, 2, 3)},
        'dpmpp_2m, on the grid of the straight path, to no noise': ours(dpmpp_2m, RATIO, released_flow, 0),
    },
    'diffusers': {
        'Euler': listed('EulerDiscreteScheduler', exploding, memory=False),
        'EDM Euler': listed('EDMEulerScheduler', exploding, tell_edm, memory=False),
        'FlowMatchEuler': listed('FlowMatchEulerDiscreteScheduler', straight, tell_velocity, memory=False),
        'Heun': twice('HeunDiscreteScheduler'),
        'FlowMatchHeun': twice('FlowMatchHeunDiscreteScheduler', straight, tell_velocity),
        'KDPM2': twice('KDPM2DiscreteScheduler', between=True),
        'DDIM, leading, n divides 1000': rows_of_a_table('DDIMScheduler', 'leading', (50, 100, 200), clip_sample=False),
        'DDIM, trailing, n divides 1000': rows_of_a_table('DDIMScheduler', 'trailing', (50, 100, 200), clip_sample=False),
        'DDIM, trailing': rows_of_a_table('DDIMScheduler', 'trailing', clip_sample=False),
        'DDIM, linspace': rows_of_a_table('DDIMScheduler', 'linspace', clip_sample=False),
        'PNDM, leading, n divides 1000': rows_of_a_table('PNDMScheduler', 'leading', (50, 100, 200), skip_prk_steps=True),
        'PNDM, trailing': rows_of_a_table('PNDMScheduler', 'trailing', skip_prk_steps=True),
        'DPM-Solver++ 1 multistep': multistep_of('DPMSolverMultistepScheduler', 'dpmsolver++', 1),
        'DPM-Solver++ 2 multistep, midpoint': multistep_of('DPMSolverMultistepScheduler', 'dpmsolver++', 2),
        'DPM-Solver++ 2 multistep, heun': multistep_of('DPMSolverMultistepScheduler', 'dpmsolver++', 2, 'heun'),
        'DPM-Solver++ 3 multistep': multistep_of('DPMSolverMultistepScheduler', 'dpmsolver++', 3),
        'DPM-Solver 2 multistep, midpoint': multistep_of('DPMSolverMultistepScheduler', 'dpmsolver', 2),
        'DPM-Solver 2 multistep, heun': multistep_of('DPMSolverMultistepScheduler', 'dpmsolver', 2, 'heun'),
        'DPM-Solver 3 multistep': multistep_of('DPMSolverMultistepScheduler', 'dpmsolver', 3),
        **{
            f'DPM-Solver++ {p} multistep, on the grid of the straight path, to no noise': listed(
                'DPMSolverMultistepScheduler', straight, memory=False, grid=released_flow, solver_order=p, use_flow_sigmas=True, final_sigmas_type='zero'
            )
            for p in (2, 3)
        },
        'EDM DPM-Solver++ 2 multistep': multistep_of('EDMDPMSolverMultistepScheduler', 'dpmsolver++', 2, scales=exploding, tell=tell_edm),
        'EDM DPM-Solver++ 3 multistep': multistep_of('EDMDPMSolverMultistepScheduler', 'dpmsolver++', 3, scales=exploding, tell=tell_edm),
        **{
            f'{name} {p} single-step': multistep_of('DPMSolverSinglestepScheduler', algorithm, p, memory=False, lower_order_final=False, steps=(60, 120, 240))
            for name, algorithm in (('DPM-Solver++', 'dpmsolver++'), ('DPM-Solver', 'dpmsolver'))
            for p in (2, 3)
        },
        **{f'DEIS {p}': listed('DEISMultistepScheduler', solver_order=p) for p in (2, 3)},
        'DEIS 3, levels in float32': listed('DEISMultistepScheduler', solver_order=3, exact=False),
        **{f'UniPC {p}, {b}': listed('UniPCMultistepScheduler', solver_order=p, solver_type=b, lower_order_final=False) for b in ('bh1', 'bh2') for p in (1, 2, 3)},
        'UniPC 3, bh2, the last steps of lower order, as set when nothing is said': listed('UniPCMultistepScheduler', solver_order=3),
        'UniPC 2, on the grid of the straight path, to no noise': listed('UniPCMultistepScheduler', straight, memory=False, grid=released_flow, solver_order=2, use_flow_sigmas=True, final_sigmas_type='zero'),
        'LMS 4': listed('LMSDiscreteScheduler', exploding),
        **{
            f'SA-Solver, tau 0, predictor {p}, corrector {p}{word}': listed(
                'SASolverScheduler', predictor_order=p, corrector_order=p, tau_func=lambda t: 0, lower_order_final=False, exact=not word
            )
            for p, word in ((1, ''), (2, ''), (3, ''), (3, ', levels in float32'))
        },
        'IPNDM, on its own grid': angles,
    },
}  # fmt: skip
LEFT_OUT = {
    'draw noise by themselves: weak orders are another table': 'DDPM* DDPMWuerstchen EulerAncestralDiscrete KDPM2AncestralDiscrete DPMSolverSDE ScoreSdeVe CosineDPMSolverMultistep LTXEulerAncestralRF',
    'no solver of the flow: they jump to the data and back, or a network was trained for their grid': 'CMStochasticIterative LCM TCD SCM UnCLIP FlowMatchLCM FlowMapEuler PiFlow HeliosDMD',
    'the same step under another name': 'DDIMParallel DDPMParallel CogVideoXDDIM CogVideoXDPM Helios MiniMaxH3',
    'lead from data to noise': 'DDIMInverse DPMSolverMultistepInverse',
    'discrete data, or another problem': 'Amused BlockRefinement DiscreteDDIM EntropyBound VQDiffusion RePaint RFD4Proteina',
}


HALVED = {
    'dpmpp_2m': (dpmpp_2m, 2),
    'dpmpp_3m': (dpmpp_3m, 3),
    **{f'dpm_solver({p})': (dpm_solver(p), p) for p in (1, 2, 3)},
    **{f'deis({p})': (deis(p), p) for p in (2, 3)},
    **{f'adams_bashforth({p})': (adams_bashforth(p), p) for p in (2, 3)},
    **{f'unipc({p})': (unipc(p), p + 1) for p in (1, 2, 3)},
}
PLACES = {
    'cosine, mixture': (CosineSchedule(), LAW),
    'variance preserving, random mixture 1': (LinearBetaSchedule(), random_mixture(1)),
    'straight path, random mixture 2': (RectifiedFlowSchedule(), random_mixture(2)),
}


def halvings(name: str) -> dict:
    "The last three orders of a solver of ours, from exact histories."
    solver, order = HALVED[name]
    steps = [n * 2 ** max(0, order - 3) for n in (128, 256, 512, 1024)]
    found = {}
    for place, (schedule, law) in PLACES.items():
        errors = [flow_error(solver, law, schedule, BETWEEN(schedule, n), known=KNOWN) for n in steps]
        found[place] = [round(math.log2(a / b), 3) for a, b in zip(errors, errors[1:])]
    return {'claimed': order, 'steps': steps, 'orders': found}


def measure(error: Callable, diffusers) -> dict:
    steps = getattr(error, 'steps', STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        errors = [error(n, diffusers) for n in steps]
    slopes = [math.log2(a / b) for a, b in zip(errors, errors[1:])]
    return {'steps': steps, 'errors': [float(f'{e:.4g}') for e in errors], 'orders': [round(p, 3) for p in slopes], 'order': round(slopes[-1], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='a .json file')
    parser.add_argument('--only', default='', help='rows whose name holds this; nothing is written')
    args = parser.parse_args()
    torch.set_num_threads(1)
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    todo = [(who, name) for who, rows in ROWS.items() for name in rows if args.only in f'{who}: {name}']
    found: dict[str, dict] = {who: {} for who in ROWS}
    for who, name in (bar := tqdm(todo, disable=None)):
        bar.set_description(name)
        found[who][name] = measure(ROWS[who][name], diffusers)
        if args.only:
            print(f'{who}: {name}: {found[who][name]}', file=sys.stderr)
    halved = {}
    for name in tqdm([name for name in HALVED if args.only in f'halvings: {name}'], disable=None):
        halved[name] = halvings(name)
        if args.only:
            print(f'halvings: {name}: {halved[name]}', file=sys.stderr)
    if args.only:
        return
    about = {
        'command': 'python -m benchmarks.orders --out diffbook/measured/orders.json',
        'diffusers': version('diffusers'),
        'torch': version('torch').split('+')[0],
        'law': 'reference_mixture',
        'n': 50,
        'seed': 0,
        'levels': [HIGH, LOW],
        'known': KNOWN,
    }
    args.out.write_text(json.dumps(about | {'rows': found, 'halvings': halved, 'left out': LEFT_OUT}, indent=1) + '\n')


if __name__ == '__main__':
    main()
