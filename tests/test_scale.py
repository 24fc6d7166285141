"""Several processes: the same gradients, the same noise and the same run for 1, 2 and 4, whole or split, from memory or from archives."""

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image

from diffbook import training
from diffbook.core import Rows, draw_rows, generator
from diffbook.data import Dataset, batches, read_shards, write_shards
from diffbook.scale import Team, in_parts, join, lane_order, my_rows, read_archives, share, shared
from diffbook.store import processes
from diffbook.store.checkpoints import checkpoints, read_checkpoint
from diffbook.store.processes import asked, launched
from diffbook.store.samples import count_samples, read_samples
from diffbook.training import Trainer

ROOT = Path(__file__).parent.parent
PLAIN = {k: v for k, v in os.environ.items() if k not in processes.LAUNCHED and not k.startswith('ACCELERATE')}
PLAIN |= {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}


class Seat(Team):
    "A place in a team whose others are not there."

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


# Real processes: one child of pytest imports torch once and forks teams of 1, 2 and 4 gloo ranks


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    "What tests/ranks.py measured."
    folder = tmp_path_factory.mktemp('ranks')
    out = subprocess.run(
        [sys.executable, str(Path(__file__).parent / 'ranks.py'), str(folder)],
        env=PLAIN, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr[-3000:]
    return json.loads((folder / 'report.json').read_text()) | {'folder': folder}


@pytest.mark.parametrize('size', ['2', '4', '1 in 3 parts', '2 in 3 parts', '4 in 3 parts', '2 split', '2 split in 3 parts'])
@pytest.mark.parametrize('kind, most', [('float32', 8 * 2**-23), ('float64', 8 * 2**-52)])  # sums in another order: a few units of rounding
def test_gradients_do_not_depend_on_the_number_of_processes(ranks, kind, most, size):
    assert ranks['gradients'][kind][size] <= most


def test_each_process_with_its_own_draws_is_noticed(ranks):
    "The negative control: the same comparison, for ranks that draw for themselves with one seed."
    assert ranks['gradients']['float64']['2 with one seed'] > 0.1


def test_all_processes_hold_the_same_bits(ranks):
    assert ranks['same bits'] == {'2': True, '4': True}


@pytest.mark.parametrize('size', ['2', '4', '2 split'])
def test_a_hundred_updates_stay_together(ranks, size):
    assert ranks['updates'][size] <= 4 * 2**-23  # Adam divides the size out of a gradient, and with it most of its rounding


def test_noise_of_all_processes_is_that_of_one_and_has_no_row_twice(ranks):
    for size, (same, rows, different) in ranks['noise'].items():
        assert same and rows == different == 24, size


def test_a_run_goes_on_at_other_sizes_from_the_same_file(ranks):
    "1 -> 2 -> 4 -> 2 split -> 1, against one process that is never stopped."
    assert ranks['journey']['error'] <= 4 * 2**-23
    assert ranks['journey']['steps'] == [5, 10, 15, 20, 25]
    header, tensors = read_checkpoint(checkpoints(ranks['folder'] / 'journey')[0])
    assert header['step'] == 25 and all(type(v) is torch.Tensor for v in tensors.values())


def test_a_net_is_split_block_by_block(ranks):
    for error, held, count in ranks['blocks']:
        assert error <= 1e-13 and 0.45 < held < 0.55 and count > 5


def test_only_the_first_process_writes(ranks):
    assert ranks['writers'] == [0]


def test_processes_that_found_different_checkpoints_refuse(ranks):
    assert 'do all see the same folder' in ranks['disagree']


def test_a_signal_to_one_process_reaches_all(ranks):
    (code, step), other = ranks['signal']
    assert code == 143 and other == [code, step]


def train(out, data, *more, launcher=('-m', 'diffbook.cli'), steps=6, timeout=1500):
    command = [
        sys.executable,
        *launcher,
        'train',
        '--data',
        str(data),
        '--size',
        '8',
        '--width',
        '8',
        '--batch-size',
        '4',
    ]
    command += ['--steps', str(steps), '--save-every', '2', '--out', str(out), '--device', 'cpu', '--timeout', '900', *more]
    return subprocess.run(command, env=PLAIN, capture_output=True, text=True, timeout=timeout, cwd=out.parent)


TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '-m', 'diffbook.cli')
LAUNCH = ('-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes', '2', '--num_machines', '1', '--main_process_port', '0',
          '--mixed_precision', 'no', '--dynamo_backend', 'no', '-m', 'diffbook.cli')  # fmt: skip


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    for i in range(8):
        Image.new('RGB', (8, 8), (i * 30, 255 - i * 30, (i * 37) % 256)).save(folder / f'{i}.png')
    return folder


