"""Graders of the chapter on Gaussian noise."""

import math

import torch

from diffbook.exercise import add


def _uniform(g, *shape, low=0.0, high=1.0):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def _normal(g, *shape):
    return torch.randn(shape, generator=g, dtype=torch.float64)


def _back(z1, z2):
    return torch.exp(-(z1**2 + z2**2) / 2), torch.atan2(z2, z1) / (2 * math.pi) % 1


add(
    '10-1',
    'Give the uniform pair (u, w) from which Box-Muller makes the Gaussians z1 and z2.',
    cases=lambda g: (_normal(g, 8), _normal(g, 8)),
    truth=_back,
    mistakes={
        'The angle is right up to whole turns: w must lie between 0 and 1, and atan2 gives negative angles too.': lambda z1, z2: (
            _back(z1, z2)[0],
            torch.atan2(z2, z1) / (2 * math.pi),
        ),
        'atan forgets the quadrant: two opposite points get the same angle. Use atan2(z2, z1).': lambda z1, z2: (
            _back(z1, z2)[0],
            torch.atan(z2 / z1) / (2 * math.pi) % 1,
        ),
        'You measure the angle from the wrong axis: atan2 takes z2 first, then z1.': lambda z1, z2: (
            _back(z1, z2)[0],
            torch.atan2(z1, z2) / (2 * math.pi) % 1,
        ),
        'The half is missing: u = exp(-r**2 / 2).': lambda z1, z2: (torch.exp(-(z1**2 + z2**2)), _back(z1, z2)[1]),
        'You took the mass inside the radius; u is the mass outside, since the transform takes log(u).': lambda z1, z2: (
            1 - _back(z1, z2)[0],
            _back(z1, z2)[1],
        ),
        'w is a share of a turn: divide the angle by 2 pi.': lambda z1, z2: (_back(z1, z2)[0], torch.atan2(z2, z1) % (2 * math.pi)),
    },
)


def _posterior(x, mean, var, alpha, sigma):
    gain = alpha * var / (alpha**2 * var + sigma**2)
    return mean + gain * (x - alpha * mean), (1 - gain * alpha) * var


def _with_gain(gain):
    return lambda x, mean, var, alpha, sigma: (
        mean + gain(var, alpha, sigma) * (x - alpha * mean),
        _posterior(x, mean, var, alpha, sigma)[1],
    )


add(
    '10-2',
    'Give mean and variance of x0 ~ N(mean, var) after x = alpha x0 + sigma eps was seen.',
    cases=lambda g: (_normal(g, 6), _normal(g, 6), _uniform(g, 6, low=0.3, high=2), _uniform(g, low=0.3, high=0.9), _uniform(g, low=0.3, high=2)),
    truth=_posterior,
    mistakes={
        'You undid the scaling, x / alpha: that ignores the prior. Use what is known before looking.': lambda x, mean, var, alpha, sigma: (
            x / alpha,
            sigma**2 / alpha**2 * torch.ones_like(x),
        ),
        'You undid the scaling, x / alpha: that ignores the prior. And each pixel has a variance of its own.': lambda x, mean, var, alpha, sigma: (
            x / alpha,
            sigma**2 / alpha**2,
        ),
        'sigma is a standard deviation: its square adds to the variance of the signal.': lambda x, mean, var, alpha, sigma: (
            mean + alpha * var / (alpha**2 * var + sigma) * (x - alpha * mean),
            sigma * var / (alpha**2 * var + sigma),
        ),
        'A scale alpha multiplies the variance by alpha**2, and the gain by alpha: one of the two is amiss.': _with_gain(
            lambda var, alpha, sigma: var / (alpha**2 * var + sigma**2)
        ),
        'The variance of alpha x0 is alpha**2 var, not alpha var.': _with_gain(lambda var, alpha, sigma: alpha * var / (alpha * var + sigma**2)),
        'The surprise is x - alpha * mean: you expected to see the mean scaled by alpha.': lambda x, mean, var, alpha, sigma: (
            mean + alpha * var / (alpha**2 * var + sigma**2) * (x - mean),
            _posterior(x, mean, var, alpha, sigma)[1],
        ),
        'That is the mean for a prior with mean zero: the correction starts from the prior mean.': lambda x, mean, var, alpha, sigma: (
            alpha * var / (alpha**2 * var + sigma**2) * x,
            _posterior(x, mean, var, alpha, sigma)[1],
        ),
        'The mean is right; the second value should be the variance, and you gave the standard deviation.': lambda *a: (
            _posterior(*a)[0],
            _posterior(*a)[1].sqrt(),
        ),
        'The mean is right; the variance is that before looking. Seeing something makes it smaller.': lambda x, mean, var, alpha, sigma: (
            _posterior(x, mean, var, alpha, sigma)[0],
            var,
        ),
    },
)

add(
    '10-3',
    'Turn standard noise into a sample of N(mean, exp(log_var)).',
    cases=lambda g: (_normal(g, 6), _normal(g, 6) - 1, _normal(g, 6)),
    truth=lambda mean, log_var, eps: mean + torch.exp(log_var / 2) * eps,
    mistakes={
        'exp(log_var) is the variance; noise is scaled by the standard deviation, its root.': lambda mean, log_var, eps: mean + torch.exp(log_var) * eps,
        'You scaled by the logarithm itself: take its exponential first.': lambda mean, log_var, eps: mean + log_var * eps,
        'You scaled by half the logarithm: take its exponential.': lambda mean, log_var, eps: mean + log_var / 2 * eps,
        'The sign of the exponent is wrong: a large log_var should give a wide law.': lambda mean, log_var, eps: mean + torch.exp(-log_var / 2) * eps,
        'The noise carries no mean: add the mean after scaling, not before.': lambda mean, log_var, eps: torch.exp(log_var / 2) * (mean + eps),
        'exp(log_var) ** 2 is the square of the variance: go the other way, to its root.': lambda mean, log_var, eps: mean + torch.exp(2 * log_var) * eps,
    },
)


def _nats(mean, log_var):
    return (torch.exp(log_var) - 1 - log_var + mean**2) / 2


add(
    '10-4',
    'Give the KL divergence from N(mean, exp(log_var)) to the standard normal in bits, one number an example.',
    cases=lambda g: (_normal(g, 4, 5), _normal(g, 4, 5)),
    truth=lambda mean, log_var: _nats(mean, log_var).sum(1) / math.log(2),
    mistakes={
        'These are nats; a bit is log(2) nats, so divide by log(2).': lambda mean, log_var: _nats(mean, log_var).sum(1),
        'You multiplied by log(2); bits are nats divided by it.': lambda mean, log_var: _nats(mean, log_var).sum(1) * math.log(2),
        'KL adds over coordinates: sum, do not average.': lambda mean, log_var: _nats(mean, log_var).mean(1) / math.log(2),
        'That is KL from the standard normal to yours: the first law is the one that is averaged over.': lambda mean, log_var: (
            torch.exp(-log_var) - 1 + log_var + mean**2 * torch.exp(-log_var)
        ).sum(1)
        / (2 * math.log(2)),
        'The half in front is missing.': lambda mean, log_var: 2 * _nats(mean, log_var).sum(1) / math.log(2),
        'The sign of log_var is wrong: KL must be zero for a standard normal and positive around it.': lambda mean, log_var: (
            torch.exp(log_var) - 1 + log_var + mean**2
        ).sum(1)
        / (2 * math.log(2)),
        'log_var is a logarithm: the variance is its exponential.': lambda mean, log_var: (log_var - 1 - log_var + mean**2).sum(1) / (2 * math.log(2)),
    },
)
