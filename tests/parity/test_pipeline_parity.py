"""Whole pipelines: the same folder, prompts and starting noise give the same latents and pictures as diffusers, in float64.

diffusers keeps its tables in float32 and draws noise of its own. So its tables are replaced by the same ones in double
precision, its step of Euler's method, which casts to float32, is told that this means float64, the codec answers with
its mean, as ours does, and the noise that image-to-image adds is handed to it. The spacing of the times is part of
each case's name.
"""

import json
from functools import partial
from types import SimpleNamespace

import numpy
import pytest
import torch
from PIL import Image

from diffbook.conditioning import TextConditioner
from diffbook.core import noise
from diffbook.nets.clip import TextTower
from diffbook.pretrained import NoisePlan, fill, make_empty
from diffbook.published import clip, unet, vae
from diffbook.samplers import ancestral, ddim
from diffbook.schedules import DiscreteSchedule, scaled_linear_betas, zero_terminal_betas
from diffbook.shapes import draw_shapes
from diffbook.stable_diffusion import StableDiffusion, load_pipeline, published_plan
from diffbook.text import Tokenizer, train_merges

diffusers = pytest.importorskip('diffusers')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.filterwarnings('ignore:n is .* sampling begins with pure noise')  # few steps, on purpose

F64 = torch.float64
TABLE = {'num_train_timesteps': 1000, 'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear'}
V15 = TABLE | {'steps_offset': 1, 'set_alpha_to_one': False, 'clip_sample': False}
PROMPTS, NEGATIVES = ['a small red circle', 'a big blue square on white'], ['green', '']


def randomise(model):
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1 if p.ndim < 2 else p[0].numel() ** -0.5)
    return model.double().eval()


def draw(*shape, purpose='x'):
    return noise(0, purpose, 0, range(shape[0]), shape[1:])


@pytest.fixture(scope='module')
def parts(tmp_path_factory):
    "Tiny random models of Stable Diffusion's kind, with none (0) or a mask and a picture (5) beside the latents."
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('words')
    merges = train_merges(draw_shapes(100).captions, 100)
    pieces = Tokenizer(merges, 16).pieces
    (folder / 'vocab.json').write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / 'merges.txt').write_text('\n'.join(['#version: 0.2', *merges]) + '\n')
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=16)
    tower = {'vocab_size': len(pieces), 'hidden_size': 16, 'intermediate_size': 32, 'num_hidden_layers': 3}
    tower |= {'num_attention_heads': 2, 'max_position_embeddings': 16, 'bos_token_id': len(pieces) - 2, 'eos_token_id': 2}
    text = randomise(transformers.CLIPTextModel(transformers.CLIPTextConfig(**tower)))
    unet = {'sample_size': 8, 'out_channels': 4, 'block_out_channels': (8, 16), 'layers_per_block': 1}
    unet |= {'norm_num_groups': 4, 'cross_attention_dim': 16, 'attention_head_dim': 2}
    unet |= {'down_block_types': ('CrossAttnDownBlock2D', 'DownBlock2D')}
    unet |= {'up_block_types': ('UpBlock2D', 'CrossAttnUpBlock2D')}
    nets = {n: randomise(diffusers.UNet2DConditionModel(in_channels=4 + n, **unet)) for n in (0, 5)}
    vae = {'block_out_channels': (8,) * 4, 'norm_num_groups': 4, 'latent_channels': 4, 'sample_size': 64}
    vae |= {'down_block_types': ('DownEncoderBlock2D',) * 4, 'up_block_types': ('UpDecoderBlock2D',) * 4}
    return tokenizer, text, nets, randomise(diffusers.AutoencoderKL(**vae))


def in_double(scheduler):
    "The same scheduler with tables in double precision."
    betas, said = scaled_linear_betas(), scheduler.config
    betas = zero_terminal_betas(betas) if said.get('rescale_betas_zero_snr') else betas
    table = scheduler.alphas_cumprod = torch.cumprod(1 - betas, 0)
    scheduler.one = torch.tensor(1.0, dtype=F64)
    scheduler.final_alpha_cumprod = scheduler.one if said.get('set_alpha_to_one', True) else table[0]
    if hasattr(scheduler, 'sigmas'):
        plan = scheduler.set_timesteps

        def set_timesteps(*args, **kwargs):
            plan(*args, **kwargs)
            levels = numpy.interp(scheduler.timesteps.double().numpy(), numpy.arange(1000), ((1 - table) / table).sqrt())
            scheduler.sigmas = torch.cat([torch.from_numpy(levels), torch.zeros(1, dtype=F64)])

        scheduler.set_timesteps = set_timesteps
    return scheduler


