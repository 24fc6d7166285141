"""Models for other programs: the same function in other words, for batches of any size, or a refusal that leaves nothing behind."""

import json

import pytest
import torch

from diffbook.cli import main
from diffbook.conditioning import ClassConditioner, Conditional, TextConditioner, VectorConditioner
from diffbook.data import Dataset
from diffbook.export import captured, discrete, export, folded, programs
from diffbook.flow_maps import FlowMap
from diffbook.guidance import guide
from diffbook.losses import Denoiser, quarter_log_noise, table_index, unit_input
from diffbook.nets.clip import TextTower
from diffbook.nets.dit import DiT
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_edm, predict_eps, predict_v, predict_velocity, predict_x0
from diffbook.recipes import METHODS, plain
from diffbook.samplers import ddim, heun
from diffbook.schedules import CosineSchedule, DiscreteSchedule, KarrasSchedule, LinearBetaSchedule, RectifiedFlowSchedule, ShiftedSchedule, linear_betas
from diffbook.text import Tokenizer
from diffbook.training import save

F = torch.nn.functional
NETS = {
    'as many blocks, no squares': {'patch': 1, 'blocks': (1, 1), 'heads': (0, 0, 2)},
    'as own pictures have it': {'patch': 2, 'blocks': (1, 2), 'heads': (0, 0, 2)},
    'fewer blocks below': {'patch': 2, 'blocks': (3, 1), 'heads': (2, 0, 2)},
    'three levels': {'channels': (8, 16, 24), 'patch': 1, 'blocks': (1, 3, 2), 'heads': (0, 4, 6, 6)},
    'no heads': {'patch': 4, 'blocks': (2, 1), 'heads': (0, 0, 0)},
}


SMALL = {'channels': (8,), 'blocks': (1,), 'heads': (0, 0)}


def randomise(module):
    "Random numbers in place of the zeros that new layers start with."
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return module


def net(**options):
    torch.manual_seed(0)
    made = randomise(UNet(**{'channels': (8, 16), 'groups': 4, 'blocks': (1, 1), 'heads': (0, 0, 2), 'patch': 2} | options)).eval()
    made.head.weight.data.mul_(0.1)  # a walk of steps is then no chaos, in which rounding grows
    return made


def with_classes(schedule=None, prediction=predict_x0, **options):
    return Conditional(Denoiser(net(cond_dim=6, **options), schedule or CosineSchedule(), prediction), randomise(ClassConditioner(3, 6))).eval()


def with_text():
    tokenizer = Tokenizer(['r e', 're d</w>'], 6)
    tower = TextTower(tokenizer.vocab_size, 6, 8, 1, 2, hidden=16, end=tokenizer.end)
    return Conditional(
        Denoiser(net(cond_dim=8, seq_dim=8, **SMALL | {'heads': (0, 2)}), CosineSchedule(), predict_x0),
        randomise(TextConditioner(tokenizer, tower, pooled=True, frozen=False)),
    ).eval()


ABOUT = {'shape': [1, 8, 8], 'classes': ['ant', 'bee', 'cat'], 'data': 'in`sects\n# x', 'steps': 10}


def told(model, **changes):
    model.about = ABOUT | changes
    return model


@pytest.mark.parametrize('classes', [False, True])
@pytest.mark.parametrize('name', NETS)
def test_a_folded_net_says_the_same(name, classes):
    "Squares folded before and after, blocks that pass on, and a table of what each class is told."
    own = net(**NETS[name], cond_dim=5 if classes else 0).double()
    table = torch.randn(4, 5).double() if classes else None
    made = folded(own, table).double()
    x, level, label = torch.randn(4, 1, 16, 16).double(), torch.tensor([0.0, 3.0, 500.0, 999.0]).double(), torch.tensor([3, 0, 1, 2])
    from diffbook.core import Cond

    want = own(x, level, Cond(vec=table[label]) if classes else None)
    got = F.pixel_shuffle(made(F.pixel_unshuffle(x, own.patch), level, Cond(vec=F.one_hot(label, 4).double()) if classes else None), own.patch)
    assert made.arguments['patch'] == 1 and len(set(made.arguments['blocks'])) == 1
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    'schedule',
    [CosineSchedule(), LinearBetaSchedule(), ShiftedSchedule(CosineSchedule(), 2.0), DiscreteSchedule(linear_betas(1000))],
    ids=lambda s: type(s).__name__,
)
def test_a_table_has_the_noise_of_its_times(schedule):
    "Row i of the table, counted from 0 by its makers, is the schedule at i thousandths of the way."
    table = discrete(schedule)
    rows = torch.arange(1, 1000).double()
    at = schedule.t_min + rows / 1000 * (schedule.t_max - schedule.t_min)
    torch.testing.assert_close(table.alpha(rows + 1.0), schedule.alpha(at), rtol=1e-9, atol=1e-12)
    product = torch.cumprod(1 - table.betas, 0)  # as diffusers reads a table
    torch.testing.assert_close(product[1:], schedule.alpha(at) ** 2, rtol=1e-9, atol=1e-15)


