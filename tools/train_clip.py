"""Train the book's small CLIP on captioned pictures and count how well it retrieves.

    python tools/train_clip.py --zoo
    python tools/train_clip.py --seed 1 --out runs/clip-shapes-judge
    python tools/train_clip.py --data emoji --seed 1 --out runs/clip-emoji-judge
    python tools/train_clip.py --data near-misses --zoo    # goes on from clip-shapes

Weights and data order are functions of the seed, so a run that stops goes on from its last checkpoint when the same
command is given again. Writes checkpoints to OUT/checkpoints, OUT/log.csv, and at the end the averaged model in half
precision, OUT/model.safetensors and OUT/config.json, whose `about` holds the tokenizer and the retrieval on pictures
never seen, and OUT/report.json with the same for people. With --zoo all of this goes into the package.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from runs import run, spent
from train_classifier import ZOO, pin

from diffbook.core import build, describe
from diffbook.data import Dataset, batches, load_data, to_model
from diffbook.nets.clip import CLIP, ImageTower, TextTower, clip_loss, retrieval
from diffbook.recognise import draw_near_misses
from diffbook.shapes import FIELDS, draw_split
from diffbook.text import Tokenizer, train_merges
from diffbook.training import Trainer, load, save


@dataclass(frozen=True)
class Recipe:
    "All that makes one CLIP."

    data: Callable  # (split, n, seed, root) -> Dataset
    tests: tuple[str, ...]  # splits to count on
    size: int  # of the pictures
    images: int  # pictures to train on
    merges: int  # of the tokenizer, at most
    among: int  # candidates in retrieval
    steps: int
    text: dict
    image: dict
    shift: int = 0  # move training pictures by up to so many pixels
    family: int = 1  # so many pictures in a row stay together in a batch
    start: str = ''  # begin with the weights and the tokenizer of this model


def shapes(split: str, n: int, seed: int, root: str | None) -> Dataset:
    "Training captions leave something out one time in five, so that short prompts are nothing new."
    train = split == 'train'
    return draw_split(n, 32, split, seed if train else 1_000_000 + seed, brief=0.2 if train else 0.0)


def near_misses(split: str, n: int, seed: int, root: str | None) -> Dataset:
    return draw_near_misses(n // 4, 32, 'train', seed) if split == 'train' else shapes(split, n, seed, root)


def emoji(split: str, n: int, seed: int, root: str | None) -> Dataset:
    return load_data('emoji', split, root, size=32)


SMALL = {'width': 128, 'layers': 3, 'heads': 4, 'hidden': 256}
RECIPES = {
    'shapes': Recipe(shapes, ('new scenes', 'new kinds'), 32, 60_000, 256, 64, 800, SMALL, SMALL | {'patch': 8}),
    'emoji': Recipe(emoji, ('train', 'test'), 32, 0, 1500, 100, 1200, SMALL, SMALL | {'patch': 8}, 3),
    'near-misses': Recipe(near_misses, ('new scenes', 'new kinds'), 32, 160_000, 0, 64, 1600, SMALL, SMALL | {'patch': 8}, family=4, start='clip-shapes'),
}  # fmt: skip


def shifted(images: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    "Move each picture by its own whole numbers of pixels; the border is repeated."
    n, _, h, w = images.shape
    dx, dy = torch.randint(-most, most + 1, (2, n, 1, 1, 1), generator=generator, device=generator.device).to(images.device)
    rows = (torch.arange(h, device=images.device)[:, None] + dy).clamp(0, h - 1)
    columns = (torch.arange(w, device=images.device) + dx).clamp(0, w - 1)
    return images.gather(2, rows.expand(n, *images.shape[1:])).gather(3, columns.expand(n, *images.shape[1:]))


def loss_of(recipe: Recipe) -> Callable:
    def loss(clip: CLIP, batch: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator) -> torch.Tensor:
        images, tokens = (part.flatten(0, 1) if recipe.family > 1 else part for part in batch)
        if recipe.shift:
            images = shifted(images, recipe.shift, generator)
        return clip_loss(clip, (to_model(images), tokens), generator)

    return loss


def shortest(tokens: torch.Tensor, end: int) -> torch.Tensor:
    "Cut off the columns in which every text has ended: what stands behind an end changes nothing."
    return tokens[:, : (tokens == end).int().argmax(1).max() + 1]


@torch.no_grad()
def vectors(clip: CLIP, data: Dataset, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [clip(to_model(x), t) for x, t in zip(data.images.split(256), tokens.split(256))]
    return tuple(torch.cat(v) for v in zip(*parts))


def count(clip: CLIP, tokenizer: Tokenizer, data: Dataset, among: int) -> dict:
    to_text, to_image = retrieval(*vectors(clip.eval(), data, shortest(tokenizer(data.captions), tokenizer.end)), among)
    n = len(data) // among * among
    return {'n': n, 'among': among, 'image_to_text': round(to_text, 4), 'text_to_image': round(to_image, 4)}


def tells_apart(clip: CLIP, tokenizer: Tokenizer, n: int, seed: int) -> dict:
    "Count how often a picture prefers its own caption to that of a near miss never seen, by what differs between the two."
    pairs = draw_near_misses(n, 32, 'new scenes', 1_000_000 + seed, k=4, objects=(2,))
    images, texts = (v.reshape(n, 4, -1) for v in vectors(clip.eval(), pairs, shortest(tokenizer(pairs.captions), tokenizer.end)))
    prefers = (images[:, :1] * texts[:, :1]).sum(2) > (images[:, :1] * texts[:, 1:]).sum(2)
    things = pairs.labels[:, 1:9].reshape(n, 4, 2, 4)
    differ = things[:, 1:] != things[:, :1]
    both, fields = differ.any(3).all(2), differ[..., :3].any(2)  # in both things; shape, colour, size of any
    places = (things[:, 1:, :, :3] == things[:, :1].flip(2)[..., :3]).flatten(2).all(2)
    kinds = {'places exchanged': places} | {f'{name}s exchanged': both & ~places & fields[..., k] for k, name in enumerate(FIELDS[:3])}
    kinds |= {f'another {name}': ~both & fields[..., k] for k, name in enumerate(FIELDS[:3])}
    return {kind: {'n': int(which.sum()), 'right': round(prefers[which].double().mean().item(), 4)} for kind, which in kinds.items()}


def begin(recipe: Recipe, train: Dataset, seed: int) -> tuple[Tokenizer, CLIP]:
    "Make a tokenizer and an untrained model, or take those of a model."
    if recipe.start:
        clip = load(recipe.start)
        return build(clip.about['tokenizer']), clip.float()
    tokenizer = Tokenizer(train_merges(train.captions, recipe.merges), context=32)
    torch.manual_seed(seed)  # the first weights
    text = TextTower(tokenizer.vocab_size, tokenizer.context, **recipe.text, end=tokenizer.end)
    return tokenizer, CLIP(text, ImageTower(recipe.size, **recipe.image), 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', choices=RECIPES, default='shapes')
    parser.add_argument('--out', type=Path)
    parser.add_argument('--data-root')
    parser.add_argument('--images', type=int, help='pictures to draw for training')
    parser.add_argument('--steps', type=int)
    parser.add_argument('--batch', type=int, default=256)
    parser.add_argument('--lr', type=float, default=1.5e-3)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--device', help='cuda, mps or cpu; the best there is, if not said')
    parser.add_argument('--zoo', action='store_true', help='write to the zoo of the package and pin the files there')
    a = parser.parse_args()
    recipe, name = RECIPES[a.data], f'clip-{a.data}'
    steps, images = a.steps or recipe.steps, a.images or recipe.images
    if min(steps, a.batch, a.threads) < 1:
        parser.error(f'steps are {steps}, the batch {a.batch} and threads {a.threads}, expected at least 1')
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    out = a.out or Path('runs') / name
    out.mkdir(parents=True, exist_ok=True)
    begun = time.process_time()
    train = recipe.data('train', images, a.seed, a.data_root)
    tokenizer, clip = begin(recipe, train, a.seed)
    tokens = shortest(tokenizer(train.captions), tokenizer.end)
    examples = (train.images, tokens)
    if recipe.family > 1:
        examples = tuple(part.unflatten(0, (-1, recipe.family)) for part in examples)
    trainer = Trainer(clip, loss_of(recipe), lr=a.lr, warmup=100, total=steps, weight_decay=0.01, seed=a.seed, device=a.device)
    trainer.settings |= {'recipe': name, 'batch': a.batch, 'images': len(train)}
    trainer.resume(out / 'checkpoints')
    stream = batches(examples, a.batch // recipe.family, a.seed, trainer.step)
    run(trainer, stream, steps, out, 'pairs', 25, scale=lambda: clip.logit_scale.exp().item())
    seconds, processor = spent(out)
    averaged = trainer.ema.model.cpu()
    counts = {split: count(averaged, tokenizer, recipe.data(split, 4096, a.seed, a.data_root), recipe.among) for split in recipe.tests}
    print(json.dumps(counts, indent=1))
    facts = {'data': train.name, 'images': len(train), 'size': recipe.size, 'parameters': sum(p.numel() for p in averaged.parameters())}
    facts |= {'steps': steps, 'batch': a.batch, 'pairs': steps * a.batch, 'seed': a.seed, 'rate': a.lr, 'retrieval': counts}
    facts |= {'seconds': seconds, 'processor_seconds': processor, 'threads': a.threads}
    if a.data != 'emoji':
        facts |= {'near_misses': tells_apart(averaged, tokenizer, 2048, a.seed), 'start': recipe.start}
    facts |= {'processors': os.cpu_count(), 'device': trainer.device.type, 'torch': torch.__version__.split('+')[0]}
    print(f'{time.process_time() - begun:.0f} processor seconds in all')
    folder = ZOO / name if a.zoo else out
    save(folder, averaged, facts | {'tokenizer': describe(tokenizer)}, torch.float16)
    (folder / 'report.json').write_text(json.dumps(facts, indent=1) + '\n')
    if a.zoo:
        (folder / 'log.csv').write_text((out / 'log.csv').read_text())
        command = f'python tools/train_clip.py --data {a.data} --steps {steps} --batch {a.batch} --lr {a.lr} --seed {a.seed} --zoo'
        pin(name, f'{name}/model.safetensors', command=command, report=f'{name}/report.json', log=f'{name}/log.csv')


if __name__ == '__main__':
    main()
