"""Files: written whole or not at all, and read as if a stranger had made them.

`write_whole` is the one writer of the package. `read_json` and `read_header` are its two readers of what others wrote: they
believe nothing, and check before they set memory aside.
"""

import hashlib
import json
import math
import os
import reprlib
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ['write_whole', 'replacing', 'make_folder', 'digest_of', 'alone', 'parse_json', 'read_json', 'Span', 'read_header', 'MAX_HEADER', 'MAX_TENSORS', 'KIND_BYTES']


# Writing


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one, whole.

    The bytes are on the disk before the name is, and the name before this returns. An OSError says how many bytes were needed.
    """
    path, temporary = Path(path), _beside(path)
    try:
        with open(temporary, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (Exception, KeyboardInterrupt) as error:
        temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        free = f'{shutil.disk_usage(path.parent).free:,} are free' if path.parent.is_dir() else f'there is no folder {path.parent}'
        raise OSError(error.errno, f'{error.strerror}; {len(data):,} bytes were needed, {free}', str(path)) from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Lend a new file beside `path`, for whatever writes by name, and put it in the place of `path` when all went well.

    It promises what `write_whole` promises. After an error the old file is as it was.
    """
    path, temporary = Path(path), _beside(path)
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # the rights of new files here; some writers give them to nobody else
        yield temporary
        temporary.chmod(mode)
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (Exception, KeyboardInterrupt):
        temporary.unlink(missing_ok=True)
        raise


def _beside(path: str | Path) -> Path:
    "A name in the same folder, as only within one file system a file can be renamed in one step."
    return Path(path).with_name(f'.{Path(path).name}.{os.getpid()}.tmp')


def _sync_folder(path: Path) -> None:
    "Make the names in a folder as durable as the files."
    if hasattr(os, 'O_DIRECTORY'):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_folder(path: str | Path) -> Path:
    "Make a folder, and those above it, unless it is there."
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f'{path} is a file, expected a folder')
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest_of(path: Path) -> str:
    "The sha256 of a file, read in pieces."
    total = hashlib.sha256()
    with path.open('rb') as file:
        while piece := file.read(1 << 20):
            total.update(piece)
    return total.hexdigest()


# One writer at a time


_HELD: dict[str, list[int]] = {}  # folder -> process, locked file, how often we entered


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    "Let no other process write to a folder meanwhile, if there is one; those who write in one process share it. Raise a ValueError that names who holds it."
    if folder is None:
        yield
        return
    key = str(folder.resolve())
    if key not in _HELD or _HELD[key][0] != os.getpid():  # a fork inherits the table, but not the lock
        _HELD[key] = [os.getpid(), _lock(folder / '.writer'), 0]
    _HELD[key][2] += 1
    try:
        yield
    finally:
        _HELD[key][2] -= 1
        if _HELD[key][2] == 0:
            os.close(_HELD.pop(key)[1])


def _lock(path: Path) -> int:  # a file that is locked until it is closed or the process ends
    "Lock a file and write our name into it; raise a ValueError with the name of whoever holds it."
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        who = _holder(file)
        os.close(file)
        raise ValueError(f'{path.parent} is written by {who}, expected a folder of its own for each run') from None
    except (ImportError, OSError):  # a system or a disk without locks refuses nobody
        return file
    with suppress(OSError):  # on a full disk the name is left out
        os.ftruncate(file, 0)
        os.pwrite(file, f'process {os.getpid()} on {socket.gethostname()}'.encode(), 0)
    return file


def _holder(file: int) -> str:
    time.sleep(0.05)  # it may have locked the file and not yet written its name
    return os.pread(file, 200, 0).decode(errors='replace') or 'another process'


# What strangers wrote


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError('a key stands twice in one object')
    return found


def parse_json(data: bytes, where: object) -> dict[str, Any]:
    "Read bytes that hold one JSON object, each key once; `where` is for messages. Raise a ValueError for all else."
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{where} is not JSON: {error}') from error
    if not isinstance(found, dict):
        raise ValueError(f'{where} holds {type(found).__name__}, expected an object')
    return found


def read_json(
    path: str | Path,  # of a file
    largest: int = 1 << 24,  # bytes
) -> dict[str, Any]:
    "Read a JSON file that a stranger may have written; a ValueError says what is wrong with it, a FileNotFoundError that it is not there."
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} is not there, or is no file')
    if (size := path.stat().st_size) > largest:
        raise ValueError(f'{path} has {size:,} bytes, expected at most {largest:,}')
    return parse_json(path.read_bytes(), path)


