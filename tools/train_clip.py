"""Train the book's small CLIP on captioned pictures and count how well it retrieves.

    python tools/train_clip.py --zoo
    python tools/train_clip.py --seed 1 --out runs/clip-shapes-judge
    python tools/train_clip.py --data emoji --seed 1 --out runs/clip-emoji-judge

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
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm
from train_classifier import ZOO, pin

from diffbook.core import describe
from diffbook.data import Dataset, batches, draw_split, load_data, to_model
from diffbook.nets.clip import CLIP, ImageTower, TextTower, clip_loss, retrieval
from diffbook.text import Tokenizer, train_merges
from diffbook.training import Trainer, save


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


def shapes(split: str, n: int, seed: int, root: str | None) -> Dataset:
    "Training captions leave something out one time in five, so that short prompts are nothing new."
    train = split == 'train'
    return draw_split(n, 32, split, seed if train else 1_000_000 + seed, brief=0.2 if train else 0.0)


def emoji(split: str, n: int, seed: int, root: str | None) -> Dataset:
    return load_data('emoji', split, root, size=32)


SMALL = {'width': 128, 'layers': 3, 'heads': 4, 'hidden': 256}
RECIPES = {
    'shapes': Recipe(shapes, ('new scenes', 'new kinds'), 32, 60_000, 256, 64, 800, SMALL, SMALL | {'patch': 8}),
    'emoji': Recipe(emoji, ('train', 'test'), 32, 0, 1500, 100, 1200, SMALL, SMALL | {'patch': 8}, 3),
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
        images, tokens = batch
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


def run(trainer: Trainer, stream, steps: int, folder: Path, log: Path) -> None:
    "Make the updates that are left; log time by the clock and by the processor."
    kept = log.read_text().splitlines()[1:] if log.exists() and trainer.step else []
    kept = [line for line in kept if int(line.partition(',')[0]) <= trainer.step]
    before = [float(v) for v in kept[-1].split(',')[2:4]] if kept else [0.0, 0.0]
    begun, losses = (time.time() - before[0], time.process_time() - before[1]), []
    with log.open('w') as file, tqdm(total=steps, initial=trainer.step, unit='step') as bar:
        print('step,pairs,seconds,processor_seconds,loss,scale,rate', *kept, sep='\n', file=file, flush=True)
        for step in trainer.fit(islice(stream, max(0, steps - trainer.step)), folder, every=500):
            losses.append(step.loss)
            bar.update()
            if step.step % 25 == 0:
                mean, scale = torch.stack(losses).mean().item(), trainer.model.logit_scale.exp().item()
                clock = f'{time.time() - begun[0]:.0f},{time.process_time() - begun[1]:.0f}'
                pairs = step.step * trainer.settings['batch']
                print(f'{step.step},{pairs},{clock},{mean:.5f},{scale:.3f},{step.lr:.3e}', file=file, flush=True)
                bar.set_postfix(loss=f'{mean:.4f}', scale=f'{scale:.1f}')
                losses = []


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
    tokenizer = Tokenizer(train_merges(train.captions, recipe.merges), context=32)
    tokens = shortest(tokenizer(train.captions), tokenizer.end)
    torch.manual_seed(a.seed)  # the first weights
    text = TextTower(tokenizer.vocab_size, tokenizer.context, **recipe.text, end=tokenizer.end)
    clip = CLIP(text, ImageTower(recipe.size, **recipe.image), 64)
    trainer = Trainer(clip, loss_of(recipe), lr=a.lr, warmup=100, total=steps, weight_decay=0.01, seed=a.seed, device=a.device)
    trainer.settings |= {'recipe': name, 'batch': a.batch, 'images': len(train)}
    trainer.resume(out / 'checkpoints')
    run(trainer, batches((train.images, tokens), a.batch, a.seed, trainer.step), steps, out / 'checkpoints', out / 'log.csv')
    clip = trainer.ema.model.cpu()
    counts = {split: count(clip, tokenizer, recipe.data(split, 4096, a.seed, a.data_root), recipe.among) for split in recipe.tests}
    print(json.dumps(counts, indent=1))
    facts = {'data': train.name, 'images': len(train), 'size': recipe.size, 'parameters': sum(p.numel() for p in clip.parameters())}
    facts |= {'steps': steps, 'batch': a.batch, 'pairs': steps * a.batch, 'seed': a.seed, 'rate': a.lr, 'retrieval': counts}
    facts |= {'seconds': int(line_of(out, 2)), 'processor_seconds': int(line_of(out, 3)), 'threads': a.threads}
    facts |= {'processors': os.cpu_count(), 'device': trainer.device.type, 'torch': torch.__version__.split('+')[0]}
    print(f'{time.process_time() - begun:.0f} processor seconds in all')
    folder = ZOO / name if a.zoo else out
    save(folder, clip, facts | {'tokenizer': describe(tokenizer)}, torch.float16)
    (folder / 'report.json').write_text(json.dumps(facts, indent=1) + '\n')
    if a.zoo:
        (folder / 'log.csv').write_text((out / 'log.csv').read_text())
        command = f'python tools/train_clip.py --data {a.data} --steps {steps} --batch {a.batch} --lr {a.lr} --seed {a.seed} --zoo'
        pin(name, f'{name}/model.safetensors', command=command, report=f'{name}/report.json', log=f'{name}/log.csv')


def line_of(out: Path, column: int) -> float:
    "The last entry of a column of the log."
    last = (out / 'log.csv').read_text().split()[-1].split(',')
    return float(last[column]) if last[0].isdigit() else 0.0


if __name__ == '__main__':
    main()
