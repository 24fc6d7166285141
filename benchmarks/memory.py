"""When a network copies: the same U-Net and the same work on 8, 64 or 512 drawn pictures, and on a set in which some stand many times.

    python -m benchmarks.memory --out diffbook/measured/memory.json

Each run trains on n pictures of 16 x 16, and is looked at four times: its loss on what it was trained on and on new pictures (at the
same times and noises), the share of its samples that are copies (metrics.copy_rate: nearer to a training picture than 99 of 100 real
pictures are), and how well the loss of a single picture tells whether it was trained on. The last run of a seed repeats eight of its
pictures 32 times, and compares these eight with every eight of the others. A run that was stopped goes on when the command is given
again: what stands in the file is kept. About a minute and a half of one core a run, four runs a seed.
"""

import argparse
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from diffbook.core import generator, noise
from diffbook.data import to_model
from diffbook.losses import Denoiser, diffusion_loss
from diffbook.metrics import copy_rate, nearest
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.schedules import CosineSchedule
from diffbook.shapes import draw_shapes
from diffbook.stages import Stage
from diffbook.store.files import write_whole
from diffbook.training import Trainer

OUT = Path(__file__).resolve().parents[1] / 'diffbook' / 'measured' / 'memory.json'
SIZE, BATCH, DRAWN, SIZES = 16, 32, 128, (8, 64, 512)
REPEATED, TIMES = 8, 32  # pictures that stand more than once in the last set, and how often


def pictures(n: int, seed: int, start: int = 0) -> Tensor:
    "Drawn pictures for a model, (n, 3, 16, 16); those from 100,000 on are never trained on."
    return to_model(draw_shapes(n, SIZE, seed, start, objects=(1, 2)).images)


def train_set(n: int, seed: int, repeated: bool) -> Tensor:
    "n different pictures, the first of them several times if `repeated`."
    x = pictures(n, seed)
    return torch.cat([x[:REPEATED].repeat(TIMES, 1, 1, 1), x[REPEATED:]]) if repeated else x


def batches(x: Tensor, steps: int, seed: int) -> Iterator[Tensor]:
    g = generator(seed, 'memory batches')
    for _ in range(steps):
        yield x[torch.randint(len(x), (BATCH,), generator=g)]


def loss(model: Denoiser, x0: Tensor, g: torch.Generator) -> Tensor:
    t = torch.rand(len(x0), generator=g, dtype=torch.float64)
    return diffusion_loss(model, x0, t, torch.randn(x0.shape, generator=g))


def losses(model: Denoiser, x: Tensor, looks: int = 8) -> Tensor:
    "The loss of each picture, (n,), averaged over the same times and noises for every set."
    total = torch.zeros(len(x))
    for k in range(looks):
        eps = noise(7, f'look {k}', 0, range(len(x)), x.shape[1:]).float()
        total += diffusion_loss(model, x, torch.full((len(x),), (k + 0.5) / looks, dtype=torch.float64), eps)
    return total / looks


def told_apart(inside: Tensor, outside: Tensor) -> float:
    "The chance that a picture of the training set has a lower loss than a new one; 1/2 is a coin."
    return (inside[:, None] < outside[None]).double().mean().item()


def look(model: Denoiser, x: Tensor, new: Tensor) -> tuple[dict[str, float], Tensor]:
    "What is measured of a model at one moment, and what it drew."
    model = model.eval()
    with torch.inference_mode():
        drawn = Stage(model, model.schedule, (3, SIZE, SIZE)).draw(DRAWN, steps=20)
        inside, outside = losses(model, x[:128]), losses(model, new[:128])
    row = {'copies': copy_rate(drawn, x, new), 'distance': nearest(drawn, x)[0].median().item()}
    row |= {'train': inside.mean().item(), 'new': outside.mean().item(), 'apart': told_apart(inside, outside)}
    return row, drawn


def sheet(x: Tensor) -> str:
    "Pictures of a model as text: bytes of (n, 3, 16, 16) in base64."
    return base64.b64encode(((x.clamp(-1, 1) + 1) * 127.5).round().byte().numpy().tobytes()).decode()


def run(n: int, seed: int, steps: int, repeated: bool, bar: tqdm) -> dict[str, Any]:
    x, new = train_set(n, seed, repeated), pictures(1024, seed, 100_000)
    torch.manual_seed(seed)
    net = UNet(3, channels=(32, 64), blocks=(1, 1), heads=(0, 0, 0), groups=8, patch=2)
    trainer = Trainer(Denoiser(net, CosineSchedule(), predict_v), loss, lr=3e-3, total=steps, ema=0.99, device='cpu', seed=seed)
    row: dict[str, Any] = {'n': n, 'seed': seed, 'repeated': repeated, 'steps': steps, 'looks': []}
    for step in trainer.fit(batches(x, steps, seed)):
        bar.update()
        if step.step % (steps // 4) == 0:
            found, drawn = look(trainer.ema.model, x, new)
            row['looks'].append({'step': step.step, **found})
    if repeated:  # eight pictures against each other eight: how often they are drawn, and their loss
        different = pictures(n, seed).split(REPEATED)
        with torch.inference_mode():
            own = [losses(trainer.ema.model.eval(), part).mean().item() for part in different]
        rates = [copy_rate(drawn, part, new) for part in different]
        row |= {'loss of repeated': own[0], 'loss of others': sum(own[1:]) / (len(own) - 1)}
        row |= {'copies of repeated': rates[0], 'copies of eight others': sum(rates[1:]) / (len(rates) - 1)}
    elif seed == 0:
        row['sheet'] = sheet(drawn[:8])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.memory', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--steps', type=int, default=2000, help='updates of each training')
    parser.add_argument('--out', type=Path, default=OUT)
    a = parser.parse_args()
    torch.set_num_threads(1)
    had = json.loads(a.out.read_text()) if a.out.exists() else {'rows': []}
    kept = {(row['n'], row['seed'], row['repeated']): row for row in had['rows'] if row['steps'] == a.steps}
    jobs = [(n, seed, repeated) for seed in a.seeds for n, repeated in [*((n, False) for n in SIZES), (256, True)]]
    result = {'command': 'python -m benchmarks.memory', 'seeds': a.seeds, 'n': DRAWN, 'batch': BATCH, 'repeated': [REPEATED, TIMES], 'rows': []}
    with tqdm(total=a.steps * len(jobs), desc='updates') as bar:
        for job in jobs:
            result['rows'].append(kept[job] if job in kept else run(job[0], job[1], a.steps, job[2], bar))
            write_whole(a.out, (json.dumps(result, indent=1) + '\n').encode())
    for row in result['rows']:
        print({k: v for k, v in row.items() if k != 'sheet'})


if __name__ == '__main__':
    main()
