"""What solutions of exercises quote about several trainings: those of chapters 08 and 23, over seeds.

    python -m benchmarks.solutions --out diffbook/measured/solutions.json

The programs are those of the chapters: cells of the notebooks are run as they stand, and a variant changes one line of them (08-3 the
amount of fresh noise, 08-5 the number of updates or the falling rate). For 23-3 the code of the solution itself is run with other seeds.
"""

import argparse
import json
import re
from pathlib import Path

import torch
from tqdm.auto import tqdm

from diffbook.store.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
N, LEVELS = 20_000, 8


def cells(name: str) -> dict[str, str]:
    "Sources of a chapter's cells by id."
    notebook = json.loads((ROOT / 'nbs' / f'{name}.ipynb').read_text(encoding='utf-8'))
    return {cell['id']: ''.join(cell['source']) for cell in notebook['cells']}


def changed(source: str, old: str, new: str) -> str:
    "The source with one place changed; it is an error if the place is not there."
    if source.count(old) != 1:
        raise ValueError(f'{old!r} stands {source.count(old)} times in the cell, expected once')
    return source.replace(old, new)


def first_model(seed: int) -> dict[str, dict[str, float]]:
    "Chapter 08: strays, and the largest and smallest heap over its due, for the program and three variants of it."
    source = cells('08_first_model')
    world: dict = {}
    for name in ('ring', 'scales', 'net', 'train', 'walk'):
        exec(source[name], world)
    still, steady = dict(world), dict(world)
    exec(re.sub(r'(?m)^(\s+fresh = ).*$', r'\g<1>torch.zeros(())', source['walk']), still)
    exec(changed(source['train'], "optimizer.param_groups[0]['lr'] = rate * (1 - step / steps)", 'pass'), steady)
    centres = 1.4 * torch.stack([torch.cos(torch.arange(8) * torch.pi / 4), torch.sin(torch.arange(8) * torch.pi / 4)], 1)

    def judged(net, walk):
        torch.manual_seed(seed)
        for x in walk(net, N):
            pass
        near, heap = torch.cdist(x, centres).min(1)
        shares = torch.bincount(heap, minlength=8) * 8 / N
        return {'strays': (near > 0.48).double().mean().item(), 'largest': shares.max().item(), 'smallest': shares.min().item()}

    def trained(program, steps=3000):
        torch.manual_seed(seed)
        return program['train'](world['ring'], steps)

    net = trained(world)
    return {
        'as it stands': judged(net, world['walk']),
        'no fresh noise': judged(net, still['walk']),
        '300 updates': judged(trained(world, 300), world['walk']),
        'a constant rate': judged(trained(steady), world['walk']),
    }


def told_nothing(seed: int) -> list[float]:
    "Chapter 23: error of a net that is told one level always, over that of one that is told the truth, in eighths of t."
    text = next(s for s in cells('23_unet').values() if 'Solution 23-3' in s)
    code = text.split('Solution 23-3')[1].split('```python')[1].split('```')[0]
    world: dict = {}
    code = changed(code, 'torch.manual_seed(0)', f'torch.manual_seed({seed})').split('from diffbook.ledger')[0]  # without the look at the file
    exec(code, world)
    return world['ratio'].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--out', type=Path, default=ROOT / 'diffbook' / 'measured' / 'solutions.json')
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [first_model(seed) for seed in tqdm(args.seeds, desc='08')]
    found = {
        'command': 'python -m benchmarks.solutions',
        'seeds': args.seeds,
        'n': N,
        'torch': torch.__version__,
        'first_model': {name: {key: [round(row[name][key], 5) for row in rows] for key in rows[0][name]} for name in rows[0]},
        'told_nothing': [[round(v, 3) for v in told_nothing(seed)] for seed in tqdm(args.seeds, desc='23')],
    }
    write_whole(args.out, json.dumps(found, indent=1).encode() + b'\n')
    print(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
