"""Graders of the chapter on guidance."""

import torch

from diffbook.exercise import add, question


def answers(g):
    "Two predictions of four channels and a strength."
    cond, null = torch.randn(2, 2, 4, 3, 3, generator=g, dtype=torch.float64).unbind(0)
    return cond, null, 0.7 + 4 * torch.rand((), generator=g, dtype=torch.float64)


def guided(cond, null, w):
    return (1 + w) * cond - w * null


def three_channels(cond, null, w):
    return torch.cat([guided(cond, null, w)[:, :3], cond[:, 3:]], 1)


add(
    '43-1',
    'Guide a prediction of the noise with w, which is off at 0.',
    cases=answers,
    truth=guided,
    mistakes={
        'You used w as a scale that is off at 1. This w is off at 0: the scale is w + 1.': lambda c, n, w: n + w * (c - n),
        'The sign is wrong: the unconditional prediction is subtracted. Your weights add up to 1 + 2w, not to 1; '
        'a formula printed like this is in circulation.': lambda c, n, w: (1 + w) * c + w * n,
        'The weights do not add up to 1. The formula printed with s and s - 1 has the wrong sign as well.': lambda c, n, w: w * c + (w - 1) * n,
        'You swapped the two predictions: this pushes away from the condition.': lambda c, n, w: guided(n, c, w),
        'You guided three of the four channels. A well-known model does so too; the last channel stays conditional.': three_channels,
        'You pushed by the conditional prediction itself, not by the difference.': lambda c, n, w: n + w * c,
    },
)


def slopes(g):
    "An estimate, a classifier's slope, the two scales and a strength."
    x0, slope = torch.randn(2, 2, 3, generator=g, dtype=torch.float64).unbind(0)
    u = torch.rand(3, generator=g, dtype=torch.float64)
    return x0, slope, 0.3 + 0.5 * u[0], 0.3 + 0.5 * u[1], 1.2 + 3 * u[2]


add(
    '43-2',
    'Guide an estimate of x0 by the gradient of log p(c | x_t).',
    cases=slopes,
    truth=lambda x0, g, a, s, k: x0 + k * s**2 / a * g,
    mistakes={
        'sigma is missing its square: that is the step for eps, turned into x0 without its own sigma.': lambda x0, g, a, s, k: x0 + k * s / a * g,
        'The division by alpha is missing: your gradient is in the units of x_t, the estimate in those of x0.': lambda x0, g, a, s, k: x0 + k * s**2 * g,
        'You divided by alpha_bar = alpha**2, not by its root.': lambda x0, g, a, s, k: x0 + k * s**2 / a**2 * g,
        'The sign is wrong: this walks downhill, away from the class.': lambda x0, g, a, s, k: x0 - k * s**2 / a * g,
        'You scaled by s - 1. With an unconditional estimate the scale is s itself: 1 is Bayes.': lambda x0, g, a, s, k: x0 + (k - 1) * s**2 / a * g,
        'The slope is added as if it were a change of x0. Turn it with sigma**2 / alpha.': lambda x0, g, a, s, k: x0 + k * g,
    },
)


def steps(g):
    "A state, the unguided mean of its step, a classifier's slope as a function, and four scales."
    x, mean, far = torch.randn(3, 2, 3, generator=g, dtype=torch.float64).unbind(0)
    u = torch.rand(5, generator=g, dtype=torch.float64)
    alpha_s, sigma_s = 0.6 + 0.3 * u[0], 0.2 + 0.3 * u[1]
    steep = 0.5 + u[4]
    return x, mean, lambda x: steep * (far - x), alpha_s * (0.5 + 0.3 * u[2]), sigma_s * (1.5 + u[3]), alpha_s, sigma_s


def spread(at, st, a, s):
    "Variance of the way forward, q(x_t | x_s)."
    return st**2 - (at / a * s) ** 2


def shifted(x, mean, slope, at, st, a, s):
    return mean + spread(at, st, a, s) * a / at * slope(x)


