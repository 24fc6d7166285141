"""The table of published settings is true of networks, VAEs and text encoders: what is said to be followed is followed as
diffusers and transformers do, what is said to have no effect has none there either, and what is refused is refused by name."""

import inspect
import json

import pytest
import torch
from test_pretrained_parity import CLOSE, PLAIN, READS, TEXT, VAE, inputs, randomise, same_net, same_tower, same_vae

from diffbook.core import Cond
from diffbook.nets.layers import sinusoids
from diffbook.pretrained import load_clip, load_text_encoder, load_unet, load_vae
from diffbook.published import clip, unet
from diffbook.published.settings import SETTINGS

diffusers, transformers = pytest.importorskip('diffusers'), pytest.importorskip('transformers')

BASES = {'UNet2DModel': PLAIN | {'attention_head_dim': 4}, 'UNet2DConditionModel': READS, 'AutoencoderKL': VAE}
LOADS = {'UNet2DModel': (load_unet, same_net), 'UNet2DConditionModel': (load_unet, same_net), 'AutoencoderKL': (load_vae, same_vae)}
SHARED = {
    'in_channels': 5, 'out_channels': 4, 'block_out_channels': (16, 8), 'norm_num_groups': 2, 'norm_eps': 1e-2, 'flip_sin_to_cos': False, 'freq_shift': 1, 'downsample_padding': 0, 'num_class_embeds': 7, 'sample_size': 16,
    'center_input_sample': True, 'time_embedding_type': 'fourier', 'time_embedding_dim': 24, 'mid_block_type': None, 'mid_block_scale_factor': 2, 'class_embed_type': 'timestep', 'resnet_time_scale_shift': 'scale_shift', 'act_fn': 'gelu',
    'decay': 0.9, 'min_decay': 0.1, 'optimization_step': 7, 'update_after_step': 3, 'use_ema_warmup': True, 'inv_gamma': 2.0, 'power': 0.5,
}  # fmt: skip
OTHER = {  # class -> key -> a value that is not the one of BASES
    'UNet2DModel': SHARED | {
        'layers_per_block': 2, 'down_block_types': ('AttnDownBlock2D', 'DownBlock2D'), 'up_block_types': ('UpBlock2D', 'AttnUpBlock2D'), 'attention_head_dim': 2, 'dropout': 0.5, 'add_attention': False,
        'downsample_type': 'resnet', 'upsample_type': 'resnet', 'attn_norm_num_groups': 4, 'num_train_timesteps': 1000},
    'UNet2DConditionModel': SHARED | {
        'in_channels': 9, 'layers_per_block': (1, 2), 'down_block_types': ('DownBlock2D', 'CrossAttnDownBlock2D'), 'up_block_types': ('CrossAttnUpBlock2D', 'UpBlock2D'), 'attention_head_dim': (2, 4), 'cross_attention_dim': 6,
        'use_linear_projection': True, 'upcast_attention': True, 'dropout': 0.5, 'only_cross_attention': True, 'mid_block_only_cross_attention': True, 'dual_cross_attention': True, 'transformer_layers_per_block': 2,
        'reverse_transformer_layers_per_block': ((1,), (1,)), 'num_attention_heads': 2, 'attention_type': 'gated', 'cross_attention_norm': 'layer_norm', 'conv_in_kernel': 1, 'conv_out_kernel': 1, 'resnet_skip_time_act': True,
        'resnet_out_scale_factor': 0.5, 'time_embedding_act_fn': 'silu', 'timestep_post_act': 'silu', 'time_cond_proj_dim': 4, 'encoder_hid_dim': 5, 'encoder_hid_dim_type': 'text_proj', 'addition_embed_type': 'text_time',
        'addition_time_embed_dim': 8, 'addition_embed_type_num_heads': 2, 'class_embeddings_concat': True, 'projection_class_embeddings_input_dim': 52},
    'AutoencoderKL': {
        'in_channels': 4, 'out_channels': 4, 'block_out_channels': (8, 8, 16), 'layers_per_block': 2, 'norm_num_groups': 2, 'act_fn': 'gelu', 'down_block_types': ('DownEncoderBlock2D',) * 3, 'up_block_types': ('UpDecoderBlock2D',) * 3,
        'latent_channels': 5, 'scaling_factor': 0.5, 'shift_factor': 0.3, 'latents_mean': (0.1, 0.2, 0.3, 0.4), 'latents_std': (1.0, 2.0, 3.0, 4.0), 'use_quant_conv': False, 'use_post_quant_conv': False,
        'mid_block_add_attention': False, 'sample_size': 16, 'force_upcast': False},
}  # fmt: skip
WITH = {  # keys that go together
    'down_block_types': ('up_block_types',), 'up_block_types': ('down_block_types',), 'latents_mean': ('latents_std',), 'latents_std': ('latents_mean',), 'use_quant_conv': ('use_post_quant_conv',), 'use_post_quant_conv': ('use_quant_conv',),
    'addition_embed_type': ('addition_time_embed_dim', 'projection_class_embeddings_input_dim'), 'resnet_time_scale_shift': ('attn_norm_num_groups',),
}  # fmt: skip
CASES = [(name, key) for name in OTHER for key in SETTINGS[name]]


