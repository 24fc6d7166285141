"""Graders of the chapter on grids."""

import math

import torch

from diffbook.exercise import add, question


def u(g, low, high):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64)


def angle(n, top, s, first=None):
    theta = (math.atan(top / s) if first is None else first) * torch.linspace(1, 0, int(n) + 1, dtype=torch.float64)
    return s * torch.tan(theta)


add(
    '39-1',
    'Give the levels of the even-angle grid.',
    cases=lambda g: (int(torch.randint(2, 12, (), generator=g)), float(u(g, 5, 80)), float(u(g, 0.2, 2))),
    truth=angle,
    mistakes={
        'The levels must fall: from top to 0.': lambda n, top, s: angle(n, top, s).flip(0),
        'That begins at an infinite level: the first angle is arctan(top / s), not a right angle.': lambda n, top, s: angle(n, top, s, math.pi / 2 - 1e-9),
        'The spread is missing: r = s tan(theta), for the angle arctan(top / s).': lambda n, top, s: angle(n, top, 1.0),
        'The angles are right; a level is s times their tangent.': lambda n, top, s: angle(n, top, s) / s,
        'Those are even steps of the level, not of its angle.': lambda n, top, s: top * torch.linspace(1, 0, n + 1, dtype=torch.float64),
        'There are n steps, so n + 1 levels; you gave n.': lambda n, top, s: angle(n - 1, top, s),
    },
)

add(
    '39-2',
    'Shift times of the straight path.',
    cases=lambda g: (torch.rand(5, generator=g, dtype=torch.float64), u(g, 1.5, 4)),
    truth=lambda t, k: k * t / (1 + (k - 1) * t),
    mistakes={
        'That shifts towards the data: the level is to be multiplied by k, not divided.': lambda t, k: t / (k - (k - 1) * t),
        'You multiplied the time: past 1 there is none. The level t / (1 - t) is multiplied.': lambda t, k: k * t,
        'That is the new level, k t / (1 - t); the time that has it is asked for.': lambda t, k: k * t / (1 - t),
        'The denominator is 1 + (k - 1) t, which is 1 at t = 0 and k at t = 1.': lambda t, k: k * t / (1 + k * t),
        'The shift is k itself; you took its logarithm for it, as where mu stands in a file.': lambda t, k: torch.exp(k) * t / (1 + (torch.exp(k) - 1) * t),
    },
)


def costs(g):
    m = int(torch.randint(5, 9, (), generator=g))
    table = torch.rand(m + 1, m + 1, generator=g, dtype=torch.float64) + torch.arange(m + 1.0).sub(torch.arange(m + 1.0)[:, None]).abs() ** 1.5
    return torch.where(torch.ones(m + 1, m + 1).triu(1) > 0, table, torch.inf), int(torch.randint(2, m - 1, (), generator=g))


def cheapest(table, n):
    best = table[0]
    for _ in range(n - 1):
        best = (best[:, None] + table).min(0).values
    return best[-1]


def greedy(table, n):
    i, total, m = 0, torch.zeros((), dtype=torch.float64), len(table) - 1
    for k in range(n - 1):
        j = i + 1 + int(table[i, i + 1 : m - (n - 2 - k)].argmin())
        total, i = total + table[i, j], j
    return total + table[i, m]


