"""Mutants of every kind of file that the library reads, and what the loaders make of them.

    python -m benchmarks.fuzz model 2000 --seed 7      one loader, in this process; prints what is not as it should be

A mutant is made from a whole file by a few changes: of bits and bytes, of the JSON within (a value of another kind, a key
that is gone or there twice, a list in a list), of the numbers of a header. Case k of a loader depends on the seed and k alone.
What is right: the file is read, or an error of our kind (ValueError, or OSError) says why not, within a second of
processor time and bounded memory. Where a digest guards the content, half of the mutants carry the right one of theirs.
"""

import argparse
import copy
import functools
import gzip
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import nn

SECONDS, MEMORY = 1.0, 1 << 30  # that one file may cost

# Changes


WEIRD = (
    None, True, False, 0, -1, 1, 2, 3, 255, 2**31, 2**53, 2**63, 2**64, 10**40, 0.5, -0.0, 1e-320, 1e308, float('nan'), float('inf'), '', 'x', 'a' * 3000,
    '../../etc/passwd', '/etc/passwd', 'a\0b', '\ud800', '\x1b[2J', 'F32', 'U8', [], {}, [[]], [0], [-1], [0] * 300, [1, 2, 3], ['x'], {'type': 'os.system'},
    {'type': 'UNet'}, {'type': 'CosineSchedule'}, {'__class__': 'x'}, [2**40, 2**40], [[[[[[[[[]]]]]]]]],
)  # fmt: skip


def places(tree, path=()) -> Iterator[tuple]:
    "Every place of a JSON value."
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def weird(r: random.Random):
    return copy.deepcopy(r.choice(WEIRD))


def change_tree(tree, r: random.Random):
    "The same JSON value with one to three changes."
    tree = json.loads(json.dumps(tree))
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        everywhere = list(places(tree))
        path = r.choice(everywhere[1:] or everywhere)
        if not path:
            return weird(r)
        home = functools.reduce(lambda t, k: t[k], path[:-1], tree)
        key, what = path[-1], r.randrange(8)
        if what < 4:
            home[key] = weird(r)
        elif what == 4:
            del home[key]
        elif what == 5 and isinstance(home, dict):
            home[r.choice(('', 'extra', 'type', 'dtype', '__metadata__', key + 'x'))] = home.pop(key)
        elif what == 6:
            home[key] = [home[key]] * r.choice((1, 2, 50))
        elif type(home[key]) in (int, float):
            home[key] = r.choice((-home[key], home[key] + 1, home[key] - 1, home[key] * 2, home[key] * 10**9, str(home[key])))
        else:
            home[key] = weird(r)
    return tree


def change_text(text: bytes, r: random.Random) -> bytes:
    "JSON that may be none."
    what = r.randrange(12)
    if what == 0:
        return b'[' * r.choice((10, 1000, 100_000)) + text
    if what == 1 and b':' in text:
        return text.replace(b'{', b'{"a":1,"a":2,', 1)
    if what == 2:
        return change_bytes(text, r)
    return text


def change_json(data: bytes, r: random.Random) -> bytes:
    return change_text(json.dumps(change_tree(json.loads(data), r)).encode('utf-8', 'surrogatepass'), r)


def change_bytes(data: bytes, r: random.Random) -> bytes:
    "One to four changes of bits and bytes."
    data = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 4))):
        at = r.randrange(len(data) + 1)
        what = r.randrange(9)
        if what == 0 and data:
            data[at - 1] ^= 1 << r.randrange(8)
        elif what == 1 and data:
            data[at - 1] = r.choice((0, 1, 0x7F, 0x80, 0xFF, r.randrange(256)))
        elif what == 2:
            del data[at : at + r.choice((1, 2, 8, 100))]
        elif what == 3:
            data[at:at] = r.randbytes(r.choice((1, 4, 64)))
        elif what == 4:
            del data[at:]
        elif what == 5:
            data[at:at] = data[at : at + r.choice((4, 64, 1000))]
        elif what == 6:
            n = r.choice((2, 4, 8))
            number = r.choice((0, 1, 2 ** (8 * n) - 1, 2 ** (8 * n - 1), 2 ** (4 * n), len(data)))
            data[at : at + n] = (number % 2 ** (8 * n)).to_bytes(n, r.choice(('little', 'big')))
        elif what == 7:
            data[at : at + 32] = bytes(32)
        else:
            data += r.choice((b'\0', b'\n', r.randbytes(1000)))
    return bytes(data)


