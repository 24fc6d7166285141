"""Malformed input as data: what stands in a folder, and the command line that must refuse it. tests/test_bad_input.py runs them all.

A case makes its files, names the command, and says which words the one line of the answer must hold: the file, the field, what
was found, what is allowed. Pictures, captions, archives and paths are also counted by benchmarks/security.py.
"""

import contextlib
import gzip
import hashlib
import io
import json
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy
from PIL import Image

from benchmarks import fuzz
from diffbook import cli


@dataclass(frozen=True)
class Case:
    "Something wrong, and what must be said of it."

    make: Callable[[Path], object]  # puts files into an empty folder, the place where the command is run
    argv: tuple[str, ...]
    words: str  # regular expression


def answer(argv) -> tuple[object, str, str]:
    "Run a command line in this process: exit code, lines on stderr, lines on stdout."
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(list(argv))
            code = 'none'
        except SystemExit as stop:
            code = stop.code
    return code, err.getvalue(), out.getvalue()


def digest(root: Path) -> str:
    "Names and bytes of everything below `root`, folders and links too."
    total = hashlib.sha256()
    for path in sorted(root.rglob('*')):
        total.update(f'{path.relative_to(root)} {path.is_symlink()}\n'.encode('utf-8', 'surrogateescape'))
        total.update(path.read_bytes() if path.is_file() and not path.is_symlink() else b'')
    return total.hexdigest()


def fault(case: Case, root: Path) -> str:
    "What is wrong with the answer to a case; nothing if it is as promised. `root` is an empty folder, and where we are."
    case.make(root)
    before = digest(root)
    code, err, out = answer(case.argv)
    lines = [line for line in err.splitlines() if line.startswith('diffbook: ')]
    if code != 2:
        return f'exit code {code}, expected 2: {err}{out}'
    if len(lines) != 1 or 'Traceback' in err + out or not lines[0].isprintable():
        return f'not one line: {err}'
    if not re.search(case.words, lines[0]):
        return f'{lines[0]!r} does not hold {case.words!r}'
    return '' if digest(root) == before else 'something was left behind'


SAMPLE = ('sample', 'model', '--n', '1', '--steps', '1', '--out', 'x.png')
PUBLISHED = ('sample', 'published', '--n', '1', '--steps', '1', '--prompt', 'a', '--out', 'x.png')
RESUME = ('train', '--data', 'photos', '--size', '8', '--width', '8', '--steps', '3', '--batch-size', '2', '--out', 'run', '--resume')
TRAIN = ('train', '--data', 'photos', '--size', '8', '--width', '8', '--steps', '1', '--batch-size', '2', '--out', 'run')
TEXT = (*TRAIN, '--text')


# Whole things, made once and copied


@cache
def whole(name: str) -> dict[str, bytes]:
    "The files of a whole model, run or folder."
    import tempfile

    import torch

    makers = {'model': fuzz.make_model, 'reader': fuzz.make_reader, 'published': fuzz.tiny_pipeline, 'photos': photos, 'run': run}
    with tempfile.TemporaryDirectory() as place, torch.random.fork_rng([]):
        torch.manual_seed(0)
        home = Path(place) / name
        if name == 'run':
            with contextlib.chdir(place) if hasattr(contextlib, 'chdir') else moved(place):
                photos(Path('photos'))
                run(Path('run'))
        else:
            makers[name](home)
        return {p.relative_to(home).as_posix(): p.read_bytes() for p in sorted(home.rglob('*')) if p.is_file()}


@contextlib.contextmanager
def moved(place):
    import os

    before = os.getcwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)


