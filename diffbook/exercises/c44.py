"""Graders of the chapter on text to image."""

import torch

from diffbook.exercise import add


def _counts(g):
    n = int(torch.randint(20, 60, (), generator=g))
    return (torch.randint(1, n, (4,), generator=g).double(), n)


def _wilson(k, n, z=1.96):
    middle, half = k + z * z / 2, z * torch.sqrt(k * (n - k) / n + z * z / 4)
    return (middle - half) / (n + z * z), (middle + half) / (n + z * z)


def _rule_of_thumb(k, n, z=1.96):
    half = z * torch.sqrt(k / n * (1 - k / n) / n)
    return k / n - half, k / n + half


def _clipped(k, n):
    low, high = _rule_of_thumb(k, n)
    return low.clamp_min(0), high.clamp_max(1)


add(
    '44-1',
    'Give both ends of the shares that are compatible with k right of n.',
    _counts,
    _wilson,
    {
        'That is the rule of thumb: its standard deviation is taken at k/n in place of p. It is too narrow near 0 and 1, and a point at the ends.': _rule_of_thumb,
        'That is the rule of thumb, clipped: taken at k/n in place of p, it is a point when all are right.': _clipped,
        'The ends have the wrong order: the lower one comes first.': lambda k, n: _wilson(k, n)[::-1],
        'You left z squared out of the denominator: divide by n + z**2.': lambda k, n: tuple(e * (n + 1.96**2) / n for e in _wilson(k, n)),
        'Under the root stands z**2 / 4, not z / 4.': lambda k, n: tuple((k + 1.96**2 / 2 + s * 1.96 * torch.sqrt(k * (n - k) / n + 1.96 / 4)) / (n + 1.96**2) for s in (-1, 1)),
        'That is one standard deviation; the interval of 95 % needs z = 1.96.': lambda k, n: _wilson(k, n, 1.0),
    },
)


def _pair(g):
    "Errors of single pictures under their own caption, and under each other's: (b, b), row picture, column caption."
    b = 6
    errors = 1 + torch.rand(b, b, generator=g, dtype=torch.float64)
    return (errors - torch.diag(0.7 * torch.rand(b, generator=g, dtype=torch.float64)),)


def _off(e):
    b = len(e)
    return (e.sum() - e.trace()) / (b * (b - 1))


add(
    '44-2',
    'From errors (b, b) of pictures (rows) under captions (columns): the mean gain of the own caption over the others.',
    _pair,
    lambda e: _off(e) - e.trace() / len(e),
    {
        'The sign is turned: a model that listens has the smaller error under its own caption, and its gain is positive.': lambda e: e.trace() / len(e) - _off(e),
        'The mean over the whole table counts the own captions among the others; leave the diagonal out.': lambda e: e.mean() - e.trace() / len(e),
        'The entries off the diagonal are b (b - 1), not b**2.': lambda e: (e.sum() - e.trace()) / len(e) ** 2 - e.trace() / len(e),
        'You took the sum of the diagonal; take its mean.': lambda e: _off(e) - e.trace(),
        'That is the best of the other captions, not their mean.': lambda e: (e + torch.diag(torch.full((len(e),), torch.inf, dtype=e.dtype))).min(1).values.mean() - e.trace() / len(e),
        'That is the error with the own caption alone. What would it be without listening?': lambda e: e.trace() / len(e),
    },
)
