"""Pictures: formats, modes, orientation, grounds, limits and crops, against Pillow's own functions and by hand."""

import io
import struct
import warnings
import zlib

import numpy
import pytest
import torch
from PIL import Image, ImageOps

from diffbook.store import pictures
from diffbook.store.pictures import (
    FORMATS,
    cover,
    flatten,
    middle,
    opened,
    read_picture,
    white_of,
)

RNG = numpy.random.default_rng(0)
NOISE = RNG.integers(0, 256, (6, 9, 4), dtype=numpy.uint8)  # red, green, blue and how opaque
RAMP = numpy.linspace(0, 65535, 54).reshape(6, 9)


def save(image, kind, **how):
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def seen(image, **how):
    "What the reader makes of a picture, as an array; of a file, if it is given as bytes."
    read = read_picture('a file', image, **how) if isinstance(image, bytes) else flatten(image, **how)
    assert read.mode == 'RGB'
    return numpy.asarray(read)


def turned(k):
    exif = Image.Exif()
    exif[0x0112] = k
    return exif


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'WEBP', 'TIFF'])
@pytest.mark.parametrize('k', range(10))
def test_pictures_are_upright(kind, k):
    "All eight orientations, and two that are none, as Pillow turns them; in a file and as an object."
    data = save(Image.fromarray(NOISE[..., :3]), kind, exif=turned(k), **({'lossless': True} if kind == 'WEBP' else {}))
    want = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert('RGB')
    assert want.size == ((6, 9) if 5 <= k <= 8 else (9, 6))
    assert numpy.array_equal(seen(data), want) and numpy.array_equal(seen(Image.open(io.BytesIO(data))), want)


@pytest.mark.parametrize('channels', [3, 4])
def test_what_is_done_is_done_once(channels):
    "A picture that was read is upright, and says nothing else: reading it again changes nothing."
    data = save(Image.fromarray(NOISE[..., :channels].copy()), 'PNG', exif=turned(6))
    read = read_picture('a file', data)
    assert not read.getexif() and not read.info and numpy.array_equal(flatten(read), read)
    image = Image.open(io.BytesIO(data))
    flatten(image)
    assert image.getexif()[0x0112] == 6 and numpy.array_equal(image, NOISE[..., :channels])


def test_a_deep_grey_picture_is_upright_too():
    data = save(Image.fromarray(RAMP.astype(numpy.uint16)), 'PNG', exif=turned(6))
    assert numpy.array_equal(seen(data)[..., 0], numpy.rot90(numpy.rint(RAMP.astype(int) / 257), -1))


