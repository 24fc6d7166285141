"""Low-rank changes that others wrote, in the names of peft, of diffusers (old and new) and of kohya: which of a model's layers they mean.

Every name of a file is one that we know, or the file is refused with that name: a LoRA of which a part is silently left out
draws something else than its maker saw.
"""

import importlib.resources
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..store.files import read_header, read_json, write_whole
from ..store.tensors import refuse_nan
from .fill import checked, same_names
from .original import original_names
from .tensors import read_tensors

Change = tuple[Tensor, Tensor, float]  # down (rank, in, ...), up (out, rank), alpha
FILES = ('adapter_model.safetensors', 'pytorch_lora_weights.safetensors', 'lora.safetensors')  # of peft, of diffusers, ours
ENDS = {'lora_A': 'down', 'lora_B': 'up', 'lora_down': 'down', 'lora_up': 'up', 'down': 'down', 'up': 'up'}
KEY = re.compile(r'(.+?)\.(?:lora_linear_layer\.|lora\.)?(lora_A|lora_B|lora_down|lora_up|down|up)(?:\.default)?\.weight')
OLD = {'to_q_lora': 'q_proj', 'to_k_lora': 'k_proj', 'to_v_lora': 'v_proj', 'to_out_lora': 'out_proj'}  # of text towers; of U-Nets the same without `_lora`
OTHERS = {
    'hada_': 'LoHa, a product of two low-rank changes', 'lokr_': 'LoKr, a Kronecker product', 'oft_': 'OFT, a rotation', 'lora_mid': 'a change through a small convolution',
    'dora_scale': 'DoRA, which also sets lengths', 'lora_magnitude_vector': 'DoRA, which also sets lengths', 'lora_embedding': 'a changed table of tokens',
    '.bias': 'a changed bias', '.diff': 'a whole change of a weight', 'lora_ga': 'GLoRA', 'boft_': 'BOFT, a rotation',
}  # fmt: skip


def find_file(path: str | Path) -> Path:
    "The file of a LoRA: itself, the one in a folder, or one of the zoo by its name."
    path, zoo = Path(path), Path(str(importlib.resources.files('diffbook'))) / 'zoo'
    path = zoo / path if not path.exists() and path.name == str(path) and (zoo / path / 'lora.safetensors').is_file() else path
    found = [path / name for name in FILES if (path / name).is_file()] if path.is_dir() else [path]
    if len(found) != 1 or not found[0].is_file() or found[0].suffix != '.safetensors':
        raise FileNotFoundError(f'{path} is no .safetensors file, and no folder with one of {", ".join(FILES)}')
    return found[0]


def alphas(file: Path) -> Mapping[str, object]:
    "What stands beside the tensors: peft's adapter_config.json, or what diffusers writes into the header; by part of the model."
    beside = file.parent / 'adapter_config.json'
    if file.name == FILES[0] and beside.is_file():
        return {'': read_json(beside)}
    said = read_header(file)[0].get('lora_adapter_metadata')
    parts: dict[str, dict] = {}
    try:
        words = json.loads(said or '{}')
    except ValueError as error:
        raise ValueError(f'{file}: lora_adapter_metadata is no JSON: {error}') from error
    for key, value in words.items() if isinstance(words, dict) else ():
        part, _, word = key.partition('.')
        parts.setdefault(part, {})[word] = value
    return parts


PARTS = {'UNet': 'unet', 'TextTower': 'text_encoder', 'DiT': 'transformer', 'MMDiT': 'transformer', 'Flux': 'transformer'}  # our class -> what files call it