@pytest.fixture
def both(parts, tmp_path, monkeypatch):
    "A pipeline of diffusers, and ours read from the folder that it wrote."
    shim = SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch) if not name.startswith('__')})
    shim.float32 = F64
    monkeypatch.setattr('diffusers.schedulers.scheduling_euler_discrete.torch', shim)
    monkeypatch.setattr('diffusers.schedulers.scheduling_euler_ancestral_discrete.torch', shim)
    law = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
    monkeypatch.setattr(law, 'sample', lambda self, generator=None: self.mode())

    def make(kind, scheduler, config, beside=0):
        tokenizer, text, nets, vae = parts
        scheduler = getattr(diffusers, scheduler)(**config)
        pipe = getattr(diffusers, f'StableDiffusion{kind}Pipeline')(
            vae, text, tokenizer, nets[beside], in_double(scheduler), None, None, requires_safety_checker=False
        )
        pipe.set_progress_bar_config(disable=True)
        pipe.save_pretrained(tmp_path)
        return pipe, StableDiffusion.from_pretrained(tmp_path)

    return make


def agree(got, want, tol=1e-9):
    assert got.dtype == want.dtype == F64 and got.shape == want.shape
    assert (got - want).abs().max() <= tol * want.abs().max()


def inject(monkeypatch, module, *values):
    "Let `randn_tensor` of a module of diffusers give out these."
    queue = iter(values)
    monkeypatch.setattr(f'diffusers.{module}.randn_tensor', lambda *args, **kwargs: next(queue))


CASES = {
    'ddim, leading, ends early': ('DDIMScheduler', V15),
    'ddim, leading, ends at clean data': ('DDIMScheduler', V15 | {'set_alpha_to_one': True}),
    'ddim, trailing': ('DDIMScheduler', V15 | {'timestep_spacing': 'trailing', 'set_alpha_to_one': True}),
    'ddim, leading, v': ('DDIMScheduler', V15 | {'prediction_type': 'v_prediction'}),
    'ddim, trailing, v, zero terminal snr': (
        'DDIMScheduler',
        V15 | {'prediction_type': 'v_prediction', 'timestep_spacing': 'trailing', 'rescale_betas_zero_snr': True},
    ),
    'euler, leading': ('EulerDiscreteScheduler', TABLE | {'timestep_spacing': 'leading', 'steps_offset': 1}),
    'euler, trailing': ('EulerDiscreteScheduler', TABLE | {'timestep_spacing': 'trailing'}),
    'euler, linspace': ('EulerDiscreteScheduler', TABLE),
    'euler, leading, v': (
        'EulerDiscreteScheduler',
        TABLE | {'timestep_spacing': 'leading', 'steps_offset': 1, 'prediction_type': 'v_prediction'},
    ),
    'heun, leading': ('HeunDiscreteScheduler', TABLE | {'timestep_spacing': 'leading', 'steps_offset': 1}),
    'heun, trailing': ('HeunDiscreteScheduler', TABLE | {'timestep_spacing': 'trailing'}),
    'heun, linspace': ('HeunDiscreteScheduler', TABLE | {'timestep_spacing': 'linspace'}),
}


@pytest.mark.parametrize('case', CASES)
def test_text_to_image(case, both):
    """Latents and pictures.

    Five steps divide 1000, as they must where diffusers finds the next time by subtraction (DDIM; with linspace it finds
    one that is never visited, so that case is not here). Ten rows of linspace are whole; others would stand between two.
    """
    theirs, ours = both('', *CASES[case])
    steps, latents = (10 if 'linspace' in case else 5), draw(2, 4, 8, 6)
    asked = {'height': 64, 'width': 48, 'latents': latents}
    for output, name in (('latents', 'latent'), ('tensor', 'pt')):
        want = theirs(PROMPTS, negative_prompt=NEGATIVES, num_inference_steps=steps, guidance_scale=3.0, output_type=name, **asked).images
        got = ours(PROMPTS, NEGATIVES, steps=steps, scale=3.0, output=output, progress=False, **asked)
        agree(got, want)


