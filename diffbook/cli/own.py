"""`diffbook train --data FOLDER`: look at the folder, choose what has time to learn, say it, and read the pictures."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffbook.cli.app import note, report, say
from diffbook.runs import OWN

if TYPE_CHECKING:
    from diffbook.data import Dataset
    from diffbook.own import Choice, Look

OFTEN = 1000  # times that a picture is seen, beyond which a network begins to draw copies of few (chapter 79)
PAGE = 'https://diffbook.github.io/diffbook/memory.html'
MINUTES = 15.0  # of a run on one's own pictures, if neither steps nor minutes are said


def is_own(name: str | None) -> bool:
    "Whether the data are a folder of pictures."
    from diffbook.data import SOURCES

    return name is not None and name not in ('shapes', *SOURCES) and Path(name).is_dir()


def check_own(given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    "Refuse options of own pictures with other data, and what contradicts itself."
    if not is_own(values['data']):
        for name in ('fit', 'captions', 'grey'):
            if name in given:
                raise ValueError(f'--{name} is for a folder of images, and --data is {values["data"]}')
        return
    if values['text'] and values['class_folders']:
        raise ValueError('both --text and --class-folders are given, expected one of them: a model reads captions, or classes')
    if values['recipe']:
        raise ValueError(f'--recipe is {values["recipe"]}, and --data is a folder; expected one of them: a folder has a recipe of its own')


def settle_own(given: Mapping[str, Any], values: dict[str, Any], device: Any, alone: bool, tell_user: Any) -> tuple[dict[str, Any], 'Look', 'Choice']:
    "Look at a folder, and choose all that was not said."
    from diffbook.own import choose, look, shape_of, step_seconds
    from diffbook.store.pictures import check_ground

    check_ground(values['ground'])
    found = look(values['data'], skip_broken=values['skip_broken'])
    reads = reads_of(found, values)
    minutes = values['minutes'] or (None if values['steps'] else MINUTES)
    for line in found.describe():
        note(line) if line in found.said else tell_user(f'  {line}')
    own = {name: given.get(name) for name in ('size', 'width', 'depth', 'patch', 'batch_size')} | {'grey': values['grey']}
    if values['init']:
        for name in ('width', 'depth', 'patch', 'prediction'):
            if name in given:
                raise ValueError(f'--{name} is {given[name]}, and --init is {values["init"]}, which says what the network is; expected one of them')
        channels, side = shape_of(values['init'])
        own |= {'grey': channels == 1, 'size': own['size'] or side, 'width': 32, 'depth': 1, 'patch': 1}
    measure = (lambda choice: step_seconds(choice, device, begin=values['init'])) if alone else None
    choice = choose(found, minutes, steps=values['steps'], reads=reads, measure=measure, **own)
    settled = {
        'minutes': minutes, 'text': reads == 'captions', 'class_folders': reads == 'classes', 'grey': choice.channels == 1, 'size': choice.size,
        'width': choice.width, 'depth': choice.depth, 'patch': choice.patch, 'batch_size': choice.batch_size,
    }  # fmt: skip
    settled |= {'warmup': min(100, choice.steps // 10)} if values['warmup'] is None and choice.seconds is not None else {}
    own_values = OWN | ({'lr': 5e-4} if values['init'] else {})
    settled |= {name: value for name, value in own_values.items() if name not in given}
    return values | settled, found, choice


def reads_of(found: 'Look', values: Mapping[str, Any]) -> str | None:
    "Whether a model is to read classes or captions: what is said, else classes if there are two or more, else a table of captions."
    if values['text'] or values['captions']:
        found.captions(values['captions'])  # says now what is amiss
        return 'captions'
    if values['class_folders'] is False or values['text'] is False and not values['class_folders'] and not found.classes:
        return None
    if values['class_folders'] and not found.classes:
        raise ValueError(f'--class-folders is given, and {values["data"]} has {len({*found.names})} class; expected two or more sub-folders of pictures')
    if found.classes:
        return 'classes'
    if 'metadata' in found.hints:
        try:
            found.captions('metadata')
        except ValueError as error:
            note(f'the captions are not read: {error}')
        else:
            return 'captions'
    if 'txt' in found.hints:
        say('  These images have captions: with --text, the model learns to draw what they say.')
    return None


def tell_choice(choice: 'Choice', n: int, device: str, tell_user: Any, begin: str | None = None) -> None:
    "Say what will be trained, and why it fits."
    told = {'classes': ', told the class', 'captions': ', told the caption'}.get(choice.reads or '', '')
    own = f'a U-Net of width {choice.width}, depth {choice.depth}, squares of {choice.patch} x {choice.patch} pixels'
    net = own if begin is None else f'the network of {begin}'
    tell_user(f'  Size {choice.size} x {choice.size}, {"grey" if choice.channels == 1 else "in colour"}{told}; {net}; {choice.batch_size} pictures an update')  # fmt: skip
    if choice.seconds is not None:
        tell_user(f'  An update takes {choice.seconds:.3g} s on {device}: in {choice.minutes:g} minutes about {choice.steps:,} updates, '
            f'which see each of the {n:,} pictures {choice.passes(n):,.1f} times')  # fmt: skip
        if choice.steps < 1000:
            note(f'{choice.steps:,} updates are few: samples may stay noise; give more --minutes, or a smaller --size')
    elif choice.steps is not None:
        tell_user(f'  {choice.steps:,} updates, which see each of the {n:,} pictures {choice.passes(n):,.1f} times')
    warn_often(choice.steps, choice.batch_size, n)


def warn_often(steps: int | None, batch_size: int, n: int) -> bool:  # whether it was said
    "Say if few pictures will be seen so often that they are copied."
    passes = (steps or 0) * batch_size / n
    if passes <= OFTEN:
        return False
    note(f'each of the {n:,} pictures will be seen about {passes:,.0f} times; seen more than {OFTEN:,} times, few pictures are learned by heart, and samples become copies of them '
         f'(chapter 79, {PAGE}); {OFTEN * n // batch_size:,} updates reach that. Add pictures, or train for less; `diffbook evaluate` counts copies')  # fmt: skip
    return True


def tell_plan(found: 'Look | None', choice: 'Choice | None', values: Mapping[str, Any]) -> None:
    "Under --plan: the plan as JSON, if that is asked for."
    if found is None:
        raise ValueError(f'--plan is given, and --data is {values["data"]}; expected a folder of images')
    say('Nothing was trained: --plan is given.')
    facts = {'pictures': len(found.files), 'grey': found.grey, 'classes': list(found.classes), 'captions': list(found.hints), 'said': list(found.said)}
    passes = choice.passes(len(found.files))
    report(data=str(values['data']), found=facts, plan=asdict(choice) | {'passes': round(passes, 2), 'copies': passes > OFTEN})


def read_folder_of(options: Mapping[str, Any], cache: Path, found: 'Look | None' = None) -> 'Dataset':
    "Read the pictures of a folder as the options of a run say."
    from diffbook.own import look, read_as

    found = found or look(options['data'], skip_broken=options['skip_broken'])
    reads = 'captions' if options['text'] else 'classes' if options['class_folders'] else None
    how = {name: options[name] for name in ('size', 'fit', 'ground', 'captions', 'skip_broken')}
    data, said = read_as(found, grey=options['grey'], reads=reads, cache=cache, **how)
    for text in said:
        note(text)
    return data


def named_data(options: Mapping[str, Any], root: Path | None, size: int | None, load: Any) -> 'Dataset':
    "Load data by name; with --class-folders they must have classes."
    found = load(options['data'], 'train', root, size)
    if options['class_folders'] and (found.labels is None or found.labels.ndim != 1 or len(found.classes) < 2):
        raise ValueError(f'--class-folders is given, and {options["data"]} has no classes; expected a folder with two or more sub-folders, or fashion-mnist, mnist, cifar10')
    return found


