"""Shards of rows on disk: the same batches as from memory, whole or refused, and no memory of their own."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from diffbook.core import noise
from diffbook.data import batches, read_shards, write_shards
from diffbook.store import shards
from diffbook.store.files import digest_of

KINDS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def rows(n: int = 23) -> dict[str, torch.Tensor]:
    z = noise(1, 'rows', 0, range(n), (2, 3)).float()
    return {'z': z, 'tokens': torch.arange(3 * n).reshape(n, 3), 'label': torch.arange(n).to(torch.uint8)}


def portions(columns: dict[str, torch.Tensor], size: int):
    return ({k: v[i : i + size] for k, v in columns.items()} for i in range(0, len(columns['z']), size))


@pytest.fixture
def folder(tmp_path):
    write_shards(tmp_path, portions(rows(), 5), rows=8, about={'seed': 3})
    return tmp_path


# --- what is written comes back


@pytest.mark.parametrize('portion, per_shard, sizes', [(5, 8, [8, 8, 7]), (23, 8, [8, 8, 7]), (1, 23, [23]), (7, 100, [23]), (2, 1, [1] * 23)])
def test_rows_come_back_whatever_the_portions(tmp_path, portion, per_shard, sizes):
    want = rows()
    write_shards(tmp_path, portions(want, portion), rows=per_shard)
    got = read_shards(tmp_path)
    assert list(got.columns) == list(want) and len(got) == 23 and [len(p) for p in got['z'].parts] == sizes
    order = torch.randperm(23, generator=torch.Generator().manual_seed(0)).repeat(2)
    for name, column in want.items():
        assert got[name].shape == column.shape and got[name].dtype == column.dtype
        assert torch.equal(got[name][:], column) and torch.equal(got[name][order], column[order])
        assert torch.equal(got[name][-4:], column[-4:]) and torch.equal(got[name][3:20:4], column[3:20:4])


@pytest.mark.parametrize('kind', KINDS, ids=str)
def test_every_kind_survives_and_the_librarys_own_reader_agrees(tmp_path, kind):
    x = (100 * torch.randn(9, 5, generator=torch.Generator().manual_seed(1))).to(kind)
    odd = torch.arange(9, dtype=torch.uint8)[:, None].repeat(1, 3)  # makes the other column begin at an odd byte, if it comes first
    got = write_shards(tmp_path, [{'odd': odd, 'x': x}], rows=4)
    assert torch.equal(got['x'][:], x) and got['x'].dtype == kind
    files = sorted(tmp_path.glob('*.safetensors'))
    read = [safe_open(file, 'pt').get_tensor('x') for file in files]
    assert torch.equal(torch.cat(read), x)


def test_an_odd_beginning_is_no_trouble(tmp_path):
    x = torch.arange(6, dtype=torch.float32).reshape(3, 2)
    raw = json.dumps({'a': {'dtype': 'U8', 'shape': [3], 'data_offsets': [0, 3]}, 'x': {'dtype': 'F32', 'shape': [3, 2], 'data_offsets': [3, 27]}}).encode()
    path = tmp_path / 'odd.safetensors'
    path.write_bytes(len(raw).to_bytes(8, 'little') + raw + bytes(3) + x.numpy().tobytes())
    word, part = shards._map_tensors(path)['x']
    assert word == 'F32' and torch.equal(shards.Column([part], torch.float32)[:], x)


def test_floats_are_stored_as_asked_and_whole_numbers_as_they_are(tmp_path):
    want = rows()
    got = write_shards(tmp_path, [want], dtype=torch.float16, about={'scale': 0.2})
    assert got['z'].dtype == torch.float16 and torch.equal(got['z'][:], want['z'].half())
    assert got['tokens'].dtype == torch.int64 and read_shards(tmp_path).about == {'scale': 0.2}


# --- order


@pytest.mark.parametrize('size, start', [(4, 0), (4, 9), (23, 2), (50, 1)])
def test_batches_from_disk_are_those_from_memory(folder, size, start):
    want, got = rows(), read_shards(folder)
    memory = itertools.islice(batches(tuple(want.values()), size, 5, start), 7)
    for a, b in zip(memory, batches(got, size, 5, start)):
        assert len(a) == len(b) == 3 and all(torch.equal(x, y) for x, y in zip(a, b))
    one, pair = next(batches(got['z'], size, 5, start)), next(batches((got['z'], want['label']), size, 5, start))
    assert torch.equal(one, next(batches(want['z'], size, 5, start))) and torch.equal(pair[0], one)


def test_batches_refuse_shards_beside_fewer_rows(folder):
    with pytest.raises(ValueError, match='examples of one number'):
        batches((read_shards(folder), torch.zeros(4)), 2)


# --- whole or not at all


def test_a_producer_that_fails_leaves_the_old_set_whole(folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def failing():
        yield {'z': torch.zeros(40, 2)}
        raise RuntimeError('the network broke')

    with pytest.raises(RuntimeError, match='the network broke'):
        write_shards(folder, failing(), rows=8)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_new_set_replaces_the_old_and_leaves_other_files_alone(folder):
    (folder / 'notes.txt').write_text('mine')
    old = {p.name for p in folder.glob('*.safetensors')}
    new = write_shards(folder, portions({'z': torch.ones(10, 2)}, 3), rows=6)
    assert len(new) == 10 and list(read_shards(folder).columns) == ['z']
    assert not old & {p.name for p in folder.iterdir()} and (folder / 'notes.txt').read_text() == 'mine'


def test_the_same_rows_written_again_are_the_same_files(folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    write_shards(folder, portions(rows(), 11), rows=8, about={'seed': 3})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize('calls', range(9))
def test_a_full_disk_at_any_file_leaves_the_old_set_whole(folder, monkeypatch, calls):
    "Three shards and an index are written, each synced and then its folder; the disk is full at call number `calls`. At the last one the new index has its name."
    before, left, real = {p.name: p.read_bytes() for p in folder.iterdir()}, [calls], os.fsync

    def fsync(number):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, 'No space left on device')
        left[0] -= 1
        real(number)

    monkeypatch.setattr(os, 'fsync', fsync)
    job = lambda: write_shards(folder, portions({'z': torch.ones(20, 2)}, 3), rows=7)  # noqa: E731
    if calls < 8:
        with pytest.raises(OSError, match='No space left on device; .* bytes were needed'):
            job()
        after = {p.name: p.read_bytes() for p in folder.iterdir()}
        if calls < 7:
            assert after == before
        else:
            assert len(read_shards(folder)) == 20 and before.items() - {'index.json': before['index.json']}.items() <= after.items()
    else:
        assert len(job()) == 20


def test_a_writer_that_is_killed_leaves_the_old_set_whole(folder):
    script = f"""
