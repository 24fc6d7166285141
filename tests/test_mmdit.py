"""The networks of Stable Diffusion 3 and FLUX against their definitions; against diffusers' in tests/parity."""

import pytest
import torch
import torch.nn.functional as F
from helpers import refuses
from torch import nn

from diffbook.core import Cond
from diffbook.flows import logit_normal_density
from diffbook.losses import Denoiser, diffusion_loss
from diffbook.nets.dit import rotate
from diffbook.nets.mmdit import Closing, Flux, Heads, JointBlock, LastText, MMDiT, SingleBlock, Stream, Told, joint_attend
from diffbook.predictions import predict_velocity
from diffbook.schedules import RectifiedFlowSchedule
from diffbook.training import load, save

DOUBLE = torch.float64


def randomise(module, seed=0):
    "Weights that let every part speak."
    g = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5, generator=g)
    return module.double().eval()


def draw(*shape, seed=1):
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def mmdit(**change):
    return randomise(
        MMDiT(**{'in_channels': 3, 'dim': 16, 'depth': 2, 'heads': 2, 'seq_dim': 6, 'vec_dim': 5, 'table': 6, 'base': 4, 'qk_norm': True} | change)
    )


def flux(**change):
    return randomise(Flux(**{'in_channels': 3, 'dim': 16, 'depth': (1, 2), 'heads': 2, 'seq_dim': 6, 'vec_dim': 5, 'axes': (2, 2, 4)} | change))


def given(net, words=4, side=8):
    return draw(2, 3, side, side), torch.tensor([120.0, 800.0], dtype=DOUBLE), Cond(vec=draw(2, net.vec_dim, seed=2), seq=draw(2, words, 6, seed=3))


NETS = [mmdit, flux]


# Joint attention


def by_loops(asks):
    "One query at a time, over one list of all keys."
    q, k, v = (torch.cat(parts, 1) for parts in zip(*asks))
    out = torch.empty_like(q)
    for b, n, h in torch.cartesian_prod(*map(torch.arange, q.shape[:3])):
        scores = torch.stack([q[b, n, h] @ key / q.shape[-1] ** 0.5 for key in k[b, :, h]])
        out[b, n, h] = torch.softmax(scores, 0) @ v[b, :, h]
    return out.flatten(2).split([a[0].shape[1] for a in asks], 1)


def asks():
    return [tuple(draw(2, n, 3, 4, seed=10 * n + i) for i in range(3)) for n in (3, 5)]


def test_joint_attention_is_one_softmax_over_all_kinds():
    for got, want in zip(joint_attend(asks()), by_loops(asks())):
        torch.testing.assert_close(got, want, atol=1e-13, rtol=0)


def test_without_places_the_order_of_the_kinds_does_not_matter():
    a, b = asks()
    torch.testing.assert_close(joint_attend([a, b]), joint_attend([b, a])[::-1], atol=1e-13, rtol=0)


def test_queries_and_keys_turn_and_values_do_not():
    a, b = asks()
    angles = draw(8, 2, seed=4)
    turned = [(rotate(q, at), rotate(k, at), v) for (q, k, v), at in zip((a, b), angles.split([3, 5]))]
    torch.testing.assert_close(joint_attend([a, b], angles), joint_attend(turned), atol=1e-13, rtol=0)


