"""Training: updates against closed forms, resuming bit for bit, and files that survive kills, full disks and flipped bits."""

import contextlib
import copy
import errno
import hashlib
import importlib
import json
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import OrderedDict, UserDict, defaultdict
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save as tensor_bytes
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from diffbook import training
from diffbook.core import REGISTRY, Cond, map_batch, register, uniform
from diffbook.data import batches
from diffbook.devices import to_device
from diffbook.losses import Denoiser
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.scale import in_parts
from diffbook.schedules import CosineSchedule, DiscreteSchedule, linear_betas
from diffbook.store import files
from diffbook.store.checkpoints import read_checkpoint
from diffbook.store.files import write_whole
from diffbook.training import (
    EMA,
    Trainer,
    checkpoints,
    ema_decay,
    learning_rate,
    load,
    read_model,
    save,
)

DATA = uniform(0, 'test data', 0, range(24), (3,)).float()
STEPS = 18  # three epochs of 24 examples in batches of 4


class Net(nn.Module):
    "A network with everything that a checkpoint can lose: dropout, running statistics, an integer buffer, tied weights."

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.again = nn.Linear(3, 6, bias=False)
        self.again.weight = self.first.weight

    def forward(self, x, branch=False):
        h = nn.functional.dropout(torch.tanh(self.norm(self.first(x))), 0.2, self.training)
        return self.last(h + self.again(x))


class Branched(Net):
    "And weights that a gradient reaches seldom, never, or must not reach."

    def __init__(self):
        super().__init__()
        self.seldom, self.never, self.frozen = nn.Linear(3, 3), nn.Linear(3, 2), nn.Linear(3, 3).requires_grad_(False)

    def forward(self, x, branch=False):
        return super().forward(x) + self.frozen(x) + (self.seldom(x) if branch else 0)


def loss(net, x, generator):
    noise, branch = torch.randn(x.shape, generator=generator), generator.initial_seed() % 5 == 0
    return (net(x + 0.3 * noise, branch) - noise).square().mean(1)


def make(kind=Branched, **settings):
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        net = kind()
    return Trainer(net, loss, **{'warmup': 5, 'total': STEPS, 'seed': 7, 'device': 'cpu', 'ema': 0.9} | settings)


def go(trainer, until=STEPS, **options):
    stream = batches(DATA, 4, trainer.seed, trainer.step)
    return list(trainer.fit(islice(stream, until - trainer.step), **options))


def bits(trainer):
    "Everything that the next update depends on, as bytes in a canonical order."
    state = trainer._state()
    return hashlib.sha256(
        b''.join(k.encode() + state[k].detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for k in sorted(state))
    ).hexdigest()


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "An undisturbed run that saved a checkpoint after each update: folder by step, and the state by step."
    root, trainer, states = tmp_path_factory.mktemp('run'), make(), {}
    stream = batches(DATA, 4, trainer.seed)
    for step in range(STEPS + 1):
        trainer.save(root / str(step))
        states[step] = bits(trainer)
        if step < STEPS:
            trainer.update(next(stream))
    return root, states


# Resuming


def test_the_run_meets_what_it_is_for(run):
    "Of 18 updates the rare branch is met in some, first after the fourth; moments are there for what was reached, and for nothing else."
    moments = [{k.split('.')[2] for k in read_checkpoint(checkpoints(run[0] / str(step))[0])[1] if k.startswith('optimizer')} for step in (0, 4, STEPS)]
    assert moments == [set(), {'first', 'norm', 'last', 'again'} - {'again'}, {'first', 'norm', 'last', 'seldom'}]


@pytest.mark.parametrize('step', range(STEPS + 1))
def test_resume_at_every_step(run, step):
    root, states = run
    trainer = make(seed=7)
    assert trainer.resume(root / str(step))
    assert (trainer.step, bits(trainer)) == (step, states[step])
    go(trainer)
    assert bits(trainer) == states[STEPS]


def lose_average(trainer):
    trainer.ema = EMA(trainer.model, trainer.settings['ema'])


def lose_step(trainer):
    trainer.step = 0


def lose_seed(trainer):
    trainer.seed = 0


def lose_weights(trainer):
    trainer.model.load_state_dict(make().model.state_dict())


def lose_buffers(trainer):
    trainer.model.norm.reset_running_stats()


LOSSES = {
    'weights': lose_weights,
    'buffers': lose_buffers,
    'average': lose_average,
    'optimizer': lambda trainer: trainer.optimizer.state.clear(),
    'moments': lambda trainer: [s['exp_avg_sq'].zero_() for s in trainer.optimizer.state.values()],
    'optimizer step': lambda trainer: [s['step'].zero_() for s in trainer.optimizer.state.values()],
    'step': lose_step,
    'seed': lose_seed,
}


@pytest.mark.parametrize('part', LOSSES)
def test_losing_a_part_is_noticed(run, part):
    "The negative controls: a resume that forgets one thing must end elsewhere."
    root, states = run
    trainer = make()
    trainer.resume(root / '9')
    LOSSES[part](trainer)
    stream = batches(DATA, 4, trainer.seed, trainer.step)
    for batch in islice(stream, STEPS - 9):
        trainer.update(batch)
    trainer.step = STEPS
    assert bits(trainer) != states[STEPS]


def test_losing_the_order_of_the_data_is_noticed(run):
    root, states = run
    trainer = make()
    trainer.resume(root / '9')
    list(trainer.fit(islice(batches(DATA, 4, trainer.seed), STEPS - 9)))
    assert bits(trainer) != states[STEPS]


def test_losing_the_seed_of_dropout_is_noticed(run, monkeypatch):
    root, states = run
    monkeypatch.setattr(training, 'seeded', lambda *_: contextlib.nullcontext())
    trainer = make()
    trainer.resume(root / '9')
    go(trainer)
    assert bits(trainer) != states[STEPS]


def test_the_file_decides_the_seed(run):
    trainer = make(seed=0)
    trainer.resume(run[0] / '9')
    assert trainer.seed == 7
    go(trainer)
    assert bits(trainer) == run[1][STEPS]


