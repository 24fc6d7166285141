"""Graders of the chapter on inverse problems."""

import torch

from diffbook.exercise import add, question


def numbers(g, n):
    return torch.rand(n, generator=g, dtype=torch.float64)


def bend(x, gain):
    "A denoiser that is no straight line: its slope depends on where it is asked."
    return torch.tanh(gain * x) + 0.2 * x


def slope(x, gain):
    return gain * (1 - torch.tanh(gain * x) ** 2) + 0.2


def measuring(g):
    u = numbers(g, 4)
    x, y, a = torch.randn(3, 4, generator=g, dtype=torch.float64).unbind(0)
    gain = 0.5 + u[0]
    return (lambda v: bend(v, gain)), x, y, a, 0.4 + 0.4 * u[1], 0.3 + 0.6 * u[2], 0.3 + 0.5 * u[3]


def pulled(denoise, x, y, a, alpha, sigma, std, through=True, factor=None, power=2):
    at = x.clone().requires_grad_()
    x0 = denoise(at)
    (gradient,) = torch.autograd.grad(-((y - a * x0) ** 2).sum() / (2 * std**power), at if through else x0)
    return (x0 + (sigma**2 / alpha if factor is None else factor) * gradient).detach()


def of_norm(denoise, x, y, a, alpha, sigma, std, factor=None):
    at = x.clone().requires_grad_()
    x0 = denoise(at)
    (gradient,) = torch.autograd.grad(-(y - a * x0).norm(), at)
    return (x0 + (sigma**2 / alpha if factor is None else factor) * gradient).detach()


def misfit_of_state(denoise, x, y, a, alpha, sigma, std):
    x0 = denoise(x)
    return x0 + sigma**2 / alpha * a * (y - a * x) / std**2


add(
    '46-1',
    'Steer an estimate towards a measurement y = a x0 + std noise, as DPS does.',
    cases=measuring,
    truth=pulled,
    mistakes={
        'Your gradient is taken at x0. It must be taken at x_t, through the denoiser: the slope of the denoiser is missing.': lambda *a: pulled(
            *a, through=False
        ),
        'The factor sigma**2 / alpha is missing: it turns a gradient of log p(y | x_t) into a shift of x0.': lambda *a: pulled(*a, factor=1.0),
        'The factor is sigma**2 / alpha, not sigma**2.': lambda d, x, y, a, alpha, sigma, std: pulled(d, x, y, a, alpha, sigma, std, factor=sigma**2),
        'The factor is sigma**2 / alpha, not sigma / alpha.': lambda d, x, y, a, alpha, sigma, std: pulled(d, x, y, a, alpha, sigma, std, factor=sigma / alpha),
        'The sign is wrong: the estimate moves away from the measurement.': lambda d, x, y, a, alpha, sigma, std: pulled(
            d, x, y, a, alpha, sigma, std, factor=-(sigma**2) / alpha
        ),
        'You are off by two: log p(y | x_t) holds *half* the squared misfit over std**2.': lambda d, x, y, a, alpha, sigma, std: pulled(
            d, x, y, a, alpha, sigma, std, factor=2 * sigma**2 / alpha
        ),
        'The misfit is divided by the variance std**2, not by std.': lambda *a: pulled(*a, power=1),
        'You took the gradient of the norm of the misfit, as the algorithm of the DPS paper does with a step size of its own. '
        'log p(y | x_t) holds the squared norm over 2 std**2.': of_norm,
        'You took the gradient of the norm of the misfit, and no factor: log p(y | x_t) holds the squared norm over 2 std**2, '
        'and sigma**2 / alpha turns its gradient into a shift of x0.': lambda *z: of_norm(*z, factor=1.0),
        'You compared the measurement with the noisy state. It speaks of the clean picture: compare it with the estimate.': misfit_of_state,
    },
    rtol=1e-5,
)


def walks(g):
    "Log-weights, states, the means of a step without and with a guide, its deviation, and how well old and new states fit."
    log_weight, before, after = torch.randn(3, 5, generator=g, dtype=torch.float64)
    plain, pull, z = torch.randn(3, 5, 3, generator=g, dtype=torch.float64)
    std = 0.3 + 0.5 * numbers(g, 1)[0]
    pulled = plain + 0.5 * pull
    return log_weight, pulled + std * z, plain, pulled, std, before, after


def reweighed(w, moved, plain, pulled, std, before, after, power=2, half=2, back=1.0, sign=1.0, old=1.0):
    miss = lambda mean: ((moved - mean) ** 2).sum(1) / (half * std**power)
    return old * w + after - back * before + sign * (miss(pulled) - miss(plain))


add(
    '46-2',
    'Weigh walks that were guided: what the guide changed, and how much better they fit.',
    cases=walks,
    truth=lambda *a: reweighed(*a),
    mistakes={
        'The guide is weighed the wrong way round: a state that is likely under the guide and unlikely without it counts less.': lambda *a: reweighed(
            *a, sign=-1.0
        ),
        'What the old state fitted was counted before: subtract `before`, or it is counted at every step.': lambda *a: reweighed(*a, back=0.0),
        'Fit is a gain, `after - before`: yours rewards the walks that fit worse than they did.': lambda w, m, p, q, s, b, a: reweighed(w, m, p, q, s, a, b),
        'The weight of the walk so far is lost: add to it.': lambda *a: reweighed(*a, old=0.0),
        'The misfits are divided by twice the variance, 2 std**2, not by std**2.': lambda *a: reweighed(*a, half=1),
        'The misfits are divided by the variance: std**2, not std.': lambda *a: reweighed(*a, power=1),
        'The guide is not made up for: the density of the step without it, over that with it, is missing.': lambda *a: reweighed(*a, sign=0.0),
        'These are weights; the exercise asks for their logarithms.': lambda *a: reweighed(*a).exp(),
    },
)


question(
    '46-a',
    'The mean squared error of a perfect drawing, where the best guess has 0.04.',
    0.08,
    {
        0.04: 'That is the error of the mean. A drawing scatters around the mean as the truth does, and both scatters count.',
        0.16: 'The error is doubled, not multiplied by four: variances of independent numbers add up.',
        0.02: 'A drawing cannot beat the best guess in the mean square.',
        0.0: 'A drawing is one of the pictures that fit, and the truth is another.',
    },
)
question(
    '46-b',
    'How many times longer the step of DPS is than that of PiGDM.',
    97,
    {
        96: 'PiGDM divides by r**2 + tau**2, not by r**2 alone.',
        1 / 97: 'DPS divides by the smaller variance, so its step is the longer one.',
        9.7: 'The misfit is divided by variances: tau**2 is 0.01.',
        9.6: 'The misfit is divided by variances: tau**2 is 0.01, and PiGDM has r**2 + tau**2.',
    },
    rtol=0.005,
)
question(
    '46-c',
    'Why samples are wrong although late estimates are right: a, b or c.',
    'a',
    {
        'b': 'Late all methods agree with the posterior, with any size of step. Ask what was decided before.',
        'c': 'The exact denoiser of the posterior needs no such training either. It is the gradient that is approximate, and when?',
    },
)
question(
    '46-d',
    'The ratio of the error of one drawing to that of the mean of four.',
    1.6,
    {
        2.0: 'That is the ratio to the exact mean. A mean of four drawings still scatters around it.',
        4.0: 'Only the scatter of the drawings shrinks by four; the truth scatters as before.',
        1.88: 'That is for sixteen drawings.',
        1.75: 'Divide 2 by 1 + 1/4.',
        8.0: 'The scatter of the truth around the mean remains whatever you average.',
    },
    rtol=0.01,
)
