"""Graders of the chapter on sound."""

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def plane(g):
    x = torch.randn(9, 2, generator=g, dtype=torch.float64)
    x[0] = 0
    return x


def nearest(x, A):
    angle = torch.atan2(x[:, 1], x[:, 0])
    return A[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


question(
    '76-a',
    'The highest frequency, in Hz, that 8,000 samples a second hold.',
    4000,
    {
        8000: 'A sine of 8,000 Hz is met at the same place of its period each time: it looks like silence. Two samples a period are the least.',
        16000: 'It is half of the rate, not twice.',
    },
)
question(
    '76-b',
    'How many real numbers of the STFT there are for each sample.',
    2.7,
    {
        1.3: 'A complex number is two real ones.',
        5.3: 'The coefficients above half the rate mirror those below and are not kept: 257 of 512.',
        1.0: 'The windows overlap, so there are more.',
    },
)
question(
    '76-c',
    'By how many decibels a magnitude rises when it doubles.',
    6.0,
    {
        3.0: 'That is a doubling of the power, the square of the magnitude: 10 times its logarithm.',
        2.0: 'A decibel is 20 times the logarithm to base 10.',
        20.0: 'That is ten times the magnitude.',
    },
)
question(
    '76-d',
    'What Griffin-Lim makes of decibels.',
    'b',
    {
        'a': 'Ratios of magnitudes have become differences: what was a hundredth is now nearly as large.',
        'c': 'It takes any array for magnitudes, which is why the mistake is so common.',
    },
)
question(
    '76-e',
    'What a share above that of real recordings says.',
    'b',
    {
        'a': 'The judge reads the clearest samples best; a model that only says one clear seven is read always.',
        'c': 'A judge that misses one real recording in a hundred may be right in all that is easy.',
    },
)

add(
    '76-1',
    'Give the weights of a triangular band.',
    cases=lambda g: (u(g, 0, 4000, (40,)), (float(u(g, 100, 500)), float(u(g, 600, 1000)), float(u(g, 1200, 3000)))),
    truth=lambda f, edges: torch.minimum((f - edges[0]) / (edges[1] - edges[0]), (edges[2] - f) / (edges[2] - edges[1])).clamp(min=0),
    mistakes={
        'Outside of its edges a band weighs nothing; yours goes below zero.': lambda f, edges: torch.minimum(
            (f - edges[0]) / (edges[1] - edges[0]), (edges[2] - f) / (edges[2] - edges[1])
        ),
        'You took the larger of the two lines, not the smaller: that is no triangle.': lambda f, edges: torch.maximum(
            (f - edges[0]) / (edges[1] - edges[0]), (edges[2] - f) / (edges[2] - edges[1])
        ).clamp(min=0),
        'Each side has its own length: divide the falling one by high - peak.': lambda f, edges: torch.minimum(
            (f - edges[0]) / (edges[1] - edges[0]), (edges[2] - f) / (edges[1] - edges[0])
        ).clamp(min=0),
    },
)
add(
    '76-2',
    'Go to the nearest point with given magnitudes.',
    cases=lambda g: (plane(g), u(g, 0.1, 2, (9,))),
    truth=nearest,
    mistakes={
        'You scaled X by A; its own magnitude has to go first.': lambda x, A: x * A[:, None],
        'You dropped the phases: all points lie on the real axis.': lambda x, A: torch.stack([A, 0 * A], 1),
        'The phase is turned round: keep its sign.': lambda x, A: nearest(x, A) * torch.tensor([1.0, -1.0]),
        'Where X is zero it has no phase, and 0 / 0 is not a number: take the phase 0 there.': lambda x, A: A[:, None] * x / x.norm(dim=1, keepdim=True),
    },
)
add(
    '76-3',
    'Give the gain of the exact denoiser at one frequency.',
    cases=lambda g: (u(g, 0.01, 4, (7,)), u(g, 0.1, 1), u(g, 0.1, 2)),
    truth=lambda S, alpha, sigma: alpha * S / (alpha**2 * S + sigma**2),
    mistakes={
        'That is the share of the signal in the noisy power: it gives alpha x0, so divide by alpha.': lambda S, alpha, sigma: (
            alpha**2 * S / (alpha**2 * S + sigma**2)
        ),
        'Noise has the power sigma squared.': lambda S, alpha, sigma: alpha * S / (alpha**2 * S + sigma),
        'The signal comes scaled by alpha: alpha is missing above the line.': lambda S, alpha, sigma: S / (alpha**2 * S + sigma**2),
        'That is what stays unknown, not the gain.': lambda S, alpha, sigma: S * sigma**2 / (alpha**2 * S + sigma**2),
    },
)
add(
    '76-4',
    'Give the picture of the same sound, louder.',
    cases=lambda g: (u(g, -1, 1, (4, 5)), float(u(g, 1, 20))),
    truth=lambda p, decibels: (p + decibels / 30).clamp(-1, 1),
    mistakes={
        'The picture has no values above 1 or below -1: clip it.': lambda p, decibels: p + decibels / 30,
        'From -1 to 1 are 60 decibels: divide by 30.': lambda p, decibels: (p + decibels / 60).clamp(-1, 1),
        'In decibels louder is a sum, not a product.': lambda p, decibels: (p * 10 ** (decibels / 20)).clamp(-1, 1),
        'The picture rises when the sound is louder.': lambda p, decibels: (p - decibels / 30).clamp(-1, 1),
    },
)
