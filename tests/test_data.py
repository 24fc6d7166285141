"""Data sets: pure order, drawn truth, and readers that do not believe their files."""

import gzip
import hashlib
import io
import itertools
import re
import shutil
import struct
import tarfile

import numpy
import pytest
import torch
from helpers import needs_data
from PIL import Image
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from diffbook import data
from diffbook.core import generator
from diffbook.data import (
    TOYS,
    Dataset,
    batch_indices,
    batches,
    data_root,
    fetch_data,
    from_model,
    gaussian_ring,
    load_data,
    read_folder,
    read_idx,
    read_image,
    subset,
    to_model,
)
from diffbook.shapes import (
    draw_shapes,
)

# --- batches


@pytest.mark.parametrize('n, size, start', [(10, 4, 0), (10, 4, 7), (10, 25, 3), (7, 7, 5), (1, 3, 2), (64, 1, 100)])
def test_batches_are_the_function_of_seed_and_step(n, size, start):
    got = list(itertools.islice(batches(torch.arange(n), size, seed=3, start_step=start), 6))
    assert all(torch.equal(b, batch_indices(n, size, 3, start + k)) for k, b in enumerate(got))


def test_every_epoch_shows_every_example_once_in_another_order():
    line = torch.cat(list(itertools.islice(batches(torch.arange(50), 7), 50)))
    epochs = line[: 50 * (len(line) // 50)].reshape(-1, 50)
    assert torch.equal(epochs.sort(1).values, torch.arange(50).expand_as(epochs))
    assert len({tuple(e.tolist()) for e in epochs}) == len(epochs)  # a repeat has probability below 1e-60


def test_batches_keep_images_and_labels_together():
    drawn = draw_shapes(20, 16)
    x, y = next(batches(drawn, 8, seed=1))
    where = [(drawn.images == image).flatten(1).all(1).nonzero()[0].item() for image in x]
    assert torch.equal(drawn.labels[where], y)


@pytest.mark.parametrize(
    'args',
    [
        (torch.empty(0, 2), 1),
        ((torch.ones(3), torch.ones(4)), 1),
        (torch.ones(3), 0),
        (torch.ones(3), 1, 0, -1),
        ((), 1),
    ],
)
def test_batches_refuse(args):
    with pytest.raises(ValueError, match='expected|number'):
        batches(*args)


# --- units


def test_units_round_to_the_nearest_byte_and_clip():
    x = torch.tensor([-7.0, -1.0, 0.0, 1.0, 2.0, -1 + 0.51 / 127.5, -1 + 0.49 / 127.5])
    assert from_model(x).tolist() == [0, 0, 128, 255, 255, 1, 0]


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_units_refuse_what_is_not_finite(bad):
    with pytest.raises(ValueError, match='finite'):
        from_model(torch.tensor([0.0, bad]))


def test_dataset_refuses_what_does_not_fit():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    for kwargs in (
        {'images': images.float()},
        {'images': images[0]},
        {'images': images[:0]},
        {'images': images, 'labels': torch.zeros(2)},
        {'images': images, 'captions': ('a',)},
    ):
        with pytest.raises(ValueError, match='expected|empty|images and'):
            Dataset(**kwargs)


def test_subset_keeps_what_belongs_together():
    drawn = draw_shapes(9, 16)
    part = subset(drawn, torch.tensor([4, 1]))
    assert part.captions == (drawn.captions[4], drawn.captions[1])
    assert torch.equal(part.labels, drawn.labels[[4, 1]]) and torch.equal(part.images, drawn.images[[4, 1]])


# --- toys


def test_toys_lie_where_they_should():
    points = {name: toy(4000, generator(5, name)) for name, toy in TOYS.items()}
    assert all(p.shape == (4000, 2) and p.dtype == torch.float64 and 0.6 < p.std() < 1.3 for p in points.values())
    x, y = points['checkerboard'].floor().long().unbind(1)
    assert ((x + y) % 2 == 0).all() and set(x.tolist()) == set(y.tolist()) == {-2, -1, 0, 1}
    squares = torch.bincount((x + 2) * 4 + y + 2, minlength=16)
    assert ((squares[squares > 0] - 500).square() / 500).sum() < 45  # chi-square of 7 degrees, false alarm below 2e-7
    upper = (points['two_moons'] / 1.3 + torch.tensor([0.5, 0.25])).norm(dim=1) - 1
    lower = (torch.tensor([0.5, 0.25]) - points['two_moons'] / 1.3).norm(dim=1) - 1
    assert torch.minimum(upper.abs(), lower.abs()).max() < 6.5 * 0.06
    turn = torch.linspace(0, 4 * torch.pi, 4000, dtype=torch.float64)
    curve = torch.stack([turn * turn.cos(), turn * turn.sin()], 1) / (2 * torch.pi)
    assert torch.cdist(points['spiral'], curve).min(1).values.max() < 6.5 * 0.03 + 0.01


def test_gaussian_ring_is_what_eight_gaussians_draws():
    weights, means, covs = gaussian_ring()
    points = TOYS['eight_gaussians'](20000, generator(6, 'ring'))
    mean = (weights[:, None] * means).sum(0)
    cov = (weights[:, None, None] * (covs + means[:, :, None] * means[:, None])).sum(0) - torch.outer(mean, mean)
    assert (points.mean(0) - mean).abs().max() < 6 * (cov.diagonal().max() / 20000).sqrt()
    assert (points.T.cov() - cov).abs().max() < 6 * 1.5 / 20000**0.5
    nearest = torch.cdist(points, means).argmin(1)
    assert abs((points - means[nearest]).std() - covs[0, 0, 0].sqrt()) < 6 * 0.12 / 40000**0.5


# --- files


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


def test_folder_of_images(tmp_path):
    for folder, file, colour in (
        ('cats', 'a.png', (255, 0, 0)),
        ('cats', 'b.jpg', (0, 255, 0)),
        ('dogs', 'c.webp', (0, 0, 255)),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        image = Image.new('RGB', (40, 20), (0, 0, 0))
        image.paste(colour, (10, 0, 30, 20))  # the middle square
        image.save(tmp_path / folder / file, quality=95, **({'lossless': True} if file.endswith('webp') else {}))
    (tmp_path / 'notes.txt').write_text('not an image')
    got = load_data(str(tmp_path), size=8)
    assert got.classes == ('cats', 'dogs') and got.labels.tolist() == [0, 0, 1] and got.images.shape == (3, 3, 8, 8)
    assert (got.images.float().mean((2, 3)).argmax(1) == torch.tensor([0, 1, 2])).all()
    assert torch.equal(got.images[0], torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 8, 8))


def test_grey_palette_and_transparent_images_become_colour(tmp_path):
    Image.new('L', (8, 8), 7).save(tmp_path / 'a.png')
    Image.new('RGBA', (8, 8), (1, 2, 3, 255)).save(tmp_path / 'b.png')
    Image.new('P', (8, 8)).save(tmp_path / 'c.png')
    assert read_folder(tmp_path, 8).images[:2, :, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]


def test_what_is_transparent_is_white(tmp_path):
    Image.new('RGBA', (8, 8), (9, 9, 9, 0)).save(tmp_path / 'a.png')
    Image.new('RGBA', (8, 8), (255, 0, 0, 51)).save(tmp_path / 'b.png')
    grey = Image.new('LA', (8, 8), (0, 0))
    grey.save(tmp_path / 'c.png')
    palette = Image.new('P', (8, 8))
    palette.putpalette([7, 7, 7])
    palette.save(tmp_path / 'd.png', transparency=0)
    seen = [read_image(tmp_path / f'{name}.png', 4)[:, 0, 0].tolist() for name in 'abcd']
    assert seen == [[255, 255, 255], [255, 204, 204], [255, 255, 255], [255, 255, 255]]


def test_folder_names_the_file_it_refuses(tmp_path):
    Image.effect_noise((8, 8), 90).convert('RGB').save(tmp_path / 'good.png')
    bad = tmp_path / 'bad.png'
    for content in (b'', b'no image', b'GIF89a' + bytes(40), (tmp_path / 'good.png').read_bytes()[:100]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match='1 of 2 pictures cannot be read: .*bad.png could not be read as PNG, JPEG'):
            read_folder(tmp_path, 8)
        with pytest.warns(UserWarning, match='1 of 2 pictures cannot be read: .*bad.png .*left out'):
            got = load_data(str(tmp_path), size=8, skip_broken=True)
        assert len(got) == 1 and torch.equal(got.images[0], read_image(tmp_path / 'good.png', 8))


def small(path, colour='red', size=(4, 4), **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, colour).save(path, **how)


def test_a_folder_is_read_as_the_files_in_it(tmp_path):
    "Upright, and on the ground that is asked for; both reach through `load_data`."
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.new('RGB', (4, 4), 'black')
    turned.paste('red', (0, 0, 2, 4))  # the left half, as stored, is the upper one on the screen
    turned.save(tmp_path / 'a.png', exif=exif)
    Image.new('RGBA', (4, 4), (0, 0, 0, 0)).save(tmp_path / 'b.png')
    for ground, value in (('white', 255), ('black', 0), ((7, 7, 7), 7)):
        images = load_data(str(tmp_path), size=4, ground=ground).images
        assert (images[0, 0] == torch.tensor([255, 255, 0, 0])[:, None]).all() and (images[1] == value).all()
        assert torch.equal(read_image(tmp_path / 'b.png', 4, ground=ground), images[1])
    assert torch.equal(read_folder(tmp_path, 4).images, load_data(str(tmp_path), size=4).images) and (read_folder(tmp_path, 4).images[1] == 255).all()


def test_classes_of_a_folder(tmp_path):
    "Hidden folders are none, linked ones are, and a picture at the root is of none, which is said."
    for name in ('set/cat/1.png', 'set/cat/.ipynb_checkpoints/1.png', 'set/dog/2.png', 'set/__MACOSX/3.png', 'far/4.png'):
        small(tmp_path / name)
    (tmp_path / 'set' / 'bird').symlink_to(tmp_path / 'far')
    got = read_folder(tmp_path / 'set', 4)
    assert got.classes == ('bird', 'cat', 'dog') and got.labels.tolist() == [0, 1, 2]
    small(tmp_path / 'set' / '0.png')
    with pytest.warns(UserWarning, match='1 pictures lie beside the sub-folders, which are classes, and are of no class'):
        got = read_folder(tmp_path / 'set', 4)
    assert got.classes == ('bird', 'cat', 'dog') and got.labels.tolist() == [-1, 0, 1, 2]
    small(tmp_path / 'one' / 'cat' / '1.png')
    assert read_folder(tmp_path / 'one', 4).labels is None


def test_a_folder_with_splits_gives_one_of_them(tmp_path):
    for name, colour in (('train/cat/1.png', 'red'), ('train/dog/2.png', 'red'), ('test/cat/3.png', 'blue'), ('val/dog/4.png', 'lime')):
        small(tmp_path / name, colour)
    for split, channel, labels in ((None, 0, [0, 1]), ('train', 0, [0, 1]), ('test', 2, None), ('val', 1, None)):
        with pytest.warns(UserWarning, match=f'sub-folders for splits: . pictures of {split or "train"} are read and'):
            got = read_folder(tmp_path, 4, split=split)
        assert (got.images[:, channel] == 255).all() and (None if got.labels is None else got.labels.tolist()) == labels
        with pytest.warns(UserWarning, match='sub-folders for splits'):
            assert torch.equal(load_data(str(tmp_path), split or 'train', size=4).images, got.images)
    small(tmp_path / 'plain' / '1.png')
    with pytest.raises(ValueError, match="split is 'test', and .*plain has no sub-folders train and test"):
        load_data(str(tmp_path / 'plain'), 'test')


TEXTS = {  # what lies beside two pictures -> the words of a refusal, if captions are demanded
    'nothing': ((None, None), 'there are no captions: expected a text file beside each image, such as .*1.txt'),
    'one of two': ((b'a cat', None), '2.txt is not there: 1 of 2 images have a caption beside them, expected all or none'),
    'an empty one': ((b'a cat', b' \n'), '2.txt is empty, expected a caption'),
    'Latin-1': ((b'caf\xe9', b'a cat'), '1.txt is not UTF-8'),
    'good ones': ((b'a cat', b'a dog'), None),
}  # fmt: skip


@pytest.mark.parametrize('name', TEXTS)
def test_captions_are_demanded_taken_or_left(name, tmp_path):
    texts, words = TEXTS[name]
    for k, text in enumerate(texts, 1):
        small(tmp_path / f'{k}.png')
        if text is not None:
            (tmp_path / f'{k}.txt').write_bytes(text)
    good = None if words else ('a cat', 'a dog')
    assert read_folder(tmp_path, 4).captions == good and read_folder(tmp_path, 4, captions=False).captions is None
    if words:
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            load_data(str(tmp_path), size=4, captions=True)
    else:
        assert load_data(str(tmp_path), size=4, captions=True).captions == good


def test_captions_stay_beside_their_pictures_when_one_is_left_out(tmp_path):
    for k in range(4):
        small(tmp_path / f'{k}.png', (k, 0, 0))
        (tmp_path / f'{k}.txt').write_text(f'number {k}')
    (tmp_path / '1.png').write_bytes(b'broken')
    with pytest.warns(UserWarning, match='1 of 4 pictures'):
        got = read_folder(tmp_path, 4, skip_broken=True)
    assert got.captions == ('number 0', 'number 2', 'number 3') and got.images[:, 0, 0, 0].tolist() == [0, 2, 3]


@pytest.mark.parametrize('size', [0, -1, 2.0, True, (32, 32)])
def test_a_size_is_a_whole_number(tmp_path, size):
    small(tmp_path / 'a.png')
    with pytest.raises(ValueError, match='size is .*expected a whole number, at least 1'):
        read_folder(tmp_path, size)


def test_folder_refuses(tmp_path):
    with pytest.raises(ValueError, match='holds no picture that can be read: no .png, '):
        read_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match='not a folder'):
        read_folder(tmp_path / 'nowhere')


@pytest.mark.parametrize(
    'args, words',
    [(('cats',), 'cats.*expected shapes, fashion-mnist'), (('shapes', 'valid'), "valid.*expected 'train' or 'test'")],
)
def test_load_refuses(args, words):
    with pytest.raises(ValueError, match=words):
        load_data(*args)


# --- downloads, from file:// instead of https://


@pytest.fixture
def source(tmp_path, monkeypatch):
    site, body = tmp_path / 'site', b'0123456789'
    site.mkdir()
    (site / 'file.gz').write_bytes(body)
    entry = data.Source(
        'Set/raw',
        (f'file://{tmp_path}/nowhere/', f'file://{site}/'),
        {'file.gz': (10, hashlib.sha256(body).hexdigest())},
        (),
    )
    monkeypatch.setitem(data.SOURCES, 'set', entry)
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

    assert all(m.startswith('https://') for s in data.SOURCES.values() for m in s.mirrors)
    assert {f for f, _ in MNIST.resources} == set(data.SOURCES['mnist'].files)
    assert {f for f, _ in FashionMNIST.resources} == set(data.SOURCES['fashion-mnist'].files)


def test_fashion_mnist_is_the_published_one():
    folder = needs_data('FashionMNIST', 'raw/t10k-images-idx3-ubyte.gz') / 'raw'
    for file, (size, digest) in data.SOURCES['fashion-mnist'].files.items():
        content = (folder / file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest)
    assert torch.bincount(load_data('fashion-mnist', 'test').labels).tolist() == [1000] * 10


# --- emoji: a world of five, published as files of 128 x 128 pixels


def published(path, k, style):
    "One file as the repositories hold it: half transparent, with a colour that nobody must see where it is empty."
    image = numpy.zeros((128, 128, 4), dtype=numpy.uint8)
    image[..., 0] = 255  # red, unseen
    image[33:95, 33:95] = (10 * k, 20, 200, 128 if k % 2 else 255)  # the pixels of its edge will be shared
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **({} if style == 'noto' else {'lossless': True, 'exact': True}))


