"""Archives of strangers, read to a bound: a compressed tar and an .npz, straight from the file, in one pass, with nothing unpacked to the disk."""

import gzip
import io
import math
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy

__all__ = ['read_members', 'read_pixels']

UNPACKED, MEMBERS = 200 << 20, 32  # bytes and entries that an archive may hold


class _Bounded:
    "Read a file no further than so many bytes."

    def __init__(self, file: io.BufferedIOBase, most: int):
        self.file, self.most, self.left = file, most, most

    def read(self, n: int) -> bytes:
        piece = self.file.read(n)
        self.left -= len(piece)
        if self.left < 0:
            raise ValueError(f'it unpacks to more than {self.most:,} bytes')
        return piece


def read_members(path: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    "The wanted files of a compressed archive, each of a known length."
    try:
        return _walk(path, wanted)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f'{path} is damaged: {error}') from error


def _walk(path: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with gzip.open(path) as packed, tarfile.open(fileobj=_Bounded(packed, UNPACKED), mode='r|') as archive:
        for k, member in enumerate(archive):
            if k >= MEMBERS or not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.name in wanted):
                raise ValueError(f'it holds {member.name!r}, a link or the entry {k}, expected at most {MEMBERS} files and folders')
            if member.name in wanted:
                size = wanted[member.name]
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size != size or member.name in found:
                    raise ValueError(f'it holds {member.name} of {member.size} bytes, expected a file of {size}, once')
                found[member.name] = archive.extractfile(member).read(size)
            if len(found) == len(wanted):
                return found
    raise ValueError(f'it lacks {min(wanted.keys() - found.keys())}')


def read_pixels(path: Path) -> numpy.ndarray:
    "The array (n, 64, 64, 3) of bytes in an .npz file, which may unpack to no more than an archive may."
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo('images.npy')
        if entry.file_size > UNPACKED or len(archive.namelist()) > MEMBERS:
            raise ValueError(f'it holds {len(archive.namelist())} files, the first of {entry.file_size:,} bytes; expected at most {MEMBERS} and {UNPACKED:,}')
        with archive.open(entry) as file:
            content = file.read(UNPACKED + 1)
    file = io.BytesIO(content)
    numpy.lib.format.read_magic(file)
    shape, columns, kind = numpy.lib.format.read_array_header_1_0(file)
    if kind != numpy.uint8 or columns or shape[1:] != (64, 64, 3) or math.prod(shape) != len(content) - file.tell():
        raise ValueError(f'images are {kind} of shape {shape} in {len(content) - file.tell():,} bytes, expected uint8 (n, 64, 64, 3)')
    return numpy.frombuffer(content, numpy.uint8, offset=file.tell()).reshape(shape)