def photos(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(2):
        Image.fromarray(numpy.full((8, 8, 3), 90 * k, numpy.uint8)).save(folder / f'{k}.png')


def run(folder: Path) -> None:
    code, err, _ = answer([a for a in RESUME if a != '--resume'])
    assert code == 0, err


def put(root: Path, *names: str) -> None:
    for name in names:
        for inner, data in whole(name).items():
            path = root / name / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def at(tree, path: str):
    "The place that dots name, and its last key."
    *way, last = path.split('.')
    for key in way:
        tree = tree[int(key) if isinstance(tree, list) else key]
    return tree, int(last) if isinstance(tree, list) else last


GONE = object()


def set_json(file: str, field: str, value: object, name: str, root: Path) -> None:
    put(root, name)
    path = root / name / file
    tree = json.loads(path.read_text())
    home, key = at(tree, field)
    if value is GONE:
        del home[key]
    else:
        home[key] = value
    path.write_text(json.dumps(tree))


def set_text(file: str, data: bytes, name: str, root: Path) -> None:
    put(root, name)
    (root / name / file).write_bytes(data)


# 150 configurations


def _ours() -> dict[str, Case]:
    net, cases = 'model.net.', {}
    wrong = {
        'in_channels': (0, -1, '1', None, 1.5, [1], 2**60), 'out_channels': (2.5, 'x'), 'channels': ([], 8, 'ab', [8], [8, '16'], [8, -16], [0, 16], [9, 16], [8, 16.5]),
        'blocks': ([], [1], [0, 1], ['1', 1], None, [1, -1]), 'heads': ([0, 0], [0, 0, 3], 'abc', [0, 0, -1]), 'groups': (0, -4, '4', 5, None),
        'patch': (0, 'two', -1), 'dropout': (2.0, -0.5, 'some', None), 'down_pad': ([1], 'ab', [1, 1, 1]), 'scale_shift': ('yes', 1, None),
        'eps': ('small', None), 'freq_shift': ('x',), 'cos_first': (3,), 'cond_dim': ('4', -1), 'seq_dim': ([], -2), 'img_channels': (1.0, -1),
        'layout.down_pad': ([1], 'ab', [2, 2]), 'layout.eps': ('small', None), 'layout.cos_first': (3,), 'layout': ('own', 3, None, []),
    }  # fmt: skip
    for field, values in wrong.items():
        for value in values:
            make = partial(set_json, 'config.json', net + field, value, 'model')
            cases[f'net {field} {str(value)[:20]}'] = Case(
                make, SAMPLE, rf'config\.json(?=.*{field.rpartition(".")[2]}).*(expected|cannot share|even multiple)'
            )
    for where, value, words in (
        ('model', None, 'model is None, expected'), ('model', [], 'model is'), ('model', 'UNet', "model is 'UNet', expected"), ('model', 3, 'model is 3, expected'),
        ('model.type', 'Transformer', "type is 'Transformer', expected one of"), ('model.type', '__import__', "type is '__import__', expected"),
        ('model.type', 'os.system', "type is 'os.system', expected"), ('model.type', None, 'type is None, expected'), ('model.type', ['UNet'], 'type is .*expected'),
        ('model.type', 'UNet', "UNet has no argument|lacks|does not fit"), ('model.net', 5, 'Denoiser.net is 5, expected'), ('model.net', GONE, "Denoiser lacks the argument 'net'"),
        ('model.net.type', 'VAE', "type is 'VAE', expected"), ('model.net.deep', 3, "UNet has no argument 'deep', expected"),
        ('model.schedule', GONE, "lacks the argument 'schedule'"), ('model.schedule', 'cosine', "Denoiser.schedule is 'cosine', expected Schedule"),
        ('model.schedule', {'type': 'DiscreteSchedule', 'betas': []}, 'betas has shape'), ('model.schedule', {'type': 'DiscreteSchedule', 'betas': ['x']}, 'DiscreteSchedule.betas is'),
        ('model.schedule', {'type': 'DiscreteSchedule', 'betas': [2.0]}, 'betas holds 2, expected'), ('model.schedule', {'type': 'DiscreteSchedule', 'betas': [1e999]}, 'betas is|JSON'),
        ('model.schedule', {'type': 'ShiftedSchedule', 'shift': 2.0}, "lacks the argument 'base'"), ('model.schedule', {'type': 'predict_v'}, 'Denoiser.schedule is .*expected Schedule'),
        ('model.schedule', {'type': 'ShiftedSchedule', 'base': {'type': 'CosineSchedule'}, 'shift': 0}, 'shift is 0, expected a positive number'),
        ('model.prediction', 'v', "Denoiser.prediction is 'v', expected"), ('model.prediction', {'type': 'predict_edm', 'sigma_data': 0.0}, 'sigma_data is 0.0, expected'),
        ('model.prediction', {'type': 'predict_eps'}, 'config.json: at .*t'), ('model.noise_input', 7, 'noise_input is 7, expected'),
        ('extra', 1, "unknown key 'extra', expected"), ('about', 'text', "about .* is 'text', expected"), ('about.shape', 'large', "about.shape .* is 'large', expected"),
        ('about.shape', [1, 8], r'about.shape .* is \[1, 8\], expected'), ('about.shape', [1, 0, 8], r'shape .*\[1, 0, 8\], expected'), ('about.shape', [1, 10**6, 10**6], r'shape .*expected .*4096'),
        ('about.shape', [1, '8', 8], 'about.shape .*expected'), ('about.shape', None, 'add --size'), ('about.shape', [3, 8, 8], r'expected'),
    ):  # fmt: skip
        cases[f'ours {where} {"gone" if value is GONE else str(value)[:40]}'] = Case(partial(set_json, 'config.json', where, value, 'model'), SAMPLE, words)
    for name, data in {'no JSON': b'{', 'a list': b'[]', 'nothing': b'', 'binary': b'\xff\xfe\0', 'a key twice': b'{"a": 1, "a": 2}', 'deep': b'[' * 100_000, 'a number': b'7',
                       'a word': b'nonsense', 'two objects': b'{}{}', 'a byte order mark': b'\xef\xbb\xbf{}'}.items():  # fmt: skip
        cases[f'ours is {name}'] = Case(partial(set_text, 'config.json', data, 'model'), SAMPLE, 'config.json (is not JSON|holds)')
    return cases


def _published() -> dict[str, Case]:
    cases, unet, vae, tower, plan, words = (
        {},
        'unet/config.json',
        'vae/config.json',
        'text_encoder/config.json',
        'scheduler/scheduler_config.json',
        'tokenizer/tokenizer_config.json',
    )
    wrong = {
        unet: {'in_channels': ('four', 0), 'block_out_channels': ([], 'x', [8, 10**9]), 'layers_per_block': (0, 'one', 10**9), 'attention_head_dim': ('x', [0, 1]),
               'norm_num_groups': (0, None), 'down_block_types': ('x', [], ['Other'] * 2), 'act_fn': ('relu',), 'cross_attention_dim': ([6], -1), '_class_name': ('UNet3D', 7),
               'sample_size': ('large', 10**9), 'num_class_embeds': ('x',), 'colour': (3,)},
        vae: {'latent_channels': (0, 'x'), 'scaling_factor': ('x', None), 'block_out_channels': ({}, [0]), 'up_block_types': (3,), 'latents_std': ('x',), '_class_name': ('VQModel',)},
        tower: {'hidden_size': (0, '6'), 'num_hidden_layers': (0, 10**9), 'num_attention_heads': (4, None), 'hidden_act': ('relu', 3), 'vocab_size': (-1,), 'architectures': (['BertModel'], 5)},
        plan: {'beta_schedule': ('round', 3), 'num_train_timesteps': (0, 10**12, 'x'), 'prediction_type': ('noise',), 'trained_betas': ('x', [2.0], [], [0.5, None]),
               'timestep_spacing': ('random', 4), 'steps_offset': (-1, 'x'), '_class_name': ('MyScheduler',), 'thresholding': (True,), 'clip_sample_range': ('x',)},
        words: {'model_max_length': ('x', -5, None), 'tokenizer_class': ('BertTokenizer', 7)}, 'tokenizer/special_tokens_map.json': {'pad_token': (5, ['a'])},
    }  # fmt: skip
    for file, fields in wrong.items():
        for field, values in fields.items():
            for value in values:
                make = partial(set_json, file, field, value, 'published')
                named = {
                    'model_max_length': '(model_max_length|context)',
                    'tokenizer_class': '',
                    '_class_name': '',
                    'architectures': '',
                    'num_attention_heads': 'heads',
                    'timestep_spacing': 'spacing',
                }.get(field, field)
                cases[f'{file} {field} {str(value)[:20]}'] = Case(
                    make, PUBLISHED, rf'{Path(file).parts[0]}(?=.*{named}).*(expected|supported|unknown key|cannot)'
                )
    for file in (unet, vae, tower, plan, words, 'tokenizer/vocab.json'):
        cases[f'{file} is a list'] = Case(partial(set_text, file, b'[1]', 'published'), PUBLISHED, rf'{Path(file).name} holds list, expected an object')
    return cases


CONFIGS = _ours() | _published()


# 100 checkpoints


def set_bytes(name: str, pattern: str, change: Callable[[bytes], bytes], root: Path, mend: Callable | None = None) -> None:
    "Change the files of a name, and if asked for make their digests right again."
    put(root, name, *(['photos'] if name == 'run' else []))
    for path in sorted((root / name).glob(pattern)):
        path.write_bytes(change(path.read_bytes()))
    if mend:
        mend(root / name)


def head(data: bytes) -> dict:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], 'little')])