@pytest.fixture
def emoji(tmp_path, monkeypatch):
    "A list of five emoji, the site that holds them, and an empty root."
    names = ['strawberry', 'grinning face', 'eyes', 'man: red hair', 'O button (blood type)']
    rows = [[f'1f{k:03x}', name, k, name, '', ''] for k, name in enumerate(names)]
    sources, site = {}, tmp_path / 'site'
    for style in data.EMOJI_STYLES:
        sources[style] = {'repository': f'someone/{style}', 'commit': 'c0ffee', 'files': '', 'pixels': ''}
    known = {'sources': sources, 'groups': [], 'emoji': rows}
    monkeypatch.setattr(data, '_emoji_list', lambda: known)
    for s, style in enumerate(data.EMOJI_STYLES):
        kept = range(5) if s == 0 else range(4)  # the last one is in one style alone
        for k in kept:
            rows[k][4 + s] = '?'
        files = [site / f'someone/{style}/c0ffee' / row['path'] for row in data._emoji_rows(style)]
        for k, file in zip(kept, files):
            published(file, k, style)
            rows[k][4 + s] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        sources[style]['files'] = hashlib.sha256(b''.join(f.read_bytes() for f in files)).hexdigest()
        small = b''.join(data._shrink_emoji(f.read_bytes()).tobytes() for f in files)
        sources[style]['pixels'] = hashlib.sha256(small).hexdigest()
    entry = data.SOURCES['emoji']
    monkeypatch.setitem(data.SOURCES, 'emoji', data.Source(entry.folder, (f'file://{site}/',), entry.files, entry.classes))
    return site, tmp_path / 'root', sources


