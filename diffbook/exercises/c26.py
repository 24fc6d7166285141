"""Graders of the chapter on many machines."""

import torch

from diffbook.exercise import add, question


def _whole(low: int, high: int, g: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=g))


add(
    '26-1',
    'Give the bytes that each process sends in a ring.',
    cases=lambda g: (_whole(3, 200, g), 1000.0 * _whole(1, 10**6, g)),
    truth=lambda n, S: 2 * (n - 1) / n * S,
    mistakes={
        'That is one way round: after it each process holds one finished piece; the finished pieces must go round as well.': lambda n, S: (n - 1) / n * S,
        'Those are the bytes of all processes together; each sends one n-th of them.': lambda n, S: 2 * (n - 1) * S,
        'That is the limit of many processes: nobody sends the piece that it finishes, so a factor (n - 1) / n is missing.': lambda n, S: 2 * S,
        'You passed the whole gradient in every step; a step moves one piece of S / n.': lambda n, S: (n - 1) * S,
        'A round takes n - 1 steps: after n a piece would be back where it began.': lambda n, S: (2 * n - 1) / n * S,
        'That is what a split model sends: it gathers the weights twice. Here gradients are summed and handed round once.': lambda n, S: 3 * (n - 1) / n * S,
    },
)  # fmt: skip


def _tokens(g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    n = _whole(3, 9, g)
    counts = torch.randperm(40, generator=g)[:n].double() + 1
    return (0.5 + torch.rand(n, generator=g, dtype=torch.float64)) * counts, counts


add(
    '26-2',
    'Give the mean loss over all real tokens of all processes.',
    cases=_tokens,
    truth=lambda sums, counts: sums.sum() / counts.sum(),
    mistakes={
        'That is the mean of the means: a process with few tokens counts as much as one with many.': lambda sums, counts: (sums / counts).mean(),
        'You divided by the tokens of one process, not by those of all.': lambda sums, counts: sums.sum() / counts[0],
        'You divided by the number of processes, not by the number of tokens.': lambda sums, counts: sums.mean(),
        'That is the sum over all tokens; divide it by their number.': lambda sums, counts: sums.sum(),
        'You divided by the mean number of tokens: the result is the loss times the number of processes.': lambda sums, counts: sums.sum() / counts.mean(),
        'You weighted the means by the square of the number of tokens: sums hold one factor already.': lambda sums, counts: (sums * counts).sum() / counts.square().sum(),
    },
)  # fmt: skip


def _state(N: int, n: int, split: tuple[bool, bool, bool], bytes_each: tuple[int, int, int] = (4, 4, 12)) -> float:
    return sum(b * N / (n if s else 1) for b, s in zip(bytes_each, split))


add(
    '26-3',
    'Give the bytes of state that a process holds in stage 0, 1, 2 or 3.',
    cases=lambda g: (1000 * _whole(1, 10**6, g), _whole(2, 600, g), _whole(0, 4, g)),
    truth=lambda N, n, stage: _state(N, n, (stage > 2, stage > 1, stage > 0)),
    mistakes={
        'You left out the average of the weights, four bytes each.': lambda N, n, stage: _state(N, n, (stage > 2, stage > 1, stage > 0), (4, 4, 8)),
        'You left out the gradients.': lambda N, n, stage: _state(N, n, (stage > 2, stage > 1, stage > 0), (4, 0, 12)),
        'Stage 1 splits the moments and the average; you split the weights first.': lambda N, n, stage: _state(N, n, (stage > 0, stage > 1, stage > 2)),
        'You split everything at stage 1 already.': lambda N, n, stage: _state(N, n, (stage > 0, stage > 0, stage > 0)),
        'Stage 0 splits nothing: your stages are one ahead.': lambda N, n, stage: _state(N, n, (stage > 1, stage > 0, True)),
        'You counted numbers, not bytes: a float32 has four.': lambda N, n, stage: _state(N, n, (stage > 2, stage > 1, stage > 0)) / 4,
        'You split nothing: from stage 1 on, each process holds a piece.': lambda N, n, stage: 20.0 * N,
        'The average is no moment of the optimizer, but it is split with them in stage 1.': lambda N, n, stage: _state(N, n, (stage > 2, stage > 1, stage > 0), (4, 4, 8)) + 4 * N,
    },
)  # fmt: skip


question(
    '26-a',
    'What is the gradient of the whole batch if its four equal parts have 1, 2, 3 and 6?',
    3,
    {
        12: 'That is the sum. The loss is a mean over the batch, and so is its gradient.',
        2.5: 'That is the middle value, not the mean.',
        6: 'Every part counts, with one quarter.',
        0.75: 'You divided by the number of parts twice.',
    },
)

question(
    '26-b',
    'What is the loss of a batch if six examples have the mean 1 and two the mean 5?',
    2,
    {
        3: 'That is the plain mean of the parts, as if they were equally large.',
        4: 'You exchanged the weights: the part of six counts for six eighths.',
        16: 'That is the sum over the examples; divide by their number.',
        6: 'That is the sum of the means. Weigh each with its share of the examples.',
    },
)

question(
    '26-c',
    'How many different noises are in a batch of 64 if four processes seed alike?',
    16,
    {
        64: 'That would be right with rows of one draw. Seeded alike, all four draw the same sixteen.',
        4: 'Each process draws one noise for each of its sixteen examples.',
        1: 'Within a process the noises of the examples differ.',
        48: 'That is how many are copies.',
    },
    rtol=0.001,
)

question(
    '26-d',
    'How many MB does each of five processes send when 100 MB are added up in a ring?',
    160,
    {
        200: 'That is the bound for many processes. Each of the 2 (n - 1) steps sends one n-th.',
        80: 'That is one half of the way, reduce-scatter. All-gather sends as much again.',
        800: 'A step sends one piece, a fifth of the gradient, not all of it.',
        100: 'Each piece goes round nearly twice: once to be added up, once to be known.',
        40: 'That is one step there and one back. There are n - 1 of each.',
    },
)

question(
    '26-e',
    'How much longer than the backward pass does it take to send 0.6 in ten buckets while computing 1?',
    0.06,
    {
        0.6: 'That is with one bucket. Nine of ten are sent while others are computed.',
        0: 'The last bucket is ready only when the backward pass ends.',
        0.1: 'That is the time to compute a bucket. To send one takes 0.6 / 10.',
        1.06: 'That is the whole time; how much of it is beyond the backward pass?',
        0.54: 'That is the part that is hidden.',
    },
)

question(
    '26-f',
    'What is it if the weights of one process and of four differ by a ten-millionth?',
    'b',
    {
        'a': 'Other noise shows at once, and a million times larger.',
        'c': 'Another rate changes every step by much more than the last digits.',
    },
)
