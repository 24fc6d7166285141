# Written by tools/stubs.py from the module beside it.

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from matplotlib.axes import Axes
from torch import Tensor
from typing import Any

__all__ = ['panels', 'save', 'lines', 'histogram', 'scatter', 'arrows', 'images', 'heatmap', 'paths', 'orders', 'bars', 'diagram']

COLORS: list[Any]

@contextmanager
def panels(columns: int, rows: int=1, width: float=3.0, height: float=2.6, share: bool=False) -> Iterator[list[Axes]]:
    """Open a frame of several pictures.

    columns: pictures in a row
    rows: rows
    width: of one picture, in inches
    height: of one picture, in inches
    share: the same axes for all
    returns: row by row
    """
    ...

def save(path: str | Path) -> None:
    """Write the current figure to `path` whole or not at all, and close it."""
    ...

def lines(x: Tensor | Sequence | Mapping, y: Mapping | Tensor, xlabel: str='', ylabel: str='', title: str='', logx: bool=False, logy: bool=False, marker: str='', dashed: Sequence[str]=..., fill: bool=False, ax: Axes | None=None) -> None:
    """Draw curves.

    x: the horizontal axis, or one for each label
    y: label -> values, or values alone
    marker: such as 'o'
    dashed: labels to draw dashed
    fill: shade down to zero
    """
    ...

def histogram(samples: Mapping | Tensor, curves: Mapping | None=None, bins: int=60, xlabel: str='', title: str='', limits: tuple[float, float] | None=None, ax: Axes | None=None) -> None:
    """Draw histograms of unit area, with densities over them.

    samples: label -> samples, or samples alone
    curves: label -> (x, density)
    limits: of the horizontal axis
    """
    ...

def scatter(points: Mapping | Tensor, xlabel: str='', ylabel: str='', title: str='', size: float=4, alpha: float=0.5, limits: float | None=None, ax: Axes | None=None) -> None:
    """Draw clouds of points in the plane with equal axes.

    points: label -> (n, 2), or (n, 2) alone
    limits: show the square [-limits, limits]
    """
    ...

def arrows(points: Tensor, vectors: Tensor, title: str='', color: str=..., ax: Axes | None=None) -> None:
    """Draw a field of arrows in the plane.

    points: (n, 2) where
    vectors: (n, 2) which way
    """
    ...

def montage(x: Tensor, columns: int=8, low: float=-1.0, high: float=1.0, gap: int=1) -> Tensor:
    """Lay images out in a grid with a white gap.

    x: (n, c, h, w) with c of 1 or 3
    low: black
    high: white
    gap: pixels between the images
    returns: (H, W, 3) in [0, 1]
    """
    ...

def images(x: Tensor, columns: int=8, titles: Sequence[str]=..., rows: Sequence[str]=..., low: float=-1.0, high: float=1.0, size: float=0.8, title: str='', ax: Axes | None=None) -> None:
    """Draw a grid of images.

    x: (n, c, h, w)
    titles: one for each column
    rows: one for each row
    low: black
    high: white
    size: of one image, in inches
    """
    ...

def heatmap(values: Tensor, extent: tuple[float, float, float, float] | None=None, xlabel: str='', ylabel: str='', title: str='', colormap: str='viridis', bar: bool=True, limits: tuple[float, float] | None=None, ax: Axes | None=None) -> None:
    """Draw a matrix in colours; row 0 is at the bottom if an extent is given.

    values: (rows, columns)
    extent: left, right, bottom, top
    bar: show the colour scale
    limits: of the colour scale
    """
    ...

def paths(times: Tensor, x: Tensor, density: Tensor | None=None, extent: tuple[float, float, float, float] | None=None, title: str='', xlabel: str='t', ax: Axes | None=None) -> None:
    """Draw paths over the density they should follow; each column of the density is scaled to its own maximum.

    times: (n,)
    x: (n, m) m paths in one dimension
    density: (rows of x, columns of t) drawn beneath
    extent: of the density: t from, t to, x from, x to
    """
    ...

def orders(n: Tensor | Sequence, errors: Mapping, slopes: Sequence[int]=..., xlabel: str='steps', ylabel: str='error', title: str='', ax: Axes | None=None) -> None:
    """Draw errors against numbers of steps on logarithmic axes, with guide lines.

    n: numbers of steps
    errors: label -> errors
    slopes: guide lines n**-slope
    """
    ...

def bars(values: Mapping, ylabel: str='', title: str='', line: float | None=None, ax: Axes | None=None) -> None:
    """Draw named bars, with a level to compare with.

    values: label -> height
    line: a level to compare with
    """
    ...

def diagram(boxes: Mapping[str, tuple[float, float, float, float]], links: Sequence[tuple[tuple[float, float], tuple[float, float]]]=..., colors: Mapping[str, int] | None=None, width: float=6.0, height: float=3.0, ax: Axes | None=None) -> None:
    """Draw labelled boxes and arrows between points; what follows '#' in a label is not shown.

    boxes: label -> left, bottom, width, height
    links: arrows from point to point
    colors: label -> index into COLORS
    """
    ...