def test_damaged_exif_asks_for_nothing():
    data = save(Image.fromarray(NOISE[..., :3]), 'PNG', exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    assert numpy.array_equal(seen(data), NOISE[..., :3])


GREY = {  # mode -> a picture, and what grey values it shows
    'I;16': (Image.fromarray(RAMP.astype('<u2')), RAMP.astype(int) / 257),
    'I;16B': (Image.frombytes('I;16B', (9, 6), RAMP.astype('>u2').tobytes()), RAMP.astype(int) / 257),
    'I': (Image.fromarray(RAMP.astype(numpy.int32)), RAMP.astype(int) / 257),
    'F': (Image.fromarray((RAMP / 65535).astype(numpy.float32)), (RAMP / 65535).astype(numpy.float32) * 255.0),
    'L': (Image.fromarray(NOISE[..., 0]), NOISE[..., 0]),
    '1': (Image.fromarray(NOISE[..., 0] > 128), 255 * (NOISE[..., 0] > 128)),
}  # fmt: skip


@pytest.mark.parametrize('kind, mode', [(kind, mode) for kind in (None, 'TIFF', 'PNG') for mode in GREY if kind != 'PNG' or mode in ('I;16', 'L', '1')])
def test_grey_of_every_depth(mode, kind):
    "Black to white: of 16 bits and more 0 to 65535, of floating point 0 to 1."
    image, want = GREY[mode]
    assert image.mode == mode
    got = seen(image if kind is None else save(image, kind))
    assert numpy.array_equal(got, numpy.repeat(numpy.rint(want)[..., None], 3, -1))


HOLDS = {None: 'RGB P CMYK YCbCr HSV', 'PNG': 'RGB P', 'JPEG': 'RGB CMYK YCbCr', 'TIFF': 'RGB P CMYK YCbCr', 'GIF': 'RGB P', 'BMP': 'RGB P', 'WEBP': 'RGB'}


@pytest.mark.parametrize('kind, mode', [(kind, mode) for kind, modes in HOLDS.items() for mode in modes.split()])
def test_colour_of_every_mode(mode, kind):
    "What Pillow itself shows in RGB."
    image = Image.fromarray(NOISE[..., :3]).convert(mode)
    if kind is None:
        assert numpy.array_equal(seen(image), image.convert('RGB'))
        return
    data = save(image, kind)
    try:
        want = Image.open(io.BytesIO(data)).convert('RGB')
    except OSError:
        pytest.skip('an older Pillow, which cannot read what it wrote')
    assert numpy.array_equal(seen(data), want)


def clear_pictures():
    "Pictures that are transparent in part, each with its colours and its opacity from 0 to 1."
    colour, opacity = NOISE[..., :3].astype(float), NOISE[..., 3:] / 255
    grey = numpy.repeat(NOISE[..., :1], 3, -1).astype(float)
    palette = Image.fromarray(NOISE[..., 0] % 5, 'L').copy()
    palette = Image.frombytes('P', (9, 6), palette.tobytes())
    table = RNG.integers(0, 256, (5, 3), dtype=numpy.uint8)
    palette.putpalette(table.tobytes())
    index = NOISE[..., 0] % 5
    yield 'RGBA', Image.fromarray(NOISE), {}, colour, opacity
    yield 'LA', Image.merge('LA', [Image.fromarray(NOISE[..., k]) for k in (0, 3)]), {}, grey, opacity
    yield 'P, one colour', palette, {'transparency': 3}, table[index].astype(float), (index != 3)[..., None].astype(float)
    each = numpy.array([0, 60, 120, 180, 255])
    yield 'P, a table', palette, {'transparency': bytes(each.tolist())}, table[index].astype(float), each[index][..., None] / 255
    yield (
        'L, one value',
        Image.fromarray(index),
        {'transparency': 2},
        numpy.repeat(index[..., None], 3, -1).astype(float),
        (index != 2)[..., None].astype(float),
    )
    rgb = table[index]
    yield (
        'RGB, one colour',
        Image.fromarray(rgb),
        {'transparency': tuple(table[1].tolist())},
        rgb.astype(float),
        (rgb != table[1]).any(-1)[..., None].astype(float),
    )
    bits = NOISE[..., 0] > 128
    yield '1, one value', Image.fromarray(bits), {'transparency': 255}, numpy.repeat(255.0 * bits[..., None], 3, -1), 1.0 - bits[..., None]
    deep = (257 * index.astype(int)).astype(numpy.uint16)
    yield (
        'I;16, one value',
        Image.fromarray(deep),
        {'transparency': 3 * 257},
        numpy.repeat(index[..., None], 3, -1).astype(float),
        (index != 3)[..., None].astype(float),
    )


CLEAR = {name: rest for name, *rest in clear_pictures()}


@pytest.mark.parametrize('ground, bytes_', [('white', (255, 255, 255)), ('black', (0, 0, 0)), ('#0a141e', (10, 20, 30)), ((1, 2, 3), (1, 2, 3))])
@pytest.mark.parametrize('name', CLEAR)
def test_what_is_transparent_shows_the_ground(name, ground, bytes_):
    image, how, colour, opacity = CLEAR[name]
    want = opacity * colour + (1 - opacity) * numpy.array(bytes_)
    assert abs(seen(save(image, 'PNG', **how), ground=ground) - want).max() <= 1


def test_the_ground_is_white_if_nobody_says():
    data = save(Image.new('RGBA', (2, 2), (9, 9, 9, 0)), 'PNG')
    assert (seen(data) == 255).all() and (seen(Image.open(io.BytesIO(data))) == 255).all()


def test_colours_of_sixteen_bits_may_be_transparent():
    "A PNG of 16 bits a colour, two by one: one of its colours is the one that nobody is to see."
    clear, other = struct.pack('>3H', 0x1234, 0x5678, 0x9ABC), struct.pack('>3H', 0xFF00, 0x0000, 0x8000)
    data = png(2, 1, (b'tRNS', clear), (b'IDAT', zlib.compress(b'\0' + clear + other)), (b'IEND', b''), depth=16)
    assert seen(data, ground='black').tolist() == [[[0, 0, 0], [255, 0, 128]]]


def test_a_picture_that_is_given_is_left_as_it_was():
    image = Image.fromarray(NOISE[..., :3])
    image.info['transparency'] = (0x1234, 0x5678, 0x9ABC)
    flatten(image)
    assert image.info['transparency'] == (0x1234, 0x5678, 0x9ABC) and numpy.array_equal(image, NOISE[..., :3])


@pytest.mark.parametrize('ground', ['nocolour', '#12', (1, 2), (1, 2, 256), (1.0, 2.0, 3.0), None, '#11223344'])
def test_a_ground_is_a_colour(ground):
    with pytest.raises(ValueError, match='ground is .*expected the name of a colour such as white'):
        read_picture('no file is asked for', ground=ground)


@pytest.mark.parametrize('kind', FORMATS)
def test_every_format_is_read_whatever_the_name(kind, tmp_path):
    data = save(Image.fromarray(NOISE[..., :3]), kind)
    (tmp_path / 'a.png').write_bytes(data)
    want = numpy.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
    assert numpy.array_equal(read_picture(tmp_path / 'a.png'), want) and numpy.array_equal(seen(data), want)


@pytest.mark.parametrize('kind', ['GIF', 'WEBP', 'PNG', 'TIFF'])
def test_of_a_picture_that_moves_the_first_is_read(kind):
    first, second = (Image.new('RGB', (4, 4), colour) for colour in ('red', 'blue'))
    data = save(first, kind, save_all=True, append_images=[second], **({'lossless': True} if kind == 'WEBP' else {}))
    assert Image.open(io.BytesIO(data)).n_frames == 2 and (seen(data) == (255, 0, 0)).all()


def test_two_jpegs_in_a_file_are_one_picture():
    data = save(Image.new('RGB', (8, 8), 'red'), 'MPO', save_all=True, append_images=[Image.new('RGB', (8, 8), 'blue')])
    assert Image.open(io.BytesIO(data)).format == 'MPO' and abs(seen(data).astype(int) - (255, 0, 0)).max() <= 2


def scans(kind):
    out = io.BytesIO()
    Image.fromarray(NOISE[..., :3]).save(out, kind, progressive=True)
    data = out.getvalue()
    last = data.rindex(b'\xff\xda')
    return data[:last] + data[last:-2] * 70 + data[-2:]


def two_large():
    "Two large JPEGs behind each other, as telephones write."
    big = Image.new('RGB', (8, 8))
    data = save(big, 'MPO', save_all=True, append_images=[big])
    last = data.rindex(b'\xff\xda')
    return data[:last] + data[last:-2] * 70 + data[-2:]


REFUSED = {  # what -> bytes, words
    'nothing': (b'', 'could not be read as PNG, JPEG, WebP, GIF, BMP or TIFF: its bytes are in none of these formats$'),
    'a text': (b'no picture', 'its bytes are in none of these formats$'),
    'an icon': (save(Image.new('RGB', (16, 16)), 'ICO'), 'its bytes are in none of these formats$'),
    'a JPEG that is cut short': (save(Image.fromarray(NOISE[..., :3]), 'JPEG')[:-60], 'could not be read as .*: .*truncated'),
    'a PNG that is cut short': (save(Image.fromarray(NOISE[..., :3]), 'PNG')[:90], 'could not be read as '),
    'too many scans': (scans('JPEG'), r'^a file has \d\d scans, more than 64$'),
    'too many scans of two': (two_large(), r'^a file has \d\d scans, more than 64$'),
    'a fax': (save(Image.fromarray(NOISE[..., 0] > 128), 'TIFF', compression='group4'), 'it is packed as group4, expected one of raw, packbits, tiff_lzw'),
    'whole numbers below 0': (save(Image.fromarray(numpy.int32([[-5, 7]])), 'TIFF'), 'its values run from -5 to 7, expected 0 for black to 65535 for white in mode I'),
    'whole numbers of 32 bits': (save(Image.fromarray(numpy.int32([[0, 65536]])), 'TIFF'), 'its values run from 0 to 65536, expected'),
    'floats of bytes': (save(Image.fromarray(numpy.float32([[0, 255]])), 'TIFF'), 'its values run from 0 to 255, expected 0 for black to 1 for white in mode F'),
    'a float that is none': (save(Image.fromarray(numpy.float32([[0, numpy.nan]])), 'TIFF'), 'its values run from nan to nan, expected'),
}  # fmt: skip


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_refused_is_named_once(name):
    data, words = REFUSED[name]
    with pytest.raises(ValueError, match=words) as caught:
        read_picture('a file', data)
    assert str(caught.value).count('a file') == 1 and ' at 0x' not in str(caught.value)


@pytest.mark.parametrize('content, words', [(None, 'No such file or directory'), ('folder', 'Is a directory')])
def test_a_file_that_cannot_be_opened_is_named_once(tmp_path, content, words):
    path = tmp_path / 'x.png'
    if content:
        path.mkdir()
    with pytest.raises(ValueError, match=words) as caught:
        read_picture(path)
    assert str(caught.value).count('x.png') == 1


def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png(width, height, *chunks, depth=8):
    "A PNG in colour, by hand."
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, 2, 0, 0, 0)) + b''.join(chunk(*c) for c in chunks)


