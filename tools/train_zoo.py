"""Train the book's Fashion-MNIST model, as the chapter on DDPM shows it.

    python tools/train_zoo.py --out runs/fashion-mnist --steps 10400 --workers 2

Each worker is one process with one thread and its share of every batch; gradients are averaged between them.
Data order, times and noise are functions of seed and step, so a run that stops goes on from its last checkpoint
when the same command is given again. Writes `state.safetensors` every few minutes, and at the end a folder with
`model.safetensors` (averaged weights, half precision), `config.json` and `log.csv`.
"""
import argparse
import math
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from diffbook.core import generator
from diffbook.data import batch_indices, load_data, to_model
from diffbook.losses import Denoiser, diffusion_loss
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.schedules import CosineSchedule
from diffbook.training import save


def make_model():
    "The model of the zoo: predict v on the cosine schedule."
    net = UNet(1, channels=(48, 96), blocks=(1, 2), heads=(0, 0, 4), groups=8)
    return Denoiser(net, CosineSchedule(), predict_v)


def draw_times(n, gen):
    "Mostly times of middling noise, where there is most to learn; a fifth anywhere."
    where = torch.rand(n, generator=gen, dtype=torch.float64)
    middling = torch.sigmoid(torch.randn(n, generator=gen, dtype=torch.float64) - 0.4)
    return torch.where(torch.rand(n, generator=gen) < 0.2, where, middling)


def rate(step, steps, top, warm=300, fall=0.3):
    "The learning rate: up, along, and down at the end."
    return top * min(1, (step + 1) / warm, max(0.0, (steps - step) / (fall * steps)))


def averaging(step, most):
    "The share of the old average that is kept: little at first."
    return min(most, (1 + step) / (10 + step))


def named(vector, model):
    "The pieces of a vector of all weights, by name."
    names, weights = zip(*model.named_parameters())
    pieces = vector.split([w.numel() for w in weights])
    return {name: piece.reshape(w.shape) for name, w, piece in zip(names, weights, pieces)}


def save_state(path, state, model, **facts):
    "Write all tensors by name, as a whole or not at all."
    part = path.with_suffix('.part')
    tensors = {f'{kind}.{name}': v.contiguous() for kind, vector in state.items() for name, v in named(vector, model).items()}
    save_file(tensors, part, {k: str(v) for k, v in facts.items()})
    os.replace(part, path)


def load_state(path, state, model):
    "Read them back into vectors; give the step and the seconds spent."
    with safe_open(path, 'pt') as file:
        for kind, vector in state.items():
            for name, piece in named(vector, model).items():
                piece.copy_(file.get_tensor(f'{kind}.{name}'))
        return int(file.metadata()['step']), float(file.metadata()['seconds'])


def forward_flops(model):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model.raw(torch.zeros(1, 1, 28, 28), torch.tensor([0.5]))
    return counter.get_total_flops()


def work(rank, a):
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(a.seed)
    out = Path(a.out)
    if a.workers > 1:
        dist.init_process_group('gloo', init_method=f'file://{(out / "meeting").resolve()}', rank=rank, world_size=a.workers)
    data = load_data('fashion-mnist', 'train', a.data_root)
    model = make_model()
    weights = parameters_to_vector(model.parameters()).detach()
    state = {'weights': weights, 'ema': weights.clone(), 'first': torch.zeros_like(weights), 'second': torch.zeros_like(weights)}
    step, spent = 0, 0.0
    if (out / 'state.safetensors').exists():
        step, spent = load_state(out / 'state.safetensors', state, model)
    begun, saved, losses = time.time() - spent, time.time(), []
    parent = os.getppid()
    share = slice(rank * a.batch // a.workers, (rank + 1) * a.batch // a.workers)
    while step < a.steps and os.getppid() == parent:  # a worker without its parent stops
        vector_to_parameters(state['weights'], model.parameters())
        gen = generator(a.seed, 'train', step)
        eps = torch.randn(a.batch, 1, 28, 28, generator=gen)[share]
        t = draw_times(a.batch, gen)[share]
        x0 = to_model(data.images[batch_indices(len(data), a.batch, a.seed, step)[share]])
        model.zero_grad()
        loss = diffusion_loss(model, x0, t, eps).mean()
        loss.backward()
        grad = torch.cat([p.grad.reshape(-1) for p in model.parameters()] + [loss.detach().reshape(1)])
        if a.workers > 1:
            dist.all_reduce(grad)
            grad /= a.workers
        losses.append(grad[-1].item())
        grad = grad[:-1] / max(1.0, grad[:-1].norm().item())  # clip at 1
        step += 1
        state['first'].lerp_(grad, 0.1)  # AdamW with betas 0.9 and 0.99
        state['second'].mul_(0.99).addcmul_(grad, grad, value=0.01)
        size = (state['second'] / (1 - 0.99**step)).sqrt_().add_(1e-8)
        lr = rate(step - 1, a.steps, a.lr)
        state['weights'].mul_(1 - lr * 0.01).addcdiv_(state['first'], size, value=-lr / (1 - 0.9**step))
        state['ema'].lerp_(state['weights'], 1 - averaging(step, a.ema))
        if rank == 0 and step % 50 == 0:
            line = f'{step},{step * a.batch},{time.time() - begun:.0f},{sum(losses) / len(losses):.5f},{lr:.3e}\n'
            with (out / 'log.csv').open('a') as log:
                log.write(line if step > 50 else 'step,images,seconds,loss,rate\n' + line)
            losses = []
        if rank == 0 and (step == a.steps or time.time() - saved > 180):
            save_state(out / 'state.safetensors', state, model, step=step, seconds=time.time() - begun)
            saved = time.time()
    if rank == 0:
        vector_to_parameters(state['ema'], model.parameters())
        forward = forward_flops(model)
        facts = {'data': 'fashion-mnist', 'shape': [1, 28, 28], 'parameters': len(state['ema']), 'steps': step, 'images': step * a.batch, 'batch': a.batch, 'seed': a.seed, 'rate': a.lr, 'ema': a.ema}
        facts |= {'forward_flops': forward, 'training_flops': 3 * forward * step * a.batch, 'seconds': round(time.time() - begun)}
        facts |= {'workers': a.workers, 'torch': torch.__version__.split('+')[0]}
        save(out, model, facts, torch.float16)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='runs/fashion-mnist')
    parser.add_argument('--data-root')
    parser.add_argument('--steps', type=int, default=10400)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--lr', type=float, default=1.2e-3)
    parser.add_argument('--ema', type=float, default=0.999)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2)
    a = parser.parse_args()
    if a.batch % a.workers or not math.isfinite(a.lr) or a.steps < 1:
        parser.error(f'batch {a.batch} must divide by workers {a.workers}, steps {a.steps} be positive')
    Path(a.out).mkdir(parents=True, exist_ok=True)
    (Path(a.out) / 'meeting').unlink(missing_ok=True)
    if a.workers > 1:
        mp.spawn(work, (a,), a.workers)
    else:
        work(0, a)


if __name__ == '__main__':
    main()