def with_head(change: Callable[[dict], object], data: bytes) -> bytes:
    "The same file with another header."
    header = head(data)
    header = change(header) or header
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + data[8 + int.from_bytes(data[:8], 'little') :]


def _first(header: dict) -> dict:
    return next(v for k, v in sorted(header.items()) if k != '__metadata__')


def _last(header: dict) -> dict:
    return max((v for k, v in header.items() if k != '__metadata__'), key=lambda v: v['data_offsets'][1])


def _grow(header: dict) -> None:
    _last(header)['data_offsets'][1] += 4


def _renamed(header: dict) -> None:
    name = min(k for k in header if k != '__metadata__')
    header['other'] = header.pop(name)


HEADS = {  # what a header says that is not so
    'another kind': lambda h: _first(h).update(dtype='F64'), 'an unknown kind': lambda h: _first(h).update(dtype='Q7'), 'a kind that is a number': lambda h: _first(h).update(dtype=4),
    'a shape too large': lambda h: _first(h)['shape'].append(2), 'a shape of a terabyte': lambda h: _first(h).update(shape=[1 << 20, 1 << 20]),
    'a shape below zero': lambda h: _first(h).update(shape=[-1]), 'a shape of text': lambda h: _first(h).update(shape='large'), 'no shape': lambda h: _first(h).pop('shape') and None,
    'places past the end': _grow, 'places before the start': lambda h: _first(h).update(data_offsets=[-4, 0]),
    'places that overlap': lambda h: _last(h).update(data_offsets=_first(h)['data_offsets']), 'three places': lambda h: _first(h)['data_offsets'].append(0),
    'places of text': lambda h: _first(h).update(data_offsets=['a', 'b']), 'a tensor that is a number': lambda h: h.update(extra=3), 'metadata of numbers': lambda h: h.update(__metadata__={'a': 1}),
    'metadata that is a list': lambda h: h.update(__metadata__=[]), 'a header that is a list': lambda h: [1], 'a header that is empty': lambda h: {'__metadata__': {}},
    'a gap': lambda h: h.pop(min(k for k in h if k != '__metadata__')) and None, 'one more key': lambda h: _first(h).update(extra=1),
}  # fmt: skip
BODIES = {  # what else happens to a file of weights
    'no bytes': lambda d: b'', 'one byte': lambda d: b'7', 'seven bytes': lambda d: b'1234567', 'eight bytes': lambda d: b'\0' * 8, 'nothing but zeros': lambda d: bytes(len(d)),
    'a header of a terabyte': lambda d: (1 << 40).to_bytes(8, 'little') + d[8:], 'a header of all bytes': lambda d: b'\xff' * 8 + d[8:], 'a header of two megabytes': lambda d: (1 << 21).to_bytes(8, 'little') + b' ' * (1 << 21),
    'no last byte': lambda d: d[:-1], 'a byte more': lambda d: d + b'\0', 'half': lambda d: d[: len(d) // 2], 'a quarter': lambda d: d[: len(d) // 4], 'twice': lambda d: d * 2,
    'a page of zeros': lambda d: bytes(64) + d[64:], 'text': lambda d: b'these are no weights', 'HTML': lambda d: b'<!DOCTYPE html><html>not found</html>', 'gzip': lambda d: gzip.compress(d),
    'a pickle': lambda d: b'\x80\x04cos\nsystem\n(S"true"\ntR.', 'a pointer of Git LFS': lambda d: b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n', 'reversed': lambda d: d[::-1],
}  # fmt: skip


def _flip(share: float, data: bytes) -> bytes:
    data = bytearray(data)
    data[int(share * (len(data) - 1))] ^= 4
    return bytes(data)


def _weights() -> dict[str, Case]:
    cases, unet = {}, 'unet/diffusion_pytorch_model.safetensors'
    for name, change in HEADS.items():
        changed = partial(with_head, change)
        cases[f'model of {name}'] = Case(
            partial(set_bytes, 'model', '*.safetensors', changed), SAMPLE, 'model.safetensors is damaged|model.safetensors.*expected'
        )
        if name not in ('metadata of numbers', 'metadata that is a list'):
            cases[f'published with {name}'] = Case(
                partial(set_bytes, 'published', unet, changed), PUBLISHED, f'{Path(unet).name}.*(damaged|could not be read)|does not fit'
            )
        cases[f'checkpoint of {name}'] = Case(
            partial(set_bytes, 'run', 'checkpoints/*.safetensors', changed, mend=_named), RESUME, 'holds . checkpoints and all are damaged'
        )
    for name, change in BODIES.items():
        cases[f'model is {name}'] = Case(partial(set_bytes, 'model', '*.safetensors', change), SAMPLE, 'model.safetensors is damaged')
        cases[f'checkpoint is {name}'] = Case(
            partial(set_bytes, 'run', 'checkpoints/*.safetensors', change), RESUME, 'run.checkpoints holds . checkpoints and all are damaged'
        )
    for share in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1):
        cases[f'model with a bit flipped at {share}'] = Case(
            partial(set_bytes, 'model', '*.safetensors', partial(_flip, share)), SAMPLE, 'model.safetensors is damaged'
        )
    for name, change in {'another name': _renamed}.items():
        cases[f'published with {name}'] = Case(
            partial(set_bytes, 'published', unet, partial(with_head, change)), PUBLISHED, 'does not fit the model; missing: .*unexpected: other'
        )
    return cases


