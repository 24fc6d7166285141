"""Graders of the chapter on sampling."""

import torch

from diffbook.exercise import add, question


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
        'You multiplied eps by 1 - alpha_bar = sigma_t**2, not by its root, when solving for x0.': lambda at, st, a, s, x, e: a * (x - st**2 * e) / at + s * e,
        'You mixed the noise back in with sigma_s**2, not with sigma_s.': lambda at, st, a, s, x, e: a * (x - st * e) / at + s**2 * e,
        'You mixed the noise back in at the old level, sigma_t: the state stays as noisy as it was.': lambda at, st, a, s, x, e: a * (x - st * e) / at + st * e,
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
        'The ratio is upside down: sigma_s / sigma_t, less noisy over noisier.': lambda at, st, a, s, eta: eta * torch.sqrt(forward_var(at, st, a, s)) * st / s,
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
        'That is leading spacing: it starts below T with noise that belongs to T, and never arrives at 0.': lambda T, n: (
            [float(i * (T // n) + 1) for i in reversed(range(n))] + [0.0]
        ),
        'That is leading spacing without its end: a grid of n steps has n + 1 levels, and the last one is 0.': lambda T, n: [
            float(i * (T // n) + 1) for i in reversed(range(n))
        ],
        'That is leading spacing, counted from 0 as in published files, where T betas are the rows 0 to T - 1.': lambda T, n: [
            float(i * (T // n)) for i in reversed(range(n))
        ],
        'The clean end is missing: a grid of n steps has n + 1 levels, and the last one is 0.': lambda T, n: trailing(T, n)[:-1],
        'The levels should fall: sampling starts at the noise.': lambda T, n: trailing(T, n)[::-1],
        'You cut fractions off instead of rounding.': lambda T, n: [float(int(T - i * T / n)) for i in range(n + 1)],
        'You took steps of T // n. When n does not divide T the grid does not end at 0.': lambda T, n: [float(T - i * (T // n)) for i in range(n + 1)],
        'You count from 0: the noisiest level is T, and the clean picture is 0.': lambda T, n: [t - 1 for t in trailing(T, n)],
    },
)

question(
    '30-a',
    'Three data points are 0 and one is 8. Where does a jump from pure noise land?',
    2.0,
    {
        0.0: 'That is the most frequent value. A squared error learns the average, not the most likely value.',
        4.0: 'That is the middle of the two values; each counts as often as it occurs.',
        8.0: 'Pure noise tells nothing about which of the four was hidden: average all of them.',
    },
)
question(
    '30-b',
    'By which factors does the variance left out fall, in one step and in the walk, if steps are three times as short?',
    (9.0, 3.0),
    {
        (3.0, 3.0): 'The walk is right. One step leaves out b^2 Var[x0 | x_t], and b itself is proportional to the length of the step.',
        (3.0, 1.0): 'One step leaves out b^2 Var[x0 | x_t]: b is proportional to the length of the step, and it is squared.',
        (9.0, 9.0): 'One step is right. But the walk now has three times as many steps, and what they leave out adds up.',
        (1 / 9, 1 / 3): 'Right, as shares of what was left out. The question asks for the factors by which they fall.',
        (3.0, 9.0): 'The values are right for the walk and for one step, in the other order.',
    },
)
question(
    '30-c',
    'Where does DDIM go from x_t = 1 with alpha_t = 0.6, sigma_t = 0.8, x0 = 0.5, for alpha_s = 0.8 and sigma_s = 0.6?',
    0.925,
    {
        0.775: 'You took (x_t - x0) / sigma_t for the noise; the signal in x_t is alpha_t x0, not x0.',
        0.4: 'You brought the estimate to level s and forgot to mix the noise back in.',
        1.1: 'You mixed the noise back in at the old level, sigma_t.',
        0.875: 'That is the estimated noise. The step mixes it with the estimated data.',
    },
    rtol=0.005,
)
question(
    '30-d',
    'Three quarters of the pairs at a place move with -2, one quarter with +2. What is the velocity of the flow there?',
    -1.0,
    {
        0.0: 'You averaged the two velocities; more pairs have the first.',
        -2.0: 'That is the velocity of most pairs; the flow moves with the average of all.',
        1.0: 'The size is right, the sign is not: most pairs move with -2.',
    },
)
question(
    '30-e',
    'How many questions do 12 steps of Heun ask, down to zero noise?',
    23.0,
    {
        24.0: 'The last step arrives where there is no noise to divide by: it falls back on Euler, with one question.',
        12.0: 'Heun asks at both ends of a step.',
        13.0: 'You let all questions but the first be shared between steps; Heun asks at the end of an Euler guess, which is another place than the next start.',
    },
    rtol=0.001,
)
question(
    '30-f',
    'The error of a method of order two is 0.08 with 50 steps. What is it with 200?',
    0.005,
    {
        0.02: 'That is order one: four times the steps, a quarter of the error.',
        0.04: 'That would be order one half.',
        0.01: 'Four times the steps, not three or two: two halvings of the step, each of which divides the error by four.',
    },
)
question(
    '30-g',
    'Where does a walk from 1000 in three steps of 1000 // 3 stop?',
    1.0,
    {
        0.0: 'Count: 1000 // 3 is 333, and three times that is 999.',
        999.0: 'That is how far the walk goes. At which level does it stop?',
        334.0: 'That is after two steps.',
    },
)
question(
    '30-h',
    'Which two samplers walk alike on the straight schedule and apart on the cosine?',
    'a',
    {
        'b': 'Heun asks a second time, where the Euler step ends, and goes on with the mean of both answers: another path on either schedule.',
        'c': 'The ancestral step draws fresh noise and DDIM does not, so they part on every schedule.',
    },
)
