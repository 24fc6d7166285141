# Written by tools/stubs.py from the module beside it.

from collections.abc import Sequence
from dataclasses import dataclass
from torch import Tensor
from .data import Dataset
from typing import Any

__all__ = ['read_shapes', 'Facts', 'read_caption', 'caption_agrees', 'draw_near_misses']

def read_shapes(images: Tensor, new: bool=False) -> Tensor:
    """Recover from images of shapes what is in them; raise a ValueError if they are no square bytes in colour.

    images: (n, 3, h, w) uint8, square
    new: look for the shapes of NEW too
    returns: (n, 13) int64 labels as draw_shapes makes them
    """
    ...

_PHRASES: dict[str, dict[str, int]]

@dataclass(frozen=True)
class Facts:
    """Hold what a caption states; -1 where it is silent.

    things: shape, colour, size and cell of each object
    relations: (a, r, b): a stands to b in the r-th of RELATIONS
    """
    things: tuple[tuple[int, ...], ...]
    relations: tuple[tuple[int, int, int], ...] = ...
    background: int = ...

def read_caption(text: str) -> Facts:
    """Read what a caption of shapes states; raise a ValueError that names a word which is none of its grammar.

    text: such as 'a small red circle above a big blue square'
    """
    ...

_KEYS: tuple[Any, ...]

def caption_agrees(captions: str | Sequence[str], labels: Tensor) -> dict[str, Tensor]:
    """Count for each image which claims of its caption hold; what a caption does not state cannot fail.

    captions: one for all images, or one an image
    labels: (n, 13) what is in the images, as draw_shapes or read_shapes say
    returns: number, shape, colour, size, place, background and all: (n,) bool
    """
    ...

def draw_near_misses(n: int, size: int=32, split: str='train', seed: int=0, *, k: int=4, objects: tuple[int, ...]=...) -> Dataset:
    """Draw families of scenes: the first is any, the others differ from it in one point; raise a ValueError for a part that is none.

    n: families
    size: height and width in pixels
    split: one of SPLITS
    seed: which world
    k: scenes of a family, 2 to 4
    objects: how many objects an image may hold; a number may stand twice
    returns: n * k images, family after family
    """
    ...
