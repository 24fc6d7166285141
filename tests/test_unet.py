"""The U-Net: what it must not do, what it must not mix, and what it says to bad input."""

import json
from dataclasses import replace

import helpers
import pytest
import torch
from torch import nn

from diffbook.core import Cond, build, describe
from diffbook.nets.unet import Layout, UNet

SMALL = {'channels': (8, 16), 'groups': 4, 'heads': (0, 0, 2)}
KINDS = {
    'small': SMALL,
    'plain': {**SMALL, 'heads': (0, 0, 0)},
    'ddpm': {
        'channels': (8, 16, 16),
        'blocks': (2, 1, 1),
        'heads': (0, 2, 0, 1),
        'patch': 1,
        'groups': 4,
        'layout': Layout(scale_shift=False, down_pad=(0, 1)),
    },
    'one-level': {'channels': (8,), 'blocks': (1,), 'heads': (2, 2), 'groups': 4, 'patch': 4},
    'conditioned': {**SMALL, 'cond_dim': 3},
    'reading': {**SMALL, 'heads': (0, 2, 2), 'seq_dim': 5},
    'beside': {**SMALL, 'img_channels': 1},
    'all three': {'channels': (8, 16), 'blocks': (1, 1), 'heads': (2, 0, 0), 'groups': 4, 'patch': 1, 'cond_dim': 3, 'seq_dim': 5, 'img_channels': 2},
}


def make(kind, c=2, **more):
    "A net of random numbers: a new one answers zero and would hide everything."
    net = UNet(c, **{**KINDS[kind], **more})
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net.double().eval()


def inputs(kind, b=3, c=2, size=16):
    built = {'cond_dim': 0, 'seq_dim': 0, 'img_channels': 0, **KINDS[kind]}
    shapes = {'vec': (built['cond_dim'],), 'seq': (4, built['seq_dim']), 'img': (built['img_channels'], size, size)}
    fields = {k: torch.randn(b, *shape, dtype=torch.float64) for k, shape in shapes.items() if 0 not in shape}
    cond = Cond(**fields, mask=torch.arange(4) < torch.tensor([[4], [1], [2]])[:b] if 'seq' in fields else None) if fields else None
    return torch.randn(b, c, size, size, dtype=torch.float64), 1000 * torch.rand(b, dtype=torch.float64), cond


@pytest.mark.parametrize('kind', KINDS)
def test_images_of_a_batch_do_not_mix(kind):
    helpers.do_not_mix(make(kind), *inputs(kind))


@pytest.mark.parametrize('kind', KINDS)
def test_everything_that_is_told_matters(kind):
    "Every parameter and every input moves the output: no block is skipped."
    net, (x, t, cond) = make(kind), inputs(kind)
    leaves = [x.requires_grad_()] + [v.requires_grad_() for v in (cond.vec, cond.seq, cond.img) if v is not None] if cond else [x.requires_grad_()]
    y = net(x, t, cond)
    for (name, _), grad in zip(
        [*((f'input {i}', 0) for i in range(len(leaves))), *net.named_parameters()],
        torch.autograd.grad((y * torch.randn_like(y)).sum(), [*leaves, *net.parameters()]),
    ):
        assert grad.abs().max() > 1e-12, name
    assert not torch.allclose(net(x, t + 1, cond), y)


@pytest.mark.parametrize('kind', KINDS)
def test_every_bridge_carries(kind):
    "What comes over each bridge moves the output by that way alone, and the last seen is the first read."
    net, (x, t, cond), read, seen = make(kind), inputs(kind), [], []
    stack = net.join

    def join(h, skip):
        read.append(skip.detach().requires_grad_())
        return stack(h, read[-1])

    for step in net.down:
        step.register_forward_hook(lambda module, args, y: seen.append(y.detach()))
    net.join = join
    y = net(x, t, cond)
    grads = torch.autograd.grad((y * torch.randn_like(y)).sum(), read)
    assert len(read) == len(net.down) + 1 and all(g.abs().amax() > 1e-12 for g in grads)
    assert all(torch.equal(a, b) for a, b in zip(read, seen[::-1]))


@pytest.mark.parametrize('kind', KINDS)
def test_a_new_net_answers_zero(kind):
    x, t, cond = inputs(kind)
    net = UNet(2, **KINDS[kind]).double()
    assert not net(x, t, cond).any()


@pytest.mark.parametrize('kind', KINDS)
def test_config_rebuilds_the_net(kind):
    "Through JSON and back: the same arguments, names and outputs."
    net, (x, t, cond) = make(kind), inputs(kind)
    twin = build(json.loads(json.dumps(describe(net)))).double().eval()
    twin.load_state_dict(net.state_dict(), strict=True)
    assert torch.equal(twin(x, t, cond), net(x, t, cond))