@pytest.mark.parametrize('scale', (1.0, 7.5))
def test_one_prompt_without_a_negative(scale, both):
    theirs, ours = both('', 'DDIMScheduler', V15)
    latents = draw(1, 4, 8, 8)
    want = theirs(PROMPTS[0], num_inference_steps=5, guidance_scale=scale, latents=latents, output_type='pt').images
    agree(ours(PROMPTS[0], steps=5, scale=scale, latents=latents, output='tensor', progress=False), want)
    pixels = theirs(PROMPTS[0], num_inference_steps=5, guidance_scale=scale, latents=latents, output_type='pil').images[0]
    got = ours(PROMPTS[0], steps=5, scale=scale, latents=latents, progress=False)[0]
    assert numpy.array_equal(numpy.array(got), numpy.array(pixels))


@pytest.mark.filterwarnings('ignore:n is 2, .* sampling begins with pure noise')
@pytest.mark.parametrize('height, width', ((72, 40), (8, 120)))
def test_sizes_that_halve_to_odd_numbers(height, width, both):
    theirs, ours = both('', 'DDIMScheduler', V15)
    asked = {'height': height, 'width': width, 'latents': draw(1, 4, height // 8, width // 8)}
    want = theirs(PROMPTS[0], num_inference_steps=2, guidance_scale=3.0, output_type='pt', **asked).images
    agree(ours(PROMPTS[0], steps=2, scale=3.0, output='tensor', progress=False, **asked), want)


@pytest.mark.parametrize('skip', (1, 2))
def test_clip_skip(skip, both):
    "Without guidance: diffusers skips for the prompt and not for the negative prompt, we for both."
    theirs, ours = both('', 'DDIMScheduler', V15)
    if not hasattr(theirs.text_encoder, 'text_model'):  # diffusers asks for its older name
        object.__setattr__(theirs.text_encoder, 'text_model', theirs.text_encoder)
    latents, asked = draw(2, 4, 8, 8), {'clip_skip': skip}
    want = theirs(PROMPTS, num_inference_steps=5, guidance_scale=1.0, latents=latents, output_type='latent', **asked).images
    agree(ours(PROMPTS, steps=5, scale=1.0, latents=latents, output='latents', progress=False, **asked), want)


def test_ddpm_leading(both, monkeypatch):
    "The ancestral step, with the noise of both handed in; at the last step diffusers adds noise of variance 1e-20."
    theirs, ours = both('', 'DDPMScheduler', TABLE | {'steps_offset': 1, 'clip_sample': False})
    latents, fresh = draw(2, 4, 8, 8), draw(5, 2, 4, 8, 8, purpose='fresh')
    inject(monkeypatch, 'schedulers.scheduling_ddpm', *fresh)
    want = theirs(PROMPTS, num_inference_steps=5, guidance_scale=3.0, latents=latents, output_type='latent').images
    queue = iter(fresh)
    solver = partial(ancestral, noise=lambda x, t: next(queue))
    agree(ours(PROMPTS, steps=5, scale=3.0, solver=solver, latents=latents, output='latents', progress=False), want)
    assert ours.plan.solver is ancestral


def test_euler_ancestral_leading(both, monkeypatch):
    "Euler with fresh noise is DDIM with eta = 1."
    config = TABLE | {'timestep_spacing': 'leading', 'steps_offset': 1}
    theirs, ours = both('', 'EulerAncestralDiscreteScheduler', config)
    latents, fresh = draw(2, 4, 8, 8), draw(5, 2, 4, 8, 8, purpose='fresh')
    inject(monkeypatch, 'schedulers.scheduling_euler_ancestral_discrete', *fresh)
    want = theirs(PROMPTS, num_inference_steps=5, guidance_scale=3.0, latents=latents, output_type='latent').images
    queue = iter(fresh)
    solver = partial(ddim, eta=1.0, noise=lambda x, t: next(queue))
    agree(ours(PROMPTS, steps=5, scale=3.0, solver=solver, latents=latents, output='latents', progress=False), want)
    assert ours.plan.solver.func is ddim and ours.plan.solver.keywords == {'eta': 1.0}


def photo(b, height, width):
    x = torch.from_numpy(numpy.random.default_rng(0).integers(0, 256, (b, height, width, 3), dtype=numpy.uint8))
    return [Image.fromarray(v.numpy()) for v in x]


def square(height, width, left, top, right, bottom):
    mask = Image.new('L', (width, height), 0)
    mask.paste(255, (left, top, right, bottom))
    return mask


@pytest.mark.parametrize('case, strength', (
    ('ddim, leading, ends early', 0.4), ('ddim, trailing', 0.8), ('euler, leading', 0.8), ('heun, trailing', 0.4),
))  # fmt: skip
def test_image_to_image(case, strength, both, monkeypatch):
    "Strengths that name a whole number of steps: diffusers rounds down, we to the nearest."
    theirs, ours = both('Img2Img', *CASES[case])
    noises, pictures = draw(2, 4, 8, 6), photo(2, 64, 48)
    inject(monkeypatch, 'pipelines.stable_diffusion.pipeline_stable_diffusion_img2img', noises)
    asked = {'image': pictures, 'strength': strength}
    want = theirs(PROMPTS, negative_prompt=NEGATIVES, num_inference_steps=5, guidance_scale=3.0, output_type='pt', **asked)
    got = ours(PROMPTS, NEGATIVES, steps=5, scale=3.0, latents=noises, output='tensor', progress=False, **asked)
    agree(got, want.images)


@pytest.mark.parametrize('case, strength', (('ddim, leading, ends early', 0.6), ('ddim, trailing', 0.8), ('euler, leading', 0.6)))
def test_inpainting_with_four_channels(case, strength, both, case_mask=(8, 16, 40, 48)):
    """At full strength diffusers starts from noise everywhere and we from the noisy picture around the hole: not compared.
    Nor are masks with an edge within a cell, of which diffusers takes the first pixel, and we all that it covers."""
    theirs, ours = both('Inpaint', *CASES[case])
    noises, pictures, mask = draw(2, 4, 8, 6), photo(2, 64, 48), square(64, 48, *case_mask)
    x = draw(2, 4, 8, 6)
    asked = {'image': pictures, 'strength': strength, 'height': 64, 'width': 48}
    monkey = theirs.prepare_latents

    def prepare(*args, **kwargs):  # with latents given, diffusers would begin from pure noise at every strength
        args = list(args)
        args[7] = None
        latents, noise, image = monkey(*args, **kwargs)
        return theirs.scheduler.add_noise(image, noises, kwargs['timestep']), noises, image

    theirs.prepare_latents = prepare
    want = theirs(
        PROMPTS, negative_prompt=NEGATIVES, mask_image=mask, num_inference_steps=5, guidance_scale=3.0, latents=x,
        output_type='latent', **asked,
    ).images  # fmt: skip
    got = ours(PROMPTS, NEGATIVES, mask=mask, steps=5, scale=3.0, latents=noises, output='latents', progress=False, **asked)
    agree(got, want)


@pytest.mark.parametrize('case', ('ddim, leading, ends early', 'ddim, trailing', 'euler, leading', 'euler, trailing'))
def test_inpainting_with_nine_channels(case, both):
    theirs, ours = both('Inpaint', *CASES[case], beside=5)
    noises, pictures, mask = draw(2, 4, 8, 6), photo(2, 64, 48), square(64, 48, 8, 16, 40, 48)
    asked = {'image': pictures, 'height': 64, 'width': 48, 'latents': noises}
    want = theirs(
        PROMPTS, negative_prompt=NEGATIVES, mask_image=mask, num_inference_steps=5, guidance_scale=3.0, strength=1.0,
        output_type='pt', **asked,
    ).images  # fmt: skip
    got = ours(PROMPTS, NEGATIVES, mask=mask, steps=5, scale=3.0, output='tensor', progress=False, **asked)
    hole = torch.from_numpy(numpy.array(mask)) > 0
    agree(got[..., hole], want[..., hole])
    kept = torch.from_numpy(numpy.stack(pictures)).permute(0, 3, 1, 2) / 255  # theirs is decoded anew
    assert ours.paints and (got - kept)[..., ~hole].abs().max() < 1e-6 < (want - kept)[..., ~hole].abs().max()


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:n is 2, .* sampling begins with pure noise')
def test_version_1_5_at_its_full_size(tmp_path):
    "The whole graph with random weights in float32, two guided steps at 256 x 256 and the decoder: about 10 GB of memory."
    torch.manual_seed(0)
    merges = train_merges(draw_shapes(100).captions, 100)
    words = Tokenizer(merges)
    (tmp_path / 'vocab.json').write_text(json.dumps({piece: i for i, piece in enumerate(words.pieces)}))
    (tmp_path / 'merges.txt').write_text('\n'.join(['#version: 0.2', *merges]) + '\n')
    tokenizer = transformers.CLIPTokenizer.from_pretrained(tmp_path, model_max_length=77)
    tower = {'hidden_size': 768, 'intermediate_size': 3072, 'num_hidden_layers': 12, 'num_attention_heads': 12}
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(**tower, hidden_act='quick_gelu', eos_token_id=2)).eval()
    net = diffusers.UNet2DConditionModel(block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8, sample_size=64).eval()
    said = {'block_out_channels': (128, 256, 512, 512), 'layers_per_block': 2, 'latent_channels': 4, 'sample_size': 512}
    said |= {'down_block_types': ('DownEncoderBlock2D',) * 4, 'up_block_types': ('UpDecoderBlock2D',) * 4}
    codec = diffusers.AutoencoderKL(**said).eval()
    scheduler = in_double(diffusers.DDIMScheduler(**V15))
    theirs = diffusers.StableDiffusionPipeline(codec, text, tokenizer, net, scheduler, None, None, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)

    with torch.device('meta'):
        reader = TextTower(**clip.arguments(text.config.to_dict()))
    own, box = make_empty('unet', dict(net.config)), make_empty('vae', dict(codec.config))
    fill(own, net.state_dict(), unet.places(own), 'here')  # shares what it can
    fill(box, codec.state_dict(), vae.places(box), 'here')
    reader.load_state_dict({k.removeprefix('text_model.'): v for k, v in text.state_dict().items() if 'position_ids' not in k}, assign=True)
    plan = NoisePlan(DiscreteSchedule(scaled_linear_betas()), offset=1, last=1.0)
    ours = StableDiffusion(plan.denoiser(own), TextConditioner(words, reader, masked=False), box, plan=published_plan(plan))
    assert sum(p.numel() for p in ours.parameters()) == 859_520_964 + 123_060_480 + 83_653_863

    latents = draw(1, 4, 32, 32).float()
    asked = {'height': 256, 'width': 256, 'latents': latents}
    want = theirs(PROMPTS[0], num_inference_steps=2, guidance_scale=7.5, output_type='pt', **asked).images
    got = ours(PROMPTS[0], steps=2, output='tensor', progress=False, **asked)
    assert want.std() > 0.01
    off = (got - want).abs().max().item()
    print(f'largest difference {off:.1e} in pictures of standard deviation {want.std():.2f}')
    assert off <= 1e-4


# Stable Diffusion XL


@pytest.fixture(scope='module')
def large(parts):
    "Tiny random models of XL's kind: two towers, the second with a projection and another padding; networks of base and refiner."
    from tests.parity.test_unet_parity import XL, XL_CASES

    torch.manual_seed(1)
    tokenizer, text, _, vae = parts
    vae.register_to_config(force_upcast=False)  # or it would be rounded to float32 before a picture is encoded
    config = text.config.to_dict() | {'hidden_size': 12, 'num_hidden_layers': 2, 'hidden_act': 'gelu', 'projection_dim': 7}
    second = randomise(transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**config)))
    base = XL | {'cross_attention_dim': 28}
    nets = [randomise(diffusers.UNet2DConditionModel(**c)) for c in (base, XL | XL_CASES['refiner'] | {'cross_attention_dim': 12})]
    return tokenizer, text, second, nets, vae


