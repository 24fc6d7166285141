# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Sequence
from torch import Tensor
from .data import Dataset
from typing import Any

__all__ = ['SHAPES', 'NEW', 'AREAS', 'COLOURS', 'BACKGROUNDS', 'SIZES', 'CELLS', 'FIELDS', 'COLUMNS', 'WORDS', 'RELATIONS', 'HELD_OUT', 'SPLITS', 'caption', 'draw_shapes', 'draw_scenes', 'scene_split', 'draw_split']

SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]]

NEW: dict[Any, Any]

AREAS: tuple[Any, ...]

def coverage(shape: Tensor, place: Tensor, size: int) -> Tensor:
    """Say how much of each pixel (m, size, size) the objects `shape` (m,) at `place` (m, 3) cover."""
    ...

COLOURS: dict[Any, Any]

BACKGROUNDS: dict[Any, Any]

SIZES: dict[Any, Any]

CELLS: tuple[Any, ...]

_JITTER: float

PAIRS: Any

TRIPLES: Any

LAYOUTS: dict[Any, Any]

_CELLS: Any

FIELDS: tuple[Any, ...]

COLUMNS: Any

def scenes(n: int, seed: int, start: int, objects: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Draw the labels (n, 13) of scenes, and the middle and radius of each object (n, 3, 3)."""
    ...

def paint(labels: Tensor, place: Tensor, size: int) -> Tensor:
    """Paint scenes: images (n, 3, size, size) uint8."""
    ...

WORDS: dict[Any, Any]

RELATIONS: dict[Any, Any]

def caption(scene: Tensor, choice: int=0, omit: Sequence[str]=...) -> str:
    """Say what a scene shows.

    scene: (13,) one row of the labels
    choice: which wording, from 0; any whole number
    omit: what to leave unsaid, of 'size', 'colour' and 'place'
    returns: one sentence
    """
    ...

_BRIEF: tuple[Any, ...]

def check_drawing(n: int, size: int, start: int=0, objects: Sequence[int]=...) -> None: ...

def check_labels(labels: Tensor) -> None: ...

def draw_shapes(n: int, size: int=32, seed: int=0, start: int=0, *, objects: tuple[int, ...]=...) -> Dataset:
    """Draw captioned shapes, the same for everyone; raise a ValueError for fewer than one image or less than 8 pixels.

    n: images
    size: height and width in pixels
    seed: which world
    start: index of the first image: image i is always the same
    objects: how many objects an image may hold
    returns: labels (n, 13) as named in COLUMNS, and captions
    """
    ...

def draw_scenes(labels: Tensor, size: int=32, seed: int=0, name: str='shapes') -> Dataset:
    """Draw scenes that are given, each object somewhere in its cell; raise a ValueError for one that is none.

    labels: (n, 13) scenes, as named in COLUMNS
    size: height and width in pixels
    seed: of the exact places and of the wording
    name: of the data set
    returns: n images with captions
    """
    ...

def load(split: str, size: int) -> Dataset:
    """What load_data('shapes') gives: 20,000 scenes to train on, or 2,000 others."""
    ...

HELD_OUT: tuple[Any, ...]

SPLITS: tuple[Any, ...]

_SAME_WORDS: dict[Any, Any]

def scene_split(labels: Tensor) -> Tensor:
    """Say which part a scene belongs to: 0 train, 1 new scenes, 2 new kinds; raise a ValueError if labels are of another shape.

    labels: (n, 13) as draw_shapes makes them
    returns: (n,) int64: position in SPLITS
    """
    ...

def draw_split(n: int, size: int=32, split: str='train', seed: int=0, *, objects: tuple[int, ...]=..., brief: float=0.0) -> Dataset:
    """Draw the first n images of a world that belong to one part; raise a ValueError for a part that is none.

    n: images
    size: height and width in pixels
    split: one of SPLITS
    seed: which world
    objects: how many objects an image may hold
    brief: share of captions that leave out sizes, colours or places
    returns: labels (n, 13) as named in COLUMNS, and captions
    """
    ...