@pytest.mark.parametrize('size', [4, 6, 10, 14, 18, 28])
def test_odd_levels_keep_the_size(size):
    "28 folds to 14, 7, 4: three levels, rounded up on the way down and cut on the way up."
    net = UNet(1, channels=(8, 8, 8), blocks=(1, 1, 1), heads=(0, 0, 0, 0), groups=4)
    assert net(torch.randn(1, 1, size, size + 4), torch.zeros(1)).shape == (1, 1, size, size + 4)


def test_rows_of_what_is_told_stand_in_the_published_order():
    "Down, up, middle, as in every file written so far: two columns for each channel of each block."
    net = UNet(1, channels=(8, 16), blocks=(1, 2), heads=(0, 0, 2), groups=4)
    names = {step: name for name, step in net.named_modules()}
    rows = {names[step]: (step.columns.start, step.columns.stop) for way in (net.down, net.up, net.mid) for step in way if hasattr(step, 'columns')}
    widths = {'down.0': 8, 'down.2': 16, 'down.3': 16, 'up.0': 16, 'up.1': 16, 'up.2': 16, 'up.4': 8, 'up.5': 8, 'mid.0': 16, 'mid.1': 16}
    ends = torch.tensor([0, *widths.values()]).cumsum(0) * 2
    assert rows == {name: (a, b) for name, a, b in zip(widths, ends.tolist(), ends[1:].tolist())}
    assert net.tell.out_features == ends[-1]


@pytest.mark.parametrize('kind', ['reading', 'all three'])
def test_padding_of_the_tokens_changes_nothing(kind):
    "Longer, and filled with something else: the same picture. No token at all: a picture, and not NaN."
    net, (x, t, cond) = make(kind), inputs(kind)
    more = torch.cat([torch.where(cond.mask[..., None], cond.seq, 7.0), torch.randn(3, 3, 5, dtype=torch.float64)], 1)
    padded = replace(cond, seq=more, mask=torch.cat([cond.mask, torch.zeros(3, 3, dtype=torch.bool)], 1))
    torch.testing.assert_close(net(x, t, padded), net(x, t, cond), atol=1e-12, rtol=0)
    empty = replace(cond, mask=torch.zeros_like(cond.mask))
    assert torch.isfinite(net(x, t, empty)).all() and not torch.allclose(net(x, t, empty), net(x, t, cond))
    whole = net(x, t, replace(cond, mask=None))  # the first row has no padding, the others have
    torch.testing.assert_close(whole[:1], net(x, t, cond)[:1], atol=1e-12, rtol=0)
    assert (whole[1:] - net(x, t, cond)[1:]).abs().amax((1, 2, 3)).min() > 1e-6


@pytest.mark.parametrize('patch', [1, 2, 4])
def test_image_beside_is_more_channels(patch):
    "The same weights as a net with more input channels, which get the image after the noisy one."
    both = UNet(3, out_channels=2, channels=(8,), blocks=(1,), heads=(0, 0), groups=4, patch=patch).double()
    net = UNet(2, img_channels=1, channels=(8,), blocks=(1,), heads=(0, 0), groups=4, patch=patch).double()
    for p in both.parameters():
        nn.init.normal_(p, std=0.2)
    net.load_state_dict(both.state_dict(), strict=True)
    x, t = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.zeros(2)
    assert torch.equal(net(x[:, :2], t, Cond(img=x[:, 2:])), both(x, t))


def test_out_channels_and_dtype_follow():
    net = make('small', out_channels=4)
    y = net(*inputs('small')[:2])
    assert y.shape == (3, 4, 16, 16) and y.dtype == torch.float64


def test_parameters_stay_contiguous():
    "safetensors refuses anything else."
    net = make('small')
    net(*inputs('small')[:2]).sum().backward()
    assert all(p.is_contiguous() and p.grad.is_contiguous() for p in net.parameters())


def test_dropout_is_silent_in_eval_and_loud_in_training():
    net, (x, t, _) = make('small', dropout=0.5), inputs('small')
    assert torch.equal(net(x, t), net(x, t))
    net.train()
    assert not torch.equal(net(x, t), net(x, t))


@pytest.mark.parametrize('shift', [4, 8])
def test_shifts_by_the_product_of_strides_commute(shift):
    "Far from the border and without norms, which see it; the period is patch * 2 ** (levels - 1) = 4."
    net = make('plain', c=1, blocks=(1, 1))
    for m in net.modules():
        for name in ('norm', 'norm1', 'norm2'):
            if hasattr(m, name):
                setattr(m, name, nn.Identity())
    x, t, middle = torch.randn(1, 1, 160, 160, dtype=torch.float64), torch.zeros(1), (..., slice(78, 82), slice(78, 82))
    want, scale = net(x, t)[middle], net(x, t).abs().max()
    assert (net(x.roll(shift, 2), t).roll(-shift, 2)[middle] - want).abs().max() <= 1e-12 * scale
    assert (net(x.roll(1, 2), t).roll(-1, 2)[middle] - want).abs().max() > 1e-3 * scale


