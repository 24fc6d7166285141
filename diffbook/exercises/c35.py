"""Graders of the chapter on stochastic differential equations."""

import torch

from diffbook.exercise import add, question


def u(g, low, high):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64)


def state(g, n):
    return torch.randn(n, 3, generator=g, dtype=torch.float64).unbind(0)


def drift(f, g, s, x, level, share=lambda level: (1 + level**2) / 2):
    return f * x - share(level) * g**2 * s


add(
    '35-1',
    'Give the drift of the reverse family, in time that falls with dt.',
    cases=lambda g: (-u(g, 0.2, 3.0), u(g, 0.5, 3.0), *state(g, 2), u(g, 0.3, 1.8)),
    truth=drift,
    mistakes={
        "That is the drift for l = 1 only, Anderson's: the score has the factor (1 + l^2) / 2.": lambda f, g, s, x, level: drift(
            f, g, s, x, level, lambda level: 1.0
        ),
        'That is the probability flow, l = 0: noise needs a pull that balances it.': lambda f, g, s, x, level: drift(f, g, s, x, level, lambda level: 0.5),
        'You left out the flow: the half that is there without any noise.': lambda f, g, s, x, level: drift(f, g, s, x, level, lambda level: level**2 / 2),
        'The half is missing: (1 + l^2) / 2.': lambda f, g, s, x, level: drift(f, g, s, x, level, lambda level: 1 + level**2),
        'The noise level enters squared, as variances do: (1 + l^2) / 2.': lambda f, g, s, x, level: drift(f, g, s, x, level, lambda level: (1 + level) / 2),
        'The sign of the score: time falls, so the walk goes up the slope with minus g^2 s dt.': lambda f, g, s, x, level: (
            f * x + (1 + level**2) / 2 * g**2 * s
        ),
        "The sign of the pull: the balance to the noise must be added to the flow's half, not taken from it.": lambda f, g, s, x, level: drift(
            f, g, s, x, level, lambda level: (1 - level**2) / 2
        ),
        'It is g squared that goes with the score.': lambda f, g, s, x, level: f * x - (1 + level**2) / 2 * g * s,
        'That is the drift for time that rises: dt is negative here, so nothing changes its sign.': lambda f, g, s, x, level: -drift(f, g, s, x, level),
    },
    edges=((torch.tensor(-0.5).double(), torch.tensor(1.0).double(), torch.ones(2).double(), torch.ones(2).double() * 2, torch.tensor(0.0).double()),),
)


def maruyama(
    x, x0, alpha, sigma, f, g, h, level, z, score=lambda x, x0, a, s: (a * x0 - x) / s**2, spread=lambda g, h, level: level * g * torch.sqrt(h), way=-1
):
    return x + way * h * (f * x - (1 + level**2) / 2 * g**2 * score(x, x0, alpha, sigma)) + spread(g, h, level) * z


add(
    '35-2',
    'Take an Euler-Maruyama step of length h back in time.',
    cases=lambda g: (*state(g, 2), u(g, 0.3, 0.9), u(g, 0.3, 1.2), -u(g, 0.2, 3.0), u(g, 0.5, 3.0), u(g, 0.01, 0.1), u(g, 0.3, 1.8), *state(g, 1)),
    truth=maruyama,
    mistakes={
        'The noise goes with the root of h: variances add, not deviations.': lambda *v: maruyama(*v, spread=lambda g, h, level: level * g * h),
        'The step goes back: the drift is multiplied by -h.': lambda *v: maruyama(*v, way=1),
        'The noise level is missing before the fresh noise.': lambda *v: maruyama(*v, spread=lambda g, h, level: g * torch.sqrt(h)),
        'The noise has the standard deviation l g sqrt(h); you squared g.': lambda *v: maruyama(*v, spread=lambda g, h, level: level * g**2 * torch.sqrt(h)),
        'No fresh noise: with l above zero the drift alone is not the equation.': lambda *v: maruyama(*v, spread=lambda g, h, level: 0 * h),
        'The score divides by sigma squared: it is -eps / sigma, and eps has one sigma already.': lambda *v: maruyama(
            *v, score=lambda x, x0, a, s: (a * x0 - x) / s
        ),
        'The score points from the state towards alpha x0, not away from it.': lambda *v: maruyama(*v, score=lambda x, x0, a, s: (x - a * x0) / s**2),
        'The signal is scaled: the score is (alpha x0 - x) / sigma^2.': lambda *v: maruyama(*v, score=lambda x, x0, a, s: (x0 - x) / s**2),
    },
)


def scales(g):
    "Scales at t and at the less noisy s, preserving no variance; a state, an estimate, a level and a draw."
    alpha, sigma = u(g, 0.2, 0.6), u(g, 0.8, 1.4)
    x, x0, z = state(g, 3)
    return alpha, sigma, alpha * u(g, 1.1, 1.6), sigma * u(g, 0.4, 0.9), x, x0, u(g, 0.3, 1.8), z


def hold(at, st, a, s, x, x0, level, z, kept=lambda at, st, a, s, level: (at * s / (a * st)) ** level**2, fresh=lambda k: torch.sqrt(1 - k**2)):
    share = kept(at, st, a, s, level)
    return a * x0 + s * (share * (x - at * x0) / st + fresh(share) * z)


