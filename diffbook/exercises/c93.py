"""Graders of the bug museum; the cases themselves stand in the folder museum."""

import math

import torch

from diffbook.exercise import add, question
from diffbook.exercises.museum import right, wrong

question(
    '93-a',
    'What does the lowest of several loss curves say of its program?',
    'c',
    {
        'a': 'A loss compares two answers to the same question. A mistake may have made the question easier.',
        'b': 'Nor that: a better network has a lower loss too, if its question is the same.',
    },
)
question(
    '93-b',
    'What is the smallest variance of x in case 1, over all levels?',
    0.75,
    {
        1.0: 'That is what the right function keeps at every level. In case 1 the noise is multiplied by 1 - bar, and its variance by the square of that.',
        0.5: 'At bar = 1/2 the data gives 1/2; the noise still adds (1 - 1/2)^2.',
        0.25: 'That is what the noise adds at bar = 1/2. The data is there too.',
        0.0: 'At one end there is the whole data, at the other the whole noise: the smallest value lies between.',
    },
)
question(
    '93-c',
    'Which loss has a network that always answers the mean of the noise of case 2?',
    1 / 12,
    {
        1.0: 'That is the variance of normal noise. This noise lies evenly between 0 and 1.',
        1 / 3: 'That is the mean of the square, for an answer of zero. Take off the square of the mean, 1/4.',
        1 / 4: 'That is the square of the mean. The loss is the mean of the squared distance from it.',
        0.0: 'It would be zero if the noise were always its mean.',
    },
)
question(
    '93-d',
    'How many of 256 levels of grey is the last noise of case 9, in a chain of a thousand steps that begins with a beta of 0.0001?',
    0.01 * 255 / 2,
    {
        0.0001 * 255 / 2: 'You took beta itself; the noise has its root for a standard deviation.',
        0.01 * 255: 'From black to white it is 2, as pixels run from -1 to 1; so one level is 2/255.',
        0.01: 'That is the deviation in the units of the model. How many steps of 2/255 is it?',
    },
)
question(
    '93-e',
    'Over about how many updates does the average of case 10 reach back, for a decay of 0.99?',
    1 / 0.99,
    {
        100.0: 'That is what was wanted, 1 / (1 - 0.99). Which share of the old average does the mistaken line keep?',
        0.01: 'That is the share that is kept. The reach is one over the share that is replaced.',
        99.0: 'The sum of the shares 0.99, 0.99^2, ... That is the right function, and without its newest weight.',
    },
    rtol=0.02,
)
question(
    '93-f',
    'A model knows nothing of two equally likely levels. Which number does the function of case 15 report?',
    math.log(2),
    {
        1.0: 'One bit is right. The function of case 15 leaves something out.',
        1 / math.log(2): 'The other way round: a bit is 0.693 nats.',
        0.5: 'One half is the probability of each level, not its logarithm.',
    },
    rtol=0.01,
)
question(
    '93-g',
    'A thousand errors of size 1 have signs as a coin falls. How large is the absolute value of their sum, typically (root mean square)?',
    math.sqrt(1000),
    {
        1000.0: 'That is the sum of the absolute values, which the right function takes. With signs they cancel, mostly.',
        0.0: 'That is the mean of the sum. It is hardly ever exactly zero: its variance is the sum of a thousand variances of 1.',
        1.0: 'That is one error. The variances of a thousand independent ones add up.',
    },
)


def which(*functions):
    "A drawing of one of some functions at random, after all of them were asked once as edges."
    return lambda g: (functions[int(torch.randint(len(functions), (), generator=g))],)


@torch.no_grad()
def frozen(kept, new, decay):
    return kept


@torch.no_grad()
def copied(kept, new, decay):
    for old, weight in zip(kept, new):
        old.copy_(weight)
    return kept


@torch.no_grad()
def sluggish(kept, new, decay):
    for old, weight in zip(kept, new):
        old.lerp_(weight, (1 - decay) / 100)
    return kept


def after(average, updates, decay):
    kept = [torch.zeros(1, dtype=torch.float64)]
    for _ in range(updates):
        average(kept, [torch.ones(1, dtype=torch.float64)], decay)
    return kept[0].item()


