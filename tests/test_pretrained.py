"""Reading and writing the published layout: what lies where in memory, and one clear error for each damaged folder."""

import json
import math
import re
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from diffbook.core import Cond
from diffbook.nets.clip import CLIP, ImageTower, TextTower
from diffbook.nets.unet import Layout, UNet
from diffbook.nets.vae import AutoencoderKL
from diffbook.predictions import predict_eps, predict_score, predict_v
from diffbook.pretrained import (
    NoisePlan,
    fill,
    load_clip,
    load_schedule,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    load_vae,
    save_pipeline,
    save_published,
)
from diffbook.published import unet
from diffbook.published.folders import KINDS
from diffbook.samplers import ddim
from diffbook.schedules import CosineSchedule, DiscreteSchedule, linear_betas, scaled_linear_betas
from diffbook.text import Tokenizer

UNET = 'diffusion_pytorch_model.safetensors'


def filled(model, seed=0):
    "Weights none of which is zero."
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5, generator=g)
    return model.eval()


def small_unet(**more):
    options = dict(
        out_channels=4,
        channels=(8, 16),
        blocks=(1, 1),
        heads=(2, 0, 2),
        patch=1,
        groups=4,
        seq_dim=6,
        layout=Layout(scale_shift=False, cos_first=True, freq_shift=0),
    )
    return filled(UNet(4, **(options | more)))


def parts():
    tower = filled(TextTower(522, 9, 6, 2, 2, hidden=24, end=513))
    return dict(
        unet=small_unet(), vae=filled(AutoencoderKL(channels=(4, 8), blocks=1, groups=2)), text_encoder=tower,
        tokenizer=Tokenizer(['a b', 'ab c</w>'], 9), scheduler=NoisePlan(DiscreteSchedule(scaled_linear_betas()), offset=1, last=1.0),
    )  # fmt: skip


LOADERS = {'unet': load_unet, 'vae': load_vae, 'text_encoder': load_text_encoder, 'tokenizer': load_tokenizer, 'scheduler': load_schedule}


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp('model')
    save_pipeline(folder, **parts())
    return folder


@pytest.fixture
def folder(tmp_path):
    "A U-Net's own folder, to be damaged."
    save_published(tmp_path / 'unet', small_unet())
    return tmp_path / 'unet'


# What is read


@pytest.mark.parametrize('part', LOADERS)
def test_a_model_comes_back(saved, part):
    "From the whole model's folder and from the part's own; each number as it was."
    want = parts()[part]
    for source in (saved, str(saved), saved / part):
        got = LOADERS[part](source)
        if isinstance(want, nn.Module):
            assert not got.training and got.arguments == want.arguments
            assert got.state_dict().keys() == want.state_dict().keys()
            assert all(torch.equal(v, want.state_dict()[k]) for k, v in got.state_dict().items())
            assert all(p.requires_grad and p.device.type == 'cpu' for p in got.parameters())
        elif part == 'tokenizer':
            assert (got.pieces, got.rules, got.pad, got.context) == (want.pieces, want.rules, want.pad, want.context)
        else:
            assert torch.equal(got.schedule.betas, want.schedule.betas)
            assert (got.prediction, got.spacing, got.offset, got.last, got.clip) == (predict_eps, 'leading', 1, 1.0, None)


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc/self/maps')
def test_weights_lie_in_the_file(folder):
    "A parameter that is a published tensor is mapped from the file; only what we keep fused is copied."
    net = load_unet(folder)
    with open('/proc/self/maps') as lines:
        ranges = [[int(end, 16) for end in line.split()[0].split('-')] for line in lines if line.rstrip().endswith(str(folder / UNET))]
    copied = {name for name, p in net.named_parameters() if not any(a <= p.data_ptr() < b for a, b in ranges)}
    assert copied == {n for n, p in net.named_parameters() if n.startswith('tell.') or '.kv.' in n}


def test_changing_weights_leaves_the_file(folder):
    before = (folder / UNET).read_bytes()
    net = load_unet(folder)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1)
    assert (folder / UNET).read_bytes() == before
    save_published(folder, net)  # over the file it is mapped from
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in load_unet(folder).state_dict().items())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(folder, dtype):
    "Asked for, or as stored; rounding once."
    full = load_unet(folder)
    asked = load_unet(folder, dtype)
    save_published(folder.parent / 'other', full, dtype)
    for net in (asked, load_unet(folder.parent / 'other')):
        for k, v in net.state_dict().items():
            assert v.dtype == dtype and torch.equal(v, full.state_dict()[k].to(dtype))


