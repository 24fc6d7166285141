"""Measure what real garments score against real garments, in the features of the pinned judge.

    python tools/measure_floors.py

Writes diffbook/measured/floors.json. Every row is the mean over up to twelve draws of disjoint
training images, with its standard error; test images are used again where there are too few.
"""

import argparse
import itertools
import json
from pathlib import Path

import torch

from diffbook.core import generator
from diffbook.data import load_data
from diffbook.metrics import features, frechet_bias, frechet_distance, kernel_distance, precision_recall, zoo_entry
from diffbook.store.files import write_whole

MEASURED = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured'


def mean_and_error(values):
    v = torch.tensor(values, dtype=torch.float64)
    return v.mean().item(), (v.std() / len(v) ** 0.5).item() if len(v) > 1 else 0.0


def measure(x, y):
    precision, recall = precision_recall(y, x)
    return frechet_distance(x, y), kernel_distance(x, y), precision, recall


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root')
    parser.add_argument('--sizes', type=int, nargs='+', default=[512, 1024, 2048, 4096, 10000])
    a = parser.parse_args()
    torch.set_num_threads(1)
    train, test = (features(load_data('fashion-mnist', split, a.data_root).images) for split in ('train', 'test'))
    train = train[torch.randperm(len(train), generator=generator(0, 'floors train'))]
    test = test[torch.randperm(len(test), generator=generator(0, 'floors test'))]
    rows, cov = [], train.T.cov()
    for n in a.sizes:
        pieces = train.split(n)
        fresh = [piece for piece in test.split(n) if len(piece) == n]
        pairs = {'train-train': list(zip(pieces[0::2], pieces[1::2]))[:12], 'test-train': list(zip(itertools.cycle(fresh), pieces))[:12]}
        for kind, sets in pairs.items():
            results = [measure(x, y) for x, y in sets if len(x) == len(y) == n]
            (frechet, error), (kernel, kernel_error), (precision, _), (recall, _) = (mean_and_error(v) for v in zip(*results))
            rows.append(
                {'n': n, 'kind': kind, 'draws': len(results), 'frechet': frechet, 'frechet_error': error, 'kernel': kernel, 'kernel_error': kernel_error}
            )
            rows[-1] |= {'precision': precision, 'recall': recall, 'predicted': frechet_bias(cov, n)}
            print(rows[-1], flush=True)
    result = {'command': 'python tools/measure_floors.py', 'judge': zoo_entry('classifier')['sha256'], 'rows': rows}
    write_whole(MEASURED / 'floors.json', (json.dumps(result, indent=1) + '\n').encode())


if __name__ == '__main__':
    main()
