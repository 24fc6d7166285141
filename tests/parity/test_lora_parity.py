"""A LoRA in the names of others, read by us: a U-Net and a text tower with it answer as diffusers' and transformers' whose weights are changed by the definition, by diffusers' own fusing, and, where peft is there, by diffusers' loading."""

import json
import warnings

import pytest
import torch
from safetensors.torch import save_file

from diffbook.adapters import load_lora, merge_lora
from diffbook.core import Cond
from diffbook.losses import Denoiser
from diffbook.nets.clip import TextTower
from diffbook.nets.unet import UNet
from diffbook.nets.vae import AutoencoderKL
from diffbook.predictions import predict_v
from diffbook.pretrained import load_network
from diffbook.published import clip, lora, mmdit, unet
from diffbook.published.fill import fill, same_names
from diffbook.published.original import original_names
from diffbook.published.reading import Published
from diffbook.schedules import CosineSchedule

diffusers = pytest.importorskip('diffusers')
transformers = pytest.importorskip('transformers')

UNET = {
    'block_out_channels': (8, 16), 'layers_per_block': 1, 'down_block_types': ('CrossAttnDownBlock2D', 'DownBlock2D'), 'up_block_types': ('UpBlock2D', 'CrossAttnUpBlock2D'),
    'norm_num_groups': 4, 'cross_attention_dim': 12, 'attention_head_dim': 2, 'sample_size': 8,
}  # fmt: skip
TOWER = {
    'vocab_size': 60,
    'hidden_size': 12,
    'intermediate_size': 24,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'max_position_embeddings': 9,
    'eos_token_id': 59,
    'bos_token_id': 58,
    'pad_token_id': 59,
}


def two(linear=False):
    "Their U-Net and text tower with random weights."
    torch.manual_seed(0)
    net = diffusers.UNet2DConditionModel(**UNET, use_linear_projection=linear).double().eval()
    tower = transformers.CLIPTextModel(transformers.CLIPTextConfig(**TOWER)).double().eval()
    for model in (net, tower):
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.2)
    return net, tower


def layers(model, end=''):
    return {k: m for k, m in model.named_modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d)) and k.endswith(end)}


def changes(model, seed, rank=3, end=''):
    "Random matrices for all layers of theirs: name -> down and up."
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: 0.2 * torch.randn(shape, generator=g, dtype=torch.float64)  # noqa: E731
    made = {}
    for name, m in layers(model, end).items():
        one = (1, 1) if isinstance(m, torch.nn.Conv2d) else ()
        made[name] = draw(rank, *m.weight.shape[1:]), draw(len(m.weight), rank, *one)
    return made


@torch.no_grad()
def by_definition(model, made, gain):
    for name, (down, up) in made.items():
        w = model.get_submodule(name).weight
        w += gain * (up.flatten(1) @ down.flatten(1)).reshape(w.shape)


def ours(net, tower):
    "The same two as our classes, in one module."
    own = UNet(**unet.arguments(dict(net.config)))
    own = fill(own, {k: v.clone() for k, v in net.state_dict().items()}, unet.places(own), 'theirs')
    made = TextTower(**clip.arguments(tower.config.to_dict()))
    made = fill(made, {k.removeprefix('text_model.'): v.clone() for k, v in tower.state_dict().items() if 'position_ids' not in k}, same_names(made), 'theirs')
    torch.manual_seed(1)
    codec = AutoencoderKL(channels=(8,), blocks=1, groups=4)  # stands in every pipeline, and is not meant
    return torch.nn.ModuleDict({'denoiser': Denoiser(own, CosineSchedule(), predict_v), 'tower': made, 'vae': codec})