def build(name, change):
    "A model of the other library, of random weights."
    known = inspect.signature(getattr(diffusers, name).__init__).parameters
    return randomise(getattr(diffusers, name)(**BASES[name] | {k: v for k, v in change.items() if k in known}))


def rewrite(folder, change, drop=()):
    said = json.loads((folder / 'config.json').read_text()) | change
    (folder / 'config.json').write_text(json.dumps({k: v for k, v in said.items() if k not in drop}))


def answer(name, model):
    g = torch.Generator().manual_seed(1)
    if name == 'AutoencoderKL':
        x = torch.randn(1, model.config.in_channels, 16, 16, dtype=torch.float64, generator=g)
        return model(x).sample
    x, t, seq = inputs(model)
    x = torch.randn(x.shape, dtype=torch.float64, generator=g)
    given = [] if seq is None else [torch.randn(seq.shape, dtype=torch.float64, generator=g)]
    return model(x, t, *given).sample


@pytest.mark.parametrize('name', OTHER)
def test_every_key_of_a_network_has_a_verdict(name):
    keys = set(inspect.signature(getattr(diffusers, name).__init__).parameters) - {'self'}
    assert keys <= set(SETTINGS[name]) and set(SETTINGS[name]) == set(OTHER[name]), keys - set(SETTINGS[name])


@pytest.mark.parametrize('name, key', CASES, ids=lambda v: v)
def test_a_setting_of_a_network(tmp_path, name, key):
    load, same = LOADS[name]
    change, verdict = {k: OTHER[name][k] for k in (key, *WITH.get(key, ())) if k in OTHER[name]}, SETTINGS[name][key]
    if verdict.startswith('refused'):
        build(name, {}).save_pretrained(tmp_path)
        load(tmp_path)
        rewrite(tmp_path, change)
        with pytest.raises(ValueError, match=f'{key} is .*expected'):
            load(tmp_path)
        return
    theirs = build(name, change)
    if verdict.startswith('no effect'):
        plain = build(name, {})
        if key != 'use_linear_projection':  # whose weights have another form
            assert plain.state_dict().keys() == theirs.state_dict().keys()
            with torch.no_grad():
                torch.testing.assert_close(answer(name, theirs), answer(name, plain), rtol=0, atol=0)
    theirs.save_pretrained(tmp_path)
    rewrite(tmp_path, {k: v for k, v in change.items() if k not in theirs.config})
    ours = load(tmp_path)
    compare = {'AutoencoderKL': same_codec}.get(name, {'num_class_embeds': same_classes, 'addition_embed_type': same_added}.get(key, same))
    compare(theirs, ours)
    assert key != 'dropout' or ours.arguments['dropout'] == 0.5  # which is silent in eval mode


def same_classes(theirs, ours):
    "A network that is told a class, which ours is told as a one-hot vector."
    x, t, seq = inputs(theirs)
    labels, n = torch.tensor([1, 6]), ours.in_channels
    cond = Cond(vec=torch.eye(7, dtype=torch.float64)[labels], seq=seq, img=x[:, n:] if ours.img_channels else None)
    with torch.no_grad():
        want = theirs(x, t, *([] if seq is None else [seq]), class_labels=labels).sample
        torch.testing.assert_close(ours(x[:, :n], t, cond), want, **CLOSE)


