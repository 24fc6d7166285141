"""Where there is something to learn: the reducible loss by noise level, what a draw of noise levels is worth, and which average.

    python -m benchmarks.noise_levels            # everything: about six minutes of one core
    python -m benchmarks.noise_levels garments   # by the best linear net and by the net of the zoo
    python -m benchmarks.noise_levels draws      # small nets, each trained with another draw
    python -m benchmarks.noise_levels averages   # which width of the averaged weights is best, by learning rate

Writes diffbook/measured/noise_levels.json; a part that is not named keeps what was measured before.
"""

import argparse
import json
import math
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from diffbook.core import make_generator, noise, register
from diffbook.data import load_data, to_model
from diffbook.edm import keep_averages, linear_reducible, rebuild
from diffbook.losses import Denoiser, log_normal_draw, quarter_log_noise, training_loss, unit_input
from diffbook.metrics import frechet_distance
from diffbook.predictions import predict_edm
from diffbook.samplers import heun, karras_times, sample
from diffbook.schedules import KarrasSchedule
from diffbook.store.files import write_whole
from diffbook.training import Trainer, load

FILE = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'noise_levels.json'
KARRAS = KarrasSchedule()
MEANS, SEEDS = (-3.0, -2.0, -1.0, 0.0, 1.0), range(4)


def centred(split: str, root: str | None) -> tuple[Tensor, Tensor]:
    "Garments as (n, 784) in float64 less the mean image of the training set, and that mean."
    mean = to_model(load_data('fashion-mnist', 'train', root).images).double().flatten(1).mean(0)
    return to_model(load_data('fashion-mnist', split, root).images).double().flatten(1) - mean, mean


@torch.inference_mode()
def by_network(name: str, x0: Tensor, mean: Tensor, level: float, variance: float, seed: int) -> tuple[float, float]:
    "One less the loss on EDM's F of a denoiser, at one noise level and less the mean image; with its standard error over images."
    model = load(name)
    t = model.schedule.time_at(torch.tensor(-2 * math.log(level)).double())
    alpha, errors = model.schedule.alpha(t), []
    for first in range(0, len(x0), 128):
        part = x0[first : first + 128] + mean
        eps = noise(seed, f'level {level:g}', 0, range(first, first + len(part)), (784,))
        x = (alpha * part + model.schedule.sigma(t) * eps).float().reshape(-1, 1, 28, 28)
        errors.append((model(x, t.expand(len(x))).double().flatten(1) - part).square().mean(1))
    share = 1 - torch.cat(errors) * (1 / level**2 + 1 / variance)
    return share.mean().item(), share.std().item() / len(share) ** 0.5


def garments(a: argparse.Namespace) -> dict:
    x, mean = centred('train', a.data_root)
    spectrum = torch.linalg.eigvalsh(x.T @ x / len(x)).clamp(min=0)
    logs = torch.linspace(-6, 4.5, 22, dtype=torch.float64)
    test, variance = centred('test', a.data_root)[0][: a.images], spectrum.mean().item()
    rows = [by_network('fashion-mnist', test, mean, math.exp(v), variance, 0) for v in tqdm(logs.tolist(), desc='network', disable=None)]
    shares, errors = zip(*rows)
    linear = linear_reducible(spectrum, logs.exp())
    return {
        'images': len(test),
        'sigma_data': variance**0.5,
        'log_levels': logs.tolist(),
        'linear': linear.tolist(),
        'network': shares,
        'network_error': errors,
    }


