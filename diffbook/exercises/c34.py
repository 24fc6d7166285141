"""Graders of the chapter on the score."""

import torch

from diffbook.exercise import add, question


def u(g, low, high, shape=()):
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def two(g):
    "Points, and two bumps that overlap."
    return u(g, -3, 3, (5,)), u(g, 0.2, 0.45), u(g, -1.5, -0.5), u(g, 0.3, 0.6), u(g, 0.5, 1.5), u(g, 0.8, 1.6)


def bump(x, m, v):
    return torch.exp(-((x - m) ** 2) / (2 * v)) / torch.sqrt(v)


def mixed(x, m1, v1, m2, v2, a, b):
    return a / (a + b) * (m1 - x) / v1 + b / (a + b) * (m2 - x) / v2


def mixture_score(x, w, m1, v1, m2, v2):
    return mixed(x, m1, v1, m2, v2, w * bump(x, m1, v1), (1 - w) * bump(x, m2, v2))


def hard(x, w, m1, v1, m2, v2):
    first = (w * bump(x, m1, v1) > (1 - w) * bump(x, m2, v2)).double()
    return mixed(x, m1, v1, m2, v2, first, 1 - first)


add(
    '34-1',
    'Give the score of a mixture of two Gaussians on a line.',
    cases=two,
    truth=mixture_score,
    mistakes={
        'The sign: the score leads towards the means, (m - x) / v.': lambda *a: -mixture_score(*a),
        'You left out the weights w and 1 - w when you asked which bump x comes from.': lambda x, w, m1, v1, m2, v2: mixed(
            x, m1, v1, m2, v2, bump(x, m1, v1), bump(x, m2, v2)
        ),
        'The two scores must be averaged by how likely x came from each bump; you averaged them by the weights w and 1 - w alone.': lambda x, w, m1, v1, m2, v2: (
            mixed(x, m1, v1, m2, v2, w, 1 - w)
        ),
        'You gave the whole arrow to the likelier bump: the share of each is a probability, not a decision.': hard,
        'A bump of variance v has the height 1 / sqrt(v): without it narrow and wide bumps count alike.': lambda x, w, m1, v1, m2, v2: mixed(
            x, m1, v1, m2, v2, w * bump(x, m1, v1) * torch.sqrt(v1), (1 - w) * bump(x, m2, v2) * torch.sqrt(v2)
        ),
        'Each pull is divided by the variance of its bump: (m - x) / v.': lambda x, w, m1, v1, m2, v2: mixed(
            x, m1, v1**0, m2, v2**0, w * bump(x, m1, v1), (1 - w) * bump(x, m2, v2)
        ),
        'That is the gradient of the density; the score is that of its logarithm, so divide by the density.': lambda x, w, m1, v1, m2, v2: (
            (w * bump(x, m1, v1) * (m1 - x) / v1 + (1 - w) * bump(x, m2, v2) * (m2 - x) / v2) / (2 * torch.pi) ** 0.5
        ),
    },
)


def linear(g):
    "Three dimensions, seven points; the matrix is not symmetric."
    return tuple(torch.randn(shape, generator=g, dtype=torch.float64) for shape in ((3, 3), (3,), (7, 3)))


def implicit(A, b, x, half=0.5, trace=1.0):
    return half * (x @ A.T + b).square().sum(1).mean() + trace * A.trace()


add(
    '34-2',
    'Give the implicit loss of linear arrows.',
    cases=linear,
    truth=implicit,
    mistakes={
        'The square is halved, the divergence is not: E[|s|^2 / 2 + div s].': lambda *a: implicit(*a, half=1.0),
        'You halved the divergence too: E[|s|^2 / 2 + div s].': lambda *a: implicit(*a, trace=0.5),
        'The sign of the divergence: integration by parts turned -E[s . s_theta] into +E[div s_theta].': lambda *a: implicit(*a, trace=-1.0),
        'You added all entries of the Jacobian, as the gradient of s.sum() does; the divergence is the sum of its diagonal.': lambda A, b, x: (
            implicit(A, b, x, trace=0.0) + A.sum()
        ),
        'The divergence is missing: without it the arrow zero has the smallest loss.': lambda *a: implicit(*a, trace=0.0),
        'A row of x is one point: s = A x + b is x @ A.T + b for rows.': lambda A, b, x: implicit(A.T, b, x),
        'The divergence is the trace of A; you took its determinant.': lambda A, b, x: implicit(A, b, x, trace=0.0) + torch.linalg.det(A),
        'Add the squares of the coordinates and average over points; you averaged over coordinates as well.': lambda A, b, x: (
            (x @ A.T + b).square().mean() / 2 + A.trace()
        ),
    },
)


def a_step(g):
    return *(torch.randn(4, generator=g, dtype=torch.float64) for _ in range(2)), u(g, 0.05, 0.4), torch.randn(4, generator=g, dtype=torch.float64)


def step(x, score, h, z, climb=1.0, shake=None):
    return x + climb * h * score + (torch.sqrt(2 * h) if shake is None else shake) * z


