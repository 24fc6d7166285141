"""Graders of the chapter on the U-Net."""

import math

import torch

from diffbook.exercise import add, question


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
    '23-1',
    'Give the width of the receptive field of a stack of convolutions.',
    cases=_kernels,
    truth=_receptive_field,
    mistakes={
        'You left out the strides: after a stride of two, each kernel spans twice the distance.': lambda k, s: _receptive_field(k, s, use_strides=False),
        'A stride widens the layers after it, not its own kernel: multiply by the strides of the layers before.': lambda k, s: _receptive_field(
            k, s, skip_first=0
        ),
        'Each kernel adds its width less one: a kernel of one pixel adds nothing.': lambda k, s: 1 + sum(a * math.prod(s[:i]) for i, a in enumerate(k)),
        'You forgot the pixel itself: begin with 1.': lambda k, s: _receptive_field(k, s) - 1,
    },
)


def _conv_flops(c_in, c_out, kernel, height, width, stride):
    return 2 * kernel**2 * c_in * c_out * (height // stride) * (width // stride)


add(
    '23-2',
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


question(
    '23-a',
    'Which output of the way down does the last block of the way up read over its bridge?',
    'c',
    {
        'a': 'That one is read first: the list is taken from its end, and the deepest output was appended last.',
        'b': 'That one is read by the block before: the stem has put an image of 24 by 24 into the list as well, before all others.',
    },
)
question(
    '23-b',
    'How many numbers is Block(48, 32) told?',
    64,
    {
        32: 'Each channel gets two numbers: a scale and a shift.',
        48: 'It is told after its second norm, where it has the channels that leave, 32; and each gets two numbers.',
        96: 'Two numbers a channel is right; but it is told after its second norm, where it has the 32 channels that leave.',
        160: 'Only the second norm is told, not the first.',
        2: 'That is a scale and a shift for one channel; every channel has its own.',
    },
)
question(
    '23-c',
    'What does a net with bridges and without halving learn worst?',
    'b',
    {
        'a': 'Edges are local, and the bridges carry them: it keeps them well. What it lacks is the wide view.',
        'c': 'The colour of a pixel is at its own place, and passes. What it lacks is the wide view.',
    },
)
question(
    '23-d',
    'How wide is the receptive field of four convolutions of three pixels with the strides 2, 2, 1, 1?',
    23,
    {
        9: 'You left out the strides: after them, neighbours lie 2 and then 4 pixels of the input apart.',
        29: 'A stride moves apart the layers after it, not its own kernel: the distances are 1, 2, 4, 4.',
        22: 'You forgot the pixel itself: begin with 1.',
        34: 'Each kernel adds its width less one, so 2, not 3, times the distance.',
        33: 'Each kernel adds its width less one, so 2, not 3, times the distance.',
    },
)
