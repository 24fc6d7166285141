"""Graders of the chapter on the VAE."""

import math

import torch

from diffbook.exercise import add, question


def randn(g, *shape):
    return torch.randn(shape, generator=g, dtype=torch.float64)


def fresh(kind, shape, seed):
    "Numbers of one kind from a fresh generator."
    return kind(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(mean, std, seed, kind=torch.randn):
    return mean + std * fresh(kind, mean.shape, seed)


add(
    '50-1',
    'Draw latents of the given mean and log-variance with noise from a fresh generator of the given seed.',
    cases=lambda g: (randn(g, 4, 3), randn(g, 4, 3) - 1, int(torch.randint(1000, (), generator=g))),
    truth=lambda mean, log_var, seed: drawn(mean, torch.exp(log_var / 2), seed),
    mistakes={
        'Your noise is uniform (rand): its mean is 1/2 and its variance 1/12. Gaussian noise comes from randn.': (
            lambda m, v, s: drawn(m, torch.exp(v / 2), s, torch.rand)
        ),
        'Your noise is uniform (rand), made symmetric: its variance is 1/3 and it never goes far. Take randn.': (
            lambda m, v, s: m + torch.exp(v / 2) * (2 * fresh(torch.rand, m.shape, s) - 1)
        ),
        'You multiplied the noise by the variance: the standard deviation is exp(log_var / 2).': (lambda m, v, s: drawn(m, torch.exp(v), s)),
        'You multiplied the noise by the log-variance itself: take exp(log_var / 2).': lambda m, v, s: drawn(m, v, s),
        'You took log_var / 2, the log of the standard deviation: the exponential is missing.': (lambda m, v, s: drawn(m, v / 2, s)),
        'You took exp(2 log_var): the root of a variance halves its logarithm.': (lambda m, v, s: drawn(m, torch.exp(2 * v), s)),
        'You took the root of log_var; it is the variance, exp(log_var), whose root is wanted.': (lambda m, v, s: drawn(m, v.abs().sqrt(), s)),
        'You drew one number for the whole batch: every latent needs its own.': (lambda m, v, s: m + torch.exp(v / 2) * fresh(torch.randn, (1,), s)),
        'You added the noise unscaled: it is multiplied by exp(log_var / 2).': lambda m, v, s: drawn(m, 1.0, s),
        'You gave the mean: nothing was drawn.': lambda m, v, s: m,
    },
)


def cost(x, y, mean, log_var, s):
    "The reconstruction in nats but for a constant, and the divergence; each (b,)."
    far = (x - y).square().sum(1) / (2 * s**2)
    return far, (mean.square() + log_var.exp() - 1 - log_var).sum(1) / 2


def bound(x, y, mean, log_var, s):
    return -torch.distributions.Normal(y, s).log_prob(x).sum(1) + torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, torch.exp(log_var / 2)),
        torch.distributions.Normal(torch.zeros_like(mean), 1.0),
    ).sum(1)


def constant(x, s):
    return x.shape[1] * math.log(2 * math.pi * s**2) / 2


def bound_cases(g):
    s = 0.2 + torch.rand((), generator=g, dtype=torch.float64).item()
    x, y = randn(g, 5, 7), randn(g, 5, 7)
    return x, y, randn(g, 5, 3), 0.7 * randn(g, 5, 3) - 1, s


def add_up(x, y, mean, log_var, s, a=1.0, b=1.0, c=1.0):
    far, kl = cost(x, y, mean, log_var, s)
    return a * far + b * kl + c * constant(x, s)


add(
    '50-2',
    'Give minus the ELBO in nats of each example, for a Gaussian decoder of standard deviation s.',
    cases=bound_cases,
    truth=bound,
    mistakes={
        'The sign of the KL is wrong: minus the ELBO is the reconstruction cost PLUS the divergence.': (lambda *z: add_up(*z, b=-1.0)),
        'This is the ELBO: minus the ELBO was asked, a loss.': lambda *z: add_up(*z, -1.0, -1.0, -1.0),
        'The constant of the density is missing, log(2 pi s^2) / 2 for each value of x.': lambda *z: add_up(*z, c=0.0),
        'The squared error is not divided by 2 s^2.': lambda *z: add_up(*z, a=2 * z[4] ** 2),
        'You divided the squared error by s^2: the density says 2 s^2.': lambda *z: add_up(*z, a=2.0),
        'You put 2 s^2 on the divergence too; here it divides the squared error only.': (lambda *z: add_up(*z, b=1 / (2 * z[4] ** 2))),
        'You averaged the squared error over the values of x and summed the KL: that weighs the KL as many times too much as x has values.': (
            lambda *z: add_up(*z, a=1 / z[0].shape[1], c=1 / z[0].shape[1])
        ),
        'You averaged both terms: nats of an example are sums.': (lambda *z: add_up(*z, a=1 / z[0].shape[1], b=1 / z[2].shape[1], c=1 / z[0].shape[1])),
        'You averaged the KL over the latents; sum it.': lambda *z: add_up(*z, b=1 / z[2].shape[1]),
        'Your KL is twice too large: the formula has a factor 1/2.': (lambda *z: add_up(*z, b=2.0)),
        'You read log_var as the log of the standard deviation.': (lambda x, y, m, v, s: add_up(x, y, m, 2 * v, s)),
        'You turned the divergence around: it is KL(q || p), averaged over q.': (
            lambda x, y, m, v, s: cost(x, y, m, v, s)[0] + constant(x, s) + ((1 + m.square()) * torch.exp(-v) - 1 + v).sum(1) / 2
        ),
    },
)


