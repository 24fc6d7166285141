"""Control: nothing at the start, the right thing added in the right place, and what the formulas of the chapter say."""

import copy
from dataclasses import replace

import numpy
import pytest
import torch
from PIL import Image
from test_pretrained import filled, parts
from torch import nn

from diffbook import cli
from diffbook.control import (
    Controlled,
    ControlNet,
    IPAdapter,
    SharedMaps,
    TwoSources,
    edges,
    guess_scales,
    guide_twice,
    rewired,
    with_control,
)
from diffbook.core import Cond
from diffbook.data import from_model
from diffbook.exact import GaussianMixture
from diffbook.losses import Denoiser
from diffbook.nets.clip import TextTower
from diffbook.nets.layers import CrossAttention
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.pretrained import save_pipeline
from diffbook.schedules import CosineSchedule
from diffbook.shapes import draw_shapes
from diffbook.stable_diffusion import StableDiffusion
from diffbook.stages import Stage
from diffbook.training import save

CLOSE = {'rtol': 0, 'atol': 1e-10}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def speaking(module, seed=0):
    "Weights that let every part speak: none is zero."
    g = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5, generator=g)
    return module.double().eval()


@pytest.fixture(scope='module')
def net():
    return speaking(UNet(3, channels=(8, 12), blocks=(1, 2), heads=(0, 2, 2), groups=4, cond_dim=5, seq_dim=6, patch=2)).requires_grad_(False)


@pytest.fixture(scope='module')
def asked():
    return (
        drawn(2, 3, 16, 16),
        torch.tensor([20.0, 700.0]),
        Cond(vec=drawn(2, 5, seed=1), seq=drawn(2, 7, 6, seed=2), img=drawn(2, 1, 16, 16, seed=3).sigmoid()),
    )


def plain(cond):
    return replace(cond, img=None)


def test_at_the_start_nothing_is_added_to_the_last_bit(net, asked):
    x, level, cond = asked
    steered = Controlled(net, ControlNet.of(net, 1, (4, 6)).double())
    assert torch.equal(steered(x, level, cond), net(x, level, plain(cond)))
    assert torch.equal(steered(x, level, plain(cond)), net(x, level, plain(cond)))


def seen(net, call):
    "What each step of the way down and of the middle says during a call."
    found, hooks = [], []
    for step in (*net.down, *net.mid):
        hooks.append(step.register_forward_hook(lambda part, given, out: found.append(out.detach())))
    call()
    for hook in hooks:
        hook.remove()
    return found


def test_a_copy_sees_what_the_network_sees(net, asked):
    x, level, cond = asked
    control = ControlNet.of(net, 1, (4, 6)).double()
    want = seen(net, lambda: net(x, level, plain(cond)))
    got = seen(control.encoder, lambda: control(x, level, plain(cond), cond.img))
    assert len(got) == len(want) == 6
    for a, b in zip(got, want):
        torch.testing.assert_close(a, b, **CLOSE)


def test_the_frozen_way_down_sees_what_it_always_saw(net, asked):
    "Control is added after the way down and the middle, so only the way up reads it."
    x, level, cond = asked
    steered = Controlled(net, speaking(ControlNet.of(net, 1, (4, 6)), 1))
    assert (steered(x, level, cond) - net(x, level, plain(cond))).abs().max() > 1e-3
    for a, b in zip(seen(net, lambda: steered(x, level, cond)), seen(net, lambda: net(x, level, plain(cond)))):
        assert torch.equal(a, b)


@pytest.mark.parametrize('strength', [1.0, 0.3])
def test_what_is_added_arrives_where_the_way_up_reads(net, asked, strength):
    "Hooks in the plain network add the same from outside."
    x, level, cond = asked
    control = speaking(ControlNet.of(net, 1, (4, 6)), 1)
    more = [strength * v for v in control(x, level, plain(cond), cond.img)]
    twin = copy.deepcopy(net)
    twin.mid[-1].register_forward_hook(lambda part, given, out: out + more.pop())
    twin.join = lambda h, skip: torch.cat([h, skip + more.pop()], dim=1)
    torch.testing.assert_close(Controlled(net, control, strength=strength)(x, level, cond), twin(x, level, plain(cond)), **CLOSE)
    assert not more