MODELS = {
    'v': lambda: Denoiser(net(**SMALL), CosineSchedule(), predict_v),
    'a table': lambda: Denoiser(net(**SMALL), DiscreteSchedule(linear_betas(50)), predict_eps, noise_input=table_index),
    'edm': lambda: Denoiser(net(**SMALL), KarrasSchedule(), predict_edm(0.4), noise_input=quarter_log_noise, input_scale=unit_input(0.4)),
    'flow': lambda: Denoiser(net(**SMALL), RectifiedFlowSchedule(), predict_velocity),
    'classes': lambda: with_classes(**SMALL),
    'text': with_text,
    'DiT': lambda: Denoiser(randomise(DiT(1, patch=2, width=16, depth=1, heads=2)), ShiftedSchedule(CosineSchedule(), 2.0), predict_v),
    'flow map': lambda: FlowMap(net(cond_dim=8, **SMALL), RectifiedFlowSchedule(), waves=8),
}


@pytest.mark.parametrize('name', ['v', 'flow map', *(pytest.param(name, marks=pytest.mark.slow) for name in ('a table', 'edm', 'text', 'DiT'))])
def test_a_step_is_taken_down_for_any_batch(name):
    "Without a guard that depends on numbers: for one picture and for five."
    model = MODELS[name]().eval()
    program, given = programs(model, (1, 8, 8))['step']
    step = captured(program, given).module()
    high, low = model.schedule.t_max, model.schedule.t_min
    t, s = (torch.tensor(low + share * (high - low), dtype=torch.float64) for share in (0.8, 0.3))
    for n in (1, 5):
        x = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(n))
        if name == 'flow map':
            torch.testing.assert_close(step(x=x, t=t, s=s), model(x, t, s), rtol=0, atol=1e-5)
            continue
        told = {'told': model.conditioner.tokenizer(['red', '', 'reed', 'r', 'e'][:n]), 'guidance': torch.tensor(3.0)} if name == 'text' else {}
        asked = (guide(model, model.null(1), 3.0), model.condition(told['told'])) if told else (model, None)
        torch.testing.assert_close(step(x=x, t=t, s=s, **told), ddim(model.schedule, asked[0], x, t, s, asked[1]), rtol=0, atol=1e-4)


def card_runs(folder, name):
    "What the card says is run."
    code, there = (folder / 'README.md').read_text().split('```python')[1].split('```')[0], {}
    exec(code.replace(f'"{name}"', repr(str(folder / name))), there)
    assert there['x'].shape == (4, 1, 8, 8) and torch.isfinite(torch.as_tensor(there['x'])).all()


def test_programs_come_back_from_their_files(tmp_path):
    "The model of classes and a guided step of it."
    model, n = told(with_classes(**SMALL)), 3
    export(model, tmp_path / 'out', 'torch-export')
    x, label = torch.randn(n, 1, 8, 8), torch.tensor([2, 0, 1])
    times = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    got = torch.export.load(tmp_path / 'out' / 'denoiser.pt2').module()(x=x, t=times, told=label)
    torch.testing.assert_close(got, model(x, times, model.condition(label)), rtol=0, atol=1e-5)
    step = torch.export.load(tmp_path / 'out' / 'step.pt2').module()
    got = step(x=x, t=times[2], s=times[1], told=label, guidance=torch.tensor(3.0))
    torch.testing.assert_close(got, ddim(model.schedule, guide(model, model.null(1), 3.0), x, times[2], times[1], model.condition(label)), rtol=0, atol=1e-4)
    card_runs(tmp_path / 'out', 'step.pt2')


def test_a_step_of_heun_is_taken_down_too():
    "Any step rule of formulas alone; where no noise is left it says what Euler's says."
    model = MODELS['v']().eval()

    class Heun(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x, t, s):
            return heun(model.schedule, self.model, x, t, s)

    t, s = torch.tensor(0.8).double(), torch.tensor(0.3).double()
    program = captured(Heun(), {'x': torch.zeros(2, 1, 8, 8), 't': t, 's': s}).module()
    x = torch.randn(3, 1, 8, 8)
    for end in (s, s * 0):
        torch.testing.assert_close(program(x=x, t=t, s=end), heun(model.schedule, model, x, t, end), rtol=0, atol=1e-5)


def test_taking_down_leaves_the_checks_and_the_tables_as_they_were():
    "Afterwards a time outside is refused as before, and no tensor of the tracer stays behind in a schedule."
    model = told(MODELS['a table']())
    captured(*programs(model, (1, 8, 8))['denoiser'])
    assert all(type(v) is torch.Tensor for pair in model.schedule.copies.values() for v in pair)
    with pytest.raises(ValueError, match='expected a time in'):
        model(torch.zeros(1, 1, 8, 8), 51.0)


