"""What steers a network in diffusers, ControlNetModel and the files of IP-Adapter: their names and their settings."""

from collections.abc import Mapping
from pathlib import Path

from ..control import ControlNet, IPAdapter
from . import unet
from .fill import Places
from .reading import Published
from .tensors import read_tensors

OWN = {  # settings that a ControlNet has beside those of a U-Net -> what it means when it is silent
    'conditioning_channels': 3,
    'conditioning_embedding_out_channels': (16, 32, 96, 256),
    'controlnet_conditioning_channel_order': 'rgb',
    'global_pool_conditions': False,
}
REFUSED = {'controlnet_conditioning_channel_order': 'hints with red and blue exchanged', 'global_pool_conditions': 'outputs that are averaged over the picture'}
HINT = {'conv_in': 'enter', 'blocks': 'halve', 'conv_out': 'leave'}  # of `controlnet_cond_embedding` -> of ours


def arguments(
    config: Mapping[str, object],  # the config.json of a diffusers ControlNetModel
) -> dict[str, object]:  # arguments of ControlNet
    "Translate a published configuration; refuse by name what our class does not do."
    own = OWN | {k: v for k, v in config.items() if k in OWN}
    for key, why in REFUSED.items():
        if own[key] != OWN[key]:
            raise ValueError(f'{key} is {own[key]!r}, expected {OWN[key]!r} ({why})')
    widths, channels = own['conditioning_embedding_out_channels'], own['conditioning_channels']
    if not isinstance(widths, list | tuple) or not 0 < len(widths) <= 8 or not all(type(v) is int and v > 0 for v in (*widths, channels)):
        raise ValueError(f'conditioning_embedding_out_channels is {repr(widths)[:100]} and conditioning_channels {channels!r}, expected numbers of channels')
    down = config.get('down_block_types', ('CrossAttnDownBlock2D',) * 3 + ('DownBlock2D',))
    up = [str(kind).replace('Down', 'Up') for kind in reversed(list(down))]  # it has no way up, and would have the mirrored one
    told = {k: v for k, v in config.items() if k not in OWN} | {'down_block_types': down, 'up_block_types': up, '_class_name': 'UNet2DConditionModel'}
    told |= {'out_channels': config.get('in_channels', 4)}
    return {'hint_channels': channels, 'hint_widths': tuple(widths), **unet.arguments(told)}


def places(net: ControlNet) -> Places:
    "The published names of a ControlNet and where they lie in ours."
    found = {name: (f'encoder.{at}', rows) for name, (at, rows) in unet.places(net.encoder).items()}
    own = net.state_dict()
    for theirs, ours in HINT.items():
        begin = f'hint.{ours}.'
        found |= {f'controlnet_cond_embedding.{theirs}.{k.removeprefix(begin)}': (k, slice(None)) for k in own if k.startswith(begin)}
    for i in range(len(net.zeros)):
        name = f'controlnet_down_blocks.{i}' if i < len(net.zeros) - 1 else 'controlnet_mid_block'
        found |= {f'{name}.{p}': (f'zeros.{i}.{p}', slice(None)) for p in ('weight', 'bias')}
    return found


# IP-Adapter


def ip_read(file: str | Path) -> Published:
    "Read the file of an IP-Adapter for Stable Diffusion; what it is made of stands in its shapes."
    if Path(file).suffix != '.safetensors' or not Path(file).is_file():
        raise FileNotFoundError(f'there is no file {file}; expected an IP-Adapter as .safetensors, such as ip-adapter_sd15.safetensors')
    return Published({}, read_tensors([file]), Path(file))


def ip_arguments(found: Published) -> dict[str, object]:
    "Arguments of IPAdapter, by the shapes of its file."
    tensors = found.tensors
    if missing := [k for k in ('image_proj.proj.weight', 'image_proj.norm.weight') if k not in tensors or tensors[k].ndim != (2 if 'proj.w' in k else 1)]:
        raise ValueError(
            f'{found.where} lacks {missing[0]!r}: expected the plain IP-Adapter, one projection and a norm; those with patches or faces are of another build'
        )
    rows, dim = tensors['image_proj.proj.weight'].shape
    seq_dim = len(tensors['image_proj.norm.weight'])
    widths = tuple(len(tensors[f'ip_adapter.{n}.to_k_ip.weight']) for n in ip_numbers(tensors))
    return {'dim': dim, 'seq_dim': seq_dim, 'widths': widths, 'tokens': rows // seq_dim}


def ip_numbers(tensors: Mapping) -> list[int]:
    "The numbers of the readers: all attentions are counted, those that read the picture itself too, so that they are odd."
    return sorted(int(k.split('.')[1]) for k in tensors if k.startswith('ip_adapter.') and k.endswith('.to_k_ip.weight') and k.split('.')[1].isdecimal())


def ip_places(adapter: IPAdapter, tensors: Mapping) -> Places:
    "The names in an IP-Adapter's file and where they lie in ours."
    found = {f'image_proj.{a}.{p}': (f'{b}.{p}', slice(None)) for a, b in (('proj', 'project'), ('norm', 'norm')) for p in ('weight', 'bias')}
    for i, n in enumerate(ip_numbers(tensors)):
        c = adapter.kv[i].out_features // 2
        found |= {f'ip_adapter.{n}.to_{w}_ip.weight': (f'kv.{i}.weight', slice(k * c, (k + 1) * c)) for k, w in enumerate('kv')}
    return found
