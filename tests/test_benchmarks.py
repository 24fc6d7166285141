"""The benchmarks: who takes turns with whom, what counts as reached, and what the file keeps."""

import argparse
import itertools
import json
import sys
from functools import partial

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import __main__ as command
from benchmarks import changes, family, family_nets, gpu, host, measure, mutants, peers, rows, speed, students
from diffbook.core import generator
from diffbook.data import Dataset, to_model
from diffbook.exact import GaussianMixture
from diffbook.losses import Denoiser
from diffbook.predictions import predict_v
from diffbook.schedules import CosineSchedule


def test_runs_take_turns_and_the_first_call_stands_apart(monkeypatch):
    "ABBA: whoever comes first in one round comes last in the next; seconds are those of the run itself."
    now, order = [0.0], []
    monkeypatch.setattr(measure, 'clock', lambda: now[0])

    def work(name, seconds):
        order.append(name)
        now[0] += 100 if len(order) <= 3 else seconds  # the first call of each is slow

    runs = {'a': lambda: work('a', 1), 'b': lambda: work('b', 2), 'c': lambda: work('c', 4)}
    seconds, first = measure.alternate(runs, 4)
    assert ''.join(order) == 'cba' + 'abc' + 'cba' + 'abc' + 'cba'
    assert seconds == {'a': [1.0] * 4, 'b': [2.0] * 4, 'c': [4.0] * 4} and first == {'a': 100, 'b': 100, 'c': 100}


def test_median_and_quartiles_of_one_to_nine():
    assert measure.summary([float(v) for v in range(9, 0, -1)]) == {'median': 5.0, 'quartiles': [2.5, 7.5]}
    assert measure.summary([3.0]) == {'median': 3.0, 'quartiles': [3.0, 3.0]}


@pytest.mark.parametrize(('kind', 'figure', 'met', 'multiple'), [
    ('at_least', 2.0, True, 1.0), ('at_least', 1.5, False, 0.75), ('at_most', 2.0, True, 1.0), ('at_most', 4.0, False, 0.5),
])  # fmt: skip
def test_a_goal_knows_whether_it_is_reached(kind, figure, met, multiple):
    found = measure.goal('peer', figure, **{kind: 2.0})
    assert found['met'] is met and rows.reached(found) == multiple


def test_what_is_not_measured_never_replaces_what_was(tmp_path):
    path, absent = tmp_path / 'rows.json', {'row': 'G1', 'status': 'not measured', 'goals': []}
    there = {'row': 'G1', 'status': 'measured', 'goals': []}
    for found, kept in ((absent, absent), (there, there), (absent, there)):
        assert rows.merge(path, {'G1': found})['rows']['G1'] == kept
    assert json.loads(path.read_text())['rows'] == {'G1': there}


@pytest.mark.skipif(torch.cuda.is_available(), reason='the rows are measured here')
@pytest.mark.parametrize('id', ['G1', 'G2', 'G3', 'G4', 'G5'])
def test_without_a_gpu_its_rows_say_so(id):
    found = rows.run(id, argparse.Namespace(), {})
    assert found['status'] == 'not measured' and 'CUDA' in found['why'] and gpu is not None


def test_convolutions_count_their_work_as_the_profiler_does():
    runs, work = speed.ceiling_runs(2, shapes=((4, 8, 6),))
    ((name, run),) = runs.items()
    assert work[name] == pytest.approx(measure.flops(run) / 1e9)


def test_attention_counts_the_same_whichever_kernel_is_preferred():
    "Two products forward, of 2 x 5 heads and 7 x 11 places by 3 numbers; five backward, the scores once more and four gradients."
    q, k, v = (torch.zeros(2, 5, n, 3, requires_grad=True) for n in (7, 11, 11))
    product = 2 * (2 * 5) * (7 * 11) * 3
    attention = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)
    for preferred in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(preferred):
            assert measure.flops(attention) == 2 * product
            assert measure.flops(lambda: attention().sum().backward()) == (2 + 5) * product