def test_who_wakes_when(net, asked):
    "Step 1: zero convolutions alone; step 2: the copy, and the last layer of the hint; step 3: its other layers."
    x, level, cond = asked
    control = ControlNet.of(net, 1, (4, 6)).double()
    steered, optimiser = Controlled(net, control), torch.optim.SGD(control.parameters(), lr=1e-2)
    parts = [control.zeros, control.encoder.down, control.hint.leave, control.hint.enter]
    awake = []
    for _ in range(3):
        optimiser.zero_grad()
        steered(x, level, cond).square().mean().backward()
        awake.append([any(p.grad is not None and p.grad.count_nonzero() for p in part.parameters()) for part in parts])
        optimiser.step()
    assert awake == [[True, False, False, False], [True, True, True, False], [True, True, True, True]]


def test_guess_mode_scales():
    scales = guess_scales(13, torch.zeros(1).double())
    assert scales.dtype == torch.float64
    torch.testing.assert_close(scales, 10 ** (torch.arange(13).double() / 12 - 1), **CLOSE)


def test_a_hint_of_another_size_is_refused(net, asked):
    x, level, cond = asked
    with pytest.raises(ValueError, match=r'hint has shape \(2, 1, 32, 32\)'):
        Controlled(net, ControlNet.of(net, 1, (4, 6)).double())(x, level, replace(cond, img=drawn(2, 1, 32, 32)))


def test_with_control_leaves_the_model_as_it_is(net, asked):
    x, level, cond = asked
    model = Denoiser(net, CosineSchedule(), predict_v)
    steered = with_control(model, ControlNet.of(net, 1, (4, 6)).double(), strength=0.5)
    assert model.net is net and steered.net.net is net and steered.net.strength == 0.5
    assert torch.equal(steered(x, torch.tensor(0.4).double(), cond), model(x, torch.tensor(0.4).double(), plain(cond)))


def test_a_hint_for_every_call(net, asked):
    x, level, cond = asked
    control, hint = speaking(ControlNet.of(net, 1, (4, 6)), 1), drawn(1, 1, 16, 16, seed=8).sigmoid()
    want = Controlled(net, control)(x, level, replace(cond, img=hint.expand(2, -1, -1, -1)))
    assert torch.equal(Controlled(net, control, hint=hint)(x, level, plain(cond)), want)


def test_edges_know_shapes_and_no_colours():
    image = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    image[:, 0, 2:4, 2:4] = 200
    want = torch.zeros(6, 6)
    want[1, 2:4] = want[2:4, 1] = want[3, 2:4] = want[2:4, 3] = 1
    assert torch.equal(edges(image)[0, 0], want)
    other = image.flip(1)
    assert torch.equal(edges(other), edges(image))
    scenes = draw_shapes(8, objects=(1,)).images
    assert edges(scenes).shape == (8, 1, 32, 32) and set(edges(scenes).unique().tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match='uint8'):
        edges(scenes.float())


# Pictures as prompts


def test_two_sources_are_two_softmaxes():
    torch.manual_seed(0)
    cross, kv = CrossAttention(8, 2, 6).double(), nn.Linear(6, 16, bias=False).double()
    x, text, picture = drawn(2, 9, 8), drawn(2, 7, 6, seed=1), drawn(2, 4, 6, seed=2)
    mask = torch.arange(11)[None] < torch.tensor([[5], [11]])
    mask[:, 7:] = True
    got = TwoSources(cross, kv, 4, 0.6)(x, torch.cat([text, picture], 1), mask)
    other = copy.deepcopy(cross)
    other.kv = kv
    bias = cross.out.bias
    want = cross(x, text, mask[:, :7]) + 0.6 * (other(x, picture) - bias)
    torch.testing.assert_close(got, want, **CLOSE)


