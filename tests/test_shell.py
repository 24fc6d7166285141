"""What the shell offers beside training and drawing: judging by class and in colour, logs elsewhere, films, completion, and the Hub."""

import json
import shutil
import stat
import subprocess
import sys
from types import SimpleNamespace

import numpy
import pytest
import torch
import typer
from PIL import Image
from test_cli import run

from diffbook import cli
from diffbook.cli import judge, video
from diffbook.conditioning import ClassConditioner, Conditional
from diffbook.losses import Denoiser
from diffbook.metrics import features, frechet_distance
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_x0
from diffbook.schedules import CosineSchedule
from diffbook.training import load, save

NAMES = ('ant', 'bee', 'cat')


def by_class(channels=3, seed=0):
    torch.manual_seed(seed)
    net = UNet(channels, channels=(8,), blocks=(1,), heads=(0, 0), groups=4, cond_dim=6)
    model = Conditional(Denoiser(net, CosineSchedule(), predict_x0), ClassConditioner(3, 6))
    torch.nn.init.normal_(net.head.weight, std=0.1)
    return model.eval()


def insects(root, counts=(12, 6, 6), size=8):
    g = torch.Generator().manual_seed(0)
    for name, count in zip(('cat', 'ant', 'bee'), counts):
        (root / name).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(torch.randint(0, 256, (size, size, 3), generator=g, dtype=torch.uint8).numpy()).save(root / name / f'{k}.png')
    return root


# --- judging


@pytest.mark.parametrize('counts, n', [((12, 6, 6), 12), ((1, 1, 1), 10), ((0, 5, 2), 9), ((1000, 1, 1), 10), ((3,), 4)])
def test_proportions_are_as_exact_as_whole_numbers_allow(counts, n):
    "Each count is the exact share rounded down or up, and no other rounding is nearer."
    from itertools import product

    got = judge.apportioned(torch.tensor(counts), n).bincount(minlength=len(counts)).tolist()
    share = [c * n / sum(counts) for c in counts]
    off = lambda whole: sum((a - b) ** 2 for a, b in zip(whole, share))  # noqa: E731
    best = min(off(w) for w in product(*[(int(s), int(s) + 1) for s in share]) if sum(w) == n)
    assert sum(got) == n and off(got) == pytest.approx(best)


def test_classes_are_matched_by_name_and_drawn_in_the_proportions_of_the_data(tmp_path, monkeypatch):
    "The model numbers them otherwise than the folder does."
    save(tmp_path / 'm', by_class(), {'shape': [3, 8, 8], 'classes': ['bee', 'cat', 'ant']})
    insects(tmp_path / 'own', (24, 12, 12))
    seen = []
    monkeypatch.setattr(
        'diffbook.cli.evaluate.draw', lambda stage, n, cond, **k: seen.append(cond) or torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    )
    run('evaluate', tmp_path / 'm', '--data', tmp_path / 'own', '--n', 20, '--out', tmp_path / 'r.json')
    table = load(tmp_path / 'm').conditioner.table.weight.detach()
    drawn = torch.cdist(seen[0].vec, table).argmin(1).bincount(minlength=4).tolist()
    assert drawn == [5, 10, 5, 0]
    assert json.loads((tmp_path / 'r.json').read_text())['guidance'] == 1.0


def test_what_is_judged_in_colour_has_floors_and_copies(tmp_path, capsys):
    save(tmp_path / 'm', by_class(), {'shape': [3, 8, 8], 'classes': list(NAMES)})
    insects(tmp_path / 'own', (20, 20, 20))
    run('evaluate', tmp_path / 'm', '--data', tmp_path / 'own', '--steps', 1, '--guidance', 3, '--json')
    said = json.loads(capsys.readouterr().out)
    assert said['n'] == 30 and said['guidance'] == 3 and {'frechet', 'kernel', 'precision', 'recall', 'copies'} <= said.keys()
    assert all(f'{name}_floor' in said for name in ('frechet', 'kernel', 'precision', 'recall', 'copies')) and said['frechet'] > said['frechet_floor']
    (tmp_path / 'own' / 'dog').mkdir()
    Image.new('RGB', (8, 8)).save(tmp_path / 'own' / 'dog' / '0.png')
    run('evaluate', tmp_path / 'm', '--data', tmp_path / 'own', code=2)
    assert 'own has the class dog, which' in (err := capsys.readouterr().err) and 'it knows ant, bee, cat' in err
    for name in ('dog', 'ant', 'bee'):
        shutil.rmtree(tmp_path / 'own' / name)
    run('evaluate', tmp_path / 'm', '--data', tmp_path / 'own', code=2)
    assert 'draws by class, and own has no classes' in capsys.readouterr().err