def test_our_net_has_the_size_that_the_others_have():
    "Within 2.2 % of 2.572 million; diffusers' has 2.536 million, that of denoising-diffusion-pytorch 2.608 million."
    assert peers.size(peers.make(peers.OURS))['parameters'] == pytest.approx(2_572_000, rel=0.022)


def test_reads_are_counted_once_each():
    x = torch.ones(3)
    with host.Reads() as reads:
        float(x[0])
        bool(x.sum() > 2)
        x + 1
    assert (reads.any_device, reads.cpu_only) == (2, 0)


def test_lines_of_code_leave_out_comments_blanks_and_docstrings():
    source = '"module"\n\n# comment\nX = 1\n\n@patch\ndef f(self: A):\n    "doc"\n    # why\n    return (\n        1\n    )\n\ndef g():\n    return 2\n'
    assert host.code_lines(source) == 1 + 5 + 2
    assert host.code_lines(host.without(source, 'g')) == 6 and host.code_lines(host.without(source, None, ('A',))) == 3


def test_the_command_names_what_there_is_and_hides_paths(capsys):
    assert command.shown(['C1', '--peers', '/somewhere', '--rounds', '5', '--out', 'x.json']) == 'python -m benchmarks C1 --rounds 5'
    with pytest.raises(SystemExit):
        command.parse(['C9'])
    assert "no row is called 'C9'" in capsys.readouterr().err
    assert command.main([]) == 0
    text = capsys.readouterr().out
    assert all(id in text for id in rows.ROWS)


def test_the_page_shows_the_table_of_the_results():
    "What README.md says is what `python -m benchmarks table` prints."
    report = json.loads((measure.RESULTS / 'rows.json').read_text(encoding='utf-8'))
    page = (measure.RESULTS.parent / 'README.md').read_text(encoding='utf-8')
    assert rows.table(report) in page
    assert all(id in page for id in rows.ROWS)


CHANGES = {  # what stands there -> what a tired author could have written instead
    'x < 3': ('x <= 3', 'x > 3', 'x < 4', 'x < 2'),
    'x is not None': ('x is None',),
    'y in (x)': ('y not in (x)',),
    'x * (y)': ('x / (y)',),
    'x ** y': ('x * y',),
    'x and y or z': ('x or y or z', 'x and y and z'),
    'x if y else z': ('x if not (y) else z',),
    '[v for v in x if v]': ('[v for v in x if not (v)]',),
    'not x': ('x',),
    '-x': ('x',),
    'True': ('False',),
    '0.5': ('1.5', '0.25'),
    'x[y:z]': ('x[y + 1:z]', 'x[y - 1:z]', 'x[y:z + 1]', 'x[y:z - 1]'),
    'f(x, k=y)': ('(x)', 'f(x)'),
    'f(k=y, m=z)': ('f(m=z)', 'f(k=y)'),
    'f(k=y)': ('f()',),
    'x.clamp(y)': ('(y)', 'x'),
    '"{x + 1}"': (),
    'f"{x + 1}"': (),
    'f(help=x + 1)': (),
}  # fmt: skip


@pytest.mark.parametrize('text', CHANGES)
def test_changes_of_an_expression(text):
    found = {change.apply(f'v = {text}') for change in changes.draw(f'v = {text}', 0)}
    assert found == {f'v = {new}' for new in CHANGES[text]}


STATEMENTS = {
    'raise ValueError(f(x) + 1)': ('pass',),
    'x.y = z': ('pass',),
    'x = z': (),
    'x += y': ('pass', 'x -= y'),
    'f(x)': ('pass',),
    'return x + y': ('return x - y', 'return -(x + y)'),
    'break': ('pass',),
    'z: int | float = 3': ('z: int | float = 4', 'z: int | float = 2'),
    'def g(x: int = 3, *, y: "a + b" = True) -> int: return x': (
        'def g(x: int = 4, *, y: "a + b" = True) -> int: return x',
        'def g(x: int = 2, *, y: "a + b" = True) -> int: return x',
        'def g(x: int = 3, *, y: "a + b" = False) -> int: return x',
    ),
    '@f(x, y=1)\n    def g(): "one, 1"': (),
}