def same_answers(net, tower, both, atol=1e-9):
    g = torch.Generator().manual_seed(5)
    x, t = torch.randn(2, 4, 8, 8, generator=g, dtype=torch.float64), torch.tensor([3, 700])
    tokens = torch.randint(0, 58, (2, 9), generator=g)
    tokens[:, -1] = 59
    with torch.no_grad():
        states = tower(tokens).last_hidden_state
        mine = both['tower'](tokens)[0]
        torch.testing.assert_close(mine, states, rtol=0, atol=atol)
        torch.testing.assert_close(both['denoiser'].net(x, t.double(), Cond(seq=states)), net(x, t, states).sample, rtol=0, atol=atol)


def peft_names(part, made):
    return {f'{part}.{k}.{word}.weight': v for k, pair in made.items() for word, v in zip(('lora_A', 'lora_B'), pair)}


def diffusers_names(part, made):
    return {
        f'{part}.{k}.{"lora_linear_layer" if part == "text_encoder" else "lora"}.{word}.weight': v
        for k, pair in made.items()
        for word, v in zip(('down', 'up'), pair)
    }


def first_names(part, made):
    "Of diffusers before there was peft: the attention processors' matrices, and those of text towers, under the U-Net's words."
    words = {'to_q': 'to_q', 'to_k': 'to_k', 'to_v': 'to_v', 'to_out.0': 'to_out', 'q_proj': 'to_q', 'k_proj': 'to_k', 'v_proj': 'to_v', 'out_proj': 'to_out'}
    out = {}
    for k, pair in made.items():
        end = next((w for w in words if k.endswith(f'.{w}')), None)
        if end is not None:
            begin = k.removesuffix(f'.{end}') + '.processor' * (part == 'unet')
            out |= {f'{part}.{begin}.{words[end]}_lora.{word}.weight': v for word, v in zip(('down', 'up'), pair)}
    return out


def kohya_names(part, made, alpha=None):
    out = {}
    for k, pair in made.items():
        name = f'lora_{"te" if part == "text_encoder" else "unet"}_{k.replace(".", "_")}'
        out |= {f'{name}.{word}.weight': v for word, v in zip(('lora_down', 'lora_up'), pair)}
        out |= {} if alpha is None else {f'{name}.alpha': torch.tensor(float(alpha))}
    return out


@pytest.mark.parametrize('linear', [False, True])
@pytest.mark.parametrize(
    'names, alpha', [(peft_names, None), (diffusers_names, None), (kohya_names, None), (kohya_names, 1.5)], ids=['peft', 'diffusers', 'kohya', 'kohya-alpha']
)
def test_a_file_in_their_names_is_the_definition(names, alpha, linear, tmp_path):
    net, tower = two(linear)
    both, made = ours(net, tower), (changes(net, 1), changes(tower, 2))
    more = {} if alpha is None else {'alpha': alpha}
    save_file({**names('unet', made[0], **more), **names('text_encoder', made[1], **more)}, tmp_path / 'lora.safetensors')
    found = load_lora(both, tmp_path / 'lora.safetensors', 0.7)
    assert len(found) == len(set(found)) > 20
    for model, change in zip((net, tower), made):
        by_definition(model, change, 0.7 * (1.0 if alpha is None else alpha / 3))
    same_answers(net, tower, both)
    merge_lora(both)
    same_answers(net, tower, both)


def test_the_first_names_of_diffusers(tmp_path):
    net, tower = two()
    both, made = ours(net, tower), (changes(net, 1), changes(tower, 2))
    tensors = {**first_names('unet', made[0]), **first_names('text_encoder', made[1])}
    save_file(tensors, tmp_path / 'lora.safetensors')
    load_lora(both, tmp_path / 'lora.safetensors')
    kept = [
        {k: v for k, v in change.items() if k.split('.')[-1] in ('to_q', 'to_k', 'to_v', 'q_proj', 'k_proj', 'v_proj', 'out_proj') or k.endswith('to_out.0')}
        for change in made
    ]
    assert 2 * sum(map(len, kept)) == len(tensors)
    for model, change in zip((net, tower), kept):
        by_definition(model, change, 1.0)
    same_answers(net, tower, both)


