"""The folder of a training run: what it remembers of its command, what may change when it goes on, and what must not be lost."""

import hashlib
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = (  # what makes a run the run it is
    'recipe', 'method', 'data', 'text', 'class_folders', 'captions', 'init', 'lora', 'size', 'fit', 'grey', 'flip', 'ground', 'skip_broken', 'width', 'depth', 'patch',
    'prediction', 'snr_weight', 'drop', 'dropout', 'batch_size', 'lr', 'rate', 'warmup', 'optimizer', 'weight_decay', 'ema', 'steps', 'bf16', 'seed',
)  # fmt: skip
CHANGES = ('steps', 'lr', 'rate', 'ema', 'batch_size', 'bf16', 'drop', 'flip', 'weight_decay', 'data')  # of these, what --change may change from here on
WRITES = ('model.safetensors', 'lora.safetensors', 'config.json', 'training.csv', 'run.toml', 'samples', 'checkpoints')
EARLIER = {  # what runs had that were begun before there was the option
    'recipe': None, 'method': None, 'class_folders': False, 'captions': None, 'init': None, 'lora': None, 'fit': 'centre', 'grey': False, 'flip': False, 'depth': None,
    'patch': None, 'prediction': None, 'snr_weight': None, 'drop': None, 'dropout': 0.0, 'rate': 'falling', 'warmup': None, 'optimizer': None, 'weight_decay': None,
}  # fmt: skip
FAST = {'optimizer': 'muon', 'lr': 6e-3, 'width': 32, 'batch_size': 32}  # of a run on fashion-mnist, unless something else is said: chapter 27
OWN = {'lr': 2e-3, 'ema': 0.999, 'weight_decay': 0.01}  # of a run on one's own pictures, unless something else is said


def option(name: str) -> str:
    "Give the name of an option as it is typed."
    return f'--{name.replace("_", "-")}'


def refuse_overwriting(out: Path) -> None:
    "Refuse to begin a run in a folder that holds one, or a model, or anything else under the names that a run writes."
    from diffbook.store.checkpoints import checkpoints

    if checkpoints(out / 'checkpoints'):
        raise ValueError(f'{out} holds a run already; add --resume to continue it, or choose another --out')
    taken = [name for name in WRITES if (out / name).exists() and not (name in ('checkpoints', 'samples') and (out / name).is_dir())]
    if taken:
        raise ValueError(f'--out is {out}, which holds {taken[0]}, and no checkpoint of a run; choose another --out, as this run would overwrite it')


def check_writable(path: Path) -> None:
    "Refuse a file or folder that could not be written, before the work is done that is to be kept there."
    whole = Path(os.path.abspath(path))
    there = next(p for p in (whole, *whole.parents) if p.exists() and (p != whole or p.is_dir()))
    if not there.is_dir():
        raise ValueError(f'--out is {path}, and {there} is a file; expected a directory there')
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def content_of(images: 'Tensor', captions: Sequence[str] | None = None, classes: Any = None) -> str:
    "Sum up the data that a run learns from: kind, shape and every byte of the images, the captions, and the labels and names of the classes of a data set."
    total = hashlib.blake2b(f'{images.dtype} {tuple(images.shape)}'.encode(), digest_size=8)
    for first in range(0, len(images), 1024):
        total.update(images[first : first + 1024].contiguous().numpy())
    if classes is not None:
        total.update(f'\n{classes.classes}'.encode('utf-8', 'surrogateescape') + classes.labels.numpy().tobytes())
    for caption in captions or ():
        total.update(f'\n{len(caption)} {caption}'.encode())
    return f'{len(images):,} images of {" x ".join(map(str, images.shape[1:]))}{", with captions" if captions else ""} (digest {total.hexdigest()})'


class Plan(NamedTuple):
    "A run as it is to be from here on."

    options: dict[str, Any]  # see OPTIONS
    had: dict[str, Any]  # the options so far, with the content of the data; empty: the run begins
    warmup: int  # updates on the way up to the highest rate
    change: list[str]  # the options that --change names


