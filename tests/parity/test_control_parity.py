"""One class, two libraries: ControlNet and IP-Adapter give diffusers' numbers on the same weights, in float64."""

import gzip
import json

import pytest
import torch
from helpers import needs_data
from safetensors.torch import save_file
from test_pipeline_parity import NEGATIVES, PROMPTS, V15, agree, both, draw, in_double, parts  # noqa: F401, fixtures
from test_pretrained_parity import CLOSE, READS, randomise

from diffbook.control import Controlled, ControlNet, with_control
from diffbook.core import Cond
from diffbook.pretrained import load_controlnet, load_ip_adapter, load_unet
from diffbook.published import control as published
from diffbook.store.tensors import fit_names

diffusers = pytest.importorskip('diffusers')

OWN = {k: v for k, v in READS.items() if k != 'up_block_types'}
HINTS = {'conditioning_embedding_out_channels': (4, 6), 'conditioning_channels': 3}


def theirs_and_ours(folder, own=None, **options):
    "A U-Net and a ControlNet of diffusers with random weights, none of them zero, and ours."
    unet, control = randomise(diffusers.UNet2DConditionModel(**READS)), randomise(diffusers.ControlNetModel(**OWN, **HINTS, **(own or {})), seed=1)
    unet.save_pretrained(folder / 'unet')
    control.save_pretrained(folder / 'controlnet')
    return unet, control, Controlled(load_unet(folder), load_controlnet(folder), **options)


def asked(seed=0, side=8):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)
    return draw(2, 4, side, side), torch.tensor([3.0, 937.0]), draw(2, 5, 12), draw(2, 3, 2 * side, 2 * side).sigmoid()


@torch.no_grad()
def answer(unet, control, x, t, seq, hint, **options):
    down, mid = control(x, t, seq, hint, return_dict=False, **options)
    return unet(x, t, seq, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample


@pytest.mark.parametrize('strength', [1.0, 0.6])
def test_controlled_unet(tmp_path, strength):
    unet, control, ours = theirs_and_ours(tmp_path, strength=strength)
    x, t, seq, hint = asked()
    want, plain = answer(unet, control, x, t, seq, hint, conditioning_scale=strength), unet(x, t, seq).sample
    assert (want - plain).abs().max() > 1e-2
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t, Cond(seq=seq, img=hint)), want, **CLOSE)
        torch.testing.assert_close(ours(x, t, Cond(seq=seq)), plain, **CLOSE)


def test_guess_mode(tmp_path, monkeypatch):
    "diffusers makes the ten to hundred per cent in float32; the test gives it double precision, ours has that of its input."
    unet, control, ours = theirs_and_ours(tmp_path, guess=True, strength=0.7)
    plain = torch.logspace
    monkeypatch.setattr(torch, 'logspace', lambda *a, **k: plain(*a, **{**k, 'dtype': torch.float64}))
    x, t, seq, hint = asked(1)
    with torch.no_grad():
        torch.testing.assert_close(
            ours(x, t, Cond(seq=seq, img=hint)), answer(unet, control, x, t, seq, hint, guess_mode=True, conditioning_scale=0.7), **CLOSE
        )


def test_gradients_agree(tmp_path):
    unet, control, ours = theirs_and_ours(tmp_path)
    x, t, seq, hint = asked(2)
    down, mid = control(x, t, seq, hint, return_dict=False)
    unet(x, t, seq, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample.square().mean().backward()
    ours.requires_grad_(True)
    ours(x, t, Cond(seq=seq, img=hint)).square().mean().backward()
    own, where = dict(ours.control.named_parameters()), published.places(ours.control)
    for name, p in control.named_parameters():
        at, rows = where[name]
        torch.testing.assert_close(own[at].grad[rows].reshape(p.shape), p.grad, atol=1e-10, rtol=1e-8)


def test_copy_is_theirs(tmp_path):
    "Made from a U-Net, both libraries' copies start with the same features and say nothing."
    unet = randomise(diffusers.UNet2DConditionModel(**READS))
    unet.save_pretrained(tmp_path / 'unet')
    control = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 6)).double()
    control.save_pretrained(tmp_path / 'controlnet')
    read, made = load_controlnet(tmp_path), ControlNet.of(load_unet(tmp_path), 3, (4, 6))
    made.hint.load_state_dict(read.hint.state_dict())  # the first weights of the hint's layers are drawn
    assert made.arguments == {'cond_layers': 1} | read.arguments and all(torch.equal(v, made.state_dict()[k]) for k, v in read.state_dict().items())


def test_names_and_shapes_of_control_1_1():
    root = needs_data('model-configs')
    config = json.loads((root / 'lllyasviel/control_v11p_sd15_canny/config.json').read_text())
    with gzip.open(root / 'state_dicts/lllyasviel__control_v11p_sd15_canny.json.gz', 'rt') as file:
        shapes = json.load(file)
    with torch.device('meta'):
        net = ControlNet(**published.arguments(config))
        tensors = {k: torch.empty(shape) for k, shape in shapes.items()}
    where, own = published.places(net), net.state_dict()
    from diffbook.published.fill import as_ours

    fit_names({k: as_ours(k, v, own[where[k][0]]) for k, v in tensors.items()}, {k: own[at][rows] for k, (at, rows) in where.items()}, 'canny')
    assert sum(v.numel() for v in own.values()) == sum(v.numel() for v in tensors.values()) == 361_279_120
    assert len(shapes) == 340


