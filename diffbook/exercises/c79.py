"""Graders of the chapter on memory."""

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def whole(g, low, high):
    return int(torch.randint(low, high, (), generator=g))


question(
    '79-a',
    'Say what should be done.',
    'b',
    {
        'a': 'The training loss falls because the network learns these pictures by heart; on all others it gets worse.',
        'c': 'A lower rate makes the same mistake more slowly.',
    },
)

question(
    '79-b',
    'Give the number of copies that are proved.',
    0,
    {
        5: 'So many lie below the limit when nothing is copied at all: 500 times one in a hundred.',
        495: 'Those are the samples above the limit.',
    },
)

question(
    '79-c',
    'Give the share of pairs in which the training picture is found.',
    0.5562,
    {
        0.579: 'The difference of two losses has twice the variance: divide by s sqrt(2).',
        0.4438: 'The training picture has the lower loss, so it is found more often than by a coin.',
        0.5: 'That is a coin: there is a difference, if a small one.',
    },
    rtol=0.01,
)

question(
    '79-d',
    'Give the number whose logarithm decides.',
    1000,
    {
        1_000_000: 'The picture stands there a thousand times, so it has only n / k rivals of its own weight.',
        999_000: 'That many rivals there are; but its own weight is a thousand times theirs.',
    },
)

question(
    '79-e',
    'Say which is right.',
    'b',
    {
        'a': 'There is no paper about it.',
        'c': 'Nothing supports that, and the founder named diffusion models.',
    },
)

add(
    '79-1',
    'Give the chance that a training picture has a lower loss than a new one.',
    cases=lambda g: (u(g, 0.01, 0.05), u(g, 0.01, 0.05), u(g, 0.05, 0.2), whole(g, 2, 20)),
    truth=lambda g, b, w, r: torch.special.ndtr(g / (2 * (b**2 + w**2 / r)) ** 0.5),
    mistakes={
        'The difference of two losses has twice the variance of one.': lambda g, b, w, r: torch.special.ndtr(g / (b**2 + w**2 / r) ** 0.5),
        'Looks at one picture are averaged: their variance is divided by r.': lambda g, b, w, r: torch.special.ndtr(g / (2 * (b**2 + w**2)) ** 0.5),
        'Averaging looks does not make pictures alike: only w**2 is divided by r.': lambda g, b, w, r: torch.special.ndtr(g / (2 * (b**2 + w**2) / r) ** 0.5),
        'Variances add, not standard deviations.': lambda g, b, w, r: torch.special.ndtr(g / (2**0.5 * (b + w / r**0.5))),
        'The sign: the training picture has the lower loss, so the chance is above one half.': lambda g, b, w, r: torch.special.ndtr(
            -g / (2 * (b**2 + w**2 / r)) ** 0.5
        ),
    },
)

add(
    '79-2',
    'Give the noise level at which a repeated point is locked on to.',
    cases=lambda g: (whole(g, 500, 5000), whole(g, 2, 50), whole(g, 8, 60)),
    truth=lambda n, k, d: 1 / ((n / k) ** (2 / d) - 1) ** 0.5,
    mistakes={
        'That is for a point that stands there once.': lambda n, k, d: 1 / (n ** (2 / d) - 1) ** 0.5,
        'A repeated point is found under more noise, not less: n / k, not n k.': lambda n, k, d: 1 / ((n * k) ** (2 / d) - 1) ** 0.5,
        'You took k away from n; its weight divides.': lambda n, k, d: 1 / ((n - k) ** (2 / d) - 1) ** 0.5,
        'You gave the variance; take the root.': lambda n, k, d: 1 / ((n / k) ** (2 / d) - 1),
        'The exponent is 2 / d: the information is d / 2 times a logarithm.': lambda n, k, d: 1 / ((n / k) ** (1 / d) - 1) ** 0.5,
    },
)


def test(held, drawn, q):
    limit = torch.quantile(held, q)
    return limit, (drawn < limit).double().mean()


add(
    '79-3',
    'Set the limit of a copy test, and count.',
    cases=lambda g: (1 + u(g, 0, 2, (200,)), 0.5 + u(g, 0, 2, (80,)), 0.05),
    truth=test,
    mistakes={
        'The limit comes from the new pictures, not from the samples that it shall judge.': lambda held, drawn, q: (torch.quantile(drawn, q), q + 0 * held[0]),
        'A copy is near: the limit is the quantile q, not 1 - q.': lambda held, drawn, q: test(held, drawn, 1 - q),
        'Count the samples below the limit, not above it.': lambda held, drawn, q: (
            torch.quantile(held, q),
            (drawn >= torch.quantile(held, q)).double().mean(),
        ),
        'Give the share of the samples, not their number.': lambda held, drawn, q: (torch.quantile(held, q), (drawn < torch.quantile(held, q)).double().sum()),
        'The limit is a quantile of the distances; you took the share of the largest.': lambda held, drawn, q: (
            q * held.max(),
            (drawn < q * held.max()).double().mean(),
        ),
    },
)
