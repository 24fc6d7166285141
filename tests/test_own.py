"""Pictures of one's own: a folder is looked at, a network is chosen for the time, and each option of `train` and `sample` that is about that does what it says."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from helpers import patch_cli, refuses
from PIL import Image
from test_cli import run

from diffbook import own
from diffbook.cli import loop
from diffbook.cli.config import read_config, write_config
from diffbook.conditioning import ClassConditioner, Conditional, TextConditioner
from diffbook.core import Rows, generator
from diffbook.data import Dataset, batches
from diffbook.exact import GaussianMixture
from diffbook.losses import Denoiser, clipped_snr
from diffbook.own import Choice, choose, look, own_recipe, read, seen
from diffbook.predictions import predict_v, predict_x0
from diffbook.recipes import own_reader
from diffbook.schedules import CosineSchedule
from diffbook.speedrun import Muon
from diffbook.store import own as store
from diffbook.store.metadata import captions_of, said_by_name
from diffbook.store.shards import Column
from diffbook.training import Trainer, checkpoints, learning_rate, load, read_model

TINY = ('--size', 8, '--width', 8, '--depth', 1, '--batch-size', 4)


def paint(path, colour=(200, 60, 30), size=(8, 8), mode='RGB'):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def classes(root, grey=True):
    "Three classes of four pictures, each of a brightness of its own."
    for k, name in enumerate(('one', 'two', 'three')):
        for i in range(4):
            paint(root / name / f'{i}.png', 60 * k + 10 * i if grey else (60 * k, 10 * i, 0), mode='L' if grey else 'RGB')
    return root


def captioned(root, table='metadata.jsonl'):
    rows = [(f'{colour}_{k}.png', f'a {colour} square') for colour in ('red', 'blue') for k in range(3)]
    for name, _ in rows:
        paint(root / name, name.partition('_')[0])
    if table == 'metadata.jsonl':
        (root / table).write_text('\n'.join(json.dumps({'file_name': name, 'text': text}) for name, text in rows) + '\n\n')
    elif table == 'metadata.csv':
        (root / table).write_text('file_name,text,label\n' + '\n'.join(f'{name},"{text}",3' for name, text in rows))
    elif table == 'txt':
        for name, text in rows:
            (root / name).with_suffix('.txt').write_text(text)
    return root


# --- it looks first


def test_a_look_says_what_is_there(tmp_path):
    classes(tmp_path)
    paint(tmp_path / 'one' / 'tall.png', 9, (12, 40), 'L')
    paint(tmp_path / 'two' / 'clear.png', (9, 9), mode='LA')
    (tmp_path / 'one' / 'x.heic').write_bytes(b'?')
    found = look(tmp_path)
    said = '\n'.join(found.describe())
    assert found.grey and found.classes == ('one', 'three', 'two') and found.side == 8 and len(found.files) == 14
    assert '14 pictures, from 8 x 8 to 12 x 40, the shorter side 8 in the middle, grey, 1 with transparency' in said
    assert '3 classes, by sub-folders: one, three, two; from 4 to 5 pictures each' in said and '1 .heic' in said
    paint(tmp_path / 'two' / 'red.png')
    assert not look(tmp_path).grey
    paint(tmp_path / 'two' / 'red.png', (7, 7, 7))
    assert look(tmp_path).grey  # what a file could hold does not count, but what it holds


def test_a_look_names_what_cannot_be_read(tmp_path):
    paint(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_bytes(b'broken')
    with pytest.raises(ValueError, match='1 of 2 pictures cannot be read: .*b.png.*--skip-broken'):
        look(tmp_path)
    found = look(tmp_path, skip_broken=True)
    assert [f.name for f in found.files] == ['a.png'] and '1 of 2 pictures cannot be read' in found.said[-1]


def test_one_class_is_none(tmp_path):
    paint(tmp_path / 'cats' / 'a.png')
    assert look(tmp_path).classes == ()


@pytest.mark.parametrize('where', ['metadata.jsonl', 'metadata.csv', 'txt'])
def test_captions_are_found_where_they_are_kept(tmp_path, where):
    found = look(captioned(tmp_path, where))
    texts, source = found.captions()
    assert texts == ('a blue square',) * 3 + ('a red square',) * 3 and (where in source or where == 'txt')
    assert found.hints == (('txt',) if where == 'txt' else ('metadata',))
    data = read(found, choose(found, steps=1, reads='captions'))
    assert data.captions == texts and (data.images[0, 2] == 255).all() and (data.images[-1, 0] == 255).all()


def test_a_table_in_a_split_names_files_below_it(tmp_path):
    paint(tmp_path / 'train' / 'images' / 'a.png')
    (tmp_path / 'train' / 'metadata.jsonl').write_text('{"file_name": "images/a.png", "caption": "one", "label": 2}')
    assert look(tmp_path).captions()[0] == ('one',)


@pytest.mark.parametrize('name, words', [
    ('a_red_slime_03.png', 'a red slime'), ('012-big-cat (2).jpg', 'big cat'), ('IMG_0001.png', 'IMG'), ('007.png', '007'), ('café au lait.webp', 'café au lait'), ('__.png', 'picture'),
])  # fmt: skip
def test_the_name_of_a_file_as_a_caption(name, words):
    assert said_by_name(name) == words


def table(tmp, text, name='metadata.jsonl'):
    def ask():
        paint(tmp / 'a.png')
        (tmp / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return captions_of(tmp, [tmp / 'a.png'])

    return ask


BAD_TABLES = {
    'no JSON': ('{"file_name": ', 'line 1: .* is not JSON'),
    'no object': ('[1]', r'line 1: .*expected an object such as'),
    'no file_name': ('{"name": "a.png", "text": "x"}', 'has the columns name, text, expected file_name and text'),
    'no captions': ('{"file_name": "a.png", "label": 3}', 'expected one called text, caption'),
    'two that could be': ('{"file_name": "a.png", "x": "1", "y": "2"}', 'has the columns file_name, x, y'),
    'a number': ('{"file_name": "a.png", "text": 3}', 'text is 3, expected two texts'),
    'an empty one': ('{"file_name": "a.png", "text": " "}', "text is '', expected two texts|text is ' '|expected two texts"),
    'another file': ('{"file_name": "b.png", "text": "x"}', 'says nothing of .*a.png: 0 of 1 pictures have a caption there'),
    'nothing': ('', 'is empty'),
    'no UTF-8': (b'\xff\xfe', 'is not UTF-8'),
    'a control character': ('{"file_name": "a.png", "text": "x\\u001b[2J"}', 'control character U\\+001B'),
}


@pytest.mark.parametrize('name', BAD_TABLES)
def test_a_table_that_is_none(tmp_path, name):
    text, words = BAD_TABLES[name]
    with pytest.raises(ValueError, match=words):
        table(tmp_path, text)()


# --- it reads


def test_pad_shows_all_and_centre_the_middle(tmp_path):
    pixels = numpy.zeros((8, 24, 3), numpy.uint8)
    pixels[:, :8] = (255, 0, 0)
    pixels[:, 16:] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / 'wide.png')
    found = look(tmp_path)
    got = {fit: store.read_own(found, 24, fit=fit, ground='#00ff00').images[0] for fit in ('centre', 'pad')}
    assert (got['centre'] == 0).all()
    assert (got['pad'][:, 12, 2] == torch.tensor([255, 0, 0])).all() and (got['pad'][:, 12, 21] == torch.tensor([0, 0, 255])).all()
    assert (got['pad'][:, 2, 12] == torch.tensor([0, 255, 0])).all()


def test_grey_stays_grey_and_colour_that_is_lost_is_counted(tmp_path):
    classes(tmp_path)
    found = look(tmp_path)
    assert read(found, choose(found, steps=1)).images.shape == (12, 1, 8, 8)
    assert read(found, choose(found, steps=1, grey=False)).images.shape == (12, 3, 8, 8)
    paint(tmp_path / 'one' / 'red.png')
    got = store.read_own(look(tmp_path), 8, grey_out=True)
    assert got.images.shape == (13, 1, 8, 8) and got.said == ['1 pictures have colour, and are read in grey']


def test_more_than_fits_lies_on_the_disk_and_is_read_once(tmp_path, monkeypatch):
    found = look(classes(tmp_path / 'set', grey=False))
    want = store.read_own(found, 8)
    monkeypatch.setattr(store, 'IN_MEMORY', 100)
    got = store.read_own(found, 8, cache=tmp_path / 'cache')
    assert isinstance(got.images, Column) and torch.equal(got.images[:], want.images) and torch.equal(got.labels, want.labels)
    monkeypatch.setattr(store, 'read_one', lambda *a: 1 / 0)
    again = store.read_own(found, 8, cache=tmp_path / 'cache')
    assert torch.equal(again.images[:], want.images) and again.classes == want.classes
    with pytest.raises(ZeroDivisionError):  # another size, ground or file is read anew
        store.read_own(found, 16, cache=tmp_path / 'cache')
    paint(tmp_path / 'set' / 'one' / '0.png', (1, 2, 3), (9, 9))
    with pytest.raises(ZeroDivisionError):
        store.read_own(look(tmp_path / 'set'), 8, cache=tmp_path / 'cache')


def test_what_breaks_while_it_is_read_is_never_kept_on_the_disk(tmp_path, monkeypatch):
    paint(tmp_path / 'set' / 'a.png', size=(40, 40))
    whole = (tmp_path / 'set' / 'a.png').read_bytes()
    (tmp_path / 'set' / 'b.png').write_bytes(whole[: len(whole) - 30])  # its head is sound
    monkeypatch.setattr(store, 'IN_MEMORY', 100)
    found = look(tmp_path / 'set', skip_broken=True)
    assert len(found.files) == 2 - (len(found.said) > 0)
    for _ in range(2):
        with pytest.raises(ValueError, match='1 of 2 pictures cannot be read: .*b.png'):
            store.read_own(replace(found), 8, cache=tmp_path / 'cache')
    assert len(store.read_own(found, 8, cache=tmp_path / 'cache', skip_broken=True).images) == 1


def test_only_so_many_pictures_are_in_flight(tmp_path):
    "A bounded number ahead of what is asked for, whatever the folder holds."
    begun = []
    stream = store.worked(lambda path: begun.append(path), [Path(str(k)) for k in range(5000)], 'x', ahead=16)
    for _ in range(10):
        next(stream)
    assert len(begun) <= 10 + 16
    stream.close()


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path):
    pixels = numpy.indices((512, 512)).sum(0).astype(numpy.uint8) // 4
    Image.fromarray(pixels).convert('RGB').save(tmp_path / 'a.jpg', quality=95)
    small = store.read_one(tmp_path / 'a.jpg', 16, 'centre', (255, 255, 255)).float()
    with Image.open(tmp_path / 'a.jpg') as image:
        want = torch.from_numpy(numpy.array(image.resize((16, 16), Image.Resampling.BOX))).permute(2, 0, 1).float()
    assert (small - want).abs().max() <= 3


# --- what is seen of a picture


def test_a_flip_is_a_mirror_image_of_half_of_them():
    "512 throws: the chance of a share beyond 0.4 to 0.6 is below 1e-5."
    x = torch.arange(512 * 6).reshape(512, 1, 1, 6).to(torch.uint8)
    got = seen(x, generator(0, 'flip'), flip=True)
    turned = (got != x).flatten(1).any(1)
    assert torch.equal(got[turned], x[turned].flip(-1)) and 0.4 < turned.double().mean() < 0.6
    again = torch.cat([seen(x[k : k + 128], Rows(generator(0, 'flip'), k, 512), flip=True) for k in range(0, 512, 128)])
    assert torch.equal(again, got)  # in parts, the same


def test_a_moving_window_goes_everywhere():
    x = torch.arange(100).reshape(1, 1, 10, 10).to(torch.uint8).expand(1000, 1, 10, 10)
    got = seen(x, generator(0, 'window'), size=8)
    assert got.shape == (1000, 1, 8, 8) and set(got[:, 0, 0, 0].tolist()) == {10 * r + c for r in range(3) for c in range(3)}
    assert torch.equal(got[:, 0] - got[:, :1, 0, :1], (x[0, :, :8, :8]).expand(1000, 8, 8))


def test_the_denoiser_of_mirrored_data_is_a_mirror():
    "Where each picture is there with its mirror image, the ideal denoiser of a mirrored state is the mirrored denoiser."
    points = torch.randn(5, 6, generator=generator(0, 'x'), dtype=torch.float64)
    both = torch.cat([points, points.flip(-1)])
    schedule, t = CosineSchedule(), torch.tensor(0.4, dtype=torch.float64)
    law = GaussianMixture(torch.full((10,), 0.1).double(), both, (1e-4 * torch.eye(6).double()).expand(10, 6, 6))
    x = torch.randn(7, 6, generator=generator(0, 'y'), dtype=torch.float64)
    denoise = law.denoise(schedule)
    torch.testing.assert_close(denoise(x.flip(-1), t), denoise(x, t).flip(-1))


def test_digits_are_drawn_the_same_again_and_no_two_alike(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        own.draw_digits(tmp_path / name, 3, 16, seed)
    files = {name: [p.read_bytes() for p in sorted((tmp_path / name).rglob('*.png'))] for name in 'abc'}
    assert files['a'] == files['b'] and len({*files['a'], *files['c']}) == 60
    found = look(tmp_path / 'a')
    assert found.grey and len(found.classes) == 10 and all(head.size == (16, 16) for head in found.heads)


# --- it chooses


def timed(seconds):
    "A machine on which an update of a network takes so long per picture, pixel and channel."
    return lambda c: seconds * c.batch_size * c.width**2 * c.depth * (c.size / c.patch) ** 2 / 1e9


@pytest.fixture
def digits(tmp_path):
    return look(classes(tmp_path / 'digits'))


@pytest.mark.parametrize('seconds', [1e-3, 0.01, 0.1, 1.0, 10.0, 100.0])
def test_the_minutes_suffice(digits, seconds):
    choice = choose(digits, 15, size=32, measure=timed(seconds))
    cost = timed(seconds)(choice)
    assert choice.steps * cost <= 15 * 60
    enough = choice.steps * choice.batch_size >= own.UPDATES * own.BATCH
    assert enough or choice.width == min(width for width, _ in own.NETS)
    if enough and choice.width < own.NETS[0][0]:  # the next larger one would not have had the time
        k = own.NETS.index((choice.width, choice.depth))
        larger = replace(choice, width=own.NETS[k - 1][0], depth=own.NETS[k - 1][1], batch_size=own.BATCH)
        assert 54 * 15 / timed(seconds)(larger) < own.UPDATES


def test_less_time_makes_pictures_small_and_more_time_the_batch_large(tmp_path):
    paint(tmp_path / 'a.png', size=(200, 300))
    found = look(tmp_path)
    assert own.side_of(found) == 64
    sizes = [choose(found, minutes, measure=timed(300.0)).size for minutes in (600, 15, 2)]
    assert sizes[0] == 64 and sizes == sorted(sizes, reverse=True) and sizes[-1] < 64
    assert choose(found, 6000, measure=timed(1e-4)).batch_size == 128


def test_what_is_said_stays(digits):
    choice = choose(digits, 15, size=16, width=24, depth=3, patch=4, batch_size=5, grey=False, measure=timed(1e3))
    assert (choice.size, choice.width, choice.depth, choice.patch, choice.batch_size, choice.channels) == (16, 24, 3, 4, 5, 3)
    assert choose(digits, steps=7, measure=lambda c: 1 / 0).steps == 7  # nothing is measured


def test_passes_are_counted():
    "By hand: batches are cut from shuffled rounds, so that each picture is seen so often, up to one."
    choice = Choice(8, 1, 8, 1, 2, batch_size=5, steps=7)
    drawn = [rows for _, (rows,) in zip(range(7), batches((torch.arange(12),), 5, 0))]
    count = torch.cat(drawn).bincount(minlength=12)
    assert choice.passes(12) == 35 / 12 and count.min() >= int(choice.passes(12)) and count.max() <= int(choice.passes(12)) + 1


@pytest.mark.parametrize('size, patch', [(8, 1), (16, 1), (28, 2), (32, 2), (48, 4), (64, 4), (128, 8)])
def test_cells_are_about_sixteen_a_side(size, patch):
    assert own.patch_of(size) == patch


def test_a_step_is_measured_by_the_clock(monkeypatch, digits):
    real = Trainer.update
    monkeypatch.setattr(Trainer, 'update', lambda self, batch: (time.sleep(0.02), real(self, batch))[1])
    seconds = own.step_seconds(Choice(8, 1, 8, 1, 2, 4), 'cpu', least=0.05)
    assert 0.02 <= seconds < 2


@pytest.mark.parametrize('reads', [None, 'classes', 'captions'])
def test_the_recipe_of_a_choice(reads, tmp_path):
    found = look(captioned(tmp_path) if reads == 'captions' else classes(tmp_path))
    choice = choose(found, steps=3, width=8, depth=1, reads=reads, batch_size=4)
    data, made = read(found, choice), own_recipe(choice)
    model = made.model(data)
    kind = {None: Denoiser, 'classes': Conditional, 'captions': Conditional}[reads]
    assert isinstance(model, kind) and isinstance(
        getattr(model, 'conditioner', None), {None: type(None), 'classes': ClassConditioner, 'captions': TextConditioner}[reads]
    )
    assert isinstance(made.schedule, CosineSchedule) and model.prediction is predict_x0
    trainer = made.trainer(model, device='cpu')
    before = [p.clone() for p in model.parameters()]
    for _ in trainer.fit(
        zip(range(3), batches(made.examples(data, model), 4, 0)).__iter__()
        if False
        else (b for _, b in zip(range(3), batches(made.examples(data, model), 4, 0)))
    ):
        pass
    assert sum(not torch.equal(a, b) for a, b in zip(before, model.parameters())) > len(before) / 2


def test_a_prompt_may_be_longer_than_any_caption():
    found = Dataset(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), captions=('a cat', 'a dog'))
    reader = own_reader(found)
    long = 'a cat and a dog and a cat and a dog'
    tokens = reader.tokenizer([long])
    assert reader.tokenizer.decode(tokens[0]).strip() == long if hasattr(reader.tokenizer, 'decode') else (tokens[0] == reader.tokenizer.end).any()


# --- the command line


def test_classes_are_learned_and_drawn_by_name(tmp_path, capsys):
    data, out = classes(tmp_path / 'set'), tmp_path / 'run'
    run('train', '--data', data, *TINY, '--steps', 3, '--out', out)
    said = capsys.readouterr().out
    assert '12 pictures, all of 8 x 8, grey' in said and 'in 3 classes' in said and '--class one' in said and 'read as 1 x 8 x 8' in said
    about = read_model(out)[0]['about']
    assert about['classes'] == ['one', 'three', 'two'] and about['shape'] == [1, 8, 8]
    model = load(out)
    for k in range(4):  # a class is what is asked of it
        with torch.no_grad():
            model.conditioner.table.weight[k] += k
    seen = []
    patch = pytest.MonkeyPatch()
    with patch.context() as patches:
        patches.setattr(ClassConditioner, 'forward', lambda self, raw, real=ClassConditioner.forward: (seen.append(raw.tolist()), real(self, raw))[1])
        run('sample', out, '--n', 2, '--steps', 1, '--class', 'two', '--out', tmp_path / 'x.png')
        run('sample', out, '--n', 2, '--steps', 1, '--class', '1', '--out', tmp_path / 'x.png')
        run('sample', out, '--n', 4, '--steps', 1, '--out', tmp_path / 'x.png')
    assert seen == [[2, 2], [1, 1], [0, 1, 2, 0]]
    assert 'no --class: one, three, two in turn' in capsys.readouterr().err
    run('sample', out, '--class', 'tow', '--out', tmp_path / 'x.png', code=2)
    assert "--class is 'tow', expected one of one, three, two; did you mean two?" in capsys.readouterr().err
    run('sample', out, '--prompt', 'two', '--out', tmp_path / 'x.png', code=2)
    assert "--prompt is 'two', and " in (said := capsys.readouterr().err) and 'expected --class, one of one, three, two' in said


def test_class_folders_can_be_left_alone_or_asked_for(tmp_path, capsys):
    data = classes(tmp_path / 'set')
    run('train', '--data', data, *TINY, '--steps', 1, '--no-class-folders', '--out', tmp_path / 'a')
    assert isinstance(load(tmp_path / 'a'), Denoiser)
    run('sample', tmp_path / 'a', '--class', 'one', '--out', tmp_path / 'x.png', code=2)
    assert '--class is one, and ' in (said := capsys.readouterr().err) and 'knows no classes' in said
    paint(tmp_path / 'flat' / 'a.png')
    run('train', '--data', tmp_path / 'flat', *TINY, '--steps', 1, '--class-folders', '--out', tmp_path / 'b', code=2)
    assert '--class-folders is given, and' in capsys.readouterr().err
    run('train', '--data', data, *TINY, '--class-folders', '--text', '--out', tmp_path / 'b', code=2)
    assert 'both --text and --class-folders are given' in capsys.readouterr().err


def test_pictures_of_no_class_are_unsorted(tmp_path):
    paint(classes(tmp_path / 'set') / 'loose.png', 3, mode='L')
    run('train', '--data', tmp_path / 'set', *TINY, '--steps', 1, '--out', tmp_path / 'run')
    assert read_model(tmp_path / 'run')[0]['about']['classes'] == ['one', 'three', 'two', 'unsorted']


def test_captions_of_a_table_are_learned_and_stray_texts_stop_nothing(tmp_path, capsys):
    data = captioned(tmp_path / 'set')
    run('train', '--data', data, *TINY, '--steps', 1, '--out', tmp_path / 'a')
    assert 'with captions' in capsys.readouterr().out and 'red' in read_model(tmp_path / 'a')[0]['about']['words']
    run('sample', tmp_path / 'a', '--n', 1, '--steps', 1, '--prompt', 'a red square and a blue square and a red square', '--out', tmp_path / 'x.png')
    assert 'dropped' not in capsys.readouterr().err
    run('train', '--data', data, *TINY, '--steps', 1, '--no-text', '--out', tmp_path / 'b')
    assert isinstance(load(tmp_path / 'b'), Denoiser)
    run('train', '--data', data, *TINY, '--steps', 1, '--captions', 'names', '--out', tmp_path / 'c')
    assert read_model(tmp_path / 'c')[0]['about']['words'] == ['blue', 'red']
    run('train', '--data', data, *TINY, '--steps', 1, '--captions', 'txt', '--out', tmp_path / 'd', code=2)
    assert 'there are no captions: expected a text file beside each image' in capsys.readouterr().err
    (data / 'metadata.jsonl').write_text('{"file_name": "red_0.png", "text": "x"}')  # of one picture alone
    (data / 'red_0.txt').write_bytes(b'0 0.5 caf\xe9')
    capsys.readouterr()
    run('train', '--data', data, *TINY, '--steps', 1, '--out', tmp_path / 'e')
    assert 'note: the captions are not read: ' in capsys.readouterr().err and isinstance(load(tmp_path / 'e'), Denoiser)


def test_a_plan_trains_nothing(tmp_path, capsys):
    data = classes(tmp_path / 'set')
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(own, 'step_seconds', lambda choice, device, begin=None: timed(1.0)(choice))
        run('train', '--data', data, '--plan', '--minutes', 15, '--out', tmp_path / 'run')
        said = capsys.readouterr().out
        assert re.search(r'An update takes \S+ s on cpu: in 15 minutes about [\d,]+ updates, which see each of the 12 pictures [\d,.]+ times', said)
        assert 'Nothing was trained' in said and not (tmp_path / 'run').exists()
        run('train', '--data', data, '--plan', '--out', tmp_path / 'run', '--json', '--width', 8, '--depth', 1)
    found = json.loads(capsys.readouterr().out)
    assert found['found']['classes'] == ['one', 'three', 'two'] and (found['plan']['width'], found['plan']['minutes'], found['plan']['size']) == (8, 15, 8)
    run('train', '--data', 'shapes', '--plan', '--out', tmp_path / 'run', code=2)
    assert '--plan is given, and --data is shapes; expected a folder of images' in capsys.readouterr().err


def test_a_run_writes_its_options_and_is_repeated_by_them(tmp_path, capsys):
    data, out = classes(tmp_path / 'set'), tmp_path / 'run'
    run('train', '--data', data, *TINY, '--steps', 3, '--flip', '--seed', 4, '--drop', 0.5, '--out', out)
    said = read_config(out / 'run.toml')
    assert (said['width'], said['flip'], said['seed'], said['drop'], said['steps'], said['class_folders']) == (8, True, 4, 0.5, 3, True)
    run('train', '--config', out / 'run.toml', '--out', tmp_path / 'again')
    assert (tmp_path / 'again' / 'model.safetensors').read_bytes() == (out / 'model.safetensors').read_bytes()
    run('train', '--config', out / 'run.toml', '--seed', 5, '--out', tmp_path / 'other')
    assert (tmp_path / 'other' / 'model.safetensors').read_bytes() != (out / 'model.safetensors').read_bytes()
    run('train', '--config', out / 'run.toml', '--minutes', 0.001, '--out', tmp_path / 'short')  # of steps and minutes, that which is typed
    assert 'minutes = 0.001' in (tmp_path / 'short' / 'run.toml').read_text() and 'steps' not in read_config(tmp_path / 'short' / 'run.toml')
    capsys.readouterr()
    for text, words in (
        ('widht = 8', 'says widht, expected some of accumulate, batch-size'),
        ('width = "8"', 'says width = "8", expected a whole number'),
        ('flip = 1', 'says flip = 1, expected true or false'),
        ('width: 8', r"line 1 is 'width: 8', expected name = value"),
        ('width = [8]', r"line 1 has the value '\[8\]', expected a text in quotes, a number, true or false"),
        ('lr = 1\nlr = 2', 'line 2 says lr again'),
    ):
        (tmp_path / 'bad.toml').write_text(text)
        run('train', '--config', tmp_path / 'bad.toml', '--data', data, '--out', tmp_path / 'x', code=2)
        assert re.search(words, said := capsys.readouterr().err), said


def test_a_config_is_toml(tmp_path):
    "What is written is read by Python's own reader where there is one, and back by ours."
    said = {'data': 'a "b"\\c\n√', 'lr': 2e-3, 'steps': 3, 'flip': True, 'text': False, 'ema': 1.0}
    (tmp_path / 'a.toml').write_text(write_config(said), encoding='utf-8')
    assert read_config(tmp_path / 'a.toml') == said
    tomllib = pytest.importorskip('tomllib')
    assert tomllib.loads((tmp_path / 'a.toml').read_text(encoding='utf-8')) == said
    (tmp_path / 'b.toml').write_text("# x\nbatch-size = 4  # four\ndata = 'C:\\pictures'\n")
    assert (
        read_config(tmp_path / 'b.toml')
        == {'batch_size': 4, 'data': 'C:\\pictures'}
        == {k.replace('-', '_'): v for k, v in tomllib.loads((tmp_path / 'b.toml').read_text()).items()}
    )


# --- while it trains


@pytest.fixture
def clock(monkeypatch):
    "A clock that a test moves."
    now = [0.0]
    monkeypatch.setattr(loop.time, 'monotonic', lambda: now[0])
    return now


class Walker:
    "As much of a trainer as a pace looks at."

    def __init__(self):
        self.step, self.settings = 0, {'total': None, 'lr': 1.0, 'warmup': 0}


@pytest.mark.parametrize('speeds', [(1.0,), (1.0, 3.0), (3.0, 0.5, 1.0)])
def test_the_rate_falls_to_nothing_when_the_minutes_are_over(clock, speeds):
    "At constant speed as in a run of so many steps; at any, it ends near 0."
    walker, rates = Walker(), []
    pace = loop.Pace(walker, loop.Length(None, 10.0, True), alone=True)
    while not pace.over():
        rates.append(learning_rate(walker.step, 1.0, 0, walker.settings['total']))
        clock[0] += speeds[int(len(speeds) * min(0.999, clock[0] / 600))]
        walker.step += 1
        pace.update()
    assert rates[-1] < 1e-3 and all(b <= a + 0.05 for a, b in zip(rates, rates[1:]))
    if len(speeds) == 1:
        want = [learning_rate(k, 1.0, 0, len(rates)) for k in range(len(rates))]
        assert max(abs(a - b) for a, b in zip(rates[3:], want[3:])) < 0.01


def test_a_constant_rate_and_a_team_move_nothing(clock):
    for length, alone in ((loop.Length(None, 1.0, False), True), (loop.Length(None, 1.0, True), False)):
        walker = Walker()
        pace = loop.Pace(walker, length, alone)
        clock[0], walker.step = clock[0] + 30, 30
        pace.update()
        assert walker.settings['total'] is None


def test_sheets_are_drawn_on_the_way_from_the_same_noise(tmp_path):
    data, out = classes(tmp_path / 'set'), tmp_path / 'run'
    run('train', '--data', data, *TINY, '--steps', 6, '--sample-every', 2, '--out', out)
    assert [p.name for p in sorted((out / 'samples').iterdir())] == ['step-000002.png', 'step-000004.png', 'step-000006.png']
    with Image.open(out / 'samples' / 'step-000002.png') as sheet:
        assert sheet.size[0] == 2 * (3 * 8 + 2 * 2)  # a column a class
    run('train', '--data', data, *TINY, '--steps', 6, '--out', tmp_path / 'few')
    assert not (tmp_path / 'few' / 'samples').exists()
    run('train', '--data', data, *TINY, '--steps', 6, '--out', tmp_path / 'same')
    assert (tmp_path / 'same' / 'model.safetensors').read_bytes() == (out / 'model.safetensors').read_bytes()  # looking changes nothing


def test_when_a_sheet_is_due(clock):
    walker = Walker()
    for length, most in ((loop.Length(4000, None, True), 9), (loop.Length(None, 60.0, True), 9)):
        pace, last, due = loop.Pace(walker, length, True), 0, 0
        pace.first = walker.step = 0
        for walker.step in range(1, 4001):
            clock[0] += 0.9
            pace.update()
            if pace.sheet_due(last, None):
                last, due = walker.step, due + 1
        assert 6 <= due <= most


def test_the_model_of_now_is_published_before_the_first_checkpoint(clock, tmp_path, monkeypatch):
    "After ten seconds, and then once a minute, although the next checkpoint is far."
    seen, real, out = [], Trainer.update, tmp_path / 'run'

    def update(self, batch):
        clock[0] += 4
        if (out / 'model.safetensors').exists():
            seen.append((self.step, read_model(out)[0]['about']['steps']))
        return real(self, batch)

    monkeypatch.setattr(Trainer, 'update', update)
    run('train', '--data', classes(tmp_path / 'set'), *TINY, '--steps', 20, '--out', out)
    assert seen[0] == (3, 3) and seen[-1] == (19, 18)


def test_the_log_suits_a_short_run_and_says_the_time(tmp_path, capsys):
    run('train', '--data', classes(tmp_path / 'set'), *TINY, '--steps', 12, '--out', tmp_path / 'run')
    lines = (tmp_path / 'run' / 'training.csv').read_text().splitlines()
    assert lines[0] == 'step,loss,lr,grad_norm,seconds,images_per_second' and len(lines) == 13
    rows = numpy.array([[float(v) for v in line.split(',')] for line in lines[1:]])
    assert (rows[:, 0] == range(1, 13)).all() and (numpy.diff(rows[:, 4]) >= 0).all() and (rows[:, 5] > 0).all()


def test_without_a_terminal_lines_are_printed_and_no_bar(clock, tmp_path, monkeypatch, capsys):
    real = Trainer.update
    monkeypatch.setattr(Trainer, 'update', lambda self, batch: (clock.__setitem__(0, clock[0] + 9), real(self, batch))[1])
    monkeypatch.delenv('TQDM_DISABLE', raising=False)
    run('train', '--data', classes(tmp_path / 'set'), *TINY, '--steps', 9, '--out', tmp_path / 'run')
    said = capsys.readouterr()
    assert re.search(r'update 4 of 9: loss [\d.]+, rate [\d.e-]+, \d+ images/s, 45 s left', said.out) and 'step/s' not in said.err and '%' not in said.err
    run('train', '--data', tmp_path / 'set', *TINY, '--steps', 9, '--out', tmp_path / 'quiet', '--quiet')
    assert capsys.readouterr().out == ''
    run('train', '--data', tmp_path / 'set', *TINY, '--steps', 2, '--out', tmp_path / 'json', '--json')
    found = json.loads(capsys.readouterr().out)
    assert found['steps'] == 2 and found['classes'] == ['one', 'three', 'two'] and found['shape'] == [1, 8, 8]


# --- every option


LOOKS = {  # option of train, two values, what is looked at of the run, what it is for each
    'depth': (1, 2, lambda t: len(t.model.net.down), None),
    'patch': (1, 2, lambda t: t.model.net.patch, (1, 2)),
    'warmup': (0, 50, lambda t: t.settings['warmup'], (0, 50)),
    'weight_decay': (0.0, 0.3, lambda t: t.optimizer.param_groups[0]['weight_decay'], (0.0, 0.3)),
    'rate': ('falling', 'constant', lambda t: t.settings['total'], (2, None)),
    'optimizer': ('adamw', 'muon', lambda t: type(t.optimizer), (torch.optim.AdamW, Muon)),
    'prediction': ('x0', 'v', lambda t: t.model.prediction, (predict_x0, predict_v)),
    'dropout': (0.0, 0.5, lambda t: any(m.p == 0.5 for m in t.model.modules() if isinstance(m, torch.nn.Dropout)), (False, True)),
    'grey': (False, True, lambda t: t.model.net.in_channels, (3, 1)),
    'fit': ('centre', 'random', lambda t: tuple(t.batch[0].shape[1:]), ((1, 8, 8), (1, 9, 9))),
}  # fmt: skip


@pytest.fixture
def trainers(monkeypatch):
    made, real = [], Trainer.update

    def update(self, batch):
        self.batch = batch
        made.append(self) if self not in made else None
        return real(self, batch)

    monkeypatch.setattr(Trainer, 'update', update)
    return made


def words(name, value):
    flag = '--' + name.replace('_', '-')
    return [flag if value else f'--no-{flag[2:]}'] if isinstance(value, bool) else [flag, value]


@pytest.mark.parametrize('name', LOOKS)
def test_an_option(name, tmp_path, trainers):
    *values, at, want = LOOKS[name]
    base = {'size': 8, 'width': 8, 'depth': 1, 'batch_size': 4, 'steps': 2}
    for k, value in enumerate(values):
        run(
            'train',
            '--data',
            classes(tmp_path / 'set'),
            '--no-class-folders',
            *(w for n, v in (base | {name: value}).items() for w in words(n, v)),
            '--out',
            tmp_path / str(k),
        )
    got = tuple(at(t) for t in trainers)
    assert got == want if want is not None else got[0] < got[1]


def test_chances_and_weights_and_mirrors_reach_the_loss(tmp_path, monkeypatch):
    "drop, snr_weight and flip, as the recipe has them."
    data, seen = classes(tmp_path / 'set'), []
    made = own.changed
    monkeypatch.setattr(own, 'changed', lambda recipe, **k: (seen.append(made(recipe, **k)), seen[-1])[1])
    for k, more in enumerate(((), ('--drop', 0.7), ('--no-snr-weight',), ('--prediction', 'v'), ('--prediction', 'v', '--snr-weight'), ('--flip',))):
        run('train', '--data', data, *TINY, '--steps', 1, '--out', tmp_path / str(k), *more)
    assert len(seen) == 12  # own_recipe changes nothing, and then what was said is changed
    plain, drop, bare, v, weighed, flip = seen[1::2]
    assert (plain.drop, drop.drop) == (0.1, 0.7) and (plain.weight, bare.weight, v.weight, weighed.weight) == (clipped_snr, None, None, clipped_snr)
    assert plain.view is None and flip.view.keywords == {'flip': True}


def test_all_of_a_class_dropped_is_a_model_that_hears_nothing(tmp_path):
    "With --drop 1, no gradient reaches the rows of the classes."
    run('train', '--data', classes(tmp_path / 'set'), *TINY, '--steps', 3, '--drop', 1, '--weight-decay', 0, '--out', tmp_path / 'a')
    run('train', '--data', tmp_path / 'set', *TINY, '--steps', 3, '--drop', 0, '--weight-decay', 0, '--out', tmp_path / 'b')
    a, b = (load(tmp_path / name).conditioner.table.weight for name in 'ab')
    first = own.class_reader  # a and b began alike
    assert first and (a[:3] - b[:3]).abs().max() > 0 and (a[3] - b[3]).abs().max() > 0


BAD = {
    'a fit': (('--fit', 'stretch'), '--fit is stretch, expected centre, pad, random'),
    'a rate': (('--rate', 'up'), '--rate is up, expected falling, constant'),
    'an optimizer': (('--optimizer', 'adam'), '--optimizer is adam, expected adamw, muon'),
    'an optimizer of split matrices': (('--optimizer', 'muon', '--shard'), '--shard splits every matrix among the processes, and --optimizer muon needs it whole'),
    'a prediction': (('--prediction', 'y'), '--prediction is y, expected v, x0'),
    'captions': (('--captions', 'csv'), '--captions is csv, expected metadata, txt, names'),
    'captions and no text': (('--captions', 'txt', '--no-text'), '--captions is txt, and --no-text is given'),
    'a chance': (('--drop', 1.5), '--drop is 1.5, expected at most 1'),
    'a depth': (('--depth', 0), '--depth is 0, expected at least 1'),
    'a sheet': (('--sample-every', 0), '--sample-every is 0, expected at least 1'),
    'a model': (('--init', 'nobody'), "there is no model 'nobody'"),
    'a model and a width': (('--init', 'fashion-mnist'), '--width is 8, and --init is fashion-mnist, which says what the network is'),
    'a recipe': (('--recipe', 'demo'), '--width is 8, and --recipe is demo|--recipe is demo, and --data is a folder'),
    'a method and a prediction': (('--method', 'flow', '--prediction', 'x0'), '--prediction is x0, and --method is flow'),
    'a file that is not there': (('--config', 'nowhere.toml'), 'nowhere.toml: No such file'),
}  # fmt: skip


@pytest.mark.parametrize('name', BAD)
def test_what_no_run_can_have(name, tmp_path, capsys):
    options, said = BAD[name]
    tiny = TINY if name != 'a model' else ('--batch-size', 4)
    run('train', '--data', classes(tmp_path / 'set'), *tiny, '--steps', 1, '--out', tmp_path / 'run', *options, code=2)
    assert re.search(said, got := capsys.readouterr().err), got
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('option', [('--fit', 'pad'), ('--captions', 'txt'), ('--grey',)])
def test_options_of_folders_are_for_folders(option, tmp_path, capsys):
    run('train', '--data', 'shapes', *option, '--steps', 1, '--out', tmp_path / 'x', code=2)
    assert f'{option[0]} is for a folder of images, and --data is shapes' in capsys.readouterr().err


# --- it begins with a model, and goes on


def test_a_model_to_begin_with(tmp_path, capsys):
    "Its network as far as it fits; what is new is the class, whose known names keep their rows."
    data = classes(tmp_path / 'set')
    run('train', '--data', data, *TINY, '--steps', 2, '--no-class-folders', '--out', tmp_path / 'plain')
    run('train', '--data', data, '--batch-size', 4, '--steps', 1, '--lr', 1e-12, '--weight-decay', 0, '--init', tmp_path / 'plain', '--out', tmp_path / 'told')
    said = capsys.readouterr().out
    assert re.search(r'Beginning with .*plain: \d+ of \d+ tensors of the network are its own', said)
    old, new = load(tmp_path / 'plain').net.state_dict(), load(tmp_path / 'told').denoiser.net.state_dict()
    same = [k for k in old if k in new and old[k].shape == new[k].shape and torch.allclose(old[k], new[k], atol=1e-9)]
    assert len(same) > 0.9 * len(old) and len(new) > len(old)
    (data / 'two').rename(data / 'four')
    run(
        'train',
        '--data',
        data,
        '--batch-size',
        4,
        '--steps',
        1,
        '--lr',
        1e-12,
        '--weight-decay',
        0,
        '--init',
        tmp_path / 'told',
        '--seed',
        9,
        '--out',
        tmp_path / 'more',
    )
    rows = [load(tmp_path / name).conditioner.table.weight for name in ('told', 'more')]
    names = [read_model(tmp_path / name)[0]['about']['classes'] for name in ('told', 'more')]
    assert names == [['one', 'three', 'two'], ['four', 'one', 'three']]
    near = [[torch.allclose(a, b, atol=1e-9) for b in rows[0]] for a in rows[1]]  # four, one, three, none against one, three, two, none
    assert near == [[False] * 4, [True, False, False, False], [False, True, False, False], [False, False, False, True]]
    (tmp_path / 'told').rename(tmp_path / 'gone')  # a run that goes on has all it needs
    run('train', '--out', tmp_path / 'more', '--resume', '--steps', 3)
    assert read_model(tmp_path / 'more')[0]['about']['steps'] == 3
    paint(tmp_path / 'red' / 'a.png')
    run('train', '--data', tmp_path / 'red', '--no-grey', '--init', tmp_path / 'gone', '--steps', 1, '--out', tmp_path / 'x', '--size', 8)
    assert read_model(tmp_path / 'x')[0]['about']['shape'] == [1, 8, 8]  # the model is grey, and so is what it learns


def test_classes_keep_their_rows_by_name():
    "Whatever their place: what is known keeps its row, and what is new is drawn."
    pictures = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    before, after = (Dataset(pictures, torch.arange(4) % 2, classes=names) for names in (('cat', 'dog'), ('ape', 'cat', 'dog')))
    old = own_recipe(Choice(8, 1, 8, 1, 2, 4, 'classes')).model(before)
    old.about = {'classes': ['cat', 'dog']}
    had, fresh = old.conditioner.table.weight, ClassConditioner(3, 64)
    drawn = fresh.table.weight[0].clone()
    rows = own.same_reader(old, fresh, after).table.weight
    assert torch.equal(rows[1:3], had[:2]) and torch.equal(rows[0], drawn) and torch.equal(rows[3], had[2])


def test_a_short_run_warms_up_for_a_tenth_of_it_and_ends_with_a_sheet(tmp_path, monkeypatch, clock, trainers):
    "Forty seconds of twenty updates of two seconds."
    monkeypatch.setattr(own, 'step_seconds', lambda choice, device, begin=None: 1.8)
    real = Trainer.update
    monkeypatch.setattr(Trainer, 'update', lambda self, batch: (clock.__setitem__(0, clock[0] + 2), real(self, batch))[1])
    run('train', '--data', classes(tmp_path / 'set'), *TINY, '--minutes', 40 / 60, '--out', tmp_path / 'run')
    assert trainers[0].step == 20 and trainers[0].settings['warmup'] == 2
    assert [p.name for p in (tmp_path / 'run' / 'samples').iterdir()] == ['step-000020.png']


def test_a_run_that_is_done_goes_on_for_more_minutes(tmp_path):
    data, out = classes(tmp_path / 'set'), tmp_path / 'run'
    run('train', '--data', data, *TINY, '--minutes', 0.005, '--out', out)
    first = read_model(out)[0]['about']['steps']
    run('train', '--out', out, '--resume', '--minutes', 0.005)
    assert read_model(out)[0]['about']['steps'] > first
    header = checkpoints(out / 'checkpoints')[0].name
    assert int(header.split('-')[1]) == read_model(out)[0]['about']['steps']


# --- what is written


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp('model')
    run('train', '--data', classes(root / 'set'), *TINY, '--steps', 2, '--out', root / 'run')
    return root / 'run'


@pytest.mark.parametrize('ending', ['.png', '.jpg', '.jpeg', '.webp'])
def test_a_grid_in_each_format(model, tmp_path, ending):
    run('sample', model, '--n', 6, '--columns', 3, '--steps', 1, '--out', tmp_path / f'x{ending}')
    with Image.open(tmp_path / f'x{ending}') as picture:
        assert picture.size == (2 * (3 * 8 + 4), 2 * (2 * 8 + 2)) and picture.format == {'.png': 'PNG', '.webp': 'WEBP'}.get(ending, 'JPEG')
        assert picture.mode == 'L' or ending == '.webp'


def test_single_files_are_the_pictures_of_the_grid_and_say_what_was_asked(model, tmp_path, capsys):
    run('sample', model, '--n', 3, '--columns', 3, '--zoom', 1, '--steps', 2, '--seed', 5, '--out', tmp_path / 'x.png')
    run('sample', model, '--n', 3, '--steps', 2, '--seed', 5, '--out', tmp_path / 'files', '--json')
    files = sorted((tmp_path / 'files').iterdir())
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['files'] == [str(f) for f in files] and [f.name for f in files] == [
        '0000.png',
        '0001.png',
        '0002.png',
    ]
    with Image.open(tmp_path / 'x.png') as grid:
        for k, file in enumerate(files):
            with Image.open(file) as picture:
                assert (numpy.asarray(picture) == numpy.asarray(grid)[:8, 10 * k : 10 * k + 8]).all()
                assert (picture.text['class'], picture.text['seed'], picture.text['number']) == (['one', 'three', 'two'][k], '5', str(k))
        assert grid.text['seed'] == '5' and grid.text['model'] == str(model)
    run('sample', model, '--n', 1, '--steps', 1, '--each', 'webp', '--out', tmp_path / 'webp')
    assert [f.name for f in (tmp_path / 'webp').iterdir()] == ['0000.webp']


def test_a_film_ends_with_the_picture(model, tmp_path):
    run('sample', model, '--n', 2, '--class', 'two', '--steps', 4, '--zoom', 1, '--out', tmp_path / 'x.gif')
    run('sample', model, '--n', 2, '--class', 'two', '--steps', 4, '--zoom', 1, '--out', tmp_path / 'x.png')
    with Image.open(tmp_path / 'x.gif') as film, Image.open(tmp_path / 'x.png') as picture:
        times = []
        for k in range(film.n_frames):
            film.seek(k)
            times.append(film.info['duration'])
        assert sum(times) == 3 * 80 + 1500  # a frame a step; those that do not differ are joined
        assert abs(numpy.asarray(film.convert('L')).astype(int) - numpy.asarray(picture.convert('L'))).max() <= 1


OUT = {
    'an ending': ('x.bmp', (), r'--out is .*x.bmp, expected a file that ends in .png, .jpg or .webp, a film'),
    'a kind': ('files', ('--each', 'bmp'), '--each is bmp, expected png, jpg or webp'),
    'a file and files': ('x.png', ('--each', 'png'), r'--each is png, and --out is .*x.png, one file'),
    'a film and files': ('x.gif', ('--each', 'png'), r'--each is png, and --out is .*x.gif, a film'),
    'a long film': ('x.gif', ('--n', 100), 'a film; expected at most 64 images'),
}


@pytest.mark.parametrize('name', OUT)
def test_what_cannot_be_written(model, tmp_path, capsys, name):
    file, more, said = OUT[name]
    run('sample', model, '--steps', 1, '--out', tmp_path / file, *more, code=2)
    assert re.search(said, got := capsys.readouterr().err), got


def test_the_version_is_said(capsys):
    from diffbook import __version__

    run('--version')
    assert capsys.readouterr().out == f'diffbook {__version__}\n'


test_bad_calls = refuses({
    'a fit': (lambda: store.read_own(store.Look(Path('.'), (), (), True, (), ()), 8, fit='x'), "fit is 'x', expected centre, pad, random"),
    'a source': (lambda: captions_of('.', [], 'x'), "captions are 'x', expected metadata, txt, names"),
    'a prediction': (lambda: own_recipe(Choice(8, 1, 8, 1, 1, 4), prediction='y'), '--prediction is y, expected v, x0'),
})  # fmt: skip

assert patch_cli
