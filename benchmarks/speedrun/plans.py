"""What an entry trains, and how: a plan, and the one loop that carries every plan out while there is time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from diffbook.core import generator, make_generator
from diffbook.data import batches, to_model
from diffbook.losses import Denoiser, stratified_draw, training_loss
from diffbook.predictions import Prediction, predict_v
from diffbook.schedules import CosineSchedule, Schedule
from diffbook.speedrun import Muon, matrices
from diffbook.training import EMA

WARM = 0.02  # share of the time in which a rate rises


def straight(share: float) -> float:
    "The rate at a share of the time, of the highest: up, and down to nothing on a straight line."
    return min(1.0, share / WARM) * (1 - share)


def halfwave(share: float) -> float:
    "The rate at a share of the time, of the highest: up, and down along half a cosine."
    return min(1.0, share / WARM) * (1 + math.cos(math.pi * share)) / 2


def level(share: float) -> float:
    "The rate at a share of the time, of the highest: up, and then always the same."
    return min(1.0, share / WARM)


@dataclass(frozen=True)
class Plan:
    "All that makes an entry but its time and its seed."

    net: Callable[[Tensor], nn.Module]  # of the pictures in bytes
    schedule: Schedule = field(default_factory=CosineSchedule)
    prediction: Prediction = predict_v
    draw: Callable[[Schedule, int, torch.Generator], Tensor] = stratified_draw  # of the times
    batch: int = 32
    lr: float = 1e-3
    rate: Callable[[float], float] = halfwave  # share of the time -> share of the highest rate
    muon: bool = False  # in place of AdamW, where it can be
    ema: float = 0.999  # decay of the averaged weights
    mirror: bool = False  # show half of the pictures mirrored
    channels_last: bool = True


def optimizer(plan: Plan, net: nn.Module) -> torch.optim.Optimizer:
    "AdamW for all weights, or Muon for those that are maps."
    options = {'lr': plan.lr, 'betas': (0.9, 0.99), 'weight_decay': 0.0, 'fused': True}
    return Muon(*matrices(net), **options) if plan.muon else torch.optim.AdamW(net.parameters(), **options)


def untrained(plan: Plan, images: Tensor, seed: int) -> Denoiser:
    "The model before the first update; its weights are a function of the seed."
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = Denoiser(plan.net(images), plan.schedule, plan.prediction)
    return model.to(memory_format=torch.channels_last) if plan.channels_last else model


def train(plan: Plan, images: Tensor, spent: Callable[[], float], seed: int) -> tuple[Denoiser, dict]:
    "Carry out a plan on pictures in bytes until the share of the time that is `spent` is one; give the averaged model and what it cost."
    model = untrained(plan, images, seed)
    average, steps, parameters = EMA(model, plan.ema), optimizer(plan, model.net), list(model.parameters())
    coin, losses = generator(seed, 'mirror'), []
    for step, (x,) in enumerate(batches((images,), plan.batch, seed)):
        share = spent()
        if share >= 1:
            break
        x = to_model(x)
        if plan.mirror:
            x = torch.where(torch.rand(len(x), 1, 1, 1, generator=coin) < 0.5, x.flip(-1), x)
        loss = training_loss(model, x, make_generator(seed, 'train', step, 'cpu'), draw=plan.draw).mean()
        steps.zero_grad()
        for group in steps.param_groups:
            group['lr'] = plan.lr * plan.rate(share)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        steps.step()
        average.update(model, step)
        losses.append(loss.detach())
    if not losses:
        raise ValueError('the time was over before the first update, expected more seconds')
    tail = torch.stack(losses[-max(1, len(losses) // 10) :])
    about = {
        'updates': len(losses),
        'images': len(losses) * plan.batch,
        'loss of the last tenth': round(tail.mean().item(), 5),
        'parameters': sum(p.numel() for p in parameters),
    }
    return average.model, about
