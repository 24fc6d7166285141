"""Names that have moved: for one release their old place still gives them, and says where they are now."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module whose names have moved.

    `places` maps the new module to its names, separated by blanks: `__getattr__ = moved(__name__, {'diffbook.shapes':
    'draw_shapes describe'})`. A name that changed as well is written `old:new`.
    """
    homes = {}
    for home, words in places.items():
        for word in words.split():
            old, _, new = word.partition(':')
            homes[old] = (home.removeprefix('diffbook.'), new or old)

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        home, new = homes[name]
        if not name.startswith('_'):
            warnings.warn(f'{module}.{name} is diffbook.{home}.{new} now; the old name goes with the next release', DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(f'diffbook.{home}'), new)  # nothing else is ever imported

    return find


def refuse_gone(options: Mapping[str, Any], **instead: str) -> None:
    "Raise a ValueError that says what to write instead of an option that is gone, in whose words {} is its value; a TypeError for one that never was."
    for name, value in options.items():
        if name not in instead:
            raise TypeError(f'unexpected keyword argument {name!r}')
        raise ValueError(f'{name} is no option any more; write {instead[name].format(value)}')
