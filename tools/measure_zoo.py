"""Sample a model of the book's garments and measure it against real ones.

    python tools/measure_zoo.py --model fashion-mnist --workers 2
    python tools/measure_zoo.py --model fashion-mnist-flow --compare euler:23 ddim:50 dpmpp_2m:10:snr
    python tools/measure_zoo.py --model fashion-mnist-few --sizes 10000 --solver renoise --steps 4 --compare renoise:1 renoise:2 fashion-mnist@ddim:50

A model is a name in the zoo or a folder; each draws from the same noise, image by image. Others to compare are a solver,
a number of steps, and a grid by name where it is not the model's own: all that `diffbook sample` knows. `MODEL@` before them
lets another model walk.

Writes report.json and gallery.safetensors beside the model: the metrics with their floors, and the pictures that the
chapter on DDPM shows although it ships no data: samples with their nearest training images, real garments, failures.
"""

import argparse
import json
import shlex
import time

import torch
import torch.multiprocessing as mp
from safetensors.torch import save_file

from diffbook.cli.models import FEW, GRIDS, SOLVERS, grid_named, solver_named
from diffbook.core import generator
from diffbook.data import from_model, load_data, to_model
from diffbook.metrics import compare, features, frechet_distance, load_classifier, nearest, zoo_entry
from diffbook.stages import Stage
from diffbook.store.files import write_whole
from diffbook.training import find_model, load


def draw(job):
    "Sample images first to last of a seed; each is the same whatever is drawn beside it."
    name, first, last, steps, solver, grid, seed = job
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model = load(name)
    times = {'times': grid_named(grid)} if grid else {}
    stage = Stage(model, model.schedule, (1, 28, 28), solver=solver_named(solver), **times)
    return from_model(stage.draw(last - first, seed=seed, first=first, steps=steps, batch=last - first))


def draw_all(pool, name, n, steps, solver, grid, seed, batch=100):
    jobs = [(name, k, min(k + batch, n), steps, solver, grid, seed) for k in range(0, n, batch)]
    return torch.cat(pool.map(draw, jobs, chunksize=1) if pool else [draw(job) for job in jobs])


def calls(solver, steps):
    "How often a walk asks the network: Heun twice a step, but for the last."
    return 2 * steps - 1 if solver == 'heun' else steps


def walk_named(word):
    "Model, solver, steps and grid of 'heun:12', 'dpmpp_2m:10:snr' or 'fashion-mnist@ddim:50'; no model, no grid: one's own."
    model, _, walk = word.rpartition('@')
    solver, steps, grid, *rest = (*walk.split(':'), '', '')[: max(3, walk.count(':') + 1)]
    if solver not in SOLVERS | FEW or not steps.isdigit() or rest or (grid and grid not in GRIDS):
        raise ValueError(f'{word} is no walk, expected SOLVER:STEPS or SOLVER:STEPS:GRID with one of {", ".join(SOLVERS)} and one of {", ".join(GRIDS)}')
    return model or None, solver, int(steps), grid or None


def command_of(a, parser):
    "The command that measures this again: every option that is not as it comes, but where the data are and how many work."
    words = ['python', 'tools/measure_zoo.py']
    for key, value in vars(a).items():
        if key not in ('data_root', 'workers', 'dry') and value != parser.get_default(key):
            words += [f'--{key}', *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(words)


def rows_of(fake, train, test, sizes, limit):
    "The metrics at each size: against training images, floor new test images against the same; and against test images."
    near, rows = nearest(to_model(fake), to_model(train))[0], []
    for n in sizes:
        row = compare(fake[:n], train[:n], test[:n])
        row['frechet_to_test'] = frechet_distance(features(fake[:n]), features(test[:n]))
        row['copies'] = (near[:n] < limit).double().mean().item()
        rows.append(row)
        print(row, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='fashion-mnist')
    parser.add_argument('--data-root')
    parser.add_argument('--sizes', type=int, nargs='+', default=[2048, 10000])
    parser.add_argument('--steps', type=int, default=12)
    parser.add_argument('--solver', default='heun', choices=SOLVERS | FEW)
    parser.add_argument('--grid', choices=GRIDS, help="the model's own, if not said")
    parser.add_argument('--compare', nargs='*', default=['ddim:23'], help='other walks, SOLVER:STEPS or SOLVER:STEPS:GRID, measured at the first size')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--dry', action='store_true', help='print, write nothing')
    a = parser.parse_args()
    walks = [walk_named(word) for word in a.compare]
    torch.set_num_threads(1)
    train, test = (load_data('fashion-mnist', split, a.data_root) for split in ('train', 'test'))
    order, new = (torch.randperm(len(d), generator=generator(a.seed, 'evaluate')) for d in (train, test))
    train, test = train.images[order], test.images[new]
    limit = torch.quantile(nearest(to_model(test), to_model(train))[0], 0.01)  # as in copy_rate, found once
    with mp.get_context('spawn').Pool(a.workers) as pool:
        begun = time.time()
        fake = draw_all(pool, a.model, max(a.sizes), a.steps, a.solver, a.grid, a.seed)
        seconds = time.time() - begun
        others = []
        for model, solver, steps, grid in walks:
            few = draw_all(pool, model or a.model, a.sizes[0], steps, solver, grid, a.seed)
            row = compare(few, train[: a.sizes[0]], test[: a.sizes[0]])
            row['copies'] = (nearest(to_model(few), to_model(train))[0] < limit).double().mean().item()
            others.append(
                ({'model': model} if model else {}) | {'solver': solver, 'steps': steps, 'calls': calls(solver, steps)} | ({'grid': grid} if grid else {}) | row
            )
            print(others[-1], flush=True)
    judge = load_classifier()
    with torch.no_grad():
        surety, named = torch.cat([judge(to_model(x)).softmax(1) for x in fake.split(1000)]).max(1)
    rows = rows_of(fake, train, test, a.sizes, limit)
    odd = nearest(features(fake[:2048]), features(train[:20000]))[0].argsort(descending=True)[:16]
    shown = fake[:16]
    distance, twin = nearest(to_model(shown), to_model(train))
    result = {
        'command': command_of(a, parser), 'judge': zoo_entry('classifier')['sha256'], 'seed': a.seed,
        'solver': a.solver, 'steps': a.steps, 'grid': a.grid, 'calls': calls(a.solver, a.steps), 'seconds': round(seconds), 'workers': a.workers,
        'rows': rows, 'solvers': others, 'classes': torch.bincount(named, minlength=10).tolist(), 'surety': surety.mean().item(),
        'nearest': distance.tolist(), 'nearest_of_test': nearest(to_model(test[:1000]), to_model(train))[0].mean().item(),
    }  # fmt: skip
    print(result)
    if not a.dry:
        folder = find_model(a.model)
        pictures = {'samples': shown, 'twins': train[twin], 'odd': fake[odd], 'real': test[:16]}
        save_file({k: v.contiguous() for k, v in pictures.items()}, folder / 'gallery.safetensors')
        write_whole(folder / 'report.json', (json.dumps(result, indent=1) + '\n').encode())


if __name__ == '__main__':
    main()