def test_emoji_are_fetched_built_and_read(emoji):
    site, root, _ = emoji
    folder = fetch_data('emoji', root)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()) == [
        'fluent-3d/captions.json', 'fluent-3d/images.npz', 'noto/captions.json', 'noto/images.npz',
    ]  # fmt: skip
    parts = [load_data('emoji', split, root) for split in ('train', 'test')]
    assert sum(len(p) for p in parts) == 9 and not set(parts[0].labels[:, 2].tolist()) & set(parts[1].labels[:, 2].tolist())
    for part in parts:
        for image, (style, group, base) in zip(part.images, part.labels.tolist()):
            assert group == base and image[:, 0, 0].tolist() == [255, 255, 255]  # white, though the file says red there
            for at, covered in ((32, 1.0), (16, 0.25)):  # inside, and a corner of which a quarter is covered
                opacity = covered * (128 / 255 if base % 2 else 1)
                want = [opacity * c + 255 * (1 - opacity) for c in (10 * base, 20, 200)]
                assert (image[:, at, at].double() - torch.tensor(want)).abs().max() <= 1.5
    captions = {c for part in parts for c in part.captions}
    assert {'a 3D emoji of a strawberry', 'an emoji of a strawberry', 'an emoji of eyes', 'a 3D emoji of a man, red hair'} <= captions
    assert 'an emoji of an O button (blood type)' in captions and 'a 3D emoji of an O button (blood type)' not in captions
    shutil.rmtree(site)
    assert fetch_data('emoji', root) == folder  # all is there: nothing to fetch


