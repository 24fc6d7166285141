"""The demo: its reader paints again what it read, its time bounds it, and what it writes is what it says."""

import json

import pytest
import torch
import torch.nn.functional as F

from diffbook import demo
from diffbook.data import to_model
from diffbook.recipes import recipe, single_shapes
from diffbook.recognise import read_shapes
from diffbook.training import load


def real(n=256, start=20_000):
    return single_shapes(n, demo.SIZE, seed=0, start=start).images


def test_real_pictures_are_painted_again_to_a_level():
    "Bytes are rounded, which alone is 0.29 of a level where ground and object mix; the search for the place may leave as much again."
    pixels = real()
    assert demo.paint_again(pixels.float(), read_shapes(pixels)).max() < 1


def test_a_picture_that_is_off_by_so_much_everywhere_is_off_by_so_much():
    "Noise is orthogonal to all paintings but for three directions (place and radius) of 768: its norm is kept within a percent."
    pixels = real().float()
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    off = demo.paint_again(pixels + 6 * noise, read_shapes(pixels.to(torch.uint8)))
    assert (off.square().mean().sqrt() - 6).abs() < 0.06


@pytest.mark.parametrize('side', [3, 5])
def test_what_is_blurred_is_off_however_it_is_placed(side):
    pixels = real().float()
    blurred = F.avg_pool2d(pixels, side, 1, side // 2, count_include_pad=False)
    assert (demo.paint_again(blurred, read_shapes(pixels.to(torch.uint8))) > 4).all()


def test_a_clear_picture_is_one_object_that_can_be_painted():
    "Real ones; two halves of different ones; an empty ground; and one that is darker than the palette has it."
    pixels = real(64)
    assert demo.read(to_model(pixels))['clear'] == 1 and demo.read(to_model(pixels))['off'] < 1
    torn = torch.cat([pixels[..., :8], pixels.roll(1, 0)[..., 8:]], -1)
    assert demo.read(to_model(torn))['clear'] < 0.1
    assert demo.read(torch.ones(4, 3, 16, 16)) == {'n': 4, 'clear': 0.0, 'off': 255.0, 'kinds_of_48': 0}
    assert demo.read(to_model((pixels * 0.8).to(torch.uint8)))['clear'] < 0.5


def short(tmp_path, *words):
    demo.main(['--out', str(tmp_path / 'out'), *words])
    return json.loads((tmp_path / 'out' / 'report.json').read_text())


@pytest.fixture
def tiny(monkeypatch):
    "The demo with a network and a number of steps that take seconds; gives the rates that updates were made with."
    from diffbook import recipes, training

    made = recipe(
        'demo', net=recipes.unet(channels=(8, 16), blocks=(1, 1), heads=(0, 0, 0), groups=8), warmup=2, data=lambda root, seed: single_shapes(64, 16, seed)
    )
    monkeypatch.setitem(recipes.RECIPES, 'demo', made)
    monkeypatch.setattr(demo, 'SAMPLES', 4)
    monkeypatch.setattr(demo, 'SAMPLING_STEPS', 2)
    rates, update = [], training.Trainer.update
    monkeypatch.setattr(training.Trainer, 'update', lambda self, batch: rates.append(step := update(self, batch)) or step)
    return rates


def test_the_demo_writes_what_it_says(tiny, tmp_path, capsys):
    report = short(tmp_path, '--steps', '3', '--seed', '5')
    assert report['steps'] == len(tiny) == 3 and report['seed'] == 5 and report['images_seen'] == 3 * demo.BATCH
    for name in demo.WRITES:
        assert (tmp_path / 'out' / name).exists()
    assert sum(p.numel() for p in load(tmp_path / 'out' / 'model').parameters()) == report['parameters']
    assert f'{report["samples_read"]["clear"]:.0%} of the samples' in capsys.readouterr().out


@pytest.mark.parametrize('words', [('--minutes', '1.5', '--steps', '4000'), ('--minutes', '60', '--steps', '15')])
def test_the_rate_falls_on_a_line_that_ends_with_the_time(tiny, tmp_path, monkeypatch, words):
    "A clock that adds six seconds at every look: a minute and a half is over after fifteen updates."
    ticks = iter(range(0, 10**6, 6))
    monkeypatch.setattr(demo.time, 'monotonic', lambda: next(ticks))
    assert short(tmp_path, *words)['steps'] == 15
    rates = torch.tensor([step.lr for step in tiny[3:]], dtype=torch.float64)  # those before are on the way up
    highest = recipe('demo').lr
    assert torch.allclose(rates, highest * (1 - torch.arange(3, 15, dtype=torch.float64) / 15), rtol=1e-12)


def test_the_same_seed_draws_the_same_pictures(tiny, tmp_path):
    drawn = []
    for k, seed in enumerate('778'):
        short(tmp_path / str(k), '--steps', '2', '--seed', seed)
        drawn.append((tmp_path / str(k) / 'out' / 'samples.png').read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    'words, said',
    [
        (('--minutes', '0'), '--minutes is 0.0, expected a positive number'),
        (('--steps', '-2'), '--steps is -2, expected a positive number'),
    ],
)
def test_what_cannot_be_is_refused(words, said, tmp_path, capsys):
    with pytest.raises(SystemExit):
        demo.main(['--out', str(tmp_path), *words])
    assert said in capsys.readouterr().err


def test_a_folder_of_somebody_else_is_left_alone(tmp_path, capsys):
    (tmp_path / 'samples.png').write_bytes(b'mine')
    with pytest.raises(SystemExit):
        demo.main(['--out', str(tmp_path)])
    assert 'this demo did not make it' in capsys.readouterr().err and (tmp_path / 'samples.png').read_bytes() == b'mine'
