"""Graders of the chapter on Gaussian noise."""

import math

import torch

from diffbook.exercise import add, question


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
        'The sign of the exponent is wrong: a large log_var should give a wide distribution.': lambda mean, log_var, eps: mean + torch.exp(-log_var / 2) * eps,
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
        'That is KL from the standard normal to yours: the first distribution is the one that is averaged over.': lambda mean, log_var: (
            (torch.exp(-log_var) - 1 + log_var + mean**2 * torch.exp(-log_var)).sum(1) / (2 * math.log(2))
        ),
        'The half in front is missing.': lambda mean, log_var: 2 * _nats(mean, log_var).sum(1) / math.log(2),
        'The sign of log_var is wrong: KL must be zero for a standard normal and positive around it.': lambda mean, log_var: (
            (torch.exp(log_var) - 1 + log_var + mean**2).sum(1) / (2 * math.log(2))
        ),
        'log_var is a logarithm: the variance is its exponential.': lambda mean, log_var: (log_var - 1 - log_var + mean**2).sum(1) / (2 * math.log(2)),
    },
)

question(
    '10-a',
    'The bell of variance 1 is 0.40 high. How high is the bell of variance 4?',
    0.2,
    {
        0.1: 'Divide by the root of the variance: a variance of 4 makes the bell twice as wide, not four times.',
        0.4: 'Then the wider bell would have a larger area; both areas are one.',
        0.8: 'The other way round: what is wider must be lower, to keep its area.',
        0.025: 'Divide once by the root of 4, not by its square.',
    },
)
question(
    '10-b',
    'The noise is -1.5. Which draw of N(2, 4) does it make?',
    -1.0,
    {
        -4.0: 'You stretched by the variance; noise is stretched by its root.',
        5.0: 'Noise may be negative: it moves this draw below the mean.',
        0.5: 'Stretch the noise first, by the standard deviation.',
        1.0: 'That is the stretched noise taken off the wrong way; add it to the mean.',
        -3.0: 'That is the stretched noise alone; add the mean.',
    },
)
question(
    '10-c',
    'A pixel of variance 1 is mixed with standard noise: x = 0.8 x0 + 0.6 eps. What is the variance of x?',
    1.0,
    {
        1.4: 'Weights of a sum are squared before they are added: variances add, not scales.',
        1.96: 'Scales do not add; square each, then add.',
        0.64: 'That is what the pixel brings; the noise brings variance too.',
        0.36: 'That is what the noise brings; the pixel brings variance too.',
        0.28: 'Variances of independent numbers are added, never subtracted.',
    },
)
question(
    '10-d',
    'Prior of mean 0 and variance 1, noise of variance 3, alpha 1, and you see 2. What is the best guess of x0?',
    0.5,
    {
        2.0: 'You believed your eyes; the prior knows something too.',
        1.5: 'The weights are swapped: the noisier the look, the less it weighs.',
        0.0: 'You believed the prior alone; what was seen counts a little.',
        1.0: 'Prior and look weigh alike only if their variances are equal.',
        0.667: 'The gain is v / (v + noise variance), that is 1 / (1 + 3).',
        0.2: 'The variance of the noise is 3 already; do not square it again.',
        0.732: 'The variance of the noise is 3 already; no root.',
    },
)
question(
    '10-e',
    'Pixels of variance 1 are seen through noise of variance 1, alpha 1. What is the variance of the best guesses?',
    0.5,
    {
        1.0: 'Then nothing would remain unknown. The guesses vary less than the truth.',
        2.0: 'That is the variance of what is seen; the gain shrinks it.',
        0.25: 'The gain of 1/2 is squared, and then multiplied by the variance of what is seen, which is 2.',
        0.0: 'The guess follows what is seen, by the gain; it is not constant.',
    },
)
question(
    '10-f',
    'Four equal pixels of mean 0 and variance 1, each seen through noise of variance 4; the looks average to 2. What is the best guess?',
    1.0,
    {
        0.4: 'That is the guess from a single look; there are four, each with a precision of 1/4.',
        2.0: 'You believed the average of the looks; the prior has a precision of 1.',
        1.6: 'The precision of a look is one over its noise variance, 1/4, not 1.',
        0.5: 'That is the gain; multiply it by what was seen.',
    },
)
question(
    '10-g',
    'Two bells of variance 1 stand 2 apart. How many nats are between them?',
    2.0,
    {
        4.0: 'That is the squared distance; divide by twice the variance.',
        1.0: 'The distance of the means is squared first.',
        2.885: 'Those are bits; the question asks for nats.',
        0.0: 'KL is zero only for equal distributions; these have different means.',
    },
)
question(
    '10-h',
    'What is seen moves away from what was expected, and the variances stay. What happens to the width of the posterior?',
    'b',
    {
        'a': 'Surprise does not make it less sure: the width has no x in it. Move what is seen, and look at the green bell.',
        'c': 'Its place changes, not its width: the precisions of prior and look add, wherever the two stand.',
    },
)
