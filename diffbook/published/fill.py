"""Put published tensors into a model of ours: the one loader of what others wrote.

A model is built without memory. A published tensor that is one of ours is then assigned as it lies in the mapped file, and
no byte of it is read; where we keep several in one, or the kind of number changes, it is copied. Numbers are looked at when a
layer is first called, or when their kind changes: one that is not finite is refused, with its name and its file.
"""

import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..store.models import no_larger
from ..store.tensors import fit_names
from .reading import Published

Places = Mapping[str, tuple[str, slice]]  # published name -> our name, and which of its rows
Net = TypeVar('Net', bound=nn.Module)
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
CLASSES = 'class_embedding.weight'  # a table with a row for each class: our `cond`, told one-hot vectors, with no bias
OLD_NAMES = {'query': 'to_q', 'key': 'to_k', 'value': 'to_v', 'proj_attn': 'to_out.0'}  # of older files


class _Unfilled(TorchFunctionMode):
    "Skip the drawing of first weights: where there is no memory it draws nothing, and makes torch import its compiler."

    def __torch_function__(self, f, types, args=(), kwargs=None):
        if f in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return args[0] if args else kwargs['tensor']
        return f(*args, **(kwargs or {}))


def build(
    make: Callable[..., Net],
    arguments: Callable[[Mapping], Mapping],  # of `make`, from the settings
    found: Published,
) -> Net:
    "Make what settings describe, without memory for its weights; a ValueError names the file whose settings do not fit each other."
    try:
        with torch.device('meta'), _Unfilled(), no_larger(found.tensors):
            return make(**arguments(found.config))
    except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:  # what settings that do not fit each other lead to
        raise ValueError(f'{found.where}: {error}') from error


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    "Older files have other names of the parts of attention."
    return {'.'.join(OLD_NAMES.get(word, word) for word in k.split('.')): v for k, v in tensors.items()}


def same_names(model: nn.Module) -> Places:
    "The places of a model whose names are those of the files."
    return {k: (k, slice(None)) for k in model.state_dict()}


def fill(
    model: Net,  # made without memory, on the device 'meta'
    tensors: Mapping[str, Tensor],  # by published name
    places: Places,
    where: object,  # for messages
    dtype: torch.dtype | None = None,  # None: as stored
) -> Net:  # the same, in eval mode
    "Put published tensors into a model, all of them or none: names and shapes are compared first, and a ValueError lists what is wrong."
    own = model.state_dict()
    tensors = {k: as_ours(k, v, own[places[k][0]]) if k in places else v for k, v in tensors.items()}
    fit_names(tensors, {k: own[at] if rows == slice(None) else own[at][rows] for k, (at, rows) in places.items()}, where)
    kind = _common_dtype(tensors, where, dtype)
    _assign(model, _state(own, tensors, places, where, kind))
    look_later(model, {name: place for name, place in places.items() if tensors[name].dtype == kind and not tensors[name].is_meta}, where)
    return model.eval()


def _assign(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    "Put tensors in the place of parameters and buffers whose names and shapes were compared before."
    layers = dict(model.named_modules())
    for at, value in state.items():
        layer, _, name = at.rpartition('.')
        old = getattr(layers[layer], name)
        setattr(layers[layer], name, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value)


def as_ours(
    name: str,  # of a published tensor
    value: Tensor,  # the tensor
    own: Tensor,  # the parameter of ours that holds it
) -> Tensor:  # a view, in our form
    "Turn a kernel of one pixel into a matrix, and a table of classes into the columns of one."
    if name == CLASSES:
        return value.mT
    return value[..., 0, 0] if own.ndim == 2 and value.shape[2:] == (1, 1) else value


def _state(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], places: Places, where: object, dtype: torch.dtype) -> dict[str, Tensor]:
    "Gather what belongs to each of our parameters; one that nobody mentions, the bias of a table, is zero."
    parts: dict[str, list] = {at: [] for at in own}
    for name, (at, rows) in places.items():
        parts[at].append((rows, name))
    return {at: _join(pieces, tensors, own[at].shape, where, dtype) for at, pieces in parts.items()}