def test_colour_is_seen_by_a_grey_judge_channel_by_channel():
    images = torch.randint(0, 256, (60, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images[:, 0] //= 4  # hardly any red
    seen = features(images)
    torch.testing.assert_close(seen, torch.cat([features(images[:, k : k + 1]) for k in range(3)], 1), rtol=0, atol=0)
    a, b = seen[:30], seen[30:]
    assert frechet_distance(features(images[:30].flip(1)), b) > 2 * frechet_distance(a, b)  # red and blue exchanged


def test_copies_are_found_and_chance_is_the_floor():
    "Of 2,000 points in 6 dimensions: copies all, fresh points as many as chance (1 in 100; beyond 3 in 100 once in 10**9 runs)."
    g = torch.Generator().manual_seed(0)
    draw = lambda n: torch.randn(n, 6, generator=g, dtype=torch.float64)  # noqa: E731
    train, held, fresh = draw(2000), draw(1000), draw(500)
    for real in (held, None):
        found = judge.copies(train[:500] + 1e-6, train, real)
        assert found['copies'] == 1 and 0 <= found['copies_floor'] <= 0.03
        assert judge.copies(fresh, train, real)['copies'] <= 0.03


def test_apart_is_the_nearest_other_one_and_twins_are_left_out():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    want = torch.stack([min((x[i] - x[j]).norm() for j in range(50) if j != i) for i in range(50)])
    torch.testing.assert_close(judge.apart(x, rows=7), want, rtol=0, atol=1e-12)
    assert len(judge.apart(torch.cat([x, x[:10]]))) == 40
    assert len(judge.apart(x, rows=4, at_most=10)) == 10


# --- many times


def test_few_pictures_that_are_seen_often_are_warned_of(tmp_path, capsys):
    insects(tmp_path / 'own', (2, 1, 1))
    words = ('train', '--data', tmp_path / 'own', '--width', 16, '--depth', 1, '--out', tmp_path / 'x', '--plan')
    run(*words, '--steps', 126)
    said = capsys.readouterr().err
    assert 'each of the 4 pictures will be seen about 1,008 times' in said and 'memory.html' in said and '125 updates reach that' in said
    run(*words, '--steps', 125)
    assert 'will be seen about' not in capsys.readouterr().err
    run(*words, '--steps', 126, '--json')
    assert json.loads(capsys.readouterr().out)['plan']['copies'] is True


# --- logs


class Board:
    "In place of the package: what was written to it."

    rows, sheets, closed, begun = [], [], [], []

    def __init__(self, folder):
        self.begun.append(folder)

    def add_scalar(self, key, value, step):
        self.rows.append((step, key, value))

    def add_image(self, name, image, step, dataformats):
        self.sheets.append((name, image.shape, step, dataformats))

    def close(self):
        self.closed.append(True)


def test_a_log_is_kept_besides(tmp_path, monkeypatch, capsys):
    "The rows of training.csv, and the sheets; nothing without --log."
    import importlib.util

    insects(tmp_path / 'own')
    words = ('train', '--data', tmp_path / 'own', '--size', 8, '--width', 8, '--depth', 1, '--batch-size', 4, '--steps', 4, '--sample-every', 2, '--seed', 1)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *more: None if name in ('tensorboard', 'wandb') else found(name, *more))
    for name in ('tensorboard', 'wandb'):
        run(*words, '--out', tmp_path / 'x', '--log', name, code=2)
        assert f'--log is {name}, which needs the package {name}: pip install {name}' in capsys.readouterr().err
    run(*words, '--out', tmp_path / 'x', '--log', 'paper', code=2)
    assert '--log is paper, expected tensorboard, wandb' in capsys.readouterr().err and not (tmp_path / 'x').exists()
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *more: object() if name in ('tensorboard', 'wandb') else found(name, *more))
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', SimpleNamespace(SummaryWriter=Board))
    run(*words, '--out', tmp_path / 'a', '--log', 'tensorboard')
    rows = [line.split(',') for line in (tmp_path / 'a' / 'training.csv').read_text().splitlines()[1:]]
    assert [(int(row[0]), float(row[1])) for row in rows] == [(step, pytest.approx(value, rel=1e-5)) for step, key, value in Board.rows if key == 'loss']
    assert [step for _, _, step, _ in Board.sheets] == [2, 4] and Board.closed == [True] and Board.begun == [str(tmp_path / 'a' / 'tensorboard')]
    runs = []
    fake = SimpleNamespace(
        init=lambda **how: (
            runs.append((how, []))
            or SimpleNamespace(log=lambda values, step: runs[-1][1].append((step, values)), finish=lambda: runs[-1][1].append('finished'))
        ),
        Image=lambda path: ('image', path),
    )
    monkeypatch.setitem(sys.modules, 'wandb', fake)
    run(*words, '--out', tmp_path / 'b', '--log', 'wandb')
    how, log = runs[0]
    assert (
        how['project'] == 'diffbook' and how['config']['lr'] and log[-1] == 'finished' and [step for step, values in log[:-1] if 'samples' in values] == [2, 4]
    )
    assert Board.rows and len(runs) == 1
    run('train', '--out', tmp_path / 'b', '--resume', '--steps', 5, '--log', 'wandb')
    assert runs[1][0]['id'] == how['id'] and runs[1][0]['resume'] == 'allow'  # one run there, as here
    run(*words, '--out', tmp_path / 'c')
    assert len(runs) == 2 and len(Board.closed) == 1 and "log = 'wandb'" not in (tmp_path / 'c' / 'run.toml').read_text()


