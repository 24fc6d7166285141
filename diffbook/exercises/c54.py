"""Graders of the chapter on Stable Diffusion."""

import torch

from diffbook.exercise import add, question


def _guided_step(g: torch.Generator) -> tuple:
    "A network that hears the row and the prompt, a state, two rows, a scale, a table."
    u = torch.rand(5, generator=g, dtype=torch.float64)
    table = torch.cumprod(1 - torch.linspace(0.005, 0.05 + 0.05 * u[0].item(), 40, dtype=torch.float64), 0)
    f = lambda z, row, told: torch.tanh((1 + u[1]) * z + 0.05 * row) + (0.3 + u[2]) * z * told + u[3] * told
    i = int(torch.randint(20, 39, (1,), generator=g))
    return f, torch.randn(6, generator=g, dtype=torch.float64), i, i - 10, 2 + 5 * u[4].item(), table


def _step(f, z, i, j, s, table, row=0, mix=None, power=0.5, keep=None, rows=(0, 0)):
    away, eps = f(z, i + row, False), f(z, i + row, True)
    eps = away + s * (eps - away) if mix is None else mix(away, eps, s)
    a, b = table[i + rows[0]], table[j + rows[1]]
    z0 = (z - (1 - a) ** power * eps) / a**power
    return b**power * z0 + (1 - b if keep is None else 1 - keep(a, b)) ** power * eps


add(
    '54-1',
    'Take one guided DDIM step from row i to row j of a published table.',
    cases=_guided_step,
    truth=_step,
    mistakes={
        'The sign of guidance is wrong: you walk from the prompt to nothing. It is away + s (eps - away).': (
            lambda *a: _step(*a, mix=lambda away, eps, s: eps + s * (away - eps))
        ),
        'You guide by 1 + s: that is the convention of the paper, w = s - 1. Here s = 1 is off.': (
            lambda *a: _step(*a, mix=lambda away, eps, s: (1 + s) * eps - s * away)
        ),
        'You did not guide: only the answer with the prompt is used.': (lambda *a: _step(*a, mix=lambda away, eps, s: eps)),
        'You told the network i + 1. Published networks are told the row, counted from 0.': lambda *a: _step(*a, row=1),
        'You told the network i - 1. The row that is told is the row whose alpha_bar is used: i.': (lambda *a: _step(*a, row=-1)),
        'You read the table one row too early: alpha_bar[i] already counts from 0.': (lambda *a: _step(*a, rows=(-1, -1))),
        'You used alpha_bar for the scale of the signal; the scale is its root, and so for the noise.': (lambda *a: _step(*a, power=1.0)),
        'You mixed the noise back with the level of row i. The step arrives at row j.': (lambda *a: _step(*a, keep=lambda a, b: a)),
    },
)


def _nine_parts(g: torch.Generator) -> tuple:
    "Latents, a picture, a mask with a ragged edge, an encoder of eight by eight cells, a scale."
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)
    weights, k = draw(4, 3, 8, 8) / 8, 0.1 + torch.rand(1, generator=g, dtype=torch.float64).item() / 2
    mask = torch.zeros(1, 24, 16, dtype=torch.float64)
    top, left = (int(v) for v in torch.randint(3, 10, (2,), generator=g))
    mask[:, top : top + 12, left:] = 1
    encode = lambda x: torch.nn.functional.conv2d(x[None], weights, stride=8)[0] + 0.5
    return draw(4, 3, 2), draw(3, 24, 16), mask, encode, k


def _nine(z, picture, mask, encode, k, cells=None, order=(0, 1, 2)):
    small = mask[:, ::8, ::8] if cells is None else cells(mask)
    parts = [z, small, k * encode(picture * (1 - mask))]
    return torch.cat([parts[n] for n in order])


