"""Muon against singular values, against PyTorch's own, and through a run that stops and goes on."""

import copy

import pytest
import torch
from torch import nn

from diffbook.core import generator
from diffbook.speedrun import JORDAN, Muon, matrices, muon, orthogonal
from diffbook.store.checkpoints import same_settings
from diffbook.training import Trainer


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed, f'speedrun {shape}'), dtype=torch.float64)


def polynomial(s, rounds, coefficients=JORDAN):
    for _ in range(rounds):
        s = sum(k * s**n for k, n in zip(coefficients, (1, 3, 5)))
    return s


@pytest.mark.parametrize('shape', [(5, 9), (9, 5), (7, 7), (1, 6), (6, 1)])
@pytest.mark.parametrize('rounds', [0, 1, 3, 5])
def test_rounds_act_on_singular_values_alone(shape, rounds):
    g = normal(*shape)
    u, s, vh = torch.linalg.svd(g, full_matrices=False)
    want = u @ torch.diag(polynomial(s / (g.norm() + 1e-7), rounds)) @ vh
    assert torch.allclose(orthogonal(g, rounds), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize('shape', [(4, 6), (6, 4)])
def test_the_cubic_arrives_at_the_polar_factor_and_squares_what_is_missing(shape):
    g = normal(*shape)
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    cubic = (1.5, -0.5, 0.0)
    missing = [(1 - torch.linalg.svdvals(orthogonal(g, rounds, cubic))).max().item() for rounds in range(4, 20)]
    assert (orthogonal(g, 40, cubic) - u @ vh).abs().max() < 1e-12
    late = [(a, b) for a, b in zip(missing, missing[1:]) if 1e-6 < a < 1e-2]
    assert late and all(b == pytest.approx(1.5 * a**2, rel=0.02) for a, b in late)  # 1 - p(1 - e) = 1.5 e^2 - 0.5 e^3


def test_what_the_size_of_a_gradient_is_and_how_it_lies_makes_no_difference():
    g, (q, _), (r, _) = normal(5, 8), torch.linalg.qr(normal(5, 5)), torch.linalg.qr(normal(8, 8))
    assert torch.allclose(orthogonal(1e6 * g), orthogonal(g), atol=1e-6)
    assert torch.allclose(orthogonal(q @ g @ r), q @ orthogonal(g) @ r, atol=1e-9)
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_it_is_the_muon_of_pytorch(monkeypatch):
    _muon = pytest.importorskip('torch.optim._muon')

    monkeypatch.setattr(_muon, '_zeropower_via_newtonschulz', lambda g, k, steps, eps: orthogonal(g, steps, k))  # theirs is in bfloat16
    ours, theirs = normal(20, 30).requires_grad_(), normal(20, 30).requires_grad_()
    options = dict(lr=0.01, weight_decay=0.1, momentum=0.9)
    a, b = Muon([ours], **options), torch.optim.Muon([theirs], adjust_lr_fn='match_rms_adamw', **options)
    for k in range(5):
        ours.grad = normal(20, 30, seed=k + 1)
        theirs.grad = ours.grad.clone()
        for optimizer in (a, b):
            optimizer.param_groups[0]['lr'] = 0.01 / (k + 1)
            optimizer.step()
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    assert (ours - normal(20, 30)).abs().max() > 1e-3


def test_the_rounds_are_those_of_pytorch():
    _muon = pytest.importorskip('torch.optim._muon')

    g = normal(20, 30).float()
    theirs = _muon._zeropower_via_newtonschulz(g, JORDAN, 5, 1e-7).float()
    assert (orthogonal(g) - theirs).abs().max() < 0.02  # bfloat16 has eight bits, five rounds of two products each


def test_the_rest_goes_as_adamw_goes():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 30), nn.LayerNorm(30), nn.Linear(30, 3))
    alone = copy.deepcopy(net)
    maps, rest = matrices(net)
    assert list(map(id, maps)) == [id(net[0].weight)] and list(map(id, rest)) == [id(p) for p in net.parameters() if p is not net[0].weight]
    a = Muon(maps, rest, lr=0.01, weight_decay=0.1)
    b = torch.optim.AdamW([p for p in alone.parameters() if p is not alone[0].weight], 0.01, (0.9, 0.99), weight_decay=0.1)
    for k in range(4):
        for p, q in zip(net.parameters(), alone.parameters()):
            p.grad = normal(*p.shape, seed=k).float()
            q.grad = p.grad.clone()
        for group in a.param_groups + b.param_groups:
            group['lr'] = 0.01 / (k + 1)
        a.step(), b.step()
    for (name, p), q in zip(net.named_parameters(), alone.parameters()):
        assert torch.equal(p, q) == (name != '0.weight'), name


