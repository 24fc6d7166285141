"""Whole pipelines of Stable Diffusion 3 and FLUX.1: the same folder, prompts and starting noise give diffusers' latents and pictures, in
float64, at the times that its scheduler rounds to float32.

Four places of theirs are of float32 whatever comes, and compute in float64 here: the step of the scheduler, the norm of T5, the mean
squares of the norm of Stable Diffusion 3.5 and the turns of FLUX. The times stay as they are, to the bit.
"""

import gc

import numpy
import pytest
import torch
from helpers import needs_data
from test_mmdit_parity import FLUX, SD3, in_double  # noqa: F401
from torch import nn

from diffbook.core import noise
from diffbook.pretrained import load_schedule
from diffbook.published.joint import JointReader, SpokenReader
from diffbook.published.reading import Published
from diffbook.stable_diffusion import load_pipeline

diffusers, transformers = pytest.importorskip('diffusers'), pytest.importorskip('transformers')

CLOSE = {'rtol': 0, 'atol': 1e-9}
PROMPTS, AWAY = ['a small red circle', 'a big blue square on white'], ['green', '']
SHIFTS = {'shift 3': {'shift': 3.0}, 'grows with the picture': {'shift': 3.0, 'use_dynamic_shifting': True}}
FIRST, SECOND = diffusers.StableDiffusion3Pipeline, diffusers.FluxPipeline


def randomise(model):
    g = torch.Generator().manual_seed(0)
    for p in model.parameters():
        nn.init.normal_(p, std=0.1 if p.ndim < 2 else p[0].numel() ** -0.5, generator=g)
    return model.double().eval()


@pytest.fixture(autouse=True)
def steps_in_double(monkeypatch):
    def step(self, said, t, x, return_dict=False):
        i = self._step_index = (self._begin_index or 0) if self._step_index is None else self._step_index
        self._step_index += 1
        return (x + (self.sigmas[i + 1].double() - self.sigmas[i].double()) * said,)

    norm = transformers.models.t5.modeling_t5.T5LayerNorm
    monkeypatch.setattr(norm, 'forward', lambda self, x: self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)))
    monkeypatch.setattr(diffusers.FlowMatchEulerDiscreteScheduler, 'step', step)
    yield
    gc.collect()


def clip(width, projects):
    config = transformers.CLIPTextConfig(hidden_size=width, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, projection_dim=5, eos_token_id=2)
    return randomise((transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel)(config))


def pipeline(kind, shift, **network):
    "Tiny random parts put together as the published ones are."
    words = needs_data('clip-bpe', 't5/spiece.model')
    tokenizer, sentences = transformers.CLIPTokenizer.from_pretrained(words), transformers.T5TokenizerFast.from_pretrained(words / 't5')
    t5 = randomise(
        transformers.T5EncoderModel(
            transformers.T5Config(vocab_size=32128, d_model=12, d_kv=4, d_ff=16, num_layers=2, num_heads=2, feed_forward_proj='gated-gelu')
        )
    )
    vae = {'block_out_channels': (8,) * 4, 'norm_num_groups': 4, 'latent_channels': 4, 'shift_factor': 0.06, 'scaling_factor': 1.5, 'use_quant_conv': False}
    vae |= {'use_post_quant_conv': False, 'down_block_types': ('DownEncoderBlock2D',) * 4, 'up_block_types': ('UpDecoderBlock2D',) * 4}
    parts = {'scheduler': diffusers.FlowMatchEulerDiscreteScheduler(**shift), 'vae': randomise(diffusers.AutoencoderKL(**vae)), 'tokenizer': tokenizer}
    if kind is SECOND:
        net = randomise(diffusers.FluxTransformer2DModel(**FLUX | {'pooled_projection_dim': 8} | network))
        return kind(transformer=net, text_encoder=clip(8, False), text_encoder_2=t5, tokenizer_2=sentences, **parts)
    net = randomise(diffusers.SD3Transformer2DModel(**SD3 | network))
    towers = {'text_encoder': clip(4, True), 'text_encoder_2': clip(6, True), 'text_encoder_3': t5}
    return kind(transformer=net, tokenizer_2=tokenizer, tokenizer_3=sentences, **towers, **parts)


def written(folder, pipe):
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return load_pipeline(folder)


def start(h=8, w=8):
    return noise(0, 'start', 0, range(2), (4, h, w))


@pytest.mark.parametrize('shift', SHIFTS)
@pytest.mark.parametrize('network', [{}, {'qk_norm': 'rms_norm', 'dual_attention_layers': (0,)}], ids=['3', '3.5'])
def test_stable_diffusion_3(tmp_path, shift, network):
    pipe = pipeline(FIRST, SHIFTS[shift], **network)
    ours, eps = written(tmp_path, pipe), start()
    given = {'num_inference_steps': 3, 'guidance_scale': 4.0, 'latents': eps.clone(), 'height': 64, 'width': 64}
    latents = pipe(PROMPTS, negative_prompt=AWAY, output_type='latent', **given).images
    call = {'steps': 3, 'scale': 4.0, 'latents': eps, 'progress': False}
    z = ours(PROMPTS, AWAY, output='latents', **call)
    assert latents.abs().max() > 0.1
    torch.testing.assert_close(z, latents, **CLOSE)
    pictures = pipe(PROMPTS, negative_prompt=AWAY, output_type='pt', **given | {'latents': eps.clone()}).images
    torch.testing.assert_close(ours(PROMPTS, AWAY, output='tensor', **call), pictures, **CLOSE)


