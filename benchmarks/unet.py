"""Compare the book's U-Net with diffusers' UNet2DModel and with the Unet of denoising-diffusion-pytorch, on 28 x 28 pixels.

    python -m benchmarks.unet speed --out benchmarks/results/unet-speed.json
    python -m benchmarks.unet loss --images 9600 --out benchmarks/results/unet-loss.json

`speed` needs no data: all nets get the same tensors, in the same process, in alternating order (ABCCBA...).
With one thread it measures the processor's time, which other programs on the machine disturb little; with more, the clock's.
`loss` trains each net on the same images of Fashion-MNIST in the same order with the same times and noises,
and measures the error of the predicted noise on held-out images at five fixed noise levels.
A peer that is not installed is reported as not measured; `--peers FOLDER` adds a folder to the import path.
"""
import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from diffbook.core import generator
from diffbook.nets.unet import UNet, load_published, published_arguments

PEER = {'block_out_channels': (32, 64, 128), 'layers_per_block': 1, 'norm_num_groups': 32}
DDPM = {'block_out_channels': (32, 64, 64), 'layers_per_block': 2, 'norm_num_groups': 8, 'downsample_padding': 0, 'freq_shift': 1, 'flip_sin_to_cos': False}
PLAIN, ATTENTION = ('Block2D',) * 3, ('Block2D', 'AttnBlock2D', 'Block2D')


def diffusers_net(blocks, **config):
    from diffusers import UNet2DModel

    down = tuple(b.replace('Block', 'DownBlock') for b in blocks)
    up = tuple(b.replace('Block', 'UpBlock') for b in reversed(blocks))
    return UNet2DModel(sample_size=28, in_channels=1, out_channels=1, down_block_types=down, up_block_types=up, **config)


def equal_parameters():
    "Name -> (net, function of x and t), or None where the peer is absent; all within 5 % of each other, about 2.6 million parameters."
    net = UNet(1, channels=(56, 128), blocks=(1, 1), heads=(0, 0, 4))
    nets = {'diffbook UNet': (net, net)}
    try:
        peer = diffusers_net(PLAIN, **PEER)
        nets['diffusers UNet2DModel'] = (peer, lambda x, t: peer(x, t).sample)
    except ImportError:
        nets['diffusers UNet2DModel'] = None
    try:
        from denoising_diffusion_pytorch import Unet

        other = Unet(dim=32, dim_mults=(1, 2, 4), channels=1)
        nets['denoising-diffusion-pytorch Unet'] = (other, other)
    except ImportError:
        nets['denoising-diffusion-pytorch Unet'] = None
    return nets


def same_weights():
    "The same network of DDPM's form twice, with the same weights."
    try:
        peer = diffusers_net(ATTENTION, **DDPM)
    except ImportError:
        return {'diffbook UNet': None, 'diffusers UNet2DModel': None}
    net = UNet(**published_arguments(dict(peer.config)))
    load_published(net, peer.state_dict())
    return {'diffbook UNet': (net, net), 'diffusers UNet2DModel': (peer, lambda x, t: peer(x, t).sample)}


