"""Distil the garments of the zoo into a network of six tenths of their size, which draws in one to four steps.

    python tools/train_few.py --out runs/fashion-mnist-few
    python tools/train_few.py --out runs/fashion-mnist-few --data-root DATA --steps 1000 1200 1500

Three stages, each from the weights of the one before. *Imitation*: the student answers at every noise level what the
teacher answers, so that it knows the way. *Ends*: the teacher walks from noise, and from four places of each walk the
student answers at once where it ends. *Matching*: what it draws in one to four jumps is pulled along the difference of two
denoisers, the teacher and a critic that is trained beside it on what the student draws, until the two distributions are
one; a quarter of the loss of the second stage keeps noise and picture together.

Everything random is a function of seed and update; a run that stops goes on from its last checkpoint when the same command
is given again. Writes OUT/walks.safetensors, OUT/<stage>/checkpoints and OUT/<stage>/log.csv, and at the end the model of
the zoo: OUT/model.safetensors (averaged weights, half precision) and OUT/config.json.
"""

import argparse
import copy
from pathlib import Path

import torch
from runs import run, spent
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from diffbook.consistency import renoise
from diffbook.core import noise
from diffbook.data import batches, load_data, to_model
from diffbook.distillation import distribution_loss, imitation_loss
from diffbook.losses import Denoiser, stratified_draw
from diffbook.multistep import dpmpp_2m
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.samplers import sample, uniform_times
from diffbook.schedules import CosineSchedule
from diffbook.training import Trainer, load, save

SCHEDULE = CosineSchedule()
JUMPS = uniform_times(SCHEDULE, 4)  # the levels from which the student jumps in four steps; the first alone: one step


def network(seed):
    "The student: the teacher's network with fewer channels."
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return Denoiser(UNet(1, channels=(40, 72), blocks=(1, 2), heads=(0, 0, 4), groups=8), SCHEDULE, predict_v)


def by_noise(schedule, t):
    "The weight that makes an error of x0 one of v, but for the cleanest levels."
    return 1 / schedule.sigma(t).clamp_min(0.1) ** 2


class Pair(nn.Module):
    "The student and its critic, trained side by side."

    def __init__(self, student, critic):
        super().__init__()
        self.student, self.critic = student, critic


def walks(path, teacher, n, seed, steps=12, batch=100):
    "The teacher's walks from n noises: the states at the levels of the jumps, (n, 4, 1, 28, 28), and the ends, in half precision."
    if not path.exists():
        times, states, ends = uniform_times(SCHEDULE, steps), [], []
        keep = [int((times - t).abs().argmin()) for t in JUMPS[:-1]]
        for first in tqdm(range(0, n, batch), desc='walks'):
            x = noise(seed, 'walks', 0, range(first, first + batch), (1, 28, 28)).float()
            way = [x, *sample(teacher, SCHEDULE, x, times, dpmpp_2m)]
            states.append(torch.stack([way[k] for k in keep], 1).half())
            ends.append(way[-1].clamp(-1, 1).half())
        save_file({'states': torch.cat(states), 'ends': torch.cat(ends)}, path.with_suffix('.tmp'))
        path.with_suffix('.tmp').rename(path)
    found = load_file(path)
    return found['states'], found['ends']


def end_loss(student, states, ends, generator):
    "How far the student's answers, at once from one place of each walk, are from its end; half of the places are pure noise."
    k = (torch.randint(2 * len(JUMPS) - 3, (len(ends),), generator=generator) - len(JUMPS) + 2).clamp_min(0)
    x = states[torch.arange(len(ends)), k].float()
    return (student(x, JUMPS[k]) - ends.float()).square().flatten(1).mean(1)


def arrive(student, n, generator):
    "Where the student stands before a jump drawn at random, each example for itself: x_t and t, reached by its own jumps."
    draw = lambda: torch.randn(n, 1, 28, 28, generator=generator)  # noqa: E731
    k = torch.randint(2 * len(JUMPS) - 2, (n,), generator=generator).clamp_max(len(JUMPS) - 1)
    last = torch.where(k < len(JUMPS) - 1, k, 0)  # five in eight jumps are the first one, from pure noise
    x = draw()
    with torch.no_grad():
        for j in range(int(last.max())):
            go = last > j
            x[go] = renoise(SCHEDULE, student, x[go], JUMPS[j], JUMPS[j + 1], noise=lambda x, s, fresh=draw()[go]: fresh)
    return x, JUMPS[last]


