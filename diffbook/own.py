"""Pictures of one's own: what to train on them in the time there is. The command line and chapter 47 ask here.

    draw_digits('digits')                       a folder to try this on: ten classes of pictures
    found = look('my/pictures')                 how many, how large, grey or in colour, of which classes
    choice = choose(found, minutes=15)          a network that has time to learn them, from a measured step
    data = read(found, choice)                  the pictures, as a data set
    recipe = own_recipe(choice)                 all that makes a model of them

Every number of a choice can be said beforehand, `choose(found, width=32)`, and is then left as it is.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from diffbook.conditioning import ClassConditioner, Conditional, TextConditioner
from diffbook.core import Rows, build, describe, draw_rows
from diffbook.data import Dataset
from diffbook.losses import Denoiser, clipped_snr, log_normal_draw, logit_normal_draw
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v, predict_x0
from diffbook.recipes import OPTIMIZERS, Reader, Recipe, own_reader, widths_of
from diffbook.schedules import KarrasSchedule
from diffbook.store.digits import draw_digits
from diffbook.store.own import FITS, Look, look, read_own
from diffbook.training import load, read_model

__all__ = ['FITS', 'Choice', 'Look', 'PREDICTIONS', 'begin_from', 'changed', 'choose', 'draw_digits', 'expected_updates', 'look', 'own_recipe', 'read', 'read_as', 'seen', 'shape_of', 'step_seconds']

PREDICTIONS = {'v': predict_v, 'x0': predict_x0}  # eps says nothing of the picture where all is noise, and there this schedule begins
NETS = ((96, 2), (64, 2), (48, 2), (32, 2), (32, 1), (16, 1))  # width and depth, from the largest; each about half the work of the one before
GRID = 16  # cells that a network sees along a side
UPDATES = 3000  # that a network should have, of BATCH pictures each; a third of them draw what can be recognised
BATCH = 32
SIDES = (64, 48, 32, 24, 16)  # of pictures that are larger


@dataclass(frozen=True)
class Choice:
    "What is trained, and for how long."

    size: int  # height and width of a picture
    channels: int  # 1: grey
    width: int  # channels of the finest level of the network
    depth: int  # residual blocks of its coarser level
    patch: int  # side of the squares of pixels that it sees as one cell
    batch_size: int
    reads: str | None = None  # 'classes' or 'captions'
    minutes: float | None = None
    steps: int | None = None  # updates, as they were asked for, or as they are expected in the minutes
    seconds: float | None = None  # that an update takes here

    def passes(self, n: int) -> float:
        "How often each of n pictures is seen, in the mean."
        return self.steps * self.batch_size / n


def expected_updates(
    made: float,  # updates so far
    seconds: float,  # that they took
    total: float,  # seconds in all
) -> float:
    "How many updates there will be in all, if they go on as fast."
    return made * total / seconds


def side_of(found: Look) -> int:
    "The size at which a folder is learned if there is time: its own, a multiple of 4, up to 64."
    return max(8, min(SIDES[0], 4 * math.ceil(found.side / 4)))


def patch_of(size: int) -> int:
    "The squares that leave about GRID cells along a side, and that halve once more."
    fitting = [patch for patch in (1, 2, 4, 8) if size % (2 * patch) == 0]
    return min(fitting, key=lambda patch: abs(math.log(size / patch / GRID)))


def own_net(choice: Choice, dropout: float = 0.0) -> Callable[..., UNet]:
    "A U-Net of two levels; a text is read at the coarser one."
    width, heads = choice.width, max(1, choice.width // 16)
    where = (0, heads, heads) if choice.reads == 'captions' else (0, 0, heads)
    return lambda shape, **sizes: UNet(
        shape[0], channels=(width, 2 * width), blocks=(1, choice.depth), heads=where, patch=choice.patch, groups=8, dropout=dropout, **sizes
    )


def class_reader(found: Dataset) -> ClassConditioner:
    return ClassConditioner(len(found.classes), 64)


def own_recipe(
    choice: Choice,
    *,
    dropout: float = 0.0,
    fit: str = 'centre',  # random: see a window that moves
    **changes: Any,  # see changed
) -> Recipe:
    "All that makes a model of pictures of one's own: x0 on the cosine schedule, which is clean early, at times of middling noise."
    reader = {None: None, 'classes': class_reader, 'captions': own_reader}[choice.reads]
    moves = fit == 'random'
    made = Recipe(
        own_net(choice, dropout), prediction=predict_x0, weight=clipped_snr, draw=logit_normal_draw, reader=reader, batch=choice.batch_size, weight_decay=0.01,
        view=partial(seen, size=choice.size) if moves else None, shape=(choice.channels, choice.size, choice.size) if moves else None,
    )  # fmt: skip
    return changed(made, **changes)


def changed(
    made: Recipe,
    *,
    prediction: str | None = None,  # one of PREDICTIONS
    snr_weight: bool | None = None,  # weigh the error by the signal-to-noise ratio, up to a limit; None: with x0
    drop: float | None = None,  # how likely a picture is to lose its class or caption
    flip: bool = False,  # see mirror images too
    weight_decay: float | None = None,
    optimizer: str | None = None,  # one of OPTIMIZERS
) -> Recipe:
    "Change what is said of a recipe, and leave the rest."
    if prediction is not None:
        if prediction not in PREDICTIONS:
            raise ValueError(f'--prediction is {prediction}, expected {", ".join(PREDICTIONS)}')
        made = replace(made, prediction=PREDICTIONS[prediction], weight=clipped_snr if prediction == 'x0' else None)
    if snr_weight is not None:
        made = replace(made, weight=clipped_snr if snr_weight else None)
    made = replace(made, drop=made.drop if drop is None else drop, weight_decay=made.weight_decay if weight_decay is None else weight_decay)
    if optimizer is not None:
        made = replace(made, optimizer=OPTIMIZERS[optimizer])
    return replace(made, view=partial(made.view or seen, flip=True)) if flip else made


def seen(images: Tensor, generator: torch.Generator | Rows, *, flip: bool = False, size: int | None = None) -> Tensor:  # (b, c, size, size)
    "What is seen of pictures this time: a window somewhere in each, or its mirror image."
    n, side, device = len(images), images.shape[-1], images.device
    if size is not None and size < side:
        draw = lambda n, g: torch.randint(side - size + 1, (n, 2), generator=g, device=g.device)  # noqa: E731
        corner = draw_rows(draw, n, generator).to(device)
        rows, columns = (corner[:, k, None] + torch.arange(size, device=device) for k in range(2))
        images = images[torch.arange(n, device=device)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if flip:
        turned = draw_rows(lambda n, g: torch.rand(n, generator=g, device=g.device), n, generator).to(device) < 0.5
        images = torch.where(turned[:, None, None, None], images.flip(-1), images)
    return images


def step_seconds(
    choice: Choice,
    device: str | torch.device | None = None,
    least: float = 0.4,  # seconds to look for
    begin: str | None = None,  # a model to begin with
) -> float:
    "Measure an update: the fastest of a few, as what else the machine does only adds."
    shape = (choice.batch_size, choice.channels, choice.size, choice.size)
    images = torch.zeros(shape, dtype=torch.uint8)
    told = {'captions': tuple(f'a picture of {k}' for k in range(len(images)))} if choice.reads == 'captions' else {}
    told = {'labels': torch.arange(len(images)) % 2, 'classes': ('a', 'b')} if choice.reads == 'classes' else told
    found, made = Dataset(images, **told), own_recipe(choice)
    model = made.model(found) if begin is None else begin_from(begin, made, found, 0)[0]
    trainer = made.trainer(model, device=device)
    batch = tuple(part.to(trainer.device) for part in made.examples(found, model))
    times, end = [], math.inf
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 20):
        start = time.perf_counter()
        trainer.update(batch).loss.item()
        times.append(time.perf_counter() - start)
        end = min(end, time.perf_counter() + least)  # the first warms up, and does not count
    return min(times[1:])


def choose(
    found: Look,
    minutes: float | None = 15.0,
    *,
    steps: int | None = None,  # updates to make, instead of minutes; nothing is measured then
    reads: str | None = None,  # classes or captions
    grey: bool | None = None,  # None: if no picture has colour
    size: int | None = None,  # what is said is left as it is, here and below
    width: int | None = None,
    depth: int | None = None,
    patch: int | None = None,
    batch_size: int | None = None,
    measure: Callable[[Choice], float] | None = step_seconds,  # None: nothing is measured, and a middling network is taken
) -> Choice:
    "Choose size, network and batch so that the minutes suffice: the largest network that can make enough updates, and smaller pictures if none can."
    channels = 1 if (found.grey if grey is None else grey) else 3
    first = side_of(found)
    sides = [size] if size else [first, *(side for side in SIDES[1:] if side < first)]
    nets = [net for net in NETS if width in (None, net[0]) and depth in (None, net[1])] or [(width or 64, depth or 2)]

    def made(side: int, net: tuple[int, int]) -> Choice:
        return Choice(side, channels, *net, patch or patch_of(side), batch_size or BATCH, reads, minutes if steps is None else None, steps)

    if steps is not None or measure is None:
        return made(sides[0], (64, 2) if (64, 2) in nets else nets[0])
    time_left, best = 54.0 * minutes, None  # a tenth of it for all that is no update
    for side in sides:
        for net in nets:
            if net == NETS[-1] and len(nets) > 1 and side != sides[-1]:
                continue  # smaller pictures by a larger network are better than that
            choice = made(side, net)
            seconds = measure(choice)
            choice = replace(choice, seconds=seconds, steps=max(1, int(time_left / seconds)))
            best = choice if best is None or choice.steps > best.steps else best
            if choice.steps * choice.batch_size >= UPDATES * BATCH:
                return larger_batch(choice) if batch_size is None else choice
    return best


def larger_batch(choice: Choice) -> Choice:
    "Double the batch while there are updates to spare; the work of an update is taken to grow as fast."
    while choice.batch_size < 128 and choice.steps >= 4 * UPDATES:
        choice = replace(choice, batch_size=2 * choice.batch_size, steps=choice.steps // 2, seconds=2 * choice.seconds)
    return choice


def read(
    found: Look,
    choice: Choice,
    *,
    fit: str = 'centre',  # one of FITS
    ground: str = 'white',
    captions: str | None = None,  # metadata, txt or names: where they are; None: wherever
    skip_broken: bool = False,
    cache: str | Path | None = None,  # a folder, for more than fits in memory
) -> Dataset:
    "Read pictures as a choice says."
    return read_as(found, choice.size, choice.channels == 1, choice.reads, fit=fit, ground=ground, captions=captions, skip_broken=skip_broken, cache=cache)[0]


def read_as(
    found: Look, size: int, grey: bool, reads: str | None, *, captions: str | None = None, **how: Any  # of read_own
) -> tuple[Dataset, list[str]]:  # the pictures, and what there is to say  # fmt: skip
    "Read pictures with the classes or captions that a model is to be told; those of no class are of one called `unsorted`."
    got = read_own(found, size, grey_out=grey, captions=(captions or True) if reads == 'captions' else None, **how)
    labels, classes = got.labels, got.classes
    if labels is not None and (labels < 0).any():
        classes = (*classes, 'unsorted')
        labels = torch.where(labels < 0, len(classes) - 1, labels)
    return Dataset(cast(Tensor, got.images), labels, got.captions, Path(found.root).resolve().name, classes), got.said


def shape_of(name: str) -> tuple[int, int]:  # channels, side
    "What a model draws that is to be begun with."
    shape = read_model(name)[0]['about'].get('shape')
    if not isinstance(shape, list) or len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f'--init is {name}, which draws {shape}, expected pictures [channels, height, width] in grey or in colour')
    return shape[0], shape[2]


def begin_from(
    name: str,  # a folder, or a model of the zoo
    made: Recipe,  # what is to be trained: whether classes or captions are read, and how
    found: Dataset,
    seed: int,
) -> tuple[Conditional | Denoiser, Recipe, str]:  # the model, the recipe as it fits, and what there is to say
    "Begin with the weights of a model: its network, schedule and prediction, told what is read now; what it lacks is drawn anew."
    old = load(name)
    if not isinstance(old, (Conditional, Denoiser)) or not isinstance((base := getattr(old, 'denoiser', old)).net, UNet) or old.about.get('codec'):
        raise ValueError(f'--init is {name}, which holds a {type(old).__name__}; expected a model of pictures with a U-Net, such as fashion-mnist or what `train` wrote')
    if base.net.in_channels != found.images.shape[1]:
        raise ValueError(f'--init is {name}, whose pictures have {base.net.in_channels} channels, and those of {found.name} have {found.images.shape[1]}')
    with torch.random.fork_rng([]):  # initialisers take no generator: seed the global one, and give it back
        torch.default_generator.manual_seed(seed)
        reader = made.reader and same_reader(old, made.reader(found), found)
        net = build(describe(base.net) | {'cond_dim': 0, 'seq_dim': 0} | (widths_of(reader) if reader else {}))
    own, given = net.state_dict(), base.net.state_dict()
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    net.load_state_dict(own | fitting)
    base = Denoiser(net, base.schedule, base.prediction, noise_input=base.noise_input, input_scale=base.input_scale, variance=base.variance)
    weigh = clipped_snr if base.prediction is predict_x0 else None
    draw = log_normal_draw if isinstance(base.schedule, KarrasSchedule) else made.draw
    said = f'Beginning with {name}: {len(fitting)} of {len(own)} tensors of the network are its own.'
    return (Conditional(base, reader) if reader else base), replace(made, weight=weigh, draw=draw), said


def same_reader(old: Conditional | Denoiser, fresh: Reader, found: Dataset) -> Reader:
    "What read for the model before, if it is of the same kind; of classes, the rows whose names are known."
    had = getattr(old, 'conditioner', None)
    if isinstance(fresh, TextConditioner):
        return had if isinstance(had, TextConditioner) else fresh
    names = list(old.about.get('classes', ()))
    if isinstance(had, ClassConditioner) and had.table.embedding_dim == fresh.table.embedding_dim:
        with torch.no_grad():
            fresh.table.weight[-1] = had.table.weight[-1]
            for k, name in enumerate(found.classes):
                if name in names:
                    fresh.table.weight[k] = had.table.weight[names.index(name)]
    return fresh