def step(call, optimizer, x, t, target):
    loss = F.mse_loss(call(x, t), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def quartiles(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return {'median': round(middle, 2), 'quartiles': [round(low, 2), round(high, 2)]}


def alternate(nets, rounds, batch, clock):
    "Images a second in training and in sampling, each net once a round, the order turned round every time."
    gen = generator(0, 'benchmark')
    x, target, t = torch.randn(batch, 1, 28, 28, generator=gen), torch.randn(batch, 1, 28, 28, generator=gen), 1000 * torch.rand(batch, generator=gen)
    present = {name: pair for name, pair in nets.items() if pair}
    optimizers = {name: torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True) for name, (net, _) in present.items()}
    rates = {name: {'training': [], 'sampling': []} for name in present}
    for i in range(rounds + 1):
        for name in list(present)[:: 1 if i % 2 else -1]:
            net, call = present[name]
            start = clock()
            step(call, optimizers[name], x, t, target)
            trained = clock()
            with torch.inference_mode():
                call(x, t)
            sampled = clock()
            if i:  # the first round warms up
                rates[name]['training'].append(batch / (trained - start))
                rates[name]['sampling'].append(batch / (sampled - trained))
    return rates


def speed(args):
    report = {}
    for title, make in (('equal parameters', equal_parameters), ('same weights', same_weights)):
        torch.manual_seed(0)
        nets = make()
        rates = alternate(nets, args.rounds, args.batch, time.process_time if args.threads == 1 else time.perf_counter)
        rows, own = {}, 'diffbook UNet'
        for name, pair in nets.items():
            if not pair:
                rows[name] = 'not measured'
                continue
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                pair[1](torch.zeros(1, 1, 28, 28), torch.zeros(1))
            rows[name] = {'parameters': sum(p.numel() for p in pair[0].parameters()), 'forward GFLOP an image': round(counter.get_total_flops() / 1e9, 4)}
            for what, values in rates[name].items():
                ratio = [a / b for a, b in zip(rates[own][what], values)]
                rows[name][f'{what}, images a second'] = quartiles(values)
                rows[name][f'{what}, diffbook is faster by'] = quartiles(ratio)
            rows[name]['64 images in 50 steps, seconds'] = round(50 * 64 / statistics.median(rates[name]['sampling']), 2)
        report[title] = rows
    report['on a GPU'] = 'not measured' if not torch.cuda.is_available() else 'run this file there with --device'
    report['with torch.compile'] = report['in bfloat16'] = 'not measured'
    return report


def noisy(x0, t, eps):
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[t]
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return signal.float()[:, None, None, None] * x0 + noise.float()[:, None, None, None] * eps


def errors(call, held_out):
    "Mean squared error of the predicted noise at five levels, the same noise for every net."
    found = {}
    for level in (20, 100, 250, 450, 700):
        t, eps = torch.full((len(held_out),), level), torch.randn(held_out.shape, generator=generator(0, 'held out', level))
        x = noisy(held_out, t, eps)
        with torch.no_grad():
            parts = [F.mse_loss(call(*part[:2]), part[2]).item() for part in zip(x.split(64), t.float().split(64), eps.split(64))]
        found[str(level)] = statistics.mean(parts)
    return found


def train(net, call, data, args):
    optimizer, steps = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=0.01, fused=True), args.images // args.batch
    net.train()
    for i in range(steps):
        for group in optimizer.param_groups:
            group['lr'] = args.lr * min(1, (i + 1) / 30) * 0.5 * (1 + math.cos(math.pi * i / steps))
        gen = generator(0, 'batch', i)
        x0 = data[torch.randint(len(data), (args.batch,), generator=gen)]
        t, eps = torch.randint(1000, (args.batch,), generator=gen), torch.randn(x0.shape, generator=gen)
        step(call, optimizer, noisy(x0, t, eps), t.float(), eps)
    net.eval()


def loss(args):
    from diffbook.data import load_data, to_model

    data, held_out = (to_model(load_data('fashion-mnist', split, None).images) for split in ('train', 'test'))
    rows = {}
    for name in args.only or ['diffbook UNet', 'diffusers UNet2DModel', 'denoising-diffusion-pytorch Unet']:
        torch.manual_seed(0)
        pair = equal_parameters()[name]
        if not pair:
            rows[name] = 'not measured'
            continue
        train(*pair, data, args)
        found = errors(pair[1], held_out[:512])
        rows[name] = {'parameters': sum(p.numel() for p in pair[0].parameters()), 'error of eps at t': {k: round(v, 5) for k, v in found.items()}, 'mean': round(statistics.mean(found.values()), 5)}
        print(name, rows[name], flush=True)
    title = f'after {args.images} images, batch {args.batch}, learning rate {args.lr}'
    return {title: rows}


def release(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return 'absent'


def machine():
    model = [line.split(':')[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')] if Path('/proc/cpuinfo').exists() else []
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
    return {
        'processor': model[0] if model else platform.processor(), 'cores': os.cpu_count(), 'threads': torch.get_num_threads(),
        'clock': 'process' if torch.get_num_threads() == 1 else 'wall', 'load at the start': round(os.getloadavg()[0], 1), 'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', 'not set'), 'python': platform.python_version(), 'commit': commit or 'unknown',
        **{name: release(name) for name in ('torch', 'diffusers', 'denoising-diffusion-pytorch')},
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['speed', 'loss'])
    parser.add_argument('--out', type=Path, required=True, help='a .json file')
    parser.add_argument('--rounds', type=int, default=8, help='measured alternations')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--images', type=int, default=9600, help='images that each net sees in training')
    parser.add_argument('--lr', type=float, default=1e-3)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--peers', help='a folder to import peers from')
    parser.add_argument('--only', nargs='*', help='some of the nets')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peers:
        sys.path.append(args.peers)
    shown, skip = [], False
    for word in sys.argv[1:]:
        shown, skip = (shown, False) if skip else (shown if word in ('--peers', '--out') else [*shown, word], word in ('--peers', '--out'))
    about = {'command': f'python -m benchmarks.unet {" ".join(shown)}', **machine()}
    report = {'about': about, **(speed if args.what == 'speed' else loss)(args)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + '\n')
    print(json.dumps(report, indent=1))


if __name__ == '__main__':
    main()
