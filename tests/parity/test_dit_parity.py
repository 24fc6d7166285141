"""One DiT, two libraries: the same weights give the same numbers in diffusers' DiTTransformer2DModel and in ours, in float64.

Two places of theirs are of float32 whatever the weights are. The waves of the noise level are so in ours too: published weights
were trained with them. The table of places is made anew in float64 here, as ours is.
"""

import inspect
import json

import pytest
import torch
from safetensors.torch import load_file

from diffbook.core import Cond
from diffbook.nets.dit import DiT, RMSNorm, grid_places, rotary_angles, rotate, sincos_places
from diffbook.nets.layers import sinusoids
from diffbook.pretrained import load_network, save_published
from diffbook.published import dit
from diffbook.published.settings import SETTINGS

diffusers = pytest.importorskip('diffusers')
from diffusers.models.embeddings import apply_rotary_emb, get_2d_sincos_pos_embed  # noqa: E402

TINY = {
    'num_attention_heads': 2,
    'attention_head_dim': 8,
    'in_channels': 3,
    'out_channels': 6,
    'num_layers': 3,
    'sample_size': 8,
    'patch_size': 2,
    'num_embeds_ada_norm': 5,
}
CASES = {
    'tiny': {},
    'as many channels': {'out_channels': None, 'in_channels': 4},
    'one head, other sizes': {'num_attention_heads': 1, 'attention_head_dim': 12, 'patch_size': 4, 'sample_size': 16, 'norm_eps': 1e-2},
}


def theirs(**change):
    "Theirs, with random weights, and all embedders copies of the first block's, as in the published files."
    torch.manual_seed(0)
    model = diffusers.DiTTransformer2DModel(**TINY | change).double().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    for block in model.transformer_blocks[1:]:
        block.norm1.emb.load_state_dict(model.transformer_blocks[0].norm1.emb.state_dict())
    side = model.config.sample_size // model.config.patch_size
    model.pos_embed.pos_embed = get_2d_sincos_pos_embed(model.inner_dim, side, base_size=side)[None]
    return model