def same_added(theirs, ours):
    "A network that is told the vector of a text and six numbers, which ours is told as waves."
    x, t, seq = inputs(theirs)
    numbers, text = torch.rand(2, 6) * 1024, torch.randn(2, 4, dtype=torch.float64)
    waves = sinusoids(numbers.flatten(), 8, shift=theirs.config.freq_shift, cos_first=theirs.config.flip_sin_to_cos).reshape(2, -1).double()
    with torch.no_grad():
        want = theirs(x, t, seq, added_cond_kwargs={'text_embeds': text, 'time_ids': numbers}).sample
        torch.testing.assert_close(ours(x, t, Cond(vec=torch.cat([text, waves], 1), seq=seq)), want, **CLOSE)


def same_codec(theirs, ours):
    "As `same_vae`, for any number of channels, with latents as the pipelines scale them."
    c = theirs.config
    x = torch.randn(1, c.in_channels, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        raw = theirs.encode(x).latent_dist.mean
        if c.latents_mean is not None:  # as the pipeline of Stable Diffusion XL
            mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (c.latents_mean, c.latents_std))
            want = (raw - mean) * c.scaling_factor / std
        else:  # as those of Stable Diffusion 3 and FLUX, and as all others where there is no shift
            want = (raw - (c.shift_factor or 0)) * c.scaling_factor
        torch.testing.assert_close(ours.encode(x), want, **CLOSE)
        torch.testing.assert_close(ours.decode(want), theirs.decode(raw).sample, **CLOSE)


@pytest.mark.parametrize('name', OTHER)
def test_what_a_network_means_when_it_is_silent(tmp_path, name):
    "Each key that says what the class says anyway may be missing, alone and with all the others."
    theirs = build(name, {})
    theirs.save_pretrained(tmp_path)
    load, _ = LOADS[name]
    want = load(tmp_path).arguments
    silent = [k for k, p in inspect.signature(type(theirs).__init__).parameters.items() if p.default is not p.empty and p.default == theirs.config[k]]
    assert len(silent) > 5
    for drop in [*([k] for k in silent), silent]:
        theirs.save_config(tmp_path)
        rewrite(tmp_path, {}, drop)
        assert load(tmp_path).arguments == want, drop


def test_defaults_of_networks_are_those_of_the_classes():
    "Also those that a small model must change: read from the signature and from nothing, they mean the same network."
    for name in ('UNet2DModel', 'UNet2DConditionModel'):
        whole = {k: p.default for k, p in inspect.signature(getattr(diffusers, name).__init__).parameters.items() if k != 'self'}
        assert unet.arguments({'_class_name': name} | whole) == unet.arguments({'_class_name': name})


WAYS = [  # other ways of saying what the class says anyway
    ('UNet2DConditionModel', {'only_cross_attention': [False, False]}), ('UNet2DConditionModel', {'transformer_layers_per_block': [1, 1]}), ('UNet2DConditionModel', {'mid_block_only_cross_attention': False}),
    ('UNet2DConditionModel', {'act_fn': 'swish'}), ('UNet2DModel', {'act_fn': 'swish'}), ('AutoencoderKL', {'act_fn': 'swish'}), ('UNet2DModel', {'down_block_types': ['UNetResDownBlock2D', 'UNetResAttnDownBlock2D'], 'up_block_types': ['UNetResAttnUpBlock2D', 'UNetResUpBlock2D']}),
]  # fmt: skip


@pytest.mark.parametrize('name, change', WAYS, ids=str)
def test_other_ways_of_saying_the_same(tmp_path, name, change):
    load, same = LOADS[name]
    theirs = build(name, change)
    theirs.save_pretrained(tmp_path)
    rewrite(tmp_path, change)
    same(theirs, load(tmp_path))


