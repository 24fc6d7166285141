"""Graders of the primer."""

import itertools
import math

from diffbook.exercise import question

question(
    '07-a',
    'What is the expectation of the square of a die?',
    91 / 6,
    {
        12.25: 'That is the square of the mean. Square each value first, then average the six squares.',
        91: 'That is the sum of the six squares; each counts with its probability, 1/6.',
        3.5: 'That is the mean of the throw itself; asked for is the mean of its square.',
        35 / 12: 'That is the variance, from which the square of the mean has been taken away.',
    },
)
question(
    '07-b',
    'Which standard deviation has 0.6 times a pixel of standard deviation 2 plus 0.8 times a noise of standard deviation 1?',
    math.sqrt(2.08),
    {
        2.0: 'Standard deviations do not add; variances do. Square each part, add, and take the root at the end.',
        2.08: 'That is the variance of the result; its standard deviation is the root.',
        math.sqrt(0.6 * 4 + 0.8): 'The factors come out of a variance squared: 0.36 and 0.64.',
        math.sqrt(0.36 * 2 + 0.64): 'The pixel has the standard deviation 2, so its variance is 4.',
        2.2361: 'That is the root of 4 + 1: you left the factors 0.6 and 0.8 out.',
    },
    rtol=0.03,  # two digits are enough
)
question(
    '07-c',
    'What is the variance of the cloud along the diagonal?',
    3,
    {
        2: 'That is the variance along one of the two axes. Compute C u for u = (1, 1) / sqrt(2) first.',
        1: 'That is the variance across the diagonal, along (1, -1).',
        6: 'Your direction has not the length one: the two roots of 2 divide the answer by 2.',
        math.sqrt(3): 'That is the standard deviation; asked for is the variance.',
        4: 'You added the variances and left the covariances out, or counted them and forgot the length of the direction.',
    },
)
question(
    '07-d',
    'With which probability is the pixel bright?',
    1 / 3,
    {
        0.9: 'That is the likelihood, p(says bright | bright). Asked for is p(bright | says bright): count both kinds of pixels that are called bright.',
        0.09: 'That is the probability of both, bright and called bright. Divide it by the probability of being called bright.',
        270 / 410: 'That holds if three of ten pixels are bright; now it is one of ten.',
        0.27: 'That is how often the camera says "bright"; which part of these pixels is bright?',
        0.1: 'That is the prior, what you believed before the camera spoke.',
        0.9 / 1.1: 'You weighed 0.9 against 0.2 as if bright and dark pixels were equally many.',
    },
)
question(
    '07-e',
    'What is the density at 0.1?',
    4,
    {
        0.25: 'That is the width of the interval. The area under the density, width times height, must be one.',
        1: 'The whole area is 1, not the height.',
        0.4: 'That is the probability of a value below 0.1, the area up to there; asked for is the height.',
        0: 'Each single value has probability zero, and yet the density there is not: it is a height.',
    },
)
question(
    '07-f',
    'How many nats of surprise does each of eight outcomes hold?',
    math.log(8),
    {
        3: 'That is in bits; one bit is log(2) nats, 0.693.',
        math.log10(8): 'Nats take the natural logarithm, not the one to the base ten.',
        -math.log(8): 'The sign: probabilities are below one, so their logarithms are negative, and surprise is minus the logarithm.',
        0.125: 'That is the probability; the surprise is minus its logarithm.',
        8: 'That is the number of outcomes; take its logarithm.',
        3 / math.log(2): 'You went the wrong way: from bits to nats multiply by log(2).',
    },
)
question(
    '07-g',
    'What is the gradient of x^2 + 3 x y at (2, 1)?',
    (7, 6),
    {
        (6, 7): 'The two partial derivatives are right and stand in the wrong order: the one with respect to x comes first.',
        (-7, -6): 'That points downhill; the gradient points uphill.',
        (4, 3): 'You treated 3xy as 3y: it changes with x too, and its rate of change with y is 3x.',
        (4, 6): 'The second is right. With respect to x, 3xy changes at the rate 3y; that was left out.',
        (7, 3): 'The first is right. With respect to y, 3xy changes at the rate 3x, and x is 2.',
        (7, 7): 'The term x^2 does not change with y.',
    },
)
question(
    '07-h',
    'How many numbers does a 3 x 3 convolution from 8 to 16 channels learn, with biases?',
    1168,
    {
        1152: 'The weights are right; each of the 16 output channels has a bias too.',
        144: 'That is one kernel for each output channel; it needs one for each pair of input and output channel.',
        160: 'That is one kernel and one bias for each output channel; each output channel looks at all 8 inputs.',
        1160: 'The biases belong to the output channels: there are 16, not 8.',
        1280: 'A kernel has no bias of its own; there is one for each output channel.',
        9: 'That is one kernel; there is one for each pair of input and output channel.',
    },
    rtol=0.001,
)
question(
    '07-i',
    'What is the most that five linear layers become?',
    'b',
    {
        'a': 'Width does not help: a sum of straight lines is a straight line. What is missing is a bend.',
        'c': 'Layers are put into each other, not multiplied: a(bx + c) + d is a line again, and so are five of them.',
    },
)
question(
    '07-j',
    'What is the shape of the product of shapes (5, 1) and (4,)?',
    (5, 4),
    {
        (4, 5): 'The right numbers in the wrong order: (4,) is lined up on the right, under the 1.',
        (5, 1): 'The axis of length 1 meets one of length 4 and is repeated four times.',
        (5,): 'Five products would need a second tensor of shape (5, 1) or (1,); this one has four numbers.',
        (4,): 'The first axis, of length 5, meets nothing and stays.',
    },
    rtol=0.001,
)
question(
    '07-k',
    'What is the loss of a network that has learned all there is to learn?',
    0.25,
    {
        0: 'A loss of zero would need the noise to be predicted, and it is drawn anew each time.',
        0.5: 'That is the standard deviation; the loss is an average of squares, so take the variance.',
        0.09: 'That belongs to the standard deviation 0.3.',
        0.34: 'The curve was trained on the new noise only; there is no old noise to add.',
    },
)

# Eight answers at once: (right, likely and wrong, what its reader is told).
EIGHT = [
    (7, 6, 'Number 1: a constant counts once, so the 1 stays.'),
    (5, 7, 'Number 2: variances add, and standard deviations do not: the root of 9 + 16.'),
    (0.5, 0.8, 'Number 3: that is p(marked | spam); asked for is p(spam | marked). Count both kinds of marked messages.'),
    (2, 4, 'Number 4: one bit is log(2) nats; divide log(4) by it.'),
    (-0.5, 0.5, 'Number 5: the sign. At 3, right of the mean, the density falls.'),
    (8, 10, 'Number 6: without padding the window has to stay inside; it has two places fewer than pixels.'),
    (35, 5, 'Number 7: both axes of length 1 are repeated; the product is a whole table.'),
    (0.04, 0.2, 'Number 8: an average of squares is a variance, the square of 0.2.'),
]
question(
    '07-l',
    'Give the eight numbers of the self-test.',
    tuple(right for right, _, _ in EIGHT),
    {
        tuple(wrong if slip else right for slip, (right, wrong, _) in zip(slips, EIGHT)): ' '.join(said for slip, (_, _, said) in zip(slips, EIGHT) if slip)
        for slips in itertools.product((False, True), repeat=len(EIGHT))
        if any(slips)
    },
    rtol=1e-4,
)
