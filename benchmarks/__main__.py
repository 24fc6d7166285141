"""Measure the book's library against others, row by row, and write benchmarks/results/rows.json and rows.png.

    python -m benchmarks                          # what the rows are
    python -m benchmarks C1 C5 --rounds 7         # images a second with the same weights; how near to the ceiling
    python -m benchmarks C2 --peers FOLDER        # against libraries installed apart
    python -m benchmarks C3 C4 --minutes 5        # time until the pictures are good, then time to draw them
    python -m benchmarks G1 G2 G3 G4 G5           # on a GPU; elsewhere they say `not measured`
    python -m benchmarks all
    python -m benchmarks chart table              # draw the chart and print the table of the rows that are there

The others: pip install diffusers, and pip install --no-deps --target FOLDER denoising-diffusion-pytorch ema-pytorch smalldiffusion.
Time is the processor's with one thread (the default), which other programs disturb little; else the clock's.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from benchmarks import gpu, host, quality, speed  # noqa: F401  their rows register themselves
from benchmarks.measure import RESULTS, machine
from benchmarks.rows import ROWS, chart, merge, run, table

HIDDEN = ('--peers', '--out')  # paths of one machine: no part of the command that is written down


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rows', nargs='*', help=f'{", ".join(ROWS)}, all, chart, table')
    parser.add_argument('--rounds', type=int, default=7, help='measured alternations (default 7)')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--compile', action='store_true', help='C1, C2: also compiled, which takes minutes')
    parser.add_argument('--images', type=int, default=9600, help='C2-loss: images that each net sees')
    parser.add_argument('--only', nargs='*', help='C2-loss: some of the nets')
    parser.add_argument('--minutes', type=float, default=30, help='C3: what the others get')
    parser.add_argument('--lr', type=float, default=1e-3, help='C3: learning rate of all')
    parser.add_argument('--samples', type=int, default=512, help='C3, C4: images that are judged')
    parser.add_argument('--few', type=int, default=256, help='C4: images judged of the default of denoising-diffusion-pytorch')
    parser.add_argument('--default-steps', type=int, default=1000, help='C4: ancestral steps for these; their time is that of 1000')
    parser.add_argument('--processes', type=int, default=2, help='E3: fresh processes of each')
    parser.add_argument('--gpu-batch', type=int, default=1024)
    parser.add_argument('--seconds', type=float, default=300, help='G4: when to give up')
    parser.add_argument('--peers', help='a folder to import other libraries from')
    parser.add_argument('--out', type=Path, default=RESULTS / 'rows.json')
    args = parser.parse_args(words)
    wrong = [r for r in args.rows if r not in (*ROWS, 'all', 'chart', 'table')]
    if wrong:
        parser.error(f'no row is called {wrong[0]!r}; there are {", ".join(ROWS)}, all, chart and table')
    return args


def shown(words: list[str]) -> str:
    kept = [w for i, w in enumerate(words) if w not in HIDDEN and (i == 0 or words[i - 1] not in HIDDEN)]
    return f'python -m benchmarks {" ".join(kept)}'


def main(words: list[str]) -> int:
    args = parse(words)
    if not args.rows:
        print(__doc__ + '\n' + '\n'.join(f'  {r.id:8} {r.what}' for r in ROWS.values()))
        return 0
    torch.set_num_threads(args.threads)
    if args.peers:
        sys.path.append(args.peers)
    for id in ROWS if 'all' in args.rows else [r for r in args.rows if r in ROWS]:
        about = {'command': shown(words), **machine()}
        found = run(id, args, about)
        report = merge(args.out, {id: found})
        print(json.dumps({k: found[k] for k in ('row', 'status', 'goals')} | {k: v for k, v in found.items() if k == 'why'}), flush=True)
    report = merge(args.out, {})
    if any(found['goals'] for found in report['rows'].values()):
        chart(report, args.out.with_suffix('.png'))
    if 'table' in args.rows:
        print(table(report))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
