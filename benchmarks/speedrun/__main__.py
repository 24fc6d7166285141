"""From nothing to clothes on two processor cores: run entries of the speedrun, sweep other libraries, climb the ladder of tricks.

    python -m benchmarks.speedrun run recipe --seconds 300 --seeds 0 1 2   # the book's own entry, and its Frechet distance
    python -m benchmarks.speedrun run my/entry.py --seconds 300            # a file that holds PLAN and WALK, or a function `train`
    python -m benchmarks.speedrun sweep --stage 1                          # other libraries: every width at every rate, shortly
    python -m benchmarks.speedrun sweep --stage 3                          # the best of each for the whole time
    python -m benchmarks.speedrun ladder                                   # every trick of the book's entry, one after the other
    python -m benchmarks.speedrun run smaller --seconds 120                # one of those that were tried beside it
    python -m benchmarks.speedrun walks diffusers-32-0.002 --seconds 1800  # a trained entry by other samplers
    python -m benchmarks.speedrun collect                                  # writes what the chapter reads

The rule. From Fashion-MNIST's 60,000 training pictures, without their labels and without any other weights, train for as long
as the clock allows; then draw 2,048 pictures. Judged is the Frechet distance
from 2,048 test pictures on the features of the book's classifier. The clock is the processor's for one thread, and the one on
the wall for two; it begins with the entry's own code, compiling and looking at the data included, and imports left out.
Drawing has no clock, and says how often it asked the network.

Each run is a file in --folder, with its seed, time and load, beside its weights; a run that stands there is not made again.
`collect` puts all of them into diffbook/measured/speedrun.json, which chapter 27 reads.
"""

import argparse
import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.measure import clock, machine
from benchmarks.speedrun import others, recipe, rule
from benchmarks.speedrun.plans import train, untrained
from diffbook.data import load_data
from diffbook.store.files import write_whole

OUT = Path(__file__).resolve().parents[2] / 'diffbook' / 'measured' / 'speedrun.json'
STAGES = {1: 120, 2: 480, 3: 1800}  # seconds of a run of the sweep


def entry_named(name: str) -> Any:
    "The entry of a name, or of a file: a pair of a plan and a walk, or a module with a function `train`."
    if name.endswith('.py'):
        spec = importlib.util.spec_from_file_location('entry', name)
        if spec is None or spec.loader is None or not Path(name).exists():
            raise SystemExit(f'{name} is no file, expected one that holds PLAN and WALK, or a function `train`')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module if hasattr(module, 'train') else (module.PLAN, module.WALK)
    if own := (recipe.LADDER | recipe.TRIED).get(name):
        return own
    library, _, rest = name.rpartition('-')
    library, _, width = library.rpartition('-')
    if library in others.NETS:
        return others.plan(library, int(width), float(rest)), others.WALKS[0]
    raise SystemExit(
        f'entry is {name!r}, expected a file, one of {", ".join(recipe.LADDER | recipe.TRIED)}, or LIBRARY-WIDTH-RATE with one of {", ".join(others.NETS)}'
    )


class Book:
    "The runs, each in a file of its own beside its weights, so that several may be made at once."

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, entry: str, seconds: float, threads: int, seed: int, end: str = '.json') -> Path:
        return self.folder / f'{Path(entry).name.removesuffix(".py")}-{seconds:g}-{threads}-{seed}{end}'

    def run(self, **key: Any) -> dict | None:
        path = self.path(**key)
        return json.loads(path.read_text()) if path.exists() else None

    def keep(self, row: dict) -> dict:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(*(row[k] for k in ('entry', 'seconds', 'threads', 'seed'))), (json.dumps(row, indent=1) + '\n').encode())
        return row

    def all(self) -> list[dict]:
        rows = [json.loads(path.read_text()) for path in self.folder.glob('*.json')]
        return sorted(rows, key=lambda r: (r['threads'], r['seconds'], r['entry'], r['seed']))


def run(args: argparse.Namespace, book: Book, name: str, seconds: float, seed: int, n: int | None = None) -> dict:
    "Carry out one entry, unless its result is known."
    n = n or rule.N
    key = {'entry': name, 'seconds': seconds, 'seed': seed, 'threads': args.threads}
    if known := book.run(**key):
        return known
    entry, images = entry_named(name), load_data('fashion-mnist').images
    row: dict[str, Any] = key | {'load': round(os.getloadavg()[0], 1)}
    spent = rule.Budget(seconds)
    if isinstance(entry, ModuleType):
        draw, about = entry.train(images, spent, seed)
        row |= about | {'spent': round(spent() * seconds, 1), 'distance': {'own': round(rule.distance(draw(n)), 3)}, 'judged': {'own': n}}
    else:
        plan, walk = entry
        model, about = train(plan, images, spent, seed)
        row |= about | {'spent': round(spent() * seconds, 1)}
        args.folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, book.path(**key, end='.safetensors'))
        begun = clock()
        row['distance'] = {walk: round(rule.distance(rule.draw(model, walk, n)), 3)}
        row |= {'judged': {walk: n}, 'calls': rule.calls(walk), 'drawing': round(clock() - begun, 1)}
    book.keep(row)
    print(name, f'{seconds:g} s, seed {seed}:', row['distance'], row['images'], 'pictures', flush=True)
    return row


