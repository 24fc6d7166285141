"""Graders of the chapter on likelihood."""

import math

import torch

from diffbook.exercise import add, question


def u(g, low, high):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64)


def moment(g):
    "Scales, a falling alpha and a rising sigma, a trace, and dimensions."
    return u(g, 0.3, 0.9), u(g, 0.2, 0.9), u(g, -2.0, -0.5), u(g, 0.4, 2.0), u(g, 0.5, 4.0), int(u(g, 2, 9))


def divergence(a, s, da, ds, trace, d):
    return d * ds / s + (da - a * ds / s) * trace


add(
    '36-1',
    "Give the divergence of the velocity from the trace of the denoiser's Jacobian.",
    cases=moment,
    truth=divergence,
    mistakes={
        'That is for one dimension: x stands in the velocity with the factor sigma_dot / sigma, and its Jacobian there has the trace dims.': lambda a, s, da, ds, trace, d: (
            divergence(a, s, da, ds, trace, 1)
        ),
        'The estimate of the noise, (x - alpha x0) / sigma, depends on x0 too: you took its derivative as if it did not.': lambda a, s, da, ds, trace, d: (
            d * ds / s + da * trace
        ),
        'The estimate of the noise depends on x itself too: dims sigma_dot / sigma is missing.': lambda a, s, da, ds, trace, d: (da - a * ds / s) * trace,
        'The noise is (x - alpha x0) / sigma, with a minus before alpha x0.': lambda a, s, da, ds, trace, d: d * ds / s + (da + a * ds / s) * trace,
        'You forgot to divide by sigma: the noise is (x - alpha x0) / sigma.': lambda a, s, da, ds, trace, d: d * ds + (da - a * ds) * trace,
        'That is the divergence in the direction of sampling; here t rises.': lambda *v: -divergence(*v),
    },
)


def picture(g):
    d = int(u(g, 10, 800))
    return u(g, -2.0, 3.0) * d, d, int(u(g, 4, 200))


def in_bits(log_p, d, w):
    return -log_p / (d * math.log(2)) - math.log2(w)


add(
    '36-2',
    'Give bits per dimension from a log-density and the number of levels on [-1, 1].',
    cases=picture,
    truth=lambda log_p, d, k: in_bits(log_p, d, 2 / k),
    mistakes={
        'The sign of the offset: a bin is narrow, and its probability is the density times its width, so the bits grow by -log2(width).': lambda log_p, d, k: (
            in_bits(log_p, d, k / 2)
        ),
        'You added log2(levels): the bins lie on [-1, 1], so each is 2 / levels wide.': lambda log_p, d, k: in_bits(log_p, d, 1 / k),
        'You added 7 bits: that is right for 256 levels only.': lambda log_p, d, k: in_bits(log_p, d, 2 / 256),
        'The bins are 2 / levels wide on this scale; 2 / (levels - 1) belongs to 2k / (levels - 1) - 1.': lambda log_p, d, k: in_bits(log_p, d, 2 / (k - 1)),
        'That is in nats: divide the log-density by log 2, and take the logarithm of the width to base 2.': lambda log_p, d, k: -log_p / d - math.log(2 / k),
        'The log-density is in nats: divide it by log 2.': lambda log_p, d, k: -log_p / d - math.log2(2 / k),
        'That is for the whole picture: divide by the number of dimensions.': lambda log_p, d, k: in_bits(log_p, 1, 2 / k),
        'Bits are minus the logarithm of a probability: your log-density has the wrong sign.': lambda log_p, d, k: in_bits(-log_p, d, 2 / k),
        'A density has no bits: multiply it by the width of a bin first.': lambda log_p, d, k: in_bits(log_p, d, 1),
    },
)


def off(A):
    return A - torch.diag(A.diagonal())