add(
    '34-3',
    "Take a step of Langevin's.",
    cases=a_step,
    truth=step,
    mistakes={
        'The shaking is sqrt(2 h): with sqrt(h) the walkers settle on half the temperature, a law too narrow.': lambda x, s, h, z: step(
            x, s, h, z, shake=torch.sqrt(h)
        ),
        'Noise goes with the root of the length, sqrt(2 h); you multiplied it by 2 h or h itself.': lambda x, s, h, z: step(x, s, h, z, shake=h),
        'Noise goes with the root of the length: sqrt(2 h), not 2 h.': lambda x, s, h, z: step(x, s, h, z, shake=2 * h),
        'A right step for the same law, but of half the length: h / 2 along the score and sqrt(h) for the noise is the other convention.': lambda x, s, h, z: (
            step(x, s, h, z, 0.5, torch.sqrt(h))
        ),
        'You mixed two conventions: h / 2 along the score goes with sqrt(h), and h with sqrt(2 h).': lambda x, s, h, z: step(x, s, h, z, 0.5),
        'The score leads uphill, so it is added: x + h score.': lambda x, s, h, z: step(x, s, h, z, -1.0),
        'The shaking is missing: who only climbs ends on a summit.': lambda x, s, h, z: step(x, s, h, z, shake=0.0),
        'The root covers both: sqrt(2 h), not 2 sqrt(h).': lambda x, s, h, z: step(x, s, h, z, shake=2 * torch.sqrt(h)),
    },
)


def walkers(g):
    return u(g, 0.05, 2.0), u(g, 0.2, 1.5), u(g, 0.3, 1.2), u(g, 0.05, 0.4), 1 + int(torch.randint(6, (), generator=g))


def walked(v, s2, sigma, r, n, kept=lambda s2, g2, r: (1 - r * g2 / (s2 + g2)) ** 2, given=lambda g2, r: 2 * r * g2):
    for _ in range(n):
        v = kept(s2, sigma**2, r) * v + given(sigma**2, r)
    return v


add(
    '34-4',
    "Give the variance of walkers after n steps of Langevin's at one noise level.",
    cases=walkers,
    truth=walked,
    mistakes={
        'A factor on x is squared in the variance.': lambda *a: walked(*a, kept=lambda s2, g2, r: 1 - r * g2 / (s2 + g2)),
        'At this level the law has the variance s2 + sigma^2, and the score is -x / (s2 + sigma^2); you took -x / s2.': lambda *a: walked(
            *a, kept=lambda s2, g2, r: (1 - r * g2 / s2) ** 2
        ),
        'The data have a width of their own: the score is -x / (s2 + sigma^2), not -x / sigma^2.': lambda *a: walked(*a, kept=lambda s2, g2, r: (1 - r) ** 2),
        'The noise of a step has the standard deviation sqrt(2 h), so it adds the variance 2 h = 2 r sigma^2; you added h.': lambda *a: walked(
            *a, given=lambda g2, r: r * g2
        ),
        'You added the standard deviation of the noise, sqrt(2 h), and not its variance.': lambda *a: walked(*a, given=lambda g2, r: torch.sqrt(2 * r * g2)),
        'The length of a step is r sigma^2; you took r.': lambda *a: walked(*a, kept=lambda s2, g2, r: (1 - r / (s2 + g2)) ** 2, given=lambda g2, r: 2 * r),
        'That is where the variance comes to rest after endless steps; n are asked for.': lambda v, s2, sigma, r, n: (
            (s2 + sigma**2) / (1 - r * sigma**2 / (2 * (s2 + sigma**2)))
        ),
        'That is one step; n are asked for.': lambda v, s2, sigma, r, n: walked(v, s2, sigma, r, 1),
    },
)

question(
    '34-a',
    'The score of a Gaussian at a point.',
    -4.0,
    {
        4.0: 'The score leads back to the mean: minus (x - m) / v.',
        -2.0: 'Divide by the variance, not by the standard deviation.',
        -0.25: 'Divide by the variance; you multiplied by it.',
        -1.0: 'Divide by the variance: narrow Gaussians have long arrows.',
    },
)
question(
    '34-b',
    'The Fisher divergence of a candidate from its implicit loss.',
    0.58,
    {
        0.29: 'That is half of it: the implicit loss is half the Fisher divergence minus I / 2.',
        4.08: 'The constant is I / 2, not I.',
        8.16: 'The constant is I / 2, not I.',
        0.145: 'The loss holds half the divergence, so double the excess.',
    },
    rtol=0.03,
)
question(
    '34-c',
    'How wrong the arrows are.',
    0.73,
    {
        0.073: 'That is the error of the noise; the score is -eps / sigma, so divide by sigma.',
        0.0053: 'That is the excess of the loss: sigma^2 times the mean squared error of the arrows.',
        0.53: 'Divide by sigma^2 and then take the root.',
        9.7: 'Take off the floor first: a perfect network has the loss 0.9347.',
    },
    rtol=0.03,
)
question(
    '34-d',
    'The variance of walkers with halved arrows.',
    0.2,
    {
        0.1: 'That needs the whole arrows: with half of them the climb no longer balances the shaking.',
        0.05: 'Weaker arrows hold the walkers less, so they spread more.',
        0.4: 'The score of a Gaussian is -x / v: half of it belongs to twice the variance.',
    },
)
question(
    '34-e',
    'Where the bound on the likelihood sees the weights.',
    'b',
    {
        'a': 'The bound is one of the likelihood, and the likelihoods differ by 0.22 nats.',
        'c': 'At small noise the bumps lie apart, and the score of the two distributions is the same wherever there are data.',
    },
)
question(
    '34-f',
    'The share on the right after too large a jump.',
    0.61,
    {
        0.8: 'That would need walkers that cross; at a noise of 0.5 they cannot.',
        0.5: 'The walkers are not shared out evenly: each falls into the basin in which it stands.',
        0.39: 'That is the left bump.',
    },
)
