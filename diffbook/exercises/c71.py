"""Graders of the chapter on text and image in one attention."""

import math

import torch

from diffbook.exercise import add, question


def split(q, text, image, by=torch.exp, share=None):
    "Mix what two lists say to one query."
    z, o = zip(*((by(k @ q / math.sqrt(len(q))), v) for k, v in (text, image)))
    totals = [v.sum() for v in z]
    part = totals[0] / sum(totals) if share is None else share(totals)
    means = [(w[:, None] * v).sum(0) / w.sum() for w, v in zip(z, o)]
    return part, part * means[0] + (1 - part) * means[1]


def lists(g):
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)
    return draw(4), (draw(3, 4), draw(3, 2)), (draw(5, 4), draw(5, 2))


add(
    '71-1',
    'Give the share of the text and the output of one query in a joint attention.',
    cases=lists,
    truth=split,
    mistakes={
        'You divided each list by its own sum and added: that is self-attention plus cross-attention. The joint softmax has one sum.': lambda q, text, image: (
            split(q, text, image)[0],
            sum(split(q, (k, v), (k, v))[1] for k, v in (text, image)),
        ),
        'You left out the root of the width before the exponential.': lambda q, text, image: split(math.sqrt(len(q)) * q, text, image),
        'You counted tokens: that is the share when all scores are equal.': lambda q, text, image: split(
            q, text, image, share=lambda totals: torch.tensor(len(text[0]) / (len(text[0]) + len(image[0])), dtype=torch.float64)
        ),
        "That share is the image's; the text has the rest.": lambda q, text, image: split(q, text, image, share=lambda totals: totals[1] / sum(totals)),
        "Half and half is no softmax: the share is the text's part of the sum of exponentials.": lambda q, text, image: split(
            q, text, image, share=lambda totals: torch.tensor(0.5, dtype=torch.float64)
        ),
    },
)


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def beyond(a, k, m, sign=1.0, root=1.0):
    return torch.special.ndtr(m + sign * root * torch.log(k) - torch.logit(a))


add(
    '71-2',
    'Give the share of logit-normal times, shifted by k, that lie beyond a.',
    cases=lambda g: (u(g, 0.1, 0.95), u(g, 1.2, 5.0), u(g, -0.5, 0.5)),
    truth=beyond,
    mistakes={
        'You moved the mean the wrong way: a shift above one moves times towards the noise.': lambda a, k, m: beyond(a, k, m, -1.0),
        'That is the share below a; beyond it lies the rest.': lambda a, k, m: 1 - beyond(a, k, m),
        'You forgot the shift: it adds log k to the mean of the logits.': lambda a, k, m: beyond(a, torch.ones_like(k), m),
        'You added k; in logits the shift is log k, for it multiplies t / (1 - t).': lambda a, k, m: torch.special.ndtr(m + k - torch.logit(a)),
        'You compared a itself with the normal numbers; a stands for logit a.': lambda a, k, m: torch.special.ndtr(m + torch.log(k) - a),
        'That is half of the shift: not the variances but the scales have the ratio k.': lambda a, k, m: beyond(a, k, m, 1.0, 0.5),
    },
)


def packed(x, order='c p q'):
    from einops import rearrange

    return rearrange(x, f'b c (h p) (w q) -> b (h w) ({order})', p=2, q=2)


add(
    '71-3',
    'Pack a latent as FLUX does: 2 x 2 cells to a token, channel by channel.',
    cases=lambda g: (torch.randn(1, 3, 4, 6, generator=g, dtype=torch.float64),),
    truth=packed,
    mistakes={
        'That is the order of DiT and of what Stable Diffusion 3 answers: row, column, channel. FLUX writes all of one channel first.': lambda x: packed(x, 'p q c'),
        'Row and column within the square are exchanged.': lambda x: packed(x, 'c q p'),
        'The channel stands between row and column of the square; it comes first.': lambda x: packed(x, 'p c q'),
        'The tokens run down the columns; they run along the rows.': lambda x: packed(x).unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2),
        'That is four pictures side by side: the four places became rows of tokens. One token holds its own four cells.': lambda x: x.reshape(1, 3, 2, 2, 2, 3).permute(0, 2, 5, 1, 3, 4).reshape(1, 6, 12),
    },
)  # fmt: skip