def test_a_kernel_moves_by_a_fifth_of_the_rate():
    kernel = nn.Conv2d(24, 40, 3)
    before = kernel.weight.detach().clone()
    kernel.weight.grad = normal(*kernel.weight.shape).float()
    Muon([kernel.weight], lr=0.01).step()
    moved = (kernel.weight - before).square().mean().sqrt().item()
    assert 0.68 * 0.002 < moved < 1.21 * 0.002  # singular values of a random kernel end between .68 and 1.21


def test_which_weights_are_maps():
    net = nn.Module()
    net.plain, net.small, net.one = nn.Linear(20, 20), nn.Linear(20, 16), nn.Conv2d(32, 32, 3)
    net.parts, net.table, net.norm = nn.Conv2d(32, 32, 3, groups=4), nn.Embedding(20, 20), nn.GroupNorm(4, 32)
    net.frozen, net.up = nn.Linear(20, 20).requires_grad_(False), nn.ConvTranspose2d(20, 5, 2)
    net.tied = nn.Linear(20, 20)
    net.tied.weight = net.plain.weight
    maps, rest = matrices(net)
    assert list(map(id, maps)) == list(map(id, (net.plain.weight, net.one.weight, net.up.weight)))
    assert {id(p) for p in net.parameters()} - {id(p) for p in maps + rest} == {id(net.frozen.weight), id(net.frozen.bias)}


def test_a_model_without_maps_is_refused():
    with pytest.raises(ValueError, match='no matrix for Muon, expected a linear layer'):
        Trainer(nn.Linear(2, 2), lambda m, x, g: m(x).square().mean(1), optimizer=muon, device='cpu')


def trainer(optimizer=muon, **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 30), nn.SiLU(), nn.Linear(30, 20))
    return Trainer(net, lambda m, x, g: (m(x) - x).square().mean(1), optimizer=optimizer, device='cpu', warmup=2, total=12, **options)


BATCHES = [normal(8, 20, seed=k).float() for k in range(8)]


def test_a_run_that_stops_goes_on_bit_for_bit(tmp_path):
    whole, first, second = trainer(), trainer(), trainer()
    for batch in BATCHES:
        whole.update(batch)
    for batch in BATCHES[:3]:
        first.update(batch)
    first.save(tmp_path)
    assert second.resume(tmp_path) and second.step == 3
    for batch in BATCHES[3:]:
        second.update(batch)
    for name, value in whole._state().items():
        assert torch.equal(value, second._state()[name]), name
    assert {name.split('.')[1] for name in whole._state() if name.startswith('optimizer.')} == {'momentum', 'step', 'exp_avg', 'exp_avg_sq'}


@pytest.mark.parametrize('before, after', [(None, muon), (muon, None)])
def test_a_run_goes_on_with_the_optimizer_that_it_began_with(tmp_path, before, after):
    begun = trainer(before)
    begun.update(BATCHES[0])
    begun.save(tmp_path)
    with pytest.raises(ValueError, match='optimizer is (Muon, and AdamW|AdamW, and Muon) in '):
        trainer(after).resume(tmp_path)


def test_the_rate_of_a_trainer_reaches_both_parts():
    made = trainer(lr=0.01)
    step = made.update(BATCHES[0])
    assert [group['lr'] for group in made.optimizer.param_groups] == [step.lr, step.lr] == [pytest.approx(0.01 / 3)] * 2


def test_the_settings_of_a_trainer_reach_both_parts():
    maps, rest = trainer(weight_decay=0.3, betas=(0.8, 0.95)).optimizer.param_groups
    assert (maps['weight_decay'], rest['weight_decay'], rest['betas'], rest['fused']) == (0.3, 0.3, (0.8, 0.95), True)


def test_a_checkpoint_from_before_there_was_a_choice_is_of_adamw():
    now, had = {'bf16': False, 'trained': 3}, {'bf16': False, 'trained': 3}
    same_settings(now | {'optimizer': 'AdamW'}, had, 'a file')
    with pytest.raises(ValueError, match='optimizer is Muon, and AdamW in a file'):
        same_settings(now | {'optimizer': 'Muon'}, had, 'a file')


def test_an_update_that_is_not_finite_moves_nothing():
    made = trainer(lr=0.01)
    made.update(BATCHES[0])
    before = {name: value.clone() for name, value in made._state().items()}
    for p in made.model.parameters():
        p.grad = torch.full_like(p, torch.nan)
    made.optimizer.found_inf = torch.ones(())
    made.optimizer.step()
    for name, value in made._state().items():
        assert torch.equal(before[name], value), name
    made.optimizer.found_inf = torch.zeros(())
    for p in made.model.parameters():
        p.grad = torch.ones_like(p)
    made.optimizer.step()
    assert all(not torch.equal(before[f'model.{name}'], p) for name, p in made.model.named_parameters())