def inputs(model, labels=(0, 4, 5)):
    "A batch of pictures, the times 0 to 999 and classes, the last of them no class."
    c, n = model.config, model.config.num_embeds_ada_norm + 1
    x = torch.randn(len(labels), c.in_channels, c.sample_size, c.sample_size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor(labels)
    return x, torch.tensor([0, 437, 999])[: len(labels)], labels, Cond(vec=torch.eye(n, dtype=torch.float64)[labels])


def same(model, net):
    x, t, labels, cond = inputs(model)
    with torch.no_grad():
        want = model(x, t, labels).sample
        assert want.abs().max() > 0.1
        torch.testing.assert_close(net(x, t, cond), want, atol=1e-9, rtol=0)


@pytest.mark.parametrize('case', CASES)
def test_read_from_their_folder(tmp_path, case):
    model = theirs(**CASES[case])
    model.save_pretrained(tmp_path / 'transformer')
    net = load_network(tmp_path)
    assert type(net) is DiT and not net.training
    same(model, net)


@pytest.mark.parametrize('case', CASES)
def test_written_for_their_library(tmp_path, case):
    model = theirs(**CASES[case])
    model.save_pretrained(tmp_path / 'theirs')
    net = load_network(tmp_path / 'theirs')
    save_published(tmp_path / 'ours', net)
    back = diffusers.DiTTransformer2DModel.from_pretrained(tmp_path / 'ours', torch_dtype=torch.float64).eval()
    back.pos_embed.pos_embed = model.pos_embed.pos_embed
    same(back, net)
    a, b = (load_file(tmp_path / name / 'diffusion_pytorch_model.safetensors') for name in ('theirs', 'ours'))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_first_files_name_another_class(tmp_path):
    model = theirs()
    model.save_pretrained(tmp_path)
    said = json.loads((tmp_path / 'config.json').read_text()) | {
        '_class_name': 'Transformer2DModel',
        'cross_attention_dim': None,
        'only_cross_attention': False,
    }
    (tmp_path / 'config.json').write_text(json.dumps(said))
    same(model, load_network(tmp_path))
    (tmp_path / 'config.json').write_text(json.dumps(said | {'norm_type': 'layer_norm'}))
    with pytest.raises(ValueError, match='of the class Transformer2DModel only DiT is read'):
        load_network(tmp_path)


def test_gradients_agree(tmp_path):
    model = theirs(num_layers=2)
    model.save_pretrained(tmp_path)
    net = load_network(tmp_path)
    x, t, labels, cond = inputs(model)
    goal = torch.randn(len(x), 6, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for y in (model(x, t, labels).sample, net(x, t, cond)):
        (y - goal).square().mean().backward()
    own, seen = dict(net.named_parameters()), dict(model.named_parameters())
    for name, (at, rows) in dit.places(net).items():
        # theirs has a copy for each block: what one parameter gets, all of them get together
        mine = (
            [name]
            if '.norm1.emb.' not in name and name != dit.CLASSES
            else [(dit.TABLE if name == dit.CLASSES else name).replace('.0.', f'.{i}.', 1) for i in range(2)]
        )
        want = sum(seen[n].grad for n in mine)
        torch.testing.assert_close(own[at].grad[rows], want.mT if name == dit.CLASSES else want, atol=1e-10, rtol=1e-8)


def test_embedders_that_differ_are_refused(tmp_path):
    model = theirs()
    with torch.no_grad():
        model.transformer_blocks[1].norm1.emb.timestep_embedder.linear_1.bias[0] += 1e-3
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias.*expected copies'):
        load_network(tmp_path)


def test_sizes_that_are_not_the_trained_one():
    "Places are stretched to the trained grid, as theirs are; for pictures that are not square only the table can be compared, theirs does not put them back together."
    model = theirs()
    net = dit.load(dit.Published(dict(model.config) | {'_class_name': dit.CLASS}, dict(model.state_dict()), 'here'))
    x, t, labels, cond = inputs(model)
    x = torch.cat([torch.cat([x, -x], 2), torch.cat([x.flip(2), x], 2)], 3)
    with torch.no_grad():
        torch.testing.assert_close(net(x, t, cond), model(x, t, labels).sample, atol=1e-5, rtol=0)  # theirs makes this table in float32
    for rows, columns in ((4, 6), (6, 4), (3, 3)):
        want = get_2d_sincos_pos_embed(16, (rows, columns), base_size=4)
        torch.testing.assert_close(sincos_places(grid_places(rows, columns, 4), 16), want, atol=1e-6, rtol=0)


def test_the_original_has_other_frequencies():
    "diffusers divides the exponent by half - 1, the original by half: the two embeddings drift apart with the noise level, by the figures of the chapter."
    t = torch.tensor([100.0, 500.0, 999.0])
    a, b = (sinusoids(t, 256, shift=shift, cos_first=True).double() for shift in (0.0, 1.0))
    torch.testing.assert_close(torch.cosine_similarity(a, b), torch.tensor([0.992, 0.816, 0.489], dtype=torch.float64), atol=1e-3, rtol=0)
    rungs = torch.arange(128, dtype=torch.float64)
    for own, half in ((a, 128), (b, 127)):
        angles = t.double()[:, None] * 10_000.0 ** (-rungs / half)
        torch.testing.assert_close(own, torch.cat([angles.cos(), angles.sin()], 1), atol=2e-4, rtol=0)  # of float32, at angles up to 999


def test_dit_xl_2_on_the_meta_device():
    "Names, shapes and the count of the published DiT-XL/2: 675 million, with one copy of the embedders (Peebles and Xie 2023, table 1)."
    with torch.device('meta'):
        model = diffusers.DiTTransformer2DModel(out_channels=8)
    net = dit.load(dit.Published(dict(model.config) | {'_class_name': dit.CLASS}, dict(model.state_dict()), 'here'))
    assert {k: v.shape for k, v in dit.as_published(net.to_empty(device='meta')).items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert round(sum(p.numel() for p in net.parameters()) / 1e6) == 675


@pytest.mark.parametrize('dims', [(8, 8), (4, 6, 6), (16,)])
def test_rotary_places(dims):
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    g = torch.Generator().manual_seed(0)
    places = 20 * torch.rand(7, len(dims), dtype=torch.float64, generator=g)
    tables = [get_1d_rotary_pos_embed(d, p, use_real=True, freqs_dtype=torch.float64) for d, p in zip(dims, places.unbind(1))]
    x = torch.randn(2, 7, 3, 16, dtype=torch.float64, generator=g)
    want = apply_rotary_emb(x, tuple(torch.cat(t, 1) for t in zip(*tables)), sequence_dim=1)
    torch.testing.assert_close(rotate(x, rotary_angles(places, dims)), want, atol=2e-5, rtol=0)  # theirs turns in float32


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_rms_norm(dtype):
    from diffusers.models.normalization import RMSNorm as Theirs

    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    mine, other, own = RMSNorm(16).to(dtype), Theirs(16, 1e-6).to(dtype), torch.nn.RMSNorm(16, 1e-6).to(dtype)
    with torch.no_grad():
        for norm in (mine, other, own):
            norm.weight.copy_(torch.linspace(0.5, 1.5, 16))
    tight = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(mine(x), own(x), atol=tight, rtol=tight)
    torch.testing.assert_close(mine(x), other(x), atol=max(tight, 1e-6), rtol=tight)  # whose mean square is of float32


OTHER = {  # key -> a value that is not the one of TINY
    'num_attention_heads': 4, 'attention_head_dim': 12, 'in_channels': 5, 'out_channels': 4, 'num_layers': 1, 'sample_size': 12, 'patch_size': 4, 'num_embeds_ada_norm': 7, 'norm_eps': 1e-2,
    'dropout': 0.5, 'norm_num_groups': 8, 'attention_bias': False, 'activation_fn': 'geglu', 'upcast_attention': True, 'norm_type': 'layer_norm', 'norm_elementwise_affine': True,
}  # fmt: skip


def test_every_setting_has_a_verdict():
    known = set(inspect.signature(diffusers.DiTTransformer2DModel.__init__).parameters) - {'self'}
    assert known == set(SETTINGS[dit.CLASS]) == set(OTHER)


@pytest.mark.parametrize('key', OTHER)
def test_a_setting(tmp_path, key):
    "What is followed is followed as they do, what has no effect has none there either, what is refused is refused by name."
    verdict, change = SETTINGS[dit.CLASS][key], {key: OTHER[key]}
    if verdict.startswith('refused'):
        theirs().save_pretrained(tmp_path)
        said = json.loads((tmp_path / 'config.json').read_text())
        (tmp_path / 'config.json').write_text(json.dumps(said | change))
        with pytest.raises(ValueError, match=f'{key} is .*expected'):
            load_network(tmp_path)
        return
    model = theirs(**change)
    if verdict.startswith('no effect'):
        x, t, labels, _ = inputs(model)
        with torch.no_grad():
            assert torch.equal(model(x, t, labels).sample, theirs()(x, t, labels).sample)
    model.save_pretrained(tmp_path)
    same(model, load_network(tmp_path))
