"""What is promised, with the procedure and the figure of each promise: the release report.

    python -m benchmarks.reliability                    every row, at full length (an hour or two)
    python -m benchmarks.reliability R1 G5 --short      some rows, as the tests run them: printed, and written nowhere
    python -m benchmarks.reliability --show             the report as it stands

A row is a function. Its docstring is the procedure, what it returns is the figure:

    @row('R1', 'a training that is killed goes on to the same bits', goal='200 of 200')
    def r1(short: bool, seed: int) -> dict:
        "Kill a training with SIGKILL at random moments, start it again until it is done, compare digests."
        return count(200, 200)  # {'figure': '200 of 200', 'met': True, 'n': 200}

Whatever else the dictionary holds is kept under `details`. A row that raises is reported as not met, with the error.
The report lies inside the package, so that the appendix of the book can be read without the repository.
"""

import argparse
import fcntl
import importlib
import importlib.util
import inspect
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diffbook.store.files import write_whole

os.environ.setdefault('TQDM_DISABLE', '1')  # before anything imports tqdm, as in conftest.py: a bar is no line of an error
ROOT = Path(__file__).parent.parent
REPORT = ROOT / 'diffbook' / 'measured' / 'reliability.json'
PARTS = ('survival', 'teams', 'truth', 'security', 'mutants')  # modules of this package with rows; one that is absent is left out
ROWS: dict[str, 'Row'] = {}
QUIET = {'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1', 'MPLBACKEND': 'agg', 'CUDA_VISIBLE_DEVICES': ''}  # for children


@dataclass(frozen=True)
class Row:
    "One promise and the function that puts it to the test."

    id: str
    promise: str
    goal: str
    run: Callable[..., dict]

    @property
    def procedure(self) -> str:
        return ' '.join((inspect.getdoc(self.run) or '').split())


def row(id: str, promise: str, goal: str = '') -> Callable[[Callable[..., dict]], Callable[..., dict]]:
    "Put a function `f(short) -> dict` or `f(short, seed) -> dict` on the list of promises."

    def listed(f: Callable[..., dict]) -> Callable[..., dict]:
        if id in ROWS:
            raise ValueError(f'two rows are called {id}')
        if not f.__doc__:
            raise ValueError(f'row {id} has no docstring, which is its procedure')
        ROWS[id] = Row(id, promise, goal, f)
        return f

    return listed


def count(good: int, n: int, **details) -> dict:
    "The figure `good of n`, met if all are good."
    return {'figure': f'{good:,} of {n:,}', 'met': good == n and n > 0, 'n': n, **details}


def count_tests(file: str, which: str) -> dict:
    "Run the tests of a file whose names match `which`; the figure is how many of them pass."
    call = [sys.executable, '-m', 'pytest', file, '-q', '-k', which, '-p', 'no:cacheprovider', '--no-header']
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, env=os.environ | QUIET)
    numbers = {word: int(n) for n, word in re.findall(r'(\d+) (passed|failed|error)', done.stdout)}
    return count(numbers.get('passed', 0), sum(numbers.values()), wrong=re.findall(r'^FAILED (.*)', done.stdout, re.M)[:10])


def at_most(value: float, limit: float, n: int, unit: str = '', **details) -> dict:
    "The figure `value`, met if it is not above `limit` (and is a number)."
    return {'figure': f'{value:.2g}{unit}', 'met': bool(value <= limit), 'n': n, **details}


def order(id: str) -> tuple[str, int]:
    return id.rstrip('0123456789'), int(id.lstrip('ABCDEFGHIJKLMNOPQRSTUVWXYZ') or 0)


def load_parts() -> dict[str, Row]:
    "Import every module with rows; give all rows by id."
    for part in PARTS:
        if importlib.util.find_spec(f'benchmarks.{part}'):
            importlib.import_module(f'benchmarks.{part}')
    return {id: ROWS[id] for id in sorted(ROWS, key=order)}


