"""Emoji: a world of five, published as files of 128 x 128 pixels from file:// instead of https://."""

import hashlib
import re
import shutil

import numpy
import pytest
import torch
from helpers import needs_data
from PIL import Image

from diffbook.data import SOURCES, fetch_data, load_data
from diffbook.store import emoji as emoji_store
from diffbook.store.emoji import EMOJI_STYLES
from diffbook.store.sets import Source


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
    for style in EMOJI_STYLES:
        sources[style] = {'repository': f'someone/{style}', 'commit': 'c0ffee', 'files': '', 'pixels': ''}
    known = {'sources': sources, 'groups': [], 'emoji': rows}
    monkeypatch.setattr(emoji_store, '_emoji_list', lambda: known)
    for s, style in enumerate(EMOJI_STYLES):
        kept = range(5) if s == 0 else range(4)  # the last one is in one style alone
        for k in kept:
            rows[k][4 + s] = '?'
        files = [site / f'someone/{style}/c0ffee' / row['path'] for row in emoji_store._emoji_rows(style)]
        for k, file in zip(kept, files):
            published(file, k, style)
            rows[k][4 + s] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        sources[style]['files'] = hashlib.sha256(b''.join(f.read_bytes() for f in files)).hexdigest()
        small = b''.join(emoji_store._shrink_emoji(f.read_bytes()).tobytes() for f in files)
        sources[style]['pixels'] = hashlib.sha256(small).hexdigest()
    entry = SOURCES['emoji']
    monkeypatch.setitem(SOURCES, 'emoji', Source(entry.folder, (f'file://{site}/',), entry.files, entry.classes))
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
    known, sources = emoji_store._emoji_list(), SOURCES['emoji']
    assert [len(emoji_store._emoji_rows(style)) for style in EMOJI_STYLES] == [1679, 1595] and set(known['sources']) == set(sources.classes)
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
