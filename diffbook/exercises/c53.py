"""Graders of the chapter on published weights."""

import json
import math

import torch
from safetensors.torch import save
from torch import Tensor

from diffbook.exercise import add


def _file(g: torch.Generator) -> tuple[bytes, str]:
    "A file of a few matrices of float32, and the name of one that does not come first."
    shapes = torch.randint(2, 5, (4, 2), generator=g).tolist()
    tensors = {name: torch.randn(shape, generator=g) for name, shape in zip(('b', 'd', 'a', 'c'), shapes)}
    return save(tensors), 'bcd'[int(torch.randint(3, (1,), generator=g))]


def _table(data: bytes) -> tuple[int, dict]:
    size = int.from_bytes(data[:8], 'little')
    return 8 + size, json.loads(data[8 : 8 + size])


def _read(data: bytes, name: str, shift: int = 0, swap: bool = False, transpose: bool = False, first: bool = False):
    start, table = _table(data)
    entry = table[name]
    begin = 0 if first else entry['data_offsets'][0]
    numbers = bytearray(data[start + begin + shift :][: 4 * math.prod(entry['shape'])])
    if swap:
        numbers = bytearray(b''.join(numbers[i : i + 4][::-1] for i in range(0, len(numbers), 4)))
    flat = torch.frombuffer(numbers, dtype=torch.float32)
    rows, columns = entry['shape']
    value = flat.reshape(columns, rows).T if transpose else flat.reshape(rows, columns)
    return value.nan_to_num(0.0, 0.0, 0.0)


def _from(data: bytes, name: str, start: int) -> Tensor:
    return _read(data, name, shift=start - _table(data)[0])


add(
    '53-1',
    'Read one matrix of float32 from the bytes of a safetensors file.',
    cases=_file,
    truth=_read,
    mistakes={
        'You count the offsets from the start of the file; they count from the end of the header.': (
            lambda data, name: _from(data, name, 0)
        ),
        'You forget the eight bytes that say how long the header is: the numbers start at 8 + its length.': (
            lambda data, name: _from(data, name, _table(data)[0] - 8)
        ),
        'You read the first tensor of the file; take the begin of data_offsets.': (
            lambda data, name: _read(data, name, first=True)
        ),
        'The bytes of each number are in the wrong order: the lowest comes first.': (
            lambda data, name: _read(data, name, swap=True)
        ),
        'Rows and columns are exchanged: the numbers of a row lie beside each other.': (
            lambda data, name: _read(data, name, transpose=True)
        ),
    },
)


def _grid(g: torch.Generator) -> tuple[int, int, int]:
    n = int(torch.randint(5, 60, (1,), generator=g))
    table = n * int(torch.randint(8, 20, (1,), generator=g)) + int(torch.randint(2, n, (1,), generator=g))
    return table, n, int(torch.randint(1, 4, (1,), generator=g))


def _leading(table: int, n: int, offset: int) -> Tensor:
    return (torch.arange(n, dtype=torch.float64) * (table // n)).flip(0) + offset + 1


add(
    '53-2',
    'Give the times of the leading spacing, in the units of this book, falling.',
    cases=_grid,
    truth=_leading,
    mistakes={
        'That is the count of the published files, from 0; in this book the first beta belongs to t = 1.': (
            lambda table, n, offset: _leading(table, n, offset) - 1
        ),
        'You left out steps_offset.': lambda table, n, offset: _leading(table, n, 0),
        'The times should fall: sampling starts at the noise.': lambda table, n, offset: _leading(
            table, n, offset
        ).flip(0),
        'The step is a whole number, rounded down: T // n.': lambda table, n, offset: (
            (torch.arange(n, dtype=torch.float64) * (table / n)).flip(0) + offset + 1
        ),
        'The step is rounded down, not to the nearest whole number: T // n.': lambda table, n, offset: (
            (torch.arange(n, dtype=torch.float64) * round(table / n)).flip(0) + offset + 1
        ),
        'That is trailing spacing, which starts at T. Leading starts at 1 and stops short of the end.': (
            lambda table, n, offset: torch.round(table - torch.arange(n, dtype=torch.float64) * table / n)
        ),
        'That is trailing spacing, in the count of the published files. Leading starts at 1 and stops short of the end.': (
            lambda table, n, offset: torch.round(table - torch.arange(n, dtype=torch.float64) * table / n) - 1
        ),
        'That is linspace in the count of the published files; it visits both ends, leading does not.': (
            lambda table, n, offset: torch.round(torch.linspace(0, table - 1, n, dtype=torch.float64)).flip(0)
        ),
        'That is linspace, not rounded, which visits both ends.': (
            lambda table, n, offset: torch.linspace(0, table - 1, n, dtype=torch.float64).flip(0) + 1
        ),
        'That is linspace, which visits both ends.': lambda table, n, offset: (
            torch.round(torch.linspace(0, table - 1, n, dtype=torch.float64)).flip(0) + 1
        ),
    },
)
