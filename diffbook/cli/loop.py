"""The loop of `diffbook train`: updates until the steps or the minutes are used up, a log, sheets of samples, and a model that can be used at any time."""

import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diffbook.cli.app import quiet, say
from diffbook.cli.logs import open_log

if TYPE_CHECKING:
    import torch

    from diffbook.data import Dataset
    from diffbook.recipes import Recipe

HEAD = 'step,loss,lr,grad_norm,seconds,images_per_second'
LEAST = 100  # updates before which no sheet is drawn
SHEETS = 8  # in a run
LONG = 30.0  # seconds after which a run ends with a sheet, however few its updates
PUBLISH = 60.0  # seconds after which the model of now is published, if no checkpoint came before
PACE = 2.0  # seconds between two looks at how fast the updates are


class Length(NamedTuple):
    "How long a run goes on."

    steps: int | None  # the update at which it ends
    minutes: float | None  # the time after which it ends
    falling: bool  # the learning rate falls to 0 at the end


def train_loop(
    trainer: Any, examples: Any, batch_size: int, length: Length, folder: Path, every: int, log: Path, publish: Callable[[], None], team: Any,
    sheet: Callable[[int], Path | None] | None = None, sheet_every: int | None = None, also: str | None = None,
) -> None:  # fmt: skip
    "Make updates until the steps or the minutes are used up."
    from diffbook.data import batches
    from diffbook.scale import share

    left = None if length.steps is None else max(0, length.steps - trainer.step)
    examples = to_place(examples, trainer.device)
    stream = islice(batches(share(examples, team), batch_size, trainer.seed, trainer.step), left)
    others = team.rank > 0  # who are silent
    pace = Pace(trainer, length, alone=team.size == 1)
    with Log(log, trainer, batch_size, length, others, also) as lines:
        last_sheet = 0
        for step in trainer.fit(stream, folder, every, publish):
            pace.update()
            lines.add(step, pace)
            if team.size == 1 and pace.publish_due():
                trainer.save(folder), publish()
            if sheet is not None and pace.sheet_due(last_sheet, sheet_every):
                lines.show(sheet(step.step))
                last_sheet = step.step
            if length.minutes and team.any(pace.over()):
                trainer.save(folder)
                break
        if sheet is not None and trainer.step > last_sheet and (trainer.step >= (sheet_every or LEAST) or pace.seconds >= LONG):
            lines.show(sheet(trainer.step))


def to_place(examples: Any, device: Any) -> Any:
    "Tensors on the device of the model; rows that lie on the disk stay there."
    import torch

    move = lambda part: part.to(device) if isinstance(part, torch.Tensor) else part  # noqa: E731
    return tuple(move(part) for part in examples) if isinstance(examples, tuple) else move(examples)


