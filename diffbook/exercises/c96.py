"""Graders of the appendix on why it works."""

import torch

from diffbook.exercise import add


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def whole(g, low, high):
    return int(torch.randint(low, high, (), generator=g))


add(
    '96-1',
    'Give the noise level at which the ideal denoiser locks on to one point.',
    cases=lambda g: (whole(g, 20, 5000), whole(g, 3, 60), u(g, 0.3, 3.0)),
    truth=lambda n, d, s: s / (n ** (2 / d) - 1) ** 0.5,
    mistakes={
        'That is for data of standard deviation 1: a data set that is twice as wide needs twice the noise.': lambda n, d, s: 1 / (n ** (2 / d) - 1) ** 0.5,
        'You gave the variance of the noise; take the root.': lambda n, d, s: s**2 / (n ** (2 / d) - 1),
        'The information is d / 2 times a logarithm, so n gets the exponent 2 / d, not 1 / d.': lambda n, d, s: s / (n ** (1 / d) - 1) ** 0.5,
        'You left out the noise in the volume of the cloud, sqrt(s**2 + sigma**2): hence the -1.': lambda n, d, s: s / n ** (1 / d),
        'The sign: 1 + s**2 / sigma**2 = n**(2 / d), so one is subtracted.': lambda n, d, s: s / (n ** (2 / d) + 1) ** 0.5,
        'Upside down: the more points there are, the less noise they survive.': lambda n, d, s: s * (n ** (2 / d) - 1) ** 0.5,
    },
)


def share(point, eps, sigma, n, rivals=lambda n: n - 1, noise=lambda v: v, cloud=lambda v: 1 + v, spare=0.0):
    x, v = point + sigma * eps, sigma**2
    mine = -point.numel() / 2 * torch.log(noise(v)) - (eps**2).sum() / 2
    all_of_them = -point.numel() / 2 * torch.log(cloud(v)) - (x**2).sum() / (2 * cloud(v))
    return 1 / (1 + rivals(n) * torch.exp(all_of_them - mine + spare))


add(
    '96-2',
    'Give the share of the right point, with the rivals at their mean.',
    cases=lambda g: (*torch.randn(2, 5, generator=g, dtype=torch.float64), u(g, 0.3, 1.5), whole(g, 5, 60)),
    truth=share,
    mistakes={
        'There are n - 1 rivals: the right point does not compete with itself.': lambda *v: share(*v, rivals=lambda n: n),
        'x is distributed with variance 1 + sigma**2: you took the distribution of the clean data.': lambda *v: share(*v, cloud=lambda v: torch.ones_like(v)),
        'The normalising constants differ: d / 2 times log(1 + 1 / sigma**2) is missing.': lambda point, eps, sigma, n: (
            1 / (1 + (n - 1) * torch.exp((eps**2).sum() / 2 - ((point + sigma * eps) ** 2).sum() / (2 * (1 + sigma**2))))
        ),
        'That is the mean of the information, which leaves out this x and this eps.': lambda point, eps, sigma, n: (
            1 / (1 + (n - 1) * torch.exp(-point.numel() / 2 * torch.log1p(1 / sigma**2)))
        ),
        'That is R, the sum of the rivals; the share is 1 / (1 + R).': lambda *v: 1 / share(*v) - 1,
        'The sign of i: the more x tells of its origin, the lighter are the rivals.': lambda point, eps, sigma, n: (
            1 / (1 + (n - 1) ** 2 / (1 / share(point, eps, sigma, n) - 1))
        ),
        'You left out the factor 1/2 in front of the squares.': lambda point, eps, sigma, n: share(
            point, eps, sigma, n, spare=(eps**2).sum() / 2 - ((point + sigma * eps) ** 2).sum() / (2 * (1 + sigma**2))
        ),
    },
)

