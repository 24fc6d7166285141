"""Graders of the chapter on EDM."""

import torch

from diffbook.exercise import add, question


def u(g, low, high):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64)


def scales(g):
    "Alpha, sigma and the standard deviation of the data; alpha is not one, and nothing preserves variance."
    return u(g, 0.3, 0.9), u(g, 0.2, 3.0), u(g, 0.4, 1.6)


def three(a, b, s, n2=lambda a, b, s: a**2 * s**2 + b**2):
    n2 = n2(a, b, s)
    return a * s**2 / n2, s * b / torch.sqrt(n2), 1 / torch.sqrt(n2)


add(
    '37-1',
    'Give c_skip, c_out and c_in for any alpha and sigma.',
    cases=scales,
    truth=three,
    mistakes={
        'That is right for alpha = 1 only. The signal in x_t has the variance alpha^2 s^2.': lambda a, b, s: three(1.0, b, s),
        'c_skip lacks its alpha: it is the covariance of x0 and x_t, alpha s^2, over the variance of x_t.': lambda a, b, s: (
            three(a, b, s)[0] / a,
            *three(a, b, s)[1:],
        ),
        'c_skip has one alpha too many: it multiplies x_t, and alpha c_skip x_t would be the best guess of alpha x0.': lambda a, b, s: (
            a * three(a, b, s)[0],
            *three(a, b, s)[1:],
        ),
        'c_out is the root of what the line leaves open; you gave its square.': lambda a, b, s: (three(a, b, s)[0], three(a, b, s)[1] ** 2, three(a, b, s)[2]),
        'c_in divides by the standard deviation of x_t; you divided by its variance.': lambda a, b, s: (*three(a, b, s)[:2], three(a, b, s)[2] ** 2),
        'You multiplied by the standard deviation of x_t where c_in divides by it.': lambda a, b, s: (*three(a, b, s)[:2], 1 / three(a, b, s)[2]),
        'You added standard deviations. Of independent parts the variances add.': lambda a, b, s: three(a, b, s, lambda a, b, s: (a * s + b) ** 2),
        'In c_out stands sigma s over the standard deviation of x_t; you left out s, as a consistency model did in public.': lambda a, b, s: (
            three(a, b, s)[0],
            three(a, b, s)[1] / s,
            three(a, b, s)[2],
        ),
    },
)


def spectrum(g):
    return torch.rand(5, generator=g, dtype=torch.float64) * 2 + 0.01, u(g, 0.3, 2.0)


def reducible(v, r, s2=lambda v: v.mean()):
    return 1 - (1 + r**2 / s2(v)) * (v / (v + r**2)).mean()


add(
    '37-2',
    'Give the share of the loss that a linear network can learn, from the variances of the data and a noise level.',
    cases=spectrum,
    truth=reducible,
    edges=((torch.full((4,), 0.7, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)),),
    mistakes={
        'That is the floor. What can be learned is one minus the floor.': lambda v, r: 1 - reducible(v, r),
        'That is one minus the error of x0. The loss on F is that error divided by c_out^2.': lambda v, r: 1 - (v * r**2 / (v + r**2)).mean(),
        'The mean of the variances is s^2; you took their sum.': lambda v, r: reducible(v, r, lambda v: v.sum()),
        'The mean of the variances is s^2 already; you squared it again.': lambda v, r: reducible(v, r, lambda v: v.mean() ** 2),
        'You averaged standard deviations; s^2 is the mean of the variances.': lambda v, r: reducible(v, r, lambda v: v.sqrt().mean() ** 2),
        'Average over the axes after the fraction, not before: with the mean variance in its place nothing is left to learn.': lambda v, r: reducible(
            v.mean().expand(5), r
        ),
        'The noise level enters squared, as a variance.': lambda v, r: 1 - (1 + r / v.mean()) * (v / (v + r)).mean(),
        'You added the axes up; the loss is a mean over them.': lambda v, r: 1 - (1 + r**2 / v.mean()) * (v / (v + r**2)).sum(),
    },
)


def churned(g):
    "Excess, variance of the data, level, share of the rise, S_noise."
    return u(g, -0.2, 0.4), u(g, 0.2, 1.5), u(g, 0.3, 2.0), u(g, 0.1, 0.5), u(g, 1.01, 1.1)


def after(e, v, r, gamma, S, power=2):
    up = (1 + gamma) * r
    return (e * (v + r**2) + (S**power - 1) * (up**2 - r**2)) / (v + up**2)


add(
    '37-3',
    'Give the excess of the variance after one churned step with an exact way down.',
    cases=churned,
    truth=after,
    edges=(tuple(torch.tensor([0.3, 1.0, 1.0, 0.25, 1.0], dtype=torch.float64)),),
    mistakes={
        'S_noise multiplies the noise, so its square multiplies the variance.': lambda e, v, r, g, S: after(e, v, r, g, S, 1),
        'Gamma raises the level, r to (1 + gamma) r; you raised its square.': lambda e, v, r, g, S: after(e, v, r, (1 + g) ** 0.5 - 1, S),
        'That is the excess without churn: the fresh noise makes a part of the old error forgotten.': lambda e, v, r, g, S: e,
        'You took S^2 for S^2 - 1: what would be right anyway is no excess.': lambda e, v, r, g, S: (
            e * (v + r**2) / (v + ((1 + g) * r) ** 2) + S**2 * (((1 + g) * r) ** 2 - r**2) / (v + ((1 + g) * r) ** 2)
        ),
        'The two weights are exchanged: the old excess keeps the share (s^2 + r^2) / (s^2 + r^2 raised).': lambda e, v, r, g, S: (
            (e * (((1 + g) * r) ** 2 - r**2) + (S**2 - 1) * (v + r**2)) / (v + ((1 + g) * r) ** 2)
        ),
        'The variance of the data is missing: at level r the state has the variance s^2 + r^2.': lambda e, v, r, g, S: after(e, 0 * v, r, g, S),
        'The fresh noise has the variance r_up^2 - r^2, not (gamma r)^2.': lambda e, v, r, g, S: (
            (e * (v + r**2) + (S**2 - 1) * (g * r) ** 2) / (v + ((1 + g) * r) ** 2)
        ),
    },
)