@pytest.mark.parametrize(
    'key, value', [('controlnet_conditioning_channel_order', 'bgr'), ('global_pool_conditions', True), ('class_embed_type', 'timestep'), ('strange', 1)]
)
def test_what_is_not_followed_is_refused_by_name(tmp_path, key, value):
    randomise(diffusers.ControlNetModel(**OWN, **HINTS)).save_pretrained(tmp_path)
    said = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps(said | {key: value}))
    with pytest.raises(ValueError, match=key):
        load_controlnet(tmp_path)


@pytest.mark.filterwarnings('ignore:n is .* sampling begins with pure noise')
def test_a_pipeline(both, tmp_path):  # noqa: F811
    "Stable Diffusion with a ControlNet, prompts and guidance: the same latents."
    theirs, ours = both('', 'DDIMScheduler', V15)
    control = randomise(diffusers.ControlNetModel.from_unet(theirs.unet, conditioning_embedding_out_channels=(4, 6, 8, 8)), seed=1)
    control.save_pretrained(tmp_path / 'controlnet')
    names = ('vae', 'text_encoder', 'tokenizer', 'unet', 'scheduler')
    steered = diffusers.StableDiffusionControlNetPipeline(
        **{name: getattr(theirs, name) for name in names}, controlnet=control, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    steered.set_progress_bar_config(disable=True)
    latents, hint = draw(2, 4, 8, 8), draw(1, 3, 64, 64, purpose='hint').sigmoid()
    asked = {'num_inference_steps': 5, 'guidance_scale': 3.0, 'latents': latents, 'output_type': 'latent', 'negative_prompt': NEGATIVES}
    want = steered(PROMPTS, image=hint.expand(2, -1, -1, -1), controlnet_conditioning_scale=0.8, **asked).images
    assert (want - theirs(PROMPTS, **asked).images).abs().max() > 1e-2
    ours.denoiser = with_control(ours.denoiser, load_controlnet(tmp_path), strength=0.8, hint=hint)
    agree(ours(PROMPTS, NEGATIVES, steps=5, scale=3.0, latents=latents, output='latents', progress=False), want)


# IP-Adapter


def ip_file(unet, folder, dim=10, tokens=4, seed=3):
    "The file of an adapter with random weights, as published."
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64) / shape[-1] ** 0.5
    seq = unet.config.cross_attention_dim
    tensors = {
        'image_proj.proj.weight': draw(tokens * seq, dim),
        'image_proj.proj.bias': draw(tokens * seq),
        'image_proj.norm.weight': draw(seq),
        'image_proj.norm.bias': draw(seq),
    }
    for i, (name, layer) in enumerate(unet.attn_processors.items()):
        if name.endswith('attn2.processor'):
            width = unet.get_submodule(name.removesuffix('.processor')).to_k.out_features
            tensors |= {f'ip_adapter.{i}.to_{w}_ip.weight': draw(width, seq) for w in 'kv'}
    save_file(tensors, folder / 'ip.safetensors')
    return folder / 'ip.safetensors', tensors


@pytest.mark.parametrize('scale', [1.0, 0.3])
def test_ip_adapter(tmp_path, scale):
    unet = randomise(diffusers.UNet2DConditionModel(**READS))
    unet.save_pretrained(tmp_path / 'unet')
    net, (file, tensors) = load_unet(tmp_path), ip_file(unet, tmp_path)
    adapter = load_ip_adapter(file)
    unet._load_ip_adapter_weights(
        [{part: {k.removeprefix(f'{part}.'): v for k, v in tensors.items() if k.startswith(part)} for part in ('image_proj', 'ip_adapter')}]
    )
    unet.double()
    for processor in unet.attn_processors.values():
        if hasattr(processor, 'scale'):
            processor.scale = [scale]
    x, t, seq, _ = asked(4)
    for picture in (torch.randn(2, 10, dtype=torch.float64), torch.zeros(2, 10, dtype=torch.float64)):  # one, and none
        with torch.no_grad():
            want = unet(x, t, seq, added_cond_kwargs={'image_embeds': [picture[:, None]]}).sample
            got = adapter.attach(net, scale)(x, t, adapter.tell(Cond(seq=seq), picture))
            torch.testing.assert_close(got, want, **CLOSE)
            assert (want - net(x, t, Cond(seq=seq))).abs().max() > 1e-3


def test_ip_adapter_of_another_build_is_refused(tmp_path):
    save_file({'image_proj.latents': torch.zeros(1, 4, 8)}, tmp_path / 'plus.safetensors')
    with pytest.raises(ValueError, match='image_proj.proj.weight'):
        load_ip_adapter(tmp_path / 'plus.safetensors')
    with pytest.raises(FileNotFoundError, match='safetensors'):
        load_ip_adapter(tmp_path / 'ip-adapter_sd15.bin')
