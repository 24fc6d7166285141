"""`diffbook evaluate`: compare samples with real images, or with their captions; or say how probable real images are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffbook.cli import app as voice
from diffbook.cli.app import DataRoot, Device, Seed, app, at_least, finite, note, say
from diffbook.cli.edits import draw
from diffbook.cli.judge import asked_as, copies, is_folder, real_data
from diffbook.cli.models import CHURN_HELP, GRID_HELP, SOLVER_HELP, Opened, check_walk, open_model
from diffbook.cli.prompts import reader_of, reads_classes, tell
from diffbook.runs import check_writable

if TYPE_CHECKING:
    from torch import Tensor


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help='A folder that `train` wrote, or a name in the zoo.')],
    data: Annotated[str, typer.Option(help='What the model should look like: fashion-mnist or mnist; shapes, for a model that reads text; or a folder of images, read in size and colour as the model draws: in sub-folders train and test, or without, then all of it is taken.')],
    n: Annotated[int | None, typer.Option('--n', help='Images to draw and to compare with: 1000, or as many as there are; with --likelihood test images to judge: 64.')] = None,
    guidance: Annotated[float | None, typer.Option(help='How strongly to insist on captions or classes: 1 is off. By default 2 for captions, 1 for classes.')] = None,
    steps: Annotated[int, typer.Option(help='Steps from noise to data.')] = 20,
    solver: Annotated[str, typer.Option(help=f'{SOLVER_HELP}.')] = 'ddim',
    grid: Annotated[str | None, typer.Option(help=GRID_HELP)] = None,
    churn: Annotated[float, typer.Option(help=CHURN_HELP)] = 0.0,
    likelihood: Annotated[
        bool, typer.Option('--likelihood', help='Draw nothing; say how many bits per dimension test images take, by the probability flow.')
    ] = False,
    out: Annotated[Path | None, typer.Option(help='Also write the numbers to this .json file.')] = None,
    device: Device = None,
    data_root: DataRoot = None,
    seed: Seed = 0,
) -> None:
    """Compare samples with real images, beside what real images score against each other (the floor).

    Example: `diffbook evaluate fashion-mnist --data fashion-mnist --n 2048 --steps 40`

    Of a solver and a grid: `diffbook evaluate fashion-mnist --data fashion-mnist --steps 10 --solver dpmpp_2m --grid karras`

    With --data shapes, count what a model that reads text draws as its caption says, for captions that training never showed.

    How probable the model finds real images: `diffbook evaluate fashion-mnist --data fashion-mnist --likelihood --n 64`

    Of a model of a folder of your own: `diffbook evaluate runs/own --data my/pictures`, where test pictures stand in a sub-folder `test` beside `train`.
    A model of classes draws them in the proportions of the data. Pictures in colour are judged channel by channel.
    A sample counts as a copy if it is nearer to a training picture than one real picture in a hundred.
    """
    at_least('--n', n, 10)
    at_least('--steps', steps, 1)
    check_walk(solver, grid, churn)
    if out is not None and (out.suffix != '.json' or out.is_dir()):
        raise ValueError(f'--out is {out}, expected a file that ends in .json')
    if out is not None:
        check_writable(out)
    for name, value, silent in (('guidance', guidance, None), ('steps', steps, 20), ('solver', solver, 'ddim'), ('grid', grid, None), ('churn', churn, 0.0)):
        if likelihood and value != silent:
            raise ValueError(f'--{name} is {value}, and --likelihood draws nothing: it follows the flow with steps of its own')
    import torch

    from diffbook.core import generator
    from diffbook.data import from_model
    from diffbook.metrics import compare, features
    from diffbook.store.folders import has_splits

    opened = open_model(model, device, solver=solver, grid=grid, churn=churn)
    if opened.stage.codec is not None:
        why = 'and a density of latents is none of pictures' if likelihood else 'whose pictures no judge here knows'
        raise ValueError(f'{model} draws latents of {opened.about["codec"]}, {why}; expected a model that draws pixels')
    if likelihood:
        if reader_of(opened.model) is not None:
            raise ValueError(f'{model} reads text, and finds an image as probable as its caption says; expected a model that reads none with --likelihood')
        (test,) = real_data(data, ('test',), opened.stage.shape, data_root, seed)
        return write_report(measure_likelihood(opened, test.images, data, n or 64, seed), out)
    if guidance is not None and reader_of(opened.model) is None and not reads_classes(opened.model):
        raise ValueError(f'--guidance is {guidance!r}, and {model} reads no text and no class')
    if data == 'shapes' and reader_of(opened.model) is not None:
        report = count_captions(opened, n or 1000, steps, 2.0 if guidance is None else guidance, seed)
        report |= {'model': model, 'data': data, 'solver': solver, 'grid': grid, 'churn': churn, 'steps': steps, 'seed': seed}
        return write_report(report, out)
    train, test = real_data(data, ('train', 'test'), opened.stage.shape, data_root, seed)
    real, other = train.images, test.images
    if opened.stage.shape != (shape := tuple(real.shape[1:])):
        raise ValueError(f'{model} draws images of shape {opened.stage.shape}, expected {shape} as in {data}')
    at_most = min(len(real), len(other))
    if n is not None and n > at_most:
        raise ValueError(f'--n is {n}, expected at most {at_most}, as many as there are test images')
    n = n or min(1000, at_most)
    at_least(f'the number of images in each half of {data}', n, 10)
    whole = is_folder(data) and not has_splits(data)
    seen = features(torch.cat([real, other]) if whole else real), None if whole else features(other)
    real, other = (v[torch.randperm(len(v), generator=generator(seed, 'evaluate'))[:n]] for v in (real, other))
    stage, cond, guidance = asked_as(opened, (train, test), n, guidance)
    fake = from_model(finite(draw(stage, n, cond, steps=steps, seed=seed, device=opened.device)))
    report = compare(fake, real, other) | copies(features(fake), *seen) | {'guidance': guidance, 'model': model, 'data': data, 'solver': solver, 'grid': grid, 'churn': churn, 'steps': steps, 'seed': seed}
    say(f'n = {n} samples of {model}, {steps} steps of {solver}, against {n} training images of {data}; floor: {n} test images')
    for name in ('frechet', 'kernel', 'precision', 'recall'):
        say(f'  {name:10} {report[name]:10.4g}   floor {report[f"{name}_floor"]:.4g}')
    if 'copies' in report:
        say(f'  {"copies":10} {report["copies"]:10.4g}   floor {report["copies_floor"]:.4g}   nearer to a training picture than one real picture in a hundred')
    say(f'  Frechet distance is {report["frechet_ratio"]:.3g} times its floor')
    write_report(report, out)


def write_report(report: dict[str, Any], out: Path | None) -> None:
    "Write the numbers to a file, whole or not at all, and say where; under --json also as a line."
    voice.report(**report)
    if out is None:
        return
    import json

    from diffbook.store.files import write_whole

    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, (json.dumps(report, indent=1) + '\n').encode())
    say(f'{out}')


def measure_likelihood(opened: Opened, images: 'Tensor', data: str, n: int, seed: int) -> dict[str, Any]:
    "Say how many bits per dimension n test images take, with the interval of their mean."
    import torch
    from tqdm.auto import tqdm

    from diffbook.core import Rows, generator
    from diffbook.ledger import student
    from diffbook.likelihood import bits_per_dim, dequantise, log_likelihood

    shape, rtol = tuple(images.shape[1:]), 1e-4
    if opened.stage.shape != shape:
        raise ValueError(f'{opened.name} draws images of shape {opened.stage.shape}, expected {shape} as in {data}')
    if n > len(images):
        raise ValueError(f'--n is {n}, expected at most {len(images)}, as many as there are test images')
    images = images[torch.randperm(len(images), generator=generator(seed, 'evaluate'))[:n]]
    model, found = opened.model.requires_grad_(False), []
    for first in tqdm(range(0, n, 16), desc='likelihood', unit='batch'):
        rows = lambda purpose: Rows(generator(seed, purpose), first, n)  # noqa: B023, E731  (used at once)
        x = dequantise(images[first : first + 16], rows('dequantise')).to(opened.device)
        log_p = log_likelihood(model, opened.stage.schedule, x, rtol=rtol, divergence='hutchinson', generator=rows('signs'))
        found.append(bits_per_dim(log_p, x[0].numel()).cpu())
    bits = finite(torch.cat(found))
    mean, reach = bits.mean().item(), student(n - 1) * bits.std().item() / n**0.5
    say(f'{mean:.3f} bits per dimension, 95 % interval {mean - reach:.3f} to {mean + reach:.3f}: n = {n} test images of {data}, model {opened.name}')
    say(f'  by the probability flow, one random direction an image, tolerance {rtol:g}; who knows nothing needs 8')
    say('  each level was spread evenly over its bin, so this is an upper bound on what a code for the levels takes')
    return {
        'model': opened.name,
        'data': data,
        'n': n,
        'seed': seed,
        'rtol': rtol,
        'bits_per_dim': mean,
        'interval': [mean - reach, mean + reach],
        'each': bits.tolist(),
    }


def count_captions(opened: Opened, n: int, steps: int, guidance: float, seed: int) -> dict[str, Any]:
    "Draw n captions of each part that training never shows, read the images, and say in how many each claim holds."
    from diffbook.data import from_model
    from diffbook.recognise import caption_agrees, read_shapes
    from diffbook.shapes import SPLITS, draw_split

    report: dict[str, Any] = {'n': n, 'guidance': guidance, 'parts': {}}
    for part in SPLITS[1:]:
        asked = draw_split(n, opened.stage.shape[1], part, seed)
        stage, cond = tell(opened.stage, opened.model, asked.captions, '', guidance)
        images = draw(stage, n, cond, steps=steps, seed=seed, device=opened.device)
        held = caption_agrees(asked.captions, read_shapes(from_model(finite(images))))
        real = caption_agrees(asked.captions, read_shapes(asked.images))['all']
        other = caption_agrees(asked.captions[1:] + asked.captions[:1], asked.labels)['all']
        objects = (asked.labels[:, 1::4] >= 0).sum(1)
        share = lambda kept: round(kept.double().mean().item(), 4)  # noqa: E731
        report['parts'][part] = {key: share(kept) for key, kept in held.items()} | {
            'by objects': {str(k): share(held['all'][objects == k]) for k in (1, 2, 3) if (objects == k).any()},
            'real images': share(real), 'another caption': share(other),
        }  # fmt: skip
        row = report['parts'][part]
        say(f'{part}: {row["all"]:.1%} of {n} images are all that their caption says (real images {row["real images"]:.1%}, '
            f'under the caption of another {row["another caption"]:.1%})')  # fmt: skip
        say('  ' + ', '.join(f'{key} {row[key]:.1%}' for key in held if key != 'all'))
        say('  ' + ', '.join(f'{v:.1%} with {k} object{"s" * (k != "1")}' for k, v in row['by objects'].items()))
    return report
