"""Low-rank changes on the command line: which file speaks how strongly."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