def test_no_picture_is_zeros_before_the_projection(net, asked):
    x, level, cond = asked
    adapter = speaking(IPAdapter.of(net, 10), 3)
    told = adapter.tell(replace(plain(cond), mask=torch.ones(2, 7, dtype=torch.bool)), torch.zeros(2, 10).double())
    assert told.seq.shape == (2, 11, 6) and told.mask.shape == (2, 11) and torch.equal(told.seq[:, :7], cond.seq)
    want = nn.functional.layer_norm(adapter.project.bias.reshape(4, 6), (6,), adapter.norm.weight, adapter.norm.bias)
    torch.testing.assert_close(told.seq[0, 7:], want, **CLOSE)
    assert want.abs().min() > 0


def test_an_adapter_starts_with_the_keys_of_the_text_and_is_silent_at_scale_zero(net, asked):
    x, level, cond = asked
    adapter = IPAdapter.of(net, 10).double()
    assert len(adapter.kv) == 6 and torch.equal(adapter.kv[0].weight, net.down[2].attn.cross.kv.weight)
    told = adapter.tell(plain(cond), drawn(2, 10, seed=5))
    torch.testing.assert_close(adapter.attach(net, 0.0)(x, level, told), net(x, level, plain(cond)), **CLOSE)
    assert (adapter.attach(net)(x, level, told) - net(x, level, plain(cond))).abs().max() > 1e-3


# Two scales, borrowed maps


def test_two_scales_are_guidance_in_guidance():
    law = GaussianMixture([0.6, 0.4], [[-1.0, 0.5], [1.0, 0.0]], 0.2 * torch.eye(2).double().expand(2, 2, 2))
    picture = law.condition([[1.0, 0.0]], [0.2], 0.5)
    laws = {0.0: law, 1.0: picture, 2.0: picture.condition([[0.6, 0.8]], [0.1], 0.4)}
    denoise = lambda x, t, cond: laws[float(cond.vec[0, 0])].denoise(CosineSchedule())(x, t)
    said = lambda k: Cond(vec=torch.full((5, 1), k))
    x, t = drawn(5, 2), torch.tensor(0.6).double()
    a, b, c = (denoise(x, t, said(k)) for k in (0.0, 1.0, 2.0))
    for si, st in ((1.5, 6.0), (1.0, 1.0), (1.0, 3.0), (2.0, 2.0)):
        got = guide_twice(denoise, said(1.0), said(0.0), picture=si, text=st)(x, t, said(2.0))
        torch.testing.assert_close(got, a + si * (b - a) + st * (c - b), **CLOSE)
    with pytest.raises(ValueError, match='picture'):
        guide_twice(denoise, said(1.0), said(0.0), picture=0.0, text=1.0)


def test_shared_maps_read_their_own_text_with_the_maps_of_the_first_half():
    torch.manual_seed(0)
    cross = CrossAttention(8, 2, 6).double()
    x, text = drawn(4, 9, 8), drawn(4, 7, 6, seed=1)
    mask = torch.ones(4, 7, dtype=torch.bool)
    mask[0, 5:] = False
    got = SharedMaps(cross)(x, text, mask)
    torch.testing.assert_close(got[:2], cross(x[:2], text[:2], mask[:2]), **CLOSE)
    values = cross.kv(text[2:]).chunk(2, -1)[1].reshape(2, 7, 2, 4)
    want = torch.einsum('bhnl,blhd->bnhd', cross.weights(x[:2], text[:2], mask[:2]), values).reshape(2, 9, 8)
    torch.testing.assert_close(got[2:], cross.out(want), **CLOSE)


def test_rewired_shares_weights_and_leaves_the_network(net, asked):
    x, level, cond = asked
    twin = rewired(net, lambda i, cross: SharedMaps(cross))
    assert all(a is b for a, b in zip(twin.parameters(), net.parameters())) and isinstance(net.down[2].attn.cross, CrossAttention)
    pair = plain(cond).map(lambda v: v[:1].expand(2, *v.shape[1:]))  # the same caption twice
    torch.testing.assert_close(
        twin(x[:1].expand(2, -1, -1, -1), level[:1].expand(2), pair), net(x[:1].expand(2, -1, -1, -1), level[:1].expand(2), pair), **CLOSE
    )


# The command line


def run(*argv, code=0):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in argv])
    assert stop.value.code == code