def test_saving_does_not_change_the_run(run, tmp_path):
    for every in (1, 4, 100):
        trainer = make()
        trace = [s.loss.item() for s in go(trainer, folder=tmp_path / str(every), every=every)]
        assert bits(trainer) == run[1][STEPS]
        assert len(trace) == STEPS and len(checkpoints(tmp_path / str(every))) == min(2, 1 + (STEPS - 1) // every)


def test_global_randomness_is_given_back():
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    go(make(), 3)
    assert torch.equal(torch.rand(3), want)


def test_other_settings_are_refused(run):
    others = {'lr': 2e-3, 'total': None, 'warmup': 6, 'ema': 0.99, 'clip': None, 'weight_decay': 0.1, 'betas': (0.9, 0.999), 'bf16': True}
    assert others.keys() | {'trained', 'optimizer'} == make().settings.keys()  # another optimizer: test_speedrun
    for name, value in others.items():
        with pytest.raises(ValueError, match=f'{name} is .*a run continues'):
            make(**{name: value}).resume(run[0] / '3')


@pytest.mark.parametrize(
    'name, value', [('lr', 2e-3), ('total', 2 * STEPS), ('warmup', 9), ('ema', 0.5), ('clip', 1e-3), ('weight_decay', 0.5), ('betas', (0.5, 0.9))]
)
def test_a_setting_changes_from_here_on_if_that_is_said(run, name, value):
    "And with that alone: the rate is that of the new setting at this step, and a checkpoint holds the new value."
    trainer, plain = make(**{name: value}), make()
    assert trainer.resume(run[0] / '12', change=[name]) and plain.resume(run[0] / '12')
    assert bits(trainer) == run[1][12]
    told = {'lr': 1e-3, 'warmup': 5, 'total': STEPS} | ({name: value} if name in ('lr', 'warmup', 'total') else {})
    got = go(trainer)
    assert [step.lr for step in got] == [learning_rate(n, told['lr'], told['warmup'], told['total']) for n in range(12, STEPS)]
    go(plain)
    assert bits(trainer) != bits(plain) == run[1][STEPS]


KEPT = Path(__file__).parent / 'kept' / '0.1.0'


def test_a_checkpoint_of_an_older_version_opens(tmp_path):
    "It does not say what was trained and in how many bits; one that says half of that is no older one."
    trainer = make(Net)
    assert trainer.resume(KEPT) and trainer.step == 9
    go(trainer)
    (path,) = checkpoints(KEPT)
    header, tensors = read_checkpoint(path)
    header['settings']['bf16'] = False
    data = tensor_bytes(tensors, {'diffbook': json.dumps(header)})
    (tmp_path / f'step-000000009-{hashlib.sha256(data).hexdigest()[:32]}.safetensors').write_bytes(data)
    with pytest.raises(ValueError, match='trained is .*, and None in'):
        make(Net).resume(tmp_path)


def test_what_is_trained_is_a_setting(run):
    trainer = make()
    trainer.model.seldom.requires_grad_(False)
    other = Trainer(trainer.model, loss, warmup=5, total=STEPS, seed=7, device='cpu', ema=0.9)
    with pytest.raises(ValueError, match='trained is .*, and .* in .*: a run continues'):
        other.resume(run[0] / '17')
    assert other.resume(run[0] / '17', change=['trained'])
    seldom = [p.clone() for p in other.model.seldom.parameters()]
    go(other)
    assert all(map(torch.equal, seldom, other.model.seldom.parameters()))
    with pytest.raises(ValueError, match="change holds 'rate', expected some of lr, total"):
        make().resume(run[0] / '3', change=['rate'])


def test_resume_without_a_run(tmp_path):
    assert make().resume(tmp_path) is False
    assert make().resume(tmp_path / 'nowhere') is False


# Updates


def test_update_is_adamw_on_the_clipped_gradient():
    "One update with everything on, against autograd and the formulas by hand, in float64."
    torch.manual_seed(0)
    net = nn.Linear(3, 2).double()
    start = [p.detach().clone() for p in net.parameters()]
    trainer = Trainer(net, lambda m, x, g: m(x).square().sum(1), lr=0.1, warmup=3, clip=0.5, weight_decay=0.2, ema=0.9, device='cpu')
    x = DATA[:4].double()
    reported = trainer.update(x)
    weight, bias = (p.clone().requires_grad_() for p in start)
    value = (x @ weight.T + bias).square().sum(1).mean()
    gradients = torch.autograd.grad(value, (weight, bias))
    norm = torch.sqrt(sum(g.square().sum() for g in gradients))
    lr = 0.1 / 4
    for before, after, g, average in zip(start, net.parameters(), gradients, trainer.ema.model.parameters()):
        g = g * min(1, 0.5 / norm.item())
        want = before * (1 - lr * 0.2) - lr * g / (g.abs() + 1e-8)
        torch.testing.assert_close(after.detach(), want, rtol=0, atol=1e-9)  # torch adds 1e-6 to the norm
        torch.testing.assert_close(average, 0.1 * before + 0.9 * after.detach(), rtol=1e-12, atol=0)
    assert (reported.step, reported.lr) == (1, lr)
    torch.testing.assert_close(reported.loss, value.detach())
    torch.testing.assert_close(reported.grad_norm, norm)
    assert not reported.loss.requires_grad


def test_many_updates_equal_a_loop_of_torch_tools():
    "Rate, clipping, moments and average over 12 updates, against PyTorch's own unfused optimizer and clipping, in float64."
    torch.manual_seed(0)
    net = nn.Linear(3, 3).double()
    plain, average = copy.deepcopy(net), copy.deepcopy(net)
    value = lambda m, x, g: 10 * x[:, 0] ** 4 * (m(x) - 1).square().sum(1)  # noqa: E731
    trainer = Trainer(net, value, lr=0.05, warmup=4, total=12, clip=2.0, ema=0.8, device='cpu')
    optimizer = torch.optim.AdamW(plain.parameters(), betas=(0.9, 0.99), weight_decay=0.0, fused=False, foreach=False)
    norms = []
    for n, x in enumerate(islice(batches(DATA.double(), 4), 12)):
        trainer.update(x)
        optimizer.param_groups[0]['lr'] = 0.05 * min(1, (n + 1) / 5) * (1 + math.cos(math.pi * max(0, n - 4) / 8)) / 2
        optimizer.zero_grad()
        value(plain, x, None).mean().backward()
        norms.append(nn.utils.clip_grad_norm_(plain.parameters(), 2.0).item())
        optimizer.step()
        d = min(0.8, (1 + n) / (10 + n))
        for a, p in zip(average.parameters(), plain.parameters()):
            a.data = d * a.data + (1 - d) * p.data
        for got, want in zip([*net.parameters(), *trainer.ema.model.parameters()], [*plain.parameters(), *average.parameters()]):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)  # torch adds 1e-6 to the norm
    assert min(norms) < 2 < max(norms), 'both kinds of gradient, long and short, were met'


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize(
    'options', [{'betas': (0.5, 0.9)}, {'betas': (0.9, 0.999), 'weight_decay': 0.3}, {'clip': None}, {'clip': 0.01}, {'lr': 0.3, 'warmup': 0}, {'ema': 0.2}]
)
def test_each_setting_is_that_of_torch(options, fused):
    "Five updates with other settings than the defaults, against PyTorch's own loop with the same; the defaults end elsewhere."
    told = {'lr': 0.05, 'warmup': 2, 'betas': (0.9, 0.99), 'weight_decay': 0.0, 'clip': 1.0, 'ema': 0.999} | options
    torch.manual_seed(0)
    net = nn.Linear(3, 3).double()
    plain, average, other = copy.deepcopy(net), copy.deepcopy(net), copy.deepcopy(net)
    value = lambda m, x, g: 10 * x[:, 0] ** 4 * (m(x) - 1).square().sum(1)  # noqa: E731  # short gradients and long ones
    trainer, usual = Trainer(net, value, device='cpu', fused=fused, **told), Trainer(other, value, lr=0.05, warmup=2, device='cpu')
    optimizer = torch.optim.AdamW(plain.parameters(), betas=told['betas'], weight_decay=told['weight_decay'], foreach=False)
    for n, x in enumerate(islice(batches(DATA.double(), 4), 5)):
        trainer.update(x), usual.update(x)
        optimizer.param_groups[0]['lr'] = told['lr'] * min(1, (n + 1) / (told['warmup'] + 1))
        optimizer.zero_grad()
        value(plain, x, None).mean().backward()
        nn.utils.clip_grad_norm_(plain.parameters(), told['clip'] or math.inf)
        optimizer.step()
        for a, p in zip(average.parameters(), plain.parameters()):
            a.data.lerp_(p.data, 1 - min(told['ema'], (1 + n) / (10 + n)))
    ours, theirs = [*net.parameters(), *trainer.ema.model.parameters()], [*plain.parameters(), *average.parameters()]
    for got, want in zip(ours, theirs):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * told['lr'])  # torch adds 1e-6 to the norm
    assert max((a - b).abs().max() for a, b in zip(ours, [*other.parameters(), *usual.ema.model.parameters()])) > 1e-3


