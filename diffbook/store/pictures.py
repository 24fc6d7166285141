"""Pictures of strangers, read in one way wherever one is asked for: their formats and modes, and the folders that they lie in.

A picture is shown as its maker meant it: upright, in eight bits a colour, and on a ground where it is transparent.
Whole numbers of 16 bits or more run from 0, black, to 65535, white; floating-point numbers from 0 to 1; others are refused.
Colour profiles are not applied. Of a picture that moves, or has several pages, the first is read.
"""

import io
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch
from PIL import Image, ImageColor, UnidentifiedImageError
from torch import Tensor
from tqdm.auto import tqdm

FORMATS = {  # what every supported Pillow reads, in decoders without a program or an address in them
    'PNG': ('.png', '.apng'), 'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif'), 'WEBP': ('.webp',), 'GIF': ('.gif',), 'BMP': ('.bmp',), 'TIFF': ('.tif', '.tiff'),
}  # fmt: skip
NAMES = 'PNG, JPEG, WebP, GIF, BMP or TIFF'
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
UNREAD = (
    '.avif .avifs .heic .heif .hif .jxl .jp2 .j2k .jpx .psd .xcf .svg .ico .icns .ppm .pgm .pbm .pnm .tga .dds .exr .hdr .pcx .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf'
).split()  # pictures too, and not read
PACKED = ('raw', 'packbits', 'tiff_lzw', 'tiff_adobe_deflate', 'tiff_deflate')  # how a TIFF may be packed
MAX_PIXELS = 120_000_000  # of a picture: telephones make 108 million
MAX_SCANS = 64  # a JPEG may ask for every pixel again and again
HIDDEN = ('__macosx', '@eadir', '#recycle', '@recycle', '$recycle.bin', 'system volume information', 'lost+found', 'thumbs.db', 'desktop.ini')
SPLITS = {'train': 'train', 'training': 'train', 'test': 'test', 'testing': 'test', 'val': 'val', 'valid': 'val', 'validation': 'val'}


# One picture


class TooMuch(ValueError):
    "What a picture has more of than is allowed."


@contextmanager
def opened(
    path: str | Path,  # the file
    content: bytes | None = None,  # what is in it, where that is at hand; `path` then is a name for messages
) -> Iterator[Image.Image]:
    "Open a picture of a known format and a sensible size; whatever goes wrong with it, then or later, is a ValueError that names it once."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of the decoders: their limits are above ours, and metadata is not asked for
            with Image.open(path if content is None else io.BytesIO(content), formats=list(FORMATS)) as image:
                check_limits(image, path, content)
                yield image
    except TooMuch as error:
        raise ValueError(f'{path} {error}') from error
    except Exception as error:  # a decoder that meets a stranger's bytes may raise anything
        raise ValueError(f'{path} could not be read as {NAMES}: {reason(error)}') from error


def reason(error: Exception) -> str:
    "Say what went wrong, without the name of the file or the place of an object in memory."
    if isinstance(error, UnidentifiedImageError):
        return 'its bytes are in none of these formats'
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__


def check_limits(image: Image.Image, path: str | Path, content: bytes | None) -> None:
    "Refuse more pixels, or more scans of a JPEG, than are sensible, before anything is unpacked."
    if image.width * image.height > MAX_PIXELS:
        raise TooMuch(f'has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,} in all')
    if image.format in ('JPEG', 'MPO'):  # MPO: a JPEG with another one behind it, as telephones write
        scans = (Path(path).read_bytes() if content is None else content).count(b'\xff\xda')
        if scans > MAX_SCANS:
            raise TooMuch(f'has {scans} scans, more than {MAX_SCANS}')
    if image.format == 'TIFF' and (packed := image.info.get('compression', 'raw')) not in PACKED:
        raise ValueError(f'it is packed as {packed}, expected one of {", ".join(PACKED)}')


def check_ground(ground: str | Sequence[int]) -> tuple[int, int, int]:
    "Give the colour behind transparent pictures as three bytes."
    try:
        colour = ImageColor.getrgb(ground) if isinstance(ground, str) else tuple(ground)
    except (ValueError, TypeError):
        colour = ()
    if len(colour) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in colour):
        raise ValueError(f"ground is {ground!r}, expected the name of a colour such as white, or '#rrggbb', or three whole numbers from 0 to 255")
    return colour