# --- films


def test_a_film_for_an_encoder(tmp_path, monkeypatch, capsys):
    "Every frame goes to it, in sides that are even; what it cannot encode leaves no file."
    save(tmp_path / 'm', by_class(1), {'shape': [1, 8, 8], 'classes': list(NAMES)})
    words = ('sample', tmp_path / 'm', '--class', 'bee', '--n', 3, '--columns', 3, '--steps', 3, '--solver', 'ddim', '--zoom', 1)
    (tmp_path / 'bin').mkdir()
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
    run(*words, '--out', tmp_path / 'x.mp4', code=2)
    assert 'no encoder is here; install ffmpeg, or pip install imageio-ffmpeg, or let the film end in .gif' in capsys.readouterr().err
    script = tmp_path / 'bin' / 'ffmpeg'
    script.write_text(f'#!{sys.executable}\nimport sys\ndata = sys.stdin.buffer.read()\nopen({str(tmp_path / "got")!r}, "wb").write(data)\nopen({str(tmp_path / "words")!r}, "w").write("\\n".join(sys.argv))\n'
                      'open(sys.argv[-1], "wb").write(b"film")\n')  # fmt: skip
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    run(*words, '--out', tmp_path / 'x.mp4')
    run(*words, '--out', tmp_path / 'x.gif')
    given = (tmp_path / 'words').read_text().split('\n')
    width, height = map(int, given[given.index('-video_size') + 1].split('x'))
    frames = torch.frombuffer(bytearray((tmp_path / 'got').read_bytes()), dtype=torch.uint8).reshape(-1, height, width, 3)
    assert (tmp_path / 'x.mp4').read_bytes() == b'film' and width % 2 == height % 2 == 0
    with Image.open(tmp_path / 'x.gif') as film:
        n = film.n_frames
        assert n >= 3 and len(frames) == n + 18 and (frames[n:] == frames[n - 1]).all()  # the last stays
        for k in range(n):
            film.seek(k)
            shown = torch.from_numpy(numpy.array(film.convert('L')))
            assert (frames[k, : film.height, : film.width, 0].int() - shown).abs().max() <= 1
    script.write_text(f'#!{sys.executable}\nimport sys\nsys.stdin.buffer.read()\nsys.exit("no such codec")\n')
    run(*words, '--out', tmp_path / 'y.mp4', code=2)
    assert 'y.mp4 could not be encoded: no such codec; a film that ends in .gif' in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if 'y.mp4' in path.name]


