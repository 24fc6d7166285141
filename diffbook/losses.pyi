# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
from dataclasses import dataclass
import torch
from torch import Tensor, nn
from .core import Cond, Data, Rows, Time
from .predictions import Prediction
from .schedules import DiscreteSchedule, Schedule

__all__ = ['Weight', 'scaled_time', 'quarter_log_noise', 'Denoiser', 'diffusion_loss', 'weight_for', 'plain_weight', 'elbo_weight', 'vdm_weight', 'min_snr', 'clipped_snr', 'uniform_draw', 'stratified_draw', 'logit_normal_draw', 'log_normal_draw', 'training_loss', 'table_index', 'unit_input']

def scaled_time(schedule: Schedule, t: Time) -> Tensor:
    """Tell the network the time, scaled to run from 0 to 1000: for a table of 1000 betas, t itself."""
    ...

def quarter_log_noise(schedule: Schedule, t: Time) -> Tensor:
    """Tell the network log(sigma / alpha) / 4 (Karras et al. 2022, c_noise)."""
    ...

class Denoiser(nn.Module):
    """Turn a network into a denoiser: it answers (x_t, t, cond) with an estimate of x0, whatever the network predicts."""
    net: nn.Module
    schedule: Schedule
    prediction: Prediction
    noise_input: Callable[[Schedule, Tensor], Tensor]
    input_scale: Callable[[Schedule, Tensor], Tensor] | None
    variance: Callable[[Schedule, Tensor, Tensor, Tensor], Tensor] | None
    def __init__(self, net: nn.Module, schedule: Schedule, prediction: Prediction=..., *, noise_input: Callable[[Schedule, Tensor], Tensor]=..., input_scale: Callable[[Schedule, Tensor], Tensor] | None=None, variance: Callable[[Schedule, Tensor, Tensor, Tensor], Tensor] | None=None) -> None:
        """net: net(x, noise_level (b,), cond) -> y
        schedule: alpha and sigma
        prediction: what y is
        noise_input: what the network is told of t
        input_scale: factor on its input
        variance: reads the second half of an answer with twice the channels
        """
        ...
    def forward(self, x: Data, t: Time, cond: Cond | None=None) -> Data: ...
    def answer(self, x: Data, t: Time, cond: Cond | None=None) -> tuple[Data, Data | None]:
        """What the network says: its prediction, and what a learned variance is read from."""
        ...
    def raw(self, x: Data, t: Time, cond: Cond | None=None) -> Data:
        """What the network predicts, before it is solved for x0."""
        ...
    def both(self, x: Data, t: Time, s: Time, cond: Cond | None=None) -> tuple[Data, Data]:
        """Give the estimate and the learned variance, from one call of the network.

        x: x_t
        t: now
        s: the next time
        cond: condition
        returns: x0, and the variance of the step to s, like x
        """
        ...
    def step_variance(self, x: Data, t: Time, s: Time, cond: Cond | None=None) -> Data:
        """Give the learned variance of the step from t to s, like x."""
        ...

def diffusion_loss(denoiser: Denoiser, x0: Data, t: Tensor, eps: Data, cond: Cond | None=None, weight: Callable[[Schedule, Tensor], Tensor] | None=None) -> Tensor:
    """Give the squared error of the network's prediction (Ho et al. 2020, equation 14, for any prediction; eq-losses-loss, eq-ddpm-loss).

    denoiser: network, schedule and prediction
    x0: (b, ...) clean data
    t: (b,) times
    eps: noise like x0
    cond: condition
    weight: (schedule, t) -> (b,)
    returns: (b,) mean squared error of each example
    """
    ...

Weight = Callable[[Schedule, Tensor], Tensor]

def weight_for(prediction: Prediction, weight: Weight) -> Weight:
    """Turn a weight on the error of x0 into the weight on the error of what the network predicts (eq-losses-convert).

    prediction: what the network predicts
    weight: meant for the squared error of x0
    returns: for the squared error of the prediction: pass it to `diffusion_loss`
    """
    ...

def plain_weight(prediction: Prediction) -> Weight:
    """Give the weight on x0 that the unweighted loss of a prediction amounts to (eq-losses-edm)."""
    ...

def elbo_weight(schedule: DiscreteSchedule, t: Time, variance: Callable=...) -> Tensor:
    """Give the weight of the squared error of x0 in the bound on the likelihood (eq-losses-kl, eq-losses-snr).

    schedule: a table of betas
    t: whole times in 1..T
    variance: of the step back
    returns: multiplies ||x0 - x0_hat||^2, summed over an example, in nats
    """
    ...

def vdm_weight(schedule: Schedule, t: Time) -> Tensor:
    """Give the weight on the error of x0, per unit of time, in the continuous bound (Kingma et al. 2021, equation 18; eq-losses-vdm)."""
    ...

def min_snr(schedule: Schedule, t: Time, gamma: float=5.0) -> Tensor:
    """Give the signal-to-noise ratio, capped, as a weight on the error of x0 (Hang et al. 2023; eq-losses-minsnr)."""
    ...

def clipped_snr(schedule: Schedule, t: Time, low: float=1.0, high: float=20.0) -> Tensor:
    """Give the signal-to-noise ratio, held between two ends, as a weight on the error of x0 (the lower end: Salimans and Ho 2022; eq-losses-clipped)."""
    ...

def uniform_draw(schedule: Schedule, b: int, generator: torch.Generator) -> Tensor:
    """Draw b independent uniform times, (b,) in float64."""
    ...

def stratified_draw(schedule: Schedule, b: int, generator: torch.Generator) -> Tensor:
    """Draw b times, one in each of b equal slices, in random order (Kingma et al. 2021, appendix I.1)."""
    ...

def logit_normal_draw(schedule: Schedule, b: int, generator: torch.Generator, *, mean: float=0.0, std: float=1.0) -> Tensor:
    """Draw b times that favour the middle: the logit of the share of time is normal (Esser et al. 2024, equation 19)."""
    ...

def log_normal_draw(schedule: Schedule, b: int, generator: torch.Generator, *, mean: float=-1.2, std: float=1.2) -> Tensor:
    """Draw b times whose log(sigma / alpha) is normal (Karras et al. 2022, table 1)."""
    ...

def training_loss(denoiser: Denoiser, x0: Data, generator: torch.Generator | Rows, cond: Cond | None=None, *, draw: Callable[[Schedule, int, torch.Generator], Tensor]=..., weight: Weight | None=None) -> Tensor:
    """Draw times and noise for a batch and give its loss. Ho et al. 2020, algorithm 1.

    denoiser: network, schedule and prediction
    x0: (b, ...) clean data
    generator: of times and noise
    cond: condition
    draw: of the times
    returns: (b,) loss of each example
    """
    ...

def table_index(schedule: Schedule, t: Time) -> Tensor:
    """Tell the network t - 1: published models count a table of betas from 0."""
    ...

@dataclass(frozen=True)
class unit_input:
    """Scale the input to unit variance for data of standard deviation `sigma_data` (Karras et al. 2022, c_in).

    sigma_data: standard deviation of the data
    """
    sigma_data: float = 0.5
    def __post_init__(self) -> None: ...
    def __call__(self, schedule: Schedule, t: Time) -> Tensor: ...