def test_diffusers_translation_of_kohya_names_leads_to_the_same_layers(tmp_path):
    "Their converter, without peft, and then our reader, against our reader at once."
    from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_lora_to_diffusers as convert

    net, tower = two()
    made = changes(net, 1), changes(tower, 2)
    attention = {k: v for k, v in made[0].items() if 'transformer_blocks' in k}
    file = {**kohya_names('unet', attention, 2.0), **kohya_names('text_encoder', made[1], 2.0)}
    translated, alphas = convert(dict(file))
    assert set(alphas.values()) == {2.0}
    save_file(file, tmp_path / 'kohya.safetensors')
    save_file({k: v.clone() for k, v in translated.items()}, tmp_path / 'diffusers.safetensors')
    at_once, by_them = ours(net, tower), ours(net, tower)
    assert load_lora(at_once, tmp_path / 'kohya.safetensors') and load_lora(by_them, tmp_path / 'diffusers.safetensors', 2 / 3)
    a, b = (dict(m.named_parameters()) for m in (at_once, by_them))
    mine, theirs = (merge_lora(m) and m.state_dict() for m in (at_once, by_them))
    assert a.keys() == b.keys()
    for key, value in mine.items():
        torch.testing.assert_close(value, theirs[key], rtol=0, atol=1e-12)


def test_the_names_of_kohya_for_the_large_one_are_those_that_diffusers_translates():
    "Files for Stable Diffusion XL call the blocks as its first code did: ours are led back, layer by layer, by their converter."
    from diffusers.loaders import lora_conversion_utils as theirs

    net = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16, 24), layers_per_block=2, norm_num_groups=4, cross_attention_dim=12, attention_head_dim=4,
        down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'), up_block_types=('CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'),
        transformer_layers_per_block=(1, 2, 2), addition_embed_type='text_time', addition_time_embed_dim=8, projection_class_embeddings_input_dim=60,
    )  # fmt: skip
    named = original_names(list(layers(net)))
    assert len(set(named.values())) == len(named) > 150 and not any('_blocks.' in v and v.split('.')[0] in ('down_blocks', 'up_blocks') for v in named.values())
    assert named['down_blocks.0.downsamplers.0.conv'] == 'input_blocks.3.0.op' and named['up_blocks.0.upsamplers.0.conv'] == 'output_blocks.2.2.conv'
    key = lambda layer: f'lora_unet_{named[layer].replace(".", "_")}'
    file = {f'{key(k)}.{word}.weight': torch.zeros(1, 1) for k in named for word in ('lora_down', 'lora_up')}
    translated, _ = theirs._convert_non_diffusers_lora_to_diffusers(theirs._maybe_map_sgm_blocks_to_diffusers(file, net.config))
    assert {lora.KEY.fullmatch(lora.modern(k))[1].removeprefix('unet.') for k in translated} == set(named)


def test_a_file_of_kohya_for_the_large_one_changes_the_layers_it_names(tmp_path):
    net, tower = two()
    both, made = ours(net, tower), changes(net, 1)
    named = original_names(list(layers(net)))
    words = {k: named[k] for k in made}
    save_file(kohya_names('unet', {words[k]: v for k, v in made.items()}), tmp_path / 'lora.safetensors')
    assert len(load_lora(both, tmp_path / 'lora.safetensors', 0.7)) > 20
    by_definition(net, made, 0.7)
    same_answers(net, tower, both)


