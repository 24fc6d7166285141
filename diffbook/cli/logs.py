"""Where the log of a run goes besides: TensorBoard, or Weights and Biases, each through its own package."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOGS = {'tensorboard': 'tensorboard', 'wandb': 'wandb'}  # what --log names -> the package that it needs


def check_log(name: str | None) -> None:
    "Refuse another log than these, and one whose package is not here."
    if name is None:
        return
    if name not in LOGS:
        raise ValueError(f'--log is {name}, expected {", ".join(LOGS)}')
    if importlib.util.find_spec(LOGS[name]) is None:
        raise ValueError(f'--log is {name}, which needs the package {LOGS[name]}: pip install {LOGS[name]}')


class Also:
    "A log beside training.csv: numbers and sheets of samples, by the update that they are of."

    def __init__(self, numbers: Callable[[Mapping[str, float], int], None], sheet: Callable[[Path, int], None], close: Callable[[], None]):
        self.numbers, self.sheet, self.close = numbers, sheet, close


def open_log(name: str | None, out: Path, options: Mapping[str, Any]) -> Also:
    "Open a log of a run in `out`; without a name one that keeps nothing."
    if name == 'tensorboard':
        return _tensorboard(out)
    if name == 'wandb':
        return _wandb(out, options)
    return Also(lambda values, step: None, lambda path, step: None, lambda: None)


def _tensorboard(out: Path) -> Also:
    "Into OUT/tensorboard, for `tensorboard --logdir OUT`."
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(out / 'tensorboard'))

    def numbers(values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)

    def sheet(path: Path, step: int) -> None:
        import numpy
        from PIL import Image

        with Image.open(path) as image:
            writer.add_image('samples', numpy.asarray(image.convert('RGB')), step, dataformats='HWC')

    return Also(numbers, sheet, writer.close)


def _wandb(out: Path, options: Mapping[str, Any]) -> Also:
    "A run of the project diffbook, which goes on as one when this one does."
    import wandb

    run = wandb.init(project='diffbook', name=out.name, id=f'{out.name}-{abs(hash_of(out)):x}', resume='allow', dir=str(out), config=dict(options))
    return Also(lambda values, step: run.log(dict(values), step=step), lambda path, step: run.log({'samples': wandb.Image(str(path))}, step=step), run.finish)


def hash_of(out: Path) -> int:
    "A number for a folder: the same each time that it is asked for."
    import hashlib

    return int.from_bytes(hashlib.blake2b(str(out.absolute()).encode('utf-8', 'surrogateescape'), digest_size=4).digest(), 'big')