@pytest.fixture
def both_xl(large, both, tmp_path):
    def make(kind, config=V15, scheduler='DDIMScheduler', **options):
        tokenizer, text, second, nets, vae = large
        other = transformers.CLIPTokenizer.from_pretrained(tokenizer.name_or_path, model_max_length=16, pad_token='!')
        parts = {'text_encoder': text, 'tokenizer': tokenizer, 'unet': nets[0]}
        if options.get('requires_aesthetics_score'):
            parts = {'text_encoder': None, 'tokenizer': None, 'unet': nets[1]}
        pipe = getattr(diffusers, f'StableDiffusionXL{kind}Pipeline')(
            vae, text_encoder_2=second, tokenizer_2=other, scheduler=in_double(getattr(diffusers, scheduler)(**config)), add_watermarker=False, **parts, **options
        )  # fmt: skip
        pipe.set_progress_bar_config(disable=True)
        pipe.save_pretrained(tmp_path / 'xl')
        return pipe, load_pipeline(tmp_path / 'xl')

    return make


@pytest.mark.parametrize('zeros', (True, False))
@pytest.mark.parametrize('case', ('ddim, leading, ends early', 'euler, leading', 'euler, leading, v'))
def test_xl_text_to_image(case, zeros, both_xl):
    "With negative prompts, and without, where the base takes zeros; latents and pictures, not square."
    scheduler, config = CASES[case]
    theirs, ours = both_xl('', config, scheduler, force_zeros_for_empty_prompt=zeros)
    asked = {'height': 64, 'width': 48, 'latents': draw(2, 4, 8, 6)}
    for negative, told in ((['green', 'a blue circle'],) * 2, (None, '')):
        for output, name in (('latents', 'latent'), ('tensor', 'pt')):
            want = theirs(PROMPTS, negative_prompt=negative, num_inference_steps=5, guidance_scale=3.0, output_type=name, **asked).images
            agree(ours(PROMPTS, told, steps=5, scale=3.0, output=output, progress=False, **asked), want)
    assert ours.plan.scale == 5.0 and ours.size == (64, 64)


