"""Ten calls of the network: which solver and which grid come nearest to fifty steps of DDIM, on the zoo's garments and shapes.

    python -m benchmarks.ten_calls                                  # all rows, n = 1,024 garments and 256 shapes: 12 minutes of one core
    python -m benchmarks.ten_calls --rows garments --n 4096         # an hour
    python -m benchmarks.ten_calls --only unipc_2 --minutes 10      # some solvers, and stop after ten minutes of the processor

All rows draw from the same noise, and shapes from the same captions. Garments are judged by the Frechet distance of the
book's judge to as many training images, beside the floor: as many test images. The interval is that of the difference to
fifty steps of DDIM: both sets are drawn anew from their own images, with repeats, the same ones for both, 50 times. Shapes are counted: a picture is
right if all that its caption says is there, read by the reader of shapes, with guidance.
What was drawn is kept in --work, in parts of 128 pictures, so that a run that is stopped goes on where it was; what is there
when the time is up is judged and written.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from diffbook.cli.models import grid_named, solver_named
from diffbook.cli.prompts import tell
from diffbook.core import generator
from diffbook.data import from_model, load_data, to_model
from diffbook.metrics import features, frechet_distance, zoo_entry
from diffbook.recognise import caption_agrees, read_shapes
from diffbook.shapes import draw_split
from diffbook.stages import Stage
from diffbook.store.files import write_whole
from diffbook.training import load

RESULT = Path('diffbook/measured/ten_calls.json')
PART = 128  # pictures that are drawn and kept together
FIFTY = ('ddim', 'uniform', 50)
GARMENTS = [
    FIFTY, ('unipc_2', 'karras', 8), ('dpmpp_2m', 'karras', 8), ('dpmpp_2m', 'snr', 8), ('ddim', 'uniform', 8),
    ('unipc_2', 'karras', 10), ('dpmpp_2m', 'karras', 10), ('ddim', 'uniform', 10),
]  # fmt: skip
SHAPES = [FIFTY, ('unipc_2', 'karras', 8), ('dpmpp_2m', 'karras', 8), ('dpmpp_2m', 'karras', 10), ('dpmpp_2m', 'uniform', 10), ('ddim', 'uniform', 10)]
SCALE = 3.0  # of guidance on shapes


def stage_of(model: torch.nn.Module, shape: tuple[int, ...], solver: str, grid: str) -> Stage:
    "What draws, with a solver and a grid by their names."
    return Stage(model, model.schedule, shape, grid_named(grid), solver_named(solver))


def kept_parts(path: Path, n: int, make, clock: list[float]) -> torch.Tensor | None:
    "Numbers of pictures 0 to n - 1, a part at a time; None where the time is up."
    found = load_file(path) if path.exists() else {}
    for first in tqdm(range(0, n, PART), desc=path.stem, unit='part'):
        if str(first) not in found:
            if time.process_time() - clock[0] > clock[1]:
                return None
            found[str(first)] = make(first, min(PART, n - first)).contiguous()
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(found, path)
    return torch.cat([found[str(first)] for first in range(0, n, PART)])[:n]


def garments(row: tuple, args: argparse.Namespace, clock: list[float]) -> torch.Tensor | None:
    "The judge's features of garments, (n, 128)."
    model, (solver, grid, steps) = load('fashion-mnist'), row
    stage = stage_of(model, (1, 28, 28), solver, grid)
    make = lambda first, k: features(from_model(stage.draw(k, seed=args.seed, first=first, steps=steps, batch=64))).float()  # noqa: E731
    return kept_parts(args.work / f'garments-{args.seed}-{"-".join(map(str, row))}.safetensors', args.n, make, clock)


def shapes(row: tuple, args: argparse.Namespace, clock: list[float]) -> torch.Tensor | None:
    "Which pictures of shapes are right, (n,) bool."
    model, (solver, grid, steps) = load('shapes'), row
    world = draw_split(args.n_shapes, 32, 'new scenes', args.seed, objects=(1, 2))
    first_stage = stage_of(model, (3, 32, 32), solver, grid)

    def make(first, k):
        captions = list(world.captions[first : first + k])
        stage, cond = tell(first_stage, model, captions, '', SCALE)
        pictures = from_model(stage.draw(k, cond, seed=args.seed, first=first, steps=steps, batch=64))
        return caption_agrees(captions, read_shapes(pictures))['all']

    return kept_parts(args.work / f'shapes-{args.seed}-{"-".join(map(str, row))}.safetensors', args.n_shapes, make, clock)


def interval(draws: list[float]) -> list[float]:
    "The middle 95 % of repeated draws."
    return [round(v, 4) for v in torch.quantile(torch.tensor(draws).double(), torch.tensor([0.025, 0.975]).double()).tolist()]


def spreads(pictures: torch.Tensor) -> dict:
    "Standard deviation of a pixel, and along the four strongest directions of whole pictures."
    x = to_model(pictures).flatten(1).double()
    cov = torch.cov(x.T)
    return {'pixel': round(cov.diagonal().mean().sqrt().item(), 3), 'strongest': [round(v, 2) for v in torch.linalg.eigvalsh(cov)[-4:].sqrt().flip(0).tolist()]}


def judged_garments(found: dict[tuple, torch.Tensor], args: argparse.Namespace) -> dict:
    "Distances of all rows at one n, with the interval of their difference to fifty steps of DDIM."
    order = lambda split: load_data('fashion-mnist', split, args.data_root).images  # noqa: E731
    real, test = (order(split) for split in ('train', 'test'))
    real, test = (v[torch.randperm(len(v), generator=generator(args.seed, 'evaluate'))[: args.n]] for v in (real, test))
    spread = spreads(real)
    real, test = features(real), features(test)
    rows, again = [], [torch.randint(args.n, (args.n,), generator=generator(args.seed + k, 'again')) for k in range(args.draws)]
    base = [frechet_distance(found[FIFTY][i], real[i]) for i in again] if FIFTY in found else None
    for row, x in found.items():
        one = {'solver': row[0], 'grid': row[1], 'steps': row[2], 'frechet': round(frechet_distance(x, real), 4)}
        if base and row != FIFTY:
            one['against fifty'] = interval([frechet_distance(x[i], real[i]) - b for i, b in zip(again, base)])
        rows.append(one)
    return {'n': args.n, 'floor': round(frechet_distance(test, real), 4), 'judge': zoo_entry('classifier')['sha256'], 'spread': spread, 'rows': rows}


def judged_shapes(found: dict[tuple, torch.Tensor], args: argparse.Namespace) -> dict:
    "Shares of right pictures, with the interval of their difference to fifty steps of DDIM on the same captions."
    rows, again = [], [torch.randint(args.n_shapes, (args.n_shapes,), generator=generator(args.seed + k, 'again')) for k in range(1000)]
    for row, right in found.items():
        one = {'solver': row[0], 'grid': row[1], 'steps': row[2], 'right': round(right.double().mean().item(), 4)}
        if FIFTY in found and row != FIFTY:
            gap = right.double() - found[FIFTY].double()
            one['against fifty'] = interval([gap[i].mean().item() for i in again])
        rows.append(one)
    return {'n': args.n_shapes, 'guidance': SCALE, 'captions': 'new scenes, one or two objects', 'rows': rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', nargs='+', default=['garments', 'shapes'], choices=['garments', 'shapes'])
    parser.add_argument('--only', nargs='*', help='some of the solvers')
    parser.add_argument('--steps', type=int, nargs='*', help='some of the numbers of steps')
    parser.add_argument('--grids', nargs='*', help='some of the grids')
    parser.add_argument('--n', type=int, default=1024, help='garments a row')
    parser.add_argument('--n-shapes', type=int, default=256)
    parser.add_argument('--draws', type=int, default=50, help='repeats for the interval of a distance')
    parser.add_argument('--minutes', type=float, default=60.0, help='of the processor, after which no part is begun')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--data-root', type=Path)
    parser.add_argument('--work', type=Path, default=Path('out/ten_calls'), help='where parts are kept')
    parser.add_argument('--out', type=Path, default=RESULT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    clock, found = [time.process_time(), 60 * args.minutes], {}
    result = json.loads(args.out.read_text()) if args.out.exists() else {}
    result |= {'command': 'python -m benchmarks.ten_calls', 'seed': args.seed}
    for name, draw, rows, judge in (('garments', garments, GARMENTS, judged_garments), ('shapes', shapes, SHAPES, judged_shapes)):
        if name not in args.rows:
            continue
        found = {}
        for row in rows:
            if args.only and row[0] not in args.only or args.steps and row[2] not in args.steps or args.grids and row[1] not in args.grids:
                continue
            if (drawn := draw(row, args, clock)) is not None:
                found[row] = drawn
        if found:
            result[name] = judge(found, args)
            write_whole(args.out, (json.dumps(result, indent=1) + '\n').encode())
            print(json.dumps(result[name], indent=1))


if __name__ == '__main__':
    main()