def _named(folder: Path) -> None:
    fuzz.named(folder / 'checkpoints')


CHECKPOINTS = _weights()


# 80 pictures


def png(*chunks: tuple[bytes, bytes], sums: bool = True) -> bytes:
    data = b'\x89PNG\r\n\x1a\n'
    for kind, body in chunks:
        data += len(body).to_bytes(4, 'big') + kind + body + (zlib.crc32(kind + body) if sums else 7).to_bytes(4, 'big')
    return data


def ihdr(width: int, height: int, depth: int = 8, colour: int = 2, packing: int = 0, filtering: int = 0, interlace: int = 0) -> tuple[bytes, bytes]:
    return b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, packing, filtering, interlace)


def picture(kind: str, size: tuple[int, int] = (16, 12), mode: str = 'RGB', **how) -> bytes:
    out = io.BytesIO()
    pixels = numpy.random.default_rng(1).integers(0, 256, (*size[::-1], 3), numpy.uint8)
    Image.fromarray(pixels).convert(mode).save(out, kind, **how)
    return out.getvalue()


END, DOT = (b'IEND', b''), (b'IDAT', zlib.compress(bytes(4 * 3 + 4)))


def _many_scans() -> bytes:
    data = picture('JPEG', progressive=True)
    last = data.rindex(b'\xff\xda')
    return data[:last] + data[last:-2] * 80 + data[-2:]


