"""Students of one, two or four steps beside the exact flow map: one small network, many losses, errors point by point.

    python -m benchmarks.students                      # all methods: about ten minutes of one core
    python -m benchmarks.students --only meanflow flow  # some of them
    python -m benchmarks.students --table              # print what was measured

The data is the book's reference mixture on the straight path, so the map from noise to data is known. Each student is a
network of about 19,000 weights, trained for 6,000 updates with batches of 256 fresh examples; its error is the root of the
mean square distance from where the exact flow takes the same noise, over 1,000 places of equal probability. Three students
of each method are trained side by side, as one network that shares no weight among them: three seeds at little more than
the time of one. Results are written as they come to diffbook/measured/students.json; what stands there is not trained again
(`--again` does).
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import silu
from tqdm.auto import tqdm

from benchmarks.measure import machine
from diffbook.consistency import Perceptron, consistency_loss, doubling, grid_pairs, pointwise_error, pseudo_huber, quantiles
from diffbook.core import make_generator
from diffbook.exact import reference_mixture
from diffbook.flow_maps import FlowMap, example_velocity, halving_pairs, jump, lagrangian_loss, meanflow_loss, own_velocity, shortcut_loss, uniform_pairs
from diffbook.losses import Denoiser, training_loss, uniform_draw
from diffbook.predictions import predict_velocity
from diffbook.samplers import ddim, euler, heun, sample, uniform_times
from diffbook.schedules import RectifiedFlowSchedule
from diffbook.store.files import write_whole
from diffbook.training import Trainer

FILE = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'students.json'
LAW, SCHEDULE = reference_mixture(), RectifiedFlowSchedule()
EXACT = LAW.denoise(SCHEDULE)
STEPS, BATCH, RATE = 6000, 256, 2e-3
SHOWN = 61  # places of which the chapter draws the map


class SideBySide(nn.Module):
    "Several perceptrons that share no weight; equal parts of a batch belong to one after the other."

    def __init__(self, seeds, cond_dim=0):
        super().__init__()
        nets = []
        for seed in seeds:
            with torch.random.fork_rng([]):
                torch.default_generator.manual_seed(seed)
                nets.append(Perceptron(cond_dim=cond_dim))
        self.count, layers = len(nets), [[part for part in net.layers if isinstance(part, nn.Linear)] for net in nets]
        self.weights = nn.ParameterList(torch.stack([layer.weight.detach().mT for layer in same]) for same in zip(*layers))
        self.biases = nn.ParameterList(torch.stack([layer.bias.detach()[None] for layer in same]) for same in zip(*layers))

    def forward(self, x, noise_level, cond=None):
        told = [x, noise_level.to(x)[:, None] / 1000] + ([] if cond is None else [cond.vec.to(x)])
        h = torch.cat(told, 1).unflatten(0, (self.count, -1))
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            h = torch.bmm(silu(h) if k else h, weight) + bias
        return h.flatten(0, 1)


def denoiser(seeds):
    return Denoiser(SideBySide(seeds), SCHEDULE, predict_velocity)


def flow_map(seeds):
    return FlowMap(SideBySide(seeds, cond_dim=1), SCHEDULE)


def on_grid(n, **options):
    "A consistency loss on n even steps."
    pairs = grid_pairs(uniform_times(SCHEDULE, n))
    return lambda model, x0, generator, step: consistency_loss(model, x0, generator, pairs=pairs, **options)


def growing(first, last, **options):
    "The same with ever more steps."
    grids = {}

    def loss(model, x0, generator, step):
        n = doubling(step, STEPS, first, last)
        pairs = grids.setdefault(n, grid_pairs(uniform_times(SCHEDULE, n)))
        return consistency_loss(model, x0, generator, pairs=pairs, **options)

    return loss


def plain(loss, **options):
    "A loss that does not look at the number of the update."
    return lambda model, x0, generator, step: loss(model, x0, generator, **options)


METHODS = {  # name -> how the model is made, how its loss is made
    'consistency distillation, Heun, 20 steps': (denoiser, lambda: on_grid(20, teacher=EXACT, solver=heun)),
    'consistency distillation, Heun, 10 to 160': (denoiser, lambda: growing(10, 160, teacher=EXACT, solver=heun)),
    'consistency distillation, Euler, 10 to 160': (denoiser, lambda: growing(10, 160, teacher=EXACT, solver=euler)),
    'consistency training, 10 to 160': (denoiser, lambda: growing(10, 160)),
    'consistency training, 10 to 1280': (denoiser, lambda: growing(10, 1280)),
    'consistency training, pseudo-Huber': (denoiser, lambda: growing(10, 1280, distance=partial(pseudo_huber, c=0.00054))),  # the paper's c in one dimension
    'flow': (denoiser, lambda: plain(training_loss, draw=uniform_draw)),
    'lagrangian, exact velocity': (flow_map, lambda: plain(lagrangian_loss, teacher=EXACT, pairs=uniform_pairs(0.0))),
    'lagrangian self-distillation': (flow_map, lambda: plain(lagrangian_loss)),
    'shortcut': (flow_map, lambda: plain(shortcut_loss)),
    'shortcut, half of the batch': (flow_map, lambda: plain(shortcut_loss, pairs=halving_pairs(0.5))),
    'improved meanflow': (flow_map, lambda: plain(meanflow_loss, tangent=own_velocity)),
    'meanflow': (flow_map, lambda: plain(meanflow_loss, tangent=example_velocity)),
    'meanflow, weight of power 1': (flow_map, lambda: plain(meanflow_loss, tangent=example_velocity, power=1.0)),
}


def walked(model, n):
    "What each student draws with n steps."
    step, count = ddim if isinstance(model, Denoiser) else jump, model.net.count
    return lambda x: [*sample(model, SCHEDULE, x.repeat(count, 1), uniform_times(SCHEDULE, n), step)][-1].unflatten(0, (count, -1))


def train(name, seeds, steps):
    "The averaged students after training, in double precision."
    make, loss = METHODS[name][0], METHODS[name][1]()
    clip = len(seeds) ** -0.5  # one for each student, whose gradient is a share of the mean over all
    told = lambda model, x0, generator: loss(model, x0, generator, trainer.step)
    trainer = Trainer(make(seeds), told, lr=RATE, warmup=100, total=steps, clip=clip, ema=0.995, seed=seeds[0], check_every=500)
    data = LAW.sample(1_000_000, make_generator(seeds[0], 'data')).float()
    chosen = (torch.randint(len(data), (BATCH * len(seeds),), generator=make_generator(seeds[0], 'batch', k)) for k in range(steps))
    for _ in tqdm(trainer.fit(data[k] for k in chosen), total=steps, desc=name):
        pass
    return trainer.ema.model.double()


def measure(name, seeds, steps):
    "Students of one method: seconds of the processor, errors by steps, and the map of the first at some places."
    begun = time.process_time()
    model = train(name, seeds, steps)
    spent = time.process_time() - begun
    calls = (8, 100) if name == 'flow' else (1,) if isinstance(model, Denoiser) else (1, 4)
    student = lambda n, k: lambda x: walked(model, n)(x)[k]
    errors = {str(n): [pointwise_error(student(n, k), LAW, SCHEDULE) for k in range(len(seeds))] for n in calls}
    shown = walked(model, calls[0])(quantiles(SCHEDULE, SHOWN))[0, :, 0].tolist()
    return {'seeds': list(seeds), 'errors': errors, 'map': [round(v, 4) for v in shown], 'seconds': round(spent, 1)}


def table(rows):
    "A line for each method: the mean of its errors and each."
    for name, row in rows.items():
        for calls, each in row['errors'].items():
            print(f'{name:44} {calls:>3} steps  {sum(each) / len(each):.3f}  ({", ".join(f"{v:.3f}" for v in each)})')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', default=list(METHODS), choices=list(METHODS), metavar='NAME', help=', '.join(METHODS))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--steps', type=int, default=STEPS)
    parser.add_argument('--out', type=Path, default=FILE)
    parser.add_argument('--again', action='store_true', help='train what was measured before once more')
    parser.add_argument('--table', action='store_true', help='print what was measured, and end')
    args = parser.parse_args()
    measured = lambda: json.loads(args.out.read_text(encoding='utf-8'))['rows'] if args.out.exists() else {}
    torch.set_num_threads(1)
    for name in [] if args.table else args.only:
        if args.again or name not in measured():
            row = measure(name, args.seeds, args.steps)
            rows = measured() | {name: row}  # others may have been measured meanwhile
            about = {'command': 'python -m benchmarks.students', 'updates': args.steps, 'batch': BATCH, 'rate': RATE, 'machine': machine()}
            write_whole(args.out, json.dumps(about | {'rows': {key: rows[key] for key in METHODS if key in rows}}, indent=1).encode() + b'\n')
    table(measured())


if __name__ == '__main__':
    main()
