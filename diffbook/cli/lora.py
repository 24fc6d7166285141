"""Low-rank changes on the command line: which file speaks how strongly."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffbook.cli.prompts import known_words

if TYPE_CHECKING:
    from torch import nn

    from diffbook.cli.models import Opened

LORA_HELP = 'A LoRA that changes the model: a file, a folder that holds one, or a name in the zoo, and after a colon how strongly it speaks, as in style.safetensors:0.8. May stand several times.'


def split_lora(text: str) -> tuple[str, float]:
    "The file, and the strength after the last colon, 1 if there is none."
    file, colon, strength = text.rpartition(':')
    try:
        scale = float(strength)
    except ValueError:
        return text, 1.0  # the colon, if any, is part of the name
    if not colon:
        return text, 1.0
    if not file or not math.isfinite(scale):
        raise ValueError(f'--lora is {text!r}, expected FILE or FILE:STRENGTH with a finite number')
    return file, scale


def change(model: 'nn.Module', given: Sequence[str]) -> None:
    "Merge what is given into the weights of a model."
    from diffbook.adapters import load_lora, merge_lora

    for k, text in enumerate(given):
        file, scale = split_lora(text)
        load_lora(model, file, scale, name=f'lora{k}')
    if given:
        merge_lora(model)


def changed(opened: 'Opened', given: Sequence[str]) -> 'Opened':
    "A model with what is given, which knows the words that it was taught."
    from diffbook.pretrained import about_lora

    change(opened.model, given)
    words = {word for text in given for word in about_lora(split_lora(text)[0]).get('words', ())}
    known = known_words(opened.about)
    return opened._replace(about=opened.about | {'words': sorted(known | words)}) if known and words else opened


def begin_lora(model: 'nn.Module', base: str, rank: int, seed: int) -> 'nn.Module':
    "The model that a run begins with, frozen, with changes beside the layers of its network; refuse one that reads other things than `model`, which was made for what is to be learned."
    from diffbook.adapters import add_lora
    from diffbook.training import load

    own = load(base)
    reads = [type(getattr(m, 'conditioner', None)).__name__ for m in (own, model)]
    if reads[0] != reads[1] or reads[0] == 'ClassConditioner':
        said = [name.replace('Conditioner', '').replace('NoneType', 'nothing').lower() for name in reads]
        raise ValueError(f'--lora is {rank}, and {base} reads {said[0]}, where {said[1]} is to be learned; expected a model of pictures alone or of text, and pictures of its kind')
    add_lora(own, rank, where=lambda name: not name.startswith('conditioner'), seed=seed)
    return own


def keep_lora(out: Path, model: 'nn.Module', about: Mapping[str, Any]) -> None:
    "Save the change alone."
    from diffbook.adapters import save_lora

    save_lora(model, out / 'lora.safetensors', about=about)
