"""Batches are bags: tuples, named tuples, lists, mappings and data classes, one in the other. What a bag holds can be changed, cut and named.

`core` gives these names to all others.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

__all__ = ['take_apart', 'map_batch', 'tensors_in', 'count_rows', 'cut_rows']


def take_apart(
    x: Any,  # a tuple, named tuple, list, mapping or data class; anything else has no members
) -> tuple[list[tuple[str, Any]], Callable[[list], Any]]:
    "Give the members of a container, each with the words that reach it, and what makes a container like it of others."
    if isinstance(x, Mapping):
        return [(f'[{k!r}]', v) for k, v in x.items()], lambda values: _refill(x, values)
    if is_dataclass(x) and not isinstance(x, type):
        return [(f'.{field.name}', getattr(x, field.name)) for field in fields(x)], lambda values: _exchange(x, values)
    if isinstance(x, (tuple, list)):
        names = [f'.{name}' for name in getattr(x, '_fields', ())] or [f'[{i}]' for i in range(len(x))]
        return list(zip(names, x)), getattr(x, '_make', type(x))  # a named tuple is not made of one iterable
    return [], lambda values: x


def _refill(x: Mapping, values: list) -> Mapping:
    "A mapping of the same kind and keys."
    made = copy.copy(x) if isinstance(x, MutableMapping) else {}
    for key, value in zip(list(x), values):
        made[key] = value
    return made


def _exchange(x: Any, values: list) -> Any:
    "A copy of a data class, be it frozen, with other fields; nothing is checked or computed anew."
    made = copy.copy(x)
    for field, value in zip(fields(x), values):
        object.__setattr__(made, field.name, value)
    return made


def map_batch(
    f: Callable[[Any], Any],  # of each thing in the batch that is no container
    batch: Any,
    whole: Callable[[Any], bool] = lambda x: isinstance(x, Tensor),  # what is not looked into
) -> Any:  # containers of the same kinds
    "Apply `f` to everything that a batch holds."
    members, make = ([], None) if whole(batch) else take_apart(batch)
    return make([map_batch(f, value, whole) for _, value in members]) if members else f(batch)


def tensors_in(batch: Any, name: str = 'batch') -> Iterator[tuple[str, Tensor]]:
    "Every tensor that a batch holds, with the words that reach it."
    if isinstance(batch, Tensor):
        yield name, batch
    for word, value in take_apart(batch)[0]:
        yield from tensors_in(value, name + word)


def count_rows(batch: Any) -> int:
    "How many examples a batch holds; raise a ValueError if its tensors do not agree."
    found = {len(v) for _, v in tensors_in(batch) if v.ndim}
    if len(found) != 1:
        raise ValueError(f'a batch in parts holds tensors of {sorted(found) or "no"} rows, expected one number')
    return found.pop()


def cut_rows(batch: Any, rows: slice, n: int) -> Any:
    "Take some of n examples: rows of tensors, and members of lists and tuples that hold n things and no tensor; the rest is for all."
    if isinstance(batch, Tensor):
        return batch[rows] if batch.ndim else batch
    members, make = take_apart(batch)
    if type(batch) in (tuple, list) and len(batch) == n and not any(v.ndim for _, v in tensors_in(batch)):
        return batch[rows]
    return make([cut_rows(value, rows, n) for _, value in members]) if members else batch
