"""The layers of the U-Net, against their definitions and against other implementations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffbook.core import Cond
from diffbook.nets.layers import (
    CrossAttention,
    Downsample,
    ResBlock,
    SelfAttention,
    TransformerBlock,
    Upsample,
    attend,
    check_cond,
    sinusoids,
    zero,
)

DOUBLE = torch.float64


def randomise(module):
    "Random numbers in place of the zeros that new layers start with."
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    return module.double().eval()


@pytest.mark.parametrize('shift', [0.0, 1.0])
@pytest.mark.parametrize('cos_first', [False, True])
def test_waves_turn_at_their_own_rate(shift, cos_first):
    "A step of one unit turns the pair (cos, sin) number i by period ** (-i / (half - shift)) radians."
    t, half = torch.tensor([0.0, 3.0, 250.0]), 6
    now, later = sinusoids(t, 12, period=500.0, shift=shift, cos_first=cos_first), sinusoids(t + 1, 12, period=500.0, shift=shift, cos_first=cos_first)
    pairs = [torch.complex(*(w.double().chunk(2, 1) if cos_first else w.double().chunk(2, 1)[::-1])) for w in (now, later)]
    rates = torch.tensor([500 ** (-i / (half - shift)) for i in range(half)], dtype=DOUBLE)
    torch.testing.assert_close((pairs[1] / pairs[0]).angle(), rates.expand(3, half), atol=5e-5, rtol=0)


def test_waves_are_float32_for_any_input():
    "Published weights were trained with float32 features: a float64 time must give the same numbers."
    t = torch.tensor([7.0, 999.0])
    assert torch.equal(sinusoids(t.double(), 32), sinusoids(t, 32))


@pytest.mark.parametrize('dim', [0, 2, 7])
def test_waves_refuse_a_bad_dim(dim):
    with pytest.raises(ValueError, match=f'dim is {dim}'):
        sinusoids(torch.zeros(1), dim)


def test_zero_returns_the_layer_itself():
    layer = nn.Linear(3, 4)
    assert zero(layer) is layer and not any(p.any() for p in layer.parameters())


@pytest.mark.parametrize('c_out', [8, 12])
@pytest.mark.parametrize('scale_shift', [False, True])
def test_resblock_is_what_it_says(c_out, scale_shift):
    "Term by term from its own weights, with the norm written out."

    def norm(h, layer):
        parts = h.unflatten(1, (4, -1))
        mean, var = parts.mean((2, 3, 4), keepdim=True), parts.var((2, 3, 4), correction=0, keepdim=True)
        h = ((parts - mean) / (var + layer.eps).sqrt()).flatten(1, 2)
        return h * layer.weight[:, None, None] + layer.bias[:, None, None]

    block = randomise(ResBlock(8, c_out, groups=4, scale_shift=scale_shift))
    x, told = torch.randn(3, 8, 5, 6, dtype=DOUBLE), torch.randn(3, block.signals, dtype=DOUBLE)
    a = norm(x, block.norm1)
    h = block.conv1(a * torch.sigmoid(a))
    m = told[..., None, None]
    h = (1 + m[:, :c_out]) * norm(h, block.norm2) + m[:, c_out:] if scale_shift else norm(h + m, block.norm2)
    straight = x if c_out == 8 else torch.einsum('oi,bihw->bohw', block.skip.weight[:, :, 0, 0], x) + block.skip.bias[:, None, None]
    torch.testing.assert_close(block(x, told), straight + block.conv2(h * torch.sigmoid(h)), atol=1e-12, rtol=0)


def test_a_new_block_is_its_skip():
    block, x = ResBlock(8, 8, groups=2), torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x, torch.randn(2, 16)), x)


def test_dropout_acts_in_training_only():
    "With all of it silenced, the correction is the bias of the last convolution."
    block = ResBlock(8, 8, groups=2, dropout=1.0)
    nn.init.normal_(block.conv2.weight)
    x, told = torch.randn(2, 8, 4, 4), torch.zeros(2, 16)
    assert torch.equal(block.train()(x, told), x)
    assert not torch.allclose(block.eval()(x, told), x)


@pytest.mark.parametrize('heads', [1, 4])
def test_attention_equals_torchs_own(heads):
    "nn.MultiheadAttention is another implementation; its weights are laid out the same way."
    layer = randomise(SelfAttention(16, heads, groups=4))
    other = nn.MultiheadAttention(16, heads, batch_first=True, dtype=DOUBLE)
    other.load_state_dict(
        {'in_proj_weight': layer.qkv.weight, 'in_proj_bias': layer.qkv.bias, 'out_proj.weight': layer.out.weight, 'out_proj.bias': layer.out.bias}
    )
    x = torch.randn(2, 16, 3, 5, dtype=DOUBLE)
    tokens = layer.norm(x).flatten(2).transpose(1, 2)
    want = x + other(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), want, atol=1e-12, rtol=0)


@pytest.mark.parametrize('heads', [1, 3])
def test_attend_is_an_average_in_every_head(heads):
    "One token at a time; a causal one reads itself and those before it."
    q, k, v = torch.randn(3, 2, 5, 6, dtype=DOUBLE)
    for causal in (False, True):
        want = torch.empty_like(q)
        for b, i, part in ((b, i, slice(n, n + 6 // heads)) for b in range(2) for i in range(5) for n in range(0, 6, 6 // heads)):
            seen = slice(i + 1) if causal else slice(5)
            want[b, i, part] = torch.softmax(k[b, seen, part] @ q[b, i, part] / (6 // heads) ** 0.5, 0) @ v[b, seen, part]
        torch.testing.assert_close(attend(q, k, v, heads, causal=causal), want, atol=1e-12, rtol=0)


def test_a_network_is_told_what_it_was_built_for():
    x, cond = torch.zeros(2, 3, 4, 4), Cond(vec=torch.zeros(2, 5), seq=torch.zeros(2, 7, 6), mask=torch.ones(2, 7).bool(), img=torch.zeros(2, 1, 4, 4))
    check_cond(cond, x, vec=5, seq=6, img=1)
    check_cond(None, x)
    check_cond(Cond(), x)
    for built, message in (
        ({'vec': 5, 'seq': 6}, 'cond holds vec, seq, img, mask, expected vec, seq and nothing else: the net was built for channels'),
        ({'vec': 4, 'seq': 6, 'img': 1}, r'cond.vec has shape \(2, 5\), expected \(2, 4\)'),
        ({'vec': 5, 'seq': 6, 'img': 2}, r'cond.img has shape \(2, 1, 4, 4\), expected \(2, 2, 4, 4\)'),
    ):
        with pytest.raises(ValueError, match=message):
            check_cond(cond, x, **built)


def lookup(layer, x, other, mask):
    "One head, one token, one key at a time, from the layer's own weights."
    d, out = x.shape[2] // layer.heads, torch.zeros_like(x)
    k, v = (other @ layer.kv.weight.T).chunk(2, 2)
    for b in range(len(x)):
        for i in range(x.shape[1]):
            for head in range(layer.heads):
                part = slice(head * d, (head + 1) * d)
                scores = [math.exp((layer.q.weight[part] @ x[b, i] @ k[b, j, part]).item() / d**0.5) if mask[b, j] else 0.0 for j in range(other.shape[1])]
                for j, score in enumerate(scores):
                    if score:
                        out[b, i, part] += score / sum(scores) * v[b, j, part]
    return out @ layer.out.weight.T + layer.out.bias


@pytest.mark.parametrize('heads', [1, 2])
def test_lookup_is_what_it_says(heads):
    "With masks of every kind: all tokens, some, one, none. Where nothing may be read, zeros are."
    layer, x, other = randomise(CrossAttention(4, heads, 3)), torch.randn(4, 2, 4, dtype=DOUBLE), torch.randn(4, 5, 3, dtype=DOUBLE)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    with torch.no_grad():
        want = lookup(layer, x, other, mask)
        torch.testing.assert_close(layer(x, other, mask), want, atol=1e-12, rtol=0)
        torch.testing.assert_close(layer(x[:1], other[:1]), want[:1], atol=1e-12, rtol=0)
        assert torch.equal(layer(x, other, mask)[3], layer.out.bias.expand(2, 4))


@pytest.mark.parametrize('dtype', [torch.float32, DOUBLE])
def test_padding_and_what_stands_in_it_change_nothing(dtype):
    "Values and gradients; an empty row has neither NaN in the one nor in the other."
    torch.manual_seed(0)
    layer = randomise(CrossAttention(8, 2, 6)).to(dtype)
    x, other = torch.randn(3, 7, 8, dtype=dtype, requires_grad=True), torch.randn(3, 9, 6, dtype=dtype, requires_grad=True)
    mask = torch.arange(9) < torch.tensor([[4], [9], [0]])
    y = layer(x, other, mask)
    wild = torch.where(mask[..., None], other, 1e4 * torch.randn_like(other))
    torch.testing.assert_close(layer(x, wild, mask), y, atol=1e-6 if dtype == torch.float32 else 1e-12, rtol=0)
    gx, gother = torch.autograd.grad(y.square().sum(), [x, other])
    assert torch.isfinite(gx).all() and torch.isfinite(gother).all() and not gother[~mask].any() and gother[mask].abs().min() > 0


def test_weights_are_those_of_the_answer():
    "Averaging the values with `weights` by hand gives what `forward` gives; rows sum to one, or to zero."
    layer, x, other = randomise(CrossAttention(8, 2, 6)), torch.randn(3, 4, 8, dtype=DOUBLE), torch.randn(3, 5, 6, dtype=DOUBLE)
    mask = torch.arange(5) < torch.tensor([[2], [5], [0]])
    w = layer.weights(x, other, mask)
    mixed = torch.einsum('bgnl,bgld->bngd', w, layer.kv(other).chunk(2, -1)[1].unflatten(-1, (2, -1)).transpose(1, 2)).flatten(2)
    torch.testing.assert_close(layer.out(mixed), layer(x, other, mask), atol=1e-12, rtol=0)
    torch.testing.assert_close(w.sum(-1), mask.any(1).double()[:, None, None].expand(3, 2, 4))
    assert not w[~mask[:, None, None].expand_as(w)].any()


def test_a_new_transformer_is_its_input():
    block, x = TransformerBlock(8, 2, 6, groups=2), torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x, torch.randn(2, 3, 6)), x)


def test_self_attention_within_the_transformer_knows_no_places():
    "Shuffled pixels come out shuffled, and the caption is read as a set: its places must stand in its tokens."
    block, x, seq = randomise(TransformerBlock(8, 2, 6, groups=2)), torch.randn(2, 8, 3, 4, dtype=DOUBLE), torch.randn(2, 5, 6, dtype=DOUBLE)
    order, words = torch.randperm(12), torch.randperm(5)
    mix = lambda v: v.flatten(2)[..., order].reshape(v.shape)  # noqa: E731
    torch.testing.assert_close(block(mix(x), seq[:, words]), mix(block(x, seq)), atol=1e-12, rtol=0)


@pytest.mark.parametrize('size', [(1, 1), (4, 4), (3, 7)])
def test_upsample_is_repeating_and_convolving(size):
    "Values and gradients, so that training is the same too."
    up, x = randomise(Upsample(4)), torch.randn(2, 4, *size, dtype=DOUBLE, requires_grad=True)
    slow = up.conv(F.interpolate(x, scale_factor=2.0, mode='nearest'))
    weights = torch.randn_like(slow)
    grads = [torch.autograd.grad((y * weights).sum(), [x, up.conv.weight, up.conv.bias]) for y in (up(x), slow)]
    torch.testing.assert_close(up(x), slow, atol=1e-12, rtol=0)
    for fast, want in zip(*grads):
        torch.testing.assert_close(fast, want, atol=1e-11, rtol=0)


@pytest.mark.parametrize('pad', [(1, 1), (0, 1)])
@pytest.mark.parametrize('size', [4, 7])
def test_downsample_looks_where_it_should(pad, size):
    "Pixel (i, j) of the output is the kernel laid at (2i - before, 2j - before)."
    down, x = randomise(Downsample(1, pad)), torch.randn(1, 1, size, size, dtype=DOUBLE)
    y, (w,), framed = down(x), down.conv.weight[0], F.pad(x, (2, 2, 2, 2))[0, 0]
    assert y.shape[-1] == (size + sum(pad) - 3) // 2 + 1
    for i in range(y.shape[-1]):
        corner = 2 * i - pad[0] + 2
        want = (framed[corner : corner + 3, corner : corner + 3] * w).sum() + down.conv.bias[0]
        assert math.isclose(y[0, 0, i, i].item(), want.item(), abs_tol=1e-12)
