"""Graders of the chapter on the loss."""

import torch
from torch import Tensor

from diffbook.exercise import add, question


def _step(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    beta, var, alpha_bar = torch.rand(3, generator=g, dtype=torch.float64) * 0.7 + 0.1
    return beta, var, alpha_bar


def _ratio(g: torch.Generator) -> tuple[Tensor, Tensor]:
    "Signal-to-noise ratios on both sides of the cap."
    return torch.exp(3 * torch.randn(8, generator=g, dtype=torch.float64)), torch.rand((), generator=g, dtype=torch.float64) * 5 + 2


def _scales(g: torch.Generator) -> tuple[Tensor, Tensor]:
    alpha_bar = torch.rand((), generator=g, dtype=torch.float64) * 0.8 + 0.1
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


add(
    '21-1',
    'Give the factor of the squared noise error in the KL of a step.',
    cases=_step,
    truth=lambda beta, var, ab: beta**2 / (2 * var * (1 - beta) * (1 - ab)),
    mistakes={
        'The factor of two of the Gaussian exponent is missing.': lambda beta, var, ab: beta**2 / (var * (1 - beta) * (1 - ab)),
        'beta stands squared in the numerator.': lambda beta, var, ab: beta / (2 * var * (1 - beta) * (1 - ab)),
        'The factor 1 - beta is missing: the noise error turns into an x0 error through alpha_t, the reach holds alpha_{t-1}.': (
            lambda beta, var, ab: beta**2 / (2 * var * (1 - ab))
        ),
        'You divided by the signal alpha_bar where the noise 1 - alpha_bar belongs.': (lambda beta, var, ab: beta**2 / (2 * var * (1 - beta) * ab)),
        'You took var for a standard deviation: it is the variance already.': (lambda beta, var, ab: beta**2 / (2 * var**2 * (1 - beta) * (1 - ab))),
        'That is the factor for x0 (up to alpha at t - 1); convert its error to that of the noise.': (
            lambda beta, var, ab: beta**2 / (2 * var * (1 - ab) ** 2) * ab / (1 - beta)
        ),
        'Wrong precedence: (1 - alpha_bar) belongs to the denominator and must not multiply.': (
            lambda beta, var, ab: beta**2 / (2 * var * (1 - beta)) * (1 - ab)
        ),
    },
)

add(
    '21-2',
    'Give the min-SNR weight for a network that predicts v.',
    cases=_ratio,
    truth=lambda snr, gamma: torch.minimum(snr, gamma) / (snr + 1),
    mistakes={
        'That is the weight for the noise; v needs snr + 1 in the denominator.': lambda snr, gamma: torch.minimum(snr, gamma) / snr,
        'That is the weight for x0; convert it to the error of v.': lambda snr, gamma: torch.minimum(snr, gamma),
        'The 1 belongs to the denominator only: the cap is on snr, not on snr + 1.': lambda snr, gamma: torch.minimum(snr + 1, gamma) / (snr + 1),
        'The 1 belongs to the denominator, not to the whole weight.': lambda snr, gamma: torch.minimum(snr, gamma) / snr + 1,
        'You took the larger of the two; min-SNR caps the weight.': lambda snr, gamma: torch.maximum(snr, gamma) / (snr + 1),
    },
)

add(
    '21-3',
    'Give the weight on the noise error that equals a plain loss on x0.',
    cases=_scales,
    truth=lambda alpha, sigma: (sigma / alpha) ** 2,
    mistakes={
        'Upside down: an error in the noise is multiplied by sigma / alpha on its way to x0.': lambda alpha, sigma: (alpha / sigma) ** 2,
        'Errors scale with sigma / alpha; squared errors with its square.': lambda alpha, sigma: sigma / alpha,
        'The signal scale is missing: x0 = (x - sigma eps) / alpha.': lambda alpha, sigma: sigma**2,
        'Equal weights give different gradients: the two errors differ by a factor.': lambda alpha, sigma: torch.ones_like(alpha),
    },
)

question(
    '21-a',
    'What is the loss of a network that predicts data of standard deviation 0.5 and always says zero?',
    0.25,
    {
        0.5: 'That is the standard deviation. The loss is a squared error, so its mean is the variance.',
        1: 'That would be the loss of a network that predicts the noise, whose variance is one.',
        0: 'Zero is its answer, not its error: the error is the size of the data.',
        0.125: 'No half here: the loss is the squared error itself.',
    },
)

question(
    '21-b',
    'What is the mean loss of a noise network that answers 0.5 x_t at alpha = 0.6?',
    0.45,
    {
        0.36: 'That is the part of the noise. The data are in the answer too, with 0.5 alpha.',
        0.09: 'That is the part of the data, or the square of a sum. Errors of independent things add as variances: (0.5 alpha)^2 + (0.5 sigma - 1)^2.',
        0.25: 'That is the mean square of the answer. The loss compares it with the noise.',
        0.9: 'You added the sizes, 0.3 and 0.6. Square them first.',
        0.65: 'You exchanged alpha and sigma: the noise stands in x_t with sigma = 0.8.',
    },
)

question(
    '21-c',
    'How large is the excess as a share of the floor?',
    0.069,
    {
        0.02: 'That is the excess itself. Divide it by the floor.',
        0.0645: 'That is its share of the loss. Divide by the floor instead.',
        1.069: 'That is the loss in units of the floor; the excess is what lies above one.',
        6.9: 'In per cent, yes. As a share, divide by one hundred.',
    },
)

question(
    '21-d',
    'How far did the loss curve fall while the excess fell from 5 % to 0.5 % of a floor of 0.4?',
    0.018,
    {
        0.045: 'That is in units of the floor. The floor is 0.4.',
        0.02: 'That is the excess at the start; at the end 0.002 of it is left.',
        0.002: 'That is what is left of the excess at the end.',
        1.8: 'You took per cent for shares: divide by one hundred.',
        10: 'The excess became ten times smaller. By how much did the loss, floor and all, fall?',
    },
)