@cache
def pictures() -> dict[str, bytes]:
    "Files that are no pictures, or none that should be opened."
    good, jpeg, webp = picture('PNG'), picture('JPEG'), picture('WEBP')
    found = {
        'nothing': b'', 'one byte': b'\x89', 'a text': b'no picture', 'the beginning of a PNG': good[:8], 'a PNG without data': png(ihdr(2, 2), END), 'zeros': bytes(500),
        'HTML': b'<html><body>404</body></html>', 'SVG': b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', 'PDF': b'%PDF-1.4\n', 'a pickle': b'\x80\x04cos\nsystem\n.',
        'EPS': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'a zip': b'PK\x03\x04' + bytes(40), 'gzip': gzip.compress(good), 'FITS': b'SIMPLE  =                    T' + bytes(2880),
        'a script': b'#!/bin/sh\ntrue\n', 'ICO': b'\0\0\1\0\1\0' + bytes(40), 'PSD': b'8BPS\0\1' + bytes(40), 'a PNG of no width': png(ihdr(0, 2), DOT, END), 'a PNG of no height': png(ihdr(2, 0), DOT, END),
        'a PNG of 3 gigapixels': png(ihdr(60_000, 50_000), DOT, END), 'a PNG of 2^31 pixels a side': png(ihdr(2**31 - 1, 2**31 - 1), DOT, END), 'a PNG of 48 megapixels': png(ihdr(8000, 6000), DOT, END),
        'a PNG of one long row': png(ihdr(2**26, 1), DOT, END), 'a PNG of another depth': png(ihdr(2, 2, depth=7), DOT, END), 'a PNG of another colour': png(ihdr(2, 2, colour=9), DOT, END),
        'a PNG of wrong sums': png(ihdr(2, 2), DOT, END, sums=False), 'a PNG with too little data': png(ihdr(200, 200), DOT, END),
        'a PNG with data that is none': png(ihdr(2, 2), (b'IDAT', b'nonsense'), END), 'a PNG of two heads': png(ihdr(2, 2), ihdr(2**20, 2**20), DOT, END), 'a PNG that begins with data': png(DOT, ihdr(2, 2), END),
        'a PNG with a palette of nothing': png(ihdr(2, 2, colour=3), DOT, END)[:-30], 'a PNG with a bomb of text': png(ihdr(2, 2), (b'zTXt', b'a\0\0' + zlib.compress(bytes(1 << 24))), DOT, END),
        'a PNG with a bomb of a profile': png(ihdr(2, 2), (b'iCCP', b'a\0\0' + zlib.compress(bytes(1 << 24))[:-9]), (b'IDAT', b''), END),
        'a PNG whose chunk has two gigabytes': png(ihdr(2, 2)) + b'\x7f\xff\xff\xffIDAT' + bytes(50), 'a PNG with a chunk of no name': png(ihdr(2, 2)) + b'\0\0\0\4\1\2\3\4' + bytes(8),
        'a JPEG of nothing': b'\xff\xd8\xff\xd9', 'a JPEG without tables': b'\xff\xd8\xff\xc0\0\x0b\x08\0\x02\0\x02\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0\0\xff\xd9',
        'a JPEG of 65500 a side': jpeg.replace(struct.pack('>HH', 12, 16), struct.pack('>HH', 65500, 65500), 1), 'a JPEG of no height': jpeg.replace(struct.pack('>HH', 12, 16), struct.pack('>HH', 0, 16), 1),
        'a JPEG of 81 scans': _many_scans(), 'a JPEG that ends in its head': jpeg[:100], 'a JPEG of noise': jpeg[:2] + numpy.random.default_rng(0).bytes(900),
        'a WebP of 16383 a side': b'RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f' + struct.pack('<I', 16382 | 16382 << 14) + bytes(20), 'a WebP of nothing': b'RIFF\4\0\0\0WEBP', 'a WebP of a wrong length': webp[:4] + b'\xff\xff\xff\x7f' + webp[8:60],
        'a RIFF that is a sound': b'RIFF\x24\0\0\0WAVEfmt ' + bytes(30),
    }  # fmt: skip
    for kind in ('PPM', 'TGA', 'ICO', 'PCX', 'SGI', 'JPEG2000', 'DDS', 'MSP', 'XBM', 'PDF'):
        with contextlib.suppress(Exception):  # what this Pillow cannot write is left out
            found[f'a {kind}'] = picture(kind, mode='1' if kind in ('MSP', 'XBM') else 'RGB')
    for share in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95):
        for name, data in (
            ('PNG', good),
            ('JPEG', jpeg),
            ('WebP', webp),
            ('GIF', picture('GIF')),
            ('BMP', picture('BMP')),
            ('TIFF', picture('TIFF', compression='tiff_lzw')),
        ):
            found[f'{share:.0%} of a {name}'] = data[: int(share * len(data))]
    return found


def set_picture(data: str, root: Path) -> None:
    "A folder of pictures, one of which is bad."
    put(root, 'photos')
    (root / 'photos' / 'bad.png').write_bytes(pictures()[data])


