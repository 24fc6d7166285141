"""Train a small MMDiT on captioned shapes beside the U-Net of the chapter on text to image, for equal time, and count what they draw.

    python -m benchmarks.mmdit                          # four arms of seven minutes: half an hour of one core
    python -m benchmarks.mmdit --seconds 1500 --only mmdit-own --keep runs/mmdit --out runs/mmdit.json --zoo    # the MMDiT of the zoo
    python -m benchmarks.mmdit --seconds 20 --n 32 --seeds 0 --out /tmp/mmdit.json

Scenes of one object, 20 x 20 pixels: the smallest that the reader of shapes reads without a slip. Both networks read the same captions with the same frozen text tower, in the same
batches. An arm is a network and a recipe: `flow` is rectified flow with logit-normal times, `own` that of the U-Net's
chapter (x0 on the cosine schedule). The first updates of an arm are timed, and its rate falls over as many as should fit into the
seconds of the processor; when they are over it ends. Writes diffbook/measured/mmdit.json (of each arm the log, its time, and how many of n captions that were never
trained on are obeyed, fact by fact, and the first eight pictures). The averaged models go to folders within --keep. A run that stops goes on when the command is given again: arms that stand in the file are kept.
"""

import argparse
import base64
import io
import json
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from diffbook.conditioning import TextConditioner
from diffbook.core import make_generator
from diffbook.data import Dataset, batches, from_model, to_model
from diffbook.guidance import guide
from diffbook.ledger import wilson
from diffbook.losses import logit_normal_draw
from diffbook.nets.mmdit import MMDiT
from diffbook.predictions import predict_velocity
from diffbook.recipes import Recipe, recipe
from diffbook.recognise import caption_agrees, read_shapes
from diffbook.samplers import clip_x0
from diffbook.schedules import RectifiedFlowSchedule
from diffbook.shapes import draw_split
from diffbook.stages import Stage
from diffbook.store.files import write_whole
from diffbook.text import Tokenizer
from diffbook.training import save
from tools.train_classifier import ZOO, pin

OUT = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'mmdit.json'
SIDE, PATCH, DIM, DEPTH, HEADS, WORDS = 20, 4, 96, 4, 3, 16
ARMS = {  # (network, recipe) -> how many of the seeds
    ('mmdit', 'own'): 1,
    ('unet', 'own'): 1,
    ('mmdit', 'flow'): 1,
    ('unet', 'flow'): 1,
}
SHOWN = 8