def stays(x, mixed, w, gate, mlp):
    h = x + gate * (mixed @ w.T)
    return h + gate * mlp(h)


def block_case(g):
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)
    a = draw(4, 4)
    return draw(5, 4), draw(5, 4), draw(4, 4), u(g, 0.3, 0.9), lambda h: torch.tanh(h @ a)


add(
    '71-4',
    'Give what a stream makes of its tokens and of what the attention gave: way back, gate, MLP.',
    cases=block_case,
    truth=stays,
    mistakes={
        'You added the MLP to x: what the attention gave never reaches the stream.': lambda x, mixed, w, gate, mlp: x + gate * mlp(x + gate * (mixed @ w.T)),
        'The MLP reads the sum of x and what came back, not x alone.': lambda x, mixed, w, gate, mlp: x + gate * (mixed @ w.T) + gate * mlp(x),
        'You forgot the gates.': lambda x, mixed, w, gate, mlp: stays(x, mixed, w, torch.ones_like(gate), mlp),
        'You forgot the way back: the output of the attention is multiplied by w.': lambda x, mixed, w, gate, mlp: stays(x, mixed, torch.eye(4).double(), gate, mlp),
        'You multiplied by w from the wrong side: a layer of PyTorch holds one row for each number that it gives.': lambda x, mixed, w, gate, mlp: stays(x, mixed, w.T, gate, mlp),
        'There is one residual too many: x was in h already.': lambda x, mixed, w, gate, mlp: x + stays(x, mixed, w, gate, mlp),
    },
)  # fmt: skip

question(
    '71-a',
    'The share of the text at equal scores.',
    333 / 4429,
    {
        333 / 4096: 'The softmax runs over all tokens: divide by 333 + 4096.',
        4096 / 4429: "That is the image's share.",
        0.5: 'There is one softmax, not one for each kind.',
    },
    rtol=0.01,
)
question(
    '71-b',
    'The share of modulation in a block.',
    1 / 3,
    {
        1 / 6: 'Six of eighteen: both streams have their own, and both have eighteen.',
        0.5: 'Queries, keys and values are three of eighteen, the MLP eight.',
        2 / 3: 'That is all the rest.',
    },
    rtol=0.01,
)
question(
    '71-c',
    'What the waves see of a guidance scale.',
    3500,
    {3.5: 'It is multiplied by 1000 first, as the time is.', 0.0035: 'It is multiplied, not divided.'},
    rtol=0.001,
)
question(
    '71-d',
    'Tokens of a picture.',
    2048,
    {
        8192: 'That is the number of cells; four of them are one token.',
        131072: 'The latent has an eighth of the side.',
        32768: 'Channels are within a token.',
        4096: 'The picture is half as wide: 64 by 32 patches.',
    },
    rtol=0.001,
)
question(
    '71-e',
    'The share of logit-normal times in the middle half.',
    0.728,
    {0.864: 'That lies below 0.75; a part of it is below 0.25.', 0.136: 'That lies beyond 0.75.', 0.5: 'Of even times.'},
    rtol=0.01,
)
question(
    '71-f',
    'Which two arms differ in the network alone.',
    'b',
    {'a': 'These differ in network and in recipe; one cannot say which of the two it was.', 'c': 'These differ in the recipe alone.'},
)
question(
    '71-g',
    'The share beyond one half after a shift.',
    0.864,
    {0.136: 'That lies below one half.', 0.5: 'Without a shift.', 0.75: 'That is 3 / 4, where the median went; the question is for the share beyond one half.'},
    rtol=0.01,
)
question(
    '71-h',
    'The share of attention that falls on padding.',
    323 / 4429,
    {333 / 4429: 'Ten of the 333 are words.', 323 / 333: 'Patches are read too.', 0.0: 'Nothing is masked.'},
    rtol=0.01,
)
