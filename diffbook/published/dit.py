"""The DiT of diffusers, DiTTransformer2DModel: its names, and its settings in both directions.

Its files hold the embedders of noise level and class once for each block, as copies of one; ours has them once.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..nets.dit import BlockStyle, DiT
from .fill import CLASSES, Places, build, fill
from .networks import judged
from .reading import Published
from .writing import same_arguments

CLASS, OLDER = 'DiTTransformer2DModel', 'Transformer2DModel'  # the first files name the class that held all transformers
NAMES = {  # diffusers' -> ours; in brackets, which third of the rows
    'pos_embed.proj': 'stem', 'proj_out_1': 'tell', 'proj_out_2': 'head',
    'transformer_blocks.0.norm1.emb.timestep_embedder.linear_1': 'time.0', 'transformer_blocks.0.norm1.emb.timestep_embedder.linear_2': 'time.2',
}  # fmt: skip
WITHIN = {  # a block
    'norm1.linear': 'tell', 'attn1.to_q': 'qkv[0]', 'attn1.to_k': 'qkv[1]', 'attn1.to_v': 'qkv[2]', 'attn1.to_out.0': 'out', 'ff.net.0.proj': 'mlp.0', 'ff.net.2': 'mlp.2',
}  # fmt: skip
TABLE = 'transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight'
COPY = re.compile(r'transformer_blocks\.(\d+)\.norm1\.emb\.(.+)')
OF_OLDER = {  # what the older class could do besides, and says where it does not
    'cross_attention_dim': None, 'num_vector_embeds': None, 'only_cross_attention': False, 'use_linear_projection': False, 'double_self_attention': False,
    'attention_type': 'default', 'caption_channels': None, 'interpolation_scale': None, 'use_additional_conditions': None,
}  # fmt: skip


def places(net: DiT) -> Places:
    "Fill the table of names for `net`."
    width, found = net.stem.out_channels, {CLASSES: ('cond.weight', slice(None))}
    names = NAMES | {f'transformer_blocks.{i}.{theirs}': f'blocks.{i}.{ours}' for i in range(len(net.blocks)) for theirs, ours in WITHIN.items()}
    for theirs, name in names.items():
        name, _, third = name.rstrip(']').partition('[')
        rows = slice(int(third) * width, (int(third) + 1) * width) if third else slice(None)
        found |= {f'{theirs}.{p}': (f'{name}.{p}', rows) for p in ('weight', 'bias')}
    return found


def without_copies(tensors: Mapping[str, Tensor], where: object) -> dict[str, Tensor]:
    "Keep the embedders of the first block; refuse those that differ from it."
    kept = {}
    for name, value in tensors.items():
        m = COPY.fullmatch(name)
        if m is None or m[1] == '0':
            kept[CLASSES if name == TABLE else name] = value
            continue
        first = tensors.get(f'transformer_blocks.0.norm1.emb.{m[2]}')
        if first is None or first.shape != value.shape or not (value.is_meta or torch.equal(first, value)):
            raise ValueError(f'{where}: {name!r} is not the same as in the first block, expected copies: a DiT is told noise level and class in one way')
    return kept


def load(found: Published, dtype: torch.dtype | None = None) -> DiT:
    "Make the network that was read."
    net = build(DiT, arguments, found)
    return fill(net, without_copies(found.tensors, found.where), places(net), found.where, dtype)


def as_published(net: DiT) -> dict[str, Tensor]:  # by published name
    "The tensors of a net in the published names; a ValueError, if it was told what is no class."
    own = net.state_dict()
    if not net.cond.bias.is_meta and net.cond.bias.count_nonzero():
        raise ValueError('cond has a bias that is not zero, so what it is told is no class; the published layout knows classes only')
    said = {TABLE if name == CLASSES else name: own[at].mT if name == CLASSES else own[at][rows] for name, (at, rows) in places(net).items()}
    first = {m[2]: value for name, value in said.items() if (m := COPY.fullmatch(name))}
    return said | {f'transformer_blocks.{i}.norm1.emb.{name}': value.clone() for i in range(1, len(net.blocks)) for name, value in first.items()}


def arguments(
    config: Mapping[str, object],  # the config.json of a diffusers DiTTransformer2DModel
) -> dict[str, object]:  # arguments of DiT
    "Translate a published configuration; refuse by name what our class does not do."
    if config.get('_class_name') == OLDER:
        if config.get('norm_type') != 'ada_norm_zero':
            raise ValueError(f'norm_type is {config.get("norm_type")!r}, expected "ada_norm_zero": of the class {OLDER} only DiT is read')
        config = {key: value for key, value in config.items() if key not in OF_OLDER or value != OF_OLDER[key]}
    c = judged(CLASS, config)
    return {
        'in_channels': c['in_channels'], 'out_channels': c['out_channels'] or c['in_channels'], 'width': c['num_attention_heads'] * c['attention_head_dim'],
        'depth': c['num_layers'], 'heads': c['num_attention_heads'], 'patch': c['patch_size'], 'cond_dim': c['num_embeds_ada_norm'] + 1,  # the last row is no class
        'grid': c['sample_size'] // c['patch_size'], 'freq_shift': 1.0, 'style': BlockStyle(eps_mlp=c['norm_eps']),
    }  # fmt: skip


def settings(net: DiT) -> dict[str, object]:  # in diffusers' words
    "Describe a DiT as diffusers does; refuse one that it does not have."
    a = net.arguments
    config = {
        '_class_name': CLASS, 'in_channels': a['in_channels'], 'out_channels': a['out_channels'] or a['in_channels'], 'num_attention_heads': a['heads'],
        'attention_head_dim': a['width'] // a['heads'], 'num_layers': a['depth'], 'patch_size': a['patch'], 'num_embeds_ada_norm': max(a['cond_dim'] - 1, 1),
        'sample_size': (a['grid'] or 32) * a['patch'], 'norm_eps': a['style'].eps_mlp, 'dropout': 0.0, 'attention_bias': True, 'activation_fn': 'gelu-approximate',
        'norm_type': 'ada_norm_zero', 'norm_elementwise_affine': False,
    }  # fmt: skip
    same_arguments({'img_channels': 0} | arguments(config), a, net)
    return config
