"""A run of `diffbook train`, once its options are known: data, model, trainer, loop, and what is said at the end."""

import copy
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffbook.cli.app import ONE_SIZE, at_least, load_images, noted, quote, report, say
from diffbook.cli.config import NEVER, write_config
from diffbook.cli.lora import begin_lora, keep_lora
from diffbook.cli.loop import Length, sheet_of, train_loop
from diffbook.cli.own import check_own, is_own, named_data, read_folder_of, settle_own, tell_choice, tell_plan, warn_often
from diffbook.cli.prompts import split_words
from diffbook.runs import FAST, OPTIONS, Plan, check_writable, content_of, option, plan, refuse_content

if TYPE_CHECKING:
    from diffbook.data import Dataset
    from diffbook.recipes import Model, Recipe

DRAWN_BY = {'consistency': ' --solver renoise', 'meanflow': ' --solver jump'}  # what to type besides, to draw from the model of a method


def run(out: Path, given: dict[str, Any], values: dict[str, Any]) -> None:
    "Train as the options say: `given` are those that were typed, `values` all of them."
    if out.exists() and not out.is_dir():
        raise ValueError(f'--out is {out}, which is a file; expected a folder')
    from diffbook.core import generator
    from diffbook.scale import join, shared
    from diffbook.speedrun import muon
    from diffbook.store.processes import asked, launched
    from diffbook.training import checkpoints, pick_device

    folder, told, (rank, size_of_team) = out / 'checkpoints', asked(), launched()
    given |= {'bf16': True} if told['bf16'] and values['bf16'] is None else {}
    accumulate, shard = (told[k] if values[k] is None else values[k] for k in ('accumulate', 'shard'))
    again = int(os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')) > 0 and bool(checkpoints(folder))  # torchrun starts us again after a crash
    resume, looked, choice = values['resume'] or again, None, None
    tell_user = say if rank == 0 else lambda text: None
    if not resume:
        check_own(given, values)
        if is_own(values['data']):
            tell_user(f'{values["data"]}:')
            values, looked, choice = settle_own(given, values, pick_device(values['device']), size_of_team == 1, tell_user)
            tell_choice(choice, len(looked.files), pick_device(values['device']).type, tell_user, values['init'])
        if values['plan']:
            return tell_plan(looked, choice, values)
    run = plan(out, given, values | fast(given, values) | of_recipe(values['recipe'], given), resume, values['change'])
    made = recipe_of(run.options)
    if shard and made.optimizer is muon:
        raise ValueError('--shard splits every matrix among the processes, and --optimizer muon needs it whole; expected one of them')
    batch_size, seed = run.options['batch_size'], run.options['seed']
    if batch_size % size_of_team:
        raise ValueError(f'--batch-size is {batch_size}, expected a number that the {size_of_team} processes divide')
    at_least(f'--batch-size on each of {size_of_team} processes in {accumulate} parts', batch_size // size_of_team, accumulate)
    check_writable(out)
    new, begun = not out.exists(), time.monotonic()
    team = join(values['device'], shard=shard, timeout=values['timeout'])
    device = getattr(team, 'device', None) or pick_device(values['device'])
    data, found = read_data(run, made, given, values['data_root'], out, looked)
    text, classes = bool(run.options['text'] or (run.options['recipe'] and made.reader)), run.options['class_folders']
    images, what = found.images, content_of(found.images, found.captions if text else None, found if classes else None)
    refuse_content(run, what, data, out)
    made = made.fitted(found)
    model, made = make_model(run, made, found, generator(seed, 'weights').initial_seed(), out, tell_user)
    examples = made.examples(found, model)
    pieces = copy.deepcopy(model) if shard else None  # to put the split weights together in
    own_warmup = made.warmup if run.options['recipe'] and run.options['warmup'] is None else run.warmup
    length = Length(run.options['steps'], values['minutes'], run.options['rate'] == 'falling')
    trainer = made.trainer(
        model, lr=run.options['lr'], total=length.steps if length.falling else None, ema=run.options['ema'], seed=seed, device=device, bf16=run.options['bf16'],
        compile=values['compile'] or None, warmup=own_warmup, channels_last=False if shard else None, backward=shared(team, accumulate))  # fmt: skip
    where = os.path.abspath(data) if is_own(data) else data
    trainer.settings['run'] = run.options | {'data': run.options['data'] and where, 'bf16': trainer.switches['bf16'], 'content': what}
    trainer.settings['run']['size'] = run.options['size'] if made.shape else images.shape[-1]
    if run.had:
        go_on(trainer, run, folder, tell_user)
        warn_often(run.options['steps'], batch_size, len(images)) if rank == 0 else None
    team.agree(f'the step of the checkpoint found in {folder}', trainer.step)
    parameters = sum(p.numel() for p in model.parameters())
    read = ' x '.join(map(str, made.shape or images.shape[1:]))
    also = ', with captions' if text else f', in {len(found.classes)} classes' if classes else ''
    tell_user(f'{len(images):,} images of {data}, read as {read}{also}; {parameters:,} parameters, on {device.type}{f", {team.size} processes" if team.size > 1 else ""}.')
    if found.captions and not text and not looked:
        tell_user('These images have captions: with --text, the model learns to draw what they say.')
    about = describe_run(where, made, found, run.options, text)
    publish = publisher(out, trainer, about, pieces, team, run.options['init'] if run.options['lora'] else None)
    try:
        trainer.save(folder)  # a disk that cannot be written to says so now
        if team.rank == 0:
            keep_options(out, run.options, values, data)
        sheet = sheet_of(trainer, made, found, run.options['method'], seed, out / 'samples') if team.size == 1 else None
        train_loop(trainer, examples, batch_size, length, folder, values['save_every'], out / 'training.csv', publish, team, sheet, values['sample_every'], values['log'])
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
    if team.rank == 0:
        tell_end(out, trainer.step, run.options['method'], found, text, classes, run.options['init'] if run.options['lora'] else None)
        report(out=str(out), steps=trainer.step, images=len(images), shape=about['shape'], parameters=parameters, classes=list(found.classes) if classes else [], seconds=round(time.monotonic() - begun, 1))


def read_data(run: Plan, made: 'Recipe', given: Mapping[str, Any], root: Path | None, out: Path, looked: Any) -> tuple[str, 'Dataset']:
    "The pictures of a run, and what they are called."
    options, data = run.options, run.options['data']
    if data is None:
        found = made.data(root, options['seed'])
        return found.name.partition(',')[0], found
    if is_own(data):
        with noted():
            return data, read_folder_of(options, out / 'pictures', looked)
    if options['ground'] != 'white' or options['skip_broken']:
        raise ValueError(f'--ground and --skip-broken are for a folder of images, and --data is {data}')
    size = options['size'] if 'size' in given or data not in ONE_SIZE else None
    if options['text']:
        return data, load_captioned(data, root, size)
    return data, named_data(options, root, size, load_images)


def make_model(run: Plan, made: 'Recipe', found: 'Dataset', seed: int, out: Path, tell_user: Callable[[str], None]) -> tuple['Model', 'Recipe']:
    "The model with its first weights: drawn, or those of another model."
    if run.options['init'] is None:
        return made.model(found, seed), made
    from diffbook.own import begin_from

    there = run.had and (out / 'model.safetensors').exists()  # a run that goes on needs the parts alone, and finds them at home
    model, made, said = begin_from(str(out) if there else run.options['init'], made, found, seed)
    tell_user(said) if not run.had else None
    if run.options['lora']:
        model = begin_lora(model, run.options['init'], run.options['lora'], run.options['seed'])
    return model, made


def describe_run(where: str, made: 'Recipe', found: 'Dataset', options: Mapping[str, Any], text: bool) -> dict[str, Any]:
    "What a model is told about itself; the steps come when it is saved."
    about = {'data': Path(where).name, 'shape': list(made.shape or found.images.shape[1:]), 'steps': 0, 'batch_size': options['batch_size'], 'seed': options['seed']}
    about |= {'codec': made.codec} if made.codec else {}
    about |= {'classes': list(found.classes)} if options['class_folders'] else {}
    about |= {'words': sorted({word for caption in found.captions for word in split_words(caption)})} if text else {}
    return about


def publisher(out: Path, trainer: Any, about: dict[str, Any], pieces: Any, team: Any, changes: str | None = None) -> Callable[[], None]:
    "What saves the averaged model for others; or, of a model that is changed, the change alone."
    from diffbook.store.tensors import copy_whole
    from diffbook.training import save

    def publish() -> None:
        if changes is not None:
            return keep_lora(out, trainer.ema.model, about | {'steps': trainer.step, 'base': changes})
        average = trainer.ema.model if pieces is None else copy_whole(trainer.ema.model, pieces)
        if team.rank == 0:
            save(out, average, about | {'steps': trainer.step})

    return publish


def keep_options(out: Path, options: Mapping[str, Any], values: Mapping[str, Any], data: str) -> None:
    "Write run.toml: all options that make the run what it is, and how long it goes on."
    from diffbook.store.files import write_whole

    said = {name: values[name] for name in values if name not in (*NEVER, *OPTIONS)} | dict(options) | {'data': os.path.abspath(data) if is_own(data) else options['data']}
    ordered = {name: said[name] for name in values if said.get(name) is not None}
    if 'minutes' in ordered:
        ordered.pop('steps', None)
    write_whole(out / 'run.toml', write_config(ordered).encode())


def tell_end(out: Path, step: int, method: str | None, found: 'Dataset', text: bool, classes: bool, changes: str | None = None) -> None:
    "Say what was written, and what to type next."
    sheets = f'  {out / "samples"}    samples on the way\n' if (out / 'samples').exists() else ''
    asked = f' --prompt {quote(found.captions[0])}' if text else f' --class {quote(found.classes[0])}' if classes else ''
    what, drawn = ('the model', quote(out)) if changes is None else (f'the change of {changes}', f'{quote(changes)} --lora {quote(out)}')
    say(f'Done after step {step}.\n  {out}    {what}\n  {out / "training.csv"}    how the loss fell\n{sheets}'
        f'  {out / "checkpoints"}    checkpoints\nNext: diffbook sample {drawn} --out {quote(out / "samples.png")}'
        + DRAWN_BY.get(method, '') + asked)  # fmt: skip


def of_recipe(name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    "What a recipe says instead of the defaults of the options that were not typed."
    from diffbook.recipes import recipe

    if name is None:
        return {}
    for other in ('text', 'width', 'depth', 'patch', 'class_folders', 'dropout', 'prediction', 'init'):
        if other in given:
            raise ValueError(f'--{other.replace("_", "-")} is {given[other]}, and --recipe is {name}, which says what the network is; expected one of them')
    made = recipe(name)
    said = {'steps': made.steps, 'batch_size': made.batch, 'lr': made.lr, 'ema': made.ema, 'bf16': made.bf16}
    return {option: value for option, value in said.items() if option not in given}


def fast(given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    "What garments are trained with, unless something else is said: with what chapter 27 measured on them, which is neither captions or classes nor another method or network."
    other = [name for name in ('recipe', 'method', 'text', 'class_folders', 'init', 'lora', 'shard', 'depth', 'patch', 'dropout', 'prediction') if values[name]]
    if values['data'] != 'fashion-mnist' or other or given.get('optimizer') == 'adamw':
        return {}
    return {name: value for name, value in FAST.items() if name not in given}


def recipe_of(options: Mapping[str, Any]) -> 'Recipe':
    "The recipe that a run follows: by name, or for the pictures at hand; and by the method that is asked for."
    from diffbook.own import Choice, changed, own_recipe
    from diffbook.recipes import by_method, captioned, plain, recipe

    reads = 'captions' if options['text'] else 'classes' if options['class_folders'] else None
    if options['recipe']:
        made = recipe(options['recipe'])
    elif options['depth'] or options['patch'] or options['dropout'] or reads == 'classes':
        choice = Choice(options['size'] or 0, 1 if options['grey'] else 3, options['width'], options['depth'] or 2, options['patch'] or 2, options['batch_size'], reads)
        made = own_recipe(choice, dropout=options['dropout'], fit=options['fit'])
    else:
        made = (captioned if reads else plain)(options['width'])
    if options['method'] and options['prediction']:
        raise ValueError(f'--prediction is {options["prediction"]}, and --method is {options["method"]}, which says what is predicted; expected one of them')
    made = changed(made, **{name: options[name] for name in ('prediction', 'snr_weight', 'drop', 'flip', 'weight_decay', 'optimizer')})
    return by_method(options['method'], made)


def go_on(trainer: Any, run: Plan, folder: Path, tell_user: Callable[[str], None]) -> None:
    "Take a run up with the options that `settle` has judged, and say what differs from here on."
    from diffbook.training import learning_rate

    now = trainer.settings['run']
    different = [name for name in OPTIONS if now[name] != run.had[name] and name != 'data']
    places = {'lr': ['lr'], 'ema': ['ema'], 'bf16': ['bf16'], 'weight_decay': ['weight_decay'], 'steps': ['total'], 'rate': ['total']}
    settings = [place for name in different for place in places.get(name, ())] + ['total'] * (now['steps'] is None)  # which minutes move
    with noted():
        trainer.resume(folder, change=['run', *settings])
    tell_user(f'Continuing after step {trainer.step}.')
    for name in different:
        tell_user(f'From here on {option(name)} is {now[name]}, and was {run.had[name]}.')
    if {'steps', 'lr', 'rate'} & {*different}:
        rate = learning_rate(trainer.step, *(trainer.settings[k] for k in ('lr', 'warmup', 'total')))
        tell_user(f'The learning rate of the next update is {rate:.3g}' + (f', that of a run of {now["steps"]} updates.' if now['steps'] else '.'))


def load_captioned(name: str, root: Path | None, size: int | None) -> 'Dataset':
    "Load images with captions by name: of shapes, those that no test asks for, and some captions that leave something out."
    from diffbook.shapes import draw_split

    if name == 'shapes':
        at_least('--size', size, 8)
        return draw_split(50_000, size or 32, brief=0.2)
    found = load_images(name, 'train', root, size)
    if found.captions is None:
        raise ValueError(f'--text needs captions, and {name} has none; expected --data shapes, emoji, or a folder with captions')
    return found
