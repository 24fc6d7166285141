"""Pictures of strangers, read in one way wherever one is asked for, and pictures of ours, written.

A picture is shown as its maker meant it: upright, in eight bits a colour, and on a ground where it is transparent.
Whole numbers of 16 bits or more run from 0, black, to 65535, white; floating-point numbers from 0 to 1; others are refused.
Colour profiles are not applied. Of a picture that moves, or has several pages, the first is read.
"""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy
import torch
from PIL import Image, ImageColor, UnidentifiedImageError
from torch import Tensor

from diffbook.store.files import write_whole

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


def grey(
    images: Tensor,  # (..., 3, h, w) uint8
) -> Tensor:  # (..., 1, h, w) uint8
    "How bright pictures in colour are: three tenths of red, six of green, one of blue; what is grey stays as it is."
    return (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(-3, keepdim=True).round().to(torch.uint8)


def read_image(
    path: str | Path,  # a PNG, JPEG, WebP, GIF, BMP or TIFF file
    size: int,  # height and width to scale to
    content: bytes | None = None,  # what is in it, where that is at hand; `path` then is a name for messages
    *,
    ground: str | Sequence[int] = 'white',  # behind what is transparent: a colour's name, or three bytes
) -> Tensor:  # (3, size, size) uint8
    "Read the middle square of an image file, upright, scaled, on a ground where it is transparent."
    return middle(read_picture(path, content, ground=ground), size)


def as_bytes(
    image: Image.Image,  # of any mode
    mode: str = 'RGB',  # or L, in grey
    ground: str | Sequence[int] = 'white',  # behind what is transparent
) -> Tensor:  # (3, h, w) uint8, or (1, h, w) in grey
    "Turn a picture of Pillow into bytes: upright, of any depth and mode, on a ground where it is transparent."
    pixels = torch.from_numpy(numpy.array(flatten(image, ground).convert(mode)))
    return pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1)


# Pictures of ours


def lay_out(
    x: Tensor,  # (n, 1 or 3, h, w): bytes, or numbers from 0, black, to 1, white
    columns: int = 8,
    gap: int = 1,  # pixels between the images
) -> Tensor:  # (H, W, 3), of the same kind
    "Lay images out in a grid with a white gap."
    if x.ndim != 4 or x.shape[1] not in (1, 3) or len(x) == 0:
        raise ValueError(f'x has shape {tuple(x.shape)}, expected (n, 1, h, w) or (n, 3, h, w)')
    n, _, h, w = x.shape
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    grid = x.new_full((3, rows * (h + gap) - gap, columns * (w + gap) - gap), 1 if x.is_floating_point() else 255)
    for i, image in enumerate(x):
        top, left = (i // columns) * (h + gap), (i % columns) * (w + gap)
        grid[:, top : top + h, left : left + w] = image
    return grid.permute(1, 2, 0)


def write_png(
    path: str | Path,
    picture: Tensor,  # (h, w, 3) uint8
) -> None:
    "Write a picture as a PNG file, whole or not at all."
    file = io.BytesIO()
    Image.fromarray(picture.cpu().numpy()).save(file, 'PNG')
    write_whole(path, file.getvalue())


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
