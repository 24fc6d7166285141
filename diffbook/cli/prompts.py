"""What is asked of a model that reads text, and whether it was drawn."""

import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from diffbook.cli.app import note, noted, say

if TYPE_CHECKING:
    from torch import Tensor

    from diffbook.cli.models import Opened
    from diffbook.conditioning import Conditional, TextConditioner
    from diffbook.core import Cond
    from diffbook.stages import Stage


def reader_of(model: Any) -> 'TextConditioner | None':
    "The part of a model that reads text, if it has one."
    from diffbook.conditioning import Conditional, TextConditioner

    reads = isinstance(model, Conditional) and isinstance(model.conditioner, TextConditioner)
    return model.conditioner if reads else None


def split_words(text: str) -> list[str]:
    "The words of a text, in small letters."
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())


def known_words(about: dict[str, Any]) -> set[str]:
    "The words that a text model was trained on; none if it does not say."
    from diffbook.shapes import BACKGROUNDS, CELLS, COLOURS, RELATIONS, SHAPES, WORDS

    if words := about.get('words'):
        return set(words)
    if not str(about.get('data', '')).startswith('shapes'):
        return set()
    phrases = (*SHAPES, *COLOURS, *BACKGROUNDS, *CELLS, *sum((*WORDS.values(), *RELATIONS.values()), ()), 'a an and at the on background')
    return {word for phrase in phrases for word in split_words(phrase)}


def check_words(text: str, known: set[str]) -> None:
    "Say which words of a prompt the model has never read, and which it has."
    strange = [word for word in dict.fromkeys(split_words(text)) if known and word not in known]
    if not strange:
        return
    near = sorted({other for word in strange for other in get_close_matches(word, known, 3, 0.7)})
    what = f'it knows {", ".join(sorted(known))}' if len(known) <= 60 else f'it knows {len(known):,} words' + (f', such as {", ".join(near)}' if near else '')
    note(f'the model was never shown {" or ".join(repr(word) for word in strange)}, and may not draw what is meant; {what}')


def label_of(name: str, about: dict[str, Any], classes: int) -> int:
    "The number of a class, by its name or its number."
    names = [str(n) for n in about.get('classes', ())] or [str(k) for k in range(classes)]
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < classes:
        return int(name)
    near = get_close_matches(name, names, 1, 0.5)
    raise ValueError(f'--class is {name!r}, expected one of {", ".join(names[:50])}{", ..." if len(names) > 50 else ""}' + (f'; did you mean {near[0]}?' if near else ''))


def listen_class(opened: 'Opened', name: str | None, n: int, guidance: float | None) -> tuple['Stage', 'Cond', list[str]]:  # and the class of each
    "Make what is asked of a model of classes out of the options: one class, or all in turn."
    import torch

    from diffbook.guidance import guide

    model, stage = opened.model, opened.stage
    classes = model.conditioner.classes
    names = [str(v) for v in opened.about.get('classes', range(classes))]
    raw = torch.arange(n) % classes if name is None else torch.full((n,), label_of(name, opened.about, classes))
    guidance = 2.0 if guidance is None else guidance
    with torch.inference_mode():
        cond, null = model.condition(raw), model.null(1)
    return (replace(stage, denoise=guide(stage.denoise, null, guidance)) if guidance != 1 else stage), cond, [names[k] for k in raw.tolist()]


def reads_classes(model: Any) -> bool:
    "Whether a model is told classes."
    from diffbook.conditioning import ClassConditioner, Conditional

    return isinstance(model, Conditional) and isinstance(model.conditioner, ClassConditioner)


def listen(opened: 'Opened', prompt: str | None, negative: str | None, guidance: float | None) -> tuple['Stage', 'Cond | None']:
    "Make what is asked of a text model out of the options; refuse them for a model that reads no text."
    given = [(o, v) for o, v in (('--prompt', prompt), ('--negative', negative), ('--guidance', guidance)) if v is not None]
    if reader_of(opened.model) is None:
        for option, value in given:
            if reads_classes(opened.model) and option != '--guidance':
                raise ValueError(f'{option} is {value!r}, and {opened.name} reads no text but classes; expected --class, one of {", ".join(opened.about.get("classes", ()))}')
            raise ValueError(f'{option} is {value!r}, and {opened.name} reads no text; `diffbook train --data shapes --text` makes a model that does')
        return opened.stage, None
    if guidance is not None and not -1e6 < guidance < 1e6:
        raise ValueError(f'--guidance is {guidance}, expected a finite number: 1 is off, 2 to 4 are usual')
    prompt, negative = (prompt or '').strip(), (negative or '').strip()
    known = known_words(opened.about)
    for text in (prompt, negative):
        check_words(text, known)
    if not prompt and not negative:
        note('no prompt: images are drawn without a condition' + (', and --guidance does nothing' if guidance is not None else '; say what to draw with --prompt'))
        return opened.stage, None
    return tell(opened.stage, opened.model, prompt, negative, 2.0 if guidance is None else guidance)


def tell(stage: 'Stage', model: 'Conditional', prompts: str | Sequence[str], negative: str, guidance: float) -> tuple['Stage', 'Cond']:
    "Make a stage that is guided away from `negative`, and the condition of prompts: one for all images, or one each."
    import torch

    from diffbook.guidance import guide

    with torch.inference_mode(), noted():
        cond = model.condition([prompts] if isinstance(prompts, str) else list(prompts))
        null = model.condition([negative]) if negative else model.null(1)
    return (replace(stage, denoise=guide(stage.denoise, null, guidance)) if guidance != 1 else stage), cond


def count_agreement(about: dict[str, Any], prompt: str, images: 'Tensor') -> None:
    "Read drawn shapes, and say in how many images all that the prompt states is true."
    from diffbook.data import from_model
    from diffbook.recognise import caption_agrees, read_shapes
    from diffbook.shapes import NEW

    if not str(about.get('data', '')).startswith('shapes') or images.shape[1] != 3:
        return
    try:
        held = caption_agrees(prompt, read_shapes(from_model(images), new=any(word in NEW for word in split_words(prompt))))
    except ValueError as error:
        note(f'the images are not counted, as the reader of shapes does not understand the prompt: {error}')
        return
    wrong = [f'{key} in {(~kept).sum().item()}' for key, kept in held.items() if key != 'all' and not kept.all()]
    say(f'{held["all"].sum().item()} of {len(images)} show what the prompt says' + (f' (wrong: {", ".join(wrong)})' if wrong else ''))
