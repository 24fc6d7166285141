"""Graders of the chapter on training."""

import math

import torch

from diffbook.exercise import add


def _number(low: float, high: float, g: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64).item()


def _whole(low: int, high: int, g: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=g))


def _share_case(g: torch.Generator) -> tuple[int, int, float]:
    n = _whole(5, 30, g)
    return _whole(1, n, g), n, _number(0.6, 0.95, g)


add(
    '24-1',
    'Give the share of the weights after update i in the average after n updates with constant decay d.',
    cases=_share_case,
    truth=lambda i, n, d: (1 - d) * d ** (n - i),
    mistakes={
        'You left out the factor 1 - d with which new weights enter.': lambda i, n, d: d ** (n - i),
        'That is the share counted from the start: recent updates weigh most, so the power is n - i.': lambda i, n, d: (1 - d) * d**i,
        'One power too many: the newest weights (i = n) have the share 1 - d.': lambda i, n, d: (1 - d) * d ** (n - i + 1),
        'You exchanged d and 1 - d: d is what the old average keeps.': lambda i, n, d: d * (1 - d) ** (n - i),
    },
)


def _clip_case(g: torch.Generator) -> tuple[torch.Tensor, float]:
    gradient = torch.randn(6, generator=g, dtype=torch.float64)
    return gradient, gradient.norm().item() * _number(0.3, 1.9, g)


add(
    '24-2',
    'Clip the gradient g to norm c.',
    cases=_clip_case,
    truth=lambda g, c: g * min(1.0, c / g.norm().item()),
    mistakes={
        'You rescale short gradients too: clipping never lengthens.': lambda g, c: g * c / g.norm(),
        'You clip each number by itself, which turns the gradient; the norm is that of all of it.': lambda g, c: g.clamp(-c, c),
        'You divide by the squared norm.': lambda g, c: g * min(1.0, c / g.square().sum().item()),
    },
    rtol=1e-5,
)


def _rate_case(g: torch.Generator) -> tuple[int, float, int, int]:
    warmup = _whole(5, 15, g)
    total = warmup + _whole(20, 60, g)
    return _whole(0, total, g), _number(1e-3, 1e-2, g), warmup, total


def _rate(n: int, peak: float, warmup: int, total: int, rise: float, u: float) -> float:
    return peak * rise * (1 + math.cos(math.pi * min(max(u, 0.0), 1.0))) / 2


add(
    '24-3',
    'Give the learning rate of update n: a linear rise over `warmup` updates, then half a cosine down to 0 at `total`.',
    cases=_rate_case,
    truth=lambda n, p, w, N: _rate(n, p, w, N, min(1.0, (n + 1) / (w + 1)), (n - w) / (N - w)),
    mistakes={
        'Your first update has rate 0 and is wasted: the rise is (n + 1) / (warmup + 1).': lambda n, p, w, N: _rate(
            n, p, w, N, min(1.0, n / w), (n - w) / (N - w)
        ),
        'Your cosine starts at update 0; it starts where the rise ends.': lambda n, p, w, N: _rate(n, p, w, N, min(1.0, (n + 1) / (w + 1)), n / N),
        'You forgot the rise.': lambda n, p, w, N: _rate(n, p, w, N, 1.0, (n - w) / (N - w)),
        'You forgot the fall.': lambda n, p, w, N: p * min(1.0, (n + 1) / (w + 1)),
    },
)