def test_warm_decides_how_fast_the_start_is_forgotten():
    "The share of the untrained weights after n updates is a product, here by hand; warm=1 is constant decay."
    for decay, warm in ((0.99, 1.0), (0.99, 10.0), (0.99, 50.0), (0.5, 10.0)):
        net = nn.Linear(1, 1, bias=False).double()
        nn.init.ones_(net.weight)
        average = EMA(net, decay, warm)
        nn.init.zeros_(net.weight)
        share = 1.0
        for n in range(30):
            average.update(net, n)
            share *= decay if warm == 1 else min(decay, (1 + n) / (warm + n))
        torch.testing.assert_close(average.model.weight.item(), share, rtol=1e-12, atol=0)


def test_models_train_in_training_mode_and_are_averaged_in_the_other():
    "Also after somebody has drawn from the model in between: dropout is on in every update, and off in the average."
    modes = []

    def look(net, x, generator):
        modes.append(net.training)
        return loss(net, x, generator)

    trainer = make()
    trainer._forward = look
    for x in islice(batches(DATA, 4), 3):
        trainer.model.eval()
        trainer.update(x)
    assert modes == [True] * 3 and not any(m.training for m in trainer.ema.model.modules())


def test_switches_reach_what_they_switch(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, 'compile', lambda f: compiled.append(f) or f)
    for value in (False, True):
        net, seen = nn.Conv2d(2, 3, 3), []
        trainer = Trainer(net, lambda m, x, g: (seen.append(x), m(x).square().mean())[1], device='cpu', channels_last=value, fused=value, compile=value)
        trainer.update(torch.zeros(1, 2, 4, 4))
        last = (net.weight.is_contiguous(memory_format=torch.channels_last), seen[0].is_contiguous(memory_format=torch.channels_last))
        assert last == (value, value) and trainer.optimizer.defaults['fused'] is value and len(compiled) == value


@pytest.mark.parametrize('every, looks', [(1, 6), (3, 2)])
def test_check_every_says_how_often_the_host_looks(monkeypatch, every, looks):
    read = []
    monkeypatch.setattr(Trainer, '_raise_if_broken', lambda self: read.append(self.step))
    trainer = make(check_every=every)
    with CountWaits() as count:
        for x in islice(batches(DATA, 4), 6):
            trainer.update(x)
    assert count.waits >= looks if every == 1 else read == [0, 3]


def test_every_update_draws_its_own_noise():
    seen = []

    def look(net, x, generator):
        seen.append((torch.rand((), generator=generator).item(), torch.rand(()).item()))
        return net(x).square().mean(1)

    for seed in (0, 1):
        trainer = Trainer(nn.Linear(3, 1), look, seed=seed, device='cpu')
        for _ in range(5):
            trainer.update(DATA[:2])
    assert len({value for pair in seen for value in pair}) == 20


def test_decay_and_rate_are_bounded_and_monotone():
    decays = [ema_decay(n) for n in range(20_000)]
    assert decays[0] == 0.1 and decays[-1] == 0.999 and decays == sorted(decays)
    rates = [learning_rate(n, 1.0, 10, 100) for n in range(120)]
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[10] == 1.0 and rates[100] == 0.0 and min(rates[:100]) > 0


def test_average_of_a_constant_is_constant_and_linear_in_the_path():
    net = nn.Linear(2, 2).double()
    average = EMA(net, 0.99)
    for n in range(50):
        average.update(net, n)
    torch.testing.assert_close(average.model.weight, net.weight.detach(), rtol=1e-15, atol=0)
    with torch.no_grad():
        net.weight += 1
    before = average.model.weight.clone()
    average.update(net, 50)
    share = 1 - ema_decay(50, 0.99)
    torch.testing.assert_close(average.model.weight, before + share, rtol=1e-14, atol=1e-14)


def test_average_equals_torch_swa_with_buffers():
    "AveragedModel copies its model at its first call, so it starts one update later."
    torch.manual_seed(0)
    net = Net()
    mine = EMA(net, 0.9, warm=1)
    theirs = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(net)
    for n in range(7):
        net(torch.randn(5, 3))
        for p in net.parameters():
            p.data += torch.randn_like(p)
        mine.update(net, n)
        theirs.update_parameters(net)
    for a, b in zip(mine.model.state_dict().values(), theirs.module.state_dict().values()):
        assert torch.equal(a, b)
    assert mine.model.norm.num_batches_tracked == 7 and not mine.model.training