def networks(model: nn.Module, tables: Mapping[type, ModuleType]) -> dict[str, tuple[str, dict[str, tuple[str, slice]]]]:
    "The networks in a model that have published names: part -> where it lies, and published layer -> our layer and its rows."
    found: dict[str, tuple[str, dict[str, tuple[str, slice]]]] = {}
    for at, module in model.named_modules():
        part, table = PARTS.get(type(module).__name__), tables.get(type(module))
        if part is None or table is None:
            continue
        towers = sum(name.startswith('text_encoder') for name in found)
        if tower := part == 'text_encoder':
            part += f'_{towers + 1}' * (towers > 0)
        places = {f'{begin}{k}': v for begin in ('text_model.', '') for k, v in same_names(module).items()} if tower else table.places(module)
        names = {k.removesuffix('.weight'): (to.removesuffix('.weight'), rows) for k, (to, rows) in places.items() if k.endswith('.weight')}
        found[part] = at, names
    return found


def spellings(part: str, layer: str, alone: bool) -> list[str]:
    "How files write a layer of a part."
    short = {'unet': ('unet',), 'transformer': ('unet', 'transformer'), 'text_encoder': ('te', 'te1'), 'text_encoder_2': ('te2',), 'text_encoder_3': ('te3',)}[
        part
    ]
    flat = layer.replace('.', '_')
    plain = [f'{part}.{layer}', *(f'lora_{word}_{flat}' for word in short)]
    return plain + [layer] * alone


def modern(key: str) -> str:
    "A name of older files in the words of newer ones."
    key = key.removeprefix('base_model.model.').replace('.processor.', '.')
    for old, new in OLD.items():
        if f'.{old}.' in key:
            within = new if 'self_attn' in key else old.removesuffix('_lora') + '.0' * (old == 'to_out_lora')
            key = key.replace(f'.{old}.', f'.{within}.lora.')
    return key


def gather(tensors: Mapping[str, Tensor], file: Path) -> dict[str, dict[str, Tensor]]:
    "Both matrices and alpha of each layer that a file names; a ValueError names what is no LoRA."
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind = next((said for mark, said in OTHERS.items() if mark in key), None)
        match = KEY.fullmatch(modern(key))
        if kind is None and match:
            found.setdefault(match[1], {})[ENDS[match[2]]] = value
        elif kind is None and key.endswith('.alpha') and value.numel() == 1:
            found.setdefault(modern(key.removesuffix('.alpha') + '.').rstrip('.').removesuffix('.lora'), {})['alpha'] = value
        else:
            raise ValueError(
                f'{file}: {key!r} is {kind or "no name of a LoRA"}, which is not followed; expected pairs such as x.lora_A.weight and x.lora_B.weight'
            )
    for layer, parts in found.items():
        if not {'down', 'up'} <= parts.keys():
            raise ValueError(f'{file}: {layer!r} has {" and ".join(sorted(parts))} alone, expected down and up')
    return found


def one_change(layer: str, parts: Mapping[str, Tensor], shape: torch.Size, said: Mapping[str, object], file: Path) -> Change:
    "The matrices of a layer in our form; alpha is the file's, else that of its settings, else the rank."
    down, up = (checked(parts[k], f'{layer}, {k}', file, torch.float32) for k in ('down', 'up'))
    kind = torch.promote_types(down.dtype, torch.float32)
    down, up = down.to(kind), up.to(kind)
    up = up.flatten(1) if up.shape[2:] in ((), (1, 1)) else up
    down = down[..., 0, 0] if len(shape) == 2 and down.shape[2:] == (1, 1) else down
    if down.shape[1:] != shape[1:] or up.shape != (shape[0], len(down)):
        raise ValueError(
            f'{file}: {layer!r} has down {tuple(parts["down"].shape)} and up {tuple(parts["up"].shape)}, expected a change of a weight {tuple(shape)}'
        )
    if 'alpha' in parts:
        return down, up, float(checked(parts['alpha'], f'{layer}, alpha', file, torch.float64))
    return down, up, _alpha(layer, len(down), said, file)


def _alpha(layer: str, rank: int, said: Mapping[str, object], file: Path) -> float:
    "What a file's settings say of a layer; the rank where they are silent, which is the gain one."
    own, alpha = said.get('alpha_pattern') or {}, said.get('lora_alpha')
    for name in own if isinstance(own, dict) else ():
        if not re.fullmatch(r'[\w.]+', name):
            raise ValueError(f'{file}: alpha_pattern has {name!r}, expected the names of layers; other patterns are not followed')
        alpha = own[name] if f'.{layer}'.endswith(f'.{name}') else alpha
    if alpha is None:
        return float(rank)
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise ValueError(f'{file}: alpha of {layer} is {alpha!r}, expected a number')
    return float(alpha) * (rank**0.5 if said.get('use_rslora') else 1.0)