def test_xl_without_guidance_and_with_blocks_left_out(both_xl):
    theirs, ours = both_xl('', force_zeros_for_empty_prompt=True)
    latents = draw(2, 4, 8, 8)
    for skip in (None, 1):
        size = {'original_size': (32, 40), 'crops_coords_top_left': (5, 7)} if skip else {}
        ours.conditioner.had, ours.conditioner.corner = ((32, 40), (5, 7)) if skip else (None, (0, 0))
        want = theirs(PROMPTS, num_inference_steps=5, guidance_scale=1.0, latents=latents, clip_skip=skip, output_type='latent', **size).images
        agree(ours(PROMPTS, steps=5, scale=1.0, latents=latents, clip_skip=skip or 0, output='latents', progress=False), want)


@pytest.mark.parametrize('refiner', (False, True))
def test_xl_image_to_image(refiner, both_xl, monkeypatch):
    "Of base and refiner; the refiner has one tower, and is told a score of beauty."
    theirs, ours = both_xl('Img2Img', requires_aesthetics_score=refiner, force_zeros_for_empty_prompt=not refiner)
    noises, pictures = draw(2, 4, 8, 6), photo(2, 64, 48)
    inject(monkeypatch, 'pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img', noises)
    asked = {'image': pictures, 'strength': 0.4}
    want = theirs(PROMPTS, negative_prompt=['green', 'blue'], num_inference_steps=5, guidance_scale=3.0, output_type='pt', **asked).images
    agree(ours(PROMPTS, ['green', 'blue'], steps=5, scale=3.0, latents=noises, output='tensor', progress=False, **asked), want)
    assert len(ours.conditioner.towers) == 2 - refiner