IMAGES = {
    f'picture that is {name}': Case(partial(set_picture, name), TRAIN, r'photos.bad\.png (could not be read as PNG, JPEG|has .* (pixels|scans), more than)')
    for name in pictures()
}


# 50 captions


def captions() -> dict[str, tuple[object, str]]:
    "What stands beside a picture, and what is said of it."
    bad: dict[str, tuple[object, str]] = {
        f'control character {n:#04x}': (f'a{chr(n)}b'.encode(), f'control character U.{n:04X}')
        for n in (0, 1, 2, 7, 8, 11, 12, 14, 27, 28, 31, 127, 0x80, 0x85, 0x9B, 0x9F)
    }
    bad |= {
        f'bytes {data.hex()}': (data, 'is not UTF-8') for data in (b'\xff', b'\xfe\xff\0a', b'\xff\xfea\0', b'caf\xe9', b'\xc0\xaf', b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'\xe2\x82', b'a\x80', b'\xf8\x88\x80\x80\x80',
                                                                  b'\xef\xbf', b'\xff\xfe\0\0a\0\0\0')
    }  # fmt: skip
    bad |= {
        name: (data, 'is empty, expected a caption')
        for name, data in {'nothing': b'', 'a space': b' ', 'lines': b'\n\r\n\t', 'a mark': b'\xef\xbb\xbf', 'a wide space': '\u3000'.encode()}.items()
    }
    bad |= (
        {f'{n} bytes': (b'a' * n, 'bytes, expected at most 65,536') for n in (65_537, 100_000, 1 << 20)}
        | {
            'many wide letters': ('ü' * 40_000).encode(),
        }
        | {}
    )
    return {k: v if isinstance(v, tuple) else (v, 'bytes, expected at most 65,536') for k, v in bad.items()} | {
        'a folder': ('folder', 'is not there: 1 of 2 images have a caption'), 'missing': (None, 'is not there: 1 of 2 images have a caption'), 'a link to nowhere': ('link', 'is not there: 1 of 2'),
        'a terminal sequence': (b'\x1b]0;title\x07', 'control character U.001B'), 'a picture': (picture('PNG'), 'is not UTF-8'), 'a pickle': (b'\x80\x04.', 'is not UTF-8'),
    }  # fmt: skip


def set_caption(data: object, root: Path) -> None:
    put(root, 'photos')
    (root / 'photos' / '0.txt').write_text('a small red circle')
    path = root / 'photos' / '1.txt'
    if data == 'folder':
        path.mkdir()
    elif data == 'link':
        path.symlink_to('nowhere')
    elif data is not None:
        path.write_bytes(data)


def set_reader(root: Path) -> None:
    put(root, 'reader')


ASK = ('sample', 'reader', '--n', '1', '--steps', '1', '--out', 'x.png')
CAPTIONS = {f'caption of {name}': Case(partial(set_caption, data), TEXT, rf'photos.1\.txt {words}|1\.txt.*{words}') for name, (data, words) in captions().items()} | {
    f'{option} of {name}': Case(set_reader, (*ASK, option, text), rf'{option}.*{words}')
    for option in ('--prompt', '--negative')
    for name, text, words in (('an escape', 'a\x1b[31m', 'control character U.001B'), ('a zero', 'a\0', 'control character U.0000'), ('half a letter', 'a\udcff', 'U.DCFF'), ('a long text', 'a ' * 40_000, 'bytes, expected at most'))
}  # fmt: skip


# 40 archives


CIFAR = ('train', '--data', 'cifar10', '--data-root', 'root', '--width', '8', '--steps', '1', '--out', 'run')
MNIST = ('train', '--data', 'mnist', '--data-root', 'root', '--width', '8', '--steps', '1', '--out', 'run')
EMOJI = ('train', '--data', 'emoji', '--data-root', 'root', '--width', '8', '--size', '8', '--steps', '1', '--out', 'run')
BATCH = 'cifar-10-batches-bin/data_batch_1.bin'


