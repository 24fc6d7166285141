"""Graders of the chapter on unCLIP."""

import torch
import torch.nn.functional as F

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


add(
    '73-1',
    'Give the cosine between what a prior draws and the true embedding.',
    cases=lambda g: (lambda r2: (r2, u(g, 0.2, 0.9) * (1 - r2)))(u(g, 0.2, 0.8)),
    truth=lambda r2, k2: r2 / (r2 + k2) ** 0.5,
    mistakes={
        'That is the cosine of the mean, which adds no noise; yours makes the vector longer without pointing better.': lambda r2, k2: r2**0.5,
        'That is the cosine of an honest draw, with k2 = 1 - r2; here k2 may be smaller.': lambda r2, k2: r2 + 0 * k2,
        'The length is the root of the sum of the variances.': lambda r2, k2: r2 / (r2 + k2),
        'What they share is the mean, of variance r2; the true embedding has length one, in units of the root of d.': lambda r2, k2: (r2 / (r2 + k2)) ** 0.5,
    },
)


def ends(g):
    return (*F.normalize(torch.randn(2, 6, generator=g, dtype=torch.float64), dim=1), u(g, 0.2, 0.8))


def arc(a, b, s, turn=lambda s, omega: (torch.sin((1 - s) * omega), torch.sin(s * omega))):
    omega = torch.acos((a * b).sum())
    one, two = turn(s, omega)
    return (one * a + two * b) / torch.sin(omega)


add(
    '73-2',
    'Walk the arc between two unit vectors.',
    cases=ends,
    truth=arc,
    mistakes={
        'That is the straight line, which runs through the inside of the sphere: the result is too short.': lambda a, b, s: (1 - s) * a + s * b,
        'Of length one, but at another speed: a straight line, pushed out to the sphere, is fastest in the middle.': lambda a, b, s: F.normalize(
            (1 - s) * a + s * b, dim=0
        ),
        'You walk from b to a: at s = 0 the point is a.': lambda a, b, s: arc(b, a, s),
        'The sines must be divided by that of the whole angle.': lambda a, b, s: arc(a, b, s) * torch.sin(torch.acos((a * b).sum())),
    },
)

add(
    '73-3',
    'Give the four tokens that the published decoder makes of an embedding.',
    cases=lambda g: (torch.randn(3, 20, generator=g, dtype=torch.float64),),
    truth=lambda numbers: numbers.reshape(len(numbers), -1, 4).mT,
    mistakes={
        'That reads the numbers token after token; in the published weights the four numbers of a channel lie together.': lambda numbers: numbers.reshape(
            len(numbers), 4, -1
        ),
        'The tokens are right, and the last two axes exchanged: four tokens come before their channels.': lambda numbers: numbers.reshape(len(numbers), -1, 4),
    },
)

add(
    '73-4',
    'Say where DDIM lands if all data is one point.',
    cases=lambda g: (lambda a, b: (u(g, -2, 2), torch.randn(4, generator=g, dtype=torch.float64), torch.cos(a), torch.sin(a), torch.cos(b), torch.sin(b)))(
        u(g, 1.1, 1.5), u(g, 0.1, 0.6)
    ),
    truth=lambda p, x, alpha, sigma, alpha_end, sigma_end: alpha_end * p + sigma_end * (x - alpha * p) / sigma,
    mistakes={
        'That is the point: it is reached only if no noise is left at the end of the grid.': lambda p, x, a, s, ae, se: p + 0 * x,
        'You took the start for the noise itself. DDIM believes that the state holds alpha p, and takes that off before it divides by sigma.': lambda p, x, a, s, ae, se: (
            ae * p + se * x
        ),
        'Divide what is left by sigma: the noise that it believes in has the scale of unit noise.': lambda p, x, a, s, ae, se: ae * p + se * (x - a * p),
    },
)

question(
    '73-a',
    'When two stages lose nothing although the decoder hears no caption.',
    'c',
    {
        'a': 'Only if the embedding carries all that the caption says of the picture; else that part is lost.',
        'b': 'That is enough, but more than is needed: a caption may hold things that say nothing about the picture.',
    },
)
question(
    '73-b',
    'The cosine of an honest draw, from that of the mean.',
    0.81,
    {0.9: 'That is the cosine of the mean; a draw adds spread that points anywhere.', 0.95: 'Square it: the mean has the root of R^2.', 0.19: 'That is the share that the caption does not explain.'},
)  # fmt: skip
question(
    '73-c',
    'What a prior gives whose mean and spread are both zero.',
    0,
    {1: 'The spread is zero too: whatever was drawn is multiplied by it.'},
)
question(
    '73-d',
    'Where a prior without a draw goes wrong.',
    'b',
    {
        'a': 'There the caption fixes the embedding, and its mean is all there is to draw.',
        'c': 'How wrong it is depends on what the caption leaves open.',
    },
)
question(
    '73-e',
    'The share of the arc with a cosine of 0.8.',
    0.41,
    {0.2: 'On the arc the angle goes evenly, not the cosine.', 0.64: 'That is the angle in radians; divide by the whole one.', 0.59: 'That is the share counted from the other end.'},
)  # fmt: skip
