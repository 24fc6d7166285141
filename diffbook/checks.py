"""Checks of arguments: each kind of refusal is written once, and names the argument, what came, and what was expected.

`core` gives these names to all others.
"""

import math
import types
import typing
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch

__all__ = ['at_hand', 'expect', 'whole', 'number', 'positive', 'one_of', 'same_shape', 'holds', 'check_joint', 'fits']


def at_hand(*tensors: Any) -> bool:
    "Whether numbers may be looked at: on the CPU, where that makes nobody wait, and while no program is taken down (torch.export, torch.compile)."
    return all(x.device.type == 'cpu' for x in tensors) and not torch.compiler.is_compiling()


def expect(ok: Any, otherwise: str) -> None:  # a bool, or a tensor of one
    "Raise a ValueError that says `otherwise` unless `ok`."
    if not ok:
        raise ValueError(otherwise)


def whole(
    name: str,  # of the argument, for the message
    value: Any,
    least: int = 1,
    most: int | None = None,  # None: no bound
) -> int:  # the value
    "Give back `value`, or raise a ValueError if it is no whole number from `least` to `most`; True is no number."
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        said = 'a positive whole number' if (least, most) == (1, None) else f'a whole number, at least {least}'
        raise ValueError(f'{name} is {value!r}, expected {said if most is None else f"a whole number from {least} to {most:,}"}')
    return value


def number(
    name: str,  # of the argument, for the message
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
) -> float:  # the value
    "Give back `value`, or raise a ValueError if it is no finite number from `least` to `most`."
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and least <= value <= most):
        said = f' from {least:g} to {most:g}' if math.isfinite(most) else f', at least {least:g}' if math.isfinite(least) else ''
        raise ValueError(f'{name} is {value!r}, expected a {"" if said else "finite "}number{said}')
    return value


def positive(name: str, value: Any) -> float:  # the value
    "Give back `value`, or raise a ValueError if it is no positive finite number."
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f'{name} is {value!r}, expected a positive number')
    return value


def one_of(name: str, value: Any, allowed: Collection[str]) -> str:  # the value
    "Give back `value`, or raise a ValueError if it is not among the words that are allowed."
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f'{name} is {value!r}, expected one of {", ".join(allowed)}')
    return value


def same_shape(**tensors: Any) -> None:  # tensors by name; the last is what the others are held against
    "Raise a ValueError unless all have one shape: `same_shape(eps=eps, x0=x0)`."
    *others, (right, model) = tensors.items()
    for name, x in others:
        if x.shape != model.shape:
            raise ValueError(f'{name} has shape {tuple(x.shape)}, expected that of {right}, {tuple(model.shape)}')


def holds(
    name: str,  # of the tensor, for the message
    x: Any,  # a tensor
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,  # as `least`, and left out itself
) -> Any:  # the tensor
    "Give back a tensor, or raise a ValueError with the first of its numbers that is not finite or outside the bounds."
    fine = x.isfinite() & (x >= least) & (x <= most) & (x > above)
    if not fine.all():
        said = f' from {least:g} to {most:g}' if math.isfinite(most) else f' from {least:g} up' if math.isfinite(least) else ''
        kind = 'numbers' if math.isfinite(most) else 'positive numbers' if above == 0 else 'finite numbers'
        raise ValueError(f'{name} holds {x[~fine].reshape(-1)[0].item():g}, expected {kind}{said}')
    return x


def check_joint(mean: Any, cov: Any, index: Sequence[int], value: Any) -> None:
    "Raise a ValueError unless a mean (d,), a covariance (d, d), k different coordinates and values (..., k) fit each other."
    d = mean.shape[-1] if mean.ndim else 0
    if mean.ndim != 1 or cov.shape != (d, d):
        raise ValueError(f'mean has shape {tuple(mean.shape)} and cov {tuple(cov.shape)}, expected (d,) and (d, d)')
    if not ((cov - cov.mT).abs() <= 1e-9 * cov.abs().max()).all():
        raise ValueError('cov is not symmetric')
    if len(set(index)) != len(index) or not all(0 <= i < d for i in index):
        raise ValueError(f'index is {index}, expected different numbers from 0 to {d - 1}')
    if not value.ndim or value.shape[-1] != len(index):
        raise ValueError(f'value has shape {tuple(value.shape)}, expected ({len(index)},) or (b, {len(index)})')


def fits(value: Any, kind: Any) -> bool:
    "Whether plain data can be of the kind that an argument is annotated with: a width is no text, and no number is endless."
    if kind in (int, float, bool, str, type(None), None):
        right = type(value) in {int: (int,), float: (int, float), None: (type(None),)}.get(kind, (kind,))
        return right and (type(value) not in (int, float) or -(2**53) < value < 2**53)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, k) for k in inner)
    if origin in (tuple, list, Sequence):
        kinds = inner if len(inner) > 1 and inner[-1] is not ... else inner[:1] * len(value) if isinstance(value, (tuple, list)) else ()
        return isinstance(value, (tuple, list)) and len(kinds) == len(value) and all(map(fits, value, kinds))
    if origin is Callable:
        return callable(value)
    return isinstance(value, kind) if isinstance(kind, type) and origin is None else True
