"""Graders of the chapter on training."""

import math

import torch

from diffbook.exercise import add, question


def _number(low: float, high: float, g: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64).item()


def _whole(low: int, high: int, g: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=g))


def _share_case(g: torch.Generator) -> tuple[int, int, float]:
    n = _whole(5, 30, g)
    return _whole(1, n, g), n, _number(0.6, 0.95, g)


add(
    '24-1',
    'Give the share of the weights after update i in the average after n updates with constant decay d.',
    cases=_share_case,
    truth=lambda i, n, d: (1 - d) * d ** (n - i),
    mistakes={
        'You left out the factor 1 - d with which new weights enter.': lambda i, n, d: d ** (n - i),
        'That is the share counted from the start: recent updates weigh most, so the power is n - i.': lambda i, n, d: (1 - d) * d**i,
        'One power too many: the newest weights (i = n) have the share 1 - d.': lambda i, n, d: (1 - d) * d ** (n - i + 1),
        'You exchanged d and 1 - d: d is what the old average keeps.': lambda i, n, d: d * (1 - d) ** (n - i),
    },
)


def _clip_case(g: torch.Generator) -> tuple[torch.Tensor, float]:
    gradient = torch.randn(6, generator=g, dtype=torch.float64)
    return gradient, gradient.norm().item() * _number(0.3, 1.9, g)


add(
    '24-2',
    'Clip the gradient g to norm c.',
    cases=_clip_case,
    truth=lambda g, c: g * min(1.0, c / g.norm().item()),
    mistakes={
        'You rescale short gradients too: clipping never lengthens.': lambda g, c: g * c / g.norm(),
        'You clip each number by itself, which turns the gradient; the norm is that of all of it.': lambda g, c: g.clamp(-c, c),
        'You divide by the squared norm.': lambda g, c: g * min(1.0, c / g.square().sum().item()),
    },
    rtol=1e-5,
)


def _rate_case(g: torch.Generator) -> tuple[int, float, int, int]:
    warmup = _whole(5, 15, g)
    total = warmup + _whole(20, 60, g)
    return _whole(0, total, g), _number(1e-3, 1e-2, g), warmup, total


def _rate(n: int, peak: float, warmup: int, total: int, rise: float, u: float) -> float:
    return peak * rise * (1 + math.cos(math.pi * min(max(u, 0.0), 1.0))) / 2


add(
    '24-3',
    'Give the learning rate of update n: a linear rise over `warmup` updates, then half a cosine down to 0 at `total`.',
    cases=_rate_case,
    truth=lambda n, p, w, N: _rate(n, p, w, N, min(1.0, (n + 1) / (w + 1)), (n - w) / (N - w)),
    mistakes={
        'Your first update has rate 0 and is wasted: the rise is (n + 1) / (warmup + 1).': lambda n, p, w, N: _rate(
            n, p, w, N, min(1.0, n / w), (n - w) / (N - w)
        ),
        'Your cosine starts at update 0; it starts where the rise ends.': lambda n, p, w, N: _rate(n, p, w, N, min(1.0, (n + 1) / (w + 1)), n / N),
        'You forgot the rise.': lambda n, p, w, N: _rate(n, p, w, N, 1.0, (n - w) / (N - w)),
        'You forgot the fall.': lambda n, p, w, N: p * min(1.0, (n + 1) / (w + 1)),
    },
)


question(
    '24-a',
    'Give the largest of four stratified times when every random number is 0.5.',
    0.875,
    {
        0.5: 'Each example has a slice of its own: add its number, 0 to 3, before you divide by four.',
        0.75: 'That is where the last slice begins; the time lies in its middle.',
        1.125: 'Examples are counted from 0, so the last has the number 3.',
        3.5: 'Divide by the size of the batch: times lie between 0 and 1.',
    },
)
question(
    '24-b',
    'Which gradient does the third step use if gradients are never set to zero?',
    6,
    {
        3: 'PyTorch adds the new gradient to what is there, and nothing has removed the first two.',
        2: 'They are added, not averaged.',
        5: 'The first gradient is still in the sum as well.',
    },
)
question(
    '24-c',
    'By how much does Adam change two weights in its first update, with the rate 0.01 and the gradients 0.5 and 0.0001?',
    (0.01, 0.01),
    {
        (0.005, 0.000001): 'That is plain gradient descent, rate times gradient; Adam divides each gradient by its own size first.',
        (0.01, 0.000002): 'The second weight is divided by its own gradient, not by the first.',
        (0.5, 0.0001): 'These are the gradients; the step is the rate times g / |g|.',
        (1, 1): 'Times the learning rate.',
    },
)
question(
    '24-d',
    'Which share do the untrained weights have in an average with d = 0.999 after 500 updates?',
    0.999**500,
    {
        1 - 0.999**500: 'That is the share of all that came later; the start keeps the rest.',
        0.001: 'That is the share with which each new update enters; the start is multiplied by 0.999 five hundred times.',
        0.5: 'Shares are multiplied, not subtracted: 0.999 to the power of 500.',
        0.999**1000: 'That is after 1,000 updates; here are 500.',
    },
)
question(
    '24-e',
    'What does a weight of 1 in bfloat16 hold after 100 updates of 0.001 each?',
    1,
    {
        1.1: 'That is exact arithmetic. Between 1 and 2 the numbers of bfloat16 are 1/128 apart: to which of them is 1.001 rounded?',
        1.0078125: 'The error does not wait until it is large enough: each sum is rounded back to 1 before the next is added.',
        1.1015625: 'The sum is rounded after each update, not once at the end.',
    },
    rtol=1e-4,
)
question(
    '24-f',
    'What happens if the average is updated one line too early?',
    'a',
    {
        'b': 'It moves: it takes in the weights as they are before each step, which the step before has changed.',
        'c': 'The average only reads the weights; gradients do not know of it.',
    },
)
