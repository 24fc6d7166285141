"""Graders of the chapter on the argument."""

import math

import torch

from diffbook.exercise import add, question

question(
    '09-a',
    'The noise is 2 with probability 1/4 and -1 with probability 3/4: what does the best network answer?',
    -0.25,
    {
        0.5: 'That is the middle of the two; weigh each by its probability.',
        -1: 'That is the more probable noise; a squared error wants the mean.',
        0.25: 'The sign: three quarters of the weight lie on -1.',
        1.25: 'You weighed them the other way round: the noise 2 has the probability 1/4.',
    },
)
question(
    '09-b',
    'What is the best guess of x0 at a peak of p_t at x = 0.6, where alpha_t is 0.5?',
    1.2,
    {
        0.6: 'The guess of the noise is 0, so x is alpha_t times the data: divide by 0.5.',
        0.3: 'You multiplied by alpha_t; x is alpha_t times x0, so divide.',
        0: 'Zero is the slope, and the guess of the noise; what is the guess of the data?',
    },
)
question(
    '09-c',
    'By which factor does the variance that one step leaves out change when the number of steps is doubled?',
    0.25,
    {
        0.5: 'That is the factor for all steps together. One step leaves out b^2, and b halves.',
        2: 'There are twice as many steps, but the question is about one of them.',
        4: 'Upside down: smaller steps leave out less.',
        1: 'b is of the order of beta, which is half as large now.',
    },
)
question(
    '09-d',
    'Half of the mixtures at a place have velocity 2, half -4: with which velocity moves the particle?',
    -1,
    {
        3: 'That is the mean of the sizes; velocities have signs.',
        -2: 'That is the sum; take the mean.',
        1: 'The sign: -4 outweighs 2.',
        -4: 'No side wins: all particles at the place move with the mean.',
    },
)
question(
    '09-e',
    'How many nats does the start cost at most for 3,072 numbers, if e^lambda_T is 1e-4?',
    0.1536,
    {
        0.3072: 'You forgot the half before the logarithm.',
        5e-5: 'That is the bound for one number; a picture has 3,072.',
        1e-4: 'That is e^lambda_T. The bound is half of log(1 + e^lambda_T), for each of 3,072 numbers.',
        0.2216: 'These are bits; the question asks for nats.',
    },
    rtol=0.03,  # two digits are enough
)
question(
    '09-f',
    'Which step breaks first with an absolute error?',
    'a',
    {
        'b': 'Step 2 speaks of the mean and stays true; but does the network still know the mean?',
        'c': 'The end of the way to noise does not depend on a loss.',
    },
)


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def normal(g, *shape):
    return torch.randn(shape, generator=g, dtype=torch.float64)


def circle(t):
    return torch.cos(t * math.pi / 2), torch.sin(t * math.pi / 2)


add(
    '09-1',
    'Give the slope of the log density and the mean of the data from the mean noise.',
    cases=lambda g: (normal(g, 5), normal(g, 5), *circle(u(g, 0.1, 0.9))),
    truth=lambda x, eps, a, s: (-eps / s, (x - s * eps) / a),
    mistakes={
        'The sign of the slope: noise points away from where the data are dense.': lambda x, eps, a, s: (eps / s, (x - s * eps) / a),
        'The mean of the data is right; the slope is -eps / sigma, one sigma and not its square.': lambda x, eps, a, s: (-eps / s**2, (x - s * eps) / a),
        'The mean of the data is right; the slope must be divided by sigma.': lambda x, eps, a, s: (-eps, (x - s * eps) / a),
        'The mean of the data is right; the slope must be divided by sigma, not multiplied.': lambda x, eps, a, s: (-eps * s, (x - s * eps) / a),
        'The slope is right; the data stand in x with the share alpha: divide by it.': lambda x, eps, a, s: (-eps / s, x - s * eps),
        'The slope is right; the noise stands in x with the share sigma.': lambda x, eps, a, s: (-eps / s, (x - eps) / a),
    },
)


def back(x, x0, v, alpha, sigma, alpha_s, sigma_s):
    beta = 1 - (alpha / alpha_s) ** 2
    a, b = alpha * sigma_s**2 / (alpha_s * sigma**2), alpha_s * beta / sigma**2
    return a, b, beta, sigma_s**2 * beta / sigma**2


def late_and_early(g):
    s = u(g, 0.05, 0.5)
    return normal(g, 5), normal(g, 5), u(g, 0.2, 1.0), *circle(s + u(g, 0.1, 0.4)), *circle(s)


def stepped(variance):
    def answer(x, x0, v, *scales):
        a, b, beta, kappa2 = back(x, x0, v, *scales)
        return a * x + b * x0, variance(v, b, beta, kappa2)

    return answer


add(
    '09-2',
    'Give the exact mean and variance of a step back from the mean and variance of the data.',
    cases=late_and_early,
    truth=stepped(lambda v, b, beta, kappa2: kappa2 + b**2 * v),
    mistakes={
        'The mean is right; the variance is that of the fresh noise alone, as a sampler takes it. Add b^2 v.': stepped(lambda v, b, beta, kappa2: kappa2),
        'The mean is right; a factor b of the data becomes b^2 of their variance.': stepped(lambda v, b, beta, kappa2: kappa2 + b * v),
        'The mean is right; v is multiplied by b^2 before it is added.': stepped(lambda v, b, beta, kappa2: kappa2 + v),
        'The mean is right; the fresh noise has the variance sigma_s^2 beta / sigma_t^2: beta is that of the way forward.': stepped(
            lambda v, b, beta, kappa2: beta + b**2 * v
        ),
        'The mean is right; you added deviations: variances add.': stepped(lambda v, b, beta, kappa2: (kappa2.sqrt() + b * v.sqrt()) ** 2),
    },
)


def velocity(x, x0, t):
    alpha, sigma = circle(t)
    return math.pi / 2 * (alpha * (x - alpha * x0) / sigma - sigma * x0)


add(
    '09-3',
    'Give the mean velocity from the mean of the data.',
    cases=lambda g: (normal(g, 5), normal(g, 5), u(g, 0.1, 0.9)),
    truth=velocity,
    mistakes={
        'The chain rule: the angle is t times pi / 2, so the derivatives carry the factor pi / 2.': lambda x, x0, t: velocity(x, x0, t) / (math.pi / 2),
        'The derivative of the cosine is minus the sine: the sign of the data term.': lambda x, x0, t: (
            math.pi / 2 * (circle(t)[0] * (x - circle(t)[0] * x0) / circle(t)[1] + circle(t)[1] * x0)
        ),
        'That is the velocity of the way back; time runs from data to noise.': lambda x, x0, t: -velocity(x, x0, t),
        'You put x in the place of the noise: eps = (x - alpha x0) / sigma.': lambda x, x0, t: math.pi / 2 * (circle(t)[0] * x - circle(t)[1] * x0),
        'That is the noise minus the data, the velocity on the straight line; here alpha and sigma are a cosine and a sine.': lambda x, x0, t: (
            (x - circle(t)[0] * x0) / circle(t)[1] - x0
        ),
    },
)
