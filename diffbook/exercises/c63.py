"""Graders of the chapter on consistency."""

import torch

from diffbook.exercise import add, question


def u(g, low, high):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64)


def ends(g):
    "A time, a first time before it, and the spread of the data."
    t_min = u(g, 0.05, 0.3)
    return t_min + u(g, 0.1, 3.0), t_min, u(g, 0.3, 1.5)


def scalings(t, t_min, s, begin=None, root=None, lead=None, square=True):
    begin = t - t_min if begin is None else begin
    skip = s**2 / (begin**2 + s**2)
    return (skip if square else skip.sqrt()), (s if lead is None else lead) * begin / torch.sqrt((t if root is None else root) ** 2 + s**2)


add(
    '63-1',
    'Give c_skip and c_out of a consistency model that is the identity at t_min.',
    cases=ends,
    truth=scalings,
    mistakes={
        'Those are the factors of EDM: at t_min they are not 1 and 0. Measure the time from t_min (diffusers#6833).': lambda t, e, s: scalings(
            t, e, s, begin=t
        ),
        'c_out lacks the spread of the data in front (so do latent consistency models): under much noise the output is too loud by 1 / s.': lambda t, e, s: (
            scalings(t, e, s, lead=1.0)
        ),
        'Only c_skip begins at t_min; c_out must vanish there as well.': lambda t, e, s: (scalings(t, e, s)[0], scalings(t, e, s, begin=t)[1]),
        'Only c_out begins at t_min; c_skip must be one there.': lambda t, e, s: (scalings(t, e, s, begin=t)[0], scalings(t, e, s)[1]),
        'Under the root of c_out stands t itself, not t - t_min: it is the spread of the noisy state.': lambda t, e, s: scalings(t, e, s, root=t - e),
        'c_skip is the ratio of variances, and you gave its root.': lambda t, e, s: scalings(t, e, s, square=False),
        'The two numbers are exchanged: c_skip first.': lambda t, e, s: scalings(t, e, s)[::-1],
    },
)


def pair(g):
    "Scales at t and at the less noisy s, a noisy state and its example."
    alpha_t, sigma_t = u(g, 0.2, 0.6), u(g, 0.7, 1.2)
    return alpha_t, sigma_t, alpha_t * u(g, 1.2, 1.6), sigma_t * u(g, 0.3, 0.8), *torch.randn(2, 3, generator=g, dtype=torch.float64).unbind(0)


add(
    '63-2',
    'Move a pair of data and noise to the next level.',
    cases=pair,
    truth=lambda a, p, b, q, x, x0: b * x0 + q * (x - a * x0) / p,
    mistakes={
        'The noise is (x - alpha_t x0) / sigma_t: you divided by nothing.': lambda a, p, b, q, x, x0: b * x0 + q * (x - a * x0),
        'The noise of the pair is what remains when alpha_t x0 is taken away; you took away x0.': lambda a, p, b, q, x, x0: b * x0 + q * (x - x0) / p,
        'You took the noise away with the scale of the next level: the state has alpha_t.': lambda a, p, b, q, x, x0: b * x0 + q * (x - b * x0) / p,
        'The data keeps its old scale in your answer; at the next level it has alpha_s.': lambda a, p, b, q, x, x0: a * x0 + q * (x - a * x0) / p,
        'That is a shift of the state by the change of the signal: the noise shrinks as well.': lambda a, p, b, q, x, x0: x + (b - a) * x0,
        'You shrank the whole state by sigma_s / sigma_t and left the data at that.': lambda a, p, b, q, x, x0: q / p * x,
    },
)


def circle(g):
    return u(g, 0.2, 1.4), *torch.randn(4, 3, generator=g, dtype=torch.float64).unbind(0)


def turn(tau, x, v, F, dF, a=-1.0, b=-1.0):
    return a * torch.cos(tau) * (F - v) + b * torch.sin(tau) * (x + dF)


add(
    '63-3',
    'Give the change of cos(tau) x - sin(tau) F along the path.',
    cases=circle,
    truth=turn,
    mistakes={
        'You left out that F itself changes along the path: - sin(tau) dF.': lambda tau, x, v, F, dF: turn(tau, x, v, F, 0 * dF),
        'You left out that the state moves: cos(tau) v.': lambda tau, x, v, F, dF: turn(tau, x, 0 * v, F, dF),
        'You left out the derivative of cos(tau) before x: - sin(tau) x.': lambda tau, x, v, F, dF: turn(tau, 0 * x, v, F, dF),
        'You left out the derivative of sin(tau) before F: - cos(tau) F.': lambda tau, x, v, F, dF: turn(tau, x, v, 0 * F, dF),
        'The sign of the first bracket: where F is the velocity it vanishes, and it is - cos(tau) (F - v).': lambda tau, x, v, F, dF: turn(
            tau, x, v, F, dF, a=1.0
        ),
        'The sign of the second bracket: it is - sin(tau) (x + dF).': lambda tau, x, v, F, dF: turn(tau, x, v, F, dF, b=1.0),
        'The sign of everything: this is the change with rising tau.': lambda tau, x, v, F, dF: turn(tau, x, v, F, dF, 1.0, 1.0),
        'Sine and cosine are exchanged.': lambda tau, x, v, F, dF: turn(torch.pi / 2 - tau, x, v, F, dF),
    },
)


question(
    '63-a',
    'A self-consistent function that is not the consistency function.',
    'a',
    {'b': 'The denoiser answers with a mean that changes along the path.', 'c': 'Along a path f stays and t changes, so the sum does.'},
)
question(
    '63-b',
    'The answer with the boundary built in, inside and at the end.',
    (1.8, 1.0),
    {
        (2.0, 2.0): 'That is what the network says; the state has a share of it, and at the end all of it.',
        (1.8, 2.0): 'At the end the factor of the network is zero: the state is given back.',
        (1.2, 1.0): 'The share of the state is 0.1 / 0.5, one fifth; four fifths are the network.',
        (2.2, 1.0): 'The share of the network is what is left of one: 0.8.',
    },
)
question(
    '63-c',
    'Where one pair goes, and where all go on average.',
    (0.75, 0.35),
    {
        (0.35, 0.75): 'First the pair of this example, then the mean.',
        (1.0, 0.2): 'Those are the estimates; the step leads to s = 0.25, where some noise is left.',
        (0.35, 0.35): 'Only the mean of all pairs is the step of the denoiser; this pair goes by its own example.',
        (0.75, 0.75): 'On average the denoiser stands in the place of the example.',
    },
)
question(
    '63-d',
    'More steps for half the error, distilled from Euler and trained.',
    (2, 4),
    {
        (2, 2): 'Training has the order one half: the error falls with the root of the steps.',
        (4, 2): 'The other way round: training needs more.',
        (4, 4): 'Euler has order one: twice the steps, half the error.',
        (2, 1.4142): 'You took the root; to halve a root takes four times as many.',
    },
    rtol=0.01,
)
question(
    '63-e',
    'How much the loss falls on a grid that is ten times finer.',
    100,
    {10: 'The difference falls by ten; the loss is its square.', 1: 'The two ends come closer, and so do their answers.'},
)
question(
    '63-f',
    'Why two calls are not compared noise by noise.',
    'b',
    {'a': 'It is known at every time, for this mixture.', 'c': 'The second call starts from other places and ends at others.'},
)
