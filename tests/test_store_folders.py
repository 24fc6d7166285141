"""Folders of pictures: what is found, which sub-folders are splits or classes, and captions beside them."""

import functools
import itertools
import os

import numpy
import pytest
import torch
from PIL import Image

from diffbook.data import load_data, read_folder, read_image
from diffbook.store import folders
from diffbook.store.folders import choose, find_pictures, read_all, sort_splits
from diffbook.store.pictures import SUFFIXES, middle, read_picture


def plant(root, files):
    "Make a tree: 'a/b.png' is a picture, 'a -> b' a link, 'a/' a folder, anything else a text."
    for name in files:
        path = root / name.partition(' -> ')[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if ' -> ' in name:
            path.symlink_to(name.partition(' -> ')[2])
        elif name.endswith('/'):
            path.mkdir(exist_ok=True)
        elif path.suffix.lower() in SUFFIXES and not path.name.startswith('._'):
            Image.new('RGB', (4, 4), (len(name), 0, 0)).save(path, {'.jfif': 'JPEG', '.jpe': 'JPEG', '.apng': 'PNG'}.get(path.suffix.lower()))
        else:
            path.write_text('a text')
    return root


TREES = {  # files -> what is found
    'every ending': (['a.png', 'b.JPG', 'c.jpeg', 'd.webp', 'e.gif', 'f.BMP', 'g.tif', 'h.tiff', 'i.jfif', 'j.jpe', 'k.apng', 'l.txt', 'm'],
                     ['a.png', 'b.JPG', 'c.jpeg', 'd.webp', 'e.gif', 'f.BMP', 'g.tif', 'h.tiff', 'i.jfif', 'j.jpe', 'k.apng']),
    'names': (['a.b.png', 'v1.2/a.png', 'a\nb.png', 'a b.png', 'caf\u00e9.png', 'a\udcff.png', '"$(x)`.png', 'a.png.png'],
              ['"$(x)`.png', 'a\nb.png', 'a b.png', 'a.b.png', 'a.png.png', 'a\udcff.png', 'caf\u00e9.png', 'v1.2/a.png']),
    'hidden': (['a.png', '.b.png', '._a.png', '.ipynb_checkpoints/a-checkpoint.png', 'cat/.ipynb_checkpoints/a.png', '__MACOSX/a.png', '__MACOSX/cat/._a.png', '.Trash-1000/a.png',
                '.Trash/files/a.png', '@eaDir/a.png/b.jpg', '$RECYCLE.BIN/a.png', 'System Volume Information/a.png', '#recycle/a.png', 'Thumbs.db', '.DS_Store', 'lost+found/a.png', 'cat/b.png'],
               ['a.png', 'cat/b.png']),
    'a folder called like a picture': (['a.png/b.png'], ['a.png/b.png']),
    'a link to a folder': (['set/dog/1.png', 'store/cat/2.png', 'set/cat -> ../store/cat'], ['cat/2.png', 'dog/1.png']),
    'a link to a link': (['set/a -> b', 'set/b -> ../c', 'c/1.png'], ['a/1.png']),
    'a link to oneself': (['set/1.png', 'set/loop -> .', 'set/up -> ..', 'set/cat/2.png', 'set/cat/loop -> ..', 'beside/3.png'], ['1.png', 'cat/2.png']),
    'a link in a circle': (['set/a -> b', 'set/b -> a', 'set/1.png'], ['1.png']),
    'two links to each other\'s folders': (['set/a -> ../x', 'set/b -> ../y', 'x/1.png', 'x/y -> ../y', 'y/2.png', 'y/x -> ../x'], ['a/1.png', 'b/2.png']),
    'two links to one folder': (['set/a -> ../x', 'set/b -> ../x', 'x/1.png'], ['a/1.png']),
    'a link beside what it leads to': (['dog/1.png', 'store/cat/2.png', 'cat -> store/cat'], ['dog/1.png', 'store/cat/2.png']),
    'a link to a folder that is there': (['set/cat/1.png', 'set/all -> cat'], ['cat/1.png']),
    'a link to a hidden folder': (['set/cat -> .store', 'set/.store/1.png'], ['cat/1.png']),
    'a hidden link': (['set/1.png', 'set/.cat -> ../x', 'x/1.png'], ['1.png']),
    'links to files': (['set/a.png -> ../x/1.png', 'set/b.png -> ../x/1.png', 'x/1.png'], ['a.png', 'b.png']),
}  # fmt: skip


@pytest.mark.parametrize('name', TREES)
def test_what_is_found_in_a_folder(name, tmp_path):
    "Of a tree with a folder set, in that; in the order of the names."
    files, want = TREES[name]
    plant(tmp_path, files)
    root = tmp_path / 'set' if (tmp_path / 'set').exists() else tmp_path
    assert [p.relative_to(root).as_posix() for p in find_pictures(root).files] == sorted(want, key=lambda n: n.split('/'))


def test_a_root_may_be_hidden_or_a_link(tmp_path):
    plant(tmp_path, ['.data/cat/1.png', 'link -> .data'])
    assert len(find_pictures(tmp_path / '.data').files) == len(find_pictures(tmp_path / 'link').files) == len(find_pictures(str(tmp_path / 'link')).files) == 1


def test_what_is_not_read_is_counted_and_links_to_nowhere_too(tmp_path):
    plant(tmp_path, ['a.png', 'b.HEIC', 'c.heic', 'd.avif', 'e.txt', '.f.heic', 'g.png -> nowhere'])
    *_, said = choose(tmp_path)
    assert said == ['3 pictures of other formats are skipped: 1 .avif, 2 .heic', f'1 links to pictures lead nowhere, such as {tmp_path}/g.png']
    (tmp_path / 'a.png').unlink()
    with pytest.raises(
        ValueError, match=r'holds no picture that can be read: no \.png, .* file \(3 pictures of other formats are skipped: 1 \.avif, 2 \.heic\)'
    ):
        choose(tmp_path)


def test_a_name_cannot_speak_to_the_terminal(tmp_path):
    plant(tmp_path, ['a.png', 'b\x1b[31m\n.png -> nowhere'])
    *_, said = choose(tmp_path)
    assert said[0].endswith(r'b\x1b[31m\n.png')


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    "To the superuser nothing is forbidden, so the system's word is put in its mouth."
    monkeypatch.setattr(os, 'scandir', lambda path: (_ for _ in ()).throw(PermissionError(13, 'Permission denied', os.fspath(path))))
    with pytest.raises(ValueError, match=f'{tmp_path} could not be read: Permission denied'):
        find_pictures(tmp_path)


SPLITS = {  # folders -> for each, which split and what is left of them
    'none': ('cat dog', [(None, 'cat'), (None, 'dog')]),
    'two': ('train/cat train/dog test/cat', [('train', 'cat'), ('train', 'dog'), ('test', 'cat')]),
    'other words': ('Training Testing validation', [('train', ''), ('test', ''), ('val', '')]),
    'valid': ('train valid', [('train', ''), ('val', '')]),
    'one, and nothing else': ('train/cat train/dog', [('train', 'cat'), ('train', 'dog')]),
    'a class of trains': ('train ship plane', [(None, 'train'), (None, 'ship'), (None, 'plane')]),
    'a class of tests': ('cat test', [(None, 'cat'), (None, 'test')]),
    'below another folder': ('data/train/a data/test/a', [('train', 'data/a'), ('test', 'data/a')]),
    'in every class': ('nut/train nut/test bolt/train bolt/test', [('train', 'nut'), ('test', 'nut'), ('train', 'bolt'), ('test', 'bolt')]),
    'with something beside': ('train test extra', [('train', ''), ('test', ''), (None, 'extra')]),
    'with pictures at the root': (['', 'train', 'test'], [(None, ''), ('train', ''), ('test', '')]),
    'one with pictures at the root': (['', 'train'], [(None, ''), (None, 'train')]),
    'one twice': ('val validation', [(None, 'val'), (None, 'validation')]),
    'the first counts': ('train/test/a test/b', [('train', 'test/a'), ('test', 'b')]),
}  # fmt: skip


@pytest.mark.parametrize('name', SPLITS)
def test_splits_are_no_classes(name):
    folders, want = SPLITS[name]
    folders = folders.split() if isinstance(folders, str) else folders
    got = sort_splits([tuple(filter(None, f.split('/'))) for f in folders])
    assert [(word, '/'.join(parts)) for word, parts in got] == want


def test_a_split_is_chosen_and_that_is_said(tmp_path):
    plant(tmp_path, ['train/cat/1.png', 'train/dog/2.png', 'test/cat/3.png', 'val/cat/4.png', '5.png'])
    for split, names in ((None, '12'), ('train', '12'), ('test', '3'), ('val', '4')):
        files, classes, said = choose(tmp_path, split)
        assert ''.join(f.stem for f in files) == names and set(classes) <= {('cat',), ('dog',)}
        others = ' and '.join(f'{n} of {w}' for w, n in (('train', 2), ('val', 1), ('test', 1)) if w != (split or 'train'))
        assert said == [
            f'{tmp_path} has sub-folders for splits: {len(names)} pictures of {split or "train"} are read and {others} and 1 beside them are left out'
        ]
    with pytest.raises(ValueError, match="split is 'dev', expected 'train', 'test' or 'val'"):
        choose(tmp_path, 'dev')


def test_a_split_that_is_not_there(tmp_path):
    plant(tmp_path, ['cat/1.png', 'dog/2.png'])
    assert len(choose(tmp_path, 'train')[0]) == 2 and choose(tmp_path)[2] == []
    with pytest.raises(ValueError, match="split is 'test', and .* has no sub-folders train and test"):
        choose(tmp_path, 'test')
    plant(tmp_path / 'other', ['train/1.png', 'test/1.png'])
    with pytest.raises(ValueError, match='has sub-folders for the splits train and test, and none for val'):
        choose(tmp_path / 'other', 'val')


def test_pictures_beside_class_folders_are_of_no_class(tmp_path):
    plant(tmp_path, ['cat/1.png', 'dog/2.png', '3.png', '4.png'])
    files, classes, said = choose(tmp_path)
    assert classes == [(), (), ('cat',), ('dog',)] and said == ['2 pictures lie beside the sub-folders, which are classes, and are of no class']


def test_all_that_cannot_be_read_are_told_of_together(tmp_path):
    plant(tmp_path, [f'{k}.png' for k in range(10)])
    files = sorted(tmp_path.iterdir())
    whole = read_all(files, 4)[0]
    for k in (1, 2, 3, 5, 7, 8, 9):
        files[k].write_bytes(b'broken')
    with pytest.raises(
        ValueError, match='^7 of 10 pictures cannot be read: .*and 2 more; to leave out what cannot be read, say skip_broken=True, or --skip-broken'
    ) as caught:
        read_all(files, 4)
    assert [str(caught.value).count(f'/{k}.png') for k in range(10)] == [0, 1, 1, 1, 0, 1, 0, 1, 0, 0]
    images, kept, said = read_all(files, 4, skip_broken=True)
    assert kept == [0, 4, 6] and torch.equal(images, whole[kept]) and said.startswith('7 of 10 pictures cannot be read: ') and said.endswith('left out')
    with pytest.raises(ValueError, match='2 of 2 pictures cannot be read: .*; nothing is left'):
        read_all(files[1:3], 4, skip_broken=True)
    assert read_all(files[:1], 4)[1:] == ([0], '')


def test_many_pictures_are_each_the_one_of_its_file(tmp_path):
    "Wide and tall, turned and transparent: each as it is read alone."
    rng = numpy.random.default_rng(0)
    for k, (mode, size) in enumerate(itertools.product(('RGB', 'RGBA', 'L'), ((9, 5), (5, 9), (7, 7)))):
        pixels, exif = rng.integers(0, 256, (*size[::-1], 4), dtype=numpy.uint8), Image.Exif()
        exif[0x0112] = 1 + k % 8
        Image.fromarray(pixels).convert(mode).save(tmp_path / f'{k}.png', exif=exif)
    files = sorted(tmp_path.iterdir())
    for ground in ('white', 'black'):
        got = read_all(files, 5, ground)[0]
        assert all(torch.equal(v, middle(read_picture(f, ground=ground), 5)) for v, f in zip(got, files))
    assert not torch.equal(read_all(files, 5, 'white')[0], got)


def test_a_bar_is_shown_only_if_it_takes_long(tmp_path, monkeypatch, capsys):
    plant(tmp_path, ['a.png', 'b.png'])
    files = sorted(tmp_path.iterdir())
    from tqdm import tqdm

    monkeypatch.setattr(folders, 'tqdm', functools.partial(tqdm, disable=False))
    read_all(files, 4)
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(folders, 'tqdm', lambda it, **how: tqdm(it, **{**how, 'delay': 0, 'disable': False, 'leave': True}))
    read_all(files, 4)
    assert 'reading pictures: 100%' in capsys.readouterr().err


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
    with pytest.raises(ValueError, match='size is .*expected a positive whole number'):
        read_folder(tmp_path, size)


def test_folder_refuses(tmp_path):
    with pytest.raises(ValueError, match='holds no picture that can be read: no .png, '):
        read_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match='not a folder'):
        read_folder(tmp_path / 'nowhere')
