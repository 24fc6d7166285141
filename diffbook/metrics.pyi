# Written by tools/stubs.py from the module beside it.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from torch import Tensor, nn
from .data import Dataset
from .store.zoo import zoo_entry
from typing import Any

__all__ = ['Classifier', 'fit_classifier', 'load_classifier', 'features', 'frechet_distance', 'frechet_bias', 'precision_recall', 'kernel_distance', 'compare', 'frechet_at_infinity', 'nearest', 'copy_rate', 'zoo_entry']

_all_: list[Any]

def frechet_gaussian(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """Give the squared Frechet distance of two Gaussians (Dowson and Landau 1982), in float64.

    mean1: (d,)
    cov1: (d, d)
    mean2: (d,)
    cov2: (d, d)
    """
    ...

class Classifier(nn.Module):
    """A small judge: four convolutions, the mean over the image, one linear layer."""
    body: nn.Sequential
    head: nn.Linear
    def __init__(self, in_channels: int=1, classes: int=10, width: int=32, dim: int=128) -> None:
        """in_channels: 1 for grey, 3 for colour
        classes: how many to tell apart
        width: channels of the first layer
        dim: features
        """
        ...
    def features(self, x: Tensor) -> Tensor: ...
    def forward(self, x: Tensor) -> Tensor: ...

def fit_classifier(model: Classifier, data: Dataset, epochs: int=10, seed: int=0, *, batch_size: int=128, rate: float=0.004, mirror: bool=True) -> Iterator[float]:
    """Train a classifier, yielding every loss.

    model: changed in place
    data: images and one label for each
    seed: of the order and of the mirroring
    rate: highest learning rate
    mirror: show half of the images mirrored
    returns: the loss of every step
    """
    ...

def load_classifier() -> Classifier:
    """Load the book's own judge of Fashion-MNIST; raise a ValueError if its weights are not the pinned ones."""
    ...

@contextmanager
def judging(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode for a while, and each of its parts back into the mode that it had."""
    ...

def features(images: Tensor, model: Classifier | None=None, batch_size: int=500) -> Tensor:
    """Turn images into the features that the distances compare. The model judges in evaluation mode, and is left as it came.

    images: (n, c, h, w) uint8, as they would be saved
    model: the pinned judge if none is given
    returns: (n, d) float64; of colour before a grey judge (n, 3 d)
    """
    ...

def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Give the squared Frechet distance of the Gaussians with the clouds' moments (Heusel et al. 2017; eq-metrics-frechet).

    x: (n, d) features of one set
    y: (m, d) of the other
    """
    ...

def frechet_bias(cov: Tensor, n: int) -> float:
    """Predict the Frechet distance between two samples of one Gaussian, to leading order in 1/n (eq-metrics-bias).

    cov: (d, d) of the features
    n: images in each of the two sets
    """
    ...

def precision_recall(real: Tensor, fake: Tensor, k: int=3) -> tuple[float, float]:
    """Count samples among the data and data among the samples (Kynkaanniemi et al. 2019; eq-metrics-precision).

    real: (n, d) features of data
    fake: (m, d) features of samples
    k: a ball reaches to the k-th neighbour
    returns: how many samples look real, how much of the data is covered
    """
    ...

def kernel_distance(x: Tensor, y: Tensor, rows: int=1000) -> float:
    """Give the unbiased squared kernel distance with a cubic kernel (Binkowski et al. 2018; eq-metrics-kernel).

    x: (n, d) features of one set
    y: (m, d) of the other
    rows: at once
    returns: may be slightly negative: it is unbiased
    """
    ...

def compare(fake: Tensor, real: Tensor, other: Tensor, model: Classifier | None=None) -> dict[str, float]:
    """Measure samples against as many real images, and as many other real images for the floor.

    fake: (n, c, h, w) uint8 samples
    real: (n or more, c, h, w) uint8 real images to compare with
    other: (n or more, c, h, w) uint8 other real images, for the floor
    model: the pinned judge if none is given
    returns: the numbers, and each with `_floor`
    """
    ...

def frechet_at_infinity(x: Tensor, y: Tensor, parts: Sequence[int]=..., seed: int=0) -> float:
    """Follow the Frechet distance along 1/n to endless samples (Chong and Forsyth 2020).

    x: (n, d) features of samples
    y: (m, d) of data
    parts: measure on halves, thirds and so on
    """
    ...

def nearest(x: Tensor, among: Tensor, rows: int=200) -> tuple[Tensor, Tensor]:
    """Find the nearest neighbour of each x, by Euclidean distance: exact to rounding, also far from zero.

    x: (n, ...) images or features
    among: (m, ...) of the same kind
    rows: at once
    returns: (n,) distances and (n,) positions, the first of equals
    """
    ...

def copy_rate(fake: Tensor, train: Tensor, held_out: Tensor, share: float=0.01) -> float:
    """Count samples that are nearer to a training image than real images come by chance.

    fake: (n, ...) samples: pixels or features
    train: (m, ...) training images of the same kind
    held_out: (l, ...) real images that were not trained on
    share: of held-out images that count as copies, which fixes how near is too near
    returns: real images score `share`
    """
    ...
