"""Graders of the chapter on cascades."""

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def normal(g, *shape):
    return torch.randn(shape, generator=g, dtype=torch.float64)


def rising(g):
    first, second = u(g, 0.1, 0.7), u(g, 0.8, 1.4)  # angles of a variance-preserving schedule
    return normal(g, 6), first.cos(), first.sin(), second.cos(), second.sin(), normal(g, 6)


def up(std, scale=lambda a, s, b, t: b / a):
    return lambda x, a, s, b, t, eps: scale(a, s, b, t) * x + std(a, s, b, t) * eps


add(
    '72-1',
    'Go up from one noise level to a higher one.',
    cases=rising,
    truth=up(lambda a, s, b, t: (t**2 - (b * s / a) ** 2).sqrt()),
    mistakes={
        'You filled up the standard deviation. Variances of independent noises add: take the root of a difference of squares.': up(
            lambda a, s, b, t: t - b * s / a
        ),
        'That is all of the noise of the new level, though some is there already.': up(lambda a, s, b, t: t),
        'The noise that is there shrinks with the signal: it has the deviation alpha_t sigma_s / alpha_s when the fresh noise comes.': up(
            lambda a, s, b, t: (t**2 - s**2).sqrt()
        ),
        'You left the state as it is; its signal must shrink from alpha_s to alpha_t.': up(
            lambda a, s, b, t: (t**2 - (b * s / a) ** 2).sqrt(), lambda a, s, b, t: 1.0
        ),
        'That is the variance of the fresh noise; multiply by its root.': up(lambda a, s, b, t: t**2 - (b * s / a) ** 2),
    },
)

add(
    '72-2',
    'Pull an estimate into the range of pictures, with a cap.',
    cases=lambda g: (3 * normal(g, 12), u(g, 1.6, 2.4), float(u(g, 1.2, 1.5))),
    truth=lambda x0, q, cap: x0.clamp(-q.clamp(1, cap), q.clamp(1, cap)) / q.clamp(1, cap),
    mistakes={
        'That is plain clipping: the limit is the quantile, at most the cap.': lambda x0, q, cap: x0.clamp(-1, 1),
        'You left out the cap.': lambda x0, q, cap: x0.clamp(-q, q) / q,
        'Clipped at the limit, but not divided by it: values beyond 1 are left.': lambda x0, q, cap: x0.clamp(-q.clamp(1, cap), q.clamp(1, cap)),
        'You divided without clipping: the largest values are still outside.': lambda x0, q, cap: x0 / q.clamp(1, cap),
    },
)


def nats(m, b, v, s, noise=lambda s: s**2):
    p, q = b + noise(s), v + noise(s)
    return ((p + m**2) / q - 1 + (q / p).log()).sum() / 2


add(
    '72-3',
    'Give the divergence of a noised base from the noised data.',
    cases=lambda g: (u(g, -0.5, 0.5, (5,)), u(g, 0.2, 1.5, (5,)), u(g, 0.2, 1.5, (5,)), u(g, 0.3, 1.2)),
    truth=nats,
    mistakes={
        'That is the divergence without the noise.': lambda m, b, v, s: nats(m, b, v, 0 * s),
        'The noise adds its variance, s squared, not s.': lambda m, b, v, s: nats(m, b, v, s, lambda s: s),
        'You left the means out.': lambda m, b, v, s: nats(0 * m, b, v, s),
        'Base and data are exchanged: the divergence averages over what the base draws.': lambda m, b, v, s: nats(m, v, b, s),
        'Add up over the waves; that is their mean.': lambda m, b, v, s: nats(m, b, v, s) / 5,
        'You forgot the factor one half.': lambda m, b, v, s: 2 * nats(m, b, v, s),
    },
)

question(
    '72-a',
    'What the small copy leaves open.',
    11520,
    {
        768: 'That is how many the small copy fixes.',
        12288: 'That is all of them; each mean fixes one number of its square.',
        3840: 'Count the three colours too.',
    },
    rtol=0.001,
)
question(
    '72-b',
    'The divergence of a cascade, when that of its base is halved.',
    0.5,
    {1: 'The two divergences are equal, so they fall together.', 0.25: 'Nats add, they do not multiply: the two divergences are equal.'},
)
question(
    '72-c',
    'A colour that is too blue.',
    0.15,
    {
        0.3: 'That holds at level 0; here the upscaler shrinks the wave towards the mean of the data.',
        0.1: 'The noise has the variance s squared, 0.25.',
        0.2: 'Add the variances: 0.25 / (0.25 + 0.25).',
        0: 'Nothing is mended whole: the upscaler cannot know that the base is wrong.',
    },
)
question(
    '72-d',
    'Noise that was added before the units.',
    0.2,
    {
        0.1: 'The mapping doubles whatever is there, the noise too.',
        0.05: 'The mapping stretches, it does not shrink.',
        0.4: 'The standard deviation doubles; the variance would be four times as large.',
    },
)

question(
    '72-e',
    'Which level mends a colour.',
    'c',
    {
        'a': 'A low level replaces what is fine; a colour is as coarse as things get.',
        'b': 'A level that hides the colour hides the picture too, and the upscaler draws another one.',
    },
)