add(
    '36-3',
    'Give the variance of e A e for random signs e and any square matrix.',
    cases=lambda g: (torch.randn(4, 4, generator=g, dtype=torch.float64),),
    truth=lambda A: off(A + A.T).square().sum() / 2,
    mistakes={
        'That holds for symmetric matrices. A_ij and A_ji multiply the same pair of signs, so they add up before you square.': lambda A: (
            2 * off(A).square().sum()
        ),
        'e_i^2 is 1 for signs, so the diagonal adds no variance: leave it out.': lambda A: (A + A.T).square().sum() / 2,
        'That is for symmetric matrices, and with the diagonal: for Gaussian directions.': lambda A: 2 * A.square().sum(),
        'Each pair i < j counts once, with (A_ij + A_ji)^2; you counted it twice.': lambda A: off(A + A.T).square().sum(),
        'You took A_ij and A_ji for independent terms: they multiply the same pair of signs.': lambda A: off(A).square().sum(),
        'That is the standard deviation: the variance is its square.': lambda A: (off(A + A.T).square().sum() / 2).sqrt(),
    },
)


def noisy(g):
    d, r = int(u(g, 2, 9)), u(g, 0.3, 2.0)
    return r, u(g, 0.1, 0.9) * d * r**2, d


add(
    '36-4',
    'Give the rate at which the entropy of x0 + r eps grows with r.',
    cases=noisy,
    truth=lambda r, m, d: d / r - m / r**3,
    mistakes={
        'That is the rate in r^2: the rate in r is 2 r times as much.': lambda r, m, d: (d / r - m / r**3) / (2 * r),
        'The sign: what the denoiser does not know keeps the paths together.': lambda r, m, d: d / r + m / r**3,
        "The covariance's trace is divided by r^3: r^2 from the denoiser's derivative, r from the velocity.": lambda r, m, d: d / r - m / r**2,
        'In dims dimensions the noise alone gives dims / r.': lambda r, m, d: 1 / r - m / r**3,
        'mmse is already summed over the dimensions.': lambda r, m, d: d / r - d * m / r**3,
        'That is the Fisher information, dims / r^2 - mmse / r^4: multiply by r.': lambda r, m, d: d / r**2 - m / r**4,
    },
)

question(
    '36-a',
    'The factor of the density.',
    math.exp(-0.6),
    {
        math.exp(0.6): 'Where neighbours part the density falls: minus the divergence.',
        -0.6: 'That is the change of the logarithm; the factor is its exponential.',
        0.4: 'That is what 1 - 0.6 gives; the change of the logarithm is 0.6.',
        math.exp(-1.5): 'The rate acts only for 0.4 of time.',
    },
)
question(
    '36-b',
    'The log-density of a data point.',
    -1.15,
    {
        -1.65: 'The collected divergence is added, not taken away: the data are denser than the noise where paths part.',
        0.25: 'That is what was collected; the noise at the end counts too.',
        0.1: 'Weigh each divergence by the time for which it lasts, and mind the log-density of the noise.',
    },
    rtol=0.01,
)
question(
    '36-c',
    'What lets two curves stop.',
    'c',
    {'a': 'The curves are flat: a finer tolerance changes nothing.', 'b': 'The same method takes the other two schedules to a billionth.'},
)
question(
    '36-d',
    'Per cent of variance too much.',
    1,
    {
        10: 'That is the ratio of the standard deviations; variances go with its square.',
        101: 'That is the true variance.',
        0.5: 'That is how much larger the standard deviation is.',
        0.01: 'In per cent.',
    },
)
question(
    '36-e',
    'Bits per dimension on another scale.',
    -2000 / (784 * math.log(2)) + math.log2(255),
    {
        -2000 / (784 * math.log(2)): 'That is a density, which may exceed 1. A code has no negative length: the width of a bin is missing.',
        8 - 2000 / (784 * math.log(2)): 'The levels stand 1/255 apart, so the offset is log2 of 255.',
        math.log2(127.5) - 2000 / (784 * math.log(2)): 'That is the offset for the scale from -1 to 1.',
        math.log2(255) - 2000 / 784: 'From nats to bits: divide by log 2.',
    },
    rtol=0.0005,
)
question(
    '36-f',
    'Pictures for half the interval.',
    512,
    {
        256: 'The standard error falls with the root of their number.',
        384: 'That is how many are to be added; the question is about all.',
        64: 'Fewer pictures make the interval wider.',
    },
    rtol=0.001,
)
