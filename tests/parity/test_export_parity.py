"""What `export` writes for diffusers, opened and walked there: the pictures that the book draws at the same times from the same noise."""

import pytest
import torch
from test_export import MODELS, net, told, with_classes

from diffbook.export import export
from diffbook.guidance import guide
from diffbook.losses import Denoiser
from diffbook.predictions import predict_eps, predict_v
from diffbook.samplers import ddim, euler, sample
from diffbook.schedules import CosineSchedule, DiscreteSchedule, linear_betas

diffusers = pytest.importorskip('diffusers')


def opened(folder):
    own = (folder / 'pipeline.py').exists()
    options = {'custom_pipeline': str(folder), 'trust_remote_code': True} if own else {}
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ours(model, x, times, solver, raw=None, scale=3.0):
    cond = None if raw is None else model.condition(raw)
    with torch.no_grad():
        *_, x0 = sample(model if raw is None else guide(model, model.null(1), scale), model.schedule, x, times, solver, cond)
    return (x0 / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)


@pytest.mark.parametrize('name', ['v', 'eps on a table', 'classes', 'no squares', 'flow', 'edm'])
def test_the_pipeline_draws_what_the_book_draws(name, tmp_path):
    made = MODELS | {
        'eps on a table': lambda: Denoiser(net(), DiscreteSchedule(linear_betas(1000)), predict_eps),
        'classes': lambda: with_classes(blocks=(1, 2)),
        'no squares': lambda: Denoiser(net(patch=1, heads=(2, 0, 4)), CosineSchedule(), predict_v),
    }
    model = told(made[name]().eval())
    export(model, tmp_path / 'out', 'diffusers')
    pipe = opened(tmp_path / 'out')
    assert type(pipe).__name__ == ('DDIMPipeline' if name == 'no squares' else 'FoldedPipeline')
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    pipe.scheduler.set_timesteps(8)
    span, end = model.schedule.t_max - model.schedule.t_min, torch.tensor([model.schedule.t_min]).double()
    times = pipe.scheduler.sigmas[:-1].double() if name in ('flow', 'edm') else model.schedule.t_min + pipe.scheduler.timesteps.double() / 1000 * span
    times, solver = torch.cat([times, end]), euler if name in ('flow', 'edm') else ddim
    if name == 'no squares':  # its pipeline draws its own noise: the same generator gives x
        images = pipe(batch_size=3, generator=torch.Generator().manual_seed(1), num_inference_steps=8, output_type='np').images
    elif name == 'classes':
        images = pipe(batch_size=3, class_labels=['cat', 'ant', 1], guidance_scale=3.0, latents=x, num_inference_steps=8, output_type='np').images
    else:
        images = pipe(batch_size=3, latents=x, num_inference_steps=8, output_type='np').images
    start = x * pipe.scheduler.init_noise_sigma if name == 'edm' else x
    want = ours(model, start, times, solver, torch.tensor([2, 0, 1]) if name == 'classes' else None)
    assert want.std() > 0.05
    torch.testing.assert_close(torch.as_tensor(images), want.float(), rtol=0, atol=2e-4)


def test_classes_in_turn_as_pictures_and_wrong_ones_refused(tmp_path):
    model = told(with_classes())
    export(model, tmp_path / 'out', 'diffusers')
    pipe = opened(tmp_path / 'out')
    images = pipe(batch_size=4, num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images
    assert [image.size for image in images] == [(8, 8)] * 4 and images[0].mode == 'L'
    assert pipe.labels(None, 4).tolist() == [0, 1, 2, 0] and pipe.labels('bee', 2).tolist() == [1, 1]
    with pytest.raises(ValueError):
        pipe(batch_size=1, class_labels='dog')


def test_told_scales_come_back(tmp_path):
    "A U-Net of scales and shifts, written, read by diffusers and read by us."
    from diffbook.core import Cond
    from diffbook.pretrained import load_unet, save_published

    own = net(patch=1, heads=(2, 0, 4), cond_dim=3).double()
    torch.nn.init.zeros_(own.cond.bias)
    save_published(tmp_path, own)
    theirs = diffusers.UNet2DModel.from_pretrained(tmp_path).double().eval()
    x, level, label = torch.randn(2, 1, 8, 8).double(), torch.tensor([3.0, 700.0]).double(), torch.tensor([2, 0])
    with torch.no_grad():
        want = own(x, level, Cond(vec=torch.nn.functional.one_hot(label, 3).double()))
        torch.testing.assert_close(theirs(x, level, class_labels=label).sample, want, rtol=0, atol=1e-6)
        torch.testing.assert_close(load_unet(tmp_path).double()(x, level, Cond(vec=torch.nn.functional.one_hot(label, 3).double())), want, rtol=0, atol=1e-6)


def test_a_middle_without_norm_is_refused(tmp_path):
    "What diffusers builds where scales are told and nothing is said of the groups of the middle."
    from diffbook.pretrained import load_unet

    made = diffusers.UNet2DModel(
        in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, resnet_time_scale_shift='scale_shift', attention_head_dim=8,
        down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'))  # fmt: skip
    made.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='attn_norm_num_groups is None, expected norm_num_groups, 4'):
        load_unet(tmp_path)


def test_the_mistake_of_a_shifted_table_is_seen(tmp_path):
    "A table that begins one row later draws other pictures: what the first test would say of it."
    model = told(with_classes(prediction=predict_v))
    x, times = torch.randn(2, 1, 8, 8), torch.tensor([0.999, 0.6, 0.2, 0.0]).double()
    a, b = (ours(model, x, t, ddim, torch.tensor([0, 1])) for t in (times, torch.cat([(times[:-1] + 0.001).clamp(max=1), times[-1:]])))
    assert (a - b).abs().max() > 2e-4
