"""Graders of the chapter on exercises."""

import torch

from diffbook.exercise import add, question

add(
    '04-1',
    'Give the standard deviation of the sum of two independent noises of standard deviations a and b.',
    cases=lambda g: tuple(torch.rand(2, generator=g, dtype=torch.float64) + 0.5),
    truth=lambda a, b: torch.sqrt(a**2 + b**2),
    mistakes={
        'You added the standard deviations; it is the variances that add.': lambda a, b: a + b,
        'That is the variance; take its root.': lambda a, b: a**2 + b**2,
    },
)

question(
    '04-a',
    'Two independent noises have the standard deviations 3 and 4. Which one has their sum?',
    5.0,
    {7.0: 'Variances add, not standard deviations: 9 and 16.', 25.0: 'That is the variance; a root is missing.'},
)
