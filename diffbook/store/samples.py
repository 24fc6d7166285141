"""Archives of pictures in the WebDataset layout: plain tar files, `0001.png` beside `0001.txt`.

Pictures, text and JSON are taken from them, each of limited size; nothing else is looked at.
"""

import os
import tarfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .captions import check_caption
from .files import parse_json
from .folders import is_hidden
from .pictures import SUFFIXES, UNREAD
from .processes import need

__all__ = ['PICTURES', 'KINDS', 'LARGEST', 'count_samples', 'read_samples', 'told']

PICTURES = tuple(suffix[1:] for suffix in SUFFIXES)  # png, jpg and others
KINDS = {**dict.fromkeys(PICTURES, 1 << 26), 'txt': 1 << 16, 'json': 1 << 20}  # entry -> most bytes
LARGEST = 1 << 32  # bytes of an archive


def _kind(name: str) -> tuple[str | None, str | None]:
    "The sample that an entry belongs to, and its kind; what is of no kind of ours is never read."
    from webdataset.tariterators import base_plus_ext

    key, kind = base_plus_ext(name)
    ours = kind and kind.lower() in KINDS and not any(is_hidden(part) for part in name.split('/') if part not in ('.', '..'))
    return (key, kind.lower()) if ours else (None, None)


def _check_names(names: Sequence[str], path: str | Path, keys: Mapping[str, int]) -> None:
    "Refuse pictures that a dot in their name would hide, and count those of formats that are not read."
    from webdataset.tariterators import base_plus_ext

    for name in names:
        key, kind = base_plus_ext(name)
        if kind and '.' in kind and kind.lower().endswith(SUFFIXES) and key not in keys and not any(map(is_hidden, name.removeprefix('./').split('/'))):
            raise ValueError(f'{path}: {name!r} would not be read: in an archive the name of a sample ends at its first dot; expected no other dot')
    unread = sum(name.lower().endswith(tuple(UNREAD)) for name in names)
    if unread:
        warnings.warn(f'{path}: {unread:,} pictures of formats that are not read are skipped', stacklevel=3)


def count_samples(path: str | Path) -> int:
    "Count the samples of a WebDataset archive by its headers alone, and refuse links, sparse files, compression and giants."
    need('webdataset')
    if (size := os.path.getsize(path)) > LARGEST:
        raise ValueError(f'{path} has {size:,} bytes, expected at most {LARGEST:,}: an archive is held in memory while it is read')
    with open(path, 'rb') as file:
        if file.read(512)[257:262] != b'ustar':
            raise ValueError(f'{path} is no plain tar archive; expected one that is not compressed')
    keys, names = {}, []
    try:
        with tarfile.open(path, 'r:') as archive:
            for entry in archive:
                _check_entry(entry, path, keys)
                names.append(entry.name)
    except tarfile.TarError as error:
        raise ValueError(f'{path} is damaged or cut short: {error}') from error
    _check_names(names, path, keys)
    bad = [key for key, pictures in keys.items() if pictures != 1]
    if bad or not keys:
        raise ValueError(f'{path}: sample {bad[0]!r} holds {keys[bad[0]]} pictures, expected one' if bad else f'{path} holds no sample')
    return len(keys)


def _check_entry(entry: tarfile.TarInfo, path: str | Path, keys: dict[str, int]) -> None:
    "Count an entry, if it is of a kind of ours."
    if entry.isdir():
        return
    if not entry.isreg() or entry.issparse():
        raise ValueError(f'{path}: {entry.name!r} is a link, a device or a sparse file, expected plain files')
    key, kind = _kind(entry.name)
    if key is None:
        return
    if entry.size > KINDS[kind]:
        raise ValueError(f'{path}: {entry.name!r} has {entry.size:,} bytes, expected at most {KINDS[kind]:,}')
    if key in keys and key != next(reversed(keys)):
        raise ValueError(f'{path}: the entries of sample {key!r} are not side by side')
    keys[key] = keys.get(key, 0) + (kind in PICTURES)


def read_samples(path: Path) -> list[dict[str, Any]]:
    "The samples of an archive, as bytes by kind."
    from webdataset.tariterators import group_by_keys, tar_file_iterator

    with path.open('rb') as file:
        entries = tar_file_iterator(file, skip_meta=None, select_files=lambda name: _kind(name)[0] is not None)
        return list(group_by_keys(dict(entry, __url__=str(path)) for entry in entries))


def told(sample: Mapping[str, Any], where: object) -> tuple[bytes, str]:  # a picture, and its caption
    "What a sample holds; a caption is text, or stands in JSON under that name. Raise a ValueError if it is neither."
    found = parse_json(sample['json'], where) if 'json' in sample else {}
    try:
        text = sample['txt'].decode('utf-8-sig') if 'txt' in sample else found.get('caption', '')
    except UnicodeDecodeError as error:
        raise ValueError(f'{where} is not UTF-8: {error}') from error
    if not isinstance(text, str):
        raise ValueError(f'{where} has the caption {text!r}, expected text')
    return next(sample[kind] for kind in sample if kind in PICTURES), ' '.join(check_caption(text, where).split())
