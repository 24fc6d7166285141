"""Rows C1, C2 and C5: images a second in training, and how near that is to what convolutions allow."""

import argparse
import math
import statistics

import torch
import torch.nn.functional as F

from benchmarks.measure import alternate, clock, goal, quartiles, summary
from benchmarks.peers import (
    DIFFUSERS,
    EQUAL,
    LUCIDRAINS,
    OURS,
    PLAIN,
    SMALL,
    Net,
    make,
    optimizer,
    same_weights,
    size,
    train_step,
)
from benchmarks.rows import NotMeasured, row
from diffbook.core import generator

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)  # times of the cosine schedule, at which the error of x0 is measured
RATES = (1e-3, 2e-3, 4e-3)  # learning rates that every net may choose from
CEILING = ((128, 128, 14), (256, 256, 14), (64, 64, 28), (128, 128, 7), (256, 256, 7))  # convolutions: channels in and out, side


def batch_of(n: int) -> tuple[torch.Tensor, ...]:
    "Noisy images, times and targets, the same for all."
    gen = generator(0, 'benchmark')
    x, target = torch.randn(2, n, 1, 28, 28, generator=gen)
    return x, 1000 * torch.rand(n, generator=gen), target


def sampled(net: Net, x: torch.Tensor, t: torch.Tensor, bf16: bool = False) -> torch.Tensor:
    with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        return net(x, t)


def compare(nets: dict[str, Net], args: argparse.Namespace, bf16: bool = False, compiled: bool = False, batch: int | None = None, device: str = 'cpu') -> dict:
    "Training and sampling rates of each net and how much faster ours is, all taking turns."
    batch = batch or args.batch
    x, t, target = (v.to(device) for v in batch_of(batch))
    report = {name: size(net) for name, net in nets.items()}
    nets = {name: net.to(device) for name, net in nets.items()}
    called = {name: torch.compile(net) if compiled else net for name, net in nets.items()}
    optims = {name: optimizer(net) for name, net in nets.items()}
    for what, runs in {
        'training': {name: lambda n=name: train_step(called[n], optims[n], x, t, target, bf16) for name in nets},
        'sampling': {name: lambda n=name: sampled(called[n], x, t, bf16) for name in nets},
    }.items():
        seconds, first = alternate(runs, args.rounds)
        for name in nets:
            report[name][f'{what}, images a second'] = quartiles([batch / s for s in seconds[name]])
            report[name][f'{what}, diffbook is faster by'] = quartiles([theirs / own for own, theirs in zip(seconds[OURS], seconds[name])])
            report[name][f'{what}, seconds of the first call'] = first[name]
            # what 1000 calls cost with the first among them: what compiling must be worth
            own, theirs = (first[n] + 999 * statistics.median(seconds[n]) for n in (OURS, name))
            report[name][f'{what}, diffbook is faster by, over 1000 calls, the first included'] = round(theirs / own, 2)
    return report


def conditions(nets: dict[str, Net], args: argparse.Namespace) -> dict:
    "As shipped, and with what everybody can switch on."
    found = {'float32': compare(nets, args), 'bfloat16 autocast': compare(nets, args, bf16=True)}
    found['compiled'] = compare(nets, args, compiled=True) if args.compile else 'not measured'
    return found


@row('C1', 'training images a second on a CPU, the same weights, 28 x 28')
def c1(args: argparse.Namespace) -> dict:
    nets = same_weights()
    if not nets:
        raise NotMeasured('diffusers is not installed')
    found = conditions(nets, args)
    found['float32, without attention'] = compare(same_weights(PLAIN), args)  # both call the same kernel for it
    gain = found['float32'][DIFFUSERS]['training, diffbook is faster by']
    return {'goals': [goal(DIFFUSERS, gain, at_least=1.3)], 'detail': found}


@row('C2', 'training images a second on a CPU, equal parameters (within 3.5 %), 28 x 28')
def c2(args: argparse.Namespace) -> dict:
    nets = {name: net for name in EQUAL if (net := make(name))}
    if DIFFUSERS not in nets and LUCIDRAINS not in nets:
        raise NotMeasured('no other library is installed')
    found = conditions(nets, args)
    wished = {DIFFUSERS: 3.0, LUCIDRAINS: 6.0}
    goals = [goal(name, found['float32'][name]['training, diffbook is faster by'], at_least=wished[name]) for name in wished if name in nets]
    return {'goals': goals, 'detail': found}


def denoiser(net: Net) -> torch.nn.Module:
    "The same task for every net: predict v, told the time from 0 to 1000."
    from diffbook.losses import Denoiser
    from diffbook.predictions import predict_v
    from diffbook.schedules import CosineSchedule

    return Denoiser(net, CosineSchedule(), predict_v)


def garments(split: str = 'train') -> torch.Tensor:
    from diffbook.data import load_data

    try:
        return load_data('fashion-mnist', split, None).images
    except (OSError, ValueError) as why:
        raise NotMeasured(f'Fashion-MNIST is not here: {why}') from None


