"""Graders of the chapter on the ELBO."""

import math

import torch
from torch import Tensor

from diffbook.exercise import add, question


def _scales(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    before = torch.rand((), generator=g, dtype=torch.float64) * 0.6 + 0.3
    beta = torch.rand((), generator=g, dtype=torch.float64) * 0.5 + 0.1
    return beta, before * (1 - beta), before


def _nats(g: torch.Generator) -> tuple[float, int]:
    return float(torch.rand((), generator=g, dtype=torch.float64) * 9000 - 12000), int(torch.randint(500, 4000, (), generator=g))


def _step(g: torch.Generator) -> tuple[Tensor, ...]:
    beta, after, before = _scales(g)
    return beta, before.sqrt(), (1 - before).sqrt(), (1 - after).sqrt(), torch.rand((), generator=g, dtype=torch.float64) + 0.1


def _told(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    beta, after, before = _scales(g)
    return beta, beta * (1 - before) / (1 - after), 2 * torch.rand(3, generator=g, dtype=torch.float64) - 1


add(
    '14-1',
    'Give the variance of q(x_{t-1} | x_t, x_0).',
    cases=_scales,
    truth=lambda beta, ab, before: beta * (1 - before) / (1 - ab),
    mistakes={
        'That is the variance of the forward step; knowing x_0 makes it smaller.': lambda beta, ab, before: beta,
        'Upside down: the noise before the step stands above the line.': lambda beta, ab, before: beta * (1 - ab) / (1 - before),
        'You used alpha_bar, the signal, where 1 - alpha_bar, the noise, belongs.': lambda beta, ab, before: beta * before / ab,
        'That is the standard deviation; the variance is asked.': lambda beta, ab, before: torch.sqrt(beta * (1 - before) / (1 - ab)),
        'alpha_bar is alpha squared already, and 1 - alpha_bar the noise variance: take no root.': (
            lambda beta, ab, before: beta * (1 - before.sqrt()) / (1 - ab.sqrt())
        ),
        'alpha_bar is already alpha squared: do not square it again.': lambda beta, ab, before: beta * (1 - before**2) / (1 - ab**2),
        'That is the variance at the wrong end: you swapped the times.': lambda beta, ab, before: beta * ab / before,
    },
)

add(
    '14-2',
    'Turn a bound in nats on a density over [-1, 1] into bits per dimension for 8-bit data.',
    cases=_nats,
    truth=lambda nats, dims: nats / (dims * math.log(2)) + math.log2(127.5),
    mistakes={
        'You forgot the width of a bin: add log2(127.5).': lambda nats, dims: nats / (dims * math.log(2)),
        'The sign of the constant is wrong: a bin is narrow, so each level is less likely and costs more.': (
            lambda nats, dims: nats / (dims * math.log(2)) - math.log2(127.5)
        ),
        'Those are nats; divide by log 2.': lambda nats, dims: nats / dims + math.log(127.5),
        'The bound is in nats: divide by log 2 as well.': lambda nats, dims: nats / dims + math.log2(127.5),
        'That constant is for data in [0, 1]; levels scaled to [-1, 1] lie 2/255 apart.': (lambda nats, dims: nats / (dims * math.log(2)) + math.log2(255)),
        'Levels scaled to [-1, 1] lie 2/255 apart, not 2/256.': lambda nats, dims: nats / (dims * math.log(2)) + 7,
        'That constant is for levels in units of one; here they lie 2/255 apart.': lambda nats, dims: nats / (dims * math.log(2)) + 8,
        'The bound is a loss already: do not change its sign.': lambda nats, dims: -nats / (dims * math.log(2)) + math.log2(127.5),
    },
)

add(
    '14-3',
    'Give the best variance of the step back, when the denoiser errs by the variance v.',
    cases=_step,
    truth=lambda beta, a, s, sigma, v: beta * s**2 / sigma**2 + (a * beta / sigma**2) ** 2 * v,
    mistakes={
        'That is the variance for a known x_0; the error of the denoiser adds to it.': lambda beta, a, s, sigma, v: beta * s**2 / sigma**2,
        'You forgot the tilde: what v adds to is the posterior variance, beta sigma_before^2 / sigma^2, and not beta.': (
            lambda beta, a, s, sigma, v: beta + (a * beta / sigma**2) ** 2 * v
        ),
        'That is the forward variance: right only for data of unit variance.': lambda beta, a, s, sigma, v: beta,
        'Square the factor in front of x_0: variances scale with the square.': (lambda beta, a, s, sigma, v: beta * s**2 / sigma**2 + a * beta / sigma**2 * v),
        'The two variances add, they are not averaged or subtracted.': (lambda beta, a, s, sigma, v: beta * s**2 / sigma**2 - (a * beta / sigma**2) ** 2 * v),
        'The mean of the step holds x_0 times alpha_before beta / sigma^2, not x_0 itself.': (lambda beta, a, s, sigma, v: beta * s**2 / sigma**2 + v),
        'You divided by sigma where sigma^2 belongs.': lambda beta, a, s, sigma, v: beta * s**2 / sigma**2 + (a * beta / sigma) ** 2 * v,
    },
)

add(
    '14-6',
    'Read the variance of a step back from v in [-1, 1].',
    cases=_told,
    truth=lambda beta, tilde, v: beta ** ((1 + v) / 2) * tilde ** ((1 - v) / 2),
    mistakes={
        'You went from one to the other in a straight line; the logarithms are what is mixed.': (
            lambda beta, tilde, v: (1 + v) / 2 * beta + (1 - v) / 2 * tilde
        ),
        'v runs from -1 to 1: the share of log beta is (v + 1) / 2, and you took v itself.': lambda beta, tilde, v: beta**v * tilde ** (1 - v),
        'v is no logarithm of a variance: it says how far to go from log tilde to log beta.': lambda beta, tilde, v: torch.exp(v),
        'Swapped: v = 1 is beta, v = -1 the posterior variance.': lambda beta, tilde, v: beta ** ((1 - v) / 2) * tilde ** ((1 + v) / 2),
        'That is the logarithm of the variance.': lambda beta, tilde, v: (1 + v) / 2 * torch.log(beta) + (1 - v) / 2 * torch.log(tilde),
        'That is the standard deviation; the variance is asked.': lambda beta, tilde, v: beta ** ((1 + v) / 4) * tilde ** ((1 - v) / 4),
    },
)


question(
    '14-a',
    'Noise variance 0.6 before a step with beta = 0.5. What is the variance of the step back when x_0 is known?',
    0.375,
    {
        0.5: 'That is the variance of the step forward; knowing x_0 makes it smaller.',
        0.6667: 'Upside down: it is the noise variance before the step, divided by the one after it, times beta.',
        0.3: 'You multiplied by the noise variance before the step; divide by the one after it, too.',
        0.2727: 'The noise after the step is not 1.1: the old noise shrinks by 1 - beta before beta is added.',
        0.8: 'That is the noise variance after the step.',
        0.6124: 'That is the standard deviation; the variance is asked.',
        0.3953: 'That is the weight of x_0 in the mean; the variance is asked.',
    },
    rtol=0.03,
)

question(
    '14-b',
    'The variance of a step is right, its standard deviation 0.2, its mean off by 0.1. How many nats does it cost?',
    0.125,
    {
        0.25: 'Almost: the square of the error in standard deviations is 0.25, and the cost is half of it.',
        0.5: 'The error is half a standard deviation. The cost is half of its square.',
        0.025: 'Divide by twice the variance, 0.2 squared, and not by twice the standard deviation.',
        0.005: 'Half the squared error, yes, but in units of the variance: divide by 0.2 squared.',
        0.18: 'Those are bits; a nat is 1 / log(2) of them.',
        0.0: 'Only the first bracket is zero, as the variances agree. The means do not.',
    },
)

question(
    '14-c',
    'Two equally likely forward paths with p/q of 0.1 and 0.9: log p(x_0), and the ELBO?',
    (-0.6931, -1.2040),
    {
        (-1.2040, -0.6931): 'Swapped. The bound is a lower bound: it lies below log p(x_0).',
        (0.6931, 1.2040): 'The signs: those are -log p(x_0), and the loss L above it.',
        (0.5, -1.2040): 'The second number is right. The first is p(x_0); its logarithm is asked.',
        (-0.6931, -0.6931): 'The first is right. The ELBO is the mean of the logarithms, not the logarithm of the mean.',
        (-1.0, -1.7370): 'Those are bits: logarithms to base 2. Likelihoods are in nats, with the natural one.',
        (-0.6931, -2.4079): 'The first is right. The second is the sum of the two logarithms; the ELBO is their mean.',
        (-2.4079, -1.2040): 'The second number is right. For the first, average the two ratios; do not multiply them.',
        (0.0, -1.2040): 'The second number is right. The paths are equally likely, so the mean ratio is 0.5 and not 1.',
    },
)

question(
    '14-d',
    'Why do the transitions cost anything although the denoiser is perfect: (a) beta is not the best variance, (b) the step beside it knows x_0, (c) too few steps?',
    'b',
    {
        'a': 'The best variance would save less than the gap between L and the truth, 0.03 nats. Of what does the other step know more than any denoiser?',
        'c': 'With more steps there are more and smaller bars; their sum does not go away. Of what does the other step know more than any denoiser?',
    },
)

question(
    '14-e',
    'A loop minimises E_q[log p/q]: (a) the data become more likely, (b) the sign changes nothing, (c) nothing keeps it from making them less likely',
    'c',
    {
        'a': 'On which side of log p(x_0) does E_q[log p/q] lie? Push it down, and nothing lifts log p(x_0).',
        'b': 'Where L is smallest, -L is largest: the same weights are the best place for the one and the worst for the other.',
    },
)
