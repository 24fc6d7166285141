"""Shards: rows of named columns in memory-mapped files of the format safetensors, and an index that makes a set of them.

What is written is there whole or not at all: a shard's name carries its digest, so that new shards never overwrite old ones,
and the index comes last. What is read is believed only after its length, its digest and its header agree with the index.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import safetensors.torch
import torch
from torch import Tensor

from diffbook.core import whole
from diffbook.store.files import digest_of, make_folder, read_header, read_json, write_whole

__all__ = ['Column', 'Shards', 'write_shards', 'read_shards']

_KINDS = {  # the format's word -> how numpy maps it, and what it is in torch
    'F64': ('<f8', torch.float64), 'F32': ('<f4', torch.float32), 'F16': ('<f2', torch.float16), 'BF16': ('<i2', torch.bfloat16),
    'I64': ('<i8', torch.int64), 'I32': ('<i4', torch.int32), 'I16': ('<i2', torch.int16), 'I8': ('|i1', torch.int8),
    'U8': ('|u1', torch.uint8), 'BOOL': ('|b1', torch.bool),
}  # fmt: skip
_WORDS = {kind: word for word, (_, kind) in _KINDS.items()}
_SHARD = re.compile(r'rows-\d{9}-[0-9a-f]{32}\.safetensors')


# What a set is


class Column:
    "Give rows that lie in files; those that are asked for are copied, and no others."

    def __init__(
        self,
        parts: Sequence[numpy.ndarray],  # windows on the shards, in order
        dtype: torch.dtype,  # of the rows
    ):
        self.parts, self.dtype, self.device = parts, dtype, torch.device('cpu')
        self.ends = torch.tensor([len(part) for part in parts]).cumsum(0)
        self.shape = torch.Size((int(self.ends[-1]), *parts[0].shape[1:]))
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def numel(self) -> int:
        return self.shape.numel()

    def __getitem__(
        self,
        index: slice | Tensor,  # which rows: a slice, or int64 positions from 0
    ) -> Tensor:  # those rows, in that order
        "Copy some rows into memory."
        if isinstance(index, slice):
            index = torch.arange(*index.indices(len(self)))
        if index.dtype != torch.int64 or index.ndim != 1:
            raise ValueError(f'positions are {index.dtype} of shape {tuple(index.shape)}, expected int64 of shape (b,)')
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f'positions run from {index.min()} to {index.max()}, expected 0 to {len(self) - 1}')
        rows, shard = torch.empty(len(index), *self.shape[1:], dtype=self.dtype), torch.bucketize(index, self.ends, right=True)
        for k in shard.unique().tolist():
            here = shard == k
            inside = index[here] - (self.ends[k] - len(self.parts[k]))
            rows[here] = torch.from_numpy(self.parts[k][inside.numpy()]).view(self.dtype)
        return rows


@dataclass(frozen=True)
class Shards:
    "Hold columns of equal length that lie on disk; a row is one entry of each, and `batches` streams rows."

    columns: dict[str, Column]
    about: dict[str, object]  # what the writer had to say
    device = torch.device('cpu')
    ndim = 1

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self),))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: str | slice | Tensor) -> 'Column | tuple[Tensor, ...]':
        if not isinstance(index, str):
            return tuple(column[index] for column in self.columns.values())
        if index not in self.columns:
            raise ValueError(f'there is no column {index!r}, expected one of {", ".join(self.columns)}')
        return self.columns[index]


# Writing


def write_shards(
    folder: str | Path,  # made if need be; a set that lies there already stays whole until the new one is
    portions: Iterable[Mapping[str, Tensor]],  # rows of named columns, such as one batch after another
    *,
    rows: int = 4096,  # of a shard
    dtype: torch.dtype | None = None,  # of the floating-point columns; None: as they come
    about: Mapping[str, object] | None = None,  # plain data that a reader may want to know
) -> Shards:  # the set, opened
    "Store rows in memory-mapped files, one piece after the other, and at last an index of them."
    text = json.dumps(dict(about or {}), allow_nan=False)
    whole('rows', rows)
    folder = make_folder(folder)
    before = _shards_in(folder)
    shards: list[dict[str, Any]] = []
    try:
        columns = {}
        for piece in _regroup(portions, rows, dtype):
            columns = {name: {'dtype': _WORDS[v.dtype], 'shape': list(v.shape[1:])} for name, v in piece.items()}
            shards.append(_write_shard(folder, sum(shard['rows'] for shard in shards), piece))
        if not shards:
            raise ValueError('there is no row to write')
        index = {'format': 1, 'rows': sum(shard['rows'] for shard in shards), 'columns': columns, 'shards': shards, 'about': json.loads(text)}
        write_whole(folder / 'index.json', (json.dumps(index, indent=1) + '\n').encode())
    except BaseException:  # perhaps after the last file had its name: what an index means stays
        _remove(folder, _shards_in(folder) - before - _listed(folder))
        raise
    _remove(folder, before - {shard['file'] for shard in shards})
    return read_shards(folder, verify=False)


def _checked_portion(portion: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    "One portion of rows as it will be stored."
    shapes = {name: tuple(v.shape) for name, v in portion.items()}
    if not shapes or not all(shapes.values()) or len({shape[0] for shape in shapes.values()}) != 1:
        raise ValueError(f'a portion holds {shapes or "nothing"}, expected columns with one number of rows')
    stored = {k: (v.to(dtype) if dtype and v.is_floating_point() else v).detach().cpu() for k, v in portion.items()}
    for name, value in stored.items():
        if value.dtype not in _WORDS:
            raise ValueError(f'{name} is {value.dtype}, expected one of {", ".join(str(kind) for kind in _WORDS)}')
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f'{name} holds a number that is not finite in {value.dtype}')
    return stored


def _regroup(portions: Iterable[Mapping[str, Tensor]], rows: int, dtype: torch.dtype | None) -> Iterator[dict[str, Tensor]]:
    "Cut portions of any size anew into pieces of `rows` rows; the last may be shorter. No more than a piece and a portion is held."
    kinds, waiting = None, dict[str, Tensor]()
    for portion in portions:
        portion = _checked_portion(portion, dtype)
        found = {name: (v.dtype, tuple(v.shape[1:])) for name, v in portion.items()}
        if found != (kinds := kinds or found):
            raise ValueError(f'a portion holds {found}, expected {kinds} as before')
        waiting = {name: torch.cat([waiting[name], v]) if waiting else v for name, v in portion.items()}
        while len(next(iter(waiting.values()))) >= rows:
            yield {name: v[:rows] for name, v in waiting.items()}
            waiting = {name: v[rows:].clone() for name, v in waiting.items()}
    if waiting and len(next(iter(waiting.values()))):
        yield waiting


def _write_shard(folder: Path, first: int, piece: dict[str, Tensor]) -> dict[str, Any]:
    "Write one shard; the entry for the index."
    content = safetensors.torch.save({name: v.contiguous() for name, v in piece.items()})
    digest = hashlib.sha256(content).hexdigest()
    name = f'rows-{first:09d}-{digest[:32]}.safetensors'
    write_whole(folder / name, content)
    return {'file': name, 'rows': len(next(iter(piece.values()))), 'bytes': len(content), 'sha256': digest}


def _shards_in(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if _SHARD.fullmatch(p.name)}


def _listed(folder: Path) -> set[str]:
    "The shards that are meant by the index that lies there now."
    with suppress(OSError, ValueError):
        return {shard['file'] for shard in _read_index(folder / 'index.json')['shards']}
    return set()


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


# Reading


def read_shards(
    folder: str | Path,  # where write_shards wrote
    *,
    verify: bool = True,  # read every byte once, to compare digests
) -> Shards:
    "Open a set of shards: files are mapped, and rows are read when they are asked for."
    folder = Path(folder)
    index = _read_index(folder / 'index.json')
    opened = [_open_shard(folder / entry['file'], entry, index['columns'], verify) for entry in index['shards']]
    columns = {name: Column([shard[name] for shard in opened], _KINDS[c['dtype']][1]) for name, c in index['columns'].items()}
    return Shards(columns, index['about'])


def _read_index(path: Path) -> dict:
    "An index whose every entry makes sense."
    if not path.is_file():
        raise FileNotFoundError(f'{path} is not there: the folder holds no shards, or the writing of them did not come to its end')
    try:
        index = read_json(path)
        known = index.keys() == {'format', 'rows', 'columns', 'shards', 'about'} and index['format'] == 1
        shards = [(_SHARD.fullmatch(s['file']), s['rows'] > 0, s['bytes'] > 0, len(s['sha256']) == 64) for s in index['shards']]
        columns = [(c['dtype'] in _KINDS, all(n >= 0 for n in c['shape'])) for c in index['columns'].values()]
        sound = known and shards and columns and all(map(all, shards + columns)) and sum(s['rows'] for s in index['shards']) == index['rows']
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is no index of shards, or is damaged: {type(error).__name__} {error}') from error
    if not sound:
        raise ValueError(f'{path} is no index of shards, or is damaged: its entries do not fit each other')
    return index


def _open_shard(path: Path, entry: dict, columns: dict[str, dict], verify: bool) -> dict[str, numpy.ndarray]:
    "Windows on the columns of one shard, refusing a file that is not the one the index means."
    if not path.is_file():
        raise FileNotFoundError(f'{path} is not there: the index names it')
    if (size := path.stat().st_size) != entry['bytes']:
        raise ValueError(f'{path} has {size} bytes, expected {entry["bytes"]}: it was cut short, or is another file')
    if verify and (found := digest_of(path)) != entry['sha256']:
        raise ValueError(f'{path} has sha256 {found}, expected {entry["sha256"]}: it is damaged, or is another file')
    tensors = _map_tensors(path)
    found = {name: (word, part.shape) for name, (word, part) in tensors.items()}
    want = {name: (c['dtype'], (entry['rows'], *c['shape'])) for name, c in columns.items()}
    if found != want:
        raise ValueError(f'{path} holds {found}, expected {want}')
    return {name: part for name, (_, part) in tensors.items()}


def _map_tensors(path: Path) -> dict[str, tuple[str, numpy.ndarray]]:
    "The tensors of a safetensors file by name, each with its kind, as windows on the file: nothing is read but the header."
    _, spans = read_header(path)
    if strange := [f'{name!r} of {s.kind}' for name, s in spans.items() if s.kind not in _KINDS]:
        raise ValueError(f'{path} holds {strange[0]}, expected one of {", ".join(_KINDS)}')
    whole = numpy.memmap(path, numpy.uint8, 'r')
    return {name: (s.kind, whole[s.begin : s.end].view(_KINDS[s.kind][0]).reshape(s.shape)) for name, s in spans.items()}
