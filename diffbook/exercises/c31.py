"""The graders of the chapter on metrics."""

import torch

from diffbook.exercise import add


def _moments(g):
    draw = lambda: torch.randn(5, generator=g, dtype=torch.float64)  # noqa: E731
    return draw(), draw().exp(), draw(), draw().exp()


def _frechet(m1, v1, m2, v2):
    return (m1 - m2).square().sum() + (v1.sqrt() - v2.sqrt()).square().sum()


add(
    '31-1',
    'Write the squared Frechet distance of two Gaussians with diagonal covariances.',
    _moments,
    _frechet,
    {
        'You compared the variances; the formula compares the standard deviations, their roots.': lambda m1, v1, m2, v2: (m1 - m2).square().sum() + (v1 - v2).square().sum(),
        'The root of the whole: what is called Frechet distance in print is its square.': lambda *a: _frechet(*a).sqrt(),
        'The means are missing.': lambda m1, v1, m2, v2: (v1.sqrt() - v2.sqrt()).square().sum(),
        'The covariances are missing.': lambda m1, v1, m2, v2: (m1 - m2).square().sum(),
        'You averaged over the coordinates; the distance is a sum over them.': lambda *a: _frechet(*a) / 5,
        'The means enter as squares: you took absolute values.': lambda m1, v1, m2, v2: (m1 - m2).abs().sum() + (v1.sqrt() - v2.sqrt()).square().sum(),
    },
)


def _kernels(g):
    x, y = torch.randn(6, 3, generator=g, dtype=torch.float64), torch.randn(8, 3, generator=g, dtype=torch.float64)
    kernel = lambda a, b: (a @ b.T / 3 + 1) ** 3  # noqa: E731
    return kernel(x, x), kernel(y, y), kernel(x, y)


def _off_diagonal(k):
    return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))


add(
    '31-2',
    'Write the unbiased squared kernel distance from three kernel matrices.',
    _kernels,
    lambda kxx, kyy, kxy: _off_diagonal(kxx) + _off_diagonal(kyy) - 2 * kxy.mean(),
    {
        'You kept the diagonal: pairs of a point with itself make the estimate biased upwards.': lambda kxx, kyy, kxy: kxx.mean() + kyy.mean() - 2 * kxy.mean(),
        'You left the diagonal out of the sum but divided by n squared; there are n (n - 1) pairs left.': lambda kxx, kyy, kxy: (kxx.sum() - kxx.trace()) / kxx.numel() + (kyy.sum() - kyy.trace()) / kyy.numel() - 2 * kxy.mean(),
        'The cross term counts twice.': lambda kxx, kyy, kxy: _off_diagonal(kxx) + _off_diagonal(kyy) - kxy.mean(),
        'The cross term is left out pairwise too: x and y are different points, so all of its pairs count.': lambda kxx, kyy, kxy: _off_diagonal(kxx) + _off_diagonal(kyy) - 2 * (kxy.sum() - kxy.diagonal().sum()) / (kxy.numel() - len(kxy)),
        'This is the root of the answer: the squared distance is asked, and its unbiased estimate may be negative.': lambda kxx, kyy, kxy: (_off_diagonal(kxx) + _off_diagonal(kyy) - 2 * kxy.mean()).clamp_min(0).sqrt(),
    },
)


def _balls(g):
    return torch.rand(12, 9, generator=g, dtype=torch.float64), 0.4 * torch.rand(9, generator=g, dtype=torch.float64)


add(
    '31-3',
    'Write recall: the share of real points that lie in the ball of some sample.',
    _balls,
    lambda distances, radii: (distances <= radii).any(1).double().mean(),
    {
        'That is the share of samples whose ball holds a real point; recall counts real points.': lambda distances, radii: (distances <= radii).any(0).double().mean(),
        'You counted pairs; a real point in two balls counts once.': lambda distances, radii: (distances <= radii).double().mean(),
        'A point must lie in some ball, not in all of them.': lambda distances, radii: (distances <= radii).all(1).double().mean(),
        'You took the nearest sample and its own ball only; a farther sample may have a larger ball.': lambda distances, radii: (distances.min(1).values <= radii[distances.argmin(1)]).double().mean(),
    },
)
