"""Graders of the chapter on multistep solvers."""

import torch

from diffbook.exercise import add


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
