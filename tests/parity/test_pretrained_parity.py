"""Folders go both ways: diffusers and transformers write what we read, we write what they read, in float64 and bit for bit.

The single-file names are held against diffusers' own converter, run backwards by name: each tensor of a random model is
renamed to the first code's name by a table written down here, and must come back to its place.
"""

import gzip
import json
import re

import pytest
import torch
from helpers import needs_data
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from diffbook.core import Cond
from diffbook.nets.vae import AutoencoderKL
from diffbook.pretrained import (
    NoisePlan,
    load_schedule,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    load_vae,
    make_empty,
    save_pipeline,
    save_published,
)
from diffbook.text import Tokenizer, train_merges

diffusers, transformers = pytest.importorskip('diffusers'), pytest.importorskip('transformers')

CLOSE = {'rtol': 0, 'atol': 1e-9}
READS = {
    'block_out_channels': (8, 16),
    'down_block_types': ('CrossAttnDownBlock2D', 'DownBlock2D'),
    'up_block_types': ('UpBlock2D', 'CrossAttnUpBlock2D'),
    'cross_attention_dim': 12,
    'norm_num_groups': 4,
    'attention_head_dim': 2,
    'layers_per_block': 2,
}
PLAIN = {
    'block_out_channels': (8, 16),
    'down_block_types': ('DownBlock2D', 'AttnDownBlock2D'),
    'up_block_types': ('AttnUpBlock2D', 'UpBlock2D'),
    'norm_num_groups': 4,
    'layers_per_block': 1,
}
VAE = {
    'block_out_channels': (8, 16, 16),
    'down_block_types': ('DownEncoderBlock2D',) * 3,
    'up_block_types': ('UpDecoderBlock2D',) * 3,
    'norm_num_groups': 4,
    'layers_per_block': 1,
    'latent_channels': 4,
}
TEXT = {
    'hidden_size': 12,
    'intermediate_size': 20,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'vocab_size': 600,
    'max_position_embeddings': 9,
    'eos_token_id': 513,
    'bos_token_id': 512,
}


def randomise(model, seed=0):
    "Weights that let every part speak: none is zero, no norm is the identity."
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5, generator=g)
    return model.double().eval()


def unet(config):
    kind = diffusers.UNet2DConditionModel if 'cross_attention_dim' in config else diffusers.UNet2DModel
    return randomise(kind(**config))


def inputs(net, classes=0):
    x, t = torch.randn(2, net.config.in_channels, 8, 8, dtype=torch.float64), torch.tensor([0.0, 937.0])
    dim = net.config.get('cross_attention_dim')
    return x, t, torch.randn(2, 5, dim, dtype=torch.float64) if dim else None


def same_net(theirs, ours):
    x, t, seq = inputs(theirs)
    n = ours.in_channels
    cond = Cond(seq=seq, img=x[:, n:] if ours.img_channels else None)
    with torch.no_grad():
        want = theirs(x, t, *([] if seq is None else [seq])).sample
        assert want.abs().max() > 1e-3
        torch.testing.assert_close(ours(x[:, :n], t, cond), want, **CLOSE)


def same_vae(theirs, ours):
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    with torch.no_grad():
        mean, _ = ours.posterior(x)
        torch.testing.assert_close(mean, theirs.encode(x).latent_dist.mean, **CLOSE)
        z = ours.encode(x)
        torch.testing.assert_close(z, mean * theirs.config.scaling_factor, **CLOSE)
        torch.testing.assert_close(ours.decode(z), theirs.decode(z / theirs.config.scaling_factor).sample, **CLOSE)


def same_tower(theirs, ours, end=513):
    tokens = torch.randint(0, 500, (3, 9))
    tokens[:, -2:] = end
    with torch.no_grad():
        want = theirs(input_ids=tokens)
        torch.testing.assert_close(ours(tokens)[0], want.last_hidden_state, **CLOSE)
        torch.testing.assert_close(ours(tokens)[1], getattr(want, 'text_embeds', getattr(want, 'pooler_output', None)), **CLOSE)


