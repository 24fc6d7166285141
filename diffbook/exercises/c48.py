"""Graders of the chapter on T5."""

import math

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def distances(g):
    return torch.cat([torch.arange(-20, 21), torch.randint(-300, 300, (40,), generator=g)]).double()


def bucket(d, near=8.0, far=128.0, rounded=torch.floor, right=True, most=15):
    a = d.abs()
    large = near + rounded(near * torch.log(a.clamp(min=1) / near) / math.log(far / near))
    return 16 * ((d > 0) if right else (d < 0)) + torch.where(a < near, a, large.clamp(max=most))


add(
    '48-1',
    'Give the bucket of a distance.',
    cases=lambda g: (distances(g),),
    truth=bucket,
    mistakes={
        'The sides are exchanged: the second half of the buckets is for tokens to the right, d > 0.': lambda d: bucket(d, right=False),
        'The stairs begin too early or too late: round down.': lambda d: bucket(d, rounded=torch.round),
        'The stairs begin one step too early: round down, not up.': lambda d: bucket(d, rounded=torch.ceil),
        'Distances beyond 128 have run into the buckets of the other side: none is above 15 before the side is added.': lambda d: bucket(d, most=1e9),
        'All sixteen buckets of a side count single steps; only the first eight do, then they grow with the logarithm.': lambda d: (
            16 * (d > 0) + d.abs().clamp(max=15)
        ),
        'The side is missing: a token to the right gets 16 more.': lambda d: bucket(-d.abs()),
    },
)


def pieces(g):
    return (torch.triu(u(g, 0.05, 0.5, (6, 6))),)


def total(p, join=sum):
    values = [torch.ones((), dtype=p.dtype)]
    for j in range(len(p)):
        values.append(join([values[i] * p[i, j] for i in range(j + 1)]))
    return values[-1]


add(
    '48-2',
    'Add up the probabilities of all cuts.',
    cases=pieces,
    truth=total,
    mistakes={
        'That is the probability of the best cut; add over all of them, with a sum where the recursion has a maximum.': lambda p: total(
            p, lambda v: torch.stack(v).max()
        ),
        'That is the probability of the text as one piece.': lambda p: p[0, -1],
        'That is the probability of the cut into single letters.': lambda p: p.diagonal().prod(),
        'You averaged over the last pieces; the probabilities of cuts add up.': lambda p: total(p, lambda v: torch.stack(v).mean()),
        'You added the probabilities of all pieces; within a cut they multiply.': lambda p: p.sum(),
        'That is the logarithm.': lambda p: total(p).log(),
    },
)

add(
    '48-3',
    'Give the RMS norm.',
    cases=lambda g: (torch.randn(4, 6, generator=g, dtype=torch.float64) + 1, u(g, 0.5, 2.0, (6,))),
    truth=lambda x, g: g * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt(),
    mistakes={
        'You subtracted the mean: that is layer norm. RMS norm leaves it.': lambda x, g: (
            g * (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        ),
        'You divided by the standard deviation; the mean square is taken around zero.': lambda x, g: (
            g * x / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        ),
        'That has length one; divide by the root of the mean square, not of the sum.': lambda x, g: g * x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt(),
        'The root is missing.': lambda x, g: g * x / (x.square().mean(-1, keepdim=True) + 1e-6),
        'You averaged over the rows too; each token has a norm of its own.': lambda x, g: g * x / (x.square().mean() + 1e-6).sqrt(),
        'The gain is missing.': lambda x, g: x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt(),
    },
)

question(
    '48-a',
    'Nats between two cuts.',
    4.1,
    {
        0.4: 'The second cut has two pieces; subtract both.',
        -4.1: 'The larger log probability is the nearer to zero: that of red.',
        7.1: 'Subtract the sum of the second cut, do not add.',
    },
    rtol=0.02,
)
question(
    '48-b',
    'The bucket of forty places to the left.',
    12,
    {28: 'To the left no 16 is added.', 13: 'Round down.', 40: 'From eight on, buckets grow with the logarithm.', 4: 'The stairs begin at bucket 8.'},
    rtol=0.001,
)
question(
    '48-c',
    'The spread of an undivided score.',
    8,
    {64: 'That is its variance.', 1: 'That holds if the queries are drawn with one over the root of D d, or the score is divided.'},
)
question(
    '48-d',
    'Who knows of the glass at the cube.',
    'b',
    {'a': 'A causal tower has made the state of cube before it reads on.', 'c': 'It is the other way round: the tower of CLIP is causal.'},
)
question(
    '48-e',
    'Cutting the padding of a model that was trained to read it.',
    'b',
    {
        'a': 'Without a mask the words read the padding, so their states change with it.',
        'c': 'Equal lengths do not help: the states of rows without padding are not those of training.',
    },
)
question(
    '48-f',
    'A word that no caption had.',
    'b',
    {
        'a': 'The image network sees states and not words; alike states are treated alike.',
        'c': 'Nothing makes the states of words that are used alike stand for things that look alike.',
    },
)