add(
    '43-3',
    'Give the exact mean of x_s given x_t and the class.',
    cases=steps,
    truth=shifted,
    mistakes={
        'The factor is right, the point is not: this slope belongs to time t, so take it at x_t, not at the mean of x_s.': lambda x, m, f, *a: shifted(
            m, m, f, *a
        ),
        'You used the variance of the posterior, which belongs to a gradient taken at the mean of x_s, by a classifier '
        'of time s. At x_t it is too weak, by (sigma_s / sigma_t)**2 and by the ratio of the alphas.': lambda x, m, f, at, st, a, s: (
            m + spread(at, st, a, s) * (s / st) ** 2 * f(x)
        ),
        'Posterior variance and gradient at the mean: that is the published approximation, but with the classifier of '
        'the wrong time, and it is only right for short steps.': lambda x, m, f, at, st, a, s: m + spread(at, st, a, s) * (s / st) ** 2 * f(m),
        'The division by alpha_t / alpha_s is missing.': lambda x, m, f, at, st, a, s: m + spread(at, st, a, s) * f(x),
        'You used the whole noise of time t; only what lies between s and t counts.': lambda x, m, f, at, st, a, s: m + st**2 * a / at * f(x),
        'The sign is wrong: this walks downhill, away from the class.': lambda x, m, f, *a: 2 * m - shifted(x, m, f, *a),
    },
)


question(
    '43-a',
    'The slope of log p(c | x) at x = 0, for p(c | x) = 1/(1 + exp(-8 x)).',
    4.0,
    {
        8.0: 'That is the slope where the class is hopelessly unlikely. The derivative of log p has the factor 1 - p, the doubt, and it is one half here.',
        0.0: 'By symmetry the slope of log p(x) is zero here, but not that of the classifier, which rises from 0 to 1 just at this place.',
        2.0: 'That is the slope of p, which is 8 p (1 - p). The question asks for the slope of log p: divide by p.',
        0.5: 'That is p(c | x) itself, not the slope of its logarithm.',
    },
)
question(
    '43-b',
    'The guided estimate at scale 4, from 0.2 without and 0.5 with the condition.',
    1.4,
    {
        1.7: 'You started from the answer with the condition: that is w = 4, or scale 5. Our scale counts from the answer without.',
        1.2: 'That is the push alone, 4 times the difference. Add it to the answer without the condition.',
        -0.7: 'You exchanged the two answers: this pushes away from the condition.',
        2.0: 'You multiplied the conditional answer by the scale. The weights are 4 and -3; they add up to one.',
        2.6: 'That is the formula with the wrong sign, s times one plus (s - 1) times the other, which inflates everything.',
    },
)
question(
    '43-c',
    'The w, off at 0, of a scale of 7.5 that is off at 1.',
    6.5,
    {
        8.5: 'You went the wrong way: w is smaller than the scale by one. Check it at "off".',
        7.5: 'The same number means two things: w = 7.5 would be a scale of 8.5. Check both at "off".',
    },
)
question(
    '43-d',
    'Twice the steps at scale 7.5: a, b or c.',
    'b',
    {
        'a': 'Try it: 400 steps change nothing. The flow is converged; it is the flow that ends elsewhere, not the solver.',
        'c': 'The push depends on the time, not on the number of steps: finer steps follow the same velocity more closely.',
    },
)
question(
    '43-e',
    'What guided samples lack that are recognised more often than real ones: a, b or c.',
    'b',
    {
        'a': 'Sharpness is what guidance adds. Ask which real pictures the recogniser gets wrong.',
        'c': 'If they were distributed as reality they would be recognised as often as reality.',
    },
)
question(
    '43-f',
    'What is left of the distance to the promise if guidance acts only at t <= 0.2: a, b or c.',
    'c',
    {
        'a': 'The share of the time says little: the push is far too strong in heavy noise, and nearly right in light noise.',
        'b': 'The end is where a constant scale is nearly right. Set "up to t" to 0.2 in the figure, and then "guide from t".',
    },
)