def same_state(a, b):
    assert a.state_dict().keys() == b.state_dict().keys()
    assert all(torch.equal(v, b.state_dict()[k]) and v.dtype == b.state_dict()[k].dtype for k, v in a.state_dict().items())
    assert a.arguments == b.arguments


# What they write, we read


@pytest.mark.parametrize('config', [READS, READS | {'in_channels': 9, 'use_linear_projection': True}, PLAIN, PLAIN | {'attention_head_dim': 4}])
@pytest.mark.parametrize('whole', [False, True])
def test_unet_folders(tmp_path, config, whole):
    theirs = unet(config)
    theirs.save_pretrained(tmp_path / 'unet' if whole else tmp_path)
    same_net(theirs, load_unet(tmp_path))


def test_shards(tmp_path):
    theirs = unet(READS)
    theirs.save_pretrained(tmp_path, max_shard_size='40KB')
    assert len(list(tmp_path.glob('*.safetensors'))) > 3
    same_net(theirs, load_unet(tmp_path))


def test_half_precision(tmp_path):
    "Stored in half precision and read as stored or in float32: the same numbers."
    theirs = unet(PLAIN).half()
    theirs.save_pretrained(tmp_path, variant='fp16')
    half, full = load_unet(tmp_path), load_unet(tmp_path, torch.float32)
    for name, p in half.state_dict().items():
        assert p.dtype == torch.float16 and full.state_dict()[name].dtype == torch.float32
        assert torch.equal(p.float(), full.state_dict()[name])
    same_net(theirs.double(), load_unet(tmp_path, torch.float64))


def test_vae_folder(tmp_path):
    theirs = randomise(diffusers.AutoencoderKL(**VAE, scaling_factor=0.3))
    theirs.save_pretrained(tmp_path / 'vae')
    same_vae(theirs, load_vae(tmp_path))


@pytest.mark.parametrize('kind', ['CLIPTextModel', 'CLIPTextModelWithProjection'])
def test_text_folder(tmp_path, kind):
    theirs = randomise(getattr(transformers, kind)(transformers.CLIPTextConfig(**TEXT, projection_dim=5)))
    theirs.save_pretrained(tmp_path / 'text_encoder')
    same_tower(theirs, load_text_encoder(tmp_path))


@pytest.mark.parametrize('kind', ['DDIM', 'DDPM'])
def test_a_whole_model_of_pixels(tmp_path, kind):
    "As google/ddpm-cifar10-32: the network and the scheduler, in their folders or all in one."
    theirs = unet(PLAIN | {'flip_sin_to_cos': False, 'freq_shift': 1, 'downsample_padding': 0})
    scheduler = getattr(diffusers, f'{kind}Scheduler')()
    getattr(diffusers, f'{kind}Pipeline')(theirs, scheduler).save_pretrained(tmp_path / 'nested')
    theirs.save_pretrained(tmp_path / 'flat')
    scheduler.save_pretrained(tmp_path / 'flat')
    for name in ('nested', 'flat'):
        net, plan = load_unet(tmp_path / name), load_schedule(tmp_path / name)
        same_net(theirs, net)
        want = scheduler.alphas_cumprod.double().sqrt()
        torch.testing.assert_close(plan.schedule.alpha(torch.arange(1, 1001)), want, rtol=3e-6, atol=0)
        assert plan.clip == 1.0 and plan.last == 0


# Schedules


