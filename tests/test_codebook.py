"""The codebook: the nearest entry and its pretended gradient; and tiles against the whole."""

import copy
import math

import pytest
import torch
from test_vae import net, randn
from torch import nn

from diffbook.nets import codebook as module
from diffbook.nets.codebook import VectorQuantizer, in_tiles, run_in_tiles
from diffbook.nets.vae import AutoencoderKL

# The codebook


def test_the_nearest_entry_is_taken():
    torch.manual_seed(0)
    vq, z = VectorQuantizer(7, 3).double(), randn(2, 3, 4, 5)
    out, index, _ = vq(z)
    for b, i, j in [(0, 0, 0), (1, 3, 4), (1, 2, 1)]:
        near = min(range(7), key=lambda k: (vq.codes[k] - z[b, :, i, j]).norm().item())
        assert index[b, i, j] == near
        torch.testing.assert_close(out[b, :, i, j], vq.codes[near])
    torch.testing.assert_close(out, vq.look_up(index))


def test_gradients_go_straight_through():
    "To z as if nothing happened; the codebook moves to z, and z to the codebook a quarter as hard."
    torch.manual_seed(0)
    vq, z = VectorQuantizer(5, 2, commitment=0.25).double(), randn(1, 2, 3, 3).requires_grad_()
    out, index, loss = vq(z)
    (through,) = torch.autograd.grad(out.sin().sum(), z, retain_graph=True)
    torch.testing.assert_close(through, out.detach().cos())
    to_z, to_codes = torch.autograd.grad(loss.sum(), (z, vq.codes))
    far = (z - vq.look_up(index)).detach()
    torch.testing.assert_close(to_z, 0.25 * 2 * far / z.numel())
    want = torch.zeros_like(vq.codes).index_add_(0, index.flatten(), -2 * far.permute(0, 2, 3, 1).reshape(-1, 2) / z.numel())
    torch.testing.assert_close(to_codes, want)
    torch.testing.assert_close(loss, 1.25 * far.square().mean()[None])


@pytest.mark.parametrize('call, said', [
    (lambda: VectorQuantizer(0, 4), 'size=0'),
    (lambda: VectorQuantizer(5, 4)(randn(1, 3, 2, 2)), r'expected \(b, 4, h, w\)'),
    (lambda: in_tiles(net(), 1), 'tile is 1, expected a whole number, at least 2'),
    (lambda: in_tiles(net(), True), 'tile is True'),
])  # fmt: skip
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


# Tiles


@pytest.mark.parametrize('channels', [(8,), (8, 16), (8, 8, 12)])
@pytest.mark.parametrize('blocks', [1, 2])
def test_tiles_equal_the_whole(channels, blocks):
    "Every size of tile, also one that does not divide the image, in float64 to rounding."
    vae = net(channels, blocks=blocks)
    x = randn(2, 3, 24, 40)
    with torch.no_grad():
        mean, log_var = vae.posterior(x)
        z = vae.encode(x)
        y = vae.decode(z)
        for tile in (2, 5, 8, 12, 1000):
            tiled = in_tiles(vae, tile)
            for got, want in zip(tiled.posterior(x), (mean, log_var), strict=True):
                torch.testing.assert_close(got, want, rtol=0, atol=1e-11)
            torch.testing.assert_close(tiled.decode(z), y, rtol=0, atol=1e-11)
    drawn = vae.encode(x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(in_tiles(vae, 8).encode(x, torch.Generator().manual_seed(0)), drawn, rtol=0, atol=1e-11)


def test_tiles_leave_the_model_alone():
    vae, x = net(), randn(1, 3, 24, 24)
    before, modules = copy.deepcopy(vae.state_dict()), [type(m) for m in vae.modules()]
    tiled = in_tiles(vae, 8)
    tiled.decode(tiled.encode(x))
    assert isinstance(tiled, AutoencoderKL) and tiled.arguments == vae.arguments and tiled.state_dict().keys() == before.keys()
    assert all(a is b for a, b in zip(vae.parameters(), tiled.parameters(), strict=True))
    assert modules == [type(m) for m in vae.modules()] and not any(m._forward_pre_hooks for m in vae.modules())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), vae.state_dict().values(), strict=True))


def test_one_cell_less_of_halo_is_seen(monkeypatch):
    "The margin is what the convolutions need and not more: with one cell less the result differs."
    vae, x = net(blocks=1), randn(1, 3, 48, 48)
    ceil, z = math.ceil, vae.encode(x).detach()
    want = vae.decode(z).detach()
    monkeypatch.setattr(module.math, 'ceil', lambda v: ceil(v) - 1)
    tiled = in_tiles(vae, 16)
    assert (tiled.decode(z) - want).abs().max() > 1e-6
    assert (tiled.encode(x) - z).abs().max() > 1e-9


def test_tiles_use_less_memory():
    "The largest tensor that the finest level makes: the tile decides, not the image."
    vae, sizes = net((8, 16)), []

    def watch(m, given, out):
        sizes.append(out.numel())

    def largest(vae):
        sizes.clear()
        hooks = [m.register_forward_hook(watch) for m in vae.decoder.level1.modules() if isinstance(m, nn.Conv2d)]
        with torch.no_grad():
            vae.decode(randn(1, 4, 64, 64))
        for hook in hooks:
            hook.remove()
        return max(sizes)

    assert largest(vae) == 8 * 128 * 128 and largest(in_tiles(vae, 32)) == 8 * (32 + 2 * 6) ** 2  # 6 convolutions, 6 pixels a side


def test_a_level_in_tiles_is_the_level():
    level, x = net().decoder.level1, randn(1, 16, 12, 20)
    with torch.no_grad():
        torch.testing.assert_close(run_in_tiles(level, x, 10), level(x), rtol=0, atol=1e-11)
