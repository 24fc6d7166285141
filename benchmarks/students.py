"""Students of one, two or four steps beside the exact flow map: one small network, many losses, errors point by point.

    python -m benchmarks.students                                  # all methods, seeds 0 to 2: about half an hour of one core
    python -m benchmarks.students --only "meanflow" --seeds 0 1    # some of them
    python -m benchmarks.students --table                          # print what was measured

The data is the book's reference mixture on the straight path, so the map from noise to data is known. Each student is a
network of about 19,000 weights, trained for 6,000 updates with batches of 256 fresh examples; its error is the root of the
mean square distance from where the exact flow takes the same noise, over 1,000 places of equal probability. Results are
written as they come to diffbook/measured/students.json; what stands there is not trained again (`--again` does).
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch
from tqdm.auto import tqdm

from benchmarks.measure import machine
from diffbook.consistency import Perceptron, consistency_loss, doubling, grid_pairs, pointwise_error, pseudo_huber, quantiles
from diffbook.core import make_generator, noise
from diffbook.exact import reference_mixture
from diffbook.flow_maps import FlowMap, jump, lagrangian_loss, meanflow_loss, own, sampled, shortcut_loss, uniform_pairs
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


def denoiser():
    return Denoiser(Perceptron(), SCHEDULE, predict_velocity)


def flow_map():
    return FlowMap(Perceptron(cond_dim=1), SCHEDULE)


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


def known_map(rows=400, each=256):
    "Regress the oracle's own map: what this network can do at best."
    generator, draw = make_generator(0, 'known map'), uniform_pairs(0.0)
    pairs = torch.stack(draw(SCHEDULE, rows, generator), 1)
    states = [LAW.at(SCHEDULE, t).sample(each, generator) for t, _ in pairs]
    ends = [LAW.flow(SCHEDULE, x, t, s) for x, (t, s) in zip(states, pairs)]
    x, end, (t, s) = torch.cat(states).float(), torch.cat(ends).float(), pairs.repeat_interleave(each, 0).unbind(1)

    def loss(model, x0, generator, step):
        k = torch.randint(len(x), (len(x0),), generator=generator)
        u = (x[k] - end[k]).double() / (t[k] - s[k])[:, None]
        return (model.velocity(x[k], t[k], s[k]) - u.float()).square().mean(1)

    return loss


def plain(loss, **options):
    "A loss that does not look at the number of the update."
    return lambda model, x0, generator, step: loss(model, x0, generator, **options)


METHODS = {  # name -> how the model is made, how its loss is made
    'known map': (flow_map, known_map),
    'consistency distillation, Heun, 20 steps': (denoiser, lambda: on_grid(20, teacher=EXACT, solver=heun)),
    'consistency distillation, Heun, 10 to 160': (denoiser, lambda: growing(10, 160, teacher=EXACT, solver=heun)),
    'consistency distillation, Euler, 10 to 160': (denoiser, lambda: growing(10, 160, teacher=EXACT, solver=euler)),
    'consistency training, 10 to 160': (denoiser, lambda: growing(10, 160)),
    'consistency training, 10 to 1280': (denoiser, lambda: growing(10, 1280)),
    'consistency training, pseudo-Huber': (denoiser, lambda: growing(10, 1280, distance=partial(pseudo_huber, c=0.01))),
    'flow': (denoiser, lambda: plain(training_loss, draw=uniform_draw)),
    'lagrangian, exact velocity': (flow_map, lambda: plain(lagrangian_loss, teacher=EXACT, pairs=uniform_pairs(0.0))),
    'lagrangian self-distillation': (flow_map, lambda: plain(lagrangian_loss)),
    'shortcut': (flow_map, lambda: plain(shortcut_loss)),
    'improved meanflow': (flow_map, lambda: plain(meanflow_loss, tangent=own)),
    'meanflow': (flow_map, lambda: plain(meanflow_loss, tangent=sampled)),
    'meanflow, weight of power 1': (flow_map, lambda: plain(meanflow_loss, tangent=sampled, power=1.0)),
}


def walked(model, n):
    "What draws with n steps."
    step = ddim if isinstance(model, Denoiser) else jump
    return lambda x: [*sample(model, SCHEDULE, x, uniform_times(SCHEDULE, n), step)][-1]


def train(name, seed, steps):
    "The averaged model after training, in double precision."
    make, loss = METHODS[name][0], METHODS[name][1]()
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        model = make()
    trainer = Trainer(model, lambda m, x0, g: loss(m, x0, g, trainer.step), lr=RATE, warmup=100, total=steps, ema=0.995, seed=seed, check_every=500)
    batches = (LAW.sample(BATCH, make_generator(seed, 'data', k)).float() for k in range(steps))
    for _ in tqdm(trainer.fit(batches), total=steps, desc=f'{name}, seed {seed}'):
        pass
    return trainer.ema.model.double()


def measure(name, seed, steps):
    "One student: seconds of the processor, errors by steps, and its map at some places."
    begun = time.process_time()
    model = train(name, seed, steps)
    spent = time.process_time() - begun
    calls = (8, 100) if name == 'flow' else (1,) if isinstance(model, Denoiser) else (1, 4)
    errors = {str(n): pointwise_error(walked(model, n), LAW, SCHEDULE) for n in calls}
    shown = walked(model, calls[0])(quantiles(SCHEDULE, SHOWN))[:, 0].tolist()
    return {'errors': errors, 'map': [round(v, 4) for v in shown], 'seconds': round(spent, 1)}


def table(rows):
    "A line for each method: its errors, mean and every seed."
    for name, runs in rows.items():
        for calls in next(iter(runs.values()))['errors']:
            each = [run['errors'][calls] for run in runs.values()]
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
    kept = json.loads(args.out.read_text(encoding='utf-8')) if args.out.exists() else {'rows': {}}
    rows = kept['rows']
    if args.table:
        return table(rows)
    torch.set_num_threads(1)
    for seed in args.seeds:
        for name in args.only:
            if args.again or str(seed) not in rows.get(name, {}):
                rows.setdefault(name, {})[str(seed)] = measure(name, seed, args.steps)
                about = {'command': 'python -m benchmarks.students', 'updates': args.steps, 'batch': BATCH, 'rate': RATE, 'machine': machine()}
                order = {key: dict(sorted(rows[key].items())) for key in METHODS if key in rows}
                write_whole(args.out, json.dumps(about | {'rows': order}, indent=1).encode() + b'\n')
    table(rows)


if __name__ == '__main__':
    main()
