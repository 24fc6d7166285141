"""Graders of the chapter on a first model."""

import math

import torch

from diffbook.exercise import add, question

question(
    '08-a',
    'How often is the network called by walk(net, 5, steps=100)?',
    100,
    {
        500: 'All five points go through the network together: a batch is one call.',
        5: 'Five is the number of points; they are asked about together, and once in each step.',
        1: 'One call gives one guess, a blur. Look at the loop: it asks again in each step.',
        101: 'There are 101 times and 100 steps between them; the network is called once a step.',
    },
    rtol=1e-6,
)
question(
    '08-b',
    'What is the loss of a network that answers zero?',
    1,
    {
        0: 'Zero would be a perfect answer. The network says zero, the noise is not zero: average its square.',
        2: 'That is the sum over both coordinates; the loss is the mean over them.',
        0.5: 'The noise has standard deviation 1, so its square has the mean 1.',
    },
)
question(
    '08-c',
    'Leave out the fresh noise and keep the smaller share of the found noise: how much noise is there?',
    'a',
    {
        'b': 'The right amount is sigma_s^2; without the last term only sigma_s^2 - kappa^2 is there.',
        'c': 'A term with its variance is left out and nothing takes its place.',
    },
)
question(
    '08-d',
    'All points lie in one heap, as data do there: which number notices?',
    'b',
    {
        'a': 'A stray is far from every centre; these points are all close to one.',
        'c': 'Only one of them: no point is far from a centre, so there are no strays.',
    },
)
question(
    '08-e',
    'What is the mean squared length of a noise of 784 numbers?',
    784,
    {
        28: 'That is the length; the question asks for its square.',
        1: 'That is the mean square of one number; there are 784.',
        0: 'The mean of the noise is zero; its squares are not negative and do not cancel.',
    },
    rtol=1e-6,
)
question(
    '08-f',
    'The data are three times as wide and the noise is the same: how much signal is in the mixture?',
    'c',
    {
        'a': 'The signal is alpha_t times the data, and the data grew.',
        'b': 'The shares alpha_t and sigma_t are the same, but what they multiply is not.',
    },
)
question(
    '08-g',
    'What must change for pictures, besides the data?',
    'a',
    {
        'b': 'The loss is the mean squared error of each number; it does not care how many there are.',
        'c': 'Schedule, mixture, loss and step treat each number by itself and stay.',
    },
)


def scales(t):
    return torch.cos(t * math.pi / 2), torch.sin(t * math.pi / 2)


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def noise_of(x, x0, t):
    alpha, sigma = scales(t)
    return (x - alpha * x0) / sigma


add(
    '08-1',
    'Find the noise that goes with a mixture and a guess of the data.',
    cases=lambda g: (*torch.randn(2, 5, generator=g, dtype=torch.float64), u(g, 0.1, 0.9)),
    truth=noise_of,
    mistakes={
        'The data stand in the mixture with the share alpha: subtract alpha times x0.': lambda x, x0, t: (x - x0) / scales(t)[1],
        'The noise stands in the mixture with the share sigma: divide by it.': lambda x, x0, t: x - scales(t)[0] * x0,
        'You divided by alpha: that is for the data. The noise has the share sigma.': lambda x, x0, t: (x - scales(t)[0] * x0) / scales(t)[0],
        'The shares are exchanged: the cosine belongs to the data.': lambda x, x0, t: noise_of(x, x0, 1 - t),
        'The sign: mixture minus data, not data minus mixture.': lambda x, x0, t: -noise_of(x, x0, t),
        'You took t in degrees of its own: the angle is t times pi / 2.': lambda x, x0, t: (x - torch.cos(t) * x0) / torch.sin(t),
        'You multiplied by sigma where the noise was multiplied already: divide.': lambda x, x0, t: (x - scales(t)[0] * x0) * scales(t)[1],
    },
)


def fresh(t, s):
    (alpha, sigma), (alpha_s, sigma_s) = scales(t), scales(s)
    return sigma_s / sigma * torch.sqrt(1 - (alpha / alpha_s) ** 2)


def late_and_early(g):
    s = u(g, 0.05, 0.5)
    return s + u(g, 0.1, 0.4), s


add(
    '08-2',
    'Give the amount of fresh noise in a step from t back to s.',
    cases=late_and_early,
    truth=fresh,
    mistakes={
        'That is the noise of the way forward, sqrt(beta). Looking back, x0 speaks too, and less is unknown: times sigma_s / sigma_t.': lambda t, s: torch.sqrt(
            1 - (scales(t)[0] / scales(s)[0]) ** 2
        ),
        'You have the variance; kappa multiplies the noise, so take the root.': lambda t, s: fresh(t, s) ** 2,
        'The ratio of the sigmas is upside down: it is smaller than one.': lambda t, s: fresh(t, s) * (scales(t)[1] / scales(s)[1]) ** 2,
        'The ratio of the alphas must be squared: shares of variance add, shares of a point do not.': lambda t, s: (
            scales(s)[1] / scales(t)[1] * torch.sqrt(1 - scales(t)[0] / scales(s)[0])
        ),
        'That is the share of the noise that was found, the other part: sqrt(sigma_s^2 - kappa^2).': lambda t, s: torch.sqrt(
            scales(s)[1] ** 2 - fresh(t, s) ** 2
        ),
        'That is all of the noise at time s; a part of it is the noise that the network found.': lambda t, s: scales(s)[1],
    },
)
