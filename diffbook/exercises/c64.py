"""Graders of the chapter on flow maps."""

import torch

from diffbook.exercise import add, question


def u(g, low, high):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64)


def parts(g):
    s = u(g, 0.0, 0.2)
    m = s + u(g, 0.1, 0.5)
    return m + u(g, 0.05, 0.3), m, s, *torch.randn(2, 3, generator=g, dtype=torch.float64).unbind(0)


add(
    '64-1',
    'Give the average velocity of a whole step from those of its two parts.',
    cases=parts,
    truth=lambda t, m, s, a, b: ((t - m) * a + (m - s) * b) / (t - s),
    mistakes={
        'That is right for two halves; here the step is divided anywhere: weigh each part with its length.': lambda t, m, s, a, b: (a + b) / 2,
        'That is the way, not the velocity: divide by the length of the whole step.': lambda t, m, s, a, b: (t - m) * a + (m - s) * b,
        'The first part is from t to m, the second from m to s; you exchanged their lengths.': lambda t, m, s, a, b: ((m - s) * a + (t - m) * b) / (t - s),
        'Each part is divided by its own length already; the whole is divided by t - s.': lambda t, m, s, a, b: (
            ((t - m) * a + (m - s) * b) / ((t - m) * (m - s))
        ),
        'The sign: time falls on the way from t to s, and t - s is positive.': lambda t, m, s, a, b: ((t - m) * a + (m - s) * b) / (s - t),
    },
)


def identity(g):
    s = u(g, 0.0, 0.4)
    return s + u(g, 0.1, 0.6), s, *torch.randn(3, 3, generator=g, dtype=torch.float64).unbind(0)


add(
    '64-2',
    'Give the target of the average velocity by the MeanFlow identity.',
    cases=identity,
    truth=lambda t, s, v, in_x, in_t: v - (t - s) * (in_x * v + in_t),
    mistakes={
        'The sign of the bracket: (t - s) u has the derivative u + (t - s) du/dt, and that is v.': lambda t, s, v, in_x, in_t: v + (t - s) * (in_x * v + in_t),
        'You left out the derivative in the state: the start moves with v, so du/dt has the term in_x v.': lambda t, s, v, in_x, in_t: v - (t - s) * in_t,
        'You left out the derivative in the time.': lambda t, s, v, in_x, in_t: v - (t - s) * in_x * v,
        'The derivative in the state is to be multiplied by the velocity, at which the state moves.': lambda t, s, v, in_x, in_t: v - (t - s) * (in_x + in_t),
        'You left out the length of the step, t - s.': lambda t, s, v, in_x, in_t: v - (in_x * v + in_t),
        'The velocity moves the state; the derivative in time is not multiplied by it.': lambda t, s, v, in_x, in_t: v - (t - s) * (in_x + in_t) * v,
        'That is the change alone: the target is v minus it.': lambda t, s, v, in_x, in_t: (t - s) * (in_x * v + in_t),
    },
)


def bell(g):
    s = u(g, 0.0, 0.4)
    return torch.randn(3, generator=g, dtype=torch.float64), s + u(g, 0.1, 0.6), s, u(g, 0.3, 2.0)


def std(t, c):
    return torch.sqrt((1 - t) ** 2 * c**2 + t**2)


add(
    '64-3',
    'Give the average velocity of Gaussian data on the straight path.',
    cases=bell,
    truth=lambda x, t, s, c: x * (1 - std(s, c) / std(t, c)) / (t - s),
    mistakes={
        'The ratio of standard deviations is upside down: at s the state is x std_s / std_t.': lambda x, t, s, c: x * (1 - std(t, c) / std(s, c)) / (t - s),
        'The state scales with the standard deviation, and you took the variance.': lambda x, t, s, c: x * (1 - (std(s, c) / std(t, c)) ** 2) / (t - s),
        'That is where the path leads; the average velocity is the way divided by the time.': lambda x, t, s, c: x * std(s, c) / std(t, c),
        'Divide by the time between the two, t - s.': lambda x, t, s, c: x * (1 - std(s, c) / std(t, c)),
        'The sign: u = (x - X) / (t - s).': lambda x, t, s, c: x * (std(s, c) / std(t, c) - 1) / (t - s),
        'That is the velocity at t; the average is over the way to s.': lambda x, t, s, c: x * (t - (1 - t) * c**2) / std(t, c) ** 2,
        'The signal at t has the scale 1 - t, and its variance is (1 - t)^2 c^2; you left the scale out.': lambda x, t, s, c: (
            x * (1 - torch.sqrt(c**2 + s**2) / torch.sqrt(c**2 + t**2)) / (t - s)
        ),
    },
)

question(
    '64-a',
    'The average velocity of a piece of path.',
    1.0,
    {
        2.0: 'That is the velocity at its start; the average is the way divided by the time.',
        0.6: 'That is the way. Divide it by the time.',
        -1.0: 'The sign: u is x minus where the path leads, over t - s, which is positive.',
        0.36: 'Divide the way by the time, do not multiply.',
    },
)
question(
    '64-b',
    'Which identity needs no velocity.',
    'a',
    {'b': 'The end moves with a velocity: v stands on the right.', 'c': 'v stands in it twice: as the first term and as the direction of the derivative.'},
)
question(
    '64-c',
    'The target of one example of MeanFlow.',
    -2.5,
    {
        -2.0: 'That is the target where s = t; here the bracket counts, times t - s.',
        -1.5: 'The sign of the bracket: it is taken away from the velocity.',
        -3.0: 'The bracket is multiplied by the length of the step, 0.5.',
        1.5: 'The velocity on the straight path is noise minus data, -2.',
    },
    rtol=0.01,
)
question(
    '64-d',
    'What to look at beside a mean error.',
    'b',
    {'a': 'It is of use, but it is a mean over places again.', 'c': 'Its floor depends on the method; it does not say what the samples are.'},
)
