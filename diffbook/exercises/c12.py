"""Graders of the chapter on schedules."""

import torch

from diffbook.exercise import add, question


def _uniform(g: torch.Generator, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64)


def _table(g: torch.Generator) -> tuple:
    "A rising table of 5 to 40 betas and a whole time that is neither 0 nor T."
    T = int(torch.randint(5, 41, (), generator=g))
    betas = torch.sort(_uniform(g, 0.005, 0.02) + 0.1 * torch.rand(T, generator=g, dtype=torch.float64)).values
    return betas, int(torch.randint(2, T, (), generator=g))


def _ends() -> list[tuple]:
    "The ends of the promise: no step, and all of them."
    betas = torch.linspace(0.01, 0.2, 7, dtype=torch.float64)
    return [(betas, 0), (betas, 7)]


def _scales(betas: torch.Tensor, t: int) -> tuple:
    alpha_bar = torch.prod(1 - betas[:t])
    return torch.sqrt(alpha_bar), torch.sqrt(1 - alpha_bar)


add(
    '12-1',
    'From a table of betas, give (alpha, sigma) at the whole time t.',
    cases=_table,
    truth=_scales,
    edges=_ends(),
    mistakes={
        'Right but for t = 0: no step has been taken, so alpha = 1 and sigma = 0. An index of t - 1 = -1 reads the last entry of the table.': (
            lambda b, t: _scales(b, t if t else len(b))
        ),
        'Both scales are squared: you returned alpha_bar and 1 - alpha_bar; take the roots.': lambda b, t: (
            torch.prod(1 - b[:t]),
            1 - torch.prod(1 - b[:t]),
        ),
        'The signal is off by sqrt(alpha_bar): you used alpha_bar, not its root.': lambda b, t: (
            torch.prod(1 - b[:t]),
            torch.sqrt(1 - torch.prod(1 - b[:t])),
        ),
        'The noise is 1 - alpha_bar, a variance; its scale is the root.': lambda b, t: (
            torch.sqrt(torch.prod(1 - b[:t])),
            1 - torch.prod(1 - b[:t]),
        ),
        'One factor too many: after t steps there are t betas, betas[:t]; betas[t] belongs to the next step.': lambda b, t: _scales(b, t + 1),
        'One factor too few: betas[t - 1] is the beta of step t and has been used at time t.': lambda b, t: _scales(b, t - 1),
        'You used the last beta alone, not the product of all steps.': lambda b, t: (
            torch.sqrt(1 - b[t - 1]),
            torch.sqrt(b[t - 1]),
        ),
        'You took the root of beta: the product runs over 1 - beta.': lambda b, t: (
            torch.sqrt(torch.prod(b[:t])),
            torch.sqrt(1 - torch.prod(b[:t])),
        ),
        'You added the betas; exp(-sum) is the limit of small betas, the table itself is a product of 1 - beta.': lambda b, t: (
            torch.exp(-b[:t].sum() / 2),
            torch.sqrt(1 - torch.exp(-b[:t].sum())),
        ),
    },
)


def _two_times(g: torch.Generator) -> tuple:
    "Scales at two times of no special schedule, the second noisier."
    alpha_s, sigma_s = _uniform(g, 0.6, 1.2), _uniform(g, 0.2, 0.6)
    return alpha_s, sigma_s, alpha_s * _uniform(g, 0.3, 0.9), _uniform(g, 0.7, 1.5)


add(
    '12-2',
    'Give the standard deviation of the noise that is added between times s and t.',
    cases=_two_times,
    truth=lambda a, s, b, t: torch.sqrt(t**2 - (b / a * s) ** 2),
    mistakes={
        'That is the variance; take its root.': lambda a, s, b, t: t**2 - (b / a * s) ** 2,
        'You subtracted standard deviations; it is variances that subtract.': lambda a, s, b, t: t - s,
        'You subtracted standard deviations; it is variances that subtract (and here the shrinking was right).': lambda a, s, b, t: t - b / a * s,
        'The noise of x_s shrinks on the way: multiply its variance by (alpha_t / alpha_s)**2 before you subtract.': lambda a, s, b, t: torch.sqrt(t**2 - s**2),
        'A variance shrinks by the square of alpha_t / alpha_s.': lambda a, s, b, t: torch.sqrt(t**2 - b / a * s**2),
        'You divided by the ratio: x_s is multiplied by alpha_t / alpha_s.': lambda a, s, b, t: torch.sqrt((t**2 - (a / b * s) ** 2).abs()),
        'That holds on the circle only (alpha**2 + sigma**2 = 1): use sigma_t and sigma_s.': lambda a, s, b, t: torch.sqrt(1 - (b / a) ** 2),
    },
)

