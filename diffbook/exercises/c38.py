"""Graders of the chapter on multistep solvers."""

import torch

from diffbook.exercise import add, question


def u(g, low, high):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64)


def state(g, n):
    return torch.randn(n, 3, generator=g, dtype=torch.float64).unbind(0)


def clocks(g):
    "Two values of lambda, the second larger, and noise scales that fall; alpha = sigma e^lambda need not preserve variance."
    lam_t = u(g, -1.5, 0.5)
    sigma_t = u(g, 0.7, 1.4)
    return lam_t, lam_t + u(g, 0.3, 1.2), sigma_t, sigma_t * u(g, 0.3, 0.8), *state(g, 2)


def first(lam_t, lam_s, sigma_t, sigma_s, x, x0):
    return sigma_s / sigma_t * x - sigma_s * torch.exp(lam_s) * torch.expm1(lam_t - lam_s) * x0


add(
    '38-1',
    'Take the first-order step in the clock lambda = log(alpha / sigma).',
    cases=clocks,
    truth=first,
    mistakes={
        'The factor of x0 is alpha_s (1 - e^-h), with alpha_s = sigma_s e^lambda_s; you left out alpha_s.': lambda a, b, p, q, x, x0: (
            q / p * x - torch.expm1(a - b) * x0
        ),
        'You took alpha at t: after multiplying by sigma_s, sigma_s e^lambda_s is alpha_s.': lambda a, b, p, q, x, x0: (
            q / p * x - p * torch.exp(a) * torch.expm1(a - b) * x0
        ),
        'The sign of h: sampling raises lambda, so h = lambda_s - lambda_t is positive and e^-h is below one.': lambda a, b, p, q, x, x0: (
            q / p * x - q * torch.exp(b) * torch.expm1(b - a) * x0
        ),
        'You took log SNR for lambda: it is half of it, and here you are given lambda itself.': lambda a, b, p, q, x, x0: (
            q / p * x - q * torch.exp(b) * torch.expm1((a - b) / 2) * x0
        ),
        'The state is multiplied by sigma_s / sigma_t; you have it upside down.': lambda a, b, p, q, x, x0: (
            p / q * x - q * torch.exp(b) * torch.expm1(a - b) * x0
        ),
        'That multiplies the state by alpha_s / alpha_t: it belongs to the form with the estimate of the noise.': lambda a, b, p, q, x, x0: (
            q * torch.exp(b) / (p * torch.exp(a)) * x - q * torch.exp(b) * torch.expm1(a - b) * x0
        ),
        'The sign of the second term: alpha_s (1 - e^-h) is positive, the estimate pulls towards itself.': lambda a, b, p, q, x, x0: (
            q / p * x + q * torch.exp(b) * torch.expm1(a - b) * x0
        ),
        'You wrote h for 1 - e^-h: they agree for short steps only.': lambda a, b, p, q, x, x0: q / p * x + q * torch.exp(b) * (b - a) * x0,
    },
)


def three(g):
    "Scales at u, t and s, ever less noisy."
    alpha_u, sigma_u = u(g, 0.2, 0.5), u(g, 1.0, 1.5)
    alpha_t, sigma_t = alpha_u * u(g, 1.2, 1.8), sigma_u * u(g, 0.5, 0.9)
    return alpha_t, sigma_t, alpha_t * u(g, 1.2, 1.8), sigma_t * u(g, 0.4, 0.9), alpha_u, sigma_u, *state(g, 3)


def second(at, st, a, s, au, su, x, x0, before, share=lambda h, g: h / (2 * g), scale=1.0):
    lam = lambda p, q: scale * torch.log(p / q)
    h, gone = lam(a, s) - lam(at, st), lam(at, st) - lam(au, su)
    h0 = torch.log(a / s) - torch.log(at / st)
    return s / st * x - a * torch.expm1(-h0) * (x0 + share(h, gone) * (x0 - before))


add(
    '38-2',
    'Take the second-order step with the estimate of the step before.',
    cases=three,
    truth=second,
    mistakes={
        'That is the first-order step: the estimate before is not used.': lambda *v: second(*v, share=lambda h, g: 0 * h),
        'The line runs on for half a step, h / 2, not for a whole one.': lambda *v: second(*v, share=lambda h, g: h / g),
        'You took half of the difference, as if all steps were equal: it must be scaled by h over the length of the step before.': lambda *v: second(
            *v, share=lambda h, g: 0.5
        ),
        'The ratio of the steps is upside down: this step over the one before.': lambda *v: second(*v, share=lambda h, g: g / (2 * h)),
        'The line runs the wrong way: the estimate now, minus the one before.': lambda *v: second(*v, share=lambda h, g: -h / (2 * g)),
        'The slope must be multiplied by h / 2; you added the slope itself.': lambda *v: second(*v, share=lambda h, g: 1 / g),
        'The slope is taken over the length of the step before; you divided by this one.': lambda *v: second(*v, share=lambda h, g: h / 2),
        'That is the exact weight of the line, h - 1 + e^-h (exercise 38-3). It is of order two as well; here the common factor 1 - e^-h is asked for.': lambda *v: (
            second(*v, share=lambda h, g: (h + torch.expm1(-h)) / (-torch.expm1(-h) * g))
        ),
        'The line is drawn in time or in sigma? In this chapter its clock is lambda = log(alpha / sigma), and you used sigma / alpha.': lambda at, st, a, s, au, su, x, x0, before: (
            second(at, st, a, s, au, su, x, x0, before, share=lambda h, g: (st / at - s / a) / (2 * (su / au - st / at)))
        ),
    },
)


