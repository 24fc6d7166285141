# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
import torch
from torch import Tensor, nn
from .core import Cond, Data
from .losses import Denoiser, Weight, uniform_draw
from .predictions import Prediction
from .schedules import Schedule

__all__ = ['Density', 'Mlp', 'uniform_density', 'logit_normal_density', 'emphasis', 'couple', 'coupled_loss']

class Mlp(nn.Module):
    """A small network for points of a few dimensions: net(x, noise_level, cond) -> y."""
    hidden: nn.ModuleList
    out: nn.Linear
    img_channels: int
    def __init__(self, dim: int, width: int=128, vec: int=0) -> None:
        """dim: of a point
        vec: numbers of a condition, as Cond.vec
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None) -> Tensor: ...

Density = Callable[[Schedule, Tensor], Tensor]

def uniform_density(schedule: Schedule, t: Tensor) -> Tensor:
    """The density of `uniform_draw` and `stratified_draw`."""
    ...

def logit_normal_density(schedule: Schedule, t: Tensor, *, mean: float=0.0, std: float=1.0) -> Tensor:
    """The density of `logit_normal_draw` (Esser et al. 2024, equation 19; eq-flows-logit)."""
    ...

def emphasis(schedule: Schedule, log_snr: Tensor, prediction: Prediction=..., density: Density=..., weight: Weight | None=None) -> Tensor:
    """Put draw, weight, target and clock of a training into one curve (Kingma and Gao 2023; eq-flows-emphasis).

    schedule: alpha and sigma
    log_snr: (n,) where
    prediction: what the network predicts
    density: of the times
    weight: on the squared error of the prediction
    returns: (n,) the weight on the squared error of x0, per unit of log SNR
    """
    ...

def couple(x0: Data, eps: Data, labels: Tensor | None=None) -> tuple[Data, Data]:
    """Pair data and noise of a batch so that the squared distances add up to the least (Pooladian et al. 2023, Tong et al. 2024; eq-flows-couple).

    x0: (b, ...) data
    eps: (b, ...) noise
    labels: (b,) classes; pairs are sought within each
    returns: the data as they came, and the noises in the order of their partners
    """
    ...

def coupled_loss(model: Denoiser, batch: Tensor | tuple[Tensor, Tensor], generator: torch.Generator, cond: Cond | None=None, *, draw: Callable[[Schedule, int, torch.Generator], Tensor]=...) -> Tensor:
    """Give the flow-matching loss of pairs that are coupled within the batch, and within each class if labels are given.

    batch: data (b, ...), or data and labels (b,)
    generator: of times and noise
    draw: of the times
    returns: (b,)
    """
    ...