@st.composite
def scheduler_configs(draw):
    kind = draw(st.sampled_from(['DDIM', 'PNDM', 'DDPM']))
    config = {
        'num_train_timesteps': draw(st.sampled_from([50, 100, 1000])),
        'beta_schedule': draw(st.sampled_from(['linear', 'scaled_linear', 'squaredcos_cap_v2'])),
        'beta_start': draw(st.sampled_from([0.00085, 1e-4])),
        'beta_end': draw(st.sampled_from([0.012, 0.02])),
        'steps_offset': draw(st.integers(0, 1)),
        'timestep_spacing': draw(st.sampled_from(['leading', 'trailing', 'linspace'])),
        'prediction_type': draw(st.sampled_from(['epsilon', 'v_prediction'])),
    }
    if kind == 'DDIM':
        config['rescale_betas_zero_snr'] = draw(st.booleans())
    if kind != 'DDPM':
        config['set_alpha_to_one'] = draw(st.booleans())
    if kind == 'PNDM':
        config['skip_prk_steps'] = True
    return kind, config


@pytest.mark.filterwarnings('ignore:n is .* sampling begins with pure noise')
@settings(max_examples=60, deadline=None, derandomize=True)
@given(scheduler_configs(), st.integers(2, 10))
def test_schedules(tmp_path_factory, drawn, n):
    "Tables and times of random configurations. diffusers counts from 0 and works in float32; PNDM visits its second time twice."
    kind, config = drawn
    folder, theirs = tmp_path_factory.mktemp('scheduler'), getattr(diffusers, f'{kind}Scheduler')(**config)
    theirs.save_pretrained(folder)
    plan, T = load_schedule(folder), config['num_train_timesteps']
    alpha = plan.schedule.alpha(torch.arange(1, T + 1))
    torch.testing.assert_close(alpha, theirs.alphas_cumprod.double().clamp(min=0).sqrt(), rtol=1e-4, atol=1e-5)
    theirs.set_timesteps(n)
    want = sorted(set(theirs.timesteps.tolist()), reverse=True)
    got = plan.times(n)
    final = 1 if hasattr(theirs, 'final_alpha_cumprod') and not config['set_alpha_to_one'] else 0
    assert got[-1] == final and (got.diff() < 0).all()
    assert [t - 1 for t in got[:-1].tolist()] == [t for t in want if t + 1 > final]


@pytest.mark.parametrize(
    'kind', ['EulerDiscrete', 'EulerAncestralDiscrete', 'HeunDiscrete', 'LMSDiscrete', 'DPMSolverMultistep', 'UniPCMultistep', 'KDPM2Discrete']
)
def test_other_schedulers_mean_the_same_table(tmp_path, kind):
    theirs = getattr(diffusers, f'{kind}Scheduler')()
    theirs.save_pretrained(tmp_path)
    plan = load_schedule(tmp_path)
    torch.testing.assert_close(plan.schedule.alpha(torch.arange(1, 1001)), theirs.alphas_cumprod.double().sqrt(), rtol=1e-5, atol=0)
    theirs.set_timesteps(7)
    ours = plan.times(7)[:-1] - 1
    assert plan.spacing == 'linspace' and {theirs.config.timestep_spacing} == {'linspace'}
    assert (ours[0] - theirs.timesteps[0]).abs() < 1


@pytest.mark.parametrize(
    'kind', ['DDIM', 'DDPM', 'PNDM', 'EulerDiscrete', 'HeunDiscrete', 'KDPM2Discrete', 'LMSDiscrete', 'DPMSolverMultistep', 'DEISMultistep']
)
def test_what_a_silent_file_means(tmp_path, kind):
    "Only the class is said: everything else is as that class has it."
    (tmp_path / 'scheduler_config.json').write_text(json.dumps({'_class_name': f'{kind}Scheduler'}))
    plan, theirs = load_schedule(tmp_path), getattr(diffusers, f'{kind}Scheduler')().config
    torch.testing.assert_close(plan.schedule.betas[[0, -1]], torch.tensor([theirs.beta_start, theirs.beta_end], dtype=torch.float64))
    assert len(plan.schedule.betas) == theirs.num_train_timesteps and theirs.prediction_type == 'epsilon' == plan.prediction.__name__.replace(
        'predict_eps', 'epsilon'
    )
    assert (plan.spacing, plan.offset) == (theirs.timestep_spacing, theirs.steps_offset)
    assert plan.last == (0 if theirs.get('set_alpha_to_one', kind != 'DEISMultistep') else 1)  # DEIS ends at the level of its first row
    assert (plan.clip is not None) == theirs.get('clip_sample', False)


