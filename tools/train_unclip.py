"""Train the two stages of unCLIP on drawn scenes of one object, with the CLIP of the zoo.

    python tools/train_unclip.py prior --out runs/unclip-prior
    python tools/train_unclip.py spelled --out runs/unclip-spelled    # the prior that is autoregressive
    python tools/train_unclip.py decoder --out runs/unclip-decoder
    python tools/train_unclip.py decoder --out runs/unclip-decoder --steps 20000

The priors learn the embeddings of the pictures given the captions; half of these leave something unsaid, so that there is
something to draw. The decoder learns the pictures, given the embeddings in units of their spread. It and the prior that is a
diffusion model forget what they are told in one example of ten, for guidance. The rate falls to zero at the last update.

Everything random is a function of seed and update; a run that stops goes on from its last checkpoint when the same command
is given again. Writes checkpoints to OUT/checkpoints, a line of OUT/log.csv every 50 updates, and at the end the model of
the zoo: OUT/model.safetensors (averaged weights, half precision) and OUT/config.json. With --zoo it goes to the zoo of the
package, and the files there are pinned.
"""

import argparse
import json
from pathlib import Path

import torch
from runs import run, spent
from torch.nn.functional import cross_entropy
from train_classifier import ZOO, pin

from diffbook.conditioning import Conditional, drop
from diffbook.core import Cond, build
from diffbook.data import Dataset, batches, to_model
from diffbook.losses import Denoiser, clipped_snr, training_loss
from diffbook.nets.clip import CLIP
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_x0
from diffbook.recipes import middling
from diffbook.schedules import CosineSchedule
from diffbook.shapes import draw_split
from diffbook.text import Tokenizer
from diffbook.training import Trainer, load, save
from diffbook.unclip import AutoregressivePrior, EmbeddingConditioner, PriorTransformer, read_texts

LETTERS, ALPHABET = 24, 32  # of the autoregressive prior
CONTEXT = 16  # tokens of a caption of one object, and some to spare
NUMBERS = {
    'prior': {'steps': 3000, 'batch': 64, 'lr': 2e-3},
    'spelled': {'steps': 3000, 'batch': 64, 'lr': 2e-3},
    'decoder': {'steps': 12_000, 'batch': 16, 'lr': 2e-3},
}


def scenes(n: int, seed: int) -> Dataset:
    "Scenes of one object; half of the captions leave something out."
    return draw_split(n, 32, 'train', seed, objects=(1,), brief=0.5)


@torch.no_grad()
def image_vectors(clip: CLIP, data: Dataset) -> torch.Tensor:
    "The embeddings of the pictures."
    return torch.cat([clip.encode_image(to_model(part)) for part in data.images.split(512)])


def prior(clip: CLIP, tokenizer: Tokenizer, data: Dataset, z: torch.Tensor) -> tuple:
    "The untrained prior, its examples and its loss."
    net = PriorTransformer(z.shape[1], 128, 2, 4, context=CONTEXT, seq_dim=clip.text_model.width)
    net.mean.copy_(z.mean(0, keepdim=True))
    net.std.copy_(z.std(0, keepdim=True))
    with torch.no_grad():
        text, silent = read_texts(clip, tokenizer, data.captions), read_texts(clip, tokenizer, ('',))

    def loss(model: Denoiser, batch: tuple, generator: torch.Generator) -> torch.Tensor:
        x0, vec, seq, mask = batch
        cond = Cond(vec=vec, seq=seq.float(), mask=mask)
        pad = seq.shape[1] - silent.seq.shape[1]
        null = Cond(vec=silent.vec, seq=torch.nn.functional.pad(silent.seq, (0, 0, 0, pad)), mask=torch.nn.functional.pad(silent.mask, (0, pad)))
        null = null.map(lambda v: v.to(x0.device).expand(len(x0), *v.shape[1:]))
        return training_loss(model, x0, generator, drop(cond, null, 0.1, generator))

    return Denoiser(net, CosineSchedule(), predict_x0), (net.encode(z), text.vec, text.seq.half(), text.mask), loss


def spelled(clip: CLIP, tokenizer: Tokenizer, data: Dataset, z: torch.Tensor) -> tuple:
    "The untrained autoregressive prior, its examples and its loss: the nats of a letter."
    net = AutoregressivePrior(z.shape[1], LETTERS, ALPHABET, 128, 2, 4, context=CONTEXT, seq_dim=clip.text_model.width).fit(z)
    with torch.no_grad():
        text = read_texts(clip, tokenizer, data.captions)

    def loss(model: AutoregressivePrior, batch: tuple, generator: torch.Generator) -> torch.Tensor:
        word, vec, seq, mask = batch
        return cross_entropy(model(word, Cond(vec=vec, seq=seq.float(), mask=mask)).mT, word)

    return net, (net.encode(z), text.vec, text.seq.half(), text.mask), loss


