"""One network, two libraries: the same weights give the same numbers in diffusers' SD3Transformer2DModel and FluxTransformer2DModel and
in ours, in float64.

Three places of theirs are of float32 whatever the weights are. The waves of the time are so in ours too: published weights were
trained with them, and know nothing finer. The mean squares of Stable Diffusion 3.5's norms and the turns of FLUX's rotary places
are of the input's kind in ours, and `in_double` makes theirs so.
"""

import gzip
import inspect
import json

import pytest
import torch
from helpers import needs_data
from safetensors.torch import load_file
from torch import nn

from diffbook.core import Cond
from diffbook.nets.mmdit import Flux, MMDiT
from diffbook.pretrained import load_network, save_published
from diffbook.published import mmdit
from diffbook.published.networks import NETWORKS, SILENT
from diffbook.published.reading import Published

diffusers = pytest.importorskip('diffusers')
from diffusers.models import normalization  # noqa: E402
from diffusers.models.transformers import transformer_flux  # noqa: E402

CLOSE = {'rtol': 0, 'atol': 1e-9}
SD3 = {
    'sample_size': 8, 'patch_size': 2, 'in_channels': 4, 'out_channels': 4, 'num_layers': 3, 'attention_head_dim': 8, 'num_attention_heads': 2, 'joint_attention_dim': 12,
    'caption_projection_dim': 16, 'pooled_projection_dim': 10, 'pos_embed_max_size': 6,
}  # fmt: skip
FLUX = {
    'in_channels': 16, 'num_layers': 2, 'num_single_layers': 2, 'attention_head_dim': 8, 'num_attention_heads': 2, 'joint_attention_dim': 12, 'pooled_projection_dim': 10,
    'axes_dims_rope': (2, 2, 4),
}  # fmt: skip
CASES = {
    'Stable Diffusion 3': (diffusers.SD3Transformer2DModel, SD3),
    'Stable Diffusion 3.5': (diffusers.SD3Transformer2DModel, SD3 | {'qk_norm': 'rms_norm', 'dual_attention_layers': (0, 1)}),
    'as 3, but four cells a token': (diffusers.SD3Transformer2DModel, SD3 | {'patch_size': 4, 'sample_size': 16, 'num_layers': 1}),
    'FLUX.1 dev': (diffusers.FluxTransformer2DModel, FLUX | {'guidance_embeds': True}),
    'FLUX.1 schnell': (diffusers.FluxTransformer2DModel, FLUX),
    'as FLUX, of single blocks': (diffusers.FluxTransformer2DModel, FLUX | {'num_layers': 1, 'num_single_layers': 3, 'axes_dims_rope': (4, 2, 2)}),
}


@pytest.fixture(autouse=True)
def in_double(monkeypatch):
    "Let theirs compute in the kind of its weights."

    def rotate(x, turns, sequence_dim=1):
        cos, sin = (v[None, :, None] for v in turns)
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return x * cos + torch.stack([-b, a], -1).flatten(-2) * sin

    def table(dim, pos, theta=1e4, **more):
        angles = torch.outer(pos.double(), theta ** (-torch.arange(0, dim, 2).double() / dim))
        return angles.cos().repeat_interleave(2, 1), angles.sin().repeat_interleave(2, 1)

    monkeypatch.setattr(normalization.RMSNorm, 'forward', lambda self, x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight)
    monkeypatch.setattr(transformer_flux, 'apply_rotary_emb', rotate)
    monkeypatch.setattr(transformer_flux, 'get_1d_rotary_pos_embed', table)


def theirs(case, **change):
    "Theirs, with weights that let every part speak: none is zero, no norm is the identity."
    kind, config = CASES[case]
    model, g = kind(**config | change), torch.Generator().manual_seed(0)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5, generator=g)
    return model.double().eval()


