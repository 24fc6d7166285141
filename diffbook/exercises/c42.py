"""Graders of the chapter on conditioning."""

import math

import torch
import torch.nn.functional as F

from diffbook.exercise import add, question


def _mask(length, g):
    "Some tokens and some filling, in any order."
    mask = torch.rand(length, generator=g) < 0.5
    mask[torch.randperm(length, generator=g)[:2]] = torch.tensor([True, False])
    return mask


def _attend_cases(g):
    d = int(torch.randint(3, 9, (), generator=g))
    q, k, v = (torch.randn(n, d, generator=g, dtype=torch.float64) for n in (4, 6, 6))
    return q, k, v, _mask(6, g)


def _attend(q, k, v, mask, scale=None, dim=1):
    scores = q @ k.T * (q.shape[1] ** -0.5 if scale is None else scale)
    return torch.softmax(scores.masked_fill(~mask, -math.inf), dim=dim).nan_to_num(0.0) @ v


def _scores(q, k):
    return q @ k.T / q.shape[1] ** 0.5


add(
    '42-1',
    'Average the values of the tokens that may be read, with the softmax of their scores as weights.',
    cases=_attend_cases,
    truth=lambda q, k, v, mask: F.scaled_dot_product_attention(q[None], k[None], v[None], mask[None])[0],
    mistakes={
        'Your mask is inverted: True marks a token that may be read, and you hid those.': lambda q, k, v, mask: _attend(q, k, v, ~mask),
        'You ignore the mask: the filling is read too.': lambda q, k, v, mask: _attend(q, k, v, torch.ones_like(mask)),
        'You set the scores of the filling to 0, but exp(0) is 1 and not 0: its score must be minus infinity.': lambda q, k, v, mask: torch.softmax(_scores(q, k) * mask, 1) @ v,
        'You mask after the softmax, so the weights no longer sum to one: mask the scores before it.': lambda q, k, v, mask: (torch.softmax(_scores(q, k), 1) * mask) @ v,
        'Your softmax runs over the queries: each query shares one unit among the tokens (the last axis of the scores).': lambda q, k, v, mask: _attend(q, k, v, mask, dim=0),
        'Your softmax runs over the queries, and where all of them are masked it divides zero by zero: it belongs on the last axis of the scores.': lambda q, k, v, mask: torch.softmax(_scores(q, k).masked_fill(~mask, -math.inf), dim=0) @ v,
        'The scores are not divided by the root of d.': lambda q, k, v, mask: _attend(q, k, v, mask, scale=1.0),
        'You divided the scores by d; divide by its root.': lambda q, k, v, mask: _attend(q, k, v, mask, scale=1 / q.shape[1]),
    },
)  # fmt: skip


def _forget_cases(g):
    vec, null_vec = torch.randn(2, 6, 3, generator=g, dtype=torch.float64)
    seq, null_seq = torch.randn(2, 6, 4, 2, generator=g, dtype=torch.float64)
    p = 0.2 + 0.6 * torch.rand((), generator=g, dtype=torch.float64).item()
    u = torch.rand(6, generator=g, dtype=torch.float64)
    order = torch.randperm(6, generator=g)[:2]
    u[order] = torch.tensor([0.5 * p, 0.5 + 0.5 * p], dtype=torch.float64)  # at least one forgets and one does not
    return vec, seq, null_vec, null_seq, u, p


def _forget(vec, seq, null_vec, null_seq, lost, lost_seq=None):
    lost_seq = lost if lost_seq is None else lost_seq
    return torch.where(lost[:, None], null_vec, vec), torch.where(lost_seq[:, None, None], null_seq, seq)


