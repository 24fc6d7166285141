"""The transformer for images: what it must not do, what it must not mix, and what it says to bad input."""

import itertools
import math

import helpers
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffbook.conform import check_denoiser
from diffbook.core import Cond, build, describe
from diffbook.losses import Denoiser
from diffbook.nets.dit import (
    JIT,
    BlockStyle,
    DiT,
    DiTBlock,
    GatedMLP,
    RMSNorm,
    grid_places,
    modulate,
    patchify,
    rotary_angles,
    rotate,
    sincos_places,
    unpatchify,
)
from diffbook.predictions import predict_velocity
from diffbook.schedules import RectifiedFlowSchedule
from diffbook.training import load, save

KINDS = {
    'plain': {},
    'conditioned': {'cond_dim': 3},
    'beside': {'img_channels': 2, 'patch': 4},
    'jit': {'style': JIT, 'cond_dim': 3},
    'stretched': {'grid': 5, 'freq_shift': 1.0, 'out_channels': 5},
    'rotary alone': {'style': BlockStyle(rotary=True), 'img_channels': 1},
}


def make(kind, **more):
    "A net of random numbers: a new one answers zero and would hide everything."
    torch.manual_seed(0)
    net = DiT(2, **{'width': 16, 'depth': 2, 'heads': 2, 'patch': 2, **KINDS[kind], **more})
    for p in net.parameters():
        nn.init.normal_(p, std=0.3)
    return net.double().eval()


def inputs(kind, b=3, size=(8, 12)):
    g = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(b, *shape, dtype=torch.float64, generator=g)  # noqa: E731
    x, t = draw(2, *size), 1000 * torch.rand(b, dtype=torch.float64, generator=g)
    fields = {'vec': (KINDS[kind].get('cond_dim'),), 'img': (KINDS[kind].get('img_channels'), *size)}
    fields = {name: draw(*shape) for name, shape in fields.items() if shape[0]}
    return x, t, Cond(**fields) if fields else None


@pytest.mark.parametrize('kind', KINDS)
def test_images_of_a_batch_do_not_mix(kind):
    helpers.do_not_mix(make(kind), *inputs(kind))


@pytest.mark.parametrize('kind', KINDS)
def test_everything_that_is_told_matters(kind):
    "Every parameter, every input and every square moves the output."
    net, (x, t, cond) = make(kind), inputs(kind)
    leaves = [v.requires_grad_() for v in (x, cond and cond.vec, cond and cond.img) if v is not None]
    y = net(x, t, cond)
    assert y.shape == (3, net.arguments['out_channels'] or 2, 8, 12)
    grads = torch.autograd.grad((y * torch.randn_like(y)).sum(), [*leaves, *net.parameters()])
    for (name, p), grad in zip([*((f'input {i}', v) for i, v in enumerate(leaves)), *net.named_parameters()], grads):
        # a bias of the keys adds the same to all scores of a query, and nothing to the softmax
        quiet = name.endswith('qkv.bias') and not net.style.qk_norm and not net.style.rotary
        seen = grad.view(3, -1)[[0, 2]] if quiet else grad
        assert seen.abs().max() > 1e-12, name
        assert not quiet or grad.view(3, -1)[1].abs().max() < 1e-12, name
    assert (grads[0].abs() > 1e-12).all()
    assert not torch.allclose(net(x, t + 1, cond), y)


@pytest.mark.parametrize('kind', KINDS)
def test_an_untrained_net_answers_zero_and_its_blocks_are_nothing(kind):
    torch.manual_seed(0)
    net, (x, t, cond) = DiT(2, **{'width': 16, 'depth': 2, 'heads': 2, 'patch': 2, **KINDS[kind]}).double(), inputs(kind)
    assert not net(x, t, cond).any()
    h, e = torch.randn(3, 5, 16, dtype=torch.float64), torch.randn(3, 16, dtype=torch.float64)
    for block in net.blocks:
        assert torch.equal(block(h, e), h) and block.qkv.weight.any()


@pytest.mark.parametrize('kind', KINDS)
def test_saved_and_made_again(kind):
    net, (x, t, cond) = make(kind), inputs(kind)
    again = build(describe(net)).double()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(x, t, cond), net(x, t, cond))


