"""Graders of the chapter on writing your own."""

import math

import torch

from diffbook.exercise import add, question


def runs(g):
    "Errors of a method of some order, not a whole one, at two numbers of steps of no special ratio."
    n1, ratio = int(torch.randint(8, 40, (), generator=g)), 1.5 + 2 * float(torch.rand((), generator=g))
    u = torch.rand(2, generator=g, dtype=torch.float64)
    n2, e1 = round(n1 * ratio), float(0.01 + 0.2 * u[0])
    return n1, e1, n2, e1 * (n1 / n2) ** float(0.7 + 2.5 * u[1])


def order(n1, e1, n2, e2):
    return math.log(e1 / e2) / math.log(n2 / n1)


add(
    '33-1',
    'Give the order of a method whose error is e1 in n1 steps and e2 in n2.',
    cases=runs,
    truth=order,
    edges=((16, 0.04, 32, 0.01),),
    mistakes={
        'You took for granted that n2 is 2 n1: divide by the logarithm of n2 / n1.': lambda n1, e1, n2, e2: math.log2(e1 / e2),
        'That is the ratio of the errors; the order is its logarithm in units of that of the steps.': lambda n1, e1, n2, e2: e1 / e2,
        'The logarithm of the ratio of the errors must be divided by that of the steps.': lambda n1, e1, n2, e2: math.log(e1 / e2),
        'The sign is wrong: errors fall while the steps grow, and an order is positive.': lambda n1, e1, n2, e2: -order(n1, e1, n2, e2),
        'The fraction is upside down: the errors belong to the numerator, the steps to the denominator.': lambda n1, e1, n2, e2: 1 / order(n1, e1, n2, e2),
        'You divided the ratios, not their logarithms.': lambda n1, e1, n2, e2: (e1 / e2) / (n2 / n1),
    },
)


def rows(g):
    return (torch.randn(5, 2, generator=g, dtype=torch.float64) + torch.tensor([2.0, -1.0]).double(),)


def moments(x):
    directions = x[1:] - x[0]
    return x[0], directions.mT @ directions


add(
    '33-2',
    'Read the mean and the covariance off the rows of an affine walk.',
    cases=rows,
    truth=moments,
    mistakes={
        'The first row is the mean; subtract it from the others to get directions.': lambda x: (x[0], x[1:].mT @ x[1:]),
        'These are not samples: nothing is averaged, the squares of the directions add up.': lambda x: (x[0], moments(x)[1] / (len(x) - 1)),
        'These are not samples (torch.cov averages): the mean is the first row, and the squares of the directions add up.': lambda x: (
            x.mean(0),
            torch.cov(x.mT),
        ),
        'The mean is the first row, where all noise is zero; the other rows are that and one direction each.': lambda x: (x.mean(0), moments(x)[1]),
        'That is directions against directions, (m, m); the covariance is between the d numbers of a state.': lambda x: (
            x[0],
            (x[1:] - x[0]) @ (x[1:] - x[0]).mT,
        ),
        'The mean is right; you forgot to square: a direction is a standard deviation.': lambda x: (x[0], (x[1:] - x[0]).sum(0)),
    },
)


question(
    '33-a',
    'How often does midway ask the denoiser in a walk of ten steps to the data?',
    19,
    {
        20: 'In the last step, which ends without noise, it asks once only: look at its first lines.',
        10: 'It asks twice in a step, at the start for the trial and in the middle. (Where is the exception?)',
        18: 'The last step asks too: once.',
        11: 'It is the other way round: two questions in each step but the last.',
    },
    rtol=0.001,
)

question(
    '33-b',
    'What may a solver not do: ask three times, remember by itself, or listen to the condition?',
    'b',
    {
        'a': 'It may: a method of order three asks that often. It only costs time.',
        'c': 'It must: that is what a condition is for.',
    },
)

question(
    '33-c',
    'Where must a solver put the state when the data are one point?',
    1.04,
    {
        0.752: 'A square too many: the noise has the scale sigma, not sigma squared.',
        1.2: 'That is the noise, or the state as it was. Mix the data and the noise at the new scales.',
        0.32: 'That is the signal at its new scale; the noise is missing.',
        0.96: 'You mixed at the old scales, or took the noise for the state: the noise is (x - alpha x0) / sigma.',
        1.22: 'You used the state as if it were the noise and added the old signal. Find the noise first.',
    },
    rtol=0.005,
)

question(
    '33-d',
    'What is the order of a solver that is 0.012 off with 64 steps and 0.0015 with 128?',
    3,
    {
        8: 'That is the ratio of the errors. The order is its logarithm to the base two.',
        2: 'Order two would divide the error by four.',
        4: 'Order four would divide the error by sixteen.',
        0.125: 'That is the ratio upside down. The order is the logarithm of 8 to the base two.',
        -3: 'The size is right; an order is positive.',
    },
)

question(
    '33-e',
    'What is likely wrong if the straight path is kept and the order is one instead of two?',
    'b',
    {
        'a': 'A missing root changes the scale of the noise, and the straight path sees that at once.',
        'c': 'That is seen by the manners, which come first.',
    },
)