def water(spectrum, w, level=None):
    level = torch.full_like(spectrum, w / 2) if level is None else level
    alive = spectrum > level
    rate = torch.where(alive, torch.log(spectrum / level) / 2, torch.zeros_like(spectrum))
    return rate.sum(), torch.minimum(spectrum, level).sum()


def waves(g):
    spectrum = torch.exp(2 * randn(g, 6))
    ordered = spectrum.sort().values
    return spectrum, (ordered[1] + ordered[2]).item()  # w / 2 lies among them: some are alive and some not


add(
    '50-3',
    'Give rate in nats and distortion of the best linear VAE for data of this spectrum at the price w.',
    cases=waves,
    truth=lambda spectrum, w: water(spectrum, w),
    mistakes={
        'Your water level is w: minimise v -> lambda v - (w / 2) log v, and lambda v comes out as w / 2.': (lambda e, w: water(e, w, torch.full_like(e, w))),
        'Your water level is 2 w; it is w / 2.': lambda e, w: water(e, w, torch.full_like(e, 2 * w)),
        'You let components below the water level count with a negative rate: they carry nothing, rate 0.': (
            lambda e, w: (torch.log(2 * e / w).sum() / 2, torch.minimum(e, torch.full_like(e, w / 2)).sum())
        ),
        'You let every component be coded: one below the water level would get a negative rate. It carries nothing: rate 0, distortion its variance.': (
            lambda e, w: (torch.log(2 * e / w).sum() / 2, torch.full_like(e, w / 2).sum())
        ),
        'A component that carries nothing costs all of its variance, not the water level.': (lambda e, w: (water(e, w)[0], torch.full_like(e, w / 2).sum())),
        'You forgot that components without a rate are lost: their variance is distortion too.': (lambda e, w: (water(e, w)[0], (e > w / 2).sum() * w / 2)),
        'The rate of a Gaussian is half a logarithm.': lambda e, w: (2 * water(e, w)[0], water(e, w)[1]),
        'Your rate is in bits; the divergence is in nats.': (lambda e, w: (water(e, w)[0] / math.log(2), water(e, w)[1])),
        'Rate and distortion are exchanged: rate first.': lambda e, w: water(e, w)[::-1],
    },
)


def scaled(g):
    scale = 0.1 + torch.rand((), generator=g, dtype=torch.float64).item()
    shift = 0.2 + torch.rand((), generator=g, dtype=torch.float64).item()
    return randn(g, 3, 4), randn(g, 3, 4), scale, shift


add(
    '50-4',
    'Turn raw latents into unit variance, and latents of unit variance back into raw ones.',
    cases=scaled,
    truth=lambda raw, z, scale, shift: ((raw - shift) * scale, z / scale + shift),
    mistakes={
        'The scale is on the wrong side: it is ONE OVER the standard deviation, so multiply when encoding and divide when decoding.': (
            lambda r, z, a, b: ((r - b) / a, z * a + b)
        ),
        'You multiply both ways: decoding must undo what encoding did.': lambda r, z, a, b: ((r - b) * a, z * a + b),
        'Encoding is right; decoding does not divide by the scale.': lambda r, z, a, b: ((r - b) * a, z + b),
        'You shift after scaling: the shift is the mean of the raw latents, subtract it first.': (lambda r, z, a, b: (r * a - b, (z + b) / a)),
        'Decoding adds the shift before it divides: undo the two in reverse order.': (lambda r, z, a, b: ((r - b) * a, (z + b) / a)),
        'The sign of the shift is wrong: the mean is subtracted when encoding.': (lambda r, z, a, b: ((r + b) * a, z / a - b)),
        'You forgot the shift.': lambda r, z, a, b: (r * a, z / a),
    },
)


question(
    '50-a',
    'The KL price of a latent, in nats.',
    2,
    {
        2.5: 'You forgot the - 1: a latent of mean 0 and variance 1 must cost nothing.',
        4: 'The formula has a factor 1/2.',
        1.5: 'Log-variance 0 is a variance of 1, not of 0: exp(0) = 1.',
    },
)
question(
    '50-b',
    'The derivative of a mean with respect to mu.',
    3,
    {
        3.25: 'That is the mean of z squared; its derivative in mu was asked.',
        2.25: 'That is the square of mu; take the derivative.',
        1.5: "f'(z) is 2 z: the factor two is missing.",
    },
)
question(
    '50-c',
    'The weight w of a script that sums the KL.',
    0.0768,
    {
        0.0001: 'That would be w if the KL were divided by the 768 values as well.',
        0.0001 / 768: 'The wrong way round: the factor before the summed KL is w / D.',
        0.196: 'That is s, the error that the model claims; w is 2 s^2.',
    },
)
question(
    '50-d',
    'The numbers in the latents of a picture.',
    8192,
    {
        2048: 'Those are the cells; each holds four numbers.',
        65536: 'Both sides are divided by eight, not one of them.',
        2 * 8192: 'The encoder gives so many, means and log-variances; a latent is drawn from each pair.',
        512: 'Four levels have three halvings between them.',
    },
)
question(
    '50-e',
    'What grows with the picture: latents and parameters.',
    (4, 1),
    {
        (4, 4): 'Convolutions use the same weights at every place: no new parameters.',
        (2, 1): 'Twice the cells along each of two sides.',
        (1, 1): 'The factor between picture and grid is fixed, so the grid grows with the picture.',
    },
)
question(
    '50-f',
    'The scale of latents, from means and draws.',
    0.2,
    {
        1 / 3: 'That is for the means alone; a draw adds its own variance.',
        1 / 7: 'Variances add, standard deviations do not.',
        5: 'That is the standard deviation; the scale is one over it.',
        0.04: 'That is one over the variance; take the root.',
    },
)
