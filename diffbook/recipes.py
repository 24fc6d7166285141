"""Recipes: all that makes a model, in one place. The command line, the tools and the benchmarks train by name.

    recipe('fashion-mnist')     the garments of the zoo
    plain(width=64)             what `diffbook train` uses for pictures of any kind
    captioned(width=64)         the same for pictures with captions (`--text`)
    METHODS['flow'](plain())    the same pictures by another method: what changes in a recipe, by name (`--method`)

A recipe is a network, a schedule, a prediction, a loss with its draw of times, the data, and the numbers of the optimiser.
`diffbook train --recipe shapes --out runs/shapes` runs one. Network, schedule, prediction, batch and rate are those of the
zoo's models; two of these (shapes, emoji) went on from a former one, and the garments were trained by an earlier form of
the loop: diffbook/zoo/zoo.json names the commands.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffbook.audio import SpokenConditioner, compand, fold_wave, load_waves
from diffbook.conditioning import ClassConditioner, Conditional, TextConditioner, conditional_loss
from diffbook.consistency import consistency_loss, grid_pairs
from diffbook.core import Rows, build, draw_rows
from diffbook.data import Dataset, from_model, load_data, read_shards, to_model
from diffbook.flow_maps import FlowMap, meanflow_loss, slow_time
from diffbook.losses import (
    Denoiser,
    Weight,
    clipped_snr,
    log_normal_draw,
    logit_normal_draw,
    quarter_log_noise,
    scaled_time,
    stratified_draw,
    training_loss,
    unit_input,
)
from diffbook.nets.clip import TextTower
from diffbook.nets.unet import UNet
from diffbook.nets.vae import draw_latents
from diffbook.predictions import Prediction, predict_edm, predict_v, predict_velocity, predict_x0
from diffbook.samplers import uniform_times
from diffbook.schedules import CosineSchedule, KarrasSchedule, RectifiedFlowSchedule, Schedule, ShiftedSchedule
from diffbook.shapes import draw_shapes, draw_split
from diffbook.speedrun import muon
from diffbook.text import Tokenizer, train_merges
from diffbook.training import Trainer, load, read_model

Model = Denoiser | Conditional | FlowMap
Reader = TextConditioner | ClassConditioner | SpokenConditioner
Draw = Callable[[Schedule, int, torch.Generator], Tensor]  # of times
OPTIMIZERS: dict[str, Callable[[Trainer], torch.optim.Optimizer] | None] = {'adamw': None, 'muon': muon}  # as a Trainer takes them


def middling(schedule: Schedule, b: int, generator: torch.Generator, centre: float = -0.4) -> Tensor:  # (b,)
    "Draw times, a fifth of them anywhere and the others of middling noise, where there is most to learn; one in each of b equal slices."
    u = stratified_draw(schedule, b, generator) / schedule.t_max
    normal = torch.special.ndtri(((u - 0.2) / 0.8).clamp(1e-6, 1 - 1e-6))
    return torch.where(u < 0.2, u / 0.2, torch.sigmoid(normal + centre)) * schedule.t_max


def pixels(batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
    "The clean data of a batch of pictures in bytes."
    return to_model(batch[0])


def latents(batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
    "The clean data of a batch of laws of latents, their means and log-variances: drawn afresh."
    return draw_latents(batch[0].float(), batch[1].float(), generator)


@dataclass(frozen=True)
class Recipe:
    "All that makes one denoiser, or one flow map."

    net: Callable[..., nn.Module]  # (shape of a sample, **sizes of the condition) -> network
    schedule: Schedule = field(default_factory=CosineSchedule)
    prediction: Prediction = predict_v
    noise_input: Callable[[Schedule, Tensor], Tensor] = scaled_time  # what the network is told of the time
    input_scale: Callable[[Schedule, Tensor], Tensor] | None = None  # factor on its input
    fit: Callable[['Recipe', Dataset], 'Recipe'] | None = None  # settles what depends on the pictures, such as their spread
    reader: Callable[[Dataset], Reader] | None = None  # what reads the captions, or the classes; None: none are read
    drop: float = 0.1  # how likely an example is to lose its caption or class
    view: Callable[[Tensor, torch.Generator | Rows], Tensor] | None = None  # what of the pictures is seen this time, such as a mirror image
    data: Callable[[str | Path | None, int], Dataset] | None = None  # (root, seed) -> pictures; None: those that are asked for
    shards: str | None = None  # a folder with the laws of the latents of the pictures; None: pixels are learned
    draw: Draw = stratified_draw  # of the times
    weight: Weight | None = None
    objective: Callable[..., Tensor] | None = None  # (model, x0, generator) -> (b,), the loss; None: that of a denoiser, with `draw` and `weight`
    waves: int = 0  # in how many sines and cosines a flow map is told its second time; 0: a denoiser is made
    steps: int = 3000
    batch: int = 64
    lr: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.0
    optimizer: Callable[[Trainer], torch.optim.Optimizer] | None = None  # one of OPTIMIZERS; None: AdamW
    ema: float = 0.999
    bf16: bool | None = None  # see Trainer
    codec: str | None = None  # the model of the zoo that turns what is drawn into pictures
    shape: tuple[int, ...] | None = None  # of a sample; None: that of the pictures

    def fitted(self, found: Dataset) -> 'Recipe':
        "The recipe for these pictures."
        return self if self.fit is None else replace(self.fit(self, found), fit=None)

    def model(self, found: Dataset, seed: int = 0) -> Model:
        "Make the untrained model; its first weights are a function of the seed."
        if self.fit is not None:
            return self.fitted(found).model(found, seed)
        shape = tuple(found.images.shape[1:]) if self.shape is None else self.shape
        with torch.random.fork_rng([]):  # initialisers take no generator: seed the global one, and give it back
            torch.default_generator.manual_seed(seed)
            if self.waves:
                return FlowMap(self.net(shape, cond_dim=self.waves), self.schedule, self.waves, noise_input=self.noise_input)
            reader = self.reader and self.reader(found)
            sizes = {} if reader is None else widths_of(reader)
            denoiser = Denoiser(self.net(shape, **sizes), self.schedule, self.prediction, noise_input=self.noise_input, input_scale=self.input_scale)
        return denoiser if reader is None else Conditional(denoiser, reader)

    def examples(self, found: Dataset, model: Model) -> tuple[Tensor, ...]:
        "What batches are cut from: pictures or the laws of their latents, and the tokens of the captions if they are read."
        laws = read_shards(self.shards) if self.shards else None
        clean = (found.images,) if laws is None else (laws['mean'], laws['log_var'])
        if not isinstance(model, Conditional):
            return clean
        return (*clean, model.conditioner.tokenizer(found.captions) if isinstance(model.conditioner, TextConditioner) else found.labels)

    def loss(self, model: Model, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:  # (b,)
        "The loss of a batch of examples."
        if self.view is not None:
            batch = (self.view(batch[0], generator), *batch[1:])
        x0 = (latents if self.shards else pixels)(batch, generator)
        if self.objective is not None:
            return self.objective(model, x0, generator)
        options: dict[str, Any] = {'draw': self.draw, 'weight': self.weight}
        if isinstance(model, Conditional):
            return conditional_loss(model, (x0, batch[-1]), generator, p=self.drop, **options)
        return training_loss(model, x0, generator, **options)

    def trainer(self, model: Model, *, seed: int = 0, **changes: Any) -> Trainer:
        "A trainer of the model; `changes` are options of Trainer that are to differ."
        own = {'lr': self.lr, 'warmup': self.warmup, 'total': self.steps, 'weight_decay': self.weight_decay, 'optimizer': self.optimizer, 'ema': self.ema, 'bf16': self.bf16}
        return Trainer(model, self.loss, seed=seed, **own | changes)


def widths_of(reader: Reader) -> dict[str, int]:
    "What a network must be told of the one who reads for it."
    if isinstance(reader, ClassConditioner):
        return {'cond_dim': reader.table.embedding_dim}
    if isinstance(reader, SpokenConditioner):
        return {'cond_dim': reader.digits.embedding_dim}
    return {'cond_dim': reader.tower.width, 'seq_dim': reader.tower.width}


def unet(**options: Any) -> Callable[..., UNet]:
    "A U-Net for the channels of a sample."
    return lambda shape, **sizes: UNet(shape[0], **options, **sizes)


def sized(width: int, heads: tuple[int, ...], deep_heads: tuple[int, ...], blocks: tuple[int, ...]) -> Callable[..., UNet]:
    "A U-Net with so many channels at the finest level: of two levels, and of three for more than 48 pixels."
    if width < 8 or width % 8:
        raise ValueError(f'--width is {width}, expected a multiple of 8, at least 8')

    def make(shape: tuple[int, ...], **sizes: int) -> UNet:
        deep = max(shape[1:]) > 48
        levels = {'channels': (width, 2 * width, 4 * width), 'blocks': (1, 1, 2), 'heads': deep_heads} if deep else {'channels': (width, 2 * width), 'blocks': blocks, 'heads': heads}
        return UNet(shape[0], groups=8, **levels, **sizes)

    return make


def zoo_reader(clip: str) -> Callable[[Dataset], TextConditioner]:
    "Read captions with the tokenizer and the text tower of a CLIP, a folder or a name in the zoo, which stays as it is."
    return lambda found: TextConditioner(build(read_model(clip)[0]['about']['tokenizer']), load(clip).text_model, pooled=True)


def own_reader(found: Dataset) -> TextConditioner:
    "Read captions of drawn shapes with the CLIP of the zoo, and others with a text tower that learns with the denoiser; it has room for more than the longest."
    if found.name.startswith('shapes'):
        return zoo_reader('clip-near-misses')(found)
    merges = train_merges(found.captions, 1000)
    context = max(32, 32 + max(len(Tokenizer(merges).encode(text)) for text in found.captions))  # a prompt may be longer than any caption
    tokenizer = Tokenizer(merges, context)
    tower = TextTower(tokenizer.vocab_size, context, 128, 2, 4, hidden=256, end=tokenizer.end)
    return TextConditioner(tokenizer, tower, pooled=True, frozen=False)


def plain(width: int = 64) -> Recipe:
    "For pictures of any kind: v, on the cosine schedule."
    return Recipe(sized(width, (0, 0, 4), (0, 0, 0, 4), (1, 2)))


def captioned(width: int = 64) -> Recipe:
    "For pictures with captions: x0, weighted by the signal-to-noise ratio up to a limit; one caption in ten is dropped."
    return Recipe(sized(width, (0, 4, 4), (0, 0, 4, 4), (1, 1)), prediction=predict_x0, reader=own_reader, weight=clipped_snr)


def garments(root: str | Path | None, seed: int) -> Dataset:
    return load_data('fashion-mnist', 'train', root)


def shapes(root: str | Path | None, seed: int) -> Dataset:
    "Scenes of which half have two objects; a fifth of the captions leave something out."
    return draw_split(120_000, 32, 'train', seed, objects=(1, 2, 2, 3), brief=0.2)


def emoji(root: str | Path | None, seed: int) -> Dataset:
    return load_data('emoji', 'train', root, size=64)


def spoken(root: str | Path | None, seed: int) -> Dataset:
    return load_data('spoken-digits', 'train', root)


def spoken_waves(root: str | Path | None, seed: int) -> Dataset:
    "The samples of the spoken digits themselves, companded to bytes as telephones do; sixteen neighbours are the channels of a place."
    waves, labels = load_waves('train', root)
    return Dataset(from_model(fold_wave(compand(waves))), labels, name='spoken-digits-wave')


def earlier_or_later(images: Tensor, generator: torch.Generator | Rows, most: int = 2) -> Tensor:
    "Move each picture of loudness along time, by up to so many columns; what leaves at one end is silence, and comes in at the other."
    moves = draw_rows(lambda n, g: torch.randint(-most, most + 1, (n,), generator=g, device=g.device), len(images), generator)
    columns = (torch.arange(images.shape[-1], device=images.device) - moves[:, None].to(images.device)) % images.shape[-1]
    return images.gather(-1, columns[:, None, None].expand(images.shape))


def single_shapes(n: int, side: int, seed: int, start: int = 0) -> Dataset:
    "Single objects: of a drawing twice as large, the window around its object."
    drawn = draw_shapes(n, 2 * side, seed=seed, start=start, objects=(1,))
    row, column = (drawn.labels[:, 4] // 3) * side // 2, (drawn.labels[:, 4] % 3) * side // 2  # of the cell it is in
    rows, columns = (first[:, None] + torch.arange(side) for first in (row, column))
    images = drawn.images[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return Dataset(images.contiguous(), name='single shapes')


_READS = {'prediction': predict_x0, 'weight': clipped_snr, 'batch': 32, 'warmup': 300, 'weight_decay': 0.01, 'ema': 0.999, 'bf16': True}
_SCENES = {'net': unet(channels=(48, 96), blocks=(1, 1), heads=(0, 4, 4)), 'data': shapes, 'draw': partial(middling, centre=0.6)}
_EMOJI = {'channels': (40, 80), 'blocks': (1, 1), 'heads': (0, 4, 4)}  # a grid of 16 x 16, of latents or of squares of pixels: the same work for each
_SPEECH = _READS | {'net': unet(channels=(48, 96), blocks=(1, 1), heads=(0, 4, 4)), 'reader': lambda found: SpokenConditioner(64), 'draw': partial(middling, centre=0.2), 'steps': 5000, 'lr': 1.5e-3}
RECIPES = {
    'fashion-mnist': Recipe(
        unet(channels=(48, 96), blocks=(1, 2), heads=(0, 0, 4), groups=8), data=garments, draw=middling,
        steps=10_400, lr=1.2e-3, warmup=300, weight_decay=0.01, ema=0.999,
    ),
    'fashion-mnist-flow': Recipe(  # the same network, data and work; times with the same density over the noise-to-signal level as far as a logit-normal can
        unet(channels=(48, 96), blocks=(1, 2), heads=(0, 0, 4), groups=8), RectifiedFlowSchedule(), predict_velocity, data=garments,
        draw=partial(middling, centre=-0.3), steps=10_400, lr=1.2e-3, warmup=300, weight_decay=0.01, ema=0.999,
    ),
    'fashion-mnist-small': Recipe(  # small enough to be sent with a page and to draw in it
        unet(channels=(24, 48), blocks=(1, 1), heads=(0, 0, 4), groups=8), data=garments, draw=middling,
        steps=2600, lr=2e-3, warmup=300, weight_decay=0.01, ema=0.999,
    ),
    'fashion-mnist-fine': Recipe(  # no squares of pixels are folded; with the optimizer and the times of the speedrun
        unet(channels=(20, 40, 80), blocks=(1, 1, 2), heads=(0, 0, 0, 4), groups=4, patch=1), data=garments, draw=middling,
        steps=17_000, lr=6e-3, warmup=300, optimizer=muon, ema=0.9995,
    ),
    'shapes': Recipe(**_SCENES, **_READS, reader=zoo_reader('clip-near-misses'), steps=5400, lr=1.5e-3),
    'shapes-first-tower': Recipe(**_SCENES, **_READS, reader=zoo_reader('clip-shapes'), steps=13_000, lr=1.3e-3),  # the control of the capstone on text to image
    'emoji-latent': Recipe(
        unet(**_EMOJI, patch=1), **_READS, data=emoji, reader=zoo_reader('runs/clip-emoji-seed1'), shards='runs/emoji-vae/latents',
        draw=partial(middling, centre=0.2), steps=6500, lr=1.5e-3, codec='emoji-vae', shape=(4, 16, 16),
    ),
    'emoji-64': Recipe(
        unet(**_EMOJI, patch=4), ShiftedSchedule(CosineSchedule(), 2.0), **_READS, data=emoji, reader=zoo_reader('runs/clip-emoji-seed1'),
        draw=partial(middling, centre=0.6), steps=8000, lr=1.5e-3,
    ),
    'spoken-digits': Recipe(**_SPEECH, data=spoken, view=earlier_or_later),
    'spoken-digits-wave': Recipe(**_SPEECH | {'net': unet(channels=(48, 96), blocks=(1, 1), heads=(0, 4, 4), patch=1)}, data=spoken_waves),  # the same network on the samples themselves
    'demo': Recipe(
        unet(channels=(24, 48), blocks=(2, 2), heads=(0, 4, 4), groups=8, patch=1), data=lambda root, seed: single_shapes(20_000, 16, seed),
        draw=middling, steps=5500, batch=32, lr=6e-3, optimizer=muon, ema=0.998,
    ),
}  # fmt: skip


def even_clock(schedule: ShiftedSchedule, t: Tensor) -> Tensor:
    "The weight with which errors of the velocity count as on the line, where no shift makes the clock run unevenly."
    return 1 / schedule.clock(t)[1] ** 2


def as_flow(made: Recipe) -> Recipe:
    "Learn the velocity of straight paths instead, at times whose logit is normal (Esser et al. 2024); a shift of the noise levels stays."
    line: Schedule = RectifiedFlowSchedule()
    schedule, weight = (ShiftedSchedule(line, made.schedule.shift), even_clock) if isinstance(made.schedule, ShiftedSchedule) else (line, None)
    return replace(made, schedule=schedule, prediction=predict_velocity, draw=logit_normal_draw, weight=weight)


def to_spread(made: Recipe, found: Dataset) -> Recipe:
    "EDM's numbers for these pictures: the root of their mean square, and noise levels drawn around it as they are around 0.5 in the paper."
    spread = 1.0 if made.shards else round(to_model(found.images[:4096]).square().mean().sqrt().item(), 3)  # latents have unit variance
    draw = partial(log_normal_draw, mean=math.log(spread / 0.5) - 1.2, std=1.2)
    return replace(made, prediction=predict_edm(spread), input_scale=unit_input(spread), draw=draw)


def as_edm(made: Recipe) -> Recipe:
    "Learn EDM's F instead, with its preconditioning, weight and draw of noise levels, for the spread of the pictures (Karras et al. 2022)."
    return replace(made, schedule=KarrasSchedule(), prediction=predict_edm(), noise_input=quarter_log_noise, draw=log_normal_draw, weight=None, fit=to_spread)


def silent(made: Recipe, name: str) -> Recipe:
    "The recipe on straight paths, if it reads no captions."
    if made.reader is not None:
        raise ValueError(f'--method is {name}, which has no way to drop captions, and the recipe reads them; expected flow or edm')
    return as_flow(made)


def even_pairs(schedule: Schedule, b: int, generator: torch.Generator, n: int = 40) -> tuple[Tensor, Tensor]:
    "Draw neighbours of n even steps."
    return grid_pairs(uniform_times(schedule, n))(schedule, b, generator)


def as_consistency(made: Recipe) -> Recipe:
    "Learn the end of the path instead, each of forty steps from the one below (Song et al. 2023)."
    return replace(silent(made, 'consistency'), objective=partial(consistency_loss, pairs=even_pairs), draw=stratified_draw)


def as_meanflow(made: Recipe) -> Recipe:
    "Learn the average velocity between any two times instead (Geng et al. 2025, with the tangent of the model itself)."
    return replace(silent(made, 'meanflow'), objective=meanflow_loss, waves=64, noise_input=slow_time, draw=stratified_draw)


METHODS: dict[str, Callable[[Recipe], Recipe]] = {  # name, as in `diffbook train --method` -> how a recipe changes
    'flow': as_flow,
    'edm': as_edm,
    'consistency': as_consistency,
    'meanflow': as_meanflow,
}


def by_method(name: str | None, made: Recipe) -> Recipe:
    "Change a recipe to a method by name; None: leave it as it is."
    if name is None:
        return made
    if name not in METHODS:
        raise ValueError(f'--method is {name}, expected one of {", ".join(METHODS)}')
    return METHODS[name](made)


def recipe(name: str, **changes: Any) -> Recipe:
    "Give a recipe by name, some of its fields changed."
    if name not in RECIPES:
        raise ValueError(f'recipe is {name!r}, expected one of {", ".join(RECIPES)}')
    if strange := changes.keys() - {f.name for f in fields(Recipe)}:
        raise ValueError(f'a recipe has no {", ".join(sorted(strange))}; its fields are {", ".join(f.name for f in fields(Recipe))}')
    return replace(RECIPES[name], **changes)
