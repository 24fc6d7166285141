"""The first code of Stable Diffusion, whose names one file with a whole model still has: the map to those of diffusers and
transformers, and the settings that can be read off the shapes.

What no shape shows is how many heads share the channels: 8 in version 1, one for each 64 channels in version 2.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from .families import text_names, vae_words

ORIGINAL_UNET = {  # the first code of Stable Diffusion -> diffusers; of two that fit, the later one holds
    'time_embed.0': 'time_embedding.linear_1',
    'time_embed.2': 'time_embedding.linear_2',
    'label_emb.0.0': 'add_embedding.linear_1',
    'label_emb.0.2': 'add_embedding.linear_2',
    'input_blocks.{i}.0': 'down_blocks.{level}.resnets.{n}',
    'input_blocks.{i}.1': 'down_blocks.{level}.attentions.{n}',
    'input_blocks.{next}.0': 'down_blocks.{level}.downsamplers.0',
    'input_blocks.0.0': 'conv_in',
    'middle_block.0': 'mid_block.resnets.0',
    'middle_block.1': 'mid_block.attentions.0',
    'middle_block.2': 'mid_block.resnets.1',
    'output_blocks.{j}.0': 'up_blocks.{level}.resnets.{n}',
    'output_blocks.{j}.1': 'up_blocks.{level}.attentions.{n}',
    'output_blocks.{last}.{after}': 'up_blocks.{level}.upsamplers.0',
    'out.0': 'conv_norm_out',
    'out.2': 'conv_out',
}
WITHIN_UNET = {  # within one of these
    'in_layers.0': 'norm1', 'in_layers.2': 'conv1', 'emb_layers.1': 'time_emb_proj', 'out_layers.0': 'norm2', 'out_layers.3': 'conv2',
    'skip_connection': 'conv_shortcut', 'op': 'conv',
}  # fmt: skip
ORIGINAL_VAE = {  # names that are missing here are the same
    'encoder.down.{level}.block.{n}': 'encoder.down_blocks.{level}.resnets.{n}',
    'encoder.down.{level}.downsample': 'encoder.down_blocks.{level}.downsamplers.0',
    'encoder.mid.block_1': 'encoder.mid_block.resnets.0',
    'encoder.mid.attn_1': 'encoder.mid_block.attentions.0',
    'encoder.mid.block_2': 'encoder.mid_block.resnets.1',
    'encoder.norm_out': 'encoder.conv_norm_out',
    'decoder.mid.block_1': 'decoder.mid_block.resnets.0',
    'decoder.mid.attn_1': 'decoder.mid_block.attentions.0',
    'decoder.mid.block_2': 'decoder.mid_block.resnets.1',
    'decoder.up.{level}.block.{n}': 'decoder.up_blocks.{mirror}.resnets.{n}',
    'decoder.up.{level}.upsample': 'decoder.up_blocks.{mirror}.upsamplers.0',
    'decoder.norm_out': 'decoder.conv_norm_out',
}
WITHIN_VAE = {'nin_shortcut': 'conv_shortcut', 'norm': 'group_norm', 'q': 'to_q', 'k': 'to_k', 'v': 'to_v', 'proj_out': 'to_out.0'}
ORIGINAL_TEXT = {  # OpenCLIP -> transformers
    'positional_embedding': 'embeddings.position_embedding.weight',
    'token_embedding': 'embeddings.token_embedding',
    'transformer.resblocks.{n}': 'encoder.layers.{n}',
    'ln_final': 'final_layer_norm',
}
WITHIN_TEXT = {
    'ln_1': 'layer_norm1', 'ln_2': 'layer_norm2', 'mlp.c_fc': 'mlp.fc1', 'mlp.c_proj': 'mlp.fc2', 'attn.out_proj': 'self_attn.out_proj',
    'attn.q': 'self_attn.q_proj', 'attn.k': 'self_attn.k_proj', 'attn.v': 'self_attn.v_proj',
}  # fmt: skip


def filled(table: Mapping[str, str], words: Iterable[Mapping[str, object]]) -> dict[str, str]:
    "Fill the words of a table of names in all ways."
    return {theirs.format(**w): name.format(**w) for theirs, name in table.items() for w in words}


def translated(name: str, blocks: Mapping[str, str], within: Mapping[str, str]) -> str:
    "Translate the longest beginning that the table knows, and what stands within it; what is not known stays."
    words = name.split('.')
    for n in range(len(words), 0, -1):
        if (head := '.'.join(words[:n])) in blocks:
            inner, _, parameter = '.'.join(words[n:]).rpartition('.')
            return '.'.join(filter(None, (blocks[head], within.get(inner, inner), parameter)))
    return name


def _levels(tensors: Mapping[str, Tensor]) -> list[list[int]]:
    "The numbers of the residual blocks of each level on the way down; a halving begins the next."
    levels = [[]]
    for i in range(1, len(tensors)):
        if f'input_blocks.{i}.0.op.weight' in tensors:
            levels.append([])
        elif f'input_blocks.{i}.0.out_layers.3.weight' in tensors:
            levels[-1].append(i)
    return levels


def _counts(count: int, reads: list[bool]) -> list[dict[str, int]]:
    "The words of ORIGINAL_UNET for `count` blocks a level, of which some read."
    step, last = count + 1, len(reads) - 1
    return [dict(level=k, n=n, i=k * step + n + 1, next=(k + 1) * step, j=k * step + n, last=k * step + count, after=1 + reads[last - k])
            for k in range(last + 1) for n in range(step)]  # fmt: skip


def original_names(layers: Collection[str]) -> dict[str, str]:
    "What the first code calls the layers of a U-Net of diffusers, by their names there; files of kohya's trainer for Stable Diffusion XL do too."
    numbers = lambda pattern: [int(found[1]) for found in map(re.compile(pattern).match, layers) if found]
    reads = [any(layer.startswith(f'down_blocks.{k}.attentions.') for layer in layers) for k in range(1 + max(numbers(r'down_blocks\.(\d+)')))]
    back = {name: theirs for theirs, name in filled(ORIGINAL_UNET, _counts(1 + max(numbers(r'down_blocks\.0\.resnets\.(\d+)')), reads)).items()}
    back |= {f'{name}.conv': f'{theirs}.op' for name, theirs in back.items() if 'downsamplers' in name}
    within = {name: theirs for theirs, name in WITHIN_UNET.items() if name != 'conv'}
    return {layer: translated(f'{layer}.weight', back, within).removesuffix('.weight') for layer in layers}


def unet(tensors: Mapping[str, Tensor], said: Mapping, *about: object) -> tuple[dict, dict[str, Tensor]]:  # configuration, tensors by diffusers' names
    "Read off the shapes what the configuration of a U-Net would say; heads are as in Stable Diffusion 1 (8) and 2 (64 channels each)."
    levels = _levels(tensors)
    channels = [len(tensors[f'input_blocks.{level[0]}.0.out_layers.3.weight']) for level in levels]
    reads = [f'input_blocks.{level[0]}.1.proj_in.weight' in tensors for level in levels]
    seq_dim = next(v.shape[1] for k, v in tensors.items() if k.endswith('attn2.to_k.weight'))
    config = {
        '_class_name': 'UNet2DConditionModel', 'block_out_channels': channels, 'layers_per_block': len(levels[0]), 'cross_attention_dim': seq_dim,
        'in_channels': tensors['input_blocks.0.0.weight'].shape[1], 'out_channels': len(tensors['out.2.weight']),
        'down_block_types': ['CrossAttnDownBlock2D' if r else 'DownBlock2D' for r in reads],
        'up_block_types': ['CrossAttnUpBlock2D' if r else 'UpBlock2D' for r in reversed(reads)],
        'attention_head_dim': 8 if seq_dim == 768 else [max(c // 64, 1) for c in channels],
    }  # fmt: skip
    blocks = filled(ORIGINAL_UNET, _counts(len(levels[0]), reads))
    return config | dict(said), {translated(k, blocks, WITHIN_UNET): v for k, v in tensors.items()}


def vae(tensors: Mapping[str, Tensor], said: Mapping, beside: Mapping[str, Tensor], file: Path) -> tuple[dict, dict[str, Tensor]]:
    "Read off the shapes what they show; scale and shift are the family's, see `vae_words`."
    levels = 1 + max(int(k.split('.')[2]) for k in tensors if k.startswith('encoder.down.'))
    blocks = 1 + max(int(k.split('.')[4]) for k in tensors if k.startswith('encoder.down.0.block.'))
    config = {
        '_class_name': 'AutoencoderKL', 'in_channels': tensors['encoder.conv_in.weight'].shape[1], 'out_channels': len(tensors['decoder.conv_out.weight']),
        'block_out_channels': [len(tensors[f'encoder.down.{k}.block.0.conv1.weight']) for k in range(levels)], 'layers_per_block': blocks,
        'latent_channels': tensors['decoder.conv_in.weight'].shape[1], 'use_quant_conv': 'quant_conv.weight' in tensors, 'use_post_quant_conv': 'post_quant_conv.weight' in tensors,
        'down_block_types': ['DownEncoderBlock2D'] * levels, 'up_block_types': ['UpDecoderBlock2D'] * levels,
    }  # fmt: skip
    names = filled(ORIGINAL_VAE, [dict(level=k, n=n, mirror=levels - 1 - k) for k in range(levels) for n in range(blocks + 1)])
    shape = config['latent_channels'], tuple(config['block_out_channels']), config['use_quant_conv']
    return config | vae_words(shape, beside, said, file) | dict(said), {translated(k, names, WITHIN_VAE): v for k, v in tensors.items()}


def open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    "OpenCLIP's text tower in transformers' names, up to the last block but one: what Stable Diffusion 2 was trained to read."
    count = 1 + max(int(k.split('.')[2]) for k in tensors if k.startswith('transformer.resblocks.'))
    unread = (f'transformer.resblocks.{count - 1}.', 'text_projection', 'logit_scale', 'attn_mask')
    names, found = filled(ORIGINAL_TEXT, [dict(n=n) for n in range(count)]), {}
    for name, value in tensors.items():
        if name.startswith(unread):
            continue
        block, fused, p = name.partition('attn.in_proj_')
        parts = zip(('q', 'k', 'v'), value.chunk(3)) if fused else [(None, value)]
        found |= {translated(f'{block}attn.{which}.{p}' if which else name, names, WITHIN_TEXT): v for which, v in parts}
    return found


def text(tensors: Mapping[str, Tensor], said: Mapping, beside: Mapping[str, Tensor], file: Path) -> tuple[dict, dict[str, Tensor]]:
    "Stable Diffusion 1 keeps CLIP in transformers' names, 2 keeps OpenCLIP, of which it does not use the last block."
    named = text_names(tensors, bool(beside), said, file)
    short, activation = named or (open_clip({k.removeprefix('model.'): v for k, v in tensors.items()}), 'gelu')
    width = short['embeddings.token_embedding.weight'].shape[1]
    config = {
        'architectures': ['CLIPTextModel'], 'hidden_size': width, 'intermediate_size': len(short['encoder.layers.0.mlp.fc1.weight']),
        'num_hidden_layers': 1 + max(int(k.split('.')[2]) for k in short if k.startswith('encoder.layers.')),
        'num_attention_heads': max(width // 64, 1), 'hidden_act': activation, 'eos_token_id': 2,
        'vocab_size': len(short['embeddings.token_embedding.weight']),
        'max_position_embeddings': len(short['embeddings.position_embedding.weight']),
    }  # fmt: skip
    return config | dict(said), short


def schedule(tensors: Mapping[str, Tensor], file: Path) -> dict:
    "Stable Diffusion's scheduler. Version 2 comes with two predictions, which no shape tells apart."
    widths = {v.shape[1] for k, v in tensors.items() if k.endswith('attn2.to_k.weight')}
    config = {'_class_name': 'DDIMScheduler', 'beta_schedule': 'scaled_linear', 'beta_start': 0.00085, 'beta_end': 0.012,
              'clip_sample': False, 'set_alpha_to_one': False, 'steps_offset': 1, 'prediction_type': 'epsilon'}  # fmt: skip
    return config if widths == {768} else config | {'prediction_type': f'not said by {file.name}: set prediction_type in config'}
