"""Graders of the chapter on the speedrun."""

import math

import torch
from torch import Tensor

from diffbook.exercise import add, question


def _number(low: float, high: float, g: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64).item()


question(
    '27-a',
    'Which share of the pictures does an entry see that compiles for 60 of 300 seconds and is then 1.2 times as fast?',
    0.96,
    {
        1.2: 'Compiling is on the clock: 240 seconds are left to train.',
        0.8: 'That is the share of the time that is left; in it the entry is 1.2 times as fast.',
        1: 'Compiling costs time, and gains some: count both.',
        0.667: 'You divided by 1.2: the entry is faster, not slower.',
    },
)

question(
    '27-b',
    'What becomes of the time to quality when updates are 1.5 times as dear and 0.6 times as many pictures are needed?',
    0.9,
    {
        0.6: 'That is the pictures alone; each of them costs more now.',
        1.5: 'That is the price of a picture alone; fewer are needed.',
        2.1: 'The two factors multiply, they do not add.',
        2.5: 'You divided: fewer pictures make the time shorter.',
        0.4: 'You divided: dearer updates make the time longer.',
    },
)

question(
    '27-c',
    'To which share of its mean square does a weight with curvature 1 come down when the rate is halved from 1?',
    1 / 3,
    {
        0.5: 'That holds for small rates; the bracket 2 - eta lambda changes, too. Put both rates into the formula and divide.',
        0.25: 'A quarter is how much noise one update brings; but what came before is forgotten more slowly, too.',
        3: 'You turned it over: the smaller rate has the smaller circle.',
        1: 'It does come down: the noise is multiplied by the rate.',
        0.577: 'That is the root of it: asked is the mean square.',
    },
)

question(
    '27-d',
    'By which factor does a direction with the singular value 0.04 gain on one with 3 when the step is orthogonal?',
    75,
    {
        0.01333: 'You turned it over: the weaker direction gains.',
        0.12: 'That is the product of the two: compare their ratios, before and after.',
        5625: 'Those are the squares: the step -G has the singular values themselves.',
        2.96: 'That is the difference: a ratio is asked.',
        1: 'After the step the two stand 1 : 1, but before they did not: divide the two ratios.',
    },
)


question(
    '27-e',
    'What share of the arithmetic of its convolutions is left when all channels of a network are multiplied by 2/3?',
    4 / 9,
    {
        0.667: 'Both the channels that come in and those that go out are fewer.',
        0.296: 'The kernel stays as it is: only two of its axes are channels.',
        0.556: 'That is the share that is saved.',
        2.25: 'That is how many times less it is.',
    },
)

question(
    '27-f',
    'What is the half-width of the 95 % interval of a mean gain, when three seeds gained 0.1, 0.3 and 0.5?',
    4.303 * 0.2 / 3**0.5,
    {
        0.226: '1.96 is for very many seeds; for three the factor is 4.303.',
        0.115: 'That is one standard error: multiply it by 4.303.',
        0.2: 'That is the spread of one seed.',
        0.861: 'Divide by the root of three: the mean of three is less uncertain than one.',
        0.406: 'Divide the squares by two, not by three: the mean was found from the same numbers.',
    },
)


def _fall_case(g: torch.Generator) -> tuple[list[float], float, float, float]:
    n = int(torch.randint(3, 7, (), generator=g))
    return [_number(0.05, 0.6, g) for _ in range(n)], _number(0.4, 1.5, g), _number(0.5, 2.0, g), _number(0.5, 3.0, g)


def _fall(rates: list[float], lam: float, s: float, v: float, shrink=lambda e, lam: (1 - e * lam) ** 2, noise=lambda e, s: (e * s) ** 2) -> float:
    for rate in rates:
        v = shrink(rate, lam) * v + noise(rate, s)
    return v


add(
    '27-1',
    'Give the mean square of a weight after updates with these rates.',
    cases=_fall_case,
    truth=_fall,
    mistakes={
        'You forgot to square the shrinking: a mean square shrinks by its square.': lambda r, lam, s, v: _fall(r, lam, s, v, shrink=lambda e, lam: 1 - e * lam),
        'The noise is multiplied by the rate before it is squared.': lambda r, lam, s, v: _fall(r, lam, s, v, noise=lambda e, s: s**2),
        'You squared the noise, and not the rate before it.': lambda r, lam, s, v: _fall(r, lam, s, v, noise=lambda e, s: e * s**2),
        'That is its root: asked is the mean square.': lambda r, lam, s, v: _fall(r, lam, s, v) ** 0.5,
        'You left the noise out.': lambda r, lam, s, v: _fall(r, lam, 0.0, v),
        'The rates come in this order, the first one first.': lambda r, lam, s, v: _fall(r[::-1], lam, s, v),
        'You left out the last update.': lambda r, lam, s, v: _fall(r[:-1], lam, s, v),
        'You squared the start: it is a mean square already.': lambda r, lam, s, v: _fall(r, lam, s, v**2),
        'Each update has its own noise, which later ones shrink like everything else.': lambda r, lam, s, v: _fall(r, lam, 0.0, v) + sum((e * s) ** 2 for e in r),
    },
)  # fmt: skip