REFUSED = {
    'channels of x': (lambda: make('small')(torch.zeros(1, 3, 16, 16), torch.zeros(1)), r'x has shape \(1, 3, 16, 16\), expected \(b, 2, h, w\)'),
    'axes of x': (lambda: make('small')(torch.zeros(2, 16, 16), torch.zeros(1)), r'x has shape \(2, 16, 16\)'),
    'size of x': (lambda: make('small')(torch.zeros(1, 2, 15, 16), torch.zeros(1)), 'multiples of 2'),
    'size of x for ddpm': (lambda: make('ddpm')(torch.zeros(1, 2, 6, 8), torch.zeros(1)), 'multiples of 4'),
    'one level for two': (lambda: make('small')(torch.zeros(2, 2, 16, 16), torch.zeros(1)), r'noise_level has shape \(1,\), expected \(2,\)'),
    'a level without batch': (lambda: make('small')(torch.zeros(1, 2, 16, 16), torch.tensor(5.0)), r'noise_level has shape \(\), expected \(1,\)'),
    'a missing condition': (lambda: make('conditioned')(torch.zeros(1, 2, 16, 16), torch.zeros(1)), 'cond holds nothing, expected vec'),
    'an unwanted condition': (
        lambda: make('small')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(vec=torch.zeros(1, 3))),
        'cond holds vec, expected nothing: ',
    ),
    'tokens that are missing': (lambda: make('reading')(torch.zeros(1, 2, 16, 16), torch.zeros(1)), 'cond holds nothing, expected seq and nothing else'),
    'a mask without tokens': (
        lambda: make('small')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(mask=torch.ones(1, 3, dtype=torch.bool))),
        'cond holds mask, expected nothing',
    ),
    'width of the tokens': (
        lambda: make('reading')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(seq=torch.zeros(1, 7, 4))),
        r'cond.seq has shape \(1, 7, 4\), expected \(1, 7, 5\)',
    ),
    'axes of the tokens': (
        lambda: make('reading')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(seq=torch.zeros(1, 5))),
        r'cond.seq has shape \(1, 5\), expected \(1, l, 5\)',
    ),
    'length of the mask': (
        lambda: make('reading')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(seq=torch.zeros(1, 7, 5), mask=torch.ones(1, 6).bool())),
        r'cond.mask has shape \(1, 6\), expected \(1, 7\)',
    ),
    'kind of the mask': (
        lambda: make('reading')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(seq=torch.zeros(1, 7, 5), mask=torch.ones(1, 7))),
        'cond.mask holds torch.float32, expected torch.bool',
    ),
    'size of the image beside': (
        lambda: make('beside')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(img=torch.zeros(1, 1, 8, 8))),
        r'cond.img has shape \(1, 1, 8, 8\), expected \(1, 1, 16, 16\)',
    ),
    'tokens and no heads': (lambda: UNet(channels=(16,), blocks=(1,), heads=(0, 0), seq_dim=4), 'seq_dim=4, and no stage has heads'),
    'a negative width': (lambda: UNet(cond_dim=-1), 'cond_dim=-1'),
    'a sequence': (lambda: make('conditioned')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(seq=torch.zeros(1, 4, 3))), 'cond holds seq'),
    'width of the condition': (
        lambda: make('conditioned')(torch.zeros(1, 2, 16, 16), torch.zeros(1), Cond(vec=torch.zeros(1, 4))),
        r'cond.vec has shape \(1, 4\), expected \(1, 3\)',
    ),
    'no levels': (lambda: UNet(channels=(), blocks=(), heads=(0,)), 'channels=()'),
    'blocks per level': (lambda: UNet(channels=(16, 16), blocks=(1,)), r'blocks=\(1,\)'),
    'no blocks': (lambda: UNet(channels=(16, 16), blocks=(1, 0)), r'blocks=\(1, 0\)'),
    'groups': (lambda: UNet(channels=(20, 40), groups=8), '20 is not an even multiple of groups=8'),
    'heads': (lambda: UNet(channels=(16, 32), heads=(0, 0, 5)), '5 heads cannot share 32 channels'),
    'patch': (lambda: UNet(patch=0), 'patch=0'),
    'in_channels': (lambda: UNet(0), 'in_channels=0'),
    'dropout': (lambda: UNet(dropout=1.5), 'dropout=1.5'),
    'down_pad': (lambda: Layout(down_pad=(2, 2)), r'down_pad=\(2, 2\)'),
}


test_bad_input_is_refused = helpers.refuses(REFUSED)
