"""Graders of the appendix on misconceptions."""

from diffbook.exercise import question

question(
    '92-a',
    'The data has variance 4, alpha is 0.6 and sigma squared 0.64. What is the variance of q(x_t)?',
    2.08,
    {
        0.64: 'That is the variance of q(x_t | x_0), where the data point is known. Here it is not: its spread comes on top.',
        1.0: 'So it would be for data of variance 1.',
        3.04: 'The factor of the data is 0.6; its variance gets the square.',
        4.64: 'You left the data as it is. It is shrunk by alpha.',
    },
)
question(
    '92-b',
    'log p(x) is -2, and the KL divergence from q to the true posterior is 0.5. How large is the ELBO?',
    -2.5,
    {
        -1.5: 'Then it would lie above log p(x), and be no lower bound.',
        -2.0: 'It touches log p(x) only where q is the true posterior, and the divergence zero.',
        2.5: 'That is the loss, minus the ELBO.',
    },
)
question(
    '92-c',
    'The average training loss lies below the floor of the data. What has happened?',
    'b',
    {
        'a': 'No model can be better than the mean on data that it has not seen, and the floor is the loss of the mean.',
        'c': 'On new data it is impossible. On the training set it is not: a model may know which picture it was.',
    },
)
question(
    '92-d',
    'The data are -1 and 1, equally often. Where does a single step from pure noise land?',
    0.0,
    {
        1.0: 'One of the two, you think. But the noise tells nothing of the data: whatever the start, the best answer is the same.',
        -1.0: 'One of the two, you think. But the noise tells nothing of the data: whatever the start, the best answer is the same.',
    },
)
question(
    '92-e',
    'Guidance of scale 4: with which weights do the answers with the caption and without it enter?',
    (4.0, -3.0),
    {
        (5.0, -4.0): 'That is w = 4 as Ho and Salimans count, where 0 is off. Here 1 is off.',
        (4.0, 3.0): 'The weights must add up to one: where both answers agree, guidance changes nothing.',
        (4.0, -4.0): 'The weights must add up to one: where both answers agree, guidance changes nothing.',
        (1.0, 4.0): 'The answer with the caption is the one that is stretched.',
    },
)
question(
    '92-f',
    'A picture of 1024 by 1024 pixels in the place of 256 by 256: how many times the work is attention between all pixels?',
    256.0,
    {
        16.0: 'That is the factor of the pixels, and of a convolution. Attention compares each with each.',
        4.0: 'That is the factor of the side.',
        64.0: 'Sixteen times the pixels, and each of them looks at sixteen times as many.',
    },
)