@pytest.mark.parametrize('shift, guided', [('grows with the picture', True), ('shift 3', False)], ids=['dev', 'schnell'])
def test_flux(tmp_path, shift, guided):
    pipe = pipeline(SECOND, SHIFTS[shift], guidance_embeds=guided)
    ours, eps = written(tmp_path, pipe), start(8, 12)
    given = {'num_inference_steps': 3, 'guidance_scale': 2.5, 'height': 64, 'width': 96, 'latents': SECOND._pack_latents(eps, 2, 4, 8, 12)}
    pictures = pipe(PROMPTS, output_type='pt', **given).images
    assert pictures.std() > 1e-3
    torch.testing.assert_close(ours(PROMPTS, steps=3, scale=2.5, latents=eps, output='tensor', progress=False), pictures, **CLOSE)


def test_the_readers(tmp_path):
    "Of Stable Diffusion 3 77 tokens and 256 of T5, two vectors; without T5 zeros in their place."
    pipe = pipeline(FIRST, {'shift': 3.0})
    ours = written(tmp_path / 'all', pipe)
    assert type(ours.conditioner) is JointReader and ours.plan.scale == 7.0
    with torch.no_grad():
        seq, away, vec, vec_away = pipe.encode_prompt(PROMPTS, None, None, negative_prompt=AWAY, device='cpu', do_classifier_free_guidance=True)
        cond = ours.read(PROMPTS)
        assert cond.seq.shape == (2, 333, 12) and cond.mask is None
        torch.testing.assert_close(cond.seq, seq, **CLOSE)
        torch.testing.assert_close(cond.vec, vec, **CLOSE)
        torch.testing.assert_close(ours.conditioner(AWAY).seq, away, **CLOSE)
        skipped = pipe.encode_prompt(PROMPTS, None, None, device='cpu', do_classifier_free_guidance=False, clip_skip=1)[0]
        torch.testing.assert_close(ours.read(PROMPTS, 1).seq, skipped, **CLOSE)
        without = FIRST(
            **{name: part for name, part in pipe.components.items() if name not in ('text_encoder_3', 'tokenizer_3')}, text_encoder_3=None, tokenizer_3=None
        )
        alone = written(tmp_path / 'alone', without)
        want = without.encode_prompt(PROMPTS, None, None, device='cpu', do_classifier_free_guidance=False)[0]
        torch.testing.assert_close(alone.read(PROMPTS).seq, want.double(), **CLOSE)
        assert alone.read(PROMPTS).seq[:, 77:].count_nonzero() == 0


def test_the_reader_of_flux(tmp_path):
    pipe = pipeline(SECOND, {'shift': 3.0}, guidance_embeds=True)
    ours = written(tmp_path, pipe)
    assert type(ours.conditioner) is SpokenReader and ours.plan.scale == 3.5
    with torch.no_grad():
        seq, vec, _ = pipe.encode_prompt(PROMPTS, None, device='cpu')
        cond = ours.conditioner(PROMPTS)
    assert cond.seq.shape == (2, 512, 12)
    torch.testing.assert_close(cond.seq, seq, **CLOSE)
    torch.testing.assert_close(cond.vec, torch.cat([vec, torch.full((2, 1), 3.5)], 1), **CLOSE)
    with pytest.raises(ValueError, match='clip_skip is 1'):
        ours.read(PROMPTS, 1)


@pytest.mark.parametrize('shift', [*SHIFTS.values(), {'shift': 1.0}])
@pytest.mark.parametrize('even', [False, True], ids=['Stable Diffusion 3', 'FLUX'])
@pytest.mark.parametrize('n', [1, 4, 28, 50])
def test_times_are_theirs_to_the_bit(shift, even, n):
    "Of Stable Diffusion 3 the last is shifted twice: .0089 for .0030 at a shift of 3."
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(**shift)
    plan = load_schedule(Published(dict(theirs.config) | {'_class_name': type(theirs).__name__, '_even': even}, {}, 'here'))
    mu = 1000 * (1.15 - 0.5) / (4096 - 256) + 0.5 - 256 * (1.15 - 0.5) / (4096 - 256)
    theirs.set_timesteps(n, sigmas=list(numpy.linspace(1.0, 1 / n, n)) if even else None, mu=mu if 'use_dynamic_shifting' in shift else None)
    assert torch.equal(plan.times(n, 1000), theirs.sigmas.double())
    if n > 1 and not even and shift == {'shift': 3.0}:
        assert abs(plan.times(n)[-2] - 0.0089) < 1e-4