NEVER = [  # what another class can mean and this one cannot
    ('UNet2DModel', {'cross_attention_dim': 12}, "unknown key 'cross_attention_dim'; UNet2DModel"), ('UNet2DModel', {'attention_head_dim': [2, 4]}, 'attention_head_dim is .2, 4., expected one value'), ('UNet2DModel', {'layers_per_block': [1, 1]}, 'layers_per_block'),
    ('UNet2DConditionModel', {'add_attention': True}, "unknown key 'add_attention'"), ('UNet2DConditionModel', {'attention_head_dim': None}, 'attention_head_dim is null'), ('UNet2DConditionModel', {'cross_attention_dim': None}, 'cross_attention_dim is null'),
    ('UNet2DConditionModel', {'cross_attention_dim': [6, 12]}, 'cross_attention_dim is .6, 12.'), ('UNet2DConditionModel', {'quantization_config': {'bits': 4}}, "unknown key 'quantization_config'"), ('AutoencoderKL', {'layers_per_block': [1, 1, 1]}, 'layers_per_block is'),
    ('AutoencoderKL', {'latents_mean': [0.1] * 4}, 'latents_mean is .* latents_std None, expected both or neither'), ('AutoencoderKL', {'latents_mean': [0.1] * 3, 'latents_std': [1.0] * 3}, 'latents_mean holds 3 numbers, expected one for each of 4'),
    ('AutoencoderKL', {'latents_mean': [0.1] * 4, 'latents_std': [1.0] * 4, 'shift_factor': 0.2}, 'shift_factor is 0.2 beside'), ('AutoencoderKL', {'use_quant_conv': False}, 'use_quant_conv is False and use_post_quant_conv True'), ('AutoencoderKL', {'norm_eps': 1e-5}, "unknown key 'norm_eps'"),
]  # fmt: skip