def test_classes(tmp_path):
    "A table of classes goes both ways; a layer that is told anything else is refused."
    net = small_unet(cond_dim=5, seq_dim=0, heads=(2, 0, 4))
    with pytest.raises(ValueError, match='cond has a bias that is not zero'):
        save_published(tmp_path, net)
    net.cond.bias.data.zero_()
    save_published(tmp_path, net)
    assert load_file(tmp_path / UNET)['class_embedding.weight'].shape == (5, 32)
    back = load_unet(tmp_path)
    x, t, vec = torch.randn(5, 4, 8, 8), torch.full((5,), 3.0), torch.eye(5)
    assert torch.equal(back(x, t, Cond(vec=vec)), net(x, t, Cond(vec=vec)))


def test_a_projection_and_a_whole_clip(tmp_path):
    "A tower with a projection, and the tower of a CLIP, which leaves the projection to it."
    projected = filled(TextTower(20, 7, 8, 2, 2, hidden=32, end=19, dim=3))
    save_published(tmp_path / 'text_encoder_2', projected)
    back = load_text_encoder(tmp_path, folder='text_encoder_2')
    assert back.arguments == projected.arguments and torch.equal(back.text_projection.weight, projected.text_projection.weight)
    clip = filled(CLIP(TextTower(20, 7, 8, 2, 2, end=19), ImageTower(6, 3, 12, 2, 3, hidden=48), 5))
    text = {
        'hidden_size': 8,
        'intermediate_size': 32,
        'num_hidden_layers': 2,
        'num_attention_heads': 2,
        'vocab_size': 20,
        'max_position_embeddings': 7,
        'eos_token_id': 19,
    }
    image = {'hidden_size': 12, 'intermediate_size': 48, 'num_hidden_layers': 2, 'num_attention_heads': 3, 'image_size': 6, 'patch_size': 3}
    (tmp_path / 'config.json').write_text(json.dumps({'architectures': ['CLIPModel'], 'text_config': text, 'vision_config': image, 'projection_dim': 5}))
    buffers = {f'{k}_model.embeddings.position_ids': torch.arange(7)[None] for k in ('text', 'vision')}
    save_file(clip.state_dict() | buffers, tmp_path / 'model.safetensors')
    assert all(torch.equal(v, clip.state_dict()[k]) for k, v in load_clip(tmp_path).state_dict().items())
    tower = load_text_encoder(tmp_path)
    assert all(torch.equal(v, clip.text_model.state_dict()[k]) for k, v in tower.state_dict().items())


def test_towers_that_are_not_what_was_asked_for(tmp_path):
    tower = filled(TextTower(20, 7, 8, 2, 2, end=19))
    save_published(tmp_path, tower)
    with pytest.raises(ValueError, match='describes a CLIPTextModel; supported here: CLIPModel'):
        load_clip(tmp_path)
    write_config(tmp_path, architectures=None)
    with pytest.raises(ValueError, match='no text_config and vision_config; for a text tower alone take load_text_encoder'):
        load_clip(tmp_path)
    write_config(tmp_path, hidden_act='relu')
    with pytest.raises(ValueError, match="hidden_act is 'relu', expected quick_gelu or gelu") as info:
        load_text_encoder(tmp_path)
    assert str(tmp_path) in str(info.value)


def test_times_of_a_plan():
    "Three spacings of a table of 1000, by hand (Lin et al. 2024, table 2); in this book the first beta belongs to t = 1."
    table = DiscreteSchedule(linear_betas())
    times = {s: NoisePlan(table, spacing=s).times(10).tolist() for s in ('leading', 'trailing', 'linspace')}
    assert times['leading'] == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 0]
    assert times['trailing'] == [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100, 0]
    assert times['linspace'] == [1000, 889, 778, 667, 556, 445, 334, 223, 112, 1, 0]
    assert NoisePlan(table, offset=1, last=1.0).times(4).tolist() == [752, 502, 252, 2, 1]
    assert NoisePlan(table, last=1.0).times(4).tolist() == [751, 501, 251, 1]  # the step from 1 to 1 is none


PLANS = {  # a plan, steps, times by hand
    'Euler between rows': (dict(spacing='linspace', whole=False), 3, [1000, 500.5, 1, 0]),
    'DPM-Solver, linspace': (dict(spacing='linspace', spare=1), 2, [1000, 501, 0]),
    'DPM-Solver, leading': (dict(spare=1, offset=1, last=1.0), 3, [752, 502, 252, 1]),
    'Runge and Kutta begin': (dict(halves=3), 4, [751, 626, 501, 376, 251, 126, 1, 0]),
    'an exact half goes to the even row': (dict(spacing='trailing'), 16, [1000, 938, 875, 812, 750, 688, 625, 562, 500, 438, 375, 312, 250, 188, 125, 62, 0]),
}  # fmt: skip


