"""One class, two libraries: the same weights give the same numbers in diffusers' UNet2DModel and in ours, in float64."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.nets.unet import OLD_NAMES, UNet, load_published, published_arguments, published_places

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


def pair(config, scale=0.1):
    "Theirs with random weights, none of them zero, and ours with the same."
    theirs = diffusers.UNet2DModel(**config).double().eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=scale if p.ndim < 2 else 1.0 / p[0].numel() ** 0.5)
    ours = UNet(**published_arguments(dict(theirs.config))).double().eval()
    load_published(ours, theirs.state_dict())
    return theirs, ours


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
    config = {**DDPM, 'block_out_channels': (16, 32), 'down_block_types': ('DownBlock2D', 'AttnDownBlock2D'), 'up_block_types': ('AttnUpBlock2D', 'UpBlock2D'), 'norm_num_groups': 8}
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
    fresh = UNet(**published_arguments(dict(theirs.config))).double()
    load_published(fresh, older)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), ours.state_dict().values()))


def test_names_and_shapes_of_the_published_network():
    "google/ddpm-cifar10-32: 328 tensors, 35,746,307 parameters, built without memory."
    with torch.device('meta'):
        theirs = diffusers.UNet2DModel(**DDPM).state_dict()
        ours = UNet(**published_arguments(DDPM))
    places, state = published_places(ours), ours.state_dict()
    assert len(places) == 328 and places.keys() == theirs.keys()
    assert sum(p.numel() for p in ours.parameters()) == 35_746_307
    assert all(state[own][rows].shape == theirs[name].shape for name, (own, rows) in places.items())


@pytest.mark.slow
@pytest.mark.parametrize('head_dim', [8, None])
def test_full_size_agrees(head_dim):
    theirs, ours = pair({**DDPM, 'attention_head_dim': head_dim})
    x, t = torch.randn(1, 3, 32, 32, dtype=torch.float64), torch.tensor([421.0])
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t), theirs(x, t).sample, atol=1e-9, rtol=0)