add(
    '39-3',
    'Find the least cost of a path in exactly n steps.',
    cases=costs,
    truth=cheapest,
    mistakes={
        'The first row is a path of one step already: n - 1 more are to be added, and you added n.': lambda c, n: cheapest(c, n + 1),
        'That is one step too few: after k rounds the path has k + 1 steps.': lambda c, n: cheapest(c, n - 1),
        'Exactly n steps are asked for, not at most n: here another number of steps is cheaper.': lambda c, n: min(cheapest(c, k) for k in range(1, len(c))),
        'Taking the cheapest step each time is not the cheapest path: a dear step may open a cheap way.': greedy,
        'That is the cost of even steps over the places; the best ones are asked for.': lambda c, n: sum(
            c[i, j] for i, j in zip([k * (len(c) - 1) // n for k in range(n)], [(k + 1) * (len(c) - 1) // n for k in range(n)])
        ),
    },
)


def levels(g):
    steps = int(torch.randint(2, 8, (), generator=g))
    return torch.rand(steps, generator=g, dtype=torch.float64).mul(5).sort(descending=True).values, u(g, 0.3, 2)


add(
    '39-4',
    'Give the factor by which DDIM makes Gaussian data too narrow.',
    cases=levels,
    truth=lambda r, s: torch.cos(torch.atan(r / s).diff()).prod(),
    mistakes={
        'That is the loss of one step through the whole angle: each step has a cosine of its own.': lambda r, s: torch.cos(torch.atan(r[0] / s) - torch.atan(r[-1] / s)),
        'You squared it: that is the factor of the variance.': lambda r, s: torch.cos(torch.atan(r / s).diff()).prod() ** 2,
        'The cosines of the steps are multiplied, not added.': lambda r, s: torch.cos(torch.atan(r / s).diff()).sum(),
        'The cosine of the difference of angles is asked for, not the quotient of cosines: that is how the exact path shrinks.': lambda r, s: torch.cos(torch.atan(r[0] / s)) / torch.cos(torch.atan(r[-1] / s)),
        'The angle is that of r / s; you left out the spread of the data.': lambda r, s: torch.cos(torch.atan(r).diff()).prod(),
        'The angle is that of r / s; you have it upside down in the spread.': lambda r, s: torch.cos(torch.atan(r * s).diff()).prod(),
        'You took the level for the angle: theta = arctan(r / s).': lambda r, s: torch.cos((r / s).diff()).prod(),
    },
)  # fmt: skip

question(
    '39-a',
    'By which factors the errors of one DDIM step and of the walk fall when all steps are halved.',
    (4.0, 2.0),
    {
        (2.0, 2.0): 'A single step errs by the square of its length.',
        (4.0, 4.0): 'That is right for a step, but now there are twice as many steps.',
        (2.0, 4.0): 'It is the other way round: the square belongs to the step, and the walk adds twice as many.',
        (4.0, 8.0): 'Twice as many steps add more errors, not fewer: divide by two.',
    },
)
question(
    '39-b',
    'How much denser the best grid is where c is a hundred times larger.',
    10.0,
    {
        100.0: 'The density goes with the root of c, not with c.',
        0.1: 'The steps are a tenth as long, so the density is ten times as large.',
        10000.0: 'The root of c, not its square.',
    },
)
question(
    '39-c',
    'The middle level of an even-angle grid for data of standard deviation 0.5.',
    0.5,
    {
        1.0: 'The tangent of 45 degrees is one, in units of the standard deviation of the data.',
        0.25: 'Half of the angle is not half of the level: r = s tan(theta).',
        0.7854: 'That is the angle, a quarter of pi; the level is s times its tangent.',
        40.0: 'That is half of the highest level: even steps of the level, not of its angle.',
    },
)
question(
    '39-d',
    'The time to which a shift of 3 moves 0.5.',
    0.75,
    {
        1.5: 'Past 1 there is no time. The level t / (1 - t) is multiplied, not the time.',
        3.0: 'That is the new level; the time that has it is asked for.',
        0.25: 'That shifts towards the data.',
        0.6: 'The denominator is 1 + (k - 1) t, which is 2 here.',
    },
)
question(
    '39-e',
    'Which grid to take with another solver than the one of the paper.',
    'c',
    {'a': 'Its errors were those of DDIM. A method of second order errs elsewhere.', 'b': 'That B lost for DDIM does not make it win for your solver.'},
)
question(
    '39-f',
    'What follows from an interval about zero.',
    'b',
    {'a': 'A difference of 0.4 either way is as well compatible with the measurement as none.', 'c': 'The smaller end is negative: it may as well be better.'},
)
