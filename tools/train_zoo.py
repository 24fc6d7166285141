"""Train a model of the zoo, as its chapter shows it.

    python tools/train_zoo.py fashion-mnist --out runs/fashion-mnist
    python tools/train_zoo.py fashion-mnist --out runs/fashion-mnist --device cuda --batch 512 --steps 20000
    python tools/train_zoo.py shapes --out runs/shapes
    python tools/train_zoo.py emoji-64 --out runs/emoji-64            # squares of pixels; reads with runs/clip-emoji-seed1, which tools/train_clip.py makes
    python tools/train_zoo.py emoji-latent --out runs/emoji-latent    # latents of the same, which tools/train_vae.py makes

Order of the data, times and noise are functions of seed and step, so a run that stops goes on from its last checkpoint
when the same command is given again. Writes checkpoints to OUT/checkpoints, one line of OUT/log.csv every 50 updates,
and at the end the model of the zoo: OUT/model.safetensors (averaged weights, half precision) and OUT/config.json.
"""
import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from runs import run, spent

from diffbook.cli.sample import split_words
from diffbook.conditioning import Conditional, TextConditioner, conditional_loss
from diffbook.core import build
from diffbook.data import batches, load_data, read_shards, to_model
from diffbook.losses import Denoiser, clipped_snr, stratified_draw, training_loss
from diffbook.nets.unet import UNet
from diffbook.nets.vae import draw_latents
from diffbook.predictions import predict_v, predict_x0
from diffbook.schedules import CosineSchedule, Schedule, ShiftedSchedule
from diffbook.shapes import draw_split
from diffbook.training import Trainer, load, read_model, save


@dataclass(frozen=True)
class Recipe:
    "All that makes one model."

    model: Callable  # () -> module
    data: Callable  # (model, root, seed) -> tensors to draw batches from
    loss: Callable  # (model, batch, generator) -> (b,)
    data_name: str
    shape: tuple[int, ...]
    steps: int
    batch: int = 64
    lr: float = 1.2e-3
    ema: float = 0.9995
    bf16: bool | None = None  # see Trainer
    codec: str | None = None  # the model of the zoo that turns what is drawn into pictures


def middling(schedule: Schedule, b: int, generator: torch.Generator, centre: float = -0.4) -> torch.Tensor:
    "Draw times, a fifth of them anywhere and the others of middling noise, where there is most to learn; one in each of b equal slices."
    u = stratified_draw(schedule, b, generator) / schedule.t_max
    normal = torch.special.ndtri(((u - 0.2) / 0.8).clamp(1e-6, 1 - 1e-6))
    return torch.where(u < 0.2, u / 0.2, torch.sigmoid(normal + centre)) * schedule.t_max


def garment_model() -> Denoiser:
    return Denoiser(UNet(1, channels=(48, 96), blocks=(1, 2), heads=(0, 0, 4), groups=8), CosineSchedule(), predict_v)


