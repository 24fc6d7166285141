"""Published models: a folder of `model.safetensors`, which stands alone, and `config.json` beside it for people.

A configuration is data. It can name only what is on a closed list, so reading a stranger's model runs none of the stranger's
code; pickles, which can run any code at all, are refused by name.
"""

import importlib.resources
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as _tensors_of
from safetensors.torch import save as _bytes_of
from torch import Tensor, nn

from ..core import build, describe
from .checkpoints import checkpoints, our_header, sweep
from .files import make_folder, read_json, write_whole
from .hub import fetch_model, is_hub_name
from .tensors import fit_names, own_tensors, refuse_nan, sum_up

__all__ = ['PICKLES', 'save', 'load', 'read_model', 'find_model', 'no_larger']

PICKLES = ('.pt', '.pth', '.bin', '.ckpt', '.pkl', '.pickle')


def save(
    path: str | Path,
    model: nn.Module,
    about: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Publish a model. Raise a ValueError, before anything is written, if a part is not registered or a number not finite.

    path: a folder, made if need be; what else lies in it stays
    model: made of parts of the book, and of your own under `@register`
    about: plain data that a reader of the model may want to know
    dtype: of the stored weights; None: as they are
    """
    config = {'format': 1, 'model': describe(model), 'about': dict(about or {})}
    text = json.dumps(config, sort_keys=True, allow_nan=False)
    shrink = lambda v: v.to(dtype) if dtype and v.is_floating_point() else v
    tensors = {k: shrink(v).cpu().contiguous() for k, v in own_tensors(model).items()}
    refuse_nan(tensors)
    header = config | {'digest': sum_up(text, tensors)}
    data = _bytes_of(tensors, {'diffbook': json.dumps(header, sort_keys=True)})
    sweep(folder := make_folder(path))
    write_whole(folder / 'model.safetensors', data)
    write_whole(folder / 'config.json', (json.dumps(header, sort_keys=True, indent=1) + '\n').encode())


def load(path: str | Path) -> Any:  # the nn.Module in a folder, of a name in the zoo or of the Hub (user/name, user/name@revision), such as a Denoiser; in eval mode, on the CPU
    """Read a published model; what was told `about` it when it was saved is `model.about`.

    Raise a ValueError for unknown parts, for settings that make no model, and for tensors that do not fit, by name; raise a
    FileNotFoundError where there is no model. A network of your own is known once the module that registers it is imported.
    """
    config, tensors = read_model(path)
    try:
        with no_larger(tensors):
            model = build(config.get('model'))
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, RuntimeError, AssertionError) as error:  # what strange settings lead to
        raise ValueError(f'{path}, config.json: {error}') from error
    if not isinstance(model, nn.Module):
        raise ValueError(f'{path}, config.json: model is {config.get("model")!r}, expected an object with a type')
    own = own_tensors(model)
    fit_names(tensors, own, path)
    for name, value in own.items():
        value.copy_(tensors[name])
    model.about = config.get('about')
    return model.eval()


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:  # configuration, tensors
    "Read a published folder, or a model of the zoo; refuse what is damaged, incomplete or a pickle."
    path = find_model(path)
    file = path / 'model.safetensors'
    header = our_header(file)
    try:
        tensors = _tensors_of(file.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise ValueError(f'{file} is damaged or cut short: {error}') from error
    text = json.dumps({k: header.get(k) for k in ('format', 'model', 'about')}, sort_keys=True)
    if header.get('digest') != sum_up(text, tensors):
        raise ValueError(f'{file} is damaged, or was not written by diffbook: its tensors do not match its digest')
    return _config(path / 'config.json', header), tensors


def _config(file: Path, header: dict[str, Any]) -> dict[str, Any]:
    "The configuration beside the weights; that of the weights where a kill left an older one."
    config = read_json(file) if file.exists() else {}
    if config.get('digest') != header['digest']:
        warnings.warn(f'{file} belongs to other weights; using what stands in model.safetensors', stacklevel=3)
        return header
    unknown = config.keys() - header.keys()
    if unknown:
        raise ValueError(f'{file} holds the unknown key {min(unknown)!r}, expected {", ".join(header)}')
    return config


def find_model(
    name: str | Path,  # a folder, a name in the zoo, or user/name of the Hub, with @revision behind it
) -> Path:  # the folder
    "Find a published model; say what is wrong where there is none."
    path, zoo = Path(name), Path(str(importlib.resources.files('diffbook'))) / 'zoo'
    if path.suffix in PICKLES:
        raise ValueError(f'{path} is a pickle, which can run code when it is read; expected a folder with model.safetensors')
    for folder in (path, zoo / path) if path.name == str(name) else (path,):
        if (folder / 'model.safetensors').is_file():
            return folder
    if path.is_dir():
        pickles = [p.name for p in sorted(path.iterdir()) if p.suffix in PICKLES]
        also = f'; {pickles[0]} is a pickle and is not read' if pickles else ''
        also += '; it is a run that has not come to its first checkpoint' if checkpoints(path / 'checkpoints') else ''
        raise FileNotFoundError(f'{path} holds no model.safetensors{also}')
    if is_hub_name(name):
        return fetch_model(name)
    names = sorted(p.parent.name for p in zoo.glob('*/model.safetensors'))
    raise FileNotFoundError(f'there is no model {str(name)!r}; expected a folder with model.safetensors, or one of the zoo: {", ".join(names) or "empty"}')


@contextmanager
def no_larger(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    "Stop the making of a model as soon as it holds far more numbers, or parts, than the file it is to be filled from."
    room = [2 * sum(v.numel() for v in tensors.values()) + (1 << 20), 4 * len(tensors) + 1000]

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        if parameter is not None:
            room[0], room[1] = room[0] - parameter.numel(), room[1] - 1
        if min(room) < 0:
            raise ValueError(f'the settings describe a model of more numbers than the file holds, from {name} {tuple(parameter.shape)} of {type(module).__name__} on')

    handle = nn.modules.module.register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
