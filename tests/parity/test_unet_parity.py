"""One class, two libraries: the same weights give the same numbers in diffusers' UNet2DModel, UNet2DConditionModel and in ours, in float64."""

import gzip
import json

import pytest
import torch
from helpers import needs_data
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.core import Cond
from diffbook.nets.unet import UNet
from diffbook.published.fill import OLD_NAMES, build, fill, renamed
from diffbook.published.reading import Published
from diffbook.published.unet import arguments
from diffbook.published.unet import places as published_places

diffusers = pytest.importorskip('diffusers')

DDPM = {
    'block_out_channels': (128, 256, 256, 256),
    'layers_per_block': 2,
    'down_block_types': ('DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'),
    'up_block_types': ('UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'),
    'downsample_padding': 0,
    'flip_sin_to_cos': False,
    'freq_shift': 1,
    'norm_eps': 1e-6,
    'norm_num_groups': 32,
    'in_channels': 3,
    'out_channels': 3,
    'sample_size': 32,
}


def filled(config, tensors):
    "Ours, of a published configuration and published tensors."
    net = UNet(**arguments(config))
    return fill(net, renamed(tensors), published_places(net), 'theirs')


def pair(config, scale=0.1):
    "Theirs with random weights, none of them zero, and ours with the same."
    kind = diffusers.UNet2DConditionModel if 'cross_attention_dim' in config else diffusers.UNet2DModel
    theirs = kind(**config).double().eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=scale if p.ndim < 2 else 1.0 / p[0].numel() ** 0.5)
    return theirs, filled(dict(theirs.config), {k: v.clone() for k, v in theirs.state_dict().items()})


@st.composite
def configs(draw):
    levels = draw(st.integers(1, 3))
    attends = draw(st.lists(st.booleans(), min_size=levels, max_size=levels))
    groups = draw(st.sampled_from([2, 4]))
    return {
        'block_out_channels': tuple(draw(st.lists(st.sampled_from([8, 16]), min_size=levels, max_size=levels))),
        'layers_per_block': draw(st.integers(1, 2)),
        'down_block_types': tuple('AttnDownBlock2D' if a else 'DownBlock2D' for a in attends),
        'up_block_types': tuple('AttnUpBlock2D' if a else 'UpBlock2D' for a in attends[::-1]),
        'attention_head_dim': draw(st.sampled_from([None, 4, 8])),
        'add_attention': draw(st.booleans()),
        'downsample_padding': draw(st.integers(0, 1)),
        'flip_sin_to_cos': draw(st.booleans()),
        'freq_shift': draw(st.integers(0, 1)),
        'norm_num_groups': groups,
        'norm_eps': draw(st.sampled_from([1e-6, 1e-5])),
        'in_channels': draw(st.integers(1, 3)),
        'out_channels': draw(st.integers(1, 3)),
        'sample_size': None,
    }


@settings(max_examples=12, deadline=None, derandomize=True)
@given(configs())
def test_random_configurations_agree(config):
    torch.manual_seed(0)
    theirs, ours = pair(config)
    x, t = torch.randn(2, config['in_channels'], 8, 12, dtype=torch.float64), torch.tensor([0.0, 937.0])
    with torch.no_grad():
        want = theirs(x, t).sample
        assert want.abs().max() > 1e-3
        torch.testing.assert_close(ours(x, t), want, atol=1e-9, rtol=0)


def test_gradients_agree():
    "Equal outputs and equal gradients: training is the same, up to rounding."
    config = {
        **DDPM,
        'block_out_channels': (16, 32),
        'down_block_types': ('DownBlock2D', 'AttnDownBlock2D'),
        'up_block_types': ('AttnUpBlock2D', 'UpBlock2D'),
        'norm_num_groups': 8,
    }
    theirs, ours = pair(config)
    x, target = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64).unbind()
    t = torch.tensor([3.0, 500.0])
    for y in (theirs(x, t).sample, ours(x, t)):
        (y - target).square().mean().backward()
    own = dict(ours.named_parameters())
    for name, p in theirs.named_parameters():
        where, rows = published_places(ours)[name]
        torch.testing.assert_close(own[where].grad[rows], p.grad, atol=1e-10, rtol=1e-8)