def garment_loss(model: Denoiser, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return training_loss(model, to_model(images), generator, draw=middling)


def text_model(clip: str) -> Conditional:
    "A model that reads captions with the text tower of a CLIP of the zoo, which stays as it is."
    tokenizer, tower = build(read_model(clip)[0]['about']['tokenizer']), load(clip).text_model
    net = UNet(3, channels=(48, 96), blocks=(1, 1), heads=(0, 4, 4), cond_dim=tower.width, seq_dim=tower.width)
    return Conditional(Denoiser(net, CosineSchedule(), predict_x0), TextConditioner(tokenizer, tower, pooled=True))


def shapes_data(model: Conditional, root: str | None, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    "Images, half of them of two objects, and the tokens of captions of which a fifth leaves something out."
    world = draw_split(120_000, 32, 'train', seed, objects=(1, 2, 2, 3), brief=0.2)
    return world.images, model.conditioner.tokenizer(world.captions)


def emoji_model(channels: int, patch: int, schedule: Schedule) -> Conditional:
    "A model that reads captions of emoji on a grid of 16 x 16, of latents or of squares of pixels: the same work for each."
    clip = 'runs/clip-emoji-seed1'
    tokenizer, tower = build(read_model(clip)[0]['about']['tokenizer']), load(clip).text_model
    net = UNet(channels, channels=(40, 80), blocks=(1, 1), heads=(0, 4, 4), patch=patch, cond_dim=tower.width, seq_dim=tower.width)
    return Conditional(Denoiser(net, schedule, predict_x0), TextConditioner(tokenizer, tower, pooled=True))


def emoji_pixels(model: Conditional, root: str | None, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    pictures = load_data('emoji', 'train', root, size=64)
    return pictures.images, model.conditioner.tokenizer(pictures.captions)


def text_loss(model: Conditional, batch: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator) -> torch.Tensor:
    "Look most at high noise, where it is decided what is drawn."
    return conditional_loss(model, (to_model(batch[0]), batch[1]), generator, draw=partial(middling, centre=0.6), weight=clipped_snr)


def emoji_latents(model: Conditional, root: str | None, seed: int) -> tuple:
    "The laws of the latents, from their shards, and the tokens of the captions."
    laws = read_shards('runs/emoji-vae/latents')
    return laws['mean'], laws['log_var'], model.conditioner.tokenizer(load_data('emoji', 'train', root, size=64).captions)


def latent_loss(model: Conditional, batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> torch.Tensor:
    "Draw latents afresh; a coarser grid wants less noise."
    z = draw_latents(batch[0].float(), batch[1].float(), generator)
    return conditional_loss(model, (z, batch[2]), generator, draw=partial(middling, centre=0.2), weight=clipped_snr)


RECIPES = {
    'fashion-mnist': Recipe(
        garment_model, lambda model, root, seed: load_data('fashion-mnist', 'train', root).images, garment_loss, 'fashion-mnist', (1, 28, 28), 20_000
    ),
    'shapes': Recipe(lambda: text_model('clip-near-misses'), shapes_data, text_loss, 'shapes', (3, 32, 32), 5400, 32, lr=1.5e-3, ema=0.999, bf16=True),
    'shapes-first-tower': Recipe(lambda: text_model('clip-shapes'), shapes_data, text_loss, 'shapes', (3, 32, 32), 13_000, 32, lr=1.3e-3, ema=0.999, bf16=True),  # chapter 44's control
    'emoji-latent': Recipe(lambda: emoji_model(4, 1, CosineSchedule()), emoji_latents, latent_loss, 'emoji', (4, 16, 16), 6500, 32, lr=1.5e-3, ema=0.999, bf16=True, codec='emoji-vae'),
    'emoji-64': Recipe(lambda: emoji_model(3, 4, ShiftedSchedule(CosineSchedule(), 2.0)), emoji_pixels, text_loss, 'emoji', (3, 64, 64), 8000, 32, lr=1.5e-3, ema=0.999, bf16=True),
}


def forward_flops(model: Denoiser, shape: tuple[int, ...]) -> int:
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
    parser.add_argument('--start', help='begin with the weights of the network of this model: a folder, or a name in the zoo')
    a = parser.parse_args()
    recipe = RECIPES[a.name]
    out = a.out or Path('runs') / a.name
    steps, batch, lr, ema = (getattr(recipe, k) if getattr(a, k) is None else getattr(a, k) for k in ('steps', 'batch', 'lr', 'ema'))
    if min(steps, batch) < 1:
        parser.error(f'steps are {steps} and the batch {batch}, expected at least 1')
    torch.set_flush_denormal(True)
    torch.manual_seed(a.seed)  # the first weights
    model = recipe.model()
    if a.start:  # the network's weights; what reads the captions is as the recipe says
        net(model).load_state_dict(net(load(a.start)).state_dict())
    trainer = Trainer(model, recipe.loss, lr=lr, warmup=300, total=steps, weight_decay=0.01, ema=ema, seed=a.seed, device=a.device, bf16=recipe.bf16)
    trainer.settings |= {'recipe': a.name, 'batch': batch, 'start': a.start}
    out.mkdir(parents=True, exist_ok=True)
    trainer.resume(out / 'checkpoints')
    stream = batches(recipe.data(model, a.data_root, a.seed), batch, a.seed, trainer.step)
    run(trainer, stream, steps, out, 'images')
    model = trainer.ema.model.cpu()
    seconds, processor = spent(out)
    forward = forward_flops(model, recipe.shape)
    about = {'data': recipe.data_name, 'shape': list(recipe.shape), 'parameters': sum(p.numel() for p in model.parameters())}
    about |= {'steps': steps, 'images': steps * batch, 'batch': batch, 'seed': a.seed, 'rate': lr, 'ema': ema, 'start': a.start}
    about |= {'forward_flops': forward, 'training_flops': 3 * forward * steps * batch, 'seconds': seconds, 'processor_seconds': processor}
    about |= {'device': trainer.device.type, 'threads': torch.get_num_threads(), 'torch': torch.__version__.split('+')[0]}
    if recipe.codec:
        about['codec'] = recipe.codec
    if recipe.data_name == 'emoji':
        about['words'] = sorted({word for caption in load_data('emoji', 'train', a.data_root, size=8).captions for word in split_words(caption)})
    save(out, model, about, torch.float16)


if __name__ == '__main__':
    main()
