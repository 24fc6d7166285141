"""The emoji of Noto and of Fluent, at 64 by 64 pixels on white, each with its name.

They are published as thousands of small files. The package holds a list, `zoo/emoji.json`: base, name, group, and the digest
of either drawing, at one commit of each repository. What is downloaded is checked against it, file by file and as a whole.
"""

import hashlib
import importlib.resources
import json
import re
import shutil
import urllib.parse
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from diffbook.store.packed import read_pixels
from diffbook.store.downloads import fetch_small
from diffbook.store.files import write_whole
from diffbook.store.pictures import opened

__all__ = ['EMOJI_STYLES', 'FILES', 'SIZES', 'fetch_emoji', 'read_emoji']

EMOJI_STYLES = ('noto', 'fluent-3d')
SIZES = (64, 32, 16, 8)
FILES = tuple(f'{style}/{file}' for style in EMOJI_STYLES for file in ('images.npz', 'captions.json'))


# What is published


@cache
def _emoji_list() -> dict:
    "The published emoji, their names and their digests."
    return json.loads((importlib.resources.files('diffbook') / 'zoo' / 'emoji.json').read_text(encoding='utf-8'))


def _emoji_rows(style: str) -> list[dict]:
    "Base, name, group, digest and path of every emoji of a style."
    k, rows = EMOJI_STYLES.index(style), []
    for base, name, group, folder, *digests in _emoji_list()['emoji']:
        codes = '_'.join(code.zfill(4) for code in base.split('-'))
        path = (f'png/128/emoji_u{codes}.png', f'assets/{folder}/Default/3D_128.webp')[k]
        if digests[k]:
            rows.append({'base': base, 'name': name, 'group': group, 'digest': digests[k], 'path': path})
    return rows


# Fetching


def fetch_emoji(style: str, folder: Path, mirrors: tuple[str, ...]) -> None:
    "Download the emoji of a style, check them, and make images.npz and captions.json."
    if _emoji_is_here(style, folder):
        return
    info, rows, raw = _emoji_list()['sources'][style], _emoji_rows(style), folder / 'source'
    raw.mkdir(parents=True, exist_ok=True)
    place = f'{mirrors[0]}{info["repository"]}/{info["commit"]}/'
    pool = ThreadPoolExecutor(8)
    try:
        jobs = [pool.submit(fetch_small, place + urllib.parse.quote(r['path']), raw / r['base'], r['digest']) for r in rows]
        files = [job.result() for job in tqdm(jobs, desc=f'emoji, {style}', unit='file')]
    finally:
        pool.shutdown(cancel_futures=True)
    if (found := hashlib.sha256(b''.join(files)).hexdigest()) != info['files']:
        raise ValueError(f'the files of {style} have sha256 {found}, expected {info["files"]}')
    captions = [{'base': r['base'], 'tone': '', 'name': r['name']} for r in rows]
    write_whole(folder / 'captions.json', json.dumps(captions, ensure_ascii=False).encode())
    packed = BytesIO()
    numpy.savez_compressed(packed, images=numpy.stack([_shrink_emoji(content) for content in files]))
    write_whole(folder / 'images.npz', packed.getvalue())
    shutil.rmtree(raw)


def _shrink_emoji(content: bytes) -> numpy.ndarray:
    "A published file of 128 x 128 pixels as (64, 64, 3) bytes on white."
    with opened('an emoji', content) as image:
        if image.size != (128, 128):
            raise ValueError(f'it has {image.size[0]} x {image.size[1]} pixels, expected 128 x 128')
        weighted = image.convert('RGBA').convert('RGBa')  # colours times opacity
    small = numpy.asarray(weighted.resize((64, 64), Image.Resampling.BOX)).astype(numpy.int16)
    return (small[..., :3] + 255 - small[..., 3:]).astype(numpy.uint8)


def _emoji_is_here(style: str, folder: Path) -> bool:
    try:
        return len(_read_style(style, folder)) > 0
    except (OSError, ValueError):
        return False


# Reading


def read_emoji(
    folder: Path,  # holds FILES
    split: str,  # train or test
    size: int,  # height and width to scale to, one of SIZES
) -> tuple[Tensor, Tensor, tuple[str, ...]]:  # images (n, 3, size, size) uint8; style, group and base (n, 3); captions
    "Read the emoji of a part; the two drawings of one emoji are in the same part."
    bases = [row[0] for row in _emoji_list()['emoji']]
    images, labels, captions = [], [], []
    for style in EMOJI_STYLES:
        rows = _emoji_rows(style)
        test = [hashlib.sha256(row['base'].encode()).digest()[0] < 26 for row in rows]  # a tenth
        keep = [k for k in range(len(rows)) if test[k] == (split == 'test')]
        images.append(_read_style(style, folder / style)[keep])
        labels += [(EMOJI_STYLES.index(style), rows[k]['group'], bases.index(rows[k]['base'])) for k in keep]
        captions += [_emoji_caption(style, rows[k]['name']) for k in keep]
    return _shrink(torch.cat(images), 64 // size), torch.tensor(labels), tuple(captions)


def _shrink(images: Tensor, cell: int) -> Tensor:
    "The means of squares of so many pixels, rounded."
    squares = images.int().unfold(2, cell, cell).unfold(3, cell, cell).sum((4, 5))
    return ((squares + cell**2 // 2) // cell**2).to(torch.uint8)


def _read_style(style: str, folder: Path) -> Tensor:
    "Images (n, 3, 64, 64) of a style in the order of the list, refusing any that differ from the published ones."
    path, rows = folder / 'images.npz', _emoji_rows(style)
    try:
        if (size := (folder / 'captions.json').stat().st_size) > 1 << 24:
            raise ValueError(f'captions.json has {size:,} bytes')
        listed = json.loads((folder / 'captions.json').read_text(encoding='utf-8'))
        where = {entry['base']: k for k, entry in enumerate(listed) if entry['tone'] == ''}
        images = read_pixels(path)[[where[row['base']] for row in rows]]
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f'{folder} is damaged: {type(error).__name__} {error}; fetch it with: diffbook data emoji --download') from error
    found = hashlib.sha256(numpy.ascontiguousarray(images).tobytes()).hexdigest()
    if found != _emoji_list()['sources'][style]['pixels']:
        raise ValueError(f'{path} holds other pictures than the published ones; fetch them with: diffbook data emoji --download')
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _emoji_caption(style: str, name: str) -> str:
    "Say in what style an emoji is, and what it shows."
    name = name.translate({0x2018: "'", 0x2019: "'", 0x201C: "'", 0x201D: "'"}).replace(': ', ', ')
    head = re.split(' with | of | in | on |, | \\(', name)[0]
    plural = head.endswith(('s', 'men', 'people')) and not head.endswith(('ss', 'us', 'is'))
    article = '' if plural else 'an ' if name[0].lower() in 'aeiou' else 'a '
    return f'{"a 3D emoji" if style == "fluent-3d" else "an emoji"} of {article}{name}'