def to_bytes(image: Image.Image) -> Image.Image:
    "Scale whole numbers of many bits, and floating-point numbers, to bytes; other pictures pass."
    if not image.mode.startswith(('I', 'F')):
        return image
    values, white = numpy.asarray(image).astype(numpy.float64), 1 if image.mode == 'F' else 65535
    if not (0 <= values.min() and values.max() <= white):
        raise ValueError(f'its values run from {values.min():g} to {values.max():g}, expected 0 for black to {white} for white in mode {image.mode}')
    grey = Image.fromarray(numpy.rint(values * (255 / white)).astype(numpy.uint8))
    clear = image.info.get('transparency')
    if isinstance(clear, int):  # one value of the file's own that nobody is to see
        return Image.merge('LA', (grey, Image.fromarray(numpy.where(values == clear, 0, 255).astype(numpy.uint8))))
    return grey


TURNS = {  # what the EXIF tag Orientation asks for
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def turn_of(image: Image.Image) -> Image.Transpose | None:
    "How a picture is turned before it is shown; EXIF data that cannot be read asks for nothing."
    image.load()  # a TIFF turns itself while it is loaded, and then asks no more
    try:
        return TURNS.get(image.getexif().get(0x0112))
    except Exception:
        return None


def flatten(
    image: Image.Image,  # of any mode
    ground: str | Sequence[int] = 'white',  # behind what is transparent
) -> Image.Image:  # RGB
    "Show a picture as it was meant: upright, in eight bits a colour, on a ground where it is transparent."
    ground, turn = check_ground(ground), turn_of(image)
    image = to_bytes(image)
    if image.mode in ('La', 'RGBa'):
        image = image.convert({'La': 'LA', 'RGBa': 'RGBA'}[image.mode])
    clear = image.info.get('transparency')
    if image.mode == 'RGB' and isinstance(clear, tuple) and max(clear) > 255:
        image = image.copy()
        image.info['transparency'] = tuple(v >> 8 for v in clear)  # of 16 bits a colour Pillow keeps the upper half
    if image.mode in ('RGBA', 'LA', 'PA') or clear is not None:
        image = Image.alpha_composite(Image.new('RGBA', image.size, (*ground, 255)), image.convert('RGBA'))
    image = image.convert('RGB')  # a copy
    image = image if turn is None else image.transpose(turn)
    image.info = {}  # what was done is not to be asked for again
    return image


def read_picture(
    path: str | Path,  # the file
    content: bytes | None = None,  # what is in it, where that is at hand; `path` then is a name for messages
    *,
    ground: str | Sequence[int] = 'white',  # behind what is transparent
) -> Image.Image:  # RGB
    "Read a picture as it was meant to be seen, or raise a ValueError that names the file and says why not."
    ground = check_ground(ground)
    with opened(path, content) as image:
        return flatten(image, ground)


def middle_box(size: tuple[int, int]) -> tuple[int, int, int, int]:
    "The middle square of a picture of `size`: left, top, right, bottom. Of an odd rest the larger half is right and below."
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return left, top, left + side, top + side


def middle(image: Image.Image, size: int) -> Tensor:  # (3, size, size) uint8
    "The middle square of an RGB picture, scaled: by the mean of pixels where it shrinks, by cubic curves where it grows."
    box = middle_box(image.size)
    shrinks = min(image.size) > size  # cubic curves would look beyond the square, so it is cut out first
    square = image.resize((size, size), Image.Resampling.BOX, box) if shrinks else image.crop(box).resize((size, size), Image.Resampling.BICUBIC)
    pixels = square.tobytes()
    return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(size, size, 3).permute(2, 0, 1)


# Masks


def white_of(image: Image.Image) -> Tensor:  # (h, w) bool
    "Where a picture is nearer to white than to black."
    grey = flatten(image).convert('L')
    return torch.frombuffer(bytearray(grey.tobytes()), dtype=torch.uint8).reshape(grey.height, grey.width) >= 128


def cover(
    white: Tensor,  # (..., h, w) bool
    size: tuple[int, int],  # height and width of a coarser grid, or a finer one
) -> Tensor:  # (..., h', w') bool
    "Which cells of another grid hold any of what is white: rounded outwards, so that they cover it."
    flat = white.reshape(1, -1, *white.shape[-2:]).float()
    return (torch.nn.functional.adaptive_max_pool2d(flat, size) > 0).reshape(*white.shape[:-2], *size)


# Folders


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
    images, kept, broken = torch.empty(len(files), 3, size, size, dtype=torch.uint8), [], []
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