def walks(args: argparse.Namespace, book: Book, name: str, seconds: float, seed: int, chosen: tuple[str, ...]) -> None:
    "Draw with a model that was trained before, by other walks."
    row = book.run(entry=name, seconds=seconds, seed=seed, threads=args.threads)
    if row is None:
        raise SystemExit(f'{name} was not run for {seconds:g} seconds with seed {seed} and {args.threads} threads')
    model = untrained(entry_named(name)[0], load_data('fashion-mnist').images, seed)
    model.load_state_dict(load_file(book.path(name, seconds, args.threads, seed, '.safetensors')))
    for walk in chosen:
        if walk not in row['distance']:
            row['distance'][walk], row['judged'][walk] = round(rule.distance(rule.draw(model.eval(), walk, rule.N)), 3), rule.N
            book.keep(row)
            print(name, walk, row['distance'][walk], flush=True)


def best(row: dict) -> float:
    return min(row['distance'].values())


def sweep(args: argparse.Namespace, book: Book) -> None:
    "Other libraries: each width at each rate for a short while; each width at its best rate for longer; each library at its best for the whole time."
    for library in args.only or others.NETS:
        names = {w: [f'{library}-{w}-{lr:g}' for lr in others.RATES] for w in others.WIDTHS[library]}
        for stage in range(1, args.stage + 1):
            for w, named in names.items():
                rows = {name: run(args, book, name, STAGES[stage], 0, 512 if stage < 3 else None) for name in named}
                names[w] = [min(rows, key=lambda name: best(rows[name]))]
            if stage == 2:  # the width, too, is settled
                names = dict([min(names.items(), key=lambda item: best(run(args, book, item[1][0], STAGES[2], 0)))])
            if stage == 3:
                for (name,) in names.values():
                    walks(args, book, name, STAGES[3], 0, others.WALKS)


def ladder(args: argparse.Namespace, book: Book) -> None:
    for seed in args.seeds:
        for name in args.only or recipe.LADDER:
            run(args, book, name, args.seconds, seed)


def collect(args: argparse.Namespace, book: Book) -> None:
    "Write the file that the chapter reads, and print it."
    rows, floor = book.all(), rule.floor()
    found = {'command': 'python -m benchmarks.speedrun', 'machine': machine(), 'floor': floor, 'n': rule.N, 'runs': rows}
    write_whole(args.out, (json.dumps(found, indent=1) + '\n').encode())
    print(f'floor {floor:.3f}')
    for row in rows:
        walk = min(row['distance'], key=row['distance'].get)
        print(
            f'{row["entry"]:34} {row["threads"]} x {row["seconds"]:6g} s  seed {row["seed"]}  {row["distance"][walk]:7.3f}  {walk:20} {row["images"]:9,} pictures'
        )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.speedrun', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=('run', 'sweep', 'ladder', 'walks', 'collect'))
    parser.add_argument('entry', nargs='?', help='run, walks: a name or a file')
    parser.add_argument('--seconds', type=float, default=300, help='of the clock')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--stage', type=int, choices=STAGES, default=3, help='sweep: how far')
    parser.add_argument('--only', nargs='+', help='sweep: some of the libraries; ladder: some of the rungs')
    parser.add_argument('--walk', nargs='+', default=list(others.WALKS), help='walks: SOLVER:STEPS:GRID')
    parser.add_argument('--folder', type=Path, default=Path('out/speedrun'), help='of the weights')
    parser.add_argument('--out', type=Path, default=OUT, help='a .json file')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    book, act = Book(args.folder), {'sweep': sweep, 'ladder': ladder, 'collect': collect}.get(args.what)
    if act:
        act(args, book)
        return
    if args.entry is None:
        parser.error(f'{args.what} needs an entry')
    for seed in args.seeds:
        if args.what == 'run':
            run(args, book, args.entry, args.seconds, seed)
        else:
            walks(args, book, args.entry, args.seconds, seed, tuple(args.walk))


if __name__ == '__main__':
    main()
