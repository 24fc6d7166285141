"""What is wrong with a training: its settings, its loss, or a number that is not finite; then which tensor holds the first, and at which noise levels.

Chapter 24 shows what is said; here is how it is found. `training` alone asks.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from .core import make_generator, number, positive, tensors_in, whole
from .store.tensors import own_piece

__all__ = ['check_settings', 'check_loss', 'first_bad', 'noise_levels']


def check_settings(settings: Mapping[str, Any], model: nn.Module, seed: int) -> None:
    "Raise a ValueError, with its name, for a setting that makes no sense."
    positive('lr', settings['lr'])
    whole('warmup', settings['warmup'], least=0)
    number('weight_decay', settings['weight_decay'], least=0)
    for name, check in (('total', whole), ('clip', positive)):
        if settings[name] is not None:
            check(name, settings[name])
    if len(settings['betas']) != 2 or not all(0 <= beta < 1 for beta in settings['betas']):
        raise ValueError(f'betas is {settings["betas"]}, expected two numbers in [0, 1)')
    if not 0 <= settings['ema'] < 1:
        raise ValueError(f'ema is {settings["ema"]}, expected a number in [0, 1)')
    make_generator(seed, 'train')  # refuses a seed that is no integer
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f'{type(model).__name__} has no parameter to train')


def check_loss(loss: Any) -> Tensor:
    "Give back a loss; raise a ValueError if it cannot be averaged and differentiated."
    if not isinstance(loss, Tensor) or loss.ndim > 1 or not loss.requires_grad:
        what = f'a tensor of shape {tuple(loss.shape)}' if isinstance(loss, Tensor) else repr(loss)
        raise ValueError(f'the loss gave {what}, expected shape () or (b,), with a gradient')
    return loss


def first_bad(batch: Any, model: nn.Module, loss: Tensor) -> str:
    "Name the first tensor that is not finite: data, weights, loss, gradients, in the order of computation."
    tensors = [*tensors_in(batch), *model.named_parameters(), *model.named_buffers(), ('loss', loss)]
    tensors += [(f'the gradient of {k}', p.grad) for k, p in model.named_parameters() if p.grad is not None]
    for name, value in tensors:
        value = own_piece(value.detach())
        if value.is_floating_point() and not torch.isfinite(value).all():
            bad = value[~torch.isfinite(value)].reshape(-1)
            return f'{name} holds {bad[0].item()} in {len(bad)} of {value.numel()} places'
    return 'the norm of the gradient'


@torch.no_grad()
def noise_levels(
    model: nn.Module,
    asked: Iterable[Callable[[Any], Tensor]],  # each asks a loss, () or (b,), just as it was asked before
    loss: Any,
) -> str:  # empty, if no network was told any
    "Say what noise levels the network heard where the loss is not finite."
    heard, levels, bad = [], [], []

    def listen(net: nn.Module, given: tuple) -> None:  # networks are called (x, noise_level (b,), cond)
        if len(given) > 1 and isinstance(given[1], Tensor) and given[1].ndim == 1:
            heard.append(given[1].detach().cpu())

    hooks = [part.register_forward_pre_hook(listen) for part in model.eval().modules()]
    for ask in asked:
        values = torch.zeros(())
        with suppress(Exception):  # a diagnosis never hides the error
            values = ask(loss).cpu()
        levels += heard[:1]
        bad += [~torch.isfinite(values) if values.shape == x.shape else torch.zeros_like(x, dtype=torch.bool) for x in heard[:1]]
        heard.clear()
    for hook in hooks:
        hook.remove()
    if not levels:
        return ''
    levels, bad = torch.cat(levels), torch.cat(bad)
    low, high = (levels[bad] if bad.any() else levels).aminmax()
    return f', at noise level {low:.4g}' if low == high else f', at noise levels {low:.4g} to {high:.4g}'
