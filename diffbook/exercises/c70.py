"""Graders of the chapter on transformers for images."""

import torch

from diffbook.exercise import add, question


def normal(g, *shape):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def whole(g, low, high):
    return int(torch.randint(low, high, (), generator=g))


def sizes(g):
    patch = whole(g, 1, 5)
    return patch * whole(g, 4, 40), patch, 16 * whole(g, 2, 40)


def share(n, d):
    return 4 * n * d / (24 * d**2 + 4 * n * d)


add(
    '70-1',
    "Count the tokens, and attention's share of the work of a block.",
    cases=sizes,
    truth=lambda side, patch, width: ((side // patch) ** 2, share((side // patch) ** 2, width)),
    mistakes={
        'That is the number of tokens along one side: square it.': lambda side, patch, width: (side // patch, share(side // patch, width)),
        'The tokens are right. Scores and averages take 2 n d each for a token, 4 n d together.': lambda side, patch, width: (
            (side // patch) ** 2,
            (lambda n: 2 * n / (24 * width + 2 * n))((side // patch) ** 2),
        ),
        'The tokens are right. That is the ratio of the two parts; the share is one of their sum.': lambda side, patch, width: (
            (side // patch) ** 2,
            (side // patch) ** 2 / (6 * width),
        ),
        'Divide by the side of a patch before you square: side**2 / patch counts strips.': lambda side, patch, width: (
            side**2 // patch,
            share(side**2 // patch, width),
        ),
    },
)


def half_cases(g):
    norm = lambda h: (h - h.mean()) / h.std(correction=0)  # noqa: E731
    a = normal(g, 6, 6)
    return (normal(g, 6), norm, lambda y: torch.tanh(a @ y), *normal(g, 3, 6))


add(
    '70-2',
    'Write one half of a block with shift, scale and gate.',
    cases=half_cases,
    truth=lambda h, norm, layer, shift, scale, gate: h + gate * layer(norm(h) * (1 + scale) + shift),
    mistakes={
        'A scale of 0 must change nothing: multiply by 1 + scale.': lambda h, norm, layer, shift, scale, gate: h + gate * layer(norm(h) * scale + shift),
        'You exchanged shift and scale: in the six vectors the shift comes first, but it is added.': lambda h, norm, layer, shift, scale, gate: (
            h + gate * layer(norm(h) * (1 + shift) + scale)
        ),
        'You left out the path around: what the half makes is added to h.': lambda h, norm, layer, shift, scale, gate: (
            gate * layer(norm(h) * (1 + scale) + shift)
        ),
        'Shift and scale come after the norm: before it, it would take them away again.': lambda h, norm, layer, shift, scale, gate: (
            h + gate * layer(norm(h * (1 + scale) + shift))
        ),
        'The gate weighs what is added, not the sum: shut, it must hand on h.': lambda h, norm, layer, shift, scale, gate: (
            gate * (h + layer(norm(h) * (1 + scale) + shift))
        ),
        'A gate of 0 must shut: do not add 1 to it.': lambda h, norm, layer, shift, scale, gate: h + (1 + gate) * layer(norm(h) * (1 + scale) + shift),
        'What is added goes around the norm: add it to h, not to norm(h).': lambda h, norm, layer, shift, scale, gate: (
            norm(h) + gate * layer(norm(h) * (1 + scale) + shift)
        ),
    },
)


def turned(x, angle):
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([cos * x[0] - sin * x[1], sin * x[0] + cos * x[1]])


add(
    '70-3',
    'Give the score of a query and a key with rotary positions.',
    cases=lambda g: (
        normal(g, 2),
        normal(g, 2),
        torch.tensor(float(whole(g, 0, 9))).double(),
        torch.tensor(float(whole(g, 10, 20))).double(),
        0.1 + normal(g, 1)[0].abs(),
    ),
    truth=lambda q, k, m, n, w: q @ turned(k, w * (n - m)),
    mistakes={
        'The sign: turn the key by w (n - m), or the query by w (m - n).': lambda q, k, m, n, w: q @ turned(k, w * (m - n)),
        'That is a turn by the sum of the places; the turns of query and key work against each other.': lambda q, k, m, n, w: q @ turned(k, w * (n + m)),
        'You turned the key only: the query stands at m, and turns too.': lambda q, k, m, n, w: q @ turned(k, w * n),
        'You forgot the rate: the angle is w times the difference of the places.': lambda q, k, m, n, w: q @ turned(k, n - m),
        'That multiplies the plain score by a cosine; turning also mixes the two channels with a sine.': lambda q, k, m, n, w: (q @ k) * torch.cos(w * (n - m)),
    },
)

question(
    '70-a',
    'Count the tokens of a latent, and the numbers in each.',
    (4096, 64),
    {
        (64, 64): 'Squares of 2 by 2 places of the latent: 64 in a row, and as many rows.',
        (4096, 32): 'The tokens are right. Each square has 2 x 2 places of 16 channels.',
        (4096, 16): 'The tokens are right. Each of the four places in a square has 16 numbers.',
        (262144, 12): 'The picture has 1024 pixels a side; its latent has 128 by 128 places, and the network sees the latent.',
        (8192, 64): 'You divided by 2 once: there are 64 rows of 64.',
    },
    rtol=1e-3,
)
question(
    '70-b',
    'Say what a transformer without positions draws.',
    'b',
    {
        'a': 'Nothing that it computes knows which square is next to which: a shuffled face is as good to it as a face.',
        'c': 'Within a square all pixels are in order, and squares still read each other: they look like pieces of faces.',
    },
)
question(
    '70-c',
    'Say what one half of a block adds.',
    0.2,
    {
        2: 'That is what attention gets and returns; the gate weighs it.',
        0: 'The scale multiplies by 1 + s, so that zero changes nothing.',
        0.15: 'You added the shift before you scaled.',
        2.2: 'That is the new h if h was 2; asked is what is added.',
    },
)
question(
    '70-d',
    'Say when blocks learn whose gates and last maps are both zero.',
    0,
    {
        3: 'With the gate alone at zero they wake at the third step. Here the derivative in the gate is zero too.',
        2: 'The gate gets a gradient from what is behind it, and that is zero as well.',
    },
)
question(
    '70-e',
    'Say how the work grows when patches are halved.',
    (4, 16),
    {
        (2, 4): 'Half the side: twice as many squares along both axes.',
        (4, 8): 'The first is right. With four times as many tokens, the part with n squared grows by 4 squared.',
        (16, 256): 'That is as if tokens grew by a factor of 16; they grow by 4.',
        (16, 16): 'The second is right. What each token does by itself grows with their number.',
    },
)
