"""Published weights put into the classes of this book: settings translated or refused, every number in one place, all or nothing, and looked at before use."""

import copy
import pickle

import helpers
import pytest
import torch

from diffbook.nets.unet import UNet
from diffbook.nets.vae import AutoencoderKL
from diffbook.pretrained import make_empty
from diffbook.published import clip, unet, vae
from diffbook.published.fill import fill

PUBLISHED = {
    'block_out_channels': [8, 16],
    'layers_per_block': 1,
    'norm_num_groups': 4,
    'down_block_types': ['DownBlock2D', 'AttnDownBlock2D'],
    'up_block_types': ['AttnUpBlock2D', 'UpBlock2D'],
}

READING = {
    **PUBLISHED,
    'cross_attention_dim': 6,
    'down_block_types': ['DownBlock2D', 'CrossAttnDownBlock2D'],
    'up_block_types': ['CrossAttnUpBlock2D', 'UpBlock2D'],
}
VAE = {'block_out_channels': (8, 16), 'norm_num_groups': 4, 'down_block_types': ('DownEncoderBlock2D',) * 2, 'up_block_types': ('UpDecoderBlock2D',) * 2}
REFUSED = {
    'an unknown key': (lambda: unet.arguments({'sample_sise': 32}), "unknown key 'sample_sise'"),
    'another activation': (lambda: unet.arguments({'act_fn': 'gelu'}), "act_fn is 'gelu', expected 'silu'"),
    'another block': (lambda: unet.arguments({**PUBLISHED, 'down_block_types': ['DownBlock2D', 'SkipDownBlock2D']}), 'expected mirrored'),
    'a way up that does not mirror': (lambda: unet.arguments({**PUBLISHED, 'up_block_types': ['UpBlock2D', 'AttnUpBlock2D']}), 'expected mirrored'),
    'values of other levels': (
        lambda: unet.arguments({**READING, 'attention_head_dim': [1, 2, 3]}),
        r'attention_head_dim is \[1, 2, 3\], expected one value or one for each of 2 levels',
    ),
    'another kind of class': (lambda: unet.arguments({**READING, 'class_embed_type': 'timestep'}), "class_embed_type is 'timestep', expected None"),
    'rounds of other levels': (
        lambda: unet.arguments({**READING, 'transformer_layers_per_block': [1, 2, 3]}),
        r'transformer_layers_per_block is \[1, 2, 3\], expected one value or one for each of 2 levels',
    ),
    'another padding': (lambda: unet.arguments({'downsample_padding': 2}), 'downsample_padding is 2'),
    'of a VAE, another activation': (lambda: vae.arguments(VAE | {'act_fn': 'gelu'}), "act_fn is 'gelu', expected 'silu'"),
    'of a VAE, an unknown key': (lambda: vae.arguments(VAE | {'sizes': 3}), "unknown key 'sizes'"),
    'of a VAE, another block': (lambda: vae.arguments(VAE | {'down_block_types': ('DownEncoderBlock2D', 'AttnDownEncoderBlock2D')}), 'down_block_types is'),
    'of a VAE, one of two': (lambda: vae.arguments(VAE | {'use_quant_conv': False}), 'expected both or neither'),
    'of a tower, another activation': (lambda: clip.arguments({'hidden_act': 'relu'}), "hidden_act is 'relu', expected quick_gelu or gelu"),
}
test_settings_are_refused = helpers.refuses(REFUSED)


def random(model):
    "Published tensors of a model's sizes, for a table of names."
    tables = unet if isinstance(model, UNet) else vae
    state, g = model.state_dict(), torch.Generator().manual_seed(0)
    return {name: torch.randn(state[own][rows].shape, generator=g) * 0.1 for name, (own, rows) in tables.places(model).items()}


@pytest.mark.parametrize(
    'model',
    [lambda: UNet(**unet.arguments(PUBLISHED)), lambda: UNet(**unet.arguments(READING)), lambda: AutoencoderKL(**vae.arguments(VAE))],
    ids=['unet', 'reading', 'vae'],
)
def test_places_cover_every_number_once(model):
    model = model()
    covered = {name: torch.zeros_like(p) for name, p in model.state_dict().items()}
    for own, rows in (unet if isinstance(model, UNet) else vae).places(model).values():
        covered[own][rows] += 1
    assert all((c == 1).all() for c in covered.values())


