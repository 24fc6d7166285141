"""Graders of the chapter on adapters."""

import torch

from diffbook.exercise import add, question


def draw(g, *shape):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


add(
    '74-1',
    'Merge a LoRA into a weight.',
    cases=lambda g: (draw(g, 5, 7), draw(g, 3, 7), draw(g, 5, 3), 8.0, 0.6),
    truth=lambda w, a, b, alpha, scale: w + scale * alpha / len(a) * b @ a,
    mistakes={
        'Alpha is lost: the change is scaled by alpha over the rank, and by the scale of whoever draws.': lambda w, a, b, alpha, scale: w + scale * b @ a,
        'You multiplied by alpha and did not divide by the rank.': lambda w, a, b, alpha, scale: w + scale * alpha * b @ a,
        'You divided by the root of the rank; that is the rank-stabilised form, and here the gain is alpha over the rank.': lambda w, a, b, alpha, scale: (
            w + scale * alpha / len(a) ** 0.5 * b @ a
        ),
        'The scale of whoever draws is missing.': lambda w, a, b, alpha, scale: w + alpha / len(a) * b @ a,
        'The scale counts twice: once in each matrix is once too often.': lambda w, a, b, alpha, scale: w + scale**2 * alpha / len(a) * b @ a,
        'That is the change alone; it is added to w.': lambda w, a, b, alpha, scale: scale * alpha / len(a) * b @ a,
        'That takes the change out of a weight that never had it.': lambda w, a, b, alpha, scale: w - scale * alpha / len(a) * b @ a,
        'The rank is the number of rows of a; you divided by the width of the input.': lambda w, a, b, alpha, scale: w + scale * alpha / a.shape[1] * b @ a,
    },
)

add(
    '74-2',
    'Join three changes of one layer into one pair of matrices.',
    cases=lambda g: (draw(g, 3, 2, 5), draw(g, 3, 4, 2)),
    truth=lambda a, b: (a.flatten(0, 1), torch.block_diag(*b)),
    mistakes={
        'Each of the three B must write to its own rows and read its own r numbers: they stand as blocks along the diagonal.': lambda a, b: (
            a.flatten(0, 1),
            torch.cat([torch.cat(list(b), 1)] * 3),
        ),
        'The blocks are right; the three A stand above each other, not in a sum.': lambda a, b: (a.sum(0), torch.block_diag(*b)),
        'The A are right. Put below each other, the three B read the same r numbers; give each its own columns.': lambda a, b: (
            a.flatten(0, 1),
            b.flatten(0, 1),
        ),
        'The blocks are in the wrong order: the first B belongs to the first A and to the first rows.': lambda a, b: (
            a.flatten(0, 1),
            torch.block_diag(*b.flip(0)),
        ),
    },
)

add(
    '74-3',
    'Say which share of a change the best LoRA of rank r loses.',
    cases=lambda g: (draw(g, 9).abs(), 3),
    truth=lambda s, r: (s.sort(descending=True).values[r:].square().sum() / s.square().sum()).sqrt(),
    mistakes={
        'That is the share of the squares; the norm is its root.': lambda s, r: s.sort(descending=True).values[r:].square().sum() / s.square().sum(),
        'That is the share that is kept.': lambda s, r: (s.sort(descending=True).values[:r].square().sum() / s.square().sum()).sqrt(),
        'The values come in no order: the best LoRA keeps the largest ones, so sort first.': lambda s, r: (s[r:].square().sum() / s.square().sum()).sqrt(),
        'The Frobenius norm adds squares of the singular values, and not the values.': lambda s, r: s.sort(descending=True).values[r:].sum() / s.sum(),
        'That is the norm of what is lost; divide by the norm of the whole change.': lambda s, r: s.sort(descending=True).values[r:].square().sum().sqrt(),
        'That is the largest single value that is lost, the error in another norm.': lambda s, r: s.sort(descending=True).values[r] / s.max(),
    },
)

add(
    '74-4',
    'Count the new thing among pictures of an ideal network with one caption for both.',
    cases=lambda g: (0.2 + 2 * torch.rand((), generator=g, dtype=torch.float64), 50),
    truth=lambda keep, n: (n / (1 + keep), (n * keep).sqrt() / (1 + keep)),
    mistakes={
        'That is the number of old pictures: keep / (1 + keep) is their share.': lambda keep, n: (n * keep / (1 + keep), (n * keep).sqrt() / (1 + keep)),
        'The weights must add to one: the new term has the share 1 / (1 + keep).': lambda keep, n: (n * (1 - keep), (n * keep * (1 - keep).abs()).sqrt()),
        'The mean is right; that is the variance, and its root is asked for.': lambda keep, n: (n / (1 + keep), n * keep / (1 + keep) ** 2),
        'The mean is right; the standard deviation of a count of n is the root of n p (1 - p), not of p (1 - p).': lambda keep, n: (
            n / (1 + keep),
            keep.sqrt() / (1 + keep),
        ),
    },
)

question(
    '74-a',
    'The numbers that a new word costs.',
    768,
    {49408 * 768: 'That is the whole table; the old rows are frozen.', 49409: 'The length of the table is not trained; a row has as many numbers as the tower is wide.', 1: 'One row, and a row has 768 numbers.'},
)
question(
    '74-b',
    'The share of numbers of a LoRA of rank 8.',
    8 * (768 + 3072) / (768 * 3072),
    {
        8 * 768 / (768 * 3072): 'That is one of the two matrices; there is A, with the inputs, and B, with the outputs.',
        (768 + 3072) / (768 * 3072): 'That is rank 1; rank 8 has eight times as many.',
        64 * (768 + 3072) / (768 * 3072): 'The rank counts once in each matrix: r m + r n.',
    },
)
question(
    '74-c',
    'A file that lost its alpha.',
    2,
    {
        0.5: 'The other way round: she had 8 / 16, they have 16 / 16.',
        8: 'The gain is alpha over the rank, for her 8 / 16, for the others 16 / 16.',
        1: 'That would be so if she had trained with alpha 16.',
    },
)
question(
    '74-d',
    'The rank of a change of five directions and a shift.',
    5,
    {
        6: 'The shift changes the constant, not the matrix.',
        1: 'That is the shift alone, and it is in the constant; the matrix changes in five directions.',
        64: 'Whatever the number of pixels: five.',
    },
)
