"""How much longer it takes to import the library than to import torch, which it needs.

    python -m benchmarks.imports --out benchmarks/results/imports.json

Every import happens in a fresh process. The processes take turns (ABCCBA...), so that a machine that grows slower
slows all of them. What is measured inside the process is the processor's time and the clock's, from before the import
to after it; the start of Python itself is not counted. The first round, which fills the disk cache, is not counted either.
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
    'import torch': 'import torch',
    'import diffbook': 'import torch, diffbook',
    'sampling, as in the README': 'from diffbook import core, exact, samplers, schedules',
    'training a U-Net': 'from diffbook import losses, predictions, schedules, training; from diffbook.nets import unet',
    'data and metrics': 'from diffbook import data, metrics',
    'figures (matplotlib)': 'from diffbook import plots',
    'the command line': 'from diffbook import cli',
}
CHILD = 'import time; c, w = time.process_time(), time.perf_counter()\n{}\nprint(time.process_time() - c, time.perf_counter() - w)'
HEAVY = ('matplotlib', 'torchvision', 'PIL', 'typer', 'diffusers', 'transformers', 'scipy', 'IPython', 'nbdev')


def measure(code):
    "Seconds of processor and clock that an import takes in a fresh process."
    out = subprocess.run([sys.executable, '-c', CHILD.format(code)], capture_output=True, text=True, check=True).stdout
    return [float(v) for v in out.split()]


def heavy(code):
    "Which heavy libraries an import brings along, of those that torch does not bring itself."
    show = f'import sys\n{code}\nprint(*(m for m in {HEAVY} if m in sys.modules))'
    return subprocess.run([sys.executable, '-c', show], capture_output=True, text=True, check=True).stdout.split()


def summary(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return {'median': round(middle, 3), 'quartiles': [round(low, 3), round(high, 3)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='a .json file')
    parser.add_argument('--rounds', type=int, default=8, help='measured alternations')
    args = parser.parse_args()
    load, times = os.getloadavg()[0], {name: [] for name in CASES}
    for i in range(args.rounds + 1):
        for name in list(CASES)[:: 1 if i % 2 else -1]:
            seconds = measure(CASES[name])
            if i:
                times[name].append(seconds)
    rows, plain = {}, times['import torch']
    for name, pairs in times.items():
        processor, clock = zip(*pairs)
        rows[name] = {
            'processor seconds': summary(processor), 'clock seconds': summary(clock),
            'of import torch, processor': summary([a / b[0] for a, b in zip(processor, plain)]),
            'brings along': heavy(CASES[name]), 'code': CASES[name],
        }  # fmt: skip
    about = {
        'command': f'python -m benchmarks.imports --rounds {args.rounds}', 'python': platform.python_version(), 'torch': version('torch'),
        'cores': os.cpu_count(), 'load at the start': round(load, 1), 'rounds': args.rounds, 'goal': 'import diffbook <= 1.15 of import torch',
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({'about': about, 'rows': rows}, indent=1) + '\n')
    print(json.dumps({name: row['of import torch, processor'] for name, row in rows.items()}, indent=1))


if __name__ == '__main__':
    main()
