"""The U-Nets of diffusers, UNet2DModel and UNet2DConditionModel: their names, and their settings in both directions."""

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from ..nets.unet import Layout, UNet, UNetStep
from .fill import CLASSES, Places
from .networks import judged, network_class
from .writing import same_arguments

NAMES = {  # diffusers' UNet2DModel and UNet2DConditionModel -> ours
    'conv_in': 'stem',
    'time_embedding.linear_1': 'time.0',
    'time_embedding.linear_2': 'time.2',
    '{block}.resnets.{n}.norm1': '{step}.res.norm1',
    '{block}.resnets.{n}.conv1': '{step}.res.conv1',
    '{block}.resnets.{n}.time_emb_proj': 'tell[own]',
    '{block}.resnets.{n}.norm2': '{step}.res.norm2',
    '{block}.resnets.{n}.conv2': '{step}.res.conv2',
    '{block}.resnets.{n}.conv_shortcut': '{step}.res.skip',
    '{block}.attentions.{n}.group_norm': '{step}.attn.norm',
    '{block}.attentions.{n}.to_q': '{step}.attn.qkv[0]',
    '{block}.attentions.{n}.to_k': '{step}.attn.qkv[1]',
    '{block}.attentions.{n}.to_v': '{step}.attn.qkv[2]',
    '{block}.attentions.{n}.to_out.0': '{step}.attn.out',
    '{block}.attentions.{n}.norm': '{step}.attn.norm_in',
    '{block}.attentions.{n}.proj_in': '{step}.attn.enter',
    '{block}.attentions.{n}.proj_out': '{step}.attn.leave',
    '{block}.{resampler}.0.conv': '{step}.conv',
    'conv_norm_out': 'norm',
    'conv_out': 'head',
}
READERS = {  # within the block that reads tokens
    'norm1': 'norm_own', 'attn1.to_q': 'own.q', 'attn1.to_k': 'own.kv[0]', 'attn1.to_v': 'own.kv[1]', 'attn1.to_out.0': 'own.out',
    'norm2': 'norm_cross', 'attn2.to_q': 'cross.q', 'attn2.to_k': 'cross.kv[0]', 'attn2.to_v': 'cross.kv[1]', 'attn2.to_out.0': 'cross.out',
    'norm3': 'norm_think', 'ff.net.0.proj': 'widen', 'ff.net.2': 'narrow',
}  # fmt: skip
NAMES |= {f'{{block}}.attentions.{{n}}.transformer_blocks.0.{theirs}': f'{{step}}.attn.{ours}' for theirs, ours in READERS.items()}
MORE = {f'{{block}}.attentions.{{n}}.transformer_blocks.{{r}}.{theirs}': f'{{step}}.attn.more.{{k}}.{ours}' for theirs, ours in READERS.items()}  # rounds after the first
TOLD = {'add_embedding.linear_1': 'cond.0', 'add_embedding.linear_2': 'cond.2'}  # of a vector that passes two matrices


def _walk(net: UNet) -> Iterator[tuple[nn.Module, dict[str, object]]]:
    "Yield each step of the walk with the words that fill the table of names."
    for ours, block, resampler in (('down', 'down_blocks', 'downsamplers'), ('up', 'up_blocks', 'upsamplers')):
        level = n = 0
        for j, step in enumerate(getattr(net, ours)):
            yield step, {'step': f'{ours}.{j}', 'block': f'{block}.{level}', 'n': n, 'resampler': resampler}
            level, n = (level, n + 1) if isinstance(step, UNetStep) else (level + 1, 0)
    for n, step in enumerate(net.mid):
        yield step, {'step': f'mid.{n}', 'block': 'mid_block', 'n': n, 'resampler': ''}


def _rows(step: nn.Module, which: str) -> slice:
    "Which rows the word in brackets means: all, the block's own, or one of several layers that we keep in one."
    if which in ('', 'own'):
        return step.columns if which else slice(None)
    c = step.res.conv2.out_channels
    return slice(int(which) * c, (int(which) + 1) * c)


def places(
    net: UNet,  # any net of this class
) -> Places:
    "Fill the table of names for `net`."
    ours, found = net.state_dict(), {}
    for step, words in [(net, {}), *_walk(net)]:
        mark = '{n}' if isinstance(step, UNetStep) else '{resampler}' if words else ''
        _fill(found, ours, {theirs: name for theirs, name in NAMES.items() if mark in theirs and bool(words) == ('{' in theirs)}, words, step)
        for k in range(len(step.attn.more) if words and isinstance(step, UNetStep) and step.reads else 0):
            _fill(found, ours, MORE, {**words, 'k': k, 'r': k + 1}, step)
    if net.cond_layers == 2:
        _fill(found, ours, TOLD, {}, net)
        return found
    return found | ({CLASSES: ('cond.weight', slice(None))} if net.cond else {})