@pytest.mark.parametrize('size', [(8192, 6144), (12000, 9000)])
def test_telephones_are_within_the_limit(size):
    "50 and 108 megapixels, without a word of Pillow's own limit."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with opened('a file', png(*size, (b'IDAT', b''))) as image:
            assert image.size == size


def test_only_what_was_exceeded_is_said(monkeypatch):
    with pytest.raises(ValueError, match='^a file has 12000 x 10001 pixels, more than 120,000,000 in all$'):
        read_picture('a file', png(12000, 10001, (b'IDAT', b'')))
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 53)
    with pytest.raises(ValueError, match='^a file has 9 x 6 pixels, more than 53 in all$'):
        read_picture('a file', save(Image.fromarray(NOISE[..., :3]), 'JPEG'))
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 54)
    assert read_picture('a file', save(Image.fromarray(NOISE[..., :3]), 'JPEG')).size == (9, 6)


# Crops and masks


@pytest.mark.parametrize('width, height', [(9, 6), (6, 9), (9, 4), (4, 9), (5, 5), (30, 1), (1, 30)])
def test_the_middle_is_the_middle(width, height):
    "As many pixels are cut off on the left as on the right, and above as below; of an odd rest one more at the end."
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    got = middle(Image.fromarray(pixels), side)
    assert numpy.array_equal(got.permute(1, 2, 0), pixels[top : top + side, left : left + side])


