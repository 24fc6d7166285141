"""Published data sets: readers that do not believe their files, and downloads that are whole or leave nothing."""

import gzip
import hashlib
import io
import struct
import tarfile

import pytest
import torch
from helpers import needs_data
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from diffbook.data import SOURCES, data_root, fetch_data, load_data
from diffbook.store import sets
from diffbook.store.sets import read_idx


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f'>{array.ndim}I', *array.shape) + bytes(array.flatten().tolist())


@pytest.fixture
def mnist(tmp_path):
    "A small MNIST with the published names."
    folder = tmp_path / 'MNIST' / 'raw'
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(1)
    made = {}
    for split, n in (('train', 30), ('t10k', 12)):
        made[split] = (
            torch.randint(256, (n, 28, 28), generator=draw, dtype=torch.uint8),
            torch.randint(10, (n,), generator=draw, dtype=torch.uint8),
        )
        for kind, array, axes in (('images', made[split][0], 3), ('labels', made[split][1], 1)):
            (folder / f'{split}-{kind}-idx{axes}-ubyte.gz').write_bytes(gzip.compress(idx_bytes(array)))
    return tmp_path, folder, made


def test_idx_agrees_with_torchvision(mnist, tmp_path):
    root, folder, made = mnist
    path = folder / 'train-images-idx3-ubyte.gz'
    (tmp_path / 'plain').write_bytes(gzip.decompress(path.read_bytes()))
    assert torch.equal(read_idx(path, 3), read_sn3_pascalvincent_tensor(str(tmp_path / 'plain')))
    for split, key in (('train', 'train'), ('test', 't10k')):
        got = load_data('mnist', split, root)
        assert torch.equal(got.images[:, 0], made[key][0]) and torch.equal(got.labels, made[key][1].long())


def test_data_root_comes_from_the_environment(mnist, monkeypatch, tmp_path):
    monkeypatch.setenv('DIFFBOOK_DATA', str(mnist[0]))
    assert len(load_data('mnist')) == 30
    monkeypatch.delenv('DIFFBOOK_DATA')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert data_root() == tmp_path / 'diffbook' and data_root('here').name == 'here'


GOOD = idx_bytes(torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2))


@pytest.mark.parametrize(
    'content, words',
    [
        (b'', 'damaged|begins with nothing'),
        (b'not gzip at all', 'damaged'),
        (gzip.compress(b'', mtime=0), 'begins with nothing'),
        (gzip.compress(GOOD[:9], mtime=0), 'begins with'),
        (gzip.compress(bytes([0, 0, 13, 3]) + GOOD[4:], mtime=0), 'begins with 00000d03, expected 00000803'),
        (gzip.compress(idx_bytes(torch.arange(3, dtype=torch.uint8)), mtime=0), 'expected 00000803'),
        (gzip.compress(GOOD[:-1], mtime=0), 'holds 11 bytes'),
        (gzip.compress(GOOD + b'x', mtime=0), 'holds more bytes'),
        (gzip.compress(GOOD, mtime=0)[:-4], 'damaged'),
        (gzip.compress(GOOD, mtime=0)[:-6] + b'\0\0\0\0\0\0', 'damaged'),
        (gzip.compress(bytes([0, 0, 8, 3]) + b'\xff' * 12, mtime=0), '100 times the file'),
    ],
)
def test_idx_refuses(tmp_path, content, words):
    path = tmp_path / 'some.gz'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_labels_out_of_range_and_of_another_number_are_refused(mnist):
    root, folder, _ = mnist
    path = folder / 'train-labels-idx1-ubyte.gz'
    path.write_bytes(gzip.compress(idx_bytes(torch.full((30,), 10, dtype=torch.uint8))))
    with pytest.raises(ValueError, match='label 10, expected less than 10'):
        load_data('mnist', root=root)
    path.write_bytes(gzip.compress(idx_bytes(torch.zeros(29, dtype=torch.uint8))))
    with pytest.raises(ValueError, match='30 images and 29 labels'):
        load_data('mnist', root=root)


