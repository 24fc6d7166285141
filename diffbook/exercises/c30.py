"""Graders of the chapter on sampling."""

import torch

from diffbook.exercise import add


def levels(g, eta=False):
    "Four scales of a schedule that preserves variance or does not, with s less noisy than t."
    u = torch.rand(6, generator=g, dtype=torch.float64)
    alpha_s = 0.6 + 0.35 * u[0]
    alpha_t = alpha_s * (0.4 + 0.4 * u[1])
    sigma_s = 0.2 + 0.4 * u[2]
    sigma_t = sigma_s * (1.3 + u[3])
    return alpha_t, sigma_t, alpha_s, sigma_s


def state(g):
    return torch.randn(2, 3, generator=g, dtype=torch.float64).unbind(0)


def forward_var(alpha_t, sigma_t, alpha_s, sigma_s):
    return sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2


def posterior(alpha_t, sigma_t, alpha_s, sigma_s, x, x0):
    scale, var = alpha_t / alpha_s, forward_var(alpha_t, sigma_t, alpha_s, sigma_s)
    mean = scale * sigma_s**2 / sigma_t**2 * x + alpha_s * var / sigma_t**2 * x0
    return mean, torch.sqrt(var) * sigma_s / sigma_t


def posterior_swapped(alpha_t, sigma_t, alpha_s, sigma_s, x, x0):
    mean, std = posterior(alpha_t, sigma_t, alpha_s, sigma_s, x0, x)
    return mean, std


def posterior_x0(alpha_t, sigma_t, alpha_s, sigma_s, x, x0):
    scale, var = alpha_t / alpha_s, forward_var(alpha_t, sigma_t, alpha_s, sigma_s)
    mean = scale * sigma_s**2 / sigma_t**2 * x + var / sigma_t**2 * x0
    return mean, torch.sqrt(var) * sigma_s / sigma_t


add(
    '30-1',
    'Give the mean and the standard deviation of x_s given x_t and x0.',
    cases=lambda g: (*levels(g), *state(g)),
    truth=posterior,
    mistakes={
        'The mean is right; you returned the variance, not its root: the noise would be multiplied by std**2.': lambda *a: (
            posterior(*a)[0],
            posterior(*a)[1] ** 2,
        ),
        'The mean is right; your spread is the noise of the way forward, q(x_t | x_s). Backwards x0 also says something, '
        'so it is smaller by the factor sigma_s / sigma_t, and zero at the last step.': lambda *a: (
            posterior(*a)[0],
            torch.sqrt(forward_var(*a[:4])),
        ),
        'You swapped the weights of x_t and x0.': posterior_swapped,
        'The weight of x0 lacks alpha_s: with s at the data all is well, elsewhere the signal is too strong.': posterior_x0,
    },
)


def ddim(alpha_t, sigma_t, alpha_s, sigma_s, x, eps):
    return alpha_s * (x - sigma_t * eps) / alpha_t + sigma_s * eps


add(
    '30-2',
    'Step from x_t to x_s with the predicted noise eps, without fresh noise.',
    cases=lambda g: (*levels(g), *state(g)),
    truth=ddim,
    mistakes={
        'You divided by alpha_bar = alpha_t**2, not by its root, when solving for x0.': lambda at, st, a, s, x, e: a * (x - st * e) / at**2 + s * e,
        'You did not divide by alpha_t when solving for x0: the signal in x_t is scaled by it.': lambda at, st, a, s, x, e: a * (x - st * e) + s * e,
        'You multiplied eps by 1 - alpha_bar = sigma_t**2, not by its root, when solving for x0.': lambda at, st, a, s, x, e: (
            a * (x - st**2 * e) / at + s * e
        ),
        'You mixed the noise back in with sigma_s**2, not with sigma_s.': lambda at, st, a, s, x, e: a * (x - st * e) / at + s**2 * e,
        'You mixed the noise back in at the old level, sigma_t: the state stays as noisy as it was.': lambda at, st, a, s, x, e: (
            a * (x - st * e) / at + st * e
        ),
        'That is the estimate of x0. The noise has to be mixed back in for level s.': lambda at, st, a, s, x, e: (x - st * e) / at,
        'You scaled the estimate of x0 to level s and forgot to mix the noise back in.': lambda at, st, a, s, x, e: a * (x - st * e) / at,
        'The sign of the noise is wrong: x0 = (x_t - sigma_t eps) / alpha_t.': lambda at, st, a, s, x, e: a * (x + st * e) / at + s * e,
    },
)


def fresh(alpha_t, sigma_t, alpha_s, sigma_s, eta):
    return eta * torch.sqrt(forward_var(alpha_t, sigma_t, alpha_s, sigma_s)) * sigma_s / sigma_t


add(
    '30-3',
    'Give the standard deviation of the fresh noise in a DDIM step with eta.',
    cases=lambda g: (*levels(g), 0.1 + 0.8 * torch.rand((), generator=g, dtype=torch.float64)),
    truth=fresh,
    mistakes={
        'The step ratio sigma_s / sigma_t is missing; with eta = 1 this is not the ancestral step.': lambda at, st, a, s, eta: (
            eta * torch.sqrt(forward_var(at, st, a, s))
        ),
        'That is the variance for eta; take the root.': lambda at, st, a, s, eta: fresh(at, st, a, s, eta) ** 2,
        'eta multiplies the standard deviation, not the variance.': lambda at, st, a, s, eta: fresh(at, st, a, s, torch.sqrt(eta)),
        'eta is missing.': lambda at, st, a, s, eta: fresh(at, st, a, s, 1.0),
        'eta scales the noise that the posterior has, not all noise of level s.': lambda at, st, a, s, eta: eta * s,
        'The ratio is upside down: sigma_s / sigma_t, less noisy over noisier.': lambda at, st, a, s, eta: (
            eta * torch.sqrt(forward_var(at, st, a, s)) * st / s
        ),
    },
)


def trailing(T, n):
    return [float(round(T - i * T / n)) for i in range(n + 1)]


add(
    '30-4',
    'List the n + 1 whole levels of a trailing grid for T betas.',
    # n does not divide T, and no level lies half-way between two whole numbers
    cases=lambda g: (997, int(torch.randint(3, 60, (), generator=g))),
    truth=trailing,
    mistakes={
        'That is leading spacing: it starts below T with noise that belongs to T, and never arrives at 0.': lambda T, n: [
            float(i * (T // n) + 1) for i in reversed(range(n))
        ]
        + [0.0],
        'That is leading spacing without its end: a grid of n steps has n + 1 levels, and the last one is 0.': lambda T, n: [
            float(i * (T // n) + 1) for i in reversed(range(n))
        ],
        'That is leading spacing, counted from 0 as in published files, where T betas are the rows 0 to T - 1.': lambda T, n: [
            float(i * (T // n)) for i in reversed(range(n))
        ],
        'The clean end is missing: a grid of n steps has n + 1 levels, and the last one is 0.': lambda T, n: trailing(T, n)[:-1],
        'The levels should fall: sampling starts at the noise.': lambda T, n: trailing(T, n)[::-1],
        'You cut fractions off instead of rounding.': lambda T, n: [float(int(T - i * T / n)) for i in range(n + 1)],
        'You took steps of T // n. When n does not divide T the grid does not end at 0.': lambda T, n: [
            float(T - i * (T // n)) for i in range(n + 1)
        ],
        'You count from 0: the noisiest level is T, and the clean picture is 0.': lambda T, n: [t - 1 for t in trailing(T, n)],
    },
)