@pytest.mark.parametrize('width, height, size', [(9, 6, 6), (9, 6, 4), (6, 9, 16), (9, 6, 16), (30, 1, 8)])
def test_what_is_cut_off_is_not_seen(width, height, size):
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    other, side = RNG.integers(0, 256, pixels.shape, dtype=numpy.uint8), min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    other[top : top + side, left : left + side] = pixels[top : top + side, left : left + side]
    assert torch.equal(middle(Image.fromarray(pixels), size), middle(Image.fromarray(other), size))


def test_a_picture_shrinks_by_the_mean_and_grows_smoothly():
    pixels = RNG.integers(0, 256, (12, 20, 3), dtype=numpy.uint8)
    mean = pixels[:, 4:16].reshape(4, 3, 4, 3, 3).mean((1, 3))
    assert abs(middle(Image.fromarray(pixels), 4).permute(1, 2, 0).numpy() - mean).max() <= 1
    slope = numpy.repeat(numpy.arange(0, 200, 20, dtype=numpy.uint8)[None, :, None], 10, 0).repeat(3, 2)
    grown = middle(Image.fromarray(slope), 40)[0, 20].numpy().astype(int)
    assert (numpy.diff(grown) >= 0).all() and numpy.diff(grown).max() <= 8  # pixels that are only repeated would jump by 20


@pytest.mark.parametrize('shape, size', [((7, 9), (3, 4)), ((8, 8), (2, 2)), ((5, 5), (5, 5)), ((3, 4), (7, 9)), ((6, 6), (4, 4))])
def test_what_is_painted_covers_the_mask(shape, size):
    "A cell is painted if it shares any area with a white pixel, however little."
    for k in range(shape[0] * shape[1]):
        white = torch.zeros(shape, dtype=torch.bool)
        white.view(-1)[k] = True
        row, column = divmod(k, shape[1])
        touches = lambda i, n, at, m: i * m < (at + 1) * n and at * n < (i + 1) * m  # cell i of n, pixel at of m
        want = [[touches(i, size[0], row, shape[0]) and touches(j, size[1], column, shape[1]) for j in range(size[1])] for i in range(size[0])]
        assert torch.equal(cover(white, size), torch.tensor(want))
    many = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(1)) < 0.2
    assert torch.equal(cover(many, size), torch.stack([cover(m[0], size)[None] for m in many]))


def test_grey_is_white_from_the_middle_on():
    levels = numpy.arange(256, dtype=numpy.uint8)[None]
    assert white_of(Image.fromarray(levels)).tolist() == [[v >= 128 for v in range(256)]]
    assert white_of(Image.fromarray((levels.astype(numpy.uint16)) * 257)).tolist() == [[v >= 128 for v in range(256)]]
    assert white_of(Image.new('RGBA', (1, 1), (0, 0, 0, 0))).all()  # transparent is white, as everywhere
