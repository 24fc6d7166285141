"""The graders of the chapter on latent diffusion."""

import math

import torch

from diffbook.exercise import add, question


def _latent_cases(g):
    mean, log_var, eta, eps = torch.randn(4, 2, 4, 3, 3, generator=g, dtype=torch.float64)
    scale, angle = torch.rand(2, generator=g, dtype=torch.float64).tolist()
    angle = 0.3 + angle
    return mean, 0.6 * log_var - 1.2, 0.25 + 0.5 * scale, math.cos(angle), math.sin(angle), eta, eps


def _noisy(mean, log_var, scale, alpha, sigma, eta, eps, std=None):
    return alpha * scale * (mean + (torch.exp(log_var / 2) if std is None else std) * eta) + sigma * eps


add(
    '52-1',
    'Draw the latent, scale it, then add the noise.',
    cases=_latent_cases,
    truth=_noisy,
    mistakes={
        'You forgot the scale: the latents are not of unit variance, so the schedule means something else.': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, 1.0, a, s, eta, eps),
        'You took the mean where a draw is meant: the decoder was trained on draws, and the law of the means is narrower.': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, c, a, s, 0 * eta, eps),
        'You divided by the scale: encoding multiplies, decoding divides.': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, 1 / c, a, s, eta, eps),
        'You added the noise of diffusion before the scale: it must have unit variance beside a latent that is already scaled.': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, c, a, c * s, eta, eps),
        'You scaled the mean and not the draw around it.': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, c, a, s, eta / c, eps),
        'Your deviation is a variance: exp(log_var) is the variance, its root is exp(log_var / 2).': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, c, a, s, eta, eps, lv.exp()),
        'You used log_var as if it were the deviation.': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, c, a, s, eta, eps, lv),
        'Both draws are the same noise: the one of the encoder and the one of diffusion are independent.': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, c, a, s, eps, eps),
        'You exchanged alpha and sigma.': lambda m, lv, c, a, s, eta, eps: _noisy(m, lv, c, s, a, eta, eps),
    },
)  # fmt: skip


def _finer_cases(g):
    u, k = torch.rand(2, generator=g, dtype=torch.float64).tolist()
    return 0.3 + 2 * u, 1.5 + 3 * k


def _pair(ratio):
    alpha = (1 + ratio**2) ** -0.5
    return alpha, ratio * alpha


add(
    '52-2',
    'The finer grid needs the noise-to-signal ratio k r.',
    cases=_finer_cases,
    truth=lambda r, k: _pair(k * r),
    mistakes={
        'You multiplied the ratio by k squared: it is the signal-to-noise ratio, a ratio of variances, that changes by k squared; sigma / alpha changes by k.': lambda r, k: _pair(k**2 * r),
        'You multiplied the signal-to-noise ratio by k and not by k squared: a cell averages k times k pixels.': lambda r, k: _pair(k**0.5 * r),
        'You went the wrong way: more pixels see through the same noise more easily, so the finer grid needs more noise.': lambda r, k: _pair(r / k),
        'You left the ratio as it was.': lambda r, k: _pair(r),
        'The ratio is right, but the squares of your pair do not add up to one.': lambda r, k: (_pair(r)[0], k * _pair(r)[1]),
        'You exchanged alpha and sigma.': lambda r, k: _pair(k * r)[::-1],
    },
)  # fmt: skip


def _bound_cases(g):
    x, m = torch.randn(2, generator=g, dtype=torch.float64).tolist()
    s, b, u, v = (0.4 + 1.2 * torch.rand(4, generator=g, dtype=torch.float64)).tolist()
    return x, m, s, b, u, v


def _bound(x, m, s, b, u, v, spread=1.0, kl=1.0):
    reconstruction = -((x - b * m) ** 2 + spread * b**2 * s**2) / (2 * u) - math.log(2 * math.pi * u) / 2
    return reconstruction - kl * (s**2 / v + m**2 / v - 1 + math.log(v / s**2)) / 2