# Tokenizers


CAPTIONS = ['a small red circle', 'two blue squares near a red triangle', 'the red circle is above the blue square'] * 3
SAID = [*CAPTIONS[:3], '', 'A  SQUARE, red!', "it's 12 circles 🙂", 'unseen words', 'a<|endoftext|>b']


@pytest.fixture
def tokenizer():
    return Tokenizer(train_merges(CAPTIONS, 40), 20)


def test_tokenizers_go_both_ways(tmp_path, tokenizer):
    "Ours is written, theirs reads it and writes its own layout, and ours reads that: the same tokens everywhere."
    save_published(tmp_path / 'ours', tokenizer)
    theirs = transformers.CLIPTokenizer.from_pretrained(tmp_path / 'ours')
    theirs.save_pretrained(tmp_path / 'theirs')
    (tmp_path / 'theirs' / 'merges.txt').unlink(missing_ok=True)
    assert (tmp_path / 'theirs' / 'tokenizer.json').is_file()
    want = tokenizer(SAID)
    assert torch.equal(theirs(SAID, padding='max_length', return_tensors='pt').input_ids, want)
    for folder in ('ours', 'theirs'):
        assert torch.equal(load_tokenizer(tmp_path / folder)(SAID), want)


@pytest.mark.parametrize('layout', ['files', 'json'])
def test_another_padding_is_read(tmp_path, layout):
    "Stable Diffusion 2 pads with token 0."
    tokenizer = Tokenizer(train_merges(CAPTIONS, 10), 12, pad=0)
    save_published(tmp_path / 'tokenizer', tokenizer)
    if layout == 'json':
        transformers.CLIPTokenizer.from_pretrained(tmp_path / 'tokenizer').save_pretrained(tmp_path / 'tokenizer')
        (tmp_path / 'tokenizer' / 'merges.txt').unlink()
    back = load_tokenizer(tmp_path)
    assert back.pad == 0 and torch.equal(back(CAPTIONS[:1]), tokenizer(CAPTIONS[:1]))


# What we write, they read


@pytest.mark.parametrize(
    'config',
    [
        READS,
        READS | {'attention_head_dim': (2, 4), 'in_channels': 9},
        PLAIN,
        PLAIN | {'num_class_embeds': 7},
        PLAIN | {'attention_head_dim': 4, 'freq_shift': 1, 'flip_sin_to_cos': False, 'downsample_padding': 0, 'norm_eps': 1e-6},
    ],
)
def test_unet_there_and_back(tmp_path, config):
    theirs = unet(config)
    theirs.save_pretrained(tmp_path / 'theirs')
    ours = load_unet(tmp_path / 'theirs')
    save_published(tmp_path / 'ours', ours, config={'sample_size': 8})
    same_state(load_unet(tmp_path / 'ours'), ours)
    back = type(theirs).from_pretrained(tmp_path / 'ours', torch_dtype=torch.float64).eval()
    assert back.config.sample_size == 8
    state = back.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    assert all(torch.equal(v.reshape(state[k].shape), state[k]) for k, v in theirs.state_dict().items())


def test_vae_there_and_back(tmp_path):
    ours = AutoencoderKL(channels=(8, 16), blocks=1, groups=4, scale=0.7, shift=0.2)
    randomise(ours)
    save_published(tmp_path, ours)
    same_state(load_vae(tmp_path), ours)
    theirs = diffusers.AutoencoderKL.from_pretrained(tmp_path, torch_dtype=torch.float64).eval()
    z = torch.randn(1, 4, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.decode(z), theirs.decode(z / 0.7 + 0.2).sample, **CLOSE)
    assert (theirs.config.scaling_factor, theirs.config.shift_factor) == (0.7, 0.2)


