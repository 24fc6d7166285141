"""Graders of the chapter on DDPM."""

import torch

from diffbook.exercise import add, question

add(
    '32-1',
    'Turn [-1, 1] into whole numbers from 0 to 255, rounded and clipped.',
    lambda g: (1.2 * torch.randn(40, generator=g, dtype=torch.float64),),
    lambda x: ((x + 1) * 127.5).round().clamp(0, 255),
    {
        'You cut the fraction off; round to the nearest, or every image becomes half a step darker.': lambda x: ((x + 1) * 127.5).floor().clamp(0, 255),
        'Values beyond the ends are not clipped: as bytes they would wrap around, white to black.': lambda x: ((x + 1) * 127.5).round(),
        'That wraps around: 260 became 4. Clip before you make bytes.': lambda x: ((x + 1) * 127.5).round() % 256,
        'You took x for an image in [0, 1]; the dark half is lost.': lambda x: (x * 255).round().clamp(0, 255),
        'White is 255, not 256: the factor is 127.5.': lambda x: ((x + 1) * 128).round().clamp(0, 255),
        'The result is still a fraction: round it.': lambda x: ((x + 1) * 127.5).clamp(0, 255),
    },
)


def _case(g):
    "A network that knows its Gaussian data: mean m, standard deviation c."
    m, c = torch.randn(4, generator=g, dtype=torch.float64), 0.3 + torch.rand(4, generator=g, dtype=torch.float64)
    angle = torch.sort(torch.rand(6, generator=g, dtype=torch.float64) * 1.3 + 0.1, descending=True).values
    angle = torch.cat([angle, torch.zeros(1, dtype=torch.float64)])

    def v(x, alpha, sigma):
        x0 = m + alpha * c**2 / (alpha**2 * c**2 + sigma**2) * (x - alpha * m)
        return (alpha * x - x0) / sigma

    return torch.randn(4, generator=g, dtype=torch.float64), torch.cos(angle), torch.sin(angle), v


def _walk(x, alphas, sigmas, v, clean=None, mix=None, stop=0, turn=1):
    clean = clean or (lambda a, s, x, y: a * x - s * y)
    mix = mix or (lambda a, s, x0, eps, x: a * x0 + s * eps)
    for k in range(len(alphas) - 1 - stop):
        a, s = alphas[k], sigmas[k]
        y = v(x, a, s)
        x = mix(alphas[k + 1], sigmas[k + 1], clean(a, s, x, y), s * x + turn * a * y, x)
    return x


def _consistent(x, alphas, sigmas, v):
    "The noise implied by the wrong clean image of the next mistake."
    for k in range(len(alphas) - 1):
        a, s = alphas[k], sigmas[k]
        x0 = (x - s * v(x, a, s)) / a
        x = alphas[k + 1] * x0 + sigmas[k + 1] * (x - a * x0) / s
    return x


add(
    '32-2',
    'Walk from noise to data with a network that predicts v.',
    _case,
    _walk,
    {
        'You stopped one step early: a trace of noise is left in the sample.': lambda *a: _walk(*a, stop=1),
        'You took v for the noise: x0 = (x - sigma v) / alpha is right for a network that predicts eps.': _consistent,
        'The sign of v is wrong: x0 = alpha x - sigma v.': lambda *a: _walk(*a, clean=lambda al, s, x, y: al * x + s * y),
        'The sign of v is wrong in the noise: eps = sigma x + alpha v.': lambda *a: _walk(*a, turn=-1),
        'The noise is mixed back in with the wrong sign: the next state is alpha x0 + sigma eps.': lambda *a: _walk(
            *a, mix=lambda al, s, x0, eps, x: al * x0 - s * eps
        ),
        'You returned the clean estimate of the first step and never walked.': lambda x, al, s, v: al[0] * x - s[0] * v(x, al[0], s[0]),
        'You mixed alpha with the old noisy image in place of the implied noise.': lambda *a: _walk(*a, mix=lambda al, s, x0, eps, x: al * x0 + s * x),
    },
)

question(
    '32-a',
    'What is the clean pixel for x_t = 1 and v = 0.25, at alpha_t = 0.6 and sigma_t = 0.8?',
    0.4,
    {
        0.8: 'The sign of v is wrong: v = alpha eps - sigma x0 lies against the data.',
        0.8 / 0.6: 'You took the answer for the noise; this network answers v.',
        0.95: 'That is the noise, sigma x_t + alpha v.',
        0.25: 'That is v itself.',
    },
)
question(
    '32-b',
    'How many degrees does each of 24 equal steps of a quarter turn make?',
    3.75,
    {
        15.0: 'That would be the whole circle; signal and noise turn through a quarter of it.',
        7.5: 'That would be half a circle: from noise to data it is a right angle.',
        90 / 23: 'There are 24 steps between 25 times.',
    },
)
question(
    '32-c',
    'How many times cheaper than 1,000 calls are 12 steps of Heun?',
    1000 / 23,
    {
        1000 / 12: 'A step of Heun asks the network twice.',
        1000 / 24: 'Nearly: the last step, which arrives at zero noise, asks once.',
    },
    rtol=0.02,
)
question(
    '32-d',
    'How often does a run of 5,000 updates with batches of 128 see each of 60,000 images?',
    5000 * 128 / 60000,
    {
        5000 / 60000: 'Each update shows a whole batch of images.',
        60000 / 5000: 'That is how many updates there would be to an epoch if each showed 12 images; an update shows 128.',
        60000 / 128: 'That is the number of updates that show each image once.',
    },
    rtol=0.035,  # two digits are enough
)
question(
    '32-e',
    'A distance of 0.30 at a floor of 0.13: how many floors high are the same samples where the floor is 0.026?',
    (0.30 - 0.13 + 0.026) / 0.026,
    {
        0.30 / 0.026: 'The distance falls too: the bias inside it shrinks with the floor.',
        0.30 / 0.13: "That is the ratio at the first n. The floor has sunk, and the model's own error has not.",
        (0.30 - 0.13) / 0.026: 'At the second n a bias is left as well, about one floor.',
    },
    rtol=0.02,
)
question(
    '32-f',
    'How many of 2,000 samples of a model that copies nothing lie under the limit?',
    20.0,
    {
        0.0: 'Held-out images are no copies either, and one in a hundred of them lies under it.',
        200.0: 'One in a hundred, not one in ten.',
        0.01: 'That is the share; how many of 2,000?',
    },
)
question(
    '32-g',
    'How far the guess has come when the state has come a sixth of its way: a, b or c.',
    'c',
    {
        'a': 'The state holds the noise as well, and the noise makes most of its distance from the end. The guess has none.',
        'b': 'The share of the steps says little: big decisions are made at high noise. Set the slider to t = 0.75 and read the line under the figure.',
    },
)
question(
    '32-h',
    'What do sixteen different noises give in one step of DDIM?',
    'b',
    {
        'a': 'Try one step in the figure. Which time is the only one at which the network is asked, and what can it tell there?',
        'c': 'At s = 0 nothing is left of the noise: sigma is zero. Put that into the step.',
    },
)
