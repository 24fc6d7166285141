"""Graders of the chapter on distillation."""

import torch

from diffbook.exercise import add, question


def numbers(g, *shape):
    return torch.rand(shape, generator=g, dtype=torch.float64)


def a_step(g):
    x_t, x_s = torch.randn(2, 5, generator=g, dtype=torch.float64)
    angles = 0.2 + 1.1 * numbers(g, 2).sort().values
    t, s = angles[1] + 0.1, angles[0]
    return x_t, x_s, torch.cos(t), torch.sin(t), torch.cos(s), torch.sin(s)


def estimate(x_t, x_s, alpha_t, sigma_t, alpha_s, sigma_s, ratio=None):
    r = sigma_s / sigma_t if ratio is None else ratio
    return (x_s - r * x_t) / (alpha_s - r * alpha_t)


add(
    '62-1',
    'Give the estimate of x0 with which one DDIM step leads from x_t to x_s.',
    cases=a_step,
    truth=estimate,
    mistakes={
        'You kept the signal and changed the noise: the ratio is of the sigmas, sigma_s / sigma_t, since a step keeps the noise.': lambda xt, xs, at, st, as_, ss: (
            estimate(xt, xs, at, st, as_, ss, as_ / at * 0.999)
        ),
        'The ratio is upside down: sigma_s / sigma_t.': lambda *a: estimate(*a, ratio=a[3] / a[5]),
        'That is the estimate at x_s with no noise: divide only after you have taken away the noise that x_t tells of.': lambda xt, xs, at, st, as_, ss: (
            xs / as_
        ),
        'The denominator lacks its second term: x_t holds x0 as well, alpha_t of it.': lambda xt, xs, at, st, as_, ss: (xs - ss / st * xt) / as_,
        'The two states are exchanged.': lambda xt, xs, at, st, as_, ss: estimate(xs, xt, at, st, as_, ss),
    },
)


def two_estimates(g):
    real, fake = torch.randn(2, 5, generator=g, dtype=torch.float64)
    u = 0.2 + 1.1 * numbers(g, 1)[0]
    return real, fake, torch.cos(u), 0.8 * torch.sin(u)


add(
    '62-2',
    'Give the gradient of KL(q_t || p_t) with respect to an output of the generator.',
    cases=two_estimates,
    truth=lambda real, fake, alpha, sigma: alpha**2 / sigma**2 * (fake - real),
    mistakes={
        'The sign is wrong. The gradient points away from the data, for a descent step subtracts it: fake minus real.': lambda r, f, a, s: (
            a**2 / s**2 * (r - f)
        ),
        'That is the gradient with respect to x_t. An output moves its noisy version by alpha: one more factor.': lambda r, f, a, s: a / s**2 * (f - r),
        'Estimates are not scores yet: each score is (alpha x0 - x_t) / sigma**2.': lambda r, f, a, s: f - r,
        'A score has sigma squared below, not sigma.': lambda r, f, a, s: a**2 / s * (f - r),
        'Only the factor alpha of the moving output is there; that of the score, alpha / sigma**2, is missing.': lambda r, f, a, s: a * (f - r),
    },
)


def two_laws(g):
    return tuple(torch.softmax(2 * numbers(g, 2, 6), -1))


def value(p, q, d):
    return (p * torch.log(d)).sum() + (q * torch.log(1 - d)).sum()


add(
    '62-3',
    "Give the best value of the discriminator's objective.",
    cases=two_laws,
    truth=lambda p, q: value(p, q, p / (p + q)),
    mistakes={
        'You gave the JS divergence. The value is twice that, minus log 4.': lambda p, q: (value(p, q, p / (p + q)) + torch.tensor(4.0).double().log()) / 2,
        'That is 2 JS: you forgot log 4, the price of guessing when both are alike.': lambda p, q: value(p, q, p / (p + q)) + torch.tensor(4.0).double().log(),
        'Your discriminator is for the outputs, q / (p + q): it takes data for outputs.': lambda p, q: value(p, q, q / (p + q)),
        'A discriminator that always says one half is not the best.': lambda p, q: value(p, q, 0 * p + 0.5),
        'You left out the second term, of the outputs.': lambda p, q: (p * torch.log(p / (p + q))).sum(),
    },
)


question(
    '62-a',
    'What the student is asked for when the two steps end at the data.',
    'c',
    {
        'a': 'The example only says where to ask; the target is made by the teacher.',
        'b': 'Only the place where the teacher arrives counts, and its last step arrives at its last estimate.',
    },
)
question(
    '62-b',
    'What the last student inherits, from 64 and from 128 steps.',
    (0.026, 0.013),
    {
        (0.026, 0.026): 'A finer teacher has a smaller error, and the student inherits that of its own teacher.',
        (0.026, 0.0065): 'A quarter would be order two, as of Heun; DDIM has order one.',
        (0.0, 0.0): 'A perfect student copies the teacher, errors and all.',
        (0.026, 0.052): 'More rounds add nothing if every student is perfect; more steps of the teacher take away.',
    },
)
question(
    '62-c',
    'Rounds from 1,024 steps to 4, and calls of the teacher for each example.',
    (8, 2),
    {
        (256, 2): 'Every round halves the steps: count the halvings.',
        (10, 2): 'Ten halvings lead to one step; stop at four.',
        (8, 1): 'The teacher takes two steps for one of the student.',
        (8, 3): 'The third call is that of the student.',
    },
    rtol=0.001,
)
question(
    '62-d',
    'The answer of a guided student, and its smallest loss.',
    (1.1, 0.0),
    {
        (1.4, 0.0): 'You began at the answer with the condition; here the scale 1 is no guidance, so begin at the one without.',
        (0.9, 0.0): 'That is the difference alone; add it to the answer without the condition.',
        (-0.4, 0.0): 'The difference leads from the answer without the condition to the one with it.',
        (1.1, 0.09): 'The student sees all that the target depends on, so no variance is left.',
    },
)
question(
    '62-e',
    'Where an output goes after one step.',
    0.56,
    {
        0.44: 'The gradient is fake minus real, and descent subtracts it.',
        0.6: 'The output is pulled by the difference of both denoisers, not to the estimate of one.',
        0.55: 'The pull is real minus fake; where the output stands does not enter.',
        1.1: 'That is a rate of one; here it is 0.1.',
    },
    rtol=0.005,
)
question(
    '62-f',
    'Which of two students that differ is broken.',
    'b',
    {'a': 'It was never asked to copy the map: judge it by its distribution.', 'c': 'Both may be perfect, each in what it was asked for.'},
)