@pytest.mark.parametrize('kind', ['CLIPTextModel', 'CLIPTextModelWithProjection'])
def test_text_there_and_back(tmp_path, kind):
    theirs = randomise(getattr(transformers, kind)(transformers.CLIPTextConfig(**TEXT, hidden_act='gelu', projection_dim=5)))
    theirs.save_pretrained(tmp_path / 'theirs')
    ours = load_text_encoder(tmp_path / 'theirs')
    save_published(tmp_path / 'ours', ours)
    same_state(load_text_encoder(tmp_path / 'ours'), ours)
    back, info = getattr(transformers, kind).from_pretrained(tmp_path / 'ours', dtype=torch.float64, output_loading_info=True)
    assert not info['missing_keys'] and not info['unexpected_keys']
    same_tower(back.eval(), ours)


@pytest.mark.parametrize('config', [{}, {'prediction_type': 'v_prediction', 'rescale_betas_zero_snr': True, 'timestep_spacing': 'trailing'}])
def test_schedule_there_and_back(tmp_path, config):
    theirs = diffusers.DDIMScheduler(**config, num_train_timesteps=200)
    theirs.save_pretrained(tmp_path / 'theirs')
    plan = load_schedule(tmp_path / 'theirs')
    save_published(tmp_path / 'ours', plan)
    again = load_schedule(tmp_path / 'ours')
    assert torch.equal(again.schedule.betas, plan.schedule.betas)
    assert (again.prediction, again.spacing, again.offset, again.last, again.clip) == (plan.prediction, plan.spacing, plan.offset, plan.last, plan.clip)
    back = diffusers.DDIMScheduler.from_pretrained(tmp_path / 'ours')
    torch.testing.assert_close(back.alphas_cumprod, theirs.alphas_cumprod, rtol=1e-4, atol=1e-6)
    assert back.config.prediction_type == theirs.config.prediction_type


def test_pipelines_are_read_by_diffusers(tmp_path):
    pixels, latents = unet(PLAIN), unet(READS)
    pixels.save_pretrained(tmp_path / 'a')
    latents.save_pretrained(tmp_path / 'b')
    text = randomise(transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT)))
    text.save_pretrained(tmp_path / 'c')
    diffusers.DDIMScheduler(clip_sample=False, steps_offset=1).save_pretrained(tmp_path / 'd')
    plan, vae = load_schedule(tmp_path / 'd'), randomise(AutoencoderKL(channels=(8, 16), blocks=1, groups=4))
    save_pipeline(tmp_path / 'pixels', unet=load_unet(tmp_path / 'a'), scheduler=plan, config={'unet': {'sample_size': 8}})
    assert type(diffusers.DiffusionPipeline.from_pretrained(tmp_path / 'pixels')).__name__ == 'DDIMPipeline'
    parts = dict(
        unet=load_unet(tmp_path / 'b'),
        scheduler=plan,
        vae=vae,
        text_encoder=load_text_encoder(tmp_path / 'c'),
        tokenizer=Tokenizer(train_merges(CAPTIONS, 40), 9),
    )
    save_pipeline(tmp_path / 'latents', **parts, config={'unet': {'sample_size': 8}}, dtype=torch.float32)
    pipe = diffusers.DiffusionPipeline.from_pretrained(tmp_path / 'latents')
    assert isinstance(pipe, diffusers.StableDiffusionPipeline)
    with torch.no_grad():
        made = pipe('a red circle', num_inference_steps=1, output_type='latent', height=16, width=16, guidance_scale=0.0).images
    assert torch.isfinite(made).all() and made.shape == (1, 4, 8, 8)


# Single files, in the names of the first code