def read(model: nn.Module, path: str | Path, tables: Mapping[type, ModuleType]) -> dict[str, Change]:  # by our layer
    "Read a LoRA for a model: of each layer one change, also where we keep several layers in one."
    file = find_file(path)
    own, nets, said = dict(model.named_modules()), networks(model, tables), alphas(file)
    known = {k: (k, slice(None), '') for k, m in own.items() if isinstance(m, (nn.Linear, nn.Conv2d))}
    for part, (at, names) in nets.items():
        first = original_names(names) if part == 'unet' and 'mid_block.resnets.0.conv1' in names else {}
        for layer, (ours, rows) in names.items():
            for spelled in (*spellings(part, layer, len(nets) == 1), f'lora_unet_{first.get(layer, layer)}'.replace('.', '_')):
                known[spelled] = f'{at}.{ours}'.lstrip('.'), rows, part
    pieces: dict[str, list] = {}
    for layer, parts in gather(read_tensors([file]), file).items():
        if layer not in known:
            raise ValueError(
                f'{file}: {layer!r} is no layer of this model; it has {", ".join(nets) or type(model).__name__}, with such as {next(iter(known), "none")}'
            )
        ours, rows, part = known[layer]
        if not isinstance(own.get(ours), (nn.Linear, nn.Conv2d)):
            raise ValueError(f'{file}: {layer!r} is a {type(own.get(ours)).__name__}, expected a linear layer or a convolution')
        pieces.setdefault(ours, []).append((rows, one_change(layer, parts, own[ours].weight[rows].shape, said.get(part, said.get('', {})), file)))
    return {ours: _joined(own[ours].weight, changes) for ours, changes in pieces.items()}


def _joined(weight: Tensor, changes: list[tuple[slice, Change]]) -> Change:
    "One change of a layer that holds several published ones: their ranks add up, and each writes its own rows."
    if len(changes) == 1 and changes[0][0] == slice(None):
        return changes[0][1]
    rank = sum(len(down) for _, (down, _, _) in changes)
    up, first = changes[0][1][1].new_zeros(len(weight), rank), 0
    for rows, (down, part, alpha) in changes:
        up[rows, first : first + len(down)] = part * (alpha / len(down))
        first += len(down)
    return torch.cat([down for _, (down, _, _) in changes]), up, float(rank)


def write(path: str | Path, changes: Mapping[str, Change], about: Mapping[str, object], dtype: torch.dtype | None) -> None:
    "Write changes by layer in the names of peft, with alpha beside them, which peft keeps elsewhere."
    if Path(path).suffix != '.safetensors':
        raise ValueError(f'the file is {path}, expected one that ends in .safetensors')
    tensors = {}
    for layer, (down, up, alpha) in changes.items():
        tensors |= {
            f'{layer}.lora_A.weight': down,
            f'{layer}.lora_B.weight': up if down.ndim == 2 else up[:, :, None, None],
            f'{layer}.alpha': torch.tensor(alpha),
        }
    shrunk = {k: v.detach().to('cpu', dtype if dtype and v.ndim else v.dtype).contiguous() for k, v in tensors.items()}
    refuse_nan(shrunk)
    write_whole(Path(path), save(shrunk, {'diffbook-lora': json.dumps(dict(about), sort_keys=True)}))


def about(path: str | Path) -> dict[str, object]:
    "What a file that we wrote says of itself; nothing, if another wrote it."
    said = read_header(find_file(path))[0].get('diffbook-lora', '{}')
    try:
        found = json.loads(said)
    except ValueError as error:
        raise ValueError(f'{path}: what it says of itself is no JSON: {error}') from error
    return found if isinstance(found, dict) else {}