@pytest.mark.parametrize('case', PLANS)
def test_times_of_other_plans(case):
    said, n, want = PLANS[case]
    assert NoisePlan(DiscreteSchedule(linear_betas()), **said).times(n).tolist() == want


@pytest.mark.parametrize('levels, curve', (('use_karras_sigmas', lambda r: r ** (1 / 7)), ('use_exponential_sigmas', math.log), ('use_beta_sigmas', None)))
def test_levels_of_a_plan_are_even_on_their_curve(levels, curve):
    plan = NoisePlan(DiscreteSchedule(scaled_linear_betas()), spacing='trailing', levels=levels)
    times = plan.times(7)
    r = lambda t: float(plan.schedule.sigma(t) / plan.schedule.alpha(t))  # noqa: E731
    curve = curve or (lambda level: pytest.importorskip('scipy').stats.beta.cdf((level - r(143)) / (r(1000) - r(143)), 0.6, 0.6))
    heights = [curve(float(plan.schedule.sigma(t) / plan.schedule.alpha(t))) for t in times[:-1]]
    assert times[0] == 1000 and times[-2] == 143 and len(times) == 8  # the ends are those of trailing spacing
    torch.testing.assert_close(torch.tensor(heights, dtype=torch.float64).diff(), torch.full((6,), (heights[-1] - heights[0]) / 6, dtype=torch.float64))


@pytest.mark.parametrize('spacing, n, first', (('leading', 1, 2), ('leading', 2, 502), ('linspace', 1, 1)))
def test_a_start_far_from_noise_is_said(spacing, n, first):
    plan = NoisePlan(DiscreteSchedule(scaled_linear_betas()), spacing=spacing, offset=1 if spacing == 'leading' else 0)
    share = float(torch.prod(1 - scaled_linear_betas()[:first]))
    with pytest.warns(
        UserWarning,
        match=f'n is {n}, and with {spacing} spacing sampling begins with pure noise at t = {first} of 1000, where {share:.1%} of the variance is data.*trailing',
    ):
        assert plan.times(n)[0] == first


def test_a_start_near_noise_is_silent():
    for spacing, n in (('trailing', 1), ('trailing', 2), ('leading', 10), ('linspace', 2)):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter('always')
            NoisePlan(DiscreteSchedule(scaled_linear_betas()), spacing=spacing, offset=1).times(n)
        assert not told, (spacing, n, [str(w.message) for w in told])


def test_the_denoiser_of_a_plan_tells_the_published_time():
    told = []
    net = lambda x, level, cond: told.append(level) or x  # noqa: E731
    module = nn.Module()
    module.forward = net
    plan = NoisePlan(DiscreteSchedule(linear_betas()), predict_v)
    plan.denoiser(module)(torch.ones(2, 1, 1, 1), torch.tensor(1000.0, dtype=torch.float64))
    assert told[0].tolist() == [999.0, 999.0]


@pytest.mark.parametrize('said, want', (('time', [998.25, 3.5]), ('nearest row', [998.0, 4.0]), ('row below', [998.0, 3.0])))
def test_what_a_network_is_told_between_rows(said, want):
    told = []
    module = nn.Module()
    module.forward = lambda x, level, cond: told.append(level) or x
    plan = NoisePlan(DiscreteSchedule(linear_betas()), told=said)
    plan.denoiser(module)(torch.ones(2, 1, 1, 1), torch.tensor([999.25, 4.5], dtype=torch.float64))
    assert told[0].tolist() == want


def test_a_rule_that_is_not_in_the_book_is_said_by_its_settings(tmp_path):
    (tmp_path / 'scheduler_config.json').write_text(json.dumps({'_class_name': 'UniPCMultistepScheduler', 'solver_order': 3, 'solver_type': 'bh1'}))
    with pytest.warns(UserWarning, match="UniPCMultistepScheduler, which has solver_order 3, solver_type 'bh1', is not in this book; DDIM .* or give a solver"):
        assert load_schedule(tmp_path).step_rule is ddim


def test_nothing_but_data_is_read(saved):
    "No event of code, of a process or of the network while a whole model is read."
    seen, on = [], [True]
    watched = {'pickle.find_class', 'exec', 'os.system', 'subprocess.Popen', 'socket.connect', 'marshal.loads'}

    def hook(event, args):
        if on[0] and event in watched:
            seen.append(event)

    for load in LOADERS.values():  # modules that load lazily are there now
        load(saved)
    sys.addaudithook(hook)
    for load in LOADERS.values():
        load(saved)
    on[0] = False
    assert not seen


# What does not fit


def edit(folder, change, file=UNET):
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file)


def write_config(folder, **change):
    said = json.loads((folder / 'config.json').read_text()) | change
    (folder / 'config.json').write_text(json.dumps(said))


