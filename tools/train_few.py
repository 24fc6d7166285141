"""Distil the garments of the zoo into a network of six tenths of their size, which draws in one to four steps.

    python tools/train_few.py --out runs/fashion-mnist-few
    python tools/train_few.py --out runs/fashion-mnist-few --data-root DATA --steps 1000 1500 3000

Three stages, each from the weights of the one before. *Imitation*: the student answers at every noise level what the
teacher answers, so that it knows the way. *Consistency*: its answers at both ends of one of the teacher's steps agree, so
that it can jump. *Matching*: what it draws in one to four jumps is pulled along the difference of two denoisers, the
teacher and a critic that is trained beside it on what the student draws, until the two distributions are one.

Everything random is a function of seed and update; a run that stops goes on from its last checkpoint when the same command
is given again. Writes OUT/<stage>/checkpoints and OUT/<stage>/log.csv, and at the end the model of the zoo:
OUT/model.safetensors (averaged weights, half precision) and OUT/config.json.
"""

import argparse
from pathlib import Path

import torch
from runs import run, spent
from torch import nn

from diffbook.consistency import consistency_loss, grid_pairs, renoise
from diffbook.data import batches, load_data, to_model
from diffbook.distillation import distribution_loss, imitation_loss
from diffbook.losses import Denoiser, stratified_draw
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.samplers import uniform_times
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

    def __init__(self, student):
        super().__init__()
        self.student, self.critic = student, network(0)
        self.critic.load_state_dict(student.state_dict())


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
        x_t, t = arrive(pair.student, len(batch[0]), generator)
        x = pair.student(x_t, t)
        inner = lambda schedule, n, g: 0.02 + 0.96 * stratified_draw(schedule, n, g)  # noqa: E731
        pull = distribution_loss(x, generator, real=teacher, fake=pair.critic, schedule=SCHEDULE, draw=inner, weight=lambda s, t: 1 / s.sigma(t))
        seen, eps, u = x.detach(), torch.randn(x.shape, generator=generator), stratified_draw(SCHEDULE, len(x), generator)
        away = pair.critic(SCHEDULE.perturb(seen, eps, u), u) - seen
        return pull / x[0].numel() + (away.square().flatten(1).mean(1) * by_noise(SCHEDULE, u))

    return loss


def stages(teacher):
    "Name -> loss and options of the trainer."
    pairs = grid_pairs(uniform_times(SCHEDULE, 24))
    imitation = lambda model, batch, g: imitation_loss(model, to_model(batch[0]), g, teacher=teacher, weight=by_noise)  # noqa: E731
    jumps = lambda model, batch, g: consistency_loss(model, to_model(batch[0]), g, pairs=pairs, teacher=teacher)  # noqa: E731
    return {
        'imitation': (imitation, {'lr': 1.5e-3, 'ema': 0.99}),
        'consistency': (jumps, {'lr': 6e-4, 'ema': 0.99}),
        'matching': (matching(teacher), {'lr': 2e-4, 'ema': 0.995}),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('runs/fashion-mnist-few'))
    parser.add_argument('--teacher', default='fashion-mnist', help='a folder, or a name in the zoo')
    parser.add_argument('--data-root')
    parser.add_argument('--steps', type=int, nargs=3, default=[1000, 1500, 3000], metavar=('IMITATE', 'JUMP', 'MATCH'), help='updates of the three stages')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--seed', type=int, default=0)
    a = parser.parse_args()
    if min(*a.steps, a.batch) < 1:
        parser.error(f'steps are {a.steps} and the batch {a.batch}, expected at least 1 each')
    torch.set_flush_denormal(True)
    images = load_data('fashion-mnist', 'train', a.data_root).images
    teacher, student, time = load(a.teacher).eval().requires_grad_(False), network(a.seed), [0, 0]
    for (name, (loss, options)), steps in zip(stages(teacher).items(), a.steps):
        out = a.out / name
        model = Pair(student) if name == 'matching' else student
        trainer = Trainer(model, loss, seed=a.seed, device='cpu', warmup=100, total=steps, **options)
        trainer.settings |= {'recipe': f'few-{name}', 'batch': a.batch}
        out.mkdir(parents=True, exist_ok=True)
        trainer.resume(out / 'checkpoints')
        run(trainer, batches((images,), a.batch, a.seed, trainer.step), steps, out, 'images')
        averaged = trainer.ema.model
        student = (averaged.student if name == 'matching' else averaged).requires_grad_(True)
        time = [x + y for x, y in zip(time, spent(out))]
    about = {'data': 'fashion-mnist', 'shape': [1, 28, 28], 'parameters': sum(p.numel() for p in student.parameters()), 'teacher': a.teacher}
    about |= {'updates': a.steps, 'batch': a.batch, 'seed': a.seed, 'seconds': time[0], 'processor_seconds': time[1], 'device': 'cpu'}
    about |= {'threads': torch.get_num_threads(), 'torch': torch.__version__.split('+')[0]}
    save(a.out, student, about, torch.float16)


if __name__ == '__main__':
    main()
