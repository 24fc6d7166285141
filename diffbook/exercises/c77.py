"""Graders of the chapter on the family."""

import math

import torch

from diffbook.exercise import add, question


def normal(g, *shape):
    return torch.randn(shape, generator=g, dtype=torch.float64)


question(
    '77-a',
    'Give the seconds that one picture takes.',
    3.92,
    {
        0.005: 'That is one call; every pixel needs one of its own.',
        0.14: 'That is one call for each row; the pixels of a row wait for each other too.',
        3920: 'Those are milliseconds.',
    },
)

question(
    '77-b',
    'Give the density of the data at that point.',
    1.197,
    {
        0.133: 'The map stretches on the way to the noise, so much noise comes from little data: multiply.',
        0.399: 'That is the density of the noise; the slope is missing.',
        1.4976: 'The logarithm of the slope belongs to the logarithm of the density; the density itself is multiplied by 3.',
    },
)

question(
    '77-c',
    'Give what the diagonal encoder pays.',
    0.2231,
    {
        1.25: 'That is the ratio of the means; the price is its logarithm.',
        -0.2231: 'A KL is never negative: arithmetic over geometric mean.',
        0.4463: 'You forgot the one half of the KL of two Gaussians.',
        0.9163: 'That is the logarithm of the arithmetic mean; divide by the geometric mean, 2.',
    },
)

question(
    '77-d',
    'Give the sizes of the two slopes, the saturating one first.',
    (0.02, 1.98),
    {
        (1.98, 0.02): 'The other way round: log(1 - D) is nearly flat where D is nearly 0.',
        (0.01, 0.99): 'Those are the factors; the logit itself has the slope 2.',
        (0.0198, 0.0198): 'D (1 - D) is the slope of D by the logit; the logarithm divides by one of the two.',
    },
)

question(
    '77-e',
    'Give how many numbers the latents have together.',
    1_024_000,
    {
        1024: 'That is the latent of one step.',
        1000: 'That is one number a step; each latent is as large as the picture.',
        32_000: 'A picture of 32 by 32 has 1,024 numbers.',
    },
)

question(
    '77-f',
    'Say on which of them.',
    'c',
    {
        'a': 'A flow gives the exact log-likelihood: the noise that a point comes from, and how much the map stretches.',
        'b': 'A VAE gives a bound, and a tighter one by drawing more latents.',
        'd': 'Diffusion gives a bound by its steps, and the exact value by its flow.',
    },
)

question(
    '77-g',
    'Say what is wrong.',
    'b',
    {
        'a': 'Of diffusion it is true: every x_t is as large as x_0.',
        'c': 'Think of the map of a flow and of its inverse: how many numbers can go in and come out?',
    },
)


def couple(b, s, t):
    new = b * torch.exp(s) + t
    return new, s.sum(1), (new - t) * torch.exp(-s)


add(
    '77-1',
    'Apply one affine coupling, with its log-determinant, and undo it.',
    cases=lambda g: (normal(g, 4, 3), 0.5 * normal(g, 4, 3), normal(g, 4, 3)),
    truth=couple,
    mistakes={
        'The sign of the log-determinant: this map goes from data to noise, and stretches by exp(s).': lambda b, s, t: (couple(b, s, t)[0], -s.sum(1), b),
        'The way back takes the shift off first, and then the scale.': lambda b, s, t: (
            couple(b, s, t)[0],
            s.sum(1),
            couple(b, s, t)[0] * torch.exp(-s) - t,
        ),
        'Sum the log-scales of an example; you took their mean.': lambda b, s, t: (couple(b, s, t)[0], s.mean(1), b),
        'That is the determinant; give its logarithm.': lambda b, s, t: (couple(b, s, t)[0], s.exp().prod(1), b),
        'Scale first, then shift.': lambda b, s, t: ((b + t) * torch.exp(s), s.sum(1), b),
        's is the logarithm of the scale.': lambda b, s, t: (b * s + t, s.abs().log().sum(1), b),
        'One log-determinant for each example: sum over the second axis only.': lambda b, s, t: (couple(b, s, t)[0], s.sum(), b),
    },
)