class Pace:
    "How fast updates are made, where a run with minutes will end, and what is due."

    def __init__(self, trainer: Any, length: Length, alone: bool):
        self.trainer, self.length = trainer, length
        self.plans = alone and length.minutes is not None  # processes of a team would disagree
        self.start = self.looked = self.published = time.monotonic()
        self.first, self.wait = trainer.step, PUBLISH / 6  # the first time soon
        self.total = length.steps

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def update(self) -> None:
        "Look at the clock, and settle at which update the learning rate is to be 0."
        from diffbook.own import expected_updates

        now = time.monotonic()
        if not self.plans or now - self.looked < PACE:
            return
        self.looked = now
        made = max(1, self.trainer.step - self.first)
        self.total = self.first + max(made + 1, int(expected_updates(made, self.seconds, 60 * self.length.minutes)))
        if self.length.falling:
            self.trainer.settings['total'] = self.total

    def over(self) -> bool:
        return self.seconds >= 60 * self.length.minutes

    def left(self) -> float | None:
        "Seconds that are left, as far as is known."
        if self.length.minutes is not None:
            return max(0.0, 60 * self.length.minutes - self.seconds)
        made = self.trainer.step - self.first
        return self.seconds / made * (self.length.steps - self.trainer.step) if made else None

    def publish_due(self) -> bool:
        now = time.monotonic()
        if now - self.published < self.wait:
            return False
        self.published, self.wait = now, PUBLISH
        return True

    def sheet_due(self, last: int, every: int | None) -> bool:
        "Whether a sheet of samples is due: every so many updates, or about SHEETS times, and at most once a minute where minutes count."
        step = self.trainer.step
        if every is not None:
            return step % every == 0
        if step < LEAST or self.total is None:
            return False
        if self.length.minutes is None:
            return step % max(2 * LEAST, self.length.steps // SHEETS) == 0
        apart = max(1.0, self.length.minutes / SHEETS) * 60
        return self.seconds >= apart and (not last or (step - last) * self.seconds / max(1, step - self.first) >= apart)


class Log:
    "training.csv, the bar of a terminal, and lines for those who have none."

    def __init__(self, path: Path, trainer: Any, batch_size: int, length: Length, silent: bool, also: str | None = None):
        self.path, self.trainer, self.batch_size, self.length, self.silent, self.also = path, trainer, batch_size, length, silent, also
        steps = length.steps or 10**9
        self.every = max(1, min(20, steps // 20))  # updates between two rows
        self.sum, self.count = 0.0, 0
        self.rowed = self.told = time.monotonic()
        self.row_step = trainer.step

    def __enter__(self) -> 'Log':
        from tqdm import tqdm

        from diffbook.store.files import write_whole

        if not self.silent:
            kept = self.path.read_text().splitlines()[1:] if self.path.exists() and self.trainer.step else []
            kept = [line for line in kept if line.partition(',')[0].isdigit() and int(line.partition(',')[0]) <= self.trainer.step]
            write_whole(self.path, '\n'.join([HEAD, *kept, '']).encode())
        self.beside = open_log(None if self.silent else self.also, self.path.parent, self.trainer.settings.get('run', {}))
        self.file = open(os.devnull if self.silent else self.path, 'a')
        hidden = True if self.silent or quiet() or os.environ.get('TQDM_DISABLE') else None  # None: where no terminal is
        self.bar = tqdm(total=self.length.steps, initial=self.trainer.step, desc='training', unit='step', disable=hidden)
        return self

    def __exit__(self, *error: Any) -> None:
        self.file.close()
        self.bar.close()
        self.beside.close()

    def show(self, path: Path | None) -> None:
        "Show a sheet of samples where the log is kept besides."
        if path is not None:
            self.beside.sheet(path, self.trainer.step)

    def add(self, step: Any, pace: Pace) -> None:
        "Take note of an update."
        self.bar.update()
        self.sum, self.count = self.sum + step.loss, self.count + 1
        now = time.monotonic()
        if step.step % self.every == 0 or (self.length.minutes is not None and now - self.rowed >= 5):
            loss, rate = float(self.sum / self.count), (step.step - self.row_step) * self.batch_size / max(1e-9, now - self.rowed)
            print(f'{step.step},{loss:.6g},{step.lr:.6g},{step.grad_norm.item():.6g},{pace.seconds:.1f},{rate:.1f}', file=self.file, flush=True)
            self.beside.numbers({'loss': loss, 'lr': step.lr, 'grad_norm': step.grad_norm.item(), 'images_per_second': rate}, step.step)
            self.sum, self.count, self.rowed, self.row_step = 0.0, 0, now, step.step
            self.bar.total = pace.total
            self.bar.set_postfix(loss=f'{loss:.3f}', images_per_s=f'{rate:.0f}', left=told_time(pace.left()))
            if self.bar.disable and not self.silent and now - self.told >= self.apart():
                self.told = now
                of = f' of about {pace.total:,}' if self.length.minutes and pace.total else f' of {pace.total:,}' if pace.total else ''
                say(f'update {step.step:,}{of}: loss {loss:.4f}, rate {step.lr:.2g}, {rate:.0f} images/s, {told_time(pace.left())} left')

    def apart(self) -> float:
        "Seconds between two lines: about twenty in a run with minutes."
        return 30.0 if self.length.minutes is None else min(300.0, max(5.0, 3 * self.length.minutes))


def told_time(seconds: float | None) -> str:
    if seconds is None:
        return '?'
    return f'{seconds:.0f} s' if seconds < 120 else f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'


def sheet_of(trainer: Any, made: 'Recipe', found: 'Dataset', method: str | None, seed: int, folder: Path) -> Callable[[int], Path | None] | None:
    "What draws a sheet of samples, from the same noise each time; nothing for latents, which no autoencoder is at hand for."
    from dataclasses import replace

    import torch

    from diffbook.cli.models import solver_named
    from diffbook.conditioning import Conditional
    from diffbook.data import save_images
    from diffbook.guidance import guide
    from diffbook.stages import Stage

    if made.codec:
        return None
    solver, steps = {'consistency': ('renoise', 2), 'meanflow': ('jump', 4)}.get(method, ('heun', 8))
    shape, n, columns, raw = made.shape or tuple(found.images.shape[1:]), 16, 8, None
    if isinstance(trainer.model, Conditional):
        raw, columns = told_of(found, trainer.model)
        n = len(raw)

    def draw(step: int) -> Path | None:
        model = trainer.ema.model
        stage = Stage(model, model.schedule, shape, solver=solver_named(solver))
        cond = None
        with torch.inference_mode():
            if raw is not None:
                cond = model.condition(raw)
                stage = replace(stage, denoise=guide(model, model.null(1), 2.0))
            images = stage.draw(n, cond, steps=steps, seed=seed, device=trainer.device).float().cpu()
        if torch.isfinite(images).all():
            folder.mkdir(exist_ok=True)
            path = folder / f'step-{step:06d}.png'
            save_images(images, path, columns=columns, zoom=2 if shape[-1] < 128 else 1)
            return path
        return None

    return draw


def told_of(found: 'Dataset', model: Any) -> tuple[Any, int]:  # what the samples of a sheet are told, and columns
    "Each class, two times or more; or captions from all over the data."
    import torch

    from diffbook.conditioning import ClassConditioner

    if isinstance(model.conditioner, ClassConditioner):
        columns = min(model.conditioner.classes, 16)
        return torch.arange(columns).repeat(max(2, 16 // columns)), columns
    several = sorted(set(found.captions))
    return [several[k * len(several) // 16] for k in range(16)], 8
