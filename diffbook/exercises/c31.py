"""The graders of the chapter on metrics."""

import torch

from diffbook.exercise import add, question


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
        'You compared the variances; the formula compares the standard deviations, their roots.': lambda m1, v1, m2, v2: (
            (m1 - m2).square().sum() + (v1 - v2).square().sum()
        ),
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
        'You left the diagonal out of the sum but divided by n squared; there are n (n - 1) pairs left.': lambda kxx, kyy, kxy: (
            (kxx.sum() - kxx.trace()) / kxx.numel() + (kyy.sum() - kyy.trace()) / kyy.numel() - 2 * kxy.mean()
        ),
        'The cross term counts twice.': lambda kxx, kyy, kxy: _off_diagonal(kxx) + _off_diagonal(kyy) - kxy.mean(),
        'The cross term is left out pairwise too: x and y are different points, so all of its pairs count.': lambda kxx, kyy, kxy: (
            _off_diagonal(kxx) + _off_diagonal(kyy) - 2 * (kxy.sum() - kxy.diagonal().sum()) / (kxy.numel() - len(kxy))
        ),
        'This is the root of the answer: the squared distance is asked, and its unbiased estimate may be negative.': lambda kxx, kyy, kxy: (
            (_off_diagonal(kxx) + _off_diagonal(kyy) - 2 * kxy.mean()).clamp_min(0).sqrt()
        ),
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
        'That is the share of samples whose ball holds a real point; recall counts real points.': lambda distances, radii: (
            (distances <= radii).any(0).double().mean()
        ),
        'You counted pairs; a real point in two balls counts once.': lambda distances, radii: (distances <= radii).double().mean(),
        'A point must lie in some ball, not in all of them.': lambda distances, radii: (distances <= radii).all(1).double().mean(),
        'You took the nearest sample and its own ball only; a farther sample may have a larger ball.': lambda distances, radii: (
            (distances.min(1).values <= radii[distances.argmin(1)]).double().mean()
        ),
    },
)

question(
    '31-a',
    'What is the squared Frechet distance of N(0, 4) and N(3, 1)?',
    10.0,
    {
        18.0: 'You compared the variances, 4 and 1; the formula compares the standard deviations, 2 and 1.',
        9.0: 'The means are right. The spreads differ too.',
        10**0.5: 'That is its root; the square is asked, as papers print it.',
        4.0: 'The means enter as a square.',
    },
)
question(
    '31-b',
    'Frechet distances of 8.1 and 3.2 come from two classifiers. Which samples are nearer to the data?',
    'c',
    {
        'a': 'A smaller distance would be the better one; but are the two measured with the same ruler?',
        'b': 'Each classifier has features of its own, on a scale of its own: 3.2 in one may be more than 8.1 in the other.',
    },
)
question(
    '31-c',
    'Which Frechet distance have two samples of 1,000 images with 100 features of variance 1, from one distribution?',
    5.25,
    {
        0.0: 'That is the true distance. The estimate counts every error of means and covariances.',
        0.25: 'You have the first sum. The second one has 100 times 100 terms.',
        5.0: 'You have the second sum. The first adds five halves of the variances.',
        0.3: 'In the second sum every pair of features counts, not only the pairs of a feature with itself.',
    },
    rtol=0.01,
)
question(
    '31-d',
    'What are precision and recall of the samples -3, 0.5, 1.5, 5 against the real 0, 1, 2, with k = 1?',
    (0.5, 1.0),
    {
        (1.0, 0.5): 'The other way round: precision is the share of samples on the map of the real images.',
        (0.5, 0.5): 'Precision is right. Recall counts real images, and each of the three lies in the ball of some sample.',
        (0.5, 2 / 3): 'Precision is right. Recall draws its balls around the samples, and each of the three real images lies in one of them.',
        (1.0, 1.0): 'Recall is right. The balls around the real images reach from -1 to 3.',
    },
)
question(
    '31-e',
    'The floor is 0.05 at n = 5,000. What is it at n = 10,000?',
    0.025,
    {
        0.05: 'The floor is a bias, and falls with the number of images.',
        0.1: 'More images, less bias.',
        0.05 / 2**0.5: 'Errors fall like the root of n; their squares, which the distance counts, like n.',
        0.0125: 'Twice the images: half, not a quarter.',
    },
    rtol=0.005,
)
question(
    '31-f',
    'The Frechet distance of the numbers -1 and 1, equally often, from standard normal ones.',
    0.0,
    {
        2 - 2 * (2 / torch.pi) ** 0.5: 'That is the price of carrying the numbers themselves. Here both clouds are first replaced by bells.',
        1.0: 'What is the variance of the numbers -1 and 1? It is the mean of their squares.',
        2.0: 'That is the mean square between independent pairs. The distance takes the cheapest pairs, of the two bells.',
    },
)
