"""The command line: `diffbook train | sample | evaluate | data | convert | doctor`."""

import copy
import os
import shlex
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from diffbook.runs import CHANGES, OPTIONS, Plan, check_writable, content_of, option, plan, refuse_content

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from diffbook.conditioning import Conditional, TextConditioner
    from diffbook.core import DenoiseFn
    from diffbook.data import Dataset
    from diffbook.losses import Denoiser
    from diffbook.nets.vae import Codec

app = typer.Typer(
    name='diffbook', add_completion=False, rich_markup_mode='markdown', pretty_exceptions_enable=False,
    context_settings={'help_option_names': ['-h', '--help']},
)  # fmt: skip

ONE_SIZE = ('fashion-mnist', 'mnist', 'cifar10')
SOLVERS = ('ddim', 'ancestral', 'euler', 'heun')
STEPS = {'heun': 12}  # two calls a step: 23 in all; the other solvers make 20 steps of one call
ROUNDS = 3  # how often RePaint walks each step of an inpainting
ROOT_HELP = 'Where data sets lie; else DIFFBOOK_DATA, else a cache folder.'

Seed = Annotated[int, typer.Option(help='Seed of everything random.')]
Device = Annotated[str | None, typer.Option(help='cuda, mps or cpu; by default the best there is.')]
Ground = Annotated[str, typer.Option(help='Colour behind pictures that are transparent: a name, or #rrggbb.')]
DataRoot = Annotated[Path | None, typer.Option(help=ROOT_HELP)]


def say(text: str) -> None:
    "Print a line at once."
    print(text, flush=True)


def note(text: str) -> None:
    "Print a line that is no result: what was assumed, cut off or not understood."
    print(f'note: {" ".join(text.split())}', file=sys.stderr, flush=True)


@contextmanager
def noted() -> Iterator[None]:
    "Print warnings as notes, each once."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', UserWarning)
        yield
    for text in dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)):
        note(text.replace('text 0: ', 'the prompt: ', 1))


def quote(text: object) -> str:
    "A word of a command, for a shell: a caption that a stranger wrote is no command."
    return shlex.quote(str(text))


def at_least(name: str, value: float | None, least: float) -> None:
    "Refuse an option that is too small."
    if value is not None and not value >= least:
        raise ValueError(f'{name} is {value}, expected at least {least}')


def at_most(name: str, value: float | None, most: float) -> None:
    "Refuse an option that is too large."
    if value is not None and not value <= most:
        raise ValueError(f'{name} is {value}, expected at most {most:,}')


def check_text(name: str, text: str | None) -> None:
    "Refuse a text that no model should be given."
    if text is not None:
        from diffbook.data import check_caption

        check_caption(text, name)


@app.callback()
def options(debug: Annotated[bool, typer.Option('--debug', help='Show the whole traceback of an error.')] = False) -> None:
    """Learn diffusion models: train one, sample from it, measure it.

    Example: `diffbook train --data shapes --out runs/shapes --minutes 5`, then `diffbook sample runs/shapes --out shapes.png`
    """


# Models


def new_model(shape: tuple[int, int, int], width: int, seed: int) -> 'Denoiser':
    "Make an untrained denoiser for images of `shape`."
    import torch

    from diffbook.core import generator
    from diffbook.losses import Denoiser
    from diffbook.nets.unet import UNet
    from diffbook.predictions import predict_v
    from diffbook.schedules import CosineSchedule

    if width < 8 or width % 8:
        raise ValueError(f'--width is {width}, expected a multiple of 8, at least 8')
    deep = max(shape[1:]) > 48
    levels = dict(channels=(width, 2 * width, 4 * width), blocks=(1, 1, 2), heads=(0, 0, 0, 4)) if deep else dict(
        channels=(width, 2 * width), blocks=(1, 2), heads=(0, 0, 4))  # fmt: skip
    with torch.random.fork_rng([]):  # initialisers take no generator: seed the global one, and give it back
        torch.default_generator.manual_seed(generator(seed, 'weights').initial_seed())
        return Denoiser(UNet(shape[0], groups=8, **levels), CosineSchedule(), predict_v)


def objective(denoiser: 'Denoiser', batch: Any, generator: 'torch.Generator') -> 'Tensor':
    "Give the loss of a batch of images in bytes."
    from diffbook.data import to_model
    from diffbook.losses import training_loss

    return training_loss(denoiser, to_model(batch), generator)


def describe_shape(about: dict[str, Any], model: 'Denoiser', size: int | None) -> tuple[int, int, int]:
    "The shape of the images that a model draws."
    shape = about.get('shape')
    if size is None and shape is None:
        raise ValueError('the model does not say how large its images are; add --size')
    whole = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 0 < n <= 4096 for n in shape)
    if shape is not None and not whole:
        raise ValueError(f'about.shape of the model is {repr(shape)[:100]}, expected [channels, height, width], each from 1 to 4096')
    channels = shape[0] if shape else getattr(model, 'denoiser', model).net.in_channels
    return (channels, size, size) if size is not None else tuple(shape)


class Edit(NamedTuple):
    "A picture to start from, and what of it stays."

    picture: 'Tensor'  # (1, c, h, w) in [-1, 1]
    known: 'Tensor | None' = None  # (1, 1, h, w) bool: True where the picture stays
    strength: float = 1.0  # share of the steps that are walked


