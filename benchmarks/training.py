"""What each switch of the training loop buys on the machine at hand: `python -m benchmarks.training [--compile]`.

Every variant trains the same network on the same batches. They take turns, a few updates each, so that a busy
machine slows all of them alike; reported are the median and the quartiles of the time of an update over the turns.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch

from diffbook.core import uniform
from diffbook.data import Dataset
from diffbook.recipes import plain
from diffbook.store.files import write_whole
from diffbook.training import SWITCHES, Trainer, pick_device

OFF = dict(bf16=False, channels_last=False, fused=False, compile=False, check_every=1)
VARIANTS = {  # name -> (switches, settings): each differs from `plain` in one thing
    'plain': ({}, {}),
    'channels_last': (dict(channels_last=True), {}),
    'fused AdamW': (dict(fused=True), {}),
    'bfloat16 autocast': (dict(bf16=True), {}),
    'checked every 50 updates': (dict(fused=True, check_every=50), {}),
    'no clipping': ({}, dict(clip=None)),
    'images one by one from the host': ({}, {}),
    'as SWITCHES says': (None, {}),
}


def from_host(batch: torch.Tensor) -> torch.Tensor:
    "What a loader does that keeps images on the host: one by one, then stacked."
    return torch.stack([image.clone() for image in batch.cpu()])


def measure(device: torch.device, batch_size: int, width: int, turns: int, updates: int, compiled: bool) -> dict:
    "Time every variant, in turns."
    images = (255 * uniform(0, 'benchmark', 0, range(batch_size), (1, 28, 28))).to(torch.uint8).to(device)
    variants = VARIANTS | ({'compile': (dict(compile=True), {})} if compiled else {})
    trainers, made = {}, plain(width)
    for name, (switches, settings) in variants.items():
        switches = SWITCHES[device.type] if switches is None else OFF | switches
        trainers[name] = Trainer(made.model(Dataset(images.cpu())), made.loss, device=device, **switches, **settings)
        trainers[name].update((images,))
    wait = torch.cuda.synchronize if device.type == 'cuda' else lambda: None
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(turns):
        names = list(trainers)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wait()
            start = time.perf_counter()
            for _ in range(updates):
                trainers[name].update((from_host(images) if 'host' in name else images,))
            wait()
            seconds[name].append((time.perf_counter() - start) / updates)
    return {name: row(values, seconds['plain'], batch_size) for name, values in seconds.items()}


def row(values: list[float], plain: list[float], batch_size: int) -> dict:
    "Summarise the turns of a variant; the gain compares turn by turn."
    low, middle, high = statistics.quantiles(values, n=4)
    gain = [p / v for p, v in zip(plain, values)]
    low_gain, middle_gain, high_gain = statistics.quantiles(gain, n=4)
    return {
        'ms': round(1e3 * middle, 1), 'ms_quartiles': [round(1e3 * low, 1), round(1e3 * high, 1)],
        'images_per_second': round(batch_size / middle, 1),
        'gain': round(middle_gain, 3), 'gain_quartiles': [round(low_gain, 3), round(high_gain, 3)],
    }  # fmt: skip


def main() -> None:
    "Measure, and replace this device's part of the result file."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', help='cuda, mps or cpu (default: the best there is)')
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument('--width', type=int, default=32)
    parser.add_argument('--turns', type=int, default=15)
    parser.add_argument('--updates', type=int, default=2)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--compile', action='store_true', help='also compile, which takes minutes on a CPU')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'training.json')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    rows = measure(device, args.batch_size, args.width, args.turns, args.updates, args.compile)
    known = json.loads(args.out.read_text()) if args.out.exists() else {}
    given = ' '.join(f'--{k.replace("_", "-")} {v}' for k, v in vars(args).items() if k not in ('out', 'compile') and v is not None)
    known[device.type] = {
        'command': f'python -m benchmarks.training {given}' + (' --compile' if args.compile else ''),
        'device': torch.cuda.get_device_name(device) if device.type == 'cuda' else platform.machine(),
        'cores': os.cpu_count(), 'load': round(os.getloadavg()[0], 1), 'torch': torch.__version__,
        'parameters': sum(p.numel() for p in plain(args.width).model(Dataset(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))).parameters()),
        'rows': rows,
    }  # fmt: skip
    write_whole(args.out, (json.dumps(known, indent=1) + '\n').encode())
    for name, values in rows.items():
        print(f'{name:34} {values["ms"]:8.1f} ms   {values["gain"]:.2f}x  ({values["gain_quartiles"][0]:.2f} to {values["gain_quartiles"][1]:.2f})')


if __name__ == '__main__':
    main()
