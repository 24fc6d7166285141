"""Graders of the chapter on control."""

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def normal(g, *shape):
    return torch.randn(shape, generator=g, dtype=torch.float64)


question(
    '75-a',
    'How many zero convolutions the ControlNet of Stable Diffusion has.',
    13,
    {12: 'The middle has one too.', 9: 'The halvings are read by the way up as well.', 25: 'The way up has none: it only reads.'},
)
question(
    '75-b',
    'Which of two zero convolutions in a row moves first.',
    'c',
    {
        'a': 'Its gradient passes through the second one, which is zero.',
        'b': 'Its gradient is g times what it reads, and that is zero, for the first one is.',
    },
)
question(
    '75-c',
    'By how much the mean loss of the noise can fall.',
    0.000244,
    {
        0.000122: 'Half of the integral is the information, so the gain has a factor 2.',
        0.00488: 'Divide by the length of the range of the log-SNR, 20.',
        4.0: 'The nats are shared among all numbers of the latents.',
        0.000977: 'Latents of 64 by 64 pixels have four channels.',
    },
)
question(
    '75-d',
    'What to do when the loss does not move.',
    'b',
    {
        'a': 'A flat loss says nothing about the rate: it lies flat in a run that works, too.',
        'c': 'That is what one would think; the gain of a control that works is too small to be seen.',
    },
)

add(
    '75-1',
    'Give the most by which a control can lower the mean loss of the noise.',
    cases=lambda g: (u(g, 1, 50), float(torch.randint(16, 4096, (), generator=g)), -u(g, 3, 12), u(g, 3, 12)),
    truth=lambda nats, numbers, low, high: 2 * nats / (numbers * (high - low)),
    mistakes={
        'The area is divided by d / 2, so a factor 2 is missing.': lambda nats, numbers, low, high: nats / (numbers * (high - low)),
        'You divided by 2; the information is half of d times the area, so the area is twice it over d.': lambda nats, numbers, low, high: (
            nats / (2 * numbers * (high - low))
        ),
        'That is the area; a mean over levels divides it by the length of their range.': lambda nats, numbers, low, high: 2 * nats / numbers,
        'That is the gain of the sum over all numbers; the loss is a mean over them.': lambda nats, numbers, low, high: 2 * nats / (high - low),
        'The range is high minus low, and low is negative.': lambda nats, numbers, low, high: 2 * nats / (numbers * (high + low)),
    },
)

add(
    '75-2',
    'Give the gradients of W and c, where z = W c.',
    cases=lambda g: (normal(g, 3, 4), normal(g, 4), normal(g, 3)),
    truth=lambda W, c, g: (torch.outer(g, c), W.T @ g),
    mistakes={
        'The gradient of W has the wrong sign.': lambda W, c, g: (-torch.outer(g, c), W.T @ g),
        'You gave what W says, for the gradient of c: it is the transpose that carries gradients back.': lambda W, c, g: (torch.outer(g, c), (W.T @ (W @ c))),
        'The gradient of W knows what W reads, c, and not W itself.': lambda W, c, g: (torch.outer(g, W.T @ g), W.T @ g),
        'The gradient of c sums over the rows of W, each times its own entry of g.': lambda W, c, g: (torch.outer(g, c), W.sum(0) * g.sum()),
    },
)

add(
    '75-3',
    'Give what one softmax over two lists says, from what two softmaxes say.',
    cases=lambda g: (normal(g, 4), normal(g, 4), normal(g), normal(g)),
    truth=lambda a, b, lt, lp: a + torch.sigmoid(lp - lt) * (b - a),
    mistakes={
        'That is the sum of the two, which two softmaxes give; in one they share a weight of one.': lambda a, b, lt, lp: a + b,
        'The plain mean: the lists share by their sums of exponentials.': lambda a, b, lt, lp: (a + b) / 2,
        'Text and picture are exchanged.': lambda a, b, lt, lp: b + torch.sigmoid(lp - lt) * (a - b),
        'You shared by the logarithms; take the exponentials first.': lambda a, b, lt, lp: (lt * a + lp * b) / (lt + lp),
    },
)

add(
    '75-4',
    'Guide by a picture and, given the picture, by a text.',
    cases=lambda g: (normal(g, 4), normal(g, 4), normal(g, 4), u(g, 1, 3), u(g, 4, 9)),
    truth=lambda a, b, c, si, st: a + si * (b - a) + st * (c - b),
    mistakes={
        'The text is measured from the picture: text - picture, not text - none.': lambda a, b, c, si, st: a + si * (b - a) + st * (c - a),
        'The scales are exchanged.': lambda a, b, c, si, st: a + st * (b - a) + si * (c - b),
        'The walk begins at the estimate with neither.': lambda a, b, c, si, st: b + si * (b - a) + st * (c - b),
        'A scale of one is off; you used scales that are off at zero.': lambda a, b, c, si, st: c + si * (b - a) + st * (c - b),
        'The inner scale is the ratio of the two; you multiplied them.': lambda a, b, c, si, st: a + si * (b + st * (c - b) - a),
    },
)
