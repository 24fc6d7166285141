"""Run a training that can be stopped and continued, and keep its log: shared by the tools that train."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm

from diffbook.training import Trainer


def run(trainer: Trainer, stream: Iterator, steps: int, out: Path, unit: str, every: int = 50, **more: Callable[[], float]) -> None:
    """Make the updates that are left; write checkpoints to OUT/checkpoints and a line of OUT/log.csv now and then.

    `unit` names the examples of a batch; `more` are further columns. Time is kept by the clock and by the processor.
    """
    path = out / 'log.csv'
    kept = path.read_text().splitlines()[1:] if path.exists() and trainer.step else []
    kept = [line for line in kept if int(line.partition(',')[0]) <= trainer.step]
    before = [float(v) for v in kept[-1].split(',')[2:4]] if kept else [0.0, 0.0]
    begun, cpu, losses = time.time() - before[0], time.process_time() - before[1], []
    with path.open('w') as file, tqdm(total=steps, initial=trainer.step, unit='step') as bar:
        print(','.join(['step', unit, 'seconds', 'processor_seconds', 'loss', 'rate', *more]), *kept, sep='\n', file=file, flush=True)
        for step in trainer.fit(islice(stream, max(0, steps - trainer.step)), out / 'checkpoints', every=1000):
            losses.append(step.loss)
            bar.update()
            if step.step % every == 0:
                mean, seen = torch.stack(losses).mean().item(), step.step * trainer.settings['batch']
                row = [step.step, seen, f'{time.time() - begun:.0f}', f'{time.process_time() - cpu:.0f}', f'{mean:.5f}', f'{step.lr:.3e}']
                print(*row, *(f'{value():.3f}' for value in more.values()), sep=',', file=file, flush=True)
                bar.set_postfix(loss=f'{mean:.4f}')
                losses = []


def spent(out: Path) -> tuple[int, int]:
    "Give the seconds of the clock and of the processor that the log of a run counts."
    last = (out / 'log.csv').read_text().split()[-1].split(',')
    return (int(last[2]), int(last[3])) if last[0].isdigit() else (0, 0)