def original_unet(name, count, levels, reads):
    "The first code's name of a tensor of UNet2DConditionModel, written independently of our table: by arithmetic on the numbers."
    inner = {
        'norm1': 'in_layers.0',
        'conv1': 'in_layers.2',
        'time_emb_proj': 'emb_layers.1',
        'norm2': 'out_layers.0',
        'conv2': 'out_layers.3',
        'conv_shortcut': 'skip_connection',
    }
    m = re.match(r'(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)\.(weight|bias)$', name)
    if m:
        way, level, kind, n, rest, p = m[1], int(m[2]), m[3], int(m[4]), m[5], m[6]
        if kind == 'downsamplers':
            return f'input_blocks.{(level + 1) * (count + 1)}.0.op.{p}'
        if kind == 'upsamplers':
            return f'output_blocks.{(level + 1) * (count + 1) - 1}.{2 if reads[levels - 1 - level] else 1}.conv.{p}'
        i = level * (count + 1) + n + (1 if way == 'down' else 0)
        block = f'{"input" if way == "down" else "output"}_blocks.{i}.{0 if kind == "resnets" else 1}'
        return f'{block}.{inner.get(rest, rest) if kind == "resnets" else rest}.{p}'
    m = re.match(r'mid_block\.(resnets|attentions)\.(\d)\.(.+)\.(weight|bias)$', name)
    if m:
        return f'middle_block.{1 if m[1] == "attentions" else 2 * int(m[2])}.{inner.get(m[3], m[3]) if m[1] == "resnets" else m[3]}.{m[4]}'
    ends = {
        'conv_in': 'input_blocks.0.0',
        'time_embedding.linear_1': 'time_embed.0',
        'time_embedding.linear_2': 'time_embed.2',
        'conv_norm_out': 'out.0',
        'conv_out': 'out.2',
    }
    head, _, p = name.rpartition('.')
    return f'{ends[head]}.{p}'


def original_vae(name, levels):
    name = re.sub(r'(down|up)_blocks\.(\d+)', lambda m: f'{m[1]}.{int(m[2]) if m[1] == "down" else levels - 1 - int(m[2])}', name)
    name = re.sub(r'resnets\.(\d+)', lambda m: f'block.{m[1]}', name)
    name = re.sub(r'mid_block\.block\.(\d)', lambda m: f'mid.block_{int(m[1]) + 1}', name).replace('mid_block.attentions.0', 'mid.attn_1')
    for new, old in (('group_norm', 'norm'), ('to_q', 'q'), ('to_k', 'k'), ('to_v', 'v'), ('to_out.0', 'proj_out'), ('conv_shortcut', 'nin_shortcut')):
        name = name.replace(f'.{new}.', f'.{old}.')
    name = re.sub(r'(down|up)samplers\.0', r'\1sample', name)
    return name.replace('conv_norm_out', 'norm_out')


def open_clip(state, n):
    "OpenCLIP's names, with one more block, which Stable Diffusion does not read."
    found, state = {}, {k.removeprefix('text_model.'): v for k, v in state.items()}
    inner = {'layer_norm1': 'ln_1', 'layer_norm2': 'ln_2', 'mlp.fc1': 'mlp.c_fc', 'mlp.fc2': 'mlp.c_proj', 'self_attn.out_proj': 'attn.out_proj'}
    for i in range(n):
        for p in ('weight', 'bias'):
            found[f'transformer.resblocks.{i}.attn.in_proj_{p}'] = torch.cat([state[f'encoder.layers.{i}.self_attn.{x}_proj.{p}'] for x in 'qkv'])
            for theirs, name in inner.items():
                found[f'transformer.resblocks.{i}.{name}.{p}'] = state[f'encoder.layers.{i}.{theirs}.{p}']
    found |= {k.replace(f'resblocks.{n - 1}.', f'resblocks.{n}.'): 7 * v for k, v in found.items() if f'resblocks.{n - 1}.' in k}
    found |= {'positional_embedding': state['embeddings.position_embedding.weight'], 'token_embedding.weight': state['embeddings.token_embedding.weight']}
    found |= {f'ln_final.{p}': state[f'final_layer_norm.{p}'] for p in ('weight', 'bias')}
    return found | {'text_projection': torch.randn(12, 5, dtype=torch.float64), 'logit_scale': torch.ones((), dtype=torch.float64)}


