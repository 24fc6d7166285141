"""The command line does what it says: it trains, resumes, samples, evaluates, and repeats itself exactly."""

import contextlib
import copy
import fcntl
import hashlib
import json
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy
import pytest
import torch
import typer
from helpers import patch_cli
from PIL import Image
from test_pretrained import filled, parts

from diffbook import cli, core, gaussian, likelihood, losses, multistep, recipes, samplers, scale, sde, stages
from diffbook.adapters import adapters, add_lora, load_lora, save_lora
from diffbook.cli.models import GRIDS, SOLVERS, sides
from diffbook.conditioning import Conditional, TextConditioner
from diffbook.core import describe, noise, seeded_noise, uniform
from diffbook.data import Dataset, from_model, read_folder, to_model
from diffbook.editing import start_from
from diffbook.grids import angle_times, beta_times, shifted_times
from diffbook.guidance import guide
from diffbook.losses import Denoiser, quarter_log_noise, unit_input
from diffbook.nets.clip import TextTower
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_edm, predict_v, predict_velocity, predict_x0
from diffbook.pretrained import about_lora, save_pipeline
from diffbook.recipes import RECIPES, Recipe, captioned, plain
from diffbook.runs import OPTIONS, content_of, option
from diffbook.schedules import CosineSchedule, KarrasSchedule, RectifiedFlowSchedule
from diffbook.shapes import draw_shapes, draw_split
from diffbook.speedrun import Muon
from diffbook.stable_diffusion import StableDiffusion
from diffbook.store.checkpoints import read_checkpoint
from diffbook.store.pictures import grey
from diffbook.text import Tokenizer, train_merges
from diffbook.training import Trainer, checkpoints, learning_rate, load, read_model, save

TRAIN = ['train', '--data', 'shapes', '--size', '8', '--width', '8', '--batch-size', '4', '--seed', '3']


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch):
    "Sixteen drawn images instead of 20,000."
    monkeypatch.setattr('diffbook.shapes.draw_shapes', lambda n, size=32, seed=0, start=0: draw_shapes(16, size, seed, start))


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
        patches.setattr('diffbook.shapes.draw_shapes', lambda n, size=32, seed=0, start=0: draw_shapes(16, size, seed, start))
        run(*TRAIN, '--steps', 12, '--save-every', 5, '--out', out)
    return out


def test_train_writes_what_it_says(trained):
    assert sorted(p.name for p in trained.iterdir()) == ['checkpoints', 'config.json', 'model.safetensors', 'run.toml', 'training.csv']
    assert [p.name[:14] for p in checkpoints(trained / 'checkpoints')] == ['step-000000012', 'step-000000010']
    about = read_model(trained)[0]['about']
    assert about == {'data': 'shapes', 'shape': [3, 8, 8], 'steps': 12, 'batch_size': 4, 'seed': 3}
    assert (trained / 'training.csv').read_text().startswith('step,loss,lr,grad_norm')


def test_the_same_command_gives_the_same_bytes(trained, tmp_path):
    run(*TRAIN, '--steps', 12, '--out', tmp_path / 'run')
    assert digest(tmp_path / 'run' / 'model.safetensors') == digest(trained / 'model.safetensors')


@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stopped_run_is_usable_and_goes_on_as_if_nothing_had_happened(trained, tmp_path, capsys, number, code):
    "The averaged model of that step is published; `--resume` needs no other option."
    update, seen = Trainer.update, []

    def interrupted(self, batch):
        if self.step == 6:
            os.kill(os.getpid(), number)
            seen.append(self)
        return update(self, batch)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Trainer, 'update', interrupted)
        run(*TRAIN, '--steps', 12, '--out', tmp_path / 'run', code=code)
    said = capsys.readouterr().out
    assert 'Stopped after step 7; step 7 is saved' in said and f'the model at that step is in {tmp_path / "run"}' in said
    config, tensors = read_model(tmp_path / 'run')
    assert config['about']['steps'] == 7 and all(torch.equal(v, tensors[k]) for k, v in seen[0].ema.model.state_dict().items())
    run('sample', tmp_path / 'run', '--n', 1, '--steps', 1, '--out', tmp_path / 'x.png')
    run('train', '--out', tmp_path / 'run', '--resume')
    assert 'Continuing after step 7' in capsys.readouterr().out
    assert digest(tmp_path / 'run' / 'model.safetensors') == digest(trained / 'model.safetensors')


def test_a_terminal_that_closes_costs_no_update(tmp_path):
    "A real one: what is written to it fails, and the shell's hang-up arrives while an update is made."
    child, terminal = pty.fork()
    if child == 0:
        env = {k: v for k, v in os.environ.items() if k != 'TQDM_DISABLE'}
        os.execve(sys.executable, [sys.executable, '-m', 'diffbook.cli', *TRAIN, '--minutes', '1', '--out', str(tmp_path / 'run')], env)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))  # wide enough for a bar
    with open(terminal, 'rb', buffering=0) as shown:
        said = b''
        while not re.search(rb'[3-9]step', said):
            said += shown.read(1000)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 129
    step = checkpoints(tmp_path / 'run' / 'checkpoints')[0].name[:14]
    assert step > 'step-000000000' and step == f'step-{read_model(tmp_path / "run")[0]["about"]["steps"]:09d}'


def test_a_model_can_be_looked_at_while_it_is_trained(tmp_path, capsys):
    "And after kill -9: with each checkpoint the average is published; before the first there is none, and that is said."
    steps, real = [], Trainer.update

    def look(self, batch):
        with contextlib.suppress(FileNotFoundError):
            steps.append((self.step, read_model(tmp_path / 'run')[0]['about']['steps']))
        return real(self, batch)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Trainer, 'update', look)
        run(*TRAIN, '--steps', 8, '--save-every', 3, '--out', tmp_path / 'run')
    assert steps == [(3, 3), (4, 3), (5, 3), (6, 6), (7, 6)]
    for name in ('model.safetensors', 'config.json'):  # as if it had been killed before the first
        (tmp_path / 'run' / name).unlink()
    run('sample', tmp_path / 'run', '--out', tmp_path / 'x.png', code=2)
    assert 'holds no model.safetensors; it is a run that has not come to its first checkpoint' in capsys.readouterr().err


def test_what_is_not_finite_ends_a_run_with_the_weights_before_it(tmp_path, capsys):
    real = Trainer.update
    with pytest.MonkeyPatch.context() as patches:
        loss, seen = Recipe.loss, []
        patches.setattr(Recipe, 'loss', lambda *a: loss(*a) * (torch.nan if len(seen) > 4 else 1))
        patches.setattr(Trainer, 'update', lambda self, batch: (seen.append(1), real(self, batch))[1])
        run(*TRAIN, '--steps', 9, '--out', tmp_path / 'run', code=2)
    assert 'update 5 is not finite' in capsys.readouterr().err
    assert read_model(tmp_path / 'run')[0]['about']['steps'] == 4 == read_checkpoint(checkpoints(tmp_path / 'run' / 'checkpoints')[0])[0]['step']


# --- a run goes on

OTHERS = {  # option, another value, words of the refusal, may be changed
    'rate': (('--lr', 2e-3), '--lr is 0.002, and the run in .* has 0.001; .*--change lr', True),
    'average': (('--ema', 0.5), '--ema is 0.5, and the run in .* has 0.999; .*--change ema', True),
    'batch': (('--batch-size', 8), '--batch-size is 8, and the run in .* has 4; .*--change batch-size', True),
    'fewer steps': (('--steps', 13), '--steps is 13, and the run in .* has 14; .*--change steps', True),
    'minutes': (('--minutes', 0.001), '--minutes is 0.001, and the run in .* has --steps 14; .*--change steps', True),
    'precision': (('--bf16',), '--bf16 is True, and the run in .* has False; .*--change bf16', True),
    'size': (('--size', 16), '--size is 16, and the run in .* has 8; .*choose another --out', False),
    'width': (('--width', 16), '--width is 16, and the run in .* has 8; .*choose another --out', False),
    'seed': (('--seed', 4), '--seed is 4, and the run in .* has 3; .*choose another --out', False),
    'ground': (('--ground', 'black'), '--ground is black, and the run in .* has white; .*choose another --out', False),
    'skipping': (('--skip-broken',), '--skip-broken is True, and the run in .* has False; .*choose another --out', False),
    'method': (('--method', 'flow'), '--method is flow, and the run in .* has None; .*choose another --out', False),
    'text': (('--text',), '--text is True, and the run in .* has None; .*choose another --out', False),
    'classes': (('--class-folders',), '--class-folders is True, and the run in .* has None; .*choose another --out', False),
    'captions': (('--captions', 'txt'), '--captions is txt, and the run in .* has None; .*choose another --out', False),
    'a change beside': (('--lora', 2), '--lora is 2, and the run in .* has None; .*choose another --out', False),
    'a beginning': (('--init', 'shapes'), '--init is shapes, and the run in .* has None; .*choose another --out', False),
    'squares': (('--fit', 'pad'), '--fit is pad, and the run in .* has centre; .*choose another --out', False),
    'grey': (('--grey',), '--grey is True, and the run in .* has None; .*choose another --out', False),
    'depth': (('--depth', 3), '--depth is 3, and the run in .* has None; .*choose another --out', False),
    'patch': (('--patch', 1), '--patch is 1, and the run in .* has None; .*choose another --out', False),
    'prediction': (('--prediction', 'x0'), '--prediction is x0, and the run in .* has None; .*choose another --out', False),
    'weight': (('--snr-weight',), '--snr-weight is True, and the run in .* has None; .*choose another --out', False),
    'dropout': (('--dropout', 0.1), '--dropout is 0.1, and the run in .* has 0.0; .*choose another --out', False),
    'warm-up': (('--warmup', 3), '--warmup is 3, and the run in .* has None; .*choose another --out', False),
    'optimizer': (('--optimizer', 'muon'), '--optimizer is muon, and the run in .* has None; .*choose another --out', False),
    'mirrors': (('--flip',), '--flip is True, and the run in .* has False; .*--change flip', True),
    'drop': (('--drop', 0.2), '--drop is 0.2, and the run in .* has None; .*--change drop', True),
    'decay': (('--weight-decay', 0.2), '--weight-decay is 0.2, and the run in .* has None; .*--change weight-decay', True),
    'how the rate goes': (('--rate', 'constant'), '--rate is constant, and the run in .* has falling; .*--change rate', True),
    'steps that are made': (('--steps', 5, '--change', 'steps'), '--steps is 5, and the run in .* has made 12 updates', None),
    'a change of nothing': (('--change', 'lr'), '--change is lr, and --lr is not given', None),
    'a change of the width': (('--width', 16, '--change', 'width'), '--change is width, expected some of steps, lr, rate, ema, batch-size, bf16, drop, flip, weight-decay, data', None),
}  # fmt: skip


@pytest.fixture
def stopped(tmp_path):
    "A run of 14 steps that was stopped after 12, as a copy for each test."
    real, out = Trainer.update, tmp_path / 'run'

    def interrupted(self, batch):
        if self.step == 11:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Trainer, 'update', interrupted)
        run(*TRAIN, '--steps', 14, '--out', out, code=143)
    return out


def everything(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob('*') if p.is_file() and p.name != '.writer'}


def test_a_run_goes_on_with_its_own_options_unless_a_change_is_said(stopped, capsys):
    "Each refusal names the option, both values and what to do, before anything is read or written; with --change, it goes on."
    before = everything(stopped)
    for options, words, _ in OTHERS.values():
        run('train', '--out', stopped, '--resume', *options, code=2)
        assert re.search(words, said := capsys.readouterr().err), said
        assert everything(stopped) == before
    for options, _, may in OTHERS.values():
        if may is False:
            run('train', '--out', stopped, '--resume', *options, '--change', options[0][2:], code=2)
            assert '--change is' in capsys.readouterr().err
    assert {options[0] for options, *_ in OTHERS.values()} | {'--data', '--change', '--recipe'} == {option(name) for name in OPTIONS} | {
        '--minutes',
        '--change',
    }
    run(*TRAIN, '--steps', 14, '--out', stopped, code=2)
    assert 'holds a run already; add --resume' in capsys.readouterr().err and everything(stopped) == before
    run(*TRAIN, '--steps', 14, '--lr', 0.001, '--ema', 0.999, '--no-bf16', '--out', stopped, '--resume')  # the same, said again
    assert 'From here on' not in capsys.readouterr().out


