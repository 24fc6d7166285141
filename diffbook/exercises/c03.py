"""Graders of the chapter on data."""

import torch

from diffbook.exercise import add


def _output(g):
    return (2.6 * (torch.rand(60, generator=g, dtype=torch.float64) - 0.5),)


def _bytes(x):
    return ((x.clamp(-1, 1) + 1) * 127.5).round()


add(
    '03-1',
    "Turn a model's output, in which -1 is black and 1 is white, into whole numbers from 0 to 255.",
    cases=_output,
    truth=_bytes,
    edges=((torch.tensor([-7.0, -1.0, 0.001, 1.0, 1.004, 7.0], dtype=torch.float64),),),
    mistakes={
        'You cut off what stands behind the point; round to the nearest byte, or every picture becomes darker.': lambda x: _bytes(x - 0.5 / 127.5).where((x.clamp(-1, 1) + 1) * 127.5 % 1 != 0, _bytes(x)).where(x < 1, 255).where(x > -1, 0),
        'You did not clip: what lies outside [-1, 1] leaves the range of a byte, and as a byte it would start again from the other end.': lambda x: ((x + 1) * 127.5).round(),
        'Outside [-1, 1] you went round in a circle, white becomes black; clip before you turn numbers into bytes.': lambda x: ((x + 1) * 127.5).round() % 256,
        'There are 256 bytes and 255 steps between them: white is 255, and the factor is 127.5.': lambda x: ((x.clamp(-1, 1) + 1) * 128).round(),
        'You took data from 0 to 1; here black is -1.': lambda x: (x.clamp(0, 1) * 255).round(),
        'Move black from -1 to 0 before you scale.': lambda x: (x.clamp(-1, 1) * 127.5).round(),
    },
)


def _run(g):
    n, size = (int(torch.randint(a, b, (), generator=g)) for a, b in ((20, 60), (3, 19)))
    return n, size, int(torch.randint(10, 60, (), generator=g))


def _epochs(n, size, step):
    return torch.arange(step * size, (step + 1) * size) // n


add(
    '03-2',
    'Name the epoch that each image of a batch belongs to, when shuffled epochs are laid end to end.',
    cases=_run,
    truth=_epochs,
    edges=((10, 4, 2), (10, 25, 1), (7, 7, 3)),
    mistakes={
        'A batch may reach over the end of an epoch: its images need not all be of one.': lambda n, size, step: torch.full((size,), step * size // n),
        'You dropped the short batch at the end of each epoch; here the next epoch follows without a gap.': lambda n, size, step: torch.full((size,), step // max(1, n // size)),
        'You gave each epoch a last, shorter batch; here the next epoch fills it up.': lambda n, size, step: torch.full((size,), step // -(-n // size)),
        'Steps count from 0: step k begins at image k times the batch size.': lambda n, size, step: _epochs(n, size, step - 1),
        'That is the place within the epoch; asked for is which epoch.': lambda n, size, step: torch.arange(step * size, (step + 1) * size) % n,
    },
)