def test_a_real_encoder_writes_what_it_reads(tmp_path):
    "Where one is: the frames come back within what the codec loses."
    try:
        program = video.encoder(tmp_path / 'x.mp4')
    except ValueError:
        pytest.skip('no encoder is here')
    frames = [torch.full((15, 17), 40 * k + 20, dtype=torch.uint8) for k in range(4)]
    video.write_mp4(tmp_path / 'x.mp4', frames, 0.08, 0.4)
    back = subprocess.run(
        [program, '-loglevel', 'error', '-i', str(tmp_path / 'x.mp4'), '-f', 'rawvideo', '-pix_fmt', 'gray', 'pipe:1'], capture_output=True
    ).stdout
    read = torch.frombuffer(bytearray(back), dtype=torch.uint8).reshape(-1, 16, 18)
    assert len(read) == 8 and all((read[k, 2:12, 2:12].int() - 40 * min(k, 3) - 20).abs().max() <= 6 for k in range(8))


# --- completion


def complete(words, tmp_path, capsys):
    run('completion', 'bash')
    (tmp_path / 'c.bash').write_text(capsys.readouterr().out)
    program = f'source {tmp_path}/c.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _diffbook; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(['bash', '-c', program, 'x', *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which('bash') is None, reason='no bash')
def test_bash_completes_what_there_is(tmp_path, capsys):
    "Held against the commands themselves: every command, every option, values by name, files elsewhere."
    root = typer.main.get_command(cli.app.app)
    ask = lambda *words: complete(('diffbook', *words), tmp_path, capsys)  # noqa: E731
    assert root.commands.keys() <= ask('') and ask('tr') == {'train'}
    for name, command in root.commands.items():
        typed = {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith('--')}
        assert typed | {'--quiet', '--help'} <= ask(name, '--'), name
    (tmp_path / 'heunfile').write_text('')
    assert ask('sample', 'm', '--solver', 'heu') == {'heun', 'heunfile'} and ask('sample', 'm', '--grid', 'kar') == {'karras'}
    assert (
        ask('sample', 'fashion-mnist-fl') == {'fashion-mnist-flow'} and ask('export', 'm', '--to', 'd') == {'diffusers'} and ask('completion', 'z') == {'zsh'}
    )
    assert 'heunfile' in ask('train', '--config', 'heu') and ask('train', '--log', 't') == {'tensorboard'}


def test_other_shells(capsys):
    root = typer.main.get_command(cli.app.app)
    run('completion', 'zsh')
    assert 'bashcompinit' in (said := capsys.readouterr().out) and 'complete -o filenames -F _diffbook diffbook' in said
    run('completion', 'fish')
    said = capsys.readouterr().out.splitlines()
    for name, command in root.commands.items():
        for p in command.params:
            for word in (o for o in (*p.opts, *p.secondary_opts) if o.startswith('--')):
                assert any(f'from {name}"' in line and f'-l {word[2:]}' in line for line in said), (name, word)
    assert all(line.replace("\\'", '').count("'") % 2 == 0 for line in said)
    for shell in ('bash', 'fish', 'zsh'):
        if shutil.which(shell):
            run('completion', shell)
            assert subprocess.run([shell, '-n'], input=capsys.readouterr().out, text=True, capture_output=True).returncode == 0
    run('completion', 'tcsh', code=2)
    assert 'expected bash, zsh, fish' in capsys.readouterr().err


# --- the Hub


class Hub:
    "In place of the client: what was put there, served as snapshot_download does."

    def __init__(self, root):
        self.root, self.calls = root, []

    def create_repo(self, name, **how):
        self.calls.append((name, how))

    def create_commit(self, name, operations, commit_message):
        revision = f'{len(self.calls):040x}'
        for operation in operations:
            path = self.root / name / revision / operation.path_in_repo
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(operation.path_or_fileobj)
        self.calls.append(commit_message)
        return SimpleNamespace(oid=revision)

    def download(self, name, revision=None, allow_patterns=None):
        self.calls.append((name, revision, allow_patterns))
        there = sorted((self.root / name).iterdir()) if (self.root / name).is_dir() else []
        if not there:
            raise OSError('no such name')
        return str(self.root / name / revision if revision else there[-1])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip('huggingface_hub')
    made = Hub(tmp_path / 'hub')
    monkeypatch.setattr(huggingface_hub, 'HfApi', lambda: made)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', made.download)
    monkeypatch.chdir(tmp_path)
    return made