def test_older_attention_names_are_read():
    config = {**DDPM, 'block_out_channels': (8, 8, 8, 8), 'norm_num_groups': 4, 'layers_per_block': 1}
    theirs, ours = pair(config)
    back = {new: old for old, new in OLD_NAMES.items()}
    older = {}
    for name, v in theirs.state_dict().items():
        for new, old in back.items():
            name = name.replace(f'.{new}.', f'.{old}.')
        older[name] = v
    assert any('.proj_attn.' in name for name in older) and any('.query.' in name for name in older)
    fresh = filled(dict(theirs.config), older)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), ours.state_dict().values()))


def test_names_and_shapes_of_the_published_network():
    "google/ddpm-cifar10-32: 328 tensors, 35,746,307 parameters, built without memory."
    with torch.device('meta'):
        theirs = diffusers.UNet2DModel(**DDPM).state_dict()
        ours = UNet(**arguments(DDPM))
    places, state = published_places(ours), ours.state_dict()
    assert len(places) == 328 and places.keys() == theirs.keys()
    assert sum(p.numel() for p in ours.parameters()) == 35_746_307
    assert all(state[own][rows].shape == theirs[name].shape for name, (own, rows) in places.items())


@st.composite
def reading_configs(draw):
    "Of Stable Diffusion's kind: versions 1 and 2, with or without an image beside."
    levels, groups = draw(st.integers(1, 3)), draw(st.sampled_from([2, 4]))
    reads = draw(st.lists(st.booleans(), min_size=levels, max_size=levels))
    heads = draw(st.one_of(st.sampled_from([1, 2, 4]), st.lists(st.sampled_from([1, 2, 4]), min_size=levels, max_size=levels)))
    out = draw(st.integers(1, 4))
    return {
        'block_out_channels': tuple(draw(st.lists(st.sampled_from([8, 16]), min_size=levels, max_size=levels))),
        'layers_per_block': draw(st.integers(1, 2)),
        'down_block_types': tuple('CrossAttnDownBlock2D' if r else 'DownBlock2D' for r in reads),
        'up_block_types': tuple('CrossAttnUpBlock2D' if r else 'UpBlock2D' for r in reads[::-1]),
        'attention_head_dim': heads if isinstance(heads, int) else tuple(heads),
        'use_linear_projection': draw(st.booleans()),
        'cross_attention_dim': draw(st.integers(1, 12)),
        'norm_num_groups': groups,
        'norm_eps': draw(st.sampled_from([1e-6, 1e-5])),
        'freq_shift': draw(st.integers(0, 1)),
        'in_channels': out + draw(st.sampled_from([0, 1, out + 1])),
        'out_channels': out,
    }


@pytest.mark.parametrize('masked', [False, True])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(reading_configs())
def test_random_configurations_that_read_tokens_agree(masked, config):
    torch.manual_seed(0)
    theirs, ours = pair(config)
    n, length = config['out_channels'], 5
    x, t = torch.randn(2, config['in_channels'], 8, 12, dtype=torch.float64), torch.tensor([0.0, 937.0])
    seq = torch.randn(2, length, config['cross_attention_dim'], dtype=torch.float64)
    mask = torch.arange(length) < torch.tensor([[2], [length]]) if masked else None
    assert ours.img_channels == config['in_channels'] - n
    cond = Cond(seq=seq, mask=mask, img=x[:, n:] if ours.img_channels else None)
    with torch.no_grad():
        want = theirs(x, t, seq, encoder_attention_mask=mask).sample
        assert want.abs().max() > 1e-3
        torch.testing.assert_close(ours(x[:, :n], t, cond), want, atol=1e-9, rtol=0)


