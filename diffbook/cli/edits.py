"""Draw, also from a picture: read it, noise it, and keep what is to stay."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diffbook.cli.app import note

if TYPE_CHECKING:
    from torch import Tensor

    from diffbook.core import Cond
    from diffbook.nets.vae import Codec
    from diffbook.stages import Stage

ROUNDS = 3  # how often RePaint walks each step of an inpainting


class Edit(NamedTuple):
    "A picture to start from, and what of it stays."

    picture: 'Tensor'  # (1, c, h, w) in [-1, 1]
    known: 'Tensor | None' = None  # (1, 1, h, w) bool: True where the picture stays
    strength: float = 1.0  # share of the steps that are walked


def open_edit(image: Path, mask: Path | None, strength: float | None, shape: tuple[int, ...], ground: str = 'white') -> Edit:
    "Read a picture, and a mask of the same size, as a model of images of `shape` takes them."
    from diffbook.data import to_model
    from diffbook.store.pictures import grey, middle, read_picture

    channels, side = shape[0], shape[1]
    whole = read_picture(image, ground=ground)
    pixels, given = middle(whole, side), whole.size
    picture = to_model(pixels if channels == 3 else grey(pixels))[None]
    known = None if mask is None else ~read_mask(mask, image, given, side)
    if given != (side, side):
        cut = 'its middle square is' if given[0] != given[1] else 'it is'
        note(f'{image} has {given[0]} x {given[1]} pixels: {cut} scaled to {side} x {side}, the size of the images that the model draws')
    return Edit(picture, known, (0.6 if mask is None else 1.0) if strength is None else strength)


def read_mask(mask: Path, image: Path, given: tuple[int, int], side: int) -> 'Tensor':
    "Where a mask is white, (1, 1, side, side), rounded outwards; it must be as large as the picture was."
    from diffbook.store.pictures import cover, middle_box, read_picture, white_of

    picture = read_picture(mask)
    if picture.size != given:
        raise ValueError(f'--mask {mask} has {picture.width} x {picture.height} pixels, expected {given[0]} x {given[1]} as --image {image}')
    left, top, right, bottom = middle_box(given)
    white = white_of(picture)[top:bottom, left:right]
    if not white.any():
        where = 'all over' if given[0] == given[1] else 'all over its middle square'
        raise ValueError(f'--mask {mask} is black {where}, which leaves nothing to draw; white marks what is drawn anew')
    if white.all():
        note(f'{mask} is white all over, or transparent, which counts as white: nothing of {image} stays')
    return cover(white, (side, side))[None, None]


def draw(
    stage: 'Stage', n: int, cond: 'Cond | None' = None, edit: 'Edit | None' = None, *, steps: int, seed: int, device: Any = None, batch: int = 64
) -> 'Tensor':
    "Draw n images in [-1, 1], (n, c, h, w), with a progress bar; image i is the same whatever n is."
    from diffbook.stages import gather

    walk = stage.sample if edit is None else partial(revise, stage, edit if stage.codec is None else encode_edit(stage.codec, edit))
    images = stage.decode(gather(walk, n, cond, steps=steps, seed=seed, device=device, batch=batch, progress=True), 32).cpu()
    return put_back(images if stage.codec is None else images.clamp(-1, 1), edit)


def encode_edit(codec: 'Codec', edit: Edit) -> Edit:
    "The same edit in latents; a cell stays if all its pixels do."
    import torch
    import torch.nn.functional as F

    with torch.inference_mode():
        latent = codec.encode(edit.picture.to(next(codec.parameters()).device)).cpu()
    return Edit(latent, None if edit.known is None else F.avg_pool2d(edit.known.float(), codec.factor) == 1, edit.strength)


def revise(stage: 'Stage', edit: Edit, n: int, cond: 'Cond | None' = None, *, seed: int, first: int, steps: int, device: Any) -> Iterator['Tensor']:
    "Start from a picture noised in part, and if some of it is to stay, put that back at every step."
    from diffbook.core import seeded_noise
    from diffbook.editing import repaint, start_from
    from diffbook.samplers import equip, sample

    noise = lambda purpose: seeded_noise(seed, purpose, first)  # noqa: E731
    picture, times = edit.picture.to(device), stage.times(stage.schedule, steps)
    x, times = start_from(stage.schedule, picture.expand(n, -1, -1, -1), times, edit.strength, noise=noise('start'))
    if edit.known is None:
        return sample(stage.denoise, stage.schedule, x, times, equip(stage.solver, noise=noise('sample')), cond)
    return repaint(stage.denoise, stage.schedule, x, times, picture, edit.known.to(device), cond, rounds=ROUNDS, solver=stage.solver, noise=noise('sample'))


def put_back(images: 'Tensor', edit: Edit | None) -> 'Tensor':
    "Put back, to the pixel, what was to stay."
    import torch

    return images if edit is None or edit.known is None else torch.where(edit.known, edit.picture, images)
