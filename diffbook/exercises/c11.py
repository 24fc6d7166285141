"""Graders of the chapter on Markov chains."""

import torch

from diffbook.exercise import add, question


def _uniform(g, *shape, low=0.0, high=1.0):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def _normal(g, *shape):
    return torch.randn(shape, generator=g, dtype=torch.float64)


add(
    '11-1',
    'Give gain and variance of a step (a1, v1) followed by a step (a2, v2).',
    cases=lambda g: (_uniform(g, low=0.3, high=0.9), _uniform(g, low=0.1), _uniform(g, low=0.3, high=0.9), _uniform(g, low=0.1)),
    truth=lambda a1, v1, a2, v2: (a2 * a1, a2**2 * v1 + v2),
    mistakes={
        'The second step scales the noise of the first too: its variance takes the square of the second gain.': lambda a1, v1, a2, v2: (a2 * a1, v1 + v2),
        'A gain multiplies a variance by its square, not by itself.': lambda a1, v1, a2, v2: (a2 * a1, a2 * v1 + v2),
        'You took the steps in the wrong order: the second gain acts on the first noise.': lambda a1, v1, a2, v2: (a2 * a1, a1**2 * v2 + v1),
        'Gains multiply: a value is scaled by the first, then by the second.': lambda a1, v1, a2, v2: (a1 + a2, a2**2 * v1 + v2),
        'You added standard deviations; it is the variances that add.': lambda a1, v1, a2, v2: (a2 * a1, (a2 * v1.sqrt() + v2.sqrt()) ** 2),
        'The second value should be the variance, and you gave the standard deviation.': lambda a1, v1, a2, v2: (a2 * a1, (a2**2 * v1 + v2).sqrt()),
    },
)


def _mix(signal, noise):
    def f(x0, eps, betas):
        alpha_bar = torch.prod(1 - betas)
        return signal(alpha_bar) * x0 + noise(alpha_bar) * eps

    return f


def _root(v):
    return v.sqrt()


add(
    '11-2',
    'Jump from x0 to the end of the chain with the standard noise eps.',
    cases=lambda g: (_normal(g, 5), _normal(g, 5), _uniform(g, 4, low=0.05, high=0.3)),
    truth=_mix(_root, lambda a: _root(1 - a)),
    mistakes={
        'The noise is scaled by the root of 1 - alpha_bar: that is a variance, and noise takes a standard deviation.': _mix(_root, lambda a: 1 - a),
        'The data are scaled by the root of alpha_bar, not by alpha_bar.': _mix(lambda a: a, lambda a: _root(1 - a)),
        'Both roots are missing: alpha_bar and 1 - alpha_bar are squares of the two scales.': _mix(lambda a: a, lambda a: 1 - a),
        'The noise scale is the root of 1 - alpha_bar; you took one minus the root.': _mix(_root, lambda a: 1 - _root(a)),
        'The two scales are swapped: alpha_bar is what is left of the signal.': _mix(lambda a: _root(1 - a), _root),
        'That is the last step alone: multiply 1 - beta over all steps.': lambda x0, eps, betas: _root(1 - betas[-1]) * x0 + _root(betas[-1]) * eps,
        'alpha_bar is a product of 1 - beta, not one minus the sum of the betas.': lambda x0, eps, betas: (
            _root(1 - betas.sum()) * x0 + _root(betas.sum()) * eps if betas.sum() < 1 else torch.zeros_like(x0)
        ),
        'alpha_bar is the product of 1 - beta; you multiplied the betas.': lambda x0, eps, betas: _root(betas.prod()) * x0 + _root(1 - betas.prod()) * eps,
    },
)


def _before(x0, xt, betas, var=None, swap=False, first=None, second=None):
    beta, bar_t, bar_s = betas[-1], torch.prod(1 - betas), torch.prod(1 - betas[:-1])
    if swap:
        bar_s, bar_t = bar_t, bar_s
    a = first(bar_s, bar_t, beta) if first else bar_s.sqrt() * beta / (1 - bar_t)
    b = second(bar_s, bar_t, beta) if second else (1 - beta).sqrt() * (1 - bar_s) / (1 - bar_t)
    return a * x0 + b * xt, var(bar_s, bar_t, beta) if var else (1 - bar_s) / (1 - bar_t) * beta


def _wrong(**change):
    return lambda x0, xt, betas: _before(x0, xt, betas, **change)


