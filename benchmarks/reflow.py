"""Train small flows in the plane, couple and reflow them, and measure what one to thirty-two Euler steps draw.

    python -m benchmarks.reflow                 # three seeds; about three minutes of one core
    python -m benchmarks.reflow --seeds 0 --steps 300 --out /tmp/reflow.json

Data are the eight bumps on a circle. For each seed a flow is trained on independent pairs, one on pairs by minibatch
optimal transport, one on the first one's own pairs (reflow), and one on the pairs of that (reflow twice): the same
network, updates and batch. Writes diffbook/measured/reflow.json: the sliced Wasserstein distance to the data by steps,
beside that of other data; straightness; and the distance from the map of the first flow. Chapter 61 reads it. A run that
stops goes on when the command is given again: seeds that stand in the file are kept.
"""

import argparse
import copy
import json
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from diffbook.core import generator, noise
from diffbook.data import gaussian_ring
from diffbook.exact import GaussianMixture
from diffbook.flows import Mlp, coupled_loss
from diffbook.losses import Denoiser, training_loss, uniform_draw
from diffbook.predictions import predict_velocity
from diffbook.reflow import reflow_loss, reflow_pairs, straightness
from diffbook.samplers import euler, heun, sample, uniform_times
from diffbook.schedules import RectifiedFlowSchedule
from diffbook.store.files import write_whole

OUT = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'reflow.json'
FLOW, RING, BATCH, RATE = RectifiedFlowSchedule(), GaussianMixture(*gaussian_ring()), 256, 6e-3
STEPS = (1, 2, 4, 8, 16, 32)


def train(model: Denoiser, loss, draw, steps: int, seed: int, bar: tqdm) -> Denoiser:
    "Make so many updates at a rate that falls to zero; `draw` gives a batch."
    g, optimizer = generator(seed, 'reflow train'), torch.optim.AdamW(model.parameters(), lr=RATE)
    for step in range(steps):
        optimizer.param_groups[0]['lr'] = RATE * (1 - step / steps)
        optimizer.zero_grad()
        loss(model, draw(g), g).mean().backward()
        optimizer.step()
        bar.update()
    return model.eval()


def fresh(seed: int) -> Denoiser:
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return Denoiser(Mlp(2), FLOW, predict_velocity)


def walk(model: Denoiser, x: Tensor, steps: int, solver=euler) -> Tensor:
    *_, x = sample(model, FLOW, x, uniform_times(FLOW, steps), solver)
    return x


def sliced(a: Tensor, b: Tensor, directions: int = 64) -> float:
    "The mean over directions of the Wasserstein-1 distance of the shadows of two clouds of one size."
    angle = torch.pi * torch.arange(directions, dtype=torch.float64) / directions
    shadow = lambda x: (x.double() @ torch.stack([angle.cos(), angle.sin()])).sort(0).values
    return (shadow(a) - shadow(b)).abs().mean().item()


def measure(model: Denoiser, teacher: Denoiser, data: Tensor, x: Tensor) -> dict:
    times = uniform_times(FLOW, 32)
    states = torch.stack([x[:4000], *sample(model, FLOW, x[:4000], times, heun)])
    target = walk(teacher, x[:4000], 32, heun)
    return {
        'sliced': [sliced(walk(model, x, n), data) for n in STEPS],
        'straightness': straightness(times, states).mean().item(),
        'to_teacher': (walk(model, x[:4000], 1) - target).square().mean().sqrt().item(),
    }


def run(seed: int, steps: int, bar: tqdm) -> dict:
    real = lambda g: RING.sample(BATCH, g).float()
    plain = lambda model, x0, g: training_loss(model, x0, g, draw=uniform_draw)
    first = train(fresh(seed), plain, real, steps, seed, bar)
    models = {'independent': first, 'coupled': train(fresh(seed), coupled_loss, real, steps, seed, bar)}
    teacher = first
    for name, calls in (('reflow', 32), ('reflow twice', 32)):
        x0, eps = reflow_pairs(teacher, FLOW, noise(seed, f'pairs {name}', 0, range(20_000), (2,)).float(), uniform_times(FLOW, calls), heun)
        cut = lambda g, x0=x0, eps=eps: (lambda rows: (x0[rows], eps[rows]))(torch.randint(len(x0), (BATCH,), generator=g))
        teacher = models[name] = train(copy.deepcopy(teacher), reflow_loss, cut, steps, seed, bar)
    data, other = (RING.sample(10_000, generator(seed, f'reflow {word}')) for word in ('data', 'other data'))
    x = noise(seed, 'reflow start', 0, range(10_000), (2,)).float()
    return {'seed': seed, 'floor': sliced(other, data)} | {name: measure(model, first, data, x) for name, model in models.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.reflow', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--steps', type=int, default=3000, help='updates of each training')
    parser.add_argument('--out', type=Path, default=OUT)
    a = parser.parse_args()
    torch.set_num_threads(1)
    result = {'command': 'python -m benchmarks.reflow', 'seeds': [], 'updates': a.steps, 'batch': BATCH, 'n': 10_000, 'steps': list(STEPS), 'rows': []}
    had = json.loads(a.out.read_text()) if a.out.exists() else {'updates': a.steps, 'rows': []}
    kept = {row['seed']: row for row in had['rows'] if had['updates'] == a.steps}
    with tqdm(total=4 * a.steps * len(a.seeds), desc='updates') as bar:
        for seed in a.seeds:
            result['rows'].append(kept[seed] if seed in kept else run(seed, a.steps, bar))
            result['seeds'].append(seed)
            write_whole(a.out, (json.dumps(result, indent=1) + '\n').encode())
    for row in result['rows']:
        print(row)


if __name__ == '__main__':
    main()