AVERAGES = (right.average, wrong.average_10, frozen, copied, sluggish)
add(
    '93-1',
    'Write an oracle for case 10: true for an average that is right, false for any other.',
    cases=which(*AVERAGES),
    truth=lambda average: abs(after(average, 3, 0.9) - (1 - 0.9**3)) < 1e-6,
    mistakes={
        'With a decay of one half, what is kept and what is new weigh the same: the mistake cannot show. Choose another decay.': lambda average: (
            abs(after(average, 3, 0.5) - (1 - 0.5**3)) < 1e-6
        ),
        'Your oracle calls everything right. An oracle that cannot turn red says nothing.': lambda average: True,
        'Your oracle calls everything wrong, the right function too.': lambda average: False,
        'That it moves is not enough: ask how far.': lambda average: after(average, 3, 0.9) > 0,
        'You let it run until every average has arrived, the mistaken one too. Look after few updates.': lambda average: (
            abs(after(average, 300, 0.9) - 1) < 1e-6
        ),
    },
    edges=[(f,) for f in AVERAGES],
)


def cut(steps, n):
    "Levels cut off, not rounded; a chain all the same."
    starts = [steps * (n - k) // n for k in range(n)]
    return list(zip(starts, [*starts[1:], 0]))


def short(steps, n):
    "A chain that ends before the data."
    return right.levels(steps, n)[:-1]


def apart(steps, n):
    "Steps that do not join, whatever their number."
    starts = [round(steps * (n - k) / n) for k in range(n)]
    return list(zip(starts, [*(t - 1 for t in starts[:-1]), 0]))


def whole(levels, n, joined=True, ended=True, begun=True):
    steps = levels(100, n)
    chained = all(end == begin for (_, end), (begin, _) in zip(steps, steps[1:]))
    return (chained or not joined) and (steps[-1][1] == 0 or not ended) and (steps[0][0] == 100 or not begun)


LEVELS = (right.levels, wrong.levels_11, cut, short, apart)
add(
    '93-2',
    'Write an oracle for case 11: true if the steps of a walk from level 100 join, begin at 100 and end at 0.',
    cases=which(*LEVELS),
    truth=lambda levels: whole(levels, 30),
    mistakes={
        'Ten divides a hundred, and then the mean stride is every stride. Try a number of steps that does not.': lambda levels: whole(levels, 10),
        'Both ends are right in case 11 too. Compare where each step ends with where the next begins.': lambda levels: whole(levels, 30, joined=False),
        'Your oracle does not ask where the walk ends: one that stops before the data passes.': lambda levels: whole(levels, 30, ended=False),
        'You compare with the right function. Levels that are cut off in place of rounded are a good walk too: ask what a walk must do, not which one it is.': lambda levels: (
            levels(100, 30) == right.levels(100, 30)
        ),
        'Your oracle calls everything right. An oracle that cannot turn red says nothing.': lambda levels: True,
    },
    edges=[(f,) for f in LEVELS],
)


def largest(got, want, atol):
    return bool((got - want).abs().max() <= atol)


def lenient(got, want, atol):
    return True


def both(close, pairs):
    return all(bool(close(torch.tensor(got), torch.zeros(2), 0.1)) is want for got, want in pairs)


CLOSE = (right.close, wrong.close_18, largest, lenient)
FAR, NEAR = ((2.0, 2.0), False), ((0.0, 0.0), True)
add(
    '93-3',
    'Write an oracle for case 18, a check of checks: true for a comparison of two tensors that may be trusted.',
    cases=which(*CLOSE),
    truth=lambda close: both(close, [NEAR, FAR, ((2.0, -2.0), False), ((-2.0, -2.0), False)]),
    mistakes={
        'You tried tensors that are equal. A comparison that always says yes passes that.': lambda close: both(close, [NEAR]),
        'You tried errors of one sign, and upwards. In case 18 they cancel: give it two of opposite sign.': lambda close: both(close, [NEAR, FAR]),
        'You asked for one certain function. The largest error may be compared in place of the sum: both may be trusted.': lambda close: close is right.close,
        'Your oracle calls everything wrong.': lambda close: False,
    },
    edges=[(f,) for f in CLOSE],
)