@pytest.mark.parametrize(
    'options, total, peak, said',
    [
        (('--steps', 30), 30, 1e-3, '--steps is 30, and was 14.*that of a run of 30 updates'),
        (('--steps', 13, '--change', 'steps'), 13, 1e-3, '--steps is 13, and was 14'),
        (('--lr', 5e-3, '--change', 'lr'), 14, 5e-3, '--lr is 0.005, and was 0.001'),
        (('--lr', 5e-3, '--steps', 40, '--change', 'lr'), 40, 5e-3, '--lr is 0.005'),
        (('--minutes', 0.001, '--change', 'steps'), None, 1e-3, '--steps is None, and was 14'),
    ],
)
def test_the_rate_after_a_change_is_that_of_its_step(stopped, capsys, monkeypatch, options, total, peak, said):
    "Of an extension too: as if the run had had so many steps from the beginning, with the warm-up that it had."
    seen, real = [], Trainer.update
    monkeypatch.setattr(Trainer, 'update', lambda self, batch: (seen.append(real(self, batch)), seen[-1])[1])
    run('train', '--out', stopped, '--resume', *options)
    assert re.search(said, ' '.join(capsys.readouterr().out.split()))
    assert [s.step for s in seen] == list(range(13, (total or seen[-1].step) + 1)) and seen
    assert [s.lr for s in seen] == [learning_rate(s.step - 1, peak, 1, total) for s in seen]
    header = read_checkpoint(checkpoints(stopped / 'checkpoints')[0])[0]
    assert (header['settings']['lr'], header['settings']['total'], header['settings']['run']['steps']) == (peak, total, total)
    if total is None:
        run('train', '--out', stopped, '--resume', code=2)
        assert 'was begun with --minutes; say for how many' in capsys.readouterr().err
        run('train', '--out', stopped, '--resume', '--minutes', 0.001)
        run('train', '--out', stopped, '--resume', '--steps', 10**6, code=2)
        assert re.search('--steps is 1000000, and the run in .* has --minutes and no --steps', capsys.readouterr().err)


@pytest.fixture
def digits(tmp_path):
    folder = tmp_path / 'digits'
    folder.mkdir()
    for i in range(6):
        Image.new('RGB', (9, 9), (40 * i, 10, 250 - 40 * i)).save(folder / f'{i}.png')
    return folder


def test_data_are_known_by_their_content_and_not_by_their_path(digits, tmp_path, monkeypatch, capsys):
    options = ('--size', 8, '--width', 8, '--batch-size', 2)
    run('train', '--data', digits, *options, '--steps', 2, '--out', tmp_path / 'run')
    assert read_model(tmp_path / 'run')[0]['about']['data'] == 'digits'
    monkeypatch.chdir(tmp_path)
    go = ('train', '--out', 'run', '--resume')
    for n, data in enumerate(('digits', './digits/', '../' + tmp_path.name + '/digits', None), 3):
        run(*go, '--steps', n, *(('--data', data) if data else ()))
    digits.rename(tmp_path / 'elsewhere')
    run(*go, '--steps', 7, code=2)
    assert 'digits' in capsys.readouterr().err
    run(*go, '--steps', 7, '--data', 'elsewhere')
    run(*go, '--steps', 8)
    Image.new('RGB', (9, 9), (1, 2, 3)).save(tmp_path / 'elsewhere' / '3.png')
    capsys.readouterr()
    for data in ((), ('--data', 'elsewhere')):
        run(*go, '--steps', 9, *data, code=2)
        said = capsys.readouterr().err
        assert len(set(re.findall(r'6 images of 3 x 8 x 8 .digest (\w{16})', said))) == 2 and '--data is ' in said and '--change data' in said
    run(*go, '--steps', 9, '--data', 'elsewhere', '--change', 'data')
    run(*go, '--steps', 10)
    assert read_model(tmp_path / 'run')[0]['about'] == {'data': 'elsewhere', 'shape': [3, 8, 8], 'steps': 10, 'batch_size': 2, 'seed': 0}


def test_content_is_every_byte_kind_shape_and_caption():
    x = (255 * uniform(0, 'x', 0, range(2000), (3, 2, 2))).to(torch.uint8)
    last, turned = x.clone(), x.transpose(2, 3)
    last[-1, -1, -1, -1] ^= 1
    sums = [
        content_of(v, c)
        for v, c in (
            (x, None),
            (last, None),
            (turned, None),
            (x.reshape(2000, 1, 3, 4), None),
            (x[:-1], None),
            (x.flip(0), None),
            (x, ['a', 'b']),
            (x, ['ab', '']),
            (x, ['a\n1 b', '']),
        )
    ]
    assert len(set(sums)) == len(sums) and content_of(x.clone()) == sums[0] == content_of(x.contiguous(memory_format=torch.channels_last))


# --- own data is never lost

OWN = {
    'a published model': lambda out: save(out, plain_model((3, 8, 8)), {'shape': [3, 8, 8]}),
    'weights alone': lambda out: (out / 'model.safetensors').write_bytes(b'mine'),
    'settings alone': lambda out: (out / 'config.json').write_text('{"mine": 1}'),
    'a table': lambda out: (out / 'training.csv').write_text('mine'),
    'a file called checkpoints': lambda out: (out / 'checkpoints').write_text('mine'),
}  # fmt: skip


@pytest.mark.parametrize('name', OWN)
def test_a_new_run_overwrites_nothing(tmp_path, capsys, name):
    out = tmp_path / 'own'
    out.mkdir()
    OWN[name](out)
    before = everything(out)
    run(*TRAIN, '--steps', 2, '--out', out, code=2)
    assert re.search('--out is .*own, which holds .*choose another --out', capsys.readouterr().err)
    run(*TRAIN, '--steps', 2, '--out', out, '--resume', code=2)
    assert '--resume is given, and' in capsys.readouterr().err and everything(out) == before


def test_a_folder_with_other_things_may_be_trained_in(tmp_path):
    out = tmp_path / 'own'
    out.mkdir()
    for name in ('notes.txt', '.mine.2024.tmp', '.model.safetensors.tmp'):
        (out / name).write_text('mine')
    run(*TRAIN, '--steps', 1, '--out', out)
    assert all((out / name).read_text() == 'mine' for name in ('notes.txt', '.mine.2024.tmp', '.model.safetensors.tmp'))


def test_resume_needs_a_run(tmp_path, capsys):
    for folder in ('nowhere', 'empty'):
        (tmp_path / 'empty').mkdir(exist_ok=True)
        run(*TRAIN, '--out', tmp_path / folder, '--resume', code=2)
        assert 'holds no checkpoint; leave it away to begin a run' in capsys.readouterr().err
    assert not (tmp_path / 'nowhere').exists() and not list((tmp_path / 'empty').iterdir())
    run(*TRAIN, '--out', tmp_path / 'x', '--change', 'lr', '--lr', 1, code=2)
    assert '--change is lr, and there is no run that goes on' in capsys.readouterr().err


EVIL = ['$(touch pwned)', '`touch pwned`', '"; touch pwned; "', "it's; touch pwned", 'a\\', '!! & touch pwned', '-n', '* ? ~ #', 'ein schöner Hut \U0001f3a9']


def test_what_to_type_next_is_safe_to_type(tmp_path, capsys, monkeypatch):
    "Each `Next:` line is given to a shell, with a program that writes down what it was called with."
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'diffbook').write_text(f'#!{sys.executable}\nimport json, sys\njson.dump(sys.argv[1:], open("called.json", "w"))\n')
    (tmp_path / 'bin' / 'diffbook').chmod(0o755)
    pictures = (255 * uniform(0, 'x', 0, range(2), (3, 8, 8))).to(torch.uint8)
    for n, caption in enumerate(EVIL):
        patch_cli(monkeypatch, 'load_images', lambda *a, caption=caption: Dataset(pictures, None, (caption, caption), 'own'))
        out = tmp_path / f'{n} {caption.replace("/", "")}'
        run('train', '--data', 'own', '--text', '--width', 8, '--batch-size', 2, '--steps', 1, '--out', out)
        line = re.search('Next: (.*)', capsys.readouterr().out)[1]
        done = subprocess.run(['bash', '-c', line], cwd=tmp_path, env={'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}'}, capture_output=True, text=True)
        assert done.returncode == 0 and not list(tmp_path.rglob('pwned')), done.stderr
        assert json.loads((tmp_path / 'called.json').read_text()) == ['sample', str(out), '--out', str(out / 'samples.png'), '--prompt', caption]


def test_minutes_end_a_run(tmp_path, monkeypatch):
    "And leave a model that can be used; more minutes are more updates."
    run(*TRAIN, '--minutes', 0.01, '--out', tmp_path / 'run')
    steps = read_model(tmp_path / 'run')[0]['about']['steps']
    assert steps >= 1
    run('train', '--out', tmp_path / 'run', '--resume', '--minutes', 0.01)
    assert read_model(tmp_path / 'run')[0]['about']['steps'] > steps
    header = read_checkpoint(checkpoints(tmp_path / 'run' / 'checkpoints')[0])[0]
    assert header['settings']['run']['steps'] is None


def test_the_log_of_a_resumed_run_has_each_step_once(tmp_path):
    run(*TRAIN, '--steps', 60, '--out', tmp_path / 'run', '--save-every', 50)
    log = tmp_path / 'run' / 'training.csv'
    without_time = lambda: [line.split(',')[:4] for line in log.read_text().splitlines()]
    once = without_time()
    newest = checkpoints(tmp_path / 'run' / 'checkpoints')[0]
    newest.unlink()
    run(*TRAIN, '--steps', 60, '--out', tmp_path / 'run', '--save-every', 50, '--resume')
    now = without_time()
    assert [row[0] for row in now] == [row[0] for row in once] == ['step', *map(str, range(3, 61, 3))]
    assert now[:17] == once[:17] and now[18:] == once[18:]  # the row after step 50 has the mean loss since then


KINDS = ('ddim', 'ancestral', 'euler', 'heun', 'dpmpp_2m', 'dpmpp_sde', 'unipc_2')  # without and with noise, a second call, a memory, a corrector


@pytest.mark.parametrize('solver', KINDS)
def test_sampling_repeats_itself(trained, tmp_path, solver, capsys):
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        run('sample', trained, '--n', 3, '--steps', 4, '--solver', solver, '--seed', seed, '--out', tmp_path / 'deep' / f'{name}.png')
    files = [digest(tmp_path / 'deep' / f'{name}.png') for name in 'abc']
    assert files[0] == files[1] != files[2]
    assert f'3 images in {tmp_path / "deep" / "a.png"}' in capsys.readouterr().out
    assert len(list((tmp_path / 'deep').iterdir())) == 3


def plain_model(shape):
    return plain(8).model(Dataset(torch.zeros(1, *shape, dtype=torch.uint8)))


WAYS = {'from noise': None, 'from a picture': 0.6, 'around a mask': 1.0}


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('solver', KINDS)
def test_image_i_is_the_same_in_any_batch_and_no_two_are_alike(trained, solver, way):
    "Also beyond the first batch: 7 images in batches of 3 are those of one batch of 7, and of a run of 2; another seed changes each."
    stage, edit = cli.sample.open_model(str(trained), 'cpu', None, solver).stage, None
    if WAYS[way]:
        known = torch.arange(64).reshape(1, 1, 8, 8) % 8 < 4 if way == 'around a mask' else None
        edit = cli.edits.Edit(uniform(0, 'picture', 0, range(1), (3, 8, 8)).float() * 2 - 1, known, WAYS[way])
    parts, whole, few, other = (
        cli.sample.draw(stage, n, None, edit, steps=5, seed=seed, batch=batch) for n, batch, seed in ((7, 3, 5), (7, 64, 5), (2, 64, 5), (7, 3, 6))
    )
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(whole[:2], few, rtol=0, atol=1e-5)
    gaps = torch.cdist(torch.cat([parts, other]).flatten(1), torch.cat([parts, other]).flatten(1))
    assert gaps[~torch.eye(14, dtype=torch.bool)].min() > 0.1


def test_the_picture_is_a_grid(trained, tmp_path):
    run('sample', trained, '--n', 5, '--steps', 2, '--columns', 4, '--zoom', 3, '--out', tmp_path / 'x.png')
    with Image.open(tmp_path / 'x.png') as picture:
        assert picture.size == (3 * (4 * 10 - 2), 3 * (2 * 10 - 2))


