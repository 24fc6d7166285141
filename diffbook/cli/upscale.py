"""Enlarge what was drawn by a second model: `--upscale`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def upscale_images(name: str, images: 'Tensor', said: tuple[str, str], steps: int | None, seed: int, device: str | None) -> 'Tensor':
    "Draw images (n, c, h, w) in [-1, 1] again, larger, with an upscaler: one of this book, by folder or name, or a published one, told the prompt."
    import torch

    from diffbook.cascades import LowResolution, StableUpscaler, upscaling
    from diffbook.conditioning import Conditional
    from diffbook.training import load, pick_device

    place, (prompt, negative) = pick_device(device), said
    if (Path(name) / 'model_index.json').is_file():
        model = StableUpscaler.from_pretrained(name, torch.float16 if place.type == 'cuda' else None).to(place)
        small = (images.clamp(-1, 1) + 1) / 2
        large = [model(prompt, small[i : i + 1], negative, steps=steps or 30, seed=seed, first=i, output='tensor') for i in range(len(small))]
        return torch.cat([2 * x.float().cpu() - 1 for x in large])
    found = load(name)
    if not isinstance(found, Conditional) or not isinstance(found.conditioner, LowResolution):
        raise ValueError(
            f'--upscale is {name}, a {type(found).__name__} that is told no small picture; expected an upscaler, as tools/train_cascade.py makes one'
        )
    if tuple(images.shape[1:]) != found.conditioner.shape:
        raise ValueError(f'--upscale is {name}, which enlarges pictures of shape {found.conditioner.shape}, and those drawn have {tuple(images.shape[1:])}')
    stage, tell, small = *upscaling(found.to(place), seed=seed), images.clamp(-1, 1)
    return stage.draw(len(small), tell(small.to(place)), steps=steps or 10, seed=seed, device=place).cpu()
