"""Train a small diffusion model on shapes that the package draws, and sample from it: `python -m diffbook.demo`."""

import argparse
import json
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from diffbook.losses import Denoiser

STEPS, BATCH, SIZE, SAMPLES, SAMPLING_STEPS = 5500, 32, 16, 64, 100
CLEAR = 16  # levels of 256 by which the pixels of a clear picture are off, at most; of a real one, less than one
WRITES, COMMAND = ('samples.png', 'training.png', 'report.json', 'model'), 'python -m diffbook.demo'


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    "Read the command line."
    parser = argparse.ArgumentParser(
        prog='python -m diffbook.demo',
        description='Train a small diffusion model on drawn shapes and sample from it, in about four minutes on two cores. Nothing is downloaded.',
        epilog='example: python -m diffbook.demo --out out/demo --minutes 2',
    )
    parser.add_argument('--out', type=Path, default=Path('out/demo'), help='folder for what is made (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=STEPS, help='updates of the network (default: %(default)s)')
    parser.add_argument('--minutes', type=float, default=3.0, help='stop training after so many minutes (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of everything random (default: %(default)s)')
    args = parser.parse_args(argv)
    for name in ('steps', 'minutes'):
        if getattr(args, name) <= 0:
            parser.error(f'--{name} is {getattr(args, name)}, expected a positive number')
    if args.out.exists() and not args.out.is_dir():
        parser.error(f'--out is {args.out}, which is a file; expected a folder')
    taken = [name for name in WRITES if (args.out / name).exists()]
    if taken and not made_here(args.out):
        parser.error(f'--out is {args.out}, which holds {taken[0]}, and this demo did not make it; choose another folder')
    return args


def made_here(folder: Path) -> bool:
    "Whether a folder holds the report of an earlier demo, whose files may be replaced."
    try:
        return str(json.loads((folder / 'report.json').read_text()).get('command')).startswith(COMMAND)
    except (OSError, ValueError, AttributeError):
        return False


def train(args: argparse.Namespace) -> tuple:
    "Train by the recipe on drawn shapes; give the averaged model and the losses."
    from dataclasses import replace

    from tqdm import tqdm

    from diffbook.data import batches
    from diffbook.recipes import recipe

    made = replace(recipe('demo'), steps=args.steps)
    found = made.data(None, args.seed)
    model = made.model(found, args.seed)
    trainer, losses, start = made.trainer(model, seed=args.seed, device='cpu', total=None), [], time.monotonic()
    with tqdm(total=args.steps, desc='training', unit='step') as bar:
        for step in trainer.fit(batches(made.examples(found, model), made.batch, args.seed)):
            losses.append(float(step.loss))
            share = max(step.step / args.steps, (time.monotonic() - start) / 60 / args.minutes)
            trainer.settings['lr'] = made.lr * (1 - min(share, 1))  # on a straight line, to nothing when the steps or the minutes are over
            bar.total = max(step.step, round(step.step / share))
            bar.update()
            if step.step % 25 == 0:
                bar.set_postfix(loss=f'{sum(losses[-25:]) / 25:.3f}')
            if share >= 1:
                break
    return trainer.ema.model, losses, time.monotonic() - start


def draw(model: 'Denoiser', seed: int) -> 'Tensor':
    "Sample from the model."
    from diffbook.samplers import ancestral
    from diffbook.stages import Stage

    return Stage(model, model.schedule, (3, SIZE, SIZE), solver=ancestral).draw(SAMPLES, seed=seed, steps=SAMPLING_STEPS, progress=True)


def paint_again(pixels: 'Tensor', labels: 'Tensor') -> 'Tensor':
    """Say how far pictures (n, 3, h, h) of single objects are from the nearest that the package paints: (n,) root mean squares, of 255.

    Ground, colour and shape are those of `labels`, as `read_shapes` gives them; middle and radius are sought, in ever smaller steps.
    """
    import torch

    from diffbook.shapes import BACKGROUNDS, COLOURS, coverage

    ground, colour = (torch.tensor(list(palette.values())).float()[labels[:, k]][:, :, None, None] for k, palette in ((0, BACKGROUNDS), (2, COLOURS)))

    def off(place: 'Tensor') -> 'Tensor':
        cover = coverage(labels[:, 1], place, pixels.shape[-1])[:, None]
        return (ground + cover * (colour - ground) - pixels).square().mean((1, 2, 3)).sqrt()

    mass = (pixels - ground).norm(dim=1)
    grid = (torch.arange(pixels.shape[-1]) + 0.5) / pixels.shape[-1]
    middle = torch.stack([(mass.sum(axis) * grid).sum(1) for axis in (1, 2)], 1) / mass.sum((1, 2))[:, None].clamp_min(1e-6)
    starts = [torch.cat([middle, torch.full((len(pixels), 1), radius)], 1) for radius in torch.linspace(0.1, 0.45, 15).tolist()]
    best = torch.stack([off(place) for place in starts])
    place, best = torch.stack(starts)[best.argmin(0), torch.arange(len(pixels))], best.amin(0)
    for step in (0.02, 0.01, 0.005, 0.002, 0.001) * 2:
        for move in (*torch.eye(3), *-torch.eye(3)) * 3:
            tried = off(place + step * move)
            place, best = torch.where((tried < best)[:, None], place + step * move, place), torch.minimum(tried, best)
    return best


def read(images: 'Tensor') -> dict:
    """Count what a reader of shapes finds in images (n, 3, h, h) in [-1, 1].

    An image is clear if one object is found, and if the nearest picture that the package paints of it is less than CLEAR levels away.
    """
    import torch

    from diffbook.data import from_model
    from diffbook.recognise import read_shapes

    pixels = from_model(images)
    labels = read_shapes(pixels)
    one = (labels[:, 1] >= 0) & (labels[:, 5] < 0)  # a first object, no second
    off = torch.full((len(images),), 255.0)
    off[one] = paint_again(pixels[one].float(), labels[one])
    kinds = {tuple(k) for k in labels[off < CLEAR][:, 1:3].tolist()}
    return {'n': len(images), 'clear': (off < CLEAR).double().mean().item(), 'off': round(off.median().item(), 2), 'kinds_of_48': len(kinds)}


def main(argv: list[str] | None = None) -> None:
    "Run the demo."
    args = arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    print('Drawing 20,000 captioned shapes and training a network on them ...', flush=True)
    import torch

    from diffbook.data import save_images, to_model
    from diffbook.plots import lines, save
    from diffbook.recipes import single_shapes
    from diffbook.store.files import write_whole
    from diffbook.training import save as save_model

    model, losses, seconds = train(args)
    start = time.monotonic()
    samples = draw(model, args.seed)
    sampling = time.monotonic() - start
    save_images(samples, args.out / 'samples.png', zoom=6)
    width = max(1, len(losses) // 100)
    smooth = torch.tensor(losses)[: len(losses) // width * width].reshape(-1, width).mean(1)
    lines((torch.arange(len(smooth)) + 0.5) * width, {'loss': smooth}, 'step', 'squared error of v', logy=True)
    save(args.out / 'training.png')
    save_model(args.out / 'model', model, {'data': 'shapes', 'shape': [3, SIZE, SIZE], 'steps': len(losses), 'seed': args.seed})
    real = to_model(single_shapes(512, SIZE, args.seed, start=20_000).images)
    report = {
        'steps': len(losses),
        'images_seen': len(losses) * BATCH,
        'parameters': sum(p.numel() for p in model.parameters()),
        'loss_at_the_end': sum(losses[-50:]) / len(losses[-50:]),
        'training_seconds': round(seconds, 1),
        'sampling_seconds': round(sampling, 1),
        'sampling_steps': SAMPLING_STEPS,
        'samples_read': read(samples),
        'real_images_read': read(real),
        'seed': args.seed,
        'machine': {'python': platform.python_version(), 'torch': torch.__version__, 'threads': torch.get_num_threads(), 'processor': platform.machine()},
        'command': f'{COMMAND} {shlex.join(sys.argv[1:] if argv is None else argv)}'.strip(),
    }
    write_whole(args.out / 'report.json', (json.dumps(report, indent=1) + '\n').encode())
    clear, real = (report[k]['clear'] for k in ('samples_read', 'real_images_read'))
    print(f"""
Done. A reader of shapes finds one clear object in {clear:.0%} of the samples, and in {real:.0%} of real images.

  {args.out / 'samples.png'}    what the model draws
  {args.out / 'training.png'}   how the loss fell
  {args.out / 'report.json'}    the numbers
  {args.out / 'model'}          the model

Next:
  diffbook sample {shlex.quote(str(args.out / 'model'))} --n 16 --seed 1 --out more.png     (in .venv/bin, where make put it)
  jupyter lab nbs/08_first_model.ipynb                          the first chapter""")


if __name__ == '__main__':
    main()