def _matrix_case(g: torch.Generator) -> tuple[Tensor]:
    m, n = (int(torch.randint(2, 7, (), generator=g)) for _ in range(2))
    return (torch.randn(m, n + (n == m), generator=g, dtype=torch.float64),)


def _polar(g: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    return -u @ vh


def _turned(g: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    return -(u @ vh) / math.sqrt(min(g.shape))


add(
    '27-2',
    'Give the step of spectral size one that lowers a linear loss most.',
    cases=_matrix_case,
    truth=_polar,
    mistakes={
        'That step climbs: it must lower the loss.': lambda g: -_polar(g),
        'That is the step of gradient descent, of which the root of the sum of squares is one.': lambda g: -g / g.norm(),
        'Its largest singular value is one, but the others are not: all of them may be.': lambda g: -g / torch.linalg.matrix_norm(g, 2),
        'That is for the largest entry: the sign of each.': lambda g: -g.sign(),
        'The root of the sum of squares of yours is one; the largest singular value should be.': _turned,
        'That is one direction only, the strongest: every singular value may be one at the same time.': lambda g: -(lambda u, s, vh: u[:, :1] @ vh[:1])(*torch.linalg.svd(g, full_matrices=False)),
    },
)


def _shape_case(g: torch.Generator) -> tuple[int, int, int, float]:
    return tuple(int(torch.randint(low, high, (), generator=g)) for low, high in ((20, 90), (20, 90), (2, 6))) + (_number(1e-3, 1e-2, g),)


add(
    '27-3',
    "Give the root of the mean square of a convolution's change in one update of Muon.",
    cases=lambda g: (lambda c_in, c_out, k, lr: (c_out, c_in, k, lr))(*_shape_case(g)),
    truth=lambda c_out, c_in, k, lr: 0.2 * lr * math.sqrt(min(c_out, c_in * k * k) * max(c_out, c_in * k * k) / (c_out * c_in * k * k)),
    mistakes={
        'That is for a matrix with all singular values one, before it is multiplied by 0.2 sqrt(max(m, n)).': lambda o, i, k, lr: lr / math.sqrt(max(o, i * k * k)),
        'You left out the fifth.': lambda o, i, k, lr: lr,
        'You left out the rate.': lambda o, i, k, lr: 0.2,
        'That is the mean square: take the root.': lambda o, i, k, lr: 0.04 * lr**2,
        'That is the root of the sum of squares: divide by the number of entries before the root.': lambda o, i, k, lr: 0.2 * lr * math.sqrt(o * i * k * k),
        'The rows of the matrix are the output channels, and its columns all the rest: the kernel belongs to them.': lambda o, i, k, lr: 0.2 * lr * math.sqrt(max(o, i * k * k) / max(o, i)),
        'You divided by the size twice.': lambda o, i, k, lr: 0.2 * lr / math.sqrt(max(o, i * k * k)),
    },
)  # fmt: skip


def _pairs_case(g: torch.Generator) -> tuple[list[float], list[float]]:
    common = [_number(2.0, 4.0, g) for _ in range(3)]
    return [c + _number(0.1, 0.5, g) for c in common], [c - _number(0.0, 0.3, g) for c in common]


def _half_width(d: list[float], factor: float = 4.302652729911275, divide: float = 3.0, less: int = 1) -> float:
    mean = sum(d) / len(d)
    return factor * math.sqrt(sum((v - mean) ** 2 for v in d) / (len(d) - less) / divide)


def _interval(before: list[float], after: list[float], **changes: float) -> tuple[float, float]:
    d = [a - b for a, b in zip(before, after)]
    mean, half = sum(d) / 3, _half_width(d, **changes)
    return mean - half, mean + half


def _unpaired(before: list[float], after: list[float]) -> tuple[float, float]:
    mean = (sum(before) - sum(after)) / 3
    half = 4.302652729911275 * math.sqrt(sum(sum((v - sum(x) / 3) ** 2 for v in x) / 2 for x in (before, after)) / 3)
    return mean - half, mean + half


add(
    '27-4',
    'Give the 95 % interval of what a trick gains, from three seeds in pairs.',
    cases=_pairs_case,
    truth=_interval,
    rtol=2e-3,  # of the factor in four digits
    mistakes={
        '1.96 is for many seeds; with three the factor is 4.303.': lambda b, a: _interval(b, a, factor=1.959964),
        'That is where a single run may fall: divide by the root of three for the mean of three.': lambda b, a: _interval(b, a, divide=1.0),
        'Divide the squares by 2, not by 3: the mean was found from the same numbers.': lambda b, a: _interval(b, a, less=0),
        'You exchanged before and after: a gain is how much the distance falls.': lambda b, a: _interval(a, b),
        'You threw the pairs away: the two runs of a seed share noise and order, so take their difference first.': _unpaired,
        'The factor of two degrees of freedom: three seeds minus the mean.': lambda b, a: _interval(b, a, factor=3.182446),
        'That is one sigma: multiply by 4.303.': lambda b, a: _interval(b, a, factor=1.0),
    },
)
