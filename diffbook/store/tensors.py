"""Tensors by name: those of a module, whether they fit another's, whether they are whole.

A model that many processes share lies in pieces, of which each holds one; a file always holds whole tensors.
"""

import hashlib
import sys
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ['own_tensors', 'fit_names', 'refuse_nan', 'sum_up', 'whole_tensor', 'own_piece', 'fill', 'copy_whole']


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    "The tensors of a module by name; one that has two names (tied weights) stands under its first."
    seen: dict[int, str] = {}
    for name, value in module.state_dict(keep_vars=True).items():
        seen.setdefault(id(value), name)
    return {name: value.detach() for name, value in module.state_dict(keep_vars=True).items() if seen[id(value)] == name}


def fit_names(have: Mapping[str, Tensor], want: Mapping[str, Tensor], where: object) -> None:
    "Raise a ValueError if tensors lack a name, hold one too many, or have another shape or kind."
    same = lambda a, b: a.shape == b.shape and a.is_floating_point() == b.is_floating_point()
    shown = lambda v: f'{tuple(v.shape)} of {v.dtype}'
    problems = {
        'missing': sorted(want.keys() - have.keys()),
        'unexpected': sorted(have.keys() - want.keys()),
        'misshapen': [f'{k} {shown(have[k])}, expected {shown(want[k])}' for k in sorted(want.keys() & have.keys()) if not same(have[k], want[k])],
    }
    said = [f'{what}: {", ".join(names[:3])}{f" and {len(names) - 3} more" if len(names) > 3 else ""}' for what, names in problems.items() if names]
    if said:
        raise ValueError(f'{where} does not fit the model; {"; ".join(said)}')


def refuse_nan(tensors: Mapping[str, Tensor]) -> None:
    "Raise a ValueError if a number is not finite, before anything is written."
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f'{name} holds a number that is not finite; nothing was written')


def sum_up(text: str, tensors: Mapping[str, Tensor]) -> str:  # 64 hexadecimal digits
    "The digest of a configuration and its tensors: names, kinds, shapes, bytes."
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        total.update(f'\n{name} {value.dtype} {tuple(value.shape)}\n'.encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


# In pieces


def _in_pieces(x: Tensor) -> bool:
    found = sys.modules.get('torch.distributed.tensor')  # whoever cut a tensor has imported it
    return found is not None and isinstance(x, found.DTensor)


def whole_tensor(x: Tensor) -> Tensor:
    "Put a tensor together of which each process holds a piece; all of them must ask."
    return x.full_tensor() if _in_pieces(x) else x


def own_piece(x: Tensor) -> Tensor:
    "The piece of a tensor that this process holds: all of it, if nobody cut it."
    return x.to_local() if _in_pieces(x) else x


def fill(x: Tensor, whole: Tensor) -> None:
    "Write a whole tensor into ours, of which we may hold a piece."
    if _in_pieces(x):
        whole = torch.distributed.tensor.distribute_tensor(whole.to(x.device), x.device_mesh, x.placements)
    x.copy_(whole)


@torch.no_grad()
def copy_whole(
    module: nn.Module,  # of which each process may hold pieces
    into: nn.Module,  # of the same kind, in one piece
) -> nn.Module:  # into
    "Copy the tensors of a module that is split; all processes call this."
    for kept, value in zip(into.state_dict(keep_vars=True).values(), module.state_dict(keep_vars=True).values()):
        kept.copy_(whole_tensor(value))
    return into
