"""Graders of the chapter on assumptions."""

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


question(
    '78-a',
    'Give the signal-to-noise ratio of the best look that uses both states.',
    5,
    {
        4: 'That is the Markov chain, where the noisier state adds nothing; with fresh noise it does.',
        3: 'The second look takes nothing away: set rho = 0 in the equation.',
        2.5: 'A plain mean of the two ratios is less than the better look has alone.',
    },
)

question(
    '78-b',
    'Give the variance that is missing after the step.',
    0.4096,
    {
        0.0784: "That is DDIM's step, with rho = 1; here all noise is drawn anew.",
        0.64: 'You left out the bracket: it is alpha_s for rho = 0, and it is squared.',
        0.512: 'The bracket is squared: alpha_s**2, not alpha_s.',
        0.2304: 'The bracket is alpha_s, the scale where the step ends; you took alpha_t.',
    },
)

question(
    '78-c',
    'Give the divergence in nats.',
    0.1,
    {
        0.2: 'Half of the area: there is a factor 1/2 before the integral.',
        0.01: 'The excess has to be multiplied by the width of the interval, 10.',
        0.02: 'That is the height; the divergence is half of the area.',
    },
)

question(
    '78-d',
    'Give the level at which a walk may stop.',
    0.01,
    {
        0.0001: 'The bound is sigma sqrt(d), not sigma d.',
        1: 'That would be for d = 1: the noises of all numbers add up.',
        100: 'Upside down: sigma is 1 / sqrt(d).',
    },
)

add(
    '78-1',
    'Give the signal-to-noise ratio of the best look that uses both states.',
    cases=lambda g: (u(g, 1.0, 9.0), u(g, 0.1, 1.0), u(g, 0.0, 0.9)),
    truth=lambda a, b, rho: (a + b - 2 * rho * (a * b) ** 0.5) / (1 - rho**2),
    mistakes={
        'Ratios add only if the noises are independent.': lambda a, b, rho: a + b,
        'That is the Markov chain only: the better look alone.': lambda a, b, rho: a,
        'The sign: correlated noises tell less of what they share.': lambda a, b, rho: (a + b + 2 * rho * (a * b) ** 0.5) / (1 - rho**2),
        'The two roots are missing: the cross term is 2 rho sqrt(a b).': lambda a, b, rho: (a + b - 2 * rho * a * b) / (1 - rho**2),
        'You left out the denominator 1 - rho**2.': lambda a, b, rho: a + b - 2 * rho * (a * b) ** 0.5,
        'The denominator is 1 - rho**2, with a square.': lambda a, b, rho: (a + b - 2 * rho * (a * b) ** 0.5) / (1 - rho),
    },
)


def step(x, x0, z, alpha_t, sigma_t, alpha_s, sigma_s, rho, keep=lambda r: r, new=lambda r: (1 - r**2) ** 0.5):
    return alpha_s * x0 + sigma_s * (keep(rho) * (x - alpha_t * x0) / sigma_t + new(rho) * z)


def scales(g):
    a, b = u(g, 0.2, 0.6), u(g, 0.7, 0.95)
    return a, (1 - a**2).sqrt(), b, (1 - b**2).sqrt()


add(
    '78-2',
    'Make a step that keeps a share of its noise.',
    cases=lambda g: (u(g, -2, 2, (5,)), u(g, -1, 1, (5,)), torch.randn(5, generator=g, dtype=torch.float64), *scales(g), u(g, 0.2, 0.9)),
    truth=step,
    mistakes={
        'The shares are rho and sqrt(1 - rho**2), so that the variances add to one; you took 1 - rho.': lambda *a: step(*a, new=lambda r: 1 - r),
        'The shares are rho and sqrt(1 - rho**2); you took the root of rho.': lambda *a: step(*a, keep=lambda r: r**0.5, new=lambda r: (1 - r) ** 0.5),
        'You exchanged old and fresh noise.': lambda *a: step(*a, keep=lambda r: (1 - r**2) ** 0.5, new=lambda r: r),
        'The fresh noise is missing.': lambda *a: step(*a, new=lambda r: 0),
        'The old noise is what is left of x at time t: (x - alpha_t x0) / sigma_t.': lambda x, x0, z, at, st, as_, ss, r: (
            as_ * x0 + ss * (r * x + (1 - r**2) ** 0.5 * z)
        ),
        'The step ends at s: take its scales for the new state.': lambda x, x0, z, at, st, as_, ss, r: (
            at * x0 + st * (r * (x - at * x0) / st + (1 - r**2) ** 0.5 * z)
        ),
    },
)

add(
    '78-3',
    "Give the excess loss of yesterday's network on moved data.",
    cases=lambda g: (u(g, 0.2, 2.0), u(g, 0.3, 3.0), u(g, 0.1, 5.0)),
    truth=lambda m, v, gamma: gamma * (m / (1 + gamma * v)) ** 2,
    mistakes={
        'That is the excess of the data estimate; the noise estimate differs by the factor sqrt(gamma).': lambda m, v, gamma: (m / (1 + gamma * v)) ** 2,
        'A loss is a square.': lambda m, v, gamma: gamma**0.5 * m / (1 + gamma * v),
        "Yesterday's network follows a part of the move by itself: only m / (1 + gamma v) is missing.": lambda m, v, gamma: gamma * m**2,
        'The part that it follows is gamma v / (1 + gamma v); asked is what is missing.': lambda m, v, gamma: gamma * (m * gamma * v / (1 + gamma * v)) ** 2,
        'gamma is already alpha**2 / sigma**2, not its root.': lambda m, v, gamma: gamma**2 * (m / (1 + gamma**2 * v)) ** 2,
    },
)

add(
    '78-4',
    'Give the correlation of the noises that DDIM with eta keeps.',
    cases=lambda g: (u(g, 0.1, 0.95), u(g, 0.2, 0.9)),
    truth=lambda eta, k: (1 - eta**2 * (1 - k**2)) ** 0.5,
    mistakes={
        'eta multiplies the standard deviation of the fresh noise, so its variance by eta**2.': lambda eta, k: (1 - eta * (1 - k**2)) ** 0.5,
        'That mixes the correlations; it is the variances that add to one.': lambda eta, k: 1 - eta * (1 - k),
        'That is the share of fresh noise; rho is the root of the rest.': lambda eta, k: eta * (1 - k**2) ** 0.5,
        'You gave rho squared.': lambda eta, k: 1 - eta**2 * (1 - k**2),
        'Test it at eta = 1: there it must be k.': lambda eta, k: (1 - eta**2 * k**2) ** 0.5,
    },
)