@pytest.mark.parametrize('kinds', [(torch.bfloat16,), (torch.float16,), (torch.float32, torch.bfloat16), (torch.float64,)])
def test_the_average_of_a_narrow_model_arrives(kinds):
    "5,000 updates towards weights that stand still, from far and from near, against the closed form of the sum."
    net = nn.ModuleList([nn.Linear(1, 3, bias=False).to(kind) for kind in kinds for _ in range(2)])
    starts, goal = [1.0, 1.49] * len(kinds), 1.5
    for part, start in zip(net, starts):
        nn.init.constant_(part.weight, start)
    starts = [part.weight[0].double().item() for part in net]  # as the kind can hold them
    average = EMA(net, 0.999, 1.0)
    for p in net.parameters():
        nn.init.constant_(p, goal)
    for step in range(5000):
        average.update(net, step)
    for (name, kept), start in zip(average.model.named_parameters(), starts):
        want = goal - (goal - start) * 0.999**5000
        exact = average.exact.get(name, kept)
        assert exact.dtype == (kept.dtype if kept.element_size() > 2 else torch.float32) and kept.dtype in kinds
        torch.testing.assert_close(exact.double(), torch.full((3, 1), want, dtype=torch.float64), rtol=3e-5, atol=0)  # 5,000 roundings of float32
        assert torch.equal(kept, exact.to(kept.dtype))


@pytest.mark.parametrize('kind', [torch.bfloat16, torch.float16])
def test_a_narrow_model_resumes_with_its_exact_average(tmp_path, kind):
    def begin():
        torch.manual_seed(2)
        value = lambda m, x, g: (m.b(m.a(x.to(kind))) - 1).square().mean(1)  # noqa: E731
        return Trainer(Small(3).to(kind), value, lr=0.1, warmup=0, device='cpu', ema=0.999, seed=7)

    whole, first, second = begin(), begin(), begin()
    go(whole)
    go(first, 9, folder=tmp_path)
    assert second.resume(tmp_path) and second.ema.exact.keys() == {'a.weight', 'a.bias', 'b.weight', 'b.bias'}
    go(second)
    assert bits(second) == bits(whole)
    save(tmp_path / 'published', second.ema.model)
    assert {v.dtype for v in read_model(tmp_path / 'published')[1].values()} == {kind}


def test_bf16_keeps_the_weights_in_float32():
    exact, rounded = make(), make(bf16=True)
    a, b = (torch.stack([s.loss for s in go(t)]) for t in (exact, rounded))
    assert {v.dtype for v in rounded._state().values()} <= {torch.float32, torch.int64}
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, rtol=0.02, atol=0.02)


@pytest.mark.parametrize('switch', [{'fused': False}, {'channels_last': False}, {'check_every': 5}])
def test_switches_do_not_change_what_is_learned(run, switch):
    trainer, plain = make(**switch), make()
    a, b = (torch.stack([s.loss for s in go(t)]) for t in (trainer, plain))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


class Named(NamedTuple):
    x: torch.Tensor
    more: Any


@dataclass
class Plain:
    x: torch.Tensor
    more: Any
    size: tuple = (3, 8)


@dataclass(frozen=True, slots=True)
class Frozen:
    x: torch.Tensor
    more: Any
    doubled: Any = field(init=False, default=None)

    def __post_init__(self):
        object.__setattr__(self, 'doubled', 2 * self.x)


class Attributes(UserDict):
    x = property(lambda self: self['x'])
    more = property(lambda self: self['more'])


X, Y, WORDS = uniform(0, 'x', 0, range(8), (3,)), uniform(0, 'y', 0, range(8), (1,)), [f'caption {i}' for i in range(8)]
BATCHES = {  # a batch of eight, how to get x, y, the captions and the ragged things of each example
    'tuple': (X, (Y, WORDS)), 'list': [X, [Y, WORDS]], 'named tuple': Named(X, (Y, WORDS)), 'data class': Plain(X, (Y, WORDS)),
    'frozen data class': Frozen(X, [Y, tuple(WORDS)]), 'mapping': {'x': X, 'more': (Y, WORDS)}, 'ordered': OrderedDict(x=X, more=(Y, WORDS)),
    'own mapping': Attributes(x=X, more=[Y, WORDS]), 'with default': defaultdict(list, x=X, more=(Y, WORDS)),
    'nested': Named(X, Plain(Y, {'words': WORDS, 'n': 8, 'none': None})), 'condition': (X, Cond(vec=Y)),
    'ragged': (X, (Y, [[i] * i for i in range(8)])), 'read only': MappingProxyType({'x': X, 'more': (Y, WORDS)}),
}  # fmt: skip


def flat(batch):
    "The tensors and plain things of a batch, without our own walk of it."
    if isinstance(batch, (torch.Tensor, str, int, type(None))):
        return [batch]
    if isinstance(batch, Cond):
        return [batch.vec]
    values = batch.values() if isinstance(batch, (dict, UserDict, MappingProxyType)) else [getattr(batch, k) for k in batch.__dataclass_fields__] if hasattr(batch, '__dataclass_fields__') else batch  # fmt: skip
    return sum((flat(v) for v in values), [])


