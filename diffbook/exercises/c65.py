"""Graders of the chapter on masked diffusion."""

import math

import torch

from diffbook.exercise import add, question


def numbers(g, *shape):
    return torch.rand(*shape, generator=g, dtype=torch.float64)


def two_times(g):
    a, b = numbers(g, 2, 5).sort(0).values
    return 0.9 * a, 0.05 + 0.95 * b


add(
    '65-1',
    'Give the chance that a letter hidden at t is shown at the earlier time s.',
    cases=two_times,
    truth=lambda alpha_t, alpha_s: (alpha_s - alpha_t) / (1 - alpha_t),
    mistakes={
        'That is the chance that it stays hidden: you want one minus it.': lambda t, s: (1 - s) / (1 - t),
        'You gave the share of all letters that are shown in the step. Only hidden ones can be: divide by the chance to be hidden at t.': lambda t, s: s - t,
        'You divided by the chance to be hidden at s. The letter is known to be hidden at t.': lambda t, s: (s - t) / (1 - s),
        'You divided by alpha: a letter is hidden at t with probability 1 - alpha_t.': lambda t, s: (s - t) / s,
        'That is the way forwards: how likely a letter seen at s is still seen at t.': lambda t, s: t / s,
    },
)


def batch(g):
    alpha = 0.1 + 0.8 * numbers(g, 3)
    hidden = numbers(g, 3, 5) > alpha[:, None]
    hidden[:, 0], hidden[:, 1] = True, False
    return torch.log(0.05 + 0.9 * numbers(g, 3, 5)), hidden, alpha, -0.5 - numbers(g, 3)


def weighed(log_p, hidden, alpha, alpha_dot, sign=-1.0, below=None, reduce=torch.sum):
    rows = torch.stack([reduce(row[keep]) for row, keep in zip(log_p, hidden)])
    return sign * -alpha_dot / (1 - alpha if below is None else below(alpha)) * rows


add(
    '65-2',
    'Give the estimate of the bound of each text, in nats.',
    cases=batch,
    truth=weighed,
    mistakes={
        'The sign is wrong: surprise is minus log p, and alpha falls, so -alpha_dot is positive.': lambda *a: weighed(*a, sign=1.0),
        'You added up all letters. Those that are seen cost nothing: only hidden ones count.': lambda lp, h, a, d: weighed(lp, torch.ones_like(h), a, d),
        'You took the mean over hidden letters. The bound takes their sum; the weight makes up for how many there are.': lambda *a: weighed(
            *a, reduce=torch.mean
        ),
        'The weight is missing. Without it the mean may lie below the entropy, which no bound can.': lambda lp, h, a, d: weighed(
            lp, h, torch.zeros_like(a), -torch.ones_like(d)
        ),
        'You divided by alpha. It is the chance to be hidden, 1 - alpha, that stands below.': lambda *a: weighed(*a, below=lambda alpha: alpha),
        'The speed of the schedule, -alpha_dot, is missing.': lambda lp, h, a, d: weighed(lp, h, a, -torch.ones_like(d)),
    },
)


def set_of(g):
    length = int(torch.randint(3, 9, (), generator=g))
    return int(torch.randint(1, length + 1, (), generator=g)), length


add(
    '65-3',
    'Give the weight of one set of k hidden places among `length`.',
    cases=set_of,
    truth=lambda k, length: torch.tensor(1 / (k * math.comb(length, k))).double(),
    mistakes={
        'You forgot which of the k hidden letters comes next: divide by k as well.': lambda k, n: 1 / math.comb(n, k),
        'You forgot how many sets of k places there are: divide by their number.': lambda k, n: 1 / k,
        'You counted ordered choices. A set has no order: the number is length over k.': lambda k, n: 1 / (k * math.perm(n, k)),
        'All sets together have the weight of a probability in yours. Here those of each size k sum to 1 / k, one letter at a time.': lambda k, n: 1 / 2**n,
        'Divide by the number of hidden letters, k, not by how many are seen once the next one is.': lambda k, n: 1 / ((n - k + 1) * math.comb(n, k)),
    },
)


def two_places(g):
    p, q = torch.softmax(3 * numbers(g, 2, 4), -1)
    return p, q


def kept(p, q, strictly=lambda a, b: a < b):
    first = p * (q * strictly(q, p[:, None])).sum(1)
    second = q * (p * strictly(p, q[:, None])).sum(1)
    return torch.stack([first, second])


add(
    '65-4',
    'Give the joint distribution of the place that is kept and its token.',
    cases=two_places,
    truth=kept,
    mistakes={
        'The likelier is kept; you kept the less likely.': lambda p, q: kept(p, q, lambda a, b: a > b),
        'You compared the most likely tokens of the places, before anything was drawn: that is the other rule.': lambda p, q: torch.stack(
            [p * (p.max() > q.max()), q * (q.max() > p.max())]
        ),
        'Half of the chance for each place would be right if the place were chosen by a coin.': lambda p, q: torch.stack([p, q]) / 2,
        'You multiplied by the number of tokens that lose, not by their probability: sum q over them.': lambda p, q: torch.stack(
            [p * (q < p[:, None]).double().mean(1), q * (p < q[:, None]).double().mean(1)]
        ),
    },
)

question(
    '65-a',
    'Of the letters seen at s, the share that is hidden at t.',
    0.75,
    {
        0.25: 'That is the share that is still seen.',
        0.6: 'That is the share of all letters; of those that were seen at s it is more.',
        0.8: 'That is the share of all letters that is hidden at t; only those seen at s are asked for.',
    },
)
question(
    '65-b',
    'The chance to show a hidden letter in one step.',
    0.2,
    {
        0.1: 'That is the share of all letters. Only hidden ones can be shown: divide by the chance to be hidden at t.',
        0.8: 'That is the chance that it stays hidden.',
        1 / 6: 'Divide by the chance to be hidden at t, 0.5.',
        0.25: 'Divide by the chance to be hidden at t, 0.5, not at s.',
    },
)
question(
    '65-c',
    'The first letter, given the second.',
    1 / 6,
    {
        0.1: 'Divide by the probability of all texts that agree with what is seen, 0.6.',
        0.5: 'That would be right if nothing were seen. The b says something about the first letter.',
        0.2: 'Divide by the probability of all texts that agree, not by that of bb alone.',
    },
)
question(
    '65-d',
    'The loss of a text of 60 letters.',
    120,
    {
        2: 'That is the cost of one letter; the loss is of the whole text.',
        60: 'That is the sum over hidden letters, averaged over the time, without the weight.',
        240: 'On average a share t of the letters is hidden, not all of them.',
    },
)
question(
    '65-e',
    'The cost of both letters from right to left.',
    math.log(8),
    {
        math.log(4): 'That is the cost of the first letter in the other order.',
        math.log(2): 'That is the cost of the second letter in the other order.',
        math.log(32): 'The a is paid once: the cost is that of the text.',
        3: 'That is in bits; a nat is a natural logarithm.',
    },
)
question(
    '65-f',
    'The divergence of two letters that are drawn apart.',
    math.log(2),
    {
        2 * math.log(2): 'That is the sum of the single entropies; take away that of the text.',
        0.0: 'The predictions are perfect, but the letters do not see each other.',
        0.5: 'That is the share of what is written that is no text.',
        1: 'That is in bits; a nat is a natural logarithm.',
    },
)
question(
    '65-g',
    'What helps against mixed meanings.',
    'b',
    {
        'a': 'Letters of one step do not see each other, however good the network is.',
        'c': 'Longer training betters each single distribution; letters of one step still do not see each other.',
    },
)