def draw(
    model: 'Denoiser | Conditional', shape: tuple[int, ...], n: int, steps: int, solver: str, seed: int, batch: int = 64, *,
    told: Callable[[int, int], 'DenoiseFn'] | None = None, edit: Edit | None = None,
) -> 'Tensor':  # fmt: skip
    "Sample n images in [-1, 1] with a progress bar; image i is the same whatever n is. `told(start, count)` gives the denoiser of some."
    import torch
    from tqdm import tqdm

    from diffbook import samplers
    from diffbook.core import noise, seeded_noise
    from diffbook.schedules import DiscreteSchedule

    schedule, images = model.schedule, []
    whole = isinstance(schedule, DiscreteSchedule) and steps <= schedule.t_max
    times = (samplers.trailing_times if whole else samplers.uniform_times)(schedule, steps)
    device = next(model.parameters()).device
    with tqdm(total=n * steps if edit is None else None, desc='sampling', unit='step') as bar, torch.inference_mode():
        for start in range(0, n, batch):
            count = min(batch, n - start)
            denoise = model if told is None else told(start, count)
            step = getattr(samplers, solver)
            step = partial(step, noise=seeded_noise(seed, 'sample', start)) if solver == 'ancestral' else step
            if edit is None:
                x = noise(seed, 'start', 0, range(start, start + count), shape).float().to(device)
                walk = samplers.sample(denoise, schedule, x * schedule.sigma(schedule.t_max).to(x), times, step)
            else:
                walk = revise(denoise, schedule, edit, count, times, step, lambda purpose, first=start: seeded_noise(seed, purpose, first), device)
            for x in walk:
                bar.update(count)
            images.append(x.cpu())
    return torch.cat(images)


def revise(
    denoise: 'DenoiseFn', schedule: Any, edit: Edit, count: int, times: 'Tensor', step: Callable, noises: Callable[[str], Callable], device: Any
) -> Iterator['Tensor']:
    "Start from a picture noised in part, and if some of it is to stay, put that back at every step."
    from diffbook import samplers
    from diffbook.editing import repaint, start_from

    picture = edit.picture.to(device).expand(count, -1, -1, -1)
    x, times = start_from(schedule, picture, times, edit.strength, noise=noises('start'))
    if edit.known is None:
        return samplers.sample(denoise, schedule, x, times, step)
    solver = getattr(step, 'func', step)  # RePaint gives the noise itself, another for each round
    return repaint(denoise, schedule, x, times, edit.picture.to(device), edit.known.to(device), rounds=ROUNDS, solver=solver, noise=noises)


# Text


def reader_of(model: Any) -> 'TextConditioner | None':
    "The part of a model that reads text, if it has one."
    from diffbook.conditioning import Conditional, TextConditioner

    reads = isinstance(model, Conditional) and isinstance(model.conditioner, TextConditioner)
    return model.conditioner if reads else None


def tell(model: 'Conditional', prompts: str | Sequence[str], negative: str, guidance: float) -> Callable[[int, int], 'DenoiseFn']:
    "Make denoisers that are asked for prompts, one for all images or one each, and guided away from `negative`."
    import torch

    from diffbook.guidance import guide

    with torch.inference_mode():
        everything = [prompts] if isinstance(prompts, str) else list(prompts)
        with noted():
            cond = model.condition(everything)
            null = model.condition([negative]) if negative else model.null(1)
    guided = guide(model, null, guidance) if guidance != 1 else model

    def told(start: int, count: int) -> 'DenoiseFn':
        rows = slice(start, start + count) if len(everything) > 1 else slice(None)
        mine = cond.map(lambda v: v[rows].expand(count, *v.shape[1:]))
        return lambda x, t, _=None: guided(x, t, mine)

    return told


def split_words(text: str) -> list[str]:
    "The words of a text, in small letters."
    import re

    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())


def known_words(about: dict[str, Any]) -> set[str]:
    "The words that a text model was trained on; none if it does not say."
    from diffbook.shapes import draw_split

    name = str(about.get('data', ''))
    captions = draw_split(2000, 8, brief=0.2).captions if not about.get('words') and name.startswith('shapes') else ()
    return set(about.get('words') or ()) | {word for text in captions for word in split_words(text)}


def check_words(text: str, known: set[str]) -> None:
    "Say which words of a prompt the model has never read, and which it has."
    from difflib import get_close_matches

    strange = [word for word in dict.fromkeys(split_words(text)) if known and word not in known]
    if not strange:
        return
    near = sorted({other for word in strange for other in get_close_matches(word, known, 3, 0.7)})
    what = f'it knows {", ".join(sorted(known))}' if len(known) <= 60 else f'it knows {len(known):,} words' + (f', such as {", ".join(near)}' if near else '')
    note(f'the model was never shown {" or ".join(repr(word) for word in strange)}, and may not draw what is meant; {what}')


def new_text_model(images: 'Dataset', width: int, seed: int) -> 'Conditional':
    "Make an untrained denoiser that reads captions: those of shapes by the CLIP of the zoo, others by a text tower of its own."
    import torch

    from diffbook.conditioning import Conditional, TextConditioner
    from diffbook.core import build, generator
    from diffbook.losses import Denoiser
    from diffbook.nets.clip import TextTower
    from diffbook.nets.unet import UNet
    from diffbook.predictions import predict_x0
    from diffbook.schedules import CosineSchedule
    from diffbook.text import Tokenizer, train_merges
    from diffbook.training import load, read_model

    if width < 8 or width % 8:
        raise ValueError(f'--width is {width}, expected a multiple of 8, at least 8')
    shape = images.images.shape[1:]
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(generator(seed, 'weights').initial_seed())
        if images.name.startswith('shapes'):
            tokenizer, tower = build(read_model('clip-near-misses')[0]['about']['tokenizer']), load('clip-near-misses').text_model
        else:
            merges = train_merges(images.captions, 1000)
            context = 2 + max(len(Tokenizer(merges).encode(text)) for text in images.captions)
            tokenizer = Tokenizer(merges, context)
            tower = TextTower(tokenizer.vocab_size, context, 128, 2, 4, hidden=256, end=tokenizer.end)
        deep = max(shape[1:]) > 48
        levels = dict(channels=(width, 2 * width, 4 * width), blocks=(1, 1, 2), heads=(0, 0, 4, 4)) if deep else dict(
            channels=(width, 2 * width), blocks=(1, 1), heads=(0, 4, 4))  # fmt: skip
        net = UNet(shape[0], groups=8, cond_dim=tower.width, seq_dim=tower.width, **levels)
        return Conditional(Denoiser(net, CosineSchedule(), predict_x0), TextConditioner(tokenizer, tower, pooled=True, frozen=images.name.startswith('shapes')))