add(
    '11-3',
    'Give mean and variance of the place before the last step, given the start x0 and the end xt.',
    cases=lambda g: (_normal(g, 5), _normal(g, 5), _uniform(g, 4, low=0.05, high=0.3)),
    truth=_before,
    mistakes={
        'The mean is right, but beta is the variance forward; given x0 less is unknown: beta (1 - alpha_bar_s) / (1 - alpha_bar_t).': _wrong(
            var=lambda s, t, b: b
        ),
        'The mean is right; the second value should be the variance, and you gave the standard deviation.': _wrong(
            var=lambda s, t, b: ((1 - s) / (1 - t) * b).sqrt()
        ),
        'You swapped alpha_bar before and after the last step: the later one holds more noise.': _wrong(swap=True),
        'The mean is right; the fraction in the variance is upside down.': _wrong(var=lambda s, t, b: (1 - t) / (1 - s) * b),
        'The weight of x0 takes the root of alpha_bar_s.': _wrong(first=lambda s, t, b: s * b / (1 - t)),
        'The weight of x0 takes alpha_bar before the last step, not after it.': _wrong(first=lambda s, t, b: t.sqrt() * b / (1 - t)),
        'The weight of xt takes the root of 1 - beta.': _wrong(second=lambda s, t, b: (1 - b) * (1 - s) / (1 - t)),
        'That ignores xt: it is the law after jumping from x0 alone.': lambda x0, xt, betas: (
            torch.prod(1 - betas[:-1]).sqrt() * x0,
            1 - torch.prod(1 - betas[:-1]),
        ),
    },
)

add(
    '11-4',
    'Give the beta of the single step between two times with alpha_bar_s and alpha_bar_t.',
    cases=lambda g: (_uniform(g, 5, low=0.6, high=0.95), _uniform(g, 5, low=0.1, high=0.5)),
    truth=lambda s, t: 1 - t / s,
    mistakes={
        'That is the squared gain of the step; beta is one minus it.': lambda s, t: t / s,
        'Gains multiply, so divide the two alpha_bars rather than subtract them.': lambda s, t: s - t,
        'alpha_bar is already the square of the gain: no root.': lambda s, t: 1 - (t / s).sqrt(),
        'The ratio is upside down: alpha_bar falls with time, so beta came out negative.': lambda s, t: 1 - s / t,
        'That is the jump from the start; what happened before s must be divided out.': lambda s, t: 1 - t,
        'That is the posterior variance of the step; the question asks for its forward beta.': lambda s, t: (1 - s) / (1 - t) * (1 - t / s),
    },
)

question(
    '11-a',
    'The chance to stay in the end cell.',
    0.75,
    {0.5: 'A step off the end is not taken either: that quarter stays too.', 0.25: 'That is the chance to leave.'},
)
question(
    '11-b',
    'Variance 3 after a step with beta 0.2.',
    2.6,
    {
        3.2: 'The noise is added; the old variance is shrunk as well.',
        2.4: 'That is the old variance, shrunk. The step adds noise to it.',
        2.12: 'The gain is the root of 1 - beta, so its square is 1 - beta.',
    },
)
question(
    '11-c',
    'The variance of two steps in one.',
    0.5904,
    {0.72: 'The second step shrinks the noise of the first.', 0.648: 'A variance takes the square of the gain.'},
)
question(
    '11-d',
    'Gain and variance of two steps with beta 0.5.',
    (0.5, 0.75),
    {(0.25, 0.75): 'That is alpha-bar; the gain is its root.', (0.5, 1.0): 'The second step shrinks the noise of the first.'},
)
question(
    '11-e',
    'What the step back has to know.',
    'b',
    {'a': 'The size of the noise is in the kernel, which serves both ways.', 'c': "Bayes' rule looks at one step; it does not count them."},
)
question(
    '11-f',
    'The variance of the way back.',
    0.0909,
    {
        0.1: 'That is the way forward. Given x0 less is unknown.',
        0.11: 'The fraction stands upside down.',
        0.0818: 'The denominator, 1 - 0.45, is right. Above it stands 1 - 0.5, for the bar of s.',
    },
)
question(
    '11-g',
    'What a way back that knows the crowd brings back.',
    'b',
    {
        'a': 'For that the way back must know where each grain began. Look at the colours.',
        'c': 'A wide cloud comes of knowing the mean and the spread only. The crowd at each step says where the drops were.',
    },
)