DAMAGE = {
    'missing': lambda w: w.pop('mid_block.resnets.0.conv1.weight'),
    'unexpected': lambda w: w.update({'conv_inn.weight': torch.zeros(1)}),
    'misshapen': lambda w: w.update({'conv_out.bias': torch.zeros(4)}),
}


@pytest.mark.parametrize('word', DAMAGE)
def test_damaged_weights_change_nothing(word):
    net = UNet(**unet.arguments(PUBLISHED))
    weights, before = random(net), copy.deepcopy(net.state_dict())
    DAMAGE[word](weights)
    with pytest.raises(ValueError, match=f'here does not fit the model; {word}'):
        fill(net, weights, unet.places(net), 'here')
    assert all(torch.equal(before[name], p) for name, p in net.state_dict().items())


# Numbers


def filled(config=PUBLISHED, **change):
    net = make_empty('unet', config)
    weights = random(net)
    for name, value in change.items():
        weights[name.replace('__', '.')].view(-1)[3] = value
    return fill(net, weights, unet.places(net), 'here')


def hooks(model):
    return sum(len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('name', ['conv_in__weight', 'up_blocks__1__resnets__0__norm1__bias'])
def test_a_number_that_is_mapped_is_looked_at_before_it_is_used(bad, name):
    "Each time that somebody tries; also by a part of the net alone, and by a copy."
    net = filled(**{name: bad})
    for model in (net, net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        with pytest.raises(ValueError, match=f"here: '{name.replace('__', '.')}' holds {bad}, expected finite numbers"):
            model(torch.zeros(1, 3, 8, 8), torch.zeros(1))
    part = net.stem if name.startswith('conv_in') else net.up[3]
    with pytest.raises(ValueError, match='expected finite numbers'):
        part(torch.zeros(1, 3, 8, 8)) if part is net.stem else part(torch.zeros(1, 24, 8, 8), torch.zeros(1, 8000))


def test_a_number_of_several_in_one_is_named():
    net = filled(down_blocks__1__attentions__0__to_k__weight=float('nan'))
    with pytest.raises(ValueError, match="here: 'down_blocks.1.attentions.0.to_k.weight' holds nan"):
        net(torch.zeros(1, 3, 8, 8), torch.zeros(1))


def test_a_number_whose_kind_changes_is_looked_at_at_once():
    "Half precision ends at 65,504; what was looked at so is not looked at again."
    net = make_empty('unet', PUBLISHED)
    weights = random(net)
    assert not hooks(fill(copy.deepcopy(net), weights, unet.places(net), 'here', torch.bfloat16))
    weights['conv_in.weight'].view(-1)[0] = 7e4
    with pytest.raises(ValueError, match="'conv_in.weight' holds 70000, too large for torch.float16"):
        fill(net, weights, unet.places(net), 'here', torch.float16)


def test_after_the_first_call_nothing_of_the_look_is_left():
    net = filled()
    part = net.mid[0].attn
    assert hooks(net) and hooks(part)
    with torch.no_grad():
        twin, first = copy.deepcopy(net), net(torch.ones(1, 3, 8, 8), torch.ones(1))
        part(torch.zeros(1, 16, 2, 2))
        assert not hooks(net) and hooks(twin)  # a copy looks for itself
        assert torch.equal(twin(torch.ones(1, 3, 8, 8), torch.ones(1)), first) and not hooks(twin)


def test_a_part_that_was_looked_at_is_not_looked_at_again(monkeypatch):
    from diffbook.published import fill as module

    seen, own = [], module.checked
    monkeypatch.setattr(module, 'checked', lambda value, name, *rest: seen.append(name) or own(value, name, *rest))
    net = filled()
    net.stem(torch.zeros(1, 3, 8, 8))
    net(torch.zeros(1, 3, 8, 8), torch.zeros(1))
    net(torch.zeros(1, 3, 8, 8), torch.zeros(1))
    assert sorted(seen) == sorted(unet.places(net))  # each once


def test_every_parameter_of_a_vae_is_looked_at_by_its_two_halves():
    model = make_empty('vae', VAE)
    fill(model, random(model), vae.places(model), 'here')
    with torch.no_grad():
        model.decode(model.encode(torch.zeros(1, 3, 8, 8)))
    assert hooks(model) == 1  # of the whole, which was not called
