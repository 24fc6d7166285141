"""`diffbook train`: train a model on images, and save it on the way, at the end and when it is stopped."""

import copy
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffbook.cli.app import ONE_SIZE, DataRoot, Device, Ground, Seed, app, at_least, load_images, noted, quote, say
from diffbook.cli.prompts import split_words
from diffbook.runs import CHANGES, OPTIONS, Plan, check_writable, content_of, option, plan, refuse_content

if TYPE_CHECKING:
    from diffbook.data import Dataset
    from diffbook.recipes import Recipe

RECIPE_NAMES = ('fashion-mnist', 'fashion-mnist-flow', 'fashion-mnist-small', 'shapes', 'shapes-first-tower', 'emoji-latent', 'emoji-64', 'demo')
METHOD_NAMES = ('flow', 'edm', 'consistency', 'meanflow')
DRAWN_BY = {'consistency': ' --solver renoise', 'meanflow': ' --solver jump'}  # what to type besides, to draw from the model of a method


@app.command()
def train(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help='Folder for the model and its checkpoints.')],
    data: Annotated[str | None, typer.Option(help='shapes, fashion-mnist, mnist, cifar10, emoji, or a folder of images, which is read in colour, each middle square scaled to --size.')] = None,
    recipe: Annotated[str | None, typer.Option(help=f'A recipe of the zoo, by name: {", ".join(RECIPE_NAMES)}. Gives data, network, loss and optimiser; what is typed beside it wins.')] = None,
    method: Annotated[str | None, typer.Option(help=f'Another way to learn the same pictures, one of {", ".join(METHOD_NAMES)}: flow is the velocity of straight paths, edm the preconditioned target of EDM, consistency the end of each path (draw with --solver renoise), meanflow a flow map (draw with --solver jump). Default: v on the cosine schedule, with --text x0, or as the recipe says.')] = None,
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

    By a recipe of the zoo: `diffbook train --recipe fashion-mnist --out runs/garments`

    By flow matching: `diffbook train --data fashion-mnist --method flow --out runs/flow --minutes 20`

    To draw in one to four steps: `... --method meanflow --out runs/map`, then `diffbook sample runs/map --solver jump --steps 2 --out out.png`

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
    from diffbook.core import generator
    from diffbook.scale import join, shared
    from diffbook.store.processes import asked, launched
    from diffbook.store.tensors import copy_whole
    from diffbook.training import checkpoints, pick_device, save

    folder, told, (rank, size_of_team) = out / 'checkpoints', asked(), launched()
    given = {name: value for name, value in ctx.params.items() if ctx.get_parameter_source(name).name != 'DEFAULT'}
    given |= {'bf16': True} if told['bf16'] and bf16 is None else {}
    accumulate, shard = (told[k] if v is None else v for k, v in (('accumulate', accumulate), ('shard', shard)))
    again = int(os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')) > 0 and bool(checkpoints(folder))  # torchrun starts us again after a crash
    run = plan(out, given, ctx.params | of_recipe(recipe, given), resume or again, change)
    made = recipe_of(run.options)
    data, batch_size, seed, total = (run.options[k] for k in ('data', 'batch_size', 'seed', 'steps'))
    text = made.reader is not None
    size = run.options['size'] if 'size' in given or data not in ONE_SIZE else None
    if batch_size % size_of_team:
        raise ValueError(f'--batch-size is {batch_size}, expected a number that the {size_of_team} processes divide')
    at_least(f'--batch-size on each of {size_of_team} processes in {accumulate} parts', batch_size // size_of_team, accumulate)
    check_writable(out)
    tell_user = say if rank == 0 else lambda text: None
    team = join(device, shard=shard, timeout=timeout)
    device = getattr(team, 'device', None) or pick_device(device)
    if data is None:
        found = made.data(data_root, seed)
        data = where = found.name.partition(',')[0]
    else:
        ground, skip_broken = run.options['ground'], run.options['skip_broken']
        own = {'captions': text or None, 'ground': ground, 'skip_broken': skip_broken} if Path(data).is_dir() else {}
        if not own and (ground != 'white' or skip_broken):
            raise ValueError(f'--ground and --skip-broken are for a folder of images, and --data is {data}')
        found = load_captioned(data, data_root, size, **own) if text else load_images(data, 'train', data_root, size, **own)
        where = os.path.abspath(data) if own else data
    images, what = found.images, content_of(found.images, found.captions if text else None)
    refuse_content(run, what, data, out)
    made = made.fitted(found)
    model = made.model(found, generator(seed, 'weights').initial_seed())
    examples = made.examples(found, model)
    pieces = copy.deepcopy(model) if shard else None  # to put the split weights together in
    trainer = made.trainer(
        model, lr=run.options['lr'], total=total, ema=run.options['ema'], seed=seed, device=device, bf16=run.options['bf16'],
        compile=compile or None, warmup=made.warmup if run.options['recipe'] else run.warmup, channels_last=False if shard else None, backward=shared(team, accumulate))  # fmt: skip
    trainer.settings['run'] = run.options | {'data': run.options['data'] and where, 'size': images.shape[-1], 'bf16': trainer.switches['bf16'], 'content': what}
    if run.had:
        go_on(trainer, run, folder, tell_user)
    team.agree(f'the step of the checkpoint found in {folder}', trainer.step)
    parameters = sum(p.numel() for p in model.parameters())
    read = f'{" x ".join(map(str, images.shape[1:]))}' + ' (in colour; --size says how large)' * (os.path.isabs(where) and made.shape is None)
    tell_user(f'{len(images):,} images of {data}, read as {read}{", with captions" if text else ""}; {parameters:,} parameters, on {device.type}{f", {team.size} processes" if team.size > 1 else ""}.')
    if found.captions and not text:
        tell_user('These images have captions: with --text, the model learns to draw what they say.')

    def publish() -> None:
        about = {'data': Path(where).name, 'shape': list(made.shape or images.shape[1:]), 'steps': trainer.step, 'batch_size': batch_size, 'seed': seed}
        about |= {'codec': made.codec} if made.codec else {}
        if text:
            about['words'] = sorted({word for caption in found.captions for word in split_words(caption)})
        average = trainer.ema.model if pieces is None else copy_whole(trainer.ema.model, pieces)
        if team.rank == 0:
            save(out, average, about)

    new = not out.exists()
    try:
        trainer.save(folder)  # a disk that cannot be written to says so now
        train_loop(trainer, examples, batch_size, total, minutes, folder, save_every, out / 'training.csv', publish, team)
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
        + DRAWN_BY.get(run.options['method'], '') + (f' --prompt {quote(found.captions[0])}' if text else ''))  # fmt: skip


def of_recipe(name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    "What a recipe says instead of the defaults of the options that were not typed."
    from diffbook.recipes import recipe

    if name is None:
        return {}
    for other in ('text', 'width'):
        if other in given:
            raise ValueError(f'--{other} is {given[other]}, and --recipe is {name}, which says what the network is; expected one of them')
    made = recipe(name)
    said = {'steps': made.steps, 'batch_size': made.batch, 'lr': made.lr, 'ema': made.ema, 'bf16': made.bf16}
    return {option: value for option, value in said.items() if option not in given}


def recipe_of(options: Mapping[str, Any]) -> 'Recipe':
    "The recipe that a run follows: by name, or for the pictures at hand; and by the method that is asked for."
    from diffbook.recipes import by_method, captioned, plain, recipe

    made = recipe(options['recipe']) if options['recipe'] else (captioned if options['text'] else plain)(options['width'])
    return by_method(options['method'], made)


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


def train_loop(
    trainer: Any, examples: Any, batch_size: int, total: int | None, minutes: float | None, folder: Path, every: int, log: Path, publish: Callable[[], None], team: Any
) -> None:
    "Make updates until the steps or the minutes are used up; write one line of the log every 20."
    from itertools import islice

    from tqdm import tqdm

    from diffbook.data import batches
    from diffbook.scale import share
    from diffbook.store.files import write_whole

    left = None if total is None else max(0, total - trainer.step)
    examples = tuple(v.to(trainer.device) for v in examples) if isinstance(examples, tuple) else examples.to(trainer.device)
    stream = islice(batches(share(examples, team), batch_size, trainer.seed, trainer.step), left)
    end = time.monotonic() + 60 * minutes if minutes else float('inf')
    kept = log.read_text().splitlines()[1:] if log.exists() and trainer.step else []
    kept = [line for line in kept if line.partition(',')[0].isdigit() and int(line.partition(',')[0]) <= trainer.step]
    others = team.rank > 0  # who are silent
    if not others:
        write_whole(log, '\n'.join(['step,loss,lr,grad_norm', *kept, '']).encode())
    with open(os.devnull if others else log, 'a') as file, tqdm(total=total, initial=trainer.step, desc='training', unit='step', disable=others) as bar:
        for step in trainer.fit(stream, folder, every, publish):
            bar.update()
            if step.step % 20 == 0:
                bar.set_postfix(loss=f'{step.loss.item():.3f}')
                print(f'{step.step},{step.loss.item():.6g},{step.lr:.6g},{step.grad_norm.item():.6g}', file=file, flush=True)
            if minutes and team.any(time.monotonic() >= end):
                trainer.save(folder)
                break