add(
    '42-2',
    'Replace all of the condition of those examples whose number is below p.',
    cases=_forget_cases,
    truth=lambda vec, seq, nv, ns, u, p: _forget(vec, seq, nv, ns, u < p),
    mistakes={
        'You keep with probability p: an example forgets if its number is below p.': lambda vec, seq, nv, ns, u, p: _forget(vec, seq, nv, ns, u >= p),
        'You decide once for the whole batch: each example has its own number.': lambda vec, seq, nv, ns, u, p: _forget(vec, seq, nv, ns, (u < p)[:1].expand(len(u))),
        'The decisions for the two fields differ: an example loses vector and tokens together or keeps both.': lambda vec, seq, nv, ns, u, p: _forget(vec, seq, nv, ns, u < p, u.flip(0) < p),
        'Your tokens decide with other numbers than your vectors: an example loses both together or keeps both.': lambda vec, seq, nv, ns, u, p: _forget(vec, seq, nv, ns, u < p, 1 - u < p),
        'Only the vector is forgotten: the tokens still say everything.': lambda vec, seq, nv, ns, u, p: _forget(vec, seq, nv, ns, u < p, torch.zeros_like(u) > 0),
        'Only the tokens are forgotten: the vector still says everything.': lambda vec, seq, nv, ns, u, p: _forget(vec, seq, nv, ns, torch.zeros_like(u) > 0, u < p),
        'You put zeros: what stands for nothing is the null condition.': lambda vec, seq, nv, ns, u, p: _forget(vec, seq, 0 * nv, 0 * ns, u < p),
        'You scaled what is kept by 1 / (1 - p), as dropout does: a condition is replaced and not silenced, so nothing is scaled.': lambda vec, seq, nv, ns, u, p: _forget(vec / (1 - p), seq / (1 - p), nv, ns, u < p),
    },
)  # fmt: skip


def _modulate(h, gain, b, correction=0, axis=1):
    mean, std = h.mean(axis, keepdim=True), h.var(axis, correction=correction, keepdim=True).sqrt()
    return gain * (h - mean) / std + b


add(
    '42-3',
    'Normalise each row, multiply by 1 + a and add b.',
    cases=lambda g: tuple(torch.randn(3, 5, 7, generator=g, dtype=torch.float64) * torch.tensor([2.0, 0.5, 0.5], dtype=torch.float64)[:, None, None] + 0.3),
    truth=lambda h, a, b: (1 + a) * F.layer_norm(h, h.shape[1:], eps=0.0) + b,
    mistakes={
        'Your gain is a and not 1 + a: at a = 0 the signal is erased.': lambda h, a, b: _modulate(h, a, b),
        'Gain and bias are exchanged.': lambda h, a, b: _modulate(h, 1 + b, a),
        'The bias is added before the gain is applied.': lambda h, a, b: _modulate(h, 1 + a, (1 + a) * b),
        'You modulate before you normalise, which undoes most of it.': lambda h, a, b: _modulate((1 + a) * h + b, 1.0, 0.0),
        'You divided by the number of entries less one: take the plain mean of the squares.': lambda h, a, b: _modulate(h, 1 + a, b, correction=1),
        'You normalised each column: a row is one example.': lambda h, a, b: _modulate(h, 1 + a, b, axis=0),
        'You subtracted the mean and did not divide by the standard deviation.': lambda h, a, b: (1 + a) * (h - h.mean(1, keepdim=True)) + b,
        'You divided by the variance: divide by its root.': lambda h, a, b: (1 + a) * (h - h.mean(1, keepdim=True)) / h.var(1, correction=0, keepdim=True) + b,
    },
)  # fmt: skip


def _away_cases(g):
    mean_c, mean_n = (3 * torch.rand(2, generator=g, dtype=torch.float64) - 1.5).tolist()
    var_c, wider, s = torch.rand(3, generator=g, dtype=torch.float64).tolist()
    return mean_c, 0.3 + var_c, mean_n, 0.5 + var_c + wider, 1.3 + 3 * s


def _away(mean_c, var_c, mean_n, var_n, wc, wn):
    precision = wc / var_c + wn / var_n
    return (wc * mean_c / var_c + wn * mean_n / var_n) / precision, 1 / precision