def loud(net, channels, widths=(4, 6)):
    control = ControlNet.of(net, channels, widths)
    for k, layer in enumerate(control.zeros):
        nn.init.normal_(layer.weight, std=0.3, generator=torch.Generator().manual_seed(k))
    nn.init.normal_(control.hint.leave.weight, generator=torch.Generator().manual_seed(9))
    return control


def picture(path, side):
    pixels = (torch.arange(side * side).reshape(side, side) * 7 % 256).byte()
    Image.fromarray(pixels.numpy()).save(path)
    return pixels[None, None].float() / 255


def test_the_command_line_steers_a_model_of_ones_own(tmp_path, capsys):
    torch.manual_seed(0)
    net = UNet(3, channels=(8,), blocks=(1,), heads=(0, 0), groups=4)
    nn.init.normal_(net.head.weight, std=0.1)
    model, control, hint = Denoiser(net, CosineSchedule(), predict_v), loud(net, 1), picture(tmp_path / 'hint.png', 8)
    save(tmp_path / 'model', model, {'shape': [3, 8, 8]})
    save(tmp_path / 'control', control)
    asked = ('sample', tmp_path / 'model', '--n', 2, '--steps', 2, '--solver', 'ddim', '--zoom', 1, '--out', tmp_path / 'out.png')
    run(*asked, '--control', tmp_path / 'hint.png', '--controlnet', tmp_path / 'control')
    got = torch.from_numpy(numpy.array(Image.open(tmp_path / 'out.png').convert('RGB'))).permute(2, 0, 1)
    steered = with_control(model.eval(), control.eval(), hint=hint)
    want = from_model(Stage(steered, model.schedule, (3, 8, 8)).draw(2, steps=2, seed=0))
    assert (got[:, :8, :8].int() - want[0].int()).abs().max() <= 1 and (got[:, :8, 10:18].int() - want[1].int()).abs().max() <= 1
    assert (want.int() - from_model(Stage(model, model.schedule, (3, 8, 8)).draw(2, steps=2, seed=0)).int()).abs().max() > 8
    for extra, words in ((('--control', tmp_path / 'hint.png'), '--controlnet is not given'), (('--controlnet', 'x'), '--control is not given')):
        run(*asked, *extra, code=2)
        assert words in capsys.readouterr().err
    save(tmp_path / 'other', loud(UNet(3, channels=(12,), blocks=(1,), heads=(0, 0), groups=4), 1))
    run(*asked, '--control', tmp_path / 'hint.png', '--controlnet', tmp_path / 'other', code=2)
    assert 'a network of other widths' in capsys.readouterr().err


@pytest.mark.filterwarnings('ignore:n is .* sampling begins with pure noise')
def test_the_command_line_steers_a_published_pipeline(tmp_path):
    made = parts()
    words = made['tokenizer']
    made['text_encoder'] = filled(TextTower(words.vocab_size, 9, 6, 2, 2, hidden=24, end=words.end))
    save_pipeline(tmp_path / 'sd', **made, config={'unet': {'sample_size': 8}})
    control, hint = loud(made['unet'], 3), picture(tmp_path / 'hint.png', 16).expand(-1, 3, -1, -1)
    save(tmp_path / 'control', control)
    run('sample', tmp_path / 'sd', '--steps', 2, '--size', 16, '--zoom', 1, '--guidance', 1, '--out', tmp_path / 'out.png', '--control', tmp_path / 'hint.png', '--controlnet', tmp_path / 'control')  # fmt: skip
    pipe = StableDiffusion.from_pretrained(tmp_path / 'sd')
    plain = pipe('', steps=2, scale=1.0, height=16, width=16, output='tensor', progress=False)
    pipe.denoiser = with_control(pipe.denoiser, control.eval(), hint=hint)
    want = pipe('', steps=2, scale=1.0, height=16, width=16, output='tensor', progress=False)
    got = torch.from_numpy(numpy.array(Image.open(tmp_path / 'out.png').convert('RGB'))).permute(2, 0, 1)
    assert (got[:, :16, :16].int() - (want[0] * 255).round().int()).abs().max() <= 1
    assert (want - plain).abs().max() > 0.01
