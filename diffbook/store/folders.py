"""Folders of pictures: what in them is a picture, which sub-folders are classes or splits, and all of it read, or told of by name."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from diffbook.core import whole
from diffbook.store.captions import captions_beside
from diffbook.store.pictures import SUFFIXES, UNREAD, check_ground, middle, read_picture
from diffbook.store.sets import Held

HIDDEN = ('__macosx', '@eadir', '#recycle', '@recycle', '$recycle.bin', 'system volume information', 'lost+found', 'thumbs.db', 'desktop.ini')
SPLITS = {'train': 'train', 'training': 'train', 'test': 'test', 'testing': 'test', 'val': 'val', 'valid': 'val', 'validation': 'val'}


def read_pictures(
    path: str | Path,  # a folder
    size: int,  # height and width to scale to
    split: str | None,  # train, test or val, where there are such sub-folders; None: train
    captions: bool | None,  # True: every picture must have one; None: take them if every picture has one; False: leave them
    ground: str | Sequence[int],  # behind what is transparent
    skip_broken: bool,  # leave out what cannot be read
) -> tuple[Held, list[str]]:  # images, labels, captions, name and classes, in the order of the file names; what there is to say
    "Read a folder of pictures; sub-folders, if any, are classes."
    if not Path(path).is_dir():
        raise FileNotFoundError(f'{path} is not a folder')
    whole('size', size)
    files, folders, said = choose(path, split)
    images, kept, broken = read_all(files, size, ground, skip_broken)
    labels, classes = number_classes(['/'.join(folders[k]) for k in kept])
    beside = captions_beside([files[k] for k in kept], captions)
    return (images, labels, beside, Path(path).name, classes), [text for text in (*said, broken) if text]


def number_classes(names: Sequence[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    "Labels, -1 for a picture of no class, and what they mean; nothing if all pictures are of one kind."
    if len(set(names)) < 2:
        return None, ()
    classes = tuple(sorted(set(names) - {''}))
    return torch.tensor([classes.index(name) if name else -1 for name in names]), classes


def is_hidden(name: str) -> bool:
    "Whether a file or folder belongs to a system or a program, and not to whoever made the pictures."
    return name.startswith('.') or name.lower() in HIDDEN


def shown(name: object) -> str:
    "A name without what is no letter: a file must not speak to the terminal."
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in str(name))


@dataclass
class Found:
    "What lies in a folder and the folders in it."

    files: list[Path] = field(default_factory=list)  # pictures of a format that is read, in the order of their names
    unread: Counter = field(default_factory=Counter)  # ending -> how many of a format that is not
    lost: list[Path] = field(default_factory=list)  # links that lead nowhere


def find_pictures(root: str | Path) -> Found:
    "Find the pictures in a folder: hidden files and folders are passed over, links to folders are followed, and no folder is read twice."
    root, found, seen = Path(root), Found(), set()
    starts, above = [root], {os.path.realpath(root), *map(os.path.realpath, Path(os.path.realpath(root)).parents)}
    for start in starts:  # grows: what is linked to comes after what is there itself
        if start is not root and os.path.realpath(start) in above:
            continue  # it leads back up
        for folder, folders, names in os.walk(start, onerror=refuse):
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            starts += [Path(folder) / name for name in folders if os.path.islink(os.path.join(folder, name))]
            if (real := os.path.realpath(folder)) in seen:
                folders.clear()
                continue
            seen.add(real)
            sort_names(Path(folder), [name for name in names if not is_hidden(name)], found)
    found.files.sort()
    found.lost.sort()
    return found


def refuse(error: OSError) -> None:
    raise ValueError(f'{error.filename} could not be read: {error.strerror}') from error


def sort_names(folder: Path, names: Sequence[str], found: Found) -> None:
    "Add the files of one folder to what was found."
    for path in (folder / name for name in names):
        ending = path.suffix.lower()
        if ending in SUFFIXES:
            if path.is_file():
                found.files.append(path)
            elif path.is_symlink():
                found.lost.append(path)
        elif ending in UNREAD:
            found.unread[ending] += 1


def sort_splits(folders: Sequence[tuple[str, ...]]) -> list[tuple[str | None, tuple[str, ...]]]:
    """Say of each picture's folders, from the root down, which split they are of, and what they are without it.

    A folder called train, test or val (or training, testing, valid, validation) is a split if another split stands beside it,
    or if all pictures lie in it. Any other folder is a class: a class of trains beside one of ships is none.
    """
    inside: dict[tuple[str, ...], set[str]] = {}
    for parts in set(folders):
        for k in range(len(parts)):
            inside.setdefault(parts[:k], set()).add(parts[k])
    splits_in = {parent: {SPLITS[name.lower()] for name in names if name.lower() in SPLITS} for parent, names in inside.items()}
    shared = os.path.commonprefix(list(set(folders)))  # of tuples: the folders that all of them begin with

    def place(parts: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
        for k, name in enumerate(parts):
            word = SPLITS.get(name.lower())
            if word and (len(splits_in[parts[:k]]) > 1 or k < len(shared)):
                return word, parts[:k] + parts[k + 1 :]
        return None, parts

    known = {parts: place(parts) for parts in set(folders)}
    return [known[parts] for parts in folders]


def choose(
    root: str | Path,  # a folder of pictures
    split: str | None = None,  # train, test or val; None: train, if there are splits
) -> tuple[list[Path], list[tuple[str, ...]], list[str]]:
    "Give the pictures of a split, the folders of each that make its class, and what else there is to say."
    if split is not None and split not in ('train', 'test', 'val'):
        raise ValueError(f"split is {split!r}, expected 'train', 'test' or 'val'")
    root, found = Path(root), find_pictures(root)
    if not found.files:
        raise ValueError(f'{shown(root)} holds no picture that can be read: no {", ".join(SUFFIXES)} file{tell_unread(found, " (")}')
    placed = sort_splits([path.relative_to(root).parts[:-1] for path in found.files])
    count, want = Counter(word for word, _ in placed), split or 'train'
    said = [text for text in (tell_unread(found), tell_lost(found)) if text]
    there = [word for word in ('train', 'val', 'test') if count[word]]
    if not there and want != 'train':
        raise ValueError(f'split is {split!r}, and {shown(root)} has no sub-folders train and {split}')
    if there and want not in there:
        raise ValueError(f'{shown(root)} has sub-folders for the splits {" and ".join(there)}, and none for {want}; expected split to be one of these')
    if there:
        rest = [f'{count[word]:,} of {word}' for word in there if word != want] + [f'{count[None]:,} beside them'] * (count[None] > 0)
        left = f' and {" and ".join(rest)} are left out' if rest else ''
        said.insert(0, f'{shown(root)} has sub-folders for splits: {count[want]:,} pictures of {want} are read{left}')
    keep = [k for k, (word, _) in enumerate(placed) if not there or word == want]
    classes = [placed[k][1] for k in keep]
    if any(classes) and (bare := classes.count(())):
        said.append(f'{bare:,} pictures lie beside the sub-folders, which are classes, and are of no class')
    return [found.files[k] for k in keep], classes, said


def has_splits(root: str | Path) -> bool:
    "Whether the pictures of a folder lie in sub-folders train, test or val."
    folders = [path.relative_to(root).parts[:-1] for path in find_pictures(root).files]
    return any(word for word, _ in sort_splits(folders))


def tell_unread(found: Found, start: str = '') -> str:
    "Say how many pictures are of formats that are not read."
    if not found.unread:
        return ''
    what = ', '.join(f'{n:,} {ending}' for ending, n in sorted(found.unread.items()))
    return f'{start}{sum(found.unread.values()):,} pictures of other formats are skipped: {what}' + (')' if start else '')


def tell_lost(found: Found) -> str:
    return f'{len(found.lost):,} links to pictures lead nowhere, such as {shown(found.lost[0])}' if found.lost else ''


def read_all(
    files: Sequence[Path],
    size: int,  # height and width to scale to
    ground: str | Sequence[int] = 'white',  # behind what is transparent
    skip_broken: bool = False,  # leave out what cannot be read
) -> tuple[Tensor, list[int], str]:  # (n, 3, size, size) uint8, which files they are, and what there is to say
    "Read the middle squares of many pictures, with a bar if that takes long; all that cannot be read are told of together."
    ground = check_ground(ground)
    images = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    kept, broken = list[int](), list[str]()
    for k, path in enumerate(tqdm(files, desc='reading pictures', unit='picture', delay=1, leave=False)):
        try:
            images[len(kept)] = middle(read_picture(path, ground=ground), size)
            kept.append(k)
        except ValueError as error:
            broken.append(str(error))
    told = tell_broken(broken, len(files)) if broken else ''
    if broken and not skip_broken:
        raise ValueError(f'{told}; to leave out what cannot be read, say skip_broken=True, or --skip-broken on the command line')
    if broken and not kept:
        raise ValueError(f'{told}; nothing is left')
    return images[: len(kept)], kept, told and f'{told}; left out'


def tell_broken(broken: Sequence[str], n: int, most: int = 5) -> str:
    "List the first files that could not be read, each with its reason, and count the rest."
    rest = f', and {len(broken) - most:,} more' if len(broken) > most else ''
    return f'{len(broken):,} of {n:,} pictures cannot be read: ' + '; '.join(shown(text) for text in broken[:most]) + rest
