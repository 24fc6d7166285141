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
            homes[old] = (home, new or old)

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        home, new = homes[name]
        if not name.startswith('_'):
            warnings.warn(f'{module}.{name} is {home}.{new} now; the old name goes with the next release', DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(f'diffbook.{home.removeprefix("diffbook.")}'), new)  # nothing else is ever imported

    return find