@pytest.mark.parametrize('text', STATEMENTS)
def test_changes_of_a_statement(text):
    source = 'for é in x:\n    {}\n'
    found = {change.apply(source.format(text)) for change in changes.draw(source.format(text), 0)}
    assert found == {source.format(new) for new in STATEMENTS[text]}


def test_a_change_knows_its_lines_and_comes_in_the_order_of_its_seed():
    source = 'é = "é"\nif é:\n    y = f(a,\n          1 < 2)\n'
    drawn = [[change.lines(source) for change in changes.draw(source, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and sorted(drawn[0]) == sorted(drawn[2])
    assert ('1 < 2)', '1 <= 2)') in drawn[0] and ('y = f(a,\n          1 < 2)', 'y = (a)') in drawn[0]


@pytest.mark.parametrize('module', mutants.modules())
def test_a_cell_is_changed_as_its_module(module):
    "The first and the last change of each piece of the module reach the cell that it came from."
    source = mutants.modules()[module].read_text(encoding='utf-8')
    found = changes.changes(source)
    chapters = {chapter for *_, chapter, _ in mutants.cells(source)}
    pages = {name: json.loads((mutants.ROOT / 'nbs' / name).read_text(encoding='utf-8'))['cells'] for name in chapters}
    for a, b, chapter, id in mutants.cells(source):
        within = [change for change in found if a <= change.start < b]
        (cell,) = [''.join(c['source']) for c in pages[chapter] if c['id'] == id]
        for change in within[:1] + within[-1:]:
            old, new = change.lines(source)
            assert old in cell and new in mutants.changed_cell(cell, source, a, b, change) != cell


SMALL = {
    'diffbook/__init__.py': '',
    'diffbook/half.py': 'def half(x):\n    return x / 2\n\n\ndef unused(x):\n    return x + y\n\n\ndef endless(n):\n    while n:\n        n = 0\n',
    'tests/test_half.py': 'from diffbook.half import endless, half\n\ndef test_half():\n    assert half(3) == 1.5\n\ndef test_ends():\n    endless(3)\n',
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    "A repository of one module and its tests."
    for name, text in SMALL.items():
        path = tmp_path / 'root' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(mutants, 'ROOT', tmp_path / 'root')
    monkeypatch.setattr(mutants, 'EQUIVALENT', tmp_path / 'equivalent.json')
    mutants.reasons.cache_clear()
    yield tmp_path / 'root'
    mutants.reasons.cache_clear()


@pytest.mark.skipif(sys.platform != 'linux', reason='judges run in forked processes')
def test_who_is_noticed_who_lives_and_who_hangs(small, tmp_path):
    kept, reach = [], mutants.Reach(tmp_path / 'reach.json')
    reach.look(60)
    assert list(reach.seen) == ['tests/test_half.py'] and reach.judges('half', (1, 2), None, 9)[0].keys() == {'tests/test_half.py'}
    found = mutants.judge('half', 0, 0, 1.0, reach, keep=lambda part: kept.append(len(part['mutants'])))
    verdicts = {m['new']: (m['verdict'], m['by']) for m in found['mutants']}
    assert verdicts['return x * 2'] == ('killed', 'tests/test_half.py::test_half')
    assert verdicts['return x - y'] == ('survived', None), 'nobody calls it'
    assert verdicts['n = 1'][0] == 'hung'
    assert kept == list(range(1, len(verdicts) + 1))
    assert mutants.summary('half', found)['tried'] == len(verdicts)

    before = found | {'mutants': found['mutants'][1:]}  # stopped after some: it goes on with the others
    rest = []
    assert len(mutants.judge('half', 0, 0, 1.0, reach, before, keep=rest.append)['mutants']) == len(verdicts) and len(rest) == 1
    (small / 'tests' / 'test_half.py').write_text(
        SMALL['tests/test_half.py'] + '\ndef test_one_more():\n    from diffbook import half\n    half.y = 1\n    assert half.unused(2) == 3\n'
    )
    reach.look(60)
    again = mutants.judge('half', 0, 0, 1.0, reach, found, again=True)
    assert {m['new']: m['verdict'] for m in again['mutants']}['return x - y'] == 'killed', 'a new test notices'

    (small / 'diffbook' / 'half.py').write_text('"A word."\n\n# another\n' + SMALL['diffbook/half.py'])
    assert mutants.overall({'half': found})['of an older version'] == [], 'words do not count'
    (small / 'diffbook' / 'half.py').write_text(SMALL['diffbook/half.py'] + 'one = 1\n')
    assert mutants.overall({'half': found})['of an older version'] == ['half']
    alive = next(m for m in found['mutants'] if m['new'] == 'return x - y')
    (tmp_path / 'equivalent.json').write_text(json.dumps([{'module': 'half', 'old': alive['old'], 'new': alive['new'], 'why': 'nobody asks'}]))
    mutants.reasons.cache_clear()
    assert mutants.summary('half', found)['equivalent'] == 1 and alive not in mutants.survivors('half', found)


def test_the_results_are_of_changes_with_verdicts_and_reasons():
    report = mutants.read_results()
    for module, part in report.items():
        verdicts = {(m['verdict'], m['by'] is None) for m in part['mutants']}
        assert verdicts and verdicts <= {('killed', False), ('hung', False), ('survived', True)}, module
    assert all(why.strip() for why in mutants.reasons().values())


def test_students_side_by_side_share_nothing():
    "Each row is answered by the network of its own seed, as if it stood alone."
    from diffbook.consistency import Perceptron
    from diffbook.core import Cond

    net, x, level, told = (
        students.SideBySide((3, 4), cond_dim=1),
        torch.randn(6, 1, generator=torch.Generator().manual_seed(0)),
        torch.arange(6.0),
        torch.ones(6, 1),
    )
    for k, weight in enumerate(net.weights):
        weight.data += 0.01 * k  # the last layer is zero at the start
    alone = []
    for k in range(2):
        one = Perceptron(cond_dim=1)
        for layer, weight, bias in zip((part for part in one.layers if hasattr(part, 'weight')), net.weights, net.biases, strict=True):
            layer.weight.data, layer.bias.data = weight.data[k].mT, bias.data[k, 0]
        alone.append(one(x[3 * k : 3 * k + 3], level[3 * k : 3 * k + 3], Cond(vec=told[:3])))
    torch.testing.assert_close(net(x, level, Cond(vec=told)), torch.cat(alone))
    assert not torch.equal(net.weights[0][0], net.weights[0][1])


@pytest.mark.parametrize('layer', [family_nets.Spread(), family_nets.Squeeze()])
def test_the_ends_of_the_flow_of_pictures_know_their_determinant(layer):
    x = 2 * torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    z, log_det = layer(x)
    whole = torch.stack([torch.autograd.functional.jacobian(lambda v: layer(v[None])[0].flatten(), row).reshape(16, 16) for row in x])
    torch.testing.assert_close(log_det, torch.linalg.slogdet(whole).logabsdet)
    torch.testing.assert_close(layer.inverse(z), x)


def test_the_autoregression_of_points_is_a_density_and_draws_from_it():
    "Its volume is one; of 20,000 draws the share right of zero is within four standard errors."
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)
        model = family_nets.TwoSteps(8, 2)
    side = torch.arange(-20, 20, 0.1) + 0.05
    with torch.no_grad():
        p = model.log_prob(torch.cartesian_prod(side, side)).exp().reshape(400, 400) * 0.01
        drawn = model.draw(20_000, torch.Generator().manual_seed(0))
    assert p.sum().item() == pytest.approx(1, abs=2e-3)
    assert (drawn[:, 1] > 0).float().mean().item() == pytest.approx(p[:, 200:].sum().item(), abs=0.015)


def test_every_family_trains_and_draws():
    "Two updates of each, of points and of pictures; a GAN's two parts take turns."
    data = torch.randint(256, (8, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for name in family.FAMILIES:
        for make, batch, shape in ((family_nets.points, torch.randn(8, 2), (2,)), (family_nets.pictures, data, (1, 28, 28))):
            member, row = family.train(make, name, 0, 0.0, iter([batch] * 20), 2)
            assert row['updates'] == 2 and all(p.isfinite().all() for p in member.model.parameters())
            if name not in ('autoregression', 'diffusion') or shape == (2,):
                assert family.timed(member, 3, torch.Generator().manual_seed(0))[0].shape == (3, *shape)


# --- the speedrun


class Zero(torch.nn.Module):
    def forward(self, x, t):
        return torch.zeros_like(x)


@pytest.mark.parametrize('t', [0.02, 0.3, 0.7, 0.99])
def test_a_network_that_says_nothing_beside_a_gaussian_is_the_gaussians_own_denoiser(t):
    from benchmarks.speedrun.gauss import BesideGauss

    images = torch.randint(0, 256, (300, 1, 4, 4), dtype=torch.uint8, generator=generator(0, 'beside'))
    x, schedule = to_model(images).flatten(1).double(), CosineSchedule()
    law = GaussianMixture(torch.ones(1).double(), x.mean(0)[None], x.T.cov()[None])
    y, at = torch.randn(5, 1, 4, 4, generator=generator(1, 'beside')), torch.tensor(t, dtype=torch.float64)
    want = law.denoise(schedule)(y.double().flatten(1), at, None).view_as(y)
    got = Denoiser(BesideGauss(Zero(), images), schedule, predict_v)(y, at)
    assert (got - want).abs().max() < 2e-6


def test_rates_rise_and_fall_as_they_say():
    from benchmarks.speedrun.plans import WARM, halfwave, level, straight

    for rate in (halfwave, level, straight):
        assert rate(0.0) == 0 and rate(WARM / 2) == pytest.approx(0.5, rel=0.02) and 0.95 < rate(WARM) <= 1
    assert (halfwave(1.0), level(1.0), straight(1.0)) == (pytest.approx(0), 1, 0)
    assert straight(0.75) == 0.25 and halfwave(0.75) == pytest.approx((1 - 2**-0.5) / 2)


@pytest.fixture
def speedrun(monkeypatch, tmp_path):
    "The command on a hundred small pictures, with a judge who gives marks for the mean."
    from benchmarks.speedrun import __main__ as command
    from benchmarks.speedrun import rule

    found = Dataset(torch.randint(0, 256, (100, 1, 28, 28), dtype=torch.uint8, generator=generator(0, 'speedrun')))
    monkeypatch.setattr(command, 'load_data', lambda *a: found)
    monkeypatch.setattr(rule, 'distance', lambda pictures: round(pictures.double().mean().item(), 3))
    monkeypatch.setattr(rule, 'floor', lambda: 0.125)
    monkeypatch.setattr(rule, 'N', 4)
    ticking = lambda seconds: partial(lambda ticks: next(ticks) / 4, itertools.count())  # four looks at the clock, and the time is over
    monkeypatch.setattr(rule, 'Budget', ticking)
    folder = tmp_path / 'runs'
    return lambda *words: command.main([*map(str, words), '--folder', str(folder), '--out', str(tmp_path / 'out.json')]), folder, tmp_path / 'out.json'


ENTRY = """
from benchmarks.speedrun.plans import Plan
from diffbook.nets.unet import UNet

PLAN = Plan(lambda images: UNet(1, channels=(8, 8), blocks=(1, 1), heads=(0, 0, 0)), batch=4, muon={})
WALK = 'ddim:2:uniform'
"""
OWN = """
import torch

def train(images, spent, seed):
    begun, n = spent(), 0
    while spent() < 1:
        n += 1
    return lambda count: torch.full((count, 1, 28, 28), seed, dtype=torch.uint8), {'images': n, 'updates': n}
"""


@pytest.mark.parametrize('muon', [False, True])
def test_an_entry_is_a_file_with_a_plan(speedrun, tmp_path, muon):
    run, folder, out = speedrun
    (tmp_path / 'mine.py').write_text(ENTRY.format(muon))
    run('run', tmp_path / 'mine.py', '--seconds', 0.5, '--seeds', 3)
    row = json.loads((folder / 'mine-0.5-1-3.json').read_text())
    assert row['seed'] == 3 and row['seconds'] == 0.5 and row['images'] == 4 * row['updates']
    assert row['updates'] == 4 and row['calls'] == 2 and list(row['distance']) == ['ddim:2:uniform']
    before = (folder / 'mine-0.5-1-3.json').stat().st_mtime_ns
    run('run', tmp_path / 'mine.py', '--seconds', 0.5, '--seeds', 3)  # what stands there is not made again
    run('walks', tmp_path / 'mine.py', '--seconds', 0.5, '--seeds', 3, '--walk', 'ddim:2:uniform')
    assert (folder / 'mine-0.5-1-3.json').stat().st_mtime_ns == before
    run('walks', tmp_path / 'mine.py', '--seconds', 0.5, '--seeds', 3, '--walk', 'heun:2:uniform')
    assert list(json.loads((folder / 'mine-0.5-1-3.json').read_text())['distance']) == ['ddim:2:uniform', 'heun:2:uniform']
    assert json.loads((folder / 'mine-0.5-1-3.json').read_text())['judged'] == {'ddim:2:uniform': 4, 'heun:2:uniform': 4}


def test_the_same_seed_and_number_of_updates_is_the_same_model(monkeypatch):
    from benchmarks.speedrun.plans import Plan, train
    from diffbook.nets.unet import UNet

    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=generator(0, 'speedrun'))
    plan = Plan(lambda images: UNet(1, channels=(8, 8), blocks=(1, 1), heads=(0, 0, 0)), batch=4, muon=True)

    def weights(seed):
        clock = iter(k / 6 for k in range(9))
        model, about = train(plan, images, lambda: next(clock), seed)
        assert about['updates'] == 6
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(weights(0), weights(0)) and not torch.equal(weights(0), weights(1))


def test_an_entry_is_a_file_with_a_function(speedrun, tmp_path):
    run, folder, out = speedrun
    (tmp_path / 'own.py').write_text(OWN)
    run('run', tmp_path / 'own.py', '--seconds', 0.2, '--seeds', 5, 6)
    run('collect')
    found = json.loads(out.read_text())
    assert found['floor'] == 0.125 and [(row['entry'], row['seed'], row['distance']) for row in found['runs']] == [
        (str(tmp_path / 'own.py'), 5, {'own': 5.0}),
        (str(tmp_path / 'own.py'), 6, {'own': 6.0}),
    ]


def test_the_sweep_goes_on_with_the_best(speedrun, monkeypatch):
    "Two minutes at every rate, then each width at its best rate, then the better width: distances are told by hand."
    from benchmarks.speedrun import __main__ as command
    from benchmarks.speedrun import others

    marks = {(16, 1e-3): 9, (16, 2e-3): 7, (16, 4e-3): 8, (32, 1e-3): 10, (32, 2e-3): 12, (32, 4e-3): 13}
    made, walked = [], []

    def told(args, book, name, seconds, seed, n=4):
        _, width, rate = name.rsplit('-', 2)
        made.append((int(width), float(rate), seconds))
        return {'distance': {'x': marks[int(width), float(rate)] - 5 * (int(width) == 32 and seconds > 120)}}

    monkeypatch.setattr(command, 'run', told)
    monkeypatch.setattr(command, 'walks', lambda args, book, name, seconds, seed, chosen: walked.append((name, chosen)))
    speedrun[0]('sweep', '--only', 'diffusers')
    assert [m for m in dict.fromkeys(made) if m[2] > 120] == [(16, 2e-3, 480), (32, 1e-3, 480), (32, 1e-3, 1800)]
    assert walked == [('diffusers-32-0.001', others.WALKS)]


@pytest.mark.parametrize(
    'words, said',
    [
        (('run',), 'run needs an entry'),
        (('run', 'nobody'), "entry is 'nobody', expected a file, one of usual"),
        (('run', 'no.py'), 'no.py is no file'),
        (('walks', 'recipe'), 'recipe was not run for 300'),
    ],
)
def test_what_is_no_entry(speedrun, capsys, words, said):
    with pytest.raises(SystemExit) as stop:
        speedrun[0](*words)
    assert said in f'{stop.value}{capsys.readouterr().err}'
