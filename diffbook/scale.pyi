# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
import torch
from torch import Tensor, nn
from .store.shards import Column, Shards
from .training import LossFn, Trainer
from accelerate import Accelerator

__all__ = ['Team', 'share', 'shared', 'in_parts', 'join', 'read_archives']

class Team:
    """Processes that share each batch. This one works alone: it has nobody to ask and nothing to send."""

    def prepare(self, loss: LossFn, model: nn.Module, average: nn.Module) -> LossFn:
        """Make the weights those of the first process, and wrap the loss so that its gradients become means over the team."""
        ...
    def hold(self, gradients: bool) -> AbstractContextManager:
        """Keep the gradients of the passes inside to ourselves, to be sent with a later one."""
        ...
    def mean(self, x: Tensor) -> Tensor:
        """Average a tensor over the team."""
        ...
    def any(self, flag: bool) -> bool:
        """Tell whether it is so for one of us."""
        ...
    def agree(self, what: str, value: int) -> None:
        """Raise a ValueError if we differ."""
        ...

def my_rows(n: int, team: Team) -> slice:
    """Name our rows of a batch.

    n: rows of a batch of the whole team
    team: which of them are ours
    """
    ...

class Share:
    """Examples of which our rows of a batch are read, and no others."""
    x: Tensor | Column | Shards
    team: Team
    shape: Any
    ndim: Any
    device: Any
    def __init__(self, x: Tensor | Column | Shards, team: Team) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Tensor) -> Tensor | tuple[Tensor, ...]: ...

def share(x: Any, team: Team) -> Any:
    """Let `batches` name the rows of the whole team's batch and read ours.

    x: what `batches` takes
    returns: what `batches` takes
    """
    ...

def add_up(trainer: Trainer, team: Team, parts: int, batch: Any) -> Tensor:
    """Leave the gradient of that mean in the weights.

    parts: of our rows
    batch: our rows
    returns: () the mean loss of the whole team's batch
    """
    ...

def measure_rows(trainer: Trainer, batch: Any, rows: range, n: int, team: Team) -> Tensor:
    """Ask for the loss of some of our n rows, with the noise that they have in the whole team's batch.

    returns: () their mean loss
    """
    ...

def shared(team: Team, parts: int=1) -> Callable[[Trainer], Callable[[Any], Tensor]]:
    """Find the gradient of each batch with the others of a team (eq-scale-mean, eq-scale-uneven).

    parts: that each process computes its rows in, one after the other
    returns: what a Trainer takes as `backward`
    """
    ...

def in_parts(k: int) -> Callable[[Trainer], Callable[[Any], Tensor]]:
    """Find the gradient of each batch in k parts, one after the other, to save memory: the same numbers.

    returns: what a Trainer takes as `backward`
    """
    ...

class WholeLoss(nn.Module):
    """A loss and its model as one module, whose call is one pass: what wrappers of modules expect."""
    loss: LossFn
    model: nn.Module
    def __init__(self, loss: LossFn, model: nn.Module) -> None: ...
    def forward(self, batch: Any, source: Any) -> Tensor: ...

def join(device: str | torch.device | None=None, *, shard: bool=False, timeout: float=60.0) -> Team:
    """Join the processes that torchrun or accelerate launch started.

    device: 'cpu' or 'cuda'; None: the best there is
    shard: split weights, average and moments among the processes (FSDP2); all of them must then reach the same weights
    timeout: seconds after which a process gives up waiting for another
    returns: of one, if nobody launched several
    """
    ...

class Crew(Team):
    """Processes that share every batch, on Hugging Face Accelerate."""
    accelerator: 'Accelerator'
    sharded: bool
    rank: Any
    size: Any
    device: Any
    net: Any
    def __init__(self, accelerator: 'Accelerator', shard: bool=False) -> None:
        """accelerator: knows rank, size and device, and has opened the connections
        shard: split weights, average and moments
        """
        ...
    def prepare(self, loss: LossFn, model: nn.Module, average: nn.Module) -> LossFn: ...
    def hold(self, gradients: bool) -> Iterator[None]:
        """Add up the gradients of this pass here, and send them with those of a later one."""
        ...
    def mean(self, x: Tensor) -> Tensor:
        """Average a tensor over the team: the same bits for all."""
        ...
    def any(self, flag: bool) -> bool:
        """Tell whether it is so for one of us; all wait for the answer."""
        ...
    def agree(self, what: str, value: int) -> None:
        """Raise a ValueError, in all of us, if we differ."""
        ...

def lane_order(counts: Sequence[int], lane: int, lanes: int, seed: int, skip: int=0) -> Iterator[tuple[int, Tensor]]:
    """Deal the archives out to the lanes, anew in each epoch: a function of the seed alone.

    counts: samples of each archive
    lane: ours
    lanes: of the run
    seed: of the run
    skip: samples of this lane that were read already
    returns: endless: an archive, and which of its samples in which order
    """
    ...

def read_archives(paths: Sequence[str | Path], batch_size: int, size: int, seed: int=0, start_step: int=0, *, team: Team | None=None, lanes: int=1, ground: str | Sequence[int]='white') -> Iterator[tuple[Tensor, list[str]]]:
    """Stream shuffled batches from archives, in an order that depends on seed, step and lanes alone.

    paths: WebDataset archives on this machine
    batch_size: samples a step, of the whole team
    size: height and width to scale pictures to
    seed: the run
    start_step: where to begin
    team: each process reads the archives of its lanes
    lanes: streams that a batch is taken from; fixed for a run, and the team divides it
    ground: behind what is transparent
    returns: endless: our pictures, (b, 3, size, size) uint8, and their captions
    """
    ...
