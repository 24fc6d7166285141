"""Graders of the chapter on editing."""

import torch

from diffbook.exercise import add, question


def numbers(g, n):
    return torch.rand(n, generator=g, dtype=torch.float64)


def levels(g):
    "alpha and sigma of a noisier time t and a less noisy time s."
    u = numbers(g, 4)
    alpha_s, sigma_s = 0.6 + 0.35 * u[0], 0.2 + 0.4 * u[1]
    return alpha_s * (0.4 + 0.4 * u[2]), sigma_s * (1.3 + u[3]), alpha_s, sigma_s


def picture(g):
    "x_s, the known picture, noise, and a mask with both kinds of pixel."
    mask = torch.tensor([True, False, True, False, False, True])[torch.randperm(6, generator=g)]
    return *torch.randn(3, 6, generator=g, dtype=torch.float64).unbind(0), mask


def put_back(x, known, eps, mask, alpha_t, sigma_t, alpha_s, sigma_s):
    return torch.where(mask, alpha_s * known + sigma_s * eps, x)


add(
    '45-1',
    'After a step from t to s, put the known region of the picture back.',
    cases=lambda g: (*picture(g), *levels(g)),
    truth=put_back,
    mistakes={
        'You put the picture back clean. Beside a noisy rest it is like no x_s of the training: noise it to level s first.': lambda x, k, e, m, *levels: (
            torch.where(m, k, x)
        ),
        'You noised the picture to level t, where the step began. The step has arrived at s.': lambda x, k, e, m, at, st, a, s: torch.where(
            m, at * k + st * e, x
        ),
        'The mask is inverted: it is True where the picture is known.': lambda x, k, e, m, at, st, a, s: torch.where(m, x, a * k + s * e),
        'You added the noise and forgot to shrink the picture by alpha_s.': lambda x, k, e, m, at, st, a, s: torch.where(m, k + s * e, x),
        'You multiplied the noise by sigma_s**2, not by sigma_s.': lambda x, k, e, m, at, st, a, s: torch.where(m, a * k + s**2 * e, x),
        'You replaced everything, also what was to be painted.': lambda x, k, e, m, at, st, a, s: a * k + s * e,
        'You mixed picture and state half and half where the picture is known; it replaces the state there.': lambda x, k, e, m, at, st, a, s: torch.where(
            m, (a * k + s * e + x) / 2, x
        ),
    },
)


def rising(g):
    u = numbers(g, 2)
    alpha_t, sigma_t, alpha_s, sigma_s = levels(g)
    gain = 0.5 + u[0]
    # a denoiser that cares about the level it is told
    return (lambda x, sigma: torch.tanh(gain * x) / (1 + sigma)), torch.randn(5, generator=g, dtype=torch.float64), alpha_s, sigma_s, alpha_t, sigma_t


def rise(denoise, x, alpha_s, sigma_s, alpha_t, sigma_t):
    x0 = denoise(x, sigma_s)
    return alpha_t * x0 + sigma_t * (x - alpha_s * x0) / sigma_s


def rise_late(denoise, x, alpha_s, sigma_s, alpha_t, sigma_t):
    x0 = denoise(x, sigma_t)
    return alpha_t * x0 + sigma_t * (x - alpha_s * x0) / sigma_s


add(
    '45-2',
    'Climb one step of DDIM inversion from x_s to the noisier x_t.',
    cases=rising,
    truth=rise,
    mistakes={
        'You asked the denoiser about x_s at the level of t. The state has the noise of level s: ask at sigma_s.': rise_late,
        'That is x_s again. Split it into estimate and noise at level s, and mix the two at level t.': lambda d, x, *levels: x,
        'You scaled the estimate up to level t and left the noise out.': lambda d, x, a, s, at, st: at * d(x, s),
        'You mixed in the noise of level s; level t has sigma_t.': lambda d, x, a, s, at, st: at * d(x, s) + s * (x - a * d(x, s)) / s,
    },
)


def jump(x, z, alpha_t, sigma_t, alpha_s, sigma_s):
    scale = alpha_t / alpha_s
    return scale * x + torch.sqrt(sigma_t**2 - scale**2 * sigma_s**2) * z


add(
    '45-3',
    'Jump back: make x_t of x_s and fresh noise z, for t noisier than s.',
    cases=lambda g: (*torch.randn(2, 4, generator=g, dtype=torch.float64).unbind(0), *levels(g)),
    truth=jump,
    mistakes={
        'x_s holds noise already, so less than sigma_t is missing: subtract what the scaled state brings along.': lambda x, z, at, st, a, s: (
            at / a * x + st * z
        ),
        'The noise of x_s shrinks with the state: subtract (alpha_t / alpha_s)**2 sigma_s**2, not sigma_s**2.': lambda x, z, at, st, a, s: (
            at / a * x + torch.sqrt(st**2 - s**2) * z
        ),
        'You noised x_s as if it were clean: its signal is already alpha_s, so it shrinks by alpha_t / alpha_s only.': lambda x, z, at, st, a, s: (
            at * x + st * z
        ),
        'The state has to shrink by alpha_t / alpha_s.': lambda x, z, at, st, a, s: x + torch.sqrt(st**2 - (at / a * s) ** 2) * z,
        'That is the variance; the noise is multiplied by its root.': lambda x, z, at, st, a, s: at / a * x + (st**2 - (at / a * s) ** 2) * z,
    },
)


question(
    '45-a',
    'The KL of the results from real after a flow from t = 0.6, where the noisy distributions differ by 0.15 (and at 0.4 by 0.40).',
    0.15,
    {
        0.4: 'That is the difference at t = 0.4. The walk began at 0.6, where the noise has hidden more.',
        0.0: 'A perfect model carries p_t to p. But the walk starts from noised sketches, which are not p_t.',
        0.25: 'The flow between 0.6 and 0.4 changes no divergence; nothing is subtracted.',
        0.55: 'Nothing is added up: the flow keeps the divergence that the walk began with.',
    },
)
question(
    '45-b',
    'What is put back of a known pixel 1 at alpha = 0.6, sigma = 0.8, noise -0.5.',
    0.2,
    {
        1.0: 'That is the clean pixel. Inside a noisy picture the model has never seen one.',
        0.6: 'The noise is missing: the pixel must be as noisy as the rest.',
        -0.4: 'That is the noise alone. The pixel is in it as well, times alpha.',
        0.1: 'The noise is multiplied by sigma = 0.8, not by 1.',
    },
)
question(
    '45-c',
    'The standard deviation of the fresh noise from (0.8, 0.6) back to (0.6, 0.8).',
    0.6614,
    {
        0.8: 'That is all noise of time t. A part of it is there already: that of time s, shrunk with the signal.',
        0.2: 'Standard deviations are not subtracted; variances are.',
        0.5292: 'The noise of time s shrinks with the signal: multiply its variance by (alpha_t / alpha_s)**2.',
        0.4375: 'That is the variance. The question asks for its root.',
        0.6081: 'The factor of the variance is (alpha_t / alpha_s)**2, not alpha_t / alpha_s.',
    },
)
question(
    '45-d',
    'The error of a round trip in 80 steps, if 20 steps miss by 0.26 and the order is one.',
    0.065,
    {
        0.26: 'The walk is a rule of order one: with more steps the error falls.',
        0.13: 'That is for 40 steps. From 20 to 80 the number doubles twice.',
        0.01625: 'That would be order two, as with one round of correction.',
        1.04: 'More steps make the error smaller.',
    },
    rtol=0.05,
)
