"""Graders of the chapter on flow matching."""

import math

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


add(
    '60-1',
    'Give the velocity on the straight line from the state and the estimate of the data.',
    cases=lambda g: (*torch.randn(2, 5, generator=g, dtype=torch.float64), u(g, 0.1, 0.9)),
    truth=lambda x, x0, t: (x - x0) / t,
    mistakes={
        'The sign: the velocity is noise minus data, and points away from the data; you walk against it.': lambda x, x0, t: (x0 - x) / t,
        'That is noise minus data with x in the place of the noise: first solve x = (1 - t) x0 + t eps for eps.': lambda x, x0, t: x - x0,
        'You divided by 1 - t, as where the data is at time 1; here the noise is, and eps - x0 = (x - x0) / t.': lambda x, x0, t: (x - x0) / (1 - t),
        'That is the noise, (x - (1 - t) x0) / t; the velocity is the noise minus the data.': lambda x, x0, t: (x - (1 - t) * x0) / t,
        'You forgot to shrink the data in the state: eps = (x - (1 - t) x0) / t.': lambda x, x0, t: (x - x0) / t - x0,
        'You multiplied by t: close to the data the same gap is bridged by a steeper line, so divide.': lambda x, x0, t: (x - x0) * t,
    },
)

add(
    '60-2',
    'Find the time on the line, and the factor, for a state with the scales alpha and sigma.',
    cases=lambda g: (lambda angle: (torch.cos(angle), torch.sin(angle)))(u(g, 0.1, 1.4, (4,))),
    truth=lambda alpha, sigma: (sigma / (alpha + sigma), 1 / (alpha + sigma)),
    mistakes={
        'You took sigma for the time: on the line alpha + sigma is one, and on a variance-preserving schedule it is more. Divide by it.': lambda a, s: (
            s,
            a / a,
        ),
        'The time is right; but the state is alpha + sigma times too long: multiply by 1 / (alpha + sigma).': lambda a, s: (s / (a + s), a / a),
        'The time is right; the factor is upside down.': lambda a, s: (s / (a + s), a + s),
        'That is the ratio sigma / alpha, which is t / (1 - t); solve it for t.': lambda a, s: (s / a, 1 / (a + s)),
        'You matched the squares: the line wants the same ratio of the scales, not of the variances.': lambda a, s: (s**2, 1 / (a + s)),
        'Dividing by alpha gives x0 + (sigma / alpha) eps, the clock of Karras; the line has 1 - t before the data.': lambda a, s: (s / (a + s), 1 / a),
        'That is the time of a line with the noise at 0; in this book the data is there.': lambda a, s: (a / (a + s), 1 / (a + s)),
    },
)

add(
    '60-3',
    'Give the smallest losses of velocity, noise and data from the variance of the data that is left.',
    cases=lambda g: (u(g, 0.1, 2.0), u(g, 0.1, 0.9)),
    truth=lambda v, t: (v / t**2, v * (1 - t) ** 2 / t**2, v),
    mistakes={
        'Variances scale with the square of a factor: (1 / t)^2, not 1 / t.': lambda v, t: (v / t, v * (1 - t) / t, v),
        'The velocity is eps - x0, but the two are not independent once x_t is known: given x_t, x0 fixes eps, and their deviations add up before they are squared.': lambda v, t: (
            v * (1 - t) ** 2 / t**2 + v,
            v * (1 - t) ** 2 / t**2,
            v,
        ),
        'The noise given x_t is (x_t - (1 - t) x0) / t: you left out the factor 1 - t.': lambda v, t: (v / t**2, v / t**2, v),
        'Velocity and noise are exchanged.': lambda v, t: (v * (1 - t) ** 2 / t**2, v / t**2, v),
        'You have the time the other way round: the data is at 0 in this book.': lambda v, t: (v / (1 - t) ** 2, v * t**2 / (1 - t) ** 2, v),
    },
)


def falling(g):
    inner = u(g, 0.02, 0.98, (3,)).sort(descending=True).values
    return u(g, 0.3, 2.5), torch.cat([torch.ones(1).double(), inner, torch.zeros(1).double()])


def product(s, t, angle=lambda s, t: torch.atan2(t, s * (1 - t)), mix=torch.cos):
    return s * mix(angle(s, t).diff()).prod()


add(
    '60-4',
    "Give the spread that Euler's method draws from unit noise, for data N(0, s^2).",
    cases=falling,
    truth=product,
    mistakes={
        'That is the share of the spread that is left; multiply by s.': lambda s, t: product(s, t) / s,
        'You left the spread out of the angle: tan(theta) = sigma / (alpha s), noise against the signal that is there.': lambda s, t: product(
            s, t, lambda s, t: torch.atan2(t, 1 - t)
        ),
        'The spread stands on the wrong side: tan(theta) = t / ((1 - t) s).': lambda s, t: product(s, t, lambda s, t: torch.atan2(t * s, 1 - t)),
        'You took even angles; the angle of a time is atan(t / ((1 - t) s)).': lambda s, t: product(s, t, lambda s, t: math.pi / 2 * t),
        'That adds the losses up; the factors of the steps multiply.': lambda s, t: s * (1 - (1 - torch.cos(torch.atan2(t, s * (1 - t)).diff())).sum()),
        'You took the first step and the last state: the product runs over all steps, cos of each difference of neighbouring angles.': lambda s, t: (
            s * torch.cos(torch.atan2(t, s * (1 - t))[1] - torch.atan2(t, s * (1 - t))[0])
        ),
    },
)

question(
    '60-a',
    'Place and velocity on a line.',
    (1.25, -3.0),
    {(1.25, 3.0): 'The velocity leads from data to noise: noise minus data.', (-0.25, -3.0): 'At t = 0.25 three quarters are data.'},
)
question(
    '60-b',
    'The mean velocity at a place.',
    1.2,
    {
        -1.2: 'Against the velocity one walks towards the guess; the velocity itself leads away from it.',
        0.6: 'Divide by the time.',
        0.3: 'Divide by the time, do not multiply.',
    },
)
question(
    '60-c',
    'Where the particles of the lowest bump come from.',
    'b',
    {'a': 'That is true of the lines on the left; paths of the mean velocity keep their order.', 'c': 'The order decides, not the distance.'},
)
question(
    '60-d',
    'The loss in the log.',
    1.25,
    {
        1.2: 'That is the floor; the miss comes on top.',
        0.05: 'That is the distance to the mean velocity. The log sees single lines, which spread.',
        1.15: 'A miss adds to the loss.',
    },
    rtol=0.01,
)
question(
    '60-e', 'Calls of fifty Euler steps.', 50, {100: 'Heun asks twice a step; Euler once.', 51: 'There are 51 times, and 50 steps between them.'}, rtol=0.001
)
question(
    '60-f', 'The floor at t = 1 for twice the spread.', 4, {2: 'The floor is a variance, the square of the spread.', 1: 'That is the other end, at t = 0.'}
)
question(
    '60-g',
    'The time on the straight line.',
    3 / 7,
    {0.6: 'Divide by the sum of both scales.', 0.75: 'That is the ratio of noise to signal, tau / (1 - tau).', 4 / 7: 'That is the share of the data.'},
)
