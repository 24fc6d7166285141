"""Graders of the chapter on predictions."""

import torch
from torch import Tensor

from diffbook.exercise import add, question


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
        'The noise enters x_t with sqrt(1 - alpha_bar), its standard deviation, not with 1 - alpha_bar.': (lambda x, eps, ab: (x - (1 - ab) * eps) / ab.sqrt()),
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
        'The sign of c_out is wrong: sigma y is subtracted.': (lambda alpha, sigma, a, b: (b / (alpha * b - sigma * a), sigma / (alpha * b - sigma * a))),
        'The determinant is alpha b - sigma a, with a minus.': (lambda alpha, sigma, a, b: (b / (alpha * b + sigma * a), -sigma / (alpha * b + sigma * a))),
        'That solves for eps: for x0 the numerators are b and -sigma.': (
            lambda alpha, sigma, a, b: (-a / (alpha * b - sigma * a), alpha / (alpha * b - sigma * a))
        ),
        'The two numbers are right and in the wrong order: c_skip comes first.': (
            lambda alpha, sigma, a, b: (-sigma / (alpha * b - sigma * a), b / (alpha * b - sigma * a))
        ),
        'Divide by the determinant alpha b - sigma a.': lambda alpha, sigma, a, b: (b, -sigma),
    },
)

question(
    '20-a',
    'What does a network answer that predicts the data, of two data points behind its input?',
    1,
    {
        0: 'That is the more likely one. A squared error does not look for the most likely answer but for the mean.',
        2: 'That is half way between the two. The more likely point pulls harder: weigh each with its probability.',
        3: 'You exchanged the probabilities.',
        4: 'That is the less likely point, and no compromise at all.',
    },
)

question(
    '20-b',
    'What is the target of a network that predicts v?',
    -2,
    {
        1: 'That is the input x_t = alpha x0 + sigma eps. v is the other arrow.',
        2.2: 'You exchanged alpha and sigma, and with them the sign: v = alpha eps - sigma x0.',
        0.4: 'The data enter v with a minus: v = alpha eps - sigma x0.',
        2: 'The right size and the wrong sign: v = alpha eps - sigma x0.',
        -2.2: 'You exchanged alpha and sigma: the noise is multiplied by alpha.',
    },
)

question(
    '20-c',
    'What does a network that predicts v think the data are?',
    0.8,
    {
        1.6: 'The sign of sigma y: the answer is subtracted, alpha x_t - sigma v.',
        1.9: 'That is the noise, sigma x_t + alpha v. Solve for the data.',
        8 / 3: 'You solved as if the network had predicted the noise.',
        0.5: 'That is the answer v itself; only for a network that predicts data is it the data.',
        1.3: 'You exchanged alpha and sigma.',
    },
)

question(
    '20-d',
    'By how much is x0 wrong if the noise is wrong by 0.02 where alpha is 0.1?',
    0.199,
    {
        0.02: 'As if the answer were the data. An error of the noise is multiplied by sigma / alpha.',
        0.00201: 'The other way round: divide by alpha, do not multiply.',
        0.0199: 'You multiplied by sigma; that is the factor for v. For the noise it is sigma / alpha.',
        1.98: 'Errors are multiplied by sigma / alpha; you took its square, which belongs to squared errors.',
    },
)

question(
    '20-e',
    'Which network cannot tell what the data are where alpha is 0?',
    'a',
    {
        'b': 'A network that predicts the data says what it thinks they are, whatever the input is: its determinant is -sigma = -1.',
        'c': 'v is -x0 there: its determinant is alpha^2 + sigma^2 = 1. Which target is a copy of the input?',
    },
)

question(
    '20-f',
    'How much is an error of v amplified at most, on the straight schedule?',
    1.207,
    {
        1: 'So it is on the circle, and on the straight line at t = 0.5 and at t = 1. Look at the curve between them.',
        2: 'At t = 0.5 the determinant is 1/2, and one over it is 2; the error is multiplied by sigma as well.',
        0.707: 'That is the time at which it is largest. How much is it there?',
        0.5: 'That is the smallest determinant. The amplification is sigma divided by it, and is not largest there.',
    },
)