add(
    '12-3',
    'From the scales and their derivatives at one time, give the drift f and the diffusion g.',
    cases=lambda g: (_uniform(g, 0.3, 1.2), _uniform(g, 0.2, 1.5), -_uniform(g, 0.2, 1.5), _uniform(g, 0.3, 2.0)),
    truth=lambda a, s, da, ds: (da / a, torch.sqrt(2 * s * (ds - da / a * s))),
    mistakes={
        'You returned g**2; take its root.': lambda a, s, da, ds: (da / a, 2 * s * (ds - da / a * s)),
        'You left the drift out of the growth of the variance: subtract 2 f sigma**2.': lambda a, s, da, ds: (
            da / a,
            torch.sqrt(2 * s * ds),
        ),
        'The drift takes noise away when f < 0: minus 2 f sigma**2, not plus.': lambda a, s, da, ds: (
            da / a,
            torch.sqrt((2 * s * (ds + da / a * s)).abs()),
        ),
        'A factor two: the derivative of sigma**2 is 2 sigma sigma_dot.': lambda a, s, da, ds: (
            da / a,
            torch.sqrt(s * (ds - da / a * s)),
        ),
        'A factor two in one term only: the variance changes by 2 f sigma**2.': lambda a, s, da, ds: (
            da / a,
            torch.sqrt(2 * s * ds - da / a * s**2),
        ),
        'The drift is alpha_dot / alpha: it multiplies x, whose signal has the scale alpha already.': lambda a, s, da, ds: (
            da,
            torch.sqrt((2 * s * (ds - da * s)).abs()),
        ),
        'The drift has the wrong sign: alpha falls, so f is negative.': lambda a, s, da, ds: (
            -da / a,
            torch.sqrt(2 * s * (ds - da / a * s)),
        ),
    },
)

question(
    '12-a',
    'Two steps with beta = 0.36: which signal scale and noise scale?',
    (0.64, 0.768),
    {
        (0.4096, 0.5904): 'Those are the squares, alpha**2 and sigma**2. Take the roots.',
        (0.64, 0.59): 'The signal is right. The noise that you gave is a variance; take its root.',
        (0.64, 0.36): 'The signal is right. On the circle it is the squares that sum to one: sigma**2 = 1 - alpha**2.',
        (0.8, 0.6): 'That is one step. The second one shrinks and adds once more.',
        (0.529, 0.849): 'You added the betas. A step multiplies: what is kept is 0.64 of 0.64, not 1 - 0.72.',
        (0.64, 0.849): 'The signal is right. The noise of the first step shrinks in the second: its variance counts only 0.64 times.',
        (0.36, 0.933): 'You multiplied the betas. What is multiplied is what a step keeps, 1 - beta.',
    },
)

question(
    '12-b',
    'The picture x_t is made twice as bright. By how much does the log SNR change?',
    0.0,
    {
        1.386: 'That would be right if only the signal were doubled. The noise in the picture is doubled with it.',
        0.693: 'Signal and noise are doubled together: what happens to their ratio?',
        2.0: 'Signal and noise are doubled together: what happens to their ratio?',
        4.0: 'The power of the signal grows by 4, and so does the power of the noise.',
        -1.386: 'That would be right if only the noise were doubled. The signal is doubled with it.',
    },
)

question(
    '12-c',
    'Which table has the largest share of its steps between 30 and 60 degrees?',
    'b',
    {
        'a': 'The linear table hurries through the middle: its dots are far apart there. Far apart means few steps.',
        'c': 'It has more steps there than the linear table has. But which table walks at an even speed?',
    },
)

question(
    '12-d',
    'At which time of the straight line is a picture as noisy as at 60 degrees on the circle?',
    0.634,
    {
        0.667: 'That is the time of the cosine schedule, 60 of 90 degrees. Compare the ratios sigma / alpha.',
        0.75: 'You made t / (1 - t) equal to 3, the ratio of the powers. Of the scales it is tan 60 degrees.',
        0.366: 'That is the mirror image: there the signal is that much stronger than the noise.',
        0.866: 'You made sigma equal. The signal differs as well, and only the ratio counts.',
        0.5: 'At 0.5 signal and noise are equal, as at 45 degrees.',
        1.732: 'That is the ratio sigma / alpha to reach. Which t has t / (1 - t) equal to it?',
    },
    rtol=0.01,
)

question(
    '12-e',
    'The signal scale at the end is halved, from 0.02 to 0.01. By which factor do the nats left shrink?',
    4.0,
    {
        2.0: 'The nats go with the signal-to-noise ratio, a ratio of powers: alpha is squared.',
        0.25: 'Right, as a share of what was left. The question asks for the factor by which it shrinks.',
        0.5: 'The nats go with the signal-to-noise ratio, a ratio of powers: alpha is squared.',
        1.386: 'That is by how much lambda falls. For so small a signal log(1 + e**lambda) is nearly e**lambda.',
    },
)

question(
    '12-f',
    'At which t are signal and noise equally strong on the linear table of DDPM?',
    0.26,
    {
        0.5: 'Half of the time is right for the cosine and for the straight line. The linear table is ahead of them: look at its log SNR there.',
        0.45: 'Is that the angle? Signal and noise are equally strong at 45 degrees; the question is when the linear table gets there.',
        45.0: 'That is the angle at which they are equal. At which t does the linear table reach it?',
        0.74: 'You counted from the noisy end. In this book the data are at t = 0.',
        259.0: 'The right step of the thousand; as a share of the way it is 0.259.',
    },
    rtol=0.05,
)