@pytest.mark.parametrize('version', [1, 2])
def test_single_files(tmp_path, version):
    "All parts in one file, with what a training leaves beside them."
    torch.manual_seed(0)
    config = READS | {'use_linear_projection': version == 2, 'in_channels': 4 if version == 1 else 9}
    net, vae = unet(config), randomise(diffusers.AutoencoderKL(**VAE))
    tower = randomise(transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT, hidden_act='quick_gelu' if version == 1 else 'gelu')))
    file = {f'model.diffusion_model.{original_unet(k, 2, 2, (True, False))}': v for k, v in net.state_dict().items()}
    file |= {f'first_stage_model.{original_vae(k, 3)}': v[..., None, None] if 'attentions' in k and v.ndim == 2 else v for k, v in vae.state_dict().items()}
    text = (
        {f'transformer.text_model.{k.removeprefix("text_model.")}': v for k, v in tower.state_dict().items()}
        if version == 1
        else {f'model.{k}': v for k, v in open_clip(tower.state_dict(), 2).items()}
    )
    file |= {f'cond_stage_model.{k}': v for k, v in text.items()} | {'betas': torch.zeros(1000), 'model_ema.decay': torch.zeros(())}
    save_file({k: v.contiguous().clone() for k, v in file.items()}, path := tmp_path / 'model.safetensors')
    same_net(net, load_unet(path, config={'norm_num_groups': 4, 'attention_head_dim': 2}))
    same_vae(vae, load_vae(path, config={'norm_num_groups': 4}))
    same_tower(tower, load_text_encoder(path, config={'num_attention_heads': 2, 'eos_token_id': 513}))


@pytest.mark.parametrize('width, heads', [(768, (8, 8, 0, 8)), (1024, (1, 2, 0, 2))])
def test_heads_that_no_shape_shows(tmp_path, width, heads):
    "Version 1 has 8 heads everywhere; version 2, which reads wider states, one for each 64 channels."
    config = {
        'block_out_channels': (64, 128, 128),
        'down_block_types': ('CrossAttnDownBlock2D',) * 2 + ('DownBlock2D',),
        'up_block_types': ('UpBlock2D',) + ('CrossAttnUpBlock2D',) * 2,
    }
    with torch.device('meta'):
        net = diffusers.UNet2DConditionModel(**config, layers_per_block=1, cross_attention_dim=width, norm_num_groups=32)
    file = {f'model.diffusion_model.{original_unet(k, 1, 3, (True, True, False))}': torch.zeros(v.shape) for k, v in net.state_dict().items()}
    save_file(file, tmp_path / 'model.safetensors')
    ours = load_unet(tmp_path / 'model.safetensors')
    assert ours.arguments['heads'] == heads and ours.arguments['channels'] == (64, 128, 128)
    if width == 768:
        assert load_schedule(tmp_path / 'model.safetensors').prediction.__name__ == 'predict_eps'
    else:
        with pytest.raises(ValueError, match='set prediction_type in config'):
            load_schedule(tmp_path / 'model.safetensors')
    assert load_schedule(tmp_path / 'model.safetensors', {'prediction_type': 'v_prediction'}).prediction.__name__ == 'predict_v'


def test_a_vae_alone_in_one_file(tmp_path):
    vae = randomise(diffusers.AutoencoderKL(**VAE))
    save_file({original_vae(k, 3): v for k, v in vae.state_dict().items()} | {'loss.logvar': torch.zeros(1)}, tmp_path / 'vae.safetensors')
    same_vae(vae, load_vae(tmp_path / 'vae.safetensors', config={'norm_num_groups': 4, 'scaling_factor': 0.18215}))