def test_heads_norm_each_head_by_itself():
    heads = randomise(Heads(12, 3, qk_norm=True))
    q, k, v = heads(x := draw(2, 5, 12))
    plain = heads.qkv(x).chunk(3, -1)
    for got, one, norm in ((q, plain[0], heads.norm_q), (k, plain[1], heads.norm_k)):
        parts = one.unflatten(-1, (3, 4))
        torch.testing.assert_close(got, parts / (parts.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight, atol=1e-13, rtol=0)
    torch.testing.assert_close(v, plain[2].unflatten(-1, (3, 4)))


# Blocks


def test_a_new_block_changes_nothing():
    text, image, c = draw(2, 3, 16), draw(2, 5, 16, seed=2), draw(2, 16, seed=3)
    for options in ({}, {'qk_norm': True, 'dual': True}, {'last': True}):
        got = JointBlock(16, 2, **options).double()(text, image, c)
        assert torch.equal(got[0], text) and torch.equal(got[1], image)
    assert torch.equal(SingleBlock(16, 2).double()(image, c), image)


def tell(stream, *values):
    "Let a stream hear the same numbers whatever it is told."
    nn.init.zeros_(stream.tell.weight)
    stream.tell.bias.data = torch.cat([torch.full((16,), float(v), dtype=DOUBLE) for v in values])


def test_what_attention_gives_stays_in_the_stream():
    "With the gate of the MLP shut, a block adds what the attention gives, and nothing else."
    block = randomise(JointBlock(16, 2))
    text, image, c = draw(2, 3, 16), draw(2, 5, 16, seed=2), draw(2, 16, seed=3)
    for stream in (block.text, block.image):
        tell(stream, 0, 0, 1, 0, 0, 0)
    normed = [F.layer_norm(x, (16,), eps=1e-6) for x in (text, image)]
    read, seen = joint_attend([block.text.attn(normed[0]), block.image.attn(normed[1])])
    got = block(text, image, c)
    torch.testing.assert_close(got[0] - text, block.text.attn.out(read), atol=1e-12, rtol=0)
    torch.testing.assert_close(got[1] - image, block.image.attn.out(seen), atol=1e-12, rtol=0)


def test_the_six_numbers_of_a_stream():
    "Shift, scale, gate of the attention, then of the MLP."
    stream, x = randomise(Stream(16, 2)), draw(2, 5, 16)
    tell(stream, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    told, norm = stream.hear(draw(2, 16, seed=3)), lambda x: F.layer_norm(x, (16,), eps=1e-6)
    for got, want in zip(stream.ask(x, told), stream.attn(1.2 * norm(x) + 0.1)):
        torch.testing.assert_close(got, want, atol=1e-13, rtol=0)
    mixed = draw(2, 5, 16, seed=4)
    h = x + 0.3 * stream.attn.out(mixed)
    torch.testing.assert_close(stream.take(x, mixed, told), h + 0.6 * stream.mlp(1.5 * norm(h) + 0.4), atol=1e-12, rtol=0)


def test_a_second_attention_of_the_image_alone():
    stream, x = randomise(Stream(16, 2, dual=True)), draw(2, 5, 16)
    tell(stream, 0, 0, 0, 0, 0, 0, 0.7, 0.8, 0.9)
    (mixed,) = joint_attend([stream.own(1.8 * F.layer_norm(x, (16,), eps=1e-6) + 0.7)])
    torch.testing.assert_close(stream.take(x, draw(2, 5, 16), stream.hear(draw(2, 16))), x + 0.9 * stream.own.out(mixed), atol=1e-12, rtol=0)


def test_where_the_scale_comes_first():
    "At the end of a network, and for the text in the last block: the first half is the scale."
    last, x = randomise(LastText(16, 2)), draw(2, 5, 16)
    tell(last.close, 0.2, 0.1)
    want = 1.2 * F.layer_norm(x, (16,), eps=1e-6) + 0.1
    torch.testing.assert_close(last.close(x, draw(2, 16)), want, atol=1e-13, rtol=0)
    for got, one in zip(last.ask(x, draw(2, 16)), last.attn(want)):
        torch.testing.assert_close(got, one)
    assert type(last.close) is Closing and torch.equal(last.take(x, draw(2, 5, 16, seed=2), draw(2, 16)), x)


def test_a_single_block_is_an_attention_and_an_mlp_side_by_side():
    block, x = randomise(SingleBlock(16, 2)), draw(2, 5, 16)
    tell(block, 0.1, 0.2, 0.3)
    h = 1.2 * F.layer_norm(x, (16,), eps=1e-6) + 0.1
    (mixed,) = joint_attend([block.attn(h)])
    first, second = block.out.weight.split([16, 64], 1)
    want = x + 0.3 * (mixed @ first.T + F.gelu(block.widen(h), approximate='tanh') @ second.T + block.out.bias)
    torch.testing.assert_close(block(x, draw(2, 16)), want, atol=1e-12, rtol=0)


# What is told


def test_levels_are_told_in_thousandths():
    "Where the levels run from 0 to 1000, a hundredth of the way can be seen."
    told = randomise(Told(16, 5))
    vec, near = draw(1, 5), torch.tensor([500.0, 510.0])
    a, b = (told(t[None], vec) for t in near)
    assert (a - b).norm() > 0.1 * a.norm()
    seen = []
    told.time[0].register_forward_hook(lambda layer, given, y: seen.append(given[0]))
    told(torch.linspace(0, 1000, 200), draw(200, 5))
    values = torch.linalg.svdvals(seen[0] - seen[0].mean(0))
    assert (values > 0.01 * values[0]).sum() > 50


def test_the_guidance_scale_is_told_as_a_time_of_thousandths():
    told, vec = randomise(Told(16, 5, guided=True)), draw(2, 5)
    seen = {}
    for name in ('time', 'scale'):
        getattr(told, name)[0].register_forward_hook(lambda layer, x, y, name=name: seen.update({name: x[0]}))
    told(torch.tensor([3500.0, 1000.0]), torch.cat([vec, torch.tensor([[3.5], [1.0]])], 1))
    assert torch.equal(seen['time'], seen['scale'])


# Networks


@pytest.mark.parametrize('make', NETS)
def test_a_new_network_answers_zero(make):
    net = make()
    fresh = type(net)(**net.arguments).double()
    assert fresh(*given(net)).count_nonzero() == 0


@pytest.mark.parametrize('make', NETS)
def test_everything_it_is_given_matters(make):
    net, (x, t, cond) = make(), given(make())
    want = net(x, t, cond)
    assert want.shape == x.shape
    for other in (
        (x + draw(*x.shape, seed=8), t, cond),
        (x, t + 50, cond),
        (x, t, Cond(vec=cond.vec + 1, seq=cond.seq)),
        (x, t, Cond(vec=cond.vec, seq=cond.seq.flip(0))),
    ):
        assert (net(*other) - want).abs().max() > 1e-3


@pytest.mark.parametrize('make', NETS)
def test_padding_is_read_unless_it_is_masked(make):
    net, (x, t, cond) = make(), given(make())
    longer = Cond(vec=cond.vec, seq=torch.cat([cond.seq, draw(2, 3, 6, seed=9)], 1))
    assert (net(x, t, longer) - net(x, t, cond)).abs().max() > 1e-3
    mask = (torch.arange(7) < 4).expand(2, 7)
    torch.testing.assert_close(net(x, t, Cond(vec=cond.vec, seq=longer.seq, mask=mask)), net(x, t, cond), atol=1e-12, rtol=0)


@pytest.mark.parametrize('make', NETS)
def test_words_have_no_order_but_that_of_their_tower(make):
    "Neither net tells the text where its tokens stand: that the tower has written into them."
    net, (x, t, cond) = make(), given(make())
    torch.testing.assert_close(net(x, t, Cond(vec=cond.vec, seq=cond.seq.flip(1))), net(x, t, cond), atol=1e-12, rtol=0)


def test_positions_are_the_middle_of_the_table():
    net = mmdit()
    table = net.places[0].unflatten(0, (6, 6))
    for rows, columns in ((6, 6), (2, 4), (3, 5)):
        top, left = (6 - rows) // 2, (6 - columns) // 2
        want = torch.stack([table[top + i, left + j] for i in range(rows) for j in range(columns)])
        assert torch.equal(net.window(rows, columns)[0], want)
    with pytest.raises(ValueError, match='expected at most 6 a side'):
        net.window(7, 6)


def test_flux_packs_as_pixel_unshuffle_does():
    "A token is all of channel 0, then all of channel 1: not DiT's order."
    net = flux(depth=(0, 0))
    x, t, cond = given(net)
    seen = []
    net.patches.register_forward_hook(lambda layer, given, y: seen.append(given[0]))
    net.head.register_forward_hook(lambda layer, given, y: seen.append(y))
    y = net(x, t, cond)
    assert torch.equal(seen[0], F.pixel_unshuffle(x, 2).flatten(2).mT)
    assert torch.equal(y, F.pixel_shuffle(seen[1].mT.unflatten(2, (4, 4)), 2))


def test_places_of_flux():
    "A word turns by nothing; a patch by its row and its column, and not by a number of the picture."
    net = flux()
    angles = net.angles(3, 2, 4)
    assert angles.shape == (11, 4) and angles[:3].count_nonzero() == 0 and angles[:, 0].count_nonzero() == 0
    assert angles[3:, 1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1] and angles[3:, 2].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert angles[4:, 3].tolist() == pytest.approx([0.01 * j for j in [1, 2, 3, 0, 1, 2, 3]])  # the slower pair, by theta to the half


@pytest.mark.parametrize('make', NETS)
def test_saved_and_read_back(tmp_path, make):
    net = make()
    save(tmp_path, Denoiser(net, RectifiedFlowSchedule(), predict_velocity))
    back = load(tmp_path)
    x, t, cond = given(net)
    assert back.net.arguments.keys() == net.arguments.keys()
    torch.testing.assert_close(
        back.double()(x, t / 1000, cond), Denoiser(net, RectifiedFlowSchedule(), predict_velocity)(x, t / 1000, cond), atol=1e-5, rtol=1e-5
    )


def plain(net, **change):
    x, t, cond = given(net)
    return net(*({'x': x, 't': t, 'cond': cond} | change).values())


test_bad_input = refuses({
    'no condition': (lambda: plain(mmdit(), cond=None), 'cond holds nothing, expected vec, seq'),
    'a vector of another width': (lambda: plain(flux(), cond=Cond(vec=draw(2, 5), seq=draw(2, 4, 6))), r'cond.vec has shape \(2, 5\), expected \(2, 6\)'),
    'sides that patches do not fill': (lambda: plain(mmdit(), x=draw(2, 3, 7, 8)), 'h and w multiples of 2'),
    'other channels': (lambda: plain(flux(), x=draw(2, 4, 8, 8)), r'expected \(b, 3, h, w\)'),
    'more patches than places': (lambda: plain(mmdit(), x=draw(2, 3, 14, 8)), 'there are 7 x 4 patches, expected at most 6 a side'),
})  # fmt: skip


def test_a_weight_belongs_to_its_time():
    "Logit-normal times and a weight that is their density are one training; a weight that is drawn beside the time is none."
    net = mmdit(depth=1)
    model = Denoiser(net, RectifiedFlowSchedule(), predict_velocity)
    _, _, cond = given(net)
    x0, eps, t = draw(2, 3, 8, 8), draw(2, 3, 8, 8, seed=5), torch.tensor([0.2, 0.9], dtype=DOUBLE)
    weighted = diffusion_loss(model, x0, t, eps, cond, weight=logit_normal_density)
    torch.testing.assert_close(weighted, logit_normal_density(model.schedule, t) * diffusion_loss(model, x0, t, eps, cond), rtol=1e-12, atol=0)