add(
    '37-4',
    'Give the share of the old average that a power-law average keeps at an update.',
    cases=lambda g: (torch.randint(1, 500, (), generator=g).double(), u(g, 0.5, 17.0)),
    truth=lambda j, gamma: (j + 1) / (j + gamma + 2),
    edges=(tuple(torch.tensor([0.0, 3.0], dtype=torch.float64)),),
    mistakes={
        'You counted updates from one; the first has the number 0.': lambda j, gamma: j / (j + gamma + 1),
        'That profile falls with the exponent gamma - 1: the share that is new must be (gamma + 1) / (j + gamma + 2).': lambda j, gamma: (
            (j + 1) / (j + gamma + 1)
        ),
        'That is the share of the new weights; the rest is kept.': lambda j, gamma: (gamma + 1) / (j + gamma + 2),
        'That is a plain running mean, which knows no gamma.': lambda j, gamma: (j + 1) / (j + 2),
        'That keeps a share that never grows, so its memory is a number of updates and not a share of the run.': lambda j, gamma: 1 / (gamma + 2) + 0 * j,
        'You are one exponent too high: the product would fall as i^(gamma + 1).': lambda j, gamma: (j + 1) / (j + gamma + 3),
    },
)

question(
    '37-a',
    'c_skip and c_out where noise and data have the standard deviation 2.',
    (0.5, 2**0.5),
    {
        (0.5, 2.0): 'That is the square of c_out: 16 / 8. Take the root.',
        (0.5, 0.7071): 'That is c_out for noise and data of standard deviation 1; it grows with them.',
        (0.7071, 1.4142): 'c_skip is a quotient of variances, 4 / 8, not of standard deviations.',
        (1.0, 1.4142): 'A skip of one would keep all the noise. Half of the variance that is seen is noise.',
    },
)
question(
    '37-b',
    'The best answer of the network on independent Gaussian data.',
    0.0,
    {
        1.0: 'One is the variance of the target, not the best answer. What does the regression line leave open that could still be guessed?',
        0.5: 'That is c_skip where noise and data are equally strong. The network is asked for what the line leaves open.',
    },
)
question(
    '37-c',
    'The first loss at high noise for data of standard deviation 0.25 and a wrapper that believes 0.5.',
    0.25,
    {
        4.0: 'Upside down: the true variance stands above, the believed one below.',
        0.5: 'That is a quotient of standard deviations; the loss is a square.',
        1.0: 'So it is at low noise, where the target is the noise. At high noise the target is x0 / s.',
        0.0625: 'That is the variance of the data; the target is x0 / s, so divide by the square of s.',
    },
)
question(
    '37-d',
    'Whether a loss of 0.9 after training is bad.',
    'c',
    {
        'a': 'A tenth may be all that there is to learn: what is the floor at this level?',
        'b': 'The floor may be far below 0.9; then nearly all is still to be learned.',
    },
)
question(
    '37-e',
    'Mean and standard deviation of the draw for a reducible loss that is flat from -3 to 1.',
    (-1.0, 4 / 12**0.5),
    {
        (-1.0, 2.0): 'Two is half of the width. The standard deviation of a uniform distribution is its width over the root of 12.',
        (-1.0, 4.0): 'Four is the width. The standard deviation of a uniform distribution is its width over the root of 12.',
        (-1.0, 4 / 3): 'That is the variance, 16 / 12. Take the root.',
        (-2.0, 4 / 12**0.5): 'That adds the ends; the mean lies in the middle of them.',
    },
    rtol=0.04,  # two digits are enough
)
question(
    '37-f',
    'The share of the loss that a linear network learns, for variances 1.8 and 0.2 at noise level 1.',
    0.1905,
    {
        0.8095: 'That is the floor; what can be learned is the rest.',
        0.0: 'So it would be if both variances were one: the average stands outside the fraction, not inside.',
        0.5952: 'You left out the factor 1 + sigma^2 / s^2, which turns the error of x0 into that of F.',
        -0.619: 'The sum over the axes is to be divided by their number, two.',
    },
)
question(
    '37-g',
    'P_mean for data of standard deviation 1, from -1.2 for 0.5.',
    -0.5069,
    {
        -1.2: 'The number counts levels in absolute units; data twice as wide hides under noise twice as strong.',
        -1.8931: 'The other way: wider data is still seen under more noise, so the mean rises.',
        -0.6: 'A factor moves the logarithm by a sum: add log 2.',
        -2.4: 'A factor moves the logarithm by a sum: add log 2.',
        -0.2: 'You added the difference of the standard deviations or more; add the logarithm of their ratio.',
        -0.899: 'That is the logarithm to base 10; these are natural ones.',
    },
)