def test_emoji_shrink_by_the_mean_of_squares(emoji):
    _, root, _ = emoji
    fetch_data('emoji', root)
    for split in ('train', 'test'):
        whole = load_data('emoji', split, root).images.double()
        for size in (32, 16, 8):
            mean = torch.nn.functional.avg_pool2d(whole, 64 // size)
            assert (load_data('emoji', split, root, size=size).images - mean).abs().max() <= 0.5
    for size in (128, 48):
        with pytest.raises(ValueError, match=f'size is {size}, expected 64, 32'):
            load_data('emoji', 'train', root, size=size)


def test_emoji_fetch_goes_on_where_it_stopped(emoji):
    site, root, _ = emoji
    files = sorted((site / 'someone' / 'noto').rglob('*.png'))
    content = files[2].read_bytes()
    files[2].unlink()
    with pytest.raises(OSError, match='could not be fetched.*goes on from here'):
        fetch_data('emoji', root)
    files[2].write_bytes(content)
    for file in files[:2]:
        file.unlink()  # these are here already
    fetch_data('emoji', root)
    assert len(load_data('emoji', 'train', root)) > 0


def test_emoji_refuse_other_files_and_other_pictures(emoji):
    site, root, sources = emoji
    file = sorted((site / 'someone' / 'noto').rglob('*.png'))[1]
    content = file.read_bytes()
    published(file, 9, 'noto')
    with pytest.raises(ValueError, match='gave .* bytes with sha256 .* expected'):
        fetch_data('emoji', root)
    file.write_bytes(content)
    sources['fluent-3d']['files'] = 'another'
    with pytest.raises(ValueError, match='files of fluent-3d have sha256'):
        fetch_data('emoji', root)
    assert not (root / 'emoji' / 'fluent-3d' / 'images.npz').exists()


@pytest.mark.parametrize('harm', ['cut', 'pickle', 'captions', 'pixel', 'missing'])
def test_emoji_refuse_damage(emoji, harm):
    _, root, _ = emoji
    folder = fetch_data('emoji', root) / 'noto'
    path = folder / 'images.npz'
    words = 'damaged'
    if harm == 'cut':
        path.write_bytes(path.read_bytes()[:-40])
    elif harm == 'pickle':
        numpy.savez(path, images=numpy.array([print] * 5, dtype=object))
    elif harm == 'captions':
        (folder / 'captions.json').write_text('[{"base": "1f000"}]')
    elif harm == 'pixel':
        images = numpy.load(path)['images']
        images[1, 2, 3, 0] ^= 1
        numpy.savez(path, images=images)
        words = 'other pictures than the published'
    else:
        path.unlink()
        words = 'emoji is not complete: noto/images.npz not found'
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_data('emoji', 'train', root)


def test_the_list_of_emoji_is_whole():
    known, sources = data._emoji_list(), data.SOURCES['emoji']
    assert [len(data._emoji_rows(style)) for style in data.EMOJI_STYLES] == [1679, 1595] and set(known['sources']) == set(sources.classes)
    for row in known['emoji']:
        assert re.fullmatch('[0-9a-f]+(-[0-9a-f]+)*', row[0]) and row[1] and 0 <= row[2] < len(known['groups'])
        assert all(re.fullmatch('([0-9a-f]{16})?', digest) for digest in row[4:]) and '..' not in row[3]
    assert len({row[0] for row in known['emoji']}) == 1679 and all(len(s['commit']) == 40 for s in known['sources'].values())


def test_published_emoji_are_the_published_ones():
    needs_data('emoji', 'noto/images.npz')
    parts = [load_data('emoji', split, size=32) for split in ('train', 'test')]  # which checks the digests of all pictures
    bases = [set(p.labels[:, 2].tolist()) for p in parts]
    assert sum(map(len, parts)) == 1679 + 1595 and not bases[0] & bases[1] and 0.07 < len(bases[1]) / 1679 < 0.13
    assert all((p.labels.max(0).values < torch.tensor([2, 10, 1679])).all() for p in parts)


def test_model_units_of_bytes_are_symmetric():
    assert to_model(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