def text_objective(model: 'Conditional', batch: Any, generator: 'torch.Generator') -> 'Tensor':
    "Give the loss of images in bytes and the tokens of their captions; one caption in ten is dropped."
    from diffbook.conditioning import conditional_loss
    from diffbook.data import to_model
    from diffbook.losses import clipped_snr

    return conditional_loss(model, (to_model(batch[0]), batch[1]), generator, weight=clipped_snr)


# Commands


@app.command()
def train(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help='Folder for the model and its checkpoints.')],
    data: Annotated[str | None, typer.Option(help='shapes, fashion-mnist, mnist, cifar10, emoji, or a folder of images.')] = None,
    steps: Annotated[int | None, typer.Option(help='Updates to make; the learning rate falls to 0 at the end. Default 3000.')] = None,
    minutes: Annotated[float | None, typer.Option(help='Train for so long instead, at a constant rate.')] = None,
    resume: Annotated[bool, typer.Option('--resume', help='Continue the run in --out, with the options that it has.')] = False,
    change: Annotated[str, typer.Option(help=f'With --resume: options that are to differ from here on, some of {", ".join(CHANGES).replace("_", "-")}, with commas between.')] = '',
    batch_size: Annotated[int, typer.Option(help='Images an update.')] = 64,
    lr: Annotated[float, typer.Option(help='The highest learning rate.')] = 1e-3,
    ema: Annotated[float, typer.Option(help='Decay of the averaged weights.')] = 0.999,
    width: Annotated[int, typer.Option(help='Channels of the finest level of the U-Net.')] = 64,
    size: Annotated[int | None, typer.Option(help='Side of drawn shapes (default 32), of emoji (64) or of the images of a folder (64).')] = None,
    text: Annotated[bool, typer.Option('--text', help='Train a model that reads captions: for shapes, emoji and a folder with a .txt beside each image.')] = False,
    ground: Ground = 'white',
    skip_broken: Annotated[bool, typer.Option('--skip-broken', help='Leave out the images of a folder that cannot be read, and count them.')] = False,
    save_every: Annotated[int, typer.Option(help='Updates between two checkpoints.')] = 500,
    bf16: Annotated[bool | None, typer.Option('--bf16/--no-bf16', help='Compute in bfloat16; by default on a GPU.')] = None,
    compile: Annotated[bool, typer.Option('--compile', help='Compile the network first (minutes).')] = False,
    accumulate: Annotated[int | None, typer.Option(help='Parts that a batch is computed in, one after the other, to save memory.')] = None,
    shard: Annotated[bool | None, typer.Option('--shard/--no-shard', help='Split the weights among the processes (FSDP2).')] = None,
    timeout: Annotated[float, typer.Option(help='Seconds after which a process gives up waiting for another.')] = 60.0,
    device: Device = None,
    data_root: DataRoot = None,
    seed: Seed = 0,
) -> None:
    """Train a model on images, and save it on the way, at the end and when it is stopped.

    Example: `diffbook train --data fashion-mnist --out runs/mine --minutes 20`

    With captions: `diffbook train --data shapes --text --out runs/text --minutes 15`

    To go on: `diffbook train --out runs/mine --resume --minutes 20`, `... --resume --steps 6000`, or `... --resume --lr 3e-4 --change lr`

    On several devices: `torchrun --nproc-per-node 2 -m diffbook.cli train --data shapes --out runs/two`, or `accelerate launch -m diffbook.cli train ...`

    Writes the averaged model (model.safetensors, config.json) with each checkpoint, training.csv, and checkpoints/ from which --resume continues bit for bit.
    More --steps than a run had are made at the learning rate that a run of so many has at these steps.
    """
    if steps is not None and minutes is not None:
        raise ValueError('both --steps and --minutes are given, expected one of them')
    for name, value in (('--steps', steps), ('--batch-size', batch_size), ('--save-every', save_every), ('--accumulate', accumulate)):
        at_least(name, value, 1)
    if minutes is not None and not 0 < minutes < float('inf'):
        raise ValueError(f'--minutes is {minutes}, expected a positive number')
    if out.exists() and not out.is_dir():
        raise ValueError(f'--out is {out}, which is a file; expected a folder')
    from diffbook.scale import asked, copy_whole, join, launched
    from diffbook.training import Trainer, checkpoints, pick_device, save

    folder, told, (rank, size_of_team) = out / 'checkpoints', asked(), launched()
    given = {name: value for name, value in ctx.params.items() if ctx.get_parameter_source(name).name != 'DEFAULT'}
    given |= {'bf16': True} if told['bf16'] and bf16 is None else {}
    accumulate, shard = (told[k] if v is None else v for k, v in (('accumulate', accumulate), ('shard', shard)))
    again = int(os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')) > 0 and bool(checkpoints(folder))  # torchrun starts us again after a crash
    run = plan(out, given, ctx.params, resume or again, change)
    data, text, width, batch_size, seed, total = (run.options[k] for k in ('data', 'text', 'width', 'batch_size', 'seed', 'steps'))
    size = run.options['size'] if 'size' in given or data not in ONE_SIZE else None
    if batch_size % size_of_team:
        raise ValueError(f'--batch-size is {batch_size}, expected a number that the {size_of_team} processes divide')
    at_least(f'--batch-size on each of {size_of_team} processes in {accumulate} parts', batch_size // size_of_team, accumulate)
    check_writable(out)
    tell_user = say if rank == 0 else lambda text: None
    team = join(device, shard=shard, timeout=timeout)
    device = getattr(team, 'device', None) or pick_device(device)
    ground, skip_broken = run.options['ground'], run.options['skip_broken']
    own = {'captions': text or None, 'ground': ground, 'skip_broken': skip_broken} if Path(data).is_dir() else {}
    if not own and (ground != 'white' or skip_broken):
        raise ValueError(f'--ground and --skip-broken are for a folder of images, and --data is {data}')
    found = load_captioned(data, data_root, size, **own) if text else load_images(data, 'train', data_root, size, **own)
    images, what = found.images, content_of(found.images, found.captions if text else None)
    refuse_content(run, what, data, out)
    model = new_text_model(found, width, seed) if text else new_model(tuple(images.shape[1:]), width, seed)
    examples = (images, model.conditioner.tokenizer(found.captions)) if text else images
    pieces = copy.deepcopy(model) if shard else None  # to put the split weights together in
    trainer = Trainer(
        model, text_objective if text else objective, lr=run.options['lr'], total=total, ema=run.options['ema'], seed=seed, device=device,
        bf16=run.options['bf16'], compile=compile or None, warmup=run.warmup, channels_last=False if shard else None, accumulate=accumulate, team=team)  # fmt: skip
    where = os.path.abspath(data) if Path(data).is_dir() else data
    trainer.settings['run'] = run.options | {'data': where, 'size': images.shape[-1], 'bf16': trainer.recipe['bf16'], 'content': what}
    if run.had:
        go_on(trainer, run, folder, tell_user)
    parameters = sum(p.numel() for p in model.parameters())
    tell_user(f'{len(images):,} images of {data}{", with captions" if text else ""}, {parameters:,} parameters, on {device.type}{f", {team.size} processes" if team.size > 1 else ""}.')
    if found.captions and not text:
        tell_user('These images have captions: with --text, the model learns to draw what they say.')

    def publish() -> None:
        about = {'data': Path(where).name, 'shape': list(images.shape[1:]), 'steps': trainer.step, 'batch_size': batch_size, 'seed': seed}
        if text:
            about['words'] = sorted({word for caption in found.captions for word in split_words(caption)})
        average = trainer.ema.model if pieces is None else copy_whole(trainer.ema.model, pieces, team)
        if team.rank == 0:
            save(out, average, about)

    new = not out.exists()
    try:
        trainer.save(folder)  # a disk that cannot be written to says so now
        train_loop(trainer, examples, batch_size, total, minutes, folder, save_every, out / 'training.csv', publish)
    except Exception as error:
        if new and trainer.step == 0 and team.size == 1:
            shutil.rmtree(out, ignore_errors=True)  # nothing in it is worth keeping
        if isinstance(error, FloatingPointError) and team.size == 1:  # the weights are those before it
            with suppress(Exception):
                trainer.save(folder), publish()
        raise
    except (KeyboardInterrupt, SystemExit):
        kept = next((int(path.name.split('-')[1]) for path in checkpoints(folder)), 0)
        usable = f'; the model at that step is in {out}' if kept and (out / 'model.safetensors').exists() else ''
        with suppress(OSError):  # the terminal may be gone
            tell_user(f'\nStopped after step {trainer.step}; step {kept} is saved in {folder}{usable}. To go on: diffbook train --out {quote(out)} --resume')
        raise
    publish()
    tell_user(f'Done after step {trainer.step}.\n  {out}    the model\n  {out / "training.csv"}    how the loss fell\n'
        f'  {folder}    checkpoints\nNext: diffbook sample {quote(out)} --out {quote(out / "samples.png")}'
        + (f' --prompt {quote(found.captions[0])}' if text else ''))  # fmt: skip


def go_on(trainer: Any, run: Plan, folder: Path, tell_user: Callable[[str], None]) -> None:
    "Take a run up with the options that `settle` has judged, and say what differs from here on."
    from diffbook.training import learning_rate

    now, places = trainer.settings['run'], {'lr': 'lr', 'steps': 'total', 'ema': 'ema', 'bf16': 'bf16'}
    different = [name for name in OPTIONS if now[name] != run.had[name] and name != 'data']
    with noted():
        trainer.resume(folder, change=['run', *(places[name] for name in different if name in places)])
    tell_user(f'Continuing after step {trainer.step}.')
    for name in different:
        tell_user(f'From here on {option(name)} is {now[name]}, and was {run.had[name]}.')
    if 'steps' in different or 'lr' in different:
        rate = learning_rate(trainer.step, *(trainer.settings[k] for k in ('lr', 'warmup', 'total')))
        tell_user(f'The learning rate of the next update is {rate:.3g}' + (f', that of a run of {now["steps"]} updates.' if now['steps'] else '.'))


def load_captioned(name: str, root: Path | None, size: int | None, **own: Any) -> 'Dataset':
    "Load images with captions: of shapes, those that no test asks for, and some captions that leave something out."
    from diffbook.shapes import draw_split

    if name == 'shapes':
        at_least('--size', size, 8)
        return draw_split(50_000, size or 32, brief=0.2)
    found = load_images(name, 'train', root, size, **own)
    if found.captions is None:
        raise ValueError(f'--text needs captions, and {name} has none; expected --data shapes, emoji, or a folder with a .txt beside each image')
    return found


def load_images(name: str, split: str, root: Path | None, size: int | None, **own: Any) -> 'Dataset':
    "Load a data set for a command; `own` says how a folder is read."
    from diffbook.data import load_data

    at_least('--size', size, 8)
    if size is not None and name in ONE_SIZE:
        raise ValueError(f'--size is {size}, and {name} has one size; expected --size only with shapes, emoji or a folder')
    with noted():
        return load_data(name, split, root, size=size, **own)


def train_loop(
    trainer: Any, examples: Any, batch_size: int, total: int | None, minutes: float | None, folder: Path, every: int, log: Path, publish: Callable[[], None]
) -> None:
    "Make updates until the steps or the minutes are used up; write one line of the log every 20."
    from itertools import islice

    from tqdm import tqdm

    from diffbook.data import batches
    from diffbook.scale import share
    from diffbook.training import write_file

    left, team = None if total is None else max(0, total - trainer.step), trainer.team
    examples = tuple(v.to(trainer.device) for v in examples) if isinstance(examples, tuple) else examples.to(trainer.device)
    stream = islice(batches(share(examples, team), batch_size, trainer.seed, trainer.step), left)
    end = time.monotonic() + 60 * minutes if minutes else float('inf')
    kept = log.read_text().splitlines()[1:] if log.exists() and trainer.step else []
    kept = [line for line in kept if line.partition(',')[0].isdigit() and int(line.partition(',')[0]) <= trainer.step]
    others = team.rank > 0  # who are silent
    if not others:
        write_file(log, '\n'.join(['step,loss,lr,grad_norm', *kept, '']).encode())
    with open(os.devnull if others else log, 'a') as file, tqdm(total=total, initial=trainer.step, desc='training', unit='step', disable=others) as bar:
        for step in trainer.fit(stream, folder, every, publish):
            bar.update()
            if step.step % 20 == 0:
                bar.set_postfix(loss=f'{step.loss.item():.3f}')
                print(f'{step.step},{step.loss.item():.6g},{step.lr:.6g},{step.grad_norm.item():.6g}', file=file, flush=True)
            if minutes and team.any(time.monotonic() >= end):
                trainer.save(folder)
                break


@app.command()
def sample(
    model: Annotated[str, typer.Argument(help='A folder that `train` wrote, a name in the zoo, or the folder of a published Stable Diffusion.')],
    out: Annotated[Path, typer.Option(help='The picture to write, a .png file.')],
    n: Annotated[int | None, typer.Option('--n', help='Images to draw: 64 if not said, or 1 of Stable Diffusion.')] = None,
    steps: Annotated[int | None, typer.Option(help='Steps from noise to data: 12 of heun (which asks the network twice a step), 20 of the others.')] = None,
    solver: Annotated[str | None, typer.Option(help=f'One of {", ".join(SOLVERS)}; heun by default, with --mask ancestral.')] = None,
    size: Annotated[int | None, typer.Option(help='Side of the images, where the model does not say.')] = None,
    columns: Annotated[int, typer.Option(help='Images a row.')] = 8,
    zoom: Annotated[int | None, typer.Option(help='Pixels drawn for each pixel: 2 if not said, of large images 1.')] = None,
    prompt: Annotated[str | None, typer.Option(help='What to draw, for a model that reads text.')] = None,
    negative: Annotated[str | None, typer.Option(help='What to keep away from, for a model that reads text.')] = None,
    guidance: Annotated[float | None, typer.Option(help='How strongly to insist on the prompt: 1 is not at all beyond the model. 2 by default, of Stable Diffusion 7.5.')] = None,
    image: Annotated[Path | None, typer.Option(help='A picture to start from.')] = None,
    strength: Annotated[float | None, typer.Option(help='How much of --image to redo, over 0 up to 1: 0.6 by default, with --mask 1.')] = None,
    mask: Annotated[Path | None, typer.Option(help='A black and white picture as large as --image: white (from middle grey on) is drawn anew, black stays.')] = None,
    ground: Annotated[str | None, typer.Option(help='Colour behind an --image that is transparent: a name, or #rrggbb. White if not said.')] = None,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Draw images from a trained model; the same seed draws the same images.

    Example: `diffbook sample fashion-mnist --n 64 --seed 1 --out garments.png`

    A model that reads text takes a prompt: `diffbook sample shapes --prompt "a small red circle above a big blue square" --guidance 3 --n 16 --out out.png`

    So does the folder of a published Stable Diffusion: `diffbook sample stable-diffusion-v1-5 --prompt "a lighthouse in a storm" --out out.png`

    Any model takes --image to redo a picture, and with --mask only where that is white.
    """
    for name, value in (('--n', n), ('--steps', steps), ('--columns', columns), ('--zoom', zoom), ('--size', size)):
        at_least(name, value, 1)
    if solver is not None and solver not in SOLVERS:
        raise ValueError(f'--solver is {solver!r}, expected one of {", ".join(SOLVERS)}')
    if out.suffix.lower() != '.png' or out.is_dir():
        raise ValueError(f'--out is {out}, expected a file that ends in .png')
    for name, value in (('--n', n), ('--steps', steps), ('--columns', columns), ('--zoom', zoom), ('--size', size)):
        at_most(name, value, {'--n': 1 << 20, '--zoom': 64}.get(name, 10_000))
    for name, text in (('--prompt', prompt), ('--negative', negative)):
        check_text(name, text)
    for name, value in (('--mask', mask), ('--strength', strength), ('--ground', ground)):
        if value is not None and image is None:
            raise ValueError(f'{name} is {value}, and there is no picture to change; expected --image as well')
    if strength is not None and not 0 < strength <= 1:
        raise ValueError(f'--strength is {strength}, expected a number over 0, up to 1')
    check_writable(out)
    from diffbook.plots import save_images

    if (Path(model) / 'model_index.json').is_file():
        about, images = {}, draw_published(model, n or 1, steps, solver, size, (prompt or '', negative or '', guidance), (image, mask, strength, ground or 'white'), device, seed)
    else:
        net, about = open_model(model, device)
        told = listen(net, about, model, prompt, negative, guidance)
        codec, solver = open_codec(about, model, device), solver or ('ancestral' if mask else 'heun')
        shape = describe_shape(about, net, size if codec is None else cells(codec, size))
        edit = None if image is None else open_edit(image, mask, strength, shape if codec is None else codec_shape(codec, shape), ground or 'white')
        start = edit if edit is None or codec is None else encode_edit(codec, edit)
        images = draw(net, shape, n or 64, steps or STEPS.get(solver, 20), solver, seed, told=told, edit=start)
        images = put_back(images if codec is None else decode(codec, images), edit)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_images(finite(images), out, columns=columns, zoom=zoom or (2 if images.shape[-1] < 128 else 1))
    say(f'{len(images)} image{"s" * (len(images) != 1)} in {out}')
    if prompt and prompt.strip():
        count_agreement(about, prompt, images)


def draw_published(
    folder: str, n: int, steps: int | None, solver: str | None, size: int | None,
    said: tuple[str, str, float | None], given: tuple[Path | None, Path | None, float | None, str], device: str | None, seed: int,
) -> 'Tensor':  # fmt: skip
    "Draw n images in [-1, 1] with a Stable Diffusion in the published layout, one after the other, to keep within memory."
    import torch

    from diffbook import samplers
    from diffbook.stable_diffusion import StableDiffusion
    from diffbook.training import pick_device

    place = pick_device(device)
    model = StableDiffusion.from_pretrained(folder, torch.float16 if place.type == 'cuda' else None).to(place)
    (prompt, negative, guidance), (image, mask, strength, ground) = said, given
    options: dict[str, Any] = {'height': size, 'width': size, 'solver': solver and getattr(samplers, solver)}
    if image is not None:
        side = size or model.size[0]
        edit = open_edit(image, mask, strength, (3, side, side), ground)
        options |= {'image': (edit.picture + 1) / 2, 'mask': None if edit.known is None else ~edit.known, 'strength': edit.strength}
    draw = partial(model, prompt, negative, steps=steps or 30, scale=7.5 if guidance is None else guidance, seed=seed, output='tensor', **options)
    return torch.cat([2 * draw(first=i).float().cpu() - 1 for i in range(n)])


def listen(
    net: Any, about: dict[str, Any], name: str, prompt: str | None, negative: str | None, guidance: float | None
) -> Callable[[int, int], 'DenoiseFn'] | None:
    "Make what is asked of a text model out of the options; refuse them for a model that reads no text."
    given = [(o, v) for o, v in (('--prompt', prompt), ('--negative', negative), ('--guidance', guidance)) if v is not None]
    if reader_of(net) is None:
        for option, value in given:
            raise ValueError(f'{option} is {value!r}, and {name} reads no text; `diffbook train --data shapes --text` makes a model that does')
        return None
    if guidance is not None and not -1e6 < guidance < 1e6:
        raise ValueError(f'--guidance is {guidance}, expected a finite number: 1 is off, 2 to 4 are usual')
    prompt, negative = (prompt or '').strip(), (negative or '').strip()
    known = known_words(about)
    for text in (prompt, negative):
        check_words(text, known)
    if not prompt and not negative:
        note('no prompt: images are drawn without a condition' + (', and --guidance does nothing' if guidance is not None else '; say what to draw with --prompt'))
        return None
    return tell(net, prompt, negative, 2.0 if guidance is None else guidance)


def count_agreement(about: dict[str, Any], prompt: str, images: 'Tensor') -> None:
    "Read drawn shapes, and say in how many images all that the prompt states is true."
    from diffbook.recognise import caption_agrees, read_shapes
    from diffbook.data import from_model

    if not str(about.get('data', '')).startswith('shapes') or images.shape[1] != 3:
        return
    try:
        held = caption_agrees(prompt, read_shapes(from_model(images)))
    except ValueError as error:
        note(f'the images are not counted, as the reader of shapes does not understand the prompt: {error}')
        return
    wrong = [f'{key} in {(~kept).sum().item()}' for key, kept in held.items() if key != 'all' and not kept.all()]
    say(f'{held["all"].sum().item()} of {len(images)} show what the prompt says' + (f' (wrong: {", ".join(wrong)})' if wrong else ''))


def open_edit(image: Path, mask: Path | None, strength: float | None, shape: tuple[int, ...], ground: str = 'white') -> Edit:
    "Read a picture, and a mask of the same size, as a model of images of `shape` takes them."
    import torch

    from diffbook.data import to_model
    from diffbook.store.pictures import middle, read_picture

    channels, side = shape[0], shape[1]
    whole = read_picture(image, ground=ground)
    pixels, given = middle(whole, side), whole.size
    grey = (pixels * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True).round().to(torch.uint8)
    picture = to_model(pixels if channels == 3 else grey)[None]
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


def put_back(images: 'Tensor', edit: Edit | None) -> 'Tensor':
    "Put back, to the pixel, what was to stay."
    import torch

    return images if edit is None or edit.known is None else torch.where(edit.known, edit.picture, images)


def open_model(name: str, device: str | None) -> tuple['Denoiser | Conditional', dict[str, Any]]:
    "Load a denoiser by folder or name, and what is said about it."
    from diffbook.conditioning import Conditional
    from diffbook.losses import Denoiser
    from diffbook.training import load, pick_device, read_model

    place = pick_device(device)
    model, about = load(name), read_model(name)[0].get('about')
    if not isinstance(model, (Denoiser, Conditional)):
        raise ValueError(f'{name} holds a {type(model).__name__}, expected a Denoiser or a Conditional, which draw images')
    if not isinstance(about, dict):
        raise ValueError(f'about in config.json of {name} is {repr(about)[:100]}, expected an object')
    return model.to(place), about


def open_codec(about: dict[str, Any], name: str, device: str | None) -> 'Codec | None':
    "Load the autoencoder of a model that draws latents; it must be one of the zoo."
    from diffbook.nets.vae import Codec
    from diffbook.training import load, pick_device

    if (codec := about.get('codec')) is None:
        return None
    if not isinstance(codec, str) or Path(codec).name != codec:
        raise ValueError(f'{name} draws latents of {codec!r}, expected the name of a model in the zoo')
    found = load(codec)
    if not isinstance(found, Codec):
        raise ValueError(f'{name} draws latents of {codec}, which is a {type(found).__name__}, expected an autoencoder')
    return found.to(pick_device(device))


def cells(codec: 'Codec', size: int | None) -> int | None:
    "How many latent cells stand along a side of so many pixels."
    if size is not None and size % codec.factor:
        raise ValueError(f'--size is {size}, expected a multiple of {codec.factor}, the pixels of one latent cell')
    return size and size // codec.factor


def codec_shape(codec: 'Codec', shape: tuple[int, ...]) -> tuple[int, int, int]:
    "The shape of the images whose latents have `shape`."
    return codec.in_channels, shape[1] * codec.factor, shape[2] * codec.factor


def encode_edit(codec: 'Codec', edit: Edit) -> Edit:
    "The same edit in latents; a cell stays if all its pixels do."
    import torch
    import torch.nn.functional as F

    with torch.inference_mode():
        latent = codec.encode(edit.picture.to(next(codec.parameters()).device)).cpu()
    return Edit(latent, None if edit.known is None else F.avg_pool2d(edit.known.float(), codec.factor) == 1, edit.strength)


def decode(codec: 'Codec', latents: 'Tensor', batch: int = 32) -> 'Tensor':
    "Turn latents into images in [-1, 1]."
    import torch

    place = next(codec.parameters()).device
    with torch.inference_mode():
        return torch.cat([codec.decode(z.to(place)).cpu() for z in latents.split(batch)]).clamp(-1, 1)


def finite(images: 'Tensor') -> 'Tensor':
    "Refuse samples that are no pictures."
    import torch

    if not torch.isfinite(images).all():
        raise ValueError(f'{(~torch.isfinite(images)).flatten(1).any(1).sum().item()} of {len(images)} samples are not finite; the model is broken')
    return images


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help='A folder that `train` wrote, or a name in the zoo.')],
    data: Annotated[str, typer.Option(help='What the model should look like: fashion-mnist or mnist; shapes, for a model that reads text.')],
    n: Annotated[int, typer.Option('--n', help='Images to draw and to compare with.')] = 1000,
    guidance: Annotated[float | None, typer.Option(help='How strongly to insist on captions: 1 is off, 2 by default.')] = None,
    steps: Annotated[int, typer.Option(help='Steps from noise to data.')] = 20,
    solver: Annotated[str, typer.Option(help=f'One of {", ".join(SOLVERS)}.')] = 'ddim',
    out: Annotated[Path | None, typer.Option(help='Also write the numbers to this .json file.')] = None,
    device: Device = None,
    data_root: DataRoot = None,
    seed: Seed = 0,
) -> None:
    """Compare samples with real images, beside what real images score against each other (the floor).

    Example: `diffbook evaluate fashion-mnist --data fashion-mnist --n 2048 --steps 40`

    With --data shapes, count what a model that reads text draws as its caption says, for captions that training never showed.
    """
    at_least('--n', n, 10)
    at_least('--steps', steps, 1)
    if solver not in SOLVERS:
        raise ValueError(f'--solver is {solver!r}, expected one of {", ".join(SOLVERS)}')
    if out is not None and (out.suffix != '.json' or out.is_dir()):
        raise ValueError(f'--out is {out}, expected a file that ends in .json')
    if out is not None:
        check_writable(out)
    import json

    import torch

    from diffbook.core import generator
    from diffbook.data import from_model
    from diffbook.metrics import compare
    from diffbook.training import write_file

    denoiser, about = open_model(model, device)
    if about.get('codec') is not None:
        raise ValueError(f'{model} draws latents of {about["codec"]}, whose pictures no judge here knows; expected a model that draws pixels')
    if guidance is not None and reader_of(denoiser) is None:
        raise ValueError(f'--guidance is {guidance!r}, and {model} reads no text')
    if data == 'shapes' and reader_of(denoiser) is not None:
        report = count_captions(denoiser, describe_shape(about, denoiser, None), n, steps, solver, 2.0 if guidance is None else guidance, seed)
        report |= {'model': model, 'data': data, 'solver': solver, 'steps': steps, 'seed': seed}
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_file(out, (json.dumps(report, indent=1) + '\n').encode())
            say(f'{out}')
        return
    real, other = (load_images(data, split, data_root, None).images for split in ('train', 'test'))
    shape = tuple(real.shape[1:])
    if shape[0] != 1:
        raise ValueError(f"--data is {data}, in colour; expected grey images, which are all that the book's judge of images knows")
    if tuple(about.get('shape') or shape) != shape:
        raise ValueError(f'{model} draws images of shape {tuple(about["shape"])}, expected {shape} as in {data}')
    at_most = min(len(real), len(other))
    if n > at_most:
        raise ValueError(f'--n is {n}, expected at most {at_most}, as many as there are test images')
    real, other = (v[torch.randperm(len(v), generator=generator(seed, 'evaluate'))[:n]] for v in (real, other))
    fake = from_model(finite(draw(denoiser, shape, n, steps, solver, seed)))
    report = compare(fake, real, other) | {'model': model, 'data': data, 'solver': solver, 'steps': steps, 'seed': seed}
    say(f'n = {n} samples of {model}, {steps} steps of {solver}, against {n} training images of {data}; floor: {n} test images')
    for name in ('frechet', 'kernel', 'precision', 'recall'):
        say(f'  {name:10} {report[name]:10.4g}   floor {report[f"{name}_floor"]:.4g}')
    say(f'  Frechet distance is {report["frechet_ratio"]:.3g} times its floor')
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_file(out, (json.dumps(report, indent=1) + '\n').encode())
        say(f'{out}')


def count_captions(net: 'Conditional', shape: tuple[int, ...], n: int, steps: int, solver: str, guidance: float, seed: int) -> dict[str, Any]:
    "Draw n captions of each part that training never shows, read the images, and say in how many each claim holds."
    from diffbook.shapes import SPLITS, draw_split
    from diffbook.recognise import caption_agrees, read_shapes
    from diffbook.data import from_model

    report: dict[str, Any] = {'n': n, 'guidance': guidance, 'parts': {}}
    for part in SPLITS[1:]:
        asked = draw_split(n, shape[1], part, seed)
        images = draw(net, shape, n, steps, solver, seed, told=tell(net, asked.captions, '', guidance))
        held = caption_agrees(asked.captions, read_shapes(from_model(finite(images))))
        real = caption_agrees(asked.captions, read_shapes(asked.images))['all']
        other = caption_agrees(asked.captions[1:] + asked.captions[:1], asked.labels)['all']
        objects = (asked.labels[:, 1::4] >= 0).sum(1)
        share = lambda kept: round(kept.double().mean().item(), 4)  # noqa: E731
        report['parts'][part] = {key: share(kept) for key, kept in held.items()} | {
            'by objects': {str(k): share(held['all'][objects == k]) for k in (1, 2, 3) if (objects == k).any()},
            'real images': share(real), 'another caption': share(other),
        }  # fmt: skip
        row = report['parts'][part]
        say(f'{part}: {row["all"]:.1%} of {n} images are all that their caption says (real images {row["real images"]:.1%}, '
            f'under the caption of another {row["another caption"]:.1%})')  # fmt: skip
        say('  ' + ', '.join(f'{key} {row[key]:.1%}' for key in held if key != 'all'))
        say('  ' + ', '.join(f'{v:.1%} with {k} object{"s" * (k != "1")}' for k, v in row['by objects'].items()))
    return report


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help='fashion-mnist, mnist, cifar10 or emoji; without a name: all.')] = None,
    download: Annotated[bool, typer.Option('--download', help='Fetch it, checking its length and digest.')] = False,
    data_root: DataRoot = None,
) -> None:
    """Say which data sets are here, where they are looked for, and how to fetch them.

    Example: `diffbook data fashion-mnist --download`
    """
    from diffbook.data import SOURCES, data_root as root_of, fetch_data

    if name is not None and name not in (*SOURCES, 'shapes'):
        raise ValueError(f'data set is {name!r}, expected shapes, {" or ".join(SOURCES)}')
    if download and name in (None, 'shapes'):
        raise ValueError(f'--download needs the name of a published set, expected {" or ".join(SOURCES)}')
    if download:
        say(f'{name} is in {fetch_data(name, data_root)}')
        return
    root = root_of(data_root)
    say(f'Data sets are looked for in {root}')
    for each in ('shapes', *SOURCES) if name is None else (name,):
        say(f'  {each:14} {status(each, root, data_root)}')


def status(name: str, root: Path, given: Path | None) -> str:
    "Say in a few words whether a data set is there, by name and length of its files."
    from diffbook.data import SOURCES

    if name == 'shapes':
        return 'drawn by the package, needs no file'
    source = SOURCES[name]
    missing = [f for f, (length, _) in source.files.items() if not (root / source.folder / f).is_file()]
    wrong = [f for f, (length, _) in source.files.items() if length and f not in missing and (root / source.folder / f).stat().st_size != length]
    if not missing and not wrong:
        return f'here, in {root / source.folder}'
    what = f'{missing[0]} is missing' if missing else f'{wrong[0]} is damaged'
    command = f'diffbook data {name} --download' + (f' --data-root {quote(given)}' if given is not None else '')
    return f'not here: {what} in {root / source.folder}; fetch it with: {command}'


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help='An old checkpoint: a .pt, .pth, .bin or .ckpt file.')],
    out: Annotated[Path, typer.Argument(help='The file to write, ending in .safetensors.')],
    part: Annotated[str | None, typer.Option(help='Take only this dictionary of the file; by default its state_dict, or all of it.')] = None,
) -> None:
    """Turn an old checkpoint, which can run code when it is read, into safetensors, which cannot.

    Example: `diffbook convert v1-5-pruned.ckpt v1-5-pruned.safetensors`

    A process of its own reads the file: it may open that file and write the other, gets no network where the system allows to take it away, and bounded memory, time and size.
    It needs torch 2.10 or later. Names of tensors in dictionaries within dictionaries are joined by dots; what is no tensor is left out.
    """
    from diffbook.convert import convert as convert_file

    report = convert_file(file, out, part=part)
    say(f'{report["tensors"]:,} tensors, {report["bytes"]:,} bytes, in {out}; the process that read {file.name} had {report["network"]}')
    if report['left']:
        note(f'left out, as no tensors: {", ".join(report["left"][:5])}' + (', ...' if len(report['left']) > 5 else ''))


@app.command()
def doctor(device: Device = None, data_root: DataRoot = None, seed: Seed = 0) -> None:
    """Print versions, devices, threads and data, and time one training step.

    Example: `diffbook doctor`
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from diffbook import __version__
    from diffbook.core import uniform
    from diffbook.data import SOURCES, data_root as root_of
    from diffbook.training import Trainer, pick_device

    place = pick_device(device)
    say(f'diffbook {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}')
    for package in ('torch', 'torchvision', 'safetensors', 'numpy', 'matplotlib', 'fastcore', 'typer'):
        try:
            say(f'  {package:14} {version(package)}')
        except PackageNotFoundError:
            say(f'  {package:14} not installed')
    say(f'devices: cpu with {torch.get_num_threads()} threads on {os.cpu_count()} cores')
    for i in range(torch.cuda.device_count()):
        say(f'  cuda:{i}         {torch.cuda.get_device_name(i)}, {torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB')
    if torch.backends.mps.is_available():
        say('  mps            Apple GPU')
    root = root_of(data_root)
    say(f'data, looked for in {root}')
    for name in ('shapes', *SOURCES):
        say(f'  {name:14} {status(name, root, data_root)}')
    trainer = Trainer(new_model((1, 28, 28), 64, seed), objective, seed=seed, device=place)
    images = (255 * uniform(seed, 'doctor', 0, range(64), (1, 28, 28))).to(torch.uint8).to(trainer.device)
    for _ in range(2):  # the first warms up
        start = time.perf_counter()
        loss = trainer.update(images).loss.item()
        seconds = time.perf_counter() - start
    say(f'one training step of the U-Net on {place.type}, 64 images of 28 x 28: {seconds:.2f} s, {64 / seconds:.0f} images/s, loss {loss:.3f}')


def main(argv: list[str] | None = None) -> None:
    "Run the command line: exit code 2 and one line on bad input, the traceback with --debug, 130 on Ctrl-C."
    argv = sys.argv[1:] if argv is None else list(argv)
    debug = '--debug' in argv
    try:
        code = app([a for a in argv if a != '--debug'] or ['--help'], prog_name='diffbook', standalone_mode=False)
        raise SystemExit(code if isinstance(code, int) else 0)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f'diffbook: {message(error, argv)}', file=sys.stderr)
        raise SystemExit(2) from None


def message(error: Exception, argv: list[str]) -> str:
    "One line that says what went wrong."
    usage = callable(getattr(error, 'format_message', None))  # typer's own errors
    text = error.format_message() if usage else str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f'{error.filename}: {error.strerror}' if error.filename else error.strerror
    given = [v for option, v in zip(argv, argv[1:]) if option in getattr(getattr(error, 'param', None), 'opts', ())]
    text = f'{text}, got {given[0]!r}' if usage and given else text
    expected = usage or isinstance(error, (ValueError, OSError, ArithmeticError))
    text = ' '.join(text.split()) if expected and text else f'{type(error).__name__}: {" ".join(str(error).split())} (--debug shows where)'
    shown = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)  # a file must not speak to the terminal
    return shown if len(shown) <= 2000 else f'{shown[:1000]} ... {shown[-900:]}'


if __name__ == '__main__':
    main()