@register
class Net(nn.Module):
    "Three layers over a vector and a few waves of its noise level."

    def __init__(self, d: int, width: int = 128):
        super().__init__()
        inner = (nn.Linear(d + 9, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.layers, self.last = nn.Sequential(*inner), nn.Linear(width, d)
        nn.init.zeros_(self.last.weight), nn.init.zeros_(self.last.bias)  # the untrained loss is one at every level

    def forward(self, x: Tensor, noise_level: Tensor, cond: object = None) -> Tensor:
        level = noise_level[:, None]
        waves = level * torch.tensor([1.2, 2.4, 4.8, 9.6])
        return self.last(self.layers(torch.cat([x, level, waves.sin(), waves.cos()], 1)))


def trained(data: Tensor, mean: float, std: float, seed: int, steps: int, spread: float) -> Denoiser:
    "A small net after so many updates with noise levels of this draw; its averaged weights."
    torch.default_generator.manual_seed(seed)
    model = Denoiser(Net(data.shape[1]), KARRAS, predict_edm(spread), noise_input=quarter_log_noise, input_scale=unit_input(spread))
    draw = partial(log_normal_draw, mean=mean, std=std)
    loss = lambda m, x, g: training_loss(m, x, g, draw=draw)
    trainer, g = Trainer(model, loss, lr=2e-3, total=steps, ema=0.995, seed=seed, device='cpu'), make_generator(seed, 'rows')
    for _ in trainer.fit(data[torch.randint(len(data), (128,), generator=g)] for _ in range(steps)):
        pass
    return trainer.ema.model


@torch.inference_mode()
def held_out(model: nn.Module, held: Tensor, spread: float, seed: int) -> list[float]:
    "The loss on F by noise level, on rows that were not trained on."
    losses = []
    for log in torch.linspace(-4, 4, 9).tolist():
        t = torch.full((len(held),), math.exp(log), dtype=torch.float64)
        x = held + math.exp(log) * noise(seed, f'held {log:g}', 0, range(len(held)), (held.shape[1],)).float()
        error = (model(x, t) - held).square().mean().item()
        losses.append(error * (math.exp(-2 * log) + 1 / spread**2))
    return losses


@torch.inference_mode()
def judged(model: Denoiser, held: Tensor, spread: float, seed: int) -> tuple[list[float], float]:
    "The loss by noise level on held-out rows, and the Frechet distance of as many samples from them."
    x = 80 * noise(seed, 'start', 0, range(len(held)), (held.shape[1],)).float()
    *_, x = sample(model, KARRAS, x, karras_times(KARRAS, 18), heun)
    return held_out(model, held, spread, seed), frechet_distance(x, held)


def small_garments(root: str | None) -> tuple[Tensor, Tensor, Tensor]:
    "Garments shrunk to 7 x 7 pixels, (n, 49), to train on and held out; and the variances of the first."
    shrink = lambda v: nn.functional.avg_pool2d(v.reshape(-1, 1, 28, 28), 4).flatten(1)
    train, held = (shrink(centred(split, root)[0]).float() for split in ('train', 'test'))
    return train, held, torch.linalg.eigvalsh(train.T.double() @ train.double() / len(train)).clamp(min=0)


def draws(a: argparse.Namespace) -> dict:
    "Garments shrunk to 7 x 7 pixels; the mean of the draw varies about that of the linear fit."
    (train, held, spectrum), rows = small_garments(a.data_root), []
    spread = spectrum.mean().sqrt().item()
    logs = torch.linspace(-7, 7, 281, dtype=torch.float64)
    linear = linear_reducible(spectrum, logs.exp())
    bar = tqdm(total=len(MEANS) * len(SEEDS), desc='draws', disable=None)
    for mean in MEANS:
        for seed in SEEDS:
            losses, distance = judged(trained(train, mean, 1.2, seed, a.steps, spread), held, spread, seed)
            rows.append({'mean': mean, 'seed': seed, 'losses': losses, 'distance': distance})
            bar.update()
    bar.close()
    floor = frechet_distance(train[: len(held)], held)
    shown = {'log_levels': torch.linspace(-4, 4, 9).tolist(), 'std': 1.2, 'steps': a.steps, 'floor': floor, 'sigma_data': spread}
    return shown | {'linear': {'log_levels': logs.tolist(), 'share': linear.tolist()}, 'rows': rows}


WIDTHS = (0.05, 0.075, 0.1, 0.15, 0.2, 0.25)


def averages(a: argparse.Namespace) -> dict:
    "The mean loss of small garments over the noise levels by width of the average, rebuilt after the run, for a rate that stays and one that falls."
    train, held, spectrum = small_garments(a.data_root)
    spread, rows = spectrum.mean().sqrt().item(), []
    held = held[:2000]
    draw = lambda schedule, b, g: torch.exp(-0.86 + 1.29 * torch.randn(b, generator=g, dtype=torch.float64)).clamp(
        max=80
    )  # log_normal_draw, where the time is the level
    loss = lambda m, x, g: training_loss(m, x, g, draw=draw)
    error = lambda m: sum(held_out(m, held, spread, 0)) / 9
    for falls, seed in tqdm([(falls, seed) for falls in (False, True) for seed in SEEDS], desc='averages', disable=None):
        torch.default_generator.manual_seed(seed)
        model = Denoiser(Net(49), KARRAS, predict_edm(spread), noise_input=quarter_log_noise, input_scale=unit_input(spread))
        trainer, g = Trainer(model, loss, lr=4e-3, total=a.steps if falls else None, seed=seed, device='cpu'), make_generator(seed, 'rows')
        with tempfile.TemporaryDirectory() as folder:
            for _ in keep_averages(
                trainer.fit(train[torch.randint(len(train), (128,), generator=g)] for _ in range(a.steps)), model, folder, every=a.steps // 16
            ):
                pass
            rows.append({'falls': falls, 'seed': seed, 'weights': error(model), 'by_width': [error(rebuild(folder, w)) for w in WIDTHS]})
    return {'steps': a.steps, 'lr': 4e-3, 'widths': WIDTHS, 'rows': rows}


PARTS = {'garments': garments, 'draws': draws, 'averages': averages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', default=list(PARTS), metavar='PART', help=', '.join(PARTS))
    parser.add_argument('--data-root')
    parser.add_argument('--images', type=int, default=1024, help='held-out garments at each noise level')
    parser.add_argument('--steps', type=int, default=2000, help='updates of each small net')
    a = parser.parse_args()
    if unknown := [part for part in a.parts if part not in PARTS]:
        parser.error(f'there is no {unknown[0]}, expected some of {", ".join(PARTS)}')
    torch.set_num_threads(1)
    for part in a.parts:
        found = PARTS[part](a)
        result = json.loads(FILE.read_text()) if FILE.exists() else {'command': 'python -m benchmarks.noise_levels'}
        result[part] = found
        write_whole(FILE, (json.dumps(result, indent=1) + '\n').encode())
        print(part, 'written', flush=True)


if __name__ == '__main__':
    main()
