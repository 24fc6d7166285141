# Written by tools/stubs.py from the module beside it.

from collections.abc import Iterable, Iterator
from pathlib import Path
from torch import Tensor, nn
from .training import EMA, TrainStep

__all__ = ['fit_log_normal', 'linear_reducible', 'power_gamma', 'power_ema', 'profile_product', 'rebuild_shares', 'keep_averages', 'rebuild']

def fit_log_normal(levels: Tensor, share: Tensor) -> tuple[float, float]:
    """Fit a normal law of the log noise level to a curve over it (eq-edm-fit).

    levels: (n,) noise-to-signal levels, rising
    share: (n,) reducible loss at each, or anything else that says how often to practise there
    returns: mean and std of the log of the level, for `log_normal_draw`
    """
    ...

def linear_reducible(variances: Tensor, levels: Tensor) -> Tensor:
    """Give the share of EDM's loss that a linear network can learn, a lower bound for all networks (eq-edm-linear).

    variances: (d,) of the data along its principal axes
    levels: (n,) noise-to-signal levels
    returns: (n,)
    """
    ...

def power_gamma(width: float) -> float:
    """Find the exponent of the power law whose standard deviation is `width` (Karras et al. 2024, equation 123; eq-edm-width).

    returns: of the average, as a share of the run, below 1 / sqrt(12)
    """
    ...

def power_ema(model: nn.Module, width: float) -> EMA:
    """Start an average of the weights that looks back over a constant share of the run (eq-edm-profile)."""
    ...

def profile_product(t: Tensor, gamma: Tensor, s: Tensor, delta: Tensor) -> Tensor:
    """Integrate the product of two power-law profiles, stopped at t and s, of exponents gamma and delta (eq-edm-product)."""
    ...

def rebuild_shares(times: Tensor, widths: Tensor, time: float, width: float) -> Tensor:
    """Give the shares in which stored averages make one of another width (Karras et al. 2024, algorithm 3; eq-edm-rebuild).

    times: (k,) updates after which an average was stored
    widths: (k,) of each
    time: update after which an average is wanted
    width: of that
    returns: (k,), of sum one
    """
    ...

def keep_averages(steps: Iterable[TrainStep], model: nn.Module, folder: str | Path, *, widths: tuple[float, ...]=..., every: int=1000) -> Iterator[TrainStep]:
    """Average the weights of a run and save them every so often, so that `rebuild` can choose the width later (Karras et al. 2024, section 3.2).

    steps: the reports of `trainer.fit`, one an update
    model: that is being trained
    folder: where averages are saved
    widths: of the averages, as shares of the run
    every: updates between two that are saved
    """
    ...

def rebuild(folder: str | Path, width: float, step: int | None=None) -> nn.Module:
    """Put the average of another width together from those that were saved (Karras et al. 2024, section 3.2).

    folder: where `keep_averages` saved
    width: of the average that is wanted, as a share of the run
    step: update after which it is wanted; None: the last that was saved
    returns: the averaged model
    """
    ...