def change_tensors(data: bytes, r: random.Random) -> bytes:
    "A safetensors file with another header, or other bytes."
    if r.random() < 0.2:
        return change_bytes(data, r)
    n = int.from_bytes(data[:8], 'little')
    header, body = json.loads(data[8 : 8 + n]), data[8 + n :]
    about = header.get('__metadata__', {})
    if 'diffbook' in about and r.random() < 0.6:
        about['diffbook'] = change_json(about['diffbook'].encode(), r).decode('utf-8', 'replace')
        text = json.dumps(header).encode()
    else:
        text = change_text(json.dumps(change_tree(header, r)).encode('utf-8', 'surrogatepass'), r)
    length = len(text) if r.random() < 0.9 else r.choice((0, 1, len(text) - 1, len(text) + 1, 2**20 + 1, 2**40, 2**64 - 1))
    body = body if r.random() < 0.8 else r.choice((b'', body[:-1], body + b'\0', body * 2))
    return length.to_bytes(8, 'little') + text + body


def change_gzip(data: bytes, r: random.Random) -> bytes:
    "A compressed file: changed as it is, or within."
    if r.random() < 0.4:
        return change_bytes(data, r)
    return gzip.compress(change_bytes(gzip.decompress(data), r), 1, mtime=0)


def change_caption(data: bytes, r: random.Random) -> bytes:
    strange = ('\0', '\x1b[2J', '\x85', '\u202e', '\ufffe', '\U0010ffff', 'a' * 70_000, '\r\n', '\t', ' ', '\u0301' * 500, '\N{FAMILY}', '\ufeff')
    if r.random() < 0.4:
        return change_bytes(data, r)
    at = r.randrange(len(data) + 1)
    return data[:at] + r.choice(strange).encode() + data[at:] if r.random() < 0.9 else r.choice((b'', b' ', b'\n', b'\xff\xfea\0', b'\xed\xa0\x80'))


# Whole files


def tiny_net():
    from diffbook.nets.unet import UNet

    return UNet(1, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 0), groups=4)


def tiny_model():
    from diffbook.losses import Denoiser
    from diffbook.predictions import predict_v
    from diffbook.schedules import CosineSchedule

    return Denoiser(tiny_net(), CosineSchedule(), predict_v)


def tiny_reader():
    "A model that reads text."
    from diffbook.conditioning import Conditional, TextConditioner
    from diffbook.losses import Denoiser
    from diffbook.nets.clip import TextTower
    from diffbook.nets.unet import UNet
    from diffbook.predictions import predict_v
    from diffbook.schedules import CosineSchedule
    from diffbook.text import Tokenizer

    tokenizer = Tokenizer(['a b', 'ab c</w>'], 8)
    tower = TextTower(tokenizer.vocab_size, 8, 8, 1, 1, hidden=8, end=tokenizer.end)
    net = UNet(1, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 1), groups=4, seq_dim=8)
    return Conditional(Denoiser(net, CosineSchedule(), predict_v), TextConditioner(tokenizer, tower))