add(
    '35-3',
    'Take the exact step of the reverse equation with the estimate held.',
    cases=scales,
    truth=hold,
    mistakes={
        'The exponent is l squared: the noise enters as a variance.': lambda *v: hold(*v, kept=lambda at, st, a, s, level: (at * s / (a * st)) ** level),
        'That is DDIM: all of the old noise is kept.': lambda *v: hold(*v, kept=lambda at, st, a, s, level: torch.ones_like(level)),
        'That is the ancestral step, l = 1: the ratio wants the exponent l^2.': lambda *v: hold(*v, kept=lambda at, st, a, s, level: at * s / (a * st)),
        'Old and fresh noise must have variance one together: kept^2 + fresh^2 = 1; you let the shares add to one.': lambda *v: hold(*v, fresh=lambda k: 1 - k),
        'Take the root: 1 - kept^2 is the variance of the fresh noise.': lambda *v: hold(*v, fresh=lambda k: 1 - k**2),
        'The share is made of the ratio of noise to signal at both times; you left out the signal.': lambda *v: hold(
            *v, kept=lambda at, st, a, s, level: (s / st) ** level**2
        ),
        'The exponent is l^2, not 2 l^2: the ratio is that of alpha to sigma, half the log signal-to-noise ratio.': lambda *v: hold(
            *v, kept=lambda at, st, a, s, level: (at * s / (a * st)) ** (2 * level**2)
        ),
        'The fresh noise is scaled by sigma at s, as the old is.': lambda at, st, a, s, x, x0, level, z: (
            hold(at, st, a, s, x, x0, level, 0 * z) + torch.sqrt(1 - (at * s / (a * st)) ** (2 * level**2)) * z
        ),
    },
)

add(
    '35-4',
    'Say to which variance the step x + h s + c sqrt(2 h) z settles on N(0, v), with h = 2 q^2 v.',
    cases=lambda g: (u(g, 0.3, 3.0), u(g, 0.1, 0.6), u(g, 0.5, 1.2)),
    truth=lambda v, q, c: c**2 * v / (1 - q**2),
    mistakes={
        'That is for c = 1: noise of another size has its square as a factor.': lambda v, q, c: v / (1 - q**2),
        'Square the factor of the noise: variances go with its square.': lambda v, q, c: c * v / (1 - q**2),
        'The limit of endless small steps is v; here the step has a length, and its bias stays.': lambda v, q, c: v * torch.ones_like(q),
        'You kept the first order of the bias only: 1 + q^2 is 1 / (1 - q^2) for small q.': lambda v, q, c: c**2 * v * (1 + q**2),
        'The state shrinks by 1 - h / v = 1 - 2 q^2, and its square holds a term in q^4; you dropped the 2.': lambda v, q, c: c**2 * v / (1 - q**2 / 2),
        'The score of N(0, v) is -x / v, so a step shrinks by 1 - 2 q^2; you put the bias at twice what it is.': lambda v, q, c: c**2 * v / (1 - 2 * q**2),
        'The sign: too long a step leaves the law too wide, not too narrow.': lambda v, q, c: c**2 * v / (1 + q**2),
        'That is a standard deviation; the variance is asked for.': lambda v, q, c: c * torch.sqrt(v / (1 - q**2)),
    },
)

question(
    '35-a',
    'The velocity of a single point.',
    1 / 3,
    {
        1.0: 'That is the mean of the two velocities; the second group is twice as many.',
        5 / 3: 'You gave the double weight to the wrong group, the one with velocity 3.',
        -1.0: 'The larger group does not win: the mean counts both.',
        3.0: 'Each group has its weight; the point moves with the mean.',
    },
)
question(
    '35-b',
    'The variance that h z collects in a hundred steps.',
    0.01,
    {1.0: 'That is what sqrt(h) z would collect.', 0.0001: 'That is one step; there are a hundred.', 0.1: 'That is the standard deviation.'},
)
question(
    '35-c',
    'The velocity of the flow and the drift with l = 1.',
    (0.5, 1.0),
    {
        (-0.5, -1.0): 'The score points inward, and there is a minus before it.',
        (0.5, 0.5): 'With noise the factor of the score is (1 + l^2) / 2, twice that of the flow.',
        (1.0, 2.0): 'Mind the half: the flow has g^2 / 2 times the score.',
        (0.5, 0.0): 'The pull is added to the half that the flow has: (1 + l^2) / 2.',
    },
)
question(
    '35-d',
    'One Euler-Maruyama step.',
    2.32,
    {
        2.48: 'Time falls: the drift is multiplied by -0.08.',
        1.92: 'The noise is missing.',
        2.0331: 'The noise goes with the root of the length of the step.',
        2.36: 'That is half of the drift: with l = 1 the factor of the score is g^2.',
        2.4857: 'The noise has the factor g, not its square.',
    },
    rtol=0.001,
)
question(
    '35-e', 'Steps for an error of 0.3 %.', 'b', {'a': 'That is one halving from 128 steps: 0.58 %.', 'c': 'The error falls like 1/n, not like the root of it.'}
)