def member(name: str, data: bytes = b'', kind: bytes = tarfile.REGTYPE, link: str = '', **more) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@cache
def bomb(megabytes: int) -> bytes:
    "A gzip that unpacks to so many megabytes of zeros."
    piece = gzip.compress(bytes(1 << 24), 9, mtime=0)
    return piece * (megabytes // 16)


@cache
def tars() -> dict[str, tuple[bytes, str]]:
    "Compressed archives that are not the one of CIFAR-10."
    sized = tar(member(BATCH, b'x' * 100))
    negative = bytearray(sized)
    negative[124:136] = b'\xff' * 12
    packed = {
        'an empty archive': (tar(), ''), 'another file': (tar(member('other.bin', b'x')), ''), 'a short batch': (sized, 'of 100 bytes, expected a file of 30730000'),
        'a batch that is a folder': (tar(member(BATCH, kind=tarfile.DIRTYPE)), 'expected a file of 30730000'), 'a batch twice': (tar(member(BATCH, b'1'), member(BATCH, b'2')), 'expected'),
        'a batch that is a link': (tar(member(BATCH, kind=tarfile.SYMTYPE, link='/etc/passwd')), 'expected a file of'), 'a batch that is a hard link': (tar(member(BATCH, kind=tarfile.LNKTYPE, link='../x')), 'expected a file of'),
        'a link': (tar(member('a', kind=tarfile.SYMTYPE, link='../../..')), 'a link'), 'a hard link': (tar(member('a', kind=tarfile.LNKTYPE, link='/etc/shadow')), 'a link'),
        'a device': (tar(member('a', kind=tarfile.CHRTYPE, devmajor=1, devminor=5)), 'a link or'), 'a block device': (tar(member('a', kind=tarfile.BLKTYPE)), 'a link or'), 'a pipe': (tar(member('a', kind=tarfile.FIFOTYPE)), 'a link or'),
        'a path outside': (tar(member('../../outside', b'x')), ''), 'an absolute path': (tar(member('/tmp/outside', b'x')), ''), 'a path with a zero': (tar(member('a', b'x')).replace(b'a\0', b'a\0b', 1), ''),
        'many files': (tar(*(member(f'f{k}', b'') for k in range(40))), 'the entry 32, expected at most 32'), 'a size below zero': (bytes(negative), ''),
        'a size of all bits': (sized[:124] + b'\x80' + b'\x7f' * 11 + sized[136:], ''), 'a wrong sum': (sized[:148] + b'0000000\0' + sized[156:], ''), 'a name of a megabyte': (tar(member('a' * (1 << 20), b'x'), form=tarfile.GNU_FORMAT), ''),
        'a header of a megabyte': (tar(member('a', b'x', pax_headers={'comment': 'c' * (1 << 20)})), ''), 'an archive in an archive': (tar(member('a.tar.gz', gzip.compress(sized))), ''), 'a sparse file': (sized[:156] + b'S' + sized[157:], ''),
        'zeros': (bytes(10_240), ''), 'text': (b'text ' * 500, ''), 'an archive cut short': (sized[:700], ''), 'a kind nobody knows': (sized[:156] + b'Q' + sized[157:], ''),
    }  # fmt: skip
    raw = {
        'no gzip': (sized, ''), 'nothing': (b'', ''), 'HTML': (b'<html>', ''), 'gzip cut short': (gzip.compress(sized)[:-12], ''), 'a wrong end of gzip': (gzip.compress(sized)[:-4] + b'\0\0\0\7', ''),
        'a bomb of 320 megabytes': (gzip.compress(tar(member('a', b''))[:512].replace(b'00000000000', b'02400000000', 1)[:124] + b'02400000000\0', 9) and _large_file(), 'unpacks to more than'),
    }  # fmt: skip
    return {k: (gzip.compress(v, mtime=0), words) for k, (v, words) in packed.items()} | raw


def _large_file() -> bytes:
    "An archive of one file of 320 megabytes, in a third of one."
    info, _ = member('a', b'')
    info.size = 320 << 20
    return gzip.compress(info.tobuf(), mtime=0) + bomb(320)


def idx(*shape: int, body: bytes = b'') -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b''.join(n.to_bytes(4, 'big') for n in shape) + body


def idxs() -> dict[str, tuple[bytes, str]]:
    return {
        'images of a gigabyte': (gzip.compress(idx(1 << 14, 256, 256)), 'expected at most'), 'images of 2^96 bytes': (gzip.compress(idx(*[2**32 - 1] * 3)), 'expected at most'), 'a bomb': (gzip.compress(idx(1, 28, 28)) + bomb(160), 'holds more bytes'),
        'images that are none': (gzip.compress(b'hello world, this is text'), 'begins with'), 'images without their end': (gzip.compress(idx(2, 28, 28, body=bytes(100))), 'holds 100 bytes of data'),
    }  # fmt: skip


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace('_npy', '.npy'), data)
    return out.getvalue()


def npy(shape: str, body: bytes = b'', kind: str = '|u1') -> bytes:
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b'\x93NUMPY\x01\0' + len(text).to_bytes(2, 'little') + text + body


def npzs() -> dict[str, tuple[bytes, str]]:
    return {
        'a zip of other files': (zipped(other=b'x'), ''), 'an array of objects': (zipped(images_npy=npy('(1,)', b'\x80\x04.', '|O')), ''), 'an array of a terabyte': (zipped(images_npy=npy('(100000000, 64, 64, 3)')), ''),
        'an array that is code': (zipped(images_npy=npy("__import__('os').system('touch outside')")), ''), 'a bomb of 320 megabytes': (zipped(images_npy=bytes(320 << 20)), 'expected at most'),
        'many files': (zipped(images_npy=b'', **{f'f{k}': b'' for k in range(50)}), 'holds 51 files'), 'a zip cut short': (zipped(images_npy=npy('(1, 64, 64, 3)', bytes(12_288)))[:-30], ''), 'a pickle': (b'\x80\x04cos\nsystem\n.', ''),
    }  # fmt: skip