def test_a_model_that_does_not_say_its_size(trained, tmp_path, capsys):
    save(tmp_path / 'm', load(trained))
    run('sample', tmp_path / 'm', '--n', 1, '--steps', 1, '--out', tmp_path / 'x.png', code=2)
    assert 'add --size' in capsys.readouterr().err
    run('sample', tmp_path / 'm', '--n', 1, '--steps', 1, '--size', 8, '--out', tmp_path / 'x.png')


def test_other_sides_are_drawn_where_the_network_can(trained, tmp_path, capsys):
    "Height before width; the picture is the one that the model draws of noise in that shape."
    run('sample', trained, '--n', 2, '--steps', 2, '--size', '8x16', '--seed', 3, '--zoom', 1, '--columns', 1, '--solver', 'ddim', '--out', tmp_path / 'x.png')
    model = load(trained)
    stage = stages.Stage(model, model.schedule, (model.about['shape'][0], 8, 16))
    want = from_model(stage.draw(2, seed=3, steps=2))
    got = numpy.array(Image.open(tmp_path / 'x.png').convert('RGB')).astype(int)
    assert got.shape[1] == 16 and abs(got[:8] - want[0].permute(1, 2, 0).numpy()).max() <= 1
    assert sides('24') == (24, 24) and sides('24X8') == (24, 8) and sides(None) is None


@pytest.mark.parametrize('text, words', [
    ('8x', 'expected a side such as 64, or height and width such as 48x64'), ('8x8x8', 'such as 48x64'), ('-8', 'such as 48x64'), ('8.5', 'such as 48x64'),
    ('big', '--size is big'), ('8x0', '--size is 0, expected at least 1'), ('8x20000', '--size is 20000, expected at most 10,000'),
    ('8x16', '--size is 8x16, and --image is .*in.png, of which the middle square is taken; expected one side'),
])  # fmt: skip
def test_sides_that_cannot_be(trained, tmp_path, capsys, text, words):
    Image.new('RGB', (8, 8)).save(tmp_path / 'in.png')
    run('sample', trained, '--n', 1, '--steps', 1, '--size', text, '--image', tmp_path / 'in.png', '--out', tmp_path / 'x.png', code=2)
    assert re.search(words, capsys.readouterr().err)


# --- models that read text, and pictures to start from

PROMPT = 'a small red circle above a big blue square'


