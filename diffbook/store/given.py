"""What a caller gives and takes: pictures of Pillow, one or several, or tensors; masks; sizes; texts.

A picture of Pillow is shown as it was meant: upright if its camera says how, and on white where it is transparent. In a
mask white marks what is meant, and grey counts as white from the middle on.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor

from .pictures import flatten

Picture = Image.Image | Sequence[Image.Image] | Tensor


def as_picture(image: Picture | None) -> Tensor | None:
    "Pictures in the units of a model, (b, c, h, w) in [-1, 1]; a ValueError says why they are none."
    if image is None:
        return None
    x = _unit_tensor('image', image, 'RGB')
    if x.ndim != 4:
        raise ValueError(f'image has shape {tuple(x.shape)}, expected (b, 3, h, w)')
    return 2 * x - 1


def as_mask(mask: Picture | None) -> Tensor | None:
    "Where a mask is white, (b, 1, h, w) bool; a ValueError says why it is none."
    if mask is None:
        return None
    x = _unit_tensor('mask', mask, 'L')
    x = x.reshape(1, 1, *x.shape) if x.ndim == 2 else x[None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f'mask has shape {tuple(x.shape)}, expected (h, w) or (b, 1, h, w)')
    return x >= 0.5


def to_pil(x: Tensor) -> list[Image.Image]:
    "Turn pictures (b, 3, h, w) in [0, 1] into PIL images."
    return [Image.fromarray(v) for v in (x.float() * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()]


def _unit_tensor(name: str, value: Picture, mode: str) -> Tensor:
    "Pictures as a tensor (b, c, h, w) with values in [0, 1]."
    several = list(value) if isinstance(value, (list, tuple)) else [value]
    if all(isinstance(v, Image.Image) for v in several) and several:
        shown = [_shown(name, v, mode) for v in several]
        if len(sizes := {(v.shape[2], v.shape[1]) for v in shown}) > 1:
            raise ValueError(f'{name} holds pictures of the sizes {sorted(sizes)}, expected one size')
        return torch.stack(shown).double() / 255
    if not isinstance(value, Tensor):
        raise ValueError(f'{name} is of type {type(value).__name__}, expected a PIL image, a list of them, or a tensor')
    low, high = (value.double().min().item(), value.double().max().item()) if value.numel() else (math.nan, math.nan)
    if not (0 <= low and high <= 1):
        raise ValueError(f'{name} holds values from {low:g} to {high:g}, expected 0 to 1')
    return value if value.is_floating_point() else value.double()


def _shown(name: str, image: Image.Image, mode: str) -> Tensor:  # (c, h, w) uint8
    "A picture in bytes; what its file lacks is said of it."
    try:
        pixels = torch.from_numpy(numpy.array(flatten(image).convert(mode)))
    except (ValueError, OSError) as error:
        raise ValueError(f'{name} cannot be read: {error}') from error
    return pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1)


def check_size(size: Sequence[int], factor: int) -> None:
    "Raise a ValueError unless height and width are multiples of `factor`; it names those that are near."
    for name, side in zip(('height', 'width'), size):
        if isinstance(side, bool) or not isinstance(side, int) or side < factor or side % factor:
            raise ValueError(f'{name} is {side!r}, expected a multiple of {factor}{_near(side, factor)}')


def check_fit(size: tuple[int, int], n: int, picture: Tensor | None, hole: Tensor | None) -> None:
    "Raise a ValueError unless picture and mask have this height and width, and are one or n; a mask must mark something, of a picture."
    if hole is not None and picture is None:
        raise ValueError('there is a mask and no image, expected both')
    for name, x in (('image', picture), ('mask', hole)):
        if x is not None and (tuple(x.shape[2:]) != size or len(x) not in (1, n)):
            raise ValueError(f'{name} holds {len(x)} of {x.shape[2]} x {x.shape[3]} pixels, expected 1 or {n} of {size[0]} x {size[1]}')
    if hole is not None and not hole.flatten(1).any(1).all():
        raise ValueError('mask marks nothing to paint: half or more of white, 1 or True is painted anew, and it has none')


def one_of(name: str, value: str, known: Mapping[str, Any]) -> Any:
    "What a word stands for, or a ValueError with the words that are known."
    if value not in known:
        raise ValueError(f'{name} is {value!r}, expected {", ".join(known)}')
    return known[value]


def _near(side: float, factor: int) -> str:
    low = int(side // factor * factor)
    near = sorted({max(low, factor), max(low + factor, factor)})
    return f'; the nearest are {" and ".join(map(str, near))}' if len(near) > 1 else f'; the nearest is {near[0]}'


def as_texts(name: str, value: str | Sequence[str], n: int | None = None) -> list[str]:
    "One text or several as a list, where one serves all n; a ValueError for anything else."
    texts = [value] * (n or 1) if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not texts:
        raise ValueError(f'{name} is {value!r}, of type {type(value).__name__}, expected a text or a list of texts')
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise ValueError(f'{name} holds {wrong[0]!r}, of type {type(wrong[0]).__name__}, expected texts')
    if n is not None and len(texts) != n:
        raise ValueError(f'{name} holds {len(texts)} texts, expected one, or one for each of the {n} prompts')
    return list(texts)
