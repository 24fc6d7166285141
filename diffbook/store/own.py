"""Pictures of one's own: looked at once by their headers, then read in threads, into memory or into shards on the disk.

A folder is looked at before anything is decided: how many pictures, how large, grey or in colour, of which classes, with
which captions, and what is left out and why. Reading keeps a bounded number of pictures in memory, whatever the folder holds.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from diffbook.core import whole
from diffbook.store.folders import choose, number_classes, shown, tell_broken
from diffbook.store.metadata import SOURCES, captions_of, find_tables
from diffbook.store.pictures import check_ground, flatten, grey, middle, opened
from diffbook.store.shards import Column, read_shards, write_shards

__all__ = ['FITS', 'Head', 'Look', 'look', 'Read', 'read_own']

FITS = ('centre', 'pad', 'random')  # the middle square; the whole picture on a ground; a window that moves while a model is trained
IN_MEMORY = 400_000_000  # bytes of pixels; more are kept on the disk
MARGIN = 8  # a picture of which a moving window is seen is an eighth larger than the window
ALOUD = 1.0  # seconds until a bar is shown
GREY = ('1', 'L', 'LA', 'La', 'I', 'F')  # modes without colour


class Head(NamedTuple):
    "What the head of a picture's file says."

    size: tuple[int, int]  # width and height
    grey: bool  # no colour can be in it
    clear: bool  # it may be transparent


@dataclass(frozen=True)
class Look:
    "What a folder of pictures holds."

    root: Path
    files: tuple[Path, ...]  # the pictures that can be read, in the order of their names
    heads: tuple[Head, ...]
    grey: bool  # none has colour
    names: tuple[str, ...]  # the class of each, '' for none: its folders
    said: tuple[str, ...]  # what else there is to say: of what is left out, and why

    @property
    def classes(self) -> tuple[str, ...]:
        "What the sub-folders are called, if there are two or more."
        found = sorted({*self.names} - {''})
        return tuple(found) if len(found) > 1 else ()

    @property
    def side(self) -> int:
        "The shorter side of the picture in the middle, if they stood in order of it."
        shorter = sorted(min(head.size) for head in self.heads)
        return shorter[len(shorter) // 2]

    @property
    def tables(self) -> list[Path]:
        "The tables of captions."
        return find_tables(self.root, self.files)

    def captions(self, source: str | None = None) -> tuple[tuple[str, ...], str]:  # a caption each, and where they are from
        "Read the captions; see captions_of."
        return captions_of(self.root, self.files, source)

    @property
    def hints(self) -> tuple[str, ...]:
        "Where captions lie that one might want: as many text files as pictures, or a table."
        found = ['metadata'] * bool(self.tables)
        return (*found, *['txt'] * all(file.with_suffix('.txt').is_file() for file in self.files))

    def describe(self) -> list[str]:
        "Say what was found, in a few lines."
        sizes = {head.size for head in self.heads}
        if len(sizes) == 1:
            size = 'all of {} x {}'.format(*min(sizes))
        else:
            low, high = (pick(self.heads, key=lambda head: min(head.size)).size for pick in (min, max))
            size = f'from {low[0]} x {low[1]} to {high[0]} x {high[1]}, the shorter side {self.side} in the middle'
        clear = sum(head.clear for head in self.heads)
        lines = [f'{len(self.files):,} pictures, {size}, {"grey" if self.grey else "in colour"}{f", {clear:,} with transparency" if clear else ""}']
        if self.classes:
            count = [self.names.count(name) for name in self.classes]
            few = ', '.join(shown(name) for name in self.classes[:12]) + (', ...' if len(self.classes) > 12 else '')
            lines.append(f'{len(self.classes)} classes, by sub-folders: {few}; from {min(count):,} to {max(count):,} pictures each')
        lines += [{'metadata': f'captions in {shown(self.tables[0].name) if self.tables else ""}', 'txt': 'a text file beside each picture'}[hint] for hint in self.hints]
        return [*lines, *self.said]


def look(
    root: str | Path,  # a folder of pictures
    split: str | None = None,  # train, test or val; None: train, if there are splits
    skip_broken: bool = False,  # leave out what cannot be read, and say so
) -> Look:
    "Look through a folder once, by the heads of its pictures, with a bar if that takes long."
    if not Path(root).is_dir():
        raise FileNotFoundError(f'{root} is not a folder')
    files, folders, said = choose(root, split)
    heads, broken = list[Head | None](), list[str]()
    for found in worked(head_of, files, 'looking at pictures'):
        heads.append(found if isinstance(found, Head) else None)
        broken += [found] if isinstance(found, str) else []
    said += refuse_broken(broken, len(files), skip_broken)
    kept = [k for k, head in enumerate(heads) if head is not None]
    doubtful = [k for k in kept if not heads[k].grey]
    tried = doubtful[:: max(1, len(doubtful) // 64)]
    colourless = all(found is True for found in worked(has_no_colour, [files[k] for k in tried], 'looking at colours'))
    return Look(Path(root), tuple(files[k] for k in kept), tuple(heads[k] for k in kept), colourless, tuple('/'.join(folders[k]) for k in kept), tuple(said))


def head_of(path: Path) -> Head | str:
    "Read the head of a file; what went wrong, if it cannot be."
    try:
        with opened(path) as image:
            clear = image.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info
            return Head(image.size, image.mode.split(';')[0] in GREY, clear)
    except ValueError as error:
        return str(error)


def has_no_colour(path: Path) -> bool | str:
    "Whether a small copy of a picture is grey all over."
    try:
        small = read_one(path, 32, 'pad', (255, 255, 255))
    except ValueError as error:
        return str(error)
    return bool((small == small[:1]).all())


def worked(work: Callable[[Path], Any], files: Sequence[Path], what: str, ahead: int = 256) -> Iterator[Any]:
    "Do some work on each file in threads, a bounded number of files ahead, and yield what comes of it in their order."
    waiting: deque = deque()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, tqdm(total=len(files), desc=what, unit='picture', delay=ALOUD, leave=False, disable=None) as bar:
        for path in files:
            waiting.append(pool.submit(work, path))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
                bar.update()
        while waiting:
            yield waiting.popleft().result()
            bar.update()


def refuse_broken(broken: Sequence[str], n: int, skip: bool) -> list[str]:
    "What to say of pictures that cannot be read, or a ValueError with the way out."
    told = tell_broken(broken, n) if broken else ''
    if broken and not skip:
        raise ValueError(f'{told}; to leave out what cannot be read, say skip_broken=True, or --skip-broken on the command line')
    if len(broken) == n:
        raise ValueError(f'{told}; nothing is left')
    return [f'{told}; left out'] if broken else []


# Reading


def read_one(path: Path, size: int, fit: str, ground: tuple[int, int, int]) -> Tensor:  # (3, size, size) uint8
    "Read one picture as a square; a JPEG that is far larger is decoded small, which is three times as fast."
    with opened(path) as image:
        if image.format == 'JPEG':
            image.draft('RGB', (2 * size, 2 * size))
        picture = flatten(image, ground)
    return middle(padded(picture, ground) if fit == 'pad' else picture, size)


def padded(picture: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    "Put a picture in the middle of a square of the ground."
    side = max(picture.size)
    square = Image.new('RGB', (side, side), ground)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


class Read(NamedTuple):
    "Pictures as they were read."

    images: 'Tensor | Column'  # (n, c, side, side) uint8, in memory or on the disk
    labels: Tensor | None
    classes: tuple[str, ...]
    captions: tuple[str, ...] | None
    said: list[str]  # what there is to say


def read_own(
    found: Look,
    size: int,  # height and width that a model sees
    *,
    grey_out: bool | None = None,  # one channel; None: if no picture has colour
    fit: str = 'centre',  # one of FITS
    ground: str | Sequence[int] = 'white',  # behind what is transparent, and beside what is padded
    captions: str | bool | None = None,  # metadata, txt or names: where they are; True: wherever; None: none
    skip_broken: bool = False,  # leave out what cannot be read, and say so
    cache: str | Path | None = None,  # a folder, for more than fits in memory
) -> Read:
    "Read the pictures of a folder, in the order of their names."
    if fit not in FITS:
        raise ValueError(f'fit is {fit!r}, expected {", ".join(FITS)}')
    ground, one = check_ground(ground), found.grey if grey_out is None else grey_out
    side = whole('size', size) + (size // MARGIN if fit == 'random' else 0)
    texts = found.captions(None if captions is True else captions)[0] if captions else None
    kept, broken, said, coloured = list[int](), list[str](), list[str](), [0]

    def rows() -> Iterator[Tensor]:
        for k, pixels in enumerate(worked(lambda path: read_safely(path, side, fit, ground), found.files, 'reading pictures')):
            if isinstance(pixels, str):
                broken.append(pixels)
                continue
            kept.append(k)
            coloured[0] += one and bool((pixels != pixels[:1]).any())
            yield grey(pixels) if one else pixels
        said.extend(refuse_broken(broken, len(found.files), skip_broken))

    shape = (1 if one else 3, side, side)
    if len(found.files) * shape[0] * side**2 <= IN_MEMORY or cache is None:
        images = torch.empty(len(found.files), *shape, dtype=torch.uint8)
        for k, row in enumerate(rows()):
            images[k] = row
        images = images[: len(kept)]
    else:
        images, kept = stored(Path(cache), rows, kept, name_of(found, shape, fit, ground))
    if one and not found.grey and coloured[0]:
        said.append(f'{coloured[0]:,} pictures have colour, and are read in grey')
    labels, classes = number_classes([found.names[k] for k in kept])
    return Read(images, labels, classes, texts and tuple(texts[k] for k in kept), said)


def read_safely(path: Path, side: int, fit: str, ground: tuple[int, int, int]) -> Tensor | str:
    "A picture, or why there is none."
    try:
        return read_one(path, side, fit, ground)
    except ValueError as error:
        return str(error)


def name_of(found: Look, shape: tuple[int, ...], fit: str, ground: tuple[int, int, int]) -> str:
    "A sum of all that pixels depend on: the files with their lengths and times, and how they are read."
    total = hashlib.blake2b(f'{shape} {fit} {ground}'.encode(), digest_size=16)
    for file in found.files:
        about = file.stat()
        total.update(f'\n{file.relative_to(found.root)} {about.st_size} {about.st_mtime_ns}'.encode('utf-8', 'surrogateescape'))
    return total.hexdigest()


def stored(folder: Path, rows: Callable[[], Iterable[Tensor]], kept: list[int], name: str) -> tuple[Column, list[int]]:
    "The rows on the disk, where they lie already if nothing has changed; and which files they are."
    with suppress(OSError, ValueError):
        there = read_shards(folder, verify=False)
        if there.about['name'] == name:
            return there['images'], there['files'][:].tolist()

    def portions() -> Iterator[dict[str, Tensor]]:
        for row in rows():
            yield {'images': row[None], 'files': torch.tensor(kept[-1:])}

    made = write_shards(folder, grouped(portions(), 512), about={'name': name})
    return made['images'], kept


def grouped(portions: Iterable[dict[str, Tensor]], n: int) -> Iterator[dict[str, Tensor]]:
    "Join n portions at a time: single rows are joined one by one otherwise."
    waiting: list[dict[str, Tensor]] = []
    for portion in portions:
        waiting.append(portion)
        if len(waiting) == n:
            yield {name: torch.cat([part[name] for part in waiting]) for name in portion}
            waiting = []
    if waiting:
        yield {name: torch.cat([part[name] for part in waiting]) for name in waiting[0]}