def test_a_model_of_it_is_saved_and_loaded(tmp_path):
    model = Denoiser(make('jit').float(), RectifiedFlowSchedule(), predict_velocity)
    save(tmp_path, model, {'shape': [2, 8, 8]})
    x, t, cond = inputs('jit')
    told = (x.float(), torch.full((3,), 0.4, dtype=torch.float64), cond.map(torch.Tensor.float))
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path)(*told), model(*told), atol=0, rtol=0)


def test_a_denoiser_of_it_conforms():
    net = make('plain')
    check_denoiser(Denoiser(net.float(), RectifiedFlowSchedule(), predict_velocity), RectifiedFlowSchedule(), torch.randn(4, 2, 8, 8))


@pytest.mark.parametrize('order', ['p q c', 'c p q'])
def test_squares_are_cut_and_put_back(order):
    "Token by token and number by number, for pictures that are not square."
    x = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    tokens = patchify(x, 2, order)
    assert tokens.shape == (2, 12, 12) and torch.equal(unpatchify(tokens, 2, 3, order), x)
    for i, j, p, q, c in itertools.product(range(3), range(4), range(2), range(2), range(3)):
        at = (p * 2 + q) * 3 + c if order == 'p q c' else (c * 2 + p) * 2 + q
        assert torch.equal(tokens[:, 4 * i + j, at], x[:, c, 2 * i + p, 2 * j + q])


def test_the_first_map_reads_channels_first_and_the_last_writes_them_last():
    "As in DiT: a stem that copies one number of each square, and a head that writes it to one place."
    net = make('plain', depth=1)
    for p in net.parameters():
        nn.init.zeros_(p)
    net.norm = nn.Identity()
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        net.stem.weight.view(16, 8)[0, 1 * 4 + 0 * 2 + 1] = 1e3  # channel 1, row 0, column 1
        net.head.weight[(1 * 2 + 0) * 2 + 1, 0] = 1.0  # row 1, column 0, channel 1
        y = net(x, torch.zeros(1))
    place = sincos_places(grid_places(2, 3), 16)[:, 0].view(2, 3)
    want = torch.zeros_like(x)
    want[0, 1, 1::2, 0::2] = 1e3 * x[0, 1, 0::2, 1::2] + place
    torch.testing.assert_close(y, want, atol=1e-10, rtol=0)


def test_modulation_is_scale_then_shift():
    x, (shift, scale) = torch.randn(2, 5, 4), torch.randn(2, 2, 4).unbind()
    torch.testing.assert_close(modulate(x, shift, scale), torch.stack([x[i] * (1 + scale[i]) + shift[i] for i in range(2)]))


def test_a_block_by_hand():
    "Six vectors in the order shift, scale, gate, for attention and for the MLP; torch's own attention and LayerNorm."
    torch.manual_seed(0)
    block = DiTBlock(12, 3, BlockStyle(eps=1e-3, eps_mlp=1e-2)).double()
    for p in block.parameters():
        nn.init.normal_(p, std=0.4)
    h, e = torch.randn(2, 5, 12, dtype=torch.float64), torch.randn(2, 12, dtype=torch.float64)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    theirs.load_state_dict(
        {'in_proj_weight': block.qkv.weight, 'in_proj_bias': block.qkv.bias, 'out_proj.weight': block.out.weight, 'out_proj.bias': block.out.bias}
    )
    b1, s1, g1, b2, s2, g2 = F.linear(e * torch.sigmoid(e), block.tell.weight, block.tell.bias)[:, None].split(12, -1)
    a = F.layer_norm(h, (12,), eps=1e-3) * (1 + s1) + b1
    half = h + g1 * theirs(a, a, a)[0]
    y = F.layer_norm(half, (12,), eps=1e-2) * (1 + s2) + b2
    y = F.linear(F.gelu(F.linear(y, block.mlp[0].weight, block.mlp[0].bias), approximate='tanh'), block.mlp[2].weight, block.mlp[2].bias)
    torch.testing.assert_close(block(h, e), half + g2 * y, atol=1e-12, rtol=0)


