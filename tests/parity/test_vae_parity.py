"""The KL autoencoder against diffusers' AutoencoderKL on shared random weights in float64, and against every published list of names."""

import gzip
import json

import pytest
import torch
from helpers import needs_data
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.nets.vae import AutoencoderKL, kl_to_normal
from diffbook.published.fill import OLD_NAMES, fill, renamed
from diffbook.published.vae import arguments
from diffbook.published.vae import places as published_places

diffusers = pytest.importorskip('diffusers')


def filled(config, tensors):
    "Ours, of a published configuration and published tensors."
    vae = AutoencoderKL(**arguments(config))
    return fill(vae, renamed(tensors), published_places(vae), 'theirs')


def pair(config, scale=0.3):
    "Theirs with random weights, none of them zero, and ours with the same."
    levels = len(config['block_out_channels'])
    kinds = {'down_block_types': ('DownEncoderBlock2D',) * levels, 'up_block_types': ('UpDecoderBlock2D',) * levels}
    theirs = diffusers.AutoencoderKL(**config, **kinds).double().eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=scale if p.ndim < 2 else 1.0 / p[0].numel() ** 0.5)
    return theirs, filled(dict(theirs.config), {k: v.clone() for k, v in theirs.state_dict().items()})


@st.composite
def configs(draw):
    levels, groups, mix = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 4])), draw(st.booleans())
    return {
        'block_out_channels': tuple(draw(st.lists(st.sampled_from([4, 8, 12]), min_size=levels, max_size=levels))),
        'layers_per_block': draw(st.integers(1, 3)),
        'latent_channels': draw(st.integers(1, 5)),
        'norm_num_groups': groups,
        'in_channels': draw(st.integers(1, 3)),
        'out_channels': draw(st.integers(1, 3)),
        'use_quant_conv': mix,
        'use_post_quant_conv': mix,
        'mid_block_add_attention': draw(st.booleans()),
        'scaling_factor': draw(st.sampled_from([0.18215, 1.5305])),
        'shift_factor': draw(st.sampled_from([None, 0.0609])),
    }


@settings(max_examples=20, deadline=None, derandomize=True)
@given(configs())
def test_random_configurations_agree(config):
    torch.manual_seed(0)
    theirs, ours = pair(config)
    x = torch.randn(2, config['in_channels'], 16, 24, dtype=torch.float64)
    scale, shift = config['scaling_factor'], config['shift_factor'] or 0.0
    with torch.no_grad():
        want = theirs.encode(x).latent_dist
        mean, log_var = ours.posterior(x)
        torch.testing.assert_close(mean, want.mean, atol=1e-9, rtol=0)
        torch.testing.assert_close(log_var, want.logvar, atol=1e-9, rtol=0)
        z = (want.mean - shift) * scale  # as the pipelines of Stable Diffusion 3 do; without a shift, as those of 1 and 2
        torch.testing.assert_close(ours.encode(x), z, atol=1e-9, rtol=0)
        image = theirs.decode(z / scale + shift).sample
        assert image.abs().max() > 1e-3 and want.mean.std() > 1e-3
        torch.testing.assert_close(ours.decode(z), image, atol=1e-9, rtol=0)
        drawn = want.sample(torch.Generator().manual_seed(3))
        torch.testing.assert_close(ours.encode(x, torch.Generator().manual_seed(3)), (drawn - shift) * scale, atol=1e-9, rtol=0)


def test_kl_and_gradients_agree():
    "The same loss has the same gradient in every published parameter."
    torch.manual_seed(0)
    theirs, ours = pair({'block_out_channels': (8, 16), 'layers_per_block': 1, 'latent_channels': 3, 'norm_num_groups': 4})
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    law = theirs.encode(x).latent_dist
    y, mean, log_var = ours(x)
    torch.testing.assert_close(kl_to_normal(mean, log_var), law.kl(), atol=1e-10, rtol=0)
    (theirs.decode(law.mean).sample.sin().sum() + law.kl().sum()).backward()
    (y.sin().sum() + kl_to_normal(mean, log_var).sum()).backward()
    own = dict(ours.named_parameters())
    for name, p in theirs.named_parameters():
        where, rows = published_places(ours)[name]
        torch.testing.assert_close(own[where].grad[rows], p.grad, atol=1e-9, rtol=1e-8)


