"""Graders of the chapter on the exact oracle."""

import torch

from diffbook.exercise import add, question


def _uniform(g: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def _noisy(g: torch.Generator) -> tuple:
    "A point, a score there, and two scales that are not on the circle."
    x, score = (torch.randn(3, generator=g, dtype=torch.float64) for _ in range(2))
    return x, score, _uniform(g, 0.3, 0.9), _uniform(g, 0.3, 1.5)


add(
    '13-1',
    'From the score at x_t, give the mean of x0 given x_t (Tweedie).',
    cases=_noisy,
    truth=lambda x, score, a, s: (x + s**2 * score) / a,
    mistakes={
        'The sign of the score: it points to where data are, so it is added.': lambda x, score, a, s: (x - s**2 * score) / a,
        'The step along the score is sigma**2, a variance, not sigma.': lambda x, score, a, s: (x + s * score) / a,
        'Off by sqrt(alpha_bar): you divided by alpha**2 = alpha_bar; divide by alpha.': lambda x, score, a, s: (x + s**2 * score) / a**2,
        'You forgot to divide by alpha: this is the mean of alpha x0.': lambda x, score, a, s: x + s**2 * score,
        'You multiplied by alpha; divide: x_t has shrunk.': lambda x, score, a, s: (x + s**2 * score) * a,
        'Divide the score by alpha as well, not only x.': lambda x, score, a, s: x / a + s**2 * score,
        'The score is -eps / sigma; you used it as if it were eps.': lambda x, score, a, s: (x - s * score) / a,
        'The noise variance is sigma**2 on every schedule; 1 - alpha**2 is right on the circle only.': lambda x, score, a, s: (x + (1 - a**2) * score) / a,
    },
)

add(
    '13-2',
    'For data N(m, v), give the mean and the variance of x0 given x_t.',
    cases=lambda g: (
        torch.randn((), generator=g, dtype=torch.float64),
        torch.randn((), generator=g, dtype=torch.float64),
        _uniform(g, 0.3, 2.0),
        _uniform(g, 0.3, 0.9),
        _uniform(g, 0.3, 1.5),
    ),
    truth=lambda x, m, v, a, s: (m + a * v / (a**2 * v + s**2) * (x - a * m), v * s**2 / (a**2 * v + s**2)),
    mistakes={
        'The mean is right; the variance you gave is that of x_t.': lambda x, m, v, a, s: (
            m + a * v / (a**2 * v + s**2) * (x - a * m),
            a**2 * v + s**2,
        ),
        'The mean is right; of the variance you returned the root.': lambda x, m, v, a, s: (
            m + a * v / (a**2 * v + s**2) * (x - a * m),
            (v * s**2 / (a**2 * v + s**2)) ** 0.5,
        ),
        'x_t has the mean alpha m, not m: measure its deviation from there.': lambda x, m, v, a, s: (
            m + a * v / (a**2 * v + s**2) * (x - m),
            v * s**2 / (a**2 * v + s**2),
        ),
        'This is the mean of alpha x0: the gain is alpha v / (alpha**2 v + sigma**2).': lambda x, m, v, a, s: (
            a * m + a**2 * v / (a**2 * v + s**2) * (x - a * m),
            v * s**2 / (a**2 * v + s**2),
        ),
        'You ignored the prior: x / alpha is what x_t says alone.': lambda x, m, v, a, s: (x / a, s**2 / a**2),
        'v is a variance already; do not square it.': lambda x, m, v, a, s: (
            m + a * v**2 / (a**2 * v**2 + s**2) * (x - a * m),
            v**2 * s**2 / (a**2 * v**2 + s**2),
        ),
        'sigma is a scale; square it.': lambda x, m, v, a, s: (
            m + a * v / (a**2 * v + s) * (x - a * m),
            v * s / (a**2 * v + s),
        ),
    },
)

add(
    '13-3',
    'From the mean posterior variance of x0, give the loss floors of the targets noise, x0 and v.',
    cases=lambda g: (_uniform(g, 0.1, 2.0), _uniform(g, 0.3, 0.9), _uniform(g, 0.3, 1.5)),
    truth=lambda var, a, s: ((a / s) ** 2 * var, var, (s + a**2 / s) ** 2 * var),
    mistakes={
        'All three targets have the same floor in your answer. The uncertainty of x0 is the same, but each target magnifies it by its own factor (a - b alpha / sigma)**2.': (
            lambda var, a, s: (var, var, var)
        ),
        'v has two terms that both carry x0, with the same sign: a - b alpha / sigma = -(sigma + alpha**2 / sigma).': lambda var, a, s: (
            (a / s) ** 2 * var,
            var,
            (s - a**2 / s) ** 2 * var,
        ),
        'The floors are variances: square the factors.': lambda var, a, s: (a / s * var, var, (s + a**2 / s) * var),
        'The noise is (x - alpha x0) / sigma: its variance is (alpha / sigma)**2 times that of x0, not the inverse.': lambda var, a, s: (
            (s / a) ** 2 * var,
            var,
            (s + a**2 / s) ** 2 * var,
        ),
        'For v you added variances as if noise and x0 were independent given x_t; each is a function of the other.': lambda var, a, s: (
            (a / s) ** 2 * var,
            var,
            a**2 * (a / s) ** 2 * var + s**2 * var,
        ),
        'For v: noise plus x0 is right on the circle only (alpha**2 + sigma**2 = 1).': lambda var, a, s: (
            (a / s) ** 2 * var,
            var,
            (1 + (a / s) ** 2) * var,
        ),
    },
)

question(
    '13-a',
    'A component with weight 0.3, mean -1.8 and standard deviation 0.25 under alpha = 0.6, sigma = 0.8: weight, mean, standard deviation?',
    (0.3, -1.08, 0.814),
    {
        (0.18, -1.08, 0.814): 'The noise does not touch the choice of the component: its weight stays.',
        (0.3, -1.8, 0.814): 'The signal shrinks: the mean is multiplied by alpha.',
        (0.3, -1.08, 0.95): 'You added standard deviations; variances add.',
        (0.3, -1.08, 0.6625): 'That is the variance; take its root.',
        (0.3, -1.08, 0.838): 'The bump shrinks with the signal: its standard deviation becomes 0.15 before the noise is added.',
        (0.3, -1.08, 0.8): 'That is the noise alone. The bump itself, shrunk to 0.15, adds its variance.',
    },
    rtol=0.005,
)

question(
    '13-b',
    'Two equal narrow bumps at -1 and +1: the score at 0 and just right of it?',
    'b',
    {
        'a': 'Zero at the middle is right. But the score points uphill, and just right of the middle uphill is to the right.',
        'c': 'The density is small there, but smooth: the two pulls are equal and opposite.',
    },
)

question(
    '13-c',
    'Data at -1 and +1, alpha = 0.6, sigma = 0.8: the best guess at x_t = 0, and at x_t = 100?',
    (0.0, 1.0),
    {
        (0.0, 166.7): 'x / alpha is what x_t says alone. The data are -1 and +1, and a mean of these lies between them.',
        (0.0, 100.0): 'The data are -1 and +1, and a mean of these lies between them.',
        (1.0, 1.0): 'At 0 neither point is nearer. The mean of two equally likely values is halfway between them.',
        (-1.0, 1.0): 'At 0 neither point is nearer. The mean of two equally likely values is halfway between them.',
        (0.0, 0.6): 'That is where the noisy copies of +1 lie on average. The question is for x0.',
        (0.0, 0.0): 'At 100 only one of the two points is a credible source, although the noise must have been enormous.',
    },
)

question(
    '13-d',
    'Alpha = 0.6, sigma = 0.8, the floor for x0 is 0.32. What is the floor for the noise?',
    0.18,
    {
        0.5689: 'Upside down: the noise is (x_t - alpha x0) / sigma, so the factor is (alpha / sigma)**2.',
        0.24: 'The floor is a variance: square the factor alpha / sigma.',
        0.32: 'The noise is another target. What is unsure of x0 reaches it multiplied by alpha / sigma.',
        0.68: 'The two floors do not sum to one. The noise is (x_t - alpha x0) / sigma: which multiple of x0 is that?',
        0.1152: 'Right would be alpha / sigma: you forgot to divide by sigma.',
    },
    rtol=0.01,
)

question(
    '13-e',
    'A model makes new pictures. Is its training loss below, equal to or above that of the ideal denoiser of the training set?',
    'c',
    {
        'a': 'No function has a lower loss on the training set than its ideal denoiser: it answers with the mean, the best answer of all.',
        'b': 'Only the ideal denoiser itself has the same loss, and it makes nothing but copies.',
    },
)
