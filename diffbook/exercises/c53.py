"""Graders of the chapter on published weights."""

import json
import math

import torch
from safetensors.torch import save
from torch import Tensor

from diffbook.exercise import add, question


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
        'You count the offsets from the start of the file; they count from the end of the header.': (lambda data, name: _from(data, name, 0)),
        'You forget the eight bytes that say how long the header is: the numbers start at 8 + its length.': (
            lambda data, name: _from(data, name, _table(data)[0] - 8)
        ),
        'You read the first tensor of the file; take the begin of data_offsets.': (lambda data, name: _read(data, name, first=True)),
        'The bytes of each number are in the wrong order: the lowest comes first.': (lambda data, name: _read(data, name, swap=True)),
        'Rows and columns are exchanged: the numbers of a row lie beside each other.': (lambda data, name: _read(data, name, transpose=True)),
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
        'The times should fall: sampling starts at the noise.': lambda table, n, offset: _leading(table, n, offset).flip(0),
        'The step is a whole number, rounded down: T // n.': lambda table, n, offset: (torch.arange(n, dtype=torch.float64) * (table / n)).flip(0) + offset + 1,
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
        'That is linspace, not rounded, which visits both ends.': (lambda table, n, offset: torch.linspace(0, table - 1, n, dtype=torch.float64).flip(0) + 1),
        'That is linspace, which visits both ends.': lambda table, n, offset: torch.round(torch.linspace(0, table - 1, n, dtype=torch.float64)).flip(0) + 1,
    },
)

question(
    '53-a',
    'How many times the weights of a convolution from c to c channels at c = 1280 are those at c = 320.',
    16,
    {
        4: 'The channels grow by four on both sides, those that come in and those that go out.',
        9: 'Nine is the number of pixels of the kernel, the same for both.',
        36: 'The nine pixels are the same for both levels and cancel.',
    },
)
question(
    '53-b',
    'First byte and count of numbers of a bias with the offsets [40, 64] behind a header of 200 bytes, in float32.',
    (248, 6),
    {
        (240, 6): 'You forget the eight bytes that give the length of the header.',
        (48, 6): 'Offsets count from the end of the header.',
        (40, 6): 'Offsets count from the end of the header, and eight bytes stand before it.',
        (248, 24): 'The offsets are 24 bytes apart; a number in float32 takes four.',
    },
    rtol=0.001,
)
question(
    '53-c',
    'Rows and columns of the one matrix for keys and values, of width 320 each, for texts of width 768.',
    (640, 768),
    {
        (768, 640): 'A row gives one number that comes out: rows first.',
        (320, 768): 'That is one of the two; they are stacked.',
        (320, 1536): 'Stacked means under each other: rows add up.',
        (960, 768): 'That would be queries too; queries are asked by the picture, not by the text.',
    },
    rtol=0.001,
)
question(
    '53-d',
    'The first time of a walk of 30 leading steps on 1000 betas with an offset of 1.',
    959,
    {
        958: 'That is the row, counted from 0; in this book t is one more.',
        957: 'That leaves out the offset, and counts from 0.',
        992: 'The last of 30 visits has i = 29.',
        1000: 'That is where trailing spacing begins; leading stops short of the end.',
        968: 'The step is a whole number: 1000 / 30 is rounded down to 33.',
        969: 'The step is a whole number: 1000 / 30 is rounded down to 33.',
    },
    rtol=0.0005,
)
question(
    '53-e',
    'The estimate of x0 from an answer of 0.5, read as v and read as noise, at alpha = 0.6, sigma = 0.8, x = 1.',
    (0.2, 1.0),
    {
        (1.0, 0.2): 'Right numbers in the wrong order: v first.',
        (1.0, 1.0): 'From v the estimate is alpha x - sigma v.',
        (0.2, 0.6): 'Read as noise, divide by alpha at the end.',
        (0.5, 1.0): 'The answer is v itself; the estimate is alpha x - sigma v.',
    },
)
question(
    '53-f',
    'What notices two exchanged norms in a table that reader and writer share.',
    'c',
    {'a': 'The two have equal shapes, and no name is missing.', 'b': 'The writer exchanges them back: the files are equal bit for bit.'},
)