def _fill(found: dict, ours: Mapping[str, Tensor], names: Mapping[str, str], words: Mapping[str, object], step: nn.Module) -> None:
    "Add what a table says of one step, where ours has it."
    for theirs, name in names.items():
        name, _, which = name.format(**words).rstrip(']').partition('[')
        for p in ('weight', 'bias'):
            if f'{name}.{p}' in ours:
                found[f'{theirs.format(**words)}.{p}'] = (f'{name}.{p}', _rows(step, which))


def as_published(net: UNet) -> dict[str, Tensor]:  # by published name
    "The tensors of a net in the published names and forms; a ValueError, if it was told what is no class."
    own = net.state_dict()
    if net.cond and net.cond_layers == 1 and net.cond.bias.count_nonzero():
        raise ValueError('cond has a bias that is not zero, so what it is told is no class; the published layout knows classes only')
    return {name: own[at][rows].mT if name == CLASSES else own[at][rows] for name, (at, rows) in places(net).items()}


# Settings


def arguments(
    config: Mapping[str, object],  # the config.json of a diffusers UNet2DModel or UNet2DConditionModel
) -> dict[str, object]:  # arguments of UNet
    "Translate a published configuration; refuse by name what our class does not do."
    c = judged(network_class(config), config)
    seq_dim, levels = c.get('cross_attention_dim', 0), len(c['block_out_channels'])
    beside = max(c['in_channels'] - c['out_channels'], 0) if seq_dim else 0  # such as a mask and a picture with a hole
    if c['downsample_padding'] not in (0, 1):
        raise ValueError(f'downsample_padding is {c["downsample_padding"]!r}, expected 0 or 1')
    if c['resnet_time_scale_shift'] not in ('default', 'scale_shift'):
        raise ValueError(f'resnet_time_scale_shift is {c["resnet_time_scale_shift"]!r}, expected default or scale_shift')
    scaled = c['resnet_time_scale_shift'] == 'scale_shift'
    _same_groups(c, scaled)
    told = {'cond_dim': c['num_class_embeds'] or 0}
    if seq_dim:
        told |= _added(c) | {'depth': _depth(c, levels)}
    layout = {'scale_shift': scaled, 'down_pad': (c['downsample_padding'], 1), 'freq_shift': c['freq_shift'], 'cos_first': c['flip_sin_to_cos'], 'eps': c['norm_eps']}
    return {
        'in_channels': c['in_channels'] - beside, 'out_channels': c['out_channels'], 'channels': tuple(c['block_out_channels']), 'patch': 1,
        'blocks': _each(c, 'layers_per_block', levels), 'heads': _heads(c, 'CrossAttn' if seq_dim else 'Attn'), 'groups': c['norm_num_groups'],
        'dropout': c.get('dropout', 0.0), 'layout': Layout(**layout), **told,
    } | ({'seq_dim': seq_dim, 'img_channels': beside, 'text_only': _text_only(c, levels)} if seq_dim else {})  # fmt: skip


def _same_groups(c: Mapping, scaled: bool) -> None:
    "Refuse an attention of the middle with groups of its own, or, where blocks are told scales and nothing is said, with no norm."
    groups, silent = c.get('attn_norm_num_groups'), None if scaled else c['norm_num_groups']
    if c.get('add_attention') and (silent if groups is None else groups) != c['norm_num_groups']:
        raise ValueError(f'attn_norm_num_groups is {groups!r}, expected norm_num_groups, {c["norm_num_groups"]}: all norms of a U-Net have as many groups')


def _text_only(c: Mapping, levels: int) -> tuple[bool, ...]:
    "Levels whose pixels ask the text alone; nothing where none do. The middle never does."
    asked = _each(c, 'only_cross_attention', levels)
    return asked if any(asked) else ()


def _added(c: Mapping) -> dict[str, int]:
    "What is told beside the time: a class, or, as in Stable Diffusion XL, a vector of the text and of numbers."
    if c['addition_embed_type'] is None:
        return {}
    width, waves = c['projection_class_embeddings_input_dim'], c['addition_time_embed_dim']
    if c['addition_embed_type'] != 'text_time' or c['num_class_embeds'] or not width or not waves:
        raise ValueError(f'addition_embed_type is {c["addition_embed_type"]!r}, expected null, or text_time with projection_class_embeddings_input_dim and addition_time_embed_dim, and no classes')
    return {'cond_dim': width, 'cond_layers': 2}


