"""How much longer it takes to import the library than to import torch, which it needs.

    python -m benchmarks.imports --out benchmarks/results/imports.json

Every case runs in fresh processes, which take turns (ABCCBA...). A process imports torch first and then the case, so
that both are timed on the same machine in the same second; the ratio is that of the two together to torch alone.
The processor's time is measured, which other programs disturb little; the start of Python itself is not counted.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

CASES = {
    'import diffbook': 'import diffbook',
    'sampling, as in the README': 'from diffbook import core, exact, samplers, schedules',
    'training a U-Net': 'from diffbook import losses, predictions, schedules, training; from diffbook.nets import unet',
    'data and metrics': 'from diffbook import data, metrics',
    'figures (matplotlib)': 'from diffbook import plots',
    'the command line': 'from diffbook import cli',
}
CHILD = """
import sys, time
a = time.process_time()
import torch
b, there = time.process_time(), set(sys.modules)
{}
c = time.process_time()
print(b - a, c - a, *(m for m in {} if m in sys.modules and m not in there))
"""
HEAVY = ('matplotlib', 'torchvision', 'PIL', 'typer', 'diffusers', 'transformers', 'scipy', 'IPython', 'nbdev')


def measure(code):
    "Processor seconds for torch, for torch and then `code`, and which heavy libraries `code` brings along."
    out = subprocess.run([sys.executable, '-c', CHILD.format(code, HEAVY)], capture_output=True, text=True, check=True).stdout
    torch, both, *heavy = out.split()
    return float(torch), float(both), heavy


def summary(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return {'median': round(middle, 3), 'quartiles': [round(low, 3), round(high, 3)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='a .json file')
    parser.add_argument('--rounds', type=int, default=5, help='processes for each case')
    args = parser.parse_args()
    load, times = os.getloadavg()[0], {name: [] for name in CASES}
    for i in range(args.rounds):
        for name in list(CASES)[:: -1 if i % 2 else 1]:
            times[name].append(measure(CASES[name]))
    rows = {}
    for name, measured in times.items():
        torch, both, heavy = zip(*measured)
        rows[name] = {
            'of import torch': summary([b / a for a, b in zip(torch, both)]), 'torch, seconds': summary(torch),
            'more, seconds': summary([b - a for a, b in zip(torch, both)]), 'brings along': heavy[0], 'code': CASES[name],
        }  # fmt: skip
    about = {
        'command': f'python -m benchmarks.imports --rounds {args.rounds}', 'python': platform.python_version(), 'torch': version('torch'),
        'cores': os.cpu_count(), 'load at the start': round(load, 1), 'rounds': args.rounds, 'goal': 'import diffbook <= 1.15 of import torch',
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({'about': about, 'rows': rows}, indent=1) + '\n')
    print(json.dumps({name: row['of import torch'] for name, row in rows.items()}, indent=1))


if __name__ == '__main__':
    main()