def tiny_pipeline(folder: Path) -> None:
    "A whole Stable Diffusion in the published layout, of a few thousand numbers."
    from diffbook.nets.clip import TextTower
    from diffbook.nets.unet import Layout, UNet
    from diffbook.nets.vae import AutoencoderKL
    from diffbook.pretrained import NoisePlan, save_pipeline
    from diffbook.schedules import DiscreteSchedule, scaled_linear_betas
    from diffbook.text import Tokenizer

    unet = UNet(
        4,
        out_channels=4,
        channels=(8, 16),
        blocks=(1, 1),
        heads=(2, 0, 2),
        patch=1,
        groups=4,
        seq_dim=6,
        layout=Layout(scale_shift=False, cos_first=True, freq_shift=0),
    )
    save_pipeline(
        folder, unet=unet, vae=AutoencoderKL(channels=(4, 8), blocks=1, groups=2), text_encoder=TextTower(522, 9, 6, 2, 2, hidden=24, end=515),
        tokenizer=Tokenizer(['a b', 'ab c</w>'], 9), scheduler=NoisePlan(DiscreteSchedule(scaled_linear_betas(50, 0.01, 0.2)), offset=1, last=1.0),
        config={'unet': {'sample_size': 2}})  # fmt: skip


def trainer():
    from diffbook.training import Trainer

    return Trainer(nn.Linear(2, 2), lambda net, x, g: net(x).square().mean(1), device='cpu', warmup=0)


def make_checkpoint(folder: Path) -> None:
    one = trainer()
    one.update(torch.ones(3, 2))
    one.save(folder)
    (folder / '.writer').unlink(missing_ok=True)


def make_model(folder: Path) -> None:
    from diffbook.training import save

    save(folder, tiny_model(), {'shape': [1, 8, 8], 'data': 'none'})


def make_reader(folder: Path) -> None:
    from diffbook.training import save

    save(folder, tiny_reader(), {'shape': [1, 8, 8], 'data': 'letters', 'words': ['a', 'b']})


def make_shards(folder: Path) -> None:
    from diffbook.data import write_shards

    write_shards(folder, [{'x': torch.arange(24.0).reshape(6, 4), 'y': torch.arange(6)}], rows=4, about={'a': 1})


def make_single(folder: Path) -> None:
    "Names and shapes in which the first code of Stable Diffusion stored its U-Net, and a few of its others."
    from safetensors.torch import save_file

    begin = 'model.diffusion_model.'
    shapes = {
        'input_blocks.0.0.weight': (8, 4, 3, 3), 'input_blocks.1.0.out_layers.3.weight': (8, 8, 3, 3), 'input_blocks.1.1.proj_in.weight': (8, 8, 1, 1),
        'input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight': (8, 768), 'out.2.weight': (4, 8, 3, 3), 'input_blocks.2.0.op.weight': (8, 8, 3, 3),
        'input_blocks.3.0.out_layers.3.weight': (16, 8, 3, 3),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file({begin + k: torch.zeros(v) for k, v in shapes.items()}, folder / 'single.safetensors')


def make_merges(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'bpe_simple_vocab_16e6.txt.gz').write_bytes(gzip.compress(b'#version\na b\nab c</w>\n', mtime=0))


def make_tokenizer_json(folder: Path) -> None:
    from diffbook.text import Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(['a b'], 9)
    model = {'type': 'BPE', 'merges': ['a b'], 'vocab': {p: i for i, p in enumerate(tokenizer.pieces[:4])}}
    (folder / 'tokenizer.json').write_text(json.dumps({'model': model}))
    (folder / 'tokenizer_config.json').write_text(json.dumps({'tokenizer_class': 'CLIPTokenizer', 'model_max_length': 9, 'pad_token': {'content': 'a'}}))


def make_image(folder: Path, kind: str, **how) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = numpy.random.default_rng(0).integers(0, 256, (12, 16, 4 if kind == 'PNG' else 3), numpy.uint8)
    Image.fromarray(pixels).save(folder / f'a.{kind.lower()}', kind, **how)


def make_captions(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in 'ab':
        Image.new('L', (4, 4)).save(folder / f'{name}.png')
        (folder / f'{name}.txt').write_text('a small red circle\nabove a café')


MEMBERS = {'cifar-10-batches-bin/a.bin': 300, 'cifar-10-batches-bin/b.bin': 20}


def make_tar(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / 'a.tar.gz', 'w:gz') as archive:
        for name, size in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(range(256)) * 2))


def make_npz(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    numpy.savez_compressed(folder / 'images.npz', images=numpy.arange(2 * 64 * 64 * 3, dtype=numpy.uint8).reshape(2, 64, 64, 3))


def make_idx(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'a.gz').write_bytes(gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(range(24)), mtime=0))