def test_missing_files_say_what_where_and_how(mnist):
    root, folder, _ = mnist
    (folder / 'train-labels-idx1-ubyte.gz').unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_data('mnist', root=root)
    for words in (
        'train-labels-idx1-ubyte.gz',
        str(folder),
        f'diffbook data mnist --download --data-root {root}',
        'DIFFBOOK_DATA',
    ):
        assert words in str(caught.value)


def cifar(path, names, size=10000 * 3073, kind=tarfile.REGTYPE):
    body = (b'\x03' + bytes(range(256)) * 12) * 10000  # label 3, then 3072 known pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w:gz', compresslevel=1) as archive:
        for name in names:
            member = tarfile.TarInfo(f'cifar-10-batches-bin/{name}.bin')
            member.size, member.type, member.linkname = (
                size if kind == tarfile.REGTYPE else 0,
                kind,
                '../../../etc/passwd',
            )
            archive.addfile(member, io.BytesIO(body[:size]) if kind == tarfile.REGTYPE else None)
    return path


def test_cifar_is_read_without_unpacking(tmp_path):
    path = cifar(tmp_path / 'CIFAR10' / 'cifar-10-binary.tar.gz', ['test_batch'])
    got = load_data('cifar10', 'test', tmp_path)
    assert got.images.shape == (10000, 3, 32, 32) and (got.labels == 3).all()
    flat = torch.arange(256, dtype=torch.uint8).repeat(12)
    assert torch.equal(got.images[77], flat.reshape(3, 32, 32))  # a plane a colour, row by row
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with pytest.raises(ValueError, match='damaged'):
        load_data('cifar10', 'train', tmp_path)


@pytest.mark.parametrize('kwargs', [{'size': 3073}, {'kind': tarfile.SYMTYPE}])
def test_cifar_refuses(tmp_path, kwargs):
    cifar(tmp_path / 'CIFAR10' / 'cifar-10-binary.tar.gz', ['test_batch'], **kwargs)
    with pytest.raises(ValueError, match='expected a file of 30730000'):
        load_data('cifar10', 'test', tmp_path)


@pytest.fixture
def source(tmp_path, monkeypatch):
    site, body = tmp_path / 'site', b'0123456789'
    site.mkdir()
    (site / 'file.gz').write_bytes(body)
    entry = sets.Source(
        'Set/raw',
        (f'file://{tmp_path}/nowhere/', f'file://{site}/'),
        {'file.gz': (10, hashlib.sha256(body).hexdigest())},
        (),
    )
    monkeypatch.setitem(SOURCES, 'set', entry)
    return site, tmp_path / 'root'


def test_fetch_tries_mirrors_and_keeps_what_is_there(source):
    site, root = source
    folder = fetch_data('set', root)
    assert (folder / 'file.gz').read_bytes() == b'0123456789'
    (site / 'file.gz').unlink()
    assert fetch_data('set', root) == folder  # nothing to fetch


@pytest.mark.parametrize('body', [b'0123456780', b'012345678', b'01234567890'])
def test_fetch_refuses_other_bytes_and_leaves_nothing(source, body):
    site, root = source
    (site / 'file.gz').write_bytes(body)
    with pytest.raises(OSError, match='could not be fetched'):
        fetch_data('set', root)
    assert not (root / 'Set').exists()


def test_known_sources_are_https_and_agree_with_torchvision():
    from torchvision.datasets import MNIST, FashionMNIST

    assert all(m.startswith('https://') for s in SOURCES.values() for m in s.mirrors)
    assert {f for f, _ in MNIST.resources} == set(SOURCES['mnist'].files)
    assert {f for f, _ in FashionMNIST.resources} == set(SOURCES['fashion-mnist'].files)


def test_fashion_mnist_is_the_published_one():
    folder = needs_data('FashionMNIST', 'raw/t10k-images-idx3-ubyte.gz') / 'raw'
    for file, (size, digest) in SOURCES['fashion-mnist'].files.items():
        content = (folder / file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest)
    assert torch.bincount(load_data('fashion-mnist', 'test').labels).tolist() == [1000] * 10
