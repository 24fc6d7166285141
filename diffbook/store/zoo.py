"""The zoo: what it says about its models, and the tensors of those that are one bare file."""

import hashlib
import importlib.resources
import json
from typing import Any

import safetensors.torch
from torch import Tensor

from diffbook.core import one_of

__all__ = ['zoo_entry', 'zoo_tensors']


def zoo_entry(
    name: str,  # such as 'classifier'
) -> dict[str, Any]:  # file, bytes, sha256, the command that made it and what it scored
    "Read what the zoo says about one of its models; raise a ValueError if it has none of that name."
    entries = json.loads((importlib.resources.files('diffbook') / 'zoo' / 'zoo.json').read_text(encoding='utf-8'))
    return entries[one_of('model', name, entries)]


def zoo_tensors(
    name: str,  # such as 'classifier'
) -> dict[str, Tensor]:
    "Read the tensors of a model of the zoo; raise a ValueError if its file has another digest than the one that scores were measured with."
    entry = zoo_entry(name)
    data = (importlib.resources.files('diffbook') / 'zoo' / entry['file']).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry['sha256']:
        raise ValueError(f'{entry["file"]} has sha256 {digest}, expected {entry["sha256"]}: scores would not be comparable')
    return safetensors.torch.load(data)