def poke(value, name='conv_in.weight'):
    def change(tensors):
        tensors[name].view(-1)[-1] = value

    return change


def shards(folder, names):
    "Split the weights in two and write an index that names these files."
    tensors = load_file(folder / UNET)
    (folder / UNET).unlink()
    half = sorted(tensors)[: len(tensors) // 2]
    for name, keys in zip(('a.safetensors', 'b.safetensors'), (half, tensors.keys() - set(half))):
        save_file({k: tensors[k] for k in keys}, folder / name)
    index = {k: names[0] if k in half else names[1] for k in tensors}
    (folder / f'{UNET}.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': index}))


def test_shards_are_read(folder):
    want = load_unet(folder).state_dict()
    shards(folder, ('a.safetensors', 'b.safetensors'))
    want = {k: v.clone() for k, v in want.items()}
    assert all(torch.equal(v, want[k]) for k, v in load_unet(folder).state_dict().items())


def rename(tensors):
    tensors['surplus.weight'] = tensors.pop('conv_out.weight')


def drop_many(tensors):
    for name in [k for k in tensors if k.startswith('up_blocks')]:
        del tensors[name]


DAMAGED = {  # what happens to the folder, words of the message
    'a tensor is missing': (lambda f: edit(f, lambda t: t.pop('conv_in.bias')), ['missing: conv_in.bias', 'unet']),
    'a tensor has another name': (lambda f: edit(f, rename), ['missing: conv_out.weight', 'unexpected: surplus.weight']),
    'many are missing': (lambda f: edit(f, drop_many), ['missing: up_blocks.0.resnets.0', r'and \d\d+ more']),
    'a tensor has another shape': (lambda f: edit(f, lambda t: t.update({'conv_in.bias': torch.zeros(9)})), [r'misshapen: conv_in.bias \(9,\).*expected \(8,\)']),
    'a fused tensor has another shape': (lambda f: edit(f, lambda t: t.update({'down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight': torch.zeros(8, 7)})), [r'to_k.weight \(8, 7\).*expected \(8, 6\)']),
    'a tensor of whole numbers': (lambda f: edit(f, lambda t: t.update({'conv_in.bias': torch.zeros(8, dtype=torch.int64)})), ['conv_in.bias.*torch.int64']),
    'a strange kind of number': (lambda f: edit(f, lambda t: t.update({'conv_in.bias': torch.zeros(8).to(torch.float8_e4m3fn)})), ["'conv_in.bias' is torch.float8_e4m3fn, expected one of torch.float32"]),
    'not a number': (lambda f: edit(f, poke(math.nan)), ["'conv_in.weight' holds nan, expected finite"]),
    'infinity': (lambda f: edit(f, poke(-math.inf)), ["'conv_in.weight' holds -inf, expected finite"]),
    'not a number in a fused tensor': (lambda f: edit(f, poke(math.nan, 'up_blocks.0.resnets.0.time_emb_proj.bias')), ["'up_blocks.0.resnets.0.time_emb_proj.bias' holds nan"]),
    'cut short': (lambda f: (f / UNET).write_bytes((f / UNET).read_bytes()[:-1]), ['damaged or cut short', UNET]),
    'empty': (lambda f: (f / UNET).write_bytes(b''), ['damaged or cut short']),
    'a pointer': (lambda f: (f / UNET).write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'), ['pointer of Git LFS']),
    'no weights': (lambda f: (f / UNET).unlink(), [f'holds no {UNET}']),
    'no configuration': (lambda f: (f / 'config.json').unlink(), ['holds no config.json']),
    'neither': (lambda f: ((f / 'config.json').unlink(), (f / UNET).unlink()), [f'holds no config.json and no {UNET}']),
    'only a pickle': (lambda f: (f / UNET).rename(f / 'diffusion_pytorch_model.bin'), ['is a pickle, which can run code', 'diffbook convert .*bin']),
    'no JSON': (lambda f: (f / 'config.json').write_text('{'), ['config.json is not JSON']),
    'a list': (lambda f: (f / 'config.json').write_text('[]'), ['config.json holds list, expected an object']),
    'another class': (lambda f: write_config(f, _class_name='SD3Transformer2DModel'), ['describes a SD3Transformer2DModel', 'supported here: UNet2DModel, UNet2DConditionModel']),
    'an unknown setting': (lambda f: write_config(f, colour=3), ["unknown key 'colour'", 'unet']),
    'a setting we do not follow': (lambda f: write_config(f, conv_in_kernel=5), ['conv_in_kernel is 5, expected 3']),
    'a setting of another type': (lambda f: write_config(f, block_out_channels='wide'), ['unet']),
    'an index that climbs': (lambda f: shards(f, ('a.safetensors', '../b.safetensors')), [r"names the file '../b.safetensors', expected a .safetensors file beside it"]),
    'an index with a root': (lambda f: shards(f, ('/etc/a.safetensors', 'b.safetensors')), ["names the file '/etc/a.safetensors'"]),
    'an index with a folder': (lambda f: shards(f, ('a.safetensors', 'x/b.safetensors')), ["names the file 'x/b.safetensors'"]),
    'an index with a backslash': (lambda f: shards(f, ('a.safetensors', '..\\b.safetensors')), ['names the file']),
    'an index of pickles': (lambda f: shards(f, ('a.bin', 'b.safetensors')), ["names the file 'a.bin', expected a .safetensors file"]),
    'an index of nothing': (lambda f: (shards(f, ('a.safetensors', 'b.safetensors')), (f / f'{UNET}.index.json').write_text('{}')), ['has no weight_map']),
    'a lost shard': (lambda f: (shards(f, ('a.safetensors', 'b.safetensors')), (f / 'b.safetensors').unlink()), ['lacks b.safetensors, which']),
    'a shard cut short': (lambda f: (shards(f, ('a.safetensors', 'b.safetensors')), (f / 'b.safetensors').write_bytes(b'12345678')), ['b.safetensors is damaged or cut short']),
    'two shards with one tensor': (lambda f: (shards(f, ('a.safetensors', 'b.safetensors')), save_file(load_file(f / 'a.safetensors') | load_file(f / 'b.safetensors'), f / 'b.safetensors')), ['which another file holds already']),
}  # fmt: skip


def use(net):
    return net(torch.zeros(1, 4, 8, 8), torch.zeros(1), Cond(seq=torch.zeros(1, 3, 6)))


@pytest.mark.parametrize('case', DAMAGED)
def test_damaged_folders_are_refused(folder, case):
    damage, words = DAMAGED[case]
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError)) as info:
        use(load_unet(folder.parent))  # numbers that stay in the file are looked at when they are first used
    for word in words:
        assert re.search(word, str(info.value)), str(info.value)