@pytest.mark.parametrize('parts', [1, 3, 8])
@pytest.mark.parametrize('name', BATCHES)
def test_batches_of_any_kind_reach_the_loss(name, parts):
    "Whole or in parts: of the same kind, each example once, with all that belongs to it; and the gradient is that of plain tensors."
    seen = []

    def squared(net, batch, generator):
        seen.append(batch)
        tensors = [v for v in flat(batch) if isinstance(v, torch.Tensor)]
        return (net(tensors[0]) - tensors[1]).square().mean(1)

    nets = [nn.Linear(3, 1).double() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    Trainer(nets[0], squared, device='cpu', backward=in_parts(parts))._backward(BATCHES[name])
    (nets[1](X) - Y).square().mean().backward()
    torch.testing.assert_close(nets[0].weight.grad, nets[1].weight.grad, rtol=1e-13, atol=1e-15)
    assert len(seen) == parts
    if parts > 1:
        kind = {'read only': dict}.get(name, type(BATCHES[name]))
        assert all(type(part) is kind for part in seen)
        for whole, *pieces in zip(flat_rows(BATCHES[name]), *map(flat_rows, seen)):
            if isinstance(whole, torch.Tensor):
                assert torch.equal(torch.cat(pieces), whole)
            else:
                assert sum(map(list, pieces), []) == list(whole) if len(whole) == 8 else all(piece == whole for piece in pieces)


def flat_rows(batch):
    "The columns of a batch: tensors, and lists and tuples without any."
    if isinstance(batch, (list, tuple)) and not any(isinstance(v, torch.Tensor) for v in flat(batch)):
        return [batch]
    if isinstance(batch, (torch.Tensor, str, int, type(None), Cond)):
        return [batch.vec if isinstance(batch, Cond) else batch] if isinstance(batch, (torch.Tensor, Cond)) else []
    values = batch.values() if isinstance(batch, (dict, UserDict, MappingProxyType)) else [getattr(batch, k) for k in batch.__dataclass_fields__] if hasattr(batch, '__dataclass_fields__') else batch  # fmt: skip
    return sum((flat_rows(v) for v in values), [])


@pytest.mark.parametrize('name', BATCHES)
def test_batches_of_any_kind_are_moved_to_the_device(name):
    moved = flat(to_device(BATCHES[name], 'meta'))  # a device that is always there
    assert len(moved) == len(flat(BATCHES[name]))
    for after, before in zip(moved, flat(BATCHES[name])):
        assert after.device.type == 'meta' and after.shape == before.shape if isinstance(before, torch.Tensor) else after == before


@pytest.mark.parametrize(
    'name, where',
    [
        ('tuple', r'batch\[1\]\[0\]'),
        ('named tuple', r'batch\.more\[0\]'),
        ('frozen data class', r'batch\.more\[0\]'),
        ('mapping', r"batch\['more'\]\[0\]"),
        ('condition', r'batch\[1\]\.vec'),
    ],
)
def test_a_broken_number_in_a_batch_of_any_kind_is_named(name, where):
    trainer = Trainer(nn.Linear(3, 1).double(), lambda net, batch, g: net(X).mean() + math.nan, device='cpu')
    spoilt = map_batch(lambda v: torch.full_like(v, math.nan) if v is Y else v, BATCHES[name])
    with pytest.raises(FloatingPointError, match=f'{where} holds nan in 8 of 8'):
        trainer.update(spoilt)


class CountWaits(TorchDispatchMode):
    waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.waits += any(name in str(func) for name in ('local_scalar_dense', 'is_nonzero', 'nonzero'))
        return func(*args, **(kwargs or {}))


def test_no_update_waits_for_the_device():
    trainer = make(check_every=1000)
    stream = batches(DATA, 4)
    trainer.update(next(stream))
    with CountWaits() as count:
        for _ in range(20):
            trainer.update(next(stream))
    assert count.waits == 0
    with CountWaits() as control:
        make(check_every=1).update(next(stream))
    assert control.waits > 0


# Numbers that are not finite


def poison_batch(trainer, batch, value):
    batch[2, 1] = value
    return batch, 'batch holds'


def poison_weight(trainer, batch, value):
    trainer.model.last.weight.data[0, 0] = value
    return batch, 'last.weight holds'


def poison_loss(trainer, batch, value):
    trainer._forward = lambda net, x, g: loss(net, x, g) * value
    return batch, 'loss holds'


def poison_gradient(trainer, batch, value):
    trainer.model.last.bias.register_hook(lambda g: torch.full_like(g, value))
    return batch, 'the gradient of last.bias holds'


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('poison', [poison_batch, poison_weight, poison_loss, poison_gradient])
@pytest.mark.parametrize('step', [0, 1, 6])
def test_nan_never_spreads(tmp_path, poison, value, step):
    trainer = make()
    go(trainer, step)
    trainer.save(tmp_path)
    average, files = bits_of(trainer.ema.model), snapshot(tmp_path)
    batch, name = poison(trainer, DATA[:4].clone(), value)
    weights = [p.detach().clone() for p in trainer.model.parameters()]
    with pytest.raises(FloatingPointError, match=f'update {step + 1} is not finite: {name} (nan|-?inf)'):
        list(trainer.fit([batch], tmp_path))
    assert bits_of(trainer.ema.model) == average and snapshot(tmp_path) == files and trainer.step == step
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(weights, trainer.model.parameters()))


@pytest.mark.parametrize('value', [math.nan, math.inf])
@pytest.mark.parametrize('poison', [poison_batch, poison_loss, poison_gradient])
def test_nan_is_held_back_until_the_host_looks(tmp_path, poison, value):
    "As on a GPU: the update is switched off where it happens, and the host learns of it later."
    trainer = make(check_every=8, total=None)
    go(trainer, 3)
    weights = [p.detach().clone() for p in trainer.model.parameters()]
    batch, _ = poison(trainer, DATA[:4].clone(), value)
    with pytest.raises(FloatingPointError, match='update 4 is not finite'):
        list(trainer.fit([batch] + [DATA[:4]] * 10, tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(weights, trainer.model.parameters()))
    assert all(torch.isfinite(p).all() for p in trainer.ema.model.parameters()) and not checkpoints(tmp_path)
    with pytest.raises(FloatingPointError, match='update 4'):
        trainer.save(tmp_path)
    assert not checkpoints(tmp_path)


@pytest.mark.parametrize('every', [1, 8])
def test_an_infinite_weight_that_a_nonlinearity_hides_is_found(tmp_path, every):
    "tanh(inf) is 1 and its slope 0: loss and gradients are finite, and the average and the file would take the weight in."
    trainer = make(check_every=every, total=None)
    go(trainer, 3)
    average = bits_of(trainer.ema.model)
    trainer.model.norm.bias.data[0] = math.inf
    with pytest.raises(FloatingPointError, match='update 4 is not finite' + ': norm.bias holds inf' * (every == 1)):
        list(trainer.fit([DATA[:4]] * 10, tmp_path))
    assert not checkpoints(tmp_path) and (every > 1 or bits_of(trainer.ema.model) == average)


def bits_of(model):
    return b''.join(v.numpy().tobytes() for v in model.state_dict().values())


def snapshot(folder):
    "Names and bytes of everything below a folder but the lock of a run."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file() and p.name != '.writer'}


# Kills


def test_kill_anywhere(run, tmp_path):
    "A real kill -9 at 20 random moments of a run that saves often; what is taken up ends in the bits of the undisturbed run."
    delays = uniform(0, 'kills', 0, range(400)).tolist()
    killed = tries = 0
    while True:
        child = os.fork()
        if child == 0:
            try:
                trainer = make()
                trainer.resume(tmp_path)
                for _ in trainer.fit(islice(batches(DATA, 4, trainer.seed, trainer.step), STEPS - trainer.step), tmp_path, 1):
                    time.sleep(0.002)
                os._exit(0)
            except BaseException:
                os._exit(1)
        if killed < 20:
            time.sleep(0.08 * delays[tries])
            os.kill(child, signal.SIGKILL)
        tries += 1
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            if killed >= 20:
                break
            for path in tmp_path.iterdir():  # done before 20 kills: begin again
                path.unlink()
    trainer = make()
    assert trainer.resume(tmp_path) and trainer.step == STEPS and bits(trainer) == run[1][STEPS]
    trainer.save(tmp_path)
    assert len(list(tmp_path.glob('[!.]*'))) == 2 and not list(tmp_path.glob('*.tmp')), 'temporaries of killed runs are left'