def test_the_last_modulation_is_shift_then_scale():
    net, (x, t, _) = make('plain', depth=1), inputs('plain')
    seen = []
    net.blocks[0].register_forward_hook(lambda module, given, answer: seen.append(answer))
    y = net(x, t)
    shift, scale = F.linear(F.silu(net.told(t)), net.tell.weight, net.tell.bias)[:, None].split(16, -1)
    last = F.layer_norm(seen[0], (16,), eps=1e-6) * (1 + scale) + shift
    torch.testing.assert_close(patchify(y, 2), F.linear(last, net.head.weight, net.head.bias), atol=1e-12, rtol=0)


def test_a_block_of_newer_parts_by_hand():
    torch.manual_seed(0)
    block = DiTBlock(16, 2, JIT).double()
    for p in block.parameters():
        nn.init.normal_(p, std=0.4)
    h, e, angles = torch.randn(2, 5, 16, dtype=torch.float64), torch.randn(2, 16, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    b1, s1, g1, b2, s2, g2 = F.linear(F.silu(e), block.tell.weight, block.tell.bias)[:, None].split(16, -1)
    a = F.rms_norm(h, (16,), block.norm1.weight, 1e-6) * (1 + s1) + b1
    q, k, v = F.linear(a, block.qkv.weight, block.qkv.bias).view(2, 5, 3, 2, 8).permute(2, 0, 3, 1, 4)
    q, k = F.rms_norm(q, (8,), block.norm_q.weight, 1e-6), F.rms_norm(k, (8,), block.norm_k.weight, 1e-6)
    spin = torch.polar(torch.ones_like(angles), angles)
    q, k = (torch.view_as_real(torch.view_as_complex(u.unflatten(-1, (4, 2)).contiguous()) * spin).flatten(-2) for u in (q, k))
    mixed = (torch.softmax(q @ k.mT / 8**0.5, -1) @ v).transpose(1, 2).flatten(2)
    half = h + g1 * F.linear(mixed, block.out.weight, block.out.bias)
    y = F.linear(F.rms_norm(half, (16,), block.norm2.weight, 1e-6) * (1 + s2) + b2, block.mlp.enter.weight, block.mlp.enter.bias)
    y = F.linear(F.silu(y[..., :42]) * y[..., 42:], block.mlp.leave.weight, block.mlp.leave.bias)
    torch.testing.assert_close(block(h, e, angles), half + g2 * y, atol=1e-12, rtol=0)
    plain, gated = (sum(p.numel() for p in DiTBlock(48, 2, style).mlp.parameters()) for style in (BlockStyle(), JIT))
    assert abs(gated / plain - 1) < 0.01


def test_rows_and_columns_are_told_apart():
    "The first half of the waves is of the column; neither the sum nor the order of the two is enough."
    places = grid_places(2, 3)
    assert places.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    e = sincos_places(places, 8)
    assert torch.equal(e[0, 4:], e[2, 4:]) and torch.equal(e[0, :4], e[3, :4]) and not torch.equal(e[0, :4], e[2, :4])
    torch.testing.assert_close(e[5], torch.tensor([f(n * r) for n in (2.0, 1.0) for f in (math.sin, math.cos) for r in (1.0, 0.01)], dtype=torch.float64))
    assert grid_places(2, 4, 8)[-1].tolist() == [4.0, 6.0]
    for kind in ('plain', 'jit'):
        net, (x, t, cond) = make(kind), inputs(kind, size=(8, 8))
        assert not torch.allclose(net(x.mT, t, cond).mT, net(x, t, cond), atol=1e-3)


def test_without_places_a_puzzle_is_as_good_as_its_picture(monkeypatch):
    from diffbook.nets import dit

    monkeypatch.setattr(dit, 'sincos_places', lambda places, dim: torch.zeros(len(places), dim))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    for kind, blind in (('plain', True), ('rotary alone', False)):
        net, (x, t, _) = make(kind, img_channels=0), inputs('plain', size=(4, 6))
        a = patchify(net(x, t), 2)[:, order]
        b = patchify(net(unpatchify(patchify(x, 2)[:, order], 2, 2), t), 2)
        assert torch.allclose(a, b, atol=1e-10) is blind


def test_rotary_scores_depend_on_differences_alone():
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 2, 12, dtype=torch.float64, generator=g).unbind()
    angles = lambda *place: rotary_angles(torch.tensor([place], dtype=torch.float64), (4, 2, 6))  # noqa: E731
    score = lambda m, n: (rotate(q, angles(*m)) * rotate(k, angles(*n))).sum(-1)  # noqa: E731
    torch.testing.assert_close(score((0, 3, 5), (1, 1, 7)), score((10, 13, -5), (11, 11, -3)), atol=1e-12, rtol=0)
    for change in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert not torch.allclose(score((0, 3, 5), (1, 1, 7)), score((0, 3, 5), tuple(a + b for a, b in zip((1, 1, 7), change))), atol=1e-4)
    torch.testing.assert_close(rotate(q, angles(3, 4, 5)).norm(dim=-1), q.norm(dim=-1), atol=1e-12, rtol=0)
    # neighbours are a pair: the first turns by one radian a place, counterclockwise
    e = rotate(torch.tensor([0, 1.0, 0, 0]).double().view(1, 1, 1, 4), rotary_angles(torch.tensor([[2.0]]), (4,)))
    torch.testing.assert_close(e.flatten(), torch.tensor([-math.sin(2), math.cos(2), 0, 0], dtype=torch.float64))


