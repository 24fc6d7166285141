# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
import torch
from torch import Tensor, nn
from .devices import SWITCHES, pick_device
from .store.checkpoints import checkpoints
from .store.models import find_model, load, read_model, save

__all__ = ['LossFn', 'learning_rate', 'ema_decay', 'EMA', 'TrainStep', 'plain', 'Trainer', 'SWITCHES', 'checkpoints', 'find_model', 'load', 'pick_device', 'read_model', 'save']

_all_: list[Any]

LossFn = Callable[[Any, Any, torch.Generator], Tensor]

def learning_rate(step: int, peak: float=0.001, warmup: int=0, total: int | None=None) -> float:
    """Give the learning rate of one update: a pure function of its number (cosine: Loshchilov and Hutter 2017; eq-training-rate).

    step: updates already made
    peak: the highest rate
    warmup: updates on the way up
    total: if given, fall along half a cosine to 0 at this update
    """
    ...

def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """Give the norm of all gradients together.

    returns: ()
    """
    ...

def clip_(gradients: list[Tensor], norm: Tensor, largest: float | None) -> None:
    """Shorten the gradients, whose norm is `norm`, to `largest` if they are longer (Pascanu et al. 2013)."""
    ...

def ema_decay(step: int, decay: float=0.999, warm: float=10.0) -> float:
    """Give the share of the old average that one update keeps: it rises from 1 / warm to `decay` (eq-training-ema-warm).

    step: updates already averaged
    decay: where it ends
    warm: the larger, the faster the first weights are forgotten; 1: constant decay
    """
    ...

class EMA:
    """Keep an exponential moving average of a model's weights in `model`, a copy; buffers are copied as they are (eq-training-ema)."""
    decay: float
    warm: float
    model: Any
    exact: Any
    def __init__(self, model: nn.Module, decay: float=0.999, warm: float=10.0) -> None:
        """model: its present weights are where the average starts
        decay: see ema_decay
        warm: see ema_decay
        """
        ...
    def begin(self) -> None:
        """Start the average at the weights that `model` has. Of those in 16 bits, `exact` holds it in 32, and `model` rounds it."""
        ...
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the new weights.

        model: with its new weights
        step: updates averaged before this one
        """
        ...

@dataclass(frozen=True)
class TrainStep:
    """Report one update. Tensors stay on the device: reading one makes the host wait, so read few.

    step: updates made, this one included
    loss: () mean over the batch
    lr: learning rate of this update
    grad_norm: () before clipping
    """
    step: int
    loss: Tensor
    lr: float
    grad_norm: Tensor

def plain(trainer: 'Trainer') -> Callable[[Any], Tensor]:
    """Find the gradient of a batch at once.

    returns: of a batch: leaves the gradient in the weights, and gives the mean loss
    """
    ...

class Trainer:
    """Train a model: `for step in trainer.fit(batches)`."""
    settings: Any
    model: nn.Module
    loss: LossFn
    seed: int
    step: int
    _asked: list[Any]
    writes: bool
    stops: Any
    device: torch.device
    switches: Any
    ema: EMA
    _forward: Any
    _backward: Any
    optimizer: Any
    _broken: Any
    def __init__(self, model: nn.Module, loss: LossFn, *, lr: float=0.001, warmup: int=100, total: int | None=None, betas: tuple[float, float]=..., weight_decay: float=0.0, clip: float | None=1.0, ema: float=0.999, seed: int=0, device: str | torch.device | None=None, bf16: bool | None=None, channels_last: bool | None=None, fused: bool | None=None, compile: bool | None=None, check_every: int | None=None, backward: Callable[['Trainer'], Callable[[Any], Tensor]]=..., optimizer: Callable[['Trainer'], torch.optim.Optimizer] | None=None, **gone: Any) -> None:
        """model: trained in place
        loss: (model, batch, generator) -> () or (b,); all its randomness from the generator
        lr: the highest learning rate
        warmup: updates on the way up
        total: if given, the rate falls to 0 at this update
        betas: of AdamW
        weight_decay: of AdamW
        clip: largest norm of the gradient
        ema: decay of the averaged weights
        seed: of everything random
        device: by default the best there is
        bf16: autocast to bfloat16; None here and below: as SWITCHES says
        channels_last: store images with the channel as the fastest axis
        fused: one kernel for all of AdamW
        compile: compile the loss and all that it calls
        check_every: updates between two looks for NaN
        backward: how the gradient of a batch is found
        optimizer: what moves the weights; None: AdamW
        """
        ...
    def _place(self, device: torch.device, backward: Callable, optimizer: Callable | None, **switches: bool | int | None) -> None: ...
    def update(self, batch: Any) -> TrainStep:
        """Make one update of the weights and of their average (eq-training-state)."""
        ...
    def measure(self, batch: Any, source: Callable[[torch.Generator], Any]=..., stream: str='') -> Tensor:
        """Ask for the loss of a batch, with the randomness and the precision of this update.

        source: what the loss draws from, made of this update's generator
        stream: of dropout; a part of a batch has its own
        returns: () the mean loss, with its graph
        """
        ...
    def _look(self, batch: Any, loss: Tensor, norm: Tensor) -> None:
        """Stop before a number that is not finite reaches the weights; on a GPU, without waiting, hold the optimizer still."""
        ...
    def _raise_if_broken(self) -> None: ...
    def fit(self, batches: Iterable[Any], folder: str | Path | None=None, every: int=1000, publish: Callable[[], Any] | None=None) -> Iterator[TrainStep]:
        """Train for as long as there are batches, and as the caller wants; with a folder, save on the way, at the end and when told to stop.

        batches: the batch of update self.step first, and so on; the end of it ends the run
        folder: where to save; None: nowhere
        every: updates between two checkpoints
        publish: called after each checkpoint, to save the average for others
        returns: one report an update
        """
        ...
    def _fit(self, batches: Iterable[Any], folder: Path | None, every: int, publish: Callable) -> Iterator[TrainStep]: ...
    def _state(self) -> dict[str, Tensor]:
        """Every tensor that the next update depends on, by name."""
        ...
    def save(self, folder: str | Path) -> Path:
        """Write one checkpoint file, named after its step and its digest, and keep the one before it.

        returns: the file; where another process writes, the folder
        """
        ...
    def resume(self, folder: str | Path, change: Collection[str]=...) -> bool:
        """Continue from the newest checkpoint that is whole, bit for bit; `step` and `seed` are then those of the file.

        change: settings that may be other than those of the file, from here on
        returns: whether there was anything
        """
        ...
