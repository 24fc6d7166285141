"""Graders of the Rosetta stone."""

from diffbook.exercise import question

question(
    '94-a',
    'alpha-bar is 0.2. What is the level r that k-diffusion calls sigma?',
    2.0,
    {
        0.5: 'Upside down: noise over signal, and there is more noise than signal here.',
        4.0: 'That is r squared, the ratio of the variances.',
        0.8**0.5: 'That is the noise scale of a state of variance one. Divide it by the signal scale.',
    },
)
question(
    '94-b',
    'A flow in the convention of Lipman et al. is at t = 0.2, with the data at 1. What is r?',
    4.0,
    {
        0.25: 'So it would be with the data at 0. Here t = 0.2 is near the noise.',
        0.8: 'That is the share of the noise. Divide it by the share of the data.',
        0.2: 'That is the share of the data.',
    },
)
question(
    '94-c',
    'A state on the VE scale has r = 3. By which factor must it be multiplied to be one of variance one (VP)?',
    10**-0.5,
    {
        0.25: 'That is for the flow scale, where the two factors, not their squares, add up to one.',
        1 / 3: 'At high noise that is nearly right; the data has a variance too.',
        0.1: 'That is alpha-bar. What a state is multiplied by is alpha.',
    },
)
question(
    '94-d',
    'alpha is 0.8, sigma 0.6, the state x is 1, and a v-network answers 0.5. What is its data estimate?',
    0.5,
    {
        1.1: 'The sign: v = alpha eps - sigma x0, so x0 = alpha x - sigma v.',
        0.875: 'You read the answer as noise.',
        1.0: 'You left out the answer, or took alpha x + ... Solve the two equations for x0.',
        -0.1: 'That is the noise with its sign turned: sigma x - alpha v. The data is alpha x - sigma v.',
    },
)
question(
    '94-e',
    'A paper in the convention of Ho and Salimans guides with w = 6.5. What is guidance_scale in diffusers?',
    7.5,
    {
        6.5: 'In the paper 0 is off, in diffusers 1 is.',
        5.5: 'The other way: w = 0 is a scale of 1.',
    },
)