# Digests that are right again


def named(folder: Path) -> None:
    "Give a checkpoint the name of its content."
    for path in folder.glob('step-*.safetensors'):
        path.rename(folder / f'step-000000001-{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}.safetensors')


def signed(folder: Path) -> None:
    "Give a model the digest of its content, if it has any."
    from safetensors.torch import load as read
    from safetensors.torch import save as write

    from diffbook.store.tensors import sum_up

    file = folder / 'model.safetensors'
    try:
        data = file.read_bytes()
        header = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], 'little')])['__metadata__']['diffbook'])
        tensors = read(data)
        text = json.dumps({k: header.get(k) for k in ('format', 'model', 'about')}, sort_keys=True)
        header['digest'] = sum_up(text, tensors)
        file.write_bytes(write(tensors, {'diffbook': json.dumps(header, sort_keys=True)}))
        (folder / 'config.json').unlink()
    except Exception:
        return


def indexed(folder: Path) -> None:
    "Give shards the lengths and digests that the index says."
    try:
        index = json.loads((folder / 'index.json').read_text())
        for entry in index['shards']:
            data = (folder / entry['file']).read_bytes()
            entry |= {'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
        (folder / 'index.json').write_text(json.dumps(index))
    except Exception:
        return


# Loaders


@dataclass(frozen=True)
class Loader:
    "How whole files come about, which of them are changed and how, and who reads them."

    make: Callable[[Path], None]
    change: dict[str, Callable[[bytes, random.Random], bytes]]
    read: Callable[[Path], object]
    share: int  # of all mutants, in parts of a hundred
    mend: Callable[[Path], None] | None = None  # makes digests right again, for half of the mutants
    same: bool = field(default=False)  # without that, what is read must be what was written


def read_run(folder: Path):
    one = trainer()
    one.resume(folder)
    return {k: v.clone() for k, v in one._state().items()}


def read_model(folder: Path):
    from diffbook.training import load

    return dict(load(folder).state_dict())


def read_rows(folder: Path):
    from diffbook.data import read_shards

    shards = read_shards(folder)
    shards[:2]
    return {k: shards[k][:] for k in ('x', 'y')} if set(shards.columns) == {'x', 'y'} else None


def published(part: str):
    def read(folder: Path):
        import diffbook.pretrained as pretrained

        return getattr(pretrained, f'load_{part}')(folder)

    return read


def read_all_parts(folder: Path):
    from diffbook.stable_diffusion import StableDiffusion

    return StableDiffusion.from_pretrained(folder)


def loaders() -> dict[str, Loader]:
    import diffbook.data as data
    from diffbook.store import files, packed, sets
    from diffbook.text import clip_tokenizer

    weights = 'diffusion_pytorch_model.safetensors'
    return {
        'header': Loader(make_model, {'model.safetensors': change_tensors}, lambda f: files.read_header(f / 'model.safetensors'), 20),
        'checkpoint': Loader(make_checkpoint, {'step-*.safetensors': change_tensors}, read_run, 6, named, same=True),
        'model': Loader(make_model, {'model.safetensors': change_tensors, 'config.json': change_json}, read_model, 4, signed, same=True),
        'text model': Loader(make_reader, {'model.safetensors': change_tensors}, read_model, 2, signed, same=True),
        'shards': Loader(make_shards, {'rows-*.safetensors': change_tensors, 'index.json': change_json}, read_rows, 8, indexed, same=True),
        'published unet': Loader(tiny_pipeline, {'unet/config.json': change_json, f'unet/{weights}': change_tensors}, published('unet'), 4),
        'published vae': Loader(tiny_pipeline, {'vae/config.json': change_json, f'vae/{weights}': change_tensors}, published('vae'), 3),
        'published text': Loader(
            tiny_pipeline, {'text_encoder/config.json': change_json, 'text_encoder/model.safetensors': change_tensors}, published('text_encoder'), 3),
        'published scheduler': Loader(tiny_pipeline, {'scheduler/scheduler_config.json': change_json}, published('schedule'), 6),
        'published pipeline': Loader(
            tiny_pipeline, {'model_index.json': change_json, 'unet/config.json': change_json, 'scheduler/scheduler_config.json': change_json}, read_all_parts, 1),
        'tokenizer': Loader(
            tiny_pipeline, {f'tokenizer/{name}.json': change_json for name in ('vocab', 'tokenizer_config', 'special_tokens_map')}
            | {'tokenizer/merges.txt': change_bytes}, published('tokenizer'), 5),
        'tokenizer.json': Loader(
            make_tokenizer_json, {'tokenizer.json': change_json, 'tokenizer_config.json': change_json}, published('tokenizer'), 5),
        'merges': Loader(make_merges, {'bpe_simple_vocab_16e6.txt.gz': change_gzip}, clip_tokenizer, 3),
        'single file': Loader(make_single, {'single.safetensors': change_tensors}, lambda f: published('unet')(f / 'single.safetensors'), 4),
        'png': Loader(functools.partial(make_image, kind='PNG'), {'a.png': change_bytes}, lambda f: data.read_image(f / 'a.png', 8), 6),
        'jpeg': Loader(functools.partial(make_image, kind='JPEG', exif=b'Exif\0\0II*\0\x08\0\0\0\0\0', progressive=True), {'a.jpeg': change_bytes},
                       lambda f: data.read_image(f / 'a.jpeg', 8), 4),
        'gif': Loader(functools.partial(make_image, kind='GIF'), {'a.gif': change_bytes}, lambda f: data.read_image(f / 'a.gif', 8), 2),
        'bmp': Loader(functools.partial(make_image, kind='BMP'), {'a.bmp': change_bytes}, lambda f: data.read_image(f / 'a.bmp', 8), 2),
        'tiff': Loader(functools.partial(make_image, kind='TIFF', compression='tiff_lzw'), {'a.tiff': change_bytes}, lambda f: data.read_image(f / 'a.tiff', 8), 3),
        'webp': Loader(functools.partial(make_image, kind='WEBP'), {'a.webp': change_bytes}, lambda f: data.read_image(f / 'a.webp', 8), 3),
        'captions': Loader(make_captions, {'*.txt': change_caption}, lambda f: data.read_folder(f, 4), 4),
        'archive': Loader(make_tar, {'a.tar.gz': change_gzip}, lambda f: packed.read_members(f / 'a.tar.gz', MEMBERS), 3),
        'npz': Loader(make_npz, {'images.npz': change_bytes}, read_npz, 2),
        'idx': Loader(make_idx, {'a.gz': change_gzip}, lambda f: sets.read_idx(f / 'a.gz', 3), 4),
    }  # fmt: skip


def read_npz(folder: Path):
    from diffbook.store import emoji

    rows = [{'base': 'a'}, {'base': 'b'}]
    pixels = hashlib.sha256(numpy.arange(2 * 64 * 64 * 3, dtype=numpy.uint8).tobytes()).hexdigest()
    (folder / 'captions.json').write_text('[{"base": "a", "tone": ""}, {"base": "b", "tone": ""}]')
    with swapped(emoji, '_emoji_rows', lambda s: rows), swapped(emoji, '_emoji_list', lambda: {'sources': {'noto': {'pixels': pixels}}}):
        return emoji._read_style('noto', folder)


@contextmanager
def swapped(module, name: str, value) -> Iterator[None]:
    old = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, old)


