"""The x4 upscaler: names and shapes at full size, a tiny one of its build, and the whole pipeline, equal to diffusers in float64.

diffusers keeps its tables in float32: they are replaced by the same ones in double precision, as in test_pipeline_parity.
"""

import gzip
import json
import os
from pathlib import Path

import pytest
import torch
from test_pipeline_parity import F64, NEGATIVES, PROMPTS, agree, draw, parts, randomise  # noqa: F401

from diffbook.cascades import StableUpscaler
from diffbook.core import Cond
from diffbook.pretrained import load_network, make_empty
from diffbook.published import unet
from diffbook.schedules import scaled_linear_betas

diffusers = pytest.importorskip('diffusers')
pytestmark = pytest.mark.filterwarnings('ignore:n is .* sampling begins with pure noise')  # few steps, on purpose

NET = {  # the published build, small
    'sample_size': 8, 'in_channels': 7, 'out_channels': 4, 'block_out_channels': (8, 8, 16, 16), 'layers_per_block': 1, 'norm_num_groups': 4, 'cross_attention_dim': 16,
    'attention_head_dim': 2, 'num_class_embeds': 1000, 'only_cross_attention': (True, True, True, False), 'use_linear_projection': True,
    'down_block_types': ('DownBlock2D',) + ('CrossAttnDownBlock2D',) * 3, 'up_block_types': ('CrossAttnUpBlock2D',) * 3 + ('UpBlock2D',)}  # fmt: skip
SCHEDULE = {'beta_start': 1e-4, 'beta_end': 0.02, 'beta_schedule': 'scaled_linear'}
CONFIGS = Path(os.environ.get('DIFFBOOK_DATA', '')) / 'model-configs'


@pytest.mark.skipif(not (CONFIGS / 'state_dicts').is_dir(), reason='the settings of published models are not here')
def test_names_and_shapes_of_the_published_network():
    "That the file of 473 million numbers would fit: every name, shape and place, on the device meta."
    config = json.loads((CONFIGS / 'stabilityai/stable-diffusion-x4-upscaler/unet/config.json').read_text())
    names = json.loads(gzip.decompress((CONFIGS / 'state_dicts/stabilityai__stable-diffusion-x4-upscaler__unet.json.gz').read_bytes()))
    net = make_empty('unet', config)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(473_398_020, abs=2048)  # a class is told without a bias there
    found, own = unet.places(net), net.state_dict()
    assert found.keys() == names.keys()
    for name, (at, rows) in found.items():
        want = names[name][::-1] if name == unet.CLASSES else names[name]
        assert list(own[at][rows].shape)[:2] == want[:2], name
    assert net.text_only == (True, True, True, False) and net.img_channels == 3


def test_a_small_network_of_its_build(tmp_path):
    "Read, compared, written and read again; a level told as a class, and the picture beside the latents."
    torch.manual_seed(0)
    theirs = randomise(diffusers.UNet2DConditionModel(**NET))
    theirs.save_pretrained(tmp_path)
    ours = load_network(tmp_path)
    x, img, seq, level = draw(2, 4, 8, 8), draw(2, 3, 8, 8, purpose='img'), draw(2, 5, 16, purpose='seq'), torch.tensor([20, 7])
    want = theirs(torch.cat([x, img], 1), 300, seq, class_labels=level).sample
    cond = Cond(seq=seq, img=img, vec=torch.nn.functional.one_hot(level, 1000).double())
    agree(ours(x, torch.full((2,), 300.0), cond), want)
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in unet.settings(ours).items()}['only_cross_attention'] == [True, True, True, False]
    other = randomise(diffusers.UNet2DConditionModel(**NET | {'only_cross_attention': (True, False, True, False)}))
    other.save_pretrained(tmp_path / 'other')
    agree(load_network(tmp_path / 'other')(x, torch.full((2,), 300.0), cond), other(torch.cat([x, img], 1), 300, seq, class_labels=level).sample)


def in_double(scheduler):
    "The same scheduler with tables in double precision."
    scheduler.alphas_cumprod = torch.cumprod(1 - scaled_linear_betas(1000, 1e-4, 0.02), 0)
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    return scheduler


@pytest.fixture
def both(parts, tmp_path):  # noqa: F811
    "The pipeline of diffusers with tiny random parts, and ours read from the folder that it wrote."
    tokenizer, text, _, _ = parts
    torch.manual_seed(1)
    vae = {'block_out_channels': (8,) * 3, 'norm_num_groups': 4, 'latent_channels': 4, 'sample_size': 32, 'scaling_factor': 0.08333}
    vae |= {'down_block_types': ('DownEncoderBlock2D',) * 3, 'up_block_types': ('UpDecoderBlock2D',) * 3}
    low = in_double(diffusers.DDPMScheduler(**SCHEDULE, clip_sample=True))
    main = in_double(diffusers.DDIMScheduler(**SCHEDULE, prediction_type='v_prediction', clip_sample=False, set_alpha_to_one=False, steps_offset=1))
    net, codec = randomise(diffusers.UNet2DConditionModel(**NET)), randomise(diffusers.AutoencoderKL(**vae))
    pipe = diffusers.StableDiffusionUpscalePipeline(codec, text, tokenizer, net, low, main)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(tmp_path)
    return pipe, StableUpscaler.from_pretrained(tmp_path)


@pytest.mark.parametrize('level, scale', ((20, 3.0), (0, 1.0), (350, 9.0)))
def test_the_whole_pipeline(level, scale, both, monkeypatch):
    "The same prompts, picture, level and noises: the same latents and pictures."
    theirs, ours = both
    picture, latents, grain = (
        torch.rand(2, 3, 8, 12, dtype=F64, generator=torch.Generator().manual_seed(2)),
        draw(2, 4, 8, 12),
        draw(2, 3, 8, 12, purpose='grain'),
    )
    monkeypatch.setattr('diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_upscale.randn_tensor', lambda *args, **kwargs: grain)
    asked = {'noise_level': level, 'latents': latents}
    for output, name in (('latents', 'latent'), ('tensor', 'pt')):
        want = theirs(PROMPTS, picture, num_inference_steps=5, guidance_scale=scale, negative_prompt=NEGATIVES, output_type=name, **asked).images
        agree(ours(PROMPTS, picture, NEGATIVES, steps=5, scale=scale, grain=grain, output=output, progress=False, **asked), want)


def test_a_picture_does_not_depend_on_its_batch(both):
    "Picture i of a batch is picture 0 with first=i."
    _, ours = both
    picture = torch.rand(2, 3, 8, 8, dtype=F64, generator=torch.Generator().manual_seed(2))
    asked = {'steps': 3, 'scale': 2.0, 'seed': 5, 'output': 'tensor', 'progress': False}
    agree(ours(PROMPTS[1], picture[1:], first=1, **asked), ours(PROMPTS, picture, **asked)[1:])


def test_the_command_line_enlarges_with_a_published_model(both, tmp_path):
    "What the model of shapes drew, four times as wide; the pictures are those of the class."
    from diffbook import cli
    from diffbook.data import read_folder

    with pytest.raises(SystemExit) as stop:
        cli.main(
            [
                'sample',
                'shapes',
                '--n',
                '2',
                '--steps',
                '2',
                '--prompt',
                PROMPTS[0],
                '--upscale',
                str(tmp_path),
                '--zoom',
                '1',
                '--out',
                str(tmp_path / 'drawn'),
            ]
        )
    assert stop.value.code == 0
    got = read_folder(tmp_path / 'drawn', 128).images
    assert got.shape == (2, 3, 128, 128) and not torch.equal(got[0], got[1])
