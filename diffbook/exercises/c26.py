"""Graders of the chapter on many machines."""

import torch

from diffbook.exercise import add


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