MAX_HEADER, MAX_TENSORS = 100_000_000, 20_000  # bytes of a header, as in the safetensors library, and tensors in it; models have some thousands
KIND_BYTES = {
    'BOOL': 1, 'U8': 1, 'I8': 1, 'F8_E5M2': 1, 'F8_E4M3': 1, 'U16': 2, 'I16': 2, 'F16': 2, 'BF16': 2,
    'U32': 4, 'I32': 4, 'F32': 4, 'U64': 8, 'I64': 8, 'F64': 8, 'C64': 8,
}  # fmt: skip


class Span(NamedTuple):
    "Say what a tensor in a file is, and where its bytes lie."

    kind: str  # one of KIND_BYTES
    shape: tuple[int, ...]
    begin: int  # from the start of the file
    end: int


def _span(entry: Any, start: int) -> Span:
    "One entry of a header whose data begin at byte `start`."
    if not isinstance(entry, dict) or entry.keys() != {'dtype', 'shape', 'data_offsets'} or not isinstance(entry['dtype'], str):
        raise ValueError('an entry is not of dtype, shape and data_offsets')
    kind, shape, ends = entry['dtype'], entry['shape'], entry['data_offsets']
    whole = lambda v, most: isinstance(v, list) and len(v) <= most and all(type(n) is int and 0 <= n < 1 << 48 for n in v)  # noqa: E731
    if kind not in KIND_BYTES or not whole(shape, 16) or not whole(ends, 2) or len(ends) != 2:
        raise ValueError(f'a tensor is {kind[:20]!r} of shape {reprlib.repr(shape)} at {reprlib.repr(ends)}')
    if math.prod(shape) * KIND_BYTES[kind] != ends[1] - ends[0]:
        raise ValueError(f'a tensor of shape {tuple(shape)} in {kind} lies in {ends[1] - ends[0]:,} bytes')
    return Span(kind, tuple(shape), start + ends[0], start + ends[1])


def read_header(
    path: str | Path,  # of a safetensors file
) -> tuple[dict[str, str], dict[str, Span]]:  # what it says of itself, and its tensors by name
    "Read the header of a safetensors file, refusing one that does not describe the bytes behind it, which stay unread."
    path = Path(path)
    size = path.stat().st_size
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if not 2 <= length <= size - 8:
            raise ValueError(f'{path} is damaged or cut short: its header claims {length:,} bytes, and the file has {size:,}')
        if length > MAX_HEADER:
            raise ValueError(f'{path} has a header of {length:,} bytes, expected at most {MAX_HEADER:,}: write it anew without what it says of itself')
        raw = file.read(length)
    try:
        return _entries(raw, size)
    except ValueError as error:
        raise ValueError(f'{path} is damaged or cut short: {error}') from error


def _names_many(raw: bytes) -> bool:
    "Whether a header holds more things than it may, which is counted before they are made; what stands inside a text is one."
    plain = raw.replace(rb'\\', b'').replace(rb'\"', b'')
    if plain.count(b'"dtype"') > MAX_TENSORS or plain.count(b'"') > 20 * MAX_TENSORS:
        return True
    outside = b''.join(plain.split(b'"')[::2])
    return sum(map(outside.count, (b'[', b'{', b','))) > 10 * MAX_TENSORS


def _entries(raw: bytes, size: int) -> tuple[dict[str, str], dict[str, Span]]:
    "The header `raw` of a file of `size` bytes, checked as a whole."
    if _names_many(raw):
        raise ValueError(f'its header names more than {MAX_TENSORS:,} tensors')
    found = parse_json(raw, 'its header')
    about = found.pop('__metadata__', {})
    if not isinstance(about, dict) or not all(isinstance(v, str) for v in about.values()):
        raise ValueError('the __metadata__ of its header is no object of texts')
    spans = {name: _span(entry, 8 + len(raw)) for name, entry in found.items()}
    at = 8 + len(raw)
    for span in sorted(spans.values(), key=lambda s: (s.begin, s.end)):
        if span.begin != at:
            raise ValueError(f'its tensors do not follow each other: one begins at byte {span.begin:,}, expected {at:,}')
        at = span.end
    if at != size:
        raise ValueError(f'its tensors end at byte {at:,}, and the file has {size:,}')
    return about, spans
