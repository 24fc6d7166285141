"""Teach the zoo's text-to-image model of shapes a seventh shape, the heart, from eight pictures; count what it draws then.

    python tools/train_lora.py --out runs/heart
    python tools/train_lora.py --out runs/heart --package
    python tools/train_lora.py --out runs/heart --runs long-0 --zoo      # the LoRA of the zoo

Four ways, from the same eight pictures. *lora*: low-rank changes beside all layers of the U-Net, and in each update as many
pictures that the model itself drew before, so that it keeps what it knows. *long*: the same for four times as many updates.
*light*: with a fifth of the weight of the old pictures. *alone*: without these.

A run that stops goes on from its last checkpoint when the same command is given again; what is finished is kept. Writes
OUT/WAY-SEED.safetensors and OUT/counts.json, and with --package the counts to diffbook/measured/adapters.json.
"""

import argparse
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from measure_text import draw, shares
from runs import run, spent
from safetensors.torch import load_file, save_file
from torch import Tensor
from train_classifier import ZOO, pin

from diffbook.adapters import add_lora, load_lora, prior_loss, save_lora
from diffbook.conditioning import conditional_loss
from diffbook.core import make_generator
from diffbook.data import Dataset, to_model
from diffbook.recipes import recipe
from diffbook.recognise import caption_agrees, read_shapes
from diffbook.shapes import draw_scenes, draw_split, scenes
from diffbook.store.files import write_whole
from diffbook.training import Trainer, load

HEART, RANK = 6, 4  # the number of the new shape; the rank of each change
WAYS = {'lora': (1.0, 300), 'long': (1.0, 1200), 'light': (0.2, 800), 'alone': (0.0, 200)}  # weight of the old pictures, and updates
MEASURED = Path(__file__).parent.parent / 'diffbook' / 'measured' / 'adapters.json'


def eight() -> Dataset:
    "The eight pictures: eight places, each colour once, sizes and grounds in turn."
    rows, cells = torch.arange(8), torch.tensor([0, 8, 2, 6, 4, 1, 5, 3])
    labels = torch.full((8, 13), -1)
    labels[:, :5] = torch.stack([rows % 3, torch.full((8,), HEART), rows, rows % 2, cells], 1)
    return draw_scenes(labels, 32, seed=11)


def asked(n: int, seed: int) -> Dataset:
    "Scenes of one heart, of any colour, size, place and ground."
    labels = scenes(n, seed, 0, (1,))[0]
    labels[:, 1] = HEART
    return draw_scenes(labels, 32, seed)


def old_pictures(path: Path, n: int) -> tuple[Tensor, list[str]]:
    "What the model draws for captions of its own world, before it learns anything new."
    world = draw_split(n, 32, 'train', 3, objects=(1, 2, 2, 3))
    if not path.exists():
        save_file({'images': draw(load('shapes'), list(world.captions), 2.0, 16, 77, 32)}, path)
    return to_model(load_file(path)['images']), list(world.captions)


