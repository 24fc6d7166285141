"""Train transformers and a U-Net for the same seconds of one core, on drawn shapes, and measure what each has learned.

    python -m benchmarks.transformers                      # three networks, three seeds, for 5 and for 25 seconds; then the toy: about seven minutes of one core
    python -m benchmarks.transformers --minutes 8          # begin no training after eight minutes; given again, it goes on
    python -m benchmarks.transformers --seconds 100 --seeds 0 --out /tmp/longer.json

Pictures are 16 pixels a side with one object. All networks are asked for the clean picture and learn the velocity of straight
lines in mean square (Li and He 2025). Time is that of the process, the rate falls to zero with it, and the batch is 32. Writes
diffbook/measured/transformers.json: the error of the velocity on new pictures, at much noise and at little; parameters,
arithmetic and speed. The toy: a ring of the plane that lies in a space of more and more dimensions, learned by a small
network that is asked for the noise, the velocity or the clean point. Chapter 70 reads it. Runs that stand in the file are kept.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from diffbook.core import Cond, generator, noise
from diffbook.data import gaussian_ring, to_model
from diffbook.exact import GaussianMixture
from diffbook.flows import Mlp
from diffbook.losses import Denoiser, diffusion_loss, stratified_draw
from diffbook.nets.dit import JIT, DiT
from diffbook.nets.unet import UNet
from diffbook.predictions import Prediction, predict_eps, predict_velocity, predict_x0
from diffbook.recipes import single_shapes
from diffbook.samplers import euler, sample, uniform_times
from diffbook.schedules import RectifiedFlowSchedule, Schedule
from diffbook.store.files import write_whole

OUT = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'transformers.json'


class Nearly(RectifiedFlowSchedule):
    "Straight lines up to a time where the noise still says something of the picture, for those that are asked for the noise."

    t_max = 0.98


FLOW, BATCH, RATE, LEAST = Nearly(), 32, 1e-3, 0.05  # LEAST: times are no nearer to an end than this in a weight
ROWS: dict[str, Callable[[], nn.Module]] = {
    'U-Net': partial(UNet, 3, channels=(32, 64), blocks=(1, 1)),
    'DiT': partial(DiT, 3, width=96, depth=4, heads=3, patch=4),
    'DiT, newer parts': partial(DiT, 3, width=96, depth=4, heads=3, patch=4, style=JIT),
}
TOYS = {'eps': predict_eps, 'velocity': predict_velocity, 'x0': predict_x0}
SPACES = (2, 16, 128)


def weight(prediction: Prediction, schedule: Schedule, t: Tensor) -> Tensor:
    "What the squared error of this prediction counts, so that all count the squared error of the velocity."
    near = {predict_eps: schedule.alpha(t), predict_x0: schedule.sigma(t)}.get(prediction)
    return torch.ones_like(t) if near is None else near.clamp(min=LEAST) ** -2


def fresh(make: Callable[[], nn.Module], prediction: Prediction, seed: int) -> Denoiser:
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return Denoiser(make(), FLOW, prediction)


def velocity_error(model: Denoiser, x0: Tensor, eps: Tensor, t: Tensor, cond: Cond | None = None) -> Tensor:  # (b,)
    "The squared error of the velocity per number."
    with torch.no_grad():
        guess = model(FLOW.perturb(x0, eps, t), t, cond)
    return (guess - x0).square().flatten(1).mean(1) / t.float() ** 2


def train(model: Denoiser, batch: Callable, prediction: Prediction, seed: int, share: Callable[[int], float]) -> int:
    "Make updates until `share` of the time has reached 1; give their number."
    g, optimizer = generator(seed, 'transformers train'), torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    step, done = 0, 0.0
    while done < 1:
        optimizer.param_groups[0]['lr'] = RATE * min(1.0, (step + 1) / 50) * (1 - done)
        x0, cond = batch(g)
        t, eps = stratified_draw(FLOW, len(x0), g), torch.randn(x0.shape, generator=g)
        t = t.clamp(min=1e-3)
        optimizer.zero_grad()
        diffusion_loss(model, x0, t, eps, cond, partial(weight, prediction)).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        done = share(step)
    model.eval()
    return step


def draw(model: Denoiser, x: Tensor, cond: Cond | None = None, steps: int = 25) -> Tensor:
    *_, x = sample(model, FLOW, FLOW.t_max * x, uniform_times(FLOW, steps), euler, cond)
    return x


def pictures(seed: int, size: int) -> Callable:
    drawn = single_shapes(10_000, 16, seed).images
    return lambda g: (to_model(drawn[torch.randint(len(drawn), (size,), generator=g)]), None)


def measured(model: Denoiser) -> dict:
    "The error of the velocity on new pictures."
    x0, t = to_model(single_shapes(512, 16, 1000, 500_000).images), 0.06 + 0.92 * (torch.arange(512, dtype=torch.float64) + 0.5) / 512
    t = t[torch.randperm(512, generator=generator(0, 'transformers times'))]
    error = velocity_error(model, x0, noise(0, 'transformers test', 0, range(512), (3, 16, 16)).float(), t)
    return {'much noise': error[t > 0.5].mean().item(), 'little noise': error[t < 0.5].mean().item()}


def run(row: str, seed: int, seconds: float) -> dict:
    "Train one network for so many seconds and measure it."
    model, batch = fresh(ROWS[row], predict_x0, seed), pictures(seed, BATCH)
    train(fresh(ROWS[row], predict_x0, seed), batch, predict_x0, seed, lambda step: 1.0)  # what is done once, at the first step, is not timed
    begun = time.process_time()
    steps = train(model, batch, predict_x0, seed, lambda step: (time.process_time() - begun) / seconds)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.net(torch.zeros(1, 3, 16, 16), torch.ones(1))
    size = {'parameters': sum(p.numel() for p in model.parameters()), 'flops': counter.get_total_flops()}
    return measured(model) | size | {'steps': steps, 'images a second': steps * BATCH / seconds, 'seconds': seconds}


def toy(name: str, space: int, seed: int, steps: int) -> dict:
    "Learn a ring of the plane that lies in a space of more dimensions, with 256 numbers between; the error is that of the clean data."
    ring, prediction = GaussianMixture(*gaussian_ring()), TOYS[name]
    model, frame = fresh(lambda: Mlp(space, 256), prediction, seed), torch.linalg.qr(torch.randn(space, 2, generator=generator(seed, 'transformers frame')))[0]
    batch = lambda g: (ring.sample(256, g).float() @ frame.T, None)  # noqa: E731
    train(model, batch, prediction, seed, lambda step: step / steps)
    test = generator(1, 'transformers toy')
    x0, eps, t = ring.sample(4096, test).float(), torch.randn(4096, space, generator=test), 0.06 + 0.92 * torch.rand(4096, generator=test, dtype=torch.float64)
    inside = eps @ frame  # the oracle needs to see the plane only
    best = torch.cat([ring.denoise(FLOW)(FLOW.perturb(a, e, s).double(), s) for a, e, s in zip(x0.split(256), inside.split(256), t.split(256))])
    with torch.no_grad():
        guess = model(FLOW.perturb(x0 @ frame.T, eps, t), t)
        drawn = draw(model, torch.randn(2000, space, generator=test))
    inside, outside = drawn @ frame, drawn - drawn @ frame @ frame.T
    extra = (guess - best.float() @ frame.T).square().sum(1).mean().item()
    off = (inside.norm(dim=1)[:, None] - ring.means.norm(dim=1).mean()).abs().mean().item()
    return {'extra error of x0': extra, 'off the ring': off, 'off the plane': outside.norm(dim=1).mean().item(), 'steps': steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--seconds', type=float, nargs='+', default=[5.0, 25.0], help='of the process, for each training')
    parser.add_argument('--toy-steps', type=int, default=800)
    parser.add_argument('--minutes', type=float, default=1e9, help='begin no training after so many')
    parser.add_argument('--rows', nargs='+', default=[*ROWS], choices=[*ROWS], metavar='ROW')
    parser.add_argument('--out', type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(args.out.read_text()) if args.out.exists() else {'runs': {}, 'toy': {}}
    wanted = [('runs', f'{row} {seconds:g}', seed) for seconds in args.seconds for seed in args.seeds for row in args.rows]
    wanted += [('toy', f'{name} {space}', seed) for seed in args.seeds for space in SPACES for name in TOYS]
    bar, end = tqdm(wanted, unit='training'), time.monotonic() + 60 * args.minutes
    for part, row, seed in bar:
        bar.set_description(f'{row}, seed {seed}')
        if f'{row}, {seed}' in found[part] or time.monotonic() > end:
            continue
        name, _, number = row.rpartition(' ')
        found[part][f'{row}, {seed}'] = run(name, seed, float(number)) if part == 'runs' else toy(name, int(number), seed, args.toy_steps)
        found |= {'command': 'python -m benchmarks.transformers', 'seeds': args.seeds, 'seconds': args.seconds}
        write_whole(args.out, (json.dumps(found, indent=1) + '\n').encode())


if __name__ == '__main__':
    main()
