"""Graders of the chapters on layers and on the U-Net."""

import math

import torch
import torch.nn.functional as F

from diffbook.exercise import add


def _waves(t, dim, *, ladder=None, turns=1.0, halves=(0, 1)):
    half = dim // 2
    rungs = torch.arange(half, dtype=torch.float64) / (half - 1 if ladder is None else ladder(half))
    angles = turns * t[:, None] * 10_000**-rungs
    both = [angles.sin(), angles.cos()]
    return torch.cat([both[i] for i in halves], dim=1)


add(
    '22-1',
    'Write each number as sines, then cosines, of a ladder of frequencies from 1 down to 1/10,000.',
    cases=lambda g: (1000 * torch.rand(5, generator=g, dtype=torch.float64), int(torch.randint(3, 12, (), generator=g)) * 2),
    truth=_waves,
    mistakes={
        'Your ladder stops one rung early: divide i by d/2 - 1, so that the last frequency is exactly 1/10,000.': lambda t, d: _waves(t, d, ladder=lambda half: half),
        'Your ladder falls half as fast: the exponent runs over d/2 frequencies, not over d features.': lambda t, d: _waves(t, d, ladder=lambda half: 2 * half - 1),
        'The halves are exchanged: sines come first.': lambda t, d: _waves(t, d, halves=(1, 0)),
        'You multiplied by 2 pi: the frequencies are in radians.': lambda t, d: _waves(t, d, turns=2 * math.pi),
        'Sines and cosines alternate in your answer; all sines come first.': lambda t, d: _waves(t, d).unflatten(1, (2, d // 2)).transpose(1, 2).flatten(1),
    },
)


def _attend(q, k, v, scale=lambda d: d**-0.5, dim=1):
    return torch.softmax(q @ k.T * scale(q.shape[1]), dim=dim) @ v


add(
    '22-2',
    'Average the values with the softmax of the scaled products of queries and keys.',
    cases=lambda g: tuple(torch.randn(3, 7, int(torch.randint(3, 9, (), generator=g)), generator=g, dtype=torch.float64)),
    truth=lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    mistakes={
        'The scores are not divided by the root of d.': lambda q, k, v: _attend(q, k, v, lambda d: 1.0),
        'You divided the scores by d; divide by its root.': lambda q, k, v: _attend(q, k, v, lambda d: 1 / d),
        'Your weights sum to one over the queries; each query shares one unit among the keys.': lambda q, k, v: _attend(q, k, v, dim=0),
        'Queries and keys are exchanged.': lambda q, k, v: _attend(k, q, v),
        'The scores are used as they are: take the softmax before you average.': lambda q, k, v: q @ k.T * q.shape[1] ** -0.5 @ v,
    },
)


def _receptive_field(kernels, strides, *, skip_first=1, use_strides=True):
    field, jump = 1, 1
    for k, s in zip(kernels, strides):
        jump_now = jump * s if skip_first == 0 else jump
        field, jump = field + (k - 1) * (jump_now if use_strides else 1), jump * s
    return field


def _kernels(g):
    n = int(torch.randint(3, 7, (), generator=g))
    kernels = [1 + 2 * int(k) for k in torch.randint(1, 4, (n,), generator=g)]
    strides = [int(s) for s in torch.randint(1, 4, (n,), generator=g)]
    strides[0], strides[-1] = 2, 3
    return kernels, strides


add(
    '22-5',
    'Give the width of the receptive field of a stack of convolutions.',
    cases=_kernels,
    truth=_receptive_field,
    mistakes={
        'You left out the strides: after a stride of two, each kernel spans twice the distance.': lambda k, s: _receptive_field(k, s, use_strides=False),
        'A stride widens the layers after it, not its own kernel: multiply by the strides of the layers before.': lambda k, s: _receptive_field(k, s, skip_first=0),
        'Each kernel adds its width less one: a kernel of one pixel adds nothing.': lambda k, s: 1 + sum(a * math.prod(s[:i]) for i, a in enumerate(k)),
        'You forgot the pixel itself: begin with 1.': lambda k, s: _receptive_field(k, s) - 1,
    },
)


def _conv_flops(c_in, c_out, kernel, height, width, stride):
    return 2 * kernel**2 * c_in * c_out * (height // stride) * (width // stride)


add(
    '22-6',
    'Count the floating-point operations of a convolution, an addition and a multiplication being two.',
    cases=lambda g: (
        *(int(c) for c in torch.randint(3, 40, (2,), generator=g)),
        1 + 2 * int(torch.randint(1, 4, (), generator=g)),
        *(6 * int(n) for n in torch.randint(2, 9, (2,), generator=g)),
        int(torch.randint(2, 4, (), generator=g)),
    ),
    truth=_conv_flops,
    mistakes={
        'You counted multiplications only: each comes with an addition, so it is twice as much.': lambda i, o, k, h, w, s: _conv_flops(i, o, k, h, w, s) / 2,
        'The kernel is a square: k times k products for each pair of channels.': lambda i, o, k, h, w, s: _conv_flops(i, o, k, h, w, s) / k,
        'Work is done at each output pixel: with a stride there are fewer of them.': lambda i, o, k, h, w, s: _conv_flops(i, o, k, h, w, 1),
        'That is the number of weights, twice: multiply by the number of output pixels.': lambda i, o, k, h, w, s: 2 * k**2 * i * o,
    },
)