def bracket(h, h1, h2, t=lambda a, b: (1 - a) * b / 2, r=lambda h, h1: h / (2 * h1)):
    third = t(h / (3 * (h + h1)), h * (h + h1) / (h1 * (h1 + h2)))
    return torch.stack([1 + r(h, h1) + third, -r(h, h1) - (1 + h1 / h2) * third, third * h1 / h2])


add(
    '38-6',
    'Give the weights of Adams and Bashforth on three uneven steps, newest first.',
    cases=lambda g: (u(g, 0.3, 1.0), u(g, 1.1, 2.0), u(g, 2.1, 3.0)),
    truth=bracket,
    mistakes={
        'Those are the weights for even steps, 23/12, -16/12, 5/12: these steps are not even.': lambda h, h1, h2: torch.stack(
            [23 / 12 + 0 * h, -16 / 12 + 0 * h, 5 / 12 + 0 * h]
        ),
        'The bracket closes too late: (1 - ab) / 2 where (1 - a) b / 2 belongs. Your weights are right on even steps only.': lambda h, h1, h2: bracket(
            h, h1, h2, t=lambda a, b: (1 - a * b) / 2
        ),
        'That is order two: exact for lines, and the third value is not used.': lambda h, h1, h2: bracket(h, h1, h2, t=lambda a, b: 0 * a),
        'You multiplied by h: the weights are asked for in units of h, so their sum is one.': lambda h, h1, h2: h * bracket(h, h1, h2),
        'The oldest comes first in your answer; the newest is asked for first.': lambda h, h1, h2: bracket(h, h1, h2).flip(0),
        'The two steps behind are exchanged: h1 is the one that ended now.': lambda h, h1, h2: bracket(h, h2, h1),
        'The ratio of steps in the slope is upside down: the step ahead over the one behind.': lambda h, h1, h2: bracket(
            h, h1, h2, r=lambda h, h1: h1 / (2 * h)
        ),
    },
)

question(
    '38-a',
    'The length in lambda of a step that halves noise over signal.',
    0.6931,
    {
        -0.6931: 'lambda rises while we sample: the signal grows against the noise.',
        1.3863: 'That is the change of the log signal-to-noise ratio; lambda is half of it.',
        0.3466: 'lambda is the logarithm of alpha / sigma itself, which doubles.',
        2.0: 'That is the factor; lambda is its logarithm.',
    },
)
question(
    '38-b',
    'The share of the weight on the second half of a step from 0 to 2.',
    0.7311,
    {
        0.5: 'That would be an even weight; e^lambda grows.',
        0.2689: 'That is the share of the first half.',
        0.6321: 'That is 1 - 1/e, over e^2 alone; the whole integral is e^2 - 1.',
    },
    rtol=0.01,
)
question(
    '38-c',
    'Where the first-order step to the data leads.',
    0.4,
    {
        1.0: 'The state is multiplied by sigma_s / sigma_t, which is zero.',
        1.4: 'The state is multiplied by sigma_s / sigma_t, which is zero.',
        0.0: 'The step is endless in lambda, so 1 - e^-h is one, not zero.',
    },
)
question(
    '38-d',
    'The estimate foreseen for the middle of the step.',
    0.8,
    {
        1.1: 'That is the end of the step; the method looks half a step ahead.',
        0.65: 'You took half of the difference, as if both steps were equally long; this one is twice the last.',
        0.5: 'That holds the estimate, as DDIM does.',
        0.2: 'The line runs on, not back.',
    },
)
question(
    '38-e',
    'Pairs in the memory after ten steps.',
    1,
    {
        10: 'Each step replaces the list; it does not append.',
        2: 'A line goes through two values, but one of them is the present one, which is just being asked for.',
        9: 'Each step replaces the list; it does not append.',
    },
    rtol=0.001,
)
question(
    '38-f',
    'The error with four times the steps.',
    0.0025,
    {
        0.01: 'That is order one: four times the steps, a quarter of the error.',
        0.02: 'That is order one half. Order two divides by the square of the factor.',
        0.000625: 'That is order three; order two divides by 4^2 = 16.',
    },
)
question(
    '38-g',
    'The last step but one on even times, in lambda.',
    0.6931,
    {
        0.0: 'It does not shrink: sigma halves, however small it is.',
        -0.6931: 'lambda rises towards the data.',
        2.0: 'That is the factor between the levels; lambda is a logarithm.',
        1.3863: 'That is the change of the log signal-to-noise ratio, twice lambda.',
    },
)
question(
    '38-h',
    'Steps of Heun for 31 calls.',
    16,
    {
        15: 'Those are 29 calls: the last step asks once.',
        31: 'Heun asks twice a step.',
        15.5: 'The last step asks once, so the number comes out whole.',
        62: 'Twice the calls a step, so half of the steps.',
    },
    rtol=0.001,
)
question(
    '38-i',
    'Steps of 2M for the price of 20 steps of 2S.',
    40,
    {
        20: 'A step of 2M asks once, a step of 2S twice.',
        10: 'The other way round: 2M is the cheaper one.',
        39: 'Here each step of 2S asks twice, the last one too.',
    },
    rtol=0.001,
)
