"""Rows C3 and C4: how long until the pictures are good, and how long to draw them."""

import argparse
import statistics
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmarks.measure import alternate, clock, goal
from benchmarks.peers import DIFFUSERS, LUCIDRAINS, OURS, make
from benchmarks.rows import NotMeasured, row
from benchmarks.speed import denoiser, garments

PAUSES = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 1)  # of the time that the others get: when ours is judged
GRID = (5, 10, 20, 50)  # steps of DDIM
STEPS = 1000  # of the other library's default


def judge() -> dict:
    "Features of 2,048 real images, and the distance of 2,048 others from them."
    from diffbook.metrics import features, frechet_distance

    real = features(garments('test')[:2048])
    return {'real': real, 'floor': frechet_distance(features(garments()[:2048]), real)}


def pictures(model: torch.nn.Module, n: int, steps: int, eta: float = 0.0, device: str = 'cpu') -> torch.Tensor:
    "Draw n images in bytes from a fixed seed; steps of DDIM, or of the ancestral sampler."
    from diffbook.data import from_model
    from diffbook.samplers import clip_x0, ddim
    from diffbook.stages import Stage

    stage = Stage(clip_x0(model), model.schedule, (1, 28, 28), solver=partial(ddim, eta=eta))
    return from_model(stage.draw(n, steps=steps, device=device))


def distance(model: torch.nn.Module, judged: dict, n: int, steps: int, eta: float = 0.0) -> float:
    from diffbook.metrics import features, frechet_distance

    return frechet_distance(features(pictures(model, n, steps, eta)), judged['real'])


def train_for(name: str, pauses: list[float], args: argparse.Namespace):
    "Train from nothing; yield the averaged model each time that so many seconds of training are spent."
    from diffbook.data import batches, to_model
    from diffbook.losses import training_loss
    from diffbook.training import Trainer

    plain = {} if name == OURS else {'channels_last': False}
    trainer = Trainer(denoiser(make(name)), lambda m, x, g: training_loss(m, to_model(x), g), lr=args.lr, warmup=50, ema=0.995, device='cpu', **plain)
    spent, left, start = 0.0, list(pauses), clock()
    for step in trainer.fit(batches(garments(), 32, 0)):
        if spent + clock() - start >= left[0]:
            spent += clock() - start
            yield spent, step.step * 32, trainer.ema.model
            left.pop(0)
            start = clock()
            if not left:
                return


def kept(name: str) -> Path:
    return Path(args_work) / f'{name}.safetensors'


args_work = 'out/benchmarks'


@row('C3', 'processor time from nothing to the Frechet distance that the best other library reaches in its time')
def c3(args: argparse.Namespace) -> dict:
    budget, judged, found = 60 * args.minutes, judge(), {}
    Path(args_work).mkdir(parents=True, exist_ok=True)
    for name in (DIFFUSERS, LUCIDRAINS, OURS):
        if make(name) is None:
            continue
        found[name] = []
        for spent, images, model in train_for(name, [budget * p for p in PAUSES] if name == OURS else [budget], args):
            found[name].append({'seconds': round(spent, 1), 'images': images, 'distance': round(distance(model, judged, args.samples, 20), 2)})
            print(name, found[name][-1], flush=True)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, kept(name))
    others = [n for n in found if n != OURS]
    if not others:
        raise NotMeasured('no other library is installed')
    best = min(others, key=lambda n: found[n][0]['distance'])
    there = [p for p in found[OURS] if p['distance'] <= found[best][0]['distance']]
    goals = [goal(best, there[0]['seconds'] / found[best][0]['seconds'], at_most=0.25)] if there else []
    about = {'minutes of the others': args.minutes, 'samples': args.samples, 'sampler': 'DDIM, 20 steps', 'floor at 2,048': round(judged['floor'], 2)}
    return {'goals': goals, 'detail': {**about, 'never reached': not there, 'learning rate': args.lr, 'batch': 32, 'nets': found}}


def restored(name: str) -> torch.nn.Module | None:
    net = make(name)
    if net is None:
        return None
    if not kept(name).exists():
        raise NotMeasured('row C3 trains the models that C4 draws with: run it first')
    model = denoiser(net)
    model.load_state_dict(load_file(kept(name)))
    return model.eval()


@row('C4', 'time to draw 64 images, at an equal or better Frechet distance')
def c4(args: argparse.Namespace) -> dict:
    models, judged = {name: model for name in (OURS, DIFFUSERS, LUCIDRAINS) if (model := restored(name))}, judge()
    curves = {name: {s: round(distance(m, judged, args.samples, s), 2) for s in GRID} for name, m in models.items()}
    print(curves, flush=True)
    x, t = torch.randn(64, 1, 28, 28), torch.full((64,), 500.0)

    def call(model):
        with torch.inference_mode():
            model(x, t[0] / 1000)

    seconds, _ = alternate({name: partial(call, m) for name, m in models.items()}, args.rounds)
    costs = {name: statistics.median(s) for name, s in seconds.items()}
    goals = []
    if LUCIDRAINS in models:
        theirs = round(distance(models[LUCIDRAINS], judged, args.few, args.default_steps, eta=1.0), 2)
        own = {s: round(distance(models[OURS], judged, args.few, s), 2) for s in GRID}
        steps = next((s for s in GRID if own[s] <= theirs), None)
        curves |= {
            'default': {'images': args.few, 'steps judged': args.default_steps, 'steps timed': STEPS, LUCIDRAINS: theirs, OURS: own, 'steps of ours': steps}
        }
        if steps:
            goals.append(goal(f'{LUCIDRAINS}, {STEPS} ancestral steps', STEPS * costs[LUCIDRAINS] / (steps * costs[OURS]), at_least=100))
    others = [(costs[n] * s, curves[n][s], n, s) for n in models if n != OURS for s in GRID]
    target = 1.05 * min(d for _, d, _, _ in others)  # the least that another library reaches, within 5 %
    cost, _, name, steps = min(o for o in others if o[1] <= target)
    mine = next((s for s in GRID if curves[OURS][s] <= target), None)
    if mine:
        goals.append(goal(f'{name}, DDIM {steps} steps', cost / (mine * costs[OURS]), at_least=3))
    detail = {
        'seconds of one call of 64': {n: round(c, 4) for n, c in costs.items()},
        'distance by steps': curves,
        'samples': args.samples,
        'steps of ours': mine,
    }
    return {'goals': goals, 'detail': detail}
