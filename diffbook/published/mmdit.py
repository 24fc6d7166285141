"""The transformers of Stable Diffusion 3 and FLUX.1 in diffusers, SD3Transformer2DModel and FluxTransformer2DModel: their names, and
their settings in both directions.

Their files hold queries, keys and values apart, ours as one matrix. Theirs of FLUX takes latents that are packed already, 2 x 2
of them as channels of one; ours packs them itself, so its settings speak of a quarter of the channels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..nets.mmdit import MMDiT, Flux
from .fill import Places, build, fill
from .networks import judged
from .reading import Published
from .writing import same_arguments

SD3, FLUX = 'SD3Transformer2DModel', 'FluxTransformer2DModel'
HEADS = {'to_q': 'qkv[0]', 'to_k': 'qkv[1]', 'to_v': 'qkv[2]', 'to_out.0': 'out', 'norm_q': 'norm_q', 'norm_k': 'norm_k'}  # in brackets, which third of the rows
OF_TEXT = {'add_q_proj': 'qkv[0]', 'add_k_proj': 'qkv[1]', 'add_v_proj': 'qkv[2]', 'to_add_out': 'out', 'norm_added_q': 'norm_q', 'norm_added_k': 'norm_k'}
JOINT = {  # within a joint block, diffusers' -> ours
    'norm1.linear': 'image.tell', 'ff.net.0.proj': 'image.mlp.0', 'ff.net.2': 'image.mlp.2', 'norm1_context.linear': 'text.tell', 'ff_context.net.0.proj': 'text.mlp.0',
    'ff_context.net.2': 'text.mlp.2', **{f'attn.{theirs}': f'image.attn.{ours}' for theirs, ours in HEADS.items()}, **{f'attn.{theirs}': f'text.attn.{ours}' for theirs, ours in OF_TEXT.items()},
    **{f'attn2.{theirs}': f'image.own.{ours}' for theirs, ours in HEADS.items()},
}  # fmt: skip
LAST = JOINT | {'norm1_context.linear': 'text.close.tell'}  # the last of Stable Diffusion 3
SINGLE = {'norm.linear': 'tell', 'proj_mlp': 'widen', 'proj_out': 'out'} | {f'attn.{theirs}': f'attn.{ours}' for theirs, ours in HEADS.items()}
ENDS = {'context_embedder': 'read', 'norm_out.linear': 'close.tell', 'proj_out': 'head'} | {
    f'time_text_embed.{theirs}.linear_{n + 1}': f'told.{ours}.{2 * n}' for theirs, ours in (('timestep_embedder', 'time'), ('text_embedder', 'vec'), ('guidance_embedder', 'scale')) for n in (0, 1)
}  # fmt: skip
TABLE = 'pos_embed.pos_embed'


def places(net: MMDiT | Flux) -> Places:
    "Fill the tables of names for `net`."
    own = net.state_dict()
    flux = isinstance(net, Flux)
    blocks = [(f'transformer_blocks.{i}', f'blocks.{i}', JOINT if flux or i < len(net.blocks) - 1 else LAST) for i in range(len(net.blocks))]
    blocks += [(f'single_transformer_blocks.{i}', f'singles.{i}', SINGLE) for i in range(len(net.singles))] if flux else []
    names = ENDS | {'x_embedder' if flux else 'pos_embed.proj': 'patches'} | {f'{a}.{theirs}': f'{b}.{ours}' for a, b, table in blocks for theirs, ours in table.items()}
    found = {} if flux else {TABLE: ('places', slice(None))}
    for theirs, name in names.items():
        name, _, third = name.rstrip(']').partition('[')
        for p in ('weight', 'bias'):
            if (at := f'{name}.{p}') in own:
                rows = len(own[at]) // 3
                found[f'{theirs}.{p}'] = (at, slice(int(third) * rows, (int(third) + 1) * rows) if third else slice(None))
    return found


def load(found: Published, dtype: torch.dtype | None = None) -> MMDiT | Flux:
    "Make the network that was read."
    net = build(Flux, flux_arguments, found) if found.config.get('_class_name') == FLUX else build(MMDiT, arguments, found)
    return fill(net, found.tensors, places(net), found.where, dtype)


def as_published(net: MMDiT | Flux) -> dict[str, Tensor]:  # by published name
    "The tensors of a net in the published names."
    own = net.state_dict()
    return {name: own[at][rows] for name, (at, rows) in places(net).items()}


def arguments(
    config: Mapping[str, object],  # the config.json of a diffusers SD3Transformer2DModel
) -> dict[str, object]:  # arguments of MMDiT
    "Translate a published configuration; refuse by name what our class does not do."
    c = judged(SD3, config)
    dim = _width(c)
    for key, value in (('caption_projection_dim', dim), ('out_channels', c['in_channels'])):
        if c[key] not in (value, None):
            raise ValueError(f'{key} is {c[key]!r}, expected {value}: of another width it cannot be added')
    if c['qk_norm'] not in (None, 'rms_norm'):
        raise ValueError(f'qk_norm is {c["qk_norm"]!r}, expected null or "rms_norm"')
    return {
        'in_channels': c['in_channels'], 'dim': dim, 'depth': c['num_layers'], 'heads': c['num_attention_heads'], 'patch': c['patch_size'], 'seq_dim': c['joint_attention_dim'],
        'vec_dim': c['pooled_projection_dim'], 'table': c['pos_embed_max_size'], 'base': c['sample_size'] // c['patch_size'], 'qk_norm': c['qk_norm'] is not None,
        'dual': tuple(c['dual_attention_layers']),
    }  # fmt: skip


def flux_arguments(
    config: Mapping[str, object],  # the config.json of a diffusers FluxTransformer2DModel
) -> dict[str, object]:  # arguments of Flux
    "Translate a published configuration; refuse by name what our class does not do."
    c = judged(FLUX, config)
    if c['in_channels'] % 4 or c['out_channels'] not in (None, c['in_channels']):
        raise ValueError(f'in_channels is {c["in_channels"]} and out_channels {c["out_channels"]!r}, expected the same multiple of 4: 2 x 2 cells of a latent are one token')
    if sum(c['axes_dims_rope']) != c['attention_head_dim']:
        raise ValueError(f'axes_dims_rope is {c["axes_dims_rope"]!r} and attention_head_dim {c["attention_head_dim"]}, expected three numbers that add up to it')
    return {
        'in_channels': c['in_channels'] // 4, 'dim': _width(c), 'depth': (c['num_layers'], c['num_single_layers']), 'heads': c['num_attention_heads'], 'patch': 2,
        'seq_dim': c['joint_attention_dim'], 'vec_dim': c['pooled_projection_dim'], 'axes': tuple(c['axes_dims_rope']), 'guided': c['guidance_embeds'],
    }  # fmt: skip


def _width(c: Mapping) -> int:
    return c['num_attention_heads'] * c['attention_head_dim']


def settings(net: MMDiT | Flux) -> dict[str, object]:  # in diffusers' words
    "Describe a network as diffusers does; refuse one that it does not have."
    a = net.arguments
    both = {
        'attention_head_dim': a['dim'] // a['heads'], 'num_attention_heads': a['heads'], 'joint_attention_dim': a['seq_dim'], 'pooled_projection_dim': a['vec_dim'],
    }  # fmt: skip
    if isinstance(net, Flux):
        said = {
            '_class_name': FLUX, 'patch_size': 1, 'in_channels': 4 * a['in_channels'], 'out_channels': None, 'num_layers': a['depth'][0], 'num_single_layers': a['depth'][1],
            'guidance_embeds': a['guided'], 'axes_dims_rope': list(a['axes']),
        } | both  # fmt: skip
        same_arguments(flux_arguments(said), a, net)
        return said
    said = {
        '_class_name': SD3, 'sample_size': a['base'] * a['patch'], 'patch_size': a['patch'], 'in_channels': a['in_channels'], 'out_channels': a['in_channels'], 'num_layers': a['depth'],
        'caption_projection_dim': a['dim'], 'pos_embed_max_size': a['table'], 'dual_attention_layers': list(a['dual']), 'qk_norm': 'rms_norm' if a['qk_norm'] else None,
    } | both  # fmt: skip
    same_arguments(arguments(said), a, net)
    return said