def counting(monkeypatch):
    "How often each file is opened from here on, by `open` and by `safe_open`."
    import builtins
    import io
    import pathlib
    from collections import Counter

    import diffbook.published.tensors as tensors

    opened, own, map_file = Counter(), io.open, tensors.safe_open

    def count(file, *args, **kwargs):
        opened[f'open {file}'] += 1
        return own(file, *args, **kwargs)

    def count_map(file, *args):
        opened[f'safe_open {file}'] += 1
        return map_file(file, *args)

    monkeypatch.setattr(builtins, 'open', count)
    monkeypatch.setattr(io, 'open', count)
    if hasattr(pathlib, '_NormalAccessor'):  # Python 3.10 holds on to its own
        monkeypatch.setattr(pathlib._NormalAccessor, 'open', staticmethod(count))
    monkeypatch.setattr(tensors, 'safe_open', count_map)
    return opened


def test_opening_a_model_reads_each_file_once(saved, monkeypatch):
    "Settings once; of the weights the header once, and then they are mapped, once."
    from diffbook.stable_diffusion import StableDiffusion

    opened = counting(monkeypatch)
    StableDiffusion.from_pretrained(saved)
    read = {name: n for name, n in opened.items() if str(saved) in name}
    assert {name.rpartition('/')[2] for name in read} == {
        'model_index.json',
        'scheduler_config.json',
        'config.json',
        UNET,
        'model.safetensors',
        'tokenizer_config.json',
        'vocab.json',
        'merges.txt',
        'special_tokens_map.json',
    }
    assert set(read.values()) == {1}, read
    assert sum(name.startswith('safe_open') for name in read) == 3 == sum(name.startswith('open') and name.endswith('.safetensors') for name in read)


def test_any_network_by_its_class(saved, tmp_path):
    "One door for whatever denoises: in the folder `unet` or `transformer`, or by itself; a class that is not read is named."
    import shutil

    from diffbook.pretrained import load_network

    want = load_unet(saved).state_dict()
    (tmp_path / 'model').mkdir()
    shutil.copytree(saved / 'unet', tmp_path / 'model' / 'transformer')
    for source in (saved, saved / 'unet', tmp_path / 'model'):
        net = load_network(source)
        assert isinstance(net, UNet) and all(torch.equal(v, want[k]) for k, v in net.state_dict().items())
    write_config(tmp_path / 'model' / 'transformer', _class_name='PixArtTransformer2DModel')
    with pytest.raises(ValueError, match='describes a PixArtTransformer2DModel; supported here: UNet2DModel, UNet2DConditionModel'):
        load_network(tmp_path / 'model')