@pytest.mark.parametrize('name, change, words', NEVER, ids=str)
def test_settings_of_another_class(tmp_path, name, change, words):
    build(name, {}).save_pretrained(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(ValueError, match=words):
        LOADS[name][0](tmp_path)


# Text encoders

TOWER = TEXT | {'projection_dim': 5}
OTHER_TEXT = {
    'hidden_size': 8, 'intermediate_size': 12, 'num_hidden_layers': 1, 'num_attention_heads': 3, 'hidden_act': 'gelu', 'layer_norm_eps': 1e-2, 'projection_dim': 7, 'vocab_size': 700, 'max_position_embeddings': 12, 'eos_token_id': 2,
    'attention_dropout': 0.5, 'pad_token_id': 3, 'bos_token_id': 4, 'initializer_range': 0.5, 'initializer_factor': 2.0, 'dropout': 0.5, 'pruned_heads': {'0': [1]}, 'quantization_config': {'bits': 4},
}  # fmt: skip


def write_tower(folder, change, kind='CLIPTextModelWithProjection'):
    theirs = randomise(getattr(transformers, kind)(transformers.CLIPTextConfig(**TOWER | change)))
    theirs.save_pretrained(folder)
    return theirs


@pytest.mark.parametrize('key', [k for k in SETTINGS['CLIPTextConfig'] if k not in ('architectures', 'model_type')])
def test_a_setting_of_a_text_tower(tmp_path, key):
    verdict, value = SETTINGS['CLIPTextConfig'][key], OTHER_TEXT.get(key, 'x')
    if verdict == 'followed':
        same_tower(write_tower(tmp_path, {key: value}), load_text_encoder(tmp_path))
        return
    theirs = write_tower(tmp_path, {key: value} if key in OTHER_TEXT and verdict.startswith('no effect') else {})
    rewrite(tmp_path, {key: value})
    if verdict.startswith('refused'):
        with pytest.raises(ValueError, match=f'{key} is .*expected'):
            load_text_encoder(tmp_path)
    else:
        same_tower(theirs, load_text_encoder(tmp_path))
        tokens = torch.tensor([[5, 6, 513, 513]])
        with torch.no_grad():
            assert torch.equal(theirs(tokens).last_hidden_state, write_tower(tmp_path, {})(tokens).last_hidden_state)


@pytest.mark.parametrize('kind', ['Text', 'Vision', ''])
def test_every_key_of_clip_has_a_verdict(kind):
    "Of the signature, of what is written, and of the settings for writing that older files carry."
    config = getattr(transformers, f'CLIP{kind}Config')
    keys = (
        set(inspect.signature(config.__init__).parameters) - {'self', 'kwargs'}
        | set(config().to_dict())
        | set(transformers.GenerationConfig._get_default_generation_params())
    )
    assert {k for k in keys if not k.startswith('_')} <= set(SETTINGS[f'CLIP{kind}Config'])


def test_what_a_tower_means_when_it_is_silent():
    for part, config in (('text', transformers.CLIPTextConfig), ('vision', transformers.CLIPVisionConfig)):
        whole = json.loads(json.dumps(config().to_dict()))
        want = clip.arguments(whole, part)
        assert clip.arguments({}, part) == want
        for key in whole:
            assert clip.arguments({k: v for k, v in whole.items() if k != key}, part) == want, key


@pytest.mark.parametrize('said, held', [(s, h) for s in ('CLIPTextModel', 'CLIPTextModelWithProjection', None) for h in (False, True)])
def test_the_class_says_whether_there_is_a_projection(tmp_path, said, held):
    "A class without one passes over what the file holds, as in transformers; one that has it needs it; where no class is said the file tells."
    from safetensors.torch import load_file, save_file

    theirs = write_tower(tmp_path, {})
    tensors = load_file(tmp_path / 'model.safetensors')
    save_file({k: v for k, v in tensors.items() if held or k != 'text_projection.weight'}, tmp_path / 'model.safetensors')
    rewrite(tmp_path, {'architectures': [said] if said else None})
    if said == 'CLIPTextModelWithProjection' and not held:
        with pytest.raises(ValueError, match='missing: text_projection.weight'):
            load_text_encoder(tmp_path)
        return
    ours = load_text_encoder(tmp_path)
    if said == 'CLIPTextModel' or not held:
        theirs = transformers.CLIPTextModel.from_pretrained(tmp_path, dtype=torch.float64).eval()
    same_tower(theirs, ours)


@pytest.mark.parametrize('said', ['umt5', 'bert', 'clip_vision_model', 'siglip'])
def test_a_model_of_another_type(tmp_path, said):
    write_tower(tmp_path, {})
    rewrite(tmp_path, {'architectures': None, 'model_type': said})
    with pytest.raises(ValueError, match=f'describes a model of type {said}; supported here'):
        load_text_encoder(tmp_path)


@pytest.mark.parametrize('form', ['new', 'old', 'both', 'old and empty'])
def test_configurations_of_both_towers(tmp_path, form):
    "The older name of a part replaces the newer one, with the defaults of its class: so does transformers."
    text, image = (
        TOWER | {'hidden_size': 8},
        {'hidden_size': 12, 'intermediate_size': 20, 'num_hidden_layers': 2, 'num_attention_heads': 3, 'image_size': 6, 'patch_size': 3},
    )
    said = {'new': {'text_config': text, 'vision_config': image}, 'old': {'text_config_dict': text, 'vision_config_dict': image}, 'old and empty': {'text_config_dict': None, 'vision_config_dict': None, 'text_config': text, 'vision_config': image},
            'both': {'text_config': text | {'hidden_act': 'gelu', 'num_hidden_layers': 5, 'eos_token_id': 2}, 'text_config_dict': text, 'vision_config': image | {'layer_norm_eps': 0.5}, 'vision_config_dict': image}}[form]  # fmt: skip
    theirs = randomise(transformers.CLIPModel(transformers.CLIPConfig(**json.loads(json.dumps(said)), projection_dim=5)))
    theirs.save_pretrained(tmp_path)
    (tmp_path / 'config.json').write_text(json.dumps(said | {'architectures': ['CLIPModel'], 'projection_dim': 5}))
    ours, tokens, pixels = load_clip(tmp_path), torch.tensor([[5, 6, 513, 513]]), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        want = theirs(input_ids=tokens, pixel_values=pixels)
        torch.testing.assert_close(ours.encode_text(tokens), want.text_embeds, **CLOSE)
        torch.testing.assert_close(ours.encode_image(pixels), want.image_embeds, **CLOSE)
        torch.testing.assert_close(load_text_encoder(tmp_path)(tokens)[0], theirs.text_model(tokens).last_hidden_state, **CLOSE)