def _depth(c: Mapping, levels: int) -> int | tuple[int, ...]:
    "Rounds of reading: one number where all are the same, as in Stable Diffusion 1 and 2; the middle has those of the last level."
    found = _each(c, 'transformer_layers_per_block', levels)
    return found[0] if len(set(found)) == 1 else (*found, found[-1])


def _heads(c: Mapping, word: str) -> tuple[int, ...]:
    "Attention heads of each level and of the middle; refuse a way up that does not mirror the way down."
    plain = {'DownBlock2D': False, f'{word}DownBlock2D': True, 'UpBlock2D': False, f'{word}UpBlock2D': True}
    down, up = ([plain.get(kind) for kind in c[key]] for key in ('down_block_types', 'up_block_types'))
    if None in down or down != up[::-1] or len(down) != len(c['block_out_channels']):
        raise ValueError(f'down_block_types is {c["down_block_types"]} and up_block_types {c["up_block_types"]}, expected mirrored ones')
    wide, told = (*c['block_out_channels'], c['block_out_channels'][-1]), _each(c, 'attention_head_dim', len(down))
    # a trap: in nets that read tokens, `attention_head_dim` is the number of heads and not their width
    heads = (*told, told[-1]) if word == 'CrossAttn' else tuple(n // (size or n) for n, size in zip(wide, (*told, told[-1])))
    return tuple(h if attends else 0 for h, attends in zip(heads, (*down, c.get('add_attention', True))))


def _each(c: Mapping, key: str, levels: int) -> tuple:
    "One value for each level: given as such, or one for all."
    value = tuple(c[key]) if isinstance(c[key], (list, tuple)) else (c[key],) * levels
    if len(value) != levels:
        raise ValueError(f'{key} is {c[key]!r}, expected one value or one for each of {levels} levels')
    return value


def settings(
    net: UNet,
) -> dict[str, object]:  # in diffusers' words
    "Describe a U-Net as diffusers does; refuse one that it does not have."
    a, levels, layout = net.arguments, len(net.arguments['channels']), net.arguments['layout']
    reads, heads = a['seq_dim'] > 0, a['heads']
    word, attends = 'CrossAttn' if reads else 'Attn', [h > 0 for h in heads]
    wide = {c // h for c, h in zip((*a['channels'], a['channels'][-1]), heads) if h} or {8}
    config = {
        '_class_name': 'UNet2DConditionModel' if reads else 'UNet2DModel', 'in_channels': a['in_channels'] + a['img_channels'],
        'out_channels': a['out_channels'] or a['in_channels'], 'block_out_channels': list(a['channels']), 'norm_num_groups': a['groups'], 'norm_eps': layout.eps,
        'layers_per_block': a['blocks'][0] if len(set(a['blocks'])) == 1 else list(a['blocks']),
        'down_block_types': [f'{word if h else ""}DownBlock2D' for h in attends[:levels]],
        'up_block_types': [f'{word if h else ""}UpBlock2D' for h in reversed(attends[:levels])],
        'downsample_padding': layout.down_pad[0], 'freq_shift': layout.freq_shift, 'flip_sin_to_cos': layout.cos_first, 'num_class_embeds': None if a['cond_layers'] == 2 else a['cond_dim'] or None,
    }  # fmt: skip
    config |= {'resnet_time_scale_shift': 'scale_shift'} | ({} if reads else {'attn_norm_num_groups': a['groups']}) if layout.scale_shift else {}
    same_arguments({'patch': 1}, {'patch': a['patch']}, net)  # what no other setting is worth asking after
    if reads and not heads[-1]:
        raise ValueError(f'heads is {heads}; in the published layout the middle of a UNet that reads tokens reads them too')
    if reads:
        config |= {'cross_attention_dim': a['seq_dim'], 'attention_head_dim': [h or heads[-1] for h in heads[:levels]], 'use_linear_projection': True}
        depth = a['depth'] if isinstance(a['depth'], int) else list(a['depth'][:levels])
        config |= {'transformer_layers_per_block': depth} if depth != 1 else {}
        config |= {'only_cross_attention': list(a['text_only']) or False}
    else:
        config |= {'attention_head_dim': None if set(heads) <= {0, 1} else min(wide), 'add_attention': attends[-1], 'dropout': a['dropout']}
    if a['cond_layers'] == 2:  # how many of the numbers of the vector are waves no net knows; the writer of a pipeline may add what it is
        config |= {'addition_embed_type': 'text_time', 'addition_time_embed_dim': 256, 'projection_class_embeddings_input_dim': a['cond_dim']}
    same_arguments(arguments(config), a, net)
    return config