# One writer


def train_apart(folder, report, wait):
    "Train into a folder in a process of its own; tell what came of it, and stay until told to end."
    child = os.fork()
    if child:
        return child
    try:
        trainer = make()
        run = trainer.fit(batches(DATA, 4, trainer.seed, trainer.step), folder, 1)
        try:
            next(run)
            said = f'{os.getpid()} trains'
        except ValueError as error:
            said = f'{os.getpid()} refused: {error}'
        os.write(report, (said + '\n').encode())
        os.read(wait, 1)
        os._exit(0)
    except BaseException:
        os._exit(1)


@pytest.mark.parametrize('races', [4, pytest.param(20, marks=pytest.mark.slow)])
def test_two_trainers_in_one_folder(tmp_path, races):
    "Races of two processes: one trains, the other is refused with the name of the first; after kill -9 the folder is free."
    for _ in range(races):
        (hear, report), (wait, end) = os.pipe(), os.pipe()
        children = [train_apart(tmp_path, report, wait) for _ in range(2)]
        os.close(report)
        try:
            with os.fdopen(hear) as lines:
                said = dict(lines.readline().strip().split(' ', 1) for _ in children)
            winner, loser = sorted(said, key=lambda pid: said[pid] != 'trains')
            assert said[winner] == 'trains', said
            want = f'refused: {tmp_path} is written by process {winner} on {socket.gethostname()}, expected a folder of its own'
            assert said[loser].startswith(want), said
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            os.close(wait)
            os.close(end)
        trainer = make()
        assert trainer.resume(tmp_path) and trainer.step >= 1
        go(trainer, trainer.step + 1, folder=tmp_path)  # the lock of the dead holds nobody up
        for path in tmp_path.glob('*.safetensors'):
            path.unlink()


def test_trainers_of_one_process_share_a_folder(tmp_path):
    first, second = make(), make()
    runs = [t.fit(batches(DATA, 4, t.seed, t.step), tmp_path, 1) for t in (first, second)]
    for run in runs:
        next(run)
    runs[0].close()
    children = [train_apart(tmp_path, *pipe) for pipe in [(os.pipe()[1], os.open(os.devnull, os.O_RDONLY))]]
    assert files._HELD and os.waitpid(children[0], 0)[1] == 0
    runs[1].close()
    assert not files._HELD


def test_a_disk_without_locks_refuses_nobody(tmp_path, monkeypatch):
    import fcntl

    def no_locks(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', no_locks)
    assert make().save(tmp_path).exists()


class Killed(BaseException):
    "Stands for kill -9: nothing of the program runs after it."


class Disk:
    """Count what a save asks of the disk, and die before operation `fatal`.

    `crash` then loses what was not synced: bytes of files without fsync, and renames before the folder's fsync.
    """

    def __init__(self, monkeypatch, fatal):
        self.fatal, self.count, self.loose, self.renamed = fatal, 0, {}, []
        self.real = {'open': open, 'fsync': os.fsync, 'replace': os.replace, 'unlink': Path.unlink}
        monkeypatch.setattr(files, 'open', self.open, raising=False)
        monkeypatch.setattr(files.os, 'fsync', self.fsync)
        monkeypatch.setattr(files.os, 'replace', self.replace)
        monkeypatch.setattr(Path, 'unlink', lambda path, missing_ok=False: self.unlink(path, missing_ok))

    def tick(self):
        self.count += 1
        if self.count == self.fatal:
            raise Killed

    def open(self, path, mode):
        self.tick()
        disk, file = self, self.real['open'](path, mode, buffering=0)
        self.loose[os.fstat(file.fileno()).st_ino] = True

        class File:
            def write(self, data):
                for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
                    disk.tick()
                    file.write(piece)

            def flush(self):
                disk.tick()

            fileno = staticmethod(file.fileno)

            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

        return File()

    def fsync(self, handle):
        self.tick()
        self.real['fsync'](handle)
        if os.path.isdir(f'/proc/self/fd/{handle}'):
            self.renamed.clear()
        else:
            self.loose.pop(os.fstat(handle).st_ino, None)

    def replace(self, old, new):
        self.tick()
        before = Path(new).read_bytes() if Path(new).exists() else None
        self.real['replace'](old, new)
        self.renamed.append((Path(new), before))

    def unlink(self, path, missing_ok):
        self.tick()
        self.real['unlink'](path, missing_ok=missing_ok)

    def crash(self, folder, renames_survive):
        for path in folder.iterdir():
            if path.stat().st_ino in self.loose:
                os.truncate(path, 0)
        for path, before in [] if renames_survive else self.renamed:
            self.real['unlink'](path) if before is None else path.write_bytes(before)


@pytest.mark.parametrize('renames_survive', [True, False])
def test_every_prefix_of_a_save_leaves_a_checkpoint(run, tmp_path, renames_survive):
    root, states = run
    steps = []
    for fatal in range(1, 40):
        folder = tmp_path / str(fatal)
        trainer = make()
        go(trainer, 4)
        trainer.save(folder)
        go(trainer, 5)
        trainer.save(folder)
        go(trainer, 6)
        with pytest.MonkeyPatch.context() as patches:
            disk = Disk(patches, fatal)
            try:
                trainer.save(folder)
                died = False
            except Killed:
                died = True
        disk.crash(folder, renames_survive)
        fresh = make()
        assert fresh.resume(folder)
        assert fresh.step in (5, 6) and bits(fresh) == states[fresh.step]
        steps.append(fresh.step)
        fresh.save(folder)
        assert {p.suffix or p.name for p in folder.iterdir()} == {'.safetensors', '.writer'}
        if not died:
            break
    assert not died and steps == sorted(steps) and 8 <= len(steps) and set(steps) == {5, 6}


@register
class Small(nn.Module):
    def __init__(self, width: int = 2, tied: bool = False):
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)
        if tied:
            self.b.weight = self.a.weight


