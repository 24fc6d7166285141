"""The command line does what it says: it trains, resumes, samples, evaluates, and repeats itself exactly."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from test_pretrained import filled, parts

from diffbook import cli, samplers
from diffbook.conditioning import Conditional, TextConditioner
from diffbook.core import noise, seeded_noise, uniform
from diffbook.data import Dataset, draw_shapes, draw_split, from_model, to_model
from diffbook.editing import start_from
from diffbook.guidance import guide
from diffbook.losses import Denoiser
from diffbook.nets.clip import TextTower
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_x0
from diffbook.pretrained import save_pipeline
from diffbook.schedules import CosineSchedule
from diffbook.stable_diffusion import StableDiffusion
from diffbook.text import Tokenizer, train_merges
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
    words = sorted({word for text in captions for word in cli.split_words(text)})
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


def test_a_prompted_image_does_not_depend_on_its_neighbours(reader):
    model = load(reader)
    told = cli.tell(model, PROMPT, '', 3.0)
    few, many = (cli.draw(model, (3, 16, 16), n, 2, 'ancestral', 1, batch, told=told) for n, batch in ((2, 64), (5, 3)))
    torch.testing.assert_close(many[:2], few, rtol=0, atol=1e-4)


def test_each_image_may_have_a_prompt_of_its_own(reader):
    model, texts = load(reader), [PROMPT, 'a big ring', 'a cross at the left']
    mixed = cli.draw(model, (3, 16, 16), 3, 2, 'ddim', 1, 2, told=cli.tell(model, texts, '', 2.0))
    for k, text in enumerate(texts):
        alone = cli.draw(model, (3, 16, 16), 3, 2, 'ddim', 1, 2, told=cli.tell(model, text, '', 2.0))
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
    monkeypatch.setattr(cli, 'draw', lambda *a, **k: to_model(real.images[:1].repeat(3, 1, 1, 1)))
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
    assert (cli.open_edit(clear, None, None, (3, 16, 16)).picture == 1).all()  # nothing to see is white
    assert cli.open_edit(wide, None, None, (1, 8, 8)).picture.shape == (1, 1, 8, 8)
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
    monkeypatch.setattr('diffbook.data.draw_split', lambda n, size=32, split='train', seed=0, **k: draw_split(min(n, 16), size, split, seed, **k))


def test_train_a_model_that_reads(tmp_path, few_captions, capsys):
    for name in 'ab':
        run(*TRAIN, '--text', '--steps', 3, '--out', tmp_path / name)
    assert digest(tmp_path / 'a' / 'model.safetensors') == digest(tmp_path / 'b' / 'model.safetensors')
    about, said = read_model(tmp_path / 'a')[0]['about'], capsys.readouterr().out
    assert 'with captions' in said and '--prompt "' in said and {'circle', 'red'} & set(about['words'])
    run('sample', tmp_path / 'a', '--n', 1, '--steps', 1, '--prompt', 'a red circle', '--out', tmp_path / 'x.png')
    run(*TRAIN, '--steps', 3, '--out', tmp_path / 'c')
    assert 'with --text' in capsys.readouterr().out and isinstance(load(tmp_path / 'c'), Denoiser)


def test_train_on_captions_of_ones_own(tmp_path, monkeypatch, capsys):
    "Without a CLIP of the zoo, the text tower learns with the rest."
    images = (255 * uniform(0, 'x', 0, range(6), (3, 8, 8))).to(torch.uint8)
    found = Dataset(images, None, tuple(f'an emoji of {word}' for word in ('a cat', 'a dog', 'eyes', 'a hen', 'a pen', 'ten')), 'emoji')
    monkeypatch.setattr(cli, 'load_images', lambda *a: found)
    argv = ['train', '--data', 'emoji', '--text', '--width', 8, '--batch-size', 4, '--steps', 4]
    run(*argv, '--out', tmp_path / 'run')
    model, first = load(tmp_path / 'run'), cli.new_text_model(found, 8, 0)
    moved = [not torch.equal(a, b) for a, b in zip(model.conditioner.tower.parameters(), first.conditioner.tower.parameters())]
    assert sum(moved) > len(moved) / 2 and not model.conditioner.frozen
    run('sample', tmp_path / 'run', '--n', 1, '--steps', 1, '--prompt', 'a 3D emoji of a hen', '--out', tmp_path / 'x.png')
    assert "never shown '3d'" in capsys.readouterr().err


@pytest.fixture
def given(monkeypatch):
    "What training would be given, instead of training."
    got = []
    monkeypatch.setattr(cli, 'train_loop', lambda trainer, examples, *rest: got.append(examples))
    return got


def messy(folder):
    "Two pictures, one of them clear in part, a broken one, one of another format, what a Mac leaves, labels of boxes, and a split."
    for name in ('train', 'test'):
        (folder / name).mkdir(parents=True)
        photo(folder / name / 'a.png', (8, 8), (1, 2, 3))
    photo(folder / 'train' / 'b.png', (8, 8), (0, 0, 0, 0), 'RGBA')
    for name, content in (('._a.png', b'\0\5\26\7'), ('c.png', b'broken'), ('d.heic', b'?'), ('a.txt', b'0 0.5 0.5 0.1 0.1'), ('c.txt', b'caf\xe9'), ('d.txt', b'')):
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
        assert '2 images of ' in said.out and given[-1][0, :, 0, 0].tolist() == [1, 2, 3] and (given[-1][1] == ground).all()
        for words in ('1 of 3 pictures cannot be read', '1 pictures of other formats are skipped: 1 .heic', '3 pictures of train are read and 1 of test are left out'):
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
    assert isinstance(given[-1], tuple) == text
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
    monkeypatch.setattr(cli, 'draw', lambda *a, **k: to_model(next(pictures).images))
    monkeypatch.setattr(cli, 'describe_shape', lambda *a: (3, 32, 32))
    run('evaluate', reader, '--data', 'shapes', '--n', 12, '--out', tmp_path / 'r.json')
    report = json.loads((tmp_path / 'r.json').read_text())
    assert all(row['all'] == 1 and set(row['by objects'].values()) == {1} for row in report['parts'].values())


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
    options = ('--negative', 'zz zz zz', '--steps', 3, '--guidance', 200,  # large: a random network hardly hears
               '--seed', 4, '--size', 16, '--zoom', 1)
    edit = {'image': ramp.permute(2, 0, 1)[None].double() / 255, 'mask': hole > 0, 'strength': 0.7}
    for k, (files, given) in enumerate((((), {'height': 16, 'width': 16}), (('--image', tmp_path / 'in.png', '--mask', tmp_path / 'mask.png', '--strength', 0.7), edit))):
        run('sample', tmp_path / 'sd', '--prompt', 'ab', '--n', 2, *options, *files, '--out', tmp_path / f'{k}.png')
        got = torch.from_numpy(numpy.array(Image.open(tmp_path / f'{k}.png').convert('RGB')))
        want = (model(['ab', 'ab'], **common, **given) * 255).round().byte().permute(0, 2, 3, 1)
        assert (got[:16, :16].int() - want[0].int()).abs().max() <= 1 and (got[:16, 18:34].int() - want[1].int()).abs().max() <= 1
    run('sample', tmp_path / 'sd', '--size', 15, '--steps', 1, '--out', tmp_path / 'x.png', code=2)
    assert 'height is 15, expected a multiple of 2; the nearest are 14 and 16' in capsys.readouterr().err


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


def test_a_model_of_latents_draws_and_edits_through_its_codec(tmp_path, capsys):
    "The command line adds nothing but the way to latents and back; what the mask keeps stays to the pixel."
    model, codec, prompt = load('emoji'), load('emoji-vae'), 'a 3D emoji of a red heart'
    told = guide(model, model.null(2), 3.0)
    common = ('sample', 'emoji', '--prompt', prompt, '--n', 2, '--steps', 3, '--solver', 'ddim', '--guidance', 3, '--seed', 5, '--zoom', 1)
    run(*common, '--out', tmp_path / 'a.png')
    got = numpy.array(Image.open(tmp_path / 'a.png').convert('RGB'))
    with torch.inference_mode():
        x = noise(5, 'start', 0, range(2), (4, 16, 16)).float()
        *_, z = samplers.sample(told, model.schedule, x * model.schedule.sigma(model.schedule.t_max).float(), samplers.uniform_times(model.schedule, 3), samplers.ddim, model.condition([prompt] * 2))
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
    cells = cli.encode_edit(codec, cli.Edit(torch.zeros(1, 3, 64, 64), known, 1.0)).known
    assert torch.equal(cells, known.unfold(2, 4, 4).unfold(3, 4, 4).all(-1).all(-1))  # a cell with a pixel to draw is drawn
    run(*common, '--size', 62, '--out', tmp_path / 'c.png', code=2)
    assert '--size is 62, expected a multiple of 4' in capsys.readouterr().err
    run('evaluate', 'emoji', '--data', 'shapes', '--n', 10, code=2)
    assert 'emoji draws latents of emoji-vae' in capsys.readouterr().err