def _log_normal(x, mean, var):
    return -((x - mean) ** 2) / (2 * var) - math.log(2 * math.pi * var) / 2


add(
    '52-3',
    'Reconstruction, averaged over the draw, less the KL divergence.',
    cases=_bound_cases,
    truth=_bound,
    mistakes={
        'You decoded the mean: the average is over draws of z, and their spread adds b^2 s^2 to the squared error.': lambda x, m, s, b, u, v: _bound(x, m, s, b, u, v, spread=0.0),
        'You added the KL divergence: it is subtracted.': lambda x, m, s, b, u, v: _bound(x, m, s, b, u, v, kl=-1.0),
        'The KL divergence is missing.': lambda x, m, s, b, u, v: _bound(x, m, s, b, u, v, kl=0.0),
        'You took the KL divergence to N(0, 1): the prior of latents has the variance v.': lambda x, m, s, b, u, v: _bound(x, m, s, b, u, v, kl=0.0) - (s**2 + m**2 - 1 - math.log(s**2)) / 2,
        'Your KL divergence is the other way round: it is that of q from p.': lambda x, m, s, b, u, v: _bound(x, m, s, b, u, v, kl=0.0) - (v / s**2 + m**2 / s**2 - 1 + math.log(s**2 / v)) / 2,
        'The entropy of q is missing: you subtracted the cross term -E log p(z) alone.': lambda x, m, s, b, u, v: _bound(x, m, s, b, u, v, kl=0.0) - (s**2 + m**2) / (2 * v) - math.log(2 * math.pi * v) / 2,
        'This is log p(x) itself: with one Gaussian pixel it can be had, but the bound was asked.': lambda x, m, s, b, u, v: _log_normal(x, 0.0, b**2 * v + u),
        'This is minus the bound, a loss.': lambda x, m, s, b, u, v: -_bound(x, m, s, b, u, v),
        'You forgot the constant log(2 pi u) / 2 of the decoder.': lambda x, m, s, b, u, v: _bound(x, m, s, b, u, v) + math.log(2 * math.pi * u) / 2,
    },
)  # fmt: skip


question(
    '52-a',
    'What less noise in the encoder costs, in nats.',
    2 * math.log(2),
    {
        math.log(2): 'That is for one latent; there are two.',
        4 * math.log(2): 'The entropy has half the logarithm of the variance: log s for each latent, not log s^2.',
        -2 * math.log(2): 'The entropy falls; the term is minus the entropy, and rises.',
    },
)
question(
    '52-b',
    'The variance of latents as drawn.',
    0.75,
    {
        0.5: 'That is the variance of the means; the draw adds its own.',
        1.0: 'You added a standard deviation to a variance: square it first.',
        0.25: 'That is the draw alone.',
    },
)
question(
    '52-c',
    'Where long training of the second stage ends.',
    0.009,
    {
        0: 'The decoder paints every drawing, and its copies of real pictures already have the distance 0.009.',
        0.011: 'That is the gap to the floor; the drawings come down to the floor itself.',
        0.02: 'The second stage still improves: its own part of the distance can go.',
    },
)
question(
    '52-d',
    'What an interval around zero says.',
    'b',
    {
        'a': 'The interval also allows a large lead. No difference shown is not a difference of zero.',
        'c': 'That the mean is positive may be the luck of these seeds: the interval contains zero.',
    },
)
question(
    '52-e',
    'Places that are left for the U-Net.',
    64,
    {
        8: 'That is along one side; a picture has two.',
        48: 'That is the ratio of all numbers, with three values a pixel and four a cell; places were asked.',
        512: 'A picture has two sides, not three.',
    },
)
question(
    '52-f',
    'Why the first guess of an emoji is nearly the emoji: a, b or c.',
    'c',
    {
        'a': 'At t = 1 the state is pure noise in latents as in pixels: nothing of the data is left in it.',
        'b': 'The decoder would make the same picture of the same guess. Change the caption at t = 1: the noise stays, the guess changes.',
    },
)