def test_the_command_line_trains_under_torchrun(tmp_path, pictures):
    out = train(tmp_path / 'two', pictures, launcher=TORCHRUN)
    assert out.returncode == 0, out.stderr[-3000:]
    assert out.stdout.count('Done after step 6') == 1 and '2 processes' in out.stdout
    assert [p.name[:14] for p in checkpoints(tmp_path / 'two' / 'checkpoints')] == ['step-000000006', 'step-000000004']
    assert (tmp_path / 'two' / 'model.safetensors').is_file()
    out = train(tmp_path / 'two', pictures, '--resume', '--lr', '1', steps=6)
    assert out.returncode == 2 and '--lr is 1.0, and the run in' in out.stderr


@pytest.mark.slow
def test_the_command_line_trains_under_accelerate_launch(tmp_path, pictures):
    out = train(tmp_path / 'two', pictures, launcher=LAUNCH)
    assert out.returncode == 0, out.stderr[-3000:]
    assert out.stdout.count('Done after step 6') == 1 and '2 processes' in out.stdout


def test_an_attempt_does_not_read_the_addresses_of_the_one_before(monkeypatch):
    "torchrun keeps its store when it starts workers again; what the dead wrote there made gloo wait for them."
    board, seen = torch.distributed.HashStore(), []
    monkeypatch.setattr(sys.modules['torch.distributed.rendezvous'], 'rendezvous', lambda url, timeout: iter([(board, 0, 2)]))
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda backend, store, **options: seen.append(store))
    for attempt in ('0', '0', '1'):
        monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', attempt)
        processes.meet('gloo', timedelta(seconds=1))
    seen[0].set('address of 0', 'port 24480')
    assert seen[1].check(['address of 0']) and not seen[2].check(['address of 0'])


# Parts, without processes


def draw(n, g):
    return torch.randperm(n, generator=g).double()


@pytest.mark.parametrize('cuts', [(4, 4), (1, 7), (3, 2, 3), (1,) * 8])
def test_rows_of_parts_are_the_rows_of_the_whole(cuts):
    parts = [draw_rows(draw, n, Rows(generator(0, 'x'), sum(cuts[:i]), 8)) for i, n in enumerate(cuts)]
    assert torch.equal(torch.cat(parts), draw(8, generator(0, 'x')))
    assert torch.equal(draw_rows(draw, 8, generator(0, 'x')), draw(8, generator(0, 'x')))


@pytest.mark.parametrize('parts', [2, 5, 8])
def test_unequal_parts_weigh_what_they_hold(parts):
    def gradient(k):
        net = torch.nn.Linear(3, 1).double()
        torch.nn.init.ones_(net.weight)
        trainer = Trainer(net, lambda m, b, g: m(b[0]).square().mean(1), backward=in_parts(k), device='cpu')
        torch.nn.init.zeros_(net.bias)
        loss = trainer._backward((torch.arange(24).double().reshape(8, 3), ['caption'] * 8))
        return net.weight.grad, loss

    for got, want in zip(gradient(parts), gradient(1)):
        torch.testing.assert_close(got, want, rtol=1e-14, atol=0)


def test_rows_beyond_the_batch_are_refused():
    with pytest.raises(ValueError, match='rows 6 to 9 are asked for, of a batch of 8'):
        draw_rows(draw, 3, Rows(generator(0, 'x'), 6, 8))