def test_every_cut_is_found(folder):
    "Cut at the header, within it, at its end, and in the numbers."
    data = (folder / UNET).read_bytes()
    header = 8 + int.from_bytes(data[:8], 'little')
    for length in (1, 7, 8, 9, header // 2, header - 1, header, header + 1, (header + len(data)) // 2, len(data) - 4, len(data) - 1):
        (folder / UNET).write_bytes(data[:length])
        with pytest.raises(ValueError, match='damaged or cut short'):
            load_unet(folder)


def test_an_overflow_in_half_precision_is_refused(folder):
    edit(folder, poke(7e4))
    load_unet(folder)
    load_unet(folder, torch.bfloat16)
    with pytest.raises(ValueError, match="'conv_in.weight' holds 70000, too large for torch.float16; take torch.bfloat16"):
        load_unet(folder, torch.float16)


def test_what_does_not_fit_fills_nothing():
    net = small_unet()
    with torch.device('meta'):
        empty = UNet(**net.arguments)
    tensors = unet.as_published(net)
    del tensors['conv_in.bias']
    with pytest.raises(ValueError, match='this one does not fit the model; missing: conv_in.bias'):
        fill(empty, tensors, unet.places(empty), 'this one')
    assert all(p.is_meta for p in empty.parameters())


CALLS = {  # a call, words of the message
    'a pickle': (lambda f: load_unet('model.ckpt'), 'model.ckpt is a pickle, which can run code.*diffbook convert model.ckpt model.safetensors'),
    'no folder': (lambda f: load_vae(f / 'nowhere'), 'there is no folder .*nowhere.*config.json and diffusion_pytorch_model.safetensors'),
    'no folder, as text': (lambda f: load_vae('../nowhere'), 'there is no folder'),
    'no safetensors file': (lambda f: load_unet(f / 'model.safetensors'), 'there is no folder'),
    'a strange dtype': (lambda f: load_unet(f, torch.int8), 'dtype is torch.int8, expected one of torch.float32'),
    'no tokenizer': (lambda f: load_tokenizer(f), 'holds no tokenizer/ with merges.txt or tokenizer.json'),
    'a tokenizer in a file': (lambda f: load_tokenizer(f / UNET), 'is a file, and holds no tokenizer'),
    'no scheduler': (lambda f: load_schedule(f), 'holds no scheduler_config.json'),
    'no clip': (lambda f: load_clip(f), 'holds no model.safetensors'),
    'a single file in other names': (lambda f: load_unet(f / UNET), r'holds no unet in the names of Stable Diffusion \(model.diffusion_model\.'),
    'no vae in a single file': (lambda f: load_vae(f / UNET), 'holds no vae in the names of Stable Diffusion'),
    'no clip in a single file': (lambda f: load_clip(f / UNET), 'holds no clip'),
    'a part that has no layout': (lambda f: save_published(f, nn.Linear(2, 2)), 'Linear has no published layout; expected a UNet'),
    'a folded U-Net': (lambda f: save_published(f, UNet(3)), 'patch is 2; in the published layout a UNet like this one can only have 1'),
    'heads of two widths': (lambda f: save_published(f, small_unet(seq_dim=0, heads=(2, 2, 2))), 'heads is'),
    'a middle that does not read': (lambda f: save_published(f, small_unet(heads=(2, 0, 0))), 'heads is'),
    'scales by channel': (lambda f: save_published(f, AutoencoderKL(channels=(4, 8), groups=2, scale=(1.0, 2.0, 3.0, 4.0))), 'scale is .*one number for all channels'),
    'another eps': (lambda f: save_published(f, AutoencoderKL(channels=(4, 8), groups=2, eps=1e-5)), 'eps is 1e-05'),
    'a curve without table': (lambda f: save_published(f, NoisePlan(CosineSchedule())), 'schedule CosineSchedule.*expected'),
    'a prediction without name': (lambda f: save_published(f, NoisePlan(DiscreteSchedule(linear_betas()), predict_score)), 'expected one of epsilon, sample, v_prediction'),
    'half a pipeline': (lambda f: save_pipeline(f, unet=small_unet()), 'the parts are unet; expected unet and scheduler, alone or with vae'),
    'weights that are not finite': (lambda f: save_published(f, _broken()), 'not finite; nothing was written'),
    'no steps': (lambda f: NoisePlan(DiscreteSchedule(linear_betas())).times(0), 'n is 0, expected a positive whole number'),
    'too many steps': (lambda f: NoisePlan(DiscreteSchedule(linear_betas())).times(1001), 'n is 1001, expected at most 1000 steps'),
    'no room for the halves': (lambda f: NoisePlan(DiscreteSchedule(linear_betas()), halves=3).times(3), 'n is 3, expected more than 3 and at most 1000 steps'),
    'a step from the end to the end': (lambda f: NoisePlan(DiscreteSchedule(linear_betas()), last=1.0).times(1), 'the only step begins where sampling ends: take more steps'),
    'levels without a rule': (lambda f: NoisePlan(DiscreteSchedule(linear_betas()), levels='some'), "levels is 'some', expected one of None, use_karras_sigmas"),
    'a told time without a rule': (lambda f: NoisePlan(DiscreteSchedule(linear_betas()), told='some'), "told is 'some', expected one of time, nearest row, row below"),
    'a variance without a rule': (lambda f: NoisePlan(DiscreteSchedule(linear_betas()), variance='some'), "variance is 'some', expected one of fixed_small"),
    'a plan that no class means': (lambda f: save_published(f, NoisePlan(DiscreteSchedule(linear_betas()), clip=1.0, spare=1)), 'no scheduler of diffusers means'),
    'steps beyond the table': (lambda f: NoisePlan(DiscreteSchedule(linear_betas()), offset=1).times(1000), 'with offset 1 the first time is 1001, beyond the table of 1000'),
}  # fmt: skip


def _broken():
    net = small_unet()
    net.head.bias.data[0] = math.nan
    return net


@pytest.mark.bad_input
@pytest.mark.parametrize('case', CALLS)
def test_bad_calls(folder, case):
    call, words = CALLS[case]
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        call(folder)
    assert {p: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


SCHEDULES = {  # the class, what it is told, words of the refusal
    'another class': ('FlowMatchHeunDiscrete', {}, "_class_name is 'FlowMatchHeunDiscreteScheduler'; supported here: DDIMScheduler.*for flows"),
    'a class that nobody has': ('Turbo', {}, "_class_name is 'TurboScheduler'; supported here: DDIMScheduler"),
    'another table': ('DDIM', {'beta_schedule': 'sigmoid'}, "beta_schedule is 'sigmoid'; supported here: linear, scaled_linear"),
    'another prediction': ('DDIM', {'prediction_type': 'flow'}, "prediction_type is 'flow'; supported here: epsilon, sample, v_prediction"),
    'a prediction its class has not': ('PNDM', {'prediction_type': 'sample'}, "prediction_type is 'sample'; supported here: epsilon, v_prediction"),
    'another spacing': ('DDIM', {'timestep_spacing': 'random'}, "spacing is 'random'.*expected one of leading"),
    'thresholding': ('DDIM', {'thresholding': True}, 'thresholding is True, expected False'),
    'other levels': ('KDPM2Discrete', {'use_karras_sigmas': True}, 'use_karras_sigmas is True, expected False'),
    'levels even in a lambda': ('DPMSolverMultistep', {'use_lu_lambdas': True}, 'use_lu_lambdas is True, expected False'),
    'two kinds of levels': ('EulerDiscrete', {'use_karras_sigmas': True, 'use_exponential_sigmas': True}, 'use_karras_sigmas and use_exponential_sigmas are both true'),
    'levels of a beta law': ('KDPM2Discrete', {'use_beta_sigmas': True}, 'use_beta_sigmas is True, expected False'),
    'levels beyond the table': ('EulerDiscrete', {'sigma_max': 700.0}, 'sigma_max is 700.0, expected None'),
    'times that are levels': ('EulerDiscrete', {'timestep_type': 'continuous'}, "timestep_type is 'continuous', expected 'discrete'"),
    'a flow with levels': ('UniPCMultistep', {'use_flow_sigmas': True, 'use_karras_sigmas': True}, 'use_karras_sigmas is True and use_flow_sigmas is true, expected False'),
    'a flow of DEIS': ('DEISMultistep', {'use_flow_sigmas': True}, 'use_flow_sigmas is True, expected False .for flows'),
    'no shift': ('DPMSolverMultistep', {'use_flow_sigmas': True, 'flow_shift': 0}, 'flow_shift is 0, expected a positive number'),
    'another end': ('EulerDiscrete', {'final_sigmas_type': 'one'}, "final_sigmas_type is 'one'; supported here: zero, sigma_min"),
    'a table that is cut': ('DPMSolverMultistep', {'lambda_min_clipped': -2.0}, 'lambda_min_clipped is -2.0, expected at most -5.06'),
    'the root of a logarithm': ('DDPM', {'variance_type': 'fixed_large_log'}, 'variance_type is fixed_large_log.*expected fixed_large'),
    'another variance': ('DDPM', {'variance_type': 'small'}, "variance_type is 'small', expected one of fixed_small"),
    'a signal that rises at the end': ('EulerDiscrete', {'rescale_betas_zero_snr': True}, 'rescale_betas_zero_snr is true.* 6.0e-08 of the signal at the last row.* 4.* at the row before'),
    'bad betas': ('DDIM', {'trained_betas': [0.1, 2.0]}, r'trained_betas is \[0.1, 2.0\], expected .* from 0 to 1'),
    'fewer betas than steps': ('DDIM', {'trained_betas': [0.1, 0.2]}, 'trained_betas holds 2 betas and num_train_timesteps is 1000, expected the same number'),
    'no steps': ('DDIM', {'num_train_timesteps': 0}, 'num_train_timesteps is 0, expected a whole number from 1'),
    'an offset that is no number': ('DDIM', {'steps_offset': 'one'}, "'one'"),
    'a key that nobody has': ('DDIM', {'use_magic': True}, 'use_magic is True: no scheduler that is read here has this setting'),
    'the old name of x0': ('DDPM', {'predict_epsilon': False}, 'predict_epsilon is False, expected True .*prediction_type'),
}  # fmt: skip


@pytest.mark.bad_input
@pytest.mark.parametrize('case', SCHEDULES)
def test_schedules_that_are_not_followed(tmp_path, case):
    name, said, words = SCHEDULES[case]
    (tmp_path / 'scheduler_config.json').write_text(json.dumps({'_class_name': f'{name}Scheduler', 'beta_schedule': 'linear'} | said))
    with pytest.raises(ValueError, match=words) as info:
        load_schedule(tmp_path)
    assert 'scheduler_config.json' in str(info.value)


TOKENIZERS = {  # what happens to a written tokenizer, words
    'no JSON': (lambda f: (f / 'tokenizer.json').write_text('{'), 'tokenizer.json is not JSON'),
    'another model': (lambda f: (f / 'tokenizer.json').write_text('{"model": {"type": "WordPiece"}}'), "the model is 'WordPiece', expected BPE"),
    'a model in words': (lambda f: (f / 'tokenizer.json').write_text('{"model": "WordPiece"}'), "the model is 'WordPiece', expected BPE"),
    'another numbering': (
        lambda f: (f / 'tokenizer.json').write_text(json.dumps({'model': {'type': 'BPE', 'vocab': {'a': 7}, 'merges': []}})),
        "'a' is token 7, expected 64 by its merges",
    ),
    'an impossible merge': (
        lambda f: (f / 'tokenizer.json').write_text(json.dumps({'model': {'type': 'BPE', 'vocab': {}, 'merges': [['ab', 'c']]}})),
        "merge 0 is 'ab c', expected two known pieces",
    ),
    'another class': (
        lambda f: (f / 'tokenizer_config.json').write_text('{"tokenizer_class": "LlamaTokenizer"}'),
        'describes a LlamaTokenizer; supported here: CLIPTokenizer',
    ),
}


@pytest.mark.parametrize('case', TOKENIZERS)
def test_damaged_tokenizers(tmp_path, case):
    damage, words = TOKENIZERS[case]
    (tmp_path / 'tokenizer.json').write_text(json.dumps({'model': {'type': 'BPE', 'vocab': {}, 'merges': []}}))
    damage(tmp_path)
    with pytest.raises(ValueError, match=words):
        load_tokenizer(tmp_path)


# The Hub


def test_without_the_hub_the_folder_to_fill_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ImportError, match=f'put config.json and {UNET} of somebody/model into the folder somebody/model/unet'):
        load_unet('somebody/model')
    with pytest.raises(ImportError, match='put scheduler_config.json of somebody/model into the folder somebody/model/scheduler'):
        load_schedule('somebody/model')


@pytest.mark.parametrize('part', LOADERS)
def test_offline_the_folder_to_fill_is_named(monkeypatch, tmp_path, part):
    hub = pytest.importorskip('huggingface_hub')

    def unreachable(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, 'snapshot_download', unreachable)
    with pytest.raises(FileNotFoundError, match=f'the Hub did not give somebody/model .*into the folder somebody/model/{part}'):
        LOADERS[part]('somebody/model')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('part', LOADERS)
def test_the_hub_is_asked_for_what_is_read(monkeypatch, saved, part):
    "Names without wildcards that reach further: a Hub folder holds the same weights several times."
    hub = pytest.importorskip('huggingface_hub')
    asked = {}

    def download(name, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(saved)

    monkeypatch.setattr(hub, 'snapshot_download', download)
    LOADERS[part]('somebody/model')
    assert asked['name'] == 'somebody/model'
    assert all(p.count('*') in (0, 2) and not p.endswith(('.bin', '.ckpt')) for p in asked['patterns'])
    if part in KINDS:
        assert f'{part}/{KINDS[part].config}' in asked['patterns'] and KINDS[part].config in asked['patterns']