def test_a_model_is_put_on_the_hub_and_fetched(hub, tmp_path, capsys):
    "Weights, configuration and a card in one commit; by name and revision it comes back, and draws the same."
    save(tmp_path / 'm', by_class(), {'shape': [3, 8, 8], 'classes': list(NAMES)})
    run('push', tmp_path / 'm', 'somebody/insects', '--private', '--message', 'first', '--json')
    said = json.loads(capsys.readouterr().out)
    assert hub.calls == [('somebody/insects', {'private': True, 'exist_ok': True}), 'first'] and said['url'] == 'https://huggingface.co/somebody/insects'
    there = tmp_path / 'hub' / 'somebody' / 'insects' / said['revision']
    assert sorted(p.name for p in there.iterdir()) == ['README.md', 'config.json', 'model.safetensors']
    card = (there / 'README.md').read_text()
    assert 'diffbook sample somebody/insects --class "ant"' in card and 'ant, bee, cat' in card
    pinned = load(f'somebody/insects@{said["revision"]}')
    assert hub.calls[-1] == ('somebody/insects', said['revision'], ['model.safetensors', 'config.json'])
    assert all(map(torch.equal, pinned.state_dict().values(), load(tmp_path / 'm').state_dict().values()))
    run('sample', 'somebody/insects', '--class', 'ant', '--n', 1, '--steps', 1, '--out', tmp_path / 'a.png')
    run('sample', tmp_path / 'm', '--class', 'ant', '--n', 1, '--steps', 1, '--out', tmp_path / 'b.png')
    assert Image.open(tmp_path / 'a.png').tobytes() == Image.open(tmp_path / 'b.png').tobytes()
    (tmp_path / 'm' / 'README.md').write_text('my own words')
    run('push', tmp_path / 'm', 'somebody/insects')
    assert any(p.read_text() == 'my own words' for p in (tmp_path / 'hub' / 'somebody' / 'insects').glob('*/README.md'))
    assert 'load("somebody/insects@' in capsys.readouterr().out and hub.calls[-2] == ('somebody/insects', {'private': False, 'exist_ok': True})


def test_what_comes_from_the_hub_is_checked(hub, tmp_path, capsys):
    "A byte that changed on the way is seen, and a pickle is never asked for."
    save(tmp_path / 'm', by_class(), {'shape': [3, 8, 8]})
    run('push', tmp_path / 'm', 'somebody/one')
    file = next((tmp_path / 'hub').rglob('model.safetensors'))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match='do not match its digest'):
        load('somebody/one')
    file.unlink()
    with pytest.raises(FileNotFoundError, match='somebody/one on the Hub holds no model.safetensors'):
        load('somebody/one')
    with pytest.raises(FileNotFoundError, match='there is no folder nobody/none, and the Hub did not give a model of that name .OSError'):
        load('nobody/none')


def test_a_path_is_not_asked_of_the_hub(hub, tmp_path, monkeypatch):
    "A folder whose upper half lies here, and whatever is no name of the Hub."
    (tmp_path / 'runs').mkdir()
    for name in ('runs/typo', './a/b', '../a/b', 'a/b/c', '/a/b', 'a\\b/c/d', 'a b/c', tmp_path / 'no' / 'thing', 'none'):
        with pytest.raises(FileNotFoundError, match='there is no model'):
            load(name)
    assert hub.calls == []
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(FileNotFoundError, match='there is no folder some/body, and models of the Hub need huggingface_hub'):
        load('some/body')


def test_what_is_not_published(hub, tmp_path, capsys):
    save(tmp_path / 'm', by_class(), {'shape': [3, 8, 8]})
    for name in ('insects', 'a/b/c', 'a/b@main', '../x'):
        run('push', tmp_path / 'm', name, code=2)
        assert f'the name is {name!r}, expected user/name' in capsys.readouterr().err
    run('push', tmp_path / 'nothing', 'a/b', code=2)
    assert hub.calls == []


def test_who_is_not_logged_in_is_told_how(hub, tmp_path, capsys):
    save(tmp_path / 'm', by_class(), {'shape': [3, 8, 8]})

    def refuse(*a, **k):
        raise RuntimeError('401 Client Error\nUnauthorized')

    hub.create_repo = refuse
    run('push', tmp_path / 'm', 'somebody/one', code=2)
    assert 'the Hub did not take somebody/one (RuntimeError: 401 Client Error Unauthorized); `hf auth login` logs in' in capsys.readouterr().err
