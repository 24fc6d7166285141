"""Graders of the chapter on text to image."""

import torch

from diffbook.exercise import add, question


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
        'Under the root stands z**2 / 4, not z / 4.': lambda k, n: tuple(
            (k + 1.96**2 / 2 + s * 1.96 * torch.sqrt(k * (n - k) / n + 1.96 / 4)) / (n + 1.96**2) for s in (-1, 1)
        ),
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
        'The sign is turned: a model that listens has the smaller error under its own caption, and its gain is positive.': lambda e: (
            e.trace() / len(e) - _off(e)
        ),
        'The mean over the whole table counts the own captions among the others; leave the diagonal out.': lambda e: e.mean() - e.trace() / len(e),
        'The entries off the diagonal are b (b - 1), not b**2.': lambda e: (e.sum() - e.trace()) / len(e) ** 2 - e.trace() / len(e),
        'You took the sum of the diagonal; take its mean.': lambda e: _off(e) - e.trace(),
        'That is the best of the other captions, not their mean.': lambda e: (
            (e + torch.diag(torch.full((len(e),), torch.inf, dtype=e.dtype))).min(1).values.mean() - e.trace() / len(e)
        ),
        'That is the error with the own caption alone. What would it be without listening?': lambda e: e.trace() / len(e),
    },
)


question(
    '44-a',
    'The calls of the U-Net for one picture in 20 steps of DDIM with guidance 3.',
    40,
    {
        20: 'Guidance asks twice a step: with the caption and without it.',
        60: 'The scale is a factor, not a number of calls. How many answers does guidance combine?',
        41: 'The text tower is asked besides, but it is not the U-Net.',
        80: 'DDIM asks once a step, and guidance doubles it.',
    },
)
question(
    '44-b',
    'What to do first when right, no and wrong captions have the same error: a, b or c.',
    'b',
    {
        'a': 'Our small model parted the three curves within 300 updates. Equal errors mean that the caption does not arrive.',
        'c': 'Guidance multiplies the difference that a caption makes, and it is zero here.',
    },
)
question(
    '44-c',
    'The lower end of the interval when 100 of 100 are right.',
    100 / 103.84,
    {
        1.0: 'The upper end is 1. A true share of 0.98 would often give 100 of 100, too.',
        0.912: 'That is for 40 of 40.',
        0.95: 'That is the level of the interval. Put k = n into the formula.',
        0.981: 'Under the root z**2/4 is left, whose root z/2 is multiplied by z: subtract z**2/2 as well.',
    },
    rtol=0.004,
)
question(
    '44-d',
    'What 0.92 against 0.91 from 128 captions each supports: a, b or c.',
    'b',
    {
        'a': 'One picture of 128 is 0.008: the difference is about one picture. Look at the intervals.',
        'c': 'Not to see a difference is no proof that there is none.',
    },
)
question(
    '44-e',
    'What a layer shows that reads a noun equally on both things: a, b or c.',
    'b',
    {
        'a': 'This layer alone says nothing about the model: three of the four layers of our model look like this.',
        'c': 'A map says what is read in one layer, not what will be drawn.',
    },
)
question(
    '44-f',
    'Where the circle stands for a condition half-way between left and right: a, b or c.',
    'b',
    {
        'a': 'Look at the middle of the figure. A straight line between vectors is no straight line between pictures.',
        'c': 'One guess of the denoiser at high noise is blurred; the steps of a walk decide.',
    },
)
question(
    '44-g',
    'Why an evaluator marks drawings higher than real pictures: a, b or c.',
    'b',
    {
        'a': 'What the artist drew is what the caption names. The drawing cannot be truer than that.',
        'c': 'Look at the claim below the table: its interval leaves out zero.',
    },
)
question(
    '44-h',
    'The first guesses of eight captions from one noise: a, b or c.',
    'b',
    {
        'a': 'The network has a second input, the caption. Change it at t = 1 in the figure.',
        'c': 'A guess is a mean over all pictures that fit, so it is smooth; the noise is in the state, on the left.',
    },
)
