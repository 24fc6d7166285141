"""Graders of the chapter on predictions."""

import torch
from torch import Tensor

from diffbook.exercise import add


def _noisy(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    "Two batches of numbers, and a squared signal scale away from 0 and 1."
    x, y = torch.randn(2, 4, 3, generator=g, dtype=torch.float64)
    return x, y, torch.rand((), generator=g, dtype=torch.float64) * 0.7 + 0.15


def _turned(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, v, alpha_bar = _noisy(g)
    return x, v, alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def _arrows(g: torch.Generator) -> tuple[Tensor, ...]:
    alpha, sigma, a, b = torch.rand(4, generator=g, dtype=torch.float64) + 0.2
    return alpha, sigma, -a, b


add(
    '20-1',
    'Give x0 from x_t, the predicted noise and alpha_bar.',
    cases=_noisy,
    truth=lambda x, eps, ab: (x - (1 - ab).sqrt() * eps) / ab.sqrt(),
    mistakes={
        'Off by sqrt(alpha_bar): you divided by alpha_bar, not by its root.': lambda x, eps, ab: (x - (1 - ab).sqrt() * eps) / ab,
        'The noise enters x_t with sqrt(1 - alpha_bar), its standard deviation, not with 1 - alpha_bar.': (
            lambda x, eps, ab: (x - (1 - ab) * eps) / ab.sqrt()
        ),
        'Both roots are missing: the noise enters x_t with sqrt(1 - alpha_bar), the signal with sqrt(alpha_bar).': (
            lambda x, eps, ab: (x - (1 - ab) * eps) / ab
        ),
        'You subtracted the noise at full size; x_t holds sqrt(1 - alpha_bar) of it.': lambda x, eps, ab: (x - eps) / ab.sqrt(),
        'The signal is still scaled by alpha: divide by sqrt(alpha_bar).': lambda x, eps, ab: x - (1 - ab).sqrt() * eps,
        'You multiplied by sqrt(alpha_bar) where you should divide.': lambda x, eps, ab: (x - (1 - ab).sqrt() * eps) * ab.sqrt(),
        'You added the noise; it must be taken away.': lambda x, eps, ab: (x + (1 - ab).sqrt() * eps) / ab.sqrt(),
        'You swapped signal and noise scale.': lambda x, eps, ab: (x - ab.sqrt() * eps) / (1 - ab).sqrt(),
    },
)

add(
    '20-2',
    'Give the noise from x_t and v, on a schedule with alpha^2 + sigma^2 = 1.',
    cases=_turned,
    truth=lambda x, v, alpha, sigma: sigma * x + alpha * v,
    mistakes={
        'That is x0; the noise is the other row of the rotation.': lambda x, v, alpha, sigma: alpha * x - sigma * v,
        'The sign of v is wrong: in this book v = alpha eps - sigma x0.': lambda x, v, alpha, sigma: sigma * x - alpha * v,
        'You swapped alpha and sigma.': lambda x, v, alpha, sigma: alpha * x + sigma * v,
        'v is not the noise: you solved as if the network had predicted eps.': lambda x, v, alpha, sigma: v,
        'You mixed x_t and v as if they were x0 and eps: that is v of the wrong pair.': lambda x, v, alpha, sigma: alpha * v - sigma * x,
    },
)

add(
    '20-3',
    'Give c_skip and c_out of x0 = c_skip x_t + c_out y, for y = a x0 + b eps.',
    cases=_arrows,
    truth=lambda alpha, sigma, a, b: (b / (alpha * b - sigma * a), -sigma / (alpha * b - sigma * a)),
    mistakes={
        'The sign of c_out is wrong: sigma y is subtracted.': (
            lambda alpha, sigma, a, b: (b / (alpha * b - sigma * a), sigma / (alpha * b - sigma * a))
        ),
        'The determinant is alpha b - sigma a, with a minus.': (
            lambda alpha, sigma, a, b: (b / (alpha * b + sigma * a), -sigma / (alpha * b + sigma * a))
        ),
        'That solves for eps: x0 needs b and sigma above the line.': (
            lambda alpha, sigma, a, b: (-a / (alpha * b - sigma * a), alpha / (alpha * b - sigma * a))
        ),
        'The two numbers are right and in the wrong order: c_skip comes first.': (
            lambda alpha, sigma, a, b: (-sigma / (alpha * b - sigma * a), b / (alpha * b - sigma * a))
        ),
        'Divide by the determinant alpha b - sigma a.': lambda alpha, sigma, a, b: (b, -sigma),
    },
)
