"""The VAE of diffusers, AutoencoderKL: its names, and its settings in both directions."""

import itertools
import math
from collections.abc import Mapping

from torch import Tensor

from ..nets.vae import AutoencoderKL
from .fill import Places
from .networks import judged
from .writing import same_arguments

NAMES = {  # diffusers' AutoencoderKL -> ours; {l} counts levels, {n} blocks
    'encoder.conv_in': 'encoder.level0.stem',
    'encoder.down_blocks.{l}.resnets.{n}': 'encoder.level{l}.block{n}',
    'encoder.down_blocks.{l}.downsamplers.0.conv': 'encoder.level{l}.down.conv',
    'encoder.mid_block.resnets.{n}': 'encoder.middle.block{n}',
    'encoder.mid_block.attentions.0': 'encoder.middle.attn',
    'encoder.conv_norm_out': 'encoder.middle.norm',
    'encoder.conv_out': 'encoder.middle.head',
    'quant_conv': 'encoder.middle.mix',
    'post_quant_conv': 'decoder.middle.mix',
    'decoder.conv_in': 'decoder.middle.stem',
    'decoder.mid_block.resnets.{n}': 'decoder.middle.block{n}',
    'decoder.mid_block.attentions.0': 'decoder.middle.attn',
    'decoder.up_blocks.{l}.resnets.{n}': 'decoder.level{l}.block{n}',
    'decoder.up_blocks.{l}.upsamplers.0.conv': 'decoder.level{next}.up.conv',
    'decoder.conv_norm_out': 'decoder.level{last}.norm',
    'decoder.conv_out': 'decoder.level{last}.head',
}
INSIDE = {  # a block and the attention, from within
    'norm1': 'norm1', 'conv1': 'conv1', 'norm2': 'norm2', 'conv2': 'conv2', 'conv_shortcut': 'skip',
    'group_norm': 'norm', 'to_q': 'qkv[0]', 'to_k': 'qkv[1]', 'to_v': 'qkv[2]', 'to_out.0': 'out',
}  # fmt: skip


def places(
    vae: AutoencoderKL,  # any of this class
) -> Places:
    "Fill the table of names for `vae`."
    ours, found = vae.state_dict(), {}
    last, most = int(math.log2(vae.factor)), max(2, len(vae.decoder.level0))
    for (theirs, own), level, n in itertools.product(NAMES.items(), range(last + 1), range(most)):
        words = {'l': level, 'n': n, 'next': level + 1, 'last': last}
        inside = INSIDE if '.resnets.' in theirs or '.attentions.' in theirs else {'': ''}
        for (their_part, our_part), p in itertools.product(inside.items(), ('weight', 'bias')):
            part, _, which = our_part.rstrip(']').partition('[')
            place = '.'.join(filter(None, (own.format(**words), part, p)))
            if place in ours:
                found['.'.join(filter(None, (theirs.format(**words), their_part, p)))] = (place, _third(which, len(ours[place])))
    return found


def _third(which: str, rows: int) -> slice:
    "The rows that the number in brackets means: one third of them, or all if there is none."
    return slice(int(which) * rows // 3, (int(which) + 1) * rows // 3) if which else slice(None)


def as_published(vae: AutoencoderKL) -> dict[str, Tensor]:
    "The tensors of a VAE by published name."
    own = vae.state_dict()
    return {name: own[at][rows] for name, (at, rows) in places(vae).items()}


# Settings


def arguments(
    config: Mapping[str, object],  # the config.json of a diffusers AutoencoderKL
) -> dict[str, object]:  # arguments of our AutoencoderKL
    "Translate a published configuration; refuse by name what our class does not do."
    c = judged('AutoencoderKL', config)
    for key, kind in (('down_block_types', 'DownEncoderBlock2D'), ('up_block_types', 'UpDecoderBlock2D')):
        if tuple(c[key]) != (kind,) * len(c['block_out_channels']):
            raise ValueError(f'{key} is {c[key]!r}, expected {len(c["block_out_channels"])} times {kind!r}')
    if c['use_quant_conv'] != c['use_post_quant_conv']:
        raise ValueError(f'use_quant_conv is {c["use_quant_conv"]} and use_post_quant_conv {c["use_post_quant_conv"]}, expected both or neither')
    scale, shift = c['scaling_factor'], c['shift_factor'] or 0.0
    if c['latents_mean'] is not None:  # then for each channel
        scale, shift = tuple(scale / s for s in c['latents_std']), tuple(c['latents_mean'])
    return {
        'in_channels': c['in_channels'], 'out_channels': c['out_channels'], 'channels': tuple(c['block_out_channels']),
        'blocks': c['layers_per_block'], 'latent_channels': c['latent_channels'], 'groups': c['norm_num_groups'],
        'attention': c['mid_block_add_attention'], 'mix': c['use_quant_conv'], 'scale': scale, 'shift': shift,
    }  # fmt: skip


def settings(
    vae: AutoencoderKL,
) -> dict[str, object]:  # in diffusers' words
    "Describe a VAE as diffusers does; refuse one that it does not have."
    a, levels = vae.arguments, len(vae.arguments['channels'])
    if not isinstance(a['scale'], (int, float)) or not isinstance(a['shift'], (int, float)):
        raise ValueError(f'scale is {a["scale"]} and shift {a["shift"]}; the published layout has one number for all channels')
    config = {
        '_class_name': 'AutoencoderKL', 'in_channels': a['in_channels'], 'out_channels': a['out_channels'], 'block_out_channels': list(a['channels']),
        'layers_per_block': a['blocks'], 'latent_channels': a['latent_channels'], 'norm_num_groups': a['groups'], 'scaling_factor': a['scale'],
        'shift_factor': a['shift'] or None, 'mid_block_add_attention': a['attention'], 'use_quant_conv': a['mix'], 'use_post_quant_conv': a['mix'],
        'down_block_types': ['DownEncoderBlock2D'] * levels, 'up_block_types': ['UpDecoderBlock2D'] * levels,
    }  # fmt: skip
    same_arguments({'eps': 1e-6} | arguments(config), a, vae)
    return config
