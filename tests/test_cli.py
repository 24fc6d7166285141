"""The command line does what it says: it trains, resumes, samples, evaluates, and repeats itself exactly."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from diffbook import cli
from diffbook.core import uniform
from diffbook.data import Dataset, draw_shapes
from diffbook.training import Trainer, checkpoints, load, read_model, save

TRAIN = ['train', '--data', 'shapes', '--size', '8', '--width', '8', '--batch-size', '4', '--seed', '3']


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch):
    "Sixteen drawn images instead of 20,000."
    monkeypatch.setattr('diffbook.data.draw_shapes', lambda n, size=32, seed=0, start=0: draw_shapes(16, size, seed, start))


def run(*argv, code=0):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in argv])
    assert stop.value.code == code


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A run of 12 steps."
    out = tmp_path_factory.mktemp('trained') / 'run'
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr('diffbook.data.draw_shapes', lambda n, size=32, seed=0, start=0: draw_shapes(16, size, seed, start))
        run(*TRAIN, '--steps', 12, '--save-every', 5, '--out', out)
    return out


def test_train_writes_what_it_says(trained):
    assert sorted(p.name for p in trained.iterdir()) == ['checkpoints', 'config.json', 'model.safetensors', 'training.csv']
    assert [p.name[:14] for p in checkpoints(trained / 'checkpoints')] == ['step-000000012', 'step-000000010']
    about = read_model(trained)[0]['about']
    assert about == {'data': 'shapes', 'shape': [3, 8, 8], 'steps': 12, 'batch_size': 4, 'seed': 3}
    assert (trained / 'training.csv').read_text().startswith('step,loss,lr,grad_norm')


def test_the_same_command_gives_the_same_bytes(trained, tmp_path):
    run(*TRAIN, '--steps', 12, '--out', tmp_path / 'run')
    assert digest(tmp_path / 'run' / 'model.safetensors') == digest(trained / 'model.safetensors')


@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(trained, tmp_path, monkeypatch, capsys, number, code):
    update = Trainer.update

    def interrupted(self, batch):
        if self.step == 6:
            os.kill(os.getpid(), number)
        return update(self, batch)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Trainer, 'update', interrupted)
        run(*TRAIN, '--steps', 12, '--out', tmp_path / 'run', code=code)
    assert 'Stopped after step 7' in capsys.readouterr().out
    assert not (tmp_path / 'run' / 'model.safetensors').exists()
    run(*TRAIN, '--steps', 12, '--out', tmp_path / 'run', '--resume')
    assert 'Continuing after step 7' in capsys.readouterr().out
    assert digest(tmp_path / 'run' / 'model.safetensors') == digest(trained / 'model.safetensors')


def test_a_run_is_not_overwritten_or_continued_with_other_settings(trained, capsys):
    before = digest(trained / 'model.safetensors')
    run(*TRAIN, '--steps', 12, '--out', trained, code=2)
    assert 'holds a run already; add --resume' in capsys.readouterr().err
    for option, value, words in (
        ('--steps', 20, 'total is 20, and 12'), ('--batch-size', 8, 'batch_size is 8, and 4'), ('--seed', 4, '--seed is 4.*began with 3'),
        ('--width', 16, 'does not fit the model'), ('--lr', 1, 'lr is 1.0, and 0.001'),
    ):  # fmt: skip
        argv = [*TRAIN, '--steps', '12', option, str(value)]
        run(*argv, '--out', trained, '--resume', code=2)
        assert re.search(words, capsys.readouterr().err)
    assert digest(trained / 'model.safetensors') == before


def test_minutes_end_a_run(tmp_path, monkeypatch):
    run(*TRAIN, '--minutes', 0.01, '--out', tmp_path / 'run')
    assert read_model(tmp_path / 'run')[0]['about']['steps'] >= 1


def test_the_log_of_a_resumed_run_has_each_step_once(tmp_path):
    run(*TRAIN, '--steps', 60, '--out', tmp_path / 'run', '--save-every', 50)
    log = tmp_path / 'run' / 'training.csv'
    once = log.read_text()
    newest = checkpoints(tmp_path / 'run' / 'checkpoints')[0]
    newest.unlink()
    run(*TRAIN, '--steps', 60, '--out', tmp_path / 'run', '--save-every', 50, '--resume')
    assert log.read_text() == once and [line.split(',')[0] for line in once.splitlines()] == ['step', '20', '40', '60']


@pytest.mark.parametrize('solver', cli.SOLVERS)
def test_sampling_repeats_itself(trained, tmp_path, solver, capsys):
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        run('sample', trained, '--n', 3, '--steps', 4, '--solver', solver, '--seed', seed, '--out', tmp_path / 'deep' / f'{name}.png')
    files = [digest(tmp_path / 'deep' / f'{name}.png') for name in 'abc']
    assert files[0] == files[1] != files[2]
    assert f'3 images in {tmp_path / "deep" / "a.png"}' in capsys.readouterr().out
    assert len(list((tmp_path / 'deep').iterdir())) == 3


@pytest.mark.parametrize('solver', cli.SOLVERS)
def test_image_i_does_not_depend_on_its_neighbours(trained, solver):
    model = load(trained)
    alone = cli.draw(model, (3, 8, 8), 2, 3, solver, 5)
    among = cli.draw(model, (3, 8, 8), 7, 3, solver, 5, batch=3)
    torch.testing.assert_close(among[:2], alone, rtol=0, atol=1e-5)


def test_the_picture_is_a_grid(trained, tmp_path):
    run('sample', trained, '--n', 5, '--steps', 2, '--columns', 4, '--zoom', 3, '--out', tmp_path / 'x.png')
    assert Image.open(tmp_path / 'x.png').size == (3 * (4 * 10 - 2), 3 * (2 * 10 - 2))


def test_a_model_that_does_not_say_its_size(trained, tmp_path, capsys):
    save(tmp_path / 'm', load(trained))
    run('sample', tmp_path / 'm', '--n', 1, '--steps', 1, '--out', tmp_path / 'x.png', code=2)
    assert 'add --size' in capsys.readouterr().err
    run('sample', tmp_path / 'm', '--n', 1, '--steps', 1, '--size', 8, '--out', tmp_path / 'x.png')


def test_evaluate_prints_floors(tmp_path, monkeypatch, capsys):
    grey = lambda purpose: (255 * uniform(0, purpose, 0, range(40), (1, 28, 28))).to(torch.uint8)  # noqa: E731
    monkeypatch.setattr(cli, 'load_images', lambda name, split, *a: Dataset(grey(split)))
    save(tmp_path / 'm', cli.new_model((1, 28, 28), 8, 0), {'shape': [1, 28, 28]})
    run('evaluate', tmp_path / 'm', '--data', 'grey', '--n', 20, '--steps', 1, '--out', tmp_path / 'r.json')
    said, report = capsys.readouterr().out, json.loads((tmp_path / 'r.json').read_text())
    assert report['n'] == 20 and report['frechet'] > 2 * report['frechet_floor'] and 'floor' in said and 'n = 20' in said
    run('evaluate', tmp_path / 'm', '--data', 'grey', '--n', 50, code=2)
    assert '--n is 50, expected at most 40' in capsys.readouterr().err


def test_doctor(capsys):
    run('doctor', '--device', 'cpu')
    said = capsys.readouterr().out
    for words in ('torch ', 'threads on', 'fashion-mnist', 'one training step .* images/s'):
        assert re.search(words, said)


def test_data_says_what_is_here_and_what_is_not(tmp_path, capsys):
    raw = tmp_path / 'FashionMNIST' / 'raw'
    raw.mkdir(parents=True)
    run('data', '--data-root', tmp_path)
    said = capsys.readouterr().out
    assert str(tmp_path) in said and 'drawn by the package' in said
    assert f'diffbook data fashion-mnist --download --data-root {tmp_path}' in said
    (raw / 'train-images-idx3-ubyte.gz').write_bytes(b'short')
    run('data', 'fashion-mnist', '--data-root', tmp_path)
    assert 'train-labels' in capsys.readouterr().out


@pytest.mark.parametrize('command', ['train', 'sample', 'evaluate', 'data', 'doctor'])
def test_help_has_an_example(command, capsys):
    run(command, '--help')
    said = capsys.readouterr().out
    assert f'Example: diffbook {command}' in said and (command == 'data' or '--seed' in said)


def test_without_a_command_help_is_shown(capsys):
    run()
    assert 'Usage: diffbook' in capsys.readouterr().out


def test_as_a_program(tmp_path):
    "In a process of its own: exit code 2, one line, and nothing but it."
    done = subprocess.run([sys.executable, '-m', 'diffbook.cli', 'sample', 'nobody', '--out', 'x.png'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == '' and done.stderr.startswith('diffbook: there is no model') and done.stderr.count('\n') == 1
    assert not list(tmp_path.iterdir())