@pytest.mark.parametrize('kind', ['linear', 'conv'])
def test_merging_is_diffusers_fusing(kind, tmp_path):
    from diffusers.models import lora as theirs

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.manual_seed(0)
        if kind == 'linear':
            layer, added = theirs.LoRACompatibleLinear(6, 5), theirs.LoRALinearLayer(6, 5, rank=2, network_alpha=3.0)
            plain = torch.nn.Linear(6, 5)
        else:
            layer, added = (
                theirs.LoRACompatibleConv(6, 5, 3, padding=1),
                theirs.LoRAConv2dLayer(6, 5, rank=2, kernel_size=(3, 3), padding=(1, 1), network_alpha=3.0),
            )
            plain = torch.nn.Conv2d(6, 5, 3, padding=1)
        torch.nn.init.normal_(added.up.weight)
        plain.load_state_dict(layer.state_dict())
        layer.set_lora_layer(added)
        holder = torch.nn.ModuleDict({'x': plain})
        save_file(
            {'x.lora_A.weight': added.down.weight.detach(), 'x.lora_B.weight': added.up.weight.detach(), 'x.alpha': torch.tensor(3.0)},
            tmp_path / 'x.safetensors',
        )
        load_lora(holder, tmp_path / 'x.safetensors', 0.6)
        x = torch.randn(2, 6, *(() if kind == 'linear' else (4, 4)))
        torch.testing.assert_close(plain(x), layer(x, scale=0.6), rtol=0, atol=2e-6)
        merge_lora(holder)
        layer._fuse_lora(0.6)
        torch.testing.assert_close(plain.weight, layer.weight, rtol=0, atol=1e-6)


def test_loading_by_diffusers_and_peft(tmp_path):
    "What diffusers itself does with a file, weights merged by it, where peft is installed."
    pytest.importorskip('peft')
    net, tower = two()
    both, made = ours(net, tower), (changes(net, 1), changes(tower, 2))
    file = {**peft_names('unet', made[0]), **peft_names('text_encoder', made[1])}
    said = {f'{part}.{k}': v for part in ('unet', 'text_encoder') for k, v in {'r': 3, 'lora_alpha': 6, 'target_modules': [], 'use_rslora': False}.items()}
    save_file(file, tmp_path / 'lora.safetensors', {'lora_adapter_metadata': json.dumps(said)})
    load_lora(both, tmp_path / 'lora.safetensors', 0.5)
    net.load_lora_adapter(dict(file), prefix='unet', network_alphas={f'unet.{k}.alpha': 6.0 for k in made[0]})
    net.fuse_lora(0.5)
    by_definition(tower, made[1], 0.5 * 2)
    net.unload_lora()
    same_answers(net, tower, both)


JOINT = {
    'Stable Diffusion 3': ('SD3Transformer2DModel', {'sample_size': 8, 'patch_size': 2, 'in_channels': 4, 'out_channels': 4, 'num_layers': 2, 'attention_head_dim': 8, 'num_attention_heads': 2, 'joint_attention_dim': 12, 'caption_projection_dim': 16, 'pooled_projection_dim': 10, 'pos_embed_max_size': 6}),
    'FLUX.1': ('FluxTransformer2DModel', {'in_channels': 16, 'num_layers': 1, 'num_single_layers': 1, 'attention_head_dim': 8, 'num_attention_heads': 2, 'joint_attention_dim': 12, 'pooled_projection_dim': 10, 'axes_dims_rope': (2, 2, 4), 'guidance_embeds': True}),
}  # fmt: skip


@pytest.mark.parametrize('name', JOINT)
def test_a_lora_of_a_transformer_changes_the_published_weights_by_the_definition(name, tmp_path):
    "Every linear layer of theirs has a change; of ours, some hold several of them."
    kind, config = JOINT[name]
    theirs = getattr(diffusers, kind)(**config).double()
    net = load_network(Published({**theirs.config, '_class_name': kind}, {k: v.clone() for k, v in theirs.state_dict().items()}, tmp_path))
    made = {k: v for k, v in changes(theirs, 1).items() if isinstance(theirs.get_submodule(k), torch.nn.Linear)}
    save_file(peft_names('transformer', made), tmp_path / 'lora.safetensors')
    assert 20 < len(load_lora(net, tmp_path / 'lora.safetensors', 0.7)) < len(made)
    merge_lora(net)
    by_definition(theirs, made, 0.7)
    mine = mmdit.as_published(net)
    for key, want in theirs.state_dict().items():
        if key in mine:
            torch.testing.assert_close(mine[key], want, rtol=0, atol=1e-12)
    assert {f'{k}.weight' for k in made} <= mine.keys()