PUBLISHED = {  # folder of the configuration -> (image beside, parameters)
    'runwayml/stable-diffusion-v1-5': (0, 859_520_964),
    'runwayml/stable-diffusion-inpainting': (5, 859_535_364),
    'stabilityai/stable-diffusion-2-1-base': (0, 865_910_724),
    'stabilityai/stable-diffusion-2-1': (0, 865_910_724),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_names_and_shapes_of_stable_diffusion(name):
    "Every published tensor has its place in ours, which has no other: built without memory from the published configuration."
    root = needs_data('model-configs')
    config = json.loads((root / name / 'unet' / 'config.json').read_text())
    theirs = json.loads(gzip.decompress((root / 'state_dicts' / f'{name.replace("/", "__")}__unet.json.gz').read_bytes()))
    with torch.device('meta'):
        ours = UNet(**arguments(config))
    places, state = published_places(ours), ours.state_dict()
    assert places.keys() == theirs.keys() and len(places) == 686
    for key, shape in theirs.items():
        own = list(state[places[key][0]][places[key][1]].shape)
        assert own == shape or ([*own, 1, 1] == shape and key.split('.')[-2] in ('proj_in', 'proj_out')), key
    assert (ours.img_channels, sum(p.numel() for p in ours.parameters())) == PUBLISHED[name]
    filled(config, {key: torch.empty(shape, device='meta') for key, shape in theirs.items()})


@pytest.mark.parametrize('reads', [False, True])
def test_classes_agree(reads):
    "A table of classes is a linear layer that is told one-hot vectors."
    torch.manual_seed(0)
    config = {'block_out_channels': (8, 16), 'down_block_types': ('DownBlock2D',) * 2, 'up_block_types': ('UpBlock2D',) * 2}
    config |= {'norm_num_groups': 4, 'num_class_embeds': 7, 'layers_per_block': 1, 'in_channels': 3, 'out_channels': 3}
    if reads:
        config |= {
            'cross_attention_dim': 6,
            'down_block_types': ('CrossAttnDownBlock2D', 'DownBlock2D'),
            'up_block_types': ('UpBlock2D', 'CrossAttnUpBlock2D'),
            'attention_head_dim': 2,
        }
    theirs, ours = pair(config, scale=1.0)
    x, t, labels = torch.randn(3, 3, 8, 8, dtype=torch.float64), torch.tensor([0.0, 31.0, 937.0]), torch.tensor([6, 0, 3])
    seq = torch.randn(3, 4, 6, dtype=torch.float64) if reads else None
    cond = Cond(vec=torch.nn.functional.one_hot(labels, 7).double(), seq=seq)
    with torch.no_grad():
        want = theirs(x, t, *([seq] if reads else []), class_labels=labels).sample
        torch.testing.assert_close(ours(x, t, cond), want, atol=1e-9, rtol=0)
        assert (want - theirs(x, t, *([seq] if reads else []), class_labels=labels.flip(0)).sample).abs().max() > 1e-3
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) + 32  # a bias, zero


@pytest.mark.slow
def test_stable_diffusion_agrees():
    "Version 1.5 at its full size, a small picture and random weights, in double precision: about 14 GB of memory."
    config = {'block_out_channels': (320, 640, 1280, 1280), 'cross_attention_dim': 768, 'attention_head_dim': 8, 'sample_size': 64}
    theirs, ours = pair(config)
    x, t, seq = torch.randn(1, 4, 8, 8, dtype=torch.float64), torch.tensor([421.0]), torch.randn(1, 77, 768, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t, Cond(seq=seq)), theirs(x, t, seq).sample, atol=1e-9, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize('head_dim', [8, None])
def test_full_size_agrees(head_dim):
    theirs, ours = pair({**DDPM, 'attention_head_dim': head_dim})
    x, t = torch.randn(1, 3, 32, 32, dtype=torch.float64), torch.tensor([421.0])
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t), theirs(x, t).sample, atol=1e-9, rtol=0)


