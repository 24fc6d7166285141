"""Denoising score matching by a small network: how near to the floor, at five noise levels, on the reference mixture.

    python -m benchmarks.score --out diffbook/measured/score.json

A network of two hidden layers learns from draws of the mixture, by the loss of a denoiser at five noise levels alone, which take equal
parts of each batch. Its loss on the noise is then found by quadrature, not by draws: the floor, which no network can beat, and what it
loses beyond, as a share of the floor.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from diffbook.core import make_generator
from diffbook.exact import reference_mixture
from diffbook.losses import Denoiser, quarter_log_noise, training_loss, unit_input
from diffbook.predictions import predict_edm, predict_eps
from diffbook.schedules import KarrasSchedule
from diffbook.score import expectation, score_at

LEVELS = (0.1, 0.3, 1.0, 3.0, 10.0)
SCHEDULE, LAW = KarrasSchedule(20.0), reference_mixture()


class Small(nn.Module):
    "Two hidden layers, told the level beside x."

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, x, noise_level, cond=None):
        return self.layers(torch.cat([x, 4 * noise_level[:, None]], 1))


def learn(seed, args):
    "A network trained on the five levels."
    torch.manual_seed(seed)
    spread = float(LAW.weights @ (LAW.covs[:, 0, 0] + LAW.means[:, 0] ** 2) - (LAW.weights @ LAW.means[:, 0]) ** 2) ** 0.5
    denoiser = Denoiser(Small(args.width), SCHEDULE, predict_edm(spread), noise_input=quarter_log_noise, input_scale=unit_input(spread))
    adam = torch.optim.Adam(denoiser.parameters(), lr=args.lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, args.steps)
    source, levels = make_generator(seed, 'score'), torch.tensor(LEVELS).double().repeat(args.batch // len(LEVELS))
    for _ in tqdm(range(args.steps), desc=f'seed {seed}'):
        x0 = LAW.sample(len(levels), source).float()
        loss = training_loss(denoiser, x0, source, draw=lambda *_: levels).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        falling.step()
    return denoiser


def beyond(denoiser, level):
    "What the network loses beyond the floor, as a share of it: both by quadrature."
    law, t = LAW.at(SCHEDULE, level), torch.tensor(level).double()
    score = score_at(SCHEDULE, denoiser, t)
    with torch.no_grad():
        error = level**2 * expectation(law, lambda x: (score(x.float()).double() - law.score(x)).square()[:, 0])
    return float(error) / LAW.loss_floor(SCHEDULE, level, predict_eps)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='a .json file')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--steps', type=int, default=5000, help='updates')
    parser.add_argument('--batch', type=int, default=1280)
    parser.add_argument('--width', type=int, default=128)
    parser.add_argument('--lr', type=float, default=5e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in range(args.seeds):
        denoiser = learn(seed, args)
        rows.append({'seed': seed, 'beyond': [float(f'{beyond(denoiser, level):.4g}') for level in LEVELS]})
        print(rows[-1], flush=True)
    about = {name: getattr(args, name) for name in ('steps', 'batch', 'width', 'lr')}
    command = f'python -m benchmarks.score --seeds {args.seeds} ' + ' '.join(f'--{k} {v:g}' for k, v in about.items())
    found = {'command': command, 'n': args.steps * args.batch, 'seeds': args.seeds, 'levels': LEVELS}
    found |= {'parameters': sum(p.numel() for p in denoiser.parameters()), 'floor': [LAW.loss_floor(SCHEDULE, s, predict_eps) for s in LEVELS]}
    args.out.write_text(json.dumps(found | {'rows': rows}, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