import os, signal, torch
from diffbook.data import write_shards
def portions():
    for k in range(4):
        if k == 3: os.kill(os.getpid(), signal.SIGKILL)
        yield {{'z': torch.full((8, 2), float(k))}}
write_shards({str(folder)!r}, portions(), rows=8)
"""
    assert subprocess.run([sys.executable, '-c', script]).returncode == -signal.SIGKILL
    got = read_shards(folder)
    assert all(torch.equal(got[name][:], column) for name, column in rows().items())
    write_shards(folder, portions(rows(), 5), rows=8)
    assert len(list(folder.glob('*.safetensors'))) == 3  # what the dead left is swept


def test_shards_are_written_while_rows_are_made(tmp_path):
    "Nobody waits for the end: when portion k is asked for, all that fills shards is on disk, so at most a shard and a portion are held."

    def watching():
        for k in range(12):
            assert len(list(tmp_path.glob('*.safetensors'))) == 3 * k // 7
            yield {'z': torch.full((3, 2), float(k))}

    assert len(write_shards(tmp_path, watching(), rows=7)) == 36


# --- refusals


def shard(folder: Path, k: int = 1) -> Path:
    return sorted(folder.glob('*.safetensors'))[k]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


def exchange(folder: Path) -> None:
    one, two = (shard(folder, k) for k in (0, 1))
    first, second = one.read_bytes(), two.read_bytes()
    assert len(first) == len(second)
    one.write_bytes(second)
    two.write_bytes(first)


def edit(**changes):
    def job(folder: Path) -> None:
        path = folder / 'index.json'
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return job


def rename_shard(name: str):
    def job(folder: Path) -> None:
        index = json.loads((folder / 'index.json').read_text())
        index['shards'][0]['file'] = name
        edit(shards=index['shards'])(folder)

    return job


def other_shape(folder: Path) -> None:
    index = json.loads((folder / 'index.json').read_text())
    index['columns']['z']['shape'] = [3, 2]
    edit(columns=index['columns'])(folder)


def other_header(folder: Path) -> None:
    "A file of the same length whose header is nonsense."
    path = shard(folder)
    path.write_bytes((10**12).to_bytes(8, 'little') + path.read_bytes()[8:])
    index = json.loads((folder / 'index.json').read_text())
    edit(shards=[s | {'sha256': digest_of(folder / s['file'])} for s in index['shards']])(folder)


DAMAGE = {
    'a shard is cut short': (lambda f: shard(f).write_bytes(shard(f).read_bytes()[:-1]), ValueError, 'was cut short, or is another file'),
    'a shard is empty': (lambda f: shard(f).write_bytes(b''), ValueError, 'has 0 bytes, expected'),
    'a shard is longer': (lambda f: shard(f).write_bytes(shard(f).read_bytes() + b'0'), ValueError, 'or is another file'),
    'one bit of a shard is turned': (lambda f: flip(shard(f)), ValueError, 'has sha256 .* it is damaged'),
    'two shards are exchanged': (exchange, ValueError, 'has sha256 .* or is another file'),
    'a shard is gone': (lambda f: shard(f).unlink(), FileNotFoundError, 'is not there: the index names it'),
    'there is no index': (lambda f: (f / 'index.json').unlink(), FileNotFoundError, 'did not come to its end'),
    'the index is cut short': (lambda f: (f / 'index.json').write_text((f / 'index.json').read_text()[:-40]), ValueError, 'no index of shards, or is damaged'),
    'the index is a list': (lambda f: (f / 'index.json').write_text('[1, 2]'), ValueError, 'no index of shards'),
    'the index is bytes': (lambda f: (f / 'index.json').write_bytes(b'\xff\xfe\x00'), ValueError, 'no index of shards'),
    'the index is of a later format': (edit(format=2), ValueError, 'no index of shards'),
    'the index knows other things': (edit(surprise=1), ValueError, 'no index of shards'),
    'the index counts other rows': (edit(rows=24), ValueError, 'do not fit each other'),
    'the index has no shard': (edit(shards=[], rows=0), ValueError, 'do not fit each other'),
    'the index has no column': (edit(columns={}), ValueError, 'do not fit each other'),
    'the index names a file elsewhere': (rename_shard('../../etc/passwd'), ValueError, 'do not fit each other'),
    'the index has another shape': (other_shape, ValueError, "holds .*'z'.* expected"),
    'a header is nonsense': (other_header, ValueError, 'is damaged or cut short'),
}  # fmt: skip


@pytest.mark.parametrize('case', DAMAGE)
def test_what_is_damaged_is_refused(folder, case):
    damage, kind, words = DAMAGE[case]
    damage(folder)
    with pytest.raises(kind, match=words):
        read_shards(folder)


def test_without_digests_lengths_and_headers_are_still_looked_at(folder):
    flip(shard(folder))
    assert len(read_shards(folder, verify=False)) == 23  # only a digest could tell
    foreign = {'z': torch.zeros(8, 3, 2), 'tokens': torch.zeros(8, 3).long(), 'label': torch.zeros(8).byte()}
    safetensors.torch.save_file(foreign, shard(folder))
    with pytest.raises(ValueError, match=r'holds .*\(8, 3, 2\).* expected'):
        read_shards(folder, verify=False)


WRONG = {
    'nothing': (lambda: [], 'there is no row to write'),
    'no rows': (lambda: [{'z': torch.zeros(0, 2)}], 'there is no row to write'),
    'no columns': (lambda: [{}], 'a portion holds nothing'),
    'a number': (lambda: [{'z': torch.tensor(1.0)}], 'expected columns with one number of rows'),
    'uneven columns': (lambda: [{'z': torch.zeros(3), 'y': torch.zeros(4)}], 'expected columns with one number of rows'),
    'a new column': (lambda: [{'z': torch.zeros(3)}, {'z': torch.zeros(3), 'y': torch.zeros(3)}], 'expected .* as before'),
    'a new shape': (lambda: [{'z': torch.zeros(3, 2)}, {'z': torch.zeros(3, 4)}], 'expected .* as before'),
    'a new kind': (lambda: [{'z': torch.zeros(3)}, {'z': torch.zeros(3).double()}], 'expected .* as before'),
    'NaN': (lambda: [{'z': torch.tensor([0.0, float('nan')])}], 'z holds a number that is not finite'),
    'complex numbers': (lambda: [{'z': torch.zeros(3, dtype=torch.complex64)}], 'z is torch.complex64, expected one of'),
}  # fmt: skip


@pytest.mark.parametrize('case', WRONG)
def test_what_cannot_be_stored_is_refused_and_nothing_is_left(tmp_path, case):
    make, words = WRONG[case]
    with pytest.raises(ValueError, match=words):
        write_shards(tmp_path, make(), rows=2)
    assert not list(tmp_path.iterdir())


def test_a_number_too_large_for_the_stored_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match='z holds a number that is not finite in torch.float16'):
        write_shards(tmp_path, [{'z': torch.tensor([1e5])}], dtype=torch.float16)
    with pytest.raises(ValueError, match='rows is 0'):
        write_shards(tmp_path, [{'z': torch.ones(1)}], rows=0)
    with pytest.raises(ValueError):
        write_shards(tmp_path, [{'z': torch.ones(1)}], about={'loss': float('nan')})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'index, error', [(torch.tensor([0, 23]), IndexError), (torch.tensor([-1]), IndexError), (torch.ones(23).bool(), ValueError), (torch.tensor(3), ValueError)]
)
def test_positions_that_are_none_are_refused(folder, index, error):
    with pytest.raises(error, match='positions'):
        read_shards(folder)['z'][index]


def test_an_unknown_column_is_named(folder):
    with pytest.raises(ValueError, match="no column 'latents', expected one of z, tokens, label"):
        read_shards(folder)['latents']


# --- memory


MEMORY = """
import sys, itertools, torch
from diffbook.data import batches, read_shards
def own():
    "Kilobytes that belong to this process alone: pages of mapped files, which the system may take back, do not count."
    return int(next(line for line in open('/proc/self/status') if line.startswith('RssAnon')).split()[1])
stored = read_shards(sys.argv[1])
steps = len(stored) // 64
for x in itertools.islice(batches(stored['z'], 64), 3): pass
begun, most = own(), 0
for x in itertools.islice(batches(stored['z'], 64), steps):
    most = max(most, own() - begun)
held = stored['z'][:]
print(most, own() - begun)
"""


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='the system does not say what a process holds')
def test_an_epoch_from_disk_holds_no_more_than_its_batches(tmp_path):
    "64 MB in rows of 16 kB: streaming them all keeps under 4 MB, loading them 64 MB, so the measure can tell."
    piece = noise(2, 'rows', 0, range(256), (4096,)).float()
    write_shards(tmp_path, ({'z': piece + k} for k in range(16)), rows=512)
    run = subprocess.run([sys.executable, '-c', MEMORY, str(tmp_path)], capture_output=True, text=True, check=True)
    streamed, loaded = map(int, run.stdout.split())
    assert streamed < 4096 < 60_000 < loaded