add(
    '54-2',
    'Lay beside the latents what a U-Net that fills holes sees.',
    cases=_nine_parts,
    truth=_nine,
    mistakes={
        'The mask is inverted in both places: it is 1 where the picture is to be painted.': (lambda z, p, m, f, k: _nine(z, p, 1 - m, f, k)),
        'You hid the known part and left the hole: encode picture * (1 - mask).': (lambda z, p, m, f, k: torch.cat([z, m[:, ::8, ::8], k * f(p * m)])),
        'The mask that the network sees is inverted: 1 means paint.': (lambda z, p, m, f, k: torch.cat([z, 1 - m[:, ::8, ::8], k * f(p * (1 - m))])),
        'You forgot the scale: latents enter the U-Net multiplied by k.': lambda z, p, m, f, k: _nine(z, p, m, f, 1.0),
        'You divided by the scale; that is for the way out. Latents enter multiplied by k.': (lambda z, p, m, f, k: _nine(z, p, m, f, 1 / k)),
        'You did not hide the hole: the network would see what it is to paint.': (lambda z, p, m, f, k: torch.cat([z, m[:, ::8, ::8], k * f(p)])),
        'You masked the latents and not the picture. Encode the picture with the hole made grey.': (
            lambda z, p, m, f, k: torch.cat([z, m[:, ::8, ::8], k * f(p) * (1 - m[:, ::8, ::8])])
        ),
        'The order is wrong: first the latents, then the mask, then the picture.': (lambda *a: _nine(*a, order=(0, 2, 1))),
        'Averaging blurs the mask; published networks saw the first pixel of each cell.': (
            lambda *a: _nine(*a, cells=lambda m: torch.nn.functional.avg_pool2d(m, 8))
        ),
    },
)

question(
    '54-a',
    'The share of the decoder in the multiplications of 30 guided steps.',
    0.0432,
    {
        0.0829: 'With guidance the network is asked twice in each step: 60 calls.',
        0.0452: 'That is the decoder by the network; the share is of both together.',
        0.957: 'That is the share of the network.',
    },
)
question(
    '54-b',
    'What two calls with one seed and different prompts have in common.',
    'a',
    {'b': 'In the first step already the network attends to different prompts.', 'c': 'The seed decides the noise with which both begin.'},
)
question(
    '54-c',
    'Guidance of scale 3 between the guesses 0.2 and 0.5.',
    1.1,
    {
        1.4: 'The way begins at the guess without the prompt: 0.2 + 3 * 0.3. Where the scale is counted from 0, yours is scale 4.',
        0.9: 'You left out where the way begins, at 0.2.',
        0.5: 'That is scale 1, no guidance.',
        -0.4: 'You walk from the prompt to nothing.',
        1.0: 'That is after it is held to the range of pictures.',
    },
)
question(
    '54-d',
    'By how many nats the log signal-to-noise ratio is too high for latents of standard deviation 2.',
    1.386,
    {
        0.693: 'The ratio is one of variances: the logarithm of 2 counts twice.',
        -1.386: 'A stronger signal makes the ratio larger.',
        4.0: 'That is the factor; its logarithm is asked.',
    },
)
question(
    '54-e',
    'The time of the last of a thousand betas, and what the network is given there.',
    (1000, 999),
    {
        (999, 999): 'In this book t counts the betas that have acted: all thousand.',
        (999, 998): 'In this book t counts the betas that have acted: all thousand.',
        (1000, 1000): 'The network counts the rows of its table from 0.',
        (999, 1000): 'The other way round: t is one more than the row.',
    },
    rtol=0.0001,
)
question(
    '54-f',
    'The shape of the starting noise of four pictures of 512 by 768 pixels.',
    (4, 4, 64, 96),
    {
        (4, 3, 512, 768): 'Those are the pixels; the sampler works on latents.',
        (4, 3, 64, 96): 'Latents have four channels.',
        (4, 4, 96, 64): 'Height first.',
        (1, 4, 64, 96): 'Four pictures, each with a noise of its own.',
    },
    rtol=0.001,
)
question(
    '54-g',
    'What a negative prompt does at scale 1.',
    'a',
    {'b': 'At scale 1 its factor is 1 - 1 = 0.', 'c': 'That would be scale 0.'},
)
question(
    '54-h',
    'The share of the mean that comes out where signal and noise are equal along it.',
    0.293,
    {
        0.5: 'Variances add: the root of two stands below, not two.',
        0.707: 'That is the share that is lost.',
        0.0: 'The root is of the sum of signal and noise, so the quotient is less than one.',
    },
)
question(
    '54-i',
    'The merges in a vocabulary of 49,408 pieces.',
    48894,
    {49150: 'Each byte stands in it twice: once inside a word and once at its end.', 48896: 'You left out the two marks.', 49406: 'You left out the bytes.'},
    rtol=0.00001,
)