def x0_errors(model: torch.nn.Module, held_out: torch.Tensor) -> list[float]:
    "Mean squared error of the estimated images at eight fixed noise levels, with the same noise for every net."
    found = []
    for i, level in enumerate(LEVELS):
        eps, t = torch.randn(held_out.shape, generator=generator(0, 'held out', i)), torch.tensor(level)
        with torch.inference_mode():
            parts = [F.mse_loss(model(model.schedule.perturb(x0, e, t), t), x0, reduction='sum') for x0, e in zip(held_out.split(64), eps.split(64))]
        found.append(float(sum(parts)) / held_out.numel())
    return found


def trained(name: str, lr: float, images: torch.Tensor, args: argparse.Namespace) -> torch.nn.Module:
    "Train a net on so many images; batches, times and noises are the same for every net."
    from diffbook.data import to_model
    from diffbook.losses import training_loss

    model, batch, steps = denoiser(make(name)), 16, args.images // 16
    optim = optimizer(model, lr)
    for i in range(steps):
        for group in optim.param_groups:
            group['lr'] = lr * min(1, (i + 1) / 50) * (1 + math.cos(math.pi * i / steps)) / 2
        gen = generator(0, 'batch', i)
        x0 = to_model(images[torch.randint(len(images), (batch,), generator=gen)])
        optim.zero_grad()
        training_loss(model, x0, gen).mean().backward()
        optim.step()
    return model.eval()


@row('C2-loss', 'error of x0 at equal images and equal parameters, each net at the best of three learning rates')
def c2_loss(args: argparse.Namespace) -> dict:
    from diffbook.data import to_model

    images, held_out = garments(), to_model(garments('test')[:256])
    names = args.only or [name for name in EQUAL if make(name)]
    found = {}
    for name in names:
        start, tried = clock(), {}
        for lr in RATES:
            errors = x0_errors(trained(name, lr, images, args), held_out)
            tried[str(lr)] = {'mean of logs': statistics.mean(map(math.log, errors)), 'errors': [float(f'{e:.4g}') for e in errors]}
            print(name, lr, tried[str(lr)], flush=True)
        best = min(tried, key=lambda lr: tried[lr]['mean of logs'])
        found[name] = {**size(make(name)), 'learning rate': float(best), **tried[best], 'tried': tried, 'seconds': round(clock() - start, 1)}
    goals, own = [], found.get(OURS)
    for name in (DIFFUSERS, LUCIDRAINS, SMALL):
        if own and name in found:
            ratio = goal(name, math.exp(own['mean of logs'] - found[name]['mean of logs']), at_most=1.0)
            goals.append({**ratio, 'levels not worse': sum(a <= b for a, b in zip(own['errors'], found[name]['errors']))})
    about = {'images': args.images, 'batch': 16, 'held out': len(held_out), 'times': LEVELS, 'learning rates': RATES, 'task': 'v of the cosine schedule'}
    return {'goals': goals, 'detail': {**about, 'nets': found}}


def ceiling_runs(batch: int, bf16: bool = False, device: str = 'cpu', shapes=CEILING) -> tuple[dict, dict]:
    "Convolutions of 3 x 3, forward and backward, with their GFLOP: the fastest that a U-Net could be made of."
    runs, work = {}, {}
    for c_in, c_out, side in shapes:
        conv = torch.nn.Conv2d(c_in, c_out, 3, padding=1).to(device, memory_format=torch.channels_last)
        x = torch.randn(batch, c_in, side, side, device=device).to(memory_format=torch.channels_last).requires_grad_()
        upstream = torch.randn(batch, c_out, side, side, device=device).to(memory_format=torch.channels_last)

        def once(conv=conv, x=x, upstream=upstream):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
                y = conv(x)
            y.backward(upstream.to(y.dtype))

        name = f'{c_in} to {c_out} channels, {side} x {side}'
        runs[name], work[name] = once, 3 * 2 * 9 * c_in * c_out * side**2 * batch / 1e9
    return runs, work


@row('C5', 'GFLOP a second of a whole training step, by that of the best convolution, forward and backward, in the same run')
def c5(args: argparse.Namespace) -> dict:
    net = make(OURS)
    x, t, target = batch_of(args.batch)
    optim, (runs, work) = optimizer(net), ceiling_runs(args.batch)
    runs['step'], work['step'] = lambda: train_step(net, optim, x, t, target), size(net)['training GFLOP an image'] * args.batch
    seconds, _ = alternate(runs, args.rounds)
    rates = {name: summary([work[name] / s for s in seconds[name]]) for name in runs}
    best = max((name for name in rates if name != 'step'), key=lambda name: rates[name]['median'])
    share = [work['step'] / a / (work[best] / b) for a, b in zip(seconds['step'], seconds[best])]
    own = {name: size(n) for name, n in ((OURS, net),)}
    return {'goals': [goal(f'convolution, {best}', summary(share), at_least=0.6)], 'detail': {'GFLOP a second': rates, 'ceiling': best, **own}}
