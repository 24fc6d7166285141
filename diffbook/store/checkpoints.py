"""Checkpoints: all that the next update of a run depends on, in one file whose name carries its step and its digest.

Two are kept. Reading trusts nothing, and falls back to the file before, saying so.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ..core import whole
from .files import alone, make_folder, parse_json, read_header, write_whole
from .tensors import fill, fit_names

__all__ = ['CHECKPOINT', 'checkpoints', 'checkpoint_header', 'read_checkpoint', 'newest_checkpoint', 'write_checkpoint', 'same_settings', 'optimizer_tensors', 'wake_optimizer', 'take_up', 'our_header', 'sweep']

CHECKPOINT = re.compile(r'step-(\d{9,})-([0-9a-f]{32})\.safetensors')
STALE = re.compile(r'\.(step-\d{9,}-[0-9a-f]{32}\.safetensors|model\.safetensors|config\.json)\.\d+\.tmp')


def sweep(folder: Path) -> None:
    "Remove the temporary files of runs that were killed: ours, and no others."
    for stale in folder.glob('.*.tmp'):
        if STALE.fullmatch(stale.name):
            stale.unlink(missing_ok=True)


def checkpoints(folder: str | Path) -> list[Path]:  # newest first
    "List the checkpoint files of a run, be it still going on."
    found = []
    for path in Path(folder).glob('step-*.safetensors'):
        if name := CHECKPOINT.fullmatch(path.name):
            with suppress(FileNotFoundError):  # the run has just deleted it, its oldest
                found.append((int(name[1]), path.stat().st_mtime_ns, path))
    return [path for *_, path in sorted(found, reverse=True)]


def write_checkpoint(folder: str | Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor], keep: int = 2) -> Path:
    "Write one file, named after the step in its header and its digest, and keep the one before it; raise a ValueError while another process writes there."
    folder = make_folder(folder)
    whole('keep', keep)
    with alone(folder):
        sweep(folder)
        data = save({k: v.cpu().contiguous() for k, v in tensors.items()}, {'diffbook': json.dumps(header)})
        path = folder / f'step-{header["step"]:09d}-{hashlib.sha256(data).hexdigest()[:32]}.safetensors'
        if not path.exists():
            write_whole(path, data)
        for old in checkpoints(folder)[keep:]:
            old.unlink()
    return path


def our_header(path: Path) -> dict[str, Any]:
    "What stands in the header of a safetensors file under our name."
    about, _ = read_header(path)
    return parse_json(about.get('diffbook', '{}').encode('utf-8', 'surrogatepass'), f'{path} is damaged: its header')


def checkpoint_header(path: Path) -> dict[str, Any]:
    "What a checkpoint says of itself: step, seed and settings. Its bytes are not looked at."
    header, kinds = our_header(path), {'step': int, 'seed': int, 'settings': dict}
    if wrong := [f'{k} {header.get(k)!r}' for k, kind in kinds.items() if type(header.get(k)) is not kind]:
        raise ValueError(f'{path} is damaged: its header says {wrong[0][:200]}, expected step and seed, whole numbers, and settings')
    return header


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:  # header, tensors
    "Read a checkpoint; raise a ValueError if its bytes are not those that were written."
    header, data = checkpoint_header(path), path.read_bytes()
    if hashlib.sha256(data).hexdigest()[:32] != CHECKPOINT.fullmatch(path.name)[2]:
        raise ValueError(f'{path} is damaged: its bytes do not match the digest in its name')
    return header, load(data)


def newest_checkpoint(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor], Path] | None:  # header, tensors, file
    "Read the newest checkpoint that is whole, or None if there never was one; warn of those that are damaged, and raise a ValueError if all are."
    found = checkpoints(folder)
    for path in found:
        try:
            return (*read_checkpoint(path), path)
        except (ValueError, OSError, SafetensorError) as error:
            warnings.warn(f'{error}; going back to the checkpoint before it', stacklevel=4)
    if found:
        raise ValueError(f'{Path(folder)} holds {len(found)} checkpoints and all are damaged')
    return None


def same_settings(now: Mapping[str, Any], had: dict[str, Any], path: Path, change: Collection[str] = ()) -> None:
    "Raise a ValueError if a setting is another in the file, and is not said to change."
    older = not {'bf16', 'trained'} & had.keys()  # version 0.1.0 did not write them
    had = {'optimizer': 'AdamW'} | had  # there was no other
    for name, value in now.items():
        if name not in change and had.get(name) != value and not (older and name in ('bf16', 'trained')):
            raise ValueError(f'{name} is {value}, and {had.get(name)} in {path}: a run continues with the settings it began with')


# What an optimizer remembers, by the names of the weights


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    "What an optimizer remembers of each weight that a gradient has reached."
    named = model.named_parameters()
    return {f'optimizer.{key}.{name}': value for name, p in named for key, value in optimizer.state.get(p, {}).items()}


def fresh(optimizer: torch.optim.Optimizer, p: Tensor) -> dict[str, Tensor]:
    "What an optimizer remembers of a weight that a gradient reaches for the first time: AdamW's moments, or what it says itself by a method `fresh`."
    if hasattr(optimizer, 'fresh'):
        return optimizer.fresh(p)
    step = torch.zeros((), device=p.device if optimizer.param_groups[0]['fused'] else 'cpu')
    return {'step': step, 'exp_avg': torch.zeros_like(p), 'exp_avg_sq': torch.zeros_like(p)}


def wake_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, held: Collection[str]) -> None:
    "Give an optimizer the tensors that it makes when a gradient first reaches a weight, for each weight of which the names in a file tell any."
    optimizer.state.clear()
    for name, p in model.named_parameters():
        memory = fresh(optimizer, p) if p.requires_grad else {}
        if any(f'optimizer.{key}.{name}' in held for key in memory):
            optimizer.state[p] = memory


# Going on


@torch.no_grad()
def take_up(
    folder: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,  # of the model
    state: Callable[[], Mapping[str, Tensor]],  # every tensor that the next update depends on, by name; they are filled in place
    settings: Mapping[str, Any],  # of this run
    change: Collection[str] = (),  # settings that may be other than those of the file
) -> dict[str, Any] | None:  # what the file says of itself; None, if there is none
    "Fill the tensors of a run from its newest checkpoint that is whole; raise a ValueError if it is of another run."
    if strange := set(change) - settings.keys():
        raise ValueError(f'change holds {min(strange)!r}, expected some of {", ".join(settings)}')
    found = newest_checkpoint(folder)
    if found is None:
        return None
    header, tensors, path = found
    same_settings(settings, header['settings'], path, change)
    wake_optimizer(model, optimizer, tensors)
    own = state()
    if 'trained' in change:  # what is frozen from here on needs no moments
        tensors = {k: v for k, v in tensors.items() if k in own or not k.startswith('optimizer.')}
    fit_names(tensors, own, path)
    for name, value in own.items():
        fill(value, tensors[name])
    return header