def pixels(path, n, side, columns=8):
    "The images of a grid that was saved with --zoom 1: (n, 3, side, side) bytes."
    whole = torch.frombuffer(bytearray((image := Image.open(path).convert('RGB')).tobytes()), dtype=torch.uint8)
    whole, step = whole.reshape(image.height, image.width, 3).permute(2, 0, 1), side + 1
    gap = 2 if (image.width + 2) % (side + 2) == 0 else 1
    step = side + gap
    return torch.stack([whole[:, k // columns * step :, k % columns * step :][:, :side, :side] for k in range(n)])


@pytest.fixture(scope='module')
def reader(tmp_path_factory):
    "A model that reads captions, with random weights, which says what it was trained on."
    captions = draw_split(300, 8).captions
    tokenizer = Tokenizer(train_merges(captions, 100), 40)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        tower = TextTower(tokenizer.vocab_size, 40, 16, 1, 2, hidden=16, end=tokenizer.end)
        net = UNet(3, channels=(8, 16), blocks=(1, 1), heads=(0, 2, 2), groups=4, seq_dim=16)
        model = Conditional(Denoiser(net, CosineSchedule(), predict_x0), TextConditioner(tokenizer, tower))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.3 * torch.randn(p.shape))
    out = tmp_path_factory.mktemp('reader') / 'text'
    words = sorted({word for text in captions for word in cli.prompts.split_words(text)})
    save(out, model, {'data': 'shapes', 'shape': [3, 16, 16], 'words': words})
    return out


def drawn(reader, tmp_path, *options, n=2, name='x.png'):
    run('sample', reader, '--n', n, '--steps', 3, '--zoom', 1, *options, '--out', tmp_path / name)
    return pixels(tmp_path / name, n, 16)


def test_prompt_negative_and_guidance_all_matter(reader, tmp_path):
    pictures = [
        drawn(reader, tmp_path, *options)
        for options in (
            (), ('--prompt', PROMPT), ('--prompt', 'a big ring'), ('--prompt', PROMPT, '--guidance', 1),
            ('--prompt', PROMPT, '--guidance', 5), ('--prompt', PROMPT, '--negative', 'a big ring'), ('--negative', 'a big ring'),
        )
    ]  # fmt: skip
    assert all(not torch.equal(a, b) for k, a in enumerate(pictures) for b in pictures[:k])
    assert torch.equal(drawn(reader, tmp_path, '--prompt', PROMPT, '--guidance', 2), pictures[1])  # 2 is the default
    assert torch.equal(drawn(reader, tmp_path, '--prompt', f'  {PROMPT} '), pictures[1])


def test_a_prompt_draws_what_the_library_draws(reader, tmp_path):
    model = load(reader)
    cond, null = (model.condition([text]) for text in (PROMPT, 'a big ring'))
    x = noise(4, 'start', 0, range(2), (3, 16, 16)).float() * model.schedule.sigma(1.0).float()
    denoise, both = guide(model, null, 3.0), cond.map(lambda v: v.expand(2, *v.shape[1:]))
    with torch.inference_mode():
        *_, x = samplers.sample(denoise, model.schedule, x, samplers.uniform_times(model.schedule, 3), samplers.heun, both)
    got = drawn(reader, tmp_path, '--prompt', PROMPT, '--negative', 'a big ring', '--guidance', 3, '--seed', 4)
    assert (got.int() - from_model(x).int()).abs().max() <= 1


def test_a_lora_speaks_as_strongly_as_is_said(reader, tmp_path, capsys):
    model, file = load(reader), tmp_path / 'style.safetensors'
    for adapter in add_lora(model, 2).values():
        torch.nn.init.normal_(adapter.up, std=0.3)
    save_lora(model, file, about={'words': ['blob']})
    said = ('--prompt', PROMPT)
    plain, none, whole, less, double = (
        drawn(reader, tmp_path, *said, *more)
        for more in ((), ('--lora', f'{file}:0'), ('--lora', file), ('--lora', f'{file}:0.5'), ('--lora', f'{file}:0.5', '--lora', f'{file}:0.5'))
    )
    assert torch.equal(none, plain) and (double.int() - whole.int()).abs().max() <= 1
    assert not torch.equal(whole, plain) and not torch.equal(less, whole) and not torch.equal(less, plain)
    x = noise(0, 'start', 0, range(2), (3, 16, 16)).float() * model.schedule.sigma(1.0).float()
    with torch.inference_mode():
        both, denoise = model.condition([PROMPT] * 2), guide(model, model.null(1), 2.0)
        *_, x = samplers.sample(denoise, model.schedule, x, samplers.uniform_times(model.schedule, 3), samplers.heun, both)
    assert (whole.int() - from_model(x).int()).abs().max() <= 1
    capsys.readouterr()
    drawn(reader, tmp_path, '--prompt', 'a red blob')
    assert "never shown 'blob'" in capsys.readouterr().err
    drawn(reader, tmp_path, '--prompt', 'a red blob', '--lora', file)
    assert 'never shown' not in capsys.readouterr().err
    for text, words in (
        (f'{file}:nan', 'expected FILE or FILE:STRENGTH'),
        (':0.5', 'expected FILE or FILE:STRENGTH'),
        ('nothing', 'nothing is no .safetensors file'),
    ):
        run('sample', reader, '--lora', text, '--out', tmp_path / 'x.png', code=2)
        assert words in capsys.readouterr().err


def test_a_change_is_trained_beside_a_model(reader, few_captions, tmp_path, capsys):
    out, base = tmp_path / 'style', load(reader)
    common = ('train', '--data', 'shapes', '--text', '--size', 16, '--init', reader, '--batch-size', 4, '--steps', 4, '--out', out)
    run(*common, '--lora', 2)
    said = capsys.readouterr().out
    assert f'the change of {reader}' in said and f'--lora {out}' in said and not (out / 'model.safetensors').exists()
    taught = load(reader)
    changed = load_lora(taught, out)
    assert changed and all(name.startswith('denoiser') for name in changed)
    assert all(len(a.down) == 2 for a in adapters(taught).values()) and any(a.up.count_nonzero() for a in adapters(taught).values())
    assert all(torch.equal(taught.state_dict()[k], v) for k, v in base.state_dict().items())
    assert not torch.equal(drawn(reader, tmp_path, '--prompt', PROMPT, '--lora', out), drawn(reader, tmp_path, '--prompt', PROMPT))
    run('train', '--out', out, '--resume', '--steps', 6)
    assert about_lora(out)['steps'] == 6 and about_lora(out)['base'] == str(reader)
    for options, words in (
        (('--data', 'shapes', '--lora', 2), 'expected a model to change as --init'),
        (('--data', 'shapes', '--size', 16, '--init', reader, '--lora', 2), 'reads text, where nothing is to be learned'),
    ):
        run('train', *options, '--steps', 2, '--out', tmp_path / 'other', code=2)
        assert words in capsys.readouterr().err


def test_the_words_of_shapes_are_those_of_its_captions():
    "Of 5,000 captions, in which each wording is met many times."
    said = draw_split(5000, 8, brief=0.2).captions
    assert cli.prompts.known_words({'data': 'shapes'}) == {word for text in said for word in cli.prompts.split_words(text)}
    assert cli.prompts.known_words({'data': 'shapes', 'words': ['one', 'two']}) == {'one', 'two'} and not cli.prompts.known_words({'data': 'mine'})


def test_a_prompted_image_does_not_depend_on_its_neighbours(reader):
    opened = cli.sample.open_model(str(reader), 'cpu', None, 'ancestral')
    stage, cond = cli.prompts.tell(opened.stage, opened.model, PROMPT, '', 3.0)
    few, many = (cli.sample.draw(stage, n, cond, steps=2, seed=1, batch=batch) for n, batch in ((2, 64), (5, 3)))
    torch.testing.assert_close(many[:2], few, rtol=0, atol=1e-4)


def test_each_image_may_have_a_prompt_of_its_own(reader):
    opened, texts = cli.sample.open_model(str(reader), 'cpu'), [PROMPT, 'a big ring', 'a cross at the left']

    def draw(said):
        stage, cond = cli.prompts.tell(opened.stage, opened.model, said, '', 2.0)
        return cli.sample.draw(stage, 3, cond, steps=2, seed=1, batch=2)

    mixed = draw(texts)
    for k, text in enumerate(texts):
        alone = draw(text)
        torch.testing.assert_close(mixed[k], alone[k], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    'options, words',
    [
        ((), 'note: no prompt: images are drawn without a condition; say what to draw with --prompt'),
        (('--prompt', ' '), 'note: no prompt'),
        (('--prompt', '', '--guidance', 3), 'no prompt.*--guidance does nothing'),
        (('--prompt', 'a huge red circle on a table'), "never shown 'huge' or 'table'.* it knows a, above, .*circle"),
        (('--prompt', PROMPT, '--negative', 'a gigantic ring'), "never shown 'gigantic'"),
        (('--prompt', f'{PROMPT} and ' * 4 + 'a pink ring'), 'the prompt: 17 of its 55 tokens are dropped, 38 fit.*never sees .and a small red.*a pink'),
        (('--prompt', 'red blue'), "not counted.*does not understand the prompt: the caption has 'blue'"),
    ],
)
def test_what_was_assumed_or_not_understood_is_said(reader, tmp_path, capsys, options, words):
    capsys.readouterr()
    drawn(reader, tmp_path, *options, n=1)
    said = capsys.readouterr()
    notes = [line for line in said.err.splitlines() if 'note: ' in line]
    assert re.search(words, '\n'.join(notes)), said.err
    assert 'Warning' not in said.err and '1 image in' in said.out


def test_known_prompts_say_nothing_but_the_count(reader, tmp_path, capsys):
    drawn(reader, tmp_path, '--prompt', PROMPT)
    said = capsys.readouterr()
    assert 'note' not in said.err and re.search(r'\d of 2 show what the prompt says', said.out)


def test_the_count_is_that_of_the_reader(reader, tmp_path, monkeypatch, capsys):
    real = draw_split(6, 32, seed=8)
    asked = real.captions[0]
    patch_cli(monkeypatch, 'draw', lambda *a, **k: to_model(real.images[:1].repeat(3, 1, 1, 1)))
    run('sample', reader, '--n', 3, '--prompt', asked, '--out', tmp_path / 'x.png')
    assert '3 of 3 show what the prompt says' in capsys.readouterr().out
    run('sample', reader, '--n', 3, '--prompt', 'a cross and a ring and a circle', '--out', tmp_path / 'x.png')
    assert re.search(r'0 of 3 show what the prompt says .wrong: .*shape in 3', capsys.readouterr().out)


def photo(path, size, colour=(200, 60, 30), mode='RGB'):
    Image.new(mode, size, colour).save(path)
    return path


def test_image_to_image_is_the_walk_from_the_noised_picture(reader, tmp_path):
    path, model = photo(tmp_path / 'p.png', (16, 16)), load(reader)
    picture = to_model(torch.tensor([200, 60, 30], dtype=torch.uint8)).reshape(1, 3, 1, 1).expand(2, 3, 16, 16)
    got = {}
    for options, strength in ((('--strength', 0.3), 0.3), ((), 0.6), (('--strength', 1), 1.0)):
        times, cond = samplers.uniform_times(model.schedule, 10), model.condition([PROMPT] * 2)
        x, times = start_from(model.schedule, picture, times, strength, noise=seeded_noise(5, 'start'))
        with torch.inference_mode():
            *_, x = samplers.sample(guide(model, model.null(1), 2.0), model.schedule, x, times, samplers.heun, cond)
        got[strength] = drawn(reader, tmp_path, '--image', path, '--prompt', PROMPT, '--steps', 10, '--seed', 5, *options)
        assert (got[strength].int() - from_model(x).int()).abs().max() <= 1
    assert not torch.equal(got[0.3], got[0.6]) and not torch.equal(got[1.0][0], got[1.0][1])


def test_a_picture_of_another_size_is_scaled_and_that_is_said(reader, trained, tmp_path, capsys):
    wide = photo(tmp_path / 'wide.png', (60, 40))
    drawn(reader, tmp_path, '--image', wide)
    assert 'wide.png has 60 x 40 pixels: its middle square is scaled to 16 x 16' in capsys.readouterr().err
    clear = photo(tmp_path / 'clear.png', (16, 16), (255, 0, 0, 0), 'RGBA')
    assert (cli.edits.open_edit(clear, None, None, (3, 16, 16)).picture == 1).all()  # nothing to see is white
    assert cli.edits.open_edit(wide, None, None, (1, 8, 8)).picture.shape == (1, 1, 8, 8)
    assert 'has 16 x 16' not in capsys.readouterr().err


def test_what_the_mask_protects_stays(reader, tmp_path):
    picture = Image.effect_noise((16, 16), 90).convert('RGB')
    picture.save(tmp_path / 'p.png')
    mask = Image.new('L', (16, 16), 0)
    mask.paste(255, (8, 0, 16, 16))  # the right half is drawn anew
    mask.save(tmp_path / 'm.png')
    got = drawn(reader, tmp_path, '--image', tmp_path / 'p.png', '--mask', tmp_path / 'm.png', '--prompt', PROMPT, n=3)
    want = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(16, 16, 3).permute(2, 0, 1)
    assert (got[..., :8].int() - want[..., :8].int()).abs().max() <= 1
    assert (got[..., 8:].int() - want[..., 8:].int()).abs().double().mean() > 5 and not torch.equal(got[0], got[1])


def noise_picture(path, size, seed=1):
    pixels = numpy.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=numpy.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def mask_of(path, white, **how):
    Image.fromarray(white.astype(numpy.uint8) * 255).save(path, **how)
    return path


@pytest.mark.parametrize('size', [(16, 16), (40, 24), (24, 40), (8, 6)])
def test_an_edit_is_the_middle_square_and_its_mask_covers(size, tmp_path, capsys):
    "Wide, tall and small pictures: pixels by the mean of the square, and a pixel is drawn anew if any of the mask is in it."
    pixels, side = noise_picture(tmp_path / 'p.png', size), min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    white = numpy.zeros(size[::-1], bool)
    white[top + 1, left + side // 2] = white[top + side - 1, left + side - 1] = True
    edit = cli.edits.open_edit(tmp_path / 'p.png', mask_of(tmp_path / 'm.png', white), None, (3, 16, 16))
    square, cut = pixels[top : top + side, left : left + side], white[top : top + side, left : left + side]
    want = Image.fromarray(square).resize((16, 16), Image.Resampling.BOX if side > 16 else Image.Resampling.BICUBIC)
    assert abs(from_model(edit.picture)[0].permute(1, 2, 0).int().numpy() - numpy.asarray(want)).max() <= (
        1 if side > 16 else 0
    )  # Pillow rounds between two passes
    touched = [[cut[i * side // 16 : -(-(i + 1) * side // 16), j * side // 16 : -(-(j + 1) * side // 16)].any() for j in range(16)] for i in range(16)]
    assert torch.equal(~edit.known[0, 0], torch.tensor(touched)) and edit.strength == 1 and 2 <= numpy.sum(touched) < 60
    assert ('middle square' in capsys.readouterr().err) == (size[0] != size[1])


def test_masks_are_seen_as_pictures_are(tmp_path, capsys):
    "Turned by what the camera says, grey from the middle on, and as large as the picture is on the screen."
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = noise_picture(tmp_path / 'p.png', (24, 16))
    Image.fromarray(numpy.rot90(pixels).copy()).save(tmp_path / 'turned.png', exif=exif)
    white = numpy.zeros((16, 24), bool)
    white[:5, 6:9] = True
    plain = cli.edits.open_edit(tmp_path / 'p.png', mask_of(tmp_path / 'm.png', white), None, (3, 16, 16))
    mask_of(tmp_path / 'turned-mask.png', numpy.rot90(white), exif=exif)
    Image.fromarray(numpy.where(white, 128, 127).astype(numpy.uint8)).save(tmp_path / 'grey.png')
    for picture, mask in (('turned', 'turned-mask'), ('turned', 'm'), ('p', 'turned-mask'), ('p', 'grey')):
        edit = cli.edits.open_edit(tmp_path / f'{picture}.png', tmp_path / f'{mask}.png', None, (3, 16, 16))
        assert torch.equal(edit.picture, plain.picture) and torch.equal(edit.known, plain.known)
    Image.fromarray(numpy.rot90(white).astype(numpy.uint8) * 255).save(tmp_path / 'other.png')
    with pytest.raises(ValueError, match='other.png has 16 x 24 pixels, expected 24 x 16 as --image .*turned.png'):
        cli.edits.open_edit(tmp_path / 'turned.png', tmp_path / 'other.png', None, (3, 16, 16))
    outside = numpy.zeros((16, 24), bool)
    outside[:, :4] = True
    with pytest.raises(ValueError, match='is black all over its middle square, which leaves nothing to draw'):
        cli.edits.open_edit(tmp_path / 'p.png', mask_of(tmp_path / 'o.png', outside), None, (3, 16, 16))
    capsys.readouterr()
    Image.new('LA', (24, 16), (0, 0)).save(tmp_path / 'clear.png')
    assert not cli.edits.open_edit(tmp_path / 'p.png', tmp_path / 'clear.png', None, (3, 16, 16)).known.any()
    assert 'clear.png is white all over, or transparent, which counts as white: nothing of ' in capsys.readouterr().err


def test_what_is_kept_is_kept_to_the_pixel_by_any_model(trained, tmp_path, monkeypatch):
    "A thin mask, and a model whose walk ends with noise: it is put back all the same."
    pixels = noise_picture(tmp_path / 'p.png', (8, 8))
    white = numpy.zeros((8, 8), bool)
    white[:, 3] = True
    walk = stages.gather
    monkeypatch.setattr(stages, 'gather', lambda *a, **k: (walk(*a, **k) + 0.05).clamp(-1, 1))
    run(
        'sample',
        trained,
        '--n',
        2,
        '--steps',
        2,
        '--image',
        tmp_path / 'p.png',
        '--mask',
        mask_of(tmp_path / 'm.png', white),
        '--zoom',
        1,
        '--out',
        tmp_path / 'o.png',
    )
    got = numpy.asarray(Image.open(tmp_path / 'o.png').convert('RGB')).astype(int)
    for image in (got[:8, :8], got[:8, 10:18]):
        assert abs(image - pixels)[~white].max() == 0 and abs(image - pixels)[white].max() > 0


@pytest.mark.parametrize('ground, value', [(None, 255), ('black', 0), ('#070707', 7)])
def test_the_ground_of_a_picture_to_start_from(trained, tmp_path, monkeypatch, ground, value):
    seen = []
    patch_cli(monkeypatch, 'draw', lambda stage, n, cond, edit, **k: seen.append(edit) or edit.picture)
    clear = photo(tmp_path / 'c.png', (8, 8), (200, 0, 0, 0), 'RGBA')
    run('sample', trained, '--n', 1, '--image', clear, '--out', tmp_path / 'o.png', *(('--ground', ground) if ground else ()))
    assert (from_model(seen[0].picture) == value).all()


def test_a_ground_without_a_picture_is_refused(trained, tmp_path, capsys):
    run('sample', trained, '--ground', 'black', '--out', tmp_path / 'o.png', code=2)
    assert '--ground is black, and there is no picture to change; expected --image as well' in capsys.readouterr().err


def test_models_without_text_take_pictures_too(trained, tmp_path):
    "Half of the way leaves something of the picture; the whole way forgets it."
    files = [photo(tmp_path / f'{k}.png', (8, 8), colour) for k, colour in enumerate([(200, 60, 30), (20, 90, 240)])]

    def redone(strength):
        for k, file in enumerate(files):
            run('sample', trained, '--n', 2, '--steps', 4, '--image', file, '--strength', strength, '--out', tmp_path / f'out{k}.png')
        return [(tmp_path / f'out{k}.png').read_bytes() for k in range(2)]

    first, second = redone(0.5)
    assert first != second
    first, second = redone(1.0)
    assert first == second


@pytest.fixture
def few_captions(monkeypatch):
    "Sixteen captioned images instead of 50,000."
    monkeypatch.setattr('diffbook.shapes.draw_split', lambda n, size=32, split='train', seed=0, **k: draw_split(min(n, 16), size, split, seed, **k))


def test_train_a_model_that_reads(tmp_path, few_captions, capsys):
    for name in 'ab':
        run(*TRAIN, '--text', '--steps', 3, '--out', tmp_path / name)
    assert digest(tmp_path / 'a' / 'model.safetensors') == digest(tmp_path / 'b' / 'model.safetensors')
    about, said = read_model(tmp_path / 'a')[0]['about'], capsys.readouterr().out
    assert 'with captions' in said and '--prompt ' in said and {'circle', 'red'} & set(about['words'])
    run('sample', tmp_path / 'a', '--n', 1, '--steps', 1, '--prompt', 'a red circle', '--out', tmp_path / 'x.png')
    run(*TRAIN, '--steps', 3, '--out', tmp_path / 'c')
    assert 'with --text' in capsys.readouterr().out and isinstance(load(tmp_path / 'c'), Denoiser)


def test_train_on_captions_of_ones_own(tmp_path, monkeypatch, capsys):
    "Without a CLIP of the zoo, the text tower learns with the rest."
    images = (255 * uniform(0, 'x', 0, range(6), (3, 8, 8))).to(torch.uint8)
    found = Dataset(images, None, tuple(f'an emoji of {word}' for word in ('a cat', 'a dog', 'eyes', 'a hen', 'a pen', 'ten')), 'emoji')
    patch_cli(monkeypatch, 'load_images', lambda *a: found)
    argv = ['train', '--data', 'emoji', '--text', '--width', 8, '--batch-size', 4, '--steps', 4]
    run(*argv, '--out', tmp_path / 'run')
    model, first = load(tmp_path / 'run'), captioned(8).model(found, 0)
    moved = [not torch.equal(a, b) for a, b in zip(model.conditioner.tower.parameters(), first.conditioner.tower.parameters())]
    assert sum(moved) > len(moved) / 2 and not model.conditioner.frozen
    run('sample', tmp_path / 'run', '--n', 1, '--steps', 1, '--prompt', 'a 3D emoji of a hen', '--out', tmp_path / 'x.png')
    assert "never shown '3d'" in capsys.readouterr().err


@pytest.fixture
def given(monkeypatch):
    "What training would be given, instead of training."
    got = []
    patch_cli(monkeypatch, 'train_loop', lambda trainer, examples, *rest: got.append(examples))
    return got


def messy(folder):
    "Two pictures, one of them clear in part, a broken one, one of another format, what a Mac leaves, labels of boxes, and a split."
    for name in ('train', 'test'):
        (folder / name).mkdir(parents=True)
        photo(folder / name / 'a.png', (8, 8), (1, 2, 3))
    photo(folder / 'train' / 'b.png', (8, 8), (0, 0, 0, 0), 'RGBA')
    for name, content in (
        ('._a.png', b'\0\5\26\7'),
        ('c.png', b'broken'),
        ('d.heic', b'?'),
        ('a.txt', b'0 0.5 0.5 0.1 0.1'),
        ('c.txt', b'caf\xe9'),
        ('d.txt', b''),
    ):
        (folder / 'train' / name).write_bytes(content)
    return folder


def test_a_messy_folder_is_refused_with_the_way_out_and_then_read(tmp_path, given, capsys):
    argv = ['train', '--data', messy(tmp_path / 'own'), '--size', 8, '--width', 8, '--batch-size', 2]
    run(*argv, '--out', tmp_path / 'run', code=2)
    said = capsys.readouterr().err
    assert '1 of 3 pictures cannot be read: ' in said and 'c.png could not be read as PNG' in said and '--skip-broken' in said and said.count('c.png') == 1
    for k, (options, ground) in enumerate((((), 255), (('--ground', 'black'), 0), (('--ground', '#070707'), 7))):
        run(*argv, '--out', tmp_path / f'run{k}', '--skip-broken', *options)
        said = capsys.readouterr()
        assert '2 images of ' in said.out and given[-1][0][0, :, 0, 0].tolist() == [1, 2, 3] and (given[-1][0][1] == ground).all()
        for words in (
            '1 of 3 pictures cannot be read',
            '1 pictures of other formats are skipped: 1 .heic',
            '3 pictures of train are read and 1 of test are left out',
        ):
            assert f'note: {words}' in said.err or f' {words}' in said.err, words
    run(*argv, '--out', tmp_path / 'x', '--skip-broken', '--text', code=2)
    assert 'b.txt is not there: 1 of 2 images have a caption beside them' in capsys.readouterr().err
    run(*argv, '--out', tmp_path / 'x', '--ground', 'nothing', code=2)
    assert "ground is 'nothing', expected the name of a colour" in capsys.readouterr().err


@pytest.mark.parametrize('option', [('--skip-broken',), ('--ground', 'black')])
def test_how_a_folder_is_read_is_no_matter_of_drawn_data(option, tmp_path, capsys):
    run(*TRAIN, '--steps', 1, '--out', tmp_path / 'x', *option, code=2)
    assert '--ground and --skip-broken are for a folder of images, and --data is shapes' in capsys.readouterr().err


@pytest.mark.parametrize('text', [True, False])
def test_captions_beside_pictures_are_used_if_they_are_asked_for(text, tmp_path, given, capsys):
    for k in range(2):
        photo(tmp_path / f'{k}.png', (8, 8))
        (tmp_path / f'{k}.txt').write_text(f'number {k}')
    run('train', '--data', tmp_path, '--size', 8, '--width', 8, '--batch-size', 2, '--out', tmp_path / 'run', *['--text'] * text)
    assert len(given[-1]) == 1 + text
    assert ('These images have captions: with --text' in capsys.readouterr().out) != text


def test_evaluate_counts_captions(reader, tmp_path, capsys):
    run('evaluate', reader, '--data', 'shapes', '--n', 12, '--steps', 1, '--guidance', 1.5, '--out', tmp_path / 'r.json')
    said, report = capsys.readouterr().out, json.loads((tmp_path / 'r.json').read_text())
    assert set(report['parts']) == {'new scenes', 'new kinds'} and report['guidance'] == 1.5
    for part, row in report['parts'].items():
        assert row['real images'] >= 0.8 and row['all'] == 0 and row['another caption'] < 0.3 and f'{part}: 0.0% of 12' in said


def test_evaluate_counts_right_pictures_as_right(reader, tmp_path, monkeypatch, capsys):
    real = {name: draw_split(12, 32, name, seed=0) for name in ('new scenes', 'new kinds')}
    pictures = iter(real.values())
    patch_cli(monkeypatch, 'draw', lambda *a, **k: to_model(next(pictures).images))
    patch_cli(monkeypatch, 'describe_shape', lambda *a: (3, 32, 32))
    run('evaluate', reader, '--data', 'shapes', '--n', 12, '--out', tmp_path / 'r.json')
    report = json.loads((tmp_path / 'r.json').read_text())
    assert all(row['all'] == 1 and set(row['by objects'].values()) == {1} for row in report['parts'].values())


def test_evaluate_prints_floors(tmp_path, monkeypatch, capsys):
    grey = lambda purpose: (255 * uniform(0, purpose, 0, range(40), (1, 28, 28))).to(torch.uint8)  # noqa: E731
    patch_cli(monkeypatch, 'load_images', lambda name, split, *a: Dataset(grey(split)))
    save(tmp_path / 'm', plain_model((1, 28, 28)), {'shape': [1, 28, 28]})
    run('evaluate', tmp_path / 'm', '--data', 'grey', '--n', 20, '--steps', 1, '--out', tmp_path / 'r.json')
    said, report = capsys.readouterr().out, json.loads((tmp_path / 'r.json').read_text())
    assert report['n'] == 20 and report['frechet'] > 2 * report['frechet_floor'] and 'floor' in said and 'n = 20' in said
    run('evaluate', tmp_path / 'm', '--data', 'grey', '--n', 50, code=2)
    assert '--n is 50, expected at most 40' in capsys.readouterr().err


def test_evaluate_likelihood_is_the_densitys_in_bits(tmp_path, monkeypatch, capsys):
    "A network that answers the best x0 of N(0, 0.3^2) has that density: 40 random images, judged by the formula, the same draws of the levels' places."
    grey = (255 * uniform(0, 'grey', 0, range(40), (1, 4, 4))).to(torch.uint8)
    patch_cli(monkeypatch, 'load_images', lambda name, split, *a: Dataset(grey if split == 'test' else None))
    save(tmp_path / 'm', plain_model((1, 4, 4)), {'shape': [1, 4, 4]})
    model, real = load(tmp_path / 'm'), cli.evaluate.open_model

    def bell(x, t, cond=None):
        alpha, sigma = (core.match_dims(f(t), x) for f in (model.schedule.alpha, model.schedule.sigma))
        return alpha * 0.09 / (alpha**2 * 0.09 + sigma**2) * x

    opened = real(str(tmp_path / 'm'), 'cpu')
    bell.requires_grad_ = lambda on: bell
    patch_cli(monkeypatch, 'open_model', lambda *a, **k: opened._replace(model=bell))
    run('evaluate', tmp_path / 'm', '--data', 'grey', '--likelihood', '--n', 40, '--seed', 3, '--out', tmp_path / 'r.json')
    said, report = capsys.readouterr().out, json.loads((tmp_path / 'r.json').read_text())
    order = torch.randperm(40, generator=core.make_generator(3, 'evaluate'))
    x = likelihood.dequantise(grey[order], core.make_generator(3, 'dequantise')).double()
    want = -gaussian.gaussian_log_prob(x, 0.0, 0.09).flatten(1).mean(1) / math.log(2) - math.log2(2 / 255)
    torch.testing.assert_close(torch.tensor(report['each']).double(), want, rtol=0, atol=2e-3)
    mean, (low, high) = report['bits_per_dim'], report['interval']
    assert mean == pytest.approx(want.mean().item(), abs=1e-3) and low < mean < high
    assert high - mean == pytest.approx(2.0227 * want.std().item() / 40**0.5, rel=1e-2)  # Student's factor for 39
    assert f'{mean:.3f} bits per dimension, 95 % interval {low:.3f} to {high:.3f}: n = 40' in said and 'upper bound' in said
    run('evaluate', tmp_path / 'm', '--data', 'grey', '--likelihood', '--n', 50, code=2)
    assert '--n is 50, expected at most 40' in capsys.readouterr().err


FIGURES = (*(f'{name}{end}' for name in ('frechet', 'kernel', 'precision', 'recall') for end in ('', '_floor')), 'frechet_ratio')


def grey_folder(folder, n, side=20):
    folder.mkdir(parents=True)
    for k, image in enumerate((255 * uniform(0, folder.name, 0, range(n), (side, side))).to(torch.uint8)):
        Image.fromarray(image.numpy()).save(folder / f'{k:03}.png')


@pytest.mark.parametrize('split', [False, True])
def test_evaluate_reads_a_folder_in_the_shape_of_the_model(split, tmp_path, monkeypatch, capsys):
    for name in ('train', 'test') if split else ('any',):
        grey_folder(tmp_path / 'own' / name, 12 if split else 24)
    save(tmp_path / 'm', plain_model((1, 28, 28)), {'shape': [1, 28, 28]})
    seen = []
    patch_cli(monkeypatch, 'draw', lambda *a, **k: torch.zeros(12, 1, 28, 28))
    monkeypatch.setattr('diffbook.metrics.compare', lambda *images: seen.extend(images) or dict.fromkeys(FIGURES, 1.0))
    run('evaluate', tmp_path / 'm', '--data', tmp_path / 'own', '--n', 12)
    said = capsys.readouterr()
    _, real, other = seen
    assert real.shape == other.shape == (12, 1, 28, 28) and len({image.numpy().tobytes() for image in (*real, *other)}) == 24
    whole = sorted(image.tolist() for image in grey(read_folder(tmp_path / 'own' / 'train', 28).images)) if split else None
    assert not split or sorted(image.tolist() for image in real) == whole
    assert '24 images of' in said.out and 'read as 1 x 28 x 28' in said.out
    assert ('has no sub-folders train and test: all of its 24 images are taken, one half beside the other' in said.err) != split


def test_evaluate_takes_the_likelihood_of_a_folder_in_colour(tmp_path, monkeypatch, capsys):
    grey_folder(tmp_path / 'own', 12)
    save(tmp_path / 'm', plain_model((3, 8, 8)), {'shape': [3, 8, 8]})
    seen = []
    patch_cli(monkeypatch, 'measure_likelihood', lambda opened, images, *rest: seen.append(images) or {})
    run('evaluate', tmp_path / 'm', '--data', tmp_path / 'own', '--likelihood', '--n', 12)
    assert sorted(v.tolist() for v in seen[0]) == sorted(v.tolist() for v in read_folder(tmp_path / 'own', 8).images)
    assert 'all of its 12 images are taken, also those' in capsys.readouterr().err
    save(tmp_path / 'm', plain_model((1, 8, 16)), {'shape': [1, 8, 16]})
    run('evaluate', tmp_path / 'm', '--data', tmp_path / 'own', '--n', 12, code=2)
    assert 'of shape (1, 8, 16), and a folder is read as squares' in capsys.readouterr().err


def test_a_name_is_no_folder_that_happens_to_lie_here(tmp_path, monkeypatch):
    (tmp_path / 'mnist').mkdir()
    monkeypatch.chdir(tmp_path)
    assert not cli.evaluate.is_folder('mnist') and not cli.evaluate.is_folder('own') and cli.evaluate.is_folder('.')


def test_help_and_the_first_line_say_how_a_folder_is_read(tmp_path, capsys):
    grey_folder(tmp_path / 'own', 4)
    run('train', '--data', tmp_path / 'own', '--size', 8, '--width', 8, '--batch-size', 2, '--steps', 1, '--out', tmp_path / 'run')
    assert '4 images of' in (said := capsys.readouterr().out) and 'read as 1 x 8 x 8; ' in said and '4 pictures, all of 20 x 20, grey' in said
    for command, words in (
        ('train', 'or a folder of images, which is looked at first'),
        ('evaluate', 'or a folder of images, read in size and colour as the model draws'),
    ):
        run(command, '--help')
        assert words in ' '.join(re.sub('[^\\w ,-]', ' ', capsys.readouterr().out).split())


def test_a_model_of_ones_own_module_is_drawn_by_the_line_that_is_told(tmp_path, capsys):
    text = (
        'import torch\nfrom torch import nn\nfrom diffbook import register\n\n\n@register\nclass Own(nn.Module):\n'
        '    def __init__(self):\n        super().__init__()\n        self.layer = nn.Conv2d(1, 1, 1)\n\n'
        '    def forward(self, x, level, cond=None):\n        return self.layer(x)\n'
    )
    (tmp_path / 'ownnet.py').write_text(text)
    make = 'import ownnet; from diffbook import CosineSchedule, Denoiser, predict_v, save; save("m", Denoiser(ownnet.Own(), CosineSchedule(), predict_v), {"shape": [1, 8, 8]})'
    environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(Path(cli.__file__).parents[2]), str(tmp_path)])}
    call = lambda *words: subprocess.run([sys.executable, '-c', *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert call(make).returncode == 0
    run('sample', tmp_path / 'm', '--out', tmp_path / 'out.png', code=2)
    said = capsys.readouterr().err
    line = re.search(r'python -c "(.*?)" sample', said)[1]
    assert 'or, if ownnet is yours, import it first (in a shell' in said and line.startswith('import ownnet; ')
    done = call(line, 'sample', 'm', '--out', 'out.png', '--n', '2', '--steps', '1', '--device', 'cpu')
    assert done.returncode == 0 and (tmp_path / 'out.png').exists(), done.stderr


def test_evaluate_likelihood_refuses_what_has_none(trained, reader, capsys):
    for words, said in (
        (('evaluate', reader, '--data', 'shapes', '--likelihood'), 'reads text, and finds an image as probable as its caption says'),
        (('evaluate', 'emoji', '--data', 'shapes', '--likelihood'), 'emoji draws latents of emoji-vae, and a density of latents is none of pictures'),
        (('evaluate', trained, '--data', 'shapes', '--likelihood', '--steps', 5), '--steps is 5, and --likelihood draws nothing'),
        (('evaluate', trained, '--data', 'shapes', '--likelihood', '--solver', 'heun'), '--solver is heun, and --likelihood draws nothing'),
        (('evaluate', trained, '--data', 'shapes', '--likelihood', '--guidance', 2), '--guidance is 2.0, and --likelihood draws nothing'),
    ):
        run(*words, code=2)
        assert said in capsys.readouterr().err


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


@pytest.mark.filterwarnings('ignore:n is .* sampling begins with pure noise')
def test_a_published_pipeline_draws_what_its_class_draws(tmp_path, capsys):
    "The command line adds nothing: one image after the other, image i by its number, and the picture and mask as files say."
    made = parts()
    made['text_encoder'] = filled(TextTower(made['tokenizer'].vocab_size, 9, 6, 2, 2, hidden=24, end=made['tokenizer'].end))
    save_pipeline(tmp_path / 'sd', **made, config={'unet': {'sample_size': 8}})
    model, ramp = StableDiffusion.from_pretrained(tmp_path / 'sd'), torch.arange(16 * 16 * 3).reshape(16, 16, 3) % 256
    Image.fromarray(ramp.byte().numpy()).save(tmp_path / 'in.png')
    hole = torch.zeros(16, 16, dtype=torch.uint8)
    hole[:, 8:] = 255
    Image.fromarray(hole.numpy()).save(tmp_path / 'mask.png')
    common = {'negative_prompt': 'zz zz zz', 'steps': 3, 'scale': 200.0, 'seed': 4, 'output': 'tensor', 'progress': False}
    options = (
        '--negative',
        'zz zz zz',
        '--steps',
        3,
        '--guidance',
        200,  # large: a random network hardly hears
        '--seed',
        4,
        '--size',
        16,
        '--zoom',
        1,
    )
    edit = {'image': ramp.permute(2, 0, 1)[None].double() / 255, 'mask': hole > 0, 'strength': 0.7}  # what it keeps is kept to the pixel
    for k, (files, given) in enumerate(
        (((), {'height': 16, 'width': 16}), (('--image', tmp_path / 'in.png', '--mask', tmp_path / 'mask.png', '--strength', 0.7), edit))
    ):
        run('sample', tmp_path / 'sd', '--prompt', 'ab', '--n', 2, *options, *files, '--out', tmp_path / f'{k}.png')
        got = torch.from_numpy(numpy.array(Image.open(tmp_path / f'{k}.png').convert('RGB')))
        want = (model(['ab', 'ab'], **common, **given) * 255).round().byte().permute(0, 2, 3, 1)
        assert (got[:16, :16].int() - want[0].int()).abs().max() <= 1 and (got[:16, 18:34].int() - want[1].int()).abs().max() <= 1
    run('sample', tmp_path / 'sd', '--prompt', 'ab', *options, '--size', '8x16', '--out', tmp_path / 'r.png')
    got = torch.from_numpy(numpy.array(Image.open(tmp_path / 'r.png').convert('RGB')))
    want = (model(['ab'], **common, height=8, width=16) * 255).round().byte().permute(0, 2, 3, 1)[0]
    assert got.shape == (8, 16, 3) and (got.int() - want.int()).abs().max() <= 1
    model.plan = replace(model.plan, times=lambda s, n: angle_times(s, n, 3.0), solver=samplers.churn(model.plan.solver, 0.2))
    run('sample', tmp_path / 'sd', '--prompt', 'ab', *options, '--grid', 'angle', '--churn', 0.2, '--out', tmp_path / 'g.png')
    got = torch.from_numpy(numpy.array(Image.open(tmp_path / 'g.png').convert('RGB')))
    want = (model(['ab'], **common, height=16, width=16) * 255).round().byte().permute(0, 2, 3, 1)[0]
    assert (got.int() - want.int()).abs().max() <= 1
    run('sample', tmp_path / 'sd', '--size', 15, '--steps', 1, '--out', tmp_path / 'x.png', code=2)
    assert 'height is 15, expected a multiple of 2; the nearest are 14 and 16' in capsys.readouterr().err


@pytest.mark.parametrize('command', ['train', 'sample', 'evaluate', 'data', 'doctor', 'grade'])
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


def test_a_model_of_latents_draws_and_edits_through_its_codec(tmp_path, capsys):
    "The command line adds nothing but the way to latents and back; what the mask keeps stays to the pixel."
    model, codec, prompt = load('emoji'), load('emoji-vae'), 'a 3D emoji of a red heart'
    told = guide(model, model.null(2), 3.0)
    common = ('sample', 'emoji', '--prompt', prompt, '--n', 2, '--steps', 3, '--solver', 'ddim', '--guidance', 3, '--seed', 5, '--zoom', 1)
    run(*common, '--out', tmp_path / 'a.png')
    got = numpy.array(Image.open(tmp_path / 'a.png').convert('RGB'))
    with torch.inference_mode():
        x = noise(5, 'start', 0, range(2), (4, 16, 16)).float()
        *_, z = samplers.sample(
            told,
            model.schedule,
            x * model.schedule.sigma(model.schedule.t_max).float(),
            samplers.uniform_times(model.schedule, 3),
            samplers.ddim,
            model.condition([prompt] * 2),
        )
        want = from_model(codec.decode(z).clamp(-1, 1)).permute(0, 2, 3, 1).numpy()
    assert abs(got[:64, :64].astype(int) - want[0]).max() <= 1 and abs(got[:64, 66:130].astype(int) - want[1]).max() <= 1
    photo = (numpy.indices((64, 64)).sum(0)[..., None] * numpy.array([1, 2, 1]) % 256).astype('uint8')
    Image.fromarray(photo).save(tmp_path / 'in.png')
    hole = numpy.zeros((64, 64), 'uint8')
    hole[5:, 30:] = 255
    Image.fromarray(hole).save(tmp_path / 'mask.png')
    run(*common[:-2], '--zoom', 1, '--image', tmp_path / 'in.png', '--mask', tmp_path / 'mask.png', '--out', tmp_path / 'b.png')
    got = numpy.array(Image.open(tmp_path / 'b.png').convert('RGB'))[:64, :64].astype(int)
    assert abs(got - photo)[hole == 0].max() <= 1 and abs(got - photo)[hole > 0].mean() > 20
    known = torch.from_numpy(hole == 0)[None, None]
    cells = cli.edits.encode_edit(codec, cli.edits.Edit(torch.zeros(1, 3, 64, 64), known, 1.0)).known
    assert torch.equal(cells, known.unfold(2, 4, 4).unfold(3, 4, 4).all(-1).all(-1))  # a cell with a pixel to draw is drawn
    assert cli.models.cells(codec, (8, 16)) == (2, 4) and cli.models.cells(codec, None) is None
    run(*common, '--size', 62, '--out', tmp_path / 'c.png', code=2)
    assert '--size is 62, expected a multiple of 4' in capsys.readouterr().err
    run('evaluate', 'emoji', '--data', 'shapes', '--n', 10, code=2)
    assert 'emoji draws latents of emoji-vae' in capsys.readouterr().err


# --- every option changes what it says

KNOWN_BY = {  # option -> the tests that see two of its values differ, in the way that its words promise
    'train': {
        'data': 'test_data_are_known_by_their_content_and_not_by_their_path', 'out': 'test_train_writes_what_it_says', 'steps': 'test_an_option_of_train',
        'minutes': 'test_minutes_end_a_run', 'resume': 'test_resume_needs_a_run', 'change': 'test_the_rate_after_a_change_is_that_of_its_step', 'text': 'test_train_a_model_that_reads',
        'ground': 'test_a_messy_folder_is_refused_with_the_way_out_and_then_read', 'skip_broken': 'test_a_messy_folder_is_refused_with_the_way_out_and_then_read', 'recipe': 'test_a_recipe_is_run_by_name_and_goes_on', 'method': 'test_a_method_changes_what_is_learned_and_a_run_keeps_it', 'timeout': 'test_an_option_of_train', 'shard': 'test_an_option_of_train',
        **dict.fromkeys(('batch_size', 'lr', 'ema', 'width', 'size', 'save_every', 'bf16', 'compile', 'accumulate', 'device', 'data_root', 'seed'), 'test_an_option_of_train'),
        'plan': 'test_a_plan_trains_nothing', 'config': 'test_a_run_writes_its_options_and_is_repeated_by_them', 'init': 'test_a_model_to_begin_with', 'lora': 'test_a_change_is_trained_beside_a_model', 'class_folders': 'test_class_folders_can_be_left_alone_or_asked_for',
        'log': 'test_a_log_is_kept_besides', 'captions': 'test_captions_of_a_table_are_learned_and_stray_texts_stop_nothing', 'sample_every': 'test_sheets_are_drawn_on_the_way_from_the_same_noise', **dict.fromkeys(('flip', 'drop', 'snr_weight'), 'test_chances_and_weights_and_mirrors_reach_the_loss'),
        **dict.fromkeys(('fit', 'grey', 'depth', 'patch', 'rate', 'warmup', 'optimizer', 'weight_decay', 'prediction', 'dropout'), 'test_an_option'),
    },
    'sample': {
        'model': 'test_a_stopped_run_is_usable_and_goes_on_as_if_nothing_had_happened', 'out': 'test_the_picture_is_a_grid', 'n': 'test_the_picture_is_a_grid', 'columns': 'test_the_picture_is_a_grid',
        'zoom': 'test_the_picture_is_a_grid', 'grid': 'test_grid_and_churn_are_those_of_the_library', 'churn': 'test_grid_and_churn_are_those_of_the_library', 'steps': 'test_steps_and_solver_are_those_of_the_library', 'solver': 'test_steps_and_solver_are_those_of_the_library', 'size': 'test_other_sides_are_drawn_where_the_network_can',
        'prompt': 'test_prompt_negative_and_guidance_all_matter', 'negative': 'test_prompt_negative_and_guidance_all_matter', 'guidance': 'test_prompt_negative_and_guidance_all_matter',
        'lora': 'test_a_lora_speaks_as_strongly_as_is_said', 'image': 'test_image_to_image_is_the_walk_from_the_noised_picture', 'strength': 'test_image_to_image_is_the_walk_from_the_noised_picture', 'mask': 'test_what_the_mask_protects_stays',
        'ground': 'test_the_ground_of_a_picture_to_start_from', 'device': 'test_an_option_of_train', 'seed': 'test_sampling_repeats_itself',
        **dict.fromkeys(('control', 'controlnet'), 'test_the_command_line_steers_a_model_of_ones_own'),
        'upscale': 'test_what_was_drawn_is_enlarged_by_a_second_model',
        'each': 'test_single_files_are_the_pictures_of_the_grid_and_say_what_was_asked', 'class_name': 'test_classes_are_learned_and_drawn_by_name',
    },
    'evaluate': {
        'likelihood': 'test_evaluate_likelihood_is_the_densitys_in_bits', 'model': 'test_evaluate_prints_floors', 'data': 'test_evaluate_counts_captions', 'n': 'test_evaluate_prints_floors', 'out': 'test_evaluate_counts_captions', 'device': 'test_an_option_of_train',
        'data_root': 'test_an_option_of_train', **dict.fromkeys(('guidance', 'steps', 'solver', 'grid', 'churn', 'seed'), 'test_options_of_evaluate_reach_the_drawing'),
    },
    'data': dict.fromkeys(('name', 'download', 'data_root'), 'test_data_says_what_is_here_and_what_is_not'),
    'export': dict.fromkeys(('model', 'to', 'out'), 'test_from_the_shell'), 'push': dict.fromkeys(('model', 'name', 'private', 'message'), 'test_a_model_is_put_on_the_hub_and_fetched'),
    'completion': {'shell': 'test_bash_completes_what_there_is'}, 'doctor': dict.fromkeys(('device', 'data_root', 'seed'), 'test_doctor'),
}  # fmt: skip


def test_every_option_is_known_to_a_test():
    app = typer.main.get_command(cli.app.app)
    for name, command in app.commands.items():
        if name not in ('convert', 'grade'):  # test_security.py, test_grade.py
            known = KNOWN_BY[name]
            assert {p.name for p in command.params if p.name not in ('help', 'ctx')} == known.keys(), name
            others = ''.join(Path(__file__).with_name(f'test_{other}.py').read_text(encoding='utf-8') for other in ('own', 'control', 'export', 'shell'))
            there = globals().keys() | set(re.findall(r'^def (test_\w+)', others, re.M))
            assert there >= set(known.values()), set(known.values()) - there


SEEN = {  # option, two values, what is looked at, what it is for the one and for the other
    'steps': (2, 5, lambda t: t.step, 2, 5),
    'batch_size': (2, 8, lambda t: len(t.seen[0][0]), 2, 8),
    'lr': (0.5, 2.0, lambda t: max(step.lr for step in t.steps), 0.5, 2.0),
    'ema': (0, 0.9999, lambda t: all(map(torch.equal, t.ema.model.parameters(), t.model.parameters())), True, False),
    'width': (8, 16, lambda t: t.model.net.stem.out_channels if hasattr(t.model.net, 'stem') else next(p for p in t.model.net.parameters() if p.ndim == 4).shape[0], 8, 16),
    'size': (8, 16, lambda t: tuple(t.seen[0][0].shape[1:]), (3, 8, 8), (3, 16, 16)),
    'save_every': (1, 50, lambda t: t.saves, [0, 1, 2, 3, 4, 4], [0, 4]),
    'bf16': (False, True, lambda t: t.inside, torch.float32, torch.bfloat16),
    'accumulate': (1, 2, lambda t: [len(x) for (x,) in t.parts[:2]], [4, 4], [2, 2]),
}  # fmt: skip


@pytest.fixture
def watched(monkeypatch):
    "Trainers that remember what they were given, with four steps of four images unless something else is said."
    made, real, loss = [], Trainer.update, Recipe.loss

    def update(self, batch):
        made.append(self) if self not in made else None
        self.__dict__.setdefault('seen', []).append(batch)
        step = real(self, batch)
        self.__dict__.setdefault('steps', []).append(step)
        return step

    def learn(recipe, model, batch, generator):
        made[-1].__dict__.setdefault('parts', []).append(batch)
        handle = model.net.register_forward_hook(lambda net, given, out: setattr(made[-1], 'inside', out.dtype))
        value = loss(recipe, model, batch, generator)
        handle.remove()
        return value

    save = Trainer.save
    monkeypatch.setattr(Trainer, 'save', lambda self, folder: (self.__dict__.setdefault('saves', []).append(self.step), save(self, folder))[1])
    monkeypatch.setattr(Trainer, 'update', update)
    monkeypatch.setattr(Recipe, 'loss', learn)

    def go(tmp_path, **options):
        words = [w for k, v in ({'data': 'shapes', 'size': 8, 'width': 8, 'batch_size': 4, 'steps': 4, 'seed': 3} | options).items() for w in flag(k, v)]
        run('train', '--out', tmp_path / str(len(made)), *words)
        return made[-1]

    return go


def flag(name, value):
    return [option(name) if value else f'--no-{option(name)[2:]}'] if isinstance(value, bool) else [option(name), value]


@pytest.mark.parametrize('name', SEEN)
def test_an_option_of_train(watched, tmp_path, name):
    *values, look, first, second = SEEN[name]
    got = [look(watched(tmp_path, **{name: value})) for value in values]
    assert got == [first, second]


FASTER = {  # what is typed -> the optimizer, its rate, the width, the batch
    '': (Muon, 6e-3, 32, 32),
    '--optimizer muon --lr 0.001': (Muon, 1e-3, 32, 32),
    '--width 16 --batch-size 8': (Muon, 6e-3, 16, 8),
    '--optimizer adamw': (torch.optim.AdamW, 1e-3, 64, 64),
    '--method flow': (torch.optim.AdamW, 1e-3, 64, 64),
    **dict.fromkeys(('--prediction x0', '--class-folders', '--depth 2', '--patch 2', '--dropout 0.1'), (torch.optim.AdamW, 1e-3, 64, 64)),
    '--data mnist': (torch.optim.AdamW, 1e-3, 64, 64),
    '--recipe fashion-mnist': (torch.optim.AdamW, RECIPES['fashion-mnist'].lr, 48, 64),
}


@pytest.mark.parametrize('typed', FASTER)
def test_garments_are_learned_with_what_the_speedrun_measured(typed, tmp_path, monkeypatch):
    found = Dataset(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), torch.arange(64) % 2, name='fashion-mnist', classes=('a', 'b'))
    monkeypatch.setattr('diffbook.cli.running.read_data', lambda *a: ('fashion-mnist', found))
    made, real = [], Trainer.update
    monkeypatch.setattr(Trainer, 'update', lambda self, batch: (made.append((self, batch)), real(self, batch))[1])
    data = () if 'recipe' in typed or 'data' in typed else ('--data', 'fashion-mnist')
    run('train', *data, '--steps', 1, '--out', tmp_path / 'x', *typed.split())
    ((trainer, batch),) = made
    net = getattr(trainer.model, 'denoiser', trainer.model).net
    assert (type(trainer.optimizer), trainer.settings['lr'], net.stem.out_channels, len(batch[0])) == FASTER[typed]


def test_the_seed_of_train_reaches_weights_order_noise_and_nothing_is_drawn_twice(watched, tmp_path, monkeypatch):
    "Three runs: two seeds, and one of them again. In each, every epoch has an order and every update a noise of its own."
    draws = []
    monkeypatch.setattr(
        'diffbook.losses.diffusion_loss',
        lambda model, x0, t, eps, *a, real=losses.diffusion_loss, **k: (draws.append((t.clone(), eps.clone())), real(model, x0, t, eps, *a, **k))[1],
    )
    weights, orders, noises, first_model = [], [], [], Recipe.model
    for seed in (1, 2, 1):
        monkeypatch.setattr(Recipe, 'model', lambda *a, real=first_model: (weights.append(real(*a)), copy.deepcopy(weights[-1]))[1])
        draws.clear()
        trainer = watched(tmp_path, seed=seed, steps=8)  # two epochs of 16 images
        orders.append(torch.cat([images.flatten(1) for (images,) in trainer.seen]))
        noises.append([torch.cat([t.double(), eps.double().flatten()]) for t, eps in draws])
    first, second, again = (torch.cat([p.flatten() for p in model.parameters()]) for model in weights)
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert torch.equal(orders[0], orders[2]) and not torch.equal(orders[0], orders[1])
    epochs = orders[0][:16], orders[0][16:]
    assert not torch.equal(*epochs) and torch.equal(*(e[e.float().mul(torch.arange(1, e.shape[1] + 1)).sum(1).argsort()] for e in epochs))
    assert all(map(torch.equal, noises[0], noises[2])) and len(noises[0]) == 8
    everything = torch.stack(noises[0] + noises[1])
    assert len(everything.unique(dim=0)) == 16 and len(everything[:, 4:].unique()) > 0.999 * 16 * 4 * 192  # two may agree by chance


def test_switches_of_train_reach_what_they_switch(watched, tmp_path, monkeypatch):
    "What cannot be seen in the numbers: compiling, splitting, waiting, places."
    asked = {}
    monkeypatch.setattr(torch, 'compile', lambda f: (asked.setdefault('compile', f), f)[1])
    join = scale.join
    monkeypatch.setattr(scale, 'join', lambda device, *, shard, timeout: (asked.update(device=device, shard=shard, timeout=timeout), join(device))[1])
    watched(tmp_path)
    assert asked == {'device': None, 'shard': False, 'timeout': 60.0}
    run(*TRAIN, '--steps', 1, '--out', tmp_path / 'x', '--compile', '--timeout', 7, '--device', 'cpu')
    assert asked['compile'].__func__ is Recipe.loss and (asked['device'], asked['timeout']) == ('cpu', 7)
    monkeypatch.setattr(scale, 'join', lambda device, *, shard, timeout: 1 / 0 if shard else None)
    run(*TRAIN, '--steps', 1, '--out', tmp_path / 'y', '--shard', code=2)
    patch_cli(monkeypatch, 'load_images', lambda name, split, root, size, **own: 1 / 0 if root == Path('there') else None)
    run(*TRAIN, '--steps', 1, '--out', tmp_path / 'z', '--data-root', 'there', code=2)


BY_HAND = {
    'dpmpp_2m': multistep.dpmpp_2m, 'dpmpp_3m': multistep.dpmpp_3m, 'dpmpp_sde': multistep.dpmpp_sde,
    'euler_maruyama': sde.euler_maruyama, 'midpoint_sde': sde.midpoint_sde,
    'unipc_2': partial(multistep.multistep, form=multistep.DATA, order=2, correct=True), 'unipc_3': partial(multistep.multistep, form=multistep.DATA, order=3, correct=True),
    'dpm_solver_2': partial(multistep.multistep, form=multistep.NOISE, order=2), 'dpm_solver_3': partial(multistep.multistep, form=multistep.NOISE, order=3),
    'deis_2': partial(multistep.multistep, form=multistep.RATIO, order=2), 'deis_3': partial(multistep.multistep, form=multistep.RATIO, order=3),
    'ab_2': partial(multistep.multistep, form=multistep.FLOW, order=2), 'ab_3': partial(multistep.multistep, form=multistep.FLOW, order=3),
    'ipndm_2': partial(multistep.multistep, form=multistep.EVEN, order=2), 'ipndm_3': partial(multistep.multistep, form=multistep.EVEN, order=3),
}  # fmt: skip

SAME = {'ddim', 'euler'}  # on even times of the cosine schedule one and the same walk


@pytest.mark.parametrize('solver', SOLVERS)
def test_steps_and_solver_are_those_of_the_library(trained, solver):
    "Each pair draws what a walk by hand draws, and no two pairs the same."
    model, found = load(trained), []
    for k, p in enumerate(model.parameters()):  # which has hardly learned to answer
        p.data += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(k))
    x = noise(3, 'start', 0, range(2), (3, 8, 8)).float() * model.schedule.sigma(model.schedule.t_max).float()
    opened = cli.sample.open_model(str(trained), 'cpu').stage
    stage = lambda name: replace(opened, denoise=model, solver=cli.sample.solver_named(name))
    for steps in (2, 6):
        step = BY_HAND.get(solver) or getattr(samplers, solver)
        step = samplers.equip(step, noise=seeded_noise(3, 'sample'))
        with torch.inference_mode():
            *_, want = samplers.sample(model, model.schedule, x, samplers.uniform_times(model.schedule, steps), step)
        found.append(stage(solver).draw(2, steps=steps, seed=3))
        torch.testing.assert_close(found[-1], want, rtol=0, atol=1e-5)
    others = [stage(other).draw(2, steps=6, seed=3) for other in SOLVERS if other != solver and not {other, solver} <= SAME]
    assert all((found[1] - v).abs().max() > 1e-3 for v in (found[0], *others))


WALKS = {  # options -> the grid by hand, and by what share the noise is raised
    'karras': (('--grid', 'karras'), lambda s, n: samplers.karras_times(s, n, least=0.02, most=80.0), 0.0),
    'snr': (('--grid', 'snr'), lambda s, n: samplers.snr_times(s, n, least=0.02, most=80.0), 0.0),
    'angle': (('--grid', 'angle'), lambda s, n: angle_times(s, n, 3.0), 0.0),
    'beta': (('--grid', 'beta'), beta_times, 0.0),
    'shifted': (('--grid', 'shifted'), shifted_times, 0.0),
    'uniform': (('--grid', 'uniform'), samplers.uniform_times, 0.0),
    'fresh noise': (('--churn', 0.3), samplers.uniform_times, 0.3),
    'both': (('--grid', 'angle', '--churn', 0.1), lambda s, n: angle_times(s, n, 3.0), 0.1),
}  # fmt: skip


def test_grid_and_churn_are_those_of_the_library(trained, tmp_path, monkeypatch):
    "What the command draws is what a walk by hand draws, and no two pairs draw the same but a grid and the model's own."
    drawn, model = {}, load(trained)
    patch_cli(monkeypatch, 'finite', lambda images: drawn.setdefault(name, images))
    for name, (options, grid, gamma) in WALKS.items():
        run('sample', trained, '--n', 2, '--steps', 4, '--solver', 'dpmpp_2m', '--seed', 3, *options, '--out', tmp_path / 'x.png')
        x = noise(3, 'start', 0, range(2), (3, 8, 8)).float() * model.schedule.sigma(model.schedule.t_max).float()
        step = samplers.equip(samplers.churn(multistep.dpmpp_2m, gamma), noise=seeded_noise(3, 'sample'))
        with torch.inference_mode():
            *_, want = samplers.sample(model, model.schedule, x, grid(model.schedule, 4), step)
        torch.testing.assert_close(drawn[name], want, rtol=0, atol=1e-5)
    assert WALKS.keys() >= GRIDS.keys()
    gaps = torch.cdist(*[torch.stack([*drawn.values()]).flatten(1)] * 2)
    assert gaps[~torch.eye(len(drawn), dtype=torch.bool)].min() > 1e-3


@pytest.mark.parametrize('command', ('sample', 'evaluate'))
@pytest.mark.parametrize(
    'options, words',
    [
        (('--grid', 'karas'), "--grid is 'karas', expected one of uniform, .*; did you mean karras"),
        (('--grid', 'x'), "--grid is 'x', expected one of uniform, snr, karras, angle, beta, shifted$"),
        (('--solver', 'dpmpp2m'), "--solver is 'dpmpp2m', expected one of ddim, .*; did you mean dpmpp_2m"),
        (('--churn', -0.1), '--churn is -0.1, expected a share from 0 to 1'),
        (('--churn', 0.2, '--solver', 'unipc_3'), '--churn is 0.2, and --solver is unipc_3, which mends the step before'),
        (('--churn', 40), '--churn is 40.0, expected a share from 0 to 1'),
        (('--churn', 'nan'), '--churn is nan, expected a share from 0 to 1'),
    ],
)
def test_no_name_of_a_walk(command, options, words, trained, tmp_path, capsys):
    more = ('--out', tmp_path / 'x.png') if command == 'sample' else ('--data', 'fashion-mnist')
    run(command, trained, *more, *options, code=2)
    assert re.search(words, capsys.readouterr().err.strip()) and not list(tmp_path.iterdir())


def test_options_of_evaluate_reach_the_drawing(reader, monkeypatch):
    calls, walks = [], []
    patch_cli(
        monkeypatch,
        'count_captions',
        lambda opened, n, steps, guidance, seed: (calls.append((n, steps, opened.stage.solver.__name__, guidance, seed)), walks.append(opened.stage), {})[2],
    )
    run('evaluate', reader, '--data', 'shapes', '--n', 10)
    run('evaluate', reader, '--data', 'shapes', '--n', 11, '--steps', 3, '--solver', 'heun', '--guidance', 5, '--seed', 9)
    assert calls == [(10, 20, 'ddim', 2.0, 0), (11, 3, 'heun', 5.0, 9)]
    run('evaluate', reader, '--data', 'shapes', '--n', 10, '--solver', 'dpmpp_2m', '--grid', 'angle', '--churn', 0.25)
    assert calls[2][2] == 'dpmpp_2m' and torch.equal(walks[2].times(CosineSchedule(), 5), angle_times(CosineSchedule(), 5, 3.0))
    assert walks[2].solver.__wrapped__ is multistep.dpmpp_2m and walks[0].solver is samplers.ddim
    assert torch.equal(walks[0].times(CosineSchedule(), 5), samplers.uniform_times(CosineSchedule(), 5))


def test_evaluate_draws_other_captions_and_images_with_another_seed(reader, monkeypatch):
    "Beyond the first batch too: 70 captions, and each has its own picture."
    drawn, real = [], cli.sample.draw
    patch_cli(monkeypatch, 'draw', lambda *a, **k: (drawn.append(real(*a, **k)), drawn[-1])[1])
    for seed in (0, 1, 0):
        run('evaluate', reader, '--data', 'shapes', '--n', 70, '--steps', 1, '--seed', seed)
    assert torch.equal(drawn[0], drawn[4]) and not torch.equal(drawn[0], drawn[2])
    assert all(len(d.flatten(1).unique(dim=0)) == 70 for d in drawn)


def test_where_a_picture_cannot_be_written_is_said_before_it_is_drawn(trained, tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').write_text('mine')
    patch_cli(monkeypatch, 'open_model', lambda *a, **k: 1 / 0)
    for command in (('sample', trained), ('evaluate', trained, '--data', 'mnist')):
        name = 'x.png' if command[0] == 'sample' else 'x.json'
        run(*command, '--out', tmp_path / 'file' / name, code=2)
        assert re.search(f'--out is .*{name}, and .*file is a file; expected a directory', capsys.readouterr().err)
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr('tempfile.TemporaryFile', lambda dir: (_ for _ in ()).throw(OSError(30, 'Read-only file system', str(dir))))
        run('sample', trained, '--out', tmp_path / 'deep' / 'x.png', code=2)
    assert 'x.png: Read-only file system' in capsys.readouterr().err and not (tmp_path / 'deep').exists()


# --- upscaling


def test_what_was_drawn_is_enlarged_by_a_second_model(tmp_path, capsys):
    "An untrained upscaler gives smooth curves through the pixels: within two bytes, for the small picture was rounded."
    from diffbook.cascades import LowResolution, Upscaler, enlarge

    torch.manual_seed(0)
    base = Denoiser(UNet(3, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 0)), CosineSchedule(), predict_v)
    torch.nn.init.normal_(base.net.head.weight, std=0.05)
    save(tmp_path / 'base', base, {'shape': [3, 8, 8]})
    net = UNet(3, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 0), img_channels=3, cond_dim=8)
    save(tmp_path / 'up', Conditional(Denoiser(Upscaler(net), CosineSchedule(), predict_x0), LowResolution(3, 8, 2, waves=8)), {'shape': [3, 16, 16]})
    common = ('sample', tmp_path / 'base', '--n', 2, '--steps', 3, '--solver', 'ddim', '--zoom', 1)
    run(*common, '--out', tmp_path / 'small')
    run(*common, '--out', tmp_path / 'large', '--upscale', tmp_path / 'up')
    small, large = (read_folder(tmp_path / name, side).images.float() for name, side in (('small', 8), ('large', 16)))
    assert large.shape == (2, 3, 16, 16)
    assert (enlarge(small, 2).clamp(0, 255) - large).abs().max() <= 2
    capsys.readouterr()
    for name, said in (('base', 'told no small picture'), ('up', 'which enlarges pictures of shape')):
        run(
            'sample',
            tmp_path / 'base',
            '--n',
            1,
            '--steps',
            2,
            '--upscale',
            tmp_path / name,
            '--out',
            tmp_path / 'x.png',
            *(('--size', 16) if name == 'up' else ()),
            code=2,
        )
        assert said in capsys.readouterr().err
    run('sample', tmp_path / 'base', '--upscale', tmp_path / 'up', '--out', tmp_path / 'x.gif', code=2)
    assert 'no --image or --upscale' in capsys.readouterr().err


# --- recipes


def test_a_recipe_is_run_by_name_and_goes_on(tmp_path, monkeypatch, capsys):
    "Of a small stand-in: its data, its network, its numbers; what is typed wins; a run goes on by itself."
    made = recipes.recipe('demo', data=lambda root, seed: recipes.single_shapes(12, 8, seed), steps=6, batch=4, lr=2e-3)
    monkeypatch.setitem(recipes.RECIPES, 'demo', made)
    run('train', '--recipe', 'demo', '--out', tmp_path / 'run', '--lr', 5e-4)
    assert '12 images of single shapes' in capsys.readouterr().out
    settings, model = read_checkpoint(checkpoints(tmp_path / 'run' / 'checkpoints')[0])[0]['settings'], load(tmp_path / 'run')
    assert (settings['lr'], settings['total'], settings['ema'], settings['warmup']) == (5e-4, 6, made.ema, made.warmup)
    assert describe(model) == describe(made.model(made.data(None, 0))) and model.about['shape'] == [3, 8, 8]
    run('train', '--out', tmp_path / 'run', '--resume', '--steps', 8)
    assert load(tmp_path / 'run').about['steps'] == 8 and 'Continuing after step 6' in capsys.readouterr().out
    run('train', '--out', tmp_path / 'run', '--resume', '--recipe', 'shapes', code=2)
    assert '--recipe is shapes, and the run in' in capsys.readouterr().err


@pytest.mark.parametrize('words, said', [
    (('--recipe', 'nobody'), "recipe is 'nobody', expected one of fashion-mnist"),
    (('--recipe', 'demo', '--width', 8), '--width is 8, and --recipe is demo, which says what the network is'),
    (('--recipe', 'demo', '--text'), '--text is True, and --recipe is demo'),
    (('--data', 'shapes', '--size', 8, '--method', 'magic'), '--method is magic, expected one of flow, edm'),
])  # fmt: skip
def test_a_recipe_that_does_not_fit_is_refused(tmp_path, capsys, words, said):
    run('train', *words, '--out', tmp_path / 'run', code=2)
    assert said in capsys.readouterr().err and not (tmp_path / 'run').exists()


def test_a_method_changes_what_is_learned_and_a_run_keeps_it(trained, tmp_path):
    "The network, the data and the numbers stay; the file says the path and the target, and sampling follows it."
    run(*TRAIN, '--steps', 4, '--method', 'flow', '--out', tmp_path / 'run')
    flow, own = load(tmp_path / 'run'), load(trained)
    assert describe(flow) == describe(Denoiser(flow.net, RectifiedFlowSchedule(), predict_velocity)) and describe(flow.net) == describe(own.net)
    run('train', '--out', tmp_path / 'run', '--resume', '--steps', 5)
    assert describe(load(tmp_path / 'run')) == describe(flow)
    run('sample', tmp_path / 'run', '--n', 1, '--steps', 2, '--solver', 'euler', '--out', tmp_path / 'x.png')


def test_the_method_edm_takes_the_spread_of_the_pictures(trained, tmp_path):
    "Its model says so in its file, goes on, and is sampled on the grid of its noise levels."
    run(*TRAIN, '--steps', 4, '--method', 'edm', '--out', tmp_path / 'run')
    model = load(tmp_path / 'run')
    spread = model.prediction.sigma_data
    assert 0.2 < spread < 1 and spread != 0.5
    want = Denoiser(model.net, KarrasSchedule(), predict_edm(spread), noise_input=quarter_log_noise, input_scale=unit_input(spread))
    assert describe(model) == describe(want) and describe(model.net) == describe(load(trained).net)
    run('train', '--out', tmp_path / 'run', '--resume', '--steps', 5)
    assert describe(load(tmp_path / 'run')) == describe(model)
    run('sample', tmp_path / 'run', '--n', 1, '--steps', 2, '--out', tmp_path / 'x.png')


@pytest.mark.parametrize('about, size, said', [({}, None, "about={'shape'"), ({}, (16, 16), 'how many channels')])
def test_a_model_that_does_not_say_its_shape_is_told_how(about, size, said):
    "A network of one's own has no `in_channels`; the message names the argument of save that helps."
    from types import SimpleNamespace

    from diffbook.cli.models import describe_shape

    own = SimpleNamespace(net=object())
    with pytest.raises(ValueError, match=said):
        describe_shape(about, own, size)
    assert describe_shape({'shape': [1, 16, 16]}, own, size) == (1, 16, 16)