def test_rms_norm_of_half_precision_does_not_overflow():
    x = torch.full((2, 8), 6e4, dtype=torch.float16)
    torch.testing.assert_close(RMSNorm(8, affine=False)(x), torch.ones(2, 8, dtype=torch.float16))
    assert RMSNorm(8, affine=False)(torch.zeros(2, 8)).abs().max() == 0 and not list(RMSNorm(8, affine=False).parameters())


def test_the_gate_is_the_first_half():
    mlp = GatedMLP(2, 3, activation=torch.relu, bias=False)
    with torch.no_grad():
        mlp.enter.weight.copy_(torch.cat([-torch.ones(3, 2), torch.ones(3, 2)]))
    assert not mlp(torch.ones(1, 2)).any() and mlp(-torch.ones(1, 2)).any()


def test_the_level_is_told_as_a_number_to_a_thousand():
    "Two near levels are told apart, which raw times between 0 and 1 are not; the original's ladder is the default."
    net = DiT(3, width=16, depth=1, heads=2)
    t = torch.tensor([500.0, 510.0])
    a, b = net.waves(t)
    assert (a - b).norm() / a.norm() > 0.5
    torch.testing.assert_close(
        a, torch.cat([f(500.0 * 10_000.0 ** (-torch.arange(128).double() / 128)) for f in (torch.cos, torch.sin)]).float(), atol=1e-4, rtol=0
    )
    seen = []
    net.waves = lambda level: seen.append(level) or torch.zeros(len(level), 256)
    Denoiser(net, RectifiedFlowSchedule(), predict_velocity)(torch.randn(2, 3, 8, 8), torch.tensor([0.25, 1.0], dtype=torch.float64))
    torch.testing.assert_close(seen[0].double(), torch.tensor([250.0, 1000.0]).double())


@pytest.mark.parametrize(
    'bad, said',
    [
        (lambda: DiT(3, width=18, heads=3), 'multiple of 4'),
        (lambda: DiT(3, width=16, heads=3), 'expected a width that is a multiple'),
        (lambda: DiT(3, width=24, heads=4, style=JIT), 'heads as wide as a multiple of 4'),
        (lambda: DiT(0), 'in_channels=0'),
        (lambda: DiT(3, patch=0), 'patch=0'),
        (lambda: sincos_places(grid_places(2, 2), 6), 'multiple of 4'),
        (lambda: rotary_angles(grid_places(2, 2), (4, 3)), 'even number for each of 2 axes'),
        (lambda: rotary_angles(grid_places(2, 2), (4,)), 'even number for each of 2 axes'),
        (lambda: make('plain')(torch.randn(1, 2, 7, 8).double(), torch.zeros(1)), 'multiples of 2'),
        (lambda: make('plain')(torch.randn(1, 3, 8, 8).double(), torch.zeros(1)), r'expected \(b, 2, h, w\)'),
        (lambda: make('plain')(torch.randn(1, 2, 8, 8).double(), torch.zeros(2)), 'noise_level has shape'),
        (lambda: make('conditioned')(torch.randn(1, 2, 8, 8).double(), torch.zeros(1)), 'cond holds nothing'),
    ],
)
def test_bad_input_is_refused(bad, said):
    with pytest.raises(ValueError, match=said):
        bad()