def plan(out: Path, given: Mapping[str, Any], values: Mapping[str, Any], resume: bool, change: str) -> Plan:
    "Settle the options of a run from those that were typed, those with their defaults, and those of the run in `out`, if it goes on."
    changed = [word.strip().replace('-', '_') for word in change.split(',') if word.strip()]
    if changed and not resume:
        raise ValueError(f'--change is {change}, and there is no run that goes on; expected --resume as well')
    if resume:
        had, settings, made = remembered(out)
        return Plan(settle(given, had, made, changed, out), had, settings['warmup'], changed)
    refuse_overwriting(out)
    if values['data'] is None and not values['recipe']:
        raise ValueError("Missing option '--data': shapes, fashion-mnist, mnist, cifar10, emoji, or a folder of images")
    steps = (values['steps'] or 3000) if values['minutes'] is None else None
    options = {name: values[name] for name in OPTIONS} | {'steps': steps, 'bf16': given.get('bf16')}
    return Plan(options, {}, min(100, (steps or 1000) // 10) if options['warmup'] is None else options['warmup'], changed)


def refuse_content(plan: Plan, content: str, data: str, out: Path) -> None:
    "Refuse data that are not those of the run, wherever they lie."
    if not plan.had or content == plan.had['content'] or ('data' in plan.change and not plan.options['text']):
        return
    wanted = ', as the words that it reads are those of its captions' if plan.options['text'] else ', or --data with --change data'
    raise ValueError(f'--data is {data} and holds {content}, and the run in {out} began with {plan.had["content"]}; expected the same{wanted}')


def remembered(out: Path) -> tuple[dict[str, Any], dict[str, Any], int]:  # options, settings of the trainer, updates made
    "What the newest checkpoint of a run says of it."
    from diffbook.store.checkpoints import checkpoint_header, checkpoints

    found = checkpoints(out / 'checkpoints')
    if not found:
        raise ValueError(f'--resume is given, and {out / "checkpoints"} holds no checkpoint; leave it away to begin a run')
    for path in found:
        try:
            header = checkpoint_header(path)
        except (ValueError, OSError):  # damaged: the one before it, as `Trainer.resume` will say
            continue
        run = header['settings'].get('run')
        run = EARLIER | run if isinstance(run, dict) else run
        if not isinstance(run, dict) or not {*OPTIONS, 'content'} <= run.keys():
            raise ValueError(f'{path} was not written by `diffbook train`, or by an older one: it does not say with which options')
        return run, header['settings'], header['step']
    raise ValueError(f'{out / "checkpoints"} holds {len(found)} checkpoints and all are damaged')


def settle(given: Mapping[str, Any], run: Mapping[str, Any], made: int, change: Collection[str], out: Path) -> dict[str, Any]:
    "The options with which a run goes on: its own but for what is given; refuse one that differs and is not said to change."
    for name in change:
        if name not in CHANGES:
            raise ValueError(f'--change is {name.replace("_", "-")}, expected some of {", ".join(n.replace("_", "-") for n in CHANGES)}')
        if name not in given and not (name == 'steps' and 'minutes' in given):
            raise ValueError(f'--change is {name.replace("_", "-")}, and {option(name)} is not given; expected the new value as well')
    if run['steps'] is None and 'minutes' not in given and 'steps' not in given:
        raise ValueError(f'the run in {out} was begun with --minutes; say for how many it goes on with --minutes')
    asked = {name: value for name, value in given.items() if name in OPTIONS and name != 'data'}
    if 'minutes' in given:
        asked['steps'] = None
    for name, value in asked.items():
        longer = name == 'steps' and None not in (value, run[name]) and value > run[name]
        if value != run[name] and name not in change and not longer:
            refuse_change(name, value, run[name], given, out)
    if asked.get('steps') is not None and asked['steps'] < made:
        raise ValueError(f'--steps is {asked["steps"]}, and the run in {out} has made {made} updates already')
    return {name: run[name] for name in OPTIONS} | asked | ({'data': given['data']} if 'data' in given else {})


def refuse_change(name: str, value: Any, old: Any, given: Mapping[str, Any], out: Path) -> None:
    "Say which option differs, and what to do."
    what, had = f'{option(name)} is {value}', f'the run in {out} has {old}'
    if name == 'steps' and None in (value, old):
        what = f'--minutes is {given["minutes"]}' if value is None else f'--steps is {value}'
        had = f'the run in {out} has ' + (f'--steps {old}' if value is None else '--minutes and no --steps')
    wanted = f', or add --change {name.replace("_", "-")} to change it from here on' if name in CHANGES else ', or choose another --out for another run'
    raise ValueError(f'{what}, and {had}; leave it away to go on as before{wanted}')