def shares(g, n=6):
    v = 0.1 + torch.rand(n, generator=g, dtype=torch.float64)
    return v / v.sum()


def game(p, q, d):
    return (p * torch.log(d) + q * torch.log(1 - d)).sum()


add(
    '77-2',
    "Give the value of a GAN's game against the best discriminator.",
    cases=lambda g: (shares(g), shares(g)),
    truth=lambda p, q: game(p, q, p / (p + q)),
    mistakes={
        'That is what the discriminator loses; the value is minus that.': lambda p, q: -game(p, q, p / (p + q)),
        'You swapped real and drawn: D is the probability of real, p / (p + q).': lambda p, q: game(p, q, q / (p + q)),
        'That is the Jensen-Shannon divergence; the value is twice it, minus log 4.': lambda p, q: (game(p, q, p / (p + q)) + math.log(4)) / 2,
        'That is twice the Jensen-Shannon divergence; log 4 is still to be taken off.': lambda p, q: game(p, q, p / (p + q)) + math.log(4),
        'You gave the mean of the two terms; the value is their sum.': lambda p, q: game(p, q, p / (p + q)) / 2,
        'That is the value for a discriminator that always says one half.': lambda p, q: game(p, q, torch.full_like(p, 0.5)),
        'Both expectations: the first over p, the second over q.': lambda p, q: game(p, p, p / (p + q)),
    },
)


def bits(logits, levels):
    return -logits.log_softmax(1).gather(1, levels[:, None])[:, 0].mean() / math.log(2)


add(
    '77-3',
    'Give the bits a number of an autoregressive model.',
    cases=lambda g: (normal(g, 3, 5, 4), torch.randint(5, (3, 4), generator=g)),
    truth=bits,
    mistakes={
        'Those are nats; divide by log 2.': lambda logits, levels: bits(logits, levels) * math.log(2),
        'A probability below one has a negative logarithm, and bits count its opposite.': lambda logits, levels: -bits(logits, levels),
        'The softmax runs over the levels, the second axis, not over the places.': lambda logits, levels: (
            -logits.log_softmax(2).gather(1, levels[:, None]).mean() / math.log(2)
        ),
        'Logits are no log-probabilities yet: take the log_softmax.': lambda logits, levels: -logits.gather(1, levels[:, None]).mean() / math.log(2),
        'That is the sum over the numbers of an example; bits a number are their mean.': lambda logits, levels: bits(logits, levels) * levels.shape[1],
        'Average the logarithms of the probabilities, not the probabilities.': lambda logits, levels: (
            -logits.softmax(1).gather(1, levels[:, None]).mean().log() / math.log(2)
        ),
        'Off by one: each place is judged by the level that stands there, not by the one before it.': lambda logits, levels: bits(logits, levels.roll(1, 1)),
    },
)


def precision(g):
    a = normal(g, 4, 4)
    return a @ a.T + torch.eye(4, dtype=torch.float64)


add(
    '77-4',
    'Give what the best diagonal guess of a Gaussian posterior costs.',
    cases=lambda g: (precision(g),),
    truth=lambda P: (P.diagonal().log().sum() - torch.logdet(P)) / 2,
    mistakes={
        'You forgot the one half.': lambda P: P.diagonal().log().sum() - torch.logdet(P),
        'A KL is never negative: the logarithms of the diagonal come first.': lambda P: (torch.logdet(P) - P.diagonal().log().sum()) / 2,
        'The guess with the right variances is not the best: that is the diagonal of the covariance, and KL(q, p) prefers 1 / P_ii.': lambda P: (
            ((P.diagonal() * P.inverse().diagonal()).sum() - len(P) - torch.logdet(P) - P.inverse().diagonal().log().sum()) / 2
        ),
        'The logarithm of the sum is not the sum of the logarithms.': lambda P: (P.diagonal().sum().log() - torch.logdet(P)) / 2,
        'P is a precision, and has to be taken as it stands; you inverted it first.': lambda P: (P.inverse().diagonal().log().sum() + torch.logdet(P)) / 2,
    },
)
