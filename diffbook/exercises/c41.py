"""Graders of the chapter on CLIP."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from diffbook.exercise import add, question


def _pairs(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    image, text = (F.normalize(torch.randn(6, 4, generator=g, dtype=torch.float64)) for _ in range(2))
    return image, text, torch.rand((), generator=g, dtype=torch.float64) * 2 + 0.5


def _logits(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    return log_scale.exp() * image @ text.T


def _both(logits: Tensor, reduction: str = 'mean', shift: int = 0) -> Tensor:
    right = (torch.arange(len(logits)) + shift) % len(logits)
    return (F.cross_entropy(logits, right, reduction=reduction) + F.cross_entropy(logits.T, right, reduction=reduction)) / 2


def _one(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, torch.arange(len(logits)))


add(
    '41-1',
    'Give the contrastive loss of a batch of unit vectors.',
    cases=_pairs,
    truth=lambda image, text, log_scale: _both(_logits(image, text, log_scale)),
    mistakes={
        'The scale is stored as its logarithm: take the exponential.': lambda i, t, s: _both(s * i @ t.T),
        'log_scale is the log of the INVERSE temperature: multiply by its exponential, do not divide.': (lambda i, t, s: _both(i @ t.T / s.exp())),
        'The scale is missing.': lambda i, t, s: _both(i @ t.T),
        'Only the images ask. The texts ask too: the same with the transposed logits, then the mean of both.': (lambda i, t, s: _one(_logits(i, t, s))),
        'Only the texts ask. The images ask too: the same with the transposed logits, then the mean of both.': (lambda i, t, s: _one(_logits(i, t, s).T)),
        'The mean of the two directions, not their sum.': lambda i, t, s: 2 * _both(_logits(i, t, s)),
        'The mean over the batch, not the sum.': lambda i, t, s: _both(_logits(i, t, s), 'sum'),
        'The right answers are one off: pair i stands on the diagonal.': lambda i, t, s: _both(_logits(i, t, s), shift=1),
    },
)


def _texts(g: torch.Generator) -> tuple[Tensor, Tensor, int]:
    "Texts that end early, padded with the end token; some other token is larger than it."
    n, length, end = 5, 8, 20
    tokens = torch.randint(0, 20, (n, length), generator=g)
    tokens[:, 1] = 30
    place = torch.randint(2, length - 2, (n,), generator=g)
    tokens = torch.where(torch.arange(length) >= place[:, None], end, tokens)
    return torch.randn(n, length, 3, generator=g, dtype=torch.float64), tokens, end


def _at(states: Tensor, place: Tensor) -> Tensor:
    return states[torch.arange(len(states)), place]


def _first(tokens: Tensor, end: int) -> Tensor:
    return (tokens == end).int().argmax(1)


def _mean_before(states: Tensor, tokens: Tensor, end: int) -> Tensor:
    there = (torch.arange(tokens.shape[1]) <= _first(tokens, end)[:, None]).double()[..., None]
    return (states * there).sum(1) / there.sum(1)


add(
    '41-2',
    'Give the state of each text at its first end token.',
    cases=_texts,
    truth=lambda states, tokens, end: _at(states, _first(tokens, end)),
    mistakes={
        'That is the last place. These texts are padded with end tokens, and the last of those is padding: the text ends at the first.': lambda states, tokens, end: (
            states[:, -1]
        ),
        'That is the mean over all places, padding included.': lambda states, tokens, end: states.mean(1),
        'That is the mean of the states up to the end; CLIP takes the state AT the end, which has read all before it.': _mean_before,
        'That is the largest token: right for published CLIP, whose end is the last of the vocabulary, not in general.': (
            lambda states, tokens, end: _at(states, tokens.argmax(1))
        ),
        'One place too early: the state before the end token has not seen that the text ends.': (
            lambda states, tokens, end: _at(states, _first(tokens, end) - 1)
        ),
        'That is the first place: under a causal mask it has seen nothing but the start token.': lambda states, tokens, end: states[:, 0],
    },
)


def _noisy(g: torch.Generator) -> tuple[Tensor, Tensor, int]:
    alpha_bar = torch.rand((), generator=g, dtype=torch.float64) * 0.8 + 0.1
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), int(torch.randint(16, 1024, (1,), generator=g))


add(
    '41-3',
    'Give the signal-to-noise ratio of one coordinate of a unit vector of d numbers under diffusion.',
    cases=_noisy,
    truth=lambda alpha, sigma, d: alpha**2 / (d * sigma**2),
    mistakes={
        'That is the ratio for data of unit variance; a coordinate of a unit vector has variance 1 / d.': (lambda alpha, sigma, d: (alpha / sigma) ** 2),
        'A coordinate has standard deviation 1 / sqrt(d), so variance 1 / d: square it.': (lambda alpha, sigma, d: (alpha / sigma) ** 2 / math.sqrt(d)),
        'The ratio is of variances: square alpha and sigma.': lambda alpha, sigma, d: alpha / (d * sigma),
        'The signal is the smaller for more numbers, not the larger: divide by d.': lambda alpha, sigma, d: d * (alpha / sigma) ** 2,
        'alpha is the signal scale already, not alpha_bar.': lambda alpha, sigma, d: alpha / (d * sigma**2),
    },
)


question(
    '41-a',
    'The loss, in nats, of equal scores for 64 captions.',
    4.159,
    {
        0.0: 'A loss of zero means that the right caption is always known. Here it is guessed with probability 1/64.',
        6.0: 'That is in bits. Nats use the natural logarithm.',
        1 / 64: 'That is the probability of the right caption. The loss is minus its logarithm.',
        -4.159: 'The logarithm of 1/64 is negative, and the loss is minus it.',
    },
)
question(
    '41-b',
    'The loss of the pictures when two of four captions are the same sentence and all else is perfect.',
    0.347,
    {
        0.0: 'Two pictures see two captions that fit equally well, of which the loss accepts only one.',
        0.693: 'That is the loss of those two pictures. The mean is over all four.',
        1.386: 'That is blind guessing among four. Here only two captions cannot be told apart.',
        0.5: 'One half is the chance of the right guess. The loss is its surprise, averaged over the four pictures.',
    },
)
question(
    '41-c',
    'The loss at K = 64, s = 1, right pairs at cosine 1 and wrong ones at 0.',
    3.185,
    {
        0.0: 'The softmax does not take the largest; it weighs by exp(cosine), and e against 1 is not much among 64.',
        4.159: 'That is blind guessing. The right caption has e times the weight of each other one.',
        4.17: 'You multiplied 63 by something near 1: the wrong captions have exp(0) against exp(1) of the right one.',
        5.149: 'The exponent is negative: -s (1 - c) = -1.',
    },
)
question(
    '41-d',
    'How many of eleven states change when the token at place 7 is replaced.',
    4,
    {
        11: 'That would be attention in both directions, as in the image tower. The text tower is causal.',
        8: 'Those are the places 0 to 7: what place 7 sees, not what sees place 7.',
        3: 'The state at place 7 itself changes as well.',
        1: 'Attention carries the change to all places behind it.',
        7: 'Those places come before: a causal tower does not look ahead.',
    },
)
question(
    '41-e',
    'The share of 1,024 quizzes in which the chosen picture contradicts the caption.',
    1 / 1024,
    {
        28 / 1024: 'Those are the choices that are counted as wrong; 27 of these pictures fit the caption.',
        1 / 28: 'That is the share among the wrong choices. The question asks for the share among all 1,024.',
        27 / 1024: 'Those are the wrong choices that do fit.',
        27 / 28: 'That is the share of wrong choices that fit.',
    },
)
question(
    '41-f',
    'What sorting by a large CLIP needs: a, b or c.',
    'b',
    {
        'a': 'Labels would help to check the result. The classifier itself comes from the text tower.',
        'c': 'The image tower stays as it is; its vector is compared with those of sentences.',
    },
)
question(
    '41-g',
    'Which batches teach who bites whom: a, b or c.',
    'b',
    {
        'a': 'Look at fig-clip-binding: 256 random pictures left the relation at chance. With more of them the nouns still win the quiz.',
        'c': 'Shorter captions make it easier still to do without the order.',
    },
)
