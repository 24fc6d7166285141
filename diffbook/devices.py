"""Devices: choose one, switch on what pays there, and bring a batch.

`training` gives these names to all others.
"""

from typing import Any

import torch
from torch import Tensor

from .bags import map_batch

__all__ = ['SWITCHES', 'pick_device', 'switched', 'to_device']

SWITCHES = {  # what is on by default, by kind of device
    'cuda': dict(bf16=True, channels_last=True, fused=True, compile=False, check_every=50),
    'mps': dict(bf16=False, channels_last=False, fused=False, compile=False, check_every=1),
    'cpu': dict(bf16=False, channels_last=True, fused=True, compile=False, check_every=1),
}  # fmt: skip


def pick_device(
    name: str | torch.device | None = None,  # 'cuda', 'mps', 'cpu'; None: the best there is
) -> torch.device:
    "Choose where to compute; raise a ValueError for a device that is not there."
    there = {'cuda': torch.cuda.is_available(), 'mps': torch.backends.mps.is_available(), 'cpu': True}
    if name is None:
        return torch.device(next(kind for kind, present in there.items() if present))
    kind = str(name).partition(':')[0]
    if not there.get(kind, False):
        present = ', '.join(k for k, v in there.items() if v)
        raise ValueError(f'device is {str(name)!r}, expected one that is here: {present}')
    return torch.device(name)


def switched(device: torch.device, **wanted: bool | int | None) -> dict[str, bool | int]:
    "The switches of a kind of device, but for those that are wanted otherwise; None is as SWITCHES says."
    switches = SWITCHES[device.type] | {name: value for name, value in wanted.items() if value is not None}
    if switches['check_every'] < 1 or (switches['check_every'] > 1 and not switches['fused']):
        raise ValueError(f'check_every is {switches["check_every"]}, expected 1, or more where fused is on')
    return switches


def to_device(
    batch: Any,
    device: torch.device | str,
    channels_last: bool = False,  # store images with the channel as the fastest axis
) -> Any:  # containers of the same kinds
    "Move every tensor that a batch holds; the rest stays."

    def move(x: Any) -> Any:
        layout = dict(memory_format=torch.channels_last) if channels_last and isinstance(x, Tensor) and x.ndim == 4 else {}
        return x.to(device, non_blocking=True, **layout) if isinstance(x, Tensor) else x

    return map_batch(move, batch)