log = torch.log
add(
    '96-3',
    'Give the scale at which autoguidance hits the truth.',
    cases=lambda g: (s := u(g, 0.5, 1.5), s1 := s * u(g, 1.05, 1.3), s1 * u(g, 1.1, 2.0)),
    truth=lambda s, s1, s0: log(s0 / s) / log(s0 / s1),
    mistakes={
        'That is for a truth of deviation 1: divide both deviations by s.': lambda s, s1, s0: log(s0) / log(s0 / s1),
        'The roles are exchanged: s0 is the guide, which is left, and s1 the model.': lambda s, s1, s0: log(s1 / s) / log(s1 / s0),
        'You extrapolated the deviation; the flow extrapolates its logarithm.': lambda s, s1, s0: (s0 - s) / (s0 - s1),
        'You extrapolated the variance; the flow extrapolates the logarithm.': lambda s, s1, s0: (s0**2 - s**2) / (s0**2 - s1**2),
        'That scale counts from 0, as w in the paper of Ho and Salimans does; here 1 is off.': lambda s, s1, s0: log(s1 / s) / log(s0 / s1),
        'Upside down: the nearer the guide is to the model, the larger the scale.': lambda s, s1, s0: log(s0 / s1) / log(s0 / s),
        'That is the scale for a density in proportion to p1**w p0**(1 - w); the walk does not draw from it.': lambda s, s1, s0: (
            (s**-2 - s0**-2) / (s1**-2 - s0**-2)
        ),
    },
)


def narrow(r, k, D, alpha, sigma, unit=lambda a, s: s**2 / a**2):
    gain = sigma**2 / (alpha**2 + sigma**2)
    return (k * gain + (max(D - k - r, 0) + min(k, D - r) * gain) * unit(alpha, sigma)) / D


def data_first(r, k, D, alpha, sigma):
    gain = sigma**2 / (alpha**2 + sigma**2)
    return (k * gain + (max(k - r, 0) * gain + min(D - k, D - r)) * sigma**2 / alpha**2) / D


def sizes(g):
    D = whole(g, 20, 64)
    k = whole(g, 3, D // 2)
    return whole(g, 1, D), k, D, u(g, 0.3, 1.0), u(g, 0.3, 1.0)


add(
    '96-4',
    'Give the error of x0 of a linear network of rank r that is asked for the noise.',
    cases=sizes,
    truth=narrow,
    mistakes={
        'You kept the axes of the data first. Their gain, sigma**2 / (alpha**2 + sigma**2), is below that of an empty axis, 1: the best noise-network loses them first.': data_first,
        'That is the error of the noise; an error of x0 is sigma**2 / alpha**2 times as large.': lambda *v: narrow(*v, unit=lambda a, s: 1.0),
        'Errors are scaled by sigma / alpha, so their squares by its square.': lambda *v: narrow(*v, unit=lambda a, s: s / a),
        'The factor is upside down: x0 = (x - sigma eps) / alpha.': lambda *v: narrow(*v, unit=lambda a, s: a**2 / s**2),
        'The floor is missing: at full rank the posterior variance is left.': lambda r, k, D, a, s: narrow(r, k, D, a, s) - k * s**2 / (a**2 + s**2) / D,
        'Per dimension: divide by D.': lambda r, k, D, a, s: D * narrow(r, k, D, a, s),
        'You lost axes of the data only. Rank r must serve all D axes if the target is the noise.': lambda r, k, D, a, s: (
            (k + max(k - r, 0) * s**2 / a**2) * s**2 / (a**2 + s**2) / D
        ),
        'A lost axis of the data costs its gain, sigma**2 / (alpha**2 + sigma**2), not 1.': lambda r, k, D, a, s: (
            (k * s**2 / (a**2 + s**2) + (D - r) * s**2 / a**2) / D
        ),
    },
    edges=[(8, 8, 64, torch.tensor(0.5).double(), torch.tensor(0.5).double()), (64, 8, 64, torch.tensor(0.6).double(), torch.tensor(0.8).double())],
)