def _join(pieces: list[tuple[slice, str]], tensors: Mapping[str, Tensor], shape: torch.Size, where: object, dtype: torch.dtype) -> Tensor:
    if len(pieces) == 1:
        return _converted(tensors[pieces[0][1]], pieces[0][1], where, dtype)
    device = next(iter(tensors.values())).device
    if not pieces:
        return torch.zeros(shape, dtype=dtype, device=device)
    whole = torch.empty(shape, dtype=dtype, device=device)
    for rows, name in pieces:
        whole[rows] = _converted(tensors[name], name, where, dtype)
    return whole


def _converted(value: Tensor, name: str, where: object, dtype: torch.dtype) -> Tensor:
    return value if value.dtype == dtype else checked(value, name, where, dtype).to(dtype)


def _common_dtype(tensors: Mapping[str, Tensor], where: object, dtype: torch.dtype | None) -> torch.dtype:
    "The kind of number to load: what is asked for, else the widest that is stored."
    if dtype is not None and dtype not in FLOATS:
        raise ValueError(f'dtype is {dtype}, expected one of {", ".join(map(str, FLOATS))} or None')
    stored = {v.dtype for v in tensors.values()}
    if strange := stored - set(FLOATS):
        name = next(k for k, v in tensors.items() if v.dtype in strange)
        raise ValueError(f'{where}: {name!r} is {tensors[name].dtype}, expected one of {", ".join(map(str, FLOATS))}')
    return dtype or functools.reduce(torch.promote_types, stored)


# Numbers


def checked(value: Tensor, name: str, where: object, dtype: torch.dtype) -> Tensor:
    "Give back a tensor all of whose numbers are finite, and stay so in `dtype`; else raise a ValueError."
    if value.numel() and value.device.type != 'meta':
        least, most = (end.item() for end in value.aminmax())  # a NaN comes through; no copy is made
        if not (-float('inf') < least and most < float('inf')):
            raise ValueError(f'{where}: {name!r} holds {least if least != least or least == -float("inf") else most}, expected finite numbers')
        if max(-least, most) > torch.finfo(dtype).max:
            raise ValueError(f'{where}: {name!r} holds {max(-least, most):g}, too large for {dtype}; take torch.bfloat16 or torch.float32')
    return value


class FirstUse:
    "Look at the numbers of a layer when it, or what it is part of, is first called, and refuse those that are not finite; then nothing of this is left."

    def __init__(self, places: Places, where: object):  # of what was not looked at: published name -> the layer's own name, and which of its rows
        self.places, self.where = dict(places), where

    def __call__(self, module: nn.Module, given: object) -> None:
        if torch.compiler.is_compiling():
            return
        waiting = [(part, key, hook) for part in module.modules() for key, hook in part._forward_pre_hooks.items() if isinstance(hook, FirstUse)]
        for part, _, hook in waiting:
            for published, (name, rows) in hook.places.items():
                value = getattr(part, name).detach()
                checked(value[rows] if value.ndim else value, published, hook.where, value.dtype)
        for part, key, _ in waiting:
            del part._forward_pre_hooks[key]


def look_later(model: nn.Module, places: Places, where: object) -> None:
    "Have the numbers of `places` looked at when they are first used."
    above = {'.'.join(words[:n]) for words in (at.split('.')[:-1] for at, _ in places.values()) for n in range(len(words) + 1)}
    own: dict[str, dict[str, tuple[str, slice]]] = {at: {} for at in above}
    for published, (at, rows) in places.items():
        layer, _, name = at.rpartition('.')
        own[layer][published] = (name, rows)
    for at, module in model.named_modules():
        if at in own:
            module.register_forward_pre_hook(FirstUse(own[at], where))