@pytest.mark.parametrize('size', [1, 2, 4])
def test_shares_make_up_the_batch(tmp_path, size):
    x, labels = torch.arange(48).reshape(24, 2), torch.arange(24)
    stored = write_shards(tmp_path, [{'x': x[:10], 'y': labels[:10]}, {'x': x[10:], 'y': labels[10:]}], rows=7)
    images = Dataset(torch.arange(24 * 12, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(24, 3, 2, 2), labels)
    for given in (x, (x, labels), stored, images):
        whole = list(islice(batches(given, 8, 3), 4))
        seats = [list(islice(batches(share(given, Seat(r, size)), 8, 3), 4)) for r in range(size)]
        for step, want in enumerate(whole):
            got = [seat[step] for seat in seats]
            if isinstance(want, tuple):
                assert all(torch.equal(torch.cat([g[i] for g in got]), v) for i, v in enumerate(want))
            else:
                assert torch.equal(torch.cat(got), want)


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor | None


@dataclass
class Pairs:
    x: torch.Tensor
    y: object


@pytest.mark.parametrize('make', [Pair, Pairs, lambda x, y: [x, y], lambda x, y: {'x': x, 'y': y}, lambda x, y: {'x': Pair(x, None), 'y': (y, None)}])
def test_examples_of_any_kind_are_shuffled_and_shared_as_tuples_are(make):
    "Batches are of the kind of what they are taken from; of each seat they are its rows."
    x, y = torch.arange(48).reshape(24, 2), torch.arange(24)
    values = lambda b: [v for v in flat(b) if v is not None]  # noqa: E731
    seats = [islice(batches(share(make(x, y), Seat(r, 2)), 8, 3), 7) for r in range(2)]
    for (wx, wy), whole, *parts in zip(batches((x, y), 8, 3), batches(make(x, y), 8, 3), *seats):
        assert all(type(b) is type(make(x, y)) for b in (whole, *parts))
        for want, got, first, second in zip((wx, wy), values(whole), *map(values, parts)):
            assert torch.equal(got, want) and torch.equal(torch.cat([first, second]), want)


def flat(b):
    values = b.values() if isinstance(b, dict) else vars(b).values() if isinstance(b, Pairs) else b
    return [v for each in values for v in (flat(each) if isinstance(each, tuple) else [each])]


@pytest.mark.parametrize(
    'x, words',
    [
        ((), 'one number'),
        ({}, 'one number'),
        ((torch.zeros(3), ['a', 'b', 'c']), "'a'"),
        (Pair(torch.zeros(3), torch.zeros(4)), r'\(3,\), \(4,\)'),
        (torch.zeros(()), 'one number'),
    ],
)
def test_examples_without_rows_are_refused(x, words):
    with pytest.raises(ValueError, match=words):
        batches(x, 2)


def test_a_share_reads_its_own_rows_and_no_others(tmp_path):
    asked_for = []

    class Watched(type(write_shards(tmp_path, [{'x': torch.zeros(8, 1)}])['x'])):
        def __getitem__(self, index):
            asked_for.append(len(index))
            return super().__getitem__(index)

    column = read_shards(tmp_path)['x']
    column.__class__ = Watched
    next(batches(share(column, Seat(1, 4)), 8))
    assert asked_for == [2]


# Archives


def archive(path, names, caption=lambda i: f'number {i}', more=()):
    with tarfile.open(path, 'w') as file:
        for i in names:
            picture = io.BytesIO()
            Image.new('RGB', (4, 4), (i, 2 * i, 3 * i)).save(picture, 'PNG')
            for kind, content in (('png', picture.getvalue()), ('txt', caption(i).encode()), *more):
                entry = tarfile.TarInfo(f'{i:04d}.{kind}')
                entry.size = len(content)
                file.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    folder, starts = tmp_path_factory.mktemp('archives'), (0, 5, 8, 15)
    return [archive(folder / f'{a}.tar', range(a, b)) for a, b in zip(starts, (*starts[1:], 20))]


def read(archives, steps, start=0, team=None, lanes=4, seed=1):
    stream = read_archives(archives, 4, 4, seed, start, team=team, lanes=lanes)
    return [[int(x[0, 0, 0]) for x in images] for images, _ in islice(stream, steps)]


def test_archives_hold_together_pictures_and_captions(archives):
    for images, captions in islice(read_archives(archives, 4, 4, lanes=2), 6):
        assert captions == [f'number {int(x[0, 0, 0])}' for x in images]
        assert images.shape == (4, 3, 4, 4) and images.dtype == torch.uint8


def tar_of(path, entries):
    with tarfile.open(path, 'w') as file:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def stored(image, kind='PNG', **how):
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def test_pictures_in_archives_are_read_as_anywhere(tmp_path):
    "Of every format, upright, of 16 bits, and on the ground that is asked for; what a system left behind is passed over."
    exif = Image.Exif()
    exif[0x0112] = 6
    half = Image.new('RGB', (4, 4))
    half.paste('red', (0, 0, 2, 4))  # the left half as stored is the upper one on the screen
    files = {'0.png': stored(half, exif=exif), '1.gif': stored(Image.new('RGB', (4, 4), 'red'), 'GIF'), './2.TIF': stored(Image.new('I;16', (4, 4), 257 * 9), 'TIFF'),
             '3.png': stored(Image.new('LA', (4, 4), (0, 0))), '__MACOSX/._0.png': b'?', '._0.png': b'?', '.ipynb_checkpoints/0-checkpoint.png': b'?', '@eaDir/0.jpg': b'?'}  # fmt: skip
    path = tar_of(tmp_path / 'a.tar', files)
    assert count_samples(path) == 4
    for ground, value in (('white', 255), ('black', 0)):
        (images, _), order = next(read_archives([path], 4, 4, ground=ground)), next(lane_order([4], 0, 1, 0))[1]
        images = images[order.argsort()]
        assert (images[0, 0] == torch.tensor([255, 255, 0, 0])[:, None]).all() and images[1, :, 0, 0].tolist() == [255, 0, 0]
        assert (images[2] == 9).all() and (images[3] == value).all()


def test_names_with_dots_are_refused_and_other_formats_counted(tmp_path):
    good = stored(Image.new('RGB', (4, 4)))
    assert count_samples(tar_of(tmp_path / 'a.tar', {'v1.2/1.png': good, '1.mask.png': good, '1.png': good})) == 2  # 1.mask.png belongs to 1
    with pytest.raises(ValueError, match="a.tar: 'photo.2024.PNG' would not be read: in an archive the name of a sample ends at its first dot"):
        count_samples(tar_of(tmp_path / 'a.tar', {'1.png': good, 'photo.2024.PNG': good}))
    with pytest.warns(UserWarning, match='a.tar: 2 pictures of formats that are not read are skipped'):
        assert count_samples(tar_of(tmp_path / 'a.tar', {'1.png': good, '2.heic': b'', '3.AVIF': b''})) == 1


def test_the_order_of_archives_is_drawn_anew_in_each_epoch_and_by_the_seed(archives):
    "Of the archives and of the samples in them; a lane that is begun in the middle goes on as it would have."
    counts = [20] * 8
    orders = {seed: [(i, rows.tolist()) for i, rows in islice(lane_order(counts, 0, 1, seed), 24)] for seed in range(4)}
    again = [(i, rows.tolist()) for i, rows in islice(lane_order(counts, 0, 1, 3), 24)]
    assert again == orders[3]
    epochs = [tuple(i for i, _ in order[k : k + 8]) for order in orders.values() for k in (0, 8, 16)]
    assert len(set(epochs)) == len(epochs)  # of 8! orders
    inside = [tuple(rows) for order in orders.values() for _, rows in order]
    assert len(set(inside)) == len(inside)  # of 20! orders
    for skip in (1, 20, 30, 161, 165, 400):
        flat = lambda stream, n: list(islice(((i, r) for i, rows in stream for r in rows.tolist()), n))
        assert flat(lane_order(counts, 0, 1, 3, skip), 25) == flat(lane_order(counts, 0, 1, 3), skip + 25)[skip:]


@pytest.mark.parametrize('lanes', [1, 2, 4])
def test_an_epoch_of_archives_is_each_sample_once(archives, lanes):
    counts = [count_samples(p) for p in archives]
    assert counts == [5, 3, 7, 5]
    for epoch in range(3):
        seen = []
        for lane in range(lanes):
            order = list(islice(lane_order(counts, lane, lanes, 1), (epoch + 1) * 4 // lanes))[epoch * 4 // lanes :]
            seen += [(i, int(row)) for i, rows in order for row in rows]
        assert sorted(seen) == [(i, row) for i, n in enumerate(counts) for row in range(n)]


@pytest.mark.parametrize('size', [2, 4])
def test_archives_are_read_alike_by_any_team(archives, size):
    seats = [read(archives, 12, team=Seat(r, size)) for r in range(size)]
    assert [sum((seat[i] for seat in seats), []) for i in range(12)] == read(archives, 12)


@pytest.mark.parametrize('step', range(13))
def test_archives_resume_at_every_step(archives, step):
    assert read(archives, 13 - step, start=step) == read(archives, 13)[step:]


def test_archives_change_their_order_with_seed_and_epoch(archives):
    assert read(archives, 5, seed=2) != read(archives, 5)
    rows = [int(v) for b in read(archives, 10, lanes=1) for v in b]
    assert sorted(rows[:20]) == sorted(rows[20:]) == list(range(20)) and rows[:20] != rows[20:]


def test_what_is_not_ours_in_an_archive_is_never_read(tmp_path):
    "A pickle beside a picture stays bytes that nobody looks at."
    path = archive(tmp_path / 'a.tar', range(2), more=[('pyd', b'cos\nsystem\n'), ('cls', b'7')])
    assert count_samples(path) == 2
    assert set(read_samples(path)[0]) == {'__key__', '__url__', 'png', 'txt'}


def entry(name, **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def sparse(path):
    info = entry('a.png', type=tarfile.GNUTYPE_SPARSE, size=0)
    with tarfile.open(path, 'w', format=tarfile.GNU_FORMAT) as file:
        file.addfile(info)


def with_entries(*entries):
    def write(path):
        with tarfile.open(path, 'w') as file:
            for info in entries:
                file.addfile(info, io.BytesIO(b'x' * info.size))

    return write


def zipped(path):
    with tarfile.open(path, 'w:gz') as file:
        file.addfile(entry('a.png', size=1), io.BytesIO(b'x'))


BAD_ARCHIVES = {
    'compressed': (zipped, 'no plain tar archive'),
    'empty file': (lambda path: path.write_bytes(b''), 'no plain tar archive'),
    'a link': (with_entries(entry('a.png', type=tarfile.SYMTYPE, linkname='/etc/hostname')), 'is a link'),
    'a device': (with_entries(entry('a.png', type=tarfile.CHRTYPE)), 'is a link, a device'),
    'sparse': (sparse, 'sparse'),
    'long text': (with_entries(entry('a.txt', size=(1 << 16) + 1)), '65,537 bytes, expected at most 65,536'),
    'no picture': (with_entries(entry('a.txt', size=1)), 'holds 0 pictures'),
    'two pictures': (with_entries(entry('a.png', size=1), entry('a.jpg', size=1)), 'holds 2 pictures'),
    'scattered': (
        with_entries(entry('a.png', size=1), entry('b.png', size=1), entry('a.txt', size=1)),
        'not side by side',
    ),
    'nothing of ours': (with_entries(entry('a.pyd', size=1)), 'holds no sample'),
}


@pytest.mark.parametrize('name', BAD_ARCHIVES)
def test_bad_archives_are_refused_by_name(tmp_path, name):
    write, words = BAD_ARCHIVES[name]
    write(tmp_path / 'bad.tar')
    with pytest.raises(ValueError, match='bad.tar.*' + words):
        count_samples(tmp_path / 'bad.tar')


@pytest.mark.parametrize('more, words', [
    ([('json', b'{"caption": 7}')], 'caption 7, expected text'), ([('json', b'[1]')], 'list, expected an object'),
    ([('json', b'{')], 'is not JSON'), ([('txt', b'\xff')], 'is not UTF-8'), ([('txt', b'a\x00b')], r'control character U\+0000'),
])  # fmt: skip
def test_bad_captions_in_archives_are_refused(tmp_path, more, words):
    with tarfile.open(tmp_path / 'a.tar', 'w') as file:
        picture = io.BytesIO()
        Image.new('RGB', (4, 4)).save(picture, 'PNG')
        for kind, content in (('png', picture.getvalue()), *more):
            file.addfile(entry(f'a.{kind}', size=len(content)), io.BytesIO(content))
    with pytest.raises(ValueError, match='a.tar: a .*' + words):
        next(read_archives([tmp_path / 'a.tar'], 1, 4))


def test_a_picture_in_an_archive_that_is_none_is_refused(tmp_path):
    with_entries(entry('a.png', size=5))(tmp_path / 'a.tar')
    with pytest.raises(ValueError, match='a.tar: a could not be read as PNG'):
        next(read_archives([tmp_path / 'a.tar'], 1, 4))


@pytest.mark.parametrize(
    'options',
    [
        {'lanes': 0},
        {'lanes': 5},
        {'lanes': 3, 'team': Seat(0, 2)},
        {'lanes': 3, 'batch': 4},
        {'batch': 0},
        {'start': -1},
    ],
)
def test_lanes_that_do_not_fit_are_refused(archives, options):
    with pytest.raises(ValueError, match='expected at most one lane an archive'):
        read_archives(
            archives,
            options.get('batch', 4),
            4,
            0,
            options.get('start', 0),
            team=options.get('team'),
            lanes=options.get('lanes', 1),
        )


# Refusals


def test_a_batch_that_the_team_does_not_divide_is_refused():
    with pytest.raises(ValueError, match='a batch has 10 rows, expected a number that the 4 processes divide'):
        next(batches(share(torch.zeros(20, 1), Seat(0, 4)), 10))


@pytest.mark.parametrize('parts', [0, -1, 1.5, True, 'two'])
def test_parts_that_are_no_number_are_refused(parts):
    with pytest.raises(ValueError, match='parts is .* expected a positive whole number'):
        in_parts(parts)


@pytest.mark.parametrize('name, value, instead', [('accumulate', 4, r'backward=scale\.in_parts\(4\)'), ('team', Team(), r'backward=scale\.shared\(team\)')])
def test_options_that_are_gone_say_what_to_write(name, value, instead):
    with pytest.raises(ValueError, match=f'{name} is no option any more; write {instead}'):
        Trainer(torch.nn.Linear(1, 1), lambda m, b, g: m(b).square().mean(1), device='cpu', **{name: value})
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        Trainer(torch.nn.Linear(1, 1), lambda m, b, g: m(b).square().mean(1), device='cpu', rate=1e-3)


def test_a_team_of_one_in_one_part_is_the_plain_way():
    assert in_parts(1) is shared(Team()) is training.plain


def test_more_parts_than_examples_are_refused():
    trainer = Trainer(torch.nn.Linear(1, 1), lambda m, b, g: m(b).square().mean(1), backward=in_parts(4), device='cpu')
    with pytest.raises(ValueError, match='parts is 4, expected at most 3'):
        trainer.update(torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r'holds tensors of \[3, 4\] rows'):
        trainer.update((torch.zeros(3, 1), torch.zeros(4, 1)))


def test_a_loss_that_draws_for_itself_is_refused_in_parts():
    loss = lambda m, b, g: m(b + torch.randn(b.shape, generator=g)).square().mean(1)  # noqa: E731
    Trainer(torch.nn.Linear(1, 1), loss, device='cpu').update(torch.zeros(4, 1))
    with pytest.raises(ValueError, match=r'expected draw_rows\(draw, n, generator\)'):
        Trainer(torch.nn.Linear(1, 1), loss, backward=in_parts(2), device='cpu').update(torch.zeros(4, 1))


BAD_ENVIRONMENTS = {
    'no address': ({'RANK': '1', 'WORLD_SIZE': '2', 'LOCAL_RANK': '1'}, 'MASTER_ADDR is not set'),
    'no size': ({'RANK': '1'}, 'WORLD_SIZE is not set'),
    'a rank beyond': ({'RANK': '2', 'WORLD_SIZE': '2'}, 'RANK is 2 and WORLD_SIZE 2'),
    'a word': ({'RANK': 'one', 'WORLD_SIZE': '2'}, 'RANK is one'),
    'a negative rank': ({'RANK': '-1', 'WORLD_SIZE': '2'}, 'RANK is -1'),
}


@pytest.mark.parametrize('name', BAD_ENVIRONMENTS)
def test_an_environment_that_makes_no_sense_is_refused(monkeypatch, name):
    told, words = BAD_ENVIRONMENTS[name]
    for key in processes.LAUNCHED:
        monkeypatch.delenv(key, raising=False)
    full = {'LOCAL_RANK': '0', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '1'} if words.startswith('RANK') else {}
    for key, value in (full | told).items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ValueError, match=words):
        launched()


def test_alone_needs_no_library(monkeypatch):
    for key in processes.LAUNCHED:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(processes.importlib.util, 'find_spec', lambda name: None)
    assert join('cpu').size == 1
    with pytest.raises(ValueError, match=r"accelerate is not installed, and this needs it: pip install 'diffbook\[scale\]'"):
        processes.need('accelerate')


@pytest.mark.parametrize('timeout', [0, -1, float('inf'), float('nan')])
def test_waiting_for_ever_is_refused(timeout):
    with pytest.raises(ValueError, match='timeout is'):
        join('cpu', timeout=timeout)


def test_what_accelerate_was_asked_for_is_heard(monkeypatch):
    for key in ('ACCELERATE_MIXED_PRECISION', 'ACCELERATE_GRADIENT_ACCUMULATION_STEPS', 'ACCELERATE_USE_FSDP'):
        monkeypatch.delenv(key, raising=False)
    assert asked() == dict(accumulate=1, shard=False, bf16=None)
    monkeypatch.setenv('ACCELERATE_MIXED_PRECISION', 'bf16')
    monkeypatch.setenv('ACCELERATE_GRADIENT_ACCUMULATION_STEPS', '3')
    monkeypatch.setenv('ACCELERATE_USE_FSDP', 'true')
    assert asked() == dict(accumulate=3, shard=True, bf16=True)
    monkeypatch.setenv('ACCELERATE_GRADIENT_ACCUMULATION_STEPS', '0')
    with pytest.raises(ValueError, match='--gradient_accumulation_steps is 0'):
        asked()
    monkeypatch.setenv('ACCELERATE_MIXED_PRECISION', 'fp16')
    with pytest.raises(ValueError, match='--mixed_precision is fp16, expected no or bf16'):
        asked()


@pytest.mark.parametrize('address, want', [('127.0.0.1', 'lo'), ('localhost', 'lo'), ('10.0.0.7', None)])
def test_processes_meet_at_home_unless_told_otherwise(monkeypatch, address, want):
    monkeypatch.setenv('MASTER_ADDR', address)
    monkeypatch.setattr(processes.socket, 'if_nameindex', lambda: [(1, 'lo'), (2, 'eth0')])
    monkeypatch.delenv('GLOO_SOCKET_IFNAME', raising=False)
    monkeypatch.setenv('NCCL_SOCKET_IFNAME', 'eth0')
    processes.stay_home()
    assert os.environ.get('GLOO_SOCKET_IFNAME') == want and os.environ['NCCL_SOCKET_IFNAME'] == 'eth0'
    monkeypatch.delenv('GLOO_SOCKET_IFNAME', raising=False)


def test_my_rows_are_everybodys_rows_once():
    for size in (1, 2, 3, 6):
        assert [i for r in range(size) for i in range(12)[my_rows(12, Seat(r, size))]] == list(range(12))