def test_onnx_says_what_the_model_says(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    model = told(with_classes(**SMALL))
    export(model, tmp_path / 'out', 'onnx')
    x, label = torch.randn(3, 1, 8, 8), torch.tensor([2, 0, 1])
    t, s = torch.tensor(0.8).double(), torch.tensor(0.3).double()
    session = onnxruntime.InferenceSession(tmp_path / 'out' / 'step.onnx')
    (got,) = session.run(None, {k: v.numpy() for k, v in {'x': x, 't': t, 's': s, 'told': label, 'guidance': torch.tensor(3.0)}.items()})
    card_runs(tmp_path / 'out', 'step.onnx')
    torch.testing.assert_close(torch.tensor(got), ddim(model.schedule, guide(model, model.null(1), 3.0), x, t, s, model.condition(label)), rtol=0, atol=1e-4)


def test_onnx_names_the_package_that_is_missing(tmp_path, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        'find_spec',
        lambda name, *more: None if name == 'onnxscript' else found(name, *more) or object() if name == 'onnx' else found(name, *more),
    )
    with pytest.raises(ValueError, match='needs the package onnxscript, which is not here: pip install'):
        export(told(MODELS['v']()), tmp_path / 'out', 'onnx')
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    'a text': (with_text, 'reads text has no counterpart in diffusers.*torch-export'),
    'another network': (lambda: MODELS['DiT'](), 'a DiT has no counterpart'),
    'a flow map': (lambda: MODELS['flow map'](), 'a flow map has no counterpart'),
    'a pair': (lambda: Denoiser(net(), LinearBetaSchedule(), predict_velocity), 'no pair of a scheduler there.*torch-export'),
    'told otherwise': (lambda: Denoiser(net(), CosineSchedule(), predict_v, noise_input=quarter_log_noise), 'no pair of a scheduler'),
    'the noise of a path': (lambda: Denoiser(net(), RectifiedFlowSchedule(), predict_x0), 'does not keep the variance'),
    'a vector': (lambda: Conditional(Denoiser(net(cond_dim=4), CosineSchedule(), predict_v), VectorConditioner(4)), 'VectorConditioner has no counterpart'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_has_no_counterpart_is_refused_and_nothing_is_left(name, tmp_path):
    make, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        export(told(make()), tmp_path / 'out', 'diffusers')
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_not_touched(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'mine.txt').write_text('mine')
    with pytest.raises(ValueError, match='is there already'):
        export(told(MODELS['v']()), tmp_path / 'out', 'diffusers')
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['mine.txt']


def test_what_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    import diffbook.export

    monkeypatch.setattr(diffbook.export, 'loading', lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(told(MODELS['v']()), tmp_path / 'out', 'diffusers')
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_the_model_is_and_is_no_place_for_tricks(tmp_path):
    "What a stranger called a folder or a class is text, and no Markdown."
    export(told(with_classes(), classes=['ant', '<script>', 'c]('], data='a\n# b'), tmp_path / 'out', 'diffusers')
    card = (tmp_path / 'out' / 'README.md').read_text()
    assert 'pictures of 8 x 8, grey' in card and r'ant, \<script\>, c\]\(' in card and '\n# b' not in card and r'a \# b' in card
    assert 'licence' in card and card.startswith('---\n')


def test_from_the_shell(tmp_path, capsys):
    save(tmp_path / 'model', with_classes(), about=ABOUT)
    with pytest.raises(SystemExit) as end:
        main(['export', str(tmp_path / 'model'), '--to', 'diffusers', '--out', str(tmp_path / 'out'), '--json'])
    said = json.loads(capsys.readouterr().out)
    assert end.value.code == 0 and 'unet/diffusion_pytorch_model.safetensors' in said['files'] and 'README.md' in said['files']
    for words, wrong in (
        (['--to', 'tensorflow', '--out', 'x'], 'expected diffusers, onnx, torch-export'),
        (['--to', 'onnx', '--out', str(tmp_path / 'model')], 'is there already'),
    ):
        with pytest.raises(SystemExit) as end:
            main(['export', str(tmp_path / 'model'), *words])
        assert end.value.code == 2 and wrong in capsys.readouterr().err


@pytest.mark.parametrize('method', ['v', 'flow', 'edm'])
def test_a_model_of_train_has_a_counterpart(method, tmp_path):
    "Those that the command line makes, at their own sizes."
    made = plain(8)
    made = made if method == 'v' else METHODS[method](made)
    found = Dataset(torch.zeros(2, 1, 8, 8, dtype=torch.uint8) + torch.arange(2, dtype=torch.uint8)[:, None, None, None] * 255)
    export(told(made.model(found)), tmp_path / 'out', 'diffusers')
    assert (tmp_path / 'out' / 'scheduler' / 'scheduler_config.json').exists()