@pytest.mark.parametrize('convolutions', [False, True])
def test_older_attention_names_are_read(convolutions):
    "The published file of version 1.5 says query, key, value, proj_attn; older ones hold convolutions of one pixel."
    torch.manual_seed(0)
    theirs, ours = pair({'block_out_channels': (8, 8), 'norm_num_groups': 4})
    back, older = {new: old for old, new in OLD_NAMES.items()}, {}
    for name, v in theirs.state_dict().items():
        for new, old in back.items():
            name = name.replace(f'.{new}.', f'.{old}.')
        older[name] = v[:, :, None, None] if convolutions and '.attentions.' in name and v.ndim == 2 else v
    assert sum('.proj_attn.' in name or '.query.' in name for name in older) == 8
    fresh = filled(dict(theirs.config), older)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), ours.state_dict().values(), strict=True))


def test_latents_of_one_scale_for_each_channel():
    "Some configurations give a mean and a deviation for each channel; the pipelines then divide by it and multiply by the factor."
    torch.manual_seed(0)
    mean, std = [-1.5, 1.75, 0.25], [8.5, 5.5, 6.5]
    theirs, ours = pair(
        {'block_out_channels': (8, 8), 'norm_num_groups': 4, 'latent_channels': 3, 'scaling_factor': 0.5, 'latents_mean': mean, 'latents_std': std}
    )
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    m, s = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (mean, std))
    with torch.no_grad():
        z = (theirs.encode(x).latent_dist.mean - m) * 0.5 / s
        torch.testing.assert_close(ours.encode(x), z, atol=1e-9, rtol=0)
        torch.testing.assert_close(ours.decode(z), theirs.decode(z * s / 0.5 + m).sample, atol=1e-9, rtol=0)


PUBLISHED = {  # folder of the configuration -> (parameters, tensors, scale, shift, latent channels, factor)
    'runwayml/stable-diffusion-v1-5': (83_653_863, 248, 0.18215, 0.0, 4, 8),
    'stabilityai/stable-diffusion-xl-base-1.0': (83_653_863, 248, 0.13025, 0.0, 4, 8),
    'stabilityai/stable-diffusion-x4-upscaler': (55_325_927, 204, 0.08333, 0.0, 4, 4),
    'stabilityai/stable-diffusion-3-medium-diffusers': (83_819_683, 244, 1.5305, 0.0609, 16, 8),
    'black-forest-labs/FLUX.1-dev': (83_819_683, 244, 0.3611, 0.1159, 16, 8),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_names_and_shapes_of_published_files(name):
    "Every published tensor has its place in ours, which has no other: built without memory from the published configuration."
    root = needs_data('model-configs')
    config = json.loads((root / name / 'vae' / 'config.json').read_text())
    theirs = json.loads(gzip.decompress((root / 'state_dicts' / f'{name.replace("/", "__")}__vae.json.gz').read_bytes()))
    with torch.device('meta'):
        ours = AutoencoderKL(**arguments(config))
    places, state = published_places(ours), ours.state_dict()
    assert places.keys() == theirs.keys()
    assert all(list(state[own][rows].shape) == theirs[key] for key, (own, rows) in places.items())
    held = sum(p.numel() for p in ours.parameters())
    assert held == sum(state[own][rows].numel() for own, rows in places.values())
    assert (held, len(places), ours.scale, ours.shift, ours.latent_channels, ours.factor) == PUBLISHED[name]
    filled(config, {key: torch.empty(shape, device='meta') for key, shape in theirs.items()})


def test_every_published_configuration_is_read():
    root = needs_data('model-configs')
    found = sorted(root.glob('*/*/vae*/config.json'))
    assert len(found) > 10
    for path in found:
        with torch.device('meta'):
            AutoencoderKL(**arguments(json.loads(path.read_text())))


@pytest.mark.slow
def test_full_size_agrees():
    "Stable Diffusion's own size, a small picture, double precision."
    torch.manual_seed(0)
    theirs, ours = pair({'block_out_channels': (128, 256, 512, 512), 'layers_per_block': 2, 'norm_num_groups': 32})
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        want = theirs.encode(x).latent_dist.mean
        torch.testing.assert_close(ours.posterior(x)[0], want, atol=1e-9, rtol=0)
        torch.testing.assert_close(ours.decode(want * 0.18215), theirs.decode(want).sample, atol=1e-9, rtol=0)