XL = {  # Stable Diffusion XL, small: rounds that differ by level, and a vector of a text and six numbers
    'block_out_channels': (8, 16, 24), 'down_block_types': ('DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'),
    'up_block_types': ('CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'), 'layers_per_block': 1, 'norm_num_groups': 4, 'cross_attention_dim': 10,
    'attention_head_dim': (1, 2, 4), 'transformer_layers_per_block': (1, 2, 3), 'use_linear_projection': True, 'addition_embed_type': 'text_time',
    'addition_time_embed_dim': 8, 'projection_class_embeddings_input_dim': 7 + 6 * 8, 'sample_size': 8,
}  # fmt: skip
XL_CASES = {
    'base': {},
    'refiner': {
        'transformer_layers_per_block': 2, 'down_block_types': ('DownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'), 'up_block_types': ('UpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'),
        'projection_class_embeddings_input_dim': 7 + 5 * 8},
    'rounds, and nothing told': {'addition_embed_type': None, 'addition_time_embed_dim': None, 'projection_class_embeddings_input_dim': None},
}  # fmt: skip


@pytest.mark.parametrize('case', XL_CASES)
def test_stable_diffusion_xl(case, tmp_path):
    "And written and read again, by both."
    from diffbook.nets.layers import sinusoids
    from diffbook.pretrained import load_network, save_published

    torch.manual_seed(0)
    config = XL | XL_CASES[case]
    theirs, ours = pair(config)
    x, t, seq = torch.randn(2, 4, 8, 12, dtype=torch.float64), torch.tensor([7.0, 937.0]), torch.randn(2, 5, 10, dtype=torch.float64)
    width = config['projection_class_embeddings_input_dim']
    numbers, text = torch.rand(2, ((width or 7) - 7) // 8) * 1024, torch.randn(2, 7, dtype=torch.float64)
    told = sinusoids(numbers.flatten(), 8, shift=0.0, cos_first=True).reshape(2, -1).double()
    cond = Cond(seq=seq, vec=torch.cat([text, told], 1) if width else None)
    with torch.no_grad():
        want = theirs(x, t, seq, added_cond_kwargs={'text_embeds': text, 'time_ids': numbers}).sample
        torch.testing.assert_close(ours(x, t, cond), want, atol=1e-9, rtol=0)
        save_published(tmp_path, ours, config={'addition_time_embed_dim': 8} if width else {})
        again = diffusers.UNet2DConditionModel.from_pretrained(tmp_path, torch_dtype=torch.float64).eval()
        torch.testing.assert_close(again(x, t, seq, added_cond_kwargs={'text_embeds': text, 'time_ids': numbers}).sample, want, atol=1e-12, rtol=0)
        torch.testing.assert_close(load_network(tmp_path)(x, t, cond), want, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ('name', 'numbers', 'tensors'),
    [('stabilityai/stable-diffusion-xl-base-1.0', 2_567_463_684, 1680), ('stabilityai/stable-diffusion-xl-refiner-1.0', 2_259_526_660, 1220)],
)
def test_names_and_shapes_of_stable_diffusion_xl(name, numbers, tensors):
    root = needs_data('model-configs')
    config = json.loads((root / name / 'unet' / 'config.json').read_text())
    theirs = json.loads(gzip.decompress((root / 'state_dicts' / f'{name.replace("/", "__")}__unet.json.gz').read_bytes()))
    found = Published(config, {key: torch.empty(shape, device='meta') for key, shape in theirs.items()}, name)
    ours = build(UNet, arguments, found)
    places, state = published_places(ours), ours.state_dict()
    assert {key: list(state[at][rows].shape) for key, (at, rows) in places.items()} == theirs
    assert (sum(p.numel() for p in ours.parameters()), len(theirs)) == (numbers, tensors)
    fill(ours, renamed(found.tensors), places, name)


@pytest.mark.parametrize(('change', 'words'), [
    ({'addition_embed_type': 'text'}, "addition_embed_type is 'text'"), ({'addition_time_embed_dim': None}, 'addition_embed_type is'), ({'num_class_embeds': 3}, 'addition_embed_type is'),
    ({'transformer_layers_per_block': (1, 2)}, 'transformer_layers_per_block is'), ({'reverse_transformer_layers_per_block': (3, 2, 1)}, 'reverse_transformer_layers_per_block is'),
])  # fmt: skip
def test_what_xl_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        arguments({'_class_name': 'UNet2DConditionModel', **XL} | change)
