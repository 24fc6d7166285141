"""Measure fairly: who is compared takes turns, on the same tensors, in one process or in fresh ones."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

RESULTS = Path(__file__).parent / 'results'
PACKAGES = ('torch', 'diffusers', 'denoising-diffusion-pytorch', 'smalldiffusion')
ATTENTION = '_scaled_dot_product_flash_attention_for_cpu'  # on a GPU every version counts it, on a CPU not every one
FORMULAS = {
    getattr(torch.ops.aten, ATTENTION): lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    getattr(torch.ops.aten, f'{ATTENTION}_backward'): lambda g, q, k, v, *_, **__: sdpa_backward_flop_count(g, q, k, v),
}


def counter() -> FlopCounterMode:
    "What counts multiplications and additions, fused attention included, on every device and in every version of PyTorch."
    return FlopCounterMode(display=False, custom_mapping=FORMULAS)


def flops(call: Callable[[], object]) -> int:
    "Multiplications and additions of a call whose attention keeps no scores: forward two products, backward five."
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]), counter() as counted:
        call()
    return counted.get_total_flops()


def clock() -> float:
    "Seconds: of the processor with one thread, which other programs disturb little; else of the clock on the wall, after the GPU has finished."
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def summary(values: list[float]) -> dict:
    "Median and quartiles, to four digits."
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {'median': float(f'{middle:.4g}'), 'quartiles': [float(f'{low:.4g}'), float(f'{high:.4g}')]}


def quartiles(values: list[float]) -> dict:
    "Median and quartiles, to two places."
    return {k: [round(x, 2) for x in v] if isinstance(v, list) else round(v, 2) for k, v in summary(values).items()}


def alternate(runs: Mapping[str, Callable[[], object]], rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    "Seconds of every run in every round, in the order ABBA...; and apart, those of the first call, which compiles and warms up."
    first, seconds = {}, {name: [] for name in runs}
    for i in range(-1, rounds):
        for name in list(runs)[:: -1 if i % 2 else 1]:
            start = clock()
            runs[name]()
            spent = clock() - start
            if i < 0:
                first[name] = round(spent, 3)
            else:
                seconds[name].append(spent)
    return seconds, first


def fresh(code: str, *words: object) -> dict:
    "Run code in a fresh process that prints one line of JSON at its end."
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *(p for p in sys.path if p)])
    done = subprocess.run([sys.executable, '-c', code, *map(str, words)], capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': paths})
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def release(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return 'absent'


def machine() -> dict:
    "What the numbers depend on."
    cpus = Path('/proc/cpuinfo')
    model = [line.split(':')[1].strip() for line in cpus.read_text().splitlines() if line.startswith('model name')] if cpus.exists() else []
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
    return {
        'processor': model[0] if model else platform.processor(), 'cores': os.cpu_count(), 'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else 'none',
        'clock': 'process' if torch.get_num_threads() == 1 and not torch.cuda.is_available() else 'wall', 'load at the start': round(os.getloadavg()[0], 1),
        'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', 'not set'), 'python': platform.python_version(), 'commit': commit or 'unknown',
        **{name: release(name) for name in PACKAGES},
    }  # fmt: skip


def goal(versus: str, figure: float | dict, at_least: float | None = None, at_most: float | None = None) -> dict:
    "One comparison of a row: what came out, what was wished, and whether it was reached."
    figure = figure if isinstance(figure, dict) else {'median': float(f'{figure:.4g}'), 'quartiles': None}
    wished = {'at least': at_least} if at_most is None else {'at most': at_most}
    met = figure['median'] >= at_least if at_most is None else figure['median'] <= at_most
    return {'versus': versus, 'figure': figure['median'], 'quartiles': figure['quartiles'], 'goal': wished, 'met': met}
