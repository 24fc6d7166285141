"""Bits per dimension of the zoo's garments: by the probability flow, and by two bounds for the same network and pictures.

    python -m benchmarks.likelihood --n 128 --steps 500     # writes diffbook/measured/likelihood.json, about a quarter of an hour of one core

Pictures are the first n of a fixed order of the test images. Flow: levels are spread evenly over their bins, one random
direction of signs a picture; a second direction tells how much that matters. Continuous bound: stratified draws of the log
signal-to-noise ratio between two ends, with the levels' probability given x at the cleaner end. Discrete bound: every step
of a table that is even in log SNR between the same ends. A picture that is black all over is judged beside the garments.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from diffbook.core import Cond, DenoiseFn, make_generator
from diffbook.data import load_data, to_model
from diffbook.elbo import binned_log_prob, elbo_terms, posterior_variance
from diffbook.gaussian import kl_gaussian
from diffbook.likelihood import bits_per_dim, dequantise, log_likelihood
from diffbook.schedules import DiscreteSchedule, Schedule
from diffbook.store.files import write_whole
from diffbook.training import load

ENDS = (11.0, -10.0)  # log SNR: noise of half a level, and nearly none of the picture
LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1
OUT = Path(__file__).resolve().parents[1] / 'diffbook' / 'measured' / 'likelihood.json'


def flow(model: DenoiseFn, schedule: Schedule, images: Tensor, rtol: float, seed: int, probe: int) -> Tensor:
    "Bits per dimension by the flow, (b,); dequantised by `seed`, along the signs of `probe`."
    x = dequantise(images, make_generator(seed, 'dequantise'))
    log_p = log_likelihood(model, schedule, x, rtol=rtol, divergence='hutchinson', generator=make_generator(probe, 'likelihood'))
    return bits_per_dim(log_p, images[0].numel())


def continuous(model: DenoiseFn, schedule: Schedule, images: Tensor, draws: int, seed: int) -> Tensor:
    "The bound of infinitely many steps, (b,), in bits per dimension (Kingma et al. 2021)."
    generator, x0, nats = make_generator(seed, 'continuous bound'), to_model(images).double(), 0.0
    first, last = schedule.time_at(ENDS[0]), schedule.time_at(ENDS[1])
    noisy = lambda t: schedule.perturb(x0, torch.randn(x0.shape, generator=generator, dtype=torch.float64), t)
    for k in range(draws):
        level = ENDS[0] + (ENDS[1] - ENDS[0]) * (k + torch.rand(len(x0), generator=generator, dtype=torch.float64)) / draws
        t = schedule.time_at(level)
        with torch.no_grad():
            error = (model(noisy(t).float(), t, None).double() - x0).square().flatten(1).sum(1)
        nats = nats + torch.exp(level) * error / 2 * (ENDS[0] - ENDS[1]) / draws
    far = kl_gaussian(schedule.alpha(last) * x0, schedule.sigma(last) ** 2, 0.0, 1.0).flatten(1).sum(1)
    apart = noisy(first)[..., None] - schedule.alpha(first) * LEVELS
    chances = (-apart.square() / (2 * schedule.sigma(first) ** 2)).log_softmax(-1)
    said = chances.gather(-1, images.long()[..., None]).flatten(1).sum(1)
    return (nats + far - said) / (x0[0].numel() * math.log(2))


def discrete(model: DenoiseFn, schedule: Schedule, images: Tensor, steps: int, seed: int) -> Tensor:
    "The bound of chapter 14, (b,), in bits per dimension, for a table with `steps` rows that is even in log SNR."
    kept = torch.sigmoid(torch.linspace(*ENDS, steps, dtype=torch.float64))
    table = DiscreteSchedule(1 - kept / torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]]))

    def denoise(x: Tensor, k: Tensor, cond: Cond | None = None) -> Tensor:
        return model(x, schedule.time_at(table.log_snr(k)), cond)

    generator = make_generator(seed, 'discrete bound')  # the decoder is as wide as the first beta: half a bin, what x says of x0 there
    return elbo_terms(denoise, table, to_model(images), posterior_variance, generator, decoder=binned_log_prob).bits_per_dim


def parts(images: Tensor, args: argparse.Namespace, what: str) -> Iterator[Tensor]:
    return tqdm(images.split(args.batch), desc=what)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--n', type=int, default=128, help='test images')
    parser.add_argument('--batch', type=int, default=32, help='images at once')
    parser.add_argument('--rtol', type=float, default=1e-4, help='tolerance of the flow')
    parser.add_argument('--draws', type=int, default=64, help='of the continuous bound, for each image')
    parser.add_argument('--steps', type=int, default=500, help='of the discrete bound')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=OUT, help='a .json file')
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, data = load('fashion-mnist').eval().requires_grad_(False), load_data('fashion-mnist', 'test')
    index = torch.randperm(len(data), generator=make_generator(args.seed, 'likelihood'))[: args.n]
    images, black = data.images[index], torch.zeros_like(data.images[:1])
    schedule, seed = model.schedule, args.seed
    ask = {
        'flow': lambda part, k: flow(model, schedule, part, args.rtol, seed + k, seed + k),
        'flow, another direction': lambda part, k: flow(model, schedule, part, args.rtol, seed + k, seed + k + 1000),
        'flow, ten times the tolerance': lambda part, k: flow(model, schedule, part, 10 * args.rtol, seed + k, seed + k),
        'continuous bound': lambda part, k: continuous(model, schedule, part, args.draws, seed + k),
        'discrete bound': lambda part, k: discrete(model, schedule, part, args.steps, seed + k),
    }
    bits = {name: [round(v, 4) for k, part in enumerate(parts(images, args, name)) for v in f(part, k).tolist()] for name, f in ask.items()}
    report = {
        'command': f'python -m benchmarks.likelihood --n {args.n} --batch {args.batch} --rtol {args.rtol:g} --draws {args.draws} --steps {args.steps} --seed {seed}',
        'model': 'fashion-mnist', 'data': 'fashion-mnist, test images', 'n': args.n, 'seed': seed, 'rtol': args.rtol, 'draws': args.draws, 'steps': args.steps,
        'classes': list(data.classes), 'labels': data.labels[index].tolist(), 'bits': bits,
        'black': {name: round(f(black, 10_000).item(), 4) for name, f in ask.items()},
    }  # fmt: skip
    order = torch.tensor(bits['flow']).argsort()
    ends = torch.cat([order[:5], order[-5:]])
    report |= {'shown': {'bits': [bits['flow'][i] for i in ends], 'pixels': [bytes(images[i].flatten().tolist()).hex() for i in ends]}}
    write_whole(args.out, (json.dumps(report) + '\n').encode())
    print(json.dumps({name: round(sum(v) / len(v), 3) for name, v in bits.items()} | {'black': report['black']}, indent=1))


if __name__ == '__main__':
    main()
