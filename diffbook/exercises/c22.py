"""Graders of the chapters on layers."""

import math

import torch
import torch.nn.functional as F

from diffbook.exercise import add


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
        'Your ladder stops one rung early: divide i by d/2 - 1, so that the last frequency is exactly 1/10,000.': lambda t, d: _waves(t, d, ladder=lambda half: half),
        'Your ladder falls half as fast: the exponent runs over d/2 frequencies, not over d features.': lambda t, d: _waves(t, d, ladder=lambda half: 2 * half - 1),
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