def batches(new: tuple[Tensor, list[str]], old: tuple[Tensor, list[str]], b: int, seed: int, step: int) -> Iterator[tuple]:
    "Half of each batch is new, half old."
    while True:
        g = make_generator(seed, 'lesson', step)
        rows = [torch.randint(len(images), (b // 2,), generator=g).tolist() for images, _ in (new, old)]
        yield tuple((images[r], [captions[i] for i in r]) for (images, captions), r in zip((new, old), rows))
        step += 1


def teach(out: Path, way: str, seed: int, a: argparse.Namespace) -> Path:
    "Train one way, unless it is done."
    file, folder, made = out / f'{way}-{seed}.safetensors', out / f'{way}-{seed}', recipe('shapes')
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    old, lesson = old_pictures(out / 'old.safetensors', a.old), eight()
    model, options, (keep, steps) = load('shapes'), {'draw': made.draw, 'weight': made.weight}, WAYS[way]
    add_lora(model, RANK, where=lambda name: name.startswith('denoiser'), name='heart', seed=seed)
    loss = (lambda m, batch, g: prior_loss(m, batch, g, keep, **options)) if keep else (lambda m, batch, g: conditional_loss(m, batch[0], g, **options))
    steps = a.steps or steps
    trainer = Trainer(model, loss, lr=a.lr, warmup=30, total=steps, ema=0.98, seed=seed, device='cpu')
    trainer.settings |= {'recipe': way, 'batch': a.batch}
    trainer.resume(folder / 'checkpoints')
    new = to_model(lesson.images), list(lesson.captions)
    run(trainer, batches(new, old, a.batch, seed, trainer.step), steps, folder, 'images')
    about = {'base': 'shapes', 'words': ['heart'], 'steps': steps, 'batch': a.batch, 'rate': a.lr, 'seed': seed, 'processor_seconds': spent(folder)[1]}
    save_lora(trainer.ema.model, file, 'heart', about, torch.float16)
    return file


def count(file: Path | None, n: int, seed: int, strength: float = 1.0) -> tuple[dict, Tensor]:
    "Count hearts, and how often scenes of the old world are right; and give some pictures of hearts."
    model, world = load('shapes'), asked(n, 5)
    if file is not None:
        load_lora(model, file, strength, name='heart')
    pictures = draw(model, list(world.captions), 3.0, 20, seed, 32)
    labels = read_shapes(pictures, new=True)
    heart = (labels[:, 5] < 0) & (labels[:, 1] == HEART)
    row = {'n': n, 'heart': heart.double().mean().item(), 'all': caption_agrees(world.captions, labels)['all'].double().mean().item()}
    test = draw_split(n, 32, 'new scenes', 1, objects=(1,))
    row['old'] = shares(list(test.captions), draw(model, list(test.captions), 3.0, 20, 0, 32))['all']
    return row, pictures[:8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('runs/heart'))
    parser.add_argument(
        '--runs',
        nargs='+',
        default=['lora-0', 'long-0', 'long-0@1.3', 'light-0', 'alone-0'],
        metavar='WAY-SEED',
        help='after an @ the strength with which it is counted',
    )
    parser.add_argument('--steps', type=int, help='updates of every way, in place of its own number')
    parser.add_argument('--batch', type=int, default=12, help='pictures an update: half of them new, half old')
    parser.add_argument('--lr', type=float, default=8e-3)
    parser.add_argument('--old', type=int, default=192, help='pictures that the model draws before')
    parser.add_argument('--n', type=int, default=48, help='pictures to count, of each kind')
    parser.add_argument('--train', action='store_true', help='train, count nothing')
    parser.add_argument('--zoo', action='store_true', help='write the one run that is named into the zoo of the package, as `heart`')
    parser.add_argument('--package', action='store_true', help='write the counts into the package, where the chapter reads them')
    a = parser.parse_args()
    asked_for = {name: re.fullmatch(rf'({"|".join(WAYS)})-(\d+)(?:@(\d+(?:\.\d+)?))?', name) for name in a.runs}
    if not all(asked_for.values()):
        parser.error(
            f'--runs are {" ".join(a.runs)}, expected some of {", ".join(WAYS)}, each with a seed, such as lora-0, and perhaps a strength, such as lora-0@1.3'
        )
    torch.set_flush_denormal(True)
    a.out.mkdir(parents=True, exist_ok=True)
    files = {name: teach(a.out, said[1], int(said[2]), a) for name, said in asked_for.items()}
    if a.train:
        return
    counts = json.loads((a.out / 'counts.json').read_text()) if (a.out / 'counts.json').exists() else {}
    gallery = load_file(a.out / 'gallery.safetensors') if (a.out / 'gallery.safetensors').exists() else {}
    for name, file in {'before-0': None, **files}.items():
        if name not in counts:
            begun = time.process_time()
            seed, strength = (int(asked_for[name][2]), float(asked_for[name][3] or 1)) if file else (0, 1.0)
            counts[name], gallery[name] = count(file, a.n, seed, strength)
            counts[name] |= {'trained': spent(a.out / name.partition('@')[0])[1] if file else 0, 'counted': round(time.process_time() - begun)}
            print(name, counts[name], flush=True)
            write_whole(a.out / 'counts.json', (json.dumps(counts, indent=1) + '\n').encode())
            save_file(gallery, a.out / 'gallery.safetensors')
    if a.zoo:
        (name,) = (n for n in a.runs if '@' not in n)
        folder = ZOO / 'heart'
        folder.mkdir(exist_ok=True)
        write_whole(folder / 'lora.safetensors', files[name].read_bytes())
        (folder / 'log.csv').write_text((a.out / name / 'log.csv').read_text())
        pin(
            'heart',
            'heart/lora.safetensors',
            command=f'python tools/train_lora.py --runs {name} --batch {a.batch} --lr {a.lr} --old {a.old} --zoo',
            log='heart/log.csv',
        )
    if a.package:
        command = f'python tools/train_lora.py --out runs/heart --batch {a.batch} --lr {a.lr} --old {a.old} --n {a.n} --package'
        report = {'command': command, 'rank': RANK, 'pictures': 8, 'ways': WAYS, 'counts': counts}
        write_whole(MEASURED, (json.dumps(report, indent=1) + '\n').encode())


if __name__ == '__main__':
    main()
