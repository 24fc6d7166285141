"""Graders of the chapter on speed."""

import torch

from diffbook.exercise import add, question


def _number(low: float, high: float, g: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64).item()


def _whole(low: int, high: int, g: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=g))


def _conv_case(g: torch.Generator) -> tuple[int, ...]:
    groups, stride, k = 2 * _whole(1, 4, g), _whole(2, 5, g), 2 * _whole(1, 4, g) + 1
    c_in, c_out = groups * _whole(2, 9, g), groups * _whole(2, 9, g)
    h, w = stride * _whole(3, 9, g) + 1, stride * _whole(3, 9, g) + 1
    return _whole(2, 9, g), c_in, c_out, h, w, k, stride, groups


def _up(n: int, s: int) -> int:
    return -(-n // s)


add(
    '25-1',
    'Give the FLOPs of a convolution, forward, with odd kernel k, padding k // 2, a stride and groups.',
    cases=_conv_case,
    truth=lambda b, ci, co, h, w, k, s, g: 2 * b * _up(h, s) * _up(w, s) * co * (ci // g) * k * k,
    mistakes={
        'Those are multiply-adds: a multiplication and an addition are two FLOPs.': lambda b, ci, co, h, w, k, s, g: b * _up(h, s) * _up(w, s) * co * (ci // g) * k * k,
        'You took the area of the input: a convolution works once for each place of its output, and the stride skips the others.': lambda b, ci, co, h, w, k, s, g: 2 * b * h * w * co * (ci // g) * k * k,
        'You rounded h / stride down; with padding k // 2 the output has ceil(h / stride) rows.': lambda b, ci, co, h, w, k, s, g: 2 * b * (h // s) * (w // s) * co * (ci // g) * k * k,
        'You forgot the groups: each output channel reads only c_in / groups channels.': lambda b, ci, co, h, w, k, s, g: 2 * b * _up(h, s) * _up(w, s) * co * ci * k * k,
        'You divided by the groups twice: a group has c_out / groups outputs, but there are as many groups.': lambda b, ci, co, h, w, k, s, g: 2 * b * _up(h, s) * _up(w, s) * (co // g) * (ci // g) * k * k,
        'Your kernel has k numbers; it has k * k.': lambda b, ci, co, h, w, k, s, g: 2 * b * _up(h, s) * _up(w, s) * co * (ci // g) * k,
        'Those are the FLOPs of one picture: multiply by the batch.': lambda b, ci, co, h, w, k, s, g: 2 * _up(h, s) * _up(w, s) * co * (ci // g) * k * k,
        'You counted the backward pass, too: asked is the forward.': lambda b, ci, co, h, w, k, s, g: 6 * b * _up(h, s) * _up(w, s) * co * (ci // g) * k * k,
    },
)  # fmt: skip


def _chain_case(g: torch.Generator) -> tuple[float, float, int]:
    return _number(4.0, 9.0, g), _number(3.0, 6.0, g), 8 * _whole(2, 9, g)


add(
    '25-2',
    'Give the arithmetic intensity of norm and SiLU as two kernels and as one.',
    cases=_chain_case,
    truth=lambda n, s, bits: ((n + s) / (5 * bits / 8), (n + s) / (3 * bits / 8)),
    mistakes={
        'You took bits for bytes: a byte has 8 bits.': lambda n, s, bits: ((n + s) / (5 * bits), (n + s) / (3 * bits)),
        'Your fused kernel reads once; but no number can be normalised before all have been read for the mean.': lambda n, s, bits: ((n + s) / (4 * bits / 8), (n + s) / (2 * bits / 8)),
        'As one kernel it still reads twice: once for mean and variance, and again to normalise.': lambda n, s, bits: ((n + s) / (5 * bits / 8), (n + s) / (2 * bits / 8)),
        'In two kernels the result in between is written and read again: three passes and two.': lambda n, s, bits: ((n + s) / (4 * bits / 8), (n + s) / (3 * bits / 8)),
        'You exchanged the two: fused is the larger, for the same FLOPs move fewer bytes.': lambda n, s, bits: ((n + s) / (3 * bits / 8), (n + s) / (5 * bits / 8)),
        'Those are bytes for each FLOP: intensity is FLOPs for each byte.': lambda n, s, bits: (5 * bits / 8 / (n + s), 3 * bits / 8 / (n + s)),
        'Intensities do not add: divide all FLOPs by all bytes.': lambda n, s, bits: (n / (3 * bits / 8) + s / (2 * bits / 8), (n + s) / (3 * bits / 8)),
        'You left SiLU out of the FLOPs.': lambda n, s, bits: (n / (5 * bits / 8), n / (3 * bits / 8)),
    },
)  # fmt: skip


def _queue_case(g: torch.Generator) -> tuple[int, int, float, float, float]:
    k = _whole(2, 9, g)
    return k * _whole(2, 9, g), k, _number(2.0, 9.0, g), _number(2.0, 9.0, g), _number(10.0, 30.0, g)


def _makespan(n: int, k: int, h: float, d: float, r: float) -> float:
    return n / k * (h + (k - 1) * max(h, d) + d + r)


add(
    '25-3',
    'Give the time of n operations when the host waits after every k of them.',
    cases=_queue_case,
    truth=_makespan,
    mistakes={
        'You never wait: after every k operations the queue runs empty and must fill again.': lambda n, k, h, d, r: h + (n - 1) * max(h, d) + d,
        'You wait only once, at the end: it happens n / k times.': lambda n, k, h, d, r: h + (n - 1) * max(h, d) + d + r,
        'You left the round trip r out.': lambda n, k, h, d, r: _makespan(n, k, h, d, 0.0),
        'Host and device work at the same time: between two waits the slower of the two sets the pace, not their sum.': lambda n, k, h, d, r: n * (h + d) + n / k * r,
        'The faster of the two does not set the pace: it waits for the other.': lambda n, k, h, d, r: n / k * (h + (k - 1) * min(h, d) + d + r),
        'The host has no empty queue after it issued the last operation: that one must still run.': lambda n, k, h, d, r: n / k * (h + (k - 1) * max(h, d) + r),
        'The device cannot begin before the first operation was issued.': lambda n, k, h, d, r: n / k * ((k - 1) * max(h, d) + d + r),
        'One operation too many: k operations have k - 1 gaps.': lambda n, k, h, d, r: n / k * (h + k * max(h, d) + d + r),
        'You wait after every operation: it happens after every k of them.': lambda n, k, h, d, r: n * (h + d + r),
    },
)  # fmt: skip


def _kept_case(g: torch.Generator) -> tuple[int, ...]:
    groups = 2 * _whole(1, 5, g)
    return _whole(2, 9, g), groups * _whole(2, 9, g), _whole(3, 9, g), _whole(3, 9, g), groups, _whole(2, 6, g)


add(
    '25-4',
    'Give the bytes that a stack of residual blocks keeps for the backward pass, in float32.',
    cases=_kept_case,
    truth=lambda b, c, h, w, g, m: 4 * m * (6 * b * c * h * w + 4 * b * g),
    mistakes={
        'That is how many numbers; each takes 4 bytes.': lambda b, c, h, w, g, m: m * (6 * b * c * h * w + 4 * b * g),
        'You took bits for bytes: float32 has 32 bits, which are 4 bytes.': lambda b, c, h, w, g, m: 32 * m * (6 * b * c * h * w + 4 * b * g),
        'Each norm also keeps a mean and an inverse deviation for each picture and group.': lambda b, c, h, w, g, m: 24 * m * b * c * h * w,
        'Each norm keeps two numbers a group, and a block has two norms.': lambda b, c, h, w, g, m: 4 * m * (6 * b * c * h * w + 2 * b * g),
        'The statistics belong to each picture: multiply them by the batch.': lambda b, c, h, w, g, m: 4 * m * (6 * b * c * h * w + 4 * g),
        'A sum keeps nothing: the gradient of x + y needs neither. And the input of the next block is counted there.': lambda b, c, h, w, g, m: 4 * m * (7 * b * c * h * w + 4 * b * g),
        'Not only convolutions: norm and SiLU need their inputs, too.': lambda b, c, h, w, g, m: 4 * m * (2 * b * c * h * w + 4 * b * g),
        'You counted one round: a block has two of norm, SiLU and convolution.': lambda b, c, h, w, g, m: 4 * m * (3 * b * c * h * w + 2 * b * g),
        'Every block keeps its own tensors until the backward pass comes by: multiply by their number.': lambda b, c, h, w, g, m: 4 * (6 * b * c * h * w + 4 * b * g),
    },
)  # fmt: skip


def _mfu_case(g: torch.Generator) -> tuple[float, float, float]:
    return 1e9 * _number(0.2, 20.0, g), _number(500.0, 3000.0, g), _number(100.0, 900.0, g)


add(
    '25-5',
    'Give the model FLOP utilisation of training from the forward FLOPs of a picture, pictures a second and the peak in TFLOP/s.',
    cases=_mfu_case,
    truth=lambda flops, rate, peak: 3 * flops * rate / (peak * 1e12),
    mistakes={
        'You forgot the backward pass: training costs about three forward passes.': lambda flops, rate, peak: flops * rate / (peak * 1e12),
        'That is two forward passes: the backward pass alone makes two products for each of the forward, three in all.': lambda flops, rate, peak: 2 * flops * rate / (peak * 1e12),
        'You multiplied by two once more: the FLOPs given count both the multiplication and the addition.': lambda flops, rate, peak: 6 * flops * rate / (peak * 1e12),
        'You halved: peaks, too, count a multiplication and an addition as two.': lambda flops, rate, peak: 1.5 * flops * rate / (peak * 1e12),
        'Your peak is in GFLOP/s: a TFLOP is 1e12.': lambda flops, rate, peak: 3 * flops * rate / (peak * 1e9),
        'That is in percent; asked is the share.': lambda flops, rate, peak: 300 * flops * rate / (peak * 1e12),
        'You have it upside down: what is used, over what there is.': lambda flops, rate, peak: peak * 1e12 / (3 * flops * rate),
    },
)  # fmt: skip


question(
    '25-a',
    'By which factors do a convolution and the scores of attention grow on pictures of twice the height and width?',
    (4, 16),
    {
        (2, 4): 'Twice the height and twice the width are four times the places.',
        (4, 4): 'The convolution is right. Each of four times as many places is compared with four times as many.',
        (16, 4): 'The numbers are right and exchanged: the convolution comes first.',
        (4, 8): 'The scores are places times places, and both factors are four.',
    },
)

question(
    '25-b',
    'Which share of the bytes is still moved if five operations are fused into one?',
    0.2,
    {
        0.1: 'Fused, the kernel still reads once *and* writes once.',
        0.8: 'That is the share that is saved.',
        0.4: 'Reading and writing are both fused: two passes of ten are left.',
        5: 'That is how many times fewer bytes are moved; the share is one over it.',
    },
)

question(
    '25-c',
    'Which share of the peak can a kernel of 25 FLOPs a byte reach on a chip of 100 TFLOP/s and 1 TB/s?',
    0.25,
    {
        1: 'Its intensity is below the ridge of 100 FLOPs a byte: the bytes set the pace.',
        4: 'Upside down: no kernel is above the peak.',
        25: 'In TFLOP/s, yes (or in per cent). As a share, divide by the peak.',
        0.75: 'That is the share that is lost.',
    },
)

question(
    '25-d',
    'How many microseconds do a hundred operations take if the host needs 5 for each and the device 2?',
    502,
    {
        700: 'That is one after the other. The device works while the host issues the next one.',
        200: 'The device is quick, but it cannot start what was not issued.',
        205: 'You let the device set the pace; the slower of the two does.',
        350: 'Not the mean of the two: the slower sets the pace, the other is free.',
    },
    rtol=0.01,
)

question(
    '25-e',
    "How often is the network run on one picture by Heun's method in 20 steps with guidance?",
    78,
    {
        80: 'Nearly: the last step asks once only.',
        39: 'That is without guidance, which asks about each picture twice.',
        40: 'That is DDIM with guidance, or Heun without. Count both.',
        20: 'That is a method that asks once a step, without guidance.',
        41: 'Guidance doubles every call, it does not add to them.',
    },
    rtol=0.001,
)

question(
    '25-f',
    'How many times as fast is a step if 5 % of it become twice as fast?',
    1.026,
    {
        2: 'Only the update becomes twice as fast; 95 % of the step stays as it was.',
        1.05: 'That would be so if the update vanished. It still takes half of its time.',
        0.975: 'That is the time that the step still takes; how many times as fast is one over it.',
        1.1: 'Five per cent of the time, halved, saves two and a half per cent.',
    },
    rtol=0.005,
)