def matching(teacher):
    "The loss of the pair: the student's outputs go where teacher and critic differ; the critic learns them."

    def loss(pair, batch, generator):
        states, ends = batch
        x_t, t = arrive(pair.student, len(ends), generator)
        x = pair.student(x_t, t)
        inner = lambda schedule, n, g: 0.02 + 0.96 * stratified_draw(schedule, n, g)  # noqa: E731
        pull = distribution_loss(x, generator, real=teacher, fake=pair.critic, schedule=SCHEDULE, draw=inner, weight=lambda s, t: 1 / s.sigma(t))
        seen, eps, u = x.detach(), torch.randn(x.shape, generator=generator), stratified_draw(SCHEDULE, len(x), generator)
        away = pair.critic(SCHEDULE.perturb(seen, eps, u), u) - seen
        q = len(ends) // 4
        kept = end_loss(pair.student, states[:q], ends[:q], generator)
        return pull / x[0].numel() + (away.square().flatten(1).mean(1) * by_noise(SCHEDULE, u)) + kept.mean()

    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('runs/fashion-mnist-few'))
    parser.add_argument('--teacher', default='fashion-mnist', help='a folder, or a name in the zoo')
    parser.add_argument('--data-root')
    parser.add_argument('--steps', type=int, nargs=3, default=[1000, 1200, 1500], metavar=('IMITATE', 'END', 'MATCH'), help='updates of the three stages')
    parser.add_argument('--walks', type=int, default=16_000, help='walks of the teacher')
    parser.add_argument('--rate', type=float, default=3e-4, help='learning rate of the last stage')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--seed', type=int, default=0)
    a = parser.parse_args()
    if min(*a.steps, a.batch) < 1:
        parser.error(f'steps are {a.steps} and the batch {a.batch}, expected at least 1 each')
    torch.set_flush_denormal(True)
    images = load_data('fashion-mnist', 'train', a.data_root).images
    teacher = load(a.teacher).eval().requires_grad_(False)
    a.out.mkdir(parents=True, exist_ok=True)
    time = [0, 0]

    def stage(name, model, loss, steps, examples, **options):
        "Train, and give the averaged weights."
        out = a.out / name
        out.mkdir(exist_ok=True)
        trainer = Trainer(model, loss, seed=a.seed, device='cpu', warmup=100, total=steps, **options)
        trainer.settings |= {'recipe': f'few-{name}', 'batch': a.batch}
        trainer.resume(out / 'checkpoints')
        run(trainer, batches(examples, a.batch, a.seed, trainer.step), steps, out, 'images')
        time[:] = [x + y for x, y in zip(time, spent(out))]
        return trainer.ema.model.requires_grad_(True)

    imitate = lambda model, batch, g: imitation_loss(model, to_model(batch[0]), g, teacher=teacher, weight=by_noise)  # noqa: E731
    denoiser = stage('imitation', network(a.seed), imitate, a.steps[0], (images,), lr=1.5e-3, ema=0.99)
    walked = walks(a.out / 'walks.safetensors', teacher, a.walks, a.seed)
    jumper = stage('ends', copy.deepcopy(denoiser), lambda m, batch, g: end_loss(m, *batch, g), a.steps[1], walked, lr=1e-3, ema=0.99)
    pair = stage('matching', Pair(jumper, denoiser), matching(teacher), a.steps[2], walked, lr=a.rate, ema=0.99)
    student = pair.student
    about = {'data': 'fashion-mnist', 'shape': [1, 28, 28], 'parameters': sum(p.numel() for p in student.parameters()), 'teacher': a.teacher}
    about |= {'updates': a.steps, 'walks': a.walks, 'batch': a.batch, 'seed': a.seed, 'seconds': time[0], 'processor_seconds': time[1], 'device': 'cpu'}
    about |= {'threads': torch.get_num_threads(), 'torch': torch.__version__.split('+')[0]}
    save(a.out, student, about, torch.float16)


if __name__ == '__main__':
    main()
