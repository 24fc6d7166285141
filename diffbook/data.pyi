# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
import torch
from torch import Tensor
from .store.pictures import as_bytes, read_image
from .store.sets import SOURCES, data_root, fetch_data, load_clips
from .store.sound import player, read_wave, write_wave
from .store.shards import Column, Shards, read_shards, write_shards

__all__ = ['TOYS', 'Dataset', 'subset', 'to_model', 'from_model', 'save_images', 'batch_indices', 'batches', 'two_moons', 'checkerboard', 'spiral', 'gaussian_ring', 'eight_gaussians', 'load_data', 'read_folder', 'SOURCES', 'Column', 'Shards', 'as_bytes', 'data_root', 'fetch_data', 'load_clips', 'player', 'read_image', 'read_shards', 'read_wave', 'write_shards', 'write_wave']

@dataclass(frozen=True)
class Dataset:
    """Hold images as bytes, and what is known about each of them.

    Raise a ValueError if images are not bytes of four axes, are none, or are of another number than labels or captions.

    images: (n, c, h, w) uint8; of a large folder a Column, which stays on the disk and is indexed alike
    labels: (n,) or (n, k) int64; -1 where there is nothing to say
    captions: one sentence an image
    classes: what the labels mean
    """
    images: Tensor
    labels: Tensor | None = None
    captions: tuple[str, ...] | None = None
    name: str = 'images'
    classes: tuple[str, ...] = ...
    def __post_init__(self) -> None: ...
    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...

def subset(data: Dataset, index: slice | Tensor) -> Dataset:
    """Take some images of a data set.

    data: any data set
    index: which images: a slice, or int64 positions
    returns: those images, with their labels and captions
    """
    ...

def to_model(images: Tensor) -> Tensor:
    """Turn bytes into the units of a model; raise a ValueError for what are none (eq-data-units).

    images: uint8
    returns: float32 in [-1, 1]
    """
    ...

def from_model(x: Tensor, low: float=-1.0, high: float=1.0) -> Tensor:
    """Turn a model's output into bytes; raise a ValueError where it is not finite.

    x: in the units of a model; what lies outside [low, high] is clipped
    low: black
    high: white
    returns: uint8
    """
    ...

def save_images(x: Tensor, path: str | Path, columns: int=8, low: float=-1.0, high: float=1.0, zoom: int=2) -> None:
    """Write a grid of images to a PNG file, pixel by pixel, whole or not at all.

    x: (n, c, h, w) in the units of a model, with c of 1 or 3
    path: a .png file
    low: black
    high: white
    zoom: pixels drawn for each pixel
    """
    ...

def batch_indices(n: int, batch_size: int, seed: int, step: int) -> Tensor:
    """Name the images of one training step: a function of seed and step.

    n: size of the data set
    batch_size: images a step
    seed: the run
    step: which step of the run, from 0
    returns: (batch_size,) int64
    """
    ...

def batches(x: 'Tensor | Column | Dataset | Shards | Any', batch_size: int, seed: int=0, start_step: int=0) -> Iterator[Any]:
    """Yield shuffled batches for ever, in an order that depends on seed and step alone; raise a ValueError if parts are of unequal number, or none.

    x: examples along the first axis; or such in tuples, named tuples, lists, mappings, data classes
    batch_size: examples a step
    seed: the run
    start_step: where to begin
    returns: endless, of the kind of x; a data set yields (images, labels) or images, shards a tuple of all columns
    """
    ...

def two_moons(n: int, generator: torch.Generator | None=None, *, std: float=0.06) -> Tensor:
    """Draw points on two interleaved half circles.

    n: points
    std: of the noise around the two arcs
    returns: (n, 2) float64
    """
    ...

def checkerboard(n: int, generator: torch.Generator | None=None) -> Tensor:
    """Draw points on the eight dark squares of a 4 by 4 board: density 1/8 there, 0 elsewhere.

    n: points
    returns: (n, 2) float64 in [-2, 2]
    """
    ...

def spiral(n: int, generator: torch.Generator | None=None, *, std: float=0.03) -> Tensor:
    """Draw points along two turns of a spiral.

    n: points
    std: of the noise around the curve
    returns: (n, 2) float64
    """
    ...

def gaussian_ring(modes: int=8, radius: float=1.4, std: float=0.12) -> tuple[Tensor, Tensor, Tensor]:
    """Give the weights, means and covariances of equal Gaussians on a circle.

    modes: Gaussians on the circle
    std: of each
    returns: weights (k,), means (k, 2), covs (k, 2, 2) in float64
    """
    ...

def eight_gaussians(n: int, generator: torch.Generator | None=None) -> Tensor:
    """Draw points from eight Gaussians on a circle.

    n: points
    returns: (n, 2) float64
    """
    ...

TOYS: dict[str, Callable[..., Tensor]]

def load_data(name: str, split: str='train', root: str | Path | None=None, *, size: int | None=None, captions: bool | None=None, ground: str | Sequence[int]='white', skip_broken: bool=False) -> Dataset:
    """Load a data set by name; raise a ValueError for a name or a file that is not one, a FileNotFoundError that says how to fetch what is not here.

    name: shapes, fashion-mnist, mnist, cifar10, emoji, spoken-digits (as pictures of their loudness), or a folder of images, which is read in colour
    split: train or test; of a folder with such sub-folders also val
    root: see data_root
    size: of drawn shapes (32), of emoji or of a folder's images (64)
    captions: of a folder: see read_folder
    ground: of a folder: behind what is transparent
    skip_broken: of a folder: leave out what cannot be read
    """
    ...

def read_folder(path: str | Path, size: int=64, *, split: str | None=None, captions: bool | None=None, ground: str | Sequence[int]='white', skip_broken: bool=False) -> Dataset:
    """Read a folder of images, with their classes, and with the captions in text files of their names; a warning says what was left out, a ValueError what cannot be read.

    path: a folder of images; sub-folders, if any, are classes, unless they are called train, test or val
    size: height and width that the middle square of each image is scaled to, be it larger or smaller
    split: train, test or val, where there are such sub-folders; None: train
    captions: True: every image must have one; None: take them if every image has one; False: leave them
    ground: behind what is transparent
    skip_broken: leave out what cannot be read, and say so
    returns: in the order of the file names, always in colour: images of shape (n, 3, size, size)
    """
    ...

_all_: list[Any]
