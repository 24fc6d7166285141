"""Published data sets: where they lie, what their files must be, how they are fetched, and readers that check what they read."""

import gzip
import math
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffbook.core import one_of
from diffbook.store.packed import read_members
from diffbook.store.downloads import download
from diffbook.store.emoji import EMOJI_STYLES, FILES, SIZES, fetch_emoji, read_emoji
from diffbook.store.files import digest_of
from diffbook.store.spoken import ARCHIVE, TESTED, fetch_clips, read_clips

__all__ = ['Source', 'SOURCES', 'Held', 'data_root', 'fetch_data', 'load_clips', 'load_set', 'read_idx']

Held = tuple[Tensor, Tensor | None, tuple[str, ...] | None, str, tuple[str, ...]]  # images, labels, captions, name, classes: what a Dataset holds


# Where they are published


@dataclass(frozen=True)
class Source:
    "Say where a published data set lies, and what its files must be."

    folder: str  # inside the data root
    mirrors: tuple[str, ...]
    files: dict[str, tuple[int, str]]  # name -> bytes, sha256; (0, '') if the package makes the file
    classes: tuple[str, ...]


_GARMENTS = ('T-shirt', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot')
_THINGS = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
_IDX = ('train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz', 't10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz')
_FASHION = (
    (26421880, '3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84'),
    (29515, 'a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845'),
    (4422102, '346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073'),
    (5148, '67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5'),
)
_DIGITS = (
    (9912422, '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609'),
    (28881, '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c'),
    (1648877, '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6'),
    (4542, 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6'),
)
SOURCES = {
    'fashion-mnist': Source(
        'FashionMNIST/raw',
        ('https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/', 'https://fashion-mnist.s3.eu-central-1.amazonaws.com/'),
        dict(zip(_IDX, _FASHION)),
        _GARMENTS,
    ),
    'mnist': Source(
        'MNIST/raw', ('https://ossci-datasets.s3.amazonaws.com/mnist/',), dict(zip(_IDX, _DIGITS)), tuple('0123456789')
    ),
    'cifar10': Source(
        'CIFAR10',
        ('https://www.cs.toronto.edu/~kriz/',),
        {'cifar-10-binary.tar.gz': (170052171, 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd')},
        _THINGS,
    ),
    'emoji': Source(
        'emoji',
        ('https://raw.githubusercontent.com/',),
        dict.fromkeys(FILES, (0, '')),
        EMOJI_STYLES,
    ),
    'spoken-digits': Source('fsdd', (ARCHIVE,), {'fsdd.npz': (0, '')}, tuple('0123456789')),
}


# Where they lie here


def data_root(
    root: str | Path | None = None,  # where data lives, if you say so
) -> Path:  # that, else DIFFBOOK_DATA, else a cache folder
    "Say where data sets are looked for."
    if root is None:
        root = os.environ.get('DIFFBOOK_DATA') or Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'diffbook'
    return Path(root).expanduser()


def _locate(name: str, files: list[str], root: str | Path | None) -> list[Path]:
    "Paths of a set's files, or an error that says what to do."
    folder = data_root(root) / SOURCES[name].folder
    missing = [f for f in files if not (folder / f).is_file()]
    if missing:
        place = f' --data-root {root}' if root is not None else ''
        raise FileNotFoundError(
            f'{name} is not complete: {" and ".join(missing)} not found in {folder}. '
            f'Fetch it with: diffbook data {name} --download{place} (or set DIFFBOOK_DATA to a folder that holds {SOURCES[name].folder})'
        )
    return [folder / f for f in files]


# Fetching


def fetch_data(
    name: str,  # one of SOURCES
    root: str | Path | None = None,  # where to put it; see data_root
) -> Path:  # the folder that holds it
    "Download a published data set, checking length and digest; what is there already stays."
    one_of('data set', name, SOURCES)
    folder = data_root(root) / SOURCES[name].folder
    new = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _fetch_into(folder, name, SOURCES[name])
    except BaseException:
        for made in new:
            with suppress(OSError):  # nothing came: leave no empty folder
                made.rmdir()
        raise
    return folder


def _fetch_into(folder: Path, name: str, source: Source) -> None:
    if name == 'emoji':
        for style in EMOJI_STYLES:
            fetch_emoji(style, folder / style, source.mirrors)
        return
    if name == 'spoken-digits':
        fetch_clips(folder / 'fsdd.npz', source.mirrors[0])
        return
    for file, (size, sha256) in source.files.items():
        path = folder / file
        if path.is_file() and digest_of(path) == sha256:
            continue
        errors = []
        for mirror in source.mirrors:
            try:
                download(mirror + file, path, size, sha256)
                break
            except (OSError, ValueError) as error:
                errors.append(f'{mirror}: {error}')
        else:
            raise OSError(f'{file} of {name} could not be fetched: {"; ".join(errors)}')


# Reading


def load_set(
    name: str,  # one of SOURCES
    split: str,  # train or test
    root: str | Path | None = None,  # see data_root
    size: int | None = None,  # of emoji (64)
) -> Held:
    "Read a published data set."
    if name == 'emoji':
        if (size := size or 64) not in SIZES:
            raise ValueError(f'size is {size}, expected 64, 32, 16 or 8 for emoji')
        folder = _locate(name, list(FILES), root)[0].parent.parent
        images, labels, captions = read_emoji(folder, split, size)
        return images, labels, captions, name, ('style', 'group', 'base')
    images, labels = (_load_cifar10 if name == 'cifar10' else _load_idx)(name, split, root)
    if len(labels) and labels.max() >= len(SOURCES[name].classes):
        raise ValueError(f'{name} has a label {labels.max().item()}, expected less than {len(SOURCES[name].classes)}')
    return images, labels, None, name, SOURCES[name].classes


def load_clips(split: str, root: str | Path | None = None) -> tuple[list[Tensor], Tensor]:  # sounds in [-1, 1], and (digit, speaker) of each
    "Read the spoken digits: of each digit and speaker the first five recordings are the test, as the publishers say."
    (path,) = _locate('spoken-digits', ['fsdd.npz'], root)
    clips, labels, index = read_clips(path)
    kept = ((index < TESTED) == (one_of('split', split, ('train', 'test')) == 'test')).nonzero()[:, 0]
    return [clips[i] for i in kept.tolist()], labels[kept]


def _load_idx(name: str, split: str, root: str | Path | None) -> tuple[Tensor, Tensor]:
    files = [f for f in _IDX if f.startswith('train' if split == 'train' else 't10k')]
    images, labels = (read_idx(path, axes) for path, axes in zip(_locate(name, files, root), (3, 1)))
    return images[:, None], labels.long()


def read_idx(
    path: str | Path,  # an idx file of bytes, compressed by gzip
    axes: int,  # 1 for labels, 3 for images
) -> Tensor:  # uint8
    "Read a compressed idx file, refusing one that is damaged or of another kind."
    try:
        with gzip.open(path) as file:
            head = file.read(4 + 4 * axes)
            if len(head) != 4 + 4 * axes or head[:4] != bytes([0, 0, 8, axes]):
                raise ValueError(f'{path} begins with {head[:4].hex() or "nothing"}, expected 000008{axes:02x}, an idx file of bytes with {axes} axes')
            shape = [int.from_bytes(head[k : k + 4], 'big') for k in range(4, len(head), 4)]
            size, most = math.prod(shape), min(1 << 30, max(1 << 26, 100 * Path(path).stat().st_size))
            if size > most:
                raise ValueError(f'{path} claims shape {tuple(shape)}, {size:,} bytes; expected at most {most:,}: 1 GB, and 100 times the file or 64 MB')
            if size == 0:
                raise ValueError(f'{path} is empty: its header says shape {tuple(shape)}')
            body = bytearray(file.read(size + 1))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f'{path} is damaged: {error}') from error
    if len(body) != size:
        found = 'more' if len(body) > size else f'{len(body)}'
        raise ValueError(f'{path} holds {found} bytes of data, its header says {size} for shape {tuple(shape)}')
    return torch.frombuffer(body, dtype=torch.uint8).reshape(shape)


def _load_cifar10(name: str, split: str, root: str | Path | None) -> tuple[Tensor, Tensor]:
    (path,) = _locate(name, list(SOURCES[name].files), root)
    files = ['test_batch'] if split == 'test' else [f'data_batch_{k}' for k in range(1, 6)]
    wanted = {f'cifar-10-batches-bin/{file}.bin': 10000 * 3073 for file in files}
    found = read_members(path, wanted)
    rows = torch.cat([torch.frombuffer(bytearray(found[file]), dtype=torch.uint8).reshape(10000, 3073) for file in wanted])
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].long()
