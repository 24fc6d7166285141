"""What `diffbook evaluate` compares with: the pictures, classes and captions of a data set, in the shape of the model; and what is a copy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffbook.cli.app import load_images, note, noted, say
from diffbook.cli.prompts import reader_of, reads_classes, tell

if TYPE_CHECKING:
    from torch import Tensor

    from diffbook.cli.models import Opened
    from diffbook.core import Cond
    from diffbook.data import Dataset
    from diffbook.stages import Stage

NEAR = 0.01  # of real pictures that are as near to a training picture as what counts as a copy


def is_folder(data: str) -> bool:
    "Whether --data is a folder of images, and no name of a data set."
    from diffbook.data import SOURCES

    return data not in ('shapes', *SOURCES) and Path(data).is_dir()


def real_data(data: str, splits: tuple[str, ...], shape: tuple[int, ...], root: Path | None, seed: int) -> list['Dataset']:
    "The data of each split; those of a folder in the shape of the model, and without sub-folders for splits all of them, cut into as many parts."
    if not is_folder(data):
        return [load_images(data, split, root, None) for split in splits]
    from dataclasses import replace

    import torch

    from diffbook.core import generator
    from diffbook.data import read_folder, subset
    from diffbook.store.folders import has_splits
    from diffbook.store.pictures import grey

    if len(shape) != 3 or shape[1] != shape[2] or shape[0] not in (1, 3):
        raise ValueError(f'the model draws images of shape {shape}, and a folder is read as squares in grey or colour')
    whole = not has_splits(data)
    with noted():
        found = [read_folder(data, shape[1], split=None if whole else split) for split in (splits[:1] if whole else splits)]
    found = [replace(each, images=grey(each.images)) for each in found] if shape[0] == 1 else found
    if whole:
        parts = ', one half beside the other' * (len(splits) > 1)
        note(f'{data} has no sub-folders train and test: all of its {len(found[0]):,} images are taken{parts}, also those that the model was trained on')
        order = torch.randperm(len(found[0]), generator=generator(seed, 'halves'))
        found = [subset(found[0], part) for part in order.tensor_split(len(splits))]
    say(f'{sum(map(len, found)):,} images of {data}, read as {" x ".join(map(str, shape))}, as the model draws')
    return found


def apportioned(counts: 'Tensor', n: int) -> 'Tensor':  # (n,) whole numbers
    "Numbers from 0 in the proportions of their counts, as exactly as n allows (the largest remainders are rounded up)."
    import torch

    share = counts.double() * n / counts.sum()
    whole = share.floor().long()
    whole[(share - whole).argsort(descending=True, stable=True)[: n - int(whole.sum())]] += 1
    return torch.arange(len(counts)).repeat_interleave(whole)


def labels_of(opened: 'Opened', data: 'Dataset') -> 'Tensor':  # (n,) in the numbers of the model
    "The class of each picture of a data set, as the model numbers it."
    import torch

    knows = [str(name) for name in opened.about.get('classes', range(opened.model.conditioner.classes))]
    if data.labels is None or data.labels.ndim != 1:
        raise ValueError(
            f'{opened.name} draws by class, and {data.name} has no classes; expected a folder with a sub-folder for each of {", ".join(knows[:12])}'
        )
    names = [data.classes[k] if k >= 0 else 'unsorted' for k in range(-1, len(data.classes))]
    there = {names[k + 1] for k in data.labels.unique().tolist()}
    if strange := sorted(there - {*knows}):
        raise ValueError(f'{data.name} has the class {strange[0]}, which {opened.name} was not taught; it knows {", ".join(knows[:50])}')
    return torch.tensor([knows.index(name) if name in knows else -1 for name in names])[data.labels + 1]


def asked_as(opened: 'Opened', parts: Sequence['Dataset'], n: int, guidance: float | None) -> tuple['Stage', 'Cond | None', float | None]:
    "What n samples are asked for, so that they may be held against these data: their classes in proportion, or their captions."
    import torch

    if reads_classes(opened.model):
        from dataclasses import replace

        from diffbook.guidance import guide

        guidance = 1.0 if guidance is None else guidance  # the law that was learned: more would narrow it
        labels = torch.cat([labels_of(opened, data) for data in parts])
        raw = apportioned(labels.bincount(minlength=opened.model.conditioner.classes), n)
        with torch.inference_mode():
            cond, null = opened.model.condition(raw), opened.model.null(1)
        return (replace(opened.stage, denoise=guide(opened.stage.denoise, null, guidance)) if guidance != 1 else opened.stage), cond, guidance
    if reader_of(opened.model) is not None:
        data = parts[0]
        if data.captions is None:
            note(f'{data.name} has no captions: the samples are drawn without')
            return opened.stage, None, None
        guidance = 2.0 if guidance is None else guidance
        texts = [data.captions[k * len(data) // n] for k in range(n)]
        return *tell(opened.stage, opened.model, texts, '', guidance), guidance
    return opened.stage, None, None


def apart(x: 'Tensor', rows: int = 200, at_most: int = 2000) -> 'Tensor':
    "How far some pictures of a set are from the nearest other one; those that stand there twice are left out."
    import torch

    step, found = max(1, len(x) // at_most), []
    for first in range(0, len(x), step * rows):
        part = torch.arange(first, min(len(x), first + step * rows), step)
        far = torch.cdist(x[part], x, compute_mode='donot_use_mm_for_euclid_dist')
        far[torch.arange(len(part)), part] = torch.inf
        found.append(far.amin(1))
    far = torch.cat(found)
    return far[far > 0]


def copies(fake: 'Tensor', train: 'Tensor', held: 'Tensor | None') -> dict[str, float]:  # of features
    """How many samples are nearer to a training picture than one real picture in a hundred, and as the floor how many real ones are.

    The limit is set by every other real picture, and the floor counted on the rest. Without pictures that were held out, the
    real ones are the training pictures, each held against all others.
    """
    import torch

    from diffbook.metrics import nearest

    far = apart(train) if held is None else nearest(held, train)[0]
    if len(far) < 4:
        return {}
    limit = torch.quantile(far[::2], NEAR)
    share = lambda distance: (distance < limit).double().mean().item()  # noqa: E731
    return {'copies': share(nearest(fake, train)[0]), 'copies_floor': share(far[1::2])}