def small_mmdit(shape: tuple[int, ...], cond_dim: int, seq_dim: int) -> MMDiT:
    "Four joint blocks of 96 channels over squares of 4 x 4 pixels."
    return MMDiT(shape[0], DIM, DEPTH, HEADS, patch=PATCH, seq_dim=seq_dim, vec_dim=cond_dim, table=SIDE // PATCH, base=SIDE // PATCH, qk_norm=True)


def reader(found: Dataset) -> TextConditioner:
    "The frozen tower of the chapter, with a list of sixteen tokens, which hold every caption of one object."
    whole = recipe('shapes').reader(found)
    return TextConditioner(Tokenizer(**whole.tokenizer.arguments | {'context': WORDS}), whole.tower, pooled=True)


def arm(net: str, by: str) -> Recipe:
    "The recipe of one arm; what both nets share is that of the chapter's U-Net."
    made = replace(recipe('shapes'), reader=reader, warmup=50, ema=0.99, lr=1.5e-3)
    if net == 'mmdit':
        made = replace(made, net=small_mmdit, lr=3e-3)
    return replace(made, schedule=RectifiedFlowSchedule(), prediction=predict_velocity, draw=logit_normal_draw, weight=None) if by == 'flow' else made


def train(made: Recipe, found: Dataset, seconds: float, seed: int, bar: tqdm):
    "Make as many updates as fit into so many seconds of the processor; give the averaged model and the log."
    model = made.model(found, seed)
    examples = made.examples(found, model)
    trial = made.trainer(made.model(found, seed), seed=seed)  # to be timed and thrown away
    clock = [time.process_time() for _ in trial.fit(islice(batches(examples, made.batch, seed), 14))]
    each = (clock[-1] - clock[3]) / 10
    total = max(2, int(seconds / each) - 14)  # the trial counts
    trainer = replace(made, steps=total).trainer(model, seed=seed)
    begun, log, losses = time.process_time(), [], []
    for step in trainer.fit(islice(batches(examples, made.batch, seed), total)):
        losses.append(step.loss)
        over = time.process_time() - begun + 14 * each > seconds
        if step.step % 50 == 0 or step.step == total or over:
            log.append({'images': step.step * made.batch, 'seconds': round(time.process_time() - begun, 1), 'loss': torch.stack(losses).mean().item()})
            losses = []
            bar.update(min(seconds, log[-1]['seconds']) - bar.n)
        if over:
            break
    return trainer.ema.model.eval(), log, 14 * each


def draw(model, captions: list[str], scale: float, steps: int, seed: int) -> torch.Tensor:
    "One picture for each caption, (n, 3, side, side) uint8."
    pictures = []
    with torch.inference_mode():
        for first in range(0, len(captions), 64):
            some = captions[first : first + 64]
            stage = Stage(clip_x0(guide(model, model.null(len(some)), scale)), model.schedule, (3, SIDE, SIDE))
            pictures.append(from_model(stage.draw(len(some), model.condition(some), seed=seed, first=first, steps=steps)))
    return torch.cat(pictures)


def rounded(values: torch.Tensor) -> list[float]:
    return [float(f'{v:.4g}') for v in values.tolist()]


def text_share(model, world: Dataset, level: float, seed: int) -> list[list[float]]:
    "The mean share of their attention that the patches of each picture give to words, block by block, at a time between 0 and 1."
    net, x0 = model.denoiser.net, to_model(world.images[:64])
    eps = torch.randn(x0.shape, generator=make_generator(seed, 'mmdit share'))
    t = torch.full((len(x0),), level, dtype=torch.float64) * model.schedule.t_max
    shares = []
    with torch.inference_mode():
        cond, x = model.condition(list(world.captions[:64])), model.schedule.perturb(x0, eps, t)
        c, text, image = net.told(1000 * level * torch.ones(len(x0)), cond.vec), net.read(cond.seq), net.patches(x)
        image = image.flatten(2).mT + net.window(*image.shape[2:])
        mask = torch.cat([cond.mask, cond.mask.new_ones(len(x0), image.shape[1])], 1)
        for block in net.blocks:
            asks = [block.text.ask(text, block.text.hear(c)), block.image.ask(image, block.image.hear(c))]
            q, k = asks[1][0].transpose(1, 2), torch.cat([asks[0][1], asks[1][1]], 1).transpose(1, 2)
            weights = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
            shares.append(rounded(weights[..., : text.shape[1]].sum(-1).mean((1, 2))))
            text, image = block(text, image, c, mask=mask)
    return shares


def as_png(pictures: torch.Tensor) -> str:
    "A row of pictures as the text of a PNG file."
    held = io.BytesIO()
    Image.fromarray(pictures.permute(2, 0, 3, 1).reshape(SIDE, -1, 3).numpy()).save(held, 'PNG')
    return base64.b64encode(held.getvalue()).decode()


def listening(model, world: Dataset, seed: int) -> dict[str, list[float]]:
    "The squared error of each estimate of x0 at t = 0.9 of the way to noise, with the right caption and with another's."
    x0, n = to_model(world.images), len(world.images)
    eps = torch.randn(x0.shape, generator=make_generator(seed, 'mmdit listen'))
    t = 0.9 * torch.ones(n, dtype=torch.float64) * model.schedule.t_max
    with torch.inference_mode():
        right, x = model.condition(list(world.captions)), model.schedule.perturb(x0, eps, t)
        return {
            name: rounded((model(x, t, cond) - x0).square().flatten(1).mean(1))
            for name, cond in (('right', right), ('wrong', right.map(lambda v: v.roll(1, 0))))
        }


def run(net: str, by: str, seed: int, a: argparse.Namespace, found: Dataset, world: Dataset) -> dict:
    made, captions = arm(net, by), list(world.captions)
    with tqdm(total=a.seconds, desc=f'{net}, {by}, seed {seed}', unit='s') as bar:
        model, log, timing = train(made, found, a.seconds, seed, bar)
    begun = time.process_time()
    pictures = draw(model, captions, a.scale, a.steps, seed)
    right = {fact: ok.double().mean().item() for fact, ok in caption_agrees(captions, read_shapes(pictures)).items()}
    row = {
        'net': net, 'recipe': by, 'seed': seed, 'parameters': sum(p.numel() for p in model.denoiser.net.parameters()), 'rate': made.lr, 'batch': made.batch,
        'updates': log[-1]['images'] // made.batch, 'images': log[-1]['images'], 'processor_seconds': round(log[-1]['seconds'] + timing, 1), 'n': len(captions), 'right': right, 'interval': wilson(right['all'], len(captions)),
        'listening': listening(model, world, seed), 'drawing_seconds': round(time.process_time() - begun, 1), 'log': log, 'pictures': as_png(pictures[:SHOWN]),
    }  # fmt: skip
    if net == 'mmdit':
        row['text_share'] = {level: text_share(model, world, level, seed) for level in (0.1, 0.5, 0.9)}
    if a.keep:
        save(
            a.keep / f'{net}-{by}-{seed}',
            model,
            {key: row[key] for key in ('net', 'recipe', 'seed', 'images', 'parameters')} | {'shape': [3, SIDE, SIDE]},
            torch.float16,
        )
    return row


def to_zoo(row: dict, kept: Path, command: str) -> None:
    "Copy an averaged model with its log and what it obeyed into the zoo of the package, and pin its file."
    folder = ZOO / 'shapes-mmdit'
    folder.mkdir(exist_ok=True)
    for name in ('model.safetensors', 'config.json'):
        write_whole(folder / name, (kept / name).read_bytes())
    lines = ['images,seconds,loss', *(f'{at["images"]},{at["seconds"]},{at["loss"]:.5f}' for at in row['log'])]
    write_whole(folder / 'log.csv', ('\n'.join(lines) + '\n').encode())
    report = {'command': command, 'rows': [{key: row[key] for key in ('n', 'right', 'interval', 'seed', 'images', 'processor_seconds', 'rate', 'batch')}]}
    write_whole(folder / 'report.json', (json.dumps(report, indent=1) + '\n').encode())
    pin('shapes-mmdit', 'shapes-mmdit/model.safetensors', command=command, report='shapes-mmdit/report.json', log='shapes-mmdit/log.csv')


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.mmdit', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=420.0, help='of the processor, for the training of each arm')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--images', type=int, default=30_000, help='different scenes to train on')
    parser.add_argument('--n', type=int, default=256, help='captions that are drawn')
    parser.add_argument('--scale', type=float, default=3.0, help='of guidance')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--only', nargs='*', help='arms, such as mmdit-flow; the others are left as they are')
    parser.add_argument('--keep', type=Path, help='write the averaged models there')
    parser.add_argument('--zoo', action='store_true', help='write the last model that was trained into the zoo of the package too; needs --keep')
    parser.add_argument('--out', type=Path, default=OUT)
    a = parser.parse_args()
    if a.zoo and not a.keep:
        parser.error('--zoo copies what --keep has written, expected --keep FOLDER too')
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    found = draw_split(a.images, SIDE, 'train', 0, objects=(1,), brief=0.2)
    world = draw_split(a.n, SIDE, 'new scenes', 1, objects=(1,))
    facts = {
        'command': 'python -m benchmarks.mmdit',
        'seconds': a.seconds,
        'scale': a.scale,
        'steps': a.steps,
        'torch': torch.__version__.split('+')[0],
        'captions': list(world.captions[:SHOWN]),
    }
    had = json.loads(a.out.read_text()) if a.out.exists() else {'rows': []}
    rows = had['rows'] if had.get('seconds') == a.seconds else []
    for i, seed in enumerate(a.seeds):
        for (net, by), seeds in ARMS.items():
            done = any((row['net'], row['recipe'], row['seed']) == (net, by, seed) for row in rows)
            if done or i >= seeds or (a.only and f'{net}-{by}' not in a.only):
                continue
            row = run(net, by, seed, a, found, world)
            rows.append(row)
            write_whole(a.out, (json.dumps(facts | {'seeds': sorted({row['seed'] for row in rows}), 'rows': rows}, indent=1) + '\n').encode())
            print({key: row[key] for key in ('net', 'recipe', 'seed', 'images', 'processor_seconds', 'right')}, flush=True)
            if a.zoo:
                command = f'python -m benchmarks.mmdit --seconds {a.seconds:g} --only {net}-{by} --keep runs/mmdit --out runs/mmdit.json --zoo'
                to_zoo(row, a.keep / f'{net}-{by}-{seed}', command)


if __name__ == '__main__':
    main()
