"""Train the small autoencoder of emoji, measure what it loses, and store the latents of the training pictures.

    python tools/train_vae.py --out runs/emoji-vae
    python tools/train_vae.py --zoo    # and copy the model into the package

A run that stops goes on from its last checkpoint when the same command is given again. Writes checkpoints to
OUT/checkpoints, OUT/log.csv, and at the end the averaged model in half precision, OUT/model.safetensors and
OUT/config.json, whose `about` holds the error of reconstruction on pictures seen and never seen. OUT/latents holds mean
and log-variance of the latents of every training picture, at unit variance, as shards in the order of `load_data`.
"""

import argparse
import math
import shutil
from functools import partial
from pathlib import Path

import torch
from runs import run, spent
from train_classifier import ZOO, pin

from diffbook.data import batches, load_data, to_model, write_shards
from diffbook.nets.vae import AutoencoderKL, kl_to_normal, measure_scale, vae_loss
from diffbook.training import Trainer, save


def loss(vae: AutoencoderKL, images: torch.Tensor, generator: torch.Generator, kl_weight: float) -> torch.Tensor:
    return vae_loss(vae, to_model(images), generator, kl_weight=kl_weight)


@torch.no_grad()
def measure(vae: AutoencoderKL, images: torch.Tensor, seed: int = 0) -> dict[str, float]:
    "Root mean squared error of pixels in [-1, 1], from means and from draws, and nats a latent number."
    draw, squares, nats = torch.Generator().manual_seed(seed), torch.zeros(2, dtype=torch.float64), 0.0
    for part in images.split(64):
        x = to_model(part)
        mean, log_var = vae.posterior(x)
        nats += kl_to_normal(mean, log_var).double().sum().item() / mean[0].numel()
        for k, source in enumerate((None, draw)):
            y = vae.decode(vae.encode(x, source)).clamp(-1, 1)
            squares[k] += (y - x).square().mean((1, 2, 3)).double().sum()
    means, draws = (squares / len(images)).sqrt().tolist()
    return {'n': len(images), 'rms_of_means': round(means, 4), 'rms_of_draws': round(draws, 4), 'nats_a_latent': round(nats / len(images), 3)}


@torch.no_grad()
def laws(vae: AutoencoderKL, images: torch.Tensor, batch: int = 64):
    "Yield mean and log-variance of the latents at unit variance, a batch at a time."
    for part in images.split(batch):
        mean, log_var = vae.posterior(to_model(part))
        yield {'mean': vae.scale * mean, 'log_var': log_var + 2 * math.log(vae.scale)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('runs/emoji-vae'))
    parser.add_argument('--data-root')
    parser.add_argument('--steps', type=int, default=1000)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--lr', type=float, default=4e-3)
    parser.add_argument('--kl', type=float, default=5e-4, help='weight of the KL divergence')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='cuda, mps or cpu; the best there is, if not said')
    parser.add_argument('--zoo', action='store_true', help='copy the model into the zoo of the package and pin it there')
    a = parser.parse_args()
    if min(a.steps, a.batch) < 1:
        parser.error(f'steps are {a.steps} and the batch {a.batch}, expected at least 1')
    torch.set_flush_denormal(True)
    torch.manual_seed(a.seed)  # the first weights
    vae = AutoencoderKL(3, 3, (16, 32, 64), blocks=1, groups=8, attention=False, mix=False)
    vae.encoder.middle.head.bias.data[vae.latent_channels :] = -4.0  # little noise at first, so that the decoder hears the encoder
    trainer = Trainer(vae, partial(loss, kl_weight=a.kl), lr=a.lr, warmup=100, total=a.steps, ema=0.995, seed=a.seed, device=a.device)
    trainer.settings |= {'batch': a.batch, 'kl': a.kl}
    a.out.mkdir(parents=True, exist_ok=True)
    trainer.resume(a.out / 'checkpoints')
    train, test = (load_data('emoji', split, a.data_root, size=64).images for split in ('train', 'test'))
    run(trainer, batches(train, a.batch, a.seed, trainer.step), a.steps, a.out, 'images')
    vae = trainer.ema.model.cpu()
    vae.rescale(measure_scale(vae, to_model(train)))
    seconds, processor = spent(a.out)
    about = {'data': 'emoji', 'shape': [3, 64, 64], 'parameters': sum(p.numel() for p in vae.parameters()), 'steps': a.steps, 'batch': a.batch}
    about |= {'images': a.steps * a.batch, 'rate': a.lr, 'kl': a.kl, 'seed': a.seed, 'seconds': seconds, 'processor_seconds': processor}
    about |= {'seen': measure(vae, train), 'unseen': measure(vae, test), 'device': trainer.device.type}
    about |= {'threads': torch.get_num_threads(), 'torch': torch.__version__.split('+')[0]}
    print(about)
    save(a.out, vae, about, torch.float16)
    write_shards(a.out / 'latents', laws(vae, train), rows=1024, dtype=torch.float16, about={'scale': vae.scale, 'split': 'train'})
    if a.zoo:
        (ZOO / 'emoji-vae').mkdir(exist_ok=True)
        for name in ('model.safetensors', 'config.json', 'log.csv'):
            shutil.copy(a.out / name, ZOO / 'emoji-vae' / name)
        pin('emoji-vae', 'emoji-vae/model.safetensors', command=f'python tools/train_vae.py --steps {a.steps} --zoo', log='emoji-vae/log.csv')


if __name__ == '__main__':
    main()
