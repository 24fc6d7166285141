"""The Free Spoken Digit Dataset: 3,000 recordings of the digits by six speakers, as samples of 16 bits, 8,000 a second.

The release is an archive that its host packs anew for whoever asks, so its bytes may change while its recordings do not:
what is checked is the digest of all samples, in the order of the names of the files.
"""

import hashlib
import io
import re
import tarfile
import wave
import zipfile
import zlib
from pathlib import Path

import numpy
import torch
from torch import Tensor
from tqdm.auto import tqdm

from diffbook.store.downloads import pieces
from diffbook.store.files import replacing

__all__ = ['ARCHIVE', 'CLIPS', 'SAMPLES', 'fetch_clips', 'read_clips']

COMMIT = '26eb9aaf76e81b692f806f9140c2d2777410d7a1'
ARCHIVE = f'https://codeload.github.com/Jakobovski/free-spoken-digit-dataset/tar.gz/{COMMIT}'
SAMPLES = '6f643a7422de89763625dfc9aa79427e69f7a690223a5bc5752a2f56db5af465'  # sha256 of all samples, little end first
SPEAKERS = ('george', 'jackson', 'lucas', 'nicolas', 'theo', 'yweweler')
CLIPS, TESTED = 3000, 5  # recordings, and how many of each digit and speaker are the test
MOST, MEMBERS, LONGEST = 64 << 20, 4000, 1 << 20  # bytes of the archive, entries in it, bytes of a recording
_NAME = re.compile(r'[^/]+/recordings/(([0-9])_([a-z]+)_([0-9]{1,2}))\.wav')


def fetch_clips(path: Path, address: str = ARCHIVE, digest: str = SAMPLES) -> None:
    "Download the release, check what it holds, and write its samples to an .npz file; or leave no file."
    if path.is_file():
        try:
            read_clips(path, digest)
            return
        except ValueError:  # damaged: fetch it again
            pass
    packed = io.BytesIO()
    with tqdm(unit='B', unit_scale=True, desc='spoken digits') as bar:
        for piece in pieces(address, MOST):
            packed.write(piece)
            bar.update(len(piece))
    packed.seek(0)
    try:
        clips = _unpack(packed)
    except (tarfile.TarError, EOFError, OSError, wave.Error, ValueError) as error:
        raise ValueError(f'{address} is not the release that was expected: {error}') from error
    names = sorted(clips)
    audio = numpy.concatenate([clips[name] for name in names])
    if (found := hashlib.sha256(audio.tobytes()).hexdigest()) != digest:
        raise ValueError(f'{address} holds {len(names):,} recordings with sha256 {found}, expected {digest}')
    told = [name.split('_') for name in names]
    held = {
        'audio': audio,
        'offsets': numpy.cumsum([0, *(len(clips[name]) for name in names)]),
        'labels': numpy.array([int(digit) for digit, _, _ in told], numpy.uint8),
        'speakers': numpy.array([SPEAKERS.index(who) for _, who, _ in told], numpy.uint8),
        'index': numpy.array([int(k) for _, _, k in told], numpy.uint8),
    }
    with replacing(path) as part, part.open('wb') as file:
        numpy.savez_compressed(file, **held)


def _unpack(packed: io.BytesIO) -> dict[str, numpy.ndarray]:  # name, such as 7_theo_3 -> samples
    "The recordings in a compressed archive, straight from its bytes."
    clips: dict[str, numpy.ndarray] = {}
    with tarfile.open(fileobj=packed, mode='r|gz') as archive:
        for k, member in enumerate(archive):
            if k >= MEMBERS or member.size > 4 * LONGEST:
                raise ValueError(f'it holds {member.name!r} of {member.size:,} bytes as entry {k:,}, expected at most {MEMBERS:,} entries of {4 * LONGEST:,}')
            if not (name := _NAME.fullmatch(member.name)) or not member.isreg() or name[3] not in SPEAKERS:
                continue
            with wave.open(io.BytesIO(archive.extractfile(member).read(LONGEST))) as file:
                if file.getparams()[:3] != (1, 2, 8000):
                    raise ValueError(f'{member.name} has (channels, bytes, rate) {file.getparams()[:3]}, expected (1, 2, 8000)')
                clips[name[1]] = numpy.frombuffer(file.readframes(file.getnframes()), '<i2')
    if not clips:
        raise ValueError('it holds no recordings')
    return clips


def read_clips(path: Path, digest: str = SAMPLES) -> tuple[list[Tensor], Tensor, Tensor]:
    "Read the recordings in [-1, 1], (digit, speaker) of each, and its number among those of both; refuse a file that is damaged."
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if len(sizes) > 16 or sum(sizes.values()) > MOST:
                raise ValueError(f'it holds {len(sizes)} arrays of {sum(sizes.values()):,} bytes, expected at most 16 of {MOST:,}')
            audio, offsets, *told = (_numbers(archive.read(f'{key}.npy')) for key in ('audio', 'offsets', 'labels', 'speakers', 'index'))
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, OSError) as error:
        raise ValueError(f'{path} is damaged: {error}') from error
    if (found := hashlib.sha256(audio.astype('<i2').tobytes()).hexdigest()) != digest:
        raise ValueError(f'{path} is damaged: its samples have sha256 {found}, expected {digest}')
    ends = offsets.tolist()
    rising = ends[:1] == [0] and ends[-1] == len(audio) and all(a < b for a, b in zip(ends, ends[1:]))
    if not rising or {len(v) for v in told} != {len(ends) - 1} or told[0].max() > 9 or told[1].max() >= len(SPEAKERS):
        raise ValueError(f'{path} is damaged: its offsets or labels do not fit its samples')
    x = torch.from_numpy(audio.astype(numpy.float32) / 32768)
    labels, index = torch.from_numpy(numpy.stack(told[:2], 1).astype(numpy.int64)), torch.from_numpy(told[2].astype(numpy.int64))
    return [x[a:b] for a, b in zip(ends, ends[1:])], labels, index


def _numbers(content: bytes) -> numpy.ndarray:  # (n,)
    "The whole numbers of an .npy file."
    file = io.BytesIO(content)
    numpy.lib.format.read_magic(file)
    shape, _, kind = numpy.lib.format.read_array_header_1_0(file)
    if len(shape) != 1 or kind.kind not in 'iu' or shape[0] * kind.itemsize != len(content) - file.tell():
        raise ValueError(f'an array is {kind} of shape {shape} in {len(content) - file.tell():,} bytes, expected whole numbers (n,)')
    return numpy.frombuffer(content, kind, offset=file.tell())