def decoder(clip: CLIP, tokenizer: Tokenizer, data: Dataset, z: torch.Tensor) -> tuple:
    "The untrained decoder, its examples and its loss."
    net = UNet(3, channels=(32, 64), blocks=(1, 1), heads=(0, 0, 4), groups=8, cond_dim=z.shape[1], img_channels=8)
    units = (z - z.mean(0)) / z.std(0)

    def loss(model: Conditional, batch: tuple, generator: torch.Generator) -> torch.Tensor:
        images, vec = batch
        cond = drop(model.condition(vec), model.null(len(vec)), 0.1, generator)
        return training_loss(model.denoiser, to_model(images), generator, cond, draw=lambda s, n, g: middling(s, n, g, centre=0.6), weight=clipped_snr)

    return Conditional(Denoiser(net, CosineSchedule(), predict_x0), EmbeddingConditioner(z.shape[1], 32)), (data.images, units), loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('stage', choices=NUMBERS)
    parser.add_argument('--out', type=Path)
    parser.add_argument('--clip', default='clip-shapes', help='a folder, or a name in the zoo')
    parser.add_argument('--images', type=int, default=40_000, help='scenes to draw')
    parser.add_argument('--steps', type=int)
    parser.add_argument('--batch', type=int)
    parser.add_argument('--lr', type=float)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='cuda, mps or cpu; the best there is, if not said')
    parser.add_argument('--zoo', action='store_true', help='write to the zoo of the package and pin the files there')
    a = parser.parse_args()
    numbers = {k: getattr(a, k) or v for k, v in NUMBERS[a.stage].items()}
    if min(numbers['steps'], numbers['batch'], a.images) < 1:
        parser.error(f'steps are {numbers["steps"]}, the batch {numbers["batch"]} and images {a.images}, expected at least 1 each')
    name, out = f'unclip-{a.stage}', a.out or Path('runs') / f'unclip-{a.stage}'
    torch.set_flush_denormal(True)
    clip = load(a.clip).float().eval().requires_grad_(False)
    tokenizer, data = build(clip.about['tokenizer']), scenes(a.images, a.seed)
    z = image_vectors(clip, data)
    torch.manual_seed(a.seed)  # the first weights
    model, examples, loss = {'prior': prior, 'spelled': spelled, 'decoder': decoder}[a.stage](clip, tokenizer, data, z)
    trainer = Trainer(
        model,
        loss,
        lr=numbers['lr'],
        warmup=200,
        total=numbers['steps'],
        weight_decay=0.01,
        ema=0.999,
        seed=a.seed,
        device=a.device,
    )
    trainer.settings |= {'recipe': name, 'batch': numbers['batch'], 'images': a.images}
    out.mkdir(parents=True, exist_ok=True)
    trainer.resume(out / 'checkpoints')
    run(trainer, batches(examples, numbers['batch'], a.seed, trainer.step), numbers['steps'], out, 'examples')
    seconds, processor = spent(out)
    model = trainer.ema.model.cpu()
    about = {'data': 'shapes', 'objects': 1, 'clip': a.clip, 'scenes': a.images, 'parameters': sum(p.numel() for p in model.parameters())}
    about |= {'steps': numbers['steps'], 'batch': numbers['batch'], 'rate': numbers['lr'], 'seed': a.seed, 'seconds': seconds, 'processor_seconds': processor}
    about |= {'device': trainer.device.type, 'threads': torch.get_num_threads(), 'torch': torch.__version__.split('+')[0]}
    folder = ZOO / name if a.zoo else out
    save(folder, model, about, torch.float16)
    print(json.dumps(about, indent=1))
    if a.zoo:
        (folder / 'log.csv').write_text((out / 'log.csv').read_text())
        command = f'python tools/train_unclip.py {a.stage} --steps {numbers["steps"]} --batch {numbers["batch"]} --lr {numbers["lr"]} --images {a.images} --seed {a.seed} --zoo'
        pin(name, f'{name}/model.safetensors', command=command, log=f'{name}/log.csv')


if __name__ == '__main__':
    main()
