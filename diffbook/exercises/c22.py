"""Graders of the chapters on layers."""

import math

import torch
import torch.nn.functional as F

from diffbook.exercise import add, question


def _waves(t, dim, *, ladder=None, turns=1.0, halves=(0, 1)):
    half = dim // 2
    rungs = torch.arange(half, dtype=torch.float64) / (half - 1 if ladder is None else ladder(half))
    angles = turns * t[:, None] * 10_000**-rungs
    both = [angles.sin(), angles.cos()]
    return torch.cat([both[i] for i in halves], dim=1)


add(
    '22-1',
    'Write each number as sines, then cosines, of a ladder of frequencies from 1 down to 1/10,000.',
    cases=lambda g: (1000 * torch.rand(5, generator=g, dtype=torch.float64), int(torch.randint(3, 12, (), generator=g)) * 2),
    truth=_waves,
    mistakes={
        'Your ladder stops one rung early: divide i by d/2 - 1, so that the last frequency is exactly 1/10,000.': lambda t, d: _waves(
            t, d, ladder=lambda half: half
        ),
        'Your ladder falls half as fast: the exponent runs over d/2 frequencies, not over d features.': lambda t, d: _waves(
            t, d, ladder=lambda half: 2 * half - 1
        ),
        'The halves are exchanged: sines come first.': lambda t, d: _waves(t, d, halves=(1, 0)),
        'You multiplied by 2 pi: the frequencies are in radians.': lambda t, d: _waves(t, d, turns=2 * math.pi),
        'Sines and cosines alternate in your answer; all sines come first.': lambda t, d: _waves(t, d).unflatten(1, (2, d // 2)).transpose(1, 2).flatten(1),
    },
)


def _attend(q, k, v, scale=lambda d: d**-0.5, dim=1):
    return torch.softmax(q @ k.T * scale(q.shape[1]), dim=dim) @ v


add(
    '22-2',
    'Average the values with the softmax of the scaled products of queries and keys.',
    cases=lambda g: tuple(torch.randn(3, 7, int(torch.randint(3, 9, (), generator=g)), generator=g, dtype=torch.float64)),
    truth=lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    mistakes={
        'The scores are not divided by the root of d.': lambda q, k, v: _attend(q, k, v, lambda d: 1.0),
        'You divided the scores by d; divide by its root.': lambda q, k, v: _attend(q, k, v, lambda d: 1 / d),
        'Your weights sum to one over the queries; each query shares one unit among the keys.': lambda q, k, v: _attend(q, k, v, dim=0),
        'Queries and keys are exchanged.': lambda q, k, v: _attend(k, q, v),
        'The scores are used as they are: take the softmax before you average.': lambda q, k, v: q @ k.T * q.shape[1] ** -0.5 @ v,
    },
)


question(
    '22-a',
    'Convolve the row 1, 2, 4, 8, with zeros beyond its ends, with the kernel -1, 0, 1.',
    (2, 3, 6, -4),
    {
        (-2, -3, -6, 4): 'You turned the kernel round, left minus right. Mathematicians do; networks lay it on as it is: right minus left.',
        (3, 6): 'There are as many outputs as pixels: at the ends the missing neighbour is a zero.',
        (1, 3, 6, -8): 'At the ends the kernel still sits in the middle of three pixels, one of which lies outside and is zero.',
        (1, 1, 2, 4): 'You subtracted the pixel itself; the weight in the middle is zero, so only the two neighbours count.',
    },
)
question(
    '22-b',
    'Give the standard deviation of the output of forty untrained blocks, and the ratio of the gradients at the first and the last.',
    (3, 1),
    {
        (0, 1): 'Zero is the correction, not the output: y = x + 0.',
        (0, 0): 'Zero is the correction, not the output: y = x + 0, and the gradient of y by x is one.',
        (3, 0): 'The output is right. The correction has no gradient by x, but the skip has: its derivative is one.',
        (3, 40): 'The output is right. Gradients of blocks in a row are multiplied, not added: forty times a factor of one.',
        (120, 1): 'Forty blocks do not add forty copies of the input: each adds nothing to it.',
    },
)
question(
    '22-c',
    'Give the largest number after the norm of the group 1, 1, 3, 3 and of the group 10, 10, 30, 30.',
    (1, 1),
    {
        (1, 10): 'The norm divides by the standard deviation of the group itself, which is ten times as large in the second image.',
        (0.866, 0.866): 'You divided the sum of squares by n - 1; the norm divides by n.',
        (1, 0.1): 'You divided by the variance, 100; divide by its root.',
        (3, 30): 'These are the numbers that go in: subtract the mean, then divide by the standard deviation.',
        (2, 2): 'Subtract the mean first: 3 - 2, not 3, over a standard deviation of 1.',
    },
)
question(
    '22-d',
    'Count the full turns of the slowest wave between the levels 0 and 1000.',
    0.1 / (2 * math.pi),
    {
        0.1: 'That is the angle in radians; a full turn has 2 pi of them.',
        1000 / (2 * math.pi): 'That is the quickest wave, i = 0; the slowest has the frequency 1/10,000.',
        1000: 'The frequency of the slowest wave is 1/10,000 radians a unit of time.',
        0.2 * math.pi: 'Divide by 2 pi: a turn has 6.28 radians, so 0.1 radian is less than a tenth of a turn.',
    },
)
question(
    '22-e',
    'Which scale a and shift b switch a channel off?',
    (-1, 0),
    {
        (0, 0): 'The scale is 1 + a: with a = 0 and b = 0 the norm passes unchanged.',
        (1, 0): 'The scale is 1 + a: with a = 1 the channel is doubled.',
        (0, -1): 'That is the right pair in the other order: a is the scale, b the shift.',
        (-1, 1): 'With a = -1 nothing of the norm is left, and then b alone comes out: 1 at every pixel.',
    },
)
question(
    '22-f',
    'What does a pixel with the query zero get from three pixels with the values 3, 6 and 15?',
    8,
    {
        0: 'Its scores are zero, its weights are not: the softmax of three equal scores gives each pixel a third.',
        24: 'The weights sum to one: it gets the average, not the sum.',
        15: 'No key wins: all three scores are zero, hence equal.',
        6: 'Attention takes the average, not the value in the middle.',
    },
)
