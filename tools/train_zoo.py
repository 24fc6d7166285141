"""Train a model of the zoo by its recipe in diffbook/recipes.py, as its chapter shows it.

    python tools/train_zoo.py fashion-mnist --out runs/fashion-mnist
    python tools/train_zoo.py fashion-mnist --out runs/fashion-mnist --device cuda --batch 512 --steps 20000
    python tools/train_zoo.py shapes --out runs/shapes
    python tools/train_zoo.py emoji-64 --out runs/emoji-64            # squares of pixels; reads with runs/clip-emoji-seed1, which tools/train_clip.py makes
    python tools/train_zoo.py emoji-latent --out runs/emoji-latent    # latents of the same, which tools/train_vae.py makes

`diffbook train --recipe NAME` trains the same; this tool counts arithmetic and time as well, and stores half precision.
Order of the data, times and noise are functions of seed and step, so a run that stops goes on from its last checkpoint
when the same command is given again. Writes checkpoints to OUT/checkpoints, one line of OUT/log.csv every 50 updates,
and at the end the model of the zoo: OUT/model.safetensors (averaged weights, half precision) and OUT/config.json.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from runs import run, spent

from diffbook.cli.prompts import split_words
from diffbook.conditioning import Conditional
from diffbook.data import batches
from diffbook.losses import Denoiser
from diffbook.recipes import RECIPES, recipe
from diffbook.training import load, save


def forward_flops(model: Denoiser | Conditional, shape: tuple[int, ...]) -> int:
    "Count the operations of one image through the network, attention as matrix products."
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model.raw(torch.zeros(1, *shape), torch.tensor([0.5]))  # a caption, if it takes one, is read as well
    return counter.get_total_flops()


def net(model: Denoiser | Conditional) -> torch.nn.Module:
    return (model.denoiser if isinstance(model, Conditional) else model).net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=RECIPES)
    parser.add_argument('--out', type=Path)
    parser.add_argument('--data-root')
    parser.add_argument('--steps', type=int)
    parser.add_argument('--batch', type=int)
    parser.add_argument('--lr', type=float)
    parser.add_argument('--ema', type=float)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='cuda, mps or cpu; the best there is, if not said')
    parser.add_argument('--change', action='store_true', help='go on with other --steps than before: from here on the rate falls to their end')
    parser.add_argument('--start', help='begin with the weights of the network of this model: a folder, or a name in the zoo')
    a = parser.parse_args()
    changes = {k: getattr(a, k) for k in ('steps', 'batch', 'lr', 'ema') if getattr(a, k) is not None}
    made = replace(recipe(a.name), **changes)
    out = a.out or Path('runs') / a.name
    if min(made.steps, made.batch) < 1:
        parser.error(f'steps are {made.steps} and the batch {made.batch}, expected at least 1')
    torch.set_flush_denormal(True)
    found = made.data(a.data_root, a.seed)
    model = made.model(found, a.seed)
    if a.start:  # the network's weights; what reads the captions is as the recipe says
        net(model).load_state_dict(net(load(a.start)).state_dict())
    trainer = made.trainer(model, seed=a.seed, device=a.device)
    trainer.settings |= {'recipe': a.name, 'batch': made.batch, 'start': a.start}
    out.mkdir(parents=True, exist_ok=True)
    trainer.resume(out / 'checkpoints', change=('total',) if a.change else ())
    stream = batches(made.examples(found, model), made.batch, a.seed, trainer.step)
    run(trainer, stream, made.steps, out, 'images')
    model = trainer.ema.model.cpu()
    seconds, processor = spent(out)
    shape = made.shape or tuple(found.images.shape[1:])
    forward, images = forward_flops(model, shape), made.steps * made.batch
    about = {'data': found.name.split()[0], 'shape': list(shape), 'parameters': sum(p.numel() for p in model.parameters())}
    about |= {'steps': made.steps, 'images': images, 'batch': made.batch, 'seed': a.seed, 'rate': made.lr, 'ema': made.ema, 'start': a.start}
    about |= {'forward_flops': forward, 'training_flops': 3 * forward * images, 'seconds': seconds, 'processor_seconds': processor}
    about |= {'device': trainer.device.type, 'threads': torch.get_num_threads(), 'torch': torch.__version__.split('+')[0]}
    if made.codec:
        about['codec'] = made.codec
    if a.name.startswith('emoji'):
        about['words'] = sorted({word for caption in found.captions for word in split_words(caption)})
    save(out, model, about, torch.float16)


if __name__ == '__main__':
    main()