def run_row(id: str, short: bool = False, seed: int = 0) -> dict:
    "Run one row; give what the report keeps of it."
    import torch

    one, begun = load_parts()[id], time.perf_counter()
    try:
        got = dict(one.run(short, seed) if len(inspect.signature(one.run).parameters) > 1 else one.run(short))
    except Exception as error:  # a row that cannot run has not kept its promise
        if short:
            raise
        said = re.sub(r'\S*/\S+', '...', f'{type(error).__name__}: {error}'.splitlines()[0])  # no path of this machine
        got = {'figure': said[:200], 'met': False, 'n': 0}
    figure, met, n = (got.pop(k) for k in ('figure', 'met', 'n'))
    command = f'python -m benchmarks.reliability {id}' + ' --short' * short + f' --seed {seed}' * bool(seed)
    return {
        'id': id, 'short': short, 'promise': one.promise, 'procedure': one.procedure, 'figure': str(figure), 'goal': one.goal, 'met': met, 'n': n,
        'seed': seed, 'command': command, 'machine': machine(), 'torch': torch.__version__,
        'seconds': round(time.perf_counter() - begun, 1), 'details': got,
    }  # fmt: skip


def machine() -> str:
    names = [x.split(':', 1)[1].strip() for x in read('/proc/cpuinfo').splitlines() if x.startswith('model name')]
    chip = names[0] if names else platform.processor() or platform.machine()
    return f'{platform.system()}, {os.cpu_count()} cores, {chip}, Python {platform.python_version()}'


def read(path: str) -> str:
    return Path(path).read_text() if os.path.exists(path) else ''


def read_report(path: Path = REPORT) -> dict[str, dict]:
    "The rows of a report by id; none if there is no report."
    rows = json.loads(path.read_text(encoding='utf-8'))['rows'] if path.exists() else []
    return {r['id']: r for r in rows}


def merge(new: dict, path: Path = REPORT) -> None:
    "Put one row into the report, in the place of an older one of its name; two runners may do so at once."
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        rows = read_report(path) | {new['id']: new}
        text = json.dumps({'rows': [rows[id] for id in sorted(rows, key=order)]}, indent=1) + '\n'
        write_whole(path, text.encode())
    finally:
        os.close(folder)


def table(rows: list[dict]) -> str:
    "The rows as text for people."
    lines = [('row', 'promise', 'figure', 'goal', 'met', 'seconds')]
    said = lambda r: {True: 'yes', False: 'NO', None: '-'}[r['met']] + ' (short)' * r.get('short', False)
    lines += [(r['id'], r['promise'], r['figure'], r['goal'], said(r), f'{r["seconds"]:.0f}') for r in rows]
    cut = lambda text: text if len(text) <= 60 else text[:57] + '...'
    widths = [max(len(cut(line[i])) for line in lines) for i in range(len(lines[0]))]
    return '\n'.join('  '.join(cut(v).ljust(w) for v, w in zip(line, widths)).rstrip() for line in lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rows', nargs='*', metavar='ROW', help='such as R1; all if none is named')
    parser.add_argument('--short', action='store_true', help='as the tests run it; written nowhere unless --out says where')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='the report to merge into')
    parser.add_argument('--show', action='store_true', help='print the report and run nothing')
    args = parser.parse_args(argv)
    out = args.out or (None if args.short else REPORT)
    if args.show:
        print(table(list(read_report(args.out or REPORT).values())))
        return 0
    known = load_parts()
    unknown = [id for id in args.rows if id not in known]
    if unknown:
        parser.error(f'there is no row {unknown[0]}; expected {", ".join(known)}')
    done = []
    for id in args.rows or known:
        done.append(run_row(id, args.short, args.seed))
        if out:
            merge(done[-1], out)
        print(table(done[-1:]).splitlines()[1], flush=True)
    print(f'\n{table(done)}')
    return int(any(r['met'] is False for r in done))


if __name__ == '__main__':
    from benchmarks.reliability import main as run  # not __main__: the rows know this module by its name

    sys.exit(run())
