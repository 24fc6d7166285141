"""Graders of the chapter on rectified flow."""

import math

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def three(s, energy, chord):
    return energy, chord, energy - chord


add(
    '61-1',
    'Give energy, squared chord and straightness of the flow of a Gaussian.',
    cases=lambda g: (u(g, 0.2, 3.0),),
    truth=lambda s: three(s, 1 + s**2 - math.pi * s / 2, (1 - s) ** 2),
    mistakes={
        'The energy is right; the chord of the noise e goes from e to s e: its square is (1 - s)^2.': lambda s: three(s, 1 + s**2 - math.pi * s / 2, 1 + s**2),
        'The sign of the last term: c_dot^2 is (1 + s^2) minus s^2 / c^2.': lambda s: three(s, 1 + s**2 + math.pi * s / 2, (1 - s) ** 2),
        'The integral of s^2 / (r^2 + s^2) over r from 0 is s times a quarter turn, pi s / 2; you left out s.': lambda s: three(
            s, 1 + s**2 - math.pi / 2, (1 - s) ** 2
        ),
        'The arctangent ends at pi / 2, not at pi / 4.': lambda s: three(s, 1 + s**2 - math.pi * s / 4, (1 - s) ** 2),
        'That is the energy of independent pairs, E (eps - x0)^2 = 1 + s^2; the flow moves with their mean, which is slower.': lambda s: three(
            s, 1 + s**2, (1 - s) ** 2
        ),
        'Straightness is energy minus chord; you gave their sum.': lambda s: (
            1 + s**2 - math.pi * s / 2,
            (1 - s) ** 2,
            1 + s**2 - math.pi * s / 2 + (1 - s) ** 2,
        ),
    },
)

add(
    '61-2',
    'Give the two ends of the straight line through the state with this velocity.',
    cases=lambda g: (*torch.randn(2, 4, generator=g, dtype=torch.float64), u(g, 0.1, 0.9)),
    truth=lambda x, v, t: (x - t * v, x + (1 - t) * v),
    mistakes={
        'The sign: the velocity points to the noise, so the data lies against it.': lambda x, v, t: (x + t * v, x - (1 - t) * v),
        'You went a whole unit of time; from t it is t to the data and 1 - t to the noise.': lambda x, v, t: (x - v, x + v),
        'You have the time the other way round: the data is at 0 in this book.': lambda x, v, t: (x - (1 - t) * v, x + t * v),
        'The data is right. The noise is the data plus the velocity: x - t u + u.': lambda x, v, t: (x - t * v, x + t * v),
        'The data is right. The noise is not the velocity but x + (1 - t) u.': lambda x, v, t: (x - t * v, v),
        'Data and noise are exchanged.': lambda x, v, t: (x + (1 - t) * v, x - t * v),
    },
)


def shifted(t, k):
    return k * t / (1 + (k - 1) * t)


add(
    '61-3',
    'Find the time at which a picture of m pixels says as much of the coarse structure as one of n pixels at t.',
    cases=lambda g: (u(g, 0.1, 0.9), 256.0, 256.0 * u(g, 2, 9)),
    truth=lambda t, n, m: shifted(t, (m / n) ** 0.5),
    mistakes={
        'The average of m pixels has a noise that is smaller by the root of m: the factor is sqrt(m / n).': lambda t, n, m: shifted(t, m / n),
        'The finer picture needs more noise, not less: you shifted the other way.': lambda t, n, m: shifted(t, (n / m) ** 0.5),
        'You multiplied the time. It is the ratio t / (1 - t) that is multiplied; a time stays below one.': lambda t, n, m: (m / n) ** 0.5 * t,
        'That is the new ratio t / (1 - t); solve it for the time.': lambda t, n, m: (m / n) ** 0.5 * t / (1 - t),
        'Below the line stands 1 + (k - 1) t; you left out the 1 of k - 1.': lambda t, n, m: (lambda k: k * t / (1 + k * t))((m / n) ** 0.5),
        'You took the fourth root: sides go with the root of the pixels, and m and n are pixels.': lambda t, n, m: shifted(t, (m / n) ** 0.25),
    },
)

question(
    '61-a',
    'How bent the flow of a Gaussian of standard deviation 0.5 is.',
    0.2146,
    {0.1073: 'S grows with s, not with its square.', 0.4292: 'That is S at s = 1.', 0.8584: 'That is S over the square of the chord.'},
    rtol=0.03,  # two digits are enough
)
question('61-b', 'The floor of a student of perfect pairs.', 0.0, {1.0: 'That would be the spread of strangers. Partners leave one line through each point.'})
question(
    '61-c',
    'How far a perfect student is from the data.',
    0.03,
    {
        0.0: 'It never sees the data, only where its teacher arrives.',
        0.24: 'The errors of eight steps are in the end of the walk already.',
        0.00375: 'The error is not shared among steps; the student makes one.',
    },
)
question(
    '61-d',
    'Whether a student can be better than its teacher.',
    'b',
    {'a': 'Straight paths save steps; they end where the teacher ends.', 'c': 'More pairs of the same teacher say more about the teacher.'},
)
question(
    '61-e',
    'Which paths are straighter before reflow.',
    'a',
    {
        'b': 'The name promises what reflow keeps. Read S under the figure for both.',
        'c': 'The ends are the same, but S looks at the way: choose both and read it.',
    },
)