@pytest.mark.parametrize('renames_survive', [True, False])
def test_every_prefix_of_publishing_leaves_the_old_or_the_new_model(tmp_path, renames_survive):
    torch.manual_seed(0)
    old, new = Small(2), Small(3)
    found = []
    for fatal in range(1, 40):
        folder = tmp_path / str(fatal)
        save(folder, old, {'which': 'old'})
        with pytest.MonkeyPatch.context() as patches:
            disk = Disk(patches, fatal)
            try:
                save(folder, new, {'which': 'new'})
                died = False
            except Killed:
                died = True
        disk.crash(folder, renames_survive)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            model, config = load(folder), read_model(folder)[0]
        want = {'old': old, 'new': new}[config['about']['which']]
        assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), want.state_dict().values()))
        found.append(config['about']['which'])
        if not died:
            break
    assert not died and found == sorted(found, reverse=True) and set(found) == {'old', 'new'}


def test_a_full_disk_keeps_the_last_checkpoint(run, tmp_path):
    trainer = make()
    go(trainer, 9)
    kept = trainer.save(tmp_path)
    need, before = kept.stat().st_size, snapshot(tmp_path)
    go(trainer, 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in [*range(0, need, max(1, need // 60)), need - 1]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match='bytes were needed') as error:
                trainer.save(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert error.value.errno == errno.EFBIG and 'step-000000010' in error.value.filename
        assert snapshot(tmp_path) == before
    fresh = make()
    assert fresh.resume(tmp_path) and fresh.step == 9


@pytest.mark.parametrize(
    'number, kind, code',
    [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143), (signal.SIGHUP, SystemExit, 129)],
)
@pytest.mark.parametrize('step', [0, 1, 8])
def test_signals_save_between_two_updates(run, tmp_path, number, kind, code, step):
    def interrupted(net, x, generator):
        if trainer.step == step:
            for _ in range(1 if number == signal.SIGINT else 3):  # a terminal that closes says so more than once
                os.kill(os.getpid(), number)  # in the middle of an update
        return loss(net, x, generator)

    trainer = make()
    trainer._forward = interrupted
    before = signal.getsignal(number)
    with pytest.raises(kind) as error:
        go(trainer, folder=tmp_path)
    assert getattr(error.value, 'code', None) == code and signal.getsignal(number) is before
    fresh = make()
    assert fresh.resume(tmp_path) and fresh.step == step + 1
    go(fresh)
    assert bits(fresh) == run[1][STEPS]


def test_a_second_interrupt_stops_at_once_and_what_is_ignored_stays_ignored(tmp_path):
    def interrupted(net, x, generator):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError('went on')

    trainer, before = make(), signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        stream = trainer.fit(batches(DATA, 4), tmp_path)
        next(stream)
        os.kill(os.getpid(), signal.SIGHUP)
        assert next(stream).step == 2 and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    trainer._forward = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert not checkpoints(tmp_path)


def test_the_average_is_published_after_each_checkpoint(tmp_path):
    trainer, steps = make(), []
    go(trainer, 7, folder=tmp_path, every=3, publish=lambda: steps.append((trainer.step, len(checkpoints(tmp_path)))))
    assert steps == [(3, 1), (6, 2), (7, 2)]


def test_without_a_folder_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    stream = make().fit(batches(DATA, 4))
    next(stream)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_may_train(tmp_path):
    thread = threading.Thread(target=lambda: go(make(), 3, folder=tmp_path))
    thread.start()
    thread.join()
    assert len(checkpoints(tmp_path)) == 1


# Damage


def test_a_list_of_checkpoints_survives_a_run_that_deletes_its_oldest(tmp_path, monkeypatch):
    names = [f'step-{step:09}-{"0" * 32}.safetensors' for step in (2, 4, 6)]
    for name in names:
        (tmp_path / name).touch()
    stat = Path.stat

    def late(path, **options):
        if path.name == names[0]:
            path.unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(Path, 'stat', late)
    assert [path.name for path in checkpoints(tmp_path)] == [names[2], names[1]]


def test_every_flipped_bit_and_every_cut_is_found(run):
    (path,) = checkpoints(run[0] / '9')
    data = path.read_bytes()
    where = (uniform(0, 'flips', 0, range(2000)) * 8 * len(data)).long().tolist()
    try:
        for bit in where:
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match='damaged'):
                read_checkpoint(path)
        for length in range(0, len(data), max(1, len(data) // 200)):
            path.write_bytes(data[:length])
            with pytest.raises(ValueError, match='damaged'):
                read_checkpoint(path)
    finally:
        path.write_bytes(data)
    read_checkpoint(path)


def test_flipped_bits_of_a_model_are_never_silent(tmp_path):
    torch.manual_seed(0)
    save(tmp_path, Small(), {'name': 'x'})
    path = tmp_path / 'model.safetensors'
    data, (config, tensors) = path.read_bytes(), read_model(tmp_path)
    same = found = 0
    for bit in range(0, 8 * len(data), 3):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            got, values = read_model(tmp_path)
            assert got == config and values.keys() == tensors.keys() and all(torch.equal(values[k], tensors[k]) for k in tensors)
            same += 1
        except ValueError as error:
            assert 'damaged' in str(error)
            found += 1
    assert found > 100 * same


def test_a_damaged_checkpoint_falls_back_and_says_so(run, tmp_path):
    trainer = make()
    go(trainer, 9)
    trainer.save(tmp_path)
    go(trainer, 12)
    newest = trainer.save(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-5])
    fresh = make()
    with pytest.warns(UserWarning, match='step-000000012.* is damaged.*going back'):
        assert fresh.resume(tmp_path)
    assert fresh.step == 9 and bits(fresh) == run[1][9]
    for path in checkpoints(tmp_path):
        path.write_bytes(b'nothing')
    with pytest.warns(UserWarning), pytest.raises(ValueError, match='2 checkpoints and all are damaged'):
        make().resume(tmp_path)


def test_a_checkpoint_that_lacks_a_part_is_refused(run, tmp_path):
    (path,) = checkpoints(run[0] / '9')
    header, tensors = read_checkpoint(path)
    for missing in ('ema.first.weight', 'optimizer.exp_avg.last.bias', 'model.norm.running_mean'):
        rest = {k: v for k, v in tensors.items() if k != missing}
        data = tensor_bytes(rest, {'diffbook': json.dumps(header)})
        target = tmp_path / missing / f'step-000000009-{hashlib.sha256(data).hexdigest()[:32]}.safetensors'
        target.parent.mkdir()
        target.write_bytes(data)
        trainer = make()
        before = bits(trainer)
        with pytest.raises(ValueError, match=f'missing: {missing}'):
            trainer.resume(target.parent)
        assert trainer.step == 0 and bits(copy_state(trainer)) == before


def copy_state(trainer):
    "The trainer without moments, which a refused resume may have made."
    trainer.optimizer.state.clear()
    return trainer


# Published models


@pytest.mark.parametrize('schedule', [CosineSchedule(), DiscreteSchedule(linear_betas(50))])
def test_a_published_denoiser_gives_the_same_answers(tmp_path, schedule):
    torch.manual_seed(0)
    model = Denoiser(UNet(1, channels=(8, 16), blocks=(1, 1), heads=(0, 2, 0), groups=4), schedule, predict_v)
    for p in model.parameters():
        p.data += 0.1 * torch.randn(p.shape)
    save(tmp_path / 'm', model, {'shape': [1, 8, 8]})
    assert sorted(p.name for p in (tmp_path / 'm').iterdir()) == ['config.json', 'model.safetensors']
    again = load(tmp_path / 'm')
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.7]) * schedule.t_max
    assert torch.equal(model.eval()(x, t), again(x, t)) and not again.training
    assert read_model(tmp_path / 'm')[0]['about'] == {'shape': [1, 8, 8]}


def test_tied_weights_stay_tied(tmp_path):
    model = Small(3, tied=True)
    save(tmp_path, model)
    again = load(tmp_path)
    assert again.a.weight is again.b.weight and torch.equal(again.a.weight, model.a.weight)
    assert sorted(read_model(tmp_path)[1]) == ['a.bias', 'a.weight', 'b.bias']


def test_a_model_may_be_stored_in_half(tmp_path):
    model = Small(16)
    save(tmp_path / 'full', model)
    save(tmp_path / 'half', model, dtype=torch.bfloat16)
    again = load(tmp_path / 'half')
    assert torch.equal(again.a.weight, model.a.weight.bfloat16().float()) and again.a.weight.dtype == torch.float32
    sizes = [(tmp_path / k / 'model.safetensors').stat().st_size for k in ('full', 'half')]
    assert sizes[1] < 0.7 * sizes[0]


def test_publishing_leaves_other_files_alone(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    (tmp_path / '.config.json.123.tmp').write_text('left by a kill')
    (tmp_path / '.mine.tmp').write_text('mine too')
    save(tmp_path, Small())
    assert sorted(p.name for p in tmp_path.iterdir()) == ['.mine.tmp', 'config.json', 'model.safetensors', 'notes.txt']


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = Small()
    save(tmp_path / 'a', model, {'b': 1, 'a': 2})
    save(tmp_path / 'b', copy.deepcopy(model), {'a': 2, 'b': 1})
    assert snapshot(tmp_path / 'a') == snapshot(tmp_path / 'b')


def test_writing_a_file_again_replaces_it(tmp_path):
    write_whole(tmp_path / 'x', b'one')
    write_whole(tmp_path / 'x', b'two')
    assert snapshot(tmp_path) == {'x': b'two'}


def test_the_parts_of_models_register_themselves():
    load_parts = {'UNet', 'Denoiser', 'CosineSchedule', 'DiscreteSchedule', 'predict_v', 'scaled_time'}
    assert load_parts <= set(REGISTRY)


def test_a_model_carries_what_was_told_of_it_and_its_file_is_read_once(tmp_path, monkeypatch):
    save(tmp_path / 'm', Small(3), {'shape': [1, 8, 8], 'steps': 5})
    read, real = [], Path.read_bytes
    monkeypatch.setattr(Path, 'read_bytes', lambda path: (read.append(path.name), real(path))[1])
    assert load(tmp_path / 'm').about == {'shape': [1, 8, 8], 'steps': 5}
    assert sorted(read) == ['config.json', 'model.safetensors']
    save(tmp_path / 'n', Small(3))
    assert load(tmp_path / 'n').about == {}


OWN = """
import sys
sys.path.insert(0, sys.argv[1])
from diffbook.training import load, save
if sys.argv[2] == 'save':
    import my_net
    save(sys.argv[3], my_net.Net(5))
else:
    try:
        load(sys.argv[3])
        raise SystemExit('loaded what nobody imported')
    except ValueError as error:
        assert 'if my_net is yours, import it first' in str(error), error
    assert 'my_net' not in sys.modules
    import my_net
    assert load(sys.argv[3]).inside.weight.shape == (5, 5)
"""
MY_NET = """
from torch import nn
from diffbook.core import register
@register
class Net(nn.Module):
    def __init__(self, width: int = 2):
        super().__init__()
        self.inside = nn.Linear(width, width)
"""


def test_a_network_of_ones_own_loads_in_a_fresh_process_once_it_is_imported(tmp_path):
    (tmp_path / 'my_net.py').write_text(MY_NET)
    for what in ('save', 'load'):
        run = subprocess.run([sys.executable, '-c', OWN, tmp_path, what, tmp_path / 'model'], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


def test_the_books_own_models_load_in_a_fresh_process():
    run = subprocess.run([sys.executable, '-c', "from diffbook.store.models import load; load('shapes'); load('emoji-vae')"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_how_a_gradient_is_found_is_an_argument():
    "Of a reader's own: the gradient where a first step would lead to, by hand and by the trainer."

    def ahead(trainer):
        def backward(batch):
            trainer.measure(batch).backward()
            steps = [0.1 * p.grad for p in trainer.model.parameters()]
            for p, step in zip(trainer.model.parameters(), steps):
                p.data -= step
                p.grad = None
            (value := trainer.measure(batch)).backward()
            for p, step in zip(trainer.model.parameters(), steps):
                p.data += step
            return value.detach()

        return backward

    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, 2.0)
    trainer = Trainer(net, lambda m, x, g: m(x).square().mean(1), backward=ahead, warmup=0, clip=None, device='cpu')
    step = trainer.update(torch.ones(1, 1, dtype=torch.float64))  # w**2: a step of 0.1 * 2 w leads to 0.8 w
    torch.testing.assert_close((step.loss, step.grad_norm), (torch.tensor(1.6**2).double(), torch.tensor(2 * 1.6).double()))


@pytest.mark.parametrize(
    'old, new',
    [
        ('RECIPES', 'training.SWITCHES'),
        ('Team', 'scale.Team'),
        ('write_file', 'store.files.write_whole'),
        ('read_checkpoint', 'store.checkpoints.read_checkpoint'),
        ('no_larger', 'store.models.no_larger'),
    ],
)
def test_old_names_say_where_they_went(old, new):
    with pytest.warns(DeprecationWarning, match=f'training.{old} is diffbook.{new} now'):
        found = getattr(training, old)
    module, _, name = new.rpartition('.')
    assert found is getattr(importlib.import_module(f'diffbook.{module}'), name)