add(
    '42-4',
    'Precisions add with the weights s and 1 - s, and so do precision times mean.',
    cases=_away_cases,
    truth=lambda mc, vc, mn, vn, s: _away(mc, vc, mn, vn, s, 1 - s),
    mistakes={
        'You used the convention (1 + s) and -s: here the scale 1 is off, so the weights are s and 1 - s.': lambda mc, vc, mn, vn, s: _away(mc, vc, mn, vn, 1 + s, -s),
        'You multiplied by the negative class: its exponent is 1 - s, which is negative.': lambda mc, vc, mn, vn, s: _away(mc, vc, mn, vn, s, s - 1),
        'You divided by p(x | n) to the power s; the power is s - 1.': lambda mc, vc, mn, vn, s: _away(mc, vc, mn, vn, s, -s),
        'You combined means and variances directly: it is the precisions, and the precisions times the means, that add.': lambda mc, vc, mn, vn, s: (s * mc + (1 - s) * mn, s * vc + (1 - s) * vn),
        'The mean is combined without the precisions as weights.': lambda mc, vc, mn, vn, s: (s * mc + (1 - s) * mn, _away(mc, vc, mn, vn, s, 1 - s)[1]),
        'You extrapolated the means, as guidance does to estimates, and kept the variance of the class: the precisions and the precisions times the means add.': lambda mc, vc, mn, vn, s: (s * mc + (1 - s) * mn, vc),
        'You returned the precision; its inverse is the variance.': lambda mc, vc, mn, vn, s: (_away(mc, vc, mn, vn, s, 1 - s)[0], 1 / _away(mc, vc, mn, vn, s, 1 - s)[1]),
        'Your variance is a standard deviation.': lambda mc, vc, mn, vn, s: (_away(mc, vc, mn, vn, s, 1 - s)[0], _away(mc, vc, mn, vn, s, 1 - s)[1] ** 0.5),
    },
)  # fmt: skip


question(
    '42-a',
    'The unconditional answer where class 0 (answer -1) is four times as likely as class 1 (answer 0.5).',
    -0.7,
    {
        -0.25: 'You weighed both classes alike. The noisy image has already spoken: the weights are 0.8 and 0.2.',
        0.2: 'You exchanged the weights: class 0 is the likely one.',
        -0.625: 'Four times as likely means 4 to 1, which is 0.8 and 0.2, not 0.75 and 0.25.',
        -1.0: 'That is the answer of the likelier class. A squared error is made smallest by the mean over both.',
    },
)
question(
    '42-b',
    'Gain and bias of a class whose data are all 3.',
    (0.0, 3.0),
    {
        (1.0, 0.0): 'That returns the noisy number. A class without variance need not look at it.',
        (0.0, 0.0): 'The gain is right. With g = 0 the bias is the mean of the class.',
        (1.0, 3.0): 'The gain is alpha v / (alpha**2 v + sigma**2), and v is 0.',
        (3.0, 0.0): 'The first of the pair is the gain on the noisy number, the second the bias.',
    },
)
question(
    '42-c',
    'The share of weight of 68 fillings and 9 tokens, all with the score 0.',
    68 / 77,
    {
        0.0: 'A score of zero is not a weight of zero: exp(0) is 1.',
        9 / 77: 'That is the share of the nine tokens.',
        68 / 9: 'That is the ratio of the two. The weights add up to one over all 77.',
        1.0: 'The nine tokens have some weight, too: exp(0) is 1 for all.',
        0.87: 'That is what was printed for the random scores of the layer above. Here all scores are 0.',
    },
    rtol=0.005,
)
question(
    '42-d',
    'The channels into a U-Net that colours photographs: RGB noisy, grey beside it, which may be missing.',
    5,
    {
        4: 'That is the noisy image and the grey one. How does the network know that a grey image is there?',
        7: 'The image beside is grey and has one channel, not three.',
        6: 'Three noisy channels, one grey one, one that says whether it is there.',
        3: 'Those are the noisy channels alone. The image is stacked on them.',
    },
)
question(
    '42-e',
    'The answer under the null condition after training with p = 0.1: a, b or c.',
    'b',
    {
        'a': 'The number p says how often the null condition is trained, not by how much an answer is scaled.',
        'c': 'The squared error under the null condition is that of all images; zero is not their mean given x_t.',
    },
)
question(
    '42-f',
    'The mean squared distance of answers under right and foreign conditions, at losses of 0.40 and 0.65.',
    0.25,
    {
        0.5: 'That is the root: a distance. The question asks for the mean of its square.',
        1.05: 'The losses are subtracted: the cross term vanishes.',
        -0.25: 'The foreign condition has the larger loss; a square cannot be negative.',
        0.65: 'That is the loss under foreign conditions, in which the error under the right ones is contained.',
    },
)
