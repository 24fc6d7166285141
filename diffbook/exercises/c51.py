"""Graders of the chapter on codebooks and tiles."""

import torch

from diffbook.exercise import add, question


def randn(g, *shape):
    return torch.randn(shape, generator=g, dtype=torch.float64)


def book(g):
    codes = randn(g, 7, 3) * (0.3 + 2 * torch.rand(7, 1, generator=g, dtype=torch.float64))  # of different lengths
    return randn(g, 40, 3) + 0.7, codes


def distances(z, codes):
    return (z[:, None] - codes).square().sum(-1)


add(
    '51-1',
    'Give for each cell the number of the nearest entry.',
    cases=book,
    truth=lambda z, codes: distances(z, codes).argmin(1),
    mistakes={
        'You gave the farthest entry: take the smallest distance.': lambda z, codes: distances(z, codes).argmax(1),
        'You took the largest inner product: that favours long entries. The distance is |z|^2 - 2 z e + |e|^2.': (lambda z, codes: (z @ codes.T).argmax(1)),
        'You took the largest cosine: the length of an entry counts too.': (lambda z, codes: (z @ torch.nn.functional.normalize(codes, dim=1).T).argmax(1)),
        'You forgot the factor two: the distance is |z|^2 - 2 z e + |e|^2.': (lambda z, codes: (codes.square().sum(1) - z @ codes.T).argmin(1)),
        'You added differences before squaring them: square each, then add.': (lambda z, codes: (z[:, None] - codes).sum(-1).square().argmin(1)),
        'You looked at the first number of a cell only.': lambda z, codes: distances(z[:, :1], codes[:, :1]).argmin(1),
        'You compared absolute differences: "nearest" means the Euclidean distance.': (lambda z, codes: (z[:, None] - codes).abs().sum(-1).argmin(1)),
        'You asked which cell is nearest to each entry: it is the other way round.': (lambda z, codes: distances(z, codes).argmin(0)),
        'You gave the entries themselves: their numbers were asked.': lambda z, codes: codes[distances(z, codes).argmin(1)],
        'You gave the distance: the number of the entry was asked.': lambda z, codes: distances(z, codes).min(1).values,
    },
)


def parts(g):
    counts = 1 + torch.randint(20, (5,), generator=g).double()
    return counts, randn(g, 5) + 1, randn(g, 5).square()


def joined(counts, means, variances, between=1.0):
    share = counts / counts.sum()
    mean = (share * means).sum()
    return mean, (share * (variances + between * (means - mean).square())).sum()


add(
    '51-2',
    'Give mean and variance of all numbers of several parts together.',
    cases=parts,
    truth=joined,
    mistakes={
        'The parts have different sizes: weigh them by their counts.': (lambda c, m, v: joined(torch.ones_like(c), m, v)),
        'You averaged the variances: what the means differ by belongs to the variance too.': (lambda c, m, v: joined(c, m, v, 0.0)),
        'The variance of the means stands with the wrong sign.': lambda c, m, v: joined(c, m, v, -1.0),
        'Your mean is right; the variances of the parts are missing.': (lambda c, m, v: joined(c, m, torch.zeros_like(v))),
        'You took E[m^2] + E[v] and did not subtract the square of the mean.': (lambda c, m, v: (joined(c, m, v)[0], (c / c.sum() * (v + m.square())).sum())),
        'You weighed the variances but not the squares of the differences of the means.': (
            lambda c, m, v: (
                joined(c, m, v)[0],
                (c / c.sum() * v).sum() + (m - joined(c, m, v)[0]).square().mean(),
            )
        ),
        'You gave the standard deviation: the variance was asked.': (lambda c, m, v: (joined(c, m, v)[0], joined(c, m, v)[1].sqrt())),
        'You divided by the count minus one: these variances are divided by the count.': (
            lambda c, m, v: (joined(c, m, v)[0], joined(c, m, v)[1] * c.sum() / (c.sum() - 1))
        ),
        'Mean first, then the variance.': lambda c, m, v: joined(c, m, v)[::-1],
    },
)


question(
    '51-a',
    'The derivative that is handed straight through.',
    2,
    {
        0.6: 'That is the derivative at z; the decoder was given the entry, and its gradient is taken there.',
        0: 'So it would be without the trick: a choice has no derivative. Here the gradient is handed through.',
        1: 'That is the derivative of the entry handed on by z; multiply by the slope of the decoder.',
    },
)
question(
    '51-b',
    "One round of Lloyd's algorithm.",
    (2, 10),
    {
        (1, 7): 'The cell at 4 is nearer to the entry at 1: 3 against 4.',
        (1, 8): 'That is where the entries stood; move each to the mean of its cells.',
        (2, 9): 'An entry moves all the way to the mean of the cells that chose it.',
    },
)
question(
    '51-c',
    'Entries that halve the error in four dimensions.',
    4,
    {
        2: 'Twice the entries lower the error to 71 % only.',
        16: 'That halves the side of each region, and so quarters the error.',
        2**0.5: 'Solve K^(-1/2) = 1/2 for K: the root is on the other side.',
    },
)
question(
    '51-d',
    'The perplexity of two choices.',
    2,
    {
        256: 'Only entries that are chosen count.',
        0.693: 'That is the entropy in nats; the perplexity is e to that power.',
        1: 'That is the entropy in bits; the perplexity is 2 to that power.',
        128: 'The size of the list does not enter, only the shares of the choices.',
    },
)