def set_archive(kind: str, name: str, root: Path) -> None:
    data = {'tar': tars, 'idx': idxs, 'npz': npzs}[kind]()[name][0]
    folder = root / 'root' / {'tar': 'CIFAR10', 'idx': 'MNIST/raw', 'npz': 'emoji'}[kind]
    folder.mkdir(parents=True)
    if kind == 'tar':
        (folder / 'cifar-10-binary.tar.gz').write_bytes(data)
    elif kind == 'idx':
        (folder / 'train-images-idx3-ubyte.gz').write_bytes(data)
        (folder / 'train-labels-idx1-ubyte.gz').write_bytes(gzip.compress(idx(2, body=b'\1\2')))
    else:
        for style in ('noto', 'fluent-3d'):
            (folder / style).mkdir()
            (folder / style / 'images.npz').write_bytes(data)
            (folder / style / 'captions.json').write_text('[]')


def _archives() -> dict[str, Case]:
    cases = {}
    for kind, table, argv, words in (
        ('tar', tars(), CIFAR, r'cifar-10-binary\.tar\.gz is damaged'),
        ('idx', idxs(), MNIST, r'train-images-idx3-ubyte\.gz'),
        ('npz', npzs(), EMOJI, 'emoji.noto is damaged'),
    ):
        cases |= {f'{kind}: {name}': Case(partial(set_archive, kind, name), argv, f'{words}.*{said}') for name, (_, said) in table.items()}
    return cases


ARCHIVES = _archives()


# 60 paths: names that others wrote, and names that should not lead out


NAMES = (
    '../x.safetensors', '../../etc/passwd', '/etc/passwd', '/etc/x.safetensors', '..', '.', '', 'a/../../x.safetensors', 'unet/../x.safetensors', './x.safetensors', 'a//x.safetensors', '..\\x.safetensors', 'C:\\x.safetensors',
    '\\\\host\\share\\x.safetensors', 'a\0.safetensors', 'x.safetensors\0.txt', '~/x.safetensors', '$HOME/x.safetensors', 'file:///etc/passwd', 'https://example.org/x.safetensors', '/dev/zero', '/dev/stdin', '/proc/self/environ', 'CON',
    'NUL.txt', 'a' * 300 + '.safetensors', 'x.bin', 'x.pt', 'x.safetensors/', '%2e%2e/x.safetensors', '\u2024\u2024/x.safetensors', 'x.safetensors ', '-rf', '|touch outside',
)  # fmt: skip


def set_index(name: object, root: Path) -> None:
    "Weights in shards, by an index that names another file."
    put(root, 'published')
    for folder in (root, root / 'published'):
        (folder / 'x.safetensors').write_bytes(whole('model')['model.safetensors'])
    folder = root / 'published' / 'unet'
    (folder / 'diffusion_pytorch_model.safetensors').rename(folder / 'part.safetensors')
    (folder / 'diffusion_pytorch_model.safetensors.index.json').write_text(json.dumps({'weight_map': {'a': name}}))


def set_nothing(root: Path) -> None:
    put(root, 'photos')
    (root / 'link').symlink_to('nowhere/at/all')
    (root / 'file').write_text('here')


def _paths() -> dict[str, Case]:
    cases = {
        f'index names {name[:40]!r}': Case(
            partial(set_index, name),
            PUBLISHED,
            'names the file .*expected a .safetensors file beside it'
            if {'/', '\\'} & {*name} or not name.endswith('.safetensors')
            else 'lacks .*names|too long',
        )
        for name in NAMES
    }
    cases |= {f'index of {str(v)[:20]}': Case(partial(set_index, v), PUBLISHED, 'has no weight_map') for v in (3, None, ['x.safetensors'], {'a': 'b'})}
    long, many = 'a' * 300, 'a/' * 2100
    for name in (f'{long}', f'{many}x', 'a\0b', 'file/x', 'nowhere\nat all', '../' * 40 + 'nowhere/x'):
        cases[f'model {name[:20]!r}'] = Case(set_nothing, ('sample', name, '--out', 'x.png'), '(no model|too long|null|Not a directory|expected)')
        cases[f'data {name[:20]!r}'] = Case(
            set_nothing, ('train', '--data', name, '--out', 'run', '--width', '8'), '(data set is|too long|null|Not a directory|expected)'
        )
        cases[f'picture {name[:20]!r}'] = Case(
            set_nothing, ('sample', 'fashion-mnist', '--n', '1', '--steps', '1', '--image', name, '--out', 'x.png'), 'could not be read|too long|null|(a/){400}'
        )
    for name in ('/dev/null/x.png', f'{long}.png', 'file/x.png', 'a\0.png', 'link/../x.png/'):
        cases[f'out {name[:20]!r}'] = Case(
            set_nothing,
            ('sample', 'fashion-mnist', '--n', '1', '--steps', '1', '--out', name),
            '(ends in .png|too long|null|Not a directory|exists|No such|expected)',
        )
    return cases


PATHS = _paths()
