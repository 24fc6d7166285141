"""What guidance costs: drawing with and without it, in two calls a step, in one batched call, and within an interval.

    python -m benchmarks.guidance --out benchmarks/results/guidance.json

The zoo's model of shapes draws the same pictures in every way, so many at once as `--n` says. The ways take turns (ABCCBA...), and each time is divided
by that of drawing without guidance in the same round. The processor's time is measured, which other programs disturb
little. `rows asked` counts the pictures that the network is asked about, for one picture drawn.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from benchmarks.measure import machine, summary
from diffbook.core import Cond, noise
from diffbook.data import from_model
from diffbook.guidance import extrapolate, guide
from diffbook.recognise import caption_agrees, read_shapes
from diffbook.samplers import clip_x0, ddim, sample, uniform_times
from diffbook.shapes import draw_split
from diffbook.training import load

INTERVAL = (0.3, 1.0)  # of time: what is drawn is decided at high noise


class Counted:
    "A denoiser that counts its calls and the rows in them."

    def __init__(self, model):
        self.model, self.calls, self.rows = model, 0, 0

    def __call__(self, x, t, cond=None):
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        return self.model(x, t, cond)


def in_one_call(denoise, null, scale):
    "What guidance would be with one call on a batch that holds both questions."

    def guided(x, t, cond=None):
        both = Cond(**{k: v if v is None else torch.cat([v, getattr(null, k)]) for k, v in vars(cond).items()})
        x0, away = denoise(torch.cat([x, x]), t, both).chunk(2)
        return extrapolate(x0, away, torch.as_tensor(scale))

    return guided


def measure(model, n, args):
    "Seconds and calls of each way to draw `n` pictures."
    world = draw_split(n, 32, 'new scenes', 1, objects=(1,))
    x, times = noise(0, 'start', 0, range(n), (3, 32, 32)).float(), uniform_times(model.schedule, args.steps)
    with torch.inference_mode():
        cond, null = model.condition(list(world.captions)), model.null(n)
    ways = {
        'without guidance': lambda net: net,
        'two calls a step': lambda net: guide(net, null, args.scale),
        'one batched call a step': lambda net: in_one_call(net, null, args.scale),
        f'two calls, only at times {INTERVAL[0]} to {INTERVAL[1]}': lambda net: guide(net, null, args.scale, interval=INTERVAL),
    }
    spent, rows = {name: [] for name in ways}, {}
    for i in range(args.rounds + 1):  # the first round warms up
        for name in list(ways)[:: -1 if i % 2 else 1]:
            net = Counted(model)
            with torch.inference_mode():
                begun = time.process_time()
                *_, x0 = sample(clip_x0(ways[name](net)), model.schedule, x, times, ddim, cond)
                spent[name].append(time.process_time() - begun)
            right = caption_agrees(list(world.captions), read_shapes(from_model(x0)))['all'].double().mean().item()
            rows[name] = {'calls': net.calls, 'rows asked': net.rows / n, 'all facts right': right}
    base = spent['without guidance'][1:]
    for name, seconds in spent.items():
        rows[name] |= {'processor seconds': summary(seconds[1:]), 'of without guidance': summary([a / b for a, b in zip(seconds[1:], base)])}
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='a .json file')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--n', type=int, nargs='+', default=[1, 4, 16, 64], help='pictures at once')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--scale', type=float, default=3.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    about, model = machine(), load('shapes')
    rows = {f'{n} at once': measure(model, n, args) for n in args.n}
    about |= {
        'command': f'python -m benchmarks.guidance --rounds {args.rounds} --n {" ".join(map(str, args.n))}',
        'model': 'shapes',
        'steps': args.steps,
        'scale': args.scale,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({'about': about, 'rows': rows}, indent=1) + '\n')
    print(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