@pytest.mark.bad_input
def test_a_pipeline_of_another_class_is_refused_by_name(both_xl, tmp_path):
    both_xl('')
    file = tmp_path / 'xl' / 'model_index.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | {'_class_name': 'KandinskyPipeline'}))
    with pytest.raises(ValueError, match='describes a KandinskyPipeline; supported here: StableDiffusionPipeline'):
        load_pipeline(tmp_path / 'xl')


@pytest.mark.filterwarnings('ignore')
def test_xl_from_the_command_line(both_xl, tmp_path):
    "The folder by its path alone, at the scale that is XL's own."
    from diffbook.cli import main

    _, ours = both_xl('')
    words = [
        'sample',
        tmp_path / 'xl',
        '--prompt',
        PROMPTS[0],
        '--negative',
        'green',
        '--steps',
        5,
        '--seed',
        3,
        '--device',
        'cpu',
        '--zoom',
        1,
        '--out',
        tmp_path / 'out.png',
    ]
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert not end.value.code
    want = ours(PROMPTS[0], 'green', steps=5, scale=5.0, seed=3, progress=False)[0]
    got = numpy.array(Image.open(tmp_path / 'out.png').convert('RGB')).astype(int)
    assert numpy.abs(got[:64, :64] - numpy.array(want)).max() <= 1