def inputs(model, h=8, w=12, words=5):
    g, flux = torch.Generator().manual_seed(1), isinstance(model, diffusers.FluxTransformer2DModel)
    x = torch.randn(2, model.config.in_channels // (4 if flux else 1), h, w, dtype=torch.float64, generator=g)
    seq, vec = (torch.randn(2, *shape, dtype=torch.float64, generator=g) for shape in ((words, 12), (10,)))
    t, scale = torch.tensor([[3.0, 871.5], [3.5, 2.0]], dtype=torch.float64)
    guided = flux and model.config.guidance_embeds
    return x, t, Cond(vec=torch.cat([vec, scale[:, None]], 1) if guided else vec, seq=seq)


def answer(model, x, t, cond):
    "What theirs says; of FLUX packed and told thousandths, as its pipeline does."
    if isinstance(model, diffusers.SD3Transformer2DModel):
        return model(x, cond.seq, cond.vec, t).sample
    pipe, (b, c, h, w) = diffusers.FluxPipeline, x.shape
    vec, scale = (cond.vec[:, :-1], cond.vec[:, -1]) if model.config.guidance_embeds else (cond.vec, None)
    places = pipe._prepare_latent_image_ids(b, h // 2, w // 2, 'cpu', x.dtype)
    y = model(pipe._pack_latents(x, b, c, h, w), cond.seq, vec, t / 1000, places, torch.zeros(cond.seq.shape[1], 3), scale).sample
    return pipe._unpack_latents(y, 8 * h, 8 * w, 8)


def same(model, net, **sizes):
    given = inputs(model, **sizes)
    with torch.no_grad():
        want = answer(model, *given)
        assert want.abs().max() > 0.1
        torch.testing.assert_close(net(*given), want, **CLOSE)


@pytest.mark.parametrize('case', CASES)
def test_read_from_their_folder(tmp_path, case):
    model = theirs(case)
    model.save_pretrained(tmp_path / 'transformer')
    net = load_network(tmp_path)
    assert type(net) is (Flux if 'FLUX' in case else MMDiT) and not net.training
    same(model, net)
    same(model, net, h=8, w=8, words=1)


@pytest.mark.parametrize('case', CASES)
def test_written_for_their_library(tmp_path, case):
    model = theirs(case)
    model.save_pretrained(tmp_path / 'theirs')
    net = load_network(tmp_path / 'theirs')
    save_published(tmp_path / 'ours', net)
    same(CASES[case][0].from_pretrained(tmp_path / 'ours', torch_dtype=torch.float64).eval(), net)
    a, b = (load_file(tmp_path / name / 'diffusion_pytorch_model.safetensors') for name in ('theirs', 'ours'))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize('case', ['Stable Diffusion 3.5', 'FLUX.1 dev'])
def test_gradients_agree(tmp_path, case):
    model = theirs(case)
    model.save_pretrained(tmp_path)
    net, given = load_network(tmp_path), inputs(model)
    goal = torch.randn(given[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for y in (answer(model, *given), net(*given)):
        (y - goal).square().mean().backward()
    own, seen = dict(net.named_parameters()), dict(model.named_parameters())
    for name, (at, rows) in mmdit.places(net).items():
        if at != 'places':  # a buffer
            torch.testing.assert_close(own[at].grad[rows], seen[name].grad, atol=1e-10, rtol=1e-8)


def test_our_table_of_places_is_theirs():
    "Ours is made in float64 and rounded, theirs in float32."
    for change in ({}, {'pos_embed_max_size': 4}, {'pos_embed_max_size': 9, 'sample_size': 16}):
        model = theirs('Stable Diffusion 3', **change)
        net = MMDiT(**mmdit.arguments(dict(model.config)))
        torch.testing.assert_close(net.places, model.pos_embed.pos_embed.float(), atol=1e-6, rtol=0)  # of angles up to 9


@pytest.mark.parametrize('change, case', [({'qk_norm': 'layer_norm'}, 'Stable Diffusion 3'), ({'patch_size': 2}, 'FLUX.1 dev'), ({'out_channels': 8}, 'Stable Diffusion 3'),
                                          ({'axes_dims_rope': (2, 2, 2)}, 'FLUX.1 dev'), ({'in_channels': 6}, 'FLUX.1 dev'), ({'caption_projection_dim': 12}, 'Stable Diffusion 3')])  # fmt: skip
def test_what_is_not_followed_is_refused_by_name(tmp_path, change, case):
    theirs(case).save_pretrained(tmp_path)
    said = json.loads((tmp_path / 'config.json').read_text()) | change
    (tmp_path / 'config.json').write_text(json.dumps(said))
    with pytest.raises(ValueError, match=next(iter(change))):
        load_network(tmp_path)


@pytest.mark.parametrize('case', ['Stable Diffusion 3', 'FLUX.1 dev'])
def test_every_setting_has_a_verdict_and_a_default(case):
    known = inspect.signature(CASES[case][0].__init__).parameters
    name = CASES[case][0].__name__
    assert set(NETWORKS[name]) == set(SILENT[name]) == set(known) - {'self'}
    assert all(tuple(value) == tuple(known[key].default) if isinstance(value, tuple) else value == known[key].default for key, value in SILENT[name].items())


PUBLISHED = {
    'stabilityai/stable-diffusion-3-medium-diffusers': 2_028_328_000,
    'black-forest-labs/FLUX.1-dev': 11_901_408_320,
    'black-forest-labs/FLUX.1-schnell': 11_891_178_560,
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_full_size_on_the_meta_device(name):
    "Every name and shape of the published file, and how many parameters: the table of places is no parameter."
    root = needs_data('model-configs')
    config = json.loads((root / name / 'transformer' / 'config.json').read_text())
    shapes = json.loads(gzip.decompress((root / 'state_dicts' / f'{name.replace("/", "__")}__transformer.json.gz').read_bytes()))
    net = mmdit.load(Published(config, {k: torch.empty(v, device='meta') for k, v in shapes.items()}, 'here'))
    assert {k: list(v.shape) for k, v in mmdit.as_published(net).items()} == shapes
    assert sum(p.numel() for p in net.parameters()) == PUBLISHED[name]
