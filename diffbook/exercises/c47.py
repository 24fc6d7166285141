"""Graders of the chapter on pictures of one's own."""

import math

import torch

from diffbook.exercise import add, question

question(
    '47-a',
    'A folder holds train/cat, train/dog, test/cat and holiday.heic: what is learned?',
    'c',
    {
        'a': 'Folders called train and test are splits, when both are there: they are no classes.',
        'b': 'The pictures of test are for judging: a model that trained on them could not be judged by them.',
    },
)
question(
    '47-b',
    'How often is each of 1,800 pictures seen in fifteen minutes, 0.2 s an update of 32 pictures, a tenth of the time for other things?',
    72.0,
    {
        80.0: 'You used all fifteen minutes for updates: a tenth goes to sheets, checkpoints and reading.',
        4050.0: 'That is the number of updates. Each shows 32 of the 1,800 pictures.',
        2.25: 'Each update shows 32 pictures, not one.',
    },
)
question(
    '47-c',
    'After the first half of the minutes the machine becomes three times as slow: what is the learning rate at that moment, as a share of the highest?',
    0.5,
    {
        0.75: 'That would be so after half of the updates of a run that is not to be. The rate follows the clock: half of the time is over.',
        1.0: 'The warm-up is over long before; half of the time is gone, so the cosine is at its middle.',
    },
)
question(
    '47-d',
    'Guidance 8 instead of 2: what becomes of the digits?',
    'b',
    {
        'a': 'More weight on the class makes the class clearer, and takes variety away.',
        'c': 'Every picture is still drawn from its own noise, and told its class.',
    },
)
question(
    '47-e',
    'A run of 15 minutes is done and goes on for 15 more: what is the learning rate of the first update after the pause?',
    'b',
    {
        'a': 'At a rate of 0 nothing would be learned any more. It is that of a run which had been planned for 30 minutes.',
        'c': 'That would shake loose much of what was learned. It is that of a run which had been planned for 30 minutes.',
    },
)


def _clock(g):
    made, seconds, more = torch.rand(3, generator=g, dtype=torch.float64)
    made, seconds = 100 + 900 * made, 20 + 100 * seconds
    return made, seconds, seconds * (1.3 + 3 * more), 1e-3 + torch.rand((), generator=g, dtype=torch.float64)


def _rate(share, peak):
    return peak * (1 + torch.cos(math.pi * share)) / 2


add(
    '47-1',
    'Give the learning rate after `made` updates in `seconds` of `total` seconds, falling along half a cosine to 0 as the time ends.',
    cases=_clock,
    truth=lambda made, seconds, total, peak: _rate(seconds / total, peak),
    mistakes={
        'Your rate falls in a straight line, expected half a cosine.': lambda made, seconds, total, peak: peak * (1 - seconds / total),
        'Your cosine runs a quarter: at the end its angle must be pi.': lambda made, seconds, total, peak: peak * torch.cos(math.pi / 2 * seconds / total),
        'Your rate rises: at the start the cosine is 1, and the rate the highest.': lambda made, seconds, total, peak: peak - _rate(seconds / total, peak),
        'You divided updates by seconds: the share that counts is of the time, seconds / total.': lambda made, seconds, total, peak: _rate(made / total, peak),
    },
)


def _mirror_cases(g):
    weight = torch.randn(5, 5, generator=g, dtype=torch.float64)
    x = torch.randn(3, 5, generator=g, dtype=torch.float64)
    return (lambda v: torch.tanh(v @ weight)), x


add(
    '47-2',
    'Make the estimate of any denoiser a mirror: the mean of what it says of x and of the mirrored x, each the right way round (the last axis is the width).',
    cases=_mirror_cases,
    truth=lambda denoise, x: (denoise(x) + denoise(x.flip(-1)).flip(-1)) / 2,
    mistakes={
        'You did not turn the second answer back before the mean was taken.': lambda denoise, x: (denoise(x) + denoise(x.flip(-1))) / 2,
        'You took the sum, expected the mean.': lambda denoise, x: denoise(x) + denoise(x.flip(-1)).flip(-1),
        'You asked once, of the mean of x and its mirror image: that is another picture.': lambda denoise, x: denoise((x + x.flip(-1)) / 2),
        'You turned the answer to x; turn x, ask, and turn back.': lambda denoise, x: (denoise(x) + denoise(x).flip(-1)) / 2,
    },
)


def _window_cases(g):
    side, size = 7, 5
    images = torch.randn(3, 2, side, side, generator=g, dtype=torch.float64)
    corner = torch.stack([torch.tensor([0, 2]), torch.tensor([1, 0]), torch.randint(0, 3, (2,), generator=g)])
    return images, corner, size


def _windows(images, corner, size):
    return torch.stack([image[:, r : r + size, c : c + size] for image, (r, c) in zip(images, corner.tolist())])


add(
    '47-3',
    'Cut from each picture the window of `size` whose upper left pixel is at `corner` (row, column).',
    cases=_window_cases,
    truth=_windows,
    mistakes={
        'You took the column for the row: corner is (row, column), as the axes of a picture.': lambda images, corner, size: _windows(images, corner.flip(1), size),
        'All your windows begin where the first does: each picture has its own corner.': lambda images, corner, size: _windows(images, corner[:1].expand(len(images), 2), size),
        'You cut from the middle, whatever the corner.': lambda images, corner, size: _windows(images, torch.full_like(corner, 1), size),
    },
)
