"""Graders of the chapter on shapes."""

import torch

from diffbook.exercise import add


def _edge(g):
    "Pixels around an edge: some covered in part, some whole, some not at all."
    radius = 0.1 + 0.1 * float(torch.rand((), generator=g, dtype=torch.float64))
    size = int(torch.randint(24, 65, (), generator=g))
    return 3 * (torch.rand(40, generator=g, dtype=torch.float64) - 0.5) / (radius * size), radius, size


add(
    '05-1',
    'Give the cover of pixels from the distance function at their middles, in units of the radius.',
    cases=_edge,
    truth=lambda d, radius, size: (0.5 - d * radius * size).clamp(0, 1),
    edges=((torch.tensor([-1.0, -0.05, 0.0, 0.05, 1.0], dtype=torch.float64), 0.19, 32),),
    mistakes={
        'Inside is negative: there the cover is 1, and you have it the other way round.': lambda d, radius, size: (0.5 + d * radius * size).clamp(0, 1),
        'The distance is in units of the radius; bring it to pixels by the radius and by the size of the image.': lambda d, radius, size: (0.5 - d).clamp(0, 1),
        'You forgot the radius: d is in units of it.': lambda d, radius, size: (0.5 - d * size).clamp(0, 1),
        'You forgot the size: the distance must be in pixels, and the image has width 1.': lambda d, radius, size: (0.5 - d * radius).clamp(0, 1),
        'That edge is hard; within half a pixel of it the cover falls in a straight line.': lambda d, radius, size: (d < 0).double(),
        'On the edge itself half of the pixel is covered; yours is off by half a pixel.': lambda d, radius, size: (-d * radius * size).clamp(0, 1),
        'A cover is a share, from 0 to 1; yours leaves that range.': lambda d, radius, size: 0.5 - d * radius * size,
    },
)


def _second(one, u):
    k = (47 * u).long()
    return k + (k >= one)


def _kinds(g):
    return torch.randint(48, (40,), generator=g), torch.rand(40, generator=g, dtype=torch.float64)


add(
    '05-2',
    'Turn a uniform number into a second kind, of 48, that is not the first: the 47 others in rising order.',
    cases=_kinds,
    truth=_second,
    edges=((torch.tensor([0, 0, 47, 47, 23, 23]), torch.tensor([1e-9, 1 - 1e-9, 1e-9, 1 - 1e-9, 23.5 / 47, 22.5 / 47], dtype=torch.float64)),),
    mistakes={
        'That may be the first kind again: one of 47 is to be drawn, not one of 48.': lambda one, u: (48 * u).long(),
        'The kinds from the first one on move up by one; with > in place of >= the first kind itself can come out.': lambda one, u: (47 * u).long() + ((47 * u).long() > one),
        'You pass over no kind: 47 is never drawn, and the first may be.': lambda one, u: (47 * u).long(),
        'That is as fair, but counts on from the first; asked for is the rising order from 0.': lambda one, u: (one + 1 + (47 * u).long()) % 48,
        'Round down, not to the nearest: or the ends are drawn half as often.': lambda one, u: (47 * u).round().long() + ((47 * u).round().long() >= one),
        'Those below the first keep their number, and those from it on move up; yours is the other way round.': lambda one, u: (47 * u).long() + ((47 * u).long() < one),
    },
)
