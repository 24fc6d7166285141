"""Train the second stage of a cascade: from 32 x 32 pixels, as the model of shapes of the zoo draws, to 64 x 64.

    python tools/train_cascade.py --out runs/upscaler                  # small pictures noised up to the level 0.2, which is told
    python tools/train_cascade.py --out runs/upscaler-plain --most 0   # the control: small pictures as they are
    python tools/train_cascade.py --out runs/upscaler --steps 20000    # longer

Pictures are drawn scenes of one to three objects; the small ones are their means over squares of pixels. The upscaler is
told the small picture and its level, and no caption. Everything random is a function of seed and update; a run that stops
goes on from its last checkpoint when the same command is given again. Writes checkpoints to OUT/checkpoints, a line of
OUT/log.csv every 50 updates, and at the end the model: OUT/model.safetensors (averaged weights, half precision) and
OUT/config.json. With --zoo it goes to the zoo of the package, and the file there is pinned.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from runs import run, spent
from train_classifier import ZOO, pin

from diffbook.cascades import LowResolution, Upscaler, upscaling_loss
from diffbook.conditioning import Conditional
from diffbook.data import batches, to_model
from diffbook.losses import Denoiser, clipped_snr
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_x0
from diffbook.recipes import middling
from diffbook.schedules import CosineSchedule
from diffbook.shapes import draw_split
from diffbook.training import Trainer, save

SIDE, FACTOR, WAVES = 64, 2, 32


def untrained(seed: int) -> Conditional:
    "The model before the first update; its weights are a function of the seed."
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        net = UNet(3, channels=(40, 80), blocks=(1, 1), heads=(0, 0, 0), patch=4, img_channels=3, cond_dim=WAVES)
    return Conditional(Denoiser(Upscaler(net), CosineSchedule(), predict_x0), LowResolution(3, SIDE // FACTOR, FACTOR, WAVES))


def loss(model: Conditional, batch: tuple[torch.Tensor], generator: torch.Generator, most: float) -> torch.Tensor:
    "That of a batch of bytes, at times where a small picture leaves something to learn: less noise than without one."
    draw = partial(middling, centre=-0.8)
    return upscaling_loss(model, to_model(batch[0]), generator, most=most, draw=draw, weight=clipped_snr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('runs/upscaler'))
    parser.add_argument('--most', type=float, default=0.2, help='the highest level to which small pictures are noised')
    parser.add_argument('--images', type=int, default=12_000, help='scenes to draw')
    parser.add_argument('--steps', type=int, default=1200)
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--lr', type=float, default=3e-3)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='cuda, mps or cpu; the best there is, if not said')
    parser.add_argument('--zoo', action='store_true', help='write to the zoo of the package and pin the file there')
    a = parser.parse_args()
    if min(a.steps, a.batch, a.images) < 1:
        parser.error(f'steps are {a.steps}, the batch {a.batch} and images {a.images}, expected at least 1 each')
    torch.set_flush_denormal(True)
    data, model = draw_split(a.images, SIDE, 'train', a.seed, objects=(1, 2, 2, 3)), untrained(a.seed)
    trainer = Trainer(model, partial(loss, most=a.most), lr=a.lr, warmup=100, total=a.steps, weight_decay=0.01, ema=0.995, seed=a.seed, device=a.device)
    trainer.settings |= {'recipe': 'upscaler', 'batch': a.batch, 'images': a.images, 'most': a.most}
    a.out.mkdir(parents=True, exist_ok=True)
    trainer.resume(a.out / 'checkpoints')
    run(trainer, batches((data.images,), a.batch, a.seed, trainer.step), a.steps, a.out, 'images')
    seconds, processor = spent(a.out)
    about = {'data': 'shapes', 'shape': [3, SIDE, SIDE], 'factor': FACTOR, 'most': a.most, 'parameters': sum(p.numel() for p in model.parameters())}
    about |= {'steps': a.steps, 'batch': a.batch, 'images': a.images, 'rate': a.lr, 'seed': a.seed, 'seconds': seconds, 'processor_seconds': processor}
    about |= {'device': trainer.device.type, 'threads': torch.get_num_threads(), 'torch': torch.__version__.split('+')[0]}
    folder = ZOO / 'upscaler' if a.zoo else a.out
    save(folder, trainer.ema.model.cpu(), about, torch.float16)
    print(json.dumps(about, indent=1))
    if a.zoo:
        (folder / 'log.csv').write_text((a.out / 'log.csv').read_text())
        command = f'python tools/train_cascade.py --most {a.most} --images {a.images} --steps {a.steps} --batch {a.batch} --lr {a.lr} --seed {a.seed} --zoo'
        pin('upscaler', 'upscaler/model.safetensors', command=command, log='upscaler/log.csv')


if __name__ == '__main__':
    main()