# The run


class Hang(BaseException):
    "A case took too much processor time."


@contextmanager
def bounded(seconds: float = SECONDS, memory: int | None = None) -> Iterator[None]:
    "Stop what takes more processor time, and refuse it memory beyond what there is and `memory`."

    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    if memory:
        pages = int(Path('/proc/self/statm').read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, limit[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, limit)


def equal(a, b) -> bool:
    return isinstance(a, dict) and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def verdict(loader: Loader, folder: Path, whole, guarded: bool) -> tuple[str, str]:
    "What the loader makes of the files in a folder: read, refused, or what is wrong with that."
    begin = time.process_time()
    try:
        with bounded(memory=MEMORY), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # to go on with what is whole is an answer, too
            got = loader.read(folder)
        said, what = '', 'read'
        if guarded and loader.same and not equal(got, whole):
            what = 'other content'
    except Hang:
        said, what = '', 'hang'
    except Exception as error:
        said, what = str(error), 'refused'
        if not (type(error) is ValueError or isinstance(error, OSError) and error.errno != 0) or not said.strip():
            what, said = f'{type(error).__name__}', f'{said} {where(error)}'
        elif str(folder) not in said:
            what = 'names no file'
    if time.process_time() - begin > SECONDS and what in ('read', 'refused'):
        what = 'slow'
    return what, said


def where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f'[{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}]'


def run(name: str, n: int, seed: int = 0, start: int = 0, note: Path | None = None) -> dict:
    "Put n mutants of one kind to the test; count verdicts and keep examples of those that are wrong."
    loader, counts, wrong, slowest = loaders()[name], {}, [], 0.0
    with tempfile.TemporaryDirectory() as place:
        home, folder = Path(place) / 'whole', Path(place) / 'mutant'
        torch.manual_seed(0)
        loader.make(home)
        shutil.copytree(home, folder)
        whole = loader.read(folder) if loader.same else None
        for k in range(start, start + n):
            r = random.Random(f'{name}/{seed}/{k}')
            shutil.rmtree(folder)
            shutil.copytree(home, folder)
            pattern = r.choice(list(loader.change))
            path = r.choice(sorted(folder.glob(pattern)))
            path.write_bytes(loader.change[pattern](path.read_bytes(), r))
            mended = loader.mend is not None and r.random() < 0.5
            if mended:
                loader.mend(folder)
            if note:
                note.write_text(str(k))
            begin = time.process_time()
            what, said = verdict(loader, folder, whole, not mended)
            slowest = max(slowest, time.process_time() - begin)
            counts[what] = counts.get(what, 0) + 1
            if what not in ('read', 'refused') and len(wrong) < 20:
                wrong.append(f'{name} {k} of seed {seed}: {what}: {said.replace(str(place), "")[:300]}')
    return {'n': n, 'counts': counts, 'wrong': wrong, 'slowest': round(slowest, 3)}


def run_apart(name: str, n: int, seed: int = 0) -> dict:
    "The same in a process of its own, which may die: a crash is found and the rest goes on behind it."
    total, start, crashes = {'n': 0, 'counts': {}, 'wrong': [], 'slowest': 0.0}, 0, 0
    while start < n and crashes < 20:
        with tempfile.TemporaryDirectory() as place:
            note = Path(place) / 'case'
            call = [sys.executable, '-m', 'benchmarks.fuzz', name, str(n - start), '--seed', str(seed), '--start', str(start), '--note', str(note)]
            done = subprocess.run(call, capture_output=True, text=True, cwd=Path(__file__).parent.parent, env=os.environ | {'OMP_NUM_THREADS': '1'})
            if done.returncode == 0:
                got, start = json.loads(done.stdout.splitlines()[-1]), n
            else:
                case, crashes = int(note.read_text()) if note.exists() else n, crashes + 1
                got = {
                    'n': case + 1 - start,
                    'counts': {'crash': 1, 'read': case - start},
                    'wrong': [f'{name} {case} of seed {seed}: crash {done.returncode} {done.stderr[-300:]}'],
                    'slowest': 0.0,
                }
                start = case + 1
        total['n'] += got['n']
        total['wrong'] += got['wrong']
        total['slowest'] = max(total['slowest'], got['slowest'])
        for what, number in got['counts'].items():
            total['counts'][what] = total['counts'].get(what, 0) + number
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=[*loaders(), 'all'])
    parser.add_argument('n', type=int)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--start', type=int, default=0)
    parser.add_argument('--note', type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in loaders() if args.name == 'all' else [args.name]:
        got = run(name, args.n, args.seed, args.start, args.note)
        print(json.dumps({'loader': name} | got))


if __name__ == '__main__':
    main()
