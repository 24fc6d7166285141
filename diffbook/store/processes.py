"""Processes: what launchers tell us, how several of them meet, what they need, and how they hold a model in pieces.

`torchrun` and `accelerate launch` say in the environment who is who.
"""

import importlib.util
import os
import socket
from datetime import timedelta
from typing import Any

import torch
from torch import nn

__all__ = ['LAUNCHED', 'launched', 'asked', 'need', 'stay_home', 'meet', 'split', 'blocks']

LAUNCHED = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')  # what torchrun and accelerate launch set


def launched() -> tuple[int, int]:  # our rank, and how many there are
    "Read from the environment whether we are one of several processes."
    told = {name: os.environ[name] for name in LAUNCHED if os.environ.get(name)}
    if told.get('WORLD_SIZE', '1') == '1' and told.get('RANK', '0') == '0':
        return 0, 1
    missing = [name for name in LAUNCHED if name not in told]
    if missing:
        raise ValueError(f'{missing[0]} is not set, and {", ".join(f"{k}={v}" for k, v in told.items())}; expected all, as torchrun and accelerate launch set them')
    numbers = [int(told[name]) if told[name].isdecimal() else -1 for name in ('RANK', 'WORLD_SIZE')]
    if not 0 <= numbers[0] < numbers[1]:
        raise ValueError(f'RANK is {told["RANK"]} and WORLD_SIZE {told["WORLD_SIZE"]}, expected whole numbers, the first below the second')
    return numbers[0], numbers[1]


def asked() -> dict[str, Any]:  # accumulate, shard, bf16
    "Read what `accelerate launch` was asked for; what only we can be asked for keeps its default."
    kind = os.environ.get('ACCELERATE_MIXED_PRECISION', 'no')
    if kind not in ('no', 'bf16'):
        raise ValueError(f'--mixed_precision is {kind}, expected no or bf16, which needs no scaling of the loss')
    parts = os.environ.get('ACCELERATE_GRADIENT_ACCUMULATION_STEPS', '1')
    if not parts.isdecimal() or int(parts) < 1:
        raise ValueError(f'--gradient_accumulation_steps is {parts}, expected a whole number, at least 1')
    shard = os.environ.get('ACCELERATE_USE_FSDP', 'false').lower() in ('true', '1', 'yes')
    return dict(accumulate=int(parts), shard=shard, bf16=True if kind == 'bf16' else None)


def need(module: str) -> None:
    "Say how to install a library of the extra `scale`, if it is not there."
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"{module} is not installed, and this needs it: pip install 'diffbook[scale]'")


def stay_home() -> None:
    "Use the loopback interface alone where the processes meet there, unless the user has chosen one."
    if os.environ['MASTER_ADDR'] not in ('127.0.0.1', 'localhost', '::1'):
        return
    loops = [name for _, name in socket.if_nameindex() if name in ('lo', 'lo0')]
    for name in ('GLOO_SOCKET_IFNAME', 'NCCL_SOCKET_IFNAME') if loops else ():
        os.environ.setdefault(name, loops[0])


def meet(backend: str, timeout: timedelta) -> None:
    "Find the others. When torchrun starts all again, the addresses of the dead are still on its board, so each attempt has a board of its own."
    from torch.distributed import PrefixStore, init_process_group
    from torch.distributed.rendezvous import rendezvous

    board, rank, size = next(rendezvous('env://', timeout=timeout))
    board = PrefixStore(f'attempt {os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")}', board)
    init_process_group(backend, store=board, rank=rank, world_size=size, timeout=timeout)


def split(
    module: nn.Module,  # its parameters are replaced by pieces
    device: torch.device,  # where it computes
    least: int = 1_000_000,  # parameters that are worth being gathered on their own
) -> nn.Module:
    "Split the parameters of a module among all processes (FSDP2); gather those of one block at a time when it is called."
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for block in blocks(module, least):
        fully_shard(block, mesh=mesh)
    return fully_shard(module, mesh=mesh)


def blocks(module: nn.Module, least: int) -> list[nn.Module]:
    "The members of the lists of layers in a module that hold at least so many parameters."
    members = [block for each in module.modules() if isinstance(each, nn.ModuleList) for block in each]
    return [block for block in members if sum(p.numel() for p in block.parameters()) >= least]