# Full size


FULL = {  # part -> (how it is read, model, parameters)
    'unet': (
        load_unet,
        ('runwayml/stable-diffusion-v1-5', 859_520_964),
        ('stabilityai/stable-diffusion-2-1', 865_910_724),
        ('runwayml/stable-diffusion-inpainting', 859_535_364),
    ),
    'vae': (load_vae, ('runwayml/stable-diffusion-v1-5', 83_653_863)),
    'text_encoder': (load_text_encoder, ('runwayml/stable-diffusion-v1-5', 123_060_480), ('stabilityai/stable-diffusion-2-1', 340_387_840)),
}


@pytest.mark.parametrize('part, load, model, count', [(part, load, *case) for part, (load, *cases) in FULL.items() for case in cases])
def test_full_size(tmp_path, monkeypatch, part, load, model, count):
    "The published configuration with tensors of the published names and shapes, without memory: every one finds its place, and there is no other."
    states = needs_data('model-configs')
    shapes = json.loads(gzip.decompress((states / 'state_dicts' / f'{model.replace("/", "__")}__{part}.json.gz').read_bytes()))
    file = tmp_path / part / ('model.safetensors' if part == 'text_encoder' else 'diffusion_pytorch_model.safetensors')
    file.parent.mkdir()
    file.touch()
    (tmp_path / part / 'config.json').write_text((states / model / part / 'config.json').read_text())
    monkeypatch.setattr(
        'diffbook.published.reading.read_tensors', lambda files: {k: torch.empty(s, device='meta', dtype=torch.float16) for k, s in shapes.items()}
    )
    ours = load(tmp_path)
    assert sum(p.numel() for p in ours.parameters()) == count == sum(torch.Size(s).numel() for s in shapes.values())


@pytest.mark.parametrize('model', ['runwayml/stable-diffusion-v1-5', 'stabilityai/stable-diffusion-2-1'])
def test_full_size_single_file(monkeypatch, tmp_path, model):
    "The shapes of a single file tell the configuration of versions 1 and 2."
    states = needs_data('model-configs')
    shapes = json.loads(gzip.decompress((states / 'state_dicts' / f'{model.replace("/", "__")}__unet.json.gz').read_bytes()))
    names = {f'model.diffusion_model.{original_unet(k, 2, 4, (True, True, True, False))}': torch.empty(s, device='meta') for k, s in shapes.items()}
    monkeypatch.setattr('diffbook.published.reading.read_tensors', lambda files: names)
    (tmp_path / 'model.safetensors').touch()
    want = json.loads((states / model / 'unet' / 'config.json').read_text())
    (tmp_path / 'unet').mkdir()
    (tmp_path / 'unet' / 'config.json').write_text(json.dumps(want))
    assert load_unet(tmp_path / 'model.safetensors').arguments == make_empty('unet', want).arguments


@pytest.mark.parametrize('model, prediction, last, first', [
    ('runwayml/stable-diffusion-v1-5', 'predict_eps', 1.0, 982.0),
    ('stabilityai/stable-diffusion-2-1', 'predict_v', 1.0, 982.0),
    ('google/ddpm-cifar10-32', 'predict_eps', 0.0, 981.0),
])  # fmt: skip
def test_published_schedulers(model, prediction, last, first):
    states = needs_data('model-configs')
    plan = load_schedule(states / model)
    assert isinstance(plan, NoisePlan) and plan.prediction.__name__ == prediction
    assert (plan.last, plan.times(50)[0].item()) == (last, first) and len(plan.schedule.betas) == 1000


def test_clips_tokenizer():
    assert load_tokenizer(needs_data('clip-bpe'))(['a photo of a cat'])[0, :7].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407]
